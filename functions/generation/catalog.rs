//! The generation family as data: its topic, event types and kind of aggregate; and the subscription that asks the generator.

use lyceum_core::catalog::{EventType, FamilySpec, ObjectIs, PLATFORM_DEAD_LETTERS, StatementForm, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
use lyceum_core::subscription::{Effect, KeyPlace, Reads, Subscription, Wanted};

/// Kind of the aggregate that keeps a generation.
pub const GENERATION: &str = "generation";

/// The family's topic.
pub const TOPIC: &str = "nlj.content.generation";

/// Content is wanted.
pub const REQUESTED: &str = "content.generation.requested";
/// Some of it is written.
pub const PROGRESSED: &str = "content.generation.progressed";
/// It is written.
pub const COMPLETED: &str = "content.generation.completed";
/// It will not be written.
pub const FAILED: &str = "content.generation.failed";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: TOPIC, partitions: 3, key: "generation id" }];

const fn statement(verbs: &'static [&'static str]) -> Option<StatementForm> {
    Some(StatementForm { verbs, object: ObjectIs::Kind("generation") })
}

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: REQUESTED,
        topic: TOPIC,
        statement: statement(&["http://nlj.platform/verbs/requested"]),
        effect: "generation requested; the content generator is asked",
    },
    EventType {
        name: PROGRESSED,
        topic: TOPIC,
        statement: statement(&["http://adlnet.gov/expapi/verbs/progressed", "http://nlj.platform/verbs/progressed"]),
        effect: "progress, never backwards",
    },
    EventType {
        name: COMPLETED,
        topic: TOPIC,
        statement: statement(&["http://adlnet.gov/expapi/verbs/completed", "http://nlj.platform/verbs/completed"]),
        effect: "requested → completed, with the content",
    },
    EventType {
        name: FAILED,
        topic: TOPIC,
        statement: statement(&["http://adlnet.gov/expapi/verbs/failed", "http://nlj.platform/verbs/failed"]),
        effect: "requested → failed; it may be requested again",
    },
];

/// The generation family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "generation",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[GENERATION],
};

const GENERATION_ID: Field = Field::required("generation_id", Kind::ActivityId, "The generation");
const REQUEST_ID: Field = Field::optional("request_id", Kind::Uuid, "The event that asked for it, where several did");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Statement,
    of: &[
        Payload {
            event_type: REQUESTED,
            purpose: "An author wants content to be written: by the prompt, from the source, or both.",
            criticality: Criticality::Normal,
            fields: &[
                GENERATION_ID,
                REQUEST_ID,
                Field::required("kind", Kind::IdOrNumber, "What is to be written: lesson, quiz …"),
                Field::one_of_these("prompt", Kind::LongText, "What to write"),
                Field::one_of_these("source", Kind::LongText, "The text to write from"),
            ],
        },
        Payload {
            event_type: PROGRESSED,
            purpose: "The writer is so far.",
            criticality: Criticality::Low,
            fields: &[
                GENERATION_ID,
                REQUEST_ID,
                Field::required("percent", Kind::Whole(0, 100), "How far, in percent"),
            ],
        },
        Payload {
            event_type: COMPLETED,
            purpose: "The content is written.",
            criticality: Criticality::High,
            fields: &[
                GENERATION_ID,
                REQUEST_ID,
                Field::required("content_reference", Kind::IdOrNumber, "Where the content is"),
                Field::optional("model", Kind::IdOrNumber, "Which model wrote it"),
                Field::optional("input_tokens", Kind::AtLeast(0), "What the model read"),
                Field::optional("output_tokens", Kind::AtLeast(0), "What the model wrote"),
            ],
        },
        Payload {
            event_type: FAILED,
            purpose: "Nothing was written; the author may ask again.",
            criticality: Criticality::Normal,
            fields: &[
                GENERATION_ID,
                REQUEST_ID,
                Field::required("reason", Kind::LongText, "Why: a word, or a sentence"),
            ],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });

/// The subscription that asks the content generator about requests.
pub const GENERATOR: Subscription = Subscription {
    name: "generator",
    reads: Reads::Others(&[Wanted { topic: TOPIC, event_types: &[REQUESTED] }]),
    dead_letters: PLATFORM_DEAD_LETTERS,
    publishes: &[TOPIC],
    effect: Effect::Calling,
};
