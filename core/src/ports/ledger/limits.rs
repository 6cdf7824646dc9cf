//! What no adapter takes, so that each refuses the same, in the same words, before anything is written.

use std::collections::HashSet;
use std::fmt::Display;

use smol_str::SmolStr;

use super::{
    AggregateId, Commit, Content, KeyExpectation, KeyId, KeyStatus, LedgerError, MAX_ACTIONS, MAX_COMMIT_BYTES,
    MAX_HOME_KEY_BYTES, MAX_HOME_KEYS, MAX_ITEM_BYTES, StoredKey,
};

/// At most this many bytes in each of tenant, kind, subscriber and id. What is longer than DynamoDB's keys allow is
/// hashed there and kept whole beside, in the part of an item that [`MAX_ITEM_BYTES`] leaves free.
pub const MAX_NAME_BYTES: usize = 2_048;

impl Commit {
    /// Refuses what can never be written: over a limit, the same item twice, or a key that its own condition would let
    /// be written again. Every adapter calls it before it writes.
    pub fn check(&self) -> Result<(), LedgerError> {
        let actions = self.aggregates.len() + self.keys.len();
        if actions > MAX_ACTIONS {
            return refuse(format!(
                "the commit has {actions} aggregates and keys, and {MAX_ACTIONS} is the most; split it"
            ));
        }
        let mut total_bytes = 0;
        let mut seen = HashSet::with_capacity(self.aggregates.len());
        for write in &self.aggregates {
            write.id.check()?;
            if !seen.insert(&write.id) {
                return refuse(format!("{} is twice in one commit", write.id));
            }
            if write.expected == Some(u64::MAX) {
                return refuse(format!("{} has no version after {}", write.id, u64::MAX));
            }
            if let Some(content) = &write.content {
                total_bytes += content.check(&write.id)?;
            }
        }
        let mut seen = HashSet::with_capacity(self.keys.len());
        for write in &self.keys {
            write.id.check()?;
            if !seen.insert(&write.id) {
                return refuse(format!("{} is twice in one commit", write.id));
            }
            // Otherwise the condition holds again afterwards, and the same commit could be stored twice.
            if let KeyExpectation::DeadAt(dead) = write.expected
                && write.key.epoch <= dead
            {
                let epoch = write.key.epoch;
                return refuse(format!("{} is dead in epoch {dead}, and epoch {epoch} is not after it", write.id));
            }
            write.key.check(&write.id)?;
            total_bytes += item_size("the recording", &write.id, write.key.recording.len())?;
        }
        if total_bytes > MAX_COMMIT_BYTES {
            return refuse(format!(
                "the commit has {total_bytes} bytes of states and recordings, and {MAX_COMMIT_BYTES} is the most; split it"
            ));
        }
        Ok(())
    }
}

impl Content {
    /// Its bytes; refuses what does not fit into one item.
    fn check(&self, owner: &AggregateId) -> Result<usize, LedgerError> {
        let keys = &self.keys.here;
        if keys.len() > MAX_HOME_KEYS {
            let held = keys.len();
            return refuse(format!("{owner} would keep {held} keys, and {MAX_HOME_KEYS} is the most"));
        }
        let mut total_bytes = item_size("the state", owner, self.state.as_ref().map_or(0, |state| state.len()))?;
        let mut seen = HashSet::with_capacity(keys.len());
        for home in keys {
            if !seen.insert(home.event_id) {
                return refuse(format!("event {} is twice among the keys of {owner}", home.event_id));
            }
            home.key.check(owner)?;
            if home.key.status == KeyStatus::Dead {
                return refuse(format!(
                    "the key of event {} is dead, and {owner} keeps no key that may change",
                    home.event_id
                ));
            }
            if !home.key.fits_home() {
                let bytes = home.key.home_bytes();
                return refuse(format!(
                    "the key of event {} has {bytes} bytes of recording and topic, and {MAX_HOME_KEY_BYTES} is the most \
                     that {owner} keeps",
                    home.event_id
                ));
            }
            total_bytes += home.key.home_bytes();
        }
        Ok(total_bytes)
    }
}

impl StoredKey {
    fn check(&self, owner: &impl Display) -> Result<(), LedgerError> {
        let source = &self.source;
        if source.topic.is_empty() || source.partition < 0 || source.offset < 0 {
            return refuse(format!("{owner} names {source} as a source, which is no position"));
        }
        Ok(())
    }

    /// What counts of it towards [`MAX_HOME_KEY_BYTES`] and [`MAX_COMMIT_BYTES`] where an aggregate keeps it.
    pub fn home_bytes(&self) -> usize {
        self.recording.len() + self.source.topic.len()
    }

    /// Whether an aggregate may keep it: what is longer is an item of its own.
    pub fn fits_home(&self) -> bool {
        self.home_bytes() <= MAX_HOME_KEY_BYTES
    }
}

impl AggregateId {
    /// Refuses names over [`MAX_NAME_BYTES`].
    fn check(&self) -> Result<(), LedgerError> {
        check_names([("tenant", &self.tenant), ("kind", &self.kind), ("id", &self.id)])
    }
}

impl KeyId {
    /// Refuses names over [`MAX_NAME_BYTES`].
    pub fn check(&self) -> Result<(), LedgerError> {
        check_names([("tenant", &self.tenant), ("subscriber", &self.subscriber)])?;
        self.home.as_ref().map_or(Ok(()), |home| check_names([("kind", &home.kind), ("id", &home.id)]))
    }
}

fn check_names<const N: usize>(names: [(&str, &SmolStr); N]) -> Result<(), LedgerError> {
    match names.iter().find(|(_, text)| text.len() > MAX_NAME_BYTES) {
        Some((name, text)) => {
            refuse(format!("the {name} has {} bytes, and {MAX_NAME_BYTES} is the most; shorten it", text.len()))
        }
        None => Ok(()),
    }
}

fn item_size(what: &str, owner: &impl Display, bytes: usize) -> Result<usize, LedgerError> {
    if bytes > MAX_ITEM_BYTES {
        return refuse(format!("{what} of {owner} has {bytes} bytes, and {MAX_ITEM_BYTES} is the most"));
    }
    Ok(bytes)
}

fn refuse<T>(reason: String) -> Result<T, LedgerError> {
    Err(LedgerError::Refused(reason))
}
