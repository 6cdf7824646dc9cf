//! What the capability tests share: the binary, a place to run it in, and events whose final state is known.

pub mod academy;
pub mod binary;
pub mod workplace;
