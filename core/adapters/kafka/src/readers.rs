//! Reading: each partition is fetched ahead into a queue of its own, which a caller who goes on where it stopped finds full.
//!
//! A *lane* is one consumer; it may have each partition once. The first lane has every partition that is read by one reader
//! at a time, which is the rule; a second reader elsewhere in the same partition (a page, a replay) gets the next lane, so
//! that neither moves the other's place. Past [`LANES`], the reader that was idle longest is moved.

use std::collections::HashMap;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::Notify;

use super::client::{self, Context, Served};
use super::growth::Topic;
use lyceum_core::ports::event_log::rules;
use lyceum_core::record::{Header, NO_TIMESTAMP, Position, Record};

/// The most readers of one partition.
const LANES: usize = 4;

/// A partition that nobody reads for so long gives its queue's memory back.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How much of one partition is fetched ahead; small records take about three times as much in memory. Measured: eight times as much
/// reads no faster, and a process that catches up in forty partitions has forty times of it.
const AHEAD_KBYTES: &str = "2048";

/// All readers.
pub(super) struct Readers {
    config: ClientConfig,
    context: Context,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    lanes: Vec<Arc<Served>>,
    partitions: HashMap<(Arc<str>, i32), Vec<Slot>>,
    swept: Option<Instant>,
}

/// A lane's place for one partition.
struct Slot {
    lane: usize,
    /// `None` while somebody reads with it.
    reader: Option<Reader>,
    used: Instant,
}

impl Readers {
    pub(super) fn new(mut config: ClientConfig, group: &str, context: Context) -> Self {
        config
            // librdkafka assigns partitions only to a consumer with a group's name; nothing is ever committed for it.
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            // A reader that moves waits for the answer that is under way.
            .set("fetch.wait.max.ms", "100")
            // By default a full queue pauses fetching for a second: a consumer slower than the broker would idle.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "50")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", AHEAD_KBYTES)
            .set("fetch.message.max.bytes", "1048576");
        Self { config, context, state: Mutex::default(), freed: Notify::new() }
    }

    /// All that has connections, for whoever closes them.
    pub(super) fn take_clients(&mut self) -> State {
        mem::take(self.state.get_mut())
    }

    /// A reader of the partition: the one that stands at `offset`, or any other, which is then to be moved.
    pub(super) async fn take(
        &self,
        topic: &Arc<str>,
        partition: i32,
        offset: i64,
        growth: &Arc<Topic>,
    ) -> KafkaResult<Taken<'_>> {
        loop {
            let freed = self.freed.notified();
            if let Some((lane, found)) = self.find(topic, partition, offset)? {
                let reader = match found {
                    Some(reader) => reader,
                    None => {
                        let consumer = Arc::clone(self.state.lock().lanes[lane].consumer());
                        Reader::open(consumer, Arc::clone(topic), partition, Arc::clone(growth))
                    }
                };
                return Ok(Taken { readers: self, lane, reader: Some(reader) });
            }
            freed.await;
        }
    }

    /// A lane of which nobody reads the partition, with the reader that is there.
    fn find(&self, topic: &Arc<str>, partition: i32, offset: i64) -> KafkaResult<Option<(usize, Option<Reader>)>> {
        let mut state = self.state.lock();
        state.sweep();
        let now = Instant::now();
        let slots = state.partitions.entry((Arc::clone(topic), partition)).or_default();
        let stands = |slot: &&mut Slot| slot.reader.as_ref().is_some_and(|reader| reader.position == Some(offset));
        if let Some(slot) = slots.iter_mut().find(stands) {
            slot.used = now;
            return Ok(Some((slot.lane, slot.reader.take())));
        }
        if slots.len() < LANES {
            let lane = (0..LANES).find(|lane| slots.iter().all(|slot| slot.lane != *lane)).unwrap_or(slots.len());
            slots.push(Slot { lane, reader: None, used: now });
            while state.lanes.len() <= lane {
                match Served::start(&self.config, self.context.clone()) {
                    Ok(served) => state.lanes.push(Arc::new(served)),
                    Err(error) => {
                        state.partitions.remove(&(Arc::clone(topic), partition));
                        return Err(error);
                    }
                }
            }
            return Ok(Some((lane, None)));
        }
        let idle = slots.iter_mut().filter(|slot| slot.reader.is_some()).min_by_key(|slot| slot.used);
        Ok(idle.map(|slot| {
            slot.used = now;
            (slot.lane, slot.reader.take())
        }))
    }

    /// Closes a reader that stands at `until` and is not in use: its partition's queue gives its memory back.
    pub(super) fn close(&self, topic: &str, partition: i32, until: i64) {
        let mut state = self.state.lock();
        let Some(slots) = state.partitions.get_mut(&(Arc::from(topic), partition)) else { return };
        let stands = |slot: &Slot| slot.reader.as_ref().is_some_and(|reader| reader.position == Some(until));
        if let Some(at) = slots.iter().position(stands) {
            // Under the lock: whoever takes the lane's place next must find the partition unassigned.
            slots.remove(at);
        }
    }

    fn put_back(&self, lane: usize, reader: Reader) {
        let mut state = self.state.lock();
        let slots = state.partitions.entry((Arc::clone(&reader.topic), reader.partition)).or_default();
        if let Some(slot) = slots.iter_mut().find(|slot| slot.lane == lane) {
            slot.used = Instant::now();
            slot.reader = Some(reader);
        }
        drop(state);
        self.freed.notify_waiters();
    }
}

impl State {
    /// Lets go of partitions that nobody reads any more.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now - swept < IDLE_LIMIT / 4) {
            return;
        }
        self.swept = Some(now);
        for slots in self.partitions.values_mut() {
            slots.retain(|slot| slot.reader.is_none() || now - slot.used < IDLE_LIMIT);
        }
        self.partitions.retain(|_, slots| !slots.is_empty());
    }
}

/// A reader in use; it goes back when this is dropped.
pub(super) struct Taken<'a> {
    readers: &'a Readers,
    lane: usize,
    reader: Option<Reader>,
}

impl Taken<'_> {
    pub(super) fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("it goes only when this is dropped")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.readers.put_back(self.lane, reader);
        }
    }
}

/// What a reader found when it looked.
#[derive(Debug)]
pub(super) enum Found {
    /// The limits are reached.
    Enough,
    /// Nothing is in the queue at the moment.
    Nothing,
    /// The broker refuses.
    Error(KafkaError),
}

/// One partition's queue.
pub(super) struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    queue: PartitionQueue<Context>,
    topic: Arc<str>,
    partition: i32,
    /// The offset of what comes next; `None` before the first move.
    position: Option<i64>,
    /// Read from the queue, but too large for the call that found it.
    held: Option<Record>,
    /// There is no record from `position` up to here: what lies there is invisible (a transaction's marker, compacted).
    empty_below: i64,
    arrived: Arc<Notify>,
}

impl Reader {
    fn open(consumer: Arc<BaseConsumer<Context>>, topic: Arc<str>, partition: i32, growth: Arc<Topic>) -> Self {
        let arrived = Arc::new(Notify::new());
        // Before the partition is assigned: then no record goes to the consumer's own queue, whose records are dropped.
        let queue = consumer.split_partition_queue(&topic, partition);
        let mut queue = queue.expect("a topic's name has no zero byte");
        queue.set_nonempty_callback({
            let arrived = Arc::clone(&arrived);
            move || {
                arrived.notify_one();
                growth.stir();
            }
        });
        Self { consumer, queue, topic, partition, position: None, held: None, empty_below: 0, arrived }
    }

    pub(super) fn stands_at(&self, offset: i64) -> bool {
        self.position == Some(offset)
    }

    /// Whether everything from here to `end` is known to be invisible.
    pub(super) fn is_empty_below(&self, end: i64) -> bool {
        self.empty_below >= end
    }

    /// Goes on reading at `offset`.
    pub(super) fn move_to(&mut self, offset: i64) -> KafkaResult<()> {
        let is_assigned = self.position.take().is_some();
        (self.held, self.empty_below) = (None, 0);
        if is_assigned {
            self.consumer.seek(&self.topic, self.partition, Offset::Offset(offset), Duration::ZERO)?;
        } else {
            let mut assignment = TopicPartitionList::new();
            assignment.add_partition_offset(&self.topic, self.partition, Offset::Offset(offset))?;
            self.consumer.incremental_assign(&assignment)?;
        }
        self.position = Some(offset);
        Ok(())
    }

    /// Forgets its place, so that the next one is looked for anew.
    pub(super) fn lose_place(&mut self) {
        self.unassign();
    }

    fn unassign(&mut self) {
        if self.position.take().is_some() {
            let mut assignment = TopicPartitionList::new();
            assignment.add_partition(&self.topic, self.partition);
            // A consumer that is being closed has let go already.
            if self.consumer.incremental_unassign(&assignment).is_ok() {
                // What was fetched ahead would lie in the queue until the partition is read again; by now each poll drops it.
                while self.queue.poll(Duration::ZERO).is_some() {}
            }
        }
    }

    /// Takes what is in the queue, up to the limits; at least one record where there is one.
    pub(super) fn collect(&mut self, records: &mut Vec<Record>, max_records: usize, max_bytes: usize) -> Found {
        let mut bytes: usize = records.iter().map(measure).sum();
        while records.len() < max_records {
            let record = match self.held.take() {
                Some(record) => record,
                None => match self.queue.poll(Duration::ZERO) {
                    None => return Found::Nothing,
                    // A fetch came as far as this, and all that it saw on the way came before. The partition may have grown
                    // since the broker answered: of what is behind, this says nothing.
                    Some(Err(KafkaError::PartitionEOF(_))) => {
                        self.empty_below = client::take_end().unwrap_or(self.empty_below);
                        continue;
                    }
                    Some(Err(error)) => return Found::Error(error),
                    // What was under way when the reader was moved.
                    Some(Ok(message)) if Some(message.offset()) < self.position => continue,
                    Some(Ok(message)) => read(&message, &self.topic),
                },
            };
            bytes += measure(&record);
            if bytes > max_bytes && !records.is_empty() {
                self.held = Some(record);
                return Found::Enough;
            }
            self.position = Some(record.position.offset + 1);
            records.push(record);
        }
        Found::Enough
    }

    /// Comes back when something came to the queue since it was last found empty.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.unassign();
    }
}

fn measure(record: &Record) -> usize {
    rules::payload_bytes(record.key.as_deref(), record.value.as_deref(), &record.headers)
}

fn read(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
    let headers = message.headers().map(|headers| (0..headers.count()).map(|at| read_header(headers, at)).collect());
    Record {
        position: Position::new(Arc::clone(topic), message.partition(), message.offset()),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(NO_TIMESTAMP),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers.unwrap_or_default(),
    }
}

/// A header; one whose name is no UTF-8, on which rdkafka panics, keeps its place under a name that says so.
fn read_header(headers: &impl Headers, at: usize) -> Header {
    let read = panic::catch_unwind(AssertUnwindSafe(|| {
        let header = headers.get(at);
        Header { name: header.key.to_owned(), value: header.value.map(Bytes::copy_from_slice) }
    }));
    read.unwrap_or_else(|_| Header { name: char::REPLACEMENT_CHARACTER.to_string(), value: None })
}
