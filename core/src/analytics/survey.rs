//! What did a survey find out?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::nps::{Answers, Scale, net_promoter_score};
use super::{Terms, ask};
use crate::family::STATEMENT;
use crate::formats::statement::vocabulary::{ACTIVITIES, last_segment, survey_id};
use crate::ports::statements::{Filter, StatementDocument, StatementFields, Statements, StatementsError};
use crate::record::Position;

const QUESTION: &str = include_str!("survey.json");
const PAGE: usize = 1_000;
/// So many surveys are listed where a name means several.
const LISTED: usize = 20;

/// A survey's answers in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyAnswers {
    /// The survey that the asker's name was taken for: `<id>` of the platform's own form, else the whole IRI.
    pub survey: String,
    /// Different attempts that started it: registrations and, where a statement has none, learners.
    pub started: u64,
    /// Different attempts that completed it.
    pub completed: u64,
    /// `completed` of `started`, from 0 to 1; `None` where nobody started. 1 at most, though a start may lie before the
    /// period that is asked for.
    pub completion_rate: Option<f64>,
    /// By question id.
    pub questions: Vec<QuestionAnswers>,
}

/// One question's answers. Of several answers in one attempt (a registration; without one, a learner) the last one by
/// source position counts: all of one attempt lie in one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionAnswers {
    /// `<id>` of `http://nlj.platform/activities/question/<id>`, of any other question the whole IRI.
    pub question: String,
    /// How many answers count.
    pub answers: u64,
    /// The mean of the answers that have a number: `result.score.raw`, else a response that is one.
    pub mean: Option<f64>,
    /// See [`net_promoter_score`]; blank answers do not count.
    pub nps: Option<f64>,
    /// Why there is no net promoter score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_nps: Option<String>,
    /// Most frequent first, then by response. An answer without a response is listed by its score.
    pub distribution: Vec<ResponseCount>,
}

/// A response and how many answers give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResponseCount {
    /// `result.response`, or the score.
    pub response: String,
    /// How many answers.
    pub count: u64,
}

#[derive(Deserialize)]
struct Aggregations {
    surveys: Terms,
}

/// Counts a survey's starts, completions and answers with timestamps from `from_ms` (inclusive) to `to_ms` (exclusive),
/// milliseconds; without `tenant` of every one. `scale` is that of answers that tell none. `name` is the survey's whole IRI, or a last segment that names one survey.
///
/// # Errors
/// `Refused` where the name means several surveys, with their IRIs; else those of the store.
pub async fn survey(
    statements: &dyn Statements,
    tenant: Option<&str>,
    name: &str,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    scale: Option<Scale>,
) -> Result<SurveyAnswers, StatementsError> {
    let survey = find(statements, tenant, name).await?;
    let filter =
        Filter { tenant: tenant.map(str::to_owned), survey: Some(survey.clone()), from_ms, to_ms, ..Filter::default() };
    let mut attempts = Attempts::default();
    let mut after = None;
    loop {
        let page = statements.search(&filter, PAGE, after.as_deref()).await?;
        page.statements.into_iter().for_each(|found| attempts.take(found.document));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (started, completed) = (attempts.started.len() as u64, attempts.completed.len() as u64);
    Ok(SurveyAnswers {
        survey,
        started,
        completed,
        completion_rate: (started > 0).then(|| (completed as f64 / started as f64).min(1.0)),
        questions: attempts.last_answers.fold(scale),
    })
}

/// The one survey that a name means; the name itself where nothing is known of it.
async fn find(statements: &dyn Statements, tenant: Option<&str>, name: &str) -> Result<String, StatementsError> {
    let id = survey_id(name.trim());
    let of_tenant = Filter { tenant: tenant.map(str::to_owned), ..Filter::default() };
    // A whole IRI is nobody else's, whatever else ends like it.
    if name.contains(':') {
        let exactly = Filter { survey: Some(id.to_owned()), ..of_tenant.clone() };
        if statements.search(&exactly, 1, None).await?.total > 0 {
            return Ok(id.to_owned());
        }
    }
    let answer = ask::<Aggregations>(statements, &of_tenant, QUESTION).await?.aggregations;
    let mut meant: Vec<String> =
        answer.surveys.buckets.into_iter().map(|bucket| bucket.key).filter(|known| is_named(known, id)).collect();
    meant.sort();
    match meant.as_slice() {
        [] => Ok(id.to_owned()),
        [one] => Ok(one.clone()),
        several => Err(StatementsError::Refused(several_are_named(name, several))),
    }
}

/// Whether a survey's id is or ends with this name.
fn is_named(id: &str, name: &str) -> bool {
    let is_end = || id.strip_suffix(name).is_some_and(|before| before.ends_with(['/', ':', '#']));
    id == name || (id.contains(':') && (last_segment(id) == Some(name) || is_end()))
}

fn several_are_named(name: &str, ids: &[String]) -> String {
    let whole = |id: &String| if id.contains(':') { id.clone() } else { format!("{ACTIVITIES}survey/{id}") };
    let mut listed: Vec<String> = ids.iter().take(LISTED).map(whole).collect();
    if ids.len() > LISTED {
        listed.push(format!("and {} more", ids.len() - LISTED));
    }
    format!("{name:?} names {} surveys; ask for one by its whole IRI: {}", ids.len(), listed.join(", "))
}

/// What was done in a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Started,
    Answered,
    Completed,
}

impl Step {
    /// Of an event of the survey family by its type, of a plain statement by its verb.
    fn of(fields: &StatementFields) -> Option<Self> {
        match &*fields.event_type {
            "survey.started" => Some(Self::Started),
            "survey.answered" => Some(Self::Answered),
            "survey.completed" => Some(Self::Completed),
            STATEMENT => {
                let namespaces = ["http://adlnet.gov/expapi/verbs/", "http://nlj.platform/verbs/"];
                let verb = namespaces.iter().find_map(|namespace| fields.verb.strip_prefix(namespace))?;
                // To complete a question is not to complete its survey.
                match (verb, fields.question.is_some()) {
                    ("initialized", false) => Some(Self::Started),
                    ("answered", true) => Some(Self::Answered),
                    ("completed", false) => Some(Self::Completed),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Whose attempt a statement belongs to: its registration's, else its learner's (an address is its SHA-1), else it is one of
/// its own.
fn attempt_of(document: &StatementDocument) -> String {
    let fields = &document.fields;
    let sha1 = || fields.actor_sha1.as_ref().map(|sha1| format!("sha1:{sha1}"));
    let actor = || Some(fields.actor.clone()).filter(|actor| !actor.is_empty());
    fields.registration.clone().or_else(sha1).or_else(actor).unwrap_or_else(|| document.id.to_string())
}

/// Who started, who completed, and who answered what.
#[derive(Default)]
struct Attempts {
    started: BTreeSet<String>,
    completed: BTreeSet<String>,
    last_answers: LastAnswers,
}

impl Attempts {
    fn take(&mut self, document: StatementDocument) {
        let Some(step) = Step::of(&document.fields) else { return };
        let attempt = attempt_of(&document);
        match step {
            Step::Started => drop(self.started.insert(attempt)),
            Step::Completed => drop(self.completed.insert(attempt)),
            Step::Answered => self.last_answers.take(attempt, document),
        }
    }
}

/// What was answered last, by question and attempt.
#[derive(Default)]
struct LastAnswers(BTreeMap<String, BTreeMap<String, GivenAnswer>>);

struct GivenAnswer {
    source: Position,
    number: Option<f64>,
    /// The ends of the scale, as the answer tells them.
    scale: Option<Scale>,
    response: String,
}

impl LastAnswers {
    fn take(&mut self, attempt: String, document: StatementDocument) {
        let fields = document.fields;
        let Some(question) = fields.question.map(|question| question.to_string()) else { return };
        let number = fields.score_raw.or_else(|| fields.response.as_ref()?.trim().parse().ok());
        let number = number.filter(|number| number.is_finite());
        let response = fields.response.map(|text| text.to_string());
        let response = response.or_else(|| number.map(|number| number.to_string())).unwrap_or_default();
        let scale = scale_of(&document.raw);
        let answer = GivenAnswer { source: document.source, number, scale, response };
        let given = self.0.entry(question).or_default();
        if given.get(&attempt).is_none_or(|earlier| earlier.source < answer.source) {
            given.insert(attempt, answer);
        }
    }

    fn fold(self, asked: Option<Scale>) -> Vec<QuestionAnswers> {
        let fold_one = |(question, given): (String, BTreeMap<String, GivenAnswer>)| {
            let numbers: Vec<f64> = given.values().filter_map(|answer| answer.number).collect();
            let scales: Vec<Scale> = given.values().filter_map(|answer| answer.scale).collect();
            let is_blank = |answer: &&GivenAnswer| answer.number.is_none() && answer.response.trim().is_empty();
            let without_number = given.len() - numbers.len() - given.values().filter(is_blank).count();
            let nps = net_promoter_score(&Answers { numbers: &numbers, without_number, scales: &scales, asked });
            let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
            for answer in given.values() {
                *counts.entry(&answer.response).or_default() += 1;
            }
            let count_of = |(response, count): (&str, u64)| ResponseCount { response: response.to_owned(), count };
            let mut distribution: Vec<_> = counts.into_iter().map(count_of).collect();
            distribution.sort_by_key(|entry| Reverse(entry.count));
            QuestionAnswers {
                question,
                answers: given.len() as u64,
                mean: (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64),
                no_nps: nps.as_ref().err().map(ToString::to_string),
                nps: nps.ok(),
                distribution,
            }
        };
        self.0.into_iter().map(fold_one).collect()
    }
}

/// `result.score.min` and `max`, where a statement has both.
fn scale_of(statement: &[u8]) -> Option<Scale> {
    #[derive(Deserialize)]
    struct Scored {
        result: Outcome,
    }
    #[derive(Deserialize)]
    struct Outcome {
        score: Ends,
    }
    #[derive(Deserialize)]
    struct Ends {
        min: f64,
        max: f64,
    }
    let Ends { min, max } = serde_json::from_slice::<Scored>(statement).ok()?.result.score;
    Some(Scale { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_segment_names_what_ends_with_it_and_no_part_of_a_word() {
        let site = "https://lms.example/mod/survey/view.php?id=1";
        for (id, name) in [
            ("pulse", "pulse"),
            (site, site),
            (site, "view.php"),
            (site, "view.php?id=1"),
            ("https://lms.example/surveys/pulse/", "pulse"),
            ("https://lms.example/surveys#a", "a"),
            ("urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001", "5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001"),
        ] {
            assert!(is_named(id, name), "{name} names {id}");
        }
        for (id, name) in [("pulse", "ulse"), (site, "1"), (site, "php"), (site, ""), ("impulse", "pulse")] {
            assert!(!is_named(id, name), "{name} does not name {id}");
        }
    }

    #[test]
    fn other_tools_statements_are_steps_by_their_verbs() {
        let step = |event_type: &str, verb: &str, question: Option<&str>| {
            Step::of(&StatementFields {
                event_type: event_type.to_owned().into(),
                verb: verb.into(),
                question: question.map(Into::into),
                ..StatementFields::default()
            })
        };
        let adl = |verb: &str| format!("http://adlnet.gov/expapi/verbs/{verb}");
        assert_eq!(step(STATEMENT, &adl("initialized"), None), Some(Step::Started));
        assert_eq!(step(STATEMENT, &adl("answered"), Some("q")), Some(Step::Answered));
        assert_eq!(step(STATEMENT, &adl("completed"), None), Some(Step::Completed));
        assert_eq!(step(STATEMENT, "http://nlj.platform/verbs/completed", None), Some(Step::Completed));
        assert_eq!(step(STATEMENT, &adl("completed"), Some("q")), None, "a question's end is not the survey's");
        assert_eq!(step(STATEMENT, &adl("experienced"), None), None);
        assert_eq!(step("survey.completed", &adl("experienced"), None), Some(Step::Completed));
        assert_eq!(step("booking.confirmed", &adl("completed"), None), None);
    }

    #[test]
    fn the_scale_is_read_from_the_statement() {
        let statement = br#"{"result": {"response": "4", "score": {"raw": 4, "min": 1, "max": 5}}}"#;
        assert_eq!(scale_of(statement), Some(Scale { min: 1.0, max: 5.0 }));
        for without in [&br#"{"result": {"score": {"raw": 4}}}"#[..], b"{}", b"no json"] {
            assert_eq!(scale_of(without), None);
        }
    }
}
