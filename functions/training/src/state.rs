//! What is kept of programs, sessions and bookings, and what a person is shown of it.
//!
//! A program and a session are each fed by two topics. What a topic judges by is only what it wrote itself
//! ([`Program::own`], [`Session::own`]): so the final state does not depend on how topics interleave. An aggregate whose
//! own part is missing is a placeholder, shown as `known: false`.

use std::collections::{BTreeMap, BTreeSet};

use lyceum_core::family::{AggregateRef, AggregateState, Occurrence};
use lyceum_core::outcome::Anomaly;
use lyceum_core::record::Position;
use lyceum_core::states::Aggregate;
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;
use uuid::Uuid;

pub use lyceum_catalog::training::{BOOKING, PROGRAM, SESSION};

/// The state of any of the family's aggregates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A program.
    Program(Program),
    /// A session with the numbers of its bookings.
    Session(Session),
    /// One booking.
    Booking(Booking),
}

impl Aggregate for Program {
    type State = State;
    const KIND: &'static str = PROGRAM;

    fn of(state: &State) -> Option<&Self> {
        if let State::Program(program) = state { Some(program) } else { None }
    }

    fn into_state(self) -> State {
        State::Program(self)
    }
}

impl Aggregate for Session {
    type State = State;
    const KIND: &'static str = SESSION;

    fn of(state: &State) -> Option<&Self> {
        if let State::Session(session) = state { Some(session) } else { None }
    }

    fn into_state(self) -> State {
        State::Session(self)
    }
}

impl Aggregate for Booking {
    type State = State;
    const KIND: &'static str = BOOKING;

    fn of(state: &State) -> Option<&Self> {
        if let State::Booking(booking) = state { Some(booking) } else { None }
    }

    fn into_state(self) -> State {
        State::Booking(self)
    }
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What the programs topic said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<ProgramOwn>,
    /// The sessions that were scheduled for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sessions: BTreeSet<SmolStr>,
}

/// A program's own part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramOwn {
    /// `definition.name`.
    pub title: String,
    /// Draft or published.
    pub status: ProgramStatus,
    /// What happened to it.
    pub history: Vec<Transition>,
}

/// Where a program is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum ProgramStatus {
    Draft,
    Published,
}

/// A session and the numbers of its bookings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the sessions topic said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Scheduled>,
    /// Bookings that are requested and neither confirmed nor waitlisted.
    pub requested: u64,
    /// Bookings that are confirmed.
    pub confirmed: u64,
    /// Waitlisted bookings by their sequence number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waitlist: BTreeMap<u64, SmolStr>,
    /// The sequence number that the next waitlisted booking gets; only grows.
    pub next_sequence: u64,
}

/// A session's own part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Its program.
    pub program_id: SmolStr,
    /// Milliseconds since 1970 UTC.
    pub starts_at_ms: i64,
    /// Milliseconds since 1970 UTC.
    pub ends_at_ms: i64,
    /// Seats, at least 1.
    pub capacity: u64,
    /// What happened to it.
    pub history: Vec<Transition>,
}

/// A booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Its session.
    pub session_id: SmolStr,
    /// The learner's canonical identifier.
    pub learner: SmolStr,
    /// Where it is in its life.
    pub status: BookingStatus,
    /// What happened to it.
    pub history: Vec<Transition>,
}

/// Where a booking is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum BookingStatus {
    Requested,
    /// With its sequence number.
    Waitlisted(u64),
    Confirmed,
}

impl BookingStatus {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Waitlisted(_) => "waitlisted",
            Self::Confirmed => "confirmed",
        }
    }
}

/// One applied event, as history tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The event type.
    pub event: SmolStr,
    /// The event.
    pub id: Uuid,
    /// When it happened, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The record that brought it.
    pub source: Position,
}

/// So many transitions are remembered, the latest; state items stay small.
const HISTORY: usize = 20;

/// Appends an event to a history.
pub fn remember(history: &mut Vec<Transition>, at: &Occurrence) {
    if history.len() == HISTORY {
        history.remove(0);
    }
    history.push(Transition {
        event: SmolStr::new_static(at.event_type),
        id: at.event_id,
        at_ms: at.occurred_at_ms,
        source: at.source.clone(),
    });
}

impl Session {
    /// `overbooked`, derived whenever the state is read or written: whichever of capacity and bookings came last.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let Some(own) = self.own.as_ref().filter(|own| self.confirmed > own.capacity) else { return Vec::new() };
        let message = format!("{} bookings are confirmed for {} seats", self.confirmed, own.capacity);
        vec![Anomaly { name: "overbooked".into(), message }]
    }

    /// The place in the waiting list of a booking with that sequence number, counted from 1.
    pub fn rank(&self, sequence: u64) -> usize {
        self.waitlist.range(..sequence).count() + 1
    }
}

impl AggregateState for State {
    /// A booking's rank is read from its session.
    fn related(&self) -> Vec<AggregateRef> {
        match self {
            Self::Booking(booking) => vec![AggregateRef { kind: SESSION, id: booking.session_id.clone() }],
            _ => Vec::new(),
        }
    }

    fn view(&self, related: &[Option<State>]) -> Value {
        match self {
            Self::Program(Program { own: None, sessions }) => json!({"known": false, "sessions": sessions}),
            Self::Program(Program { own: Some(own), sessions }) => json!({
                "known": true, "title": own.title, "status": own.status, "sessions": sessions, "history": tell(&own.history),
            }),
            Self::Session(session) => {
                let mut view = json!({
                    "known": session.own.is_some(),
                    "bookings": {
                        "requested": session.requested,
                        "confirmed": session.confirmed,
                        "waitlisted": session.waitlist.len(),
                    },
                    "waiting_list": session.waitlist.values().collect::<Vec<_>>(),
                    "anomalies": session.anomalies(),
                });
                if let Some(own) = &session.own {
                    view["program_id"] = json!(own.program_id);
                    view["starts_at"] = json!(UtcTime::from_millis(own.starts_at_ms));
                    view["ends_at"] = json!(UtcTime::from_millis(own.ends_at_ms));
                    view["capacity"] = json!(own.capacity);
                    view["seats_left"] = json!(own.capacity.saturating_sub(session.confirmed));
                    view["history"] = tell(&own.history);
                }
                view
            }
            Self::Booking(booking) => {
                let mut view = json!({
                    "known": true,
                    "session_id": booking.session_id,
                    "learner": booking.learner,
                    "status": booking.status.name(),
                    "history": tell(&booking.history),
                });
                if let (BookingStatus::Waitlisted(sequence), Some(Some(State::Session(session)))) =
                    (booking.status, related.first())
                {
                    view["waiting_list_rank"] = json!(session.rank(sequence));
                }
                view
            }
        }
    }
}

fn tell(history: &[Transition]) -> Value {
    let line = |transition: &Transition| {
        json!({
            "event": transition.event, "id": transition.id, "at": UtcTime::from_millis(transition.at_ms), "source": transition.source,
        })
    };
    history.iter().map(line).collect()
}
