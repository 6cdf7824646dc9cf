//! Time that moves only when a step moves it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::clock::Clock;

use crate::stage::Stage;

/// The clock of one run: sleeping lets the others go on, and the time passes.
pub(crate) struct SimulatedClock(pub(crate) Arc<Stage>);

#[async_trait]
impl Clock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    async fn sleep(&self, duration: Duration) {
        crate::executor::pause().await;
        self.0.advance(duration);
    }

    /// Others make the time pass; work that is not done by then is given up.
    async fn timeout(&self, duration: Duration) {
        let end_ms = self.0.now_ms() + i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        while self.0.now_ms() < end_ms {
            crate::executor::pause().await;
        }
    }

    fn jitter(&self) -> f64 {
        self.0.draw(|random| random.fraction())
    }
}
