//! Everything that a function touches, in memory, on a clock that only sleeping moves.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::executor::block_on;
use lyceum_content_generator::Offline;
use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::clock::Clock;
use lyceum_core::dead_letter::{self, DeadLetter, Publication};
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::ports::event_log::{Administer, Follow, Publish, Retention, TopicSpec};
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::process::{ProcessConfig, Services, StatefulProcessor, Subscriber};
use lyceum_core::record::{Position, Record};
use lyceum_functions::{Ports, REGISTRY, functions};
use lyceum_lambda_event::event::{EventSource, write_event};
use lyceum_lambda_event::handler::handle;
use lyceum_lambda_event::response::{BatchResponse, ItemIdentifier};
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use serde_json::Value;

use crate::faults::Faulty;
use crate::probe::Probe;

/// When every world begins: 2026-03-02T08:15:00Z.
pub const BEGINNING_MS: i64 = 1_772_439_300_000;
/// What an invocation may take.
pub const INVOCATION: Duration = Duration::from_secs(60);

/// A clock whose time passes only while someone sleeps.
pub struct VirtualClock(AtomicI64);

impl VirtualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, SeqCst);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(SeqCst)
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }

    /// Asked only where work does not go on: the models answer at once.
    async fn timeout(&self, duration: Duration) {
        let end_ms = self.now_ms() + duration.as_millis() as i64;
        self.0.fetch_max(end_ms, SeqCst);
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}

#[derive(Default)]
struct Reports(Mutex<Vec<Report>>);

impl Observer for Reports {
    fn observe(&self, reports: &[Report]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(reports);
    }
}

/// A deployment in memory.
pub struct World {
    /// Holds the dead letters and follow-ups.
    pub event_log: Faulty<MemoryEventLog>,
    /// State and keys.
    pub ledger: Faulty<MemoryLedger>,
    /// Accepted statements.
    pub statements: Faulty<MemoryStatements>,
    /// Entries of the audit log.
    pub audit: Faulty<MemoryStatements>,
    /// Its time.
    pub clock: Arc<VirtualClock>,
    /// Which event type belongs where; the registry's families and [`Probe`].
    pub catalog: Arc<Catalog>,
    reports: Arc<Reports>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty one, with the topics of every family.
    pub fn new() -> Self {
        let clock = Arc::new(VirtualClock(AtomicI64::new(BEGINNING_MS)));
        let mut families: Vec<&'static FamilySpec> = REGISTRY.iter().map(|entry| entry.spec).collect();
        families.push(Probe::FAMILY);
        let event_log = Faulty::new(MemoryEventLog::with_clock(clock.clone()));
        for (name, partitions) in families.iter().flat_map(|family| topics_of(family)).collect::<BTreeSet<_>>() {
            let spec = TopicSpec { name: name.into(), partitions, retention: Retention::default() };
            block_on(event_log.model.create_topic(spec)).expect("a topic of the catalog can be created");
        }
        Self {
            event_log,
            ledger: Faulty::new(MemoryLedger::default()),
            statements: Faulty::new(MemoryStatements::new(equality::same)),
            audit: Faulty::new(MemoryStatements::new(equality::same)),
            clock,
            catalog: Arc::new(Catalog::new(families)),
            reports: Arc::default(),
        }
    }

    /// A function, by its subscription.
    pub fn function(&self, family: &str) -> Arc<dyn Subscriber> {
        self.function_on(family, self.ledger.port())
    }

    /// This world's ports, for whoever makes a function of its own.
    pub fn services(&self) -> Services {
        Services {
            event_log: self.event_log.port(),
            ledger: self.ledger.port(),
            statements: self.statements.port(),
            schemas: None,
            clock: self.clock.clone(),
            observer: self.reports.clone(),
        }
    }

    /// The function of a family, with another ledger.
    pub fn function_on(&self, family: &str, ledger: Arc<dyn Ledger>) -> Arc<dyn Subscriber> {
        self.function_with(family, |services| Services { ledger, ..services })
    }

    /// The function of a family, on ports that are made of this world's.
    pub fn function_with(&self, family: &str, change: impl FnOnce(Services) -> Services) -> Arc<dyn Subscriber> {
        let services = change(self.services());
        let (catalog, config) = (self.catalog.clone(), ProcessConfig::default());
        match functions().find(|of| of.subscription.name == family) {
            Some(function) => function.build(
                Ports { services, generator: Arc::new(Offline), audit: self.audit.port() },
                catalog,
                config,
            ),
            None if family == Probe::FAMILY.name => {
                Arc::new(StatefulProcessor::<Probe>::new(services, catalog, config))
            }
            None => panic!("no function is called {family:?}"),
        }
    }

    /// Invokes a family's function with a payload; the answer and a report a record.
    pub fn invoke(&self, family: &str, payload: &[u8]) -> (BatchResponse, Vec<Report>) {
        self.invoke_function(&self.function(family), payload)
    }

    /// The same, of a function with other ports.
    pub fn invoke_function(&self, function: &Arc<dyn Subscriber>, payload: &[u8]) -> (BatchResponse, Vec<Report>) {
        let deadline_ms = self.clock.now_ms() + INVOCATION.as_millis() as i64;
        let answer = block_on(handle(&**function, payload, deadline_ms)).expect("the batch is one of Kafka's");
        (answer, std::mem::take(&mut *self.reports.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Delivers records of one family's topics, as Lambda does. The answer names the records whose reports say that they are redelivered.
    pub fn deliver(&self, records: &[Record]) -> Vec<Report> {
        let topic = &records.first().expect("at least one record").position.topic;
        let family = self.catalog.family_of_topic(topic).unwrap_or_else(|| panic!("no family consumes {topic}")).name;
        self.deliver_to(&self.function(family), records)
    }

    /// Delivers records to a function.
    pub fn deliver_to(&self, function: &Arc<dyn Subscriber>, records: &[Record]) -> Vec<Report> {
        let mut payload = Vec::new();
        write_event(&EventSource::default(), records.iter(), &mut payload);
        let (answer, reports) = self.invoke_function(function, &payload);
        assert_eq!(answer, BatchResponse::failing(failures(&reports)));
        reports
    }

    /// Delivers one record.
    pub fn deliver_one(&self, record: &Record) -> Report {
        self.deliver(std::slice::from_ref(record)).remove(0)
    }

    /// Publishes, and reads back what then stands in the log.
    pub fn publish(&self, Publication { topic, record }: Publication) -> Record {
        let position =
            block_on(self.event_log.model.produce(&topic, vec![record])).expect("the log takes it").remove(0);
        self.records(&topic).into_iter().find(|record| record.position == position).expect("it is there")
    }

    /// Every record of a topic, by partition and offset.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let log = &self.event_log.model;
        let partitions = 0..block_on(log.offsets(topic)).expect("the topic exists").len() as i32;
        let fetch = |partition| block_on(log.fetch(topic, partition, 0, usize::MAX, usize::MAX)).expect("it is there");
        partitions.flat_map(fetch).collect()
    }

    /// Every dead letter of every family; fails where one cannot be read again.
    pub fn letters(&self) -> Vec<DeadLetter> {
        let topics: BTreeSet<_> = self.catalog.families().iter().flat_map(|family| letter_topics(family)).collect();
        let records = topics.into_iter().flat_map(|topic| self.records(topic));
        records.map(|record| dead_letter::read(&record).unwrap_or_else(|| panic!("unreadable: {record:?}"))).collect()
    }

    /// What a person is shown of an aggregate.
    pub fn show(&self, family: &str, tenant: &str, kind: &str, id: &str) -> Option<Value> {
        block_on(self.function(family).show(tenant, kind, id)).expect("the ledger answers")
    }
}

/// The records that are redelivered.
pub fn failures(reports: &[Report]) -> Vec<ItemIdentifier> {
    let again = reports.iter().filter(|report| !report.outcome.is_settled());
    let identifier = |Position { topic, partition, offset }: &Position| ItemIdentifier {
        partition: format!("{topic}-{partition}"),
        offset: *offset,
    };
    again.map(|report| identifier(&report.position)).collect()
}

/// The outcomes' names, with the kind of a dead letter: `applied`, `dead_lettered rejected` …
pub fn outcomes(reports: &[Report]) -> Vec<String> {
    let name = |report: &Report| match &report.outcome {
        Outcome::DeadLettered { kind } => format!("dead_lettered {}", kind.name()),
        outcome => outcome.name().to_owned(),
    };
    reports.iter().map(name).collect()
}

fn letter_topics(family: &FamilySpec) -> [&'static str; 3] {
    let letters = &family.dead_letters;
    [letters.validation, letters.processing, letters.database]
}

fn topics_of(family: &'static FamilySpec) -> impl Iterator<Item = (&'static str, i32)> {
    let own = family.topics.iter().map(|topic| (topic.name, topic.partitions));
    own.chain(letter_topics(family).into_iter().map(|topic| (topic, 1)))
}
