//! A family as it is, but that each key is an item of its own.

use std::marker::PhantomData;

use lyceum_core::family::{
    AggregateRef, Decision, EffectPolicy, EnvelopeOf, Family, FamilySpec, KeyPlace, Occurrence, Refusal, Stored,
};
use lyceum_core::outcome::Finding;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use serde_json::Value;

/// The family with its keys apart.
pub(super) struct Apart<F>(PhantomData<fn() -> F>);

impl<F: Family> Family for Apart<F> {
    const SPEC: &'static FamilySpec =
        &FamilySpec { effect: EffectPolicy::StateAndKey { keys: KeyPlace::Apart }, ..*F::SPEC };
    type Event = F::Event;
    type State = F::State;
    type Format = F::Format;

    fn read(envelope: &EnvelopeOf<'_, F>) -> Result<F::Event, Vec<Finding>> {
        F::read(envelope)
    }

    fn key(envelope: &EnvelopeOf<'_, F>, event: &F::Event) -> String {
        F::key(envelope, event)
    }

    fn aggregates(event: &F::Event) -> Vec<AggregateRef> {
        F::aggregates(event)
    }

    fn decide(states: &States<'_, F::State>, event: &F::Event, at: &Occurrence) -> Result<Decision<F::State>, Refusal> {
        F::decide(states, event, at)
    }

    fn document(envelope: &EnvelopeOf<'_, F>, event: &F::Event, stored: &Stored<'_>) -> StatementDocument {
        F::document(envelope, event, stored)
    }

    fn view(state: &F::State, related: &[Option<F::State>]) -> Value {
        F::view(state, related)
    }
}
