//! Events in Avro as another implementation writes them, with every schema that is built in, through the families' own readers.

use std::collections::BTreeSet;
use std::sync::Arc;

use apache_avro::types::Value as Avro;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use lyceum_avro_tests::written::{Writer, event, or_null, record};
use lyceum_catalog::{SCHEMAS, content, engagement, learning};
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::ports::schemas::SchemaRef;
use lyceum_core::process::Services;
use lyceum_core::record::{Position, Record};
use lyceum_events_tests::world::World;
use lyceum_functions::{Look, Looked};
use lyceum_testing::memory::schemas::MemorySchemas;
use proptest::prelude::*;
use serde_json::{Value, json};

const ID: &str = "6f1c2c1e-7d0b-4a54-9f6d-0d8a5c7a1b11";

fn look(topic: &str, value: Vec<u8>) -> Looked {
    let position = Position::new(topic, 0, 0);
    let record = Record { position, timestamp_ms: 5, key: None, value: Some(Bytes::from(value)), headers: Vec::new() };
    Look::new(EnvelopeConfig::default()).at(&record)
}

/// The type of the event, and what its family reads.
fn fields(topic: &str, value: Vec<u8>) -> (&'static str, Value) {
    match look(topic, value) {
        Looked::Event(seen) => {
            let read = seen.read.unwrap_or_else(|wrong| panic!("{wrong:?}"));
            (seen.known.name, read.fields())
        }
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> Avro {
    Avro::String(text.to_owned())
}

/// What the older schemas have as an int, the newer have as a long.
fn number(version: usize, number: i32) -> Avro {
    if version == 0 { Avro::Int(number) } else { Avro::Long(number.into()) }
}

#[derive(Clone, Debug)]
struct Answer {
    question: String,
    concepts: Vec<String>,
    correct: bool,
    response_ms: i32,
    attempt: i32,
    score: Option<f64>,
}

prop_compose! {
    fn any_answer()(
        question in ".{1,20}", concepts in proptest::collection::btree_set("[a-zé]{1,8}", 0..6), correct in any::<bool>(),
        response_ms in 0..i32::MAX, attempt in 1..i32::MAX, score in proptest::option::of(0.0..1.0),
    ) -> Answer {
        let concepts: BTreeSet<String> = concepts;
        Answer { question, concepts: concepts.into_iter().collect(), correct, response_ms, attempt, score }
    }
}

fn answered(version: usize, of: &Answer) -> Vec<u8> {
    let mut fields = vec![
        ("question_id", text(&of.question)),
        ("concept_ids", Avro::Array(of.concepts.iter().map(|concept| text(concept)).collect())),
        ("correct", Avro::Boolean(of.correct)),
        ("response_ms", number(version, of.response_ms)),
        ("attempt", Avro::Int(of.attempt)),
    ];
    if version > 0 {
        fields.push(("score", or_null(of.score.map(Avro::Double))));
    }
    let event = event(ID, (0, "question_answered"), 5, "ada", (0, record(fields)));
    Writer::of(learning::SCHEMAS[version]).single(event)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_is_read_as_it_was_written_with_either_schema(version in 0..2_usize, of in any_answer()) {
        let (name, read) = fields("learning.events.v1", answered(version, &of));
        let Answer { question, concepts, correct, response_ms, attempt, score } = &of;
        let score = score.filter(|_| version > 0);
        let what = json!({"Answered": {
            "question_id": question, "concept_ids": concepts, "correct": correct, "response_ms": response_ms,
            "attempt": attempt, "score": score,
        }});
        prop_assert_eq!((name, read), ("question.answered", json!({"user_id": "ada", "what": what})));
    }

    #[test]
    fn an_answer_that_breaks_off_is_none(version in 0..2_usize, of in any_answer(), at in any::<prop::sample::Index>()) {
        let whole = answered(version, &of);
        let cut = at.index(whole.len());
        let is_invalid = matches!(look("learning.events.v1", whole[..cut].to_vec()), Looked::Invalid(_) | Looked::Missing(_));
        prop_assert!(is_invalid, "cut at {cut}");
    }
}

#[test]
fn the_rest_of_learning_is_read_with_either_schema() {
    for version in 0..2 {
        let writer = Writer::of(learning::SCHEMAS[version]);
        for (at, symbol, is_end) in [(1, "session_started", false), (2, "session_ended", true)] {
            let session = record(vec![
                ("session_id", text("s1")),
                ("activity_id", or_null(None)),
                ("duration_ms", or_null(Some(number(version, 7)))),
            ]);
            let (name, read) =
                fields("learning.events.v1", writer.single(event(ID, (at, symbol), 5, "ada", (1, session))));
            assert_eq!(name, symbol.replace('_', "."));
            let what = json!({"session_id": "s1", "activity_id": null, "duration_ms": 7, "is_end": is_end});
            assert_eq!(read["what"]["Session"], what);
        }
    }
    let mastery = record(vec![("concept_id", text("c")), ("before", Avro::Double(0.25)), ("after", Avro::Double(0.5))]);
    let value = Writer::of(learning::SCHEMAS[1]).single(event(ID, (3, "mastery_updated"), 5, "ada", (2, mastery)));
    let (name, read) = fields("learning.events.v1", value);
    assert_eq!(
        (name, &read["what"]["Mastery"]),
        ("mastery.updated", &json!({"concept_id": "c", "before": 0.25, "after": 0.5}))
    );
}

#[test]
fn content_is_read_with_either_schema_and_a_comment_in_bytes_is_a_text() {
    for version in 0..2 {
        let writer = Writer::of(content::SCHEMAS[version]);
        let mut viewed = vec![("content_id", text("c1")), ("dwell_ms", or_null(Some(number(version, 9))))];
        if version > 0 {
            viewed.push(("percent", or_null(Some(Avro::Double(50.0)))));
        }
        let value = writer.single(event(ID, (0, "content_viewed"), 5, "ada", (0, record(viewed))));
        let percent = (version > 0).then_some(50.0);
        let what = json!({"Viewed": {"dwell_ms": 9, "percent": percent}});
        assert_eq!(fields("content.events.v1", value), ("content.viewed", json!({"content_id": "c1", "what": what})));
        let comment = if version == 0 { Avro::Bytes("Sølv".into()) } else { text("Sølv") };
        let rated =
            record(vec![("content_id", text("c1")), ("rating", Avro::Int(4)), ("comment", or_null(Some(comment)))]);
        let value = writer.single(event(ID, (1, "content_rated"), 5, "ada", (1, rated)));
        let what = json!({"Rated": {"rating": 4, "comment": "Sølv"}});
        assert_eq!(fields("content.events.v1", value), ("content.rated", json!({"content_id": "c1", "what": what})));
    }
    let updated = record(vec![("content_id", text("c1")), ("version", text("2")), ("change", text("all"))]);
    let value = Writer::of(content::SCHEMAS[1]).single(event(ID, (2, "content_updated"), 5, "ada", (2, updated)));
    let what = json!({"Updated": {"version": "2", "change": "all"}});
    assert_eq!(fields("content.events.v1", value), ("content.updated", json!({"content_id": "c1", "what": what})));
}

#[test]
fn engagement_is_read_with_either_schema_and_every_channel_is_the_one_that_was_written() {
    let channels: [&[&str]; 2] = [&["email", "push", "sms"], &["email", "push", "in_app", "sms", "other"]];
    for (version, channels) in channels.into_iter().enumerate() {
        let writer = Writer::of(engagement::SCHEMAS[version]);
        for (at, channel) in (0..).zip(channels) {
            for (kind, symbol, is_opened) in [(0, "notification_sent", false), (1, "notification_opened", true)] {
                let channel_value = Avro::Enum(at, (*channel).to_owned());
                let sent = record(vec![("notification_id", text("n1")), ("channel", channel_value)]);
                let value = writer.single(event(ID, (kind, symbol), 5, "ada", (0, sent)));
                let what =
                    json!({"Notification": {"notification_id": "n1", "channel": channel, "is_opened": is_opened}});
                let read = fields("engagement.events.v1", value);
                assert_eq!(read, (&*symbol.replace('_', "."), json!({"user_id": "ada", "what": what})));
            }
        }
        let unlocked = record(vec![("achievement_id", text("a1")), ("points", number(version, 5))]);
        let value = writer.single(event(ID, (2, "achievement_unlocked"), 5, "ada", (1, unlocked)));
        let what = json!({"Achievement": {"achievement_id": "a1", "points": 5}});
        assert_eq!(fields("engagement.events.v1", value).1["what"], what);
    }
    for (kind, symbol, is_completed) in [(3, "challenge_joined", false), (4, "challenge_completed", true)] {
        let joined = record(vec![("challenge_id", text("h1")), ("rank", or_null(Some(Avro::Int(2))))]);
        let value = Writer::of(engagement::SCHEMAS[1]).single(event(ID, (kind, symbol), 5, "ada", (2, joined)));
        let what = json!({"Challenge": {"challenge_id": "h1", "rank": 2, "is_completed": is_completed}});
        assert_eq!(fields("engagement.events.v1", value).1["what"], what);
    }
}

#[test]
fn the_schemas_of_the_catalog_are_of_the_families_that_have_none_but_avro_and_name_each_event_type() {
    for (family, schemas) in SCHEMAS {
        let newest: Value = serde_json::from_str(schemas.last().expect("a schema")).expect("JSON");
        let symbols = newest["fields"][1]["type"]["symbols"].as_array().expect("symbols");
        let mut named: BTreeSet<String> =
            symbols.iter().filter_map(Value::as_str).map(|symbol| symbol.replace('_', ".")).collect();
        assert!(named.remove("unknown"), "{} has no symbol for what is newer", family.name);
        assert_eq!(named, family.event_types.iter().map(|of| of.name.to_owned()).collect());
    }
}

#[test]
fn a_canonical_form_and_its_fingerprint_are_those_of_another_implementation() {
    for text in SCHEMAS.iter().flat_map(|(_, schemas)| schemas.iter()) {
        let (own, other) = (lyceum_core::formats::avro::Schema::parse(text).unwrap(), Writer::of(text));
        // It leaves the braces of a type that has a logical one, which the specification does not.
        let simple = other.schema.canonical_form().replace(r#"{"type":"string"}"#, r#""string""#);
        assert_eq!(own.canonical_form(), simple.replace(r#"{"type":"long"}"#, r#""long""#));
        let print = other.schema.fingerprint::<apache_avro::rabin::Rabin>().bytes;
        assert_eq!(own.wrapped_fingerprint().to_le_bytes().as_slice(), print);
        let without_logical = Writer::of(&own.canonical_form());
        let print = without_logical.schema.fingerprint::<apache_avro::rabin::Rabin>().bytes;
        assert_eq!(own.fingerprint().to_le_bytes().as_slice(), print);
    }
}

#[test]
fn records_that_a_mapping_decoded_by_its_registry_are_read_by_its_word_on_their_schema() {
    let world = World::new();
    let registry = Arc::new(MemorySchemas::default());
    let version = uuid::Uuid::from_u128(7);
    for name in [SchemaRef::Id(7), SchemaRef::Version(version)] {
        registry.register(name, learning::SCHEMAS[1]);
    }
    let function = world.function_with("learning", |services| Services { schemas: Some(registry), ..services });
    let bare = |id: &str, learner: &str| {
        let mastery =
            record(vec![("concept_id", text("c")), ("before", Avro::Double(0.25)), ("after", Avro::Double(0.5))]);
        Writer::of(learning::SCHEMAS[1]).bare(event(id, (3, "mastery_updated"), 5, learner, (2, mastery)))
    };
    let json = json!({
        "event_id": "6f1c2c1e-7d0b-4a54-9f6d-0d8a5c7a1b13", "event_type": "mastery_updated", "occurred_at": 5, "user_id": "ada",
        "tenant_id": "acme", "correlation_id": null, "payload": {"concept_id": "c", "before": 0.25, "after": 0.5},
    });
    let values = [
        (bare("6f1c2c1e-7d0b-4a54-9f6d-0d8a5c7a1b11", "ada"), "7".to_owned()),
        (bare("6f1c2c1e-7d0b-4a54-9f6d-0d8a5c7a1b12", "ben"), version.to_string()),
        (serde_json::to_vec(&json).unwrap(), "7".to_owned()),
        (bare("6f1c2c1e-7d0b-4a54-9f6d-0d8a5c7a1b14", "eve"), "9".to_owned()),
    ];
    let records = values.iter().enumerate().map(|(offset, (value, schema))| {
        json!({
            "topic": "learning.events.v1", "partition": 0, "offset": offset, "timestamp": 5, "timestampType": "CREATE_TIME",
            "value": BASE64_STANDARD.encode(value), "headers": [],
            "valueSchemaMetadata": {"dataFormat": "AVRO", "schemaId": schema},
        })
    });
    let payload = json!({"eventSource": "aws:kafka", "records": {"learning.events.v1-0": records.collect::<Vec<_>>()}});
    let (answer, reports) = world.invoke_function(&function, payload.to_string().as_bytes());
    assert!(answer.batch_item_failures.is_empty(), "{answer:?}");
    let outcomes: Vec<String> = reports.iter().map(|report| format!("{:?}", report.outcome)).collect();
    assert!(outcomes[..3].iter().all(|outcome| outcome.starts_with("Applied")), "{outcomes:?}");
    assert!(outcomes[3].contains("Decode"), "{outcomes:?}");
    let [letter] = &world.letters()[..] else { panic!("{:?}", world.letters()) };
    let told = format!("{letter:?}");
    assert!(told.contains("schema 9") && told.contains("lyceum-value-schema"), "{told}");
}
