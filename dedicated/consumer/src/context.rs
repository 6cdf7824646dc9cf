//! What librdkafka tells a client, noted, and answered later by its owner.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

/// Gives tokens where `sasl.mechanism` is `OAUTHBEARER`, as for Amazon MSK with IAM.
pub trait Tokens: Send + Sync {
    /// A token with its principal and its end; `config` is `sasl.oauthbearer.config`.
    ///
    /// # Errors
    /// Where none can be had for now: librdkafka asks again.
    fn token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>>;
}

/// A rebalance that has to be answered: librdkafka waits for it until `max.poll.interval.ms` is over.
pub(crate) enum Rebalance {
    Assign(TopicPartitionList),
    Revoke { list: TopicPartitionList, is_lost: bool },
    Failed(RDKafkaErrorCode),
}

/// An answer to a commit: what was committed, or why not, over all and by partition.
pub(crate) type Committed = Result<Vec<(String, i32, i64, Option<RDKafkaErrorCode>)>, RDKafkaErrorCode>;

/// The context of every client of this crate: it notes rebalances, answers and errors for the [`Member`](crate::Member).
#[derive(Default)]
pub struct FastContext {
    rebalances: Mutex<VecDeque<Rebalance>>,
    commits: Mutex<VecDeque<Committed>>,
    errors: Mutex<VecDeque<(RDKafkaErrorCode, String)>>,
    /// The owner has gone: rebalances are answered at once.
    is_closing: AtomicBool,
    tokens: Option<Arc<dyn Tokens>>,
}

impl FastContext {
    /// With tokens, where `sasl.mechanism` is `OAUTHBEARER`.
    pub fn new(tokens: Option<Arc<dyn Tokens>>) -> Self {
        Self { tokens, ..Self::default() }
    }

    pub(crate) fn rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().pop_front()
    }

    pub(crate) fn commit(&self) -> Option<Committed> {
        self.commits.lock().pop_front()
    }

    pub(crate) fn error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.errors.lock().pop_front()
    }

    pub(crate) fn close(&self) {
        self.is_closing.store(true, Relaxed);
    }
}

impl ClientContext for FastContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "lyceum::consumer", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "lyceum::consumer", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "lyceum::consumer", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "lyceum::consumer", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let mut errors = self.errors.lock();
        // Who never looks gets the newest.
        if errors.len() == 64 {
            errors.pop_front();
        }
        errors.push_back((code, reason.to_owned()));
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        match &self.tokens {
            Some(tokens) => tokens.token(config),
            None => {
                Err("sasl.mechanism is OAUTHBEARER, and no tokens are given: say FastConsumerConfig::tokens".into())
            }
        }
    }
}

impl ConsumerContext for FastContext {
    /// Runs in whoever polls; the answer is given by the member, by value.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.is_closing.load(Relaxed) {
            // The client that is being dropped waits for an answer, and has nobody left who settles.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(target: "lyceum::consumer", "not unassigned while closing: {error}");
            }
            return;
        }
        let noted = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list.clone()),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                Rebalance::Revoke { list: list.clone(), is_lost: consumer.assignment_lost() }
            }
            other => Rebalance::Failed(other.into()),
        };
        self.rebalances.lock().push_back(noted);
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        let committed = match result {
            Ok(()) => Ok(list
                .elements()
                .iter()
                .map(|of| {
                    let error = of.error().err().and_then(|error| error.rdkafka_error_code());
                    (of.topic().to_owned(), of.partition(), of.offset().to_raw().unwrap_or(-1), error)
                })
                .collect()),
            Err(error) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        self.commits.lock().push_back(committed);
    }
}
