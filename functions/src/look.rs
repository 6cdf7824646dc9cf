//! What a record says, whatever its wire form, as its function would read it: for whoever publishes, judges or shows a record and
//! processes nothing. The topic tells the form; a value without one is asked for its looks.

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::Arc;

use lyceum_core::catalog::{Catalog, Known};
use lyceum_core::envelope::{Envelope, EnvelopeConfig, Hint, Invalid, derived_event_id, finding};
use lyceum_core::family::{AggregateRef, EnvelopeOf, Family, TypedEvent};
use lyceum_core::formats::{Format, Opened};
use lyceum_core::outcome::{DeadLetterKind, Finding};
use lyceum_core::ports::schemas::{SchemaRef, Schemas};
use lyceum_core::record::Record;
use serde_json::Value;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::{Entry, REGISTRY};

/// Looks at records.
#[derive(Clone)]
pub struct Look {
    entries: &'static [Entry],
    /// One of them a form.
    forms: Arc<[&'static Entry]>,
    catalog: Arc<Catalog>,
    dead_letter_topics: Arc<[&'static str]>,
    config: EnvelopeConfig,
}

impl Look {
    /// By the families of this release.
    pub fn new(config: EnvelopeConfig) -> Self {
        Self::by(REGISTRY, config)
    }

    /// By these families.
    pub fn by(entries: &'static [Entry], config: EnvelopeConfig) -> Self {
        let catalog = Arc::new(Catalog::new(entries.iter().map(|entry| entry.spec).collect()));
        let mut seen: HashSet<TypeId> = HashSet::new();
        let forms = entries.iter().filter(|entry| seen.insert(entry.reader.type_id())).collect();
        let dead_letter_topics = catalog.dead_letter_topics().into();
        Self { entries, forms, catalog, dead_letter_topics, config }
    }

    /// What a record says. On a topic of a family it is read by that one's form; a record on none by the form that it looks like: of
    /// several it is the one whose event it is, or would be.
    pub fn at(&self, record: &Record) -> Looked {
        self.with_form(record).1
    }

    /// The same, and the topic for it: that of its event type. What is wrong goes to the family of its form that takes what no other
    /// one claims, else to that of the event type that it names: the letter says what is wrong. `None` where nothing tells.
    pub fn bound_for(&self, record: &Record) -> (Option<&'static str>, Looked) {
        let (form, looked) = self.with_form(record);
        let topic = match &looked {
            Looked::Event(seen) => Some(seen.known.topic),
            Looked::Invalid(invalid) => form.and_then(|form| self.topic_of_invalid(form, invalid.event_type)),
            Looked::Tombstone | Looked::Missing(_) => None,
        };
        (topic, looked)
    }

    fn topic_of_invalid(&self, form: &Entry, event_type: &str) -> Option<&'static str> {
        let first_topic = |entry: &Entry| entry.spec.topics.first().map(|topic| topic.name);
        let mut of_form = self.entries.iter().filter(|entry| entry.reader.type_id() == form.reader.type_id());
        let takes_all = of_form.find(|entry| entry.spec.event_types.is_empty());
        let of_name = || self.catalog.event_type(event_type).map(|known| known.topic);
        takes_all.and_then(first_topic).or_else(of_name).or_else(|| first_topic(form))
    }

    /// The name of the family that owns a topic.
    pub(crate) fn family_of(&self, topic: &str) -> Option<&'static str> {
        self.catalog.family_of_topic(topic).map(|spec| spec.name)
    }

    /// The topics for dead letters.
    pub(crate) fn dead_letter_topics(&self) -> &[&'static str] {
        &self.dead_letter_topics
    }

    /// Whether a value looks like an event of any form.
    pub fn is_like_an_event(&self, value: &[u8]) -> bool {
        self.forms.iter().any(|entry| (entry.looks_like)(value))
    }

    /// What events of these families have, each text once: forms that differ in their schemas alone have the same one.
    pub fn looks(&self) -> Vec<&'static str> {
        let mut looks: Vec<&str> = Vec::new();
        for entry in &*self.forms {
            if !looks.contains(&entry.looks) {
                looks.push(entry.looks);
            }
        }
        looks
    }

    /// Whether a value that is wrong names an event type of a family of that form.
    fn is_of_form(&self, form: &Entry, looked: &Looked) -> bool {
        let Looked::Invalid(invalid) = looked else { return false };
        let Some(known) = self.catalog.event_type(invalid.event_type) else { return false };
        let is_it = |entry: &Entry| entry.spec.name == known.family.name;
        self.entries.iter().any(|entry| is_it(entry) && entry.reader.type_id() == form.reader.type_id())
    }

    fn with_form(&self, record: &Record) -> (Option<&'static Entry>, Looked) {
        let hint = Hint { family: None, catalog: &self.catalog, config: &self.config };
        let look = |entry: &Entry| (entry.open)(record, hint, self.entries);
        let topic = &*record.position.topic;
        if let Some(entry) = self.entries.iter().find(|entry| entry.spec.topics.iter().any(|of| of.name == topic)) {
            return (Some(entry), look(entry));
        }
        let value = record.value.as_deref().unwrap_or_default();
        // Of forms by which it is wrong, the one whose family has the event type that it names tells best what is.
        let (mut first, mut named) = (None, None);
        for entry in self.forms.iter().copied().filter(|entry| (entry.looks_like)(value)) {
            let looked = look(entry);
            if matches!(looked, Looked::Event(_)) {
                return (Some(entry), looked);
            }
            if named.is_none() && self.is_of_form(entry, &looked) {
                named = Some((Some(entry), looked));
            } else if first.is_none() {
                first = Some((Some(entry), looked));
            }
        }
        named.or(first).unwrap_or_else(|| {
            // It looks like nothing: whoever takes everything says why it does not take this.
            let takes_all = self.entries.iter().find(|entry| entry.spec.event_types.is_empty());
            let entry = takes_all.or(self.entries.first());
            (entry, entry.map_or(Looked::Tombstone, look))
        })
    }
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Looked {
    /// It has no value.
    Tombstone,
    /// An event, on whatever topic it came.
    Event(Box<Seen>),
    /// It can never be valid.
    Invalid(Box<Invalid>),
    /// It is read by a schema that is not known here.
    Missing(SchemaRef),
}

impl Looked {
    /// The event, where it is one.
    pub fn event(self) -> Option<Seen> {
        match self {
            Self::Event(seen) => Some(*seen),
            _ => None,
        }
    }

    /// All that is wrong with the value by itself. What its family asks beside is in [`Seen::read`].
    pub fn findings(self) -> Vec<Finding> {
        match self {
            Self::Invalid(invalid) => invalid.findings,
            Self::Missing(schema) => {
                let message =
                    format!("it is written by {schema}, which is not known here: only the function can read it");
                vec![finding("record.malformed", "", message)]
            }
            Self::Event(_) | Self::Tombstone => Vec::new(),
        }
    }
}

/// An event of which the wire form is valid.
#[derive(Debug)]
pub struct Seen {
    /// What it is, and where it belongs.
    pub known: Known,
    /// Its id, a derived one where it brings none.
    pub id: Uuid,
    /// Whether it brings an id.
    pub has_id: bool,
    /// Where its body stands in the record's value: empty for the whole of it, else a JSON pointer.
    pub pointer: &'static str,
    /// Whose it is.
    pub tenant: SmolStr,
    /// Its correlation id.
    pub correlation_id: SmolStr,
    /// What its family reads of it, or what is wrong with that.
    pub read: Result<Reading, Vec<Finding>>,
}

impl Seen {
    /// What the family reads of a record's value that is no text; `None` of a text, which tells it itself.
    pub fn fields_of_bytes(&self, record: &Record) -> Option<Value> {
        let is_text = std::str::from_utf8(record.value.as_deref()?).is_ok();
        self.read.as_ref().ok().filter(|_| !is_text).map(Reading::fields)
    }
}

/// What a family reads of an event.
pub struct Reading {
    /// The Kafka key under which the event keeps its order.
    pub key: String,
    event: Box<dyn Told>,
}

impl Reading {
    /// The family's own fields, serialised.
    pub fn fields(&self) -> Value {
        self.event.fields()
    }

    /// The aggregates that the event reads or changes.
    pub fn aggregates(&self) -> Vec<AggregateRef> {
        self.event.aggregates()
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("key", &self.key).field("fields", &self.fields()).finish()
    }
}

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.fields() == other.fields() && self.aggregates() == other.aggregates()
    }
}

/// An event of any family, for whoever asks.
trait Told: Send + Sync {
    fn fields(&self) -> Value;
    fn aggregates(&self) -> Vec<AggregateRef>;
}

impl<E: TypedEvent> Told for E {
    fn fields(&self) -> Value {
        // What cannot be written as JSON has no fields to tell; that is for whoever looks, and nothing depends on it.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        TypedEvent::aggregates(self)
    }
}

/// Reads the events of one family from envelopes of a form.
pub(crate) struct Reader<F: Format> {
    read: ReadEvent<F>,
}

type ReadEvent<F> = for<'a, 'e> fn(&'e Envelope<'a, <F as Format>::Body<'a>>) -> Result<Reading, Vec<Finding>>;

impl<F: Format> Reader<F> {
    pub(crate) const fn of<T: Family<Event: TypedEvent<Format = F>>>() -> Self {
        Self { read: read_event::<T::Event> }
    }
}

fn read_event<E: TypedEvent>(envelope: &EnvelopeOf<'_, E>) -> Result<Reading, Vec<Finding>> {
    let event = E::read(envelope)?;
    Ok(Reading { key: event.key(envelope), event: Box::new(event) })
}

/// Opens a record by a form, and reads it by the family whose event it is.
pub(crate) fn open<F: Format>(record: &Record, hint: Hint<'_>, entries: &[Entry]) -> Looked {
    let envelope = match F::open(record, hint, &Schemas::default()) {
        Opened::Tombstone => return Looked::Tombstone,
        Opened::Invalid(invalid) => return Looked::Invalid(invalid),
        Opened::Missing(schema) => return Looked::Missing(schema),
        Opened::Event(envelope) => envelope,
    };
    let known = hint.catalog.event_type(envelope.event_type);
    let entry = known.and_then(|known| entries.iter().find(|entry| entry.spec.name == known.family.name));
    let reader = entry.and_then(|entry| entry.reader.downcast_ref::<Reader<F>>());
    let (Some(known), Some(reader)) = (known, reader) else {
        let name = envelope.event_type;
        let looks = entry.map_or("", |entry| entry.looks);
        let message = format!("events of type {name} come in another form than this one: {looks}");
        return Looked::Invalid(Box::new(Invalid {
            kind: DeadLetterKind::UnknownType,
            findings: vec![finding("event-type.topic", envelope.pointer, message)],
            event_type: name,
            tenant: Some(envelope.tenant),
            correlation_id: Some(envelope.correlation_id),
        }));
    };
    Looked::Event(Box::new(Seen {
        known,
        id: envelope.id,
        has_id: envelope.id != derived_event_id(&envelope.source),
        pointer: envelope.pointer,
        read: (reader.read)(&envelope),
        tenant: envelope.tenant,
        correlation_id: envelope.correlation_id,
    }))
}
