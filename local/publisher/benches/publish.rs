//! What a publisher costs whoever publishes: the time of `publish`, beside a baseline of the same run, which is a lock and a queue and no
//! more. And what its own thread does with an event. The goal is 2 ms at most of the caller's time.
//!
//! `KAFKA_BOOTSTRAP_SERVERS` names a broker, on which awaiting the acknowledgement is measured, too; its topic stays there.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lyceum_core::ports::event_log::{Administer, EventLogError, Publish, Retention, TopicSpec};
use lyceum_core::record::{NewRecord, Position};
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_publisher::judge::Judge;
use lyceum_publisher::{Check, Event, Publisher, PublisherSettings};

const EVENTS: usize = 20_000;
/// Between two events, so that it is a program's pace, and not how fast a queue fills.
const PAUSE: Duration = Duration::from_micros(200);

const SAMPLES: &[(&str, &str, &str)] = &[
    ("statement", "nlj.training.bookings", "training/valid/booking.confirmed.bare.json"),
    ("envelope", "mission.events.v1", "mission/valid/mission.created.json"),
    ("analytics", "learning.events.v1", "learning/valid/question.answered.json"),
];

/// A stream that takes everything, or nothing.
struct Stream(bool);

#[async_trait]
impl Publish for Stream {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        if !self.0 {
            return Err(EventLogError::Unavailable("it is a bench's".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(records.iter().map(|_| Position::new(topic, 0, 0)).collect())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events = samples()?;
    println!(
        "{:>10} {:>10} {:>10} {:>10}   {EVENTS} events, microseconds of the caller",
        "median", "99 %", "99.9 %", "most"
    );
    let queue = Mutex::new(VecDeque::new());
    let pushed = times(&events, |event| queue.lock().unwrap_or_else(|of| of.into_inner()).push_back(event));
    report("baseline: a lock and a queue", pushed);
    drop(queue);

    let folder = tempfile::tempdir()?;
    let settings =
        || PublisherSettings { queue_events: 2 * EVENTS, queue_bytes: 1 << 30, ..PublisherSettings::default() };
    let spilling = |name: &str| PublisherSettings { spill_file: Some(folder.path().join(name)), ..settings() };
    for (what, settings, stream) in [
        ("publish, the stream is there", settings(), Some(Stream(true))),
        (
            "publish, the stream is there, nothing is judged",
            PublisherSettings { check: Check::Off, ..settings() },
            Some(Stream(true)),
        ),
        ("publish, the stream is unavailable, all of it spilled", spilling("a"), Some(Stream(false))),
        (
            "publish, spilled before it is sent",
            PublisherSettings { spill_after: Duration::ZERO, ..spilling("b") },
            Some(Stream(true)),
        ),
        (
            "publish, the queue is full, and the event dropped",
            PublisherSettings { queue_events: 1, ..settings() },
            Some(Stream(false)),
        ),
        ("publish, no stream", settings(), None),
    ] {
        let publisher = Publisher::start(settings, stream.map(|stream| Arc::new(stream) as Arc<dyn Publish>))?;
        report(what, times(&events, |event| publisher.publish(event)));
        println!("{:>43}   {:?}", "", publisher.close(Duration::from_millis(1)));
    }

    println!("\n{:>10}   microseconds of the publisher's own thread: an event judged", "mean");
    let judge = Judge::new(&PublisherSettings::default());
    for ((name, ..), event) in SAMPLES.iter().zip(&events) {
        let begun = Instant::now();
        for _ in 0..10_000 {
            let judged = judge.judge(event.clone(), 1);
            assert!(!black_box(judged).is_refused);
        }
        println!("{:>10.1}   {name}", begun.elapsed().as_secs_f64() * 1e6 / 10_000.0);
    }

    match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(servers) => on_kafka(&servers, &events[1]),
        Err(_) => {
            println!("\nKAFKA_BOOTSTRAP_SERVERS names no broker: awaiting an acknowledgement is not measured");
            Ok(())
        }
    }
}

fn on_kafka(servers: &str, event: &Event) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let log = Arc::new(KafkaEventLog::connect(&KafkaSettings::plaintext(servers))?);
    let topic = format!("bench.{}", uuid::Uuid::new_v4().simple());
    let spec = TopicSpec { name: topic.clone(), partitions: 1, retention: Retention::default() };
    runtime.block_on(log.create_topic(spec))?;
    let settings = PublisherSettings { check: Check::Off, ..PublisherSettings::default() };
    let publisher = Publisher::start(settings, Some(Arc::clone(&log) as Arc<dyn Publish>))?;
    let rounds = 500;
    let (mut awaited, mut produced) = (Vec::new(), Vec::new());
    println!(
        "\n{:>10} {:>10} {:>10} {:>10}   {rounds} events, microseconds until the broker's acknowledgement",
        "median", "99 %", "99.9 %", "most"
    );
    for _ in 0..rounds {
        let (begun, record) = (Instant::now(), NewRecord { value: Some("{}".into()), ..NewRecord::default() });
        runtime.block_on(log.produce(&topic, vec![record]))?;
        produced.push(begun.elapsed());
        let begun = Instant::now();
        let receipt = runtime.block_on(publisher.publish_and_wait(Event::new(&topic, "{}")));
        awaited.push(begun.elapsed());
        black_box((receipt, event));
    }
    report("baseline: produce of the event log", produced);
    report("publish_and_wait", awaited);
    Ok(())
}

fn samples() -> std::io::Result<Vec<Event>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    SAMPLES.iter().map(|(_, topic, file)| Ok(Event::new(*topic, std::fs::read(folder.join(file))?))).collect()
}

/// How long each call took.
fn times(events: &[Event], publish: impl Fn(Event)) -> Vec<Duration> {
    let mut times = Vec::with_capacity(EVENTS);
    for (number, event) in events.iter().cycle().take(EVENTS).enumerate() {
        // A call of the stream has one event of a key.
        let event = event.clone().with_key((number % 1_000).to_string());
        let begun = Instant::now();
        publish(event);
        times.push(begun.elapsed());
        while begun.elapsed() < PAUSE {
            std::hint::spin_loop();
        }
    }
    times
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let micros = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!("{:>10.1} {:>10.1} {:>10.1} {:>10.1}   {what}", micros(0.5), micros(0.99), micros(0.999), micros(1.0));
}
