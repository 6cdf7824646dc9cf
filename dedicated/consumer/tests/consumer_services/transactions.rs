//! Transactions: read as committed alone, and made of what was consumed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lyceum_consumer::rdkafka::ClientConfig;
use lyceum_consumer::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use lyceum_consumer::{
    Batch, ConsumerFactory, ConsumerTier, Event, FastConsumerConfig, KafkaStreamConsumer, Member, Raw,
    TransactionError, Transactions, Utf8,
};

use crate::given::{PATIENCE, TIERS, committed, config, fill, name, run, topic};

pub(crate) const TESTS: &[crate::given::Test] = &[
    ("records_of_transactions_come_once_they_are_committed_and_their_gaps_are_settled", read_committed),
    ("what_is_consumed_and_produced_in_transactions_comes_out_once", exactly_once),
    ("a_zombie_producer_is_fenced", a_zombie_is_fenced),
    ("a_member_that_was_thrown_out_commits_no_transaction", a_member_without_its_partition),
    ("a_transaction_has_no_gaps", a_transaction_has_no_gaps),
];

fn read_committed(brokers: &str) {
    let topic = run(topic(brokers, 1));
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("transactional.id", name("writer")).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let write = |values: &[&str], is_committed: bool| {
        producer.begin_transaction().unwrap();
        for value in values {
            producer.send(BaseRecord::<(), _>::to(&topic).payload(*value)).map_err(|of| of.0).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        if is_committed {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    };
    write(&["a", "b"], true);
    write(&["lost", "gone"], false);
    write(&["c"], true);
    write(&["undone"], false);
    write(&["d"], true);
    run(async {
        for tier in TIERS {
            let group = name("committed");
            let consumer = ConsumerFactory::create(&config(brokers, &topic, &group, tier), Raw, Utf8).unwrap();
            let mut values = Vec::new();
            let mut offsets = Vec::new();
            while values.len() < 4 {
                let message = consumer.poll(PATIENCE).await.unwrap().unwrap();
                values.push(message.value().unwrap().unwrap().to_owned());
                offsets.push(message.record().offset());
                message.settle();
            }
            assert_eq!(values, ["a", "b", "c", "d"], "{tier}");
            assert_eq!(offsets, [0, 1, 6, 10], "{tier}: there are gaps");
            consumer.close().await;
            assert_eq!(committed(brokers, &group, &topic, 1), [Some(11)], "{tier}");
            let mut uncommitted = config(brokers, &topic, &name("uncommitted"), tier);
            uncommitted.read_uncommitted = true;
            let consumer = ConsumerFactory::create(&uncommitted, Raw, Utf8).unwrap();
            for _ in 0..7 {
                consumer.poll(PATIENCE).await.unwrap().unwrap().settle();
            }
            consumer.close().await;
        }
    });
}

/// The next batch of a member, within its patience.
fn next_batch(member: &mut Member) -> Option<Batch> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(Event::Batch(batch)) = member.next_blocking(Duration::from_millis(100)) {
            return Some(batch);
        }
    }
    None
}

/// Produces each record of a batch to the same partition of another topic, and commits where `is_committed`.
fn copy(transactions: &mut Transactions, batch: Batch, to: &str, is_committed: bool) -> Result<(), TransactionError> {
    let (records, receipt) = batch.into_parts();
    let mut transaction = transactions.begin()?;
    for record in records.iter() {
        let payload = record.payload().unwrap_or_default();
        transaction.send(BaseRecord::<(), _>::to(to).partition(record.partition()).payload(payload))?;
    }
    if is_committed {
        transaction.commit(vec![receipt])
    } else {
        // As of a handler that fails.
        drop(transaction);
        Ok(())
    }
}

/// Copies twenty records, whatever comes again in between.
fn copy_all(member: &mut Member, transactions: &mut Transactions, to: &str) {
    let (mut copied, mut tries) = (0, 0);
    while copied < 20 {
        let batch = next_batch(member).unwrap();
        let len = batch.len();
        tries += 1;
        assert!(tries < 20, "it goes on");
        match copy(transactions, batch, to, true) {
            Ok(()) => copied += len,
            Err(TransactionError::OutOfOrder(_) | TransactionError::TakenBack(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn values(brokers: &str, topic: &str, partitions: i32, count: i64) -> BTreeMap<i32, Vec<i64>> {
    run(async {
        let config = config(brokers, topic, &name("reader"), ConsumerTier::Dedicated);
        let consumer = ConsumerFactory::create(&config, Raw, Utf8).unwrap();
        let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        let mut total = 0;
        // One more look than there should be records: whatever is doubled comes, too.
        while let Some(message) = consumer
            .poll(if total < count * i64::from(partitions) { PATIENCE } else { Duration::from_secs(1) })
            .await
            .unwrap()
        {
            let number = message.value().unwrap().unwrap().parse().unwrap();
            found.entry(message.record().partition()).or_default().push(number);
            message.settle();
            total += 1;
        }
        consumer.close().await;
        found
    })
}

fn exactly_once(brokers: &str) {
    let (partitions, count) = (3, 1_000);
    let (from, to) = run(async { (topic(brokers, partitions).await, topic(brokers, partitions).await) });
    fill(brokers, &from, partitions, 0..count);
    let group = name("exactly");
    let mut config = config(brokers, &from, &group, ConsumerTier::Standard);
    config.batch_size = Some(60);
    let mut copied = 0;
    let mut lives = 0;
    // Several lives, each of which takes one transaction back, and ends in the middle of another one.
    while copied < count * i64::from(partitions) {
        lives += 1;
        let mut member = Member::open(&config).unwrap();
        let mut transactions = Transactions::open(&member, &config, &format!("copier.{group}")).unwrap();
        for turn in 0.. {
            if turn == 25 {
                // It dies with a transaction open.
                if let Some(batch) = next_batch(&mut member) {
                    let (records, _receipt) = batch.into_parts();
                    let mut transaction = transactions.begin().unwrap();
                    for record in records.iter() {
                        let payload = record.payload().unwrap_or_default();
                        transaction
                            .send(BaseRecord::<(), _>::to(&to).partition(record.partition()).payload(payload))
                            .unwrap();
                    }
                    std::mem::forget(transaction);
                }
                break;
            }
            if copied == count * i64::from(partitions) {
                break;
            }
            let Some(batch) = next_batch(&mut member) else { break };
            let (len, is_committed) = (batch.len() as i64, turn != 3);
            match copy(&mut transactions, batch, &to, is_committed) {
                Ok(()) => copied += if is_committed { len } else { 0 },
                // Of the partition whose batch was not copied: it goes back to that one.
                Err(TransactionError::OutOfOrder(_) | TransactionError::TakenBack(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        drop(transactions);
        member.close(drop);
        assert!(lives < 20, "{copied} of {}", count * i64::from(partitions));
    }
    assert!(lives > 1, "it died in between");
    let found = values(brokers, &to, partitions, count);
    for partition in 0..partitions {
        assert!(found[&partition].iter().copied().eq(0..count), "each once, in order: {:?}", found[&partition].len());
    }
    assert_eq!(committed(brokers, &group, &from, partitions), vec![Some(count); partitions as usize]);
}

fn one_partition(brokers: &str) -> (String, String, String, FastConsumerConfig) {
    let (from, to) = run(async { (topic(brokers, 1).await, topic(brokers, 1).await) });
    fill(brokers, &from, 1, 0..20);
    let group = name("fenced");
    let mut config = config(brokers, &from, &group, ConsumerTier::Standard);
    config.batch_size = Some(10);
    (from, to, group, config)
}

fn a_zombie_is_fenced(brokers: &str) {
    let (from, to, group, config) = one_partition(brokers);
    let mut member = Member::open(&config).unwrap();
    let id = format!("id.{group}");
    let mut zombie = Transactions::open(&member, &config, &id).unwrap();
    let batch = next_batch(&mut member).unwrap();
    let (records, receipt) = batch.into_parts();
    let mut transaction = zombie.begin().unwrap();
    transaction.send(BaseRecord::<(), _>::to(&to).payload(records.get(0).unwrap().payload().unwrap())).unwrap();
    // Another process takes over its id.
    let mut heir = Transactions::open(&member, &config, &id).unwrap();
    let fenced = transaction.commit(vec![receipt]);
    assert!(matches!(fenced, Err(TransactionError::Fenced(_))), "{fenced:?}");
    assert!(matches!(zombie.begin().err(), Some(TransactionError::Fenced(_))));
    // What it had in hand comes again, and goes through the other.
    copy_all(&mut member, &mut heir, &to);
    member.close(drop);
    let found = values(brokers, &to, 1, 20);
    assert!(found[&0].iter().copied().eq(0..20), "{found:?}");
    assert_eq!(committed(brokers, &group, &from, 1), [Some(20)]);
}

fn a_member_without_its_partition(brokers: &str) {
    let (from, to, group, mut config) = one_partition(brokers);
    (config.max_poll_interval_ms, config.patience_ms) = (6_000, 1_000);
    let mut zombie = Member::open(&config).unwrap();
    let mut of_zombie = Transactions::open(&zombie, &config, &format!("one.{group}")).unwrap();
    let batch = next_batch(&mut zombie).unwrap();
    // It is silent for too long, and another member, with an id of its own, has its partition.
    let mut heir = Member::open(&config).unwrap();
    let mut of_heir = Transactions::open(&heir, &config, &format!("two.{group}")).unwrap();
    let mut copied = 0;
    while copied < 20 {
        let batch = next_batch(&mut heir).unwrap();
        copied += batch.len();
        copy(&mut of_heir, batch, &to, true).unwrap();
    }
    // By its own id it is not fenced: by the group it is.
    let refused = copy(&mut of_zombie, batch, &to, true);
    assert!(refused.is_err(), "its generation is over");
    zombie.close(drop);
    heir.close(drop);
    let found = values(brokers, &to, 1, 20);
    assert!(found[&0].iter().copied().eq(0..20), "{found:?}");
    assert_eq!(committed(brokers, &group, &from, 1), [Some(20)]);
}

fn a_transaction_has_no_gaps(brokers: &str) {
    let (_, to, group, config) = one_partition(brokers);
    let mut member = Member::open(&config).unwrap();
    let mut transactions = Transactions::open(&member, &config, &format!("gaps.{group}")).unwrap();
    let first = next_batch(&mut member).unwrap();
    let second = next_batch(&mut member).unwrap();
    let early = copy(&mut transactions, second, &to, true);
    assert!(matches!(early, Err(TransactionError::OutOfOrder(_))), "{early:?}");
    // The partition went back to the first one.
    assert!(!first.is_current());
    drop(first);
    copy_all(&mut member, &mut transactions, &to);
    member.close(drop);
    let found = values(brokers, &to, 1, 20);
    assert!(found[&0].iter().copied().eq(0..20), "{found:?}");
}
