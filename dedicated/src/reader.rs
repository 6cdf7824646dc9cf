//! One subscription of the process: takes records, has them processed in lanes, and commits what is settled.
//!
//! One task owns the source, the lanes and the commits; batches are processed on other threads. A partition that is revoked is released once what
//! is in flight of it has ended, or its patience is over; nothing of it is committed afterwards. What did not end is another member's by then, to
//! whom this one is the zombie of "How an effect happens once" (ARCHITECTURE.md).

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Outcome, Report};
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::ports::event_log::rules::payload_bytes;
use lyceum_core::process::{Delivery, Subscriber};
use lyceum_core::record::Record;
use lyceum_core::retry::Backoff;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::lanes::{Batch, Lanes, Limits, Order, Received, TopicPartition};
use crate::source::{Brought, PATIENCE, Source};
use crate::status::Board;

/// How often offsets are committed. A kill costs what was settled since then: its records come again, and are known.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// How long one commit may take: the partitions' next owner waits for it.
const COMMIT_LIMIT: Duration = Duration::from_secs(5);
/// How long what is in flight may take once the process is to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);
/// How long the last commit may take.
const LAST_COMMIT: Duration = Duration::from_secs(1);
/// How long leaving the group may take. With the two before that is less than the 10 s that an orchestrator gives.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
/// How a source that fails is asked again: never so seldom that the group takes its member for dead.
const SOURCE_BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(2) };
/// How often what is seen from outside is noted.
const NOTE_INTERVAL: Duration = Duration::from_millis(250);
/// Beyond an invocation's own time, which ends by itself.
const GRACE: Duration = Duration::from_secs(5);

/// What a reader is made of.
pub struct Reader {
    /// Processes the batches.
    pub subscriber: Arc<dyn Subscriber>,
    /// Brings the records.
    pub source: Box<dyn Source>,
    /// How batches are made.
    pub limits: Limits,
    /// How long one batch may take.
    pub time_limit: Duration,
    /// The time of records, and of invocations.
    pub clock: Arc<dyn Clock>,
    /// For sizes and durations of batches.
    pub metrics: Arc<Metrics>,
    /// Batches in flight, all readers of the process together.
    pub places: Arc<Semaphore>,
    /// What is seen from outside.
    pub board: Arc<Board>,
    /// Where batches are processed.
    pub processing: Handle,
}

/// How a batch ended.
struct Done {
    batch: Batch<Delivery>,
    settled: Vec<bool>,
    /// Why some of it is not settled.
    failure: Option<String>,
}

/// Partitions that are to go.
struct Releasing {
    partitions: BTreeSet<TopicPartition>,
    until_ms: i64,
}

impl Reader {
    /// Runs until `stop`, and then drains: nothing further is begun, what is in flight is finished or, after a few seconds, abandoned; what is settled
    /// is committed, and the group left.
    ///
    /// # Errors
    /// Where a batch's task was lost. What is in hand is not committed: whoever runs this is to end the process, and another one goes on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), JoinError> {
        let lanes = Lanes::new(Order::of(self.subscriber.subscription().effect), self.limits);
        let mut running = Running {
            of: self,
            lanes,
            batches: JoinSet::new(),
            place: None,
            releasing: None,
            begin: Instant::now(),
            commits_at_ms: 0,
            notes_at_ms: 0,
            rests_until_ms: 0,
            failures: 0,
        };
        let ended = running.read(&stop).await;
        if ended.is_ok() {
            running.drain().await;
        }
        running.of.board.stopped();
        ended
    }
}

struct Running {
    of: Reader,
    lanes: Lanes<Delivery>,
    batches: JoinSet<Done>,
    /// For the next batch.
    place: Option<OwnedSemaphorePermit>,
    releasing: Option<Releasing>,
    /// Waits are told by a clock that nobody sets: milliseconds since then.
    begin: Instant,
    commits_at_ms: i64,
    notes_at_ms: i64,
    /// The source failed, and is asked again then.
    rests_until_ms: i64,
    /// Of the source, in a row.
    failures: u32,
}

impl Running {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.begin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    async fn read(&mut self, stop: &CancellationToken) -> Result<(), JoinError> {
        loop {
            self.begin_batches();
            self.commit_what_is_due().await;
            self.release_what_ended().await;
            let (pause, resume) = self.lanes.to_pause_and_resume();
            if !pause.is_empty() {
                self.of.source.pause(&pause);
            }
            if !resume.is_empty() {
                self.of.source.resume(&resume);
            }
            self.note_now_and_then();
            let now_ms = self.now_ms();
            let wants_place = self.lanes.is_ready(now_ms);
            let takes = now_ms >= self.rests_until_ms && self.lanes.has_room();
            let wait = self.wakes_at_ms(now_ms, wants_place).saturating_sub(now_ms);
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(done) = self.batches.join_next(), if !self.batches.is_empty() => self.end(done?),
                Ok(place) = self.of.places.clone().acquire_owned(), if wants_place => self.place = Some(place),
                brought = self.of.source.next(), if takes => self.take(brought),
                () = sleep(wait) => {}
            }
        }
    }

    fn wakes_at_ms(&self, now_ms: i64, waits_for_place: bool) -> i64 {
        let lanes = self.lanes.wakes_at_ms().filter(|_| !waits_for_place);
        let release = self.releasing.as_ref().map(|of| of.until_ms);
        let rest = (self.rests_until_ms > now_ms).then_some(self.rests_until_ms);
        let wakes = lanes.into_iter().chain(release).chain(rest).chain([self.commits_at_ms, self.notes_at_ms]);
        wakes.min().unwrap_or(now_ms)
    }

    /// Begins batches as long as lanes have some and the process has places for them.
    fn begin_batches(&mut self) {
        let now_ms = self.now_ms();
        while self.lanes.is_ready(now_ms) {
            let free = || self.of.places.clone().try_acquire_owned().ok();
            let Some(place) = self.place.take().or_else(free) else { break };
            let Some(batch) = self.lanes.next(now_ms) else { break };
            let (subscriber, clock, metrics) =
                (self.of.subscriber.clone(), self.of.clock.clone(), self.of.metrics.clone());
            let limit = self.of.time_limit;
            self.of.board.began(&batch);
            self.batches.spawn_on(
                async move {
                    let done = process(&*subscriber, batch, &*clock, &metrics, limit).await;
                    drop(place);
                    done
                },
                &self.of.processing,
            );
        }
        // Others may have use for it.
        self.place = None;
    }

    fn end(&mut self, done: Done) {
        let Done { batch, settled, failure } = done;
        let now_ms = self.now_ms();
        self.of.board.ended(&batch, failure);
        self.lanes.end(batch, &settled, now_ms, self.of.clock.jitter());
    }

    fn take(&mut self, brought: Result<Brought, EventLogError>) {
        match brought {
            Ok(brought) => {
                self.failures = 0;
                self.of.board.reads();
                self.take_brought(brought);
            }
            Err(error) => self.rest("reading", &error),
        }
    }

    fn take_brought(&mut self, brought: Brought) {
        let name = self.of.subscriber.subscription().name;
        match brought {
            Brought::Records(records) => self.receive(records),
            Brought::Assigned(partitions) => {
                let told: Vec<String> = partitions.iter().map(|(of, _)| of.to_string()).collect();
                tracing::info!(subscription = name, partitions = ?told, "partitions are assigned");
                for (of, start) in partitions {
                    self.lanes.assign(of, start);
                }
            }
            Brought::Revoked(partitions) => {
                let told: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                tracing::info!(subscription = name, partitions = ?told, "partitions are revoked");
                self.lanes.withdraw(|of| partitions.contains(of));
                let until_ms = self.now_ms() + PATIENCE.as_millis() as i64;
                let releasing =
                    self.releasing.get_or_insert_with(|| Releasing { partitions: BTreeSet::new(), until_ms });
                releasing.partitions.extend(partitions);
            }
            Brought::Lost(partitions) => {
                let told: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                tracing::warn!(subscription = name, partitions = ?told, "partitions are lost: what was not committed of them is redelivered");
                self.lanes.forget(|of| partitions.contains(of));
                if let Some(releasing) = &mut self.releasing {
                    releasing.partitions.retain(|of| !partitions.contains(of));
                }
            }
        }
        self.notes_at_ms = self.now_ms();
    }

    fn receive(&mut self, records: Vec<Record>) {
        let now_ms = self.now_ms();
        let mut of: Option<TopicPartition> = None;
        for record in records {
            let position = &record.position;
            let is_same = |of: &TopicPartition| of.partition == position.partition && of.topic == position.topic;
            let named = of.take().filter(is_same);
            let named = named.unwrap_or_else(|| TopicPartition::new(position.topic.clone(), position.partition));
            let (offset, timestamp_ms, key) = (position.offset, record.timestamp_ms, record.key.clone());
            let bytes = payload_bytes(record.key.as_deref(), record.value.as_deref(), &record.headers);
            let item = Delivery::Record(record);
            let received = Received { of: &named, offset, key: key.as_deref(), timestamp_ms, bytes, item };
            // What is not taken is of a partition that is to go, or was received before.
            self.lanes.receive(received, now_ms);
            of = Some(named);
        }
    }

    fn rest(&mut self, doing: &str, error: &EventLogError) {
        self.failures = self.failures.saturating_add(1);
        let wait = SOURCE_BACKOFF.delay(self.failures, self.of.clock.jitter());
        self.rests_until_ms = self.now_ms() + wait.as_millis() as i64;
        self.of.board.fails(format!("{doing} failed: {error}"), self.of.clock.now_ms());
    }

    async fn commit_what_is_due(&mut self) {
        if self.now_ms() >= self.commits_at_ms {
            self.commit(COMMIT_LIMIT).await;
            self.commits_at_ms = self.now_ms() + COMMIT_INTERVAL.as_millis() as i64;
        }
    }

    /// Commits what is settled; what fails is tried again with the next commit.
    async fn commit(&mut self, limit: Duration) {
        let offsets = self.lanes.to_commit();
        if offsets.is_empty() {
            return;
        }
        match timeout(limit, self.of.source.commit(&offsets)).await {
            Ok(Ok(())) => self.lanes.committed(&offsets),
            Ok(Err(EventLogError::NotAssigned { topic, partitions, .. })) => {
                tracing::warn!(
                    topic,
                    ?partitions,
                    "partitions are another's: what was settled of them and not committed is redelivered"
                );
                self.lanes.forget(|of| *of.topic == *topic && partitions.contains(&of.partition));
            }
            Ok(Err(error)) => {
                self.of.board.fails(format!("committing failed: {error}"), self.of.clock.now_ms());
            }
            Err(_) => {
                let why = format!("committing failed: no answer within {} s", limit.as_secs());
                self.of.board.fails(why, self.of.clock.now_ms());
            }
        }
    }

    async fn release_what_ended(&mut self) {
        let now_ms = self.now_ms();
        let is_due = |of: &Releasing| {
            now_ms >= of.until_ms || self.lanes.open(|partition| of.partitions.contains(partition)) == 0
        };
        let Some(Releasing { partitions, .. }) = self.releasing.take_if(|of| is_due(of)) else { return };
        self.commit(COMMIT_LIMIT).await;
        self.lanes.forget(|of| partitions.contains(of));
        self.of.source.release(&partitions);
    }

    async fn drain(&mut self) {
        self.lanes.withdraw(|_| true);
        let until = Instant::now() + DRAIN_LIMIT;
        while self.lanes.open(|_| true) > 0 && Instant::now() < until {
            self.begin_batches();
            let now_ms = self.now_ms();
            let waits_for_place = self.lanes.is_ready(now_ms);
            let next = self.lanes.wakes_at_ms().filter(|_| !waits_for_place);
            let next = next.and_then(|at_ms| u64::try_from(at_ms - now_ms).ok()).map(Duration::from_millis);
            let wait = next.unwrap_or(DRAIN_LIMIT).min(until.saturating_duration_since(Instant::now()));
            tokio::select! {
                Some(done) = self.batches.join_next(), if !self.batches.is_empty() => if let Ok(done) = done { self.end(done) },
                Ok(place) = self.of.places.clone().acquire_owned(), if waits_for_place => self.place = Some(place),
                () = sleep(wait) => {}
            }
        }
        let abandoned = self.lanes.open(|_| true);
        if abandoned > 0 {
            let subscription = self.of.subscriber.subscription().name;
            tracing::warn!(
                subscription,
                records = abandoned,
                "records in hand are abandoned, and redelivered to another"
            );
        }
        self.commit(LAST_COMMIT).await;
        let _ = timeout(LEAVE_LIMIT, self.of.source.leave()).await;
    }

    fn note_now_and_then(&mut self) {
        let now_ms = self.now_ms();
        if now_ms < self.notes_at_ms {
            return;
        }
        self.notes_at_ms = now_ms + NOTE_INTERVAL.as_millis() as i64;
        let source = &self.of.source;
        let progress = self.lanes.progress().into_iter().map(|(of, progress)| {
            let position = source.position(&of);
            (of, (progress, position))
        });
        self.of.board.note(progress.collect());
    }
}

/// Has a batch processed, whatever becomes of it.
async fn process(
    subscriber: &dyn Subscriber,
    batch: Batch<Delivery>,
    clock: &dyn Clock,
    metrics: &Metrics,
    limit: Duration,
) -> Done {
    let began = Instant::now();
    metrics.observe_batch_size(batch.items.len());
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let invocation = subscriber.invocation(clock.now_ms().saturating_add(limit_ms));
    let call = AssertUnwindSafe(subscriber.process(&batch.items, &invocation)).catch_unwind();
    let answer = match select(pin!(call), clock.timeout(limit + GRACE)).await {
        Either::Left((Ok(reports), _)) if reports.len() == batch.items.len() => Ok(reports),
        Either::Left((Ok(reports), _)) => {
            let (reports, records) = (reports.len(), batch.items.len());
            Err(format!("{reports} reports for {records} records; report it, with the log of this batch"))
        }
        Either::Left((Err(_), _)) => Err("processing the batch panicked; report it, with the log of this batch".into()),
        Either::Right(_) => Err(format!("processing took longer than {} s", (limit + GRACE).as_secs())),
    };
    metrics.observe_event_duration(subscriber.subscription().name, began.elapsed());
    match answer {
        Ok(reports) => {
            let settled = reports.iter().map(|report| report.outcome.is_settled()).collect();
            Done { batch, settled, failure: reports.iter().find_map(why_later) }
        }
        Err(failure) => {
            tracing::error!(subscription = subscriber.subscription().name, "{failure}: the batch is redelivered");
            Done { batch, settled: Vec::new(), failure: Some(failure) }
        }
    }
}

fn why_later(report: &Report) -> Option<String> {
    match &report.outcome {
        Outcome::RetryLater { reason } => Some(format!("{}: {reason}", report.position)),
        _ => None,
    }
}
