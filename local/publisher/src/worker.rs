//! What sends: one thread of its own, which alone has the spill file.
//!
//! An event is in one of four places, in this order: in the *window*, read from the front of the spill file; in the rest of that file;
//! *fresh*, judged and in memory; or in the *inbox*, where a program puts it. What is sent is taken from the first of these that has any,
//! so that nothing newer overtakes. A call of the stream has at most one event of a key: whatever part of a call that failed is on the
//! topic, sending the same events again keeps each key's order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::record::{NewRecord, Position};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::aside::Aside;
use crate::counts::{Counters, count};
use crate::event::Event;
use crate::judge::{Judge, Judged};
use crate::settings::PublisherSettings;
use crate::spill::Spill;

/// So many events are in one call of the stream at most, and so many of the spill file in memory.
const BATCH: usize = 500;
/// So many of their bytes.
const BATCH_BYTES: usize = 1 << 20;
/// So many bytes of the spill file are in memory: those of a call, whatever their keys and headers take.
const WINDOW_BYTES: usize = 4 << 20;
/// How long a spill file that refuses is left alone.
const SPILL_PAUSE_MS: i64 = 1_000;

/// What became of an event that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The stream acknowledged it: it is there, durably.
    Sent(Position),
    /// It is in the spill file, durably, and is sent once the stream is available.
    Spilled,
    /// No stream is configured: it is in the log alone.
    Logged,
    /// It is in memory alone, and sent again as long as this process lives: why it was not acknowledged.
    Waiting(String),
    /// It is not sent: why.
    Refused(String),
    /// There was no room for it, or the publisher has ended: it is lost.
    Dropped,
}

/// What a program put in, and what it may ask for.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) events: VecDeque<Given>,
    /// In memory: in the inbox and fresh.
    pub(crate) held_events: usize,
    pub(crate) held_bytes: usize,
    /// The time by which the thread ends, in milliseconds since 1970.
    pub(crate) closing_ms: Option<i64>,
    pub(crate) has_ended: bool,
    /// Told once nothing waits.
    pub(crate) flushes: Vec<oneshot::Sender<()>>,
}

/// An event in the inbox.
pub(crate) struct Given {
    pub(crate) event: Event,
    pub(crate) bytes: usize,
    pub(crate) at_ms: i64,
    pub(crate) waits: Option<oneshot::Sender<Receipt>>,
}

/// What the thread shares with those who publish.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) wake: Notify,
    pub(crate) counters: Counters,
}

/// Judged, and in memory alone.
struct Fresh {
    topic: String,
    record: NewRecord,
    bytes: usize,
    at_ms: i64,
    waits: Option<oneshot::Sender<Receipt>>,
}

/// At the front of the spill file.
struct Waiting {
    number: u64,
    topic: String,
    record: NewRecord,
    is_settled: bool,
}

/// A call of the stream under way.
struct Flight {
    of: Of,
    /// Whether its events came from the spill file.
    is_resent: bool,
    landing: BoxFuture<'static, Vec<Outcome>>,
}

/// Which events a call has.
enum Of {
    /// So many of the fresh ones, from the first.
    Fresh(usize),
    /// Those of the window.
    Window(Vec<u64>),
}

/// How one event of a call ended.
enum Outcome {
    Sent(Position),
    /// To be sent again: why.
    Retry(Arc<str>),
    /// The topic is missing, or must not be written: a person mends that.
    Closed(Arc<str>),
    /// The stream refuses it: its own fault where others of its topic are accepted.
    Suspect(Arc<str>),
    /// The stream will never take it.
    Refused(String),
}

/// The thread's own.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    settings: PublisherSettings,
    judge: Judge,
    clock: Arc<dyn Clock>,
    stream: Option<Arc<dyn Publish>>,
    spill: Option<Spill>,
    aside: Option<Aside>,
    window: VecDeque<Waiting>,
    fresh: VecDeque<Fresh>,
    flight: Option<Flight>,
    /// Calls that failed since the last one that did not.
    failed: u32,
    /// No call before this time.
    pause_ms: i64,
    /// The spill file is left alone until then.
    spill_pause_ms: i64,
    /// Since when topics are missing or must not be written.
    closed_topics: HashMap<String, i64>,
    /// Topics that took an event of this process.
    proven_topics: HashSet<String>,
    is_over: bool,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: PublisherSettings,
        clock: Arc<dyn Clock>,
        stream: Option<Arc<dyn Publish>>,
        spill: Option<Spill>,
    ) -> Self {
        let aside = settings.spill_file.as_deref().map(|path| Aside::of(path, settings.spill_max_bytes));
        let worker = Self {
            judge: Judge::new(&settings),
            shared,
            settings,
            clock,
            stream,
            spill,
            aside,
            window: VecDeque::new(),
            fresh: VecDeque::new(),
            flight: None,
            failed: 0,
            pause_ms: 0,
            spill_pause_ms: 0,
            closed_topics: HashMap::new(),
            proven_topics: HashSet::new(),
            is_over: false,
        };
        worker.note_spill();
        worker
    }

    /// Sends until it is to end.
    pub(crate) async fn run(mut self) {
        loop {
            self.take_in();
            self.spill_what_must();
            self.take_off();
            self.tell_flushes();
            if self.may_end() {
                return self.end();
            }
            let wait = self.wait_ms().map(|ms| Duration::from_millis(ms.max(1) as u64));
            let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.clock));
            let timer = async {
                match wait {
                    Some(wait) => clock.sleep(wait).await,
                    None => pending().await,
                }
            };
            let landed = async {
                match &mut self.flight {
                    Some(flight) => (&mut flight.landing).await,
                    None => pending().await,
                }
            };
            let landed = tokio::select! {
                biased;
                outcomes = landed => Some(outcomes),
                () = shared.wake.notified() => None,
                () = timer => None,
            };
            if let Some(outcomes) = landed
                && let Some(flight) = self.flight.take()
            {
                self.land(flight, outcomes);
            }
        }
    }

    /// Judges what was put in.
    fn take_in(&mut self) {
        let given: Vec<Given> = {
            let mut inbox = self.shared.inbox.lock();
            let count = inbox.events.len().min(BATCH);
            inbox.events.drain(..count).collect()
        };
        // Not all of a flood at once: what was judged is sent meanwhile, or written to disk.
        if given.len() == BATCH {
            self.shared.wake.notify_one();
        }
        for Given { event, bytes, at_ms, waits } in given {
            let judged = self.judge.judge(event, at_ms);
            if !judged.findings.is_empty() {
                self.tell_findings(&judged);
            }
            if judged.is_refused {
                self.release(1, bytes);
                count(&self.shared.counters.refused);
                answer(waits, || Receipt::Refused(judged.told()));
                if !judged.may_hold_a_secret() {
                    self.set_aside(&judged.topic, &judged.record);
                }
                continue;
            }
            if self.stream.is_none() {
                self.release(1, bytes);
                count(&self.shared.counters.logged);
                let (topic, id, size) = (&judged.topic, judged.id, judged.record.value.as_ref().map_or(0, Bytes::len));
                tracing::info!(topic, event_id = ?id, bytes = size, "no event stream is configured: the event is not sent");
                answer(waits, || Receipt::Logged);
                continue;
            }
            let Judged { topic, record, .. } = judged;
            self.fresh.push_back(Fresh { topic, record, bytes, at_ms, waits });
        }
    }

    fn tell_findings(&self, judged: &Judged) {
        let (topic, id, wrong) = (&judged.topic, judged.id, judged.told());
        if judged.is_refused {
            tracing::error!(topic, event_id = ?id, wrong, "an event is refused and not sent: its consumers could not read it");
        } else {
            count(&self.shared.counters.warned);
            tracing::warn!(topic, event_id = ?id, wrong, "an event is sent though its consumers cannot read it");
        }
    }

    /// An event that is not sent is kept for a person.
    fn set_aside(&self, topic: &str, record: &NewRecord) {
        let Some(aside) = &self.aside else { return };
        let file = aside.path().display();
        match aside.keep(topic, record) {
            Ok(()) => {
                tracing::warn!(topic, %file, "it is kept in this file, which `lyceum ingest` sends once its cause is mended")
            }
            Err(error) => tracing::error!(topic, %file, %error, "it could not be kept for a person, and is lost"),
        }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn closing_ms(&self) -> Option<i64> {
        self.shared.inbox.lock().closing_ms
    }

    /// They are no longer in memory alone.
    fn release(&self, events: usize, bytes: usize) {
        let mut inbox = self.shared.inbox.lock();
        inbox.held_events -= events;
        inbox.held_bytes -= bytes;
    }

    fn note_spill(&self) {
        if let Some(spill) = &self.spill {
            self.shared.counters.on_disk.store(spill.count(), Relaxed);
            self.shared.counters.spill_bytes.store(spill.bytes(), Relaxed);
        }
    }

    /// When events in memory have to go to disk; `None` where they need not.
    fn spill_due_ms(&self) -> Option<i64> {
        let (spill, first) = (self.spill.as_ref()?, self.fresh.front()?);
        let inbox = self.shared.inbox.lock();
        let is_half_full =
            inbox.held_events * 2 > self.settings.queue_events || inbox.held_bytes * 2 > self.settings.queue_bytes;
        // Behind what is there nothing newer may be lost, nor overtake.
        if spill.count() > 0 || self.failed > 0 || is_half_full {
            return Some(self.spill_pause_ms);
        }
        let after_ms = i64::try_from(self.settings.spill_after.as_millis()).unwrap_or(i64::MAX);
        Some(first.at_ms.saturating_add(after_ms).max(self.spill_pause_ms))
    }

    fn spill_what_must(&mut self) {
        if self.spill_due_ms().is_some_and(|due| due <= self.now_ms()) {
            self.spill_fresh();
        }
    }

    /// Writes events from memory to disk, the oldest first.
    fn spill_fresh(&mut self) {
        let now_ms = self.now_ms();
        let Some(spill) = &mut self.spill else { return };
        // Those of a call under way are the first ones: either they go all, or none.
        let in_flight = match &self.flight {
            Some(Flight { of: Of::Fresh(count), .. }) => *count,
            _ => 0,
        };
        let events = self.fresh.iter().map(|fresh| (&*fresh.topic, &fresh.record));
        match spill.append(events, in_flight) {
            Ok((0, _)) => {
                self.spill_pause_ms = now_ms + SPILL_PAUSE_MS;
                tracing::error!(
                    bytes = spill.bytes(),
                    "the spill file is full: events wait in memory, and are dropped once that is full, too; PUBLISHER_SPILL_MAX_BYTES says how large it may be"
                );
                self.tell_waiting("the spill file is full");
            }
            Ok((spilled, first)) => {
                self.spill_pause_ms = 0;
                let mut bytes = 0;
                for fresh in self.fresh.drain(..spilled) {
                    bytes += fresh.bytes;
                    answer(fresh.waits, || Receipt::Spilled);
                }
                if let Some(Flight { of, .. }) = self.flight.as_mut().filter(|_| in_flight > 0) {
                    *of = Of::Window((first..first + in_flight as u64).collect());
                }
                self.shared.counters.spilled.fetch_add(spilled as u64, Relaxed);
                self.release(spilled, bytes);
                self.note_spill();
                if in_flight > 0 {
                    self.fill_window();
                }
            }
            Err(error) => {
                self.spill_pause_ms = now_ms + SPILL_PAUSE_MS;
                tracing::error!(%error, "the spill file cannot be written: events wait in memory, and are dropped once that is full");
                self.tell_waiting(&format!("the spill file cannot be written: {error}"));
            }
        }
    }

    /// Whoever waits for an event that neither the stream nor the disk takes hears of it.
    fn tell_waiting(&mut self, why: &str) {
        if self.failed > 0 {
            for fresh in &mut self.fresh {
                answer(fresh.waits.take(), || Receipt::Waiting(why.to_owned()));
            }
        }
    }

    /// Reads the front of the spill file.
    fn fill_window(&mut self) {
        let Some(spill) = &mut self.spill else { return };
        if self.window.len() >= BATCH || !spill.has_unread() {
            return;
        }
        match spill.read(BATCH - self.window.len(), WINDOW_BYTES) {
            Ok(read) => {
                let waiting = read.into_iter().map(|of| Waiting {
                    number: of.number,
                    topic: of.topic,
                    record: of.record,
                    is_settled: false,
                });
                self.window.extend(waiting);
            }
            Err(error) => {
                self.pause_ms = self.clock.now_ms() + SPILL_PAUSE_MS;
                tracing::error!(%error, "the spill file cannot be read: its events wait");
            }
        }
        self.note_spill();
    }

    /// Begins the next call of the stream, where there is anything to send.
    fn take_off(&mut self) {
        let Some(stream) = self.stream.as_ref().filter(|_| self.flight.is_none()) else { return };
        let stream = Arc::clone(stream);
        if self.now_ms() < self.pause_ms {
            return;
        }
        self.fill_window();
        let is_on_disk = self.spill.as_ref().is_some_and(|spill| spill.count() > 0);
        let (of, batch) = if is_on_disk {
            let waiting = self.window.iter().filter(|of| !of.is_settled);
            let batch = batch(waiting.clone().map(|of| (&*of.topic, &of.record)));
            (Of::Window(waiting.take(batch.len()).map(|of| of.number).collect()), batch)
        } else {
            let batch = batch(self.fresh.iter().map(|of| (&*of.topic, &of.record)));
            (Of::Fresh(batch.len()), batch)
        };
        if !batch.is_empty() {
            let landing = send(stream, batch).boxed();
            self.flight = Some(Flight { of, is_resent: is_on_disk, landing });
        }
    }

    /// What became of a call.
    fn land(&mut self, flight: Flight, mut outcomes: Vec<Outcome>) {
        let now_ms = self.now_ms();
        let topics: Vec<String> = match &flight.of {
            Of::Fresh(count) => self.fresh.iter().take(*count).map(|of| of.topic.clone()).collect(),
            Of::Window(numbers) => {
                let topic = |number: &u64| self.waiting(*number).map(|at| self.window[at].topic.clone());
                numbers.iter().map(|number| topic(number).unwrap_or_default()).collect()
            }
        };
        for (outcome, topic) in outcomes.iter().zip(&topics) {
            if matches!(outcome, Outcome::Sent(_)) {
                self.closed_topics.remove(topic);
                if !self.proven_topics.contains(topic) {
                    self.proven_topics.insert(topic.clone());
                }
            }
        }
        let patience_ms = i64::try_from(self.settings.patience.as_millis()).unwrap_or(i64::MAX);
        let mut failure = None;
        for (outcome, topic) in outcomes.iter_mut().zip(&topics) {
            let is_proven = self.proven_topics.contains(topic);
            match outcome {
                Outcome::Sent(_) | Outcome::Refused(_) => {}
                Outcome::Retry(why) => failure = Some(Arc::clone(why)),
                Outcome::Suspect(why) if is_proven => *outcome = Outcome::Refused(why.to_string()),
                Outcome::Suspect(why) | Outcome::Closed(why) => {
                    let since_ms = *self.closed_topics.entry(topic.clone()).or_insert(now_ms);
                    if now_ms.saturating_sub(since_ms) >= patience_ms {
                        *outcome = Outcome::Refused(why.to_string());
                    } else {
                        failure = Some(Arc::clone(why));
                    }
                }
            }
        }
        self.tell(failure.as_deref(), now_ms);
        match flight.of {
            Of::Fresh(_) => self.land_fresh(outcomes),
            Of::Window(numbers) => self.land_window(&numbers, outcomes, flight.is_resent),
        }
    }

    /// Says once that the stream is unavailable, and once that it is there again.
    fn tell(&mut self, failure: Option<&str>, now_ms: i64) {
        let Some(why) = failure else {
            if std::mem::take(&mut self.failed) > 0 {
                let waiting = self.spill.as_ref().map_or(0, Spill::count);
                tracing::warn!(waiting, "the event stream is available again; what waits is sent in order");
            }
            return;
        };
        count(&self.shared.counters.failures);
        self.failed = self.failed.saturating_add(1);
        let wait = self.settings.retry.delay(self.failed, self.clock.jitter());
        self.pause_ms = now_ms + wait.as_millis() as i64;
        let place =
            if self.spill.is_some() { "the spill file" } else { "memory alone (PUBLISHER_SPILL_FILE names a file)" };
        if self.failed == 1 {
            tracing::warn!(why, "events are not sent for now; they wait in {place}, and are sent again");
        } else {
            tracing::debug!(why, failed = self.failed, "events are not sent yet");
        }
    }

    /// Where an event is in the window.
    fn waiting(&self, number: u64) -> Option<usize> {
        self.window.binary_search_by_key(&number, |of| of.number).ok()
    }

    fn land_fresh(&mut self, outcomes: Vec<Outcome>) {
        let count_of_call = outcomes.len();
        let mut kept = Vec::new();
        let mut released = (0, 0);
        let landed: Vec<Fresh> = self.fresh.drain(..count_of_call).collect();
        for (mut fresh, outcome) in landed.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Sent(position) => {
                    count(&self.shared.counters.sent);
                    answer(fresh.waits.take(), || Receipt::Sent(position));
                }
                Outcome::Refused(why) => {
                    self.refuse(&fresh.topic, &fresh.record, &why);
                    answer(fresh.waits.take(), || Receipt::Refused(why));
                }
                Outcome::Retry(why) | Outcome::Closed(why) | Outcome::Suspect(why) => {
                    // With a spill file it is there in a moment.
                    if self.spill.is_none() || self.now_ms() < self.spill_pause_ms {
                        answer(fresh.waits.take(), || Receipt::Waiting(why.to_string()));
                    }
                    kept.push(fresh);
                    continue;
                }
            }
            released = (released.0 + 1, released.1 + fresh.bytes);
        }
        kept.into_iter().rev().for_each(|fresh| self.fresh.push_front(fresh));
        self.release(released.0, released.1);
    }

    fn land_window(&mut self, numbers: &[u64], outcomes: Vec<Outcome>, is_resent: bool) {
        let mut refused = Vec::new();
        for (number, outcome) in numbers.iter().zip(outcomes) {
            // One that did not fit into the window is sent again from the file.
            let Some(waiting) = self.waiting(*number).and_then(|at| self.window.get_mut(at)) else { continue };
            match outcome {
                Outcome::Sent(_) => {
                    waiting.is_settled = true;
                    count(&self.shared.counters.sent);
                    if is_resent {
                        count(&self.shared.counters.resent);
                    }
                }
                Outcome::Refused(why) => {
                    waiting.is_settled = true;
                    refused.push((waiting.topic.clone(), waiting.record.clone(), why));
                }
                Outcome::Retry(_) | Outcome::Closed(_) | Outcome::Suspect(_) => {}
            }
        }
        // Kept for a person before the spill file forgets it.
        for (topic, record, why) in refused {
            self.refuse(&topic, &record, &why);
        }
        let mut settled = None;
        while let Some(waiting) = self.window.pop_front_if(|of| of.is_settled) {
            settled = Some(waiting.number);
        }
        if let (Some(spill), Some(number)) = (&mut self.spill, settled) {
            spill.settle(number);
        }
        self.note_spill();
    }

    fn refuse(&self, topic: &str, record: &NewRecord, why: &str) {
        count(&self.shared.counters.refused);
        let key = record.key.as_deref().map(String::from_utf8_lossy);
        tracing::error!(topic, key = key.as_deref(), why, "the event stream does not take an event");
        self.set_aside(topic, record);
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.flight.is_none() && self.spill.as_ref().is_none_or(|spill| spill.count() == 0)
    }

    fn tell_flushes(&self) {
        if self.is_empty() {
            let mut inbox = self.shared.inbox.lock();
            if inbox.events.is_empty() {
                for flush in inbox.flushes.drain(..) {
                    // Whoever went away waits for nothing.
                    let _ = flush.send(());
                }
            }
        }
    }

    /// Milliseconds until something is to be done without being woken.
    fn wait_ms(&self) -> Option<i64> {
        let has_some = !self.fresh.is_empty() || self.spill.as_ref().is_some_and(|spill| spill.count() > 0);
        let retry = (has_some && self.flight.is_none()).then_some(self.pause_ms);
        let due = [retry, self.spill_due_ms(), self.closing_ms()].into_iter().flatten().min()?;
        Some(due - self.now_ms())
    }

    /// Whether this is the end: asked for, and nothing is left that time would change.
    fn may_end(&mut self) -> bool {
        let Some(closing_ms) = self.closing_ms() else { return false };
        if !self.shared.inbox.lock().events.is_empty() {
            return false;
        }
        // What is on disk is safe there: nobody has to wait for a stream that is unavailable.
        let is_safe = self.fresh.is_empty() && self.failed > 0;
        self.is_empty() || is_safe || self.now_ms() >= closing_ms
    }

    fn end(mut self) {
        if !self.fresh.is_empty() {
            self.spill_fresh();
        }
        let mut inbox = self.shared.inbox.lock();
        inbox.has_ended = true;
        let given: Vec<Given> = inbox.events.drain(..).collect();
        (inbox.held_events, inbox.held_bytes) = (0, 0);
        drop(inbox);
        let lost = self.fresh.len() + given.len();
        if lost > 0 {
            self.shared.counters.dropped.fetch_add(lost as u64, Relaxed);
            tracing::error!(
                lost,
                "the publisher ends, and these events could neither be sent nor spilled: they are lost"
            );
        }
        self.fresh.drain(..).for_each(|fresh| answer(fresh.waits, || Receipt::Dropped));
        given.into_iter().for_each(|given| answer(given.waits, || Receipt::Dropped));
        self.is_over = true;
    }
}

/// Where the thread ends in any other way, nobody waits for it.
impl Drop for Worker {
    fn drop(&mut self) {
        let mut inbox = self.shared.inbox.lock();
        inbox.has_ended = true;
        inbox.flushes.clear();
        inbox.events.clear();
        if !self.is_over {
            tracing::error!("the publisher has ended before its time: no event is sent any more");
        }
    }
}

fn answer(waits: Option<oneshot::Sender<Receipt>>, receipt: impl FnOnce() -> Receipt) {
    if let Some(waits) = waits {
        // Whoever went away waits for nothing.
        let _ = waits.send(receipt());
    }
}

/// As many of the first events as one call may have: one of a key at most.
fn batch<'e>(events: impl Iterator<Item = (&'e str, &'e NewRecord)>) -> Vec<(String, NewRecord)> {
    let (mut batch, mut keys, mut bytes) = (Vec::new(), HashSet::new(), 0);
    for (topic, record) in events.take(BATCH) {
        bytes += record.value.as_ref().map_or(0, Bytes::len);
        let is_repeated = record.key.as_ref().is_some_and(|key| !keys.insert((topic, key.clone())));
        if is_repeated || !batch.is_empty() && bytes > BATCH_BYTES {
            break;
        }
        batch.push((topic.to_owned(), record.clone()));
    }
    batch
}

/// Sends a batch, each topic by itself, and says of each event what became of it.
async fn send(stream: Arc<dyn Publish>, batch: Vec<(String, NewRecord)>) -> Vec<Outcome> {
    let mut topics: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, (topic, _)) in batch.iter().enumerate() {
        match topics.iter_mut().find(|(of, _)| of == topic) {
            Some((_, indices)) => indices.push(index),
            None => topics.push((topic.clone(), vec![index])),
        }
    }
    let calls = topics.iter().map(|(topic, indices)| {
        let records = indices.iter().map(|index| batch[*index].1.clone()).collect();
        send_to(&*stream, topic, records)
    });
    let mut landed: Vec<(usize, Outcome)> = Vec::with_capacity(batch.len());
    for ((_, indices), outcomes) in topics.iter().zip(join_all(calls).await) {
        landed.extend(indices.iter().copied().zip(outcomes));
    }
    landed.sort_by_key(|(index, _)| *index);
    landed.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Sends to one topic: all at once, and where that is refused, one after the other, so that only the event is refused that is to blame.
async fn send_to(stream: &dyn Publish, topic: &str, records: Vec<NewRecord>) -> Vec<Outcome> {
    let count = records.len();
    let error = match stream.produce(topic, records.clone()).await {
        Ok(positions) => return positions.into_iter().map(Outcome::Sent).collect(),
        Err(error) => error,
    };
    if count == 1 || !is_of_one_record(&error) {
        return (0..count).map(|_| outcome_of(&error)).collect();
    }
    let mut outcomes = Vec::with_capacity(count);
    for record in records {
        let outcome = match stream.produce(topic, vec![record]).await {
            Ok(mut positions) => {
                positions.pop().map_or_else(|| Outcome::Retry("no position was given".into()), Outcome::Sent)
            }
            Err(error) => outcome_of(&error),
        };
        let is_over = matches!(outcome, Outcome::Retry(_) | Outcome::Closed(_));
        outcomes.push(outcome);
        if is_over {
            break;
        }
    }
    let behind = (outcomes.len()..count).map(|_| Outcome::Retry("an event before it was not sent".into()));
    outcomes.extend(behind.collect::<Vec<_>>());
    outcomes
}

fn is_of_one_record(error: &EventLogError) -> bool {
    matches!(error, EventLogError::TooLarge { .. } | EventLogError::Refused(_) | EventLogError::UnknownPartition { .. })
}

fn outcome_of(error: &EventLogError) -> Outcome {
    match error {
        EventLogError::UnknownTopic(_) | EventLogError::Unauthorized(_) => Outcome::Closed(error.to_string().into()),
        EventLogError::Refused(why) => Outcome::Suspect(why.as_str().into()),
        error if is_of_one_record(error) => Outcome::Refused(error.to_string()),
        // Of publishing there are no others; whatever they are, nothing is lost by trying again.
        error => Outcome::Retry(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests;
