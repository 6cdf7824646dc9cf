//! Models in memory: for the simulation and for unit tests, never for a person's data.

pub mod event_log;
pub mod ledger;
pub mod schemas;
pub mod sinks;
pub mod statements;
