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

    fn jitter(&self) -> f64 {
        self.0.draw(|random| random.fraction())
    }
}
