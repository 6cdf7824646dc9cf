//! A record with a statement, and the deployment that reads it, for the tests of this format.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::catalog::{Catalog, FamilySpec, PLATFORM_DEAD_LETTERS, TopicOf};
use crate::envelope::{EnvelopeConfig, Hint, Invalid};
use crate::formats::{Format, Opened};
use crate::ports::schemas::Schemas;
use crate::record::{Position, Record};

use super::StatementFormat;

/// Takes every statement.
static PLAIN: FamilySpec = FamilySpec {
    name: "statement",
    topics: &[TopicOf { name: "statements", partitions: 1, key: "actor" }],
    event_types: &[],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[],
};

pub(super) const ID: &str = "5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001";

/// A valid statement, with these members beside or in place of its own.
pub(super) fn statement(members: Value) -> Value {
    let mut statement = json!({
        "id": ID,
        "actor": {"mbox": "mailto:ada@example.com"},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},
        "object": {"id": "http://lms.example.com/course/7"},
    });
    if let (Value::Object(statement), Value::Object(members)) = (&mut statement, members) {
        statement.extend(members);
    }
    statement
}

pub(super) fn record(value: impl ToString) -> Record {
    let value = Some(Bytes::from(value.to_string()));
    Record { position: Position::new("statements", 0, 7), timestamp_ms: 1_000, key: None, value, headers: Vec::new() }
}

pub(super) fn catalog() -> Catalog {
    Catalog::new(vec![&PLAIN])
}

/// Opens the record as the function of plain statements does, and shows it.
pub(super) fn opened<T>(
    record: &Record,
    show: impl FnOnce(Opened<'_, lyceum_xapi::statement::Statement<'_>>) -> T,
) -> T {
    let (catalog, config) = (catalog(), EnvelopeConfig::default());
    show(StatementFormat::open(
        record,
        Hint { family: Some(&PLAIN), catalog: &catalog, config: &config },
        &Schemas::default(),
    ))
}

/// The rule and the place of each finding.
pub(super) fn places(Invalid { findings, .. }: &Invalid) -> Vec<(&str, &str)> {
    findings.iter().map(|finding| (finding.rule.as_ref(), finding.pointer.as_str())).collect()
}
