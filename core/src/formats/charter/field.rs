//! Reading a family's own fields from the payload of an envelope: every field that is missing or wrong becomes a finding. A member that
//! is null is as one that is missing. No finding repeats what was sent: where a field holds what it must not, that stays there.

use std::ops::RangeInclusive;

use lyceum_xapi::utc_time::UtcTime;
use serde_json::Value;
use smol_str::SmolStr;

use super::Charter;
use crate::envelope::{Envelope, SECRET_RULE, finding};
use crate::formats::statement::field::{MAX_ID_BYTES, MAX_IRI_BYTES};
use crate::outcome::Finding;

/// A title, an error, a reason: text for people.
pub const MAX_TEXT_BYTES: usize = 2_048;

/// A name in addresses.
pub const MAX_SLUG_BYTES: usize = 128;

/// A list has at most this many elements.
pub const MAX_ELEMENTS: usize = 100;

/// Reads fields and gathers what is wrong with them; a reader returns a stand-in and the findings decide at the end.
#[derive(Debug)]
pub struct Fields<'e> {
    payload: &'e Value,
    tenant: &'e str,
    findings: Vec<Finding>,
}

impl<'e> Fields<'e> {
    /// Nothing is read yet.
    pub fn of(envelope: &'e Envelope<'_, Charter>) -> Self {
        Self { payload: envelope.body.payload(), tenant: &envelope.tenant, findings: Vec::new() }
    }

    /// An id of at most [`MAX_ID_BYTES`].
    pub fn id(&mut self, name: &str) -> SmolStr {
        let id = self.optional_id(name);
        self.required(name, id)
    }

    /// The same, or none.
    pub fn optional_id(&mut self, name: &str) -> Option<SmolStr> {
        self.optional_text(name, MAX_ID_BYTES).map(SmolStr::from)
    }

    /// A text that is not empty.
    pub fn text(&mut self, name: &str, most_bytes: usize) -> String {
        let text = self.optional_text(name, most_bytes);
        self.required(name, text)
    }

    /// The same, or none.
    pub fn optional_text(&mut self, name: &str, most_bytes: usize) -> Option<String> {
        let value = self.member(name)?;
        let is_it = |text: &&str| !text.trim().is_empty() && text.len() <= most_bytes && !text.contains('\0');
        let text = value.as_str().filter(is_it).map(str::to_owned);
        if text.is_none() {
            self.wrong_type(name, &format!("a non-empty string of at most {most_bytes} bytes"));
        }
        Some(text.unwrap_or_default())
    }

    /// A URL, or a path on the sender's own site, which begins with a slash; at most [`MAX_IRI_BYTES`].
    pub fn location(&mut self, name: &str) -> String {
        let is_it = |text: &&str| {
            let begins =
                ["https://", "http://", "/"].iter().any(|begin| text.len() > begin.len() && text.starts_with(begin));
            begins && text.len() <= MAX_IRI_BYTES && !text.chars().any(|of| of.is_whitespace() || of.is_control())
        };
        let Some(value) = self.member(name) else { return self.required(name, None) };
        let location = value.as_str().filter(is_it).map(str::to_owned);
        if location.is_none() {
            self.wrong_type(
                name,
                &format!("an http or https URL, or a path with a slash before it, of at most {MAX_IRI_BYTES} bytes"),
            );
        }
        location.unwrap_or_default()
    }

    /// The location of that name, or none.
    pub fn optional_location(&mut self, name: &str) -> Option<String> {
        self.member(name)?;
        Some(self.location(name))
    }

    /// A name in addresses: lower-case letters, digits and hyphens, at most [`MAX_SLUG_BYTES`].
    pub fn slug(&mut self, name: &str) -> String {
        let slug = self.optional_slug(name);
        self.required(name, slug)
    }

    /// The same, or none.
    pub fn optional_slug(&mut self, name: &str) -> Option<String> {
        let value = self.member(name)?;
        let is_part = |of: u8| of.is_ascii_lowercase() || of.is_ascii_digit() || of == b'-';
        let is_it = |text: &&str| (1..=MAX_SLUG_BYTES).contains(&text.len()) && text.bytes().all(is_part);
        let slug = value.as_str().filter(is_it).map(str::to_owned);
        if slug.is_none() {
            self.wrong_type(name, &format!("lower-case letters, digits and hyphens, at most {MAX_SLUG_BYTES} of them"));
        }
        Some(slug.unwrap_or_default())
    }

    /// A whole number.
    pub fn whole(&mut self, name: &str, bounds: RangeInclusive<u64>) -> u64 {
        let number = self.optional_whole(name, bounds);
        self.required(name, number)
    }

    /// The same, or none.
    pub fn optional_whole(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.member(name)?;
        let whole = |of: &f64| of.fract() == 0.0 && (0.0..9e15).contains(of);
        let number = value.as_u64().or_else(|| value.as_f64().filter(whole).map(|of| of as u64));
        let form = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match number {
            Some(number) if bounds.contains(&number) => return Some(number),
            Some(_) => self.wrong("field.range", name, format!("{name} must be {form}")),
            None => self.wrong_type(name, &form),
        }
        Some(*bounds.start())
    }

    /// One of these words.
    pub fn word(&mut self, name: &str, words: &[&'static str]) -> &'static str {
        let word = self.optional_word(name, words);
        self.required(name, word)
    }

    /// The same, or none.
    pub fn optional_word(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.member(name)?;
        let word = value.as_str().and_then(|text| words.iter().find(|word| **word == text));
        if word.is_none() {
            self.wrong_type(name, &format!("one of {}", words.join(", ")));
        }
        Some(word.copied().unwrap_or_default())
    }

    /// Texts for people, none where the member is missing.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.member(name) else { return Vec::new() };
        let is_it = |text: &&str| !text.is_empty() && text.len() <= MAX_TEXT_BYTES;
        let read = |elements: &Vec<Value>| -> Option<Vec<String>> {
            elements.iter().map(|element| element.as_str().filter(is_it).map(str::to_owned)).collect()
        };
        let texts = value.as_array().filter(|elements| elements.len() <= MAX_ELEMENTS).and_then(read);
        if texts.is_none() {
            let form =
                format!("an array of at most {MAX_ELEMENTS} non-empty strings, each of at most {MAX_TEXT_BYTES} bytes");
            self.wrong_type(name, &form);
        }
        texts.unwrap_or_default()
    }

    /// An instant (RFC 3339), in milliseconds since 1970 UTC, or none.
    pub fn optional_instant_ms(&mut self, name: &str) -> Option<i64> {
        let value = self.member(name)?;
        let instant = value.as_str().and_then(|text| UtcTime::from_rfc3339(text).ok());
        if instant.is_none() {
            self.wrong_type(name, "an RFC 3339 timestamp with a zone, 2026-03-01T09:00:00Z");
        }
        Some(instant.map_or(0, UtcTime::as_millis))
    }

    /// `sha256:` and 64 hex digits in lower case: of a document, or of what is compared with another one.
    pub fn optional_hash(&mut self, name: &str) -> Option<String> {
        let value = self.member(name)?;
        let hash = value.as_str().filter(|text| is_hash(text)).map(str::to_owned);
        if hash.is_none() {
            self.wrong_type(name, HASH);
        }
        Some(hash.unwrap_or_default())
    }

    /// The fingerprint of a token, `sha256:` and 64 hex digits. What is none may be the token itself, so that its letter goes without
    /// the value.
    pub fn fingerprint(&mut self, name: &str) -> String {
        let fingerprint = self.optional_fingerprint(name);
        self.required(name, fingerprint)
    }

    /// The same, or none.
    pub fn optional_fingerprint(&mut self, name: &str) -> Option<String> {
        let value = self.member(name)?;
        let fingerprint = value.as_str().filter(|text| is_hash(text)).map(str::to_owned);
        if fingerprint.is_none() {
            let message = format!("{name} must be {HASH}; what stands there may be the token itself: revoke it");
            self.wrong(SECRET_RULE, name, message);
        }
        Some(fingerprint.unwrap_or_default())
    }

    /// The tenant, where the payload names it, is the envelope's.
    pub fn same_tenant(&mut self) {
        let Some(tenant) = self.optional_text("tenant", 128) else { return };
        if tenant != self.tenant && !tenant.is_empty() {
            self.wrong("tenant.differs", "tenant", "tenant must be that of the envelope, meta.tenant_id");
        }
    }

    /// Of several members one has to be there.
    pub fn one_of_them(&mut self, first: &str, other: &str) {
        if self.member(first).is_none() && self.member(other).is_none() {
            self.wrong("field.required", first, format!("{first} or {other} is required"));
        }
    }

    /// Adds a finding about two fields that do not fit together.
    pub fn wrong_order(&mut self, name: &str, message: impl Into<String>) {
        self.wrong("field.order", name, message);
    }

    /// Adds a finding about a field that is read by its family itself: `name` must be such.
    pub fn wrong_type(&mut self, name: &str, form: &str) {
        self.wrong("field.type", name, format!("{name} must be {form}"));
    }

    /// A member of the payload, where it is there and not null.
    pub fn member(&self, name: &str) -> Option<&'e Value> {
        self.payload.get(name).filter(|value| !value.is_null())
    }

    /// What was read, or a stand-in and a finding.
    pub fn required<T: Default>(&mut self, name: &str, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.wrong("field.required", name, format!("{name} is required"));
            T::default()
        })
    }

    /// The event, or all that is wrong.
    pub fn finish<T>(self, event: T) -> Result<T, Vec<Finding>> {
        if self.findings.is_empty() { Ok(event) } else { Err(self.findings) }
    }

    fn wrong(&mut self, rule: &'static str, name: &str, message: impl Into<String>) {
        self.findings.push(finding(rule, &format!("/payload/{name}"), message));
    }
}

const HASH: &str = "`sha256:` and 64 hex digits in lower case";

fn is_hash(text: &str) -> bool {
    let is_digit = |of: u8| matches!(of, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(is_digit))
}
