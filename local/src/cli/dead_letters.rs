//! `lyceum dead-letters`: looks at dead letters and sends them again.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde_json::{Value, json};

use super::say;
use super::session::{EVERY_TENANT, Session, segment};
use super::{Data, Format, one_of};
use crate::config::Config;

mod import;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists them, the newest first
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// How they are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Shows one with everything that is known of it
    Show {
        /// topic/partition/offset of the letter
        position: Position,
        #[command(flatten)]
        data: Data,
    },
    /// Sends the originals again; those sent three times stay parked unless named by their position
    Replay(Replay),
    /// Makes dead letters of what AWS Lambda gave up and wrote to an on-failure destination
    Import(import::Options),
}

#[derive(Debug, Args)]
struct Replay {
    /// topic/partition/offset of letters; without, all that match and wait
    positions: Vec<Position>,
    #[command(flatten)]
    which: Which,
    /// Shows what would go where and why it failed, and sends nothing
    #[arg(long)]
    dry_run: bool,
    /// At most so many
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    /// At most so many a second, so that what reads the topics is not flooded
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_second: Option<u32>,
    /// Sends named letters once more though they were sent again already
    #[arg(long, requires = "positions")]
    again: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// The topic that the event was on, or the dead-letter topic
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, value_parser = kind, help = one_of(DeadLetterKind::ALL.map(DeadLetterKind::name)))]
    kind: Option<DeadLetterKind>,
    /// Whose they are; `*` is every tenant's, and those of nobody [default: whom the token names, else DEFAULT_TENANT]
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    data: Data,
}

fn kind(name: &str) -> Result<DeadLetterKind, String> {
    let names = || DeadLetterKind::ALL.map(DeadLetterKind::name).join(", ");
    DeadLetterKind::from_name(name).ok_or_else(|| format!("there is {}", names()))
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    match options.action {
        Action::List { which, limit, format } => list(&which, limit, format, &config).await,
        Action::Show { position, data } => show(&position, &data, &config).await,
        Action::Replay(options) => replay(&options, &config).await,
        Action::Import(options) => import::run(&options, &config).await,
    }
}

async fn list(which: &Which, limit: usize, format: Format, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&which.data.data, config).await?;
    let limit = limit.to_string();
    let query = [
        ("topic", which.topic.as_deref()),
        ("kind", which.kind.map(DeadLetterKind::name)),
        ("tenant", session.tenant(which.tenant.as_deref())),
        ("limit", Some(limit.as_str())),
    ];
    let answer = session.get("/api/dead-letters", &query).await?;
    let letters = answer["dead_letters"].as_array().cloned().unwrap_or_default();
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        session.tell_other_tenants(session.tenant(which.tenant.as_deref())).await;
        say!("no dead letters");
    }
    if let Some(more @ 1..) = answer["not_indexed"].as_u64() {
        say!(
            "{more} further records of dead-letter topics come after these; send some again, or wait until some expire"
        );
    }
    for letter in &letters {
        let mark = match (letter["is_replayed"] == true, letter["is_parked"] == true) {
            (true, _) => "  (sent again)",
            (false, true) => "  (parked)",
            _ => "",
        };
        let text = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
        say!("{:<32} {:<12} from {}{mark}", text("position"), text("kind"), text("source"));
        for finding in letter["findings"].as_array().into_iter().flatten() {
            let (pointer, message) =
                (finding["pointer"].as_str().unwrap_or(""), finding["message"].as_str().unwrap_or(""));
            say!(
                "    {}{message} [{}]",
                if pointer.is_empty() { String::new() } else { format!("{pointer}: ") },
                finding["rule"].as_str().unwrap_or("")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(position: &Position, data: &Data, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&data.data, config).await?;
    let path = format!("/api/dead-letters/{}/{}/{}", segment(&position.topic), position.partition, position.offset);
    match session.find(&path, &[]).await? {
        Some(letter) => say!("{}", serde_json::to_string_pretty(&letter)?),
        None => bail!("{position} holds no dead letter; `lyceum dead-letters list` shows where they are"),
    }
    Ok(ExitCode::SUCCESS)
}

/// So many letters one call sends at most; the running process takes up to 1,000.
const AT_ONCE: usize = 500;

/// Sends letter by letter through the process that owns the data, in calls that each end soon: what was sent is
/// remembered there, so that one who was cut off begins again where it stopped.
async fn replay(options: &Replay, config: &Config) -> Result<ExitCode> {
    let Replay { positions, which, dry_run, limit, per_second, again } = options;
    let session = Session::open(&which.data.data, config).await?;
    // A position says by itself whose letter is meant.
    let tenant = if positions.is_empty() { session.tenant(which.tenant.as_deref()) } else { which.tenant.as_deref() };
    let path = match tenant.filter(|tenant| *tenant != EVERY_TENANT) {
        Some(tenant) => format!("/api/dead-letters/replay?tenant={}", segment(tenant)),
        None => "/api/dead-letters/replay".to_owned(),
    };
    let at_once = per_second.map_or(AT_ONCE, |per_second| AT_ONCE.min(per_second as usize));
    let mut named = positions.chunks(at_once);
    let (mut sent, mut left, mut up_to, mut last) = (0, (*limit).max(1), Value::Null, Value::Null);
    while left > 0 {
        let started = std::time::Instant::now();
        let most = if *dry_run { left.min(1000) } else { left.min(at_once) };
        let body = if positions.is_empty() {
            let all = which.topic.is_none() && which.kind.is_none();
            json!({"topic": which.topic, "kind": which.kind, "all": all, "dry_run": dry_run, "limit": most, "up_to": up_to})
        } else {
            let Some(positions) = named.next() else { break };
            json!({"positions": positions, "dry_run": dry_run, "limit": most, "again": again})
        };
        let summary: Value = match session.post(&path, &body).await {
            Err(error) if sent > 0 => {
                return Err(error.context(format!(
                    "{sent} were sent again and are remembered; the same command goes on behind them"
                )));
            }
            answer => answer?,
        };
        let replayed = summary["replayed"].as_array().map_or(&[][..], Vec::as_slice);
        replayed.iter().for_each(|letter| tell(letter, *dry_run));
        for refused in summary["refused"].as_array().into_iter().flatten() {
            let text = |name: &str| refused[name].as_str().unwrap_or("-");
            say!("{:<32} cannot be sent again: {}", text("position"), text("reason"));
        }
        sent += replayed.len();
        left = left.saturating_sub(replayed.len());
        up_to = summary["up_to"].clone();
        let is_done = positions.is_empty() && summary["remaining"] == 0 || *dry_run;
        last = summary;
        if is_done || left == 0 {
            break;
        }
        if let Some(per_second) = per_second {
            let due = std::time::Duration::from_secs_f64(at_once as f64 / f64::from(*per_second));
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        }
    }
    let number = |name: &str| last[name].as_u64().unwrap_or(0);
    let verb = if *dry_run { "would be sent again" } else { "sent again" };
    say!("{sent} {verb}, {} parked, {} left for the next call", number("parked"), number("remaining"));
    if number("unsendable") > 0 {
        say!("{} cannot be sent again: their originals are not here", number("unsendable"));
    }
    if number("not_indexed") > 0 {
        say!("{} further records of dead-letter topics come after these", number("not_indexed"));
    }
    if !dry_run && session.is_own() && sent > 0 {
        say!("they are processed at the next `lyceum up` or `lyceum ingest`");
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(letter: &Value, dry_run: bool) {
    let text = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
    let to = if dry_run { format!("would go to {}", text("topic")) } else { format!("→ {}", text("sent_to")) };
    say!("{:<32} {:<12} {to}", text("position"), text("kind"));
    if dry_run && letter["why"].as_str().is_some_and(|why| !why.is_empty()) {
        say!("    {}", text("why"));
    }
}
