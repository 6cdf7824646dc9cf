//! Where a group begins, and what happens when the log no longer has what it wants.

use lyceum_core::ports::event_log::Follow;
use lyceum_event_source_mapping::{MappingConfig, MappingState, StartingPosition};

use crate::support::*;

fn starting_at(starting_position: StartingPosition) -> MappingConfig {
    MappingConfig { starting_position, ..config() }
}

fn log_of_ten() -> std::sync::Arc<MemoryLog> {
    let log = MemoryLog::with_topics(1);
    (0..10).for_each(|number| _ = log.append_at(0, Some("x".into()), 1_000 * number));
    log
}

#[tokio::test(start_paused = true)]
async fn trim_horizon_begins_with_the_oldest_record() {
    let log = log_of_ten();
    log.drop_below(0, 3);
    let function = Function::succeeding();
    let running = Running::start(starting_at(StartingPosition::TrimHorizon), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets().concat(), (3..10).collect::<Vec<_>>());
    assert_eq!(running.mapping.status().counts.skipped_by_retention, 0);
}

#[tokio::test(start_paused = true)]
async fn latest_begins_behind_the_newest_record() {
    let log = log_of_ten();
    let function = Function::succeeding();
    let running = Running::start(starting_at(StartingPosition::Latest), &log, &function);
    running.settled().await;
    log.append(0, "new");
    running.settled().await;
    assert_eq!(function.offsets(), [[10]]);
}

#[tokio::test(start_paused = true)]
async fn latest_is_remembered_so_that_a_restart_skips_nothing() {
    let log = log_of_ten();
    let function = Function::succeeding();
    let running = Running::start(starting_at(StartingPosition::Latest), &log, &function);
    running.settled().await;
    running.stop().await;
    log.append(0, "while it was down");
    let running = Running::start(starting_at(StartingPosition::Latest), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[10]]);
}

#[tokio::test(start_paused = true)]
async fn a_time_begins_with_the_first_record_at_or_after_it() {
    for (time, first) in [(0, 0), (4_500, 5), (5_000, 5), (9_001, 10)] {
        let log = log_of_ten();
        let function = Function::succeeding();
        let running = Running::start(starting_at(StartingPosition::AtTimestamp(time)), &log, &function);
        running.settled().await;
        assert_eq!(function.offsets().concat(), (first..10).collect::<Vec<_>>(), "{time}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_has_committed_goes_on_there_whatever_the_starting_position() {
    for position in [StartingPosition::TrimHorizon, StartingPosition::Latest, StartingPosition::AtTimestamp(0)] {
        let log = log_of_ten();
        log.commit("group", TOPIC, &[(0, 7)]).await.unwrap();
        let function = Function::succeeding();
        let running = Running::start(starting_at(position), &log, &function);
        running.settled().await;
        assert_eq!(function.offsets(), [[7, 8, 9]]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_partition_is_noticed_and_read_from_its_start_even_at_latest() {
    for mix_partitions in [false, true] {
        let log = log_of_ten();
        let function = Function::succeeding();
        let config = MappingConfig { mix_partitions, ..starting_at(StartingPosition::Latest) };
        let running = Running::start(config, &log, &function);
        running.settled().await;
        log.add_topic(TOPIC, 2);
        log.append(1, "in the new one");
        running.settled().await;
        assert_eq!(function.invocations(), [[(1, 0)]]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_retention_took_is_skipped_and_counted() {
    let log = log_of_ten();
    log.commit("group", TOPIC, &[(0, 2)]).await.unwrap();
    log.drop_below(0, 6);
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[6, 7, 8, 9]]);
    let status = running.mapping.status();
    assert_eq!(status.counts.skipped_by_retention, 4);
    assert!(status.last_error.unwrap().message.contains("4 records were dropped unread"));
}

#[tokio::test(start_paused = true)]
async fn an_offset_past_the_end_of_a_topic_made_anew_begins_at_its_start() {
    let log = log_of_ten();
    log.commit("group", TOPIC, &[(0, 500)]).await.unwrap();
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    running.until(|status| status.counts.succeeded == 10).await;
    running.until(|status| status.partitions[0].committed == 10).await;
    assert_eq!(log.committed_of("group"), [(0, 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_there_yet_is_waited_for() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let running = Running::start(MappingConfig { topic: "later".into(), ..config() }, &log, &function);
    running
        .until(|status| matches!(&status.state, MappingState::Failing { reason, .. } if reason.contains("later")))
        .await;
    log.add_topic("later", 1);
    running.until(|status| status.state == MappingState::Running).await;
}
