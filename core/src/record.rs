//! A Kafka record as every part of the system sees it, and the position that names it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One header of a record. Kafka allows a header without a value, and the same name more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name; on the wire UTF-8.
    pub name: String,
    /// The header's bytes; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// The last header of that name, as text. Kafka's own clients take the last one, too.
pub fn header_text<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .rev()
        .find(|header| header.name == name)?
        .value
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
}

/// The timestamp of a record that came without one; Kafka's `RecordBatch.NO_TIMESTAMP`.
pub const NO_TIMESTAMP: i64 = -1;

/// A record that was read from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// Milliseconds since 1970-01-01T00:00:00Z, as the producer or the broker set them.
    pub timestamp_ms: i64,
    /// Decides the partition, and with it the order.
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// In the order in which they were sent.
    pub headers: Vec<Header>,
}

/// A record to be produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Where to put it; `None` leaves that to the key (see [`partition_for_key`]).
    pub partition: Option<i32>,
    /// Decides the partition, and with it the order.
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// In the order in which they are to be kept.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970, at least 1, because Kafka's clients take 0 for none; `None`: the log's own clock.
    pub timestamp_ms: Option<i64>,
}

/// A record's place: topic, partition and offset. Written `topic/partition/offset`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Counted from 0.
    pub partition: i32,
    /// Counted from 0 within the partition.
    pub offset: i64,
}

impl Position {
    /// The place `topic/partition/offset`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32, offset: i64) -> Self {
        Self { topic: topic.into(), partition, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// Why a text is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position: write topic/partition/offset, for example nlj.xapi.statements/0/42")]
pub struct InvalidPosition(pub String);

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPosition(text.to_owned());
        let (rest, offset) = text.rsplit_once('/').ok_or_else(invalid)?;
        let (topic, partition) = rest.rsplit_once('/').ok_or_else(invalid)?;
        let offset: i64 = offset.parse().map_err(|_| invalid())?;
        let partition: i32 = partition.parse().map_err(|_| invalid())?;
        if topic.is_empty() || partition < 0 || offset < 0 {
            return Err(invalid());
        }
        Ok(Self::new(topic, partition, offset))
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The partition that Kafka's default partitioner chooses for a key, so that a key keeps its partition when a topic moves
/// between the embedded log and Kafka.
///
/// Source: `org.apache.kafka.common.utils.Utils.murmur2`, `toPositive(murmur2(key)) % partitions`; librdkafka calls it
/// `murmur2_random`.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % partitions.max(1) as u32) as i32
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_from_its_own_text() {
        let position = Position::new("nlj.xapi.statements", 3, 99);
        assert_eq!(position.to_string().parse(), Ok(position));
    }

    #[test]
    fn a_text_that_is_no_position_is_refused_with_an_example() {
        for text in ["", "a/b", "a/1/x", "a/-1/2", "/1/2", "a/1/-2"] {
            let error = text.parse::<Position>().unwrap_err();
            assert!(error.to_string().contains("topic/partition/offset"), "{text}");
        }
    }

    /// Figures from the table in Kafka's `UtilsTest.testMurmur2`.
    #[test]
    fn keys_hash_as_in_kafka() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
