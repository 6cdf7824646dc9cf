//! Where the services answer.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A service that a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
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

impl Service {
    /// Every service, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Kafka, Self::DynamoDb, Self::Elasticsearch, Self::OpenSearch, Self::Registry, Self::Aws];

    /// The name on the command line, in folders and in images' variables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::DynamoDb => "dynamodb",
            Self::Elasticsearch => "elasticsearch",
            Self::OpenSearch => "opensearch",
            Self::Registry => "registry",
            Self::Aws => "aws",
        }
    }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaEndpoint {
    /// `host:port` without encryption and credentials.
    pub plaintext: String,
    /// `host:port` of SASL_PLAINTEXT: SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN, user `alice`, password `alice-secret`.
    pub sasl_plaintext: Option<String>,
    /// `host:port` of SASL_SSL, the same mechanisms and user.
    pub sasl_ssl: Option<String>,
    /// `host:port` of SSL that asks for a client certificate.
    pub mutual_tls: Option<String>,
    /// `host:port` of SASL_SSL with OAUTHBEARER, where tokens are judged as by MSK's IAM listener of the region
    /// `eu-central-1`: access key `AKIDLYCEUM`, or `AKIDBRIEF` whose tokens are taken for eight seconds, secret
    /// `lyceum-iam-secret`.
    pub iam: Option<String>,
    /// The certificate authority of SASL_SSL and SSL, PEM.
    pub ca_file: Option<PathBuf>,
    /// A client's certificate and key for `mutual_tls`, PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Where the services answer that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
            iam: given("LYCEUM_TEST_KAFKA_IAM"),
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

    /// Kafka alone.
    pub(crate) fn of_kafka(kafka: KafkaEndpoint) -> Self {
        Self { kafka: Some(kafka), ..Self::default() }
    }

    /// A service other than Kafka alone.
    pub(crate) fn of(service: Service, url: String) -> Self {
        let mut endpoints = Self::default();
        let url = Some(url);
        match service {
            Service::Kafka => panic!("Kafka has listeners, not a URL"),
            Service::DynamoDb => endpoints.dynamodb = url,
            Service::Elasticsearch => endpoints.elasticsearch = url,
            Service::OpenSearch => endpoints.opensearch = url,
            Service::Registry => endpoints.registry = url,
            Service::Aws => endpoints.aws = url,
        }
        endpoints
    }

    /// These, and what `other` has; of a service that both have, the other's.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            kafka: other.kafka.or(self.kafka),
            dynamodb: other.dynamodb.or(self.dynamodb),
            elasticsearch: other.elasticsearch.or(self.elasticsearch),
            opensearch: other.opensearch.or(self.opensearch),
            registry: other.registry.or(self.registry),
            aws: other.aws.or(self.aws),
        }
    }

    /// These without those of other services.
    pub(crate) fn only(&self, services: &[Service]) -> Self {
        let of = |service: Service| services.contains(&service);
        Self {
            kafka: self.kafka.clone().filter(|_| of(Service::Kafka)),
            dynamodb: self.dynamodb.clone().filter(|_| of(Service::DynamoDb)),
            elasticsearch: self.elasticsearch.clone().filter(|_| of(Service::Elasticsearch)),
            opensearch: self.opensearch.clone().filter(|_| of(Service::OpenSearch)),
            registry: self.registry.clone().filter(|_| of(Service::Registry)),
            aws: self.aws.clone().filter(|_| of(Service::Aws)),
        }
    }

    /// The variables that name these; [`Endpoints::from_environment`] reads the same from them.
    pub fn to_environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        let file = |path: &PathBuf| path.display().to_string();
        if let Some(kafka) = &self.kafka {
            variables.push(("KAFKA_BOOTSTRAP_SERVERS", kafka.plaintext.clone()));
            let certificate = kafka.client_certificate.as_ref();
            let optional = [
                ("LYCEUM_TEST_KAFKA_SASL_PLAINTEXT", kafka.sasl_plaintext.clone()),
                ("LYCEUM_TEST_KAFKA_SASL_SSL", kafka.sasl_ssl.clone()),
                ("LYCEUM_TEST_KAFKA_MUTUAL_TLS", kafka.mutual_tls.clone()),
                ("LYCEUM_TEST_KAFKA_IAM", kafka.iam.clone()),
                ("LYCEUM_TEST_KAFKA_CA", kafka.ca_file.as_ref().map(file)),
                ("LYCEUM_TEST_KAFKA_CERTIFICATE", certificate.map(|(certificate, _)| file(certificate))),
                ("LYCEUM_TEST_KAFKA_KEY", certificate.map(|(_, key)| file(key))),
            ];
            variables.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        let urls = [
            ("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb),
            ("ELASTICSEARCH_URL", &self.elasticsearch),
            ("OPENSEARCH_URL", &self.opensearch),
            ("SCHEMA_REGISTRY_URL", &self.registry),
            ("AWS_ENDPOINT_URL", &self.aws),
        ];
        variables.extend(urls.into_iter().filter_map(|(name, url)| Some((name, url.clone()?))));
        variables
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
