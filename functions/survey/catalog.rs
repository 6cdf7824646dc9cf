//! The survey family as data: topics, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, ObjectIs, PLATFORM_DEAD_LETTERS, StatementForm, TopicOf};
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};

/// Kind of the aggregate that keeps a response.
pub const RESPONSE: &str = "response";

const RESPONSES: &str = "nlj.survey.responses";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: RESPONSES, partitions: 3, key: "registration" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: "survey.started",
        topic: RESPONSES,
        statement: Some(StatementForm {
            verbs: &["http://adlnet.gov/expapi/verbs/initialized", "http://nlj.platform/verbs/initialized"],
            object: ObjectIs::Kind("survey"),
        }),
        effect: "response opened",
    },
    EventType {
        name: "survey.answered",
        topic: RESPONSES,
        statement: Some(StatementForm {
            verbs: &["http://adlnet.gov/expapi/verbs/answered", "http://nlj.platform/verbs/answered"],
            object: ObjectIs::SurveyQuestion,
        }),
        effect: "answer stored; the last answer per question, by offset, counts",
    },
    EventType {
        name: "survey.completed",
        topic: RESPONSES,
        statement: Some(StatementForm {
            verbs: &["http://adlnet.gov/expapi/verbs/completed", "http://nlj.platform/verbs/completed"],
            object: ObjectIs::Kind("survey"),
        }),
        effect: "response complete",
    },
];

/// The survey family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "survey",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[RESPONSE],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });
