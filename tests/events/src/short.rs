//! Ports that do what they are asked, and answer for one thing fewer than they were given.

use std::sync::Arc;

use async_trait::async_trait;
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::ports::ledger::{AggregateId, KeyId, Ledger, LedgerError, Loaded, StoredKey};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_core::record::{NewRecord, Position};
use lyceum_testing::handing::HandOn;

/// The port, its answers one short.
pub struct Short<T: ?Sized>(pub Arc<T>);

fn shortened<T>(mut answer: Vec<T>) -> Vec<T> {
    answer.pop();
    answer
}

#[async_trait]
impl StoreDocuments for Short<dyn StoreDocuments> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        self.0.store(documents).await.map(shortened)
    }
}

#[async_trait]
impl HandOn for Short<dyn Ledger> {
    fn ledger(&self) -> &dyn Ledger {
        &*self.0
    }

    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let Loaded { aggregates, keys } = self.0.load(aggregates, keys).await?;
        Ok(Loaded { aggregates: shortened(aggregates), keys: shortened(keys) })
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.0.load_settled_keys(keys).await.map(shortened)
    }
}

#[async_trait]
impl Publish for Short<dyn Publish> {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.0.produce(topic, records).await.map(shortened)
    }
}
