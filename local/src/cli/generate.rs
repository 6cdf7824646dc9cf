//! `lyceum generate`: events of a made-up academy, into a file, or through the process that owns the data; and what must come out.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use lyceum_core::clock::ms_since_1970;
use lyceum_core::record::{Header, NewRecord};
use lyceum_generate::{Either, Ending, Expected, FROM_MS, Generator, Made, Pace, Plan, Shares, UNFORESEEN};
use lyceum_server::ending::asked_to_end;
use lyceum_server::http::work::PreparedEvent;
use lyceum_server::work::{Prepared, Summary};
use lyceum_xapi::utc_time::{Day, UtcTime};
use serde_json::json;

use super::session::{Owned, Session, beside_mappings, own_or_find, progress_line};
use super::table::{Side, Table};
use super::{Data, Format, say};
use crate::config::Config;
use crate::ingest::{self, Next, Unreadable};
use crate::runtime::Purpose;

/// Events where nobody says how many.
const EVENTS: u64 = 10_000;
/// With a rate, what is due is sent so often.
const TICK: Duration = Duration::from_millis(200);
/// How files of events end.
const FILES: [&str; 4] = [".jsonl", ".ndjson", ".json", ".gz"];
/// All topics.
const ALL: &str = "all";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// How many; without it 10000, and with --rate until Ctrl-C
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Sends so many a second, each as it happens; without it all at once, with times of a past quarter
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// The same seed and options make the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Only of these families, with commas between
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    families: Vec<String>,
    /// Whose they are, with commas between
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "academy")]
    tenants: Vec<String>,
    /// `-`, a file (*.jsonl, *.jsonl.gz), or for the process that owns the data a topic, or `all` of them
    #[arg(long, value_name = "TOPIC|FILE", default_value = "-")]
    to: String,
    /// When the first happens: RFC 3339, or a UTC date
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    from: Option<i64>,
    /// The part that is sent once more, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    duplicates: f64,
    /// The part that comes days after it happened
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    late: f64,
    /// The part that is overtaken by what happened later
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    out_of_order: f64,
    /// The part that can never be applied, of every kind of dead letter
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    broken: f64,
    /// Writes there as JSON what must come out
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Writes there as JSON by which abilities and difficulties answers were drawn
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
    /// How the counts are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn read_time(text: &str) -> Result<i64, String> {
    let day = || text.parse::<Day>().map(|day| day.start());
    let at = UtcTime::from_rfc3339(text).ok().or_else(|| day().ok());
    at.map(UtcTime::as_millis).ok_or_else(|| "write 2026-03-01T09:00:00Z, or 2026-03-01".to_owned())
}

/// Where events go.
enum To {
    StandardOutput,
    File(PathBuf),
    Process,
}

impl Options {
    /// The plan, and where its events go.
    fn read(&self) -> Result<(Plan, To)> {
        let is_file = self.to.contains(['/', '\\']) || FILES.iter().any(|end| self.to.ends_with(end));
        let to = match self.to.as_str() {
            "-" => To::StandardOutput,
            _ if is_file => To::File(self.to.clone().into()),
            _ => To::Process,
        };
        let topic =
            Some(self.to.clone()).filter(|to| matches!(&to[..], name if name != ALL && name != "-" && !is_file));
        let Self { duplicates, late, out_of_order, broken, .. } = *self;
        let now = || ms_since_1970(SystemTime::now());
        let plan = Plan {
            seed: self.seed,
            events: self.events.or(self.rate.is_none().then_some(EVENTS)),
            families: self.families.clone(),
            topic,
            tenants: self.tenants.clone(),
            shares: Shares { duplicates, late, out_of_order, broken },
            from_ms: self.from.unwrap_or_else(|| if self.rate.is_some() { now() } else { FROM_MS }),
            pace: self.rate.map(Pace::Steady),
            is_live: self.rate.is_some(),
            site: None,
        };
        Ok((plan, to))
    }
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let (plan, to) = options.read()?;
    // What is wrong with an option ends as what clap finds wrong with one.
    let generator = Generator::new(plan.clone()).map_err(|error| match error {
        lyceum_generate::PlanError::Topic(named, topics) => Unreadable(format!(
            "--to {named:?} is neither a topic of these families ({}, or all) nor a file, which ends with {} or is named with a \
             folder",
            topics.join(", "),
            FILES.join(", ")
        )),
        other => Unreadable(other.to_string()),
    })?;
    if let Some(path) = &options.truth {
        let academy = lyceum_generate::academy::Academy::new(plan.seed);
        let truth: Vec<_> = plan.tenants.iter().map(|tenant| academy.truth(tenant)).collect();
        write_file(path, &(serde_json::to_string(&truth)? + "\n"))?;
    }
    // Before hours are spent.
    if let Some(path) = &options.expect {
        write_file(path, "")?;
    }
    let made = Paced::new(generator, options.rate);
    let expected = made.expected.clone();
    let is_told_aside = matches!(to, To::StandardOutput);
    let started = Instant::now();
    let summary = match to {
        To::Process => Some(through_process(made, &options, config).await?),
        To::StandardOutput => write_all(made, Box::new(std::io::stdout())).await.map(|()| None)?,
        To::File(path) => {
            let cannot = || format!("cannot write {}", path.display());
            let file = File::create(&path).map_err(|error| Unreadable(format!("{}: {error}", cannot())))?;
            let is_zipped = path.extension().is_some_and(|end| end == "gz");
            let out: Box<dyn Finish + Send> =
                if is_zipped { Box::new(GzEncoder::new(file, Compression::fast())) } else { Box::new(file) };
            write_all(made, out).await.with_context(cannot).map(|()| None)?
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let expected = expected.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(path) = &options.expect {
        write_file(path, &expected.to_json())?;
    }
    let text = match options.format {
        Format::Json => expected.to_json(),
        Format::Table => told(&expected, seconds),
    };
    if is_told_aside {
        eprint!("{text}");
    } else {
        say!("{}", text.trim_end());
    }
    Ok(match summary {
        Some(summary) => judge(&expected, &summary),
        None => ExitCode::SUCCESS,
    })
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let written = std::fs::write(path, text);
    written.map_err(|error| Unreadable(format!("cannot write {}: {error}", path.display())).into())
}

/// Events with the pauses between them, until there are no more or somebody ends them; what must come out is counted as they go.
struct Paced {
    generator: Generator,
    rate: Option<f64>,
    started: Instant,
    made: u64,
    expected: Arc<Mutex<Expected>>,
    is_ended: Arc<AtomicBool>,
}

impl Paced {
    fn new(generator: Generator, rate: Option<f64>) -> Self {
        let is_ended = Arc::new(AtomicBool::new(false));
        // Ctrl-C ends the making, and what was made is still settled and summed up.
        let ended = asked_to_end();
        let told = is_ended.clone();
        tokio::spawn(async move {
            ended.await;
            told.store(true, Ordering::Relaxed);
        });
        Self { generator, rate, started: Instant::now(), made: 0, expected: Arc::default(), is_ended }
    }

    /// The next event, or how long there is none.
    fn step(&mut self) -> Option<Result<Made, Duration>> {
        if self.is_ended.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(rate) = self.rate
            && self.made as f64 / rate > self.started.elapsed().as_secs_f64()
        {
            return Some(Err(TICK));
        }
        let made = self.generator.next()?;
        self.made += 1;
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).add(&made);
        Some(Ok(made))
    }
}

impl Iterator for Paced {
    type Item = Next;

    fn next(&mut self) -> Option<Next> {
        Some(match self.step()? {
            Err(pause) => Next::Pause(pause),
            Ok(Made { topic, key, headers, value, .. }) => Next::Event(Prepared {
                topic: topic.to_owned(),
                record: NewRecord {
                    key: Some(key.into()),
                    value: value.map(Into::into),
                    headers: headers.into_iter().map(|(name, value)| Header::new(name, value)).collect(),
                    ..NewRecord::default()
                },
            }),
        })
    }
}

/// A writer with an end of its own.
trait Finish: Write {
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}

impl Finish for File {
    fn finish(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

impl Finish for GzEncoder<File> {
    fn finish(self: Box<Self>) -> std::io::Result<()> {
        (*self).finish().map(drop)
    }
}

impl Finish for std::io::Stdout {
    fn finish(mut self: Box<Self>) -> std::io::Result<()> {
        self.flush()
    }
}

async fn write_all(mut made: Paced, out: Box<dyn Finish + Send>) -> Result<()> {
    let writing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 18, out);
        let mut line = Vec::new();
        while let Some(next) = made.step() {
            match next {
                Ok(made) => {
                    line.clear();
                    made.write_line(&mut line);
                    out.write_all(&line)?;
                }
                Err(pause) => {
                    out.flush()?;
                    std::thread::sleep(pause);
                }
            }
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
    });
    Ok(writing.await.context("the writing failed")??)
}

/// Publishes the events as `ingest` does, and waits until each is settled.
async fn through_process(made: Paced, options: &Options, config: Config) -> Result<Summary> {
    let bar = progress_line();
    let (summary, failed) = match own_or_find(&options.data.data, &config, Purpose::Process).await? {
        Owned::Here(runtime) => {
            let progress = |at: ingest::Progress| bar.set_message(format!("{} made, {} settled", at.read, at.settled));
            let runtime = Arc::new(*runtime);
            beside_mappings(&runtime, ingest::ingest_made(&runtime.pipeline, made, progress)).await?
        }
        Owned::Elsewhere(session) => through_another(made, &session, &bar).await?,
    };
    bar.finish_and_clear();
    match failed {
        Some(error) => Err(error),
        None => Ok(summary),
    }
}

/// Hands the events, part by part, to the process that owns the data.
async fn through_another(
    made: Paced,
    session: &Session,
    bar: &ProgressBar,
) -> Result<(Summary, Option<anyhow::Error>)> {
    let started = Instant::now();
    let (send, mut parts) = tokio::sync::mpsc::channel::<Vec<Prepared>>(2);
    let making = tokio::task::spawn_blocking(move || {
        ingest::for_each_part(made, |part| send.blocking_send(part).is_ok());
    });
    let mut summary = Summary::default();
    let mut failed = None;
    while let Some(part) = parts.recv().await {
        let events: Vec<PreparedEvent> = part.into_iter().map(PreparedEvent::from).collect();
        match session.post::<Summary>("/api/ingest", &json!({ "events": events })).await {
            Ok(answer) => summary.add(answer),
            Err(error) => {
                let number = events.len();
                failed = Some(error.context(format!("the process did not settle the next {number} events")));
                break;
            }
        }
        bar.set_message(format!("{} settled", summary.read));
    }
    // Whoever makes events stops where nobody takes the next part.
    drop(parts);
    making.await.context("the making of events failed")?;
    summary.took(started.elapsed());
    Ok((summary, failed))
}

/// What must come out, for a person.
fn told(expected: &Expected, seconds: f64) -> String {
    let row = |(Ending { family, event_type, outcome, kind }, count): (&Ending, &u64)| {
        let outcome = kind.map_or_else(|| (*outcome).to_owned(), |kind| format!("{outcome} {kind}"));
        [(*family).to_owned(), (*event_type).to_owned(), outcome, count.to_string()]
    };
    let head = |of| [("family", Side::Left), ("event type", Side::Left), ("must end", Side::Left), (of, Side::Right)];
    let sent = Table::new(head("sent"), expected.sent().iter().map(row));
    let follow_ups: Vec<_> = expected.follow_ups().iter().filter(|(_, count)| **count > 0).map(row).collect();
    let either = expected.either().into_iter().map(|Either { family, event_type, count, .. }| {
        [family.to_owned(), event_type.to_owned(), "applied, or rejected".to_owned(), count.to_string()]
    });
    let follow_ups = Table::new(head("follow"), follow_ups.into_iter().chain(either));
    let sums = expected.sums();
    let dead: u64 = sums.dead_lettered.values().sum();
    let mut text = format!("{sent}\n{follow_ups}");
    text += &format!(
        "\n{} events: {} must be applied, {} duplicate, {dead} dead-lettered, {} skipped\n",
        sums.sent, sums.applied, sums.duplicate, sums.skipped
    );
    text += &format!("not foreseen: how many {} there will be\n", UNFORESEEN.join(" and "));
    text += &format!("made in {seconds:.2} s, {:.0} per second\n", sums.sent as f64 / seconds.max(1e-9));
    text
}

/// Whether what came out is what must: 0, else 1.
fn judge(expected: &Expected, summary: &Summary) -> ExitCode {
    let sums = expected.sums();
    if summary.elsewhere > 0 {
        eprintln!("note: {} events were settled by another process or function; its log says how", summary.elsewhere);
        return ExitCode::SUCCESS;
    }
    let mut wrong = Vec::new();
    let mut compare = |what: &str, must: u64, did: u64| {
        if must != did {
            wrong.push(format!("{what}: {must} must come out, and {did} did"));
        }
    };
    compare("applied", sums.applied, summary.applied);
    compare("duplicate", sums.duplicate, summary.duplicate);
    compare("skipped", sums.skipped, summary.skipped);
    let mut dead = summary.dead_lettered.clone();
    for (kind, must) in &sums.dead_lettered {
        compare(kind, *must, dead.remove(*kind).unwrap_or_default());
    }
    dead.iter().for_each(|(kind, did)| compare(kind, 0, *did));
    compare("given up", 0, summary.given_up);
    compare("not settled", 0, summary.unsettled);
    if wrong.is_empty() {
        say!("{} events came out as they must, {:.0} per second", sums.sent, summary.per_second);
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "error: what came out is not what must:\n  {}\nThe same load counts as duplicate where it was sent before; another --seed is \
         another load",
        wrong.join("\n  ")
    );
    ExitCode::FAILURE
}
