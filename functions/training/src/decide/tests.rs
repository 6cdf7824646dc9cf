use std::collections::BTreeMap;

use lyceum_core::record::Position;
use uuid::Uuid;

use lyceum_core::family::{AggregateRef, AggregateState, TypedEvent};

use super::*;

/// A fold of events over nothing, as the processing does it.
#[derive(Default)]
struct World {
    states: BTreeMap<AggregateRef, State>,
    anomalies: Vec<String>,
}

impl World {
    fn apply(&mut self, event: Event) -> Result<(), &'static str> {
        let ids = event.aggregates();
        let states = States::new(ids.iter().map(|id| (id.kind, &*id.id, self.states.get(id))));
        let at = Occurrence {
            event_id: Uuid::nil(),
            event_type: "any",
            tenant: "acme".into(),
            correlation_id: "c".into(),
            home: None,
            source: Position::new("t", 0, 0),
            occurred_at_ms: 0,
            now_ms: 0,
        };
        match decide(&states, &event, &at) {
            Ok(decision) => {
                self.anomalies.extend(decision.anomalies.iter().map(|anomaly| anomaly.name.to_string()));
                let changed = decision.changes.of_each(ids.iter().map(|id| (id.kind, &*id.id))).expect("each is named");
                self.states.extend(ids.into_iter().zip(changed).filter_map(|(id, state)| Some((id, state?))));
                Ok(())
            }
            Err(Refusal::Rejected { rule, .. }) => Err(rule),
            Err(Refusal::Transient { reason: wrong } | Refusal::Faulty { message: wrong }) => panic!("{wrong}"),
        }
    }

    fn apply_all(events: impl IntoIterator<Item = Event>) -> Self {
        let mut world = Self::default();
        for event in events {
            world.apply(event.clone()).unwrap_or_else(|rule| panic!("{event:?}: {rule}"));
        }
        world
    }

    fn view(&self, kind: &'static str, id: &str) -> serde_json::Value {
        let find = |of: &AggregateRef| self.states.get(of).cloned();
        let state = find(&AggregateRef { kind, id: id.into() }).expect("it is there");
        let related: Vec<_> = state.related().iter().map(find).collect();
        state.view(&related)
    }
}

fn created() -> Event {
    Event::ProgramCreated { program_id: "p".into(), title: "Safety".into() }
}

fn published() -> Event {
    Event::ProgramPublished { program_id: "p".into() }
}

fn scheduled(capacity: u64) -> Event {
    let (session_id, program_id) = ("s".into(), "p".into());
    Event::SessionScheduled { session_id, program_id, starts_at_ms: 0, ends_at_ms: 1, capacity }
}

fn requested(booking: &str) -> Event {
    Event::BookingRequested { booking_id: booking.into(), session_id: "s".into(), learner: "mbox:a@b.example".into() }
}

fn confirmed(booking: &str) -> Event {
    Event::BookingConfirmed { booking_id: booking.into(), session_id: "s".into() }
}

fn waitlisted(booking: &str) -> Event {
    Event::BookingWaitlisted { booking_id: booking.into(), session_id: "s".into() }
}

#[test]
fn publishing_a_program_twice_is_harmless() {
    let world = World::apply_all([created(), published(), published()]);
    assert_eq!(world.view("program", "p")["status"], "published");
}

#[test]
fn a_program_is_published_only_after_its_creation_whatever_placeholders_say() {
    let mut world = World::apply_all([scheduled(1)]);
    assert_eq!(world.view("program", "p")["known"], false);
    assert_eq!(world.apply(published()), Err("program.publish.after-created"));
    assert_eq!(world.apply(created()), Ok(()));
    assert_eq!(world.apply(published()), Ok(()));
    assert_eq!(world.apply(created()), Err("program.create.once"));
}

#[test]
fn a_session_stays_with_its_program() {
    let mut world = World::apply_all([scheduled(1)]);
    let (session_id, program_id) = ("s".into(), "other".into());
    let moved = Event::SessionScheduled { session_id, program_id, starts_at_ms: 0, ends_at_ms: 1, capacity: 1 };
    assert_eq!(world.apply(moved), Err("session.schedule.same-program"));
}

#[test]
fn a_booking_moves_only_along_its_state_machine() {
    let mut world = World::default();
    assert_eq!(world.apply(confirmed("b")), Err("booking.confirm.from-requested-or-waitlisted"));
    assert_eq!(world.apply(waitlisted("b")), Err("booking.waitlist.from-requested"));
    assert_eq!(world.apply(requested("b")), Ok(()));
    assert_eq!(world.apply(requested("b")), Err("booking.request.once"));
    assert_eq!(world.apply(waitlisted("b")), Ok(()));
    assert_eq!(world.apply(waitlisted("b")), Err("booking.waitlist.from-requested"));
    assert_eq!(world.apply(confirmed("b")), Ok(()));
    assert_eq!(world.apply(confirmed("b")), Err("booking.confirm.from-requested-or-waitlisted"));
    assert_eq!(world.apply(waitlisted("b")), Err("booking.waitlist.from-requested"));
    let elsewhere = Event::BookingConfirmed { booking_id: "b".into(), session_id: "other".into() };
    assert_eq!(world.apply(elsewhere), Err("booking.same-session"));
}

#[test]
fn the_rank_shown_is_computed_from_sequence_numbers_that_only_grow() {
    let mut events: Vec<_> = ["a", "b", "c"].iter().flat_map(|id| [requested(id), waitlisted(id)]).collect();
    events.push(confirmed("a"));
    events.extend([requested("d"), waitlisted("d")]);
    let world = World::apply_all(events);
    let ranks: Vec<_> = ["b", "c", "d"].map(|id| world.view("booking", id)["waiting_list_rank"].clone()).into();
    assert_eq!(ranks, [1, 2, 3]);
    assert_eq!(world.view("session", "s")["waiting_list"], serde_json::json!(["b", "c", "d"]));
}

#[test]
fn more_confirmed_bookings_than_seats_are_an_anomaly_and_not_a_rejection() {
    let world = World::apply_all([scheduled(1), requested("a"), confirmed("a"), requested("b"), confirmed("b")]);
    assert_eq!(world.anomalies, ["overbooked"]);
    assert_eq!(world.view("session", "s")["anomalies"][0]["name"], "overbooked");
}

#[test]
fn a_larger_room_ends_the_anomaly() {
    let world =
        World::apply_all([requested("a"), confirmed("a"), requested("b"), confirmed("b"), scheduled(1), scheduled(2)]);
    assert_eq!(world.view("session", "s")["anomalies"], serde_json::json!([]));
}

/// Every way to interleave three topics, each in its own order.
#[test]
fn the_final_state_is_the_same_for_every_interleaving_of_the_topics() {
    let topics = [
        vec![created(), published()],
        vec![scheduled(1), scheduled(2)],
        vec![requested("a"), confirmed("a"), requested("b"), waitlisted("b"), confirmed("b")],
    ];
    let mut orders = vec![];
    interleave(&topics, &mut [0; 3], &mut vec![], &mut orders);
    assert_eq!(orders.len(), 756);
    let expected = World::apply_all(orders[0].clone()).states;
    for order in orders {
        assert_eq!(World::apply_all(order.clone()).states, expected, "{order:?}");
    }
}

fn interleave(topics: &[Vec<Event>; 3], at: &mut [usize; 3], path: &mut Vec<Event>, all: &mut Vec<Vec<Event>>) {
    if topics.iter().zip(at.iter()).all(|(topic, at)| topic.len() == *at) {
        all.push(path.clone());
    }
    for topic in 0..3 {
        if let Some(event) = topics[topic].get(at[topic]) {
            path.push(event.clone());
            at[topic] += 1;
            interleave(topics, at, path, all);
            at[topic] -= 1;
            path.pop();
        }
    }
}
