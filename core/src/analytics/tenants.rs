//! Whose documents are there, statements or others?

use serde::Deserialize;

use super::{Terms, ask};
use crate::ports::statements::{Filter, Statements, StatementsError};

const QUESTION: &str = include_str!("tenants.json");

#[derive(Deserialize)]
struct Aggregations {
    tenants: Terms,
}

/// The tenants that have documents, by name; of more than a thousand those with the most.
///
/// # Errors
/// Those of the store.
pub async fn tenants(statements: &dyn Statements) -> Result<Vec<String>, StatementsError> {
    let answer = ask::<Aggregations>(statements, &Filter::default(), QUESTION).await?.aggregations;
    let mut tenants: Vec<String> = answer.tenants.buckets.into_iter().map(|bucket| bucket.key).collect();
    tenants.sort();
    Ok(tenants)
}
