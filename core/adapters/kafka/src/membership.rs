//! A member of a consumer group: librdkafka's rebalance callbacks in the port's words.
//!
//! The member fetches nothing: its partitions are paused at once, and their records are read through the log, so that a
//! batch may begin again where it is needed. The callback of a partition that is revoked blocks the member's own
//! thread until the partition is released or its patience is over; meanwhile librdkafka goes on with heartbeats, and
//! commits are still accepted. The cooperative protocol moves only those partitions that have to move.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::{Condvar, Mutex, RwLock};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, Statistics, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::{Context, Served};
use super::error::{code_of, of_code, translate};
use super::groups::{self, is_not_a_member};
use lyceum_core::ports::event_log::{Change, EventLogError, Membership};

/// A member that is silent for so long is gone. Brokers accept 6 seconds and more.
const SESSION: Duration = Duration::from_secs(10);

/// What the member's thread and its owner share.
struct State {
    own: Mutex<Own>,
    /// Notified when partitions were released.
    released: Condvar,
    /// Held by commits that are under way: a partition does not go before they have their answer.
    committing: RwLock<()>,
    changes: mpsc::UnboundedSender<Result<Change, EventLogError>>,
    patience: Duration,
    topic: String,
}

#[derive(Default)]
struct Own {
    partitions: BTreeSet<i32>,
    is_leaving: bool,
}

impl State {
    fn tell(&self, change: Result<Change, EventLogError>) {
        // An owner who has gone needs no news.
        let _ = self.changes.send(change);
    }

    fn take(&self, partitions: &BTreeSet<i32>) {
        self.own.lock().partitions.retain(|partition| !partitions.contains(partition));
    }

    /// Waits until the owner has released them; takes them where that lasts too long.
    fn revoke(&self, partitions: &BTreeSet<i32>, is_lost: bool) {
        if is_lost {
            self.take(partitions);
            self.tell(Ok(Change::Lost(partitions.clone())));
        } else if !self.own.lock().partitions.is_disjoint(partitions) {
            self.tell(Ok(Change::Revoked(partitions.clone())));
            let holds = |own: &mut Own| !own.is_leaving && !own.partitions.is_disjoint(partitions);
            let deadline = Instant::now() + self.patience;
            let left = deadline.saturating_duration_since(Instant::now());
            let mut own = self.own.lock();
            let limit = self.released.wait_while_for(&mut own, holds, left);
            if limit.timed_out() {
                let kept: BTreeSet<i32> = own.partitions.intersection(partitions).copied().collect();
                own.partitions.retain(|partition| !partitions.contains(partition));
                drop(own);
                self.tell(Ok(Change::Lost(kept)));
            } else {
                own.partitions.retain(|partition| !partitions.contains(partition));
            }
        }
        drop(self.committing.write());
    }
}

fn partitions_of(list: &TopicPartitionList) -> BTreeSet<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

/// librdkafka's side of a member.
struct MemberContext {
    client: Context,
    state: Arc<State>,
}

impl ClientContext for MemberContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.client.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(
            code @ (Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::InconsistentGroupProtocol
            | Code::InvalidSessionTimeout
            | Code::GroupMaxSizeReached
            | Code::UnknownTopicOrPartition
            | Code::Fatal),
        ) = code_of(&error)
        {
            self.state.tell(Err(of_code(code, &self.state.topic, &self.client.trouble)));
        }
        self.client.error(error.clone(), reason);
        // A member keeps the credentials that it joined with: whoever has it may join anew with others.
        if let Some(refusal) = self.client.refusal(&error) {
            self.state.tell(Err(refusal));
        }
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.client.generate_oauth_token(config)
    }
}

impl ConsumerContext for MemberContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let partitions = partitions_of(list);
            tracing::info!(target: "lyceum::kafka", topic = self.state.topic, ?partitions, "partitions are revoked");
            self.state.revoke(&partitions, consumer.assignment_lost());
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let partitions = partitions_of(list);
            // Their records are read through the log.
            if let Err(error) = consumer.pause(list) {
                tracing::debug!(target: "lyceum::kafka", topic = self.state.topic, "not paused: {error}");
            }
            if !partitions.is_empty() {
                tracing::info!(target: "lyceum::kafka", topic = self.state.topic, ?partitions, "partitions are assigned");
                self.state.own.lock().partitions.extend(&partitions);
                self.state.tell(Ok(Change::Assigned(partitions)));
            }
        }
    }
}

/// The port's membership on Kafka.
pub(super) struct KafkaMembership {
    served: Mutex<Option<Arc<Served<MemberContext>>>>,
    state: Arc<State>,
    changes: tokio::sync::Mutex<mpsc::UnboundedReceiver<Result<Change, EventLogError>>>,
    client: Context,
    group: String,
    limit: Duration,
}

impl KafkaMembership {
    pub(super) fn join(
        mut config: ClientConfig,
        client: Context,
        limit: Duration,
        group: &str,
        topic: &str,
        patience: Duration,
    ) -> KafkaResult<Self> {
        let interval = patience + SESSION + Duration::from_secs(30);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            // The others wait so long for a member that settles its work.
            .set("max.poll.interval.ms", interval.as_millis().min(86_400_000).to_string())
            // Partitions that are added are to be found soon.
            .set("topic.metadata.refresh.interval.ms", "5000");
        let (tell, changes) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            own: Mutex::default(),
            released: Condvar::new(),
            committing: RwLock::default(),
            changes: tell,
            patience,
            topic: topic.to_owned(),
        });
        let context = MemberContext { client: client.clone(), state: Arc::clone(&state) };
        let served = Served::start(&config, context)?;
        served.consumer().subscribe(&[topic])?;
        Ok(Self {
            served: Mutex::new(Some(Arc::new(served))),
            state,
            changes: tokio::sync::Mutex::new(changes),
            client,
            group: group.to_owned(),
            limit,
        })
    }

    fn served(&self) -> Option<Arc<Served<MemberContext>>> {
        self.served.lock().clone()
    }

    /// Takes the client away, with nothing left to wait for.
    fn close(&self) -> Option<Arc<Served<MemberContext>>> {
        let mut own = self.state.own.lock();
        own.is_leaving = true;
        own.partitions.clear();
        drop(own);
        self.state.released.notify_all();
        self.served.lock().take()
    }

    fn not_assigned(&self, partitions: impl IntoIterator<Item = i32>) -> EventLogError {
        EventLogError::NotAssigned {
            group: self.group.clone(),
            topic: self.state.topic.clone(),
            partitions: partitions.into_iter().collect(),
        }
    }
}

#[async_trait]
impl Membership for KafkaMembership {
    async fn change(&self) -> Result<Change, EventLogError> {
        match self.changes.lock().await.recv().await {
            Some(change) => change,
            // The state itself keeps a sender.
            None => std::future::pending().await,
        }
    }

    fn release(&self, partitions: &BTreeSet<i32>) {
        self.state.take(partitions);
        self.state.released.notify_all();
    }

    async fn commit(&self, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let all = || offsets.iter().map(|(partition, _)| *partition);
        let Some(served) = self.served() else { return Err(self.not_assigned(all())) };
        let (state, list) = (Arc::clone(&self.state), offsets.to_vec());
        let work = tokio::task::spawn_blocking(move || {
            let _committing = state.committing.read();
            let own = state.own.lock().partitions.clone();
            let foreign: Vec<i32> =
                list.iter().map(|(partition, _)| *partition).filter(|at| !own.contains(at)).collect();
            if !foreign.is_empty() {
                return Ok(Err(foreign));
            }
            groups::commit(served.consumer(), &state.topic, &list).map(Ok)
        });
        match timeout(self.limit, work).await {
            Ok(Ok(Ok(Ok(())))) => {
                self.client.trouble.clear();
                Ok(())
            }
            Ok(Ok(Ok(Err(foreign)))) => Err(self.not_assigned(foreign)),
            Ok(Ok(Err(error))) => Err(match code_of(&error) {
                // The group moves on; what this member still has it may commit once it has joined again.
                Some(Code::RebalanceInProgress) => {
                    EventLogError::Unavailable(format!("group {} is being rebalanced; try again", self.group))
                }
                Some(code) if is_not_a_member(code) => self.not_assigned(all()),
                _ => translate(&error, &self.state.topic, &self.client.trouble),
            }),
            Ok(Err(error)) => Err(EventLogError::Unavailable(format!("the commit was given up ({error}); try again"))),
            Err(_) => Err(of_code(Code::OperationTimedOut, &self.state.topic, &self.client.trouble)),
        }
    }

    async fn leave(&self) {
        if let Some(served) = self.close() {
            // A thread that panicked has left nothing to close.
            let _ = tokio::task::spawn_blocking(move || drop(served)).await;
        }
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        if let Some(served) = self.close() {
            // Leaving the group waits for the broker, which whoever drops this may not.
            let left = thread::Builder::new().name("kafka-leave".to_owned()).spawn(move || drop(served));
            if let Err(error) = left {
                tracing::debug!(target: "lyceum::kafka", "the group learns of the leave by its silence: {error}");
            }
        }
    }
}
