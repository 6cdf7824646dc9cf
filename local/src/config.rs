//! What the environment says: read once, every wrong value reported together with its variable's name.

use std::time::Duration;

use lyceum_core::dead_letter::DeadLetterFormat;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::process::ProcessConfig;
use lyceum_core::retry::RetryPolicy;

use crate::http::Token;

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DEFAULT_TENANT`
    pub default_tenant: String,
    /// `LEARNER_HOME_PAGE`
    pub learner_home_page: String,
    /// `KAFKA_GROUP_ID`: with `-` and the subscriber it is a mapping's consumer group.
    pub group: String,
    /// `BATCH_SIZE`: records a batch, 1 to 10,000.
    pub batch_size: usize,
    /// `WINDOW_SIZE_MS`: how long a batch that is not full waits for more.
    pub batching_window: Duration,
    /// `RETRY_ATTEMPTS` and `RETRY_BASE_MS`.
    pub retry: RetryPolicy,
    /// `DEAD_LETTER_FORMAT`
    pub dead_letter_format: DeadLetterFormat,
    /// `API_TOKENS`
    pub tokens: Vec<Token>,
    /// `LOG_LEVEL`: `error`, `warn`, `info`, `debug`, `trace`, or a filter of the tracing crates.
    pub log_level: String,
    /// `LOG_FORMAT`: whether a log line is JSON.
    pub log_json: bool,
}

/// Every wrong value.
#[derive(Debug, thiserror::Error)]
#[error("the environment has wrong values:{}", .0.iter().map(|wrong| format!("\n  {wrong}")).collect::<String>())]
pub struct WrongEnvironment(pub Vec<String>);

/// Every variable: name, default, meaning. The table of docs/operations.md is tested against it.
pub const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "API_TOKENS",
        "",
        "who may use the HTTP API: `tenant:roles:secret`, separated by spaces or commas; tenant `*` is every one; roles `read+publish+operate`; a secret has 16 characters or more; without it the process listens on 127.0.0.1 only",
    ),
    ("BATCH_SIZE", "500", "records a batch, 1 to 10000"),
    (
        "DEAD_LETTER_FORMAT",
        "headers",
        "`headers`: the original value, the context in headers; `envelope`: JSON for readers that know no headers",
    ),
    ("DEFAULT_TENANT", "default", "the tenant of an event that names none"),
    ("KAFKA_GROUP_ID", "lyceum", "consumer groups are called this, `-` and the family; alias `ANALYTICS_GROUP_ID`"),
    (
        "LEARNER_HOME_PAGE",
        "http://nlj.platform/users",
        "the home page of a learner who is named by an account's name only",
    ),
    ("LOG_FORMAT", "text", "`text` or `json`"),
    ("LOG_LEVEL", "warn", "`error`, `warn`, `info`, `debug`, `trace`"),
    ("RETRY_ATTEMPTS", "3", "attempts after the first one, in place, 0 to 20"),
    (
        "RETRY_BASE_MS",
        "1000",
        "the wait before the first of them, in milliseconds; each further one doubles; 1 to 60000",
    ),
    ("WINDOW_SIZE_MS", "50", "how long a batch that is not full waits for more, in milliseconds, 0 to 300000"),
];

impl Config {
    /// Reads the process's environment.
    pub fn from_environment() -> Result<Self, WrongEnvironment> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads any environment.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, WrongEnvironment> {
        let mut reading = Reading { variable, wrong: Vec::new() };
        let config = Self {
            default_tenant: reading.text("DEFAULT_TENANT"),
            learner_home_page: reading.text("LEARNER_HOME_PAGE"),
            group: reading.given("ANALYTICS_GROUP_ID").unwrap_or_else(|| reading.text("KAFKA_GROUP_ID")),
            batch_size: reading.number("BATCH_SIZE", 1, 10_000) as usize,
            batching_window: Duration::from_millis(reading.number("WINDOW_SIZE_MS", 0, 300_000)),
            retry: RetryPolicy {
                attempts: reading.number("RETRY_ATTEMPTS", 0, 20) as u32,
                base: Duration::from_millis(reading.number("RETRY_BASE_MS", 1, 60_000)),
                ..RetryPolicy::default()
            },
            dead_letter_format: match reading.choice("DEAD_LETTER_FORMAT", &["headers", "envelope"]).as_str() {
                "envelope" => DeadLetterFormat::Envelope,
                _ => DeadLetterFormat::Headers,
            },
            tokens: reading.tokens(),
            log_level: reading.text("LOG_LEVEL"),
            log_json: reading.choice("LOG_FORMAT", &["text", "json"]) == "json",
        };
        if reading.wrong.is_empty() { Ok(config) } else { Err(WrongEnvironment(reading.wrong)) }
    }

    /// What processing is told.
    pub fn process(&self) -> ProcessConfig {
        ProcessConfig {
            envelope: EnvelopeConfig { default_tenant: self.default_tenant.clone(), ..EnvelopeConfig::default() },
            retry: self.retry,
            dead_letter_format: self.dead_letter_format,
            ..ProcessConfig::default()
        }
    }
}

struct Reading<V> {
    variable: V,
    wrong: Vec<String>,
}

impl<V: Fn(&str) -> Option<String>> Reading<V> {
    /// The value, where it is set and not empty.
    fn given(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> String {
        let default = VARIABLES.iter().find(|(known, ..)| *known == name).map_or("", |(_, default, _)| default);
        self.given(name).unwrap_or_else(|| default.to_owned())
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> u64 {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.wrong.push(format!("{name} is {text:?}, and must be a whole number from {least} to {most}"));
                least
            }
        }
    }

    fn choice(&mut self, name: &str, choices: &[&str]) -> String {
        let text = self.text(name);
        if !choices.contains(&text.as_str()) {
            self.wrong.push(format!("{name} is {text:?}, and must be one of {}", choices.join(", ")));
        }
        text
    }

    /// The secrets themselves never go into a message.
    fn tokens(&mut self) -> Vec<Token> {
        let text = self.text("API_TOKENS");
        let mut tokens = Vec::new();
        for (number, token) in text.split([' ', ',']).filter(|token| !token.is_empty()).enumerate() {
            match token.parse::<Token>() {
                Ok(token) => tokens.push(token),
                Err(why) => self.wrong.push(format!("API_TOKENS, token {}: {why}", number + 1)),
            }
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, WrongEnvironment> {
        Config::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        let config = read(&[]).unwrap();
        assert_eq!((config.batch_size, config.retry), (500, RetryPolicy::default()));
        assert_eq!(config.default_tenant, "default");
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_variable() {
        let wrong =
            read(&[("BATCH_SIZE", "0"), ("LOG_FORMAT", "xml"), ("RETRY_BASE_MS", "soon"), ("API_TOKENS", "x:y")]);
        let text = wrong.unwrap_err().to_string();
        for name in ["BATCH_SIZE", "LOG_FORMAT", "RETRY_BASE_MS", "API_TOKENS"] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let text = read(&[("API_TOKENS", "acme:root:a-very-secret-secret")]).unwrap_err().to_string();
        assert!(text.contains("root") && !text.contains("a-very-secret"), "{text}");
        let config = read(&[("API_TOKENS", "acme:read:a-very-secret-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("a-very-secret"));
    }
}
