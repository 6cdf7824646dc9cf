//! `lyceum show`, `query`, `topics` and `status`: looking, never changing.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::session::{Session, segment};
use super::{Data, Format};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// program, session, booking or response
    kind: String,
    /// Its id; of a response the registration
    id: String,
    /// Whose it is [default: DEFAULT_TENANT]
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
    Platform(Asked),
    /// Started, completed, and the answers to each question
    Survey {
        /// The last segment of the survey's IRI, or the whole of it
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Statements, completions, first and last seen, streak of days
    Learner {
        /// An e-mail address, `mbox:…`, `sha1:…`, `openid:…`, `account:<homePage>|<name>`, or an account's name
        id: String,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, Args)]
struct Asked {
    /// Whose statements; without it, every tenant's
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
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) async fn show(options: Show, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let path = format!("/api/state/{}/{}", segment(&options.kind), segment(&options.id));
    match session.find(&path, &[("tenant", options.tenant.as_deref())]).await? {
        Some(state) => println!("{}", serde_json::to_string_pretty(&state)?),
        None => {
            let tenant = options.tenant.as_deref().unwrap_or(&config.default_tenant);
            bail!("tenant {tenant:?} has no {} with the id {:?}", options.kind, options.id)
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn query(options: Query, config: Config) -> Result<ExitCode> {
    let (path, asked, what) = match options.question {
        Question::Platform(asked) => ("/api/analytics/platform/overview".to_owned(), asked, "the platform".to_owned()),
        Question::Survey { id, asked } => {
            (format!("/api/analytics/surveys/{}", segment(&id)), asked, format!("survey {id}"))
        }
        Question::Learner { id, asked } => {
            (format!("/api/analytics/learners/{}", segment(&id)), asked, format!("learner {id}"))
        }
    };
    let session = Session::open(&asked.data.data, &config).await?;
    let span = [("tenant", asked.tenant.as_deref()), ("from", asked.from.as_deref()), ("to", asked.to.as_deref())];
    let Some(answer) = session.find(&path, &span).await? else { bail!("no statement of {what} is stored") };
    print(&answer, asked.format)
}

pub(super) async fn topics(options: Topics, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let topics = session.get("/api/topics", &[]).await?;
    if options.format == Format::Json {
        return print(&topics, Format::Json);
    }
    println!("{:<28} {:>9} {:>12} {:>12} {:>10}  function", "topic", "partition", "start", "end", "lag");
    for topic in topics["topics"].as_array().into_iter().flatten() {
        for partition in topic["partitions"].as_array().into_iter().flatten() {
            println!(
                "{:<28} {:>9} {:>12} {:>12} {:>10}  {}",
                text(&topic["topic"]),
                text(&partition["partition"]),
                text(&partition["start"]),
                text(&partition["end"]),
                text(&partition["lag"]),
                text(&topic["function"]),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn status(options: Status, config: Config) -> Result<ExitCode> {
    let session = Session::open(&options.data.data, &config).await?;
    let health = session.get("/health", &[]).await?;
    let mut status = session.get("/events/status", &[]).await?;
    let is_healthy = health["status"] == "healthy";
    let is_here = session.own.is_some();
    if options.format == Format::Json {
        status["health"] = health;
        print(&status, Format::Json)?;
    } else {
        let process = if is_here { "no process is running; the stores are" } else { "the running process is" };
        println!("{process} {}", text(&health["status"]));
        for (name, component) in health["components"].as_object().into_iter().flatten() {
            let error = component["error"].as_str().map(|error| format!("  {error}")).unwrap_or_default();
            println!("  {name:<12} {:<10} {:>6} ms{error}", text(&component["status"]), text(&component["latency_ms"]));
        }
        for mapping in status["mappings"].as_array().into_iter().flatten().filter(|_| !is_here) {
            let lag: i64 =
                mapping["partitions"].as_array().into_iter().flatten().filter_map(|of| of["lag"].as_i64()).sum();
            println!("  {:<28} {:<12} lag {lag}", text(&mapping["name"]), text(&mapping["state"]));
        }
    }
    Ok(if is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Numbers and names as a table: a line a value, lists of objects as rows.
fn print(answer: &Value, format: Format) -> Result<ExitCode> {
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Value::Object(parts) = answer else { bail!("the answer is no object") };
    for (name, part) in parts {
        match part {
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                println!("{name}");
                for row in rows {
                    let cells: Vec<String> = row
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(name, cell)| match cell {
                            Value::Array(cells) => {
                                format!("{name}: {}", cells.iter().map(inline).collect::<Vec<_>>().join(", "))
                            }
                            cell => format!("{name}: {}", text(cell)),
                        })
                        .collect();
                    println!("  {}", cells.join("  "));
                }
            }
            part => println!("{name:<24} {}", text(part)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn inline(cell: &Value) -> String {
    match cell {
        Value::Object(parts) => parts.values().map(text).collect::<Vec<_>>().join(" × "),
        cell => text(cell),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}
