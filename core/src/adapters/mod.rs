//! Who answers the ports: real services, their embedded twins, and models in memory for the simulation and unit tests.

pub mod around;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
pub mod embedded;
#[cfg(feature = "guarded")]
pub mod guarded;
pub mod kafka;
#[cfg(feature = "production")]
pub mod lazily;
pub mod measured;
pub mod memory;
#[cfg(feature = "production")]
pub mod production;
#[cfg(feature = "system-clock")]
pub mod system_clock;
