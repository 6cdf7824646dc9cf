//! What follows from an event, written in a wire form whose value names the event: its id, its tenant and its correlation id are
//! those that its headers have. Pure.

use serde_json::Value;

use crate::family::{FollowUp, Occurrence};
use crate::formats::charter::Message;

/// What a module answers an event with, as an envelope of its own ([`crate::formats::charter`]).
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it goes.
    pub topic: &'static str,
    /// Its type.
    pub event_type: &'static str,
    /// Its Kafka key.
    pub key: String,
    /// The module that says it.
    pub source: &'static str,
    /// The module that it is for.
    pub target: Option<&'static str>,
    /// What it says.
    pub payload: Value,
}

/// The follow-ups of an event, in the order of their places. Each happened when the event did.
pub fn answer(at: &Occurrence, answers: impl IntoIterator<Item = Answer>) -> Vec<FollowUp> {
    let follow_up = |(place, Answer { topic, event_type, key, source, target, payload })| {
        let message = Message {
            id: at.follow_up_id(event_type, place),
            event_type,
            source,
            target,
            occurred_at_ms: at.occurred_at_ms,
            tenant: &at.tenant,
            correlation_id: &at.correlation_id,
            payload,
        };
        FollowUp { topic, event_type, key, value: message.write() }
    };
    answers.into_iter().enumerate().map(follow_up).collect()
}
