//! What a person is shown, and told of how events ended.

use futures::executor::block_on;
use lyceum_core::ports::ledger::KeyStatus::{Applied, Dead};
use lyceum_core::record::Record;
use lyceum_events_tests::statements::{BOOKINGS, STATEMENTS, booking, plain, raw_record, record};
use lyceum_events_tests::world::{World, outcomes};

#[test]
fn how_an_event_ended_is_known_by_its_key_and_of_what_is_no_event_nothing_is() {
    let world = World::new();
    let batch: Vec<Record> = vec![
        record(BOOKINGS, 0, &booking(1, "requested", "b1")),
        record(BOOKINGS, 1, &booking(2, "confirmed", "b2")),
        raw_record(BOOKINGS, 2, "no event"),
    ];
    let ended = || block_on(world.function("training").ended(&batch));
    assert_eq!(ended(), Ok(vec![None, None, None]), "nothing was delivered yet");
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "dead_lettered rejected", "dead_lettered decode"]);
    assert_eq!(ended(), Ok(vec![Some(Applied), Some(Dead), None]));
}

#[test]
fn of_events_without_keys_nobody_knows_how_they_ended_and_nothing_is_kept_to_be_shown() {
    let world = World::new();
    let viewed = [record(STATEMENTS, 0, &plain(1)), record(STATEMENTS, 1, &plain(2))];
    assert_eq!(outcomes(&world.deliver(&viewed)), ["applied", "applied"]);
    assert_eq!(block_on(world.function("statement").ended(&viewed)), Ok(vec![None, None]));
    assert_eq!(world.show("statement", "default", "page", "p1"), None);
}

#[test]
fn an_aggregate_is_shown_with_its_name_its_version_and_its_familys_view() {
    let world = World::new();
    world.deliver(&[record(BOOKINGS, 0, &booking(1, "requested", "b1"))]);
    let shown = world.show("training", "default", "booking", "b1").expect("it is there");
    let name = ["kind", "id", "tenant"].map(|part| shown[part].as_str());
    assert_eq!((name, shown["version"].as_u64()), ([Some("booking"), Some("b1"), Some("default")], Some(1)));
    assert_eq!(shown["status"], "requested");
    for (tenant, kind, id) in [("acme", "booking", "b1"), ("default", "program", "b1"), ("default", "booking", "b2")] {
        assert_eq!(world.show("training", tenant, kind, id), None);
    }
}
