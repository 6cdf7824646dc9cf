//! `lyceum dead-letters`: looks at dead letters and sends them again.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde_json::{Value, json};

use super::say;
use super::session::{Session, segment};
use super::{Data, Format};
use crate::config::Config;

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
    Replay {
        /// topic/partition/offset of letters; without, all that match and wait
        positions: Vec<Position>,
        #[command(flatten)]
        which: Which,
        /// Tells what would be sent, and sends nothing
        #[arg(long)]
        dry_run: bool,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// The topic that the event was on, or the dead-letter topic
    #[arg(long)]
    topic: Option<String>,
    /// decode, validation, rejected, conflict, processing, database, oversized, unknown-type or undelivered
    #[arg(long, value_parser = kind)]
    kind: Option<DeadLetterKind>,
    /// Whose they are
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
        Action::Replay { positions, which, dry_run, limit } => {
            replay(&positions, &which, dry_run, limit, &config).await
        }
    }
}

async fn list(which: &Which, limit: usize, format: Format, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&which.data.data, config).await?;
    let limit = limit.to_string();
    let query = [
        ("topic", which.topic.as_deref()),
        ("kind", which.kind.map(DeadLetterKind::name)),
        ("tenant", which.tenant.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let answer = session.get("/api/dead-letters", &query).await?;
    let letters = answer["dead_letters"].as_array().cloned().unwrap_or_default();
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        say!("no dead letters");
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

async fn replay(
    positions: &[Position],
    which: &Which,
    dry_run: bool,
    limit: usize,
    config: &Config,
) -> Result<ExitCode> {
    let session = Session::open(&which.data.data, config).await?;
    let body = if positions.is_empty() {
        let all = which.topic.is_none() && which.kind.is_none();
        json!({"topic": which.topic, "kind": which.kind, "all": all, "dry_run": dry_run, "limit": limit})
    } else {
        json!({"positions": positions, "dry_run": dry_run, "limit": limit})
    };
    let path = match &which.tenant {
        Some(tenant) => format!("/api/dead-letters/replay?tenant={}", segment(tenant)),
        None => "/api/dead-letters/replay".to_owned(),
    };
    let summary: Value = session.post(&path, &body).await?;
    let replayed = summary["replayed"].as_array().cloned().unwrap_or_default();
    for letter in &replayed {
        let text = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
        let to = if dry_run { format!("would go to {}", text("topic")) } else { format!("→ {}", text("sent_to")) };
        say!("{:<32} {:<12} {to}", text("position"), text("kind"));
    }
    let verb = if dry_run { "would be sent again" } else { "sent again" };
    say!("{} {verb}, {} parked, {} left for the next call", replayed.len(), summary["parked"], summary["remaining"]);
    if !dry_run && session.own.is_some() && !replayed.is_empty() {
        say!("they are processed at the next `lyceum up` or `lyceum ingest`");
    }
    Ok(ExitCode::SUCCESS)
}
