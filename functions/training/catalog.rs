//! The training family as data: topics, event types, kinds of aggregate.

use lyceum_core::catalog::{EventType, FamilySpec, ObjectIs, PLATFORM_DEAD_LETTERS, StatementForm, TopicOf};
use lyceum_core::payload::{Criticality, Field, Form, Kind, Payload, Payloads};
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

const PROGRAM_ID: Field = Field::required("program_id", Kind::ActivityId, "The program");
const BOOKING_ID: Field = Field::required("booking_id", Kind::ActivityId, "The booking");
const SESSION_ID: Field = Field::required("session_id", Kind::IdOrNumber, "The session in which the seat is");

/// What its events carry.
pub const PAYLOADS: Payloads = Payloads {
    form: Form::Statement,
    of: &[
        Payload {
            event_type: "program.created",
            purpose: "A training organiser has a new program, which nobody can book yet.",
            criticality: Criticality::High,
            fields: &[PROGRAM_ID, Field::required("title", Kind::ActivityName, "What people call the program")],
        },
        Payload {
            event_type: "program.published",
            purpose: "The program is open: sessions of it may be booked.",
            criticality: Criticality::High,
            fields: &[PROGRAM_ID],
        },
        Payload {
            event_type: "session.scheduled",
            purpose: "A session of a program has a time and a room; sent again, it moves or grows.",
            criticality: Criticality::High,
            fields: &[
                Field::required("session_id", Kind::ActivityId, "The session"),
                Field::required("program_id", Kind::IdOrNumber, "The program that it belongs to"),
                Field::required("starts_at", Kind::Timestamp, "When it begins"),
                Field::required("ends_at", Kind::Timestamp, "When it ends, after it began"),
                Field::required("capacity", Kind::AtLeast(1), "How many seats it has"),
            ],
        },
        Payload {
            event_type: "booking.requested",
            purpose: "A learner wants a seat in a session.",
            criticality: Criticality::High,
            fields: &[BOOKING_ID, SESSION_ID, Field::required("learner", Kind::Learner, "Who wants the seat")],
        },
        Payload {
            event_type: "booking.confirmed",
            purpose: "Whoever decides gave the learner the seat.",
            criticality: Criticality::High,
            fields: &[BOOKING_ID, SESSION_ID],
        },
        Payload {
            event_type: "booking.waitlisted",
            purpose: "There was no seat: the learner waits for one.",
            criticality: Criticality::High,
            fields: &[BOOKING_ID, SESSION_ID],
        },
    ],
};

/// Its own subscription.
pub const SUBSCRIPTION: Subscription = Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home });
