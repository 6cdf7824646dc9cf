//! Avro: `{"id": string, "tenant": string, "learner": string, "score": long}`, in two framings; each answer is stored, and counted for
//! its learner.

use lyceum_core::envelope::{Hint, Invalid, Opening};
use lyceum_core::family::{
    AggregateRef, AggregateState, EnvelopeOf, Family, FamilySpec, Known, Occurrence, PLATFORM_DEAD_LETTERS, Stored,
    TopicOf, TypedEvent,
};
use lyceum_core::formats::{Format, Opened};
use lyceum_core::outcome::{DeadLetterKind, Finding};
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::record::Record;
use lyceum_core::subscription::{Counted, Effect, Subscription};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{document, hash, named};

/// Where answers come.
pub const TOPIC: &str = "toy.answers.v1";
/// Confluent's schema id, and the fingerprint, of the one schema that is known.
pub const SCHEMA: (u32, u64) = (7, 0x0102_0304_0506_0708);

/// The kind of what is counted.
pub const SCORES: &str = "toy-scores";

/// The family as data.
pub static SPEC: FamilySpec = FamilySpec {
    name: "toy-answers",
    topics: &[TopicOf { name: TOPIC, partitions: 2, key: "learner" }],
    event_types: &[named("toy.answered", TOPIC)],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[SCORES],
};

/// A record as Avro has it.
pub struct Answer<'a> {
    id: Uuid,
    tenant: &'a str,
    learner: &'a str,
    score: i64,
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

/// The wire form.
pub struct Avro;

impl Format for Avro {
    type Body<'a> = Answer<'a>;

    fn open<'a>(record: &'a Record, hint: Hint<'_>) -> Opened<'a, Answer<'a>> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        read(record, value, hint).into()
    }

    fn sameness(envelope: &EnvelopeOf<'_, Scored>, fields: &[u8]) -> [u8; 32] {
        hash([envelope.raw, fields])
    }
}

fn read<'a>(
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'_>,
) -> Result<(Known, EnvelopeOf<'a, Scored>), Box<Invalid>> {
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
    match opening.find_type(("", Some("toy.answered".into())), None, None) {
        Ok(()) => opening.finish(answer, raw, "", None),
        Err(kind) => Err(opening.invalid(kind)),
    }
}

/// An answer with its fields.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    learner: String,
    score: i64,
}

impl TypedEvent for Scored {
    type Format = Avro;

    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>> {
        Ok(Self { learner: envelope.body.learner.to_owned(), score: envelope.body.score })
    }

    fn key(&self, _: &EnvelopeOf<'_, Self>) -> String {
        self.learner.clone()
    }
}

/// The family of answers.
pub struct Answers;

impl Family for Answers {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &Subscription::own(&SPEC, Effect::Counted);
    type Event = Scored;

    fn document(envelope: &EnvelopeOf<'_, Scored>, event: &Scored, stored: &Stored<'_>) -> StatementDocument {
        let mut document = document(envelope, &event.learner, stored);
        document.fields.score_raw = Some(event.score as f64);
        document
    }
}

/// What is counted of a learner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The answers, in the order in which they were counted.
    pub answers: Vec<Uuid>,
    /// The sum of their scores.
    pub sum: i64,
}

impl AggregateState for Scores {
    fn view(&self, _: &[Option<Self>]) -> Value {
        json!({"answers": self.answers.len(), "sum": self.sum})
    }
}

impl Counted for Answers {
    const KINDS: &'static [&'static str] = &[SCORES];
    type Numbers = Scores;

    fn counters(event: &Scored) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: SCORES, id: event.learner.clone() }]
    }

    fn count(scores: &mut Scores, _: &AggregateRef, event: &Scored, at: &Occurrence) {
        scores.answers.push(at.event_id);
        scores.sum += event.score;
    }

    fn merge(scores: &mut Scores, other: &Scores) {
        scores.answers.extend(&other.answers);
        scores.sum += other.sum;
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
pub fn value(id: Uuid, learner: &str, score: i64, is_confluent: bool) -> Vec<u8> {
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
