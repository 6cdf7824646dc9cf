//! A release whose trainings are broken: they refuse what is valid. All else is as it should be.

use std::process::ExitCode;

use lyceum_core::catalog::FamilySpec;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Decision, Family, Occurrence, StatefulFamily};
use lyceum_core::formats::Stored;
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;
use lyceum_training::Training;
use lyceum_training::events::Event;
use lyceum_training::state::State;

struct Broken;

impl Family for Broken {
    const SPEC: &'static FamilySpec = Training::SPEC;
    const SUBSCRIPTION: &'static Subscription = Training::SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &Envelope<'_>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        Training::document(envelope, event, stored)
    }
}

impl StatefulFamily for Broken {
    type State = State;

    fn decide(states: &States<'_, State>, event: &Event, at: &Occurrence) -> Result<Decision<State>, Refusal> {
        match event {
            Event::SessionScheduled { .. } | Event::BookingConfirmed { .. } => Err(Refusal::Rejected {
                rule: "release.broken",
                message: format!("this release takes no {}, which is its mistake", at.event_type),
            }),
            _ => Training::decide(states, event, at),
        }
    }
}

fn main() -> ExitCode {
    let broken = lyceum_functions::stateful::<Broken>().function();
    let is_trainings = |name: &str| name == Training::SUBSCRIPTION.name;
    let release = lyceum_functions::functions().map(|of| if is_trainings(of.subscription.name) { broken } else { of });
    lyceum::cli::main_of(release.collect())
}
