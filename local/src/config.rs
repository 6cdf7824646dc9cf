//! What the environment says to this process beside what it says to any.

use std::fmt;
use std::time::Duration;

pub use lyceum_core::environment::WrongEnvironment;
use lyceum_core::environment::{Reading, Variable};
use lyceum_server::config::{Config as ServerConfig, VARIABLES as SERVER_VARIABLES};

use crate::functions::RemoteFunctions;

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those of any process.
    pub server: ServerConfig,
    /// `BATCH_SIZE`: records a batch, 1 to 10,000.
    pub batch_size: usize,
    /// `WINDOW_SIZE_MS`: how long a batch that is not full waits for more.
    pub batching_window: Duration,
    /// `LYCEUM_TOKEN`: what a command shows to the process that has the data.
    pub token: Option<CommandToken>,
    /// `--functions`: the functions that run elsewhere.
    pub functions: Vec<RemoteFunctions>,
}

/// A token as a command shows it; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandToken(pub String);

impl fmt::Debug for CommandToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommandToken(…)")
    }
}

const LOCAL_VARIABLES: &[Variable] = &[
    ("BATCH_SIZE", "500", "records a batch, 1 to 10000"),
    ("LYCEUM_TOKEN", "", "of a command: the token that it shows to the process that has the data"),
    ("WINDOW_SIZE_MS", "50", "how long a batch that is not full waits for more, in milliseconds, 0 to 300000"),
];

/// Every variable, by concern. The table of docs/operations.md is tested against it.
pub fn variables() -> impl Iterator<Item = Variable> {
    SERVER_VARIABLES.iter().chain([&LOCAL_VARIABLES]).copied().flatten().copied()
}

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
            server: ServerConfig::read(&mut reading),
            batch_size: reading.number(LOCAL_VARIABLES, "BATCH_SIZE", 1, 10_000) as usize,
            batching_window: Duration::from_millis(reading.number(LOCAL_VARIABLES, "WINDOW_SIZE_MS", 0, 300_000)),
            token: reading.given("LYCEUM_TOKEN").map(CommandToken),
            functions: Vec::new(),
        };
        reading.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, WrongEnvironment> {
        Config::read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_environment_has_the_defaults_of_the_table() {
        let config = read(&[]).unwrap();
        assert_eq!((config.batch_size, config.batching_window), (500, Duration::from_millis(50)));
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
