//! What an event family is: it owns topics and event types, and tells how an event is read and, where it keeps state, decided.
//!
//! A family is a folder in `functions/` that implements [`Family`], and a line in the registry (`functions/src/lib.rs`).
//! Everything that is data about a family stands in its [`FamilySpec`]; the event table of the documentation is tested
//! against it. Who reads its topics, and with which effect, is a [`Subscription`]: its own, and those of others.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::catalog::FamilySpec;
use crate::envelope::{Envelope, follow_up_id};
use crate::formats::{Format, Stored};
use crate::outcome::{Anomaly, Finding, Refusal};
use crate::ports::ledger::Home;
use crate::ports::statements::StatementDocument;
use crate::record::Position;
use crate::states::{Changes, States};
use crate::subscription::Subscription;

/// Names an aggregate within the tenant of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateRef {
    /// One of the family's [`FamilySpec::kinds`](crate::catalog::FamilySpec::kinds).
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
    /// Whose it is.
    pub tenant: SmolStr,
    /// Travels with everything that follows from it.
    pub correlation_id: SmolStr,
    /// Where its key is at home, on which the ids of its follow-ups depend.
    pub home: Option<Home>,
    /// The record that brought it first (a replay names the original).
    pub source: Position,
    /// The statement's timestamp, else the record's; milliseconds since 1970 UTC.
    pub occurred_at_ms: i64,
    /// Milliseconds since 1970 UTC, read once a batch.
    pub now_ms: i64,
}

impl Occurrence {
    /// The id of the event's follow-up of that type in that place among the follow-ups: what a wire form writes into the value has to be
    /// what stands in its header.
    pub fn follow_up_id(&self, event_type: &str, place: usize) -> Uuid {
        follow_up_id(self.event_id, self.home.as_ref(), event_type, place)
    }
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
