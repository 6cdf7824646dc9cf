//! An hour out of a day of made-up events on a real Kafka, replayed by the running program to files and to one subscriber: exact counts for
//! every partition, effects that a sum over the events has, and nobody else who notices.
//!
//! `LYCEUM_REPLAY_EVENTS` is how many events the day has (a million: docs/performance.md), `LYCEUM_REPLAY_SEED` another day, `LYCEUM_BIN` the build
//! that is measured, and `LYCEUM_REPLAY_PER_SECOND` what it must reach to files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lyceum_catalog::catalog;
use lyceum_core::ports::event_log::{Administer, Follow, Publish};
use lyceum_core::record::{Header, NewRecord, Position};
use lyceum_functions::functions;
use lyceum_generate::{Generator, Made, Plan};
use lyceum_kafka::{KafkaEventLog, KafkaSettings};
use lyceum_server::topics::topics;
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::load::lag;
use lyceum_tests::memory::Memory;
use lyceum_tests::workplace::{Server, Workplace};
use lyceum_xapi::utc_time::UtcTime;
use serde::Deserialize;
use serde_json::{Value, json};

#[path = "load/learning.rs"]
mod learning;

use learning::Profiles;

const TENANT: &str = "academy";
const GROUP: &str = "hour";
/// So many events a run of the tests has.
const EVENTS: u64 = 24_000;
/// Families of several topics; of one of them order means nothing, so that an hour of it can be applied without the hours before.
const FAMILIES: [&str; 5] = ["statement", "learning", "survey", "content", "engagement"];
const SUBSCRIBER: &str = "learning";
const HOUR_MS: i64 = 3_600_000;
/// The eleventh one of the day.
const HOUR: i64 = 10;
/// So many records of a topic are sent at once.
const AT_ONCE: usize = 1_000;
/// By so much a process may grow while it replays the second half of a range, MB: chunks have up to four, and are there several times.
const GROWTH_MB: u64 = 48;
/// And by so much where stores fill their caches meanwhile.
const STORES_GROWTH_MB: u64 = 128;
/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(1_800);

pub(crate) fn add(suite: &mut Suite) {
    suite.test_private(
        "an_hour_out_of_a_day_goes_to_files_and_to_one_subscriber_exactly_once_and_in_flat_memory",
        &[Service::Kafka],
        &[],
        hour,
    );
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")))
}

/// Offsets by topic and partition.
type Places = BTreeMap<(String, i32), BTreeSet<i64>>;

/// What was written.
#[derive(Default)]
struct Day {
    from_ms: i64,
    all: Places,
    /// Of them those of the hour.
    hour: Places,
    /// What the subscriber makes of the hour, once and once more.
    profiles: [Profiles; 2],
}

impl Day {
    fn is_in_hour(&self, timestamp_ms: i64) -> bool {
        (timestamp_ms - self.from_ms) / HOUR_MS == HOUR
    }

    fn keep(&mut self, at: &Position, timestamp_ms: i64) {
        let place = (at.topic.to_string(), at.partition);
        if self.is_in_hour(timestamp_ms) {
            self.hour.entry(place.clone()).or_default().insert(at.offset);
        }
        self.all.entry(place).or_default().insert(at.offset);
    }

    fn add(&mut self, made: &Made, timestamp_ms: i64) {
        if self.is_in_hour(timestamp_ms) {
            self.profiles.iter_mut().for_each(|profiles| profiles.add(made));
        }
    }
}

/// Writes a day of events, their records' times spread evenly over it, a topic's in their order.
async fn write_day(log: &KafkaEventLog, events: u64, seed: u64) -> Day {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
    let mut day = Day { from_ms: (now_ms / HOUR_MS - 26) * HOUR_MS, ..Day::default() };
    let plan = Plan {
        seed,
        events: Some(events),
        families: FAMILIES.map(str::to_owned).to_vec(),
        tenants: vec![TENANT.to_owned()],
        ..Plan::default()
    };
    let mut waiting: BTreeMap<&'static str, Vec<NewRecord>> = BTreeMap::new();
    for (number, made) in (0..).zip(Generator::new(plan).expect("the plan is good")) {
        let timestamp_ms = day.from_ms + (24 * HOUR_MS) * number / events as i64;
        day.add(&made, timestamp_ms);
        let of_topic = waiting.entry(made.topic).or_default();
        of_topic.push(NewRecord {
            partition: None,
            key: Some(made.key.into()),
            value: made.value.map(Into::into),
            headers: made.headers.into_iter().map(|(name, text)| Header::new(&*name, text)).collect(),
            timestamp_ms: Some(timestamp_ms),
        });
        if of_topic.len() == AT_ONCE {
            send(log, made.topic, std::mem::take(of_topic), &mut day).await;
        }
    }
    for (topic, records) in waiting {
        send(log, topic, records, &mut day).await;
    }
    day
}

async fn send(log: &KafkaEventLog, topic: &str, records: Vec<NewRecord>, day: &mut Day) {
    let times: Vec<i64> = records.iter().filter_map(|record| record.timestamp_ms).collect();
    let positions = log.produce(topic, records).await.expect("they are written");
    assert_eq!(positions.len(), times.len());
    for (at, timestamp_ms) in positions.iter().zip(times) {
        day.keep(at, timestamp_ms);
    }
}

/// Nobody is to process the day but whom it is replayed to.
async fn pass_by(log: &KafkaEventLog) {
    for function in functions() {
        let subscription = function.subscription;
        for topic in subscription.topics() {
            let ends = log.offsets(topic).await.expect("the topic is there");
            let ends: Vec<(i32, i64)> = (0..).zip(ends.iter().map(|range| range.end)).collect();
            for group in BTreeSet::from([subscription.name.to_owned(), subscription.mapping_group(topic)]) {
                log.commit(&format!("{GROUP}-{group}"), topic, &ends).await.expect("it is committed");
            }
        }
    }
}

fn topics_of(places: &Places) -> BTreeSet<&str> {
    places.keys().map(|(topic, _)| topic.as_str()).collect()
}

fn count(places: &Places) -> u64 {
    places.values().map(|offsets| offsets.len() as u64).sum()
}

/// Replays, and compares what the run says of each partition with what was written; says how fast it was, and what memory it took.
async fn replay(what: &str, server: &Server, request: &Value, must: &Places) -> f64 {
    let growth_mb = if request["target"]["file"].is_null() { STORES_GROWTH_MB } else { GROWTH_MB };
    let memory = Memory::of(&server.running);
    let before_mb = (memory.own_mb(), memory.peak_mb());
    let asked = Instant::now();
    let (status, begun) = server.post("/events/replay", request, None).await;
    assert_eq!(status, 200, "{begun}");
    let (planned, started) = (asked.elapsed().as_secs_f64(), Instant::now());
    let path = format!("/api/replays/{}", begun["id"].as_str().expect("it has an id"));
    let mut middle_mb = None;
    let shown = loop {
        let (status, shown) = server.get(&path, None).await;
        assert_eq!(status, 200, "{shown}");
        let (done, all) = (shown["offsets"]["done"].as_u64().unwrap(), shown["offsets"]["all"].as_u64().unwrap());
        if 2 * done >= all {
            middle_mb.get_or_insert_with(|| (memory.own_mb(), memory.peak_mb()));
        }
        if shown["state"] != "running" {
            break shown;
        }
        assert!(started.elapsed() < PATIENCE, "it does not end: {shown}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let seconds = started.elapsed().as_secs_f64();
    let (middle_mb, end_mb) = (middle_mb.expect("it was half done"), (memory.own_mb(), memory.peak_mb()));
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("done"), &Value::Null), "{shown}");
    let per_second = count(must) as f64 / seconds;
    println!(
        "{what}: {} records of {} partitions, planned in {planned:.2} s, done in {seconds:.2} s, {per_second:.0} a second; memory of its own {}, {} and {} \
         MB, at the peak {}, {} and {} MB: before, in the middle, at the end",
        count(must),
        must.len(),
        before_mb.0,
        middle_mb.0,
        end_mb.0,
        before_mb.1,
        middle_mb.1,
        end_mb.1
    );
    let mut counted = BTreeMap::new();
    for of in shown["partitions"].as_array().expect("it has partitions") {
        let place =
            (of["topic"].as_str().expect("a topic").to_owned(), of["partition"].as_i64().expect("a number") as i32);
        let of = |name: &str| of["counts"][name].as_u64().expect("a number");
        assert_eq!((of("read"), of("refused"), of("gone")), (of("matched"), 0, 0), "{place:?}");
        assert_eq!(of("sent") + of("skipped"), of("matched"), "{place:?}");
        counted.insert(place, of("matched"));
    }
    let must: BTreeMap<(String, i32), u64> = must.iter().map(|(place, of)| (place.clone(), of.len() as u64)).collect();
    assert_eq!(counted, must, "{what}");
    assert!(
        end_mb.1 <= middle_mb.1 + growth_mb,
        "memory grows with the range: {middle_mb:?} in the middle, {end_mb:?} at the end"
    );
    per_second
}

/// The offsets that stand in the lines of files.
fn lines_below(folder: &Path) -> Places {
    #[derive(Deserialize)]
    struct Line {
        topic: String,
        partition: i32,
        offset: i64,
    }
    let mut found = Places::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for line in std::fs::read_to_string(&path).expect("it is text").lines() {
                let Line { topic, partition, offset } = serde_json::from_str(line).expect("a line is a row");
                let is_new = found.entry((topic, partition)).or_default().insert(offset);
                assert!(is_new, "offset {offset} stands there twice: {line:.200}");
            }
        }
    }
    found
}

/// How many documents there are of each event type.
async fn documents(server: &Server) -> BTreeMap<String, u64> {
    let (status, answer) = server.get(&format!("/api/analytics/platform/overview?tenant={TENANT}"), None).await;
    assert_eq!(status, 200, "{answer}");
    let rows =
        ["event_types", "other_documents"].into_iter().flat_map(|of| answer[of].as_array().into_iter().flatten());
    rows.filter_map(|row| Some((row["event_type"].as_str()?.to_owned(), row["count"].as_u64()?))).collect()
}

/// Where every topic ends, and how far every group has come.
async fn standing(log: &KafkaEventLog) -> BTreeMap<String, String> {
    let mut standing = BTreeMap::new();
    for topic in topics(&catalog()) {
        let ends = log.offsets(&topic.name).await.expect("the topic is there");
        standing.insert(topic.name, format!("{ends:?}"));
    }
    for function in functions() {
        for topic in function.subscription.topics() {
            let group = format!("{GROUP}-{}", function.subscription.name);
            let committed = log.committed(&group, topic).await.expect("the group is there");
            standing.insert(format!("{group} {topic}"), format!("{committed:?}"));
        }
    }
    standing
}

fn hour(_: &Endpoints) {
    let (events, seed) = (number("LYCEUM_REPLAY_EVENTS").unwrap_or(EVENTS), number("LYCEUM_REPLAY_SEED").unwrap_or(14));
    let kafka = lyceum_services::private(Service::Kafka).expect("a broker of its own");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(walk(kafka.endpoint(), events, seed));
}

async fn walk(kafka: &str, events: u64, seed: u64) {
    let log = KafkaEventLog::connect(&KafkaSettings::plaintext(kafka)).expect("a client");
    for topic in topics(&catalog()) {
        log.create_topic(topic).await.expect("the topic is made");
    }
    let started = Instant::now();
    let mut day = write_day(&log, events, seed).await;
    pass_by(&log).await;
    assert_eq!(count(&day.all), events);
    println!(
        "{events} events on {} partitions of {} topics, written in {:.1} s; {} of them in the hour",
        day.all.len(),
        topics_of(&day.all).len(),
        started.elapsed().as_secs_f64(),
        count(&day.hour)
    );
    let workplace = Workplace::new();
    let server = workplace.up(&[("KAFKA_BOOTSTRAP_SERVERS", kafka), ("KAFKA_GROUP_ID", GROUP)]);
    assert_eq!(lag(&server).await, 0, "nobody is to come to the day by itself");
    let before = standing(&log).await;

    let time = |hour: i64| UtcTime::from_millis(day.from_ms + hour * HOUR_MS).to_string();
    let hour = json!({"times": {"from": time(HOUR), "until": time(HOUR + 1)}});
    let files = |name: &str, range: &Value, format: &str| {
        let place = workplace.path().join(name).display().to_string();
        json!({"topics": topics_of(&day.all), "range": range, "target": {"file": {"place": place, "format": format}}})
    };
    let whole = json!({"times": {"from": time(0), "until": time(24)}});
    let mut paces = Vec::new();
    for format in ["jsonl", "parquet"] {
        for (name, range, must) in [("hour", &hour, &day.hour), ("day", &whole, &day.all)] {
            let what = format!("the {name} to {format}");
            let folder = format!("{name}-{format}");
            paces.push((replay(&what, &server, &files(&folder, range, format), must).await, what));
            let manifest = std::fs::read(workplace.path().join(&folder).join("manifest.json")).expect("a manifest");
            let manifest: Value = serde_json::from_slice(&manifest).expect("it is JSON");
            assert_eq!((&manifest["rows"], &manifest["records"]["range"]), (&json!(count(must)), range));
            if format == "jsonl" {
                assert_eq!(&lines_below(&workplace.path().join(&folder).join("data")), must);
            }
            std::fs::remove_dir_all(workplace.path().join(&folder)).expect("it is there");
        }
    }
    if let Some(least) = number("LYCEUM_REPLAY_PER_SECOND") {
        let slow: Vec<_> = paces.iter().filter(|(pace, _)| *pace < least as f64).collect();
        assert!(slow.is_empty(), "{least} records a second to files were asked for: {slow:?}");
    }

    let read: BTreeSet<&str> = functions()
        .find(|of| of.subscription.name == SUBSCRIBER)
        .expect("it is registered")
        .subscription
        .topics()
        .collect();
    let to_subscriber = |range: &Value| {
        let topics: BTreeSet<&str> = topics_of(&day.all).into_iter().filter(|topic| read.contains(topic)).collect();
        json!({"topics": topics, "range": range, "target": {"subscriber": {"name": SUBSCRIBER}}})
    };
    let of_subscriber = |places: &Places| -> Places {
        places
            .iter()
            .filter(|((topic, _), _)| read.contains(&**topic))
            .map(|(at, of)| (at.clone(), of.clone()))
            .collect()
    };
    let [once, again] = std::mem::take(&mut day.profiles);
    let must = of_subscriber(&day.hour);
    for (what, profiles) in [("the hour to one subscriber", once), ("the hour to one subscriber, once more", again)] {
        replay(what, &server, &to_subscriber(&hour), &must).await;
        assert_eq!(documents(&server).await.values().sum::<u64>(), count(&must), "an effect each, and of nobody else");
        profiles.compare(&server).await;
    }
    assert_eq!(standing(&log).await, before, "nothing was published, and nobody came further");
    let letters = server.get("/api/dead-letters", None).await.1;
    assert_eq!(letters["total"], json!(0), "{letters}");
    server.stop().expect_code(0);
}
