//! A time limit, a bulkhead and a circuit breaker around each dependency.
