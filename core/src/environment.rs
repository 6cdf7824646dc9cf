//! What the environment says: read once, every wrong value reported together with its variable's name.
//!
//! Each concern has a table of its [`Variable`]s and reads them through one [`Reading`]; nothing here looks at the
//! process's environment by itself.

use std::str::FromStr;
use std::time::Duration;

use crate::dead_letter::DeadLetterFormat;
use crate::envelope::EnvelopeConfig;
use crate::process::ProcessConfig;
use crate::retry::RetryPolicy;

/// One variable: name, default (empty: none), meaning. The table of docs/operations.md is tested against them.
pub type Variable = (&'static str, &'static str, &'static str);

/// Every wrong value.
#[derive(Debug, thiserror::Error)]
#[error("the environment has wrong values:{}", .0.iter().map(|wrong| format!("\n  {wrong}")).collect::<String>())]
pub struct WrongEnvironment(pub Vec<String>);

/// How events are processed.
pub const PROCESS_VARIABLES: &[Variable] = &[
    (
        "DEAD_LETTER_FORMAT",
        "headers",
        "`headers`: the original value, the context in headers; `envelope`: JSON for readers that know no headers",
    ),
    ("DEFAULT_TENANT", "default", "the tenant of an event that names none"),
    ("RETRY_ATTEMPTS", "3", "attempts after the first one, in place, 0 to 20"),
    (
        "RETRY_BASE_MS",
        "1000",
        "the wait before the first of them, in milliseconds; each further one doubles; 1 to 60000",
    ),
];

/// What a function on AWS Lambda reads beside.
pub const FUNCTION_VARIABLES: &[Variable] = &[
    (
        "ELASTICSEARCH_CA_SECRET_ARN",
        "",
        "of a function: a secret of AWS Secrets Manager, JSON with `certificate` (PEM), in place of `ELASTICSEARCH_CA_PEM`",
    ),
    (
        "ELASTICSEARCH_SECRET_ARN",
        "",
        "of a function: a secret of AWS Secrets Manager, JSON with `api_key`, or `username` and `password`; in place of the variables of those names",
    ),
    (
        "KAFKA_CA_SECRET_ARN",
        "",
        "of a function: a secret of AWS Secrets Manager, JSON with `certificate` (PEM), in place of `KAFKA_SSL_CA_PEM`",
    ),
    (
        "KAFKA_CERTIFICATE_SECRET_ARN",
        "",
        "of a function: a secret of AWS Secrets Manager, JSON with `certificate`, `privateKey` and, where it has one, `privateKeyPassword`, in place of `KAFKA_SSL_CERTIFICATE_PEM`, `KAFKA_SSL_KEY_PEM` and `KAFKA_SSL_KEY_PASSWORD`",
    ),
    ("METRICS_NAMESPACE", "Lyceum", "of a function: the CloudWatch namespace of its metrics"),
];

/// What a process writes of itself.
pub const LOG_VARIABLES: &[Variable] =
    &[("LOG_FORMAT", "text", "`text` or `json`"), ("LOG_LEVEL", "warn", "`error`, `warn`, `info`, `debug`, `trace`")];

/// Reads variables by their tables and collects what is wrong with them.
pub struct Reading<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

impl<'a> Reading<'a> {
    /// Reads any environment; `variable` gives the value of a name.
    pub fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variable, wrong: Vec::new() }
    }

    /// The value, where it is set and not empty.
    pub fn given(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The value, or the default of its table.
    pub fn text(&self, table: &[Variable], name: &str) -> String {
        let default = table.iter().find(|(known, ..)| *known == name).map_or("", |(_, default, _)| default);
        self.given(name).unwrap_or_else(|| default.to_owned())
    }

    /// A whole number within limits.
    pub fn number(&mut self, table: &[Variable], name: &str, least: u64, most: u64) -> u64 {
        let text = self.text(table, name);
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.wrong.push(format!("{name} is {text:?}, and must be a whole number from {least} to {most}"));
                least
            }
        }
    }

    /// One of a few words.
    pub fn choice(&mut self, table: &[Variable], name: &str, choices: &[&str]) -> String {
        let text = self.text(table, name);
        if !choices.contains(&text.as_str()) {
            self.wrong.push(format!("{name} is {text:?}, and must be one of {}", choices.join(", ")));
        }
        text
    }

    /// Words, separated by spaces or commas, each parsed; what is wrong is told by its place, never by its text, so that
    /// a list of secrets stays one.
    pub fn list<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str, what: &str) -> Vec<T> {
        let text = self.given(name).unwrap_or_default();
        let mut parsed = Vec::new();
        for (number, word) in text.split([' ', ',']).filter(|word| !word.is_empty()).enumerate() {
            match word.parse() {
                Ok(value) => parsed.push(value),
                Err(why) => self.wrong.push(format!("{name}, {what} {}: {why}", number + 1)),
            }
        }
        parsed
    }

    /// Notes a value that is wrong for a reason of its concern's own. The text must name the variable and no secret.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.wrong.push(why.into());
    }

    /// The settings, where nothing was wrong.
    pub fn finish<T>(self, settings: T) -> Result<T, WrongEnvironment> {
        if self.wrong.is_empty() { Ok(settings) } else { Err(WrongEnvironment(self.wrong)) }
    }
}

/// Reads [`PROCESS_VARIABLES`].
pub fn process_config(reading: &mut Reading<'_>) -> ProcessConfig {
    let default_tenant = reading.text(PROCESS_VARIABLES, "DEFAULT_TENANT");
    ProcessConfig {
        envelope: EnvelopeConfig { default_tenant, ..EnvelopeConfig::default() },
        retry: RetryPolicy {
            attempts: reading.number(PROCESS_VARIABLES, "RETRY_ATTEMPTS", 0, 20) as u32,
            base: Duration::from_millis(reading.number(PROCESS_VARIABLES, "RETRY_BASE_MS", 1, 60_000)),
            ..RetryPolicy::default()
        },
        dead_letter_format: match reading
            .choice(PROCESS_VARIABLES, "DEAD_LETTER_FORMAT", &["headers", "envelope"])
            .as_str()
        {
            "envelope" => DeadLetterFormat::Envelope,
            _ => DeadLetterFormat::Headers,
        },
        ..ProcessConfig::default()
    }
}

/// How a process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `LOG_LEVEL`: a level, or a filter of the tracing crates.
    pub level: String,
    /// `LOG_FORMAT`: whether a line is JSON.
    pub is_json: bool,
}

impl LogConfig {
    /// Reads [`LOG_VARIABLES`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        Self {
            level: reading.text(LOG_VARIABLES, "LOG_LEVEL"),
            is_json: reading.choice(LOG_VARIABLES, "LOG_FORMAT", &["text", "json"]) == "json",
        }
    }
}
