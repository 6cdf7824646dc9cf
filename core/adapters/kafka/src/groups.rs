//! What groups have committed, read and set from outside of them.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;
use std::time::Duration;

use super::client::{Context, Served};

/// The most groups whose clients are kept.
const KEPT: usize = 8;

/// A client for each group: librdkafka asks for one group only.
pub(super) struct Groups {
    config: ClientConfig,
    context: Context,
    clients: Mutex<VecDeque<(String, Arc<Served>)>>,
}

impl Groups {
    pub(super) fn new(mut config: ClientConfig, context: Context) -> Self {
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        Self { config, context, clients: Mutex::default() }
    }

    /// All that has connections, for whoever closes them.
    pub(super) fn take_clients(&mut self) -> VecDeque<(String, Arc<Served>)> {
        mem::take(self.clients.get_mut())
    }

    /// The group's client, made where there is none: the one that was used longest ago goes.
    pub(super) fn client(&self, group: &str) -> KafkaResult<Arc<Served>> {
        let mut clients = self.clients.lock();
        let client = match clients.iter().position(|(name, _)| name == group) {
            Some(index) => clients.remove(index).map(|(_, client)| client),
            None => None,
        };
        let client = match client {
            Some(client) => client,
            None => {
                let mut config = self.config.clone();
                Arc::new(Served::start(config.set("group.id", group), self.context.clone())?)
            }
        };
        clients.push_back((group.to_owned(), Arc::clone(&client)));
        let old = if clients.len() > KEPT { clients.pop_front() } else { None };
        drop(clients);
        if let Some(old) = old {
            // Closing waits for the broker.
            tokio::task::spawn_blocking(move || drop(old));
        }
        Ok(client)
    }
}

/// What a group has committed.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: i32,
    limit: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions {
        asked.add_partition(topic, partition);
    }
    let mut offsets = BTreeMap::new();
    for found in consumer.committed_offsets(asked, limit)?.elements() {
        found.error()?;
        if let Offset::Offset(offset) = found.offset() {
            offsets.insert(found.partition(), offset);
        }
    }
    Ok(offsets)
}

/// Commits, and waits for the broker's word.
pub(super) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    offsets: &[(i32, i64)],
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    }
    consumer.commit(&list, CommitMode::Sync)
}

/// Whether the group says that whoever commits is none of its members (any more).
pub(super) fn is_not_a_member(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::StaleMemberEpoch
            | Code::AssignmentLost
    )
}
