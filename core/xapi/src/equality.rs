//! Statement equality (xAPI-Data 2.3.1): whether two texts say the same, so that the second is a duplicate.
//!
//! It is defined by a canonical form: two texts are equal if their forms are. What does not count is left out of the
//! form: what an LRS assigns (id, stored, authority, version), the display of a verb, the definitions of activities.
//! What may be written in several ways is written in one: timestamps as instants, durations to a hundredth of a second,
//! UUIDs, hashes, language tags and the domain of an mbox in lower case, one context activity as an array of one, members
//! of a Group and attachments in an order of their own, numbers without superfluous zeros, keys sorted, escapes resolved.
//!
//! The timestamp is what an LRS assigns where it is missing, so it stands beside the form: two different ones are two
//! statements, and one that is missing equals any. That is no equivalence (two statements that equal a third need not
//! equal each other) and so no hash can say it; [`content_hash`] has the two parts side by side, and [`same_content`]
//! compares them. Whoever asks compares with the statement that came first, so that the answer does not depend on what
//! came between.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::actor::canonical_mbox;
use super::json::{Kind, Read, Reader};
use super::limits::Limits;
use super::{duration, timestamp};

/// Whether both texts are the same statement. A text that is no JSON equals only itself.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a == b || {
        let (a, b) = (Canonical::of(a), Canonical::of(b));
        a.form == b.form && (a.timestamp == b.timestamp || a.timestamp.is_none() || b.timestamp.is_none())
    }
}

/// So many bytes of a content hash are of all but the timestamp.
const FORM_BYTES: usize = 20;
/// The rest of a content hash where there is no timestamp.
const NO_TIMESTAMP: [u8; 32 - FORM_BYTES] = [0; 32 - FORM_BYTES];

/// A hash of the statement, and of what else counts about it: 20 bytes of the SHA-256 of both without the statement's
/// timestamp, 12 of that of the timestamp, zeros where there is none. To be compared by [`same_content`].
pub fn content_hash(statement: &[u8], besides: &[u8]) -> [u8; 32] {
    let Canonical { form, timestamp } = Canonical::of(statement);
    let mut hash = hash_besides(&form, besides);
    let of_timestamp = timestamp.map(|timestamp| Sha256::digest(timestamp).into());
    let of_timestamp: [u8; 32] = of_timestamp.unwrap_or_default();
    hash[FORM_BYTES..].copy_from_slice(&of_timestamp[..NO_TIMESTAMP.len()]);
    hash
}

/// Whether two content hashes are of the [`same`] statement with the same besides.
pub fn same_content(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let ((a, a_timestamp), (b, b_timestamp)) = (a.split_at(FORM_BYTES), b.split_at(FORM_BYTES));
    a == b && (a_timestamp == b_timestamp || a_timestamp == NO_TIMESTAMP || b_timestamp == NO_TIMESTAMP)
}

/// Whether it is a content hash of the same as keys of earlier builds hold it: one SHA-256, timestamp included. Where
/// that one has a timestamp and this statement none, it does not tell.
pub fn is_former_hash(former: &[u8; 32], statement: &[u8], besides: &[u8]) -> bool {
    let Canonical { form, timestamp } = Canonical::of(statement);
    *former == hash_besides(&form, besides)
        || (timestamp.is_some() && *former == hash_besides(&write_whole(statement), besides))
}

fn hash_besides(form: &[u8], besides: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(Sha256::digest(form));
    digest.update(besides);
    digest.finalize().into()
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
            Self::Mbox => match text {
                Cow::Borrowed(text) => canonical_mbox(text),
                Cow::Owned(text) => canonical_mbox(&text).into_owned().into(),
            },
            Self::Caseless if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => text,
            Self::Caseless => text.to_ascii_lowercase().into(),
            Self::Duration => duration::truncate(&text).into(),
            Self::Timestamp => match timestamp::parse(&text) {
                Ok(timestamp) => timestamp.canonical().into(),
                Err(_) => text,
            },
            _ => text,
        }
    }
}

/// A statement in its one notation.
struct Canonical {
    /// All that counts but the timestamp.
    form: Vec<u8>,
    /// The timestamp, where there is one.
    timestamp: Option<Vec<u8>>,
}

impl Canonical {
    fn of(bytes: &[u8]) -> Self {
        let mut timestamp = None;
        let form = write_canonical(bytes, Some(&mut timestamp));
        Self { form, timestamp }
    }
}

/// The form with the timestamp in it.
fn write_whole(bytes: &[u8]) -> Vec<u8> {
    write_canonical(bytes, None)
}

/// The form; `timestamp`, where it is given, gets the statement's.
fn write_canonical(bytes: &[u8], timestamp: Option<&mut Option<Vec<u8>>>) -> Vec<u8> {
    let form = std::str::from_utf8(bytes).ok().and_then(|text| Writer::new(text).write(timestamp).ok());
    form.unwrap_or_else(|| {
        // No JSON begins like this, so that no form is one of those.
        [b"!", bytes].concat()
    })
}

/// Reads a statement and writes its form. What has to be sorted is written as it is read, and put in order behind that.
struct Writer<'a> {
    reader: Reader<'a>,
    form: Vec<u8>,
    /// The parts of all objects and arrays entered, those of the innermost last: their keys, and where their values are.
    parts: Vec<(Cow<'a, str>, Range<usize>)>,
}

impl<'a> Writer<'a> {
    fn new(text: &'a str) -> Self {
        let reader = Reader::new(text, Limits::MAX_DEPTH, usize::MAX);
        Self { reader, form: Vec::with_capacity(2 * text.len()), parts: Vec::with_capacity(16) }
    }

    fn write(mut self, timestamp: Option<&mut Option<Vec<u8>>>) -> Read<Vec<u8>> {
        match self.reader.peek()? {
            Kind::Object => self.object(Part::Statement, timestamp)?,
            _ => self.value(Part::Statement)?,
        }
        self.reader.end()?;
        Ok(self.form)
    }

    fn value(&mut self, part: Part) -> Read<()> {
        match self.reader.peek()? {
            Kind::Object => match part {
                Part::OneOrMany(item) => {
                    self.form.push(b'[');
                    self.object(item.part(), None)?;
                    self.form.extend_from_slice(b",]");
                }
                _ => self.object(part, None)?,
            },
            Kind::Array => self.array(part)?,
            Kind::String => {
                let text = self.reader.string()?;
                write_string(&part.spell(text), &mut self.form);
            }
            Kind::Number => write_number(self.reader.number()?, &mut self.form),
            Kind::Boolean => {
                let truth = self.reader.boolean()?;
                self.form.push(if truth { b't' } else { b'f' });
            }
            Kind::Null => {
                self.reader.null()?;
                self.form.push(b'n');
            }
        }
        Ok(())
    }

    /// Members sorted by key; of members with the same key, which no valid statement has, by value. `apart`, where it is
    /// given, gets the timestamp.
    fn object(&mut self, part: Part, apart: Option<&mut Option<Vec<u8>>>) -> Read<()> {
        self.reader.enter()?;
        // A StatementRef's id is a UUID, an Activity's an IRI; which of the two it is may be known only at the end.
        let (mut id_at, mut is_reference) = (None, false);
        let (start, outer) = (self.form.len(), self.parts.len());
        let mut timestamp: Option<Vec<u8>> = None;
        let mut first = true;
        while let Some(key) = self.reader.next_key(&mut first)? {
            let at = self.form.len();
            let member = part.member(&key);
            self.value(member)?;
            if part == Part::Object && key == "id" {
                id_at = Some(self.parts.len());
            }
            is_reference |= part == Part::Object && key == "objectType" && self.form[at..] == *b"\"StatementRef\"";
            if member == Part::Timestamp && apart.is_some() {
                timestamp.get_or_insert_default().extend(self.form.drain(at..));
            } else if member == Part::Ignored {
                self.form.truncate(at);
            } else {
                let key = if part == Part::LanguageMap { key.to_ascii_lowercase().into() } else { key };
                self.parts.push((key, at..self.form.len()));
            }
        }
        if let Some(at) = id_at.filter(|_| is_reference) {
            self.form[self.parts[at].1.clone()].make_ascii_lowercase();
        }
        if let Some(apart) = apart {
            *apart = timestamp;
        }
        self.sort(outer);
        let sorted = self.form.len();
        self.form.push(b'{');
        for (key, value) in self.parts.drain(outer..) {
            write_string(&key, &mut self.form);
            self.form.push(b':');
            self.form.extend_from_within(value);
            self.form.push(b',');
        }
        self.form.push(b'}');
        self.form.drain(start..sorted);
        Ok(())
    }

    fn array(&mut self, part: Part) -> Read<()> {
        let (item, is_ordered) = match part {
            Part::OneOrMany(item) | Part::List(item) => (item.part(), true),
            Part::Bag(item) => (item.part(), false),
            _ => (Part::Verbatim, true),
        };
        self.reader.enter()?;
        let (start, outer) = (self.form.len(), self.parts.len());
        let mut first = true;
        while self.reader.next_element(&mut first)? {
            let at = self.form.len();
            self.value(item)?;
            self.parts.push((Cow::Borrowed(""), at..self.form.len()));
        }
        if !is_ordered {
            self.sort(outer);
        }
        let sorted = self.form.len();
        self.form.push(b'[');
        for (_, element) in self.parts.drain(outer..) {
            self.form.extend_from_within(element);
            self.form.push(b',');
        }
        self.form.push(b']');
        self.form.drain(start..sorted);
        Ok(())
    }

    /// Sorts the innermost parts, from there on.
    fn sort(&mut self, outer: usize) {
        let Self { form, parts, .. } = self;
        parts[outer..].sort_unstable_by(|(key, value), (other_key, other)| {
            key.cmp(other_key).then_with(|| form[value.clone()].cmp(&form[other.clone()]))
        });
    }
}

/// In quotes, with the one escape that keeps the end of the string plain.
fn write_string(text: &str, form: &mut Vec<u8>) {
    form.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        form.extend_from_slice(&rest[..at]);
        form.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    form.extend_from_slice(rest);
    form.push(b'"');
}

/// The digits without zeros at either end, and the power of ten of the last: 1, 1.0 and 10e-1 are `1e0`, exactly and
/// whatever their size.
fn write_number(text: &str, form: &mut Vec<u8>) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let start = form.len();
    if whole.starts_with('-') {
        form.push(b'-');
    }
    let digits_at = form.len();
    form.extend_from_slice(whole.trim_start_matches('-').as_bytes());
    form.extend_from_slice(fraction.as_bytes());
    let is_zero = |digit: &&u8| **digit == b'0';
    let behind = form[digits_at..].iter().rev().take_while(is_zero).count();
    form.truncate(form.len() - behind);
    let before = form[digits_at..].iter().take_while(is_zero).count();
    form.drain(digits_at..digits_at + before);
    if form.len() == digits_at {
        form.truncate(start);
        form.push(b'0');
        return;
    }
    let shift = behind as i128 - fraction.len() as i128;
    // An exponent beyond 38 digits is kept as it is written: nobody means the same number by two of them.
    let written = match exponent.parse::<i128>().ok().and_then(|exponent| exponent.checked_add(shift)) {
        Some(exponent) => write!(form, "e{exponent}"),
        None => write!(form, "e{exponent}{shift:+}"),
    };
    debug_assert!(written.is_ok(), "a vector takes all");
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
        let [hash, of_changed] = [STATEMENT, &changed].map(|text| content_hash(text.as_bytes(), b""));
        assert_eq!(is_same, same_content(&hash, &of_changed), "{from}");
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
            ("2024-01-01T00:00:00.120Z", "20240101T000000,12"),
            ("\"timestamp\": \"2024-01-01T00:00:00.120Z\",", ""),
            ("PT1.129S", "PT1,12S"),
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
            ("\"length\": 1", "\"length\": 2"),
            ("ABCD", "abce"),
        ] {
            assert!(!with(from, to), "{from} → {to}");
        }
    }

    #[test]
    fn a_timestamp_that_an_lrs_added_makes_no_other_statement_and_two_are_two() {
        let of = |timestamp: &str| format!(r#"{{"verb":{{"id":"a:b"}}{timestamp}}}"#);
        let none = of("");
        let [first, again, other] = ["00:00:00Z", "00:00:00.0+00:00", "00:00:01Z"]
            .map(|time| of(&format!(r#","timestamp":"2024-01-01T{time}""#)));
        for (a, b, expected) in [
            (&none, &none, true),
            (&none, &first, true),
            (&first, &none, true),
            (&first, &again, true),
            (&first, &other, false),
            (&other, &first, false),
        ] {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
            let [a, b] = [a, b].map(|text| content_hash(text.as_bytes(), b"besides"));
            assert_eq!(same_content(&a, &b), expected);
        }
        assert!(!same_content(&content_hash(none.as_bytes(), b"a"), &content_hash(first.as_bytes(), b"b")));
    }

    #[test]
    fn the_timestamp_of_a_sub_statement_is_its_senders() {
        let of = |timestamp: &str| format!(r#"{{"object":{{"objectType":"SubStatement"{timestamp}}}}}"#);
        let [without, with] = [of(""), of(r#","timestamp":"2024-01-01T00:00:00Z""#)];
        assert!(!same(without.as_bytes(), with.as_bytes()));
        assert!(!same_content(&content_hash(without.as_bytes(), b""), &content_hash(with.as_bytes(), b"")));
    }

    #[test]
    fn a_hash_of_an_earlier_release_is_known_again() {
        // SHA-256 over the SHA-256 of the form that these statements had, and over what stands besides.
        let hash = |form: &str| -> [u8; 32] {
            Sha256::new_with_prefix(Sha256::digest(form)).chain_update(b"besides").finalize().into()
        };
        let [without, with] =
            [hash(r#"{"verb":{"id":"a:b",},}"#), hash(r#"{"timestamp":"1704067200.","verb":{"id":"a:b",},}"#)];
        let resent: &[u8] = br#"{"timestamp":"2024-01-01T00:00:00Z","verb":{"id":"a:b"}}"#;
        let bare: &[u8] = br#"{"verb":{"id":"a:b"}}"#;
        assert!(is_former_hash(&with, resent, b"besides") && is_former_hash(&without, resent, b"besides"));
        assert!(is_former_hash(&without, bare, b"besides") && !is_former_hash(&with, bare, b"besides"));
        assert!(!is_former_hash(&with, resent, b"other"));
        let other: &[u8] = br#"{"timestamp":"2024-01-01T00:00:01Z","verb":{"id":"a:b"}}"#;
        assert!(!is_former_hash(&with, other, b"besides"));
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
        assert!(!same_content(&content_hash(b"{", b""), &content_hash(b"{}", b"")));
    }

    #[test]
    fn strings_cannot_pass_for_structure() {
        assert!(!same(br#"{"x":["a","b"]}"#, br#"{"x":["a\",\"b"]}"#));
        assert!(!same(br#"{"x":"a\\"}"#, br#"{"x":"a\""}"#));
    }
}
