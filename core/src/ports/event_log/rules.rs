//! The rules that the project's own logs share, so that the twin and the model cannot drift apart: which topics may be,
//! where a record goes, how large it is and when it expires.

use super::{EventLogError, OffsetRange, Retention, TopicSpec};
use crate::record::{Header, NewRecord, partition_for_key};

/// The longest topic name. Source: `org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`.
pub const MAX_TOPIC_NAME_CHARS: usize = 249;

/// The most partitions of one topic; a limit of this project's, far above what one machine is asked for.
pub const MAX_PARTITIONS: i32 = 10_000;

/// Whether a topic of that shape may be, given the partitions that it has by now (0: it is new).
pub fn check_topic(spec: &TopicSpec, existing_partitions: i32) -> Result<(), EventLogError> {
    let TopicSpec { name, partitions, .. } = spec;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=MAX_TOPIC_NAME_CHARS).contains(&name.chars().count())
        || !name.chars().all(legal)
        || matches!(name.as_str(), "." | "..")
    {
        return Err(EventLogError::Refused(format!(
            "{name:?} is no topic name: use 1 to {MAX_TOPIC_NAME_CHARS} of the characters a-z, A-Z, 0-9, '.', '_' and '-'"
        )));
    }
    if !(1..=MAX_PARTITIONS).contains(partitions) {
        return Err(EventLogError::Refused(format!(
            "topic {name} cannot have {partitions} partitions: ask for 1 to {MAX_PARTITIONS}"
        )));
    }
    if *partitions < existing_partitions {
        return Err(EventLogError::Refused(format!(
            "topic {name} has {existing_partitions} partitions and cannot shrink to {partitions}: create another topic"
        )));
    }
    Ok(())
}

/// Whether the topic has that partition.
pub fn check_partition(topic: &str, partition: i32, partitions: i32) -> Result<(), EventLogError> {
    if (0..partitions).contains(&partition) {
        return Ok(());
    }
    Err(EventLogError::UnknownPartition { topic: topic.to_owned(), partition, partitions })
}

/// Whether a fetch may begin there: anywhere from the start to the end.
pub fn check_offset(topic: &str, partition: i32, offset: i64, range: OffsetRange) -> Result<(), EventLogError> {
    if (range.start..=range.end).contains(&offset) {
        return Ok(());
    }
    Err(EventLogError::OffsetOutOfRange { topic: topic.to_owned(), partition, offset, range })
}

/// Whether a group may commit these offsets. One past the end is fine, as in Kafka; one below 0 is not.
pub fn check_commit(topic: &str, partitions: i32, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
    for &(partition, offset) in offsets {
        check_partition(topic, partition, partitions)?;
        if offset < 0 {
            return Err(EventLogError::Refused(format!(
                "offset {offset} of {topic}/{partition} cannot be committed: offsets count from 0"
            )));
        }
    }
    Ok(())
}

/// The bytes of a record that count against the limits: key, value and headers.
pub fn payload_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = headers.iter().map(|header| header.name.len() + length(header.value.as_deref()));
    length(key) + length(value) + headers.sum::<usize>()
}

/// Whether each record is small enough to be taken.
pub fn check_sizes(records: &[NewRecord], limit_bytes: usize) -> Result<(), EventLogError> {
    let sizes = records.iter().map(|record| {
        let NewRecord { key, value, headers, .. } = record;
        payload_bytes(key.as_deref(), value.as_deref(), headers)
    });
    match sizes.max() {
        Some(bytes) if bytes > limit_bytes => Err(EventLogError::TooLarge { bytes, limit_bytes }),
        _ => Ok(()),
    }
}

/// The partition of each record: the one it names, or its key's, or the next in turn. `turn` moves on only where every
/// record has its place.
pub fn choose_partitions(
    topic: &str,
    partitions: i32,
    records: &[NewRecord],
    turn: &mut i32,
) -> Result<Vec<i32>, EventLogError> {
    let mut next = *turn;
    let places = records.iter().map(|record| match (record.partition, &record.key) {
        (Some(partition), _) => check_partition(topic, partition, partitions).map(|()| partition),
        (None, Some(key)) => Ok(partition_for_key(key, partitions)),
        (None, None) => {
            let partition = next % partitions;
            next = partition + 1;
            Ok(partition)
        }
    });
    let places = places.collect::<Result<_, _>>()?;
    *turn = next;
    Ok(places)
}

/// How many of a partition's oldest records may go: as long as the oldest is older than the age, or the partition holds
/// more than the bytes. The newest record goes by its age alone.
///
/// `held_records` and `held_bytes` are what the partition holds; `oldest` are timestamp and payload bytes, oldest first.
pub fn count_expired(
    retention: Retention,
    now_ms: i64,
    held_records: u64,
    held_bytes: u64,
    oldest: impl Iterator<Item = (i64, u64)>,
) -> usize {
    let age_ms = retention.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let (mut held_records, mut held_bytes) = (held_records, held_bytes);
    let expired = oldest.take_while(|&(timestamp_ms, bytes)| {
        let too_old = age_ms.is_some_and(|age_ms| now_ms.saturating_sub(timestamp_ms) > age_ms);
        let too_many = held_records > 1 && retention.bytes.is_some_and(|limit| held_bytes > limit);
        held_records = held_records.saturating_sub(1);
        held_bytes = held_bytes.saturating_sub(bytes);
        too_old || too_many
    });
    expired.count()
}
