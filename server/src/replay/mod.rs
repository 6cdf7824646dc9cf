//! Replay on demand: runs what [`lyceum_core::replay`] plans. Whoever has the stores may run it, a long-running process or a function:
//! a run is kept in the ledger after each part, and goes on from there in whichever process takes it up.
//!
//! | part | where |
//! |---|---|
//! | what is asked of runs | here: [`Runner`] |
//! | a run goes on, until it ends or its time does | `running.rs` |
//! | of a process that lives by its invocations | `invoked.rs` |
//! | where records go | `targets.rs` |
//! | where runs are kept | `store.rs` |
//!
//! At most one process is at work on a run: by a lease, and because each part is kept under the version that was read. A run that is
//! taken from its process by another one is noticed at the next part.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::audit::entry::{Kind, ReadLabels, Wanted};
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::process::audit::{AuditError, AuditLog};
use lyceum_core::record::Position;
use lyceum_core::replay::plan::{self, MAX_POSITIONS};
use lyceum_core::replay::{Counts, File, Log, Offsets, Plan, Progress, Range, Request, Sinks, State, Target, Wrong};
use lyceum_xapi::utc_time::UtcTime;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::questions::AskError;

mod ahead;
mod invoked;
mod running;
mod store;
mod targets;

use ahead::{Ahead, Reader};
pub use invoked::HandOver;
pub use lyceum_core::ports::ledger::KEYS_AGE;
pub use running::Ended;
pub use store::Run;
use store::{Runs, Written, no_run};
pub use targets::{MakeSubscriber, Subscribers};

/// So many entries of the audit log are asked for at once.
const ENTRIES: usize = 1_000;
/// So long a dry run reads to count what matches; what it has not read by then it says.
const DRY_RUN_MS: i64 = 5_000;

/// What replays are made of.
pub struct Sources {
    /// Where records are read, and sent to.
    pub event_log: Arc<dyn EventLog>,
    /// Where runs are kept.
    pub ledger: Arc<dyn Ledger>,
    /// Tells whose a record is, and what.
    pub labels: Arc<dyn ReadLabels>,
    /// Where events stand, by id and correlation id.
    pub audit: AuditLog,
    /// Subscribers, to be called one by one.
    pub subscribers: Subscribers,
    /// Writes files; `None` where this process writes none.
    pub sinks: Option<Arc<dyn Sinks>>,
    /// How old keys become.
    pub keys_age: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Counts what is replayed.
    pub metrics: Arc<Metrics>,
}

/// Runs replays, and answers what is asked of them.
pub struct Runner {
    sources: Sources,
    runs: Runs,
    /// By it leases are known.
    holder: Uuid,
    /// Those that this process is at work on.
    at_work: Mutex<BTreeSet<Uuid>>,
    /// Something is to be looked for.
    wake: Notify,
    /// Who goes on with runs, where this process does not.
    hand_over: Option<Arc<dyn HandOver>>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whose credential it is; `None`: of every tenant.
    pub tenant: Option<String>,
    /// Who, in words.
    pub by: String,
}

/// A run as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Its request's name.
    pub id: Uuid,
    /// The how-manieth run of that request, from 1.
    pub run: u32,
    /// Where it stands.
    pub state: State,
    /// Why it failed or was cancelled; of one that runs, what it waits for.
    pub reason: Option<String>,
    /// What was asked for.
    pub request: Request,
    /// Where its records go, in words.
    pub target: String,
    /// Who asked for it.
    pub by: String,
    /// RFC 3339.
    pub started_at: String,
    /// When it last came further, was stopped or resumed: RFC 3339.
    pub updated_at: String,
    /// When it will have ended at the pace so far: RFC 3339; `None` where nobody knows.
    pub ends_at: Option<String>,
    /// Matching records in a second of its running, the request's rate at most.
    pub per_second: Option<f64>,
    /// Offsets that are done, of all.
    pub offsets: OfAll,
    /// What became of the records.
    pub counts: Counts,
    /// The same of each partition.
    pub partitions: Vec<ShownPartition>,
    /// What was asked for and is not there.
    pub notes: Vec<String>,
    /// Of files: what their sink says of them once all are written.
    pub written: Option<Value>,
}

/// How many are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OfAll {
    /// So many.
    pub done: u64,
    /// Of so many.
    pub all: u64,
}

/// A partition of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that is read.
    pub from: i64,
    /// The offset behind the last one.
    pub until: i64,
    /// The next one.
    pub next: i64,
    /// Offsets that are done, of all.
    pub offsets: OfAll,
    /// What became of its records.
    pub counts: Counts,
}

/// What a replay would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DryRun {
    /// The request's name.
    pub id: Uuid,
    /// As it would be run.
    pub request: Request,
    /// Always: nothing was done.
    pub is_dry_run: bool,
    /// Where records would go, in words.
    pub target: String,
    /// In so many steps.
    pub steps: u64,
    /// How many offsets would be read.
    pub offsets: u64,
    /// How many records match, of those that were read.
    pub matched: u64,
    /// Whether all were read: else there may be more.
    pub is_exact: bool,
    /// Each partition; its counts are of what was read.
    pub partitions: Vec<ShownPartition>,
    /// What is asked for and not there.
    pub notes: Vec<String>,
}

fn invalid(wrong: &[Wrong]) -> AskError {
    AskError::Invalid(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn log_failed(error: EventLogError) -> AskError {
    match error {
        error if error.is_transient() => AskError::Unavailable(error.to_string()),
        EventLogError::UnknownTopic(_) | EventLogError::UnknownPartition { .. } => AskError::Invalid(error.to_string()),
        error => AskError::Failed(error.to_string()),
    }
}

fn audit_failed(error: AuditError) -> AskError {
    AskError::Unavailable(format!("the audit log does not answer: {error}"))
}

impl Runner {
    /// Runs replays of these.
    pub fn new(sources: Sources) -> Self {
        let runs = Runs { ledger: Arc::clone(&sources.ledger) };
        Self { sources, runs, holder: Uuid::new_v4(), at_work: Mutex::default(), wake: Notify::new(), hand_over: None }
    }

    /// Begins a run of a request; `running` goes on with it. The same request once more is begun anew once it is done.
    ///
    /// # Errors
    /// What is wrong in the request; that it is under way, or was stopped; or a store's.
    pub async fn begin(&self, request: Request, asked: &Asked) -> Result<Shown, AskError> {
        let request = self.allow(request, asked)?;
        self.check_hand_over()?;
        let id = request.id();
        let before = self.runs.load(id).await?;
        let expected = before.as_ref().map(|kept| kept.version);
        let mut number = 1;
        if let Some(kept) = before {
            let (state, at) = (kept.run.progress.state, UtcTime::from_millis(kept.run.progress.updated_ms));
            match state {
                State::Done => number = kept.run.run + 1,
                State::Running => {
                    return Err(AskError::Conflict(format!(
                        "this replay runs already, as {id}: `lyceum replay status {id}` shows how far it is, `lyceum replay \
                         cancel {id}` stops it"
                    )));
                }
                State::Cancelled | State::Failed => {
                    let name = state.name();
                    return Err(AskError::Conflict(format!(
                        "this replay is {id}, which {name} at {at}: `lyceum replay resume {id}` has it go on from where it \
                         stood"
                    )));
                }
            }
        }
        let plan = self.plan(&request).await?;
        self.check_target(&request, id).await?;
        let mut progress = Progress::begin(&plan, self.sources.clock.now_ms());
        if plan.is_empty() && !request.is_to_file() {
            progress.finish(None, self.sources.clock.now_ms());
        }
        let run = Run { request, plan, progress, run: number, tenant: asked.tenant.clone(), by: asked.by.clone() };
        match self.runs.write(id, &run, expected).await? {
            Written::Kept(_) => {
                self.see_to_it(id, &run).await?;
                Ok(show(id, &run))
            }
            Written::Changed => {
                Err(AskError::Conflict(format!("somebody else began this replay at this moment; it is {id}")))
            }
        }
    }

    /// What a request would do, without doing any of it.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn dry_run(&self, request: Request, asked: &Asked) -> Result<DryRun, AskError> {
        let request = self.allow(request, asked)?;
        let id = request.id();
        let plan = self.plan(&request).await?;
        self.check_target(&request, id).await?;
        let mut progress = Progress::begin(&plan, 0);
        let end_ms = self.sources.clock.now_ms().saturating_add(DRY_RUN_MS);
        let mut is_exact = true;
        let mut parts = self.parts(&request, &plan);
        'steps: for step in plan.steps() {
            while let Some(from) = progress.offset_in(&step) {
                let left = request.limit.map_or(u64::MAX, |limit| limit.saturating_sub(progress.counts().matched));
                if left == 0 {
                    break 'steps;
                }
                if self.sources.clock.now_ms() >= end_ms {
                    is_exact = false;
                    break 'steps;
                }
                let part = parts.read(&step, from, left).await;
                let part = part.map_err(|failed| match failed {
                    targets::Failed::Later(reason) => AskError::Unavailable(reason),
                    targets::Failed::Never(reason) => AskError::Invalid(reason),
                })?;
                let matched = part.records.len() as u64;
                let counts = Counts { read: part.read, matched, gone: part.gone, ..Counts::default() };
                progress.advance(&step, &part.chunk, counts, None, 0);
            }
        }
        Ok(DryRun {
            id,
            is_dry_run: true,
            target: request.target.to_string(),
            steps: plan.steps().count() as u64,
            offsets: plan.offsets(),
            matched: progress.counts().matched,
            is_exact,
            partitions: show_partitions(&plan, &progress),
            notes: plan.notes,
            request,
        })
    }

    /// Reads the parts of a plan.
    fn parts<'p>(&self, request: &Request, plan: &'p Plan) -> Ahead<'p> {
        let (log, labels) = (Arc::clone(&self.sources.event_log), Arc::clone(&self.sources.labels));
        Ahead::new(Reader { log, labels, request: request.clone() }, plan)
    }

    /// The request as whoever asks may have it run.
    fn allow(&self, request: Request, asked: &Asked) -> Result<Request, AskError> {
        let mut request = request.normalised();
        request.check().map_err(|wrong| invalid(&wrong))?;
        let Some(tenant) = &asked.tenant else { return Ok(request) };
        if request.filter.tenant.as_ref().is_some_and(|named| named != tenant) {
            return Err(AskError::Forbidden(format!(
                "the token is of tenant {tenant}, and replays its events alone: leave filter.tenant out"
            )));
        }
        if matches!(request.target, Target::OtherTopic(_) | Target::File { .. }) {
            return Err(AskError::Forbidden(
                "a token of one tenant replays to the topic again or to a subscriber: another topic and files need a token \
                 of every tenant"
                    .to_owned(),
            ));
        }
        request.filter.tenant = Some(tenant.clone());
        Ok(request)
    }

    async fn plan(&self, request: &Request) -> Result<Plan, AskError> {
        let now_ms = self.sources.clock.now_ms();
        let keys_age_ms = i64::try_from(self.sources.keys_age.as_millis()).unwrap_or(i64::MAX);
        let mut log = Log { keys_since_ms: now_ms.saturating_sub(keys_age_ms), ..Log::default() };
        log.positions = self.positions(request).await?;
        let mut topics: BTreeSet<&str> = request.topics.iter().map(String::as_str).collect();
        if topics.is_empty() {
            topics = log.positions.iter().map(|position| &*position.topic).collect();
        }
        for topic in topics {
            let ranges = self.sources.event_log.offsets(topic).await.map_err(log_failed)?;
            for (partition, range) in (0..).zip(ranges) {
                let mut of = Offsets {
                    topic: topic.to_owned(),
                    partition,
                    start: range.start,
                    end: range.end,
                    ..<_>::default()
                };
                let at = async |time_ms: i64| {
                    let found = self.sources.event_log.offset_at(topic, partition, time_ms).await;
                    found.map_err(log_failed)
                };
                if let Range::Times { from, until } = &request.range {
                    of.at_from = match from {
                        Some(from) => at(from.as_millis()).await?,
                        None => None,
                    };
                    of.at_until = match until {
                        Some(until) => at(until.as_millis()).await?,
                        None => None,
                    };
                }
                if !request.outlives_keys() {
                    of.at_keys = at(log.keys_since_ms).await?;
                }
                log.partitions.push(of);
            }
        }
        plan::plan(request, &log).map_err(|wrong| invalid(&wrong))
    }

    /// Where the audit log has the events that a request names.
    async fn positions(&self, request: &Request) -> Result<Vec<Position>, AskError> {
        let of_tenant = || Wanted {
            tenant: request.filter.tenant.clone(),
            kinds: vec![Kind::Event, Kind::Invalid, Kind::Tombstone],
            ..Wanted::default()
        };
        let wanted: Vec<Wanted> = match &request.range {
            Range::CorrelationId(id) => vec![Wanted { correlation_id: Some(id.clone()), ..of_tenant() }],
            Range::EventIds(ids) => ids.iter().map(|id| Wanted { event_id: Some(*id), ..of_tenant() }).collect(),
            Range::Times { .. } | Range::Offsets(_) => return Ok(Vec::new()),
        };
        let (mut positions, mut missing) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let before = positions.len();
            let mut after: Option<String> = None;
            loop {
                let found = self.sources.audit.search(wanted.clone(), ENTRIES, after.as_deref()).await;
                let found = found.map_err(audit_failed)?;
                positions.extend(found.entries.into_iter().map(|(_, entry)| entry.position));
                after = found.next;
                if after.is_none() || positions.len() > MAX_POSITIONS {
                    break;
                }
            }
            if positions.len() == before {
                missing.extend(wanted.event_id.map(|id| id.to_string()).or(wanted.correlation_id));
            }
        }
        if !missing.is_empty() {
            return Err(AskError::Invalid(format!(
                "the audit log has no record of {}: `lyceum audit list` shows what it has",
                missing.join(", ")
            )));
        }
        Ok(positions)
    }

    /// Whether the target is there, before anything is begun.
    async fn check_target(&self, request: &Request, id: Uuid) -> Result<(), AskError> {
        match &request.target {
            Target::Topic => Ok(()),
            Target::OtherTopic(topic) => self.sources.event_log.offsets(topic).await.map(drop).map_err(log_failed),
            Target::Subscriber { name, publish } => {
                let subscriber = self.sources.subscribers.find(name, *publish);
                let subscriber = subscriber.map_err(AskError::Invalid)?;
                let reads: Vec<&str> = subscriber.subscription().topics().collect();
                match request.topics.iter().find(|topic| !reads.contains(&topic.as_str())) {
                    Some(topic) => {
                        let reads = reads.join(", ");
                        Err(AskError::Invalid(format!("{name} does not read {topic}: it reads {reads}")))
                    }
                    None => Ok(()),
                }
            }
            Target::File { .. } => {
                let (sinks, file) = (self.sinks()?, file(request, id));
                sinks.check(&file).await.map_err(|error| match error.is_transient() {
                    true => AskError::Unavailable(error.to_string()),
                    false => AskError::Invalid(error.to_string()),
                })
            }
        }
    }

    fn sinks(&self) -> Result<&dyn Sinks, AskError> {
        let none = || AskError::Invalid("this process writes no files: replay to a topic or a subscriber".to_owned());
        self.sources.sinks.as_deref().ok_or_else(none)
    }

    /// Stops a run. The part that is on its way still goes.
    ///
    /// # Errors
    /// There is none, or it has ended; or the ledger's.
    pub async fn cancel(&self, id: Uuid, asked: &Asked) -> Result<Shown, AskError> {
        let run = self.runs.change(id, |kept| {
            let mut run = of(kept.run, id, asked)?;
            if !run.is_running() {
                let state = run.progress.state.name();
                return Err(AskError::Conflict(format!("the replay {id} is {state}: there is nothing to stop")));
            }
            run.progress.cancel(&format!("cancelled by {}", asked.by), self.sources.clock.now_ms());
            Ok(run)
        });
        Ok(show(id, &run.await?))
    }

    /// Has a run go on that was stopped, or failed.
    ///
    /// # Errors
    /// There is none, or it is neither; or the ledger's.
    pub async fn resume(&self, id: Uuid, asked: &Asked) -> Result<Shown, AskError> {
        self.check_hand_over()?;
        let run = self.runs.change(id, |kept| {
            let mut run = of(kept.run, id, asked)?;
            if !run.progress.resume(self.sources.clock.now_ms()) {
                return Err(AskError::Conflict(match run.progress.state {
                    State::Done => format!("the replay {id} is done: ask for it again, and it is run anew"),
                    state => format!("the replay {id} is {}: there is nothing to resume", state.name()),
                }));
            }
            Ok(run)
        });
        let run = run.await?;
        self.see_to_it(id, &run).await?;
        Ok(show(id, &run))
    }

    /// One run.
    ///
    /// # Errors
    /// There is none of that name that the caller may see; or the ledger's.
    pub async fn show(&self, id: Uuid, asked: &Asked) -> Result<Shown, AskError> {
        let kept = self.runs.load(id).await?.ok_or_else(|| no_run(id))?;
        Ok(show(id, &of(kept.run, id, asked)?))
    }

    /// Those of them that run.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn running(&self, tenant: Option<&str>) -> Result<Vec<Shown>, AskError> {
        let mut runs = self.list(tenant, usize::MAX).await?;
        runs.retain(|run| run.state == State::Running);
        Ok(runs)
    }

    /// The runs that the caller may see, the one that came further last first.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn list(&self, tenant: Option<&str>, limit: usize) -> Result<Vec<Shown>, AskError> {
        let runs = self.runs.list().await?.into_iter();
        let seen = runs.filter(|kept| tenant.is_none() || kept.run.tenant.as_deref() == tenant);
        Ok(seen.take(limit).map(|kept| show(kept.id, &kept.run)).collect())
    }
}

/// The run, where the caller may see it.
fn of(run: Run, id: Uuid, asked: &Asked) -> Result<Run, AskError> {
    let may = asked.tenant.is_none() || run.tenant == asked.tenant;
    if may { Ok(run) } else { Err(no_run(id)) }
}

/// The files of a request to files.
fn file(request: &Request, id: Uuid) -> File {
    let (place, format) = match &request.target {
        Target::File { place, format } => (place.clone(), *format),
        _ => (String::new(), <_>::default()),
    };
    File { place, format, request: id, records: request.records() }
}

fn show(id: Uuid, run: &Run) -> Shown {
    let Run { request, plan, progress, run: number, by, .. } = run;
    let text = |ms: i64| UtcTime::from_millis(ms).to_string();
    Shown {
        id,
        run: *number,
        state: progress.state,
        reason: progress.reason.clone(),
        request: request.clone(),
        target: request.target.to_string(),
        by: by.clone(),
        started_at: text(progress.started_ms),
        updated_at: text(progress.updated_ms),
        ends_at: progress.ends_at_ms(plan, request).map(text),
        per_second: progress.per_second(request.rate),
        offsets: OfAll { done: progress.offsets(), all: plan.offsets() },
        counts: progress.counts(),
        partitions: show_partitions(plan, progress),
        notes: plan.notes.clone(),
        written: progress.written.clone(),
    }
}

fn show_partitions(plan: &Plan, progress: &Progress) -> Vec<ShownPartition> {
    let of = plan.partitions.iter().zip(&progress.partitions);
    let shown = of.map(|(of, reached)| ShownPartition {
        topic: of.topic.clone(),
        partition: of.partition,
        from: of.ranges.first().map_or(0, |range| range.0),
        until: of.ranges.last().map_or(0, |range| range.1),
        next: reached.next,
        offsets: OfAll { done: reached.offsets, all: of.offsets() },
        counts: reached.counts,
    });
    shown.collect()
}
