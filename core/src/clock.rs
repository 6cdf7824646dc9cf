//! The time and the waiting that the core asks for, so that tests and the simulation own both.

use std::time::{Duration, SystemTime};

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

/// Milliseconds since 1970-01-01T00:00:00Z, before it a negative number.
pub fn ms_since_1970(time: SystemTime) -> i64 {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => ms(since),
        Err(before) => -ms(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_before_1970_says_so() {
        let five = Duration::from_millis(5);
        assert_eq!([SystemTime::UNIX_EPOCH - five, SystemTime::UNIX_EPOCH + five].map(ms_since_1970), [-5, 5]);
    }
}
