//! An event log within another one: topics and groups bear a prefix there and none here, so that tests that need the
//! catalog's own topics share one broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::ports::event_log::{Administer, EventLogError, Follow, Membership, OffsetRange, Publish, TopicSpec};
use lyceum_core::record::{NewRecord, Position, Record};

/// See the module.
pub struct Prefixed<T: ?Sized> {
    prefix: String,
    inner: Arc<T>,
}

impl<T: ?Sized> Prefixed<T> {
    /// The part of `inner` whose names begin with `prefix`.
    pub fn new(prefix: impl Into<String>, inner: Arc<T>) -> Self {
        Self { prefix: prefix.into(), inner }
    }

    fn outer(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn strip(&self, position: Position) -> Position {
        match position.topic.strip_prefix(&self.prefix) {
            Some(topic) => Position::new(topic, position.partition, position.offset),
            None => position,
        }
    }
}

#[async_trait]
impl<T: Publish + ?Sized> Publish for Prefixed<T> {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let positions = self.inner.produce(&self.outer(topic), records).await?;
        Ok(positions.into_iter().map(|position| self.strip(position)).collect())
    }
}

#[async_trait]
impl<T: Follow + ?Sized> Follow for Prefixed<T> {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        let records = self.inner.fetch(&self.outer(topic), partition, offset, max_records, max_bytes).await?;
        let own = |record: Record| Record { position: self.strip(record.position), ..record };
        Ok(records.into_iter().map(own).collect())
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        self.inner.offsets(&self.outer(topic)).await
    }

    async fn offset_at(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        self.inner.offset_at(&self.outer(topic), partition, timestamp_ms).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        self.inner.committed(&self.outer(group), &self.outer(topic)).await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), EventLogError> {
        self.inner.commit(&self.outer(group), &self.outer(topic), offsets).await
    }

    async fn join(&self, group: &str, topic: &str, patience: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        self.inner.join(&self.outer(group), &self.outer(topic), patience).await
    }

    fn stop_reading(&self, topic: &str, partition: i32, until: i64) {
        self.inner.stop_reading(&self.outer(topic), partition, until);
    }

    async fn wait_for_records(&self, topic: &str, timeout: Duration) {
        self.inner.wait_for_records(&self.outer(topic), timeout).await;
    }
}

#[async_trait]
impl<T: Administer + ?Sized> Administer for Prefixed<T> {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.inner.create_topic(TopicSpec { name: self.outer(&spec.name), ..spec }).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        let all = self.inner.topics().await?.into_iter();
        let own = |spec: TopicSpec| Some(TopicSpec { name: spec.name.strip_prefix(&self.prefix)?.to_owned(), ..spec });
        Ok(all.filter_map(own).collect())
    }

    async fn apply_retention(&self, now_ms: i64) -> Result<u64, EventLogError> {
        self.inner.apply_retention(now_ms).await
    }
}
