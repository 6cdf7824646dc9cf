//! What the capability tests share: the binary, a place to run it in, and events whose final state is known.

pub use lyceum_given::{academy, binary};

pub mod workplace;
