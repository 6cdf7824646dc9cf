//! The recording of a decision: what it emits, and again at every redelivery of its event.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dead_letter::Publication;
use crate::outcome::DeadLetterKind;
use crate::record::{Header, NewRecord};

/// What a decision emits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recording {
    /// The statement, with this as its time of storing. Its bytes are the event's own, which every delivery brings.
    pub(super) statement_stored_ms: Option<i64>,
    /// Follow-ups, or the letter.
    pub(super) publications: Vec<Publication>,
    /// What the letter is called, for a dead event.
    pub(super) dead: Option<DeadLetterKind>,
}

/// The stored form; names are short since each byte of them is paid with every event.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    statement_stored_ms: Option<i64>,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    publications: Vec<StoredPublication>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    dead: Option<DeadLetterKind>,
}

#[derive(Serialize, Deserialize)]
struct StoredPublication {
    #[serde(rename = "t")]
    topic: String,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Option<String>)>,
}

/// Why a stored recording could not be read.
#[derive(Debug, thiserror::Error)]
#[error("a stored recording cannot be read: {0}")]
pub(super) struct Unreadable(String);

impl Recording {
    pub(super) fn encode(&self) -> Bytes {
        let publications = self.publications.iter().map(|publication| StoredPublication {
            topic: publication.topic.clone(),
            key: publication.record.key.as_deref().map(|key| BASE64.encode(key)),
            value: publication.record.value.as_deref().map(|value| BASE64.encode(value)),
            headers: publication
                .record
                .headers
                .iter()
                .map(|Header { name, value }| (name.clone(), value.as_deref().map(|value| BASE64.encode(value))))
                .collect(),
        });
        let stored = Stored {
            statement_stored_ms: self.statement_stored_ms,
            publications: publications.collect(),
            dead: self.dead,
        };
        // Strings and numbers only: serialising cannot fail.
        serde_json::to_vec(&stored).unwrap_or_default().into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| Unreadable(error.to_string()))?;
        let publications = stored.publications.into_iter().map(|publication| {
            let headers = publication
                .headers
                .into_iter()
                .map(|(name, value)| Ok(Header { name, value: value.map(from_base64).transpose()? }));
            let record = NewRecord {
                partition: None,
                key: publication.key.map(from_base64).transpose()?,
                value: publication.value.map(from_base64).transpose()?,
                headers: headers.collect::<Result<_, Unreadable>>()?,
                timestamp_ms: None,
            };
            Ok(Publication { topic: publication.topic, record })
        });
        let publications = publications.collect::<Result<_, Unreadable>>()?;
        Ok(Self { statement_stored_ms: stored.statement_stored_ms, publications, dead: stored.dead })
    }
}

/// What a stored recording emits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emits {
    /// The event's statement.
    pub document: bool,
    /// Follow-ups, or the letter.
    pub publications: Vec<Publication>,
}

/// Looks into a key's recording, to compare what is out with what was decided; `None` where it cannot be read.
pub fn look_into(recording: &[u8]) -> Option<Emits> {
    let recording = Recording::decode(recording).ok()?;
    Some(Emits { document: recording.statement_stored_ms.is_some(), publications: recording.publications })
}

fn from_base64(text: String) -> Result<Bytes, Unreadable> {
    BASE64.decode(text).map(Bytes::from).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_back_as_it_was_written() {
        let record = NewRecord {
            key: Some(Bytes::from_static(b"k\xff")),
            value: None,
            headers: vec![Header::new("a", "b"), Header { name: "a".into(), value: None }],
            ..NewRecord::default()
        };
        let publications = vec![Publication { topic: "nlj.errors.validation".into(), record }];
        let recording = Recording { statement_stored_ms: Some(-5), publications, dead: Some(DeadLetterKind::Rejected) };
        assert_eq!(Recording::decode(&recording.encode()).unwrap(), recording);
    }

    #[test]
    fn an_applied_events_recording_costs_few_bytes() {
        let recording = Recording { statement_stored_ms: Some(1_700_000_000_123), ..Recording::default() };
        assert!(recording.encode().len() < 32);
    }
}
