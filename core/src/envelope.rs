//! What every event has, whatever its wire form: id, type, tenant, correlation id, source; and [`Opening`], which finds each of them
//! among its sources and holds these against each other. What is inside is the affair of a format ([`crate::formats`]). Pure.

use std::borrow::Cow;

use smol_str::SmolStr;
use uuid::Uuid;

use crate::catalog::{Catalog, FamilySpec, Known};
use crate::outcome::{DeadLetterKind, Finding};
use crate::ports::ledger::Home;
use crate::record::{Header, Position, Record, header_text};
use crate::trace;
use lyceum_xapi::statement::Statement;
use lyceum_xapi::{Limits, Version};

/// Names the tenant.
pub const TENANT_HEADER: &str = "tenant-id";

/// Names the event.
pub const EVENT_ID_HEADER: &str = "event-id";

/// Says what it is.
pub const EVENT_TYPE_HEADER: &str = "event-type";

/// Says that the header `tenant-id` is that of the credential by which it was published: nobody else can set this one over HTTP.
pub const TENANT_GIVEN_HEADER: &str = "lyceum-tenant-given";

/// The source position of a record that was sent again.
pub const SOURCE_HEADER: &str = "lyceum-source";
/// How often a record was sent again.
pub const REPLAY_COUNT_HEADER: &str = "lyceum-replay-count";

/// Where `LEARNER_HOME_PAGE` names no other.
pub const LEARNER_HOME_PAGE: &str = "http://nlj.platform/users";
/// How many events one after another led to a record, each a follow-up of the one before; none for an event that follows from none.
pub const HOPS_HEADER: &str = "lyceum-hops";

/// Headers that begin so are Lyceum's own, however they are spelled: nobody who publishes may set one.
pub const OWN_HEADERS: &str = "lyceum-";

/// The first of these names of headers that is Lyceum's own.
pub fn own_header<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names.find(|name| name.get(..OWN_HEADERS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(OWN_HEADERS)))
}

/// The rule of a finding about a secret that stands where it must not: the letter goes without the value.
pub const SECRET_RULE: &str = "payload.secret";

/// Names that are derived here: UUIDv5 within this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c79_6365_756d_5e00_8000_0000_0000_0001);

/// What a record may cost and whose it is when it does not say.
#[derive(Clone, Debug)]
pub struct EnvelopeConfig {
    /// `DEFAULT_TENANT`.
    pub default_tenant: SmolStr,
    /// `LEARNER_HOME_PAGE`: whose accounts the user ids of analytics events are.
    pub learner_home_page: SmolStr,
    /// Of the statement.
    pub statement: Limits,
    /// The version by whose rules statements are judged; without one by their own.
    pub xapi_version: Option<Version>,
    /// Of key, value and headers together, for a family that keeps state: its letters must fit into a ledger item.
    pub state_record_bytes: usize,
    /// Of all header names and values together.
    pub header_bytes: usize,
    /// Of headers in number.
    pub header_count: usize,
    /// Of events that follow one from another: by it a circle of reactions ends.
    pub hops: u32,
}

impl Default for EnvelopeConfig {
    fn default() -> Self {
        Self {
            default_tenant: SmolStr::new_static("default"),
            learner_home_page: SmolStr::new_static(LEARNER_HOME_PAGE),
            statement: Limits::default(),
            xapi_version: None,
            state_record_bytes: 256 * 1024,
            header_bytes: 32 * 1024,
            header_count: 64,
            hops: 16,
        }
    }
}

/// An event with everything that its processing needs to know; borrows from the record. `B` is the body, as its format reads it.
#[derive(Clone, Debug)]
pub struct Envelope<'a, B = Statement<'a>> {
    /// The event.
    pub id: Uuid,
    /// What it is.
    pub event_type: &'static str,
    /// Whose it is.
    pub tenant: SmolStr,
    /// Travels with everything that follows from it.
    pub correlation_id: SmolStr,
    /// Where it came from: the original's position for a record that was sent again.
    pub source: Position,
    /// How often it was sent again.
    pub replay_count: u32,
    /// When it happened, else the record's timestamp; milliseconds since 1970 UTC.
    pub occurred_at_ms: i64,
    /// What it says, valid.
    pub body: B,
    /// The body's bytes as they were sent.
    pub raw: &'a [u8],
    /// Where the body stands in the record's value: empty for the whole of it, else a JSON pointer.
    pub pointer: &'static str,
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
    /// Whose it is: the default tenant's where nothing names one; `None`, an operator's matter, where sources differ.
    pub tenant: Option<SmolStr>,
    /// The correlation id, where that could be read.
    pub correlation_id: Option<SmolStr>,
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

/// How many events led to a record: what stands in its header [`HOPS_HEADER`], else none.
///
/// # Errors
/// The header is there and no number: taken for none, it would let a circle of reactions begin anew.
pub fn hops_of(record: &Record) -> Result<u32, Finding> {
    let Some(header) = record.headers.iter().rfind(|header| header.name == HOPS_HEADER) else { return Ok(0) };
    let text = header.value.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        let message = format!(
            "the header {HOPS_HEADER} is {shown:?} and must be the number of events that led to this one; leave it out \
             where the event follows from none"
        );
        finding("hops.header", "", message)
    })
}

/// The id of an event that brings none: from its source position, so that a redelivery and a replay give the same one.
pub fn derived_event_id(source: &Position) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("event {source}").as_bytes())
}

/// The id of a follow-up. Where an event's key is at home, an id that comes again with another home is another event: what
/// follows from the two must not have one id.
pub fn follow_up_id(event: Uuid, home: Option<&Home>, event_type: &str, ordinal: usize) -> Uuid {
    let mut name = format!("follow-up {event} {event_type} {ordinal}");
    if let Some(Home { kind, id }) = home {
        name += &format!(" of {kind} {id}");
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The id of a dead letter: by position alone the second letter of a replayed record would vanish.
pub fn letter_id(source: &Position, replay_count: u32) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("letter {source} {replay_count}").as_bytes())
}

/// The id of a dead letter of a subscription that does not own the record's topic.
pub fn others_letter_id(source: &Position, replay_count: u32, subscription: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("letter {source} {replay_count} of {subscription}").as_bytes())
}

/// The id that `ingest` gives to a statement without one: from the file's digest and the line.
pub fn ingested_event_id(file_sha256: &[u8; 32], line: u64) -> Uuid {
    let mut name = b"ingest ".to_vec();
    name.extend_from_slice(file_sha256);
    name.extend_from_slice(&line.to_be_bytes());
    Uuid::new_v5(&NAMESPACE, &name)
}

/// What a format may know beside the record.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'c> {
    /// Whose topic it came on; `None` where it has not come on any.
    pub family: Option<&'static FamilySpec>,
    /// Which event type belongs where.
    pub catalog: &'c Catalog,
    /// Limits, and the default tenant.
    pub config: &'c EnvelopeConfig,
}

/// One place in a value where something may be named: its JSON pointer, and what is there.
pub type Source<'a> = (&'static str, Option<Cow<'a, str>>);

/// An event type that a body means by itself.
#[derive(Clone, Copy, Debug)]
pub struct Meant {
    /// Which.
    pub known: Known,
    /// By what of it: `verb and object`.
    pub by: &'static str,
}

/// A record on its way to an envelope, whatever its format. What is wrong is gathered; the format decides when to give up.
#[derive(Debug)]
pub struct Opening<'a, 'c> {
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'c>,
    id: Option<Uuid>,
    known: Option<Known>,
    tenant: Option<Cow<'a, str>>,
    correlation_id: Option<Cow<'a, str>>,
    /// What it says of being sent again.
    sent_again: (Option<Position>, Option<u32>),
    /// Whether its sources of the tenant differ, and none of them is to be trusted.
    is_disputed: bool,
    findings: Vec<Finding>,
}

impl<'a, 'c> Opening<'a, 'c> {
    /// Begins with what no format needs to know: limits of size, and the headers of a record that was sent again.
    ///
    /// # Errors
    /// The record is over a limit.
    #[inline]
    pub fn of(record: &'a Record, value: &'a [u8], hint: Hint<'c>) -> Result<Self, Box<Invalid>> {
        let correlation_id = header_text(&record.headers, "correlation-id").map(Cow::Borrowed);
        let (id, known, sent_again, findings) = (None, None, (None, None), Vec::new());
        let (tenant, is_disputed) = (header_text(&record.headers, TENANT_HEADER).map(Cow::Borrowed), false);
        let mut opening =
            Self { record, value, hint, id, known, tenant, correlation_id, sent_again, is_disputed, findings };
        match opening.begin() {
            Ok(()) => Ok(opening),
            Err(kind) => Err(opening.invalid(kind)),
        }
    }

    fn begin(&mut self) -> Result<(), DeadLetterKind> {
        if let Some(finding) = self.over_a_limit() {
            self.findings.push(finding);
            return Err(DeadLetterKind::Oversized);
        }
        if self.record.headers.is_empty() {
            return Ok(());
        }
        match replay_headers(self.record) {
            Ok(said) => self.sent_again = said,
            Err(damaged) => self.findings.push(damaged),
        }
        let most = self.hint.config.hops;
        match hops_of(self.record) {
            Err(damaged) => self.findings.push(damaged),
            Ok(hops) if hops > most => {
                let message = format!(
                    "{hops} events led to this one, each a follow-up of the one before, and MAX_HOPS allows {most}: reactions that \
                     answer each other in a circle; find them by the correlation id, and end the circle in one of them"
                );
                self.finding("hops.limit", "", message);
            }
            Ok(_) => {}
        }
        Ok(())
    }

    /// Finds the tenant: the header `tenant-id`, else the first of these. Where they differ it is nobody's, but for a header that
    /// a credential gave: then it is that one's, whatever the record says of itself.
    pub fn find_tenant(&mut self, [first, last]: [Source<'a>; 2]) {
        let (header, before) = (self.header(TENANT_HEADER), self.findings.len());
        self.tenant = self.agree("tenant", [header, first, last]);
        let is_given = || self.record.headers.iter().any(|header| header.name == TENANT_GIVEN_HEADER);
        self.is_disputed = self.findings.len() > before && !is_given();
    }

    /// Judges the tenant that was found.
    pub fn judge_tenant(&mut self, pointer: &str) {
        let is_odd = |tenant: &str| {
            // Of most tenants no byte may be a part of a control character.
            let may_have_control = tenant.bytes().any(|byte| !matches!(byte, b' '..=b'~'));
            tenant.is_empty() || tenant.len() > 128 || (may_have_control && tenant.chars().any(char::is_control))
        };
        if self.tenant.as_deref().is_some_and(is_odd) {
            self.finding("tenant.format", pointer, "a tenant is 1 to 128 bytes without control characters");
        }
    }

    /// Finds the correlation id, there or in the header `correlation-id`.
    pub fn find_correlation_id(&mut self, source: Source<'a>) {
        let header = self.header("correlation-id");
        self.correlation_id = self.agree("correlation-id", [source, header]);
    }

    /// Finds the event's id: the body's own, there, or in the header `event-id`.
    pub fn find_id(&mut self, own: Option<Uuid>, source: Source<'a>) {
        self.id = own;
        for (pointer, text) in [&source, &self.header(EVENT_ID_HEADER)] {
            let Some(text) = text else { continue };
            match (self.id, lyceum_xapi::uuid::parse(text)) {
                (_, None) => {
                    let shown: String = text.chars().take(64).collect();
                    self.finding(
                        "event-id.uuid",
                        pointer,
                        format!("the event id {shown:?} is no UUID (8-4-4-4-12 hex digits)"),
                    );
                }
                (None, found) => self.id = found,
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
    }

    /// Finds the event type: there, in the header `event-type`, else what the body means by itself, else `otherwise`.
    ///
    /// # Errors
    /// No family takes events of that type.
    pub fn find_type(
        &mut self,
        source: Source<'a>,
        meant: Option<Meant>,
        otherwise: Option<Known>,
    ) -> Result<(), DeadLetterKind> {
        let (pointer, header) = (source.0, self.header(EVENT_TYPE_HEADER));
        let Some(name) = self.agree("event-type", [source, header]) else {
            self.known = meant.map(|of| of.known).or(otherwise);
            return match self.known {
                Some(_) => Ok(()),
                None => {
                    let message =
                        "the record names no event type, and no family of this deployment takes it without one";
                    self.finding("event-type.unknown", pointer, message);
                    Err(DeadLetterKind::UnknownType)
                }
            };
        };
        let Some(known) = self.hint.catalog.event_type(&name) else {
            let shown: String = name.chars().take(100).collect();
            let message = format!("no family takes events of type {shown:?}");
            self.finding("event-type.unknown", pointer, message);
            return Err(DeadLetterKind::UnknownType);
        };
        if let Some(Meant { known: other, by }) = meant.filter(|of| of.known.name != known.name) {
            let message =
                format!("the event type is given as {name}, but {by} mean {}; correct one of them", other.name);
            self.finding("event-type.differs", pointer, message);
        }
        self.known = Some(known);
        Ok(())
    }

    /// The envelope, where nothing is wrong and the event is on its own topic.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish<B>(
        mut self,
        body: B,
        raw: &'a [u8],
        pointer: &'static str,
        occurred_at_ms: Option<i64>,
    ) -> Result<(Known, Box<Envelope<'a, B>>), Box<Invalid>> {
        let Some(known) = self.known else { return Err(self.invalid(DeadLetterKind::UnknownType)) };
        if !self.findings.is_empty() {
            return Err(self.invalid(DeadLetterKind::Validation));
        }
        if self.hint.family.is_some_and(|family| !self.topic_carries(family, &known)) {
            let message = format!(
                "events of type {} belong on topic {}, and this one came on {}",
                known.name, known.topic, self.record.position.topic
            );
            self.finding("event-type.topic", pointer, message);
            return Err(self.invalid(DeadLetterKind::UnknownType));
        }
        let (source, replay_count) = std::mem::take(&mut self.sent_again);
        let (source, replay_count) =
            (source.unwrap_or_else(|| self.record.position.clone()), replay_count.unwrap_or(0));
        let id = self.id.unwrap_or_else(|| derived_event_id(&source));
        let correlation_id = match self.correlation_id.take().or_else(|| self.trace_id()) {
            Some(given) => given.into(),
            None => SmolStr::new(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
        };
        // It is put together where it stays: it is large.
        let room = Box::new_uninit();
        let envelope = Envelope {
            id,
            event_type: known.name,
            tenant: self.tenant.take().map_or_else(|| self.hint.config.default_tenant.clone(), SmolStr::from),
            correlation_id,
            source,
            replay_count,
            occurred_at_ms: occurred_at_ms.unwrap_or(self.record.timestamp_ms),
            body,
            raw,
            pointer,
        };
        Ok((known, Box::write(room, envelope)))
    }

    /// The event type that was found.
    pub fn event_type(&self) -> Option<&'static str> {
        self.known.map(|known| known.name)
    }

    /// The record's value.
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Adds something that is wrong.
    pub fn finding(&mut self, rule: &'static str, pointer: &str, message: impl Into<String>) {
        self.findings.push(finding(rule, pointer, message));
    }

    /// Adds all that a format's own validator found.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Gives up: the record can never be valid.
    pub fn invalid(self, kind: DeadLetterKind) -> Box<Invalid> {
        let default = || self.hint.config.default_tenant.clone();
        let tenant = (!self.is_disputed).then(|| self.tenant.map_or_else(default, SmolStr::from));
        Box::new(Invalid {
            kind,
            findings: self.findings,
            event_type: self.known.map_or(UNKNOWN, |known| known.name),
            tenant,
            correlation_id: self.correlation_id.map(SmolStr::from),
        })
    }

    /// A family without event types takes what comes on any topic of its own, an event type comes on its own one only.
    fn topic_carries(&self, family: &'static FamilySpec, known: &Known) -> bool {
        let topic = &*self.record.position.topic;
        let of_family = || family.topics.iter().any(|of| of.name == topic);
        family.name == known.family.name
            && if family.event_types.is_empty() { of_family() } else { known.topic == topic }
    }

    fn header(&self, name: &'static str) -> (&'static str, Option<Cow<'a, str>>) {
        ("", header_text(&self.record.headers, name).map(Cow::Borrowed))
    }

    /// The first source that is there; sources that differ are a violation.
    #[inline(always)]
    fn agree<const N: usize>(&mut self, what: &str, sources: [Source<'a>; N]) -> Option<Cow<'a, str>> {
        let mut first = None;
        for (pointer, text) in sources {
            match (&first, text) {
                (_, None) => {}
                (None, text) => first = text,
                (Some(first), Some(other)) if *first != other => self.differ(what, pointer, first, &other),
                (Some(_), Some(_)) => {}
            }
        }
        first
    }

    #[cold]
    fn differ(&mut self, what: &str, pointer: &str, first: &str, other: &str) {
        let rule = match what {
            "tenant" => "tenant.differs",
            "correlation-id" => "correlation-id.differs",
            _ => "event-type.differs",
        };
        let message = format!("two sources of the {what} differ: {first:?} and {other:?}; send one, or the same");
        self.finding(rule, pointer, message);
    }

    /// The trace id of a W3C `traceparent`.
    fn trace_id(&self) -> Option<Cow<'a, str>> {
        trace::w3c_trace_id(header_text(&self.record.headers, trace::TRACEPARENT)?).map(Cow::Borrowed)
    }

    fn over_a_limit(&self) -> Option<Finding> {
        let headers = &self.record.headers;
        let header_bytes: usize = headers.iter().map(header_len).sum();
        if headers.len() > self.hint.config.header_count || header_bytes > self.hint.config.header_bytes {
            let message = format!(
                "{} headers of {header_bytes} bytes; at most {} of {} bytes are taken",
                headers.len(),
                self.hint.config.header_count,
                self.hint.config.header_bytes
            );
            return Some(finding("limit.headers", "", message));
        }
        let bytes = self.value.len() + header_bytes + self.record.key.as_deref().map_or(0, <[u8]>::len);
        let limit = self.hint.config.state_record_bytes;
        (self.hint.family.is_some_and(|family| !family.kinds.is_empty()) && bytes > limit).then(|| {
            finding(
                "limit.record",
                "",
                format!("the record has {bytes} bytes, and an event that changes state may have {limit}"),
            )
        })
    }
}

fn header_len(header: &Header) -> usize {
    header.name.len() + header.value.as_deref().map_or(0, <[u8]>::len)
}

/// A finding of the envelope's own rules; they come from the event catalog.
pub fn finding(rule: &'static str, pointer: &str, message: impl Into<String>) -> Finding {
    Finding {
        rule: rule.into(),
        pointer: pointer.to_owned(),
        message: message.into(),
        requirement: "event catalog".into(),
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
    "hops.header",
    "hops.limit",
    "key.duplicate",
    "limit.headers",
    "limit.record",
    "limit.violations",
    "message.json",
    "message.metadata",
    "message.xapi-data",
    "payload.secret",
    "record.malformed",
    "replay.headers",
    "schema.framing",
    "schema.mismatch",
    "schema.unknown",
    "schema-version.differs",
    "schema-version.unknown",
    "tenant.differs",
    "tenant.format",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_one_id_at_two_homes_has_two_ids() {
        let home = |id: &str| Home { kind: "session".into(), id: id.into() };
        let id = |home: Option<&Home>| follow_up_id(Uuid::from_u128(7), home, "session.followed", 0);
        let (one, other) = (home("s1"), home("s2"));
        assert_eq!(id(Some(&one)), id(Some(&one)));
        assert_ne!(id(Some(&one)), id(Some(&other)), "whoever reads them would take the second for the first");
        assert_ne!(id(Some(&one)), id(None));
    }

    #[test]
    fn a_header_of_lyceums_own_is_known_however_it_is_spelled() {
        assert_eq!(own_header(["event-id", "Lyceum-Hops", "lyceum-source"].into_iter()), Some("Lyceum-Hops"));
        assert_eq!(own_header(["lyceum", "x-lyceum-hops", "lyceüm-", ""].into_iter()), None);
    }
}
