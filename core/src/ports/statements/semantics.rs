//! What this port's words mean, in one place, for every store that evaluates them by itself: the fields of a document,
//! the order of a search, the cursor between two pages, and what becomes of an id that is stored twice.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use bytestring::ByteString;
use serde_json::Value;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use uuid::Uuid;

use super::{Filter, StatementDocument, StatementsError, StoreOutcome};
use crate::record::Position;

/// Tells whether two statements are the same by xAPI's equality (xAPI-Data 2.3.1); production passes the validator's.
pub type StatementEquality = fn(&[u8], &[u8]) -> bool;

/// The longest text in bytes that is searched and counted by as it is; engines limit the length of a term
/// (Elasticsearch 32,766 bytes, tantivy 65,530).
pub const MAX_TERM_BYTES: usize = 8_192;

/// The text under which a value is searched and counted: itself, or where it is over [`MAX_TERM_BYTES`] its beginning
/// and the SHA-256 of the whole, so that it is never refused and two long values stay two.
pub fn index_term(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TERM_BYTES {
        return Cow::Borrowed(text);
    }
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let beginning = text.floor_char_boundary(MAX_TERM_BYTES - digest.len() - '…'.len_utf8());
    Cow::Owned(format!("{}…{digest}", &text[..beginning]))
}

/// What kind of values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text, matched as a whole.
    Text,
    /// Whole numbers.
    Long,
    /// Numbers.
    Double,
    /// `true` and `false`.
    Boolean,
}

/// One value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// Of a [`FieldKind::Text`] field, already an [`index_term`].
    Text(Cow<'a, str>),
    /// Of a [`FieldKind::Long`] field.
    Long(i64),
    /// Of a [`FieldKind::Double`] field; finite and never `-0.0`.
    Double(f64),
    /// Of a [`FieldKind::Boolean`] field.
    Boolean(bool),
}

impl FieldValue<'_> {
    /// The number that metrics count with; `None` for a text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Long(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Boolean(value) => Some(f64::from(u8::from(*value))),
        }
    }

    /// The value in JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(&**text),
            Self::Long(value) => Value::from(*value),
            Self::Double(value) => Value::from(*value),
            Self::Boolean(value) => Value::from(*value),
        }
    }

    /// The order of buckets with equal counts: texts by their bytes, everything else by number.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Long(left), Self::Long(right)) => left.cmp(right),
            _ => self.number().unwrap_or(f64::NAN).total_cmp(&other.number().unwrap_or(f64::NAN)),
        }
    }
}

type Visit<'a, 'v> = &'v mut dyn FnMut(FieldValue<'a>);

/// A field that is searched and counted by.
pub struct Field {
    /// Its name in the index and in aggregations.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    visit: for<'a> fn(&'a StatementDocument, Visit<'a, '_>),
}

impl Field {
    /// The field of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// Calls `visit` with each value that the document has in this field; a value is never visited twice.
    pub fn for_each_value<'a>(&self, document: &'a StatementDocument, mut visit: impl FnMut(FieldValue<'a>)) {
        (self.visit)(document, &mut visit);
    }
}

const fn text(name: &'static str, visit: for<'a> fn(&'a StatementDocument, Visit<'a, '_>)) -> Field {
    Field { name, kind: FieldKind::Text, visit }
}

const fn field(name: &'static str, kind: FieldKind, visit: for<'a> fn(&'a StatementDocument, Visit<'a, '_>)) -> Field {
    Field { name, kind, visit }
}

fn visit_text<'a>(value: &'a str, visit: Visit<'a, '_>) {
    visit(FieldValue::Text(index_term(value)));
}

fn visit_texts<'a, T: Deref<Target = str> + 'a>(values: impl IntoIterator<Item = &'a T>, visit: Visit<'a, '_>) {
    values.into_iter().for_each(|value| visit_text(value, visit));
}

fn visit_double(value: Option<f64>, visit: Visit<'_, '_>) {
    if let Some(value) = value.filter(|value| value.is_finite()) {
        visit(FieldValue::Double(value + 0.0));
    }
}

fn visit_boolean(value: Option<bool>, visit: Visit<'_, '_>) {
    if let Some(value) = value {
        visit(FieldValue::Boolean(value));
    }
}

/// The fields that a [`Filter`] can name; all others are only counted.
pub const FILTERED: [&str; 9] =
    ["tenant", "verb", "event_type", "object_type", "object", "survey", "registration", "actor", "actor_sha1"];

/// Every field, one line each; the names are those of [`super::StatementFields`], and the tenant.
pub const FIELDS: [Field; 21] = [
    text("tenant", |document, visit| visit_text(&document.tenant, visit)),
    text("event_type", |document, visit| visit_text(&document.fields.event_type, visit)),
    text("family", |document, visit| visit_text(&document.fields.family, visit)),
    field("timestamp_ms", FieldKind::Long, |document, visit| visit(FieldValue::Long(document.fields.timestamp_ms))),
    text("day", |document, visit| visit_text(&document.fields.day, visit)),
    text("actor", |document, visit| visit_text(&document.fields.actor, visit)),
    text("actor_sha1", |document, visit| visit_texts(&document.fields.actor_sha1, visit)),
    text("verb", |document, visit| visit_text(&document.fields.verb, visit)),
    text("object_type", |document, visit| visit_text(&document.fields.object_type, visit)),
    text("object", |document, visit| visit_text(&document.fields.object, visit)),
    text("activity_type", |document, visit| visit_texts(&document.fields.activity_type, visit)),
    text("registration", |document, visit| visit_texts(&document.fields.registration, visit)),
    text("parents", |document, visit| {
        let parents = &document.fields.parents;
        let first_of_its_kind = |(at, parent): &(usize, &ByteString)| !parents[..*at].contains(parent);
        visit_texts(parents.iter().enumerate().filter(first_of_its_kind).map(|(_, parent)| parent), visit);
    }),
    text("survey", |document, visit| visit_texts(&document.fields.survey, visit)),
    text("question", |document, visit| visit_texts(&document.fields.question, visit)),
    text("response", |document, visit| visit_texts(&document.fields.response, visit)),
    field("score_raw", FieldKind::Double, |document, visit| visit_double(document.fields.score_raw, visit)),
    field("score_scaled", FieldKind::Double, |document, visit| visit_double(document.fields.score_scaled, visit)),
    field("success", FieldKind::Boolean, |document, visit| visit_boolean(document.fields.success, visit)),
    field("completion", FieldKind::Boolean, |document, visit| visit_boolean(document.fields.completion, visit)),
    text("voids", |document, visit| {
        if let Some(target) = document.fields.voids {
            visit(FieldValue::Text(Cow::Owned(target.to_string())));
        }
    }),
];

impl Filter {
    /// What must hold beside time and voiding: of each item one of the fields has one of its values.
    pub fn terms(&self) -> impl Iterator<Item = Vec<(&'static str, &[String])>> {
        let all = [
            vec![("tenant", self.tenant.as_slice())],
            vec![("verb", &self.verbs[..])],
            vec![("event_type", &self.event_types[..])],
            vec![("object_type", &self.object_types[..])],
            vec![("object", self.object.as_slice())],
            vec![("survey", self.survey.as_slice())],
            vec![("registration", self.registration.as_slice())],
            vec![("actor", &self.actors[..]), ("actor_sha1", self.actor_sha1.as_slice())],
        ];
        all.into_iter().filter_map(|mut fields| {
            fields.retain(|(_, values)| !values.is_empty());
            (!fields.is_empty()).then_some(fields)
        })
    }

    /// Whether a document is meant, voiding aside: a store knows by itself what is voided.
    pub fn matches(&self, document: &StatementDocument) -> bool {
        let has_one = |(name, values): &(&str, &[String])| {
            let mut found = false;
            let is_wanted = |value| values.iter().any(|wanted| FieldValue::Text(index_term(wanted)) == value);
            let field = Field::named(name).expect("the code names fields of the table only");
            field.for_each_value(document, |value| found |= is_wanted(value));
            found
        };
        let time = document.fields.timestamp_ms;
        self.terms().all(|fields| fields.iter().any(has_one))
            && self.from_ms.is_none_or(|from| time >= from)
            && self.to_ms.is_none_or(|to| time < to)
    }
}

/// What becomes of `again` when its id is taken by the statement `first_raw` from the record `first`.
pub fn meet_again(
    first: &Position,
    first_raw: &[u8],
    again: &StatementDocument,
    same: StatementEquality,
) -> StoreOutcome {
    if *first == again.source {
        StoreOutcome::Created
    } else if *first_raw == *again.raw || same(first_raw, &again.raw) {
        StoreOutcome::Duplicate { first: first.clone() }
    } else {
        StoreOutcome::Conflict { first: first.clone() }
    }
}

/// A place in the order of a search: newest first, then by id, then by tenant. Written `timestamp_ms/id/tenant`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    timestamp_ms: Reverse<i64>,
    id: Uuid,
    tenant: SmolStr,
}

impl Cursor {
    /// The place of that timestamp in milliseconds, id and tenant.
    pub fn new(timestamp_ms: i64, id: Uuid, tenant: impl Into<SmolStr>) -> Self {
        Self { timestamp_ms: Reverse(timestamp_ms), id, tenant: tenant.into() }
    }

    /// The place of a document.
    pub fn of(document: &StatementDocument) -> Self {
        Self::new(document.fields.timestamp_ms, document.id, document.tenant.clone())
    }

    /// The timestamp in milliseconds.
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms.0
    }

    /// The statement's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Whether a document of that timestamp and id stands behind this place, whatever its tenant.
    pub fn is_before(&self, timestamp_ms: i64, id: Uuid) -> bool {
        (self.timestamp_ms, self.id) < (Reverse(timestamp_ms), id)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.timestamp_ms.0, self.id, self.tenant)
    }
}

impl FromStr for Cursor {
    type Err = StatementsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let mut parse = || {
            let timestamp_ms = Reverse(parts.next()?.parse().ok()?);
            let id = parts.next()?.parse().ok()?;
            Some(Self { timestamp_ms, id, tenant: parts.next()?.into() })
        };
        parse().ok_or_else(|| {
            StatementsError::Refused(format!("{text:?} is no place in a search: hand back the last page's `next`"))
        })
    }
}

/// Checks what a search is asked for and reads its cursor.
pub fn check_search(limit: usize, after: Option<&str>) -> Result<Option<Cursor>, StatementsError> {
    if !(1..=1_000).contains(&limit) {
        return Err(StatementsError::Refused(format!("a page has 1 to 1,000 statements, not {limit}")));
    }
    after.map(str::parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_can_name_is_known_to_the_stores() {
        let one = || Some("one".to_owned());
        let everything = Filter {
            tenant: one(),
            from_ms: Some(0),
            to_ms: Some(1),
            verbs: vec!["one".into()],
            event_types: vec!["one".into()],
            actors: vec!["one".into()],
            actor_sha1: one(),
            object_types: vec!["one".into()],
            object: one(),
            survey: one(),
            registration: one(),
            include_voided: true,
        };
        let mut named: Vec<_> = everything.terms().flatten().map(|(name, _)| name).collect();
        let mut known = FILTERED;
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_stays_itself() {
        let long = "ü".repeat(MAX_TERM_BYTES);
        let (one, other) = (index_term(&long), format!("{long}!"));
        assert!(one.len() <= MAX_TERM_BYTES);
        assert_eq!(one, index_term(&long.clone()));
        assert_ne!(one, index_term(&other));
        assert_eq!(index_term("short"), "short");
    }

    #[test]
    fn a_cursor_is_read_back_from_its_own_text_whatever_the_tenant() {
        for tenant in ["", "a", "a/b", "ü\n"] {
            let cursor = Cursor::new(-5, Uuid::from_u128(7), tenant);
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert!("5/no-uuid/x".parse::<Cursor>().is_err_and(|error| error.to_string().contains("next")));
    }
}
