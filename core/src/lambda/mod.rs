//! The Kafka batch that Lambda receives, and its answer.

pub mod event;
pub mod handler;
pub mod response;
