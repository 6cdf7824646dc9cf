//! How records become batches: by number, by bytes, by time, by partition.

use std::sync::Arc;
use std::time::Duration;

use lyceum_event_source_mapping::{Destination, EventSourceMapping, MappingConfig};
use lyceum_testing::clock::TokioClock;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_as_many_records_as_asked_for() {
    let log = MemoryLog::with_topics(1);
    (0..25).for_each(|number| _ = log.append(0, format!("{number}")));
    let function = Function::succeeding();
    let running = Running::start(MappingConfig { batch_size: 10, ..config() }, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets().iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(first_deliveries(&function.invocations()).len(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_never_larger_than_its_limit_and_as_full_as_it_can_be() {
    let log = MemoryLog::with_topics(1);
    (0..40).for_each(|number| _ = log.append(0, vec![b'x'; 10 * number]));
    let function = Function::succeeding();
    let limit = 2_000;
    let running = Running::start(MappingConfig { payload_limit_bytes: limit, ..config() }, &log, &function);
    running.settled().await;
    let sizes = function.payload_sizes();
    assert!(sizes.iter().all(|size| *size <= limit), "{sizes:?}");
    // The largest record makes 520 bytes of base64 and some 150 of JSON around it.
    assert!(sizes[..sizes.len() - 1].iter().all(|size| *size > limit - 700), "{sizes:?}");
    assert_eq!(first_deliveries(&function.invocations()).len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_its_window() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let window = Duration::from_secs(10);
    let running = Running::start(MappingConfig { batching_window: window, ..config() }, &log, &function);
    log.append(0, "first");
    tokio::time::sleep(Duration::from_secs(6)).await;
    log.append(0, "second");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(function.offsets(), [[0; 0]; 0]);
    running.settled().await;
    assert_eq!(function.offsets(), [[0, 1]]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_holds_no_batch() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let config = MappingConfig { batching_window: Duration::from_secs(10), ..config() };
    let mapping = EventSourceMapping::new(config, log.clone(), function.clone()).unwrap();
    let clock = TokioClock::stepping(1_772_439_300_000, -3_600_000);
    let running = Running::start_mapping(Arc::new(mapping.with_clock(Arc::new(clock))));
    let begin = tokio::time::Instant::now();
    log.append(0, "first");
    running.settled().await;
    assert!(begin.elapsed() < Duration::from_secs(600), "{:?}", begin.elapsed());
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_its_window() {
    let log = MemoryLog::with_topics(1);
    let function = Function::succeeding();
    let window = Duration::from_secs(300);
    let running = Running::start(MappingConfig { batching_window: window, batch_size: 2, ..config() }, &log, &function);
    let begin = tokio::time::Instant::now();
    (0..4).for_each(|_| _ = log.append(0, "x"));
    running.settled().await;
    assert!(begin.elapsed() < window, "{:?}", begin.elapsed());
    assert_eq!(function.offsets(), [[0, 1], [2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_of_one_partition_and_a_slow_partition_holds_up_no_other() {
    let log = MemoryLog::with_topics(3);
    (0..30).for_each(|number| _ = log.append(number % 3, "x"));
    let function =
        Function::new(|records| Ok(if records[0].position.partition == 1 { Answer::Never } else { Answer::Ok }));
    let running = Running::start(config(), &log, &function);
    running.mapping.wait_until_settled(&[(0, 10), (2, 10)].into()).await;
    for batch in function.invocations() {
        assert!(batch.iter().all(|(partition, _)| *partition == batch[0].0), "{batch:?}");
    }
    assert_eq!(log.committed_of("group")[&1], 0);
}

#[tokio::test(start_paused = true)]
async fn mixed_batches_take_from_every_partition_its_share() {
    let log = MemoryLog::with_topics(3);
    (0..30).for_each(|number| _ = log.append(number % 3, "x"));
    let function = Function::succeeding();
    let config = MappingConfig { mix_partitions: true, batch_size: 9, ..config() };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let first = &function.invocations()[0];
    for partition in 0..3 {
        assert_eq!(first.iter().filter(|(of, _)| *of == partition).count(), 3, "{first:?}");
    }
    let all = first_deliveries(&function.invocations());
    for partition in 0..3 {
        let offsets: Vec<_> = all.iter().filter(|(of, _)| *of == partition).map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_too_large_for_any_payload_goes_to_the_destination() {
    let log = MemoryLog::with_topics(1);
    log.append(0, "small");
    log.append(0, vec![b'x'; 4_000]);
    log.append(0, "small");
    let function = Function::succeeding();
    let on_failure = Some(Destination::Topic(FAILED.into()));
    let running = Running::start(MappingConfig { payload_limit_bytes: 2_000, on_failure, ..config() }, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets().concat(), [0, 2]);
    let letters = log.records_of(FAILED);
    assert_eq!(letters.len(), 1);
    let given_up = lyceum_lambda_event::on_failure::parse(letters[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((given_up.condition.as_str(), given_up.invocations), ("MaximumPayloadSizeExceeded", Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_record_too_large_with_no_destination_is_discarded_and_counted() {
    let log = MemoryLog::with_topics(1);
    log.append(0, vec![b'x'; 4_000]);
    log.append(0, "small");
    let function = Function::succeeding();
    let running = Running::start(MappingConfig { payload_limit_bytes: 2_000, ..config() }, &log, &function);
    running.settled().await;
    let status = running.mapping.status();
    assert_eq!((status.counts.discarded, status.counts.succeeded), (1, 1));
    assert!(status.last_error.unwrap().message.contains("MaximumPayloadSizeExceeded"));
}
