//! What an event is, by the very code of its consumers: whether they can read it, under which key it keeps its order, and by which id a
//! second copy is known. Pure but for the id that an event gets which brings none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use lyceum_catalog::PAYLOADS;
use lyceum_core::catalog::Catalog;
use lyceum_core::envelope::{EVENT_ID_HEADER, SECRET_RULE, finding, own_header};
use lyceum_core::outcome::Finding;
use lyceum_core::payload::Form;
use lyceum_core::record::{Header, NewRecord, Position, Record};
use lyceum_functions::{Look, Looked};
use uuid::Uuid;

use crate::event::Event;
use crate::settings::{Check, PublisherSettings};
use crate::strict;

/// Judges events.
pub struct Judge {
    look: Look,
    catalog: Catalog,
    check: Check,
    is_strict: bool,
}

/// An event as it goes to the stream, and what is wrong with it.
#[derive(Debug)]
pub struct Judged {
    /// Its topic.
    pub topic: String,
    /// The record.
    pub record: NewRecord,
    /// Its id, where it could be read.
    pub id: Option<Uuid>,
    /// All that its consumers would find wrong.
    pub findings: Vec<Finding>,
    /// Whether it is not sent for that.
    pub is_refused: bool,
}

impl Judged {
    /// What is wrong, in one line.
    pub fn told(&self) -> String {
        let one = |of: &Finding| match &*of.pointer {
            "" => format!("{}: {}", of.rule, of.message),
            pointer => format!("{} at {pointer}: {}", of.rule, of.message),
        };
        self.findings.iter().take(5).map(one).collect::<Vec<_>>().join("; ")
    }

    /// Whether it may hold a secret, of which no copy is made.
    pub fn may_hold_a_secret(&self) -> bool {
        self.findings.iter().any(|of| of.rule == SECRET_RULE)
    }
}

impl Judge {
    /// By the families of this release.
    pub fn new(settings: &PublisherSettings) -> Self {
        Self {
            look: Look::new(settings.envelope.clone()),
            catalog: lyceum_catalog::catalog(),
            check: settings.check,
            is_strict: settings.strict_statements,
        }
    }

    /// Judges an event that was published at that time, in milliseconds since 1970.
    pub fn judge(&self, event: Event, now_ms: i64) -> Judged {
        let Event { topic, key, headers, value } = event;
        let record = Record {
            position: Position::new(&*topic, 0, 0),
            timestamp_ms: now_ms.max(1),
            key: None,
            value: Some(value.clone()),
            headers,
        };
        let mut findings = Vec::new();
        // What a sender may never do, whether payloads are judged or not.
        if let Some(name) = own_header(record.headers.iter().map(|header| &*header.name)) {
            let message = format!("headers that begin with lyceum- are Lyceum's own; leave {name:?} out");
            findings.push(finding("publish.header", "", message));
        }
        if self.catalog.dead_letter_topics().contains(&&*topic) {
            let message =
                format!("{topic} holds dead letters, which Lyceum alone writes: publish to the event's own topic");
            findings.push(finding("publish.topic", "", message));
        }
        let is_forbidden = !findings.is_empty();
        let of_topic = self.catalog.family_of_topic(&topic);
        if of_topic.is_none() && !is_forbidden {
            let known = self.catalog.families().iter().flat_map(|family| family.topics.iter().map(|of| of.name));
            let known = known.collect::<Vec<_>>().join(", ");
            findings.push(finding(
                "publish.topic",
                "",
                format!("no family takes events from topic {topic}; there are: {known}"),
            ));
        }
        // A family that panics must not take the program's events with it.
        let looked = catch_unwind(AssertUnwindSafe(|| self.look.at(&record))).unwrap_or_else(|_| {
            tracing::error!(topic, "the check itself failed on an event; report it with the event's bytes");
            Looked::Tombstone
        });
        let (mut read_key, mut id, mut has_id, mut pointer) = (None, None, true, "");
        match looked {
            Looked::Event(seen) => {
                if seen.known.topic != topic && of_topic.is_some() {
                    let (name, belongs) = (seen.known.name, seen.known.topic);
                    let message =
                        format!("events of type {name} belong on topic {belongs}, and this one is for {topic}");
                    findings.push(finding("event-type.topic", seen.pointer, message));
                }
                match seen.read {
                    Ok(read) => read_key = Some(Bytes::from(read.key)),
                    Err(wrong) => findings.extend(wrong),
                }
                (id, has_id, pointer) = (Some(seen.id), seen.has_id, seen.pointer);
            }
            Looked::Invalid(invalid) if of_topic.is_some() => findings.extend(invalid.findings),
            // Of another's topic nothing is known; a schema that only a registry has is for the function to judge.
            Looked::Invalid(_) | Looked::Tombstone | Looked::Missing(_) => {}
        }
        if self.is_strict
            && findings.is_empty()
            && of_topic.is_some_and(|family| form_of(family.name) == Some(Form::Statement))
        {
            findings.extend(strict::judge(body(&value, pointer), pointer));
        }
        let mut headers = record.headers;
        if let Some(id) = id.as_mut().filter(|_| !has_id) {
            // By it a copy that is sent again is known; its place on the topic would be another one.
            *id = Uuid::new_v4();
            headers.push(Header::new(EVENT_ID_HEADER, id.to_string()));
        }
        if self.check == Check::Off && !is_forbidden {
            findings.clear();
        }
        let is_refused = is_forbidden || self.check == Check::On && !findings.is_empty();
        let timestamp_ms = Some(record.timestamp_ms);
        let record = NewRecord { partition: None, key: key.or(read_key), value: Some(value), headers, timestamp_ms };
        Judged { topic, record, id, findings, is_refused }
    }
}

fn form_of(family: &str) -> Option<Form> {
    PAYLOADS.iter().find(|(of, _)| of.name == family).map(|(_, payloads)| payloads.form)
}

/// The statement: the whole value, or what stands in a wrapped message.
fn body<'v>(value: &'v Bytes, pointer: &str) -> &'v [u8] {
    #[derive(serde::Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        xapi_data: &'a serde_json::value::RawValue,
    }
    match serde_json::from_slice::<Wrapped<'_>>(value) {
        Ok(wrapped) if !pointer.is_empty() => wrapped.xapi_data.get().as_bytes(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use lyceum_core::record::header_text;
    use serde_json::{Value, json};

    use super::*;

    fn judge(check: Check, is_strict: bool) -> Judge {
        Judge::new(&PublisherSettings { check, strict_statements: is_strict, ..PublisherSettings::default() })
    }

    fn statement() -> Value {
        json!({
            "actor": {"mbox": "mailto:ada@example.com"}, "verb": {"id": "http://example.com/did"},
            "object": {"id": "http://example.com/it"},
        })
    }

    fn rules(judged: &Judged) -> Vec<&str> {
        judged.findings.iter().map(|of| &*of.rule).collect()
    }

    const STATEMENTS: &str = "nlj.xapi.statements";

    /// Every sample of `events/` whose topic is its family's first, valid or not: what the check says is what its function says.
    #[test]
    fn the_samples_of_every_family_are_judged_as_their_functions_judge_them() {
        let judge = judge(Check::On, false);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
        let mut judged_valid = BTreeSet::new();
        for family in lyceum_catalog::FAMILIES {
            for of in family.event_types {
                for end in ["", ".bare", ".wrapped"] {
                    let file = root.join(family.name).join("valid").join(format!("{}{end}.json", of.name));
                    let Ok(value) = std::fs::read(&file) else { continue };
                    let judged = judge.judge(Event::new(of.topic, value.clone()), 1);
                    assert!(!judged.is_refused && judged.record.key.is_some(), "{}: {}", file.display(), judged.told());
                    assert_eq!(judged.record.value.as_deref(), Some(&value[..]), "byte for byte");
                    judged_valid.insert(family.name);
                }
            }
        }
        let with_types = lyceum_catalog::FAMILIES.iter().filter(|family| !family.event_types.is_empty());
        assert_eq!(judged_valid, with_types.map(|family| family.name).collect());
        let wrong = std::fs::read(root.join("statement/invalid/score-below-min.json")).unwrap();
        let judged = judge.judge(Event::new(STATEMENTS, wrong), 1);
        assert!(judged.is_refused && !judged.findings.is_empty());
    }

    #[test]
    fn an_event_without_an_id_gets_one_and_one_with_an_id_keeps_it() {
        let judge = judge(Check::On, false);
        let judged = judge.judge(Event::json(STATEMENTS, &statement()).unwrap(), 1);
        let given = header_text(&judged.record.headers, EVENT_ID_HEADER).unwrap();
        assert_eq!(judged.id.unwrap().to_string(), given);
        // Its function reads that one.
        let mut record = Event::json(STATEMENTS, &statement()).unwrap();
        record.headers = judged.record.headers.clone();
        let again = judge.judge(record, 2);
        assert_eq!((again.id, again.record.headers.len()), (judged.id, 1));
        let own = Uuid::from_u128(7);
        let mut with_id = statement();
        with_id["id"] = json!(own);
        let judged = judge.judge(Event::json(STATEMENTS, &with_id).unwrap(), 1);
        assert_eq!((judged.id, judged.record.headers.len()), (Some(own), 0));
    }

    #[test]
    fn the_key_is_the_familys_unless_the_program_gives_one() {
        let judge = judge(Check::On, false);
        let event = || Event::json(STATEMENTS, &statement()).unwrap();
        assert_eq!(judge.judge(event(), 1).record.key.as_deref(), Some(&b"mbox:ada@example.com"[..]));
        assert_eq!(judge.judge(event().with_key("own"), 1).record.key.as_deref(), Some(&b"own"[..]));
    }

    #[test]
    fn what_is_wrong_is_refused_or_told_or_not_looked_at_as_the_setting_says() {
        let wrong = || Event::new(STATEMENTS, r#"{"actor": {}}"#);
        for (check, is_refused, has_findings) in
            [(Check::On, true, true), (Check::Warn, false, true), (Check::Off, false, false)]
        {
            let judged = judge(check, false).judge(wrong(), 1);
            assert_eq!((judged.is_refused, !judged.findings.is_empty()), (is_refused, has_findings), "{check:?}");
        }
    }

    #[test]
    fn an_event_on_the_topic_of_another_family_is_refused_with_where_it_belongs() {
        let value = std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/mission/valid/mission.created.json"),
        )
        .unwrap();
        for (topic, rule) in [("security.alerts.v1", "event-type.topic"), ("mission.event.v1", "publish.topic")] {
            let judged = judge(Check::On, false).judge(Event::new(topic, value.clone()), 1);
            assert!(judged.is_refused && rules(&judged) == [rule], "{}", judged.told());
            assert!(judged.told().contains("mission.events.v1"), "{}", judged.told());
        }
        let elsewhere = judge(Check::Off, false).judge(Event::new("of.ours", value), 1);
        assert!(!elsewhere.is_refused && elsewhere.record.key.is_some());
    }

    #[test]
    fn what_only_lyceum_may_write_is_refused_even_where_nothing_is_judged() {
        for check in [Check::On, Check::Warn, Check::Off] {
            let judge = judge(check, false);
            let header = Event::json(STATEMENTS, &statement()).unwrap().with_header("Lyceum-Hops", "1");
            assert_eq!(rules(&judge.judge(header, 1)), ["publish.header"], "{check:?}");
            let letter = judge.judge(Event::new("nlj.errors.validation", "{}"), 1);
            assert!(letter.is_refused && rules(&letter).contains(&"publish.topic"), "{check:?}");
        }
    }

    #[test]
    fn the_strict_profile_holds_for_statements_alone_bare_or_wrapped_where_it_is_asked_for() {
        let mut own = statement();
        own["id"] = json!(Uuid::from_u128(7));
        own["version"] = json!("1.0.3");
        own["timestamp"] = json!("2026-03-01T09:00:00Z");
        own["actor"]["objectType"] = json!("Agent");
        let wrapped = |of: &Value| json!({"event_type": "statement", "xapi_data": of});
        let judge_it =
            |is_strict, of: &Value| judge(Check::On, is_strict).judge(Event::json(STATEMENTS, of).unwrap(), 1);
        for of in [&own, &wrapped(&own)] {
            assert_eq!(rules(&judge_it(true, of)), [""; 0]);
        }
        for of in [&statement(), &wrapped(&statement())] {
            assert_eq!(rules(&judge_it(false, of)), [""; 0]);
            let judged = judge_it(true, of);
            assert_eq!(rules(&judged), ["strict.id", "strict.version", "strict.timestamp", "strict.actor"]);
            let pointer = if of.get("xapi_data").is_some() { "/xapi_data/id" } else { "/id" };
            assert_eq!(judged.findings[0].pointer, pointer);
        }
        let mission = std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/mission/valid/mission.created.json"),
        )
        .unwrap();
        assert!(!judge(Check::On, true).judge(Event::new("mission.events.v1", mission), 1).is_refused);
    }

    #[test]
    fn an_event_that_may_hold_a_secret_is_known() {
        let mut approved: Value = serde_json::from_slice(
            &std::fs::read(
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/mission/valid/mission.created.json"),
            )
            .unwrap(),
        )
        .unwrap();
        approved["payload"]["access_token"] = json!("0123456789abcdef0123456789abcdef");
        let judged = judge(Check::On, false).judge(Event::json("mission.events.v1", &approved).unwrap(), 1);
        assert!(judged.is_refused && judged.may_hold_a_secret(), "{}", judged.told());
    }
}
