//! How many events failed lately: the last five minutes of each subscription, minute by minute.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::clock::Clock;
use lyceum_core::outcome::{Observer, Outcome, Report};
use parking_lot::Mutex;

use super::{Reading, Watched};

/// So far back it is counted.
pub const SPAN: Duration = Duration::from_secs(MINUTES as u64 * 60);
const MINUTES: usize = 5;
/// Of fewer events no part is told: one of two is half of them.
const FEW: u64 = 20;

/// How events ended in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    minute: i64,
    events: u64,
    failed: u64,
    letters: u64,
}

/// Counts how events end, as an [`Observer`].
pub struct Window {
    clock: Arc<dyn Clock>,
    subscriptions: Mutex<BTreeMap<&'static str, VecDeque<Ended>>>,
}

/// What a subscription's events came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Whose.
    pub subscription: &'static str,
    /// From 0 to 1: those that were dead-lettered or are to be tried again.
    pub failed: f64,
    /// How many there were.
    pub events: u64,
    /// How many were dead-lettered.
    pub letters: u64,
}

impl Window {
    /// Nothing happened yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, subscriptions: Mutex::default() }
    }

    fn minute(&self) -> i64 {
        self.clock.now_ms().div_euclid(60_000)
    }

    /// Of each subscription that had an event since the start of the process.
    pub fn shares(&self) -> Vec<Share> {
        let since = self.minute() - MINUTES as i64;
        let share = |(subscription, minutes): (&&'static str, &VecDeque<Ended>)| {
            let recent = minutes.iter().filter(|ended| ended.minute > since);
            let sum = recent.fold(Ended::default(), |sum, ended| Ended {
                minute: 0,
                events: sum.events + ended.events,
                failed: sum.failed + ended.failed,
                letters: sum.letters + ended.letters,
            });
            let failed = if sum.events == 0 { 0.0 } else { sum.failed as f64 / sum.events as f64 };
            Share { subscription, failed, events: sum.events, letters: sum.letters }
        };
        self.subscriptions.lock().iter().map(share).collect()
    }

    /// What is held against limits.
    pub fn readings(&self) -> Vec<Reading> {
        let readings = |Share { subscription, failed, events, letters }| {
            let failed = if events < FEW { 0.0 } else { failed * 100.0 };
            [
                Reading { watched: Watched::Errors { subscription }, value: failed },
                Reading { watched: Watched::DeadLetters { subscription }, value: letters as f64 },
            ]
        };
        self.shares().into_iter().flat_map(readings).collect()
    }
}

impl Observer for Window {
    fn observe(&self, reports: &[Report]) {
        let minute = self.minute();
        let mut subscriptions = self.subscriptions.lock();
        for report in reports {
            let minutes = subscriptions.entry(report.family).or_default();
            // A clock that was set back goes on in the newest minute.
            if minutes.back().is_none_or(|last| last.minute < minute) {
                minutes.push_back(Ended { minute, ..Ended::default() });
                if minutes.len() > MINUTES {
                    minutes.pop_front();
                }
            }
            let Some(ended) = minutes.back_mut() else { continue };
            ended.events += 1;
            ended.letters += u64::from(matches!(report.outcome, Outcome::DeadLettered { .. }));
            ended.failed +=
                u64::from(matches!(report.outcome, Outcome::DeadLettered { .. } | Outcome::RetryLater { .. }));
        }
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::outcome::DeadLetterKind;
    use lyceum_core::record::Position;
    use lyceum_testing::clock::ManualClock;

    use super::*;

    fn observe(window: &Window, outcome: &Outcome, times: usize) {
        let report = Report { outcome: outcome.clone(), ..Report::of(Position::new("t", 0, 0), "survey") };
        window.observe(&vec![report; times]);
    }

    #[test]
    fn the_part_that_failed_is_that_of_the_last_five_minutes() {
        let clock = Arc::new(ManualClock::at(0));
        let window = Window::new(clock.clone());
        assert_eq!(window.readings(), []);
        observe(&window, &Outcome::Applied, 60);
        observe(&window, &Outcome::DeadLettered { kind: DeadLetterKind::Decode }, 30);
        observe(&window, &Outcome::RetryLater { reason: "away".into() }, 10);
        let share = Share { subscription: "survey", failed: 0.4, events: 100, letters: 30 };
        assert_eq!(window.shares(), [share]);
        let values = |window: &Window| window.readings().iter().map(|reading| reading.value).collect::<Vec<_>>();
        assert_eq!(values(&window), [40.0, 30.0]);
        clock.advance(4 * 60_000);
        observe(&window, &Outcome::Applied, 100);
        assert_eq!(values(&window), [20.0, 30.0]);
        clock.advance(60_000);
        assert_eq!(values(&window), [0.0, 0.0]);
        clock.advance(24 * 3_600_000);
        assert_eq!(window.shares(), [Share { failed: 0.0, events: 0, letters: 0, ..share }]);
    }

    #[test]
    fn of_a_few_events_no_part_is_told() {
        let window = Window::new(Arc::new(ManualClock::at(0)));
        observe(&window, &Outcome::DeadLettered { kind: DeadLetterKind::Decode }, 1);
        let values: Vec<_> = window.readings().iter().map(|reading| reading.value).collect();
        assert_eq!(values, [0.0, 1.0]);
    }
}
