//! Event family: what a learner does and knows, in Avro.
//!
//! [`events`] reads an event, [`numbers`] are what is counted of a learner and of a concept. Each event is a document, too.

pub use lyceum_catalog::learning::{CONCEPT, LEARNER, SPEC, SUBSCRIPTION};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::effects::Counted;
use lyceum_core::family::{AggregateRef, EnvelopeOf, Family, Occurrence};
use lyceum_core::formats::{Stored, document};
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::subscription::Subscription;

pub mod events;
pub mod numbers;

use events::{Event, What};
use numbers::Numbers;

/// The learning family.
#[derive(Debug)]
pub struct Learning;

impl Family for Learning {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        let mut document = document(envelope, Some(&envelope.body.learner()), stored);
        let fields = &mut document.fields;
        match &event.what {
            What::Answered { question_id, concept_ids, correct, score, .. } => {
                fields.object = question_id.as_str().into();
                fields.parents = concept_ids.iter().map(|id| id.as_str().into()).collect();
                fields.success = Some(*correct);
                fields.score_scaled = *score;
            }
            What::Session { session_id, activity_id, is_end, .. } => {
                fields.object = session_id.as_str().into();
                fields.parents = activity_id.iter().map(|id| id.as_str().into()).collect();
                fields.completion = is_end.then_some(true);
            }
            What::Mastery { concept_id, after, .. } => {
                fields.object = concept_id.as_str().into();
                fields.score_scaled = Some(*after);
            }
        }
        document
    }
}

impl Counted for Learning {
    type Numbers = Numbers;

    fn counters(event: &Event) -> Vec<AggregateRef> {
        let learner = AggregateRef { kind: LEARNER, id: event.user_id.clone() };
        let concepts = match &event.what {
            What::Answered { concept_ids, .. } => concept_ids.as_slice(),
            What::Session { .. } | What::Mastery { .. } => &[],
        };
        let concepts = concepts.iter().map(|id| AggregateRef { kind: CONCEPT, id: id.clone() });
        std::iter::once(learner).chain(concepts).collect()
    }

    fn count(numbers: &mut Numbers, counter: &AggregateRef, event: &Event, at: &Occurrence) {
        match counter.kind {
            LEARNER => numbers.learner.get_or_insert_default().count(event, at.occurred_at_ms),
            _ => numbers.concept.get_or_insert_default().count(event),
        }
    }

    fn merge(numbers: &mut Numbers, other: &Numbers) {
        if let Some(other) = &other.learner {
            numbers.learner.get_or_insert_default().merge(other);
        }
        if let Some(other) = &other.concept {
            numbers.concept.get_or_insert_default().merge(other);
        }
    }
}
