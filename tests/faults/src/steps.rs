//! The steps at which a worker dies: its ports, which end the process at a call, and its clock, which jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_around::around::{Around, Call, StoreError};
use lyceum_core::clock::Clock;
use lyceum_core::ports::Effect;
use lyceum_core::ports::event_log::{
    Administer, Change, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec,
};
use lyceum_core::ports::ledger::{AggregateId, Commit, KeyId, Ledger, LedgerError, Loaded};
use lyceum_core::record::{NewRecord, Position, Record};
use lyceum_testing::handing::HandOn;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::worker::Planted;

/// A moment in the processing of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// It is decided; the ledger was not asked yet.
    BeforeState,
    /// State and keys are committed; nothing is out.
    AfterState,
    /// The statement store was not asked yet.
    BeforeStatements,
    /// The statements are stored; letters are not out.
    AfterStatements,
    /// The letters are out; nothing is answered.
    AfterLetters,
    /// Everything is out; the answer is not.
    BeforeAnswer,
    /// The function has answered; the offset is not committed.
    BeforeOffset,
    /// The offset is committed; the poller does not know.
    AfterOffset,
}

/// When this process dies.
#[derive(Debug)]
pub struct Death {
    step: Option<Step>,
    left: AtomicU32,
}

impl Death {
    /// Dies the `nth` time (from 1) that it comes to that step; `None`: never.
    pub fn at(step: Option<(Step, u32)>) -> Arc<Self> {
        let (step, nth) = step.unzip();
        Arc::new(Self { step, left: AtomicU32::new(nth.unwrap_or(0)) })
    }

    /// The process is at that step. As with `kill -9`, nothing is tidied up.
    pub fn reach(&self, step: Step) {
        if self.step == Some(step) && self.left.fetch_sub(1, Relaxed) == 1 {
            std::process::abort();
        }
    }
}

/// A ledger at whose calls the process dies, and whose states a later or earlier release may have written.
pub struct CrashingLedger {
    /// The ledger.
    pub inner: Arc<dyn Ledger>,
    /// When.
    pub death: Arc<Death>,
    /// Whose states are written.
    pub release: Release,
    /// What is wrong with the keys that it shows.
    pub defect: Option<Planted>,
}

/// How a release writes states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Release {
    /// As this one.
    #[default]
    This,
    /// With a field more in each object.
    Next,
}

impl Release {
    fn write(self, state: &[u8]) -> Option<bytes::Bytes> {
        let Self::Next = self else { return None };
        let mut value: Value = serde_json::from_slice(state).ok()?;
        add_fields(&mut value);
        Some(value.to_string().into())
    }
}

/// Each state is an enum's variant or a plain struct: the field goes into the structs that have named fields.
fn add_fields(state: &mut Value) {
    let Some(object) = state.as_object_mut() else { return };
    let is_variant = object.len() == 1;
    let inner = object
        .iter_mut()
        .next()
        .filter(|(name, _)| is_variant && ["program", "session", "booking"].contains(&name.as_str()));
    match inner {
        Some((_, Value::Object(fields))) => {
            drop(fields.insert("of_the_next_release".into(), serde_json::json!([1, 2])))
        }
        _ => drop(object.insert("of_the_next_release".into(), serde_json::json!({"a": null}))),
    }
}

/// Takes out again what [`Release::Next`] adds.
pub fn without_the_next_releases_fields(state: &mut Value) {
    match state {
        Value::Object(fields) => {
            fields.remove("of_the_next_release");
            fields.values_mut().for_each(without_the_next_releases_fields);
        }
        Value::Array(values) => values.iter_mut().for_each(without_the_next_releases_fields),
        _ => {}
    }
}

#[async_trait]
impl HandOn for CrashingLedger {
    fn ledger(&self) -> &dyn Ledger {
        &*self.inner
    }

    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        let mut loaded = self.inner.load(aggregates, keys).await?;
        for stored in loaded.aggregates.iter_mut().flatten() {
            let here = &mut stored.content.keys.here;
            match self.defect {
                Some(Planted::DuplicateEmitsNothing) => {
                    here.iter_mut().for_each(|home| home.key.recording = bytes::Bytes::from_static(b"{}"));
                }
                Some(Planted::DuplicateDecidesAnew) => here.clear(),
                _ => {}
            }
        }
        Ok(loaded)
    }

    async fn commit(&self, mut commit: Commit) -> Result<(), LedgerError> {
        self.death.reach(Step::BeforeState);
        for write in &mut commit.aggregates {
            let Some(state) = write.content.as_mut().and_then(|content| content.state.as_mut()) else { continue };
            if let Some(written) = self.release.write(state) {
                *state = written;
            }
        }
        let answer = self.inner.commit(commit).await;
        if answer.is_ok() {
            self.death.reach(Step::AfterState);
        }
        answer
    }
}

/// Around a statement store, at whose calls the process dies.
impl Around for Death {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        _: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        if call.effect == Effect::Read {
            return work.await;
        }
        self.reach(Step::BeforeStatements);
        let answer = work.await;
        self.reach(Step::AfterStatements);
        answer
    }
}

/// An event log at whose calls the process dies.
pub struct CrashingEventLog<T: ?Sized> {
    /// The log.
    pub inner: Arc<T>,
    /// When.
    pub death: Arc<Death>,
}

#[async_trait]
impl<T: Publish + ?Sized> Publish for CrashingEventLog<T> {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let answer = self.inner.produce(topic, records).await;
        self.death.reach(Step::AfterLetters);
        answer
    }
}

#[async_trait]
impl<T: Follow + ?Sized> Follow for CrashingEventLog<T> {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.inner.fetch(topic, partition, offset, max_records, max_bytes).await
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.inner.offsets(topic).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.inner.offset_at(topic, partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.inner.committed(group, topic).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.death.reach(Step::BeforeOffset);
        let answer = self.inner.commit(group, topic, offsets).await;
        self.death.reach(Step::AfterOffset);
        answer
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        let inner = self.inner.join(group, topic, patience).await?;
        Ok(Box::new(CrashingMembership { inner, death: self.death.clone() }))
    }

    fn stop_reading(&self, topic: &str, partition: i32, until: i64) {
        self.inner.stop_reading(topic, partition, until);
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.inner.wait_for_records(topic, timeout).await;
    }
}

#[async_trait]
impl<T: Administer + ?Sized> Administer for CrashingEventLog<T> {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.inner.create_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.inner.topics().await
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.inner.apply_retention(now_ms).await
    }
}

struct CrashingMembership {
    inner: Box<dyn Membership>,
    death: Arc<Death>,
}

#[async_trait]
impl Membership for CrashingMembership {
    async fn change(&self) -> Result<Change, EventLogError> {
        self.inner.change().await
    }

    fn release(&self, partitions: &BTreeSet<i32>) {
        self.inner.release(partitions);
    }

    async fn commit(&self, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.death.reach(Step::BeforeOffset);
        let answer = self.inner.commit(offsets).await;
        self.death.reach(Step::AfterOffset);
        answer
    }

    async fn leave(&self) {
        self.inner.leave().await;
    }
}

/// A clock that goes forward and back by hours each few times that it is asked.
pub struct JumpingClock {
    /// The right time.
    pub inner: Arc<dyn Clock>,
    asked: AtomicU64,
}

/// So often it is asked between two jumps.
const ASKED_BETWEEN_JUMPS: u64 = 23;
/// How wrong it is, in hours, in turn.
const HOURS_WRONG: [i64; 6] = [0, 5, -3, 48, -26, 1];

impl JumpingClock {
    /// Right at first.
    pub fn new(inner: Arc<dyn Clock>) -> Self {
        Self { inner, asked: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Clock for JumpingClock {
    fn now_ms(&self) -> i64 {
        let jumps = self.asked.fetch_add(1, Relaxed) / ASKED_BETWEEN_JUMPS;
        let hours = HOURS_WRONG[(jumps % HOURS_WRONG.len() as u64) as usize];
        self.inner.now_ms() + hours * 3_600_000
    }

    async fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration).await;
    }

    async fn timeout(&self, duration: Duration) {
        self.inner.timeout(duration).await;
    }

    fn jitter(&self) -> f64 {
        self.inner.jitter()
    }
}
