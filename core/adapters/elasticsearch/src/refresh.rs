//! Refreshes that calls share: each waits for one that began after its own writes, and one is made at a time.
//!
//! A function stores one batch at a time, and has each refresh for itself. A process with many batches in flight would else have the engine make
//! a segment for each of them.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use lyceum_core::ports::statements::StatementsError;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// The refreshes of one index.
pub(super) struct SharedRefresh {
    /// At most one begins within so long.
    interval: Duration,
    /// How many have begun.
    begun: AtomicU64,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    /// The number of the last one that ended, from 1, and why it failed.
    ended: u64,
    failure: Option<String>,
    began: Option<Instant>,
}

impl SharedRefresh {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, begun: AtomicU64::new(0), turn: Mutex::default() }
    }

    /// Comes back once a refresh has ended that began after this call did; `refresh` makes one. One that failed failed for all who waited for it, or
    /// each of them would try an engine that hangs in turn.
    pub(super) async fn after_now<F: Future<Output = Result<(), StatementsError>>>(
        &self,
        refresh: impl FnOnce() -> F,
    ) -> Result<(), StatementsError> {
        let before = self.begun.load(SeqCst);
        let mut turn = self.turn.lock().await;
        if turn.ended > before {
            return turn.failure.clone().map_or(Ok(()), |why| Err(StatementsError::Unavailable(why)));
        }
        if let Some(began) = turn.began {
            sleep_until(began + self.interval).await;
        }
        // From here on whoever comes needs a later one.
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        turn.began = Some(Instant::now());
        let done = refresh().await;
        turn.ended = number;
        turn.failure = done.as_ref().err().map(ToString::to_string);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const TAKES: Duration = Duration::from_millis(10);

    #[derive(Default)]
    struct Engine {
        /// Which of the calls so far are visible.
        written: AtomicUsize,
        visible: AtomicUsize,
        refreshes: AtomicUsize,
    }

    impl Engine {
        async fn refresh(&self) -> Result<(), StatementsError> {
            let seen = self.written.load(SeqCst);
            tokio::time::sleep(TAKES).await;
            self.visible.fetch_max(seen, SeqCst);
            // Every fifth one fails, and shows nothing to whoever waits for it.
            let number = self.refreshes.fetch_add(1, SeqCst);
            if number % 5 == 4 { Err(StatementsError::Unavailable("a shard".into())) } else { Ok(()) }
        }
    }

    async fn play(interval: Duration) -> (usize, usize, Duration) {
        let (engine, shared) = (Arc::new(Engine::default()), Arc::new(SharedRefresh::new(interval)));
        let began = Instant::now();
        let calls = (0..200_u64).map(|number| {
            let (engine, shared) = (engine.clone(), shared.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(number)).await;
                let own = engine.written.fetch_add(1, SeqCst) + 1;
                let done = shared.after_now(|| engine.refresh()).await;
                assert!(done.is_err() || engine.visible.load(SeqCst) >= own, "{own} is not visible");
                usize::from(done.is_err())
            })
        });
        let mut failed = 0;
        for call in calls.collect::<Vec<_>>() {
            failed += call.await.unwrap();
        }
        (engine.refreshes.load(SeqCst), failed, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_before_the_call_is_visible_after_it_by_few_refreshes() {
        let (refreshes, failed, took) = play(Duration::ZERO).await;
        assert!(refreshes <= 25, "{refreshes} for 200 calls in 200 ms, of 10 ms each");
        assert!(failed <= 60 && took < Duration::from_millis(300), "{failed} {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_makes_them_fewer_and_the_calls_wait_for_it() {
        let (refreshes, _, took) = play(Duration::from_millis(60)).await;
        assert!((3..=6).contains(&refreshes), "{refreshes}");
        assert!(took < Duration::from_millis(400), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_abandoned_keeps_nobody_from_the_next() {
        let shared = SharedRefresh::new(Duration::ZERO);
        let never = shared.after_now(std::future::pending);
        assert!(tokio::time::timeout(TAKES, never).await.is_err());
        shared.after_now(|| async { Ok(()) }).await.unwrap();
    }
}
