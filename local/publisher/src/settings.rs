//! What the environment says about publishing.

use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::environment::{Reading, Table, Variable, choice, milliseconds, optional, process_config, whole};
use lyceum_core::retry::Backoff;

/// What becomes of an event that its consumers could not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// It is refused: not sent, logged, counted, and kept beside the spill file.
    #[default]
    On,
    /// It is logged and counted, and sent: its function makes a dead letter of it.
    Warn,
    /// Nothing is judged, and any topic may be named. Key and id are still read from an event where that can be.
    Off,
}

/// How events are published.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// `PUBLISHER_CHECK`
    pub check: Check,
    /// `PUBLISHER_STRICT_STATEMENTS`: whether statements have to keep the profile of [`strict`](crate::strict), too.
    pub strict_statements: bool,
    /// `PUBLISHER_QUEUE_EVENTS`: so many events wait in memory, and those that come beyond are dropped.
    pub queue_events: usize,
    /// `PUBLISHER_QUEUE_BYTES`: the same in bytes.
    pub queue_bytes: usize,
    /// `PUBLISHER_SPILL_FILE`: where events wait while the stream is unavailable; `None`: in memory alone.
    pub spill_file: Option<PathBuf>,
    /// `PUBLISHER_SPILL_MAX_BYTES`: the file grows to this size.
    pub spill_max_bytes: u64,
    /// `PUBLISHER_SPILL_AFTER_MS`: an event that was not acknowledged for so long is written to the file.
    pub spill_after: Duration,
    /// The waits after a failure; no variable.
    pub retry: Backoff,
    /// How long a topic that is missing, or that this client may not write, is waited for before its events are set aside; no variable.
    pub patience: Duration,
    /// How long the last handle that is dropped waits for what is still to be sent; no variable.
    pub close_within: Duration,
    /// `DEFAULT_TENANT`, `LEARNER_HOME_PAGE`, as the consumers have them.
    pub envelope: EnvelopeConfig,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self {
            check: Check::On,
            strict_statements: false,
            queue_events: 10_000,
            queue_bytes: 64 << 20,
            spill_file: None,
            spill_max_bytes: 256 << 20,
            spill_after: Duration::from_secs(1),
            retry: Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(15) },
            patience: Duration::from_secs(600),
            close_within: Duration::from_secs(5),
            envelope: EnvelopeConfig::default(),
        }
    }
}

const CHECK: Variable<Check> = choice(
    "PUBLISHER_CHECK",
    &[("on", Check::On), ("warn", Check::Warn), ("off", Check::Off)],
    "of a program that publishes: whether an event that its consumers could not read is refused, only logged, or not looked at",
);
const QUEUE_BYTES: Variable<usize> = whole(
    "PUBLISHER_QUEUE_BYTES",
    64 << 20,
    65_536..=4 << 30,
    "of a program that publishes: so many bytes of events wait in memory; what comes beyond is dropped and counted",
);
const QUEUE_EVENTS: Variable<usize> =
    whole("PUBLISHER_QUEUE_EVENTS", 10_000, 1..=10_000_000, "the same as a number of events");
const SPILL_AFTER: Variable<Duration> = milliseconds(
    "PUBLISHER_SPILL_AFTER_MS",
    1_000,
    0..=300_000,
    "of a program that publishes: an event that Kafka has not acknowledged for so long is written to the spill file",
);
const SPILL_FILE: Variable<Option<String>> = optional(
    "PUBLISHER_SPILL_FILE",
    "of a program that publishes: the file in which events wait while Kafka is unavailable, one for each process; without it they wait in memory alone, and are lost with the process",
);
const SPILL_MAX_BYTES: Variable<u64> = whole(
    "PUBLISHER_SPILL_MAX_BYTES",
    256 << 20,
    65_536..=1 << 40,
    "of a program that publishes: the spill file grows to this size; what comes then waits in memory, and beyond that is dropped and counted",
);
const STRICT_STATEMENTS: Variable<bool> = choice(
    "PUBLISHER_STRICT_STATEMENTS",
    &[("false", false), ("true", true)],
    "of a program that publishes: whether a statement must have id, version 1.0.3, timestamp, an actor of objectType Agent and an http(s) verb",
);

/// How a program publishes.
pub const PUBLISHER_VARIABLES: Table =
    &[&CHECK, &QUEUE_BYTES, &QUEUE_EVENTS, &SPILL_AFTER, &SPILL_FILE, &SPILL_MAX_BYTES, &STRICT_STATEMENTS];

impl PublisherSettings {
    /// Reads [`PUBLISHER_VARIABLES`], and what events are read by.
    pub fn read(reading: &mut Reading<'_>) -> Self {
        Self {
            check: reading.read(&CHECK),
            strict_statements: reading.read(&STRICT_STATEMENTS),
            queue_events: reading.read(&QUEUE_EVENTS),
            queue_bytes: reading.read(&QUEUE_BYTES),
            spill_file: reading.read(&SPILL_FILE).map(PathBuf::from),
            spill_max_bytes: reading.read(&SPILL_MAX_BYTES),
            spill_after: reading.read(&SPILL_AFTER),
            envelope: process_config(reading).envelope,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<PublisherSettings, String> {
        let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reading = Reading::new(&variable);
        let settings = PublisherSettings::read(&mut reading);
        reading.finish(settings).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn an_empty_environment_has_the_defaults() {
        let (read, default) = (read(&[]).unwrap(), PublisherSettings::default());
        assert_eq!(format!("{read:?}"), format!("{default:?}"));
    }

    #[test]
    fn every_variable_is_read_by_its_own_name() {
        let set = [
            ("PUBLISHER_CHECK", "warn"),
            ("PUBLISHER_STRICT_STATEMENTS", "true"),
            ("PUBLISHER_QUEUE_EVENTS", "7"),
            ("PUBLISHER_QUEUE_BYTES", "70000"),
            ("PUBLISHER_SPILL_FILE", "spill/events"),
            ("PUBLISHER_SPILL_MAX_BYTES", "90000"),
            ("PUBLISHER_SPILL_AFTER_MS", "5"),
            ("DEFAULT_TENANT", "acme"),
        ];
        let of = read(&set).unwrap();
        assert_eq!((of.check, of.strict_statements), (Check::Warn, true));
        assert_eq!((of.queue_events, of.queue_bytes, of.spill_max_bytes), (7, 70_000, 90_000));
        assert_eq!((of.spill_file, of.spill_after), (Some("spill/events".into()), Duration::from_millis(5)));
        assert_eq!(of.envelope.default_tenant, "acme");
        assert_eq!(set.len(), PUBLISHER_VARIABLES.len() + 1);
        let wrong = read(&[("PUBLISHER_CHECK", "maybe"), ("PUBLISHER_QUEUE_EVENTS", "0")]).unwrap_err();
        assert!(wrong.contains("PUBLISHER_CHECK") && wrong.contains("PUBLISHER_QUEUE_EVENTS"), "{wrong}");
    }
}
