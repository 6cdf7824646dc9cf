//! The engagement family as data: its topic, event types, schemas, and kinds of what it counts.

use lyceum_core::catalog::{ANALYTICS_DEAD_LETTERS, EventType, FamilySpec, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const NOTIFICATION_ID: Field = Field::required("notification_id", Kind::Name, "The notification");
const SENT_BY: Field =
    Field::required("channel", Kind::OpenWords(&["email", "push", "in_app", "sms", "other"]), "By what it was sent");
const CHALLENGE_ID: Field = Field::required("challenge_id", Kind::Name, "The challenge");
const RANK: Field = Field::optional("rank", Kind::Whole(1, i32::MAX as u64), "The place of the learner, from 1");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Avro,
    of: &[
        Payload {
            event_type: "notification.sent",
            purpose: "A learner was sent a notification.",
            criticality: Criticality::Low,
            fields: &[NOTIFICATION_ID, SENT_BY],
        },
        Payload {
            event_type: "notification.opened",
            purpose: "The learner opened it.",
            criticality: Criticality::Low,
            fields: &[NOTIFICATION_ID, SENT_BY],
        },
        Payload {
            event_type: "achievement.unlocked",
            purpose: "A learner reached something that is worth points.",
            criticality: Criticality::Normal,
            fields: &[
                Field::required("achievement_id", Kind::Name, "The achievement"),
                Field::required("points", Kind::Whole(0, i64::MAX as u64), "What it is worth"),
            ],
        },
        Payload {
            event_type: "challenge.joined",
            purpose: "A learner takes part in a challenge.",
            criticality: Criticality::Low,
            fields: &[CHALLENGE_ID, RANK],
        },
        Payload {
            event_type: "challenge.completed",
            purpose: "A learner is through with a challenge.",
            criticality: Criticality::Normal,
            fields: &[CHALLENGE_ID, RANK],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Counted);
