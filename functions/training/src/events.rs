//! The events of the training family, and how each is read from a statement.

use lyceum_core::envelope::Envelope;
use lyceum_core::family::{AggregateRef, TypedEvent};
use lyceum_core::formats::statement::StatementFormat;
use lyceum_core::formats::statement::field::Fields;
use lyceum_core::outcome::Finding;
use serde::Serialize;
use smol_str::SmolStr;

use lyceum_catalog::training::{BOOKING, PROGRAM, SESSION};

/// An event with its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the event catalog, by their names there")]
pub enum Event {
    /// `program.created`
    ProgramCreated { program_id: SmolStr, title: String },
    /// `program.published`
    ProgramPublished { program_id: SmolStr },
    /// `session.scheduled`; instants in milliseconds since 1970 UTC
    SessionScheduled { session_id: SmolStr, program_id: SmolStr, starts_at_ms: i64, ends_at_ms: i64, capacity: u64 },
    /// `booking.requested`
    BookingRequested { booking_id: SmolStr, session_id: SmolStr, learner: SmolStr },
    /// `booking.confirmed`
    BookingConfirmed { booking_id: SmolStr, session_id: SmolStr },
    /// `booking.waitlisted`
    BookingWaitlisted { booking_id: SmolStr, session_id: SmolStr },
}

impl TypedEvent for Event {
    type Format = StatementFormat;

    /// Every field that is missing or wrong is a finding.
    fn read(envelope: &Envelope<'_>) -> Result<Self, Vec<Finding>> {
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

    /// The program of programs and sessions, the session of bookings.
    fn key(&self, _: &Envelope<'_>) -> String {
        let key = match self {
            Self::ProgramCreated { program_id, .. }
            | Self::ProgramPublished { program_id }
            | Self::SessionScheduled { program_id, .. } => program_id,
            Self::BookingRequested { session_id, .. }
            | Self::BookingConfirmed { session_id, .. }
            | Self::BookingWaitlisted { session_id, .. } => session_id,
        };
        key.to_string()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        let of = |kind, id: &SmolStr| AggregateRef { kind, id: id.clone() };
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
