//! What a subscription writes whose effect is other than state or documents, which are a family's own ([`crate::family`]). Each is pure
//! but for the port that is called.

use crate::family::{AggregateRef, AggregateState, Decision, Family, FollowUp, Occurrence, TypedEvent};
use crate::outcome::Refusal;
use crate::states::States;
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

/// A subscription that keeps state of its own of what it reads on topics of others, and may answer with events: what happened how often
/// lately, and who is to know of it.
pub trait Watching: Send + Sync + 'static {
    /// The subscription as data.
    const SUBSCRIPTION: &'static Subscription;

    /// Its events, which name the aggregates that it keeps.
    type Event: TypedEvent;

    /// The state of any of its aggregates.
    type State: AggregateState;

    /// Decides, given the states of [`TypedEvent::aggregates`]. Pure.
    fn decide(
        states: &States<'_, Self::State>,
        event: &Self::Event,
        at: &Occurrence,
    ) -> Result<Decision<Self::State>, Refusal>;
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

    /// What is published while the port still works, once that much of it is done: a hint, which comes before the answer is recorded, and
    /// again where the port is asked again. Its id is that of a follow-up whose place is `percent`. Pure, and the same for every record of
    /// the event: no time is part of it but one that the event itself says.
    fn progressed(_event: &Self::Event, _percent: u8, _at: &Occurrence) -> Option<FollowUp> {
        None
    }

    /// What follows from the answer. Pure; recorded before any of it is published, so that it is decided once, whatever a
    /// second call would answer.
    fn answered(event: &Self::Event, answer: &Self::Answer, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal>;
}

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
