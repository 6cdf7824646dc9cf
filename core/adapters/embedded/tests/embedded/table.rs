//! The ledger's table as the adapter makes it and checks it, on the twin.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use uuid::Uuid;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Commit, Content, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, StoredKey,
};
use lyceum_core::record::Position;
use lyceum_dynamodb::{DynamoDbLedger, LedgerOptions};
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_testing::clock::ManualClock;

fn open() -> (EmbeddedDynamoDb, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (EmbeddedDynamoDb::open(&folder.path().join("ledger.db")).unwrap(), folder)
}

fn ledger(client: &Client, table: &str, now: i64) -> DynamoDbLedger {
    DynamoDbLedger::new(client, table, LedgerOptions::default(), Arc::new(ManualClock::at(now * 1_000)))
}

/// A table without time to live, keyed by these attributes.
async fn create(client: &Client, table: &str, attributes: &[&str]) {
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (attribute, key) in attributes.iter().zip([KeyType::Hash, KeyType::Range]) {
        let definition =
            AttributeDefinition::builder().attribute_name(*attribute).attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name(*attribute).key_type(key);
        request = request.attribute_definitions(definition.build().unwrap()).key_schema(element.build().unwrap());
    }
    request.send().await.unwrap();
}

#[tokio::test]
async fn the_table_is_made_once_and_time_to_live_is_on() {
    let (database, _folder) = open();
    let [first, second] = [(); 2].map(|()| ledger(&database.client(), "ledger", 0));
    let (made, made_too) = futures::join!(first.ensure_table(), second.ensure_table());
    assert_eq!((made, made_too, first.ensure_table().await), (Ok(()), Ok(()), Ok(())));
    let description = database.client().describe_table().table_name("ledger").send().await.unwrap().table.unwrap();
    let mode = description.billing_mode_summary().and_then(|summary| summary.billing_mode());
    assert_eq!(mode, Some(&BillingMode::PayPerRequest));
    let time_to_live = database.client().describe_time_to_live().table_name("ledger").send().await.unwrap();
    let attribute = time_to_live.time_to_live_description.and_then(|description| description.attribute_name);
    assert_eq!(attribute.as_deref(), Some("expires_at"));
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused() {
    let (database, _folder) = open();
    let client = database.client();
    create(&client, "other", &["id"]).await;
    let error = ledger(&client, "other", 0).ensure_table().await.unwrap_err().to_string();
    assert!(error.contains("table other") && error.contains("name another table"), "{error}");
}

#[tokio::test]
async fn a_table_that_expires_by_another_attribute_is_refused() {
    let (database, _folder) = open();
    let client = database.client();
    create(&client, "ledger", &["pk", "sk"]).await;
    let other = TimeToLiveSpecification::builder().attribute_name("gone_at").enabled(true).build().unwrap();
    client.update_time_to_live().table_name("ledger").time_to_live_specification(other).send().await.unwrap();
    let error = ledger(&client, "ledger", 0).ensure_table().await.unwrap_err().to_string();
    assert!(error.contains("gone_at") && error.contains("expires_at"), "{error}");
}

#[tokio::test]
async fn an_expired_key_counts_until_it_is_deleted_and_an_aggregate_never_expires() {
    let (database, _folder) = open();
    let long_ago = ledger(&database.client(), "ledger", 1_000_000_000);
    long_ago.ensure_table().await.unwrap();
    let id = AggregateId { tenant: "acme".into(), kind: "program".into(), id: "p".into() };
    let key = KeyId::of("acme", "training", Uuid::from_u128(1));
    let stored = StoredKey {
        status: KeyStatus::Applied,
        epoch: 0,
        content_hash: [0; 32],
        source: Position::new("t", 0, 0),
        recording: Bytes::new(),
    };
    let write = KeyWrite { id: key.clone(), expected: KeyExpectation::Absent, key: stored };
    let content = Some(Content::of("{}"));
    let commit = Commit {
        aggregates: vec![AggregateWrite { id: id.clone(), expected: None, content }],
        keys: vec![write.clone()],
    };
    long_ago.commit(commit).await.unwrap();
    long_ago.count_attempt(&key, 0).await.unwrap();
    let far_ahead = ledger(&database.client(), "ledger", 100_000_000_000);
    let later = KeyWrite { id: KeyId { event_id: Uuid::from_u128(2), ..key.clone() }, ..write };
    far_ahead.commit(Commit { aggregates: Vec::new(), keys: vec![later.clone()] }).await.unwrap();

    let keys = [key.clone(), later.id];
    let there = |loaded: Vec<Option<StoredKey>>| loaded.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(there(long_ago.load(&[], &keys).await.unwrap().keys), [true, true]);
    assert_eq!(database.sweep_expired(), Ok(2));
    let loaded = long_ago.load(&[id], &keys).await.unwrap();
    assert!(loaded.aggregates[0].is_some());
    assert_eq!(there(loaded.keys), [false, true]);
    assert_eq!(long_ago.count_attempt(&key, 0).await, Ok(1));
}
