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

/// Puts keys into the writes of their homes, whose state and keys are `held`, at most so many; what is returned are items
/// of their own.
pub(super) fn place_at_home(
    subscriber: &str,
    writes: &mut BTreeMap<AggregateId, AggregateWrite>,
    planned: Vec<PlannedKey>,
    held: impl Fn(&AggregateId) -> (Option<bytes::Bytes>, HomeKeys),
    most: usize,
    breach: Breach,
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
        let (state, mut keys) = held(id);
        let planned = of_home.remove(id).unwrap_or_default();
        if planned.is_empty() && write.content.is_none() {
            continue;
        }
        let (home, mut away): (Vec<_>, Vec<_>) = planned.into_iter().partition(PlannedKey::stays_home);
        if keys.here.len() + home.len() > most {
            let moved = std::mem::take(&mut keys.here).into_iter().map(|HomeKey { event_id, key }| KeyWrite {
                id: KeyId { tenant: id.tenant.clone(), subscriber: subscriber.to_owned(), event_id },
                expected: KeyExpectation::Absent,
                key,
            });
            if !breach.moved_lost {
                apart.extend(moved);
            }
            keys.apart |= !breach.apart_untold;
            away.extend(home);
        } else {
            let kept = home
                .into_iter()
                .map(|PlannedKey { write, .. }| HomeKey { event_id: write.id.event_id, key: write.key });
            keys.here.extend(kept);
        }
        let told_apart = keys.apart;
        keys.apart |= !away.is_empty() && !breach.apart_untold;
        let unwritten = breach.home_unwritten && told_apart && write.content.is_none() && !away.is_empty();
        apart.extend(away.into_iter().map(|key| key.write));
        if !unwritten {
            write.content = Some(Content { state, keys });
        }
    }
    apart
}
