//! The event log on Kafka, through librdkafka.
//!
//! **Durable.** The producer is idempotent and asks for the acknowledgement of all in-sync replicas; `produce` returns once
//! each record has its delivery report, so that nothing is left in a queue when a function answers and its process is
//! frozen.
//!
//! **Lazy.** A client is made when it is first needed: a cold start pays only for what its batch uses.
//!
//! **Named errors.** librdkafka reports wrong credentials, an unknown host or an untrusted certificate only beside the call,
//! which by itself would end with "timed out" (`client`); every call looks there and says what to mend (`error`).
//!
//! **Limits.** Retention is Kafka's own affair. A call of `produce` that fails may have appended some of its records. Topics
//! cannot be made or listed with their retention over MSK IAM: rdkafka's administration client (0.39) neither enables the
//! event that asks for a token nor polls the queue where it would come, and has no call to set one.

mod administration;
mod client;
pub mod elsewhere;
mod error;
pub mod event_log;
mod groups;
mod growth;
mod iam;
mod membership;
mod producer;
mod readers;
pub mod settings;
pub use event_log::KafkaEventLog;
pub use settings::{KAFKA_VARIABLES, KafkaSettings};
