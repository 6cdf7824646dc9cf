//! The mission family as data: its topic, event types and kind of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};

/// Kind of the aggregate that keeps a mission.
pub const MISSION: &str = "mission";

const MISSIONS: &str = "mission.events.v1";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: MISSIONS, partitions: 3, key: "mission id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType { name: "mission.created", topic: MISSIONS, statement: None, effect: "mission created" },
    EventType { name: "mission.started", topic: MISSIONS, statement: None, effect: "created → started" },
    EventType { name: "mission.completed", topic: MISSIONS, statement: None, effect: "started → completed" },
    EventType { name: "mission.failed", topic: MISSIONS, statement: None, effect: "created or started → failed" },
    EventType {
        name: "task.created",
        topic: MISSIONS,
        statement: None,
        effect: "a task of a mission that is not over",
    },
];

/// The mission family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "mission",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: MODULE_DEAD_LETTERS,
    kinds: &[MISSION],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });
