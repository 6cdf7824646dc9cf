//! Starting, stopping, pausing, failing logs, and what the status says of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lyceum_event_source_mapping::{MappingConfig, MappingState, MappingStatus};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_invocation_in_flight_end_and_commits_it() {
    let log = MemoryLog::with_topics(1);
    (0..10).for_each(|_| _ = log.append(0, "x"));
    let function = std::sync::Arc::new(|_: bytes::Bytes| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(bytes::Bytes::new())
    });
    let mapping = mapping_of(MappingConfig { batch_size: 4, ..config() }, &log, function);
    let running = Running::start_mapping(mapping.clone());
    running.until(|status| status.counts.invoked == 1).await;
    assert_eq!(mapping.status().partitions[0].in_flight, 4);
    running.stop().await;
    assert_eq!(log.committed_of("group"), [(0, 4)].into());
    let status = mapping.status();
    assert_eq!((status.state, status.counts.invoked), (MappingState::Stopped, 1));
    assert_eq!(status.partitions[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_abandons_what_outlasts_its_grace_and_commits_nothing_of_it() {
    let log = MemoryLog::with_topics(1);
    log.append(0, "x");
    let function = Function::new(|_| Ok(Answer::Never));
    let running = Running::start(config(), &log, &function);
    running.until(|status| status.counts.invoked == 1).await;
    running.stop().await;
    assert_eq!(log.committed_of("group"), [(0, 0)].into());
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_endless_retries_without_committing() {
    let log = MemoryLog::with_topics(1);
    log.append(0, "x");
    let function = Function::new(|_| Err(error()));
    let running = Running::start(config(), &log, &function);
    running.until(|status| status.counts.function_errors > 5).await;
    assert!(matches!(running.mapping.status().state, MappingState::Failing { .. }));
    running.stop().await;
    assert_eq!(log.committed_of("group"), [(0, 0)].into());
}

#[tokio::test(start_paused = true)]
async fn a_mapping_that_was_stopped_runs_again_from_where_it_was() {
    let log = MemoryLog::with_topics(2);
    log.append(0, "x");
    log.append(1, "x");
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    let mapping = running.mapping.clone();
    assert_eq!(mapping.status().state, MappingState::Starting);
    running.settled().await;
    running.stop().await;
    log.append(1, "y");
    let running = Running::start_mapping(mapping);
    running.settled().await;
    assert_eq!(first_deliveries(&function.invocations()).len(), 3);
    assert_eq!(function.invocations().concat().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_beside_the_first_returns_at_once() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    running.until(|status| status.state == MappingState::Running).await;
    running.mapping.clone().run(std::future::pending()).await;
    log.append(0, "x");
    running.settled().await;
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_mapping_invokes_nothing_until_it_is_resumed() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    running.until(|status| status.state == MappingState::Running).await;
    running.mapping.pause();
    log.append(0, "x");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(function.offsets(), [[0; 0]; 0]);
    assert_eq!(running.mapping.status().state, MappingState::Paused);
    running.mapping.resume();
    running.settled().await;
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_also_holds_retries() {
    let log = MemoryLog::with_topics(1);
    log.append(0, "x");
    static FAILS: AtomicBool = AtomicBool::new(true);
    let function = Function::new(|_| if FAILS.load(Ordering::SeqCst) { Err(error()) } else { Ok(Answer::Ok) });
    let running = Running::start(config(), &log, &function);
    running.until(|status| status.counts.function_errors > 2).await;
    running.mapping.pause();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = function.offsets().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(function.offsets().len(), before);
    FAILS.store(false, Ordering::SeqCst);
    running.mapping.resume();
    running.settled().await;
    assert_eq!(function.offsets().len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_mapping_can_be_stopped() {
    let log = MemoryLog::with_topics(1);
    let running = Running::start(config(), &log, &Function::succeeding());
    running.mapping.pause();
    running.until(|status| status.state == MappingState::Paused).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_away_and_comes_back_loses_nothing() {
    let is_away = |status: &MappingStatus| matches!(&status.state, MappingState::Failing { reason, .. } if reason.contains("took it away"));
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    log.set_away(true);
    let running = Running::start(config(), &log, &function);
    for offset in 0..3 {
        log.append(0, "x");
        running.until(is_away).await;
        log.set_away(false);
        running.settled().await;
        running.until(|status| status.state == MappingState::Running).await;
        assert_eq!(function.offsets().concat(), (0..=offset).collect::<Vec<_>>());
        log.set_away(true);
    }
    assert!(running.mapping.status().last_error.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_made_up_for_without_invoking_again() {
    let log = MemoryLog::with_topics(1);
    log.append(0, "x");
    let away = log.clone();
    let function = Function::new(move |_| {
        away.set_away(true);
        Ok(Answer::Ok)
    });
    let running = Running::start(config(), &log, &function);
    running
        .until(|status| matches!(&status.state, MappingState::Failing { reason, .. } if reason.contains("committing")))
        .await;
    log.set_away(false);
    running.settled().await;
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_mapping_hardly_touches_the_log() {
    let log = MemoryLog::with_topics(1);
    let running = Running::start(config(), &log, &Function::succeeding());
    running.until(|status| status.state == MappingState::Running).await;
    let before = log.fetches();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(log.fetches() - before <= 120, "{} fetches in ten minutes", log.fetches() - before);
}

#[tokio::test(start_paused = true)]
async fn an_idle_mapping_is_woken_by_a_record() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let running = Running::start(config(), &log, &function);
    tokio::time::sleep(Duration::from_millis(6_001)).await;
    let begin = tokio::time::Instant::now();
    log.append(0, "x");
    running.settled().await;
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_lag_and_offsets_as_json() {
    let log = MemoryLog::with_topics(2);
    (0..4).for_each(|_| _ = log.append(0, "x"));
    let function = Function::new(|_| Ok(Answer::Never));
    let running = Running::start(MappingConfig { batch_size: 3, ..config() }, &log, &function);
    running.until(|status| status.counts.invoked == 1).await;
    let status = running.mapping.status();
    assert_eq!(status.lag(), 4);
    let mut json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["state"], "running");
    for partition in json["partitions"].as_array_mut().unwrap() {
        let lag_ms = partition.as_object_mut().unwrap().remove("lag_ms");
        assert!(lag_ms.is_some_and(|lag_ms| lag_ms.is_u64()), "{partition}");
    }
    assert_eq!(
        json["partitions"],
        serde_json::json!([
            {"partition": 0, "committed": 0, "end": 4, "lag": 4, "in_flight": 3, "attempts": 1},
            {"partition": 1, "committed": 0, "end": 0, "lag": 0, "in_flight": 0, "attempts": 0},
        ])
    );
    assert_eq!(json["counts"]["records_delivered"], 3);
}
