//! The Kafka batch that Lambda receives, and its answer.

pub mod brake;
pub mod event;
pub mod handler;
pub mod lag;
pub mod on_failure;
pub mod response;
