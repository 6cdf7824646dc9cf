//! Event family: programs, sessions and bookings of trainings.
//!
//! [`events`] reads an event from a valid statement, [`state`] is what is kept, [`decide`] is the state machine. Three
//! aggregates: `program`, `session` (with the count of its bookings and its waiting list) and `booking`.

pub use lyceum_catalog::training::{SPEC, SUBSCRIPTION};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Decision, Family, Occurrence, StatefulFamily};
use lyceum_core::formats::Stored;
use lyceum_core::formats::statement::document;
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;

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
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &Envelope<'_>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Training {
    type State = State;

    fn decide(states: &States<'_, State>, event: &Event, at: &Occurrence) -> Result<Decision<State>, Refusal> {
        decide::decide(states, event, at)
    }
}
