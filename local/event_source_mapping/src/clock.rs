//! The machine's own time.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use lyceum_core::clock::Clock;

/// The machine's own time: the clock of a mapping that is given no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        rand::random()
    }
}
