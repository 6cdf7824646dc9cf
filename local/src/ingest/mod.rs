//! Publishes the events of files and waits until every one of them is settled.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use lyceum_catalog::FAMILIES;
use lyceum_core::envelope::{TENANT_HEADER, ingested_event_id};
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::ports::event_log::rules::check_sizes;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::record::{Header, NewRecord, Position};
use lyceum_embedded::event_log::EventLogOptions;
use lyceum_event_source_mapping::{EventSourceMapping, MappingConfig, MappingState};
use lyceum_server::dead_letters::letters::Ending;
use lyceum_server::questions::AskError;
use lyceum_server::work::{Prepared, REFUSED, Summary, Watch};
use tempfile::TempPath;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::routing::{Route, Router, is_only_audited};

mod look;
pub mod reader;
pub(crate) mod record_line;

use reader::{EVENT_LIMIT_BYTES, Event, Events};
use record_line::RecordLine;

/// So many events, or bytes, are published in one call.
const CHUNK_EVENTS: usize = 1_000;
const CHUNK_BYTES: usize = 2 << 20;
/// Beyond so many unsettled events the reader waits: memory stays bounded however long the file is.
const UNSETTLED_LIMIT: usize = 50_000;
/// An ingestion ends where nothing is settled for so long, and something is known to fail.
const STANDSTILL: Duration = Duration::from_secs(30);

/// What an ingestion goes through.
#[derive(Clone)]
pub struct Pipeline {
    /// Where events are published, and read from.
    pub event_log: Arc<dyn EventLog>,
    /// One a topic.
    pub mappings: Vec<Arc<EventSourceMapping>>,
    /// Which event belongs where.
    pub router: Router,
    /// For the time and the capacity that an ingestion takes.
    pub metrics: Arc<Metrics>,
    /// Counts how the records of an ingestion end.
    pub tally: Arc<Tally>,
    /// Whether other processes may settle records of the same topics: then not every outcome is seen here.
    pub shares_its_topics: bool,
}

/// What is to be published, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Every event goes there; without it each goes where it belongs.
    pub topic: Option<String>,
    /// The header `tenant-id` of every event.
    pub tenant: Option<String>,
    /// Takes also a file that looks as if it held no events.
    pub force: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Events read.
    pub read: u64,
    /// Events settled.
    pub settled: u64,
}

/// Publishes the events of these files and waits until all are settled. `progress` is called now and then.
///
/// # Errors
/// A file that cannot be read, or a log that refuses; what was valid before it is settled first, and the error says so.
pub async fn ingest(
    pipeline: &Pipeline,
    files: Vec<PathBuf>,
    options: Options,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<(Summary, Option<anyhow::Error>)> {
    if let Some(topic) = &options.topic {
        check_topic(pipeline, topic).await?;
    }
    let router = pipeline.router.clone();
    let prepare = move |hand_on: &mut dyn FnMut(Chunk) -> bool| for_each_prepared(&files, &options, &router, hand_on);
    ingest_chunks(pipeline, prepare, progress).await
}

/// What a source of events that is no file gives next.
pub enum Next {
    /// An event.
    Event(Prepared),
    /// None for so long: what came before it is published meanwhile.
    Pause(Duration),
}

/// The same with events that are made as they are asked for, in a thread of their own.
///
/// # Errors
/// As of [`ingest`].
pub async fn ingest_made(
    pipeline: &Pipeline,
    made: impl Iterator<Item = Next> + Send + 'static,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<(Summary, Option<anyhow::Error>)> {
    let prepare = move |hand_on: &mut dyn FnMut(Chunk) -> bool| {
        for_each_part(made, |events| {
            let bytes = 0;
            hand_on(Chunk { read: events.len() as u64, events, bytes, ..Chunk::default() })
        });
        Ok(())
    };
    ingest_chunks(pipeline, prepare, progress).await
}

/// Hands events on in parts, as they are published.
pub fn for_each_part(made: impl Iterator<Item = Next>, mut hand_on: impl FnMut(Vec<Prepared>) -> bool) {
    let (mut part, mut bytes) = (Vec::new(), 0);
    for next in made {
        let pause = match next {
            Next::Event(event) => {
                bytes += event.record.value.as_ref().map_or(0, Bytes::len);
                part.push(event);
                None
            }
            Next::Pause(pause) => Some(pause),
        };
        let is_full = part.len() >= CHUNK_EVENTS || bytes >= CHUNK_BYTES || pause.is_some();
        if is_full && !part.is_empty() {
            bytes = 0;
            if !hand_on(std::mem::take(&mut part)) {
                return;
            }
        }
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
    if !part.is_empty() {
        hand_on(part);
    }
}

async fn ingest_chunks(
    pipeline: &Pipeline,
    prepare: impl FnOnce(&mut dyn FnMut(Chunk) -> bool) -> Result<()> + Send + 'static,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<(Summary, Option<anyhow::Error>)> {
    let started = Instant::now();
    let before = (pipeline.metrics.stages(), pipeline.metrics.capacity());
    let (send, mut chunks) = mpsc::channel::<Chunk>(4);
    let preparing = tokio::task::spawn_blocking(move || prepare(&mut |chunk| send.blocking_send(chunk).is_ok()));
    let run = pipeline.tally.begin();
    let mut summary = Summary::default();
    let mut failed = None;
    let mut standstill = Standstill::new(pipeline, &run);
    'reading: while let Some(chunk) = chunks.recv().await {
        summary.read += chunk.read;
        summary.not_published_total += chunk.not_published.len() as u64;
        summary.not_published.extend(chunk.not_published);
        summary.not_published.truncate(100);
        summary.empty_files.extend(chunk.empty);
        if let Err(error) = publish(pipeline, &run, chunk.events).await {
            let refused = summary.read - summary.not_published_total - run.published_total();
            summary.not_published_total += refused;
            summary.not_published.push(format!("{refused} events that were read: {error:#}"));
            failed = Some(error.context("not all was read; mend the cause, then ingest the files once more"));
            break;
        }
        progress(Progress { read: summary.read, settled: run.settled() });
        while run.unsettled() > UNSETTLED_LIMIT {
            let looked = if pipeline.shares_its_topics {
                tokio::time::sleep(Duration::from_millis(200)).await;
                run.look_elsewhere(pipeline).await
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            };
            progress(Progress { read: summary.read, settled: run.settled() });
            if let Err(error) = looked.and_then(|()| standstill.check()) {
                failed = Some(error);
                break 'reading;
            }
        }
    }
    drop(chunks);
    let read = preparing.await.context("the reading of files failed")?;
    let read_so_far = summary.read;
    let settling = run.wait(pipeline, |settled| {
        progress(Progress { read: read_so_far, settled });
        standstill.check()
    });
    let settled = match settling.await {
        Ok(()) => settle_what_follows(pipeline).await,
        failed => failed,
    };
    let own = run.finish(pipeline, &mut summary, settled.is_ok());
    summary.took(started.elapsed());
    summary.stages = stages_since(&before.0, &pipeline.metrics.stages());
    summary.capacity = Some(pipeline.metrics.capacity().since(&before.1).share_of(&own));
    let errors: Vec<anyhow::Error> = failed.into_iter().chain(read.err()).chain(settled.err()).collect();
    let told = errors.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("\n");
    let error = match errors.as_slice() {
        [] => None,
        // All else went well.
        [error] if error.is::<Unreadable>() => Some(Unreadable(told).into()),
        _ => Some(anyhow::anyhow!(told)),
    };
    Ok((summary, error))
}

/// What follows from an event is an event of its own: a process that ends now leaves none of it behind. Where others share the
/// topics, they go on with it.
async fn settle_what_follows(pipeline: &Pipeline) -> Result<()> {
    if pipeline.shares_its_topics {
        return Ok(());
    }
    loop {
        let mut is_settled = true;
        for mapping in &pipeline.mappings {
            let MappingConfig { topic, name, function_timeout, .. } = mapping.config();
            let ranges = pipeline.event_log.offsets(topic).await?;
            let held = (0..).zip(&ranges).filter(|(_, range)| range.start < range.end);
            let ends: BTreeMap<i32, i64> = held.map(|(partition, range)| (partition, range.end)).collect();
            let mut waiting = std::pin::pin!(mapping.wait_until_settled(&ends));
            if waiting.as_mut().now_or_never().is_some() {
                continue;
            }
            is_settled = false;
            let limit = STANDSTILL + *function_timeout;
            tokio::time::timeout(limit, waiting).await.map_err(|_| {
                anyhow::anyhow!(
                    "all events are settled, and not what follows from them: {name} has not settled {topic} within {} s. It is \
                     published and stays, and is settled at the next start: `lyceum status` shows stores and functions",
                    limit.as_secs()
                )
            })?;
        }
        if is_settled {
            return Ok(());
        }
    }
}

/// What was spent in each stage since then.
fn stages_since(before: &BTreeMap<String, Duration>, now: &BTreeMap<String, Duration>) -> BTreeMap<String, f64> {
    let spent = |(stage, time): (&String, &Duration)| {
        let since = time.saturating_sub(before.get(stage).copied().unwrap_or_default());
        (stage.clone(), (since.as_secs_f64() * 1e3).round() / 1e3)
    };
    now.iter().map(spent).filter(|(_, seconds)| *seconds > 0.0).collect()
}

/// Publishes events that are prepared already, and waits until all are settled.
pub async fn ingest_prepared(pipeline: &Pipeline, events: Vec<Prepared>) -> Result<Summary> {
    let before = (pipeline.metrics.stages(), pipeline.metrics.capacity());
    let started = Instant::now();
    let run = pipeline.tally.begin();
    let mut summary = Summary { read: events.len() as u64, ..Summary::default() };
    publish(pipeline, &run, events).await?;
    let mut standstill = Standstill::new(pipeline, &run);
    run.wait(pipeline, |_| standstill.check()).await?;
    let own = run.finish(pipeline, &mut summary, true);
    summary.took(started.elapsed());
    summary.stages = stages_since(&before.0, &pipeline.metrics.stages());
    summary.capacity = Some(pipeline.metrics.capacity().since(&before.1).share_of(&own));
    Ok(summary)
}

async fn check_topic(pipeline: &Pipeline, topic: &str) -> Result<()> {
    let is_read = pipeline.mappings.iter().any(|mapping| mapping.config().topic == topic);
    match pipeline.event_log.offsets(topic).await {
        Ok(_) if is_read && !is_only_audited(topic) => Ok(()),
        Ok(_) => bail!("no function reads topic {topic}; `lyceum topics` shows which ones have a function"),
        Err(error) => Err(error.into()),
    }
}

async fn publish(pipeline: &Pipeline, run: &Run, events: Vec<Prepared>) -> Result<()> {
    let mut by_topic: BTreeMap<String, Vec<NewRecord>> = BTreeMap::new();
    for Prepared { topic, record } in events {
        by_topic.entry(topic).or_default().push(record);
    }
    for (topic, records) in by_topic {
        let mut waited = Duration::ZERO;
        let positions = loop {
            match pipeline.event_log.produce(&topic, records.clone()).await {
                Ok(positions) => break positions,
                // A full disk may be freed while we wait; what was published before stays either way.
                Err(error @ EventLogError::Unavailable(_)) if waited < Duration::from_secs(5) => {
                    tracing::warn!(%error, "publishing failed; trying again");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    waited += Duration::from_millis(500);
                }
                Err(error) => return Err(error).with_context(|| format!("cannot publish to {topic}")),
            }
        };
        run.published(&positions);
    }
    Ok(())
}

/// Events that were read together.
#[derive(Default)]
struct Chunk {
    events: Vec<Prepared>,
    bytes: usize,
    read: u64,
    not_published: Vec<String>,
    /// Files without any event.
    empty: Vec<String>,
}

/// Reads the files and hands their events on, in order; each with topic, key and headers.
fn for_each_prepared(
    files: &[PathBuf],
    options: &Options,
    router: &Router,
    mut hand_on: impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let record_limit_bytes = EventLogOptions::default().max_record_bytes;
    let mut chunk = Chunk::default();
    let mut failures = Failures::default();
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let kept = match keep_standard_input(file) {
            Ok(kept) => kept,
            Err(error) => {
                failures.push(format!("{error:#}"));
                continue;
            }
        };
        let path = kept.as_deref().unwrap_or(file);
        if !options.force
            && let Some(what) = look::suspect(path, router, options.topic.is_some())
        {
            refused.entry(what).or_default().push(file.display().to_string());
            continue;
        }
        let mut digest = None;
        let mut is_empty = true;
        let events = match Events::open(path) {
            Ok(events) => events,
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        for event in events {
            is_empty = false;
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    failures.push(error.to_string());
                    continue;
                }
            };
            chunk.read += 1;
            let at = |event: &Event| format!("{}, {}", file.display(), event.told_place());
            match &event.value {
                Ok(value) => {
                    let of_file = || match digest {
                        Some(digest) => Ok(digest),
                        None => Ok(*digest.insert(reader::digest(path)?)),
                    };
                    let prepared = prepare_event(value, options, router, of_file, event.number)?;
                    let prepared = prepared.and_then(|prepared| {
                        // One that the log refuses would take the others of its chunk with it.
                        let fits = check_sizes(std::slice::from_ref(&prepared.record), record_limit_bytes);
                        fits.map(|()| prepared).map_err(|error| error.to_string())
                    });
                    match prepared {
                        Ok(prepared) => {
                            chunk.bytes += prepared.record.value.as_ref().map_or(0, Bytes::len);
                            chunk.events.push(prepared);
                        }
                        Err(why) => chunk.not_published.push(format!("{}: {why}", at(&event))),
                    }
                }
                Err(bytes) => chunk
                    .not_published
                    .push(format!("{}: {bytes} bytes, and {EVENT_LIMIT_BYTES} are taken at most", at(&event))),
            }
            let is_full = chunk.events.len() >= CHUNK_EVENTS || chunk.bytes >= CHUNK_BYTES;
            if is_full && !hand_on(std::mem::take(&mut chunk)) {
                return Ok(());
            }
        }
        if is_empty {
            chunk.empty.push(file.display().to_string());
        }
    }
    hand_on(chunk);
    refused.iter().for_each(|(what, files)| failures.push(tell_refused(what, files)));
    failures.into_result()
}

/// An event of a file with its topic, key and headers, or why it is not published. `digest` is of its file, for an event without an id.
fn prepare_event(
    value: &Bytes,
    options: &Options,
    router: &Router,
    digest: impl FnOnce() -> Result<[u8; 32]>,
    number: u64,
) -> Result<Result<Prepared, String>> {
    let RecordLine { topic, key, mut headers, value, .. } = match record_line::read(value) {
        Ok(line) => line,
        Err(why) => return Ok(Err(why)),
    };
    // One that nobody reads would take the others of its chunk with it.
    let is_known = |topic: &String| FAMILIES.iter().any(|spec| spec.topics.iter().any(|of| of.name == topic));
    if let Some(unknown) = topic.as_ref().filter(|topic| !is_known(topic)) {
        return Ok(Err(format!("no family has a topic {unknown:?}; `lyceum topics` lists those that are")));
    }
    let named = options.topic.as_ref().or(topic.as_ref());
    let route = match &value {
        Some(value) => router.route(named.map(String::as_str), value),
        None => Route { topic: Err("a tombstone needs a topic".to_owned()), key: None, has_id: None },
    };
    if let Some(tenant) = &options.tenant {
        headers.retain(|header| header.name != TENANT_HEADER);
        headers.push(Header::new(TENANT_HEADER, tenant.clone()));
    }
    if route.has_id == Some(false) && !headers.iter().any(|header| header.name == "event-id") {
        headers.push(Header::new("event-id", ingested_event_id(&digest()?, number).to_string()));
    }
    let topic = match (named, route.topic) {
        (Some(topic), _) => topic.clone(),
        (None, Ok(topic)) => topic.to_owned(),
        (None, Err(why)) => return Ok(Err(why)),
    };
    let key = key.or(route.key).map(Bytes::from);
    Ok(Ok(Prepared { topic, record: NewRecord { key, value, headers, ..NewRecord::default() } }))
}

/// Which files were refused for what they look like.
fn tell_refused(what: &str, files: &[String]) -> String {
    const NAMED: usize = 3;
    match files {
        [file] => format!("{file} looks like {what}; nothing of it was sent, --force sends it anyway"),
        files => {
            let named = files[..files.len().min(NAMED)].join(", ");
            let more = files.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "{} files look like {what}; nothing of them was sent, --force sends them anyway: {named}{more}",
                files.len()
            )
        }
    }
}

/// A file that cannot be read, wholly or in part: the command ends with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What could not be read: the first hundred places, and how many more there are.
#[derive(Default)]
struct Failures {
    told: Vec<String>,
    further: u64,
}

impl Failures {
    fn push(&mut self, failure: String) {
        if self.told.len() < 100 {
            self.told.push(failure);
        } else {
            self.further += 1;
        }
    }

    fn into_result(mut self) -> Result<()> {
        if self.further > 0 {
            self.told.push(format!("and at {} further places; `lyceum validate` reports all of them", self.further));
        }
        if self.told.is_empty() { Ok(()) } else { Err(Unreadable(self.told.join("\n")).into()) }
    }
}

/// A file is read twice, which standard input cannot be: it is kept in a temporary file, which goes with the answer.
fn keep_standard_input(file: &Path) -> Result<Option<TempPath>> {
    if file != Path::new("-") {
        return Ok(None);
    }
    let cannot = || format!("cannot keep standard input in {}", std::env::temp_dir().display());
    let mut kept = tempfile::Builder::new().prefix("lyceum-stdin-").tempfile().with_context(cannot)?;
    std::io::copy(&mut std::io::stdin().lock(), &mut kept).context("cannot read standard input")?;
    Ok(Some(kept.into_temp_path()))
}

/// Splits files into parts that another process ingests: each part is a list of events with their topics and headers.
pub fn parts(
    files: &[PathBuf],
    options: &Options,
    router: &Router,
    mut part: impl FnMut(Vec<Prepared>, Summary) -> bool,
) -> Result<()> {
    for_each_prepared(files, options, router, |chunk| {
        let not_published_total = chunk.not_published.len() as u64;
        let read = not_published_total;
        part(
            chunk.events,
            Summary {
                read,
                not_published_total,
                not_published: chunk.not_published,
                empty_files: chunk.empty,
                ..Summary::default()
            },
        )
    })
}

/// Watches how records end, for the ingestions that wait for theirs.
#[derive(Default)]
pub struct Tally {
    runs: Mutex<Vec<Arc<Mutex<Counting>>>>,
}

#[derive(Default)]
struct Counting {
    /// Published, and not known to be settled.
    awaited: HashMap<(Arc<str>, i32), HashSet<i64>>,
    /// Settled before the publishing call came back: the log is faster than its answer.
    early: HashMap<(Arc<str>, i32), HashMap<i64, EndOfEvent>>,
    /// What the groups have committed of these partitions, where others settle records, too.
    committed: HashMap<(Arc<str>, i32), i64>,
    counts: Summary,
    /// Settled here, by family.
    families: BTreeMap<&'static str, u64>,
    settled: u64,
    unsettled: usize,
    /// Why a record was last put off, whoever published it, and when.
    put_off: Option<(Instant, String)>,
    /// How each ended, where that is asked for.
    endings: Option<BTreeMap<Position, Ending>>,
    ends: BTreeMap<Arc<str>, BTreeMap<i32, i64>>,
}

/// How one event ended.
struct EndOfEvent {
    outcome: Outcome,
    event_id: Option<Uuid>,
    family: &'static str,
}

impl EndOfEvent {
    fn of(report: &Report) -> Self {
        Self { outcome: report.outcome.clone(), event_id: report.event_id, family: report.family }
    }
}

impl Counting {
    fn count(
        &mut self,
        (topic, partition): &(Arc<str>, i32),
        offset: i64,
        EndOfEvent { outcome, event_id, family }: &EndOfEvent,
    ) {
        self.settled += 1;
        *self.families.entry(family).or_default() += 1;
        if let (Outcome::DeadLettered { .. }, Some(event_id)) = (outcome, event_id)
            && self.counts.refused.len() < REFUSED
        {
            self.counts.refused.push((Position::new(topic.clone(), *partition, offset), *event_id));
        }
        if let Some(endings) = &mut self.endings {
            let ending = match outcome {
                Outcome::Applied => Ending::Applied,
                Outcome::Duplicate => Ending::Duplicate,
                Outcome::DeadLettered { .. } => Ending::DeadLettered,
                _ => Ending::Elsewhere,
            };
            endings.insert(Position::new(topic.clone(), *partition, offset), ending);
        }
        match outcome {
            Outcome::Applied => self.counts.applied += 1,
            Outcome::Duplicate => self.counts.duplicate += 1,
            Outcome::DeadLettered { kind } => {
                *self.counts.dead_lettered.entry(kind.name().to_owned()).or_default() += 1;
            }
            Outcome::SkippedTombstone => self.counts.skipped += 1,
            Outcome::Skipped | Outcome::RetryLater { .. } => {}
        }
    }

    /// A group has committed so far: what is awaited below was settled elsewhere, since own outcomes come before a commit.
    fn committed(&mut self, partition: (Arc<str>, i32), committed: i64) {
        if let Some(awaited) = self.awaited.get_mut(&partition) {
            let before = awaited.len();
            awaited.retain(|offset| *offset >= committed);
            let elsewhere = before - awaited.len();
            self.unsettled -= elsewhere;
            self.settled += elsewhere as u64;
            self.counts.elsewhere += elsewhere as u64;
        }
        self.committed.insert(partition, committed);
    }
}

impl Tally {
    fn begin(&self) -> Run {
        let counting = Arc::new(Mutex::new(Counting::default()));
        lock(&self.runs).push(counting.clone());
        Run { counting }
    }
}

impl Observer for Tally {
    fn observe(&self, reports: &[Report]) {
        let mut runs = lock(&self.runs);
        runs.retain(|run| Arc::strong_count(run) > 1);
        for run in runs.iter() {
            let mut counting = lock(run);
            let put_off = reports.iter().rev().find_map(|report| match &report.outcome {
                Outcome::RetryLater { reason } => Some((Instant::now(), reason.to_string())),
                _ => None,
            });
            counting.put_off = put_off.or(counting.put_off.take());
            for report in reports.iter().filter(|report| report.is_owner && report.outcome.is_settled()) {
                let partition = (report.position.topic.clone(), report.position.partition);
                let offset = report.position.offset;
                if counting.awaited.get_mut(&partition).is_some_and(|awaited| awaited.remove(&offset)) {
                    counting.unsettled -= 1;
                    counting.count(&partition, offset, &EndOfEvent::of(report));
                } else {
                    counting.early.entry(partition).or_default().insert(offset, EndOfEvent::of(report));
                }
            }
        }
    }
}

/// Sees how records end that others publish, from now on.
pub struct Watching {
    pipeline: Pipeline,
    run: Run,
}

impl Watching {
    /// Begins.
    pub fn begin(pipeline: &Pipeline) -> Self {
        let run = pipeline.tally.begin();
        lock(&run.counting).endings = Some(BTreeMap::new());
        Self { pipeline: pipeline.clone(), run }
    }
}

#[async_trait]
impl Watch for Watching {
    async fn endings(&mut self, sent: &[Position], limit: Duration) -> Result<BTreeMap<Position, Ending>, AskError> {
        self.run.published(sent);
        let waiting = self.run.wait(&self.pipeline, |_| Ok(()));
        let is_committed = match tokio::time::timeout(limit, waiting).await {
            Ok(waited) => waited.map_err(|error| AskError::Unavailable(format!("{error:#}"))).map(|()| true)?,
            Err(_) => false,
        };
        let mut endings = lock(&self.run.counting).endings.clone().unwrap_or_default();
        let unknown = if is_committed { Ending::Elsewhere } else { Ending::Pending };
        for position in sent {
            endings.entry(position.clone()).or_insert(unknown);
        }
        Ok(endings)
    }
}

/// One ingestion's count.
struct Run {
    counting: Arc<Mutex<Counting>>,
}

impl Run {
    fn published(&self, positions: &[Position]) {
        let counting = &mut *lock(&self.counting);
        for position in positions {
            let partition = (position.topic.clone(), position.partition);
            let early = counting.early.get_mut(&partition).and_then(|early| early.remove(&position.offset));
            match early {
                Some(end) => counting.count(&partition, position.offset, &end),
                None => {
                    counting.unsettled += 1;
                    counting.awaited.entry(partition).or_default().insert(position.offset);
                }
            }
            let end = counting.ends.entry(position.topic.clone()).or_default().entry(position.partition).or_insert(0);
            *end = (*end).max(position.offset + 1);
        }
        // Others publish too: what is early and below our last offset is not ours.
        for ((topic, partition), early) in &mut counting.early {
            let end = counting.ends.get(topic).and_then(|ends| ends.get(partition)).copied().unwrap_or(0);
            early.retain(|offset, _| *offset >= end);
        }
    }

    fn settled(&self) -> u64 {
        lock(&self.counting).settled
    }

    fn unsettled(&self) -> usize {
        lock(&self.counting).unsettled
    }

    fn published_total(&self) -> u64 {
        let counting = lock(&self.counting);
        counting.settled + counting.unsettled as u64
    }

    /// Why a record was last put off, if that was since then.
    fn put_off_since(&self, since: Instant) -> Option<String> {
        let counting = lock(&self.counting);
        counting.put_off.as_ref().filter(|(at, _)| *at >= since).map(|(_, reason)| reason.clone())
    }

    /// The mappings of the topics that it published to.
    fn mappings<'a>(&self, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a Arc<EventSourceMapping>> {
        let topics: HashSet<Arc<str>> = lock(&self.counting).ends.keys().cloned().collect();
        pipeline.mappings.iter().filter(move |mapping| topics.contains(mapping.config().topic.as_str()))
    }

    /// Counts what others have settled meanwhile.
    async fn look_elsewhere(&self, pipeline: &Pipeline) -> Result<()> {
        for mapping in self.mappings(pipeline) {
            self.ask_committed(pipeline, mapping).await?;
        }
        Ok(())
    }

    /// What the mapping's group has committed; nothing where the log cannot say so now.
    async fn ask_committed(&self, pipeline: &Pipeline, mapping: &EventSourceMapping) -> Result<BTreeMap<i32, i64>> {
        let MappingConfig { group, topic, .. } = mapping.config();
        match pipeline.event_log.committed(group, topic).await {
            Ok(committed) => {
                let counting = &mut *lock(&self.counting);
                for (partition, offset) in &committed {
                    counting.committed((topic.as_str().into(), *partition), *offset);
                }
                Ok(committed)
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the offsets cannot be read now");
                Ok(BTreeMap::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Comes back once the mappings have committed past everything that was published, or `progress` has had enough.
    async fn wait(&self, pipeline: &Pipeline, mut progress: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let ends = lock(&self.counting).ends.clone();
        if pipeline.shares_its_topics {
            return self.wait_for_group(pipeline, &ends, progress).await;
        }
        for (topic, ends) in ends {
            for mapping in pipeline.mappings.iter().filter(|mapping| *mapping.config().topic == *topic) {
                let waiting = mapping.wait_until_settled(&ends);
                tokio::pin!(waiting);
                loop {
                    tokio::select! {
                        () = &mut waiting => break,
                        () = tokio::time::sleep(Duration::from_millis(100)) => progress(self.settled())?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Comes back once the groups have committed past everything that was published, whoever of their members did.
    async fn wait_for_group(
        &self,
        pipeline: &Pipeline,
        ends: &BTreeMap<Arc<str>, BTreeMap<i32, i64>>,
        mut progress: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        for (topic, ends) in ends {
            for mapping in pipeline.mappings.iter().filter(|mapping| *mapping.config().topic == **topic) {
                loop {
                    let committed = self.ask_committed(pipeline, mapping).await?;
                    if ends.iter().all(|(partition, end)| committed.get(partition) >= Some(end)) {
                        break;
                    }
                    progress(self.settled())?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        Ok(())
    }

    /// What is not settled was settled elsewhere or given up, where everything is committed; else it is still to come. Comes
    /// back with how many were settled here, by family.
    fn finish(self, pipeline: &Pipeline, summary: &mut Summary, is_committed: bool) -> BTreeMap<&'static str, u64> {
        let mut counting = lock(&self.counting);
        summary.applied += counting.counts.applied;
        summary.duplicate += counting.counts.duplicate;
        summary.skipped += counting.counts.skipped;
        summary.dead_lettered.clone_from(&counting.counts.dead_lettered);
        summary.elsewhere += counting.counts.elsewhere;
        summary.refused.clone_from(&counting.counts.refused);
        let left = match (is_committed, pipeline.shares_its_topics) {
            (false, _) => &mut summary.unsettled,
            (true, true) => &mut summary.elsewhere,
            (true, false) => &mut summary.given_up,
        };
        *left += counting.unsettled as u64;
        std::mem::take(&mut counting.families)
    }
}

/// Ends an ingestion that does not move any more: with a full disk it would wait for ever.
struct Standstill<'a> {
    pipeline: &'a Pipeline,
    run: &'a Run,
    /// How far it was when that last changed, and when that was seen; nothing is seen before the first check.
    moved: Option<(Mark, Instant)>,
}

/// Whether an ingestion that was quiet for so long has come to a standstill. Where nothing is known to fail, an invocation under way
/// may take its whole time before it says why.
fn stands_still(quiet: Duration, something_fails: bool, invocation: Duration) -> bool {
    quiet >= if something_fails { STANDSTILL } else { STANDSTILL + invocation }
}

/// How far an ingestion's topics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// The sum of what is committed, by this process and by others.
    committed: i64,
    settled: u64,
    /// Records that functions had redelivered; that is no progress.
    put_off: u64,
}

impl Mark {
    fn is_as_far_as(&self, other: &Self) -> bool {
        (self.committed, self.settled) == (other.committed, other.settled)
    }
}

impl<'a> Standstill<'a> {
    fn new(pipeline: &'a Pipeline, run: &'a Run) -> Self {
        Self { pipeline, run, moved: None }
    }

    fn check(&mut self) -> Result<()> {
        let now = self.mark();
        let (before, since) = match self.moved {
            Some((before, since)) if before.is_as_far_as(&now) => (before, since),
            _ => {
                self.moved = Some((now, Instant::now()));
                return Ok(());
            }
        };
        let quiet = since.elapsed();
        let reason = if quiet < STANDSTILL { None } else { self.reason(&before, &now, since) };
        if !stands_still(quiet, reason.is_some(), self.longest_invocation()) {
            return Ok(());
        }
        bail!(
            "nothing was settled for {} s ({}). What was published stays, and is settled once the cause is mended, by the \
             process that runs or at the next start: `lyceum status` shows stores and functions, `lyceum topics` how much is \
             left. Ingesting the files once more is harmless: what was applied counts as duplicate",
            quiet.as_secs(),
            reason.as_deref().unwrap_or("no function answered, and nothing is known to fail")
        )
    }

    /// How long an invocation of what is waited for may take before it says anything.
    fn longest_invocation(&self) -> Duration {
        let mappings = self.run.mappings(self.pipeline);
        mappings.map(|mapping| mapping.config().function_timeout).max().unwrap_or_default()
    }

    fn mark(&self) -> Mark {
        let statuses = self.run.mappings(self.pipeline).map(|mapping| mapping.status());
        let (mut committed, mut put_off) = (0, 0);
        for status in statuses {
            committed += status.partitions.iter().map(|partition| partition.committed).sum::<i64>();
            put_off += status.counts.failed_again;
        }
        let counting = lock(&self.run.counting);
        Mark { committed: committed + counting.committed.values().sum::<i64>(), settled: counting.settled, put_off }
    }

    /// What fails since then, of what this ingestion waits for; an error from before is over.
    fn reason(&self, before: &Mark, now: &Mark, since: Instant) -> Option<String> {
        let failing = || {
            let mut states = self.run.mappings(self.pipeline).map(|mapping| mapping.status().state);
            states.find_map(|state| match state {
                MappingState::Failing { reason, .. } => Some(reason),
                _ => None,
            })
        };
        let put_off = || {
            let number = now.put_off.saturating_sub(before.put_off);
            (number > 0).then(|| "the function has its records redelivered; its own log says why".to_owned())
        };
        self.run.put_off_since(since).or_else(failing).or_else(put_off)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lyceum_simulation::toys::module;

    use super::*;

    #[test]
    fn what_a_file_holds_is_handed_on_and_what_cannot_be_read_of_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrays.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut values = Vec::new();
            let done = parts(
                std::slice::from_ref(&path),
                &Options { force: true, ..Options::default() },
                &Router::default(),
                |events, _| {
                    values.extend(events.into_iter().filter_map(|event| event.record.value));
                    true
                },
            );
            (values, done.err().map(|error| error.to_string()).unwrap_or_default())
        };
        let (values, told) = read("[1 2]\n{\"a\":3}\n[4");
        assert_eq!(values, ["1", "2", "{\"a\":3}"]);
        assert!(told.contains("arrays.json, line 1, byte 3: a comma is missing"), "{told}");
        assert!(told.contains("arrays.json, line 3, byte 15: the file ends"), "{told}");
        let (values, told) = read(&format!("[{}]", "1 ".repeat(1_000)));
        assert_eq!((values.len(), told.lines().count()), (1_000, 101));
        assert!(told.ends_with("and at 899 further places; `lyceum validate` reports all of them"), "{told}");
    }

    #[test]
    fn events_of_every_wire_form_are_taken_from_a_file_each_to_its_topic_under_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let id = Uuid::from_u128(7);
        let module = String::from_utf8(module::value(id, module::REQUESTED, "course-1", "")).unwrap();
        let statement = r#"{"actor": {"mbox": "mailto:ada@example.com"}, "verb": {"id": "http://example.com/did"}, "object": {"id": "http://example.com/it"}}"#;
        std::fs::write(&path, format!("{module}\n{statement}\n")).unwrap();
        let mut found = Vec::new();
        let router = crate::routing::tests::with_toys();
        let options = Options::default();
        let done = parts(std::slice::from_ref(&path), &options, &router, |events, summary| {
            assert_eq!(summary.not_published, [""; 0]);
            let of = |Prepared { topic, record }: Prepared| {
                let key = record.key.map(|key| String::from_utf8_lossy(&key).into_owned()).unwrap_or_default();
                (topic, key, record.headers.iter().any(|header| header.name == "event-id"))
            };
            found.extend(events.into_iter().map(of));
            true
        });
        done.unwrap();
        let of_module = (module::COURSES.to_owned(), "course-1".to_owned(), false);
        // A statement without an id is given one.
        let of_statement = ("nlj.xapi.statements".to_owned(), "mbox:ada@example.com".to_owned(), true);
        assert_eq!(found, [of_module, of_statement]);
    }

    #[test]
    fn a_message_that_names_its_event_id_beside_the_statement_is_given_no_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("message.json");
        let statement = r#"{"actor": {"mbox": "mailto:ada@example.com"}, "verb": {"id": "http://example.com/did"}, "object": {"id": "http://example.com/it"}}"#;
        let metadata = r#"{"event_id": "5ffc4b9d-bc4b-5350-b6b2-892be2a95cc4"}"#;
        std::fs::write(&path, format!(r#"{{"xapi_data": {statement}, "metadata": {metadata}}}"#)).unwrap();
        let mut headers = Vec::new();
        parts(std::slice::from_ref(&path), &Options::default(), &Router::default(), |events, _| {
            headers.extend(events.into_iter().map(|event| event.record.headers));
            true
        })
        .unwrap();
        assert_eq!(headers, [Vec::new()]);
    }

    #[test]
    fn an_invocation_under_way_is_no_standstill_as_long_as_nothing_fails() {
        let minute = Duration::from_secs(60);
        assert!(!stands_still(Duration::from_secs(29), true, minute));
        assert!(stands_still(STANDSTILL, true, minute));
        assert!(!stands_still(minute, false, minute), "a function may take its whole time");
        assert!(stands_still(STANDSTILL + minute, false, minute));
    }

    #[test]
    fn what_others_have_committed_is_not_awaited_any_more() {
        let counting = Arc::new(Mutex::new(Counting::default()));
        let run = Run { counting: counting.clone() };
        let position = |offset| Position::new("nlj.training.bookings", 1, offset);
        run.published(&[position(7), position(8), position(9)]);
        let partition: (Arc<str>, i32) = ("nlj.training.bookings".into(), 1);
        for (committed, unsettled, elsewhere) in [(7, 3, 0), (9, 1, 2), (9, 1, 2), (12, 0, 3)] {
            lock(&counting).committed(partition.clone(), committed);
            let counting = lock(&counting);
            assert_eq!((counting.unsettled, counting.counts.elsewhere), (unsettled, elsewhere), "{committed}");
            assert_eq!(counting.settled, elsewhere);
        }
    }

    #[test]
    fn why_a_record_was_put_off_is_no_reason_for_what_stands_still_later() {
        let run = Run { counting: Arc::default() };
        let before = Instant::now();
        lock(&run.counting).put_off = Some((before, "DynamoDB is unavailable".into()));
        assert_eq!(run.put_off_since(before).as_deref(), Some("DynamoDB is unavailable"));
        assert_eq!(run.put_off_since(before + Duration::from_secs(1)), None);
    }
}
