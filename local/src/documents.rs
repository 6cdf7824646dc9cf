//! What documents say of this deployment: where its brokers are and how a client proves who it is, as the environment has it.

use lyceum_core::catalog::Catalog;
use lyceum_documents::asyncapi::{Brokers, Deployment};
use lyceum_kafka::settings::{Encryption, KafkaSettings};
use lyceum_server::topics::topics;

use crate::config::Config;

/// Where a process is unless it is told otherwise.
pub const HTTP: &str = "127.0.0.1:8080";

/// This deployment.
pub fn deployment(config: &Config, catalog: &Catalog) -> Deployment {
    Deployment {
        topics: topics(catalog),
        group: config.server.group.clone(),
        kafka: config.server.stores.kafka.as_ref().map(brokers),
        http: HTTP.to_owned(),
        asks_for_token: !config.server.tokens.is_empty(),
    }
}

fn brokers(of: &KafkaSettings) -> Brokers {
    Brokers::of(&of.bootstrap_servers, of.encryption != Encryption::None, of.has_certificate(), of.mechanism())
}
