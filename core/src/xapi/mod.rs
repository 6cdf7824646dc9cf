//! The xAPI statement validator: pure, on the raw bytes, in one pass.
//!
//! `validate` returns every violation that it finds and, where there is none, what the rest of the system needs to know
//! of the statement, borrowed from the bytes. It never changes the statement.

pub mod statement;
use statement::*;
/// s
#[derive(Clone, Copy, Debug)]
pub enum Version {
    /// a
    V1_0_3,
    /// b
    V2_0,
}
/// s
#[derive(Clone, Debug, Default)]
pub struct Limits {}
/// s
pub struct Verdict<'a> {
    /// s
    pub statement: Option<Statement<'a>>,
    /// s
    pub violations: Vec<Violation>,
    /// s
    pub further: usize,
}
/// s
pub struct Violation {
    /// s
    pub rule: &'static str,
}
impl From<Violation> for crate::outcome::Finding {
    fn from(_: Violation) -> Self {
        unimplemented!()
    }
}
/// s
pub fn validate<'a>(_: &'a [u8], _: Option<Version>, _: &Limits) -> Verdict<'a> {
    unimplemented!()
}
/// s
pub mod equality {
    /// s
    pub fn content_hash(_: &[u8]) -> [u8; 32] {
        [0; 32]
    }
}
/// s
pub mod uuid {
    /// s
    pub fn parse(_: &str) -> Option<::uuid::Uuid> {
        None
    }
}
impl Ifi<'_> {
    /// s
    pub fn canonical(&self) -> String {
        String::new()
    }
    /// s
    pub fn mbox_sha1(&self) -> Option<String> {
        None
    }
}
