//! What records are about, as the registry's families read them.

use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::record::{Position, Record};
use lyceum_functions::{Look, Looked};
use lyceum_server::questions::{About, Keys};

/// Tells it, of whatever wire form a record is.
pub struct KeysByLook(Look);

impl KeysByLook {
    /// Of a process with these limits and this default tenant.
    pub fn new(config: EnvelopeConfig) -> Self {
        Self(Look::new(config))
    }
}

/// What a record is about, as far as it can be read.
pub fn about(look: &Look, record: &Record) -> About {
    match look.at(record) {
        Looked::Event(seen) => About {
            fields: seen.fields_of_bytes(record),
            tenant: Some(seen.tenant.into()),
            correlation_id: Some(seen.correlation_id.into()),
            event_id: Some(seen.id),
            aggregates: seen.read.map(|read| read.aggregates()).unwrap_or_default(),
        },
        Looked::Invalid(invalid) => About {
            tenant: invalid.tenant.map(String::from),
            correlation_id: invalid.correlation_id.map(String::from),
            ..About::default()
        },
        Looked::Tombstone | Looked::Missing(_) => About::default(),
    }
}

impl Keys for KeysByLook {
    fn about(&self, record: &Record) -> About {
        about(&self.0, record)
    }

    fn key_of(&self, topic: &str, value: &Bytes) -> Option<Bytes> {
        let unread = Record {
            position: Position::new(topic, 0, 0),
            timestamp_ms: 0,
            key: None,
            value: Some(value.clone()),
            headers: Vec::new(),
        };
        match self.0.bound_for(&unread).1 {
            Looked::Event(seen) => seen.read.ok().map(|read| Bytes::from(read.key)),
            Looked::Invalid(_) | Looked::Tombstone | Looked::Missing(_) => None,
        }
    }
}
