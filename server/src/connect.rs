//! The stores of a process that are services, each with its guard and measured, and where the stores are.
//!
//! Which of them is a service is said by the settings, for each store by itself; what is none is opened by whoever runs the
//! process.

use std::sync::Arc;

use anyhow::{Context, Result};
use lyceum_around::around::Source;
use lyceum_around::guarded::{Guard, GuardLimits};
use lyceum_connect::{Index, Wiring};
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::schemas::FindSchema;
use lyceum_core::ports::statements::{IndexedStatements, Statements};
use lyceum_dynamodb::{DynamoDbLedger, DynamoDbSettings};
use lyceum_elasticsearch::ElasticsearchSettings;
use lyceum_kafka::KafkaSettings;
use lyceum_registry::RegistrySettings;
use lyceum_secrets::Secrets;

use crate::topics::topics;

/// Which stores are services; each that is `None` is none.
#[derive(Clone, Debug, Default)]
pub struct StoresConfig {
    /// `KAFKA_BOOTSTRAP_SERVERS`, or `--kafka`
    pub kafka: Option<KafkaSettings>,
    /// `DYNAMODB_TABLE`, or `AWS_ENDPOINT_URL_DYNAMODB`
    pub dynamodb: Option<DynamoDbSettings>,
    /// `ELASTICSEARCH_URL`
    pub elasticsearch: Option<ElasticsearchSettings>,
    /// `SCHEMA_REGISTRY_URL`: where senders register their schemas.
    pub registry: Option<RegistrySettings>,
    /// How much of the process's time and room each service may take.
    pub guards: GuardLimits,
    /// Where the secrets among these come from, so that they are read again; `None` where there is none.
    pub secrets: Option<Arc<Secrets>>,
}

/// What a process does with its stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It processes events: topics, table and index that are missing are made.
    Process,
    /// It looks: what is missing in a service stays missing.
    Look,
}

/// Opened stores.
#[derive(Clone)]
pub struct Stores {
    /// Topics and consumer groups.
    pub event_log: Arc<dyn EventLog>,
    /// State and idempotency keys.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn IndexedStatements>,
    /// Entries of the audit log.
    pub audit: Arc<dyn Statements>,
    /// The schemas that senders registered, where a registry is named.
    pub schemas: Option<Arc<dyn FindSchema>>,
    /// Before each store that is a service.
    pub guards: Vec<Arc<Guard>>,
    /// Where each store is, for people.
    pub places: Places,
}

/// Where each store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of the event log.
    pub event_log: String,
    /// Of the ledger.
    pub ledger: String,
    /// Of the statement store.
    pub statements: String,
    /// Of the registry of schemas, where one is named.
    pub schemas: Option<String>,
}

impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { event_log, ledger, statements, schemas } = self;
        write!(f, "Event log: {event_log}; ledger: {ledger}; statements: {statements}")?;
        match schemas {
            Some(schemas) => write!(f, "; schemas: {schemas}."),
            None => f.write_str("."),
        }
    }
}

impl Places {
    /// Where the services are; `elsewhere` is where each store is that is none.
    pub fn of(config: &StoresConfig, elsewhere: &str) -> Self {
        let elsewhere = || elsewhere.to_owned();
        Self {
            event_log: config
                .kafka
                .as_ref()
                .map_or_else(elsewhere, |kafka| format!("Kafka at {} ({})", kafka.bootstrap_servers, kafka.protocol())),
            ledger: config.dynamodb.as_ref().map_or_else(elsewhere, |dynamodb| {
                let at = dynamodb.endpoint.as_deref().map_or_else(|| "on AWS".to_owned(), |at| format!("at {at}"));
                format!("DynamoDB table {} {at}", dynamodb.table)
            }),
            statements: config
                .elasticsearch
                .as_ref()
                .map_or_else(elsewhere, |search| format!("index {} at {}", search.index, search.url)),
            schemas: config.registry.as_ref().map(|registry| format!("registry {}", registry.shown())),
        }
    }
}

/// Connects the stores that are services; each method gives `None` where the settings name none.
pub struct Connecting<'a> {
    config: &'a StoresConfig,
    purpose: Purpose,
    places: Places,
    metrics: Arc<Metrics>,
    wiring: Wiring,
}

impl<'a> Connecting<'a> {
    /// Nothing is connected yet.
    pub fn new(config: &'a StoresConfig, purpose: Purpose, places: Places, metrics: &Arc<Metrics>) -> Self {
        let wiring = Wiring::new(config.guards, metrics);
        Self { config, purpose, places, metrics: metrics.clone(), wiring }
    }

    /// The event log.
    pub async fn event_log(&mut self) -> Result<Option<Arc<dyn EventLog>>> {
        let Some(settings) = &self.config.kafka else { return Ok(None) };
        let log = lyceum_connect::kafka(settings, self.config.secrets.as_ref());
        log.adapter().await?;
        Ok(Some(self.wiring.event_log(log)))
    }

    /// The ledger.
    pub async fn ledger(&mut self, clock: &Arc<dyn Clock>, catalog: &Catalog) -> Result<Option<Arc<dyn Ledger>>> {
        let Some(settings) = &self.config.dynamodb else { return Ok(None) };
        let ledger = DynamoDbLedger::connect(settings, clock.clone()).await?;
        let ledger = ledger.counting_in(self.metrics.clone(), catalog.families());
        if self.purpose == Purpose::Process {
            ledger.ensure_table().await.with_context(|| {
                let place = &self.places.ledger;
                format!("the ledger ({place}) cannot be used; AWS_ENDPOINT_URL_DYNAMODB says where it is")
            })?;
        }
        Ok(Some(self.wiring.ledger(Arc::new(ledger))))
    }

    /// The statements.
    pub async fn statements(&mut self) -> Result<Option<Arc<dyn IndexedStatements>>> {
        self.documents(Index::Statements).await
    }

    /// The entries of the audit log.
    pub async fn audit(&mut self) -> Result<Option<Arc<dyn IndexedStatements>>> {
        self.documents(Index::Audit).await
    }

    async fn documents(&mut self, index: Index) -> Result<Option<Arc<dyn IndexedStatements>>> {
        let Some(settings) = &self.config.elasticsearch else { return Ok(None) };
        let prepares = self.purpose == Purpose::Process;
        let statements = lyceum_connect::elasticsearch(settings, self.config.secrets.as_ref(), prepares, index);
        statements.adapter().await.with_context(|| {
            let place = &self.places.statements;
            format!("the statement store ({place}) cannot be used; ELASTICSEARCH_URL says where it is")
        })?;
        Ok(Some(self.wiring.statements(statements)))
    }

    /// The stores, once all are there. Topics that are missing are made; those of a Kafka that are there stay as they are:
    /// their partitions and their retention are the affair of whoever runs it.
    pub async fn finish(
        self,
        event_log: Arc<dyn EventLog>,
        ledger: Arc<dyn Ledger>,
        statements: Arc<dyn IndexedStatements>,
        audit: Arc<dyn Statements>,
        catalog: &Catalog,
    ) -> Result<Stores> {
        let Self { config, purpose, places, mut wiring, .. } = self;
        // Not asked yet: what is read by the schemas that are built in needs no registry.
        let registry = config.registry.as_ref();
        let schemas = registry.map(|named| wiring.schemas(lyceum_connect::registry(named, config.secrets.as_ref())));
        let stores = Stores { event_log, ledger, statements, audit, schemas, guards: wiring.into_guards(), places };
        let is_shared = config.kafka.is_some();
        if !(is_shared && purpose == Purpose::Look) {
            stores.prepare_topics(is_shared, catalog).await?;
        }
        Ok(stores)
    }
}

impl Stores {
    async fn prepare_topics(&self, is_shared: bool, catalog: &Catalog) -> Result<()> {
        for topic in topics(catalog) {
            if is_shared {
                match self.event_log.offsets(&topic.name).await {
                    Ok(_) => continue,
                    Err(EventLogError::UnknownTopic(_)) => {}
                    Err(error) => {
                        let place = &self.places.event_log;
                        return Err(error).with_context(|| {
                            format!("the event log ({place}) cannot be used; KAFKA_BOOTSTRAP_SERVERS or --kafka says where it is")
                        });
                    }
                }
            }
            let name = topic.name.clone();
            self.event_log.create_topic(topic).await.with_context(|| format!("topic {name} cannot be made"))?;
        }
        Ok(())
    }
}
