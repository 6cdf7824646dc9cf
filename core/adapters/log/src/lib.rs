//! The lines that a process writes of itself, on standard error; and how each record ended, written once, here: what was
//! dead-lettered or is redelivered as a warning, the rest with `LOG_LEVEL=debug`, and one line for the batch.

use std::collections::BTreeMap;

use lyceum_core::environment::LogConfig;
use lyceum_core::outcome::{Observer, Outcome, Report};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A sender's text in the log is cut here, in characters.
const QUOTED_CHARS: usize = 128;

/// Begins to log to standard error, in colours where a person reads it.
///
/// # Errors
/// Where `LOG_LEVEL` is no filter, or the process logs already.
pub fn start(log: &LogConfig, is_terminal: bool) -> anyhow::Result<()> {
    let filter = filter(&log.level)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    if log.is_json {
        let json = lines.with_ansi(false).json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(json).try_init()?;
    } else {
        registry.with(lines.with_ansi(is_terminal)).try_init()?;
    }
    Ok(())
}

/// A level, or one for each of some modules. A word that is neither would pass for the name of a module, and silence all others.
fn filter(level: &str) -> anyhow::Result<Targets> {
    let refused = |why: &str| {
        anyhow::anyhow!(
            "LOG_LEVEL is {level:?}, and must be error, warn, info, debug or trace, or module=level for some, \
             separated by commas: {why}"
        )
    };
    let is_neither = |part: &&str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    if let Some(word) = level.split(',').find(is_neither) {
        return Err(refused(&format!("{word:?} is no level")));
    }
    level.parse().map_err(|error: tracing_subscriber::filter::ParseError| refused(&error.to_string()))
}

/// Writes how records ended.
#[derive(Clone, Copy, Debug)]
pub struct LogObserver;

impl Observer for LogObserver {
    fn observe(&self, reports: &[Report]) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for report in reports {
            *counts.entry(report.outcome.name()).or_default() += 1;
            log(report);
        }
        tracing::info!(records = reports.len(), outcomes = ?counts, "batch processed");
    }
}

/// One line for a record. Findings are logged by their rules: their messages quote what a person may have written, and stand
/// in the dead letter.
fn log(report: &Report) {
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
        Outcome::RetryLater { reason } => record!(warn, "record is redelivered", reason = &**reason),
        Outcome::Applied | Outcome::Duplicate | Outcome::SkippedTombstone | Outcome::Skipped => {
            record!(debug, "record settled")
        }
    }
}

fn quote(text: &str) -> &str {
    text.char_indices().nth(QUOTED_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_and_named() {
        for word in ["wran", "verbose", "warn,debgu", "lyceum_core"] {
            let error = filter(word).unwrap_err().to_string();
            assert!(error.contains("LOG_LEVEL") && error.contains("error, warn, info"), "{error}");
        }
        for level in ["warn", "WARN", "off", "info,lyceum_core=debug", "lyceum_core=trace", " debug"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }
}
