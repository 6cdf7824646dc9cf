//! The log against the stores, over the models in memory: every kind of difference is planted, found, and where it can be, repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lyceum_around::system_clock::SystemClock;
use lyceum_catalog::catalog;
use lyceum_content_generator::Offline;
use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Outcome, Report as Ended};
use lyceum_core::ports::event_log::{Administer, Follow, Publish};
use lyceum_core::ports::ledger::AggregateId;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::process::{Delivery, ProcessConfig, Services, Subscriber};
use lyceum_core::reconcile::{Report, What};
use lyceum_core::record::{NewRecord, Position};
use lyceum_core::replay::{OffsetsOf, Range};
use lyceum_functions::{Look, Looked, Ports, functions};
use lyceum_server::dead_letters::{DeadLetterIndex, Sources};
use lyceum_server::questions::{About, AskError, Keys};
use lyceum_server::reconcile::{Reconciler, Request};
use lyceum_server::topics::topics;
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

const STATEMENTS: &str = "nlj.xapi.statements";
const BOOKINGS: &str = "nlj.training.bookings";
/// No deadline of a test.
const NEVER_MS: i64 = i64::MAX;

struct World {
    log: Arc<MemoryEventLog>,
    ledger: Arc<MemoryLedger>,
    statements: Arc<MemoryStatements>,
    functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &[Ended]) {}
}

struct Names(Look);

impl Keys for Names {
    fn about(&self, record: &lyceum_core::record::Record) -> About {
        match self.0.at(record) {
            Looked::Event(seen) => About { event_id: Some(seen.id), ..About::default() },
            Looked::Invalid(_) | Looked::Tombstone | Looked::Missing(_) => About::default(),
        }
    }

    fn key_of(&self, _: &str, _: &Bytes) -> Option<Bytes> {
        None
    }
}

fn statement(number: u128) -> Value {
    json!({
        "id": Uuid::from_u128(number),
        "actor": {"mbox": "mailto:ada@academy.example"},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
        "object": {"id": format!("http://academy.example/courses/{number}")},
        "timestamp": "2026-11-30T09:30:00Z",
    })
}

fn booking(number: u128) -> Value {
    json!({
        "id": Uuid::from_u128(number),
        "actor": {"mbox": "mailto:ada@academy.example"},
        "verb": {"id": "http://nlj.platform/verbs/requested"},
        "object": {"id": format!("http://nlj.platform/activities/booking/b{number}")},
        "context": {"extensions": {"http://nlj.platform/extensions/session_id": "s1"}},
        "timestamp": "2026-11-30T09:30:00Z",
    })
}

/// Of this number the document, whose numbers say which event it is: statements from 100 on, bookings from 1,000 on.
const STATEMENT: u128 = 100;
const BOOKING: u128 = 1_000;

impl World {
    /// A world with so many statements and bookings, and one record that is no event, all of them settled.
    async fn with(events: u128) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let log = Arc::new(MemoryEventLog::with_clock(clock.clone()));
        for topic in topics(&catalog()) {
            log.create_topic(topic).await.unwrap();
        }
        let (ledger, statements) = (Arc::new(MemoryLedger::new()), Arc::new(MemoryStatements::new(equality::same)));
        let services = Services {
            event_log: log.clone(),
            ledger: ledger.clone(),
            statements: statements.clone(),
            schemas: None,
            clock,
            observer: Arc::new(Nobody),
        };
        let (audit, catalog) = (Arc::new(MemoryStatements::new(equality::same)), Arc::new(catalog()));
        let build = |of: lyceum_functions::Function| {
            let ports = Ports { services: services.clone(), generator: Arc::new(Offline), audit: audit.clone() };
            (of.subscription.name, of.build(ports, catalog.clone(), ProcessConfig::default()))
        };
        let functions = functions().map(build).collect();
        let world = Self { log, ledger, statements, functions };
        for number in 0..events {
            world.send(STATEMENTS, statement(STATEMENT + number)).await;
            world.send(BOOKINGS, booking(BOOKING + number)).await;
        }
        world.send(STATEMENTS, json!({"no": "statement"})).await;
        world.settle().await;
        world
    }

    async fn send(&self, topic: &str, value: Value) -> Position {
        let key = Some(Bytes::from(value["id"].to_string()));
        let record = NewRecord { key, value: Some(value.to_string().into()), ..NewRecord::default() };
        self.log.produce(topic, vec![record]).await.unwrap().remove(0)
    }

    /// Has every subscription process what it did not yet, and commits.
    async fn settle(&self) {
        for function in self.functions.values() {
            let subscription = function.subscription();
            let group = format!("lyceum-{}", subscription.name);
            for topic in subscription.topics().collect::<BTreeSet<_>>() {
                let committed = self.log.committed(&group, topic).await.unwrap();
                for (partition, range) in (0..).zip(self.log.offsets(topic).await.unwrap()) {
                    let from = committed.get(&partition).copied().unwrap_or(range.start);
                    let records = self.log.fetch(topic, partition, from, 10_000, usize::MAX).await.unwrap();
                    let batch: Vec<Delivery> = records.into_iter().map(Delivery::Record).collect();
                    let invocation = function.invocation(SystemClock.now_ms() + 60_000);
                    let reports = function.process(&batch, &invocation).await;
                    let is_settled = |of: &Ended| !matches!(of.outcome, Outcome::RetryLater { .. });
                    assert!(reports.iter().all(is_settled), "{reports:?}");
                    self.log.commit(&group, topic, &[(partition, range.end)]).await.unwrap();
                }
            }
        }
    }

    /// Commits what is on a topic, without anybody having processed it.
    async fn pass_by(&self, topic: &str) {
        for function in self.functions.values().filter(|of| of.subscription().topics().any(|of| of == topic)) {
            let group = format!("lyceum-{}", function.subscription().name);
            for (partition, range) in (0..).zip(self.log.offsets(topic).await.unwrap()) {
                self.log.commit(&group, topic, &[(partition, range.end)]).await.unwrap();
            }
        }
    }

    fn reconciler(&self) -> Reconciler {
        let sources = Sources {
            event_log: self.log.clone(),
            ledger: self.ledger.clone(),
            statements: self.statements.clone(),
            functions: self.functions.clone(),
            keys: Arc::new(Names(Look::new(<_>::default()))),
        };
        let catalog = Arc::new(catalog());
        Reconciler {
            event_log: self.log.clone(),
            statements: self.statements.clone(),
            functions: self.functions.clone(),
            letters: Arc::new(DeadLetterIndex::new(sources, catalog.clone(), Arc::new(SystemClock))),
            catalog,
            group: "lyceum".to_owned(),
            clock: Arc::new(SystemClock),
        }
    }

    async fn compare(&self, request: Request) -> Report {
        self.reconciler().reconcile(&request, NEVER_MS).await.unwrap()
    }

    async fn look(&self) -> Report {
        self.compare(Request::default()).await
    }

    async fn repair(&self) -> Report {
        self.compare(Request { repair: true, ..Request::default() }).await
    }

    fn lose_document(&self, number: u128) -> StatementDocument {
        self.statements.lose("default", Uuid::from_u128(number)).expect("it is there")
    }

    /// Loses the state of a booking, and with it the key of its event.
    fn lose_booking(&self, number: u128) {
        let id = AggregateId { tenant: "default".into(), kind: "booking".into(), id: format!("b{number}").into() };
        self.ledger.lose(&id).expect("it is there");
    }
}

/// What differs: of which event.
fn found(report: &Report) -> BTreeSet<(What, u128)> {
    let of = |difference: &lyceum_core::reconcile::Difference| {
        (difference.what, difference.event_id.map_or(0, |id| id.as_u128()))
    };
    report.listed.iter().map(of).collect()
}

#[tokio::test]
async fn stores_that_nobody_touched_do_not_differ_from_the_log() {
    let world = World::with(20).await;
    let report = world.look().await;
    assert_eq!(found(&report), BTreeSet::new(), "{:?}", report.listed);
    assert!(report.is_complete && report.untold.is_empty(), "{report:?}");
    // Each record with its owner: 20 statements, 20 bookings, and what is no event has its letter.
    assert_eq!((report.records, report.letters, report.not_yet), (41, 1, 0));
    assert_eq!((report.kept, report.documents), (40, 40));
}

#[tokio::test]
async fn a_document_that_is_lost_is_found_missing_and_brought_back_as_it_was() {
    let world = World::with(3).await;
    let lost = [world.lose_document(STATEMENT + 1), world.lose_document(BOOKING + 2)];
    let missing = BTreeSet::from([(What::MissingDocument, STATEMENT + 1), (What::MissingDocument, BOOKING + 2)]);
    assert_eq!(found(&world.look().await), missing);
    let repaired = world.repair().await;
    assert_eq!((repaired.repaired, repaired.total()), (2, 0), "{:?}", repaired.listed);
    assert_eq!(world.look().await.total(), 0);
    for lost in lost {
        assert_eq!(world.lose_document(lost.id.as_u128()), lost, "byte for byte, and with its time of storing");
    }
}

#[tokio::test]
async fn a_key_that_is_lost_is_found_missing_and_its_event_is_decided_again() {
    let world = World::with(3).await;
    world.lose_booking(BOOKING + 1);
    assert_eq!(found(&world.look().await), BTreeSet::from([(What::MissingKey, BOOKING + 1)]));
    let repaired = world.repair().await;
    assert_eq!((repaired.repaired, repaired.total()), (1, 0), "{:?}", repaired.listed);
    assert_eq!(world.look().await.total(), 0);
}

#[tokio::test]
async fn a_key_of_another_content_without_a_letter_is_found_and_has_its_letter_then() {
    let world = World::with(3).await;
    // Another booking under the id of one that was decided; its delivery was committed, and nobody processed it.
    let mut other = booking(BOOKING + 1);
    other["timestamp"] = json!("2026-11-30T11:00:00Z");
    world.send(BOOKINGS, other).await;
    world.pass_by(BOOKINGS).await;
    let differing = BTreeSet::from([(What::DifferingKey, BOOKING + 1)]);
    let report = world.look().await;
    assert_eq!(found(&report), differing);
    assert!(report.to_do[&What::DifferingKey].contains("--repair"), "{report:?}");
    let repaired = world.repair().await;
    assert_eq!((repaired.repaired, repaired.total(), repaired.to_do.len()), (1, 0, 0), "{:?}", repaired.listed);
    let report = world.look().await;
    assert_eq!((report.total(), report.letters), (0, 2), "the one of no event, and the conflict's");
}

#[tokio::test]
async fn a_document_that_was_changed_is_found_and_not_overwritten() {
    let world = World::with(3).await;
    let original = world.lose_document(STATEMENT);
    let raw = Bytes::from(statement(STATEMENT).to_string().replace("ada", "eve"));
    let changed = StatementDocument { raw, ..original.clone() };
    world.statements.put(changed.clone());
    let differing = BTreeSet::from([(What::DifferingDocument, STATEMENT)]);
    assert_eq!(found(&world.look().await), differing);
    let repaired = world.repair().await;
    assert_eq!((repaired.repaired, found(&repaired)), (0, differing));
    assert!(repaired.to_do[&What::DifferingDocument].contains("by its id"), "{repaired:?}");
    // Whoever looked into it and took the changed one out has the record's own back.
    assert_eq!(world.lose_document(STATEMENT), changed);
    assert_eq!(world.repair().await.repaired, 1);
    assert_eq!(world.look().await.total(), 0);
    assert_eq!(world.lose_document(STATEMENT), original);
}

#[tokio::test]
async fn a_document_of_no_record_or_of_another_events_is_extra() {
    let world = World::with(3).await;
    let original = world.lose_document(STATEMENT);
    world.statements.put(original.clone());
    let foreign = |number: u128, topic: &str, partition: i32, offset: i64| StatementDocument {
        id: Uuid::from_u128(number),
        source: Position::new(topic, partition, offset),
        ..original.clone()
    };
    let Position { topic, partition, offset } = original.source.clone();
    world.statements.put(foreign(1, STATEMENTS, 0, 99_999));
    world.statements.put(foreign(2, "nlj.nowhere", 0, 0));
    world.statements.put(foreign(3, STATEMENTS, 99, 0));
    world.statements.put(foreign(4, &topic, partition, offset));
    let extra = BTreeSet::from([1, 2, 3, 4].map(|number| (What::ExtraDocument, number)));
    let report = world.look().await;
    assert_eq!(found(&report), extra, "{:?}", report.listed);
    assert_eq!(found(&world.repair().await), extra, "nothing is removed but by a person");
    for number in 1..=4 {
        world.lose_document(number);
    }
    assert_eq!(world.look().await.total(), 0);
}

#[tokio::test]
async fn what_its_subscription_is_still_to_come_to_is_not_missing() {
    let world = World::with(2).await;
    let behind = world.send(STATEMENTS, statement(500)).await;
    let report = world.look().await;
    assert_eq!((report.total(), report.not_yet), (0, 1));
    world.settle().await;
    world.lose_document(500);
    assert_eq!(found(&world.look().await), BTreeSet::from([(What::MissingDocument, 500)]));
    let elsewhere =
        OffsetsOf { topic: Some(STATEMENTS.to_owned()), until: Some(behind.offset), ..OffsetsOf::default() };
    let request = Request {
        topics: vec![STATEMENTS.to_owned()],
        range: Range::Offsets(vec![OffsetsOf { partition: Some(behind.partition), ..elsewhere }]),
        ..Request::default()
    };
    if behind.offset > 0 {
        assert_eq!(world.compare(request).await.total(), 0, "it is out of the range");
    }
}

#[tokio::test]
async fn another_tenants_differences_are_not_told() {
    let world = World::with(2).await;
    world.lose_document(STATEMENT);
    let of = |tenant: &str| Request { tenant: Some(tenant.into()), ..Request::default() };
    assert_eq!(world.compare(of("default")).await.total(), 1);
    assert_eq!(world.compare(of("other")).await.total(), 0);
}

#[tokio::test]
async fn a_time_that_is_over_says_where_it_goes_on_and_the_rest_is_found_there() {
    let world = World::with(5).await;
    world.lose_document(STATEMENT + 4);
    let (mut request, mut total, mut calls) = (Request::default(), 0, 0);
    loop {
        let report = world.reconciler().reconcile(&request, 0).await.unwrap();
        (total, calls) = (total + report.total(), calls + 1);
        if report.next.is_empty() {
            break;
        }
        assert!(!report.is_complete);
        request.left = report.next;
    }
    assert_eq!(total, 1);
    assert!(calls > 1, "one part is compared whatever the time");
}

#[tokio::test]
async fn a_range_that_makes_no_sense_is_refused() {
    let world = World::with(1).await;
    for request in [
        Request { topics: vec!["nlj.nowhere".to_owned()], ..Request::default() },
        Request { range: Range::EventIds(vec![Uuid::nil()]), ..Request::default() },
    ] {
        let refused = world.reconciler().reconcile(&request, NEVER_MS).await;
        assert!(matches!(refused, Err(AskError::Invalid(_))), "{refused:?}");
    }
}

/// Whatever is lost of documents and states: all of it is found, and nothing else; and all of it comes back.
#[test]
fn whatever_is_lost_is_found_and_comes_back() {
    const EVENTS: u128 = 12;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 30, failure_persistence: None, ..Config::default() });
    let losses = (
        prop::collection::btree_set(0..EVENTS, 0..6),
        prop::collection::btree_set(0..EVENTS, 0..6),
        prop::collection::btree_set(0..EVENTS, 0..6),
    );
    let ran = runner.run(&losses, |(statements, documents, states)| {
        runtime.block_on(async {
            let world = World::with(EVENTS).await;
            let mut expected = BTreeSet::new();
            for number in &statements {
                world.lose_document(STATEMENT + number);
                expected.insert((What::MissingDocument, STATEMENT + number));
            }
            for number in &documents {
                world.lose_document(BOOKING + number);
                expected.insert((What::MissingDocument, BOOKING + number));
            }
            for number in &states {
                world.lose_booking(BOOKING + number);
                // Without a key nobody can tell whether there should be a document.
                expected.remove(&(What::MissingDocument, BOOKING + number));
                expected.insert((What::MissingKey, BOOKING + number));
            }
            prop_assert_eq!(found(&world.look().await), expected.clone());
            let repaired = world.repair().await;
            prop_assert_eq!((repaired.repaired, repaired.total()), (expected.len() as u64, 0));
            prop_assert_eq!(world.look().await.total(), 0);
            prop_assert_eq!(world.statements.documents().len() as u128, 2 * EVENTS);
            Ok(())
        })
    });
    ran.unwrap();
}
