//! Any adapter, connected when it is first called: a process that may not need it does not pay for it at its start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::ports::event_log::{EventLog, EventLogError, Membership, OffsetRange, TopicSpec};
use crate::ports::ledger::{AggregateId, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate};
use crate::ports::statements::{
    Filter, Page, StatementDocument, Statements, StatementsError, StoreOutcome, StoredStatement,
};
use crate::record::{NewRecord, Position, Record};

/// How an adapter is made; a failure is told in words, and the next call tries again.
type Connect<T> = dyn Fn() -> BoxFuture<'static, Result<Arc<T>, String>> + Send + Sync;

/// An adapter that is made by its first call, and once.
pub struct Lazily<T: ?Sized> {
    made: OnceCell<Arc<T>>,
    connect: Box<Connect<T>>,
}

impl<T: ?Sized> Lazily<T> {
    /// Makes the adapter by `connect` when it is first called.
    pub fn new<C>(connect: impl Fn() -> C + Send + Sync + 'static) -> Self
    where
        C: Future<Output = Result<Arc<T>, String>> + Send + 'static,
    {
        Self { made: OnceCell::new(), connect: Box::new(move || Box::pin(connect())) }
    }

    async fn adapter(&self) -> Result<&Arc<T>, String> {
        self.made.get_or_try_init(|| (self.connect)()).await
    }
}

#[async_trait]
impl<T: EventLog + ?Sized> EventLog for Lazily<T> {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.create_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.topics().await
    }

    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.produce(topic, records).await
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        let log = self.adapter().await.map_err(EventLogError::Unavailable)?;
        log.fetch(topic, partition, offset, max_records, max_bytes).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.offsets(topic).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.offset_at(topic, partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.committed(group, topic).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.commit(group, topic, offsets).await
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.join(group, topic, patience).await
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        match self.adapter().await {
            Ok(log) => log.wait_for_records(topic, timeout).await,
            Err(_) => tokio::time::sleep(timeout).await,
        }
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.adapter().await.map_err(EventLogError::Unavailable)?.apply_retention(now_ms).await
    }
}

#[async_trait]
impl<T: Ledger + ?Sized> Ledger for Lazily<T> {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.adapter().await.map_err(LedgerError::Unavailable)?.load(aggregates, keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.adapter().await.map_err(LedgerError::Unavailable)?.commit(commit).await
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.adapter().await.map_err(LedgerError::Unavailable)?.count_attempt(key, epoch).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.adapter().await.map_err(LedgerError::Unavailable)?.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.adapter().await.map_err(LedgerError::Unavailable)?.ping().await
    }
}

#[async_trait]
impl<T: Statements + ?Sized> Statements for Lazily<T> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        self.adapter().await.map_err(StatementsError::Unavailable)?.store(documents).await
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.adapter().await.map_err(StatementsError::Unavailable)?.get(tenant, id).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.adapter().await.map_err(StatementsError::Unavailable)?.search(filter, limit, after).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.adapter().await.map_err(StatementsError::Unavailable)?.aggregate(filter, aggregations).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.adapter().await.map_err(StatementsError::Unavailable)?.ping().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::adapters::memory::ledger::MemoryLedger;

    #[tokio::test]
    async fn an_adapter_is_made_by_the_first_call_that_can_and_never_again() {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let ledger = Lazily::<dyn Ledger>::new(move || {
            let first = counted.fetch_add(1, SeqCst) == 0;
            async move {
                let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
                if first { Err("no route".to_owned()) } else { Ok(ledger) }
            }
        });
        assert_eq!(tries.load(SeqCst), 0);
        assert_eq!(ledger.ping().await, Err(LedgerError::Unavailable("no route".to_owned())));
        assert_eq!((ledger.ping().await, ledger.ping().await, tries.load(SeqCst)), (Ok(()), Ok(()), 2));
    }
}
