//! The twins and the models hold the contracts of their ports.

mod event_log;
mod ledger;
mod opened_ledger;
mod scratch;
mod statements;
mod table;
