//! The state machine of survey responses: pure.
//!
//! | event | allowed from | otherwise |
//! |---|---|---|
//! | survey.started | no response, or a placeholder that is open | `survey.start.once` |
//! | survey.answered | open; no response makes a placeholder, so that no answer is lost | `survey.answer.before-completed` |
//! | survey.completed | open; no response makes a placeholder | `survey.complete.once` |
//! | any | a response to the same survey | `survey.same-survey` |

use std::collections::BTreeMap;

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::states::{Changes, States};

use crate::events::{Event, What};
use crate::state::{Answer, Moment, Response};

/// Decides.
pub fn decide(states: &States<'_, Response>, event: &Event, at: &Occurrence) -> Result<Decision<Response>, Refusal> {
    let id = event.response_id();
    let mut response = match states.get::<Response>(&id)?.cloned() {
        Some(response) if response.survey_id != event.survey_id => {
            let message = format!(
                "registration {} is a response to survey {}, not to {}",
                event.registration, response.survey_id, event.survey_id
            );
            return Refusal::rejected("survey.same-survey", message);
        }
        Some(response) => response,
        None => Response {
            survey_id: event.survey_id.clone(),
            learner: None,
            demographics: None,
            started: None,
            answers: BTreeMap::new(),
            completed: None,
        },
    };
    let moment = Moment { at_ms: at.occurred_at_ms, id: at.event_id, source: at.source.clone() };
    let registration = event.registration;
    match &event.what {
        What::Started => {
            if response.started.is_some() {
                return Refusal::rejected("survey.start.once", format!("response {registration} was started already"));
            }
            if response.completed.is_some() {
                let message = format!("response {registration} is completed; it cannot be started after that");
                return Refusal::rejected("survey.start.once", message);
            }
            response.started = Some(moment);
        }
        What::Answered { question_id, response: text, score } => {
            if response.completed.is_some() {
                let message = format!("response {registration} is completed; no answer is taken after that");
                return Refusal::rejected("survey.answer.before-completed", message);
            }
            let times = response.answers.get(question_id).map_or(0, |answer| answer.times) + 1;
            let answer = Answer { response: text.clone(), score: *score, times, last: moment };
            response.answers.insert(question_id.clone(), answer);
        }
        What::Completed => {
            if response.completed.is_some() {
                return Refusal::rejected(
                    "survey.complete.once",
                    format!("response {registration} is completed already"),
                );
            }
            response.completed = Some(moment);
        }
    }
    response.learner = response.learner.or_else(|| event.learner.clone());
    response.demographics = event.demographics.clone().or(response.demographics);
    let anomalies = response.anomalies();
    Ok(Decision { changes: Changes::new().put(id, response), follow_ups: Vec::new(), anomalies })
}

#[cfg(test)]
mod tests {
    use lyceum_core::family::AggregateState;
    use lyceum_testing::decide::decide_each;
    use uuid::Uuid;

    use super::*;
    use crate::state::RESPONSE;

    fn event(what: What) -> Event {
        let (learner, demographics) = (Some("mbox:a@b.example".into()), None);
        Event { survey_id: "pulse".into(), registration: Uuid::nil(), learner, demographics, what }
    }

    fn answered(score: f64) -> Event {
        event(What::Answered { question_id: "q1".into(), response: None, score: Some(score) })
    }

    fn run(events: impl IntoIterator<Item = Event>) -> Result<Response, &'static str> {
        decide_each(events, |event| (RESPONSE, event.response_id()), decide)
    }

    #[test]
    fn the_last_answer_per_question_by_offset_counts() {
        let response = run([event(What::Started), answered(3.0), answered(9.0)]).unwrap();
        assert_eq!(response.answers["q1"].score, Some(9.0));
        assert_eq!(response.answers["q1"].times, 2);
    }

    #[test]
    fn an_answer_without_a_start_is_kept_in_a_placeholder_that_the_start_completes() {
        let response = run([answered(3.0)]).unwrap();
        assert_eq!(response.view(&[])["known"], false);
        assert_eq!(response.anomalies()[0].name, "not-started");
        let response = run([answered(3.0), event(What::Started)]).unwrap();
        assert_eq!((response.view(&[])["known"].clone(), response.anomalies().len()), (true.into(), 0));
    }

    #[test]
    fn a_completed_response_takes_nothing_more() {
        let end = || event(What::Completed);
        assert_eq!(run([end(), answered(1.0)]), Err("survey.answer.before-completed"));
        assert_eq!(run([end(), end()]), Err("survey.complete.once"));
        assert_eq!(run([end(), event(What::Started)]), Err("survey.start.once"));
        assert_eq!(run([event(What::Started), event(What::Started)]), Err("survey.start.once"));
    }

    #[test]
    fn a_registration_belongs_to_one_survey() {
        let other = Event { survey_id: "exit".into(), ..answered(1.0) };
        assert_eq!(run([event(What::Started), other]), Err("survey.same-survey"));
    }
}
