//! What may succeed later is tried again, in order, and blocks nobody else.

use std::sync::Arc;
use std::time::Duration;

use lyceum_around::guarded::{BreakerLimits, Dependency, Guard, GuardLimits, Guarded};
use lyceum_core::clock::Clock;
use lyceum_core::metrics::{CircuitState, Metrics};
use lyceum_core::outcome::{DeadLetterKind, Outcome};
use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Commit, Content, KeyStatus, Ledger, MAX_ACTIONS, MAX_ITEM_BYTES,
};
use lyceum_core::record::{Header, Record};
use lyceum_events_tests::faults::Fault;
use lyceum_events_tests::probe::Probe;
use lyceum_events_tests::statements::{
    BOOKINGS, PROGRAMS, STATEMENTS, booking, event, plain, probe_record, raw_record, record, with_header,
};
use lyceum_events_tests::world::{BEGINNING_MS, INVOCATION, World, outcomes};
use serde_json::json;
use uuid::Uuid;

/// As long after the beginning as a probe's own work fails.
const LATER: Duration = Duration::from_secs(3_600);

fn fails_until_later() -> serde_json::Value {
    json!({"works_from_ms": BEGINNING_MS + LATER.as_millis() as i64})
}

#[test]
fn an_event_whose_store_failed_is_stored_on_the_next_delivery() {
    for value in [record(STATEMENTS, 0, &plain(1)), record(BOOKINGS, 0, &booking(1, "requested", "b1"))] {
        let world = World::new();
        world.statements.switch.set_down(true);
        assert_eq!(world.deliver_one(&value).outcome.name(), "retry_later");
        assert!(world.statements.model.documents().is_empty());
        world.statements.switch.set_down(false);
        assert_eq!(world.deliver_one(&value).outcome, Outcome::Applied);
        assert_eq!(world.statements.model.documents().len(), 1);
    }
}

#[test]
fn a_store_that_comes_back_within_the_invocation_costs_no_redelivery() {
    for faults in [vec![Some(Fault::Before); 3], vec![Some(Fault::After); 3]] {
        let world = World::new();
        world.statements.switch.script(faults.clone());
        world.ledger.switch.script(faults.clone());
        let report = world.deliver_one(&record(BOOKINGS, 0, &booking(1, "requested", "b1")));
        assert_eq!(report.outcome, Outcome::Applied, "{faults:?}");
        assert_eq!(world.statements.model.documents().len(), 1);
    }
}

#[test]
fn a_letter_that_could_not_be_published_is_published_on_the_next_delivery() {
    for faulty in [raw_record(STATEMENTS, 0, "{"), record(BOOKINGS, 0, &booking(1, "confirmed", "b1"))] {
        let world = World::new();
        world.event_log.switch.set_down(true);
        assert_eq!(world.deliver_one(&faulty).outcome.name(), "retry_later");
        assert!(world.letters().is_empty());
        world.event_log.switch.set_down(false);
        assert_eq!(world.deliver_one(&faulty).outcome.name(), "dead_lettered");
        assert_eq!(world.letters().len(), 1);
    }
}

#[test]
fn a_dependency_that_is_down_spends_no_attempt() {
    for down in 0..3 {
        let world = World::new();
        let switch = [&world.ledger.switch, &world.statements.switch, &world.event_log.switch][down];
        let sent = probe_record(0, 1, "p", json!({"follow_ups": 1}));
        switch.set_down(true);
        for _ in 0..10 {
            assert_eq!(world.deliver_one(&sent).outcome.name(), "retry_later");
            world.clock.advance(LATER);
        }
        switch.set_down(false);
        assert_eq!(world.deliver_one(&sent).outcome, Outcome::Applied);
        assert_eq!(world.ledger.switch.calls("count_attempt"), 0);
        assert!(world.letters().is_empty());
    }
}

#[test]
fn a_dependency_that_never_answers_takes_the_batchs_answer_from_nobody() {
    for (hangs, expected) in
        [["retry_later", "retry_later"], ["retry_later", "retry_later"], ["applied", "retry_later"]].iter().enumerate()
    {
        let world = World::new();
        let switch = [&world.ledger.switch, &world.statements.switch, &world.event_log.switch][hangs];
        let batch = [record(BOOKINGS, 0, &booking(1, "requested", "b1")), raw_record(BOOKINGS, 1, "{")];
        switch.set_hanging(true);
        for delivery in 1..=3 {
            let reports = world.deliver(&batch);
            let ended_ms = world.clock.now_ms() - BEGINNING_MS;
            assert!(ended_ms < delivery * INVOCATION.as_millis() as i64, "{hangs}: {ended_ms} ms");
            assert_eq!(outcomes(&reports), *expected, "{hangs}: {reports:?}");
        }
        switch.set_hanging(false);
        assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "dead_lettered decode"]);
        assert_eq!((world.statements.model.documents().len(), world.letters().len()), (1, 1));
        assert_eq!(world.ledger.switch.calls("count_attempt"), 0);
    }
}

#[test]
fn an_open_circuit_asks_nothing_and_spends_no_attempt() {
    // Guards measure time with tokio's clock.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let _time = runtime.enter();
    let world = World::new();
    let breaker = BreakerLimits { failures: 3, open_for: Duration::from_secs(3_600), trials: 1 };
    let limits = GuardLimits { breaker, ..GuardLimits::default() };
    let guard = Arc::new(Guard::new(Dependency::DynamoDb, limits, Arc::new(Metrics::new())));
    let ledger = Arc::new(Guarded::new(world.ledger.port(), guard.clone()));
    let function = world.function_on(Probe::FAMILY.name, ledger);
    // Its own work would fail, which is counted where the ledger is there.
    let sent = [probe_record(0, 1, "p", fails_until_later())];
    world.ledger.switch.set_down(true);
    assert_eq!(world.deliver_to(&function, &sent)[0].outcome.name(), "retry_later");
    assert_eq!(guard.circuit().state, CircuitState::Open);
    world.ledger.switch.set_down(false);
    let asked = world.ledger.switch.calls("load");
    for _ in 0..10 {
        let reports = world.deliver_to(&function, &sent);
        let Outcome::RetryLater { reason } = &reports[0].outcome else { panic!("{reports:?}") };
        assert!(reason.contains("the circuit to DynamoDB has been open"), "{reason}");
    }
    assert_eq!((world.ledger.switch.calls("load"), world.ledger.switch.calls("count_attempt")), (asked, 0));
    assert!(world.letters().is_empty());
}

#[test]
fn an_events_own_failures_are_counted_and_end_as_a_processing_letter() {
    for panics in [false, true] {
        let world = World::new();
        let mut wish = fails_until_later();
        wish["panics"] = json!(panics);
        let sent = probe_record(0, 1, "p", wish);
        let ended: Vec<_> = (0..4).map(|_| outcomes(&[world.deliver_one(&sent)]).remove(0)).collect();
        assert_eq!(ended, ["retry_later", "retry_later", "dead_lettered processing", "dead_lettered processing"]);
        let letters = world.letters();
        assert_eq!((letters[0].kind, letters[0].id), (DeadLetterKind::Processing, letters[1].id));
        assert_eq!(&*letters[0].position.topic, "nlj.errors.processing");
        assert_eq!(letters[0].findings[0].rule, "attempts.spent");

        world.clock.advance(LATER);
        let again = world.publish(letters[0].replay());
        assert_eq!(world.deliver_one(&again).outcome, Outcome::Applied, "a replay has attempts of its own");
    }
}

#[test]
fn an_own_failure_that_passes_is_applied_on_the_next_delivery() {
    let world = World::new();
    let sent = probe_record(0, 1, "p", fails_until_later());
    assert_eq!(world.deliver_one(&sent).outcome.name(), "retry_later");
    world.clock.advance(LATER);
    assert_eq!(world.deliver_one(&sent).outcome, Outcome::Applied);
    assert!(world.letters().is_empty());
}

#[test]
fn records_behind_a_failed_one_of_the_same_key_wait_and_other_keys_go_on() {
    let world = World::new();
    let batch = [
        probe_record(0, 1, "p", json!({})),
        probe_record(1, 2, "p", fails_until_later()),
        probe_record(2, 3, "q", json!({})),
        probe_record(3, 4, "p", json!({})),
        raw_record("probe.events", 4, "poison"),
        probe_record(5, 5, "p", json!({})),
    ];
    let expected = ["applied", "retry_later", "applied", "retry_later", "dead_lettered decode", "retry_later"];
    assert_eq!(outcomes(&world.deliver(&batch)), expected);
    let seen = |id| world.show("probe", "default", "probe", id).unwrap()["seen"].as_array().unwrap().len();
    assert_eq!((seen("p"), seen("q")), (1, 1));

    world.clock.advance(LATER);
    let again: Vec<Record> = [1, 3, 5].map(|at: usize| batch[at].clone()).to_vec();
    assert_eq!(outcomes(&world.deliver(&again)), ["applied"; 3]);
    let order = [1, 2, 4, 5].map(|number| Uuid::from_u128(number).to_string());
    assert_eq!(world.show("probe", "default", "probe", "p").unwrap()["seen"], json!(order), "in the order of offsets");
}

#[test]
fn records_behind_one_whose_follow_up_is_not_out_come_again_with_it() {
    let world = World::new();
    world.event_log.switch.set_down(true);
    let batch = [
        probe_record(0, 1, "p", json!({"follow_ups": 1})),
        probe_record(1, 2, "p", json!({})),
        probe_record(2, 3, "q", json!({})),
    ];
    assert_eq!(outcomes(&world.deliver(&batch)), ["retry_later", "retry_later", "applied"]);
    world.event_log.switch.set_down(false);
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied"; 3]);
    assert_eq!(world.records("probe.events").len(), 1);
    assert_eq!(world.statements.model.documents().len(), 3);
}

#[test]
fn poison_never_blocks() {
    let world = World::new();
    let poison: [&[u8]; 7] = [b"", b"{", b"\xff\xfe", b"null", b"[]", b"{\"xapi_data\": 1}", b"\0\0\0\0\x07avro"];
    let mut batch: Vec<Record> =
        (0..).zip(poison).map(|(offset, bytes)| raw_record(STATEMENTS, offset, bytes)).collect();
    let deep = "[".repeat(100_000);
    batch.push(raw_record(STATEMENTS, 7, deep.clone()));
    batch.push(raw_record(STATEMENTS, 8, format!("{{\"event_type\": {deep}")));
    batch.push(record(STATEMENTS, 9, &plain(1)));
    let reports = world.deliver(&batch);
    assert!(reports[..9].iter().all(|report| report.outcome.name() == "dead_lettered"), "{:?}", outcomes(&reports));
    assert_eq!(reports[9].outcome, Outcome::Applied);
    let mut letters = world.letters();
    letters.sort_by(|a, b| a.source.cmp(&b.source));
    let values: Vec<_> = letters.into_iter().map(|letter| letter.original.value).collect();
    assert_eq!(values, batch[..9].iter().map(|record| record.value.clone()).collect::<Vec<_>>());
}

#[test]
fn a_record_whose_letter_would_quote_too_much_never_blocks() {
    let quotes = "\"".repeat(300_000);
    let tenant = json!({"xapi_data": plain(1), "metadata": {"tenant_id": quotes}});
    let mut addresses = plain(2);
    let member = |n: usize| json!({"mbox": format!("{n} {}", "\\".repeat(40_000))});
    addresses["actor"] = json!({"objectType": "Group", "member": (0..12).map(member).collect::<Vec<_>>()});
    let mut large_headers = record(STATEMENTS, 2, &plain(3));
    large_headers.headers.push(Header::new("large", vec![b'x'; 1_048_400]));
    large_headers.key = Some("k".into());
    let mut large_key = raw_record(STATEMENTS, 3, "{");
    large_key.key = Some(vec![b'x'; 1_048_400].into());
    let batch = [
        with_header(record(STATEMENTS, 0, &tenant), "tenant-id", "other"),
        record(STATEMENTS, 1, &addresses),
        large_headers,
        large_key,
        record(STATEMENTS, 4, &plain(4)),
    ];
    let world = World::new();
    let expected = [
        "dead_lettered validation",
        "dead_lettered validation",
        "dead_lettered oversized",
        "dead_lettered decode",
        "applied",
    ];
    assert_eq!(outcomes(&world.deliver(&batch)), expected);
    assert_eq!(world.letters().len(), 4);
}

#[test]
fn a_rejection_that_would_quote_too_much_never_blocks() {
    let created = |number| {
        let mut value = event(number, "created", "program", "p1", &[]);
        value["object"]["definition"]["name"]["en"] = json!("\"".repeat(100_000));
        value
    };
    let world = World::new();
    let batch = [record(PROGRAMS, 0, &created(1)), record(PROGRAMS, 1, &created(2))];
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "dead_lettered rejected"]);
}

#[test]
fn an_event_whose_state_would_be_too_large_is_a_database_letter_and_the_key_goes_on() {
    let world = World::new();
    let batch = [
        probe_record(0, 1, "p", json!({})),
        probe_record(1, 2, "p", json!({"grows_by": MAX_ITEM_BYTES})),
        probe_record(2, 3, "p", json!({})),
    ];
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "dead_lettered database", "applied"]);
    let letters = world.letters();
    assert_eq!(&*letters[0].position.topic, "nlj.errors.database");
    assert_eq!(letters[0].findings[0].rule, "limit.item");
    let seen = json!([1, 3].map(Uuid::from_u128));
    assert_eq!(world.show("probe", "default", "probe", "p").unwrap()["seen"], seen);
}

#[test]
fn an_event_of_which_too_much_follows_is_a_database_letter_and_nothing_of_it_is_published() {
    let world = World::new();
    let batch = [probe_record(0, 1, "p", json!({"follow_ups": 3_000})), probe_record(1, 2, "p", json!({}))];
    assert_eq!(outcomes(&world.deliver(&batch)), ["dead_lettered database", "applied"]);
    assert_eq!(world.letters()[0].findings[0].rule, "limit.item");
    assert!(world.records(Probe::TOPIC).is_empty());
    assert_eq!(world.show("probe", "default", "probe", "p").unwrap()["seen"], json!([Uuid::from_u128(2)]));
}

#[test]
fn an_event_that_names_more_than_one_transaction_takes_is_a_database_letter_and_the_key_goes_on() {
    let world = World::new();
    let batch = [
        probe_record(0, 1, "p", json!({})),
        probe_record(1, 2, "p", json!({"others": MAX_ACTIONS})),
        probe_record(2, 3, "p", json!({})),
    ];
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "dead_lettered database", "applied"]);
    assert_eq!(world.letters()[0].findings[0].rule, "limit.transaction");
    let seen = json!([1, 3].map(Uuid::from_u128));
    assert_eq!(world.show("probe", "default", "probe", "p").unwrap()["seen"], seen);
}

#[test]
fn states_that_exceed_one_transaction_together_are_committed_in_several() {
    let world = World::new();
    let batch: Vec<Record> =
        (0..20).map(|n| probe_record(n, n as u128 + 1, "p", json!({"grows_by": 15_000}))).collect();
    assert!(world.deliver(&batch).iter().all(|report| report.outcome == Outcome::Applied));
    assert_eq!(world.show("probe", "default", "probe", "p").unwrap()["seen"].as_array().unwrap().len(), 20);
}

#[test]
fn an_aggregate_that_this_release_cannot_read_holds_back_its_own_key_only() {
    let world = World::new();
    let id = AggregateId { tenant: "default".into(), kind: "probe".into(), id: "newer".into() };
    let newer = AggregateWrite { id, expected: None, content: Some(Content::of("{\"of\": \"a newer release\"}")) };
    let commit = Commit { aggregates: vec![newer], keys: Vec::new() };
    futures::executor::block_on(world.ledger.model.commit(commit)).unwrap();
    let batch = [probe_record(0, 1, "newer", json!({})), probe_record(1, 2, "p", json!({}))];
    assert_eq!(outcomes(&world.deliver(&batch)), ["retry_later", "applied"]);
    let ended = futures::executor::block_on(world.function("probe").ended(&batch));
    assert_eq!(ended, Ok(vec![None, Some(KeyStatus::Applied)]));
}

#[test]
fn a_rejection_whose_header_names_take_more_room_when_recorded_never_blocks() {
    let mut value = booking(1, "confirmed", "b1").to_string();
    value.push_str(&" ".repeat(220 * 1024 - value.len()));
    let mut confirmed = raw_record(BOOKINGS, 0, value);
    confirmed.headers.push(Header::new("\u{1}".repeat(32_000), "1"));
    assert_eq!(outcomes(&[World::new().deliver_one(&confirmed)]), ["dead_lettered rejected"]);
}

#[test]
fn a_processing_letter_tells_how_often_its_event_was_delivered() {
    let world = World::new();
    let sent = probe_record(0, 1, "p", fails_until_later());
    let ended: Vec<_> = (0..3).map(|_| world.deliver_one(&sent).outcome.name()).collect();
    assert_eq!(ended, ["retry_later", "retry_later", "dead_lettered"]);
    assert_eq!(world.letters()[0].attempts, 3);
}
