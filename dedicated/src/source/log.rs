//! A source over the event log's own port: memberships of single topics, and fetches between them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select, select_all};
use lyceum_core::ports::event_log::{Change, EventLog, EventLogError, Membership};
use parking_lot::Mutex;

use super::{Brought, Source};
use crate::lanes::TopicPartition;

/// At most so many records and bytes a fetch.
const FETCH_RECORDS: usize = 1_000;
const FETCH_BYTES: usize = 4 << 20;
/// How long it waits for records before it looks again.
const IDLE: Duration = Duration::from_secs(5);

/// A member of a group, by the event log's port.
pub struct LogSource {
    log: Arc<dyn EventLog>,
    group: String,
    topics: Vec<Joined>,
    cursors: BTreeMap<TopicPartition, Cursor>,
    /// The partition that is asked first.
    turn: usize,
    /// A change that was told and not brought yet, with the place of its topic.
    pending: Option<(usize, Change)>,
    /// The partitions' ends when they were last looked at.
    looked: BTreeMap<TopicPartition, i64>,
}

struct Joined {
    name: Arc<str>,
    membership: Box<dyn Membership>,
}

struct Cursor {
    next: i64,
    is_paused: bool,
    /// Revoked, and not released yet.
    is_ending: bool,
}

impl LogSource {
    /// Joins the group for each of the topics. `patience` is how long a partition that is to go to another member waits for its release.
    ///
    /// # Errors
    /// Where the log refuses it.
    pub async fn join(
        log: Arc<dyn EventLog>,
        group: &str,
        topics: &[&str],
        patience: Duration,
    ) -> Result<Self, EventLogError> {
        let mut joined = Vec::with_capacity(topics.len());
        for topic in topics {
            let membership = log.join(group, topic, patience).await?;
            joined.push(Joined { name: (*topic).into(), membership });
        }
        let group = group.to_owned();
        let (cursors, looked) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { log, group, topics: joined, cursors, turn: 0, pending: None, looked })
    }

    async fn changed(&mut self, at: usize, change: Change) -> Result<Brought, EventLogError> {
        let topic = self.topics[at].name.clone();
        let named = |partitions: BTreeSet<i32>| -> BTreeSet<TopicPartition> {
            partitions.into_iter().map(|partition| TopicPartition::new(topic.clone(), partition)).collect()
        };
        Ok(match change {
            Change::Assigned(partitions) => {
                let committed = self.log.committed(&self.group, &topic).await?;
                let ranges = self.log.offsets(&topic).await?;
                let start = |partition: i32| {
                    let oldest = usize::try_from(partition).ok().and_then(|at| ranges.get(at)).map_or(0, |of| of.start);
                    committed.get(&partition).copied().unwrap_or(oldest)
                };
                let starts: Vec<(TopicPartition, i64)> =
                    named(partitions).into_iter().map(|of| (of.clone(), start(of.partition))).collect();
                for (of, next) in &starts {
                    self.cursors.insert(of.clone(), Cursor { next: *next, is_paused: false, is_ending: false });
                }
                Brought::Assigned(starts.into_iter().map(|(of, start)| (of, Some(start))).collect())
            }
            Change::Revoked(partitions) => {
                let partitions = named(partitions);
                for of in &partitions {
                    if let Some(cursor) = self.cursors.get_mut(of) {
                        cursor.is_ending = true;
                    }
                }
                Brought::Revoked(partitions)
            }
            Change::Lost(partitions) => {
                let partitions = named(partitions);
                self.cursors.retain(|of, _| !partitions.contains(of));
                Brought::Lost(partitions)
            }
        })
    }

    /// The next change, with the place of its topic; `None` where something else is there before.
    async fn told(&self, or: impl Future<Output = ()> + Send) -> Result<Option<(usize, Change)>, EventLogError> {
        let changes = select_all(self.topics.iter().map(|of| of.membership.change()));
        match select(changes, pin!(or)).await {
            Either::Left(((change, at, _), _)) => Ok(Some((at, change?))),
            Either::Right(_) => Ok(None),
        }
    }

    /// Comes back when there may be something to fetch. Waiting begins before looking, so that a record which comes in between is not
    /// overlooked.
    async fn more(&self, looked: &Mutex<BTreeMap<TopicPartition, i64>>) {
        let waiting = select_all(self.topics.iter().map(|of| self.log.wait_for_records(&of.name, IDLE)));
        let look = async {
            let mut has_more = false;
            for Joined { name, .. } in &self.topics {
                let Ok(ranges) = self.log.offsets(name).await else { continue };
                for (partition, range) in (0..).zip(ranges) {
                    let of = TopicPartition::new(name.clone(), partition);
                    let cursor = self.cursors.get(&of).filter(|cursor| !cursor.is_paused && !cursor.is_ending);
                    has_more |= cursor.is_some_and(|cursor| cursor.next != range.end);
                    looked.lock().insert(of, range.end);
                }
            }
            if !has_more {
                std::future::pending::<()>().await;
            }
        };
        select(waiting, pin!(look)).await;
    }

    /// Records of the next partition that has some.
    async fn fetch(&mut self) -> Result<Option<Brought>, EventLogError> {
        let open: Vec<TopicPartition> =
            self.cursors.iter().filter(|(_, of)| !of.is_paused && !of.is_ending).map(|(of, _)| of.clone()).collect();
        for step in 0..open.len() {
            let of = &open[(self.turn + step) % open.len()];
            let Some(next) = self.cursors.get(of).map(|cursor| cursor.next) else { continue };
            match self.log.fetch(&of.topic, of.partition, next, FETCH_RECORDS, FETCH_BYTES).await {
                Ok(records) => {
                    let Some(last) = records.last() else {
                        // No record is up to the end that was seen before: transactions' marks, compacted records.
                        if let Some((end, cursor)) = self.looked.remove(of).zip(self.cursors.get_mut(of)) {
                            cursor.next = cursor.next.max(end);
                        }
                        continue;
                    };
                    if let Some(cursor) = self.cursors.get_mut(of) {
                        cursor.next = last.position.offset + 1;
                    }
                    self.turn = self.turn.wrapping_add(step + 1);
                    return Ok(Some(Brought::Records(records)));
                }
                // Below the start, retention was faster; past the end, the topic was made anew. Nothing is lost by reading what there is.
                Err(EventLogError::OffsetOutOfRange { range, .. }) if range.start != next => {
                    tracing::error!(partition = %of, asked = next, start = range.start, "records were dropped before they were read");
                    if let Some(cursor) = self.cursors.get_mut(of) {
                        cursor.next = range.start;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Source for LogSource {
    async fn next(&mut self) -> Result<Brought, EventLogError> {
        loop {
            if let Some((at, change)) = self.pending.clone() {
                let brought = self.changed(at, change).await?;
                self.pending = None;
                return Ok(brought);
            }
            // A change goes before records, so that nothing is read of what is to go.
            if let Some(told) = self.told(std::future::ready(())).await? {
                self.pending = Some(told);
            } else if let Some(records) = self.fetch().await? {
                return Ok(records);
            } else {
                let looked = Mutex::new(BTreeMap::new());
                let told = self.told(self.more(&looked)).await?;
                self.pending = told;
                self.looked = looked.into_inner();
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        for of in partitions {
            if let Some(cursor) = self.cursors.get_mut(of) {
                cursor.is_paused = true;
            }
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        for of in partitions {
            if let Some(cursor) = self.cursors.get_mut(of) {
                cursor.is_paused = false;
            }
        }
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), EventLogError> {
        for Joined { name, membership } in &self.topics {
            let of_topic: Vec<(i32, i64)> = offsets
                .iter()
                .filter(|(of, _)| of.topic == *name)
                .map(|(of, offset)| (of.partition, *offset))
                .collect();
            if !of_topic.is_empty() {
                membership.commit(&of_topic).await?;
            }
        }
        Ok(())
    }

    fn release(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.cursors.retain(|of, _| !partitions.contains(of));
        for Joined { name, membership } in &self.topics {
            let of_topic: BTreeSet<i32> =
                partitions.iter().filter(|of| of.topic == *name).map(|of| of.partition).collect();
            if !of_topic.is_empty() {
                membership.release(&of_topic);
            }
        }
    }

    fn position(&self, of: &TopicPartition) -> Option<i64> {
        self.cursors.get(of).map(|cursor| cursor.next)
    }

    async fn leave(&mut self) {
        self.cursors.clear();
        for Joined { membership, .. } in &self.topics {
            membership.leave().await;
        }
    }
}
