//! How far a mapping has come in one partition, and up to where it may commit. Pure.

use std::collections::{BTreeSet, VecDeque};

use lyceum_core::record::Record;

/// One partition's reading and settling.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) partition: i32,
    /// The assignment that it belongs to.
    pub(crate) epoch: u64,
    /// What the log has of the group: everything below is settled, durably.
    pub(crate) committed: i64,
    /// The next offset to ask the log for.
    pub(crate) next_fetch: i64,
    /// Fetched, not yet looked at.
    ahead: VecDeque<Record>,
    /// Everything below was looked at: it is settled or in `unsettled`.
    seen: i64,
    unsettled: BTreeSet<i64>,
}

impl Cursor {
    pub(crate) fn new(partition: i32, committed: i64, epoch: u64) -> Self {
        Self {
            partition,
            epoch,
            committed,
            next_fetch: committed,
            ahead: VecDeque::new(),
            seen: committed,
            unsettled: BTreeSet::new(),
        }
    }

    pub(crate) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    pub(crate) fn add_fetched(&mut self, records: Vec<Record>) {
        if let Some(last) = records.last() {
            self.next_fetch = last.position.offset + 1;
        }
        self.ahead.extend(records);
    }

    /// The next record to look at; it is unsettled from now on.
    pub(crate) fn take_next(&mut self) -> Option<Record> {
        let record = self.ahead.pop_front()?;
        self.unsettled.insert(record.position.offset);
        self.seen = record.position.offset + 1;
        Some(record)
    }

    /// Puts back what was just taken.
    pub(crate) fn put_back(&mut self, record: Record) {
        self.unsettled.remove(&record.position.offset);
        self.seen = record.position.offset;
        self.ahead.push_front(record);
    }

    pub(crate) fn settle(&mut self, offset: i64) {
        self.unsettled.remove(&offset);
    }

    /// Goes on at `offset`: what lay between is gone from the log. Only called with nothing ahead.
    pub(crate) fn jump_to(&mut self, offset: i64) {
        self.next_fetch = offset;
        self.seen = offset;
    }

    /// The offset below which everything is settled: what may be committed.
    pub(crate) fn low_watermark(&self) -> i64 {
        self.unsettled.first().copied().unwrap_or(self.seen)
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::record::Position;
    use proptest::prelude::*;

    use super::*;

    fn record(offset: i64) -> Record {
        let position = Position::new("t", 0, offset);
        Record { position, timestamp_ms: 0, key: None, value: None, headers: Vec::new() }
    }

    #[test]
    fn what_is_only_fetched_is_not_committed() {
        let mut cursor = Cursor::new(0, 5, 0);
        cursor.add_fetched(vec![record(5), record(7)]);
        assert_eq!((cursor.low_watermark(), cursor.next_fetch), (5, 8));
        let taken = cursor.take_next().unwrap();
        cursor.put_back(taken);
        assert_eq!(cursor.low_watermark(), 5);
    }

    #[test]
    fn what_is_put_back_comes_first_and_is_no_longer_unsettled() {
        let mut cursor = Cursor::new(0, 5, 0);
        assert!(!cursor.has_ahead());
        cursor.add_fetched(vec![record(5), record(6)]);
        assert!(cursor.has_ahead());
        let (first, second) = (cursor.take_next().unwrap(), cursor.take_next().unwrap());
        assert!(!cursor.has_ahead());
        cursor.put_back(second);
        assert!(cursor.has_ahead());
        cursor.settle(first.position.offset);
        assert_eq!(cursor.low_watermark(), 6);
        assert_eq!(cursor.take_next().map(|record| record.position.offset), Some(6));
    }

    #[test]
    fn what_is_gone_from_the_log_is_settled_and_what_was_taken_before_is_not() {
        let mut cursor = Cursor::new(0, 5, 0);
        cursor.add_fetched(vec![record(5)]);
        cursor.take_next();
        cursor.jump_to(9);
        assert_eq!((cursor.low_watermark(), cursor.next_fetch), (5, 9));
        cursor.settle(5);
        assert_eq!(cursor.low_watermark(), 9);
    }

    proptest! {
        #[test]
        fn the_watermark_never_passes_an_unsettled_record(order in Just((0..20i64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut cursor = Cursor::new(0, 0, 0);
            cursor.add_fetched((0..20).map(record).collect());
            while cursor.take_next().is_some() {}
            let mut settled = BTreeSet::new();
            for offset in order {
                cursor.settle(offset);
                settled.insert(offset);
                let expected = (0..20).find(|offset| !settled.contains(offset)).unwrap_or(20);
                prop_assert_eq!(cursor.low_watermark(), expected);
            }
        }
    }
}
