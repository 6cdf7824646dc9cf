//! `lyceum dead-letters`: looks at dead letters, sends them again, and marks them as done with.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use lyceum_server::dead_letters::letters::{BEHIND, Cause, Causes, LetterState};
use serde_json::Value;

use super::say;
use super::session::{Session, segment};
use super::table::{Side, Table, escape};
use super::{Data, Format, one_of};
use crate::config::Config;

mod act;
mod import;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Counts them by rule, topic and tenant: what is wrong, since when, and whether it still is
    Summary {
        #[command(flatten)]
        shown: Shown,
        /// At most so many causes, up to 1000
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// How they are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Lists them, the newest first
    List {
        #[command(flatten)]
        shown: Shown,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Begins behind the letters of an earlier list, which ends with this
        #[arg(long, value_name = "NEXT")]
        cursor: Option<String>,
        /// How they are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Shows one with everything that is known of it
    Show {
        /// topic/partition/offset of the letter
        position: Position,
        #[command(flatten)]
        data: Data,
    },
    /// Sends the originals again; those sent three times stay parked unless named by their position
    Replay(act::Replay),
    /// Marks them as done with, parked ones too: they stay on their topic, and are neither counted nor sent again
    Discard(act::Discard),
    /// Prints the originals as JSON lines, for `lyceum ingest` once they are corrected; those that wait unless a state is given
    Export {
        #[command(flatten)]
        shown: Shown,
        /// At most so many
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Makes dead letters of what AWS Lambda gave up and wrote to an on-failure destination
    Import(import::Options),
}

/// Which of them are looked at.
#[derive(Debug, Args)]
struct Shown {
    #[command(flatten)]
    which: Which,
    #[arg(long, value_parser = state, help = one_of(LetterState::ALL.map(LetterState::name)))]
    state: Option<LetterState>,
}

#[derive(Debug, Args)]
struct Which {
    /// The topic that the event was on, or the dead-letter topic
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, value_parser = kind, help = one_of(DeadLetterKind::ALL.map(DeadLetterKind::name)))]
    kind: Option<DeadLetterKind>,
    /// The first rule that was broken
    #[arg(long)]
    rule: Option<String>,
    /// Written from this time on: RFC 3339, or a UTC date
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Written before this time: RFC 3339; of a UTC date, that day included
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Whose they are; `*` is every tenant's, and those of nobody [default: whom the token names, else DEFAULT_TENANT]
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    data: Data,
}

impl Which {
    fn query<'a>(&'a self, session: &'a Session, state: Option<LetterState>) -> Vec<(&'static str, Option<&'a str>)> {
        vec![
            ("topic", self.topic.as_deref()),
            ("kind", self.kind.map(DeadLetterKind::name)),
            ("rule", self.rule.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("tenant", session.tenant(self.tenant.as_deref())),
            ("state", state.map(LetterState::name)),
        ]
    }
}

fn kind(name: &str) -> Result<DeadLetterKind, String> {
    let names = || DeadLetterKind::ALL.map(DeadLetterKind::name).join(", ");
    DeadLetterKind::from_name(name).ok_or_else(|| format!("there is {}", names()))
}

fn state(name: &str) -> Result<LetterState, String> {
    let names = || LetterState::ALL.map(LetterState::name).join(", ");
    LetterState::from_name(name).ok_or_else(|| format!("there is {}", names()))
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    match options.action {
        Action::Summary { shown, limit, format } => summarize(&shown, limit, format, &config).await,
        Action::List { shown, limit, cursor, format } => list(&shown, limit, cursor, format, &config).await,
        Action::Show { position, data } => show(&position, &data, &config).await,
        Action::Replay(options) => act::replay(&options, &config).await,
        Action::Discard(options) => act::discard(&options, &config).await,
        Action::Export { shown, limit } => export(&shown, limit, &config).await,
        Action::Import(options) => import::run(&options, &config).await,
    }
}

async fn summarize(Shown { which, state }: &Shown, limit: usize, format: Format, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&which.data.data, config).await?;
    let limit = limit.to_string();
    let mut query = which.query(&session, *state);
    query.push(("limit", Some(&limit)));
    let answer = ask(&session, "/api/dead-letters/summary", &query).await?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Causes { causes, total, not_indexed, is_behind, .. } = serde_json::from_value(answer)?;
    if causes.is_empty() {
        tell_none(&session, which, is_behind).await;
        return Ok(ExitCode::SUCCESS);
    }
    if (causes.len() as u64) < total {
        say!("{} of {total} causes, those of which the most wait first", causes.len());
    }
    let row = |cause: &Cause| {
        let example = cause.example.as_ref().map_or("-".to_owned(), ToString::to_string);
        [
            cause.waiting.to_string(),
            cause.parked.to_string(),
            cause.count.to_string(),
            cause.rule.clone(),
            cause.kind.name().to_owned(),
            cause.topic.clone(),
            cause.tenant.clone().unwrap_or_else(|| "-".to_owned()),
            minute(&cause.first),
            minute(&cause.last),
            example,
        ]
    };
    let head = [
        ("waiting", Side::Right),
        ("parked", Side::Right),
        ("all", Side::Right),
        ("rule", Side::Left),
        ("kind", Side::Left),
        ("topic", Side::Left),
        ("tenant", Side::Left),
        ("first", Side::Left),
        ("last", Side::Left),
        ("example", Side::Left),
    ];
    say!("{}", Table::new(head, causes.iter().map(row)).to_string().trim_end());
    tell_left_out(not_indexed, is_behind);
    Ok(ExitCode::SUCCESS)
}

/// A time to the minute, in UTC.
pub(super) fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replacen('T', " ", 1)
}

/// Says that there is none, or that it is not known yet.
async fn tell_none(session: &Session, which: &Which, is_behind: bool) {
    if is_behind {
        say!("{BEHIND}");
        return;
    }
    session.tell_other_tenants(session.tenant(which.tenant.as_deref())).await;
    say!("no dead letters");
}

fn tell_left_out(number: u64, is_behind: bool) {
    if is_behind {
        say!("{BEHIND}");
    }
    if number > 0 {
        say!(
            "{number} older ones are counted and not listed, for want of room: they are listed once others are sent again, \
             discarded or have expired"
        );
    }
}

/// So many letters one answer holds.
const PAGE: usize = 1000;
/// So long it is asked again where not every letter was read yet, and so often.
const PATIENCE: Duration = Duration::from_secs(30);
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Asks for letters until all of them were read: a process answers from those that it has read.
pub(super) async fn ask(session: &Session, path: &str, query: &[(&str, Option<&str>)]) -> Result<Value> {
    let mut answer = session.get(path, query).await?;
    let until = Instant::now() + PATIENCE;
    while answer["is_behind"] == true && Instant::now() < until {
        tokio::time::sleep(ASKED_AGAIN_AFTER).await;
        answer = session.get(path, query).await?;
    }
    Ok(answer)
}

async fn list(
    Shown { which, state }: &Shown,
    limit: usize,
    mut cursor: Option<String>,
    format: Format,
    config: &Config,
) -> Result<ExitCode> {
    let session = Session::open(&which.data.data, config).await?;
    let mut letters: Vec<Value> = Vec::new();
    let mut answer;
    loop {
        let most = (limit - letters.len().min(limit)).min(PAGE).to_string();
        let mut query = which.query(&session, *state);
        query.extend([("limit", Some(most.as_str())), ("cursor", cursor.as_deref())]);
        answer = ask(&session, "/api/dead-letters", &query).await?;
        let page = answer["dead_letters"].as_array_mut().map(std::mem::take).unwrap_or_default();
        letters.extend(page);
        cursor = answer["next"].as_str().map(str::to_owned);
        if cursor.is_none() || letters.len() >= limit {
            break;
        }
    }
    if format == Format::Json {
        answer["dead_letters"] = letters.into();
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let is_behind = answer["is_behind"] == true;
    if letters.is_empty() {
        tell_none(&session, which, is_behind).await;
    } else {
        say!("{} of {}, newest first", letters.len(), answer["total"]);
    }
    letters.iter().for_each(print);
    tell_left_out(answer["not_indexed"].as_u64().unwrap_or(0), is_behind && !letters.is_empty());
    if let Some(next) = cursor {
        say!("the next ones: --cursor {next}, or a larger --limit");
    }
    Ok(ExitCode::SUCCESS)
}

/// A letter in two lines or more: what was wrong stands below which one it is. What a sender wrote is escaped.
fn print(letter: &Value) {
    let text = |name: &str| escape(letter[name].as_str().unwrap_or("-"));
    let mark = match text("state").as_str() {
        "waiting" => String::new(),
        "sent" if letter["is_applied"] == true => "  (sent again, applied)".to_owned(),
        "sent" => "  (sent again)".to_owned(),
        state => format!("  ({state})"),
    };
    let place = text("position");
    say!("{} {place:<32} {:<12} from {}{mark}", text("at"), text("kind"), text("source"));
    say!("    tenant {}, event {}, learner {}", text("tenant"), text("event_id"), text("learner"));
    for finding in letter["findings"].as_array().into_iter().flatten() {
        let text = |name: &str| escape(finding[name].as_str().unwrap_or_default());
        let pointer = text("pointer");
        let at = if pointer.is_empty() { pointer } else { format!("{pointer}: ") };
        say!("    {at}{} [{}]", text("message"), text("rule"));
    }
}

async fn show(position: &Position, data: &Data, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&data.data, config).await?;
    let path = format!("/api/dead-letters/{}/{}/{}", segment(&position.topic), position.partition, position.offset);
    match session.find(&path, &[]).await? {
        Some(letter) => say!("{}", serde_json::to_string_pretty(&letter)?),
        None => bail!("{position} holds no dead letter; `lyceum dead-letters list` shows where they are"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(Shown { which, state }: &Shown, limit: Option<usize>, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&which.data.data, config).await?;
    let state = state.unwrap_or(LetterState::Waiting);
    let limit = limit.map(|limit| limit.to_string());
    let mut query = which.query(&session, Some(state));
    let found = session.get("/api/dead-letters", &[query.as_slice(), &[("limit", Some("1"))]].concat()).await?;
    let matching = found["total"].as_u64().unwrap_or(0);
    query.push(("limit", limit.as_deref()));
    let lines = session.copy_lines("/api/dead-letters/export", &query).await?;
    let wanted = limit.and_then(|limit| limit.parse().ok()).unwrap_or(u64::MAX).min(matching);
    eprintln!("{lines} of {matching} that are {}", state.name());
    if lines < wanted {
        eprintln!(
            "{} were left out: they are no JSON, or their letter does not hold them; `lyceum dead-letters list` shows where they came from",
            wanted - lines
        );
    }
    Ok(ExitCode::SUCCESS)
}
