//! A mapping's status.

use std::collections::{BTreeMap, BTreeSet};

use lyceum_xapi::utc_time::UtcTime;
use serde::Serialize;

/// A mapping at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MappingStatus {
    /// The mapping's name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// Its consumer group.
    pub group: String,
    /// Its function.
    pub function: String,
    /// Whether it runs; serialised as `"state": "failing", "since": …, "reason": …`.
    #[serde(flatten)]
    pub state: MappingState,
    /// For how long it has not been able to read its topic, whatever else it does; 0 where it can. What comes in meanwhile it does not
    /// see, so that its lag says nothing of it.
    pub silent_ms: u64,
    /// Each partition that it has taken up, in order.
    pub partitions: Vec<PartitionStatus>,
    /// What it did since it was made.
    pub counts: Counts,
    /// The last thing that went wrong, also where it is over.
    pub last_error: Option<LastError>,
}

impl MappingStatus {
    /// Records that are not yet settled, over all partitions.
    pub fn lag(&self) -> i64 {
        self.partitions.iter().map(|partition| partition.lag).sum()
    }
}

/// Whether a mapping runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum MappingState {
    /// Not yet in touch with its topic.
    Starting,
    /// Reading, or waiting for records.
    Running,
    /// Nothing is invoked until it is resumed.
    Paused,
    /// The log or the function fails at the moment; it goes on trying.
    Failing {
        /// Since when without a success in between.
        since: UtcTime,
        /// What fails.
        reason: String,
    },
    /// Not running.
    Stopped,
}

/// One partition at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    /// Which.
    pub partition: i32,
    /// The offset below which everything is settled, durably.
    pub committed: i64,
    /// The offset that the partition's next record gets, as far as the mapping has seen.
    pub end: i64,
    /// `end` less `committed`.
    pub lag: i64,
    /// For how long the oldest of them has waited: by its timestamp where the mapping has it in hand, else since something was
    /// committed last, or was there first.
    pub lag_ms: u64,
    /// Records of the batch in hand.
    pub in_flight: usize,
    /// The invocations that the batch in hand has had.
    pub attempts: u32,
}

/// Running totals since the mapping was made. Of each record that was read, exactly one of `succeeded`, `filtered`,
/// `on_failure` and `discarded` counts, unless a restart delivers it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Batches collected.
    pub batches: u64,
    /// Invocations, retries among them.
    pub invoked: u64,
    /// Records in those invocations.
    pub records_delivered: u64,
    /// Records settled by the function.
    pub succeeded: u64,
    /// Records that were redelivered after an invocation.
    pub failed_again: u64,
    /// Records that the filter dropped.
    pub filtered: u64,
    /// Those of them whose value is no JSON though the filter asks for it.
    pub filtered_unreadable: u64,
    /// Records given up to the on-failure destination.
    pub on_failure: u64,
    /// Records given up with no destination to take them.
    pub discarded: u64,
    /// Invocations that failed as a whole.
    pub function_errors: u64,
    /// Offsets that retention took before they were read.
    pub skipped_by_retention: u64,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When.
    pub at: UtcTime,
    /// What, for a person.
    pub message: String,
}

/// The mapping's own notes behind its status.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) phase: Phase,
    pub(crate) partitions: BTreeMap<i32, PartitionStatus>,
    /// Of those partitions, milliseconds since 1970 UTC.
    pub(crate) waits: BTreeMap<i32, Waits>,
    /// What the group has committed of partitions that other members have.
    pub(crate) elsewhere: BTreeMap<i32, i64>,
    pub(crate) counts: Counts,
    pub(crate) last_error: Option<LastError>,
    /// What fails at the moment.
    pub(crate) failing: BTreeMap<Part, (UtcTime, String)>,
}

/// Since when records of a partition wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// When something was committed last, or the first of them was seen.
    pub(crate) since_ms: i64,
    /// The timestamp of the oldest record in hand.
    pub(crate) oldest_in_hand_ms: Option<i64>,
}

/// A part that may fail by itself; a poller goes by its partition, one of all of them by -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Supervisor,
    Poller(i32),
    Function(i32),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Starting,
    Running,
    Stopped,
}

impl Notes {
    pub(crate) fn partition(&mut self, partition: i32) -> &mut PartitionStatus {
        self.partitions.entry(partition).or_insert_with(|| PartitionStatus { partition, ..PartitionStatus::default() })
    }

    /// Other members go on with these.
    pub(crate) fn forget(&mut self, partitions: &BTreeSet<i32>) {
        self.partitions.retain(|partition, _| !partitions.contains(partition));
        self.waits.retain(|partition, _| !partitions.contains(partition));
    }

    /// The partitions as they are at that moment.
    pub(crate) fn partitions_at(&self, now_ms: i64) -> Vec<PartitionStatus> {
        let at = |status: &PartitionStatus| {
            let waits = self.waits.get(&status.partition).copied().unwrap_or_default();
            let since_ms = waits.oldest_in_hand_ms.map_or(waits.since_ms, |oldest_ms| oldest_ms.min(waits.since_ms));
            let lag_ms = if status.lag == 0 { 0 } else { u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0) };
            PartitionStatus { lag_ms, ..status.clone() }
        };
        self.partitions.values().map(at).collect()
    }

    pub(crate) fn note_error(&mut self, now: UtcTime, message: &str) {
        self.last_error = Some(LastError { at: now, message: message.to_owned() });
    }

    pub(crate) fn note_failure(&mut self, who: Part, now: UtcTime, reason: &str) {
        self.note_error(now, reason);
        let (_, current) = self.failing.entry(who).or_insert_with(|| (now, String::new()));
        reason.clone_into(current);
    }

    /// For how long the log has not answered.
    pub(crate) fn silent_ms_at(&self, now_ms: i64) -> u64 {
        let of_the_log = self.failing.iter().filter(|(part, _)| matches!(part, Part::Supervisor | Part::Poller(_)));
        let since_ms = of_the_log.map(|(_, (since, _))| since.as_millis()).min();
        since_ms.map_or(0, |since_ms| u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0))
    }

    pub(crate) fn state(&self, paused: bool) -> MappingState {
        let longest_failing = self.failing.values().min_by_key(|(since, _)| *since);
        match (self.phase, longest_failing) {
            (Phase::Stopped, _) => MappingState::Stopped,
            (_, Some((since, reason))) => MappingState::Failing { since: *since, reason: reason.clone() },
            (Phase::Starting, None) => MappingState::Starting,
            (Phase::Running, None) if paused => MappingState::Paused,
            (Phase::Running, None) => MappingState::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_silent_while_the_log_fails_and_not_while_the_function_does() {
        let at = |ms| UtcTime::from_millis(ms);
        let mut notes = Notes::default();
        notes.note_failure(Part::Function(0), at(1_000), "it is down");
        assert_eq!(notes.silent_ms_at(9_000), 0);
        notes.note_failure(Part::Poller(0), at(4_000), "no broker");
        notes.note_failure(Part::Supervisor, at(3_000), "no broker");
        notes.note_failure(Part::Supervisor, at(5_000), "still none");
        assert_eq!(notes.silent_ms_at(9_000), 6_000);
        notes.failing.remove(&Part::Supervisor);
        assert_eq!(notes.silent_ms_at(9_000), 5_000);
        notes.failing.remove(&Part::Poller(0));
        assert_eq!(notes.silent_ms_at(9_000), 0);
    }

    #[test]
    fn the_lag_is_as_old_as_the_oldest_record_in_hand_or_as_what_was_committed_last() {
        for (lag, since_ms, oldest_in_hand_ms, lag_ms) in [
            (0, 1_000, None, 0),
            (0, 1_000, Some(500), 0),
            (3, 9_000, None, 1_000),
            (3, 9_000, Some(2_000), 8_000),
            // By a sender's clock that is ahead.
            (3, 9_000, Some(99_000), 1_000),
            (3, 99_000, None, 0),
        ] {
            let mut notes = Notes::default();
            notes.partition(4).lag = lag;
            notes.waits.insert(4, Waits { since_ms, oldest_in_hand_ms });
            assert_eq!(notes.partitions_at(10_000)[0].lag_ms, lag_ms, "{lag} {since_ms} {oldest_in_hand_ms:?}");
        }
    }
}
