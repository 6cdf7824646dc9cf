//! An event log in memory whose failures a test can order, and a function that remembers what it was given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use lyceum_core::ports::event_log::groups::Groups;
use lyceum_core::ports::event_log::{
    Administer, Change, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec,
};
use lyceum_core::record::{NewRecord, Position, Record, partition_for_key};
use lyceum_event_source_mapping::{EventSourceMapping, Invoke, InvokeError, MappingConfig, MappingStatus};
use lyceum_lambda_event::event::{Entry, parse};
use lyceum_lambda_event::response::{BatchResponse, ItemIdentifier};
use lyceum_testing::clock::TokioClock;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const TOPIC: &str = "events";
pub(crate) const FAILED: &str = "events.failed";

/// A partition: its first offset and its records.
#[derive(Default)]
struct Partition {
    start: i64,
    records: VecDeque<Record>,
}

impl Partition {
    fn range(&self) -> OffsetRange {
        OffsetRange { start: self.start, end: self.start + self.records.len() as i64 }
    }
}

#[derive(Default)]
struct Inner {
    topics: BTreeMap<String, Vec<Partition>>,
    committed: BTreeMap<(String, String), BTreeMap<i32, i64>>,
    /// Every commit in its order.
    commits: Vec<(i32, i64)>,
    fetches: u64,
    largest_record: Option<usize>,
    /// Steps until the process "dies".
    steps_left: Option<u64>,
}

#[derive(Default)]
pub(crate) struct MemoryLog {
    inner: Mutex<Inner>,
    appended: Notify,
    died: Notify,
    is_away: AtomicBool,
    pub(crate) groups: Groups,
    /// Counts its changes: whoever joined before one is refused.
    password: watch::Sender<u64>,
    /// For its members, whose commits are its own.
    myself: Weak<Self>,
}

impl MemoryLog {
    pub(crate) fn with_topics(partitions: usize) -> Arc<Self> {
        let log = Arc::new_cyclic(|myself| Self { myself: myself.clone(), ..Self::default() });
        log.add_topic(TOPIC, partitions);
        log.add_topic(FAILED, 1);
        log
    }

    pub(crate) fn add_topic(&self, topic: &str, partitions: usize) {
        self.inner().topics.entry(topic.into()).or_default().resize_with(partitions, Partition::default);
        self.groups.resize(topic, partitions as i32);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Appends a record; tells its offset.
    pub(crate) fn append(&self, partition: i32, value: impl Into<Bytes>) -> i64 {
        self.append_at(partition, Some(value.into()), jiff::Timestamp::now().as_millisecond())
    }

    pub(crate) fn append_at(&self, partition: i32, value: Option<Bytes>, timestamp_ms: i64) -> i64 {
        let record = NewRecord {
            partition: Some(partition),
            key: Some("key".into()),
            value,
            timestamp_ms: Some(timestamp_ms),
            ..NewRecord::default()
        };
        self.append_record(TOPIC, record).offset
    }

    pub(crate) fn append_record(&self, topic: &str, record: NewRecord) -> Position {
        let mut inner = self.inner();
        let partitions = inner.topics.get_mut(topic).unwrap();
        let by_key = || record.key.as_ref().map_or(0, |key| partition_for_key(key, partitions.len() as i32));
        let number = record.partition.unwrap_or_else(by_key);
        let partition = &mut partitions[number as usize];
        let position = Position::new(topic, number, partition.range().end);
        partition.records.push_back(Record {
            position: position.clone(),
            timestamp_ms: record.timestamp_ms.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond()),
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
        drop(inner);
        self.appended.notify_waiters();
        position
    }

    /// Drops the records below that offset.
    pub(crate) fn drop_below(&self, partition: i32, offset: i64) {
        let mut inner = self.inner();
        let partition = &mut inner.topics.get_mut(TOPIC).unwrap()[partition as usize];
        while partition.start < offset {
            partition.records.pop_front();
            partition.start += 1;
        }
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    pub(crate) fn change_password(&self) {
        self.password.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn set_largest_record(&self, bytes: usize) {
        self.inner().largest_record = Some(bytes);
    }

    pub(crate) fn committed_of(&self, group: &str) -> BTreeMap<i32, i64> {
        self.inner().committed.get(&(group.into(), TOPIC.into())).cloned().unwrap_or_default()
    }

    pub(crate) fn commits(&self) -> Vec<(i32, i64)> {
        self.inner().commits.clone()
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.inner().fetches
    }

    pub(crate) fn records_of(&self, topic: &str) -> Vec<Record> {
        self.inner().topics[topic].iter().flat_map(|partition| partition.records.iter().cloned()).collect()
    }

    /// From now on: dies after so many steps, never, or revives.
    pub(crate) fn set_steps_left(&self, steps: Option<u64>) {
        self.inner().steps_left = steps;
    }

    /// Comes back when the steps are used up.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// One instant at which a process may die: then nothing goes on from here.
    pub(crate) async fn step(&self) {
        let dies = match &mut self.inner().steps_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if dies {
            self.died.notify_one();
            pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }

    async fn write_offsets(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.begin().await?;
        {
            let mut inner = self.inner();
            inner.commits.extend(offsets);
            inner.committed.entry((group.into(), topic.into())).or_default().extend(offsets.iter().copied());
        }
        self.step().await;
        Ok(())
    }

    async fn begin(&self) -> Result<(), EventLogError> {
        self.step().await;
        if self.is_away.load(Ordering::SeqCst) {
            return Err(EventLogError::Unavailable("a test took it away".into()));
        }
        Ok(())
    }
}

fn size_of(record: &NewRecord) -> usize {
    let headers = record.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
    headers + record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)
}

#[async_trait]
impl Publish for MemoryLog {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.begin().await?;
        let limit_bytes = self.inner().largest_record.unwrap_or(usize::MAX);
        if let Some(bytes) = records.iter().map(size_of).find(|bytes| *bytes > limit_bytes) {
            return Err(EventLogError::TooLarge { bytes, limit_bytes });
        }
        if !self.inner().topics.contains_key(topic) {
            return Err(EventLogError::UnknownTopic(topic.into()));
        }
        let positions = records.into_iter().map(|record| self.append_record(topic, record)).collect();
        self.step().await;
        Ok(positions)
    }
}

#[async_trait]
impl Follow for MemoryLog {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.begin().await?;
        let mut inner = self.inner();
        inner.fetches += 1;
        let found = &inner.topics[topic][partition as usize];
        let range = found.range();
        if !(range.start..=range.end).contains(&offset) {
            return Err(EventLogError::OffsetOutOfRange { topic: topic.into(), partition, offset, range });
        }
        let mut bytes = 0;
        let from = found.records.iter().skip((offset - range.start) as usize).take(max_records);
        let fitting = from.enumerate().take_while(|(ordinal, record)| {
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            *ordinal == 0 || bytes <= max_bytes
        });
        Ok(fitting.map(|(_, record)| record.clone()).collect())
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.begin().await?;
        let inner = self.inner();
        let partitions = inner.topics.get(topic).ok_or_else(|| EventLogError::UnknownTopic(topic.into()))?;
        Ok(partitions.iter().map(Partition::range).collect())
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        let inner = self.inner();
        let mut records = inner.topics[topic][partition as usize].records.iter();
        Ok(records.find(|record| record.timestamp_ms >= timestamp_ms).map(|record| record.position.offset))
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.begin().await?;
        Ok(self.inner().committed.get(&(group.into(), topic.into())).cloned().unwrap_or_default())
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.groups.check_outsider(group, topic, offsets)?;
        self.write_offsets(group, topic, offsets).await
    }

    async fn join(&self, group: &str, topic: &str, _: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.begin().await?;
        let partitions = self.inner().topics.get(topic).map_or(0, Vec::len) as i32;
        let (myself, names) = (self.myself.clone(), (group.to_owned(), topic.to_owned()));
        let write = move |offsets: Vec<(i32, i64)>| -> BoxFuture<'static, _> {
            let (myself, (group, topic)) = (myself.upgrade().expect("the test keeps it"), names.clone());
            Box::pin(async move { myself.write_offsets(&group, &topic, &offsets).await })
        };
        let inner = Box::new(self.groups.join(group, topic, partitions, Box::new(write)));
        let password = self.password.subscribe();
        let joined_with = *password.borrow();
        Ok(Box::new(Member { inner, joined_with, password }))
    }

    async fn wait_for_records(&self, _topic: &str, timeout: Duration) {
        let _ = tokio::time::timeout(timeout, self.appended.notified()).await;
    }
}

/// A member, until the password is another one.
struct Member {
    inner: Box<dyn Membership>,
    joined_with: u64,
    password: watch::Receiver<u64>,
}

#[async_trait]
impl Membership for Member {
    async fn change(&self) -> Result<Change, EventLogError> {
        let mut password = self.password.clone();
        tokio::select! {
            change = self.inner.change() => change,
            _ = password.wait_for(|changes| *changes != self.joined_with) => {
                Err(EventLogError::Unauthorized("the password is another one by now".to_owned()))
            }
        }
    }

    fn release(&self, partitions: &BTreeSet<i32>) {
        self.inner.release(partitions);
    }

    async fn commit(&self, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.inner.commit(offsets).await
    }

    async fn leave(&self) {
        self.inner.leave().await;
    }
}

#[async_trait]
impl Administer for MemoryLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.add_topic(&spec.name, spec.partitions as usize);
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        Err(EventLogError::Refused("a mapping never asks for all topics".into()))
    }

    async fn apply_retention(&self, _now_ms: i64) -> Result<u64, EventLogError> {
        Ok(0)
    }
}

/// One invocation's records: (partition, offset) in the order of the event.
pub(crate) type Delivered = Vec<(i32, i64)>;

type Behaviour = Box<dyn Fn(&[Record]) -> Result<Answer, InvokeError> + Send + Sync>;

/// What the function answers.
pub(crate) enum Answer {
    Ok,
    Failing(Vec<(i32, i64)>),
    Text(&'static str),
    Never,
}

/// A function that keeps what it was given and behaves as the test says.
pub(crate) struct Function {
    behaviour: Behaviour,
    invocations: Mutex<Vec<Delivered>>,
    payload_sizes: Mutex<Vec<usize>>,
}

impl Function {
    pub(crate) fn new(
        behaviour: impl Fn(&[Record]) -> Result<Answer, InvokeError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            behaviour: Box::new(behaviour),
            invocations: Mutex::default(),
            payload_sizes: Mutex::default(),
        })
    }

    pub(crate) fn succeeding() -> Arc<Self> {
        Self::new(|_| Ok(Answer::Ok))
    }

    pub(crate) fn invocations(&self) -> Vec<Delivered> {
        self.invocations.lock().unwrap().clone()
    }

    /// The offsets alone.
    pub(crate) fn offsets(&self) -> Vec<Vec<i64>> {
        self.invocations().iter().map(|records| records.iter().map(|(_, offset)| *offset).collect()).collect()
    }

    pub(crate) fn payload_sizes(&self) -> Vec<usize> {
        self.payload_sizes.lock().unwrap().clone()
    }
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let records: Vec<Record> = parse(&payload)
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| match entry {
                Entry::Record(delivered) => delivered.record,
                Entry::Malformed(malformed) => panic!("{malformed:?}"),
            })
            .collect();
        let delivered = records.iter().map(|record| (record.position.partition, record.position.offset)).collect();
        self.invocations.lock().unwrap().push(delivered);
        self.payload_sizes.lock().unwrap().push(payload.len());
        tokio::task::yield_now().await;
        match (self.behaviour)(&records)? {
            Answer::Ok => Ok(Bytes::from_static(b"{\"batchItemFailures\":[]}")),
            Answer::Text(text) => Ok(Bytes::from_static(text.as_bytes())),
            Answer::Failing(failed) => {
                let identifiers = failed
                    .into_iter()
                    .map(|(partition, offset)| ItemIdentifier { partition: format!("{TOPIC}-{partition}"), offset });
                Ok(serde_json::to_vec(&BatchResponse::failing(identifiers)).unwrap().into())
            }
            Answer::Never => pending().await,
        }
    }
}

pub(crate) fn error() -> InvokeError {
    InvokeError::function("Planned", "a test asked for it")
}

pub(crate) fn has_value(record: &Record, value: &str) -> bool {
    record.value.as_deref() == Some(value.as_bytes())
}

/// Settings for tests: no window, short waits.
pub(crate) fn config() -> MappingConfig {
    let mut config = MappingConfig::new("mapping", TOPIC, "group");
    config.batching_window = Duration::ZERO;
    config.backoff.base = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(4);
    config
}

/// A mapping on virtual time.
pub(crate) fn mapping_of(
    config: MappingConfig,
    log: &Arc<MemoryLog>,
    function: Arc<dyn Invoke>,
) -> Arc<EventSourceMapping> {
    let mapping = EventSourceMapping::new(config, log.clone(), function).unwrap();
    let begin_ms = jiff::Timestamp::now().as_millisecond();
    Arc::new(mapping.with_clock(Arc::new(TokioClock::stepping(begin_ms, 0))))
}

/// A mapping that runs; dropped, it stops at once as in a crash.
pub(crate) struct Running {
    pub(crate) mapping: Arc<EventSourceMapping>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(config: MappingConfig, log: &Arc<MemoryLog>, function: &Arc<Function>) -> Self {
        Self::start_mapping(mapping_of(config, log, function.clone()))
    }

    pub(crate) fn start_mapping(mapping: Arc<EventSourceMapping>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(mapping.clone().run(async {
            let _ = stopped.await;
        }));
        Self { mapping, stop: Some(stop), task }
    }

    /// Until everything that the topic holds is settled.
    pub(crate) async fn settled(&self) {
        let settled = tokio::time::timeout(Duration::from_secs(3600), self.mapping.settled()).await;
        settled.unwrap_or_else(|_| panic!("{:#?}", self.mapping.status())).unwrap();
    }

    /// Until the status is as wanted.
    pub(crate) async fn until(&self, holds: impl Fn(&MappingStatus) -> bool) {
        for _ in 0..100_000 {
            if holds(&self.mapping.status()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{:#?}", self.mapping.status());
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first delivery of each record, in order.
pub(crate) fn first_deliveries(invocations: &[Delivered]) -> Delivered {
    let mut seen = BTreeSet::new();
    invocations.iter().flatten().copied().filter(|position| seen.insert(*position)).collect()
}
