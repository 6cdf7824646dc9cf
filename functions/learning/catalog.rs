//! The learning family as data: its topic, event types, schemas, and kinds of what it counts.

use lyceum_core::catalog::{ANALYTICS_DEAD_LETTERS, EventType, FamilySpec, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const SESSION_ID: Field = Field::required("session_id", Kind::Name, "The session");
const ACTIVITY_ID: Field = Field::optional("activity_id", Kind::Name, "What is learned in it");
const DURATION_MS: Field =
    Field::optional("duration_ms", Kind::Whole(0, i64::MAX as u64), "How long it took, milliseconds");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Avro,
    of: &[
        Payload {
            event_type: "question.answered",
            purpose: "A learner answered a question of an exercise.",
            criticality: Criticality::Normal,
            fields: &[
                Field::required("question_id", Kind::Name, "The question"),
                Field::required("concept_ids", Kind::Names(32), "What it is about"),
                Field::required("correct", Kind::Boolean, "Whether the answer is right"),
                Field::required(
                    "response_ms",
                    Kind::Whole(0, i64::MAX as u64),
                    "From the question to the answer, milliseconds",
                ),
                Field::required(
                    "attempt",
                    Kind::Whole(1, i32::MAX as u64),
                    "Which answer of the learner to it this is, from 1",
                ),
                Field::optional("score", Kind::Number(0.0, 1.0), "How good the answer is"),
            ],
        },
        Payload {
            event_type: "session.started",
            purpose: "A learner sat down to learn.",
            criticality: Criticality::Low,
            fields: &[SESSION_ID, ACTIVITY_ID, DURATION_MS],
        },
        Payload {
            event_type: "session.ended",
            purpose: "A learner got up.",
            criticality: Criticality::Low,
            fields: &[SESSION_ID, ACTIVITY_ID, DURATION_MS],
        },
        Payload {
            event_type: "mastery.updated",
            purpose: "The tutor thinks that a learner knows a concept better, or worse.",
            criticality: Criticality::Normal,
            fields: &[
                Field::required("concept_id", Kind::Name, "The concept"),
                Field::required("before", Kind::Number(0.0, 1.0), "What was thought"),
                Field::required("after", Kind::Number(0.0, 1.0), "What is thought now"),
            ],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Counted);
