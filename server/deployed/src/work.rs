//! What this process does for those who ask it by HTTP: it tells how records end, and calls its functions.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Outcome, Report};
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::process::Subscriber;
use lyceum_core::record::Position;
use lyceum_core::subscription::{Effect, Subscription};
use lyceum_lambda_event::handler::handle;
use lyceum_server::dead_letters::letters::Ending;
use lyceum_server::questions::AskError;
use lyceum_server::work::{Prepared, Summary, Watch, Work};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// So many endings are kept of what one watch has not asked for yet.
const MOST_ENDINGS: usize = 100_000;
/// How often a watch looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

type Seen = Mutex<BTreeMap<Position, Ending>>;

/// Sees how the records end that this process settles, for whoever watches.
#[derive(Default)]
pub struct Endings(Mutex<Vec<Weak<Seen>>>);

impl Endings {
    fn watch(&self) -> Arc<Seen> {
        let seen = Arc::default();
        let mut watching = self.0.lock();
        watching.retain(|of| of.strong_count() > 0);
        watching.push(Arc::downgrade(&seen));
        seen
    }
}

impl Observer for Endings {
    fn observe(&self, reports: &[Report]) {
        let watching: Vec<Arc<Seen>> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        for seen in watching {
            let mut seen = seen.lock();
            for report in reports.iter().filter(|report| report.is_owner) {
                let ending = match report.outcome {
                    Outcome::Applied => Ending::Applied,
                    Outcome::Duplicate => Ending::Duplicate,
                    Outcome::DeadLettered { .. } => Ending::DeadLettered,
                    Outcome::Skipped | Outcome::SkippedTombstone | Outcome::RetryLater { .. } => continue,
                };
                if seen.len() < MOST_ENDINGS {
                    seen.insert(report.position.clone(), ending);
                }
            }
        }
    }
}

/// A batch's time limit, that of its function on Lambda: one that asks somebody has as long as a mapping of Kafka lets one run.
pub fn time_limit(subscription: &Subscription) -> Duration {
    Duration::from_secs(if subscription.effect == Effect::Calling { 840 } else { 60 })
}

/// What this process does for others.
pub struct Here {
    /// The functions, by subscription.
    pub functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    /// The consumer groups of each topic that this process reads.
    pub groups: BTreeMap<&'static str, Vec<String>>,
    /// Tells how far others are.
    pub event_log: Arc<dyn EventLog>,
    /// How records end here.
    pub endings: Arc<Endings>,
    /// For time limits.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Work for Here {
    async fn ingest(&self, _events: Vec<Prepared>) -> Result<Summary, AskError> {
        Err(AskError::Invalid(
            "this process consumes, and ingests no files: publish with POST /events/{topic}, or let `lyceum ingest` send to the same Kafka (--kafka)"
                .to_owned(),
        ))
    }

    fn watch(&self) -> Box<dyn Watch> {
        let (event_log, groups) = (self.event_log.clone(), self.groups.clone());
        Box::new(Watching { seen: self.endings.watch(), event_log, groups })
    }

    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Option<Bytes>, AskError> {
        let Some(function) = self.functions.get(function) else { return Ok(None) };
        let limit = time_limit(function.subscription());
        let deadline_ms = self.clock.now_ms() + limit.as_millis() as i64;
        let answer = handle(&**function, &payload, deadline_ms).await;
        let answer = answer.map_err(|error| AskError::Invalid(error.to_string()))?;
        let answer = serde_json::to_vec(&answer).map_err(|error| AskError::Invalid(error.to_string()))?;
        Ok(Some(answer.into()))
    }
}

struct Watching {
    seen: Arc<Seen>,
    event_log: Arc<dyn EventLog>,
    groups: BTreeMap<&'static str, Vec<String>>,
}

impl Watching {
    /// Whether the groups that read its topic here are past a record, so that another process settled it.
    async fn is_passed(&self, position: &Position) -> bool {
        let Some(groups) = self.groups.get(&*position.topic) else { return true };
        for group in groups {
            let committed = self.event_log.committed(group, &position.topic).await.unwrap_or_default();
            if committed.get(&position.partition).is_none_or(|next| *next <= position.offset) {
                return false;
            }
        }
        true
    }
}

#[async_trait]
impl Watch for Watching {
    async fn endings(&mut self, sent: &[Position], limit: Duration) -> Result<BTreeMap<Position, Ending>, AskError> {
        let until = Instant::now() + limit;
        let mut endings = BTreeMap::new();
        loop {
            let open: Vec<&Position> = sent.iter().filter(|position| !endings.contains_key(*position)).collect();
            // In this order: what is committed was seen before by whoever settled it here.
            let mut passed = Vec::new();
            for position in &open {
                passed.push(self.is_passed(position).await);
            }
            for (position, is_passed) in open.into_iter().zip(passed) {
                let ending = self.seen.lock().get(position).copied();
                if let Some(ending) = ending.or(is_passed.then_some(Ending::Elsewhere)) {
                    endings.insert(position.clone(), ending);
                }
            }
            if endings.len() >= sent.len() || Instant::now() >= until {
                break;
            }
            sleep(LOOK_INTERVAL).await;
        }
        for position in sent {
            endings.entry(position.clone()).or_insert(Ending::Pending);
        }
        Ok(endings)
    }
}
