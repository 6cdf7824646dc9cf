//! The publisher beside what really fails: a Kafka that is killed and started again, and the publisher's own process, killed as `kill -9`
//! does while it spills.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use lyceum_core::ports::event_log::{Administer, EventLogError, Follow, Publish, Retention, TopicSpec};
use lyceum_core::record::{NewRecord, Position};
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_publisher::{Counts, Event, Publisher, PublisherSettings, Receipt, SpillError, StartError};
use lyceum_services::{Service, Suite};
use lyceum_testing::memory::event_log::MemoryEventLog;
use serde_json::{Value, json};
use uuid::Uuid;

const TOPIC: &str = "mission.events.v1";
const PARTITIONS: i32 = 3;
const MISSIONS: u64 = 7;

/// Where this binary is to be a program that spills, and is killed: the file, and the number of its first event.
const STORY: &str = "LYCEUM_TEST_PUBLISHER_STORY";

fn main() {
    if let Ok(story) = std::env::var(STORY) {
        return spill_for_ever(&story);
    }
    let mut suite = Suite::default();
    suite.test_private(
        "a_kafka_that_is_killed_and_comes_back_gets_every_event_in_order",
        &[Service::Kafka],
        &[],
        |_| a_kafka_that_is_killed_and_comes_back(),
    );
    suite.test("an_acknowledgement_is_awaited_where_that_is_asked_for", &[Service::Kafka], |endpoints| {
        let servers = endpoints.kafka().plaintext.clone();
        run(an_acknowledgement_is_awaited(servers));
    });
    suite.test("a_program_that_is_killed_while_it_spills_loses_nothing_that_was_spilled", &[], |_| {
        a_program_that_is_killed_while_it_spills();
    });
    suite.run();
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// The event of that number: a task of one of a few missions, each of which is a key.
fn event(number: u64) -> Event {
    let event = json!({
        "id": Uuid::from_u128(number.into()), "type": "task.created", "source": "mission", "timestamp": "2026-03-02T08:05:00Z",
        "payload": {"mission_id": format!("m{}", number % MISSIONS), "task_id": number.to_string(), "title": "Hang up posters"},
        "meta": {"schema_version": "1.0", "producer": "mission-service", "source_module": "mission", "tenant_id": "academy"},
    });
    Event::json(TOPIC, &event).unwrap()
}

/// Of each key the numbers in the order in which their first copies stand on the topic, and how many copies there are beside.
async fn read(log: &impl Follow, topic: &str) -> (BTreeMap<String, Vec<u64>>, usize) {
    let (mut by_key, mut seen, mut copies) = (BTreeMap::<String, Vec<u64>>::new(), BTreeSet::new(), 0);
    for (partition, range) in (0..).zip(log.offsets(topic).await.unwrap()) {
        let mut at = range.start;
        while at < range.end {
            let records = log.fetch(topic, partition, at, 1_000, 1 << 24).await.unwrap();
            assert!(!records.is_empty(), "nothing at {at} of {range:?}");
            for record in records {
                at = record.position.offset + 1;
                let event: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                assert_eq!(event["payload"]["mission_id"], key.as_str(), "the family's key");
                let number = event["payload"]["task_id"].as_str().unwrap().parse().unwrap();
                if seen.insert(number) {
                    by_key.entry(key).or_default().push(number);
                } else {
                    copies += 1;
                }
            }
        }
    }
    (by_key, copies)
}

fn expected(numbers: impl Iterator<Item = u64>) -> BTreeMap<String, Vec<u64>> {
    let mut by_key = BTreeMap::<String, Vec<u64>>::new();
    for number in numbers {
        by_key.entry(format!("m{}", number % MISSIONS)).or_default().push(number);
    }
    by_key
}

fn wait_until(publisher: &Publisher, what: &str, is_so: impl Fn(&Counts) -> bool) {
    let begun = Instant::now();
    while !is_so(&publisher.counts()) {
        assert!(begun.elapsed() < Duration::from_secs(180), "{what} never comes: {:?}", publisher.counts());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_kafka_that_is_killed_and_comes_back() {
    let mut kafka = lyceum_services::private(Service::Kafka).unwrap_or_else(|error| panic!("{error:?}"));
    let servers = kafka.endpoints().kafka().plaintext.clone();
    let kafka_settings = KafkaSettings { timeout: Duration::from_secs(4), ..KafkaSettings::plaintext(&servers) };
    let connect = || KafkaEventLog::connect(&kafka_settings).unwrap();
    let spec = TopicSpec { name: TOPIC.to_owned(), partitions: PARTITIONS, retention: Retention::default() };
    run(async { connect().create_topic(spec).await }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings =
        || PublisherSettings { spill_file: Some(folder.path().join("spill")), ..PublisherSettings::default() };
    let begin = || Publisher::start(settings(), Some(Arc::new(connect()))).unwrap();
    let mut numbers = 0..;
    let mut publish = |publisher: &Publisher, count: usize| {
        for number in numbers.by_ref().take(count) {
            publisher.publish(event(number));
        }
    };

    let publisher = begin();
    publish(&publisher, 300);
    wait_until(&publisher, "the first acknowledgement", |counts| counts.sent > 0);
    // In the middle of it.
    kafka.kill().unwrap();
    publish(&publisher, 300);
    wait_until(&publisher, "the spill", |counts| counts.spilled > 0 && counts.failures > 0);
    publish(&publisher, 300);
    let counts = publisher.close(Duration::from_secs(1));
    assert_eq!((counts.dropped, counts.refused, counts.sent + counts.waiting), (0, 0, 900), "{counts:?}");
    let sent_before = counts.sent;

    // Another process, which finds them.
    let publisher = begin();
    assert_eq!(publisher.counts().waiting, 900 - sent_before);
    publish(&publisher, 300);
    kafka.start().unwrap();
    publish(&publisher, 300);
    wait_until(&publisher, "the end", |counts| counts.waiting == 0);
    // And what comes now needs no file.
    publish(&publisher, 100);
    wait_until(&publisher, "the very end", |counts| counts.waiting == 0);
    let counts = publisher.close(Duration::from_secs(10));
    assert_eq!((counts.sent, counts.dropped, counts.refused), (1_600 - sent_before, 0, 0), "{counts:?}");
    assert!(counts.resent >= 900 - sent_before, "{counts:?}");
    let (sent, copies) = run(async { read(&connect(), TOPIC).await });
    println!("1600 events, {sent_before} before the kill was noticed, {copies} of them twice on the topic");
    assert_eq!(sent, expected(0..1_600));
}

/// On the shared broker with a topic of its own, whose payloads nobody judges.
async fn an_acknowledgement_is_awaited(servers: String) {
    let log = KafkaEventLog::connect(&KafkaSettings::plaintext(&servers)).unwrap();
    let topic = format!("publisher.{}", Uuid::new_v4().simple());
    log.create_topic(TopicSpec { name: topic.clone(), partitions: 1, retention: Retention::default() }).await.unwrap();
    let settings = PublisherSettings { check: lyceum_publisher::Check::Off, ..PublisherSettings::default() };
    let stream = KafkaEventLog::connect(&KafkaSettings::plaintext(&servers)).unwrap();
    let publisher = Publisher::start(settings, Some(Arc::new(stream))).unwrap();
    for offset in 0..3 {
        let receipt = publisher.publish_and_wait(Event::new(&topic, "{}").with_key("k")).await;
        assert_eq!(receipt, Receipt::Sent(Position::new(&*topic, 0, offset)));
        assert_eq!(log.offsets(&topic).await.unwrap()[0].end, offset + 1, "it is there");
    }
    let too_large = Event::new(&topic, vec![b'x'; 4 << 20]).with_key("k");
    let receipt = publisher.publish_and_wait(too_large).await;
    assert!(matches!(&receipt, Receipt::Refused(why) if why.contains("too large")), "{receipt:?}");
    assert_eq!((publisher.counts().sent, publisher.counts().refused), (3, 1));
}

/// A stream that is never available.
struct Nowhere;

#[async_trait]
impl Publish for Nowhere {
    async fn produce(&self, _: &str, _: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        Err(EventLogError::Unavailable("nobody is there".to_owned()))
    }
}

fn of_file(file: &Path) -> PublisherSettings {
    PublisherSettings { spill_file: Some(file.to_owned()), spill_after: Duration::ZERO, ..PublisherSettings::default() }
}

/// The program that is killed: it spills, and tells the number of each event that it knows to be safe.
fn spill_for_ever(story: &str) {
    let (first, file) = story.split_once(' ').expect("a number and a file");
    let mut next: u64 = first.parse().expect("a number");
    let publisher =
        Publisher::start(of_file(Path::new(file)), Some(Arc::new(Nowhere))).expect("nobody else has the file");
    let mut told = std::io::stdout();
    run(async {
        loop {
            let numbers = next..next + 20;
            next = numbers.end;
            let receipts = join_all(numbers.clone().map(|number| publisher.publish_and_wait(event(number)))).await;
            for (number, receipt) in numbers.zip(receipts) {
                assert_eq!(receipt, Receipt::Spilled);
                writeln!(told, "{number}").and_then(|()| told.flush()).expect("somebody listens");
            }
        }
    });
}

/// A program under test; it ends with this.
struct Spilling(Child);

impl Spilling {
    fn start(file: &Path, first: u64) -> Self {
        let story = format!("{first} {}", file.display());
        let program = std::env::current_exe().expect("this binary");
        let mut command = Command::new(program);
        Self(command.env(STORY, story).stdout(Stdio::piped()).spawn().expect("it starts"))
    }
}

impl Drop for Spilling {
    fn drop(&mut self) {
        // SIGKILL; it may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_program_that_is_killed_while_it_spills() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("spill");
    let mut safe = BTreeSet::new();
    let mut first = 0;
    for round in 0..6_u64 {
        let mut program = Spilling::start(&file, first);
        let mut lines = BufReader::new(program.0.stdout.take().expect("it is piped")).lines();
        let mut take = |most: u64| {
            let told: Vec<u64> =
                lines.by_ref().take(most as usize).map(|line| line.unwrap().parse().unwrap()).collect();
            assert_eq!(told.len() as u64, most, "the program of round {round} ended by itself");
            told
        };
        safe.extend(take(1));
        if round == 0 {
            let beside = Publisher::start(of_file(&file), Some(Arc::new(Nowhere))).map(drop).unwrap_err();
            assert!(matches!(&beside, StartError::Spill(SpillError::InUse(of)) if *of == file), "{beside}");
        }
        safe.extend(take(200 + round * 37));
        program.0.kill().unwrap();
        program.0.wait().unwrap();
        // What it had told before the kill is in the pipe.
        safe.extend(lines.map_while(Result::ok).filter_map(|line| line.parse::<u64>().ok()));
        first = safe.last().unwrap() + 1_000;
    }
    let log = Arc::new(MemoryEventLog::new(|| 1));
    let spec = TopicSpec { name: TOPIC.to_owned(), partitions: PARTITIONS, retention: Retention::default() };
    let sent = run(async {
        log.create_topic(spec).await.unwrap();
        let publisher = Publisher::start(of_file(&file), Some(Arc::clone(&log) as Arc<dyn Publish>)).unwrap();
        tokio::time::timeout(Duration::from_secs(120), publisher.flush()).await.expect("it is sent");
        read(&*log, TOPIC).await
    });
    let mut found = BTreeSet::new();
    for (key, numbers) in &sent.0 {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        found.extend(numbers.iter().copied());
    }
    let lost: Vec<_> = safe.difference(&found).collect();
    assert!(lost.is_empty(), "of {} lost: {lost:?}", safe.len());
    println!(
        "{} events were reported as spilled before six kills; {} were sent, {} of them twice",
        safe.len(),
        found.len(),
        sent.1
    );
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 16, "the file is as at its beginning");
}
