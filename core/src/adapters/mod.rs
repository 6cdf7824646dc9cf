//! Who answers the ports: real services, their embedded twins, and models in memory for the simulation and unit tests.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub mod embedded;
pub mod measured;
pub mod memory;
