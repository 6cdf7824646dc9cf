//! Where records come from: a member of a consumer group, as the process asks for it. The consumption layer is behind it.
//!
//! | adapter | is |
//! |---|---|
//! | [`kafka`] | a member of a group at Kafka, by `lyceum-consumer`'s batch reads: what the process has |
//! | [`log`] | a member by the event log's own port: any event log, the one in memory of tests among them |
//!
//! What a source promises is held by the tests of [`crate::reader`] in memory, and by rows of the fault matrix on a broker.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::record::Record;

use crate::lanes::TopicPartition;

pub mod kafka;
pub mod log;

/// How long what is in flight of a revoked partition may take.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// What a source brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Records of assigned partitions, per partition in the order of offsets.
    Records(Vec<Record>),
    /// These partitions are this member's own, each read from that offset, where it is known before its first record.
    Assigned(Vec<(TopicPartition, Option<i64>)>),
    /// They are to go to another member: finish or abandon what is in hand, commit, and [release](Source::release) them.
    Revoked(BTreeSet<TopicPartition>),
    /// They are gone already: nothing of them may be committed.
    Lost(BTreeSet<TopicPartition>),
}

/// A member of a consumer group. Offsets are committed by whoever has it, and by nobody else.
#[async_trait]
pub trait Source: Send {
    /// Waits for what comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What keeps it from reading or from getting partitions. It remains a member: a later call may succeed.
    async fn next(&mut self) -> Result<Brought, EventLogError>;

    /// Brings nothing more of these partitions until they are resumed; what is on its way may still come.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Goes on with these.
    fn resume(&mut self, partitions: &[TopicPartition]);

    /// Commits the offsets of the next records that are wanted; durable soon, and before [`Source::release`] or [`Source::leave`] has handed the
    /// partition to another member.
    ///
    /// # Errors
    /// [`EventLogError::NotAssigned`] where some of the partitions are another's by now: nothing of that topic is committed then, and what is assigned
    /// is to be committed by another call.
    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), EventLogError>;

    /// Hands partitions back that were revoked.
    fn release(&mut self, partitions: &BTreeSet<TopicPartition>);

    /// The offset from which on a partition is read next, where it is known: what is before it was brought, or is no record.
    fn position(&self, of: &TopicPartition) -> Option<i64>;

    /// Leaves the group, so that others get its partitions at once.
    async fn leave(&mut self);
}
