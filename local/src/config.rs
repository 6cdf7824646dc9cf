//! What the environment says to one process; the settings of single concerns are read by the core.

use std::time::Duration;

use lyceum_around::guarded::{GUARD_VARIABLES, GuardLimits};
pub use lyceum_core::environment::WrongEnvironment;
use lyceum_core::environment::{
    FUNCTION_VARIABLES, LOG_VARIABLES, LogConfig, PROCESS_VARIABLES, Reading, Variable, process_config,
};
use lyceum_core::process::ProcessConfig;
use lyceum_dynamodb::{DYNAMODB_VARIABLES, DynamoDbSettings};
use lyceum_elasticsearch::{ELASTICSEARCH_VARIABLES, ElasticsearchSettings};
use lyceum_kafka::{KAFKA_VARIABLES, KafkaSettings};

use crate::http::Token;
use crate::runtime::{RemoteFunctions, StoresConfig};

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `LEARNER_HOME_PAGE`
    pub learner_home_page: String,
    /// `KAFKA_GROUP_ID`: with `-` and the subscriber it is a mapping's consumer group.
    pub group: String,
    /// `BATCH_SIZE`: records a batch, 1 to 10,000.
    pub batch_size: usize,
    /// `WINDOW_SIZE_MS`: how long a batch that is not full waits for more.
    pub batching_window: Duration,
    /// `DEFAULT_TENANT`, `RETRY_ATTEMPTS`, `RETRY_BASE_MS`, `DEAD_LETTER_FORMAT`
    pub process: ProcessConfig,
    /// `API_TOKENS`
    pub tokens: Vec<Token>,
    /// `LOG_LEVEL`, `LOG_FORMAT`
    pub log: LogConfig,
    /// Which stores are services.
    pub stores: StoresConfig,
    /// `--functions`: the functions that run elsewhere.
    pub functions: Vec<RemoteFunctions>,
}

const LOCAL_VARIABLES: &[Variable] = &[
    (
        "API_TOKENS",
        "",
        "who may use the HTTP API: `tenant:roles:secret`, separated by spaces or commas; tenant `*` is every one; roles `read+publish+operate`; a secret has 16 characters or more; without it the process listens on 127.0.0.1 only",
    ),
    ("BATCH_SIZE", "500", "records a batch, 1 to 10000"),
    ("KAFKA_GROUP_ID", "lyceum", "consumer groups are called this, `-` and the family; alias `ANALYTICS_GROUP_ID`"),
    (
        "LEARNER_HOME_PAGE",
        "http://nlj.platform/users",
        "the home page of a learner who is named by an account's name only",
    ),
    ("WINDOW_SIZE_MS", "50", "how long a batch that is not full waits for more, in milliseconds, 0 to 300000"),
];

/// Every variable, by concern. The table of docs/operations.md is tested against it.
pub const VARIABLES: &[&[Variable]] = &[
    FUNCTION_VARIABLES,
    LOCAL_VARIABLES,
    PROCESS_VARIABLES,
    LOG_VARIABLES,
    KAFKA_VARIABLES,
    DYNAMODB_VARIABLES,
    ELASTICSEARCH_VARIABLES,
    GUARD_VARIABLES,
];

/// Whoever sets one of these means a DynamoDB that is a service.
const DYNAMODB_NAMES: [&str; 2] = ["DYNAMODB_TABLE", "AWS_ENDPOINT_URL_DYNAMODB"];

impl Config {
    /// Reads the process's environment; `kafka`, where it is given, stands for `KAFKA_BOOTSTRAP_SERVERS`.
    pub fn from_environment(kafka: Option<&str>) -> Result<Self, WrongEnvironment> {
        Self::read(&|name| match (name, kafka) {
            ("KAFKA_BOOTSTRAP_SERVERS", Some(kafka)) => Some(kafka.to_owned()),
            _ => std::env::var(name).ok(),
        })
    }

    /// Reads any environment.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, WrongEnvironment> {
        let mut reading = Reading::new(variable);
        let config = Self {
            learner_home_page: reading.text(LOCAL_VARIABLES, "LEARNER_HOME_PAGE"),
            group: reading
                .given("ANALYTICS_GROUP_ID")
                .unwrap_or_else(|| reading.text(LOCAL_VARIABLES, "KAFKA_GROUP_ID")),
            batch_size: reading.number(LOCAL_VARIABLES, "BATCH_SIZE", 1, 10_000) as usize,
            batching_window: Duration::from_millis(reading.number(LOCAL_VARIABLES, "WINDOW_SIZE_MS", 0, 300_000)),
            process: process_config(&mut reading),
            tokens: reading.list("API_TOKENS", "token"),
            log: LogConfig::read(&mut reading),
            stores: StoresConfig {
                kafka: KafkaSettings::read(&mut reading),
                dynamodb: DYNAMODB_NAMES
                    .iter()
                    .any(|name| reading.given(name).is_some())
                    .then(|| DynamoDbSettings::read(&mut reading)),
                elasticsearch: reading.given("ELASTICSEARCH_URL").map(|_| ElasticsearchSettings::read(&mut reading)),
                guards: GuardLimits::read(&mut reading),
            },
            functions: Vec::new(),
        };
        reading.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::retry::RetryPolicy;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, WrongEnvironment> {
        Config::read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        let config = read(&[]).unwrap();
        assert_eq!((config.batch_size, config.process.retry), (500, RetryPolicy::default()));
        assert_eq!(config.process.envelope.default_tenant, "default");
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_variable() {
        let wrong = read(&[
            ("BATCH_SIZE", "0"),
            ("LOG_FORMAT", "xml"),
            ("RETRY_BASE_MS", "soon"),
            ("API_TOKENS", "x:y"),
            ("SERVICE_TIMEOUT_MS", "-1"),
        ]);
        let text = wrong.unwrap_err().to_string();
        for name in ["BATCH_SIZE", "LOG_FORMAT", "RETRY_BASE_MS", "API_TOKENS", "SERVICE_TIMEOUT_MS"] {
            assert!(text.contains(name), "{name}: {text}");
        }
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
