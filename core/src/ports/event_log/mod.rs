//! The event log: topics of partitions of records, and how far each consumer group has come. Kafka's semantics.
//!
//! Production: Kafka. Twin: one durable embedded file. Model: memory, for the simulation.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::record::{NewRecord, Position, Record};

pub mod contract;
pub mod rules;

/// A topic's shape, as it was asked for at creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Kafka's rules: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`.
    pub name: String,
    /// At least 1; never shrinks.
    pub partitions: i32,
    /// What may be dropped.
    pub retention: Retention,
}

/// When records may be dropped from the front of a partition. A limit that is `None` never drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Older than this (by record timestamp).
    pub age: Option<Duration>,
    /// More than this in keys, values and headers of one partition.
    pub bytes: Option<u64>,
}

/// The offsets that a partition holds: `start..end`; `end` is the next one to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The oldest record's offset.
    pub start: i64,
    /// The offset that the next record will get.
    pub end: i64,
}

/// Why the log did not do it.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// No such topic.
    #[error("topic {0} does not exist; `lyceum topics` lists those that do")]
    UnknownTopic(String),
    /// No such partition.
    #[error("topic {topic} has {partitions} partitions, so there is no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// What was asked for.
        partition: i32,
        /// How many there are.
        partitions: i32,
    },
    /// The offset asked for is not (or no longer) there.
    #[error("offset {offset} of {topic}/{partition} is outside {}..{}", range.start, range.end)]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What was asked for.
        offset: i64,
        /// What is there.
        range: OffsetRange,
    },
    /// A record that the log will never take.
    #[error("the record is too large: {bytes} bytes, and the log takes {limit_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most it takes.
        limit_bytes: usize,
    },
    /// What was asked for can never be done (a bad topic name, fewer partitions than before, a newer file format).
    #[error("{0}")]
    Refused(String),
    /// The log is away or its disk is full; the same call may succeed later.
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
}

impl EventLogError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// The event log. Cheap to share (`Arc<dyn EventLog>`); any number of readers and producers at once.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Creates the topic or, where it exists, adds partitions up to `spec.partitions` and takes over the retention.
    /// Fewer partitions than it has: [`EventLogError::Refused`].
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError>;

    /// Every topic, by name.
    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError>;

    /// Appends the records, all or none, in their order per partition; durable when it returns. A record without
    /// partition goes where [`crate::record::partition_for_key`] says; one without key, round-robin.
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError>;

    /// The records from `offset` on: at most `max_records`, and as many as fit in `max_bytes` of key, value and headers,
    /// but at least one where there is one. Empty at the end. Below the start or past the end:
    /// [`EventLogError::OffsetOutOfRange`].
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError>;

    /// The offsets of each partition, in the order of partitions.
    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError>;

    /// The first offset whose record is at or after that time; `None` where no record is (Kafka's `offsetsForTimes`).
    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError>;

    /// What the group has committed, by partition: the offset of the next record it wants. A partition without is absent.
    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError>;

    /// Commits offsets for the group, all or none; durable when it returns. As in Kafka an offset may move backwards.
    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError>;

    /// Comes back once the topic has a record that was not there at the call's start, or after `timeout`.
    async fn wait_for_records(&self, topic: &str, timeout: Duration);

    /// Drops what the retention allows; returns how many records went.
    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError>;
}
