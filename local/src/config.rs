//! What the environment says to this process beside what it says to any.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use lyceum_core::environment::WrongEnvironment;
use lyceum_core::environment::{Reading, Row, Table, Variable, choice, optional};
use lyceum_secrets::Secrets;
use lyceum_server::config::{BATCH_SIZE, Config as ServerConfig, VARIABLES, WINDOW_SIZE, WORKERS};
use lyceum_spans::Spans;

use lyceum_functions::Function;

use crate::functions::RemoteFunctions;

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those of any process.
    pub server: ServerConfig,
    /// `AUDIT`: whether the audit log is kept.
    pub audits: bool,
    /// `BATCH_SIZE`: records a batch, 1 to 10,000.
    pub batch_size: usize,
    /// `WINDOW_SIZE_MS`: how long a batch that is not full waits for more.
    pub batching_window: Duration,
    /// `LYCEUM_DATA`: the data folder where `--data` names none.
    pub data: Option<PathBuf>,
    /// `WORKERS`: the threads on which events are processed; `None`: as many as there are processors.
    pub workers: Option<usize>,
    /// `LYCEUM_TOKEN`: what a command shows to the process that has the data.
    pub token: Option<CommandToken>,
    /// The functions of the release that runs.
    pub release: Vec<Function>,
    /// `--functions`: the functions that run elsewhere.
    pub functions: Vec<RemoteFunctions>,
    /// The spans of this process, once it has begun to make them.
    pub spans: Spans,
    /// `--verbose`: what is of no consequence where all is well is told, too.
    pub is_verbose: bool,
    /// Whether every store is embedded, whatever services the environment names.
    pub is_scratch: bool,
    /// `--kafka`, which stands for `KAFKA_BOOTSTRAP_SERVERS`.
    kafka: Option<String>,
}

/// A token as a command shows it; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandToken(pub String);

impl fmt::Debug for CommandToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommandToken(…)")
    }
}

const AUDIT: Variable<bool> = choice(
    "AUDIT",
    &[("on", true), ("off", false)],
    "whether every record of every topic goes into the audit log; what comes while it is off is in no log, unless it is on again before the topics have dropped it",
);
const LYCEUM_DATA: Variable<Option<String>> =
    optional("LYCEUM_DATA", "the data folder where `--data` names none; without both it is `.lyceum`");
const LYCEUM_TOKEN: Variable<Option<String>> =
    optional("LYCEUM_TOKEN", "of a command: the token that it shows to the process that has the data");
const LOCAL_VARIABLES: Table = &[&AUDIT, &BATCH_SIZE, &LYCEUM_DATA, &LYCEUM_TOKEN, &WINDOW_SIZE, &WORKERS];

/// Every variable, by concern. The table of docs/operations.md is tested against it.
pub fn variables() -> impl Iterator<Item = Row> {
    VARIABLES.iter().chain([&LOCAL_VARIABLES]).copied().flatten().map(|variable| variable.row())
}

impl Config {
    /// Reads the process's environment, without what secrets hold; `kafka`, where it is given, stands for
    /// `KAFKA_BOOTSTRAP_SERVERS`.
    pub fn from_environment(kafka: Option<&str>) -> Result<Self, WrongEnvironment> {
        Self::read(kafka, &|name| std::env::var(name).ok())
    }

    /// The same with what the secrets hold that the environment names: for whoever opens the stores, and nobody else.
    ///
    /// # Errors
    /// Where a secret cannot be read, or holds what is wrong.
    pub async fn with_secrets(self) -> anyhow::Result<Self> {
        let secrets = Secrets::load().await?;
        let environment = secrets.environment();
        if environment.is_plain() {
            return Ok(self);
        }
        let mut read = Self::read(self.kafka.as_deref(), &|name| environment.variable(name))?;
        read.server.stores.secrets = Some(secrets);
        Ok(Self {
            release: self.release,
            functions: self.functions,
            spans: self.spans,
            is_verbose: self.is_verbose,
            is_scratch: self.is_scratch,
            server: if self.is_scratch { self.server } else { read.server },
            ..read
        })
    }

    /// Reads any environment.
    pub fn read(kafka: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, WrongEnvironment> {
        let variable = |name: &str| match (name, kafka) {
            ("KAFKA_BOOTSTRAP_SERVERS", Some(kafka)) => Some(kafka.to_owned()),
            _ => variable(name),
        };
        let mut reading = Reading::new(&variable);
        let config = Self {
            server: ServerConfig::read(&mut reading),
            audits: reading.read(&AUDIT),
            batch_size: reading.read(&BATCH_SIZE),
            batching_window: reading.read(&WINDOW_SIZE),
            data: reading.read(&LYCEUM_DATA).map(PathBuf::from),
            workers: reading.read(&WORKERS),
            token: reading.read(&LYCEUM_TOKEN).map(CommandToken),
            release: lyceum_functions::functions().collect(),
            functions: Vec::new(),
            spans: Spans::default(),
            is_verbose: false,
            is_scratch: false,
            kafka: kafka.map(str::to_owned),
        };
        reading.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, WrongEnvironment> {
        Config::read(None, &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        let config = read(&[]).unwrap();
        assert_eq!((config.batch_size, config.batching_window), (500, Duration::from_millis(50)));
    }

    #[test]
    fn workers_are_read_under_the_name_of_the_older_consumer_too() {
        let workers = |variables| read(variables).unwrap().workers;
        assert_eq!(workers(&[]), None);
        assert_eq!(workers(&[("FASTSTREAM_WORKERS", "3")]), Some(3));
        assert_eq!(workers(&[("FASTSTREAM_WORKERS", "3"), ("WORKERS", "1")]), Some(1));
        assert!(read(&[("WORKERS", "0")]).unwrap_err().to_string().contains("WORKERS"));
    }

    #[test]
    fn every_wrong_value_is_reported_with_its_variable() {
        let text = read(&[("BATCH_SIZE", "0"), ("LOG_FORMAT", "xml")]).unwrap_err().to_string();
        assert!(text.contains("BATCH_SIZE") && text.contains("LOG_FORMAT"), "{text}");
    }

    #[test]
    fn a_commands_token_is_in_no_debug_output() {
        let config = read(&[("LYCEUM_TOKEN", "a-very-secret-secret")]).unwrap();
        assert!(config.token.is_some() && !format!("{config:?}").contains("a-very-secret"));
    }
}
