//! The ledger of what is tried out.

use std::ops::Bound;

use async_trait::async_trait;
use redb::{ReadableTable, WriteTransaction};
use uuid::Uuid;

use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, Home, KeyExpectation, KeyId, KeyStatus, Ledger, LedgerError, Loaded, StoredAggregate,
    StoredKey,
};

use super::form::{Reader, name, read_aggregate, read_key, write_aggregate, write_key};
use super::{Scratch, Table, get, put};

const AGGREGATES: Table = Table::new("aggregates");
const KEYS: Table = Table::new("keys");
const ATTEMPTS: Table = Table::new("attempts");
const LEASES: Table = Table::new("leases");

/// A ledger that is gone with its process. It is never throttled and loses no answer.
#[derive(Clone)]
pub struct ScratchLedger {
    scratch: Scratch,
}

impl ScratchLedger {
    pub(super) fn new(scratch: Scratch) -> Self {
        Self { scratch }
    }

    fn work<T>(
        &self,
        writes: usize,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, LedgerError> {
        let writes = u32::try_from(writes).unwrap_or(u32::MAX);
        self.scratch.work(writes, work).map_err(LedgerError::Unusable)
    }
}

fn aggregate_name(id: &AggregateId) -> Vec<u8> {
    name([id.tenant.as_bytes(), id.kind.as_bytes(), id.id.as_bytes()])
}

fn key_name(id: &KeyId) -> Vec<u8> {
    let event_id = id.event_id.as_u128().to_be_bytes();
    let place = [id.tenant.as_bytes(), id.subscriber.as_bytes(), event_id.as_slice()];
    match &id.home {
        Some(Home { kind, id }) => name(place.into_iter().chain([kind.as_bytes(), id.as_bytes()])),
        None => name(place),
    }
}

/// What stands in the file was written by this very process.
fn unreadable(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} cannot be read back"))
}

fn aggregate(transaction: &WriteTransaction, id: &AggregateId) -> Result<Option<StoredAggregate>, redb::Error> {
    let held = get(transaction, AGGREGATES, &aggregate_name(id))?;
    held.map(|held| read_aggregate(&held).ok_or_else(|| unreadable("an aggregate"))).transpose()
}

fn key(transaction: &WriteTransaction, id: &KeyId) -> Result<Option<StoredKey>, redb::Error> {
    let held = get(transaction, KEYS, &key_name(id))?;
    held.map(|held| read_key(&held).ok_or_else(|| unreadable("a key"))).transpose()
}

fn holds(transaction: &WriteTransaction, commit: &Commit) -> Result<bool, redb::Error> {
    for write in &commit.aggregates {
        if aggregate(transaction, &write.id)?.map(|held| held.version) != write.expected {
            return Ok(false);
        }
    }
    for write in &commit.keys {
        let is_as_expected = match (key(transaction, &write.id)?, write.expected) {
            (held, KeyExpectation::Absent) => held.is_none(),
            (Some(held), KeyExpectation::DeadAt(epoch)) => held.status == KeyStatus::Dead && held.epoch == epoch,
            (None, KeyExpectation::DeadAt(_)) => false,
        };
        if !is_as_expected {
            return Ok(false);
        }
    }
    Ok(true)
}

#[async_trait]
impl Ledger for ScratchLedger {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.work(0, |transaction| {
            Ok(Loaded {
                aggregates: aggregates.iter().map(|id| aggregate(transaction, id)).collect::<Result<_, _>>()?,
                keys: keys.iter().map(|id| key(transaction, id)).collect::<Result<_, _>>()?,
            })
        })
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        Ok(self.load(&[], keys).await?.keys)
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        commit.check()?;
        let is_written = self.work(commit.aggregates.len() + commit.keys.len(), |transaction| {
            if !holds(transaction, &commit)? {
                return Ok(false);
            }
            for write in &commit.aggregates {
                if let Some(content) = &write.content {
                    let written = write_aggregate(write.expected.unwrap_or(0) + 1, content);
                    put(transaction, AGGREGATES, &aggregate_name(&write.id), &written)?;
                }
            }
            for write in &commit.keys {
                put(transaction, KEYS, &key_name(&write.id), &write_key(&write.key))?;
            }
            Ok(true)
        })?;
        if is_written { Ok(()) } else { Err(LedgerError::Conflict) }
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        key.check()?;
        let name = name([key_name(key).as_slice(), &epoch.to_le_bytes()]);
        self.work(1, |transaction| {
            let held = get(transaction, ATTEMPTS, &name)?.and_then(|held| held.try_into().ok());
            let count = held.map_or(0, u32::from_le_bytes).saturating_add(1);
            put(transaction, ATTEMPTS, &name, &count.to_le_bytes())?;
            Ok(count)
        })
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        key.check()?;
        self.work(1, |transaction| {
            let name = key_name(key);
            let held = get(transaction, LEASES, &name)?;
            let held = held.as_deref().and_then(|held| held.split_first_chunk::<16>());
            let held = held.and_then(|(other, until)| Some((*other, i64::from_le_bytes(until.try_into().ok()?))));
            if let Some((other, until_ms)) = held
                && other != *holder.as_bytes()
                && until_ms > now_ms
            {
                return Ok(Claim::Elsewhere { until_ms });
            }
            let lease: Vec<u8> = holder.as_bytes().iter().copied().chain(until_ms.to_le_bytes()).collect();
            put(transaction, LEASES, &name, &lease)?;
            Ok(Claim::Held)
        })
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.work(0, |transaction| {
            let begin = name([tenant.as_bytes(), kind.as_bytes()]);
            let table = transaction.open_table(AGGREGATES)?;
            let mut found = Vec::new();
            for item in table.range::<&[u8]>((Bound::Included(begin.as_slice()), Bound::Unbounded))? {
                let (held_name, held) = item?;
                let Some(rest) = held_name.value().strip_prefix(begin.as_slice()) else { break };
                if found.len() == limit {
                    break;
                }
                let id = Reader(rest).bytes().and_then(|id| std::str::from_utf8(id).ok());
                let id = id.ok_or_else(|| unreadable("an aggregate's name"))?;
                let stored = read_aggregate(held.value()).ok_or_else(|| unreadable("an aggregate"))?;
                if stored.content.state.is_some() {
                    found.push((AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() }, stored));
                }
            }
            Ok(found)
        })
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.work(0, |_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::form::Writer;
    use super::*;

    #[test]
    fn a_name_with_a_home_is_never_that_of_another_key() {
        let home = AggregateId { tenant: "t".into(), kind: "k".into(), id: "i".into() };
        let id = Uuid::from_u128(7);
        let (apart, at_home) = (KeyId::of("t", "s", id), KeyId::at(&home, "s", id));
        assert_ne!(key_name(&apart), key_name(&at_home));
        let mut writer = Writer::default();
        writer.bytes(b"t");
        assert!(key_name(&apart).starts_with(&writer.0));
    }
}
