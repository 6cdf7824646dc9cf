//! How far a partition is settled: the low watermark of records that are settled in any order.

use std::collections::VecDeque;

/// The records in hand of one partition, by offset.
#[derive(Clone, Debug, Default)]
pub struct Watermark {
    /// From the oldest that is not settled on, in the order of offsets.
    in_hand: VecDeque<InHand>,
    /// The offset behind the last record that was received; `None` before the first.
    next: Option<i64>,
    unsettled: usize,
}

#[derive(Clone, Copy, Debug)]
struct InHand {
    offset: i64,
    timestamp_ms: i64,
    is_settled: bool,
}

impl Watermark {
    /// Of a partition that is read from there on, where that is known before its first record.
    pub fn starting_at(offset: Option<i64>) -> Self {
        Self { next: offset, ..Self::default() }
    }

    /// Takes a record into hand; `false` where it was received before. Offsets may have gaps, and never go back.
    pub fn receive(&mut self, offset: i64, timestamp_ms: i64) -> bool {
        if self.next.is_some_and(|next| offset < next) {
            return false;
        }
        self.in_hand.push_back(InHand { offset, timestamp_ms, is_settled: false });
        self.next = Some(offset + 1);
        self.unsettled += 1;
        true
    }

    /// Settles a record; a second time does nothing.
    pub fn settle(&mut self, offset: i64) {
        let Ok(at) = self.in_hand.binary_search_by_key(&offset, |of| of.offset) else { return };
        if !std::mem::replace(&mut self.in_hand[at].is_settled, true) {
            self.unsettled -= 1;
        }
        while self.in_hand.front().is_some_and(|of| of.is_settled) {
            self.in_hand.pop_front();
        }
    }

    /// What may be committed: every record before this offset is settled. `None` before the first record.
    pub fn mark(&self) -> Option<i64> {
        self.in_hand.front().map(|of| of.offset).or(self.next)
    }

    /// The offset behind the last record that was received.
    pub fn next(&self) -> Option<i64> {
        self.next
    }

    /// Records in hand that are not settled.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The time of the first record that is not settled: milliseconds since 1970, as its producer or broker set it.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.in_hand.front().map(|of| of.timestamp_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn before_the_first_record_there_is_nothing_to_commit_but_where_it_began() {
        assert_eq!(Watermark::default().mark(), None);
        assert_eq!(Watermark::starting_at(Some(7)).mark(), Some(7));
    }

    #[test]
    fn what_was_received_before_is_not_received_again() {
        let mut of = Watermark::starting_at(Some(3));
        assert!(!of.receive(2, 0) && of.receive(3, 0) && !of.receive(3, 0) && of.receive(9, 0));
        assert_eq!((of.unsettled(), of.next()), (2, Some(10)));
    }

    proptest! {
        /// Against a plain set: nothing that is not settled is ever behind the mark, and all of what is settled in a row is.
        #[test]
        fn the_mark_is_the_first_record_that_is_not_settled(
            gaps in prop::collection::vec(1i64..4, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..90),
        ) {
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut of = Watermark::default();
            for &offset in &offsets {
                prop_assert!(of.receive(offset, offset * 10));
            }
            let mut open: BTreeSet<i64> = offsets.iter().copied().collect();
            for at in order {
                let offset = *at.get(&offsets);
                of.settle(offset);
                open.remove(&offset);
                let first = open.first().copied();
                prop_assert_eq!(of.mark(), first.or(offsets.last().map(|last| last + 1)));
                prop_assert_eq!(of.unsettled(), open.len());
                prop_assert_eq!(of.oldest_ms(), first.map(|first| first * 10));
            }
        }
    }
}
