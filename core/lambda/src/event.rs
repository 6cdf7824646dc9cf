//! The event of a Kafka event source mapping, read and written.
//!
//! Source: AWS Lambda developer guide, "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache Kafka",
//! example events. [`parse`] isolates every record: what cannot be read is an [`Entry::Malformed`] beside its neighbours,
//! never an error for all of them. [`write_event`] makes what AWS makes, and [`EventSize`] knows its length beforehand.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use base64::engine::general_purpose::PAD_INDIFFERENT;
use base64::engine::{Engine, Simd};
use bytes::Bytes;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use lyceum_core::record::{Header, NO_TIMESTAMP, Position, Record};

/// Standard alphabet; decoding takes text with and without padding.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD_INDIFFERENT));

/// Which of AWS's two Kafka sources an event names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// `aws:kafka`: Amazon MSK.
    Msk,
    /// `SelfManagedKafka`; `aws:SelfManagedKafka` is read as the same.
    #[default]
    SelfManaged,
    /// Another spelling, or none (empty): kept as it came, for the log.
    Other(String),
}

impl SourceKind {
    /// The value of `eventSource`.
    pub fn name(&self) -> &str {
        match self {
            Self::Msk => "aws:kafka",
            Self::SelfManaged => "SelfManagedKafka",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: Cow<'_, str>) -> Self {
        if name.eq_ignore_ascii_case("aws:kafka") {
            Self::Msk
        } else if name.eq_ignore_ascii_case("SelfManagedKafka") || name.eq_ignore_ascii_case("aws:SelfManagedKafka") {
            Self::SelfManaged
        } else {
            Self::Other(name.into_owned())
        }
    }
}

/// Where the batch says that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSource {
    /// `eventSource`.
    pub kind: SourceKind,
    /// `eventSourceArn`; only MSK has one.
    pub arn: Option<String>,
    /// `bootstrapServers`: `host:port`, separated by commas.
    pub bootstrap_servers: String,
}

/// One invocation's batch.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaEvent {
    /// Where it says that it comes from.
    pub source: EventSource,
    /// Every entry of every partition, in the order of the payload: within a partition, by offset.
    pub entries: Vec<Entry>,
}

/// One entry of the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// It could be read.
    Record(Delivered),
    /// It could not; its neighbours are not touched by that.
    Malformed(Malformed),
}

impl Entry {
    /// The batch's name of the partition, which an item failure has to repeat.
    pub fn batch_identifier(&self) -> &Arc<str> {
        match self {
            Self::Record(delivered) => &delivered.batch_identifier,
            Self::Malformed(malformed) => &malformed.batch_identifier,
        }
    }

    /// The offset, where it is known.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::Record(delivered) => Some(delivered.record.position.offset),
            Self::Malformed(malformed) => malformed.offset,
        }
    }
}

/// A record as the batch brought it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// The key under which it stood in `records`: `<topic>-<partition>`.
    pub batch_identifier: Arc<str>,
    /// The record; without timestamp it has [`NO_TIMESTAMP`].
    pub record: Record,
    /// `keySchemaMetadata`, where the mapping uses a schema registry.
    pub key_schema: Option<SchemaMetadata>,
    /// `valueSchemaMetadata`, where the mapping uses a schema registry.
    pub value_schema: Option<SchemaMetadata>,
}

/// What the mapping's schema registry said of a key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SchemaMetadata {
    /// `JSON`, `AVRO` or `PROTOBUF`.
    pub data_format: Option<String>,
    /// The registry's id of the schema. AWS writes a text; a number is read as one.
    #[serde(deserialize_with = "deserialize_text_or_number")]
    pub schema_id: Option<String>,
}

/// An entry that is no readable record.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// The key under which it stood in `records`.
    pub batch_identifier: Arc<str>,
    /// Its own topic or, where that is unreadable, the identifier's.
    pub topic: Arc<str>,
    /// Its own partition or, where that is unreadable, the identifier's.
    pub partition: Option<i32>,
    /// Its offset, where at least that is readable.
    pub offset: Option<i64>,
    /// The entry's own JSON, byte for byte.
    pub raw: Bytes,
    /// What is wrong with it, for a person.
    pub reason: String,
}

/// Why a payload is no Kafka batch at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// It is no JSON object.
    #[error("the payload is not the JSON of a Kafka event: {0}")]
    NotAnEvent(String),
    /// It has no `records`: it is another service's event, most likely.
    #[error(
        "the event has no `records` (its eventSource is {0:?}): point a Kafka event source mapping at this function"
    )]
    NoRecords(String),
}

/// Reads an event. Unknown keys are ignored, `records: null` is an empty batch.
///
/// Every record is decoded once, base64 straight into the [`Bytes`] that the handler gets.
///
/// # Errors
/// Only where there is no event: see [`InvalidEvent`].
pub fn parse(payload: &[u8]) -> Result<KafkaEvent, InvalidEvent> {
    let not_an_event = |error: &dyn fmt::Display| InvalidEvent::NotAnEvent(error.to_string());
    // One pass over all bytes here spares serde_json one per string.
    let text = std::str::from_utf8(payload).map_err(|error| not_an_event(&error))?;
    if !is_object(text) {
        return Err(not_an_event(&"it is no object"));
    }
    match serde_json::from_str::<WireEvent<'_, Option<Vec<&RawValue>>>>(text) {
        Ok(event) => event.into_event(|group, records, entries| {
            entries.extend(records.into_iter().flatten().map(|raw| group.read(raw)));
        }),
        // A group that is no list, or envelope fields of odd types: slower, and each group for itself.
        Err(_) => serde_json::from_str::<WireEvent<'_, &RawValue>>(text)
            .map_err(|error| not_an_event(&error))?
            .into_event(|group, raw, entries| match serde_json::from_str::<Option<Vec<&RawValue>>>(raw.get()) {
                Ok(records) => entries.extend(records.into_iter().flatten().map(|raw| group.read(raw))),
                Err(_) => {
                    entries.push(Entry::Malformed(group.malformed(raw, "the partition's value is no list of records")))
                }
            }),
    }
}

/// serde's structs can be read from a list, too; AWS writes none.
fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "G: Deserialize<'de>")]
struct WireEvent<'a, G> {
    #[serde(borrow, default)]
    event_source: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_source_arn: Option<Cow<'a, str>>,
    #[serde(default)]
    bootstrap_servers: BootstrapServers,
    // The outer option: absent; the inner: null.
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    records: Option<Option<Pairs<'a, G>>>,
}

impl<G> WireEvent<'_, G> {
    fn into_event(self, mut read: impl FnMut(&Group, G, &mut Vec<Entry>)) -> Result<KafkaEvent, InvalidEvent> {
        let source = self.event_source.unwrap_or_default();
        let Some(records) = self.records else {
            return Err(InvalidEvent::NoRecords(source.into_owned()));
        };
        let mut entries = Vec::new();
        for (identifier, group) in records.map(|pairs| pairs.0).unwrap_or_default() {
            read(&Group::new(&identifier), group, &mut entries);
        }
        let source = EventSource {
            kind: SourceKind::from_name(source),
            arn: self.event_source_arn.map(Cow::into_owned),
            bootstrap_servers: self.bootstrap_servers.0,
        };
        Ok(KafkaEvent { source, entries })
    }
}

fn deserialize_present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `bootstrapServers` is a text on AWS; older examples and emulators write a list.
#[derive(Default)]
struct BootstrapServers(String);

impl<'de> Deserialize<'de> for BootstrapServers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Text(String),
            List(Vec<String>),
            Other(de::IgnoredAny),
        }
        Ok(Self(match Wire::deserialize(deserializer)? {
            Wire::Text(text) => text,
            Wire::List(list) => list.join(","),
            Wire::Other(_) => String::new(),
        }))
    }
}

/// A JSON object as it stands: its order and its repeated keys are kept.
struct Pairs<'a, V>(Vec<(Cow<'a, str>, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<'a, V>(PhantomData<(&'a str, V)>);

        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<'a, V> {
            type Value = Pairs<'a, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some(BorrowedText(key)) = map.next_key()? {
                    pairs.push((key, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// Text that borrows from the payload unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// The records of one key of `records`, and what they share.
struct Group {
    identifier: Arc<str>,
    topic: Arc<str>,
    partition: Option<i32>,
}

impl Group {
    fn new(identifier: &str) -> Self {
        // A topic may contain dashes; a partition may not.
        let named = identifier.rsplit_once('-').and_then(|(topic, number)| Some((topic, number.parse::<u32>().ok()?)));
        let (topic, partition) = match named {
            Some((topic, partition)) => (topic, i32::try_from(partition).ok()),
            None => (identifier, None),
        };
        Self { identifier: identifier.into(), topic: topic.into(), partition }
    }

    fn read(&self, raw: &RawValue) -> Entry {
        if !is_object(raw.get()) {
            return Entry::Malformed(self.malformed(raw, "the record is no object"));
        }
        match serde_json::from_str::<WireRecord<'_>>(raw.get()) {
            Ok(wire) => match self.take(wire) {
                Ok(delivered) => Entry::Record(delivered),
                Err(reason) => Entry::Malformed(self.malformed(raw, reason)),
            },
            Err(error) => Entry::Malformed(self.malformed(raw, error)),
        }
    }

    fn take(&self, wire: WireRecord<'_>) -> Result<Delivered, &'static str> {
        let topic = match wire.topic {
            Some(BorrowedText(topic)) if *topic != *self.topic => Arc::from(&*topic),
            _ => self.topic.clone(),
        };
        let partition = wire.partition.or(self.partition).filter(|partition| *partition >= 0);
        let position = Position {
            topic,
            partition: partition.ok_or("neither the record nor its batch names a partition")?,
            offset: wire.offset.filter(|offset| *offset >= 0).ok_or("`offset` is missing or negative")?,
        };
        let record = Record {
            position,
            timestamp_ms: wire.timestamp.unwrap_or(NO_TIMESTAMP),
            key: wire.key.map(|Base64(bytes)| bytes),
            value: wire.value.map(|Base64(bytes)| bytes),
            headers: wire.headers.map(|WireHeaders(headers)| headers).unwrap_or_default(),
        };
        Ok(Delivered {
            batch_identifier: self.identifier.clone(),
            record,
            key_schema: wire.key_schema_metadata,
            value_schema: wire.value_schema_metadata,
        })
    }

    /// Saves from an unreadable entry what names it.
    fn malformed(&self, raw: &RawValue, reason: impl fmt::Display) -> Malformed {
        let value: serde_json::Value = serde_json::from_str(raw.get()).unwrap_or_default();
        Malformed {
            batch_identifier: self.identifier.clone(),
            topic: value["topic"].as_str().map_or_else(|| self.topic.clone(), Arc::from),
            partition: value["partition"].as_i64().and_then(|number| number.try_into().ok()).or(self.partition),
            offset: value["offset"].as_i64().filter(|offset| *offset >= 0),
            raw: Bytes::copy_from_slice(raw.get().as_bytes()),
            reason: reason.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRecord<'a> {
    #[serde(borrow)]
    topic: Option<BorrowedText<'a>>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    key: Option<Base64>,
    value: Option<Base64>,
    headers: Option<WireHeaders>,
    key_schema_metadata: Option<SchemaMetadata>,
    value_schema_metadata: Option<SchemaMetadata>,
}

/// Base64 text, decoded into memory of exactly its size.
struct Base64(Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64Visitor;

        impl Visitor<'_> for Base64Visitor {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                let unpadded = text.trim_end_matches('=').len();
                let mut bytes = vec![0; unpadded * 3 / 4];
                let written = BASE64
                    .decode_slice(text, &mut bytes)
                    .map_err(|error| E::custom(format_args!("no base64: {error}")))?;
                bytes.truncate(written);
                Ok(Base64(bytes.into()))
            }
        }

        deserializer.deserialize_str(Base64Visitor)
    }
}

/// `[{name: [bytes]}, …]`; a value may be null, and each byte may come signed or unsigned.
struct WireHeaders(Vec<Header>);

impl<'de> Deserialize<'de> for WireHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let objects = Vec::<Pairs<'de, Option<HeaderBytes>>>::deserialize(deserializer)?;
        let headers = objects.into_iter().flat_map(|Pairs(pairs)| pairs);
        Ok(Self(
            headers
                .map(|(name, value)| Header { name: name.into_owned(), value: value.map(|HeaderBytes(bytes)| bytes) })
                .collect(),
        ))
    }
}

struct HeaderBytes(Bytes);

impl<'de> Deserialize<'de> for HeaderBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = HeaderBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of header bytes, each from -128 to 255")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<HeaderBytes, A::Error> {
                // A UUID as text: most headers here are one, and then nothing grows.
                let mut bytes = Vec::with_capacity(36);
                while let Some(number) = numbers.next_element::<i64>()? {
                    if !(-128..=255).contains(&number) {
                        return Err(de::Error::invalid_value(de::Unexpected::Signed(number), &self));
                    }
                    // Two's complement: -61 and 195 are the same byte.
                    bytes.push(number as u8);
                }
                Ok(HeaderBytes(bytes.into()))
            }
        }

        deserializer.deserialize_seq(HeaderVisitor)
    }
}

fn deserialize_text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    })
}

/// The key of `records` for a partition, and what an item failure repeats: `<topic>-<partition>`.
pub fn batch_identifier(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The exact length of an event that is being collected, so that a limit can be kept without writing anything.
#[derive(Clone, Debug)]
pub struct EventSize {
    bytes: usize,
    partitions: Vec<(Arc<str>, i32)>,
}

impl EventSize {
    /// The length of an event without records.
    pub fn new(source: &EventSource) -> Self {
        Self { bytes: counted(|sink| write_envelope(source, sink, |_| Ok(()))), partitions: Vec::new() }
    }

    /// The length so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length that one more record makes. Costs no more than a look at its headers.
    pub fn bytes_with(&self, record: &Record) -> usize {
        let separators = match self.contains(&record.position) {
            true => 1,
            false => {
                let comma = usize::from(!self.partitions.is_empty());
                comma + counted(|sink| write_group_start(&record.position, sink)) + "]".len()
            }
        };
        self.bytes + separators + counted(|sink| write_record(record, sink))
    }

    /// Counts the record in, unless that would make the event longer than `limit_bytes`; returns whether it did.
    pub fn add_within(&mut self, record: &Record, limit_bytes: usize) -> bool {
        let bytes = self.bytes_with(record);
        let fits = bytes <= limit_bytes;
        if fits {
            self.bytes = bytes;
            if !self.contains(&record.position) {
                self.partitions.push((record.position.topic.clone(), record.position.partition));
            }
        }
        fits
    }

    fn contains(&self, position: &Position) -> bool {
        self.partitions.iter().any(|(topic, partition)| *partition == position.partition && *topic == position.topic)
    }
}

/// Appends the event that AWS sends for these records: base64 key and value, header bytes as Java's signed numbers,
/// grouped by partition in the order in which the partitions first occur. A key that is null is left out, a null value
/// is written as null, `timestampType` is always `CREATE_TIME`.
///
/// The text is as long as [`EventSize`] says, to the byte.
pub fn write_event<'a>(source: &EventSource, records: impl Iterator<Item = &'a Record> + Clone, out: &mut Vec<u8>) {
    let mut partitions: Vec<&Position> = Vec::new();
    for record in records.clone() {
        if !partitions.iter().any(|position| same_partition(position, &record.position)) {
            partitions.push(&record.position);
        }
    }
    let written = write_envelope(source, out, |out| {
        for (ordinal, position) in partitions.into_iter().enumerate() {
            if ordinal > 0 {
                out.write_all(b",")?;
            }
            write_group_start(position, out)?;
            let of_partition = records.clone().filter(|record| same_partition(position, &record.position));
            for (ordinal, record) in of_partition.enumerate() {
                if ordinal > 0 {
                    out.write_all(b",")?;
                }
                write_record(record, out)?;
            }
            out.write_all(b"]")?;
        }
        Ok(())
    });
    written.expect("memory takes every write");
}

fn same_partition(a: &Position, b: &Position) -> bool {
    a.partition == b.partition && a.topic == b.topic
}

/// What an event is written to: memory, or a counter. One writer for both makes the length exact by construction.
trait Sink: Write {
    fn write_base64(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn write_base64(&mut self, bytes: &[u8]) {
        let start = self.len();
        self.resize(start + base64_length(bytes), 0);
        BASE64.encode_slice(bytes, &mut self[start..]).expect("the space is what base64 takes");
    }
}

struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Count {
    fn write_base64(&mut self, bytes: &[u8]) {
        self.0 += base64_length(bytes);
    }
}

fn base64_length(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

fn counted(write: impl FnOnce(&mut Count) -> io::Result<()>) -> usize {
    let mut count = Count(0);
    write(&mut count).expect("counting takes every write");
    count.0
}

fn write_envelope<S: Sink>(
    source: &EventSource,
    sink: &mut S,
    write_records: impl FnOnce(&mut S) -> io::Result<()>,
) -> io::Result<()> {
    sink.write_all(b"{\"eventSource\":")?;
    write_json(source.kind.name(), sink)?;
    if let Some(arn) = &source.arn {
        sink.write_all(b",\"eventSourceArn\":")?;
        write_json(arn, sink)?;
    }
    sink.write_all(b",\"bootstrapServers\":")?;
    write_json(&source.bootstrap_servers, sink)?;
    sink.write_all(b",\"records\":{")?;
    write_records(sink)?;
    sink.write_all(b"}}")
}

fn write_group_start(position: &Position, sink: &mut impl Sink) -> io::Result<()> {
    // Kafka allows `[a-zA-Z0-9._-]` in a topic's name, but the records may come from elsewhere.
    write_json(&batch_identifier(&position.topic, position.partition), sink)?;
    sink.write_all(b":[")
}

fn write_record(record: &Record, sink: &mut impl Sink) -> io::Result<()> {
    sink.write_all(b"{\"topic\":")?;
    write_json(&*record.position.topic, sink)?;
    sink.write_all(b",\"partition\":")?;
    write_json(&record.position.partition, sink)?;
    sink.write_all(b",\"offset\":")?;
    write_json(&record.position.offset, sink)?;
    sink.write_all(b",\"timestamp\":")?;
    write_json(&record.timestamp_ms, sink)?;
    sink.write_all(b",\"timestampType\":\"CREATE_TIME\"")?;
    if let Some(key) = &record.key {
        sink.write_all(b",\"key\":\"")?;
        sink.write_base64(key);
        sink.write_all(b"\"")?;
    }
    match &record.value {
        Some(value) => {
            sink.write_all(b",\"value\":\"")?;
            sink.write_base64(value);
            sink.write_all(b"\"")?;
        }
        None => sink.write_all(b",\"value\":null")?,
    }
    sink.write_all(b",\"headers\":[")?;
    for (ordinal, header) in record.headers.iter().enumerate() {
        sink.write_all(if ordinal > 0 { b",{" } else { b"{" })?;
        write_json(&header.name, sink)?;
        sink.write_all(b":")?;
        match &header.value {
            Some(bytes) => write_signed_bytes(bytes, sink)?,
            None => sink.write_all(b"null")?,
        }
        sink.write_all(b"}")?;
    }
    sink.write_all(b"]}")
}

fn write_signed_bytes(bytes: &[u8], sink: &mut impl Sink) -> io::Result<()> {
    sink.write_all(b"[")?;
    for (ordinal, byte) in bytes.iter().enumerate() {
        if ordinal > 0 {
            sink.write_all(b",")?;
        }
        write_json(&(*byte as i8), sink)?;
    }
    sink.write_all(b"]")
}

fn write_json<T: Serialize + ?Sized>(value: &T, sink: &mut impl Sink) -> io::Result<()> {
    serde_json::to_writer(sink, value).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse_json(event: serde_json::Value) -> KafkaEvent {
        parse(event.to_string().as_bytes()).unwrap()
    }

    fn event_of(records: serde_json::Value) -> KafkaEvent {
        parse_json(json!({"eventSource": "aws:kafka", "bootstrapServers": "b:9092", "records": {"t-0": records}}))
    }

    fn record_of(record: serde_json::Value) -> Record {
        match event_of(json!([record])).entries.remove(0) {
            Entry::Record(delivered) => delivered.record,
            Entry::Malformed(malformed) => panic!("{}", malformed.reason),
        }
    }

    fn malformed_of(record: serde_json::Value) -> Malformed {
        match event_of(json!([record])).entries.remove(0) {
            Entry::Malformed(malformed) => malformed,
            Entry::Record(delivered) => panic!("{delivered:?} was read"),
        }
    }

    #[test]
    fn the_developer_guides_event_is_read_in_full() {
        let event = parse_json(json!({
            "eventSource": "aws:kafka",
            "eventSourceArn": "arn:aws:kafka:eu-central-1:123456789012:cluster/demo/1",
            "bootstrapServers": "b-2.demo:9092,b-1.demo:9092",
            "records": {"my-topic-7": [{
                "topic": "my-topic", "partition": 7, "offset": 15, "timestamp": 1545084650987_i64,
                "timestampType": "CREATE_TIME", "key": "YWJjREVG", "value": "SGVsbG8=",
                "headers": [{"headerKey": [104, 105]}, {"headerKey": []}],
                "valueSchemaMetadata": {"dataFormat": "AVRO", "schemaId": "1"},
            }]},
        }));
        assert_eq!(event.source.kind, SourceKind::Msk);
        assert_eq!(event.source.arn.as_deref(), Some("arn:aws:kafka:eu-central-1:123456789012:cluster/demo/1"));
        assert_eq!(event.source.bootstrap_servers, "b-2.demo:9092,b-1.demo:9092");
        let expected = Delivered {
            batch_identifier: "my-topic-7".into(),
            record: Record {
                position: Position::new("my-topic", 7, 15),
                timestamp_ms: 1_545_084_650_987,
                key: Some("abcDEF".into()),
                value: Some("Hello".into()),
                headers: vec![Header::new("headerKey", "hi"), Header::new("headerKey", "")],
            },
            key_schema: None,
            value_schema: Some(SchemaMetadata { data_format: Some("AVRO".into()), schema_id: Some("1".into()) }),
        };
        assert_eq!(event.entries, [Entry::Record(expected)]);
    }

    #[test]
    fn every_spelling_of_the_source_is_understood() {
        for (name, kind) in [
            (json!("aws:kafka"), SourceKind::Msk),
            (json!("SelfManagedKafka"), SourceKind::SelfManaged),
            (json!("aws:SelfManagedKafka"), SourceKind::SelfManaged),
            (json!("aws:selfmanagedkafka"), SourceKind::SelfManaged),
            (json!("other"), SourceKind::Other("other".into())),
            (json!(null), SourceKind::Other(String::new())),
        ] {
            assert_eq!(parse_json(json!({"eventSource": name, "records": {}})).source.kind, kind);
        }
        assert_eq!(parse_json(json!({"records": {}})).source.kind, SourceKind::Other(String::new()));
    }

    #[test]
    fn bootstrap_servers_may_be_a_text_a_list_or_missing() {
        for (servers, expected) in
            [(json!("a:1,b:2"), "a:1,b:2"), (json!(["a:1", "b:2"]), "a:1,b:2"), (json!(null), ""), (json!(7), "")]
        {
            assert_eq!(
                parse_json(json!({"bootstrapServers": servers, "records": {}})).source.bootstrap_servers,
                expected
            );
        }
    }

    #[test]
    fn unknown_keys_are_ignored_everywhere() {
        let event = parse_json(json!({"new": {"a": [1]}, "records": {"t-0": [{"offset": 1, "new": [{}]}]}}));
        assert!(matches!(&event.entries[..], [Entry::Record(_)]));
    }

    #[test]
    fn records_that_are_null_or_none_are_an_empty_batch() {
        assert!(parse_json(json!({"records": null})).entries.is_empty());
        assert!(parse_json(json!({"records": {}})).entries.is_empty());
        assert!(parse_json(json!({"records": {"t-0": []}})).entries.is_empty());
        assert!(parse_json(json!({"records": {"t-0": null}})).entries.is_empty());
    }

    #[test]
    fn what_is_no_kafka_event_is_refused_with_a_way_out() {
        let sqs = parse(br#"{"Records": [{"eventSource": "aws:sqs"}]}"#).unwrap_err();
        assert!(matches!(&sqs, InvalidEvent::NoRecords(_)), "{sqs}");
        for payload in [&b""[..], b"[]", b"{\"records\": 1}", b"{\"records\": {", b"\xff\xfe"] {
            assert!(matches!(parse(payload), Err(InvalidEvent::NotAnEvent(_))), "{payload:?}");
        }
    }

    #[test]
    fn a_tombstone_has_a_null_value_or_none() {
        assert_eq!(record_of(json!({"offset": 1, "value": null})).value, None);
        assert_eq!(record_of(json!({"offset": 1})).value, None);
        assert_eq!(record_of(json!({"offset": 1, "value": ""})).value, Some(Bytes::new()));
    }

    #[test]
    fn a_key_may_be_null_or_missing() {
        assert_eq!(record_of(json!({"offset": 1, "key": null})).key, None);
        assert_eq!(record_of(json!({"offset": 1})).key, None);
        assert_eq!(record_of(json!({"offset": 1, "key": ""})).key, Some(Bytes::new()));
    }

    #[test]
    fn header_bytes_come_signed_or_unsigned() {
        let headers = record_of(json!({"offset": 1, "headers": [{"n": [-61, -85]}, {"n": [195, 171]}]})).headers;
        assert_eq!(headers, [Header::new("n", "ë"), Header::new("n", "ë")]);
    }

    #[test]
    fn headers_may_be_missing_null_empty_or_have_null_values() {
        assert_eq!(record_of(json!({"offset": 1})).headers, []);
        assert_eq!(record_of(json!({"offset": 1, "headers": null})).headers, []);
        assert_eq!(record_of(json!({"offset": 1, "headers": []})).headers, []);
        let null = Header { name: "n".into(), value: None };
        assert_eq!(record_of(json!({"offset": 1, "headers": [{"n": null}]})).headers, [null]);
    }

    #[test]
    fn the_same_header_may_come_twice_also_in_one_object() {
        let event = br#"{"records": {"t-0": [{"offset": 1, "headers": [{"n": [49], "n": [50]}, {"n": [51]}]}]}}"#;
        let Entry::Record(delivered) = parse(event).unwrap().entries.remove(0) else { panic!("it is readable") };
        let values: Vec<_> = delivered.record.headers.iter().filter_map(|header| header.value.as_deref()).collect();
        assert_eq!(values, [b"1", b"2", b"3"]);
    }

    #[test]
    fn a_missing_timestamp_is_kafkas_no_timestamp() {
        assert_eq!(record_of(json!({"offset": 1})).timestamp_ms, NO_TIMESTAMP);
        assert_eq!(record_of(json!({"offset": 1, "timestamp": null})).timestamp_ms, NO_TIMESTAMP);
        assert_eq!(record_of(json!({"offset": 1, "timestamp": 5})).timestamp_ms, 5);
    }

    #[test]
    fn topic_and_partition_may_come_from_the_batch_identifier() {
        assert_eq!(record_of(json!({"offset": 4})).position, Position::new("t", 0, 4));
        let event = parse_json(json!({"records": {"a-b.c-12": [{"offset": 4}]}}));
        let Entry::Record(delivered) = &event.entries[0] else { panic!("it is readable") };
        assert_eq!(delivered.record.position, Position::new("a-b.c", 12, 4));
    }

    #[test]
    fn base64_without_padding_and_with_escapes_is_read() {
        assert_eq!(record_of(json!({"offset": 1, "value": "SGVsbG8"})).value, Some("Hello".into()));
        let event = br#"{"records": {"t-0": [{"offset": 1, "value": "\u0053GVsbG8="}]}}"#;
        let Entry::Record(delivered) = parse(event).unwrap().entries.remove(0) else { panic!("it is readable") };
        assert_eq!(delivered.record.value, Some("Hello".into()));
    }

    #[test]
    fn schema_ids_may_be_texts_or_numbers_and_metadata_null() {
        let event = event_of(json!([
            {"offset": 1, "keySchemaMetadata": {"dataFormat": "JSON", "schemaId": 7}, "valueSchemaMetadata": null}
        ]));
        let Entry::Record(delivered) = &event.entries[0] else { panic!("it is readable") };
        assert_eq!(delivered.key_schema.as_ref().unwrap().schema_id.as_deref(), Some("7"));
        assert_eq!(delivered.value_schema, None);
    }

    #[test]
    fn each_oddity_that_cannot_be_read_is_malformed_and_says_why() {
        for (record, word) in [
            (json!({"offset": 3, "value": "***"}), "base64"),
            (json!({"offset": 3, "value": {"a": 1}}), "base64"),
            (json!({"offset": 3, "key": 5}), "base64"),
            (json!({"offset": 3, "headers": [{"n": [256]}]}), "-128 to 255"),
            (json!({"offset": 3, "headers": [{"n": "text"}]}), "header bytes"),
            (json!({"offset": 3, "headers": {"n": [1]}}), "sequence"),
            (json!({"offset": 3, "timestamp": "now"}), "i64"),
            (json!({"offset": 3, "partition": -1}), "partition"),
        ] {
            let malformed = malformed_of(record.clone());
            assert!(malformed.reason.contains(word), "{record}: {}", malformed.reason);
            assert_eq!(malformed.offset, Some(3));
            assert_eq!(malformed.raw, record.to_string());
        }
        for record in
            [json!({"value": ""}), json!({"offset": -2}), json!({"offset": "1"}), json!(null), json!([null, null, 1])]
        {
            assert_eq!(malformed_of(record.clone()).offset, None, "{record}");
        }
    }

    #[test]
    fn one_malformed_record_never_fails_its_neighbours() {
        let event = event_of(json!([{"offset": 1}, {"offset": 2, "value": "***"}, {"offset": 3}]));
        let kinds: Vec<_> =
            event.entries.iter().map(|entry| (matches!(entry, Entry::Record(_)), entry.offset())).collect();
        assert_eq!(kinds, [(true, Some(1)), (false, Some(2)), (true, Some(3))]);
        let Entry::Malformed(malformed) = &event.entries[1] else { unreachable!() };
        assert_eq!((&*malformed.topic, malformed.partition), ("t", Some(0)));
    }

    #[test]
    fn a_partition_that_is_no_list_never_fails_the_others() {
        let event = parse_json(json!({"records": {"t-0": {"offset": 1}, "t-1": [{"offset": 2}], "odd": "x"}}));
        let read: Vec<_> =
            event.entries.iter().map(|e| (&**e.batch_identifier(), matches!(e, Entry::Record(_)))).collect();
        assert!(read.contains(&("t-0", false)) && read.contains(&("t-1", true)) && read.contains(&("odd", false)));
    }

    fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
    }

    prop_compose! {
        fn any_record()(
            topic in "[a-z][a-z0-9._-]{0,6}", partition in 0..3, offset in 0..i64::MAX, timestamp_ms in -1..i64::MAX,
            key in any_bytes(), value in any_bytes(),
            headers in proptest::collection::vec((any::<String>(), any_bytes()), 0..3),
        ) -> Record {
            let headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
            Record { position: Position::new(topic, partition, offset), timestamp_ms, key, value, headers }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_as_long_as_was_said(records in proptest::collection::vec(any_record(), 0..12)) {
            let source = EventSource {
                kind: SourceKind::Msk,
                arn: Some("arn:\"x\"".into()),
                bootstrap_servers: "a:1,b:2".into(),
            };
            let mut size = EventSize::new(&source);
            for record in &records {
                let foretold = size.bytes_with(record);
                prop_assert!(!size.add_within(record, foretold - 1));
                prop_assert!(size.add_within(record, foretold));
                prop_assert_eq!(size.bytes(), foretold);
            }
            let mut payload = Vec::new();
            write_event(&source, records.iter(), &mut payload);
            prop_assert_eq!(payload.len(), size.bytes());
            let event = parse(&payload).unwrap();
            prop_assert_eq!(event.source, source);
            let mut read = Vec::new();
            for entry in event.entries {
                match entry {
                    Entry::Record(delivered) => read.push(delivered.record),
                    Entry::Malformed(malformed) => prop_assert!(false, "{}", malformed.reason),
                }
            }
            let mut expected = Vec::new();
            for record in &records {
                if !expected.contains(record) {
                    expected.extend(records.iter().filter(|r| same_partition(&r.position, &record.position)).cloned());
                }
            }
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&payload);
        }
    }
}
