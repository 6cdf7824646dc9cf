//! A subscription's reader on the event log in memory: what is processed, in which order, and what is committed, while things fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observers, Outcome, Report};
use lyceum_core::ports::event_log::{Administer, EventLogError, Follow, Publish, Retention, TopicSpec};
use lyceum_core::ports::ledger::{KeyStatus, LedgerError};
use lyceum_core::process::{Delivery, Held, Invocation, Subscriber};
use lyceum_core::record::{NewRecord, Position, Record};
use lyceum_core::retry::{Backoff, RetryPolicy};
use lyceum_core::subscription::Subscription;
use lyceum_dedicated::lanes::{Limits, TopicPartition};
use lyceum_dedicated::reader::Reader;
use lyceum_dedicated::source::log::LogSource;
use lyceum_dedicated::source::{Brought, PATIENCE, Source};
use lyceum_dedicated::status::{Board, Shown, Status};
use lyceum_server::consumers::{ConsumerState, ConsumerStatus, Consumers};
use lyceum_testing::clock::TokioClock;
use lyceum_testing::memory::event_log::MemoryEventLog;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "nlj.xapi.statements";
const GROUP: &str = "lyceum-statement";
const PARTITIONS: i32 = 3;

/// What becomes of a record, and how long its batch takes for it.
type Judge = dyn Fn(&Record, usize) -> (Duration, Ending) + Send + Sync;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Settled,
    Later,
    Panic,
}

/// What was done to the world, whoever of the readers did it.
#[derive(Default)]
struct Done {
    /// Every settled delivery, in the order in which they were settled.
    settled: Vec<Position>,
    /// How often each was delivered.
    deliveries: BTreeMap<Position, usize>,
    keys: BTreeMap<Position, Bytes>,
}

impl Done {
    /// Each record once, and those of one key in their order.
    fn assert_each_once_in_order(&self, records: usize) {
        let unique: BTreeSet<&Position> = self.settled.iter().collect();
        assert_eq!((self.settled.len(), unique.len()), (records, records), "settled, of which different");
        self.assert_in_order();
    }

    /// Those of one key were first settled in their order.
    fn assert_in_order(&self) {
        let mut last: BTreeMap<(i32, &Bytes), i64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for position in self.settled.iter().filter(|position| seen.insert(*position)) {
            let before = last.insert((position.partition, &self.keys[position]), position.offset);
            assert!(before.is_none_or(|before| before < position.offset), "{position} after {before:?}");
        }
    }
}

struct Recording {
    judge: Box<Judge>,
    done: Arc<Mutex<Done>>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Subscriber for Recording {
    fn subscription(&self) -> &'static Subscription {
        lyceum_functions::functions()
            .find(|of| of.subscription.name == "statement")
            .expect("a subscription")
            .subscription
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        let observer = Arc::new(Observers(Vec::new()));
        Invocation::new(self.clock.clone(), observer, "statement", RetryPolicy::default(), deadline_ms)
    }

    async fn process(&self, batch: &[Delivery], _invocation: &Invocation) -> Vec<Report> {
        let mut reports = Vec::new();
        let mut held_back: BTreeSet<(i32, Bytes)> = BTreeSet::new();
        for delivery in batch {
            let Delivery::Record(record) = delivery else { panic!("only records are read") };
            let key = record.key.clone().unwrap_or_default();
            let nth = {
                let mut done = self.done.lock();
                done.keys.insert(record.position.clone(), key.clone());
                let nth = done.deliveries.entry(record.position.clone()).or_default();
                *nth += 1;
                *nth
            };
            let (takes, mut ending) = (self.judge)(record, nth);
            sleep(takes).await;
            assert!(ending != Ending::Panic, "as a family may");
            let of = (record.position.partition, key);
            if held_back.contains(&of) {
                ending = Ending::Later;
            }
            let mut report = Report::of(record.position.clone(), "statement");
            report.outcome = match ending {
                Ending::Settled => Outcome::Applied,
                _ => Outcome::RetryLater { reason: "the store is away".into() },
            };
            if ending == Ending::Settled {
                self.done.lock().settled.push(record.position.clone());
            } else {
                held_back.insert(of);
            }
            reports.push(report);
        }
        reports
    }

    async fn show(&self, _: &str, _: &str, _: &str) -> Result<Option<Value>, LedgerError> {
        Ok(None)
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        Ok(vec![None; records.len()])
    }

    async fn held(&self, records: &[Record], _: &Invocation) -> Result<Vec<Held>, LedgerError> {
        Ok(vec![Held::Nothing; records.len()])
    }

    async fn made(&self, records: &[Record], _: &Invocation) -> Vec<Held> {
        vec![Held::Nothing; records.len()]
    }
}

/// A source whose calls fail at times.
struct Failing {
    inner: LogSource,
    /// Whether the next call does.
    fails: Box<dyn FnMut() -> bool + Send>,
}

#[async_trait]
impl Source for Failing {
    async fn next(&mut self) -> Result<Brought, EventLogError> {
        if (self.fails)() {
            return Err(EventLogError::Unavailable("no broker answers".into()));
        }
        self.inner.next().await
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.inner.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.inner.resume(partitions);
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), EventLogError> {
        if (self.fails)() {
            return Err(EventLogError::Unavailable("no broker answers".into()));
        }
        self.inner.commit(offsets).await
    }

    fn release(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.inner.release(partitions);
    }

    fn position(&self, of: &TopicPartition) -> Option<i64> {
        self.inner.position(of)
    }

    async fn leave(&mut self) {
        self.inner.leave().await;
    }
}

struct World {
    log: Arc<MemoryEventLog>,
    clock: Arc<dyn Clock>,
    done: Arc<Mutex<Done>>,
    records: usize,
}

struct Member {
    stop: CancellationToken,
    reading: JoinHandle<()>,
    board: Arc<Board>,
}

impl Member {
    async fn end(self) -> Duration {
        let began = Instant::now();
        self.stop.cancel();
        self.reading.await.expect("it drains");
        began.elapsed()
    }
}

impl World {
    async fn with(records: usize, keys: usize) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::stepping(1_700_000_000_000, 0));
        let log = Arc::new(MemoryEventLog::with_clock(clock.clone()));
        let spec = TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention: Retention::default() };
        log.create_topic(spec).await.unwrap();
        let world = Self { log, clock, done: Arc::default(), records };
        world.send(records, keys).await;
        world
    }

    async fn send(&self, records: usize, keys: usize) {
        let record = |number: usize| NewRecord {
            key: Some(format!("k{}", number % keys).into()),
            value: Some(number.to_string().into()),
            ..NewRecord::default()
        };
        self.log.produce(TOPIC, (0..records).map(record).collect()).await.unwrap();
    }

    fn limits(&self) -> Limits {
        Limits {
            lanes: 4,
            records: 20,
            bytes: 1 << 20,
            delay: Duration::from_millis(20),
            in_hand_bytes: 100_000,
            backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) },
        }
    }

    async fn member(&self, judge: impl Fn(&Record, usize) -> (Duration, Ending) + Send + Sync + 'static) -> Member {
        self.member_of(|source| Box::new(source), judge).await
    }

    async fn member_of(
        &self,
        source: impl FnOnce(LogSource) -> Box<dyn Source>,
        judge: impl Fn(&Record, usize) -> (Duration, Ending) + Send + Sync + 'static,
    ) -> Member {
        let (board, stop) = (Arc::<Board>::default(), CancellationToken::new());
        let joined = LogSource::join(self.log.clone(), GROUP, &[TOPIC], PATIENCE).await.unwrap();
        let reader = Reader {
            subscriber: Arc::new(Recording {
                judge: Box::new(judge),
                done: self.done.clone(),
                clock: self.clock.clone(),
            }),
            source: source(joined),
            limits: self.limits(),
            time_limit: Duration::from_secs(60),
            clock: self.clock.clone(),
            metrics: Arc::new(Metrics::new()),
            places: Arc::new(Semaphore::new(3)),
            board: board.clone(),
            processing: tokio::runtime::Handle::current(),
        };
        let running = reader.run(stop.clone());
        let reading = tokio::spawn(async move { running.await.expect("no batch is lost") });
        Member { stop, reading, board }
    }

    async fn committed(&self) -> i64 {
        self.log.committed(GROUP, TOPIC).await.unwrap().values().sum()
    }

    async fn until_committed(&self) {
        let began = Instant::now();
        while self.committed().await < self.records as i64 {
            assert!(began.elapsed() < Duration::from_secs(3_600), "stuck at {}", self.committed().await);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether every record before what is committed was settled.
    async fn assert_nothing_was_committed_over(&self) {
        let committed = self.log.committed(GROUP, TOPIC).await.unwrap();
        let done = self.done.lock();
        let settled: BTreeSet<&Position> = done.settled.iter().collect();
        for (partition, next) in committed {
            for offset in 0..next {
                assert!(settled.contains(&Position::new(TOPIC, partition, offset)), "{partition}/{offset} of {next}");
            }
        }
    }

    async fn status(&self, member: &Member) -> ConsumerStatus {
        let shown = Shown {
            function: "statement",
            is_owner: true,
            group: GROUP.into(),
            topics: vec![TOPIC.into()],
            board: member.board.clone(),
        };
        let status = Status::new(vec![shown], self.clock.clone());
        status.look(&*self.log).await;
        status.status().await.unwrap().remove(0)
    }
}

fn settles(_: &Record, _: usize) -> (Duration, Ending) {
    (Duration::from_millis(1), Ending::Settled)
}

#[tokio::test(start_paused = true)]
async fn every_record_is_settled_once_and_those_of_a_key_in_their_order() {
    let world = World::with(2_000, 17).await;
    // Some keys are slower than others, so that lanes drift apart.
    let member = world.member(|record, _| (Duration::from_millis(record.position.offset as u64 % 7), Ending::Settled));
    let member = member.await;
    world.until_committed().await;
    world.done.lock().assert_each_once_in_order(2_000);
    let status = world.status(&member).await;
    assert_eq!((status.name.as_str(), status.state, status.lag()), (TOPIC, ConsumerState::Running, 0));
    assert_eq!(status.work.as_ref().map(|work| work.records), Some(2_000));
    world.send(1, 1).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.committed().await, 2_001, "a record that comes later wakes it");
    member.end().await;
}

#[tokio::test(start_paused = true)]
async fn while_a_store_is_away_nothing_is_committed_and_afterwards_everything_is_settled_once() {
    let world = World::with(500, 11).await;
    let clock = world.clock.clone();
    let back_ms = clock.now_ms() + 60_000;
    let member = world
        .member(move |_, _| (Duration::ZERO, if clock.now_ms() < back_ms { Ending::Later } else { Ending::Settled }));
    let member = member.await;
    sleep(Duration::from_secs(59)).await;
    assert_eq!(world.committed().await, 0);
    let status = world.status(&member).await;
    assert_eq!((status.state, status.lag()), (ConsumerState::BackingOff, 500));
    assert!(status.waited() >= Duration::from_secs(58), "{:?}", status.waited());
    let most = world.done.lock().deliveries.values().copied().max();
    assert!(most <= Some(12), "what is away is asked with growing waits, not {most:?} times");
    world.until_committed().await;
    world.done.lock().assert_each_once_in_order(500);
    member.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_retried_holds_back_its_own_records_and_no_other_key() {
    let world = World::with(300, 10).await;
    let clock = world.clock.clone();
    let back_ms = clock.now_ms() + 20_000;
    let member = world.member(move |record, _| {
        let is_away = record.key.as_deref() == Some(b"k3") && clock.now_ms() < back_ms;
        (Duration::ZERO, if is_away { Ending::Later } else { Ending::Settled })
    });
    let member = member.await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.done.lock().settled.len(), 270, "every other key");
    world.assert_nothing_was_committed_over().await;
    world.until_committed().await;
    world.done.lock().assert_each_once_in_order(300);
    member.end().await;
}

#[tokio::test(start_paused = true)]
async fn members_that_come_and_go_settle_everything_once_where_what_is_in_hand_ends_in_time() {
    let world = World::with(3_000, 23).await;
    let first = world.member(settles).await;
    sleep(Duration::from_millis(300)).await;
    let second = world.member(settles).await;
    sleep(Duration::from_millis(300)).await;
    assert!(world.committed().await < 3_000, "everything was done before: it proves nothing");
    let third = world.member(settles).await;
    sleep(Duration::from_millis(100)).await;
    first.end().await;
    world.until_committed().await;
    world.assert_nothing_was_committed_over().await;
    world.done.lock().assert_each_once_in_order(3_000);
    second.end().await;
    third.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_before_its_partition_is_gone_counts_for_nobody_and_is_the_next_members() {
    let world = World::with(300, 7).await;
    // The first member's calls hang for a minute, and then settle after all: a zombie.
    let zombie = world.member(|_, _| (Duration::from_secs(60), Ending::Settled)).await;
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let second = world.member(settles).await;
    let mut most = 0;
    while world.done.lock().settled.len() < 100 {
        most = world.committed().await.max(most);
        sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < Duration::from_secs(30), "the second member gets partitions");
    }
    world.assert_nothing_was_committed_over().await;
    zombie.end().await;
    world.until_committed().await;
    world.assert_nothing_was_committed_over().await;
    second.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_panics_comes_again_and_takes_nothing_with_it() {
    let world = World::with(200, 5).await;
    let member = world.member(|record, nth| {
        let panics = record.position.offset == 10 && nth < 3;
        (Duration::ZERO, if panics { Ending::Panic } else { Ending::Settled })
    });
    let member = member.await;
    world.until_committed().await;
    let done = world.done.lock().settled.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(done.len(), 200);
    assert!(member.board.last_error().is_some_and(|why| why.contains("panicked")));
    member.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_again_and_again_only_delays() {
    let world = World::with(1_000, 13).await;
    let mut calls = 0;
    let fails = move || {
        calls += 1;
        calls % 3 == 0
    };
    let source = |inner| Box::new(Failing { inner, fails: Box::new(fails) }) as Box<dyn Source>;
    let member = world.member_of(source, settles).await;
    world.until_committed().await;
    world.done.lock().assert_each_once_in_order(1_000);
    member.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_finishes_what_is_in_hand_commits_it_and_begins_nothing_further() {
    let world = World::with(2_000, 9).await;
    let member = world.member(|_, _| (Duration::from_millis(5), Ending::Settled)).await;
    sleep(Duration::from_millis(1_030)).await;
    let took = member.end().await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let settled = world.done.lock().settled.len();
    assert!(settled > 100 && settled < 2_000, "{settled}");
    world.assert_nothing_was_committed_over().await;
    let next = world.member(settles).await;
    world.until_committed().await;
    world.done.lock().assert_each_once_in_order(2_000);
    next.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_no_longer_than_an_orchestrator_does() {
    let world = World::with(100, 9).await;
    let member = world.member(|_, _| (Duration::from_secs(600), Ending::Settled)).await;
    sleep(Duration::from_millis(200)).await;
    let took = member.end().await;
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(world.committed().await, 0);
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_while_a_partition_stands_still_and_the_others_go_on() {
    let world = World::with(0, 1).await;
    let record = |partition: i32| NewRecord {
        partition: Some(partition),
        key: Some("k".into()),
        value: Some(Bytes::from(vec![b'x'; 1_000])),
        ..NewRecord::default()
    };
    for partition in 0..2 {
        world.log.produce(TOPIC, (0..3_000).map(|_| record(partition)).collect()).await.unwrap();
    }
    let member = world.member(|record, _| {
        (Duration::ZERO, if record.position.partition == 0 { Ending::Later } else { Ending::Settled })
    });
    let member = member.await;
    sleep(Duration::from_secs(120)).await;
    let settled = world.done.lock().settled.len();
    assert_eq!(settled, 3_000, "all of the partition that goes on");
    let of_still = world.done.lock().deliveries.keys().filter(|position| position.partition == 0).count();
    // Its part of what is in hand, and what one fetch brings beyond.
    assert!(of_still <= 1_100, "{of_still} records of 1,000 bytes are in hand");
    member.end().await;
}
