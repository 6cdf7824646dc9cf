//! What is said between whoever compares and a release that judges: JSON, one object a line, by whatever way the lines go.
//!
//! The first line of either side is a greeting: [`Hello`] with the version of this protocol and the settings by which is judged, and
//! [`Welcome`] of the release. Then come records, each answered by one line, in order: what the release decided about it. An empty line
//! asks for the answers so far. What is judged has no effect anywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_core::dead_letter::DeadLetterFormat;
use lyceum_core::process::ProcessConfig;
use lyceum_core::record::{Header, Position, Record};
use serde::{Deserialize, Serialize};

/// Of what is said here. A release that has another one is refused, since its answers mean something else.
pub const VERSION: u32 = 1;

/// The name of the protocol, by which a greeting is known from any other line.
const NAME: &str = "lyceum-judge";

/// The first line of whoever compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`NAME`]
    protocol: String,
    /// [`VERSION`]
    pub version: u32,
    /// By which both sides judge, whatever their environments say.
    pub settings: Settings,
}

/// What decisions depend on beside records and code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `DEFAULT_TENANT`
    pub default_tenant: String,
    /// `LEARNER_HOME_PAGE`
    pub learner_home_page: String,
    /// `MAX_HOPS`
    pub hops: u32,
    /// Whether `DEAD_LETTER_FORMAT` is `envelope`.
    pub letters_are_enveloped: bool,
}

impl Settings {
    /// Those of a process.
    pub fn of(config: &ProcessConfig) -> Self {
        Self {
            default_tenant: config.envelope.default_tenant.to_string(),
            learner_home_page: config.envelope.learner_home_page.to_string(),
            hops: config.envelope.hops,
            letters_are_enveloped: config.dead_letter_format == DeadLetterFormat::Envelope,
        }
    }

    /// The settings of a process that judges by these; what they do not name is the release's own.
    pub fn process_config(&self) -> ProcessConfig {
        let mut config = ProcessConfig::default();
        config.envelope.default_tenant = self.default_tenant.as_str().into();
        config.envelope.learner_home_page = self.learner_home_page.as_str().into();
        config.envelope.hops = self.hops;
        config.dead_letter_format =
            if self.letters_are_enveloped { DeadLetterFormat::Envelope } else { DeadLetterFormat::Headers };
        config
    }
}

impl Hello {
    /// The greeting of this release.
    pub fn new(settings: Settings) -> Self {
        Self { protocol: NAME.to_owned(), version: VERSION, settings }
    }

    /// Reads the greeting.
    ///
    /// # Errors
    /// Where it is none, or of another version.
    pub fn read(line: &[u8]) -> Result<Self, ProtocolError> {
        check_greeting(line)?;
        serde_json::from_slice(line).map_err(|error| ProtocolError::NoGreeting(error.to_string()))
    }
}

/// The first line of a release that judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`NAME`]
    protocol: String,
    /// [`VERSION`]
    pub version: u32,
    /// Its version.
    pub release: String,
    /// Who judges: the names of its subscriptions.
    pub subscriptions: Vec<String>,
    /// The topics that these read.
    pub topics: Vec<String>,
}

impl Welcome {
    /// The greeting of this release.
    pub fn new(subscriptions: Vec<String>, topics: Vec<String>) -> Self {
        let release = env!("CARGO_PKG_VERSION").to_owned();
        Self { protocol: NAME.to_owned(), version: VERSION, release, subscriptions, topics }
    }

    /// Reads the greeting.
    ///
    /// # Errors
    /// Where it is none, or of another version.
    pub fn read(line: &[u8]) -> Result<Self, ProtocolError> {
        check_greeting(line)?;
        serde_json::from_slice(line).map_err(|error| ProtocolError::NoGreeting(error.to_string()))
    }
}

/// A version of the protocol may change everything else of a greeting.
fn check_greeting(line: &[u8]) -> Result<(), ProtocolError> {
    #[derive(Deserialize)]
    struct Any {
        protocol: String,
        version: u32,
    }
    match serde_json::from_slice::<Any>(line) {
        Ok(any) if any.protocol != NAME => Err(ProtocolError::NoGreeting(format!("it greets as {:?}", any.protocol))),
        Ok(Any { version, .. }) if version != VERSION => Err(ProtocolError::Version(version)),
        Ok(_) => Ok(()),
        Err(error) => Err(ProtocolError::NoGreeting(error.to_string())),
    }
}

/// Why nothing can be said to the other side.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Its first line is something else.
    #[error("its first line is no greeting of `lyceum judge`: {0}")]
    NoGreeting(String),
    /// It says other things, or means something else by them.
    #[error(
        "it speaks version {0} of the protocol of `lyceum judge`, and this release version {VERSION}: compare from a release that \
         speaks the same"
    )]
    Version(u32),
    /// A line that should be a record is none.
    #[error("a line is no record: {0}")]
    NoRecord(String),
}

/// A record on its way.
#[derive(Serialize, Deserialize)]
struct Line {
    at: Position,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

/// A record as a line, without the line's end.
pub fn write_record(record: &Record) -> Vec<u8> {
    let text = |bytes: &Bytes| BASE64.encode(bytes);
    let line = Line {
        at: record.position.clone(),
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_ref().map(text),
        value: record.value.as_ref().map(text),
        headers: record.headers.iter().map(|of| (of.name.clone(), of.value.as_ref().map(text))).collect(),
    };
    serde_json::to_vec(&line).expect("texts and numbers can be written")
}

/// Reads a record.
///
/// # Errors
/// Where the line is none.
pub fn read_record(line: &[u8]) -> Result<Record, ProtocolError> {
    let no_record = |error: &dyn std::fmt::Display| ProtocolError::NoRecord(error.to_string());
    let Line { at, timestamp_ms, key, value, headers } =
        serde_json::from_slice(line).map_err(|error| no_record(&error))?;
    let bytes = |text: Option<String>| {
        let decoded = text.map(|text| BASE64.decode(text)).transpose().map_err(|error| no_record(&error))?;
        Ok(decoded.map(Bytes::from))
    };
    let headers = headers.into_iter().map(|(name, value)| Ok(Header { name, value: bytes(value)? }));
    Ok(Record {
        position: at,
        timestamp_ms,
        key: bytes(key)?,
        value: bytes(value)?,
        headers: headers.collect::<Result<_, _>>()?,
    })
}

/// How the answer about a record begins, so that one that is none, or about another record, is noticed.
pub fn beginning_of_answer(at: &Position) -> String {
    // A topic's name needs no escapes in JSON.
    format!("{{\"at\":\"{at}\",\"judged\":[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_same_on_the_other_side() {
        let record = Record {
            position: Position::new("a.b-c", 3, 9),
            timestamp_ms: -1,
            key: None,
            value: Some(Bytes::from_static(b"\xff\n{")),
            headers: vec![Header::new("a", "1"), Header { name: "ü\n".into(), value: None }, Header::new("a", "2")],
        };
        let line = write_record(&record);
        assert!(!line.contains(&b'\n'));
        assert_eq!(read_record(&line), Ok(record.clone()));
        let tombstone = Record { value: None, key: Some(Bytes::new()), ..record };
        assert_eq!(read_record(&write_record(&tombstone)), Ok(tombstone));
    }

    #[test]
    fn a_greeting_of_another_version_is_refused_whatever_else_it_says() {
        let hello = Hello::new(Settings::of(&ProcessConfig::default()));
        let line = serde_json::to_vec(&hello).unwrap();
        assert_eq!(Hello::read(&line), Ok(hello));
        assert_eq!(Welcome::read(br#"{"protocol": "lyceum-judge", "version": 2}"#), Err(ProtocolError::Version(2)));
        for line in [&b""[..], b"[]", b"Usage: lyceum", br#"{"protocol": "http", "version": 1}"#] {
            assert!(matches!(Welcome::read(line), Err(ProtocolError::NoGreeting(_))));
        }
    }

    #[test]
    fn settings_are_those_of_the_process_that_compares() {
        let mut config = ProcessConfig { dead_letter_format: DeadLetterFormat::Envelope, ..ProcessConfig::default() };
        config.envelope.default_tenant = "acme".into();
        config.envelope.learner_home_page = "http://x".into();
        config.envelope.hops = 3;
        let settings = Settings::of(&config);
        assert_eq!(Settings::of(&settings.process_config()), settings);
        assert_ne!(settings, Settings::of(&ProcessConfig::default()));
    }
}
