//! What the environment says to a process; the settings of single concerns are read by the core and its adapters.

use std::time::Duration;

use lyceum_around::guarded::{GUARD_VARIABLES, GuardLimits};
use lyceum_connect::generator::{GENERATOR_VARIABLES, GeneratorSettings};
use lyceum_core::environment::{
    FUNCTION_VARIABLES, LOG_VARIABLES, LogConfig, PROCESS_VARIABLES, Reading, Table, Variable, milliseconds, optional,
    optional_whole, process_config, text, whole,
};
use lyceum_core::process::ProcessConfig;
use lyceum_dynamodb::{DYNAMODB_VARIABLES, DynamoDbSettings};
use lyceum_elasticsearch::{ELASTICSEARCH_VARIABLES, ElasticsearchSettings};
use lyceum_kafka::{KAFKA_VARIABLES, KafkaSettings};
use lyceum_registry::{REGISTRY_VARIABLES, RegistrySettings};
use lyceum_secrets::SECRET_VARIABLES;
use lyceum_spans::{SPAN_VARIABLES, SpansSettings};

use crate::access::Token;
use crate::alerts::{ALERT_VARIABLES, AlertsConfig};
use crate::connect::StoresConfig;

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `LEARNER_HOME_PAGE`
    pub learner_home_page: String,
    /// `KAFKA_GROUP_ID`: with `-` and the subscriber it is a consumer group.
    pub group: String,
    /// `DEFAULT_TENANT`, `LEARNER_HOME_PAGE`, `RETRY_ATTEMPTS`, `RETRY_BASE_MS`, `DEAD_LETTER_FORMAT`
    pub process: ProcessConfig,
    /// `API_TOKENS`
    pub tokens: Vec<Token>,
    /// `LOG_LEVEL`, `LOG_FORMAT`
    pub log: LogConfig,
    /// `CLAUDE_API_KEY`, `CONTENT_GENERATOR_…`: who writes content.
    pub generator: GeneratorSettings,
    /// `OTEL_…`: where spans go; `None` where none is made.
    pub spans: Option<SpansSettings>,
    /// `ALERT_WEBHOOK_URL` and the limits; `None` where nobody is told.
    pub alerts: Option<AlertsConfig>,
    /// Which stores are services.
    pub stores: StoresConfig,
}

const API_TOKENS: Variable<Option<String>> = optional(
    "API_TOKENS",
    "who may use the HTTP API: `tenant:roles:secret`, separated by spaces or commas; tenant `*` is every one; roles `read+publish+operate`; a secret has 16 characters or more; without it the process listens on 127.0.0.1 only",
);
const KAFKA_GROUP_ID: Variable<String> =
    text("KAFKA_GROUP_ID", "lyceum", "consumer groups are called this, `-` and the family").alias("ANALYTICS_GROUP_ID");

/// `BATCH_SIZE`, of a process that takes batches by itself.
pub const BATCH_SIZE: Variable<usize> = whole("BATCH_SIZE", 500, 1..=10_000, "records a batch");
/// `WINDOW_SIZE_MS`, of the same.
pub const WINDOW_SIZE: Variable<Duration> =
    milliseconds("WINDOW_SIZE_MS", 50, 0..=300_000, "how long a batch that is not full waits for more");
/// `WORKERS`, of the same.
pub const WORKERS: Variable<Option<usize>> =
    optional_whole("WORKERS", 1..=256, "the threads on which events are processed; without it one for each processor")
        .alias("FASTSTREAM_WORKERS");

/// What a process reads that serves people.
pub const SERVER_VARIABLES: Table = &[&API_TOKENS, &KAFKA_GROUP_ID];

/// Every variable of such a process and of what it connects to, by concern.
pub const VARIABLES: &[Table] = &[
    FUNCTION_VARIABLES,
    SECRET_VARIABLES,
    SERVER_VARIABLES,
    PROCESS_VARIABLES,
    LOG_VARIABLES,
    SPAN_VARIABLES,
    ALERT_VARIABLES,
    GENERATOR_VARIABLES,
    KAFKA_VARIABLES,
    DYNAMODB_VARIABLES,
    ELASTICSEARCH_VARIABLES,
    REGISTRY_VARIABLES,
    GUARD_VARIABLES,
];

impl Config {
    /// Reads the settings. Every wrong value is reported together by [`Reading::finish`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let process = process_config(reading);
        Self {
            learner_home_page: process.envelope.learner_home_page.to_string(),
            group: reading.read(&KAFKA_GROUP_ID),
            process,
            tokens: reading.list(&API_TOKENS, "token"),
            log: LogConfig::read(reading),
            generator: GeneratorSettings::read(reading),
            spans: SpansSettings::read(reading),
            alerts: AlertsConfig::read(reading),
            stores: StoresConfig {
                kafka: KafkaSettings::read(reading),
                dynamodb: DynamoDbSettings::are_given(reading).then(|| DynamoDbSettings::read(reading)),
                elasticsearch: ElasticsearchSettings::are_given(reading).then(|| ElasticsearchSettings::read(reading)),
                registry: RegistrySettings::read(reading),
                guards: GuardLimits::read(reading),
                secrets: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::environment::WrongEnvironment;
    use lyceum_core::retry::RetryPolicy;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, WrongEnvironment> {
        lyceum_testing::environment::read(variables, Config::read)
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        let config = read(&[]).unwrap();
        assert_eq!((config.group.as_str(), config.process.retry), ("lyceum", RetryPolicy::default()));
        assert_eq!(config.process.envelope.default_tenant, "default");
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_variable() {
        let wrong = read(&[
            ("LOG_FORMAT", "xml"),
            ("RETRY_BASE_MS", "soon"),
            ("API_TOKENS", "x:y"),
            ("SERVICE_TIMEOUT_MS", "-1"),
        ]);
        let text = wrong.unwrap_err().to_string();
        for name in ["LOG_FORMAT", "RETRY_BASE_MS", "API_TOKENS", "SERVICE_TIMEOUT_MS"] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn an_alias_stands_in_for_a_name_that_is_not_set_and_never_beats_it() {
        let alias = ("ANALYTICS_GROUP_ID", "by-alias");
        assert_eq!(read(&[alias]).unwrap().group, "by-alias");
        assert_eq!(read(&[alias, ("KAFKA_GROUP_ID", "by-name")]).unwrap().group, "by-name");
        let brokers = |variables: &[_]| read(variables).unwrap().stores.kafka.unwrap().bootstrap_servers;
        let alias = ("KAFKA_BROKERS", "alias:9092");
        assert_eq!(brokers(&[alias]), "alias:9092");
        assert_eq!(brokers(&[alias, ("KAFKA_BOOTSTRAP_SERVERS", "name:9092")]), "name:9092");
    }

    #[test]
    fn each_store_is_embedded_unless_it_is_named() {
        let stores = read(&[]).unwrap().stores;
        assert!(stores.kafka.is_none() && stores.dynamodb.is_none() && stores.elasticsearch.is_none());
        let stores = read(&[("ELASTICSEARCH_URL", "http://127.0.0.1:9200")]).unwrap().stores;
        assert!(stores.kafka.is_none() && stores.dynamodb.is_none() && stores.elasticsearch.is_some());
        let stores = read(&[("KAFKA_BROKERS", "a:9092"), ("DYNAMODB_TABLE", "table")]).unwrap().stores;
        assert!(stores.kafka.is_some() && stores.dynamodb.is_some() && stores.elasticsearch.is_none());
        let at_home = read(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000")]).unwrap().stores.dynamodb;
        assert_eq!(at_home.unwrap().table, "lyceum");
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let text = read(&[("API_TOKENS", "acme:root:a-very-secret-secret")]).unwrap_err().to_string();
        assert!(text.contains("root") && !text.contains("a-very-secret"), "{text}");
        let config = read(&[("API_TOKENS", "acme:read:a-very-secret-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("a-very-secret"));
    }
}
