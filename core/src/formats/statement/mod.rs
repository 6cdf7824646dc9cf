//! xAPI statements in JSON. Both wire forms of the platform's topics are understood: a bare statement, and the wrapped message
//! `{"event_type", "xapi_data": {statement}, "metadata": {…}, …}` (see `wrapped.rs`).

use std::borrow::Cow;
use std::convert::Infallible;

use lyceum_xapi::equality;
use lyceum_xapi::statement::{Object, Statement};
use serde_json::Value;

use super::{Format, Opened};
use crate::catalog::{Known, known};
use crate::envelope::{Envelope, Hint, Invalid, Meant, Opening};
use crate::outcome::{DeadLetterKind, Finding};
use crate::ports::schemas::Schemas;
use crate::record::Record;

mod document;
pub mod field;
#[cfg(test)]
mod sample;
pub mod vocabulary;
mod wrapped;

pub use document::document;
use vocabulary::EXTENSIONS;

/// A statement or a wrapped message has at least one of these, however it is spelled.
const MEMBERS: [&str; 5] = ["actor", "verb", "object", "xapi_data", "event_type"];

/// The format of the platform's families.
#[derive(Clone, Copy, Debug)]
pub struct StatementFormat;

impl Format for StatementFormat {
    type Body<'a> = Statement<'a>;

    type Schema = Infallible;

    const LOOKS: &'static str =
        "an xAPI statement has actor, verb and object, a message with one xapi_data or event_type";

    fn looks_like(value: &[u8]) -> bool {
        super::has_member(value, |name| MEMBERS.iter().any(|member| member.eq_ignore_ascii_case(name)))
    }

    fn parse(_: &str) -> Result<Infallible, String> {
        Err("a statement is read by no schema".to_owned())
    }

    fn open<'a>(record: &'a Record, hint: Hint<'_>, _: &Schemas<Infallible>) -> Opened<'a, Statement<'a>> {
        let Some(value) = record.value.as_deref() else { return Opened::Tombstone };
        read(record, value, hint).into()
    }

    fn sameness(envelope: &Envelope<'_, Statement<'_>>, fields: &[u8]) -> [u8; 32] {
        equality::content_hash(envelope.raw, fields)
    }

    fn is_same(envelope: &Envelope<'_, Statement<'_>>, fields: &[u8], own: &[u8; 32], held: &[u8; 32]) -> bool {
        // The hash decides it, but for the keys of earlier releases.
        equality::same_content(held, own) || equality::is_former_hash(held, envelope.raw, fields)
    }
}

fn read<'a>(record: &'a Record, value: &'a [u8], hint: Hint<'_>) -> Result<(Known, Box<Envelope<'a>>), Box<Invalid>> {
    let mut opening = Opening::of(record, value, hint)?;
    let message = match wrapped::read(value) {
        Ok(message) => message,
        Err((kind, findings)) => {
            opening.extend(findings);
            let named = named_by_invalid(value, "/metadata/tenant_id").map(Cow::Owned);
            opening.find_tenant([("/metadata/tenant_id", named), ("", None)]);
            return Err(opening.invalid(kind));
        }
    };
    let (raw, pointer) = match &message {
        Some(message) => (message.statement, "/xapi_data"),
        None => (value, ""),
    };
    let verdict = lyceum_xapi::validate(raw, hint.config.xapi_version, &hint.config.statement);
    let kind = kind_of(&verdict.violations);
    opening.extend(verdict.violations.into_iter().map(|violation| {
        let mut finding = Finding::from(violation);
        finding.pointer.insert_str(0, pointer);
        finding
    }));
    if verdict.further > 0 {
        let message = format!("{} further violations are not listed", verdict.further);
        opening.finding("limit.violations", pointer, message);
    }
    let message = message.unwrap_or_default();
    let Some(statement) = verdict.statement else {
        let pointer = format!("/context/extensions/{}tenant_id", EXTENSIONS.replace('/', "~1"));
        let tenant_extension = named_by_invalid(raw, &pointer).map(Cow::Owned);
        opening.find_tenant([("/metadata/tenant_id", message.tenant_id), ("/context/extensions", tenant_extension)]);
        return Err(opening.invalid(kind));
    };
    let tenant_extension = field::extension_text(&statement.context.extensions, "tenant_id");
    if tenant_extension == Some(None) {
        opening.finding("field.type", "/context/extensions", "the extension tenant_id must be a string");
    }
    let tenant_extension = tenant_extension.flatten();
    opening.find_tenant([("/metadata/tenant_id", message.tenant_id), ("/context/extensions", tenant_extension)]);
    opening.judge_tenant("/metadata/tenant_id");
    opening.find_correlation_id(("/metadata/correlation_id", message.correlation_id));
    opening.find_id(statement.id, ("/metadata/event_id", message.event_id));
    let recognised = hint
        .catalog
        .event_types()
        .find(|(_, event_type)| event_type.statement.as_ref().is_some_and(|form| form.is_said_by(&statement)));
    let meant = recognised.map(|of| Meant { known: known(of), by: "verb and object" });
    let otherwise = hint.catalog.plain_statement();
    if let Err(kind) = opening.find_type(("/event_type", message.event_type), meant, otherwise) {
        return Err(opening.invalid(kind));
    }
    let occurred_at_ms = statement.timestamp_ms;
    opening.finish(statement, raw, pointer, occurred_at_ms)
}

/// The tenant that an invalid value names there, as far as that can be read: its letter is that tenant's.
fn named_by_invalid(value: &[u8], pointer: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(value).ok()?;
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

/// Bytes that are no JSON are a matter of decoding, what is over a limit has a name of its own, the rest is validation.
fn kind_of(violations: &[lyceum_xapi::Violation]) -> DeadLetterKind {
    let all = |prefix: &str| violations.iter().all(|violation| violation.rule.starts_with(prefix));
    if violations.is_empty() {
        DeadLetterKind::Validation
    } else if all("json.") {
        DeadLetterKind::Decode
    } else if all("limit.") {
        DeadLetterKind::Oversized
    } else {
        DeadLetterKind::Validation
    }
}

impl<'a> Envelope<'a> {
    /// The last segment of the object's activity IRI.
    pub fn object_id(&self) -> Option<&str> {
        match &self.body.object {
            Object::Activity(activity) => vocabulary::last_segment(&activity.id),
            _ => None,
        }
    }

    /// The extension `http://nlj.platform/extensions/<name>`, looked for in context, object definition and result.
    pub fn extension(&self, name: &str) -> Option<(&'static str, &'a [u8])> {
        let statement = &self.body;
        let definition = match &statement.object {
            Object::Activity(activity) => activity.extensions.as_slice(),
            _ => &[],
        };
        let places = [
            ("/context/extensions", statement.context.extensions.as_slice()),
            ("/object/definition/extensions", definition),
            ("/result/extensions", statement.result.extensions.as_slice()),
        ];
        places.into_iter().find_map(|(place, extensions)| {
            let is_it = |key: &str| key.strip_prefix(EXTENSIONS) == Some(name);
            extensions.iter().find(|(key, _)| is_it(key)).map(|(_, raw)| (place, *raw))
        })
    }
}

#[cfg(test)]
mod tests {
    use lyceum_xapi::Version;
    use serde_json::{Value, json};

    use super::sample::{self, catalog, opened, places, record, statement};
    use super::*;
    use crate::envelope::EnvelopeConfig;

    fn kind_and_places(value: impl ToString) -> (DeadLetterKind, Vec<(String, String)>) {
        opened(&record(value), |opened| {
            let Opened::Invalid(invalid) = opened else { panic!("{opened:?}") };
            let own = |(rule, place): &(&str, &str)| ((*rule).to_owned(), (*place).to_owned());
            (invalid.kind, places(&invalid).iter().map(own).collect())
        })
    }

    fn hex(text: &str) -> [u8; 32] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..][..2], 16).expect("hex digits"))
    }

    /// What is read of a valid statement.
    fn with<T>(members: Value, read: impl FnOnce(&Envelope<'_>) -> T) -> T {
        opened(&record(statement(members)), |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            read(&envelope)
        })
    }

    #[test]
    fn a_record_without_a_value_is_a_tombstone() {
        let record = Record { value: None, ..record("") };
        opened(&record, |opened| assert!(matches!(opened, Opened::Tombstone), "{opened:?}"));
    }

    #[test]
    fn a_bare_statement_and_a_wrapped_one_are_the_same_event() {
        let bare = statement(json!({"timestamp": "2026-03-01T09:00:00Z"}));
        let wrapped = json!({"event_type": "statement", "xapi_data": bare, "metadata": {"tenant_id": "acme"}});
        for (value, pointer, tenant) in [(&bare, "", "default"), (&wrapped, "/xapi_data", "acme")] {
            opened(&record(value), |opened| {
                let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
                assert_eq!((envelope.pointer, &*envelope.tenant), (pointer, tenant));
                assert_eq!((envelope.id, envelope.occurred_at_ms), (sample::ID.parse().unwrap(), 1_772_355_600_000));
                assert_eq!((envelope.event_type, envelope.raw), ("statement", bare.to_string().as_bytes()));
            });
        }
    }

    #[test]
    fn a_tenant_may_stand_in_an_extension_of_the_context_under_the_platforms_name_only() {
        let tenant = |extensions: Value| {
            with(json!({"context": {"extensions": extensions}}), |envelope| envelope.tenant.to_string())
        };
        let own = format!("{EXTENSIONS}tenant_id");
        assert_eq!(tenant(json!({"http://elsewhere.example/tenant_id": "umbrella", own: "acme"})), "acme");
        assert_eq!(tenant(json!({"http://elsewhere.example/tenant_id": "umbrella"})), "default");
    }

    #[test]
    fn what_is_wrong_with_a_wrapped_statement_is_shown_where_it_stands_in_the_message() {
        let statement = statement(json!({"verb": {"id": "no IRI"}}));
        let place = |value: &Value| kind_and_places(value).1.remove(0).1;
        assert_eq!(place(&statement), "/verb/id");
        assert_eq!(place(&json!({"event_type": "statement", "xapi_data": statement})), "/xapi_data/verb/id");
    }

    #[test]
    fn bytes_that_are_no_json_do_not_decode_and_a_text_over_a_limit_is_oversized() {
        assert_eq!(kind_and_places("{").0, DeadLetterKind::Decode);
        let long = json!({"result": {"response": "x".repeat(300 * 1024)}});
        assert_eq!(kind_and_places(statement(long)).0, DeadLetterKind::Oversized);
        assert_eq!(kind_and_places(statement(json!({"verb": 1}))).0, DeadLetterKind::Validation);
        assert_eq!(kind_of(&[]), DeadLetterKind::Validation);
    }

    #[test]
    fn a_statement_with_more_violations_than_are_listed_says_so_and_one_with_exactly_as_many_does_not() {
        let wrong = |count: usize| {
            let members = (0..count).map(|number| (format!("unknown{number}"), json!(1))).collect();
            kind_and_places(statement(Value::Object(members))).1
        };
        let most = EnvelopeConfig::default().statement.violations;
        let limit = ("limit.violations".to_owned(), String::new());
        let (as_many, more) = (wrong(most), wrong(most + 2));
        assert!(as_many.len() == most && !as_many.contains(&limit));
        assert!(more.len() == most + 1 && more.contains(&limit));
    }

    #[test]
    fn what_has_a_members_name_of_a_statement_or_a_message_looks_like_one_however_wrong_it_is() {
        for value in [r#"{"Verb": 1}"#, r#"{"id": 1, "xapi_data": {}}"#, r#"{"actor": {"#] {
            assert!(StatementFormat::looks_like(value.as_bytes()), "{value}");
        }
        for value in [r#"{"after": [], "shows": [{"actor": 1}]}"#, "42", r#"["actor"]"#, "actor,verb,object", ""] {
            assert!(!StatementFormat::looks_like(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn a_version_that_is_asked_for_decides_which_rules_hold() {
        let context_agents = json!([{"objectType": "contextAgent", "agent": {"mbox": "mailto:a@example.com"}}]);
        let newer = record(statement(json!({"context": {"contextAgents": context_agents}})));
        let is_valid_by = |version| {
            let config = EnvelopeConfig { xapi_version: Some(version), ..EnvelopeConfig::default() };
            let hint = Hint { family: None, catalog: &catalog(), config: &config };
            matches!(StatementFormat::open(&newer, hint, &Schemas::default()), Opened::Event(_))
        };
        assert!(is_valid_by(Version::V2_0));
        assert!(!is_valid_by(Version::V1_0_3));
    }

    #[test]
    fn what_makes_two_events_the_same_is_the_statement_and_what_the_family_reads_of_it() {
        let hash =
            |members: Value, fields: &[u8]| with(members, |envelope| StatementFormat::sameness(envelope, fields));
        let own = hash(json!({}), b"a");
        assert_eq!(own, hash(json!({"stored": "2026-03-01T09:00:00Z"}), b"a"));
        assert_ne!(own, hash(json!({"result": {"success": true}}), b"a"));
        assert_ne!(own, hash(json!({}), b"b"));
    }

    #[test]
    fn an_event_is_the_same_by_its_hash_or_by_the_one_of_an_earlier_release() {
        let sameness = |members: Value| with(members, |envelope| StatementFormat::sameness(envelope, b"a"));
        // What an earlier release's key holds of the statement below.
        let former = hex("b8b3220f51dac78a87d595c2cba190dcb8b5d4fd362f27a3a09a1537a64e4c20");
        with(json!({"timestamp": "2026-03-01T09:00:00Z"}), |envelope| {
            let own = StatementFormat::sameness(envelope, b"a");
            let untimed = sameness(json!({}));
            let other = sameness(json!({"result": {"success": true}}));
            let is_same = |held| StatementFormat::is_same(envelope, b"a", &own, held);
            assert_eq!([&own, &untimed, &former, &other].map(is_same), [true, true, true, false]);
        });
    }

    #[test]
    fn an_objects_id_is_the_last_segment_of_an_activitys_iri() {
        assert_eq!(with(json!({}), |envelope| envelope.object_id().map(str::to_owned)), Some("7".into()));
        let person = json!({"object": {"objectType": "Agent", "mbox": "mailto:bob@example.com"}});
        assert_eq!(with(person, |envelope| envelope.object_id().map(str::to_owned)), None);
    }

    #[test]
    fn an_extension_is_looked_for_in_context_object_and_result_in_that_order() {
        let name = format!("{EXTENSIONS}room");
        let other = format!("{EXTENSIONS}floor");
        let all = [
            ("/context/extensions", json!({"context": {"extensions": {&other: 9, &name: 1}}})),
            (
                "/object/definition/extensions",
                json!({"object": {"id": "http://lms.example.com/7", "definition": {"extensions": {&name: 2}}}}),
            ),
            ("/result/extensions", json!({"result": {"extensions": {&name: 3}}})),
        ];
        let found = |members: Value| {
            with(members, |envelope| envelope.extension("room").map(|(place, raw)| (place, raw.to_vec())))
        };
        for (from, value) in [(0, b"1"), (1, b"2"), (2, b"3")] {
            let members = all[from..].iter().flat_map(|(_, members)| members.as_object().cloned().unwrap_or_default());
            assert_eq!(found(Value::Object(members.collect())), Some((all[from].0, value.to_vec())));
        }
        assert_eq!(found(json!({"context": {"extensions": {other: 9}}})), None);
    }
}
