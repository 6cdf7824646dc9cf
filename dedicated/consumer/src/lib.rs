#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod batch;
mod config;
mod context;
mod dedicated;
mod error;
mod hand;
mod member;
mod native;
mod settled;

pub use batch::{Batch, Delivered, Record, Records, SharedRecords};
pub use config::{
    Assignor, ConsumerTier, FastConsumerConfig, FastConsumerConfigBuilder, OffsetReset, Setting, WakeUp, WrongConfig,
};
pub use context::Tokens;
pub use dedicated::{DedicatedConsumer, Lane};
pub use error::ConsumerError;
pub use hand::{Partition, Receipt};
pub use member::{Event, Member};
pub use rdkafka;
pub use settled::Settled;
