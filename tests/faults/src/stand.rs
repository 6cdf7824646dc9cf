//! One row's own world: topics, table and index of its own on the shared servers, proxies before each, and the workers.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lyceum_around::system_clock::SystemClock;
use lyceum_core::ports::event_log::{Retention, TopicSpec};
use lyceum_functions::REGISTRY;
use lyceum_proxies::http::{HttpProxy, Rule};
use lyceum_proxies::tcp::TcpProxy;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::connect::{Addresses, Connected};
use crate::count::{Stores, compare, dead_letter_topics};
use crate::oracle;
use crate::steps::{Release, Step};
use crate::table::Row;
use crate::traffic::{Amount, Traffic};
use crate::worker::{GIVEN_UP, Kind, Order, Planted};

/// How long a row may settle nothing before it counts as stuck. Far more than any does, also on a busy machine.
const STUCK: Duration = Duration::from_secs(240);

/// So often a worker dies at its step; then it may live. A broker gives its partitions away only after its session, 10 s.
const DEATHS: u32 = 3;

/// The servers.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `host:port`
    pub kafka: String,
    /// `host:port` of the listener that workers use, where that is one that asks who they are.
    pub kafka_for_workers: Option<String>,
    /// `http://host:port`
    pub dynamodb: String,
    /// `http://host:port`
    pub search: String,
    /// Whether the broker is the row's alone, so that topics and groups have the names of a deployment.
    pub is_alone: bool,
}

/// Rules of proxies that answer in a service's stead; without one there is none.
#[derive(Clone, Default)]
pub struct Rules {
    /// For DynamoDB.
    pub dynamodb: Option<Rule>,
    /// For Elasticsearch.
    pub search: Option<Rule>,
    /// For AWS Secrets Manager, which is nothing but this rule; without it nobody is shown a secret.
    pub secrets: Option<Rule>,
}

/// A row's world.
pub struct Stand {
    /// Between the workers and Kafka.
    pub kafka: TcpProxy,
    /// Between the workers and DynamoDB.
    pub dynamodb: TcpProxy,
    /// Between the workers and Elasticsearch.
    pub search: TcpProxy,
    /// Not through a proxy.
    pub stores: Stores,
    /// The index of this row.
    pub index: String,
    families: Vec<&'static str>,
    order: Order,
    worker: std::path::PathBuf,
    events: usize,
    /// The consumer groups that workers read as.
    groups: Mutex<BTreeSet<String>>,
    seen: Arc<Seen>,
    began: Instant,
    rules: Vec<HttpProxy>,
}

/// What the workers reported, all together.
#[derive(Debug, Default)]
struct Seen {
    delivered: AtomicU64,
    duplicates: AtomicU64,
    later: AtomicU64,
    overran: AtomicU64,
    restarts: AtomicU32,
}

impl Stand {
    /// Makes topics, table and index under the row's own name, and sends the traffic.
    ///
    /// # Errors
    /// Where a server does not do it.
    pub async fn open(
        servers: &Servers,
        worker: impl Into<std::path::PathBuf>,
        families: &[&'static str],
        amount: Amount,
        rules: Rules,
    ) -> Result<Self> {
        let name = format!("row{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let mut kept = Vec::new();
        let mut front = async |url: &str, rule: Option<Rule>| -> Result<TcpProxy> {
            let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
            let Some(rule) = rule else { return Ok(TcpProxy::to(address).await?) };
            let proxy = HttpProxy::to(url, move |asked, number| rule(asked, number)).await?;
            let line = TcpProxy::to(proxy.url().trim_start_matches("http://")).await?;
            kept.push(proxy);
            Ok(line)
        };
        let dynamodb = front(&servers.dynamodb, rules.dynamodb).await?;
        let search = front(&servers.search, rules.search).await?;
        let kafka = servers.kafka_for_workers.as_ref().unwrap_or(&servers.kafka);
        let kafka = TcpProxy::to_broker(kafka.clone()).await?;
        let mut secrets = None;
        if let Some(rule) = rules.secrets {
            let proxy = HttpProxy::to("http://127.0.0.1:1", move |asked, number| rule(asked, number)).await?;
            secrets = Some(proxy.url().to_owned());
            kept.push(proxy);
        }
        let direct = Addresses {
            kafka: servers.kafka.clone(),
            dynamodb: servers.dynamodb.clone(),
            search: servers.search.clone(),
            prefix: if servers.is_alone { String::new() } else { format!("{name}.") },
            table: name.clone(),
            index: name.clone(),
            dynamodb_timeout_ms: 2_000,
            secrets: None,
        };
        let Connected { log, ledger, statements } = direct.prepare(Arc::new(SystemClock)).await?;
        let of_families = REGISTRY.iter().filter(|entry| crate::traffic::FAMILIES.contains(&entry.spec.name));
        let topics = of_families.flat_map(|entry| entry.spec.topics);
        let topics = topics.map(|topic| (topic.name, topic.partitions));
        for (name, partitions) in topics.chain(dead_letter_topics().map(|topic| (topic, 1))).chain([(GIVEN_UP, 1)]) {
            let spec = TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() };
            log.create_topic(spec).await.with_context(|| format!("creating {name}"))?;
        }
        let traffic = Traffic::once(amount);
        let events = traffic.len();
        traffic.send(&log).await?;
        let order = Order {
            addresses: Addresses {
                kafka: kafka.address(),
                dynamodb: format!("http://{}", dynamodb.address()),
                search: format!("http://{}", search.address()),
                secrets,
                ..direct
            },
            families: families.iter().map(|family| (*family).to_owned()).collect(),
            group: "lyceum".to_owned(),
            batch_size: 500,
            function_timeout_ms: 60_000,
            death: None,
            clock_jumps: false,
            release: Release::This,
            defect: None,
            kind: Kind::Mapping,
        };
        Ok(Self {
            kafka,
            dynamodb,
            search,
            stores: Stores { log, ledger, statements },
            index: name,
            families: families.to_vec(),
            order,
            worker: worker.into(),
            events,
            groups: Mutex::default(),
            seen: Arc::default(),
            began: Instant::now(),
            rules: kept,
        })
    }

    /// A worker's order, where nothing else is asked of it.
    pub fn order(&self) -> Order {
        self.order.clone()
    }

    /// What is read by these groups, `-` and the family, counts as read: workers that are not started here have them.
    pub fn watch(&self, group: &str) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned());
    }

    /// Starts a worker that is started again whenever it ends by itself.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub async fn start(&self, order: Order) -> Result<Worker> {
        self.watch(&order.group);
        let mut running = Running::start(&self.worker, &order, &self.seen).await?;
        let (program, seen) = (self.worker.clone(), self.seen.clone());
        let (stop, mut stopping) = tokio::sync::watch::channel(false);
        let (mut order, mut deaths) = (order, 0);
        let keeper = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = running.child.wait() => {}
                    // Its own block: what it awaits is held by no lock of the watch.
                    () = async { drop(stopping.wait_for(|stop| *stop).await) } => return running.kill().await,
                }
                seen.restarts.fetch_add(1, Relaxed);
                deaths += 1;
                if deaths == DEATHS {
                    order.death = None;
                }
                running = Running::start(&program, &order, &seen).await?;
            }
        });
        Ok(Worker { stop, keeper })
    }

    /// How much is settled, from 0 to 1.
    ///
    /// # Errors
    /// The log's.
    pub async fn progress(&self) -> Result<f64> {
        let (mut settled, mut all) = (0, 0);
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for entry in REGISTRY.iter().filter(|entry| self.families.contains(&entry.spec.name)) {
            for topic in entry.spec.topics {
                let log = &self.stores.log;
                let end = log.offsets(topic.name).await?.iter().map(|range| range.end).sum::<i64>();
                for group in &groups {
                    let committed = log.committed(&format!("{group}-{}", entry.spec.name), topic.name).await?;
                    settled += committed.values().sum::<i64>();
                    all += end;
                }
            }
        }
        Ok(if all == 0 { 1.0 } else { settled as f64 / all as f64 })
    }

    /// Comes back once so much is settled, from 0 to 1.
    ///
    /// # Errors
    /// Where it does not get there for a long time.
    pub async fn until(&self, share: f64) -> Result<()> {
        let (mut most, mut since) = (0.0, Instant::now());
        loop {
            // A broker that is unavailable cannot say how far it is.
            let progress = self.progress().await;
            let settled = *progress.as_ref().unwrap_or(&0.0);
            if settled >= share {
                return Ok(());
            }
            if settled > most {
                (most, since) = (settled, Instant::now());
            }
            if since.elapsed() > STUCK {
                bail!("stuck at {progress:?} of {share}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes sure that what was done to the services was done while there was work for them.
    ///
    /// # Errors
    /// Where everything is settled already.
    pub async fn must_be_at_work(&self) -> Result<()> {
        let progress = self.progress().await?;
        ensure!(progress < 1.0, "everything was settled before the fault was over: it proves nothing");
        Ok(())
    }

    /// Makes sure that invocations answered in time, and that some had to.
    ///
    /// # Errors
    /// Where one took longer than it may, or all were done with everything.
    pub fn must_have_answered_in_time(&self) -> Result<()> {
        let (later, overran) = (self.seen.later.load(Relaxed), self.seen.overran.load(Relaxed));
        ensure!(overran == 0, "an invocation took {overran} ms, which is longer than it may");
        ensure!(later > 0, "no invocation was cut short: it proves nothing");
        Ok(())
    }

    /// Records handed to functions so far, each time.
    pub fn delivered(&self) -> u64 {
        self.seen.delivered.load(Relaxed)
    }

    /// How often a worker was started again so far.
    pub fn restarts(&self) -> u32 {
        self.seen.restarts.load(Relaxed)
    }

    /// Waits until everything is settled, and counts.
    ///
    /// # Errors
    /// Where it does not get there, or a store does not answer.
    pub async fn end(self, fault: &str) -> Result<Row> {
        self.until(1.0).await?;
        let took = self.began.elapsed();
        let idle = self.rules.iter().any(|proxy| proxy.failed() == 0);
        ensure!(!idle, "a rule never did anything: the fault did not happen");
        let expected = oracle::fold(&self.stores.log).await?;
        ensure!(!expected.documents.is_empty(), "the fold made nothing: there was nothing to count");
        let difference = compare(&self.stores, &expected).await?;
        Ok(Row {
            fault: fault.to_owned(),
            events: self.events,
            deliveries: self.seen.delivered.load(Relaxed),
            duplicates: self.seen.duplicates.load(Relaxed),
            restarts: self.seen.restarts.load(Relaxed),
            difference,
            took,
        })
    }
}

/// A worker that is started again whenever it ends by itself. Gone when it is dropped.
pub struct Worker {
    stop: tokio::sync::watch::Sender<bool>,
    keeper: JoinHandle<Result<()>>,
}

impl Worker {
    /// Kills it, `kill -9`, for good.
    ///
    /// # Errors
    /// Where it could not be started again before.
    pub async fn kill(self) -> Result<()> {
        self.stop.send_replace(true);
        self.keeper.await?
    }
}

struct Running {
    child: Child,
    // When it is dropped, the worker ends.
    _stdin: ChildStdin,
}

impl Running {
    async fn start(program: &std::path::Path, order: &Order, seen: &Arc<Seen>) -> Result<Self> {
        let mut child = Command::new(program)
            // What the AWS SDK looks for by itself; the rest is in the worker's order.
            .envs(order.addresses.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        stdin.write_all(&line).await?;
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut words = line.split(' ');
                let kind = words.next().unwrap_or_default();
                let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
                match (kind, numbers.as_slice()) {
                    ("delivered", [number]) => drop(seen.delivered.fetch_add(*number, Relaxed)),
                    ("settled", [_, duplicates, _, _, later]) => {
                        seen.duplicates.fetch_add(*duplicates, Relaxed);
                        seen.later.fetch_add(*later, Relaxed);
                    }
                    ("overran", [took_ms]) => drop(seen.overran.fetch_max(*took_ms, Relaxed)),
                    _ => eprintln!("a worker says: {line}"),
                }
            }
        });
        Ok(Self { child, _stdin: stdin })
    }

    async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing a worker")
    }
}

/// For rows: an order whose worker dies.
impl Order {
    /// It dies the nth time that it comes to that step.
    #[must_use]
    pub fn dying(self, step: Step, nth: u32) -> Self {
        Self { death: Some((step, nth)), ..self }
    }

    /// It takes batches as the container does.
    #[must_use]
    pub fn as_container(self) -> Self {
        Self { kind: Kind::Container, ..self }
    }

    /// It has a defect.
    #[must_use]
    pub fn with_defect(self, planted: Planted) -> Self {
        Self { defect: Some(planted), ..self }
    }
}
