//! `lyceum replay`: with a candidate release, what would differ; nothing is sent.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Data, Format, shadow};
use crate::config::Config;
use crate::shadow::side::Place;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Judges the records by this candidate release beside the present one, without any effect, and says what differs: a
    /// program, or the address of its `lyceum judge --listen`
    #[arg(long, value_name = "BINARY|URL", required = true)]
    shadow: Option<Place>,
    /// Of these topics alone, with commas between; without it of all that either release reads
    #[arg(long = "topic", value_name = "NAMES", value_delimiter = ',')]
    topics: Vec<String>,
    /// Records from this time on, by their timestamps: RFC 3339, or a UTC date
    #[arg(long, value_name = "TIME", value_parser = shadow::read_time)]
    from: Option<i64>,
    /// Records before this time
    #[arg(long, value_name = "TIME", value_parser = shadow::read_time)]
    until: Option<i64>,
    #[command(flatten)]
    compared: shadow::ComparedBy,
    #[command(flatten)]
    data: Data,
    /// How the differences are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let Options { shadow: candidate, topics, from, until, compared, data, format } = options;
    let Some(candidate) = candidate else { anyhow::bail!("name a candidate release with --shadow") };
    let asked = shadow::Asked { candidate, topics, from_ms: from, until_ms: until, data, format };
    shadow::run(compared, asked, config).await
}
