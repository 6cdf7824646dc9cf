//! A document as JSON beside its raw bytes, for every store that keeps it so: what comes back is what was stored, to the
//! last bit of a score, whatever a store does to the fields that it searches by.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;
use uuid::Uuid;

use super::{StatementDocument, StatementFields};
use crate::record::Position;

/// A document without its raw bytes.
#[derive(Serialize, Deserialize)]
pub struct About<'a> {
    tenant: Cow<'a, str>,
    id: Uuid,
    stored_ms: i64,
    source: Position,
    correlation_id: Cow<'a, str>,
    fields: Fields<'a>,
}

impl<'a> About<'a> {
    /// All of the document but its bytes.
    pub fn of(document: &'a StatementDocument) -> Self {
        Self {
            tenant: Cow::Borrowed(&document.tenant),
            id: document.id,
            stored_ms: document.stored_ms,
            source: document.source.clone(),
            correlation_id: Cow::Borrowed(&document.correlation_id),
            fields: Fields(Cow::Borrowed(&document.fields)),
        }
    }

    /// The document with its bytes.
    pub fn with(self, raw: Bytes) -> StatementDocument {
        StatementDocument {
            tenant: self.tenant.into(),
            id: self.id,
            raw,
            stored_ms: self.stored_ms,
            source: self.source,
            correlation_id: self.correlation_id.into(),
            fields: self.fields.0.into_owned(),
        }
    }
}

struct Fields<'a>(Cow<'a, StatementFields>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FieldsForm::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Fields<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FieldsForm::deserialize(deserializer).map(|fields| Self(Cow::Owned(fields)))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StatementFields")]
struct FieldsForm {
    event_type: Cow<'static, str>,
    family: Cow<'static, str>,
    timestamp_ms: i64,
    day: SmolStr,
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor_sha1: Option<String>,
    verb: ByteString,
    object_type: Cow<'static, str>,
    object: ByteString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activity_type: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parents: Vec<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    survey: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    question: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "score_bits")]
    score_raw: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "score_bits")]
    score_scaled: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completion: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    voids: Option<Uuid>,
}

/// Scores as the bits of their number, since a decimal form may come back as its neighbour.
mod score_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(score: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        score.map(f64::to_bits).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(f64::from_bits))
    }
}
