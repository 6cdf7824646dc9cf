//! Replays over the models in memory: killed at every call of a store, taken up, stopped, and held to what may be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_around::around::{Around, Call, StoreError, Wrapped};
use lyceum_catalog::catalog;
use lyceum_content_generator::Offline;
use lyceum_core::clock::Clock;
use lyceum_core::envelope::{EnvelopeConfig, TENANT_HEADER, source_of};
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Report};
use lyceum_core::ports::event_log::{Administer, Follow, Publish, Retention, TopicSpec};
use lyceum_core::process::audit::AuditLog;
use lyceum_core::process::{Delivery, ProcessConfig, Services};
use lyceum_core::record::{Header, NewRecord, Position, Record};
use lyceum_core::replay::request::time;
use lyceum_core::replay::{
    Chunk, File, FileFormat, Filter, OffsetsOf, Range, Request, Sink, SinkError, Sinks, State, Target,
};
use lyceum_functions::{Look, Ports, functions};
use lyceum_server::questions::AskError;
use lyceum_server::replay::{Asked, Ended, KEYS_AGE, Runner, Shown, Sources, Subscribers};
use lyceum_testing::clock::ManualClock;
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const BOOKINGS: &str = "nlj.training.bookings";
const COPY: &str = "copy";
/// 2026-03-02T00:00:00Z
const NOW_MS: i64 = 1_772_409_600_000;
const HOUR_MS: i64 = 3_600_000;
/// So many records the topic has, in three partitions.
const RECORDS: i64 = 60;

/// Stores, and as many processes over them as are asked for.
struct World {
    clock: Arc<ManualClock>,
    log: Arc<MemoryEventLog>,
    ledger: Arc<MemoryLedger>,
    statements: Arc<MemoryStatements>,
    files: Arc<Files>,
}

/// A process dies at one of its calls, before or after what the call does.
struct Death {
    left: AtomicU64,
    is_after: bool,
    died: Notify,
    /// Whether others have their turn at each call. A subscriber's time would pass by it.
    yields: bool,
}

impl Around for Death {
    async fn call<A: Send, E: StoreError>(
        &self,
        _: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        _: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        if self.yields {
            tokio::task::yield_now().await;
        }
        let is_last = self.left.fetch_sub(1, SeqCst) == 1;
        let answer = if is_last && !self.is_after { None } else { Some(work.await) };
        match answer.filter(|_| !is_last) {
            Some(answer) => answer,
            None => {
                self.died.notify_one();
                std::future::pending().await
            }
        }
    }
}

impl Death {
    fn at(call: u64, is_after: bool) -> Arc<Self> {
        Arc::new(Self { left: call.into(), is_after, died: Notify::new(), yields: false })
    }

    fn never() -> Arc<Self> {
        Self::at(u64::MAX, false)
    }

    fn never_alone() -> Arc<Self> {
        Arc::new(Self { left: u64::MAX.into(), is_after: false, died: Notify::new(), yields: true })
    }
}

/// Files in memory: of each place the positions of its records, and how often it was finished.
#[derive(Default)]
struct Files(Mutex<BTreeMap<String, (Vec<Position>, u32)>>);

struct MemorySink {
    files: Arc<Files>,
    place: String,
}

#[async_trait]
impl Sink for MemorySink {
    async fn append(&mut self, _: &Chunk, records: &[Record]) -> Result<Value, SinkError> {
        let mut files = self.files.0.lock();
        let (file, _) = files.entry(self.place.clone()).or_default();
        file.extend(records.iter().map(|record| record.position.clone()));
        Ok(json!(file.len()))
    }

    async fn finish(&mut self) -> Result<Value, SinkError> {
        let mut files = self.files.0.lock();
        let (file, finished) = files.entry(self.place.clone()).or_default();
        *finished += 1;
        Ok(json!({"records": file.len()}))
    }
}

struct MemorySinks(Arc<Files>);

#[async_trait]
impl Sinks for MemorySinks {
    async fn check(&self, file: &File) -> Result<(), SinkError> {
        match file.place.as_str() {
            "nowhere" => Err(SinkError::Refused("nowhere cannot be written".to_owned())),
            _ => Ok(()),
        }
    }

    async fn begin(&self, file: &File) -> Result<Box<dyn Sink>, SinkError> {
        self.0.0.lock().insert(file.place.clone(), <_>::default());
        Ok(Box::new(MemorySink { files: self.0.clone(), place: file.place.clone() }))
    }

    async fn resume(&self, file: &File, checkpoint: &Value) -> Result<Box<dyn Sink>, SinkError> {
        let mut files = self.0.0.lock();
        let length = usize::try_from(checkpoint.as_u64().unwrap()).unwrap();
        files.get_mut(&file.place).unwrap().0.truncate(length);
        Ok(Box::new(MemorySink { files: self.0.clone(), place: file.place.clone() }))
    }
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &[Report]) {}
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let log = Arc::new(MemoryEventLog::with_clock(clock.clone()));
        for topic in lyceum_server::topics::topics(&catalog()) {
            log.create_topic(TopicSpec { partitions: 3, retention: Retention::default(), ..topic }).await.unwrap();
        }
        let copy = TopicSpec { name: COPY.to_owned(), partitions: 2, retention: Retention::default() };
        log.create_topic(copy).await.unwrap();
        let records = (0..RECORDS).map(booking).collect();
        log.produce(BOOKINGS, records).await.unwrap();
        let statements = Arc::new(MemoryStatements::new(equality::same));
        Self { clock, log, ledger: Arc::new(MemoryLedger::new()), statements, files: Arc::default() }
    }

    /// A process that is to die so.
    fn process(&self, death: &Arc<Death>) -> Runner {
        let log = Arc::new(Wrapped::around(self.log.clone(), death.clone()));
        let ledger = Arc::new(Wrapped::around(self.ledger.clone(), death.clone()));
        let services = Services {
            event_log: log.clone(),
            ledger: ledger.clone(),
            statements: self.statements.clone(),
            schemas: None,
            clock: self.clock.clone(),
            observer: Arc::new(Nobody),
        };
        let statements = self.statements.clone();
        let make = move |name: &str, services: Services| {
            let function = functions().find(|of| of.subscription.name == name)?;
            let ports = Ports { services, generator: Arc::new(Offline), audit: statements.clone() };
            Some(function.build(ports, Arc::new(catalog()), ProcessConfig::default()))
        };
        Runner::new(Sources {
            event_log: log,
            ledger: ledger.clone(),
            labels: Arc::new(Look::new(EnvelopeConfig::default())),
            audit: AuditLog { entries: self.statements.clone(), ledger, clock: self.clock.clone() },
            subscribers: Subscribers {
                services,
                make: Arc::new(make),
                names: functions().map(|of| of.subscription.name).collect(),
            },
            sinks: Some(Arc::new(MemorySinks(self.files.clone()))),
            keys_age: KEYS_AGE,
            clock: self.clock.clone(),
            metrics: Arc::new(Metrics::new()),
        })
    }

    async fn begin(&self, request: Request) -> Uuid {
        self.process(&Death::never()).begin(request, &operator()).await.unwrap().id
    }

    /// Runs to the end, by a process that lives.
    async fn run(&self, id: Uuid) -> Shown {
        let process = self.process(&Death::never());
        process.run_until(id, i64::MAX, &CancellationToken::new()).await.unwrap();
        process.show(id, &operator()).await.unwrap()
    }

    /// Begins a run with processes that die one after another, each at its `call`-th call, and has the last one finish it. Gives how many died.
    async fn run_dying(&self, id: Uuid, call: u64, is_after: bool) -> (u32, Shown) {
        for died in 0..100 {
            let death = Death::at(call, is_after);
            let process = self.process(&death);
            let stop = CancellationToken::new();
            let ended = tokio::select! {
                ended = process.run_until(id, i64::MAX, &stop) => Some(ended.unwrap()),
                () = death.died.notified() => None,
            };
            if let Some(ended) = ended {
                assert_eq!(ended, Ended::As(State::Done));
                return (died, self.process(&Death::never()).show(id, &operator()).await.unwrap());
            }
            // Its lease ends.
            self.clock.advance(10 * 60_000);
        }
        panic!("with a death at call {call} nothing ever comes further")
    }

    /// All that stands on a topic.
    async fn records(&self, topic: &str) -> Vec<Record> {
        let mut found = Vec::new();
        for (partition, range) in (0..).zip(self.log.offsets(topic).await.unwrap()) {
            let mut next = range.start;
            while next < range.end {
                let records = self.log.fetch(topic, partition, next, 1_000, usize::MAX).await.unwrap();
                next = records.last().unwrap().position.offset + 1;
                found.extend(records);
            }
        }
        found
    }

    /// The training function gets all that is on its topic, in its order.
    async fn process_bookings(&self) -> Vec<Report> {
        let (log, statements) = (self.log.clone(), self.statements.clone());
        let services = Services {
            event_log: log,
            ledger: self.ledger.clone(),
            statements: statements.clone(),
            schemas: None,
            clock: self.clock.clone(),
            observer: Arc::new(Nobody),
        };
        let function = functions().find(|of| of.subscription.name == "training").unwrap();
        let ports = Ports { services, generator: Arc::new(Offline), audit: statements };
        let function = function.build(ports, Arc::new(catalog()), ProcessConfig::default());
        let mut reports = Vec::new();
        for records in self.records(BOOKINGS).await.chunks(50) {
            let batch: Vec<Delivery> = records.iter().cloned().map(Delivery::Record).collect();
            reports.extend(function.process(&batch, &function.invocation(i64::MAX)).await);
        }
        reports
    }

    /// What is kept of bookings and sessions.
    fn states(&self) -> BTreeMap<String, Value> {
        let kept = self.ledger.aggregates().into_iter().filter(|(id, _)| id.kind != "replay");
        kept.map(|(id, stored)| {
            (id.to_string(), serde_json::from_slice(stored.content.state.as_deref().unwrap_or(b"null")).unwrap())
        })
        .collect()
    }
}

/// A booking that is requested; those of even numbers are acme's, the others globex's. Each a minute after the one before.
fn booking(number: i64) -> NewRecord {
    let statement = json!({
        "id": Uuid::from_u128(number as u128 + 1),
        "actor": {"mbox": "mailto:learner@academy.example"},
        "verb": {"id": "http://nlj.platform/verbs/requested"},
        "object": {"id": format!("http://nlj.platform/activities/booking/b{number}")},
        "timestamp": "2026-03-01T08:00:00Z",
        "context": {"extensions": {
            "http://nlj.platform/extensions/booking_id": format!("b{number}"),
            "http://nlj.platform/extensions/session_id": format!("s{}", number % 7),
            "http://nlj.platform/extensions/program_id": "p",
        }},
    });
    NewRecord {
        key: Some(Bytes::from(format!("s{}", number % 7))),
        value: Some(Bytes::from(statement.to_string())),
        headers: vec![Header::new(TENANT_HEADER, if number % 2 == 0 { "acme" } else { "globex" })],
        timestamp_ms: Some(NOW_MS - 24 * HOUR_MS + number * 60_000),
        ..NewRecord::default()
    }
}

fn operator() -> Asked {
    Asked { tenant: None, by: "an operator".to_owned() }
}

fn of_tenant(tenant: &str) -> Asked {
    Asked { tenant: Some(tenant.to_owned()), by: format!("a token of tenant {tenant}") }
}

/// All bookings, seven at once.
fn request(target: Target) -> Request {
    Request {
        topics: vec![BOOKINGS.to_owned()],
        range: Range::default(),
        partitions: vec![],
        filter: Filter::default(),
        target,
        rate: Some(7),
        limit: None,
    }
}

fn file() -> Target {
    Target::File { place: "out".to_owned(), format: FileFormat::Jsonl }
}

fn training() -> Target {
    Target::Subscriber { name: "training".to_owned(), publish: false }
}

#[tokio::test]
async fn a_run_to_the_topic_that_is_killed_at_any_call_loses_nothing_and_repeats_at_most_a_part_each_time() {
    let mut kills = 0;
    for is_after in [false, true] {
        // Below, a process never gets so far that it keeps a part.
        for call in 6..40 {
            let world = World::new().await;
            world.process_bookings().await;
            let (before, originals) = (world.states(), world.records(BOOKINGS).await);
            let id = world.begin(request(Target::Topic)).await;
            let (died, shown) = world.run_dying(id, call, is_after).await;
            kills += died;
            assert_eq!(shown.counts.sent, RECORDS as u64, "{call}");
            let all = world.records(BOOKINGS).await;
            let mut copies: BTreeMap<Position, u32> = BTreeMap::new();
            for record in all.iter().filter(|record| source_of(record).1 > 0) {
                let (source, count) = source_of(record);
                let original = originals.iter().find(|of| of.position == source).unwrap();
                assert_eq!((count, &record.key, &record.value), (1, &original.key, &original.value));
                *copies.entry(source).or_default() += 1;
            }
            assert_eq!(copies.len(), RECORDS as usize, "{call}: nothing is lost");
            let repeated: u32 = copies.values().map(|count| count - 1).sum();
            assert!(repeated <= died * 7, "{call}: {repeated} were sent again by {died} deaths");
            world.process_bookings().await;
            assert_eq!(world.states(), before, "{call}: no effect happens twice");
        }
    }
    assert!(kills > 50, "{kills}");
}

#[tokio::test]
async fn a_run_to_a_file_that_is_killed_at_any_call_has_each_record_once_and_in_its_order() {
    let whole = World::new().await;
    let id = whole.begin(request(file())).await;
    assert_eq!(whole.run(id).await.written, Some(json!({"records": RECORDS})));
    let wanted = whole.files.0.lock()["out"].0.clone();
    assert_eq!(wanted.iter().collect::<BTreeSet<_>>().len(), RECORDS as usize);
    let mut kills = 0;
    for is_after in [false, true] {
        for call in 5..25 {
            let world = World::new().await;
            let id = world.begin(request(file())).await;
            let (died, shown) = world.run_dying(id, call, is_after).await;
            kills += died;
            assert_eq!((shown.counts.sent, shown.written), (RECORDS as u64, Some(json!({"records": RECORDS}))));
            assert_eq!(world.files.0.lock()["out"].0, wanted, "{call}");
        }
    }
    assert!(kills > 10, "{kills}");
}

#[tokio::test]
async fn a_run_to_one_subscriber_has_its_effect_once_and_nobody_else_notices() {
    let direct = World::new().await;
    direct.process_bookings().await;
    for is_after in [false, true] {
        for call in [10, 12, 15, 20, 25, 30, 40, 60] {
            let world = World::new().await;
            let before = world.records(BOOKINGS).await.len();
            let id = world.begin(request(training())).await;
            let (_, shown) = world.run_dying(id, call, is_after).await;
            let counts = shown.counts;
            assert_eq!((counts.matched, counts.refused, counts.sent + counts.skipped), (60, 0, 60), "{call}");
            assert_eq!(world.states(), direct.states(), "{call}: as the topic's own delivery makes them");
            assert_eq!(world.records(BOOKINGS).await.len(), before);
            // Once more nothing changes, since every event has its key.
            let again = world.begin(request(training())).await;
            let shown = world.run(again).await;
            assert_eq!((shown.run, shown.counts.matched, shown.counts.refused), (2, 60, 0));
            assert_eq!(world.states(), direct.states());
        }
    }
}

#[tokio::test]
async fn what_a_subscriber_refused_is_decided_anew_by_a_replay_to_it() {
    let world = World::new().await;
    // A booking that is confirmed without having been requested is refused.
    let confirmed = json!({
        "id": Uuid::from_u128(7_000), "actor": {"mbox": "mailto:learner@academy.example"},
        "verb": {"id": "http://nlj.platform/verbs/confirmed"},
        "object": {"id": "http://nlj.platform/activities/booking/late"},
        "context": {"extensions": {
            "http://nlj.platform/extensions/booking_id": "late",
            "http://nlj.platform/extensions/session_id": "s",
            "http://nlj.platform/extensions/program_id": "p",
        }},
    });
    let record = NewRecord { value: Some(confirmed.to_string().into()), ..booking(1) };
    let at = world.log.produce(BOOKINGS, vec![record]).await.unwrap().remove(0);
    let letters = async || {
        let mut count = 0;
        for topic in catalog().dead_letter_topics() {
            count += world.records(topic).await.len();
        }
        count
    };
    world.process_bookings().await;
    let of =
        OffsetsOf { topic: None, partition: Some(at.partition), from: Some(at.offset), until: Some(at.offset + 1) };
    let only = Request { range: Range::Offsets(vec![of]), ..request(training()) };
    let refused = letters().await;
    assert_eq!(refused, 1);
    let id = world.begin(only.clone()).await;
    assert_eq!(world.run(id).await.counts.refused, 1, "it is still wrong");
    assert_eq!(letters().await, refused, "muted: no letter of it goes out");
    // What it lacked comes: on another topic or from a mended sender.
    let requested = booking(1);
    let mut statement: Value = serde_json::from_slice(requested.value.as_ref().unwrap()).unwrap();
    statement["id"] = json!(Uuid::from_u128(7_001));
    statement["object"]["id"] = confirmed["object"]["id"].clone();
    statement["context"] = confirmed["context"].clone();
    let requested = NewRecord { value: Some(statement.to_string().into()), ..requested };
    world.log.produce(BOOKINGS, vec![requested]).await.unwrap();
    world.process_bookings().await;
    let id = world.begin(only).await;
    let shown = world.run(id).await;
    assert_eq!((shown.run, shown.counts.sent), (2, 1), "{shown:?}");
}

#[tokio::test]
async fn an_hour_out_of_a_day_has_exactly_its_records() {
    let world = World::new().await;
    let (from, until) = (time("2026-03-01T00:10:00Z"), time("2026-03-01T00:40:00Z"));
    let range = Range::Times { from: Some(from.unwrap()), until: Some(until.unwrap()) };
    let id = world.begin(Request { range, ..request(file()) }).await;
    let shown = world.run(id).await;
    let originals = world.records(BOOKINGS).await;
    let is_in = |of: &&Record| (10..40).contains(&((of.timestamp_ms - (NOW_MS - 24 * HOUR_MS)) / 60_000));
    let wanted: BTreeSet<Position> = originals.iter().filter(is_in).map(|of| of.position.clone()).collect();
    assert_eq!(wanted.len(), 30);
    assert_eq!(world.files.0.lock()["out"].0.iter().cloned().collect::<BTreeSet<_>>(), wanted);
    for of in &shown.partitions {
        let here = wanted.iter().filter(|position| position.partition == of.partition).count() as u64;
        assert_eq!((of.counts.sent, of.offsets.done, of.offsets.all), (here, here, here));
    }
}

#[tokio::test]
async fn a_filter_lets_through_what_matches_alone_and_a_dry_run_says_how_much_that_is() {
    let world = World::new().await;
    let filter =
        Filter { tenant: Some("acme".to_owned()), event_types: vec!["booking.requested".to_owned()], key: None };
    let acme = Request { filter, ..request(Target::OtherTopic(COPY.to_owned())) };
    let process = world.process(&Death::never());
    let dry = process.dry_run(acme.clone(), &operator()).await.unwrap();
    assert_eq!((dry.matched, dry.offsets, dry.is_exact, dry.steps), (30, 60, true, 3));
    assert!(process.list(None, 10).await.unwrap().is_empty() && world.records(COPY).await.is_empty());
    let id = world.begin(acme).await;
    let shown = world.run(id).await;
    assert_eq!((shown.counts.read, shown.counts.matched, shown.counts.sent), (60, 30, 30));
    let copies = world.records(COPY).await;
    let headers = vec![Header::new(TENANT_HEADER, "acme")];
    assert!(copies.len() == 30 && copies.iter().all(|copy| copy.headers == headers), "as they are");
    let key = Filter { key: Some("s3".to_owned()), ..Filter::default() };
    let id = world.begin(Request { filter: key, limit: Some(5), ..request(file()) }).await;
    assert_eq!(world.run(id).await.counts.sent, 5);
}

#[tokio::test]
async fn one_run_of_a_request_at_a_time_and_one_process_at_work_on_it() {
    let world = World::new().await;
    let id = world.begin(request(Target::Topic)).await;
    let second = world.process(&Death::never()).begin(request(Target::Topic), &operator()).await;
    assert!(matches!(&second, Err(AskError::Conflict(why)) if why.contains("runs already")), "{second:?}");
    // One process holds it and has died; before its lease ends no other one goes on.
    let death = Death::at(12, false);
    let first = world.process(&death);
    let (stop, never) = (CancellationToken::new(), i64::MAX);
    tokio::select! {
        _ = first.run_until(id, never, &stop) => panic!("it dies before its end"),
        () = death.died.notified() => {}
    }
    let other = world.process(&Death::never());
    assert_eq!(other.run_until(id, never, &stop).await, Ok(Ended::Elsewhere));
    world.clock.advance(10 * 60_000);
    assert_eq!(other.run_until(id, never, &stop).await, Ok(Ended::As(State::Done)));
    let shown = other.begin(request(Target::Topic), &operator()).await.unwrap();
    assert_eq!((shown.id, shown.run), (id, 2), "a request whose run is done is run anew");
}

#[tokio::test]
async fn a_run_whose_time_is_over_goes_on_at_the_next_call_and_one_that_is_cancelled_when_it_is_resumed() {
    let world = World::new().await;
    let id = world.begin(request(file())).await;
    let process = world.process(&Death::never());
    let stop = CancellationToken::new();
    let mut calls = 0;
    // A part takes seconds here, by its rate.
    while process.run_until(id, world.clock.now_ms() + 6_000, &stop).await.unwrap() == Ended::Unfinished {
        calls += 1;
        if calls == 1 {
            let shown = process.cancel(id, &operator()).await.unwrap();
            assert_eq!((shown.state, shown.reason.as_deref()), (State::Cancelled, Some("cancelled by an operator")));
            assert!(matches!(process.cancel(id, &operator()).await, Err(AskError::Conflict(_))));
            assert_eq!(process.run_until(id, i64::MAX, &stop).await, Ok(Ended::As(State::Cancelled)));
            assert!(process.begin(request(file()), &operator()).await.is_err(), "it is to be resumed");
            assert!(process.show(id, &operator()).await.unwrap().counts.sent < RECORDS as u64);
            process.resume(id, &operator()).await.unwrap();
            assert!(matches!(process.resume(id, &operator()).await, Err(AskError::Conflict(_))));
        }
    }
    assert!(calls >= 2, "{calls}");
    assert_eq!(process.show(id, &operator()).await.unwrap().state, State::Done);
    assert_eq!(world.files.0.lock()["out"].0.len(), RECORDS as usize);
}

#[tokio::test]
async fn a_run_that_is_cancelled_from_elsewhere_stops_behind_the_part_that_is_on_its_way() {
    let world = World::new().await;
    let id = world.begin(request(Target::Topic)).await;
    let death = Death::at(12, true);
    let process = world.process(&death);
    let stop = CancellationToken::new();
    tokio::select! {
        _ = process.run_until(id, i64::MAX, &stop) => panic!("it dies before its end"),
        () = death.died.notified() => {}
    }
    world.clock.advance(10 * 60_000);
    let other = world.process(&Death::never_alone());
    // The cancelling comes between two of its parts.
    let going = other.run_until(id, i64::MAX, &stop);
    let third = world.process(&Death::never());
    let (ended, cancelled) = tokio::join!(going, async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        third.cancel(id, &operator()).await
    });
    match cancelled {
        Ok(_) => assert_eq!(ended, Ok(Ended::As(State::Cancelled))),
        Err(error) => panic!("it was done before: {error} {ended:?}"),
    }
    let sent = third.show(id, &operator()).await.unwrap().counts.sent;
    let copies = world.records(BOOKINGS).await.len() as u64 - RECORDS as u64;
    assert!(sent <= copies && sent < RECORDS as u64, "{sent} {copies}");
    third.resume(id, &operator()).await.unwrap();
    assert_eq!(world.run(id).await.counts.sent, RECORDS as u64);
}

#[tokio::test]
async fn a_tenants_token_replays_its_own_events_and_sees_its_own_replays() {
    let world = World::new().await;
    let process = world.process(&Death::never());
    let shown = process.begin(request(Target::Topic), &of_tenant("acme")).await.unwrap();
    assert_eq!(shown.request.filter.tenant.as_deref(), Some("acme"));
    assert_eq!(world.run(shown.id).await.counts.sent, 30);
    let globex = of_tenant("globex");
    assert!(matches!(process.show(shown.id, &globex).await, Err(AskError::NotFound(_))));
    assert!(matches!(process.cancel(shown.id, &globex).await, Err(AskError::NotFound(_))));
    assert!(process.list(Some("globex"), 10).await.unwrap().is_empty());
    assert_eq!(process.list(Some("acme"), 10).await.unwrap().len(), 1);
    let other = Filter { tenant: Some("acme".to_owned()), ..Filter::default() };
    for wrong in [
        Request { filter: other, ..request(Target::Topic) },
        request(file()),
        request(Target::OtherTopic(COPY.to_owned())),
    ] {
        assert!(matches!(process.begin(wrong, &globex).await, Err(AskError::Forbidden(_))));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_before_anything_is_begun() {
    let world = World::new().await;
    let process = world.process(&Death::never());
    let unknown = Request { topics: vec!["no.such".to_owned()], ..request(Target::Topic) };
    let nobody = Target::Subscriber { name: "nobody".to_owned(), publish: false };
    let elsewhere = Target::Subscriber { name: "survey".to_owned(), publish: false };
    let nowhere = Target::File { place: "nowhere".to_owned(), format: FileFormat::Jsonl };
    let gone = Range::EventIds(vec![Uuid::from_u128(99)]);
    for (request, says) in [
        (unknown, "no.such does not exist"),
        (request(Target::OtherTopic("no.such".to_owned())), "no.such does not exist"),
        (request(nobody), "there are training"),
        (request(elsewhere), "survey does not read nlj.training.bookings"),
        (request(nowhere), "nowhere cannot be written"),
        (Request { range: gone, ..request(Target::Topic) }, "the audit log has no record"),
        (Request { partitions: vec![9], ..request(Target::Topic) }, "no topic of the request has a partition 9"),
    ] {
        let error = process.begin(request.clone(), &operator()).await.unwrap_err();
        assert!(matches!(&error, AskError::Invalid(why) if why.contains(says)), "{error:?}");
        assert!(process.dry_run(request, &operator()).await.is_err());
    }
    // What is older than keys are.
    world.clock.advance(60 * 24 * HOUR_MS);
    let error = process.begin(request(Target::Topic), &operator()).await.unwrap_err();
    assert!(error.to_string().contains("further back than idempotency keys"), "{error}");
    assert!(process.begin(request(file()), &operator()).await.is_ok());
    assert_eq!(process.list(None, 10).await.unwrap().len(), 1);
}

/// Somebody who goes on with runs, in memory: which turns were told, and what the next call answers.
#[derive(Default)]
struct Others {
    told: Mutex<Vec<(Uuid, String)>>,
    is_there: std::sync::atomic::AtomicBool,
    fails: Mutex<Option<AskError>>,
}

#[async_trait]
impl lyceum_server::replay::HandOver for Others {
    fn check(&self) -> Result<(), AskError> {
        let is_there = self.is_there.load(SeqCst);
        if is_there { Ok(()) } else { Err(AskError::NotFound("nobody goes on with it".to_owned())) }
    }

    async fn hand_over(&self, run: Uuid, turn: &str) -> Result<(), AskError> {
        self.told.lock().push((run, turn.to_owned()));
        self.fails.lock().take().map_or(Ok(()), Err)
    }
}

#[tokio::test]
async fn a_process_that_lives_by_its_invocations_has_each_turn_of_a_run_gone_on_with_by_others() {
    let world = World::new().await;
    let others = Arc::new(Others::default());
    let process = || world.process(&Death::never()).by_invocation(Some(others.clone()));
    let begin = async || process().begin(request(Target::Topic), &operator()).await;
    let error = begin().await.unwrap_err();
    assert!(matches!(error, AskError::NotFound(_)), "{error:?}");
    assert_eq!(process().list(None, 10).await.unwrap(), [], "nothing is kept that nobody goes on with");
    others.is_there.store(true, SeqCst);

    // Nobody could be told: it is kept so that it can be resumed.
    *others.fails.lock() = Some(AskError::Unavailable("throttled".to_owned()));
    let error = begin().await.unwrap_err();
    assert!(matches!(&error, AskError::Unavailable(told) if told.contains("resuming it tries again")), "{error:?}");
    let id = others.told.lock()[0].0;
    let kept = process().show(id, &operator()).await.unwrap();
    assert_eq!(kept.state, State::Failed);
    assert!(kept.reason.unwrap().contains("throttled"));
    world.clock.advance(1_000);
    let resumed = process().resume(id, &operator()).await.unwrap();
    assert_eq!(resumed.state, State::Running);
    let turns: BTreeSet<(Uuid, String)> = others.told.lock().iter().cloned().collect();
    assert_eq!(turns.len(), 2, "each turn has a name of its own: {turns:?}");
    assert!(turns.iter().all(|(_, turn)| turn.len() <= 80), "Step Functions takes no longer name");
    assert_eq!(world.run(id).await.counts.sent, RECORDS as u64);

    // What has nothing to do is done, and nobody is told.
    let nothing = Request {
        range: Range::Offsets(vec![OffsetsOf { from: Some(1_000), ..<_>::default() }]),
        ..request(Target::Topic)
    };
    assert_eq!(process().begin(nothing, &operator()).await.unwrap().state, State::Done);
    assert_eq!(others.told.lock().len(), 2);
}

#[tokio::test]
async fn a_process_that_lives_by_its_invocations_writes_files_into_buckets_alone() {
    let world = World::new().await;
    let to = |place: &str| request(Target::File { place: place.to_owned(), format: FileFormat::Jsonl });
    let goes_on = world.process(&Death::never()).by_invocation(None);
    let others = Arc::new(Others { is_there: true.into(), ..Others::default() });
    let begins = world.process(&Death::never()).by_invocation(Some(others.clone()));
    for process in [&goes_on, &begins] {
        let told = process.begin(to("/tmp/out"), &operator()).await.unwrap_err().to_string();
        assert!(told.contains("name s3://bucket/prefix"), "{told}");
    }
    // Whoever begins need not have a right to the bucket; whoever goes on looks at it.
    let id = begins.begin(to("s3://bucket/out"), &operator()).await.unwrap().id;
    assert_eq!(goes_on.run_until(id, i64::MAX, &CancellationToken::new()).await.unwrap(), Ended::As(State::Done));
    assert_eq!(world.files.0.lock()["s3://bucket/out"].0.len(), RECORDS as usize);
}
