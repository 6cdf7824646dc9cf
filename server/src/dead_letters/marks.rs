//! What the ledger remembers of a letter: a key `applied` where it was sent again, a key `dead` where it was discarded.
//!
//! One key for both, so that of two people who do different things at once one is first. A discarded letter may still be sent
//! by a person who insists; what was sent is never discarded.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use lyceum_core::dead_letter::DeadLetter as Letter;
use lyceum_core::ports::ledger::{
    Commit, KeyExpectation, KeyId, KeyStatus, KeyWrite, LedgerError, MAX_ACTIONS, StoredKey,
};
use lyceum_core::record::Position;

use super::index::Mark;
use super::letters::Discard;
use super::{DeadLetterIndex, ledger_failed};
use crate::questions::AskError;

/// Who remembers, in the ledger.
const SUBSCRIBER: &str = "replay";
/// So many commits are under way at once.
const COMMITS_AT_ONCE: usize = 4;
/// The tenant of letters whose own could not be read.
const NO_TENANT: &str = "-";

pub(super) fn key_of(letter: &Letter) -> KeyId {
    KeyId::of(letter.tenant.as_deref().unwrap_or(NO_TENANT), SUBSCRIBER, letter.id)
}

pub(super) fn mark_of(key: Option<&StoredKey>) -> Mark {
    match key.map(|key| key.status) {
        None => Mark::None,
        Some(KeyStatus::Applied) => Mark::Sent,
        Some(KeyStatus::Dead) => Mark::Discarded,
    }
}

/// Where the letter was sent to.
pub(super) fn sent_to(key: &StoredKey) -> Option<String> {
    let is_sent = key.status == KeyStatus::Applied;
    is_sent.then(|| String::from_utf8_lossy(&key.recording).into_owned())
}

/// When and by whom the letter was discarded.
pub(super) fn discard(key: &StoredKey) -> Option<Discard> {
    if key.status != KeyStatus::Dead {
        return None;
    }
    serde_json::from_slice(&key.recording).ok()
}

/// That the letter was sent there, whose key was this before.
pub(super) fn write_sent(letter: &Letter, before: Option<&StoredKey>, sent_to: &Position) -> KeyWrite {
    let (expected, epoch) = match before {
        // A key that is decided anew has a later epoch.
        Some(StoredKey { status: KeyStatus::Dead, epoch, .. }) => (KeyExpectation::DeadAt(*epoch), epoch + 1),
        _ => (KeyExpectation::Absent, letter.replay_count),
    };
    write(letter, (expected, epoch), KeyStatus::Applied, sent_to.to_string().into())
}

/// That the letter is done with.
pub(super) fn write_discarded(letter: &Letter, discard: &Discard) -> KeyWrite {
    let recording = serde_json::to_vec(discard).unwrap_or_default().into();
    write(letter, (KeyExpectation::Absent, letter.replay_count), KeyStatus::Dead, recording)
}

fn write(
    letter: &Letter,
    (expected, epoch): (KeyExpectation, u32),
    status: KeyStatus,
    recording: bytes::Bytes,
) -> KeyWrite {
    let source = letter.position.clone();
    let key = StoredKey { status, epoch, content_hash: [0; 32], source, recording };
    KeyWrite { id: key_of(letter), expected, key }
}

impl DeadLetterIndex {
    /// Writes marks, many together; which of them were written, in order. One that another process wrote first stays as it is.
    pub(super) async fn write_marks(&self, writes: Vec<KeyWrite>) -> Result<Vec<bool>, AskError> {
        let parts = writes.chunks(MAX_ACTIONS).map(|part| self.write_together(part.to_vec()).boxed());
        let parts: Vec<BoxFuture<'_, _>> = parts.collect();
        let written: Vec<Vec<bool>> = stream::iter(parts).buffered(COMMITS_AT_ONCE).try_collect().await?;
        Ok(written.concat())
    }

    async fn write_together(&self, writes: Vec<KeyWrite>) -> Result<Vec<bool>, AskError> {
        match self.ledger.commit(Commit { aggregates: Vec::new(), keys: writes.clone() }).await {
            Ok(()) => return Ok(vec![true; writes.len()]),
            // One of them was first elsewhere, or it is not known: one by one it is.
            Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => {}
            Err(error) => return Err(ledger_failed(error)),
        }
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            match self.ledger.commit(Commit { aggregates: Vec::new(), keys: vec![write] }).await {
                Ok(()) => written.push(true),
                Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => written.push(false),
                Err(error) => return Err(ledger_failed(error)),
            }
        }
        Ok(written)
    }
}
