//! What a row says of a record: the columns, the same in every form. Pure.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lyceum_core::audit::entry::Labels;
use lyceum_core::record::{Header, NO_TIMESTAMP, Record};
use serde::Serialize;
use serde::de::IgnoredAny;

/// The schema's version: it changes with the columns, with what stands in them, or with the bytes that a form makes of them.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// A column of every row.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) is: Is,
    /// Whether every row has one.
    pub(crate) is_required: bool,
    /// For whoever reads the manifest.
    pub(crate) about: &'static str,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// Milliseconds since 1970 UTC.
    Time,
    /// UTF-8.
    Text,
}

const fn required(name: &'static str, is: Is, about: &'static str) -> Column {
    Column { name, is, is_required: true, about }
}

const fn optional(name: &'static str, is: Is, about: &'static str) -> Column {
    Column { name, is, is_required: false, about }
}

/// How many columns there are.
pub(crate) const WIDTH: usize = 15;

/// In the order in which they are written.
pub(crate) static COLUMNS: [Column; WIDTH] = [
    required("topic", Is::Text, "the topic that the record is on"),
    required("partition", Is::Int, "its partition"),
    required("offset", Is::Long, "its offset in the partition: with topic and partition the row's name"),
    optional("timestamp", Is::Time, "when it was written, UTC; null where the log does not say"),
    optional("key", Is::Text, "the record's key; null where it has none"),
    optional("key_encoding", Is::Text, "how the key stands here: text, or base64 where it is no UTF-8"),
    required("kind", Is::Text, "what the record is: event, invalid, tombstone or dead-letter"),
    required("family", Is::Text, "the event family whose topic it is on; empty where it is none's"),
    required("event_type", Is::Text, "the event's type as the catalog has it, statement, or unknown"),
    optional("event_id", Is::Text, "the event's id; null where the record is no event"),
    optional("tenant", Is::Text, "whose it is; null where that cannot be told"),
    optional("correlation_id", Is::Text, "what it belongs to; null where that cannot be told"),
    optional("value", Is::Text, "the record's value, byte for byte as value_encoding says; null where it has none"),
    optional(
        "value_encoding",
        Is::Text,
        "how the value stands here: json, its own text; base64, where it is no JSON; omitted, where a secret stands in it",
    ),
    required(
        "headers",
        Is::Text,
        "the record's headers as JSON text, in their order: [[name, value]]; a value is null, or {\"base64\"} where it is no UTF-8",
    ),
];

/// What stands in one column of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i32),
    Long(i64),
    Time(i64),
    Text(Cow<'a, str>),
}

/// One record's row.
pub(crate) struct Row<'a>(pub(crate) [Cell<'a>; WIDTH]);

impl<'a> Row<'a> {
    pub(crate) fn of(record: &'a Record, labels: &'a Labels) -> Self {
        let (key, key_encoding) = match record.key.as_deref() {
            None => (Cell::Null, Cell::Null),
            Some(key) => match std::str::from_utf8(key) {
                Ok(key) => (text(key), text("text")),
                Err(_) => (Cell::Text(BASE64.encode(key).into()), text("base64")),
            },
        };
        let (value, value_encoding) = match record.value.as_deref() {
            None => (Cell::Null, Cell::Null),
            Some(_) if labels.holds_secret => (Cell::Null, text("omitted")),
            Some(value) => match json(value) {
                Some(value) => (text(value), text("json")),
                None => (Cell::Text(BASE64.encode(value).into()), text("base64")),
            },
        };
        let optional = |of: Option<&'a str>| of.map_or(Cell::Null, text);
        Self([
            text(&record.position.topic),
            Cell::Int(record.position.partition),
            Cell::Long(record.position.offset),
            time_of(record).map_or(Cell::Null, Cell::Time),
            key,
            key_encoding,
            text(labels.kind.name()),
            text(&labels.family),
            text(labels.event_type),
            labels.event_id.map_or(Cell::Null, |id| Cell::Text(id.to_string().into())),
            optional(labels.tenant.as_deref()),
            optional(labels.correlation_id.as_deref()),
            value,
            value_encoding,
            Cell::Text(headers(record).into()),
        ])
    }
}

/// When a record was written, milliseconds since 1970 UTC; `None` where the log does not say.
pub(crate) fn time_of(record: &Record) -> Option<i64> {
    (record.timestamp_ms != NO_TIMESTAMP).then_some(record.timestamp_ms)
}

fn text(text: &str) -> Cell<'_> {
    Cell::Text(Cow::Borrowed(text))
}

/// A value's text, where that is JSON.
fn json(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok().map(|_| text)
}

#[derive(Serialize)]
#[serde(untagged)]
enum HeaderValue<'a> {
    Text(&'a str),
    Bytes { base64: String },
    Null,
}

fn header_value(value: Option<&[u8]>) -> HeaderValue<'_> {
    match value.map(|value| (value, std::str::from_utf8(value))) {
        None => HeaderValue::Null,
        Some((_, Ok(text))) => HeaderValue::Text(text),
        Some((value, Err(_))) => HeaderValue::Bytes { base64: BASE64.encode(value) },
    }
}

fn headers(record: &Record) -> String {
    if record.headers.is_empty() {
        return "[]".to_owned();
    }
    let pairs = record.headers.iter().map(|Header { name, value }| (&**name, header_value(value.as_deref())));
    let pairs: Vec<(&str, HeaderValue<'_>)> = pairs.collect();
    // Texts alone: writing them cannot fail.
    serde_json::to_string(&pairs).unwrap_or_default()
}
