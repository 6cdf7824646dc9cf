//! Wire forms: from a record's bytes to an [`Envelope`] with a typed body, or all that is wrong. A format knows neither what becomes
//! of an event nor who reads it; several families may have the same one. Pure.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use lyceum_xapi::utc_time::UtcTime;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use smol_str::ToSmolStr;

use crate::catalog::Known;
use crate::envelope::{Envelope, Hint, Invalid};
use crate::ports::schemas::{SchemaRef, Schemas};
use crate::ports::statements::{StatementDocument, StatementFields};
use crate::record::{Position, Record};

pub mod avro;
pub mod charter;
pub mod statement;

/// A wire form.
pub trait Format: 'static {
    /// What stands in an envelope of this form, read and valid.
    type Body<'a>: Send + Sync;

    /// What records are read by that do not tell it themselves; [`Infallible`](std::convert::Infallible) for a form whose
    /// records do.
    type Schema: Send + Sync + 'static;

    /// What its events are, and what they have, for a person whose file holds none of them.
    const LOOKS: &'static str;

    /// Whether a value that came on no topic looks like an event of this form, however wrong it may be: cheap, and of several forms
    /// that say so it is the one whose event it turns out to be.
    fn looks_like(value: &[u8]) -> bool;

    /// Reads a schema as it was registered.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(schema: &str) -> Result<Self::Schema, String>;

    /// Opens a record.
    fn open<'a>(record: &'a Record, hint: Hint<'_>, schemas: &Schemas<Self::Schema>) -> Opened<'a, Self::Body<'a>>;

    /// What makes two events with one id the same: a hash of the body, and of the fields that the family reads of it, as JSON.
    fn sameness(envelope: &Envelope<'_, Self::Body<'_>>, fields: &[u8]) -> [u8; 32];

    /// Whether `held`, the hash that a key has, is that of this event, whose own is `own`.
    fn is_same(_: &Envelope<'_, Self::Body<'_>>, _fields: &[u8], own: &[u8; 32], held: &[u8; 32]) -> bool {
        own == held
    }
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Opened<'a, B> {
    /// It has no value.
    Tombstone,
    /// A valid event on the right topic.
    Event(Box<Envelope<'a, B>>),
    /// It can never be valid: every worker decides the same.
    Invalid(Box<Invalid>),
    /// It is read by a schema that was not looked for yet.
    Missing(SchemaRef),
}

impl<'a, B> From<Result<(Known, Box<Envelope<'a, B>>), Box<Invalid>>> for Opened<'a, B> {
    fn from(read: Result<(Known, Box<Envelope<'a, B>>), Box<Invalid>>) -> Self {
        match read {
            Ok((_, envelope)) => Self::Event(envelope),
            Err(invalid) => Self::Invalid(invalid),
        }
    }
}

/// What a document says beside its event.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'e> {
    /// Whose event it is.
    pub family: &'static str,
    /// The record's value, which the envelope borrows from.
    pub value: &'e Bytes,
    /// The record that was decided on.
    pub source: &'e Position,
    /// Its timestamp; milliseconds since 1970 UTC.
    pub stored_ms: i64,
}

/// What a store keeps of an event that is no statement: what every event has, and the learner that it is about, where it is about one
/// (`mbox:…`, `account:<homePage>|<name>` …). A family adds the fields that it is to be counted by.
pub fn document<B>(envelope: &Envelope<'_, B>, actor: Option<&str>, stored: &Stored<'_>) -> StatementDocument {
    let fields = StatementFields {
        event_type: envelope.event_type.into(),
        family: stored.family.into(),
        timestamp_ms: envelope.occurred_at_ms,
        day: UtcTime::from_millis(envelope.occurred_at_ms).day().to_smolstr(),
        actor: actor.unwrap_or_default().to_owned(),
        ..StatementFields::default()
    };
    StatementDocument {
        tenant: envelope.tenant.clone(),
        id: envelope.id,
        raw: stored.value.slice_ref(envelope.raw),
        stored_ms: stored.stored_ms,
        source: stored.source.clone(),
        correlation_id: envelope.correlation_id.clone(),
        fields,
    }
}

/// Whether a value is a JSON object with a member of such a name. Of one that breaks off, what came before that counts.
pub fn has_member(value: &[u8], is_it: impl Fn(&str) -> bool) -> bool {
    struct Members<'f, F>(&'f F, &'f mut bool);

    impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Members<'_, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
            while let Some(Name(name)) = object.next_key()? {
                if (self.0)(&name) {
                    *self.1 = true;
                    // Nothing behind it matters.
                    return Err(A::Error::custom("found"));
                }
                object.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let mut found = false;
    // An error says that it was found, or that the value is none of which this is asked.
    drop(serde_json::Deserializer::from_slice(value).deserialize_map(Members(&is_it, &mut found)));
    found
}

/// A name, borrowed where it stands in the value as it is.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    /// A form whose hashes differ in no other way than their events.
    struct Plain;

    impl Format for Plain {
        type Body<'a> = ();
        type Schema = ();

        const LOOKS: &'static str = "anything";

        fn looks_like(_: &[u8]) -> bool {
            true
        }

        fn parse(_: &str) -> Result<(), String> {
            Ok(())
        }

        fn open<'a>(_: &'a Record, _: Hint<'_>, _: &Schemas<()>) -> Opened<'a, ()> {
            Opened::Tombstone
        }

        fn sameness(envelope: &Envelope<'_, ()>, _: &[u8]) -> [u8; 32] {
            [envelope.raw[0]; 32]
        }
    }

    #[test]
    fn a_member_is_found_at_the_top_of_an_object_however_its_name_is_written_and_what_comes_behind_it() {
        let has = |value: &str| has_member(value.as_bytes(), |name| name == "value");
        for with in [r#"{"a": {"b": 1}, "v\u0061lue": null}"#, r#"{"value": 1, broken"#] {
            assert!(has(with), "{with}");
        }
        for without in [r#"{"a": {"value": 1}}"#, r#"["value"]"#, r#""value""#, "1", "", r#"{"a": broken, "value": 1}"#]
        {
            assert!(!has(without), "{without}");
        }
    }

    #[test]
    fn a_document_of_another_form_has_what_every_event_has_and_is_no_statement() {
        let value = Bytes::from_static(b"framed");
        let envelope = Envelope {
            id: uuid::Uuid::from_u128(7),
            event_type: "a",
            tenant: "acme".into(),
            correlation_id: "c".into(),
            source: Position::new("t", 0, 0),
            replay_count: 0,
            occurred_at_ms: 86_400_000,
            body: (),
            raw: &value[1..],
            pointer: "",
        };
        let source = Position::new("t", 1, 2);
        let stored = Stored { family: "b", value: &value, source: &source, stored_ms: 5 };
        let StatementDocument { tenant, id, raw, stored_ms, source: from, correlation_id, fields } =
            document(&envelope, Some("mbox:ada@example.com"), &stored);
        assert_eq!((tenant.as_str(), id, correlation_id.as_str()), ("acme", envelope.id, "c"));
        assert_eq!((&raw[..], stored_ms, from), (&b"ramed"[..], 5, source.clone()));
        let expected = StatementFields {
            event_type: "a".into(),
            family: "b".into(),
            timestamp_ms: 86_400_000,
            day: "1970-01-02".into(),
            actor: "mbox:ada@example.com".into(),
            ..StatementFields::default()
        };
        assert_eq!(fields, expected);
        assert_eq!(document(&envelope, None, &stored).fields.actor, "");
    }

    #[test]
    fn without_a_word_of_its_own_a_format_takes_events_of_one_hash_for_the_same() {
        let envelope = Envelope {
            id: uuid::Uuid::nil(),
            event_type: "a",
            tenant: "acme".into(),
            correlation_id: "c".into(),
            source: Position::new("t", 0, 0),
            replay_count: 0,
            occurred_at_ms: 0,
            body: (),
            raw: b"a",
            pointer: "",
        };
        let own = Plain::sameness(&envelope, b"");
        assert!(Plain::is_same(&envelope, b"", &own, &[b'a'; 32]));
        assert!(!Plain::is_same(&envelope, b"", &own, &[b'b'; 32]));
    }
}
