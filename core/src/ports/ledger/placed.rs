//! The ledger as processing sees it: aggregates have a state, events have keys, and this module decides where a key lies.
//!
//! A key lies with its home, the aggregate that its event names first, or is an item of its own. With its home it costs no
//! write of its own, and no condition: the home's version is one. That holds because of three rules:
//!
//! 1. Whoever writes a key, also one apart, writes its home, so that every key changes the home's version.
//! 2. A home says whether some of its keys are apart, from the transaction on that writes the first of them.
//! 3. Keys apart are read after the home that says so, and not while a transaction writes them
//!    ([`load_settled_keys`](Ledger::load_settled_keys)): what the home's version does not refute at the commit was true
//!    when they were read.
//!
//! Only keys of applied events are kept at home, so that none there is ever replaced. Where a home has too many, all of
//! them move into items of their own in one transaction, and it begins anew: what an aggregate is written with stays small.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    AggregateId, AggregateWrite, Claim, Commit, Content, Home, HomeKey, HomeKeys, KeyExpectation, KeyId, KeyStatus,
    KeyWrite, Ledger, LedgerError, Loaded, MAX_ACTIONS, MAX_COMMIT_BYTES, MAX_HOME_KEYS, StoredAggregate, StoredKey,
};
use crate::subscription::Subscription;

/// A ledger that puts the keys of one subscriber in their places.
#[derive(Clone)]
pub struct PlacedLedger {
    ledger: Arc<dyn Ledger>,
    places: Places,
}

/// Where the keys of one subscriber lie.
#[derive(Clone, Copy, Debug)]
struct Places {
    subscriber: &'static str,
    /// Whether keys have homes.
    at_home: bool,
    /// How many keys a home keeps.
    most: usize,
}

/// The name of an event's key. Where keys have homes, what another home has under the same event id is another event.
pub fn key_of(at_home: bool, subscriber: &str, tenant: &str, named: &[AggregateId], event_id: Uuid) -> KeyId {
    match named.first() {
        Some(home) if at_home => KeyId::at(home, subscriber, event_id),
        _ => KeyId::of(tenant, subscriber, event_id),
    }
}

/// An aggregate as it was read or written last, with whatever else lies with it.
#[derive(Clone, Debug)]
pub struct Held {
    version: Option<u64>,
    content: Content,
}

impl Held {
    /// Its state as it is written.
    pub fn state(&self) -> Option<&Bytes> {
        self.content.state.as_ref()
    }

    /// The bytes of what lies with it beside its state.
    fn key_bytes(&self) -> usize {
        self.content.keys.here.iter().map(|home| home.key.home_bytes()).sum()
    }
}

/// What was found of what was asked for.
#[derive(Debug, Default)]
pub struct Found {
    /// Every aggregate asked for, also one that is not there yet.
    pub aggregates: Vec<(AggregateId, Held)>,
    /// The keys that are there.
    pub keys: HashMap<KeyId, StoredKey>,
}

impl PlacedLedger {
    /// Puts the subscriber's keys with their homes, at most `most` (and [`MAX_HOME_KEYS`]) each, or each apart.
    pub fn new(ledger: Arc<dyn Ledger>, subscriber: &'static str, at_home: bool, most: usize) -> Self {
        Self { ledger, places: Places { subscriber, at_home, most: most.min(MAX_HOME_KEYS) } }
    }

    /// Puts the keys of a subscription where its effect says.
    pub fn of(subscription: &Subscription, ledger: &Arc<dyn Ledger>, most: usize) -> Self {
        Self::new(Arc::clone(ledger), subscription.name, subscription.effect.keys_at_home(), most)
    }

    /// Reads aggregates; one for each asked for, in that order.
    pub async fn read(&self, ids: &[AggregateId]) -> Result<Vec<Option<StoredAggregate>>, LedgerError> {
        let loaded = self.ledger.load(ids, &[]).await?;
        complete("aggregates", ids.len(), loaded.aggregates.len())?;
        Ok(loaded.aggregates)
    }

    /// Writes aggregates that have no keys: all of them, or nothing.
    pub async fn commit_aggregates(&self, aggregates: Vec<AggregateWrite>) -> Result<(), LedgerError> {
        self.ledger.commit(Commit { aggregates, keys: Vec::new() }).await
    }

    /// See [`Ledger::claim`].
    pub async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.ledger.claim(key, holder, now_ms, until_ms).await
    }

    /// Reads aggregates, each once, and keys. With `every_place` a key is also looked for where no home mentions it: after
    /// a conflict, since such a one would make the same conflict again.
    pub async fn load(
        &self,
        aggregates: Vec<AggregateId>,
        keys: &[KeyId],
        every_place: bool,
    ) -> Result<Found, LedgerError> {
        let (homeless, at_home): (Vec<KeyId>, Vec<KeyId>) = distinct(keys).cloned().partition(|key| key.home.is_none());
        let loaded = if aggregates.is_empty() && homeless.is_empty() {
            Loaded::default()
        } else {
            self.ledger.load(&aggregates, &homeless).await?
        };
        complete("aggregates", aggregates.len(), loaded.aggregates.len())?;
        complete("keys", homeless.len(), loaded.keys.len())?;
        let mut found = Found::default();
        found.aggregates.extend(aggregates.into_iter().zip(loaded.aggregates).map(|(id, stored)| {
            let held = match stored {
                Some(StoredAggregate { version, content }) => Held { version: Some(version), content },
                None => self.places.absent(),
            };
            (id, held)
        }));
        let homes: HashMap<(&str, &str, &str), &Held> =
            found.aggregates.iter().map(|(id, held)| ((&*id.tenant, &*id.kind, &*id.id), held)).collect();
        let home_of = |key: &KeyId| {
            let Home { kind, id } = key.home.as_ref()?;
            homes.get(&(&*key.tenant, &**kind, &**id)).copied()
        };
        // The order is what makes it safe: the homes tell which keys are apart.
        let may_be_apart = |key: &&KeyId| every_place || home_of(key).is_none_or(|home| home.content.keys.apart);
        let apart: Vec<KeyId> = at_home.iter().filter(may_be_apart).cloned().collect();
        let stored = if apart.is_empty() { Vec::new() } else { self.ledger.load_settled_keys(&apart).await? };
        complete("keys", apart.len(), stored.len())?;
        let here = at_home.iter().filter_map(|key| {
            let home = home_of(key)?.content.keys.here.iter().find(|of| of.event_id == key.event_id)?;
            Some((key.clone(), home.key.clone()))
        });
        let elsewhere = homeless.into_iter().zip(loaded.keys).chain(apart.into_iter().zip(stored));
        found.keys = elsewhere.filter_map(|(key, stored)| Some((key, stored?))).chain(here).collect();
        Ok(found)
    }

    /// The beginning of a transaction.
    pub fn draft(&self) -> Draft {
        Draft { writes: BTreeMap::new(), keys: Vec::new(), bytes: 0, most: self.places.most }
    }

    /// Writes all of the draft, or nothing; returns the aggregates as they are from then on.
    pub async fn commit(&self, draft: Draft) -> Result<Vec<(AggregateId, Held)>, LedgerError> {
        let (commit, written) = self.places.place(draft);
        self.ledger.commit(commit).await?;
        Ok(written)
    }

    /// Counts one failed attempt of the record's own in an epoch, and returns how many there are now.
    pub async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        self.ledger.count_attempt(key, epoch).await
    }
}

impl Places {
    /// An aggregate that was never written: of those whose keys have homes it is known that none of its keys is apart.
    fn absent(&self) -> Held {
        let keys = HomeKeys { here: Vec::new(), apart: !self.at_home };
        Held { version: None, content: Content { state: None, keys } }
    }

    /// Gives every aggregate that is written its content, and finds the keys that are items of their own.
    fn place(&self, draft: Draft) -> (Commit, Vec<(AggregateId, Held)>) {
        let mut of_home: BTreeMap<AggregateId, Vec<KeyWrite>> = BTreeMap::new();
        let mut keys = Vec::new();
        for write in draft.keys {
            match home_of(&write.id) {
                Some(home) if draft.writes.contains_key(&home) => of_home.entry(home).or_default().push(write),
                _ => keys.push(write),
            }
        }
        let mut aggregates = Vec::with_capacity(draft.writes.len());
        let mut written = Vec::with_capacity(draft.writes.len());
        for (id, DraftWrite { held: Held { version, content }, state }) in draft.writes {
            let own = of_home.remove(&id).unwrap_or_default();
            let mut write = AggregateWrite { id: id.clone(), expected: version, content: None };
            if !own.is_empty() || state.is_some() {
                let Content { state: before, keys: mut home } = content;
                keys.extend(self.settle_in(&id, &mut home, own));
                let content = Content { state: state.or(before), keys: home };
                write.content = Some(content.clone());
                written.push((id, Held { version: Some(version.unwrap_or(0) + 1), content }));
            }
            aggregates.push(write);
        }
        (Commit { aggregates, keys }, written)
    }

    /// Adds to the keys of one home what may stay there; returns what may not, and what has to make room.
    fn settle_in(&self, id: &AggregateId, keys: &mut HomeKeys, own: Vec<KeyWrite>) -> Vec<KeyWrite> {
        let (home, mut away): (Vec<_>, Vec<_>) = own.into_iter().partition(stays_home);
        if keys.here.len() + home.len() > self.most {
            let moved = std::mem::take(&mut keys.here).into_iter().map(|HomeKey { event_id, key }| KeyWrite {
                id: KeyId::at(id, self.subscriber, event_id),
                expected: KeyExpectation::Absent,
                key,
            });
            away.extend(moved);
            away.extend(home);
        } else {
            keys.here.extend(home.into_iter().map(|write| HomeKey { event_id: write.id.event_id, key: write.key }));
        }
        keys.apart |= !away.is_empty();
        away
    }
}

fn stays_home(KeyWrite { expected, key, .. }: &KeyWrite) -> bool {
    *expected == KeyExpectation::Absent && key.status == KeyStatus::Applied && key.fits_home()
}

fn home_of(key: &KeyId) -> Option<AggregateId> {
    let Home { kind, id } = key.home.clone()?;
    Some(AggregateId { tenant: key.tenant.clone(), kind, id })
}

/// A ledger that answers less than it was asked has answered nothing.
fn complete(what: &str, asked: usize, answered: usize) -> Result<(), LedgerError> {
    if asked == answered {
        return Ok(());
    }
    Err(LedgerError::Unavailable(format!("it was asked for {asked} {what} and answered {answered}")))
}

fn distinct(keys: &[KeyId]) -> impl Iterator<Item = &KeyId> {
    let mut seen = HashSet::new();
    keys.iter().filter(move |key| seen.insert(*key))
}

/// A transaction that is put together, decision by decision, as long as it stays within the ledger's limits.
#[derive(Debug)]
pub struct Draft {
    writes: BTreeMap<AggregateId, DraftWrite>,
    keys: Vec<KeyWrite>,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct DraftWrite {
    held: Held,
    /// Its new state, where it changes.
    state: Option<Bytes>,
}

/// What one decision says of one aggregate. Each that it saw is a condition, also one that stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which.
    pub id: &'a AggregateId,
    /// As it was read or written last.
    pub held: &'a Held,
    /// Its new state, where it changes.
    pub state: Option<&'a Bytes>,
}

impl Draft {
    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are written.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the transaction takes one more decision, assuming the worst: that every key becomes an item of its own.
    pub fn takes(&self, seen: &[Seen<'_>], key: &KeyWrite) -> bool {
        let new = || seen.iter().filter(|of| !self.writes.contains_key(of.id));
        let actions = self.writes.len() + new().count() + self.keys.len() + 1 + self.moving(seen, key);
        let held: usize = new().map(|of| of.held.state().map_or(0, Bytes::len) + of.held.key_bytes()).sum();
        let grown: usize = seen.iter().filter_map(|of| of.state).map(Bytes::len).sum();
        let replaced: usize = seen.iter().filter(|of| of.state.is_some()).map(|of| self.state_bytes(of)).sum();
        actions <= MAX_ACTIONS && self.bytes + held + grown - replaced + bytes_of(key) <= MAX_COMMIT_BYTES
    }

    /// How many keys have to move away from their homes once there is this one, too.
    fn moving(&self, seen: &[Seen<'_>], key: &KeyWrite) -> usize {
        let mut planned: HashMap<AggregateId, usize> = HashMap::new();
        for home in self.keys.iter().chain([key]).filter_map(|write| home_of(&write.id)) {
            *planned.entry(home).or_default() += 1;
        }
        let held = |id: &AggregateId| match self.writes.get(id) {
            Some(write) => Some(&write.held),
            None => seen.iter().find(|of| of.id == id).map(|of| of.held),
        };
        let here = planned.iter().filter_map(|(id, planned)| Some((held(id)?.content.keys.here.len(), planned)));
        here.filter(|(here, planned)| here + **planned > self.most).map(|(here, _)| here).sum()
    }

    /// The bytes of the state that a new one replaces.
    fn state_bytes(&self, of: &Seen<'_>) -> usize {
        let planned = self.writes.get(of.id).and_then(|write| write.state.as_ref());
        planned.or(of.held.state()).map_or(0, Bytes::len)
    }

    /// Adds one decision.
    pub fn add(&mut self, seen: &[Seen<'_>], key: KeyWrite) {
        for of in seen {
            if !self.writes.contains_key(of.id) {
                // Also of one that stays as it is: where it is the home of a key, it is written.
                self.bytes += of.held.state().map_or(0, Bytes::len) + of.held.key_bytes();
                self.writes.insert(of.id.clone(), DraftWrite { held: of.held.clone(), state: None });
            }
            if let Some(state) = of.state {
                self.bytes = self.bytes + state.len() - self.state_bytes(of);
                if let Some(write) = self.writes.get_mut(of.id) {
                    write.state = Some(state.clone());
                }
            }
        }
        self.bytes += bytes_of(&key);
        // An earlier decision of this very transaction may have left the key dead in an epoch before: one write an item.
        match self.keys.iter_mut().find(|planned| planned.id == key.id) {
            Some(planned) => planned.key = key.key,
            None => self.keys.push(key),
        }
    }
}

fn bytes_of(key: &KeyWrite) -> usize {
    key.key.recording.len() + key.key.source.topic.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;

    const TENANT: &str = "acme";

    fn home() -> AggregateId {
        AggregateId { tenant: TENANT.into(), kind: "booking".into(), id: "b".into() }
    }

    fn write(event: u128, status: KeyStatus) -> KeyWrite {
        let id = KeyId::at(&home(), "training", Uuid::from_u128(event));
        let source = Position::new("t", 0, 0);
        let key = StoredKey { status, epoch: 0, content_hash: [0; 32], source, recording: Bytes::from_static(b"{}") };
        KeyWrite { id, expected: KeyExpectation::Absent, key }
    }

    fn places(most: usize) -> Places {
        Places { subscriber: "training", at_home: true, most }
    }

    fn draft(places: Places) -> Draft {
        Draft { writes: BTreeMap::new(), keys: Vec::new(), bytes: 0, most: places.most }
    }

    /// Decides one event; the keys apart, and what is held of its home afterwards.
    fn decide(places: Places, held: &Held, key: KeyWrite, state: Option<&'static [u8]>) -> (Vec<KeyWrite>, Held) {
        let (id, state) = (home(), state.map(Bytes::from_static));
        let seen = [Seen { id: &id, held, state: state.as_ref() }];
        let mut draft = draft(places);
        assert!(draft.takes(&seen, &key));
        draft.add(&seen, key);
        let (commit, mut written) = places.place(draft);
        assert_eq!(commit.check(), Ok(()));
        (commit.keys, written.remove(0).1)
    }

    #[test]
    fn a_home_keeps_applied_keys_until_there_are_too_many_and_then_all_of_them_move() {
        let mut held = places(2).absent();
        for (event, here, apart, moves) in [(1, 1, false, 0), (2, 2, false, 0), (3, 0, true, 3), (4, 1, true, 0)] {
            let (keys, after) = decide(places(2), &held, write(event, KeyStatus::Applied), Some(b"s"));
            held = after;
            let HomeKeys { here: kept, apart: told } = &held.content.keys;
            assert_eq!((kept.len(), *told, keys.len()), (here, apart, moves), "{event}");
        }
    }

    #[test]
    fn a_rejection_writes_its_home_although_the_state_stays() {
        let (_, before) = decide(places(2), &places(2).absent(), write(1, KeyStatus::Applied), Some(b"s"));
        let (keys, after) = decide(places(2), &before, write(2, KeyStatus::Dead), None);
        assert_eq!((after.version, after.state(), keys.len()), (Some(2), before.state(), 1));
        assert!(after.content.keys.apart && after.content.keys.here == before.content.keys.here);
    }

    #[test]
    fn a_draft_counts_the_keys_that_would_have_to_move() {
        let id = home();
        let mut held = places(16).absent();
        for event in 0..16 {
            held = decide(places(16), &held, write(event, KeyStatus::Applied), Some(b"s")).1;
        }
        let seen = [Seen { id: &id, held: &held, state: None }];
        let mut draft = draft(places(16));
        let taken = (100..).take_while(|event| {
            let key = write(*event, KeyStatus::Applied);
            let takes = draft.takes(&seen, &key);
            draft.add(&seen, key);
            takes
        });
        // One aggregate, and each key an item of its own: the sixteen that move leave room for this many.
        assert_eq!(taken.count(), MAX_ACTIONS - 1 - 16);
    }
}
