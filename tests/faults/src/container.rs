//! The container's way of taking batches, within a worker: its readers and its source, on topics and groups of the row's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use lyceum_core::catalog::Catalog;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::Report;
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::ports::ledger::{KeyStatus, LedgerError};
use lyceum_core::process::{Delivery, Held, Invocation, ProcessConfig, Services, Subscriber};
use lyceum_core::record::{Position, Record};
use lyceum_core::retry::Backoff;
use lyceum_core::subscription::Subscription;
use lyceum_dedicated::lanes::{Limits, TopicPartition};
use lyceum_dedicated::reader::Reader;
use lyceum_dedicated::source::kafka::{Joining, KafkaSource};
use lyceum_dedicated::source::{Brought, Source};
use lyceum_dedicated::status::Board;
use lyceum_functions::REGISTRY;
use lyceum_kafka::KafkaSettings;
use lyceum_secrets::Secrets;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::steps::{Death, Step};
use crate::worker::{Order, tell};

/// Reads as the container does, until the process ends.
pub(crate) async fn read(
    order: &Order,
    services: &Services,
    catalog: &Arc<Catalog>,
    death: &Arc<Death>,
    secrets: Option<&Arc<Secrets>>,
) -> Result<()> {
    let settings = order.addresses.kafka(secrets)?;
    let limits = Limits {
        lanes: 4,
        records: order.batch_size,
        bytes: 4 << 20,
        delay: Duration::from_millis(50),
        in_hand_bytes: 4 << 20,
        backoff: Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(2) },
    };
    let places = Arc::new(Semaphore::new(6));
    let mut running = JoinSet::new();
    for entry in REGISTRY.iter().filter(|entry| order.families.iter().any(|name| name == entry.spec.name)) {
        let function = (entry.build)(services.clone(), catalog.clone(), ProcessConfig::default());
        let reader = Reader {
            subscriber: Arc::new(Told { function, death: death.clone() }),
            source: Box::new(Unprefixed::join(order, &settings, entry.subscription, &limits)?),
            limits,
            time_limit: Duration::from_millis(order.function_timeout_ms),
            clock: services.clock.clone(),
            metrics: Arc::new(Metrics::new()),
            places: places.clone(),
            board: Arc::<Board>::default(),
            processing: Handle::current(),
        };
        running.spawn(reader.run(CancellationToken::new()));
    }
    while let Some(ended) = running.join_next().await {
        ended?.context("a batch was lost")?;
    }
    Ok(())
}

/// A function that tells what it is handed, as that of a mapping does.
struct Told {
    function: Arc<dyn Subscriber>,
    death: Arc<Death>,
}

#[async_trait]
impl Subscriber for Told {
    fn subscription(&self) -> &'static Subscription {
        self.function.subscription()
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        self.function.invocation(deadline_ms)
    }

    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        tell(format_args!("delivered {}", batch.len()));
        let (began, has) = (Instant::now(), invocation.remaining());
        let reports = self.function.process(batch, invocation).await;
        if began.elapsed() > has + has / 2 {
            tell(format_args!("overran {}", began.elapsed().as_millis()));
        }
        self.death.reach(Step::BeforeAnswer);
        reports
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        self.function.show(tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.function.ended(records).await
    }

    async fn held(&self, records: &[Record], invocation: &Invocation) -> Result<Vec<Held>, LedgerError> {
        self.function.held(records, invocation).await
    }

    async fn made(&self, records: &[Record], invocation: &Invocation) -> Vec<Held> {
        self.function.made(records, invocation).await
    }
}

/// The process's own source; topics and groups bear the row's prefix there and none here.
struct Unprefixed {
    prefix: String,
    inner: KafkaSource,
}

impl Unprefixed {
    fn join(order: &Order, settings: &KafkaSettings, of: &Subscription, limits: &Limits) -> Result<Self> {
        let prefix = order.addresses.prefix.clone();
        let group = format!("{prefix}{}-{}", order.group, of.name);
        let topics: Vec<String> = of.topics().map(|topic| format!("{prefix}{topic}")).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let assignor = lyceum_consumer::Assignor::Cooperative;
        let inner = KafkaSource::join(&Joining { settings, group: &group, topics: &topics, limits, assignor })?;
        Ok(Self { prefix, inner })
    }

    fn own(&self, topic: &str) -> Arc<str> {
        topic.strip_prefix(&self.prefix).unwrap_or(topic).into()
    }

    fn own_all(&self, partitions: BTreeSet<TopicPartition>) -> BTreeSet<TopicPartition> {
        partitions.into_iter().map(|of| TopicPartition::new(self.own(&of.topic), of.partition)).collect()
    }

    fn outer(&self, of: &TopicPartition) -> TopicPartition {
        TopicPartition::new(format!("{}{}", self.prefix, of.topic), of.partition)
    }
}

#[async_trait]
impl Source for Unprefixed {
    async fn next(&mut self) -> Result<Brought, EventLogError> {
        Ok(match self.inner.next().await? {
            Brought::Records(records) => {
                let own = |record: Record| {
                    let Position { topic, partition, offset } = record.position;
                    Record { position: Position { topic: self.own(&topic), partition, offset }, ..record }
                };
                Brought::Records(records.into_iter().map(own).collect())
            }
            Brought::Assigned(partitions) => {
                let own = |(of, start): (TopicPartition, Option<i64>)| {
                    (TopicPartition::new(self.own(&of.topic), of.partition), start)
                };
                Brought::Assigned(partitions.into_iter().map(own).collect())
            }
            Brought::Revoked(partitions) => Brought::Revoked(self.own_all(partitions)),
            Brought::Lost(partitions) => Brought::Lost(self.own_all(partitions)),
        })
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let outer: Vec<_> = partitions.iter().map(|of| self.outer(of)).collect();
        self.inner.pause(&outer);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        let outer: Vec<_> = partitions.iter().map(|of| self.outer(of)).collect();
        self.inner.resume(&outer);
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), EventLogError> {
        let outer: Vec<_> = offsets.iter().map(|(of, offset)| (self.outer(of), *offset)).collect();
        self.inner.commit(&outer).await
    }

    fn release(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let outer = partitions.iter().map(|of| self.outer(of)).collect();
        self.inner.release(&outer);
    }

    fn position(&self, of: &TopicPartition) -> Option<i64> {
        self.inner.position(&self.outer(of))
    }

    async fn leave(&mut self) {
        self.inner.leave().await;
    }
}
