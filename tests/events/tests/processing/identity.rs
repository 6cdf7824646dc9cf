//! Which event it is, whose it is, and what it belongs to.

use lyceum_core::envelope::derived_event_id;
use lyceum_core::outcome::Outcome;
use lyceum_core::record::{Position, Record};
use lyceum_events_tests::statements::{BOOKINGS, STATEMENTS, booking, plain, raw_record, record, with_header};
use lyceum_events_tests::world::{World, outcomes};
use serde_json::{Value, json};
use uuid::Uuid;

fn wrapped(statement: Value, metadata: Value) -> Value {
    json!({"xapi_data": statement, "metadata": metadata})
}

#[test]
fn a_correlation_id_comes_from_the_metadata_then_the_header_then_the_trace_then_the_event() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = |record| with_header(record, "traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    let of = |record: Record| World::new().deliver_one(&record).correlation_id.unwrap();

    let in_metadata = record(STATEMENTS, 0, &wrapped(plain(1), json!({"correlation_id": "from-metadata"})));
    assert_eq!(of(traced(in_metadata)), "from-metadata");
    let in_header = with_header(record(STATEMENTS, 0, &plain(1)), "correlation-id", "from-header");
    assert_eq!(of(traced(in_header)), "from-header");
    assert_eq!(of(traced(record(STATEMENTS, 0, &plain(1)))), trace);
    assert_eq!(of(record(STATEMENTS, 0, &plain(1))), Uuid::from_u128(1).to_string());
    let odd = with_header(record(STATEMENTS, 0, &plain(1)), "traceparent", "00-not hex-1-01");
    assert_eq!(of(odd), Uuid::from_u128(1).to_string());
}

#[test]
fn a_correlation_id_travels_into_the_stored_document_and_the_letter() {
    let world = World::new();
    let carried = |record| with_header(record, "correlation-id", "c-7");
    world.deliver_one(&carried(record(STATEMENTS, 0, &plain(1))));
    world.deliver_one(&carried(record(BOOKINGS, 0, &booking(2, "confirmed", "b1"))));
    assert_eq!(world.statements.model.documents()[0].document.correlation_id, "c-7");
    assert_eq!(world.letters()[0].correlation_id.as_deref(), Some("c-7"));
}

#[test]
fn the_same_event_id_in_two_tenants_is_two_events() {
    let world = World::new();
    let of = |offset, tenant, value: &Value| with_header(record(BOOKINGS, offset, value), "tenant-id", tenant);
    let (requested, other) = (booking(1, "requested", "b1"), booking(1, "requested", "b2"));
    let batch = [of(0, "acme", &requested), of(1, "globex", &other), of(2, "acme", &requested)];
    assert_eq!(outcomes(&world.deliver(&batch)), ["applied", "applied", "duplicate"]);
    for (tenant, theirs, foreign) in [("acme", "b1", "b2"), ("globex", "b2", "b1")] {
        assert_eq!(world.show("training", tenant, "session", "s1").unwrap()["bookings"]["requested"], 1);
        assert!(world.show("training", tenant, "booking", theirs).is_some());
        assert_eq!(world.show("training", tenant, "booking", foreign), None);
    }
    assert_eq!(world.show("training", "default", "session", "s1"), None);
    let tenants: Vec<_> = world.ledger.model.keys().into_iter().map(|(tenant, _, _)| tenant).collect();
    assert_eq!(tenants, ["acme", "globex"]);
    assert_eq!(world.statements.model.documents().len(), 2);
}

#[test]
fn a_tenant_whose_name_holds_a_separator_reaches_no_other_tenants_state() {
    let world = World::new();
    for tenant in ["a", "a/b", "a|b", "a#b", "a b"] {
        let requested = with_header(record(BOOKINGS, 0, &booking(1, "requested", "b1")), "tenant-id", tenant);
        assert_eq!(world.deliver_one(&requested).outcome, Outcome::Applied, "{tenant}");
    }
    assert_eq!(world.ledger.model.keys().len(), 5);
    assert_eq!(world.statements.model.documents().len(), 5);
}

#[test]
fn an_event_without_an_id_gets_one_from_its_source_at_a_redelivery_and_a_replay_alike() {
    let world = World::new();
    let mut value = booking(1, "confirmed", "b1");
    value.as_object_mut().unwrap().remove("id");
    let confirmed = record(BOOKINGS, 40, &value);
    let wanted = Some(derived_event_id(&Position::new(BOOKINGS, 0, 40)));
    assert_eq!(world.deliver_one(&confirmed).event_id, wanted);
    assert_eq!(world.deliver_one(&confirmed).event_id, wanted);
    world.deliver_one(&record(BOOKINGS, 41, &booking(2, "requested", "b1")));
    let replay = world.publish(world.letters()[0].replay());
    let report = world.deliver_one(&replay);
    assert_eq!((report.event_id, report.outcome), (wanted, Outcome::Applied));
    assert_ne!(world.deliver_one(&record(BOOKINGS, 42, &value)).event_id, wanted, "another record is another event");
}

#[test]
fn a_statements_bytes_are_stored_as_they_were_sent() {
    let world = World::new();
    let text = plain(1).to_string().replace("\"en\":", " \"en\" :\n ").replace("mailto", "m\\u0061ilto");
    let message = format!("\n {{\"metadata\": {{}}, \"xapi_data\": {text} , \"x\": 1}}");
    world.deliver_one(&raw_record(STATEMENTS, 0, message));
    assert_eq!(world.statements.model.documents()[0].document.raw, text);
}
