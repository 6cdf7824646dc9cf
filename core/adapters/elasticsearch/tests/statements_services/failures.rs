//! The failures of production: a part of a bulk, the whole request, its answer, the disk, the credentials, the network.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING};
use lyceum_core::ports::statements::{
    QueryDocuments, StatementDocument, StatementsError, StoreDocuments, StoreOutcome,
};
use lyceum_elasticsearch::{Elasticsearch, ElasticsearchSettings, SearchCredentials};
use lyceum_proxies::http::{Act, HttpProxy, ProxiedRequest};
use lyceum_proxies::tls::{Tls, authority};
use lyceum_services::Suite;
use lyceum_testing::analytics::same_json;
use serde_json::{Value, json};

use crate::on_engines;
use crate::place::{Place, all_created, count, numbered, voiding};

pub(crate) fn add(suite: &mut Suite) {
    on_engines(suite, "failures::half_a_bulk_is_rejected_and_only_that_half_comes_again", half_a_bulk);
    on_engines(suite, "failures::a_document_that_the_engine_refuses_is_refused_alone", refused_alone);
    on_engines(suite, "failures::a_full_disk_is_unavailable_until_it_is_not", full_disk);
    on_engines(suite, "failures::a_closed_index_is_unavailable_until_it_is_opened", closed);
    on_engines(suite, "failures::what_a_person_set_on_the_index_is_told_and_makes_no_letter", index_state);
    on_engines(suite, "failures::wrong_credentials_are_refused_with_what_to_do", credentials);
    on_engines(suite, "failures::a_private_authority_is_trusted_where_it_is_named", private_authority);
    on_engines(suite, "failures::a_server_that_hangs_is_unavailable_after_the_time_limit", hanging);
    on_engines(suite, "failures::any_answer_may_be_lost_and_the_call_is_made_again", lost_answers);
    on_engines(suite, "failures::a_bulk_too_large_for_a_proxy_is_cut_in_halves", too_large);
    on_engines(suite, "failures::a_server_that_is_away_or_another_one_is_told_apart", away);
    on_engines(suite, "failures::requests_are_compressed_where_that_is_asked_for", compressed);
    on_engines(suite, "failures::a_shard_that_does_not_refresh_is_unavailable", failed_refresh);
}

/// A client of the same index through a proxy.
fn through(place: &Place, proxy: &HttpProxy) -> Elasticsearch {
    place.client(|settings| settings.url = proxy.url().to_owned())
}

async fn proxy(place: &Place, rule: impl Fn(&ProxiedRequest<'_>) -> Act + Send + Sync + 'static) -> HttpProxy {
    HttpProxy::to(&place.settings.url, move |asked, _| rule(asked)).await.unwrap()
}

async fn half_a_bulk(place: &Place) {
    place.prepared().await;
    fn reject_every_other(answer: &mut Value) {
        let reason = json!({"type": "es_rejected_execution_exception", "reason": "queue capacity"});
        for item in answer["items"].as_array_mut().unwrap().iter_mut().step_by(2) {
            *item = json!({"create": {"status": 429, "error": reason}});
        }
    }
    let bulks = Arc::new(Mutex::new(Vec::new()));
    let seen = bulks.clone();
    let proxy = proxy(place, move |asked| {
        if !asked.is_bulk() {
            return Act::Pass;
        }
        let mut bulks = seen.lock().unwrap();
        bulks.push(asked.body.iter().filter(|byte| **byte == b'\n').count() / 2);
        if bulks.len() == 1 { Act::Change(reject_every_other) } else { Act::Pass }
    })
    .await;
    let statements = through(place, &proxy);
    let mut documents: Vec<_> = (0..100).map(numbered).collect();
    // The same id again within the call: it waits for the one before it.
    documents.push(StatementDocument { source: numbered(500).source, ..numbered(0) });
    let outcomes = statements.store(documents.clone()).await.unwrap();
    let is_later = |outcome: &StoreOutcome| match outcome {
        StoreOutcome::Unavailable { reason } => reason.contains("rejected_execution_exception"),
        _ => false,
    };
    for (at, outcome) in outcomes.iter().enumerate() {
        assert!(if at % 2 == 0 { is_later(outcome) } else { *outcome == StoreOutcome::Created }, "{at}: {outcome:?}");
    }
    let left: Vec<_> = documents.into_iter().step_by(2).collect();
    let outcomes = statements.store(left).await.unwrap();
    assert!(all_created(&outcomes[..50]), "{outcomes:?}");
    assert_eq!(outcomes[50], StoreOutcome::Duplicate { first: numbered(0).source });
    assert_eq!(*bulks.lock().unwrap(), [100, 50], "nothing is sent twice by itself");
    assert_eq!(count(&statements).await, 100);
}

async fn refused_alone(place: &Place) {
    let index = &place.settings.index;
    place.prepared().await;
    place.engine("DELETE", &format!("/{index}-v1"), None).await;
    // An index that somebody made by hand, with another type for one field.
    let body = json!({"aliases": {index: {}}, "mappings": {"properties": {"response": {"type": "ip"}}}});
    place.tell("PUT", &format!("/{index}-v1"), body).await;
    let statements = place.client(|_| {});
    let refused = statements.prepare().await.unwrap_err().to_string();
    assert!(refused.contains(r#"the field response mapped as {"type":"ip"}"#), "{refused}");
    let mut documents: Vec<_> = (0..20).map(numbered).collect();
    documents[7].fields.response = Some("no address".into());
    documents[8].fields.response = Some("127.0.0.1".into());
    let second = StatementDocument { source: numbered(600).source, ..numbered(7) };
    documents.push(second);
    let outcomes = statements.store(documents).await.unwrap();
    for (at, outcome) in outcomes.iter().enumerate() {
        match outcome {
            StoreOutcome::Refused { reason } => assert!(at == 7 && reason.contains("parsing_exception"), "{reason}"),
            outcome => assert_eq!((outcome, at != 7), (&StoreOutcome::Created, true), "{at}"),
        }
    }
    assert_eq!(count(&statements).await, 20, "the next one of a refused id has its own chance");
}

async fn full_disk(place: &Place) {
    let statements = place.prepared().await;
    assert!(all_created(&statements.store(vec![numbered(1)]).await.unwrap()));
    for (number, block) in [(2, "read_only_allow_delete"), (3, "read_only"), (4, "write")] {
        place.set_block(block, json!(true)).await;
        let outcomes = statements.store(vec![numbered(number)]).await.unwrap();
        let StoreOutcome::Unavailable { reason } = &outcomes[0] else { panic!("{block}: {outcomes:?}") };
        assert!(reason.contains("takes no writes") && reason.contains("free disk space"), "{reason}");
        assert_eq!(statements.ping().await, Ok(()), "reading goes on");
        assert!(statements.get("academy", numbered(1).id).await.unwrap().is_some());
        place.set_block(block, Value::Null).await;
        assert!(all_created(&statements.store(vec![numbered(number)]).await.unwrap()), "{block}");
    }
    assert_eq!(count(&statements).await, 4);
}

async fn closed(place: &Place) {
    let statements = place.prepared().await;
    let index = &place.settings.index;
    assert!(all_created(&statements.store(vec![numbered(1)]).await.unwrap()));
    let (status, answer) = place.engine("POST", &format!("/{index}/_close"), None).await;
    assert_eq!(status, 200, "{answer}");
    let told = format!("the index of {index} is closed");
    let outcomes = statements.store(vec![numbered(1), numbered(2)]).await.unwrap();
    for outcome in &outcomes {
        let StoreOutcome::Unavailable { reason } = outcome else { panic!("{outcomes:?}") };
        assert!(reason.contains(&told) && reason.contains(&format!("POST /{index}/_open")), "{reason}");
    }
    let answers = [
        statements.ping().await,
        statements.get("academy", numbered(1).id).await.map(drop),
        statements.aggregate(&Default::default(), &json!({})).await.map(drop),
    ];
    for answer in answers {
        let Err(StatementsError::Unavailable(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains(&told), "{reason}");
    }
    statements.prepare().await.unwrap();
    let (status, answer) = place.engine("POST", &format!("/{index}/_open"), None).await;
    assert_eq!(status, 200, "{answer}");
    assert!(all_created(&statements.store(vec![numbered(1), numbered(2)]).await.unwrap()), "as if nothing had been");
    assert_eq!(count(&statements).await, 2);
}

/// Each of these is answered document by document with 400, as a document that cannot be parsed is.
async fn index_state(place: &Place) {
    let statements = place.prepared().await;
    let index = &place.settings.index;
    let settings = format!("/{index}-v1/_settings");
    let alias = |is_write_index: bool| {
        let add = json!({"index": format!("{index}-v1"), "alias": index, "is_write_index": is_write_index});
        json!({"actions": [{"add": add}]})
    };
    let missing = json!({"index.default_pipeline": "none"});
    let none = json!({"index.default_pipeline": null});
    for (number, path, wrong, right, told) in [
        (1, settings.as_str(), missing, none, "set index.default_pipeline"),
        (2, "/_aliases", alias(false), alias(true), "with is_write_index true"),
    ] {
        let method = if path == settings { "PUT" } else { "POST" };
        place.tell(method, path, wrong).await;
        let answer = statements.store(vec![numbered(number)]).await;
        let Err(StatementsError::Refused(reason)) = answer else { panic!("{path}: {answer:?}") };
        assert!(reason.contains(told), "{reason}");
        place.tell(method, path, right).await;
        assert!(all_created(&statements.store(vec![numbered(number)]).await.unwrap()), "{path}");
    }
    // A field that is not mapped, in an index that takes no unknown ones: another one's mapping.
    place.engine("DELETE", &format!("/{index}-v1"), None).await;
    let mappings = json!({"dynamic": "strict", "properties": {"id": {"type": "keyword"}}});
    place.tell("PUT", &format!("/{index}-other"), json!({"aliases": {index: {}}, "mappings": mappings})).await;
    let answer = statements.store(vec![numbered(3)]).await;
    place.engine("DELETE", &format!("/{index}-other"), None).await;
    let Err(StatementsError::Refused(reason)) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("move to an index that Lyceum made"), "{reason}");
}

async fn credentials(place: &Place) {
    place.prepared().await;
    // The proxy is as a cluster with security: base64 of `id:hush-key`, and of `ada:hush-word`.
    const KEY: &str = "ApiKey aWQ6aHVzaC1rZXk=";
    const BASIC: &str = "Basic YWRhOmh1c2gtd29yZA==";
    const READER: &str = "Basic cmVhZGVyOmh1c2gtd29yZA==";
    let proxy = proxy(place, |asked| {
        let given = asked.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match given {
            KEY | BASIC => Act::Pass,
            READER => Act::Answer(
                403,
                r#"{"error":{"root_cause":[],"type":"security_exception","reason":"action [indices:data/write/bulk] is unauthorized for user [reader]"},"status":403}"#.to_owned(),
            ),
            _ => Act::Answer(
                401,
                r#"{"error":{"root_cause":[],"type":"security_exception","reason":"unable to authenticate user for REST request"},"status":401}"#.to_owned(),
            ),
        }
    })
    .await;
    let with = |credentials: SearchCredentials| {
        place.client(|settings| {
            settings.url = proxy.url().to_owned();
            settings.credentials = credentials;
        })
    };
    let basic = |username: &str, password: &str| SearchCredentials::Basic {
        username: username.to_owned(),
        password: password.to_owned(),
    };
    for right in [
        SearchCredentials::ApiKey("id:hush-key".into()),
        SearchCredentials::ApiKey("aWQ6aHVzaC1rZXk=".into()),
        basic("ada", "hush-word"),
    ] {
        let statements = with(right);
        statements.prepare().await.unwrap();
        assert!(all_created(&statements.store(vec![numbered(1)]).await.unwrap()));
    }
    for (wrong, told) in [
        (SearchCredentials::None, "correct ELASTICSEARCH_API_KEY"),
        (SearchCredentials::ApiKey("hush-other".into()), "correct ELASTICSEARCH_API_KEY"),
        (basic("ada", "hush-other"), "ELASTICSEARCH_PASSWORD"),
        (basic("reader", "hush-word"), "the credentials lack a right"),
    ] {
        let statements = with(wrong);
        let answers = [
            statements.store(vec![numbered(2)]).await.map(drop),
            statements.prepare().await,
            statements.ping().await,
            statements.get("academy", numbered(1).id).await.map(drop),
        ];
        for answer in answers {
            let Err(StatementsError::Unauthorized(reason)) = answer else { panic!("{answer:?} is no such refusal") };
            assert!(reason.contains(told) && reason.contains("security_exception"), "{reason}");
            assert!(!reason.contains("hush") && !reason.contains("aHVza"), "{reason}");
        }
    }
}

async fn private_authority(place: &Place) {
    place.prepared().await;
    let (pem, acceptor) = authority();
    let (other, _) = authority();
    let (listener, url) = Tls::on_a_free_port(acceptor).await.unwrap();
    let proxy = HttpProxy::listening(listener, url, &place.settings.url, |_, _| Act::Pass).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusting = |name: &str, pem: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, pem).unwrap();
        let mut settings = place.settings.clone();
        settings.url = proxy.url().to_owned();
        settings.ca_file = Some(file);
        Elasticsearch::connect(&settings, same_json)
    };
    let statements = trusting("ca.pem", &pem).unwrap();
    assert!(all_created(&statements.store(vec![numbered(1)]).await.unwrap()));
    // As a function has it from a secret; trusted beside those of the machine, and other ones of the same text.
    let as_text = |pem: String| {
        let settings =
            ElasticsearchSettings { url: proxy.url().to_owned(), ca_pem: Some(pem), ..place.settings.clone() };
        Elasticsearch::connect(&settings, same_json)
    };
    for pem in [pem.clone(), format!("{other}{pem}")] {
        assert!(all_created(&as_text(pem).unwrap().store(vec![numbered(1)]).await.unwrap()));
    }
    let error = as_text("hush".into()).err().unwrap().to_string();
    assert!(error.contains("ELASTICSEARCH_CA_SECRET_ARN, cannot be used") && !error.contains("hush"), "{error}");
    for statements in [through(place, &proxy), trusting("other.pem", &other).unwrap()] {
        let answer = statements.store(vec![numbered(2)]).await;
        let Err(StatementsError::Refused(reason)) = answer else { panic!("{answer:?} is no refusal") };
        assert!(reason.contains("ELASTICSEARCH_CA_FILE"), "{reason}");
    }
    for (name, pem) in
        [("empty.pem", ""), ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        let answer = trusting(name, pem).err();
        assert!(
            answer.as_ref().is_some_and(|error| error.to_string().contains("ELASTICSEARCH_CA_FILE")),
            "{name}: {answer:?}"
        );
    }
    let mut settings = place.settings.clone();
    settings.ca_file = Some(folder.path().join("none.pem"));
    let error = Elasticsearch::connect(&settings, same_json).err().unwrap().to_string();
    assert!(error.contains("none.pem cannot be used"), "{error}");
}

async fn hanging(place: &Place) {
    place.prepared().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let proxy = proxy(place, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Silent
    })
    .await;
    let statements = place.client(|settings| {
        settings.url = proxy.url().to_owned();
        settings.timeout = Duration::from_secs(1);
    });
    let answers = [
        statements.store(vec![numbered(1)]).await.map(drop),
        statements.ping().await,
        statements.aggregate(&Default::default(), &json!({})).await.map(drop),
    ];
    for answer in answers {
        let Err(StatementsError::Unavailable(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("no answer within 1 s; ELASTICSEARCH_TIMEOUT sets the limit"), "{reason}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3, "each call was sent once");
}

/// The n-th request of a call is done by the engine and its answer is lost, for every n.
async fn lost_answers(place: &Place) {
    let direct = place.prepared().await;
    // A target that is there before its voiding statement, one that comes with it, and one that comes after.
    let calls = |round: u64| {
        let at = round * 100;
        [vec![numbered(at), voiding(at + 10, at + 1)], vec![voiding(at + 11, at), numbered(at + 1), numbered(at + 2)]]
    };
    for round in 0.. {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let proxy = proxy(place, move |_| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            if number == round { Act::HalfAnAnswer } else { Act::Pass }
        })
        .await;
        let statements = through(place, &proxy);
        let mut lost = 0;
        for call in calls(round as u64) {
            let mut answer = statements.store(call.clone()).await;
            if let Err(error) = &answer {
                assert!(error.is_transient(), "{error}");
                lost += 1;
                answer = statements.store(call).await;
            }
            let outcomes = answer.unwrap();
            assert!(all_created(&outcomes), "{outcomes:?}");
        }
        let at = round as u64 * 100;
        for (number, voided) in [(at, true), (at + 1, true), (at + 2, false), (at + 10, false)] {
            let found = direct.get("academy", numbered(number).id).await.unwrap().unwrap();
            assert_eq!(found.voided, voided, "{number} after the loss of answer {round}");
        }
        assert_eq!(count(&direct).await, (round as u64 + 1) * 5);
        if lost == 0 {
            assert!(round > 8, "the two calls take more than {round} requests");
            break;
        }
    }
}

async fn too_large(place: &Place) {
    place.prepared().await;
    let bulks = Arc::new(AtomicUsize::new(0));
    let counted = bulks.clone();
    let proxy = proxy(place, move |asked| {
        counted.fetch_add(usize::from(asked.is_bulk()), Ordering::SeqCst);
        if asked.body.len() > 20_000 {
            Act::Answer(413, "<html>Request Entity Too Large</html>".to_owned())
        } else {
            Act::Pass
        }
    })
    .await;
    let statements = through(place, &proxy);
    let mut documents: Vec<_> = (0..200).map(numbered).collect();
    documents[50].raw = "x".repeat(30_000).into();
    let outcomes = statements.store(documents).await.unwrap();
    for (at, outcome) in outcomes.iter().enumerate() {
        match outcome {
            StoreOutcome::Refused { reason } => {
                assert!(at == 50 && reason.contains("larger than the server takes"), "{reason}");
            }
            outcome => assert_eq!((outcome, at != 50), (&StoreOutcome::Created, true), "{at}"),
        }
    }
    assert!(bulks.load(Ordering::SeqCst) > 8);
    assert_eq!(count(&place.client(|_| {})).await, 199);
}

async fn away(place: &Place) {
    place.prepared().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let answer = place.client(|settings| settings.url = closed.clone()).ping().await;
    let Err(StatementsError::Unavailable(reason)) = answer else { panic!("{answer:?}") };
    assert!(reason.contains(&closed) && reason.contains("is the server up and ELASTICSEARCH_URL right?"), "{reason}");

    for (status, is_transient, told) in [
        (200, false, "none of Elasticsearch or OpenSearch"),
        (502, true, "HTTP 502"),
        (503, true, "HTTP 503"),
        (429, true, "HTTP 429"),
    ] {
        let proxy = proxy(place, move |_| Act::Answer(status, "<html>Hello</html>".to_owned())).await;
        let statements = through(place, &proxy);
        for answer in [statements.ping().await, statements.store(vec![numbered(1)]).await.map(drop)] {
            let error = answer.unwrap_err();
            assert_eq!(error.is_transient(), is_transient, "{error}");
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}

async fn compressed(place: &Place) {
    place.prepared().await;
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = sizes.clone();
    let proxy = proxy(place, move |asked| {
        if asked.is_bulk() {
            seen.lock().unwrap().push((asked.headers.contains_key(CONTENT_ENCODING), asked.body.len()));
        }
        Act::Pass
    })
    .await;
    for (compresses, first) in [(false, 0), (true, 100)] {
        let statements = place.client(|settings| {
            settings.url = proxy.url().to_owned();
            settings.compresses_requests = compresses;
        });
        let documents: Vec<_> = (first..first + 100).map(numbered).collect();
        assert!(all_created(&statements.store(documents.clone()).await.unwrap()));
        assert_eq!(statements.get("academy", documents[3].id).await.unwrap().unwrap().document, documents[3]);
    }
    let sizes = sizes.lock().unwrap().clone();
    let [(false, plain), (true, small)] = sizes[..] else { panic!("{sizes:?}") };
    assert!(small * 3 < plain, "{small} of {plain} bytes");
}

async fn failed_refresh(place: &Place) {
    place.prepared().await;
    let proxy = proxy(place, |asked| {
        if asked.uri.path().ends_with("/_refresh") {
            Act::Change(|answer| answer["_shards"]["failed"] = json!(1))
        } else {
            Act::Pass
        }
    })
    .await;
    let answer = through(place, &proxy).store(vec![numbered(1)]).await;
    assert!(answer.as_ref().is_err_and(StatementsError::is_transient), "{answer:?}");
    assert!(all_created(&place.client(|_| {}).store(vec![numbered(1)]).await.unwrap()));
}
