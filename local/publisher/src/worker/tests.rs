//! The worker on a model of the stream and of the disk, both of which fail as they like, in a time that passes by waiting alone.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use lyceum_core::ports::event_log::{Administer, Follow, Retention, TopicSpec};
use lyceum_core::retry::Backoff;
use lyceum_testing::clock::TokioClock;
use lyceum_testing::memory::event_log::MemoryEventLog;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::counts::Counts;
use crate::publisher::Publisher;
use crate::settings::Check;
use crate::spill::model::Disk;

const TOPIC: &str = "of.ours";
const OTHER: &str = "of.ours.too";
const POISON: &str = "poison";
const SPILL_MOST: u64 = 60_000;

/// What the stream does with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Up,
    /// Appends any of the records, by the bits of this number, and says that it is unavailable.
    Down(u32),
    /// Appends everything, and the answer is lost.
    Deaf,
    /// Does not answer for so long, and then as a stream that is unavailable.
    Hangs(u32),
    /// Takes so long, and then has it.
    Slow(u32),
}

/// The model of the stream with faults.
struct Stream {
    log: MemoryEventLog,
    line: Mutex<Line>,
    calls: Mutex<Vec<usize>>,
    /// Whose inbox is looked at in each call, and how many events were in it.
    watched: Mutex<Option<Arc<Shared>>>,
    left: Mutex<Vec<usize>>,
}

impl Stream {
    async fn new() -> Arc<Self> {
        let log = MemoryEventLog::new(|| 1);
        let retention = Retention::default();
        for topic in [TOPIC, OTHER] {
            log.create_topic(TopicSpec { name: topic.to_owned(), partitions: 2, retention }).await.unwrap();
        }
        let (calls, watched, left) = Default::default();
        Arc::new(Self { log, line: Mutex::new(Line::Up), calls, watched, left })
    }

    fn set(&self, line: Line) {
        *self.line.lock() = line;
    }

    /// The values of each key of a topic, in their order, each once.
    async fn by_key(&self, topic: &str) -> BTreeMap<String, Vec<u64>> {
        let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for partition in 0..2 {
            for record in self.log.fetch(topic, partition, 0, usize::MAX, usize::MAX).await.unwrap() {
                let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
                let values = by_key.entry(text(record.key)).or_default();
                let value = text(record.value).parse().unwrap();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        by_key
    }
}

#[async_trait]
impl Publish for Stream {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.calls.lock().push(records.len());
        if let Some(shared) = &*self.watched.lock() {
            self.left.lock().push(shared.inbox.lock().events.len());
        }
        let unavailable = || EventLogError::Unavailable("the line is cut".to_owned());
        let line = *self.line.lock();
        match line {
            Line::Up => {}
            Line::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            Line::Down(bits) => {
                let some =
                    (0..).zip(records).filter(|(index, _)| bits >> (index % 32) & 1 == 1).map(|(_, record)| record);
                self.log.produce(topic, some.collect()).await?;
                return Err(unavailable());
            }
            Line::Deaf => {
                self.log.produce(topic, records).await?;
                return Err(unavailable());
            }
            Line::Hangs(ms) => {
                tokio::time::sleep(Duration::from_millis(ms.into())).await;
                return Err(unavailable());
            }
        }
        if records.iter().any(|record| record.value.as_deref() == Some(POISON.as_bytes())) {
            return Err(EventLogError::Refused("the brokers do not like it".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.log.produce(topic, records).await
    }
}

fn settings() -> PublisherSettings {
    PublisherSettings {
        check: Check::Off,
        spill_after: Duration::from_millis(500),
        retry: Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(2) },
        ..PublisherSettings::default()
    }
}

fn begin(stream: &Arc<Stream>, disk: Option<&Disk>, settings: PublisherSettings) -> (Publisher, JoinHandle<()>) {
    let spill = disk.map(|disk| Spill::on(Box::new(disk.clone()), Path::new("spill"), SPILL_MOST).unwrap().0);
    let clock = Arc::new(TokioClock::stepping(1_000, 0));
    let (publisher, worker) = Publisher::of_parts(settings, clock, Some(Arc::clone(stream) as Arc<dyn Publish>), spill);
    (publisher, tokio::spawn(worker.run()))
}

fn event(topic: &str, key: &str, value: impl ToString) -> Event {
    Event::new(topic, value.to_string()).with_key(key.to_owned())
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(work)
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[derive(Clone, Debug)]
enum Step {
    /// So many events of a key; each is waited for beside.
    Publish(u8, u8),
    Line(Line),
    Pass(u32),
    Room(Option<u16>),
    /// The process is killed, and another one begins.
    Kill,
    /// The process ends in order.
    Close(u16),
    /// The process is killed in so many writes, in the middle of one.
    KillAtWrite(u8, u16),
}

fn step(has_kills: bool) -> impl Strategy<Value = Step> {
    let line = prop_oneof![
        Just(Line::Up),
        any::<u32>().prop_map(Line::Down),
        Just(Line::Deaf),
        (1_u32..5_000).prop_map(Line::Hangs),
        (1_u32..3_000).prop_map(Line::Slow),
    ];
    let kills = u32::from(has_kills);
    prop_oneof![
        8 => (1_u8..20, 0_u8..4).prop_map(|(count, key)| Step::Publish(count, key)),
        4 => line.prop_map(Step::Line),
        6 => (1_u32..3_000).prop_map(Step::Pass),
        1 => proptest::option::of(50_u16..2_000).prop_map(Step::Room),
        kills => Just(Step::Kill),
        kills => (0_u16..3_000).prop_map(Step::Close),
        kills => (0_u8..12, 0_u16..600).prop_map(|(calls, torn)| Step::KillAtWrite(calls, torn)),
    ]
}

/// A program that publishes, and what it was told.
struct Program {
    stream: Arc<Stream>,
    disk: Disk,
    publisher: Publisher,
    worker: JoinHandle<()>,
    next: u64,
    /// Of each key what was published, and whether its receipt says that it is safe.
    published: BTreeMap<String, Vec<u64>>,
    receipts: Vec<(u64, JoinHandle<Receipt>)>,
    safe: HashSet<u64>,
    dropped: u64,
}

impl Program {
    async fn new() -> Self {
        let (stream, disk) = (Stream::new().await, Disk::default());
        let (publisher, worker) = begin(&stream, Some(&disk), settings());
        let (published, receipts, safe) = Default::default();
        Self { stream, disk, publisher, worker, next: 0, published, receipts, safe, dropped: 0 }
    }

    /// Notes the receipts that have come.
    async fn collect(&mut self) {
        let mut open = Vec::new();
        for (value, receipt) in std::mem::take(&mut self.receipts) {
            if !receipt.is_finished() {
                open.push((value, receipt));
                continue;
            }
            match receipt.await.unwrap() {
                Receipt::Sent(_) | Receipt::Spilled => drop(self.safe.insert(value)),
                Receipt::Waiting(_) => {}
                Receipt::Dropped => self.dropped += 1,
                other => panic!("{other:?}"),
            }
        }
        self.receipts = open;
    }

    async fn restart(&mut self, has_lost_power: bool) {
        self.worker.abort();
        let _ = (&mut self.worker).await;
        self.collect().await;
        for (_, receipt) in std::mem::take(&mut self.receipts) {
            receipt.abort();
        }
        self.disk = self.disk.reopened(has_lost_power);
        (self.publisher, self.worker) = begin(&self.stream, Some(&self.disk), settings());
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Publish(count, key) => {
                for _ in 0..*count {
                    let (key, value) = (format!("k{key}"), self.next);
                    self.next += 1;
                    self.published.entry(key.clone()).or_default().push(value);
                    let publisher = self.publisher.clone();
                    let event = event(TOPIC, &key, value);
                    // Put before the next one, whoever waits.
                    let mut waits = Box::pin(async move { publisher.publish_and_wait(event).await });
                    let at_once = (&mut waits).now_or_never();
                    let waits = async move {
                        match at_once {
                            Some(receipt) => receipt,
                            None => waits.await,
                        }
                    };
                    self.receipts.push((value, tokio::spawn(waits)));
                }
            }
            Step::Line(line) => self.stream.set(*line),
            Step::Pass(ms) => pass((*ms).into()).await,
            Step::Room(room) => self.disk.set_room(room.map(usize::from)),
            Step::Kill => self.restart(true).await,
            Step::Close(ms) => {
                self.disk.set_room(None);
                let closing_ms = 1_000_000_000_000_i64.min(self.now_ms() + i64::from(*ms));
                self.publisher_shared().inbox.lock().closing_ms = Some(closing_ms);
                self.publisher_shared().wake.notify_one();
                let _ = (&mut self.worker).await;
                // In order nothing is lost.
                for (value, receipt) in std::mem::take(&mut self.receipts) {
                    match receipt.await.unwrap() {
                        Receipt::Sent(_) | Receipt::Spilled => drop(self.safe.insert(value)),
                        Receipt::Waiting(_) => drop(self.safe.insert(value)),
                        // Only where the file is at its bound.
                        Receipt::Dropped if self.publisher.counts().spill_bytes > SPILL_MOST - 10_000 => {}
                        other => panic!("{other:?}"),
                    }
                }
                self.disk = self.disk.reopened(false);
                (self.publisher, self.worker) = begin(&self.stream, Some(&self.disk), settings());
            }
            Step::KillAtWrite(calls, torn) => {
                self.disk.kill_after((*calls).into(), (*torn).into());
                for _ in 0..20 {
                    pass(300).await;
                    if self.disk.is_dead() {
                        break;
                    }
                }
                self.restart(false).await;
            }
        }
        self.collect().await;
    }

    fn now_ms(&self) -> i64 {
        self.publisher.now_ms()
    }

    fn publisher_shared(&self) -> Arc<Shared> {
        self.publisher.shared()
    }

    /// Everything is well from now on.
    async fn end(mut self) -> (BTreeMap<String, Vec<u64>>, BTreeMap<String, Vec<u64>>, HashSet<u64>, Counts) {
        self.stream.set(Line::Up);
        self.disk.set_room(None);
        tokio::time::timeout(Duration::from_secs(600), self.publisher.flush()).await.expect("it is sent at last");
        pass(1).await;
        self.collect().await;
        assert_eq!(self.receipts.len(), 0, "everybody has a receipt");
        let counts = self.publisher.counts();
        (self.published, self.stream.by_key(TOPIC).await, self.safe, counts)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn whatever_fails_every_event_is_sent_in_order_as_long_as_the_process_lives(steps in vec(step(false), 1..40)) {
        run(async {
            let mut program = Program::new().await;
            for step in &steps {
                program.take(step).await;
            }
            let (published, sent, _, counts) = program.end().await;
            prop_assert_eq!(&sent, &published);
            let all: usize = published.values().map(Vec::len).sum();
            prop_assert_eq!((counts.sent, counts.waiting, counts.dropped, counts.refused), (all as u64, 0, 0, 0));
            prop_assert!(counts.resent <= counts.spilled);
            prop_assert_eq!(counts.spill_bytes, 16);
            Ok(())
        })?;
    }

    #[test]
    fn killed_at_any_moment_nothing_is_lost_that_was_reported_safe_and_nothing_newer_overtakes(
        steps in vec(step(true), 1..40),
    ) {
        run(async {
            let mut program = Program::new().await;
            for step in &steps {
                program.take(step).await;
            }
            let (published, sent, safe, _) = program.end().await;
            for (key, values) in &published {
                let sent = sent.get(key).map_or(&[][..], Vec::as_slice);
                prop_assert!(sent.is_sorted(), "{key}: {sent:?}");
                let lost: Vec<_> = values.iter().filter(|of| safe.contains(of) && !sent.contains(of)).collect();
                prop_assert!(lost.is_empty(), "{key} lost {lost:?}");
            }
            Ok(())
        })?;
    }
}

/// A story in which the file is filled, read in part, made shorter and emptied.
fn story() -> Vec<Step> {
    let mut steps = Vec::new();
    for line in [Line::Down(0b101), Line::Hangs(700), Line::Up, Line::Deaf, Line::Up] {
        steps.extend([
            Step::Line(line),
            Step::Publish(9, 0),
            Step::Publish(3, 1),
            Step::Pass(400),
            Step::Publish(7, 2),
        ]);
        steps.extend([Step::Pass(900), Step::Publish(2, 0)]);
    }
    steps.push(Step::Pass(3_000));
    steps
}

#[test]
fn killed_at_each_write_of_the_spill_file_in_turn_nothing_that_was_spilled_is_lost() {
    let calls = run(async {
        let mut program = Program::new().await;
        for step in &story() {
            program.take(step).await;
        }
        program.disk.calls()
    });
    assert!(calls > 30, "{calls} writes are too few for a story");
    for kill_at in 0..calls {
        let ends = [0, 1, 30, 100, 10_000].map(|torn| (torn, false));
        for (torn, has_lost_power) in ends.into_iter().chain([(0, true)]) {
            run(async {
                let mut program = Program::new().await;
                program.disk.kill_after(kill_at, torn);
                for step in &story() {
                    program.take(step).await;
                    if program.disk.is_dead() {
                        break;
                    }
                }
                program.restart(has_lost_power).await;
                program.take(&Step::Publish(5, 0)).await;
                let (published, sent, safe, _) = program.end().await;
                let found: HashSet<u64> = sent.values().flatten().copied().collect();
                assert!(safe.is_subset(&found), "killed at {kill_at}, {torn} bytes: {:?}", safe.difference(&found));
                assert!(sent.values().all(|of| of.is_sorted()), "killed at {kill_at}, {torn} bytes: {sent:?}");
                let last: Vec<_> = published["k0"].iter().rev().take(5).collect();
                assert!(last.iter().all(|of| found.contains(of)), "the next process sends its own");
            });
        }
    }
}

#[test]
fn without_a_spill_file_events_wait_in_memory_and_the_newest_are_dropped_beyond_its_bound() {
    run(async {
        let stream = Stream::new().await;
        stream.set(Line::Down(0));
        let (publisher, _) = begin(&stream, None, PublisherSettings { queue_events: 10, ..settings() });
        for number in 0..15 {
            publisher.publish(event(TOPIC, "k", number));
        }
        pass(5_000).await;
        let counts = publisher.counts();
        assert_eq!((counts.waiting, counts.dropped, counts.sent, counts.spilled), (10, 5, 0, 0));
        assert!(counts.failures > 2);
        stream.set(Line::Up);
        publisher.flush().await;
        assert_eq!(stream.by_key(TOPIC).await["k"], (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn an_event_that_is_not_acknowledged_in_time_is_on_disk_while_the_call_goes_on_and_is_sent_once() {
    run(async {
        let (stream, disk) = (Stream::new().await, Disk::default());
        let (publisher, _) = begin(&stream, Some(&disk), settings());
        stream.set(Line::Hangs(60_000));
        let receipt = publisher.publish_and_wait(event(TOPIC, "k", 0)).now_or_never();
        assert_eq!(receipt, None);
        pass(400).await;
        assert_eq!(publisher.counts().spilled, 0, "it has a little time yet");
        pass(200).await;
        let begun = tokio::time::Instant::now();
        let receipt = publisher.publish_and_wait(event(TOPIC, "k", 1)).await;
        assert_eq!((receipt, publisher.counts().spilled), (Receipt::Spilled, 2));
        assert!(begun.elapsed() < Duration::from_millis(10), "what comes behind goes there at once");
        assert_eq!(stream.calls.lock().len(), 1, "the call goes on");
        stream.set(Line::Up);
        publisher.flush().await;
        let counts = publisher.counts();
        assert_eq!((counts.sent, counts.resent, counts.spill_bytes), (2, 2, 16));
        assert_eq!(stream.log.offsets(TOPIC).await.unwrap().iter().map(|of| of.end).sum::<i64>(), 2);
    });
}

#[test]
fn a_call_that_was_slow_and_succeeds_settles_what_was_spilled_meanwhile() {
    run(async {
        let (stream, disk) = (Stream::new().await, Disk::default());
        let (publisher, _) = begin(&stream, Some(&disk), settings());
        stream.set(Line::Slow(5_000));
        for number in 0..3 {
            publisher.publish(event(TOPIC, &format!("k{number}"), number));
        }
        pass(600).await;
        assert_eq!((publisher.counts().spilled, publisher.counts().sent), (3, 0));
        publisher.flush().await;
        let counts = publisher.counts();
        assert_eq!((counts.sent, counts.resent, counts.spill_bytes), (3, 0, 16));
        assert_eq!(*stream.calls.lock(), [3], "nothing is sent twice");
    });
}

#[test]
fn a_record_that_is_refused_for_ever_is_set_aside_and_holds_up_nothing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (stream, disk) = (Stream::new().await, Disk::default());
        let spill_file = Some(folder.path().join("spill"));
        let (publisher, _) = begin(&stream, Some(&disk), PublisherSettings { spill_file, ..settings() });
        for number in 0..30 {
            publisher.publish(event(TOPIC, &format!("k{number}"), number));
            if number == 10 {
                publisher.publish(event(TOPIC, "k-poison", POISON));
            }
        }
        publisher.flush().await;
        let counts = publisher.counts();
        assert_eq!((counts.sent, counts.refused, counts.dropped, counts.spilled), (30, 1, 0, 0));
        let kept = std::fs::read_to_string(folder.path().join("spill.refused.jsonl")).unwrap();
        assert!(kept.contains("\"key\":\"k-poison\"") && kept.lines().count() == 1, "{kept}");
        let receipt = publisher.publish_and_wait(event(TOPIC, "k", POISON)).await;
        assert!(matches!(&receipt, Receipt::Refused(why) if why.contains("do not like")), "{receipt:?}");
    });
}

#[test]
fn a_refused_event_is_kept_for_a_person_unless_it_may_hold_a_secret() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let stream = Stream::new().await;
        let spill_file = Some(folder.path().join("spill"));
        let (publisher, _) = begin(&stream, None, PublisherSettings { check: Check::On, spill_file, ..settings() });
        let envelope =
            |payload: &str| format!(r#"{{"id": "no UUID", "type": "mission.created", "payload": {payload}}}"#);
        for payload in [r#"{"access_token": "0123456789abcdef0123456789abcdef"}"#, r#"{"mission_id": "m"}"#] {
            let receipt = publisher.publish_and_wait(Event::new("mission.events.v1", envelope(payload))).await;
            assert!(matches!(receipt, Receipt::Refused(_)), "{receipt:?}");
        }
        assert_eq!((publisher.counts().refused, publisher.counts().sent), (2, 0));
        let kept = std::fs::read_to_string(folder.path().join("spill.refused.jsonl")).unwrap();
        assert!(kept.lines().count() == 1 && kept.contains("mission_id") && !kept.contains("0123456789"), "{kept}");
        assert!(stream.calls.lock().is_empty());
    });
}

#[test]
fn a_flood_is_sent_while_the_rest_of_it_is_still_judged() {
    run(async {
        let stream = Stream::new().await;
        let (publisher, _) = begin(&stream, None, settings());
        *stream.watched.lock() = Some(publisher.shared());
        for number in 0..3 * BATCH {
            publisher.publish(event(TOPIC, &number.to_string(), number));
        }
        publisher.flush().await;
        assert_eq!((publisher.counts().sent, stream.left.lock()[0]), (3 * BATCH as u64, 2 * BATCH));
    });
}

#[test]
fn a_stream_that_refuses_everything_is_waited_for_before_events_are_given_up() {
    run(async {
        let (stream, disk) = (Stream::new().await, Disk::default());
        let patience = Duration::from_secs(60);
        let (publisher, _) = begin(&stream, Some(&disk), PublisherSettings { patience, ..settings() });
        publisher.publish(event(TOPIC, "k", POISON));
        publisher.publish(event("of.nobody", "k", 1));
        pass(50_000).await;
        assert_eq!((publisher.counts().refused, publisher.counts().waiting), (0, 2));
        publisher.publish(event(OTHER, "k", 2));
        pass(5_000).await;
        assert_eq!(stream.by_key(OTHER).await["k"], [2], "another topic goes on meanwhile");
        pass(20_000).await;
        let counts = publisher.counts();
        assert_eq!((counts.refused, counts.sent, counts.waiting, counts.spill_bytes), (2, 1, 0, 16));
    });
}

#[test]
fn a_topic_that_is_made_later_gets_its_events_in_order() {
    run(async {
        let (stream, disk) = (Stream::new().await, Disk::default());
        let (publisher, _) = begin(&stream, Some(&disk), settings());
        for number in 0..5 {
            publisher.publish(event("of.later", "k", number));
        }
        pass(60_000).await;
        let spec = TopicSpec { name: "of.later".to_owned(), partitions: 2, retention: Retention::default() };
        stream.log.create_topic(spec).await.unwrap();
        publisher.flush().await;
        assert_eq!(stream.by_key("of.later").await["k"], [0, 1, 2, 3, 4]);
    });
}

#[test]
fn without_a_stream_an_event_is_judged_and_logged_and_the_program_goes_on() {
    run(async {
        let checked = PublisherSettings { check: Check::On, ..settings() };
        let clock = Arc::new(TokioClock::stepping(1_000, 0));
        let (publisher, worker) = Publisher::of_parts(checked, clock, None, None);
        let _worker = tokio::spawn(worker.run());
        let right = r#"{"actor": {"mbox": "mailto:a@example.com"}, "verb": {"id": "http://v.example/v"}, "object": {"id": "http://o.example/o"}}"#;
        assert_eq!(publisher.publish_and_wait(Event::new("nlj.xapi.statements", right)).await, Receipt::Logged);
        let receipt = publisher.publish_and_wait(Event::new("nlj.xapi.statements", "{}")).await;
        assert!(matches!(&receipt, Receipt::Refused(why) if why.contains("actor")), "{receipt:?}");
        let counts = publisher.counts();
        assert_eq!((counts.logged, counts.refused, counts.waiting, counts.sent), (1, 1, 0, 0));
    });
}

#[test]
fn a_call_has_one_event_of_a_key_and_many_of_many() {
    let records: Vec<NewRecord> = [Some("a"), Some("b"), None, None, Some("a"), Some("c")]
        .map(|key| NewRecord { key: key.map(Bytes::from), value: Some("1".into()), ..NewRecord::default() })
        .into();
    assert_eq!(batch(records.iter().map(|record| ("t", record))).len(), 4);
    let topics = ["t", "t", "t", "t", "u", "t"];
    assert_eq!(batch(topics.into_iter().zip(&records)).len(), 6);
    let large = NewRecord { value: Some(vec![0; BATCH_BYTES].into()), ..NewRecord::default() };
    assert_eq!(batch([("t", &large), ("t", &large)].into_iter()).len(), 1);
}
