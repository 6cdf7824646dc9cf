//! Real services on one machine, for development and tests: as processes from Maven Central and PyPI, as containers, or
//! as endpoints that the environment names. A test binary says by a [`Suite`] what its tests need; [`private`] gives a
//! test an instance of its own to break. The command `lyceum-services` is a front to the same.
//!
//! Who owns what: a *keeper* per service owns it, and those who need it hold a lock. The kernel frees the locks of whatever is
//! killed, and kills a service with its keeper, so that a `kill -9` of any of them leaves nothing behind.

mod cache;
mod certificates;
mod choice;
mod cli;
mod client;
mod container;
mod endpoints;
mod folder;
mod java;
mod kafka;
mod keeper;
mod launch;
mod maven;
pub mod pinned;
mod post;
mod prepare;
mod process;
mod program;
mod ready;
mod search;
mod suite;
mod unavailable;

pub use cli::main;
pub use client::{PrivateService, private};
pub use endpoints::{Endpoints, KafkaEndpoint, Service};
pub use kafka::change_password;
pub use suite::Suite;
