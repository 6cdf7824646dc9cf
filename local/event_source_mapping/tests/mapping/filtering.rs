//! The filter, as the mapping uses it.

use lyceum_core::ports::event_log::Follow;
use lyceum_event_source_mapping::{EventSourceMapping, FilterCriteria, MappingConfig};

use crate::support::*;

fn filtering() -> MappingConfig {
    let filter = FilterCriteria::of([r#"{"value": {"verb": ["completed"]}}"#]);
    MappingConfig { filter: Some(filter), ..config() }
}

#[tokio::test(start_paused = true)]
async fn the_function_gets_what_matches_and_the_rest_is_settled() {
    let log = MemoryLog::with_topics(1);
    for value in [r#"{"verb":"completed"}"#, r#"{"verb":"opened"}"#, "no json", r#"{"verb":"completed"}"#, "{}"] {
        log.append(0, value);
    }
    log.append_at(0, None, 0);
    let function = Function::succeeding();
    let running = Running::start(filtering(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0, 3]]);
    let counts = running.mapping.status().counts;
    assert_eq!((counts.succeeded, counts.filtered, counts.filtered_unreadable), (2, 4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_filled_behind_the_filter() {
    let log = MemoryLog::with_topics(1);
    for number in 0..40 {
        log.append(0, if number % 4 == 0 { r#"{"verb":"completed"}"# } else { "{}" });
    }
    let function = Function::succeeding();
    let running = Running::start(MappingConfig { batch_size: 5, ..filtering() }, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0, 4, 8, 12, 16], [20, 24, 28, 32, 36]]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_matches_offsets_are_committed_all_the_same() {
    let log = MemoryLog::with_topics(1);
    (0..10).for_each(|_| _ = log.append(0, "{}"));
    let function = Function::succeeding();
    let running = Running::start(filtering(), &log, &function);
    running.settled().await;
    assert_eq!(log.committed("group", TOPIC).await.unwrap(), [(0, 10)].into());
    assert_eq!(running.mapping.status().counts.invoked, 0);
}

#[test]
fn an_invalid_filter_is_refused_together_with_the_other_settings() {
    let filter = Some(FilterCriteria::of([r#"{"key": ["x"]}"#]));
    let config = MappingConfig { filter, batch_size: 0, ..config() };
    let refused = EventSourceMapping::new(config, MemoryLog::with_topics(1), Function::succeeding());
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("batch_size is 0") && message.contains("Filters/0/Pattern"), "{message}");
}
