//! From a record's bytes to an [`Envelope`]: what kind of event it is, whose it is, and the valid statement inside.
//!
//! Both wire forms of the platform's topics are understood: a bare xAPI statement, and the wrapped message
//! `{"event_type", "xapi_data": {statement}, "metadata": {…}, …}` (see `wrapped.rs`). Pure: no clock, no I/O.

use std::borrow::Cow;

use uuid::Uuid;

use crate::family::{Catalog, EXTENSIONS, FamilySpec, Known};
use crate::outcome::{DeadLetterKind, Finding};
use crate::record::{Header, Position, Record, header_text};
use crate::trace;
use lyceum_xapi::statement::{Object, Statement};
use lyceum_xapi::{Limits, Version};

pub mod field;
mod wrapped;

/// The source position of a record that was sent again.
pub const SOURCE_HEADER: &str = "lyceum-source";
/// How often a record was sent again.
pub const REPLAY_COUNT_HEADER: &str = "lyceum-replay-count";

/// Names that are derived here: UUIDv5 within this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c79_6365_756d_5e00_8000_0000_0000_0001);

/// What a record may cost and whose it is when it does not say.
#[derive(Clone, Debug)]
pub struct EnvelopeConfig {
    /// `DEFAULT_TENANT`.
    pub default_tenant: String,
    /// Of the statement.
    pub statement: Limits,
    /// Of key, value and headers together, for a family that keeps state: its letters must fit into a ledger item.
    pub state_record_bytes: usize,
    /// Of all header names and values together.
    pub header_bytes: usize,
    /// Of headers in number.
    pub header_count: usize,
}

impl Default for EnvelopeConfig {
    fn default() -> Self {
        Self {
            default_tenant: "default".to_owned(),
            statement: Limits::default(),
            state_record_bytes: 256 * 1024,
            header_bytes: 32 * 1024,
            header_count: 64,
        }
    }
}

/// An event with everything that its processing needs to know; borrows from the record.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The event.
    pub id: Uuid,
    /// What it is.
    pub event_type: &'static str,
    /// Whose it is.
    pub tenant: Cow<'a, str>,
    /// Travels with everything that follows from it.
    pub correlation_id: Cow<'a, str>,
    /// Where it came from: the original's position for a record that was sent again.
    pub source: Position,
    /// How often it was sent again.
    pub replay_count: u32,
    /// The record's timestamp.
    pub record_timestamp_ms: i64,
    /// The statement, valid.
    pub statement: Statement<'a>,
    /// The statement's bytes as they were sent.
    pub raw: &'a [u8],
    /// Where the statement stands in the record's value: empty, or `/xapi_data`.
    pub pointer: &'static str,
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// It has no value.
    Tombstone,
    /// A valid statement on the right topic.
    Event(Box<Envelope<'a>>),
    /// It can never be valid: every worker decides the same.
    Invalid(Box<Invalid>),
}

/// A record that can never be valid, and what could be read of it.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// What it is called.
    pub kind: DeadLetterKind,
    /// All that is wrong with it.
    pub findings: Vec<Finding>,
    /// The catalog's name, or `unknown`.
    pub event_type: &'static str,
    /// Whose it is, where that could be read.
    pub tenant: Option<String>,
    /// The correlation id, where that could be read.
    pub correlation_id: Option<String>,
}

pub use crate::outcome::UNKNOWN;

/// Where a record first stood and how often it was sent again. One whose own word on that cannot be read
/// (a damaged header of ours) is known by where it stands, as a first delivery: so its letter takes the name of no other one.
pub fn source_of(record: &Record) -> (Position, u32) {
    match replay_headers(record) {
        Ok((source, count)) => (source.unwrap_or_else(|| record.position.clone()), count.unwrap_or(0)),
        Err(_) => (record.position.clone(), 0),
    }
}

/// What a record says of being sent again. What is damaged is no first delivery: taken for one, a replay would count as a
/// duplicate of what it is to repair, and its letter would be lost behind the first one. So it is a finding.
fn replay_headers(record: &Record) -> Result<(Option<Position>, Option<u32>), Finding> {
    let read = |name: &'static str| {
        record
            .headers
            .iter()
            .any(|header| header.name == name)
            .then(|| header_text(&record.headers, name).unwrap_or_default())
    };
    let damaged = |name: &str, text: &str, is: &str| {
        let shown: String = text.chars().take(64).collect();
        let message = format!(
            "the header {name} is {shown:?} and must be {is}; replay the dead letter anew, or leave the header out"
        );
        finding("replay.headers", "", message)
    };
    let source = read(SOURCE_HEADER)
        .map(|text| text.parse().map_err(|_| damaged(SOURCE_HEADER, text, "topic/partition/offset of the original")));
    let count = read(REPLAY_COUNT_HEADER)
        .map(|text| text.parse().map_err(|_| damaged(REPLAY_COUNT_HEADER, text, "the number of replays")));
    Ok((source.transpose()?, count.transpose()?))
}

/// The id of an event that brings none: from its source position, so that a redelivery and a replay give the same one.
pub fn derived_event_id(source: &Position) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("event {source}").as_bytes())
}

/// The id of a follow-up.
pub fn follow_up_id(event: Uuid, event_type: &str, ordinal: usize) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("follow-up {event} {event_type} {ordinal}").as_bytes())
}

/// The id of a dead letter: by position alone the second letter of a replayed record would vanish.
pub fn letter_id(source: &Position, replay_count: u32) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("letter {source} {replay_count}").as_bytes())
}

/// The id that `ingest` gives to a statement without one: from the file's digest and the line.
pub fn ingested_event_id(file_sha256: &[u8; 32], line: u64) -> Uuid {
    let mut name = b"ingest ".to_vec();
    name.extend_from_slice(file_sha256);
    name.extend_from_slice(&line.to_be_bytes());
    Uuid::new_v5(&NAMESPACE, &name)
}

/// Decodes and validates a record of one of `family`'s topics.
pub fn decode<'a>(
    record: &'a Record,
    family: &'static FamilySpec,
    catalog: &Catalog,
    config: &EnvelopeConfig,
) -> Decoded<'a> {
    let Some(value) = record.value.as_deref() else { return Decoded::Tombstone };
    match Reading::of(record, value, Some(family), catalog, config).read() {
        Ok((_, envelope)) => Decoded::Event(Box::new(envelope)),
        Err(invalid) => Decoded::Invalid(invalid),
    }
}

/// What a valid value is, on whatever topic it may come: where it belongs, and the event. For whoever publishes.
pub fn recognise<'a>(record: &'a Record, catalog: &Catalog, config: &EnvelopeConfig) -> Option<(Known, Envelope<'a>)> {
    judge(record, None, catalog, config).ok()
}

/// The same judgement as that of [`decode`], before there is a topic: what is a plain statement here is taken there. By
/// `version`, else by the statement's own.
///
/// # Errors
/// All that is wrong with the value.
pub fn judge<'a>(
    record: &'a Record,
    version: Option<Version>,
    catalog: &Catalog,
    config: &EnvelopeConfig,
) -> Result<(Known, Envelope<'a>), Box<Invalid>> {
    let value = record.value.as_deref().unwrap_or_default();
    let mut reading = Reading::of(record, value, None, catalog, config);
    reading.version = version;
    reading.read()
}

/// The state of decoding one record.
struct Reading<'a, 'c> {
    record: &'a Record,
    value: &'a [u8],
    /// Whose topic it came on; `None` where it has not come on any.
    family: Option<&'static FamilySpec>,
    /// By which it is judged; `None` by the one that the statement states.
    version: Option<Version>,
    catalog: &'c Catalog,
    config: &'c EnvelopeConfig,
    known: Option<Known>,
    tenant: Option<Cow<'a, str>>,
    correlation_id: Option<Cow<'a, str>>,
    findings: Vec<Finding>,
}

impl<'a, 'c> Reading<'a, 'c> {
    fn of(
        record: &'a Record,
        value: &'a [u8],
        family: Option<&'static FamilySpec>,
        catalog: &'c Catalog,
        config: &'c EnvelopeConfig,
    ) -> Self {
        let (known, tenant, correlation_id, findings) = (None, None, None, Vec::new());
        Self { record, value, family, version: None, catalog, config, known, tenant, correlation_id, findings }
    }

    fn read(mut self) -> Result<(Known, Envelope<'a>), Box<Invalid>> {
        self.correlation_id = header_text(&self.record.headers, "correlation-id").map(Cow::Borrowed);
        if let Some(finding) = self.over_a_limit() {
            self.findings.push(finding);
            return self.invalid(DeadLetterKind::Oversized);
        }
        self.findings.extend(replay_headers(self.record).err());
        let message = match wrapped::read(self.value) {
            Ok(message) => message,
            Err((kind, findings)) => {
                self.findings.extend(findings);
                return self.invalid(kind);
            }
        };
        let (raw, pointer) = match &message {
            Some(message) => (message.statement, "/xapi_data"),
            None => (self.value, ""),
        };
        let verdict = lyceum_xapi::validate(raw, self.version, &self.config.statement);
        let kind = kind_of(&verdict.violations);
        let further = verdict.further;
        self.findings.extend(verdict.violations.into_iter().map(|violation| {
            let mut finding = Finding::from(violation);
            finding.pointer.insert_str(0, pointer);
            finding
        }));
        if further > 0 {
            self.finding("limit.violations", pointer, format!("{further} further violations are not listed"));
        }
        let message = message.unwrap_or_default();
        let Some(statement) = verdict.statement else {
            let id = self.agree("tenant", &[("/metadata/tenant_id", message.tenant_id), self.header("tenant-id")]);
            self.tenant = id;
            return self.invalid(kind);
        };

        let tenant_extension = field::extension_text(&statement.context.extensions, "tenant_id");
        let tenant = [
            ("/metadata/tenant_id", message.tenant_id.clone()),
            self.header("tenant-id"),
            ("/context/extensions", tenant_extension),
        ];
        self.tenant = self.agree("tenant", &tenant);
        if self
            .tenant
            .as_deref()
            .is_some_and(|tenant| tenant.is_empty() || tenant.len() > 128 || tenant.chars().any(char::is_control))
        {
            self.finding(
                "tenant.format",
                "/metadata/tenant_id",
                "a tenant is 1 to 128 bytes without control characters",
            );
        }
        let correlation = [("/metadata/correlation_id", message.correlation_id.clone()), self.header("correlation-id")];
        self.correlation_id = self.agree("correlation-id", &correlation);

        let id = self.event_id(&statement, message.event_id.clone());
        let explicit = [("/event_type", message.event_type.clone()), self.header("event-type")];
        let explicit = self.agree("event-type", &explicit);
        let recognised = self.catalog.recognise(&statement);
        self.known = match explicit.as_deref() {
            None => recognised.or_else(|| self.catalog.plain_statement()),
            Some(name) => match self.catalog.event_type(name) {
                Some(known) => {
                    if let Some(other) = recognised.filter(|other| other.name != known.name) {
                        let message = format!(
                            "the event type is given as {name}, but verb and object mean {}; correct one of them",
                            other.name
                        );
                        self.finding("event-type.differs", "/event_type", message);
                    }
                    Some(known)
                }
                None => {
                    let shown: String = name.chars().take(100).collect();
                    self.finding(
                        "event-type.unknown",
                        "/event_type",
                        format!("no family takes events of type {shown:?}"),
                    );
                    return self.invalid(DeadLetterKind::UnknownType);
                }
            },
        };
        let Some(known) = self.known else {
            self.finding("event-type.unknown", pointer, "no family takes plain statements in this deployment");
            return self.invalid(DeadLetterKind::UnknownType);
        };
        if !self.findings.is_empty() {
            return self.invalid(DeadLetterKind::Validation);
        }
        if self.family.is_some_and(|family| !self.topic_carries(family, &known)) {
            let message = format!(
                "events of type {} belong on topic {}, and this one came on {}",
                known.name, known.topic, self.record.position.topic
            );
            self.finding("event-type.topic", pointer, message);
            return self.invalid(DeadLetterKind::UnknownType);
        }

        let (source, replay_count) = source_of(self.record);
        let id = id.unwrap_or_else(|| derived_event_id(&source));
        let correlation_id =
            self.correlation_id.take().or_else(|| self.trace_id()).unwrap_or_else(|| id.to_string().into());
        let envelope = Envelope {
            id,
            event_type: known.name,
            tenant: self.tenant.take().unwrap_or_else(|| self.config.default_tenant.clone().into()),
            correlation_id,
            source,
            replay_count,
            record_timestamp_ms: self.record.timestamp_ms,
            statement,
            raw,
            pointer,
        };
        Ok((known, envelope))
    }

    /// A plain statement may come on any topic of its family, an event type on its own one only.
    fn topic_carries(&self, family: &'static FamilySpec, known: &Known) -> bool {
        let topic = &*self.record.position.topic;
        let of_family = || family.topics.iter().any(|of| of.name == topic);
        family.name == known.family.name
            && if known.name == crate::family::STATEMENT { of_family() } else { known.topic == topic }
    }

    fn header(&self, name: &'static str) -> (&'static str, Option<Cow<'a, str>>) {
        ("", header_text(&self.record.headers, name).map(Cow::Borrowed))
    }

    /// The first source that is there; sources that differ are a violation.
    fn agree(&mut self, what: &str, sources: &[(&str, Option<Cow<'a, str>>)]) -> Option<Cow<'a, str>> {
        let mut given = sources.iter().filter_map(|(pointer, text)| text.as_ref().map(|text| (*pointer, text)));
        let (_, first) = given.next()?;
        for (pointer, other) in given {
            if other != first {
                let rule = match what {
                    "tenant" => "tenant.differs",
                    "correlation-id" => "correlation-id.differs",
                    _ => "event-type.differs",
                };
                let message =
                    format!("two sources of the {what} differ: {first:?} and {other:?}; send one, or the same");
                self.findings.push(finding(rule, pointer, message));
            }
        }
        Some(first.clone())
    }

    fn event_id(&mut self, statement: &Statement<'_>, metadata: Option<Cow<'a, str>>) -> Option<Uuid> {
        let mut id = statement.id;
        for (pointer, text) in [("/metadata/event_id", metadata), self.header("event-id")] {
            let Some(text) = text else { continue };
            match (id, lyceum_xapi::uuid::parse(&text)) {
                (_, None) => {
                    let shown: String = text.chars().take(64).collect();
                    self.finding(
                        "event-id.uuid",
                        pointer,
                        format!("the event id {shown:?} is no UUID (8-4-4-4-12 hex digits)"),
                    );
                }
                (None, found) => id = found,
                (Some(first), Some(found)) if first != found => {
                    self.finding(
                        "event-id.differs",
                        pointer,
                        format!("two sources of the event id differ: {first} and {found}"),
                    );
                }
                _ => {}
            }
        }
        id
    }

    /// The trace id of a W3C `traceparent`.
    fn trace_id(&self) -> Option<Cow<'a, str>> {
        trace::w3c_trace_id(header_text(&self.record.headers, trace::TRACEPARENT)?).map(Cow::Borrowed)
    }

    fn over_a_limit(&self) -> Option<Finding> {
        let headers = &self.record.headers;
        let header_bytes: usize = headers.iter().map(header_len).sum();
        if headers.len() > self.config.header_count || header_bytes > self.config.header_bytes {
            let message = format!(
                "{} headers of {header_bytes} bytes; at most {} of {} bytes are taken",
                headers.len(),
                self.config.header_count,
                self.config.header_bytes
            );
            return Some(finding("limit.headers", "", message));
        }
        let bytes = self.value.len() + header_bytes + self.record.key.as_deref().map_or(0, <[u8]>::len);
        let limit = self.config.state_record_bytes;
        (self.family.is_some_and(|family| !family.kinds.is_empty()) && bytes > limit).then(|| {
            finding(
                "limit.record",
                "",
                format!("the record has {bytes} bytes, and an event that changes state may have {limit}"),
            )
        })
    }

    fn finding(&mut self, rule: &'static str, pointer: &str, message: impl Into<String>) {
        self.findings.push(finding(rule, pointer, message));
    }

    fn invalid(self, kind: DeadLetterKind) -> Result<(Known, Envelope<'a>), Box<Invalid>> {
        Err(Box::new(Invalid {
            kind,
            findings: self.findings,
            event_type: self.known.map_or(UNKNOWN, |known| known.name),
            tenant: self.tenant.map(Cow::into_owned),
            correlation_id: self.correlation_id.map(Cow::into_owned),
        }))
    }
}

fn header_len(header: &Header) -> usize {
    header.name.len() + header.value.as_deref().map_or(0, <[u8]>::len)
}

/// A finding of the envelope's own rules; they come from the event catalog.
pub(crate) fn finding(rule: &'static str, pointer: &str, message: impl Into<String>) -> Finding {
    Finding {
        rule: rule.into(),
        pointer: pointer.to_owned(),
        message: message.into(),
        requirement: "event catalog".into(),
    }
}

/// Bytes that are no JSON are a matter of decoding, what is over a limit has a name of its own, the rest is validation.
fn kind_of(violations: &[lyceum_xapi::Violation]) -> DeadLetterKind {
    let all = |prefix: &str| violations.iter().all(|violation| violation.rule.starts_with(prefix));
    if violations.is_empty() {
        DeadLetterKind::Validation
    } else if all("json.") {
        DeadLetterKind::Decode
    } else if all("limit.") {
        DeadLetterKind::Oversized
    } else {
        DeadLetterKind::Validation
    }
}

/// Every rule of the envelope; with the validator's they are the closed set of metric labels.
pub const RULES: &[&str] = &[
    "correlation-id.differs",
    "event-id.differs",
    "event-id.uuid",
    "event-type.differs",
    "event-type.topic",
    "event-type.unknown",
    "field.order",
    "field.range",
    "field.required",
    "field.type",
    "limit.headers",
    "limit.record",
    "limit.violations",
    "message.json",
    "message.metadata",
    "message.xapi-data",
    "record.malformed",
    "replay.headers",
    "tenant.differs",
    "tenant.format",
];

impl<'a> Envelope<'a> {
    /// The last segment of the object's activity IRI.
    pub fn object_id(&self) -> Option<&str> {
        match &self.statement.object {
            Object::Activity(activity) => crate::family::last_segment(&activity.id),
            _ => None,
        }
    }

    /// The extension `http://nlj.platform/extensions/<name>`, looked for in context, object definition and result.
    pub fn extension(&self, name: &str) -> Option<(&'static str, &'a [u8])> {
        let statement = &self.statement;
        let definition = match &statement.object {
            Object::Activity(activity) => activity.extensions.as_slice(),
            _ => &[],
        };
        let places = [
            ("/context/extensions", statement.context.extensions.as_slice()),
            ("/object/definition/extensions", definition),
            ("/result/extensions", statement.result.extensions.as_slice()),
        ];
        places.into_iter().find_map(|(place, extensions)| {
            let is_it = |key: &str| key.strip_prefix(EXTENSIONS) == Some(name);
            extensions.iter().find(|(key, _)| is_it(key)).map(|(_, raw)| (place, *raw))
        })
    }

    /// When it happened: the statement's timestamp, else the record's.
    pub fn occurred_at_ms(&self) -> i64 {
        self.statement.timestamp_ms.unwrap_or(self.record_timestamp_ms)
    }
}
