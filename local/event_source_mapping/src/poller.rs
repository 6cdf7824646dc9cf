//! One poller: collects a batch, delivers it to its end, commits, and begins again. One batch in flight, so records of a
//! partition never overtake each other.
//!
//! A partition that the group revokes is released at the next safe point: an invocation in flight ends, what it settled
//! is committed as long as the partition is still this member's own, and the rest of the batch is abandoned to whoever has
//! the partition next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{self, Either};
use lyceum_core::ports::event_log::{EventLogError, Membership};
use lyceum_core::record::{NO_TIMESTAMP, NewRecord, Record};
use lyceum_lambda_event::event::{EventSize, write_event};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::Destination;
use crate::cursor::Cursor;
use crate::delivery::{Item, Verdict, conclude};
use crate::filter::Filtering;
use crate::function::InvokeError;
use crate::mapping::EventSourceMapping;
use crate::on_failure::{Condition, letter_of};
use crate::status::Part;

/// How long an idle poller sleeps where no record wakes it.
const IDLE_WAIT: Duration = Duration::from_secs(5);

/// At most so many bytes of keys, values and headers a fetch; base64 makes them a third more.
const FETCH_BYTES: usize = 4 * 1024 * 1024;

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) offset: i64,
    /// Tells apart what was assigned twice: between the two others may have read the partition.
    pub(crate) epoch: u64,
}

/// What one poller has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assigned {
    pub(crate) starts: BTreeMap<i32, Start>,
    /// Nothing will be added: the poller ends once it has released its partitions.
    pub(crate) is_over: bool,
}

/// What a poller is started with.
#[derive(Clone)]
pub(crate) struct PollerTask {
    /// Its partition, or [`ALL`]: under which its failures are noted.
    pub(crate) who: i32,
    pub(crate) mapping: Arc<EventSourceMapping>,
    pub(crate) membership: Arc<dyn Membership>,
    pub(crate) assigned: Arc<watch::Sender<Assigned>>,
    /// The partitions that pollers work on.
    pub(crate) held: Arc<watch::Sender<BTreeSet<i32>>>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// The mapping stops: who gets this returns at once, and leaves unsettled what is unsettled.
struct Stopped;

/// Polls the assigned partitions (which may become more and fewer), each from its offset, until the mapping stops.
pub(crate) async fn run(task: PollerTask) {
    let mut crashes = 0;
    loop {
        let mut poller = Poller {
            assigned: task.assigned.subscribe(),
            stopping: task.stopping.clone(),
            mapping: task.mapping.clone(),
            task: &task,
            cursors: Vec::new(),
            payload: Vec::new(),
            log_failures: 0,
            failures_in_row: 0,
            first: 0,
            looked: Mutex::default(),
        };
        let outcome = AssertUnwindSafe(poller.poll()).catch_unwind().await;
        poller.forget(|_| true);
        let Err(_panic) = outcome else {
            task.mapping.note_success(Part::Poller(task.who));
            task.mapping.note_success(Part::Function(task.who));
            return;
        };
        // Only a log that panics gets here. What was not committed is redelivered.
        crashes += 1;
        let EventSourceMapping { config, clock, .. } = &*task.mapping;
        task.mapping
            .note_failure(Part::Poller(task.who), "the poller panicked and starts again from what is committed");
        clock.sleep(config.backoff.delay(crashes, clock.jitter())).await;
    }
}

struct Poller<'a> {
    task: &'a PollerTask,
    mapping: Arc<EventSourceMapping>,
    assigned: watch::Receiver<Assigned>,
    stopping: watch::Receiver<bool>,
    cursors: Vec<Cursor>,
    /// The event's memory, used again for each invocation.
    payload: Vec<u8>,
    /// Failures of the log in a row.
    log_failures: u32,
    /// Failures of the function in a row.
    failures_in_row: u32,
    /// The cursor that comes first in the next batch.
    first: usize,
    /// The partitions' ends when they were last looked at.
    looked: Mutex<BTreeMap<i32, i64>>,
}

/// A batch that is being collected.
struct Batch {
    items: Vec<Item>,
    size: EventSize,
}

impl Poller<'_> {
    async fn poll(&mut self) -> Stopped {
        loop {
            let turn = async {
                let batch = self.collect().await?;
                self.deliver(batch).await
            };
            if let Err(stopped) = turn.await {
                return stopped;
            }
        }
    }

    /// Whether the cursor is of what is assigned now.
    fn is_assigned(&self, cursor: &Cursor) -> bool {
        let assigned = self.assigned.borrow();
        assigned.starts.get(&cursor.partition).is_some_and(|start| start.epoch == cursor.epoch)
    }

    /// Drops cursors; other members may go on with their partitions.
    fn forget(&mut self, is_meant: impl Fn(&Cursor) -> bool) {
        let forgotten: BTreeSet<i32> =
            self.cursors.iter().filter(|cursor| is_meant(cursor)).map(|cursor| cursor.partition).collect();
        if !forgotten.is_empty() {
            self.cursors.retain(|cursor| !is_meant(cursor));
            self.task.held.send_modify(|held| held.retain(|partition| !forgotten.contains(partition)));
        }
    }

    /// Releases the partitions that were revoked, after committing what is settled of them.
    async fn release(&mut self) -> Result<(), Stopped> {
        self.assigned.mark_unchanged();
        if self.cursors.iter().all(|cursor| self.is_assigned(cursor)) {
            return Ok(());
        }
        self.commit().await?;
        let assigned = self.assigned.borrow().starts.clone();
        self.forget(|cursor| assigned.get(&cursor.partition).is_none_or(|start| start.epoch != cursor.epoch));
        Ok(())
    }

    /// Whether the record is of a partition that this poller has, and not abandoned.
    fn holds(&self, record: &Record) -> bool {
        self.cursors.iter().any(|cursor| cursor.partition == record.position.partition)
    }

    /// Starts on what is assigned. Only between batches: a record of the last one might be of an earlier assignment.
    fn start(&mut self) {
        let assigned = self.assigned.borrow();
        let notes = self.mapping.notes.lock();
        for (&partition, start) in &assigned.starts {
            if !self.cursors.iter().any(|cursor| cursor.partition == partition) {
                // After a crash of this poller more is committed than it was assigned with.
                let committed = notes.partitions.get(&partition).map_or(start.offset, |status| status.committed);
                self.cursors.push(Cursor::new(partition, committed, start.epoch));
                self.task.held.send_modify(|held| {
                    held.insert(partition);
                });
            }
        }
    }

    /// Comes back with at least one record: when the batch is full by number or size, or its window is over.
    async fn collect(&mut self) -> Result<Vec<Item>, Stopped> {
        let mapping = self.mapping.clone();
        let config = &mapping.config;
        let window_ms = i64::try_from(config.batching_window.as_millis()).unwrap_or(i64::MAX);
        let mut batch = Batch { items: Vec::new(), size: EventSize::new(&config.source) };
        let mut deadline = None;
        loop {
            self.unless_stopped(async {}).await?;
            self.release().await?;
            self.abandon(&mut batch);
            if batch.items.is_empty() {
                deadline = None;
                if self.cursors.is_empty() && self.assigned.borrow().is_over {
                    return Err(Stopped);
                }
                if mapping.is_paused() {
                    self.unless_stopped(self.or_reassigned(mapping.wait_while_paused())).await?;
                    continue;
                }
                self.start();
                if self.cursors.is_empty() {
                    self.unless_stopped(self.or_reassigned(future::pending())).await?;
                    continue;
                }
            }
            let is_full = self.fill(&mut batch).await?;
            // What the filter settled.
            self.commit().await?;
            self.abandon(&mut batch);
            if is_full && !batch.items.is_empty() {
                break;
            }
            let wait = if batch.items.is_empty() {
                IDLE_WAIT
            } else {
                let now = self.mapping.clock.now_ms();
                let left_ms = deadline.get_or_insert(now.saturating_add(window_ms)).saturating_sub(now);
                // A clock that went back ends the window, or its records would wait until it is right again.
                match u64::try_from(left_ms) {
                    Ok(left) if left_ms > 0 && left_ms <= window_ms => Duration::from_millis(left),
                    _ => break,
                }
            };
            self.unless_stopped(self.or_reassigned(self.wait_for_records(wait))).await?;
        }
        self.first = self.first.wrapping_add(1);
        self.mapping.notes.lock().counts.batches += 1;
        Ok(batch.items)
    }

    /// Drops from a batch that is being collected what is no longer this poller's.
    fn abandon(&self, batch: &mut Batch) {
        if batch.items.iter().all(|item| self.holds(&item.record)) {
            return;
        }
        batch.items.retain(|item| self.holds(&item.record));
        batch.size = EventSize::new(&self.mapping.config.source);
        for item in &batch.items {
            batch.size.add_within(&item.record, self.mapping.config.payload_limit_bytes);
        }
    }

    /// Takes what is there, from every partition its share in turn; returns whether the batch is full.
    async fn fill(&mut self, batch: &mut Batch) -> Result<bool, Stopped> {
        let limit = self.mapping.config.batch_size;
        let share = limit.div_ceil(self.cursors.len().max(1));
        loop {
            let mut found_any = false;
            for turn in 0..self.cursors.len() {
                let index = (self.first % self.cursors.len() + turn) % self.cursors.len();
                if !self.cursors[index].has_ahead() {
                    self.fetch(index, share).await?;
                }
                for _ in 0..share {
                    let Some(record) = self.cursors[index].take_next() else { break };
                    found_any = true;
                    if let Err(record) = self.consider(record, batch).await? {
                        self.cursors[index].put_back(record);
                        return Ok(true);
                    }
                    if batch.items.len() == limit {
                        return Ok(true);
                    }
                }
            }
            if !found_any {
                return Ok(false);
            }
            self.unless_stopped(async {}).await?;
        }
    }

    /// Adds the record to the batch or settles it; gives it back where the batch has no room for it.
    async fn consider(&mut self, record: Record, batch: &mut Batch) -> Result<Result<(), Record>, Stopped> {
        let mapping = self.mapping.clone();
        let filtering =
            mapping.filter.as_ref().map_or(Filtering::Matched, |filter| filter.judge(record.value.as_deref()));
        if filtering != Filtering::Matched {
            let counts = &mut mapping.notes.lock().counts;
            counts.filtered += 1;
            counts.filtered_unreadable += u64::from(filtering == Filtering::DroppedUnreadable);
            self.settle(&record);
        } else if batch.size.add_within(&record, mapping.config.payload_limit_bytes) {
            batch.items.push(Item::new(record));
        } else {
            let alone = EventSize::new(&mapping.config.source).bytes_with(&record);
            if alone <= mapping.config.payload_limit_bytes {
                return Ok(Err(record));
            }
            let error =
                format!("the record makes {alone} bytes of JSON, over the {}", mapping.config.payload_limit_bytes);
            self.give_up(vec![Item::new(record)], Condition::PayloadTooLarge, &error).await?;
        }
        Ok(Ok(()))
    }

    async fn fetch(&mut self, index: usize, max_records: usize) -> Result<(), Stopped> {
        let mapping = self.mapping.clone();
        let topic = &mapping.config.topic;
        loop {
            let Cursor { partition, next_fetch, .. } = self.cursors[index];
            let looked = self.looked.lock().get(&partition).copied();
            match mapping.log.fetch(topic, partition, next_fetch, max_records, FETCH_BYTES).await {
                Ok(records) => {
                    if records.is_empty()
                        && let Some(end) = looked.filter(|end| *end > next_fetch)
                    {
                        // No record is up to the end that was seen before: transactions' marks, compacted records.
                        self.cursors[index].jump_to(end);
                    }
                    self.cursors[index].add_fetched(records);
                    self.recover();
                    return Ok(());
                }
                Err(EventLogError::OffsetOutOfRange { range, .. }) => {
                    // Below the start, retention was faster; past the end, the topic was made anew. Nothing is lost by
                    // reading what there is.
                    let skipped = u64::try_from(range.start - next_fetch).unwrap_or(0);
                    mapping.notes.lock().counts.skipped_by_retention += skipped;
                    let error = format!(
                        "offset {next_fetch} of {topic}/{partition} is outside {}..{}: going on at {}, {skipped} records were dropped unread",
                        range.start, range.end, range.start
                    );
                    tracing::error!(mapping = mapping.config.name, "{error}");
                    mapping.notes.lock().note_error(mapping.now(), &error);
                    self.cursors[index].jump_to(range.start);
                    self.looked.lock().remove(&partition);
                    // A log that refuses the start it named is asked again later.
                    if range.start == next_fetch {
                        self.back_off("reading", error).await?;
                    }
                }
                Err(error) => {
                    self.back_off("reading", error).await?;
                    if !self.is_assigned(&self.cursors[index]) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Comes back when there is something to fetch, or after `timeout`. Waiting begins before looking, so that a record
    /// which comes in between is not overlooked.
    async fn wait_for_records(&self, timeout: Duration) {
        let EventSourceMapping { log, config, .. } = &*self.mapping;
        let look = async {
            let Ok(ranges) = log.offsets(&config.topic).await else { return future::pending().await };
            let ranges: BTreeMap<i32, _> = (0..).zip(ranges).collect();
            self.mapping.note_ends(&ranges);
            let ends = ranges.iter().map(|(partition, range)| (*partition, range.end));
            self.looked.lock().extend(ends);
            let has_more =
                |cursor: &Cursor| ranges.get(&cursor.partition).is_some_and(|range| range.end != cursor.next_fetch);
            if !self.cursors.iter().any(has_more) {
                future::pending().await
            }
        };
        future::select(log.wait_for_records(&config.topic, timeout), pin!(look)).await;
    }

    /// Invokes until every record of the batch is settled.
    async fn deliver(&mut self, batch: Vec<Item>) -> Result<(), Stopped> {
        let mapping = self.mapping.clone();
        // A batch that ends, even at the destination, is progress: the next one begins without waiting.
        self.failures_in_row = 0;
        // The last one is next: what a failed batch leaves behind comes before what followed it.
        let mut work = vec![batch];
        while let Some(items) = work.pop() {
            self.unless_stopped(async {}).await?;
            self.release().await?;
            while mapping.is_paused() {
                self.unless_stopped(self.or_reassigned(mapping.wait_while_paused())).await?;
                self.release().await?;
            }
            let items = items.into_iter().filter(|item| self.holds(&item.record));
            let (too_old, mut items): (Vec<_>, Vec<_>) = items.partition(|item| self.is_too_old(item));
            self.give_up(too_old, Condition::RecordAgeExceeded, "the record is older than MaximumRecordAgeInSeconds")
                .await?;
            if !items.is_empty() {
                let began_ms = mapping.clock.now_ms();
                let verdict = self.invoke(&mut items).await;
                let aftermath = conclude(items, &verdict, &mapping.config);
                self.note_conclusion(&verdict, &aftermath.succeeded, &aftermath.again);
                for item in &aftermath.succeeded {
                    self.settle(&item.record);
                }
                let error = match &verdict {
                    Verdict::Failed(error) => error,
                    Verdict::Succeeded | Verdict::Partly(_) => "the function reported the record as failed",
                };
                self.give_up(aftermath.exhausted, Condition::RetryAttemptsExhausted, error).await?;
                let comes_again = !aftermath.again.is_empty();
                work.extend(aftermath.again.into_iter().rev());
                self.commit().await?;
                if comes_again {
                    // From beginning to beginning: a function of Lambda's holds its answer in an outage, which is a wait already.
                    let took_ms = mapping.clock.now_ms().saturating_sub(began_ms);
                    let delay = mapping.config.backoff.delay(self.failures_in_row, mapping.clock.jitter());
                    let delay = delay.saturating_sub(Duration::from_millis(u64::try_from(took_ms).unwrap_or(0)));
                    self.unless_stopped(self.or_reassigned(mapping.clock.sleep(delay))).await?;
                }
            } else {
                self.commit().await?;
            }
        }
        self.note_in_flight(&[]);
        Ok(())
    }

    fn is_too_old(&self, item: &Item) -> bool {
        let EventSourceMapping { config, clock, .. } = &*self.mapping;
        let timestamp_ms = item.record.timestamp_ms;
        let age = u64::try_from(clock.now_ms().saturating_sub(timestamp_ms)).unwrap_or(0);
        timestamp_ms != NO_TIMESTAMP
            && config.maximum_record_age.is_some_and(|limit| Duration::from_millis(age) > limit)
    }

    async fn invoke(&mut self, items: &mut [Item]) -> Verdict {
        let mapping = self.mapping.clone();
        for item in &mut *items {
            item.invocations += 1;
        }
        self.note_in_flight(items);
        let mut payload = mem::take(&mut self.payload);
        payload.clear();
        write_event(&mapping.config.source, items.iter().map(|item| &item.record), &mut payload);
        let payload = Bytes::from(payload);
        let limit = mapping.config.function_timeout;
        let call = AssertUnwindSafe(mapping.function.invoke(payload.clone())).catch_unwind();
        let answer = match future::select(pin!(call), mapping.clock.sleep(limit)).await {
            Either::Left((Ok(answer), _)) => answer,
            Either::Left((Err(panic), _)) => Err(InvokeError::function("Panic", message_of(&*panic))),
            Either::Right(_) => Err(InvokeError::TimedOut(limit)),
        };
        // The function has let go of the payload, unless it kept a copy: then the next one gets new memory.
        self.payload = payload.try_into_mut().map(Vec::from).unwrap_or_default();
        match answer {
            Ok(answer) if mapping.config.report_batch_item_failures => Verdict::of_answer(&answer, items),
            Ok(_) => Verdict::Succeeded,
            Err(error) => Verdict::Failed(error.to_string()),
        }
    }

    fn note_conclusion(&mut self, verdict: &Verdict, succeeded: &[Item], again: &[Vec<Item>]) {
        let mapping = &self.mapping;
        {
            let counts = &mut mapping.notes.lock().counts;
            counts.succeeded += succeeded.len() as u64;
            counts.failed_again += again.iter().map(|items| items.len() as u64).sum::<u64>();
            counts.function_errors += u64::from(matches!(verdict, Verdict::Failed(_)));
        }
        let function = Part::Function(self.task.who);
        match verdict {
            Verdict::Failed(error) => mapping.note_failure(function, error),
            Verdict::Succeeded | Verdict::Partly(_) => mapping.note_success(function),
        }
        self.failures_in_row = match verdict {
            Verdict::Succeeded => 0,
            Verdict::Partly(_) | Verdict::Failed(_) => self.failures_in_row.saturating_add(1),
        };
    }

    fn note_in_flight(&self, items: &[Item]) {
        let mut notes = self.mapping.notes.lock();
        if !items.is_empty() {
            notes.counts.invoked += 1;
            notes.counts.records_delivered += items.len() as u64;
        }
        for cursor in &self.cursors {
            let own = items.iter().filter(|item| item.record.position.partition == cursor.partition);
            let times = own.clone().map(|item| item.record.timestamp_ms).filter(|time_ms| *time_ms != NO_TIMESTAMP);
            notes.waits.entry(cursor.partition).or_default().oldest_in_hand_ms = times.min();
            let status = notes.partition(cursor.partition);
            (status.in_flight, status.attempts) =
                own.fold((0, 0), |(count, attempts), item| (count + 1, attempts.max(item.invocations)));
        }
    }

    /// Settles records without the function: the on-failure destination has them, durably, before they count as settled.
    async fn give_up(&mut self, items: Vec<Item>, condition: Condition, error: &str) -> Result<(), Stopped> {
        if items.is_empty() {
            return Ok(());
        }
        let mapping = self.mapping.clone();
        let (mut sent, mut discarded) = (0, 0);
        match &mapping.config.on_failure {
            None => discarded = items.len() as u64,
            Some(Destination::Topic(topic)) => {
                let letter = |item: &Item, with_payload| {
                    letter_of(item, condition, error, &mapping.config, mapping.now(), with_payload)
                };
                if self.produce(topic, items.iter().map(|item| letter(item, true)).collect()).await? {
                    sent = items.len() as u64;
                } else {
                    // One of them is too large in base64: each for itself, and at the worst its place alone.
                    for item in &items {
                        if self.produce(topic, vec![letter(item, true)]).await?
                            || self.produce(topic, vec![letter(item, false)]).await?
                        {
                            sent += 1;
                        } else {
                            discarded += 1;
                        }
                    }
                }
            }
        }
        for Item { record, invocations, .. } in &items {
            let (destination, position) = (&mapping.config.on_failure, &record.position);
            tracing::error!(
                mapping = mapping.config.name,
                topic = &*position.topic,
                partition = position.partition,
                offset = position.offset,
                condition = condition.name(),
                invocations,
                destination = destination.as_ref().map_or_else(|| "none, discarded".to_owned(), ToString::to_string),
                "a record was given up: {error}"
            );
            self.settle(record);
        }
        let mut notes = mapping.notes.lock();
        notes.counts.on_failure += sent;
        notes.counts.discarded += discarded;
        notes.note_error(mapping.now(), &format!("{} records given up ({}): {error}", items.len(), condition.name()));
        Ok(())
    }

    /// Whether the topic took them; false where they are too large for it.
    async fn produce(&mut self, topic: &str, records: Vec<NewRecord>) -> Result<bool, Stopped> {
        let mapping = self.mapping.clone();
        loop {
            match mapping.log.produce(topic, records.clone()).await {
                Ok(_) => return Ok(true),
                Err(EventLogError::TooLarge { .. }) => return Ok(false),
                Err(error) => self.back_off("writing to the on-failure destination", error).await?,
            }
        }
    }

    fn settle(&mut self, record: &Record) {
        let Record { position, .. } = record;
        if let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.partition == position.partition) {
            cursor.settle(position.offset);
        }
    }

    /// Commits every partition's low watermark that has moved.
    async fn commit(&mut self) -> Result<(), Stopped> {
        let mapping = self.mapping.clone();
        let marks = {
            let assigned = self.assigned.borrow();
            // What was assigned anew meanwhile begins where others have committed: an earlier mark says nothing any more.
            let is_outdated = |cursor: &&Cursor| {
                assigned.starts.get(&cursor.partition).is_some_and(|start| start.epoch != cursor.epoch)
            };
            let current = self.cursors.iter().filter(|cursor| !is_outdated(cursor));
            let mark = |cursor: &Cursor| (cursor.partition, cursor.low_watermark(), cursor.committed);
            current.map(mark).collect::<Vec<_>>()
        };
        let mut moved: Vec<_> = marks
            .into_iter()
            .filter(|(_, mark, committed)| mark != committed)
            .map(|(partition, mark, _)| (partition, mark))
            .collect();
        while !moved.is_empty() {
            match self.task.membership.commit(&moved).await {
                Ok(()) => break,
                Err(EventLogError::NotAssigned { partitions, .. })
                    if moved.iter().any(|(partition, _)| partitions.contains(partition)) =>
                {
                    // Whoever has them now processes again what was not committed.
                    tracing::warn!(
                        mapping = mapping.config.name,
                        ?partitions,
                        "records of lost partitions that were settled but not committed are redelivered"
                    );
                    self.forget(|cursor| partitions.contains(&cursor.partition));
                    moved.retain(|(partition, _)| !partitions.contains(partition));
                }
                Err(error) => self.back_off("committing", error).await?,
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        self.recover();
        for cursor in &mut self.cursors {
            if let Some((_, mark)) = moved.iter().find(|(partition, _)| *partition == cursor.partition) {
                cursor.committed = *mark;
            }
        }
        mapping.note_committed(moved.into_iter());
        Ok(())
    }

    /// The log failed: reports it and waits, longer each time.
    async fn back_off(&mut self, doing: &str, error: impl Display) -> Result<(), Stopped> {
        self.log_failures = self.log_failures.saturating_add(1);
        let EventSourceMapping { config, clock, .. } = &*self.mapping;
        self.mapping.note_failure(Part::Poller(self.task.who), &format!("{doing} failed: {error}"));
        let delay = config.backoff.delay(self.log_failures, clock.jitter());
        self.unless_stopped(clock.sleep(delay)).await
    }

    fn recover(&mut self) {
        if mem::take(&mut self.log_failures) > 0 {
            self.mapping.note_success(Part::Poller(self.task.who));
        }
    }

    /// Until the future is over or what is assigned changes.
    async fn or_reassigned(&self, future: impl Future<Output = ()>) {
        let mut assigned = self.assigned.clone();
        future::select(pin!(assigned.changed()), pin!(future)).await;
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        let mut stopping = self.stopping.clone();
        let stop = pin!(stopping.wait_for(|stop| *stop));
        match future::select(stop, pin!(future)).await {
            Either::Left(_) => Err(Stopped),
            Either::Right((value, _)) => Ok(value),
        }
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "the function panicked".to_owned())
}
