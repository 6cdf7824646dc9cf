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

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(value: &str) -> (DeadLetterKind, Vec<(String, String)>) {
        let (kind, findings) = read(value.as_bytes()).expect_err("it is wrong");
        (kind, findings.into_iter().map(|finding| (finding.rule.into_owned(), finding.pointer)).collect())
    }

    fn finding_at(rule: &str, pointer: &str) -> (String, String) {
        (rule.to_owned(), pointer.to_owned())
    }

    #[test]
    fn a_message_gives_its_statement_and_its_names() {
        let metadata = r#"{"event_id": "e", "tenant_id": "t", "correlation_id": "c", "more": 1}"#;
        let value =
            format!(r#" {{"event_type": "a\u002eb", "xapi_data": {{"x": 1}}, "metadata": {metadata}, "more": 1}}"#);
        let message = read(value.as_bytes()).expect("it is right").expect("it is wrapped");
        assert_eq!(message.statement, br#"{"x": 1}"#);
        let names = [&message.event_type, &message.event_id, &message.tenant_id, &message.correlation_id];
        assert_eq!(names.map(|name| name.as_deref()), [Some("a.b"), Some("e"), Some("t"), Some("c")]);
    }

    #[test]
    fn a_message_needs_its_statement_alone() {
        let message = read(br#"{"xapi_data": {}}"#).expect("it is right").expect("it is wrapped");
        assert_eq!((message.statement, &message.event_type, &message.event_id), (&b"{}"[..], &None, &None));
    }

    #[test]
    fn what_is_no_message_is_left_to_who_reads_bare_statements() {
        for value in [
            "",
            "{}",
            r#"{"actor": {}}"#,
            // The words, but not as keys of an object, not of this one, or in a statement.
            r#"["event_type", "xapi_data"]"#,
            r#""the words \"event_type\"" "#,
            r#"{"result": {"event_type": 1}}"#,
            r#"{"actor": {}, "event_type": "a.b"}"#,
        ] {
            assert!(matches!(read(value.as_bytes()), Ok(None)), "{value}");
        }
    }

    #[test]
    fn a_message_that_breaks_off_does_not_decode() {
        let (kind, found) = wrong(r#"{"event_type": "a.b""#);
        assert_eq!((kind, found), (DeadLetterKind::Decode, vec![finding_at("message.json", "")]));
    }

    #[test]
    fn an_event_type_without_a_statement_is_told_where_to_put_it() {
        let (kind, found) = wrong(r#"{"event_type": "a.b"}"#);
        assert_eq!((kind, found), (DeadLetterKind::Validation, vec![finding_at("message.xapi-data", "")]));
    }

    #[test]
    fn all_that_is_wrong_around_a_statement_is_found_together() {
        let (kind, found) = wrong(r#"{"event_type": 1, "xapi_data": {}, "metadata": {"tenant_id": 1}}"#);
        let both = vec![finding_at("field.type", "/event_type"), finding_at("message.metadata", "/metadata")];
        assert_eq!((kind, found), (DeadLetterKind::Validation, both));
    }
}
