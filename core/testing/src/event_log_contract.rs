//! What every adapter of this port must do, and its twin and its model with it.
//!
//! A check panics with what it missed. Each makes topics of its own, so that all may run against one log, at once or
//! again and again: a broker that is kept between runs will do. The logs under test must take a record of 100 kB and
//! refuse one of 64 MB.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::{BoxFuture, Either, join, join_all, select, select_all};
use uuid::Uuid;

use lyceum_core::clock::ms_since_1970;
use lyceum_core::ports::event_log::{Change, EventLog, EventLogError, Membership, OffsetRange, Retention, TopicSpec};
use lyceum_core::record::{Header, NewRecord, Record, partition_for_key};

/// A check: it panics where the log does not keep its word.
pub type Check = for<'a> fn(&'a dyn EventLog) -> BoxFuture<'a, ()>;

macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |log| Box::pin($name(log)))),*]
    };
}

/// What the trait promises, by the check's name.
pub const CHECKS: &[(&str, Check)] = checks![
    a_topic_is_there_once_it_is_created,
    creating_a_topic_again_changes_nothing,
    a_topic_grows_and_keeps_its_records,
    a_topic_never_shrinks,
    a_topic_takes_over_a_new_retention,
    a_bad_topic_name_or_shape_is_refused,
    a_record_is_read_as_it_was_written,
    records_keep_their_order_and_get_consecutive_offsets,
    a_key_goes_to_the_partition_that_kafka_would_choose,
    a_named_partition_is_stronger_than_a_key,
    records_without_key_go_round,
    a_record_without_timestamp_gets_the_logs_own,
    producing_nothing_is_fine,
    one_bad_record_keeps_the_others_out,
    a_record_that_is_too_large_is_refused,
    a_large_record_comes_back_whole,
    a_fetch_ends_at_max_records,
    a_fetch_ends_at_max_bytes_but_brings_one,
    a_fetch_at_the_end_is_empty,
    a_fetch_outside_names_what_is_there,
    a_fetch_begins_anywhere,
    a_partition_that_a_reader_left_is_read_as_before,
    offsets_are_kept_per_partition,
    a_time_finds_the_first_record_at_or_after_it,
    a_time_is_found_among_disordered_ones,
    commits_are_kept_per_group_and_topic,
    a_commit_may_move_back,
    a_commit_is_all_or_none,
    an_unknown_topic_is_named,
    an_unknown_partition_is_named,
    a_wait_ends_with_a_record,
    a_wait_ends_with_its_time,
    a_wait_sleeps_through_other_topics,
    producers_at_once_lose_and_double_nothing,
    readers_do_not_disturb_each_other,
    a_member_alone_gets_every_partition,
    two_members_share_the_partitions,
    a_member_that_leaves_gives_all_to_the_other,
    a_member_that_is_dropped_gives_all_to_the_other,
    nothing_is_assigned_to_two_at_once,
    a_member_commits_what_it_has_and_nothing_else,
    a_member_commits_until_it_has_released,
    a_commit_from_outside_waits_for_an_empty_group,
    members_of_another_group_are_not_disturbed,
    a_partition_that_is_added_is_assigned,
    joining_for_an_unknown_topic_names_it,
];

/// What a log promises beyond the port that answers with all that it has, at once: the project's own logs.
pub const EXACT_CHECKS: &[(&str, Check)] = checks![a_fetch_brings_all_that_fits];

/// What becomes of expired records. Apart, because Kafka's own retention comes minutes later and by whole segments: these
/// are for logs whose [`apply_retention`](lyceum_core::ports::event_log::Administer::apply_retention) acts at once.
pub const RETENTION_CHECKS: &[(&str, Check)] = checks![
    nothing_expires_without_a_limit,
    records_expire_by_age,
    an_old_record_behind_a_young_one_stays,
    records_expire_by_bytes_but_for_the_newest,
    a_partition_that_expired_whole_keeps_its_end,
    a_time_is_found_after_others_expired,
    retention_spares_commits_and_other_topics,
];

/// Runs the checks one after the other, each announced by its name on standard error.
pub async fn run(checks: &[(&str, Check)], log: &dyn EventLog) {
    for (name, check) in checks {
        eprintln!("checking that {}", name.replace('_', " "));
        check(log).await;
    }
}

const EVERYTHING: usize = 64 * 1024 * 1024;

fn name_topic() -> String {
    format!("contract.{}", Uuid::new_v4().simple())
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() }
}

async fn create(log: &dyn EventLog, partitions: i32) -> String {
    let name = name_topic();
    log.create_topic(spec(&name, partitions)).await.expect("a topic is created");
    name
}

async fn create_retaining(log: &dyn EventLog, retention: Retention) -> String {
    let name = name_topic();
    log.create_topic(TopicSpec { retention, ..spec(&name, 1) }).await.expect("a topic is created");
    name
}

fn record(value: impl Into<Bytes>) -> NewRecord {
    NewRecord { value: Some(value.into()), partition: Some(0), ..NewRecord::default() }
}

fn number(n: usize) -> NewRecord {
    record(n.to_string())
}

fn timed(timestamp_ms: i64) -> NewRecord {
    NewRecord { timestamp_ms: Some(timestamp_ms), ..record("") }
}

async fn produce(log: &dyn EventLog, topic: &str, records: impl IntoIterator<Item = NewRecord>) -> Vec<i64> {
    let positions = log.produce(topic, records.into_iter().collect()).await.expect("records are produced");
    positions.into_iter().map(|position| position.offset).collect()
}

/// Everything from the offset on: a log may answer with less than was asked for.
async fn fetch_all(log: &dyn EventLog, topic: &str, partition: i32, mut offset: i64) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let more = log.fetch(topic, partition, offset, 1000, EVERYTHING).await.expect("records are fetched");
        let Some(last) = more.last() else {
            return records;
        };
        offset = last.position.offset + 1;
        records.extend(more);
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    records.iter().map(text).collect()
}

fn offsets_of(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.position.offset).collect()
}

async fn range(log: &dyn EventLog, topic: &str) -> OffsetRange {
    log.offsets(topic).await.expect("offsets are known")[0]
}

async fn find(log: &dyn EventLog, name: &str) -> Option<TopicSpec> {
    let topics = log.topics().await.expect("topics are listed");
    assert!(topics.is_sorted_by(|one, other| one.name < other.name), "topics come by name, each once");
    topics.into_iter().find(|topic| topic.name == name)
}

async fn a_topic_is_there_once_it_is_created(log: &dyn EventLog) {
    let retention = Retention { age: Some(Duration::from_millis(604_800_001)), bytes: Some(1 << 40) };
    let name = name_topic();
    assert_eq!(find(log, &name).await, None);
    let spec = TopicSpec { retention, ..spec(&name, 3) };
    log.create_topic(spec.clone()).await.unwrap();
    assert_eq!(find(log, &name).await, Some(spec));
    assert_eq!(log.offsets(&name).await.unwrap(), [OffsetRange { start: 0, end: 0 }; 3]);
}

async fn creating_a_topic_again_changes_nothing(log: &dyn EventLog) {
    let topic = create(log, 2).await;
    produce(log, &topic, [number(1)]).await;
    log.create_topic(spec(&topic, 2)).await.unwrap();
    assert_eq!(find(log, &topic).await, Some(spec(&topic, 2)));
    assert_eq!(texts(&fetch_all(log, &topic, 0, 0).await), ["1"]);
}

async fn a_topic_grows_and_keeps_its_records(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, [number(1)]).await;
    log.create_topic(spec(&topic, 4)).await.unwrap();
    produce(log, &topic, [NewRecord { partition: Some(3), ..number(2) }]).await;
    assert_eq!(log.offsets(&topic).await.unwrap().iter().map(|range| range.end).collect::<Vec<_>>(), [1, 0, 0, 1]);
    assert_eq!(texts(&fetch_all(log, &topic, 0, 0).await), ["1"]);
    assert_eq!(texts(&fetch_all(log, &topic, 3, 0).await), ["2"]);
}

async fn a_topic_never_shrinks(log: &dyn EventLog) {
    let topic = create(log, 3).await;
    let refused = log.create_topic(spec(&topic, 2)).await.unwrap_err();
    assert!(matches!(refused, EventLogError::Refused(_)), "{refused}");
    assert!(!refused.is_transient());
    assert_eq!(find(log, &topic).await, Some(spec(&topic, 3)));
}

async fn a_topic_takes_over_a_new_retention(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    let retention = Retention { age: Some(Duration::from_secs(3600)), bytes: None };
    let retaining = TopicSpec { retention, ..spec(&topic, 1) };
    log.create_topic(retaining.clone()).await.unwrap();
    assert_eq!(find(log, &topic).await, Some(retaining));
    log.create_topic(spec(&topic, 1)).await.unwrap();
    assert_eq!(find(log, &topic).await, Some(spec(&topic, 1)));
}

async fn a_bad_topic_name_or_shape_is_refused(log: &dyn EventLog) {
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", "a:b", "a\n", long.as_str()] {
        let refused = log.create_topic(spec(name, 1)).await.expect_err(name);
        assert!(matches!(refused, EventLogError::Refused(_)), "{name:?}: {refused}");
    }
    for partitions in [0, -1, i32::MIN] {
        let name = name_topic();
        let refused = log.create_topic(spec(&name, partitions)).await.expect_err("no such number of partitions");
        assert!(matches!(refused, EventLogError::Refused(_)), "{partitions}: {refused}");
        assert_eq!(find(log, &name).await, None);
    }
    let mut longest = name_topic();
    longest.push_str(&"_-.Z9".repeat(50)[..249 - longest.len()]);
    log.create_topic(spec(&longest, 1)).await.expect("249 characters are a name");
}

async fn a_record_is_read_as_it_was_written(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    let every_byte = Bytes::from_iter(0..=255u8);
    let header = |name: &str, value: Option<&Bytes>| Header { name: name.to_owned(), value: value.cloned() };
    let plain = NewRecord { partition: Some(0), timestamp_ms: Some(1_700_000_000_000), ..NewRecord::default() };
    let written = [
        NewRecord { key: Some("k".into()), value: Some("v".into()), ..plain.clone() },
        plain.clone(),
        NewRecord { key: Some(Bytes::new()), value: Some(Bytes::new()), ..plain.clone() },
        NewRecord { key: Some(every_byte.clone()), value: Some(every_byte.repeat(9).into()), ..plain.clone() },
        NewRecord {
            headers: vec![
                header("twice", Some(&"1".into())),
                header("null", None),
                header("twice", Some(&"2".into())),
                header("empty", Some(&Bytes::new())),
                header("ключ", Some(&every_byte)),
            ],
            // Not 0, which Kafka's clients take for none.
            timestamp_ms: Some(1),
            ..plain
        },
    ];
    produce(log, &topic, written.clone()).await;
    let read = fetch_all(log, &topic, 0, 0).await;
    assert_eq!(read.len(), written.len());
    for (index, (read, written)) in read.into_iter().zip(written).enumerate() {
        assert_eq!(read.position.to_string(), format!("{topic}/0/{index}"));
        let Record { timestamp_ms, key, value, headers, .. } = read;
        let read = NewRecord { partition: Some(0), timestamp_ms: Some(timestamp_ms), key, value, headers };
        assert_eq!(read, written);
    }
}

async fn records_keep_their_order_and_get_consecutive_offsets(log: &dyn EventLog) {
    let topic = create(log, 2).await;
    let mut expected = [Vec::new(), Vec::new()];
    for call in 0..5 {
        let records: Vec<_> =
            (0..20).map(|n| NewRecord { partition: Some(n % 2), ..record(format!("{call}-{n}")) }).collect();
        for record in &records {
            let text = String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap();
            expected[record.partition.unwrap() as usize].push(text);
        }
        let positions = log.produce(&topic, records).await.unwrap();
        for (n, position) in positions.iter().enumerate() {
            let expected = format!("{topic}/{}/{}", n % 2, call * 10 + n / 2);
            assert_eq!(position.to_string(), expected, "positions come in the records' order");
        }
    }
    for partition in 0..2 {
        let read = fetch_all(log, &topic, partition, 0).await;
        assert_eq!(texts(&read), expected[partition as usize]);
        assert_eq!(offsets_of(&read), (0..50).collect::<Vec<_>>());
    }
}

async fn a_key_goes_to_the_partition_that_kafka_would_choose(log: &dyn EventLog) {
    let topic = create(log, 7).await;
    let keys: Vec<_> = (0..50).map(|n| format!("learner-{n}")).collect();
    let records = keys.iter().map(|key| NewRecord { key: Some(key.clone().into()), ..NewRecord::default() });
    let positions = log.produce(&topic, records.collect()).await.unwrap();
    for (key, position) in keys.iter().zip(positions) {
        assert_eq!(position.partition, partition_for_key(key.as_bytes(), 7), "{key}");
    }
}

async fn a_named_partition_is_stronger_than_a_key(log: &dyn EventLog) {
    let topic = create(log, 5).await;
    let named = (partition_for_key(b"key", 5) + 1) % 5;
    let record = NewRecord { partition: Some(named), key: Some("key".into()), ..NewRecord::default() };
    assert_eq!(log.produce(&topic, vec![record]).await.unwrap()[0].partition, named);
}

async fn records_without_key_go_round(log: &dyn EventLog) {
    let topic = create(log, 3).await;
    for records in [1, 4, 7] {
        log.produce(&topic, vec![NewRecord::default(); records]).await.unwrap();
    }
    assert_eq!(log.offsets(&topic).await.unwrap(), [OffsetRange { start: 0, end: 4 }; 3]);
}

async fn a_record_without_timestamp_gets_the_logs_own(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    let now_ms = ms_since_1970(SystemTime::now());
    produce(log, &topic, [number(1), timed(5)]).await;
    let read = fetch_all(log, &topic, 0, 0).await;
    assert!(now_ms.abs_diff(read[0].timestamp_ms) < 86_400_000, "{} is not today", read[0].timestamp_ms);
    assert_eq!(read[1].timestamp_ms, 5);
}

async fn producing_nothing_is_fine(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    assert_eq!(log.produce(&topic, Vec::new()).await.unwrap(), []);
    assert_eq!(range(log, &topic).await, OffsetRange { start: 0, end: 0 });
}

async fn one_bad_record_keeps_the_others_out(log: &dyn EventLog) {
    let topic = create(log, 2).await;
    let keyed = NewRecord { key: Some("key".into()), ..NewRecord::default() };
    for bad in [NewRecord { partition: Some(2), ..number(2) }, record(vec![0; EVERYTHING])] {
        log.produce(&topic, vec![number(1), keyed.clone(), bad, number(3)]).await.expect_err("a bad record");
        assert_eq!(log.offsets(&topic).await.unwrap(), [OffsetRange { start: 0, end: 0 }; 2]);
    }
}

async fn a_record_that_is_too_large_is_refused(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    let refused = log.produce(&topic, vec![record(vec![0; EVERYTHING])]).await.unwrap_err();
    let EventLogError::TooLarge { bytes, limit_bytes } = refused else {
        panic!("{refused}");
    };
    assert!(bytes >= EVERYTHING && limit_bytes < EVERYTHING, "{bytes} of {limit_bytes}");
}

async fn a_large_record_comes_back_whole(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    let large = Bytes::from_iter((0..100_000u32).map(|n| (n % 251) as u8));
    produce(log, &topic, [number(0), record(large.clone()), number(2)]).await;
    let read = fetch_all(log, &topic, 0, 0).await;
    assert_eq!(offsets_of(&read), [0, 1, 2]);
    assert_eq!(read[1].value, Some(large));
}

async fn a_fetch_ends_at_max_records(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, (0..5).map(number)).await;
    produce(log, &topic, (5..10).map(number)).await;
    for max_records in 0..=10 {
        let read = log.fetch(&topic, 0, 2, max_records, EVERYTHING).await.unwrap();
        assert!(read.len() <= max_records.min(8));
        assert_eq!(offsets_of(&read), (2..).take(read.len()).collect::<Vec<_>>());
        assert_eq!(read.is_empty(), max_records == 0);
    }
}

async fn a_fetch_ends_at_max_bytes_but_brings_one(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    let headers = vec![Header::new("name", vec![0; 16])];
    let of_100_bytes = NewRecord { key: Some(vec![0; 30].into()), headers, ..record(vec![0; 50]) };
    produce(log, &topic, vec![of_100_bytes; 10]).await;
    for (max_bytes, expected) in [(0, 1), (1, 1), (100, 1), (199, 1), (200, 2), (350, 3), (1000, 10), (5000, 10)] {
        let read = log.fetch(&topic, 0, 0, 100, max_bytes).await.unwrap();
        // Fewer may be at hand; the first one always is.
        assert!((1..=expected).contains(&read.len()), "{} in {max_bytes} bytes", read.len());
    }
}

async fn a_fetch_brings_all_that_fits(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, vec![record(vec![0; 100]); 10]).await;
    for (max_records, max_bytes, expected) in [(100, 0, 1), (100, 199, 1), (100, 200, 2), (3, 1000, 3), (100, 1000, 10)]
    {
        let read = log.fetch(&topic, 0, 0, max_records, max_bytes).await.unwrap();
        assert_eq!(read.len(), expected, "{max_records} records in {max_bytes} bytes");
    }
}

async fn a_fetch_at_the_end_is_empty(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    assert_eq!(log.fetch(&topic, 0, 0, 10, EVERYTHING).await.unwrap(), []);
    produce(log, &topic, [number(0)]).await;
    assert_eq!(log.fetch(&topic, 0, 1, 10, EVERYTHING).await.unwrap(), []);
}

async fn a_fetch_outside_names_what_is_there(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, (0..3).map(number)).await;
    for outside in [-1, 4, i64::MIN, i64::MAX] {
        match log.fetch(&topic, 0, outside, 10, EVERYTHING).await {
            Err(EventLogError::OffsetOutOfRange { topic: named, partition: 0, offset, range }) => {
                assert_eq!((named, offset, range), (topic.clone(), outside, OffsetRange { start: 0, end: 3 }));
            }
            other => panic!("{outside}: {other:?}"),
        }
    }
}

async fn a_fetch_begins_anywhere(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    for call in 0..4 {
        produce(log, &topic, (0..25).map(|n| number(call * 25 + n))).await;
    }
    for offset in 0..100 {
        let read = log.fetch(&topic, 0, offset, 1, EVERYTHING).await.unwrap();
        assert_eq!((offsets_of(&read), texts(&read)), (vec![offset], vec![offset.to_string()]));
    }
}

async fn a_partition_that_a_reader_left_is_read_as_before(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, (0..3).map(number)).await;
    // Below, at and above where a reader stands, and where nobody reads.
    log.stop_reading(&topic, 0, 0);
    for until in [2, 3, 4] {
        assert_eq!(texts(&fetch_all(log, &topic, 0, 0).await), ["0", "1", "2"]);
        log.stop_reading(&topic, 0, until);
    }
    log.stop_reading(&topic, 7, 3);
    log.stop_reading("no.such.topic", 0, 3);
    produce(log, &topic, [number(3)]).await;
    assert_eq!(texts(&fetch_all(log, &topic, 0, 3).await), ["3"]);
    assert_eq!(texts(&fetch_all(log, &topic, 0, 1).await), ["1", "2", "3"]);
}

async fn offsets_are_kept_per_partition(log: &dyn EventLog) {
    let topic = create(log, 3).await;
    for partition in [2, 2, 0] {
        produce(log, &topic, [NewRecord { partition: Some(partition), ..number(0) }]).await;
    }
    let ends: Vec<_> = log.offsets(&topic).await.unwrap().iter().map(|range| (range.start, range.end)).collect();
    assert_eq!(ends, [(0, 1), (0, 0), (0, 2)]);
}

async fn assert_found(log: &dyn EventLog, topic: &str, expected: &[(i64, Option<i64>)]) {
    for &(timestamp_ms, offset) in expected {
        assert_eq!(log.offset_at(topic, 0, timestamp_ms).await.unwrap(), offset, "at {timestamp_ms}");
    }
}

async fn a_time_finds_the_first_record_at_or_after_it(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    assert_found(log, &topic, &[(0, None)]).await;
    produce(log, &topic, [100, 200].map(timed)).await;
    produce(log, &topic, [200, 300].map(timed)).await;
    let expected =
        [(0, Some(0)), (100, Some(0)), (101, Some(1)), (200, Some(1)), (201, Some(3)), (300, Some(3)), (301, None)];
    assert_found(log, &topic, &expected).await;
}

async fn a_time_is_found_among_disordered_ones(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    for call in [[500, 100], [300, 700], [200, 600], [900, 800]] {
        produce(log, &topic, call.map(timed)).await;
    }
    let expected =
        [(100, Some(0)), (500, Some(0)), (501, Some(3)), (700, Some(3)), (701, Some(6)), (900, Some(6)), (901, None)];
    assert_found(log, &topic, &expected).await;
}

async fn commits_are_kept_per_group_and_topic(log: &dyn EventLog) {
    let (one, other) = (create(log, 3).await, create(log, 3).await);
    let (us, them) = (name_topic(), name_topic());
    assert!(log.committed(&us, &one).await.unwrap().is_empty());
    log.commit(&us, &one, &[(0, 5), (2, 7)]).await.unwrap();
    log.commit(&them, &one, &[(0, 1)]).await.unwrap();
    log.commit(&us, &other, &[(1, 9)]).await.unwrap();
    log.commit(&us, &one, &[(1, 6)]).await.unwrap();
    log.commit(&us, &one, &[]).await.unwrap();
    assert_eq!(log.committed(&us, &one).await.unwrap(), [(0, 5), (1, 6), (2, 7)].into());
    assert_eq!(log.committed(&them, &one).await.unwrap(), [(0, 1)].into());
    assert_eq!(log.committed(&us, &other).await.unwrap(), [(1, 9)].into());
    assert!(log.committed(&them, &other).await.unwrap().is_empty());
}

async fn a_commit_may_move_back(log: &dyn EventLog) {
    let (topic, group) = (create(log, 1).await, name_topic());
    for offset in [10, 3, 0, 4] {
        log.commit(&group, &topic, &[(0, offset)]).await.unwrap();
        assert_eq!(log.committed(&group, &topic).await.unwrap(), [(0, offset)].into());
    }
}

async fn a_commit_is_all_or_none(log: &dyn EventLog) {
    let (topic, group) = (create(log, 2).await, name_topic());
    log.commit(&group, &topic, &[(0, 1)]).await.unwrap();
    log.commit(&group, &topic, &[(0, 2), (2, 2)]).await.expect_err("there is no partition 2");
    log.commit(&group, &topic, &[(0, 2), (1, -1)]).await.expect_err("there is no offset -1");
    assert_eq!(log.committed(&group, &topic).await.unwrap(), [(0, 1)].into());
}

async fn an_unknown_topic_is_named(log: &dyn EventLog) {
    let topic = name_topic();
    let errors = [
        log.produce(&topic, vec![number(1)]).await.map(drop),
        log.produce(&topic, Vec::new()).await.map(drop),
        log.fetch(&topic, 0, 0, 1, 1).await.map(drop),
        log.offsets(&topic).await.map(drop),
        log.offset_at(&topic, 0, 0).await.map(drop),
        log.committed("group", &topic).await.map(drop),
        log.commit("group", &topic, &[(0, 0)]).await,
    ];
    for error in errors {
        assert!(matches!(&error, Err(EventLogError::UnknownTopic(named)) if *named == topic), "{error:?}");
    }
    assert_eq!(find(log, &topic).await, None, "asking for a topic does not create it");
}

async fn an_unknown_partition_is_named(log: &dyn EventLog) {
    let topic = create(log, 2).await;
    for partition in [-1, 2, i32::MAX] {
        let errors = [
            log.produce(&topic, vec![NewRecord { partition: Some(partition), ..number(1) }]).await.map(drop),
            log.fetch(&topic, partition, 0, 1, 1).await.map(drop),
            log.offset_at(&topic, partition, 0).await.map(drop),
            log.commit("group", &topic, &[(partition, 0)]).await,
        ];
        for error in errors {
            match error {
                Err(EventLogError::UnknownPartition { topic: named, partition: found, partitions }) => {
                    assert_eq!((named, found, partitions), (topic.clone(), partition, 2));
                }
                other => panic!("{partition}: {other:?}"),
            }
        }
    }
}

async fn a_wait_ends_with_a_record(log: &dyn EventLog) {
    const LONG: Duration = Duration::from_secs(120);
    let topic = create(log, 2).await;
    for round in 0..20 {
        let begun = Instant::now();
        join(log.wait_for_records(&topic, LONG), produce(log, &topic, [number(round)])).await;
        assert!(begun.elapsed() < LONG, "the record did not wake the one who waited");
    }
}

async fn a_wait_ends_with_its_time(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, [number(1)]).await;
    log.wait_for_records(&topic, Duration::from_millis(10)).await;
    log.wait_for_records(&topic, Duration::ZERO).await;
    assert_eq!(range(log, &topic).await.end, 1);
}

async fn a_wait_sleeps_through_other_topics(log: &dyn EventLog) {
    let (quiet, busy) = (create(log, 1).await, create(log, 1).await);
    produce(log, &quiet, [number(0)]).await;
    let wait = log.wait_for_records(&quiet, Duration::from_secs(3600));
    let work = async {
        for n in 0..5 {
            produce(log, &busy, [number(n)]).await;
            fetch_all(log, &quiet, 0, 0).await;
        }
    };
    if let Either::Left(_) = select(wait, pin!(work)).await {
        panic!("a wait ended without a record of its topic");
    }
}

async fn producers_at_once_lose_and_double_nothing(log: &dyn EventLog) {
    const PRODUCERS: usize = 8;
    const CALLS: usize = 10;
    let topic = create(log, 1).await;
    let produce_all = |producer: usize| {
        let topic = &topic;
        async move {
            let mut acknowledged = Vec::new();
            for call in 0..CALLS {
                let names = (0..5).map(|n| format!("{producer}-{call}-{n}"));
                let offsets = produce(log, topic, names.clone().map(record)).await;
                assert!(offsets.is_sorted_by(|one, other| one < other), "a call keeps its order: {offsets:?}");
                acknowledged.extend(offsets.into_iter().zip(names));
            }
            assert!(acknowledged.is_sorted(), "a producer keeps its order: {acknowledged:?}");
            acknowledged
        }
    };
    let acknowledged: BTreeSet<_> = join_all((0..PRODUCERS).map(produce_all)).await.into_iter().flatten().collect();
    let read = fetch_all(log, &topic, 0, 0).await;
    assert_eq!(read.len(), PRODUCERS * CALLS * 5);
    assert_eq!(acknowledged, offsets_of(&read).into_iter().zip(texts(&read)).collect());
}

async fn readers_do_not_disturb_each_other(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, (0..10).map(number)).await;
    let reads = join_all((0..10).map(|offset| fetch_all(log, &topic, 0, offset)));
    let (reads, _) = join(reads, produce(log, &topic, (10..20).map(number))).await;
    for (offset, read) in reads.iter().enumerate() {
        assert!(read.len() >= 10 - offset, "from {offset}: {read:?}");
        let expected: Vec<_> = (offset..).take(read.len()).map(|n| n.to_string()).collect();
        assert_eq!(texts(read), expected);
    }
}

/// How long a partition of these checks waits for its release: longer than any check takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A member, and the changes that it got.
struct Member {
    membership: Box<dyn Membership>,
    own: BTreeSet<i32>,
}

impl Member {
    async fn join(log: &dyn EventLog, group: &str, topic: &str) -> Self {
        let membership = log.join(group, topic, PATIENCE).await.expect("a member joins");
        Self { membership, own: BTreeSet::new() }
    }

    /// Takes over a change; partitions that are to go are released at once.
    fn take(&mut self, change: Change) {
        match change {
            Change::Assigned(partitions) => self.own.extend(partitions),
            Change::Revoked(partitions) => {
                self.own.retain(|partition| !partitions.contains(partition));
                self.membership.release(&partitions);
            }
            Change::Lost(partitions) => panic!("{partitions:?} were lost by a member that lives"),
        }
    }
}

/// Follows the members' changes until it is as wanted; at no time may a partition have two owners.
async fn follow(members: &mut [&mut Member], is_as_wanted: impl Fn(&[&mut Member]) -> bool) {
    while !is_as_wanted(members) {
        let changes = members.iter().map(|member| member.membership.change());
        let (change, index, _) = select_all(changes).await;
        members[index].take(change.expect("nothing keeps a member from its partitions"));
        let mut all = BTreeSet::new();
        for partition in members.iter().flat_map(|member| &member.own) {
            assert!(all.insert(*partition), "partition {partition} has two owners");
        }
    }
}

fn partitions(count: i32) -> BTreeSet<i32> {
    (0..count).collect()
}

/// Whether the members have all of the partitions, each about as many.
fn is_shared(members: &[&mut Member], count: usize) -> bool {
    let sizes = members.iter().map(|member| member.own.len());
    let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.clone().max().unwrap_or(0));
    sizes.sum::<usize>() == count && most - least <= 1
}

async fn a_member_alone_gets_every_partition(log: &dyn EventLog) {
    let (topic, group) = (create(log, 3).await, name_topic());
    let mut member = Member::join(log, &group, &topic).await;
    follow(&mut [&mut member], |members| members[0].own == partitions(3)).await;
    member.membership.leave().await;
}

async fn two_members_share_the_partitions(log: &dyn EventLog) {
    let (topic, group) = (create(log, 4).await, name_topic());
    let mut one = Member::join(log, &group, &topic).await;
    follow(&mut [&mut one], |members| members[0].own == partitions(4)).await;
    let mut other = Member::join(log, &group, &topic).await;
    follow(&mut [&mut one, &mut other], |members| is_shared(members, 4)).await;
    join(one.membership.leave(), other.membership.leave()).await;
}

async fn a_member_that_leaves_gives_all_to_the_other(log: &dyn EventLog) {
    let (topic, group) = (create(log, 4).await, name_topic());
    let (mut one, mut other) = (Member::join(log, &group, &topic).await, Member::join(log, &group, &topic).await);
    follow(&mut [&mut one, &mut other], |members| is_shared(members, 4)).await;
    let left = one.own.clone();
    one.membership.leave().await;
    follow(&mut [&mut other], |members| members[0].own == partitions(4)).await;
    let late = one.membership.commit(&[(*left.first().unwrap(), 1)]).await;
    assert!(matches!(late, Err(EventLogError::NotAssigned { .. })), "{late:?}");
    other.membership.leave().await;
}

async fn a_member_that_is_dropped_gives_all_to_the_other(log: &dyn EventLog) {
    let (topic, group) = (create(log, 2).await, name_topic());
    let (mut one, mut other) = (Member::join(log, &group, &topic).await, Member::join(log, &group, &topic).await);
    follow(&mut [&mut one, &mut other], |members| is_shared(members, 2)).await;
    drop(one);
    follow(&mut [&mut other], |members| members[0].own == partitions(2)).await;
    other.membership.leave().await;
}

async fn nothing_is_assigned_to_two_at_once(log: &dyn EventLog) {
    let (topic, group) = (create(log, 5).await, name_topic());
    let (mut one, mut two) = (Member::join(log, &group, &topic).await, Member::join(log, &group, &topic).await);
    follow(&mut [&mut one, &mut two], |members| is_shared(members, 5)).await;
    let mut three = Member::join(log, &group, &topic).await;
    follow(&mut [&mut one, &mut two, &mut three], |members| is_shared(members, 5)).await;
    two.membership.leave().await;
    two.own.clear();
    follow(&mut [&mut one, &mut three], |members| is_shared(members, 5)).await;
    join(one.membership.leave(), three.membership.leave()).await;
}

async fn a_member_commits_what_it_has_and_nothing_else(log: &dyn EventLog) {
    let (topic, group) = (create(log, 2).await, name_topic());
    let (mut one, mut other) = (Member::join(log, &group, &topic).await, Member::join(log, &group, &topic).await);
    follow(&mut [&mut one, &mut other], |members| is_shared(members, 2)).await;
    let (own, foreign) = (*one.own.first().unwrap(), *other.own.first().unwrap());
    one.membership.commit(&[(own, 7)]).await.unwrap();
    one.membership.commit(&[]).await.unwrap();
    for refused in [vec![(foreign, 1)], vec![(own, 8), (foreign, 1)], vec![(5, 1)]] {
        let answer = one.membership.commit(&refused).await;
        let Err(EventLogError::NotAssigned { group: named, partitions, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!((named, partitions.contains(&own)), (group.clone(), false));
    }
    assert_eq!(log.committed(&group, &topic).await.unwrap(), [(own, 7)].into());
    join(one.membership.leave(), other.membership.leave()).await;
}

async fn a_member_commits_until_it_has_released(log: &dyn EventLog) {
    let (topic, group) = (create(log, 2).await, name_topic());
    let mut one = Member::join(log, &group, &topic).await;
    follow(&mut [&mut one], |members| members[0].own == partitions(2)).await;
    let mut other = Member::join(log, &group, &topic).await;
    let revoked = loop {
        match one.membership.change().await.unwrap() {
            Change::Revoked(partitions) => break partitions,
            change => one.take(change),
        }
    };
    let partition = *revoked.first().unwrap();
    one.membership.commit(&[(partition, 3)]).await.expect("work in hand is settled before the partition goes");
    one.take(Change::Revoked(revoked));
    let late = one.membership.commit(&[(partition, 4)]).await;
    assert!(matches!(late, Err(EventLogError::NotAssigned { .. })), "{late:?}");
    follow(&mut [&mut one, &mut other], |members| is_shared(members, 2)).await;
    assert_eq!(log.committed(&group, &topic).await.unwrap(), [(partition, 3)].into());
    assert!(other.own.contains(&partition), "what was released goes to the one who waits");
    join(one.membership.leave(), other.membership.leave()).await;
}

async fn a_commit_from_outside_waits_for_an_empty_group(log: &dyn EventLog) {
    let (topic, group) = (create(log, 1).await, name_topic());
    log.commit(&group, &topic, &[(0, 1)]).await.unwrap();
    let mut member = Member::join(log, &group, &topic).await;
    follow(&mut [&mut member], |members| members[0].own == partitions(1)).await;
    let refused = log.commit(&group, &topic, &[(0, 2)]).await;
    assert!(matches!(refused, Err(EventLogError::NotAssigned { .. })), "{refused:?}");
    assert_eq!(log.committed(&group, &topic).await.unwrap(), [(0, 1)].into());
    member.membership.leave().await;
    log.commit(&group, &topic, &[(0, 3)]).await.unwrap();
    assert_eq!(log.committed(&group, &topic).await.unwrap(), [(0, 3)].into());
}

async fn members_of_another_group_are_not_disturbed(log: &dyn EventLog) {
    let (topic, us, them) = (create(log, 2).await, name_topic(), name_topic());
    let (mut one, mut other) = (Member::join(log, &us, &topic).await, Member::join(log, &them, &topic).await);
    follow(&mut [&mut one], |members| members[0].own == partitions(2)).await;
    follow(&mut [&mut other], |members| members[0].own == partitions(2)).await;
    one.membership.commit(&[(0, 4)]).await.unwrap();
    assert!(log.committed(&them, &topic).await.unwrap().is_empty());
    join(one.membership.leave(), other.membership.leave()).await;
}

async fn a_partition_that_is_added_is_assigned(log: &dyn EventLog) {
    let (topic, group) = (create(log, 1).await, name_topic());
    let mut member = Member::join(log, &group, &topic).await;
    follow(&mut [&mut member], |members| members[0].own == partitions(1)).await;
    log.create_topic(spec(&topic, 3)).await.unwrap();
    follow(&mut [&mut member], |members| members[0].own == partitions(3)).await;
    member.membership.leave().await;
}

async fn joining_for_an_unknown_topic_names_it(log: &dyn EventLog) {
    let topic = name_topic();
    match log.join(&name_topic(), &topic, PATIENCE).await {
        Err(EventLogError::UnknownTopic(named)) => assert_eq!(named, topic),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a member joined for a topic that does not exist"),
    }
}

async fn nothing_expires_without_a_limit(log: &dyn EventLog) {
    let topic = create(log, 1).await;
    produce(log, &topic, [0, 1, 2].map(timed)).await;
    log.apply_retention(i64::MAX).await.unwrap();
    assert_eq!(range(log, &topic).await, OffsetRange { start: 0, end: 3 });
}

const HOUR_MS: i64 = 3_600_000;
const HOUR: Retention = Retention { age: Some(Duration::from_secs(3600)), bytes: None };

async fn records_expire_by_age(log: &dyn EventLog) {
    let topic = create_retaining(log, HOUR).await;
    produce(log, &topic, [1000, 2000, 3000].map(timed)).await;
    produce(log, &topic, [4000, 5000].map(timed)).await;
    log.apply_retention(HOUR_MS + 1000).await.unwrap();
    assert_eq!(range(log, &topic).await.start, 0, "an hour old is not older than an hour");
    assert!(log.apply_retention(HOUR_MS + 2001).await.unwrap() >= 2);
    assert_eq!(range(log, &topic).await, OffsetRange { start: 2, end: 5 });
    assert_eq!(offsets_of(&fetch_all(log, &topic, 0, 2).await), [2, 3, 4]);
    match log.fetch(&topic, 0, 1, 10, EVERYTHING).await {
        Err(EventLogError::OffsetOutOfRange { range, .. }) => assert_eq!(range, OffsetRange { start: 2, end: 5 }),
        other => panic!("{other:?}"),
    }
    produce(log, &topic, [timed(6000)]).await;
    log.apply_retention(HOUR_MS + 4500).await.unwrap();
    assert_eq!(range(log, &topic).await, OffsetRange { start: 4, end: 6 });
    assert_eq!(offsets_of(&fetch_all(log, &topic, 0, 4).await), [4, 5]);
}

async fn an_old_record_behind_a_young_one_stays(log: &dyn EventLog) {
    let topic = create_retaining(log, HOUR).await;
    produce(log, &topic, [1, 5000, 2, 3].map(timed)).await;
    log.apply_retention(HOUR_MS + 4000).await.unwrap();
    assert_eq!(range(log, &topic).await, OffsetRange { start: 1, end: 4 });
}

async fn records_expire_by_bytes_but_for_the_newest(log: &dyn EventLog) {
    let topic = create_retaining(log, Retention { age: None, bytes: Some(250) }).await;
    for _ in 0..3 {
        produce(log, &topic, vec![record(vec![0; 100]); 2]).await;
    }
    log.apply_retention(0).await.unwrap();
    assert_eq!(range(log, &topic).await, OffsetRange { start: 4, end: 6 });
    produce(log, &topic, [record(vec![1; 300])]).await;
    for _ in 0..2 {
        log.apply_retention(0).await.unwrap();
        assert_eq!(range(log, &topic).await, OffsetRange { start: 6, end: 7 });
    }
    assert_eq!(fetch_all(log, &topic, 0, 6).await[0].value, Some(vec![1; 300].into()));
}

async fn a_partition_that_expired_whole_keeps_its_end(log: &dyn EventLog) {
    let topic = create_retaining(log, HOUR).await;
    produce(log, &topic, [1, 2, 3].map(timed)).await;
    log.apply_retention(HOUR_MS * 2).await.unwrap();
    assert_eq!(range(log, &topic).await, OffsetRange { start: 3, end: 3 });
    assert_eq!(log.fetch(&topic, 0, 3, 10, EVERYTHING).await.unwrap(), []);
    assert_eq!(log.offset_at(&topic, 0, 0).await.unwrap(), None);
    assert_eq!(produce(log, &topic, [timed(HOUR_MS)]).await, [3]);
    assert_eq!(offsets_of(&fetch_all(log, &topic, 0, 3).await), [3]);
}

async fn a_time_is_found_after_others_expired(log: &dyn EventLog) {
    let topic = create_retaining(log, Retention { age: None, bytes: Some(200) }).await;
    let sized = |timestamp_ms| NewRecord { timestamp_ms: Some(timestamp_ms), ..record(vec![0; 50]) };
    for call in [[100, 900], [200, 300], [400, 250], [950, 500]] {
        produce(log, &topic, call.map(sized)).await;
    }
    log.apply_retention(0).await.unwrap();
    assert_eq!(range(log, &topic).await, OffsetRange { start: 4, end: 8 });
    assert_found(log, &topic, &[(100, Some(4)), (400, Some(4)), (401, Some(6)), (950, Some(6)), (951, None)]).await;
    produce(log, &topic, [1000, 10].map(sized)).await;
    assert_found(log, &topic, &[(951, Some(8)), (1001, None)]).await;
}

async fn retention_spares_commits_and_other_topics(log: &dyn EventLog) {
    let (kept, dropped, group) = (create(log, 1).await, create_retaining(log, HOUR).await, name_topic());
    produce(log, &kept, [1].map(timed)).await;
    produce(log, &dropped, [1, 2].map(timed)).await;
    log.commit(&group, &dropped, &[(0, 1)]).await.unwrap();
    log.apply_retention(HOUR_MS * 2).await.unwrap();
    assert_eq!(log.committed(&group, &dropped).await.unwrap(), [(0, 1)].into());
    assert_eq!(offsets_of(&fetch_all(log, &kept, 0, 0).await), [0]);
}
