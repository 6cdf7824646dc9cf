//! The content family as data: its topic, event types, schemas, and kinds of what it counts.

use lyceum_core::catalog::{ANALYTICS_DEAD_LETTERS, EventType, FamilySpec, TopicOf};
use lyceum_core::subscription::{Effect, Subscription};

/// Kind of what is counted of a piece of content.
pub const CONTENT: &str = "content";

const CONTENT_EVENTS: &str = "content.events.v1";

/// The schemas of its events, oldest first: events are read by the last one.
pub const SCHEMAS: [&str; 2] = [include_str!("schemas/content.v1.avsc"), include_str!("schemas/content.v2.avsc")];

/// The topic, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: CONTENT_EVENTS, partitions: 3, key: "content id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: "content.viewed",
        topic: CONTENT_EVENTS,
        statement: None,
        effect: "counted: views, time spent, how far",
    },
    EventType {
        name: "content.rated",
        topic: CONTENT_EVENTS,
        statement: None,
        effect: "counted: ratings and their mean",
    },
    EventType {
        name: "content.updated",
        topic: CONTENT_EVENTS,
        statement: None,
        effect: "counted; the latest version and change",
    },
];

/// The content family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "content",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: ANALYTICS_DEAD_LETTERS,
    kinds: &[CONTENT],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Counted);
