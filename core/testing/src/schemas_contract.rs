//! What every registry of schemas keeps to, whoever runs it.

use futures::future::join_all;
use lyceum_core::formats::avro::Schema;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef};

/// A schema that each registry under test is given, and the next version of it.
pub const REGISTERED: [&str; 2] = [
    r#"{"type": "record", "name": "Answer", "namespace": "contract", "fields": [{"name": "user_id", "type": "string"}]}"#,
    r#"{"type": "record", "name": "Answer", "namespace": "contract", "fields": [{"name": "user_id", "type": "string"},
        {"name": "score", "type": ["null", "double"], "default": null}]}"#,
];

/// What was registered is found by its name, however often and by however many at once it is asked for, and reads as it did; what
/// was not is no schema and no failure; and it says that it is well.
///
/// # Panics
/// Where it does not.
pub async fn what_was_registered_is_found_by_its_name_and_what_was_not_is_none(
    registry: &dyn FindSchema,
    registered: &[(SchemaRef, &str)],
    unknown: &[SchemaRef],
) {
    registry.ping().await.expect("it is well");
    for _ in 0..2 {
        for (schema, text) in registered {
            let found = registry.find(schema).await.unwrap_or_else(|error| panic!("{schema}: {error}"));
            let found = found.unwrap_or_else(|| panic!("{schema} is not there"));
            let canonical =
                |text: &str| Schema::parse(text).unwrap_or_else(|error| panic!("{schema}: {error}")).canonical_form();
            assert_eq!(canonical(&found), canonical(text), "{schema}");
        }
        for schema in unknown {
            assert_eq!(registry.find(schema).await, Ok(None), "{schema}");
        }
    }
    let asked = (0..16).filter_map(|at| registered.get(at % registered.len().max(1)));
    let found = join_all(asked.map(async |(schema, _)| registry.find(schema).await.map(|found| found.is_some()))).await;
    assert!(found.iter().all(|found| *found == Ok(true)), "{found:?}");
}
