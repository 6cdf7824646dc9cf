//! The time and the waiting that the core asks for, so that tests and the simulation own both.

use std::time::Duration;

use async_trait::async_trait;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;

    /// Comes back after `duration`.
    async fn sleep(&self, duration: Duration);

    /// Comes back after `duration`, for whoever waits for something else meanwhile. Where a test's time passes by sleeping
    /// alone, this must not make it pass for work that goes on.
    async fn timeout(&self, duration: Duration) {
        self.sleep(duration).await;
    }

    /// A number in `[0, 1)` for jitter.
    fn jitter(&self) -> f64;
}
