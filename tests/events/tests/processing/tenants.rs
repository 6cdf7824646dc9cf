//! Whose a dead letter is: two tenants, every way to name either of them.

use lyceum_core::envelope::{TENANT_GIVEN_HEADER, TENANT_HEADER};
use lyceum_core::record::Record;
use lyceum_events_tests::statements::{BOOKINGS, STATEMENTS, event, raw_record, record, with_header};
use lyceum_events_tests::world::World;
use serde_json::{Value, json};

/// Where a record's value may name a tenant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Named {
    Nowhere,
    InMetadata,
    InAnExtension,
    InBoth,
}

/// An event that can never be applied, since its duration is none.
fn invalid(named: Named, tenant: &str) -> Value {
    let extensions = match named {
        Named::InAnExtension | Named::InBoth => vec![("tenant_id", json!(tenant))],
        Named::Nowhere | Named::InMetadata => Vec::new(),
    };
    let mut statement = event(1, "viewed", "page", "p1", &extensions);
    statement["result"] = json!({"duration": "two hours"});
    match named {
        Named::InMetadata | Named::InBoth => json!({"xapi_data": statement, "metadata": {"tenant_id": tenant}}),
        Named::Nowhere | Named::InAnExtension => statement,
    }
}

/// Whose the record's letter is.
fn whose(record: &Record) -> Option<String> {
    let world = World::new();
    let report = world.deliver_one(record);
    let [letter] = &*world.letters() else { panic!("one letter of {record:?}, not {:?}", report.outcome) };
    assert_eq!(report.tenant.as_deref(), letter.tenant.as_deref(), "the report names another one than the letter");
    letter.tenant.clone()
}

const WAYS: [Named; 4] = [Named::Nowhere, Named::InMetadata, Named::InAnExtension, Named::InBoth];

#[test]
fn whoever_a_credential_publishes_for_has_the_letter_whatever_the_record_says_of_itself() {
    for named in WAYS {
        for tenant in ["acme", "beta"] {
            let given = with_header(record(STATEMENTS, 0, &invalid(named, tenant)), TENANT_HEADER, "beta");
            let given = with_header(given, TENANT_GIVEN_HEADER, "true");
            assert_eq!(whose(&given).as_deref(), Some("beta"), "{named:?} {tenant}");
        }
    }
}

#[test]
fn where_nobody_is_to_be_trusted_a_letter_of_two_tenants_is_an_operators_alone() {
    for named in WAYS {
        let value = invalid(named, "acme");
        let differing = with_header(record(STATEMENTS, 0, &value), TENANT_HEADER, "beta");
        let expected = if named == Named::Nowhere { Some("beta") } else { None };
        assert_eq!(whose(&differing).as_deref(), expected, "{named:?}");
        let agreeing = with_header(record(STATEMENTS, 0, &value), TENANT_HEADER, "acme");
        assert_eq!(whose(&agreeing).as_deref(), Some("acme"), "{named:?}");
    }
    let mut both = invalid(Named::InBoth, "acme");
    both["metadata"]["tenant_id"] = json!("beta");
    assert_eq!(whose(&record(STATEMENTS, 0, &both)), None);
}

#[test]
fn what_names_no_tenant_is_the_default_ones_also_where_it_cannot_be_read() {
    let default = Some("default");
    assert_eq!(whose(&record(STATEMENTS, 0, &invalid(Named::Nowhere, ""))).as_deref(), default);
    for unreadable in [&b"\xff"[..], b"{}", b"[1, 2]", b"{\"xapi_data\": 1}", b"{\"event_type\": \"no.such\"}"] {
        for topic in [STATEMENTS, BOOKINGS] {
            let record = raw_record(topic, 0, unreadable.to_vec());
            assert_eq!(whose(&record).as_deref(), default, "{unreadable:?} on {topic}");
            let of_header = with_header(record, TENANT_HEADER, "acme");
            assert_eq!(whose(&of_header).as_deref(), Some("acme"), "{unreadable:?} on {topic}");
        }
    }
    let without_statement = json!({"event_type": "statement", "xapi_data": 1, "metadata": {"tenant_id": "acme"}});
    assert_eq!(whose(&record(STATEMENTS, 0, &without_statement)).as_deref(), Some("acme"));
}
