//! Event family: approvals of what a program is about to do (an *IR*), and what was judged of it.
//!
//! [`events`] reads an event from a module's envelope, [`state`] is what is kept, [`decide`] is the state machine. No token is in an
//! event, only its fingerprint.

pub use lyceum_catalog::governance::{SPEC, SUBSCRIPTION};
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
use state::State;

/// The governance family.
#[derive(Debug)]
pub struct Governance;

impl Family for Governance {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Governance {
    type State = State;

    fn decide(states: &States<'_, State>, event: &Event, at: &Occurrence) -> Result<Decision<State>, Refusal> {
        decide::decide(states, event, at)
    }
}
