//! What is published.

use bytes::Bytes;
use lyceum_core::record::Header;
use serde::Serialize;

/// An event on its way to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub(crate) topic: String,
    pub(crate) key: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    pub(crate) value: Bytes,
}

impl Event {
    /// An event in the bytes that consumers read: a statement or an envelope in JSON, an event of analytics in Avro or in JSON.
    pub fn new(topic: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), key: None, headers: Vec::new(), value: value.into() }
    }

    /// The same, written as JSON.
    ///
    /// # Errors
    /// Where the value cannot be written as JSON: a map whose keys are no texts.
    pub fn json(topic: impl Into<String>, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(topic, serde_json::to_vec(value)?))
    }

    /// Under this key, in place of the one that the event's family reads in it.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With a header: `event-id`, `event-type`, `tenant-id`, `correlation-id`, `traceparent`, `schema-version`, or one of your own. Names
    /// that begin with `lyceum-` are Lyceum's, and such an event is refused.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|of| of.name.len() + of.value.as_ref().map_or(0, Bytes::len)).sum();
        self.topic.len() + self.key.as_ref().map_or(0, Bytes::len) + self.value.len() + headers + 128
    }
}
