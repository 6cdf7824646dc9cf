//! `lyceum ingest`: publishes events from files and waits until every one of them is settled.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use lyceum_server::access::Access;
use lyceum_server::dead_letters::letters::BEHIND;
use lyceum_server::ending::asked_to_end;
use lyceum_server::http::work::PreparedEvent;
use lyceum_server::work::Summary;
use serde_json::json;

use super::capacity;
use super::say;
use super::session::{EVERY_TENANT, Owned, Session, beside_mappings, own_or_find, progress_line};
use super::{Data, Format, code_of};
use crate::config::Config;
use crate::ingest::{self, Unreadable};
use crate::runtime::Purpose;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// JSON lines, JSON arrays, or gzip of either, in UTF-8; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Publishes every event there; without it each goes to the topic of its event type
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The tenant of every event; without it, the one that an event names, else DEFAULT_TENANT
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Sends also a file that looks as if it held no events: every line of it may become a dead letter
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: Data,
    /// How the summary is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Options {
    fn how(&self) -> ingest::Options {
        ingest::Options { topic: self.topic.clone(), tenant: self.tenant.clone(), force: self.force }
    }
}

/// Exit code where something was dead-lettered.
const DEAD_LETTERED: u8 = 3;

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    if options.tenant.as_deref() == Some(EVERY_TENANT) {
        bail!("an event belongs to one tenant: name that one with --tenant");
    }
    check_any_opens(&options.files)?;
    let bar = progress_line();
    let (summary, failed) = match own_or_find(&options.data.data, &config, Purpose::Process).await? {
        Owned::Here(runtime) => {
            let progress = |at: ingest::Progress| bar.set_message(format!("{} read, {} settled", at.read, at.settled));
            let runtime = Arc::new(*runtime);
            let work = async {
                tokio::select! {
                    done = ingest::ingest(&runtime.pipeline, options.files.clone(), options.how(), progress) => done,
                    () = asked_to_end() => Err(anyhow::anyhow!(
                        "ended before everything was settled; what was published stays and is settled at the next start. \
                         Ingesting the files once more is harmless: what was applied counts as duplicate"
                    )),
                }
            };
            let (mut summary, failed) = beside_mappings(&runtime, work).await?;
            let dead_letters = runtime.http_services(Access::open()).dead_letters;
            if let Err(error) = summary.look_up_refused(&*dead_letters, None).await {
                tracing::warn!(%error, "it cannot be looked up which events were refused before");
            }
            (summary, failed)
        }
        Owned::Elsewhere(session) => ingest_elsewhere(&session, &options, &bar).await?,
    };
    bar.finish_and_clear();
    print(&summary, options.format)?;
    if let Some(error) = failed {
        eprintln!("error: {error:#}");
        return Ok(code_of(&error));
    }
    Ok(match summary.dead_lettered.is_empty() {
        _ if summary.not_published_total > 0 => ExitCode::FAILURE,
        false => ExitCode::from(DEAD_LETTERED),
        true => ExitCode::SUCCESS,
    })
}

/// Refuses before anything is opened, where no file can be read at all; one that can be read among others is ingested.
fn check_any_opens(files: &[PathBuf]) -> Result<()> {
    let mut failures = Vec::new();
    for file in files {
        match std::fs::File::open(file) {
            Err(error) if file.as_os_str() != "-" => failures.push(format!("cannot open {}: {error}", file.display())),
            _ => return Ok(()),
        }
    }
    Err(Unreadable(failures.join("\n")).into())
}

/// Hands the events, part by part, to the process that owns the data.
async fn ingest_elsewhere(
    session: &Session,
    options: &Options,
    bar: &ProgressBar,
) -> Result<(Summary, Option<anyhow::Error>)> {
    let started = Instant::now();
    let (send, mut parts) = tokio::sync::mpsc::channel(2);
    let (files, how) = (options.files.clone(), options.how());
    let router = crate::routing::Router::default();
    let reading = tokio::task::spawn_blocking(move || {
        ingest::parts(&files, &how, &router, |events, summary| send.blocking_send((events, summary)).is_ok())
    });
    let mut summary = Summary::default();
    let mut failed = None;
    let ended = asked_to_end();
    tokio::pin!(ended);
    loop {
        let part = tokio::select! {
            part = parts.recv() => part,
            () = &mut ended => return Ok(end_early(summary, 0, started)),
        };
        let Some((events, not_published)) = part else { break };
        summary.add(not_published);
        if events.is_empty() {
            continue;
        }
        let events: Vec<PreparedEvent> = events.into_iter().map(PreparedEvent::from).collect();
        let body = json!({ "events": events });
        let answer = tokio::select! {
            answer = session.post("/api/ingest", &body) => answer,
            () = &mut ended => return Ok(end_early(summary, events.len(), started)),
        };
        match answer {
            Ok(answer) => summary.add(answer),
            Err(error) => {
                failed = Some(error.context(format!(
                    "the process did not settle the next {} events, and nothing behind them was sent to it; ingest the files once \
                     more when it is healthy",
                    events.len()
                )));
                break;
            }
        }
        bar.set_message(format!("{} settled", summary.read));
    }
    // Whoever reads stops where nobody takes the next part.
    drop(parts);
    let read = reading.await.context("the reading of files failed")?;
    summary.took(started.elapsed());
    Ok((summary, failed.or(read.err())))
}

/// What a person is told who ends an ingestion: what was taken, what may have been, and that repeating it is harmless.
fn end_early(mut summary: Summary, under_way: usize, started: Instant) -> (Summary, Option<anyhow::Error>) {
    summary.took(started.elapsed());
    let taken = summary.read - summary.not_published_total;
    let under_way = match under_way {
        0 => String::new(),
        number => {
            format!("; the {number} events behind them were on their way, and the process settles what it got of them")
        }
    };
    let error = anyhow::anyhow!(
        "ended before everything was sent: {taken} events were taken and settled{under_way}. Ingesting the files once more is \
         harmless: what was applied counts as duplicate"
    );
    (summary, Some(error))
}

fn print(summary: &Summary, format: Format) -> Result<()> {
    if format == Format::Json {
        say!("{}", serde_json::to_string(summary)?);
        return Ok(());
    }
    let dead: u64 = summary.dead_lettered.values().sum();
    say!("read           {:>10}", summary.read);
    say!("applied        {:>10}", summary.applied);
    say!("duplicate      {:>10}", summary.duplicate);
    say!("dead-lettered  {dead:>10}");
    for (kind, count) in &summary.dead_lettered {
        say!("  {kind:<12} {count:>10}");
    }
    if summary.skipped > 0 {
        say!("skipped        {:>10}  (records without a value)", summary.skipped);
    }
    if summary.elsewhere > 0 {
        say!("elsewhere      {:>10}  (settled by another process or function; its log says how)", summary.elsewhere);
    }
    if summary.given_up > 0 {
        say!("given up       {:>10}  (the log says why)", summary.given_up);
    }
    if summary.unsettled > 0 {
        say!("not settled    {:>10}  (the next start settles them)", summary.unsettled);
    }
    if summary.not_published_total > 0 {
        say!("not published  {:>10}", summary.not_published_total);
        for line in &summary.not_published {
            say!("  {line}");
        }
    }
    for file in &summary.empty_files {
        say!("{file} is empty: it holds no event");
    }
    say!("in {:.2} s, {:.0} per second", summary.seconds, summary.per_second);
    for line in summary.capacity.iter().flat_map(|capacity| capacity::lines("", capacity)) {
        say!("{line}");
    }
    if dead > 0 {
        say!("`lyceum dead-letters list` shows what is wrong with them");
    }
    if summary.is_behind {
        say!("whether they were refused before is not known of all: {BEHIND}");
    }
    if let [letters @ .., last] = summary.refused_before.as_slice() {
        let shown: Vec<String> = letters.iter().rev().take(2).rev().chain([last]).map(ToString::to_string).collect();
        let number = summary.refused_before.len();
        let were = if number == 1 { "was" } else { "were" };
        say!("{number} {were} refused before, under the same id, and that stands. If the cause is mended:");
        say!("  lyceum dead-letters replay {}", shown.join(" "));
    }
    let settled_here = summary.applied + summary.duplicate + dead + summary.skipped + summary.given_up;
    let accounted = settled_here + summary.elsewhere + summary.unsettled + summary.not_published_total;
    if accounted != summary.read {
        bail!("{} of {} events are accounted for: this is a defect, please report it", accounted, summary.read);
    }
    Ok(())
}
