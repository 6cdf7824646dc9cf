//! What every function runs on AWS Lambda: telemetry, services from the environment, the runtime.
//!
//! A function's `main.rs` is wiring: it names the family and whether it keeps state. Each client is made once for an
//! environment and only when a batch needs it, so that a cold start pays for what its batch uses.

mod environment;
mod telemetry;

use std::fmt;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lyceum_around::system_clock::SystemClock;
use lyceum_connect::ProductionSettings;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::generations::marker::Generations;
use lyceum_core::generations::switching::Switching;
use lyceum_core::process::{ProcessConfig, Services, Subscriber};
use lyceum_lambda_event::brake::{Brake, LEFT_FOR_ANSWERING};
use lyceum_lambda_event::handler::{Ended, HandlerError, process};
use lyceum_lambda_event::lag;
use lyceum_lambda_event::response::BatchResponse;
use lyceum_spans::Caller;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tracing::Instrument;

pub use environment::Environment;
pub use telemetry::Telemetry;

/// Runs a function: `wire` gets the environment, secrets included, and makes it. Ends when Lambda ends the process, or
/// with a failure that is told in one line of JSON.
pub fn run<W>(wire: impl FnOnce(Environment) -> W) -> ExitCode
where
    W: Future<Output = Result<()>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&error.into()),
    };
    runtime.block_on(async {
        let wired = async {
            let environment = Environment(lyceum_secrets::Secrets::load().await?);
            wire(environment).await
        };
        match wired.await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let code = cannot_start(&error);
                sit_one_invocation_out().await;
                code
            }
        }
    })
}

/// Runs a function that uses a ledger: `make` gets its services, the catalog of all families, and how events are processed. It is made
/// once for each [generation](lyceum_core::generations) of its subscription that becomes live.
pub fn serve<S: Subscriber + 'static>(
    make: impl Fn(Services, Arc<Catalog>, ProcessConfig) -> S + Send + Sync + 'static,
) -> ExitCode {
    run(async |environment| {
        let (settings, telemetry) = environment.read(ProductionSettings::read)?;
        let catalog = Arc::new(lyceum_catalog::catalog());
        let services =
            lyceum_connect::connect(&settings, telemetry.observer(), &telemetry.metrics(), catalog.families());
        let services: Services = services.into();
        let generations = Arc::new(Generations::new(services.ledger.clone(), services.clock.clone()));
        let observer = services.observer.clone();
        let make = move |ledger| {
            let services = Services { ledger, ..services.clone() };
            Arc::new(make(services, catalog.clone(), settings.process.clone())) as Arc<dyn Subscriber>
        };
        telemetry.serve_shared(Switching::of(&generations, observer, Arc::new(make))).await
    })
}

fn cannot_start(error: &anyhow::Error) -> ExitCode {
    let line = serde_json::json!({"level": "ERROR", "message": format!("the function cannot start: {error:#}")});
    eprintln!("{line}");
    ExitCode::FAILURE
}

/// Takes one invocation and comes back shortly before its time is over, without an answer: where what a function needs to start is
/// away, and each attempt failed at once, a mapping's attempts would not last. The next one begins a new process.
async fn sit_one_invocation_out() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return;
    }
    let over = Arc::new(Notify::new());
    let tells = over.clone();
    let sits = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let tells = tells.clone();
        async move {
            tokio::time::sleep(remaining(event.context.deadline).saturating_sub(LEFT_FOR_ANSWERING)).await;
            tells.notify_one();
            std::future::pending::<Result<BatchResponse, Diagnostic>>().await
        }
    });
    tokio::select! {
        _ = lambda_runtime::Runtime::new(sits).run() => {}
        () = over.notified() => {}
    }
}

/// What is left of the time of an invocation that must have been answered by then, milliseconds since 1970 UTC.
fn remaining(deadline_ms: u64) -> Duration {
    Duration::from_millis(deadline_ms.saturating_sub(u64::try_from(now_ms()).unwrap_or(0)))
}

impl Telemetry {
    /// Answers invocations until Lambda ends the process.
    ///
    /// # Errors
    /// Where Lambda's runtime interface does not answer.
    pub async fn serve(self, function: impl Subscriber + 'static) -> Result<()> {
        self.serve_shared(Arc::new(function)).await
    }

    async fn serve_shared(self, function: Arc<dyn Subscriber>) -> Result<()> {
        let is_cold = is_waited_for(std::env::var("AWS_LAMBDA_INITIALIZATION_TYPE").ok().as_deref());
        let is_first = AtomicBool::new(is_cold);
        let function = self.spans().around(function);
        let serving = Arc::new(Serving { telemetry: self, function, brake: Mutex::default(), is_first });
        let answer = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
            let serving = serving.clone();
            let is_cold = serving.is_first.swap(false, Relaxed);
            let span = span_of(&event.context, is_cold);
            async move { serving.begin(event, is_cold).await }.instrument(span)
        });
        // Where Lambda has several invocations at once in one environment, it says so, and else has one after the other.
        lambda_runtime::Runtime::new(answer).run_concurrent().await.map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Answers invocations that bring no batch, until Lambda ends the process: by `answer`, each with lines, metrics and spans of its own.
    ///
    /// # Errors
    /// Where Lambda's runtime interface does not answer.
    pub async fn answer<A, F>(
        self,
        answer: impl Fn(LambdaEvent<Box<RawValue>>) -> F + Clone + Send + Sync + 'static,
    ) -> Result<()>
    where
        A: serde::Serialize + Send + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
    {
        let is_cold = is_waited_for(std::env::var("AWS_LAMBDA_INITIALIZATION_TYPE").ok().as_deref());
        let (telemetry, is_first) = (Arc::new(self), Arc::new(AtomicBool::new(is_cold)));
        let answer = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
            let (telemetry, answer) = (telemetry.clone(), answer.clone());
            let is_cold = is_first.swap(false, Relaxed);
            let span = span_of(&event.context, is_cold);
            async move {
                let (deadline, config) = (event.context.deadline, event.context.env_config.clone());
                if is_cold {
                    telemetry.count_cold_start(&config.function_name, now_ms());
                }
                let answered = telemetry.invocations().run(SystemClock.jitter(), answer(event)).await;
                telemetry.spans().flush(time_for_spans(remaining(deadline))).await;
                telemetry.flush(&config.version, now_ms());
                answered.map_err(|error| Diagnostic {
                    error_type: "Failed".to_owned(),
                    error_message: format!("{error:#}"),
                })
            }
            .instrument(span)
        });
        lambda_runtime::Runtime::new(answer).run_concurrent().await.map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// Around all that an invocation logs. At the level of errors, so that a line of any level has it.
fn span_of(context: &lambda_runtime::Context, is_cold: bool) -> tracing::Span {
    tracing::error_span!(
        "invocation",
        request_id = context.request_id,
        xray_trace_id = context.xray_trace_id,
        cold_start = is_cold,
        function_name = context.env_config.function_name,
        function_memory_size = context.env_config.memory,
        function_version = context.env_config.version,
    )
}

/// Whether an environment that was begun in this way is begun while somebody waits for its first answer.
fn is_waited_for(initialization: Option<&str>) -> bool {
    matches!(initialization, None | Some("on-demand"))
}

/// What invocations share.
struct Serving {
    telemetry: Telemetry,
    function: Arc<dyn Subscriber>,
    brake: Mutex<Brake>,
    /// Whether the next invocation is the first, and a cold start.
    is_first: AtomicBool,
}

impl Serving {
    async fn begin(&self, event: LambdaEvent<Box<RawValue>>, is_cold: bool) -> Result<BatchResponse, Failed> {
        if is_cold {
            self.telemetry.count_cold_start(&event.context.env_config.function_name, now_ms());
        }
        self.telemetry.invocations().run(SystemClock.jitter(), self.invoke(event, is_cold)).await
    }

    /// One invocation: the payload's own bytes in, since a typed event would fail a whole batch for one malformed record.
    async fn invoke(&self, event: LambdaEvent<Box<RawValue>>, is_cold: bool) -> Result<BatchResponse, Failed> {
        let Self { telemetry, function, brake, .. } = self;
        let LambdaEvent { payload, context, .. } = event;
        let started = Instant::now();
        let deadline_ms = i64::try_from(context.deadline).unwrap_or(i64::MAX);
        let caller = Caller { request_id: context.request_id, xray: context.xray_trace_id, is_cold };
        let handled = caller.calls(process(&**function, payload.get().as_bytes(), deadline_ms)).await;
        drop(payload);
        telemetry.metrics().observe_event_duration(function.subscription().name, started.elapsed());
        self.observe_lag(&handled.entries);
        // Once there is an answer, Lambda freezes the process, and what was not sent waits for the next invocation.
        telemetry.spans().flush(time_for_spans(remaining(context.deadline))).await;
        // Before the answer is held: who watches must not learn of an outage later.
        telemetry.flush(&context.env_config.version, now_ms());
        if handled.answer.is_err() {
            lyceum_log::write_kept();
        }
        let remaining = remaining(context.deadline);
        let held = brake.lock().unwrap_or_else(PoisonError::into_inner).hold(&handled, remaining);
        if !held.is_zero() {
            tracing::info!(seconds = held.as_secs(), "nothing of the batch was settled: the answer is held");
            hold(held, || {
                self.observe_lag(&handled.entries);
                telemetry.flush(&context.env_config.version, now_ms());
            })
            .await;
        }
        handled.answer.map_err(Failed)
    }

    /// Notes how far behind its topics the function is, which grows while an answer is held.
    fn observe_lag(&self, entries: &[Ended]) {
        let subscription = self.function.subscription();
        for (topic, lag) in lag::behind(entries, now_ms()) {
            // What somebody sends by hand may name any topic, and would be a series that is paid for.
            if subscription.topics().any(|known| known == &*topic) {
                self.telemetry.metrics().set_consumer_lag_seconds(&topic, subscription.name, lag);
            }
        }
    }
}

/// How long an answer waits for spans to be sent, where so much is left of the invocation: never so long that it comes too late.
fn time_for_spans(remaining: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(1);
    const FOR_THE_ANSWER: Duration = Duration::from_millis(300);
    remaining.saturating_sub(FOR_THE_ANSWER).min(MOST)
}

/// How often an answer that is held tells how it stands, so that an alarm sees every minute.
const STILL_HELD: Duration = Duration::from_secs(60);

/// Waits for so long; `still` is called after every minute of it.
async fn hold(held: Duration, still: impl Fn()) {
    let until = tokio::time::Instant::now() + held;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        tokio::time::sleep(left.min(STILL_HELD)).await;
        if left <= STILL_HELD {
            return;
        }
        still();
    }
}

/// An invocation that failed as a whole; the runtime logs it and tells Lambda, both in its own words.
struct Failed(HandlerError);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the batch failed as a whole and is redelivered: {}", self.0)
    }
}

impl From<Failed> for Diagnostic {
    fn from(Failed(error): Failed) -> Self {
        Self { error_type: "HandlerError".to_owned(), error_message: error.to_string() }
    }
}

fn now_ms() -> i64 {
    lyceum_core::clock::ms_since_1970(std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_environment_that_was_begun_beforehand_is_no_cold_start() {
        assert!(is_waited_for(None) && is_waited_for(Some("on-demand")));
        assert!(!is_waited_for(Some("provisioned-concurrency")) && !is_waited_for(Some("lambda-managed-instances")));
    }

    #[test]
    fn no_answer_comes_too_late_for_its_spans() {
        let ms = Duration::from_millis;
        for (left, time) in [(60_000, 1_000), (1_300, 1_000), (500, 200), (300, 0), (0, 0)] {
            assert_eq!(time_for_spans(ms(left)), ms(time), "{left}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_held_tells_so_every_minute_and_waits_no_longer() {
        for (seconds, told) in [(1, 0), (58, 0), (60, 0), (61, 1), (298, 4), (838, 13)] {
            let (began, times) = (tokio::time::Instant::now(), Cell::new(0));
            hold(Duration::from_secs(seconds), || times.set(times.get() + 1)).await;
            assert_eq!((began.elapsed(), times.get()), (Duration::from_secs(seconds), told));
        }
    }
}
