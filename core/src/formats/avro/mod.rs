//! Avro: events of one record schema for each family, in binary behind any of the framings that name its writer's schema, or in
//! JSON. The reader's schema is the newest of those that are built in (`functions/<family>/schemas/*.avsc`); the writer's is one of
//! them, known by its fingerprint, or one that a registry has. What the writer's schema says is resolved against the reader's once a
//! schema (`plan.rs`); from there an event is read straight into the family's own types (`binary.rs`, `json.rs`).
//!
//! Every event has `event_id` (a UUID as text), `event_type` (an enum: the catalog's name with `_` for `.`), `occurred_at`
//! (milliseconds since 1970 UTC), `user_id`, `tenant_id`, `correlation_id` (or null) and `payload`, a union whose branch is told by
//! the type of the event.

use std::borrow::Cow;
use std::cell::Cell;
use std::marker::PhantomData;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::statement::field::MAX_ID_BYTES;
use super::{Format, Opened, has_member};
use crate::catalog::Known;
use crate::envelope::{Envelope, Hint, Invalid, Opening, finding};
use crate::outcome::{DeadLetterKind, Finding};
use crate::ports::schemas::{SchemaRef, Schemas};
use crate::record::Record;

mod binary;
pub mod field;
mod framing;
mod json;
mod plan;
mod schema;
mod seen;
#[cfg(test)]
mod tests;
mod value;

use binary::{At, Bytes, Copied, Lend, Lent, Source};
pub use framing::MAPPING_HEADER;
use framing::{Framed, unframed};
use json::JsonAt;
use plan::{Mismatch, Plan};
pub use schema::Schema;
use seen::{Path, Seen, Stop};
use value::Json;
pub use value::Text;

/// The field that says whose the event is.
const TENANT_FIELD: &str = "tenant_id";
/// The end of the year 9999; milliseconds since 1970 UTC.
const LAST_MS: i64 = 253_402_300_799_999;

/// What the events of one family are in Avro.
pub trait AvroEvents: 'static {
    /// What stands in `payload`: an enum with a variant for each branch of the reader's union, in its order, each a struct with the
    /// fields of the branch in their order.
    type Payload<'a>: Deserialize<'a> + Send + Sync;

    /// The event types of each branch.
    const TYPES: &'static [&'static [&'static str]];

    /// The schemas that are built in.
    fn schemas() -> &'static BuiltIn;

    /// The branch of a payload.
    fn branch(payload: &Self::Payload<'_>) -> usize;
}

/// The form of a family's events.
#[derive(Clone, Copy, Debug)]
pub struct Avro<E>(PhantomData<E>);

/// What an event says.
#[derive(Clone, Debug)]
pub struct Event<'a, P> {
    /// The sender's id of the learner.
    pub user_id: Text<'a>,
    /// `LEARNER_HOME_PAGE`
    home_page: SmolStr,
    /// What is said of the learner.
    pub payload: P,
}

impl<P> Event<'_, P> {
    /// The learner as an actor of a statement is named: an account under `LEARNER_HOME_PAGE`.
    pub fn learner(&self) -> String {
        format!("account:{}|{}", self.home_page, self.user_id.0)
    }
}

/// The schemas of a family that are built in, each resolved against the newest.
#[derive(Debug)]
pub struct BuiltIn {
    reader: Schema,
    /// Of each symbol of `event_type` the catalog's name.
    event_types: Vec<String>,
    /// By the fingerprints of their writers' schemas: a few.
    plans: Vec<(u64, Plan)>,
}

impl BuiltIn {
    /// Of their texts, oldest first: the last one is the reader's.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn of(texts: &[&str]) -> Result<Self, String> {
        let schemas: Vec<Schema> = texts.iter().map(|text| Schema::parse(text)).collect::<Result<_, _>>()?;
        let reader = schemas.last().ok_or("there is no schema")?.clone();
        let symbols = reader.symbols_of("event_type").ok_or("a schema has no enum event_type")?;
        let event_types = symbols.iter().map(|symbol| symbol.replace('_', ".")).collect();
        let mut plans = Vec::new();
        for schema in &schemas {
            let plan = Plan::of(schema, &reader).map_err(|wrong| format!("{wrong:?}"))?;
            plans.push((schema.wrapped_fingerprint(), plan.clone()));
            plans.push((schema.fingerprint(), plan));
        }
        Ok(Self { reader, event_types, plans })
    }

    /// The schema by which events are read: the newest.
    pub fn reader(&self) -> &Schema {
        &self.reader
    }
}

/// The schema of a writer that is not built in.
#[derive(Debug)]
pub struct Writer(Result<Plan, Vec<Mismatch>>);

/// What every event has; the fields are those of the reader's schema, in their order.
#[derive(Deserialize)]
struct Wire<'a, P> {
    #[serde(borrow)]
    event_id: Text<'a>,
    event_type: u32,
    occurred_at: i64,
    #[serde(borrow)]
    user_id: Text<'a>,
    #[serde(borrow)]
    tenant_id: Text<'a>,
    #[serde(borrow)]
    correlation_id: Option<Text<'a>>,
    payload: P,
}

impl<E: AvroEvents> Format for Avro<E> {
    type Body<'a> = Event<'a, E::Payload<'a>>;

    type Schema = Writer;

    const LOOKS: &'static str = "an event of analytics has event_id, event_type, occurred_at, user_id, tenant_id and payload, in JSON or in Avro";

    fn looks_like(value: &[u8]) -> bool {
        if !framing::is_json(value) {
            // Of other framings nothing but a registry tells whether they are any: a film may begin so.
            let print = value.strip_prefix(&[0xC3, 1]).and_then(|rest| rest.first_chunk::<8>());
            return print
                .is_some_and(|print| built_in::<E>(&SchemaRef::Fingerprint(u64::from_le_bytes(*print))).is_some());
        }
        // Two of them that no other form has.
        let (has_time, has_user) = (Cell::new(false), Cell::new(false));
        has_member(value, |name| {
            has_time.set(has_time.get() || name == "occurred_at");
            has_user.set(has_user.get() || name == "user_id");
            has_time.get() && has_user.get()
        })
    }

    fn parse(schema: &str) -> Result<Writer, String> {
        // What cannot be read is known by it, and told with every event that it wrote.
        Ok(Writer(match Schema::parse(schema) {
            Ok(writer) => Plan::of(&writer, &E::schemas().reader),
            Err(why) => {
                let message = format!("the schema as it was registered cannot be read: {why}");
                Err(vec![Mismatch { pointer: String::new(), message }])
            }
        }))
    }

    fn open<'a>(record: &'a Record, hint: Hint<'_>, schemas: &Schemas<Writer>) -> Opened<'a, Self::Body<'a>> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        let framed = unframed(&record.headers, value);
        let by = match &framed {
            Framed::Binary(schema, _) => match (built_in::<E>(schema), schemas.get(schema)) {
                (Some(plan), _) => Some(Ok(plan)),
                (None, None) => return Opened::Missing(*schema),
                (None, Some(None)) => None,
                (None, Some(Some(Writer(resolved)))) => Some(resolved.as_ref()),
            },
            Framed::Json | Framed::Unknown(_) => None,
        };
        read::<E>(record, value, hint, &framed, by).into()
    }

    fn sameness(envelope: &Envelope<'_, Self::Body<'_>>, fields: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        let (at, user_id) = (envelope.occurred_at_ms.to_be_bytes(), envelope.body.user_id.as_str());
        for part in [envelope.event_type.as_bytes(), &at, user_id.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(fields);
        hash.finalize().into()
    }
}

fn built_in<E: AvroEvents>(schema: &SchemaRef) -> Option<&'static Plan> {
    match schema {
        SchemaRef::Fingerprint(print) => E::schemas().plans.iter().find(|(of, _)| of == print).map(|(_, plan)| plan),
        SchemaRef::Id(_) | SchemaRef::Guid(_) | SchemaRef::Version(_) => None,
    }
}

type Envelopes<'a, E> = Envelope<'a, Event<'a, <E as AvroEvents>::Payload<'a>>>;

/// Reads a value whose writer's schema was looked for; `by`: what it came to.
fn read<'a, E: AvroEvents>(
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'_>,
    framed: &Framed<'a>,
    by: Option<Result<&Plan, &Vec<Mismatch>>>,
) -> Result<(Known, Box<Envelopes<'a, E>>), Box<Invalid>> {
    let mut opening = Opening::of(record, value, hint)?;
    let (schemas, mut seen) = (E::schemas(), Seen::default());
    let wire = match (framed, by) {
        (Framed::Binary(_, bytes), Some(Ok(plan))) => match bytes {
            Cow::Borrowed(bytes) => of_bytes::<Wire<'_, _>, Lent>(bytes, plan, &schemas.reader, &mut seen),
            Cow::Owned(bytes) => of_bytes::<Wire<'_, _>, Copied>(bytes, plan, &schemas.reader, &mut seen),
        },
        (Framed::Json, _) => return in_json::<E>(opening, value, hint),
        (Framed::Binary(schema, _), by) => {
            let (rule, before) = match by {
                Some(_) => ("schema.mismatch", format!("it is written by {schema}, by which it cannot be read: ")),
                None => ("schema.unknown", String::new()),
            };
            let none = Mismatch {
                pointer: String::new(),
                message: format!(
                    "it is written by {schema}, which is none of this release's and which no schema registry of this deployment has; register it and replay the letter, or send the event as a single object by a schema of this release, or in JSON"
                ),
            };
            let mismatches = by.and_then(Result::err).map_or(std::slice::from_ref(&none), Vec::as_slice);
            for Mismatch { pointer, message } in mismatches {
                opening.finding(rule, pointer, format!("{before}{message}"));
            }
            opening.find_tenant([("", None), ("", None)]);
            return Err(opening.invalid(DeadLetterKind::Decode));
        }
        (Framed::Unknown(why), _) => {
            opening.finding("schema.framing", "", why.clone());
            opening.find_tenant([("", None), ("", None)]);
            return Err(opening.invalid(DeadLetterKind::Decode));
        }
    };
    let wire = match wire {
        Ok(wire) if seen.findings.is_empty() => wire,
        _ => return Err(unread(opening, framed, value, seen)),
    };
    let named = schemas.event_types.get(wire.event_type as usize).map(|name| Cow::Borrowed(name.as_str()));
    let named = unknown_type(&seen).map(Cow::Owned).or(named);
    finish::<E>(opening, wire, named, Vec::new(), hint)
}

/// What is no event in binary, by what was seen of it.
#[cold]
fn unread(mut opening: Opening<'_, '_>, framed: &Framed<'_>, value: &[u8], seen: Seen) -> Box<Invalid> {
    let bytes = match framed {
        Framed::Binary(_, bytes) => &**bytes,
        Framed::Json | Framed::Unknown(_) => value,
    };
    opening.find_tenant([("/tenant_id", binary::tenant(&seen, bytes).map(Cow::Owned)), ("", None)]);
    opening.extend(seen.into_findings());
    opening.invalid(DeadLetterKind::Decode)
}

/// A value in binary; where that is none, or anything is in `seen`, something is wrong with it. It is given back as it was read: a
/// value is large, and so is each move of it.
fn of_bytes<'a, 'd, T: Deserialize<'a>, L: Lend<'a, 'd>>(
    bytes: &'d [u8],
    plan: &Plan,
    reader: &Schema,
    seen: &mut Seen,
) -> Result<T, Stop> {
    let mut source = Source { bytes: Bytes::of(bytes, seen), plan, reader };
    let path = Path::Whole;
    let value = T::deserialize(At { source: &mut source, op: plan.root(), path: &path, lend: PhantomData::<L> });
    let left = source.bytes.left();
    match &value {
        Ok(_) if left > 0 => {
            seen.note("record.malformed", &path, format!("{left} bytes are left behind the event"));
        }
        Err(Stop::Said(what)) => note_said(&what.0, seen),
        Ok(_) | Err(Stop::Noted) => {}
    }
    value
}

/// What `T` reads of a value without a framing that one schema wrote, resolved against another, which is that of `T`: the fields of a
/// record are named by their places in it, a symbol by its own.
///
/// # Errors
/// All that is wrong: the schemas do not match, or the bytes are no value of the writer's.
pub fn read_value<'a, T: Deserialize<'a>>(
    writer: &Schema,
    reader: &Schema,
    bytes: &'a [u8],
) -> Result<T, Vec<Finding>> {
    let plan = Plan::of(writer, reader).map_err(|mismatches| -> Vec<Finding> {
        mismatches.into_iter().map(|of| finding("schema.mismatch", &of.pointer, of.message)).collect()
    })?;
    let mut seen = Seen::default();
    match of_bytes::<T, Lent>(bytes, &plan, reader, &mut seen) {
        Ok(value) if seen.findings.is_empty() => Ok(value),
        _ => Err(seen.into_findings()),
    }
}

/// What a type says of values that its schema allows: both are built in, so that this is a mistake of theirs.
fn note_said(what: &str, seen: &mut Seen) {
    seen.note("record.malformed", &Path::Whole, format!("the event cannot be read: {what}"));
}

fn in_json<'a, E: AvroEvents>(
    mut opening: Opening<'a, '_>,
    value: &'a [u8],
    hint: Hint<'_>,
) -> Result<(Known, Box<Envelopes<'a, E>>), Box<Invalid>> {
    let json: Json<'a> = match serde_json::from_slice(value) {
        Ok(json) => json,
        Err(error) => {
            opening.finding("message.json", "", format!("the value is no JSON: {error}"));
            opening.find_tenant([("", None), ("", None)]);
            return Err(opening.invalid(DeadLetterKind::Decode));
        }
    };
    let named = json.member("event_type").and_then(Json::text).map(|name| name.replace('_', "."));
    // The type decides what its payload must have.
    let payload_branch = E::TYPES.iter().position(|types| types.iter().any(|of| named.as_deref() == Some(of)));
    let mut seen = Seen::of_branch(payload_branch);
    let (reader, path) = (&E::schemas().reader, Path::Whole);
    let at = JsonAt { value: Some(&json), schema: reader, of: reader.root(), path: &path, seen: &mut seen };
    let wire = match Wire::deserialize(at) {
        Ok(wire) => Some(wire),
        Err(Stop::Noted) => None,
        Err(Stop::Said(what)) => {
            note_said(&what.0, &mut seen);
            None
        }
    };
    // An event of another family is told where it belongs, and not what it lacks to be one of this.
    let is_of_another = named.as_deref().and_then(|name| hint.catalog.event_type(name));
    let is_of_another = is_of_another.filter(|known| !E::schemas().event_types.iter().any(|own| own == known.name));
    let (Some(wire), None) = (wire, is_of_another) else {
        let tenant = json.member(TENANT_FIELD).and_then(Json::text).map(|text| Cow::Owned(text.to_owned()));
        opening.find_tenant([("/tenant_id", tenant), ("", None)]);
        let Some(known) = is_of_another else {
            opening.extend(seen.into_findings());
            return Err(opening.invalid(DeadLetterKind::Decode));
        };
        opening.find_type(("/event_type", Some(known.name.into())), None, None).unwrap_or_default();
        let topic = known.topic;
        let message = format!("events of type {} belong on topic {topic}, and are no events of this one", known.name);
        opening.finding("event-type.topic", "/event_type", message);
        return Err(opening.invalid(DeadLetterKind::UnknownType));
    };
    // Where the type is missing, that is noted.
    let known = named.or_else(|| unknown_type(&seen));
    finish::<E>(opening, wire, known.map(Cow::Owned), seen.into_findings(), hint)
}

/// A type that is newer than this release, by the writer's word for it.
fn unknown_type(seen: &Seen) -> Option<String> {
    let (pointer, symbol) = seen.unknown_symbol.as_ref()?;
    (pointer == "/event_type").then(|| symbol.replace('_', "."))
}

fn finish<'a, E: AvroEvents>(
    mut opening: Opening<'a, '_>,
    wire: Wire<'a, E::Payload<'a>>,
    named: Option<Cow<'a, str>>,
    findings: Vec<Finding>,
    hint: Hint<'_>,
) -> Result<(Known, Box<Envelopes<'a, E>>), Box<Invalid>> {
    let Wire { event_id, event_type: _, occurred_at, user_id, tenant_id, correlation_id, payload } = wire;
    let value = opening.value();
    // Of what is missing or no text it is said already.
    let is_read = |pointer: &str| !findings.iter().any(|of| of.pointer == pointer);
    let text = |pointer: &'static str, text: Text<'a>| (pointer, Some(text.0).filter(|_| is_read(pointer)));
    opening.find_tenant([text("/tenant_id", tenant_id), ("", None)]);
    opening.judge_tenant("/tenant_id");
    opening.find_correlation_id(("/correlation_id", correlation_id.map(|text| text.0)));
    opening.find_id(None, text("/event_id", event_id));
    if is_read("/user_id") && !(1..=MAX_ID_BYTES).contains(&user_id.0.len()) {
        let message = format!("user_id must be a text of 1 to {MAX_ID_BYTES} bytes, and has {}", user_id.0.len());
        opening.finding("field.range", "/user_id", message);
    }
    if !(0..=LAST_MS).contains(&occurred_at) {
        let message = format!("occurred_at must be milliseconds since 1970, 0 to {LAST_MS}, and is {occurred_at}");
        opening.finding("field.range", "/occurred_at", message);
    }
    if is_read("/event_type") {
        let is_named = named.is_some();
        if let Err(kind) = opening.find_type(("/event_type", named), None, None) {
            return Err(opening.invalid(kind));
        }
        let is_payload_read = !findings.iter().any(|of| of.pointer.starts_with("/payload"));
        let types = E::TYPES.get(E::branch(&payload)).copied().unwrap_or_default();
        let named = opening.event_type().filter(|_| is_named && is_payload_read);
        if let Some(named) = named.filter(|named| !types.contains(named)) {
            let message = format!("the event type is {named}, and the payload is one of {}", types.join(", "));
            opening.finding("event-type.differs", "/payload", message);
        }
    }
    if !findings.is_empty() {
        opening.extend(findings);
    }
    let home_page = hint.config.learner_home_page.clone();
    opening.finish(Event { user_id, home_page, payload }, value, "", Some(occurred_at))
}
