//! The brake: how long an answer is held after which the same records would come again at once.
//!
//! A mapping that gives records up counts attempts, and AWS names no pause between them. Where a store is down for a weekend
//! every attempt would be over as soon as the store had refused, and 10,000 of them within minutes or hours. Held until shortly
//! before the invocation's deadline they last for [`lasts`]. Who has no deadline paces itself, and has no brake.
//!
//! Sources: AWS Lambda developer guide, "Configuring error handling controls for Kafka event sources" (`MaximumRetryAttempts` up to
//! 10,000; nothing of a pause). Whether records come again that succeeded behind one that failed is not said there either, so a
//! record that was settled before, and comes again with those that fail, is no progress.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::handler::{Ended, Handled};

/// So much of an invocation's time is left for answering.
pub const LEFT_FOR_ANSWERING: Duration = Duration::from_secs(2);

/// For how long so many further attempts last, of a function with that time limit, while nothing is settled.
pub fn lasts(attempts: u32, time_limit: Duration) -> Duration {
    time_limit.saturating_sub(LEFT_FOR_ANSWERING).saturating_mul(attempts)
}

/// Remembers of each partition what was settled in answers after which the rest of it comes again.
#[derive(Debug, Default)]
pub struct Brake {
    settled: HashMap<Arc<str>, BTreeSet<i64>>,
}

impl Brake {
    /// How long the answer to a batch is held, where so much of the invocation's time remains: until shortly before its
    /// end where nothing came further, not at all where anything did.
    pub fn hold(&mut self, handled: &Handled, remaining: Duration) -> Duration {
        let comes_again = match &handled.answer {
            Ok(answer) => !answer.batch_item_failures.is_empty(),
            Err(error) => error.may_pass(),
        };
        if self.notice(&handled.entries) || !comes_again {
            return Duration::ZERO;
        }
        remaining.saturating_sub(LEFT_FOR_ANSWERING)
    }

    /// Takes notice of how a batch ended, and says whether something was settled that was not before.
    fn notice(&mut self, entries: &[Ended]) -> bool {
        let mut settled: HashMap<&Arc<str>, BTreeSet<i64>> = HashMap::new();
        let mut unsettled: BTreeSet<&Arc<str>> = BTreeSet::new();
        let mut progresses = false;
        for Ended { partition, offset, is_settled, .. } in entries {
            if !is_settled {
                unsettled.insert(partition);
                continue;
            }
            let offset = offset.unwrap_or(-1);
            progresses |= self.settled.get(partition).is_none_or(|before| !before.contains(&offset));
            settled.entry(partition).or_default().insert(offset);
        }
        // What has nothing left to come again needs no memory; the rest is the batch's own at most.
        for partition in entries.iter().map(|of| &of.partition) {
            if !unsettled.contains(partition) {
                self.settled.remove(partition);
            }
        }
        for (partition, offsets) in settled {
            if unsettled.contains(partition) {
                self.settled.insert(partition.clone(), offsets);
            }
        }
        progresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::HandlerError;
    use crate::response::{BatchResponse, ItemIdentifier};

    const MINUTE: Duration = Duration::from_secs(60);
    const HELD: Duration = Duration::from_secs(58);

    /// A batch of records of partitions, by offset, and whether each is settled.
    fn handled(of: &[(&str, i64, bool)]) -> Handled {
        let entries: Vec<Ended> = of
            .iter()
            .map(|&(partition, offset, is_settled)| Ended {
                partition: partition.into(),
                topic: "t".into(),
                offset: Some(offset),
                timestamp_ms: None,
                is_settled,
            })
            .collect();
        let failed = of.iter().filter(|(.., is_settled)| !is_settled);
        let failed = failed.map(|&(partition, offset, _)| ItemIdentifier { partition: partition.to_owned(), offset });
        Handled { answer: Ok(BatchResponse::failing(failed)), entries }
    }

    #[test]
    fn an_answer_is_held_only_where_the_whole_batch_comes_again() {
        for (batch, held) in [
            (&[("t-0", 1, false), ("t-0", 2, false), ("t-1", 7, false)][..], HELD),
            (&[("t-0", 1, true), ("t-0", 2, false)], Duration::ZERO),
            (&[("t-0", 1, false), ("t-0", 2, true)], Duration::ZERO),
            (&[("t-0", 1, true), ("t-0", 2, true)], Duration::ZERO),
            (&[], Duration::ZERO),
        ] {
            assert_eq!(Brake::default().hold(&handled(batch), MINUTE), held, "{batch:?}");
        }
    }

    #[test]
    fn what_was_settled_before_and_comes_again_with_what_fails_is_no_progress() {
        let mut brake = Brake::default();
        let batch = handled(&[("t-0", 1, true), ("t-0", 2, false), ("t-0", 3, true), ("t-1", 1, false)]);
        assert_eq!([(); 3].map(|()| brake.hold(&batch, MINUTE)), [Duration::ZERO, HELD, HELD]);
        // Where AWS delivers only what failed.
        assert_eq!(brake.hold(&handled(&[("t-0", 2, false), ("t-1", 1, false)]), MINUTE), HELD);
        let further = handled(&[("t-0", 2, true), ("t-0", 3, true), ("t-0", 4, false), ("t-1", 1, false)]);
        assert_eq!([(); 2].map(|()| brake.hold(&further, MINUTE)), [Duration::ZERO, HELD]);
    }

    #[test]
    fn nothing_is_remembered_of_a_partition_that_has_nothing_left_to_come_again() {
        let mut brake = Brake::default();
        brake.hold(&handled(&[("t-0", 1, true), ("t-0", 2, false), ("t-1", 1, true)]), MINUTE);
        assert_eq!(brake.settled.keys().map(|partition| &**partition).collect::<Vec<_>>(), ["t-0"]);
        brake.hold(&handled(&[("t-0", 2, true)]), MINUTE);
        assert!(brake.settled.is_empty(), "{brake:?}");
    }

    #[test]
    fn an_invocation_that_fails_as_a_whole_is_held_where_it_may_pass() {
        let unnameable = HandlerError::Unnameable { partition: "t-0".to_owned(), reason: "away".to_owned() };
        let no_batch = crate::event::parse(b"[]").expect_err("it is no batch");
        for (error, held) in [(unnameable, HELD), (HandlerError::InvalidEvent(no_batch), Duration::ZERO)] {
            let handled = Handled { answer: Err(error), entries: Vec::new() };
            assert_eq!(Brake::default().hold(&handled, MINUTE), held, "{:?}", handled.answer);
        }
    }

    #[test]
    fn what_is_left_for_answering_is_never_spent() {
        let batch = handled(&[("t-0", 1, false)]);
        for (remaining_ms, held_ms) in [(0, 0), (1_999, 0), (2_000, 0), (2_001, 1), (840_000, 838_000)] {
            let held = Brake::default().hold(&batch, Duration::from_millis(remaining_ms));
            assert_eq!(held, Duration::from_millis(held_ms));
        }
    }

    #[test]
    fn the_attempts_of_every_time_limit_outlast_a_weekend() {
        // From Friday evening to Monday morning.
        let weekend = Duration::from_secs(64 * 3_600);
        for seconds in [30, 60, 120, 300, 840] {
            assert!(lasts(10_000, Duration::from_secs(seconds)) > weekend, "{seconds} s");
        }
    }
}
