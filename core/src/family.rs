//! What an event family is: it owns topics and event types, and tells how an event is read and, where it keeps state, decided.
//!
//! A family is a folder in `functions/` that implements [`Family`], and a line in the registry (`functions/src/lib.rs`).
//! Everything that is data about a family stands in its [`FamilySpec`]; the event table of the documentation is tested
//! against it. Who reads its topics, and with which effect, is a [`Subscription`]: its own, and those of others.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::envelope::Envelope;
use crate::formats::Format;
use crate::formats::statement::vocabulary::StatementForm;
use crate::outcome::{Anomaly, Finding};
use crate::ports::statements::StatementDocument;
use crate::record::Position;
use crate::states::{Changes, States};
use crate::subscription::Subscription;

/// A family as data.
#[derive(Debug)]
pub struct FamilySpec {
    /// `training`, `survey` … also the function's name and the subscriber that owns the effect.
    pub name: &'static str,
    /// The topics that it consumes.
    pub topics: &'static [TopicOf],
    /// What it understands. A family without any takes every statement that no other family claims.
    pub event_types: &'static [EventType],
    /// Where its dead letters go.
    pub dead_letters: DeadLetterTopics,
    /// The kinds of aggregate that it keeps.
    pub kinds: &'static [&'static str],
}

/// A topic of a family.
#[derive(Debug)]
pub struct TopicOf {
    /// Its name.
    pub name: &'static str,
    /// How many partitions it is created with.
    pub partitions: i32,
    /// What its records are keyed by, for the documentation.
    pub key: &'static str,
}

/// One event type of a family.
#[derive(Debug, PartialEq)]
pub struct EventType {
    /// `program.created` …
    pub name: &'static str,
    /// The one topic that carries it.
    pub topic: &'static str,
    /// How a bare statement says it; `None` where only its name does.
    pub statement: Option<StatementForm>,
    /// What it does, for the documentation.
    pub effect: &'static str,
}

/// The topics for dead letters, by kind of failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeadLetterTopics {
    /// For decode, validation, rejected, conflict, unknown-type, oversized.
    pub validation: &'static str,
    /// For attempts spent, and for what was applied but cannot be delivered.
    pub processing: &'static str,
    /// For a store that failed for good.
    pub database: &'static str,
}

/// The dead-letter topics of the platform's families (statements in JSON).
pub const PLATFORM_DEAD_LETTERS: DeadLetterTopics = DeadLetterTopics {
    validation: "nlj.errors.validation",
    processing: "nlj.errors.processing",
    database: "nlj.errors.database",
};

/// Names an aggregate within the tenant of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateRef {
    /// One of the family's [`FamilySpec::kinds`].
    pub kind: &'static str,
    /// The sender's id.
    pub id: SmolStr,
}

/// What the decision may know of the event beside its content.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// The event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: &'static str,
    /// The record that brought it first (a replay names the original).
    pub source: Position,
    /// The statement's timestamp, else the record's; milliseconds since 1970 UTC.
    pub occurred_at_ms: i64,
    /// Milliseconds since 1970 UTC, read once a batch.
    pub now_ms: i64,
}

/// What a family decided.
#[derive(Debug)]
pub struct Decision<S> {
    /// What becomes of each aggregate that the event names.
    pub changes: Changes<S>,
    /// Events to be published.
    pub follow_ups: Vec<FollowUp>,
    /// What is odd about the state now.
    pub anomalies: Vec<Anomaly>,
}

impl<S> Decision<S> {
    /// Nothing changes, and this is published.
    pub fn of_follow_ups(follow_ups: Vec<FollowUp>) -> Self {
        Self { changes: Changes::new(), follow_ups, anomalies: Vec::new() }
    }
}

/// An event that follows from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUp {
    /// Where it goes.
    pub topic: &'static str,
    /// Its type; with the source event's id and its place among the follow-ups it makes its own id.
    pub event_type: &'static str,
    /// Its Kafka key.
    pub key: String,
    /// Its value: a pure function of the source event and the decision.
    pub value: Vec<u8>,
}

/// Why an event was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The state machine does not allow it; a decision like any other.
    Rejected {
        /// The rule, `booking.confirm.from-requested-or-waitlisted`.
        rule: &'static str,
        /// A sentence that says what the state was.
        message: String,
    },
    /// This record's own work failed, and may succeed at a later attempt.
    Transient {
        /// What failed.
        reason: String,
    },
    /// The family itself is wrong: it asked for, or decided about, an aggregate that the event does not name, or forgot one
    /// that it names. The record becomes a letter of kind `processing`, and waits there for a family that is mended.
    Faulty {
        /// What it did.
        message: String,
    },
}

impl Refusal {
    /// A rejection by a rule of the state machine.
    pub fn rejected<T>(rule: &'static str, message: impl Into<String>) -> Result<T, Self> {
        Err(Self::Rejected { rule, message: message.into() })
    }
}

/// An event with its fields read. Serialised it is a part of the event's content: the same id with other fields is a conflict,
/// also where xAPI calls the statements equal (a title in `definition.name`).
pub trait TypedEvent: Serialize + Sized + Send + Sync + 'static {
    /// The wire form that it comes in.
    type Format: Format;

    /// Reads the event's own fields from a valid body.
    fn read(envelope: &EnvelopeOf<'_, Self>) -> Result<Self, Vec<Finding>>;

    /// The Kafka key under which the event keeps its order.
    fn key(&self, envelope: &EnvelopeOf<'_, Self>) -> String;

    /// The aggregates that the event reads or changes; none where no state is kept.
    fn aggregates(&self) -> Vec<AggregateRef> {
        Vec::new()
    }
}

/// What is kept of any of a family's aggregates.
pub trait AggregateState: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The aggregates whose state [`AggregateState::view`] wants beside this one.
    fn related(&self) -> Vec<AggregateRef> {
        Vec::new()
    }

    /// What a person is shown of it: with everything that is derived when it is read.
    fn view(&self, related: &[Option<Self>]) -> Value;
}

/// One family of events. Everything here is pure.
pub trait Family: Send + Sync + 'static {
    /// The family as data.
    const SPEC: &'static FamilySpec;

    /// Its own subscription.
    const SUBSCRIPTION: &'static Subscription;

    /// Its events.
    type Event: TypedEvent;

    /// What a store keeps of an accepted event: a pure function of it, so that a second run makes the same.
    fn document(envelope: &EnvelopeOf<'_, Self::Event>, event: &Self::Event, stored: &Stored<'_>) -> StatementDocument;
}

/// A family that keeps state, which its events change.
pub trait StatefulFamily: Family {
    /// The state of any of its aggregates.
    type State: AggregateState;

    /// Decides, given the states of [`TypedEvent::aggregates`].
    fn decide(
        states: &States<'_, Self::State>,
        event: &Self::Event,
        at: &Occurrence,
    ) -> Result<Decision<Self::State>, Refusal>;
}

/// The envelope of an event, as its format reads it.
pub type EnvelopeOf<'a, E> = Envelope<'a, <<E as TypedEvent>::Format as Format>::Body<'a>>;

/// What a document says beside its event.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'e> {
    /// Whose event it is.
    pub family: &'static str,
    /// The record's value, which the envelope borrows from.
    pub value: &'e Bytes,
    /// The record that was decided on.
    pub source: &'e Position,
    /// Its timestamp; milliseconds since 1970 UTC.
    pub stored_ms: i64,
}

/// All families of a deployment: which event type belongs where.
#[derive(Clone, Debug)]
pub struct Catalog {
    families: Vec<&'static FamilySpec>,
}

/// What an event type's name means.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The family that takes it.
    pub family: &'static FamilySpec,
    /// Its name, from the closed set.
    pub name: &'static str,
    /// The topic that carries it.
    pub topic: &'static str,
}

/// The event type of a statement that no family claims.
pub const STATEMENT: &str = "statement";

impl Catalog {
    /// The catalog of these families.
    pub fn new(families: Vec<&'static FamilySpec>) -> Self {
        Self { families }
    }

    /// The families, in the registry's order.
    pub fn families(&self) -> &[&'static FamilySpec] {
        &self.families
    }

    /// Every dead-letter topic of the families, each once.
    pub fn dead_letter_topics(&self) -> Vec<&'static str> {
        let mut topics = Vec::new();
        for DeadLetterTopics { validation, processing, database } in self.families.iter().map(|of| of.dead_letters) {
            for topic in [validation, processing, database] {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
        }
        topics
    }

    /// Every kind of aggregate that a family keeps.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.families.iter().flat_map(|family| family.kinds).copied()
    }

    /// The event type of that name.
    pub fn event_type(&self, name: &str) -> Option<Known> {
        if name == STATEMENT {
            return self.plain_statement();
        }
        self.event_types().find(|(_, event_type)| event_type.name == name).map(known)
    }

    /// Where a statement goes that no family claims.
    pub fn plain_statement(&self) -> Option<Known> {
        let family = self.families.iter().find(|family| family.event_types.is_empty())?;
        Some(Known { family, name: STATEMENT, topic: family.topics.first()?.name })
    }

    /// The family that consumes a topic.
    pub fn family_of_topic(&self, topic: &str) -> Option<&'static FamilySpec> {
        self.families.iter().copied().find(|family| family.topics.iter().any(|of| of.name == topic))
    }

    /// Every event type with its family.
    pub fn event_types(&self) -> impl Iterator<Item = (&'static FamilySpec, &'static EventType)> {
        self.families.iter().flat_map(|family| family.event_types.iter().map(|event_type| (*family, event_type)))
    }
}

/// An event type as the catalog knows it.
pub(crate) fn known((family, event_type): (&'static FamilySpec, &'static EventType)) -> Known {
    Known { family, name: event_type.name, topic: event_type.topic }
}
