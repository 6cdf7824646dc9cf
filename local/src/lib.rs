//! Envelopes, xAPI validation, exactly-once processing, ports and their adapters, analytics.

pub mod http;
pub mod live;
pub mod page;
