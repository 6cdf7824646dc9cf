//! The mission family as data: its topic, event types and kind of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const MISSION_ID: Field = Field::required("mission_id", Kind::Id, "The mission");
const TITLE: Field = Field::optional("title", Kind::Text(2_048), "What people call it");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Charter,
    of: &[
        Payload {
            event_type: "mission.created",
            purpose: "There is something to be done together.",
            criticality: Criticality::Normal,
            fields: &[MISSION_ID, TITLE],
        },
        Payload {
            event_type: "mission.started",
            purpose: "It has begun.",
            criticality: Criticality::Normal,
            fields: &[MISSION_ID],
        },
        Payload {
            event_type: "mission.completed",
            purpose: "It is done.",
            criticality: Criticality::High,
            fields: &[MISSION_ID],
        },
        Payload {
            event_type: "mission.failed",
            purpose: "It came to nothing.",
            criticality: Criticality::High,
            fields: &[MISSION_ID, Field::required("error", Kind::Text(2_048), "Why, for a person")],
        },
        Payload {
            event_type: "task.created",
            purpose: "There is a part of it for somebody to do.",
            criticality: Criticality::Normal,
            fields: &[MISSION_ID, Field::required("task_id", Kind::Id, "The task"), TITLE],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });
