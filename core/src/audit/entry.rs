//! What is kept of a record.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::{SmolStr, ToSmolStr};
use uuid::Uuid;

use super::hash::Hash;
use super::tree::leaf;
use crate::outcome::DeadLetterKind;
use crate::ports::statements::{Filter, StatementDocument, StatementFields};
use crate::record::{Header, Position, Record};

/// A value over so many bytes stays where it came from; the entry has its hash.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The tenant of what tells none: no tenant has such a name.
pub const NOBODY: &str = "";

/// Ids of entries: UUIDv5 within this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c79_6365_756d_5e00_8000_0000_0000_0002);

/// What a record says of itself, as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// What it is.
    pub kind: Kind,
    /// The catalog's event type, `statement`, or `unknown`.
    pub event_type: &'static str,
    /// The family whose topic it is on; of a letter whose it was.
    pub family: Cow<'static, str>,
    /// The event.
    pub event_id: Option<Uuid>,
    /// Whose it is; `None` where that could not be told.
    pub tenant: Option<SmolStr>,
    /// What it belongs to.
    pub correlation_id: Option<SmolStr>,
    /// Of a letter: what it is about.
    pub letter: Option<Letter>,
    /// Whether a secret stands in its value: then the entry has the hash of it alone.
    pub holds_secret: bool,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A valid event.
    Event,
    /// What can be no event, or not on this topic: its letter says why.
    Invalid,
    /// A record without a value.
    Tombstone,
    /// A dead letter.
    DeadLetter,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Event, Self::Invalid, Self::Tombstone, Self::DeadLetter];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Invalid => "invalid",
            Self::Tombstone => "tombstone",
            Self::DeadLetter => "dead-letter",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a dead letter is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// The record that could not be applied.
    pub source: Position,
    /// Why.
    pub error: DeadLetterKind,
}

/// Reads what records say, whatever their wire form. The same for every reader: by it entries are put into logs.
pub trait ReadLabels: Send + Sync {
    /// What this one says.
    fn labels(&self, record: &Record) -> Labels;
}

/// A log: whose, of which day, topic and partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogId {
    /// Whose entries.
    pub tenant: SmolStr,
    /// The UTC day of their records' timestamps, `2026-11-29`.
    pub day: SmolStr,
    /// Their topic.
    pub topic: SmolStr,
    /// Their partition.
    pub partition: i32,
}

impl LogId {
    /// The log of a record.
    pub fn of(record: &Record, labels: &Labels) -> Self {
        let is_name = |tenant: &&SmolStr| (1..=128).contains(&tenant.len()) && !tenant.chars().any(char::is_control);
        Self {
            tenant: labels.tenant.as_ref().filter(is_name).cloned().unwrap_or(SmolStr::new_static(NOBODY)),
            day: UtcTime::from_millis(record.timestamp_ms).day().to_smolstr(),
            topic: SmolStr::new(&record.position.topic),
            partition: record.position.partition,
        }
    }

    /// Its name within the tenant.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.day, self.topic, self.partition)
    }

    /// The log of that name.
    pub fn named(tenant: &str, name: &str) -> Option<Self> {
        let (day, rest) = name.split_once('/')?;
        let (topic, partition) = rest.rsplit_once('/')?;
        Some(Self { tenant: tenant.into(), day: day.into(), topic: topic.into(), partition: partition.parse().ok()? })
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenant.as_str() {
            NOBODY => write!(f, "the log {} of no tenant", self.name()),
            tenant => write!(f, "the log {} of tenant {tenant}", self.name()),
        }
    }
}

/// An entry: a record with what it says of itself. Its JSON, as it is written once, is the leaf of its log's tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The log that it stands in.
    pub log: LogId,
    /// Its place there, from 0.
    pub number: u64,
    /// The record.
    pub position: Position,
    /// The record's timestamp, milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// What it is.
    pub kind: Kind,
    /// The catalog's event type, `statement`, or `unknown`.
    pub event_type: Cow<'a, str>,
    /// The family whose topic it is on; of a letter whose it was.
    pub family: Cow<'a, str>,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<SmolStr>,
    /// Of a letter: what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Letter>,
    /// The record's key.
    pub key: Option<Data<'a>>,
    /// The record's value; `null` is a tombstone.
    pub value: Option<Data<'a>>,
    /// The record's headers, in their order.
    pub headers: Vec<(Cow<'a, str>, Option<Data<'a>>)>,
}

/// Bytes: UTF-8 as a string, anything else as `{"base64": "…"}`, and what was left out as `{"sha256": "…", "bytes": n}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<'a> {
    /// As they were sent.
    Whole(Cow<'a, [u8]>),
    /// What they were.
    LeftOut {
        /// Their hash.
        sha256: Hash,
        /// How many.
        bytes: u64,
    },
}

impl<'a> Data<'a> {
    fn of(bytes: &'a Bytes) -> Self {
        Self::Whole(Cow::Borrowed(bytes))
    }

    fn left_out(bytes: &[u8]) -> Self {
        Self::LeftOut { sha256: Hash::of(&[bytes]), bytes: bytes.len() as u64 }
    }

    /// The bytes, where they are there.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::LeftOut { .. } => None,
        }
    }

    /// Their hash.
    pub fn sha256(&self) -> Hash {
        match self {
            Self::Whole(bytes) => Hash::of(&[bytes]),
            Self::LeftOut { sha256, .. } => *sha256,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum DataForm<'a> {
    Text(Cow<'a, str>),
    Binary { base64: Cow<'a, str> },
    LeftOut { sha256: Hash, bytes: u64 },
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => DataForm::Text(text.into()),
                Err(_) => DataForm::Binary { base64: BASE64.encode(bytes).into() },
            },
            Self::LeftOut { sha256, bytes } => DataForm::LeftOut { sha256: *sha256, bytes: *bytes },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match DataForm::deserialize(deserializer)? {
            DataForm::Text(text) => Self::Whole(Cow::Owned(text.into_owned().into_bytes())),
            DataForm::Binary { base64 } => {
                Self::Whole(BASE64.decode(&*base64).map_err(serde::de::Error::custom)?.into())
            }
            DataForm::LeftOut { sha256, bytes } => Self::LeftOut { sha256, bytes },
        })
    }
}

impl<'a> Entry<'a> {
    /// The entry of a record, at that place of its log.
    pub fn of(record: &'a Record, labels: &'a Labels, log: LogId, number: u64) -> Self {
        let value = record.value.as_ref().map(|value| match value.len() {
            ..=MAX_VALUE_BYTES if !labels.holds_secret => Data::of(value),
            _ => Data::left_out(value),
        });
        let headers = record.headers.iter();
        let headers = headers
            .map(|Header { name, value }| (Cow::Borrowed(name.as_str()), value.as_ref().map(Data::of)))
            .collect();
        Self {
            log,
            number,
            position: record.position.clone(),
            timestamp_ms: record.timestamp_ms,
            kind: labels.kind,
            event_type: labels.event_type.into(),
            family: Cow::Borrowed(&*labels.family),
            event_id: labels.event_id,
            correlation_id: labels.correlation_id.clone(),
            letter: labels.letter.clone(),
            key: record.key.as_ref().map(Data::of),
            value,
            headers,
        }
    }

    /// The same without what a store may refuse for its size.
    #[must_use]
    pub fn without_bytes(mut self) -> Self {
        let leave_out = |data: &mut Option<Data<'_>>| {
            if let Some(Data::Whole(bytes)) = data {
                *data = Some(Data::left_out(bytes));
            }
        };
        leave_out(&mut self.key);
        leave_out(&mut self.value);
        self.headers.iter_mut().for_each(|(_, value)| leave_out(value));
        self
    }

    /// Its bytes: what is hashed, stored and shown.
    ///
    /// # Errors
    /// None that is known.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The record that it is about: of a letter the one that could not be applied.
    pub fn about(&self) -> &Position {
        self.letter.as_ref().map_or(&self.position, |letter| &letter.source)
    }

    /// The document in which a store keeps it, with its leaf.
    ///
    /// # Errors
    /// See [`Entry::write`].
    pub fn document(&self) -> Result<(StatementDocument, Hash), serde_json::Error> {
        let raw = self.write()?;
        let leaf = leaf(&raw);
        let log = self.log.name();
        // A store keeps an entry as it keeps a statement: in the fields that it can look for.
        let fields = StatementFields {
            event_type: self.event_type.clone().into_owned().into(),
            family: self.family.clone().into_owned().into(),
            timestamp_ms: self.timestamp_ms,
            day: self.log.day.clone(),
            actor: self.about().to_string(),
            verb: log.as_str().into(),
            object_type: self.kind.name().into(),
            object: self.event_id.map(|id| id.to_string()).unwrap_or_default().into(),
            registration: self.correlation_id.as_deref().map(str::to_owned),
            ..StatementFields::default()
        };
        let document = StatementDocument {
            tenant: self.log.tenant.clone(),
            id: id_of(&log, self.number, leaf),
            raw: raw.into(),
            stored_ms: self.timestamp_ms,
            source: self.position.clone(),
            correlation_id: self.correlation_id.clone().unwrap_or_default(),
            fields,
        };
        Ok((document, leaf))
    }
}

impl Entry<'static> {
    /// Reads an entry.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(raw: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(raw)
    }
}

/// The name of an entry's place.
pub(super) fn place(log: &str, number: u64) -> String {
    format!("{log}#{number}")
}

/// The id of an entry: by its place and its content, so that the same one is the same document whoever writes it, and another one at
/// its place never hides it.
pub fn id_of(log: &str, number: u64, leaf: Hash) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{}/{leaf}", place(log, number)).as_bytes())
}

/// Which entries are meant. Every part that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Whose; `None` is an operator's, of all tenants.
    pub tenant: Option<String>,
    /// The log of that name.
    pub log: Option<String>,
    /// Any of these kinds.
    pub kinds: Vec<Kind>,
    /// Any of these event types.
    pub event_types: Vec<String>,
    /// The event.
    pub event_id: Option<Uuid>,
    /// What it belongs to.
    pub correlation_id: Option<String>,
    /// Any of the records that it is about.
    pub positions: Vec<Position>,
    /// Record timestamps from here on (inclusive), milliseconds since 1970 UTC.
    pub from_ms: Option<i64>,
    /// Record timestamps before this (exclusive), milliseconds since 1970 UTC.
    pub to_ms: Option<i64>,
}

impl Wanted {
    /// The same in the words of a store.
    pub fn filter(self) -> Filter {
        Filter {
            tenant: self.tenant,
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            verbs: self.log.into_iter().collect(),
            event_types: self.event_types,
            actors: self.positions.iter().map(Position::to_string).collect(),
            object_types: self.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
            object: self.event_id.map(|id| id.to_string()),
            registration: self.correlation_id,
            ..Filter::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            position: Position::new("t", 2, 41),
            timestamp_ms: 86_400_000 * 3 + 5,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"\x00\xff")),
            headers: vec![Header::new("a", "1"), Header { name: "b".into(), value: None }],
        }
    }

    fn labels() -> Labels {
        Labels {
            kind: Kind::DeadLetter,
            event_type: "a.b",
            family: "training".into(),
            event_id: Some(Uuid::from_u128(7)),
            tenant: Some("acme".into()),
            correlation_id: Some("c".into()),
            letter: Some(Letter { source: "s/0/9".parse().unwrap(), error: DeadLetterKind::Rejected }),
            holds_secret: false,
        }
    }

    #[test]
    fn an_entry_is_read_back_from_its_own_bytes_whatever_stands_in_the_record() {
        let (record, labels) = (record(), labels());
        let entry = Entry::of(&record, &labels, LogId::of(&record, &labels), 3);
        let read = Entry::read(&entry.write().unwrap()).unwrap();
        assert_eq!(read, entry);
        assert_eq!(read.value.as_ref().and_then(Data::bytes), Some(&b"\x00\xff"[..]));
        assert_eq!(read.write().unwrap(), entry.write().unwrap());
        assert_eq!(read.log.name(), "1970-01-04/t/2");
        assert_eq!(LogId::named("acme", &read.log.name()), Some(read.log));
    }

    #[test]
    fn what_is_too_large_is_kept_as_its_hash() {
        let (mut record, labels) = (record(), labels());
        let large = vec![b'x'; MAX_VALUE_BYTES + 1];
        let sha256 = Hash::of(&[&large]);
        record.value = Some(large.into());
        let log = LogId::of(&record, &labels);
        let entry = Entry::of(&record, &labels, log.clone(), 0);
        assert!(
            matches!(&entry.value, Some(of @ Data::LeftOut { bytes, .. }) if *bytes == MAX_VALUE_BYTES as u64 + 1 && of.sha256() == sha256)
        );
        assert!(entry.key.as_ref().is_some_and(|key| key.bytes().is_some()));
        let entry = entry.without_bytes();
        assert!(entry.key.as_ref().is_some_and(|key| key.bytes().is_none()));
        assert_eq!(Entry::read(&entry.write().unwrap()).unwrap(), entry);
    }

    #[test]
    fn an_entry_is_found_by_each_thing_that_can_be_asked_for() {
        let (record, labels) = (record(), labels());
        let entry = Entry::of(&record, &labels, LogId::of(&record, &labels), 3);
        let (document, leaf) = entry.document().unwrap();
        assert_eq!(document.id, id_of("1970-01-04/t/2", 3, leaf));
        let found = |wanted: Wanted| wanted.filter().matches(&document);
        let text = |text: &str| Some(text.to_owned());
        for (with, without) in [
            (Wanted { tenant: text("acme"), ..<_>::default() }, Wanted { tenant: text("b"), ..<_>::default() }),
            (Wanted { log: text("1970-01-04/t/2"), ..<_>::default() }, Wanted { log: text("b"), ..<_>::default() }),
            (
                Wanted { kinds: vec![Kind::DeadLetter], ..<_>::default() },
                Wanted { kinds: vec![Kind::Event], ..<_>::default() },
            ),
            (
                Wanted { event_types: vec!["a.b".into()], ..<_>::default() },
                Wanted { event_types: vec!["b".into()], ..<_>::default() },
            ),
            (
                Wanted { event_id: Some(Uuid::from_u128(7)), ..<_>::default() },
                Wanted { event_id: Some(Uuid::from_u128(8)), ..<_>::default() },
            ),
            (
                Wanted { correlation_id: text("c"), ..<_>::default() },
                Wanted { correlation_id: text("d"), ..<_>::default() },
            ),
            (
                Wanted { positions: vec!["s/0/9".parse().unwrap()], ..<_>::default() },
                Wanted { positions: vec!["t/2/41".parse().unwrap()], ..<_>::default() },
            ),
            (
                Wanted { from_ms: Some(record.timestamp_ms), ..<_>::default() },
                Wanted { to_ms: Some(record.timestamp_ms), ..<_>::default() },
            ),
        ] {
            assert!(found(with.clone()) && !found(without), "{with:?}");
        }
    }

    #[test]
    fn what_names_no_possible_tenant_is_nobodys() {
        for tenant in [None, Some(SmolStr::default()), Some("a".repeat(129).into()), Some("a\nb".into())] {
            let labels = Labels { tenant, ..labels() };
            assert_eq!(LogId::of(&record(), &labels).tenant, NOBODY);
        }
    }
}
