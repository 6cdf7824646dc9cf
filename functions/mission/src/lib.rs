//! Event family: missions and their tasks.
//!
//! [`events`] reads an event from a module's envelope, [`state`] is what is kept, [`decide`] is the state machine.

pub use lyceum_catalog::mission::{SPEC, SUBSCRIPTION};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::family::{Decision, EnvelopeOf, Family, Occurrence, StatefulFamily};
use lyceum_core::formats::{Stored, document};
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;

pub mod decide;
pub mod events;
pub mod state;

use events::Event;
use state::Mission;

/// The mission family.
#[derive(Debug)]
pub struct Missions;

impl Family for Missions {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Missions {
    type State = Mission;

    fn decide(states: &States<'_, Mission>, event: &Event, at: &Occurrence) -> Result<Decision<Mission>, Refusal> {
        decide::decide(states, event, at)
    }
}
