//! The twins that need nothing installed: real stores with files on disk that survive `kill -9`.
pub mod dynamodb;
pub mod event_log;
pub mod statements;
