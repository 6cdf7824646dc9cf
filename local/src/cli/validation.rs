//! `lyceum validation`: what senders broke since when.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lyceum_server::dead_letters::letters::BEHIND;
use lyceum_server::dead_letters::violations::{Course, Tally, Trend, Violations};

use super::dead_letters::{ask, minute};
use super::session::Session;
use super::table::{Side, Table};
use super::{Data, Format, say};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The topic that the events were on
    #[arg(long)]
    topic: Option<String>,
    /// The family that could not take them
    #[arg(long)]
    family: Option<String>,
    /// The first rule that was broken
    #[arg(long)]
    rule: Option<String>,
    /// Who sent them: the module of an envelope, the platform of a statement
    #[arg(long)]
    sender: Option<String>,
    /// From this time on: RFC 3339, or a UTC date [default: a day before the end]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time: RFC 3339; of a UTC date, that day included [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Whose they are; `*` is every tenant's, and those of nobody [default: whom the token names, else DEFAULT_TENANT]
    #[arg(long)]
    tenant: Option<String>,
    /// At most so many of each list, up to 1000
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How they are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let limit = options.limit.to_string();
    let tenant = session.tenant(options.tenant.as_deref());
    let query = [
        ("topic", options.topic.as_deref()),
        ("family", options.family.as_deref()),
        ("rule", options.rule.as_deref()),
        ("sender", options.sender.as_deref()),
        ("since", options.since.as_deref()),
        ("until", options.until.as_deref()),
        ("tenant", tenant),
        ("limit", Some(&limit)),
    ];
    let answer = ask(&session, "/api/validation", &query).await?;
    if options.format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let found: Violations = serde_json::from_value(answer)?;
    let Violations { since, until, count, before, courses, totals, not_indexed, is_behind, .. } = &found;
    if courses.is_empty() && !is_behind {
        session.tell_other_tenants(tenant).await;
    }
    say!("{} to {} UTC: {count} events broke a rule, {before} in as long a time before", minute(since), minute(until));
    if !courses.is_empty() {
        if (courses.len() as u64) < totals.courses {
            say!("{} of {} rules of senders, what is new first; the others: --limit", courses.len(), totals.courses);
        }
        tell_courses(courses);
        tell("rule", &found.rules, |of| of.rule.clone());
        tell("sender", &found.senders, |of| {
            format!("{} of {}", of.sender.as_deref().unwrap_or("-"), of.tenant.as_deref().unwrap_or("-"))
        });
        tell("topic", &found.topics, |of| of.topic.clone());
    }
    if *is_behind {
        say!("{BEHIND}");
    }
    if *not_indexed > 0 {
        say!("{not_indexed} older letters are missing here, for want of room");
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_courses(courses: &[Course]) {
    let row = |course: &Course| {
        let Course { of, trend, was_good, count, before, began, last, example, .. } = course;
        let good = if *was_good && matches!(trend, Trend::New | Trend::Again) { ", good before" } else { "" };
        [
            format!("{}{good}", trend.name()),
            count.to_string(),
            before.to_string(),
            of.rule.clone(),
            of.sender.clone().unwrap_or_else(|| "-".to_owned()),
            of.tenant.clone().unwrap_or_else(|| "-".to_owned()),
            of.topic.clone(),
            minute(began),
            minute(last),
            example.as_ref().map_or("-".to_owned(), ToString::to_string),
        ]
    };
    let head = [
        ("trend", Side::Left),
        ("now", Side::Right),
        ("before", Side::Right),
        ("rule", Side::Left),
        ("sender", Side::Left),
        ("tenant", Side::Left),
        ("topic", Side::Left),
        ("since", Side::Left),
        ("last", Side::Left),
        ("example", Side::Left),
    ];
    say!("{}", Table::new(head, courses.iter().map(row)).to_string().trim_end());
}

fn tell<T>(name: &'static str, tallies: &[Tally<T>], show: impl Fn(&T) -> String) {
    let row = |tally: &Tally<T>| [tally.count.to_string(), tally.before.to_string(), show(&tally.of)];
    let head = [("now", Side::Right), ("before", Side::Right), (name, Side::Left)];
    say!("\n{}", Table::new(head, tallies.iter().map(row)).to_string().trim_end());
}
