//! The ledger: the state of aggregates and the idempotency keys of events, changed together or not at all.
//!
//! Production: DynamoDB. Twin: the same adapter against an embedded DynamoDB. Model: memory, for the simulation.
//! What each part is for stands in ARCHITECTURE.md, "How an effect happens once".

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::record::Position;

mod limits;
pub mod placed;

pub use limits::MAX_NAME_BYTES;

/// Names one aggregate: a program, a session, a survey response …
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AggregateId {
    /// Part of every stored key.
    pub tenant: SmolStr,
    /// From the closed set of the families' kinds (`program`, `session`, `booking`, `response` …).
    pub kind: SmolStr,
    /// The sender's id; any text.
    pub id: SmolStr,
}

impl fmt::Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of tenant {}", self.kind, self.id, self.tenant)
    }
}

/// An aggregate as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAggregate {
    /// Grows by one with each commit that writes it; the first is 1.
    pub version: u64,
    /// What is kept of it.
    pub content: Content,
}

/// What is kept of an aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// JSON, as the family wrote it; `None` where nothing was applied to it yet, and only keys are kept.
    pub state: Option<Bytes>,
    /// The keys of the events that are at home here.
    pub keys: HomeKeys,
}

impl Content {
    /// A state whose events have keys that are items of their own.
    pub fn of(state: impl Into<Bytes>) -> Self {
        Self { state: Some(state.into()), keys: HomeKeys::default() }
    }
}

/// Where the keys of the events of an aggregate are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeKeys {
    /// Those that are kept with the aggregate; no event twice.
    pub here: Vec<HomeKey>,
    /// Whether others may be items of their own.
    pub apart: bool,
}

impl Default for HomeKeys {
    /// None is here, all are apart.
    fn default() -> Self {
        Self { here: Vec::new(), apart: true }
    }
}

/// A key that is kept with an aggregate: of an applied event, so that it never changes. Tenant and subscriber are the
/// aggregate's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeKey {
    /// The event.
    pub event_id: Uuid,
    /// The key.
    pub key: StoredKey,
}

/// At most this many keys are kept with one aggregate: each is written again with every change of it.
pub const MAX_HOME_KEYS: usize = 16;

/// At most this many bytes of recording and topic in a key that is kept with an aggregate.
pub const MAX_HOME_KEY_BYTES: usize = 128;

/// Names one idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId {
    /// Part of every stored key.
    pub tenant: SmolStr,
    /// The consumer that owns the effect.
    pub subscriber: SmolStr,
    /// The event.
    pub event_id: Uuid,
    /// The aggregate that keeps the key, or would; `None` where keys have no home. Under the same event id another home
    /// has another key.
    pub home: Option<Home>,
}

/// The aggregate, of a key's tenant, at which it is at home.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Home {
    /// As in [`AggregateId`].
    pub kind: SmolStr,
    /// As in [`AggregateId`].
    pub id: SmolStr,
}

impl KeyId {
    /// The key of an event that has no home.
    pub fn of(tenant: impl Into<SmolStr>, subscriber: impl Into<SmolStr>, event_id: Uuid) -> Self {
        Self { tenant: tenant.into(), subscriber: subscriber.into(), event_id, home: None }
    }

    /// The key of an event at its home.
    pub fn at(home: &AggregateId, subscriber: impl Into<SmolStr>, event_id: Uuid) -> Self {
        let AggregateId { tenant, kind, id } = home.clone();
        Self { home: Some(Home { kind, id }), ..Self::of(tenant, subscriber, event_id) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} for {} of tenant {}", self.event_id, self.subscriber, self.tenant)?;
        match &self.home {
            Some(Home { kind, id }) => write!(f, " at {kind} {id}"),
            None => Ok(()),
        }
    }
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// Its effect is in the state. Final.
    Applied,
    /// It was dead-lettered. A replay, which has a larger epoch, may decide anew.
    Dead,
}

/// An idempotency key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// How the event ended.
    pub status: KeyStatus,
    /// `lyceum-replay-count` of the delivery that wrote it.
    pub epoch: u32,
    /// SHA-256 of the event's content, by which the same id with other content is noticed.
    pub content_hash: [u8; 32],
    /// The record that was decided on.
    pub source: Position,
    /// What is to be emitted, and again at every redelivery. Opaque here.
    pub recording: Bytes,
}

/// Under which condition a key may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExpectation {
    /// There is none.
    Absent,
    /// There is one, `dead`, of exactly this epoch.
    DeadAt(u32),
}

/// One key of a commit that is an item of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWrite {
    /// Which.
    pub id: KeyId,
    /// As it was read.
    pub expected: KeyExpectation,
    /// As it shall be.
    pub key: StoredKey,
}

/// One aggregate of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateWrite {
    /// Which.
    pub id: AggregateId,
    /// Its version as it was read; `None`: it was absent.
    pub expected: Option<u64>,
    /// What is kept of it from now on; `None`: only the condition is checked and the version stays.
    pub content: Option<Content>,
}

/// What is written in one transaction: every condition holds and everything is written, or nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// No aggregate twice.
    pub aggregates: Vec<AggregateWrite>,
    /// No key twice.
    pub keys: Vec<KeyWrite>,
}

/// At most this many aggregates and keys together in one [`Commit`].
/// Source: DynamoDB `TransactWriteItems`, "up to 100 actions".
pub const MAX_ACTIONS: usize = 100;

/// At most this many bytes in one aggregate's state or one key's recording. DynamoDB's limit of an item is 400 KiB
/// ("Service, account, and table quotas"); what is left is for names and the other attributes.
pub const MAX_ITEM_BYTES: usize = 390 * 1024;

/// At most this many bytes of states and recordings in one [`Commit`] (DynamoDB: 4 MB in one transaction).
pub const MAX_COMMIT_BYTES: usize = 3_900_000;

/// What was asked for, in the order of the question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// One for each aggregate asked for.
    pub aggregates: Vec<Option<StoredAggregate>>,
    /// One for each key asked for.
    pub keys: Vec<Option<StoredKey>>,
}

/// Whether a lease on the work for one key was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Whoever asked holds it.
    Held,
    /// Another one holds it.
    Elsewhere {
        /// Until then, unless it is given back or prolonged; milliseconds since 1970 UTC.
        until_ms: i64,
    },
}

/// Why the ledger did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A condition of the commit does not hold, or another transaction was at the same items: reload and decide again.
    #[error("the state changed meanwhile")]
    Conflict,
    /// The answer was lost: what was asked for may have happened. Reload and look.
    #[error("the ledger's answer was lost: {0}")]
    Uncertain(String),
    /// Throttled, unavailable, timed out before it was sent: nothing happened, and it may work later.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// What no repetition mends: an item too large, a schema version that is newer than this program.
    #[error("the ledger refused: {0}")]
    Refused(String),
    /// It takes no call of ours at all: credentials or a right are missing, its key, or the table. A person has to act.
    #[error("the ledger cannot be used: {0}")]
    Unusable(String),
}

impl LedgerError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Unusable(_))
    }
}

/// So long after its last write a key is kept at least. What is older is not replayed to who has keys, or it would have its effect twice.
pub const KEYS_AGE: Duration = Duration::from_secs(45 * 24 * 60 * 60);

/// Aggregates and idempotency keys.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Reads aggregates and keys, strongly consistent each, in few calls; they are not one snapshot.
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError>;

    /// Reads keys consistently with commits: if an earlier load returned an aggregate that a commit wrote, this returns
    /// that commit's keys, too. [`load`](Self::load) does not promise that, and costs half.
    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError>;

    /// Writes all of it, or nothing. At most [`MAX_ACTIONS`]; sizes within [`MAX_ITEM_BYTES`] and [`MAX_COMMIT_BYTES`].
    async fn commit(&self, commit: Commit) -> Result<(), LedgerError>;

    /// Counts one failed attempt of the record's own in an epoch, and returns how many there are now.
    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError>;

    /// Gives `holder` a lease on the work for a key until `until_ms`, unless another one holds one at `now_ms` (milliseconds
    /// since 1970 UTC). Whoever holds it may prolong it, or give it back by a time that is over. It is advice and no lock: only
    /// [`commit`](Self::commit) decides.
    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError>;

    /// Aggregates of one kind of a tenant that have a state, in no order, at most `limit`: for looking at, not for
    /// deciding.
    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError>;

    /// A cheap call that tells whether the ledger answers.
    async fn ping(&self) -> Result<(), LedgerError>;
}
