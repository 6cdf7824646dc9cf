//! `lyceum replay --shadow`: runs a candidate release over a range beside the present one, without any effect, and says what differs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lyceum_server::ending::asked_to_end;
use lyceum_xapi::utc_time::{Day, UtcTime};
use serde_json::json;

use super::session::{Owned, own_or_find, progress_line};
use super::{Data, Format, say};
use crate::config::Config;
use crate::runtime::{Purpose, Runtime};
use crate::shadow::compare::{Comparison, Found, MAX_CAUSES};
use crate::shadow::protocol::{Settings, Welcome};
use crate::shadow::side::Place;
use crate::shadow::source::{FileRecords, LogRecords, Range, Records};
use crate::shadow::{Outcome, Shadow};

/// Something differs that may not.
const DIFFERS: u8 = 1;
/// Nothing can be said: a side does not answer, a record cannot be read.
const FAILED: u8 = 2;

/// So many causes are printed for people; all of them are in the JSON.
const SHOWN_CAUSES: usize = 50;

/// What is asked for beside the candidate.
#[derive(Debug, Args)]
pub(super) struct ComparedBy {
    /// Of a comparison: with so many differing records the command still ends well
    #[arg(long, value_name = "N", default_value_t = 0, requires = "shadow")]
    at_most: u64,
    /// Of a comparison: the other side, where it is not this very program
    #[arg(long, value_name = "BINARY|URL", requires = "shadow")]
    present: Option<Place>,
    /// Of a comparison: records from this time on are judged by both and not compared, so that both have their states
    #[arg(long, value_name = "TIME", value_parser = read_time, requires = "shadow")]
    warm_up: Option<i64>,
    /// Of a comparison: takes the records from this file instead of the log, or from several, as `lyceum generate` or a replay
    /// writes them; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "shadow")]
    records: Vec<PathBuf>,
    /// Of a comparison: a side that is silent for longer has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "shadow", value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
}

/// A range as other options name it.
pub(super) struct Asked {
    /// Whom to compare with.
    pub(super) candidate: Place,
    /// None: all.
    pub(super) topics: Vec<String>,
    pub(super) from_ms: Option<i64>,
    pub(super) until_ms: Option<i64>,
    pub(super) data: Data,
    pub(super) format: Format,
}

/// Reads a time in milliseconds since 1970 UTC.
pub(super) fn read_time(text: &str) -> Result<i64, String> {
    let day = || text.parse::<Day>().map(|day| day.start());
    let at = UtcTime::from_rfc3339(text).ok().or_else(|| day().ok());
    at.map(UtcTime::as_millis).ok_or_else(|| "write 2026-03-01T09:00:00Z, or 2026-03-01".to_owned())
}

/// Ends with 0 where as little differs as may, with 1 where more does, and with 2 where nothing can be said.
pub(super) async fn run(options: ComparedBy, asked: Asked, config: Config) -> Result<ExitCode> {
    let at_most = options.at_most;
    let format = asked.format;
    let compared = tokio::select! {
        compared = compare(options, asked, config) => compared,
        () = asked_to_end() => Err(anyhow::anyhow!("it was ended before all was compared")),
    };
    match compared {
        Ok((welcomes, outcome, took)) => {
            let is_passed = outcome.comparison.differing() <= at_most;
            match format {
                Format::Table => print(&welcomes, &outcome, took, at_most),
                Format::Json => print_json(&welcomes, &outcome, took, at_most)?,
            }
            Ok(if is_passed { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(FAILED))
        }
    }
}

async fn compare(options: ComparedBy, asked: Asked, config: Config) -> Result<([Welcome; 2], Outcome, Duration)> {
    let ComparedBy { present, warm_up, records, patience, .. } = options;
    let Asked { candidate, topics, from_ms, until_ms, data, .. } = asked;
    let range = Range { topics, from_ms, until_ms, warm_up_ms: warm_up };
    check(&range)?;
    let present = match present {
        Some(place) => place,
        None => Place::Program(std::env::current_exe().context("cannot find this program; name it with --present")?),
    };
    let settings = Settings::of(&config.server.process);
    let patience = Duration::from_secs(patience);
    // Before the sides are started: it is the likelier mistake.
    let (records, _runtime) = match records.as_slice() {
        paths @ [_, ..] => (Source::File(FileRecords::open(paths, &range)?), None),
        [] => {
            let runtime = open_log(&data, &config).await?;
            (Source::Log(runtime.stores.event_log.clone()), Some(runtime))
        }
    };
    let shadow = Shadow::open(present, candidate, settings, patience, config.token.as_ref()).await?;
    let records = match records {
        Source::File(file) => Records::File(file),
        Source::Log(log) => Records::Log(LogRecords::open(log, &range, &shadow.topics()).await?),
    };
    let welcomes = shadow.welcomes.clone();
    let line = progress_line();
    let started = Instant::now();
    let outcome = shadow
        .run(records, |judged, comparison: &Comparison| {
            line.set_message(format!("{judged} records judged, {} differ", comparison.differing()));
        })
        .await;
    line.finish_and_clear();
    Ok((welcomes, outcome?, started.elapsed()))
}

enum Source {
    File(FileRecords),
    Log(std::sync::Arc<dyn lyceum_core::ports::event_log::EventLog>),
}

fn check(range: &Range) -> Result<()> {
    let Range { from_ms, until_ms, warm_up_ms, .. } = range;
    if let (Some(from), Some(until)) = (from_ms, until_ms)
        && from >= until
    {
        bail!("--from has to be before --until: there is nothing between them");
    }
    match (warm_up_ms, from_ms) {
        (Some(_), None) => bail!("--warm-up needs --from: it ends where the comparison begins"),
        (Some(warm_up), Some(from)) if warm_up >= from => bail!("--warm-up has to be before --from"),
        _ => Ok(()),
    }
}

/// The log to read from: the folder's, or Kafka.
async fn open_log(data: &Data, config: &Config) -> Result<Runtime> {
    let is_kafka = config.server.stores.kafka.is_some();
    if !is_kafka && !crate::data_folder::DataFolder::is_one(&data.data) {
        bail!(
            "no data in {}; name the folder with --data or LYCEUM_DATA, a Kafka with --kafka, or a file with --records",
            data.data.display()
        );
    }
    match own_or_find(&data.data, config, Purpose::Look).await? {
        Owned::Here(runtime) => Ok(*runtime),
        Owned::Elsewhere(_) => bail!(
            "{} is in use by another process, which alone reads its log: end that one first, or name a file with --records",
            data.data.display()
        ),
    }
}

fn print(welcomes: &[Welcome; 2], outcome: &Outcome, took: Duration, at_most: u64) {
    let Outcome { comparison, warmed_up, topics } = outcome;
    let [present, candidate] = welcomes.each_ref().map(|of| of.release.as_str());
    let warm_up = if *warmed_up > 0 { format!(" ({warmed_up} before them were judged only)") } else { String::new() };
    say!(
        "{} records of {} topic{}{warm_up}: release {present} beside the candidate, {candidate}; {:.1} s",
        comparison.records(),
        topics.len(),
        if topics.len() == 1 { "" } else { "s" },
        took.as_secs_f64()
    );
    let (differing, consequences) = (comparison.differing(), comparison.consequences());
    if differing == 0 {
        say!("no difference");
        return;
    }
    let build = match consequences {
        0 => String::new(),
        some => format!(", {some} of them on what differed before"),
    };
    say!("{differing} records differ{build}; {at_most} may");
    let found = comparison.found();
    for of in found.iter().take(SHOWN_CAUSES) {
        print_cause(of);
    }
    if found.len() > SHOWN_CAUSES {
        say!("\n… and {} causes more; --format json has all", found.len() - SHOWN_CAUSES);
    }
    if comparison.beyond() > 0 {
        say!("{} differences had other causes than the first {MAX_CAUSES}", comparison.beyond());
    }
}

fn print_cause(found: &Found) {
    let Found { cause, count, consequences, example } = found;
    let build = match consequences {
        0 => String::new(),
        some if some == count => ", all on what differed before".to_owned(),
        some => format!(", {some} on what differed before"),
    };
    say!("\n{count} x {} {}: {} {}{build}", cause.by, cause.event_type, cause.part, cause.what);
    let event = example.event_id.as_ref().map(|id| format!(", event {id}")).unwrap_or_default();
    let tenant = example.tenant.as_ref().map(|tenant| format!(" of {tenant}")).unwrap_or_default();
    say!("  at {}{event}{tenant}: {}", example.at, example.pointer);
    say!("  present:   {}", example.present.as_deref().unwrap_or("nothing"));
    say!("  candidate: {}", example.candidate.as_deref().unwrap_or("nothing"));
}

fn print_json(welcomes: &[Welcome; 2], outcome: &Outcome, took: Duration, at_most: u64) -> Result<()> {
    let Outcome { comparison, warmed_up, topics } = outcome;
    let [present, candidate] = welcomes;
    let document = json!({
        "present": {"release": present.release, "subscriptions": present.subscriptions},
        "candidate": {"release": candidate.release, "subscriptions": candidate.subscriptions},
        "topics": topics,
        "records": comparison.records(),
        "warmed_up": warmed_up,
        "differing": comparison.differing(),
        "consequences": comparison.consequences(),
        "at_most": at_most,
        "passed": comparison.differing() <= at_most,
        "seconds": took.as_secs_f64(),
        "causes": comparison.found(),
        "beyond": comparison.beyond(),
    });
    say!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}
