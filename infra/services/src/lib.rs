//! Real services on one machine, for development and tests: as processes from Maven Central and PyPI, as containers, or
//! as endpoints that the environment names. A test binary says by a [`Suite`] what its tests need; [`private`] gives a
//! test an instance of its own to break. The command `lyceum-services` is a front to the same.
//!
//! Who owns what: a *keeper* per folder owns a *guard* per service, and a guard owns the service. Each notices the end of
//! its owner by a connection or pipe that the kernel closes, so that a `kill -9` of any of them leaves nothing behind.

mod certificates;
mod choice;
mod cli;
mod client;
mod container;
mod download;
mod endpoints;
mod folder;
mod guard;
mod java;
mod keeper;
mod launch;
pub mod pinned;
mod private;
mod program;
mod ready;
mod suite;

pub use choice::{Mode, Unavailable};
pub use cli::main;
pub use client::{Lease, lease};
pub use endpoints::{Endpoints, KafkaEndpoint, Service};
pub use folder::Folder;
pub use guard::RunsAs;
pub use private::{PrivateService, private, private_kafka_behind};
pub use program::take_over;
pub use suite::Suite;
