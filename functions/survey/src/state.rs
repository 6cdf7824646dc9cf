//! What is kept of a survey response, and what a person is shown of it.

use std::collections::BTreeMap;

use lyceum_core::family::AggregateState;
use lyceum_core::outcome::Anomaly;
use lyceum_core::record::Position;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;
use uuid::Uuid;

pub use lyceum_catalog::survey::RESPONSE;

/// What one participant answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The survey.
    pub survey_id: SmolStr,
    /// The learner's canonical identifier, as the first event that names one gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learner: Option<SmolStr>,
    /// Role, region, department …, as the last event that brings them gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demographics: Option<Value>,
    /// When it was started; `None` for a response whose start was never seen: a placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// The last answer to each question.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<SmolStr, Answer>,
    /// When it was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Moment>,
}

/// When, and by which event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The event.
    pub id: Uuid,
    /// The record that brought it.
    pub source: Position,
}

/// The last answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// `result.response`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<SmolStr>,
    /// `result.score`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How often the question was answered.
    pub times: u32,
    /// The last time.
    pub last: Moment,
}

impl Aggregate for Response {
    type State = Self;
    const KIND: &'static str = RESPONSE;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

impl Response {
    /// `not-started`: answers of a response whose start was never seen.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        if self.started.is_some() {
            return Vec::new();
        }
        let message = "the response has answers or an end, and its survey.started was not seen".to_owned();
        vec![Anomaly { name: "not-started".into(), message }]
    }
}

impl AggregateState for Response {
    fn view(&self, _: &[Option<Self>]) -> Value {
        let answer = |(question, answer): (&SmolStr, &Answer)| {
            json!({
                "question_id": question, "response": answer.response, "score": answer.score, "times_answered": answer.times,
                "last_answered_at": UtcTime::from_millis(answer.last.at_ms), "id": answer.last.id, "source": answer.last.source,
            })
        };
        let moment = |moment: &Moment| {
            json!({
                "at": UtcTime::from_millis(moment.at_ms), "id": moment.id, "source": moment.source,
            })
        };
        json!({
            "known": self.started.is_some(),
            "survey_id": self.survey_id,
            "learner": self.learner,
            "demographics": self.demographics,
            "status": if self.completed.is_some() { "completed" } else { "open" },
            "started": self.started.as_ref().map(moment),
            "answers": self.answers.iter().map(answer).collect::<Vec<_>>(),
            "completed": self.completed.as_ref().map(moment),
            "anomalies": self.anomalies(),
        })
    }
}
