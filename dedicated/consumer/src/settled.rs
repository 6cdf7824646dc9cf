//! Which offsets of a partition are settled, and up to where all of them are. Pure.
//!
//! A record covers the offsets from the end of the one before to its own: so gaps, which transactions and compaction leave, are
//! settled with the record behind them, and the low watermark moves over them.

use std::collections::BTreeMap;
use std::ops::Range;

/// Offsets as ranges that neither touch nor overlap: start to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(BTreeMap<i64, i64>);

impl Ranges {
    /// Adds a range; those that it touches become one with it.
    fn add(&mut self, range: Range<i64>) {
        let (mut start, mut end) = (range.start, range.end);
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    /// Takes away what lies in the range.
    fn remove(&mut self, range: Range<i64>) {
        if range.start >= range.end {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..range.end).next_back() {
            if to <= range.start {
                break;
            }
            self.0.remove(&from);
            if from < range.start {
                self.0.insert(from, range.start);
            }
            if to > range.end {
                self.0.insert(range.end, to);
            }
        }
    }

    /// The range that has an offset.
    fn around(&self, offset: i64) -> Option<Range<i64>> {
        self.0.range(..=offset).next_back().filter(|(_, to)| **to > offset).map(|(from, to)| *from..*to)
    }

    /// The parts of a range that are not in these.
    fn missing(&self, range: Range<i64>) -> Vec<Range<i64>> {
        let mut missing = Vec::new();
        let mut at = range.start;
        if let Some(around) = self.around(at) {
            at = around.end;
        }
        for (&from, &to) in self.0.range(range.clone()) {
            if from > at {
                missing.push(at..from);
            }
            at = at.max(to);
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }
}

/// One partition, from its assignment to its revocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Everything below is settled; `None` before the first record.
    watermark: Option<i64>,
    /// The first record that was handed out.
    first: Option<i64>,
    /// Behind the last record that was handed out.
    next: Option<i64>,
    /// Settled above the watermark.
    above: Ranges,
    /// Handed out, and given back unsettled: to be handed out again.
    returned: Ranges,
}

impl Settled {
    /// Where a record begins that is to be handed out: it covers the offsets from here to its own, its own included. `None`
    /// where it is in hand or settled already, as records are that come again since an earlier one was given back.
    #[inline]
    pub fn hand_out(&mut self, offset: i64) -> Option<i64> {
        let next = match self.next {
            Some(next) => next,
            None => {
                (self.watermark, self.first) = (Some(offset), Some(offset));
                offset
            }
        };
        if offset >= next {
            self.next = Some(offset + 1);
            return Some(next);
        }
        let found = self.returned.around(offset)?;
        self.returned.remove(found.start..offset + 1);
        Some(found.start)
    }

    /// Settles what these offsets cover. Whether the watermark moved.
    #[inline]
    pub fn settle(&mut self, range: Range<i64>) -> bool {
        let (Some(watermark), Some(next)) = (self.watermark, self.next) else { return false };
        let (start, end) = (range.start.max(watermark), range.end.min(next));
        if start >= end {
            return false;
        }
        if !self.returned.0.is_empty() {
            self.returned.remove(start..end);
        }
        if start > watermark {
            self.above.add(start..end);
            return false;
        }
        let end = self.above.around(end).map_or(end, |around| around.end);
        if !self.above.0.is_empty() {
            self.above.remove(i64::MIN..end);
        }
        self.watermark = Some(end);
        true
    }

    /// Gives back what of these offsets is not settled. Whether there was any.
    pub fn give_back(&mut self, range: Range<i64>) -> bool {
        let Some(watermark) = self.watermark else { return false };
        let unsettled = self.above.missing(range.start.max(watermark)..range.end);
        unsettled.iter().for_each(|range| self.returned.add(range.clone()));
        !unsettled.is_empty()
    }

    /// Where to read again, so that what was given back comes.
    pub fn first_returned(&self) -> Option<i64> {
        self.returned.0.first_key_value().map(|(from, _)| *from)
    }

    /// The offset to commit: everything below is settled. `None` before a record was handed out.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Whether the watermark has moved since the first record.
    pub fn has_settled(&self) -> bool {
        self.watermark.is_some_and(|watermark| self.first.is_some_and(|first| watermark > first))
    }

    /// Behind the last record that was handed out: the position. `None` before there was one.
    pub fn next(&self) -> Option<i64> {
        self.next
    }

    /// Whether everything that was handed out is settled.
    pub fn is_all_settled(&self) -> bool {
        self.watermark == self.next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_watermark_moves_over_gaps_and_waits_for_what_is_open() {
        let mut of = Settled::default();
        // 7 and 8 are markers of a transaction, 11 was compacted away.
        let covered: Vec<_> = [5, 6, 9, 10, 12].map(|offset| of.hand_out(offset).unwrap()..offset + 1).into();
        assert_eq!(covered, [5..6, 6..7, 7..10, 10..11, 11..13]);
        assert!(!of.settle(covered[2].clone()));
        assert_eq!(of.watermark(), Some(5));
        assert!(of.settle(covered[0].clone()));
        assert_eq!(of.watermark(), Some(6));
        assert!(of.settle(covered[1].clone()));
        assert_eq!(of.watermark(), Some(10));
        assert!(of.settle(covered[4].clone()) || of.settle(covered[3].clone()));
        assert!(of.is_all_settled());
        assert_eq!((of.watermark(), of.next()), (Some(13), Some(13)));
    }

    #[test]
    fn what_was_given_back_is_handed_out_again_and_what_was_settled_is_not() {
        let mut of = Settled::default();
        (0..5).for_each(|offset| assert!(of.hand_out(offset).is_some()));
        of.settle(1..2);
        of.settle(3..4);
        assert!(of.give_back(0..4));
        assert_eq!(of.first_returned(), Some(0));
        let again: Vec<i64> = (0..6).filter(|offset| of.hand_out(*offset).is_some()).collect();
        assert_eq!(again, [0, 2, 5], "1 and 3 are settled, 4 is in hand");
        assert_eq!(of.first_returned(), None);
    }

    /// What a step of the model does.
    #[derive(Clone, Debug)]
    enum Step {
        HandOut(i64),
        Settle(usize),
        GiveBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..4_i64).prop_map(Step::HandOut),
            4 => (0..64_usize).prop_map(Step::Settle),
            1 => (0..64_usize).prop_map(Step::GiveBack),
        ]
    }

    proptest! {
        /// Against a set of offsets: the watermark is the first record that is not settled, nothing settled is handed out
        /// again, and nothing is lost.
        #[test]
        fn the_watermark_is_the_first_offset_that_is_not_settled(steps in proptest::collection::vec(step(), 1..200)) {
            let mut of = Settled::default();
            let (mut records, mut settled, mut in_hand) = (Vec::new(), BTreeSet::new(), Vec::new());
            let mut at = 10_i64;
            for step in steps {
                match step {
                    Step::HandOut(gap) => {
                        // A broker sends again from where it was told to.
                        if let Some(from) = of.first_returned() {
                            for &offset in records.iter().filter(|offset| **offset >= from) {
                                if let Some(start) = of.hand_out(offset) {
                                    prop_assert!(!settled.contains(&offset));
                                    in_hand.push((start, offset));
                                }
                            }
                            prop_assert_eq!(of.first_returned(), None);
                        }
                        at += gap;
                        let start = of.hand_out(at).expect("a new record is always handed out");
                        records.push(at);
                        in_hand.push((start, at));
                    }
                    Step::Settle(which) if !in_hand.is_empty() => {
                        let (start, offset) = in_hand.swap_remove(which % in_hand.len());
                        of.settle(start..offset + 1);
                        settled.insert(offset);
                    }
                    Step::GiveBack(which) if !in_hand.is_empty() => {
                        let (start, offset) = in_hand.swap_remove(which % in_hand.len());
                        prop_assert!(of.give_back(start..offset + 1));
                    }
                    Step::Settle(_) | Step::GiveBack(_) => {}
                }
                let open = records.iter().copied().find(|offset| !settled.contains(offset));
                if let Some(watermark) = of.watermark() {
                    match open {
                        // Not above what is open, and not below what is settled before it.
                        Some(open) => {
                            prop_assert!(watermark <= open);
                            let before = records.iter().copied().filter(|offset| *offset < open).max();
                            prop_assert!(before.is_none_or(|before| watermark > before));
                        }
                        None => prop_assert_eq!(watermark, at + 1),
                    }
                }
                let returned = records.len() - settled.len() - in_hand.len();
                prop_assert_eq!(of.first_returned().is_some(), returned > 0);
            }
        }
    }
}
