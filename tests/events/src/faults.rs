//! Ports that fail as told, around the models.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::adapters::memory::event_log::MemoryEventLog;
use lyceum_core::adapters::memory::ledger::MemoryLedger;
use lyceum_core::adapters::memory::statements::MemoryStatements;
use lyceum_core::ports::event_log::{EventLog, EventLogError, Membership, OffsetRange, TopicSpec};
use lyceum_core::ports::ledger::{AggregateId, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate};
use lyceum_core::ports::statements::{
    Filter, Page, StatementDocument, Statements, StatementsError, StoreOutcome, StoredStatement,
};
use lyceum_core::record::{NewRecord, Position, Record};
use serde_json::Value;
use uuid::Uuid;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing happened.
    Before,
    /// It happened, and its answer is lost.
    After,
}

/// Decides which writes fail.
#[derive(Debug, Default)]
pub struct Switch {
    down: AtomicBool,
    next: Mutex<VecDeque<Option<Fault>>>,
}

impl Switch {
    /// From now on every call is refused, or none.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, SeqCst);
    }

    /// The next writes end like this, one each; `None` is a success.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    fn is_down(&self) -> bool {
        self.down.load(SeqCst)
    }

    fn write(&self) -> Option<Fault> {
        if self.is_down() {
            return Some(Fault::Before);
        }
        self.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten()
    }
}

/// The model of the ledger with faults; counts its calls.
#[derive(Default)]
pub struct FaultyLedger {
    /// The model.
    pub model: MemoryLedger,
    /// Which commits fail.
    pub switch: Switch,
    /// Calls of `load`.
    pub loads: AtomicUsize,
    /// Calls of `commit`.
    pub commits: AtomicUsize,
    /// Calls of `count_attempt`.
    pub counted_attempts: AtomicUsize,
}

const AWAY: &str = "switched off";

impl FaultyLedger {
    fn answer(&self) -> Result<(), LedgerError> {
        if self.switch.is_down() { Err(LedgerError::Unavailable(AWAY.into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.loads.fetch_add(1, SeqCst);
        self.answer()?;
        self.model.load(aggregates, keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.commits.fetch_add(1, SeqCst);
        match self.switch.write() {
            None => self.model.commit(commit).await,
            Some(Fault::Before) => Err(LedgerError::Unavailable(AWAY.into())),
            Some(Fault::After) => {
                self.model.commit(commit).await?;
                Err(LedgerError::Uncertain("the answer was lost".into()))
            }
        }
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.counted_attempts.fetch_add(1, SeqCst);
        self.answer()?;
        self.model.count_attempt(key, epoch).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.answer()?;
        self.model.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.answer()
    }
}

/// The model of the statement store with faults.
pub struct FaultyStatements {
    /// The model.
    pub model: MemoryStatements,
    /// Which calls of `store` fail.
    pub switch: Switch,
}

impl FaultyStatements {
    fn answer(&self) -> Result<(), StatementsError> {
        if self.switch.is_down() { Err(away()) } else { Ok(()) }
    }
}

fn away() -> StatementsError {
    StatementsError::Unavailable(AWAY.into())
}

#[async_trait]
impl Statements for FaultyStatements {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        match self.switch.write() {
            None => self.model.store(documents).await,
            Some(Fault::Before) => Err(away()),
            Some(Fault::After) => {
                self.model.store(documents).await?;
                Err(away())
            }
        }
    }

    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.answer()?;
        self.model.get(tenant, id).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.answer()?;
        self.model.search(filter, limit, after).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.answer()?;
        self.model.aggregate(filter, aggregations).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.answer()
    }
}

/// The model of the event log with faults.
pub struct FaultyEventLog {
    /// The model.
    pub model: MemoryEventLog,
    /// Which calls of `produce` fail.
    pub switch: Switch,
}

fn log_away() -> EventLogError {
    EventLogError::Unavailable(AWAY.into())
}

#[async_trait]
impl EventLog for FaultyEventLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.model.create_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.model.topics().await
    }

    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        match self.switch.write() {
            None => self.model.produce(topic, records).await,
            Some(Fault::Before) => Err(log_away()),
            Some(Fault::After) => {
                self.model.produce(topic, records).await?;
                Err(log_away())
            }
        }
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.model.fetch(topic, partition, offset, max_records, max_bytes).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.model.offsets(topic).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.model.offset_at(topic, partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.model.committed(group, topic).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.model.commit(group, topic, offsets).await
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.model.join(group, topic, patience).await
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.model.wait_for_records(topic, timeout).await;
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.model.apply_retention(now_ms).await
    }
}
