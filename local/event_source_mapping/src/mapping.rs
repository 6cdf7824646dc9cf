//! The mapping: finds the topic's partitions, keeps a poller on them, and tells how it goes.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{self, Either};
use jiff::Timestamp;
use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::{EventLog, EventLogError, OffsetRange};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::SystemClock;
use crate::config::{InvalidConfig, MappingConfig, StartingPosition};
use crate::filter::Filter;
use crate::function::Invoke;
use crate::poller;
use crate::status::{MappingStatus, Notes, Part, Phase};

/// How often the topic is asked for new partitions.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// Reads a topic for a consumer group and hands its records to a function, as AWS Lambda does.
pub struct EventSourceMapping {
    pub(crate) config: MappingConfig,
    pub(crate) filter: Option<Filter>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) function: Arc<dyn Invoke>,
    pub(crate) clock: Arc<dyn Clock>,
    notes: Mutex<Notes>,
    /// Sends whenever an offset was committed.
    progress: watch::Sender<()>,
    paused: watch::Sender<bool>,
    running: AtomicBool,
}

impl EventSourceMapping {
    /// A mapping that does not run yet.
    ///
    /// # Errors
    /// Every setting out of AWS's bounds and every fault of the filter, together.
    pub fn new(
        config: MappingConfig,
        log: Arc<dyn EventLog>,
        function: Arc<dyn Invoke>,
    ) -> Result<Self, InvalidConfig> {
        let mut wrong = config.validate().err().map(|invalid| invalid.wrong).unwrap_or_default();
        let filter = match config.filter.as_ref().map(Filter::new).transpose() {
            Ok(filter) => filter,
            Err(invalid) => {
                wrong.extend(invalid.0.into_iter().map(|fault| format!("filter: {fault}")));
                None
            }
        };
        if !wrong.is_empty() {
            return Err(InvalidConfig { name: config.name, wrong });
        }
        Ok(Self {
            config,
            filter,
            log,
            function,
            clock: Arc::new(SystemClock),
            notes: Mutex::default(),
            progress: watch::Sender::new(()),
            paused: watch::Sender::new(false),
            running: AtomicBool::new(false),
        })
    }

    /// The same mapping on another clock: it tells the records' age, the batching window and every wait.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The settings.
    pub fn config(&self) -> &MappingConfig {
        &self.config
    }

    /// Runs until `shutdown` comes: then the invocations in flight may end within the configured grace and what they
    /// settled is committed; nothing unsettled ever is. Dropped, it stops at once, and loses nothing either.
    ///
    /// It may run again afterwards. While it runs, a second call says so in the log and returns.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        if self.running.swap(true, Ordering::AcqRel) {
            tracing::error!(mapping = self.config.name, "the event source mapping runs already");
            return;
        }
        let _running = Running(&self);
        self.notes().phase = Phase::Starting;
        let (stop, stopping) = watch::channel(false);
        let mut pollers = JoinSet::new();
        {
            let supervision = pin!(self.supervise(&mut pollers, &stopping));
            future::select(pin!(shutdown), supervision).await;
        }
        stop.send_replace(true);
        let has_ended = {
            let end = pin!(async { while pollers.join_next().await.is_some() {} });
            let grace = self.clock.sleep(self.config.shutdown_grace);
            matches!(future::select(end, grace).await, Either::Left(_))
        };
        if !has_ended {
            tracing::warn!(mapping = self.config.name, "an invocation outlasted the stop; its batch comes again");
        }
        pollers.shutdown().await;
    }

    /// Invokes nothing until [`Self::resume`]; an invocation in flight ends as usual.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    /// How it goes.
    pub fn status(&self) -> MappingStatus {
        let paused = *self.paused.borrow();
        let notes = self.notes();
        MappingStatus {
            name: self.config.name.clone(),
            topic: self.config.topic.clone(),
            group: self.config.group.clone(),
            function: self.config.function.clone(),
            state: notes.state(paused),
            partitions: notes.partitions.values().cloned().collect(),
            counts: notes.counts,
            last_error: notes.last_error.clone(),
        }
    }

    /// Comes back once everything is settled and committed that the topic holds now. Only a mapping that runs gets there.
    ///
    /// # Errors
    /// Where the log cannot say what the topic holds.
    pub async fn settled(&self) -> Result<(), EventLogError> {
        let ranges = self.log.offsets(&self.config.topic).await?;
        self.wait_until_settled(&(0..).zip(ranges.iter().map(|range| range.end)).collect()).await;
        Ok(())
    }

    /// Comes back once every record below those offsets, by partition, is settled and committed.
    pub async fn wait_until_settled(&self, up_to: &BTreeMap<i32, i64>) {
        let is_settled = |_: &()| {
            let notes = self.notes();
            up_to
                .iter()
                .all(|(partition, end)| notes.partitions.get(partition).is_some_and(|status| status.committed >= *end))
        };
        // The sender lives as long as this mapping, so that waiting cannot fail.
        let _ = self.progress.subscribe().wait_for(is_settled).await;
    }

    /// Keeps a poller on every partition. Never comes back.
    async fn supervise(self: &Arc<Self>, pollers: &mut JoinSet<()>, stopping: &watch::Receiver<bool>) {
        let mut known = BTreeMap::new();
        let all = watch::Sender::new(BTreeMap::new());
        let mut failures = 0;
        loop {
            let pause = match self.discover(&known).await {
                Ok(found) => {
                    failures = 0;
                    self.note_success(Part::Supervisor);
                    self.notes().phase = Phase::Running;
                    if self.config.mix_partitions {
                        all.send_modify(|assigned: &mut BTreeMap<_, _>| assigned.extend(&found));
                        if known.is_empty() && !found.is_empty() {
                            pollers.spawn(poller::run(self.clone(), all.subscribe(), stopping.clone()));
                        }
                    } else {
                        for (&partition, &offset) in &found {
                            let assigned = watch::channel(BTreeMap::from([(partition, offset)])).1;
                            pollers.spawn(poller::run(self.clone(), assigned, stopping.clone()));
                        }
                    }
                    known.extend(found);
                    DISCOVERY_INTERVAL
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure(Part::Supervisor, &error.to_string());
                    self.config.backoff.delay(failures, self.clock.jitter())
                }
            };
            self.clock.sleep(pause).await;
        }
    }

    /// The partitions that are not `known` yet, each with the offset to start at, which is committed from the outset: a
    /// group that starts at `Latest` would otherwise skip, after a crash, what came in between.
    async fn discover(&self, known: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>, EventLogError> {
        let MappingConfig { topic, group, .. } = &self.config;
        let ranges: BTreeMap<i32, OffsetRange> = (0..).zip(self.log.offsets(topic).await?).collect();
        self.note_ends(&ranges);
        let mut found = BTreeMap::new();
        if ranges.len() == known.len() {
            return Ok(found);
        }
        let committed = self.log.committed(group, topic).await?;
        // A partition that joins a group which has begun is read from its start, wherever the group began: it is new,
        // or its records would be lost.
        let begins = known.is_empty() && committed.is_empty();
        let mut chosen = Vec::new();
        for (&partition, range) in ranges.iter().filter(|(partition, _)| !known.contains_key(partition)) {
            let offset = match committed.get(&partition) {
                Some(offset) => *offset,
                None => {
                    let offset = match self.config.starting_position {
                        StartingPosition::Latest if begins => range.end,
                        StartingPosition::AtTimestamp(time) if begins => {
                            self.log.offset_at(topic, partition, time).await?.unwrap_or(range.end)
                        }
                        _ => range.start,
                    };
                    chosen.push((partition, offset));
                    offset
                }
            };
            found.insert(partition, offset);
        }
        if !chosen.is_empty() {
            self.log.commit(group, topic, &chosen).await?;
        }
        self.note_committed(found.iter().map(|(&partition, &offset)| (partition, offset)));
        Ok(found)
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or_default()
    }

    pub(crate) fn note_ends(&self, ranges: &BTreeMap<i32, OffsetRange>) {
        let mut notes = self.notes();
        for (&partition, range) in ranges {
            let status = notes.partition(partition);
            status.end = range.end;
            status.lag = (status.end - status.committed).max(0);
        }
    }

    pub(crate) fn note_committed(&self, offsets: impl Iterator<Item = (i32, i64)>) {
        let mut notes = self.notes();
        for (partition, offset) in offsets {
            let status = notes.partition(partition);
            status.committed = offset;
            status.end = status.end.max(offset);
            status.lag = status.end - offset;
        }
        drop(notes);
        self.progress.send_replace(());
    }

    pub(crate) fn note_failure(&self, who: Part, reason: &str) {
        tracing::warn!(mapping = self.config.name, topic = self.config.topic, "{reason}");
        self.notes().note_failure(who, self.now(), reason);
    }

    pub(crate) fn note_success(&self, who: Part) {
        self.notes().failing.remove(&who);
    }

    pub(crate) async fn wait_while_paused(&self) {
        // The sender lives as long as this mapping, so that waiting cannot fail.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }
}

/// Tells, however a run ends, that it has ended.
struct Running<'a>(&'a EventSourceMapping);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut notes = self.0.notes();
        notes.phase = Phase::Stopped;
        notes.failing.clear();
        for status in notes.partitions.values_mut() {
            (status.in_flight, status.attempts) = (0, 0);
        }
        drop(notes);
        self.0.running.store(false, Ordering::Release);
    }
}
