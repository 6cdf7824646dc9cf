//! How much the validator is willing to read.

/// Limits on one statement. Beyond the first three reading stops, and the limit is the one violation reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the statement in bytes.
    pub bytes: usize,
    /// Objects and arrays within each other; never more than [`Limits::MAX_DEPTH`], whatever is asked for.
    pub depth: usize,
    /// Length of any one string or key in bytes, as it is written.
    pub string_bytes: usize,
    /// Violations reported; further ones are only counted.
    pub violations: usize,
}

impl Limits {
    /// Reading takes call stack in proportion to the depth, so it has a bound of its own.
    pub const MAX_DEPTH: usize = 512;
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 20, depth: 64, string_bytes: 256 << 10, violations: 100 }
    }
}
