//! What the validator says of a statement.

use serde::Serialize;

use super::{statement::Statement, version::Version};

/// The judgement of one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict<'a> {
    /// What the statement says; `Some` if, and only if, there is no violation.
    pub statement: Option<Statement<'a>>,
    /// What is wrong, in the order in which it was found.
    pub violations: Vec<Violation>,
    /// How many violations more there are than the limit allows to tell.
    pub further: usize,
    /// The version by which it was judged.
    pub version: Version,
}

impl Verdict<'_> {
    /// Whether no rule is broken.
    pub fn is_valid(&self) -> bool {
        self.statement.is_some()
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The rule's id, one of [`RULES`](super::RULES).
    pub rule: &'static str,
    /// JSON pointer (RFC 6901) of the offending value, or of the object that lacks one; empty for the whole.
    pub pointer: String,
    /// A sentence that a person can act on.
    pub message: String,
    /// Where the rule comes from.
    pub requirement: &'static str,
}
