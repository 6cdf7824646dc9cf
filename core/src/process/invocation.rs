//! One invocation: its time, and how often something is tried again within it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::clock::Clock;
use crate::outcome::Observer;
use crate::ports::event_log::EventLogError;
use crate::ports::ledger::LedgerError;
use crate::ports::schemas::SchemasUnavailable;
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

impl Transient for SchemasUnavailable {
    fn is_transient(&self) -> bool {
        true
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
