//! `lyceum invoke`: calls one function with an event file, as AWS Lambda would, and prints its answer; on empty stores, unless
//! those that are there are meant.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use super::say;
use super::session::{Session, segment};
use super::{Data, one_of};
use crate::config::Config;
use crate::ingest::Unreadable;
use crate::ingest::reader::BYTE_ORDER_MARK;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(help = one_of(lyceum_functions::functions().map(|of| of.subscription.name)))]
    function: String,
    /// The event: JSON as AWS builds it (events/aws holds samples)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Runs it on the stores of the data folder, and changes what is kept there; without it, on empty ones that are gone
    /// afterwards
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let file = options.file.display();
    let event = std::fs::read(&options.file).map_err(|error| Unreadable(format!("cannot open {file}: {error}")))?;
    let event = event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&event);
    let event: Value =
        serde_json::from_slice(event).map_err(|error| Unreadable(format!("{file} is no JSON: {error}")))?;
    let session = if options.live {
        Session::open(&options.data.data, &config).await?
    } else {
        eprintln!(
            "note: it runs on empty stores, which are gone afterwards; --live runs it on {}",
            options.data.data.display()
        );
        Session::scratch(&config).await?
    };
    let path = format!("/2015-03-31/functions/{}/invocations", segment(&options.function));
    let answer: Value =
        session.post(&path, &event).await.with_context(|| format!("cannot invoke {:?}", options.function))?;
    say!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(ExitCode::SUCCESS)
}
