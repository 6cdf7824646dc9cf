//! The table itself.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};

use super::failure::Effect;
use super::items::EXPIRES_AT;
use super::ledger::{DynamoDbLedger, Repeat, unbuilt};
use crate::ports::ledger::LedgerError;

/// Creation takes seconds on AWS; after this many looks, a second apart, something else is wrong.
const LOOKS: u32 = 120;

impl DynamoDbLedger {
    /// Creates the table (on demand, `pk` and `sk`) where it is absent, waits until it is active, and switches its time
    /// to live on. Harmless to repeat, and from several processes at once. A table of another shape is refused.
    ///
    /// Needs `dynamodb:DescribeTable`, `CreateTable`, `DescribeTimeToLive` and `UpdateTimeToLive`, which a function that
    /// only processes has no use for: there the template makes the table.
    pub async fn ensure_table(&self) -> Result<(), LedgerError> {
        for _ in 0..LOOKS {
            match self.describe().await? {
                None => self.create().await?,
                Some(description) if description.table_status() == Some(&TableStatus::Active) => {
                    self.check_shape(&description)?;
                    return self.ensure_time_to_live().await;
                }
                Some(_) => self.clock.sleep(Duration::from_secs(1)).await,
            }
        }
        Err(LedgerError::Unavailable(format!("table {} did not become active in {LOOKS} seconds", self.table)))
    }

    async fn describe(&self) -> Result<Option<TableDescription>, LedgerError> {
        let request = self.client.describe_table().table_name(&*self.table);
        self.call("DescribeTable", Effect::Read, Repeat::Always, || async {
            match request.clone().send().await {
                Ok(answer) => Ok(answer.table),
                Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn create(&self) -> Result<(), LedgerError> {
        let mut request = self.client.create_table().table_name(&*self.table).billing_mode(BillingMode::PayPerRequest);
        for (name, role) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
            let element = KeySchemaElement::builder().attribute_name(name).key_type(role);
            request = request
                .attribute_definitions(definition.build().map_err(unbuilt)?)
                .key_schema(element.build().map_err(unbuilt)?);
        }
        self.call("CreateTable", Effect::Read, Repeat::Always, || async {
            match request.clone().send().await {
                Ok(_) => Ok(()),
                // Another process was faster.
                Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }

    fn check_shape(&self, description: &TableDescription) -> Result<(), LedgerError> {
        let keys: Vec<_> = description.key_schema().iter().map(|key| (key.attribute_name(), key.key_type())).collect();
        let strings = description
            .attribute_definitions()
            .iter()
            .filter(|attribute| ["pk", "sk"].contains(&attribute.attribute_name()))
            .all(|attribute| *attribute.attribute_type() == ScalarAttributeType::S);
        if strings && keys == [("pk", &KeyType::Hash), ("sk", &KeyType::Range)] {
            return Ok(());
        }
        Err(LedgerError::Refused(format!(
            "table {} is not the ledger's: it needs the partition key pk and the sort key sk, both strings; \
             name another table",
            self.table
        )))
    }

    async fn ensure_time_to_live(&self) -> Result<(), LedgerError> {
        if self.has_time_to_live().await? {
            return Ok(());
        }
        let wanted =
            TimeToLiveSpecification::builder().attribute_name(EXPIRES_AT).enabled(true).build().map_err(unbuilt)?;
        let request = self.client.update_time_to_live().table_name(&*self.table).time_to_live_specification(wanted);
        let updated = self.call("UpdateTimeToLive", Effect::Read, Repeat::Always, || request.clone().send()).await;
        match updated {
            // Another process was faster: DynamoDB refuses what is already so.
            Err(LedgerError::Refused(_)) if self.has_time_to_live().await? => Ok(()),
            result => result.map(drop),
        }
    }

    async fn has_time_to_live(&self) -> Result<bool, LedgerError> {
        let request = self.client.describe_time_to_live().table_name(&*self.table);
        let answer = self.call("DescribeTimeToLive", Effect::Read, Repeat::Always, || request.clone().send()).await?;
        let Some(description) = answer.time_to_live_description else { return Ok(false) };
        let on =
            matches!(description.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
        match description.attribute_name() {
            Some(name) if on && name != EXPIRES_AT => Err(LedgerError::Refused(format!(
                "table {} expires items by {name}, and the ledger's is {EXPIRES_AT}; switch that off, or name another table",
                self.table
            ))),
            _ => Ok(on),
        }
    }
}

#[cfg(all(test, feature = "embedded-dynamodb"))]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use aws_sdk_dynamodb::Client;
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::adapters::dynamodb::LedgerOptions;
    use crate::adapters::embedded::dynamodb::EmbeddedDynamoDb;
    use crate::clock::Clock;
    use crate::ports::ledger::{
        AggregateId, AggregateWrite, Commit, Content, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, StoredKey,
    };
    use crate::record::Position;

    /// Stands still at this many seconds.
    struct ClockAt(i64);

    #[async_trait]
    impl Clock for ClockAt {
        fn now_ms(&self) -> i64 {
            self.0 * 1_000
        }

        async fn sleep(&self, _: Duration) {}

        fn jitter(&self) -> f64 {
            0.5
        }
    }

    fn open() -> (EmbeddedDynamoDb, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (EmbeddedDynamoDb::open(&folder.path().join("ledger.db")).unwrap(), folder)
    }

    fn ledger(client: &Client, table: &str, now: i64) -> DynamoDbLedger {
        DynamoDbLedger::new(client, table, LedgerOptions::default(), Arc::new(ClockAt(now)))
    }

    #[tokio::test]
    async fn the_table_is_made_once_and_time_to_live_is_on() {
        let (database, _folder) = open();
        let [first, second] = [(); 2].map(|()| ledger(&database.client(), "ledger", 0));
        let (made, made_too) = futures::join!(first.ensure_table(), second.ensure_table());
        assert_eq!((made, made_too, first.ensure_table().await), (Ok(()), Ok(()), Ok(())));
        let description = first.describe().await.unwrap().unwrap();
        let mode = description.billing_mode_summary().and_then(|summary| summary.billing_mode());
        assert_eq!(mode, Some(&BillingMode::PayPerRequest));
        assert_eq!(first.has_time_to_live().await, Ok(true));
    }

    #[tokio::test]
    async fn a_table_of_another_shape_is_refused() {
        let (database, _folder) = open();
        let client = database.client();
        let definition = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
        client
            .create_table()
            .table_name("other")
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(definition.build().unwrap())
            .key_schema(element.build().unwrap())
            .send()
            .await
            .unwrap();
        let error = ledger(&client, "other", 0).ensure_table().await.unwrap_err().to_string();
        assert!(error.contains("table other") && error.contains("name another table"), "{error}");
    }

    #[tokio::test]
    async fn a_table_that_expires_by_another_attribute_is_refused() {
        let (database, _folder) = open();
        let client = database.client();
        let ours = ledger(&client, "ledger", 0);
        ours.create().await.unwrap();
        let other = TimeToLiveSpecification::builder().attribute_name("gone_at").enabled(true).build().unwrap();
        client.update_time_to_live().table_name("ledger").time_to_live_specification(other).send().await.unwrap();
        let error = ours.ensure_table().await.unwrap_err().to_string();
        assert!(error.contains("gone_at") && error.contains(EXPIRES_AT), "{error}");
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
}
