//! What is stored of a statement: a pure function of the event, so that a second run makes the same.

use bytes::Bytes;
use bytestring::ByteString;
use lyceum_xapi::VOIDED;
use lyceum_xapi::statement::{Actor, Object};
use lyceum_xapi::utc_time::UtcTime;
use smol_str::ToSmolStr;

use super::vocabulary::SurveyFields;
use crate::envelope::Envelope;
use crate::formats::Stored;
use crate::ports::statements::{StatementDocument, StatementFields};

/// The statement as it was sent, with the typed fields that it is found and counted by.
pub fn document(envelope: &Envelope<'_>, survey: Option<SurveyFields>, stored: &Stored<'_>) -> StatementDocument {
    let Stored { family, value, source, stored_ms } = *stored;
    let statement = &envelope.body;
    let text = |text: &str| text_of(value, text);
    let timestamp_ms = statement.timestamp_ms.unwrap_or(stored_ms);
    let (object_type, object, activity_type) = match &statement.object {
        Object::Activity(activity) => ("Activity", text(&activity.id), activity.kind.as_deref().map(text)),
        Object::Actor(actor) => (if actor.is_group { "Group" } else { "Agent" }, canonical(actor).into(), None),
        Object::StatementRef(id) => ("StatementRef", id.to_string().into(), None),
        Object::SubStatement => ("SubStatement", ByteString::new(), None),
    };
    let voids = match &statement.object {
        Object::StatementRef(id) if statement.verb == VOIDED => Some(*id),
        _ => None,
    };
    let (survey, question) = survey.map_or((None, None), |fields| (Some(fields.survey), fields.question));
    let fields = StatementFields {
        event_type: envelope.event_type.into(),
        family: family.into(),
        timestamp_ms,
        day: UtcTime::from_millis(timestamp_ms).day().to_smolstr(),
        actor: canonical(&statement.actor),
        actor_sha1: statement.actor.ifi.as_ref().and_then(|ifi| ifi.mbox_sha1()),
        verb: text(&statement.verb),
        object_type: object_type.into(),
        object,
        activity_type,
        registration: statement.context.registration.map(|registration| registration.to_string()),
        parents: statement.context.parents.iter().map(|(id, _)| text(id)).collect(),
        survey,
        question,
        response: statement.result.response.as_deref().map(text),
        score_raw: statement.result.score_raw,
        score_scaled: statement.result.score_scaled,
        success: statement.result.success,
        completion: statement.result.completion,
        voids,
    };
    StatementDocument {
        tenant: envelope.tenant.clone(),
        id: envelope.id,
        raw: value.slice_ref(envelope.raw),
        stored_ms,
        source: source.clone(),
        correlation_id: envelope.correlation_id.clone(),
        fields,
    }
}

/// A text of the record's value: a part of its bytes, where it stands there as it is.
fn text_of(value: &Bytes, text: &str) -> ByteString {
    let (whole, part) = (value.as_ptr_range(), text.as_bytes().as_ptr_range());
    if part.is_empty() || part.start < whole.start || whole.end < part.end {
        return text.into();
    }
    ByteString::try_from(value.slice_ref(text.as_bytes())).unwrap_or_else(|_| text.into())
}

fn canonical(actor: &Actor<'_>) -> String {
    actor.ifi.as_ref().map(|ifi| ifi.canonical()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::formats::Opened;
    use crate::formats::statement::sample::{ID, opened, record, statement};
    use crate::record::Position;

    fn document_of(members: Value, survey: Option<SurveyFields>) -> StatementDocument {
        let record = record(statement(members));
        let value = record.value.as_ref().expect("a value");
        let source = Position::new("origin", 1, 2);
        opened(&record, |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            document(&envelope, survey, &Stored { family: "statement", value, source: &source, stored_ms: 86_400_000 })
        })
    }

    #[test]
    fn a_document_has_the_statement_as_it_was_sent_and_the_fields_that_it_is_found_by() {
        let members = json!({
            "timestamp": "2026-03-01T09:00:00Z",
            "object": {"id": "http://lms.example.com/7", "definition": {"type": "http://lms.example.com/types/course"}},
            "result": {"score": {"raw": 7, "scaled": 0.5}, "success": true, "completion": false, "response": "yes"},
            "context": {
                "registration": "16FD2706-8BAF-433B-82EB-8C7FADA847DA",
                "contextActivities": {"parent": [{"id": "http://lms.example.com/program/1"}]},
            },
        });
        let survey = SurveyFields { survey: "pulse".into(), question: Some("q1".into()) };
        let StatementDocument { tenant, id, raw, stored_ms, source, correlation_id, fields } =
            document_of(members.clone(), Some(survey));
        assert_eq!((tenant.as_str(), id.to_string().as_str(), correlation_id.as_str()), ("default", ID, ID));
        assert_eq!((raw, stored_ms), (Bytes::from(statement(members).to_string()), 86_400_000));
        assert_eq!(source.to_string(), "origin/1/2");
        let expected = StatementFields {
            event_type: "statement".into(),
            family: "statement".into(),
            timestamp_ms: 1_772_355_600_000,
            day: "2026-03-01".into(),
            actor: "mbox:ada@example.com".into(),
            actor_sha1: Some("72ac10875be5a7770a4f31058ea797edb8e55020".into()),
            verb: "http://adlnet.gov/expapi/verbs/completed".into(),
            object_type: "Activity".into(),
            object: "http://lms.example.com/7".into(),
            activity_type: Some("http://lms.example.com/types/course".into()),
            registration: Some("16fd2706-8baf-433b-82eb-8c7fada847da".into()),
            parents: vec!["http://lms.example.com/program/1".into()],
            survey: Some("pulse".into()),
            question: Some("q1".into()),
            response: Some("yes".into()),
            score_raw: Some(7.0),
            score_scaled: Some(0.5),
            success: Some(true),
            completion: Some(false),
            voids: None,
        };
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_statement_without_a_timestamp_counts_for_the_day_on_which_it_came() {
        let StatementFields { timestamp_ms, day, .. } = document_of(json!({}), None).fields;
        assert_eq!((timestamp_ms, day.as_str()), (86_400_000, "1970-01-02"));
    }

    #[test]
    fn every_kind_of_object_has_a_name_and_what_it_is_found_by() {
        let agent = json!({"objectType": "Agent", "mbox": "mailto:bob@example.com"});
        let group = json!({"objectType": "Group", "mbox": "mailto:all@example.com"});
        let about = json!({"objectType": "StatementRef", "id": "16FD2706-8BAF-433B-82EB-8C7FADA847DA"});
        let within = json!({
            "objectType": "SubStatement",
            "actor": {"mbox": "mailto:bob@example.com"},
            "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},
            "object": {"id": "http://lms.example.com/7"},
        });
        for (object, object_type, found_by) in [
            (agent, "Agent", "mbox:bob@example.com"),
            (group, "Group", "mbox:all@example.com"),
            (about, "StatementRef", "16fd2706-8baf-433b-82eb-8c7fada847da"),
            (within, "SubStatement", ""),
        ] {
            let fields = document_of(json!({"object": object}), None).fields;
            assert_eq!((&*fields.object_type, &*fields.object), (object_type, found_by));
            assert_eq!((fields.activity_type, fields.voids, fields.survey), (None, None, None));
        }
    }

    #[test]
    fn a_statement_voids_another_one_by_the_verb_alone() {
        let about = json!({"objectType": "StatementRef", "id": "16fd2706-8baf-433b-82eb-8c7fada847da"});
        let voids = |verb: &str| document_of(json!({"verb": {"id": verb}, "object": about}), None).fields.voids;
        assert_eq!(voids(VOIDED), Some("16fd2706-8baf-433b-82eb-8c7fada847da".parse().expect("a UUID")));
        assert_eq!(voids("http://adlnet.gov/expapi/verbs/commented"), None);
    }

    #[test]
    fn a_text_is_a_part_of_the_records_bytes_where_these_have_it_as_it_is() {
        let value = Bytes::from_static(br#"{"verb": "http://x.example/did", "odd": "a\u0062"}"#);
        let place = value.as_ptr_range();
        let is_part = |text: &ByteString| place.contains(&text.as_bytes().as_ptr());
        let verb = std::str::from_utf8(&value[10..30]).expect("it is text");
        let unescaped = String::from("ab");
        let (part, elsewhere) = (text_of(&value, verb), text_of(&value, &unescaped));
        assert_eq!((&*part, &*elsewhere), ("http://x.example/did", "ab"));
        assert_eq!([is_part(&part), is_part(&elsewhere)], [true, false]);
        // One that begins before or ends behind the bytes is none of theirs.
        for (value, text) in [(value.slice(11..), verb), (value.slice(..29), verb), (value.clone(), &verb[..0])] {
            assert_eq!(&*text_of(&value, text), text);
        }
    }

    #[test]
    fn an_anonymous_group_is_found_by_no_name() {
        let group = json!({"objectType": "Group", "member": [{"mbox": "mailto:ada@example.com"}]});
        let fields = document_of(json!({"actor": group}), None).fields;
        assert_eq!((fields.actor.as_str(), fields.actor_sha1), ("", None));
    }
}
