//! The training family as data: topics, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, ObjectIs, PLATFORM_DEAD_LETTERS, StatementForm, TopicOf};
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};

/// Kind of the aggregate that keeps a program.
pub const PROGRAM: &str = "program";
/// Kind of the aggregate that keeps a session.
pub const SESSION: &str = "session";
/// Kind of the aggregate that keeps a booking.
pub const BOOKING: &str = "booking";

const PROGRAMS: &str = "nlj.training.programs";
const SESSIONS: &str = "nlj.training.sessions";
const BOOKINGS: &str = "nlj.training.bookings";

/// The topics, from the event catalog.
pub const TOPICS: &[TopicOf] = &[
    TopicOf { name: PROGRAMS, partitions: 3, key: "program id" },
    TopicOf { name: SESSIONS, partitions: 3, key: "program id" },
    TopicOf { name: BOOKINGS, partitions: 3, key: "session id" },
];

/// The event types, from the event catalog.
pub const EVENT_TYPES: &[EventType] = &[
    EventType {
        name: "program.created",
        topic: PROGRAMS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/created"],
            object: ObjectIs::Kind("program"),
        }),
        effect: "program in draft",
    },
    EventType {
        name: "program.published",
        topic: PROGRAMS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/published"],
            object: ObjectIs::Kind("program"),
        }),
        effect: "draft → published; publishing twice is harmless",
    },
    EventType {
        name: "session.scheduled",
        topic: SESSIONS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/scheduled"],
            object: ObjectIs::Kind("session"),
        }),
        effect: "session of a program; scheduling again changes it",
    },
    EventType {
        name: "booking.requested",
        topic: BOOKINGS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/requested"],
            object: ObjectIs::Kind("booking"),
        }),
        effect: "booking requested",
    },
    EventType {
        name: "booking.confirmed",
        topic: BOOKINGS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/confirmed"],
            object: ObjectIs::Kind("booking"),
        }),
        effect: "requested or waitlisted → confirmed; over the capacity: anomaly overbooked",
    },
    EventType {
        name: "booking.waitlisted",
        topic: BOOKINGS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/waitlisted"],
            object: ObjectIs::Kind("booking"),
        }),
        effect: "requested → waitlisted, with a sequence number that only grows",
    },
];

/// The training family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "training",
    topics: TOPICS,
    event_types: EVENT_TYPES,
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[PROGRAM, SESSION, BOOKING],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });
