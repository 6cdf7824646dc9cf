//! Pausing, seeking, and coming over from rdkafka's consumers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lyceum_consumer::rdkafka::ClientConfig;
use lyceum_consumer::rdkafka::Message as _;
use lyceum_consumer::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, StreamConsumer};
use lyceum_consumer::{
    Consumer, ConsumerFactory, ConsumerTier, FastContext, IntoFastConsumer, KafkaStreamConsumer, Partition, Raw, Utf8,
};

use crate::given::{PATIENCE, TIERS, committed, config, fill, name, run, topic};

pub(crate) const TESTS: &[crate::given::Test] = &[
    ("a_paused_partition_gives_nothing_and_goes_on_where_it_was", pause_and_resume),
    ("seeking_by_offset_and_by_time", seek),
    ("rdkafka_s_consumers_become_fast_ones_of_the_same_group", migrate),
    ("a_base_consumer_with_our_context_is_taken_as_it_is", a_base_consumer_is_taken),
];

async fn take(consumer: &Consumer<Raw, Utf8>, count: usize) -> Vec<(i32, i64)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let message = consumer.poll(PATIENCE).await.unwrap().unwrap();
        taken.push((message.record().partition(), message.record().offset()));
        assert!(message.settle());
    }
    taken
}

fn pause_and_resume(brokers: &str) {
    run(async {
        for tier in TIERS {
            let (topic, group) = (topic(brokers, 2).await, name("pause"));
            fill(brokers, &topic, 2, 0..50);
            let consumer = ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, Utf8).unwrap();
            let mut all = take(&consumer, 100).await;
            let one = [Partition::new(topic.as_str(), 1)];
            consumer.pause(&one).await.unwrap();
            fill(brokers, &topic, 2, 50..100);
            let meanwhile = take(&consumer, 50).await;
            assert!(meanwhile.iter().all(|(partition, _)| *partition == 0), "{tier}: {meanwhile:?}");
            assert!(consumer.poll(Duration::from_millis(700)).await.unwrap().is_none(), "{tier}");
            all.extend(meanwhile);
            consumer.resume(&one).await.unwrap();
            all.extend(take(&consumer, 50).await);
            for partition in 0..2 {
                let of: Vec<i64> = all.iter().filter(|of| of.0 == partition).map(|of| of.1).collect();
                assert_eq!(of, (0..100).collect::<Vec<_>>(), "{tier}");
            }
            let mut positions = consumer.current_offsets().await.unwrap();
            positions.sort();
            assert_eq!(positions.iter().map(|of| of.1).collect::<Vec<_>>(), [Some(100), Some(100)], "{tier}");
            let foreign = [Partition::new(topic.as_str(), 9)];
            assert!(consumer.pause(&foreign).await.unwrap_err().to_string().contains("not assigned"));
            consumer.close().await;
        }
    });
}

fn seek(brokers: &str) {
    run(async {
        for tier in TIERS {
            let (topic, group) = (topic(brokers, 1).await, name("seek"));
            fill(brokers, &topic, 1, 0..30);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let between = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
            tokio::time::sleep(Duration::from_millis(20)).await;
            fill(brokers, &topic, 1, 30..40);
            let consumer = ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, Utf8).unwrap();
            let place = Partition::new(topic.as_str(), 0);
            // One is in hand while it moves: it is no longer acknowledged.
            let in_hand = consumer.poll(PATIENCE).await.unwrap().unwrap();
            consumer.seek(&place, 25).await.unwrap();
            assert!(!in_hand.settle(), "{tier}");
            let offsets = |taken: Vec<(i32, i64)>| taken.into_iter().map(|of| of.1).collect::<Vec<_>>();
            assert_eq!(offsets(take(&consumer, 15).await), (25..40).collect::<Vec<_>>(), "{tier}");
            consumer.seek_to_time(between).await.unwrap();
            assert_eq!(offsets(take(&consumer, 10).await), (30..40).collect::<Vec<_>>(), "{tier}");
            // Behind the last record: its end.
            consumer.seek_to_time(between + 86_400_000).await.unwrap();
            fill(brokers, &topic, 1, 40..41);
            assert_eq!(offsets(take(&consumer, 1).await), [40], "{tier}");
            assert!(consumer.seek(&Partition::new(topic.as_str(), 7), 0).await.is_err());
            consumer.close().await;
            assert_eq!(committed(brokers, &group, &topic, 1), [Some(41)], "{tier}");
        }
    });
}

fn old(brokers: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("partition.assignment.strategy", "cooperative-sticky");
    config
}

fn migrate(brokers: &str) {
    run(async {
        let (topic, group) = (topic(brokers, 1).await, name("migrate"));
        fill(brokers, &topic, 1, 0..100);
        let before: StreamConsumer = old(brokers, &group).create().unwrap();
        before.subscribe(&[&topic]).unwrap();
        for expected in 0..40 {
            let message = before.recv().await.unwrap();
            assert_eq!(message.offset(), expected);
            before.commit_message(&message, CommitMode::Sync).unwrap();
        }
        // What it has fetched and not committed comes again.
        before.recv().await.unwrap();
        let after =
            tokio::task::spawn_blocking(move || before.into_fast_consumer(ConsumerTier::Dedicated, Raw, Utf8).unwrap());
        let after = after.await.unwrap();
        let taken = take(&after, 60).await;
        assert_eq!(taken.iter().map(|of| of.1).collect::<Vec<_>>(), (40..100).collect::<Vec<_>>());
        after.close().await;
        assert_eq!(committed(brokers, &group, &topic, 1), [Some(100)]);
    });
}

fn a_base_consumer_is_taken(brokers: &str) {
    run(async {
        let (topic, group) = (topic(brokers, 1).await, name("base"));
        fill(brokers, &topic, 1, 0..10);
        let mut config = config(brokers, &topic, &group, ConsumerTier::Standard);
        let base = |config: &lyceum_consumer::FastConsumerConfig| -> BaseConsumer<FastContext> {
            config.client_config().create_with_context(FastContext::default()).unwrap()
        };
        let consumer = Consumer::new(base(&config), &config, Raw, Utf8).unwrap();
        assert_eq!(take(&consumer, 10).await.len(), 10);
        // In a thread that is no task, too.
        fill(brokers, &topic, 1, 10..11);
        let consumer = tokio::task::spawn_blocking(move || {
            let message = consumer.poll_blocking(PATIENCE).unwrap().unwrap();
            assert_eq!(message.value().unwrap(), Some("10"));
            message.settle();
            assert!(consumer.poll_blocking(Duration::from_millis(100)).unwrap().is_none());
            consumer
        });
        consumer.await.unwrap().close().await;
        config.performance_tier = None;
        assert!(Consumer::new(base(&config), &config, Raw, Utf8).is_err());
    });
}
