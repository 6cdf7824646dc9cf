//! The events of the survey family, and how each is read from a statement.

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, TypedEvent};
use lyceum_core::formats::statement::StatementFormat;
use lyceum_core::formats::statement::field::Fields;
use lyceum_core::formats::statement::vocabulary::{question_id, survey_id, survey_of};
use lyceum_core::outcome::Finding;
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::state::RESPONSE;

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The survey, by its [`survey_id`].
    pub survey_id: SmolStr,
    /// The participant's attempt.
    pub registration: Uuid,
    /// The actor's canonical identifier, where the actor is identified.
    pub learner: Option<SmolStr>,
    /// The extension `demographics` (role, region, department …), where it is sent.
    pub demographics: Option<Value>,
    /// What happened.
    pub what: What,
}

impl Event {
    /// The id of the response, which is also the Kafka key.
    pub fn response_id(&self) -> SmolStr {
        SmolStr::new(self.registration.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl TypedEvent for Event {
    type Format = StatementFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &Envelope<'_>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let registration = fields.registration();
        let (survey_id, what) = match envelope.event_type {
            "survey.started" => (fields.object_iri("survey_id", survey_id), What::Started),
            "survey.completed" => (fields.object_iri("survey_id", survey_id), What::Completed),
            _ => {
                let result = &envelope.body.result;
                let score = result.score_raw.or(result.score_scaled);
                let response = result.response.as_deref().map(SmolStr::new);
                fields.required((response.is_some() || score.is_some()).then_some(()), "/result", || {
                    "an answer needs result.response or result.score".to_owned()
                });
                let survey = match survey_of(&envelope.body) {
                    Some(iri) if envelope.extension("survey_id").is_none() => iri.into(),
                    _ => fields.id("survey_id"),
                };
                let question_id = fields.object_iri("question_id", question_id);
                (survey_id(&survey).into(), What::Answered { question_id, response, score })
            }
        };
        let learner = envelope.body.actor.ifi.as_ref().map(|ifi| ifi.canonical().into());
        let demographics = envelope.extension("demographics").and_then(|(_, raw)| serde_json::from_slice(raw).ok());
        fields.finish(Event { survey_id, registration, learner, demographics, what })
    }

    fn key(&self, _: &Envelope<'_>) -> String {
        self.response_id().into()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: RESPONSE, id: self.response_id() }]
    }
}

/// What happened to a response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    /// `survey.started`
    Started,
    /// `survey.answered`
    Answered {
        /// The question, by its [`question_id`].
        question_id: SmolStr,
        /// `result.response`.
        response: Option<SmolStr>,
        /// `result.score.raw`, else `.scaled`.
        score: Option<f64>,
    },
    /// `survey.completed`
    Completed,
}
