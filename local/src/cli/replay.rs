//! `lyceum replay`: begins replays, shows how far they are, stops them and has them go on. The process that owns the data runs them; where
//! none does, this one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use lyceum_core::replay::{FileFormat, Filter, OffsetsOf, Range, Request, Target, request};
use lyceum_xapi::utc_time::UtcTime;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dead_letters::minute;
use super::session::{Session, beside_mappings, encode, progress_line};
use super::table::{Side, Table, escape};
use super::{Data, Format, say, shadow};
use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::shadow::side::Place;

/// A replay that was cancelled or failed.
const NOT_DONE: u8 = 3;
/// How often it is asked how far a replay is.
const LOOKING: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists them, the one that came further last first
    List {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        shown: Shown,
    },
    /// Shows how far one is
    Status {
        /// Its id
        id: Uuid,
        /// Waits until it ends
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        shown: Shown,
    },
    /// Stops one behind the part that is on its way
    Cancel {
        /// Its id
        id: Uuid,
        #[command(flatten)]
        shown: Shown,
    },
    /// Has one go on that was stopped, or failed
    Resume {
        /// Its id
        id: Uuid,
        /// Waits until it ends
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        shown: Shown,
    },
}

#[derive(Debug, Args)]
struct Shown {
    /// How it is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AsFile {
    /// A line of JSON a record
    Jsonl,
    /// Apache Parquet
    Parquet,
}

#[derive(Debug, Args)]
struct Begin {
    /// Judges the records by this candidate release beside the present one, without any effect, and says what differs: a
    /// program, or the address of its `lyceum judge --listen`
    #[arg(long, value_name = "BINARY|URL", conflicts_with_all = ["request", "offsets", "correlation", "events", "partitions", "tenant", "event_types", "key", "target", "rate", "limit", "dry_run", "wait"])]
    shadow: Option<Place>,
    #[command(flatten)]
    compared: shadow::ComparedBy,
    /// Takes all of the request from this file instead, as POST /events/replay does; `-` is standard input
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Of these topics, with commas between
    #[arg(long = "topic", value_name = "NAMES", value_delimiter = ',')]
    topics: Vec<String>,
    /// Of each partition from its first record of this time on: RFC 3339, or a UTC date
    #[arg(long, value_name = "TIME", value_parser = request::time)]
    from: Option<UtcTime>,
    /// Up to its first record of this time
    #[arg(long, value_name = "TIME", value_parser = request::time)]
    until: Option<UtcTime>,
    /// These offsets, the second left out: FROM..UNTIL of each partition, PARTITION:FROM..UNTIL, or TOPIC/PARTITION:FROM..UNTIL
    #[arg(long, value_name = "RANGE", conflicts_with_all = ["from", "until"], value_parser = offsets)]
    offsets: Vec<OffsetsOf>,
    /// The events of this correlation id, as the audit log knows them
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "until", "offsets"])]
    correlation: Option<String>,
    /// These events, as the audit log knows them, with commas between
    #[arg(long = "event", value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["from", "until", "offsets", "correlation"])]
    events: Vec<Uuid>,
    /// Of these partitions alone, with commas between
    #[arg(long = "partition", value_name = "NUMBERS", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// Of this tenant alone
    #[arg(long)]
    tenant: Option<String>,
    /// Of these event types alone, with commas between
    #[arg(long = "type", value_name = "NAMES", value_delimiter = ',')]
    event_types: Vec<String>,
    /// With this key alone
    #[arg(long)]
    key: Option<String>,
    /// To their topic, once more
    #[arg(long, group = "target")]
    to_topic: bool,
    /// To one subscriber alone
    #[arg(long, value_name = "NAME", group = "target")]
    to_subscriber: Option<String>,
    /// To another topic, as they are
    #[arg(long, value_name = "TOPIC", group = "target")]
    to_other_topic: Option<String>,
    /// Into files: a folder, or s3://bucket/prefix
    #[arg(long, value_name = "PLACE", group = "target")]
    to_file: Option<String>,
    /// What follows from the subscriber's events is published: reactions, alerts, dead letters
    #[arg(long, requires = "to_subscriber")]
    publish: bool,
    /// How records stand in a file
    #[arg(long, value_enum, default_value = "jsonl")]
    as_file: AsFile,
    /// At most so many records a second
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Says what would go where, and does nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Waits until it ends, and shows how far it is
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    shown: Shown,
}

fn offsets(text: &str) -> Result<OffsetsOf, String> {
    let wrong = || format!("{text:?} is no range: write 100..200, 2:100..200 or nlj.training.programs/2:100..");
    let (place, range) = text.rsplit_once(':').map_or((None, text), |(place, range)| (Some(place), range));
    let (from, until) = range.split_once("..").ok_or_else(wrong)?;
    let end = |end: &str| match end {
        "" => Ok(None),
        end => end.parse().map(Some).map_err(|_| wrong()),
    };
    let (topic, partition) =
        match place.map(|place| place.rsplit_once('/').map_or((None, place), |(a, b)| (Some(a), b))) {
            None => (None, None),
            Some((topic, partition)) => (topic.map(str::to_owned), Some(partition.parse().map_err(|_| wrong())?)),
        };
    Ok(OffsetsOf { topic, partition, from: end(from)?, until: end(until)? })
}

impl Begin {
    fn request(&self) -> Result<Value> {
        if let Some(file) = &self.request {
            let name = file.display().to_string();
            let text =
                if name == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
            let text = text.with_context(|| format!("cannot read the request {name}"))?;
            return serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"));
        }
        let range = if let Some(id) = &self.correlation {
            Range::CorrelationId(id.clone())
        } else if !self.events.is_empty() {
            Range::EventIds(self.events.clone())
        } else if !self.offsets.is_empty() {
            Range::Offsets(self.offsets.clone())
        } else {
            Range::Times { from: self.from, until: self.until }
        };
        let target = if self.to_topic {
            Target::Topic
        } else if let Some(name) = &self.to_subscriber {
            Target::Subscriber { name: name.clone(), publish: self.publish }
        } else if let Some(topic) = &self.to_other_topic {
            Target::OtherTopic(topic.clone())
        } else if let Some(place) = &self.to_file {
            let format = match self.as_file {
                AsFile::Jsonl => FileFormat::Jsonl,
                AsFile::Parquet => FileFormat::Parquet,
            };
            // The process that writes it may stand in another folder.
            let place = match place.contains("://") {
                true => place.clone(),
                false => std::path::absolute(place).context("the place is no path")?.display().to_string(),
            };
            Target::File { place, format }
        } else {
            bail!(
                "say where the records go: --to-topic, --to-subscriber NAME, --to-other-topic TOPIC or --to-file PLACE"
            );
        };
        let request = Request {
            topics: self.topics.clone(),
            range,
            partitions: self.partitions.clone(),
            filter: Filter {
                tenant: self.tenant.clone(),
                event_types: self.event_types.clone(),
                key: self.key.clone(),
            },
            target,
            rate: self.rate,
            limit: self.limit,
        };
        Ok(serde_json::to_value(request)?)
    }
}

pub(super) async fn run(options: Options, config: Config) -> Result<ExitCode> {
    match options.action {
        None => begin(options.begin, config).await,
        Some(Action::List { limit, shown }) => list(limit, &shown, &config).await,
        Some(Action::Status { id, wait, shown }) => {
            let session = Session::open(&shown.data.data, &config).await?;
            if wait && session.is_own() {
                bail!("no process runs it: `lyceum up` goes on with it, and so does `lyceum replay resume`");
            }
            let replay = if wait { wait_for(&session, id, shown.format).await? } else { look(&session, id).await? };
            Ok(tell(&replay, shown.format))
        }
        Some(Action::Cancel { id, shown }) => {
            let session = Session::open(&shown.data.data, &config).await?;
            let replay: Value = session.post(&format!("/api/replays/{id}/cancel"), &json!({})).await?;
            tell(&replay, shown.format);
            Ok(ExitCode::SUCCESS)
        }
        Some(Action::Resume { id, wait, shown }) => {
            let path = format!("/api/replays/{id}/resume");
            act(&shown, &config, wait, async |session| session.post(&path, &json!({})).await).await
        }
    }
}

async fn begin(options: Begin, config: Config) -> Result<ExitCode> {
    if let Some(candidate) = options.shadow {
        let ms = |time: Option<UtcTime>| time.map(|time| time.as_millis());
        let (from_ms, until_ms) = (ms(options.from), ms(options.until));
        let Shown { format, data } = options.shown;
        let asked = shadow::Asked { candidate, topics: options.topics, from_ms, until_ms, data, format };
        return shadow::run(options.compared, asked, config).await;
    }
    let (options, config) = (&options, &config);
    let request = options.request()?;
    if options.dry_run {
        let session = Session::open(&options.shown.data.data, config).await?;
        let dry: Value = session.post("/events/replay?dry_run=true", &request).await?;
        tell_dry_run(&dry, options.shown.format);
        return Ok(ExitCode::SUCCESS);
    }
    act(&options.shown, config, options.wait, async |session| session.post("/events/replay", &request).await).await
}

/// Has a run begin or go on; where this process owns the data, until it ends.
async fn act(
    shown: &Shown,
    config: &Config,
    wait: bool,
    ask: impl AsyncFnOnce(&Session) -> Result<Value>,
) -> Result<ExitCode> {
    if !DataFolder::is_one(&shown.data.data) {
        // No folder is made for it: this says where there is none.
        drop(Session::open(&shown.data.data, config).await?);
    }
    let (session, runtime) = Session::open_processing(&shown.data.data, config).await?;
    let replay = match runtime {
        None => {
            let replay = ask(&session).await?;
            if wait { wait_for(&session, id_of(&replay)?, shown.format).await? } else { replay }
        }
        Some(runtime) => {
            let work = async {
                let replay = ask(&session).await?;
                wait_for(&session, id_of(&replay)?, shown.format).await
            };
            beside_mappings(&runtime, work).await?
        }
    };
    Ok(tell(&replay, shown.format))
}

fn id_of(replay: &Value) -> Result<Uuid> {
    replay["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .context("the answer names no replay; are the releases the same?")
}

async fn look(session: &Session, id: Uuid) -> Result<Value> {
    let found = session.find(&format!("/api/replays/{}", encode(&id.to_string())), &[]).await?;
    found.with_context(|| format!("there is no replay {id}; `lyceum replay list` lists those that there are"))
}

/// Waits until it ends, and shows a person how far it is.
async fn wait_for(session: &Session, id: Uuid, format: Format) -> Result<Value> {
    let bar = (format == Format::Table).then(progress_line);
    loop {
        let replay = look(session, id).await?;
        if replay["state"] != "running" {
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            return Ok(replay);
        }
        if let Some(bar) = &bar {
            bar.set_message(progress_of(&replay));
        }
        tokio::time::sleep(LOOKING).await;
    }
}

fn progress_of(replay: &Value) -> String {
    let (done, all) = (replay["offsets"]["done"].as_u64().unwrap_or(0), replay["offsets"]["all"].as_u64().unwrap_or(0));
    let ends = replay["ends_at"].as_str().map_or_else(String::new, |at| format!(", until about {} UTC", minute(at)));
    let rate = replay["per_second"].as_f64().map_or_else(String::new, |rate| format!(", {rate:.0} records a second"));
    let waits = replay["reason"].as_str().map_or_else(String::new, |why| format!("; {}", escape(why)));
    format!("{done} of {all} offsets{rate}{ends}{waits}")
}

/// Prints a run; the code says whether it is done or on its way.
fn tell(replay: &Value, format: Format) -> ExitCode {
    let is_bad = matches!(replay["state"].as_str(), Some("failed" | "cancelled"));
    let code = if is_bad { ExitCode::from(NOT_DONE) } else { ExitCode::SUCCESS };
    if format == Format::Json {
        say!("{replay:#}");
        return code;
    }
    let text = |name: &str| escape(replay[name].as_str().unwrap_or("-"));
    say!("replay {}: {}, {}", text("id"), text("state"), progress_of(replay));
    say!("to {}", text("target"));
    tell_partitions(replay, true);
    for note in replay["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        say!("note: {}", escape(note));
    }
    if !replay["written"].is_null() {
        say!("written: {}", replay["written"]);
    }
    code
}

fn tell_dry_run(dry: &Value, format: Format) {
    if format == Format::Json {
        say!("{dry:#}");
        return;
    }
    let at_least = if dry["is_exact"] == true { "" } else { "at least " };
    let target = escape(dry["target"].as_str().unwrap_or("-"));
    say!(
        "{at_least}{} records of {} offsets would go to {target}, in {} steps; nothing was done",
        dry["matched"],
        dry["offsets"],
        dry["steps"]
    );
    tell_partitions(dry, false);
    for note in dry["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        say!("note: {}", escape(note));
    }
}

fn tell_partitions(of: &Value, is_run: bool) {
    let partitions = of["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    let number = |value: &Value| value.as_i64().unwrap_or(0).to_string();
    let place = |of: &Value| format!("{}/{}", of["topic"].as_str().unwrap_or("-"), of["partition"]);
    if is_run {
        let row = |of: &Value| {
            let counts = &of["counts"];
            let [matched, sent, skipped, refused] =
                ["matched", "sent", "skipped", "refused"].map(|name| number(&counts[name]));
            [place(of), number(&of["from"]), number(&of["until"]), number(&of["next"]), matched, sent, skipped, refused]
        };
        let head = [
            ("partition", Side::Left),
            ("from", Side::Right),
            ("until", Side::Right),
            ("next", Side::Right),
            ("matched", Side::Right),
            ("sent", Side::Right),
            ("skipped", Side::Right),
            ("refused", Side::Right),
        ];
        say!("{}", Table::new(head, partitions.iter().map(row)).to_string().trim_end());
    } else {
        let row = |of: &Value| [place(of), number(&of["from"]), number(&of["until"]), number(&of["counts"]["matched"])];
        let head = [("partition", Side::Left), ("from", Side::Right), ("until", Side::Right), ("matched", Side::Right)];
        say!("{}", Table::new(head, partitions.iter().map(row)).to_string().trim_end());
    }
}

async fn list(limit: usize, shown: &Shown, config: &Config) -> Result<ExitCode> {
    let session = Session::open(&shown.data.data, config).await?;
    let limit = limit.clamp(1, 1_000).to_string();
    let answer = session.get("/api/replays", &[("limit", Some(&limit))]).await?;
    if shown.format == Format::Json {
        say!("{answer:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let replays = answer["replays"].as_array().map_or(&[][..], Vec::as_slice);
    if replays.is_empty() {
        say!("no replays");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |replay: &Value| {
        let text = |name: &str| replay[name].as_str().unwrap_or("-").to_owned();
        let topics = replay["request"]["topics"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let done = format!("{}/{}", replay["offsets"]["done"], replay["offsets"]["all"]);
        let topics = topics.collect::<Vec<_>>().join(", ");
        [text("id"), text("state"), done, topics, text("target"), minute(&text("updated_at"))]
    };
    let head = [
        ("id", Side::Left),
        ("state", Side::Left),
        ("offsets", Side::Right),
        ("topics", Side::Left),
        ("to", Side::Left),
        ("updated", Side::Left),
    ];
    say!("{}", Table::new(head, replays.iter().map(row)).to_string().trim_end());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_a_person_writes_them() {
        let of = |topic: Option<&str>, partition, from, until| {
            Ok(OffsetsOf { topic: topic.map(str::to_owned), partition, from, until })
        };
        assert_eq!(offsets("1..5"), of(None, None, Some(1), Some(5)));
        assert_eq!(offsets("2:1.."), of(None, Some(2), Some(1), None));
        assert_eq!(offsets("nlj.a/2:..5"), of(Some("nlj.a"), Some(2), None, Some(5)));
        for wrong in ["", "5", "a..b", "x:1..2", "t/x:1..2"] {
            assert!(offsets(wrong).unwrap_err().contains("nlj.training.programs/2:100.."), "{wrong}");
        }
    }
}
