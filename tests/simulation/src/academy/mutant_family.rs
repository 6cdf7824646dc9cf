//! Training with one rule of its state machine changed, to show that the fold and the second schedule notice.

use lyceum_core::catalog::FamilySpec;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateState, Decision, Family, Occurrence, StatefulFamily};
use lyceum_core::formats::Stored;
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::{Change, States};
use lyceum_core::subscription::Subscription;
use lyceum_training::events::Event;
use lyceum_training::state::{Program, ProgramOwn, ProgramStatus, Session, State};
use lyceum_training::{SPEC, Training};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which rule is changed.
pub(super) const BREACHES: u8 = 0;
/// See [`BREACHES`].
pub(super) const PLACEHOLDER: u8 = 1;
/// See [`BREACHES`].
pub(super) const CAPACITY: u8 = 2;

/// Training with one rule changed.
pub(super) struct MutantFamily<const RULE: u8>;

/// Training's state, and how often an event met an overbooked session.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Counting {
    state: State,
    breaches: u64,
}

impl<const RULE: u8> Family for MutantFamily<RULE> {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = Training::SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &Envelope<'_>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        Training::document(envelope, event, stored)
    }
}

impl AggregateState for Counting {
    fn view(&self, _: &[Option<Counting>]) -> Value {
        serde_json::json!(self)
    }
}

impl<const RULE: u8> StatefulFamily for MutantFamily<RULE> {
    type State = Counting;

    fn decide(states: &States<'_, Counting>, event: &Event, at: &Occurrence) -> Result<Decision<Counting>, Refusal> {
        let mut mutated: Vec<_> =
            states.iter().map(|(kind, id, held)| (kind, id, held.map(|held| held.state.clone()))).collect();
        for (_, _, state) in &mut mutated {
            match state {
                Some(State::Program(program @ Program { own: None, .. }))
                    if RULE == PLACEHOLDER && matches!(event, Event::ProgramPublished { .. }) =>
                {
                    let (title, status, history) = (String::new(), ProgramStatus::Draft, Vec::new());
                    program.own = Some(ProgramOwn { title, status, history });
                }
                Some(State::Session(Session { own: Some(own), confirmed, .. }))
                    if RULE == CAPACITY
                        && matches!(event, Event::BookingConfirmed { .. })
                        && *confirmed >= own.capacity =>
                {
                    return Refusal::rejected("booking.confirm.capacity", "the session is full");
                }
                _ => {}
            }
        }
        let inner = States::new(mutated.iter().map(|(kind, id, state)| (*kind, *id, state.as_ref())));
        let decision = Training::decide(&inner, event, at)?;
        let met = u64::from(RULE == BREACHES && !decision.anomalies.is_empty());
        let count = |Change { kind, id, state }: Change<State>| {
            let held =
                states.iter().find_map(|(of_kind, of_id, held)| (of_kind == kind && of_id == id).then_some(held?));
            let breaches = held.map_or(0, |held| held.breaches) + met;
            Change { kind, id, state: state.map(|state| Counting { state, breaches }) }
        };
        let changes = decision.changes.into_iter().map(count).collect();
        Ok(Decision { changes, follow_ups: decision.follow_ups, anomalies: decision.anomalies })
    }
}
