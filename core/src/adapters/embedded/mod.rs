//! The twins that need nothing installed: real stores with files on disk that survive `kill -9`.

#[cfg(feature = "embedded-dynamodb")]
pub mod dynamodb;
#[cfg(feature = "embedded-event-log")]
pub mod event_log;
#[cfg(feature = "embedded-statements")]
pub mod statements;
