//! Has security alerts told: a mapping of their topic, whose function posts each one.
//!
//! Its consumer group says how far they were told, on whichever log they stand, so that a restart neither loses one nor tells one again that
//! was taken. One that was taken while the process was killed, before that was committed, is told once more, under the same key.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::record::Record;
use lyceum_core::retry::Backoff;
use lyceum_event_source_mapping::{EventSourceMapping, Invoke, InvokeError, MappingConfig, StartingPosition};
use lyceum_lambda_event::event::{Entry, parse};
use lyceum_server::alerts::webhook::{Tell, TellError, Told};
use lyceum_server::questions::Keys;
use lyceum_server::security::{SecurityAlert, TOPIC};
use tokio::sync::Mutex;
use uuid::Uuid;

/// The mapping, its function and the end of its consumer group's name.
pub(super) const NAME: &str = "tell-security";
/// So long one alert may take; a webhook has ten seconds.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// So long an end of the process waits for the one that is being told.
const GRACE: Duration = Duration::from_secs(2);
/// Between one attempt and the next.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
/// Of so many alerts it is known that they were told: one that is published twice, which is then near, is told once.
const REMEMBERED: usize = 256;
/// Bytes of them that are read at a start.
const REMEMBERED_BYTES: usize = 1 << 20;

/// A mapping that has each alert told that is published from the first start on, which is now: what is older is on the page alone.
pub(super) fn mapping(
    event_log: Arc<dyn EventLog>,
    group: &str,
    now_ms: i64,
    keys: Arc<dyn Keys>,
    tell: Arc<dyn Tell>,
) -> Result<Arc<EventSourceMapping>> {
    let mut config = MappingConfig::new(NAME, TOPIC, format!("{group}-{NAME}"));
    config.starting_position = StartingPosition::AtTimestamp(now_ms);
    // What was taken is committed before the next one is posted.
    config.batch_size = 1;
    config.batching_window = Duration::ZERO;
    config.function_timeout = TIME_LIMIT;
    config.shutdown_grace = GRACE;
    config.backoff = BACKOFF;
    let function = TellSecurity { event_log: event_log.clone(), keys, tell, told: Mutex::default() };
    Ok(Arc::new(EventSourceMapping::new(config, event_log, Arc::new(function))?))
}

struct TellSecurity {
    event_log: Arc<dyn EventLog>,
    keys: Arc<dyn Keys>,
    tell: Arc<dyn Tell>,
    told: Mutex<Option<Remembered>>,
}

/// The events that were told last.
#[derive(Default)]
struct Remembered {
    ids: HashSet<Uuid>,
    oldest_first: VecDeque<Uuid>,
}

impl Remembered {
    fn add(&mut self, id: Uuid) {
        if self.ids.insert(id) {
            self.oldest_first.push_back(id);
        }
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl TellSecurity {
    /// The alert of a record that the family takes, too: one whose tenant is not whom it was published for is none.
    fn read(&self, record: &Record) -> Option<SecurityAlert> {
        let alert = SecurityAlert::read(record.value.as_deref()?, record.position.clone())?;
        let about = self.keys.about(record);
        (about.event_id == Some(alert.id) && about.tenant.as_ref() == Some(&alert.tenant)).then_some(alert)
    }

    /// What stands before the first record of this process was told by the one before it.
    async fn remember(&self, record: &Record) -> Result<Remembered, EventLogError> {
        let (partition, end) = (record.position.partition, record.position.offset);
        let ranges = self.event_log.offsets(TOPIC).await?;
        let start = usize::try_from(partition)
            .ok()
            .and_then(|partition| ranges.get(partition))
            .map_or(end, |range| range.start);
        let mut next = start.max(end - REMEMBERED as i64);
        let mut told = Remembered::default();
        while next < end {
            let records = self.event_log.fetch(TOPIC, partition, next, REMEMBERED, REMEMBERED_BYTES).await?;
            let Some(last) = records.last() else { break };
            next = last.position.offset + 1;
            records
                .iter()
                .filter(|of| of.position.offset < end)
                .filter_map(|of| self.read(of))
                .for_each(|alert| told.add(alert.id));
        }
        Ok(told)
    }

    /// Tells the alert of a record, unless it was told before.
    async fn tell(&self, record: &Record) -> Result<(), InvokeError> {
        // What is no alert is a letter of the family that owns the topic.
        let Some(alert) = self.read(record) else { return Ok(()) };
        let mut told = self.told.lock().await;
        let told = match &mut *told {
            Some(told) => told,
            none => {
                let remembered = self.remember(record).await;
                none.insert(remembered.map_err(|error| InvokeError::function("EventLog", error.to_string()))?)
            }
        };
        let id = alert.id;
        if told.ids.contains(&id) {
            return Ok(());
        }
        match self.tell.tell(&Told::Security(Box::new(alert.into()))).await {
            Ok(()) => {}
            Err(TellError::Never(error)) => {
                tracing::error!(%error, position = %record.position, "a security alert is refused, and told on the page alone");
            }
            Err(error) => return Err(InvokeError::function("Webhook", error.to_string())),
        }
        told.add(id);
        Ok(())
    }
}

#[async_trait]
impl Invoke for TellSecurity {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let event = parse(&payload).map_err(|error| InvokeError::function("HandlerError", error.to_string()))?;
        for entry in &event.entries {
            if let Entry::Record(delivered) = entry {
                self.tell(&delivered.record).await?;
            }
        }
        Ok(Bytes::from_static(b"{}"))
    }
}
