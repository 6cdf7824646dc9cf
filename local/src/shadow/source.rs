//! The records that are judged, in one order for both sides: of each partition in its own order, and among partitions by their times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::record::{Header, NO_TIMESTAMP, Position, Record};
use lyceum_xapi::utc_time::UtcTime;
use serde::Deserialize;

use crate::ingest::reader::Events;
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
    /// Files of records, as `lyceum generate` writes them, or a replay.
    File(FileRecords),
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

/// Records of files: of each in its order, and among several by their times.
pub struct FileRecords {
    files: Vec<RecordFile>,
    /// Of each file that has more its next record's time, and which file that is.
    next: BinaryHeap<Reverse<(i64, usize)>>,
}

impl FileRecords {
    /// Opens files; `-` is standard input.
    ///
    /// # Errors
    /// Where one cannot be opened, or begins with what is no record.
    pub fn open(paths: &[PathBuf], range: &Range) -> Result<Self> {
        let files = paths.iter().map(|path| RecordFile::open(path, range.clone())).collect::<Result<_>>()?;
        let mut records = Self { files, next: BinaryHeap::new() };
        for at in 0..records.files.len() {
            records.look(at)?;
        }
        Ok(records)
    }

    fn next(&mut self) -> Result<Option<Taken>> {
        let Some(Reverse((_, at))) = self.next.pop() else { return Ok(None) };
        let taken = self.files[at].read.take();
        self.look(at)?;
        Ok(taken)
    }

    fn look(&mut self, at: usize) -> Result<()> {
        let file = &mut self.files[at];
        file.read = file.next()?;
        if let Some(taken) = &file.read {
            self.next.push(Reverse((taken.record.timestamp_ms, at)));
        }
        Ok(())
    }
}

/// One file, of lines as `lyceum generate` writes them or of rows of a replay to a file.
struct RecordFile {
    events: Events,
    shown: String,
    range: Range,
    /// By topic, of records that do not say where they stand: each topic has one partition then.
    offsets: BTreeMap<String, i64>,
    read: Option<Taken>,
}

/// A row of a replay to a file.
#[derive(Deserialize)]
struct Row {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    key: Option<String>,
    key_encoding: Option<String>,
    value: Option<String>,
    value_encoding: Option<String>,
    headers: String,
}

impl RecordFile {
    fn open(path: &Path, range: Range) -> Result<Self> {
        let events = Events::open(path)?;
        Ok(Self { events, shown: path.display().to_string(), range, offsets: BTreeMap::new(), read: None })
    }

    fn next(&mut self) -> Result<Option<Taken>> {
        loop {
            let Some(event) = self.events.next() else { return Ok(None) };
            let event = event?;
            let place = format!("{}, {}", self.shown, event.told_place());
            let Ok(value) = event.value else { bail!("{place}: it is larger than any log takes") };
            let record = self.record(&value).map_err(|reason| {
                anyhow!("{place}: {reason}; `lyceum generate --to FILE` writes such records, and a replay to a file")
            })?;
            let Range { topics, from_ms, until_ms, warm_up_ms } = &self.range;
            let time = record.timestamp_ms;
            let is_compared = from_ms.is_none_or(|from| time >= from);
            let is_judged = is_compared || warm_up_ms.is_some_and(|from| time >= from);
            let is_wanted = topics.is_empty() || topics.iter().any(|topic| **topic == *record.position.topic);
            if is_judged && is_wanted && until_ms.is_none_or(|until| time < until) {
                return Ok(Some(Taken { record, is_compared }));
            }
        }
    }

    fn record(&mut self, line: &Bytes) -> Result<Record, String> {
        // A line of records has no such member: there an offset is refused.
        if let Ok(row) = serde_json::from_slice::<Row>(line) {
            return row.record();
        }
        let line = record_line::read_kept(line)?;
        let topic = line.topic.ok_or("it names no topic")?;
        let offset = self.offsets.entry(topic.clone()).or_default();
        let position = Position::new(topic, 0, *offset);
        *offset += 1;
        let (timestamp_ms, key) = (time_of(line.timestamp.as_deref())?, line.key.map(Into::into));
        Ok(Record { position, timestamp_ms, key, value: line.value, headers: line.headers })
    }
}

impl Row {
    fn record(self) -> Result<Record, String> {
        let value = match (self.value, self.value_encoding.as_deref()) {
            (None, Some("omitted")) => {
                return Err("its value was left out, since a secret stands in it: take this row out".to_owned());
            }
            (value, encoding) => bytes_of(value, encoding)?,
        };
        let read: Vec<(String, serde_json::Value)> =
            serde_json::from_str(&self.headers).map_err(|error| format!("its headers are none: {error}"))?;
        let mut headers = Vec::with_capacity(read.len());
        for (name, value) in read {
            let value = match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.into()),
                other => bytes_of(other["base64"].as_str().map(str::to_owned), Some("base64"))?,
            };
            headers.push(Header { name, value });
        }
        Ok(Record {
            position: Position::new(self.topic, self.partition, self.offset),
            timestamp_ms: time_of(self.timestamp.as_deref())?,
            key: bytes_of(self.key, self.key_encoding.as_deref())?,
            value,
            headers,
        })
    }
}

fn bytes_of(text: Option<String>, encoding: Option<&str>) -> Result<Option<Bytes>, String> {
    let Some(text) = text else { return Ok(None) };
    match encoding {
        Some("base64") => BASE64.decode(text).map(|bytes| Some(bytes.into())).map_err(|error| error.to_string()),
        Some("json" | "text") | None => Ok(Some(text.into())),
        Some(other) => Err(format!("it is encoded as {other:?}, which this release does not know")),
    }
}

fn time_of(text: Option<&str>) -> Result<i64, String> {
    let Some(text) = text else { return Ok(NO_TIMESTAMP) };
    UtcTime::from_rfc3339(text).map(UtcTime::as_millis).map_err(|_| format!("{text:?} is no RFC 3339 time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        (folder, path)
    }

    fn all(paths: &[PathBuf], range: &Range) -> Result<Vec<Taken>> {
        let mut records = FileRecords::open(paths, range)?;
        std::iter::from_fn(|| records.next().transpose()).collect()
    }

    const ROW: &str = r#"{"topic":"a.b","partition":2,"offset":7,"timestamp":"2026-03-01T00:00:00.500Z","key":"AAE=","key_encoding":"base64","kind":"event","family":"a","event_type":"x","event_id":null,"tenant":null,"correlation_id":null,"value":"{\"x\":  1.0}","value_encoding":"json","headers":"[[\"a\",\"b\"],[\"n\",null],[\"o\",{\"base64\":\"/w==\"}]]"}"#;

    #[test]
    fn a_row_of_a_replay_to_a_file_is_the_record_that_it_was() {
        let (_folder, path) = file("rows.jsonl", &[ROW]);
        let taken = all(&[path], &Range::default()).unwrap();
        let headers = vec![
            Header::new("a", "b"),
            Header { name: "n".to_owned(), value: None },
            Header::new("o", Bytes::from_static(b"\xff")),
        ];
        let expected = Record {
            position: Position::new("a.b", 2, 7),
            timestamp_ms: 1_772_323_200_500,
            key: Some(Bytes::from_static(&[0, 1])),
            value: Some(Bytes::from_static(b"{\"x\":  1.0}")),
            headers,
        };
        assert_eq!(taken, [Taken { record: expected, is_compared: true }]);
    }

    #[test]
    fn a_row_without_its_value_is_no_tombstone() {
        let row = ROW.replace(
            r#""value":"{\"x\":  1.0}","value_encoding":"json""#,
            r#""value":null,"value_encoding":"omitted""#,
        );
        let (_folder, path) = file("rows.jsonl", &[&row]);
        let error = all(&[path], &Range::default()).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("secret"), "{error}");
    }

    #[test]
    fn records_of_several_files_come_in_the_order_of_their_times_and_each_file_keeps_its_own() {
        let line = |topic: &str, second: u32| {
            format!(r#"{{"topic":"{topic}","timestamp":"2026-03-01T00:00:{second:02}Z","value":{second}}}"#)
        };
        let (_one, first) = file("a.jsonl", &[&line("a", 1), &line("a", 5), &line("a", 4)]);
        let (_other, second) = file("b.jsonl", &[&line("b", 2), &line("b", 6)]);
        let range = Range { from_ms: Some(1_772_323_204_000), warm_up_ms: Some(1_772_323_202_000), ..Range::default() };
        let values = |range: &Range| -> Vec<(String, bool)> {
            let taken = all(&[first.clone(), second.clone()], range).unwrap();
            let value = |of: &Taken| String::from_utf8(of.record.value.clone().unwrap().to_vec()).unwrap();
            taken.iter().map(|of| (value(of), of.is_compared)).collect()
        };
        let expected = [("2", false), ("5", true), ("4", true), ("6", true)];
        assert_eq!(values(&range), expected.map(|(value, is_compared)| (value.to_owned(), is_compared)));
        let only = Range { topics: vec!["b".to_owned()], until_ms: Some(1_772_323_206_000), ..Range::default() };
        assert_eq!(values(&only), [("2".to_owned(), true)]);
    }

    #[tokio::test]
    async fn records_of_a_log_come_in_the_order_of_their_times_and_each_partition_keeps_its_own() {
        use lyceum_core::ports::event_log::{Administer, Publish, Retention, TopicSpec};
        use lyceum_core::record::NewRecord;
        use lyceum_embedded::event_log::{EmbeddedEventLog, EventLogOptions};

        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedEventLog::open(&folder.path().join("events.redb"), EventLogOptions::default()).unwrap();
        let topic = TopicSpec { name: "t".to_owned(), partitions: 2, retention: Retention::default() };
        log.create_topic(topic).await.unwrap();
        let record = |(partition, second): (i32, i64)| NewRecord {
            partition: Some(partition),
            timestamp_ms: Some(second * 1_000),
            ..NewRecord::default()
        };
        let sent = [(0, 1), (0, 5), (0, 4), (1, 2), (1, 3), (1, 9)];
        log.produce("t", sent.map(record).to_vec()).await.unwrap();
        let log: Arc<dyn EventLog> = Arc::new(log);
        let taken = async |range: &Range, known: &[&str]| {
            let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
            let mut records = Records::Log(LogRecords::open(log.clone(), range, &known).await?);
            let part = records.next_part().await?;
            assert!(records.next_part().await?.is_empty());
            Ok::<_, anyhow::Error>(
                part.iter().map(|of| (of.record.timestamp_ms / 1_000, of.is_compared)).collect::<Vec<_>>(),
            )
        };
        let all = taken(&Range::default(), &["t", "of-a-release-to-come"]).await.unwrap();
        assert_eq!(all, [1, 2, 3, 5, 4, 9].map(|second| (second, true)));
        let range = Range {
            topics: vec!["t".to_owned()],
            from_ms: Some(3_000),
            until_ms: Some(9_000),
            warm_up_ms: Some(2_000),
        };
        assert_eq!(taken(&range, &[]).await.unwrap(), [(2, false), (3, true), (5, true), (4, true)]);
        let unknown = Range { topics: vec!["no-such-topic".to_owned()], ..Range::default() };
        assert!(taken(&unknown, &[]).await.unwrap_err().to_string().contains("no-such-topic"));
    }
}
