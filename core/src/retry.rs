//! How often and when something is tried again. A value: nothing here waits.

use std::time::Duration;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first one, in place.
    pub attempts: u32,
    /// The wait before the first of them; each further one doubles.
    pub base: Duration,
    /// Deliveries of a record whose own work keeps failing, before it is given up as a dead letter.
    pub deliveries: u32,
    /// How often a commit is decided anew after a conflict, before the record is left for a later delivery.
    pub conflicts: u32,
}

impl Default for RetryPolicy {
    /// 1 s, 2 s, 4 s; three deliveries.
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_secs(1), deliveries: 3, conflicts: 16 }
    }
}

impl RetryPolicy {
    /// How long to wait before attempt `attempt` (1 is the first after the first try), or `None` when the attempts are
    /// spent or the wait would outlast `remaining`. `jitter` in `[0, 1)` takes off up to a half, so that workers who
    /// failed together do not come back together.
    pub fn delay(&self, attempt: u32, jitter: f64, remaining: Duration) -> Option<Duration> {
        if attempt > self.attempts {
            return None;
        }
        let full = self.base.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let delay = full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
        (delay < remaining).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(900);

    #[test]
    fn waits_double_and_end_after_three() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=4).map(|attempt| policy.delay(attempt, 0.0, LONG)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(waits, [seconds(1), seconds(2), seconds(4), None]);
    }

    #[test]
    fn jitter_takes_off_at_most_a_half() {
        let policy = RetryPolicy::default();
        for jitter in [0.0, 0.3, 0.999] {
            let delay = policy.delay(2, jitter, LONG).unwrap();
            assert!(delay > Duration::from_secs(1) && delay <= Duration::from_secs(2), "{jitter}: {delay:?}");
        }
    }

    #[test]
    fn nothing_is_tried_again_that_would_outlast_the_invocation() {
        assert_eq!(RetryPolicy::default().delay(3, 0.0, Duration::from_secs(4)), None);
    }
}
