//! Ports that do what they are asked, and answer for one thing fewer than they were given.

use std::sync::Arc;

use async_trait::async_trait;
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_core::record::{NewRecord, Position};
use uuid::Uuid;

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
impl Ledger for Short<dyn Ledger> {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let Loaded { aggregates, keys } = self.0.load(aggregates, keys).await?;
        Ok(Loaded { aggregates: shortened(aggregates), keys: shortened(keys) })
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.0.load_settled_keys(keys).await.map(shortened)
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.0.commit(commit).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.0.count_attempt(key, epoch).await
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.0.claim(key, holder, now_ms, until_ms).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.0.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.0.ping().await
    }
}

#[async_trait]
impl Publish for Short<dyn Publish> {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.0.produce(topic, records).await.map(shortened)
    }
}
