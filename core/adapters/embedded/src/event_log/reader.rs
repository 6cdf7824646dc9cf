//! The reads. Each sees one state of the file, whatever is written meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};

use super::chunk::Chunk;
use super::store::{CHUNKS, COMMITTED, Failure, PARTITIONS, PEAKS, TOPICS};
use super::topic::Topic;
use lyceum_core::ports::event_log::{OffsetRange, TopicSpec, rules};
use lyceum_core::record::{Position, Record};

/// One state of the log.
pub(super) struct Reader(ReadTransaction);

impl Reader {
    pub(super) fn begin(database: &Database) -> Result<Self, Failure> {
        Ok(Self(database.begin_read()?))
    }

    pub(super) fn topics(&self) -> Result<Vec<TopicSpec>, Failure> {
        let topics = self.0.open_table(TOPICS)?;
        let specs = topics.iter()?.map(|entry| {
            let (name, row) = entry?;
            Ok(Topic::from(row.value()).into_spec(name.value()))
        });
        specs.collect()
    }

    /// Every topic's name and its partitions.
    pub(super) fn partitions(&self) -> Result<Vec<(String, i32)>, Failure> {
        Ok(self.topics()?.into_iter().map(|spec| (spec.name, spec.partitions)).collect())
    }

    fn range(&self, topic: u32, partition: i32) -> Result<OffsetRange, Failure> {
        let row = self.0.open_table(PARTITIONS)?.get((topic, partition))?.map(|row| row.value());
        Ok(row.map_or(OffsetRange { start: 0, end: 0 }, |(start, end, ..)| OffsetRange { start, end }))
    }

    pub(super) fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, Failure> {
        let Topic { id, partitions, .. } = Topic::find(&self.0.open_table(TOPICS)?, topic)?;
        (0..partitions).map(|partition| self.range(id, partition)).collect()
    }

    /// Calls `each` with the chunks from the one that holds `offset` on, and with what they start at, until it is done.
    fn visit_chunks(
        &self,
        topic: u32,
        partition: i32,
        offset: i64,
        mut each: impl FnMut(i64, Chunk<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let chunks = self.0.open_table(CHUNKS)?;
        let holding =
            chunks.range((topic, partition, i64::MIN)..=(topic, partition, offset))?.next_back().transpose()?;
        let first = holding.map_or(offset, |(key, _)| key.value().2);
        for entry in chunks.range((topic, partition, first)..=(topic, partition, i64::MAX))? {
            let (key, value) = entry?;
            if each(key.value().2, Chunk::parse(value.value())?)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn fetch(
        &self,
        topic: &Arc<str>,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, Failure> {
        let Topic { id, .. } = Topic::find_partition(&self.0.open_table(TOPICS)?, topic, partition)?;
        let range = self.range(id, partition)?;
        rules::check_offset(topic, partition, offset, range)?;
        let mut records = Vec::new();
        if offset == range.end || max_records == 0 {
            return Ok(records);
        }
        let (mut bytes, max_bytes) = (0, max_bytes as u64);
        self.visit_chunks(id, partition, offset, |base, chunk| {
            let skipped = (offset - base).max(0);
            let mut heads = Vec::new();
            let mut done = false;
            for head in chunk.heads().skip(skipped as usize) {
                let head = head?;
                let held = records.len() + heads.len();
                bytes += head.payload_bytes;
                done = held == max_records || held > 0 && bytes > max_bytes;
                if done {
                    break;
                }
                heads.push(head);
            }
            chunk.decode(&Position::new(Arc::clone(topic), partition, base + skipped), &heads, &mut records)?;
            Ok(done)
        })?;
        Ok(records)
    }

    pub(super) fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, Failure> {
        let Topic { id, .. } = Topic::find_partition(&self.0.open_table(TOPICS)?, topic, partition)?;
        let peaks = self.0.open_table(PEAKS)?;
        let Some(peak) = peaks.range((id, partition, timestamp_ms)..=(id, partition, i64::MAX))?.next().transpose()?
        else {
            return Ok(None);
        };
        let start = self.range(id, partition)?.start;
        let mut found = None;
        self.visit_chunks(id, partition, start.max(peak.1.value()), |base, chunk| {
            if chunk.newest_ms >= timestamp_ms {
                for (head, offset) in chunk.heads().zip(base..) {
                    if head?.timestamp_ms >= timestamp_ms && offset >= start {
                        found = Some(offset);
                        break;
                    }
                }
            }
            Ok(found.is_some())
        })?;
        Ok(found)
    }

    pub(super) fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, Failure> {
        let Topic { id, .. } = Topic::find(&self.0.open_table(TOPICS)?, topic)?;
        let committed = self.0.open_table(COMMITTED)?;
        let rows = committed.range((group, id, 0)..=(group, id, i32::MAX))?.map(|entry| {
            let (key, offset) = entry?;
            Ok((key.value().2, offset.value()))
        });
        rows.collect()
    }
}
