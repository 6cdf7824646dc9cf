//! Dead letters: how a record that can never succeed is written down, read again, and sent again.
//!
//! A letter is the original record byte for byte (key, value, headers), and behind its headers ours. The first of ours is
//! [`LETTER_ID_HEADER`], so that a replay knows where the original's end.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::catalog::DeadLetterTopics;
use crate::envelope::{REPLAY_COUNT_HEADER, SECRET_RULE, SOURCE_HEADER, letter_id, others_letter_id, source_of};
use crate::outcome::{DeadLetterKind, Finding};
use crate::record::{Header, NewRecord, Position, Record, header_text};
use lyceum_xapi::utc_time::UtcTime;

/// A letter's id, from source position and replay count: by it duplicates are removed.
pub const LETTER_ID_HEADER: &str = "lyceum-letter-id";
/// Beyond this many replays a record is parked: only a person sends it again.
pub const REPLAY_LIMIT: u32 = 3;

/// What a sender wrote is quoted up to here, in characters; the whole of it is in the original.
const QUOTED_CHARS: usize = 512;
/// The findings in a letter have at most this many bytes of JSON, so that a letter fits wherever its record does: into
/// the log, and as a recording into the ledger.
const DETAIL_BYTES: usize = 24 * 1024;
/// A key, or headers, over this many bytes stay where they came from, with a value that does.
const KEPT_BYTES: usize = 128 * 1024;

const KIND: &str = "lyceum-error-kind";
const DETAIL: &str = "lyceum-error-detail";
const SOURCE_TIMESTAMP: &str = "lyceum-source-timestamp";
const ATTEMPTS: &str = "lyceum-attempts";
const FIRST_FAILED_AT: &str = "lyceum-first-failed-at";
const LAST_FAILED_AT: &str = "lyceum-last-failed-at";
const FAMILY: &str = "lyceum-family";
const TENANT: &str = "lyceum-tenant";
const VALUE_OMITTED: &str = "lyceum-value-omitted";
/// The letter's value is the entry of a Lambda event that could not be read as a record, not a record's value.
const VALUE_IS_ENTRY: &str = "lyceum-value-is-entry";
const CORRELATION_ID: &str = "correlation-id";

/// How letters are written (`DEAD_LETTER_FORMAT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterFormat {
    /// The original value, the context in headers.
    #[default]
    Headers,
    /// For readers that know no headers: the value is JSON
    /// `{original_event, error_type, error_details, retry_count, timestamp}`.
    Envelope,
}

/// A record to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where.
    pub topic: String,
    /// What.
    pub record: NewRecord,
}

/// Why a record becomes a letter.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// What it is called.
    pub kind: DeadLetterKind,
    /// All that is wrong with it.
    pub findings: &'a [Finding],
    /// The subscription that could not take it.
    pub family: &'static str,
    /// Whether it owns the record's topic: the letters of others have names of their own beside the owner's.
    pub is_owner: bool,
    /// The correlation id, where it is known.
    pub correlation_id: Option<&'a str>,
    /// Whose it is, where that is known.
    pub tenant: Option<&'a str>,
    /// Deliveries so far.
    pub attempts: u32,
    /// When it failed, milliseconds since 1970 UTC.
    pub failed_at_ms: i64,
}

/// The topic for a kind of failure.
pub fn topic_for(kind: DeadLetterKind, topics: &DeadLetterTopics) -> &'static str {
    match kind {
        DeadLetterKind::Processing | DeadLetterKind::Undelivered => topics.processing,
        DeadLetterKind::Database => topics.database,
        _ => topics.validation,
    }
}

/// Writes the letter for a record.
pub fn write(
    record: &Record,
    failure: &Failure<'_>,
    topics: &DeadLetterTopics,
    format: DeadLetterFormat,
) -> Publication {
    let (source, replay_count) = source_of(record);
    let id = match failure.is_owner {
        true => letter_id(&source, replay_count),
        false => others_letter_id(&source, replay_count, failure.family),
    };
    let id = match source.offset {
        // An entry that named no offset: only its bytes tell it from another one of its partition.
        ..0 => Uuid::new_v5(&id, record.value.as_deref().unwrap_or_default()),
        _ => id,
    };
    let failed_at = UtcTime::from_millis(failure.failed_at_ms).to_string();
    // A replay brings along when its record failed first.
    let of_replay = if replay_count > 0 { first_failure(&record.headers) } else { None };
    let earlier = of_replay.and_then(|at| header_text(&record.headers[at..=at], FIRST_FAILED_AT).map(str::to_owned));
    let findings = quote_findings(failure.findings);
    let detail = serde_json::to_vec(&findings).unwrap_or_else(|_| b"[]".to_vec());
    let theirs = record.headers.iter().enumerate().filter(|(at, header)| {
        let is_ours = header.name == SOURCE_HEADER || Some(*at) == of_replay;
        !is_ours
    });
    let mut headers: Vec<Header> = theirs.map(|(_, header)| header.clone()).collect();
    let first_failed_at = earlier.unwrap_or_else(|| failed_at.clone());
    headers.push(Header::new(LETTER_ID_HEADER, id.to_string()));
    headers.push(Header::new(KIND, failure.kind.name()));
    headers.push(Header::new(DETAIL, detail));
    headers.push(Header::new(SOURCE_HEADER, source.to_string()));
    headers.push(Header::new(SOURCE_TIMESTAMP, record.timestamp_ms.to_string()));
    headers.push(Header::new(ATTEMPTS, failure.attempts.to_string()));
    headers.push(Header::new(FIRST_FAILED_AT, first_failed_at));
    headers.push(Header::new(LAST_FAILED_AT, failed_at));
    headers.push(Header::new(FAMILY, failure.family));
    if let Some(tenant) = failure.tenant {
        headers.push(Header::new(TENANT, quote(tenant).into_owned()));
    }
    if let Some(correlation_id) = failure.correlation_id {
        headers.push(Header::new(CORRELATION_ID, quote(correlation_id).into_owned()));
    }
    let value = match format {
        DeadLetterFormat::Headers => record.value.clone(),
        DeadLetterFormat::Envelope => Some(envelope(record, failure, findings)),
    };
    let record = NewRecord { partition: None, key: record.key.clone(), value, headers, timestamp_ms: None };
    let letter = Publication { topic: topic_for(failure.kind, topics).to_owned(), record };
    // A letter lives longer than its record and is shown to people: no copy of a secret is made.
    let holds_a_secret = failure.findings.iter().any(|finding| finding.rule == SECRET_RULE);
    if holds_a_secret { without_value(letter) } else { letter }
}

/// Writes the letter for an entry of a Lambda event that is no record: its value is the entry's JSON.
pub fn write_entry(
    entry: &Record,
    failure: &Failure<'_>,
    topics: &DeadLetterTopics,
    format: DeadLetterFormat,
) -> Publication {
    let mut letter = write(entry, failure, topics, format);
    letter.record.headers.push(Header::new(VALUE_IS_ENTRY, "true"));
    letter
}

/// The same letter without its value, for one that is larger than the log takes, and without a key or headers that may
/// be what is large; the original's bytes are found at its source position.
pub fn without_value(mut publication: Publication) -> Publication {
    let record = &mut publication.record;
    record.value = None;
    record.key = record.key.take().filter(|key| key.len() <= KEPT_BYTES);
    let ours = first_of_ours(&record.headers).unwrap_or(0);
    let bytes = |header: &Header| header.name.len() + header.value.as_deref().map_or(0, <[u8]>::len);
    if record.headers[..ours].iter().map(bytes).sum::<usize>() > KEPT_BYTES {
        let mut place = 0..;
        let mut is_kept = |header: &Header| place.next() >= Some(ours) || header.name == REPLAY_COUNT_HEADER;
        record.headers.retain(&mut is_kept);
    }
    record.headers.push(Header::new(VALUE_OMITTED, "true"));
    publication
}

/// The last one of that name: a sender may have used it, and what a sender sent is kept.
fn first_of_ours(headers: &[Header]) -> Option<usize> {
    headers.iter().rposition(|header| header.name == LETTER_ID_HEADER)
}

/// Where a replay says when its record failed first: behind what says where it first stood. Before that, the name is a sender's own.
fn first_failure(headers: &[Header]) -> Option<usize> {
    let source = headers.iter().rposition(|header| header.name == SOURCE_HEADER)?;
    headers.iter().rposition(|header| header.name == FIRST_FAILED_AT).filter(|at| *at > source)
}

/// The beginning of a text, and a sign that there is more.
fn quote(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// As many findings as fit, and how many more there are.
fn quote_findings(findings: &[Finding]) -> Vec<Finding> {
    let mut quoted = Vec::with_capacity(findings.len());
    let mut bytes = 0;
    for (place, finding) in findings.iter().enumerate() {
        let finding = Finding {
            pointer: quote(&finding.pointer).into_owned(),
            message: quote(&finding.message).into_owned(),
            ..finding.clone()
        };
        bytes += serde_json::to_vec(&finding).map_or(0, |json| json.len());
        if bytes > DETAIL_BYTES {
            let message = format!("{} further findings are not listed", findings.len() - place);
            quoted.push(crate::envelope::finding("limit.violations", "", message));
            break;
        }
        quoted.push(finding);
    }
    quoted
}

#[derive(Serialize, Deserialize)]
struct Enveloped<'a> {
    #[serde(borrow)]
    original_event: &'a RawValue,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    original_event_is_base64: bool,
    error_type: String,
    error_details: Vec<Finding>,
    retry_count: u32,
    timestamp: String,
}

/// The value of [`DeadLetterFormat::Envelope`]: JSON is embedded as it stands, anything else as base64.
fn envelope(record: &Record, failure: &Failure<'_>, findings: Vec<Finding>) -> Bytes {
    let value = record.value.as_deref().unwrap_or(b"null");
    let json = std::str::from_utf8(value).ok().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    let encoded = if json.is_none() { format!("\"{}\"", BASE64.encode(value)) } else { String::new() };
    let Some(original_event) = json.or_else(|| serde_json::from_str(&encoded).ok()) else { return Bytes::new() };
    let error_type = match failure.kind {
        DeadLetterKind::Processing | DeadLetterKind::Undelivered => "processing_error",
        DeadLetterKind::Database => "database_error",
        _ => "validation_error",
    };
    let enveloped = Enveloped {
        original_event,
        original_event_is_base64: json.is_none(),
        error_type: error_type.to_owned(),
        error_details: findings,
        retry_count: source_of(record).1,
        timestamp: UtcTime::from_millis(failure.failed_at_ms).to_string(),
    };
    serde_json::to_vec(&enveloped).unwrap_or_default().into()
}

/// A letter as it is read from a dead-letter topic. Serialised it is what is known about the original, without its bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Where the letter stands.
    pub position: Position,
    /// By it duplicates are removed.
    pub id: Uuid,
    /// Why.
    pub kind: DeadLetterKind,
    /// All that is wrong.
    pub findings: Vec<Finding>,
    /// The original's position.
    pub source: Position,
    /// The original's timestamp, milliseconds since 1970 UTC.
    pub source_timestamp_ms: Option<i64>,
    /// The family that could not take it.
    pub family: String,
    /// Whose it is, where that could be read.
    pub tenant: Option<String>,
    /// The correlation id, where that could be read.
    pub correlation_id: Option<String>,
    /// Deliveries.
    pub attempts: u32,
    /// RFC 3339.
    pub first_failed_at: Option<String>,
    /// RFC 3339.
    pub last_failed_at: Option<String>,
    /// How often it was sent again before this letter.
    pub replay_count: u32,
    /// Whether the original was too large for the letter, or holds a secret: its value is missing, and its key and headers may be.
    pub value_omitted: bool,
    /// Whether the value is the entry of a Lambda event that was no readable record, instead of a record's value.
    pub value_is_entry: bool,
    /// The original.
    #[serde(skip)]
    pub original: NewRecord,
}

/// Reads a letter in either format; `None` for a record that is none of ours.
pub fn read(record: &Record) -> Option<DeadLetter> {
    let (originals, ours) = record.headers.split_at(first_of_ours(&record.headers)?);
    let number = |name| header_text(ours, name).and_then(|text| text.parse().ok());
    let value_omitted = header_text(ours, VALUE_OMITTED).is_some();
    let findings: Vec<Finding> =
        header_text(ours, DETAIL).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let kind = DeadLetterKind::from_name(header_text(ours, KIND)?)?;
    // Letters of a release that had no mark are known by what they found.
    let is_unmarked_entry =
        || kind == DeadLetterKind::Decode && findings.iter().any(|finding| finding.rule == ENTRY_RULE);
    let value_is_entry = header_text(ours, VALUE_IS_ENTRY).is_some() || is_unmarked_entry();
    let source = read_source(header_text(ours, SOURCE_HEADER)?)?;
    Some(DeadLetter {
        position: record.position.clone(),
        id: header_text(ours, LETTER_ID_HEADER)?.parse().ok()?,
        kind,
        findings,
        source_timestamp_ms: header_text(ours, SOURCE_TIMESTAMP).and_then(|text| text.parse().ok()),
        family: header_text(ours, FAMILY).unwrap_or_default().to_owned(),
        tenant: header_text(ours, TENANT).map(str::to_owned),
        correlation_id: header_text(ours, CORRELATION_ID).map(str::to_owned),
        attempts: number(ATTEMPTS).unwrap_or(0),
        first_failed_at: header_text(ours, FIRST_FAILED_AT).map(str::to_owned),
        last_failed_at: header_text(ours, LAST_FAILED_AT).map(str::to_owned),
        replay_count: header_text(originals, REPLAY_COUNT_HEADER).and_then(|text| text.parse().ok()).unwrap_or(0),
        value_omitted,
        value_is_entry,
        original: NewRecord {
            partition: None,
            key: record.key.clone(),
            value: if value_omitted { None } else { original_value(record) },
            headers: originals.iter().filter(|header| header.name != REPLAY_COUNT_HEADER).cloned().collect(),
            timestamp_ms: None,
        },
        source,
    })
}

/// A position, or that of an entry that named no offset: -1 in its place.
fn read_source(text: &str) -> Option<Position> {
    let Some(partition) = text.strip_suffix("/-1") else { return text.parse().ok() };
    let first: Position = format!("{partition}/0").parse().ok()?;
    Some(Position { offset: -1, ..first })
}

fn original_value(record: &Record) -> Option<Bytes> {
    let value = record.value.as_ref()?;
    let Ok(enveloped) = serde_json::from_slice::<Enveloped<'_>>(value) else { return Some(value.clone()) };
    if enveloped.original_event_is_base64 {
        let text: String = serde_json::from_str(enveloped.original_event.get()).ok()?;
        return BASE64.decode(text).ok().map(Bytes::from);
    }
    Some(Bytes::copy_from_slice(enveloped.original_event.get().as_bytes()))
}

/// The rule of a finding about an entry that is no record.
pub const ENTRY_RULE: &str = "record.malformed";

impl DeadLetter {
    /// Whether the letter holds what a replay sends. Where it does not, the original may still stand at its source.
    pub fn holds_original(&self) -> bool {
        !self.value_omitted && !self.value_is_entry
    }

    /// The id of the letter that its replay becomes where that fails again.
    pub fn next_id(&self) -> Uuid {
        match self.id == others_letter_id(&self.source, self.replay_count, &self.family) {
            true => others_letter_id(&self.source, self.replay_count + 1, &self.family),
            false => letter_id(&self.source, self.replay_count + 1),
        }
    }

    /// Whether it was sent again so often that only a person does so once more.
    pub fn is_parked(&self) -> bool {
        self.replay_count >= REPLAY_LIMIT
    }

    /// The original, to be produced to its source topic once more.
    pub fn replay(&self) -> Publication {
        replayed(self.original.clone(), &self.source, self.replay_count + 1, self.first_failed_at.as_deref())
    }
}

/// A record that stands on a topic, to be produced there once more: its own bytes, known by where it first stood and by having been sent
/// again so often more. Its key decides where it goes, so that it comes behind the others of its key.
pub fn sent_again(record: &Record, times: u32) -> Publication {
    let (source, replay_count) = source_of(record);
    let is_ours = |header: &Header| [SOURCE_HEADER, REPLAY_COUNT_HEADER].contains(&header.name.as_str());
    let first_failed = first_failure(&record.headers);
    let first_failed_at = first_failed.and_then(|at| header_text(&record.headers[at..=at], FIRST_FAILED_AT));
    let first_failed_at = first_failed_at.map(str::to_owned);
    let theirs = record.headers.iter().enumerate().filter(|(at, header)| !is_ours(header) && Some(*at) != first_failed);
    let theirs = theirs.map(|(_, header)| header);
    let original = NewRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: theirs.cloned().collect(),
        ..NewRecord::default()
    };
    replayed(original, &source, replay_count.saturating_add(times), first_failed_at.as_deref())
}

/// An original with what says that it is sent again.
fn replayed(
    mut original: NewRecord,
    source: &Position,
    replay_count: u32,
    first_failed_at: Option<&str>,
) -> Publication {
    original.headers.push(Header::new(SOURCE_HEADER, source.to_string()));
    original.headers.push(Header::new(REPLAY_COUNT_HEADER, replay_count.to_string()));
    if let Some(first_failed_at) = first_failed_at {
        original.headers.push(Header::new(FIRST_FAILED_AT, first_failed_at.to_owned()));
    }
    Publication { topic: source.topic.to_string(), record: original }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::PLATFORM_DEAD_LETTERS;
    use crate::envelope::finding;

    fn record(value: &'static [u8], headers: Vec<Header>) -> Record {
        Record {
            position: Position::new("nlj.training.programs", 2, 41),
            timestamp_ms: 1_700_000_000_123,
            key: Some(Bytes::from_static(b"p1")),
            value: Some(Bytes::from_static(value)),
            headers,
        }
    }

    fn failure(findings: &[Finding]) -> Failure<'_> {
        Failure {
            kind: DeadLetterKind::Rejected,
            findings,
            family: "training",
            is_owner: true,
            correlation_id: Some("c-1"),
            tenant: Some("acme"),
            attempts: 1,
            failed_at_ms: 1_700_000_001_000,
        }
    }

    fn sent(publication: &Publication) -> Record {
        let NewRecord { key, value, headers, .. } = publication.record.clone();
        Record { position: Position::new(publication.topic.as_str(), 0, 7), timestamp_ms: 0, key, value, headers }
    }

    #[test]
    fn a_letter_holds_the_original_byte_for_byte_in_both_formats() {
        let odd =
            vec![Header::new("a", "1"), Header { name: "a".into(), value: None }, Header::new("lyceum-mine", "x")];
        for (format, value) in [
            (DeadLetterFormat::Headers, &b"\x00\xff no json"[..]),
            (DeadLetterFormat::Envelope, b"\x00\xff no json"),
            (DeadLetterFormat::Envelope, b"{\"b\": 1.00, \"a\": [ ]}"),
        ] {
            let original = record(value, odd.clone());
            let letter = write(&original, &failure(&[]), &PLATFORM_DEAD_LETTERS, format);
            assert_eq!(letter.topic, "nlj.errors.validation");
            let letter = read(&sent(&letter)).unwrap();
            assert_eq!(letter.original.value.as_deref(), Some(value), "{format:?}");
            assert_eq!(letter.original.headers, odd);
            assert_eq!(letter.source, original.position);
        }
    }

    #[test]
    fn each_replay_counts_one_up_and_after_three_the_record_is_parked() {
        let mut original = record(b"{}", vec![Header::new("event-id", "e")]);
        for count in 0..4 {
            let letter = write(&original, &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
            let letter = read(&sent(&letter)).unwrap();
            assert_eq!((letter.replay_count, letter.is_parked()), (count, count >= 3));
            let replay = letter.replay();
            assert_eq!(replay.topic, "nlj.training.programs");
            let names: Vec<_> = replay.record.headers.iter().map(|header| header.name.as_str()).collect();
            assert_eq!(names, ["event-id", SOURCE_HEADER, REPLAY_COUNT_HEADER, FIRST_FAILED_AT]);
            original.headers = replay.record.headers;
        }
    }

    #[test]
    fn a_record_that_is_sent_again_keeps_its_bytes_and_says_where_it_first_stood() {
        let theirs = vec![Header::new("event-id", "e"), Header::new(FIRST_FAILED_AT, "the sender's own")];
        let first = record(b"{ }", theirs.clone());
        let again = sent_again(&first, 1);
        let names = |of: &NewRecord| of.headers.iter().map(|header| header.name.clone()).collect::<Vec<_>>();
        assert_eq!(again.topic, "nlj.training.programs");
        assert_eq!((again.record.key.clone(), again.record.value.clone()), (first.key.clone(), first.value.clone()));
        assert_eq!(again.record.headers[..2], theirs);
        assert_eq!(source_of(&sent(&again)), (first.position.clone(), 1));
        let once_more = sent_again(&sent(&again), 2);
        assert_eq!(source_of(&sent(&once_more)), (first.position.clone(), 3), "it counts on from what it was");
        assert_eq!(once_more.record.headers[..2], theirs, "a sender's own header of that name stays the sender's");
        assert_eq!(names(&once_more.record)[2..], [SOURCE_HEADER, REPLAY_COUNT_HEADER]);
        let letter = write(&first, &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
        let of_letter = read(&sent(&letter)).unwrap().replay();
        let of_record = sent_again(&sent(&of_letter), 1);
        assert_eq!(names(&of_record.record), names(&of_letter.record), "a letter's replay is sent on in the same form");
    }

    #[test]
    fn a_record_with_damaged_replay_headers_is_sent_again_as_one_of_its_own_position() {
        let damaged = record(b"{}", vec![Header::new(SOURCE_HEADER, "nowhere"), Header::new(REPLAY_COUNT_HEADER, "x")]);
        assert_eq!(source_of(&sent(&sent_again(&damaged, 1))), (damaged.position.clone(), 1));
    }

    #[test]
    fn a_replayed_records_second_letter_has_an_id_of_its_own() {
        let first = write(&record(b"{}", vec![]), &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
        let first = read(&sent(&first)).unwrap();
        let mut again = record(b"{}", first.replay().record.headers);
        again.position.offset = 99;
        let second = write(&again, &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
        let second = read(&sent(&second)).unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(first.source, second.source);
    }

    #[test]
    fn the_first_failure_is_told_by_every_later_letter() {
        let theirs = Header::new(FIRST_FAILED_AT, "the sender's own");
        let mut original = record(b"{}", vec![theirs.clone()]);
        for day in 0..3 {
            let failure = Failure { failed_at_ms: 1_700_000_000_000 + day * 86_400_000, ..failure(&[]) };
            let letter = write(&original, &failure, &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
            let letter = read(&sent(&letter)).unwrap();
            assert_eq!(letter.first_failed_at.as_deref(), Some("2023-11-14T22:13:20Z"));
            assert_eq!(letter.last_failed_at, Some(UtcTime::from_millis(failure.failed_at_ms).to_string()));
            assert_eq!(letter.original.headers, std::slice::from_ref(&theirs));
            original.headers = letter.replay().record.headers;
        }
    }

    #[test]
    fn an_entry_of_a_lambda_event_is_no_original() {
        let findings = [finding(ENTRY_RULE, "", "no base64")];
        let failure = Failure { kind: DeadLetterKind::Decode, ..failure(&findings) };
        let (topics, format) = (&PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
        let entry = record(b"{\"value\": 1}", vec![]);
        let marked = read(&sent(&write_entry(&entry, &failure, topics, format))).unwrap();
        let of_an_earlier_release = read(&sent(&write(&entry, &failure, topics, format))).unwrap();
        for letter in [marked, of_an_earlier_release] {
            assert!(letter.value_is_entry && !letter.holds_original());
        }
    }

    #[test]
    fn letters_of_entries_without_an_offset_are_two_letters_and_can_be_read() {
        let letter = |value| {
            let mut entry = record(value, vec![]);
            entry.position.offset = -1;
            let letter = write(&entry, &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
            read(&sent(&letter)).unwrap()
        };
        assert_eq!(letter(b"one").source.offset, -1);
        assert_eq!(letter(b"one").id, letter(b"one").id);
        assert_ne!(letter(b"one").id, letter(b"other").id);
    }

    #[test]
    fn what_a_letter_quotes_is_cut_and_says_so() {
        let one = finding("field.type", &format!("/{}", "ü".repeat(900)), "\"".repeat(900));
        let letter = write(&record(b"{}", vec![]), &failure(&vec![one; 100]), &PLATFORM_DEAD_LETTERS, <_>::default());
        let headers: usize = letter.record.headers.iter().filter_map(|header| Some(header.value.as_ref()?.len())).sum();
        assert!(headers < DETAIL_BYTES + 1_024, "{headers}");
        let findings = read(&sent(&letter)).unwrap().findings;
        assert!(findings[0].message.ends_with('…') && findings[0].message.chars().count() == QUOTED_CHARS + 1);
        assert_eq!(
            findings.last().unwrap().message,
            format!("{} further findings are not listed", 101 - findings.len())
        );
    }

    #[test]
    fn a_letter_without_its_value_keeps_small_headers_and_always_the_replay_count() {
        let count = Header::new(REPLAY_COUNT_HEADER, "2");
        let kept = |large: usize| {
            let mut original = record(b"{}", vec![Header::new("large", vec![b'x'; large]), count.clone()]);
            original.key = Some(vec![b'x'; large].into());
            let letter = write(&original, &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
            let letter = read(&sent(&without_value(letter))).unwrap();
            assert_eq!((letter.replay_count, letter.value_omitted), (2, true));
            (letter.original.key.is_some(), letter.original.headers.len())
        };
        assert_eq!((kept(100), kept(KEPT_BYTES + 1)), ((true, 1), (false, 0)));
    }

    #[test]
    fn a_letter_about_a_secret_has_no_copy_of_it_in_either_format() {
        let findings =
            [finding("field.required", "/meta", "it is missing"), finding(SECRET_RULE, "/payload/token", "raw")];
        for format in [DeadLetterFormat::Headers, DeadLetterFormat::Envelope] {
            let original = record(b"{\"token\": \"s3cr3t\"}", vec![]);
            let letter = write(&original, &failure(&findings), &PLATFORM_DEAD_LETTERS, format);
            assert!(!format!("{letter:?}").contains("s3cr3t"), "{format:?}");
            let letter = read(&sent(&letter)).unwrap();
            assert!(letter.value_omitted && letter.findings.len() == 2);
        }
    }

    #[test]
    fn a_senders_header_of_our_name_stays_the_senders() {
        let theirs = vec![Header::new(LETTER_ID_HEADER, "mine"), Header::new("a", "1"), Header::new(KIND, "mine")];
        let original = record(b"{}", theirs.clone());
        let letter = write(&original, &failure(&[]), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
        let letter = read(&sent(&letter)).unwrap();
        assert_eq!((letter.original.headers, letter.kind), (theirs, DeadLetterKind::Rejected));
    }

    #[test]
    fn a_record_that_is_no_letter_is_not_read_as_one() {
        assert_eq!(read(&record(b"{}", vec![])), None);
    }
}
