//! The audit log: every record of every topic once, so that whoever changes, leaves out, adds or moves one of them is found out.
//!
//! There is a [log](entry::LogId) for each tenant, day (in UTC, by the record's timestamp), topic and partition. Its
//! [entries](entry::Entry) are numbered in the order of the partition, and over them stands a [Merkle tree](tree) as RFC 9162 has it:
//! its root says what all of them are, and some twenty hashes prove that one of them is there. Once a day a [seal](seal::Seal) names
//! the roots of a tenant's logs, and the seal before it. [`verify`](verify::Verifying) compares all of that with what is stored, and a
//! [proof] shows one entry to somebody who has no access to it.
//!
//! Pure; [`crate::process::AuditProcessor`] writes it.

pub mod entry;
pub mod hash;
pub mod proof;
pub mod seal;
pub mod tree;
pub mod verify;
