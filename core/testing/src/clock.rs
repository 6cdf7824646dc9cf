//! Clocks for tests: [`ManualClock`], whose time passes while someone sleeps, and [`TokioClock`] on the time of a paused runtime.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::clock::Clock;
use tokio::time::Instant;

/// Waits for nothing: who sleeps moves it on by so much.
pub struct ManualClock {
    now_ms: AtomicI64,
    step_ms: i64,
    slept: Mutex<Vec<Duration>>,
}

impl ManualClock {
    /// It begins at that time, in milliseconds since 1970.
    pub fn at(now_ms: i64) -> Self {
        Self::stepping(now_ms, 0)
    }

    /// The same, and each question for the time moves it by `step_ms`.
    pub fn stepping(now_ms: i64, step_ms: i64) -> Self {
        Self { now_ms: now_ms.into(), step_ms, slept: Mutex::default() }
    }

    /// It is that time.
    pub fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, SeqCst);
    }

    /// Moves it, back where `by_ms` is negative.
    pub fn advance(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, SeqCst);
    }

    /// How long each sleep was since this was asked last.
    ///
    /// # Panics
    /// Where someone panicked while going to sleep.
    pub fn take_slept(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.slept.lock().unwrap())
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.fetch_add(self.step_ms, SeqCst)
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration);
        self.advance(duration.as_millis() as i64);
    }

    /// Asked only where work does not go on: models answer at once.
    async fn timeout(&self, duration: Duration) {
        let end_ms = self.now_ms() + duration.as_millis() as i64;
        self.now_ms.fetch_max(end_ms, SeqCst);
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}

/// Tokio's time, which a paused runtime moves on whenever everything waits.
pub struct TokioClock {
    begin: Instant,
    now_ms: AtomicI64,
    step_ms: i64,
}

impl TokioClock {
    /// It begins at that time, in milliseconds since 1970; each question for the time moves it by `step_ms` beside tokio's.
    pub fn stepping(now_ms: i64, step_ms: i64) -> Self {
        Self { begin: Instant::now(), now_ms: now_ms.into(), step_ms }
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.fetch_add(self.step_ms, SeqCst) + self.begin.elapsed().as_millis() as i64
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}
