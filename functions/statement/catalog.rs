//! The statement family as data: its topic.

use lyceum_core::family::{EffectPolicy, FamilySpec, PLATFORM_DEAD_LETTERS, TopicOf};

/// The statement family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "statement",
    topics: &[TopicOf { name: "nlj.xapi.statements", partitions: 6, key: "actor" }],
    event_types: &[],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[],
    effect: EffectPolicy::DocumentById,
};
