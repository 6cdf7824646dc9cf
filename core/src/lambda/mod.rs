//! The Kafka batch that Lambda receives, and its answer.
