//! What happens on the platform as a whole?

use serde::{Deserialize, Serialize};

use super::{Number, People, Terms, VerbCount, ask};
use crate::ports::statements::{Filter, Statements, StatementsError};
use lyceum_xapi::utc_time::UtcTime;

const QUESTION: &str = include_str!("platform.json");
const OTHERS: &str = include_str!("others.json");

/// The platform in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlatformOverview {
    /// All statements, voiding ones too.
    pub total: u64,
    /// Most used first, then by IRI; the first 1,000.
    pub verbs: Vec<VerbCount>,
    /// Different identified actors. An e-mail address and its SHA-1 are one person; under two other identifiers one counts
    /// twice; anonymous groups do not count. A store may estimate large numbers (Elasticsearch beyond some thousands, the
    /// embedded one beyond 65,000).
    pub active_learners: u64,
    /// Statements a UTC day of their timestamp, oldest first; days without any are left out.
    pub by_day: Vec<DayCount>,
    /// What these statements are, most frequent first, then by name.
    pub event_types: Vec<EventTypeCount>,
    /// What is stored beside statements, the events of families of other wire forms; likewise. Nothing above counts them.
    pub other_documents: Vec<EventTypeCount>,
    /// The oldest timestamp.
    pub first: Option<UtcTime>,
    /// The newest timestamp.
    pub last: Option<UtcTime>,
}

/// A day and how many statements it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayCount {
    /// `2021-11-29`; beyond 9999 `+010000-01-01`.
    pub day: String,
    /// How many statements.
    pub count: u64,
}

/// An event type and how many documents it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventTypeCount {
    /// The catalog's name.
    pub event_type: String,
    /// How many documents.
    pub count: u64,
}

#[derive(Deserialize)]
struct Aggregations {
    verbs: Terms,
    event_types: Terms,
    days: Terms,
    #[serde(flatten)]
    people: People,
    first: Number,
    last: Number,
}

#[derive(Deserialize)]
struct Others {
    event_types: Terms,
}

/// Counts what the filter leaves.
///
/// # Errors
/// Those of the store.
pub async fn overview(statements: &dyn Statements, filter: &Filter) -> Result<PlatformOverview, StatementsError> {
    let answer = ask::<Aggregations>(statements, &filter.clone().of_statements(), QUESTION).await?;
    let others = ask::<Others>(statements, &filter.clone().of_others(), OTHERS).await?;
    fold(answer.hits, answer.aggregations, others.aggregations)
}

fn fold(total: u64, answer: Aggregations, others: Others) -> Result<PlatformOverview, StatementsError> {
    let days = answer.days.buckets.iter().map(|bucket| Ok((bucket.day()?, bucket.doc_count)));
    let mut by_day = days.collect::<Result<Vec<_>, StatementsError>>()?;
    by_day.sort_unstable();
    let by_day = by_day.into_iter().map(|(day, count)| DayCount { day: day.to_string(), count });
    let counted = |types: Terms| {
        let types = types.buckets.into_iter();
        types.map(|bucket| EventTypeCount { event_type: bucket.key, count: bucket.doc_count }).collect()
    };
    Ok(PlatformOverview {
        total,
        verbs: answer.verbs.into_verbs(),
        active_learners: answer.people.count(),
        by_day: by_day.collect(),
        event_types: counted(answer.event_types),
        other_documents: counted(others.event_types),
        first: answer.first.instant(),
        last: answer.last.instant(),
    })
}
