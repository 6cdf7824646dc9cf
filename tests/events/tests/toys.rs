//! Two wire forms that no family of this release has, each with a family of a few lines: an Avro record in two framings, and a
//! module's envelope whose event leads to another one on a topic of somebody else's. That they are processed as every event is, under
//! failures too, shows that a format and a family are all that a new wire form needs.

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use lyceum_core::envelope::{Hint, Invalid, Opening, SOURCE_HEADER, follow_up_id};
use lyceum_core::family::{
    AggregateRef, Catalog, Decision, EffectPolicy, EnvelopeOf, EventType, Family, FamilySpec, FollowUp, KeyPlace,
    Known, ObjectIs, Occurrence, PLATFORM_DEAD_LETTERS, Refusal, Stored, TopicOf,
};
use lyceum_core::formats::{Format, Opened};
use lyceum_core::outcome::{DeadLetterKind, Finding};
use lyceum_core::ports::event_log::{Administer, Retention, TopicSpec};
use lyceum_core::ports::statements::{QueryDocuments, StatementDocument, StatementFields};
use lyceum_core::process::{ProcessConfig, Processor};
use lyceum_core::record::{Header, Position, Record, header_text};
use lyceum_core::states::{Aggregate, Changes, States};
use lyceum_events_tests::faults::Fault;
use lyceum_events_tests::world::{BEGINNING_MS, World, outcomes};
use lyceum_lambda_event::handler::FamilyFunction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// An event type that is named by the value alone: no statement means it.
const fn named(name: &'static str, topic: &'static str) -> EventType {
    EventType { name, topic, verbs: &[], object: ObjectIs::Kind("none"), effect: "for tests" }
}

fn hash(parts: [&[u8]; 2]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

fn fields(event_type: &str, family: &str, occurred_at_ms: i64, actor: &str) -> StatementFields {
    let (event_type, family, actor) = (event_type.to_owned(), family.to_owned(), actor.to_owned());
    StatementFields { event_type, family, timestamp_ms: occurred_at_ms, actor, ..StatementFields::default() }
}

/// Avro: `{"id": string, "tenant": string, "learner": string, "score": long}`.
mod avro {
    use super::*;

    pub(super) const TOPIC: &str = "toy.answers.v1";
    /// Confluent's schema id, and the fingerprint, of the one schema that is known.
    pub(super) const SCHEMA: (u32, u64) = (7, 0x0102_0304_0506_0708);

    pub(super) static SPEC: FamilySpec = FamilySpec {
        name: "toy-answers",
        topics: &[TopicOf { name: TOPIC, partitions: 1, key: "learner" }],
        event_types: &[named("toy.answered", TOPIC)],
        dead_letters: PLATFORM_DEAD_LETTERS,
        kinds: &[],
        effect: EffectPolicy::DocumentById,
    };

    pub(super) struct Answer<'a> {
        id: Uuid,
        tenant: &'a str,
        pub(super) learner: &'a str,
        pub(super) score: i64,
    }

    /// Avro's long: zigzag, seven bits a byte.
    fn long(bytes: &mut &[u8]) -> Option<i64> {
        let mut raw = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        None
    }

    fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        let length = usize::try_from(long(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        std::str::from_utf8(text).ok()
    }

    fn answer(mut bytes: &[u8]) -> Option<Answer<'_>> {
        let id = string(&mut bytes)?.parse().ok()?;
        let (tenant, learner, score) = (string(&mut bytes)?, string(&mut bytes)?, long(&mut bytes)?);
        bytes.is_empty().then_some(Answer { id, tenant, learner, score })
    }

    /// What is behind the framing, where its schema is the known one.
    fn unframed(value: &[u8]) -> Result<&[u8], String> {
        match value {
            [0, a, b, c, d, rest @ ..] => {
                let id = u32::from_be_bytes([*a, *b, *c, *d]);
                if id == SCHEMA.0 { Ok(rest) } else { Err(format!("no schema has the id {id}")) }
            }
            [0xC3, 1, rest @ ..] => match rest.split_first_chunk::<8>() {
                Some((print, rest)) if u64::from_le_bytes(*print) == SCHEMA.1 => Ok(rest),
                _ => Err("no schema has this fingerprint".to_owned()),
            },
            _ => Err("the value has no framing that is known".to_owned()),
        }
    }

    pub(super) struct Avro;

    impl Format for Avro {
        type Body<'a> = Answer<'a>;

        fn open<'a>(record: &'a Record, hint: Hint<'_>) -> Opened<'a, Answer<'a>> {
            let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
            read(record, value, hint).into()
        }

        fn sameness(envelope: &EnvelopeOf<'_, Answers>, fields: &[u8]) -> [u8; 32] {
            hash([envelope.raw, fields])
        }
    }

    fn read<'a>(
        record: &'a Record,
        value: &'a [u8],
        hint: Hint<'_>,
    ) -> Result<(Known, EnvelopeOf<'a, Answers>), Box<Invalid>> {
        let mut opening = Opening::of(record, value, hint)?;
        let raw = match unframed(value) {
            Ok(raw) => raw,
            Err(message) => {
                opening.finding("record.malformed", "", message);
                return Err(opening.invalid(DeadLetterKind::Decode));
            }
        };
        let Some(answer) = answer(raw) else {
            opening.finding("record.malformed", "", "the value is not what its schema says");
            return Err(opening.invalid(DeadLetterKind::Decode));
        };
        opening.find_tenant([("/tenant", Some(answer.tenant.into())), ("", None)]);
        opening.find_correlation_id(("", None));
        opening.find_id(Some(answer.id), ("", None));
        match opening.find_type(("", Some("toy.answered".into())), None) {
            Ok(()) => opening.finish(answer, raw, "", None),
            Err(kind) => Err(opening.invalid(kind)),
        }
    }

    pub(super) struct Answers;

    impl Family for Answers {
        const SPEC: &'static FamilySpec = &SPEC;
        type Event = i64;
        type State = ();
        type Format = Avro;

        fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<i64, Vec<Finding>> {
            Ok(envelope.body.score)
        }

        fn key(envelope: &EnvelopeOf<'_, Self>, _: &i64) -> String {
            envelope.body.learner.to_owned()
        }

        fn aggregates(_: &i64) -> Vec<AggregateRef> {
            Vec::new()
        }

        fn decide(_: &States<'_, ()>, _: &i64, _: &Occurrence) -> Result<Decision<()>, Refusal> {
            Ok(Decision { changes: Changes::new(), follow_ups: Vec::new(), anomalies: Vec::new() })
        }

        fn document(envelope: &EnvelopeOf<'_, Self>, score: &i64, stored: &Stored<'_>) -> StatementDocument {
            let mut fields = fields(envelope.event_type, stored.family, envelope.occurred_at_ms, envelope.body.learner);
            fields.score_raw = Some(*score as f64);
            StatementDocument {
                tenant: envelope.tenant.to_string(),
                id: envelope.id,
                raw: stored.value.slice_ref(envelope.raw),
                stored_ms: stored.stored_ms,
                source: stored.source.clone(),
                correlation_id: envelope.correlation_id.to_string(),
                fields,
            }
        }

        fn view((): &(), _: &[Option<()>]) -> Value {
            Value::Null
        }
    }

    fn put_long(bytes: &mut Vec<u8>, number: i64) {
        let mut raw = ((number << 1) ^ (number >> 63)) as u64;
        while raw > 0x7f {
            bytes.push(raw as u8 | 0x80);
            raw >>= 7;
        }
        bytes.push(raw as u8);
    }

    /// A record's value behind either framing.
    pub(super) fn value(id: Uuid, learner: &str, score: i64, is_confluent: bool) -> Vec<u8> {
        let mut bytes = if is_confluent { vec![0] } else { vec![0xC3, 1] };
        if is_confluent {
            bytes.extend(SCHEMA.0.to_be_bytes())
        } else {
            bytes.extend(SCHEMA.1.to_le_bytes())
        }
        for text in [&id.to_string(), "acme", learner] {
            put_long(&mut bytes, text.len() as i64);
            bytes.extend(text.bytes());
        }
        put_long(&mut bytes, score);
        bytes
    }
}

/// A module's envelope: `{"id", "type", "payload": {…}, "meta": {"tenant_id", "correlation_id"?}}`.
mod module {
    use super::*;

    pub(super) const TOPIC: &str = "toy.courses.v1";
    /// Somebody else's.
    pub(super) const ELSEWHERE: &str = "toy.distributions.v1";

    pub(super) static SPEC: FamilySpec = FamilySpec {
        name: "toy-courses",
        topics: &[TopicOf { name: TOPIC, partitions: 1, key: "course id" }],
        event_types: &[named("toy.course.generated", TOPIC)],
        dead_letters: PLATFORM_DEAD_LETTERS,
        kinds: &["course"],
        effect: EffectPolicy::StateAndKey { keys: KeyPlace::Home },
    };

    #[derive(Deserialize)]
    pub(super) struct Charter<'a> {
        id: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
        payload: Payload<'a>,
        meta: Meta<'a>,
    }

    #[derive(Deserialize)]
    struct Payload<'a> {
        course_id: &'a str,
    }

    #[derive(Deserialize)]
    struct Meta<'a> {
        tenant_id: &'a str,
        correlation_id: Option<&'a str>,
    }

    pub(super) struct Module;

    impl Format for Module {
        type Body<'a> = Charter<'a>;

        fn open<'a>(record: &'a Record, hint: Hint<'_>) -> Opened<'a, Charter<'a>> {
            let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
            read(record, value, hint).into()
        }

        fn sameness(envelope: &EnvelopeOf<'_, Courses>, fields: &[u8]) -> [u8; 32] {
            hash([envelope.raw, fields])
        }
    }

    fn read<'a>(
        record: &'a Record,
        value: &'a [u8],
        hint: Hint<'_>,
    ) -> Result<(Known, EnvelopeOf<'a, Courses>), Box<Invalid>> {
        let mut opening = Opening::of(record, value, hint)?;
        let charter: Charter<'a> = match serde_json::from_slice(value) {
            Ok(charter) => charter,
            Err(error) => {
                opening.finding("record.malformed", "", error.to_string());
                return Err(opening.invalid(DeadLetterKind::Decode));
            }
        };
        opening.find_tenant([("/meta/tenant_id", Some(charter.meta.tenant_id.into())), ("", None)]);
        opening.judge_tenant("/meta/tenant_id");
        opening.find_correlation_id(("/meta/correlation_id", charter.meta.correlation_id.map(Into::into)));
        opening.find_id(None, ("/id", Some(charter.id.into())));
        match opening.find_type(("/type", Some(charter.event_type.into())), None) {
            Ok(()) => opening.finish(charter, value, "", None),
            Err(kind) => Err(opening.invalid(kind)),
        }
    }

    /// How often a course was generated.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub(super) struct Course(u32);

    impl Aggregate for Course {
        type State = Self;
        const KIND: &'static str = "course";

        fn of(state: &Self) -> Option<&Self> {
            Some(state)
        }

        fn into_state(self) -> Self {
            self
        }
    }

    pub(super) struct Courses;

    impl Family for Courses {
        const SPEC: &'static FamilySpec = &SPEC;
        type Event = String;
        type State = Course;
        type Format = Module;

        fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<String, Vec<Finding>> {
            Ok(envelope.body.payload.course_id.to_owned())
        }

        fn key(_: &EnvelopeOf<'_, Self>, course: &String) -> String {
            course.clone()
        }

        fn aggregates(course: &String) -> Vec<AggregateRef> {
            vec![AggregateRef { kind: "course", id: course.clone() }]
        }

        fn decide(states: &States<'_, Course>, course: &String, _: &Occurrence) -> Result<Decision<Course>, Refusal> {
            let Course(count) = states.get::<Course>(course)?.cloned().unwrap_or_default();
            let value = json!({"course_id": course}).to_string().into_bytes();
            let follow_up =
                FollowUp { topic: ELSEWHERE, event_type: "toy.distribution.created", key: course.clone(), value };
            let changes = Changes::new().put(&**course, Course(count + 1));
            Ok(Decision { changes, follow_ups: vec![follow_up], anomalies: Vec::new() })
        }

        fn document(envelope: &EnvelopeOf<'_, Self>, _: &String, stored: &Stored<'_>) -> StatementDocument {
            StatementDocument {
                tenant: envelope.tenant.to_string(),
                id: envelope.id,
                raw: stored.value.slice_ref(envelope.raw),
                stored_ms: stored.stored_ms,
                source: stored.source.clone(),
                correlation_id: envelope.correlation_id.to_string(),
                fields: fields(envelope.event_type, stored.family, envelope.occurred_at_ms, ""),
            }
        }

        fn view(Course(count): &Course, _: &[Option<Course>]) -> Value {
            json!({"generated": count})
        }
    }

    pub(super) fn value(id: Uuid, event_type: &str, course: &str) -> Vec<u8> {
        let meta = json!({"tenant_id": "acme", "correlation_id": "c-1"});
        let payload = json!({"course_id": course});
        json!({"id": id, "type": event_type, "payload": payload, "meta": meta}).to_string().into_bytes()
    }
}

/// A world that has the families beside those of the release.
fn world() -> World {
    let mut world = World::new();
    for name in [avro::TOPIC, module::TOPIC, module::ELSEWHERE] {
        let spec = TopicSpec { name: name.into(), partitions: 1, retention: Retention::default() };
        block_on(world.event_log.model.create_topic(spec)).expect("a topic can be created");
    }
    let mut families = world.catalog.families().to_vec();
    families.extend([&avro::SPEC, &module::SPEC]);
    world.catalog = Arc::new(Catalog::new(families));
    world
}

fn function<F: Family>(world: &World) -> Arc<dyn FamilyFunction> {
    Arc::new(Processor::<F>::new(world.services(), world.catalog.clone(), ProcessConfig::default()))
}

fn record(topic: &str, offset: i64, value: impl Into<Bytes>) -> Record {
    let (position, value) = (Position::new(topic, 0, offset), Some(value.into()));
    Record { position, timestamp_ms: BEGINNING_MS, key: None, value, headers: Vec::new() }
}

#[test]
fn an_avro_record_is_stored_once_in_either_framing_and_an_unknown_schema_is_a_letter() {
    let world = world();
    let function = function::<avro::Answers>(&world);
    let ids = [1, 2, 3].map(Uuid::from_u128);
    let mut unknown = avro::value(ids[2], "grace", 1, true);
    unknown[4] = 8;
    let records = [
        record(avro::TOPIC, 0, avro::value(ids[0], "ada", 300, true)),
        record(avro::TOPIC, 1, avro::value(ids[1], "grace", -7, false)),
        record(avro::TOPIC, 2, unknown.clone()),
        record(avro::TOPIC, 3, b"{}".to_vec()),
        record(avro::TOPIC, 4, avro::value(ids[0], "ada", 300, false)),
        record(avro::TOPIC, 5, avro::value(ids[0], "ada", 301, true)),
    ];
    let ended = outcomes(&world.deliver_to(&function, &records));
    let [decode, conflict] = ["dead_lettered decode", "dead_lettered conflict"];
    assert_eq!(ended, ["applied", "applied", decode, decode, "duplicate", conflict]);
    let stored = |id| block_on(world.statements.model.get("acme", id)).unwrap().expect("it is stored").document;
    assert_eq!(
        ids.map(|id| (id != ids[2]).then(|| stored(id).fields.score_raw)),
        [Some(Some(300.0)), Some(Some(-7.0)), None]
    );
    // What was sent, framing included, is in the letter.
    assert!(world.letters().iter().any(|letter| letter.original.value.as_deref() == Some(&unknown[..])));
}

#[test]
fn an_avro_record_whose_store_failed_is_stored_on_the_next_delivery() {
    let world = world();
    let function = function::<avro::Answers>(&world);
    let id = Uuid::from_u128(9);
    let records = [record(avro::TOPIC, 0, avro::value(id, "ada", 1, true))];
    world.statements.switch.set_down(true);
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["retry_later"]);
    world.statements.switch.set_down(false);
    world.statements.switch.script([Some(Fault::After)]);
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["applied"]);
    assert!(block_on(world.statements.model.get("acme", id)).unwrap().is_some());
}

#[test]
fn a_modules_event_leads_to_one_on_somebody_elses_topic_once_whatever_answer_is_lost() {
    for fault in [None, Some(Fault::Before), Some(Fault::After)] {
        for port in ["ledger", "event log"] {
            let world = world();
            let function = function::<module::Courses>(&world);
            let id = Uuid::from_u128(1);
            let value = module::value(id, "toy.course.generated", "rust");
            let records = [record(module::TOPIC, 0, value.clone()), record(module::TOPIC, 1, value)];
            match port {
                "ledger" => world.ledger.switch.script([fault]),
                _ => world.event_log.switch.script([fault]),
            }
            let ended = outcomes(&world.deliver_to(&function, &records));
            assert_eq!(ended, ["applied", "duplicate"], "{fault:?} at the {port}");
            let shown = block_on(function.show("acme", "course", "rust")).unwrap().expect("it is kept");
            assert_eq!((&shown["generated"], &shown["version"]), (&json!(1), &json!(1)), "{fault:?} at the {port}");
            // At least once, and always under the same id: who reads them removes the others.
            let published = world.records(module::ELSEWHERE);
            let expected = follow_up_id(id, "toy.distribution.created", 0).to_string();
            assert!(!published.is_empty());
            for record in published {
                assert_eq!(header_text(&record.headers, "event-id"), Some(&*expected));
                assert_eq!(header_text(&record.headers, "correlation-id"), Some("c-1"));
            }
        }
    }
}

#[test]
fn what_the_envelope_asks_of_every_format_is_asked_of_a_modules_event() {
    let world = world();
    let function = function::<module::Courses>(&world);
    let value = |number, event_type| module::value(Uuid::from_u128(number), event_type, "rust");
    let mut of_another_tenant = record(module::TOPIC, 0, value(1, "toy.course.generated"));
    of_another_tenant.headers.push(Header::new("tenant-id", "beta"));
    let mut damaged = record(module::TOPIC, 1, value(2, "toy.course.generated"));
    damaged.headers.push(Header::new(SOURCE_HEADER, "nowhere"));
    let records = [
        of_another_tenant,
        damaged,
        record(module::TOPIC, 2, value(3, "toy.nothing")),
        record(module::TOPIC, 3, value(4, "toy.answered")),
        Record { value: None, ..record(module::TOPIC, 4, "") },
    ];
    let reports = world.deliver_to(&function, &records);
    let [validation, unknown] = ["dead_lettered validation", "dead_lettered unknown-type"];
    assert_eq!(outcomes(&reports), [validation, validation, unknown, unknown, "skipped_tombstone"]);
    let rules: Vec<_> = reports.iter().flat_map(|report| &report.findings).map(|finding| &*finding.rule).collect();
    assert_eq!(rules, ["tenant.differs", "replay.headers", "event-type.unknown", "event-type.topic"]);
}
