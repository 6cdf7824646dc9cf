use bytes::Bytes;
use serde_json::{Value, json};

use super::field::Fields;
use super::*;
use crate::catalog::{Catalog, DeadLetterTopics, EventType, FamilySpec, TopicOf};
use crate::dead_letter::{self, DeadLetterFormat, Failure};
use crate::envelope::{EnvelopeConfig, HOPS_HEADER};
use crate::family::Occurrence;
use crate::follow_up::{Answer, answer};
use crate::outcome::Finding;
use crate::record::{Header, Position};

const DEAD: DeadLetterTopics = DeadLetterTopics { validation: "dlq", processing: "dlq", database: "dlq" };

static LAMPS: FamilySpec = FamilySpec {
    name: "lamps",
    topics: &[TopicOf { name: "lamps", partitions: 1, key: "lamp" }],
    event_types: &[EventType { name: "lamp.lit", topic: "lamps", statement: None, effect: "light" }],
    dead_letters: DEAD,
    kinds: &["lamp"],
};

const ID: &str = "5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001";

fn whole() -> Value {
    json!({
        "id": ID, "type": "lamp.lit", "source": "lamps", "target": null, "timestamp": "2026-03-02T08:15:00Z",
        "payload": {"lamp": "one"},
        "meta": {
            "schema_version": "1.0", "producer": "works", "source_module": "lamps", "tenant_id": "acme", "correlation_id": "c-1",
        },
    })
}

/// The envelope with something else at these places; without what is there where that is null.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut value = whole();
    for (pointer, change) in changes {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let parent = value.pointer_mut(parent).and_then(Value::as_object_mut).expect("its parent is an object");
        match change {
            Value::Null => drop(parent.remove(name)),
            change => drop(parent.insert(name.to_owned(), change.clone())),
        }
    }
    value
}

fn record(value: impl ToString, headers: &[(&str, &str)]) -> Record {
    let value = Some(Bytes::from(value.to_string()));
    let headers = headers.iter().map(|(name, value)| Header::new(*name, (*value).to_owned())).collect();
    Record { position: Position::new("lamps", 0, 7), timestamp_ms: 1_000, key: None, value, headers }
}

fn opened<T>(record: &Record, show: impl FnOnce(Opened<'_, Charter>) -> T) -> T {
    let (catalog, config) = (Catalog::new(vec![&LAMPS]), EnvelopeConfig::default());
    let hint = Hint { family: Some(&LAMPS), catalog: &catalog, config: &config };
    show(CharterFormat::open(record, hint, &Schemas::default()))
}

fn invalid(record: &Record) -> Box<Invalid> {
    opened(record, |opened| match opened {
        Opened::Invalid(invalid) => invalid,
        other => panic!("{other:?}"),
    })
}

fn places(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings.iter().map(|finding| (finding.rule.as_ref(), finding.pointer.as_str())).collect()
}

/// What is wrong with an envelope.
fn wrong(value: impl ToString) -> (DeadLetterKind, Vec<(String, String)>) {
    let invalid = invalid(&record(value, &[]));
    let own = |(rule, place): (&str, &str)| (rule.to_owned(), place.to_owned());
    (invalid.kind, places(&invalid.findings).into_iter().map(own).collect())
}

fn one(rule: &str, place: &str) -> (DeadLetterKind, Vec<(String, String)>) {
    (DeadLetterKind::Validation, vec![(rule.to_owned(), place.to_owned())])
}

fn sameness(value: impl ToString) -> [u8; 32] {
    opened(&record(value, &[]), |opened| match opened {
        Opened::Event(envelope) => CharterFormat::sameness(&envelope, b"fields"),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_valid_envelope_gives_what_every_event_has() {
    opened(&record(whole(), &[]), |opened| {
        let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
        assert_eq!((envelope.id, envelope.event_type), (ID.parse().unwrap(), "lamp.lit"));
        assert_eq!((&*envelope.tenant, &*envelope.correlation_id), ("acme", "c-1"));
        assert_eq!((envelope.occurred_at_ms, envelope.pointer), (1_772_439_300_000, ""));
        assert_eq!((&*envelope.body.source, &envelope.body.target), ("lamps", &None));
        assert_eq!(envelope.body.payload(), &json!({"lamp": "one"}));
    });
}

#[test]
fn a_record_without_a_value_is_a_tombstone() {
    let record = Record { value: None, ..record("", &[]) };
    opened(&record, |opened| assert!(matches!(opened, Opened::Tombstone), "{opened:?}"));
}

#[test]
fn members_that_nobody_knows_are_kept_and_not_judged() {
    let value = with(&[("/extra", json!([1])), ("/meta/extra", json!({"a": null})), ("/target", json!("billing"))]);
    opened(&record(value, &[]), |opened| {
        let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
        assert_eq!(envelope.body.target.as_deref(), Some("billing"));
    });
}

#[test]
fn each_member_that_is_missing_or_wrong_is_found_where_it_stands() {
    let missing = ["/id", "/type", "/source", "/timestamp", "/payload", "/meta"];
    let of_meta = ["/meta/schema_version", "/meta/producer", "/meta/source_module", "/meta/tenant_id"];
    for pointer in missing.iter().chain(&of_meta) {
        assert_eq!(wrong(with(&[(pointer, Value::Null)])), one("field.required", pointer));
        assert_eq!(wrong(with(&[(pointer, json!(7))])), one("field.type", pointer));
    }
    for (pointer, value) in [
        ("/source", json!("")),
        ("/source", json!("x".repeat(129))),
        ("/target", json!(1)),
        ("/timestamp", json!("2026-03-02T08:15:00")),
        ("/timestamp", json!("2026-02-30T08:15:00Z")),
        ("/timestamp", json!("20260302T081500Z")),
        ("/payload", json!([])),
        ("/meta/schema_version", json!("1.x")),
        ("/meta/schema_version", json!("1.0.0.0")),
        ("/meta/schema_version", json!(1.0)),
        ("/meta/correlation_id", json!(1)),
    ] {
        assert_eq!(wrong(with(&[(pointer, value)])), one("field.type", pointer));
    }
    assert_eq!(wrong(with(&[("/id", json!("evt-1"))])), one("event-id.uuid", "/id"));
    assert_eq!(wrong(with(&[("/meta/tenant_id", json!("a\nb"))])), one("tenant.format", "/meta/tenant_id"));
}

#[test]
fn a_minor_version_is_read_and_another_major_one_is_a_letter() {
    for version in ["1", "1.0", "1.7", "1.2.3"] {
        let record = record(with(&[("/meta/schema_version", json!(version))]), &[]);
        opened(&record, |opened| assert!(matches!(opened, Opened::Event(_)), "{opened:?}"));
    }
    for version in ["2.0", "0.9", "11.0", "01.0"] {
        let found = wrong(with(&[("/meta/schema_version", json!(version))]));
        assert_eq!(found, one("schema-version.unknown", "/meta/schema_version"), "{version}");
    }
}

#[test]
fn no_finding_hides_another_one() {
    let value = with(&[
        ("/id", json!("evt-1")),
        ("/type", json!("lamp.broken")),
        ("/source", Value::Null),
        ("/timestamp", json!("now")),
        ("/payload", json!([{"token": "raw"}])),
        ("/meta/schema_version", json!("2.0")),
    ]);
    let text = value.to_string().replacen("{", r#"{"target": 1, "target": 2, "#, 1).replace(r#","target":null"#, "");
    let (kind, mut found) = wrong(text);
    found.sort_unstable();
    let mut wanted = [
        ("event-id.uuid", "/id"),
        ("event-type.unknown", "/type"),
        ("field.required", "/source"),
        ("field.type", "/payload"),
        ("field.type", "/target"),
        ("field.type", "/timestamp"),
        ("key.duplicate", "/target"),
        ("payload.secret", "/payload/0/token"),
        ("schema-version.unknown", "/meta/schema_version"),
    ]
    .map(|(rule, place)| (rule.to_owned(), place.to_owned()));
    wanted.sort_unstable();
    assert_eq!((kind, found), (DeadLetterKind::UnknownType, wanted.to_vec()));
}

#[test]
fn headers_that_say_something_else_than_the_envelope_are_found() {
    let other = "00000000-0000-4000-8000-000000000009";
    let differing = [
        ("tenant-id", "umbrella"),
        ("correlation-id", "c-2"),
        ("event-id", other),
        ("event-type", "lamp.broken"),
        ("schema-version", "1.1"),
    ];
    let found = invalid(&record(whole(), &differing));
    let rules: Vec<&str> = places(&found.findings).into_iter().map(|(rule, _)| rule).collect();
    let all = [
        "tenant.differs",
        "correlation-id.differs",
        "event-id.differs",
        "schema-version.differs",
        "event-type.differs",
    ];
    assert_eq!(rules, all);
    let same = [("tenant-id", "acme"), ("event-id", ID), ("event-type", "lamp.lit"), ("schema-version", "1.0")];
    opened(&record(whole(), &same), |opened| assert!(matches!(opened, Opened::Event(_)), "{opened:?}"));
}

#[test]
fn a_type_that_only_the_header_names_is_still_missing_and_the_letter_knows_it() {
    let record = record(with(&[("/type", Value::Null)]), &[("event-type", "lamp.lit")]);
    let found = invalid(&record);
    assert_eq!((found.event_type, places(&found.findings)), ("lamp.lit", vec![("field.required", "/type")]));
}

#[test]
fn what_is_no_json_object_does_not_decode() {
    for text in ["", "{", "[]", "null", "\"payload\"", "{} {}"] {
        let (kind, found) = wrong(text);
        assert_eq!((kind, found), (DeadLetterKind::Decode, vec![("message.json".to_owned(), String::new())]), "{text}");
    }
}

#[test]
fn a_value_that_has_payload_or_meta_looks_like_an_envelope() {
    assert!(CharterFormat::looks_like(br#"{"payload": 1"#) && CharterFormat::looks_like(br#"{"meta": {}}"#));
    assert!(!CharterFormat::looks_like(br#"{"actor": {}, "verb": {}}"#));
}

#[test]
fn the_same_event_in_another_notation_is_the_same_and_with_other_content_it_is_not() {
    let text = r#"{"meta": {"tenant_id": "acme", "correlation_id": "c-1", "source_module": "lamps", "producer": "works",
        "schema_version": "1.0"}, "payload": {"l\u0061mp": "one"}, "timestamp": "2026-03-02T09:15:00.000+01:00",
        "source": "lamps", "type": "lamp.lit", "id": "5B0E5A51-0A4C-4F1E-9B43-0B0F0A000001"}"#;
    assert_eq!(sameness(whole()), sameness(text));
    for (pointer, value) in [
        ("/payload/lamp", json!("two")),
        ("/payload/more", Value::from(1)),
        ("/extra", json!(1)),
        ("/timestamp", json!("2026-03-02T08:15:01Z")),
        ("/meta/producer", json!("others")),
        ("/target", json!("billing")),
    ] {
        assert_ne!(sameness(whole()), sameness(with(&[(pointer, value)])), "{pointer}");
    }
    let by_fields = opened(&record(whole(), &[]), |opened| match opened {
        Opened::Event(envelope) => CharterFormat::sameness(&envelope, b"others"),
        other => panic!("{other:?}"),
    });
    assert_ne!(sameness(whole()), by_fields);
}

/// The letter of a record that holds a secret, however little of it could be read.
fn letter(record: &Record) -> String {
    let invalid = invalid(record);
    let failure = Failure {
        kind: invalid.kind,
        findings: &invalid.findings,
        family: "lamps",
        is_owner: true,
        correlation_id: None,
        tenant: invalid.tenant.as_deref(),
        attempts: 1,
        failed_at_ms: 0,
    };
    format!("{:?}", dead_letter::write(record, &failure, &DEAD, DeadLetterFormat::Headers))
}

#[test]
fn no_letter_has_a_copy_of_a_raw_token() {
    let raw = "tok-4711";
    let broken = format!(r#"{{"payload": {{"token": "{raw}""#);
    let mut large = with(&[("/payload/approval_token", json!(raw))]);
    large["payload"]["filler"] = json!("x".repeat(300 * 1024));
    for value in [
        with(&[("/payload/token", json!(raw))]).to_string(),
        with(&[("/payload/approval", json!({"accessToken": [raw]}))]).to_string(),
        with(&[("/meta/token", json!(raw)), ("/type", json!("lamp.unknown")), ("/timestamp", json!(1))]).to_string(),
        broken,
        large.to_string(),
    ] {
        let letter = letter(&record(&value, &[]));
        assert!(!letter.contains(raw) && letter.contains("payload.secret"), "{letter}");
    }
    // What speaks of none has its value.
    assert!(letter(&record(with(&[("/source", json!(1))]), &[])).contains("lamp.lit"));
}

#[test]
fn a_circle_of_follow_ups_ends_as_a_letter_and_a_damaged_count_is_one() {
    for hops in ["0", "16"] {
        opened(&record(whole(), &[(HOPS_HEADER, hops)]), |opened| assert!(matches!(opened, Opened::Event(_))));
    }
    for (hops, rule) in [("17", "hops.limit"), ("-1", "hops.header"), ("many", "hops.header"), ("", "hops.header")] {
        let found = invalid(&record(whole(), &[(HOPS_HEADER, hops)]));
        assert_eq!((found.kind, places(&found.findings)), (DeadLetterKind::Validation, vec![(rule, "")]), "{hops}");
    }
}

#[test]
fn a_follow_up_is_a_valid_envelope_with_what_its_event_had_and_the_same_bytes_each_time() {
    let at = Occurrence {
        event_id: ID.parse().unwrap(),
        event_type: "any",
        tenant: "acme".into(),
        correlation_id: "c-1".into(),
        home: None,
        source: Position::new("t", 0, 0),
        occurred_at_ms: 1_772_439_300_000,
        now_ms: 5,
    };
    let reply = || Answer {
        topic: "lamps",
        event_type: "lamp.lit",
        key: "one".to_owned(),
        source: "lamps",
        target: Some("works"),
        payload: json!({"lamp": "one"}),
    };
    let follow_ups = answer(&at, [reply(), reply()]);
    assert_eq!(follow_ups, answer(&Occurrence { now_ms: 9, ..at.clone() }, [reply(), reply()]));
    for (place, follow_up) in follow_ups.iter().enumerate() {
        let value = String::from_utf8(follow_up.value.clone()).unwrap();
        opened(&record(value, &[]), |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            assert_eq!(envelope.id, at.follow_up_id("lamp.lit", place));
            assert_eq!((&*envelope.tenant, &*envelope.correlation_id), ("acme", "c-1"));
            assert_eq!(envelope.occurred_at_ms, at.occurred_at_ms);
            assert_eq!(envelope.body.target.as_deref(), Some("works"));
        });
    }
    // Years that RFC 3339 cannot write.
    for occurred_at_ms in [i64::MIN, i64::MAX] {
        let value = answer(&Occurrence { occurred_at_ms, ..at.clone() }, [reply()]).remove(0).value;
        let value = String::from_utf8(value).unwrap();
        opened(&record(value, &[]), |opened| assert!(matches!(opened, Opened::Event(_)), "{opened:?}"));
    }
}

/// What a reader finds in a payload.
fn fields<T>(payload: Value, read: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, Vec<(String, String)>> {
    opened(&record(with(&[("/payload", payload)]), &[]), |opened| {
        let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
        let mut fields = Fields::of(&envelope);
        let event = read(&mut fields);
        let own = |of: Finding| (of.rule.into_owned(), of.pointer);
        fields.finish(event).map_err(|findings| findings.into_iter().map(own).collect())
    })
}

#[test]
fn fields_are_read_with_their_bounds_and_each_that_is_wrong_is_found() {
    let hash = format!("sha256:{}", "a0".repeat(32));
    let payload = json!({
        "id": "x", "text": " t ", "url": "/a", "n": 3.0, "word": "b", "texts": ["r"], "at": "2026-03-02T08:15:00Z",
        "hash": hash, "print": hash, "tenant": "acme", "slug": "a-1", "nothing": null,
    });
    let read = |fields: &mut Fields<'_>| {
        fields.same_tenant();
        fields.one_of_them("absent", "id");
        let texts = (fields.id("id"), fields.text("text", 9), fields.location("url"), fields.texts("texts"));
        let others = (fields.whole("n", 1..=3), fields.word("word", &["a", "b"]), fields.optional_instant_ms("at"));
        let hashes = (fields.optional_hash("hash"), fields.fingerprint("print"));
        (texts, others, hashes, (fields.slug("slug"), fields.optional_text("nothing", 9)))
    };
    let (texts, others, hashes, rest) = fields(payload.clone(), read).unwrap();
    assert_eq!(texts, ("x".into(), " t ".to_owned(), "/a".to_owned(), vec!["r".to_owned()]));
    assert_eq!(others, (3, "b", Some(1_772_439_300_000)));
    assert_eq!((hashes, rest), ((Some(hash.clone()), hash), ("a-1".to_owned(), None)));
    let names = ["tenant", "id", "text", "url", "texts", "n", "word", "at", "hash", "print", "slug"];
    let broken = json!({
        "id": "", "text": "x".repeat(10), "url": "ftp://x", "n": 4, "word": "c", "texts": "r", "at": "now", "hash": "a0",
        "print": "sha256:A0", "tenant": "umbrella", "slug": "A 1",
    });
    let found = fields(broken, read).unwrap_err();
    let rule = |name: &str| match name {
        "tenant" => "tenant.differs",
        "n" => "field.range",
        "print" => "payload.secret",
        _ => "field.type",
    };
    assert_eq!(found, names.map(|name| (rule(name).to_owned(), format!("/payload/{name}"))).to_vec());
    let found = fields(json!({}), read).unwrap_err();
    let required = ["absent", "id", "text", "url", "n", "word", "print", "slug"];
    assert_eq!(found, required.map(|name| ("field.required".to_owned(), format!("/payload/{name}"))).to_vec());
}
