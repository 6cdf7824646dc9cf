//! How far the subscriptions of this process are, as the page, the API and the metrics ask for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::EventLog;
use lyceum_server::consumers::{ConsumerState, ConsumerStatus, ConsumerWork, Consumers, PartitionProgress};
use lyceum_server::questions::AskError;
use parking_lot::Mutex;

use crate::lanes::{Batch, Progress, TopicPartition};

/// How often the ends of topics are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A source that fails says so again within this time.
const QUIET: Duration = Duration::from_secs(10);

/// What one reader notes of itself.
#[derive(Debug, Default)]
pub struct Board(Mutex<Noted>);

#[derive(Clone, Debug, Default)]
struct Noted {
    /// With the offset from which on the source reads next.
    progress: BTreeMap<TopicPartition, (Progress, Option<i64>)>,
    /// By topic.
    work: BTreeMap<String, ConsumerWork>,
    last_error: Option<String>,
    /// Since when the log could not be read: milliseconds since 1970.
    silent_since_ms: Option<i64>,
    /// When that failed last.
    failed_ms: i64,
    has_failed: bool,
    /// Its group has told it something, or had time to.
    has_joined: bool,
    /// Since when its topics are reached.
    reached_since_ms: Option<i64>,
    is_stopped: bool,
}

impl Board {
    pub(crate) fn note(&self, progress: BTreeMap<TopicPartition, (Progress, Option<i64>)>) {
        self.0.lock().progress = progress;
    }

    pub(crate) fn began<T>(&self, batch: &Batch<T>) {
        let mut noted = self.0.lock();
        for (topic, records) in batch.topics() {
            let work = noted.work.entry(topic.to_owned()).or_default();
            work.batches += 1;
            work.records += records;
        }
    }

    pub(crate) fn ended<T>(&self, batch: &Batch<T>, failure: Option<String>) {
        let mut noted = self.0.lock();
        noted.has_failed = failure.is_some();
        if failure.is_some() {
            for topic in batch.topics().into_keys() {
                noted.work.entry(topic.to_owned()).or_default().failed_batches += 1;
            }
            noted.last_error = failure;
        }
    }

    pub(crate) fn reads(&self) {
        let mut noted = self.0.lock();
        noted.silent_since_ms = None;
        noted.has_joined = true;
    }

    pub(crate) fn fails(&self, why: String, now_ms: i64) {
        let mut noted = self.0.lock();
        if noted.silent_since_ms.is_none() {
            tracing::warn!("{why}");
            noted.silent_since_ms = Some(now_ms);
        }
        noted.failed_ms = now_ms;
        noted.last_error = Some(why);
    }

    /// Its topics could be asked for their ends: a source that said nothing for some time has nothing to bring.
    fn is_reached(&self, now_ms: i64) {
        let mut noted = self.0.lock();
        if now_ms.saturating_sub(noted.failed_ms) > QUIET.as_millis() as i64 {
            noted.silent_since_ms = None;
            // Where there are more members than partitions, a group has nothing to tell some of them.
            let since_ms = *noted.reached_since_ms.get_or_insert(now_ms);
            noted.has_joined |= now_ms.saturating_sub(since_ms) > QUIET.as_millis() as i64;
        }
    }

    pub(crate) fn stopped(&self) {
        let mut noted = self.0.lock();
        noted.is_stopped = true;
        noted.progress.clear();
    }

    /// Why the last batch failed, or the last call of the log.
    pub fn last_error(&self) -> Option<String> {
        self.0.lock().last_error.clone()
    }
}

/// A reader, as it is called outside.
#[derive(Clone)]
pub struct Shown {
    /// The subscription.
    pub function: &'static str,
    /// Whether it owns its topics, and has their names.
    pub is_owner: bool,
    /// Its consumer group.
    pub group: String,
    /// The topics that it reads.
    pub topics: Vec<Arc<str>>,
    /// What it notes.
    pub board: Arc<Board>,
}

/// The readers of the process.
pub struct Status {
    shown: Vec<Shown>,
    clock: Arc<dyn Clock>,
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    ends: BTreeMap<TopicPartition, i64>,
    /// Of each group, where partitions begin of which nothing has come yet.
    starts: BTreeMap<(String, TopicPartition), i64>,
    /// Since when a reader's partition has had records of which none was in hand: milliseconds since 1970.
    behind_since_ms: BTreeMap<(&'static str, TopicPartition), i64>,
}

impl Status {
    /// Of these readers.
    pub fn new(shown: Vec<Shown>, clock: Arc<dyn Clock>) -> Self {
        Self { shown, clock, looked: Mutex::default() }
    }

    /// Looks at the ends of topics again and again.
    pub async fn look_for_ever(&self, log: &dyn EventLog) {
        loop {
            self.look(log).await;
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks at the ends of topics.
    pub async fn look(&self, log: &dyn EventLog) {
        for of in &self.shown {
            self.look_for_starts(of, log).await;
        }
        let mut topics: Vec<&Arc<str>> = self.shown.iter().flat_map(|of| &of.topics).collect();
        topics.sort();
        topics.dedup();
        let mut unreached = Vec::new();
        for topic in topics {
            match log.offsets(topic).await {
                Ok(ranges) => {
                    let ends = (0..)
                        .zip(ranges)
                        .map(|(partition, range)| (TopicPartition { topic: topic.clone(), partition }, range.end));
                    self.looked.lock().ends.extend(ends);
                }
                Err(error) => {
                    tracing::debug!(topic = &**topic, %error, "the topic's end is not known");
                    unreached.push(topic);
                }
            }
        }
        for of in self.shown.iter().filter(|of| !of.topics.iter().any(|topic| unreached.contains(&topic))) {
            of.board.is_reached(self.clock.now_ms());
        }
        self.note_what_is_behind();
    }

    /// Of a partition of which no record has come yet only the group knows how far it is.
    async fn look_for_starts(&self, of: &Shown, log: &dyn EventLog) {
        let mut unknown: Vec<TopicPartition> = {
            let (noted, mut looked) = (of.board.0.lock(), self.looked.lock());
            // Assigned again, it may begin elsewhere.
            let is_waiting = |name: &TopicPartition| noted.progress.get(name).is_some_and(|(of, _)| of.mark.is_none());
            looked.starts.retain(|(group, name), _| *group != of.group || is_waiting(name));
            let is_unknown = |name: &TopicPartition| !looked.starts.contains_key(&(of.group.clone(), name.clone()));
            let without_mark = noted.progress.iter().filter(|(_, (progress, _))| progress.mark.is_none());
            without_mark.map(|(name, _)| name.clone()).filter(is_unknown).collect()
        };
        while let Some(first) = unknown.pop() {
            let topic = first.topic.clone();
            let Ok(committed) = log.committed(&of.group, &topic).await else { return };
            let Ok(ranges) = log.offsets(&topic).await else { return };
            for (partition, range) in (0..).zip(ranges) {
                let start = committed.get(&partition).copied().unwrap_or(range.start);
                let name = TopicPartition { topic: topic.clone(), partition };
                self.looked.lock().starts.insert((of.group.clone(), name), start);
            }
            unknown.retain(|other| other.topic != topic);
        }
    }

    fn note_what_is_behind(&self) {
        let now_ms = self.clock.now_ms();
        let mut looked = self.looked.lock();
        let mut behind = BTreeMap::new();
        for of in &self.shown {
            for (partition, (progress, position)) in &of.board.0.lock().progress {
                let end = looked.ends.get(partition).copied();
                let position = position.or_else(|| looked.start(of, partition));
                if progress.oldest_ms.is_none() && lag(progress, position, end) > 0 {
                    let key = (of.function, partition.clone());
                    let since_ms = looked.behind_since_ms.get(&key).copied().unwrap_or(now_ms);
                    behind.insert(key, since_ms);
                }
            }
        }
        looked.behind_since_ms = behind;
    }

    fn of_topic(&self, of: &Shown, topic: &Arc<str>) -> ConsumerStatus {
        let (now_ms, noted, looked) = (self.clock.now_ms(), of.board.0.lock().clone(), self.looked.lock());
        let since = |since_ms: i64| u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0);
        let mut partitions = Vec::new();
        let mut is_held_back = false;
        for (name, (progress, position)) in noted.progress.iter().filter(|(name, _)| name.topic == *topic) {
            let end = looked.ends.get(name).copied();
            let lag = lag(progress, position.or_else(|| looked.start(of, name)), end);
            is_held_back |= progress.is_held_back;
            let oldest = progress.oldest_ms.filter(|oldest| *oldest >= 0).map(since);
            let unread = looked.behind_since_ms.get(&(of.function, name.clone())).copied().map(since);
            partitions.push(PartitionProgress {
                partition: name.partition,
                committed: progress.mark,
                end: end.into_iter().chain(progress.next).max().unwrap_or_default(),
                lag,
                lag_ms: if lag > 0 { oldest.or(unread).unwrap_or(0) } else { 0 },
            });
        }
        ConsumerStatus {
            name: if of.is_owner { topic.to_string() } else { format!("{}/{topic}", of.function) },
            topic: topic.to_string(),
            group: of.group.clone(),
            function: of.function.to_owned(),
            state: match () {
                () if noted.is_stopped || !noted.has_joined => ConsumerState::Stopped,
                () if is_held_back || noted.has_failed || noted.silent_since_ms.is_some() => ConsumerState::BackingOff,
                () => ConsumerState::Running,
            },
            silent_ms: noted.silent_since_ms.map(since).unwrap_or(0),
            partitions,
            work: Some(ConsumerWork {
                last_error: noted.last_error,
                ..noted.work.get(&**topic).cloned().unwrap_or_default()
            }),
        }
    }
}

impl Looked {
    fn start(&self, of: &Shown, partition: &TopicPartition) -> Option<i64> {
        self.starts.get(&(of.group.clone(), partition.clone())).copied()
    }
}

/// Records that are not settled. Where none is in hand, what the source has passed over is no record.
fn lag(progress: &Progress, position: Option<i64>, end: Option<i64>) -> i64 {
    let end = end.into_iter().chain(progress.next).max();
    let from = match progress.oldest_ms {
        Some(_) => progress.mark,
        None => progress.mark.into_iter().chain(position).max(),
    };
    end.zip(from).map_or(0, |(end, from)| (end - from).max(0))
}

#[async_trait]
impl Consumers for Status {
    async fn status(&self) -> Result<Vec<ConsumerStatus>, AskError> {
        let of_reader = |of| self.topics_of(of);
        let mut consumers: Vec<ConsumerStatus> = self.shown.iter().flat_map(of_reader).collect();
        consumers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(consumers)
    }
}

impl Status {
    fn topics_of<'a>(&'a self, of: &'a Shown) -> impl Iterator<Item = ConsumerStatus> + 'a {
        of.topics.iter().map(|topic| self.of_topic(of, topic))
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::ports::event_log::{Administer, Follow, Publish, Retention, TopicSpec};
    use lyceum_core::record::NewRecord;
    use lyceum_testing::clock::ManualClock;
    use lyceum_testing::memory::event_log::MemoryEventLog;

    use super::*;

    #[tokio::test]
    async fn a_partition_of_which_nothing_has_come_is_behind_by_what_its_group_has_not_committed() {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let log = MemoryEventLog::with_clock(clock.clone());
        log.create_topic(TopicSpec { name: "t".into(), partitions: 2, retention: Retention::default() }).await.unwrap();
        for partition in 0..2 {
            let record = NewRecord { partition: Some(partition), value: Some("x".into()), ..NewRecord::default() };
            log.produce("t", vec![record; 10]).await.unwrap();
        }
        log.commit("g", "t", &[(0, 4)]).await.unwrap();
        let board = Arc::<Board>::default();
        let shown =
            Shown { function: "f", is_owner: true, group: "g".into(), topics: vec!["t".into()], board: board.clone() };
        let status = Status::new(vec![shown], clock.clone());
        let none = Progress { mark: None, next: None, oldest_ms: None, is_held_back: false };
        board.note((0..2).map(|partition| (TopicPartition::new("t", partition), (none, None))).collect());
        status.look(&log).await;
        clock.advance(7_000);
        let told = status.status().await.unwrap().remove(0);
        assert_eq!(told.partitions.iter().map(|of| of.lag).collect::<Vec<_>>(), [6, 10]);
        assert_eq!(told.waited(), Duration::from_secs(7), "as long as it is seen to be behind");
    }
}
