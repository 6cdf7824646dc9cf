//! A member of a group: what every tier is made of.
//!
//! librdkafka's `BaseConsumer` owns the group. Its rebalances are noted in the callback and answered here, by value. Fetched
//! records go to a queue of ours, from which the batch call takes them; the consumer's own queue keeps rebalances, answers and
//! errors. Nothing here waits: who has nothing to do waits for the bell, which both queues ring, and whoever settles.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata, RebalanceProtocol, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::batch::{Batch, Records};
use crate::config::{ConsumerTier, FastConsumerConfig, WakeUp};
use crate::context::{FastContext, Rebalance};
use crate::error::ConsumerError;
use crate::hand::{Hand, Partition, Receipt};
use crate::native::{self, Bell, Client, Message, Messages, OwnQueue, Queue};

/// How long the last commit of a revocation is tried.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// After how long one that was refused is tried again.
const COMMIT_AGAIN: Duration = Duration::from_millis(50);

/// How long a call of a member waits for a broker.
const CALL: Duration = Duration::from_secs(10);

/// What a member comes upon.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Records to be processed and settled.
    Batch(Batch),
    /// Partitions that are this member's from now on.
    Assigned(Vec<Partition>),
    /// Partitions that another member is to have. What is in hand of them may be finished and settled until the deadline;
    /// nothing more of them is handed out. What is settled in time is committed before they go.
    Revoking {
        /// They.
        partitions: Vec<Partition>,
        /// When they go, settled or not.
        deadline: Instant,
    },
    /// They are gone: what was not settled is no longer acknowledged.
    Revoked(Vec<Partition>),
    /// Taken without asking: this member was silent for too long. What was not committed is no longer acknowledged.
    Lost(Vec<Partition>),
    /// An error in place of a record, as of a batch that cannot be decompressed.
    RecordError {
        /// Where.
        partition: Partition,
        /// At which offset; negative where that is unknown.
        offset: i64,
        /// What.
        code: RDKafkaErrorCode,
    },
    /// Something that the client suffers from: it goes on by itself.
    Trouble {
        /// What.
        code: RDKafkaErrorCode,
        /// In words.
        reason: String,
    },
    /// A commit that the broker refused; the next one has the same offsets, or higher ones.
    CommitFailed(RDKafkaErrorCode),
    /// librdkafka has given the client up: nothing comes any more. Make a new one.
    Fatal {
        /// What.
        code: RDKafkaErrorCode,
        /// In words.
        reason: String,
    },
}

/// rdkafka's side of a member.
#[derive(Clone)]
pub(crate) enum Base {
    Base(Arc<BaseConsumer<FastContext>>),
    Stream(Arc<StreamConsumer<FastContext>>),
}

/// Calls what both kinds have.
macro_rules! on {
    ($base:expr, $consumer:ident => $call:expr) => {
        match $base {
            Base::Base($consumer) => $call,
            Base::Stream($consumer) => $call,
        }
    };
}

impl Base {
    pub(crate) fn committed(&self, list: TopicPartitionList) -> KafkaResult<TopicPartitionList> {
        on!(self, consumer => consumer.committed_offsets(list, CALL))
    }

    pub(crate) fn offsets_for_times(&self, list: TopicPartitionList) -> KafkaResult<TopicPartitionList> {
        on!(self, consumer => consumer.offsets_for_times(list, CALL))
    }

    pub(crate) fn ends(&self, partition: &Partition) -> KafkaResult<(i64, i64)> {
        on!(self, consumer => consumer.fetch_watermarks(&partition.topic, partition.number, CALL))
    }

    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        on!(self, consumer => consumer.group_metadata())
    }

    fn context(&self) -> &FastContext {
        on!(self, consumer => consumer.context())
    }
}

/// Where records come from.
enum Fetches {
    Own(OwnQueue),
    Stream(Pin<Box<dyn Stream<Item = KafkaResult<OwnedMessage>> + Send>>),
}

/// A revocation that is not answered yet.
struct Revocation {
    list: TopicPartitionList,
    partitions: Vec<Partition>,
    deadline: Instant,
    /// Until when the last commit is tried; `None` while what is in hand is waited for.
    give_up_at: Option<Instant>,
    has_committed: bool,
}

/// A commit on its way: what it commits, and who waits for it.
struct InFlight {
    offsets: Vec<(Partition, u64, i64)>,
    waiters: Vec<oneshot::Sender<Result<(), ConsumerError>>>,
}

/// A member of a consumer group, driven by its owner: [`Member::try_next`] never waits, [`Member::next`] waits in a task,
/// [`Member::next_blocking`] in a thread.
///
/// It has to be driven steadily, at least every `max_poll_interval_ms`: rebalances, commits and errors are served by it.
pub struct Member {
    /// Of the own tiers. Fields are dropped in this order: queues before the client.
    fetches: Fetches,
    main: Option<Queue>,
    client: Client,
    base: Base,
    hand: Arc<Hand>,
    bell: Arc<Bell>,
    waker: Waker,
    woken: Option<AsyncFd<Arc<Bell>>>,
    config: FastConsumerConfig,
    events: VecDeque<Event>,
    revocation: Option<Revocation>,
    in_flight: Option<InFlight>,
    waiters: Vec<oneshot::Sender<Result<(), ConsumerError>>>,
    committed_at: Instant,
    looked_at: Instant,
    paused: Vec<Partition>,
    /// The stream tier pauses what is assigned where there is no room.
    is_paused_for_room: bool,
    /// Scratch: where records begin to cover offsets.
    starts: Vec<Option<i64>>,
    /// The group does not know this member any more.
    is_out: bool,
    is_fatal: bool,
}

impl Member {
    /// Joins as the configuration says; subscribes to its topics, where it names some.
    ///
    /// # Errors
    /// Where the configuration cannot be, or the system gives no descriptor. That no broker answers is none: it may come.
    pub fn open(config: &FastConsumerConfig) -> Result<Self, ConsumerError> {
        config.check()?;
        let client_config = config.client_config();
        let context = FastContext::new(config.tokens.clone());
        if config.tier() == ConsumerTier::Stream {
            if tokio::runtime::Handle::try_current().is_err() {
                return Err(ConsumerError::NoRuntime);
            }
            let consumer = client_config.create_with_context(context).map_err(ConsumerError::Refused)?;
            return Self::of_stream(Arc::new(consumer), config);
        }
        let consumer = client_config.create_with_context(context).map_err(ConsumerError::Refused)?;
        Self::of_base(consumer, config)
    }

    /// Of a consumer that was made with this crate's context and has not been polled.
    pub(crate) fn of_base(
        consumer: BaseConsumer<FastContext>,
        config: &FastConsumerConfig,
    ) -> Result<Self, ConsumerError> {
        let consumer = Arc::new(consumer);
        let client: Client = Arc::clone(&consumer) as Client;
        let mut own = OwnQueue::new(&client, config.batch());
        let mut main = Queue::of_consumer(&client);
        let bell = Arc::new(Bell::new()?);
        if config.wake_up == WakeUp::Event {
            own.ring(&bell);
            if let Some(main) = &mut main {
                main.ring(&bell);
            }
        }
        Self::of(Fetches::Own(own), main, client, Base::Base(consumer), bell, config)
    }

    fn of_stream(
        consumer: Arc<StreamConsumer<FastContext>>,
        config: &FastConsumerConfig,
    ) -> Result<Self, ConsumerError> {
        let client: Client = Arc::clone(&consumer) as Client;
        let main = Queue::of_consumer(&client);
        // Each wait of the stream registers a waker of its own, which it takes away as it ends.
        let messages = stream::unfold(Arc::clone(&consumer), |consumer| async move {
            let message = consumer.recv().await.map(|message| message.detach());
            Some((message, consumer))
        });
        let bell = Arc::new(Bell::new()?);
        Self::of(Fetches::Stream(Box::pin(messages)), main, client, Base::Stream(consumer), bell, config)
    }

    fn of(
        fetches: Fetches,
        main: Option<Queue>,
        client: Client,
        base: Base,
        bell: Arc<Bell>,
        config: &FastConsumerConfig,
    ) -> Result<Self, ConsumerError> {
        let mut member = Self {
            fetches,
            main,
            client,
            base,
            hand: Hand::new(&bell, config.max_records(), config.max_bytes()),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            woken: None,
            config: config.clone(),
            events: VecDeque::new(),
            revocation: None,
            in_flight: None,
            waiters: Vec::new(),
            committed_at: Instant::now(),
            looked_at: Instant::now(),
            paused: Vec::new(),
            is_paused_for_room: false,
            starts: Vec::new(),
            is_out: false,
            is_fatal: false,
        };
        if !config.topics.is_empty() {
            let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
            member.subscribe(&topics)?;
        }
        Ok(member)
    }

    /// Subscribes to these topics, and no others.
    ///
    /// # Errors
    /// Where librdkafka refuses the names.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<(), ConsumerError> {
        on!(&self.base, consumer => consumer.subscribe(topics)).map_err(ConsumerError::kafka("to subscribe"))
    }

    /// What comes next, where it is there already; serves rebalances, commits and errors. Waits for nothing.
    pub fn try_next(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        // What rings from here on is seen by the next look.
        self.bell.silence();
        self.serve();
        self.take();
        self.events.pop_front()
    }

    /// What comes next. May be dropped at any time: nothing is lost.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            let limit = self.rest();
            match self.bell_of_task() {
                Ok(bell) => rung(bell, limit).await,
                // Without a descriptor the tick alone looks.
                Err(_) => tokio::time::sleep(limit.min(Duration::from_millis(10))).await,
            }
        }
    }

    /// What comes next within so long.
    pub fn next_blocking(&mut self, limit: Duration) -> Option<Event> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.bell.wait(self.rest().min(left));
        }
    }

    /// Serves the group while records of an earlier look are handed out. Whether partitions may have gone.
    pub(crate) fn attend(&mut self) -> bool {
        self.serve();
        // Its answers come by the way of the records.
        if matches!(self.fetches, Fetches::Stream(_)) {
            self.take();
        }
        self.events.iter().any(|event| matches!(event, Event::Revoking { .. } | Event::Revoked(_) | Event::Lost(_)))
    }

    fn bell_of_task(&mut self) -> std::io::Result<&AsyncFd<Arc<Bell>>> {
        if self.woken.is_none() {
            self.woken = Some(self.bell.of_task()?);
        }
        Ok(self.woken.as_ref().expect("it was set above"))
    }

    /// How long a wait may be, where nothing rings.
    pub(crate) fn rest(&self) -> Duration {
        let now = Instant::now();
        let mut at = self.looked_at + self.config.tick();
        if let Some(revocation) = &self.revocation {
            at = at.min(revocation.give_up_at.map_or(revocation.deadline, |_| now + COMMIT_AGAIN));
        }
        if self.in_flight.is_none() && !self.hand.to_commit().is_empty() {
            at = at.min(self.committed_at + self.commit_interval());
        }
        if !self.hand.rewound().is_empty() {
            at = at.min(now + Duration::from_millis(50));
        }
        if let Some(since) = self.hand.returned().iter().map(|(_, since, _)| *since).min() {
            at = at.min(since + self.redelivery_delay());
        }
        at.saturating_duration_since(now).max(Duration::from_millis(1))
    }

    fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.config.commit_interval_ms)
    }

    fn redelivery_delay(&self) -> Duration {
        Duration::from_millis(self.config.redelivery_delay_ms)
    }

    /// Serves all that is no record.
    fn serve(&mut self) {
        if let Base::Base(consumer) = &self.base {
            let consumer = Arc::clone(consumer);
            loop {
                match consumer.poll(Duration::ZERO) {
                    // It came to the consumer's queue, before its partition was forwarded: it is read again, by ours.
                    Some(Ok(message)) => {
                        let partition = Partition::new(message.topic(), message.partition());
                        let offset = message.offset();
                        drop(message);
                        self.forward(&partition);
                        let _ =
                            consumer.seek(&partition.topic, partition.number, Offset::Offset(offset), Duration::ZERO);
                        tracing::debug!(target: "lyceum::consumer", %partition, offset, "read again by the own queue");
                    }
                    Some(Err(error)) => self.note(&error),
                    // It also ends after each rebalance and each answer.
                    None if self.main.as_ref().is_none_or(|main| main.length() == 0) => break,
                    None => {}
                }
            }
        }
        self.answer();
        if self.looked_at.elapsed() >= self.config.tick() {
            self.looked_at = Instant::now();
            // Harmless where it is so already; a fetch that stopped late may have ended it.
            self.hand.assigned().iter().for_each(|partition| self.forward(partition));
        }
        self.read_again();
        self.commit_what_is_due();
        self.revoke();
    }

    fn note(&mut self, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            self.fail(code, error.to_string());
        } else {
            tracing::debug!(target: "lyceum::consumer", "{error}");
        }
    }

    fn fail(&mut self, code: RDKafkaErrorCode, reason: String) {
        if !self.is_fatal {
            self.is_fatal = true;
            self.events.push_back(Event::Fatal { code, reason });
        }
    }

    /// Answers what was noted.
    fn answer(&mut self) {
        let base = self.base.clone();
        let context = base.context();
        while let Some((code, reason)) = context.error() {
            if code == RDKafkaErrorCode::Fatal {
                self.fail(code, reason);
            } else {
                self.events.push_back(Event::Trouble { code, reason });
            }
        }
        while let Some(committed) = context.commit() {
            self.is_answered(committed);
        }
        while let Some(rebalance) = context.rebalance() {
            match rebalance {
                Rebalance::Assign(list) => self.assign(&list),
                Rebalance::Revoke { list, is_lost: true } => self.lose(&list),
                Rebalance::Revoke { list, is_lost: false } => self.begin_to_revoke(list),
                Rebalance::Failed(code) => {
                    self.events.push_back(Event::Trouble { code, reason: "the rebalance failed".to_owned() });
                    self.unassign(None);
                }
            }
        }
    }

    fn forward(&mut self, partition: &Partition) {
        if let Fetches::Own(own) = &mut self.fetches {
            own.forward(&partition.topic, partition.number);
        }
    }

    fn is_cooperative(&self) -> bool {
        let protocol = on!(&self.base, consumer => consumer.rebalance_protocol());
        matches!(protocol, RebalanceProtocol::Cooperative)
    }

    fn assign(&mut self, list: &TopicPartitionList) {
        let partitions = partitions_of(list);
        let is_cooperative = self.is_cooperative();
        for partition in &partitions {
            self.forward(partition);
            self.hand.assign(partition);
        }
        let assigned = on!(&self.base, consumer => {
            if is_cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
        });
        if let Err(error) = assigned {
            self.hand.end(&partitions);
            self.events.push_back(Event::Trouble { code: RDKafkaErrorCode::Fail, reason: error.to_string() });
            return;
        }
        (self.is_paused_for_room, self.is_out) = (false, false);
        tracing::info!(target: "lyceum::consumer", partitions = %names(&partitions), "partitions are assigned");
        self.events.push_back(Event::Assigned(partitions));
    }

    /// Without a list: all.
    fn unassign(&mut self, list: Option<&TopicPartitionList>) {
        let is_cooperative = self.is_cooperative();
        let unassigned = on!(&self.base, consumer => match list {
            Some(list) if is_cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        });
        if let Err(error) = unassigned {
            self.events.push_back(Event::Trouble { code: RDKafkaErrorCode::Fail, reason: error.to_string() });
        }
    }

    fn lose(&mut self, list: &TopicPartitionList) {
        let partitions = partitions_of(list);
        (self.revocation, self.is_out) = (None, false);
        self.hand.end(&partitions);
        self.paused.retain(|paused| !partitions.contains(paused));
        self.unassign(Some(list));
        tracing::warn!(target: "lyceum::consumer", partitions = %names(&partitions), "partitions are lost");
        self.events.push_back(Event::Lost(partitions));
    }

    fn begin_to_revoke(&mut self, list: TopicPartitionList) {
        let partitions = partitions_of(&list);
        self.hand.leave(&partitions);
        let deadline = Instant::now() + self.config.patience();
        tracing::info!(target: "lyceum::consumer", partitions = %names(&partitions), "partitions are revoked");
        self.events.push_back(Event::Revoking { partitions: partitions.clone(), deadline });
        self.revocation = Some(Revocation { list, partitions, deadline, give_up_at: None, has_committed: false });
    }

    /// Goes on with a revocation: waits for what is in hand, commits, and lets go.
    fn revoke(&mut self) {
        let Some(revocation) = &mut self.revocation else { return };
        let now = Instant::now();
        if self.is_out || on!(&self.base, consumer => consumer.assignment_lost()) {
            if let Some(Revocation { list, .. }) = self.revocation.take() {
                self.lose(&list);
            }
            return;
        }
        let give_up_at = match revocation.give_up_at {
            Some(at) => at,
            None => {
                let open = self.hand.open(&revocation.partitions);
                if open > 0 && now < revocation.deadline {
                    return;
                }
                if open > 0 {
                    tracing::warn!(target: "lyceum::consumer", open, "records in hand are abandoned with their partitions");
                }
                // Nothing is acknowledged that the last commit does not have.
                self.hand.freeze(&revocation.partitions);
                *revocation.give_up_at.insert(now + LAST_COMMIT)
            }
        };
        if now < give_up_at {
            // A commit that is on its way may be of less; one that was refused may be accepted in a moment.
            if self.in_flight.is_some() {
                return;
            }
            let partitions = &revocation.partitions;
            if self.hand.to_commit().iter().any(|(partition, ..)| partitions.contains(partition)) {
                let is_first = !std::mem::replace(&mut revocation.has_committed, true);
                if is_first || self.committed_at.elapsed() >= COMMIT_AGAIN {
                    self.send_commit();
                }
                return;
            }
        }
        let Some(Revocation { list, partitions, .. }) = self.revocation.take() else { return };
        self.hand.end(&partitions);
        self.paused.retain(|paused| !partitions.contains(paused));
        self.unassign(Some(&list));
        self.events.push_back(Event::Revoked(partitions));
    }

    /// Reads again what was given back.
    fn read_again(&mut self) {
        for (partition, offset) in self.hand.rewound() {
            // A seek makes what is in the queue outdated at once, so what comes from here on is from there.
            match self.seek_now(&partition, offset) {
                Ok(()) => self.hand.is_read_again(&partition),
                // Not fetched yet: the next look tries again.
                Err(error) => tracing::debug!(target: "lyceum::consumer", %partition, offset, "not rewound: {error}"),
            }
        }
        for (partition, since, offset) in self.hand.returned() {
            if since.elapsed() < self.redelivery_delay() {
                continue;
            }
            self.hand.is_read_again(&partition);
            if let Err(error) = self.seek_now(&partition, offset) {
                tracing::debug!(target: "lyceum::consumer", %partition, offset, "not read again: {error}");
            }
        }
    }

    fn seek_now(&mut self, partition: &Partition, offset: i64) -> KafkaResult<()> {
        let Partition { topic, number } = partition;
        on!(&self.base, consumer => consumer.seek(topic, *number, Offset::Offset(offset), Duration::ZERO))
    }

    fn commit_what_is_due(&mut self) {
        let is_asked = !self.waiters.is_empty();
        if self.in_flight.is_none() && (is_asked || self.committed_at.elapsed() >= self.commit_interval()) {
            self.send_commit();
        }
    }

    /// Sends what is settled to the broker; whoever waits is answered with it.
    fn send_commit(&mut self) {
        let offsets = self.hand.to_commit();
        let waiters = std::mem::take(&mut self.waiters);
        self.committed_at = Instant::now();
        if offsets.is_empty() {
            waiters.into_iter().for_each(|waiter| drop(waiter.send(Ok(()))));
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, _, offset) in &offsets {
            // A topic's name that librdkafka gave has no zero in it.
            let _ = list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(*offset));
        }
        let sent = self.main.as_ref().map_or(Err(RDKafkaErrorCode::UnknownGroup), |main| main.commit(&list));
        match sent {
            Ok(()) => self.in_flight = Some(InFlight { offsets, waiters }),
            Err(code) => {
                self.events.push_back(Event::CommitFailed(code));
                waiters.into_iter().for_each(|waiter| drop(waiter.send(Err(ConsumerError::Commit(code)))));
            }
        }
    }

    fn is_answered(&mut self, committed: crate::context::Committed) {
        let Some(InFlight { offsets, waiters }) = self.in_flight.take() else { return };
        let failed = match committed {
            Ok(answers) => {
                let mut failed = None;
                for (partition, epoch, offset) in &offsets {
                    let answer = answers
                        .iter()
                        .find(|(topic, number, ..)| **topic == *partition.topic && *number == partition.number);
                    match answer {
                        Some((.., Some(code))) => failed = Some(*code),
                        _ => self.hand.is_committed(partition, *epoch, *offset),
                    }
                }
                failed
            }
            Err(code) => Some(code),
        };
        if let Some(code) = failed {
            self.is_out |= matches!(
                code,
                RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::FencedMemberEpoch
            );
            self.events.push_back(Event::CommitFailed(code));
        }
        for waiter in waiters {
            let _ = waiter.send(failed.map_or(Ok(()), |code| Err(ConsumerError::Commit(code))));
        }
    }

    /// Takes what is there, as far as there is room.
    fn take(&mut self) {
        let room = self.hand.room();
        if matches!(self.fetches, Fetches::Stream(_)) {
            self.take_from_stream(room);
            return;
        }
        let Fetches::Own(own) = &mut self.fetches else { return };
        if room == 0 {
            return;
        }
        let mut groups: Vec<((usize, i32), Messages)> = Vec::new();
        let mut errors = Vec::new();
        let mut current = usize::MAX;
        for message in own.take(room) {
            if let Some(code) = message.error() {
                errors.push((message.topic(), message.partition(), message.offset(), code));
                continue;
            }
            let place = message.place();
            if groups.get(current).is_none_or(|group| group.0 != place) {
                current = groups.iter().position(|group| group.0 == place).unwrap_or_else(|| {
                    groups.push((place, Messages::new(&self.client)));
                    groups.len() - 1
                });
            }
            groups[current].1.push(message);
        }
        for (topic, number, offset, code) in errors {
            let partition = Partition::new(topic, number);
            tracing::warn!(target: "lyceum::consumer", %partition, offset, %code, "an error in place of a record");
            self.events.push_back(Event::RecordError { partition, offset, code });
        }
        for (_, messages) in groups {
            self.hand_out(messages);
        }
    }

    /// Makes batches of one partition's messages.
    fn hand_out(&mut self, mut messages: Messages) {
        let Some(first) = messages.as_slice().first() else { return };
        // Of a partition that is being revoked nothing goes out any more.
        let Some(place) = self.hand.place(&first.topic(), first.partition()) else { return };
        self.starts.clear();
        self.hand.hand_out(&place, messages.as_slice().iter().map(Message::offset), &mut self.starts);
        let starts = std::mem::take(&mut self.starts);
        for (at, end) in runs(&starts, |index| messages.as_slice()[index].offset()).into_iter().rev() {
            let _behind = messages.split_off(end);
            let run = messages.split_off(at);
            let offsets = run.as_slice().iter().map(Message::offset).collect();
            let start = starts[at].expect("a run begins with a record that goes out");
            let receipt = Receipt::new(&self.hand, place.clone(), start, offsets);
            let records = Records::native(run, place.partition.clone(), &self.hand);
            self.push_in_order(Batch::new(records, receipt));
        }
        self.starts = starts;
    }

    /// Runs are cut from the end, so that an earlier one of the same partition comes after a later one.
    fn push_in_order(&mut self, batch: Batch) {
        let first = |batch: &Batch| batch.records().get(0).map(|record| record.offset());
        let offset = first(&batch);
        let before = self.events.iter().position(|event| {
            matches!(event, Event::Batch(other) if other.partition() == batch.partition() && first(other) > offset)
        });
        self.events.insert(before.unwrap_or(self.events.len()), Event::Batch(batch));
    }

    fn take_from_stream(&mut self, room: usize) {
        self.pause_for_room(room == 0);
        let limit = if room == 0 { 0 } else { room.min(self.config.batch()) };
        let mut messages: Vec<(Partition, Vec<OwnedMessage>)> = Vec::new();
        let mut taken = 0;
        // Even without room: rebalances and answers come by the same way. What comes beside them goes out all the same.
        loop {
            let Fetches::Stream(stream) = &mut self.fetches else { return };
            match stream.as_mut().poll_next(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(Some(Ok(message))) => {
                    taken += 1;
                    let is_same = |of: &Partition| *of.topic == *message.topic() && of.number == message.partition();
                    match messages.iter_mut().find(|(of, _)| is_same(of)) {
                        Some((_, list)) => list.push(message),
                        None => {
                            messages.push((Partition::new(message.topic(), message.partition()), vec![message]));
                        }
                    }
                    if taken >= limit {
                        break;
                    }
                }
                Poll::Ready(Some(Err(error))) => self.note(&error),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        for (partition, list) in messages {
            self.hand_out_detached(&partition, list);
        }
        // What was noted on the way; a batch of a partition that it revokes is settled as one that was handed out before.
        self.answer();
    }

    fn hand_out_detached(&mut self, partition: &Partition, list: Vec<OwnedMessage>) {
        let Some(place) = self.hand.place(&partition.topic, partition.number) else { return };
        let mut starts = Vec::new();
        self.hand.hand_out(&place, list.iter().map(|message| message.offset()), &mut starts);
        let cut = runs(&starts, |index| list[index].offset());
        let mut list: Vec<Option<OwnedMessage>> = list.into_iter().map(Some).collect();
        for (at, end) in cut {
            let run: Vec<OwnedMessage> = list[at..end].iter_mut().filter_map(Option::take).collect();
            let offsets = run.iter().map(|message| message.offset()).collect();
            let start = starts[at].expect("a run begins with a record that goes out");
            let receipt = Receipt::new(&self.hand, place.clone(), start, offsets);
            let records = Records::detached(run, place.partition.clone(), &self.hand);
            self.events.push_back(Event::Batch(Batch::new(records, receipt)));
        }
    }

    /// Where there is no room, the stream tier fetches nothing, and is still polled for its rebalances.
    fn pause_for_room(&mut self, is_full: bool) {
        if is_full == self.is_paused_for_room {
            return;
        }
        self.is_paused_for_room = is_full;
        let partitions: Vec<Partition> =
            self.hand.assigned().into_iter().filter(|partition| !self.paused.contains(partition)).collect();
        let list = list_of(&partitions);
        let done = on!(&self.base, consumer => if is_full { consumer.pause(&list) } else { consumer.resume(&list) });
        if let Err(error) = done {
            tracing::debug!(target: "lyceum::consumer", "not paused or resumed: {error}");
        }
    }

    /// Commits what is settled, now; the answer comes while the member is driven.
    pub fn commit(&mut self) -> oneshot::Receiver<Result<(), ConsumerError>> {
        let (waiter, answer) = oneshot::channel();
        self.commit_to(waiter);
        answer
    }

    pub(crate) fn commit_to(&mut self, waiter: oneshot::Sender<Result<(), ConsumerError>>) {
        self.waiters.push(waiter);
        self.bell.ring();
    }

    /// Nothing more of these comes until they are resumed; what is in hand stays so.
    ///
    /// # Errors
    /// Where one is not assigned.
    pub fn pause(&mut self, partitions: &[Partition]) -> Result<(), ConsumerError> {
        self.check_assigned(partitions)?;
        on!(&self.base, consumer => consumer.pause(&list_of(partitions))).map_err(ConsumerError::kafka("to pause"))?;
        for partition in partitions {
            if !self.paused.contains(partition) {
                self.paused.push(partition.clone());
            }
        }
        Ok(())
    }

    /// They go on behind the last record that was handed out.
    ///
    /// # Errors
    /// Where one is not assigned.
    pub fn resume(&mut self, partitions: &[Partition]) -> Result<(), ConsumerError> {
        self.check_assigned(partitions)?;
        on!(&self.base, consumer => consumer.resume(&list_of(partitions)))
            .map_err(ConsumerError::kafka("to resume"))?;
        self.paused.retain(|paused| !partitions.contains(paused));
        // librdkafka goes on from the position, which an error record may have moved.
        for (partition, next) in self.hand.positions() {
            if let Some(next) = next.filter(|_| partitions.contains(&partition)) {
                self.seek_now(&partition, next).map_err(ConsumerError::kafka("to resume"))?;
            }
        }
        Ok(())
    }

    fn check_assigned(&self, partitions: &[Partition]) -> Result<(), ConsumerError> {
        let assigned = self.hand.assigned();
        match partitions.iter().find(|partition| !assigned.contains(partition)) {
            Some(foreign) => Err(ConsumerError::NotAssigned(foreign.clone())),
            None => Ok(()),
        }
    }

    /// Goes on at this offset; what is in hand of the partition is no longer acknowledged.
    ///
    /// # Errors
    /// Where it is not assigned.
    pub fn seek(&mut self, partition: &Partition, offset: i64) -> Result<(), ConsumerError> {
        if !self.hand.move_to(partition) {
            return Err(ConsumerError::NotAssigned(partition.clone()));
        }
        // What was taken for its old place is not handed out.
        self.events.retain(|event| !matches!(event, Event::Batch(batch) if batch.partition() == partition));
        self.seek_now(partition, offset).map_err(ConsumerError::kafka("to seek"))
    }

    /// The assigned partitions, each with the offset behind the last record that was handed out; `None` before the first.
    pub fn positions(&self) -> Vec<(Partition, Option<i64>)> {
        self.hand.positions()
    }

    /// The partitions that are assigned.
    pub fn assignment(&self) -> Vec<Partition> {
        self.hand.assigned()
    }

    /// Records and bytes in hand.
    pub fn in_hand(&self) -> (usize, usize) {
        self.hand.in_hand()
    }

    /// The end of a partition, as the broker said it with the last records; asks nobody. `None` before the first.
    pub fn end_of(&self, partition: &Partition) -> Option<i64> {
        native::end_of(&self.client, &partition.topic, partition.number)
    }

    pub(crate) fn base(&self) -> Base {
        self.base.clone()
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(crate) fn config(&self) -> &FastConsumerConfig {
        &self.config
    }

    /// Leaves the group: has everything revoked, which waits for what is in hand as of `patience_ms`, commits what is settled,
    /// and goes. Events other than batches are handed to `watch`; batches that were not taken are dropped.
    pub fn close(mut self, mut watch: impl FnMut(Event)) {
        on!(&self.base, consumer => consumer.unsubscribe());
        let deadline = Instant::now() + self.config.patience() + 2 * LAST_COMMIT;
        let mut was_revoked = self.hand.assigned().is_empty() && self.revocation.is_none();
        while Instant::now() < deadline && !self.is_fatal {
            self.bell.silence();
            self.serve();
            if matches!(self.fetches, Fetches::Stream(_)) {
                self.take_from_stream(0);
            }
            while let Some(event) = self.events.pop_front() {
                match event {
                    Event::Batch(batch) => drop(batch),
                    event => watch(event),
                }
            }
            was_revoked |= self.hand.assigned().is_empty() && self.revocation.is_none();
            if was_revoked {
                break;
            }
            self.bell.wait(self.rest().min(Duration::from_millis(100)));
        }
        // Dropping it waits until librdkafka has left.
        self.base.context().close();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Whoever keeps a record keeps the client: it has to answer by itself from now on.
        self.base.context().close();
        self.hand.end(&self.hand.assigned());
    }
}

/// Waits until the bell rings.
pub(crate) async fn rung(bell: &AsyncFd<Arc<Bell>>, limit: Duration) {
    let ring = async {
        if let Ok(mut ready) = bell.readable().await {
            ready.clear_ready();
        }
    };
    // Over or rung: the caller looks.
    let _ = tokio::time::timeout(limit, ring).await;
}

/// Runs of records that go out together: each covers offsets from where the one before ends.
fn runs(starts: &[Option<i64>], offset: impl Fn(usize) -> i64) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::with_capacity(1);
    for (index, start) in starts.iter().enumerate() {
        let Some(start) = start else { continue };
        match runs.last_mut() {
            Some((_, end)) if *end == index && offset(index - 1) + 1 == *start => *end = index + 1,
            _ => runs.push((index, index + 1)),
        }
    }
    runs
}

fn partitions_of(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|element| Partition::new(element.topic(), element.partition())).collect()
}

pub(crate) fn list_of(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}

fn names(partitions: &[Partition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

    use super::*;

    const TOPIC: &str = "tried";

    /// librdkafka's own stand-in for a broker: what is tried here is this side.
    fn cluster() -> MockCluster<'static, DefaultProducerContext> {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        cluster
    }

    fn fill(brokers: &str, numbers: std::ops::Range<i64>) {
        let producer: BaseProducer = rdkafka::ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        for number in numbers {
            for partition in 0..2 {
                let value = number.to_string();
                producer
                    .send(BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value))
                    .map_err(|of| of.0)
                    .unwrap();
            }
        }
        producer.flush(CALL).unwrap();
    }

    fn member(brokers: &str) -> Member {
        let config = FastConsumerConfig::builder(brokers, "tried")
            .tier(ConsumerTier::Standard)
            .topics([TOPIC])
            .with(|config| config.tick_ms = 200)
            .build();
        Member::open(&config.unwrap()).unwrap()
    }

    fn batches(member: &mut Member, records: usize) -> Vec<Batch> {
        let (mut batches, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        while batches.iter().map(Batch::len).sum::<usize>() < records {
            assert!(Instant::now() < deadline, "{batches:?}");
            if let Some(Event::Batch(batch)) = member.next_blocking(Duration::from_millis(50)) {
                batches.push(batch);
            }
        }
        batches
    }

    fn offsets(batches: &[Batch], partition: i32) -> Vec<i64> {
        let of = batches.iter().filter(|batch| batch.partition().number == partition);
        of.flat_map(|batch| batch.records().iter().map(|record| record.offset())).collect()
    }

    #[test]
    fn a_forwarding_that_has_ended_is_mended_and_nothing_is_lost_or_doubled() {
        let cluster = cluster();
        let brokers = cluster.bootstrap_servers();
        fill(&brokers, 0..20);
        let mut member = member(&brokers);
        let mut all = batches(&mut member, 40);
        let Fetches::Own(own) = &mut member.fetches else { panic!("it has a queue of its own") };
        own.end_forwarding(TOPIC, 0);
        fill(&brokers, 20..40);
        all.extend(batches(&mut member, 40));
        for partition in 0..2 {
            assert_eq!(offsets(&all, partition), (0..40).collect::<Vec<_>>());
        }
        assert!(all.into_iter().all(Batch::settle_all));
        assert_eq!(member.in_hand(), (0, 0));
        member.close(drop);
    }

    /// librdkafka 2.12 takes an error for a record when it counts its position (librdkafka#4844).
    #[test]
    fn an_error_in_place_of_a_record_is_a_value_and_moves_no_position() {
        use rdkafka::types::RDKafkaApiKey::Fetch;
        use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as REFUSED;
        let cluster = cluster();
        let brokers = cluster.bootstrap_servers();
        fill(&brokers, 0..10);
        let mut member = member(&brokers);
        let mut all = batches(&mut member, 20);
        cluster.request_errors(Fetch, &[REFUSED; 4]);
        let (mut errors, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        while errors.len() < 2 {
            assert!(Instant::now() < deadline, "{errors:?}");
            match member.next_blocking(Duration::from_millis(50)) {
                Some(Event::RecordError { partition, code, .. }) => {
                    assert_eq!(code, RDKafkaErrorCode::TopicAuthorizationFailed);
                    errors.push(partition);
                }
                Some(Event::Batch(batch)) => panic!("{batch:?}"),
                _ => {}
            }
        }
        cluster.clear_request_errors(Fetch);
        // librdkafka goes on from its own position after a pause.
        let assigned = member.assignment();
        member.pause(&assigned).unwrap();
        fill(&brokers, 10..20);
        assert!(member.positions().iter().all(|(_, next)| *next == Some(10)));
        member.resume(&assigned).unwrap();
        all.extend(batches(&mut member, 20));
        for partition in 0..2 {
            assert_eq!(offsets(&all, partition), (0..20).collect::<Vec<_>>());
        }
        assert!(all.into_iter().all(Batch::settle_all));
        member.close(drop);
    }

    #[test]
    fn what_is_in_hand_outlives_its_member_and_acknowledges_nothing() {
        let cluster = cluster();
        let brokers = cluster.bootstrap_servers();
        fill(&brokers, 0..5);
        let mut member = member(&brokers);
        let mut all = batches(&mut member, 10);
        let single: Vec<_> = all.remove(0).into_single().collect();
        let (records, receipt) = all.remove(0).into_parts();
        let shared = records.into_shared();
        let bytes = shared.payload(0).unwrap();
        drop((member, shared));
        // The client lives as long as one of them.
        assert_eq!(&bytes[..], b"0");
        assert_eq!(single[4].record().payload(), Some(&b"4"[..]));
        assert!(!receipt.settle_all());
        assert!(single.into_iter().all(|of| !of.settle()));
        drop(bytes);
    }

    #[test]
    fn runs_are_cut_where_a_record_is_left_out_or_a_hole_is_not_covered() {
        let offsets = [3, 4, 7, 8, 9];
        let cut = |starts: [Option<i64>; 5]| runs(&starts, |index| offsets[index]);
        assert_eq!(cut([Some(3), Some(4), Some(5), Some(8), Some(9)]), [(0, 5)], "5 and 6 are covered by 7");
        assert_eq!(cut([Some(3), None, Some(7), Some(8), None]), [(0, 1), (2, 4)]);
        assert_eq!(cut([Some(3), Some(4), Some(7), Some(8), Some(9)]), [(0, 2), (2, 5)]);
        assert_eq!(cut([None; 5]), []);
    }
}
