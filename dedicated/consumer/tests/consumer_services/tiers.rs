//! What every tier does.

use std::time::Duration;

use futures::StreamExt;
use lyceum_consumer::{
    Consumer, ConsumerFactory, ConsumerTier, Json, JsonText, KafkaStreamConsumer, Raw, Utf8, WakeUp,
};
use tokio::sync::watch;

use crate::given::{Acknowledged, PATIENCE, committed, config, eventually, fill, name, producer, run, topic, work};
use lyceum_consumer::rdkafka::message::{Header, OwnedHeaders};
use lyceum_consumer::rdkafka::producer::{BaseRecord, Producer};

type OfTier = fn(&str, ConsumerTier);

pub(crate) const OF_EACH_TIER: &[(&str, OfTier)] = &[
    ("every_message_comes_once_and_in_order_and_is_committed", every_message_once),
    ("a_poison_record_is_a_value_and_blocks_nothing", a_poison_record),
    ("what_is_dropped_unsettled_comes_again_and_what_was_settled_does_not", what_is_dropped_comes_again),
    ("what_is_in_hand_is_bounded", what_is_in_hand_is_bounded),
    ("a_wake_up_that_is_lost_is_caught_by_the_tick", a_lost_wake_up),
];

pub(crate) const TESTS: &[crate::given::Test] = &[
    ("a_record_has_its_key_value_headers_and_time", a_record_has_all),
    ("a_topic_that_does_not_exist_is_reported", a_topic_that_does_not_exist),
    ("an_idle_consumer_does_not_spin", an_idle_consumer_does_not_spin),
];

fn every_message_once(brokers: &str, tier: ConsumerTier) {
    run(async {
        let (partitions, count) = (6, 500);
        let (topic, group) = (topic(brokers, partitions).await, name("once"));
        fill(brokers, &topic, partitions, 0..count);
        let acknowledged = Acknowledged::default();
        let (stop, stopped) = watch::channel(false);
        let consumer = ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, Raw).unwrap();
        let working = tokio::spawn(work(consumer, acknowledged.clone(), stopped));
        acknowledged.reach((count * i64::from(partitions)) as usize).await;
        stop.send(true).unwrap();
        working.await.unwrap();
        acknowledged.assert_each_once_in_order(partitions, count);
        assert_eq!(committed(brokers, &group, &topic, partitions), vec![Some(count); partitions as usize]);
        // Whoever comes next begins behind them.
        fill(brokers, &topic, partitions, count..count + 1);
        let (stop, stopped) = watch::channel(false);
        let consumer = ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, Raw).unwrap();
        let working = tokio::spawn(work(consumer, acknowledged.clone(), stopped));
        acknowledged.reach(((count + 1) * i64::from(partitions)) as usize).await;
        stop.send(true).unwrap();
        working.await.unwrap();
        acknowledged.assert_each_once_in_order(partitions, count + 1);
    });
}

fn a_poison_record(brokers: &str, tier: ConsumerTier) {
    run(async {
        let (topic, group) = (topic(brokers, 1).await, name("poison"));
        let producer = producer(brokers);
        for value in [&b"1"[..], b"{", b"\xff\xfe", b"4"] {
            producer.send(BaseRecord::to(&topic).partition(0).key(b"k").payload(value)).map_err(|of| of.0).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let consumer: Consumer<Utf8, Json<u32>> =
            ConsumerFactory::create(&config(brokers, &topic, &group, tier), Utf8, Json::default()).unwrap();
        let mut read = Vec::new();
        let mut stream = consumer.stream();
        while read.len() < 4 {
            let message = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(message.key().unwrap(), Some("k"));
            read.push(message.value().map_err(|unreadable| {
                assert_eq!(unreadable.place.topic.as_ref(), topic);
                unreadable.offset
            }));
            assert!(message.settle());
        }
        drop(stream);
        assert_eq!(read, [Ok(Some(1)), Err(1), Err(2), Ok(Some(4))]);
        consumer.commit().await.unwrap();
        assert_eq!(committed(brokers, &group, &topic, 1), [Some(4)]);
        let kept = consumer.committed().await.unwrap();
        assert_eq!((kept[0].0.number, kept[0].1), (0, Some(4)));
        consumer.close().await;
    });
}

fn what_is_dropped_comes_again(brokers: &str, tier: ConsumerTier) {
    run(async {
        let (topic, group) = (topic(brokers, 1).await, name("dropped"));
        fill(brokers, &topic, 1, 0..10);
        let consumer = ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, Raw).unwrap();
        let mut seen = Vec::new();
        let mut forgotten = [3, 4, 7].into_iter().collect::<std::collections::BTreeSet<i64>>();
        let mut stream = consumer.stream();
        while seen.len() < 13 {
            let message = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
            let offset = message.record().offset();
            seen.push(offset);
            if forgotten.remove(&offset) {
                drop(message);
            } else {
                assert!(message.settle());
            }
        }
        drop(stream);
        assert_eq!(seen[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(seen[10..], [3, 4, 7]);
        consumer.commit().await.unwrap();
        assert_eq!(committed(brokers, &group, &topic, 1), [Some(10)]);
        consumer.close().await;
    });
}

fn what_is_in_hand_is_bounded(brokers: &str, tier: ConsumerTier) {
    run(async {
        let (topic, group) = (topic(brokers, 2).await, name("bounded"));
        fill(brokers, &topic, 2, 0..2_000);
        let mut config = config(brokers, &topic, &group, tier);
        (config.max_in_hand_records, config.batch_size) = (Some(100), Some(50));
        let consumer = ConsumerFactory::create(&config, Raw, Raw).unwrap();
        let (mut held, mut acknowledged) = (Vec::new(), 0);
        // Nothing more comes than may be in hand, however often one asks.
        eventually("as many as may be are in hand", || {
            held.extend(consumer.try_poll().unwrap());
            held.len() >= 100
        })
        .await;
        for _ in 0..20 {
            held.extend(consumer.poll(Duration::from_millis(20)).await.unwrap());
        }
        // One batch may go beyond.
        assert!(held.len() <= 150, "{} in hand", held.len());
        // And as they are settled, all others come: nothing stops for good.
        while acknowledged < 4_000 {
            acknowledged += held.drain(..).map(|message| usize::from(message.settle())).sum::<usize>();
            held.extend(consumer.poll(PATIENCE).await.unwrap());
            assert!(held.len() <= 150);
            if acknowledged + held.len() == 4_000 {
                acknowledged += held.drain(..).map(|message| usize::from(message.settle())).sum::<usize>();
            }
        }
        consumer.close().await;
        assert_eq!(committed(brokers, &group, &topic, 2), [Some(2_000), Some(2_000)]);
    });
}

fn a_lost_wake_up(brokers: &str, tier: ConsumerTier) {
    run(async {
        let (topic, group) = (topic(brokers, 1).await, name("tick"));
        let mut config = config(brokers, &topic, &group, tier);
        // No event ever wakes it.
        (config.wake_up, config.tick_ms) = (WakeUp::Tick, 50);
        let acknowledged = Acknowledged::default();
        let (stop, stopped) = watch::channel(false);
        let consumer = ConsumerFactory::create(&config, Raw, Raw).unwrap();
        let working = tokio::spawn(work(consumer, acknowledged.clone(), stopped));
        for number in 0..5 {
            fill(brokers, &topic, 1, number..number + 1);
            acknowledged.reach(number as usize + 1).await;
        }
        stop.send(true).unwrap();
        working.await.unwrap();
        acknowledged.assert_each_once_in_order(1, 5);
    });
}

fn a_record_has_all(brokers: &str) {
    run(async {
        let (topic, group) = (topic(brokers, 1).await, name("all"));
        let producer = producer(brokers);
        let headers = OwnedHeaders::new()
            .insert(Header { key: "a", value: Some("1") })
            .insert(Header { key: "empty", value: None::<&str> })
            .insert(Header { key: "a", value: Some("2") });
        let record =
            BaseRecord::to(&topic).key("k").payload("{\"a\": 1}").timestamp(1_700_000_000_123).headers(headers);
        producer.send(record).map_err(|of| of.0).unwrap();
        // A tombstone without headers.
        producer.send(BaseRecord::<str, [u8]>::to(&topic).key("k")).map_err(|of| of.0).unwrap();
        producer.flush(PATIENCE).unwrap();
        for tier in crate::given::TIERS {
            let group = format!("{group}.{tier}");
            let consumer: Consumer<Raw, JsonText> =
                ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, JsonText).unwrap();
            let message = consumer.poll(PATIENCE).await.unwrap().unwrap();
            let record = message.record();
            assert_eq!((record.topic(), record.partition(), record.offset()), (topic.as_str(), 0, 0));
            assert_eq!((record.key(), record.timestamp_ms()), (Some(&b"k"[..]), Some(1_700_000_000_123)));
            assert_eq!(message.value().unwrap().unwrap().get(), "{\"a\": 1}");
            let headers: Vec<_> = record.headers().collect();
            let expected = [(&b"a"[..], Some(&b"1"[..])), (&b"empty"[..], None), (&b"a"[..], Some(&b"2"[..]))];
            assert_eq!(headers, expected, "{tier}");
            assert_eq!(record.header("a"), Some(&b"2"[..]));
            message.settle();
            let tombstone = consumer.poll(PATIENCE).await.unwrap().unwrap();
            assert!(tombstone.value().unwrap().is_none() && tombstone.record().headers().next().is_none());
            tombstone.settle();
            consumer.close().await;
        }
    });
}

fn a_topic_that_does_not_exist(brokers: &str) {
    run(async {
        for tier in crate::given::TIERS {
            let topic = name("nowhere");
            let consumer = ConsumerFactory::create(&config(brokers, &topic, &name("nowhere"), tier), Raw, Raw).unwrap();
            let mut said = String::new();
            let deadline = std::time::Instant::now() + PATIENCE;
            while !said.contains(&topic) {
                assert!(std::time::Instant::now() < deadline, "{tier} said {said:?}");
                let _ = consumer.poll(Duration::from_millis(50)).await.map_err(|error| said += &error.to_string());
                consumer.events().iter().for_each(|event| said += &format!("{event:?}"));
            }
            consumer.close().await;
        }
    });
}

fn an_idle_consumer_does_not_spin(brokers: &str) {
    run(async {
        let topic = topic(brokers, 1).await;
        for tier in crate::given::TIERS {
            let consumer = ConsumerFactory::create(&config(brokers, &topic, &name("idle"), tier), Raw, Raw).unwrap();
            eventually("partitions are assigned", || {
                let _ = consumer.try_poll().unwrap();
                consumer.events().iter().any(|event| matches!(event, lyceum_consumer::Event::Assigned(_)))
            })
            .await;
            // A poll that waits a second looks a few times, not thousands of times.
            let (mut looks, mut stream) = (0, Box::pin(consumer.raw_stream()));
            let looking = std::future::poll_fn(|cx| {
                looks += 1;
                stream.poll_next_unpin(cx).map(|_| ())
            });
            let ended = tokio::time::timeout(Duration::from_millis(1_500), looking).await;
            assert!(ended.is_err() && looks < 100, "{tier} looked {looks} times in a second and a half");
            drop(stream);
            consumer.close().await;
        }
    });
}
