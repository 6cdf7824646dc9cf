//! `lyceum show`, `query`, `topics` and `status`: looking, never changing.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use lyceum_core::analytics::nps::Scale;
use lyceum_core::capacity::Capacity;
use serde_json::Value;

use super::capacity;
use super::say;
use super::session::{EVERY_TENANT, Session, segment};
use super::table::{Side, Table, escape};
use super::{Data, Format, one_of};
use crate::config::Config;
use crate::data_folder::DataFolder;

/// Of a question so many different responses are listed, the most frequent ones, and so much of each.
const RESPONSES: usize = 6;
const RESPONSE_CHARS: usize = 40;

/// A process that takes longer to say how it is counts as unhealthy. Each of its parts has two seconds.
const HEALTH_LIMIT: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
pub(super) struct Show {
    #[arg(help = one_of(lyceum_catalog::catalog().kinds()))]
    kind: String,
    /// Its id; of a response the registration
    id: String,
    /// Whose it is [default: whom the token names, else DEFAULT_TENANT]
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Args)]
pub(super) struct Query {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Totals, verbs, active learners, by day
    Platform(Scope),
    /// Started, completed, and the answers to each question with their net promoter score (NPS)
    ///
    /// The NPS is the percentage of 9 and 10 less that of 0 to 6. There is one where every answer, blank ones apart, is a whole
    /// number on a scale from 0 to 10, and a line says why where there is none. The scale is what the statements tell in
    /// result.score.min and max; of answers that tell none it is --scale, else the one that they reach from end to end.
    Survey {
        /// The survey's whole IRI, or a last segment that names it alone
        id: String,
        /// The scale of answers that tell none, as 0..10
        #[arg(long, value_name = "MIN..MAX")]
        scale: Option<Scale>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Statements, completions, first and last seen, streak of days
    Learner {
        /// An e-mail address, `mbox:…`, `sha1:…`, `openid:…`, `account:<homePage>|<name>`, or an account's name
        id: String,
        #[command(flatten)]
        scope: Scope,
    },
}

#[derive(Debug, Args)]
struct Scope {
    /// Whose statements; `*` is every tenant's [default: whom the token names, else DEFAULT_TENANT]
    #[arg(long)]
    tenant: Option<String>,
    /// Statements from this time on: RFC 3339, or a UTC date
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Statements before this time: RFC 3339; of a UTC date, that day included
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Args)]
pub(super) struct Topics {
    #[command(flatten)]
    data: Data,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    data: Data,
    /// Only whether the process that has the data is healthy, for who looks after containers: it needs no token
    #[arg(long)]
    health: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) async fn show(options: Show, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let path = format!("/api/state/{}/{}", segment(&options.kind), segment(&options.id));
    if options.tenant.as_deref() == Some(EVERY_TENANT) {
        bail!("an id belongs to one tenant: name that one with --tenant");
    }
    let tenant = session.tenant(options.tenant.as_deref());
    match session.ask(&path, &[("tenant", tenant)]).await? {
        Ok(state) => say!("{}", serde_json::to_string_pretty(&state)?),
        Err(why) => {
            session.tell_other_tenants(tenant).await;
            bail!("{why}")
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn query(options: Query, config: Config) -> Result<ExitCode> {
    let mut told_scale = None;
    let (path, scope, print): (_, _, fn(&Value)) = match options.question {
        Question::Platform(scope) => ("/api/analytics/platform/overview".to_owned(), scope, print_platform),
        Question::Survey { id, scale, scope } => {
            told_scale = scale.map(|Scale { min, max }| format!("{min}..{max}"));
            (format!("/api/analytics/surveys/{}", segment(&id)), scope, print_survey)
        }
        Question::Learner { id, scope } => (format!("/api/analytics/learners/{}", segment(&id)), scope, print_learner),
    };
    let session = Session::open(&scope.data.data, &config).await?;
    let tenant = session.tenant(scope.tenant.as_deref());
    let span = [
        ("tenant", tenant),
        ("from", scope.from.as_deref()),
        ("to", scope.to.as_deref()),
        ("scale", told_scale.as_deref()),
    ];
    let answer = session.ask(&path, &span).await?;
    if answer.as_ref().map_or(true, |answer| answer["total"] == 0) {
        session.tell_other_tenants(tenant).await;
    }
    let answer = answer.map_err(anyhow::Error::msg)?;
    match scope.format {
        Format::Json => print_json(&answer)?,
        Format::Table => print(&answer),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(answer: &Value) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(answer)?);
    Ok(())
}

pub(super) async fn topics(options: Topics, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let topics = session.get("/api/topics", &[]).await?;
    if options.format == Format::Json {
        print_json(&topics)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        ("topic", Side::Left),
        ("partition", Side::Right),
        ("start", Side::Right),
        ("end", Side::Right),
        ("lag", Side::Right),
        ("function", Side::Left),
    ];
    let of_topic = |topic: &Value| {
        let functions: Vec<String> = rows(&topic["functions"]).map(text).collect();
        let function = if functions.is_empty() { text(&Value::Null) } else { functions.join(", ") };
        let name = text(&topic["topic"]);
        let row = |of: &Value| {
            let [partition, start, end, lag] = ["partition", "start", "end", "lag"].map(|number| text(&of[number]));
            [name.clone(), partition, start, end, lag, function.clone()]
        };
        rows(&topic["partitions"]).map(row).collect::<Vec<_>>()
    };
    say!("{}", Table::new(head, rows(&topics["topics"]).flat_map(of_topic)).to_string().trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn status(options: Status, config: Config) -> Result<ExitCode> {
    if options.health {
        return health(&options.data.data, options.format).await;
    }
    let session = Session::open(&options.data.data, &config).await?;
    let health = session.get("/health", &[]).await?;
    let mut status = session.get("/events/status", &[]).await?;
    let is_healthy = health["status"] == "healthy";
    let is_here = session.is_own();
    if options.format == Format::Json {
        status["health"] = health;
        print_json(&status)?;
    } else {
        let process = if is_here { "no process is running; the stores are" } else { "the running process is" };
        say!("{process} {}", text(&health["status"]));
        for (name, component) in
            health["components"].as_object().into_iter().flatten().filter(|(name, _)| *name != "database")
        {
            let error = component["error"].as_str().map(|error| format!("  {error}")).unwrap_or_default();
            let circuit =
                component["circuit"].as_str().map(|circuit| format!("  circuit {circuit}")).unwrap_or_default();
            let (status, latency) = (text(&component["status"]), text(&component["latency_ms"]));
            say!("  {name:<14} {status:<10} {latency:>6} ms{circuit}{error}");
        }
        for mapping in status["mappings"].as_array().into_iter().flatten().filter(|_| !is_here) {
            let lag: i64 =
                mapping["partitions"].as_array().into_iter().flatten().filter_map(|of| of["lag"].as_i64()).sum();
            // An error that is over stands there, too.
            let fails = mapping["state"] != "running";
            let why = mapping["work"]["last_error"].as_str().filter(|_| fails).map(|why| format!("  {why}"));
            let (name, state) = (text(&mapping["name"]), text(&mapping["state"]));
            say!("  {name:<28} {state:<12} lag {lag}{}", why.unwrap_or_default());
        }
        let capacity: Option<Capacity> = serde_json::from_value(status["capacity"].take()).unwrap_or_default();
        for line in capacity.iter().filter(|_| !is_here).flat_map(|of| capacity::lines(" since its start", of)) {
            say!("{line}");
        }
    }
    Ok(if is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks the process that has the data, and opens nothing where there is none.
async fn health(data: &Path, format: Format) -> Result<ExitCode> {
    let Some(holder) = DataFolder::holder(data) else {
        bail!("no process says that it serves {}; `lyceum up` starts one", data.display());
    };
    let url = format!("http://{}/health", holder.address);
    let asked = lyceum_https::builder().no_proxy().timeout(HEALTH_LIMIT).build()?.get(&url).send();
    let answer = asked.await.with_context(|| format!("{url} does not answer"))?;
    let is_healthy = answer.status().is_success();
    let health: Value =
        answer.json().await.with_context(|| format!("what {url} answers is not the health of a process"))?;
    match format {
        Format::Json => print_json(&health)?,
        Format::Table => say!("the running process is {}", text(&health["status"])),
    }
    Ok(if is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A few facts, then a table for each list.
fn print_platform(answer: &Value) {
    print_facts(&[
        ("total", text(&answer["total"])),
        ("actors", text(&answer["active_learners"])),
        ("first", text(&answer["first"])),
        ("last", text(&answer["last"])),
    ]);
    for (title, rows, name, counted) in [
        ("verb", "verbs", "verb", "statements"),
        ("event type", "event_types", "event_type", "statements"),
        ("beside statements", "other_documents", "event_type", "documents"),
        ("day", "by_day", "day", "statements"),
    ] {
        print_counts(title, &answer[rows], name, counted);
    }
}

fn print_survey(answer: &Value) {
    let rate =
        answer["completion_rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    print_facts(&[
        ("survey", text(&answer["survey"])),
        ("started", text(&answer["started"])),
        ("completed", text(&answer["completed"])),
        ("completion rate", rate),
    ]);
    let head = [
        ("question", Side::Left),
        ("answers", Side::Right),
        ("mean", Side::Right),
        ("NPS", Side::Right),
        ("response × count", Side::Left),
    ];
    let row = |question: &Value| {
        let given = question["distribution"].as_array().map_or(&[][..], Vec::as_slice);
        let mut responses: Vec<String> = given.iter().take(RESPONSES).map(tell_response).collect();
        let distinct = question["distinct"].as_u64().unwrap_or(given.len() as u64);
        if distinct > responses.len() as u64 {
            responses.push(format!("and {} more", distinct - responses.len() as u64));
        }
        let number = |name: &str| text(&question[name]);
        [number("question"), number("answers"), number("mean"), number("nps"), responses.join(", ")]
    };
    print_table(&Table::new(head, rows(&answer["questions"]).map(row)));
    // Of texts nobody expects one.
    let reasons = rows(&answer["questions"]).filter(|question| !question["mean"].is_null());
    for question in reasons {
        if let Some(why) = question["no_nps"].as_str() {
            say!("no NPS of {}: {why}", escape(&text(&question["question"])));
        }
    }
    if let Some(left_out) = answer["left_out"].as_u64() {
        say!("\n{left_out} statements answer further questions, which are not counted");
    }
}

fn tell_response(given: &Value) -> String {
    let response = text(&given["response"]);
    let is_long = given["is_cut"] == true || response.chars().count() > RESPONSE_CHARS;
    let shown: String = response.chars().take(RESPONSE_CHARS).collect();
    format!("{shown}{} × {}", if is_long { "…" } else { "" }, text(&given["count"]))
}

fn print_learner(answer: &Value) {
    print_facts(&[
        ("learner", text(&answer["learner"])),
        ("statements", text(&answer["statements"])),
        ("completions", text(&answer["completions"])),
        ("first seen", text(&answer["first_seen"])),
        ("last seen", text(&answer["last_seen"])),
        ("active days", text(&answer["active_days"])),
        ("days in a row", text(&answer["streak_days"])),
        ("most in a row", text(&answer["longest_streak_days"])),
    ]);
    print_counts("verb", &answer["verbs"], "verb", "statements");
}

fn print_facts(facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, fact) in facts {
        say!("{name:<width$}  {}", escape(fact));
    }
}

fn print_counts(title: &'static str, counted: &Value, name: &str, of: &'static str) {
    let row = |row: &Value| [text(&row[name]), text(&row["count"])];
    print_table(&Table::new([(title, Side::Left), (of, Side::Right)], rows(counted).map(row)));
}

/// A blank line stands before a table, and none where there is no table.
fn print_table<const N: usize>(table: &Table<N>) {
    let table = table.to_string();
    if !table.is_empty() {
        say!("\n{}", table.trim_end());
    }
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}
