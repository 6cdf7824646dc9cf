//! Appending: every record of a call has its delivery report before the call returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::Context;
use super::settings::KafkaSettings;
use lyceum_core::record::{Header, NewRecord};

/// How long a caller waits for room in a full queue before it looks again.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(5);

/// What Kafka said of one record: partition and offset, or the code of its refusal.
pub(super) type Report = Result<(i32, i64), Code>;

/// The reports of one call.
pub(super) struct Call {
    open: Mutex<Open>,
}

struct Open {
    reports: Vec<Option<Report>>,
    missing: usize,
    done: Option<oneshot::Sender<Vec<Option<Report>>>>,
}

impl Call {
    fn report(&self, index: usize, report: Report) {
        let mut open = self.open.lock();
        open.reports[index] = Some(report);
        open.missing -= 1;
        if open.missing == 0
            && let Some(done) = open.done.take()
        {
            // A caller who went away needs no reports.
            let _ = done.send(std::mem::take(&mut open.reports));
        }
    }
}

/// The producer's side of the callbacks.
pub(super) struct Reports(Context);

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.generate_oauth_token(config)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<(usize, Arc<Call>)>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, of: Self::DeliveryOpaque) {
        let (index, call) = *of;
        call.report(
            index,
            match delivered {
                Ok(message) => Ok((message.partition(), message.offset())),
                Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
            },
        );
    }
}

/// One idempotent producer.
pub(super) struct Producer {
    inner: ThreadedProducer<Reports>,
}

impl Producer {
    pub(super) fn start(mut config: ClientConfig, settings: &KafkaSettings, context: Context) -> KafkaResult<Self> {
        let timeout_ms = settings.timeout.as_millis().to_string();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            // Long enough for the records of one call to travel together, short beside the way to the broker.
            .set("linger.ms", "2")
            .set("message.timeout.ms", &timeout_ms)
            .set("topic.metadata.propagation.max.ms", &timeout_ms)
            .set("message.max.bytes", settings.max_record_bytes.to_string())
            .set("queue.buffering.max.kbytes", "65536")
            .set("retry.backoff.ms", "50");
        Ok(Self { inner: ThreadedProducer::from_config_and_context(&config, Reports(context))? })
    }

    /// Whether it can append no more and must be made anew.
    pub(super) fn is_broken(&self) -> bool {
        self.inner.client().fatal_error().is_some()
    }

    /// Looks the topic up again: blocks.
    pub(super) fn refresh(&self, topic: &str, limit: Duration) -> KafkaResult<()> {
        self.inner.client().fetch_metadata(Some(topic), limit).map(drop)
    }

    /// Appends the records to those partitions; the answer has a report for each. Records behind one that could not even
    /// be queued are not sent, and have its code for a report.
    pub(super) async fn append(
        self: &Arc<Self>,
        topic: &str,
        records: &[NewRecord],
        places: &[i32],
        limit: Duration,
    ) -> Vec<Report> {
        let deadline = Instant::now() + limit;
        let (done, reported) = oneshot::channel();
        let open = Open { reports: vec![None; records.len()], missing: records.len(), done: Some(done) };
        let call = Arc::new(Call { open: Mutex::new(open) });
        let mut refused = None;
        for (index, (record, &place)) in records.iter().zip(places).enumerate() {
            while refused.is_none()
                && let Err(code) = self.enqueue(topic, record, place, Box::new((index, Arc::clone(&call))))
            {
                match code {
                    Code::QueueFull if Instant::now() < deadline => tokio::time::sleep(FULL_QUEUE_WAIT).await,
                    // The producer's own knowledge of the topic is older than the partition.
                    Code::UnknownPartition if Instant::now() < deadline => {
                        let (producer, name) = (Arc::clone(self), topic.to_owned());
                        let refresh = move || producer.refresh(&name, Duration::from_secs(1));
                        // Whether it helped shows at the next attempt.
                        let _ = tokio::task::spawn_blocking(refresh).await;
                        tokio::time::sleep(FULL_QUEUE_WAIT).await;
                    }
                    code => refused = Some(code),
                }
                if refused.is_none() {
                    continue;
                }
                break;
            }
            if let Some(code) = refused {
                call.report(index, Err(code));
            }
        }
        let reports = reported.await.unwrap_or_default();
        reports.into_iter().map(|report| report.unwrap_or(Err(Code::Fail))).collect()
    }

    fn enqueue(&self, topic: &str, record: &NewRecord, place: i32, of: Box<(usize, Arc<Call>)>) -> Result<(), Code> {
        let NewRecord { key, value, headers, timestamp_ms, .. } = record;
        let message = BaseRecord {
            topic,
            partition: Some(place),
            payload: value.as_deref(),
            key: key.as_deref(),
            timestamp: *timestamp_ms,
            headers: (!headers.is_empty()).then(|| write_headers(headers)),
            delivery_opaque: of,
        };
        self.inner.send(message).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(Code::InvalidArgument))
    }
}

fn write_headers(headers: &[Header]) -> OwnedHeaders {
    let add = |written: OwnedHeaders, header: &Header| {
        written.insert(KafkaHeader { key: &header.name, value: header.value.as_deref() })
    };
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), add)
}
