//! The handle by which a program publishes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lyceum_around::system_clock::SystemClock;
use lyceum_core::clock::Clock;
use lyceum_core::environment::{Reading, WrongEnvironment};
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::counts::{Counts, count};
use crate::event::Event;
use crate::settings::PublisherSettings;
use crate::spill::{Spill, SpillError};
use crate::worker::{Given, Receipt, Shared, Worker};

/// Why a publisher cannot begin. A program that would rather run without its events than not at all starts one without a stream.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The environment has wrong values.
    #[error(transparent)]
    Environment(#[from] WrongEnvironment),
    /// Kafka's settings make no client.
    #[error("no client of Kafka can be made: {0}")]
    Kafka(#[from] EventLogError),
    /// The spill file cannot be used.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The system gives no thread.
    #[error("no thread can be started to publish events: {0}")]
    Thread(#[from] std::io::Error),
}

/// Publishes events. Clones are handles of the same publisher; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    queue_events: usize,
    queue_bytes: usize,
    close_within: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Publisher {
    /// As the environment says: the table of docs/operations.md. Without `KAFKA_BOOTSTRAP_SERVERS` there is no stream, and events are
    /// written to the log alone.
    ///
    /// # Errors
    /// Every wrong value at once; a spill file that cannot be used. That Kafka is unavailable is none.
    pub fn from_environment() -> Result<Self, StartError> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut reading = Reading::new(&variable);
        let (settings, kafka) = (PublisherSettings::read(&mut reading), KafkaSettings::read(&mut reading));
        let (settings, kafka) = reading.finish((settings, kafka))?;
        let log = kafka.map(|kafka| KafkaEventLog::connect(&kafka)).transpose()?;
        Self::start(settings, log.map(|log| Arc::new(log) as Arc<dyn Publish>))
    }

    /// To any stream: Kafka, the embedded log, a test's own. Without one events are written to the log alone.
    ///
    /// # Errors
    /// A spill file that cannot be used, or that another process has.
    pub fn start(settings: PublisherSettings, stream: Option<Arc<dyn Publish>>) -> Result<Self, StartError> {
        let spill = match settings.spill_file.as_deref().filter(|_| stream.is_some()) {
            None => None,
            Some(path) => {
                let (spill, found) = Spill::open(path, settings.spill_max_bytes)?;
                let (file, waiting) = (path.display(), spill.count());
                if found.cut_bytes > 0 {
                    let bytes = found.cut_bytes;
                    tracing::warn!(%file, bytes, "the spill file ended within an event, which was never reported as spilled: that part is dropped");
                }
                if found.damaged_bytes > 0 {
                    let bytes = found.damaged_bytes;
                    tracing::error!(%file, bytes, "the spill file is damaged: these bytes are stepped over, and the events in them are lost");
                }
                if waiting > 0 {
                    tracing::warn!(%file, waiting, "events wait in the spill file since an earlier run; they are sent before any other");
                }
                Some(spill)
            }
        };
        if stream.is_none() {
            tracing::warn!(
                "no event stream is configured (KAFKA_BOOTSTRAP_SERVERS): events are written to the log alone"
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (publisher, worker) = Self::of_parts(settings, Arc::new(SystemClock), stream, spill);
        let run = move || {
            // Whoever publishes goes on whatever happens here; the worker's own end says what it means.
            let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(worker.run())));
            // A call of the stream that blocks would keep the process.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("lyceum-publisher".to_owned()).spawn(run)?;
        *publisher.inner.thread.lock() = Some(thread);
        Ok(publisher)
    }

    /// A publisher whose thread is somebody else's affair.
    pub(crate) fn of_parts(
        settings: PublisherSettings,
        clock: Arc<dyn Clock>,
        stream: Option<Arc<dyn Publish>>,
        spill: Option<Spill>,
    ) -> (Self, Worker) {
        let shared = Arc::new(Shared::default());
        let inner = Inner {
            shared: Arc::clone(&shared),
            clock: Arc::clone(&clock),
            queue_events: settings.queue_events,
            queue_bytes: settings.queue_bytes,
            close_within: settings.close_within,
            thread: Mutex::default(),
        };
        (Self { inner: Arc::new(inner) }, Worker::new(shared, settings, clock, stream, spill))
    }

    /// Publishes an event, and comes back at once: it neither waits nor fails. What becomes of the event is in the log and in
    /// [`counts`](Self::counts).
    pub fn publish(&self, event: Event) {
        self.put(event, None);
    }

    /// Publishes an event and waits until it is known what became of it: for a function, whose process is frozen once it has answered.
    /// No runtime is asked for. How long the stream may take is its own setting (`KAFKA_TIMEOUT_MS`); whoever stops waiting takes nothing
    /// back.
    pub async fn publish_and_wait(&self, event: Event) -> Receipt {
        let (waits, receipt) = oneshot::channel();
        self.put(event, Some(waits));
        receipt.await.unwrap_or(Receipt::Dropped)
    }

    fn put(&self, event: Event, waits: Option<oneshot::Sender<Receipt>>) {
        let Inner { shared, clock, queue_events, queue_bytes, .. } = &*self.inner;
        let (bytes, at_ms) = (event.bytes(), clock.now_ms());
        let mut inbox = shared.inbox.lock();
        let is_closed = inbox.has_ended || inbox.closing_ms.is_some();
        if is_closed || inbox.held_events >= *queue_events || inbox.held_bytes + bytes > *queue_bytes {
            drop(inbox);
            let dropped = count(&shared.counters.dropped);
            // Not for each of a flood.
            if dropped.is_power_of_two() {
                let why = if is_closed { "the publisher has ended" } else { "memory and spill file are full" };
                tracing::error!(
                    topic = event.topic,
                    dropped,
                    why,
                    "an event is lost; this is said at the 1st, 2nd, 4th, 8th …"
                );
            }
            // Its receipt is that nobody will send one.
            return;
        }
        inbox.held_events += 1;
        inbox.held_bytes += bytes;
        inbox.events.push_back(Given { event, bytes, at_ms, waits });
        drop(inbox);
        shared.wake.notify_one();
    }

    /// What the thread shares, for tests that end it.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.inner.shared)
    }

    #[cfg(test)]
    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// How many events became what.
    pub fn counts(&self) -> Counts {
        let in_memory = self.inner.shared.inbox.lock().held_events;
        self.inner.shared.counters.read(in_memory as u64)
    }

    /// Comes back once nothing waits any more, in memory or in the spill file; with a stream that is unavailable that may be never.
    pub async fn flush(&self) {
        let (told, flushed) = oneshot::channel();
        self.inner.shared.inbox.lock().flushes.push(told);
        self.inner.shared.wake.notify_one();
        // Where the publisher has ended, nothing waits.
        let _ = flushed.await;
    }

    /// Ends the publisher, and blocks meanwhile: sends what is there for as long as `limit`, writes the rest into the spill file, and says
    /// what became of all. Without a spill file the rest is lost. What is published from now on is dropped.
    pub fn close(&self, limit: Duration) -> Counts {
        self.inner.close(limit);
        self.counts()
    }
}

impl Inner {
    fn close(&self, limit: Duration) {
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let until_ms = self.clock.now_ms().saturating_add(limit_ms);
        self.shared.inbox.lock().closing_ms.get_or_insert(until_ms);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of it was caught, and told.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(self.close_within);
    }
}
