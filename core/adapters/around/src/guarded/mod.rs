//! A guard around each dependency: while one is slow or unavailable, the others keep their time, and nobody waits for it in vain.
//!
//! - **Time limit**: a call that takes longer is no longer waited for. Of a ledger's write that says nothing about what
//!   happened, so it is [`Uncertain`](lyceum_core::ports::ledger::LedgerError::Uncertain).
//! - **Bulkhead**: at most so many calls at once; the next ones wait for a bounded time, then are not made.
//! - **Circuit breaker** ([`Breaker`]): after so many failures in a row no call is made for a while, then a few are
//!   let through. What is not made fails at once, as [`Unavailable`](lyceum_core::ports::ledger::LedgerError::Unavailable): the
//!   batch is redelivered, and no record's attempt is spent.
//!
//! Only an outage counts as failure, and a refusal that every record meets alike, as of credentials, a missing right, table or
//! alias: it lasts until a person acts, and asking on would only spend a mapping's attempts. A conflict, a refusal of one
//! document or question, or a topic that somebody asked for in vain is an answer.
//!
//! One [`Guard`] stands before each dependency, shared by whoever calls it. It tells its state to the metrics
//! (`lyceum_circuit_state{dependency}`) and, as a [`Circuit`], to whoever asks about health. A guard knows a runtime,
//! tokio: its time is tokio's, so that a test may pause it, and never the wall clock's, which may jump.
//!
//! **Why not a crate.** Those that are kept (failsafe 1.3, recloser 1.4, tower-resilience-circuitbreaker 0.14) read a
//! clock themselves, and none tells when it will try again; the state machine that does is a hundred lines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::around::{Around, Call, StoreError, Wrapped};
use lyceum_core::metrics::{CircuitState, Metrics};

mod breaker;
mod settings;

pub use breaker::{Breaker, BreakerLimits, Ending, Refusal, Ticket};
pub use settings::GUARD_VARIABLES;

/// What is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependency {
    /// The ledger's.
    DynamoDb,
    /// The statement store's, OpenSearch included.
    Elasticsearch,
    /// The event log's.
    Kafka,
    /// The registry of schemas.
    SchemaRegistry,
}

impl Dependency {
    /// Its name in metrics and in `/health`.
    pub fn label(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::Elasticsearch => "elasticsearch",
            Self::Kafka => "kafka",
            Self::SchemaRegistry => "schema_registry",
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DynamoDb => "DynamoDB",
            Self::Elasticsearch => "Elasticsearch",
            Self::Kafka => "Kafka",
            Self::SchemaRegistry => "the schema registry",
        })
    }
}

/// How much of the process's time and room a dependency may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// How long one call of the port may take, its adapter's own repetitions included.
    pub call_time: Duration,
    /// How many calls may be under way at once; at least 1 counts.
    pub calls_at_once: usize,
    /// How long a call waits for its turn.
    pub waiting_time: Duration,
    /// When the circuit opens and closes.
    pub breaker: BreakerLimits,
}

impl Default for GuardLimits {
    /// 40 s a call, so that a client whose limit is 30 s tells its own error; 64 at once, 10 s of waiting.
    fn default() -> Self {
        Self {
            call_time: Duration::from_secs(40),
            calls_at_once: 64,
            waiting_time: Duration::from_secs(10),
            breaker: BreakerLimits::default(),
        }
    }
}

/// What the circuit to a dependency looks like now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// To what.
    pub dependency: Dependency,
    /// What it lets through.
    pub state: CircuitState,
    /// Why a call would not be made now, in words for a person.
    pub reason: Option<String>,
}

/// Stands before one dependency. Share it in an `Arc` among all that call it.
#[derive(Debug)]
pub struct Guard {
    dependency: Dependency,
    limits: GuardLimits,
    metrics: Arc<Metrics>,
    turns: Semaphore,
    began: Instant,
    breaker: Mutex<Breaker>,
    /// What the last failure said.
    failure: Mutex<String>,
}

/// An adapter with a guard before it.
pub type Guarded<S> = Wrapped<S, Arc<Guard>>;

impl<S> Guarded<S> {
    /// Puts the guard before the adapter that comes from there.
    pub fn new(source: S, guard: Arc<Guard>) -> Self {
        Self::around(source, guard)
    }
}

impl Guard {
    /// A guard whose circuit is closed.
    pub fn new(dependency: Dependency, limits: GuardLimits, metrics: Arc<Metrics>) -> Self {
        metrics.set_circuit_state(dependency.label(), CircuitState::Closed);
        Self {
            dependency,
            limits,
            metrics,
            turns: Semaphore::new(limits.calls_at_once.clamp(1, Semaphore::MAX_PERMITS)),
            began: Instant::now(),
            breaker: Mutex::new(Breaker::new(limits.breaker)),
            failure: Mutex::default(),
        }
    }

    /// What the circuit looks like now.
    pub fn circuit(&self) -> Circuit {
        let breaker = self.breaker.lock();
        let reason = breaker.refusal(self.began.elapsed()).map(|refusal| self.explain(refusal));
        Circuit { dependency: self.dependency, state: breaker.state(), reason }
    }

    fn explain(&self, refusal: Refusal) -> String {
        let Refusal { for_so_long, failures, again_in } = refusal;
        let again = match again_in {
            Duration::ZERO => "one call is under way that tries it again".to_owned(),
            left => format!("it is tried again in {:.1} s", left.as_secs_f64()),
        };
        let dependency = self.dependency;
        let open = for_so_long.as_secs_f64();
        let last = match self.failure.lock().as_str() {
            "" => String::new(),
            last => format!("; the last one: {last}"),
        };
        format!(
            "the circuit to {dependency} has been open for {open:.1} s, after {failures} failures in a row; {again}{last}"
        )
    }

    /// Fails where the circuit is open.
    fn look(&self) -> Result<(), String> {
        match self.breaker.lock().refusal(self.began.elapsed()) {
            None => Ok(()),
            Some(refusal) => Err(self.explain(refusal)),
        }
    }

    fn admit(&self) -> Result<Pass<'_>, String> {
        let mut breaker = self.breaker.lock();
        let before = breaker.state();
        let admitted = breaker.admit(self.began.elapsed());
        self.tell(before, &breaker);
        let ticket = admitted.map_err(|refusal| self.explain(refusal))?;
        Ok(Pass { guard: self, ticket, began: Instant::now(), ending: Ending::Abandoned })
    }

    fn tell(&self, before: CircuitState, breaker: &Breaker) {
        let now = breaker.state();
        if now == before {
            return;
        }
        self.metrics.set_circuit_state(self.dependency.label(), now);
        let (dependency, failures) = (self.dependency.label(), breaker.failures());
        match now {
            CircuitState::Open => {
                let last = &*self.failure.lock();
                tracing::warn!(dependency, failures, last, "the circuit is open: no calls are made");
            }
            CircuitState::HalfOpen => {
                tracing::info!(dependency, failures, "the circuit is half-open: it is tried again")
            }
            CircuitState::Closed => {
                self.failure.lock().clear();
                tracing::info!(dependency, "the circuit is closed again");
            }
        }
    }
}

/// A call that was let through; tells the breaker how it ended, also where its caller gave up.
struct Pass<'a> {
    guard: &'a Guard,
    ticket: Ticket,
    began: Instant,
    ending: Ending,
}

/// A call that its caller gave up says nothing of the dependency, unless it had waited for a quarter of its time, or for
/// this long: where invocations are shorter than calls may be, the circuit would never open otherwise.
const TOO_LONG: Duration = Duration::from_secs(10);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let waited = self.began.elapsed();
        if self.ending == Ending::Abandoned && waited >= TOO_LONG.min(self.guard.limits.call_time / 4) {
            let (dependency, seconds) = (self.guard.dependency, waited.as_secs_f64());
            *self.guard.failure.lock() = format!("{dependency} had not answered after {seconds:.1} s");
            self.ending = Ending::Failed;
        }
        let mut breaker = self.guard.breaker.lock();
        let before = breaker.state();
        breaker.report(self.ticket, self.ending, self.guard.began.elapsed());
        self.guard.tell(before, &breaker);
    }
}

impl Around for Guard {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        outage: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        let GuardLimits { call_time, waiting_time, .. } = self.limits;
        // Before the waiting, since an open circuit answers at once; and after it, since much may have happened.
        self.look().map_err(E::not_made)?;
        let Ok(_turn) = timeout(waiting_time, self.turns.acquire()).await else {
            let (dependency, most) = (self.dependency, self.limits.calls_at_once);
            let waited = waiting_time.as_secs_f64();
            return Err(E::not_made(format!(
                "{most} calls to {dependency} are under way, and none ended within {waited} s"
            )));
        };
        let mut pass = self.admit().map_err(E::not_made)?;
        let answer = timeout(call_time, work).await.unwrap_or_else(|_| {
            let (dependency, operation) = (self.dependency, call.operation);
            let reason = format!("{dependency} did not answer to {operation} within {} s", call_time.as_secs_f64());
            Err(E::not_answered(call.effect, reason))
        });
        let failure = match &answer {
            Ok(answer) => {
                outage(answer).map(|why| format!("{} took nothing of what it was given: {why}", self.dependency))
            }
            Err(error) => (error.is_outage() || error.is_refusal_of_all(call)).then(|| error.to_string()),
        };
        let failed = failure.is_some();
        if let Some(failure) = failure {
            *self.failure.lock() = failure;
        }
        pass.ending = if failed { Ending::Failed } else { Ending::Answered };
        answer
    }
}

#[cfg(test)]
mod tests;
