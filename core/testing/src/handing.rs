//! A ledger around another one, which says only what it does otherwise.

use async_trait::async_trait;
use uuid::Uuid;

use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};

/// Hands each call on to [`ledger`](Self::ledger), but for those that it has of its own. [`Handing`] makes a [`Ledger`] of it.
#[async_trait]
pub trait HandOn: Send + Sync {
    /// The ledger that is asked.
    fn ledger(&self) -> &dyn Ledger;

    /// [`Ledger::load`].
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.ledger().load(aggregates, keys).await
    }

    /// [`Ledger::load_settled_keys`].
    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.ledger().load_settled_keys(keys).await
    }

    /// [`Ledger::commit`].
    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.ledger().commit(commit).await
    }

    /// [`Ledger::count_attempt`].
    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.ledger().count_attempt(key, epoch).await
    }

    /// [`Ledger::claim`].
    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.ledger().claim(key, holder, now_ms, until_ms).await
    }

    /// [`Ledger::list`].
    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.ledger().list(tenant, kind, limit).await
    }

    /// [`Ledger::ping`].
    async fn ping(&self) -> Result<(), LedgerError> {
        self.ledger().ping().await
    }
}

/// The ledger of what hands calls on.
pub struct Handing<T>(pub T);

#[async_trait]
impl<T: HandOn> Ledger for Handing<T> {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.0.load(aggregates, keys).await
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.0.load_settled_keys(keys).await
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
