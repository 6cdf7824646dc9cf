//! What an on-failure destination gets: the record as it was, and headers that say why.

use jiff::Timestamp;
use lyceum_core::record::{Header, NewRecord};

use crate::config::MappingConfig;
use crate::delivery::Item;

/// Why a record was given up; the value of the header `lambda-condition`. The first two names are AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `MaximumRetryAttempts` is spent.
    RetryAttemptsExhausted,
    /// It is older than `MaximumRecordAgeInSeconds`.
    RecordAgeExceeded,
    /// It alone makes more JSON than an invocation may have.
    PayloadTooLarge,
}

impl Condition {
    /// The header's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
            Self::PayloadTooLarge => "PayloadTooLarge",
        }
    }
}

/// The original, to be partitioned by its key as before, without context.
pub(crate) fn original_of(item: &Item) -> NewRecord {
    let record = &item.record;
    NewRecord {
        partition: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        timestamp_ms: None,
    }
}

/// The original with its context. Where it bears such headers already, ours come last and so are the ones that count.
pub(crate) fn letter_of(
    item: &Item,
    condition: Condition,
    error: &str,
    config: &MappingConfig,
    now: Timestamp,
) -> NewRecord {
    let mut letter = original_of(item);
    // An error may be as long as a function likes; a header should not.
    let error: String = error.chars().take(1024).collect();
    letter.headers.extend([
        Header::new("lambda-condition", condition.name()),
        Header::new("lambda-source", item.record.position.to_string()),
        Header::new("lambda-source-timestamp", item.record.timestamp_ms.to_string()),
        Header::new("lambda-mapping", config.name.clone()),
        Header::new("lambda-function", config.function.clone()),
        Header::new("lambda-invoke-count", item.invocations.to_string()),
        Header::new("lambda-error", error),
        Header::new("lambda-failed-at", now.to_string()),
    ]);
    letter
}
