//! Event family: what keeps a learner learning, in Avro.
//!
//! [`events`] reads an event, [`numbers`] are what is counted of channels, achievements and challenges. Each event is a document, too.

pub use lyceum_catalog::engagement::{ACHIEVEMENT, CHALLENGE, CHANNEL, SPEC, SUBSCRIPTION};
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

/// The engagement family.
#[derive(Debug)]
pub struct Engagement;

impl Family for Engagement {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = &SUBSCRIPTION;
    type Event = Event;

    fn document(envelope: &EnvelopeOf<'_, Event>, event: &Event, stored: &Stored<'_>) -> StatementDocument {
        let mut document = document(envelope, Some(&envelope.body.learner()), stored);
        let fields = &mut document.fields;
        match &event.what {
            What::Notification { notification_id, channel, .. } => {
                fields.object = notification_id.as_str().into();
                fields.parents = vec![channel.name().into()];
            }
            What::Achievement { achievement_id, points } => {
                fields.object = achievement_id.as_str().into();
                fields.score_raw = Some(*points as f64);
            }
            What::Challenge { challenge_id, rank, is_completed } => {
                fields.object = challenge_id.as_str().into();
                fields.score_raw = rank.map(f64::from);
                fields.completion = is_completed.then_some(true);
            }
        }
        document
    }
}

impl Counted for Engagement {
    type Numbers = Numbers;

    fn counters(event: &Event) -> Vec<AggregateRef> {
        let (kind, id) = match &event.what {
            What::Notification { channel, .. } => (CHANNEL, channel.name()),
            What::Achievement { achievement_id, .. } => (ACHIEVEMENT, achievement_id.as_str()),
            What::Challenge { challenge_id, .. } => (CHALLENGE, challenge_id.as_str()),
        };
        vec![AggregateRef { kind, id: id.into() }]
    }

    fn count(numbers: &mut Numbers, _: &AggregateRef, event: &Event, _: &Occurrence) {
        numbers.count(event);
    }

    fn merge(numbers: &mut Numbers, other: &Numbers) {
        numbers.merge(other);
    }
}
