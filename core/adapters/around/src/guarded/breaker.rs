//! When calls are let through to a dependency that fails: a state machine without clock, lock or call. Pure.
//!
//! ```text
//!            so many failures in a row               open long enough, and a call comes
//!   closed ────────────────────────────▶ open ────────────────────────────▶ half-open
//!     ▲                                   ▲              a trial fails          │
//!     │                                   └─────────────────────────────────────┤
//!     └──────────────────────── every trial succeeds ───────────────────────────┘
//! ```
//!
//! Source: M. Nygard, "Release It!", chapter "Circuit Breaker".

use std::time::Duration;

use lyceum_core::metrics::CircuitState;

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// So many failures in a row open it; at least 1 counts.
    pub failures: u32,
    /// So long no call is made once it is open.
    pub open_for: Duration,
    /// So many calls are let through then, and close it when each succeeds; at least 1 counts.
    pub trials: u32,
}

impl Default for BreakerLimits {
    /// 5 failures in a row, 5 s, 1 trial.
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(5), trials: 1 }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The dependency answered, be it with a refusal of what this call asked for.
    Answered,
    /// It is unavailable, overloaded, did not answer, or refuses every call.
    Failed,
    /// Nobody waited for the answer, which says nothing.
    Abandoned,
}

/// A call that was let through; it belongs to the state that let it through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    generation: u64,
}

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For how long the dependency has been cut off.
    pub for_so_long: Duration,
    /// How many calls failed in a row.
    pub failures: u32,
    /// When the next call is let through; zero while one is under way.
    pub again_in: Duration,
}

/// Lets calls through, or not. Times are durations since any one moment.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// Grows with each change of state: the answer to a call that an earlier state let through does not count.
    generation: u64,
    failures: u32,
    cut_off_at: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { since: Duration },
    HalfOpen { under_way: u32, succeeded: u32 },
}

impl Breaker {
    /// A closed one.
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: State::Closed, generation: 0, failures: 0, cut_off_at: Duration::ZERO }
    }

    /// What it lets through.
    pub fn state(&self) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Why a call would not be let through now; `None`: it would.
    pub fn refusal(&self, now: Duration) -> Option<Refusal> {
        let again_in = match self.state {
            State::Closed => return None,
            State::Open { since } => match self.limits.open_for.saturating_sub(now.saturating_sub(since)) {
                Duration::ZERO => return None,
                left => left,
            },
            State::HalfOpen { under_way, succeeded } if under_way + succeeded < self.limits.trials.max(1) => {
                return None;
            }
            State::HalfOpen { .. } => Duration::ZERO,
        };
        Some(Refusal { for_so_long: now.saturating_sub(self.cut_off_at), failures: self.failures, again_in })
    }

    /// Lets a call through, or says why not. How the call ended is to be [reported](Self::report).
    pub fn admit(&mut self, now: Duration) -> Result<Ticket, Refusal> {
        if let Some(refusal) = self.refusal(now) {
            return Err(refusal);
        }
        if let State::Open { .. } = self.state {
            self.change(State::HalfOpen { under_way: 0, succeeded: 0 });
        }
        if let State::HalfOpen { under_way, .. } = &mut self.state {
            *under_way += 1;
        }
        Ok(Ticket { generation: self.generation })
    }

    /// Takes notice of how a call ended.
    pub fn report(&mut self, ticket: Ticket, ending: Ending, now: Duration) {
        if ticket.generation != self.generation {
            return;
        }
        if let State::HalfOpen { under_way, succeeded } = &mut self.state {
            *under_way -= 1;
            *succeeded += u32::from(ending == Ending::Answered);
        }
        match (ending, self.state) {
            (Ending::Abandoned, _) | (_, State::Open { .. }) => {}
            (Ending::Answered, State::Closed) => self.failures = 0,
            (Ending::Answered, State::HalfOpen { succeeded, .. }) => {
                if succeeded >= self.limits.trials.max(1) {
                    self.failures = 0;
                    self.change(State::Closed);
                }
            }
            (Ending::Failed, State::Closed) => {
                self.failures += 1;
                if self.failures >= self.limits.failures.max(1) {
                    self.cut_off_at = now;
                    self.change(State::Open { since: now });
                }
            }
            (Ending::Failed, State::HalfOpen { .. }) => {
                self.failures += 1;
                self.change(State::Open { since: now });
            }
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: u32, trials: u32) -> Breaker {
        Breaker::new(BreakerLimits { failures, open_for: 10 * SECOND, trials })
    }

    fn fail(breaker: &mut Breaker, times: u32, now: Duration) {
        for _ in 0..times {
            let ticket = breaker.admit(now).unwrap();
            breaker.report(ticket, Ending::Failed, now);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = breaker(3, 1);
        fail(&mut breaker, 2, SECOND);
        let ticket = breaker.admit(SECOND).unwrap();
        breaker.report(ticket, Ending::Answered, SECOND);
        fail(&mut breaker, 2, SECOND);
        assert_eq!(breaker.state(), CircuitState::Closed);
        fail(&mut breaker, 1, SECOND);
        assert_eq!(breaker.state(), CircuitState::Open);
        let refusal = breaker.admit(4 * SECOND).unwrap_err();
        assert_eq!(refusal, Refusal { for_so_long: 3 * SECOND, failures: 3, again_in: 7 * SECOND });
    }

    #[test]
    fn after_its_time_one_call_is_let_through_and_decides() {
        for (ending, state) in [(Ending::Answered, CircuitState::Closed), (Ending::Failed, CircuitState::Open)] {
            let mut breaker = breaker(1, 1);
            fail(&mut breaker, 1, SECOND);
            let trial = breaker.admit(11 * SECOND).unwrap();
            assert_eq!(breaker.state(), CircuitState::HalfOpen);
            let refusal = breaker.admit(12 * SECOND).unwrap_err();
            assert_eq!(refusal, Refusal { for_so_long: 11 * SECOND, failures: 1, again_in: Duration::ZERO });
            breaker.report(trial, ending, 12 * SECOND);
            assert_eq!(breaker.state(), state);
        }
    }

    #[test]
    fn it_closes_only_when_every_trial_succeeded() {
        let mut breaker = breaker(1, 2);
        fail(&mut breaker, 1, Duration::ZERO);
        let trials = [(); 2].map(|()| breaker.admit(10 * SECOND).unwrap());
        assert!(breaker.admit(10 * SECOND).is_err());
        breaker.report(trials[0], Ending::Answered, 10 * SECOND);
        assert_eq!((breaker.state(), breaker.admit(10 * SECOND).is_err()), (CircuitState::HalfOpen, true));
        breaker.report(trials[1], Ending::Answered, 10 * SECOND);
        assert_eq!((breaker.state(), breaker.failures()), (CircuitState::Closed, 0));
    }

    #[test]
    fn a_trial_that_nobody_waits_for_makes_room_for_another() {
        let mut breaker = breaker(1, 1);
        fail(&mut breaker, 1, Duration::ZERO);
        let abandoned = breaker.admit(10 * SECOND).unwrap();
        breaker.report(abandoned, Ending::Abandoned, 11 * SECOND);
        assert_eq!(breaker.state(), CircuitState::HalfOpen);
        let trial = breaker.admit(11 * SECOND).unwrap();
        breaker.report(trial, Ending::Answered, 11 * SECOND);
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    #[test]
    fn what_an_earlier_state_let_through_counts_no_more() {
        let mut breaker = breaker(1, 1);
        let old = [(); 3].map(|()| breaker.admit(Duration::ZERO).unwrap());
        fail(&mut breaker, 1, Duration::ZERO);
        breaker.report(old[0], Ending::Answered, SECOND);
        assert_eq!(breaker.state(), CircuitState::Open);
        let trial = breaker.admit(10 * SECOND).unwrap();
        breaker.report(old[1], Ending::Answered, 10 * SECOND);
        assert_eq!(breaker.state(), CircuitState::HalfOpen);
        breaker.report(trial, Ending::Answered, 10 * SECOND);
        breaker.report(old[2], Ending::Failed, 10 * SECOND);
        assert_eq!((breaker.state(), breaker.failures()), (CircuitState::Closed, 0));
    }

    #[test]
    fn a_time_that_runs_backwards_keeps_it_open_no_longer_than_its_time() {
        let mut breaker = breaker(1, 1);
        fail(&mut breaker, 1, 100 * SECOND);
        assert_eq!(breaker.admit(SECOND).unwrap_err().again_in, 10 * SECOND);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass(u64),
        Call,
        End(usize, Ending),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let ending = prop_oneof![1 => Just(Ending::Answered), 3 => Just(Ending::Failed), 1 => Just(Ending::Abandoned)];
        prop_oneof![
            1 => (0..8_000u64).prop_map(Step::Pass),
            3 => Just(Step::Call),
            3 => (any::<prop::sample::Index>(), ending).prop_map(|(at, ending)| Step::End(at.index(64), ending)),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: it opens after so many failures in a row and not before, no call is let
        /// through while it is open, never more trials than allowed are under way, and it never stays shut for good.
        #[test]
        fn it_lets_through_what_it_should(
            failures in 1..5u32,
            trials in 1..4u32,
            steps in prop::collection::vec(any_step(), 1..200),
        ) {
            let mut breaker = breaker(failures, trials);
            let mut now = Duration::ZERO;
            let mut out: Vec<Ticket> = Vec::new();
            let mut opened_at = None;
            for step in steps {
                let before = breaker.state();
                match step {
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::Call => match breaker.admit(now) {
                        Ok(ticket) => {
                            if before == CircuitState::Open {
                                prop_assert!(now >= opened_at.unwrap() + 10 * SECOND);
                            }
                            out.push(ticket);
                        }
                        Err(refusal) => {
                            prop_assert_ne!(before, CircuitState::Closed);
                            prop_assert!(refusal.again_in <= 10 * SECOND);
                            prop_assert!(refusal.failures >= failures);
                        }
                    },
                    Step::End(at, ending) if !out.is_empty() => {
                        let ticket = out.swap_remove(at % out.len());
                        let row = breaker.failures();
                        breaker.report(ticket, ending, now);
                        match (before, breaker.state()) {
                            (CircuitState::Closed, CircuitState::Open) => prop_assert_eq!(row + 1, failures),
                            (CircuitState::Open, after) => prop_assert_eq!(after, CircuitState::Open),
                            (CircuitState::HalfOpen, CircuitState::Closed) => prop_assert_eq!(ending, Ending::Answered),
                            _ => {}
                        }
                        if before != CircuitState::Open && breaker.state() == CircuitState::Open {
                            prop_assert_eq!(ending, Ending::Failed);
                            opened_at = Some(now);
                        }
                    }
                    Step::End(..) => {}
                }
                if let State::HalfOpen { under_way, succeeded } = breaker.state {
                    prop_assert!(under_way + succeeded <= trials);
                }
            }
            // Everyone gives up waiting, time passes, and the dependency is back.
            for ticket in out {
                breaker.report(ticket, Ending::Abandoned, now);
            }
            now += 10 * SECOND;
            for _ in 0..trials {
                let ticket = breaker.admit(now).unwrap();
                breaker.report(ticket, Ending::Answered, now);
            }
            prop_assert_eq!(breaker.state(), CircuitState::Closed);
        }
    }
}
