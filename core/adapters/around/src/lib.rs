//! What stands around any adapter: [`measured`](mod@measured), [`guarded`](mod@guarded) with time limit, bulkhead and circuit breaker,
//! [`lazily`](mod@lazily), which connects one by its first call, and [`last_write`](mod@last_write), by which a ping knows of a full
//! disk; [`beside`](mod@beside) stores in two indices while one is filled. Beside them the machine's own clock.

pub mod around;
pub mod beside;
pub mod guarded;
pub mod last_write;
pub mod lazily;
pub mod measured;
pub mod system_clock;
