//! What tests are given: events whose final state is known, and the programs under test.

pub mod academy;
pub mod binary;
