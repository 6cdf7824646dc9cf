//! The stores of a process: each one embedded in the data folder, or a service that is there for others, too. Which of
//! the two is told by the settings, for each store by itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use lyceum_around::guarded::{Dependency, Guard, GuardLimits, Guarded};
use lyceum_around::measured::Measured;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::statements::Statements;
use lyceum_dynamodb::{DynamoDbLedger, DynamoDbSettings};
use lyceum_elasticsearch::{Elasticsearch, ElasticsearchSettings};
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_embedded::event_log::{EmbeddedEventLog, EventLogOptions};
use lyceum_embedded::statements::{EmbeddedStatements, StatementsOptions};
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_xapi::equality;

use crate::data_folder::DataFolder;

/// Which stores are services; each that is `None` is embedded.
#[derive(Clone, Debug, Default)]
pub struct StoresConfig {
    /// `KAFKA_BOOTSTRAP_SERVERS`, or `--kafka`
    pub kafka: Option<KafkaSettings>,
    /// `DYNAMODB_TABLE`, or `AWS_ENDPOINT_URL_DYNAMODB`
    pub dynamodb: Option<DynamoDbSettings>,
    /// `ELASTICSEARCH_URL`
    pub elasticsearch: Option<ElasticsearchSettings>,
    /// How much of the process's time and room each service may take.
    pub guards: GuardLimits,
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
pub struct Stores {
    /// Topics and consumer groups.
    pub event_log: Arc<dyn EventLog>,
    /// State and idempotency keys.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn Statements>,
    /// Before each store that is a service.
    pub guards: Vec<Arc<Guard>>,
    /// Where each store is, for people.
    pub places: Places,
    /// The embedded DynamoDB, which drops what has expired when it is told to.
    pub(super) embedded_dynamodb: Option<EmbeddedDynamoDb>,
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
}

impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Event log: {}; ledger: {}; statements: {}.", self.event_log, self.ledger, self.statements)
    }
}

impl Places {
    fn of(config: &StoresConfig, folder: &Path) -> Self {
        let embedded = || format!("embedded in {}", folder.display());
        Self {
            event_log: config
                .kafka
                .as_ref()
                .map_or_else(embedded, |kafka| format!("Kafka at {} ({})", kafka.bootstrap_servers, kafka.protocol())),
            ledger: config.dynamodb.as_ref().map_or_else(embedded, |dynamodb| {
                let at = dynamodb.endpoint.as_deref().map_or_else(|| "on AWS".to_owned(), |at| format!("at {at}"));
                format!("DynamoDB table {} {at}", dynamodb.table)
            }),
            statements: config
                .elasticsearch
                .as_ref()
                .map_or_else(embedded, |search| format!("index {} at {}", search.index, search.url)),
        }
    }
}

impl Stores {
    /// Opens the stores; the folder holds those that are embedded.
    pub async fn open(
        config: &StoresConfig,
        folder: &DataFolder,
        purpose: Purpose,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        let places = Places::of(config, folder.path());
        let mut guards = Vec::new();
        let mut guard = |dependency| {
            let guard = Arc::new(Guard::new(dependency, config.guards, metrics.clone()));
            guards.push(guard.clone());
            guard
        };
        let opening = |what: &str| format!("cannot open the {what} in {}", folder.path().display());

        let event_log: Arc<dyn EventLog> = match &config.kafka {
            None => {
                let log = EmbeddedEventLog::open(&folder.join("events.redb"), EventLogOptions::default());
                Arc::new(Measured::new(Arc::new(log.with_context(|| opening("event log"))?), metrics.clone()))
            }
            Some(settings) => {
                let log = KafkaEventLog::connect(&with_secret(settings).await?)?;
                let log = Arc::new(Guarded::new(Arc::new(log), guard(Dependency::Kafka)));
                Arc::new(Measured::new(log, metrics.clone()))
            }
        };
        let catalog = lyceum_catalog::catalog();
        let families = catalog.families();
        let (ledger, embedded_dynamodb): (Arc<dyn Ledger>, _) = match &config.dynamodb {
            None => {
                let embedded =
                    EmbeddedDynamoDb::open(&folder.join("ledger.sqlite")).with_context(|| opening("ledger"))?;
                let ledger = embedded.ledger(clock.clone()).await.with_context(|| opening("ledger"))?;
                let ledger = Arc::new(ledger.counting_in(metrics.clone(), families));
                (Arc::new(Measured::new(ledger, metrics.clone())), Some(embedded))
            }
            Some(settings) => {
                let ledger =
                    DynamoDbLedger::connect(settings, clock.clone()).await?.counting_in(metrics.clone(), families);
                if purpose == Purpose::Process {
                    ledger.ensure_table().await.with_context(|| {
                        format!(
                            "the ledger ({}) cannot be used; AWS_ENDPOINT_URL_DYNAMODB says where it is",
                            places.ledger
                        )
                    })?;
                }
                let guarded = Arc::new(Guarded::new(Arc::new(ledger), guard(Dependency::DynamoDb)));
                (Arc::new(Measured::new(guarded, metrics.clone())), None)
            }
        };
        let statements: Arc<dyn Statements> = match &config.elasticsearch {
            None => {
                let options = StatementsOptions::new(equality::same);
                let statements = EmbeddedStatements::open(&folder.join("statements"), options)
                    .with_context(|| opening("statement store"))?;
                Arc::new(Measured::new(Arc::new(statements), metrics.clone()))
            }
            Some(settings) => {
                let statements = Elasticsearch::connect(settings, equality::same)?;
                if purpose == Purpose::Process {
                    statements.prepare().await.with_context(|| {
                        format!(
                            "the statement store ({}) cannot be used; ELASTICSEARCH_URL says where it is",
                            places.statements
                        )
                    })?;
                }
                let guarded = Arc::new(Guarded::new(Arc::new(statements), guard(Dependency::Elasticsearch)));
                Arc::new(Measured::new(guarded, metrics.clone()))
            }
        };
        let stores = Self { event_log, ledger, statements, guards, places, embedded_dynamodb };
        stores.prepare_topics(config, purpose).await?;
        Ok(stores)
    }

    /// Makes the topics that are missing. Those of a Kafka that are there stay as they are: their partitions and their
    /// retention are the affair of whoever runs it.
    async fn prepare_topics(&self, config: &StoresConfig, purpose: Purpose) -> Result<()> {
        for topic in super::topics() {
            if config.kafka.is_some() {
                if purpose == Purpose::Look {
                    return Ok(());
                }
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

/// The settings with their credentials, which a secret may hold.
async fn with_secret(settings: &KafkaSettings) -> Result<KafkaSettings> {
    let Some(arn) = settings.secret_arn() else { return Ok(settings.clone()) };
    let client = aws_sdk_secretsmanager::Client::new(&lyceum_aws::load().await);
    let secret = client.get_secret_value().secret_id(arn).send().await;
    let secret = secret.with_context(|| format!("the secret {arn} (KAFKA_SASL_SECRET_ARN) cannot be read"))?;
    Ok(settings.clone().with_secret(secret.secret_string().unwrap_or_default())?)
}
