//! Effects happen once.

use futures::executor::block_on;
use lyceum_core::analytics::learner::learner;
use lyceum_core::analytics::platform::overview;
use lyceum_core::clock::Clock;
use lyceum_core::envelope::follow_up_id;
use lyceum_core::outcome::Outcome;
use lyceum_core::ports::ledger::MAX_HOME_KEYS;
use lyceum_core::ports::statements::{Filter, QueryDocuments, StoreDocuments};
use lyceum_core::record::{Record, header_text};
use lyceum_events_tests::faults::Fault;
use lyceum_events_tests::probe::Probe;
use lyceum_events_tests::statements::{
    BOOKINGS, PROGRAMS, RESPONSES, STATEMENTS, booking, event, plain, probe_record, record,
};
use lyceum_events_tests::world::{BEGINNING_MS, World, outcomes};
use lyceum_xapi::utc_time::UtcTime;
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn a_statement_that_is_delivered_twice_is_stored_once() {
    let world = World::new();
    let viewed = record(STATEMENTS, 4, &plain(1));
    assert_eq!(world.deliver_one(&viewed).outcome, Outcome::Applied);
    let stored = world.statements.model.documents();
    assert_eq!(world.deliver_one(&viewed).outcome, Outcome::Applied, "the same record: its own effect");
    assert_eq!(world.statements.model.documents(), stored);
    assert_eq!(stored.len(), 1);
    assert_eq!(world.clock.now_ms(), BEGINNING_MS, "what is stored at once waits for no further attempt");
}

#[test]
fn an_event_at_another_offset_is_a_duplicate_and_the_first_position_stays() {
    let world = World::new();
    for (topic, value) in [(STATEMENTS, plain(1)), (BOOKINGS, booking(2, "requested", "b1"))] {
        assert_eq!(world.deliver_one(&record(topic, 4, &value)).outcome, Outcome::Applied);
        let stored = world.statements.model.documents();
        assert_eq!(world.deliver_one(&record(topic, 9, &value)).outcome, Outcome::Duplicate);
        assert_eq!(world.statements.model.documents(), stored, "{topic}");
    }
    assert_eq!(world.show("training", "default", "session", "s1").unwrap()["bookings"]["requested"], 1);
}

#[test]
fn copies_of_an_event_within_one_batch_are_applied_once() {
    let world = World::new();
    let value = booking(1, "requested", "b1");
    let batch: Vec<Record> = (0..3).map(|offset| record(BOOKINGS, offset, &value)).collect();
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "duplicate", "duplicate"]);
    assert_eq!(world.show("training", "default", "session", "s1").unwrap()["bookings"]["requested"], 1);
    assert_eq!(world.statements.model.documents().len(), 1);
}

#[test]
fn the_same_id_with_another_content_is_a_conflict_and_changes_nothing() {
    for (topic, first, other) in [
        (STATEMENTS, plain(1), event(1, "liked", "page", "p1", &[])),
        (BOOKINGS, booking(1, "requested", "b1"), booking(1, "confirmed", "b1")),
    ] {
        for in_one_batch in [true, false] {
            let world = World::new();
            let (first, other) = (record(topic, 0, &first), record(topic, 1, &other));
            let reports = match in_one_batch {
                true => world.deliver(&[first, other.clone()]),
                false => vec![world.deliver_one(&first), world.deliver_one(&other)],
            };
            assert_eq!(outcomes(&reports), ["applied", "dead_lettered conflict"], "{topic}");
            assert_eq!(world.statements.model.documents().len(), 1);
            assert_eq!(world.letters()[0].original.value, other.value);
        }
    }
    let world = World::new();
    world.deliver_one(&record(BOOKINGS, 0, &booking(1, "requested", "b1")));
    let state = world.ledger.model.aggregates();
    world.deliver_one(&record(BOOKINGS, 1, &booking(1, "confirmed", "b1")));
    assert_eq!(world.ledger.model.aggregates(), state);
}

/// An LRS assigns a timestamp where there is none (xAPI-Data 2.4.7), and may send the statement again with it.
#[test]
fn a_statement_resent_with_a_timestamp_that_it_lacked_is_a_duplicate_and_with_another_one_a_conflict() {
    for (topic, of) in [(STATEMENTS, plain(1)), (BOOKINGS, booking(1, "requested", "b1"))] {
        let with = |timestamp: Option<&str>| {
            let mut value = of.clone();
            value["timestamp"] = json!(timestamp);
            if timestamp.is_none() {
                value.as_object_mut().expect("a statement").remove("timestamp");
            }
            value
        };
        let (none, first, again, other) = (
            with(None),
            with(Some("2026-03-02T08:15:00Z")),
            with(Some("20260302T0915+01")),
            with(Some("2026-03-02T08:15:01Z")),
        );
        for (sent, expected) in [
            ([&none, &first, &other], ["applied", "duplicate", "duplicate"]),
            ([&first, &none, &again], ["applied", "duplicate", "duplicate"]),
            ([&first, &none, &other], ["applied", "duplicate", "dead_lettered conflict"]),
        ] {
            for in_one_batch in [true, false] {
                let world = World::new();
                let records: Vec<Record> =
                    (0..).zip(sent).map(|(offset, value)| record(topic, offset, value)).collect();
                let reports = match in_one_batch {
                    true => world.deliver(&records),
                    false => records.iter().map(|record| world.deliver_one(record)).collect(),
                };
                assert_eq!(outcomes(&reports), expected, "{topic} {sent:?}");
                assert_eq!(world.statements.model.documents().len(), 1);
            }
        }
    }
}

/// Keys at home are not found from another home: docs/cost.md tells why that is the price.
#[test]
fn an_id_that_comes_again_for_another_aggregate_is_applied_to_it_and_its_statement_undelivered() {
    for in_one_batch in [true, false] {
        let world = World::new();
        let first = record(BOOKINGS, 0, &booking(1, "requested", "b1"));
        let elsewhere = event(1, "requested", "booking", "b2", &[("session_id", json!("s2"))]);
        let other = record(BOOKINGS, 1, &elsewhere);
        let requested = || world.show("training", "default", "session", "s2").unwrap()["bookings"]["requested"].clone();
        let reports = match in_one_batch {
            true => world.deliver(&[first, other.clone()]),
            false => vec![world.deliver_one(&first), world.deliver_one(&other)],
        };
        assert_eq!(outcomes(&reports), ["applied", "dead_lettered undelivered"]);
        assert_eq!(world.statements.model.documents().len(), 1);
        let letter = &world.letters()[0];
        assert_eq!((&letter.original.value, &*letter.findings[0].rule), (&other.value, "event-id.conflict"));
        assert_eq!(requested(), 1);
        assert_eq!(outcomes(&[world.deliver_one(&other)]), ["dead_lettered undelivered"], "and nothing twice");
        assert_eq!(requested(), 1);
    }
    // A family whose keys are apart notices before anything changes.
    let world = World::new();
    assert_eq!(world.deliver_one(&probe_record(0, 7, "p", json!({}))).outcome, Outcome::Applied);
    let report = world.deliver_one(&probe_record(1, 7, "q", json!({})));
    assert_eq!(outcomes(&[report]), ["dead_lettered conflict"]);
    assert_eq!(world.ledger.model.aggregates().len(), 1);
}

#[test]
fn an_event_whose_statement_another_position_has_brought_is_applied_all_the_same() {
    let value = booking(1, "requested", "b1");
    let before = World::new();
    assert_eq!(before.deliver_one(&record(BOOKINGS, 4, &value)).outcome, Outcome::Applied);
    let stored = before.statements.model.documents().into_iter().map(|of| of.document).collect();
    // As where its key has expired, or a statement was imported before its event came.
    let world = World::new();
    block_on(world.statements.model.store(stored)).expect("it is stored");
    assert_eq!(world.deliver_one(&record(BOOKINGS, 9, &value)).outcome, Outcome::Applied);
    assert_eq!(world.show("training", "default", "session", "s1").unwrap()["bookings"]["requested"], 1);
    assert_eq!(world.statements.model.documents()[0].document.source.offset, 4);
    // Where storing it is the effect, nothing is left to be done.
    let world = World::new();
    let stored = before.deliver_one(&record(STATEMENTS, 4, &plain(2))).outcome;
    assert_eq!(stored, Outcome::Applied);
    let stored = before.statements.model.documents().into_iter().map(|of| of.document).collect();
    block_on(world.statements.model.store(stored)).expect("it is stored");
    assert_eq!(world.deliver_one(&record(STATEMENTS, 9, &plain(2))).outcome, Outcome::Duplicate);
}

#[test]
fn a_home_that_has_too_many_keys_gives_them_away_and_none_is_forgotten() {
    for batch in [1, 7, 100] {
        let world = World::new();
        let records: Vec<Record> = (0..2 * MAX_HOME_KEYS as i64 + 5).map(answered).collect();
        for records in records.chunks(batch) {
            assert!(outcomes(&world.deliver(records)).iter().all(|outcome| outcome == "applied"));
        }
        assert_eq!(world.ledger.model.keys().len(), records.len(), "{batch} a batch");
        let (_, stored) = world.ledger.model.aggregates().remove(0);
        assert!(stored.content.keys.apart && stored.content.keys.here.len() <= MAX_HOME_KEYS);
        let before = world.ledger.model.aggregates();
        for records in records.chunks(batch) {
            // The very records again count as applied, as after an answer that was lost.
            assert!(outcomes(&world.deliver(records)).iter().all(|outcome| outcome == "applied"));
        }
        assert_eq!(world.ledger.model.aggregates(), before);
    }
}

#[test]
fn an_id_that_comes_again_for_other_homes_blocks_none_of_them() {
    let publish = |offset, program: &str| record(PROGRAMS, offset, &event(1, "published", "program", program, &[]));
    for in_one_batch in [true, false] {
        let world = World::new();
        let records = [publish(0, "p1"), publish(1, "p2"), publish(2, "p1")];
        let reports = match in_one_batch {
            true => world.deliver(&records),
            false => records.iter().map(|record| world.deliver_one(record)).collect(),
        };
        assert_eq!(outcomes(&reports), ["dead_lettered rejected"; 3]);
    }
    // Answers of two responses under the same ids, both with more than a home keeps.
    let world = World::new();
    for n in 0..MAX_HOME_KEYS as i64 + 4 {
        let first = answered(n);
        assert_eq!(outcomes(&[world.deliver_one(&first)]), ["applied"]);
        let mut other: Value = serde_json::from_slice(first.value.as_deref().unwrap()).unwrap();
        other["context"]["registration"] = json!(Uuid::from_u128(2));
        let other = record(RESPONSES, 1_000 + n, &other);
        assert_eq!(outcomes(&[world.deliver_one(&other)]), ["dead_lettered undelivered"]);
    }
    assert_eq!(world.ledger.model.keys().len(), 2 * (MAX_HOME_KEYS + 4));
}

#[test]
fn rejections_whose_letters_and_home_exceed_one_transaction_together_are_committed_in_several() {
    let world = World::new();
    let answer_of = |n: i64, response: String| {
        let mut value: Value = serde_json::from_slice(answered(n).value.as_deref().unwrap()).unwrap();
        value["result"]["response"] = json!(response);
        record(RESPONSES, n, &value)
    };
    assert_eq!(world.deliver_one(&answer_of(0, "a".repeat(200_000))).outcome, Outcome::Applied);
    let mut completed: Value = serde_json::from_slice(answered(1).value.as_deref().unwrap()).unwrap();
    completed["verb"]["id"] = json!("http://adlnet.gov/expapi/verbs/completed");
    completed["object"]["id"] = json!("http://nlj.platform/activities/survey/pulse");
    assert_eq!(world.deliver_one(&record(RESPONSES, 1, &completed)).outcome, Outcome::Applied);
    let late: Vec<Record> = (2..90).map(|n| answer_of(n, "b".repeat(36_000))).collect();
    assert!(outcomes(&world.deliver(&late)).iter().all(|outcome| outcome == "dead_lettered rejected"));
}

#[test]
fn a_rejection_leaves_its_key_with_a_home_that_has_no_state_yet() {
    let world = World::new();
    let published = record(PROGRAMS, 0, &event(1, "published", "program", "p1", &[]));
    assert_eq!(outcomes(&[world.deliver_one(&published)]), ["dead_lettered rejected"]);
    assert_eq!(world.show("training", "default", "program", "p1"), None);
    assert_eq!(world.ledger.model.keys().len(), 1);
    let letters = world.letters().len();
    assert_eq!(outcomes(&[world.deliver_one(&published)]), ["dead_lettered rejected"]);
    let ids: Vec<_> = world.letters().iter().map(|letter| letter.id).collect();
    assert!(ids.len() > letters && ids.iter().all(|id| *id == ids[0]), "the same letter once more: {ids:?}");
}

#[test]
fn a_commit_whose_answer_was_lost_is_neither_lost_nor_repeated() {
    let world = World::new();
    world.ledger.switch.script([Some(Fault::After)]);
    let batch =
        [record(BOOKINGS, 0, &booking(1, "requested", "b1")), record(BOOKINGS, 1, &booking(2, "requested", "b2"))];
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "applied"]);
    assert_eq!(world.show("training", "default", "session", "s1").unwrap()["bookings"]["requested"], 2);
    assert_eq!(world.statements.model.documents().len(), 2);
}

#[test]
fn follow_ups_have_ids_that_their_event_decides_and_come_again_as_they_were() {
    let world = World::new();
    let sent = probe_record(0, 7, "p", json!({"follow_ups": 2}));
    assert_eq!(world.deliver_one(&sent).outcome, Outcome::Applied);
    let first = world.records(Probe::TOPIC);
    let ids: Vec<_> = first.iter().map(|of| header_text(&of.headers, "event-id").unwrap().to_owned()).collect();
    let wanted = [0, 1].map(|ordinal| follow_up_id(Uuid::from_u128(7), None, Probe::FOLLOW_UP, ordinal).to_string());
    assert_eq!(ids, wanted);
    for of in &first {
        assert_eq!(header_text(&of.headers, "correlation-id"), Some(Uuid::from_u128(7).to_string().as_str()));
        assert_eq!(header_text(&of.headers, "tenant-id"), Some("default"));
        assert_eq!(header_text(&of.headers, "event-type"), Some(Probe::FOLLOW_UP));
    }
    assert_eq!(world.deliver_one(&sent).outcome, Outcome::Applied);
    let content = |of: &Record| (of.key.clone(), of.value.clone(), of.headers.clone());
    let all: Vec<_> = world.records(Probe::TOPIC).iter().map(content).collect();
    let first: Vec<_> = first.iter().map(content).collect();
    assert_eq!(all, [first.clone(), first].concat());
}

#[test]
fn a_statement_that_is_voided_leaves_searches_whichever_comes_first() {
    let mut voiding = plain(2);
    voiding["verb"]["id"] = json!("http://adlnet.gov/expapi/verbs/voided");
    voiding["object"] = json!({"objectType": "StatementRef", "id": Uuid::from_u128(1)});
    for order in [[plain(1), voiding.clone()], [voiding.clone(), plain(1)]] {
        let world = World::new();
        let batch: Vec<Record> = (0..).zip(&order).map(|(offset, value)| record(STATEMENTS, offset, value)).collect();
        assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "applied"]);
        let found = futures::executor::block_on(world.statements.model.search(&Filter::default(), 10, None)).unwrap();
        let ids: Vec<_> = found.statements.iter().map(|found| found.document.id).collect();
        assert_eq!(ids, [Uuid::from_u128(2)]);
        let target = futures::executor::block_on(world.statements.model.get("default", Uuid::from_u128(1))).unwrap();
        assert!(target.is_some_and(|target| target.voided));
    }
}

#[test]
fn the_statement_of_a_rejected_event_is_not_stored() {
    let world = World::new();
    let report = world.deliver_one(&record(BOOKINGS, 0, &booking(1, "confirmed", "b1")));
    assert_eq!(outcomes(&[report]), ["dead_lettered rejected"]);
    assert!(world.statements.model.documents().is_empty());
}

#[test]
fn a_hundred_events_of_one_session_cost_one_load_and_three_commits() {
    let world = World::new();
    let requested = |n: i64| record(BOOKINGS, n, &booking(n as u128 + 1, "requested", &format!("b{n}")));
    let batch: Vec<Record> = (0..100).map(requested).collect();
    assert!(world.deliver(&batch).iter().all(|report| report.outcome == Outcome::Applied));
    let calls = |operation| world.ledger.switch.calls(operation);
    // Each event is a booking and a key, and all share the session: 49 of them fill the 100 actions of a transaction.
    assert_eq!((calls("load"), calls("commit"), calls("count_attempt")), (1, 3, 0));
    world.deliver(&batch);
    assert_eq!((calls("load"), calls("commit")), (2, 3), "a redelivery only reads");
    assert_eq!(world.show("training", "default", "session", "s1").unwrap()["bookings"]["requested"], 100);
}

/// The answer to one question of a response.
fn answered(n: i64) -> Record {
    let mut value = event(n as u128 + 1, "answered", "question", &format!("q{n}"), &[("survey_id", json!("pulse"))]);
    value["context"]["registration"] = json!(Uuid::from_u128(1));
    value["result"] = json!({"response": "yes"});
    record(RESPONSES, n, &value)
}

#[test]
fn a_hundred_answers_of_one_response_cost_one_load_and_two_commits() {
    let world = World::new();
    let batch: Vec<Record> = (0..100).map(answered).collect();
    assert!(world.deliver(&batch).iter().all(|report| report.outcome == Outcome::Applied));
    let calls = |operation| world.ledger.switch.calls(operation);
    assert_eq!((calls("load"), calls("commit")), (1, 2));
}

#[test]
fn a_session_and_its_program_end_alike_whichever_topic_comes_first() {
    let created = record(PROGRAMS, 0, &event(1, "created", "program", "p1", &[]));
    let published = record(PROGRAMS, 1, &event(2, "published", "program", "p1", &[]));
    let times = [
        ("program_id", json!("p1")),
        ("starts_at", json!("2026-03-09T09:00:00Z")),
        ("ends_at", json!("2026-03-09T17:00:00Z")),
        ("capacity", json!(1)),
    ];
    let scheduled = record("nlj.training.sessions", 0, &event(3, "scheduled", "session", "s1", &times));
    let booked = [
        record(BOOKINGS, 0, &booking(4, "requested", "b1")),
        record(BOOKINGS, 1, &booking(5, "requested", "b2")),
        record(BOOKINGS, 2, &booking(6, "confirmed", "b1")),
        record(BOOKINGS, 3, &booking(7, "confirmed", "b2")),
    ];
    let end = |order: &[&[Record]]| -> Vec<Value> {
        let world = World::new();
        for batch in order {
            assert!(world.deliver(batch).iter().all(|report| report.outcome == Outcome::Applied));
        }
        let show = |(kind, id)| world.show("training", "default", kind, id).map(without_version).unwrap();
        [("program", "p1"), ("session", "s1"), ("booking", "b1"), ("booking", "b2")].map(show).to_vec()
    };
    let programs = [created.clone(), published.clone()];
    let (first, sessions, second) = (&programs[..1], &[scheduled][..], &programs[1..]);
    let expected = end(&[&programs, sessions, &booked]);
    assert_eq!(expected[1]["anomalies"][0]["name"], "overbooked");
    for order in [
        [&booked[..], sessions, first, second],
        [first, &booked[..], sessions, second],
        [sessions, first, second, &booked[..]],
        [&booked[..2], sessions, &programs, &booked[2..]],
    ] {
        assert_eq!(end(&order), expected);
    }
}

/// Commits are counted by the version, and their number is not part of the state.
fn without_version(mut view: Value) -> Value {
    view.as_object_mut().and_then(|view| view.remove("version")).expect("a view has a version");
    view
}

/// The future is allowed to its end, beyond what a date library can shift.
#[test]
fn a_timestamp_at_the_end_of_time_is_counted_on_its_day_and_keeps_first_and_last_of_all() {
    let world = World::new();
    for (offset, timestamp) in
        (0..).zip(["2026-03-02T08:15:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "2016-12-31T23:59:60Z"])
    {
        let mut value = plain(offset as u128 + 1);
        value["actor"] = json!({"mbox": "mailto:ada@academy.example"});
        value["timestamp"] = json!(timestamp);
        assert_eq!(world.deliver_one(&record(STATEMENTS, offset, &value)).outcome, Outcome::Applied, "{timestamp}");
    }
    let platform = block_on(overview(&*world.statements.model, &Filter::default())).unwrap();
    let days: Vec<_> = platform.by_day.iter().map(|day| (day.day.as_str(), day.count)).collect();
    assert_eq!(days, [("2016-12-31", 1), ("2026-03-02", 1), ("9999-12-31", 1), ("+010000-01-01", 1)]);
    let told = |instant: Option<UtcTime>| instant.map(|instant| instant.to_string());
    assert_eq!(told(platform.first).as_deref(), Some("2016-12-31T23:59:59.999Z"));
    assert_eq!(told(platform.last).as_deref(), Some("+010000-01-01T04:59:59Z"));
    let ada = block_on(learner(&*world.statements.model, None, "mailto:ada@academy.example", None, None)).unwrap();
    assert_eq!(
        (ada.active_days, ada.streak_days, ada.first_seen, ada.last_seen),
        (4, 2, platform.first, platform.last)
    );
}
