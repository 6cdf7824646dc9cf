//! What every function runs on AWS Lambda: telemetry, services from the environment, the runtime.
//!
//! A function's `main.rs` is wiring: it names the family and whether it keeps state. Each client is made once for an
//! environment and only when a batch needs it, so that a cold start pays for what its batch uses.

pub mod emf;
mod environment;
mod telemetry;

use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lyceum_core::process::Subscriber;
use lyceum_lambda_event::brake::Brake;
use lyceum_lambda_event::handler::{HandlerError, process};
use lyceum_lambda_event::response::BatchResponse;
use serde_json::value::RawValue;
use tracing::Instrument;

pub use environment::Environment;
pub use telemetry::Telemetry;

/// Runs a function: `wire` gets the environment, secrets included, and makes it. Ends when Lambda ends the process, or
/// with a failure that is told in one line of JSON.
pub fn run<W>(wire: impl FnOnce(Environment) -> W) -> ExitCode
where
    W: Future<Output = Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let environment = Environment(lyceum_secrets::Environment::load().await?);
            wire(environment).await
        })
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line =
                serde_json::json!({"level": "ERROR", "message": format!("the function cannot start: {error:#}")});
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

impl Telemetry {
    /// Answers invocations until Lambda ends the process.
    ///
    /// # Errors
    /// Where Lambda's runtime interface does not answer.
    pub async fn serve(self, function: impl Subscriber + 'static) -> Result<()> {
        let serving = Arc::new(Serving { telemetry: self, function, brake: Mutex::default() });
        let answer = service_fn(|event: LambdaEvent<Box<RawValue>>| {
            let serving = serving.clone();
            let context = &event.context;
            // At the level of errors, so that a line of any level has it.
            let span = tracing::error_span!(
                "invocation",
                request_id = context.request_id,
                xray_trace_id = context.xray_trace_id,
                function_version = context.env_config.version,
            );
            async move { serving.invoke(event).await }.instrument(span)
        });
        lambda_runtime::Runtime::new(answer).run().await.map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// What invocations share.
struct Serving<F> {
    telemetry: Telemetry,
    function: F,
    brake: Mutex<Brake>,
}

impl<F: Subscriber> Serving<F> {
    /// One invocation: the payload's own bytes in, since a typed event would fail a whole batch for one malformed record.
    async fn invoke(&self, event: LambdaEvent<Box<RawValue>>) -> Result<BatchResponse, Failed> {
        let Self { telemetry, function, brake } = self;
        let LambdaEvent { payload, context, .. } = event;
        let started = Instant::now();
        let deadline_ms = i64::try_from(context.deadline).unwrap_or(i64::MAX);
        let handled = process(function, payload.get().as_bytes(), deadline_ms).await;
        drop(payload);
        telemetry.metrics().observe_event_duration(function.subscription().name, started.elapsed());
        // Before the answer is held back: who watches must not learn of an outage later.
        telemetry.flush(&context.env_config.version, now_ms());
        let remaining = Duration::from_millis(u64::try_from(deadline_ms.saturating_sub(now_ms())).unwrap_or(0));
        let held = brake.lock().unwrap_or_else(PoisonError::into_inner).hold(&handled, remaining);
        if !held.is_zero() {
            tracing::info!(seconds = held.as_secs(), "nothing of the batch was settled: the answer is held back");
            tokio::time::sleep(held).await;
        }
        handled.answer.map_err(Failed)
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
