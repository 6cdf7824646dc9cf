//! `lyceum tail`: prints the records of a topic, one JSON object a line.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use lyceum_server::ending::asked_to_end;

use super::Data;
use super::session::{Session, segment};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its name; `lyceum topics` lists them
    topic: String,
    /// Where to begin: `beginning`, `end`, an RFC 3339 time, or an offset in each partition
    #[arg(long, default_value = "end", value_name = "WHERE")]
    from: String,
    /// Ends after so many records
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    tokio::select! {
        ended = follow(&options, &config) => ended,
        () = asked_to_end() => Ok(ExitCode::SUCCESS),
    }
}

async fn follow(options: &Options, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, config).await?;
    let path = format!("/api/topics/{}/records", segment(&options.topic));
    let mut left = options.count.unwrap_or(usize::MAX);
    let mut next: Option<String> = None;
    while left > 0 {
        let limit = left.min(500).to_string();
        let from = if next.is_none() { Some(options.from.as_str()) } else { None };
        let query = [("from", from), ("offsets", next.as_deref()), ("limit", Some(limit.as_str()))];
        let Some(page) = session.find(&path, &query).await? else {
            bail!("there is no topic {}; `lyceum topics` lists those that are", options.topic)
        };
        let records = page["records"].as_array().cloned().unwrap_or_default();
        let mut out = std::io::stdout().lock();
        for record in &records {
            writeln!(out, "{record}")?;
        }
        out.flush()?;
        left = left.saturating_sub(records.len());
        next = page["next"].as_str().map(str::to_owned);
        if records.is_empty() {
            // Where no other process runs, nothing more can come.
            if session.is_own() {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}
