//! The learning family as data: its topic, event types, schemas, and kinds of what it counts.

use lyceum_core::catalog::{ANALYTICS_DEAD_LETTERS, EventType, FamilySpec, TopicOf};
use lyceum_core::subscription::{Effect, Subscription};

/// Kind of what is counted of a learner.
pub const LEARNER: &str = "learner";
/// Kind of what is counted of a concept, over all learners.
pub const CONCEPT: &str = "concept";

const LEARNING: &str = "learning.events.v1";

/// The schemas of its events, oldest first: events are read by the last one.
pub const SCHEMAS: [&str; 2] = [include_str!("schemas/learning.v1.avsc"), include_str!("schemas/learning.v2.avsc")];

/// The topic, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: LEARNING, partitions: 6, key: "user id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: "question.answered",
        topic: LEARNING,
        statement: None,
        effect: "counted for the learner and for each concept: right and wrong, and how long it took",
    },
    EventType { name: "session.started", topic: LEARNING, statement: None, effect: "counted for the learner" },
    EventType {
        name: "session.ended",
        topic: LEARNING,
        statement: None,
        effect: "counted for the learner, with its time",
    },
    EventType {
        name: "mastery.updated",
        topic: LEARNING,
        statement: None,
        effect: "the learner's mastery of the concept; the latest counts",
    },
];

/// The learning family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "learning",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: ANALYTICS_DEAD_LETTERS,
    kinds: &[LEARNER, CONCEPT],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Counted);
