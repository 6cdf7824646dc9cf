//! The events of the training family, and how each is read from a statement.

use lyceum_core::envelope::Envelope;
use lyceum_core::envelope::field::Fields;
use lyceum_core::family::{AggregateRef, EventType, ObjectIs, TopicOf};
use lyceum_core::outcome::Finding;
use serde::Serialize;

use crate::state::{BOOKING, PROGRAM, SESSION};

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
        verbs: &["http://nlj.platform/verbs/created"],
        object: ObjectIs::Kind("program"),
        effect: "program in draft",
    },
    EventType {
        name: "program.published",
        topic: PROGRAMS,
        verbs: &["http://nlj.platform/verbs/published"],
        object: ObjectIs::Kind("program"),
        effect: "draft → published; publishing twice is harmless",
    },
    EventType {
        name: "session.scheduled",
        topic: SESSIONS,
        verbs: &["http://nlj.platform/verbs/scheduled"],
        object: ObjectIs::Kind("session"),
        effect: "session of a program; scheduling again changes it",
    },
    EventType {
        name: "booking.requested",
        topic: BOOKINGS,
        verbs: &["http://nlj.platform/verbs/requested"],
        object: ObjectIs::Kind("booking"),
        effect: "booking requested",
    },
    EventType {
        name: "booking.confirmed",
        topic: BOOKINGS,
        verbs: &["http://nlj.platform/verbs/confirmed"],
        object: ObjectIs::Kind("booking"),
        effect: "requested or waitlisted → confirmed; over the capacity: anomaly overbooked",
    },
    EventType {
        name: "booking.waitlisted",
        topic: BOOKINGS,
        verbs: &["http://nlj.platform/verbs/waitlisted"],
        object: ObjectIs::Kind("booking"),
        effect: "requested → waitlisted, with a sequence number that only grows",
    },
];

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the event catalog, by their names there")]
pub enum Event {
    /// `program.created`
    ProgramCreated { program_id: String, title: String },
    /// `program.published`
    ProgramPublished { program_id: String },
    /// `session.scheduled`; instants in milliseconds since 1970 UTC
    SessionScheduled { session_id: String, program_id: String, starts_at_ms: i64, ends_at_ms: i64, capacity: u64 },
    /// `booking.requested`
    BookingRequested { booking_id: String, session_id: String, learner: String },
    /// `booking.confirmed`
    BookingConfirmed { booking_id: String, session_id: String },
    /// `booking.waitlisted`
    BookingWaitlisted { booking_id: String, session_id: String },
}

/// Reads an event; every field that is missing or wrong is a finding.
pub fn read(envelope: &Envelope<'_>) -> Result<Event, Vec<Finding>> {
    let mut fields = Fields::of(envelope);
    let event = match envelope.event_type {
        "program.created" => {
            Event::ProgramCreated { program_id: fields.object_id("program_id"), title: fields.title() }
        }
        "program.published" => Event::ProgramPublished { program_id: fields.object_id("program_id") },
        "session.scheduled" => {
            let (starts_at_ms, ends_at_ms) = (fields.instant_ms("starts_at"), fields.instant_ms("ends_at"));
            if fields.are_complete() && ends_at_ms <= starts_at_ms {
                fields.wrong_order("/context/extensions", "ends_at must be after starts_at");
            }
            Event::SessionScheduled {
                session_id: fields.object_id("session_id"),
                program_id: fields.id("program_id"),
                starts_at_ms,
                ends_at_ms,
                capacity: fields.whole_number("capacity", 1),
            }
        }
        kind => {
            let (booking_id, session_id) = (fields.object_id("booking_id"), fields.id("session_id"));
            match kind {
                "booking.confirmed" => Event::BookingConfirmed { booking_id, session_id },
                "booking.waitlisted" => Event::BookingWaitlisted { booking_id, session_id },
                _ => Event::BookingRequested { booking_id, session_id, learner: fields.learner() },
            }
        }
    };
    fields.finish(event)
}

impl Event {
    /// The Kafka key: the program of programs and sessions, the session of bookings.
    pub fn key(&self) -> &str {
        match self {
            Self::ProgramCreated { program_id, .. }
            | Self::ProgramPublished { program_id }
            | Self::SessionScheduled { program_id, .. } => program_id,
            Self::BookingRequested { session_id, .. }
            | Self::BookingConfirmed { session_id, .. }
            | Self::BookingWaitlisted { session_id, .. } => session_id,
        }
    }

    /// What the event reads or changes.
    pub fn aggregates(&self) -> Vec<AggregateRef> {
        let of = |kind, id: &String| AggregateRef { kind, id: id.clone() };
        match self {
            Self::ProgramCreated { program_id, .. } | Self::ProgramPublished { program_id } => {
                vec![of(PROGRAM, program_id)]
            }
            Self::SessionScheduled { session_id, program_id, .. } => {
                vec![of(SESSION, session_id), of(PROGRAM, program_id)]
            }
            Self::BookingRequested { booking_id, session_id, .. }
            | Self::BookingConfirmed { booking_id, session_id }
            | Self::BookingWaitlisted { booking_id, session_id } => {
                vec![of(BOOKING, booking_id), of(SESSION, session_id)]
            }
        }
    }
}
