//! The xAPI statement validator: pure, on the raw bytes, in one pass.
//!
//! [`validate`] returns every violation that it finds and, where there is none, what the rest of the system needs to know
//! of the statement, borrowed from the bytes. It never changes the statement.
//!
//! What it asks for is in [`RULES`], each with its source. A part of a statement has a file: `judge` the whole, `actor`,
//! `verb`, `object`, `activity`, `result`, `context`, `attachment`; so has a format: `iri`, `timestamp`, `duration`,
//! `language_tag`, `uuid`. They share `validator`, which walks the text with the reader of `json`. What a timestamp means
//! is in `utc_time`, for everybody who reads or writes a time.
//!
//! One defect is one violation: what a rejected value would have had to say is not missed, and its inside is not judged
//! but for keys that it has twice. A text that is no JSON, or goes beyond a limit, is reported as that alone.

mod activity;
mod actor;
mod attachment;
mod context;
mod duration;
pub mod equality;
mod extensions;
mod iri;
mod json;
mod judge;
mod keys;
mod language_map;
mod language_tag;
mod limits;
mod object;
mod path;
mod result;
mod rules;
pub mod statement;
mod timestamp;
pub mod utc_time;
pub mod uuid;
mod validator;
mod verb;
mod verdict;
mod version;

pub use limits::Limits;
pub use rules::{RULES, Rule};
pub use statement::Statement;
pub use verb::VOIDED;
pub use verdict::{Verdict, Violation};
pub use version::Version;

use json::{Fault, Kind, Read};
use path::Path;
use validator::Validator;

/// Judges one statement by the version asked for, else by the one that it states, else by 1.0.3.
pub fn validate<'a>(bytes: &'a [u8], mode: Option<Version>, limits: &Limits) -> Verdict<'a> {
    let refuse = |rule: &Rule, message: String| Verdict {
        statement: None,
        violations: vec![Violation { rule: rule.id, pointer: String::new(), message, requirement: rule.requirement }],
        further: 0,
        version: mode.unwrap_or_default(),
    };
    if bytes.len() > limits.bytes {
        let message =
            format!("The statement has {} bytes, the limit is {}: make it smaller.", bytes.len(), limits.bytes);
        return refuse(&rules::LIMIT_BYTES, message);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("The text is not UTF-8 at byte {}: encode it as UTF-8.", error.valid_up_to());
            return refuse(&rules::JSON_UTF8, message);
        }
    };
    let mut validator = Validator::new(text, mode, limits);
    let mut verdict = Verdict {
        statement: Some(Statement::default()),
        violations: Vec::new(),
        further: 0,
        version: Version::default(),
    };
    match read_statement(&mut validator, &mut verdict.statement) {
        Ok(()) => {
            if !validator.violations.is_empty() || validator.further > 0 {
                verdict.statement = None;
            }
            verdict.violations = validator.violations;
            verdict.further = validator.further;
            verdict.version = validator.version;
            verdict
        }
        Err(fault) => match *fault {
            Fault::OtherVersion => validate(bytes, Some(Version::V2_0), limits),
            Fault::Syntax { at, expected } => {
                refuse(&rules::JSON_SYNTAX, format!("This is no JSON: at byte {at} it lacks {expected}."))
            }
            Fault::Depth { at } => {
                let message =
                    format!("At byte {at} objects and arrays nest deeper than the limit of {}.", limits.depth);
                refuse(&rules::LIMIT_DEPTH, message)
            }
            Fault::String { at } => {
                let message =
                    format!("The string at byte {at} is longer than the limit of {} bytes.", limits.string_bytes);
                refuse(&rules::LIMIT_STRING, message)
            }
        },
    }
}

/// Reads into a statement that is there, since moving one about costs more than reading a part of it.
fn read_statement<'a>(validator: &mut Validator<'a>, statement: &mut Option<Statement<'a>>) -> Read<()> {
    let found = validator.reader.peek()?;
    // XAPI-00014.
    if found == Kind::Object {
        validator.statement(false, statement.get_or_insert_default(), &Path::Root)?;
    } else {
        let message = format!("This is {}, but a statement is an object: send one statement at a time.", found.name());
        validator.report(&rules::STATEMENT_OBJECT, &Path::Root, message);
        validator.free_value(&Path::Root)?;
    }
    validator.reader.end()
}
