//! The course family as data: topic, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
use lyceum_core::subscription::{Effect, KeyPlace, Reads, Subscription, Wanted};

/// Kind of the aggregate that keeps a course.
pub const COURSE: &str = "course";

/// Its topic.
pub const COURSES: &str = "course.events.v1";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: COURSES, partitions: 3, key: "course id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: "course.generation.requested",
        topic: COURSES,
        statement: None,
        effect: "a course, or a failed one again → requested",
    },
    EventType { name: "course.outline.created", topic: COURSES, statement: None, effect: "requested → outlined" },
    EventType {
        name: "course.lesson.generated",
        topic: COURSES,
        statement: None,
        effect: "outlined → generating; a lesson of the course",
    },
    EventType {
        name: "course.quiz.created",
        topic: COURSES,
        statement: None,
        effect: "outlined → generating; a quiz of the course",
    },
    EventType {
        name: "course.landing_page.created",
        topic: COURSES,
        statement: None,
        effect: "outlined → generating; the page of the course",
    },
    EventType {
        name: "course.generation.completed",
        topic: COURSES,
        statement: None,
        effect: "generating → completed; leads to distribution.created",
    },
    EventType { name: "course.generation.failed", topic: COURSES, statement: None, effect: "generating → failed" },
    EventType {
        name: "course.workflow.transitioned",
        topic: COURSES,
        statement: None,
        effect: "the transition that it names, ahead of its own event",
    },
    EventType {
        name: "course.deployed.staging",
        topic: COURSES,
        statement: None,
        effect: "completed → deployed_staging, and there again; leads to distribution.updated",
    },
];

/// The course family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "course",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: MODULE_DEAD_LETTERS,
    kinds: &[COURSE],
};

const COURSE_ID: Field = Field::required("course_id", Kind::Id, "The course");
const TITLE: Field = Field::optional("title", Kind::Text(2_048), "What people call the course");
const LANGUAGE: Field = Field::optional("language", Kind::Text(35), "A language tag");
const STATUSES: &[&str] = &["requested", "outlined", "generating", "completed", "failed", "deployed_staging"];

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Charter,
    of: &[
        Payload {
            event_type: "course.generation.requested",
            purpose: "An author wants a course to be made, or a failed one to be tried again.",
            criticality: Criticality::High,
            fields: &[COURSE_ID, TITLE, LANGUAGE],
        },
        Payload {
            event_type: "course.outline.created",
            purpose: "The course has an outline.",
            criticality: Criticality::Normal,
            fields: &[COURSE_ID, TITLE, LANGUAGE],
        },
        Payload {
            event_type: "course.lesson.generated",
            purpose: "A lesson of the course is written.",
            criticality: Criticality::Normal,
            fields: &[COURSE_ID, TITLE, LANGUAGE, Field::required("lesson_id", Kind::Id, "The lesson")],
        },
        Payload {
            event_type: "course.quiz.created",
            purpose: "A quiz of the course is written.",
            criticality: Criticality::Normal,
            fields: &[COURSE_ID, TITLE, LANGUAGE, Field::required("quiz_id", Kind::Id, "The quiz")],
        },
        Payload {
            event_type: "course.landing_page.created",
            purpose: "The page that sells the course is there.",
            criticality: Criticality::Normal,
            fields: &[COURSE_ID, TITLE, LANGUAGE, Field::required("page_url", Kind::Location, "Where the page is")],
        },
        Payload {
            event_type: "course.generation.completed",
            purpose: "The course is whole, and can be distributed.",
            criticality: Criticality::High,
            fields: &[COURSE_ID, TITLE, LANGUAGE],
        },
        Payload {
            event_type: "course.generation.failed",
            purpose: "The course could not be made.",
            criticality: Criticality::High,
            fields: &[COURSE_ID, TITLE, LANGUAGE, Field::required("error", Kind::Text(2_048), "Why, for a person")],
        },
        Payload {
            event_type: "course.workflow.transitioned",
            purpose: "A module without an event of its own moved the course on.",
            criticality: Criticality::Normal,
            fields: &[
                COURSE_ID,
                TITLE,
                LANGUAGE,
                Field::required("from", Kind::Words(STATUSES), "The status before"),
                Field::required("to", Kind::Words(STATUSES), "The status after"),
            ],
        },
        Payload {
            event_type: "course.deployed.staging",
            purpose: "The course can be looked at before it is published.",
            criticality: Criticality::High,
            fields: &[
                COURSE_ID,
                TITLE,
                LANGUAGE,
                Field::required("url", Kind::Location, "Where it is"),
                Field::optional("distribution_id", Kind::Id, "The distribution that it was deployed for"),
            ],
        },
    ],
};

/// Its own subscription. A course has an event for each of its lessons.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Apart });

/// What is distributed is deployed to staging.
pub const STAGING: Subscription = Subscription {
    name: "staging-course",
    reads: Reads::Others(&[Wanted { topic: "distribution.events.v1", event_types: &["distribution.created"] }]),
    dead_letters: MODULE_DEAD_LETTERS,
    publishes: &[COURSES],
    effect: Effect::Reaction,
};
