//! A record as one JSON object a line, as `lyceum generate` writes it: `{"topic": "…", "timestamp": "…", "key": "…", "headers":
//! [["name", "value"], …], "value": …}`. A value is JSON, `{"base64": "…"}` for other bytes, or null for a tombstone. It begins with its
//! topic, by which it is told from an event; its time is for people, since the log counts its retention from its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_core::envelope::{OWN_HEADERS, own_header};
use lyceum_core::record::Header;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordLine {
    pub(crate) topic: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) headers: Vec<Header>,
    pub(crate) value: Option<Bytes>,
    /// As it is written.
    pub(crate) timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    topic: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

/// Whether a value of a file is a record, and no event by itself.
pub(super) fn is_one(value: &[u8]) -> bool {
    let inside = value.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| inside.starts_with(b"\"topic\""))
}

/// Reads a value of a file: an event by itself, or a record.
///
/// # Errors
/// What is wrong with the record, for a person.
pub(super) fn read(value: &Bytes) -> Result<RecordLine, String> {
    if !is_one(value) {
        let value = Some(value.clone());
        return Ok(RecordLine { topic: None, key: None, headers: Vec::new(), value, timestamp: None });
    }
    let line = read_kept(value)?;
    if let Some(name) = own_header(line.headers.iter().map(|header| &*header.name)) {
        return Err(format!("headers that begin with {OWN_HEADERS} are Lyceum's own; leave {name:?} out"));
    }
    Ok(line)
}

/// Reads a record that is not to be published: it may have come from a log, with headers of ours.
///
/// # Errors
/// What is wrong with the record, for a person.
pub(crate) fn read_kept(value: &Bytes) -> Result<RecordLine, String> {
    let line: Line<'_> = serde_json::from_slice(value).map_err(|error| {
        format!("it begins as a record does, and is none: {error}; a record has topic and value, and key, headers and timestamp where it likes")
    })?;
    let raw = line.value.get();
    let value = match serde_json::from_str::<Encoded>(raw) {
        _ if raw == "null" => None,
        Ok(Encoded { base64 }) => {
            Some(BASE64.decode(base64).map_err(|error| format!("its value is no base64: {error}"))?.into())
        }
        Err(_) => Some(value.slice_ref(raw.as_bytes())),
    };
    let headers = line.headers.into_iter().map(|(name, value)| Header::new(name, value)).collect();
    Ok(RecordLine { topic: Some(line.topic), key: line.key, headers, value, timestamp: line.timestamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(line: &str) -> Option<Bytes> {
        read(&Bytes::from(line.to_owned())).expect("it is a record").value
    }

    #[test]
    fn a_record_is_read_byte_for_byte() {
        let line = r#"{"topic": "t", "key": "k", "headers": [["a", "b"]], "value": {"x": 1.0,  "y": []}}"#;
        let read = read(&Bytes::from(line)).expect("it is a record");
        let expected = RecordLine {
            topic: Some("t".to_owned()),
            key: Some("k".to_owned()),
            headers: vec![Header::new("a", "b")],
            value: Some(Bytes::from_static(br#"{"x": 1.0,  "y": []}"#)),
            timestamp: None,
        };
        assert_eq!(read, expected);
        assert_eq!(value_of(r#"{"topic":"t","value":{"base64":"AAE="}}"#), Some(Bytes::from_static(&[0, 1])));
        assert_eq!(value_of(r#"{"topic":"t","value":null}"#), None);
    }

    #[test]
    fn an_event_by_itself_is_no_record() {
        let event = Bytes::from(r#"{"actor": {}, "topic": "t", "value": 1}"#);
        let read = read(&event).expect("it is an event");
        assert_eq!((read.topic, read.value), (None, Some(event)));
    }

    #[test]
    fn what_begins_as_a_record_and_is_none_says_what_is_wrong() {
        let told = |line: &str| read(&Bytes::from(line.to_owned())).expect_err("it is none");
        assert!(told(r#"{"topic": "t"}"#).contains("value"));
        assert!(told(r#"{"topic": "t", "value": 1, "offset": 7}"#).contains("offset"));
        assert!(told(r#"{"topic": "t", "value": {"base64": "?"}}"#).contains("base64"));
        assert!(told(r#"{"topic": "t", "value": 1, "headers": [["Lyceum-Hops", "1"]]}"#).contains("leave"));
    }
}
