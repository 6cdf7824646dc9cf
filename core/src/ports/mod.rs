//! What the core asks of the world: a trait each, and beside it the contract that every adapter and its twin passes.

pub mod event_log;
pub mod ledger;
pub mod statements;
