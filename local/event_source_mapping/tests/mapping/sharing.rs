//! Mappings of one consumer group share the partitions of its topic: each record goes to one of them, whoever comes and goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lyceum_event_source_mapping::{MappingConfig, MappingStatus};

use crate::support::*;

fn partitions_of(status: &MappingStatus) -> BTreeSet<i32> {
    status.partitions.iter().map(|partition| partition.partition).collect()
}

fn has(count: usize) -> impl Fn(&MappingStatus) -> bool {
    move |status| status.partitions.len() == count
}

#[tokio::test(start_paused = true)]
async fn two_mappings_share_the_partitions() {
    for mix_partitions in [false, true] {
        let log = MemoryLog::with_topics(4);
        let config = MappingConfig { mix_partitions, ..config() };
        let functions = [Function::succeeding(), Function::succeeding()];
        let one = Running::start(config.clone(), &log, &functions[0]);
        one.until(has(4)).await;
        let other = Running::start(config, &log, &functions[1]);
        other.until(has(2)).await;
        one.until(has(2)).await;
        assert!(partitions_of(&one.mapping.status()).is_disjoint(&partitions_of(&other.mapping.status())));
        (0..40).for_each(|n| _ = log.append(n % 4, "x"));
        one.settled().await;
        other.settled().await;
        let delivered = functions.each_ref().map(|function| function.invocations().concat());
        assert_eq!(delivered.each_ref().map(Vec::len), [20, 20]);
        let all: BTreeSet<_> = delivered.concat().into_iter().collect();
        assert_eq!(all.len(), 40, "each record went to one of them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mapping_that_stops_leaves_its_partitions_to_the_other() {
    let log = MemoryLog::with_topics(2);
    let (one, other) = (Function::succeeding(), Function::succeeding());
    let first = Running::start(config(), &log, &one);
    let second = Running::start(config(), &log, &other);
    first.until(has(1)).await;
    second.until(has(1)).await;
    (0..10).for_each(|n| _ = log.append(n % 2, "x"));
    second.settled().await;
    first.stop().await;
    second.until(has(2)).await;
    (0..10).for_each(|n| _ = log.append(n % 2, "y"));
    second.settled().await;
    let all = [one.invocations().concat(), other.invocations().concat()].concat();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn an_invocation_in_flight_is_settled_before_its_partition_goes() {
    let log = MemoryLog::with_topics(2);
    (0..2).for_each(|n| _ = log.append(n, "slow"));
    let slow = Arc::new(|_: bytes::Bytes| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(bytes::Bytes::new())
    });
    let first = Running::start_mapping(mapping_of(config(), &log, slow));
    first.until(|status| status.counts.invoked == 2).await;
    let function = Function::succeeding();
    let second = Running::start(config(), &log, &function);
    second.until(has(1)).await;
    log.append(0, "x");
    log.append(1, "x");
    second.settled().await;
    let taken = function.invocations().concat();
    assert_eq!(taken.len(), 1, "the record in flight was not redelivered: {taken:?}");
    assert_eq!(taken[0].1, 1);
    assert_eq!(log.committed_of("group").values().sum::<i64>(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_is_abandoned_to_the_next_owner() {
    for mix_partitions in [false, true] {
        let log = MemoryLog::with_topics(2);
        (0..6).for_each(|n| _ = log.append(n % 2, "x"));
        let config = MappingConfig { mix_partitions, ..config() };
        let failing = Function::new(|_| Err(error()));
        let first = Running::start(config.clone(), &log, &failing);
        first.until(|status| status.counts.function_errors > 5).await;
        let function = Function::succeeding();
        let second = Running::start(config, &log, &function);
        second.until(|status| has(1)(status) && status.counts.succeeded == 3).await;
        first.until(has(1)).await;
        let taken = function.invocations().concat();
        let partition = taken[0].0;
        assert_eq!(taken, [(partition, 0), (partition, 1), (partition, 2)]);
        first.stop().await;
        second.settled().await;
        assert_eq!(log.committed_of("group"), [(0, 3), (1, 3)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_mapping_lets_go_of_what_others_are_to_have() {
    let log = MemoryLog::with_topics(2);
    let first = Running::start(config(), &log, &Function::succeeding());
    first.until(has(2)).await;
    first.mapping.pause();
    (0..4).for_each(|n| _ = log.append(n % 2, "x"));
    let function = Function::succeeding();
    let second = Running::start(config(), &log, &function);
    second.until(|status| status.counts.succeeded == 2).await;
    first.mapping.resume();
    first.settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_partition_had_in_hand_is_not_committed() {
    let log = MemoryLog::with_topics(1);
    (0..3).for_each(|_| _ = log.append(0, "x"));
    static IS_FIRST: AtomicBool = AtomicBool::new(true);
    let other = log.clone();
    let function = Function::new(move |_| {
        if IS_FIRST.swap(false, Ordering::SeqCst) {
            // Another member has it for a moment, and gets further.
            let groups = other.groups.clone();
            groups.lose("group", TOPIC, &[0].into());
        }
        Ok(Answer::Ok)
    });
    let running = Running::start(config(), &log, &function);
    running.settled().await;
    assert_eq!(log.committed_of("group"), [(0, 3)].into());
    assert!(log.commits().is_sorted(), "no commit moved back: {:?}", log.commits());
}

#[tokio::test(start_paused = true)]
async fn members_that_begin_at_the_same_time_agree_where() {
    let log = MemoryLog::with_topics(4);
    (0..40).for_each(|n| _ = log.append(n % 4, "old"));
    let config = MappingConfig { starting_position: lyceum_event_source_mapping::StartingPosition::Latest, ..config() };
    let functions = [Function::succeeding(), Function::succeeding()];
    let running = functions.each_ref().map(|function| Running::start(config.clone(), &log, function));
    for running in &running {
        running.until(has(2)).await;
    }
    (0..4).for_each(|n| _ = log.append(n, "new"));
    for running in &running {
        running.settled().await;
    }
    let delivered: Vec<i64> = functions.iter().flat_map(|function| function.offsets().concat()).collect();
    assert_eq!(delivered, [10; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_password_is_refused_joins_again_and_goes_on_where_it_was() {
    for mix_partitions in [false, true] {
        let log = MemoryLog::with_topics(2);
        (0..6).for_each(|n| _ = log.append(n % 2, "x"));
        let (changing, left) = (log.clone(), AtomicUsize::new(2));
        let function = Function::new(move |_| {
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                changing.change_password();
            }
            Ok(Answer::Ok)
        });
        let running = Running::start(MappingConfig { mix_partitions, ..config() }, &log, &function);
        running.settled().await;
        (0..4).for_each(|n| _ = log.append(n % 2, "y"));
        running.settled().await;
        assert_eq!(log.committed_of("group"), [(0, 5), (1, 5)].into());
        let delivered: BTreeSet<_> = function.invocations().concat().into_iter().collect();
        assert_eq!(delivered.len(), 10);
        let told = running.mapping.status().last_error.expect("the refusal").message;
        assert!(told.contains("another one by now; joining group again"), "{told}");
        running.stop().await;
    }
}
