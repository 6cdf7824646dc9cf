//! How far the functions behind the mappings are: what their consumer groups have committed, against where topics end.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lyceum_core::clock::Clock;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_server::consumers::{ConsumerState, ConsumerStatus, Consumers, PartitionProgress};
use lyceum_server::questions::AskError;
use parking_lot::Mutex;

/// So many groups are asked for at once.
const AT_ONCE: usize = 8;
/// For so long an answer holds: an invocation asks once, and a page's parts one after the other.
const HOLDS_MS: i64 = 5_000;

/// One group: a function's, on one topic.
#[derive(Clone, Copy, Debug)]
pub struct OfMapping {
    /// The subscription.
    pub function: &'static str,
    /// What it reads.
    pub topic: &'static str,
}

/// The groups of a stack's mappings. Whether a mapping polls is not known from here: an alarm and `lyceum doctor aws` tell it.
pub struct Groups {
    mappings: Vec<(OfMapping, String)>,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    told: Mutex<Option<(i64, Vec<ConsumerStatus>)>>,
}

impl Groups {
    /// Of every subscription of the release, in groups that are called `prefix`, `-` and as the stack calls them.
    pub fn new(prefix: &str, log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        let mappings = lyceum_functions::functions().flat_map(|of| {
            let subscription = of.subscription;
            subscription
                .topics()
                .map(move |topic| (OfMapping { function: subscription.name, topic }, subscription.mapping_group(topic)))
        });
        let mappings = mappings.map(|(of, group)| (of, format!("{prefix}-{group}"))).collect();
        Self { mappings, log, clock, told: Mutex::default() }
    }

    /// The groups by topic, for whoever waits until a record is settled.
    pub fn by_topic(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut groups: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (of, group) in &self.mappings {
            groups.entry(of.topic).or_default().push(group.clone());
        }
        groups
    }

    async fn ask(&self, mapping: usize) -> Result<Option<ConsumerStatus>, EventLogError> {
        let (of, group) = &self.mappings[mapping];
        let ranges = match self.log.offsets(of.topic).await {
            Ok(ranges) => ranges,
            // Nothing was ever sent to it.
            Err(EventLogError::UnknownTopic(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let committed = self.log.committed(group, of.topic).await?;
        let mut partitions = Vec::new();
        for (partition, range) in (0..).zip(ranges) {
            let next = committed.get(&partition).copied();
            let settled_below = next.unwrap_or(range.start).max(range.start);
            let lag = (range.end - settled_below).max(0);
            let lag_ms = if lag == 0 { 0 } else { self.waited_ms(of.topic, partition, settled_below).await? };
            partitions.push(PartitionProgress { partition, committed: next, end: range.end, lag, lag_ms });
        }
        Ok(Some(ConsumerStatus {
            name: format!("{}/{}", of.function, of.topic),
            topic: of.topic.to_owned(),
            group: group.clone(),
            function: of.function.to_owned(),
            state: ConsumerState::Running,
            silent_ms: 0,
            partitions,
            work: None,
        }))
    }

    /// For how long the first record from there on has waited.
    async fn waited_ms(&self, topic: &str, partition: i32, offset: i64) -> Result<u64, EventLogError> {
        let first = match self.log.fetch(topic, partition, offset, 1, 1).await {
            Ok(records) => records.into_iter().next(),
            // Retention was faster.
            Err(EventLogError::OffsetOutOfRange { .. }) => None,
            Err(error) => return Err(error),
        };
        let waited = first.map_or(0, |record| self.clock.now_ms().saturating_sub(record.timestamp_ms));
        Ok(u64::try_from(waited).unwrap_or(0))
    }
}

#[async_trait]
impl Consumers for Groups {
    async fn status(&self) -> Result<Vec<ConsumerStatus>, AskError> {
        let now_ms = self.clock.now_ms();
        if let Some((at_ms, told)) = &*self.told.lock()
            && now_ms.saturating_sub(*at_ms) < HOLDS_MS
        {
            return Ok(told.clone());
        }
        let asked = stream::iter(0..self.mappings.len()).map(|mapping| self.ask(mapping)).buffered(AT_ONCE);
        let told = asked.try_filter_map(|status| std::future::ready(Ok(status))).try_collect::<Vec<_>>().await;
        let mut told = told.map_err(|error| {
            if error.is_transient() {
                AskError::Unavailable(error.to_string())
            } else {
                AskError::Failed(error.to_string())
            }
        })?;
        told.sort_by(|a, b| a.name.cmp(&b.name));
        *self.told.lock() = Some((now_ms, told.clone()));
        Ok(told)
    }
}
