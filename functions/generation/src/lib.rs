//! Event family: the generation of content.
//!
//! [`events`] reads an event from a valid statement, [`state`] is what is kept, [`decide`] is the state machine. One aggregate,
//! `generation`. Who asks the content generator is a subscription of its own, `generator`, which reads this family's topic.

pub use lyceum_catalog::generation::{COMPLETED, FAILED, PROGRESSED, REQUESTED, SPEC, SUBSCRIPTION, TOPIC};
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
use state::Generation;

/// The generation family.
#[derive(Debug)]
pub struct Generations;

impl Family for Generations {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &Envelope<'_>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Generations {
    type State = Generation;

    fn decide(
        states: &States<'_, Generation>,
        event: &Event,
        at: &Occurrence,
    ) -> Result<Decision<Generation>, Refusal> {
        decide::decide(states, event, at)
    }
}
