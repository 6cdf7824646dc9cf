//! Everything in one process: its stores, embedded or not, the functions of every family, and an event source mapping per topic.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use lyceum_core::adapters::embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_core::adapters::guarded::Guard;
use lyceum_core::adapters::system_clock::SystemClock;
use lyceum_core::clock::Clock;
use lyceum_core::envelope::{EnvelopeConfig, recognise};
use lyceum_core::family::{Catalog, PLATFORM_DEAD_LETTERS};
use lyceum_core::lambda::event::{EventSource, SourceKind};
use lyceum_core::lambda::handler::FamilyFunction;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Report};
use lyceum_core::ports::event_log::{EventLog, Retention, TopicSpec};
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::statements::Statements;
use lyceum_core::process::Services;
use lyceum_core::record::{Position, Record};
use lyceum_event_source_mapping::{EventSourceMapping, Invoke, InvokeError, MappingConfig};
use lyceum_functions::REGISTRY;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::dead_letters::DeadLetterIndex;
use crate::http::Access;
use crate::ingest::Tally;
use crate::live::Live;

mod answers;
mod remote;
mod stores;

pub use answers::Answers;
pub use remote::RemoteFunctions;
pub use stores::{Places, Purpose, Stores, StoresConfig};

/// Records are kept for 7 days, dead letters for 30 (event catalog).
const RECORDS_KEPT: Duration = Duration::from_secs(7 * 86_400);
const LETTERS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How often old records and keys are dropped.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(600);
/// A function's time limit, as on Lambda.
pub(crate) const FUNCTION_TIME: Duration = Duration::from_secs(60);

/// One process's stores, functions and mappings.
pub struct Runtime {
    /// Topics and consumer groups.
    pub event_log: Arc<dyn EventLog>,
    /// State and idempotency keys.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn Statements>,
    /// The last minutes.
    pub live: Arc<Live>,
    /// For Prometheus.
    pub metrics: Arc<Metrics>,
    /// What failed for good.
    pub dead_letters: Arc<DeadLetterIndex>,
    /// The functions, by family.
    pub functions: BTreeMap<&'static str, Arc<dyn FamilyFunction>>,
    /// One a topic.
    pub mappings: Vec<Arc<EventSourceMapping>>,
    /// Which event belongs where.
    pub router: Router,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The settings.
    pub config: Config,
    /// Before each store that is a service.
    pub guards: Vec<Arc<Guard>>,
    /// Where each store is.
    pub places: Places,
    /// Counts how the records of an ingestion end.
    pub(crate) tally: Arc<Tally>,
    invoked: BTreeMap<&'static str, Arc<dyn Invoke>>,
    embedded_dynamodb: Option<EmbeddedDynamoDb>,
    // Last, so that the folder is free only once every file in it is closed.
    folder: DataFolder,
}

impl Runtime {
    /// Opens the stores that the settings name, those that are embedded in a folder that is taken, and connects the
    /// functions.
    pub async fn open(folder: DataFolder, config: Config, purpose: Purpose) -> Result<Self> {
        remote::check_stores(&config.functions, &config.stores)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::new());
        let stores = Stores::open(&config.stores, &folder, purpose, &clock, &metrics).await?;
        let Stores { event_log, ledger, statements, guards, places, embedded_dynamodb } = stores;

        let live = Arc::new(Live::new(clock.clone(), Access::new(config.tokens.clone()).tenants()));
        let tally = Arc::new(Tally::default());
        let observer: Arc<dyn Observer> =
            Arc::new(Observers { live: live.clone(), metrics: metrics.clone(), tally: tally.clone() });
        let services = Services {
            event_log: event_log.clone(),
            ledger: ledger.clone(),
            statements: statements.clone(),
            clock: clock.clone(),
            observer,
        };
        let catalog = Arc::new(lyceum_functions::catalog());
        let mut functions = BTreeMap::new();
        let mut invoked_by_name = BTreeMap::new();
        let mut mappings = Vec::new();
        let mut elsewhere = remote::connect(&config.functions, REGISTRY.iter().map(|entry| entry.spec))?;
        for entry in REGISTRY {
            let function = (entry.build)(services.clone(), catalog.clone(), config.process.clone());
            functions.insert(entry.spec.name, function.clone());
            let invoked: Arc<dyn Invoke> = match elsewhere.remove(entry.spec.name) {
                Some(remote) => remote,
                None => Arc::new(InProcess { function, clock: clock.clone(), metrics: metrics.clone() }),
            };
            invoked_by_name.insert(entry.spec.name, invoked.clone());
            for topic in entry.spec.topics {
                let mapping = mapping_config(&config, entry.spec.name, topic.name);
                mappings.push(Arc::new(EventSourceMapping::new(mapping, event_log.clone(), invoked.clone())?));
            }
        }
        let dead_letters = Arc::new(DeadLetterIndex::new(
            event_log.clone(),
            ledger.clone(),
            functions.clone(),
            dead_letter_topics(),
            catalog.clone(),
            config.process.envelope.clone(),
            clock.clone(),
        ));
        Ok(Self {
            event_log,
            ledger,
            statements,
            live,
            metrics,
            dead_letters,
            functions,
            invoked: invoked_by_name,
            mappings,
            router: Router::default(),
            clock,
            config,
            guards,
            places,
            tally,
            embedded_dynamodb,
            folder,
        })
    }

    /// Whether other processes may settle records of the same topics: then not every outcome is seen here.
    pub fn shares_its_topics(&self) -> bool {
        self.config.stores.kafka.is_some() || !self.config.functions.is_empty()
    }

    /// The folder of this process.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Runs every mapping and the housekeeping until `shutdown`.
    pub async fn run(self: &Arc<Self>, shutdown: impl Future<Output = ()>) {
        let stop = tokio::sync::watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for mapping in &self.mappings {
            let mut stopped = stop.subscribe();
            tasks.spawn(mapping.clone().run(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            }));
        }
        let runtime = self.clone();
        let mut stopped = stop.subscribe();
        tasks.spawn(async move {
            let housekeeping = runtime.keep_house();
            tokio::select! { () = housekeeping => {}, _ = stopped.wait_for(|stop| *stop) => {} }
        });
        shutdown.await;
        stop.send_replace(true);
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the runtime failed");
            }
        }
    }

    async fn keep_house(&self) {
        loop {
            self.drop_what_is_old().await;
            tokio::time::sleep(HOUSEKEEPING_INTERVAL).await;
        }
    }

    async fn drop_what_is_old(&self) {
        match self.event_log.apply_retention(self.clock.now_ms()).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "records past their retention were dropped"),
            Err(error) => tracing::warn!(%error, "old records could not be dropped; it is tried again"),
        }
        // AWS's DynamoDB drops expired items by itself.
        if let Some(embedded) = &self.embedded_dynamodb
            && let Err(error) = tokio::task::block_in_place(|| embedded.sweep_expired())
        {
            tracing::warn!(%error, "expired keys could not be dropped; it is tried again");
        }
    }
}

/// Tells where an event belongs.
#[derive(Clone, Debug)]
pub struct Router {
    catalog: Arc<Catalog>,
    config: EnvelopeConfig,
}

impl Default for Router {
    fn default() -> Self {
        Self { catalog: Arc::new(lyceum_functions::catalog()), config: EnvelopeConfig::default() }
    }
}

impl Router {
    /// Where an event belongs and by which key it keeps its order; a value that is no valid event belongs nowhere.
    pub fn route(&self, value: &Bytes) -> Option<Route> {
        let record = unplaced(value);
        let (known, envelope) = recognise(&record, &self.catalog, &self.config)?;
        let entry = REGISTRY.iter().find(|entry| entry.spec.name == known.family.name)?;
        Some(Route { topic: known.topic, key: (entry.key)(&envelope), has_id: envelope.statement.id.is_some() })
    }
}

/// Where an event belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its topic.
    pub topic: &'static str,
    /// Its Kafka key.
    pub key: Option<String>,
    /// Whether the statement has an id of its own.
    pub has_id: bool,
}

/// A record that stands nowhere yet.
pub(crate) fn unplaced(value: &Bytes) -> Record {
    Record {
        position: Position::new("", 0, 0),
        timestamp_ms: 0,
        key: None,
        value: Some(value.clone()),
        headers: Vec::new(),
    }
}

/// Every topic of this release, dead letters included.
pub fn topics() -> Vec<TopicSpec> {
    let keep = |age| Retention { age: Some(age), bytes: None };
    let of_families = REGISTRY.iter().flat_map(|entry| entry.spec.topics);
    let mut topics: Vec<TopicSpec> = of_families
        .map(|of| TopicSpec { name: of.name.to_owned(), partitions: of.partitions, retention: keep(RECORDS_KEPT) })
        .collect();
    topics.extend(dead_letter_topics().into_iter().map(|name| TopicSpec {
        name,
        partitions: 1,
        retention: keep(LETTERS_KEPT),
    }));
    topics
}

/// Every dead-letter topic of this release.
pub fn dead_letter_topics() -> Vec<String> {
    let topics = PLATFORM_DEAD_LETTERS;
    [topics.validation, topics.processing, topics.database].map(str::to_owned).into()
}

fn mapping_config(config: &Config, family: &str, topic: &str) -> MappingConfig {
    let mut mapping = MappingConfig::new(topic, topic, format!("{}-{family}", config.group));
    mapping.function = family.to_owned();
    let bootstrap_servers = config.stores.kafka.as_ref().map(|kafka| kafka.bootstrap_servers.clone());
    mapping.source = EventSource {
        kind: SourceKind::SelfManaged,
        arn: None,
        bootstrap_servers: bootstrap_servers.unwrap_or_else(|| "embedded:9092".to_owned()),
    };
    mapping.batch_size = config.batch_size;
    mapping.batching_window = config.batching_window;
    mapping.report_batch_item_failures = true;
    mapping.bisect_batch_on_function_error = true;
    mapping.function_timeout = FUNCTION_TIME;
    mapping
}

/// A function in this process; it gets the JSON of the batch and nothing else, as on Lambda.
pub struct InProcess {
    /// The function.
    pub function: Arc<dyn FamilyFunction>,
    /// For its time limit.
    pub clock: Arc<dyn Clock>,
    /// For the duration of its batches.
    pub metrics: Arc<Metrics>,
}

#[async_trait::async_trait]
impl Invoke for InProcess {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let started = std::time::Instant::now();
        let deadline_ms = self.clock.now_ms() + FUNCTION_TIME.as_millis() as i64;
        let answer = self.function.handle(&payload, deadline_ms).await;
        self.metrics.observe_event_duration(self.function.spec().name, started.elapsed());
        let answer = answer.map_err(|error| InvokeError::function("HandlerError", error.to_string()))?;
        let answer =
            serde_json::to_vec(&answer).map_err(|error| InvokeError::function("Serialize", error.to_string()))?;
        Ok(answer.into())
    }
}

/// Everyone who is told how records ended.
struct Observers {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    tally: Arc<Tally>,
}

impl Observer for Observers {
    fn observe(&self, reports: &[Report]) {
        self.metrics.observe(reports);
        self.metrics.observe_batch_size(reports.len());
        self.live.observe(reports);
        self.tally.observe(reports);
    }

    fn retried(&self, family: &'static str) {
        self.metrics.count_retry(family);
    }
}
