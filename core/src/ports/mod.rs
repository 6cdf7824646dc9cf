//! What the core asks of the world: a trait each. Its contract, which every adapter and its twin passes, is in `core/testing`.

pub mod call;
pub mod event_log;
pub mod generator;
pub mod ledger;
pub mod schemas;
pub mod statements;

/// Whether a call that may have been executed matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It may have changed something although its answer was lost.
    Write,
}
