//! Event family: programs, sessions and bookings of trainings.
//!
//! [`events`] reads an event from a valid statement, [`state`] is what is kept, [`decide`] is the state machine. Three
//! aggregates: `program`, `session` (with the count of its bookings and its waiting list) and `booking`.

pub use lyceum_catalog::training::SPEC;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, Decision, Family, FamilySpec, Occurrence, Refusal, Stored};
use lyceum_core::formats::statement::{StatementFormat, document};
use lyceum_core::outcome::Finding;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use serde_json::Value;

pub mod decide;
pub mod events;
pub mod state;

use events::Event;
use state::State;

/// The training family.
#[derive(Debug)]
pub struct Training;

impl Family for Training {
    const SPEC: &'static FamilySpec = &SPEC;
    type Event = Event;
    type State = State;
    type Format = StatementFormat;

    fn read(envelope: &Envelope<'_>) -> Result<Event, Vec<Finding>> {
        events::read(envelope)
    }

    fn key(_: &Envelope<'_>, event: &Event) -> String {
        event.key().to_owned()
    }

    fn aggregates(event: &Event) -> Vec<AggregateRef> {
        event.aggregates()
    }

    fn decide(states: &States<'_, State>, event: &Event, at: &Occurrence) -> Result<Decision<State>, Refusal> {
        decide::decide(states, event, at)
    }

    fn document(envelope: &Envelope<'_>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }

    fn related(state: &State) -> Vec<AggregateRef> {
        state.related()
    }

    fn view(state: &State, related: &[Option<State>]) -> Value {
        state.view(related)
    }
}
