//! A replay whose records fail again is bad: it is noticed by how those ended that it has sent, and stops itself.

use std::collections::BTreeMap;
use std::time::Duration;

use lyceum_core::dead_letter::DeadLetter as Letter;
use uuid::Uuid;

use super::index::{Found, Mark, ToCheck};
use super::letters::Ends;
use super::{DeadLetterIndex, value};
use crate::questions::AskError;

/// So long it is waited for the ends of what was sent, before more is.
const WAITING: Duration = Duration::from_secs(5);
/// How often it is looked meanwhile.
const LOOKING: Duration = Duration::from_millis(200);

/// What was sent, and whose end is to be seen.
pub(super) struct Awaited {
    /// The id of the letter that it becomes where it fails again.
    next_id: Uuid,
    /// Its event, where that can be applied.
    event: Option<ToCheck>,
}

impl Awaited {
    /// Of a letter that is sent. Its event has no document while it waits, so that one of any time tells that it was applied.
    pub(super) fn of(letter: &Letter) -> Self {
        let event = Found::of(letter, 0, value::event_id(&letter.original), Mark::None).to_check();
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
            // What was just sent is on its way; and what was applied is asked of a store, while letters are read from their topics.
            self.clock.sleep(LOOKING).await;
            let events = open.iter().filter_map(|(id, event)| Some((*id, event.clone()?)));
            let applied = self.applied_since(events.collect()).await;
            applied.iter().for_each(|id| drop(open.remove(id)));
            ends.known += applied.len() as u64;
            if open.is_empty() {
                return Ok(ends);
            }
            let index = self.look_at_all().await?;
            let failed: Vec<Uuid> = open.keys().copied().filter(|id| index.find(*id).is_some()).collect();
            drop(index);
            failed.iter().for_each(|id| drop(open.remove(id)));
            let failed = failed.len() as u64;
            ends = ends.plus(Ends { known: failed, failed });
            if open.is_empty() || self.clock.now_ms() >= end_ms {
                return Ok(ends);
            }
        }
    }
}
