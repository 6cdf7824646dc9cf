//! The twins that need nothing installed: real stores with files on disk that survive `kill -9`, and such that are gone with their process ([`scratch`]).
pub mod dynamodb;
pub mod event_log;
pub mod scratch;
pub mod statements;
