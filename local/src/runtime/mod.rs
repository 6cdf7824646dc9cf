//! Everything in one process: its stores, embedded or not, the functions of every family, and an event source mapping per topic.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Observers};
use lyceum_core::process::{Services, Subscriber};
use lyceum_core::subscription::{Effect, Subscription};
use lyceum_deployed::release::{Lives, Made, Release};
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_event_source_mapping::{EventSourceMapping, Invoke, MappingConfig};
use lyceum_functions::{Function, Ports};
use lyceum_lambda_event::event::{EventSource, SourceKind};
use lyceum_log::LogObserver;
use lyceum_server::access::Access;
use lyceum_server::alerts::webhook::{Tell, Webhook};
use lyceum_server::alerts::window::Window;
use lyceum_server::connect::Stores;
use lyceum_server::dead_letters::{self, DeadLetterIndex};
use lyceum_server::http;
use lyceum_server::live::Live;
use lyceum_server::questions::{FamilyStates, StatementAnalytics};
use lyceum_server::rebuild::Rebuilds;
use lyceum_server::reconcile::Reconciler;
use lyceum_server::replay::Runner;
use lyceum_server::usage::ThisProcess;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::documents::deployment;
use crate::functions::{InProcess, remote, time_limit};
use crate::ingest::{Pipeline, Tally};
use crate::routing::Router;

mod consumers;
mod history;
mod stores;
mod telling;
mod watch;
mod work;

pub use lyceum_server::connect::Purpose;

/// The threads on which events are processed; `None` where the system gives none, so that everything shares those that are there.
struct Processing(Option<tokio::runtime::Runtime>);

impl Processing {
    fn start(workers: Option<usize>) -> Self {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        threads.thread_name("processing").enable_all();
        if let Some(workers) = workers {
            threads.worker_threads(workers);
        }
        Self(threads.build().inspect_err(|error| tracing::warn!(%error, "events have no threads of their own")).ok())
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        // A runtime must not wait within another one; every task has ended by then, or is to be ended.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How often the history of outcomes is kept: so much of it a kill costs.
const HISTORY_INTERVAL: Duration = Duration::from_secs(30);
/// How often old records and keys are dropped.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(600);

/// One process's stores, functions and mappings.
pub struct Runtime {
    /// What an ingestion goes through: the log, the mappings, and how events end.
    pub pipeline: Pipeline,
    /// The stores.
    pub stores: Stores,
    config: Config,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
    window: Arc<Window>,
    process: Arc<ThisProcess>,
    /// The functions, by subscription: those of this process, and those that the mappings call.
    functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    invoked: BTreeMap<&'static str, Arc<dyn Invoke>>,
    rebuilds: Arc<Rebuilds>,
    replays: Arc<Runner>,
    embedded_dynamodb: Option<EmbeddedDynamoDb>,
    // Last, so that the folder is free only once every file in it is closed.
    folder: DataFolder,
}

impl Runtime {
    /// Opens the stores that the settings name, those that are embedded in a folder that is taken, and connects the
    /// functions.
    pub async fn open(folder: DataFolder, config: Config, purpose: Purpose) -> Result<Self> {
        let config = config.with_secrets().await?;
        remote::check_stores(&config.functions, &config.server.stores)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::new());
        config.spans.count_in(&metrics);
        let catalog = Arc::new(lyceum_catalog::catalog());
        let (stores, embedded_dynamodb) =
            stores::open(&config.server.stores, &folder, purpose, &catalog, &clock, &metrics).await?;
        let kept = Arc::new(history::FileHistory::new(folder.join(history::FILE)));
        let live = Live::new(clock.clone(), Access::new(config.server.tokens.clone()).tenants());
        let live = Arc::new(live.keeping(kept));
        // Before anybody can ask for it. Who only looks adds nothing to it.
        if purpose == Purpose::Process
            && let Err(error) = live.restore()
        {
            tracing::warn!(%error, "the history of outcomes cannot be read; charts begin with this process");
        }
        let tally = Arc::new(Tally::default());
        let window = Arc::new(Window::new(clock.clone()));
        let mut observers: Vec<Arc<dyn Observer>> = vec![metrics.clone(), live.clone(), tally.clone(), window.clone()];
        // A person at the terminal has the page and the summary; whoever sets a level reads the log.
        if config.server.log.level_is_given {
            observers.push(Arc::new(LogObserver));
        }
        let services = Services {
            event_log: stores.event_log.clone(),
            ledger: stores.ledger.clone(),
            statements: stores.statements.clone(),
            schemas: stores.schemas.clone(),
            clock: clock.clone(),
            observer: Arc::new(Observers(observers)),
        };
        let mut invoked_by_name = BTreeMap::new();
        let mut mappings = Vec::new();
        let mut elsewhere = remote::connect(&config.functions)?;
        let secrets = config.server.stores.secrets.as_ref();
        let generator = lyceum_connect::generator::connect(&config.server.generator, secrets)?;
        let ports = Ports { services, generator, audit: stores.audit.clone() };
        let is_made = |of: &&Function| of.subscription.effect != Effect::Audit || config.audits;
        let made: Vec<Function> = config.release.iter().filter(is_made).copied().collect();
        let group = config.server.group.clone();
        let release = Release {
            config: &config.server,
            stores: &stores,
            ports: &ports,
            catalog: &catalog,
            metrics: &metrics,
            functions: &config.release,
            made: &made,
            group: Arc::new(move |of: &Subscription, _: &str| group_of(&group, of.name)),
            // Nobody shares what is embedded: whoever processed before has ended.
            alone_since_ms: embedded_dynamodb.is_some().then(|| clock.now_ms()),
            lives: Lives::On,
        };
        let Made { functions, rebuilds, replays } = release.make();
        for subscription in made.iter().map(|of| of.subscription) {
            let Some(function) = functions.get(subscription.name).cloned() else { continue };
            let invoked: Arc<dyn Invoke> = match elsewhere.remove(subscription.name) {
                Some(remote) => remote,
                None => {
                    let function = config.spans.around(function);
                    Arc::new(InProcess { function, clock: clock.clone(), metrics: metrics.clone() })
                }
            };
            invoked_by_name.insert(subscription.name, invoked.clone());
            for topic in subscription.topics() {
                let mapping = mapping_config(&config, subscription, topic);
                mappings.push(Arc::new(EventSourceMapping::new(mapping, stores.event_log.clone(), invoked.clone())?));
            }
        }
        let pipeline = Pipeline {
            event_log: stores.event_log.clone(),
            mappings,
            router: Router::new(config.server.process.envelope.clone()),
            metrics,
            tally,
            shares_its_topics: config.server.stores.kafka.is_some() || !config.functions.is_empty(),
        };
        Ok(Self {
            pipeline,
            stores,
            config,
            catalog,
            clock,
            live,
            window,
            process: Arc::default(),
            functions,
            invoked: invoked_by_name,
            rebuilds,
            replays,
            embedded_dynamodb,
            folder,
        })
    }

    /// The folder of this process.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// What the page and the API are given.
    pub fn http_services(&self, access: Access) -> http::Services {
        let Stores { event_log, ledger, statements, audit, schemas, guards, .. } = self.stores.clone();
        let process = &self.config.server.process;
        let sources = dead_letters::Sources {
            event_log: event_log.clone(),
            ledger: ledger.clone(),
            statements: statements.clone(),
            functions: self.functions.clone(),
            keys: Arc::new(self.pipeline.router.clone()),
        };
        let dead_letters = Arc::new(DeadLetterIndex::new(sources, self.catalog.clone(), self.clock.clone()));
        let reconciler = Reconciler {
            event_log: event_log.clone(),
            statements: statements.clone(),
            functions: self.functions.clone(),
            letters: dead_letters.clone(),
            catalog: self.catalog.clone(),
            group: self.config.server.group.clone(),
            clock: self.clock.clone(),
        };
        http::Services {
            analytics: Arc::new(StatementAnalytics {
                statements: statements.clone(),
                learner_home_page: self.config.server.learner_home_page.clone(),
            }),
            event_log,
            ledger,
            statements,
            audit,
            schemas,
            guards,
            window: self.window.clone(),
            process: self.process.clone(),
            live: self.live.clone(),
            metrics: self.pipeline.metrics.clone(),
            consumers: Arc::new(consumers::Mappings(self.pipeline.mappings.clone())),
            dead_letters,
            reconciler: Arc::new(reconciler),
            state: Arc::new(FamilyStates { functions: self.functions.clone() }),
            keys: Arc::new(self.pipeline.router.clone()),
            replays: self.replays.clone(),
            work: Arc::new(work::Here { pipeline: self.pipeline.clone(), invoked: self.invoked.clone() }),
            rebuilds: self.rebuilds.clone(),
            clock: self.clock.clone(),
            asyncapi: Arc::new(lyceum_documents::asyncapi::document(&deployment(&self.config, &self.catalog))),
            catalog: self.catalog.clone(),
            access,
            default_tenant: process.envelope.default_tenant.to_string(),
            data: self.folder.path().display().to_string(),
        }
    }

    /// Runs every mapping and the housekeeping until `shutdown`. The mappings have threads of their own: however much there is
    /// to process, whoever asks something of this process is answered meanwhile.
    pub async fn run(self: &Arc<Self>, shutdown: impl Future<Output = ()>) {
        let processing = Processing::start(self.config.workers);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for mapping in &self.pipeline.mappings {
            tasks.spawn_on(mapping.clone().run(stop.clone().cancelled_owned()), &processing.handle());
        }
        let (replays, stopped) = (self.replays.clone(), stop.clone());
        tasks.spawn_on(async move { replays.keep_up(stopped).await }, &processing.handle());
        let (runtime, stopped) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(runtime.housekeeping()).await;
        });
        let (runtime, stopped) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(runtime.keep_history()).await;
        });
        let (rebuilds, stopped) = (self.rebuilds.clone(), stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(rebuilds.keep_up()).await;
        });
        if let Some(tell) = self.webhook() {
            let keys = Arc::new(self.pipeline.router.clone());
            let (log, group) = (self.pipeline.event_log.clone(), &self.config.server.group);
            match telling::mapping(log, group, self.clock.now_ms(), keys, tell.clone()) {
                Ok(telling) => drop(tasks.spawn(telling.run(stop.clone().cancelled_owned()))),
                Err(error) => tracing::error!(%error, "nobody is told of security alerts"),
            }
            if let Some(watch) = self.watch(tell) {
                let stopped = stop.clone();
                tasks.spawn(async move {
                    stopped.run_until_cancelled(watch).await;
                });
            }
        }
        shutdown.await;
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the runtime failed");
            }
        }
        self.save_history();
    }

    /// Who is told of alerts, where somebody is to be told.
    fn webhook(&self) -> Option<Arc<dyn Tell>> {
        let tell = Webhook::new(self.config.server.alerts.as_ref()?.webhook.clone());
        Some(Arc::new(tell.inspect_err(|error| tracing::error!(%error, "nobody is told of alerts")).ok()?))
    }

    /// Has told what is wrong.
    fn watch(&self, tell: Arc<dyn Tell>) -> Option<impl Future<Output = ()> + use<>> {
        let alerts = self.config.server.alerts.clone()?;
        let watch = watch::Watch {
            clock: self.clock.clone(),
            consumers: Arc::new(consumers::Mappings(self.pipeline.mappings.clone())),
            window: self.window.clone(),
            process: self.process.clone(),
            tell,
        };
        Some(async move { watch.run(alerts.limits).await })
    }

    async fn keep_history(&self) {
        loop {
            self.clock.sleep(HISTORY_INTERVAL).await;
            self.save_history();
        }
    }

    fn save_history(&self) {
        if let Err(error) = tokio::task::block_in_place(|| self.live.save()) {
            tracing::warn!(%error, "the history of outcomes could not be kept; it is tried again");
        }
    }

    async fn housekeeping(&self) {
        loop {
            self.drop_what_is_old().await;
            tokio::time::sleep(HOUSEKEEPING_INTERVAL).await;
        }
    }

    async fn drop_what_is_old(&self) {
        match self.stores.event_log.apply_retention(self.clock.now_ms()).await {
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

/// The consumer group of a function's mappings.
fn group_of(group: &str, function: &str) -> String {
    format!("{group}-{function}")
}

fn mapping_config(config: &Config, subscription: &Subscription, topic: &str) -> MappingConfig {
    let function = subscription.name;
    // Of several that read a topic, its owner's has the topic's name.
    let name = match subscription.family() {
        Some(_) => topic.to_owned(),
        None => format!("{function}/{topic}"),
    };
    let mut mapping = MappingConfig::new(name, topic, group_of(&config.server.group, function));
    mapping.function = function.to_owned();
    let bootstrap_servers = config.server.stores.kafka.as_ref().map(|kafka| kafka.bootstrap_servers.clone());
    mapping.source = EventSource {
        kind: SourceKind::SelfManaged,
        arn: None,
        bootstrap_servers: bootstrap_servers.unwrap_or_else(|| "embedded:9092".to_owned()),
    };
    mapping.batch_size = config.batch_size;
    mapping.batching_window = config.batching_window;
    mapping.report_batch_item_failures = true;
    mapping.bisect_batch_on_function_error = true;
    mapping.function_timeout = time_limit(subscription);
    mapping
}
