//! What is redelivered, how often, in which order, and where it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lyceum_core::record::{Header, NO_TIMESTAMP, NewRecord, header_text};
use lyceum_event_source_mapping::{Destination, MappingConfig, MappingState, Redelivery};
use lyceum_lambda_event::event::Entry;
use lyceum_lambda_event::on_failure::{self, Lost, LostRange};

use crate::support::*;

fn reporting() -> MappingConfig {
    MappingConfig { report_batch_item_failures: true, ..config() }
}

fn with_destination(config: MappingConfig) -> MappingConfig {
    MappingConfig { on_failure: Some(Destination::Topic(FAILED.into())), ..config }
}

/// Fails whenever the batch has a record of that value.
fn failing_on(value: &'static str) -> std::sync::Arc<Function> {
    Function::new(
        move |records| {
            if records.iter().any(|record| has_value(record, value)) { Err(error()) } else { Ok(Answer::Ok) }
        },
    )
}

/// Answers so as often, and then that all is well.
fn at_first(times: usize, answer: impl Fn() -> Answer + Send + Sync + 'static) -> std::sync::Arc<Function> {
    let left = std::sync::atomic::AtomicUsize::new(times);
    Function::new(move |_| {
        let counts_down = |left: usize| left.checked_sub(1);
        let order = std::sync::atomic::Ordering::SeqCst;
        Ok(if left.fetch_update(order, order, counts_down).is_ok() { answer() } else { Answer::Ok })
    })
}

fn log_of(values: &[&'static str]) -> std::sync::Arc<MemoryLog> {
    let log = MemoryLog::with_topics(1);
    values.iter().for_each(|value| _ = log.append(0, *value));
    log
}

#[tokio::test(start_paused = true)]
async fn a_function_error_brings_the_whole_batch_again_until_it_succeeds() {
    let log = log_of(&["a", "b", "c"]);
    let left = std::sync::atomic::AtomicI32::new(3);
    let function = Function::new(move |_| {
        if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) > 0 { Err(error()) } else { Ok(Answer::Ok) }
    });
    let running = Running::start(config(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0, 1, 2]; 4]);
    let counts = running.mapping.status().counts;
    assert_eq!((counts.batches, counts.invoked, counts.function_errors), (1, 4, 3));
    assert_eq!((counts.records_delivered, counts.failed_again, counts.succeeded), (12, 9, 3));
}

#[tokio::test(start_paused = true)]
async fn answers_that_mean_success_settle_the_batch() {
    for answer in ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
        let log = log_of(&["a", "b"]);
        let function = Function::new(move |_| Ok(Answer::Text(answer)));
        let running = Running::start(reporting(), &log, &function);
        running.settled().await;
        assert_eq!(function.offsets(), [[0, 1]], "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_looked_at_unless_item_failures_are_reported() {
    let log = log_of(&["a"]);
    let function = Function::new(|_| Ok(Answer::Text("\"done\"")));
    let running = Running::start(config(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_answer_brings_the_whole_batch_again() {
    for answer in ["\"done\"", r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#] {
        let log = log_of(&["a", "b"]);
        let function = at_first(2, || Answer::Text(answer));
        let running = Running::start(reporting(), &log, &function);
        running.settled().await;
        assert_eq!(function.offsets(), [[0, 1]; 3], "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_identifier_brings_the_whole_batch_again() {
    let log = log_of(&["a", "b", "c"]);
    let function = at_first(1, || Answer::Failing(vec![(0, 1), (0, 99)]));
    let running = Running::start(reporting(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0, 1, 2]; 2]);
}

#[tokio::test(start_paused = true)]
async fn only_the_failed_records_come_again_in_their_order() {
    let log = log_of(&["a", "b", "c", "d", "e"]);
    let function = at_first(1, || Answer::Failing(vec![(0, 3), (0, 1)]));
    let running = Running::start(reporting(), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [vec![0, 1, 2, 3, 4], vec![1, 3]]);
    // Not past offset 1 while that is redelivered.
    assert_eq!(log.commits(), [(0, 0), (0, 1), (0, 5)]);
}

#[tokio::test(start_paused = true)]
async fn from_the_lowest_failed_record_on_all_come_again_where_asked() {
    let log = log_of(&["a", "b", "c", "d", "e"]);
    let function = at_first(1, || Answer::Failing(vec![(0, 3), (0, 2)]));
    let config = MappingConfig { redelivery: Redelivery::FromLowestFailed, ..reporting() };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [vec![0, 1, 2, 3, 4], vec![2, 3, 4]]);
}

#[tokio::test(start_paused = true)]
async fn in_a_mixed_batch_each_partition_has_its_own_lowest_failed_record() {
    let log = MemoryLog::with_topics(2);
    (0..6).for_each(|number| _ = log.append(number % 2, "x"));
    let function = at_first(1, || Answer::Failing(vec![(0, 2), (1, 1)]));
    let config = MappingConfig { redelivery: Redelivery::FromLowestFailed, mix_partitions: true, ..reporting() };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    assert_eq!(function.invocations()[1], [(0, 2), (1, 1), (1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn later_records_wait_for_those_that_come_again() {
    let log = log_of(&["a", "b", "c", "d"]);
    let function = at_first(3, || Answer::Failing(vec![(0, 0)]));
    let running = Running::start(MappingConfig { batch_size: 2, ..reporting() }, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [vec![0, 1], vec![0], vec![0], vec![0], vec![2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_poison_record_is_isolated_in_log2_steps_without_spending_retries() {
    let log = MemoryLog::with_topics(1);
    (0..64).for_each(|number| _ = log.append(0, if number == 41 { "poison" } else { "fine" }));
    let function = failing_on("poison");
    let config = MappingConfig {
        bisect_batch_on_function_error: true,
        maximum_retry_attempts: Some(0),
        ..with_destination(config())
    };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let counts = running.mapping.status().counts;
    // 64, 32, 16, 8, 4, 2 and 1 records with the poison; the other half of each but the first without.
    assert_eq!((counts.function_errors, counts.invoked), (7, 13));
    assert_eq!((counts.succeeded, counts.on_failure), (63, 1));
    assert_eq!(header_text(&log.records_of(FAILED)[0].headers, "lambda-source"), Some("events/0/41"));
    assert!(function.offsets().iter().all(|offsets| offsets.is_sorted()));
}

#[tokio::test(start_paused = true)]
async fn halves_are_delivered_in_order() {
    let log = log_of(&["a", "b", "poison", "d"]);
    let function = failing_on("poison");
    let config = MappingConfig {
        bisect_batch_on_function_error: true,
        maximum_retry_attempts: Some(1),
        ..with_destination(config())
    };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let expected: [&[i64]; 6] = [&[0, 1, 2, 3], &[0, 1], &[2, 3], &[2], &[2], &[3]];
    assert_eq!(function.offsets(), expected);
}

#[tokio::test(start_paused = true)]
async fn spent_retries_go_to_the_destination_with_their_context() {
    let log = MemoryLog::with_topics(1);
    let original = NewRecord {
        partition: Some(0),
        key: Some("key".into()),
        value: Some("poison".into()),
        headers: vec![Header::new("event-id", "7"), Header { name: "empty".into(), value: None }],
        timestamp_ms: Some(123_456),
    };
    log.append_record(TOPIC, original.clone());
    let function = failing_on("poison");
    let running = Running::start(
        MappingConfig { maximum_retry_attempts: Some(2), ..with_destination(config()) },
        &log,
        &function,
    );
    running.settled().await;
    assert_eq!(function.offsets(), [[0]; 3]);
    let [letter] = &log.records_of(FAILED)[..] else { panic!("one letter") };
    assert_eq!(letter.key, original.key);
    let given_up = on_failure::parse(letter.value.as_deref().unwrap()).unwrap();
    assert_eq!((given_up.condition.as_str(), given_up.invocations), ("RetryAttemptsExhausted", Some(3)));
    let Lost::Entries(entries) = given_up.lost else { panic!("its payload is there") };
    let [Entry::Record(delivered)] = &entries[..] else { panic!("one record") };
    assert_eq!((&delivered.record.key, &delivered.record.value), (&original.key, &original.value));
    assert_eq!((&delivered.record.headers, delivered.record.timestamp_ms), (&original.headers, 123_456));
    assert_eq!(delivered.record.position.to_string(), "events/0/0");
    for (name, value) in [
        ("lambda-condition", "RetryAttemptsExhausted"),
        ("lambda-source", "events/0/0"),
        ("lambda-source-timestamp", "123456"),
        ("lambda-mapping", "mapping"),
        ("lambda-function", "mapping"),
        ("lambda-invoke-count", "3"),
        ("lambda-error", "the function failed with Planned: a test asked for it"),
    ] {
        assert_eq!(header_text(&letter.headers, name), Some(value));
    }
    assert!(header_text(&letter.headers, "lambda-failed-at").unwrap().parse::<Timestamp>().is_ok());
}

#[tokio::test(start_paused = true)]
async fn endless_retries_with_a_destination_end_after_ten_as_on_aws() {
    let log = log_of(&["poison"]);
    let function = failing_on("poison");
    let running = Running::start(with_destination(config()), &log, &function);
    running.settled().await;
    assert_eq!(function.offsets().len(), 11);
    assert_eq!(log.records_of(FAILED).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn spent_retries_without_a_destination_are_discarded_and_counted() {
    let log = log_of(&["poison", "b"]);
    let function = failing_on("poison");
    let config = MappingConfig { maximum_retry_attempts: Some(1), batch_size: 1, ..config() };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let counts = running.mapping.status().counts;
    assert_eq!((counts.discarded, counts.succeeded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_per_record() {
    let log = log_of(&["a", "b"]);
    // "a" fails three times, "b" once.
    let deliveries = std::sync::Mutex::new(BTreeMap::<i64, u32>::new());
    let function = Function::new(move |records| {
        let mut deliveries = deliveries.lock().unwrap();
        let failed = records.iter().filter_map(|record| {
            let offset = record.position.offset;
            let count = deliveries.entry(offset).or_default();
            *count += 1;
            (*count <= if offset == 0 { 3 } else { 1 }).then_some((0, offset))
        });
        Ok(Answer::Failing(failed.collect()))
    });
    let config = MappingConfig { maximum_retry_attempts: Some(2), ..with_destination(reporting()) };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [vec![0, 1], vec![0, 1], vec![0]]);
    let letters = log.records_of(FAILED);
    assert_eq!(letters.len(), 1);
    assert_eq!(header_text(&letters[0].headers, "lambda-source"), Some("events/0/0"));
    assert!(header_text(&letters[0].headers, "lambda-error").unwrap().contains("reported"));
}

#[tokio::test(start_paused = true)]
async fn a_record_older_than_its_limit_is_never_delivered() {
    let log = MemoryLog::with_topics(1);
    let now = Timestamp::now().as_millisecond();
    log.append_at(0, Some("old".into()), now - 3_600_000);
    log.append_at(0, Some("undated".into()), NO_TIMESTAMP);
    log.append_at(0, Some("young".into()), now);
    let function = Function::succeeding();
    let config = MappingConfig { maximum_record_age: Some(Duration::from_secs(600)), ..with_destination(config()) };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[1, 2]]);
    let letters = log.records_of(FAILED);
    assert_eq!(header_text(&letters[0].headers, "lambda-condition"), Some("RecordAgeExceeded"));
    assert_eq!(header_text(&letters[0].headers, "lambda-invoke-count"), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_until_it_is_too_old_is_given_up() {
    let log = log_of(&["poison"]);
    let function = failing_on("poison");
    let mut config = MappingConfig {
        maximum_record_age: Some(Duration::from_secs(60)),
        maximum_retry_attempts: Some(10_000),
        ..with_destination(config())
    };
    config.backoff.cap = Duration::from_secs(10);
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let letters = log.records_of(FAILED);
    assert_eq!(header_text(&letters[0].headers, "lambda-condition"), Some("RecordAgeExceeded"));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_away_loses_nothing() {
    let log = log_of(&["poison"]);
    let on_failure = Some(Destination::Topic("not.there.yet".into()));
    let function = failing_on("poison");
    let config = MappingConfig { maximum_retry_attempts: Some(0), on_failure, ..config() };
    let running = Running::start(config, &log, &function);
    running
        .until(
            |status| matches!(&status.state, MappingState::Failing { reason, .. } if reason.contains("not.there.yet")),
        )
        .await;
    assert_eq!(log.committed_of("group"), [(0, 0)].into());
    log.add_topic("not.there.yet", 1);
    running.settled().await;
    assert_eq!(log.records_of("not.there.yet").len(), 1);
    assert_eq!(function.offsets(), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_too_large_with_its_payload_tells_its_place_and_else_is_discarded() {
    let log = MemoryLog::with_topics(1);
    log.append(0, vec![b'x'; 4_000]);
    let key = Some(vec![b'k'; 4_000].into());
    log.append_record(
        TOPIC,
        NewRecord { partition: Some(0), key, value: Some("poison".into()), ..NewRecord::default() },
    );
    log.set_largest_record(3_000);
    let function = Function::new(|_| Err(error()));
    let config = MappingConfig { maximum_retry_attempts: Some(0), ..with_destination(config()) };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let letters = log.records_of(FAILED);
    assert_eq!(letters.len(), 1);
    let given_up = on_failure::parse(letters[0].value.as_deref().unwrap()).unwrap();
    let range = LostRange { topic: TOPIC.to_owned(), partition: 0, first: 0, last: 0 };
    assert_eq!(given_up.lost, Lost::Ranges(vec![range]));
    let counts = running.mapping.status().counts;
    assert_eq!((counts.on_failure, counts.discarded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_function_is_a_function_error() {
    let log = log_of(&["poison", "b"]);
    let function = Function::new(|records| {
        assert!(!has_value(&records[0], "poison"), "planned panic");
        Ok(Answer::Ok)
    });
    let config = MappingConfig { maximum_retry_attempts: Some(1), batch_size: 1, ..with_destination(config()) };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0], [0], [1]]);
    let letters = log.records_of(FAILED);
    assert!(header_text(&letters[0].headers, "lambda-error").unwrap().contains("planned panic"));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_never_answers_is_timed_out() {
    let log = log_of(&["a"]);
    let function = at_first(1, || Answer::Never);
    let config = MappingConfig { function_timeout: Duration::from_secs(3), ..config() };
    let running = Running::start(config, &log, &function);
    running.settled().await;
    assert_eq!(function.offsets(), [[0], [0]]);
    assert!(running.mapping.status().last_error.unwrap().message.contains("did not answer within 3s"));
}

#[tokio::test(start_paused = true)]
async fn waits_grow_up_to_the_cap() {
    let log = log_of(&["a"]);
    let begin = tokio::time::Instant::now();
    let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = times.clone();
    let function = Function::new(move |_| {
        let mut times = noted.lock().unwrap();
        times.push(begin.elapsed().as_millis());
        if times.len() < 8 { Err(error()) } else { Ok(Answer::Ok) }
    });
    let mut config = config();
    config.backoff.base = Duration::from_millis(100);
    config.backoff.cap = Duration::from_secs(1);
    let running = Running::start(config, &log, &function);
    running.settled().await;
    let times = times.lock().unwrap();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Three quarters of 100, 200, 400, 800 and then of the cap: the clock's jitter is a half.
    for (wait, expected) in waits.iter().zip([75, 150, 300, 600, 750, 750, 750]) {
        assert!(wait.abs_diff(expected) <= 2, "{waits:?}");
    }
}
