//! What a function tells of itself: lines of JSON for CloudWatch Logs, metrics in the embedded metric format, and spans.
//!
//! Every line of an invocation has its `request_id` and X-Ray trace.

use std::io::Write;
use std::sync::Arc;

use lyceum_around::lazily::Settings;
use lyceum_core::environment::{FunctionLog, LogConfig};
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Observers};
use lyceum_log::{Invocations, LogObserver};
use lyceum_spans::{Headers, Spans, SpansSettings};

use lyceum_log::emf;

/// Log, metrics and spans of a function.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    namespace: String,
    invocations: Invocations,
    spans: Spans,
}

impl Telemetry {
    /// Begins to log to standard error, to keep metrics, and to make spans where they go somewhere; `shown` is what a collector is
    /// shown, where that may change.
    ///
    /// # Errors
    /// Where `LOG_LEVEL` is no filter, the process logs already, or no span can be sent.
    pub fn start(
        log: &LogConfig,
        of_function: FunctionLog,
        spans: Option<SpansSettings>,
        shown: Option<Box<dyn Settings<Headers>>>,
        namespace: String,
    ) -> anyhow::Result<Self> {
        let (spans, layer) = Spans::start(spans, shown)?;
        let invocations = lyceum_log::start_function(log, of_function, layer)?;
        let metrics = Arc::new(Metrics::with_samples());
        spans.count_in(&metrics);
        Ok(Self { metrics, namespace, invocations, spans })
    }

    /// How invocations log.
    pub(crate) fn invocations(&self) -> Invocations {
        self.invocations
    }

    /// The spans.
    pub(crate) fn spans(&self) -> &Spans {
        &self.spans
    }

    /// The metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Who is told how records ended.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Observers(vec![self.metrics.clone(), Arc::new(LogObserver)]))
    }

    /// Counts the first invocation of an environment, whose sender waited for it to begin.
    pub(crate) fn count_cold_start(&self, function: &str, at_ms: i64) {
        write(&[emf::cold_start(&self.namespace, function, at_ms)]);
    }

    /// Writes the metrics of what this version did since the last call to standard output, from where Lambda takes them.
    pub(crate) fn flush(&self, version: &str, at_ms: i64) {
        write(&emf::documents(&self.namespace, version, at_ms, self.metrics.take_samples()));
    }
}

fn write(documents: &[String]) {
    if documents.is_empty() {
        return;
    }
    let text = documents.join("\n") + "\n";
    // One call, so that no other line comes between; where standard output is gone, nobody reads metrics.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
