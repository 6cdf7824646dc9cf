//! The environment of a process, and over it what secrets hold that it names by their ARN: read from AWS Secrets Manager or
//! Systems Manager's Parameter Store, and again when they are refused or old ([`Secrets`]); kept in memory alone.
//!
//! A variable names the secret, and what the secret holds stands in for the variables that would otherwise hold it. It
//! is never put into the process's environment, where a child or `/proc` would show it, and never logged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use lyceum_core::environment::{Table, Variable, optional, seconds};
use serde_json::{Map, Value};

mod place;
mod renewal;
mod secrets;

pub use place::Place;
pub use renewal::{PAUSE_MS, Reason, Renewal};
pub use secrets::{ReadSecrets, Secrets, get_parameter};

const API_TOKENS_SECRET_ARN: Variable<Option<String>> = optional(
    "API_TOKENS_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `tokens`, in place of `API_TOKENS`",
);
const CONTENT_GENERATOR_SECRET_ARN: Variable<Option<String>> = optional(
    "CONTENT_GENERATOR_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `api_key`, in place of `CLAUDE_API_KEY`",
);
const ELASTICSEARCH_CA_SECRET_ARN: Variable<Option<String>> = optional(
    "ELASTICSEARCH_CA_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `certificate` (PEM), in place of `ELASTICSEARCH_CA_PEM`",
);
const ELASTICSEARCH_SECRET_ARN: Variable<Option<String>> = optional(
    "ELASTICSEARCH_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `api_key`, or `username` and `password`; in place of the variables of those names",
);
const KAFKA_CA_SECRET_ARN: Variable<Option<String>> = optional(
    "KAFKA_CA_SECRET_ARN",
    "a secret of AWS Secrets Manager, JSON with `certificate` (PEM), in place of `KAFKA_SSL_CA_PEM`",
);
const KAFKA_CERTIFICATE_SECRET_ARN: Variable<Option<String>> = optional(
    "KAFKA_CERTIFICATE_SECRET_ARN",
    "a secret of AWS Secrets Manager, JSON with `certificate`, `privateKey` and, where it has one, `privateKeyPassword`, in place of `KAFKA_SSL_CERTIFICATE_PEM`, `KAFKA_SSL_KEY_PEM` and `KAFKA_SSL_KEY_PASSWORD`",
);

const OTLP_SECRET_ARN: Variable<Option<String>> = optional(
    "OTEL_EXPORTER_OTLP_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `headers`, in place of `OTEL_EXPORTER_OTLP_HEADERS`",
);

const SCHEMA_REGISTRY_CA_SECRET_ARN: Variable<Option<String>> = optional(
    "SCHEMA_REGISTRY_CA_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `certificate` (PEM), in place of `SCHEMA_REGISTRY_CA_PEM`",
);
const SCHEMA_REGISTRY_SECRET_ARN: Variable<Option<String>> = optional(
    "SCHEMA_REGISTRY_SECRET_ARN",
    "a secret of AWS Secrets Manager or a parameter of Systems Manager, JSON with `username` and `password`, or `token`; in place of the variables of those names",
);

const CREDENTIALS_TTL: Variable<Duration> = seconds(
    "CREDENTIALS_TTL_SECONDS",
    3_600,
    60..=604_800,
    "how old what a secret held may become before it is read again; where a service refuses it, that is done at once, and at most once a minute",
);

/// Variables that name a secret, and how long it holds; Kafka's `KAFKA_SASL_SECRET_ARN`, which says how a client logs in,
/// stands with Kafka's.
pub const SECRET_VARIABLES: Table = &[
    &API_TOKENS_SECRET_ARN,
    &CONTENT_GENERATOR_SECRET_ARN,
    &CREDENTIALS_TTL,
    &ELASTICSEARCH_CA_SECRET_ARN,
    &ELASTICSEARCH_SECRET_ARN,
    &KAFKA_CA_SECRET_ARN,
    &KAFKA_CERTIFICATE_SECRET_ARN,
    &OTLP_SECRET_ARN,
    &SCHEMA_REGISTRY_CA_SECRET_ARN,
    &SCHEMA_REGISTRY_SECRET_ARN,
];

/// Which field of which secret stands in for which variable.
const FIELDS: &[(&str, &[(&str, &str)])] = &[
    ("API_TOKENS_SECRET_ARN", &[("tokens", "API_TOKENS")]),
    ("CONTENT_GENERATOR_SECRET_ARN", &[("api_key", "CLAUDE_API_KEY")]),
    ("ELASTICSEARCH_CA_SECRET_ARN", &[("certificate", "ELASTICSEARCH_CA_PEM")]),
    (
        "ELASTICSEARCH_SECRET_ARN",
        &[
            ("api_key", "ELASTICSEARCH_API_KEY"),
            ("username", "ELASTICSEARCH_USERNAME"),
            ("password", "ELASTICSEARCH_PASSWORD"),
        ],
    ),
    ("OTEL_EXPORTER_OTLP_SECRET_ARN", &[("headers", "OTEL_EXPORTER_OTLP_HEADERS")]),
    // The forms of SERVER_ROOT_CA_CERTIFICATE and CLIENT_CERTIFICATE_TLS_AUTH, which event source mappings take.
    ("KAFKA_CA_SECRET_ARN", &[("certificate", "KAFKA_SSL_CA_PEM")]),
    (
        "KAFKA_CERTIFICATE_SECRET_ARN",
        &[
            ("certificate", "KAFKA_SSL_CERTIFICATE_PEM"),
            ("privateKey", "KAFKA_SSL_KEY_PEM"),
            ("privateKeyPassword", "KAFKA_SSL_KEY_PASSWORD"),
        ],
    ),
    ("SCHEMA_REGISTRY_CA_SECRET_ARN", &[("certificate", "SCHEMA_REGISTRY_CA_PEM")]),
    (
        "SCHEMA_REGISTRY_SECRET_ARN",
        &[
            ("token", "SCHEMA_REGISTRY_TOKEN"),
            ("username", "SCHEMA_REGISTRY_USERNAME"),
            ("password", "SCHEMA_REGISTRY_PASSWORD"),
        ],
    ),
    ("KAFKA_SASL_SECRET_ARN", &[("username", "KAFKA_SASL_USERNAME"), ("password", "KAFKA_SASL_PASSWORD")]),
];

/// The process's environment, and over it what secrets hold.
#[derive(Default, PartialEq, Eq)]
pub struct Environment {
    /// What stands in for variables; `None` where a variable named a secret that was read.
    secrets: BTreeMap<&'static str, Option<String>>,
}

/// Names alone: a value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("secrets", &self.secrets.keys()).finish()
    }
}

impl Environment {
    /// Whether no secret was named.
    pub fn is_plain(&self) -> bool {
        self.secrets.is_empty()
    }

    /// What these secrets hold, each with the variable that names it.
    ///
    /// # Errors
    /// Where one holds something else than its variable says.
    pub fn of<'a>(secrets: impl IntoIterator<Item = (&'static str, &'a str)>) -> Result<Self> {
        let mut environment = Self::default();
        for (variable, secret) in secrets {
            environment.take(variable, secret)?;
        }
        Ok(environment)
    }

    /// The value of a variable: what a secret holds, else the process's own.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.over(name, process_variable)
    }

    /// The value of a variable: what a secret holds, else what `base` has.
    pub fn over(&self, name: &str, base: impl Fn(&str) -> Option<String>) -> Option<String> {
        self.secrets.get(name).cloned().unwrap_or_else(|| base(name))
    }

    /// Takes the fields of a secret. No message repeats what the secret holds.
    fn take(&mut self, variable: &'static str, secret: &str) -> Result<()> {
        let fields = FIELDS.iter().find(|(of, _)| *of == variable).map_or(&[][..], |(_, fields)| fields);
        let names = || fields.iter().map(|(field, _)| format!("`{field}`")).collect::<Vec<_>>().join(", ");
        let Ok(held) = serde_json::from_str::<Map<String, Value>>(secret) else {
            bail!("the secret of {variable} is no JSON object; it needs fields of {}", names());
        };
        let mut taken = false;
        for (field, stands_for) in fields {
            if let Some(value) = held.get(*field).and_then(Value::as_str) {
                self.secrets.insert(stands_for, Some(value.to_owned()));
                taken = true;
            }
        }
        if !taken {
            bail!("the secret of {variable} has none of the fields {}", names());
        }
        self.secrets.insert(variable, None);
        Ok(())
    }
}

/// Each variable that names a secret, with what it names.
pub fn named(variable: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let one = |(name, _): &(&'static str, _)| Some((*name, variable(name).filter(|arn| !arn.trim().is_empty())?));
    FIELDS.iter().filter_map(one).collect()
}

fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_fields_stand_in_for_the_variables_that_would_hold_them() {
        let mut environment = Environment::default();
        environment
            .take("KAFKA_SASL_SECRET_ARN", r#"{"username": "lyceum", "password": "s3cret", "more": 1}"#)
            .unwrap();
        environment.take("ELASTICSEARCH_SECRET_ARN", r#"{"api_key": "a2V5"}"#).unwrap();
        environment.take("ELASTICSEARCH_CA_SECRET_ARN", r#"{"certificate": "of the store"}"#).unwrap();
        environment.take("KAFKA_CA_SECRET_ARN", r#"{"certificate": "of the brokers"}"#).unwrap();
        let of_client = r#"{"certificate": "of the client", "privateKey": "its key", "privateKeyPassword": "word"}"#;
        environment.take("KAFKA_CERTIFICATE_SECRET_ARN", of_client).unwrap();
        assert_eq!(environment.variable("KAFKA_SASL_USERNAME").as_deref(), Some("lyceum"));
        assert_eq!(environment.variable("KAFKA_SASL_PASSWORD").as_deref(), Some("s3cret"));
        assert_eq!(environment.variable("ELASTICSEARCH_API_KEY").as_deref(), Some("a2V5"));
        assert_eq!(environment.variable("ELASTICSEARCH_PASSWORD"), None);
        for (variable, held) in [
            ("ELASTICSEARCH_CA_PEM", "of the store"),
            ("KAFKA_SSL_CA_PEM", "of the brokers"),
            ("KAFKA_SSL_CERTIFICATE_PEM", "of the client"),
            ("KAFKA_SSL_KEY_PEM", "its key"),
            ("KAFKA_SSL_KEY_PASSWORD", "word"),
        ] {
            assert_eq!(environment.variable(variable).as_deref(), Some(held), "{variable}");
        }
    }

    #[test]
    fn what_a_secret_holds_is_in_no_message_and_in_no_debug_output() {
        let mut environment = Environment::default();
        for secret in ["hunter2", r#"{"token": "hunter2"}"#, r#"["hunter2"]"#] {
            let text = format!("{:?}", environment.take("KAFKA_SASL_SECRET_ARN", secret).unwrap_err());
            assert!(text.contains("KAFKA_SASL_SECRET_ARN") && text.contains("`password`"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        environment.take("KAFKA_SASL_SECRET_ARN", r#"{"password": "hunter2"}"#).unwrap();
        assert!(!format!("{environment:?}").contains("hunter2"));
    }

    #[test]
    fn whoever_reads_a_variable_that_named_a_secret_does_not_fetch_it_again() {
        let mut environment = Environment::default();
        environment.take("KAFKA_SASL_SECRET_ARN", r#"{"username": "u", "password": "p"}"#).unwrap();
        assert_eq!(environment.variable("KAFKA_SASL_SECRET_ARN"), None);
    }
}
