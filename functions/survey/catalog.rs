//! The survey family as data: topics, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, ObjectIs, PLATFORM_DEAD_LETTERS, StatementForm, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const SURVEY: Field = Field::required("survey_id", Kind::ActivityIri, "The survey");
const REGISTRATION: Field =
    Field::required("registration", Kind::Registration, "The attempt: one participant, one time");
const LEARNER: Field = Field::optional("learner", Kind::Actor, "Who takes part; an anonymous group stays nameless");
const DEMOGRAPHICS: Field =
    Field::optional("demographics", Kind::Any, "Role, region, department, age_band, tenure_band …");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Statement,
    of: &[
        Payload {
            event_type: "survey.started",
            purpose: "A participant opened a survey.",
            criticality: Criticality::Normal,
            fields: &[SURVEY, REGISTRATION, LEARNER, DEMOGRAPHICS],
        },
        Payload {
            event_type: "survey.answered",
            purpose: "A participant answered a question; the last answer counts.",
            criticality: Criticality::High,
            fields: &[
                Field::required("question_id", Kind::ActivityIri, "The question"),
                REGISTRATION,
                LEARNER,
                DEMOGRAPHICS,
                Field::one_of_these("response", Kind::Response, "The answer as text"),
                Field::one_of_these("score", Kind::Score, "The answer as a number, with its scale"),
                Field::required("survey_id", Kind::SurveyOfQuestion, "The survey that it is a question of"),
            ],
        },
        Payload {
            event_type: "survey.completed",
            purpose: "A participant is through with a survey.",
            criticality: Criticality::Normal,
            fields: &[SURVEY, REGISTRATION, LEARNER, DEMOGRAPHICS],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });
