//! The table itself.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};

use super::failure::Effect;
use super::items::EXPIRES_AT;
use super::ledger::{DynamoDbLedger, Repeat, unbuilt};
use lyceum_core::ports::ledger::LedgerError;

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
