//! What an on-failure destination gets: what AWS Lambda writes there, and headers by which a person finds their way.

use lyceum_core::lambda::on_failure::{GivenUp, condition, write};
use lyceum_core::record::{Header, NewRecord};
use lyceum_core::xapi::utc_time::UtcTime;

use crate::config::MappingConfig;
use crate::delivery::Item;

/// Why a record was given up. The names are AWS's.
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
    /// `requestContext.condition`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => condition::RETRY_ATTEMPTS_EXHAUSTED,
            Self::RecordAgeExceeded => condition::RECORD_AGE_EXCEEDED,
            Self::PayloadTooLarge => condition::MAXIMUM_PAYLOAD_SIZE_EXCEEDED,
        }
    }
}

/// What the destination gets for a record, partitioned by the record's key as before; without its payload it tells where
/// the record stands.
pub(crate) fn letter_of(
    item: &Item,
    condition: Condition,
    error: &str,
    config: &MappingConfig,
    now: UtcTime,
    with_payload: bool,
) -> NewRecord {
    let record = &item.record;
    let position = &record.position;
    let given_up = GivenUp {
        condition: condition.name(),
        function: &config.function,
        request_id: format!("{}/{position}", config.name),
        invocations: item.invocations,
        // What was never invoked has no answer; and AWS tells a function's error by its kind alone.
        error: (item.invocations > 0).then_some("Unhandled"),
        at_ms: now.as_millis(),
        source: &config.source,
    };
    // An error may be as long as a function likes; a header should not.
    let error: String = error.chars().take(1024).collect();
    let headers = vec![
        Header::new("lambda-condition", condition.name()),
        Header::new("lambda-source", position.to_string()),
        Header::new("lambda-source-timestamp", record.timestamp_ms.to_string()),
        Header::new("lambda-mapping", config.name.clone()),
        Header::new("lambda-function", config.function.clone()),
        Header::new("lambda-invoke-count", item.invocations.to_string()),
        Header::new("lambda-error", error),
        Header::new("lambda-failed-at", now.to_string()),
    ];
    let value = Some(write(record, &given_up, with_payload));
    NewRecord { partition: None, key: record.key.clone(), value, headers, timestamp_ms: None }
}
