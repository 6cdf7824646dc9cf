//! How often and when something is tried again. Values: nothing here waits.

use std::time::Duration;

/// How long to wait before something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first further attempt; each later one doubles.
    pub base: Duration,
    /// No wait is longer.
    pub cap: Duration,
}

impl Backoff {
    /// The wait before attempt `attempt` (1 is the first after the first try). `jitter` in `[0, 1)` takes off up to a half,
    /// so that workers who failed together do not come back together, and none comes back at once.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = self.base.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.cap).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

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
    /// The waits between attempts in place. An invocation ends long before they reach their cap.
    pub fn backoff(&self) -> Backoff {
        Backoff { base: self.base, cap: Duration::from_secs(900) }
    }

    /// The waits after conflicts, which are soon over.
    pub fn conflict_backoff(&self) -> Backoff {
        Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(640) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_cap() {
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(5) };
        let waits: Vec<_> = [1, 2, 3, 4, u32::MAX].map(|attempt| backoff.delay(attempt, 0.0).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn jitter_takes_off_at_most_a_half_so_that_nobody_comes_back_at_once() {
        let policy = RetryPolicy::default();
        for backoff in [policy.backoff(), policy.conflict_backoff()] {
            for jitter in [0.0, 0.3, 0.999] {
                let (delay, full) = (backoff.delay(2, jitter), backoff.delay(2, 0.0));
                assert!(delay > full / 2 && delay <= full, "{jitter}: {delay:?}");
            }
        }
    }
}
