//! The index itself: who may create it, what no statement does to it, and how it gets more shards.

use std::slice::from_ref;

use futures::future::join_all;
use lyceum_core::ports::statements::{
    QueryDocuments, StatementDocument, StatementsError, StoreDocuments, StoreOutcome,
};
use lyceum_elasticsearch::document_id;
use lyceum_proxies::http::{Act, HttpProxy};
use lyceum_services::{Endpoints, Service, Suite};
use serde_json::{Map, Value, json};

use crate::on_engines;
use crate::place::{Place, all_created, count, everything, numbered, on_engine, runtime, voiding};

pub(crate) fn add(suite: &mut Suite) {
    on_engines(suite, "index::no_statement_breaks_or_blows_up_the_mapping", odd_statements);
    on_engines(suite, "index::it_is_prepared_by_many_at_once_and_again", prepare_at_once);
    on_engines(suite, "index::a_newer_schema_is_refused_by_name_and_left_alone", newer_schema);
    on_engines(suite, "index::what_is_none_of_ours_is_refused_and_left_alone", foreign);
    on_engines(suite, "index::no_template_of_others_decides_its_mapping", templates_of_others);
    on_engines(suite, "index::who_answers_is_asked_and_a_failure_is_no_answer", who_answers);
    on_engines(suite, "index::without_it_statements_are_refused_and_none_is_made", missing);
    on_engines(suite, "index::two_writers_at_once_void_in_any_order", void_at_once);
    on_engines(suite, "index::a_mark_changes_nothing_of_the_statement", mark);
    // Reindexing is in a module that the smallest distributions of Elasticsearch and of OpenSearch 2 lack.
    let name = "opensearch::index::it_gets_more_shards_by_reindexing_behind_the_alias";
    suite.test_where(name, &[Service::OpenSearch], lacks_reindexing, |endpoints| {
        on_engine(endpoints.url(Service::OpenSearch), more_shards);
    });
}

fn lacks_reindexing(endpoints: &Endpoints) -> Option<String> {
    let url = format!("{}/_nodes/plugins", endpoints.url(Service::OpenSearch));
    let modules =
        runtime().block_on(async { lyceum_https::client().get(url).send().await.unwrap().text().await.unwrap() });
    let has_it = modules.contains(r#""name":"reindex""#);
    (!has_it).then(|| "the OpenSearch in use lacks the module reindex: a complete one has it".to_owned())
}

async fn mapping(place: &Place) -> Value {
    place.engine("GET", &format!("/{}/_mapping", place.settings.index), None).await.1
}

async fn odd_statements(place: &Place) {
    let statements = place.prepared().await;
    let before = mapping(place).await;
    let many: Map<String, Value> =
        (0..10_000).map(|number| (format!("http://example.org/{number}/a.b..c"), json!({"x.y": [number]}))).collect();
    let deep = format!("{}1{}", "{\"a.\":[".repeat(3_000), "]}".repeat(3_000));
    let digits = "1234567890".repeat(4);
    let raws = [
        json!({"context": {"extensions": many}}).to_string(),
        format!(r#"{{"a":1e400,"b":{digits},"c":-{digits}.{digits}e-{},"d":-0}}"#, 999),
        format!(r#"{{"":1,".":2,"a..b":3,"a.b":{{"c":1}},"a.b.c":"text","_id":"x","_source":{{}},"deep":{deep}}}"#),
        format!(r#"{{"large":"{}"}}"#, "ü🎓\\n".repeat(1 << 17)),
        r#"{"id":"b","tenant":7,"voided":true,"timestamp_ms":"never"}"#.to_owned(),
    ];
    let documents: Vec<StatementDocument> = raws
        .iter()
        .zip(1..)
        .map(|(raw, number)| StatementDocument { raw: raw.clone().into(), ..numbered(number) })
        .chain([StatementDocument { raw: (0..=255).cycle().take(70_000).collect::<Vec<u8>>().into(), ..numbered(99) }])
        .collect();
    assert!(documents.iter().any(|document| document.raw.len() > 1 << 20));
    assert!(all_created(&statements.store(documents.clone()).await.unwrap()));
    for document in &documents {
        let found = statements.get("academy", document.id).await.unwrap().unwrap();
        assert!(found.document == *document, "{} came back as another", document.source);
    }
    let found = statements.search(&everything(), 100, None).await.unwrap();
    assert_eq!(found.total, documents.len() as u64);
    assert_eq!(mapping(place).await, before, "no statement changes the mapping");
}

async fn prepare_at_once(place: &Place) {
    let prepared = join_all((0..8).map(|_| async { place.client(|_| {}).prepare().await })).await;
    assert!(prepared.iter().all(Result::is_ok), "{prepared:?}");
    let statements = place.prepared().await;
    assert!(all_created(&statements.store(vec![numbered(1)]).await.unwrap()));
    statements.prepare().await.unwrap();
    assert_eq!(count(&statements).await, 1);
    let (_, found) = place.engine("GET", &format!("/{}", place.settings.index), None).await;
    assert_eq!(found.as_object().unwrap().len(), 1, "one index behind the alias");
}

fn refusal(answer: Result<(), StatementsError>) -> String {
    match answer {
        Err(StatementsError::Refused(reason)) => reason,
        other => panic!("{other:?} is no refusal"),
    }
}

async fn newer_schema(place: &Place) {
    let statements = place.prepared().await;
    let index = &place.settings.index;
    let newer = json!({"_meta": {"lyceum": {"schema": 2}}});
    place.tell("PUT", &format!("/{index}-v1/_mapping"), newer).await;
    let reason = refusal(statements.prepare().await);
    assert!(
        reason.contains(&format!("{index}-v1 was written by a newer version (schema 2, this one reads 1)")),
        "{reason}"
    );
    assert_eq!(mapping(place).await[format!("{index}-v1")]["mappings"]["_meta"]["lyceum"]["schema"], 2);

    // A template of a newer release stays, too.
    let path = format!("/_index_template/{index}");
    let pattern = json!({"index_patterns": [format!("{index}-v*")], "version": 9, "priority": 150});
    place.tell("PUT", &path, pattern).await;
    refusal(statements.prepare().await);
    let (_, template) = place.engine("GET", &path, None).await;
    assert_eq!(template["index_templates"][0]["index_template"]["version"], 9);
}

async fn foreign(place: &Place) {
    let index = &place.settings.index;
    let statements = place.client(|_| {});
    place.tell("PUT", &format!("/{index}"), json!({})).await;
    let reason = refusal(statements.prepare().await);
    assert!(reason.contains("is an index, and must be an alias"), "{reason}");
    let answer = statements.store(vec![numbered(1)]).await;
    assert!(answer.as_ref().is_err_and(|error| !error.is_transient()), "nothing goes where no alias is: {answer:?}");
    place.engine("DELETE", &format!("/{index}"), None).await;

    place.tell("PUT", &format!("/{index}-v1-wide"), json!({"aliases": {index: {}}})).await;
    let reason = refusal(statements.prepare().await);
    assert!(reason.contains("is no statement index"), "{reason}");
    place.engine("DELETE", &format!("/{index}-v1-wide"), None).await;

    place.tell("PUT", &format!("/{index}-v1"), json!({})).await;
    let reason = refusal(statements.prepare().await);
    assert!(reason.contains(&format!("the index {index}-v1 is there and the alias {index} is not")), "{reason}");
}

async fn templates_of_others(place: &Place) {
    let index = &place.settings.index;
    let pattern = json!([format!("{index}-v*")]);
    let mut theirs = json!({"dynamic": true, "properties": {"verb": {"type": "text"}}});
    // One that the engine prefers, and one of our own template's name.
    let preferred = format!("/_index_template/{index}-of-others");
    let body = json!({"index_patterns": pattern, "priority": 9_000, "template": {"mappings": theirs}});
    place.tell("PUT", &preferred, body).await;
    let named = format!("/_index_template/{index}");
    let body = json!({"index_patterns": pattern, "priority": 8_000, "version": 7, "template": {}});
    place.tell("PUT", &named, body).await;
    let statements = place.prepared().await;
    assert!(all_created(&statements.store(vec![numbered(1)]).await.unwrap()));
    assert_eq!(count(&statements).await, 1);
    let (_, found) = place.engine("GET", &format!("/{index}"), None).await;
    let found = &found[format!("{index}-v1")];
    assert_eq!(found["mappings"]["dynamic"], "false");
    assert_eq!(found["mappings"]["properties"]["verb"]["type"], "keyword");
    assert_eq!(found["settings"]["index"]["codec"], "best_compression");
    assert_eq!(found["settings"]["index"]["number_of_replicas"], "0");
    place.engine("DELETE", &format!("/{index}-v1"), None).await;

    // What no request can take back is seen afterwards.
    theirs["_routing"] = json!({"required": true});
    let body = json!({"index_patterns": pattern, "priority": 9_000, "template": {"mappings": theirs}});
    place.tell("PUT", &preferred, body).await;
    let reason = refusal(place.client(|_| {}).prepare().await);
    assert!(
        reason.contains("_routing") && reason.contains(&format!("keep other templates from {index}-v*")),
        "{reason}"
    );
    let reason = refusal(place.client(|_| {}).prepare().await);
    assert!(reason.contains("_routing"), "the next one is reported, too: {reason}");
    place.engine("DELETE", &preferred, None).await;
}

async fn who_answers(place: &Place) {
    for (status, is_transient, told) in
        [(401, false, "the credentials are not accepted"), (403, false, "monitor"), (503, true, "HTTP 503")]
    {
        let proxy = HttpProxy::to(&place.settings.url, move |asked, _| match asked.uri.path() {
            "/" => Act::Answer(status, r#"{"error":"not now"}"#.to_owned()),
            _ => Act::Pass,
        })
        .await
        .unwrap();
        let error = place.client(|settings| settings.url = proxy.url().to_owned()).prepare().await.unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    let (status, _) = place.engine("GET", &format!("/{}", place.settings.index), None).await;
    assert_eq!(status, 404, "nothing was created meanwhile");
    place.prepared().await;
}

async fn missing(place: &Place) {
    let statements = place.client(|_| {});
    let answers = [
        statements.store(vec![numbered(1)]).await.map(drop),
        statements.ping().await,
        statements.get("academy", numbered(1).id).await.map(drop),
        statements.search(&everything(), 1, None).await.map(drop),
        statements.aggregate(&everything(), &json!({})).await.map(drop),
    ];
    for answer in answers {
        let reason = refusal(answer);
        assert!(reason.contains("prepare the index, or correct ELASTICSEARCH_INDEX"), "{reason}");
    }
    let (status, _) = place.engine("GET", &format!("/{}", place.settings.index), None).await;
    assert_eq!(status, 404, "the engine did not make an index of its own guessing");
}

async fn void_at_once(place: &Place) {
    const PAIRS: u64 = 24;
    let (one, other) = (place.prepared().await, place.client(|_| {}));
    let targets = async {
        for number in 0..PAIRS {
            assert!(all_created(&one.store(vec![numbered(number)]).await.unwrap()));
        }
    };
    let voids = async {
        for number in 0..PAIRS {
            assert!(all_created(&other.store(vec![voiding(1_000 + number, number)]).await.unwrap()));
        }
    };
    futures::join!(targets, voids);
    for number in 0..PAIRS {
        let found = one.get("academy", numbered(number).id).await.unwrap().unwrap();
        assert!(found.voided, "{number} is voided");
        assert_eq!(found.document, numbered(number));
    }
    let visible = one.search(&Default::default(), 1, None).await.unwrap();
    assert_eq!(visible.total, PAIRS, "the voiding ones");
}

async fn mark(place: &Place) {
    let statements = place.prepared().await;
    let raw = r#" {"a":1e400,"b":"\u0000\ud83d\ude00","c":9007199254740993.0} "#;
    let mut target = StatementDocument { raw: raw.into(), ..numbered(1) };
    target.fields.timestamp_ms = i64::MIN;
    target.fields.score_scaled = Some(-f64::MIN_POSITIVE);
    target.fields.response = Some("\u{0}\u{1f}🎓".into());
    assert!(all_created(&statements.store(vec![target.clone(), voiding(2, 1)]).await.unwrap()));
    for _ in 0..2 {
        let found = statements.get("academy", target.id).await.unwrap().unwrap();
        assert_eq!((&found.document, found.voided), (&target, true));
        let again = statements.store(vec![target.clone(), voiding(2, 1)]).await.unwrap();
        assert!(all_created(&again), "{again:?}");
    }
    let path = format!("/{}/_search", place.settings.index);
    let query = json!({"query": {"ids": {"values": [document_id("academy", target.id)]}}});
    let (_, found) = place.engine("POST", &path, Some(query)).await;
    assert_eq!(found["hits"]["hits"][0]["_source"]["raw"], raw, "a person finds the bytes in the document");
}

/// What docs/operations.md tells to do.
async fn more_shards(place: &Place) {
    let statements = place.prepared().await;
    let documents: Vec<_> = (0..200).map(numbered).chain([voiding(900, 7)]).collect();
    assert!(all_created(&statements.store(documents.clone()).await.unwrap()));
    let index = &place.settings.index;
    let wide = format!("{index}-v1-wide");
    place.tell("PUT", &format!("/{wide}"), json!({"settings": {"index.number_of_shards": 3}})).await;
    place.set_block("write", json!(true)).await;
    let held = statements.store(vec![numbered(300)]).await.unwrap();
    assert!(matches!(held[0], StoreOutcome::Unavailable { .. }), "{held:?}");
    let copy = json!({"source": {"index": index}, "dest": {"index": wide, "op_type": "create"}});
    let copied = place.tell("POST", "/_reindex?refresh=true", copy).await;
    assert_eq!(copied["created"], 201, "{copied}");
    let swap = json!({"actions": [
        {"add": {"index": wide, "alias": index, "is_write_index": true}},
        {"remove": {"index": format!("{index}-v1"), "alias": index}},
    ]});
    place.tell("POST", "/_aliases", swap).await;
    statements.prepare().await.unwrap();
    assert_eq!(count(&statements).await, 201);
    assert!(all_created(&statements.store(documents).await.unwrap()), "each is there from its own record");
    assert_eq!(count(&statements).await, 201);
    assert!(statements.get("academy", numbered(7).id).await.unwrap().unwrap().voided);
    let late = voiding(901, 8);
    assert!(all_created(&statements.store(from_ref(&late).to_vec()).await.unwrap()));
    assert!(statements.get("academy", numbered(8).id).await.unwrap().unwrap().voided, "across shards");
}
