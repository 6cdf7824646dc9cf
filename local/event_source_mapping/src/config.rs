//! A mapping's configuration: AWS's properties under their own meaning, and the few that only a local one needs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lyceum_core::retry::Backoff;
use lyceum_lambda_event::event::EventSource;

use crate::filter::FilterCriteria;

/// Lambda's limit for the payload of an invocation, 6 MB, as AWS counts it: the JSON, not the records' bytes.
pub const PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024;

/// What AWS sets where an on-failure destination meets endless retries.
///
/// Source: AWS Lambda developer guide, "Using a Kafka topic as an on-failure destination".
pub const RETRY_LIMIT_WITH_DESTINATION: u32 = 10;

/// A mapping's settings. [`MappingConfig::new`] has AWS's defaults; [`MappingConfig::validate`] AWS's bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingConfig {
    /// Names the mapping in its status, in the log and in on-failure records.
    pub name: String,
    /// `Topics`: one topic a mapping.
    pub topic: String,
    /// `ConsumerGroupId`: under which the offsets are committed.
    pub group: String,
    /// The function's name, for the status and for on-failure records.
    pub function: String,
    /// What the event says of its source.
    pub source: EventSource,
    /// `BatchSize`: at most so many records an invocation, 1 to 10,000.
    pub batch_size: usize,
    /// At most so many bytes of JSON an invocation, up to [`PAYLOAD_LIMIT_BYTES`].
    pub payload_limit_bytes: usize,
    /// `MaximumBatchingWindowInSeconds`: how long a batch that is not full waits for more, up to 300 s.
    pub batching_window: Duration,
    /// `StartingPosition`: where a group starts that has committed nothing for this topic.
    pub starting_position: StartingPosition,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`: the function names the records that failed.
    pub report_batch_item_failures: bool,
    /// Which records are redelivered after a partial answer.
    pub redelivery: Redelivery,
    /// `BisectBatchOnFunctionError`: a batch that failed as a whole is redelivered in two halves. Halving spends no attempt.
    pub bisect_batch_on_function_error: bool,
    /// `MaximumRetryAttempts`, not counting the first, 0 to 10,000; `None` (AWS's -1) never gives up, but see
    /// [`RETRY_LIMIT_WITH_DESTINATION`].
    pub maximum_retry_attempts: Option<u32>,
    /// `MaximumRecordAgeInSeconds`, 60 s to 7 days, by the record's timestamp; `None` (AWS's -1) is no limit.
    pub maximum_record_age: Option<Duration>,
    /// `DestinationConfig.OnFailure`: who gets what is given up. `None` discards it, loudly.
    pub on_failure: Option<Destination>,
    /// `FilterCriteria`: which records the function gets at all.
    pub filter: Option<FilterCriteria>,
    /// Whether one batch may hold records of several partitions. AWS's batches do. Here the default is a batch and an
    /// invocation in flight per partition, so that a failing record holds up its own partition only.
    pub mix_partitions: bool,
    /// The function's time limit, as Lambda has one: above 0, up to 900 s.
    pub function_timeout: Duration,
    /// How long to wait before what failed is tried again.
    pub backoff: Backoff,
    /// How long a stop waits for the invocation in flight before it abandons it.
    pub shutdown_grace: Duration,
}

impl MappingConfig {
    /// AWS's defaults: 100 records, 6 MB, half a second's window, everything retried for ever, nothing filtered.
    /// It starts at the oldest record, and the function bears the mapping's name.
    pub fn new(name: impl Into<String>, topic: impl Into<String>, group: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            function: name.clone(),
            name,
            topic: topic.into(),
            group: group.into(),
            source: EventSource { bootstrap_servers: "localhost:9092".into(), ..EventSource::default() },
            batch_size: 100,
            payload_limit_bytes: PAYLOAD_LIMIT_BYTES,
            batching_window: Duration::from_millis(500),
            starting_position: StartingPosition::TrimHorizon,
            report_batch_item_failures: false,
            redelivery: Redelivery::OnlyFailed,
            bisect_batch_on_function_error: false,
            maximum_retry_attempts: None,
            maximum_record_age: None,
            on_failure: None,
            filter: None,
            mix_partitions: false,
            function_timeout: Duration::from_secs(900),
            backoff: Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(60) },
            shutdown_grace: Duration::from_secs(10),
        }
    }

    /// How many retries a record has: [`RETRY_LIMIT_WITH_DESTINATION`] where AWS caps endless ones.
    pub fn retry_limit(&self) -> Option<u32> {
        self.maximum_retry_attempts.or(self.on_failure.as_ref().map(|_| RETRY_LIMIT_WITH_DESTINATION))
    }

    /// Holds the settings against AWS's bounds.
    ///
    /// # Errors
    /// Every wrong value together.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, what: fmt::Arguments<'_>| {
            if !holds {
                wrong.push(what.to_string());
            }
        };
        for (field, value) in [("name", &self.name), ("group", &self.group), ("function", &self.function)] {
            require(!value.is_empty(), format_args!("{field} is empty"));
        }
        require(
            is_topic_name(&self.topic),
            format_args!("topic {:?} is no topic's name: 1 to 249 of [a-zA-Z0-9._-]", self.topic),
        );
        require(
            (1..=10_000).contains(&self.batch_size),
            format_args!("batch_size is {}: BatchSize goes from 1 to 10,000", self.batch_size),
        );
        require(
            (1..=PAYLOAD_LIMIT_BYTES).contains(&self.payload_limit_bytes),
            format_args!(
                "payload_limit_bytes is {}: Lambda takes up to {PAYLOAD_LIMIT_BYTES}",
                self.payload_limit_bytes
            ),
        );
        require(
            self.batching_window <= Duration::from_secs(300),
            format_args!(
                "batching_window is {:?}: MaximumBatchingWindowInSeconds goes from 0 to 300",
                self.batching_window
            ),
        );
        if let Some(attempts) = self.maximum_retry_attempts {
            require(
                attempts <= 10_000,
                format_args!(
                    "maximum_retry_attempts is {attempts}: MaximumRetryAttempts goes from 0 to 10,000, or None for endless"
                ),
            );
        }
        if let Some(age) = self.maximum_record_age {
            require(
                (Duration::from_secs(60)..=Duration::from_secs(604_800)).contains(&age),
                format_args!(
                    "maximum_record_age is {age:?}: MaximumRecordAgeInSeconds goes from 60 to 604,800, or None for no limit"
                ),
            );
        }
        if let Some(Destination::Topic(topic)) = &self.on_failure {
            require(is_topic_name(topic), format_args!("on_failure topic {topic:?} is no topic's name"));
            require(
                *topic != self.topic,
                format_args!("on_failure is the topic {topic:?} itself: a failing record would go round for ever"),
            );
        }
        require(
            !self.function_timeout.is_zero() && self.function_timeout <= Duration::from_secs(900),
            format_args!(
                "function_timeout is {:?}: Lambda's time limit is above 0 and up to 900 s",
                self.function_timeout
            ),
        );
        require(
            self.backoff.base <= self.backoff.cap,
            format_args!("backoff starts at {:?}, above its cap of {:?}", self.backoff.base, self.backoff.cap),
        );
        if wrong.is_empty() { Ok(()) } else { Err(InvalidConfig { name: self.name.clone(), wrong }) }
    }
}

/// Kafka's rule (`org.apache.kafka.common.internals.Topic`).
fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Why a mapping cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    /// The mapping's name.
    pub name: String,
    /// Every wrong value, a sentence each.
    pub wrong: Vec<String>,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event source mapping {:?} cannot start:", self.name)?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n- {wrong}"))
    }
}

impl std::error::Error for InvalidConfig {}

/// Where a group starts that has committed nothing for the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the oldest record.
    #[default]
    TrimHorizon,
    /// Behind the newest record.
    Latest,
    /// At the first record at or after that time, in milliseconds since 1970; behind the newest where there is none.
    AtTimestamp(i64),
}

/// Which records are redelivered after a partial answer. AWS does not say whether records that succeeded are redelivered when an
/// earlier one of their partition failed; a function has to be right in both cases, so both can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redelivery {
    /// The failed ones alone.
    #[default]
    OnlyFailed,
    /// In each partition everything from the lowest failed offset on, as in Lambda's stream sources. The records that
    /// succeeded spend no attempt by that.
    FromLowestFailed,
}

/// Where records go that are given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `kafka://<topic>`: a topic of the same event log, one record for each.
    Topic(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Topic(topic) = self;
        write!(f, "kafka://{topic}")
    }
}

/// Why a text is no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no destination that exists locally: write kafka://<topic>")]
pub struct InvalidDestination(pub String);

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("kafka://") {
            Some(topic) if is_topic_name(topic) => Ok(Self::Topic(topic.to_owned())),
            _ => Err(InvalidDestination(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awss_defaults_are_valid() {
        assert_eq!(MappingConfig::new("m", "t", "g").validate(), Ok(()));
    }

    #[test]
    fn every_wrong_value_is_reported_together() {
        let config = MappingConfig {
            batch_size: 10_001,
            payload_limit_bytes: PAYLOAD_LIMIT_BYTES + 1,
            batching_window: Duration::from_secs(301),
            maximum_retry_attempts: Some(10_001),
            maximum_record_age: Some(Duration::from_secs(59)),
            on_failure: Some(Destination::Topic("a b".into())),
            function_timeout: Duration::ZERO,
            backoff: Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(1) },
            ..MappingConfig::new("", "..", "")
        };
        let invalid = config.validate().unwrap_err();
        let words = [
            "name",
            "group",
            "function",
            "topic \"..\"",
            "batch_size",
            "payload_limit_bytes",
            "batching_window",
            "maximum_retry_attempts",
            "maximum_record_age",
            "on_failure",
            "function_timeout",
            "backoff",
        ];
        for word in words {
            assert!(invalid.wrong.iter().any(|wrong| wrong.starts_with(word)), "{word} is missing from {invalid}");
        }
        assert_eq!(invalid.wrong.len(), words.len(), "{invalid}");
    }

    #[test]
    fn a_topic_is_never_its_own_on_failure_destination() {
        let on_failure = Some(Destination::Topic("t".into()));
        let invalid = MappingConfig { on_failure, ..MappingConfig::new("m", "t", "g") }.validate().unwrap_err();
        assert!(invalid.to_string().contains("round for ever"), "{invalid}");
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        for (batch_size, window, attempts, age) in [(1, 0, 0, 60), (10_000, 300, 10_000, 604_800)] {
            let config = MappingConfig {
                batch_size,
                batching_window: Duration::from_secs(window),
                maximum_retry_attempts: Some(attempts),
                maximum_record_age: Some(Duration::from_secs(age)),
                ..MappingConfig::new("m", "t", "g")
            };
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn endless_retries_with_a_destination_are_ten() {
        let endless = MappingConfig::new("m", "t", "g");
        assert_eq!(endless.retry_limit(), None);
        let with_destination = MappingConfig { on_failure: Some(Destination::Topic("d".into())), ..endless };
        assert_eq!(with_destination.retry_limit(), Some(10));
        assert_eq!(MappingConfig { maximum_retry_attempts: Some(3), ..with_destination }.retry_limit(), Some(3));
    }

    #[test]
    fn a_destination_is_read_back_from_its_own_text() {
        let destination = Destination::Topic("failed".into());
        assert_eq!(destination.to_string().parse(), Ok(destination));
        for text in ["failed", "kafka://", "arn:aws:sqs:eu-central-1:123456789012:q"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
