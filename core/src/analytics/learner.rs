//! What did a learner do, and how steadily?

use serde::{Deserialize, Serialize};

use super::learner_id::LearnerId;
use super::{Bucket, Filtered, Number, Terms, VerbCount, ask};
use crate::ports::statements::{Filter, Statements, StatementsError};
use lyceum_xapi::utc_time::{Day, UtcTime};

const QUESTION: &str = include_str!("learner.json");

/// A learner in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearnerActivity {
    /// The canonical identifier that was asked for.
    pub learner: String,
    /// All statements whose actor the learner is, under that identifier or under the SHA-1 of the same address.
    pub statements: u64,
    /// Statements with the verb `http://adlnet.gov/expapi/verbs/completed`.
    pub completions: u64,
    /// The oldest timestamp.
    pub first_seen: Option<UtcTime>,
    /// The newest timestamp.
    pub last_seen: Option<UtcTime>,
    /// UTC days with at least one statement.
    pub active_days: u64,
    /// Consecutive active days up to the last active one.
    pub streak_days: u64,
    /// The most consecutive active days.
    pub longest_streak_days: u64,
    /// Most used first, then by IRI; the first 1,000.
    pub verbs: Vec<VerbCount>,
}

#[derive(Deserialize)]
struct Aggregations {
    verbs: Terms,
    days: Terms,
    completions: Filtered,
    first: Number,
    last: Number,
}

/// Counts a learner's statements with timestamps from `from_ms` (inclusive) to `to_ms` (exclusive), milliseconds.
///
/// # Errors
/// `Refused` where `who` is no identifier that [`LearnerId::parse`] reads; else those of the store.
pub async fn learner(
    statements: &dyn Statements,
    tenant: Option<&str>,
    who: &str,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
) -> Result<LearnerActivity, StatementsError> {
    let who = LearnerId::parse(who).map_err(|error| StatementsError::Refused(error.to_string()))?;
    let filter = Filter {
        tenant: tenant.map(str::to_owned),
        from_ms,
        to_ms,
        actors: vec![who.canonical().to_owned()],
        actor_sha1: who.sha1(),
        ..Filter::default()
    }
    .of_statements();
    let answer = ask::<Aggregations>(statements, &filter, QUESTION).await?;
    fold(&who, answer.hits, answer.aggregations)
}

fn fold(who: &LearnerId, statements: u64, answer: Aggregations) -> Result<LearnerActivity, StatementsError> {
    let mut days = answer.days.buckets.iter().map(Bucket::day).collect::<Result<Vec<_>, _>>()?;
    days.sort_unstable();
    let (streak_days, longest_streak_days) = streaks(&days);
    Ok(LearnerActivity {
        learner: who.canonical().to_owned(),
        statements,
        completions: answer.completions.doc_count,
        first_seen: answer.first.instant(),
        last_seen: answer.last.instant(),
        active_days: days.len() as u64,
        streak_days,
        longest_streak_days,
        verbs: answer.verbs.into_verbs(),
    })
}

/// The last and the longest run of consecutive days; `days` are in order and each is there once.
fn streaks(days: &[Day]) -> (u64, u64) {
    let follows = |pair: &[Day]| pair[0].plus(1) == pair[1];
    days.windows(2).fold((u64::from(!days.is_empty()), u64::from(!days.is_empty())), |(last, longest), pair| {
        let last = if follows(pair) { last + 1 } else { 1 };
        (last, longest.max(last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_runs_over_the_end_of_a_month_and_stops_at_a_gap() {
        let streaks_of = |days: &[&str]| {
            let days: Vec<Day> = days.iter().map(|day| day.parse().unwrap()).collect();
            streaks(&days)
        };
        assert_eq!(streaks_of(&[]), (0, 0));
        assert_eq!(streaks_of(&["2024-02-29"]), (1, 1));
        assert_eq!(streaks_of(&["2024-02-28", "2024-02-29", "2024-03-01"]), (3, 3));
        assert_eq!(streaks_of(&["2023-12-30", "2023-12-31", "2024-01-01", "2024-01-03", "2024-01-04"]), (2, 3));
        assert_eq!(streaks_of(&["2024-01-01", "2024-01-02", "2024-01-09"]), (1, 2));
        assert_eq!(streaks_of(&["9999-12-30", "9999-12-31", "+010000-01-01"]), (3, 3));
    }
}
