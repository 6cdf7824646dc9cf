#![doc = include_str!("../README.md")]

mod assignment;
mod config;
mod cursor;
mod delivery;
mod filter;
mod function;
mod mapping;
mod on_failure;
mod poller;
mod status;
mod supervision;

pub use config::{
    Destination, InvalidConfig, InvalidDestination, MappingConfig, PAYLOAD_LIMIT_BYTES, RETRY_LIMIT_WITH_DESTINATION,
    Redelivery, StartingPosition,
};
pub use filter::{Filter, FilterCriteria, FilterPattern, Filtering, InvalidFilter};
pub use function::{HttpFunction, Invoke, InvokeError};
pub use lyceum_core::retry::Backoff;
pub use mapping::EventSourceMapping;
pub use on_failure::Condition;
pub use status::{Counts, LastError, MappingState, MappingStatus, PartitionStatus};
