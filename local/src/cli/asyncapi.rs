//! `lyceum asyncapi`: topics, who reads and writes them, and every event, as an AsyncAPI document.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::say;
use crate::config::Config;
use crate::documents::deployment;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file that it is written to [default: printed]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(options: &Options, config: &Config) -> Result<ExitCode> {
    let document = lyceum_documents::asyncapi::document(&deployment(config, &lyceum_catalog::catalog()));
    let text = format!("{document:#}");
    match &options.out {
        Some(file) => {
            fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
            let (topics, messages) = (&document["channels"], &document["components"]["messages"]);
            let count = |of: &serde_json::Value| of.as_object().map_or(0, serde_json::Map::len);
            say!("{}: {} channels, {} messages", file.display(), count(topics), count(messages));
        }
        None => say!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}
