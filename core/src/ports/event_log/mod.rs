//! The event log: topics of partitions of records, and how far each consumer group has come. Kafka's semantics.
//!
//! Production: Kafka. Twin: one durable embedded file. Model: memory, for the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use crate::record::{NewRecord, Position, Record};

pub mod groups;
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
    #[error(
        "topic {0} does not exist; `lyceum topics` lists those that do, and `lyceum up` makes those of this release that are missing, dead-letter topics among them"
    )]
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
    /// The partitions belong to other members of the group, or to none: they were revoked or lost, or never assigned.
    #[error(
        "partitions {partitions:?} of {topic} are not assigned to whoever commits for group {group}: whoever has them goes on from what is committed, and a commit from outside waits until the group is empty"
    )]
    NotAssigned {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// Those of the commit that are not assigned.
        partitions: Vec<i32>,
    },
    /// The log does not accept the credentials, the certificate, or lacks a grant: a person has to act.
    #[error("{0}")]
    Unauthorized(String),
    /// What was asked for can never be done (a bad topic name, fewer partitions than before, a newer file format).
    #[error("{0}")]
    Refused(String),
    /// The log is unavailable or its disk is full; the same call may succeed later.
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
}

impl EventLogError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// What becomes of a member's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are its own from now on: read from what is committed.
    Assigned(BTreeSet<i32>),
    /// They are to go to another member: settle or abandon the work in hand, commit, and release them.
    Revoked(BTreeSet<i32>),
    /// They are gone already (the member was silent for too long, or did not release them in time): abandon the work in
    /// hand.
    Lost(BTreeSet<i32>),
}

/// A member of a consumer group, for one topic. No partition is assigned to two members at once, except for one that was
/// lost: there the log refuses the commits of the one who lost it.
#[async_trait]
pub trait Membership: Send + Sync {
    /// Comes back with the next change. Dropping the future loses none.
    ///
    /// # Errors
    /// What keeps the member from getting partitions. It remains a member: the next call waits for the next change.
    async fn change(&self) -> Result<Change, EventLogError>;

    /// Hands partitions back: they are no longer the member's own.
    fn release(&self, partitions: &BTreeSet<i32>);

    /// Commits offsets of partitions that are the member's own, all or none; durable when it returns. A partition is its
    /// own from [`Change::Assigned`] until it is released or lost; of any other: [`EventLogError::NotAssigned`].
    async fn commit(&self, offsets: &[(i32, i64)]) -> Result<(), EventLogError>;

    /// Leaves the group: all its partitions go to others. Dropping it leaves, too, a little later.
    async fn leave(&self);
}

/// Appends records.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Appends the records, in their order per partition; all of them are durable when it returns their positions. A record
    /// without partition goes where [`crate::record::partition_for_key`] says; one without key, round-robin.
    ///
    /// A call that names a topic or partition which does not exist, or has a record that is too large for any topic, appends
    /// nothing. Where the log fails in the middle ([`EventLogError::Unavailable`]), some of the records may have been
    /// appended, and any of them: whoever repeats the call appends those twice, so that readers go by the records' ids.
    /// Source: Kafka promises less doubt only to transactions, whose price is a coordinator's round trips for each call.
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError>;
}

/// Reads records, and keeps how far each group has come.
#[async_trait]
pub trait Follow: Send + Sync {
    /// The records from `offset` on: at most `max_records`, and no more than fit in `max_bytes` of key, value and headers,
    /// but at least one where there is one; a log may answer with fewer than there are. Empty where no record is between
    /// `offset` and the end that the partition has at the call (Kafka's offsets have gaps: marks of transactions, compacted
    /// records). Below the start or past the end: [`EventLogError::OffsetOutOfRange`].
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

    /// Commits offsets for the group from outside of it, all or none; durable when it returns. As in Kafka an offset may
    /// move backwards, and a group that has members takes commits from them only: [`EventLogError::NotAssigned`].
    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError>;

    /// Joins the group as a member, which gets its share of the topic's partitions: [`Membership::change`] tells which.
    ///
    /// `patience` is how long a partition that is to go to another member waits for its release. A log within one process
    /// waits without limit: there a member that lives can be waited for.
    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError>;

    /// Whoever read the partition up to before `until` reads no more of it: what was fetched ahead for them may go. Other readers of it,
    /// and its records, stay as they are. A log that fetches nothing ahead has nothing to do.
    fn stop_reading(&self, topic: &str, partition: i32, until: i64) {
        let _ = (topic, partition, until);
    }

    /// Comes back once the topic has a record that this log had not seen at the call's start, or after `timeout`.
    async fn wait_for_records(&self, topic: &str, timeout: Duration);
}

/// Makes topics, and drops what they need not keep.
#[async_trait]
pub trait Administer: Send + Sync {
    /// Creates the topic or, where it exists, adds partitions up to `spec.partitions` and takes over the retention.
    /// Fewer partitions than it has: [`EventLogError::Refused`].
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError>;

    /// Every topic, by name.
    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError>;

    /// Drops what the retention allows; returns how many records went.
    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError>;

    /// Whether it answers. Of a cluster this asks more than a health check should.
    async fn ping(&self) -> Result<(), EventLogError> {
        self.topics().await.map(drop)
    }
}

/// All of the event log. Cheap to share (`Arc<dyn EventLog>`); any number of readers and producers at once. Whoever only appends
/// asks for [`Publish`], whoever only reads for [`Follow`].
pub trait EventLog: Publish + Follow + Administer {}

impl<T: Publish + Follow + Administer + ?Sized> EventLog for T {}
