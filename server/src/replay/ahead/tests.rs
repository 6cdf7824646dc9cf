use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::audit::entry::Labels;
use lyceum_core::ports::event_log::{Membership, OffsetRange};
use lyceum_core::record::{Position, Record};
use lyceum_core::replay::plan::OfPartition;
use lyceum_core::replay::{FileFormat, Filter, Range, Target};
use parking_lot::Mutex;

use super::*;

/// Every offset but the third ones has a record; a fetch takes a while, and the first one of each offset that is named fails.
#[derive(Default)]
struct Slow {
    failing: Mutex<BTreeSet<(i32, i64)>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at_work: BTreeMap<i32, usize>,
    most_at_once: usize,
    stopped: Vec<(i32, i64)>,
}

fn is_there(offset: &i64) -> bool {
    offset % 3 != 2
}

#[async_trait]
impl Follow for Slow {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        _: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        {
            let mut seen = self.seen.lock();
            let of = seen.at_work.entry(partition).or_default();
            *of += 1;
            assert_eq!(*of, 1, "partition {partition} is read twice at once");
            let at_once = seen.at_work.values().sum();
            seen.most_at_once = seen.most_at_once.max(at_once);
        }
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        *self.seen.lock().at_work.get_mut(&partition).expect("it was counted") -= 1;
        if self.failing.lock().remove(&(partition, offset)) {
            return Err(EventLogError::Unavailable("away".to_owned()));
        }
        let record = |offset| Record {
            position: Position::new(topic, partition, offset),
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        // Fewer than there are, as a log may.
        Ok((offset..offset + 100).filter(is_there).take(max_records.min(2)).map(record).collect())
    }

    fn stop_reading(&self, _: &str, partition: i32, until: i64) {
        self.seen.lock().stopped.push((partition, until));
    }

    async fn offsets(&self, _: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        unreachable!("parts are read by a plan")
    }

    async fn offset_at(&self, _: &str, _: i32, _: i64) -> Result<Option<i64>, EventLogError> {
        unreachable!("parts are read by a plan")
    }

    async fn committed(&self, _: &str, _: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        unreachable!("a replay is in no group")
    }

    async fn commit(&self, _: &str, _: &str, _: &[(i32, i64)]) -> Result<(), EventLogError> {
        unreachable!("a replay is in no group")
    }

    async fn join(&self, _: &str, _: &str, _: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        unreachable!("a replay is in no group")
    }

    async fn wait_for_records(&self, _: &str, _: Duration) {}
}

impl ReadLabels for Slow {
    fn labels(&self, _: &Record) -> Labels {
        unreachable!("nothing is filtered")
    }
}

fn plan() -> Plan {
    let of = |partition, ranges: &[(i64, i64)]| OfPartition { topic: "t".to_owned(), partition, ranges: ranges.into() };
    let partitions = vec![of(0, &[(0, 9), (20, 21)]), of(1, &[(5, 6)]), of(2, &[(2, 30)]), of(3, &[(0, 4)])];
    Plan { partitions, step_offsets: 4, notes: Vec::new() }
}

fn request(limit: Option<u64>) -> Request {
    Request {
        topics: vec!["t".to_owned()],
        range: Range::default(),
        partitions: Vec::new(),
        filter: Filter::default(),
        target: Target::File { place: "-".to_owned(), format: FileFormat::Jsonl },
        rate: None,
        limit,
    }
}

/// Reads all parts from a step on, each up to so many records; what fails is read again.
async fn read(log: &Arc<Slow>, limit: Option<u64>, begin: usize, most: u64) -> Vec<(i32, i64)> {
    let plan = plan();
    let reader = Reader { log: Arc::<Slow>::clone(log), labels: Arc::<Slow>::clone(log), request: request(limit) };
    let mut parts = Ahead::new(reader, &plan);
    let mut found = Vec::new();
    for step in plan.steps().skip(begin) {
        let mut from = step.from;
        while from < step.until {
            let part = loop {
                match parts.read(&step, from, most).await {
                    Ok(part) => break part,
                    Err(Failed::Later(_)) => {}
                    Err(Failed::Never(reason)) => panic!("{reason}"),
                }
            };
            assert_eq!((part.chunk.partition, part.chunk.from), (step.partition, from));
            found.extend(part.records.iter().map(|record| (step.partition, record.position.offset)));
            from = part.chunk.until;
        }
    }
    found
}

fn every_record(begin: usize) -> Vec<(i32, i64)> {
    let of_step = |step: Step| (step.from..step.until).filter(is_there).map(move |offset| (step.partition, offset));
    plan().steps().skip(begin).flat_map(of_step).collect()
}

#[tokio::test]
async fn parts_come_in_the_order_of_the_plan_and_those_to_come_are_read_beside() {
    for begin in 0..6 {
        for most in [u64::MAX, 1, 2] {
            let log = Arc::new(Slow::default());
            assert_eq!(read(&log, None, begin, most).await, every_record(begin), "from step {begin}, at most {most}");
            assert!(log.seen.lock().most_at_once > 1, "nothing was read ahead");
        }
    }
}

#[tokio::test]
async fn what_failed_ahead_is_told_where_it_is_asked_for_and_read_again() {
    let log = Arc::new(Slow::default());
    log.failing.lock().extend([(0, 0), (1, 5), (2, 2), (2, 10), (3, 0), (0, 20)]);
    assert_eq!(read(&log, None, 0, u64::MAX).await, every_record(0));
    assert!(log.failing.lock().is_empty());
}

#[tokio::test]
async fn where_there_is_a_limit_nothing_is_read_that_may_not_be_asked_for() {
    let log = Arc::new(Slow::default());
    assert_eq!(read(&log, Some(1_000), 0, u64::MAX).await, every_record(0));
    assert_eq!(log.seen.lock().most_at_once, 1);
}

#[tokio::test]
async fn a_partition_is_left_once_its_last_record_is_read() {
    let log = Arc::new(Slow::default());
    read(&log, None, 0, u64::MAX).await;
    let mut stopped = log.seen.lock().stopped.clone();
    stopped.sort_unstable();
    assert_eq!(stopped, [(0, 21), (1, 6), (2, 30), (3, 4)]);
}
