//! Event family: survey responses.
//!
//! [`events`] reads an event from a valid statement, [`state`] is what is kept, [`decide`] is the state machine. One
//! aggregate, `response`: what one participant (a registration) answered.

pub use lyceum_catalog::survey::{SPEC, SUBSCRIPTION};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{Decision, Family, Occurrence, StatefulFamily};
use lyceum_core::formats::Stored;
use lyceum_core::formats::statement::document;
use lyceum_core::formats::statement::vocabulary::SurveyFields;
use lyceum_core::outcome::Refusal;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;

pub mod decide;
pub mod events;
pub mod state;

use events::Event;
use state::Response;

/// The survey family.
#[derive(Debug)]
pub struct Survey;

impl Family for Survey {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &Envelope<'_>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        let question = match &event.what {
            events::What::Answered { question_id, .. } => Some(question_id.as_str().into()),
            _ => None,
        };
        document(envelope, Some(SurveyFields { survey: event.survey_id.as_str().into(), question }), stored)
    }
}

impl StatefulFamily for Survey {
    type State = Response;

    fn decide(states: &States<'_, Response>, event: &Event, at: &Occurrence) -> Result<Decision<Response>, Refusal> {
        decide::decide(states, event, at)
    }
}
