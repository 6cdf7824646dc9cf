//! The distribution family as data: topic, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::subscription::{Effect, KeyPlace, Reads, Subscription, Wanted};

/// Kind of the aggregate that keeps a distribution.
pub const DISTRIBUTION: &str = "distribution";

/// Its topic.
pub const DISTRIBUTIONS: &str = "distribution.events.v1";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[TopicOf { name: DISTRIBUTIONS, partitions: 3, key: "distribution id" }];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: "distribution.created",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "distribution of a course in draft; leads to course.deployed.staging",
    },
    EventType {
        name: "distribution.updated",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "other slug, title, visibility or staging address",
    },
    EventType {
        name: "distribution.deleted", topic: DISTRIBUTIONS, statement: None, effect: "unpublished → deleted"
    },
    EventType {
        name: "distribution.published",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "draft or unpublished → published",
    },
    EventType {
        name: "distribution.unpublished",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "published → unpublished",
    },
    EventType { name: "distribution.viewed", topic: DISTRIBUTIONS, statement: None, effect: "a view more" },
    EventType {
        name: "distribution.enrollment_clicked",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "a click more",
    },
    EventType {
        name: "distribution.micro_niche_created",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "a niche of the distribution",
    },
    EventType {
        name: "distribution.version_bumped",
        topic: DISTRIBUTIONS,
        statement: None,
        effect: "the version before → a higher one",
    },
];

/// The distribution family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "distribution",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: MODULE_DEAD_LETTERS,
    kinds: &[DISTRIBUTION],
};

/// Its own subscription. A distribution has an event for each of its views.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Apart });

/// A course that is done gets a distribution, and one that is deployed its address.
pub const INTAKE: Subscription = Subscription {
    name: "intake-distribution",
    reads: Reads::Others(&[Wanted {
        topic: "course.events.v1",
        event_types: &["course.generation.completed", "course.deployed.staging"],
    }]),
    dead_letters: MODULE_DEAD_LETTERS,
    publishes: &[DISTRIBUTIONS],
    effect: Effect::Reaction,
};
