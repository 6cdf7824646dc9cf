//! Every sample event, the promises of processing, what an event costs, and what the code must not become.

mod architecture;
mod audit;
mod avro;
mod cost;
mod event_fields;
mod lambda_batches;
mod modules;
mod plain_statements;
#[path = "processing/main.rs"]
mod processing;
mod rooms;
mod samples;
mod toys;
