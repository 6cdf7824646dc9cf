//! Dead letters hold the original, are published again when their event is redelivered, and can be replayed.

use lyceum_core::outcome::{DeadLetterKind, Outcome};
use lyceum_core::record::{Header, Record};
use lyceum_events_tests::statements::{BOOKINGS, STATEMENTS, booking, plain, raw_record, record, with_header};
use lyceum_events_tests::world::{World, outcomes};

fn odd_headers(mut record: Record) -> Record {
    record.key = Some((&b"\xff\0key"[..]).into());
    record.headers.extend([
        Header::new("twice", "1"),
        Header { name: "twice".into(), value: None },
        Header::new("bytes", &b"\xc3\x28\0"[..]),
        Header::new("lyceum-error-kind", "mine"),
        Header::new("lyceum-letter-id", "mine"),
    ]);
    record
}

#[test]
fn a_letter_holds_the_original_byte_for_byte() {
    for original in [
        odd_headers(raw_record(STATEMENTS, 3, &b"\x00\xff {\"a\":1.00}  "[..])),
        odd_headers(record(BOOKINGS, 3, &booking(1, "confirmed", "b1"))),
    ] {
        let world = World::new();
        world.deliver_one(&original);
        let letter = world.letters().remove(0);
        let Record { key, value, headers, position, timestamp_ms } = original;
        assert_eq!((letter.original.key, letter.original.value, letter.original.headers), (key, value, headers));
        assert_eq!((letter.source, letter.source_timestamp_ms), (position, Some(timestamp_ms)));
    }
}

#[test]
fn a_letter_tells_whose_it_is_and_why() {
    let world = World::new();
    let confirmed = record(BOOKINGS, 3, &booking(1, "confirmed", "b1"));
    let confirmed = with_header(with_header(confirmed, "tenant-id", "acme"), "correlation-id", "c-1");
    let report = world.deliver_one(&confirmed);
    let letter = world.letters().remove(0);
    assert_eq!((letter.kind, &letter.findings), (DeadLetterKind::Rejected, &report.findings));
    assert_eq!((letter.tenant.as_deref(), letter.correlation_id.as_deref()), (Some("acme"), Some("c-1")));
    assert_eq!((letter.family.as_str(), letter.attempts, letter.replay_count), ("training", 1, 0));
    assert_eq!(letter.first_failed_at.as_deref(), Some("2026-03-02T08:15:00Z"));
}

#[test]
fn a_rejected_events_letter_is_published_again_at_redelivery_under_the_same_id() {
    let world = World::new();
    let confirmed = record(BOOKINGS, 0, &booking(2, "confirmed", "b1"));
    assert_eq!(outcomes(&[world.deliver_one(&confirmed)]), ["dead_lettered rejected"]);
    world.deliver_one(&record(BOOKINGS, 1, &booking(1, "requested", "b1")));
    let report = world.deliver_one(&confirmed);
    assert_eq!(outcomes(&[report]), ["dead_lettered rejected"], "a redelivery decides nothing");
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0].id), (2, letters[1].id));
    assert_eq!(letters[0].findings, letters[1].findings);
}

#[test]
fn a_replayed_letter_is_decided_anew_after_its_precondition_arrived() {
    let world = World::new();
    world.deliver_one(&record(BOOKINGS, 50, &booking(2, "confirmed", "b1")));
    world.deliver_one(&record(BOOKINGS, 51, &booking(1, "requested", "b1")));
    let again = world.publish(world.letters()[0].replay());
    assert_ne!(again.position.offset, 50, "a replay is another record");
    assert_eq!(world.deliver_one(&again).outcome, Outcome::Applied);
    assert_eq!(world.show("training", "default", "booking", "b1").unwrap()["status"], "confirmed");
    assert_eq!(world.deliver_one(&again).outcome, Outcome::Applied, "its redelivery is its own effect");
    assert_eq!(world.letters().len(), 1);
    assert_eq!(world.statements.model.documents().len(), 2);
}

#[test]
fn an_original_and_its_replay_in_one_batch_are_decided_one_after_the_other() {
    let world = World::new();
    let confirmed = record(BOOKINGS, 0, &booking(2, "confirmed", "b1"));
    let requested = record(BOOKINGS, 1, &booking(1, "requested", "b1"));
    let mut replay = with_header(confirmed.clone(), "lyceum-source", "nlj.training.bookings/0/0");
    replay = with_header(replay, "lyceum-replay-count", "1");
    replay.position.offset = 2;
    let reports = world.deliver(&[confirmed, requested, replay]);
    assert_eq!(outcomes(&reports), ["dead_lettered rejected", "applied", "applied"]);
    assert_eq!(world.letters().len(), 1);
}

#[test]
fn a_replay_of_an_applied_event_changes_nothing() {
    let world = World::new();
    let requested = record(BOOKINGS, 0, &booking(1, "requested", "b1"));
    world.deliver_one(&requested);
    let state = world.ledger.model.aggregates();
    let mut replay = with_header(requested, "lyceum-replay-count", "3");
    replay.position.offset = 9;
    assert_eq!(world.deliver_one(&replay).outcome, Outcome::Duplicate);
    assert_eq!(world.ledger.model.aggregates(), state);
}

#[test]
fn a_replay_that_fails_again_has_a_letter_of_its_own_and_after_three_it_is_parked() {
    let world = World::new();
    let mut next = record(BOOKINGS, 40, &booking(1, "confirmed", "b1"));
    for replayed in 0..=3 {
        assert_eq!(outcomes(&[world.deliver_one(&next)]), ["dead_lettered rejected"]);
        let letters = world.letters();
        let letter = letters.iter().find(|letter| letter.replay_count == replayed).expect("one letter a replay");
        assert_eq!((letters.len(), letter.is_parked()), (replayed as usize + 1, replayed == 3));
        assert_eq!(letter.source.to_string(), "nlj.training.bookings/0/40", "the original's position stays");
        next = world.publish(letter.replay());
    }
    let mut ids: Vec<_> = world.letters().iter().map(|letter| letter.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn an_applied_event_whose_statement_the_store_refuses_is_an_undelivered_letter_whose_replay_emits_it_again() {
    let world = World::new();
    world.deliver_one(&record(STATEMENTS, 0, &plain(1)));
    let requested = record(BOOKINGS, 7, &booking(1, "requested", "b1"));
    for delivery in 1..=2 {
        assert_eq!(outcomes(&[world.deliver_one(&requested)]), ["dead_lettered undelivered"], "delivery {delivery}");
    }
    assert_eq!(world.show("training", "default", "booking", "b1").unwrap()["status"], "requested", "its state stands");
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0].id), (2, letters[1].id));
    assert_eq!(&*letters[0].position.topic, "nlj.errors.processing");
    let state = world.ledger.model.aggregates();
    let again = world.publish(letters[0].replay());
    assert_eq!(outcomes(&[world.deliver_one(&again)]), ["dead_lettered undelivered"]);
    assert_eq!(world.ledger.model.aggregates(), state);
    assert!(world.letters().iter().any(|letter| letter.replay_count == 1 && letter.id != letters[0].id));
}

#[test]
fn the_largest_event_that_a_family_with_state_takes_can_be_rejected() {
    let world = World::new();
    let mut value = booking(1, "confirmed", "b1").to_string();
    value.push_str(&" ".repeat(256 * 1024 - value.len()));
    let original = raw_record(BOOKINGS, 0, value);
    assert_eq!(outcomes(&[world.deliver_one(&original)]), ["dead_lettered rejected"]);
    assert_eq!(world.letters()[0].original.value, original.value);
}
