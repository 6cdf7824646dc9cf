//! What documents say of this deployment: where its brokers are and how a client proves who it is, as the environment has it.

use lyceum_core::catalog::Catalog;
use lyceum_documents::asyncapi::{Brokers, Deployment, Proof};
use lyceum_kafka::settings::{Encryption, KafkaSettings, Sasl};
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
    let certificate =
        matches!(of.encryption, Encryption::Tls { certificate: Some(_), .. }).then_some(Proof::Certificate);
    let sasl = of.sasl.as_ref().map(|sasl| match sasl {
        Sasl::Password { mechanism, .. } | Sasl::InSecret { mechanism, .. } => match mechanism.as_str() {
            "PLAIN" => Proof::Plain,
            "SCRAM-SHA-256" => Proof::Scram256,
            _ => Proof::Scram512,
        },
        Sasl::AwsIam { .. } => Proof::Iam,
    });
    Brokers {
        hosts: of
            .bootstrap_servers
            .split(',')
            .map(|host| host.trim().to_owned())
            .filter(|host| !host.is_empty())
            .collect(),
        tls: of.encryption != Encryption::None,
        security: certificate.into_iter().chain(sasl).collect(),
    }
}
