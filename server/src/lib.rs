//! What any long-running process of Lyceum has: its settings, its stores that are services, the HTTP API and the page, the live
//! figures, and the dead letters.
//!
//! Start reading at [`http`], whose table of routes names every resource. Nothing here is embedded, and nothing polls: who
//! runs the process brings its consumers and the stores that are no services.

pub mod access;
pub mod alerts;
pub mod audit;
pub mod config;
pub mod connect;
pub mod consumers;
pub mod dead_letters;
pub mod ending;
pub mod http;
pub mod live;
mod near;
pub mod page;
pub mod problem;
pub mod questions;
pub mod rebuild;
pub mod reconcile;
pub mod replay;
pub mod search;
pub mod security;
pub mod segment;
mod shares;
mod single_flight;
pub mod topics;
pub mod usage;
pub mod work;
