//! What the mapping promises, one file a promise, against an event log in memory and on virtual time.

mod batching;
mod failures;
mod filtering;
mod guarantees;
mod http;
mod lifecycle;
mod positions;
mod sharing;
mod support;
