//! How a mapping runs: it joins the consumer group, and keeps a poller on the partitions that it is assigned.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{self, Either};
use lyceum_core::ports::event_log::{Change, EventLogError, Membership, OffsetRange};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::assignment::Assignment;
use crate::config::{MappingConfig, StartingPosition};
use crate::mapping::EventSourceMapping;
use crate::status::{Part, Phase};

/// How often the topic's ends, and what other members of the group have committed, are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What a partition that is to go to another member is waited for beyond the grace that an invocation has.
const RELEASE_SLACK: Duration = Duration::from_secs(5);

impl EventSourceMapping {
    /// Runs until `shutdown` comes: then the invocations in flight may end within the configured grace and what they
    /// settled is committed; nothing unsettled ever is. Dropped, it stops at once, and loses nothing either.
    ///
    /// It may run again afterwards. While it runs, a second call says so in the log and returns.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        if self.running.swap(true, Ordering::AcqRel) {
            tracing::error!(mapping = self.config.name, "the event source mapping runs already");
            return;
        }
        let _running = Running(&self);
        self.notes.lock().phase = Phase::Starting;
        let (stop, stopping) = watch::channel(false);
        let mut pollers = JoinSet::new();
        let membership = Mutex::new(None);
        {
            let supervision = pin!(self.supervise(&membership, &mut pollers, &stopping));
            future::select(pin!(shutdown), supervision).await;
        }
        stop.send_replace(true);
        let has_ended = {
            let end = pin!(async { while pollers.join_next().await.is_some() {} });
            let grace = self.clock.sleep(self.config.shutdown_grace);
            matches!(future::select(end, grace).await, Either::Left(_))
        };
        if !has_ended {
            tracing::warn!(mapping = self.config.name, "an invocation outlasted the stop; its batch is redelivered");
        }
        pollers.shutdown().await;
        let membership = membership.into_inner();
        if let Some(membership) = membership {
            self.leave(&*membership).await;
        }
    }

    async fn leave(&self, membership: &dyn Membership) {
        let grace = self.clock.sleep(self.config.shutdown_grace.max(RELEASE_SLACK));
        // A log that is unavailable notices by this member's silence that it left.
        future::select(membership.leave(), grace).await;
    }

    /// Joins the group and follows what it assigns; joins anew where the credentials that it joined with are refused, since
    /// the log may have others by then. Never comes back.
    async fn supervise(
        self: &Arc<Self>,
        joined: &Mutex<Option<Arc<dyn Membership>>>,
        pollers: &mut JoinSet<()>,
        stopping: &watch::Receiver<bool>,
    ) {
        let MappingConfig { topic, group, shutdown_grace, .. } = &self.config;
        let mut failures = 0;
        loop {
            let joining = async {
                self.begin().await?;
                self.log.join(group, topic, *shutdown_grace + RELEASE_SLACK).await
            };
            match joining.await {
                Ok(membership) => {
                    let membership: Arc<dyn Membership> = Arc::from(membership);
                    *joined.lock() = Some(membership.clone());
                    let (refusal, was_assigned) = self.follow(&membership, pollers, stopping).await;
                    joined.lock().take();
                    self.leave(&*membership).await;
                    failures = if was_assigned { 1 } else { failures + 1 };
                    self.note_failure(Part::Supervisor, &format!("{refusal}; joining {group} again"));
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure(Part::Supervisor, &error.to_string());
                }
            }
            self.clock.sleep(self.config.backoff.delay(failures, self.clock.jitter())).await;
        }
    }

    /// Commits where a group that has committed nothing yet begins, for every partition: a group that starts at `Latest`
    /// would otherwise skip, after a crash, what came in between; and its members, each with a part of the topic, agree
    /// which partitions were there at the beginning.
    async fn begin(&self) -> Result<(), EventLogError> {
        let MappingConfig { topic, group, .. } = &self.config;
        let ranges = self.log.offsets(topic).await?;
        if !self.log.committed(group, topic).await?.is_empty() {
            return Ok(());
        }
        let mut chosen = Vec::new();
        for (partition, range) in (0..).zip(&ranges) {
            let offset = match self.config.starting_position {
                StartingPosition::TrimHorizon => range.start,
                StartingPosition::Latest => range.end,
                StartingPosition::AtTimestamp(time) => {
                    self.log.offset_at(topic, partition, time).await?.unwrap_or(range.end)
                }
            };
            chosen.push((partition, offset));
        }
        match self.log.commit(group, topic, &chosen).await {
            // The group has members by now: one of them has said where it begins.
            Err(EventLogError::NotAssigned { .. }) => Ok(()),
            answer => answer,
        }
    }

    /// Keeps a poller on every partition that is assigned, until the credentials are refused that it joined with: then what
    /// is under way ends or is redelivered. Comes back with the refusal, and whether it ever had a partition.
    async fn follow(
        self: &Arc<Self>,
        membership: &Arc<dyn Membership>,
        pollers: &mut JoinSet<()>,
        stopping: &watch::Receiver<bool>,
    ) -> (EventLogError, bool) {
        let mut assignment = Assignment::new(self.clone(), membership.clone(), stopping.clone());
        let mut was_assigned = false;
        // Assigned, but not yet with a poller; to be released, once no poller works on them.
        let (mut waiting, mut leaving) = (BTreeSet::new(), BTreeSet::new());
        let mut failures = 0;
        loop {
            let found = async {
                if !waiting.is_empty() {
                    let starts = self.find_starts(membership, &waiting).await?;
                    self.note_committed(starts.iter().map(|(&partition, &offset)| (partition, offset)));
                    assignment.assign(starts, pollers);
                    waiting.clear();
                    was_assigned = true;
                }
                self.look().await
            };
            let pause = match found.await {
                Ok(()) => {
                    failures = 0;
                    self.note_success(Part::Supervisor);
                    self.notes.lock().phase = Phase::Running;
                    LOOK_INTERVAL
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure(Part::Supervisor, &error.to_string());
                    self.config.backoff.delay(failures, self.clock.jitter())
                }
            };
            let mut pause = self.clock.sleep(pause);
            loop {
                let free: BTreeSet<i32> = leaving.difference(&assignment.held()).copied().collect();
                if !free.is_empty() {
                    leaving.retain(|partition| !free.contains(partition));
                    self.notes.lock().forget(&free);
                    membership.release(&free);
                }
                let change = {
                    let held_changed = pin!(assignment.held_changed());
                    match future::select(future::select(membership.change(), held_changed), &mut pause).await {
                        Either::Left((Either::Left((change, _)), _)) => change,
                        Either::Left((Either::Right(_), _)) => continue,
                        Either::Right(_) => break,
                    }
                };
                match change {
                    Ok(Change::Assigned(partitions)) => {
                        waiting.extend(partitions);
                        break;
                    }
                    Ok(Change::Revoked(partitions)) => {
                        tracing::info!(mapping = self.config.name, ?partitions, "partitions go to another member");
                        waiting.retain(|partition| !partitions.contains(partition));
                        assignment.withdraw(&partitions);
                        leaving.extend(partitions);
                    }
                    Ok(Change::Lost(partitions)) => {
                        tracing::warn!(
                            mapping = self.config.name,
                            ?partitions,
                            "partitions were lost to another member"
                        );
                        waiting.retain(|partition| !partitions.contains(partition));
                        leaving.retain(|partition| !partitions.contains(partition));
                        assignment.withdraw(&partitions);
                        self.notes.lock().forget(&partitions);
                    }
                    Err(refusal @ EventLogError::Unauthorized(_)) => {
                        assignment.withdraw_all();
                        // An invocation in flight ends, and what it settled is committed where the broker still takes it.
                        let ended = pin!(assignment.until_released());
                        future::select(ended, self.clock.sleep(self.config.shutdown_grace)).await;
                        self.notes.lock().partitions.clear();
                        return (refusal, was_assigned);
                    }
                    Err(error) => self.note_failure(Part::Supervisor, &error.to_string()),
                }
            }
        }
    }

    /// Where each of these partitions goes on. One without a committed offset is new, and read from its start, wherever
    /// the group began: its records would otherwise be lost.
    async fn find_starts(
        &self,
        membership: &Arc<dyn Membership>,
        partitions: &BTreeSet<i32>,
    ) -> Result<BTreeMap<i32, i64>, EventLogError> {
        let MappingConfig { topic, group, .. } = &self.config;
        let committed = self.log.committed(group, topic).await?;
        let mut starts: BTreeMap<i32, i64> =
            partitions.iter().filter_map(|partition| Some((*partition, *committed.get(partition)?))).collect();
        if starts.len() < partitions.len() {
            let ranges: BTreeMap<i32, OffsetRange> = (0..).zip(self.log.offsets(topic).await?).collect();
            let new = partitions.iter().filter(|partition| !starts.contains_key(partition));
            let new = new.filter_map(|partition| Some((*partition, ranges.get(partition)?.start)));
            let chosen: Vec<(i32, i64)> = new.collect();
            membership.commit(&chosen).await?;
            starts.extend(chosen);
        }
        Ok(starts)
    }

    /// Notes how far the topic reaches and how far other members of the group have come.
    async fn look(&self) -> Result<(), EventLogError> {
        let MappingConfig { topic, group, .. } = &self.config;
        let ranges: BTreeMap<i32, OffsetRange> = (0..).zip(self.log.offsets(topic).await?).collect();
        self.note_ends(&ranges);
        if ranges.keys().any(|partition| !self.notes.lock().partitions.contains_key(partition)) {
            let committed = self.log.committed(group, topic).await?;
            self.notes.lock().elsewhere = committed;
            self.progress.send_replace(());
        }
        Ok(())
    }
}

/// Tells, however a run ends, that it has ended.
struct Running<'a>(&'a EventSourceMapping);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut notes = self.0.notes.lock();
        notes.phase = Phase::Stopped;
        notes.failing.clear();
        for status in notes.partitions.values_mut() {
            (status.in_flight, status.attempts) = (0, 0);
        }
        drop(notes);
        self.0.running.store(false, Ordering::Release);
    }
}
