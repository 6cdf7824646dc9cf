//! What only tests use: the contract of each port, which every one of its adapters passes, and models of the ports in memory.

pub mod event_log_contract;
pub mod ledger_contract;
pub mod memory;
pub mod statements_contract;
