//! A subscription built anew beside the one that is live, and swapped in: ARCHITECTURE.md, "How a projection is built anew".
//!
//! All that a subscription keeps in the ledger is a *generation*: its idempotency keys, its aggregates, its numbers. Generation 0 has
//! the names that the subscription gives; of any other one each subscriber and each kind has the generation's number behind it, so that
//! two of them know nothing of each other. [`OfGeneration`] is the ledger of one; the marker ([`marker`]) says which one is
//! live; [`switching`] has each batch processed in the one that is, whole; [`building`] fills another one from the log, and
//! [`comparing`] tells how two differ, and [`dropping`] has those go that nobody needs any more. Search documents are no part of one:
//! [`documents`] fills a second index of them.

use std::sync::Arc;

use async_trait::async_trait;
use smol_str::{SmolStr, format_smolstr};
use uuid::Uuid;

use crate::ports::ledger::{
    AggregateId, Claim, Commit, Home, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};
use crate::subscription::{Effect, Subscription};

pub mod building;
pub mod comparing;
pub mod documents;
pub mod dropping;
pub mod marker;
pub mod switching;

/// Between a name and a generation's number. No subscription and no kind has it in its name.
pub const SEPARATOR: char = '@';

/// Whether a subscription has what can be built anew from the log beside the live one: states or numbers of its own.
///
/// What only answers events keeps nothing but keys; documents are the store's; and a log of what happened is evidence.
pub fn is_built_anew(subscription: &Subscription) -> bool {
    match subscription.effect {
        Effect::Stateful { .. } | Effect::Watching { .. } | Effect::Counted => true,
        Effect::Documents | Effect::Reaction | Effect::Calling | Effect::Audit => false,
    }
}

/// A name as it is in that generation.
pub fn name_in(name: &SmolStr, generation: u32) -> SmolStr {
    match generation {
        0 => name.clone(),
        _ => format_smolstr!("{name}{SEPARATOR}{generation}"),
    }
}

/// The ledger of one generation of one subscription, which asks for all by its own names.
pub struct OfGeneration {
    ledger: Arc<dyn Ledger>,
    generation: u32,
}

impl OfGeneration {
    /// The ledger of that generation; of generation 0 the ledger itself.
    pub fn of(ledger: &Arc<dyn Ledger>, generation: u32) -> Arc<dyn Ledger> {
        match generation {
            0 => Arc::clone(ledger),
            _ => Arc::new(Self { ledger: Arc::clone(ledger), generation }),
        }
    }

    fn name(&self, name: &SmolStr) -> SmolStr {
        name_in(name, self.generation)
    }

    fn aggregate(&self, id: &AggregateId) -> AggregateId {
        AggregateId { tenant: id.tenant.clone(), kind: self.name(&id.kind), id: id.id.clone() }
    }

    fn key(&self, id: &KeyId) -> KeyId {
        KeyId {
            tenant: id.tenant.clone(),
            subscriber: self.name(&id.subscriber),
            event_id: id.event_id,
            home: id.home.as_ref().map(|home| Home { kind: self.name(&home.kind), id: home.id.clone() }),
        }
    }
}

#[async_trait]
impl Ledger for OfGeneration {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let aggregates: Vec<AggregateId> = aggregates.iter().map(|id| self.aggregate(id)).collect();
        let keys: Vec<KeyId> = keys.iter().map(|id| self.key(id)).collect();
        self.ledger.load(&aggregates, &keys).await
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        let keys: Vec<KeyId> = keys.iter().map(|id| self.key(id)).collect();
        self.ledger.load_settled_keys(&keys).await
    }

    async fn commit(&self, mut commit: Commit) -> Result<(), LedgerError> {
        for write in &mut commit.aggregates {
            write.id.kind = self.name(&write.id.kind);
        }
        for write in &mut commit.keys {
            write.id = self.key(&write.id);
        }
        self.ledger.commit(commit).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.ledger.count_attempt(&self.key(key), epoch).await
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.ledger.claim(&self.key(key), holder, now_ms, until_ms).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        let named = self.name(&SmolStr::new(kind));
        let mut found = self.ledger.list(tenant, &named, limit).await?;
        for (id, _) in &mut found {
            id.kind = kind.into();
        }
        Ok(found)
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.ledger.ping().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_generation_0_are_those_that_were_there_before_there_were_generations() {
        assert_eq!([0, 1, 12].map(|of| name_in(&"session".into(), of)), ["session", "session@1", "session@12"]);
    }
}
