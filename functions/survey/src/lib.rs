//! Event family: survey responses.
//!
//! [`events`] reads an event from a valid statement, [`state`] is what is kept, [`decide`] is the state machine. One
//! aggregate, `response`: what one participant (a registration) answered.

pub use lyceum_catalog::survey::SPEC;
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, Decision, Family, FamilySpec, Occurrence, Refusal, Stored, SurveyFields};
use lyceum_core::formats::statement::{StatementFormat, document};
use lyceum_core::outcome::Finding;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::States;
use serde_json::Value;

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
    type Event = Event;
    type State = Response;
    type Format = StatementFormat;

    fn read(envelope: &Envelope<'_>) -> Result<Event, Vec<Finding>> {
        events::read(envelope)
    }

    fn key(_: &Envelope<'_>, event: &Event) -> String {
        event.response_id()
    }

    fn aggregates(event: &Event) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: state::RESPONSE, id: event.response_id() }]
    }

    fn decide(states: &States<'_, Response>, event: &Event, at: &Occurrence) -> Result<Decision<Response>, Refusal> {
        decide::decide(states, event, at)
    }

    fn document(envelope: &Envelope<'_>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        let question = match &event.what {
            events::What::Answered { question_id, .. } => Some(question_id.clone()),
            _ => None,
        };
        document(envelope, Some(SurveyFields { survey: event.survey_id.clone(), question }), stored)
    }

    fn view(state: &Response, _: &[Option<Response>]) -> Value {
        state.view()
    }
}
