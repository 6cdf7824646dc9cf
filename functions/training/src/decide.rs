//! The state machine of trainings: pure.
//!
//! | event | allowed from | otherwise |
//! |---|---|---|
//! | program.created | no program of that id, or a placeholder | `program.create.once` |
//! | program.published | draft, published | `program.publish.after-created` |
//! | session.scheduled | no session, a placeholder, or a session of the same program | `session.schedule.same-program` |
//! | booking.requested | no booking of that id | `booking.request.once` |
//! | booking.confirmed | requested, waitlisted | `booking.confirm.from-requested-or-waitlisted` |
//! | booking.waitlisted | requested | `booking.waitlist.from-requested` |
//! | booking.confirmed, booking.waitlisted | a booking of the same session | `booking.same-session` |

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::{Anomaly, Refusal};
use lyceum_core::states::{Aggregate, Changes, States};

use crate::events::Event;
use crate::state::{Booking, BookingStatus, Program, ProgramOwn, ProgramStatus, Scheduled, Session, State, remember};

type Decided = Result<Decision<State>, Refusal>;

/// Decides.
pub fn decide(states: &States<'_, State>, event: &Event, at: &Occurrence) -> Decided {
    match event {
        Event::ProgramCreated { program_id, title } => {
            create_program(known_or_new(states, program_id)?, program_id, title, at)
        }
        Event::ProgramPublished { program_id } => publish_program(known_or_new(states, program_id)?, program_id, at),
        Event::SessionScheduled { session_id, program_id, starts_at_ms, ends_at_ms, capacity } => {
            let own = Scheduled {
                program_id: program_id.clone(),
                starts_at_ms: *starts_at_ms,
                ends_at_ms: *ends_at_ms,
                capacity: *capacity,
                history: Vec::new(),
            };
            schedule_session(known_or_new(states, session_id)?, known_or_new(states, program_id)?, session_id, own, at)
        }
        Event::BookingRequested { booking_id, session_id, learner } => {
            let learner = learner.clone();
            let (session_id, status, history) = (session_id.clone(), BookingStatus::Requested, Vec::new());
            let requested = Booking { session_id, learner, status, history };
            request_booking(states, booking_id, requested, at)
        }
        Event::BookingConfirmed { booking_id, session_id } => {
            let booking = own_booking(states.get(booking_id)?, booking_id, session_id, "confirm")?;
            confirm_booking(booking, known_or_new(states, session_id)?, booking_id, at)
        }
        Event::BookingWaitlisted { booking_id, session_id } => {
            let booking = own_booking(states.get(booking_id)?, booking_id, session_id, "waitlist")?;
            waitlist_booking(booking, known_or_new(states, session_id)?, booking_id, at)
        }
    }
}

/// What is known of an aggregate; a new one is a placeholder until its own topic tells of it.
fn known_or_new<T: Aggregate<State = State> + Clone + Default>(
    states: &States<'_, State>,
    id: &str,
) -> Result<T, Refusal> {
    Ok(states.get::<T>(id)?.cloned().unwrap_or_default())
}

fn create_program(mut program: Program, id: &str, title: &str, at: &Occurrence) -> Decided {
    if let Some(own) = &program.own {
        let message = format!("program {id} exists already, as {} with the title {:?}", status(own.status), own.title);
        return Refusal::rejected("program.create.once", message);
    }
    let mut own = ProgramOwn { title: title.to_owned(), status: ProgramStatus::Draft, history: Vec::new() };
    remember(&mut own.history, at);
    program.own = Some(own);
    accept(Changes::new().put(id, program), Vec::new())
}

fn publish_program(mut program: Program, id: &str, at: &Occurrence) -> Decided {
    let Some(own) = &mut program.own else {
        let message = format!("program {id} was not created: there is nothing to publish");
        return Refusal::rejected("program.publish.after-created", message);
    };
    if own.status == ProgramStatus::Published {
        return accept(Changes::new().keep::<Program>(id), Vec::new());
    }
    own.status = ProgramStatus::Published;
    remember(&mut own.history, at);
    accept(Changes::new().put(id, program), Vec::new())
}

fn schedule_session(
    mut session: Session,
    mut program: Program,
    id: &str,
    mut own: Scheduled,
    at: &Occurrence,
) -> Decided {
    if let Some(before) = session.own.take() {
        if before.program_id != own.program_id {
            let message =
                format!("session {id} belongs to program {}, and cannot move to {}", before.program_id, own.program_id);
            return Refusal::rejected("session.schedule.same-program", message);
        }
        own.history = before.history;
    }
    remember(&mut own.history, at);
    let program_id = own.program_id.clone();
    session.own = Some(own);
    let anomalies = session.anomalies();
    let changes = Changes::new().put(id, session);
    // The program learns of the session once; an unknown program becomes a placeholder by it.
    let is_new = program.sessions.insert(id.into());
    let changes = if is_new { changes.put(program_id, program) } else { changes.keep::<Program>(program_id) };
    accept(changes, anomalies)
}

fn request_booking(states: &States<'_, State>, id: &str, mut booking: Booking, at: &Occurrence) -> Decided {
    if let Some(booking) = states.get::<Booking>(id)? {
        let message = format!("booking {id} exists already and is {}", booking.status.name());
        return Refusal::rejected("booking.request.once", message);
    }
    let session_id = booking.session_id.clone();
    let mut session: Session = known_or_new(states, &session_id)?;
    remember(&mut booking.history, at);
    session.requested += 1;
    accept(Changes::new().put(id, booking).put(session_id, session), Vec::new())
}

fn own_booking(booking: Option<&Booking>, id: &str, session_id: &str, verb: &str) -> Result<Booking, Refusal> {
    match booking {
        Some(booking) if booking.session_id == session_id => Ok(booking.clone()),
        Some(booking) => {
            let message = format!("booking {id} is for session {}, not for {session_id}", booking.session_id);
            Refusal::rejected("booking.same-session", message)
        }
        None => {
            let rule = match verb {
                "confirm" => "booking.confirm.from-requested-or-waitlisted",
                _ => "booking.waitlist.from-requested",
            };
            Refusal::rejected(rule, format!("booking {id} was not requested: there is nothing to {verb}"))
        }
    }
}

fn confirm_booking(mut booking: Booking, mut session: Session, id: &str, at: &Occurrence) -> Decided {
    match booking.status {
        BookingStatus::Requested => session.requested -= 1,
        BookingStatus::Waitlisted(sequence) => {
            session.waitlist.remove(&sequence);
        }
        BookingStatus::Confirmed => {
            let message = format!("booking {id} is confirmed already");
            return Refusal::rejected("booking.confirm.from-requested-or-waitlisted", message);
        }
    }
    booking.status = BookingStatus::Confirmed;
    remember(&mut booking.history, at);
    session.confirmed += 1;
    let (session_id, anomalies) = (booking.session_id.clone(), session.anomalies());
    accept(Changes::new().put(id, booking).put(session_id, session), anomalies)
}

fn waitlist_booking(mut booking: Booking, mut session: Session, id: &str, at: &Occurrence) -> Decided {
    if booking.status != BookingStatus::Requested {
        let message = format!("booking {id} is {}, and only a requested one can be waitlisted", booking.status.name());
        return Refusal::rejected("booking.waitlist.from-requested", message);
    }
    let sequence = session.next_sequence;
    session.next_sequence += 1;
    session.requested -= 1;
    session.waitlist.insert(sequence, id.into());
    booking.status = BookingStatus::Waitlisted(sequence);
    remember(&mut booking.history, at);
    let session_id = booking.session_id.clone();
    accept(Changes::new().put(id, booking).put(session_id, session), Vec::new())
}

fn accept(changes: Changes<State>, anomalies: Vec<Anomaly>) -> Decided {
    Ok(Decision { changes, follow_ups: Vec::new(), anomalies })
}

fn status(status: ProgramStatus) -> &'static str {
    match status {
        ProgramStatus::Draft => "draft",
        ProgramStatus::Published => "published",
    }
}

#[cfg(test)]
mod tests;
