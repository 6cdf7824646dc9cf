//! The ledger's model: maps behind one lock. Deterministic, and at home in any runtime.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use smol_str::SmolStr;
use uuid::Uuid;

use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyExpectation, KeyId, KeyStatus, Ledger, LedgerError, Loaded, StoredAggregate,
    StoredKey,
};

/// A ledger that is gone with its process. It never throttles, loses no answer and forgets no key; a simulation that
/// wants such faults wraps it.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    aggregates: BTreeMap<AggregateId, StoredAggregate>,
    keys: BTreeMap<KeyId, StoredKey>,
    attempts: BTreeMap<(KeyId, u32), u32>,
    /// Holders, and until when.
    leases: BTreeMap<KeyId, (Uuid, i64)>,
}

impl MemoryLedger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every aggregate, in the order of ids: for a test to look at.
    pub fn aggregates(&self) -> Vec<(AggregateId, StoredAggregate)> {
        self.tables().aggregates.iter().map(|(id, stored)| (id.clone(), stored.clone())).collect()
    }

    /// Every key with its tenant and event, first those that are items of their own: for a test to look at.
    pub fn keys(&self) -> Vec<(SmolStr, Uuid, StoredKey)> {
        let tables = self.tables();
        let apart = tables.keys.iter().map(|(id, key)| (id.tenant.clone(), id.event_id, key.clone()));
        let at_home = tables.aggregates.iter().flat_map(|(id, stored)| {
            stored.content.keys.here.iter().map(|home| (id.tenant.clone(), home.event_id, home.key.clone()))
        });
        apart.chain(at_home).collect()
    }

    /// Loses an aggregate with the keys that are at home there, as a table that was brought back from an old copy has.
    pub fn lose(&self, id: &AggregateId) -> Option<StoredAggregate> {
        self.tables().aggregates.remove(id)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No code under the lock leaves the tables half changed, so a panic elsewhere spoils nothing.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn holds(&self, commit: &Commit) -> bool {
        let aggregates = commit
            .aggregates
            .iter()
            .all(|write| self.aggregates.get(&write.id).map(|stored| stored.version) == write.expected);
        let keys = commit.keys.iter().all(|write| match (self.keys.get(&write.id), write.expected) {
            (stored, KeyExpectation::Absent) => stored.is_none(),
            (Some(stored), KeyExpectation::DeadAt(epoch)) => stored.status == KeyStatus::Dead && stored.epoch == epoch,
            (None, KeyExpectation::DeadAt(_)) => false,
        });
        aggregates && keys
    }

    fn apply(&mut self, commit: Commit) {
        for write in commit.aggregates {
            if let Some(content) = write.content {
                let version = write.expected.unwrap_or(0) + 1;
                self.aggregates.insert(write.id, StoredAggregate { version, content });
            }
        }
        self.keys.extend(commit.keys.into_iter().map(|write| (write.id, write.key)));
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let tables = self.tables();
        Ok(Loaded {
            aggregates: aggregates.iter().map(|id| tables.aggregates.get(id).cloned()).collect(),
            keys: keys.iter().map(|id| tables.keys.get(id).cloned()).collect(),
        })
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        Ok(self.load(&[], keys).await?.keys)
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        commit.check()?;
        let mut tables = self.tables();
        if !tables.holds(&commit) {
            return Err(LedgerError::Conflict);
        }
        tables.apply(commit);
        Ok(())
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        key.check()?;
        let mut tables = self.tables();
        let count = tables.attempts.entry((key.clone(), epoch)).or_default();
        *count = count.saturating_add(1);
        Ok(*count)
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        key.check()?;
        let mut tables = self.tables();
        match tables.leases.get(key) {
            Some(&(other, until_ms)) if other != holder && until_ms > now_ms => Ok(Claim::Elsewhere { until_ms }),
            _ => {
                tables.leases.insert(key.clone(), (holder, until_ms));
                Ok(Claim::Held)
            }
        }
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        let tables = self.tables();
        let of_kind = tables.aggregates.iter().filter(|(id, _)| id.tenant == tenant && id.kind == kind);
        let of_kind = of_kind.filter(|(_, stored)| stored.content.state.is_some());
        Ok(of_kind.take(limit).map(|(id, stored)| (id.clone(), stored.clone())).collect())
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}
