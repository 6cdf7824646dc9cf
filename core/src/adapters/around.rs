//! Any adapter with something done around each of its calls: [measured](super::measured), [guarded](super::guarded).
//! Here each port is written out once; what is done around a call does not know which port it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use crate::ports::event_log::{EventLog, EventLogError, Membership, OffsetRange, TopicSpec};
use crate::ports::ledger::{AggregateId, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate};
use crate::ports::statements::{
    Filter, Page, StatementDocument, Statements, StatementsError, StoreOutcome, StoredStatement,
};
use crate::record::{NewRecord, Position, Record};

/// One call of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `event_log`, `ledger` or `statements`.
    pub store: &'static str,
    /// The port's method.
    pub operation: &'static str,
    /// Whether it may have changed something although its answer was lost.
    pub effect: Effect,
}

/// Whether a call that may have been executed matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It may have changed something although its answer was lost.
    Write,
}

/// What the errors of the ports have in common.
pub trait StoreError: Sized + Send {
    /// Its name in `lyceum_store_errors_total`.
    fn kind(&self) -> &'static str;

    /// Whether the store is away, overloaded or did not answer; never a refusal, a conflict or a mistake of the caller's.
    fn is_outage(&self) -> bool;

    /// The error of a call that was not made.
    fn not_made(reason: String) -> Self;

    /// The error of a call whose answer was not waited for.
    fn not_answered(effect: Effect, reason: String) -> Self;
}

/// What is done around a call.
pub trait Around: Send + Sync {
    /// Makes the call, or does not. `is_outage` tells of an answer whether it says that the store is away.
    fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        is_outage: impl Fn(&A) -> bool + Send,
    ) -> impl Future<Output = Result<A, E>> + Send;
}

/// An adapter with something done around each of its calls.
pub struct Wrapped<T: ?Sized, W> {
    adapter: Arc<T>,
    around: W,
}

impl<T: ?Sized, W: Around> Wrapped<T, W> {
    /// Does `around` around the adapter's calls.
    pub fn around(adapter: Arc<T>, around: W) -> Self {
        Self { adapter, around }
    }

    fn reads<A: Send, E: StoreError>(
        &self,
        store: &'static str,
        operation: &'static str,
        work: impl Future<Output = Result<A, E>> + Send,
    ) -> impl Future<Output = Result<A, E>> + Send {
        self.around.call(Call { store, operation, effect: Effect::Read }, work, |_| false)
    }

    fn writes<A: Send, E: StoreError>(
        &self,
        store: &'static str,
        operation: &'static str,
        work: impl Future<Output = Result<A, E>> + Send,
    ) -> impl Future<Output = Result<A, E>> + Send {
        self.around.call(Call { store, operation, effect: Effect::Write }, work, |_| false)
    }
}

impl StoreError for EventLogError {
    fn kind(&self) -> &'static str {
        match self {
            Self::UnknownTopic(_) | Self::UnknownPartition { .. } => "unknown",
            Self::OffsetOutOfRange { .. } => "offset_out_of_range",
            Self::TooLarge { .. } => "too_large",
            Self::NotAssigned { .. } => "not_assigned",
            Self::Unauthorized(_) => "unauthorized",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn not_made(reason: String) -> Self {
        Self::Unavailable(reason)
    }

    fn not_answered(_: Effect, reason: String) -> Self {
        Self::Unavailable(reason)
    }
}

impl StoreError for LedgerError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Uncertain(_) => "uncertain",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Uncertain(_))
    }

    fn not_made(reason: String) -> Self {
        Self::Unavailable(reason)
    }

    fn not_answered(effect: Effect, reason: String) -> Self {
        match effect {
            Effect::Read => Self::Unavailable(reason),
            Effect::Write => Self::Uncertain(reason),
        }
    }
}

impl StoreError for StatementsError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn not_made(reason: String) -> Self {
        Self::Unavailable(reason)
    }

    fn not_answered(_: Effect, reason: String) -> Self {
        Self::Unavailable(reason)
    }
}

const LOG: &str = "event_log";
const LEDGER: &str = "ledger";
const STATEMENTS: &str = "statements";

#[async_trait]
impl<T: EventLog + ?Sized, W: Around> EventLog for Wrapped<T, W> {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.writes(LOG, "create_topic", self.adapter.create_topic(spec)).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.reads(LOG, "topics", self.adapter.topics()).await
    }

    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.writes(LOG, "produce", self.adapter.produce(topic, records)).await
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.reads(LOG, "fetch", self.adapter.fetch(topic, partition, offset, max_records, max_bytes)).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.reads(LOG, "offsets", self.adapter.offsets(topic)).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.reads(LOG, "offset_at", self.adapter.offset_at(topic, partition, timestamp_ms)).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.reads(LOG, "committed", self.adapter.committed(group, topic)).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.writes(LOG, "commit", self.adapter.commit(group, topic, offsets)).await
    }

    /// The member's own calls go straight to the adapter: they wait for others, or are the group's affair.
    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.reads(LOG, "join", self.adapter.join(group, topic, patience)).await
    }

    /// Waiting is no work, and has a limit of its own: nothing is done around it.
    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.adapter.wait_for_records(topic, timeout).await;
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.writes(LOG, "apply_retention", self.adapter.apply_retention(now_ms)).await
    }
}

#[async_trait]
impl<T: Ledger + ?Sized, W: Around> Ledger for Wrapped<T, W> {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.reads(LEDGER, "load", self.adapter.load(aggregates, keys)).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.writes(LEDGER, "commit", self.adapter.commit(commit)).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.writes(LEDGER, "count_attempt", self.adapter.count_attempt(key, epoch)).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.reads(LEDGER, "list", self.adapter.list(tenant, kind, limit)).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.reads(LEDGER, "ping", self.adapter.ping()).await
    }
}

#[async_trait]
impl<T: Statements + ?Sized, W: Around> Statements for Wrapped<T, W> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        // A store that takes none of the documents is away, although it answers; one that takes some is there.
        let takes_none = |outcomes: &Vec<StoreOutcome>| {
            !outcomes.is_empty() && outcomes.iter().all(|of| matches!(of, StoreOutcome::Unavailable { .. }))
        };
        let call = Call { store: STATEMENTS, operation: "store", effect: Effect::Write };
        self.around.call(call, self.adapter.store(documents), takes_none).await
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.reads(STATEMENTS, "get", self.adapter.get(tenant, id)).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.reads(STATEMENTS, "search", self.adapter.search(filter, limit, after)).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.reads(STATEMENTS, "aggregate", self.adapter.aggregate(filter, aggregations)).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.reads(STATEMENTS, "ping", self.adapter.ping()).await
    }
}
