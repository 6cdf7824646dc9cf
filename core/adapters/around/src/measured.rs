//! Any adapter, with the time of each call in the metrics, `lyceum_store_duration_seconds{store,operation}`, and with a span of each,
//! where spans are on and the call is of a batch.

use std::sync::Arc;
use std::time::Instant;

use crate::around::{Around, Call, LEDGER, LOG, SCHEMAS, StoreError, Wrapped};
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::Effect;
use lyceum_core::trace::SPANS;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

/// An adapter whose calls are measured.
pub type Measured<S> = Wrapped<S, Meter>;

/// Measures calls.
pub struct Meter(Arc<Metrics>);

impl<S> Measured<S> {
    /// Measures the calls of the adapter that comes from there.
    pub fn new(source: S, metrics: Arc<Metrics>) -> Self {
        Self::around(source, Meter(metrics))
    }
}

impl Around for Meter {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        outage: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        let span = span(call);
        let mut running =
            Running { metrics: &self.0, call, started: Instant::now(), error: Some(ABANDONED), span: span.clone() };
        let answer = work.instrument(span).await;
        running.error = answer.as_ref().err().map(StoreError::kind);
        if !running.span.is_disabled() {
            match &answer {
                Err(error) => running.failed_as(error.kind(), error),
                Ok(answer) => {
                    if let Some(why) = outage(answer) {
                        running.failed_as("unavailable", &format_args!("nothing of it was taken: {why}"));
                    }
                }
            }
        }
        answer
    }
}

/// The span of a call. Names of attributes: OpenTelemetry's semantic conventions of databases and of messaging.
fn span(call: Call) -> Span {
    let Call { store, operation, effect } = call;
    if store == LOG {
        let kind = if effect == Effect::Write { "producer" } else { "client" };
        return tracing::info_span!(
            target: SPANS,
            "event_log",
            otel.name = format_args!("{store} {operation}"),
            otel.kind = kind,
            messaging.system = "kafka",
            messaging.operation.name = operation,
            lyceum.store = store,
            error.r#type = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
    }
    if store == SCHEMAS {
        return tracing::info_span!(
            target: SPANS,
            "schemas",
            otel.name = format_args!("{store} {operation}"),
            otel.kind = "client",
            lyceum.store = store,
            error.r#type = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
    }
    tracing::info_span!(
        target: SPANS,
        "store",
        otel.name = format_args!("{store} {operation}"),
        otel.kind = "client",
        db.system.name = if store == LEDGER { "aws.dynamodb" } else { "elasticsearch" },
        db.operation.name = operation,
        lyceum.store = store,
        error.r#type = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    )
}

/// The kind of error of a call that its caller did not wait for.
pub const ABANDONED: &str = "abandoned";

/// A call under way; it is counted also where its caller gives it up.
struct Running<'a> {
    metrics: &'a Metrics,
    call: Call,
    started: Instant,
    error: Option<&'static str>,
    span: Span,
}

impl Running<'_> {
    fn failed_as(&self, kind: &'static str, why: &impl std::fmt::Display) {
        self.span.record("error.type", kind);
        self.span.record("otel.status_code", "ERROR");
        self.span.record("otel.status_description", display(why));
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.error == Some(ABANDONED) {
            self.failed_as(ABANDONED, &"nobody waited for its answer");
        }
        self.metrics.observe_store_duration(self.call.store, self.call.operation, self.started.elapsed());
        if let Some(kind) = self.error {
            self.metrics.count_store_error(self.call.store, kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;
    use lyceum_core::ports::ledger::LedgerError;

    async fn measure(metrics: &Arc<Metrics>, work: impl Future<Output = Result<(), LedgerError>> + Send) {
        let call = Call::read("ledger", "load");
        let _ = tokio::time::timeout(Duration::from_secs(1), Meter(metrics.clone()).call(call, work, |_| None)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_waited_for_is_told_like_one_that_failed() {
        let metrics = Arc::new(Metrics::new());
        measure(&metrics, async { Ok(()) }).await;
        measure(&metrics, async { Err(LedgerError::Conflict) }).await;
        measure(&metrics, pending()).await;
        let told = metrics.encode();
        for line in [
            r#"lyceum_store_duration_seconds_count{store="ledger",operation="load"} 3"#,
            r#"lyceum_store_errors_total{store="ledger",kind="conflict"} 1"#,
            r#"lyceum_store_errors_total{store="ledger",kind="abandoned"} 1"#,
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
}
