//! The process: its stores, the functions of its subscriptions, a reader for each, and the HTTP API.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use lyceum_around::system_clock::SystemClock;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Observers};
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::ports::generator::ContentGenerator;
use lyceum_core::process::{Services, Subscriber};
use lyceum_core::subscription::Subscription;
use lyceum_deployed::Given;
use lyceum_deployed::keys::KeysByLook;
use lyceum_deployed::release::{Lives, Made, Release};
use lyceum_deployed::work::{Endings, Here, time_limit};
use lyceum_functions::Ports;
use lyceum_log::LogObserver;
use lyceum_server::access::Access;
use lyceum_server::alerts::window::Window;
use lyceum_server::connect::{Connecting, Places, Purpose, Stores};
use lyceum_server::http;
use lyceum_server::live::Live;
use lyceum_server::rebuild::Rebuilds;
use lyceum_server::replay::Runner;
use lyceum_server::topics::topics;
use lyceum_server::usage::ThisProcess;
use lyceum_spans::Spans;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Membership};
use crate::reader::Reader;
use crate::source::Source;
use crate::source::kafka::{Joining, KafkaSource};
use crate::status::{Board, Shown, Status};
use crate::telling::Telling;

/// Everything that keeps the process from starting.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the process cannot start:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Collects what is wrong, so that all of it is told at once.
#[derive(Default)]
struct Checks(Vec<String>);

impl Checks {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.inspect_err(|error| self.0.push(format!("{error:#}"))).ok()
    }

    /// What a store gave; `None` cannot be, since the settings name every one.
    fn store<T>(&mut self, name: &str, result: Result<Option<T>>) -> Option<T> {
        let named = result.and_then(|store| store.with_context(|| format!("the settings name no {name}")));
        self.note(named)
    }
}

/// One process, connected and not running yet.
pub struct Process {
    config: Config,
    stores: Stores,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    live: Arc<Live>,
    window: Arc<Window>,
    endings: Arc<Endings>,
    keys: Arc<KeysByLook>,
    usage: Arc<ThisProcess>,
    /// Of every subscription of the release, since any of them may be asked for its state.
    functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    rebuilds: Arc<Rebuilds>,
    status: Arc<Status>,
    memberships: Vec<(Membership, Arc<Board>)>,
    replays: Arc<Runner>,
    spans: Spans,
}

impl Process {
    /// Connects the stores, makes topics, table and index that are missing, and makes the functions.
    ///
    /// # Errors
    /// [`Problems`]: all that keeps it from starting, `problems` that were found before among them.
    pub async fn open(config: Config, spans: Spans, problems: Vec<String>) -> Result<Self, Problems> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let told = config.metrics_namespace.is_some();
        let metrics = Arc::new(if told { Metrics::with_samples() } else { Metrics::new() });
        spans.count_in(&metrics);
        let catalog = Arc::new(lyceum_catalog::catalog());
        let mut checks = Checks(problems);
        let stores = connect(&config, &catalog, &clock, &metrics, &mut checks).await;
        let secrets = config.server.stores.secrets.as_ref();
        let generator = checks.note(lyceum_connect::generator::connect(&config.server.generator, secrets));
        let (Some(stores), Some(generator), true) = (stores, generator, checks.0.is_empty()) else {
            return Err(Problems(checks.0));
        };
        Ok(Self::of(config, stores, generator, catalog, clock, metrics, spans))
    }

    /// Of stores that are connected.
    fn of(
        config: Config,
        stores: Stores,
        generator: Arc<ContentGenerator>,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        spans: Spans,
    ) -> Self {
        let live = Arc::new(Live::new(clock.clone(), Access::new(config.server.tokens.clone()).tenants()));
        let window = Arc::new(Window::new(clock.clone()));
        let endings = Arc::<Endings>::default();
        let observers: Vec<Arc<dyn Observer>> =
            vec![metrics.clone(), live.clone(), window.clone(), endings.clone(), Arc::new(LogObserver)];
        let services = Services {
            event_log: stores.event_log.clone(),
            ledger: stores.ledger.clone(),
            statements: stores.statements.clone(),
            schemas: stores.schemas.clone(),
            clock: clock.clone(),
            observer: Arc::new(Observers(observers)),
        };
        let ports = Ports { services, generator, audit: stores.audit.clone() };
        let groups: BTreeMap<(&'static str, &'static str), String> = config
            .memberships()
            .into_iter()
            .flat_map(|of| of.topics.into_iter().map(move |topic| ((of.subscription.name, topic), of.group.clone())))
            .collect();
        // Of what this process does not read itself nobody knows here how far others have come; then all is read again.
        let group = move |of: &Subscription, topic: &str| {
            let known = groups.iter().find(|((name, of_topic), _)| *name == of.name && *of_topic == topic);
            known.map_or_else(|| of.name.to_owned(), |(_, group)| group.clone())
        };
        let all: Vec<_> = lyceum_functions::functions().collect();
        let release = Release {
            config: &config.server,
            stores: &stores,
            ports: &ports,
            catalog: &catalog,
            metrics: &metrics,
            functions: &all,
            made: &all,
            group: Arc::new(group),
            alone_since_ms: None,
            lives: Lives::On,
        };
        let Made { functions, rebuilds, replays } = release.make();
        let memberships: Vec<(Membership, Arc<Board>)> =
            config.memberships().into_iter().map(|of| (of, Arc::default())).collect();
        let shown = memberships.iter().map(|(of, board)| Shown {
            function: of.subscription.name,
            is_owner: of.subscription.family().is_some(),
            group: of.group.clone(),
            topics: of.topics.iter().map(|topic| Arc::from(*topic)).collect(),
            board: board.clone(),
        });
        let status = Arc::new(Status::new(shown.collect(), clock.clone()));
        let keys = Arc::new(KeysByLook::new(config.server.process.envelope.clone()));
        Self {
            config,
            stores,
            catalog,
            clock,
            metrics,
            live,
            window,
            endings,
            keys,
            usage: Arc::default(),
            functions,
            rebuilds,
            status,
            memberships,
            replays,
            spans,
        }
    }

    /// Where the stores are, for people.
    pub fn places(&self) -> &Places {
        &self.stores.places
    }

    /// What the page and the API are given.
    pub fn http_services(&self, access: Access) -> http::Services {
        let mut groups: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (Membership { group, topics, .. }, _) in &self.memberships {
            for topic in topics {
                groups.entry(topic).or_default().push(group.clone());
            }
        }
        let work = Here {
            functions: self.functions.clone(),
            groups,
            event_log: self.stores.event_log.clone(),
            endings: self.endings.clone(),
            clock: self.clock.clone(),
        };
        let given = Given {
            stores: self.stores.clone(),
            catalog: self.catalog.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            live: self.live.clone(),
            window: self.window.clone(),
            usage: self.usage.clone(),
            functions: self.functions.clone(),
            keys: self.keys.clone(),
            consumers: self.status.clone(),
            work: Arc::new(work),
            rebuilds: self.rebuilds.clone(),
            replays: self.replays.clone(),
            access,
            at: format!("127.0.0.1:{}", self.config.port),
        };
        given.services(&self.config.server)
    }

    /// Joins the groups and reads until `stop`; then drains.
    ///
    /// # Errors
    /// Where a group cannot be joined, or a reader was lost: another process goes on from what is committed.
    pub async fn run(&self, stop: CancellationToken) -> Result<()> {
        let processing = Processing::start(self.config.workers)?;
        let places = Arc::new(Semaphore::new(self.config.batches_in_flight));
        // Whichever ends first, whatever its reason, has the others drain, too.
        let stop = stop.child_token();
        let mut readers = JoinSet::new();
        for (of, board) in &self.memberships {
            let source = self.join(of)?;
            let subscription = of.subscription;
            let function = self.functions.get(subscription.name).context("every subscription has a function")?;
            let reader = Reader {
                subscriber: self.spans.around(function.clone()),
                source,
                limits: self.config.limits,
                time_limit: time_limit(subscription),
                clock: self.clock.clone(),
                metrics: self.metrics.clone(),
                places: places.clone(),
                board: board.clone(),
                processing: processing.0.handle().clone(),
            };
            readers.spawn(reader.run(stop.clone()));
        }
        self.metrics.set_active_consumers(i64::try_from(readers.len()).unwrap_or(i64::MAX));
        let (replays, replays_stop) = (self.replays.clone(), stop.clone());
        let replaying = processing.0.spawn(async move { replays.keep_up(replays_stop).await });
        let (status, log) = (self.status.clone(), self.stores.event_log.clone());
        let looking = tokio::spawn(async move { status.look_for_ever(&*log).await });
        let rebuilding = tokio::spawn(self.rebuilds.clone().keep_up());
        let telling = self.config.metrics_namespace.clone().map(|namespace| {
            let telling = Telling {
                namespace,
                service: self.config.service.clone(),
                metrics: self.metrics.clone(),
                status: self.status.clone(),
                clock: self.clock.clone(),
            };
            tokio::spawn(telling.tell_for_ever())
        });
        let mut ended = Ok(());
        while let Some(reader) = readers.join_next().await {
            let reader = reader.context("a reader panicked").and_then(|read| read.context("a batch was lost"));
            if reader.is_err() && ended.is_ok() {
                ended = reader;
                stop.cancel();
            }
        }
        stop.cancel();
        // What is on its way is kept, and another process goes on.
        if let Err(error) = replaying.await {
            tracing::error!(%error, "replays failed");
        }
        looking.abort();
        rebuilding.abort();
        telling.inspect(|telling| telling.abort());
        self.metrics.set_active_consumers(0);
        processing.end();
        ended
    }

    fn join(&self, Membership { group, topics, .. }: &Membership) -> Result<Box<dyn Source>> {
        let settings = self.config.server.stores.kafka.as_ref().context("the settings name Kafka")?;
        let joining = Joining { settings, group, topics, limits: &self.config.limits, assignor: self.config.assignor };
        Ok(Box::new(KafkaSource::join(&joining).with_context(|| format!("the group {group} cannot be joined"))?))
    }
}

async fn connect(
    config: &Config,
    catalog: &Catalog,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    checks: &mut Checks,
) -> Option<Stores> {
    let of = &config.server.stores;
    let mut services = Connecting::new(of, Purpose::Process, Places::of(of, "nowhere"), metrics);
    let event_log = checks.store("event log", services.event_log().await);
    let ledger = checks.store("ledger", services.ledger(clock, catalog).await);
    let statements = checks.store("statement store", services.statements().await);
    // Where the first is away, the second is, too: it is told once.
    let audit = match &statements {
        Some(_) => checks.store("audit log", services.audit().await),
        None => None,
    };
    if let (Some(log), Some(topic)) = (&event_log, topics(catalog).first()) {
        // What is asked of Kafka last is asked first here, so that all is told at once. Listing topics is more than every role may.
        let asked = match log.offsets(&topic.name).await {
            Ok(_) | Err(EventLogError::UnknownTopic(_)) => Ok(()),
            Err(error) => Err(error).with_context(|| {
                let place = Places::of(of, "").event_log;
                format!("the event log ({place}) cannot be used; KAFKA_BOOTSTRAP_SERVERS says where it is")
            }),
        };
        checks.note(asked)?;
    }
    checks.note(services.finish(event_log?, ledger?, statements?, audit?, catalog).await)
}

/// The threads on which events are processed: however much there is, whoever asks something of this process is answered meanwhile.
struct Processing(Runtime);

impl Processing {
    fn start(workers: Option<usize>) -> Result<Self> {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        threads.thread_name("processing").enable_all();
        if let Some(workers) = workers {
            threads.worker_threads(workers);
        }
        Ok(Self(threads.build().context("cannot start the threads on which events are processed")?))
    }

    /// What is still under way is abandoned.
    fn end(self) {
        self.0.shutdown_background();
    }
}
