//! `lyceum audit` and `lyceum prove`: what is in the audit log, whether it is whole, and a receipt for one event.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::session::{EVERY_TENANT, Session};
use super::table::{Side, Table, escape};
use super::{Data, Format, say};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists entries, the newest first
    Search(Search),
    /// Tells whether an entry was changed, left out, added or moved; exit code 1 where one was
    Verify(Verify),
    /// Seals what has grown since the last seal, today's logs too, and prints the seals' hashes
    Seal(Seal),
}

#[derive(Debug, Args)]
struct Search {
    /// Whose entries; `*` is everybody's
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Of this event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// event, invalid, tombstone or dead-letter
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Of this correlation id
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Of this record, with its dead letters
    #[arg(long, value_name = "TOPIC/PARTITION/OFFSET")]
    position: Option<String>,
    /// From this time on: RFC 3339, or a UTC date
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time; of a UTC date, that day included
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Args)]
struct Verify {
    /// Whose logs; without it everybody's that the token sees
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The hash of a seal that was kept elsewhere: it must be among the tenant's
    #[arg(long, value_name = "SHA256", requires = "tenant")]
    seal: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Args)]
struct Seal {
    /// Whose logs; without it everybody's that the token sees
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The event's id, or its record's position: topic/partition/offset
    event: String,
    /// Whose event; without it everybody's that the token sees
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Writes the receipt into this file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    match options.command {
        Command::Search(options) => search(&options, &config).await,
        Command::Verify(options) => verify(&options, &config).await,
        Command::Seal(options) => seal(&options, &config).await,
    }
}

async fn search(options: &Search, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, config).await?;
    let tenant = session.tenant(options.tenant.as_deref());
    let limit = options.limit.to_string();
    let query = [
        ("tenant", tenant),
        ("type", options.event_type.as_deref()),
        ("kind", options.kind.as_deref()),
        ("event", options.event.as_deref()),
        ("correlation", options.correlation.as_deref()),
        ("position", options.position.as_deref()),
        ("from", options.from.as_deref()),
        ("to", options.to.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let answer = session.get("/api/audit", &query).await?;
    if options.format == Format::Json {
        say!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    let entries = answer["entries"].as_array().map_or(&[][..], Vec::as_slice);
    if entries.is_empty() {
        say!("the audit log has no such entry");
        session.tell_other_tenants(tenant).await;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let row = |entry: &Value| {
        let letters = entry["dead_letters"].as_array().map_or(&[][..], Vec::as_slice);
        let what = match (&entry["letter"]["error"], letters.first()) {
            (Value::String(error), _) => format!("dead letter: {error}"),
            (_, Some(letter)) => format!("dead-lettered: {}", text(&letter["error"])),
            (_, None) => text(&entry["kind"]),
        };
        let at = entry["timestamp_ms"].as_i64().unwrap_or_default();
        [
            lyceum_xapi::utc_time::UtcTime::from_millis(at).to_string(),
            text(&entry["position"]),
            text(&entry["event_type"]),
            what,
            text(&entry["log"]["tenant"]),
            text(&entry["correlation_id"]),
        ]
    };
    let head = ["time", "record", "type", "what", "tenant", "correlation id"].map(|name| (name, Side::Left));
    say!("{}", Table::new(head, entries.iter().map(row)).to_string().trim_end());
    let total = answer["total"].as_u64().unwrap_or_default();
    if total > entries.len() as u64 {
        eprintln!("note: {} of {total}; --limit shows more, --from and --to another time", entries.len());
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(options: &Verify, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, config).await?;
    let logs = session.get("/api/audit/logs", &[("tenant", named(options.tenant.as_deref()))]).await?;
    let (mut entries, mut count, mut findings) = (0, 0, Vec::new());
    for of in logs["tenants"].as_array().into_iter().flatten() {
        let tenant = of["tenant"].as_str().unwrap_or_default();
        let query = [("tenant", Some(tenant)), ("seal", options.seal.as_deref())];
        let answer = session.get("/api/audit/verify", &query).await?;
        findings.extend(answer["findings"].as_array().cloned().unwrap_or_default());
        for log in of["logs"].as_array().into_iter().flatten() {
            let query = [("tenant", Some(tenant)), ("log", log["log"].as_str())];
            let answer = session.get("/api/audit/verify", &query).await?;
            count += 1;
            entries += answer["entries"].as_u64().unwrap_or_default();
            findings.extend(answer["findings"].as_array().cloned().unwrap_or_default());
        }
    }
    let is_whole = findings.is_empty();
    if options.format == Format::Json {
        say!("{}", json!({"logs": count, "entries": entries, "findings": findings}));
    } else {
        for finding in &findings {
            let text = |name: &str| escape(finding[name].as_str().unwrap_or_default());
            let tenant = if text("tenant").is_empty() { "no tenant".to_owned() } else { text("tenant") };
            let log = finding["log"].as_str().map(|log| format!(" {}", escape(log))).unwrap_or_default();
            say!("{}: {tenant}{log}: {}", text("wrong"), text("message"));
        }
        match is_whole {
            true => say!("{entries} entries in {count} logs are as they were written"),
            false => say!(
                "{entries} entries in {count} logs, and {} things wrong; docs/runbook.md says what to do",
                findings.len()
            ),
        }
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn seal(options: &Seal, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, config).await?;
    let path = match named(options.tenant.as_deref()) {
        Some(tenant) => {
            let query = serde_urlencoded::to_string([("tenant", tenant)]).context("the tenant cannot be sent")?;
            format!("/api/audit/seal?{query}")
        }
        None => "/api/audit/seal".to_owned(),
    };
    let answer: Value = session.post(&path, &json!({})).await?;
    let sealed = answer["sealed"].as_array().map_or(&[][..], Vec::as_slice);
    if sealed.is_empty() {
        say!("nothing has grown since the last seal");
        return Ok(ExitCode::SUCCESS);
    }
    for of in sealed {
        let tenant = of["tenant"].as_str().filter(|tenant| !tenant.is_empty()).unwrap_or("no tenant");
        let (number, hash) = (&of["number"], of["hash"].as_str().unwrap_or_default());
        say!("{}: seal {number}: {hash}", escape(tenant));
    }
    eprintln!(
        "note: keep these where nobody who may write to the stores does; `lyceum audit verify --tenant T --seal HASH` looks for one"
    );
    Ok(ExitCode::SUCCESS)
}

/// The tenant that is asked for; none is everybody.
fn named(tenant: Option<&str>) -> Option<&str> {
    tenant.filter(|tenant| *tenant != EVERY_TENANT)
}

pub(super) async fn prove(options: Prove, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let query = [("event", Some(options.event.as_str())), ("tenant", named(options.tenant.as_deref()))];
    let receipt = match session.ask("/api/audit/proof", &query).await? {
        Ok(receipt) => serde_json::to_string_pretty(&receipt)?,
        Err(why) => bail!("{why}"),
    };
    match &options.out {
        Some(file) => {
            std::fs::write(file, receipt + "\n").with_context(|| format!("cannot write {}", file.display()))?
        }
        None => say!("{receipt}"),
    }
    Ok(ExitCode::SUCCESS)
}
