//! How is learning going in a time: how many people, what they completed, what they think of it?

use serde::{Deserialize, Serialize};

use super::nps::Promotion;
use super::survey::answers_of;
use super::{Bucket, Filtered, People, Terms, ask, unexpected};
use crate::ports::statements::{Filter, Statements, StatementsError};

const QUESTION: &str = include_str!("learning.json");

/// A time of learning in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Learning {
    /// Different identified actors, as [`active_learners`](super::platform::PlatformOverview::active_learners) counts them.
    pub people: u64,
    /// Statements.
    pub statements: u64,
    /// Statements with the verb `http://adlnet.gov/expapi/verbs/completed` that are about no survey.
    pub completions: u64,
    /// Attempts that started one of [`surveys`](Self::surveys).
    pub surveys_started: u64,
    /// Attempts that completed one of them.
    pub surveys_completed: u64,
    /// `surveys_completed` of `surveys_started`, from 0 to 1; `None` where nobody started.
    pub response_rate: Option<f64>,
    /// The net promoter score over every question of these surveys that has one; `None` where none has.
    pub nps: Option<f64>,
    /// What that score is made of.
    pub promotion: Option<Promotion>,
    /// UTC days of the statements' timestamps, oldest first; days without any are left out.
    pub by_day: Vec<LearningDay>,
    /// By the activity that a statement's activity belongs to (`contextActivities.parent`: a course, a department), the ones with the
    /// most statements.
    pub belongs_to: Vec<LearningPart>,
    /// The surveys with the most statements.
    pub surveys: Vec<LearningSurvey>,
}

/// A day of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearningDay {
    /// `2021-11-29`; beyond 9999 `+010000-01-01`.
    pub day: String,
    /// As in [`Learning`].
    pub people: u64,
    /// As in [`Learning`].
    pub statements: u64,
    /// As in [`Learning`].
    pub completions: u64,
}

/// A part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearningPart {
    /// The IRI of the parent activity.
    pub activity: String,
    /// As in [`Learning`].
    pub people: u64,
    /// As in [`Learning`].
    pub statements: u64,
    /// As in [`Learning`].
    pub completions: u64,
}

/// A survey in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LearningSurvey {
    /// As [`SurveyAnswers::survey`](super::survey::SurveyAnswers::survey).
    pub survey: String,
    /// Attempts that started it.
    pub started: u64,
    /// Attempts that completed it.
    pub completed: u64,
    /// As in [`Learning`], of this survey's questions.
    pub nps: Option<f64>,
}

#[derive(Deserialize)]
struct Aggregations {
    days: Parts,
    belongs_to: Parts,
    surveys: Terms,
    #[serde(flatten)]
    people: People,
    completed: Completed,
}

#[derive(Deserialize)]
struct Parts {
    buckets: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    key: String,
    doc_count: u64,
    #[serde(flatten)]
    people: People,
    completed: Completed,
}

#[derive(Deserialize)]
struct Completed {
    of_courses: Filtered,
}

/// Counts what the filter leaves. The answers of at most ten surveys are read one by one.
///
/// # Errors
/// Those of the store, and of [`survey`](super::survey::survey) where there are too many answers for one question.
pub async fn learning(statements: &dyn Statements, filter: &Filter) -> Result<Learning, StatementsError> {
    let filter = &filter.clone().of_statements();
    let answer = ask::<Aggregations>(statements, filter, QUESTION).await?;
    let mut surveys = Vec::new();
    let mut promotion = Promotion::default();
    for Bucket { key, .. } in answer.aggregations.surveys.buckets {
        let of_survey = Filter { survey: Some(key), ..filter.clone() };
        let answers = answers_of(statements, of_survey, None).await?;
        let of_questions = answers.questions.iter().filter_map(|question| question.promotion);
        let of_questions = of_questions.fold(Promotion::default(), Promotion::plus);
        promotion = promotion.plus(of_questions);
        surveys.push(LearningSurvey {
            survey: answers.survey,
            started: answers.started,
            completed: answers.completed,
            nps: of_questions.score(),
        });
    }
    fold(
        answer.hits,
        answer.aggregations.days,
        answer.aggregations.belongs_to,
        Totals {
            people: answer.aggregations.people.count(),
            completions: answer.aggregations.completed.of_courses.doc_count,
            surveys,
            promotion,
        },
    )
}

struct Totals {
    people: u64,
    completions: u64,
    surveys: Vec<LearningSurvey>,
    promotion: Promotion,
}

fn fold(statements: u64, days: Parts, belongs_to: Parts, totals: Totals) -> Result<Learning, StatementsError> {
    let Totals { people, completions, surveys, promotion } = totals;
    let mut by_day = days
        .buckets
        .into_iter()
        .map(|part| {
            let day = part.key.parse().map_err(|error| unexpected(format!("the day {:?} {error}", part.key)))?;
            Ok((day, part))
        })
        .collect::<Result<Vec<(lyceum_xapi::utc_time::Day, Part)>, StatementsError>>()?;
    by_day.sort_unstable_by_key(|(day, _)| *day);
    let by_day = by_day.into_iter().map(|(day, part)| LearningDay {
        day: day.to_string(),
        people: part.people.count(),
        statements: part.doc_count,
        completions: part.completed.of_courses.doc_count,
    });
    let belongs_to = belongs_to.buckets.into_iter().map(|part| LearningPart {
        people: part.people.count(),
        statements: part.doc_count,
        completions: part.completed.of_courses.doc_count,
        activity: part.key,
    });
    let surveys_started = surveys.iter().map(|survey| survey.started).sum();
    let surveys_completed = surveys.iter().map(|survey| survey.completed).sum();
    Ok(Learning {
        people,
        statements,
        completions,
        surveys_started,
        surveys_completed,
        response_rate: (surveys_started > 0).then(|| (surveys_completed as f64 / surveys_started as f64).min(1.0)),
        nps: promotion.score(),
        promotion: promotion.score().is_some().then_some(promotion),
        by_day: by_day.collect(),
        belongs_to: belongs_to.collect(),
        surveys,
    })
}
