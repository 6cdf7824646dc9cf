//! The statement family as data: its topic.

use lyceum_core::catalog::{FamilySpec, PLATFORM_DEAD_LETTERS, TopicOf};
use lyceum_core::payload::{Criticality, Form, Payload, Payloads};
use lyceum_core::subscription::{Effect, Subscription};

/// The statement family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "statement",
    topics: &[TopicOf { name: "nlj.xapi.statements", partitions: 6, key: "actor" }],
    event_types: &[],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[],
};

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Statement,
    of: &[Payload {
        event_type: "statement",
        purpose: "Whatever else a learning tool has to say, to be found and counted.",
        criticality: Criticality::Normal,
        fields: &[],
    }],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Documents);
