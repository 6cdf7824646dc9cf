//! What stands around any adapter: [`measured`](mod@measured), [`guarded`](mod@guarded) with time limit, bulkhead and circuit breaker, and
//! [`lazily`](mod@lazily), which connects one by its first call. Beside them the machine's own clock.

pub mod around;
pub mod guarded;
pub mod lazily;
pub mod measured;
pub mod system_clock;
