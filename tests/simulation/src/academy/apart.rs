//! A family as it is, but that each key is an item of its own.

use std::marker::PhantomData;

use lyceum_core::catalog::FamilySpec;
use lyceum_core::family::{Decision, EnvelopeOf, Family, Occurrence, StatefulFamily};
use lyceum_core::formats::Stored;
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};

/// The family with its keys apart.
pub(super) struct Apart<F>(PhantomData<fn() -> F>);

impl<F: Family> Family for Apart<F> {
    const SPEC: &'static FamilySpec = F::SPEC;
    const SUBSCRIPTION: &'static Subscription = &Subscription::own(F::SPEC, Effect::Stateful { keys: KeyPlace::Apart });
    type Event = F::Event;

    fn document(envelope: &EnvelopeOf<'_, F::Event>, event: &F::Event, stored: &Stored<'_>) -> StatementDocument {
        F::document(envelope, event, stored)
    }
}

impl<F: StatefulFamily> StatefulFamily for Apart<F> {
    type State = F::State;

    fn decide(states: &States<'_, F::State>, event: &F::Event, at: &Occurrence) -> Result<Decision<F::State>, Refusal> {
        F::decide(states, event, at)
    }
}
