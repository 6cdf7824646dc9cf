//! The wrapped message: `{"event_type": "…", "xapi_data": {statement}, "metadata": {…}, …}`; further keys are kept, not judged.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::finding;
use crate::outcome::{DeadLetterKind, Finding};

/// What is read of a wrapped message beside its statement.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) statement: &'a [u8],
    pub(super) event_type: Option<Cow<'a, str>>,
    pub(super) event_id: Option<Cow<'a, str>>,
    pub(super) tenant_id: Option<Cow<'a, str>>,
    pub(super) correlation_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    xapi_data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    actor: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tenant_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    correlation_id: Option<Cow<'a, str>>,
}

/// The wrapped message, or `None` for what is to be read as a bare statement.
pub(super) fn read(value: &[u8]) -> Result<Option<Message<'_>>, (DeadLetterKind, Vec<Finding>)> {
    // A bare statement has neither key: two searches for a few bytes spare it a second pass of parsing.
    if memmem::find(value, b"\"xapi_data\"").is_none() && memmem::find(value, b"\"event_type\"").is_none() {
        return Ok(None);
    }
    if !starts_as_object(value) {
        return Ok(None);
    }
    let wrapped: Wrapped<'_> = serde_json::from_slice(value).map_err(|error| {
        let message = format!("the message is no JSON object of the wrapped form: {error}");
        (DeadLetterKind::Decode, vec![finding("message.json", "", message)])
    })?;
    let Some(statement) = wrapped.xapi_data else {
        if wrapped.event_type.is_none() || wrapped.actor.is_some() {
            return Ok(None);
        }
        let message = "the message has an event_type but no xapi_data; put the statement there";
        return Err((DeadLetterKind::Validation, vec![finding("message.xapi-data", "", message)]));
    };
    let mut findings = Vec::new();
    let event_type = wrapped.event_type.and_then(|raw| {
        let text: Result<Cow<'_, str>, _> = serde_json::from_str::<BorrowedText<'_>>(raw.get()).map(|text| text.0);
        text.inspect_err(|_| findings.push(finding("field.type", "/event_type", "event_type must be a string"))).ok()
    });
    let metadata = wrapped.metadata.map(|raw| serde_json::from_str::<Metadata<'_>>(raw.get())).transpose();
    let metadata = metadata.unwrap_or_else(|error| {
        let message =
            format!("metadata must be an object whose event_id, tenant_id and correlation_id are strings: {error}");
        findings.push(finding("message.metadata", "/metadata", message));
        None
    });
    if !findings.is_empty() {
        return Err((DeadLetterKind::Validation, findings));
    }
    let Metadata { event_id, tenant_id, correlation_id } = metadata.unwrap_or_default();
    Ok(Some(Message { statement: statement.get().as_bytes(), event_type, event_id, tenant_id, correlation_id }))
}

#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

fn starts_as_object(value: &[u8]) -> bool {
    value.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}
