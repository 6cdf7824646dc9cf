//! What was perhaps meant by a name that nothing has.

use lyceum_core::ports::statements::{Filter, QueryDocuments, StatementsError};
use serde_json::json;
use strsim::sorensen_dice;

/// So many names are looked through, those with the most statements.
const LOOKED_THROUGH: usize = 10_000;
/// So many are told.
const TOLD: usize = 5;
/// How alike two names must be, of 1.
const ALIKE: f64 = 0.75;

/// Names in a field of a tenant's statements (of every one without), the most alike first; where none is alike, those with the
/// most statements.
///
/// # Errors
/// Those of the store.
pub(crate) async fn near<S: QueryDocuments + ?Sized>(
    statements: &S,
    tenant: Option<&str>,
    field: &str,
    name: &str,
) -> Result<Vec<String>, StatementsError> {
    let filter = Filter { tenant: tenant.map(str::to_owned), ..Filter::default() }.of_statements();
    let question = json!({"names": {"terms": {"field": field, "size": LOOKED_THROUGH}}});
    let answer = statements.aggregate(&filter, &question).await?;
    let buckets = answer["aggregations"]["names"]["buckets"].as_array().into_iter().flatten();
    let known = buckets.filter_map(|bucket| bucket["key"].as_str()).filter(|key| !key.is_empty()).map(str::to_owned);
    Ok(nearest(name, known.collect()))
}

fn nearest(name: &str, mut known: Vec<String>) -> Vec<String> {
    let name = end_of(name).to_lowercase();
    let likeness = |other: &String| {
        let other = end_of(other).to_lowercase();
        let holds = !name.is_empty() && (other.contains(&name) || (!other.is_empty() && name.contains(&other)));
        if holds { 1.0 } else { sorensen_dice(&name, &other) }
    };
    let mut alike: Vec<(f64, String)> =
        known.iter().map(|other| (likeness(other), other.clone())).filter(|(likeness, _)| *likeness >= ALIKE).collect();
    if alike.is_empty() {
        known.truncate(TOLD);
        return known;
    }
    alike.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    alike.truncate(TOLD);
    alike.into_iter().map(|(_, name)| name).collect()
}

/// What tells one name from another: of an IRI the last segment, of an identifier what stands behind its kind.
fn end_of(name: &str) -> &str {
    name.trim_end_matches('/').rsplit(['/', '|', ':']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_perhaps_meant_comes_first_and_else_what_is_there_most() {
        let known =
            || ["course-feedback", "https://lms.example/survey/pulse-2026", "onboarding"].map(str::to_owned).to_vec();
        assert_eq!(nearest("course-fedback", known()), ["course-feedback"]);
        assert_eq!(nearest("pulse", known()), ["https://lms.example/survey/pulse-2026"]);
        assert_eq!(nearest("https://other.example/survey/onbording", known()), ["onboarding"]);
        assert_eq!(nearest("zzz", known()), known());
        assert_eq!(nearest("", known()), known());
        let people =
            vec!["mbox:mailto:ada.okafor@academy.example".to_owned(), "account:https://a.example|42".to_owned()];
        assert_eq!(nearest("ada.okafr@academy.example", people.clone()), [people[0].clone()]);
    }
}
