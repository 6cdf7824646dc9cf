//! What is stored of a statement: a pure function of the event, so that a second run makes the same.

use lyceum_xapi::VOIDED;
use lyceum_xapi::statement::{Actor, Object};
use lyceum_xapi::utc_time::UtcTime;

use super::vocabulary::SurveyFields;
use crate::envelope::Envelope;
use crate::family::Stored;
use crate::ports::statements::{StatementDocument, StatementFields};

/// The statement as it was sent, with the typed fields that it is found and counted by.
pub fn document(envelope: &Envelope<'_>, survey: Option<SurveyFields>, stored: &Stored<'_>) -> StatementDocument {
    let Stored { family, value, source, stored_ms } = *stored;
    let statement = &envelope.body;
    let timestamp_ms = statement.timestamp_ms.unwrap_or(stored_ms);
    let (object_type, object, activity_type) = match &statement.object {
        Object::Activity(activity) => {
            ("Activity", activity.id.to_string(), activity.kind.as_deref().map(str::to_owned))
        }
        Object::Actor(actor) => (if actor.is_group { "Group" } else { "Agent" }, canonical(actor), None),
        Object::StatementRef(id) => ("StatementRef", id.to_string(), None),
        Object::SubStatement => ("SubStatement", String::new(), None),
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
        day: UtcTime::from_millis(timestamp_ms).day().to_string(),
        actor: canonical(&statement.actor),
        actor_sha1: statement.actor.ifi.as_ref().and_then(|ifi| ifi.mbox_sha1()),
        verb: statement.verb.to_string(),
        object_type: object_type.into(),
        object,
        activity_type,
        registration: statement.context.registration.map(|registration| registration.to_string()),
        parents: statement.context.parents.iter().map(|(id, _)| id.to_string()).collect(),
        survey,
        question,
        response: statement.result.response.as_deref().map(str::to_owned),
        score_raw: statement.result.score_raw,
        score_scaled: statement.result.score_scaled,
        success: statement.result.success,
        completion: statement.result.completion,
        voids,
    };
    StatementDocument {
        tenant: envelope.tenant.to_string(),
        id: envelope.id,
        raw: value.slice_ref(envelope.raw),
        stored_ms,
        source: source.clone(),
        correlation_id: envelope.correlation_id.to_string(),
        fields,
    }
}

fn canonical(actor: &Actor<'_>) -> String {
    actor.ifi.as_ref().map(|ifi| ifi.canonical()).unwrap_or_default()
}
