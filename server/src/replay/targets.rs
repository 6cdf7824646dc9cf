//! Where the records of a replay go.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::clock::Clock;
use lyceum_core::dead_letter::sent_again;
use lyceum_core::generations::building::Muted;
use lyceum_core::outcome::Outcome;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::process::{Delivery, Services, Subscriber};
use lyceum_core::record::{NewRecord, Record};
use lyceum_core::replay::reading::Part;
use lyceum_core::replay::{Counts, Sink, SinkError};
use serde_json::Value;

/// So many records one call appends.
const PRODUCED_AT_ONCE: usize = 1_000;
/// So many records one call of a subscriber has.
pub(super) const BATCH: usize = 500;
/// So long one call of a subscriber may take.
const BATCH_TIME: Duration = Duration::from_secs(60);
/// What is to be redelivered is, after so long.
const REDELIVERY: Duration = Duration::from_secs(1);

/// Why a part is not where it should go.
pub(super) enum Failed {
    /// The same may succeed later.
    Later(String),
    /// A person has to act.
    Never(String),
}

impl From<EventLogError> for Failed {
    fn from(error: EventLogError) -> Self {
        if error.is_transient() { Self::Later(error.to_string()) } else { Self::Never(error.to_string()) }
    }
}

impl From<SinkError> for Failed {
    fn from(error: SinkError) -> Self {
        if error.is_transient() { Self::Later(error.to_string()) } else { Self::Never(error.to_string()) }
    }
}

/// Makes the function of a subscription.
pub type MakeSubscriber = Arc<dyn Fn(&str, Services) -> Option<Arc<dyn Subscriber>> + Send + Sync>;

/// Subscribers, each to be called by itself.
#[derive(Clone)]
pub struct Subscribers {
    /// What they use.
    pub services: Services,
    /// Makes one.
    pub make: MakeSubscriber,
    /// Every subscription's name.
    pub names: Vec<&'static str>,
}

impl Subscribers {
    /// The function of a subscription. Without `publish` nothing that follows from its events goes out: neither reactions nor letters.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(&self, name: &str, publish: bool) -> Result<Arc<dyn Subscriber>, String> {
        // How they end is counted by the replay: live figures and alerts are about what happens now.
        let mut services = Services { observer: Arc::new(Muted), ..self.services.clone() };
        if !publish {
            services.event_log = Arc::new(Muted);
        }
        let unknown = || format!("there is no subscriber {name:?}; there are {}", self.names.join(", "));
        (self.make)(name, services).ok_or_else(unknown)
    }
}

/// A target that is open.
pub(super) enum To {
    /// The topic of each record; each counts as sent again so often more.
    Topic { log: Arc<dyn EventLog>, times: u32 },
    /// Another topic.
    OtherTopic { log: Arc<dyn EventLog>, topic: String },
    /// One subscriber; where it has had the records before, each counts as sent again so often more.
    Subscriber { subscriber: Arc<dyn Subscriber>, times: u32, clock: Arc<dyn Clock> },
    /// Files.
    File(Box<dyn Sink>),
}

impl To {
    /// So many matching records a part has at most.
    pub(super) fn part(&self, rate: Option<u32>) -> u64 {
        match self {
            // Files are cut by offsets and bytes alone: the same for the same request.
            Self::File(_) => u64::MAX,
            Self::Topic { .. } | Self::OtherTopic { .. } => u64::from(rate.unwrap_or(u32::MAX)),
            Self::Subscriber { .. } => (BATCH as u64).min(u64::from(rate.unwrap_or(u32::MAX))),
        }
    }

    /// Has a part go there; all of it is settled when this returns. Gives what became of its records, and where a sink stands.
    pub(super) async fn deliver(&mut self, part: &Part, until_ms: i64) -> Result<(Counts, Option<Value>), Failed> {
        let mut counts =
            Counts { read: part.read, matched: part.records.len() as u64, gone: part.gone, ..Counts::default() };
        match self {
            Self::Topic { log, times } => {
                let topic = part.chunk.topic.clone();
                let records = part.records.iter().map(|record| {
                    // A record of a topic that was copied from another one names that one as its source.
                    sent_again(record, *times).record
                });
                let sent = produce(&**log, &topic, records.collect()).await?;
                (counts.sent, counts.refused) = (sent, counts.matched - sent);
                Ok((counts, None))
            }
            Self::OtherTopic { log, topic } => {
                let records = part.records.iter().map(|record| NewRecord {
                    partition: None,
                    key: record.key.clone(),
                    value: record.value.clone(),
                    headers: record.headers.clone(),
                    timestamp_ms: None,
                });
                let sent = produce(&**log, topic, records.collect()).await?;
                (counts.sent, counts.refused) = (sent, counts.matched - sent);
                Ok((counts, None))
            }
            Self::Subscriber { subscriber, times, clock } => {
                for outcome in process(&**subscriber, *times, &**clock, &part.records, until_ms).await? {
                    match outcome {
                        Outcome::Applied => counts.sent += 1,
                        Outcome::DeadLettered { .. } => counts.refused += 1,
                        _ => counts.skipped += 1,
                    }
                }
                Ok((counts, None))
            }
            Self::File(sink) => {
                let checkpoint = sink.append(&part.chunk, &part.records).await?;
                counts.sent = counts.matched;
                Ok((counts, Some(checkpoint)))
            }
        }
    }
}

/// Appends records in their order; those that are too large for the topic are left out. How many went.
async fn produce(log: &dyn EventLog, topic: &str, records: Vec<NewRecord>) -> Result<u64, Failed> {
    let mut sent = 0;
    for records in records.chunks(PRODUCED_AT_ONCE) {
        match log.produce(topic, records.to_vec()).await {
            Ok(positions) if positions.len() == records.len() => sent += records.len() as u64,
            Ok(_) => return Err(Failed::Later("the log did not confirm every record".to_owned())),
            // Nothing of the call was appended: each goes alone.
            Err(EventLogError::TooLarge { .. }) => {
                for record in records {
                    match log.produce(topic, vec![record.clone()]).await {
                        Ok(_) => sent += 1,
                        Err(EventLogError::TooLarge { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

/// Processes records by one subscriber until each is settled; how each ended.
async fn process(
    subscriber: &dyn Subscriber,
    times: u32,
    clock: &dyn Clock,
    records: &[Record],
    until_ms: i64,
) -> Result<Vec<Outcome>, Failed> {
    let mut ended: Vec<Option<Outcome>> = vec![None; records.len()];
    let mut left: Vec<usize> = (0..records.len()).collect();
    let mut reason = "there was no time for a call".to_owned();
    while !left.is_empty() {
        let now_ms = clock.now_ms();
        if now_ms >= until_ms {
            return Err(Failed::Later(reason));
        }
        let deliveries: Vec<Delivery> = left
            .iter()
            .map(|number| {
                let record = &records[*number];
                let headers = sent_again(record, times).record.headers;
                Delivery::Record(Record { headers, ..record.clone() })
            })
            .collect();
        let batch_ms = i64::try_from(BATCH_TIME.as_millis()).unwrap_or(i64::MAX);
        let invocation = subscriber.invocation(until_ms.min(now_ms.saturating_add(batch_ms)));
        let reports = subscriber.process(&deliveries, &invocation).await;
        let mut later = Vec::new();
        for (number, report) in left.into_iter().zip(reports) {
            match report.outcome {
                Outcome::RetryLater { reason: why } => {
                    reason = format!("{} is to be redelivered: {why}", records[number].position);
                    later.push(number);
                }
                outcome => ended[number] = Some(outcome),
            }
        }
        left = later;
        if !left.is_empty() {
            clock.sleep(REDELIVERY).await;
        }
    }
    Ok(ended.into_iter().flatten().collect())
}
