//! Real services on one machine, for development and tests.

mod endpoints;
mod suite;

pub use endpoints::{Endpoints, KafkaEndpoint, Service};
pub use suite::Suite;
