//! What is checked, and how a violation is reported.

use std::fmt;

/// A sentence of the protocol that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Nothing escapes that no committed key records.
    Escaped,
    /// The offset passes settled records only.
    Offset,
    /// One id is one letter.
    LetterId,
    /// Every decision is recorded and published at the end, every record settled.
    Settled,
    /// No event is applied twice.
    AppliedTwice,
    /// An event is applied to all of its aggregates.
    AppliedInPart,
    /// Order holds within a partition and key.
    Order,
    /// Every decision saw exactly the events applied before it.
    Basis,
    /// The state is what the applied events make.
    Value,
    /// Applied and dead-lettered exclude each other within an epoch.
    AppliedAndDead,
    /// States, documents and letters are those of the fold.
    Fold,
    /// Another schedule of the same log ends in the same.
    Interleaving,
    /// No two workers ask a port about one event while each holds its lease.
    AskedAtOnce,
    /// It comes to rest.
    Rest,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.detail)
    }
}

/// A failed check.
pub(crate) fn fail<T>(check: Check, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { check, detail: detail.into() })
}
