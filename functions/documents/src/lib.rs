//! Documents made of the event catalog: [`schema`] makes a JSON Schema of each event type, [`asyncapi`] the AsyncAPI document, [`markdown`]
//! what people read, [`snippets`] how an event is published.
//!
//! Nothing here is known twice: names, topics and effects are the catalog's, fields the families' own `PAYLOADS`, examples the samples
//! of `events/`. Tests hold the schemas to what the families' readers take.

use lyceum_catalog::{FAMILIES, PAYLOADS, SCHEMAS};
use lyceum_core::catalog::{EventType, FamilySpec, STATEMENT, TopicOf};
use lyceum_core::payload::{Form, Payload};
use lyceum_core::subscription::Subscription;
use lyceum_functions::functions;
use serde_json::Value;

pub mod asyncapi;
pub mod markdown;
pub mod schema;
pub mod snippets;

/// The valid samples: family, name without `.json`, content.
const SAMPLES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// An event type with all that the catalog says of it.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its family.
    pub family: &'static FamilySpec,
    /// Its name: `program.created` …
    pub name: &'static str,
    /// The topic that carries it.
    pub topic: &'static TopicOf,
    /// As the catalog has it; `None` of the plain statement, which is what no family claims.
    pub event_type: Option<&'static EventType>,
    /// The wire form of its family.
    pub form: Form,
    /// What it carries.
    pub payload: &'static Payload,
}

/// Every event type, in the catalog's order.
pub fn events() -> impl Iterator<Item = Event> {
    PAYLOADS.iter().flat_map(|(family, payloads)| {
        payloads.of.iter().filter_map(|payload| {
            let event_type = family.event_types.iter().find(|of| of.name == payload.event_type);
            let topic =
                event_type.map_or_else(|| family.topics.first().map(|topic| topic.name), |of| Some(of.topic))?;
            let topic = family.topics.iter().find(|of| of.name == topic)?;
            Some(Event { family, name: payload.event_type, topic, event_type, form: payloads.form, payload })
        })
    })
}

impl Event {
    /// Its examples, the plainest first: samples of `events/` that are named for it, with their names.
    pub fn examples(&self) -> Vec<(&'static str, Value)> {
        let named = |end: &str| {
            let name = format!("{}{end}", self.name);
            let sample = SAMPLES.iter().find(|(family, of, _)| *family == self.family.name && *of == name)?;
            Some((sample.1, serde_json::from_str(sample.2).ok()?))
        };
        ["", ".bare", ".wrapped"].iter().filter_map(|end| named(end)).collect()
    }

    /// The first example as it stands in its file.
    pub fn example_text(&self) -> Option<&'static str> {
        let name = self.examples().first()?.0;
        SAMPLES.iter().find(|(family, of, _)| *family == self.family.name && *of == name).map(|(.., text)| *text)
    }

    /// The subscriptions that want it: its family's own, then those that read topics of others.
    pub fn consumers(&self) -> impl Iterator<Item = &'static Subscription> + '_ {
        functions()
            .map(|function| function.subscription)
            .filter(|of| of.topics().any(|topic| topic == self.topic.name) && of.wants(self.topic.name, self.name))
    }

    /// The subscriptions that may write to its topic.
    pub fn publishers(&self) -> impl Iterator<Item = &'static Subscription> + '_ {
        functions().map(|function| function.subscription).filter(|of| of.publishes.contains(&self.topic.name))
    }

    /// The newest Avro schema of its family, where it has one.
    pub fn avro_schema(&self) -> Option<&'static str> {
        let (_, schemas) = SCHEMAS.iter().find(|(family, _)| family.name == self.family.name)?;
        schemas.last().copied()
    }

    /// Whether it is what no family claims.
    pub fn is_plain_statement(&self) -> bool {
        self.event_type.is_none() && self.name == STATEMENT
    }
}

/// Every topic of the families, in the catalog's order.
pub fn topics() -> impl Iterator<Item = (&'static FamilySpec, &'static TopicOf)> {
    FAMILIES.iter().flat_map(|family| family.topics.iter().map(|topic| (*family, topic)))
}
