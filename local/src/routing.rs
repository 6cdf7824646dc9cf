//! Where an event belongs: its topic, and the key by which it keeps its order.

use std::sync::Arc;

use bytes::Bytes;
use lyceum_core::envelope::{EnvelopeConfig, derived_event_id};
use lyceum_core::family::Catalog;
use lyceum_core::formats::statement::recognise;
use lyceum_core::record::{Position, Record};
use lyceum_functions::REGISTRY;
use lyceum_server::questions::{About, Keys};

/// Tells where an event belongs.
#[derive(Clone, Debug)]
pub struct Router {
    catalog: Arc<Catalog>,
    config: EnvelopeConfig,
}

impl Default for Router {
    fn default() -> Self {
        Self::new(EnvelopeConfig::default())
    }
}

impl Router {
    /// Of a process with these limits and this default tenant.
    pub fn new(config: EnvelopeConfig) -> Self {
        Self { catalog: Arc::new(lyceum_catalog::catalog()), config }
    }

    /// Where an event belongs and by which key it keeps its order. A value that is no valid event of any family goes where
    /// plain statements do: its dead letter says what is wrong with it.
    pub fn route(&self, value: &Bytes) -> Route {
        self.recognise(value).unwrap_or_else(|| {
            let topic = self.catalog.plain_statement().map_or("", |known| known.topic);
            Route { topic, key: None, has_id: None }
        })
    }

    fn recognise(&self, value: &Bytes) -> Option<Route> {
        let record = unplaced(value);
        let (known, envelope) = recognise(&record, &self.catalog, &self.config)?;
        let entry = REGISTRY.iter().find(|entry| entry.spec.name == known.family.name)?;
        // Wherever it says its id: in the statement, or beside it in a wrapped message.
        let has_id = envelope.id != derived_event_id(&record.position);
        Some(Route { topic: known.topic, key: (entry.key)(&envelope), has_id: Some(has_id) })
    }
}

impl Keys for Router {
    fn about(&self, record: &Record) -> About {
        let Some((known, envelope)) = recognise(record, &self.catalog, &self.config) else { return About::default() };
        let entry = REGISTRY.iter().find(|entry| entry.spec.name == known.family.name);
        let read = entry.and_then(|entry| (entry.read)(&envelope).ok()).unwrap_or_default();
        About { tenant: envelope.tenant.to_string(), event_id: Some(envelope.id), aggregates: read.aggregates }
    }

    fn key_of(&self, _topic: &str, value: &[u8]) -> Option<Bytes> {
        self.route(&Bytes::copy_from_slice(value)).key.map(Bytes::from)
    }
}

/// Where an event belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its topic.
    pub topic: &'static str,
    /// Its Kafka key.
    pub key: Option<String>,
    /// Whether the event has an id of its own; `None` where it could not be read.
    pub has_id: Option<bool>,
}

/// A record that stands nowhere yet.
pub(crate) fn unplaced(value: &Bytes) -> Record {
    Record {
        position: Position::new("", 0, 0),
        timestamp_ms: 0,
        key: None,
        value: Some(value.clone()),
        headers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_an_id_wherever_it_says_it() {
        let statement = r#"{"actor": {"mbox": "mailto:a@b.example"}, "verb": {"id": "http://v.example/v"}, "object": {"id": "http://o.example/o"}}"#;
        let id = r#""00000000-0000-4000-8000-000000000001""#;
        let has_id = |event: String| Router::default().route(&Bytes::from(event)).has_id;
        assert_eq!(has_id(statement.to_owned()), Some(false));
        assert_eq!(has_id(statement.replacen('{', &format!("{{\"id\": {id}, "), 1)), Some(true));
        assert_eq!(has_id(format!(r#"{{"xapi_data": {statement}}}"#)), Some(false));
        let beside = format!(r#"{{"xapi_data": {statement}, "metadata": {{"event_id": {id}}}}}"#);
        assert_eq!(has_id(beside), Some(true), "another one beside it would contradict it");
        assert_eq!(has_id("{}".to_owned()), None);
    }
}
