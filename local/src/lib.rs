//! Lyceum on one machine: everything in one process with embedded stores and nothing else installed.
//!
//! [`cli`] is the command line, [`runtime`] the stores, functions and event source mappings, [`http`] the API and
//! [`page`] what a person sees.

pub mod cli;
pub mod config;
pub mod data_folder;
pub mod dead_letters;
pub mod demo;
pub mod http;
pub mod ingest;
pub mod live;
pub mod page;
pub mod runtime;
