//! `lyceum validate`: judges each statement; stores nothing.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use lyceum_core::envelope::{EnvelopeConfig, judge};
use lyceum_core::outcome::Finding;
use lyceum_core::xapi::Version;
use serde_json::json;

use super::Format;
use crate::ingest::reader::{EVENT_LIMIT_BYTES, Events};
use crate::runtime::unplaced;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// JSON lines, a JSON array, or gzip of either; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judges by this version; without it by the statement's own, else 1.0.3
    #[arg(long, value_enum, value_name = "VERSION")]
    xapi_version: Option<Mode>,
    /// `json`: one object a line
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    #[value(name = "1.0.3")]
    V1_0_3,
    #[value(name = "2.0")]
    V2_0,
}

/// Exit code: 0 all valid, 1 some invalid, 2 unreadable.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let mode = options.xapi_version.map(|mode| match mode {
        Mode::V1_0_3 => Version::V1_0_3,
        Mode::V2_0 => Version::V2_0,
    });
    let (catalog, config) = (lyceum_functions::catalog(), EnvelopeConfig::default());
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut valid, mut invalid, mut unreadable) = (0_u64, 0_u64, false);
    for file in &options.files {
        let events = match Events::open(file) {
            Ok(events) => events,
            Err(error) => {
                eprintln!("error: {error}");
                unreadable = true;
                continue;
            }
        };
        for event in events {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    eprintln!("error: {error}");
                    unreadable = true;
                    break;
                }
            };
            let is_valid = match &event.value {
                Ok(value) => {
                    let record = unplaced(value);
                    let judged = judge(&record, mode, &catalog, &config);
                    let findings = judged.err().map(|invalid| invalid.findings).unwrap_or_default();
                    write_findings(&mut out, options.format, file, event.line, &findings)?;
                    findings.is_empty()
                }
                Err(bytes) => {
                    let message = format!("{bytes} bytes, and {EVENT_LIMIT_BYTES} are read at most");
                    write_oversized(&mut out, options.format, file, event.line, &message)?;
                    false
                }
            };
            if is_valid { valid += 1 } else { invalid += 1 }
        }
    }
    if options.format == Format::Table {
        writeln!(out, "{valid} valid, {invalid} invalid")?;
    }
    out.flush()?;
    Ok(match (unreadable, invalid) {
        (true, _) => ExitCode::from(2),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(1),
    })
}

fn write_findings(
    out: &mut impl Write,
    format: Format,
    file: &std::path::Path,
    line: u64,
    findings: &[Finding],
) -> std::io::Result<()> {
    if format == Format::Json {
        let verdict = json!({"line": line, "valid": findings.is_empty(), "violations": findings});
        return writeln!(out, "{verdict}");
    }
    for finding in findings {
        let at = if finding.pointer.is_empty() { "(whole)" } else { &finding.pointer };
        let (file, requirement) = (file.display(), &finding.requirement);
        writeln!(out, "{file}:{line}: {at}: {} [{}, {requirement}]", finding.message, finding.rule)?;
    }
    Ok(())
}

fn write_oversized(
    out: &mut impl Write,
    format: Format,
    file: &std::path::Path,
    line: u64,
    message: &str,
) -> std::io::Result<()> {
    match format {
        Format::Json => {
            let violation = json!({"rule": "limit.bytes", "pointer": "", "message": message, "requirement": "limit"});
            writeln!(out, "{}", json!({"line": line, "valid": false, "violations": [violation]}))
        }
        Format::Table => writeln!(out, "{}:{line}: (whole): {message} [limit.bytes]", file.display()),
    }
}
