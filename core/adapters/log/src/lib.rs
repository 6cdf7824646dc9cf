//! The lines that a process writes of itself, on standard error; and how records ended, written once, here: one line for a
//! batch, as a warning where records of it were dead-lettered or are redelivered, and with `LOG_LEVEL=debug` one for each record.
//! A store that is down for a day meets every record again and again: a line for each would cost more than the store.

use std::collections::BTreeMap;
use std::fmt::Write;

use lyceum_core::environment::{FunctionLog, LogConfig};
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::trace::SPANS;
use tracing::Subscriber;
use tracing_subscriber::filter::{DynFilterFn, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

pub mod emf;
mod invocation;

use invocation::Sieve;
pub use invocation::{Invocations, write_kept};

/// A sender's text in the log is cut here, in characters.
const QUOTED_CHARS: usize = 128;

/// Who gets the spans of a process, where somebody does.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Begins to log to standard error, in colours where a person reads it; and to hand out spans.
///
/// # Errors
/// Where `LOG_LEVEL` is no filter, or the process logs already.
pub fn start(log: &LogConfig, spans: Option<SpanLayer>, is_terminal: bool) -> anyhow::Result<()> {
    let level = filter(&log.level)?;
    match spans {
        None => begin(log, level, std::io::stderr, is_terminal),
        Some(spans) => begin_with(spans, lines(log, std::io::stderr, is_terminal).with_filter(level)),
    }
}

/// The same of a process that answers invocations, with what they do with lines below `LOG_LEVEL`.
///
/// # Errors
/// As [`start`].
pub fn start_function(
    log: &LogConfig,
    of_function: FunctionLog,
    spans: Option<SpanLayer>,
) -> anyhow::Result<Invocations> {
    if !invocation::is_wanted(&of_function) {
        start(log, spans, false)?;
        return Ok(Invocations(of_function));
    }
    let sieve = Sieve::new(filter(&log.level)?, &of_function);
    let (looks, max) = (sieve.clone(), sieve.max_level());
    match spans {
        None => {
            let filter = DynFilterFn::new(move |of, _| looks.lets_through(of)).with_max_level_hint(max);
            begin(log, filter, sieve, false)?;
        }
        Some(spans) => {
            let filter = DynFilterFn::new(move |of, _| looks.lets_through(of)).with_max_level_hint(max);
            begin_with(spans, lines(log, sieve, false).with_filter(filter))?;
        }
    }
    Ok(Invocations(of_function))
}

fn begin<F, W>(log: &LogConfig, filter: F, writer: W, is_terminal: bool) -> anyhow::Result<()>
where
    F: Layer<Registry> + Send + Sync + 'static,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(filter).with(lines(log, writer, is_terminal)).try_init()?;
    Ok(())
}

/// Each with a filter of its own: a span that no line has may be wanted all the same.
fn begin_with(spans: SpanLayer, lines: impl Layer<Registry> + Send + Sync) -> anyhow::Result<()> {
    tracing_subscriber::registry().with(vec![spans, lines.boxed()]).try_init()?;
    Ok(())
}

fn lines<S, W>(log: &LogConfig, writer: W, is_terminal: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    if log.is_json {
        let json = lines.with_ansi(false).json().flatten_event(true).with_current_span(true).with_span_list(false);
        json.boxed()
    } else {
        lines.with_ansi(is_terminal).boxed()
    }
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
    let level = level.parse::<Targets>().map_err(|error| refused(&error.to_string()))?;
    Ok(level.with_target(SPANS, LevelFilter::OFF))
}

/// Of a batch's warning: so many positions, and so many reasons, in so many characters each.
const POSITIONS: usize = 5;
/// See [`POSITIONS`].
const REASONS: usize = 5;
/// See [`POSITIONS`].
const REASON_CHARS: usize = 300;

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
        let family = reports.first().map(|report| report.family);
        match Trouble::of(reports) {
            None => tracing::info!(family, records = reports.len(), outcomes = ?counts, "batch processed"),
            Some(Trouble { reasons, positions }) => {
                tracing::warn!(
                    family,
                    records = reports.len(),
                    outcomes = ?counts,
                    reasons,
                    positions,
                    "batch processed, and records of it were dead-lettered or are redelivered"
                );
            }
        }
    }
}

/// What went wrong in a batch, in as few words as tell it.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    /// How many records for which reason, the most frequent first.
    reasons: String,
    /// The first records of them, `topic/partition/offset`.
    positions: String,
}

impl Trouble {
    fn of(reports: &[Report]) -> Option<Self> {
        // Seconds and offsets differ from record to record: without its digits one reason is like the other.
        let mut alike: BTreeMap<String, (usize, String)> = BTreeMap::new();
        let mut positions = Vec::new();
        for report in reports {
            let Some(reason) = reason(report) else { continue };
            let key = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
            alike.entry(key).or_insert_with(|| (0, reason)).0 += 1;
            if positions.len() < POSITIONS {
                positions.push(report.position.to_string());
            }
        }
        if alike.is_empty() {
            return None;
        }
        let mut alike: Vec<(usize, String)> = alike.into_values().collect();
        alike.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let rest: usize = alike.iter().skip(REASONS).map(|(count, _)| count).sum();
        let mut reasons = String::new();
        for (at, (count, reason)) in alike.iter().take(REASONS).enumerate() {
            let separator = if at == 0 { "" } else { " | " };
            let _ = write!(reasons, "{separator}{count} × {}", first_chars(reason, REASON_CHARS));
        }
        if rest > 0 {
            let _ = write!(reasons, " | {rest} × other reasons");
        }
        Some(Self { reasons, positions: positions.join(" ") })
    }
}

/// Why a record was dead-lettered or is redelivered. Findings are told by their rules: their messages quote what a person may have
/// written, and stand in the dead letter.
fn reason(report: &Report) -> Option<String> {
    match &report.outcome {
        Outcome::DeadLettered { kind } => Some(format!("{}: {}", kind.name(), rules(report))),
        // What waits behind another record waits for that one's reason.
        Outcome::RetryLater { reason } => {
            let own = reason.strip_prefix("waits behind ").and_then(|rest| rest.split_once(": "));
            Some(own.map_or(&**reason, |(_, reason)| reason).to_owned())
        }
        Outcome::Applied | Outcome::Duplicate | Outcome::SkippedTombstone | Outcome::Skipped => None,
    }
}

fn rules(report: &Report) -> String {
    report.findings.iter().map(|finding| &*finding.rule).collect::<Vec<_>>().join(" ")
}

/// One line for a record, for whoever looks for one.
fn log(report: &Report) {
    macro_rules! record {
        ($message:literal $(, $name:ident = $value:expr)*) => {
            tracing::debug!(
                family = report.family,
                event_type = report.event_type,
                event.id = report.event_id.map(tracing::field::display),
                topic = &*report.position.topic,
                partition = report.position.partition,
                offset = report.position.offset,
                tenant = report.tenant.as_deref().map(|text| first_chars(text, QUOTED_CHARS)),
                correlation_id = report.correlation_id.as_deref().map(|text| first_chars(text, QUOTED_CHARS)),
                trace_id = report.trace_id,
                outcome = report.outcome.name(),
                $($name = $value,)*
                $message
            )
        };
    }
    match &report.outcome {
        Outcome::DeadLettered { kind } => {
            record!("record dead-lettered", kind = kind.name(), rules = rules(report));
        }
        Outcome::RetryLater { reason } => record!("record is redelivered", reason = &**reason),
        Outcome::Applied | Outcome::Duplicate | Outcome::SkippedTombstone | Outcome::Skipped => {
            record!("record settled")
        }
    }
}

fn first_chars(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_core::outcome::{DeadLetterKind, Finding};
    use lyceum_core::record::Position;

    fn reports(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Report> {
        let report = |(offset, outcome)| Report { outcome, ..Report::of(Position::new("t", 0, offset), "training") };
        (0..).zip(outcomes).map(report).collect()
    }

    fn later(reason: impl Into<String>) -> Outcome {
        Outcome::RetryLater { reason: reason.into().into() }
    }

    #[test]
    fn a_batch_that_went_well_has_no_trouble() {
        assert_eq!(Trouble::of(&reports([Outcome::Applied, Outcome::Duplicate, Outcome::SkippedTombstone])), None);
    }

    #[test]
    fn reasons_that_differ_in_numbers_or_in_what_they_wait_behind_are_one() {
        let open = |seconds: f32| format!("the circuit to Kafka has been open for {seconds:.1} s");
        let outcomes = (0..500).map(|at| match at {
            0..400 => later(open(at as f32 / 10.0)),
            400..499 => later(format!("waits behind t/0/{at}: {}", open(at as f32))),
            _ => later("the state changed meanwhile"),
        });
        let trouble = Trouble::of(&reports(outcomes)).unwrap();
        let reasons = "499 × the circuit to Kafka has been open for 0.0 s | 1 × the state changed meanwhile";
        assert_eq!(trouble.reasons, reasons);
        assert_eq!(trouble.positions, "t/0/0 t/0/1 t/0/2 t/0/3 t/0/4");
    }

    #[test]
    fn letters_are_told_by_kind_and_rules_and_never_by_what_a_sender_wrote() {
        let mut reports = reports([Outcome::DeadLettered { kind: DeadLetterKind::Validation }]);
        reports[0].findings.push(Finding {
            rule: "field.type".into(),
            pointer: "/name".to_owned(),
            message: "\"Ada Okafor\" is no number".to_owned(),
            requirement: "catalog".into(),
        });
        assert_eq!(Trouble::of(&reports).unwrap().reasons, "1 × validation: field.type");
    }

    #[test]
    fn a_line_has_the_most_frequent_reasons_and_no_more_than_it_takes() {
        let letter = |at: usize| char::from(b'a' + u8::try_from(at % 26).unwrap()).to_string();
        let many = (0..26).flat_map(|at| vec![later(letter(at).repeat(9_000)); at + 1]);
        let Trouble { reasons, .. } = Trouble::of(&reports(many)).unwrap();
        assert!(reasons.starts_with(&format!("26 × {}", "z".repeat(300))), "{reasons}");
        assert!(reasons.ends_with(&format!(" | {} × other reasons", (1..=21).sum::<usize>())), "{reasons}");
        assert!(reasons.len() < 1_700, "{}", reasons.len());
    }

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
