//! Steps 2 to 4 of the effects that have idempotency keys: load, decide in order, commit; the heart of exactly-once.

use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::Batch;
use super::{Invocation, Item, Shell};
use crate::family::{Decision, Occurrence, TypedEvent};
use crate::outcome::Refusal;
use crate::ports::ledger::LedgerError;
use crate::ports::ledger::placed::PlacedLedger;
use crate::states::States;

mod commit;
mod decide;
mod load;

pub(super) use decide::publication;
pub(super) use load::{WorkingSet, read_state};

/// At most this many groups of a batch are at the ledger at once.
const GROUPS_AT_ONCE: usize = 8;

/// The decision of an effect about one event. Pure.
pub(super) trait Decide<E: TypedEvent>: Sync {
    /// The state of any aggregate that an event names; nothing where none does.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync;

    /// Decides, given the states of the event's aggregates.
    fn decide(
        &self,
        item: &Item<'_, E>,
        states: &States<'_, Self::State>,
        at: &Occurrence,
    ) -> Result<Decision<Self::State>, Refusal>;
}

/// What steps 2 to 4 work with.
pub(super) struct Keyed<'p, E: TypedEvent, D> {
    pub(super) shell: &'p Shell<E>,
    pub(super) ledger: &'p PlacedLedger,
    pub(super) effect: D,
}

impl<E: TypedEvent, D: Decide<E>> Keyed<'_, E, D> {
    /// Decides and commits every event of the batch about which nothing is decided yet, group by group.
    pub(super) async fn decide_groups(&self, batch: &mut Batch<'_, E>, invocation: &Invocation) {
        let groups: Vec<Vec<&Item<'_, E>>> = batch
            .groups
            .iter()
            .map(|group| group.iter().filter_map(|&at| batch.entries[at].undecided()).collect())
            .filter(|group: &Vec<_>| !group.is_empty())
            .collect();
        let items: Vec<&Item<'_, E>> = groups.iter().flatten().copied().collect();
        if items.is_empty() {
            return;
        }
        let load = || WorkingSet::load(self.ledger, &items, false);
        let mut loaded = invocation.until_it_succeeds(LedgerError::Unavailable, load).await;
        let mut pending = Vec::with_capacity(groups.len());
        for group in groups {
            let part = match &mut loaded {
                Ok(all) => Ok(all.take_part(&group)),
                Err(error) => Err(error.clone()),
            };
            pending.push(self.decide_and_commit(group, part, invocation));
        }
        let decided: Vec<_> = futures::stream::iter(pending).buffer_unordered(GROUPS_AT_ONCE).collect().await;
        for (index, disposition) in decided.into_iter().flatten() {
            batch.entries[index].disposition = disposition;
        }
    }
}
