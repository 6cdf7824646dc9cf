//! What a subscription writes whose effect is other than state or documents, which are a family's own ([`crate::family`]). Each is pure
//! but for the port that is called.

use async_trait::async_trait;

use crate::family::{AggregateRef, AggregateState, Family, FollowUp, Occurrence, TypedEvent};
use crate::outcome::Refusal;
use crate::subscription::Subscription;

/// A subscription that answers an event with others: it keeps no state, so that those change it where they are consumed.
pub trait Reaction: Send + Sync + 'static {
    /// The subscription as data.
    const SUBSCRIPTION: &'static Subscription;

    /// Its events.
    type Event: TypedEvent;

    /// What follows from the event. Pure.
    fn react(event: &Self::Event, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal>;
}

/// A subscription that asks a port about an event, and answers it with what follows from the port's answer.
pub trait Calling: Send + Sync + 'static {
    /// The subscription as data.
    const SUBSCRIPTION: &'static Subscription;

    /// Its events.
    type Event: TypedEvent;

    /// What the port is asked.
    type Request: Send + Sync;

    /// What the port answers: its refusals, too.
    type Answer: Send + Sync;

    /// What the port is asked about the event. Pure.
    fn request(event: &Self::Event, at: &Occurrence) -> Result<Self::Request, Refusal>;

    /// What follows from the answer. Pure; recorded before any of it is published, so that it is decided once, whatever a
    /// second call would answer.
    fn answered(event: &Self::Event, answer: &Self::Answer, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal>;
}

/// What a [`Calling`] subscription asks.
#[async_trait]
pub trait CallPort<Request, Answer>: Send + Sync {
    /// Asks once. It may be asked again about the same event, by another worker, where the answer of this call was not
    /// recorded.
    async fn call(&self, request: &Request) -> Result<Answer, CallError>;
}

/// The port did not answer now: throttled, down, out of time. The event is redelivered, and no attempt of it is spent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CallError(pub String);

/// A subscription that counts: numbers by kind and id. Each is kept for every partition apart, since no two workers write one
/// then, and merged where it is read.
pub trait Counted: Family {
    /// What is kept under one kind and id; the default is that of nothing counted.
    type Numbers: Default + AggregateState;

    /// What the event is counted for.
    fn counters(event: &Self::Event) -> Vec<AggregateRef>;

    /// Counts the event.
    fn count(numbers: &mut Self::Numbers, counter: &AggregateRef, event: &Self::Event, at: &Occurrence);

    /// Adds what another partition counted.
    fn merge(numbers: &mut Self::Numbers, other: &Self::Numbers);
}
