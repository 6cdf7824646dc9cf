//! Where the idempotency keys of a transaction go: with their home, the aggregate that their event names first, or into
//! items of their own.
//!
//! A key with its home costs no write of its own, and no condition: the home's version is one. That holds because of
//! three rules, each of which the simulation plants the breach of:
//!
//! 1. Whoever writes a key, also one apart, writes its home, so that the home's version tells of every key.
//! 2. A home says whether some of its keys are apart, from the transaction on that writes the first of them.
//! 3. Keys apart are read after the home that says so, and as no transaction is just writing them
//!    ([`load_settled_keys`](crate::ports::ledger::Ledger::load_settled_keys)): what the home's version does not refute at
//!    the commit was true when they were read.
//!
//! Only keys of applied events are kept at home, so that none there is ever replaced. Where a home has too many, all of
//! them move into items of their own in one transaction, and it begins anew: what an aggregate is written with stays small.

use std::collections::BTreeMap;

use crate::ports::ledger::{
    AggregateId, AggregateWrite, Content, HomeKey, HomeKeys, KeyExpectation, KeyId, KeyStatus, KeyWrite,
};

/// A key of a transaction, and the aggregate that is its home.
pub(super) struct PlannedKey {
    pub(super) home: Option<AggregateId>,
    pub(super) write: KeyWrite,
}

impl PlannedKey {
    fn stays_home(&self) -> bool {
        let KeyWrite { expected, key, .. } = &self.write;
        *expected == KeyExpectation::Absent && key.status == KeyStatus::Applied && key.fits_home()
    }
}

/// The breach of a rule that is planted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breach {
    /// Of the first: a home that nothing else changes is a condition only.
    pub(super) home_unwritten: bool,
    /// Of the second.
    pub(super) apart_untold: bool,
    /// What moves is not written.
    pub(super) moved_lost: bool,
}

/// Puts the keys of one subscriber at home.
pub(super) struct Placing<'a> {
    pub(super) subscriber: &'a str,
    /// How many keys a home keeps.
    pub(super) most: usize,
    pub(super) breach: Breach,
}

impl Placing<'_> {
    /// Gives every aggregate that is written its content, from what of its state and keys is `held` and what is planned;
    /// returns the keys that are items of their own.
    pub(super) fn place(
        &self,
        writes: &mut BTreeMap<AggregateId, AggregateWrite>,
        planned: Vec<PlannedKey>,
        held: impl Fn(&AggregateId) -> Content,
    ) -> Vec<KeyWrite> {
        let mut of_home: BTreeMap<AggregateId, Vec<PlannedKey>> = BTreeMap::new();
        let mut apart = Vec::new();
        for key in planned {
            match key.home.clone() {
                Some(home) if writes.contains_key(&home) => of_home.entry(home).or_default().push(key),
                _ => apart.push(key.write),
            }
        }
        for (id, write) in writes {
            let planned = of_home.remove(id).unwrap_or_default();
            if planned.is_empty() && write.content.is_none() {
                continue;
            }
            let mut content = held(id);
            let told_apart = content.keys.apart;
            let away = self.settle_in(id, &mut content.keys, planned);
            let unwritten = self.breach.home_unwritten && told_apart && write.content.is_none() && !away.is_empty();
            apart.extend(away);
            if !unwritten {
                write.content = Some(content);
            }
        }
        apart
    }

    /// Adds to the keys of one home what may stay there; returns what may not, and what has to make room.
    fn settle_in(&self, id: &AggregateId, keys: &mut HomeKeys, planned: Vec<PlannedKey>) -> Vec<KeyWrite> {
        let (home, away): (Vec<_>, Vec<_>) = planned.into_iter().partition(PlannedKey::stays_home);
        let mut away: Vec<_> = away.into_iter().map(|key| key.write).collect();
        if keys.here.len() + home.len() > self.most {
            let moved = std::mem::take(&mut keys.here).into_iter().map(|HomeKey { event_id, key }| KeyWrite {
                id: KeyId::at(id, self.subscriber, event_id),
                expected: KeyExpectation::Absent,
                key,
            });
            if !self.breach.moved_lost {
                away.extend(moved);
            }
            away.extend(home.into_iter().map(|key| key.write));
        } else {
            let kept = home
                .into_iter()
                .map(|PlannedKey { write, .. }| HomeKey { event_id: write.id.event_id, key: write.key });
            keys.here.extend(kept);
        }
        keys.apart |= !away.is_empty() && !self.breach.apart_untold;
        away
    }
}
