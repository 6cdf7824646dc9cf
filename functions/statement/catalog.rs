//! The statement family as data: its topic.

use lyceum_core::catalog::{FamilySpec, PLATFORM_DEAD_LETTERS, TopicOf};
use lyceum_core::subscription::{Effect, Subscription};

/// The statement family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "statement",
    topics: &[TopicOf { name: "nlj.xapi.statements", partitions: 6, key: "actor" }],
    event_types: &[],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Documents);
