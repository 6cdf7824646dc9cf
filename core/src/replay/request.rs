//! What is asked for: which records, and where they go.

use std::fmt;

use lyceum_xapi::utc_time::{Day, UtcTime};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::audit::entry::Labels;
use crate::ports::event_log::rules;
use crate::record::Record;

/// Ids of requests: UUIDv5 within this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c79_6365_756d_5e00_8000_0000_0000_0003);

/// So many event ids may be named in one request.
pub const MAX_EVENT_IDS: usize = 1_000;

/// A replay, as a person, a schedule or a program asks for it. As JSON:
/// `{"topics": ["nlj.training.programs"], "range": {"times": {"from": "2026-03-01T08:00:00Z", "until": "2026-03-01T09:00:00Z"}}, "target": "topic"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which topics. Of event ids or a correlation id also none: then all that the audit log knows them on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Which of their records; all that are there where nothing is said.
    #[serde(default)]
    pub range: Range,
    /// Of these partitions alone; none: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<i32>,
    /// Those of them that are so.
    #[serde(default)]
    pub filter: Filter,
    /// Where they go.
    pub target: Target,
    /// At most so many records a second; none: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// At most so many records that match; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Which records of the topics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Range {
    /// Of each partition from the first record that is not older than `from` up to the first that is not older than `until`, by the
    /// timestamps of records; a missing end is that of the partition when the run begins.
    #[serde(deserialize_with = "read_times")]
    Times {
        /// Inclusive. Text: RFC 3339, or a UTC date for its beginning.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<UtcTime>,
        /// Exclusive. Text: RFC 3339, or a UTC date for its beginning.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<UtcTime>,
    },
    /// By offsets; where several name a partition, what any of them names.
    Offsets(Vec<OffsetsOf>),
    /// The events that belong together, as the audit log knows them.
    CorrelationId(String),
    /// These events, as the audit log knows them: every record of them.
    EventIds(Vec<Uuid>),
}

impl Default for Range {
    /// All that is there.
    fn default() -> Self {
        Self::Times { from: None, until: None }
    }
}

/// The times by their names, as [`OffsetsOf`] has offsets.
fn read_times<'de, D: Deserializer<'de>>(from: D) -> Result<(Option<UtcTime>, Option<UtcTime>), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NamedTimes {
        #[serde(default, deserialize_with = "read_time")]
        from: Option<UtcTime>,
        #[serde(default, deserialize_with = "read_time")]
        until: Option<UtcTime>,
    }
    let members = serde_json::Map::<String, serde_json::Value>::deserialize(from)?;
    let named: NamedTimes = serde_json::from_value(members.into()).map_err(serde::de::Error::custom)?;
    Ok((named.from, named.until))
}

/// A range of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub struct OffsetsOf {
    /// Of this topic; none: of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Of this partition; none: of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The first one; none: the partition's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The one behind the last; none: the partition's end when the run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// What serde would also read from a list: without names nobody knows what is meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedOffsets {
    topic: Option<String>,
    partition: Option<i32>,
    from: Option<i64>,
    until: Option<i64>,
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for OffsetsOf {
    type Error = serde_json::Error;

    fn try_from(members: serde_json::Map<String, serde_json::Value>) -> serde_json::Result<Self> {
        let NamedOffsets { topic, partition, from, until } = serde_json::from_value(members.into())?;
        Ok(Self { topic, partition, from, until })
    }
}

/// Which records of a range match. What is not said matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Whose. A record of which no tenant can be told is nobody's, and matches none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Any of these types of the catalog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// The record's key, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// To the topic that they are on, once more: every subscriber gets them, and takes none whose effect it has.
    Topic,
    /// To one subscriber alone: nothing is published to the topic.
    Subscriber {
        /// The subscription's name.
        name: String,
        /// Whether what follows from its events is published (reactions, alerts, dead letters).
        #[serde(default)]
        publish: bool,
    },
    /// To another topic, as they are.
    OtherTopic(String),
    /// Into files.
    File {
        /// A folder, or `s3://bucket/prefix`.
        place: String,
        /// How they are written.
        #[serde(default)]
        format: FileFormat,
    },
}

/// How records stand in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// A line of JSON a record.
    #[default]
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// What is wrong in a request, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Wrong {
    /// Where, as a JSON path: `range.times.from`.
    pub field: String,
    /// A sentence.
    pub message: String,
}

impl Wrong {
    /// That about this.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UtcTime>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    time(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Reads a time of a request.
///
/// # Errors
/// What is wrong with it, with an example.
pub fn time(text: &str) -> Result<UtcTime, String> {
    let read = text.parse::<UtcTime>().ok().or_else(|| Some(text.parse::<Day>().ok()?.start()));
    read.ok_or_else(|| {
        format!("{text:?} is no time: write 2026-01-31T09:30:00Z, or a UTC date as 2026-01-31 for its beginning")
    })
}

impl Request {
    /// Reads a request from JSON, and checks it.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(json: &[u8]) -> Result<Self, Vec<Wrong>> {
        let request: Self = serde_json::from_slice(json)
            .map_err(|error| vec![Wrong::new("request", format!("{error}; /openapi.json has its schema"))])?;
        request.check().map(|()| request)
    }

    /// Whether it can be planned, as far as the request alone tells.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn check(&self) -> Result<(), Vec<Wrong>> {
        let mut wrong = Vec::new();
        let mut say = |field: &str, message: String| wrong.push(Wrong::new(field, message));
        let by_audit = matches!(self.range, Range::CorrelationId(_) | Range::EventIds(_));
        if self.topics.is_empty() && !by_audit {
            say("topics", "name at least one topic; `lyceum topics` lists them".to_owned());
        }
        for topic in &self.topics {
            if let Some(message) = no_topic_name(topic) {
                say("topics", message);
            }
        }
        if let Some(partition) = self.partitions.iter().find(|partition| **partition < 0) {
            say("partitions", format!("{partition} is no partition: they count from 0"));
        }
        match &self.range {
            Range::Times { from: Some(from), until: Some(until) } if from >= until => {
                say("range.times", format!("from ({from}) must be before until ({until})"));
            }
            Range::Offsets(of) if of.is_empty() => {
                say("range.offsets", "name at least one range, as {\"from\": 0, \"until\": 100}".to_owned());
            }
            Range::Offsets(of) => of.iter().for_each(|of| self.check_offsets(of, &mut say)),
            Range::CorrelationId(id) if id.trim().is_empty() => {
                say("range.correlation_id", "it is empty: name the correlation id".to_owned());
            }
            Range::EventIds(ids) if ids.is_empty() || ids.len() > MAX_EVENT_IDS => {
                say("range.event_ids", format!("name 1 to {MAX_EVENT_IDS} events; these are {}", ids.len()));
            }
            _ => {}
        }
        if self.filter.tenant.as_deref() == Some("") || self.filter.key.as_deref() == Some("") {
            say("filter", "a tenant or key that is empty matches nothing: leave it out".to_owned());
        }
        match &self.target {
            Target::OtherTopic(topic) => {
                if let Some(message) = no_topic_name(topic) {
                    say("target.other_topic", message);
                }
                if self.topics.contains(topic) {
                    let message = format!("{topic} is read by this very replay: send to it by the target \"topic\"");
                    say("target.other_topic", message);
                }
            }
            Target::Subscriber { name, .. } if name.trim().is_empty() => {
                say("target.subscriber.name", "name the subscription; `lyceum status` lists them".to_owned());
            }
            Target::File { place, .. } if place.trim().is_empty() => {
                say("target.file.place", "name a folder, or s3://bucket/prefix".to_owned());
            }
            _ => {}
        }
        if self.rate == Some(0) {
            say(
                "rate",
                "it is 0, so that nothing would ever be sent: name records a second, or leave it out".to_owned(),
            );
        }
        if self.limit == Some(0) {
            say("limit", "it is 0, so that nothing would be sent: name a number, or ask for a dry run".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_offsets(&self, of: &OffsetsOf, say: &mut impl FnMut(&str, String)) {
        let at = "range.offsets";
        if let Some(topic) = of.topic.as_ref().filter(|topic| !self.topics.contains(topic)) {
            say(at, format!("{topic} is none of the request's topics: add it there, too"));
        }
        if of.partition.is_some_and(|partition| partition < 0) {
            say(at, "partitions count from 0".to_owned());
        }
        if of.from.is_some_and(|from| from < 0) || of.until.is_some_and(|until| until < 0) {
            say(at, "offsets count from 0".to_owned());
        }
        if let (Some(from), Some(until)) = (of.from, of.until)
            && from >= until
        {
            say(at, format!("from ({from}) must be before until ({until}), which is the offset behind the last one"));
        }
    }

    /// The same with what is said twice said once, in one order: by it two requests are the same.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        fn once<T: Ord>(of: &mut Vec<T>) {
            of.sort_unstable();
            of.dedup();
        }
        once(&mut self.topics);
        once(&mut self.partitions);
        once(&mut self.filter.event_types);
        match &mut self.range {
            Range::Offsets(of) => once(of),
            Range::EventIds(ids) => once(ids),
            Range::Times { .. } | Range::CorrelationId(_) => {}
        }
        self
    }

    /// Its name: the same for the same records and target, however they are named and however fast they go.
    pub fn id(&self) -> Uuid {
        let canonical = Self { rate: None, ..self.clone().normalised() };
        Uuid::new_v5(&NAMESPACE, &serde_json::to_vec(&canonical).unwrap_or_default())
    }

    /// Which records it asks for, as JSON: the request without where they go and how fast. The same for all requests of one [`id`](Self::id).
    pub fn records(&self) -> serde_json::Value {
        // Texts, numbers and their lists: writing them cannot fail.
        let mut of = serde_json::to_value(self.clone().normalised()).unwrap_or_default();
        if let Some(members) = of.as_object_mut() {
            members.retain(|name, _| !matches!(name.as_str(), "target" | "rate"));
        }
        of
    }

    /// The place of its files.
    pub fn is_to_file(&self) -> bool {
        matches!(self.target, Target::File { .. })
    }

    /// Whether it may go further back than keys do: it has no effect that a key makes happen once.
    pub fn outlives_keys(&self) -> bool {
        match &self.target {
            Target::Topic | Target::Subscriber { .. } => false,
            Target::OtherTopic(_) | Target::File { .. } => true,
        }
    }
}

fn no_topic_name(topic: &str) -> Option<String> {
    let spec = crate::ports::event_log::TopicSpec {
        name: topic.to_owned(),
        partitions: 1,
        retention: crate::ports::event_log::Retention::default(),
    };
    rules::check_topic(&spec, 0).err().map(|error| error.to_string())
}

impl Filter {
    /// Whether a record has to be read to be judged.
    pub fn needs_labels(&self) -> bool {
        self.tenant.is_some() || !self.event_types.is_empty()
    }

    /// Whether a record matches; `labels` reads what it says of itself, and is asked only where that matters.
    pub fn matches(&self, record: &Record, labels: impl FnOnce() -> Labels) -> bool {
        if self.key.as_deref().is_some_and(|key| record.key.as_deref() != Some(key.as_bytes())) {
            return false;
        }
        if !self.needs_labels() {
            return true;
        }
        let labels = labels();
        let of_tenant = self.tenant.as_deref().is_none_or(|tenant| labels.tenant.as_deref() == Some(tenant));
        of_tenant && (self.event_types.is_empty() || self.event_types.iter().any(|of| of == labels.event_type))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic => write!(f, "the topic again"),
            Self::Subscriber { name, .. } => write!(f, "subscriber {name}"),
            Self::OtherTopic(topic) => write!(f, "topic {topic}"),
            Self::File { place, format: FileFormat::Jsonl } => write!(f, "JSONL files at {place}"),
            Self::File { place, format: FileFormat::Parquet } => write!(f, "Parquet files at {place}"),
        }
    }
}
