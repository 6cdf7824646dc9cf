//! How far behind its topic a subscription is, in seconds: told by a batch, since a function sees nothing else of its topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::handler::Ended;

/// Of each topic of a batch the age of what a partition has come to: of its newest record where all of it is settled, else of the
/// oldest that is not. The partition that is furthest behind counts. `now_ms` is the time in milliseconds since 1970 UTC; a record
/// of the future, by a sender's clock, is of now.
pub fn behind(entries: &[Ended], now_ms: i64) -> BTreeMap<Arc<str>, Duration> {
    // The time of the newest settled record, and of the oldest that is not.
    let mut partitions: BTreeMap<_, (Option<i64>, Option<i64>)> = BTreeMap::new();
    for Ended { topic, partition, timestamp_ms, is_settled, .. } in entries {
        let (settled, waiting) = partitions.entry((topic, partition)).or_default();
        let Some(timestamp_ms) = *timestamp_ms else { continue };
        if *is_settled {
            *settled = Some(settled.map_or(timestamp_ms, |of| of.max(timestamp_ms)));
        } else {
            *waiting = Some(waiting.map_or(timestamp_ms, |of| of.min(timestamp_ms)));
        }
    }
    let mut topics: BTreeMap<Arc<str>, Duration> = BTreeMap::new();
    for ((topic, _), (settled, waiting)) in partitions {
        let Some(reached_ms) = waiting.or(settled) else { continue };
        let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(reached_ms)).unwrap_or(0));
        let furthest = topics.entry(topic.clone()).or_default();
        *furthest = age.max(*furthest);
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_772_439_300_000;

    /// A record of a topic's partition, so many seconds old.
    fn ended(partition: &str, age: Option<i64>, is_settled: bool) -> Ended {
        let (topic, _) = partition.split_once('-').unwrap();
        let timestamp_ms = age.map(|seconds| NOW_MS - seconds * 1_000);
        Ended { partition: partition.into(), topic: topic.into(), offset: Some(0), timestamp_ms, is_settled }
    }

    fn seconds(entries: &[Ended]) -> Vec<(String, u64)> {
        behind(entries, NOW_MS).into_iter().map(|(topic, age)| (topic.to_string(), age.as_secs())).collect()
    }

    #[test]
    fn the_newest_settled_record_of_a_partition_tells_how_far_it_has_come() {
        assert_eq!(seconds(&[ended("a-0", Some(90), true), ended("a-0", Some(30), true)]), [("a".to_owned(), 30)]);
    }

    #[test]
    fn the_oldest_record_that_is_not_settled_tells_how_long_it_has_waited() {
        let entries = [ended("a-0", Some(90), true), ended("a-0", Some(60), false), ended("a-0", Some(30), false)];
        assert_eq!(seconds(&entries), [("a".to_owned(), 60)]);
    }

    #[test]
    fn the_partition_that_is_furthest_behind_counts_and_each_topic_by_itself() {
        let entries = [ended("a-0", Some(1), true), ended("a-1", Some(700), true), ended("b-0", Some(5), true)];
        assert_eq!(seconds(&entries), [("a".to_owned(), 700), ("b".to_owned(), 5)]);
    }

    #[test]
    fn a_record_without_a_time_tells_nothing_and_one_of_the_future_is_of_now() {
        assert_eq!(seconds(&[ended("a-0", None, true), ended("b-0", Some(-60), true)]), [("b".to_owned(), 0)]);
    }
}
