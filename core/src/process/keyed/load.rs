//! Step 2: aggregates and keys as they are in the ledger, and what was decided since.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::family::TypedEvent;
use crate::ports::ledger::placed::{Found, Held, PlacedLedger};
use crate::ports::ledger::{AggregateId, KeyId, KeyStatus, LedgerError, StoredKey};
use crate::process::Item;

/// Aggregates and keys as they were read, and what was decided since.
pub(in crate::process) struct WorkingSet<S> {
    pub(super) aggregates: HashMap<AggregateId, WorkingAggregate<S>>,
    pub(super) keys: HashMap<KeyId, KnownKey>,
}

pub(super) struct WorkingAggregate<S> {
    /// As it was read or committed last.
    pub(super) held: Held,
    /// As the last decision left it.
    pub(super) state: Option<S>,
}

#[derive(Clone)]
pub(super) enum KnownKey {
    /// As it was read.
    Stored(StoredKey),
    /// Decided in this batch, by the record at that place of it.
    Fresh { first: usize, status: KeyStatus, epoch: u32, content_hash: [u8; 32] },
}

impl KnownKey {
    fn status(&self) -> KeyStatus {
        match self {
            Self::Stored(key) => key.status,
            Self::Fresh { status, .. } => *status,
        }
    }

    pub(super) fn epoch(&self) -> u32 {
        match self {
            Self::Stored(key) => key.epoch,
            Self::Fresh { epoch, .. } => *epoch,
        }
    }

    pub(super) fn content_hash(&self) -> &[u8; 32] {
        match self {
            Self::Stored(key) => &key.content_hash,
            Self::Fresh { content_hash, .. } => content_hash,
        }
    }

    /// Whether it settles a delivery of that epoch: applied is final, dead until a later epoch decides anew.
    pub(super) fn settles(&self, epoch: u32) -> bool {
        self.status() == KeyStatus::Applied || epoch <= self.epoch()
    }
}

impl<S: DeserializeOwned> WorkingSet<S> {
    /// Aggregates and keys of these events; after a conflict the keys in every place where they may be.
    pub(in crate::process) async fn load<E: TypedEvent>(
        ledger: &PlacedLedger,
        items: &[&Item<'_, E>],
        after_conflict: bool,
    ) -> Result<Self, LedgerError> {
        let mut seen = HashSet::new();
        let ids = items.iter().flat_map(|item| &item.aggregates).filter(|id| seen.insert(*id)).cloned().collect();
        let keys: Vec<KeyId> = items.iter().map(|item| item.key.clone()).collect();
        let Found { aggregates, keys } = ledger.load(ids, &keys, after_conflict).await?;
        let aggregates = aggregates.into_iter().map(|(id, held)| {
            let state = read_state(&id, held.state())?;
            Ok((id, WorkingAggregate { held, state }))
        });
        Ok(Self {
            aggregates: aggregates.collect::<Result<_, LedgerError>>()?,
            keys: keys.into_iter().map(|(id, key)| (id, KnownKey::Stored(key))).collect(),
        })
    }
}

/// A stored state.
pub(in crate::process) fn read_state<S: DeserializeOwned>(
    id: &AggregateId,
    state: Option<&Bytes>,
) -> Result<Option<S>, LedgerError> {
    let read = state.map(|state| serde_json::from_slice(state)).transpose();
    read.map_err(|error| LedgerError::Refused(format!("the stored {id} cannot be read by this release: {error}")))
}

impl<S> WorkingSet<S> {
    /// Takes out what concerns these events, whose aggregates concern no others.
    pub(super) fn take_part<E: TypedEvent>(&mut self, items: &[&Item<'_, E>]) -> Self {
        let ids = items.iter().flat_map(|item| &item.aggregates);
        let key = |item: &&Item<'_, E>| Some((item.key.clone(), self.keys.get(&item.key)?.clone()));
        let keys = items.iter().filter_map(key).collect();
        Self { aggregates: ids.filter_map(|id| self.aggregates.remove_entry(id)).collect(), keys }
    }

    /// The key that settles an event, whatever its epoch where the content differs: a replayed conflict must not take the id
    /// from the event that it is in conflict with.
    pub(super) fn settling_key<E: TypedEvent>(&self, item: &Item<'_, E>) -> Option<&KnownKey> {
        let known = self.keys.get(&item.key)?;
        let settles = known.settles(item.envelope.replay_count) || !item.is_content(known.content_hash());
        settles.then_some(known)
    }

    /// The stored key that settles an event.
    pub(in crate::process) fn stored<E: TypedEvent>(&self, item: &Item<'_, E>) -> Option<&StoredKey> {
        match self.settling_key(item)? {
            KnownKey::Stored(key) => Some(key),
            KnownKey::Fresh { .. } => None,
        }
    }

    /// Whether nothing is to be decided about an event any more.
    pub(in crate::process) fn is_settled<E: TypedEvent>(&self, item: &Item<'_, E>) -> bool {
        self.settling_key(item).is_some()
    }

    /// How an event ended, as its key tells.
    pub(in crate::process) fn ended(&self, key: &KeyId) -> Option<KeyStatus> {
        self.keys.get(key).map(KnownKey::status)
    }
}
