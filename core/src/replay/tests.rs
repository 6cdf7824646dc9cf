//! Properties of plans and progress: every offset once, whatever the partitions, the ranges and the interruptions.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::record::{Position, Record};

const DAY_MS: i64 = 86_400_000;

fn request(range: Range, target: Target) -> Request {
    Request {
        topics: vec!["a".to_owned(), "b".to_owned()],
        range,
        partitions: vec![],
        filter: Filter::default(),
        target,
        rate: None,
        limit: None,
    }
}

fn offsets(topic: &str, partition: i32, start: i64, end: i64) -> Offsets {
    Offsets { topic: topic.to_owned(), partition, start, end, at_keys: Some(start), ..Offsets::default() }
}

fn record(topic: &str, partition: i32, offset: i64, bytes: usize) -> Record {
    Record {
        position: Position::new(topic, partition, offset),
        timestamp_ms: offset,
        key: None,
        value: Some(Bytes::from(vec![b'x'; bytes])),
        headers: vec![],
    }
}

/// A log whose partitions have some records, gaps between them, and ranges of offsets that lie anyhow.
fn logs() -> impl Strategy<Value = (Log, Vec<OffsetsOf>, i64)> {
    let partition = (0..50_i64, 0..400_i64);
    let range = (prop::option::of(0..2usize), prop::option::of(0..3i32), prop::option::of(0..500i64), 1..300i64);
    (prop::collection::vec(partition, 6), prop::collection::vec(range, 1..5), 1..90i64).prop_map(
        |(partitions, ranges, step_offsets)| {
            let places = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)];
            let of =
                |(place, (start, length)): ((&str, i32), (i64, i64))| offsets(place.0, place.1, start, start + length);
            let log = Log { partitions: places.into_iter().zip(partitions).map(of).collect(), ..Log::default() };
            let ranges = ranges.into_iter().map(|(topic, partition, from, length)| OffsetsOf {
                topic: topic.map(|topic| ["a", "b"][topic].to_owned()),
                partition,
                from,
                until: Some(from.unwrap_or(0) + length),
            });
            (log, ranges.collect(), step_offsets)
        },
    )
}

/// What a request of offsets means, told one by one.
fn wanted(log: &Log, ranges: &[OffsetsOf]) -> Vec<(String, i32, i64)> {
    let mut wanted = Vec::new();
    for of in &log.partitions {
        for offset in of.start..of.end {
            let is_in = |range: &OffsetsOf| {
                range.topic.as_ref().is_none_or(|topic| *topic == of.topic)
                    && range.partition.is_none_or(|partition| partition == of.partition)
                    && range.from.is_none_or(|from| from <= offset)
                    && range.until.is_none_or(|until| offset < until)
            };
            if ranges.iter().any(is_in) {
                wanted.push((of.topic.clone(), of.partition, offset));
            }
        }
    }
    wanted
}

/// Topic, partition and offset of what went out, the chunks with their numbers of records, and how it ended.
type Ran = (Vec<(String, i32, i64)>, Vec<(Chunk, usize)>, Progress);

/// Runs a plan over a log that has every offset that is not divisible by seven, and is interrupted after each part for which `stops` says so:
/// then only what was kept is known. Gives what went out, in its order, and how it ended.
fn run(plan: &Plan, limit: Option<u64>, bytes: usize, mut stops: impl FnMut() -> bool) -> Ran {
    let mut kept = serde_json::to_value(Progress::begin(plan, 0)).unwrap();
    let (mut sent, mut chunks) = (Vec::new(), Vec::new());
    'process: loop {
        // A process begins with what was kept, and nothing else.
        let mut progress: Progress = serde_json::from_value(kept.clone()).unwrap();
        for step in plan.steps().skip(usize::try_from(progress.step).unwrap()) {
            while let Some(from) = progress.offset_in(&step) {
                let left = limit.map_or(u64::MAX, |limit| limit - progress.counts().matched);
                if left == 0 {
                    break 'process;
                }
                let mut reading = Reading::begin(&step, from, left);
                while let Some((from, _)) = reading.wants() {
                    match (from..step.until).find(|offset| offset % 7 != 0) {
                        Some(offset) => {
                            reading.add(record(&step.topic, step.partition, offset, bytes), |record| {
                                record.position.offset % 3 != 0
                            });
                        }
                        None => reading.end_of_log(),
                    }
                }
                let part = reading.end();
                chunks.push((part.chunk.clone(), part.records.len()));
                let of = |record: &Record| {
                    (record.position.topic.to_string(), record.position.partition, record.position.offset)
                };
                sent.extend(part.records.iter().map(of));
                let count = part.records.len() as u64;
                let counts = Counts { read: part.read, matched: count, sent: count, ..Counts::default() };
                progress.advance(&step, &part.chunk, counts, None, 1);
                kept = serde_json::to_value(&progress).unwrap();
                if stops() {
                    continue 'process;
                }
            }
        }
        break;
    }
    (sent, chunks, serde_json::from_value(kept).unwrap())
}

proptest! {
    #[test]
    fn every_offset_of_the_ranges_is_in_exactly_one_step((log, ranges, step_offsets) in logs()) {
        let request = request(Range::Offsets(ranges.clone()), Target::Topic);
        let plan = Plan { step_offsets, ..plan(&request, &log).unwrap() };
        let steps: Vec<Step> = plan.steps().collect();
        let mut read: Vec<(String, i32, i64)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            prop_assert_eq!(step.number, number as u64);
            prop_assert!(step.from < step.until && step.until - step.from <= step_offsets);
            read.extend((step.from..step.until).map(|offset| (step.topic.clone(), step.partition, offset)));
        }
        // A partition's own are in their order.
        let mut last: BTreeMap<(String, i32), i64> = BTreeMap::new();
        for (topic, partition, offset) in &read {
            let before = last.insert((topic.clone(), *partition), *offset);
            prop_assert!(before.is_none_or(|before| before < *offset));
        }
        prop_assert_eq!(plan.offsets(), read.len() as u64);
        read.sort();
        prop_assert_eq!(read, wanted(&log, &ranges));
    }

    #[test]
    fn a_run_that_is_interrupted_anywhere_sends_what_one_without_sends(
        (log, ranges, step_offsets) in logs(),
        limit in prop::option::of(1..300u64),
        stops in prop::collection::vec(any::<bool>(), 1..60),
        bytes in prop::sample::select(vec![10, reading::PART_BYTES / 5, reading::PART_BYTES]),
    ) {
        let request = request(Range::Offsets(ranges.clone()), Target::Topic);
        let plan = Plan { step_offsets, ..plan(&request, &log).unwrap() };
        // Records of a part are large here: few of them are made at once.
        prop_assume!(bytes < 100 || plan.offsets() < 60);
        let whole = run(&plan, limit, bytes, || false);
        let mut stops = stops.into_iter();
        let interrupted = run(&plan, limit, bytes, || stops.next().unwrap_or(false));
        prop_assert_eq!(&whole, &interrupted);
        let matching = |(_, _, offset): &(String, i32, i64)| offset % 7 != 0 && offset % 3 != 0;
        let all: Vec<_> = wanted(&log, &ranges).into_iter().filter(matching).collect();
        let mut sent = whole.0;
        sent.sort();
        match limit.filter(|limit| *limit < all.len() as u64) {
            None => prop_assert_eq!(sent, all),
            Some(limit) => {
                prop_assert_eq!(sent.len() as u64, limit);
                prop_assert!(sent.iter().all(|one| all.contains(one)));
            }
        }
        let counted: u64 = whole.2.partitions.iter().map(|of| of.counts.sent).sum();
        prop_assert_eq!(counted, sent_len(&whole.1));
    }

    #[test]
    fn a_request_is_the_same_however_it_is_named(order in Just(vec![1, 2, 3]).prop_shuffle(), rate in 1..9u32) {
        let base = Request { partitions: vec![1, 2, 3], ..request(Range::default(), Target::Topic) };
        let mut other = Request { partitions: order, rate: Some(rate), ..base.clone() };
        other.topics = vec!["b".to_owned(), "a".to_owned(), "b".to_owned()];
        prop_assert_eq!(base.id(), other.id());
        prop_assert_ne!(base.id(), Request { partitions: vec![1, 2], ..base.clone() }.id());
        let json = serde_json::to_vec(&other).unwrap();
        prop_assert_eq!(Request::read(&json), Ok(other));
    }
}

fn sent_len(chunks: &[(Chunk, usize)]) -> u64 {
    chunks.iter().map(|(_, count)| *count as u64).sum()
}

#[test]
fn an_hour_of_each_partition_begins_at_its_own_offset() {
    let hour = Range::Times { from: time("2026-03-01T08:00:00Z"), until: time("2026-03-01T09:00:00Z") };
    let of = |partition, at_from, at_until| Offsets { at_from, at_until, ..offsets("a", partition, 0, 100) };
    let partitions = vec![of(0, Some(10), Some(20)), of(1, Some(90), None), of(2, None, None), of(3, Some(5), Some(5))];
    let plan = plan(&request(hour, Target::Topic), &Log { partitions, ..Log::default() }).unwrap();
    let ranges: Vec<_> = plan.partitions.iter().map(|of| (of.partition, of.ranges.clone())).collect();
    assert_eq!(ranges, [(0, vec![(10, 20)]), (1, vec![(90, 100)])]);
}

fn time(text: &str) -> Option<lyceum_xapi::utc_time::UtcTime> {
    Some(super::request::time(text).unwrap())
}

#[test]
fn events_that_the_audit_log_knows_are_read_where_they_stand() {
    let request = Request { topics: vec![], ..request(Range::CorrelationId("c".to_owned()), Target::Topic) };
    let at = |topic: &str, offset| Position::new(topic, 0, offset);
    let positions = vec![at("b", 7), at("a", 3), at("a", 4), at("a", 3), at("a", 40), at("gone", 1)];
    let partitions = vec![offsets("a", 0, 0, 30), offsets("b", 0, 0, 30)];
    let plan = plan(&request, &Log { partitions, positions, ..Log::default() }).unwrap();
    let ranges: Vec<_> = plan.partitions.iter().map(|of| (of.topic.as_str(), of.ranges.clone())).collect();
    assert_eq!(ranges, [("a", vec![(3, 5)]), ("b", vec![(7, 8)])]);
    assert_eq!(plan.notes, ["a/0 ends at offset 30: nothing is there yet from it on"]);
}

#[test]
fn what_is_older_than_keys_goes_to_nobody_who_could_apply_it_twice() {
    let old = |at_keys| Log {
        partitions: vec![Offsets { at_keys, ..offsets("a", 0, 0, 100) }],
        keys_since_ms: 45 * DAY_MS,
        ..Log::default()
    };
    let subscriber = Target::Subscriber { name: "search".to_owned(), publish: false };
    let file = Target::File { place: "out".to_owned(), format: FileFormat::Jsonl };
    for (target, is_refused) in
        [(Target::Topic, true), (subscriber, true), (Target::OtherTopic("c".to_owned()), false), (file, false)]
    {
        for at_keys in [Some(50), None] {
            let planned = plan(&request(Range::default(), target.clone()), &old(at_keys));
            assert_eq!(planned.is_err(), is_refused, "{target} {at_keys:?}");
            if let Err(wrong) = planned {
                assert!(wrong[0].message.contains("1970-02-15"), "{wrong:?}");
            }
        }
        assert!(plan(&request(Range::default(), target), &old(Some(0))).is_ok());
    }
}

#[test]
fn what_is_wrong_in_a_request_is_said_with_what_to_do() {
    let whole = json!({"topics": ["a"], "target": "topic"});
    assert!(Request::read(whole.to_string().as_bytes()).is_ok());
    for (change, field, says) in [
        (json!({"topics": []}), "topics", "name at least one"),
        (json!({"topics": ["a b"]}), "topics", "no topic name"),
        (json!({"partitions": [-1]}), "partitions", "count from 0"),
        (json!({"range": {"times": {"from": "yesterday"}}}), "request", "2026-01-31T09:30:00Z"),
        (json!({"range": {"times": {"from": "2026-01-02", "until": "2026-01-01"}}}), "range.times", "before until"),
        (json!({"range": {"offsets": []}}), "range.offsets", "at least one range"),
        (json!({"range": {"offsets": [{"from": 4, "until": 4}]}}), "range.offsets", "before until"),
        (json!({"range": {"offsets": [{"topic": "b"}]}}), "range.offsets", "none of the request's topics"),
        (json!({"range": {"correlation_id": " "}}), "range.correlation_id", "empty"),
        (json!({"range": {"event_ids": []}}), "range.event_ids", "1 to 1000"),
        (json!({"filter": {"tenant": ""}}), "filter", "leave it out"),
        (json!({"target": {"other_topic": "a"}}), "target.other_topic", "by this very replay"),
        (json!({"target": {"subscriber": {"name": ""}}}), "target.subscriber.name", "lyceum status"),
        (json!({"target": {"file": {"place": ""}}}), "target.file.place", "s3://bucket/prefix"),
        (json!({"target": "nowhere"}), "request", "nowhere"),
        (json!({"rate": 0}), "rate", "nothing would ever be sent"),
        (json!({"limit": 0}), "limit", "dry run"),
        (json!({"topic": "a"}), "request", "unknown field"),
    ] {
        let mut request = whole.clone();
        for (name, value) in change.as_object().unwrap() {
            request[name] = value.clone();
        }
        let wrong = Request::read(request.to_string().as_bytes()).expect_err(&change.to_string());
        assert_eq!(wrong[0].field, field, "{change}");
        assert!(wrong[0].message.contains(says), "{change}: {}", wrong[0].message);
    }
}

#[test]
fn a_partition_that_is_not_there_is_named_with_those_that_are() {
    let request = Request { partitions: vec![3], ..request(Range::default(), Target::Topic) };
    let log = Log { partitions: vec![offsets("a", 0, 0, 9), offsets("a", 1, 0, 9)], ..Log::default() };
    let wrong = plan(&request, &log).unwrap_err();
    assert_eq!(wrong[0].to_string(), "partitions: no topic of the request has a partition 3: the last one is 1");
}

#[test]
fn what_the_log_drops_while_it_is_read_is_counted_and_not_waited_for() {
    let step = Step { number: 0, place: 0, topic: "a".to_owned(), partition: 0, from: 10, until: 20 };
    let mut reading = Reading::begin(&step, 10, u64::MAX);
    reading.skip_to(15);
    assert_eq!(reading.wants(), Some((15, 5)));
    reading.add(record("a", 0, 17, 1), |_| true);
    reading.skip_to(99);
    assert_eq!(reading.wants(), None);
    let part = reading.end();
    assert_eq!((part.chunk.from, part.chunk.until, part.read, part.gone), (10, 20, 1, 7));
}

#[test]
fn a_run_ends_when_its_pace_says_and_pauses_are_none_of_it() {
    let request = request(Range::default(), Target::Topic);
    let log = Log { partitions: vec![offsets("a", 0, 0, 10_000)], ..Log::default() };
    let plan = plan(&request, &log).unwrap();
    let steps: Vec<Step> = plan.steps().collect();
    let mut progress = Progress::begin(&plan, 0);
    let limited = Request { limit: Some(5_500), ..request.clone() };
    assert_eq!(progress.ends_at_ms(&plan, &request), None);
    let chunk = |step: &Step| Chunk { topic: "a".to_owned(), partition: 0, from: step.from, until: step.until };
    let counts = Counts { read: 5_000, matched: 5_000, sent: 5_000, ..Counts::default() };
    progress.advance(&steps[0], &chunk(&steps[0]), counts, Some(json!(1)), 1_000);
    assert_eq!(progress.ends_at_ms(&plan, &request), Some(2_000));
    assert_eq!(progress.ends_at_ms(&plan, &limited), Some(1_100), "a limit ends it before");
    progress.cancel("by a person", 1_000);
    assert_eq!((progress.state, progress.ends_at_ms(&plan, &request)), (State::Cancelled, None));
    assert!(progress.resume(1_000_000) && !progress.resume(1_000_000));
    progress.advance(&steps[1], &chunk(&steps[1]), counts, Some(json!(2)), 1_001_000);
    progress.finish(Some(json!("all")), 1_001_000);
    assert_eq!((progress.running_ms, progress.per_second(None)), (2_000, Some(5_000.0)));
    assert_eq!((progress.checkpoint.clone(), progress.state), (Some(json!(2)), State::Done));
    progress.cancel("too late", 1_002_000);
    assert_eq!(progress.state, State::Done);
}

#[test]
fn a_pace_is_never_above_the_rate_that_was_asked_for() {
    let request = Request { rate: Some(40), ..request(Range::default(), Target::Topic) };
    let log = Log { partitions: vec![offsets("a", 0, 0, 400)], ..Log::default() };
    let plan = plan(&request, &log).unwrap();
    let step = plan.steps().next().unwrap();
    let mut progress = Progress::begin(&plan, 0);
    let counts = Counts { read: 40, matched: 40, sent: 40, ..Counts::default() };
    let advance = |progress: &mut Progress, from: i64, now_ms: i64| {
        let chunk = Chunk { topic: "a".to_owned(), partition: 0, from, until: from + 40 };
        progress.advance(&step, &chunk, counts, None, now_ms);
    };
    // Forty went in five milliseconds, and it waits for the rest of their second.
    advance(&mut progress, 0, 5);
    assert_eq!((progress.per_second(request.rate), progress.ends_at_ms(&plan, &request)), (Some(40.0), Some(9_005)));
    advance(&mut progress, 40, 1_005);
    // It is stopped within the wait, and what is resumed begins at once.
    progress.cancel("by a person", 1_100);
    assert!(progress.resume(50_000));
    advance(&mut progress, 80, 50_005);
    assert_eq!((progress.per_second(request.rate), progress.ends_at_ms(&plan, &request)), (Some(40.0), Some(57_005)));
    // Whoever takes the records is slower than that.
    advance(&mut progress, 120, 60_000);
    assert!(progress.per_second(request.rate).is_some_and(|pace| pace < 16.0));
    assert_eq!(progress.per_second(None), progress.per_second(request.rate));
}
