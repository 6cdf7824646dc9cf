//! Reading a family's own fields from a valid statement: every field that is missing or wrong becomes a finding.

use std::borrow::Cow;

use serde::Deserialize;
use smol_str::{SmolStr, ToSmolStr};
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
    pub fn object_id(&mut self, name: &str) -> SmolStr {
        let id = self.envelope.object_id().map(SmolStr::new);
        if let Some(id) = id.as_ref().filter(|id| id.len() > MAX_ID_BYTES) {
            let message = format!("{name} has {} bytes, and an id may have {MAX_ID_BYTES}", id.len());
            self.wrong("field.range", "/object/id", message);
        }
        self.required(id, "/object/id", || {
            format!("{name} is the last segment of the object's activity IRI, and there is none")
        })
    }

    /// The object's activity IRI, or the part of it that `id_of` takes for the id; at most [`MAX_IRI_BYTES`].
    pub fn object_iri(&mut self, name: &str, id_of: fn(&str) -> &str) -> SmolStr {
        let id = match &self.envelope.body.object {
            Object::Activity(activity) => Some(SmolStr::new(id_of(&activity.id))),
            _ => None,
        };
        if let Some(id) = id.as_ref().filter(|id| id.len() > MAX_IRI_BYTES) {
            let message = format!("{name} has {} bytes, and an IRI may have {MAX_IRI_BYTES} here", id.len());
            self.wrong("field.range", "/object/id", message);
        }
        self.required(id, "/object/id", || format!("{name} is the object's activity IRI, and there is none"))
    }

    /// A text or a whole number under the extension of that name, at most [`MAX_ID_BYTES`].
    pub fn id(&mut self, name: &str) -> SmolStr {
        let id = match self.envelope.extension(name) {
            None => None,
            Some((place, raw)) => self.id_text(name, place, raw),
        };
        self.required(id, "/context/extensions", || format!("the extension {EXTENSIONS}{name} is required"))
    }

    fn id_text(&mut self, name: &str, place: &str, raw: &[u8]) -> Option<SmolStr> {
        let text = serde_json::from_slice(raw).ok().or_else(|| whole_number(raw).map(|number| number.to_smolstr()));
        if text.as_deref().is_none_or(|text| text.is_empty() || text.len() > MAX_ID_BYTES) {
            self.wrong(
                "field.type",
                place,
                format!("{name} must be a non-empty string of at most {MAX_ID_BYTES} bytes, or a whole number"),
            );
            return Some(SmolStr::default());
        }
        text
    }

    /// The same, where it is there.
    pub fn optional_id(&mut self, name: &str) -> Option<SmolStr> {
        let (place, raw) = self.envelope.extension(name)?;
        self.id_text(name, place, raw)
    }

    /// A UUID under the extension of that name, where it is there.
    pub fn optional_uuid(&mut self, name: &str) -> Option<Uuid> {
        let (place, raw) = self.envelope.extension(name)?;
        let uuid = text_of(raw).and_then(|text| lyceum_xapi::uuid::parse(&text));
        if uuid.is_none() {
            self.wrong("field.type", place, format!("{name} must be a UUID (8-4-4-4-12 hex digits)"));
        }
        uuid
    }

    /// A text that is not empty under the extension of that name.
    pub fn text(&mut self, name: &str) -> String {
        let text = self.optional_text(name);
        let is_there = self.envelope.extension(name).is_some();
        if is_there {
            return text.unwrap_or_default();
        }
        self.required(text, "/context/extensions", || format!("the extension {EXTENSIONS}{name} is required"))
    }

    /// The same, where it is there.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        let (place, raw) = self.envelope.extension(name)?;
        let text = text_of(raw).filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.wrong("field.type", place, format!("{name} must be a text that is not empty"));
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

    /// The same, where it is there.
    pub fn optional_whole_number(&mut self, name: &str) -> Option<u64> {
        self.envelope.extension(name).is_some().then(|| self.whole_number(name, 0))
    }

    /// A whole number from 0 to 100 under the extension of that name.
    pub fn percent(&mut self, name: &str) -> u8 {
        let number = self.whole_number(name, 0);
        u8::try_from(number).ok().filter(|percent| *percent <= 100).unwrap_or_else(|| {
            let place = self.envelope.extension(name).map_or("", |(place, _)| place);
            self.wrong("field.range", place, format!("{name} is {number}, and must be from 0 to 100"));
            0
        })
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
    pub fn learner(&mut self) -> SmolStr {
        let learner = self.envelope.body.actor.ifi.as_ref().map(|ifi| ifi.canonical().into());
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

/// The text of one of the platform's extensions, where it is there; `None` of one that is no text.
pub(super) fn extension_text<'a>(extensions: &Extensions<'a>, name: &str) -> Option<Option<Cow<'a, str>>> {
    let (_, raw) = extensions.iter().find(|(key, _)| key.strip_prefix(EXTENSIONS) == Some(name))?;
    Some(text_of(raw).map(Cow::Owned))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::vocabulary::survey_id;
    use super::*;
    use crate::formats::Opened;
    use crate::formats::statement::sample::{opened, record, statement};

    /// A rule and a place.
    type At = (String, String);

    fn at(rule: &str, pointer: &str) -> Vec<At> {
        vec![(rule.to_owned(), pointer.to_owned())]
    }

    /// What is read of a record's statement, and what was wrong with it.
    fn reading_of<T>(value: &Value, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> (T, Vec<At>) {
        opened(&record(value), |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            let mut fields = Fields::of(&envelope);
            assert!(fields.are_complete());
            let read = read(&mut fields);
            let is_complete = fields.are_complete();
            let findings = fields.finish(()).err().unwrap_or_default();
            assert_eq!(is_complete, findings.is_empty());
            (read, findings.into_iter().map(|finding| (finding.rule.into_owned(), finding.pointer)).collect())
        })
    }

    fn reading<T>(members: Value, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> (T, Vec<At>) {
        reading_of(&statement(members), read)
    }

    /// The extension `x` of the context.
    fn extended<T>(value: Value, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> (T, Vec<At>) {
        reading(json!({"context": {"extensions": {format!("{EXTENSIONS}x"): value}}}), read)
    }

    fn about(iri: String) -> Value {
        json!({"object": {"id": iri}})
    }

    fn a_person() -> Value {
        json!({"object": {"objectType": "Agent", "mbox": "mailto:bob@example.com"}})
    }

    #[test]
    fn an_id_in_an_iri_may_have_its_bytes_and_not_one_more() {
        let id = |bytes: usize| {
            reading(about(format!("http://lms.example.com/{}", "x".repeat(bytes))), |fields| fields.object_id("id"))
        };
        assert_eq!(id(1), ("x".into(), vec![]));
        assert_eq!(id(MAX_ID_BYTES), ("x".repeat(MAX_ID_BYTES).into(), vec![]));
        assert_eq!(id(MAX_ID_BYTES + 1).1, at("field.range", "/object/id"));
        assert_eq!(
            reading(a_person(), |fields| fields.object_id("id")),
            (SmolStr::default(), at("field.required", "/object/id"))
        );
    }

    #[test]
    fn a_text_is_not_empty_and_a_percentage_not_above_a_hundred() {
        let place = "/context/extensions";
        assert_eq!(extended(json!("why"), |fields| fields.text("x")), ("why".to_owned(), vec![]));
        assert_eq!(reading(json!({}), |fields| fields.text("x")).1, at("field.required", "/context/extensions"));
        assert_eq!(reading(json!({}), |fields| fields.optional_text("x")), (None, vec![]));
        for wrong in [json!(""), json!("  "), json!(1), json!(null)] {
            assert_eq!(extended(wrong.clone(), |fields| fields.text("x")).1, at("field.type", place), "{wrong}");
            assert_eq!(extended(wrong, |fields| fields.optional_text("x")), (None, at("field.type", place)));
        }
        for (percent, found) in [(json!(0), 0), (json!(100), 100), (json!(50.0), 50)] {
            assert_eq!(extended(percent, |fields| fields.percent("x")), (found, vec![]));
        }
        for above in [101, 300] {
            assert_eq!(extended(json!(above), |fields| fields.percent("x")).1, at("field.range", place));
        }
        assert_eq!(extended(json!(-1), |fields| fields.percent("x")).1, at("field.type", place));
        assert_eq!(reading(json!({}), |fields| fields.optional_whole_number("x")), (None, vec![]));
        assert_eq!(extended(json!(7), |fields| fields.optional_whole_number("x")), (Some(7), vec![]));
        assert_eq!(reading(json!({}), |fields| fields.optional_id("x")), (None, vec![]));
        assert_eq!(reading(json!({}), |fields| fields.optional_uuid("x")), (None, vec![]));
        assert_eq!(extended(json!(Uuid::nil()), |fields| fields.optional_uuid("x")), (Some(Uuid::nil()), vec![]));
        assert_eq!(extended(json!("7"), |fields| fields.optional_uuid("x")), (None, at("field.type", place)));
        assert_eq!(extended(json!("m"), |fields| fields.optional_id("x")), (Some("m".into()), vec![]));
    }

    #[test]
    fn an_iri_that_a_state_keeps_may_have_its_bytes_and_not_one_more() {
        let begin = "http://lms.example.com/";
        let iri = |bytes: usize| {
            let iri = format!("{begin}{}", "x".repeat(bytes - begin.len()));
            reading(about(iri), |fields| fields.object_iri("survey", survey_id))
        };
        assert_eq!(iri(begin.len() + 1), (format!("{begin}x").into(), vec![]));
        assert_eq!(iri(MAX_IRI_BYTES).1, vec![]);
        assert_eq!(iri(MAX_IRI_BYTES + 1).1, at("field.range", "/object/id"));
        let own = about("http://nlj.platform/activities/survey/pulse".to_owned());
        assert_eq!(reading(own, |fields| fields.object_iri("survey", survey_id)), ("pulse".into(), vec![]));
        let none = (SmolStr::default(), at("field.required", "/object/id"));
        assert_eq!(reading(a_person(), |fields| fields.object_iri("survey", survey_id)), none);
    }

    #[test]
    fn an_id_in_an_extension_is_a_text_of_few_bytes_or_a_whole_number() {
        let id = |value: Value| extended(value, |fields| fields.id("x"));
        let wrong = (SmolStr::default(), at("field.type", "/context/extensions"));
        assert_eq!(id(json!("s1")), ("s1".into(), vec![]));
        assert_eq!(id(json!(17)), ("17".into(), vec![]));
        assert_eq!(id(json!("x".repeat(MAX_ID_BYTES))), ("x".repeat(MAX_ID_BYTES).into(), vec![]));
        for value in [json!("x".repeat(MAX_ID_BYTES + 1)), json!(""), json!(["s1"]), json!(1.5)] {
            assert_eq!(id(value), wrong);
        }
        let none = (SmolStr::default(), at("field.required", "/context/extensions"));
        assert_eq!(reading(json!({}), |fields| fields.id("x")), none);
    }

    #[test]
    fn an_instant_is_a_timestamp_with_a_zone() {
        let instant = |value: Value| extended(value, |fields| fields.instant_ms("x"));
        assert_eq!(instant(json!("2026-03-01T10:00:00+01:00")), (1_772_355_600_000, vec![]));
        for value in [json!("2026-03-01"), json!(1_772_355_600_000_i64)] {
            assert_eq!(instant(value), (0, at("field.type", "/context/extensions")));
        }
        let none = (0, at("field.required", "/context/extensions"));
        assert_eq!(reading(json!({}), |fields| fields.instant_ms("x")), none);
    }

    #[test]
    fn a_number_is_whole_and_not_less_than_the_least_however_it_is_written() {
        let number = |text: &str, least: u64| {
            let value = serde_json::from_str(text).expect("JSON");
            extended(value, |fields| fields.whole_number("x", least))
        };
        for (text, least, read) in [("3", 3, 3), ("4", 3, 4), ("5.0", 3, 5), ("1e3", 3, 1_000), ("0.0", 0, 0)] {
            assert_eq!(number(text, least), (read, vec![]), "{text}");
        }
        assert_eq!(number("2", 3), (3, at("field.range", "/context/extensions")));
        for text in ["1.5", "-5", "-5.0", "9e15", "1e300", "\"3\"", "null"] {
            assert_eq!(number(text, 0), (0, at("field.type", "/context/extensions")), "{text}");
            assert_eq!(number(text, 3).0, 3, "{text}");
        }
        let none = (3, at("field.required", "/context/extensions"));
        assert_eq!(reading(json!({}), |fields| fields.whole_number("x", 3)), none);
    }

    #[test]
    fn a_title_is_an_activitys_name_and_not_empty() {
        let title = |definition: Value| {
            let object = json!({"object": {"id": "http://lms.example.com/7", "definition": definition}});
            reading(object, |fields| fields.title())
        };
        let none = (String::new(), at("field.required", "/object/definition/name"));
        assert_eq!(title(json!({"name": {"de": "Kurs", "en": "Course"}})), ("Course".to_owned(), vec![]));
        assert_eq!(title(json!({"name": {"en": ""}})), none);
        assert_eq!(title(json!({})), none);
        assert_eq!(reading(a_person(), |fields| fields.title()), none);
    }

    #[test]
    fn a_learner_is_an_identified_actor() {
        assert_eq!(reading(json!({}), |fields| fields.learner()), ("mbox:ada@example.com".into(), vec![]));
        let group = json!({"actor": {"objectType": "Group", "member": [{"mbox": "mailto:ada@example.com"}]}});
        assert_eq!(reading(group, |fields| fields.learner()), (SmolStr::default(), at("field.required", "/actor")));
    }

    #[test]
    fn a_registration_is_required_where_it_is_asked_for() {
        let registration = "16fd2706-8baf-433b-82eb-8c7fada847da";
        let given = reading(json!({"context": {"registration": registration}}), |fields| fields.registration());
        assert_eq!(given, (registration.parse().expect("a UUID"), vec![]));
        let none = (Uuid::nil(), at("field.required", "/context/registration"));
        assert_eq!(reading(json!({}), |fields| fields.registration()), none);
    }

    #[test]
    fn every_finding_is_kept_and_stands_at_its_place_in_the_message() {
        let wrapped = json!({"event_type": "statement", "xapi_data": statement(json!({}))});
        let (read, found) = reading_of(&wrapped, |fields| {
            fields.wrong_order("/context/extensions", "the end is before the beginning");
            (fields.required(Some(7), "/a", String::new), fields.required(None::<u8>, "/b", String::new))
        });
        assert_eq!(read, (7, 0));
        let both = [at("field.order", "/xapi_data/context/extensions"), at("field.required", "/xapi_data/b")];
        assert_eq!(found, both.concat());
    }

    #[test]
    fn what_was_read_is_given_where_nothing_is_wrong() {
        opened(&record(statement(json!({}))), |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            assert_eq!(Fields::of(&envelope).finish(7).ok(), Some(7));
        });
    }

    #[test]
    fn a_text_in_an_extension_is_found_by_its_whole_name() {
        let text = |name: &str| {
            let own = format!("{EXTENSIONS}x");
            let extensions = json!({"http://elsewhere.example/x": "other", own: "own", format!("{EXTENSIONS}n"): 1});
            let record = record(statement(json!({"context": {"extensions": extensions}})));
            opened(&record, |opened| {
                let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
                extension_text(&envelope.body.context.extensions, name).map(|text| text.map(Cow::into_owned))
            })
        };
        assert_eq!([text("x"), text("y"), text("n")], [Some(Some("own".to_owned())), None, Some(None)]);
    }
}
