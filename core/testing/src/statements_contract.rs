//! What every adapter of this port must do, and its twin and its model with it.
//!
//! Each check makes tenants of its own, so that many may run against one index at the same time. The store must have been
//! made with a statement equality under which white space does not count and another verb does.
//! [`statements_contract!`](crate::statements_contract!) makes a test of each check, or hands its name to a macro of the
//! caller's own, for a harness that is not the standard one.
#![expect(missing_docs, reason = "a check's name is its sentence")]

use std::collections::HashSet;
use std::slice::from_ref;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use lyceum_core::analytics::learner::learner;
use lyceum_core::analytics::learner_id::LearnerId;
use lyceum_core::analytics::learning::learning;
use lyceum_core::analytics::platform;
use lyceum_core::analytics::survey::survey;
use lyceum_core::ports::statements::semantics::Cursor;
use lyceum_core::ports::statements::{
    Filter, StatementDocument, StatementFields, Statements, StoreOutcome, StoredStatement,
};
use lyceum_core::record::Position;

/// Makes a tokio test of each check: `statements_contract!(with_store)`, where
/// `async fn with_store(check: impl AsyncFnOnce(&dyn Statements))` opens a store, runs the check and cleans up.
/// `statements_contract!(each add)` calls the macro `add!(name_of_a_check);` for each one.
#[macro_export]
macro_rules! statements_contract {
    (@each $each:ident: $($check:ident)+) => {
        $($each!($check);)+
    };
    (@tests $with_store:path: $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                $with_store($crate::statements_contract::$check).await;
            }
        )+
    };
    (each $each:ident) => {
        $crate::statements_contract! { @list @each $each }
    };
    (@list $($then:tt)+) => {
        $crate::statements_contract! { $($then)+:
            a_new_statement_is_created_and_comes_back_as_it_was_sent
            the_same_record_again_is_created_again
            an_equal_statement_from_another_record_is_a_duplicate_of_the_first
            a_different_statement_under_a_taken_id_is_a_conflict_and_the_first_stays
            within_one_call_the_first_of_an_id_counts_as_first
            tenants_may_use_the_same_statement_id
            raw_bytes_come_back_byte_for_byte
            ten_thousand_extension_keys_and_a_large_extension_value_are_stored
            odd_values_are_stored_and_found
            a_statement_is_visible_as_soon_as_its_call_returns
            nothing_is_found_where_nothing_is
            a_search_finds_by_each_field_and_by_all_together
            a_learner_is_found_under_any_of_several_identifiers
            statements_are_counted_apart_from_the_documents_of_other_families
            a_search_is_ordered_newest_first_then_by_id
            paging_gives_each_statement_once_and_tells_the_total
            a_scan_gives_each_statement_that_the_filter_leaves_once_and_in_parts
            a_page_of_a_wrong_size_or_cursor_is_refused
            a_voided_statement_is_left_out_whether_it_came_before_or_after
            voiding_works_within_one_call_in_either_order
            a_voiding_statement_cannot_be_voided
            voiding_stops_at_the_tenant
            a_conflicting_voiding_statement_voids_nothing
            terms_are_counted_most_first_then_by_key
            terms_beyond_the_size_are_summed_up
            terms_count_booleans_numbers_and_each_of_several_values
            sub_aggregations_count_within_their_bucket
            a_filter_aggregation_counts_what_has_the_value
            a_missing_aggregation_counts_what_has_no_value
            one_learner_under_an_address_and_its_sha1_is_active_once
            a_survey_of_any_tool_is_found_by_its_iri_and_by_a_segment_that_names_it_alone
            different_values_are_counted_exactly_when_they_are_few
            metrics_measure_numbers
            aggregations_of_a_field_that_no_statement_has_are_empty
            aggregations_without_hits_are_empty
            an_aggregation_that_is_not_promised_is_refused
            many_writers_of_the_same_ids_create_each_once
            a_store_answers_a_ping
        }
    };
    ($with_store:path) => {
        $crate::statements_contract! { @list @tests $with_store }
    };
}

const VERB: &str = "http://adlnet.gov/expapi/verbs/experienced";
const VOIDED: &str = "http://adlnet.gov/expapi/verbs/voided";
/// 2021-11-29T00:00:00Z.
const DAY_MS: i64 = 1_638_144_000_000;

fn new_tenant() -> String {
    format!("contract-{}", Uuid::new_v4())
}

fn all_of(tenant: &str) -> Filter {
    Filter { tenant: Some(tenant.to_owned()), ..Filter::default() }
}

fn position(offset: i64) -> Position {
    Position::new("nlj.xapi.statements", 0, offset)
}

/// A statement; `number` makes its id, its offset and its second.
fn statement(tenant: &str, number: u32) -> StatementDocument {
    let id = Uuid::from_u128(0xA000_0000_0000_4000_8000_0000_0000_0000 + u128::from(number));
    let actor = json!({"mbox": "mailto:learner@example.org"});
    let object = json!({"id": "http://example.org/activity"});
    let raw = json!({"id": id, "actor": actor, "verb": {"id": VERB}, "object": object}).to_string();
    StatementDocument {
        tenant: tenant.into(),
        id,
        raw: Bytes::from(raw),
        stored_ms: DAY_MS + 500,
        source: position(i64::from(number)),
        correlation_id: format!("correlation-{number}").into(),
        fields: StatementFields {
            event_type: "statement".into(),
            family: "statement".into(),
            timestamp_ms: DAY_MS + i64::from(number) * 1_000,
            day: "2021-11-29".into(),
            actor: "mbox:learner@example.org".into(),
            verb: VERB.into(),
            object_type: "Activity".into(),
            object: "http://example.org/activity".into(),
            ..StatementFields::default()
        },
    }
}

fn with_fields(tenant: &str, number: u32, change: impl FnOnce(&mut StatementFields)) -> StatementDocument {
    let mut document = statement(tenant, number);
    change(&mut document.fields);
    document
}

fn voiding(tenant: &str, number: u32, target: Uuid) -> StatementDocument {
    let mut document = with_fields(tenant, number, |fields| {
        fields.verb = VOIDED.into();
        fields.object_type = "StatementRef".into();
        fields.object = target.to_string().into();
        fields.voids = Some(target);
    });
    let object = json!({"objectType": "StatementRef", "id": target});
    let actor = json!({"mbox": "mailto:admin@example.org"});
    let raw = json!({"id": document.id, "actor": actor, "verb": {"id": VOIDED}, "object": object});
    document.raw = Bytes::from(raw.to_string());
    document
}

/// The same statement by another record, with other white space.
fn resent(document: &StatementDocument, offset: i64) -> StatementDocument {
    let raw = [b" ", &document.raw[..], b"\n"].concat().into();
    StatementDocument { raw, source: position(offset), ..document.clone() }
}

/// Another statement under the same id.
fn rewritten(document: &StatementDocument, offset: i64) -> StatementDocument {
    let raw = String::from_utf8_lossy(&document.raw).replace("/verbs/", "/other-verbs/").into();
    let mut other = StatementDocument { raw, source: position(offset), ..document.clone() };
    other.fields.verb = VERB.replace("/verbs/", "/other-verbs/").into();
    other
}

async fn store(statements: &dyn Statements, documents: &[StatementDocument]) -> Vec<StoreOutcome> {
    let outcomes = statements.store(documents.to_vec()).await.expect("the store answers");
    assert_eq!(outcomes.len(), documents.len(), "one outcome each");
    outcomes
}

async fn create(statements: &dyn Statements, documents: &[StatementDocument]) {
    let outcomes = store(statements, documents).await;
    assert!(outcomes.iter().all(|outcome| *outcome == StoreOutcome::Created), "{outcomes:?}");
}

async fn get(statements: &dyn Statements, document: &StatementDocument) -> StoredStatement {
    let found = statements.get(&document.tenant, document.id).await.expect("the store answers");
    found.expect("the statement is there")
}

async fn search(statements: &dyn Statements, filter: &Filter) -> Vec<StoredStatement> {
    let page = statements.search(filter, 1_000, None).await.expect("the store answers");
    assert_eq!(page.total, page.statements.len() as u64);
    assert_eq!(page.next, None);
    page.statements
}

async fn ids(statements: &dyn Statements, filter: &Filter) -> HashSet<Uuid> {
    search(statements, filter).await.iter().map(|found| found.document.id).collect()
}

fn ids_of(documents: &[&StatementDocument]) -> HashSet<Uuid> {
    documents.iter().map(|document| document.id).collect()
}

async fn aggregate(statements: &dyn Statements, filter: &Filter, aggregations: Value) -> Value {
    let mut answer = statements.aggregate(filter, &aggregations).await.expect("the store answers");
    answer["aggregations"].take()
}

async fn hits(statements: &dyn Statements, filter: &Filter) -> u64 {
    let answer = statements.aggregate(filter, &json!({})).await.expect("the store answers");
    answer["hits"].as_u64().expect("the answer tells its hits")
}

/// Key and count of each bucket; a boolean's key is its text.
fn buckets(terms: &Value) -> Vec<(String, u64)> {
    let buckets = terms["buckets"].as_array().expect("terms have buckets");
    buckets
        .iter()
        .map(|bucket| {
            let key = bucket.get("key_as_string").unwrap_or(&bucket["key"]);
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            (key, bucket["doc_count"].as_u64().expect("a bucket has a count"))
        })
        .collect()
}

fn counted(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

fn assert_number(value: &Value, expected: f64) {
    let number = value.as_f64().unwrap_or(f64::NAN);
    assert!((number - expected).abs() <= expected.abs() * 1e-12, "{value} is not {expected}");
}

pub async fn a_new_statement_is_created_and_comes_back_as_it_was_sent(statements: &dyn Statements) {
    let tenant = new_tenant();
    let full = with_fields(&tenant, 1, |fields| {
        fields.actor_sha1 = Some("0123456789abcdef0123456789abcdef01234567".into());
        fields.activity_type = Some("http://example.org/type".into());
        fields.registration = Some("6a9cd2a8-8d33-4b2c-9b9e-3f3cbd1f8f4e".into());
        fields.parents = vec!["http://example.org/b".into(), "http://example.org/a".into()];
        fields.survey = Some("survey".into());
        fields.question = Some("question".into());
        fields.response = Some("a response".into());
        fields.score_raw = Some(0.1 + 0.2);
        fields.score_scaled = Some(-1.0 / 3.0);
        fields.success = Some(true);
        fields.completion = Some(false);
    });
    let bare = with_fields(&tenant, 2, |fields| fields.actor = String::new());
    create(statements, &[full.clone(), bare.clone()]).await;
    for document in [full, bare] {
        let found = get(statements, &document).await;
        assert_eq!(found, StoredStatement { document, voided: false });
    }
}

pub async fn the_same_record_again_is_created_again(statements: &dyn Statements) {
    let tenant = new_tenant();
    let document = statement(&tenant, 1);
    create(statements, from_ref(&document)).await;
    create(statements, &[document.clone(), document.clone(), statement(&tenant, 2)]).await;
    assert_eq!(hits(statements, &all_of(&tenant)).await, 2);
}

pub async fn an_equal_statement_from_another_record_is_a_duplicate_of_the_first(statements: &dyn Statements) {
    let tenant = new_tenant();
    let document = statement(&tenant, 1);
    create(statements, from_ref(&document)).await;
    let same_bytes = StatementDocument { source: position(77), ..document.clone() };
    let duplicate = StoreOutcome::Duplicate { first: document.source.clone() };
    assert_eq!(store(statements, &[same_bytes, resent(&document, 78)]).await, [duplicate.clone(), duplicate]);
    assert_eq!(get(statements, &document).await.document, document);
    assert_eq!(hits(statements, &all_of(&tenant)).await, 1);
}

pub async fn a_different_statement_under_a_taken_id_is_a_conflict_and_the_first_stays(statements: &dyn Statements) {
    let tenant = new_tenant();
    let document = statement(&tenant, 1);
    create(statements, from_ref(&document)).await;
    let conflict = StoreOutcome::Conflict { first: document.source.clone() };
    let outcomes = store(statements, &[rewritten(&document, 9), statement(&tenant, 2)]).await;
    assert_eq!(outcomes, [conflict, StoreOutcome::Created]);
    assert_eq!(get(statements, &document).await.document, document);
    assert_eq!(hits(statements, &all_of(&tenant)).await, 2);
}

pub async fn within_one_call_the_first_of_an_id_counts_as_first(statements: &dyn Statements) {
    let tenant = new_tenant();
    let document = statement(&tenant, 1);
    let call = [document.clone(), resent(&document, 8), rewritten(&document, 9), document.clone()];
    let first = document.source.clone();
    let expected = [
        StoreOutcome::Created,
        StoreOutcome::Duplicate { first: first.clone() },
        StoreOutcome::Conflict { first },
        StoreOutcome::Created,
    ];
    assert_eq!(store(statements, &call).await, expected);
    assert_eq!(get(statements, &document).await.document, document);
    assert_eq!(hits(statements, &all_of(&tenant)).await, 1);
}

pub async fn tenants_may_use_the_same_statement_id(statements: &dyn Statements) {
    let (one, other) = (new_tenant(), new_tenant());
    let (mine, theirs) = (statement(&one, 1), rewritten(&statement(&other, 1), 5));
    create(statements, &[mine.clone(), theirs.clone()]).await;
    assert_eq!(get(statements, &mine).await.document, mine);
    assert_eq!(get(statements, &theirs).await.document, theirs);
    assert_eq!(search(statements, &all_of(&one)).await.len(), 1);
    assert_eq!(hits(statements, &all_of(&other)).await, 1);
    assert_eq!(statements.get(&new_tenant(), mine.id).await, Ok(None));
}

pub async fn raw_bytes_come_back_byte_for_byte(statements: &dyn Statements) {
    let tenant = new_tenant();
    let raws = [
        " \t\r\n{ \"a\" :\n1 } \n".to_owned(),
        r#"{"escapes":"\u00e9\ud83d\ude00\/\b\f\n\r\t\\\"","solidus":"\/"}"#.to_owned(),
        r#"{"numbers":[0.10000000000000001,12345678901234567,1e400,-0,1.0,1E+2,9007199254740993.0]}"#.to_owned(),
        "{\"unicode\":\"é e\u{301} 日本語 🎓 \u{202e}x \u{0} \u{7f}\"}".to_owned(),
        r#"{"twice":1,"twice":2}"#.to_owned(),
        String::new(),
    ];
    let numbered = raws.iter().zip(1..);
    let documents: Vec<_> = numbered
        .map(|(raw, number)| StatementDocument { raw: raw.clone().into(), ..statement(&tenant, number) })
        .collect();
    create(statements, &documents).await;
    for document in &documents {
        assert_eq!(get(statements, document).await.document.raw, document.raw);
    }
    let found = search(statements, &all_of(&tenant)).await;
    let newest_first: Vec<_> = documents.iter().rev().map(|document| &document.raw).collect();
    assert_eq!(found.iter().map(|found| &found.document.raw).collect::<Vec<_>>(), newest_first);
}

pub async fn ten_thousand_extension_keys_and_a_large_extension_value_are_stored(statements: &dyn Statements) {
    let tenant = new_tenant();
    let many: serde_json::Map<String, Value> = (0..10_000)
        .map(|number| (format!("http://example.org/ext.{number}/a.b"), json!({"deep": [number, null]})))
        .collect();
    let large = json!({"http://example.org/ext": "x".repeat(200_000)});
    let documents: Vec<_> = [json!({"context": {"extensions": many}}), json!({"context": {"extensions": large}})]
        .iter()
        .zip(1..)
        .map(|(raw, number)| StatementDocument { raw: raw.to_string().into(), ..statement(&tenant, number) })
        .collect();
    create(statements, &documents).await;
    for document in documents {
        assert_eq!(get(statements, &document).await.document, document);
    }
}

pub async fn odd_values_are_stored_and_found(statements: &dyn Statements) {
    let odd = [
        String::new(),
        " ".to_owned(),
        "\u{0}\u{1}\u{1f}\u{7f}\n".to_owned(),
        r#""quoted" \ back: AND (x OR *) ~1 [a TO b]"#.to_owned(),
        "Ünïcödé 日本語 🎓".to_owned(),
        format!("http://example.org/verbs/{}", "v".repeat(40_000)),
        format!("http://example.org/verbs/{}ü", "v".repeat(70_000)),
        format!("http://example.org/verbs/{}ö", "v".repeat(70_000)),
    ];
    for tenant in [new_tenant(), format!("{} / \"odd\" \\ ü\n", new_tenant())] {
        let documents: Vec<_> = odd
            .iter()
            .zip(1..)
            .map(|(value, number)| {
                with_fields(&tenant, number, |fields| {
                    fields.verb = value.clone().into();
                    fields.actor = value.clone();
                    fields.object = value.clone().into();
                    fields.response = Some(value.clone().into());
                    fields.survey = Some(value.clone().into());
                    fields.parents = vec![value.clone().into(), value.clone().into()];
                })
            })
            .collect();
        create(statements, &documents).await;
        for (document, value) in documents.iter().zip(&odd) {
            assert_eq!(get(statements, document).await.document, *document);
            let filter = Filter {
                verbs: vec![value.clone()],
                actors: vec![value.clone()],
                object: Some(value.clone()),
                survey: Some(value.clone()),
                ..all_of(&tenant)
            };
            assert_eq!(ids(statements, &filter).await, ids_of(&[document]), "{:.60?}", value);
            let asked = json!({"it": {"filter": {"term": {"response": value}}}});
            let answer = aggregate(statements, &all_of(&tenant), asked).await;
            assert_eq!(answer["it"]["doc_count"], 1, "{:.60?}", value);
        }
        let asked = json!({"verbs": {"cardinality": {"field": "verb"}}});
        let answer = aggregate(statements, &all_of(&tenant), asked).await;
        assert_number(&answer["verbs"]["value"], odd.len() as f64);
    }
}

pub async fn a_statement_is_visible_as_soon_as_its_call_returns(statements: &dyn Statements) {
    let tenant = new_tenant();
    for number in 1..=5 {
        let document = statement(&tenant, number);
        create(statements, from_ref(&document)).await;
        assert_eq!(get(statements, &document).await.document, document);
        assert_eq!(search(statements, &all_of(&tenant)).await[0].document, document);
        assert_eq!(hits(statements, &all_of(&tenant)).await, u64::from(number));
    }
}

pub async fn nothing_is_found_where_nothing_is(statements: &dyn Statements) {
    let tenant = new_tenant();
    assert_eq!(statements.store(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(statements.get(&tenant, Uuid::from_u128(1)).await, Ok(None));
    assert_eq!(search(statements, &all_of(&tenant)).await, []);
    create(statements, &[statement(&tenant, 1)]).await;
    let reversed = Filter { from_ms: Some(DAY_MS + 9_000), to_ms: Some(DAY_MS), ..all_of(&tenant) };
    assert_eq!(search(statements, &reversed).await, []);
}

pub async fn a_search_finds_by_each_field_and_by_all_together(statements: &dyn Statements) {
    let tenant = new_tenant();
    let registration = "6a9cd2a8-8d33-4b2c-9b9e-3f3cbd1f8f4e".to_owned();
    let wanted = with_fields(&tenant, 5, |fields| {
        fields.verb = "http://example.org/verbs/wanted".into();
        fields.event_type = "survey.answered".into();
        fields.actor = "mbox:wanted@example.org".into();
        fields.object = "http://example.org/wanted".into();
        fields.survey = Some("wanted".into());
        fields.registration = Some(registration.clone());
    });
    let others: Vec<_> = (1..=9).filter(|number| *number != 5).map(|number| statement(&tenant, number)).collect();
    create(statements, &others).await;
    create(statements, &[wanted.clone(), StatementDocument { tenant: new_tenant().into(), ..wanted.clone() }]).await;

    let parts: [fn(&mut Filter, &StatementDocument); 8] = [
        |filter, wanted| filter.verbs = vec!["http://example.org/verbs/none".into(), wanted.fields.verb.to_string()],
        |filter, wanted| filter.event_types = vec![wanted.fields.event_type.to_string(), "survey.started".into()],
        |filter, wanted| filter.actors = vec![wanted.fields.actor.clone()],
        |filter, wanted| filter.object = Some(wanted.fields.object.to_string()),
        |filter, wanted| filter.survey = wanted.fields.survey.as_ref().map(|text| text.to_string()),
        |filter, wanted| filter.registration = wanted.fields.registration.clone(),
        |filter, wanted| {
            filter.from_ms = Some(wanted.fields.timestamp_ms);
            filter.to_ms = Some(wanted.fields.timestamp_ms + 1);
        },
        |filter, wanted| filter.tenant = Some(wanted.tenant.to_string()),
    ];
    let mut together = all_of(&tenant);
    for part in &parts[..7] {
        let mut filter = all_of(&tenant);
        part(&mut filter, &wanted);
        part(&mut together, &wanted);
        assert_eq!(ids(statements, &filter).await, ids_of(&[&wanted]), "{filter:?}");
        assert_eq!(hits(statements, &filter).await, 1, "{filter:?}");
    }
    parts[7](&mut together, &wanted);
    assert_eq!(ids(statements, &together).await, ids_of(&[&wanted]));
    let mut missed = together.clone();
    missed.object = Some("http://example.org/other".into());
    assert_eq!(ids(statements, &missed).await, HashSet::new());

    let mut from = all_of(&tenant);
    from.from_ms = Some(wanted.fields.timestamp_ms);
    assert_eq!(hits(statements, &from).await, 5, "from is inclusive");
    let mut to = all_of(&tenant);
    to.to_ms = Some(wanted.fields.timestamp_ms);
    assert_eq!(hits(statements, &to).await, 4, "to is exclusive");
    let everyone = Filter { survey: Some("wanted".into()), tenant: None, ..together };
    assert!(hits(statements, &everyone).await >= 2, "without a tenant all tenants are searched");
}

pub async fn a_learner_is_found_under_any_of_several_identifiers(statements: &dyn Statements) {
    let tenant = new_tenant();
    let sha1 = "b4cd8a0d16a1f8a5b4cd8a0d16a1f8a5b4cd8a0d".to_owned();
    let by_mbox = with_fields(&tenant, 1, |fields| {
        fields.actor = "mbox:ada@example.org".into();
        fields.actor_sha1 = Some(sha1.clone());
    });
    let by_sha1 = with_fields(&tenant, 2, |fields| {
        fields.actor = format!("sha1:{sha1}");
        fields.actor_sha1 = Some(sha1.clone());
    });
    let by_account = with_fields(&tenant, 3, |fields| fields.actor = "account:http://example.org|ada".into());
    create(statements, &[by_mbox.clone(), by_sha1.clone(), by_account.clone(), statement(&tenant, 4)]).await;
    let learner = |actors: &[&StatementDocument], actor_sha1: Option<&String>| Filter {
        actors: actors.iter().map(|document| document.fields.actor.clone()).collect(),
        actor_sha1: actor_sha1.cloned(),
        ..all_of(&tenant)
    };
    let found = ids(statements, &learner(&[&by_mbox], None)).await;
    assert_eq!(found, ids_of(&[&by_mbox]));
    let found = ids(statements, &learner(&[], Some(&sha1))).await;
    assert_eq!(found, ids_of(&[&by_mbox, &by_sha1]));
    let found = ids(statements, &learner(&[&by_account], Some(&sha1))).await;
    assert_eq!(found, ids_of(&[&by_mbox, &by_sha1, &by_account]));
    let found = ids(statements, &learner(&[&by_account, &by_sha1], None)).await;
    assert_eq!(found, ids_of(&[&by_sha1, &by_account]));
}

/// What a family of another wire form stores, with as much as it may share with a statement.
fn other_document(tenant: &str, number: u32) -> StatementDocument {
    let mut document = with_fields(tenant, number, |fields| {
        fields.event_type = "course.completed".into();
        fields.family = "course".into();
        fields.day = "2021-11-30".into();
        fields.timestamp_ms = DAY_MS + 86_400_000;
        fields.actor = "mbox:another@example.org".into();
        (fields.verb, fields.object_type, fields.object) = Default::default();
        fields.survey = Some("pulse".into());
    });
    document.raw = Bytes::from_static(&[0, 0, 0, 0, 7, 0xff]);
    document
}

pub async fn statements_are_counted_apart_from_the_documents_of_other_families(statements: &dyn Statements) {
    let tenant = new_tenant();
    let objects = ["Activity", "Agent", "Group", "StatementRef", "SubStatement"];
    let of_objects = (1..).zip(objects);
    let of_objects = of_objects.map(|(number, object)| {
        with_fields(&tenant, number, |fields| {
            fields.object_type = object.into();
            fields.survey = (number == 1).then(|| "pulse".into());
        })
    });
    let stated: Vec<_> = of_objects.collect();
    let others = [other_document(&tenant, 8), other_document(&tenant, 9)];
    create(statements, &stated).await;
    create(statements, &others).await;
    let all = all_of(&tenant);
    assert_eq!(hits(statements, &all).await, 7);
    assert_eq!(ids(statements, &all.clone().of_statements()).await, ids_of(&stated.iter().collect::<Vec<_>>()));
    assert_eq!(ids(statements, &all.clone().of_others()).await, ids_of(&others.iter().collect::<Vec<_>>()));
    assert_eq!(get(statements, &others[0]).await.document, others[0]);
    let numbers = platform::overview(statements, &all).await.unwrap();
    let counts = (numbers.total, numbers.active_learners, numbers.verbs.len(), numbers.by_day.len());
    assert_eq!(counts, (5, 1, 1, 1));
    assert_eq!(numbers.last.map(|last| last.as_millis()), Some(DAY_MS + 5_000));
    let named = |types: &[platform::EventTypeCount]| -> Vec<(String, u64)> {
        types.iter().map(|of| (of.event_type.clone(), of.count)).collect()
    };
    assert_eq!(named(&numbers.event_types), counted(&[("statement", 5)]));
    assert_eq!(named(&numbers.other_documents), counted(&[("course.completed", 2)]));
    let learning = learning(statements, &all).await.unwrap();
    assert_eq!((learning.people, learning.statements, learning.by_day.len()), (1, 5, 1));
    let another = learner(statements, Some(&tenant), "another@example.org", None, None).await.unwrap();
    assert_eq!((another.statements, another.active_days), (0, 0));
    let pulse = search(statements, &Filter { survey: Some("pulse".into()), ..all.of_statements() }).await;
    assert_eq!(pulse.len(), 1);
}

pub async fn a_search_is_ordered_newest_first_then_by_id(statements: &dyn Statements) {
    let tenant = new_tenant();
    let at = |number, timestamp_ms| with_fields(&tenant, number, |fields| fields.timestamp_ms = timestamp_ms);
    let expected =
        [at(7, DAY_MS + 9), at(2, DAY_MS), at(5, DAY_MS), at(9, DAY_MS), at(1, 0), at(3, -1), at(4, i64::MIN)];
    let mut shuffled = expected.to_vec();
    shuffled.sort_by_key(|document| document.id.as_u128().wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (one, other) = shuffled.split_at(3);
    create(statements, one).await;
    create(statements, other).await;
    let found: Vec<_> = search(statements, &all_of(&tenant)).await.into_iter().map(|found| found.document).collect();
    assert_eq!(found, expected);
}

pub async fn paging_gives_each_statement_once_and_tells_the_total(statements: &dyn Statements) {
    let tenant = new_tenant();
    let documents: Vec<_> = (0..53)
        .map(|number| {
            with_fields(&tenant, number, |fields| fields.timestamp_ms = DAY_MS + i64::from(number / 10) * 1_000)
        })
        .collect();
    for part in documents.chunks(20) {
        create(statements, part).await;
    }
    let whole = search(statements, &all_of(&tenant)).await;
    assert_eq!(whole.len(), 53);
    for limit in [1, 7, 10, 52, 53, 54] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = statements.search(&all_of(&tenant), limit, after.as_deref()).await.expect("the store answers");
            assert_eq!(page.total, 53);
            assert!(page.statements.len() <= limit);
            found.extend(page.statements);
            after = page.next;
            if after.is_none() {
                break;
            }
            assert_eq!(found.len() % limit, 0, "only the last page is short");
        }
        assert_eq!(found, whole, "pages of {limit}");
    }
}

pub async fn a_scan_gives_each_statement_that_the_filter_leaves_once_and_in_parts(statements: &dyn Statements) {
    let tenant = new_tenant();
    let large = Bytes::from(format!("{{\"text\": {:?}}}", "x".repeat(600_000)));
    let document = |number| StatementDocument { raw: large.clone(), ..with_fields(&tenant, number, |_| {}) };
    let documents: Vec<_> = (0..40).map(document).collect();
    for part in documents.chunks(10) {
        create(statements, part).await;
    }
    create(statements, &[with_fields(&new_tenant(), 1, |_| {})]).await;
    let (mut found, mut parts, mut place) = (Vec::new(), 0, None);
    loop {
        let part = statements.scan(&all_of(&tenant), place).await.expect("the store answers");
        found.extend(part.statements);
        parts += 1;
        place = part.next;
        if place.is_none() {
            break;
        }
    }
    found.sort_by_key(|found| Cursor::of(&found.document));
    assert_eq!(found, search(statements, &all_of(&tenant)).await);
    assert!(parts > 1, "24 MB came at once");
    let none = statements.scan(&all_of(&new_tenant()), None).await.expect("the store answers");
    assert!(none.statements.is_empty() && none.next.is_none());
}

pub async fn a_page_of_a_wrong_size_or_cursor_is_refused(statements: &dyn Statements) {
    let filter = all_of(&new_tenant());
    for (limit, after) in [(0, None), (1_001, None), (10, Some("no cursor of ours"))] {
        let answer = statements.search(&filter, limit, after).await;
        assert!(answer.as_ref().is_err_and(|error| !error.is_transient()), "{answer:?}");
    }
}

pub async fn a_voided_statement_is_left_out_whether_it_came_before_or_after(statements: &dyn Statements) {
    let tenant = new_tenant();
    let (kept, early, late) = (statement(&tenant, 1), statement(&tenant, 2), statement(&tenant, 3));
    let (void_early, void_late) = (voiding(&tenant, 4, early.id), voiding(&tenant, 5, late.id));
    create(statements, &[kept.clone(), early.clone()]).await;
    create(statements, from_ref(&void_early)).await;
    create(statements, from_ref(&void_late)).await;
    create(statements, from_ref(&late)).await;

    let visible = ids_of(&[&kept, &void_early, &void_late]);
    assert_eq!(ids(statements, &all_of(&tenant)).await, visible);
    assert_eq!(hits(statements, &all_of(&tenant)).await, 3);
    for (document, voided) in [(&kept, false), (&early, true), (&late, true), (&void_early, false)] {
        assert_eq!(get(statements, document).await, StoredStatement { document: document.clone(), voided });
    }
    let with_voided = Filter { include_voided: true, ..all_of(&tenant) };
    assert_eq!(hits(statements, &with_voided).await, 5);
    let found = search(statements, &with_voided).await;
    let voided: HashSet<_> = found.iter().filter(|found| found.voided).map(|found| found.document.id).collect();
    assert_eq!(voided, ids_of(&[&early, &late]));
    let again = StoreOutcome::Duplicate { first: early.source.clone() };
    assert_eq!(store(statements, &[resent(&early, 90)]).await, [again], "a voided id stays taken");
}

pub async fn voiding_works_within_one_call_in_either_order(statements: &dyn Statements) {
    let tenant = new_tenant();
    let (before, after) = (statement(&tenant, 1), statement(&tenant, 2));
    let (void_before, void_after) = (voiding(&tenant, 3, before.id), voiding(&tenant, 4, after.id));
    create(statements, &[before, void_before.clone(), void_after.clone(), after]).await;
    assert_eq!(ids(statements, &all_of(&tenant)).await, ids_of(&[&void_before, &void_after]));
}

pub async fn a_voiding_statement_cannot_be_voided(statements: &dyn Statements) {
    let tenant = new_tenant();
    let target = statement(&tenant, 1);
    let void = voiding(&tenant, 2, target.id);
    let void_the_void = voiding(&tenant, 3, void.id);
    let (void_early, later_void) = (voiding(&tenant, 4, statement(&tenant, 5).id), voiding(&tenant, 5, target.id));
    create(statements, &[target.clone(), void.clone()]).await;
    create(statements, &[void_the_void.clone(), void_early.clone()]).await;
    create(statements, from_ref(&later_void)).await;
    assert!(!get(statements, &void).await.voided);
    assert!(!get(statements, &later_void).await.voided, "also when it comes after the one that names it");
    assert!(get(statements, &target).await.voided, "and what it voided stays voided");
    let visible = ids_of(&[&void, &void_the_void, &void_early, &later_void]);
    assert_eq!(ids(statements, &all_of(&tenant)).await, visible);
}

pub async fn voiding_stops_at_the_tenant(statements: &dyn Statements) {
    let (one, other) = (new_tenant(), new_tenant());
    let (mine, theirs) = (statement(&one, 1), statement(&other, 1));
    create(statements, &[mine.clone(), theirs.clone(), voiding(&other, 2, mine.id)]).await;
    assert!(!get(statements, &mine).await.voided);
    assert!(get(statements, &theirs).await.voided);
    assert_eq!(ids(statements, &all_of(&one)).await, ids_of(&[&mine]));
}

pub async fn a_conflicting_voiding_statement_voids_nothing(statements: &dyn Statements) {
    let tenant = new_tenant();
    let (target, first) = (statement(&tenant, 1), statement(&tenant, 2));
    create(statements, &[target.clone(), first.clone()]).await;
    let impostor = StatementDocument { source: position(50), ..voiding(&tenant, 2, target.id) };
    let conflict = StoreOutcome::Conflict { first: first.source.clone() };
    assert_eq!(store(statements, &[impostor]).await, [conflict]);
    assert!(!get(statements, &target).await.voided);
    assert_eq!(ids(statements, &all_of(&tenant)).await, ids_of(&[&target, &first]));
}

/// Six answers: verbs a×3, c×2, b×1 over two calls.
async fn create_answers(statements: &dyn Statements) -> Filter {
    let tenant = new_tenant();
    let answer = |number: u32, verb: &str, score: Option<f64>, success: bool, question: &str| {
        with_fields(&tenant, number, |fields| {
            fields.verb = verb.into();
            fields.event_type = if success { "survey.answered" } else { "survey.started" }.into();
            fields.score_raw = score;
            fields.success = Some(success);
            fields.question = Some(question.into());
            fields.parents = vec![format!("http://example.org/{question}").into(), "http://example.org/all".into()];
        })
    };
    let answers = [
        answer(1, "a", Some(4.0), true, "q1"),
        answer(2, "c", Some(-2.5), true, "q2"),
        answer(3, "a", None, false, "q1"),
        answer(4, "b", Some(0.0), true, "q1"),
        answer(5, "c", Some(4.0), false, "q2"),
        answer(6, "a", Some(10.0), true, "q3"),
    ];
    create(statements, &answers[..4]).await;
    create(statements, &answers[4..]).await;
    all_of(&tenant)
}

pub async fn terms_are_counted_most_first_then_by_key(statements: &dyn Statements) {
    let filter = create_answers(statements).await;
    let asked = json!({"verbs": {"terms": {"field": "verb"}}, "questions": {"terms": {"field": "question"}}});
    let answer = aggregate(statements, &filter, asked).await;
    assert_eq!(buckets(&answer["verbs"]), counted(&[("a", 3), ("c", 2), ("b", 1)]));
    assert_eq!(buckets(&answer["questions"]), counted(&[("q1", 3), ("q2", 2), ("q3", 1)]));
    let only_single = Filter { verbs: vec!["b".into(), "c".into()], to_ms: Some(DAY_MS + 5_000), ..filter };
    let answer = aggregate(statements, &only_single, json!({"verbs": {"terms": {"field": "verb"}}})).await;
    assert_eq!(buckets(&answer["verbs"]), counted(&[("b", 1), ("c", 1)]), "equal counts go by key");
}

pub async fn terms_beyond_the_size_are_summed_up(statements: &dyn Statements) {
    let filter = create_answers(statements).await;
    let answer = aggregate(statements, &filter, json!({"verbs": {"terms": {"field": "verb", "size": 1}}})).await;
    assert_eq!(buckets(&answer["verbs"]), counted(&[("a", 3)]));
    assert_eq!(answer["verbs"]["sum_other_doc_count"], 3);

    let tenant = new_tenant();
    let many: Vec<_> = (0..300)
        .map(|number| with_fields(&tenant, number, |fields| fields.verb = format!("verb-{:03}", number % 150).into()))
        .collect();
    create(statements, &many).await;
    let asked = json!({"ten": {"terms": {"field": "verb"}}, "all": {"terms": {"field": "verb", "size": 1_000}}});
    let answer = aggregate(statements, &all_of(&tenant), asked).await;
    let expected: Vec<_> = (0..150).map(|number| (format!("verb-{number:03}"), 2)).collect();
    assert_eq!(buckets(&answer["ten"]), expected[..10], "ten where the asker does not say");
    assert_eq!(buckets(&answer["all"]), expected);
}

pub async fn terms_count_booleans_numbers_and_each_of_several_values(statements: &dyn Statements) {
    let filter = create_answers(statements).await;
    let asked = json!({
        "success": {"terms": {"field": "success"}},
        "scores": {"terms": {"field": "score_raw"}},
        "parents": {"terms": {"field": "parents"}},
    });
    let answer = aggregate(statements, &filter, asked).await;
    assert_eq!(buckets(&answer["success"]), counted(&[("true", 4), ("false", 2)]));
    let scores: Vec<_> = answer["scores"]["buckets"].as_array().into_iter().flatten().collect();
    let scores: Vec<_> = scores.iter().map(|bucket| (bucket["key"].as_f64(), bucket["doc_count"].as_u64())).collect();
    assert_eq!(scores, [(4.0, 2), (-2.5, 1), (0.0, 1), (10.0, 1)].map(|(key, count)| (Some(key), Some(count))));
    let parents =
        [("all", 6), ("q1", 3), ("q2", 2), ("q3", 1)].map(|(name, n)| (format!("http://example.org/{name}"), n));
    assert_eq!(buckets(&answer["parents"]), parents);
}

pub async fn sub_aggregations_count_within_their_bucket(statements: &dyn Statements) {
    let filter = create_answers(statements).await;
    let asked = json!({"questions": {
        "terms": {"field": "question"},
        "aggs": {
            "verbs": {"terms": {"field": "verb"}, "aggs": {"mean": {"avg": {"field": "score_raw"}}}},
            "score": {"stats": {"field": "score_raw"}},
            "succeeded": {"filter": {"term": {"success": true}}, "aggs": {"n": {"cardinality": {"field": "verb"}}}},
        },
    }});
    let answer = aggregate(statements, &filter, asked).await;
    let question = &answer["questions"]["buckets"][0];
    assert_eq!(question["key"], "q1");
    assert_eq!(buckets(&question["verbs"]), counted(&[("a", 2), ("b", 1)]));
    assert_number(&question["verbs"]["buckets"][0]["mean"]["value"], 4.0);
    assert_eq!(question["score"]["count"], 2);
    assert_number(&question["score"]["avg"], 2.0);
    assert_eq!(question["succeeded"]["doc_count"], 2);
    assert_number(&question["succeeded"]["n"]["value"], 2.0);
}

pub async fn a_missing_aggregation_counts_what_has_no_value(statements: &dyn Statements) {
    let tenant = new_tenant();
    let documents: Vec<_> = (0..7)
        .map(|number| {
            with_fields(&tenant, number, |fields| {
                fields.verb = if number < 3 { "a" } else { "b" }.into();
                fields.response = (number % 3 == 0).then(|| if number == 0 { "" } else { "yes" }.into());
                fields.success = (number != 4).then_some(false);
                fields.score_raw = (number == 5).then_some(0.0);
                fields.parents = if number == 6 { vec!["http://example.org/p".into()] } else { Vec::new() };
            })
        })
        .collect();
    create(statements, &documents[..4]).await;
    create(statements, &documents[4..]).await;
    let by_field: [(&str, &[(&str, u64)]); 6] = [
        ("response", &[("a", 2), ("b", 2)]),
        ("success", &[("b", 1)]),
        ("score_raw", &[("a", 3), ("b", 3)]),
        ("parents", &[("a", 3), ("b", 3)]),
        ("verb", &[]),
        ("question", &[("b", 4), ("a", 3)]),
    ];
    for (field, expected) in by_field {
        let asked = json!({"none": {"missing": {"field": field}, "aggs": {"verbs": {"terms": {"field": "verb"}}}}});
        let answer = aggregate(statements, &all_of(&tenant), asked).await;
        assert_eq!(buckets(&answer["none"]["verbs"]), counted(expected), "{field}");
        let all: u64 = expected.iter().map(|(_, count)| count).sum();
        assert_eq!(answer["none"]["doc_count"], all, "{field}");
    }
    let nothing = aggregate(statements, &all_of(&new_tenant()), json!({"n": {"missing": {"field": "verb"}}})).await;
    assert_eq!(nothing["n"]["doc_count"], 0);
}

pub async fn one_learner_under_an_address_and_its_sha1_is_active_once(statements: &dyn Statements) {
    let tenant = new_tenant();
    let known_as = |number: u32, id: &str| {
        with_fields(&tenant, number, |fields| {
            fields.actor = id.to_owned();
            fields.actor_sha1 = LearnerId::parse(id).ok().and_then(|id| id.sha1());
        })
    };
    let sha1_of = |id: &str| format!("sha1:{}", LearnerId::parse(id).ok().and_then(|id| id.sha1()).unwrap_or_default());
    let (ada, ben) = (sha1_of("ada@example.org"), sha1_of("ben@example.org"));
    let names = [
        "mbox:ada@example.org",
        &ada,
        &ben,
        "mbox:cleo@example.org",
        "account:http://nlj.platform/users|ada",
        "openid:https://ada.example.org/",
        "",
        "mbox:ada@example.org",
    ];
    let documents: Vec<_> = (0..).zip(names).map(|(number, id)| known_as(number, id)).collect();
    create(statements, &documents).await;
    let active =
        async |filter: &Filter| platform::overview(statements, filter).await.expect("an answer").active_learners;
    assert_eq!(active(&all_of(&tenant)).await, 5, "Ada's address, Ben, Cleo, an account and an OpenID; nobody is none");
    let of_ada =
        Filter { actors: vec!["mbox:ada@example.org".into()], actor_sha1: Some(ada[5..].into()), ..all_of(&tenant) };
    assert_eq!(active(&of_ada).await, 1);
    assert_eq!(active(&Filter { actors: vec![String::new()], ..all_of(&tenant) }).await, 0);
}

pub async fn a_survey_of_any_tool_is_found_by_its_iri_and_by_a_segment_that_names_it_alone(
    statements: &dyn Statements,
) {
    let tenant = new_tenant();
    let (first, second) = ("https://a.example/q/view.php?id=1", "https://a.example/q/view.php?id=2");
    let urn = "urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001";
    let step = |number: u32, survey: &str, verb: &str, question: Option<&str>| {
        with_fields(&tenant, number, |fields| {
            fields.event_type = "statement".into();
            fields.actor = format!("account:https://a.example|{}", number % 2);
            fields.verb = format!("http://adlnet.gov/expapi/verbs/{verb}").into();
            fields.survey = Some(survey.into());
            fields.question = question.map(Into::into);
            fields.response = question.map(|_| format!("answer {number}").into());
        })
    };
    let documents = [
        step(0, first, "initialized", None),
        step(2, first, "answered", Some("https://a.example/q/item.php?id=1")),
        step(4, first, "answered", Some("https://a.example/q/item.php?id=2")),
        step(6, first, "answered", Some("https://a.example/q/item.php?id=2")),
        step(8, first, "completed", None),
        step(1, first, "initialized", None),
        step(3, second, "completed", None),
        step(5, urn, "answered", Some("urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000002")),
    ];
    create(statements, &documents).await;
    let ask = async |name: &str| survey(statements, Some(&tenant), name, None, None, None).await;

    let answers = ask(first).await.expect("an answer");
    assert_eq!((&*answers.survey, answers.started, answers.completed), (first, 2, 1));
    let questions: Vec<_> =
        answers.questions.iter().map(|of| (&*of.question, of.answers, &*of.distribution[0].response)).collect();
    let expected =
        [("https://a.example/q/item.php?id=1", 1, "answer 2"), ("https://a.example/q/item.php?id=2", 1, "answer 6")];
    assert_eq!(questions, expected, "the last answer of a learner counts");
    for name in [urn, "5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001"] {
        let answers = ask(name).await.expect("an answer");
        assert_eq!((&*answers.survey, answers.questions.len()), (urn, 1), "{name}");
    }
    assert_eq!(ask("view.php?id=2").await.expect("an answer").survey, second);
    let several = ask("view.php").await.expect_err("two surveys end so").to_string();
    assert!(several.contains(first) && several.contains(second) && !several.contains(urn), "{several}");
    let unknown = ask("https://a.example/q/view.php?id=3").await.expect("an answer");
    assert_eq!((unknown.started, unknown.completed, unknown.questions.len()), (0, 0, 0));
}

pub async fn a_filter_aggregation_counts_what_has_the_value(statements: &dyn Statements) {
    let filter = create_answers(statements).await;
    for (term, expected) in [
        (json!({"event_type": "survey.started"}), 2),
        (json!({"question": "q2"}), 2),
        (json!({"success": false}), 2),
        (json!({"score_raw": 4}), 2),
        (json!({"score_raw": -2.5}), 1),
        (json!({"timestamp_ms": DAY_MS + 1_000}), 1),
        (json!({"parents": "http://example.org/all"}), 6),
        (json!({"verb": "none"}), 0),
    ] {
        let asked = json!({"it": {"filter": {"term": term}, "aggs": {"n": {"terms": {"field": "day"}}}}});
        let answer = aggregate(statements, &filter, asked).await;
        assert_eq!(answer["it"]["doc_count"], expected, "{term}");
        let days: u64 = buckets(&answer["it"]["n"]).iter().map(|(_, count)| count).sum();
        assert_eq!(days, expected, "{term}");
    }
}

pub async fn different_values_are_counted_exactly_when_they_are_few(statements: &dyn Statements) {
    let tenant = new_tenant();
    let documents: Vec<_> = (0..200)
        .map(|number| {
            with_fields(&tenant, number, |fields| {
                fields.actor = format!("mbox:learner-{}@example.org", number % 90);
                fields.score_raw = Some(f64::from(number % 40) / 8.0);
                fields.success = (number < 100).then_some(number % 2 == 0);
            })
        })
        .collect();
    for part in documents.chunks(70) {
        create(statements, part).await;
    }
    let asked = json!({
        "learners": {"cardinality": {"field": "actor"}},
        "scores": {"cardinality": {"field": "score_raw"}},
        "truths": {"cardinality": {"field": "success"}},
    });
    let answer = aggregate(statements, &all_of(&tenant), asked).await;
    assert_number(&answer["learners"]["value"], 90.0);
    assert_number(&answer["scores"]["value"], 40.0);
    assert_number(&answer["truths"]["value"], 2.0);
}

pub async fn metrics_measure_numbers(statements: &dyn Statements) {
    let filter = create_answers(statements).await;
    let asked = json!({
        "min": {"min": {"field": "score_raw"}},
        "max": {"max": {"field": "score_raw"}},
        "avg": {"avg": {"field": "score_raw"}},
        "stats": {"stats": {"field": "score_raw"}},
        "first": {"min": {"field": "timestamp_ms"}},
        "last": {"max": {"field": "timestamp_ms"}},
    });
    let answer = aggregate(statements, &filter, asked).await;
    assert_number(&answer["min"]["value"], -2.5);
    assert_number(&answer["max"]["value"], 10.0);
    assert_number(&answer["avg"]["value"], 3.1);
    let stats = &answer["stats"];
    assert_eq!(stats["count"], 5);
    for (name, expected) in [("min", -2.5), ("max", 10.0), ("avg", 3.1), ("sum", 15.5)] {
        assert_number(&stats[name], expected);
    }
    assert_number(&answer["first"]["value"], (DAY_MS + 1_000) as f64);
    assert_number(&answer["last"]["value"], (DAY_MS + 6_000) as f64);
}

fn every_aggregation(text: &str, number: &str) -> Value {
    json!({
        "terms": {"terms": {"field": text}},
        "numbers": {"terms": {"field": number}},
        "filter": {"filter": {"term": {text: "x"}}, "aggs": {"within": {"terms": {"field": text}}}},
        "cardinality": {"cardinality": {"field": text}},
        "min": {"min": {"field": number}},
        "max": {"max": {"field": number}},
        "avg": {"avg": {"field": number}},
        "stats": {"stats": {"field": number}},
    })
}

fn assert_empty(answer: &Value) {
    assert_eq!(buckets(&answer["terms"]), []);
    assert_eq!(buckets(&answer["numbers"]), []);
    assert_eq!(answer["filter"]["doc_count"], 0);
    assert_eq!(buckets(&answer["filter"]["within"]), []);
    assert_number(&answer["cardinality"]["value"], 0.0);
    for metric in ["min", "max", "avg"] {
        assert_eq!(answer[metric]["value"], Value::Null, "{metric}");
        assert_eq!(answer["stats"][metric], Value::Null, "{metric}");
    }
    assert_eq!(answer["stats"]["count"], 0);
    assert_number(&answer["stats"]["sum"], 0.0);
}

pub async fn aggregations_of_a_field_that_no_statement_has_are_empty(statements: &dyn Statements) {
    let tenant = new_tenant();
    create(statements, &[statement(&tenant, 1), statement(&tenant, 2)]).await;
    assert_empty(&aggregate(statements, &all_of(&tenant), every_aggregation("response", "score_scaled")).await);
}

pub async fn aggregations_without_hits_are_empty(statements: &dyn Statements) {
    let nobody = all_of(&new_tenant());
    assert_eq!(hits(statements, &nobody).await, 0);
    assert_empty(&aggregate(statements, &nobody, every_aggregation("verb", "timestamp_ms")).await);
    create(statements, &[statement(&new_tenant(), 1)]).await;
    assert_empty(&aggregate(statements, &nobody, every_aggregation("verb", "timestamp_ms")).await);
}

pub async fn an_aggregation_that_is_not_promised_is_refused(statements: &dyn Statements) {
    for aggregations in [
        json!({"a": {"no_such_aggregation": {"field": "verb"}}}),
        json!({"a": {}}),
        json!({"a": {"avg": {"field": "verb"}}}),
    ] {
        let answer = statements.aggregate(&all_of(&new_tenant()), &aggregations).await;
        assert!(answer.as_ref().is_err_and(|error| !error.is_transient()), "{aggregations}: {answer:?}");
    }
}

pub async fn many_writers_of_the_same_ids_create_each_once(statements: &dyn Statements) {
    const WRITERS: u32 = 8;
    const IDS: u32 = 60;
    let tenant = new_tenant();
    let write = async |writer: u32| {
        let mut created = Vec::new();
        for part in 0..3 {
            let documents: Vec<_> = (0..IDS / 3)
                .map(|number| {
                    let document = statement(&tenant, (number * 7 + writer + part * IDS / 3) % IDS);
                    resent(&document, i64::from(1_000 * (writer + 1) + part * 100 + number))
                })
                .collect();
            for (document, outcome) in documents.iter().zip(store(statements, &documents).await) {
                match outcome {
                    StoreOutcome::Created => created.push((document.id, document.source.clone())),
                    outcome => assert!(matches!(outcome, StoreOutcome::Duplicate { .. }), "{outcome:?}"),
                }
            }
        }
        created
    };
    let created: Vec<_> = join_all((0..WRITERS).map(write)).await.concat();
    let found = search(statements, &all_of(&tenant)).await;
    let distinct: HashSet<_> = created.iter().map(|(id, _)| *id).collect();
    assert_eq!(created.len(), distinct.len(), "each id is created by one record only");
    assert_eq!(found.len(), distinct.len());
    for StoredStatement { document, .. } in found {
        assert!(created.contains(&(document.id, document.source)), "the record that created it is the one stored");
    }
}

pub async fn a_store_answers_a_ping(statements: &dyn Statements) {
    assert_eq!(statements.ping().await, Ok(()));
}
