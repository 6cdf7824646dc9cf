//! The machine's own time.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;

use lyceum_core::clock::{Clock, ms_since_1970};

/// The machine's own time, and waiting by tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        ms_since_1970(SystemTime::now())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        // The low 32 bits of a random UUID are random, its version and variant stand elsewhere.
        f64::from(Uuid::new_v4().as_u128() as u32) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_within_its_bounds_and_moves() {
        let drawn: Vec<f64> = (0..100).map(|_| SystemClock.jitter()).collect();
        assert!(drawn.iter().all(|jitter| (0.0..1.0).contains(jitter)) && drawn[0] != drawn[1], "{drawn:?}");
    }
}
