//! Step 4: commits what was decided, and decides anew where something else was faster.

use std::collections::HashMap;

use super::decide::Transaction;
use super::load::WorkingSet;
use super::{Decide, Keyed};
use crate::family::TypedEvent;
use crate::ports::ledger::LedgerError;
use crate::process::batch::Disposition;
use crate::process::{Invocation, Item};

/// What becomes of the records of a group, by their places in the batch.
type Dispositions = Vec<(usize, Disposition)>;

impl<E: TypedEvent, D: Decide<E>> Keyed<'_, E, D> {
    /// Decides and commits the events of one group, in order. What is not decided when the time or the attempts are spent
    /// is redelivered.
    pub(super) async fn decide_and_commit(
        &self,
        items: Vec<&Item<'_, E>>,
        loaded: Result<WorkingSet<D::State>, LedgerError>,
        invocation: &Invocation,
    ) -> Dispositions {
        let mut group = Group { left: items, decided: Vec::new(), spent: HashMap::new() };
        if let Err(reason) = self.commit_group(&mut group, loaded, invocation).await {
            group.redeliver_rest(&reason);
        }
        group.decided
    }

    /// `Err`: why the rest of the group is redelivered.
    async fn commit_group(
        &self,
        group: &mut Group<'_, '_, E>,
        loaded: Result<WorkingSet<D::State>, LedgerError>,
        invocation: &Invocation,
    ) -> Result<(), String> {
        let mut working = match loaded {
            // What cannot be read may concern another group of the batch: this one asks for its own.
            Err(LedgerError::Refused(_)) => self.load_group(group, false, invocation).await?,
            loaded => loaded.map_err(|error| error.to_string())?,
        };
        let mut attempts = invocation.commit_attempts();
        while !group.left.is_empty() {
            let transaction = self.decide_in_order(&group.left, &mut working, &group.spent, invocation);
            let Transaction { draft, dispositions, covered, failed } = transaction;
            let committed = if draft.is_empty() {
                Ok(Vec::new())
            } else {
                invocation.in_time(LedgerError::Uncertain, self.ledger.commit(draft)).await
            };
            match committed {
                Ok(written) => {
                    for (id, held) in written {
                        if let Some(of) = working.aggregates.get_mut(&id) {
                            of.held = held;
                        }
                    }
                    group.decided.extend(dispositions);
                    group.left.drain(..covered);
                }
                Err(error) => {
                    if !attempts.again_after(&error).await {
                        return Err(error.to_string());
                    }
                    // What was decided on is no longer what is stored: read it again, the keys tell what happened.
                    working = self.load_group(group, true, invocation).await?;
                    continue;
                }
            }
            if let Some(reason) = failed {
                self.count_attempt(group, reason, invocation).await?;
            }
        }
        Ok(())
    }

    async fn load_group(
        &self,
        group: &Group<'_, '_, E>,
        after_conflict: bool,
        invocation: &Invocation,
    ) -> Result<WorkingSet<D::State>, String> {
        let load = || WorkingSet::load(self.ledger, &group.left, after_conflict);
        let loaded = invocation.until_it_succeeds(LedgerError::Unavailable, load).await;
        loaded.map_err(|error| error.to_string())
    }

    /// The own work of the next event failed; `Ok` where its attempts are spent, so that this is decided about it now.
    async fn count_attempt(
        &self,
        group: &mut Group<'_, '_, E>,
        reason: String,
        invocation: &Invocation,
    ) -> Result<(), String> {
        let Some(first) = group.left.first() else { return Ok(()) };
        let counted = self.ledger.count_attempt(&first.key, first.envelope.replay_count);
        match invocation.in_time(LedgerError::Uncertain, counted).await {
            Ok(count) if count >= invocation.retry().deliveries => {
                group.spent.insert(first.index, count);
                Ok(())
            }
            _ => Err(reason),
        }
    }
}

/// The events of a group that are not decided yet, and what becomes of the others.
struct Group<'b, 'a, E: TypedEvent> {
    left: Vec<&'b Item<'a, E>>,
    decided: Dispositions,
    /// Those whose attempts are spent, and how many these were.
    spent: HashMap<usize, u32>,
}

impl<E: TypedEvent> Group<'_, '_, E> {
    /// Marks the first of what is left, and everything behind it, for redelivery.
    fn redeliver_rest(&mut self, reason: &str) {
        let Some(first) = self.left.first() else { return };
        self.decided.push((first.index, Disposition::redeliver(reason)));
        let behind = format!("waits behind {}: {reason}", first.record.position);
        self.decided.extend(self.left.iter().skip(1).map(|item| (item.index, Disposition::redeliver(&*behind))));
    }
}
