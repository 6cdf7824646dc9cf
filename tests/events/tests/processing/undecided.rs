//! Nothing counts as settled that nobody confirmed: what answers short, what decides wrongly, what cannot be read.

use std::collections::BTreeSet;
use std::sync::Arc;

use lyceum_core::outcome::{DeadLetterKind, Outcome};
use lyceum_core::ports::event_log::Publish;
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::statements::StoreDocuments;
use lyceum_core::process::Services;
use lyceum_events_tests::probe::Probe;
use lyceum_events_tests::short::Short;
use lyceum_events_tests::statements::{
    BOOKINGS, STATEMENTS, booking, plain, probe_record, raw_record, record, with_header,
};
use lyceum_events_tests::world::{World, outcomes};
use lyceum_testing::handing::Handing;
use serde_json::{Value, json};

type Break = fn(Services) -> Services;

fn short_store(services: Services) -> Services {
    let statements: Arc<dyn StoreDocuments> = Arc::new(Short::<dyn StoreDocuments>(services.statements));
    Services { statements, ..services }
}

fn short_ledger(services: Services) -> Services {
    let ledger: Arc<dyn Ledger> = Arc::new(Handing(Short::<dyn Ledger>(services.ledger)));
    Services { ledger, ..services }
}

fn short_log(services: Services) -> Services {
    let event_log: Arc<dyn Publish> = Arc::new(Short::<dyn Publish>(services.event_log));
    Services { event_log, ..services }
}

#[test]
fn what_a_port_does_not_answer_for_is_delivered_again_and_then_done_once() {
    let booked = || vec![booking(1, "requested", "b1"), booking(2, "requested", "b2")];
    let cases: [(&str, &str, Vec<Value>, Break); 4] = [
        ("statement", STATEMENTS, vec![plain(1), plain(2)], short_store),
        ("training", BOOKINGS, booked(), short_store),
        ("training", BOOKINGS, booked(), short_ledger),
        ("training", BOOKINGS, vec![booking(3, "confirmed", "b9"), booking(4, "confirmed", "b8")], short_log),
    ];
    for (family, topic, values, breaks) in cases {
        let world = World::new();
        let records: Vec<_> = (0..).zip(&values).map(|(offset, value)| record(topic, offset, value)).collect();
        let broken = world.function_with(family, breaks);
        for report in world.deliver_to(&broken, &records) {
            assert_eq!(report.outcome.name(), "retry_later", "{family}: {report:?}");
        }
        let again = world.deliver(&records);
        assert!(again.iter().all(|report| report.outcome.is_settled()), "{again:?}");
        let letters: BTreeSet<_> = world.letters().into_iter().map(|letter| letter.id).collect();
        assert_eq!(world.statements.model.documents().len() + letters.len(), records.len());
    }
}

#[test]
fn a_family_that_forgets_a_state_or_takes_another_one_fails_its_record() {
    for mistake in ["forgets", "changes_another", "changes_another_kind", "asks_for_another"] {
        let world = World::new();
        let wrong = probe_record(0, 1, "p", json!({"mistake": mistake}));
        let right = probe_record(1, 2, "p", json!({}));
        let reports = world.deliver(&[wrong, right]);
        assert_eq!(outcomes(&reports), ["dead_lettered processing", "applied"], "{mistake}");
        let letter = &world.letters()[0];
        assert_eq!(letter.findings[0].rule, "decision.aggregates");
        assert!(letter.findings[0].message.contains("probe"), "{:?}", letter.findings);
        assert_eq!(
            world.show(Probe::FAMILY.name, "default", "probe", "p").unwrap()["seen"].as_array().unwrap().len(),
            1
        );
    }
}

#[test]
fn what_follows_on_a_topic_that_the_subscription_does_not_name_fails_the_record_and_is_not_published() {
    let world = World::new();
    let wrong = probe_record(0, 1, "p", json!({"mistake": "publishes_elsewhere", "follow_ups": 1}));
    assert_eq!(outcomes(&world.deliver(&[wrong])), ["dead_lettered processing"]);
    let letter = &world.letters()[0];
    assert_eq!(letter.findings[0].rule, "decision.topic");
    assert!(letter.findings[0].message.contains("elsewhere"), "{:?}", letter.findings);
}

#[test]
fn an_event_that_cannot_be_written_has_no_content_to_be_known_by_and_is_a_letter() {
    let world = World::new();
    let odd = |number| probe_record(number, 1, "p", json!({"mistake": "cannot_be_written"}));
    assert_eq!(outcomes(&world.deliver(&[odd(0), odd(1)])), ["dead_lettered processing"; 2]);
    assert_eq!(world.letters()[0].findings[0].rule, "event.encode");
    assert_eq!(world.ledger.model.keys().len(), 0);
}

#[test]
fn a_record_whose_word_on_its_replays_is_damaged_is_a_finding_and_no_first_delivery() {
    let sent = || record(BOOKINGS, 7, &booking(1, "requested", "b1"));
    for (header, damaged) in [
        ("lyceum-source", "nlj.training.bookings/0"),
        ("lyceum-source", "elsewhere"),
        ("lyceum-replay-count", "-1"),
        ("lyceum-replay-count", ""),
        ("lyceum-replay-count", "many"),
    ] {
        let world = World::new();
        let replay =
            with_header(with_header(sent(), "lyceum-source", "nlj.training.bookings/0/3"), "lyceum-replay-count", "2");
        let report = world.deliver_one(&with_header(replay, header, damaged));
        assert_eq!(report.outcome, Outcome::DeadLettered { kind: DeadLetterKind::Validation }, "{header} {damaged:?}");
        let letter = world.letters().remove(0);
        assert_eq!(letter.findings[0].rule, "replay.headers", "{:?}", letter.findings);
        assert!(letter.findings[0].message.contains(header), "{:?}", letter.findings);
        assert_eq!((letter.source, world.ledger.model.keys().len()), (sent().position, 0), "it takes no other's name");
    }
}

#[test]
fn what_is_wrong_with_a_value_is_told_beside_damaged_headers() {
    let world = World::new();
    let report = world.deliver_one(&with_header(raw_record(BOOKINGS, 0, "{"), "lyceum-replay-count", "x"));
    assert!(report.findings.len() > 1 && report.findings[0].rule == "replay.headers", "{report:?}");
}
