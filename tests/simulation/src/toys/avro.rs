//! Avro: `{"id": string, "tenant": string, "learner": string, "score": long}`, in two framings; each answer is stored, and counted for
//! its learner.

use std::sync::Arc;

use lyceum_core::catalog::{FamilySpec, Known, PLATFORM_DEAD_LETTERS, TopicOf};
use lyceum_core::effects::Counted;
use lyceum_core::envelope::{Hint, Invalid, Opening};
use lyceum_core::family::{AggregateRef, AggregateState, EnvelopeOf, Family, Occurrence, TypedEvent};
use lyceum_core::formats::{Format, Opened, Stored, document};
use lyceum_core::outcome::{DeadLetterKind, Finding};
use lyceum_core::ports::schemas::{SchemaRef, Schemas};
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::record::Record;
use lyceum_core::subscription::{Effect, Subscription};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{hash, named};

/// Where answers come.
pub const TOPIC: &str = "toy.answers.v1";
/// The schemas that are registered, by Confluent's id and by fingerprint: the names of the fields, in their order.
pub const SCHEMAS: [(i32, u64, &str); 2] =
    [(7, 0x0102_0304_0506_0708, "id tenant learner score"), (8, 0x1112_1314_1516_1718, "score id tenant learner")];

/// The name of no schema.
pub const UNKNOWN: SchemaRef = SchemaRef::Id(9);

/// What the registry answers.
pub fn registered(schema: &SchemaRef) -> Option<String> {
    let is_meant = |(id, print, _): &&(i32, u64, &str)| match schema {
        SchemaRef::Id(of) => of == id,
        SchemaRef::Fingerprint(of) => of == print,
        SchemaRef::Guid(_) | SchemaRef::Version(_) => false,
    };
    SCHEMAS.iter().find(is_meant).map(|(_, _, fields)| (*fields).to_owned())
}

/// All of them, and one name that has none.
pub fn schemas() -> Schemas<Vec<String>> {
    let named = SCHEMAS.iter().flat_map(|(id, print, _)| [SchemaRef::Id(*id), SchemaRef::Fingerprint(*print)]);
    let found = |schema| (schema, registered(&schema).and_then(|text| Avro::parse(&text).ok()).map(Arc::new));
    named.chain([UNKNOWN]).map(found).collect()
}

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

fn answer<'a>(mut bytes: &'a [u8], fields: &[String]) -> Option<Answer<'a>> {
    let mut answer = Answer { id: Uuid::nil(), tenant: "", learner: "", score: 0 };
    for field in fields {
        match &**field {
            "id" => answer.id = string(&mut bytes)?.parse().ok()?,
            "tenant" => answer.tenant = string(&mut bytes)?,
            "learner" => answer.learner = string(&mut bytes)?,
            _ => answer.score = long(&mut bytes)?,
        }
    }
    bytes.is_empty().then_some(answer)
}

/// The schema that the framing names, and what is behind it.
fn unframed(value: &[u8]) -> Option<(SchemaRef, &[u8])> {
    match value {
        [0, a, b, c, d, rest @ ..] => Some((SchemaRef::Id(i32::from_be_bytes([*a, *b, *c, *d])), rest)),
        [0xC3, 1, rest @ ..] => {
            let (print, rest) = rest.split_first_chunk::<8>()?;
            Some((SchemaRef::Fingerprint(u64::from_le_bytes(*print)), rest))
        }
        _ => None,
    }
}

/// The wire form.
pub struct Avro;

impl Format for Avro {
    type Body<'a> = Answer<'a>;
    type Schema = Vec<String>;

    const LOOKS: &'static str = "Avro begins with the name of its schema";

    fn looks_like(value: &[u8]) -> bool {
        unframed(value).is_some()
    }

    fn parse(schema: &str) -> Result<Vec<String>, String> {
        Ok(schema.split(' ').map(str::to_owned).collect())
    }

    fn open<'a>(record: &'a Record, hint: Hint<'_>, schemas: &Schemas<Vec<String>>) -> Opened<'a, Answer<'a>> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        let framed = unframed(value);
        let fields = match framed.map(|(schema, _)| (schema, schemas.get(&schema))) {
            Some((schema, None)) => return Opened::Missing(schema),
            Some((_, Some(fields))) => fields,
            None => None,
        };
        read(record, value, hint, framed.map(|(_, raw)| raw).zip(fields)).into()
    }

    fn sameness(envelope: &EnvelopeOf<'_, Scored>, fields: &[u8]) -> [u8; 32] {
        hash([envelope.raw, fields])
    }
}

fn read<'a>(
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'_>,
    framed: Option<(&'a [u8], &Vec<String>)>,
) -> Result<(Known, Box<EnvelopeOf<'a, Scored>>), Box<Invalid>> {
    let mut opening = Opening::of(record, value, hint)?;
    let Some((raw, fields)) = framed else {
        opening.finding("record.malformed", "", "the value has no framing that is known, or no schema has its name");
        return Err(opening.invalid(DeadLetterKind::Decode));
    };
    let Some(answer) = answer(raw, fields) else {
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
        let mut document = document(envelope, Some(&event.learner), stored);
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
    type Numbers = Scores;

    fn counters(event: &Scored) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: SCORES, id: event.learner.clone().into() }]
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

/// A record's value behind either framing, by the first schema or the second.
pub fn value(id: Uuid, learner: &str, score: i64, is_confluent: bool, schema: usize) -> Vec<u8> {
    let (number, print, fields) = SCHEMAS[schema];
    let mut bytes = if is_confluent { vec![0] } else { vec![0xC3, 1] };
    match is_confluent {
        true => bytes.extend(number.to_be_bytes()),
        false => bytes.extend(print.to_le_bytes()),
    }
    for field in fields.split(' ') {
        let text = match field {
            "id" => id.to_string(),
            "tenant" => "acme".to_owned(),
            "learner" => learner.to_owned(),
            _ => {
                put_long(&mut bytes, score);
                continue;
            }
        };
        put_long(&mut bytes, text.len() as i64);
        bytes.extend(text.bytes());
    }
    bytes
}
