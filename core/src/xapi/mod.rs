//! The xAPI statement validator: pure, on the raw bytes, in one pass.
//!
//! `validate` returns every violation that it finds and, where there is none, what the rest of the system needs to know
//! of the statement, borrowed from the bytes. It never changes the statement.

pub mod statement;
