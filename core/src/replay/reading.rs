//! Which records of a step go out together. The same records are always cut into the same parts, however a log answers: so files have the
//! same bytes for the same request.

use super::plan::Step;
use crate::ports::event_log::rules::payload_bytes;
use crate::record::Record;

/// A part ends behind the record with which its matching ones have so many bytes.
pub const PART_BYTES: usize = 4 << 20;

/// Neighbouring offsets of a partition whose matching records go out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset behind the last one.
    pub until: i64,
}

/// A part of a step while it is read.
#[derive(Debug)]
pub struct Reading {
    chunk: Chunk,
    /// Up to before this one the step goes.
    end: i64,
    /// Of those that match so many may be taken.
    left: u64,
    bytes: usize,
    read: u64,
    gone: u64,
    is_full: bool,
    records: Vec<Record>,
}

/// A part of a step that was read.
#[derive(Debug)]
pub struct Part {
    /// Which offsets.
    pub chunk: Chunk,
    /// The records that match.
    pub records: Vec<Record>,
    /// How many records there were.
    pub read: u64,
    /// How many offsets the log had dropped before they were read.
    pub gone: u64,
}

impl Reading {
    /// Begins a part at an offset of a step; of those that match it takes at most so many.
    pub fn begin(step: &Step, from: i64, left: u64) -> Self {
        let chunk = Chunk { topic: step.topic.clone(), partition: step.partition, from, until: from };
        let (end, is_full) = (step.until, left == 0 || from >= step.until);
        Self { chunk, end, left, bytes: 0, read: 0, gone: 0, is_full, records: Vec::new() }
    }

    /// From where it is to be read, unless it has all.
    pub fn wants(&self) -> Option<(i64, usize)> {
        let most = usize::try_from(self.end - self.chunk.until).unwrap_or(usize::MAX);
        (!self.is_full).then_some((self.chunk.until, most))
    }

    /// The topic and partition that it is of.
    pub fn place(&self) -> (&str, i32) {
        (&self.chunk.topic, self.chunk.partition)
    }

    /// The next record. What comes behind the part's end is left for the next one.
    pub fn add(&mut self, record: Record, matches: impl FnOnce(&Record) -> bool) {
        let offset = record.position.offset;
        if self.is_full || offset < self.chunk.until {
            return;
        }
        if offset >= self.end {
            return self.end_of_log();
        }
        self.chunk.until = offset + 1;
        self.read += 1;
        if matches(&record) {
            self.bytes += payload_bytes(record.key.as_deref(), record.value.as_deref(), &record.headers);
            self.left -= 1;
            self.records.push(record);
        }
        self.is_full = self.chunk.until >= self.end || self.left == 0 || self.bytes >= PART_BYTES;
    }

    /// Nothing is between here and the step's end: offsets have gaps.
    pub fn end_of_log(&mut self) {
        self.chunk.until = self.end.max(self.chunk.until);
        self.is_full = true;
    }

    /// The log begins at this offset by now: what is before was dropped before it was read.
    pub fn skip_to(&mut self, start: i64) {
        let start = start.min(self.end);
        self.gone += start.abs_diff(self.chunk.until) * u64::from(start > self.chunk.until);
        self.chunk.until = self.chunk.until.max(start);
        self.is_full |= self.chunk.until >= self.end;
    }

    /// What was read.
    pub fn end(self) -> Part {
        Part { chunk: self.chunk, records: self.records, read: self.read, gone: self.gone }
    }
}
