//! What goes wrong, with what to do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::WrongConfig;
use crate::hand::Partition;

/// What a call of a consumer fails by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] WrongConfig),
    /// librdkafka refuses the configuration.
    #[error("librdkafka refuses the configuration ({0}); check `properties`")]
    Refused(KafkaError),
    /// The operating system has no descriptors left, or no thread.
    #[error("the system gives no descriptor or thread for a consumer ({0}); raise its limits (ulimit -n)")]
    System(#[from] std::io::Error),
    /// rdkafka's `StreamConsumer` needs one.
    #[error("the stream tier has to be made within a tokio runtime: call it from a task, or choose another tier")]
    NoRuntime,
    /// A call that librdkafka refuses.
    #[error("{what} failed ({error}){}", advice(.error))]
    Kafka {
        /// What was tried.
        what: &'static str,
        /// librdkafka's words.
        error: KafkaError,
    },
    /// A commit that the broker refuses; what was settled stays settled, and is committed by the next one.
    #[error("the commit failed ({0}); it is tried again with the next one")]
    Commit(RDKafkaErrorCode),
    /// An error in place of a record. It is not handed out again; what follows it comes.
    #[error("{partition} has an error in place of the record at offset {offset} ({code})")]
    Record {
        /// Where.
        partition: Partition,
        /// At which offset; negative where that is unknown.
        offset: i64,
        /// What.
        code: RDKafkaErrorCode,
    },
    /// A partition that is not assigned to this member.
    #[error("{0} is not assigned to this member of the group")]
    NotAssigned(Partition),
    /// The consumer is closed.
    #[error("the consumer is closed")]
    Closed,
    /// The tier does not do this.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A member that librdkafka has given up: make a new one.
    #[error("librdkafka has given this client up ({code}: {reason}); make a new consumer{}", fatal_advice(.code))]
    Fatal {
        /// Its code.
        code: RDKafkaErrorCode,
        /// In words.
        reason: String,
    },
}

impl ConsumerError {
    pub(crate) fn kafka(what: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |error| Self::Kafka { what, error }
    }
}

fn fatal_advice(code: &RDKafkaErrorCode) -> &'static str {
    match code {
        RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => {
            "; another member has the same group_instance_id: give each its own, and with KIP-848 stop the old one first"
        }
        _ => "",
    }
}

fn advice(error: &KafkaError) -> &'static str {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
            "; check that Kafka runs, and that `brokers` names it"
        }
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
            "; check sasl.username, sasl.password and sasl.mechanism"
        }
        Some(RDKafkaErrorCode::SSL) => "; check ssl.ca.location and the certificates",
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "; check the topics' names: none is made by a consumer"
        }
        Some(RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed) => {
            "; the user may read neither this group nor this topic: grant it with kafka-acls"
        }
        _ => "",
    }
}
