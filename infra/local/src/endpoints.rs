//! Where the services answer.

use std::fmt;
use std::path::PathBuf;

/// A service that a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// One broker in KRaft mode.
    Kafka,
    /// A server that speaks DynamoDB's API.
    DynamoDb,
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    OpenSearch,
    /// A schema registry with Confluent's API.
    Registry,
    /// A stand-in for AWS: S3, SQS, Secrets Manager, CloudFormation, Lambda, DynamoDB.
    Aws,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::DynamoDb => "DynamoDB",
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "OpenSearch",
            Self::Registry => "a schema registry",
            Self::Aws => "an AWS endpoint",
        })
    }
}

/// Kafka's listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaEndpoint {
    /// `host:port` without encryption and credentials.
    pub plaintext: String,
    /// `host:port` of SASL_PLAINTEXT: SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN, user `alice`, password `alice-secret`.
    pub sasl_plaintext: Option<String>,
    /// `host:port` of SASL_SSL, the same mechanisms and user.
    pub sasl_ssl: Option<String>,
    /// `host:port` of SSL that asks for a client certificate.
    pub mutual_tls: Option<String>,
    /// The certificate authority of SASL_SSL and SSL, PEM.
    pub ca_file: Option<PathBuf>,
    /// A client's certificate and key for `mutual_tls`, PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Where the services answer that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    kafka: Option<KafkaEndpoint>,
    dynamodb: Option<String>,
    elasticsearch: Option<String>,
    opensearch: Option<String>,
    registry: Option<String>,
    aws: Option<String>,
}

impl Endpoints {
    /// What the environment names: `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL_DYNAMODB`, `ELASTICSEARCH_URL`,
    /// `OPENSEARCH_URL`, `SCHEMA_REGISTRY_URL`, `AWS_ENDPOINT_URL`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let kafka = given("KAFKA_BOOTSTRAP_SERVERS").map(|plaintext| KafkaEndpoint {
            plaintext,
            sasl_plaintext: given("LYCEUM_TEST_KAFKA_SASL_PLAINTEXT"),
            sasl_ssl: given("LYCEUM_TEST_KAFKA_SASL_SSL"),
            mutual_tls: given("LYCEUM_TEST_KAFKA_MUTUAL_TLS"),
            ca_file: given("LYCEUM_TEST_KAFKA_CA").map(PathBuf::from),
            client_certificate: given("LYCEUM_TEST_KAFKA_CERTIFICATE")
                .zip(given("LYCEUM_TEST_KAFKA_KEY"))
                .map(|(certificate, key)| (certificate.into(), key.into())),
        });
        Self {
            kafka,
            dynamodb: given("AWS_ENDPOINT_URL_DYNAMODB"),
            elasticsearch: given("ELASTICSEARCH_URL"),
            opensearch: given("OPENSEARCH_URL"),
            registry: given("SCHEMA_REGISTRY_URL"),
            aws: given("AWS_ENDPOINT_URL"),
        }
    }

    /// Whether the service is there.
    pub fn has(&self, service: Service) -> bool {
        match service {
            Service::Kafka => self.kafka.is_some(),
            Service::DynamoDb => self.dynamodb.is_some(),
            Service::Elasticsearch => self.elasticsearch.is_some(),
            Service::OpenSearch => self.opensearch.is_some(),
            Service::Registry => self.registry.is_some(),
            Service::Aws => self.aws.is_some(),
        }
    }

    /// Kafka's listeners. Panics where a test did not say that it needs them.
    pub fn kafka(&self) -> &KafkaEndpoint {
        self.kafka.as_ref().expect("the test names Service::Kafka among what it needs")
    }

    /// The URL of a service other than Kafka. Panics where a test did not say that it needs it.
    pub fn url(&self, service: Service) -> &str {
        let url = match service {
            Service::Kafka => self.kafka.as_ref().map(|kafka| &kafka.plaintext),
            Service::DynamoDb => self.dynamodb.as_ref(),
            Service::Elasticsearch => self.elasticsearch.as_ref(),
            Service::OpenSearch => self.opensearch.as_ref(),
            Service::Registry => self.registry.as_ref(),
            Service::Aws => self.aws.as_ref(),
        };
        url.expect("the test names the service among what it needs")
    }
}
