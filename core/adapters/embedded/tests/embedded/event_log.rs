//! The event log's twin and its model keep the port's contract and agree with each other, and the twin survives what may
//! befall a file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::ports::event_log::{
    Administer, EventLog, EventLogError, Follow, OffsetRange, Publish, Retention, TopicSpec,
};
use lyceum_core::record::{Header, NewRecord};
use lyceum_embedded::event_log::{EmbeddedEventLog, EventLogOptions};
use lyceum_testing::event_log_contract::{CHECKS, EXACT_CHECKS, RETENTION_CHECKS, run};
use lyceum_testing::memory::event_log::MemoryEventLog;
use proptest::prelude::*;
use uuid::Uuid;

fn open(path: &Path) -> EmbeddedEventLog {
    EmbeddedEventLog::open(path, EventLogOptions::default()).unwrap()
}

fn refusal(path: &Path) -> String {
    match EmbeddedEventLog::open(path, EventLogOptions::default()) {
        Err(EventLogError::Refused(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the file was taken"),
    }
}

fn spec(partitions: i32, retention: Retention) -> TopicSpec {
    TopicSpec { name: "events".to_owned(), partitions, retention }
}

fn record(value: impl Into<String>) -> NewRecord {
    NewRecord { value: Some(value.into().into()), timestamp_ms: Some(1), ..NewRecord::default() }
}

#[tokio::test]
async fn the_embedded_log_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder.path().join("events"));
    run(CHECKS, &log).await;
    run(EXACT_CHECKS, &log).await;
    run(RETENTION_CHECKS, &log).await;
}

#[tokio::test]
async fn the_model_keeps_the_contract() {
    let log = MemoryEventLog::with_clock(Arc::new(SystemClock));
    run(CHECKS, &log).await;
    run(EXACT_CHECKS, &log).await;
    run(RETENTION_CHECKS, &log).await;
}

#[test]
fn the_model_needs_no_runtime_and_never_waits() {
    let log = MemoryEventLog::new(|| 42);
    let mut story = pin!(async {
        log.create_topic(spec(1, Retention::default())).await.unwrap();
        log.wait_for_records("events", Duration::from_secs(3600)).await;
        log.produce("events", vec![NewRecord::default()]).await.unwrap();
        assert_eq!(log.fetch("events", 0, 0, 1, 1).await.unwrap()[0].timestamp_ms, 42);
    });
    let mut context = Context::from_waker(Waker::noop());
    while story.as_mut().poll(&mut context).is_pending() {}
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let retention = Retention { age: Some(Duration::from_millis(50)), bytes: Some(1 << 30) };
    let before = open(&path);
    before.create_topic(spec(2, retention)).await.unwrap();
    let timed = |n| NewRecord { partition: Some(1), timestamp_ms: Some(n), ..record(n.to_string()) };
    before.produce("events", (0..200).map(timed).collect()).await.unwrap();
    before.commit("group", "events", &[(1, 70)]).await.unwrap();
    assert_eq!(before.apply_retention(150).await.unwrap(), 100);
    let held = before.fetch("events", 1, 100, 1000, usize::MAX).await.unwrap();
    assert_eq!(held.len(), 100);
    drop(before);

    let after = open(&path);
    assert_eq!(after.topics().await.unwrap(), [spec(2, retention)]);
    let ranges = [OffsetRange { start: 0, end: 0 }, OffsetRange { start: 100, end: 200 }];
    assert_eq!(after.offsets("events").await.unwrap(), ranges);
    assert_eq!(after.fetch("events", 1, 100, 1000, usize::MAX).await.unwrap(), held);
    assert_eq!(after.committed("group", "events").await.unwrap(), [(1, 70)].into());
    assert_eq!(after.offset_at("events", 1, 150).await.unwrap(), Some(150));
    assert_eq!(after.produce("events", vec![timed(200)]).await.unwrap()[0].offset, 200);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_file_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let log = open(&path);
    let why = refusal(&path);
    assert!(why.contains("in use by another process") && why.contains(path.to_str().unwrap()), "{why}");
    log.create_topic(spec(1, Retention::default())).await.unwrap();
}

#[test]
fn a_file_that_is_no_log_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    for garbage in [b"".as_slice(), b"x", &[0; 5000], &[255; 100_000], b"{\"this\": \"is no log\"}"] {
        std::fs::write(&path, garbage).unwrap();
        let why = refusal(&path);
        assert!(why.contains("damaged or no event log") && why.contains("move it away"), "{why}");
        assert_eq!(std::fs::read(&path).unwrap(), garbage);
    }
}

#[test]
fn a_database_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let other = redb::Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("other")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    let why = refusal(&path);
    assert!(why.contains("no event log"), "{why}");
}

#[test]
fn a_newer_schema_is_refused_by_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    drop(open(&path));
    let file = redb::Database::open(&path).unwrap();
    let transaction = file.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("schema", 7).unwrap();
    transaction.commit().unwrap();
    drop(file);
    let why = refusal(&path);
    assert!(why.contains("schema 7") && why.contains("up to 1"), "{why}");
}

#[tokio::test]
async fn a_creation_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    std::fs::write(folder.path().join("events.new"), [0; 5000]).unwrap();
    open(&path).create_topic(spec(1, Retention::default())).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Damage of any kind may cost the log its content, but is answered with an error, never with a panic.
#[tokio::test]
async fn a_damaged_file_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let log = open(&path);
    log.create_topic(spec(1, Retention::default())).await.unwrap();
    for call in 0..20 {
        log.produce("events", vec![record("x".repeat(2000 + call)); 20]).await.unwrap();
    }
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    let mut damaged: Vec<Vec<u8>> = (1..20).map(|part| whole[..whole.len() * part / 20].to_vec()).collect();
    for block in (0..whole.len()).step_by(whole.len() / 40) {
        let mut overwritten = whole.clone();
        overwritten[block..].iter_mut().take(4096).for_each(|byte| *byte = !*byte);
        damaged.push(overwritten);
    }
    for content in damaged {
        std::fs::write(&path, content).unwrap();
        match EmbeddedEventLog::open(&path, EventLogOptions::default()) {
            Err(error) => refused += usize::from(!error.to_string().is_empty()),
            Ok(log) => {
                let read = log.fetch("events", 0, 0, 1000, usize::MAX).await;
                let written = log.produce("events", vec![record("more")]).await;
                refused += usize::from(read.is_err() || written.is_err());
            }
        }
    }
    assert!(refused > 0);
}

const CHILD: &str = "LYCEUM_TEST_EVENT_LOG";
const RECORDS_PER_CALL: usize = 7;

/// Produces from several tasks until it is killed, and names each call that was acknowledged.
async fn produce_until_killed(path: &Path) {
    let log = open(path);
    let run = Uuid::new_v4().simple().to_string();
    let produce = |producer: usize| {
        let (log, run) = (&log, &run);
        async move {
            for call in 0.. {
                let name = format!("{run}.{producer}.{call}");
                let records = (0..RECORDS_PER_CALL).map(|n| record(format!("{name}/{n}/{}", "x".repeat(3000))));
                let records = records.map(|record| NewRecord { partition: Some(0), ..record });
                log.produce("events", records.collect()).await.unwrap();
                println!("acknowledged {name}");
            }
        }
    };
    futures::future::join_all((0..4).map(produce)).await;
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged_and_leaves_no_half_call() {
    if let Some(path) = std::env::var_os(CHILD) {
        return produce_until_killed(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    open(&path).create_topic(spec(1, Retention::default())).await.unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "event_log::a_killed_process_loses_nothing_acknowledged_and_leaves_no_half_call",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut names =
            std::iter::from_fn(|| lines.find_map(|line| Some(line.split_once("acknowledged ")?.1.to_owned())));
        let random = Uuid::new_v4().as_u128();
        acknowledged.extend(names.by_ref().take(1 + random as usize % 60));
        std::thread::sleep(Duration::from_micros((random >> 64) as u64 % 5000));
        child.kill().unwrap();
        acknowledged.extend(names);
        child.wait().unwrap();
    }

    let log = open(&path);
    let range = log.offsets("events").await.unwrap()[0];
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut offset = range.start;
    while offset < range.end {
        for record in log.fetch("events", 0, offset, 1000, usize::MAX).await.unwrap() {
            assert_eq!(record.position.offset, offset);
            offset += 1;
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            let mut parts = value.split('/').map(str::to_owned);
            calls.entry(parts.next().unwrap()).or_default().push(parts.next().unwrap());
        }
    }
    let whole: Vec<_> = (0..RECORDS_PER_CALL).map(|n| n.to_string()).collect();
    for (name, records) in &calls {
        assert_eq!(*records, whole, "{name}");
    }
    assert!(acknowledged.len() >= 10);
    for name in acknowledged {
        assert!(calls.contains_key(&name), "{name} was acknowledged and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_on_several_threads_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(&folder.path().join("events")));
    log.create_topic(spec(3, Retention::default())).await.unwrap();
    let producers = (0..8).map(|producer| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for call in 0..20 {
                log.produce("events", (0..9).map(|n| record(format!("{producer}-{call}-{n}"))).collect())
                    .await
                    .unwrap();
            }
        })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.unwrap();
    }
    let mut values = Vec::new();
    for partition in 0..3 {
        let read = log.fetch("events", partition, 0, 10_000, usize::MAX).await.unwrap();
        assert!(read.iter().map(|record| record.position.offset).eq(0..480));
        values.extend(read.into_iter().map(|record| record.value));
    }
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 8 * 20 * 9);
}

#[derive(Clone, Debug)]
enum Step {
    CreateTopic(TopicSpec),
    Produce(&'static str, Vec<NewRecord>),
    Fetch(&'static str, i32, i64, usize, usize),
    OffsetAt(&'static str, i32, i64),
    Commit(&'static str, &'static str, Vec<(i32, i64)>),
    ApplyRetention(i64),
    Reopen,
}

fn any_topic() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["events", "others", "unknown"])
}

fn any_record() -> impl Strategy<Value = NewRecord> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..4).prop_map(Into::into));
    let value = prop_oneof![
        4 => bytes(),
        1 => (0..70_000usize).prop_map(|length| Some(vec![7; length].into())),
        1 => Just(Some(vec![0; 1_048_589].into())),
    ];
    let header = ("[a-c]?", bytes()).prop_map(|(name, value)| Header { name, value });
    let partition = prop_oneof![3 => Just(None), 3 => (0..2).prop_map(Some), 1 => Just(Some(3))];
    (partition, bytes(), value, prop::collection::vec(header, 0..3), 0..1000i64).prop_map(
        |(partition, key, value, headers, timestamp_ms)| {
            // Whose turn it is among the partitions is forgotten at a restart, so each record names a key or a partition.
            let key = key.or_else(|| partition.is_none().then(Bytes::new));
            let timestamp_ms = Some(timestamp_ms);
            NewRecord { partition, key, value, headers, timestamp_ms }
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let retention = (prop::option::of(0..500u64), prop::option::of(0..200_000u64))
        .prop_map(|(age, bytes)| Retention { age: age.map(Duration::from_millis), bytes });
    let name = prop::sample::select(vec!["events", "others", "no name"]);
    prop_oneof![
        2 => (name, 0..4, retention)
            .prop_map(|(name, partitions, retention)| TopicSpec { name: name.into(), partitions, retention })
            .prop_map(Step::CreateTopic),
        8 => (any_topic(), prop::collection::vec(any_record(), 0..12)).prop_map(|(topic, records)| Step::Produce(topic, records)),
        4 => (any_topic(), -1..3, -1..30i64, 0..20usize, 0..100_000usize)
            .prop_map(|(topic, partition, offset, records, bytes)| Step::Fetch(topic, partition, offset, records, bytes)),
        3 => (any_topic(), 0..3, -10..1010i64).prop_map(|(topic, partition, time)| Step::OffsetAt(topic, partition, time)),
        2 => (prop::sample::select(vec!["one", "two"]), any_topic(), prop::collection::vec((0..3, -1..9i64), 0..3))
            .prop_map(|(group, topic, offsets)| Step::Commit(group, topic, offsets)),
        2 => (0..1600i64).prop_map(Step::ApplyRetention),
        1 => Just(Step::Reopen),
    ]
}

/// What the step answers, and what can be seen of the log after it.
async fn take(log: &dyn EventLog, step: Step) -> String {
    let answer = match step {
        Step::CreateTopic(spec) => format!("{:?}", log.create_topic(spec).await),
        Step::Produce(topic, records) => format!("{:?}", log.produce(topic, records).await),
        Step::Fetch(topic, partition, offset, max_records, max_bytes) => {
            format!("{:?}", log.fetch(topic, partition, offset, max_records, max_bytes).await)
        }
        Step::OffsetAt(topic, partition, time) => format!("{:?}", log.offset_at(topic, partition, time).await),
        Step::Commit(group, topic, offsets) => format!("{:?}", log.commit(group, topic, &offsets).await),
        Step::ApplyRetention(now_ms) => format!("{:?}", log.apply_retention(now_ms).await),
        Step::Reopen => String::new(),
    };
    let mut seen = format!("{answer} {:?}", log.topics().await);
    for topic in ["events", "others"] {
        seen += &format!(" {:?} {:?}", log.offsets(topic).await, log.committed("one", topic).await);
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_log_answers_as_the_model_does(steps in prop::collection::vec(any_step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("events");
            let (mut log, model) = (open(&path), MemoryEventLog::new(|| 0));
            for (index, step) in steps.into_iter().enumerate() {
                if let Step::Reopen = step {
                    drop(log);
                    log = open(&path);
                }
                let (found, expected) = (take(&log, step.clone()).await, take(&model, step.clone()).await);
                assert_eq!(found, expected, "step {index}: {step:?}");
            }
        });
    }
}
