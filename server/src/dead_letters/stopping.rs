//! A replay whose records fail again is bad: it is noticed by how those ended that it has sent, and stops itself.

use std::collections::BTreeMap;
use std::time::Duration;

use lyceum_core::dead_letter::DeadLetter as Letter;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::index::{Found, Mark, ToCheck};
use super::{DeadLetterIndex, value};
use crate::questions::AskError;

/// So many ends must be known before anything is said of a share.
pub const AT_LEAST: u64 = 20;
/// So long it is waited for the ends of what was sent, before more is.
const WAITING: Duration = Duration::from_secs(5);
/// How often it is looked meanwhile.
const LOOKING: Duration = Duration::from_millis(200);

/// When a replay stops itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopAt {
    /// Where of the ends that are known more than so many percent are failures, 0 to 100.
    pub percent: u8,
}

impl Default for StopAt {
    fn default() -> Self {
        Self { percent: 50 }
    }
}

/// How what was sent has ended, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// So many ends are known.
    pub known: u64,
    /// So many of them failed again.
    pub failed: u64,
}

impl Ends {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { known: self.known + other.known, failed: self.failed + other.failed }
    }

    /// Why a replay stops, where it does.
    pub fn stops(self, at: StopAt) -> Option<String> {
        let Self { known, failed } = self;
        let is_bad = known >= AT_LEAST && failed.saturating_mul(100) > known.saturating_mul(u64::from(at.percent));
        is_bad.then(|| {
            format!(
                "{failed} of {known} that were sent again failed again: it stopped itself. Mend the cause first; `lyceum dead-letters \
                 summary` says what it is"
            )
        })
    }
}

/// What was sent, and whose end is to be seen.
pub(super) struct Awaited {
    /// The id of the letter that it becomes where it fails again.
    next_id: Uuid,
    /// Its event, where that can be applied.
    event: Option<ToCheck>,
}

impl Awaited {
    /// Of a letter that is sent at this time.
    pub(super) fn of(letter: &Letter, now_ms: i64) -> Self {
        let event = Found::of(letter, now_ms, value::event_id(&letter.original), Mark::None).to_check();
        Self { next_id: letter.next_id(), event }
    }
}

impl DeadLetterIndex {
    /// Waits a little for the ends of what was sent.
    pub(super) async fn ends(&self, awaited: Vec<Awaited>) -> Result<Ends, AskError> {
        let mut open: BTreeMap<Uuid, Option<ToCheck>> = awaited.into_iter().map(|of| (of.next_id, of.event)).collect();
        let mut ends = Ends::default();
        let waiting_ms = i64::try_from(WAITING.as_millis()).unwrap_or(i64::MAX);
        let end_ms = self.clock.now_ms().saturating_add(waiting_ms);
        loop {
            let index = self.look_at_all().await?;
            let failed: Vec<Uuid> = open.keys().copied().filter(|id| index.find(*id).is_some()).collect();
            drop(index);
            failed.iter().for_each(|id| drop(open.remove(id)));
            let events = open.iter().filter_map(|(id, event)| Some((*id, event.clone()?)));
            let applied = self.applied_since(events.collect()).await;
            applied.iter().for_each(|id| drop(open.remove(id)));
            let failed = failed.len() as u64;
            ends = ends.plus(Ends { known: failed + applied.len() as u64, failed });
            if open.is_empty() || self.clock.now_ms() >= end_ms {
                return Ok(ends);
            }
            self.clock.sleep(LOOKING).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_stops_where_more_than_the_share_failed_of_enough_that_are_known() {
        let at = StopAt::default();
        let stops = |known, failed| Ends { known, failed }.stops(at).is_some();
        assert!(!stops(19, 19), "too few are known");
        assert!(!stops(20, 10), "half is not more than half");
        assert!(stops(20, 11));
        assert!(Ends { known: 40, failed: 40 }.stops(StopAt { percent: 100 }).is_none(), "never");
        assert!(Ends { known: 20, failed: 1 }.stops(StopAt { percent: 0 }).unwrap().contains("1 of 20"));
    }
}
