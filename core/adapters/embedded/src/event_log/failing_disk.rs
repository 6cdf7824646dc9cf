//! The log on a disk that refuses: every single write, growth or sync of a story fails once, in turn.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

use super::store::{Store, prepare};
use super::{EmbeddedEventLog, EventLogOptions};
use lyceum_core::ports::event_log::{Administer, EventLogError, Follow, Publish, Retention, TopicSpec};
use lyceum_core::record::NewRecord;

/// A disk that keeps its content when the log closes it, and says that it is full when its patience is over.
#[derive(Clone, Debug)]
struct Disk {
    content: Arc<InMemoryBackend>,
    /// How many changes succeed before one fails.
    patience: Arc<AtomicI64>,
    failure: Arc<Mutex<ErrorKind>>,
    /// Whether all after the first fail, too, until the disk is relieved.
    stays_full: bool,
}

impl Disk {
    fn new(failure: ErrorKind, stays_full: bool) -> Self {
        Self {
            content: Arc::new(InMemoryBackend::new()),
            patience: Arc::new(AtomicI64::new(i64::MAX)),
            failure: Arc::new(Mutex::new(failure)),
            stays_full,
        }
    }

    fn fail_after(&self, changes: i64) {
        self.patience.store(changes, SeqCst);
    }

    fn relieve(&self) {
        self.fail_after(i64::MAX);
    }

    fn change(&self) -> io::Result<()> {
        let left = self.patience.fetch_sub(1, SeqCst);
        if left == 0 || left < 0 && self.stays_full {
            return Err((*self.failure.lock().unwrap()).into());
        }
        Ok(())
    }

    fn open(&self) -> Result<EmbeddedEventLog, EventLogError> {
        let disk = self.clone();
        let opener = move || {
            let new = disk.content.len()? == 0;
            let database = Builder::new().set_cache_size(1 << 20).create_with_backend(disk.clone())?;
            if new {
                prepare(&database)?;
            }
            Ok(database)
        };
        EmbeddedEventLog::start(Store::open_with("events".to_owned(), Box::new(opener))?, EventLogOptions::default())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.content.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.content.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
        self.content.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change()?;
        self.content.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change()?;
        self.content.write(offset, data)
    }
}

const CALLS: usize = 6;
const RECORDS: usize = 30;

fn call(number: usize) -> Vec<NewRecord> {
    let value = format!("{number}/{}", "x".repeat(3000));
    vec![NewRecord { value: Some(value.into()), ..NewRecord::default() }; RECORDS]
}

/// Which call each record of the log belongs to, in the order of offsets.
async fn read_calls(log: &EmbeddedEventLog) -> Result<Vec<usize>, EventLogError> {
    let records = log.fetch("events", 0, 0, 10_000, usize::MAX).await?;
    let number = |value: &[u8]| std::str::from_utf8(value).unwrap().split('/').next().unwrap().parse().unwrap();
    Ok(records.iter().map(|record| number(record.value.as_deref().unwrap())).collect())
}

async fn create_log(disk: &Disk) -> EmbeddedEventLog {
    let log = disk.open().unwrap();
    let spec = TopicSpec { name: "events".to_owned(), partitions: 1, retention: Retention::default() };
    log.create_topic(spec).await.unwrap();
    log
}

#[tokio::test]
async fn a_write_that_fails_is_all_or_none_and_the_log_goes_on() {
    for stays_full in [false, true] {
        let mut failures = 0;
        for changes in 0.. {
            let disk = Disk::new(ErrorKind::StorageFull, stays_full);
            let log = create_log(&disk).await;
            disk.fail_after(changes);
            let mut acknowledged = Vec::new();
            for number in 0..CALLS {
                match log.produce("events", call(number)).await {
                    Ok(positions) => {
                        acknowledged.extend(positions.into_iter().map(|position| (number, position.offset)))
                    }
                    Err(EventLogError::Unavailable(why)) => {
                        failures += 1;
                        assert!(why.contains("free space") || why.contains("try again"), "{why}");
                    }
                    Err(other) => panic!("after {changes} changes: {other}"),
                }
            }
            let failed = disk.patience.load(SeqCst) < 0;
            disk.relieve();

            // The first call after the failure may still meet the database that it broke.
            let _ = read_calls(&log).await;
            log.produce("events", call(CALLS)).await.unwrap();
            drop(log);
            let log = disk.open().unwrap();
            let calls = read_calls(&log).await.unwrap();
            assert_eq!(calls.last(), Some(&CALLS));
            for (number, offset) in acknowledged {
                assert_eq!(calls[offset as usize], number, "after {changes} changes");
            }
            let whole: Vec<_> = calls.iter().step_by(RECORDS).flat_map(|&number| vec![number; RECORDS]).collect();
            assert_eq!(calls, whole, "after {changes} changes a call is there in part");
            assert!(
                whole.chunk_by(|one, other| one == other).all(|call| call.len() == RECORDS),
                "a call is there twice"
            );
            if !failed {
                break;
            }
        }
        assert!(failures > 10, "the disk refused {failures} calls only");
    }
}

#[tokio::test]
async fn a_full_disk_asks_for_space_and_another_failure_for_a_look_at_the_disk() {
    for (kind, advice) in [(ErrorKind::StorageFull, "free space"), (ErrorKind::PermissionDenied, "may be written")] {
        let disk = Disk::new(kind, true);
        let log = create_log(&disk).await;
        disk.fail_after(0);
        let error = log.produce("events", call(0)).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains(advice), "{error}");
    }
}
