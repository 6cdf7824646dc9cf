//! The services, and where they answer.

use std::collections::BTreeMap;
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
    /// OpenSearch with its security plugin, which asks who somebody is: user `admin`, password `admin`. A test's own alone, as a
    /// process.
    #[value(skip)]
    Secured,
    /// A schema registry with Confluent's API.
    Registry,
    /// A stand-in for AWS: S3, SQS, Secrets Manager, CloudFormation, Lambda, DynamoDB.
    Aws,
}

impl Service {
    /// Every service that tests share, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Kafka, Self::DynamoDb, Self::Elasticsearch, Self::OpenSearch, Self::Registry, Self::Aws];

    /// The name on the command line and in folders, the name in sentences, and the variable that says where it answers.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Kafka => ("kafka", "Kafka", "KAFKA_BOOTSTRAP_SERVERS"),
            Self::DynamoDb => ("dynamodb", "DynamoDB", "AWS_ENDPOINT_URL_DYNAMODB"),
            Self::Elasticsearch => ("elasticsearch", "Elasticsearch", "ELASTICSEARCH_URL"),
            Self::OpenSearch => ("opensearch", "OpenSearch", "OPENSEARCH_URL"),
            Self::Secured => ("secured", "OpenSearch with its security plugin", "LYCEUM_TEST_SECURED_URL"),
            Self::Registry => ("registry", "a schema registry", "SCHEMA_REGISTRY_URL"),
            Self::Aws => ("aws", "an AWS endpoint", "AWS_ENDPOINT_URL"),
        }
    }

    /// The name on the command line and in folders.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// The variable that says where it answers.
    pub fn variable(self) -> &'static str {
        self.names().2
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().1)
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

/// What the environment names of Kafka beside PLAINTEXT.
const LISTENERS: [&str; 7] = [
    "LYCEUM_TEST_KAFKA_SASL_PLAINTEXT",
    "LYCEUM_TEST_KAFKA_SASL_SSL",
    "LYCEUM_TEST_KAFKA_MUTUAL_TLS",
    "LYCEUM_TEST_KAFKA_IAM",
    "LYCEUM_TEST_KAFKA_CA",
    "LYCEUM_TEST_KAFKA_CERTIFICATE",
    "LYCEUM_TEST_KAFKA_KEY",
];

/// Where the services answer that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    kafka: Option<KafkaEndpoint>,
    urls: BTreeMap<Service, String>,
}

impl Endpoints {
    /// What the environment names: `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL_DYNAMODB`, `ELASTICSEARCH_URL`,
    /// `OPENSEARCH_URL`, `SCHEMA_REGISTRY_URL`, `AWS_ENDPOINT_URL`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut urls: BTreeMap<_, _> =
            Service::ALL.into_iter().filter_map(|service| Some((service, given(service.variable())?))).collect();
        let kafka = urls.remove(&Service::Kafka).map(|plaintext| {
            let [sasl_plaintext, sasl_ssl, mutual_tls, iam, ca, certificate, key] = LISTENERS.map(given);
            let client_certificate = certificate.zip(key).map(|(certificate, key)| (certificate.into(), key.into()));
            let ca_file = ca.map(PathBuf::from);
            KafkaEndpoint { plaintext, sasl_plaintext, sasl_ssl, mutual_tls, iam, ca_file, client_certificate }
        });
        Self { kafka, urls }
    }

    /// Kafka alone.
    pub(crate) fn of_kafka(kafka: KafkaEndpoint) -> Self {
        Self { kafka: Some(kafka), urls: BTreeMap::new() }
    }

    /// A service other than Kafka alone.
    pub(crate) fn of(service: Service, url: String) -> Self {
        assert_ne!(service, Service::Kafka, "Kafka has listeners, not a URL");
        Self { kafka: None, urls: BTreeMap::from([(service, url)]) }
    }

    /// The same, where it listens at `address` (`host:port`).
    pub(crate) fn at(service: Service, address: &str) -> Self {
        let path = if service == Service::Registry { "/apis/ccompat/v7" } else { "" };
        Self::of(service, format!("http://{address}{path}"))
    }

    /// These, and what `other` has; of a service that both have, the other's.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.urls.extend(other.urls);
        Self { kafka: other.kafka.or(self.kafka), urls: self.urls }
    }

    /// Those of one service.
    pub(crate) fn only(&self, service: Service) -> Self {
        let kafka = self.kafka.clone().filter(|_| service == Service::Kafka);
        Self { kafka, urls: self.urls.clone().into_iter().filter(|(of, _)| *of == service).collect() }
    }

    /// The variables that name these; [`Endpoints::from_environment`] reads the same from them.
    pub fn to_environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if let Some(kafka) = self.kafka.clone() {
            variables.push((Service::Kafka.variable(), kafka.plaintext));
            let file = |path: PathBuf| path.display().to_string();
            let (certificate, key) = kafka.client_certificate.unzip();
            let files = [kafka.ca_file, certificate, key].map(|path| path.map(file));
            let values = [kafka.sasl_plaintext, kafka.sasl_ssl, kafka.mutual_tls, kafka.iam].into_iter().chain(files);
            variables.extend(LISTENERS.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))));
        }
        variables.extend(self.urls.iter().map(|(service, url)| (service.variable(), url.clone())));
        variables
    }

    /// Whether the service is there.
    pub fn has(&self, service: Service) -> bool {
        self.find(service).is_some()
    }

    fn find(&self, service: Service) -> Option<&String> {
        match service {
            Service::Kafka => self.kafka.as_ref().map(|kafka| &kafka.plaintext),
            _ => self.urls.get(&service),
        }
    }

    /// Kafka's listeners. Panics where a test did not say that it needs them.
    pub fn kafka(&self) -> &KafkaEndpoint {
        self.kafka.as_ref().expect("the test names Service::Kafka among what it needs")
    }

    /// The URL of a service, or Kafka's `host:port` of PLAINTEXT. Panics where a test did not say that it needs it.
    pub fn url(&self, service: Service) -> &str {
        self.find(service).expect("the test names the service among what it needs")
    }
}
