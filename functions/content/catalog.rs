//! The content family as data: its topic, event types, schemas, and kinds of what it counts.

use lyceum_core::catalog::{ANALYTICS_DEAD_LETTERS, EventType, FamilySpec, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const CONTENT_ID: Field = Field::required("content_id", Kind::Name, "The piece of content");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Avro,
    of: &[
        Payload {
            event_type: "content.viewed",
            purpose: "A learner looked at a piece of content.",
            criticality: Criticality::Low,
            fields: &[
                CONTENT_ID,
                Field::optional("dwell_ms", Kind::Whole(0, i64::MAX as u64), "How long, milliseconds"),
                Field::optional("percent", Kind::Number(0.0, 100.0), "How far, in percent"),
            ],
        },
        Payload {
            event_type: "content.rated",
            purpose: "A learner says how good a piece of content is.",
            criticality: Criticality::Normal,
            fields: &[
                CONTENT_ID,
                Field::required("rating", Kind::Whole(1, 5), "Stars"),
                Field::optional("comment", Kind::AnyText, "The reason, in the learner's words"),
            ],
        },
        Payload {
            event_type: "content.updated",
            purpose: "Authors changed a piece of content.",
            criticality: Criticality::Normal,
            fields: &[
                CONTENT_ID,
                Field::required("version", Kind::Name, "What it is from now on"),
                Field::required("change", Kind::AnyText, "What is different, for a person"),
            ],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Counted);
