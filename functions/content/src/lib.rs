//! Event family: what becomes of a piece of content, in Avro.
//!
//! [`events`] reads an event, [`numbers`] are what is counted of a piece of content. Each event is a document, too.

pub use lyceum_catalog::content::{CONTENT, SPEC, SUBSCRIPTION};
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

/// The content family.
#[derive(Debug)]
pub struct Content;

impl Family for Content {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        let mut document = document(envelope, Some(&envelope.body.learner()), stored);
        let fields = &mut document.fields;
        fields.object = event.content_id.as_str().into();
        match &event.what {
            What::Viewed { percent, .. } => {
                fields.score_scaled = percent.map(|percent| percent / 100.0);
                fields.completion = percent.map(|percent| percent >= 100.0);
            }
            What::Rated { rating, comment } => {
                fields.score_raw = Some(f64::from(*rating));
                fields.response = comment.as_deref().map(Into::into);
            }
            What::Updated { change, .. } => fields.response = Some(change.as_str().into()),
        }
        document
    }
}

impl Counted for Content {
    type Numbers = Numbers;

    fn counters(event: &Event) -> Vec<AggregateRef> {
        vec![AggregateRef { kind: CONTENT, id: event.content_id.clone() }]
    }

    fn count(numbers: &mut Numbers, _: &AggregateRef, event: &Event, at: &Occurrence) {
        numbers.count(event, at.occurred_at_ms);
    }

    fn merge(numbers: &mut Numbers, other: &Numbers) {
        numbers.merge(other);
    }
}
