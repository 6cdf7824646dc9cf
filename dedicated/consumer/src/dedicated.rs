//! The dedicated tier: a thread of its own per consumer owns the [`Member`] and hands batches over in lanes by partition.
//!
//! The thread never processes anything: rebalances, commits and errors are served however long a handler takes, so a slow
//! handler does not cost the membership. What is in hand is bounded over all lanes; a lane that stands still therefore holds up
//! the others once the bound is reached.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use crate::batch::Batch;
use crate::config::FastConsumerConfig;
use crate::error::ConsumerError;
use crate::hand::Partition;
use crate::member::{Base, Event, Member};
use crate::native::Bell;

/// Events that nobody took, at most: the oldest are forgotten, and counted.
const EVENTS: usize = 1_024;

#[derive(Default)]
struct Queued<T> {
    items: VecDeque<T>,
    is_closed: bool,
}

/// A queue between the thread and a lane's reader.
struct Channel<T> {
    queued: Mutex<Queued<T>>,
    /// For a reader that is a thread.
    arrived: Condvar,
    /// For one that is a task.
    notify: Notify,
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        let queued = Mutex::new(Queued { items: VecDeque::new(), is_closed: false });
        Self { queued, arrived: Condvar::new(), notify: Notify::new() }
    }
}

impl<T> Channel<T> {
    fn push(&self, item: T, limit: usize) -> bool {
        let mut queued = self.queued.lock();
        let is_full = queued.items.len() >= limit;
        if is_full {
            queued.items.pop_front();
        }
        let was_empty = queued.items.is_empty();
        queued.items.push_back(item);
        drop(queued);
        // Whoever found something looks again before it waits.
        if was_empty {
            self.arrived.notify_one();
            self.notify.notify_one();
        }
        !is_full
    }

    fn close(&self) {
        self.queued.lock().is_closed = true;
        self.arrived.notify_all();
        self.notify.notify_one();
    }

    /// `None` where there is nothing; the error where nothing comes any more.
    fn try_pop(&self) -> Result<Option<T>, ()> {
        let mut queued = self.queued.lock();
        match queued.items.pop_front() {
            Some(item) => Ok(Some(item)),
            None if queued.is_closed => Err(()),
            None => Ok(None),
        }
    }

    async fn pop(&self) -> Option<T> {
        loop {
            match self.try_pop() {
                Ok(Some(item)) => return Some(item),
                Ok(None) => self.notify.notified().await,
                Err(()) => {
                    // For another reader of the same.
                    self.notify.notify_one();
                    return None;
                }
            }
        }
    }

    fn pop_blocking(&self, limit: Duration) -> Result<Option<T>, ()> {
        let deadline = Instant::now() + limit;
        let mut queued = self.queued.lock();
        loop {
            if let Some(item) = queued.items.pop_front() {
                return Ok(Some(item));
            }
            if queued.is_closed {
                return Err(());
            }
            if self.arrived.wait_until(&mut queued, deadline).timed_out() {
                return Ok(queued.items.pop_front());
            }
        }
    }
}

/// What the thread is asked for.
enum Command {
    Subscribe(Vec<String>, Answer<()>),
    Commit(Answer<()>),
    Pause(Vec<Partition>, Answer<()>),
    Resume(Vec<Partition>, Answer<()>),
    Seek(Partition, i64, Answer<()>),
    Positions(Answer<Vec<(Partition, Option<i64>)>>),
    Ends(Answer<Vec<(Partition, Option<i64>)>>),
    Close,
}

type Answer<T> = oneshot::Sender<Result<T, ConsumerError>>;

struct Shared {
    lanes: Vec<Channel<Batch>>,
    events: Channel<Event>,
    bell: Arc<Bell>,
    forgotten: AtomicUsize,
    /// Rung by whatever arrives in any lane.
    arrivals: Channel<()>,
}

/// A consumer with a thread of its own.
///
/// Dropped, it leaves the group in the background, as [`DedicatedConsumer::close`] does.
pub struct DedicatedConsumer {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    base: Base,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    taken: Mutex<Vec<bool>>,
}

/// Batches of some of the partitions; each partition is of one lane, always the same.
///
/// A batch of a partition that is being revoked is dropped here, so that only batches that were taken are waited for.
pub struct Lane {
    shared: Arc<Shared>,
    number: usize,
}

impl DedicatedConsumer {
    /// Joins the group, in a thread of its own.
    ///
    /// # Errors
    /// As of [`Member::open`]; and where the system gives no thread.
    pub fn start(config: &FastConsumerConfig) -> Result<Self, ConsumerError> {
        Self::of(Member::open(config)?)
    }

    pub(crate) fn of(member: Member) -> Result<Self, ConsumerError> {
        let lanes = member.config().lanes.max(1);
        let shared = Arc::new(Shared {
            lanes: (0..lanes).map(|_| Channel::default()).collect(),
            events: Channel::default(),
            bell: Arc::clone(member.bell()),
            forgotten: AtomicUsize::new(0),
            arrivals: Channel::default(),
        });
        let (commands, asked) = mpsc::channel();
        let base = member.base();
        let name = format!("kafka-{}", member.config().group_id.chars().take(9).collect::<String>());
        let thread = thread::Builder::new().name(name).spawn({
            let shared = Arc::clone(&shared);
            move || run(member, &shared, &asked)
        })?;
        Ok(Self { shared, commands, base, thread: Mutex::new(Some(thread)), taken: Mutex::new(vec![false; lanes]) })
    }

    /// The lanes, once: their number is the configuration's. Later calls give none.
    pub fn lanes(&self) -> Vec<Lane> {
        let mut taken = self.taken.lock();
        let free = (0..taken.len()).filter(|number| !std::mem::replace(&mut taken[*number], true));
        free.map(|number| Lane { shared: Arc::clone(&self.shared), number }).collect()
    }

    /// What happens beside batches: assignments, revocations, errors. `None` once it is closed and all was taken.
    pub async fn event(&self) -> Option<Event> {
        self.shared.events.pop().await
    }

    /// As of [`DedicatedConsumer::event`], where there is one already.
    pub fn try_event(&self) -> Option<Event> {
        self.shared.events.try_pop().ok().flatten()
    }

    /// Events that were forgotten since nobody took them.
    pub fn forgotten_events(&self) -> usize {
        self.shared.forgotten.load(Relaxed)
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, ConsumerError> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer))?;
        answered.await.map_err(|_| ConsumerError::Closed)?
    }

    fn send(&self, command: Command) -> Result<(), ConsumerError> {
        self.commands.send(command).map_err(|_| ConsumerError::Closed)?;
        self.shared.bell.ring();
        Ok(())
    }

    /// Subscribes to these topics, and no others.
    ///
    /// # Errors
    /// Where librdkafka refuses the names, or the consumer is closed.
    pub async fn subscribe(&self, topics: &[&str]) -> Result<(), ConsumerError> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.ask(|answer| Command::Subscribe(topics, answer)).await
    }

    /// Commits what is settled, and waits for the broker's answer. It is done by itself every `commit_interval_ms`, before
    /// partitions go, and by [`DedicatedConsumer::close`].
    ///
    /// # Errors
    /// Where the broker refuses, or the consumer is closed.
    pub async fn commit(&self) -> Result<(), ConsumerError> {
        self.ask(Command::Commit).await
    }

    /// As of [`Member::pause`].
    ///
    /// # Errors
    /// Where one is not assigned, or the consumer is closed.
    pub async fn pause(&self, partitions: &[Partition]) -> Result<(), ConsumerError> {
        self.ask(|answer| Command::Pause(partitions.to_vec(), answer)).await
    }

    /// As of [`Member::resume`].
    ///
    /// # Errors
    /// Where one is not assigned, or the consumer is closed.
    pub async fn resume(&self, partitions: &[Partition]) -> Result<(), ConsumerError> {
        self.ask(|answer| Command::Resume(partitions.to_vec(), answer)).await
    }

    /// As of [`Member::seek`].
    ///
    /// # Errors
    /// Where it is not assigned, or the consumer is closed.
    pub async fn seek(&self, partition: &Partition, offset: i64) -> Result<(), ConsumerError> {
        self.ask(|answer| Command::Seek(partition.clone(), offset, answer)).await
    }

    /// The assigned partitions, each with the offset behind the last record that was handed out; `None` before the first.
    ///
    /// # Errors
    /// Where the consumer is closed.
    pub async fn positions(&self) -> Result<Vec<(Partition, Option<i64>)>, ConsumerError> {
        self.ask(Command::Positions).await
    }

    /// The assigned partitions, each with its end as the broker said it with the last records; asks no broker. `None` before
    /// the first.
    ///
    /// # Errors
    /// Where the consumer is closed.
    pub async fn ends(&self) -> Result<Vec<(Partition, Option<i64>)>, ConsumerError> {
        self.ask(Command::Ends).await
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.arrivals.queued.lock().is_closed
    }

    /// Comes back when something came to any lane since it was last waited for, or after so long.
    pub(crate) async fn arrival(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.shared.arrivals.pop()).await;
    }

    pub(crate) fn arrival_blocking(&self, limit: Duration) {
        let _ = self.shared.arrivals.pop_blocking(limit);
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// Leaves the group: nothing more is handed out; waits, as `patience_ms` says, for what is in hand to be settled; commits,
    /// and goes. Lanes end.
    pub async fn close(self) {
        let thread = self.begin_to_close();
        // Joining waits for the broker.
        let joined = tokio::task::spawn_blocking(move || thread.map(thread::JoinHandle::join)).await;
        if let Ok(Some(Err(_))) = joined {
            tracing::error!(target: "lyceum::consumer", "the consumer's thread panicked");
        }
    }

    /// As of [`DedicatedConsumer::close`], for who is no task.
    pub fn close_blocking(self) {
        if let Some(Err(_)) = self.begin_to_close().map(thread::JoinHandle::join) {
            tracing::error!(target: "lyceum::consumer", "the consumer's thread panicked");
        }
    }

    /// Has it leave; whoever has the thread waits for the end.
    fn begin_to_close(&self) -> Option<thread::JoinHandle<()>> {
        // Closed already: then it has gone.
        let _ = self.send(Command::Close);
        self.thread.lock().take()
    }
}

impl Drop for DedicatedConsumer {
    fn drop(&mut self) {
        let _ = self.begin_to_close();
    }
}

impl Lane {
    /// Which lane it is.
    pub fn number(&self) -> usize {
        self.number
    }

    fn channel(&self) -> &Channel<Batch> {
        &self.shared.lanes[self.number]
    }

    /// The next batch; `None` once the consumer is closed. May be dropped at any time: nothing is lost.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            let batch = self.channel().pop().await?;
            if batch.is_current() {
                return Some(batch);
            }
        }
    }

    /// The next batch, where it is there already.
    pub fn try_next(&mut self) -> Option<Batch> {
        loop {
            let batch = self.channel().try_pop().ok().flatten()?;
            if batch.is_current() {
                return Some(batch);
            }
        }
    }

    /// The next batch within so long.
    ///
    /// # Errors
    /// Once the consumer is closed.
    pub fn next_blocking(&mut self, limit: Duration) -> Result<Option<Batch>, ConsumerError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.channel().pop_blocking(left).map_err(|()| ConsumerError::Closed)? {
                Some(batch) if !batch.is_current() => {}
                found => return Ok(found),
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Nobody takes them any more: they are handed out again, to nobody, and settled by the partition's next owner.
        let mut queued = self.channel().queued.lock();
        let left = std::mem::take(&mut queued.items);
        drop(queued);
        drop(left);
    }
}

/// Which lane a partition is of: those of one topic go round.
fn lane_of(partition: &Partition, lanes: usize) -> usize {
    let topic = partition.topic.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    topic.wrapping_add(partition.number.unsigned_abs() as usize) % lanes
}

/// The thread.
fn run(mut member: Member, shared: &Shared, asked: &mpsc::Receiver<Command>) {
    let tell = |event: Event| {
        if let Event::Revoking { .. } | Event::Revoked(_) | Event::Lost(_) = &event {
            // What nobody has taken need not be waited for.
            shared.lanes.iter().for_each(purge);
        }
        if !shared.events.push(event, EVENTS) {
            shared.forgotten.fetch_add(1, Relaxed);
        }
    };
    loop {
        let found = member.try_next();
        let is_idle = found.is_none();
        match found {
            Some(Event::Batch(batch)) => {
                let lane = lane_of(batch.partition(), shared.lanes.len());
                shared.lanes[lane].push(batch, usize::MAX);
                shared.arrivals.push((), 1);
            }
            Some(event) => {
                tell(event);
                shared.arrivals.push((), 1);
            }
            None => {}
        }
        // After the look, which forgets the rings before it: a command that came during it is seen here, a later one rings.
        match asked.try_recv() {
            Ok(Command::Close) | Err(mpsc::TryRecvError::Disconnected) => break,
            Ok(command) => obey(&mut member, command),
            Err(mpsc::TryRecvError::Empty) if is_idle => shared.bell.wait(member.rest()),
            Err(mpsc::TryRecvError::Empty) => {}
        }
    }
    shared.lanes.iter().for_each(|lane| drop(std::mem::take(&mut lane.queued.lock().items)));
    member.close(tell);
    shared.lanes.iter().for_each(Channel::close);
    shared.events.close();
    shared.arrivals.close();
}

/// Drops what is of no partition of ours any more.
fn purge(lane: &Channel<Batch>) {
    let mut queued = lane.queued.lock();
    let (kept, gone): (VecDeque<Batch>, VecDeque<Batch>) =
        std::mem::take(&mut queued.items).into_iter().partition(Batch::is_current);
    queued.items = kept;
    drop(queued);
    drop(gone);
}

fn obey(member: &mut Member, command: Command) {
    match command {
        Command::Subscribe(topics, answer) => {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            let _ = answer.send(member.subscribe(&topics));
        }
        Command::Commit(answer) => member.commit_to(answer),
        Command::Pause(partitions, answer) => drop(answer.send(member.pause(&partitions))),
        Command::Resume(partitions, answer) => drop(answer.send(member.resume(&partitions))),
        Command::Seek(partition, offset, answer) => drop(answer.send(member.seek(&partition, offset))),
        Command::Positions(answer) => drop(answer.send(Ok(member.positions()))),
        Command::Ends(answer) => {
            let ends = member.assignment().into_iter().map(|partition| {
                let end = member.end_of(&partition);
                (partition, end)
            });
            let _ = answer.send(Ok(ends.collect()));
        }
        Command::Close => {}
    }
}
