//! Any adapter, with the time of each call in the metrics: `lyceum_store_duration_seconds{store,operation}`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::ports::event_log::{EventLog, EventLogError, OffsetRange, TopicSpec};
use crate::ports::ledger::{AggregateId, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate};
use crate::ports::statements::{
    Filter, Page, StatementDocument, Statements, StatementsError, StoreOutcome, StoredStatement,
};
use crate::record::{NewRecord, Position, Record};

/// An adapter whose calls are measured.
pub struct Measured<T: ?Sized> {
    adapter: Arc<T>,
    metrics: Arc<Metrics>,
}

impl<T: ?Sized> Measured<T> {
    /// Measures this adapter's calls.
    pub fn new(adapter: Arc<T>, metrics: Arc<Metrics>) -> Self {
        Self { adapter, metrics }
    }

    async fn call<A, E: Failed>(
        &self,
        store: &'static str,
        operation: &'static str,
        call: impl Future<Output = Result<A, E>>,
    ) -> Result<A, E> {
        let started = Instant::now();
        let answer = call.await;
        self.metrics.observe_store_duration(store, operation, started.elapsed());
        if let Err(error) = &answer {
            self.metrics.count_store_error(store, error.kind());
        }
        answer
    }
}

/// An error's name in `lyceum_store_errors_total`.
trait Failed {
    fn kind(&self) -> &'static str;
}

impl Failed for EventLogError {
    fn kind(&self) -> &'static str {
        match self {
            Self::UnknownTopic(_) | Self::UnknownPartition { .. } => "unknown",
            Self::OffsetOutOfRange { .. } => "offset_out_of_range",
            Self::TooLarge { .. } => "too_large",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl Failed for LedgerError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Uncertain(_) => "uncertain",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }
}

impl Failed for StatementsError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }
}

const LOG: &str = "event_log";
const LEDGER: &str = "ledger";
const STATEMENTS: &str = "statements";

#[async_trait]
impl<T: EventLog + ?Sized> EventLog for Measured<T> {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.call(LOG, "create_topic", self.adapter.create_topic(spec)).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.call(LOG, "topics", self.adapter.topics()).await
    }

    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.call(LOG, "produce", self.adapter.produce(topic, records)).await
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.call(LOG, "fetch", self.adapter.fetch(topic, partition, offset, max_records, max_bytes)).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.call(LOG, "offsets", self.adapter.offsets(topic)).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.call(LOG, "offset_at", self.adapter.offset_at(topic, partition, timestamp_ms)).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.call(LOG, "committed", self.adapter.committed(group, topic)).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.call(LOG, "commit", self.adapter.commit(group, topic, offsets)).await
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.adapter.wait_for_records(topic, timeout).await;
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.call(LOG, "apply_retention", self.adapter.apply_retention(now_ms)).await
    }
}

#[async_trait]
impl<T: Ledger + ?Sized> Ledger for Measured<T> {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.call(LEDGER, "load", self.adapter.load(aggregates, keys)).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.call(LEDGER, "commit", self.adapter.commit(commit)).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.call(LEDGER, "count_attempt", self.adapter.count_attempt(key, epoch)).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.call(LEDGER, "list", self.adapter.list(tenant, kind, limit)).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.call(LEDGER, "ping", self.adapter.ping()).await
    }
}

#[async_trait]
impl<T: Statements + ?Sized> Statements for Measured<T> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        self.call(STATEMENTS, "store", self.adapter.store(documents)).await
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.call(STATEMENTS, "get", self.adapter.get(tenant, id)).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.call(STATEMENTS, "search", self.adapter.search(filter, limit, after)).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.call(STATEMENTS, "aggregate", self.adapter.aggregate(filter, aggregations)).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.call(STATEMENTS, "ping", self.adapter.ping()).await
    }
}
