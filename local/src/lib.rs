//! Envelopes, xAPI validation, exactly-once processing, ports and their adapters, analytics.
