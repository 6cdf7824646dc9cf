#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod allocator;
mod batch;
mod codec;
mod config;
mod consumer;
mod context;
mod dedicated;
mod error;
mod flow;
mod hand;
mod member;
mod migrate;
mod native;
mod settled;
mod transaction;

pub use allocator::keep_fetched_memory;
pub use batch::{Batch, Delivered, Record, Records, SharedRecords};
pub use codec::{Json, JsonText, Raw, Serde, Utf8};
pub use config::{
    Assignor, ConsumerTier, FastConsumerConfig, FastConsumerConfigBuilder, OffsetReset, Setting, WakeUp, WrongConfig,
};
pub use consumer::{
    BatchStream, Consumer, ConsumerFactory, KafkaStreamConsumer, Message, MessageStream, Offsets, RawStream, Unreadable,
};
pub use context::{FastContext, Tokens};
pub use dedicated::{DedicatedConsumer, Lane};
pub use error::ConsumerError;
pub use flow::{Filter, Flow, Map, Mapped, Settle};
pub use hand::{Partition, Receipt};
pub use member::{Event, Member};
pub use migrate::IntoFastConsumer;
#[doc(hidden)]
pub use native::ceiling;
pub use rdkafka;
pub use settled::Settled;
pub use transaction::{InGroup, Transaction, TransactionError, Transactions};
