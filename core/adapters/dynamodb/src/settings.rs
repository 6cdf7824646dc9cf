//! Where the table is, and how long its calls may take. Pure.

use std::time::Duration;

use lyceum_core::environment::{Reading, Table, Variable, milliseconds, optional, text};
use lyceum_core::ports::ledger::KEYS_AGE;
use uuid::Uuid;

const AWS_ENDPOINT_URL_DYNAMODB: Variable<Option<String>> = optional(
    "AWS_ENDPOINT_URL_DYNAMODB",
    "the URL of DynamoDB's API, where it is not AWS's of the region; `http://127.0.0.1:8000` for one on this machine",
);
const DYNAMODB_CONNECT_TIMEOUT: Variable<Duration> =
    milliseconds("DYNAMODB_CONNECT_TIMEOUT_MS", 1_000, 1..=60_000, "how long a connection may take to come about");
const DYNAMODB_TABLE: Variable<String> = text("DYNAMODB_TABLE", "lyceum", "the table of state and idempotency keys");
const DYNAMODB_TIMEOUT: Variable<Duration> = milliseconds(
    "DYNAMODB_TIMEOUT_MS",
    5_000,
    1..=60_000,
    "how long one request to DynamoDB may take; a request that failed is made up to four times",
);

/// Of DynamoDB; region, credentials and profiles are read from AWS's own variables and files.
pub const DYNAMODB_VARIABLES: Table =
    &[&AWS_ENDPOINT_URL_DYNAMODB, &DYNAMODB_CONNECT_TIMEOUT, &DYNAMODB_TABLE, &DYNAMODB_TIMEOUT];

/// How the ledger uses its table.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// How long a key is kept. It must outlive every topic that can be replayed and every dead letter.
    pub key_ttl: Duration,
    /// How long counted attempts are kept: longer than a record may be redelivered.
    pub attempts_ttl: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long its connection may take to come about, where it needs a new one.
    pub connect_timeout: Duration,
    /// How often a call is made before its failure is reported, the first time included.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles from one to the next, and the jitter shortens it.
    pub backoff: Duration,
    /// Names the one process that may use the table for now, where there is never more than one: then a lease that another one
    /// was given is nobody's any more, since that one has ended. `None` where others may use it, too.
    pub sole: Option<Uuid>,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            key_ttl: KEYS_AGE,
            attempts_ttl: 8 * DAY,
            call_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            attempts: 4,
            backoff: Duration::from_millis(50),
            sole: None,
        }
    }
}

/// Which table, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// `DYNAMODB_TABLE`
    pub table: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`
    pub endpoint: Option<String>,
    /// `DYNAMODB_TIMEOUT_MS`
    pub call_timeout: Duration,
    /// `DYNAMODB_CONNECT_TIMEOUT_MS`
    pub connect_timeout: Duration,
}

impl DynamoDbSettings {
    /// Whether one of the variables is set that only whoever means a DynamoDB that is a service sets.
    pub fn are_given(reading: &Reading<'_>) -> bool {
        reading.is_given(&DYNAMODB_TABLE) || reading.is_given(&AWS_ENDPOINT_URL_DYNAMODB)
    }

    /// Reads [`DYNAMODB_VARIABLES`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let call_timeout = reading.read(&DYNAMODB_TIMEOUT);
        let connect_timeout = reading.read(&DYNAMODB_CONNECT_TIMEOUT);
        let table = reading.read(&DYNAMODB_TABLE);
        if !is_table_name(&table) {
            reading.refuse(format!(
                "DYNAMODB_TABLE is {table:?}, and must be 3 to 255 of a-z, A-Z, 0-9, `_`, `-` and `.`, or a table's ARN"
            ));
        }
        let endpoint = reading.read(&AWS_ENDPOINT_URL_DYNAMODB);
        // The URL might hold a password, so it is not told.
        if endpoint.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            reading.refuse("AWS_ENDPOINT_URL_DYNAMODB must begin with http:// or https://");
        }
        Self { table, endpoint, call_timeout, connect_timeout }
    }

    /// The ledger's options with these time limits.
    pub fn options(&self) -> LedgerOptions {
        LedgerOptions {
            call_timeout: self.call_timeout,
            connect_timeout: self.connect_timeout,
            ..LedgerOptions::default()
        }
    }
}

/// Source: API Reference, `TableName`: `[a-zA-Z0-9_.-]+`, 3 to 255 of them, or the table's ARN.
fn is_table_name(name: &str) -> bool {
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    name.starts_with("arn:") || ((3..=255).contains(&name.len()) && is_plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<DynamoDbSettings, String> {
        lyceum_testing::environment::read(variables, DynamoDbSettings::read).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.table.as_str(), settings.endpoint.clone()), ("lyceum", None));
        let (ours, defaults) = (settings.options(), LedgerOptions::default());
        assert_eq!(
            (ours.call_timeout, ours.connect_timeout, ours.key_ttl),
            (defaults.call_timeout, defaults.connect_timeout, defaults.key_ttl)
        );
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_variable_and_no_secret() {
        let wrong = read(&[
            ("DYNAMODB_TABLE", "a table"),
            ("DYNAMODB_TIMEOUT_MS", "0"),
            ("DYNAMODB_CONNECT_TIMEOUT_MS", "soon"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "user:secret-word@host"),
        ])
        .unwrap_err();
        for name in DYNAMODB_VARIABLES.iter().map(|of| of.row().name) {
            assert!(wrong.contains(name), "{name}: {wrong}");
        }
        assert!(!wrong.contains("secret-word"), "{wrong}");
    }
}
