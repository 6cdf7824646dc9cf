//! The mapping: what it reads, by which function, and how it goes. How it runs is in `supervision.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lyceum_around::system_clock::SystemClock;
use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::{EventLog, EventLogError, OffsetRange};
use lyceum_xapi::utc_time::UtcTime;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::{InvalidConfig, MappingConfig};
use crate::filter::Filter;
use crate::function::Invoke;
use crate::status::{MappingStatus, Notes, Part};

/// Reads a topic for a consumer group and hands its records to a function, as AWS Lambda does.
pub struct EventSourceMapping {
    pub(crate) config: MappingConfig,
    pub(crate) filter: Option<Filter>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) function: Arc<dyn Invoke>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(super) notes: Mutex<Notes>,
    /// Sends whenever an offset was committed.
    pub(super) progress: watch::Sender<()>,
    paused: watch::Sender<bool>,
    pub(super) running: AtomicBool,
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
        let (paused, now_ms) = (self.is_paused(), self.clock.now_ms());
        let notes = self.notes.lock();
        MappingStatus {
            name: self.config.name.clone(),
            topic: self.config.topic.clone(),
            group: self.config.group.clone(),
            function: self.config.function.clone(),
            state: notes.state(paused),
            silent_ms: notes.silent_ms_at(now_ms),
            partitions: notes.partitions_at(now_ms),
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
            let notes = self.notes.lock();
            let is_reached = |(partition, end): (&i32, &i64)| match notes.partitions.get(partition) {
                Some(status) => status.committed >= *end,
                None => notes.elsewhere.get(partition).is_some_and(|committed| committed >= end),
            };
            up_to.iter().all(is_reached)
        };
        // The sender lives as long as this mapping, so that waiting cannot fail.
        let _ = self.progress.subscribe().wait_for(is_settled).await;
    }

    pub(crate) fn now(&self) -> UtcTime {
        UtcTime::from_millis(self.clock.now_ms())
    }

    pub(crate) fn note_ends(&self, ranges: &BTreeMap<i32, OffsetRange>) {
        let now_ms = self.clock.now_ms();
        let mut notes = self.notes.lock();
        let Notes { partitions, waits, .. } = &mut *notes;
        for (partition, range) in ranges {
            let Some(status) = partitions.get_mut(partition) else { continue };
            if status.lag == 0 {
                waits.entry(*partition).or_default().since_ms = now_ms;
            }
            status.end = range.end;
            status.lag = (status.end - status.committed).max(0);
        }
    }

    pub(crate) fn note_committed(&self, offsets: impl Iterator<Item = (i32, i64)>) {
        let now_ms = self.clock.now_ms();
        let mut notes = self.notes.lock();
        for (partition, offset) in offsets {
            notes.waits.entry(partition).or_default().since_ms = now_ms;
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
        self.notes.lock().note_failure(who, self.now(), reason);
    }

    pub(crate) fn note_success(&self, who: Part) {
        self.notes.lock().failing.remove(&who);
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    pub(crate) async fn wait_while_paused(&self) {
        // The sender lives as long as this mapping, so that waiting cannot fail.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }
}
