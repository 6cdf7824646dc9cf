//! What the capability tests share: the binary, a place to run it in, and events whose final state is known.

pub use lyceum_given::{academy, binary};

pub mod aws;
pub mod memory;
pub mod workplace;

/// Runs it on a runtime of its own.
///
/// # Panics
/// Where no runtime can be had.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
