//! How fast the embedded event log appends and reads: 22,000 records of 1.2 kB in calls of 500, on the disk that holds
//! the folder for temporary files (`TMPDIR` names another).

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use lyceum_core::ports::event_log::{Administer, Follow, Publish, Retention, TopicSpec};
use lyceum_core::record::NewRecord;
use lyceum_embedded::event_log::{EmbeddedEventLog, EventLogOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const RECORDS: usize = 22_000;
const RECORD_BYTES: usize = 1200;
const CALL: usize = 500;
const PARTITIONS: i32 = 3;

fn main() {
    divan::main();
}

fn make_calls() -> Vec<Vec<NewRecord>> {
    let record = |n: usize| {
        let value = vec![b'x'; RECORD_BYTES - 10].into();
        NewRecord { key: Some(format!("{n:010}").into()), value: Some(value), ..NewRecord::default() }
    };
    (0..RECORDS / CALL).map(|call| (0..CALL).map(|n| record(call * CALL + n)).collect()).collect()
}

async fn open() -> (TempDir, EmbeddedEventLog) {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedEventLog::open(&folder.path().join("events"), EventLogOptions::default()).unwrap();
    let spec = TopicSpec { name: "events".to_owned(), partitions: PARTITIONS, retention: Retention::default() };
    log.create_topic(spec).await.unwrap();
    (folder, log)
}

/// `producers` callers at once share the calls; each waits for its answer before it calls again.
async fn append(log: &EmbeddedEventLog, calls: Vec<Vec<NewRecord>>, producers: usize) {
    let calls = std::sync::Mutex::new(calls.into_iter());
    let produce = async || {
        loop {
            let Some(call) = calls.lock().unwrap().next() else { break };
            log.produce("events", call).await.unwrap();
        }
    };
    futures::future::join_all((0..producers).map(|_| produce())).await;
}

#[divan::bench(args = [1, 4], sample_count = 5, sample_size = 1)]
fn append_22_000(bencher: Bencher<'_, '_>, producers: usize) {
    let runtime = Runtime::new().unwrap();
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(RECORDS * RECORD_BYTES))
        .with_inputs(|| (runtime.block_on(open()), make_calls()))
        .bench_local_values(|((folder, log), calls)| {
            runtime.block_on(append(&log, calls, producers));
            (folder, log)
        });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn read_22_000(bencher: Bencher<'_, '_>) {
    let runtime = Runtime::new().unwrap();
    let (_folder, log) = runtime.block_on(open());
    runtime.block_on(append(&log, make_calls(), 4));
    bencher.counter(ItemsCount::new(RECORDS)).counter(BytesCount::new(RECORDS * RECORD_BYTES)).bench_local(|| {
        runtime.block_on(async {
            for partition in 0..PARTITIONS {
                let mut offset = 0;
                loop {
                    let records = log.fetch("events", partition, offset, CALL, usize::MAX).await.unwrap();
                    let Some(last) = records.last() else { break };
                    offset = last.position.offset + 1;
                }
            }
        });
    });
}
