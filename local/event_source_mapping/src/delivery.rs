//! What follows from an invocation's result. Pure: no log, no clock.

use std::collections::{BTreeSet, HashMap};

use lyceum_core::record::{Position, Record};
use lyceum_lambda_event::event::batch_identifier;
use lyceum_lambda_event::response::{BatchResponse, InvalidResponse, ItemIdentifier};

use crate::config::{MappingConfig, Redelivery};

/// A record on its way through the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) record: Record,
    /// Invocations that had it.
    pub(crate) invocations: u32,
    /// Those of them that failed for it and count as attempts.
    pub(crate) failures: u32,
}

impl Item {
    pub(crate) fn new(record: Record) -> Self {
        Self { record, invocations: 0, failures: 0 }
    }

    /// Partition and offset: within one topic, its name.
    fn place(&self) -> (i32, i64) {
        (self.record.position.partition, self.record.position.offset)
    }
}

/// What an invocation said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    /// The function named these, by partition and offset, and only these failed.
    Partly(BTreeSet<(i32, i64)>),
    /// A function error, or an answer that cannot be used.
    Failed(String),
}

impl Verdict {
    /// Reads the answer of a function that reports batch item failures.
    pub(crate) fn of_answer(answer: &[u8], items: &[Item]) -> Self {
        match read_failures(answer, items) {
            Ok(failed) if failed.is_empty() => Self::Succeeded,
            Ok(failed) => Self::Partly(failed),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

fn read_failures(answer: &[u8], items: &[Item]) -> Result<BTreeSet<(i32, i64)>, InvalidResponse> {
    let response = BatchResponse::parse(answer)?;
    if response.batch_item_failures.is_empty() {
        return Ok(BTreeSet::new());
    }
    let delivered: BTreeSet<(i32, i64)> = items.iter().map(Item::place).collect();
    let mut partitions: HashMap<String, i32> = HashMap::new();
    for Position { topic, partition, .. } in items.iter().map(|item| &item.record.position) {
        if !partitions.values().any(|known| known == partition) {
            partitions.insert(batch_identifier(topic, *partition), *partition);
        }
    }
    let place_of = |failed: &ItemIdentifier| partitions.get(&failed.partition).map(|&number| (number, failed.offset));
    let failed = response.failed_of(|failed| place_of(failed).is_some_and(|place| delivered.contains(&place)))?;
    Ok(failed.iter().filter_map(place_of).collect())
}

/// What becomes of a batch's records: every one of them is in exactly one place, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Aftermath {
    pub(crate) succeeded: Vec<Item>,
    /// Their attempts are spent.
    pub(crate) exhausted: Vec<Item>,
    /// The batches to deliver next, in this order, each to its end before the next one.
    pub(crate) again: Vec<Vec<Item>>,
}

/// Draws the conclusions.
///
/// Halving spends no attempt (so AWS says for its stream sources): a batch that fails as a whole and can be halved leaves
/// its records' counts alone, so that even without retries a poison record ends alone in log2 steps.
pub(crate) fn conclude(items: Vec<Item>, verdict: &Verdict, config: &MappingConfig) -> Aftermath {
    let is_exhausted = |item: &Item| config.retry_limit().is_some_and(|limit| item.failures > limit);
    match verdict {
        Verdict::Succeeded => Aftermath { succeeded: items, ..Aftermath::default() },
        Verdict::Failed(_) if config.bisect_batch_on_function_error && items.len() > 1 => {
            let mut first = items;
            let second = first.split_off(first.len() / 2);
            Aftermath { again: vec![first, second], ..Aftermath::default() }
        }
        Verdict::Failed(_) => {
            let counted = items.into_iter().map(|item| Item { failures: item.failures + 1, ..item });
            let (exhausted, again) = counted.partition::<Vec<_>, _>(is_exhausted);
            Aftermath { exhausted, again: non_empty(again), ..Aftermath::default() }
        }
        Verdict::Partly(failed) => {
            let mut aftermath = Aftermath::default();
            let mut again = Vec::new();
            // The partitions in which an earlier record is redelivered.
            let mut open: BTreeSet<i32> = BTreeSet::new();
            for mut item in items {
                let place @ (partition, _) = item.place();
                if failed.contains(&place) {
                    item.failures += 1;
                    if is_exhausted(&item) {
                        aftermath.exhausted.push(item);
                    } else {
                        open.insert(partition);
                        again.push(item);
                    }
                } else if config.redelivery == Redelivery::FromLowestFailed && open.contains(&partition) {
                    again.push(item);
                } else {
                    aftermath.succeeded.push(item);
                }
            }
            aftermath.again = non_empty(again);
            aftermath
        }
    }
}

fn non_empty(items: Vec<Item>) -> Vec<Vec<Item>> {
    if items.is_empty() { Vec::new() } else { vec![items] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(offsets: std::ops::Range<i64>) -> Vec<Item> {
        let record = |offset| Record {
            position: Position::new("t", 0, offset),
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        offsets.map(|offset| Item::new(record(offset))).collect()
    }

    fn offsets(items: &[Item]) -> Vec<i64> {
        items.iter().map(|item| item.record.position.offset).collect()
    }

    fn failing(offsets: &[i64]) -> Verdict {
        Verdict::Partly(offsets.iter().map(|&offset| (0, offset)).collect())
    }

    fn config() -> MappingConfig {
        MappingConfig::new("m", "t", "g")
    }

    #[test]
    fn a_failed_batch_comes_again_as_it_is() {
        let aftermath = conclude(items(0..3), &Verdict::Failed("x".into()), &config());
        assert_eq!(aftermath.again.iter().map(|items| offsets(items)).collect::<Vec<_>>(), [[0, 1, 2]]);
        assert!(aftermath.again[0].iter().all(|item| item.failures == 1));
    }

    #[test]
    fn halving_spends_no_attempt_and_keeps_the_order() {
        let config =
            MappingConfig { bisect_batch_on_function_error: true, maximum_retry_attempts: Some(0), ..config() };
        let halves = conclude(items(0..5), &Verdict::Failed("x".into()), &config).again;
        assert_eq!(halves.iter().map(|items| offsets(items)).collect::<Vec<_>>(), [vec![0, 1], vec![2, 3, 4]]);
        assert!(halves.iter().flatten().all(|item| item.failures == 0));
        assert_eq!(offsets(&conclude(items(0..1), &Verdict::Failed("x".into()), &config).exhausted), [0]);
    }

    #[test]
    fn retries_do_not_count_the_first_attempt() {
        let config = MappingConfig { maximum_retry_attempts: Some(1), ..config() };
        let first = conclude(items(0..1), &Verdict::Failed("x".into()), &config);
        assert!(first.exhausted.is_empty());
        let second = conclude(first.again.into_iter().flatten().collect(), &Verdict::Failed("x".into()), &config);
        assert_eq!((offsets(&second.exhausted), second.again), (vec![0], vec![]));
    }

    #[test]
    fn only_the_failed_come_again_or_all_from_the_lowest_failed_on() {
        let only_failed = conclude(items(0..5), &failing(&[1, 3]), &config());
        assert_eq!((offsets(&only_failed.succeeded), offsets(&only_failed.again[0])), (vec![0, 2, 4], vec![1, 3]));
        let config = MappingConfig { redelivery: Redelivery::FromLowestFailed, ..config() };
        let from_lowest = conclude(items(0..5), &failing(&[1, 3]), &config);
        assert_eq!((offsets(&from_lowest.succeeded), offsets(&from_lowest.again[0])), (vec![0], vec![1, 2, 3, 4]));
        assert_eq!(from_lowest.again[0].iter().map(|item| item.failures).collect::<Vec<_>>(), [1, 0, 1, 0]);
    }

    #[test]
    fn a_record_given_up_no_longer_brings_back_those_behind_it() {
        let config =
            MappingConfig { redelivery: Redelivery::FromLowestFailed, maximum_retry_attempts: Some(0), ..config() };
        let aftermath = conclude(items(0..3), &failing(&[1]), &config);
        assert_eq!((offsets(&aftermath.succeeded), offsets(&aftermath.exhausted)), (vec![0, 2], vec![1]));
        assert!(aftermath.again.is_empty());
    }

    #[test]
    fn a_batch_without_failures_has_succeeded_as_a_whole() {
        let aftermath = conclude(items(0..3), &Verdict::Succeeded, &config());
        assert_eq!(aftermath, Aftermath { succeeded: items(0..3), ..Aftermath::default() });
    }

    #[test]
    fn failures_of_one_batch_may_be_of_several_partitions() {
        let mut items = items(5..9);
        for (item, partition) in items.iter_mut().zip([0, 1, 1, 2]) {
            item.record.position.partition = partition;
        }
        let failing = |partition: &str, offset: i64| ItemIdentifier { partition: partition.to_owned(), offset };
        let answer = BatchResponse::failing([failing("t-0", 5), failing("t-1", 7), failing("t-2", 8)]);
        let answer = serde_json::to_vec(&answer).unwrap();
        let named = Verdict::Partly([(0, 5), (1, 7), (2, 8)].into());
        assert_eq!(Verdict::of_answer(&answer, &items), named);
        let again = conclude(items, &named, &config());
        assert_eq!((offsets(&again.succeeded), offsets(&again.again[0])), (vec![6], vec![5, 7, 8]));
    }

    #[test]
    fn an_answer_is_held_against_what_was_delivered() {
        let items = items(5..7);
        let verdict = |answer: &str| Verdict::of_answer(answer.as_bytes(), &items);
        assert_eq!(verdict(""), Verdict::Succeeded);
        assert_eq!(verdict("null"), Verdict::Succeeded);
        let naming = |partition: &str, offset: i64| {
            format!(r#"{{"batchItemFailures":[{{"itemIdentifier":{{"partition":"{partition}","offset":{offset}}}}}]}}"#)
        };
        assert_eq!(verdict(&naming("t-0", 6)), failing(&[6]));
        for unknown in [naming("t-0", 4), naming("t-1", 5), naming("u-0", 5)] {
            assert!(matches!(verdict(&unknown), Verdict::Failed(_)), "{unknown}");
        }
        assert!(matches!(verdict("[]"), Verdict::Failed(_)));
    }
}
