//! The modules' envelope, Charter v1.0, in JSON: `{"id", "type", "source", "target", "timestamp", "payload": {…}, "meta":
//! {"schema_version", "producer", "source_module", "tenant_id", "correlation_id"?}}`. Members beside these are kept and not judged.
//!
//! A token never travels in it, only its fingerprint. A value that holds one all the same is refused, and so that no copy of it is made
//! that lives longer or is seen by more people, its letter goes without the value ([`SECRET_RULE`]): so does that of a value that
//! cannot be read so far and speaks of a token.

use std::borrow::Cow;
use std::convert::Infallible;

use lyceum_xapi::utc_time::UtcTime;
use memchr::memmem;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Format, Opened};
use crate::catalog::Known;
use crate::envelope::{EVENT_TYPE_HEADER, Envelope, Hint, Invalid, Opening, SECRET_RULE, finding};
use crate::outcome::DeadLetterKind;
use crate::ports::schemas::Schemas;
use crate::record::{Record, header_text};

pub mod field;
mod json;
mod message;

pub use message::{Message, PRODUCER};

/// What is written here.
pub const SCHEMA_VERSION: &str = "1.0";

/// What is read here, whatever its minor version.
const MAJOR: &str = "1";

/// Of the names of modules.
const MAX_NAME_BYTES: usize = 128;

/// The format of the modules' families.
#[derive(Clone, Copy, Debug)]
pub struct CharterFormat;

/// An envelope, read and valid.
#[derive(Clone, Debug)]
pub struct Charter {
    /// The module that says it.
    pub source: String,
    /// The module that it is for, where it is for one.
    pub target: Option<String>,
    /// The whole, whose payload is an object.
    whole: Value,
    id: Uuid,
    timestamp: UtcTime,
}

impl Charter {
    /// What it says.
    pub fn payload(&self) -> &Value {
        &self.whole["payload"]
    }
}

impl Format for CharterFormat {
    type Body<'a> = Charter;

    type Schema = Infallible;

    const LOOKS: &'static str = "a module's envelope has id, type, source, timestamp, payload and meta";

    fn looks_like(value: &[u8]) -> bool {
        super::has_member(value, |name| matches!(name, "payload" | "meta"))
    }

    fn parse(_: &str) -> Result<Infallible, String> {
        Err("a module's envelope is read by no schema".to_owned())
    }

    fn open<'a>(record: &'a Record, hint: Hint<'_>, _: &Schemas<Infallible>) -> Opened<'a, Charter> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        read(record, value, hint).into()
    }

    /// By what was read: the order of members, the notation of numbers, of the time and of the id, and an optional member that is null
    /// make no difference.
    fn sameness(envelope: &Envelope<'_, Charter>, fields: &[u8]) -> [u8; 32] {
        let Charter { whole, id, timestamp, .. } = &envelope.body;
        let mut whole = whole.clone();
        if let Some(members) = whole.as_object_mut() {
            members.insert("id".to_owned(), id.to_string().into());
            members.insert("timestamp".to_owned(), timestamp.to_string().into());
            forget_null(members, "target");
            if let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) {
                forget_null(meta, "correlation_id");
            }
        }
        let mut canonical = Vec::new();
        json::write_canonical(&whole, &mut canonical);
        let mut digest = Sha256::new_with_prefix(Sha256::digest(&canonical));
        digest.update(fields);
        digest.finalize().into()
    }
}

fn forget_null(members: &mut Map<String, Value>, name: &str) {
    if members.get(name).is_some_and(Value::is_null) {
        members.remove(name);
    }
}

fn read<'a>(
    record: &'a Record,
    value: &'a [u8],
    hint: Hint<'_>,
) -> Result<(Known, Box<Envelope<'a, Charter>>), Box<Invalid>> {
    let mut opening = Opening::of(record, value, hint).map_err(|invalid| unread(invalid, value))?;
    let json::Read { value: whole, duplicates, secrets } = match json::read(value) {
        Ok(read) if read.value.is_object() => read,
        other => {
            let why = other.err().map_or_else(|| "it is another value".to_owned(), |error| error.to_string());
            opening.finding("message.json", "", format!("the envelope is no JSON object: {why}"));
            opening.find_tenant([("/meta/tenant_id", None), ("", None)]);
            return Err(unread(opening.invalid(DeadLetterKind::Decode), value));
        }
    };
    for pointer in secrets {
        let message = "a token or another secret must not be sent: send its fingerprint (`sha256:` and the 64 hex digits of its \
                       SHA-256); the letter goes without the value, and the topic keeps it until its retention ends: revoke it";
        opening.finding(SECRET_RULE, &pointer, message);
    }
    for pointer in duplicates {
        opening.finding("key.duplicate", &pointer, "the object has this name more than once");
    }
    let mut members = Members { whole: &whole, opening };
    let tenant = members.text("/meta/tenant_id", true, usize::MAX);
    members.opening.find_tenant([("/meta/tenant_id", tenant), ("", None)]);
    members.opening.judge_tenant("/meta/tenant_id");
    let correlation_id = members.text("/meta/correlation_id", false, MAX_NAME_BYTES * 2);
    members.opening.find_correlation_id(("/meta/correlation_id", correlation_id));
    let id_text = members.text("/id", true, usize::MAX);
    let id = id_text.as_deref().and_then(lyceum_xapi::uuid::parse).unwrap_or_default();
    members.opening.find_id(None, ("/id", id_text));
    let source = members.text("/source", true, MAX_NAME_BYTES).unwrap_or_default().into_owned();
    let target = members.text("/target", false, MAX_NAME_BYTES).map(Cow::into_owned);
    let timestamp = members.timestamp();
    members.object("/payload");
    if members.object("/meta") {
        members.version(record);
        members.text("/meta/producer", true, MAX_NAME_BYTES);
        members.text("/meta/source_module", true, MAX_NAME_BYTES);
    }
    let name = members.text("/type", true, usize::MAX);
    let Members { mut opening, .. } = members;
    if name.is_none() && header_text(&record.headers, EVENT_TYPE_HEADER).is_none() {
        return Err(opening.invalid(DeadLetterKind::Validation));
    }
    match opening.find_type(("/type", name), None, None) {
        Ok(()) => {
            let body = Charter { source, target, whole, id, timestamp };
            opening.finish(body, value, "", Some(timestamp.as_millis()))
        }
        Err(kind) => Err(opening.invalid(kind)),
    }
}

/// A value that could not be read, so that nobody knows what is in it: where it speaks of a token, its letter goes without it.
fn unread(mut invalid: Box<Invalid>, value: &[u8]) -> Box<Invalid> {
    if memmem::find(&value.to_ascii_lowercase(), b"token").is_some() {
        let message = "the value speaks of a token and cannot be read: the letter goes without it, in case the token stands there";
        invalid.findings.push(finding(SECRET_RULE, "", message));
    }
    invalid
}

/// Reads the envelope's own members.
struct Members<'v, 'a, 'c> {
    whole: &'v Value,
    opening: Opening<'a, 'c>,
}

impl<'v, 'a> Members<'v, 'a, '_> {
    /// A member that is there and not null.
    fn member(&self, pointer: &str) -> Option<&'v Value> {
        self.whole.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&mut self, pointer: &'static str, is_required: bool, most_bytes: usize) -> Option<Cow<'a, str>> {
        let name = pointer.rsplit('/').next().unwrap_or_default();
        let message = match self.member(pointer) {
            None if !is_required => return None,
            // The parent that is missing is a finding of its own.
            None if pointer.starts_with("/meta/") && !self.whole["meta"].is_object() => return None,
            None => {
                self.opening.finding("field.required", pointer, format!("{name} is required"));
                return None;
            }
            Some(Value::String(text)) if text.is_empty() => format!("{name} must not be empty"),
            Some(Value::String(text)) if text.len() > most_bytes => {
                format!("{name} must be of at most {most_bytes} bytes")
            }
            Some(Value::String(text)) => return Some(Cow::Owned(text.clone())),
            Some(_) => format!("{name} must be a string"),
        };
        self.opening.finding("field.type", pointer, message);
        None
    }

    fn object(&mut self, pointer: &'static str) -> bool {
        let name = &pointer[1..];
        let (rule, message) = match self.member(pointer) {
            Some(Value::Object(_)) => return true,
            Some(_) => ("field.type", format!("{name} must be an object")),
            None => ("field.required", format!("{name} is required")),
        };
        self.opening.finding(rule, pointer, message);
        false
    }

    fn timestamp(&mut self) -> UtcTime {
        let Some(text) = self.text("/timestamp", true, 64) else { return UtcTime::from_millis(0) };
        UtcTime::from_rfc3339(&text).unwrap_or_else(|fault| {
            let message = format!("timestamp must be an RFC 3339 timestamp, 2026-03-01T09:00:00Z, and this {fault}");
            self.opening.finding("field.type", "/timestamp", message);
            UtcTime::from_millis(0)
        })
    }

    fn version(&mut self, record: &Record) {
        const POINTER: &str = "/meta/schema_version";
        let Some(version) = self.text(POINTER, true, 32) else { return };
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|of| of.is_ascii_digit());
        let mut parts = version.split('.');
        if !version.split('.').all(is_number) || version.split('.').count() > 3 {
            let message = "schema_version must be a version such as 1.0";
            self.opening.finding("field.type", POINTER, message);
        } else if parts.next() != Some(MAJOR) {
            let message = format!(
                "schema_version is {version}, and this release reads version {MAJOR} and its minor versions; send that, or \
                 replay the letter after an update"
            );
            self.opening.finding("schema-version.unknown", POINTER, message);
        }
        if header_text(&record.headers, "schema-version").is_some_and(|header| header != version) {
            let message = "schema_version and the header schema-version differ; send one, or the same";
            self.opening.finding("schema-version.differs", POINTER, message);
        }
    }
}

#[cfg(test)]
mod tests;
