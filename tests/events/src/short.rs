//! Ports that do what they are asked, and answer for one thing fewer than they were given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::ports::event_log::{EventLog, EventLogError, Membership, OffsetRange, TopicSpec};
use lyceum_core::ports::ledger::{AggregateId, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey};
use lyceum_core::ports::statements::{
    Filter, Page, StatementDocument, Statements, StatementsError, StoreOutcome, StoredStatement,
};
use lyceum_core::record::{NewRecord, Position, Record};
use serde_json::Value;
use uuid::Uuid;

/// The port, its answers one short.
pub struct Short<T: ?Sized>(pub Arc<T>);

fn shortened<T>(mut answer: Vec<T>) -> Vec<T> {
    answer.pop();
    answer
}

#[async_trait]
impl Statements for Short<dyn Statements> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        self.0.store(documents).await.map(shortened)
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.0.get(tenant, id).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.0.search(filter, limit, after).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.0.aggregate(filter, aggregations).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.0.ping().await
    }
}

#[async_trait]
impl Ledger for Short<dyn Ledger> {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let Loaded { aggregates, keys } = self.0.load(aggregates, keys).await?;
        Ok(Loaded { aggregates: shortened(aggregates), keys: shortened(keys) })
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.0.load_settled_keys(keys).await.map(shortened)
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.0.commit(commit).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.0.count_attempt(key, epoch).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.0.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.0.ping().await
    }
}

#[async_trait]
impl EventLog for Short<dyn EventLog> {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.0.produce(topic, records).await.map(shortened)
    }

    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.0.create_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.0.topics().await
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.0.fetch(topic, partition, offset, max_records, max_bytes).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.0.offsets(topic).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.0.offset_at(topic, partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.0.committed(group, topic).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.0.commit(group, topic, offsets).await
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.0.join(group, topic, patience).await
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.0.wait_for_records(topic, timeout).await;
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.0.apply_retention(now_ms).await
    }
}
