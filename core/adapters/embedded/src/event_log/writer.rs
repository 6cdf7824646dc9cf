//! The one thread that writes. Whatever waits when it is free goes into one transaction, and nobody is answered before
//! that one is on the disk: many small produce calls share an `fsync`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use redb::{Database, Durability, ReadableTable, WriteTransaction};
use tokio::sync::{mpsc, oneshot, watch};

use super::chunk::{Chunk, ChunkWriter};
use super::store::{CHUNKS, COMMITTED, Failure, PARTITIONS, PEAKS, PartitionRow, Store, TOPICS};
use super::topic::Topic;
use lyceum_core::clock::ms_since_1970;
use lyceum_core::ports::event_log::{EventLogError, Retention, TopicSpec, rules};
use lyceum_core::record::{NewRecord, Position};

/// The most changes that wait for the writer, and the most that one transaction takes.
const MAX_WAITING: usize = 64;

/// The most chunks that one step of retention drops, so that producers need not wait for long.
const MAX_DROPPED_CHUNKS: usize = 1024;

/// How often each topic has grown since the log was opened. Those who wait for records watch it.
pub(super) type Growth = HashMap<Arc<str>, u64>;

/// A change to the log, and whoever waits for it.
trait Change: Send {
    /// Applies it. An error that is the caller's own is kept for [`settle`](Self::settle), and leaves no trace.
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure>;

    /// Answers, once the transaction is on the disk or has failed.
    fn settle(self: Box<Self>, failure: Option<EventLogError>);
}

struct Pending<T, F> {
    apply: F,
    outcome: Option<Result<T, EventLogError>>,
    reply: oneshot::Sender<Result<T, EventLogError>>,
}

impl<T: Send, F: FnMut(&mut Batch<'_>) -> Result<T, Failure> + Send> Change for Pending<T, F> {
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.outcome = Some(match (self.apply)(batch) {
            Ok(value) => Ok(value),
            Err(Failure::Caller(error)) => Err(error),
            Err(failure) => return Err(failure),
        });
        Ok(())
    }

    fn settle(self: Box<Self>, failure: Option<EventLogError>) {
        let Self { outcome, reply, .. } = *self;
        if let Some(outcome) = failure.map(Err).or(outcome) {
            // Whoever no longer waits needs no answer.
            let _ = reply.send(outcome);
        }
    }
}

/// Takes changes to the writer's thread.
#[derive(Clone)]
pub(super) struct Writer {
    inbox: mpsc::Sender<Box<dyn Change>>,
}

impl Writer {
    /// A writer, and the loop that its thread runs until the last writer is dropped.
    pub(super) fn new(store: Arc<Store>, growth: watch::Sender<Growth>) -> (Self, impl FnOnce() + Send) {
        let (inbox, waiting) = mpsc::channel(MAX_WAITING);
        (Self { inbox }, move || write_all(waiting, &store, &growth))
    }

    /// Makes the change; it is on the disk when this returns. Dropping the future does not take it back.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        apply: impl FnMut(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, EventLogError> {
        let stopped = || EventLogError::Unavailable("its writer has stopped; restart the process".to_owned());
        let (reply, answer) = oneshot::channel();
        let change = Box::new(Pending { apply, outcome: None, reply });
        self.inbox.send(change).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

fn write_all(mut waiting: mpsc::Receiver<Box<dyn Change>>, store: &Store, growth: &watch::Sender<Growth>) {
    let mut turns = HashMap::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut changes = vec![first];
        while changes.len() < MAX_WAITING
            && let Ok(change) = waiting.try_recv()
        {
            changes.push(change);
        }
        let written = store.run(|database| {
            let mut batch = Batch::begin(database, &mut turns)?;
            changes.iter_mut().try_for_each(|change| change.apply(&mut batch))?;
            batch.commit()
        });
        match written {
            Ok(grown) => {
                if !grown.is_empty() {
                    growth.send_modify(|growth| {
                        grown.into_iter().for_each(|topic| *growth.entry(topic).or_default() += 1)
                    });
                }
                changes.into_iter().for_each(|change| change.settle(None));
            }
            Err(error) => changes.into_iter().for_each(|change| change.settle(Some(restate(&error)))),
        }
    }
}

/// The error that every caller of a failed transaction gets. The caller's own mistakes never come here.
fn restate(error: &EventLogError) -> EventLogError {
    match error {
        EventLogError::Unavailable(why) => EventLogError::Unavailable(why.clone()),
        error => EventLogError::Refused(error.to_string()),
    }
}

/// One transaction.
pub(super) struct Batch<'a> {
    transaction: WriteTransaction,
    tails: BTreeMap<(u32, i32), Tail>,
    grown: BTreeSet<Arc<str>>,
    turns: &'a mut HashMap<u32, i32>,
    changed: bool,
}

/// A partition that this transaction appends to.
struct Tail {
    row: PartitionRow,
    full: Vec<(i64, ChunkWriter)>,
    base: i64,
    chunk: ChunkWriter,
}

impl Tail {
    fn append(&mut self, record: &NewRecord, timestamp_ms: i64) -> i64 {
        let offset = self.row.1;
        if self.chunk.is_full_for(record) {
            let full = mem::replace(&mut self.chunk, ChunkWriter::new());
            self.full.push((mem::replace(&mut self.base, offset), full));
        }
        self.row.2 += self.chunk.push(record, timestamp_ms);
        self.row.1 = offset + 1;
        offset
    }
}

impl<'a> Batch<'a> {
    fn begin(database: &Database, turns: &'a mut HashMap<u32, i32>) -> Result<Self, Failure> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(Self { transaction, tails: BTreeMap::new(), grown: BTreeSet::new(), turns, changed: false })
    }

    fn commit(mut self) -> Result<BTreeSet<Arc<str>>, Failure> {
        self.flush()?;
        if self.changed {
            self.transaction.commit()?;
        } else {
            self.transaction.abort()?;
        }
        Ok(self.grown)
    }

    fn topic(&self, name: &str) -> Result<Topic, Failure> {
        Topic::find(&self.transaction.open_table(TOPICS)?, name)
    }

    pub(super) fn create_topic(&mut self, spec: &TopicSpec) -> Result<(), Failure> {
        let mut topics = self.transaction.open_table(TOPICS)?;
        let existing = topics.get(spec.name.as_str())?.map(|row| row.value());
        rules::check_topic(spec, existing.map_or(0, |(_, partitions, ..)| partitions))?;
        let id = match existing {
            Some((id, ..)) => id,
            None => {
                topics.iter()?.try_fold(0, |next, row| Ok::<_, redb::StorageError>(next.max(row?.1.value().0 + 1)))?
            }
        };
        let age = spec.retention.age.map(|age| age.as_nanos());
        topics.insert(spec.name.as_str(), (id, spec.partitions, age, spec.retention.bytes))?;
        self.changed = true;
        Ok(())
    }

    pub(super) fn produce(
        &mut self,
        topic: &Arc<str>,
        records: &[NewRecord],
        limit_bytes: usize,
    ) -> Result<Vec<Position>, Failure> {
        let Topic { id, partitions, .. } = self.topic(topic)?;
        rules::check_sizes(records, limit_bytes)?;
        let turn = self.turns.entry(id).or_default();
        let places = rules::choose_partitions(topic, partitions, records, turn)?;
        let now_ms = ms_since_1970(SystemTime::now());
        let append = |(record, partition): (&NewRecord, i32)| {
            let timestamp_ms = record.timestamp_ms.unwrap_or(now_ms);
            let offset = self.tail(id, partition)?.append(record, timestamp_ms);
            Ok(Position { topic: Arc::clone(topic), partition, offset })
        };
        let positions = records.iter().zip(places).map(append).collect::<Result<Vec<_>, Failure>>()?;
        if !positions.is_empty() {
            self.grown.insert(Arc::clone(topic));
        }
        Ok(positions)
    }

    fn tail(&mut self, topic: u32, partition: i32) -> Result<&mut Tail, Failure> {
        use std::collections::btree_map::Entry;
        Ok(match self.tails.entry((topic, partition)) {
            Entry::Occupied(tail) => tail.into_mut(),
            Entry::Vacant(vacant) => {
                let rows = self.transaction.open_table(PARTITIONS)?;
                let row = rows.get((topic, partition))?.map_or((0, 0, 0, i64::MIN), |row| row.value());
                vacant.insert(Tail { row, full: Vec::new(), base: row.1, chunk: ChunkWriter::new() })
            }
        })
    }

    /// Writes what was appended to the tables.
    fn flush(&mut self) -> Result<(), Failure> {
        if self.tails.is_empty() {
            return Ok(());
        }
        let mut rows = self.transaction.open_table(PARTITIONS)?;
        let mut chunks = self.transaction.open_table(CHUNKS)?;
        let mut peaks = self.transaction.open_table(PEAKS)?;
        for ((topic, partition), tail) in mem::take(&mut self.tails) {
            let Tail { mut row, full, base, chunk } = tail;
            for (base, chunk) in full.into_iter().chain([(base, chunk)]).filter(|(_, chunk)| !chunk.is_empty()) {
                if chunk.newest_ms() > row.3 || base == 0 {
                    row.3 = chunk.newest_ms();
                    peaks.insert((topic, partition, row.3), base)?;
                }
                chunks.insert((topic, partition, base), chunk.finish().as_slice())?;
            }
            rows.insert((topic, partition), row)?;
        }
        self.changed = true;
        Ok(())
    }

    pub(super) fn commit_offsets(&mut self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), Failure> {
        let Topic { id, partitions, .. } = self.topic(topic)?;
        rules::check_commit(topic, partitions, offsets)?;
        let mut committed = self.transaction.open_table(COMMITTED)?;
        for &(partition, offset) in offsets {
            committed.insert((group, id, partition), offset)?;
            self.changed = true;
        }
        Ok(())
    }

    /// Drops what may go from the front of one partition; returns how many records went, and whether more may go.
    pub(super) fn retain(&mut self, topic: &str, partition: i32, now_ms: i64) -> Result<(u64, bool), Failure> {
        self.flush()?;
        let Topic { id, retention, .. } = self.topic(topic)?;
        let mut rows = self.transaction.open_table(PARTITIONS)?;
        let Some(mut row) = rows.get((id, partition))?.map(|row| row.value()) else {
            return Ok((0, false));
        };
        let before = row.0;
        let mut chunks = self.transaction.open_table(CHUNKS)?;
        let (dropped, kept) = find_expired(&chunks, (id, partition), &mut row, retention, now_ms)?;
        if row.0 == before {
            return Ok((0, false));
        }
        for &base in &dropped {
            chunks.remove((id, partition, base))?;
        }
        let mut peaks = self.transaction.open_table(PEAKS)?;
        let mut passed = Vec::new();
        for peak in peaks.range((id, partition, i64::MIN)..=(id, partition, i64::MAX))? {
            let (key, base) = peak?;
            if base.value() >= kept {
                break;
            }
            passed.push(key.value());
        }
        // The last one stays: it says that times up to it are to be looked for from the start on.
        passed.pop();
        for key in passed {
            peaks.remove(key)?;
        }
        rows.insert((id, partition), row)?;
        self.changed = true;
        Ok((row.0.abs_diff(before), dropped.len() == MAX_DROPPED_CHUNKS))
    }
}

/// Moves the row's start past the records that may go; returns the chunks that are then wholly below it, and the first
/// offset of those that stay.
fn find_expired(
    chunks: &impl ReadableTable<(u32, i32, i64), &'static [u8]>,
    (topic, partition): (u32, i32),
    row: &mut PartitionRow,
    retention: Retention,
    now_ms: i64,
) -> Result<(Vec<i64>, i64), Failure> {
    let mut dropped = Vec::new();
    if retention == Retention::default() {
        return Ok((dropped, row.0));
    }
    for entry in chunks.range((topic, partition, i64::MIN)..=(topic, partition, i64::MAX))? {
        let (key, value) = entry?;
        let base = key.value().2;
        let chunk = Chunk::parse(value.value())?;
        let gone = row.0.saturating_sub(base).max(0) as usize;
        let heads = chunk.heads().skip(gone).collect::<Result<Vec<_>, _>>()?;
        let sizes = heads.iter().map(|head| (head.timestamp_ms, head.payload_bytes));
        let expired = rules::count_expired(retention, now_ms, row.1.abs_diff(row.0), row.2, sizes);
        row.0 += expired as i64;
        row.2 = heads[..expired].iter().fold(row.2, |held, head| held.saturating_sub(head.payload_bytes));
        if expired < heads.len() {
            return Ok((dropped, base));
        }
        dropped.push(base);
        if dropped.len() == MAX_DROPPED_CHUNKS {
            break;
        }
    }
    Ok((dropped, row.0))
}
