//! What did a survey find out?

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Number, ask};
use crate::ports::statements::{Filter, StatementDocument, Statements, StatementsError};
use crate::record::Position;

const QUESTION: &str = include_str!("survey.json");
const PAGE: usize = 1_000;

/// A survey's answers in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyAnswers {
    /// Different registrations that started it.
    pub started: u64,
    /// Different registrations that completed it.
    pub completed: u64,
    /// `completed` of `started`, from 0 to 1; `None` where nobody started. 1 at most, though a start may lie before the
    /// period that is asked for.
    pub completion_rate: Option<f64>,
    /// By question id.
    pub questions: Vec<QuestionAnswers>,
}

/// One question's answers. Of several answers under one registration the last one by source position counts: all of one
/// registration lie in one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionAnswers {
    /// The last segment of the question's IRI.
    pub question: String,
    /// How many answers count.
    pub answers: u64,
    /// The mean of the answers that have a number: `result.score.raw`, else a response that is one.
    pub mean: Option<f64>,
    /// Net promoter score, -100 to 100: the percentage of 9 and 10 less that of 0 to 6. `None` unless every answer is a
    /// whole number on a scale from 0 to 10: the one that `result.score.min` and `max` tell or, where no answer tells one,
    /// the one that the answers reach from end to end.
    pub nps: Option<f64>,
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
    started: Registrations,
    completed: Registrations,
}

#[derive(Deserialize)]
struct Registrations {
    registrations: Number,
}

/// Counts a survey's starts, completions and answers with timestamps from `from_ms` (inclusive) to `to_ms` (exclusive),
/// milliseconds; without `tenant` of every one. `survey_id` is the survey's whole IRI or its last segment.
///
/// # Errors
/// Those of the store.
pub async fn survey(
    statements: &dyn Statements,
    tenant: Option<&str>,
    survey_id: &str,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
) -> Result<SurveyAnswers, StatementsError> {
    let survey = survey_id.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut filter = Filter {
        tenant: tenant.map(str::to_owned),
        survey: Some(survey.to_owned()),
        from_ms,
        to_ms,
        ..Filter::default()
    };
    let answer = ask::<Aggregations>(statements, &filter, QUESTION).await?.aggregations;
    filter.event_types = vec!["survey.answered".to_owned()];
    let mut last_answers = LastAnswers::default();
    let mut after = None;
    loop {
        let page = statements.search(&filter, PAGE, after.as_deref()).await?;
        page.statements.into_iter().for_each(|found| last_answers.take(found.document));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (started, completed) = (answer.started.registrations.count(), answer.completed.registrations.count());
    Ok(SurveyAnswers {
        started,
        completed,
        completion_rate: (started > 0).then(|| (completed as f64 / started as f64).min(1.0)),
        questions: last_answers.fold(),
    })
}

/// What was answered last, by question and registration.
#[derive(Default)]
struct LastAnswers(BTreeMap<String, BTreeMap<String, GivenAnswer>>);

struct GivenAnswer {
    source: Position,
    number: Option<f64>,
    /// The ends of the scale, as the answer tells them.
    scale: Option<(f64, f64)>,
    response: String,
}

impl LastAnswers {
    fn take(&mut self, document: StatementDocument) {
        let fields = document.fields;
        let Some(question) = fields.question else { return };
        let registration = fields.registration.unwrap_or_else(|| document.id.to_string());
        let number = fields.score_raw.or_else(|| fields.response.as_ref()?.trim().parse().ok());
        let number = number.filter(|number| number.is_finite());
        let response = fields.response.or_else(|| number.map(|number| number.to_string())).unwrap_or_default();
        let scale = scale_of(&document.raw);
        let answer = GivenAnswer { source: document.source, number, scale, response };
        let given = self.0.entry(question).or_default();
        if given.get(&registration).is_none_or(|earlier| earlier.source < answer.source) {
            given.insert(registration, answer);
        }
    }

    fn fold(self) -> Vec<QuestionAnswers> {
        let fold_one = |(question, given): (String, BTreeMap<String, GivenAnswer>)| {
            let numbers: Vec<f64> = given.values().filter_map(|answer| answer.number).collect();
            let scales: Vec<(f64, f64)> = given.values().filter_map(|answer| answer.scale).collect();
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
                nps: (numbers.len() == given.len()).then(|| net_promoter_score(&numbers, &scales)).flatten(),
                distribution,
            }
        };
        self.0.into_iter().map(fold_one).collect()
    }
}

/// `result.score.min` and `max`, where a statement has both.
fn scale_of(statement: &[u8]) -> Option<(f64, f64)> {
    #[derive(Deserialize)]
    struct Scored {
        result: Outcome,
    }
    #[derive(Deserialize)]
    struct Outcome {
        score: Scale,
    }
    #[derive(Deserialize)]
    struct Scale {
        min: f64,
        max: f64,
    }
    let Scale { min, max } = serde_json::from_slice::<Scored>(statement).ok()?.result.score;
    Some((min, max))
}

fn net_promoter_score(numbers: &[f64], scales: &[(f64, f64)]) -> Option<f64> {
    let fits = |number: &f64| number.fract() == 0.0 && (0.0..=10.0).contains(number);
    let is_0_to_10 = match scales {
        [] => numbers.contains(&0.0) && numbers.contains(&10.0),
        told => told.iter().all(|scale| *scale == (0.0, 10.0)),
    };
    if numbers.is_empty() || !is_0_to_10 || !numbers.iter().all(fits) {
        return None;
    }
    let promoters = numbers.iter().filter(|number| **number >= 9.0).count() as f64;
    let detractors = numbers.iter().filter(|number| **number <= 6.0).count() as f64;
    Some(100.0 * (promoters - detractors) / numbers.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &[(f64, f64)] = &[(0.0, 10.0)];

    #[test]
    fn a_net_promoter_score_is_told_of_whole_numbers_from_0_to_10_only() {
        assert_eq!(net_promoter_score(&[10.0, 9.0, 8.0, 6.0], TOLD), Some(25.0));
        assert_eq!(net_promoter_score(&[0.0], TOLD), Some(-100.0));
        for odd in [vec![], vec![9.5], vec![11.0], vec![-1.0], vec![10.0, f64::NAN]] {
            assert_eq!(net_promoter_score(&odd, TOLD), None, "{odd:?}");
        }
    }

    #[test]
    fn a_scale_that_is_not_0_to_10_has_no_net_promoter_score() {
        let stars = [1.0, 3.0, 5.0];
        assert_eq!(net_promoter_score(&stars, &[(1.0, 5.0)]), None);
        assert_eq!(
            net_promoter_score(&stars, &[]),
            None,
            "nobody tells the scale, and nothing says that it goes to 10"
        );
        assert_eq!(net_promoter_score(&[9.0, 10.0], &[(1.0, 10.0)]), None);
        assert_eq!(net_promoter_score(&[0.0, 10.0], &[]), Some(0.0), "the answers themselves reach from 0 to 10");
        assert_eq!(net_promoter_score(&[9.0], &[(0.0, 10.0), (1.0, 10.0)]), None, "they do not agree");
    }

    #[test]
    fn the_scale_is_read_from_the_statement() {
        let statement = br#"{"result": {"response": "4", "score": {"raw": 4, "min": 1, "max": 5}}}"#;
        assert_eq!(scale_of(statement), Some((1.0, 5.0)));
        for without in [&br#"{"result": {"score": {"raw": 4}}}"#[..], b"{}", b"no json"] {
            assert_eq!(scale_of(without), None);
        }
    }
}
