//! Ports without effect: what goes through them is noted, and kept nowhere that outlives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Report};
use lyceum_core::ports::event_log::{EventLogError, Publish, rules};
use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyId, KeyStatus, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_core::record::{NewRecord, Position};
use lyceum_embedded::event_log::EventLogOptions;
use lyceum_embedded::scratch::{ScratchDocuments, ScratchLedger};
use uuid::Uuid;

/// What one subscription did about one record.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// The aggregates that it asked for.
    pub(super) named: BTreeSet<AggregateId>,
    /// Those that it changed, as they are now.
    pub(super) states: BTreeMap<AggregateId, Bytes>,
    /// The idempotency keys that it wrote.
    pub(super) keys: BTreeMap<(String, Uuid), WrittenKey>,
    /// By the store's name.
    pub(super) documents: Vec<(&'static str, StatementDocument, StoreOutcome)>,
    /// By topic, in order.
    pub(super) publications: Vec<(String, NewRecord)>,
}

/// An idempotency key, by which a later release knows the event again.
#[derive(Debug)]
pub(super) struct WrittenKey {
    pub(super) status: KeyStatus,
    pub(super) content_hash: [u8; 32],
    /// The aggregate that it is at home at, where it is.
    pub(super) home: Option<String>,
}

/// Notes what goes through the ports; cheap to share.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

impl Notes {
    /// What was noted since the last time.
    pub(super) fn take(&self) -> Noted {
        std::mem::take(&mut *self.noted())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // Nothing under the lock leaves the notes half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event log: takes everything that a log takes, and has nothing.
pub(super) struct NotedLog {
    pub(super) notes: Notes,
}

#[async_trait]
impl Publish for NotedLog {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        rules::check_sizes(&records, EventLogOptions::default().max_record_bytes)?;
        let mut noted = self.notes.noted();
        let positions = (0..).zip(&records).map(|(offset, _)| Position::new(topic, 0, offset)).collect();
        noted.publications.extend(records.into_iter().map(|record| (topic.to_owned(), record)));
        Ok(positions)
    }
}

/// The ledger of what is judged.
pub(super) struct NotedLedger {
    pub(super) notes: Notes,
    pub(super) ledger: ScratchLedger,
}

impl NotedLedger {
    fn note(&self, commit: &Commit) {
        let mut noted = self.notes.noted();
        for write in &commit.aggregates {
            let Some(content) = &write.content else { continue };
            if let Some(state) = &content.state {
                noted.states.insert(write.id.clone(), state.clone());
            }
            for home in &content.keys.here {
                let written = written(&home.key, Some(format!("{} {}", write.id.kind, write.id.id)));
                noted.keys.insert((write.id.tenant.to_string(), home.event_id), written);
            }
        }
        for write in &commit.keys {
            let home = write.id.home.as_ref().map(|home| format!("{} {}", home.kind, home.id));
            noted.keys.insert((write.id.tenant.to_string(), write.id.event_id), written(&write.key, home));
        }
    }
}

fn written(key: &StoredKey, home: Option<String>) -> WrittenKey {
    WrittenKey { status: key.status, content_hash: key.content_hash, home }
}

#[async_trait]
impl Ledger for NotedLedger {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.notes.noted().named.extend(aggregates.iter().cloned());
        self.ledger.load(aggregates, keys).await
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.ledger.load_settled_keys(keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.ledger.commit(commit.clone()).await?;
        self.note(&commit);
        Ok(())
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.ledger.count_attempt(key, epoch).await
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.ledger.claim(key, holder, now_ms, until_ms).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.ledger.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.ledger.ping().await
    }
}

/// A store of documents of what is judged.
pub(super) struct NotedDocuments {
    pub(super) notes: Notes,
    /// For people.
    pub(super) name: &'static str,
    pub(super) documents: ScratchDocuments,
}

#[async_trait]
impl StoreDocuments for NotedDocuments {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        let outcomes = self.documents.store(documents.clone()).await?;
        let stored = documents.into_iter().zip(outcomes.iter().cloned());
        self.notes.noted().documents.extend(stored.map(|(document, outcome)| (self.name, document, outcome)));
        Ok(outcomes)
    }
}

/// The time of the record that is judged, so that both sides see the same. It passes only while something is waited for: nobody waits.
#[derive(Default)]
pub(super) struct RecordClock {
    now_ms: AtomicI64,
}

impl RecordClock {
    pub(super) fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for RecordClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    async fn sleep(&self, duration: Duration) {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    async fn timeout(&self, duration: Duration) {
        // For what is outside of this process: a registry of schemas.
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}

/// Reports are taken from the calls themselves.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &[Report]) {}
}
