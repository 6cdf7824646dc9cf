//! The questions a learning team asks: one file each, with the aggregations it runs as JSON beside it.
//!
//! A question asks the statement store and folds the answer purely. Voided statements never count. Where there is no data
//! a number is `None`, never NaN. Times are UTC, in RFC 3339.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::statements::{Filter, Statements, StatementsError};
use lyceum_xapi::utc_time::{Day, UtcTime};

pub mod learner;
pub mod learner_id;
pub mod learning;
pub mod nps;
pub mod platform;
pub mod survey;
pub mod tenants;

/// A verb and how many statements use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerbCount {
    /// The verb's IRI.
    pub verb: String,
    /// How many statements.
    pub count: u64,
}

/// The store's answer to the aggregations of one question.
#[derive(Deserialize)]
struct Answer<T> {
    hits: u64,
    aggregations: T,
}

#[derive(Deserialize)]
struct Terms {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    key: String,
    doc_count: u64,
}

/// `cardinality`, `min` or `max`.
#[derive(Deserialize)]
struct Number {
    value: Option<f64>,
}

/// `filter`.
#[derive(Deserialize)]
struct Filtered {
    doc_count: u64,
}

/// Different identified actors.
#[derive(Deserialize)]
struct People {
    /// Those with an address or its SHA-1, each by the latter.
    by_address: Number,
    others: Others,
    anonymous: Filtered,
}

#[derive(Deserialize)]
struct Others {
    learners: Number,
}

impl People {
    fn count(&self) -> u64 {
        // The empty actor is a value like any other to the store.
        let nobody = u64::from(self.anonymous.doc_count > 0);
        self.by_address.count() + self.others.learners.count().saturating_sub(nobody)
    }
}

impl Terms {
    fn into_verbs(self) -> Vec<VerbCount> {
        self.buckets.into_iter().map(|bucket| VerbCount { verb: bucket.key, count: bucket.doc_count }).collect()
    }
}

impl Number {
    fn count(&self) -> u64 {
        self.value.unwrap_or_default() as u64
    }

    /// A number of milliseconds since 1970 UTC as an instant.
    fn instant(&self) -> Option<UtcTime> {
        self.value.map(|ms| UtcTime::from_millis(ms as i64))
    }
}

impl Bucket {
    /// Of a bucket of days.
    fn day(&self) -> Result<Day, StatementsError> {
        self.key.parse().map_err(|error| unexpected(format!("the day {:?} {error}", self.key)))
    }
}

fn unexpected(error: impl fmt::Display) -> StatementsError {
    StatementsError::Refused(format!("the store's answer has not the shape of Elasticsearch's: {error}"))
}

/// Runs a question's aggregations.
async fn ask<T: DeserializeOwned>(
    statements: &dyn Statements,
    filter: &Filter,
    question: &str,
) -> Result<Answer<T>, StatementsError> {
    let aggregations = serde_json::from_str(question).map_err(unexpected)?;
    serde_json::from_value(statements.aggregate(filter, &aggregations).await?).map_err(unexpected)
}
