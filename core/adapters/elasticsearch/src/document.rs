//! How a statement document becomes a document of the index, and back.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use lyceum_core::ports::statements::form::About;
use lyceum_core::ports::statements::semantics::{FIELDS, FieldValue};
use lyceum_core::ports::statements::{StatementDocument, StoredStatement};

/// An `_id` has 512 bytes at most in both engines; the statement's id and a mark take 37 of them.
const MAX_TENANT_BYTES: usize = 400;

/// The `_id` of a statement. No two (tenant, id) meet: the statement's id always has 36 characters, and the mark behind it
/// tells a tenant's name from a digest.
pub fn document_id(tenant: &str, id: Uuid) -> String {
    if tenant.len() <= MAX_TENANT_BYTES {
        return format!("{id}/{tenant}");
    }
    let mut hashed = format!("{id}~");
    for byte in Sha256::digest(tenant) {
        // Writing to a string never fails.
        let _ = write!(hashed, "{byte:02x}");
    }
    hashed
}

/// The `_id` of the statement that this one voids.
pub(super) fn void_key(document: &StatementDocument) -> Option<String> {
    document.fields.voids.map(|target| document_id(&document.tenant, target))
}

/// A document as it is sent.
pub(super) struct Sent<'a>(pub(super) &'a StatementDocument);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &document.id)?;
        for field in &FIELDS {
            let mut values = Vec::new();
            field.for_each_value(document, |value| values.push(Scalar(value)));
            match values.as_slice() {
                [] => {}
                [value] => map.serialize_entry(field.name, value)?,
                values => map.serialize_entry(field.name, values)?,
            }
        }
        if let Some(key) = void_key(document) {
            map.serialize_entry("void_key", &key)?;
        }
        map.serialize_entry("about", &About::of(document))?;
        match std::str::from_utf8(&document.raw) {
            Ok(text) => map.serialize_entry("raw", text)?,
            Err(_) => map.serialize_entry("raw_base64", &BASE64.encode(&document.raw))?,
        }
        map.end()
    }
}

/// One value of a typed field.
struct Scalar<'a>(FieldValue<'a>);

impl Serialize for Scalar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            FieldValue::Text(text) => serializer.serialize_str(text),
            FieldValue::Long(number) => serializer.serialize_i64(*number),
            FieldValue::Double(number) => serializer.serialize_f64(*number),
            FieldValue::Boolean(truth) => serializer.serialize_bool(*truth),
        }
    }
}

/// A document as it comes back.
#[derive(Deserialize)]
pub(super) struct Kept {
    about: About<'static>,
    raw: Option<String>,
    raw_base64: Option<String>,
    #[serde(default)]
    voided: bool,
}

impl Kept {
    /// The statement; `None` where its bytes are missing or damaged.
    pub(super) fn into_statement(self) -> Option<StoredStatement> {
        let raw = match (self.raw, self.raw_base64) {
            (Some(text), _) => Bytes::from(text),
            (None, Some(base64)) => BASE64.decode(base64).ok()?.into(),
            (None, None) => return None,
        };
        let document = self.about.with(raw);
        // A voiding statement cannot be voided (xAPI-Data 2.3.2).
        Some(StoredStatement { voided: self.voided && document.fields.voids.is_none(), document })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use lyceum_core::ports::statements::StatementFields;
    use lyceum_core::record::Position;

    fn document(raw: impl Into<Bytes>) -> StatementDocument {
        StatementDocument {
            tenant: "acme".into(),
            id: Uuid::from_u128(7),
            raw: raw.into(),
            stored_ms: 5,
            source: Position::new("topic", 1, 2),
            correlation_id: "c".into(),
            fields: StatementFields {
                verb: "v".repeat(40_000).into(),
                parents: vec!["b".into(), "a".into(), "b".into()],
                score_raw: Some(-0.1 - 0.2),
                success: Some(false),
                ..StatementFields::default()
            },
        }
    }

    #[test]
    fn ids_never_meet_and_fit_whatever_the_tenant() {
        let long = "ü".repeat(5_000);
        let digest = &document_id(&long, Uuid::nil())[37..];
        let tenants = ["", "a", "a/b", "~", long.as_str(), &long[2..], digest];
        let ids: HashSet<_> = tenants
            .iter()
            .flat_map(|tenant| [Uuid::nil(), Uuid::max()].map(|id| document_id(tenant, id)))
            .inspect(|id| assert!(id.len() <= 512))
            .collect();
        assert_eq!(ids.len(), 2 * tenants.len());
    }

    #[test]
    fn what_is_sent_has_short_typed_fields_and_comes_back_whole() {
        for raw in [&b" {\"a\":1e400}\n"[..], b"", b"\xff\xfe\0"] {
            let sent = document(Bytes::copy_from_slice(raw));
            let json = serde_json::to_string(&Sent(&sent)).unwrap();
            let value: Value = serde_json::from_str(&json).unwrap();
            assert!(value["verb"].as_str().is_some_and(|verb| verb.len() <= 8_192));
            assert_eq!(value["parents"], serde_json::json!(["b", "a"]));
            assert_eq!((&value["success"], &value["response"]), (&Value::Bool(false), &Value::Null));
            let kept: Kept = serde_json::from_str(&json).unwrap();
            assert_eq!(kept.into_statement().unwrap(), StoredStatement { document: sent, voided: false });
        }
    }

    #[test]
    fn a_mark_hides_a_statement_but_not_one_that_voids() {
        let mut sent = document("{}");
        for expected in [true, false] {
            let mut value = serde_json::to_value(Sent(&sent)).unwrap();
            value["voided"] = Value::Bool(true);
            let kept = serde_json::from_value::<Kept>(value).unwrap().into_statement().unwrap();
            assert_eq!(kept.voided, expected);
            sent.fields.voids = Some(Uuid::from_u128(9));
        }
    }
}
