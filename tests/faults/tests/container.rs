//! The container's own program, started, ended and killed as an orchestrator does it, under load on real servers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lyceum_faults::connect::Addresses;
use lyceum_faults::stand::{Rules, Servers, Stand};
use lyceum_faults::traffic::Amount;
use lyceum_given::binary;
use lyceum_services::{Endpoints, Service, Suite, private};
use rustix::process::{Pid, Signal, kill_process};

const FAMILIES: &[&str] = &["training", "survey", "statement"];
const NEEDS: &[Service] = &[Service::DynamoDb, Service::Elasticsearch];
/// What an orchestrator gives a container to end.
const TIME_TO_END: Duration = Duration::from_secs(10);

pub(crate) fn add(suite: &mut Suite) {
    let name = "container::replicas that are killed and asked to end under load lose nothing and double nothing";
    suite.test_private(name, &[Service::Kafka], NEEDS, |endpoints| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let ran = runtime.expect("a runtime starts").block_on(replicas_come_and_go(endpoints));
        ran.unwrap_or_else(|error| panic!("{error:?}"));
    });
}

/// A replica. Killed when it is dropped.
struct Replica {
    child: Child,
    /// `http://host:port`
    url: String,
}

impl Replica {
    fn start(addresses: &Addresses) -> Result<Self> {
        let mut child = Command::new(binary::dedicated())
            .envs(addresses.environment())
            .env("LYCEUM_SUBSCRIPTIONS", FAMILIES.join(","))
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
        let answer = reqwest::get(format!("{}{path}", self.url)).await?;
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

    let first = Replica::start(&addresses)?;
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

    let second = Replica::start(&addresses)?;
    stand.until(0.3).await?;
    stand.must_be_at_work().await?;
    first.kill()?;
    let third = Replica::start(&addresses)?;
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
