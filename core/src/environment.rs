//! What the environment says: read once, every wrong value reported together with its variable's name.
//!
//! A [`Variable`] is a constant of its concern: it gives the value's type, its parser and its bounds, and the row of the
//! documentation. Each concern has a [`Table`] of its own, and reads through one [`Reading`]; nothing here looks at the
//! process's environment by itself.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::dead_letter::DeadLetterFormat;
use crate::envelope::{self, EnvelopeConfig};
use crate::process::ProcessConfig;
use crate::retry::RetryPolicy;

/// One variable: how its text is read, what stands for it where it is not set, and what it means.
pub struct Variable<T: 'static> {
    name: &'static str,
    alias: Option<&'static str>,
    meaning: &'static str,
    form: Form<T>,
}

enum Form<T: 'static> {
    Whole {
        default: Option<u64>,
        least: u64,
        most: u64,
        unit: &'static str,
        value: fn(Option<u64>) -> T,
    },
    /// The first one is the default.
    Choice {
        choices: &'static [(&'static str, T)],
    },
    Text {
        default: &'static str,
        value: fn(Option<String>) -> T,
    },
}

/// A type of whole numbers.
pub trait Whole: TryFrom<u64> + 'static {
    /// Stands for what is larger; a variable's bounds keep within.
    const LARGEST: Self;
}

macro_rules! whole {
    ($($number:ty)*) => {
        $(impl Whole for $number {
            const LARGEST: Self = Self::MAX;
        })*
    };
}
whole!(u16 u32 u64 usize);

fn to_whole<T: Whole>(number: u64) -> T {
    T::try_from(number).unwrap_or(T::LARGEST)
}

/// A whole number within bounds.
pub const fn whole<T: Whole>(
    name: &'static str,
    default: u64,
    bounds: RangeInclusive<u64>,
    meaning: &'static str,
) -> Variable<T> {
    bounded(name, Some(default), bounds, "", meaning, |number| to_whole(number.unwrap_or_default()))
}

/// A whole number within bounds, or nothing.
pub const fn optional_whole<T: Whole>(
    name: &'static str,
    bounds: RangeInclusive<u64>,
    meaning: &'static str,
) -> Variable<Option<T>> {
    bounded(name, None, bounds, "", meaning, |number| number.map(to_whole))
}

/// A span of time, written in milliseconds.
pub const fn milliseconds(
    name: &'static str,
    default: u64,
    bounds: RangeInclusive<u64>,
    meaning: &'static str,
) -> Variable<Duration> {
    let value = |number: Option<u64>| Duration::from_millis(number.unwrap_or_default());
    bounded(name, Some(default), bounds, "in milliseconds, ", meaning, value)
}

/// A span of time, written in seconds.
pub const fn seconds(
    name: &'static str,
    default: u64,
    bounds: RangeInclusive<u64>,
    meaning: &'static str,
) -> Variable<Duration> {
    let value = |number: Option<u64>| Duration::from_secs(number.unwrap_or_default());
    bounded(name, Some(default), bounds, "in seconds, ", meaning, value)
}

const fn bounded<T: 'static>(
    name: &'static str,
    default: Option<u64>,
    bounds: RangeInclusive<u64>,
    unit: &'static str,
    meaning: &'static str,
    value: fn(Option<u64>) -> T,
) -> Variable<T> {
    let (least, most) = (*bounds.start(), *bounds.end());
    let is_within = match default {
        Some(default) => least <= default && default <= most,
        None => true,
    };
    assert!(is_within, "a default is within its variable's bounds");
    Variable { name, alias: None, meaning, form: Form::Whole { default, least, most, unit, value } }
}

/// One of a few words, each with what it stands for; the first one is the default.
pub const fn choice<T: 'static>(
    name: &'static str,
    choices: &'static [(&'static str, T)],
    meaning: &'static str,
) -> Variable<T> {
    assert!(!choices.is_empty(), "there is something to choose");
    Variable { name, alias: None, meaning, form: Form::Choice { choices } }
}

/// Any text, with a default.
pub const fn text(name: &'static str, default: &'static str, meaning: &'static str) -> Variable<String> {
    Variable { name, alias: None, meaning, form: Form::Text { default, value: Option::unwrap_or_default } }
}

/// Any text, or nothing.
pub const fn optional(name: &'static str, meaning: &'static str) -> Variable<Option<String>> {
    Variable { name, alias: None, meaning, form: Form::Text { default: "", value: |text| text } }
}

impl<T: 'static> Variable<T> {
    /// The same, also read under this name where its own is not set.
    #[must_use]
    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A row of the documentation's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The variable.
    pub name: &'static str,
    /// What stands for it where it is not set; empty: nothing.
    pub default: String,
    /// What it means, with its bounds or choices and its alias.
    pub meaning: String,
}

/// Whatever type its value has, a variable has a row.
pub trait Documented: Sync {
    /// The row.
    fn row(&self) -> Row;
}

/// The variables of one concern. The table of docs/operations.md is tested against all of them.
pub type Table = &'static [&'static dyn Documented];

impl<T: Sync + 'static> Documented for Variable<T> {
    fn row(&self) -> Row {
        let mut meaning = self.meaning.to_owned();
        let default = match &self.form {
            Form::Whole { default, least, most, unit, .. } => {
                meaning.push_str(&format!(" ({unit}{least} to {most})"));
                default.map(|default| default.to_string()).unwrap_or_default()
            }
            Form::Choice { choices } => {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
                meaning.push_str(&format!(" ({})", words.join(", ")));
                choices.first().map(|(word, _)| (*word).to_owned()).unwrap_or_default()
            }
            Form::Text { default, .. } => (*default).to_owned(),
        };
        if let Some(alias) = self.alias {
            meaning.push_str(&format!("; alias `{alias}`"));
        }
        Row { name: self.name, default, meaning }
    }
}

/// Every wrong value.
#[derive(Debug, thiserror::Error)]
#[error("the environment has wrong values:{}", .0.iter().map(|wrong| format!("\n  {wrong}")).collect::<String>())]
pub struct WrongEnvironment(pub Vec<String>);

const DEAD_LETTER_FORMAT: Variable<DeadLetterFormat> = choice(
    "DEAD_LETTER_FORMAT",
    &[("headers", DeadLetterFormat::Headers), ("envelope", DeadLetterFormat::Envelope)],
    "where a dead letter has its context: in headers beside the original value, or around it as JSON, for readers that know no headers",
);
const DEFAULT_TENANT: Variable<String> = text("DEFAULT_TENANT", "default", "the tenant of an event that names none");
const LEARNER_HOME_PAGE: Variable<String> = text(
    "LEARNER_HOME_PAGE",
    envelope::LEARNER_HOME_PAGE,
    "the home page of a learner who is named by an account's name only",
);
const MAX_HOPS: Variable<u32> = whole(
    "MAX_HOPS",
    16,
    1..=1_000,
    "so many events may follow one from another; the next one becomes a dead letter, so that a circle of reactions ends",
);
const RETRY_ATTEMPTS: Variable<u32> = whole("RETRY_ATTEMPTS", 3, 0..=20, "attempts after the first one, in place");
const RETRY_BASE: Variable<Duration> =
    milliseconds("RETRY_BASE_MS", 1000, 1..=60_000, "the wait before the first of them; each further one doubles");

/// How events are processed.
pub const PROCESS_VARIABLES: Table =
    &[&DEAD_LETTER_FORMAT, &DEFAULT_TENANT, &LEARNER_HOME_PAGE, &MAX_HOPS, &RETRY_ATTEMPTS, &RETRY_BASE];

/// `METRICS_NAMESPACE`
pub const METRICS_NAMESPACE: Variable<String> =
    text("METRICS_NAMESPACE", "Lyceum", "of a function: the CloudWatch namespace of its metrics");

const LOG_BUFFER_BYTES: Variable<usize> = whole(
    "LOG_BUFFER_BYTES",
    0,
    0..=1_000_000,
    "of a function: so much of an invocation's own lines of level DEBUG is kept, and written where it fails",
);
const LOG_SAMPLE_RATE: Variable<String> = text(
    "LOG_SAMPLE_RATE",
    "0",
    "of a function: the part of its invocations, from 0 to 1, whose own lines of level DEBUG are written whatever `LOG_LEVEL` is",
);

/// What a function on AWS Lambda reads beside.
pub const FUNCTION_VARIABLES: Table = &[&LOG_BUFFER_BYTES, &LOG_SAMPLE_RATE, &METRICS_NAMESPACE];

/// What the invocations of a function do with lines below its level.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunctionLog {
    /// `LOG_SAMPLE_RATE`: the part of invocations, from 0 to 1, whose lines are written.
    pub sample_rate: f64,
    /// `LOG_BUFFER_BYTES`: so much is kept of an invocation that may fail.
    pub buffer_bytes: usize,
}

impl FunctionLog {
    /// Reads the variables of that name.
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let text = reading.read(&LOG_SAMPLE_RATE);
        let sample_rate = text.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate));
        if sample_rate.is_none() {
            reading.refuse(format!("LOG_SAMPLE_RATE is {text:?}, and must be a number from 0 to 1"));
        }
        Self { sample_rate: sample_rate.unwrap_or_default(), buffer_bytes: reading.read(&LOG_BUFFER_BYTES) }
    }
}

const LOG_FORMAT: Variable<bool> = choice(
    "LOG_FORMAT",
    &[("text", false), ("json", true)],
    "how a line is written; where it is not set, as AWS Lambda says in `AWS_LAMBDA_LOG_FORMAT`",
);
const LOG_LEVEL: Variable<String> = text(
    "LOG_LEVEL",
    "warn",
    "`error`, `warn`, `info`, `debug`, `trace`; where it is not set, what AWS Lambda says in `AWS_LAMBDA_LOG_LEVEL`",
)
.alias("FASTSTREAM_LOG_LEVEL");
/// Of the older consumer.
const DEBUG: Variable<bool> =
    choice("DEBUG", &[("false", false), ("true", true)], "where `LOG_LEVEL` is not set, whether it is `debug`");

/// What a process writes of itself.
pub const LOG_VARIABLES: Table = &[&DEBUG, &LOG_FORMAT, &LOG_LEVEL];

/// Reads variables and collects what is wrong with them.
pub struct Reading<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

impl<'a> Reading<'a> {
    /// Reads any environment; `variable` gives the value of a name.
    pub fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variable, wrong: Vec::new() }
    }

    /// The value of a name that is another program's, where it is set and not empty.
    pub fn foreign(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Whether it is set and not empty, under its name or its alias.
    pub fn is_given<T: 'static>(&self, variable: &Variable<T>) -> bool {
        self.given(variable).is_some()
    }

    fn given<T: 'static>(&self, variable: &Variable<T>) -> Option<String> {
        self.foreign(variable.name).or_else(|| variable.alias.and_then(|alias| self.foreign(alias)))
    }

    /// The value, or its default; a wrong one is noted, and the default stands for it.
    pub fn read<T: Clone + 'static>(&mut self, variable: &Variable<T>) -> T {
        let (name, given) = (variable.name, self.given(variable));
        match &variable.form {
            Form::Whole { default, least, most, value, .. } => {
                let Some(text) = given else { return value(*default) };
                match text.parse::<u64>() {
                    Ok(number) if (*least..=*most).contains(&number) => value(Some(number)),
                    _ => {
                        let or_empty = if default.is_none() { ", or empty" } else { "" };
                        self.refuse(format!(
                            "{name} is {text:?}, and must be a whole number from {least} to {most}{or_empty}"
                        ));
                        value(*default)
                    }
                }
            }
            Form::Choice { choices } => {
                let chosen = given.as_ref().map(|text| choices.iter().find(|(word, _)| word == text));
                if let (Some(None), Some(text)) = (chosen, &given) {
                    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                    self.refuse(format!("{name} is {text:?}, and must be one of {}", words.join(", ")));
                }
                chosen.flatten().unwrap_or(&choices[0]).1.clone()
            }
            Form::Text { default, value } => {
                let default = || (!default.is_empty()).then(|| (*default).to_owned());
                value(given.or_else(default))
            }
        }
    }

    /// Words, separated by spaces or commas, each parsed; what is wrong is reported by its place, never by its text, so that
    /// a list of secrets stays one.
    pub fn list<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        variable: &Variable<Option<String>>,
        what: &str,
    ) -> Vec<T> {
        let text = self.read(variable).unwrap_or_default();
        let mut parsed = Vec::new();
        for (number, word) in text.split([' ', ',']).filter(|word| !word.is_empty()).enumerate() {
            match word.parse() {
                Ok(value) => parsed.push(value),
                Err(why) => self.wrong.push(format!("{}, {what} {}: {why}", variable.name, number + 1)),
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
    let default_tenant = reading.read(&DEFAULT_TENANT).into();
    let learner_home_page = reading.read(&LEARNER_HOME_PAGE).into();
    ProcessConfig {
        envelope: EnvelopeConfig {
            default_tenant,
            learner_home_page,
            hops: reading.read(&MAX_HOPS),
            ..EnvelopeConfig::default()
        },
        retry: RetryPolicy {
            attempts: reading.read(&RETRY_ATTEMPTS),
            base: reading.read(&RETRY_BASE),
            ..RetryPolicy::default()
        },
        dead_letter_format: reading.read(&DEAD_LETTER_FORMAT),
        ..ProcessConfig::default()
    }
}

/// How a process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `LOG_LEVEL`: a level, or a filter of the tracing crates.
    pub level: String,
    /// Whether somebody set `LOG_LEVEL`.
    pub level_is_given: bool,
    /// `LOG_FORMAT`: whether a line is JSON.
    pub is_json: bool,
}

impl LogConfig {
    /// Reads [`LOG_VARIABLES`].
    pub fn read(reading: &mut Reading<'_>) -> Self {
        let is_debug = reading.read(&DEBUG);
        // Lambda's own, by its words: TRACE to FATAL, JSON and Text.
        let level = match reading.foreign("AWS_LAMBDA_LOG_LEVEL").map(|level| level.to_lowercase()) {
            _ if reading.is_given(&LOG_LEVEL) => None,
            _ if is_debug => Some("debug".to_owned()),
            level => level.map(|level| level.replace("fatal", "error")),
        };
        let is_json = match reading.foreign("AWS_LAMBDA_LOG_FORMAT") {
            Some(format) if !reading.is_given(&LOG_FORMAT) => format.eq_ignore_ascii_case("json"),
            _ => reading.read(&LOG_FORMAT),
        };
        Self {
            level_is_given: level.is_some() || reading.is_given(&LOG_LEVEL),
            level: level.unwrap_or_else(|| reading.read(&LOG_LEVEL)),
            is_json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: Variable<u32> = whole("SHARDS", 3, 1..=9, "pieces").alias("PIECES");
    const COPIES: Variable<Option<u16>> = optional_whole("COPIES", 1..=100, "copies");
    const WAIT: Variable<Duration> = milliseconds("WAIT_MS", 50, 0..=100, "how long");
    const COLOUR: Variable<char> = choice("COLOUR", &[("red", 'r'), ("blue", 'b')], "which");
    const PLACE: Variable<String> = text("PLACE", "here", "where");
    const WORD: Variable<Option<String>> = optional("WORD", "which word");

    fn read<T>(variables: &[(&str, &str)], read: impl FnOnce(&mut Reading<'_>) -> T) -> Result<T, WrongEnvironment> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reading = Reading::new(&variable);
        let value = read(&mut reading);
        reading.finish(value)
    }

    #[test]
    fn what_is_not_set_or_empty_has_its_default() {
        for set in [&[][..], &[("SHARDS", " "), ("COPIES", ""), ("WAIT_MS", ""), ("COLOUR", ""), ("WORD", "  ")]] {
            let values = read(set, |of| (of.read(&SHARDS), of.read(&COPIES), of.read(&WAIT), of.read(&COLOUR)));
            assert_eq!(values.unwrap(), (3, None, Duration::from_millis(50), 'r'));
            assert_eq!(read(set, |of| (of.read(&PLACE), of.read(&WORD))).unwrap(), ("here".to_owned(), None));
        }
    }

    #[test]
    fn bounds_belong_to_what_is_allowed() {
        for (number, is_allowed) in [("0", false), ("1", true), ("9", true), ("10", false), ("-1", false), ("x", false)]
        {
            let shards = read(&[("SHARDS", number)], |of| of.read(&SHARDS));
            assert_eq!(shards.is_ok(), is_allowed, "{number}");
            if let Err(wrong) = shards {
                assert!(wrong.to_string().contains("SHARDS") && wrong.to_string().contains("1 to 9"), "{wrong}");
            }
        }
    }

    #[test]
    fn every_wrong_value_is_told_at_once() {
        let set = [("SHARDS", "0"), ("COPIES", "101"), ("WAIT_MS", "soon"), ("COLOUR", "green")];
        let wrong = read(&set, |of| {
            of.read(&SHARDS);
            of.read(&COPIES);
            of.read(&WAIT);
            of.read(&COLOUR);
        });
        let wrong = wrong.unwrap_err().to_string();
        for part in ["SHARDS", "COPIES", "or empty", "WAIT_MS", "COLOUR", "red, blue"] {
            assert!(wrong.contains(part), "{part}: {wrong}");
        }
    }

    #[test]
    fn an_alias_stands_in_for_a_name_that_is_not_set_and_never_beats_it() {
        let shards = |set: &[(&str, &str)]| read(set, |of| of.read(&SHARDS)).unwrap();
        assert_eq!(shards(&[("PIECES", "5")]), 5);
        assert_eq!(shards(&[("PIECES", "5"), ("SHARDS", "7")]), 7);
        assert_eq!(shards(&[("PIECES", "5"), ("SHARDS", "")]), 5);
    }

    #[test]
    fn lambdas_own_level_and_format_hold_where_ours_are_not_set() {
        let log = |set: &[(&str, &str)]| {
            let LogConfig { level, level_is_given, is_json } = read(set, LogConfig::read).unwrap();
            (level, level_is_given, is_json)
        };
        let of_lambda = [("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("AWS_LAMBDA_LOG_FORMAT", "JSON")];
        assert_eq!(log(&[]), ("warn".to_owned(), false, false));
        assert_eq!(log(&of_lambda), ("debug".to_owned(), true, true));
        assert_eq!(log(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL"), ("AWS_LAMBDA_LOG_FORMAT", "Text")]).0, "error");
        assert_eq!(log(&[of_lambda[0], ("DEBUG", "true")]).0, "debug");
        assert_eq!(log(&[("DEBUG", "true"), ("FASTSTREAM_LOG_LEVEL", "error")]).0, "error");
        let ours = [("LOG_LEVEL", "info"), ("LOG_FORMAT", "text")];
        assert_eq!(log(&[&of_lambda[..], &ours].concat()), ("info".to_owned(), true, false));
    }

    #[test]
    fn a_sample_rate_is_a_part_of_all() {
        for (rate, expected) in
            [("", Some(0.0)), ("0.05", Some(0.05)), ("1", Some(1.0)), ("1.5", None), ("a few", None)]
        {
            let found = read(&[("LOG_SAMPLE_RATE", rate)], FunctionLog::read);
            assert_eq!(found.as_ref().ok().map(|of| of.sample_rate), expected, "{rate}");
            assert!(found.is_ok() || found.unwrap_err().to_string().contains("LOG_SAMPLE_RATE"));
        }
    }

    #[test]
    fn a_row_tells_default_bounds_choices_and_alias() {
        let rows = [SHARDS.row(), COPIES.row(), WAIT.row(), COLOUR.row(), WORD.row()];
        let rows = rows.map(|row| (row.name, row.default, row.meaning));
        let row = |name, default: &str, meaning: &str| (name, default.to_owned(), meaning.to_owned());
        assert_eq!(
            rows,
            [
                row("SHARDS", "3", "pieces (1 to 9); alias `PIECES`"),
                row("COPIES", "", "copies (1 to 100)"),
                row("WAIT_MS", "50", "how long (in milliseconds, 0 to 100)"),
                row("COLOUR", "red", "which (`red`, `blue`)"),
                row("WORD", "", "which word"),
            ]
        );
    }
}
