//! Members that come and go, are slow, or go on after their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use lyceum_consumer::rdkafka::producer::{BaseRecord, Producer};
use lyceum_consumer::{
    Assignor, ConsumerFactory, ConsumerTier, DedicatedConsumer, Event, KafkaStreamConsumer, Member, Raw,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::given::{
    ASSIGNORS, Acknowledged, PATIENCE, TIERS, committed, config, eventually, fill, name, producer, run, topic, work,
};

pub(crate) const TESTS: &[crate::given::Test] = &[
    ("a_slow_handler_of_the_dedicated_tier_keeps_its_partitions", a_slow_handler),
    ("a_revoked_partition_waits_for_what_is_in_hand_and_no_longer", a_revocation_waits),
    ("a_member_that_goes_on_after_its_time_acknowledges_nothing", a_zombie_member),
    ("a_static_member_that_restarts_takes_no_partition_from_others", a_static_member),
    ("a_consumer_that_is_dropped_leaves_the_group", a_dropped_consumer_leaves),
];

/// Every tier with the default, and the dedicated one with the others.
pub(crate) fn churns() -> Vec<(ConsumerTier, Assignor)> {
    let mut churns: Vec<_> = ASSIGNORS.map(|assignor| (ConsumerTier::Dedicated, assignor)).into();
    churns.extend(TIERS.into_iter().filter(|tier| *tier != ConsumerTier::Dedicated).zip([
        Assignor::Eager,
        Assignor::Consumer,
        Assignor::Cooperative,
    ]));
    churns
}

fn churn_seconds() -> u64 {
    match std::env::var("LYCEUM_CONSUMER_CHURN_SECONDS") {
        Ok(seconds) => seconds.parse().expect("LYCEUM_CONSUMER_CHURN_SECONDS is a whole number of seconds"),
        Err(_) => 16,
    }
}

struct Worker {
    stop: watch::Sender<bool>,
    working: JoinHandle<()>,
}

impl Worker {
    fn start(config: &lyceum_consumer::FastConsumerConfig, acknowledged: &Acknowledged) -> Self {
        let (stop, stopped) = watch::channel(false);
        let consumer = ConsumerFactory::create(config, Raw, Raw).unwrap();
        Self { stop, working: tokio::spawn(work(consumer, acknowledged.clone(), stopped)) }
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.working.await.unwrap();
    }
}

/// Three members; every two seconds one leaves or joins, under load.
pub(crate) fn churn(brokers: &str, tier: ConsumerTier, assignor: Assignor) {
    run(async {
        let partitions = 6;
        let (topic, group) = (topic(brokers, partitions).await, name("churn"));
        let mut config = config(brokers, &topic, &group, tier);
        config.assignor = assignor;
        let (is_over, produced) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let producing = std::thread::spawn({
            let (is_over, produced, brokers, topic) =
                (Arc::clone(&is_over), Arc::clone(&produced), brokers.to_owned(), topic.clone());
            move || {
                let producer = producer(&brokers);
                while !is_over.load(SeqCst) {
                    let number = produced.fetch_add(1, SeqCst);
                    for partition in 0..partitions {
                        let value = number.to_string();
                        let record = BaseRecord::<(), _>::to(&topic).partition(partition).payload(&value);
                        producer.send(record).map_err(|of| of.0).unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(4));
                }
                producer.flush(PATIENCE).unwrap();
            }
        });
        let acknowledged = Acknowledged::default();
        let mut workers: [Option<Worker>; 3] = std::array::from_fn(|_| Some(Worker::start(&config, &acknowledged)));
        let end = Instant::now() + Duration::from_secs(churn_seconds());
        // 0 leaves, 1 leaves, 0 joins, 2 leaves, 1 joins…: one member at least, three at most.
        let mut turn = 0;
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let at = [0, 1, 0, 2, 1, 0, 2, 1, 0, 1, 0, 2][turn % 12];
            turn += 1;
            match workers[at].take() {
                Some(worker) if workers.iter().flatten().count() > 0 => worker.stop().await,
                Some(only) => workers[at] = Some(only),
                None => workers[at] = Some(Worker::start(&config, &acknowledged)),
            }
        }
        is_over.store(true, SeqCst);
        producing.join().unwrap();
        let count = produced.load(SeqCst);
        acknowledged.reach((count * i64::from(partitions)) as usize).await;
        for worker in workers.into_iter().flatten() {
            worker.stop().await;
        }
        acknowledged.assert_each_once_in_order(partitions, count);
        assert_eq!(committed(brokers, &group, &topic, partitions), vec![Some(count); partitions as usize]);
    });
}

fn a_slow_handler(brokers: &str) {
    run(async {
        let (topic, group) = (topic(brokers, 2).await, name("slow"));
        fill(brokers, &topic, 2, 0..4);
        let mut config = config(brokers, &topic, &group, ConsumerTier::Dedicated);
        (config.max_poll_interval_ms, config.patience_ms, config.batch_size) = (6_500, 5_000, Some(2));
        let consumer = DedicatedConsumer::start(&config).unwrap();
        let mut lane = consumer.lanes().remove(0);
        let mut first = lane.next().await.unwrap();
        // Longer than a member may be silent.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(first.is_current(), "it was not thrown out");
        assert!(first.receipt().settle(0));
        let mut left = 8 - 1;
        left -= first.len() - 1;
        assert!(first.settle_all());
        while left > 0 {
            let batch = lane.next().await.unwrap();
            left -= batch.len();
            assert!(batch.settle_all());
        }
        consumer.close().await;
        assert_eq!(committed(brokers, &group, &topic, 2), [Some(4), Some(4)]);
    });
}

fn a_revocation_waits(brokers: &str) {
    run(async {
        let (topic, group) = (topic(brokers, 2).await, name("revoke"));
        fill(brokers, &topic, 2, 0..10);
        let mut config = config(brokers, &topic, &group, ConsumerTier::Dedicated);
        config.patience_ms = 3_000;
        let first = DedicatedConsumer::start(&config).unwrap();
        let mut lane = first.lanes().remove(0);
        let mut batches = Vec::new();
        while batches.iter().map(lyceum_consumer::Batch::len).sum::<usize>() < 20 {
            batches.push(lane.next().await.unwrap());
        }
        // One that comes gets one of the two: the other is asked to give it back.
        let second = DedicatedConsumer::start(&config).unwrap();
        let (partitions, deadline) = loop {
            if let Event::Revoking { partitions, deadline } = first.event().await.unwrap() {
                break (partitions, deadline);
            }
        };
        assert_eq!(partitions.len(), 1);
        let (going, staying): (Vec<_>, Vec<_>) =
            batches.into_iter().partition(|batch| *batch.partition() == partitions[0]);
        assert!(
            going.iter().all(|batch| !batch.is_current()) && staying.iter().all(lyceum_consumer::Batch::is_current)
        );
        // What is settled in time is acknowledged, and committed before the partition goes.
        let mut going = going.into_iter();
        let mut in_time = going.next().unwrap();
        assert!(in_time.receipt().settle_to(4));
        let (_, late) = in_time.into_parts();
        assert!(Instant::now() < deadline);
        loop {
            if let Event::Revoked(gone) = first.event().await.unwrap() {
                assert_eq!(gone, partitions);
                break;
            }
        }
        assert!(Instant::now() >= deadline, "it waited for what is in hand");
        // Nothing of it is acknowledged any more.
        assert!(!late.settle_all() && going.all(|batch| !batch.settle_all()));
        let number = partitions[0].number as usize;
        assert_eq!(committed(brokers, &group, &topic, 2)[number], Some(4));
        assert!(staying.into_iter().all(lyceum_consumer::Batch::settle_all));
        // Its next owner goes on behind what was settled.
        let mut lane = second.lanes().remove(0);
        let batch = lane.next().await.unwrap();
        assert_eq!(batch.records().get(0).unwrap().offset(), 4);
        drop(batch);
        first.close().await;
        second.close().await;
    });
}

fn a_zombie_member(brokers: &str) {
    for assignor in [Assignor::Cooperative, Assignor::Eager] {
        let (topic, group) = (run(topic(brokers, 1)), name("zombie"));
        fill(brokers, &topic, 1, 0..10);
        let mut config = config(brokers, &topic, &group, ConsumerTier::Standard);
        (config.assignor, config.max_poll_interval_ms, config.patience_ms) = (assignor, 6_000, 2_000);
        let mut zombie = Member::open(&config).unwrap();
        let mut batch = next_batch(&mut zombie);
        assert!(batch.receipt().settle_to(2));
        // It is silent for longer than it may be; another one takes its partition and settles all.
        let mut heir = Member::open(&config).unwrap();
        let mut settled = 0;
        while settled < 10 {
            let batch = next_batch(&mut heir);
            settled = batch.records().iter().last().unwrap().offset() + 1;
            assert!(batch.settle_all());
        }
        let answer = heir.commit();
        drive(&mut heir, answer).1.unwrap();
        // What it settles before it hears of the loss may be counted; it is not committed.
        batch.receipt().settle_to(5);
        let answer = zombie.commit();
        let (mut events, _) = drive(&mut zombie, answer);
        let deadline = Instant::now() + PATIENCE;
        while !events.iter().any(|event| matches!(event, Event::Lost(lost) if lost.len() == 1)) {
            assert!(Instant::now() < deadline, "it hears of the loss: {events:?}");
            events.extend(zombie.next_blocking(Duration::from_millis(100)));
        }
        assert!(!batch.settle_all());
        assert_eq!(committed(brokers, &group, &topic, 1), [Some(10)], "{assignor:?}");
        zombie.close(drop);
        heir.close(drop);
        assert_eq!(committed(brokers, &group, &topic, 1), [Some(10)], "{assignor:?}");
    }
}

fn next_batch(member: &mut Member) -> lyceum_consumer::Batch {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "a batch comes");
        if let Some(Event::Batch(batch)) = member.next_blocking(Duration::from_millis(100)) {
            return batch;
        }
    }
}

/// Drives a member until its commit is answered; what came meanwhile, and the answer.
fn drive(
    member: &mut Member,
    mut answer: tokio::sync::oneshot::Receiver<Result<(), lyceum_consumer::ConsumerError>>,
) -> (Vec<Event>, Result<(), lyceum_consumer::ConsumerError>) {
    let (deadline, mut events) = (Instant::now() + PATIENCE, Vec::new());
    loop {
        assert!(Instant::now() < deadline, "a commit is answered");
        events.extend(member.next_blocking(Duration::from_millis(20)));
        if let Ok(answer) = answer.try_recv() {
            return (events, answer);
        }
    }
}

fn a_static_member(brokers: &str) {
    run(async {
        for assignor in [Assignor::Cooperative, Assignor::Consumer] {
            let (topic, group) = (topic(brokers, 2).await, name("static"));
            let of = |id: &str| {
                let mut config = config(brokers, &topic, &group, ConsumerTier::Dedicated);
                (config.assignor, config.group_instance_id) = (assignor, Some(id.to_owned()));
                config
            };
            let stays = DedicatedConsumer::start(&of("stays")).unwrap();
            let mut restarts = DedicatedConsumer::start(&of("restarts")).unwrap();
            for consumer in [&stays, &restarts] {
                let deadline = Instant::now() + PATIENCE;
                while consumer.positions().await.unwrap().len() != 1 {
                    assert!(Instant::now() < deadline, "{assignor:?}: each has one");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            while stays.try_event().is_some() {}
            let before = restarts.positions().await.unwrap()[0].0.clone();
            restarts.close().await;
            restarts = DedicatedConsumer::start(&of("restarts")).unwrap();
            let deadline = Instant::now() + PATIENCE;
            while restarts.positions().await.unwrap().is_empty() {
                assert!(Instant::now() < deadline, "{assignor:?}: it has its partition again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(restarts.positions().await.unwrap()[0].0, before);
            while let Some(event) = stays.try_event() {
                assert!(!matches!(event, Event::Revoking { .. } | Event::Lost(_)), "{assignor:?}: {event:?}");
            }
            restarts.close().await;
            stays.close().await;
        }
    });
}

fn a_dropped_consumer_leaves(brokers: &str) {
    run(async {
        for tier in TIERS {
            let (topic, group) = (topic(brokers, 1).await, name("dropped"));
            fill(brokers, &topic, 1, 0..3);
            let mut config = config(brokers, &topic, &group, tier);
            // Nobody would notice for five minutes.
            config.session_timeout_ms = 300_000;
            let consumer = ConsumerFactory::create(&config, Raw, Raw).unwrap();
            let message = consumer.poll(PATIENCE).await.unwrap().unwrap();
            message.settle();
            drop(consumer);
            let acknowledged = Acknowledged::default();
            let worker = Worker::start(&config, &acknowledged);
            let before = Instant::now();
            eventually("the next one has the rest", || acknowledged.count() == 2).await;
            assert!(before.elapsed() < Duration::from_secs(150), "{tier}");
            worker.stop().await;
            assert_eq!(acknowledged.of(0), [1, 2], "{tier}");
        }
    });
}
