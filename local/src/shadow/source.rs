//! The records that are judged, in one order for both sides: of each partition in its own order, and among partitions by their times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::record::{NO_TIMESTAMP, Position, Record};
use lyceum_xapi::utc_time::UtcTime;

use crate::ingest::reader::{Event, Events};
use crate::ingest::record_line;

/// So much of a partition is read at once.
const FETCH_RECORDS: usize = 500;
const FETCH_BYTES: usize = 1 << 20;

/// So much is judged at once.
const PART_RECORDS: usize = 256;
const PART_BYTES: usize = 8 << 20;

/// Which records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Of these topics alone; none: of all that either release reads.
    pub topics: Vec<String>,
    /// From this time on, in milliseconds since 1970 UTC, by the timestamps of records; `None`: from the beginning.
    pub from_ms: Option<i64>,
    /// Up to before this time; `None`: up to what is there when the comparison begins.
    pub until_ms: Option<i64>,
    /// From this time on records are judged, too, so that both have their states, and are not compared.
    pub warm_up_ms: Option<i64>,
}

/// A record that is to be judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The record.
    pub record: Record,
    /// Whether what is said about it is compared.
    pub is_compared: bool,
}

/// Where records come from.
pub enum Records {
    /// A log.
    Log(LogRecords),
    /// A file of records, as `lyceum generate` writes it.
    File(Box<FileRecords>),
}

impl Records {
    /// The next ones; none at the end.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn next_part(&mut self) -> Result<Vec<Taken>> {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while part.len() < PART_RECORDS && bytes < PART_BYTES {
            let next = match self {
                Self::Log(log) => log.next().await?,
                Self::File(file) => file.next()?,
            };
            let Some(taken) = next else { break };
            bytes += taken.record.value.as_ref().map_or(0, |value| value.len());
            part.push(taken);
        }
        Ok(part)
    }
}

/// Records of a log.
pub struct LogRecords {
    log: Arc<dyn EventLog>,
    partitions: Vec<Partition>,
    /// Of each partition that has more its next record's time, and which partition that is.
    next: BinaryHeap<Reverse<(i64, usize)>>,
}

struct Partition {
    topic: String,
    number: i32,
    /// Where to read on.
    offset: i64,
    /// Where the range ends.
    end: i64,
    /// From where on is compared.
    compared: i64,
    read: VecDeque<Record>,
}

impl LogRecords {
    /// The records of a range, up to what is there now. `known` are the topics that a release reads.
    ///
    /// # Errors
    /// Where the log cannot be read, or has none of the topics.
    pub async fn open(log: Arc<dyn EventLog>, range: &Range, known: &[String]) -> Result<Self> {
        let topics = if range.topics.is_empty() { known } else { &range.topics };
        let mut partitions = Vec::new();
        for topic in topics {
            let ranges = match log.offsets(topic).await {
                Ok(ranges) => ranges,
                // A topic of a release that is to come.
                Err(EventLogError::UnknownTopic(_)) if range.topics.is_empty() => continue,
                Err(error) => return Err(error.into()),
            };
            for (number, held) in (0..).zip(ranges) {
                let place = async |time: Option<i64>, otherwise: i64| match time {
                    Some(time) => Ok(log.offset_at(topic, number, time).await?.unwrap_or(held.end).min(held.end)),
                    None => Ok::<_, EventLogError>(otherwise),
                };
                let compared = place(range.from_ms, held.start).await?;
                let end = place(range.until_ms, held.end).await?;
                let offset = place(range.warm_up_ms, compared).await?.min(compared);
                let read = VecDeque::new();
                partitions.push(Partition { topic: topic.clone(), number, offset, end, compared, read });
            }
        }
        let mut records = Self { log, partitions, next: BinaryHeap::new() };
        for at in 0..records.partitions.len() {
            records.look(at).await?;
        }
        Ok(records)
    }

    async fn next(&mut self) -> Result<Option<Taken>> {
        let Some(Reverse((_, at))) = self.next.pop() else { return Ok(None) };
        let partition = &mut self.partitions[at];
        let compared = partition.compared;
        let Some(record) = partition.read.pop_front() else { return Ok(None) };
        self.look(at).await?;
        Ok(Some(Taken { is_compared: record.position.offset >= compared, record }))
    }

    /// Notes when the partition's next record is, where there is one.
    async fn look(&mut self, at: usize) -> Result<()> {
        let Partition { topic, number, offset, end, read, .. } = &mut self.partitions[at];
        while read.is_empty() && *offset < *end {
            match self.log.fetch(topic, *number, *offset, FETCH_RECORDS, FETCH_BYTES).await {
                Ok(records) => {
                    // Offsets have gaps; where nothing is behind one, the partition is at its end.
                    *offset = records.last().map_or(*end, |last| last.position.offset + 1);
                    read.extend(records.into_iter().filter(|record| record.position.offset < *end));
                }
                // It was dropped since the comparison began.
                Err(EventLogError::OffsetOutOfRange { range, .. }) if *offset < range.start => *offset = range.start,
                Err(error) => return Err(error).with_context(|| format!("{topic}/{number} cannot be read")),
            }
        }
        if let Some(record) = read.front() {
            self.next.push(Reverse((record.timestamp_ms, at)));
        }
        Ok(())
    }
}

/// Records of a file, in its order. Each topic has one partition there.
pub struct FileRecords {
    events: Events,
    shown: String,
    range: Range,
    offsets: BTreeMap<String, i64>,
}

impl FileRecords {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path, range: Range) -> Result<Self> {
        let events = Events::open(path)?;
        Ok(Self { events, shown: path.display().to_string(), range, offsets: BTreeMap::new() })
    }

    fn next(&mut self) -> Result<Option<Taken>> {
        loop {
            let Some(event) = self.events.next() else { return Ok(None) };
            let event = event?;
            let place = format!("{}, {}", self.shown, event.told_place());
            let Event { value, .. } = event;
            let Ok(value) = value else { bail!("{place}: it is larger than any log takes") };
            let line = record_line::read_kept(&value).map_err(|reason| {
                anyhow::anyhow!("{place}: {reason}; `lyceum generate --to FILE` writes such records")
            })?;
            let Some(topic) = line.topic else { bail!("{place}: it names no topic") };
            let time = |text: &String| UtcTime::from_rfc3339(text).map(UtcTime::as_millis);
            let time = line.timestamp.as_ref().map(time).transpose();
            let Ok(time) = time else { bail!("{place}: its timestamp is no RFC 3339 time") };
            let timestamp_ms = time.unwrap_or(NO_TIMESTAMP);
            let offset = self.offsets.entry(topic.clone()).or_default();
            let position = Position::new(topic.as_str(), 0, *offset);
            *offset += 1;
            let Range { topics, from_ms, until_ms, warm_up_ms } = &self.range;
            let is_compared = from_ms.is_none_or(|from| timestamp_ms >= from);
            let is_judged = is_compared || warm_up_ms.is_some_and(|from| timestamp_ms >= from);
            let is_wanted = topics.is_empty() || topics.contains(&topic);
            if !is_judged || !is_wanted || until_ms.is_some_and(|until| timestamp_ms >= until) {
                continue;
            }
            let key = line.key.map(Into::into);
            let record = Record { position, timestamp_ms, key, value: line.value, headers: line.headers };
            return Ok(Some(Taken { record, is_compared }));
        }
    }
}
