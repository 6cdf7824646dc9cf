//! The event log as one durable file: Kafka's twin that needs nothing installed.
//!
//! **Durable.** What was answered is on the disk: one writer gathers the calls that wait into one redb transaction and
//! answers them after its `fsync` (`writer`). A process that dies at any moment, or a machine that loses its power,
//! leaves whole transactions and nothing of an unfinished one. A call that failed with
//! [`EventLogError::Unavailable`] may, as with Kafka, still have been written: all of it or nothing.
//!
//! **Compact.** Records lie together in chunks of up to 64 KiB (`chunk`). Records that were fetched together share
//! their bytes; keeping one of them keeps those of its neighbours in memory.
//!
//! **Limits.** One process at a time. A full disk is an error for whoever writes, and because the file is opened anew
//! after an error of its disk, readers may get it, too. After a crash the file is checked as a whole when it is
//! opened, about a second per gigabyte. Content that the disk alters without an error is found only where it breaks
//! the format.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use lyceum_core::ports::event_log::groups::Groups;
use lyceum_core::ports::event_log::{Administer, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec};
use lyceum_core::record::{NewRecord, Position, Record};
use reader::Reader;
use store::{Failure, Store};
use writer::{Growth, Writer};

mod chunk;
#[cfg(test)]
mod failing_disk;
mod reader;
mod store;
mod topic;
mod writer;

/// How the file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLogOptions {
    /// The most memory for pages of the file, those yet to be written included. 32 MiB unless told otherwise.
    pub cache_bytes: usize,
    /// The largest record that is taken, in bytes of key, value and headers. Kafka's `message.max.bytes`, 1,048,588,
    /// unless told otherwise; at most 1 GiB counts.
    pub max_record_bytes: usize,
}

impl Default for EventLogOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 * 1024 * 1024, max_record_bytes: 1_048_588 }
    }
}

/// The most that [`EventLogOptions::max_record_bytes`] can be: the file counts in 31 bits.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// An event log in one file. Its calls need a Tokio runtime; dropping it closes the file.
pub struct EmbeddedEventLog {
    store: Arc<Store>,
    growth: watch::Receiver<Growth>,
    max_record_bytes: usize,
    groups: Groups,
    // Taken when the log is dropped: the thread ends once its writer is gone.
    writer: Arc<Mutex<Option<Writer>>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedEventLog {
    /// Opens the log in the file at `path`, whose folder must exist, and creates it where there is none.
    ///
    /// # Errors
    /// [`EventLogError::Refused`] where another process has it open, a newer program wrote it, or it is damaged or no log;
    /// [`EventLogError::Unavailable`] where the disk does not let it be read or written.
    pub fn open(path: &Path, options: EventLogOptions) -> Result<Self, EventLogError> {
        Self::start(Store::open(path, options.cache_bytes)?, options)
    }

    fn start(store: Store, options: EventLogOptions) -> Result<Self, EventLogError> {
        let store = Arc::new(store);
        let (grow, growth) = watch::channel(Growth::new());
        let (writer, write) = Writer::new(Arc::clone(&store), grow);
        let thread = thread::Builder::new().name("event-log-writer".to_owned()).spawn(write);
        let thread = thread.map_err(|error| {
            EventLogError::Unavailable(format!("its writer could not be started ({error}); free memory and try again"))
        })?;
        let max_record_bytes = options.max_record_bytes.min(MAX_RECORD_BYTES);
        let (writer, thread) = (Arc::new(Mutex::new(Some(writer))), Some(thread));
        Ok(Self { store, growth, max_record_bytes, groups: Groups::default(), writer, thread })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(Reader) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, EventLogError> {
        let store = Arc::clone(&self.store);
        let read = spawn_blocking(move || store.run(|database| work(Reader::begin(database)?)));
        read.await.map_err(|error| EventLogError::Unavailable(format!("the read was given up ({error}); try again")))?
    }

    fn writer(&self) -> Result<Writer, EventLogError> {
        writer_in(&self.writer)
    }
}

fn writer_in(writer: &Mutex<Option<Writer>>) -> Result<Writer, EventLogError> {
    let writer = writer.lock().clone();
    writer.ok_or_else(|| EventLogError::Unavailable("it is being closed; open it again".to_owned()))
}

impl Drop for EmbeddedEventLog {
    fn drop(&mut self) {
        drop(self.writer.lock().take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to write.
            let _ = thread.join();
        }
        self.store.close();
    }
}

#[async_trait]
impl Publish for EmbeddedEventLog {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let (topic, limit_bytes) = (Arc::from(topic), self.max_record_bytes);
        let produce = move |batch: &mut writer::Batch<'_>| batch.produce(&topic, &records, limit_bytes);
        self.writer()?.change(produce).await
    }
}

#[async_trait]
impl Follow for EmbeddedEventLog {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        let topic = Arc::from(topic);
        self.read(move |reader| reader.fetch(&topic, partition, offset, max_records, max_bytes)).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        let topic = topic.to_owned();
        self.read(move |reader| reader.offsets(&topic)).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        let topic = topic.to_owned();
        self.read(move |reader| reader.offset_at(&topic, partition, timestamp_ms)).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.read(move |reader| reader.committed(&group, &topic)).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.groups.check_outsider(group, topic, offsets)?;
        let (group, topic, offsets) = (group.to_owned(), topic.to_owned(), offsets.to_owned());
        self.writer()?.change(move |batch| batch.commit_offsets(&group, &topic, &offsets)).await
    }

    async fn join(&self, group: &str, topic: &str, _patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        let partitions = self.offsets(topic).await?.len() as i32;
        let (writer, names) = (Arc::clone(&self.writer), (group.to_owned(), topic.to_owned()));
        let write = move |offsets: Vec<(i32, i64)>| -> BoxFuture<'static, _> {
            let (writer, (group, topic)) = (writer_in(&writer), names.clone());
            Box::pin(async move { writer?.change(move |batch| batch.commit_offsets(&group, &topic, &offsets)).await })
        };
        Ok(Box::new(self.groups.join(group, topic, partitions, Box::new(write))))
    }

    async fn wait_for_records(&self, topic: &str, limit: Duration) {
        let mut growth = self.growth.clone();
        let seen = growth.borrow().get(topic).copied();
        // Either way there is nothing more to wait for.
        let _ = timeout(limit, growth.wait_for(|growth| growth.get(topic).copied() != seen)).await;
    }
}

#[async_trait]
impl Administer for EmbeddedEventLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        let (name, partitions) = (spec.name.clone(), spec.partitions);
        self.writer()?.change(move |batch| batch.create_topic(&spec)).await?;
        self.groups.resize(&name, partitions);
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.read(|reader| reader.topics()).await
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        let mut total = 0;
        for (topic, partitions) in self.read(|reader| reader.partitions()).await? {
            for partition in 0..partitions {
                let mut more = true;
                while more {
                    let topic = topic.clone();
                    let retain = move |batch: &mut writer::Batch<'_>| batch.retain(&topic, partition, now_ms);
                    let dropped;
                    (dropped, more) = self.writer()?.change(retain).await?;
                    total += dropped;
                }
            }
        }
        Ok(total)
    }
}
