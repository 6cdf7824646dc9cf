//! One consumer with one trait, whatever its tier.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures::Stream;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::io::unix::AsyncFd;

use crate::batch::{Batch, Delivered, Record};
use crate::codec::Serde;
use crate::config::{ConsumerTier, FastConsumerConfig};
use crate::context::FastContext;
use crate::dedicated::{DedicatedConsumer, Lane};
use crate::error::ConsumerError;
use crate::flow::{Flow, Settle};
use crate::hand::{Hand, Partition};
use crate::member::{Base, Event, Member, list_of, rung};
use crate::native::Bell;

/// Events that nobody took, at most: the oldest are forgotten.
const EVENTS: usize = 1_024;

/// How long single records are handed out without a look at the group, and of how many one thinks of it.
const ATTENTION: Duration = Duration::from_millis(50);
const TURNS: u8 = 16;

/// How records are read.
struct Serdes<K, V> {
    key: K,
    value: V,
}

/// Why a key or a value cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the {what} of {place} at offset {offset} cannot be read: {error}")]
pub struct Unreadable<E: std::error::Error> {
    /// `key` or `value`.
    pub what: &'static str,
    /// Of which partition.
    pub place: Partition,
    /// At which offset.
    pub offset: i64,
    /// Why.
    pub error: E,
}

/// One record, whose key and value are read when they are asked for. Dropped without being settled, it is handed out again.
#[must_use = "a message that is dropped without being settled is handed out again"]
pub struct Message<K, V> {
    delivered: Delivered,
    serdes: Arc<Serdes<K, V>>,
}

impl<K: Serde, V: Serde> Message<K, V> {
    /// Its bytes and its place.
    pub fn record(&self) -> Record<'_> {
        self.delivered.record()
    }

    /// Its key; `None` where it has none.
    ///
    /// # Errors
    /// Where the bytes are none of it.
    pub fn key(&self) -> Result<Option<K::Item<'_>>, Unreadable<K::Error>> {
        let record = self.record();
        record
            .key()
            .map(|bytes| self.serdes.key.read(bytes))
            .transpose()
            .map_err(|error| unreadable("key", record, error))
    }

    /// Its value; `None` of a tombstone.
    ///
    /// # Errors
    /// Where the bytes are none of it.
    pub fn value(&self) -> Result<Option<V::Item<'_>>, Unreadable<V::Error>> {
        let record = self.record();
        let read = record.payload().map(|bytes| self.serdes.value.read(bytes)).transpose();
        read.map_err(|error| unreadable("value", record, error))
    }

    /// As of [`Batch::is_current`].
    pub fn is_current(&self) -> bool {
        self.delivered.is_current()
    }

    /// As of [`Delivered::settle`].
    pub fn settle(self) -> bool {
        self.delivered.settle()
    }
}

fn unreadable<E: std::error::Error>(what: &'static str, record: Record<'_>, error: E) -> Unreadable<E> {
    Unreadable { what, place: record.place().clone(), offset: record.offset(), error }
}

impl<K: Serde, V: Serde> Settle for Message<K, V> {
    fn settle(self) -> bool {
        self.delivered.settle()
    }
}

impl Settle for Delivered {
    fn settle(self) -> bool {
        Delivered::settle(self)
    }
}

impl Settle for Batch {
    fn settle(self) -> bool {
        self.settle_all()
    }
}

impl<K, V> fmt::Debug for Message<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivered.fmt(f)
    }
}

/// Partitions, each with an offset, where it has one.
pub type Offsets = Vec<(Partition, Option<i64>)>;

/// What every tier does.
///
/// Nothing is committed that was not settled: [`Message::settle`], [`Batch::settle_all`] or a [`Flow`] do it.
pub trait KafkaStreamConsumer<K: Serde, V: Serde>: Send + Sync {
    /// Subscribes to these topics, and no others.
    ///
    /// # Errors
    /// Where librdkafka refuses the names, or it is closed.
    fn subscribe<'a>(&'a self, topics: &'a [&'a str]) -> BoxFuture<'a, Result<(), ConsumerError>>;

    /// Messages one after another.
    fn stream(&self) -> Flow<MessageStream<'_, K, V>>;

    /// Records one after another, as bytes.
    fn raw_stream(&self) -> Flow<RawStream<'_, K, V>>;

    /// Batches of at most `n` records, each of one partition; what is there is taken, nothing is waited for to fill one.
    fn buffered_stream(&self, n: usize) -> Flow<BatchStream<'_, K, V>>;

    /// Batches as the thread of the dedicated tier hands them over, of all lanes that were not taken by [`Consumer::lanes`].
    ///
    /// # Errors
    /// In other tiers.
    fn dedicated_stream(&self) -> Result<Flow<BatchStream<'_, K, V>>, ConsumerError>;

    /// The next message within so long.
    ///
    /// # Errors
    /// An error in place of a record, or that it is closed.
    fn poll(&self, timeout: Duration) -> BoxFuture<'_, Result<Option<Message<K, V>>, ConsumerError>>;

    /// The next message, where it is there already.
    ///
    /// # Errors
    /// As of [`KafkaStreamConsumer::poll`].
    fn try_poll(&self) -> Result<Option<Message<K, V>>, ConsumerError>;

    /// As [`KafkaStreamConsumer::poll`], for a thread that is no task.
    ///
    /// # Errors
    /// As of [`KafkaStreamConsumer::poll`].
    fn poll_blocking(&self, timeout: Duration) -> Result<Option<Message<K, V>>, ConsumerError>;

    /// Commits what is settled, up to the first record that is not, and waits for the broker's answer.
    ///
    /// # Errors
    /// Where the broker refuses, or it is closed.
    fn commit(&self) -> BoxFuture<'_, Result<(), ConsumerError>>;

    /// The assigned partitions with their positions: the offset behind the last record that was handed out; `None` before the
    /// first.
    ///
    /// # Errors
    /// Where it is closed.
    fn current_offsets(&self) -> BoxFuture<'_, Result<Offsets, ConsumerError>>;

    /// The assigned partitions with what the group has committed, as the broker says; `None` where it is nothing.
    ///
    /// # Errors
    /// Where the broker does not answer, or it is closed.
    fn committed(&self) -> BoxFuture<'_, Result<Offsets, ConsumerError>>;

    /// Goes on at this offset; what is in hand of the partition is no longer acknowledged.
    ///
    /// # Errors
    /// Where it is not assigned, or it is closed.
    fn seek<'a>(&'a self, partition: &'a Partition, offset: i64) -> BoxFuture<'a, Result<(), ConsumerError>>;

    /// Every assigned partition goes on at its first record of this time or later (milliseconds since 1970), or at its end.
    ///
    /// # Errors
    /// Where the broker does not answer, or it is closed.
    fn seek_to_time(&self, timestamp_ms: i64) -> BoxFuture<'_, Result<(), ConsumerError>>;

    /// Nothing more of these comes until they are resumed.
    ///
    /// # Errors
    /// Where one is not assigned, or it is closed.
    fn pause<'a>(&'a self, partitions: &'a [Partition]) -> BoxFuture<'a, Result<(), ConsumerError>>;

    /// They go on behind the last record that was handed out.
    ///
    /// # Errors
    /// Where one is not assigned, or it is closed.
    fn resume<'a>(&'a self, partitions: &'a [Partition]) -> BoxFuture<'a, Result<(), ConsumerError>>;

    /// Rebalances, commits that failed and other trouble, since the last call, the oldest first. They are noted while records
    /// are asked for. At most 1,024 are kept.
    fn events(&self) -> Vec<Event>;

    /// Leaves the group: waits, as `patience_ms` says, for what is in hand to be settled; commits, and goes.
    fn close(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized;
}

/// Makes consumers.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerFactory;

impl ConsumerFactory {
    /// A consumer of the configured tier, which joins the group; keys and values are read by these.
    ///
    /// # Errors
    /// Where the configuration cannot be, or the system gives no descriptor or thread.
    pub fn create<K: Serde, V: Serde>(
        config: &FastConsumerConfig,
        key: K,
        value: V,
    ) -> Result<Consumer<K, V>, ConsumerError> {
        Consumer::with_config(config, key, value)
    }
}

/// A consumer of any tier.
///
/// Dropped, it leaves the group in the background, as [`KafkaStreamConsumer::close`] does.
pub struct Consumer<K, V> {
    source: Source,
    /// Of a batch that is handed out one by one.
    ready: Mutex<Ready>,
    hand: Arc<Hand>,
    serdes: Arc<Serdes<K, V>>,
    tier: ConsumerTier,
}

#[derive(Default)]
struct Ready {
    records: VecDeque<Delivered>,
    /// [`Hand::changes`] at the last look: while it is the same, all of them are current.
    changes: u64,
    /// Records until the next thought of the group.
    turns_left: u8,
}

impl Ready {
    fn keep_current(&mut self, changes: u64) {
        if changes != self.changes {
            self.changes = changes;
            // What nobody has taken need not be waited for.
            self.records.retain(Delivered::is_current);
        }
    }
}

enum Source {
    Driven(Box<Driven>),
    Threaded(Threaded),
}

/// A member that is driven by whoever asks for records.
struct Driven {
    member: Mutex<Option<Member>>,
    attended: Mutex<Instant>,
    events: Mutex<VecDeque<Event>>,
    bell: Arc<Bell>,
    woken: OnceLock<AsyncFd<Arc<Bell>>>,
    base: Base,
}

/// One with a thread of its own.
struct Threaded {
    consumer: DedicatedConsumer,
    lanes: Mutex<Vec<Lane>>,
    events: Mutex<VecDeque<Event>>,
}

fn keep(events: &Mutex<VecDeque<Event>>, event: Event) {
    let mut events = events.lock();
    if events.len() == EVENTS {
        events.pop_front();
    }
    events.push_back(event);
}

impl Driven {
    fn of(member: Member) -> Self {
        let (bell, base) = (Arc::clone(member.bell()), member.base());
        Self {
            member: Mutex::new(Some(member)),
            attended: Mutex::new(Instant::now()),
            events: Mutex::default(),
            bell,
            woken: OnceLock::new(),
            base,
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Member) -> Result<T, ConsumerError>) -> Result<T, ConsumerError> {
        what(self.member.lock().as_mut().ok_or(ConsumerError::Closed)?)
    }

    /// The next batch, where there is one; the time until which a wait may last, where there is none.
    fn try_batch(&self) -> Result<Result<Batch, Duration>, ConsumerError> {
        *self.attended.lock() = Instant::now();
        self.with(|member| {
            while let Some(event) = member.try_next() {
                match event {
                    Event::Batch(batch) => return Ok(Ok(batch)),
                    event => {
                        if let Some(error) = self.note(event) {
                            return Err(error);
                        }
                    }
                }
            }
            Ok(Err(member.rest()))
        })
    }

    /// Keeps an event; what stands in place of a record is given as an error.
    fn note(&self, event: Event) -> Option<ConsumerError> {
        let error = in_place_of_a_record(&event);
        keep(&self.events, event);
        error
    }

    /// Serves the group while single records are handed out, where that is due.
    fn attend(&self) -> bool {
        let mut attended = self.attended.lock();
        if attended.elapsed() < ATTENTION {
            return false;
        }
        *attended = Instant::now();
        drop(attended);
        if let Some(member) = self.member.lock().as_mut() {
            member.attend();
        }
        true
    }

    async fn wait(&self, limit: Duration) {
        if self.woken.get().is_none()
            && let Ok(woken) = self.bell.of_task()
        {
            let _ = self.woken.set(woken);
        }
        match self.woken.get() {
            Some(woken) => rung(woken, limit).await,
            // Without a descriptor to spare: a look now and then.
            None => tokio::time::sleep(limit.min(Duration::from_millis(10))).await,
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if let Some(member) = self.member.lock().take() {
            // Leaving the group waits for the broker, which whoever drops this may not.
            let left = thread::Builder::new().name("kafka-leave".to_owned()).spawn(move || member.close(drop));
            if let Err(error) = left {
                tracing::debug!(target: "lyceum::consumer", "the group learns of the leave by its silence: {error}");
            }
        }
    }
}

fn in_place_of_a_record(event: &Event) -> Option<ConsumerError> {
    match event {
        Event::RecordError { partition, offset, code } => {
            Some(ConsumerError::Record { partition: partition.clone(), offset: *offset, code: *code })
        }
        Event::Fatal { code, reason } => Some(ConsumerError::Fatal { code: *code, reason: reason.clone() }),
        _ => None,
    }
}

impl Threaded {
    fn try_batch(&self) -> Result<Option<Batch>, ConsumerError> {
        while let Some(event) = self.consumer.try_event() {
            let error = in_place_of_a_record(&event);
            keep(&self.events, event);
            if let Some(error) = error {
                return Err(error);
            }
        }
        let mut lanes = self.lanes.lock();
        for at in 0..lanes.len() {
            if let Some(batch) = lanes[at].try_next() {
                // Each lane in its turn.
                lanes.rotate_left(at + 1);
                return Ok(Some(batch));
            }
        }
        if self.consumer.is_over() { Err(ConsumerError::Closed) } else { Ok(None) }
    }
}

impl<K: Serde, V: Serde> Consumer<K, V> {
    /// As of [`ConsumerFactory::create`].
    ///
    /// # Errors
    /// As of [`ConsumerFactory::create`].
    pub fn with_config(config: &FastConsumerConfig, key: K, value: V) -> Result<Self, ConsumerError> {
        Self::of(Member::open(config)?, config, key, value)
    }

    /// Of a `BaseConsumer` that was made by [`FastConsumerConfig::client_config`] with a [`FastContext`], and was neither
    /// subscribed nor polled. rdkafka's own context answers rebalances inside the callback, before partitions can be forwarded: a
    /// consumer that has it becomes a fast one by [`IntoFastConsumer`](crate::IntoFastConsumer).
    ///
    /// # Errors
    /// Where the tier is stream, which has no `BaseConsumer` of its own, or the system gives no descriptor or thread.
    pub fn new(
        base: BaseConsumer<FastContext>,
        config: &FastConsumerConfig,
        key: K,
        value: V,
    ) -> Result<Self, ConsumerError> {
        config.check()?;
        if config.tier() == ConsumerTier::Stream {
            return Err(ConsumerError::Unsupported(
                "the stream tier makes its own StreamConsumer: say Consumer::with_config, or name another performance_tier",
            ));
        }
        Self::of(Member::of_base(base, config)?, config, key, value)
    }

    fn of(member: Member, config: &FastConsumerConfig, key: K, value: V) -> Result<Self, ConsumerError> {
        let (tier, hand) = (config.tier(), Arc::clone(member.hand()));
        let source = if tier == ConsumerTier::Dedicated {
            let consumer = DedicatedConsumer::of(member)?;
            let lanes = Mutex::new(consumer.lanes());
            Source::Threaded(Threaded { consumer, lanes, events: Mutex::default() })
        } else {
            Source::Driven(Box::new(Driven::of(member)))
        };
        Ok(Self { source, ready: Mutex::default(), hand, serdes: Arc::new(Serdes { key, value }), tier })
    }

    /// Its tier.
    pub fn tier(&self) -> ConsumerTier {
        self.tier
    }

    /// The lanes of the dedicated tier, for handlers of their own; none in other tiers, and none the second time.
    pub fn lanes(&self) -> Vec<Lane> {
        match &self.source {
            Source::Driven(_) => Vec::new(),
            Source::Threaded(threaded) => std::mem::take(&mut threaded.lanes.lock()),
        }
    }

    pub(crate) fn base(&self) -> Base {
        match &self.source {
            Source::Driven(driven) => driven.base.clone(),
            Source::Threaded(threaded) => threaded.consumer.base().clone(),
        }
    }

    /// The next batch, or how long to wait for one at most.
    fn try_batch(&self) -> Result<Result<Batch, Duration>, ConsumerError> {
        match &self.source {
            Source::Driven(driven) => driven.try_batch(),
            Source::Threaded(threaded) => Ok(threaded.try_batch()?.ok_or(Duration::from_secs(1))),
        }
    }

    fn try_delivered(&self) -> Result<Result<Delivered, Duration>, ConsumerError> {
        loop {
            let mut ready = self.ready.lock();
            if !ready.records.is_empty() {
                // The clock costs as much as a record that is only counted, and nothing beside one that takes its time.
                if ready.turns_left > 0 {
                    ready.turns_left -= 1;
                } else if let Source::Driven(driven) = &self.source {
                    ready.turns_left = if driven.attend() { 0 } else { TURNS };
                }
                ready.keep_current(self.hand.changes());
                match ready.records.pop_front() {
                    Some(next) => return Ok(Ok(next)),
                    None => continue,
                }
            }
            drop(ready);
            match self.try_batch()? {
                Ok(batch) => self.ready.lock().records.extend(batch.into_single()),
                Err(limit) => return Ok(Err(limit)),
            }
        }
    }

    async fn wait(&self, limit: Duration) {
        match &self.source {
            Source::Driven(driven) => driven.wait(limit).await,
            Source::Threaded(threaded) => threaded.consumer.arrival(limit).await,
        }
    }

    fn message(&self, delivered: Delivered) -> Message<K, V> {
        Message { delivered, serdes: Arc::clone(&self.serdes) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: impl FnOnce(Base) -> Result<T, ConsumerError> + Send + 'static,
    ) -> Result<T, ConsumerError> {
        let base = self.base();
        tokio::task::spawn_blocking(move || what(base)).await.map_err(|_| ConsumerError::Closed)?
    }

    async fn assignment(&self) -> Result<Vec<Partition>, ConsumerError> {
        Ok(self.current_offsets().await?.into_iter().map(|(partition, _)| partition).collect())
    }
}

fn offsets_of(list: &TopicPartitionList) -> Vec<(Partition, Option<i64>)> {
    let offset = |offset: Offset| match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let elements = list.elements();
    elements.iter().map(|of| (Partition::new(of.topic(), of.partition()), offset(of.offset()))).collect()
}

impl<K: Serde, V: Serde> KafkaStreamConsumer<K, V> for Consumer<K, V> {
    fn subscribe<'a>(&'a self, topics: &'a [&'a str]) -> BoxFuture<'a, Result<(), ConsumerError>> {
        Box::pin(async move {
            match &self.source {
                Source::Driven(driven) => driven.with(|member| member.subscribe(topics)),
                Source::Threaded(threaded) => threaded.consumer.subscribe(topics).await,
            }
        })
    }

    fn stream(&self) -> Flow<MessageStream<'_, K, V>> {
        Flow(MessageStream(self.raw_stream().0))
    }

    fn raw_stream(&self) -> Flow<RawStream<'_, K, V>> {
        Flow(RawStream { consumer: self, wait: None, is_over: false })
    }

    fn buffered_stream(&self, n: usize) -> Flow<BatchStream<'_, K, V>> {
        Flow(BatchStream { consumer: self, n: n.max(1), rest: None, wait: None, is_over: false })
    }

    fn dedicated_stream(&self) -> Result<Flow<BatchStream<'_, K, V>>, ConsumerError> {
        match self.tier {
            ConsumerTier::Dedicated => Ok(self.buffered_stream(usize::MAX)),
            _ => Err(ConsumerError::Unsupported(
                "only the dedicated tier has a thread of its own: say performance_tier: \"dedicated\"",
            )),
        }
    }

    fn poll(&self, timeout: Duration) -> BoxFuture<'_, Result<Option<Message<K, V>>, ConsumerError>> {
        Box::pin(async move {
            let deadline = Instant::now() + timeout;
            loop {
                match self.try_delivered()? {
                    Ok(delivered) => return Ok(Some(self.message(delivered))),
                    Err(limit) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return Ok(None);
                        }
                        self.wait(limit.min(left)).await;
                    }
                }
            }
        })
    }

    fn try_poll(&self) -> Result<Option<Message<K, V>>, ConsumerError> {
        Ok(self.try_delivered()?.ok().map(|delivered| self.message(delivered)))
    }

    fn poll_blocking(&self, timeout: Duration) -> Result<Option<Message<K, V>>, ConsumerError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.try_delivered()? {
                Ok(delivered) => return Ok(Some(self.message(delivered))),
                Err(limit) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    match &self.source {
                        Source::Driven(driven) => driven.bell.wait(limit.min(left)),
                        Source::Threaded(threaded) => threaded.consumer.arrival_blocking(limit.min(left)),
                    }
                }
            }
        }
    }

    fn commit(&self) -> BoxFuture<'_, Result<(), ConsumerError>> {
        Box::pin(async move {
            let driven = match &self.source {
                Source::Threaded(threaded) => return threaded.consumer.commit().await,
                Source::Driven(driven) => driven,
            };
            let mut answer = driven.with(|member| Ok(member.commit()))?;
            loop {
                // Nobody else may drive it meanwhile.
                driven.with(|member| {
                    member.attend();
                    Ok(())
                })?;
                match answer.try_recv() {
                    Ok(answer) => return answer,
                    Err(tokio::sync::oneshot::error::TryRecvError::Closed) => return Err(ConsumerError::Closed),
                    // Another task may forget the ring that is meant for this one.
                    Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
                        driven.wait(Duration::from_millis(5)).await;
                    }
                }
            }
        })
    }

    fn current_offsets(&self) -> BoxFuture<'_, Result<Offsets, ConsumerError>> {
        Box::pin(async move {
            match &self.source {
                Source::Driven(driven) => driven.with(|member| Ok(member.positions())),
                Source::Threaded(threaded) => threaded.consumer.positions().await,
            }
        })
    }

    fn committed(&self) -> BoxFuture<'_, Result<Offsets, ConsumerError>> {
        Box::pin(async move {
            let list = list_of(&self.assignment().await?);
            let ask = move |base: Base| base.committed(list).map_err(ConsumerError::kafka("to ask what is committed"));
            Ok(offsets_of(&self.blocking(ask).await?))
        })
    }

    fn seek<'a>(&'a self, partition: &'a Partition, offset: i64) -> BoxFuture<'a, Result<(), ConsumerError>> {
        Box::pin(async move {
            match &self.source {
                Source::Driven(driven) => driven.with(|member| member.seek(partition, offset))?,
                Source::Threaded(threaded) => threaded.consumer.seek(partition, offset).await?,
            }
            // What was taken for its old place is not handed out.
            self.ready.lock().keep_current(self.hand.changes());
            Ok(())
        })
    }

    fn seek_to_time(&self, timestamp_ms: i64) -> BoxFuture<'_, Result<(), ConsumerError>> {
        Box::pin(async move {
            let assigned = self.assignment().await?;
            let found = self
                .blocking(move |base| {
                    let failed = || ConsumerError::kafka("to find offsets by time");
                    let mut list = list_of(&assigned);
                    list.set_all_offsets(Offset::Offset(timestamp_ms)).map_err(failed())?;
                    let found = offsets_of(&base.offsets_for_times(list).map_err(failed())?);
                    let place = |(partition, offset): (Partition, Option<i64>)| match offset {
                        Some(offset) => Ok((partition, offset)),
                        None => {
                            let end = base.ends(&partition).map_err(failed())?.1;
                            Ok((partition, end))
                        }
                    };
                    found.into_iter().map(place).collect::<Result<Vec<_>, ConsumerError>>()
                })
                .await?;
            for (partition, offset) in found {
                self.seek(&partition, offset).await?;
            }
            Ok(())
        })
    }

    fn pause<'a>(&'a self, partitions: &'a [Partition]) -> BoxFuture<'a, Result<(), ConsumerError>> {
        Box::pin(async move {
            match &self.source {
                Source::Driven(driven) => driven.with(|member| member.pause(partitions)),
                Source::Threaded(threaded) => threaded.consumer.pause(partitions).await,
            }
        })
    }

    fn resume<'a>(&'a self, partitions: &'a [Partition]) -> BoxFuture<'a, Result<(), ConsumerError>> {
        Box::pin(async move {
            match &self.source {
                Source::Driven(driven) => driven.with(|member| member.resume(partitions)),
                Source::Threaded(threaded) => threaded.consumer.resume(partitions).await,
            }
        })
    }

    fn events(&self) -> Vec<Event> {
        match &self.source {
            Source::Driven(driven) => driven.events.lock().drain(..).collect(),
            Source::Threaded(threaded) => {
                while let Some(event) = threaded.consumer.try_event() {
                    keep(&threaded.events, event);
                }
                threaded.events.lock().drain(..).collect()
            }
        }
    }

    async fn close(self) {
        let Self { source, ready, .. } = self;
        drop(ready);
        match source {
            Source::Threaded(Threaded { consumer, lanes, .. }) => {
                drop(lanes);
                consumer.close().await;
            }
            Source::Driven(driven) => {
                let member = driven.member.lock().take();
                if let Some(member) = member {
                    // A thread that panicked has left nothing to close.
                    let _ = tokio::task::spawn_blocking(move || member.close(drop)).await;
                }
            }
        }
    }
}

type Wait<'a> = Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>;

/// Polls until `look` finds something; waits as long as it says in between.
fn poll_until<'a, K: Serde, V: Serde, T>(
    consumer: &'a Consumer<K, V>,
    wait: &mut Wait<'a>,
    is_over: &mut bool,
    cx: &mut Context<'_>,
    mut look: impl FnMut(&'a Consumer<K, V>) -> Result<Result<T, Duration>, ConsumerError>,
) -> Poll<Option<Result<T, ConsumerError>>> {
    if *is_over {
        return Poll::Ready(None);
    }
    loop {
        match look(consumer) {
            Ok(Ok(found)) => {
                *wait = None;
                return Poll::Ready(Some(Ok(found)));
            }
            Err(ConsumerError::Closed) => {
                *is_over = true;
                return Poll::Ready(None);
            }
            Err(error) => {
                *is_over = matches!(error, ConsumerError::Fatal { .. });
                return Poll::Ready(Some(Err(error)));
            }
            Ok(Err(limit)) => {
                let waiting = wait.get_or_insert_with(|| Box::pin(consumer.wait(limit)));
                if waiting.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *wait = None;
            }
        }
    }
}

/// As of [`KafkaStreamConsumer::raw_stream`].
pub struct RawStream<'a, K, V> {
    consumer: &'a Consumer<K, V>,
    wait: Wait<'a>,
    is_over: bool,
}

impl<K: Serde, V: Serde> Stream for RawStream<'_, K, V> {
    type Item = Result<Delivered, ConsumerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { consumer, wait, is_over } = &mut *self;
        poll_until(consumer, wait, is_over, cx, Consumer::try_delivered)
    }
}

/// As of [`KafkaStreamConsumer::stream`].
pub struct MessageStream<'a, K, V>(RawStream<'a, K, V>);

impl<K: Serde, V: Serde> Stream for MessageStream<'_, K, V> {
    type Item = Result<Message<K, V>, ConsumerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let consumer = self.0.consumer;
        Pin::new(&mut self.0).poll_next(cx).map(|found| found.map(|item| item.map(|item| consumer.message(item))))
    }
}

/// As of [`KafkaStreamConsumer::buffered_stream`].
pub struct BatchStream<'a, K, V> {
    consumer: &'a Consumer<K, V>,
    n: usize,
    /// What a batch had beyond `n`. Given back where the stream is dropped before.
    rest: Option<Batch>,
    wait: Wait<'a>,
    is_over: bool,
}

impl<K: Serde, V: Serde> Stream for BatchStream<'_, K, V> {
    type Item = Result<Batch, ConsumerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { consumer, n, rest, wait, is_over } = &mut *self;
        let look = |consumer: &Consumer<K, V>| {
            let mut batch = match rest.take().filter(Batch::is_current) {
                Some(batch) => batch,
                None => match consumer.try_batch()? {
                    Ok(batch) => batch,
                    Err(limit) => return Ok(Err(limit)),
                },
            };
            *rest = batch.split_off(*n);
            Ok(Ok(batch))
        };
        poll_until(consumer, wait, is_over, cx, look)
    }
}

/// The compiler's word that consumers go where tasks go.
const _: fn() = || {
    fn goes_anywhere<T: Send + Sync>(_: PhantomData<T>) {}
    goes_anywhere(PhantomData::<Consumer<crate::codec::Raw, crate::codec::Raw>>);
    goes_anywhere(PhantomData::<RDKafkaErrorCode>);
};
