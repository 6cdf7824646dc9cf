//! Who is told that something is wrong, where no CloudWatch is: what is read is held against limits, what is beyond one for long
//! enough is told once, and once more when it is over. Pure; [`window`] counts, [`webhook`] sends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lyceum_core::environment::{Reading as Environment, Table, Variable, optional, seconds, whole};
use serde::Serialize;

use crate::live::format_time;

pub mod webhook;
pub mod window;

const ALERT_WEBHOOK_URL: Variable<Option<String>> = optional(
    "ALERT_WEBHOOK_URL",
    "where alerts are posted as JSON (\"Alerts outside AWS\" in `docs/operations.md`); it is as secret as a password and never shown; without it nobody is told",
);
const ALERT_AFTER_SECONDS: Variable<Duration> = seconds(
    "ALERT_AFTER_SECONDS",
    60,
    0..=86_400,
    "how long something is beyond its limit before that is told, and within it before its end is",
);
const ALERT_LAG_SECONDS: Variable<u64> =
    whole("ALERT_LAG_SECONDS", 30, 0..=86_400, "a subscription further behind a topic than this is told; 0: never");
const ALERT_SILENT_SECONDS: Variable<u64> = whole(
    "ALERT_SILENT_SECONDS",
    60,
    0..=86_400,
    "a subscription that cannot read a topic for longer than this is told; 0: never",
);
const ALERT_CPU_PERCENT: Variable<u64> =
    whole("ALERT_CPU_PERCENT", 80, 0..=100, "more of the processors that it may use is told; 0: never");
const ALERT_MEMORY_PERCENT: Variable<u64> =
    whole("ALERT_MEMORY_PERCENT", 80, 0..=100, "more of the memory that it may use is told; 0: never");
const ALERT_ERROR_PERCENT: Variable<u64> = whole(
    "ALERT_ERROR_PERCENT",
    5,
    0..=100,
    "of a subscription's events in five minutes: a larger part that is dead-lettered or to be tried again is told; 0: never",
);
const ALERT_DEAD_LETTERS: Variable<u64> = whole(
    "ALERT_DEAD_LETTERS",
    10,
    0..=1_000_000,
    "more dead letters of a subscription in five minutes are told; 0: never",
);

/// What can be set.
pub const ALERT_VARIABLES: Table = &[
    &ALERT_WEBHOOK_URL,
    &ALERT_AFTER_SECONDS,
    &ALERT_LAG_SECONDS,
    &ALERT_SILENT_SECONDS,
    &ALERT_CPU_PERCENT,
    &ALERT_MEMORY_PERCENT,
    &ALERT_ERROR_PERCENT,
    &ALERT_DEAD_LETTERS,
];

/// Who is told, and of what.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// `ALERT_WEBHOOK_URL`
    pub webhook: webhook::WebhookUrl,
    /// The others.
    pub limits: Limits,
}

impl AlertsConfig {
    /// `None` where nobody is to be told.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let limits = Limits {
            after: environment.read(&ALERT_AFTER_SECONDS),
            lag_seconds: environment.read(&ALERT_LAG_SECONDS),
            silent_seconds: environment.read(&ALERT_SILENT_SECONDS),
            cpu_percent: environment.read(&ALERT_CPU_PERCENT),
            memory_percent: environment.read(&ALERT_MEMORY_PERCENT),
            error_percent: environment.read(&ALERT_ERROR_PERCENT),
            dead_letters: environment.read(&ALERT_DEAD_LETTERS),
        };
        let url = environment.read(&ALERT_WEBHOOK_URL)?;
        match url.parse() {
            Ok(webhook) => Some(Self { webhook, limits }),
            Err(error) => {
                environment.refuse(format!("ALERT_WEBHOOK_URL {error}"));
                None
            }
        }
    }
}

/// Beyond what something is told; 0 is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it is so before it is told.
    pub after: Duration,
    /// See [`Watched::Lag`].
    pub lag_seconds: u64,
    /// See [`Watched::Silent`].
    pub silent_seconds: u64,
    /// See [`Watched::Cpu`].
    pub cpu_percent: u64,
    /// See [`Watched::Memory`].
    pub memory_percent: u64,
    /// See [`Watched::Errors`].
    pub error_percent: u64,
    /// See [`Watched::DeadLetters`].
    pub dead_letters: u64,
}

/// What is watched, and whose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Seconds for which the oldest record that a subscription has not settled has waited.
    Lag {
        /// Whose.
        subscription: String,
        /// On which topic.
        topic: String,
    },
    /// Seconds for which a subscription has not been able to read a topic: what waits there it does not see, and no lag tells it.
    Silent {
        /// Whose.
        subscription: String,
        /// Which topic.
        topic: String,
    },
    /// Percent of the processors that the process may use.
    Cpu,
    /// Percent of the memory that the process may use.
    Memory,
    /// Percent of a subscription's events in [`window::SPAN`] that failed.
    Errors {
        /// Whose.
        subscription: &'static str,
    },
    /// Dead letters of a subscription in [`window::SPAN`].
    DeadLetters {
        /// Whose.
        subscription: &'static str,
    },
}

impl Watched {
    /// The closed set of names.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lag { .. } => "lag",
            Self::Silent { .. } => "silent",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Errors { .. } => "errors",
            Self::DeadLetters { .. } => "dead-letters",
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::Lag { .. } | Self::Silent { .. } => "seconds",
            Self::Cpu | Self::Memory | Self::Errors { .. } => "percent",
            Self::DeadLetters { .. } => "letters",
        }
    }

    fn of(&self) -> String {
        match self {
            Self::Lag { subscription, topic } | Self::Silent { subscription, topic } => {
                format!("{subscription} on {topic}")
            }
            Self::Cpu | Self::Memory => "the process".to_owned(),
            Self::Errors { subscription } | Self::DeadLetters { subscription } => (*subscription).to_owned(),
        }
    }
}

impl Limits {
    /// `None` where it is never told.
    fn of(&self, watched: &Watched) -> Option<f64> {
        let limit = match watched {
            Watched::Lag { .. } => self.lag_seconds,
            Watched::Silent { .. } => self.silent_seconds,
            Watched::Cpu => self.cpu_percent,
            Watched::Memory => self.memory_percent,
            Watched::Errors { .. } => self.error_percent,
            Watched::DeadLetters { .. } => self.dead_letters,
        };
        (limit > 0).then_some(limit as f64)
    }
}

/// What was read at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What.
    pub watched: Watched,
    /// In its unit.
    pub value: f64,
}

/// Whether something begins to be wrong, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// It is wrong.
    Firing,
    /// It is over.
    Resolved,
}

/// What is told, as it is posted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// A sentence for a person; chats show this one.
    pub text: String,
    /// Whether it begins or is over.
    pub status: AlertStatus,
    /// What is watched: `lag`, `silent`, `cpu`, `memory`, `errors`, `dead-letters`.
    pub alert: &'static str,
    /// Whose: a subscription, or `the process`.
    pub subject: String,
    /// The same for an alert and its end, and for no other one.
    pub key: String,
    /// What was read last.
    pub value: f64,
    /// What value and limit count in: `seconds`, `percent`, `letters`.
    pub unit: &'static str,
    /// Beyond what it is told.
    pub limit: f64,
    /// When it began, RFC 3339.
    pub since: String,
    /// When this was found, RFC 3339.
    pub at: String,
}

/// What is beyond its limit now, and whether that was told.
#[derive(Debug)]
pub struct Alerts {
    limits: Limits,
    beyond: BTreeMap<Watched, Beyond>,
}

#[derive(Debug)]
struct Beyond {
    since_ms: i64,
    is_told: bool,
    /// Since when it is within its limit again.
    within_since_ms: Option<i64>,
}

impl Alerts {
    /// Nothing is wrong yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, beyond: BTreeMap::new() }
    }

    /// What is to be told of these readings. What could not be read stays as it is.
    pub fn judge(&mut self, now_ms: i64, readings: &[Reading]) -> Vec<Alert> {
        let after_ms = self.limits.after.as_millis() as i64;
        let mut told = Vec::new();
        for reading in readings {
            let Some(limit) = self.limits.of(&reading.watched) else { continue };
            let told_of = |status, since_ms| Told { reading, limit, status, since_ms, now_ms }.alert();
            if reading.value > limit {
                let first = || Beyond { since_ms: now_ms, is_told: false, within_since_ms: None };
                let beyond = self.beyond.entry(reading.watched.clone()).or_insert_with(first);
                beyond.within_since_ms = None;
                if !beyond.is_told && now_ms - beyond.since_ms >= after_ms {
                    beyond.is_told = true;
                    told.push(told_of(AlertStatus::Firing, beyond.since_ms));
                }
            } else if let Some(beyond) = self.beyond.get_mut(&reading.watched) {
                let within_since_ms = *beyond.within_since_ms.get_or_insert(now_ms);
                let (is_told, since_ms) = (beyond.is_told, beyond.since_ms);
                if !is_told || now_ms - within_since_ms >= after_ms {
                    self.beyond.remove(&reading.watched);
                    if is_told {
                        told.push(told_of(AlertStatus::Resolved, since_ms));
                    }
                }
            }
        }
        told
    }
}

/// What an alert is made of.
struct Told<'a> {
    reading: &'a Reading,
    limit: f64,
    status: AlertStatus,
    since_ms: i64,
    now_ms: i64,
}

impl Told<'_> {
    fn alert(&self) -> Alert {
        let Self { reading: Reading { watched, value }, limit, status, since_ms, now_ms } = self;
        Alert {
            text: self.to_string(),
            status: *status,
            alert: watched.name(),
            subject: watched.of(),
            key: format!("lyceum/{}/{}", watched.name(), watched.of()),
            value: *value,
            unit: watched.unit(),
            limit: *limit,
            since: format_time(*since_ms),
            at: format_time(*now_ms),
        }
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reading: Reading { watched, value }, limit, status, since_ms, .. } = self;
        let is_over = *status == AlertStatus::Resolved;
        f.write_str(if is_over { "Over: " } else { "" })?;
        match watched {
            Watched::Lag { subscription, topic } => write!(f, "{subscription} is {value:.0} s behind {topic}"),
            Watched::Silent { subscription, topic } if is_over => {
                write!(f, "{subscription} reads {topic} again")
            }
            Watched::Silent { subscription, topic } => {
                write!(f, "{subscription} has not been able to read {topic} for {value:.0} s")
            }
            Watched::Cpu => write!(f, "the process uses {value:.0} % of its processors"),
            Watched::Memory => write!(f, "the process uses {value:.0} % of its memory"),
            Watched::Errors { subscription } => write!(f, "{value:.1} % of the events of {subscription} fail"),
            Watched::DeadLetters { subscription } => {
                write!(f, "{value:.0} events of {subscription} were dead-lettered in five minutes")
            }
        }?;
        let began = if is_over { "it began" } else { "since" };
        write!(f, " (limit {limit:.0}; {began} {})", format_time(*since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn limits() -> Limits {
        Limits {
            after: Duration::from_secs(60),
            lag_seconds: 30,
            silent_seconds: 60,
            cpu_percent: 80,
            memory_percent: 80,
            error_percent: 5,
            dead_letters: 0,
        }
    }

    fn lag(value: f64) -> Reading {
        let watched = Watched::Lag { subscription: "training".to_owned(), topic: "nlj.training.bookings".to_owned() };
        Reading { watched, value }
    }

    fn statuses(told: &[Alert]) -> Vec<AlertStatus> {
        told.iter().map(|alert| alert.status).collect()
    }

    #[test]
    fn what_is_beyond_its_limit_for_long_enough_is_told_once_and_its_end_once() {
        let mut alerts = Alerts::new(limits());
        let mut at = |minute: i64, value| statuses(&alerts.judge(minute * MINUTE_MS, &[lag(value)]));
        assert_eq!(at(0, 31.0), []);
        assert_eq!(at(1, 95.0), [AlertStatus::Firing]);
        assert_eq!(at(2, 300.0), []);
        assert_eq!(at(3, 0.0), [], "it must stay within its limit as long");
        assert_eq!(at(4, 0.0), [AlertStatus::Resolved]);
        assert_eq!(at(5, 0.0), []);
        assert_eq!([at(6, 40.0), at(7, 40.0)].concat(), [AlertStatus::Firing], "it is wrong once more");
    }

    #[test]
    fn what_goes_back_and_forth_is_told_once() {
        let mut alerts = Alerts::new(limits());
        let told: Vec<_> = (0..20)
            .flat_map(|minute| {
                let value = if minute > 1 && minute % 2 == 0 { 0.0 } else { 40.0 };
                alerts.judge(minute * MINUTE_MS, &[lag(value)])
            })
            .collect();
        assert_eq!(statuses(&told), [AlertStatus::Firing]);
    }

    #[test]
    fn a_moment_beyond_the_limit_is_not_told_and_neither_is_its_end() {
        let mut alerts = Alerts::new(limits());
        let mut at = |minute: i64, value| statuses(&alerts.judge(minute * MINUTE_MS, &[lag(value)]));
        assert_eq!([at(0, 31.0), at(1, 30.0), at(2, 31.0), at(3, 0.0), at(9, 0.0)].concat(), []);
    }

    #[test]
    fn what_could_not_be_read_is_neither_wrong_nor_over() {
        let mut alerts = Alerts::new(limits());
        alerts.judge(0, &[lag(31.0)]);
        assert_eq!(statuses(&alerts.judge(MINUTE_MS, &[lag(31.0)])), [AlertStatus::Firing]);
        assert_eq!(alerts.judge(9 * MINUTE_MS, &[]), []);
        assert_eq!(statuses(&alerts.judge(10 * MINUTE_MS, &[lag(31.0)])), [], "it was told before");
    }

    #[test]
    fn a_limit_of_nothing_is_never_told() {
        let mut alerts = Alerts::new(limits());
        let letters = Reading { watched: Watched::DeadLetters { subscription: "survey" }, value: 1e6 };
        assert_eq!(alerts.judge(0, std::slice::from_ref(&letters)), []);
        assert_eq!(alerts.judge(9 * MINUTE_MS, &[letters]), []);
    }

    #[test]
    fn an_alert_says_to_a_person_and_to_a_program_what_whose_how_much_and_since_when() {
        let mut alerts = Alerts::new(Limits { after: Duration::ZERO, ..limits() });
        let told = alerts.judge(1_772_703_000_000, &[lag(95.4)]).remove(0);
        let expected = serde_json::json!({
            "text": "training is 95 s behind nlj.training.bookings (limit 30; since 2026-03-05T09:30:00Z)",
            "status": "firing",
            "alert": "lag",
            "subject": "training on nlj.training.bookings",
            "key": "lyceum/lag/training on nlj.training.bookings",
            "value": 95.4,
            "unit": "seconds",
            "limit": 30.0,
            "since": "2026-03-05T09:30:00Z",
            "at": "2026-03-05T09:30:00Z",
        });
        assert_eq!(serde_json::to_value(&told).expect("it is JSON"), expected);
        let over = alerts.judge(1_772_703_120_000, &[lag(2.0)]).remove(0);
        assert_eq!((over.status, over.key == told.key), (AlertStatus::Resolved, true));
        let text = "Over: training is 2 s behind nlj.training.bookings (limit 30; it began 2026-03-05T09:30:00Z)";
        assert_eq!(over.text, text);
    }
}
