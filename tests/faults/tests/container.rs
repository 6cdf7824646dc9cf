//! The container's own program, started, ended and killed as an orchestrator does it, under load on real servers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lyceum_core::dead_letter;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::record::{Header, NewRecord};
use lyceum_faults::connect::Addresses;
use lyceum_faults::oracle;
use lyceum_faults::stand::{Rules, Servers, Stand};
use lyceum_faults::traffic::Amount;
use lyceum_generate::{Expected, Generator, Plan, Shares, UNFORESEEN};
use lyceum_given::binary;
use lyceum_services::{Endpoints, Service, Suite, private};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const FAMILIES: &[&str] = &["training", "survey", "statement"];
const NEEDS: &[Service] = &[Service::DynamoDb, Service::Elasticsearch];
/// What an orchestrator gives a container to end.
const TIME_TO_END: Duration = Duration::from_secs(10);

pub(crate) fn add(suite: &mut Suite) {
    let name = "container::replicas that are killed and asked to end under load lose nothing and double nothing";
    suite.test_private(name, &[Service::Kafka], NEEDS, |endpoints| run(replicas_come_and_go(endpoints)));
    let name =
        "container::a load of the other families through replicas that are killed and end comes out as its maker says";
    suite.test_private(name, &[Service::Kafka], NEEDS, |endpoints| run(every_family_comes_out(endpoints)));
}

fn run(test: impl Future<Output = Result<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(test).unwrap_or_else(|error| panic!("{error:?}"));
}

/// So many events of a load of every family but one.
const EVENTS: u64 = 6_000;
const TENANT: &str = "academy";

/// A replica. Killed when it is dropped.
struct Replica {
    child: Child,
    /// `http://host:port`
    url: String,
}

impl Replica {
    fn start(addresses: &Addresses, subscriptions: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary::dedicated())
            .envs(addresses.environment())
            .env("LYCEUM_SUBSCRIPTIONS", subscriptions.join(","))
            .env("RETRY_BASE_MS", "200")
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the container's program")?;
        let mut lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        let first = lines.next().context("it ended before it was there")??;
        let url = first.split([' ', ',']).find(|word| word.starts_with("http://")).map(str::to_owned);
        // Whoever reads no further would have it wait.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { url: url.with_context(|| format!("no address in {first:?}"))?, child })
    }

    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = lyceum_https::client().get(format!("{}{path}", self.url)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a process has a number")?;
        Ok(kill_process(pid, signal)?)
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits for that.
    async fn end(mut self) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        self.signal(Signal::TERM)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, began.elapsed()));
            }
            ensure!(began.elapsed() < 3 * TIME_TO_END, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn replicas_come_and_go(endpoints: &Endpoints) -> Result<()> {
    let broker = tokio::task::spawn_blocking(|| private(Service::Kafka)).await??;
    let servers = Servers {
        kafka: broker.endpoint().to_owned(),
        kafka_for_workers: None,
        dynamodb: endpoints.url(Service::DynamoDb).to_owned(),
        search: endpoints.url(Service::Elasticsearch).to_owned(),
        is_alone: true,
    };
    let amount = Amount {
        statements: 22_000,
        histories: 2_000,
        poison_each: Some(1_000),
        duplicate_each: Some(50),
        illegal_each: Some(10),
    };
    // The worker is not started: the program under test reads instead.
    let stand = Stand::open(&servers, "", FAMILIES, amount, Rules::default()).await?;
    stand.watch("lyceum");
    let addresses = stand.order().addresses;

    let first = Replica::start(&addresses, FAMILIES)?;
    stand.until(0.1).await?;
    let (code, health) = first.get("/health").await?;
    ensure!(code == 200 && health.contains("\"kafka\""), "{code}: {health}");
    for (path, says) in [("/health/live", "\"live\""), ("/health/ready", "\"ready\"")] {
        let (code, said) = first.get(path).await?;
        ensure!(code == 200 && said.contains(says), "{path}: {code}: {said}");
    }
    let (_, metrics) = first.get("/metrics").await?;
    for name in ["lyceum_consumer_lag{", "lyceum_consumer_lag_seconds{", "lyceum_batch_size", "lyceum_events_total{"] {
        ensure!(metrics.contains(name), "no {name} in the metrics");
    }
    let (_, status) = first.get("/events/status").await?;
    ensure!(FAMILIES.iter().all(|family| status.contains(&format!("lyceum-{family}"))), "{status}");

    let second = Replica::start(&addresses, FAMILIES)?;
    stand.until(0.3).await?;
    stand.must_be_at_work().await?;
    first.kill()?;
    let third = Replica::start(&addresses, FAMILIES)?;
    stand.until(0.5).await?;
    stand.must_be_at_work().await?;
    let (status, took) = second.end().await?;
    ensure!(status.success() && took < TIME_TO_END, "asked to end under load: {status} after {took:?}");
    stand.must_be_at_work().await?;
    stand.until(1.0).await?;
    let row = stand.end("the container's program killed, and asked to end, under load").await?;
    ensure!(row.difference.is_none(), "{:#?}", row.difference);
    let (status, took) = third.end().await?;
    ensure!(status.success() && took < TIME_TO_END, "asked to end when idle: {status} after {took:?}");
    drop(broker);
    Ok(())
}

/// How far the groups of all subscriptions are: records that are not committed.
async fn behind(log: &Arc<dyn EventLog>) -> Result<i64> {
    let mut behind = 0;
    for of in lyceum_functions::functions() {
        for topic in of.subscription.topics() {
            let committed = log.committed(&format!("lyceum-{}", of.subscription.name), topic).await?;
            for (partition, range) in (0..).zip(log.offsets(topic).await?) {
                behind += range.end - committed.get(&partition).copied().unwrap_or(range.start);
            }
        }
    }
    Ok(behind)
}

async fn until_behind_by(log: &Arc<dyn EventLog>, most: i64) -> Result<()> {
    let began = Instant::now();
    // What follows from events may still be on its way when everything is committed: it is looked at twice.
    let mut seen = 0;
    while seen < if most == 0 { 3 } else { 1 } {
        let behind = behind(log).await?;
        seen = if behind <= most { seen + 1 } else { 0 };
        ensure!(began.elapsed() < Duration::from_secs(300), "stuck: {behind} records are not committed");
        tokio::time::sleep(Duration::from_millis(if most == 0 { 500 } else { 20 })).await;
    }
    Ok(())
}

async fn every_family_comes_out(endpoints: &Endpoints) -> Result<()> {
    let broker = tokio::task::spawn_blocking(|| private(Service::Kafka)).await??;
    let name = format!("load{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let addresses = Addresses {
        kafka: broker.endpoint().to_owned(),
        dynamodb: endpoints.url(Service::DynamoDb).to_owned(),
        search: endpoints.url(Service::Elasticsearch).to_owned(),
        prefix: String::new(),
        table: name.clone(),
        index: name,
        dynamodb_timeout_ms: 5_000,
        secrets: None,
    };
    // It makes topics, table and index.
    let first = Replica::start(&addresses, &[])?;
    let log = addresses.connect_log(None)?;
    let shares = Shares { duplicates: 0.01, broken: 0.02, late: 0.01, out_of_order: 0.01 };
    let plan = Plan {
        seed: 12,
        events: Some(EVENTS),
        // Whoever is killed while it asks for content holds its lease for as long as a call may take, a quarter of an hour.
        families: lyceum_generate::families().filter(|family| *family != "generation").map(str::to_owned).collect(),
        tenants: vec![TENANT.to_owned()],
        shares,
        ..Plan::default()
    };
    let mut expected = Expected::default();
    let mut topics: BTreeMap<&'static str, Vec<NewRecord>> = BTreeMap::new();
    for made in Generator::new(plan).context("the plan is good")? {
        expected.add(&made);
        topics.entry(made.topic).or_default().push(NewRecord {
            key: Some(made.key.into()),
            value: made.value.map(Bytes::from),
            headers: made.headers.into_iter().map(|(name, value)| Header::new(name, value)).collect(),
            ..NewRecord::default()
        });
    }
    for (topic, records) in topics {
        for part in records.chunks(500) {
            log.produce(topic, part.to_vec()).await?;
        }
    }
    let all = behind(&log).await?;
    let second = Replica::start(&addresses, &[])?;
    until_behind_by(&log, all * 3 / 4).await?;
    first.kill()?;
    let third = Replica::start(&addresses, &[])?;
    until_behind_by(&log, all / 2).await?;
    let (status, took) = second.end().await?;
    ensure!(status.success() && took < TIME_TO_END, "asked to end under load: {status} after {took:?}");
    ensure!(behind(&log).await? > 0, "everything was settled before the faults were over: it proves nothing");
    until_behind_by(&log, 0).await?;

    // Documents: what was applied, once each; letters by kind, once each.
    let (_, overview) = third.get(&format!("/api/analytics/platform/overview?tenant={TENANT}")).await?;
    let overview: Value = serde_json::from_str(&overview)?;
    let rows =
        ["event_types", "other_documents"].into_iter().flat_map(|of| overview[of].as_array().into_iter().flatten());
    let stored: BTreeMap<&str, u64> =
        rows.filter_map(|row| Some((row["event_type"].as_str()?, row["count"].as_u64()?))).collect();
    let (mut applied, mut dead) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    let all = expected.all();
    for (of, count) in &all {
        match (of.outcome, of.kind) {
            ("applied", _) => *applied.entry(of.event_type).or_default() += count,
            ("dead_lettered", Some(kind)) => *dead.entry(kind).or_default() += count,
            _ => {}
        }
    }
    let open: BTreeMap<&str, u64> = expected.either().iter().map(|of| (of.event_type, of.count)).collect();
    for name in applied.keys().chain(stored.keys()).filter(|name| !UNFORESEEN.contains(name)) {
        let (must, is) = (applied.get(name).copied().unwrap_or(0), stored.get(name).copied().unwrap_or(0));
        let most = must + open.get(name).copied().unwrap_or(0);
        ensure!((must..=most).contains(&is), "{name}: {must} to {most} documents must be there, and {is} are");
    }
    ensure!(stored.len() > 30, "only {stored:?} are stored");
    let mut letters = BTreeMap::new();
    for topic in lyceum_catalog::catalog().dead_letter_topics() {
        for record in oracle::read(&log, topic).await? {
            let letter = dead_letter::read(&record).with_context(|| format!("{} is no letter", record.position))?;
            letters.insert(letter.id, letter.kind.name());
        }
    }
    let either: u64 = open.values().sum();
    for kind in DeadLetterKind::ALL.map(DeadLetterKind::name) {
        let is = letters.values().filter(|of| **of == kind).count() as u64;
        let must = dead.get(kind).copied().unwrap_or(0);
        let most = must + if kind == "rejected" { either } else { 0 };
        ensure!((must..=most).contains(&is), "{must} to {most} letters of kind {kind} must be there, and {is} are");
    }
    let (status, took) = third.end().await?;
    ensure!(status.success() && took < TIME_TO_END, "asked to end when idle: {status} after {took:?}");
    drop(broker);
    Ok(())
}
