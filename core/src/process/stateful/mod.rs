//! Steps 2 to 4 of a family that keeps state: load, decide in order, commit; the heart of exactly-once.

use futures::StreamExt;

use super::batch::Batch;
use super::{Invocation, Item, Processor};
use crate::family::Family;

mod commit;
mod decide;
mod load;

pub(super) use load::read_state;

/// At most this many groups of a batch are at the ledger at once.
const GROUPS_AT_ONCE: usize = 8;

impl<F: Family> Processor<F> {
    /// Decides and commits every event of the batch, group by group.
    pub(super) async fn decide_groups(&self, batch: &mut Batch<'_, F>, invocation: &Invocation) {
        let items: Vec<&Item<'_, F>> = batch.entries.iter().filter_map(|entry| entry.item.as_ref()).collect();
        if items.is_empty() {
            return;
        }
        let load = || self.load(&items, false);
        let mut loaded = invocation.until_it_succeeds(crate::ports::ledger::LedgerError::Unavailable, load).await;
        let mut groups = Vec::with_capacity(batch.groups.len());
        for group in &batch.groups {
            let members: Vec<_> = group.iter().filter_map(|&at| batch.entries[at].item.as_ref()).collect();
            let part = match &mut loaded {
                Ok(all) => Ok(all.take_part(&members)),
                Err(error) => Err(error.clone()),
            };
            groups.push(self.decide_and_commit(members, part, invocation));
        }
        let decided: Vec<_> = futures::stream::iter(groups).buffer_unordered(GROUPS_AT_ONCE).collect().await;
        for (index, disposition) in decided.into_iter().flatten() {
            batch.entries[index].disposition = disposition;
        }
    }
}
