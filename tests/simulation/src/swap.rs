//! A generation is built from the log, swapped in, and swapped back now and then, while workers of several processes go on and events keep
//! coming: at every call of a port anybody else may be next, or a worker or builder die. In the end the live generation has what one worker
//! alone makes of the log, in its order, and what follows from events is out.
//!
//! Each process has its own knowledge of which generation is live, as old as it may be. Two workers may have one partition.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::envelope::EVENT_ID_HEADER;
use lyceum_core::generations::OfGeneration;
use lyceum_core::generations::building::{BuildError, Builder, Muted, Stage, Wanted, muted, read};
use lyceum_core::generations::marker::{self, Generations, TTL};
use lyceum_core::generations::switching::{Make, Switching};
use lyceum_core::outcome::Outcome;
use lyceum_core::ports::event_log::{
    Administer, EventLogError, Follow, Membership, OffsetRange, Publish, Retention, TopicSpec,
};
use lyceum_core::ports::ledger::{AggregateId, Claim, Commit, KeyId, Ledger, LedgerError, Loaded, StoredKey};
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_core::process::{CountedProcessor, Delivery, ProcessConfig, Services, StatefulProcessor, Subscriber};
use lyceum_core::record::{Header, NewRecord, Position, Record, header_text};
use lyceum_core::subscription::Subscription;
use lyceum_testing::handing::{HandOn, Handing};
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use serde_json::json;
use uuid::Uuid;

use crate::counter;
use crate::counter::family::{COUNTERS, Counters, FOLLOWED};
use crate::executor::{Work, advance, answer, pause};
use crate::random::Random;
use crate::stage::BEGINNING_MS;
use crate::toys::avro::{self, Answers};

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Processes go by what they read of a marker for so long that a swap does not wait for them.
    OldMarkers,
    /// A batch is begun in the live generation though its subscription is held.
    NoHold,
    /// A generation is swapped in without what came last.
    Early,
}

/// What is planted, by names.
pub const PLANTED: [Planted; 3] = [Planted::OldMarkers, Planted::NoHold, Planted::Early];

/// How much happened in a run, so that a test can tell that something did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened {
    /// Generations that were swapped in.
    pub swaps: u64,
    /// Workers and builders that died.
    pub deaths: u64,
    /// Batches that live workers processed while something was built.
    pub batches: u64,
}

const SUBSCRIPTIONS: [&Subscription; 3] = [
    <Counters<true> as lyceum_core::family::Family>::SUBSCRIPTION,
    <Counters<false> as lyceum_core::family::Family>::SUBSCRIPTION,
    <Answers as lyceum_core::family::Family>::SUBSCRIPTION,
];
const LETTERS: [&str; 3] = ["nlj.errors.validation", "nlj.errors.processing", "nlj.errors.database"];
/// A run that is not at its end after so many steps never ends.
const MOST_STEPS: usize = 400_000;

/// The time: whoever sleeps waits until others, or the schedule, have made it pass.
struct Time(AtomicI64);

#[async_trait]
impl Clock for Time {
    fn now_ms(&self) -> i64 {
        self.0.load(SeqCst)
    }

    async fn sleep(&self, duration: Duration) {
        let end_ms = self.now_ms() + duration.as_millis() as i64;
        while self.now_ms() < end_ms {
            pause().await;
        }
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}

/// A port each of whose calls lets others go first, before it and behind it.
struct Slow<P>(Arc<P>);

#[async_trait]
impl HandOn for Slow<MemoryLedger> {
    fn ledger(&self) -> &dyn Ledger {
        &*self.0
    }

    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        pause().await;
        let loaded = self.0.load(aggregates, keys).await;
        pause().await;
        loaded
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        pause().await;
        self.0.load_settled_keys(keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        pause().await;
        let committed = self.0.commit(commit).await;
        pause().await;
        committed
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        pause().await;
        self.0.claim(key, holder, now_ms, until_ms).await
    }
}

#[async_trait]
impl StoreDocuments for Slow<MemoryStatements> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        pause().await;
        let stored = self.0.store(documents).await;
        pause().await;
        stored
    }
}

#[async_trait]
impl Publish for Slow<MemoryEventLog> {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        pause().await;
        let produced = self.0.produce(topic, records).await;
        pause().await;
        produced
    }
}

#[async_trait]
impl Follow for Slow<MemoryEventLog> {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        pause().await;
        // A log may answer with fewer than there are.
        self.0.fetch(topic, partition, offset, max_records.min(3), max_bytes).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        pause().await;
        self.0.offsets(topic).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.0.offset_at(topic, partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        pause().await;
        self.0.committed(group, topic).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.0.commit(group, topic, offsets).await
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.0.join(group, topic, patience).await
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.0.wait_for_records(topic, timeout).await;
    }
}

struct Registry;

#[async_trait]
impl FindSchema for Registry {
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        Ok(avro::registered(schema))
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        Ok(())
    }
}

/// What all processes share.
struct Stores {
    log: Arc<MemoryEventLog>,
    ledger: Arc<MemoryLedger>,
    statements: Arc<MemoryStatements>,
    time: Arc<Time>,
    subscription: &'static Subscription,
    topic: &'static str,
}

impl Stores {
    fn new(subscription: &'static Subscription, partitions: i32) -> Self {
        let time = Arc::new(Time(AtomicI64::new(BEGINNING_MS)));
        let log = Arc::new(MemoryEventLog::with_clock(time.clone()));
        let topic = subscription.topics().next().unwrap_or(COUNTERS);
        for name in [topic, FOLLOWED].into_iter().chain(LETTERS) {
            let partitions = if name == topic { partitions } else { 1 };
            let spec = TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() };
            answer(log.create_topic(spec)).unwrap_or_else(|error| panic!("{error}"));
        }
        let statements = Arc::new(MemoryStatements::new(equality::same));
        Self { log, ledger: Arc::default(), statements, time, subscription, topic }
    }

    fn services(&self) -> Services {
        Services {
            event_log: Arc::new(Slow(self.log.clone())),
            ledger: Arc::new(Handing(Slow(self.ledger.clone()))),
            statements: Arc::new(Slow(self.statements.clone())),
            schemas: Some(Arc::new(Registry)),
            clock: self.time.clone(),
            observer: Arc::new(Muted),
        }
    }

    fn make(&self, is_muted: bool) -> Make {
        let (services, subscription) = (self.services(), self.subscription);
        Arc::new(move |ledger| {
            let services = if is_muted { muted(&services, ledger) } else { Services { ledger, ..services.clone() } };
            let config = ProcessConfig::default();
            match SUBSCRIPTIONS.iter().position(|of| std::ptr::eq(*of, subscription)) {
                Some(0) => Arc::new(StatefulProcessor::<Counters<true>>::new(services, counters(), config)),
                Some(1) => Arc::new(StatefulProcessor::<Counters<false>>::new(services, counters(), config)),
                _ => Arc::new(CountedProcessor::<Answers>::new(services, Arc::new(crate::toys::catalog()), config)),
            }
        })
    }

    fn send(&self, record: NewRecord) {
        answer(self.log.produce(self.topic, vec![record])).unwrap_or_else(|error| panic!("{error}"));
    }

    fn records(&self, topic: &str) -> Vec<Record> {
        let ends = answer(self.log.offsets(topic)).unwrap_or_default();
        let fetch = |partition| answer(self.log.fetch(topic, partition, 0, usize::MAX, usize::MAX)).unwrap_or_default();
        (0..).zip(ends).flat_map(|(partition, _)| fetch(partition)).collect()
    }

    /// Ids of what was published, with how often.
    fn published(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for topic in [FOLLOWED].into_iter().chain(LETTERS) {
            for record in self.records(topic) {
                let id = header_text(&record.headers, "lyceum-letter-id")
                    .or_else(|| header_text(&record.headers, EVENT_ID_HEADER));
                *ids.entry(format!("{topic} {}", id.unwrap_or("?"))).or_default() += 1;
            }
        }
        ids
    }

    /// The states of a generation.
    fn states(&self, generation: u32) -> BTreeMap<String, String> {
        let ledger = self.ledger.clone() as Arc<dyn Ledger>;
        let ledger = OfGeneration::of(&ledger, generation);
        let mut states = BTreeMap::new();
        for tenant in ["default", "acme"] {
            for kind in self.subscription.kinds() {
                for (id, stored) in answer(ledger.list(tenant, kind, usize::MAX)).unwrap_or_default() {
                    let state = stored.content.state.unwrap_or_default();
                    states.insert(id.to_string(), String::from_utf8_lossy(&state).into_owned());
                }
            }
        }
        states
    }
}

fn counters() -> Arc<Catalog> {
    Arc::new(Catalog::new(vec![&counter::family::SPEC]))
}

fn record(stores: &Stores, random: &mut Random, sent: &mut Vec<NewRecord>) -> NewRecord {
    if !sent.is_empty() && random.one_in(6) {
        return random.pick(sent).clone();
    }
    let (id, who) = (random.uuid(), *random.pick(&["a", "b", "c"]));
    let value = if stores.topic == COUNTERS {
        let extension = |name: &str| format!("http://nlj.platform/extensions/{name}");
        let kind = *random.pick(&["add", "cap", "need", "take", "followed", "followed"]);
        let extensions =
            json!({extension("kind"): kind, extension("limit"): random.between(1, 6), extension("note"): 1});
        let statement = json!({
            "id": id, "actor": {"mbox": "mailto:somebody@lyceum.example"},
            "verb": {"id": "http://nlj.platform/verbs/counted"},
            "object": {"id": format!("http://nlj.platform/activities/counter/{who}")},
            "context": {"extensions": extensions},
        });
        if random.one_in(10) { b"{}".to_vec() } else { statement.to_string().into_bytes() }
    } else {
        avro::value(id, who, random.between(1, 9) as i64, random.one_in(2), random.below(2))
    };
    let headers = vec![Header::new("correlation-id", id.to_string())];
    let key = Some(bytes::Bytes::copy_from_slice(who.as_bytes()));
    let record =
        NewRecord { partition: None, key, value: Some(value.into()), headers, timestamp_ms: Some(BEGINNING_MS) };
    sent.push(record.clone());
    record
}

/// Processes batch by batch from what is committed, until it is told to end and nothing is left.
async fn live(
    stores: Arc<Stores>,
    function: Arc<dyn Subscriber>,
    partition: i32,
    ends: Arc<Mutex<bool>>,
    batches: Arc<AtomicI64>,
) {
    loop {
        let committed = answer(stores.log.committed("g", stores.topic)).unwrap_or_default();
        let from = committed.get(&partition).copied().unwrap_or(0);
        pause().await;
        let records = answer(stores.log.fetch(stores.topic, partition, from, 3, usize::MAX)).unwrap_or_default();
        if records.is_empty() {
            if *ends.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            pause().await;
            continue;
        }
        pause().await;
        let batch: Vec<Delivery> = records.into_iter().map(Delivery::Record).collect();
        let reports = function.process(&batch, &function.invocation(stores.time.now_ms() + 600_000)).await;
        pause().await;
        batches.fetch_add(1, SeqCst);
        let settled = reports.iter().take_while(|report| report.outcome.is_settled()).count() as i64;
        // Whoever lost the partition commits nothing over what the other one has.
        let committed = answer(stores.log.committed("g", stores.topic)).unwrap_or_default();
        let next = (from + settled).max(committed.get(&partition).copied().unwrap_or(0));
        answer(stores.log.commit("g", stores.topic, &[(partition, next)])).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Builds, goes on, and swaps; `goes_back` afterwards.
async fn build(stores: Arc<Stores>, builder: Builder, goes_back: bool) {
    let name = stores.subscription.name;
    loop {
        let build = read(&*stores.ledger, name).await.unwrap_or_else(|error| panic!("{error}"));
        let begun = match &build {
            None => builder.begin(Wanted { swaps: true, lacking: false }).await.map(drop),
            Some(build) if build.stage.is_open() => Ok(()),
            Some(build) if goes_back && build.generation == 1 => builder.begin_back().await.map(drop),
            Some(_) => return,
        };
        let worked = match begun {
            Ok(()) => builder.work(stores.time.now_ms() + 300_000).await.map(drop),
            Err(error) => Err(error),
        };
        match worked {
            Ok(()) => {}
            Err(BuildError::Refused(why)) => panic!("refused: {why}"),
            Err(BuildError::Elsewhere { .. } | BuildError::Unavailable(_)) => {
                stores.time.sleep(Duration::from_secs(7)).await;
            }
        }
    }
}

/// A process: a new one has a new memory of which generation is live.
fn worker(
    stores: &Arc<Stores>,
    partition: i32,
    planted: Option<Planted>,
    ends: &Arc<Mutex<bool>>,
    batches: &Arc<AtomicI64>,
) -> Work {
    let ttl = if planted == Some(Planted::OldMarkers) { TTL * 40 } else { TTL };
    let services = stores.services();
    let ledger = match planted {
        Some(Planted::NoHold) => Arc::new(Handing(NoHold(Handing(Slow(stores.ledger.clone()))))) as Arc<dyn Ledger>,
        _ => services.ledger.clone(),
    };
    let generations = Arc::new(Generations::with_ttl(ledger, stores.time.clone(), ttl));
    let function = Switching::of(&generations, Arc::new(Muted), stores.make(false));
    Box::pin(live(stores.clone(), function, partition, ends.clone(), batches.clone()))
}

fn builder(stores: &Arc<Stores>, random: &mut Random, planted: Option<Planted>, goes_back: bool) -> Work {
    let log: Arc<dyn Follow> = match planted {
        Some(Planted::Early) => Arc::new(Early(Slow(stores.log.clone()), AtomicI64::new(0))),
        _ => Arc::new(Slow(stores.log.clone())),
    };
    let builder = Builder {
        subscription: stores.subscription,
        log,
        generations: Arc::new(Generations::new(stores.services().ledger, stores.time.clone())),
        make: stores.make(true),
        group: Arc::new(|_| "g".to_owned()),
        holder: random.uuid(),
    };
    Box::pin(build(stores.clone(), builder, goes_back))
}

/// Runs one seed; what is wrong with its end, if anything.
///
/// # Panics
/// Where a model fails, which none does.
pub fn run(seed: u64, planted: Option<Planted>) -> (Happened, Option<String>) {
    let mut random = Random::new(seed, 3);
    let mut sends = Random::new(seed, 4);
    let subscription = SUBSCRIPTIONS[random.below(3)];
    let partitions = random.between(1, 2) as i32;
    let stores = Arc::new(Stores::new(subscription, partitions));
    let (mut sent, mut left) = (Vec::new(), random.between(8, 50));
    for _ in 0..random.between(0, 15) {
        let record = record(&stores, &mut sends, &mut sent);
        stores.send(record);
    }
    let kills = random.one_in(2);
    let twins = random.one_in(2);
    let goes_back = random.one_in(3);
    let (ends, batches) = (Arc::new(Mutex::new(false)), Arc::<AtomicI64>::default());
    let mut workers: Vec<(i32, Option<Work>)> = (0..partitions * if twins { 2 } else { 1 })
        .map(|place| (place % partitions, Some(worker(&stores, place % partitions, planted, &ends, &batches))))
        .collect();
    let mut building = Some(builder(&stores, &mut random, planted, goes_back));
    let mut happened = Happened::default();
    for _ in 0..MOST_STEPS {
        match random.below(24) {
            0 if left > 0 => {
                left -= 1;
                let record = record(&stores, &mut sends, &mut sent);
                stores.send(record);
            }
            1 => drop(stores.time.0.fetch_add(random.between(1, 2_000) as i64, SeqCst)),
            2 if kills && random.one_in(12) => {
                happened.deaths += 1;
                let at = random.below(workers.len());
                let (partition, work) = &mut workers[at];
                *work = Some(worker(&stores, *partition, planted, &ends, &batches));
            }
            3 if kills && building.is_some() && random.one_in(12) => {
                happened.deaths += 1;
                building = Some(builder(&stores, &mut random, planted, goes_back));
            }
            4..=9 => {
                if let Some(work) = &mut building
                    && advance(work)
                {
                    building = None;
                }
            }
            _ => {
                let at = random.below(workers.len());
                if let Some(work) = &mut workers[at].1
                    && advance(work)
                {
                    workers[at].1 = None;
                }
            }
        }
        if left == 0 && building.is_none() {
            *ends.lock().unwrap_or_else(PoisonError::into_inner) = true;
            if workers.iter().all(|(_, work)| work.is_none()) {
                happened.batches = batches.load(SeqCst) as u64;
                let is_back =
                    answer(marker::read(&*stores.ledger, subscription.name)).is_ok_and(|of| of.marker.live == 0);
                happened.swaps = 1 + u64::from(is_back);
                return (happened, violation(&stores, kills || twins));
            }
        }
    }
    (happened, Some("it does not end".to_owned()))
}

/// What differs from what one worker alone makes of the same log.
fn violation(stores: &Stores, repeats: bool) -> Option<String> {
    let alone = Stores::new(stores.subscription, answer(stores.log.offsets(stores.topic)).ok()?.len() as i32);
    let function = alone.make(false)(Arc::new(Handing(Slow(alone.ledger.clone()))));
    for record in stores.records(stores.topic) {
        let invocation = function.invocation(i64::MAX);
        let batch = [Delivery::Record(record)];
        let mut work = Box::pin(function.process(&batch, &invocation));
        let reports = loop {
            if let std::task::Poll::Ready(reports) =
                work.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            {
                break reports;
            }
        };
        if matches!(reports[0].outcome, Outcome::RetryLater { .. }) {
            return Some(format!("one worker alone comes to {:?}", reports[0].outcome));
        }
    }
    let marker = answer(marker::read(&*stores.ledger, stores.subscription.name)).ok()?.marker;
    let build = answer(read(&*stores.ledger, stores.subscription.name)).ok()??;
    if build.stage != Stage::Swapped || build.generation != marker.live || marker.held_until_ms.is_some() {
        return Some(format!("it ends as {marker:?} with {build:?}"));
    }
    let (found, wanted) = (stores.states(marker.live), alone.states(0));
    if found != wanted {
        return Some(format!("generation {} has {found:#?}, and one worker alone makes {wanted:#?}", marker.live));
    }
    let (found, wanted) = (stores.published(), alone.published());
    if found.keys().ne(wanted.keys()) {
        return Some(format!("published are {found:#?}, and should be {wanted:#?}"));
    }
    let repeated = found.iter().find(|(id, times)| !repeats && **times > wanted[*id]);
    repeated.map(|(id, times)| format!("{id} was published {times} times and not {}, though nobody died", wanted[id]))
}

/// A ledger in which nobody sees that a subscription is held.
struct NoHold(Handing<Slow<MemoryLedger>>);

#[async_trait]
impl HandOn for NoHold {
    fn ledger(&self) -> &dyn Ledger {
        &self.0
    }

    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let mut loaded = self.0.load(aggregates, keys).await?;
        for stored in loaded.aggregates.iter_mut().flatten() {
            if let Some(state) = &stored.content.state
                && let Ok(mut of) = serde_json::from_slice::<marker::Marker>(state)
            {
                of.held_until_ms = None;
                stored.content.state = serde_json::to_vec(&of).ok().map(Into::into);
            }
        }
        Ok(loaded)
    }
}

/// A log whose ends are those that it had when it was asked first.
struct Early(Slow<MemoryEventLog>, AtomicI64);

#[async_trait]
impl Follow for Early {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.0.fetch(topic, partition, offset, max_records, max_bytes).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        let mut ranges = self.0.offsets(topic).await?;
        let sum: i64 = ranges.iter().map(|range| range.end).sum();
        let first = self.1.compare_exchange(0, sum.max(1), SeqCst, SeqCst).err().unwrap_or(sum);
        let mut over = sum - first;
        for range in ranges.iter_mut().rev() {
            let less = over.min(range.end);
            (range.end, over) = (range.end - less, over - less);
        }
        Ok(ranges)
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.0.offset_at(topic, partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.0.committed(group, topic).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        Follow::commit(&self.0, group, topic, offsets).await
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.0.join(group, topic, patience).await
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.0.wait_for_records(topic, timeout).await;
    }
}
