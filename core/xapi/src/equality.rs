//! Statement equality (xAPI-Data 2.3.1): whether two texts say the same, so that the second is a duplicate.
//!
//! It is defined by a canonical form: two texts are equal if their forms are. What does not count is left out of the
//! form: what an LRS assigns (id, stored, authority, version), the display of a verb, the definitions of activities.
//! What may be written in several ways is written in one: timestamps as instants, durations to a hundredth of a second,
//! UUIDs, hashes, language tags and the domain of an mbox in lower case, one context activity as an array of one, members
//! of a Group and attachments in an order of their own, numbers without superfluous zeros, keys sorted, escapes resolved.
//!
//! A missing timestamp equals only a missing one: if it equalled any, equality would not be transitive. Whoever compares
//! what was sent with what was stored compares the stored bytes as they were sent.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::actor::canonical_mbox;
use super::json::{Kind, Read, Reader};
use super::limits::Limits;
use super::{duration, timestamp};

/// Whether both texts are the same statement. A text that is no JSON equals only itself.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a == b || write_canonical(a) == write_canonical(b)
}

/// SHA-256 of the canonical form: equal if, and only if, the statements are the [`same`].
pub fn content_hash(statement: &[u8]) -> [u8; 32] {
    Sha256::digest(write_canonical(statement)).into()
}

/// What a value is in a statement, and so what about it counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Statement,
    Actor,
    Account,
    Verb,
    Object,
    Result,
    Context,
    ContextActivities,
    ContextActor,
    Attachment,
    LanguageMap,
    Mbox,
    Duration,
    Timestamp,
    /// Letter case does not count.
    Caseless,
    /// Every difference counts but those of notation.
    Verbatim,
    /// Left out.
    Ignored,
    /// An array, or one value that stands for an array of it.
    OneOrMany(Item),
    /// An array whose order counts.
    List(Item),
    /// An array whose order does not count.
    Bag(Item),
}

/// What the elements of an array are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Activity,
    Agent,
    Attachment,
    ContextActor,
}

impl Item {
    fn part(self) -> Part {
        match self {
            Self::Activity => Part::Object,
            Self::Agent => Part::Actor,
            Self::Attachment => Part::Attachment,
            Self::ContextActor => Part::ContextActor,
        }
    }
}

impl Part {
    /// What the member of that name is.
    fn member(self, key: &str) -> Self {
        match (self, key) {
            (Self::Statement, "id" | "stored" | "authority" | "version") => Self::Ignored,
            (Self::Statement | Self::Object, "actor") => Self::Actor,
            (Self::Statement | Self::Object, "verb") => Self::Verb,
            (Self::Statement | Self::Object, "object") => Self::Object,
            (Self::Statement | Self::Object, "result") => Self::Result,
            (Self::Statement | Self::Object, "context") => Self::Context,
            (Self::Statement | Self::Object, "timestamp") => Self::Timestamp,
            (Self::Statement | Self::Object, "attachments") => Self::Bag(Item::Attachment),
            (Self::Object, "definition") | (Self::Verb, "display") => Self::Ignored,
            (Self::Actor | Self::Object, "mbox") => Self::Mbox,
            (Self::Actor | Self::Object, "mbox_sha1sum") | (Self::Attachment, "sha2") => Self::Caseless,
            (Self::Actor | Self::Object, "account") => Self::Account,
            (Self::Actor | Self::Object, "member") => Self::Bag(Item::Agent),
            (Self::Result, "duration") => Self::Duration,
            (Self::Context, "registration" | "language") => Self::Caseless,
            (Self::Context, "instructor" | "team") => Self::Actor,
            (Self::Context, "statement") => Self::Object,
            (Self::Context, "contextActivities") => Self::ContextActivities,
            (Self::Context, "contextAgents" | "contextGroups") => Self::List(Item::ContextActor),
            (Self::ContextActivities, _) => Self::OneOrMany(Item::Activity),
            (Self::ContextActor, "agent" | "group") => Self::Actor,
            (Self::Attachment, "display" | "description") => Self::LanguageMap,
            _ => Self::Verbatim,
        }
    }

    /// The one spelling of a string. What is not what it should be is compared as it is.
    fn spell(self, text: Cow<'_, str>) -> Cow<'_, str> {
        match self {
            Self::Mbox => canonical_mbox(&text).into_owned().into(),
            Self::Caseless => text.to_ascii_lowercase().into(),
            Self::Duration => duration::truncate(&text).into(),
            Self::Timestamp => match timestamp::parse(&text) {
                Ok(instant) => format!("{}.{}", instant.seconds, instant.fraction.trim_end_matches('0')).into(),
                Err(_) => text,
            },
            _ => text,
        }
    }
}

fn write_canonical(bytes: &[u8]) -> Vec<u8> {
    let mut form = Vec::with_capacity(bytes.len());
    let written = std::str::from_utf8(bytes).is_ok_and(|text| {
        let mut reader = Reader::new(text, Limits::MAX_DEPTH, usize::MAX);
        write_value(&mut reader, Part::Statement, &mut form).and_then(|()| reader.end()).is_ok()
    });
    if !written {
        // No JSON begins like this, so that no form is one of those.
        form.clear();
        form.push(b'!');
        form.extend_from_slice(bytes);
    }
    form
}

fn write_value(reader: &mut Reader<'_>, part: Part, form: &mut Vec<u8>) -> Read<()> {
    match reader.peek()? {
        Kind::Object => {
            if let Part::OneOrMany(item) = part {
                form.push(b'[');
                write_object(reader, item.part(), form)?;
                form.extend_from_slice(b",]");
                return Ok(());
            }
            write_object(reader, part, form)
        }
        Kind::Array => write_array(reader, part, form),
        Kind::String => {
            write_string(&part.spell(reader.string()?), form);
            Ok(())
        }
        Kind::Number => {
            write_number(reader.number()?, form);
            Ok(())
        }
        Kind::Boolean => {
            form.push(if reader.boolean()? { b't' } else { b'f' });
            Ok(())
        }
        Kind::Null => {
            form.push(b'n');
            reader.null()
        }
    }
}

/// Members sorted by key; of members with the same key, which no valid statement has, by value.
fn write_object(reader: &mut Reader<'_>, part: Part, form: &mut Vec<u8>) -> Read<()> {
    reader.enter()?;
    // A StatementRef's id is a UUID, an Activity's an IRI; which of the two it is may be known only at the end.
    let (mut id_at, mut is_reference) = (None, false);
    let mut members: Vec<(Cow<'_, str>, Vec<u8>)> = Vec::new();
    let mut first = true;
    while let Some(key) = reader.next_key(&mut first)? {
        let mut value = Vec::new();
        let member = part.member(&key);
        write_value(reader, member, &mut value)?;
        if part == Part::Object && key == "id" {
            id_at = Some(members.len());
        }
        is_reference |= part == Part::Object && key == "objectType" && value == b"\"StatementRef\"";
        if member != Part::Ignored {
            let key = if part == Part::LanguageMap { key.to_ascii_lowercase().into() } else { key };
            members.push((key, value));
        }
    }
    if let Some(at) = id_at.filter(|_| is_reference) {
        members[at].1.make_ascii_lowercase();
    }
    members.sort();
    form.push(b'{');
    for (key, value) in members {
        write_string(&key, form);
        form.push(b':');
        form.extend_from_slice(&value);
        form.push(b',');
    }
    form.push(b'}');
    Ok(())
}

fn write_array(reader: &mut Reader<'_>, part: Part, form: &mut Vec<u8>) -> Read<()> {
    let (item, ordered) = match part {
        Part::OneOrMany(item) | Part::List(item) => (item.part(), true),
        Part::Bag(item) => (item.part(), false),
        _ => (Part::Verbatim, true),
    };
    reader.enter()?;
    let mut elements = Vec::new();
    let mut first = true;
    while reader.next_element(&mut first)? {
        let mut element = Vec::new();
        write_value(reader, item, &mut element)?;
        elements.push(element);
    }
    if !ordered {
        elements.sort();
    }
    form.push(b'[');
    for element in elements {
        form.extend_from_slice(&element);
        form.push(b',');
    }
    form.push(b']');
    Ok(())
}

/// In quotes, with the one escape that keeps the end of the string plain.
fn write_string(text: &str, form: &mut Vec<u8>) {
    form.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            form.push(b'\\');
        }
        form.push(byte);
    }
    form.push(b'"');
}

/// The digits without zeros at either end, and the power of ten of the last: 1, 1.0 and 10e-1 are `1e0`, exactly and
/// whatever their size.
fn write_number(text: &str, form: &mut Vec<u8>) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_end_matches('0');
    let shift = (digits.len() - significant.len()) as i128 - fraction.len() as i128;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        form.push(b'0');
        return;
    }
    if whole.starts_with('-') {
        form.push(b'-');
    }
    form.extend_from_slice(significant.as_bytes());
    form.push(b'e');
    // An exponent beyond 38 digits is kept as it is written: nobody means the same number by two of them.
    match exponent.parse::<i128>().ok().and_then(|exponent| exponent.checked_add(shift)) {
        Some(exponent) => form.extend_from_slice(exponent.to_string().as_bytes()),
        None => form.extend_from_slice(format!("{exponent}{shift:+}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENT: &str = r#"{
        "id": "9dc99b37-e920-4a68-a066-917faca28949",
        "actor": {"objectType": "Group", "member": [
            {"mbox": "mailto:ada@example.org"}, {"mbox_sha1sum": "cd9b00a5611f94eaa7b1661edab976068e364975"}]},
        "verb": {"id": "http://example.org/did", "display": {"en": "did"}},
        "object": {"id": "http://example.org/a", "definition": {"name": {"en": "A"}}},
        "result": {"duration": "PT1.129S", "score": {"raw": 1.50, "max": 100}},
        "context": {
            "registration": "16fd2706-8baf-433b-82eb-8c7fada847da",
            "contextActivities": {"parent": {"id": "http://example.org/b"}},
            "statement": {"objectType": "StatementRef", "id": "6690e6c9-3ef0-4ed3-8b37-7f3964730bee"},
            "extensions": {"http://example.org/x": [1, 2, {"A": null}]}},
        "timestamp": "2024-01-01T00:00:00.120Z",
        "attachments": [
            {"usageType": "a:b", "display": {"en-US": "x"}, "contentType": "a/b", "length": 1, "sha2": "ABCD"},
            {"usageType": "a:c", "display": {"en-US": "x"}, "contentType": "a/b", "length": 1, "sha2": "ef01"}]}"#;

    fn with(from: &str, to: &str) -> bool {
        assert!(STATEMENT.contains(from), "{from}");
        let changed = STATEMENT.replacen(from, to, 1);
        let is_same = same(STATEMENT.as_bytes(), changed.as_bytes());
        assert_eq!(is_same, content_hash(STATEMENT.as_bytes()) == content_hash(changed.as_bytes()), "{from}");
        is_same
    }

    #[test]
    fn what_does_not_count_does_not() {
        for (from, to) in [
            ("\"id\": \"9dc99b37-e920-4a68-a066-917faca28949\",", ""),
            ("9dc99b37-e920-4a68-a066-917faca28949", "9DC99B37-E920-4A68-A066-917FACA28949"),
            ("\"actor\"", "\"stored\": \"2024-01-01T00:00:00Z\", \"actor\""),
            ("\"actor\"", "\"version\": \"1.0.3\", \"actor\""),
            ("\"actor\"", "\"authority\": {\"mbox\": \"mailto:lrs@example.org\"}, \"actor\""),
            (", \"display\": {\"en\": \"did\"}", ""),
            ("\"did\"}", "\"made\"}"),
            (", \"definition\": {\"name\": {\"en\": \"A\"}}", ""),
            ("mailto:ada@example.org", "MAILTO:ada@EXAMPLE.org"),
            ("cd9b00a5611f94eaa7b1661edab976068e364975", "CD9B00A5611F94EAA7B1661EDAB976068E364975"),
            ("PT1.129S", "PT1.12S"),
            ("1.50", "15e-1"),
            ("100", "1E+2"),
            ("[1, 2,", "[1.0,2.000 , "),
            ("16fd2706-8baf", "16FD2706-8BAF"),
            ("6690e6c9-3ef0", "6690E6C9-3EF0"),
            ("{\"id\": \"http://example.org/b\"}", "[{\"id\": \"http://example.org/b\"}]"),
            ("2024-01-01T00:00:00.120Z", "2024-01-01T01:00:00.12+01:00"),
            ("\"verb\"", "\"v\\u0065rb\""),
            ("example.org/a", "example.org\\/a"),
            ("en-US", "en-us"),
            ("ABCD", "abcd"),
        ] {
            assert!(with(from, to), "{from} → {to}");
        }
    }

    #[test]
    fn what_counts_does() {
        for (from, to) in [
            ("ada@", "Ada@"),
            ("\"mbox\": \"mailto:ada@example.org\"", "\"mbox\": \"mailto:bob@example.org\""),
            ("http://example.org/did", "http://example.org/made"),
            ("\"id\": \"http://example.org/a\"", "\"id\": \"http://example.org/A\""),
            ("PT1.129S", "PT1.13S"),
            ("1.50", "1.51"),
            ("[1, 2,", "[2, 1,"),
            ("null", "{}"),
            ("\"A\": null", "\"a\": null"),
            ("2024-01-01T00:00:00.120Z", "2024-01-01T00:00:00.121Z"),
            ("\"timestamp\": \"2024-01-01T00:00:00.120Z\",", ""),
            ("\"length\": 1", "\"length\": 2"),
            ("ABCD", "abce"),
        ] {
            assert!(!with(from, to), "{from} → {to}");
        }
    }

    #[test]
    fn members_of_a_group_and_attachments_have_no_order() {
        let [a, b] = [r#"{"mbox":"mailto:a@x"}"#, r#"{"mbox":"mailto:b@x"}"#];
        let group =
            |members: [&str; 2]| format!(r#"{{"actor":{{"objectType":"Group","member":[{}]}}}}"#, members.join(","));
        assert!(same(group([a, b]).as_bytes(), group([b, a]).as_bytes()));
        assert!(!same(group([a, b]).as_bytes(), group([a, a]).as_bytes()));
        let attachments = |two: [&str; 2]| format!(r#"{{"attachments":[{}]}}"#, two.join(","));
        assert!(same(attachments([a, b]).as_bytes(), attachments([b, a]).as_bytes()));
    }

    #[test]
    fn numbers_are_compared_exactly() {
        let number = |text: &str| format!(r#"{{"x":{text}}}"#);
        for (a, b) in [("0", "-0.0e5"), ("1e400", "10e399"), ("0.1", "1e-1"), ("-120", "-1.2E2"), ("1e-0", "1")] {
            assert!(same(number(a).as_bytes(), number(b).as_bytes()), "{a} {b}");
        }
        for (a, b) in
            [("9007199254740993", "9007199254740992"), ("1", "-1"), ("1", "10"), ("0.1", "0.10000000000000001")]
        {
            assert!(!same(number(a).as_bytes(), number(b).as_bytes()), "{a} {b}");
        }
        let huge = "9".repeat(60);
        assert!(!same(number(&format!("1e{huge}")).as_bytes(), number(&format!("1e-{huge}")).as_bytes()));
    }

    #[test]
    fn what_is_no_json_equals_itself_only() {
        assert!(same(b"{", b"{") && !same(b"{", b"{ ") && !same(b"{", b"{}") && same(b"{}", b" { } "));
        assert_ne!(content_hash(b"{"), content_hash(b"{}"));
    }

    #[test]
    fn strings_cannot_pass_for_structure() {
        assert!(!same(br#"{"x":["a","b"]}"#, br#"{"x":["a\",\"b"]}"#));
        assert!(!same(br#"{"x":"a\\"}"#, br#"{"x":"a\""}"#));
    }
}
