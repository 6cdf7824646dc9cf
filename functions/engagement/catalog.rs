//! The engagement family as data: its topic, event types, schemas, and kinds of what it counts.

use lyceum_core::catalog::{ANALYTICS_DEAD_LETTERS, EventType, FamilySpec, TopicOf};
use lyceum_core::subscription::{Effect, Subscription};

/// Kind of what is counted of a channel of notifications.
pub const CHANNEL: &str = "channel";
/// Kind of what is counted of an achievement.
pub const ACHIEVEMENT: &str = "achievement";
/// Kind of what is counted of a challenge.
pub const CHALLENGE: &str = "challenge";

const ENGAGEMENT: &str = "engagement.events.v1";

/// The schemas of its events, oldest first: events are read by the last one.
pub const SCHEMAS: [&str; 2] = [include_str!("schemas/engagement.v1.avsc"), include_str!("schemas/engagement.v2.avsc")];

/// The topic, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: ENGAGEMENT, partitions: 3, key: "user id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType { name: "notification.sent", topic: ENGAGEMENT, statement: None, effect: "counted for its channel" },
    EventType {
        name: "notification.opened",
        topic: ENGAGEMENT,
        statement: None,
        effect: "counted for its channel: which part is opened",
    },
    EventType { name: "achievement.unlocked", topic: ENGAGEMENT, statement: None, effect: "counted, with its points" },
    EventType { name: "challenge.joined", topic: ENGAGEMENT, statement: None, effect: "counted" },
    EventType {
        name: "challenge.completed",
        topic: ENGAGEMENT,
        statement: None,
        effect: "counted: which part completes, and the best rank",
    },
];

/// The engagement family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "engagement",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: ANALYTICS_DEAD_LETTERS,
    kinds: &[CHANNEL, ACHIEVEMENT, CHALLENGE],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Counted);
