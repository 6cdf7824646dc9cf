//! Reading a family's own fields from a valid statement: every field that is missing or wrong becomes a finding.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use super::vocabulary::EXTENSIONS;
use crate::envelope::{Envelope, finding};
use crate::outcome::Finding;
use lyceum_xapi::statement::{Extensions, Object};
use lyceum_xapi::utc_time::UtcTime;

/// An id names an aggregate in every store, whose keys have limits of their own.
pub const MAX_ID_BYTES: usize = 512;

/// What a state keeps of an IRI that names no aggregate; browsers and servers take no longer ones either.
pub const MAX_IRI_BYTES: usize = 2_048;

/// Reads fields and gathers what is wrong with them; a reader returns a stand-in and the findings decide at the end.
#[derive(Debug)]
pub struct Fields<'e, 'a> {
    envelope: &'e Envelope<'a>,
    findings: Vec<Finding>,
}

impl<'e, 'a> Fields<'e, 'a> {
    /// Nothing is read yet.
    pub fn of(envelope: &'e Envelope<'a>) -> Self {
        Self { envelope, findings: Vec::new() }
    }

    /// The id in the object's activity IRI: its last segment, at most [`MAX_ID_BYTES`].
    pub fn object_id(&mut self, name: &str) -> String {
        let id = self.envelope.object_id().map(str::to_owned);
        if let Some(id) = id.as_ref().filter(|id| id.len() > MAX_ID_BYTES) {
            let message = format!("{name} has {} bytes, and an id may have {MAX_ID_BYTES}", id.len());
            self.wrong("field.range", "/object/id", message);
        }
        self.required(id, "/object/id", || {
            format!("{name} is the last segment of the object's activity IRI, and there is none")
        })
    }

    /// The object's activity IRI, or the part of it that `id_of` takes for the id; at most [`MAX_IRI_BYTES`].
    pub fn object_iri(&mut self, name: &str, id_of: fn(&str) -> &str) -> String {
        let id = match &self.envelope.body.object {
            Object::Activity(activity) => Some(id_of(&activity.id).to_owned()),
            _ => None,
        };
        if let Some(id) = id.as_ref().filter(|id| id.len() > MAX_IRI_BYTES) {
            let message = format!("{name} has {} bytes, and an IRI may have {MAX_IRI_BYTES} here", id.len());
            self.wrong("field.range", "/object/id", message);
        }
        self.required(id, "/object/id", || format!("{name} is the object's activity IRI, and there is none"))
    }

    /// A text or a whole number under the extension of that name, at most [`MAX_ID_BYTES`].
    pub fn id(&mut self, name: &str) -> String {
        let id = match self.envelope.extension(name) {
            None => None,
            Some((place, raw)) => self.id_text(name, place, raw),
        };
        self.required(id, "/context/extensions", || format!("the extension {EXTENSIONS}{name} is required"))
    }

    fn id_text(&mut self, name: &str, place: &str, raw: &[u8]) -> Option<String> {
        let text = text_of(raw).or_else(|| whole_number(raw).map(|number| number.to_string()));
        if text.as_deref().is_none_or(|text| text.is_empty() || text.len() > MAX_ID_BYTES) {
            self.wrong(
                "field.type",
                place,
                format!("{name} must be a non-empty string of at most {MAX_ID_BYTES} bytes, or a whole number"),
            );
            return Some(String::new());
        }
        text
    }

    /// An instant (RFC 3339) under the extension of that name, in milliseconds since 1970 UTC.
    pub fn instant_ms(&mut self, name: &str) -> i64 {
        let Some((place, raw)) = self.envelope.extension(name) else {
            self.missing("/context/extensions", format!("the extension {EXTENSIONS}{name} is required"));
            return 0;
        };
        let instant = text_of(raw).and_then(|text| text.parse::<UtcTime>().ok());
        instant.map(UtcTime::as_millis).unwrap_or_else(|| {
            self.wrong(
                "field.type",
                place,
                format!("{name} must be an RFC 3339 timestamp with a zone, 2026-03-01T09:00:00Z"),
            );
            0
        })
    }

    /// A whole number of at least `least` under the extension of that name.
    pub fn whole_number(&mut self, name: &str, least: u64) -> u64 {
        let Some((place, raw)) = self.envelope.extension(name) else {
            self.missing("/context/extensions", format!("the extension {EXTENSIONS}{name} is required"));
            return least;
        };
        match whole_number(raw) {
            Some(number) if number >= least => number,
            Some(number) => {
                self.wrong("field.range", place, format!("{name} is {number}, and must be at least {least}"));
                least
            }
            None => {
                self.wrong("field.type", place, format!("{name} must be a whole number of at least {least}"));
                least
            }
        }
    }

    /// The activity's name: `en` first, else any.
    pub fn title(&mut self) -> String {
        let title = match &self.envelope.body.object {
            Object::Activity(activity) => activity.name.as_deref().filter(|name| !name.is_empty()).map(str::to_owned),
            _ => None,
        };
        self.required(title, "/object/definition/name", || "a title is required: object.definition.name".to_owned())
    }

    /// The actor's canonical identifier.
    pub fn learner(&mut self) -> String {
        let learner = self.envelope.body.actor.ifi.as_ref().map(|ifi| ifi.canonical());
        self.required(learner, "/actor", || "the learner is the actor, who must be identified".to_owned())
    }

    /// `context.registration`.
    pub fn registration(&mut self) -> Uuid {
        let registration = self.envelope.body.context.registration;
        self.required(registration, "/context/registration", || "context.registration is required".to_owned())
    }

    /// Something that the reader found by itself.
    pub fn required<T: Default>(&mut self, value: Option<T>, pointer: &str, message: impl FnOnce() -> String) -> T {
        value.unwrap_or_else(|| {
            self.missing(pointer, message());
            T::default()
        })
    }

    /// Whether every field read so far was there and right.
    pub fn are_complete(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds a finding about two fields that do not fit together.
    pub fn wrong_order(&mut self, pointer: &str, message: impl Into<String>) {
        self.wrong("field.order", pointer, message);
    }

    /// The event, or all that is wrong.
    pub fn finish<T>(self, event: T) -> Result<T, Vec<Finding>> {
        if self.findings.is_empty() { Ok(event) } else { Err(self.findings) }
    }

    fn missing(&mut self, pointer: &str, message: String) {
        self.wrong("field.required", pointer, message);
    }

    fn wrong(&mut self, rule: &'static str, pointer: &str, message: impl Into<String>) {
        self.findings.push(finding(rule, &format!("{}{pointer}", self.envelope.pointer), message));
    }
}

/// The text of one of the platform's extensions.
pub(super) fn extension_text<'a>(extensions: &Extensions<'a>, name: &str) -> Option<Cow<'a, str>> {
    let (_, raw) = extensions.iter().find(|(key, _)| key.strip_prefix(EXTENSIONS) == Some(name))?;
    text_of(raw).map(Cow::Owned)
}

fn text_of(raw: &[u8]) -> Option<String> {
    serde_json::from_slice(raw).ok()
}

fn whole_number(raw: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(u64),
        Fraction(f64),
    }
    match serde_json::from_slice(raw).ok()? {
        Number::Whole(number) => Some(number),
        Number::Fraction(number) => (number >= 0.0 && number.fract() == 0.0 && number < 9e15).then_some(number as u64),
    }
}
