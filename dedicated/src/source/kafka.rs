//! A source over `lyceum-consumer`: batch reads of librdkafka, whose bytes are shared with the records and not copied.
//!
//! The member commits what its receipts say is settled. A receipt is kept here until the reader's low watermark is past it, or its partition is
//! released: then the member hands the partition over, after a last commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use lyceum_consumer::rdkafka::client::OAuthToken;
use lyceum_consumer::{
    Assignor, Batch, ConsumerError, ConsumerTier, Event, FastConsumerConfig, Member, Partition, Receipt, Tokens,
};
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::record::{Header, NO_TIMESTAMP, Position, Record};
use lyceum_kafka::elsewhere;
use lyceum_kafka::settings::{KafkaSettings, Sasl};

use super::{Brought, PATIENCE, Source};
use crate::lanes::{Limits, TopicPartition};

/// How often the member commits what is settled.
const COMMIT_INTERVAL_MS: u64 = 200;
/// Records that a batch call takes at most.
const BATCH_RECORDS: usize = 1_024;
/// The member's own bounds are nets: the reader takes no more long before, and pauses what stands still.
const NET: usize = 4;
const NET_RECORDS: usize = 1_000_000;

/// What a member is told.
pub struct Joining<'a> {
    /// Where Kafka is.
    pub settings: &'a KafkaSettings,
    /// The group.
    pub group: &'a str,
    /// What it reads.
    pub topics: &'a [&'a str],
    /// For the member's bounds.
    pub limits: &'a Limits,
    /// How partitions are shared.
    pub assignor: Assignor,
}

/// A member of a group at Kafka.
pub struct KafkaSource {
    config: FastConsumerConfig,
    /// `None` once it has left, or librdkafka has given it up.
    member: Option<Member>,
    has_left: bool,
    /// What was brought and is not settled.
    kept: BTreeMap<TopicPartition, VecDeque<Kept>>,
    /// Those that the reader was told are its own, and has not released.
    assigned: BTreeSet<TopicPartition>,
    /// Those of them that it was told to release.
    revoking: BTreeSet<TopicPartition>,
}

struct Kept {
    offsets: Vec<i64>,
    receipt: Receipt,
}

struct TokensOf(KafkaSettings);

impl Tokens for TokensOf {
    fn token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        elsewhere::token(&self.0)
    }
}

/// Properties that the consumer's configuration has names for.
const NAMED: [&str; 2] = ["bootstrap.servers", "client.id"];

impl KafkaSource {
    /// Joins the group. That no broker answers is no error: one may come.
    ///
    /// # Errors
    /// Where librdkafka refuses the settings.
    pub fn join(joining: &Joining<'_>) -> Result<Self, EventLogError> {
        let Joining { settings, group, topics, limits, assignor } = *joining;
        let mut config = FastConsumerConfig::new(&settings.bootstrap_servers, group);
        config.performance_tier = Some(ConsumerTier::Dedicated);
        config.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        config.client_id.clone_from(&settings.client_id);
        config.assignor = assignor;
        config.batch_size = Some(BATCH_RECORDS);
        config.max_in_hand_records = Some(NET_RECORDS);
        config.max_in_hand_bytes = Some(limits.in_hand_bytes.saturating_mul(NET));
        config.commit_interval_ms = COMMIT_INTERVAL_MS;
        // The reader's own patience is over before.
        config.patience_ms = PATIENCE.as_millis() as u64 + 1_000;
        let properties = elsewhere::properties(settings)?.into_iter();
        config.properties = properties.filter(|(name, _)| !NAMED.contains(&name.as_str())).collect();
        if matches!(settings.sasl, Some(Sasl::AwsIam { .. })) {
            config.tokens = Some(Arc::new(TokensOf(settings.clone())));
        }
        let member = Some(Member::open(&config).map_err(refused)?);
        Ok(Self {
            config,
            member,
            has_left: false,
            kept: BTreeMap::new(),
            assigned: BTreeSet::new(),
            revoking: BTreeSet::new(),
        })
    }

    fn records(&mut self, batch: Batch) -> Vec<Record> {
        let (records, receipt) = batch.into_parts();
        let of = named(records.partition());
        let shared = records.into_shared();
        let all = shared.records();
        let mut offsets = Vec::with_capacity(all.len());
        let mut brought = Vec::with_capacity(all.len());
        for (index, record) in all.iter().enumerate() {
            offsets.push(record.offset());
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            let headers = record
                .headers()
                .map(|(name, value)| Header { name: text(name), value: value.map(|value| value.to_vec().into()) });
            brought.push(Record {
                position: Position { topic: of.topic.clone(), partition: of.partition, offset: record.offset() },
                timestamp_ms: record.timestamp_ms().unwrap_or(NO_TIMESTAMP),
                key: shared.key(index),
                value: shared.payload(index),
                headers: headers.collect(),
            });
        }
        self.kept.entry(of).or_default().push_back(Kept { offsets, receipt });
        brought
    }

    fn lose(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.kept.retain(|of, _| !partitions.contains(of));
        self.assigned.retain(|of| !partitions.contains(of));
        self.revoking.retain(|of| !partitions.contains(of));
    }

    /// What the reader is told of an event; `None` where it is nothing to it.
    fn told(&mut self, event: Event) -> Result<Option<Brought>, EventLogError> {
        Ok(match event {
            Event::Batch(batch) => Some(Brought::Records(self.records(batch))),
            Event::Assigned(partitions) => {
                let partitions: Vec<_> = partitions.iter().map(named).collect();
                self.assigned.extend(partitions.iter().cloned());
                Some(Brought::Assigned(partitions.into_iter().map(|of| (of, None)).collect()))
            }
            Event::Revoking { partitions, .. } => {
                let partitions: BTreeSet<_> = partitions.iter().map(named).collect();
                self.revoking.extend(partitions.iter().cloned());
                Some(Brought::Revoked(partitions))
            }
            Event::Revoked(partitions) => {
                let gone: BTreeSet<_> = partitions.iter().map(named).filter(|of| self.assigned.contains(of)).collect();
                if gone.is_empty() {
                    return Ok(None);
                }
                // Either its release came too late, or nothing of it was in hand here.
                let was_told = gone.iter().any(|of| self.revoking.contains(of));
                self.lose(&gone);
                Some(if was_told { Brought::Lost(gone) } else { Brought::Revoked(gone) })
            }
            Event::Lost(partitions) => {
                let partitions: BTreeSet<_> = partitions.iter().map(named).collect();
                self.lose(&partitions);
                Some(Brought::Lost(partitions))
            }
            Event::RecordError { partition, offset, code } => {
                let why = format!("an error in place of the record at {partition}/{offset}: {code}");
                return Err(EventLogError::Unavailable(why));
            }
            Event::Trouble { code, reason } => return Err(EventLogError::Unavailable(format!("{code}: {reason}"))),
            Event::CommitFailed(code) => {
                return Err(EventLogError::Unavailable(format!("the commit failed ({code}); it is tried again")));
            }
            Event::Fatal { code, reason } => {
                tracing::error!(%code, reason, "librdkafka has given the member up: another one joins in its place");
                self.member = None;
                let all = self.assigned.clone();
                self.lose(&all);
                Some(Brought::Lost(all))
            }
            _ => None,
        })
    }
}

fn named(of: &Partition) -> TopicPartition {
    TopicPartition { topic: of.topic.clone(), partition: of.number }
}

fn partition(of: &TopicPartition) -> Partition {
    Partition::new(of.topic.clone(), of.partition)
}

fn refused(error: ConsumerError) -> EventLogError {
    EventLogError::Refused(error.to_string())
}

#[async_trait]
impl Source for KafkaSource {
    async fn next(&mut self) -> Result<Brought, EventLogError> {
        loop {
            if self.has_left {
                return std::future::pending().await;
            }
            if self.member.is_none() {
                self.member = Some(Member::open(&self.config).map_err(refused)?);
            }
            let Some(member) = &mut self.member else { continue };
            let event = member.next().await;
            if let Some(brought) = self.told(event)? {
                return Ok(brought);
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let partitions: Vec<Partition> = partitions.iter().map(partition).collect();
        let paused = self.member.as_mut().map(|member| member.pause(&partitions));
        // One that was taken away meanwhile brings nothing.
        if let Some(Err(error)) = paused {
            tracing::debug!(%error, "partitions are not paused");
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        for of in partitions {
            let resumed = self.member.as_mut().map(|member| member.resume(&[partition(of)]));
            if let Some(Err(error)) = resumed {
                tracing::debug!(partition = %of, %error, "the partition is not resumed");
            }
        }
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), EventLogError> {
        for (of, next) in offsets {
            let Some(kept) = self.kept.get_mut(of) else { continue };
            while let Some(Kept { offsets, receipt }) = kept.front_mut() {
                let settled = offsets.partition_point(|offset| offset < next);
                receipt.settle_to(settled);
                if settled < offsets.len() {
                    break;
                }
                kept.pop_front();
            }
        }
        Ok(())
    }

    fn release(&mut self, partitions: &BTreeSet<TopicPartition>) {
        // What of them is not settled is given back, which the member waits for.
        self.lose(partitions);
    }

    fn position(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    async fn leave(&mut self) {
        self.has_left = true;
        self.kept.clear();
        let Some(member) = self.member.take() else { return };
        // It waits for the broker.
        let left = tokio::task::spawn_blocking(move || member.close(|_| ()));
        if let Err(error) = left.await {
            tracing::error!(%error, "leaving the group failed: it takes the member for dead after its session");
        }
    }
}
