//! `lyceum validate`: judges each event of a file, of whatever wire form, as its function would; stores nothing.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::outcome::Finding;
use lyceum_xapi::Version;
use serde_json::{Value, json};

use super::Format;
use crate::ingest::reader::{EVENT_LIMIT_BYTES, Event, Events};
use crate::routing::Router;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// JSON lines, JSON arrays, or gzip of either, in UTF-8; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judges statements by this version; without it by a statement's own, else 1.0.3
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
    let xapi_version = options.xapi_version.map(|mode| match mode {
        Mode::V1_0_3 => Version::V1_0_3,
        Mode::V2_0 => Version::V2_0,
    });
    let router = Router::new(EnvelopeConfig { xapi_version, ..EnvelopeConfig::default() });
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
                    continue;
                }
            };
            let is_valid = match &event.value {
                Ok(value) => {
                    let findings = router.judge(value);
                    write_findings(&mut out, options.format, file, &event, &findings)?;
                    findings.is_empty()
                }
                Err(bytes) => {
                    let message = format!("{bytes} bytes, and {EVENT_LIMIT_BYTES} are read at most");
                    write_oversized(&mut out, options.format, file, &event, &message)?;
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
    event: &Event,
    findings: &[Finding],
) -> std::io::Result<()> {
    if format == Format::Json {
        return write_json(out, event, findings.is_empty(), json!(findings));
    }
    let place = place(file, event);
    for finding in findings {
        let at = if finding.pointer.is_empty() { "(whole)" } else { &finding.pointer };
        writeln!(out, "{place}: {at}: {} [{}, {}]", finding.message, finding.rule, finding.requirement)?;
    }
    Ok(())
}

fn write_oversized(
    out: &mut impl Write,
    format: Format,
    file: &std::path::Path,
    event: &Event,
    message: &str,
) -> std::io::Result<()> {
    match format {
        Format::Json => {
            let violation = json!({"rule": "limit.bytes", "pointer": "", "message": message, "requirement": "limit"});
            write_json(out, event, false, json!([violation]))
        }
        Format::Table => writeln!(out, "{}: (whole): {message} [limit.bytes]", place(file, event)),
    }
}

/// `byte` is given where the line alone does not say which statement is meant.
fn write_json(out: &mut impl Write, event: &Event, valid: bool, violations: Value) -> std::io::Result<()> {
    let mut verdict = json!({"line": event.place.line, "valid": valid, "violations": violations});
    if event.shares_line {
        verdict["byte"] = event.place.byte.into();
    }
    writeln!(out, "{verdict}")
}

fn place(file: &std::path::Path, event: &Event) -> String {
    let (file, line) = (file.display(), event.place.line);
    if event.shares_line { format!("{file}:{line}: byte {}", event.place.byte) } else { format!("{file}:{line}") }
}
