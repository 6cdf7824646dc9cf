//! The long-running container: any subscriptions of a deployment in one process, on stores that are services.
//!
//! What a function of AWS Lambda is handed by a mapping, a [`reader`] takes from Kafka itself and hands to the very same processing, as records and
//! without JSON between. Consumer groups, keys and documents are the functions' own, so that a topic moves from Lambda to the container and back.
//!
//! Pure are [`lanes`], what is processed next, and [`watermark`], what may be committed; [`source`] is where records come from.

pub mod config;
pub mod keys;
pub mod lanes;
pub mod process;
pub mod reader;
mod replays;
pub mod source;
pub mod status;
pub mod telling;
pub mod watermark;
pub mod work;
