//! Statements and records, made to order.

use bytes::Bytes;
use lyceum_core::formats::statement::vocabulary::{ACTIVITIES, EXTENSIONS};
use lyceum_core::record::{Header, Position, Record};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::probe::Probe;
use crate::world::BEGINNING_MS;

/// The topic of plain statements.
pub const STATEMENTS: &str = "nlj.xapi.statements";
/// The topic of programs.
pub const PROGRAMS: &str = "nlj.training.programs";
/// The topic of bookings.
pub const BOOKINGS: &str = "nlj.training.bookings";
/// The topic of survey responses.
pub const RESPONSES: &str = "nlj.survey.responses";

/// A statement of one of the platform's event types, its id made of `number`.
pub fn event(number: u128, verb: &str, kind: &str, id: &str, extensions: &[(&str, Value)]) -> Value {
    let extensions: serde_json::Map<_, _> =
        extensions.iter().map(|(name, value)| (format!("{EXTENSIONS}{name}"), value.clone())).collect();
    json!({
        "id": Uuid::from_u128(number),
        "actor": {"mbox": format!("mailto:learner-{number}@academy.example")},
        "verb": {"id": format!("http://nlj.platform/verbs/{verb}")},
        "object": {"id": format!("{ACTIVITIES}{kind}/{id}"), "definition": {"name": {"en": id}}},
        "context": {"extensions": extensions},
        "timestamp": "2026-03-02T08:15:00Z",
    })
}

/// A booking event of the session `s1`.
pub fn booking(number: u128, verb: &str, booking_id: &str) -> Value {
    event(number, verb, "booking", booking_id, &[("session_id", json!("s1"))])
}

/// An event of the family [`Probe`].
pub fn probe(number: u128, id: &str, wish: Value) -> Value {
    event(number, "sent", "probe", id, &[("probe", wish)])
}

/// A statement that no other family claims.
pub fn plain(number: u128) -> Value {
    event(number, "viewed", "page", "p1", &[])
}

/// A record of partition 0.
pub fn record(topic: &str, offset: i64, value: &Value) -> Record {
    raw_record(topic, offset, value.to_string())
}

/// A record of partition 0 with any bytes.
pub fn raw_record(topic: &str, offset: i64, value: impl Into<Bytes>) -> Record {
    Record {
        position: Position::new(topic, 0, offset),
        timestamp_ms: BEGINNING_MS,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// The record with a header more.
pub fn with_header(mut record: Record, name: &str, value: &str) -> Record {
    record.headers.push(Header::new(name, value.to_owned()));
    record
}

/// A record of [`Probe`]'s topic.
pub fn probe_record(offset: i64, number: u128, id: &str, wish: Value) -> Record {
    record(Probe::TOPIC, offset, &probe(number, id, wish))
}
