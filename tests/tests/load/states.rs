//! What every state must be: the families' own decisions in memory, in one go, where nothing is ever killed, delivered twice or
//! done at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lyceum_around::system_clock::SystemClock;
use lyceum_content_generator::Offline;
use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_core::process::{Delivery, ProcessConfig, Services, Subscriber};
use lyceum_core::record::{Header, NewRecord, Position, Record};
use lyceum_functions::Ports;
use lyceum_generate::Made;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_tests::workplace::Server;
use serde_json::Value;

use super::TENANT;

/// So many records are processed at once.
const BATCH: usize = 500;

/// A log that hands on what is published.
#[derive(Default)]
struct Followed(Mutex<VecDeque<(String, NewRecord)>>);

#[async_trait]
impl Publish for Followed {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let places = records.iter().map(|_| Position::new(topic, 0, 0)).collect();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(records.into_iter().map(|record| (topic.to_owned(), record)));
        Ok(places)
    }
}

/// Takes every document: what came before is known by its key here.
struct Taken;

#[async_trait]
impl StoreDocuments for Taken {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        Ok(documents.iter().map(|_| StoreOutcome::Created).collect())
    }
}

struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &[Report]) {}
}

/// The states of all families that keep some.
pub(super) struct States {
    functions: Vec<Arc<dyn Subscriber>>,
    ledger: Arc<MemoryLedger>,
    followed: Arc<Followed>,
    waiting: BTreeMap<String, Vec<Record>>,
    count: usize,
    offset: i64,
}

impl States {
    pub(super) fn new() -> Self {
        let (ledger, followed) = (Arc::new(MemoryLedger::new()), Arc::new(Followed::default()));
        let services = Services {
            event_log: followed.clone(),
            ledger: ledger.clone(),
            statements: Arc::new(Taken),
            schemas: None,
            clock: Arc::new(SystemClock),
            observer: Arc::new(Unobserved),
        };
        let ports = Ports { services, generator: Arc::new(Offline), audit: Arc::new(Taken) };
        let catalog = Arc::new(lyceum_catalog::catalog());
        let functions = lyceum_functions::functions().filter(|of| of.subscription.effect.has_keys());
        let functions = functions.map(|of| of.build(ports.clone(), catalog.clone(), ProcessConfig::default()));
        Self { functions: functions.collect(), ledger, followed, waiting: BTreeMap::new(), count: 0, offset: 0 }
    }

    fn wait(&mut self, topic: &str, record: NewRecord) {
        let NewRecord { key, value, headers, timestamp_ms, .. } = record;
        let timestamp_ms = timestamp_ms.unwrap_or_else(|| SystemClock.now_ms());
        self.offset += 1;
        let position = Position::new(topic, 0, self.offset);
        let record = Record { position, timestamp_ms, key, value, headers };
        self.waiting.entry(topic.to_owned()).or_default().push(record);
        self.count += 1;
    }

    pub(super) async fn add(&mut self, made: &Made) {
        let record = NewRecord {
            key: Some(made.key.clone().into()),
            value: made.value.clone().map(Into::into),
            headers: made.headers.iter().map(|(name, value)| Header::new(name, value.clone())).collect(),
            ..NewRecord::default()
        };
        self.wait(made.topic, record);
        if self.count >= BATCH {
            self.work().await;
        }
    }

    /// Processes what waits, and then what follows from it waits.
    async fn work(&mut self) {
        self.count = 0;
        for (topic, records) in std::mem::take(&mut self.waiting) {
            let batch: Vec<Delivery> = records.into_iter().map(Delivery::Record).collect();
            for function in &self.functions {
                if !function.subscription().topics().any(|of| of == topic) {
                    continue;
                }
                let invocation = function.invocation(SystemClock.now_ms() + 3_600_000);
                for report in function.process(&batch, &invocation).await {
                    if let Outcome::RetryLater { reason } = report.outcome {
                        panic!("{}: {reason}", report.position);
                    }
                }
            }
        }
        let followed = std::mem::take(&mut *self.followed.0.lock().unwrap_or_else(PoisonError::into_inner));
        followed.into_iter().for_each(|(topic, record)| self.wait(&topic, record));
    }

    /// That the process shows the same of each.
    pub(super) async fn compare(mut self, server: &Server) {
        while self.count > 0 {
            self.work().await;
        }
        let mut compared = BTreeMap::<&str, u64>::new();
        let aggregates = self.ledger.aggregates();
        // What comes late counts in a watch's open window, and which comes late the order of partitions says.
        for (id, _) in aggregates.iter().filter(|(id, _)| id.kind != "security_watch") {
            let Some(mut must) = self.show(&id.kind, &id.id).await else { continue };
            let mut is = super::learning::show(server, &id.kind, &id.id).await;
            for shown in [&mut must, &mut is] {
                forget_what_is_open(shown);
                forget_places(shown);
            }
            assert_eq!(is, must, "{} {}", id.kind, id.id);
            *compared.entry(&id.kind).or_default() += 1;
        }
        assert!(compared.len() >= 8, "states of {compared:?} alone");
        println!("states are what they are where nothing ever fails: {compared:?}");
    }

    async fn show(&self, kind: &str, id: &str) -> Option<Value> {
        let has_kind = |of: &&Arc<dyn Subscriber>| of.subscription().kinds().contains(&kind);
        let function = self.functions.iter().find(has_kind)?;
        function.show(TENANT, kind, id).await.expect("memory answers")
    }
}

/// Takes out what the last of two senders says, whose order nobody promises: a course's staging is told by whoever makes courses and by
/// the reaction to its distribution, and a distribution hears of both, be it deleted or not. And how many writes made a state: as many as
/// the batches were that it was in.
fn forget_what_is_open(shown: &mut Value) {
    let open: &[&str] = match shown["kind"].as_str() {
        Some("course") => &["url", "changed_at"],
        Some("distribution") => &["staging_url", "changed_at"],
        _ => &[],
    };
    if let Value::Object(shown) = shown {
        shown.remove("version");
        open.iter().for_each(|name| drop(shown.remove(*name)));
    }
}

/// Leaves the topic alone of where an event lay.
fn forget_places(shown: &mut Value) {
    match shown {
        Value::Object(members) => {
            if let Some(Value::String(source)) = members.get_mut("source")
                && let Some((partition, _)) = source.rmatch_indices('/').nth(1)
            {
                source.truncate(partition);
            }
            members.values_mut().for_each(forget_places);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_places),
        _ => {}
    }
}
