//! An envelope that is written here: what follows from an event. Its bytes are a pure function of what it is made of.

use lyceum_xapi::utc_time::UtcTime;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::SCHEMA_VERSION;

/// Who writes envelopes here, as they name it.
pub const PRODUCER: &str = "lyceum";

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z: RFC 3339 knows no other years.
const WRITABLE_MS: (i64, i64) = (-62_167_219_200_000, 253_402_300_799_999);

/// An envelope to be written.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The event's own id.
    pub id: Uuid,
    /// What it is.
    pub event_type: &'a str,
    /// The module that says it.
    pub source: &'a str,
    /// The module that it is for, where it is for one.
    pub target: Option<&'a str>,
    /// When it happened, milliseconds since 1970 UTC.
    pub occurred_at_ms: i64,
    /// Whose it is.
    pub tenant: &'a str,
    /// Travels with everything that follows from it.
    pub correlation_id: &'a str,
    /// What it says.
    pub payload: Value,
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'a str,
    source: &'a str,
    target: Option<&'a str>,
    timestamp: UtcTime,
    payload: &'a Value,
    meta: Meta<'a>,
}

#[derive(Serialize)]
struct Meta<'a> {
    schema_version: &'a str,
    producer: &'a str,
    source_module: &'a str,
    tenant_id: &'a str,
    correlation_id: &'a str,
}

impl Message<'_> {
    /// The envelope's bytes.
    pub fn write(&self) -> Vec<u8> {
        let (first, last) = WRITABLE_MS;
        let envelope = Envelope {
            id: self.id,
            event_type: self.event_type,
            source: self.source,
            target: self.target,
            timestamp: UtcTime::from_millis(self.occurred_at_ms.clamp(first, last)),
            payload: &self.payload,
            meta: Meta {
                schema_version: SCHEMA_VERSION,
                producer: PRODUCER,
                source_module: self.source,
                tenant_id: self.tenant,
                correlation_id: self.correlation_id,
            },
        };
        // Strings and a tree of JSON: serialising cannot fail.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}
