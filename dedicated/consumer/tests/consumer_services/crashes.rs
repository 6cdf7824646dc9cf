//! A process and a broker that are killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use lyceum_consumer::{Assignor, ConsumerTier, DedicatedConsumer};
use lyceum_services::{Service, Suite, private};
use tokio::sync::watch;

use crate::given::{
    ASSIGNORS, Acknowledged, PATIENCE, committed, config, eventually, eventually_within, fill, name, run, topic, work,
};

/// What a child of this binary is told: brokers, topic, group, assignor and a file.
pub(crate) const STORY: &str = "LYCEUM_CONSUMER_TEST_STORY";

pub(crate) fn add(suite: &mut Suite) {
    for assignor in ASSIGNORS {
        let name = format!("a_process_that_is_killed_loses_nothing_with_{assignor:?}").to_lowercase();
        suite.test(name, &[Service::Kafka], move |endpoints| {
            a_process_is_killed(&endpoints.kafka().plaintext, assignor);
        });
    }
    suite.test_private("a_broker_that_is_killed_loses_and_doubles_nothing", &[Service::Kafka], &[], |_| {
        a_broker_is_killed();
    });
}

fn assignor_named(name: &str) -> Assignor {
    ASSIGNORS.into_iter().find(|assignor| format!("{assignor:?}") == name).expect("the parent names it")
}

/// A member that notes each record before it settles it, until it is killed.
pub(crate) fn tell(story: &str) {
    let [brokers, topic, group, assignor, file] = story.split(' ').collect::<Vec<_>>()[..] else {
        panic!("the parent says five things: {story}")
    };
    run(async {
        let mut config = config(brokers, topic, group, ConsumerTier::Dedicated);
        (config.assignor, config.batch_size) = (assignor_named(assignor), Some(10));
        let consumer = DedicatedConsumer::start(&config).unwrap();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        let mut lane = consumer.lanes().remove(0);
        while let Some(batch) = lane.next().await {
            let mut lines = String::new();
            for record in batch.records().iter() {
                lines += &format!("{} {}\n", record.partition(), record.offset());
            }
            file.write_all(lines.as_bytes()).unwrap();
            batch.settle_all();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn noted(file: &Path) -> Vec<(i32, i64)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The last line may be half.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| {
        let (partition, offset) = line.split_once(' ')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    whole.lines().filter_map(line).collect()
}

fn a_process_is_killed(brokers: &str, assignor: Assignor) {
    let (partitions, count) = (4, 2_000);
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let (topic, group) = (topic(brokers, partitions).await, name("killed"));
        fill(brokers, &topic, partitions, 0..count);
        let mut notes = Vec::new();
        // With KIP-848 the broker alone says after how long a member is gone: 45 seconds.
        let rounds = if assignor == Assignor::Consumer { 1 } else { 2 };
        for round in 0..rounds {
            let file = folder.path().join(round.to_string());
            let story = format!("{brokers} {topic} {group} {assignor:?} {}", file.display());
            let program = std::env::current_exe().unwrap();
            let mut child = Killed(Command::new(program).env(STORY, story).spawn().unwrap());
            eventually("the child has settled some", || noted(&file).len() >= 500).await;
            // SIGKILL: it neither commits nor leaves.
            child.0.kill().unwrap();
            child.0.wait().unwrap();
            notes.push(noted(&file));
        }
        let mut config = config(brokers, &topic, &group, ConsumerTier::Standard);
        config.assignor = assignor;
        let acknowledged = Acknowledged::default();
        let (stop, stopped) = watch::channel(false);
        let consumer = lyceum_consumer::ConsumerFactory::create(&config, lyceum_consumer::Raw, lyceum_consumer::Raw);
        let working = tokio::spawn(work(consumer.unwrap(), acknowledged.clone(), stopped));
        let is_complete = || (0..partitions).all(|partition| acknowledged.of(partition).last() == Some(&(count - 1)));
        eventually_within(2 * PATIENCE, "the last of each partition is acknowledged", is_complete).await;
        stop.send(true).unwrap();
        working.await.unwrap();
        for partition in 0..partitions {
            let last = acknowledged.of(partition);
            assert!(last.windows(2).all(|two| two[0] + 1 == two[1]), "in order, each once, in one life");
            let mut seen: BTreeSet<i64> = last.into_iter().collect();
            for note in &notes {
                let of: Vec<i64> = note.iter().filter(|of| of.0 == partition).map(|of| of.1).collect();
                assert!(of.windows(2).all(|two| two[0] + 1 == two[1]), "in order, each once, in one life");
                seen.extend(of);
            }
            assert!(seen.iter().copied().eq(0..count), "{assignor:?}: {} of {count}", seen.len());
        }
        assert_eq!(committed(brokers, &group, &topic, partitions), vec![Some(count); partitions as usize]);
    });
}

fn a_broker_is_killed() {
    let mut kafka = private(Service::Kafka).unwrap();
    let brokers = kafka.endpoints().kafka().plaintext.clone();
    let (partitions, count) = (3, 3_000);
    run(async {
        let topic = topic(&brokers, partitions).await;
        fill(&brokers, &topic, partitions, 0..count / 2);
        let all: Vec<_> = crate::given::TIERS
            .into_iter()
            .map(|tier| {
                let group = name("broker");
                let acknowledged = Acknowledged::default();
                let (stop, stopped) = watch::channel(false);
                let mut config = config(&brokers, &topic, &group, tier);
                // It outlasts the broker's restart: a member that is lost has what it settled and not committed again.
                config.session_timeout_ms = 45_000;
                let consumer =
                    lyceum_consumer::ConsumerFactory::create(&config, lyceum_consumer::Raw, lyceum_consumer::Raw);
                let working = tokio::spawn(work(consumer.unwrap(), acknowledged.clone(), stopped));
                (tier, group, acknowledged, stop, working)
            })
            .collect();
        for (_, _, acknowledged, ..) in &all {
            acknowledged.reach(1_000).await;
        }
        kafka.kill().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        kafka.start().unwrap();
        fill(&brokers, &topic, partitions, count / 2..count);
        for (tier, group, acknowledged, stop, working) in all {
            acknowledged.reach((count * i64::from(partitions)) as usize).await;
            stop.send(true).unwrap();
            tokio::time::timeout(PATIENCE, working).await.unwrap().unwrap();
            acknowledged.assert_each_once_in_order(partitions, count);
            assert_eq!(
                committed(&brokers, &group, &topic, partitions),
                vec![Some(count); partitions as usize],
                "{tier}"
            );
        }
    });
    kafka.stop().unwrap();
}
