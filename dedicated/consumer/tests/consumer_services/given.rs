//! What the tests are given: topics with numbered records, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lyceum_consumer::rdkafka::ClientConfig;
use lyceum_consumer::rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use lyceum_consumer::rdkafka::client::DefaultClientContext;
use lyceum_consumer::rdkafka::consumer::{BaseConsumer, Consumer as _};
use lyceum_consumer::rdkafka::producer::DefaultProducerContext;
use lyceum_consumer::rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use lyceum_consumer::rdkafka::{Offset, TopicPartitionList};
use lyceum_consumer::{
    Assignor, Batch, Consumer, ConsumerError, ConsumerTier, FastConsumerConfig, KafkaStreamConsumer, Raw,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

/// A test by its name, given the brokers.
pub(crate) type Test = (&'static str, fn(&str));

/// Whatever a test waits for comes within this, on a busy machine, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

pub(crate) fn name(of: &str) -> String {
    format!("{of}.{}", Uuid::new_v4().simple())
}

/// A topic of its own.
pub(crate) async fn topic(brokers: &str, partitions: i32) -> String {
    let name = name("consumer");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    admin.create_topics([&topic], &options).await.unwrap()[0].as_ref().unwrap();
    name
}

pub(crate) fn producer(brokers: &str) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .unwrap()
}

/// Writes records to each partition, of which each has its number as its value: the offset that it gets.
pub(crate) fn fill(brokers: &str, topic: &str, partitions: i32, numbers: std::ops::Range<i64>) {
    let producer = producer(brokers);
    for number in numbers {
        for partition in 0..partitions {
            let (key, value) = (format!("key-{}", number % 10), number.to_string());
            let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
}

pub(crate) fn config(brokers: &str, topic: &str, group: &str, tier: ConsumerTier) -> FastConsumerConfig {
    FastConsumerConfig::builder(brokers, group)
        .tier(tier)
        .topics([topic])
        .with(|config| {
            config.commit_interval_ms = 200;
            config.session_timeout_ms = 6_000;
        })
        .build()
        .unwrap()
}

pub(crate) const TIERS: [ConsumerTier; 4] =
    [ConsumerTier::Stream, ConsumerTier::Standard, ConsumerTier::Buffered { batch_size: 128 }, ConsumerTier::Dedicated];

pub(crate) const ASSIGNORS: [Assignor; 3] = [Assignor::Eager, Assignor::Cooperative, Assignor::Consumer];

/// Offsets that were acknowledged, by partition, in the order in which they were.
#[derive(Clone, Default)]
pub(crate) struct Acknowledged(Arc<Mutex<BTreeMap<i32, Vec<i64>>>>);

impl Acknowledged {
    /// Settles a batch; its offsets count where the settling was acknowledged. Both at once, so that the order is that of
    /// the acknowledgements.
    pub(crate) fn settle(&self, batch: Batch) -> bool {
        let partition = batch.partition().number;
        let offsets: Vec<i64> = batch.records().iter().map(|record| record.offset()).collect();
        let mut of = self.0.lock();
        let is_acknowledged = batch.settle_all();
        if is_acknowledged {
            of.entry(partition).or_default().extend(offsets);
        }
        is_acknowledged
    }

    pub(crate) fn settle_one(&self, partition: i32, offset: i64, settle: impl FnOnce() -> bool) -> bool {
        let mut of = self.0.lock();
        let is_acknowledged = settle();
        if is_acknowledged {
            of.entry(partition).or_default().push(offset);
        }
        is_acknowledged
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().values().map(Vec::len).sum()
    }

    pub(crate) fn of(&self, partition: i32) -> Vec<i64> {
        self.0.lock().get(&partition).cloned().unwrap_or_default()
    }

    /// Each partition has every number once, in order.
    pub(crate) fn assert_each_once_in_order(&self, partitions: i32, count: i64) {
        for partition in 0..partitions {
            let of = self.of(partition);
            let wrong = of.iter().zip(0..).find(|(offset, expected)| *offset != expected);
            assert!(
                wrong.is_none() && of.len() as i64 == count,
                "partition {partition}: {} of {count}; first wrong (found, expected): {wrong:?}",
                of.len()
            );
        }
    }

    pub(crate) async fn reach(&self, count: usize) {
        eventually("all records are acknowledged", || self.count() >= count).await;
    }
}

pub(crate) async fn eventually(what: &str, is: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, is).await;
}

pub(crate) async fn eventually_within(patience: Duration, what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Consumes in the way of the consumer's tier until it is stopped, and leaves.
pub(crate) async fn work(consumer: Consumer<Raw, Raw>, acknowledged: Acknowledged, mut stop: watch::Receiver<bool>) {
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let consuming = async {
        match consumer.tier() {
            ConsumerTier::Stream => {
                let mut stream = consumer.stream();
                while let Some(message) = stream.next().await {
                    let Some(message) = ok(message) else { continue };
                    let (partition, offset) = (message.record().partition(), message.record().offset());
                    acknowledged.settle_one(partition, offset, || message.settle());
                }
            }
            ConsumerTier::Standard => loop {
                if let Some(Some(message)) = ok(consumer.poll(Duration::from_secs(1)).await) {
                    let (partition, offset) = (message.record().partition(), message.record().offset());
                    acknowledged.settle_one(partition, offset, || message.settle());
                }
            },
            ConsumerTier::Buffered { batch_size } => {
                let mut batches = consumer.buffered_stream(batch_size);
                while let Some(batch) = batches.next().await {
                    let Some(batch) = ok(batch) else { continue };
                    assert!(batch.len() <= batch_size);
                    acknowledged.settle(batch);
                }
            }
            ConsumerTier::Dedicated => {
                let mut batches = consumer.dedicated_stream().unwrap();
                while let Some(batch) = batches.next().await {
                    let Some(batch) = ok(batch) else { continue };
                    acknowledged.settle(batch);
                }
            }
        }
    };
    tokio::select! {
        () = stopped => {}
        () = consuming => panic!("nothing ends it but the test"),
    }
    consumer.close().await;
}

/// What is no error in place of a record: a topic that was just made may be unknown for a moment.
fn ok<T>(item: Result<T, ConsumerError>) -> Option<T> {
    match item {
        Ok(item) => Some(item),
        Err(ConsumerError::Record { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What the group has committed, by partition.
pub(crate) fn committed(brokers: &str, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let list = client.committed_offsets(list, PATIENCE).unwrap();
    let offset = |partition| match list.find_partition(topic, partition).unwrap().offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    (0..partitions).map(offset).collect()
}
