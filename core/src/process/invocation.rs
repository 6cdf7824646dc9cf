//! One invocation: its time, and how often something is tried again within it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::clock::Clock;
use crate::outcome::Observer;
use crate::ports::event_log::EventLogError;
use crate::ports::ledger::LedgerError;
use crate::ports::schemas::SchemasError;
use crate::ports::statements::StatementsError;
use crate::retry::{Backoff, RetryPolicy};

/// This much of an invocation's time is kept for answering.
const RESERVE: Duration = Duration::from_millis(500);

/// The time of one invocation, and its patience.
pub struct Invocation {
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    subscriber: &'static str,
    retry: RetryPolicy,
    now_ms: i64,
    deadline_ms: i64,
}

/// An error of a port that tells whether the same call may succeed later.
pub trait Transient {
    /// Whether it may.
    fn is_transient(&self) -> bool;
}

impl Transient for LedgerError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }
}

impl Transient for EventLogError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }
}

impl Transient for SchemasError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }
}

impl Transient for StatementsError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }
}

impl Invocation {
    /// One that begins now, of that subscriber, and must have answered by `deadline_ms` (milliseconds since 1970 UTC).
    pub fn new(
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        subscriber: &'static str,
        retry: RetryPolicy,
        deadline_ms: i64,
    ) -> Self {
        Self { now_ms: clock.now_ms(), clock, observer, subscriber, retry, deadline_ms }
    }

    /// When it began: the one time that every decision of its batch sees. Milliseconds since 1970 UTC.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// What its clock says now. Milliseconds since 1970 UTC.
    pub fn time_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Until when a lease lasts that outlives it by `grace`. Milliseconds since 1970 UTC.
    pub fn lease_ms(&self, grace: Duration) -> i64 {
        self.deadline_ms.saturating_add(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX))
    }

    /// How often things are tried again.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// What is left of its time, but for the answering.
    pub fn remaining(&self) -> Duration {
        let left = self.deadline_ms.saturating_sub(self.clock.now_ms());
        Duration::from_millis(u64::try_from(left).unwrap_or(0)).saturating_sub(RESERVE)
    }

    /// Makes a port's call, and waits for it no longer than the invocation lasts: what does not answer must not take the
    /// answer of the others with it. Then it failed as `given_up` says.
    pub async fn in_time<A, E>(
        &self,
        given_up: fn(String) -> E,
        call: impl Future<Output = Result<A, E>>,
    ) -> Result<A, E> {
        let remaining = self.remaining();
        if remaining.is_zero() {
            return Err(given_up("the invocation's time is over".to_owned()));
        }
        match select(pin!(call), self.clock.timeout(remaining)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let left = remaining.as_secs_f64();
                Err(given_up(format!("no answer within the {left:.1} s that were left of the invocation")))
            }
        }
    }

    /// Makes a call until it succeeds, fails for good, or the attempts or the time are spent.
    pub async fn until_it_succeeds<A, E: Transient, C: Future<Output = Result<A, E>>>(
        &self,
        given_up: fn(String) -> E,
        call: impl Fn() -> C,
    ) -> Result<A, E> {
        let mut attempts = self.attempts();
        loop {
            match self.in_time(given_up, call()).await {
                Err(error) if error.is_transient() && attempts.again().await => {}
                answer => return answer,
            }
        }
    }

    /// The further attempts of one call.
    pub fn attempts(&self) -> Attempts<'_> {
        let RetryPolicy { attempts: most, .. } = self.retry;
        Attempts { invocation: self, backoff: self.retry.backoff(), most, made: 0, is_reported: true }
    }

    /// The further attempts after conflicts: they are no failures, and reported to nobody.
    pub fn conflicts(&self) -> Attempts<'_> {
        let RetryPolicy { conflicts: most, .. } = self.retry;
        Attempts { invocation: self, backoff: self.retry.conflict_backoff(), most, made: 0, is_reported: false }
    }

    /// The further attempts of a commit.
    pub fn commit_attempts(&self) -> CommitAttempts<'_> {
        CommitAttempts { conflicts: self.conflicts(), failures: self.attempts() }
    }
}

/// The further attempts of a commit: conflicts are counted apart from failures.
pub struct CommitAttempts<'a> {
    conflicts: Attempts<'a>,
    failures: Attempts<'a>,
}

impl CommitAttempts<'_> {
    /// Waits before the next attempt after that error; `false` when there is none. What was committed on has to be read again.
    pub async fn again_after(&mut self, error: &LedgerError) -> bool {
        match error {
            LedgerError::Conflict | LedgerError::Uncertain(_) => self.conflicts.again().await,
            LedgerError::Unavailable(_) => self.failures.again().await,
            LedgerError::Refused(_) | LedgerError::Unusable(_) => false,
        }
    }
}

/// Counts further attempts, and waits before each.
pub struct Attempts<'a> {
    invocation: &'a Invocation,
    backoff: Backoff,
    most: u32,
    made: u32,
    is_reported: bool,
}

impl Attempts<'_> {
    /// Waits before the next attempt; `false` when there is none within the attempts and the time that remain.
    pub async fn again(&mut self) -> bool {
        let Invocation { clock, observer, subscriber, .. } = self.invocation;
        if self.made == self.most {
            return false;
        }
        let delay = self.backoff.delay(self.made + 1, clock.jitter());
        if delay >= self.invocation.remaining() {
            return false;
        }
        self.made += 1;
        if self.is_reported {
            observer.retried(subscriber);
        }
        clock.sleep(delay).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

    use async_trait::async_trait;
    use futures::FutureExt;
    use futures::future::{pending, ready};

    use super::*;
    use crate::outcome::Report;

    const BEGINNING_MS: i64 = 1_772_439_300_000;
    const TIME_MS: i64 = 60_000;

    /// A clock whose time passes only while someone sleeps, and who is told of each further attempt.
    #[derive(Default)]
    struct Watch {
        passed_ms: AtomicI64,
        sleeps: AtomicUsize,
        reported: AtomicUsize,
    }

    #[async_trait]
    impl Clock for Watch {
        fn now_ms(&self) -> i64 {
            BEGINNING_MS + self.passed_ms.load(SeqCst)
        }

        async fn sleep(&self, duration: Duration) {
            self.sleeps.fetch_add(1, SeqCst);
            self.passed_ms.fetch_add(duration.as_millis() as i64, SeqCst);
        }

        fn jitter(&self) -> f64 {
            0.0
        }
    }

    impl Observer for Watch {
        fn observe(&self, _: &[Report]) {}

        fn retried(&self, subscriber: &'static str) {
            assert_eq!(subscriber, "training");
            self.reported.fetch_add(1, SeqCst);
        }
    }

    fn invocation(retry: RetryPolicy, time_ms: i64) -> (Invocation, Arc<Watch>) {
        let watch = Arc::new(Watch::default());
        (Invocation::new(watch.clone(), watch.clone(), "training", retry, BEGINNING_MS + time_ms), watch)
    }

    /// What a future that never waits for another one comes to.
    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing waits but on this clock")
    }

    /// Calls that fail so often before they succeed; what became of them, and how many there were.
    fn call(invocation: &Invocation, failures: usize, error: LedgerError) -> (Result<usize, LedgerError>, usize) {
        let made = AtomicUsize::new(0);
        let call = || {
            let number = made.fetch_add(1, SeqCst);
            ready(if number < failures { Err(error.clone()) } else { Ok(number) })
        };
        (now(invocation.until_it_succeeds(LedgerError::Unavailable, call)), made.into_inner())
    }

    fn away() -> LedgerError {
        LedgerError::Unavailable("away".into())
    }

    #[test]
    fn an_invocation_knows_when_it_began_what_time_it_is_and_when_it_must_have_answered() {
        let retry = RetryPolicy { attempts: 7, ..RetryPolicy::default() };
        let (invocation, watch) = invocation(retry, TIME_MS);
        assert_eq!(invocation.remaining(), Duration::from_millis(59_500));
        now(watch.sleep(Duration::from_secs(1)));
        assert_eq!((invocation.now_ms(), invocation.time_ms()), (BEGINNING_MS, BEGINNING_MS + 1_000));
        assert_eq!(invocation.lease_ms(Duration::from_secs(5)), BEGINNING_MS + TIME_MS + 5_000);
        assert_eq!((invocation.remaining(), invocation.retry()), (Duration::from_millis(58_500), &retry));
        now(watch.sleep(Duration::from_secs(3_600)));
        assert_eq!(invocation.remaining(), Duration::ZERO);
    }

    #[test]
    fn each_port_tells_which_of_its_errors_may_pass() {
        fn may_pass(error: &impl Transient) -> bool {
            error.is_transient()
        }
        assert!(may_pass(&away()) && !may_pass(&LedgerError::Refused("no".into())));
        assert!(!may_pass(&LedgerError::Unusable("no table".into())));
        assert!(may_pass(&EventLogError::Unavailable("away".into())));
        assert!(!may_pass(&EventLogError::UnknownTopic("t".into())));
        assert!(may_pass(&StatementsError::Unavailable("away".into())));
        assert!(!may_pass(&StatementsError::Refused("no".into())));
        assert!(may_pass(&SchemasError::Unavailable("away".into())));
    }

    #[test]
    fn a_call_that_fails_is_made_again_after_waits_that_double_until_its_attempts_are_spent() {
        for (failures, ends_well, calls, waited_ms) in
            [(0, true, 1, 0), (2, true, 3, 3_000), (3, true, 4, 7_000), (4, false, 4, 7_000)]
        {
            let (invocation, watch) = invocation(RetryPolicy::default(), TIME_MS);
            let (answer, made) = call(&invocation, failures, away());
            assert_eq!((answer.is_ok(), made), (ends_well, calls), "{failures} failures");
            assert_eq!(watch.passed_ms.load(SeqCst), waited_ms);
            assert_eq!(watch.reported.load(SeqCst), calls - 1, "each further attempt is reported");
        }
    }

    #[test]
    fn what_fails_for_good_is_not_tried_again() {
        let (invocation, watch) = invocation(RetryPolicy::default(), TIME_MS);
        let refused = LedgerError::Refused("no".into());
        assert_eq!(call(&invocation, 1, refused.clone()), (Err(refused), 1));
        assert_eq!(watch.sleeps.load(SeqCst), 0);
    }

    #[test]
    fn no_attempt_is_waited_for_that_would_come_after_the_invocations_end() {
        // 500 ms are kept for answering: the first wait fits exactly where one more millisecond is left.
        for (time_ms, calls) in [(1_500, 1), (1_501, 2)] {
            let (invocation, _) = invocation(RetryPolicy::default(), time_ms);
            assert_eq!(call(&invocation, 1, away()).1, calls, "{time_ms} ms");
        }
    }

    #[test]
    fn conflicts_are_tried_again_soon_and_reported_to_nobody() {
        let (invocation, watch) = invocation(RetryPolicy { conflicts: 2, ..RetryPolicy::default() }, TIME_MS);
        let mut conflicts = invocation.conflicts();
        assert_eq!([now(conflicts.again()), now(conflicts.again()), now(conflicts.again())], [true, true, false]);
        assert_eq!((watch.passed_ms.load(SeqCst), watch.reported.load(SeqCst)), (60, 0));
    }

    #[test]
    fn a_call_that_never_answers_ends_with_the_invocations_time_and_then_none_is_made() {
        let (invocation, watch) = invocation(RetryPolicy::default(), TIME_MS);
        let never = now(invocation.in_time(LedgerError::Uncertain, pending::<Result<(), _>>()));
        let Err(LedgerError::Uncertain(why)) = never else { panic!("{never:?}") };
        assert!(why.contains("59.5 s"), "{why}");
        assert_eq!(watch.passed_ms.load(SeqCst), 59_500);
        let late = now(invocation.in_time(LedgerError::Uncertain, ready(Ok(7))));
        assert_eq!(late, Err(LedgerError::Uncertain("the invocation's time is over".into())));
    }

    #[test]
    fn a_call_that_answers_in_time_has_its_own_answer() {
        let (invocation, _) = invocation(RetryPolicy::default(), TIME_MS);
        assert_eq!(now(invocation.in_time(LedgerError::Uncertain, ready(Ok(7)))), Ok(7));
        assert_eq!(now(invocation.in_time(LedgerError::Uncertain, ready(Err::<(), _>(away())))), Err(away()));
    }
}
