//! Generations that nobody needs are dropped, none that somebody needs is, and a process that dies in the middle costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use async_trait::async_trait;
use lyceum_core::clock::Clock;
use lyceum_core::generations::OfGeneration;
use lyceum_core::generations::building::{self, BuildError, Builder, Muted, Stage, Wanted, muted};
use lyceum_core::generations::dropping::{self, Dropper, Dropping, LAST_BATCHES};
use lyceum_core::generations::marker::{self, Generations, Marker};
use lyceum_core::ports::event_log::{Administer, Retention, TopicSpec};
use lyceum_core::ports::ledger::{AggregateId, AggregateWrite, Commit, Content, Ledger, LedgerError};
use lyceum_core::process::{ProcessConfig, Services};
use lyceum_core::subscription::Subscription;
use lyceum_functions::REGISTRY;
use lyceum_testing::clock::ManualClock;
use lyceum_testing::handing::{HandOn, Handing};
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use uuid::Uuid;

const BEGINNING_MS: i64 = 1_790_000_000_000;
const TENANTS: [&str; 2] = ["academy", "college"];

/// A ledger, and a builder of the generations of learning from a log in which nothing stands.
struct World {
    ledger: Arc<dyn Ledger>,
    clock: Arc<ManualClock>,
    builder: Builder,
}

async fn world(ledger: Arc<dyn Ledger>) -> World {
    let clock = Arc::new(ManualClock::at(BEGINNING_MS));
    let log = Arc::new(MemoryEventLog::with_clock(clock.clone()));
    let entry = REGISTRY.iter().find(|of| of.spec.name == "learning").expect("it is a family");
    for topic in entry.subscription.topics() {
        let spec = TopicSpec { name: topic.to_owned(), partitions: 1, retention: Retention::default() };
        log.create_topic(spec).await.unwrap();
    }
    let services = Services {
        event_log: log.clone(),
        ledger: ledger.clone(),
        statements: Arc::new(MemoryStatements::new(equality::same)),
        schemas: None,
        clock: clock.clone(),
        observer: Arc::new(Muted),
    };
    let catalog = Arc::new(lyceum_catalog::catalog());
    let make = move |ledger| (entry.build)(muted(&services, ledger), catalog.clone(), ProcessConfig::default());
    let builder = Builder {
        subscription: entry.subscription,
        log,
        generations: Arc::new(Generations::new(ledger.clone(), clock.clone())),
        make: Arc::new(make),
        group: Arc::new(|_| "g".to_owned()),
        holder: Uuid::from_u128(1),
    };
    World { ledger, clock, builder }
}

impl World {
    fn subscription(&self) -> &'static Subscription {
        self.builder.subscription
    }

    async fn build(&self, swaps: bool) -> Stage {
        self.builder.begin(Wanted { swaps, lacking: false }).await.unwrap();
        self.builder.work(self.clock.now_ms() + 600_000).await.unwrap().stage
    }

    /// What is to be dropped from then on.
    async fn begin(&self, and_before: bool) -> Vec<u32> {
        let name = self.subscription().name;
        let dropping = dropping::begin(&*self.ledger, name, and_before, self.clock.now_ms()).await.unwrap();
        dropping.generations.into_iter().collect()
    }

    async fn work(&self, holder: u128, alone_since_ms: Option<i64>) -> Result<Dropping, BuildError> {
        let dropper = Dropper {
            ledger: self.ledger.clone(),
            clock: self.clock.clone(),
            subscription: self.subscription(),
            tenants: TENANTS.map(str::to_owned).into(),
            alone_since_ms,
            holder: Uuid::from_u128(holder),
        };
        dropper.work(self.clock.now_ms() + 600_000).await
    }

    /// Puts so many states of each tenant and kind into a generation.
    async fn fill(&self, generation: u32, states: usize) {
        let ledger = OfGeneration::of(&self.ledger, generation);
        for (tenant, kind) in
            TENANTS.iter().flat_map(|of| self.subscription().kinds().iter().map(move |kind| (of, kind)))
        {
            for number in 0..states {
                let id = AggregateId { tenant: (*tenant).into(), kind: (*kind).into(), id: number.to_string().into() };
                let write = AggregateWrite { id, expected: None, content: Some(Content::of("{}")) };
                ledger.commit(Commit { aggregates: vec![write], keys: Vec::new() }).await.unwrap();
            }
        }
    }

    async fn states(&self, generation: u32) -> usize {
        let (ledger, mut states) = (OfGeneration::of(&self.ledger, generation), 0);
        for (tenant, kind) in
            TENANTS.iter().flat_map(|of| self.subscription().kinds().iter().map(move |kind| (of, kind)))
        {
            states += ledger.list(tenant, kind, usize::MAX).await.unwrap().len();
        }
        states
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, BuildError>) -> String {
    match result {
        Err(BuildError::Refused(why)) => why,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn what_is_live_is_built_or_may_be_gone_back_to_is_kept() {
    let world = world(Arc::new(MemoryLedger::new())).await;
    let never = dropping::begin(&*world.ledger, "learning", true, BEGINNING_MS).await;
    assert!(refused(never).contains("was never rebuilt"));
    assert_eq!(world.build(false).await, Stage::Ready);
    for and_before in [false, true] {
        assert_eq!(world.begin(and_before).await, [0_u32; 0], "0 is live, and 1 is not swapped in yet");
    }
    assert_eq!(world.build(true).await, Stage::Swapped);
    assert_eq!(world.begin(false).await, [0_u32; 0], "1 is live, and 0 may be gone back to");
    world.builder.begin_back().await.unwrap();
    assert_eq!(world.builder.work(world.clock.now_ms() + 600_000).await.unwrap().stage, Stage::Swapped);
    assert_eq!(world.begin(false).await, [0_u32; 0], "0 is live, and 1 may be gone back to");
    // A next rebuild ends the way back; one that is cancelled is nobody's.
    world.builder.begin(Wanted::default()).await.unwrap();
    assert_eq!(world.begin(false).await, [1]);
    building::cancel(&*world.ledger, "learning", world.clock.now_ms()).await.unwrap();
    assert_eq!(world.begin(false).await, [1, 2]);
    assert_eq!(world.build(true).await, Stage::Swapped);
    assert_eq!(world.begin(true).await, [0, 1, 2]);
    assert!(refused(world.builder.begin_back().await).contains("is dropped"));
    assert_eq!(marker::read(&*world.ledger, "learning").await.unwrap().marker.live, 3);
}

#[tokio::test]
async fn whoever_was_about_to_make_a_generation_live_is_refused_once_it_is_dropped() {
    let world = world(Arc::new(MemoryLedger::new())).await;
    assert_eq!(world.build(false).await, Stage::Ready);
    let read = marker::read(&*world.ledger, "learning").await.unwrap();
    let hold = Marker { held_until_ms: Some(BEGINNING_MS + 60_000), ..read.marker.clone() };
    let held = marker::write(&*world.ledger, "learning", read.version, hold).await.unwrap();
    building::cancel(&*world.ledger, "learning", world.clock.now_ms()).await.unwrap();
    assert_eq!(world.begin(false).await, [1]);
    let live = Marker { live: 1, held_until_ms: None, ..held.marker };
    let late = marker::write(&*world.ledger, "learning", held.version, live).await;
    assert_eq!(late, Err(LedgerError::Conflict));
}

/// Takes so many commits, and then none: as whoever is killed sees it.
struct Away {
    ledger: MemoryLedger,
    takes: Arc<AtomicI64>,
}

#[async_trait]
impl HandOn for Away {
    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        match self.takes.fetch_sub(1, SeqCst) > 0 {
            true => self.ledger.commit(commit).await,
            false => Err(LedgerError::Unavailable("it is away".to_owned())),
        }
    }
}

#[tokio::test]
async fn states_go_once_every_batch_has_ended_and_a_kill_in_the_middle_costs_nothing() {
    let takes = Arc::new(AtomicI64::new(i64::MAX));
    let world = world(Arc::new(Handing(Away { ledger: MemoryLedger::new(), takes: takes.clone() }))).await;
    world.fill(0, 40).await;
    assert_eq!(world.build(true).await, Stage::Swapped);
    world.fill(1, 7).await;
    assert_eq!(world.begin(true).await, [0]);
    let all = 40 * TENANTS.len() * world.subscription().kinds().len();
    let swapped_ms = world.clock.now_ms();
    world.clock.advance(LAST_BATCHES.as_millis() as i64 - 1_000);
    assert_eq!(world.work(1, None).await.unwrap().generations.len(), 1);
    assert_eq!(world.work(1, Some(swapped_ms - 60_000)).await.unwrap().generations.len(), 1, "it had batches before");
    assert_eq!(world.states(0).await, all, "a batch may go on that was begun in it");

    world.clock.advance(2_000);
    // Thirty states go; then nothing can be written, not even why.
    takes.store(30, SeqCst);
    assert!(matches!(world.work(1, None).await, Err(BuildError::Unavailable(_))));
    takes.store(i64::MAX, SeqCst);
    assert_eq!(world.states(0).await, all - 30);
    // Whoever died holds its lease until it ends.
    assert!(matches!(world.work(2, None).await, Err(BuildError::Elsewhere { .. })));
    world.clock.advance(120_000);
    let dropping = world.work(2, None).await.unwrap();
    assert_eq!((dropping.generations.len(), dropping.dropped.contains(&0), dropping.failed), (0, true, None));
    assert_eq!(
        (world.states(0).await, world.states(1).await),
        (0, 7 * TENANTS.len() * world.subscription().kinds().len())
    );
    assert_eq!(world.begin(true).await, [0_u32; 0], "there is nothing any more");
}

#[tokio::test]
async fn a_process_that_has_the_ledger_to_itself_waits_for_no_batch_of_before() {
    let world = world(Arc::new(MemoryLedger::new())).await;
    world.fill(0, 3).await;
    assert_eq!(world.build(true).await, Stage::Swapped);
    assert_eq!(world.begin(true).await, [0]);
    let dropping = world.work(1, Some(world.clock.now_ms() + 1)).await.unwrap();
    assert_eq!((dropping.dropped.contains(&0), world.states(0).await), (true, 0));
    assert_eq!(dropping.states as usize, 3 * TENANTS.len() * world.subscription().kinds().len());
}
