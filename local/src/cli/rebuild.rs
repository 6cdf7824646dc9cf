//! `lyceum rebuild`: builds a projection anew from the log beside the live one, or search documents from what is stored, and swaps it in. The process that owns the data does the
//! work, and goes on with it where this command is cut off.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::clock::Clock;
use lyceum_core::generations::building::{Build, Stage};
use lyceum_core::generations::documents;
use lyceum_server::rebuild::{Compared, Known, Planned};
use lyceum_xapi::utc_time::UtcTime;
use serde::Deserialize;
use serde_json::{Value, json};

use super::say;
use super::session::{Session, encode, progress_line};
use super::table::{Side, Table, escape};
use super::{Data, Format};
use crate::config::Config;

const PATH: &str = "/api/rebuild";
/// How often it is asked how far the work is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// The exit code where two generations differ.
const DIFFERS: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The subscription, or `documents` for the search documents of all; without one, or with `status`, tells which generation of each is
    /// live and how far rebuilds are
    subscription: Option<String>,
    /// Tells what would be read, and does nothing
    #[arg(long, group = "what")]
    dry_run: bool,
    /// Builds it, and leaves the one that is live
    #[arg(long, group = "what")]
    no_swap: bool,
    /// Tells how the live one and the one that was built differ; exit code 3 where they do
    #[arg(long, group = "what")]
    compare: bool,
    /// Makes the one live again that was before the last swap, once it has what came since
    #[arg(long, group = "what")]
    back: bool,
    /// Has nobody go on with the rebuild that is under way
    #[arg(long, group = "what")]
    cancel: bool,
    /// Drops all generations that are neither live nor built, that one among them: there is no way back then
    #[arg(long, group = "what")]
    drop_old: bool,
    /// Does without records that the log has dropped already; documents are not read from the log
    #[arg(long, conflicts_with_all = ["compare", "back", "cancel", "drop_old"])]
    lacking: bool,
    /// How answers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    data: Data,
}

#[derive(Deserialize)]
struct Answer {
    known: Known,
    plan: Option<Planned>,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let (session, _runtime) = Session::open_processing(&options.data.data, &config).await?;
    let Some(name) = options.subscription.as_deref().filter(|name| *name != "status") else {
        let Options { dry_run, no_swap, compare, back, cancel, drop_old, lacking, .. } = options;
        if dry_run || no_swap || compare || back || cancel || drop_old || lacking {
            bail!("name the subscription: `lyceum rebuild` alone lists them");
        }
        return show_status(&session, options.format).await;
    };
    if options.compare {
        return compare(&session, name, options.format).await;
    }
    let action = match () {
        () if options.dry_run => "plan",
        () if options.back => "back",
        () if options.cancel => "cancel",
        () if options.drop_old => "drop",
        () => "start",
    };
    let body = json!({
        "subscription": name, "action": action, "swap": !options.no_swap, "lacking": options.lacking,
    });
    let Answer { known, plan } = session.post(PATH, &body).await?;
    if let Some(plan) = plan {
        return show_plan(&plan, options.format);
    }
    if options.drop_old {
        return show_dropping(&wait_for_dropping(&session, known).await?, options.format);
    }
    let generation = known.build.as_ref().map(|build| build.generation);
    let known = match options.cancel {
        true => known,
        false => wait(&session, name, generation).await?,
    };
    show_end(&known, options.format)
}

/// Waits until the build of that generation ends, or until it is stuck.
async fn wait(session: &Session, name: &str, generation: Option<u32>) -> Result<Known> {
    let bar = progress_line();
    loop {
        let known = known_of(session, name).await?;
        let Some(build) = known.build.as_ref().filter(|build| Some(build.generation) == generation) else {
            bar.finish_and_clear();
            bail!("another rebuild of {name} has begun meanwhile; `lyceum rebuild status` shows it");
        };
        bar.set_message(progress(&known, build));
        match (build.stage, &build.failed) {
            (Stage::Building, Some(why)) if !known.works_here => {
                bar.finish_and_clear();
                bail!("the rebuild of {name} stopped: {why}. What is done stays done: the same command goes on");
            }
            (Stage::Building, _) => {}
            (Stage::Failed, why) => {
                bar.finish_and_clear();
                let why = why.as_deref().unwrap_or("it is not known why");
                bail!("the rebuild of {name} failed: {why}. The live one is as it was; the same command begins anew");
            }
            (Stage::Ready, _) if known.works_here => {}
            (Stage::Ready | Stage::Swapped | Stage::Cancelled, _) => {
                bar.finish_and_clear();
                return Ok(known);
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Waits until all is dropped whose time has come, or until that does not go on.
async fn wait_for_dropping(session: &Session, mut known: Known) -> Result<Known> {
    let bar = progress_line();
    let is_due = |known: &Known| known.drops_from_ms.is_some_and(|from_ms| from_ms <= SystemClock.now_ms());
    while is_due(&known) {
        if let Some(why) = &known.dropping.failed {
            bar.finish_and_clear();
            bail!(
                "generations of {} are not dropped yet: {why}. The process that owns the data goes on",
                known.subscription
            );
        }
        bar.set_message(format!("{} states are gone", known.dropping.states));
        tokio::time::sleep(ASK_EVERY).await;
        known = known_of(session, &known.subscription).await?;
    }
    bar.finish_and_clear();
    Ok(known)
}

/// What is built of it, and of what.
fn words(name: &str) -> (&'static str, &'static str) {
    match name {
        documents::NAME => ("index", "documents"),
        _ => ("generation", "records"),
    }
}

fn progress(known: &Known, build: &Build) -> String {
    let step = if known.is_held { "is swapped in" } else { "is built" };
    let (what, of) = words(&known.subscription);
    if what == "index" && build.documents_from_ms.is_none() && build.failed.is_none() {
        return format!("index {} is there; it is filled once whoever stores does so in both", build.generation);
    }
    let left = known.left_ms.map(|left_ms| format!(", about {} s", left_ms.div_euclid(1_000) + 1)).unwrap_or_default();
    let waits = build.failed.as_ref().map(|why| format!("; waits: {}", escape(why))).unwrap_or_default();
    format!("{what} {} {step}: {} {of}, {} left{left}{waits}", build.generation, known.done, known.left)
}

async fn known_of(session: &Session, name: &str) -> Result<Known> {
    let answer = session.get(PATH, &[]).await?;
    let known: Vec<Known> = read(answer["subscriptions"].clone())?;
    known.into_iter().find(|known| known.subscription == name).context("the process does not know it any more")
}

fn read<T: for<'de> Deserialize<'de>>(answer: Value) -> Result<T> {
    serde_json::from_value(answer).context("the answer has another form than expected; are the releases the same?")
}

async fn show_status(session: &Session, format: Format) -> Result<ExitCode> {
    let answer = session.get(PATH, &[]).await?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let known: Vec<Known> = read(answer["subscriptions"].clone())?;
    let rows = known.iter().map(|known| {
        let build = known.build.as_ref();
        let name = |stage| match stage {
            Stage::Building => "building",
            Stage::Ready => "ready",
            Stage::Swapped => "swapped",
            Stage::Cancelled => "cancelled",
            Stage::Failed => "failed",
        };
        [
            known.subscription.clone(),
            known.live.to_string(),
            build.map_or_else(String::new, |build| build.generation.to_string()),
            build.map_or("", |build| name(build.stage)).to_owned(),
            build.map_or_else(String::new, |_| known.done.to_string()),
            build.filter(|build| build.stage.is_open()).map_or_else(String::new, |_| known.left.to_string()),
            build.and_then(|build| build.failed.clone()).unwrap_or_default(),
        ]
    });
    let head = [
        ("subscription", Side::Left),
        ("live", Side::Right),
        ("rebuilt", Side::Right),
        ("stage", Side::Left),
        ("records", Side::Right),
        ("left", Side::Right),
        ("waits for", Side::Left),
    ];
    say!("{}", Table::new(head, rows).to_string().trim_end());
    for line in known.iter().filter_map(to_be_dropped) {
        say!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `0, 2`
fn list(generations: &BTreeSet<u32>) -> String {
    generations.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// What is to be dropped, and when; nothing where all is done.
fn to_be_dropped(known: &Known) -> Option<String> {
    let from = UtcTime::from_millis(known.drops_from_ms?);
    let (name, generations) = (&known.subscription, list(&known.dropping.generations));
    let failed = known.dropping.failed.as_ref().map(|why| format!("; waits: {}", escape(why))).unwrap_or_default();
    Some(format!("generations of {name} that are dropped from {from} on: {generations}{failed}"))
}

fn show_dropping(known: &Known, format: Format) -> Result<ExitCode> {
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(known)?);
        return Ok(ExitCode::SUCCESS);
    }
    let name = &known.subscription;
    match to_be_dropped(known) {
        Some(line) => say!(
            "{line}. Until then batches may go on that were begun in them; the process that owns the data drops them by itself. \
             There is no way back to them any more"
        ),
        None if known.dropping.dropped.is_empty() => {
            say!("nothing is to be dropped of {name}: {} {} is live", words(name).0, known.live);
        }
        None if name == documents::NAME => {
            say!("deleted are indices {} of documents; index {} is live", list(&known.dropping.dropped), known.live)
        }
        None => say!(
            "dropped are generations {} of {name}, with {} states in all; generation {} is live",
            list(&known.dropping.dropped),
            known.dropping.states,
            known.live
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn show_plan(plan: &Planned, format: Format) -> Result<ExitCode> {
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(plan)?);
        return Ok(ExitCode::SUCCESS);
    }
    let rows = plan.places.iter().flat_map(|(topic, of)| {
        of.iter().map(move |(partition, place)| {
            [topic.clone(), partition.to_string(), place.from.to_string(), place.end.to_string()]
        })
    });
    let head = [("topic", Side::Left), ("partition", Side::Right), ("from", Side::Right), ("to", Side::Right)];
    say!("{}", Table::new(head, rows).to_string().trim_end());
    let (_, of) = words(&plan.subscription);
    say!("{} {of} would be read for {}; nothing was done", plan.records, plan.subscription);
    Ok(ExitCode::SUCCESS)
}

fn show_end(known: &Known, format: Format) -> Result<ExitCode> {
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(known)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(build) = &known.build else { return Ok(ExitCode::SUCCESS) };
    let (name, generation) = (&known.subscription, build.generation);
    let (what, of) = words(name);
    let took_s = (build.updated_ms - build.started_ms).max(0) as f64 / 1_000.0;
    match build.stage {
        Stage::Swapped => say!("{what} {generation} of {name} is live: {} {of} in {took_s:.1} s", known.done),
        Stage::Ready => say!(
            "{what} {generation} of {name} has all: {} {of} in {took_s:.1} s. The one that is live is {}; `lyceum rebuild \
             {name} --compare` tells how they differ, `lyceum rebuild {name}` swaps it in",
            known.done,
            known.live
        ),
        Stage::Cancelled => say!("the rebuild of {name} was cancelled; {what} {} is live", known.live),
        Stage::Building | Stage::Failed => say!("the rebuild of {name} is not done"),
    }
    if name == documents::NAME && matches!(build.stage, Stage::Swapped | Stage::Ready) {
        let count = |what: &str| build.outcomes.get(what).copied().unwrap_or(0);
        say!(
            "fields changed: {}; as they were: {}; of what this release does not read so any more, and kept as they were: {}",
            count(documents::CHANGED),
            count(documents::SAME),
            count(documents::KEPT)
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(session: &Session, name: &str, format: Format) -> Result<ExitCode> {
    let path = format!("{PATH}/compare?subscription={}", encode(name));
    let answer = match session.ask(&path, &[]).await? {
        Ok(answer) => answer,
        Err(why) => bail!("{why}"),
    };
    let compared: Compared = read(answer.clone())?;
    let (comparison, [live, other]) = (&compared.comparison, compared.generations);
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        for of in &comparison.differences {
            let (kind, id, tenant) = (&of.kind, escape(&of.id), escape(&of.tenant));
            let place = if of.pointer.is_empty() { String::new() } else { format!(" at {}", escape(&of.pointer)) };
            say!("{kind} {id} of tenant {tenant}{place}: {} | {}", shown(&of.one), shown(&of.other));
        }
        for of in &comparison.not_all {
            say!("not all were compared: {of}");
        }
        let (same, differing) = (comparison.same, comparison.differing);
        say!(
            "{name}: of {what} {live}, which is live, and {what} {other}, {same} are the same and {differing} differ",
            what = words(name).0
        );
    }
    Ok(if comparison.differing == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}
