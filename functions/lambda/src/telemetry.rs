//! What a function tells of itself: lines of JSON for CloudWatch Logs, and metrics in the embedded metric format.
//!
//! Every line of an invocation has its `request_id` and X-Ray trace. How a record ended is told once, here: what was
//! dead-lettered or comes again as a warning, the rest with `LOG_LEVEL=debug`, and one line for the batch.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use lyceum_core::environment::{FUNCTION_VARIABLES, LogConfig, Reading};
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Outcome, Report};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::emf;

/// A sender's text in the log is cut here, in characters.
const QUOTED_CHARS: usize = 128;

/// Log and metrics of a function.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    namespace: String,
}

impl Telemetry {
    /// Begins to log to standard error, and to keep metrics.
    ///
    /// # Errors
    /// Where `LOG_LEVEL` is no filter, or the process logs already.
    pub fn start(log: &LogConfig, namespace: String) -> anyhow::Result<Self> {
        let filter: Targets = log.level.parse().map_err(|error| anyhow::anyhow!("LOG_LEVEL: {error}"))?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
        let registry = tracing_subscriber::registry().with(filter);
        if log.is_json {
            let json = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
            registry.with(json).try_init()?;
        } else {
            registry.with(lines).try_init()?;
        }
        Ok(Self { metrics: Arc::new(Metrics::with_samples()), namespace })
    }

    /// Reads where metrics go.
    pub(crate) fn namespace(reading: &Reading<'_>) -> String {
        reading.text(FUNCTION_VARIABLES, "METRICS_NAMESPACE")
    }

    /// The metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Who is told how records ended.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Told { metrics: self.metrics.clone() })
    }

    /// Writes the metrics of what happened since the last call to standard output, from where Lambda takes them.
    pub(crate) fn flush(&self, at_ms: i64) {
        let documents = emf::documents(&self.namespace, at_ms, self.metrics.take_samples());
        if documents.is_empty() {
            return;
        }
        let text = documents.join("\n") + "\n";
        // One call, so that no other line comes between; where standard output is gone, nobody reads metrics.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
}

struct Told {
    metrics: Arc<Metrics>,
}

impl Observer for Told {
    fn observe(&self, reports: &[Report]) {
        self.metrics.observe(reports);
        self.metrics.observe_batch_size(reports.len());
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for report in reports {
            *counts.entry(report.outcome.name()).or_default() += 1;
            tell(report);
        }
        tracing::info!(records = reports.len(), outcomes = ?counts, "batch processed");
    }

    fn retried(&self, family: &'static str) {
        self.metrics.count_retry(family);
    }
}

/// One line for a record. Findings are told by their rules: their messages quote what a person may have written, and stand
/// in the dead letter.
fn tell(report: &Report) {
    macro_rules! record {
        ($log:ident, $message:literal $(, $name:ident = $value:expr)*) => {
            tracing::$log!(
                family = report.family,
                event_type = report.event_type,
                event.id = report.event_id.map(tracing::field::display),
                topic = &*report.position.topic,
                partition = report.position.partition,
                offset = report.position.offset,
                tenant = report.tenant.as_deref().map(quote),
                correlation_id = report.correlation_id.as_deref().map(quote),
                trace_id = report.trace_id,
                outcome = report.outcome.name(),
                $($name = $value,)*
                $message
            )
        };
    }
    match &report.outcome {
        Outcome::DeadLettered { kind } => {
            let rules = report.findings.iter().map(|finding| &*finding.rule).collect::<Vec<_>>().join(" ");
            record!(warn, "record dead-lettered", kind = kind.name(), rules = rules);
        }
        Outcome::RetryLater { reason } => record!(warn, "record comes again", reason = reason.as_str()),
        Outcome::Applied | Outcome::Duplicate | Outcome::SkippedTombstone => record!(debug, "record settled"),
    }
}

fn quote(text: &str) -> &str {
    text.char_indices().nth(QUOTED_CHARS).map_or(text, |(end, _)| &text[..end])
}
