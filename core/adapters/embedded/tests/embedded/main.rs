//! The twins and the models hold the contracts of their ports.

mod event_log;
mod ledger;
mod opened_ledger;
mod statements;
mod table;
