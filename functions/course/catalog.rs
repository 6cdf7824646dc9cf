//! The course family as data: topic, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
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
