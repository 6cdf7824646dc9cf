//! The event log in memory: the same answers as the embedded twin, in the same order each time.

use std::collections::BTreeMap;
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, select};
use parking_lot::Mutex;

use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::groups::Groups;
use lyceum_core::ports::event_log::{
    Administer, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec, rules,
};
use lyceum_core::record::{NewRecord, Position, Record};

/// The largest record that the model takes: Kafka's `message.max.bytes` by default.
pub const MAX_RECORD_BYTES: usize = 1_048_588;

/// A log in memory. It needs no runtime and tells the time by the clock it is given.
pub struct MemoryEventLog {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    groups: Groups,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    committed: BTreeMap<(String, String), BTreeMap<i32, i64>>,
}

struct Topic {
    spec: TopicSpec,
    partitions: Vec<Partition>,
    turn: i32,
    produced: u64,
    waiting: Vec<Waker>,
}

#[derive(Default)]
struct Partition {
    start: i64,
    records: Vec<Record>,
}

impl MemoryEventLog {
    /// An empty log whose time is `now_ms`, in milliseconds since 1970. Without a timer
    /// [`wait_for_records`](Follow::wait_for_records) comes back after letting the others run once: a simulation never waits.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self::with_clock(Arc::new(Untimed(now_ms)))
    }

    /// An empty log that tells the time by `clock`, and waits by it.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default(), groups: Groups::default() }
    }
}

impl State {
    fn topic(&mut self, name: &str) -> Result<&mut Topic, EventLogError> {
        self.topics.get_mut(name).ok_or_else(|| EventLogError::UnknownTopic(name.to_owned()))
    }

    fn commit(&mut self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        rules::check_commit(topic, self.topic(topic)?.spec.partitions, offsets)?;
        self.committed.entry((group.to_owned(), topic.to_owned())).or_default().extend(offsets.iter().copied());
        Ok(())
    }
}

impl Topic {
    fn partition(&self, partition: i32) -> Result<&Partition, EventLogError> {
        rules::check_partition(&self.spec.name, partition, self.spec.partitions)?;
        Ok(&self.partitions[partition as usize])
    }
}

impl Partition {
    fn range(&self) -> OffsetRange {
        OffsetRange { start: self.start, end: self.start + self.records.len() as i64 }
    }

    fn sizes(&self) -> impl Iterator<Item = (i64, u64)> {
        self.records.iter().map(|record| (record.timestamp_ms, measure(record) as u64))
    }
}

fn measure(record: &Record) -> usize {
    rules::payload_bytes(record.key.as_deref(), record.value.as_deref(), &record.headers)
}

#[async_trait]
impl Publish for MemoryEventLog {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let now_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        let stored = state.topic(topic)?;
        rules::check_sizes(&records, MAX_RECORD_BYTES)?;
        let places = rules::choose_partitions(topic, stored.spec.partitions, &records, &mut stored.turn)?;
        let name: Arc<str> = topic.into();
        let append = |(record, place): (NewRecord, i32)| {
            let partition = &mut stored.partitions[place as usize];
            let position = Position::new(Arc::clone(&name), place, partition.range().end);
            let NewRecord { key, value, headers, timestamp_ms, .. } = record;
            let timestamp_ms = timestamp_ms.unwrap_or(now_ms);
            partition.records.push(Record { position: position.clone(), timestamp_ms, key, value, headers });
            position
        };
        let positions: Vec<_> = records.into_iter().zip(places).map(append).collect();
        if !positions.is_empty() {
            stored.produced += 1;
            stored.waiting.drain(..).for_each(Waker::wake);
        }
        Ok(positions)
    }
}

#[async_trait]
impl Follow for MemoryEventLog {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        let mut state = self.state.lock();
        let stored = state.topic(topic)?.partition(partition)?;
        rules::check_offset(topic, partition, offset, stored.range())?;
        let from = &stored.records[(offset - stored.start) as usize..];
        let mut bytes = 0;
        let fitting = from.iter().enumerate().take_while(|(index, record)| {
            bytes += measure(record);
            *index == 0 || bytes <= max_bytes
        });
        Ok(fitting.take(max_records).map(|(_, record)| record.clone()).collect())
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        Ok(self.state.lock().topic(topic)?.partitions.iter().map(Partition::range).collect())
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        let mut state = self.state.lock();
        let records = &state.topic(topic)?.partition(partition)?.records;
        let found = records.iter().find(|record| record.timestamp_ms >= timestamp_ms);
        Ok(found.map(|record| record.position.offset))
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        let mut state = self.state.lock();
        state.topic(topic)?;
        Ok(state.committed.get(&(group.to_owned(), topic.to_owned())).cloned().unwrap_or_default())
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.state.lock().topic(topic)?;
        self.groups.check_outsider(group, topic, offsets)?;
        self.state.lock().commit(group, topic, offsets)
    }

    async fn join(&self, group: &str, topic: &str, _patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        let partitions = self.state.lock().topic(topic)?.spec.partitions;
        let (state, names) = (Arc::clone(&self.state), (group.to_owned(), topic.to_owned()));
        let write = move |offsets: Vec<(i32, i64)>| -> BoxFuture<'static, _> {
            Box::pin(ready(state.lock().commit(&names.0, &names.1, &offsets)))
        };
        Ok(Box::new(self.groups.join(group, topic, partitions, Box::new(write))))
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        let produced = |state: &mut State| state.topic(topic).map(|topic| topic.produced).unwrap_or_default();
        let seen = produced(&mut self.state.lock());
        let grown = poll_fn(|context| {
            let mut state = self.state.lock();
            if produced(&mut state) != seen {
                return Poll::Ready(());
            }
            if let Ok(topic) = state.topic(topic)
                && !topic.waiting.iter().any(|waker| waker.will_wake(context.waker()))
            {
                topic.waiting.push(context.waker().clone());
            }
            Poll::Pending
        });
        select(pin!(grown), self.clock.sleep(timeout)).await;
    }
}

#[async_trait]
impl Administer for MemoryEventLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        let mut state = self.state.lock();
        let existing = state.topics.get(&spec.name).map_or(0, |topic| topic.spec.partitions);
        rules::check_topic(&spec, existing)?;
        let topic = state.topics.entry(spec.name.clone()).or_insert_with(|| Topic {
            spec: spec.clone(),
            partitions: Vec::new(),
            turn: 0,
            produced: 0,
            waiting: Vec::new(),
        });
        topic.partitions.resize_with(spec.partitions as usize, Partition::default);
        let (name, partitions) = (spec.name.clone(), spec.partitions);
        topic.spec = spec;
        drop(state);
        self.groups.resize(&name, partitions);
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        Ok(self.state.lock().topics.values().map(|topic| topic.spec.clone()).collect())
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        let mut state = self.state.lock();
        let mut dropped = 0;
        for topic in state.topics.values_mut() {
            for partition in &mut topic.partitions {
                let held_records = partition.records.len() as u64;
                let held_bytes = partition.sizes().map(|(_, bytes)| bytes).sum();
                let retention = topic.spec.retention;
                let expired = rules::count_expired(retention, now_ms, held_records, held_bytes, partition.sizes());
                partition.records.drain(..expired);
                partition.start += expired as i64;
                dropped += expired as u64;
            }
        }
        Ok(dropped)
    }
}

/// A clock without a timer: its sleep is over once the others had their turn.
struct Untimed<F>(F);

#[async_trait]
impl<F: Fn() -> i64 + Send + Sync> Clock for Untimed<F> {
    fn now_ms(&self) -> i64 {
        (self.0)()
    }

    async fn sleep(&self, _: Duration) {
        let mut yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn jitter(&self) -> f64 {
        0.0
    }
}
