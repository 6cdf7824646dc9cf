//! Step 5, the documents: what is stored of an accepted statement, a pure function of the event, so that a second run makes
//! the same; and the effect of a family that keeps no state, which is the document alone.

use bytes::Bytes;

use super::Processor;
use super::batch::{Disposition, Item};
use super::invocation::Invocation;
use super::recording::Recording;
use crate::envelope::Envelope;
use crate::family::{Family, SurveyFields};
use crate::outcome::Outcome;
use crate::ports::statements::{StatementDocument, StatementFields, StatementsError, StoreOutcome};
use crate::record::Position;
use lyceum_xapi::VOIDED;
use lyceum_xapi::statement::{Actor, Object};
use lyceum_xapi::utc_time::UtcTime;

/// What becomes of an event whose only effect is its document: the store's create-only write makes it once.
pub(super) fn applied<F: Family>(item: &Item<'_, F>) -> Disposition {
    let recording = Recording { statement_stored_ms: Some(item.record.timestamp_ms), ..Recording::default() };
    Disposition::emit(Outcome::Applied, recording, item.record.position.clone())
}

/// A document that is stored of one record of the batch: made when it is sent, and again for a further attempt.
pub(super) struct ToStore<'b, 'a, F: Family> {
    pub(super) item: &'b Item<'a, F>,
    pub(super) source: Position,
    pub(super) stored_ms: i64,
}

impl<F: Family> ToStore<'_, '_, F> {
    /// `None` where the record has no value that the statement could stand in.
    fn document(&self) -> Option<StatementDocument> {
        let survey = F::survey_fields(&self.item.event);
        let value = self.item.record.value.as_ref()?;
        Some(document(&self.item.envelope, F::SPEC.name, survey, value, &self.source, self.stored_ms))
    }
}

impl<F: Family> Processor<F> {
    /// Stores the documents; those that the store could not take now are tried again while time remains. Of each that the
    /// store answered for, the record's place and the answer.
    pub(super) async fn store(
        &self,
        mut left: Vec<ToStore<'_, '_, F>>,
        invocation: &Invocation,
    ) -> Vec<(usize, StoreOutcome)> {
        let mut ended = Vec::with_capacity(left.len());
        let mut attempts = invocation.attempts();
        while !left.is_empty() {
            let mut sent = Vec::with_capacity(left.len());
            let mut documents = Vec::with_capacity(left.len());
            for of in left {
                if let Some(document) = of.document() {
                    sent.push(of);
                    documents.push(document);
                }
            }
            let stored = self.services.statements.store(documents);
            let stored = invocation.in_time(StatementsError::Unavailable, stored).await;
            let (outcomes, is_transient) = match stored.and_then(|outcomes| complete(sent.len(), outcomes)) {
                Ok(outcomes) => (outcomes, true),
                Err(error) => {
                    let unavailable = StoreOutcome::Unavailable { reason: error.to_string() };
                    (vec![unavailable; sent.len()], error.is_transient())
                }
            };
            let (unavailable, settled): (Vec<_>, Vec<_>) = sent
                .into_iter()
                .zip(outcomes)
                .partition(|(_, outcome)| matches!(outcome, StoreOutcome::Unavailable { .. }));
            ended.extend(settled.into_iter().map(|(of, outcome)| (of.item.index, outcome)));
            if unavailable.is_empty() || !is_transient || !attempts.again().await {
                ended.extend(unavailable.into_iter().map(|(of, outcome)| (of.item.index, outcome)));
                break;
            }
            left = unavailable.into_iter().map(|(of, _)| of).collect();
        }
        ended
    }
}

/// A store that answers for fewer documents than it was given has answered for none: which one is missing is not known.
fn complete(given: usize, outcomes: Vec<StoreOutcome>) -> Result<Vec<StoreOutcome>, StatementsError> {
    match outcomes.len() {
        answered if answered == given => Ok(outcomes),
        answered => {
            Err(StatementsError::Unavailable(format!("it was given {given} documents and answered for {answered}")))
        }
    }
}

/// Makes the document; `source` is the record that was decided on, and `value` the record's value that the envelope
/// borrows from.
fn document(
    envelope: &Envelope<'_>,
    family: &'static str,
    survey: Option<SurveyFields>,
    value: &Bytes,
    source: &Position,
    stored_ms: i64,
) -> StatementDocument {
    let statement = &envelope.statement;
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
        event_type: envelope.event_type.to_owned(),
        family: family.to_owned(),
        timestamp_ms,
        day: UtcTime::from_millis(timestamp_ms).day().to_string(),
        actor: canonical(&statement.actor),
        actor_sha1: statement.actor.ifi.as_ref().and_then(|ifi| ifi.mbox_sha1()),
        verb: statement.verb.to_string(),
        object_type: object_type.to_owned(),
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
