//! `lyceum reconcile`: the log against the stores.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lyceum_core::reconcile::{Difference, Report};
use lyceum_core::replay::{OffsetsOf, Range, request};
use lyceum_server::reconcile::Request;
use lyceum_xapi::utc_time::UtcTime;

use super::session::{EVERY_TENANT, Session};
use super::table::{Side, Table};
use super::{Data, Format, say};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Of this topic, which may be named more than once [default: every topic of events]
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Records from this time on: RFC 3339, or a UTC date for its beginning
    #[arg(long, value_name = "TIME", value_parser = request::time)]
    from: Option<UtcTime>,
    /// Records before this time, likewise
    #[arg(long, value_name = "TIME", value_parser = request::time)]
    until: Option<UtcTime>,
    /// Records of these offsets instead, as 100..200, of each partition that is meant
    #[arg(long, value_name = "FROM..UNTIL", value_parser = offsets, conflicts_with_all = ["from", "until"])]
    offsets: Option<OffsetsOf>,
    /// With --offsets: of this partition alone
    #[arg(long, requires = "offsets")]
    partition: Option<i32>,
    /// Of this tenant alone [default: of all]
    #[arg(long)]
    tenant: Option<String>,
    /// Processes records once more whose effects are missing; what is there is never overwritten
    #[arg(long)]
    repair: bool,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    data: Data,
}

/// Reads `FROM..UNTIL`, either of which may be missing.
fn offsets(text: &str) -> Result<OffsetsOf, String> {
    let wrong = || format!("{text:?} is no range of offsets: write 100..200, 100.. or ..200");
    let number = |text: &str| match text {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| wrong()),
    };
    let (from, until) = text.split_once("..").ok_or_else(wrong)?;
    Ok(OffsetsOf { from: number(from)?, until: number(until)?, ..OffsetsOf::default() })
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let Options { topics, from, until, offsets, partition, tenant, repair, format, data } = options;
    let session = Session::open(&data.data, &config).await?;
    let range = match offsets {
        Some(offsets) => Range::Offsets(vec![OffsetsOf { partition, ..offsets }]),
        None => Range::Times { from, until },
    };
    let tenant = tenant.filter(|tenant| tenant != EVERY_TENANT).map(Into::into);
    let mut request = Request { topics, range, tenant, repair, left: Vec::new() };
    let mut report = Report::default();
    loop {
        let part: Report = session.post("/api/reconcile", &serde_json::to_value(&request)?).await?;
        report.go_on(part);
        if report.next.is_empty() {
            break;
        }
        eprintln!("note: {} records were compared; it goes on", report.records);
        request.left.clone_from(&report.next);
    }
    match format {
        Format::Json => say!("{}", serde_json::to_string_pretty(&report)?),
        Format::Table => tell(&report, repair),
    }
    // What was repaired did differ, and is no more.
    Ok(if report.total() == 0 && report.is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(report: &Report, repair: bool) {
    let Report { records, kept, letters, nothing, not_yet, documents, repaired, .. } = report;
    let row = |difference: &Difference| {
        let Difference { what, subscription, position, tenant, event_id, why } = difference;
        [
            what.name().to_owned(),
            subscription.clone(),
            position.to_string(),
            tenant.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            event_id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            why.clone(),
        ]
    };
    let head = [
        ("what", Side::Left),
        ("subscription", Side::Left),
        ("record", Side::Left),
        ("tenant", Side::Left),
        ("event", Side::Left),
        ("why", Side::Left),
    ];
    if !report.listed.is_empty() {
        say!("{}", Table::new(head, report.listed.iter().map(row)).to_string().trim_end());
    }
    if report.total() > report.listed.len() as u64 {
        say!("and {} more", report.total() - report.listed.len() as u64);
    }
    say!(
        "{records} records and {documents} documents compared: {kept} effects are there, {letters} are dead letters, {nothing} have none"
    );
    if *not_yet > 0 {
        say!("{not_yet} are not settled yet");
    }
    for (why, count) in &report.untold {
        say!("{count} cannot be told: {why}");
    }
    for note in &report.notes {
        say!("{note}");
    }
    if *repaired > 0 {
        say!("{repaired} are mended: what was not there is there now");
    }
    match report.total() {
        0 => say!("nothing differs"),
        total => say!("{total} differ"),
    }
    for (what, to_do) in &report.to_do {
        // Where that was asked for and it is still so, the reason stands with each.
        if !(repair && what.is_made_by_processing()) {
            say!("{}: {to_do}", what.name());
        }
    }
    if !report.is_complete {
        say!("the time was over before all documents were compared: name a shorter range");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_offsets_may_be_open_at_either_end() {
        let of = |from, until| Ok(OffsetsOf { from, until, ..OffsetsOf::default() });
        assert_eq!(offsets("1..20"), of(Some(1), Some(20)));
        assert_eq!((offsets("5.."), offsets("..5")), (of(Some(5), None), of(None, Some(5))));
        for wrong in ["", "5", "a..b", "1...3"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }
}
