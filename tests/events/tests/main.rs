//! Every sample event, the promises of processing, what an event costs, and what the code must not become.

mod architecture;
mod audit;
mod avro;
mod cost;
mod documents;
mod lambda_batches;
mod modules;
mod plain_statements;
#[path = "processing/main.rs"]
mod processing;
mod rooms;
mod samples;
mod schemas;
mod toys;

/// Whoever writes docs/events.md anew writes a part of it, and reads the whole before.
static EVENTS_DOCUMENT: std::sync::Mutex<()> = std::sync::Mutex::new(());
