//! What only tests use: the contract of each port, which every one of its adapters passes, the analytics questions with their
//! answers, models of the ports in memory, a ledger around another one, clocks, and settings as an environment says them.

pub mod analytics;
pub mod clock;
pub mod decide;
pub mod environment;
pub mod event_log_contract;
pub mod generator_contract;
pub mod handing;
pub mod ledger_contract;
pub mod memory;
pub mod reindex_contract;
pub mod schemas_contract;
pub mod sink_contract;
pub mod statements_contract;
