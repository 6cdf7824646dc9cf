//! A worker in a process of its own, so that it can really be killed: the functions of some families on the production adapters, each topic with an
//! event source mapping; or each family with a reader of the container ([`Kind`]).
//!
//! It reads its [`Order`] as a line of JSON from stdin, ends when stdin ends, and writes a line for whoever counts:
//! `delivered 12` before each invocation, `settled 10 1 1 0 0` behind it (applied, duplicate, dead letters, tombstones,
//! to be redelivered), and `overran 9012` where one took far longer than it may (milliseconds).

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use lyceum_around::around::Wrapped;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::process::{ProcessConfig, Services, Subscriber};
use lyceum_event_source_mapping::{Backoff, Destination, EventSourceMapping, Invoke, InvokeError, MappingConfig};
use lyceum_functions::REGISTRY;
use lyceum_lambda_event::handler::handle;
use lyceum_testing::handing::Handing;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::task::JoinSet;

use crate::connect::{Addresses, Connected};
use crate::container;
use crate::steps::{CrashingEventLog, CrashingLedger, Death, JumpingClock, Release, Step};

/// A worker's order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Where the services answer, as this worker is to see them.
    pub addresses: Addresses,
    /// The families whose topics it reads.
    pub families: Vec<String>,
    /// Its consumer groups are called this, `-` and the family.
    pub group: String,
    /// Records a batch.
    pub batch_size: usize,
    /// A function's time limit, milliseconds.
    pub function_timeout_ms: u64,
    /// At which step it dies, and at which time that it comes there.
    pub death: Option<(Step, u32)>,
    /// Whether its clock jumps.
    pub clock_jumps: bool,
    /// Which release it plays.
    pub release: Release,
    /// A defect that the matrix is to find.
    pub defect: Option<Planted>,
    /// How it takes batches.
    pub kind: Kind,
}

/// How a worker takes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// By an event source mapping for each topic.
    Mapping,
    /// As the container does: a reader for each family.
    Container,
}

/// A defect of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Planted {
    /// The ledger gives keys at home back without their recordings: what was applied before emits nothing.
    DuplicateEmitsNothing,
    /// The ledger forgets the keys at home: what was applied before is decided anew.
    DuplicateDecidesAnew,
    /// The function answers that everything is done, whatever failed.
    FailuresAreNotAnswered,
}

/// What a worker process does. Comes back when stdin ends.
///
/// # Errors
/// Where the order cannot be read or a service refuses the connection for good.
pub async fn main() -> Result<()> {
    let mut stdin = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    stdin.read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line).context("the first line of stdin is no order")?;
    let orphaned = async move {
        let mut rest = Vec::new();
        let _ = stdin.read_to_end(&mut rest).await;
    };
    tokio::select! {
        ended = work(order) => ended,
        () = orphaned => Ok(()),
    }
}

async fn work(order: Order) -> Result<()> {
    let steady: Arc<dyn Clock> = Arc::new(SystemClock);
    let clock: Arc<dyn Clock> = if order.clock_jumps { Arc::new(JumpingClock::new(steady)) } else { steady };
    let secrets = order.addresses.load_secrets().await?;
    let Connected { log, ledger, statements } = order.addresses.connect(secrets.as_ref())?;
    let death = Death::at(order.death);
    let crashing = |inner| Arc::new(CrashingEventLog { inner, death: death.clone() });
    let polled = crashing(order.addresses.connect_log(secrets.as_ref())?);
    let services = Services {
        event_log: crashing(log),
        ledger: Arc::new(Handing(CrashingLedger {
            inner: ledger,
            death: death.clone(),
            release: order.release,
            defect: order.defect,
        })),
        statements: Arc::new(Wrapped::around(statements, death.clone())),
        schemas: None,
        clock: clock.clone(),
        observer: Arc::new(TallyObserver),
    };
    let catalog = Arc::new(lyceum_catalog::catalog());
    let mapped = MappingOrder {
        group: &order.group,
        batch_size: order.batch_size,
        function_timeout_ms: order.function_timeout_ms,
    };
    if order.kind == Kind::Container {
        return container::read(&order, &services, &catalog, &death, secrets.as_ref()).await;
    }
    let mut running = JoinSet::new();
    for entry in REGISTRY.iter().filter(|entry| order.families.iter().any(|name| name == entry.spec.name)) {
        let function = (entry.build)(services.clone(), catalog.clone(), ProcessConfig::default());
        for topic in entry.spec.topics {
            let invoke = Function {
                function: function.clone(),
                clock: clock.clone(),
                timeout_ms: i64::try_from(order.function_timeout_ms)?,
                death: death.clone(),
                is_deaf: order.defect == Some(Planted::FailuresAreNotAnswered),
            };
            let mapping = EventSourceMapping::new(
                mapping_config(&mapped, entry.spec.name, topic.name),
                polled.clone(),
                Arc::new(invoke),
            )?;
            let mapping = Arc::new(mapping.with_clock(clock.clone()));
            running.spawn(mapping.run(std::future::pending()));
        }
    }
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    Ok(())
}

/// What is the same for every mapping of a deployment.
#[derive(Clone, Copy, Debug)]
pub struct MappingOrder<'a> {
    /// Consumer groups are called this, `-` and the family.
    pub group: &'a str,
    /// Records a batch.
    pub batch_size: usize,
    /// A function's time limit, milliseconds.
    pub function_timeout_ms: u64,
}

/// Where a mapping writes what it gives up. Nothing may ever stand there.
pub const GIVEN_UP: &str = "lyceum.given-up";

/// The mapping of a topic, as a deployment with `OnFailureDestination` has it, but for waits that suit a test.
pub fn mapping_config(order: &MappingOrder<'_>, family: &str, topic: &str) -> MappingConfig {
    MappingConfig {
        batch_size: order.batch_size,
        batching_window: Duration::from_millis(50),
        report_batch_item_failures: true,
        maximum_retry_attempts: Some(10_000),
        on_failure: Some(Destination::Topic(GIVEN_UP.to_owned())),
        function_timeout: Duration::from_millis(order.function_timeout_ms),
        backoff: Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(2) },
        ..MappingConfig::new(topic, topic, format!("{}-{family}", order.group))
    }
}

struct Function {
    function: Arc<dyn Subscriber>,
    clock: Arc<dyn Clock>,
    timeout_ms: i64,
    death: Arc<Death>,
    is_deaf: bool,
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        // The records' values are base64: only a record's own field looks like this.
        tell(format_args!("delivered {}", memchr::memmem::find_iter(&payload, b"\"offset\":").count()));
        let began = Instant::now();
        let answer = handle(&*self.function, &payload, self.clock.now_ms() + self.timeout_ms).await;
        let took_ms = began.elapsed().as_millis();
        // A busy machine is late by itself; a call that nobody ends is so by many seconds.
        if took_ms > (self.timeout_ms + self.timeout_ms / 2).unsigned_abs().into() {
            tell(format_args!("overran {took_ms}"));
        }
        self.death.reach(Step::BeforeAnswer);
        let answer = answer.map_err(|error| InvokeError::function("HandlerError", error.to_string()))?;
        if self.is_deaf {
            return Ok(Bytes::from_static(b"{\"batchItemFailures\": []}"));
        }
        let answer = serde_json::to_vec(&answer).map_err(|error| InvokeError::function("Json", error.to_string()))?;
        Ok(answer.into())
    }
}

struct TallyObserver;

impl Observer for TallyObserver {
    fn observe(&self, reports: &[Report]) {
        let mut counts = [0; 5];
        for report in reports {
            let at = match &report.outcome {
                Outcome::Applied => 0,
                Outcome::Duplicate => 1,
                Outcome::DeadLettered { .. } => 2,
                Outcome::SkippedTombstone | Outcome::Skipped => 3,
                Outcome::RetryLater { .. } => 4,
            };
            counts[at] += 1;
        }
        let [applied, duplicate, dead, tombstones, later] = counts;
        tell(format_args!("settled {applied} {duplicate} {dead} {tombstones} {later}"));
    }
}

/// A reader that has gone makes this worker an orphan, which stdin tells, too.
pub(crate) fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
