//! The distribution family as data: topic, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, MODULE_DEAD_LETTERS, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const DISTRIBUTION_ID: Field = Field::required("distribution_id", Kind::Id, "The distribution");
const COURSE_ID: Field = Field::optional("course_id", Kind::Id, "The course that is offered");
const TITLE: Field = Field::optional("title", Kind::Text(2_048), "What people call it");
const VISIBILITY: Field = Field::optional("visibility", Kind::Words(&["public", "unlisted", "private"]), "Who sees it");
const STAGING_URL: Field =
    Field::optional("staging_url", Kind::Location, "Where it can be looked at before it is published");
const REFERRER: Field = Field::optional("referrer", Kind::Text(2_048), "Where they came from");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Charter,
    of: &[
        Payload {
            event_type: "distribution.created",
            purpose: "A course is to be offered to people.",
            criticality: Criticality::High,
            fields: &[
                DISTRIBUTION_ID,
                Field::required("course_id", Kind::Id, "The course that is offered"),
                Field::required("slug", Kind::Slug, "Its name in addresses"),
                TITLE,
                VISIBILITY,
                STAGING_URL,
            ],
        },
        Payload {
            event_type: "distribution.updated",
            purpose: "How the course is offered changed; what is left out stays as it is.",
            criticality: Criticality::Normal,
            fields: &[
                DISTRIBUTION_ID,
                COURSE_ID,
                Field::optional("slug", Kind::Slug, "Its name in addresses"),
                TITLE,
                VISIBILITY,
                STAGING_URL,
            ],
        },
        Payload {
            event_type: "distribution.deleted",
            purpose: "The offer is gone for good.",
            criticality: Criticality::High,
            fields: &[DISTRIBUTION_ID, COURSE_ID],
        },
        Payload {
            event_type: "distribution.published",
            purpose: "People can see the offer.",
            criticality: Criticality::High,
            fields: &[DISTRIBUTION_ID, COURSE_ID],
        },
        Payload {
            event_type: "distribution.unpublished",
            purpose: "People no longer see the offer.",
            criticality: Criticality::High,
            fields: &[DISTRIBUTION_ID, COURSE_ID],
        },
        Payload {
            event_type: "distribution.viewed",
            purpose: "Somebody looked at the offer.",
            criticality: Criticality::Low,
            fields: &[DISTRIBUTION_ID, COURSE_ID, REFERRER],
        },
        Payload {
            event_type: "distribution.enrollment_clicked",
            purpose: "Somebody wants to enrol.",
            criticality: Criticality::Normal,
            fields: &[
                DISTRIBUTION_ID,
                COURSE_ID,
                REFERRER,
                Field::optional("cta", Kind::Text(2_048), "What was clicked"),
            ],
        },
        Payload {
            event_type: "distribution.micro_niche_created",
            purpose: "The offer is for these people, too.",
            criticality: Criticality::Normal,
            fields: &[DISTRIBUTION_ID, COURSE_ID, Field::required("niche", Kind::Text(256), "For whom")],
        },
        Payload {
            event_type: "distribution.version_bumped",
            purpose: "The offer is for a newer version of the course.",
            criticality: Criticality::Normal,
            fields: &[
                DISTRIBUTION_ID,
                COURSE_ID,
                Field::required("version", Kind::Version, "The version from now on, higher than the one before"),
                Field::required("previous_version", Kind::Version, "The version before"),
            ],
        },
    ],
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
