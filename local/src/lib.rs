//! Lyceum on one machine: everything in one process with embedded stores and nothing else installed.
//!
//! [`cli`] is the command line, [`runtime`] the stores, functions and event source mappings, [`doctor`] what is wrong with a deployment; HTTP API, page and dead letters
//! are those of any long-running process, [`lyceum_server`].

pub mod check;
pub mod cli;
pub mod config;
pub mod data_folder;
pub mod demo;
pub mod doctor;
pub mod documents;
pub mod functions;
pub mod ingest;
pub mod routing;
pub mod runtime;
pub mod shadow;
