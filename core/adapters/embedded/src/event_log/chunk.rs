//! A chunk: consecutive records of one partition as one value of the file. Many records a value make few B-tree entries,
//! and a reader shares one allocation among them.
//!
//! All integers are little-endian. A chunk is `version u8, count u32, newest i64 (the largest timestamp)` and its records;
//! a record is `body u32 (bytes that follow its head), payload u32, timestamp i64` and its body; a body is key, value,
//! `headers u32`, and per header name and value; each of these four is `length i32` (-1: null) and the bytes.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use lyceum_core::ports::event_log::rules;
use lyceum_core::record::{Header, NewRecord, Position, Record};

/// The chunk format that this program writes, and the newest it reads.
pub(super) const VERSION: u8 = 1;

/// Past this a chunk is closed. With its key and the page's own head it just fits one of redb's 64 KiB pages.
const FULL_BYTES: usize = 64 * 1024 - 256;

const CHUNK_HEAD_BYTES: usize = 1 + 4 + 8;
const RECORD_HEAD_BYTES: usize = 4 + 4 + 8;

/// Why bytes are no chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Written by a newer program.
    Newer(u8),
    /// Not what any program wrote.
    Damaged,
}

impl From<bytes::TryGetError> for Unreadable {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Damaged
    }
}

/// A chunk that is being filled.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    buffer: Vec<u8>,
    count: u32,
    newest_ms: i64,
}

impl ChunkWriter {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; CHUNK_HEAD_BYTES], count: 0, newest_ms: i64::MIN }
    }

    /// Whether the record would make it longer than a chunk should be. An empty one takes a record of any size.
    pub(super) fn is_full_for(&self, record: &NewRecord) -> bool {
        self.count > 0 && self.buffer.len() + RECORD_HEAD_BYTES + measure_body(record) > FULL_BYTES
    }

    /// Appends the record and returns its payload's bytes.
    pub(super) fn push(&mut self, record: &NewRecord, timestamp_ms: i64) -> u64 {
        let NewRecord { key, value, headers, .. } = record;
        let payload = rules::payload_bytes(key.as_deref(), value.as_deref(), headers);
        let body = measure_body(record);
        self.buffer.reserve(RECORD_HEAD_BYTES + body);
        self.buffer.put_u32_le(body as u32);
        self.buffer.put_u32_le(payload as u32);
        self.buffer.put_i64_le(timestamp_ms);
        put_bytes(&mut self.buffer, key.as_deref());
        put_bytes(&mut self.buffer, value.as_deref());
        self.buffer.put_u32_le(headers.len() as u32);
        for header in headers {
            put_bytes(&mut self.buffer, Some(header.name.as_bytes()));
            put_bytes(&mut self.buffer, header.value.as_deref());
        }
        self.count += 1;
        self.newest_ms = self.newest_ms.max(timestamp_ms);
        payload as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The largest timestamp in it.
    pub(super) fn newest_ms(&self) -> i64 {
        self.newest_ms
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut head = &mut self.buffer[..CHUNK_HEAD_BYTES];
        head.put_u8(VERSION);
        head.put_u32_le(self.count);
        head.put_i64_le(self.newest_ms);
        self.buffer
    }
}

fn measure_body(record: &NewRecord) -> usize {
    let lengths = 4 * (3 + 2 * record.headers.len());
    lengths + rules::payload_bytes(record.key.as_deref(), record.value.as_deref(), &record.headers)
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    buffer.put_i32_le(bytes.map_or(-1, |bytes| bytes.len() as i32));
    buffer.put_slice(bytes.unwrap_or_default());
}

/// A stored chunk, borrowed from its page.
pub(super) struct Chunk<'a> {
    /// How many records it holds.
    pub(super) count: u32,
    /// The largest timestamp in it.
    pub(super) newest_ms: i64,
    bytes: &'a [u8],
}

/// Where a record stands in its chunk, and what can be known of it without decoding it.
#[derive(Clone, Debug)]
pub(super) struct RecordHead {
    pub(super) payload_bytes: u64,
    pub(super) timestamp_ms: i64,
    body: Range<usize>,
}

impl<'a> Chunk<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut head = bytes;
        match head.try_get_u8()? {
            VERSION => {}
            newer if newer > VERSION => return Err(Unreadable::Newer(newer)),
            _ => return Err(Unreadable::Damaged),
        }
        Ok(Self { count: head.try_get_u32_le()?, newest_ms: head.try_get_i64_le()?, bytes })
    }

    /// The heads of its records, in order.
    pub(super) fn heads(&self) -> impl Iterator<Item = Result<RecordHead, Unreadable>> {
        let mut at = CHUNK_HEAD_BYTES;
        (0..self.count).map(move |_| {
            let mut head = self.bytes.get(at..).ok_or(Unreadable::Damaged)?;
            let body_bytes = head.try_get_u32_le()? as usize;
            let payload_bytes = head.try_get_u32_le()?.into();
            let timestamp_ms = head.try_get_i64_le()?;
            let start = at + RECORD_HEAD_BYTES;
            at = start + body_bytes;
            if at > self.bytes.len() {
                return Err(Unreadable::Damaged);
            }
            Ok(RecordHead { payload_bytes, timestamp_ms, body: start..at })
        })
    }

    /// Decodes consecutive records, the first of which stands at `first`. They share one copy of their bytes.
    pub(super) fn decode(
        &self,
        first: &Position,
        heads: &[RecordHead],
        records: &mut Vec<Record>,
    ) -> Result<(), Unreadable> {
        let (Some(front), Some(back)) = (heads.first(), heads.last()) else {
            return Ok(());
        };
        let from = front.body.start;
        let shared = Bytes::copy_from_slice(&self.bytes[from..back.body.end]);
        for (head, offset) in heads.iter().zip(first.offset..) {
            let mut body = shared.slice(head.body.start - from..head.body.end - from);
            let (key, value) = (take_bytes(&mut body)?, take_bytes(&mut body)?);
            let headers = (0..body.try_get_u32_le()?).map(|_| take_header(&mut body)).collect::<Result<_, _>>()?;
            let position = Position { offset, ..first.clone() };
            records.push(Record { position, timestamp_ms: head.timestamp_ms, key, value, headers });
        }
        Ok(())
    }
}

fn take_header(body: &mut Bytes) -> Result<Header, Unreadable> {
    let name = take_bytes(body)?.ok_or(Unreadable::Damaged)?;
    let name = std::str::from_utf8(&name).map_err(|_| Unreadable::Damaged)?.to_owned();
    Ok(Header { name, value: take_bytes(body)? })
}

fn take_bytes(body: &mut Bytes) -> Result<Option<Bytes>, Unreadable> {
    match usize::try_from(body.try_get_i32_le()?) {
        Err(_) => Ok(None),
        Ok(length) if length <= body.len() => Ok(Some(body.split_to(length))),
        Ok(_) => Err(Unreadable::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Record>, Unreadable> {
        let chunk = Chunk::parse(bytes)?;
        let heads = chunk.heads().collect::<Result<Vec<_>, _>>()?;
        let mut records = Vec::new();
        chunk.decode(&Position::new("t", 0, 7), &heads, &mut records)?;
        Ok(records)
    }

    fn record() -> NewRecord {
        let headers = vec![Header::new("a", "1"), Header { name: "a".into(), value: None }];
        NewRecord { key: Some("k".into()), value: Some(vec![0, 255].into()), headers, ..NewRecord::default() }
    }

    fn write(count: usize) -> Vec<u8> {
        let mut chunk = ChunkWriter::new();
        (0..count).for_each(|n| assert_eq!(chunk.push(&record(), n as i64), 6));
        chunk.finish()
    }

    #[test]
    fn a_chunk_gives_back_its_records_under_their_offsets() {
        let records = read(&write(3)).unwrap();
        assert_eq!(records.iter().map(|record| record.position.offset).collect::<Vec<_>>(), [7, 8, 9]);
        for (n, found) in records.iter().enumerate() {
            let Record { key, value, headers, timestamp_ms, .. } = found.clone();
            assert_eq!(NewRecord { key, value, headers, ..NewRecord::default() }, record());
            assert_eq!(timestamp_ms, n as i64);
        }
    }

    #[test]
    fn a_chunk_of_a_newer_format_is_named_as_such() {
        let mut bytes = write(1);
        bytes[0] = VERSION + 1;
        assert_eq!(read(&bytes).unwrap_err(), Unreadable::Newer(VERSION + 1));
    }

    #[test]
    fn a_chunk_cut_anywhere_is_damaged() {
        let bytes = write(2);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]).unwrap_err(), Unreadable::Damaged, "cut to {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..200),
            kept in 0..100usize,
        ) {
            let mut bytes = write(2);
            bytes.truncate(kept);
            bytes.extend(tail);
            if let Ok(records) = read(&bytes) {
                prop_assert_eq!(records.len() as u32, Chunk::parse(&bytes).unwrap().count);
            }
        }
    }
}
