//! AWS Lambda's Kafka event source mapping, for a laptop and for tests.
