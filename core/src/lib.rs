//! Lyceum's core: what proves an event valid, applies its effect exactly once and stores it.
//!
//! Start reading at [`process`] (one record → one [`outcome::Outcome`]); what a family of events has to say for itself is
//! in [`family`]; what the core asks of the world is in [`ports`]. Who answers lies beside it, a crate each, in `core/adapters/`.

pub mod analytics;
pub mod audit;
pub mod capacity;
pub mod catalog;
pub mod clock;
pub mod dead_letter;
pub mod effects;
pub mod envelope;
pub mod environment;
pub mod family;
pub mod follow_up;
pub mod formats;
pub mod generations;
pub mod metrics;
pub mod outcome;
pub mod payload;
pub mod ports;
pub mod process;
pub mod reconcile;
pub mod record;
pub mod replay;
pub mod retry;
pub mod states;
pub mod subscription;
pub mod trace;
