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
use smol_str::SmolStr;
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
pub fn key_of(
    at_home: bool,
    subscriber: &'static str,
    tenant: &SmolStr,
    named: &[AggregateId],
    event_id: Uuid,
) -> KeyId {
    match named.first() {
        Some(home) if at_home => KeyId::at(home, SmolStr::new_static(subscriber), event_id),
        _ => KeyId::of(tenant.clone(), SmolStr::new_static(subscriber), event_id),
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
        Draft { writes: BTreeMap::new(), keys: Vec::new(), planned: HashMap::new(), bytes: 0, most: self.places.most }
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
                id: KeyId::at(id, SmolStr::new_static(self.subscriber), event_id),
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

/// The aggregate at which a key is at home; none where keys have no home.
pub(crate) fn home_of(key: &KeyId) -> Option<AggregateId> {
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
    /// How many of the keys have which home.
    planned: HashMap<AggregateId, usize>,
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
        let held = |id: &AggregateId| match self.writes.get(id) {
            Some(write) => Some(&write.held),
            None => seen.iter().find(|of| of.id == id).map(|of| of.held),
        };
        let home = home_of(&key.id);
        let more = |id: &AggregateId| usize::from(home.as_ref() == Some(id));
        let new = home.as_ref().filter(|home| !self.planned.contains_key(home)).map(|home| (home, 1));
        let planned = self.planned.iter().map(|(id, keys)| (id, keys + more(id))).chain(new);
        let here = planned.filter_map(|(id, planned)| Some((held(id)?.content.keys.here.len(), planned)));
        here.filter(|(here, planned)| here + planned > self.most).map(|(here, _)| here).sum()
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
            None => {
                if let Some(home) = home_of(&key.id) {
                    *self.planned.entry(home).or_default() += 1;
                }
                self.keys.push(key);
            }
        }
    }
}

fn bytes_of(key: &KeyWrite) -> usize {
    key.key.recording.len() + key.key.source.topic.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures::FutureExt;

    use super::*;
    use crate::catalog::PLATFORM_DEAD_LETTERS;
    use crate::record::Position;
    use crate::subscription::{Effect, KeyPlace, Reads};

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
        Draft { writes: BTreeMap::new(), keys: Vec::new(), planned: HashMap::new(), bytes: 0, most: places.most }
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
        let taken = (100..1_000).take_while(|event| {
            let key = write(*event, KeyStatus::Applied);
            let takes = draft.takes(&seen, &key);
            draft.add(&seen, key);
            takes
        });
        // One aggregate, and each key an item of its own: the sixteen that move leave room for this many.
        assert_eq!(taken.count(), MAX_ACTIONS - 1 - 16);
    }

    /// A ledger in memory that remembers what it was asked for.
    #[derive(Debug, Default)]
    struct Asked {
        aggregates: BTreeMap<AggregateId, StoredAggregate>,
        keys: HashMap<KeyId, StoredKey>,
        /// Whether an answer lacks its last entry.
        is_short: bool,
        calls: Mutex<Vec<(&'static str, Vec<KeyId>)>>,
    }

    impl Asked {
        /// Each call, and the keys that it was about.
        fn calls(&self) -> Vec<(&'static str, Vec<KeyId>)> {
            self.calls.lock().expect("no test panics while it is held").clone()
        }

        fn note(&self, call: &'static str, keys: &[KeyId]) {
            self.calls.lock().expect("no test panics while it is held").push((call, keys.to_vec()));
        }

        fn answer<T>(&self, mut answer: Vec<T>) -> Vec<T> {
            if self.is_short {
                answer.pop();
            }
            answer
        }
    }

    #[async_trait]
    impl Ledger for Asked {
        async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
            self.note("load", keys);
            Ok(Loaded {
                aggregates: self.answer(aggregates.iter().map(|id| self.aggregates.get(id).cloned()).collect()),
                keys: self.answer(keys.iter().map(|id| self.keys.get(id).cloned()).collect()),
            })
        }

        async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
            self.note("load_settled_keys", keys);
            Ok(self.answer(keys.iter().map(|id| self.keys.get(id).cloned()).collect()))
        }

        async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
            self.note("commit", &commit.keys.iter().map(|write| write.id.clone()).collect::<Vec<_>>());
            commit.check()
        }

        async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
            self.note("count_attempt", std::slice::from_ref(key));
            Ok(epoch + 40)
        }

        async fn claim(&self, key: &KeyId, _: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
            self.note("claim", std::slice::from_ref(key));
            Ok(Claim::Elsewhere { until_ms: until_ms - now_ms })
        }

        async fn list(&self, _: &str, _: &str, _: usize) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
            unreachable!("nothing is listed here")
        }

        async fn ping(&self) -> Result<(), LedgerError> {
            unreachable!("nothing is asked for its health here")
        }
    }

    /// What a future of the ledger above, which never waits, comes to.
    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing waits")
    }

    fn placed(ledger: Asked) -> (PlacedLedger, Arc<Asked>) {
        let ledger = Arc::new(ledger);
        (PlacedLedger::new(ledger.clone(), "training", true, 2), ledger)
    }

    fn aggregate(number: usize) -> AggregateId {
        AggregateId { id: number.to_string().into(), ..home() }
    }

    fn key(event: u128) -> (KeyId, StoredKey) {
        let KeyWrite { id, key, .. } = write(event, KeyStatus::Applied);
        (id, key)
    }

    /// Of the event's home, which says whether others are apart.
    fn stored(event: u128, apart: bool) -> StoredAggregate {
        let here = vec![HomeKey { event_id: Uuid::from_u128(event), key: key(event).1 }];
        let content = Content { state: Some(Bytes::from_static(b"s")), keys: HomeKeys { here, apart } };
        StoredAggregate { version: 7, content }
    }

    #[test]
    fn a_key_has_a_home_where_keys_have_one_and_its_event_names_an_aggregate() {
        let of = |at_home, named: &[AggregateId]| key_of(at_home, "training", &TENANT.into(), named, Uuid::nil()).home;
        let named = [home(), aggregate(1)];
        assert_eq!(of(true, &named).map(|home| home.id), Some("b".into()));
        assert_eq!((of(false, &named), of(true, &[])), (None, None));
    }

    #[test]
    fn an_aggregate_that_is_not_there_has_keys_apart_only_where_no_key_has_a_home() {
        for at_home in [true, false] {
            let ledger = PlacedLedger::new(Arc::new(Asked::default()), "training", at_home, 2);
            let found = now(ledger.load(vec![home()], &[], false)).expect("it answers");
            let (id, held) = &found.aggregates[0];
            assert_eq!((id, held.state(), held.version, held.content.keys.apart), (&home(), None, None, !at_home));
        }
    }

    #[test]
    fn a_key_is_found_with_its_home_and_looked_for_elsewhere_only_where_the_home_says_so() {
        for (apart, every_place, looked_for) in [(false, false, 0), (true, false, 2), (false, true, 2)] {
            let (ledger, asked) = placed(Asked {
                aggregates: [(home(), stored(1, apart))].into(),
                keys: [key(2)].into(),
                ..Asked::default()
            });
            let keys = [key(1).0, key(2).0, key(1).0];
            let found = now(ledger.load(vec![home()], &keys, every_place)).expect("it answers");
            assert_eq!(found.aggregates[0].1.state(), Some(&Bytes::from_static(b"s")));
            let expected: HashMap<KeyId, StoredKey> =
                if looked_for == 0 { [key(1)].into() } else { [key(1), key(2)].into() };
            assert_eq!(found.keys, expected, "{apart} {every_place}");
            let calls = asked.calls();
            assert_eq!(
                calls.iter().map(|(_, keys)| keys.len()).sum::<usize>(),
                looked_for,
                "each key once, in {calls:?}"
            );
        }
    }

    #[test]
    fn a_key_without_a_home_is_read_with_the_aggregates_and_one_whose_home_is_not_read_is_looked_for_apart() {
        let homeless = KeyId::of(TENANT, "training", Uuid::from_u128(3));
        let (ledger, asked) = placed(Asked { keys: [key(1), (homeless.clone(), key(3).1)].into(), ..Asked::default() });
        let found = now(ledger.load(Vec::new(), &[homeless.clone(), key(1).0], false)).expect("it answers");
        assert_eq!(found.keys.len(), 2);
        let calls = asked.calls();
        assert_eq!(calls, [("load", vec![homeless]), ("load_settled_keys", vec![key(1).0])]);
    }

    #[test]
    fn an_answer_that_lacks_something_is_none() {
        let homeless = KeyId::of(TENANT, "training", Uuid::from_u128(3));
        for (aggregates, keys) in [(vec![home()], vec![]), (vec![], vec![homeless]), (vec![], vec![key(1).0])] {
            let (ledger, _) = placed(Asked { is_short: true, ..Asked::default() });
            let error = now(ledger.load(aggregates, &keys, false)).expect_err("it is one short");
            assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn what_is_committed_is_what_was_drafted_and_the_version_is_the_next_one() {
        let (ledger, asked) = placed(Asked { aggregates: [(home(), stored(1, false))].into(), ..Asked::default() });
        let found = now(ledger.load(vec![aggregate(1), home()], &[], false)).expect("it answers");
        let [(absent, absent_held), (id, held)] = &found.aggregates[..] else { panic!("two were asked for") };
        let state = Bytes::from_static(b"next");
        let seen = [
            Seen { id, held, state: Some(&state) },
            // It stays as it is, and is a condition.
            Seen { id: absent, held: absent_held, state: None },
        ];
        let mut draft = ledger.draft();
        assert_eq!((draft.is_empty(), draft.len()), (true, 0));
        for event in [2, 3] {
            draft.add(&seen, write(event, KeyStatus::Applied));
        }
        assert_eq!((draft.is_empty(), draft.len()), (false, 2));
        let written = now(ledger.commit(draft)).expect("it is within the limits");
        assert_eq!(written.len(), 1, "what stays has no new version");
        assert_eq!((&written[0].0, written[0].1.version, written[0].1.state()), (id, Some(8), Some(&state)));
        // The three keys of the home are one too many.
        let calls = asked.calls();
        assert_eq!((calls[1].0, calls[1].1.len()), ("commit", 3));
    }

    #[test]
    fn the_first_version_is_1_and_an_aggregate_is_written_for_its_state_alone_too() {
        let (id, other, state) = (home(), aggregate(1), Bytes::from_static(b"s"));
        let absent = places(2).absent();
        let mut draft = draft(places(2));
        let seen =
            [Seen { id: &id, held: &absent, state: None }, Seen { id: &other, held: &absent, state: Some(&state) }];
        draft.add(&seen, write(1, KeyStatus::Applied));
        let (commit, written) = places(2).place(draft);
        assert_eq!(commit.check(), Ok(()));
        assert_eq!(written.iter().map(|(_, held)| held.version).collect::<Vec<_>>(), [Some(1), Some(1)]);
        assert_eq!(written.iter().map(|(_, held)| held.state()).collect::<Vec<_>>(), [Some(&state), None]);
        assert!(commit.aggregates.iter().all(|write| write.expected.is_none() && write.content.is_some()));
    }

    #[test]
    fn a_key_whose_home_is_not_among_what_was_seen_is_an_item_of_its_own() {
        let (id, absent) = (aggregate(1), places(2).absent());
        let mut draft = draft(places(2));
        draft.add(&[Seen { id: &id, held: &absent, state: None }], write(1, KeyStatus::Applied));
        let (commit, written) = places(2).place(draft);
        assert_eq!((commit.keys.len(), written.len()), (1, 0));
    }

    #[test]
    fn only_a_small_key_of_an_applied_event_that_was_never_dead_stays_at_home() {
        let applied = write(1, KeyStatus::Applied);
        let dead = write(1, KeyStatus::Dead);
        let replayed = KeyWrite { expected: KeyExpectation::DeadAt(0), ..applied.clone() };
        let replayed = KeyWrite { key: StoredKey { epoch: 1, ..replayed.key.clone() }, ..replayed };
        for (write, stays) in [(applied, true), (dead, false), (replayed, false), (large_key(1, 500), false)] {
            let (keys, held) = decide(places(2), &places(2).absent(), write, Some(b"s"));
            assert_eq!((keys.is_empty(), held.content.keys.here.len() == 1), (stays, stays));
            assert_eq!(held.content.keys.apart, !stays);
        }
    }

    #[test]
    fn aggregates_without_keys_are_read_and_written_as_they_are() {
        let kept = stored(1, true);
        let (ledger, asked) = placed(Asked { aggregates: [(home(), kept.clone())].into(), ..Asked::default() });
        assert_eq!(now(ledger.read(&[aggregate(1), home()])), Ok(vec![None, Some(kept)]));
        let write = AggregateWrite { id: home(), expected: Some(7), content: Some(Content::of("s")) };
        assert_eq!(now(ledger.commit_aggregates(vec![write.clone()])), Ok(()));
        assert_eq!(asked.calls(), [("load", vec![]), ("commit", vec![])]);
        // What no ledger takes is refused here, too: it was handed on.
        assert!(now(ledger.commit_aggregates(vec![write.clone(), write])).is_err());
        let (ledger, _) = placed(Asked { is_short: true, ..Asked::default() });
        assert!(matches!(now(ledger.read(&[home()])), Err(LedgerError::Unavailable(_))));
    }

    #[test]
    fn a_lease_is_the_ledgers_answer() {
        let (ledger, _) = placed(Asked::default());
        let claim = now(ledger.claim(&key(1).0, Uuid::nil(), 3, 10));
        assert_eq!(claim, Ok(Claim::Elsewhere { until_ms: 7 }));
    }

    #[test]
    fn a_subscriptions_keys_lie_where_its_effect_says() {
        let of = |effect| Subscription {
            name: "s",
            reads: Reads::Others(&[]),
            dead_letters: PLATFORM_DEAD_LETTERS,
            publishes: &[],
            effect,
        };
        let ledger: Arc<dyn Ledger> = Arc::new(Asked::default());
        for (effect, apart) in [(Effect::Stateful { keys: KeyPlace::Home }, false), (Effect::Reaction, true)] {
            let ledger = PlacedLedger::of(&of(effect), &ledger, 2);
            let found = now(ledger.load(vec![home()], &[], false)).expect("it answers");
            assert_eq!(found.aggregates[0].1.content.keys.apart, apart);
        }
    }

    #[test]
    fn an_attempt_is_counted_by_the_ledger() {
        let (ledger, asked) = placed(Asked::default());
        assert_eq!(now(ledger.count_attempt(&key(1).0, 2)), Ok(42));
        assert_eq!(asked.calls()[0].0, "count_attempt");
    }

    /// A key apart, with so many bytes of recording and topic.
    fn large_key(event: u128, bytes: usize) -> KeyWrite {
        let mut write = write(event, KeyStatus::Applied);
        write.key.recording = Bytes::from(vec![b' '; bytes - write.key.source.topic.len()]);
        write
    }

    fn homeless(event: u128) -> KeyWrite {
        KeyWrite { id: KeyId::of(TENANT, "training", Uuid::from_u128(event)), ..write(event, KeyStatus::Applied) }
    }

    #[test]
    fn a_draft_takes_as_many_items_as_a_transaction_and_not_one_more() {
        let ids: Vec<AggregateId> = (0..20).map(aggregate).collect();
        let held = places(2).absent();
        let seen = |range: std::ops::Range<usize>| -> Vec<Seen<'_>> {
            ids[range].iter().map(|id| Seen { id, held: &held, state: None }).collect()
        };
        let mut draft = draft(places(2));
        // Ten aggregates, seen again and again, and 81 keys.
        for event in 0..81 {
            assert!(draft.takes(&seen(0..10), &homeless(event)));
            draft.add(&seen(0..10), homeless(event));
        }
        assert!(draft.takes(&seen(10..18), &homeless(81)));
        assert!(!draft.takes(&seen(10..19), &homeless(81)));
        // Those that are written already cost nothing more.
        assert!(draft.takes(&seen(0..18), &homeless(81)));
    }

    #[test]
    fn the_keys_that_have_to_move_are_those_of_the_keys_own_home() {
        let ids: Vec<AggregateId> = (0..100).map(aggregate).collect();
        let (id, absent) = (home(), places(16).absent());
        let takes = |held_keys: u128, others: usize| {
            let mut held = places(16).absent();
            for event in 0..held_keys {
                held = decide(places(16), &held, write(event, KeyStatus::Applied), Some(b"s")).1;
            }
            let mut seen: Vec<Seen<'_>> =
                ids[..others].iter().map(|id| Seen { id, held: &absent, state: None }).collect();
            seen.push(Seen { id: &id, held: &held, state: None });
            draft(places(16)).takes(&seen, &write(99, KeyStatus::Applied))
        };
        // The home, its key, the others: with 15 keys there is room for one more, with 16 all of them move.
        assert_eq!([takes(15, 98), takes(15, 99)], [true, false]);
        assert_eq!([takes(16, 82), takes(16, 83)], [true, false]);
    }

    #[test]
    fn a_draft_takes_as_many_bytes_as_a_transaction_and_not_one_more() {
        let id = home();
        let [before, state, next] = [1_000, 2_000, 5_000].map(|bytes| Bytes::from(vec![b' '; bytes]));
        // A home of 1,000 bytes with two keys of 20 each.
        let here = [1, 2].map(|event| HomeKey { event_id: Uuid::from_u128(event), key: large_key(event, 20).key });
        let keys = HomeKeys { here: here.into(), apart: false };
        let held = Held { version: Some(1), content: Content { state: Some(before), keys } };
        let takes_up_to = |draft: &Draft, seen: &[Seen<'_>], bytes: usize| {
            assert!(draft.takes(seen, &large_key(9, bytes)));
            assert!(!draft.takes(seen, &large_key(9, bytes + 1)));
        };
        let first = [Seen { id: &id, held: &held, state: Some(&state) }];
        let mut draft = draft(places(16));
        takes_up_to(&draft, &first, MAX_COMMIT_BYTES - (2_000 + 40));
        // What is only seen counts, too: where it is a home, it is written.
        takes_up_to(&draft, &[Seen { id: &id, held: &held, state: None }], MAX_COMMIT_BYTES - (1_000 + 40));
        draft.add(&first, large_key(3, 300));
        let so_far = 2_000 + 40 + 300;
        let same = [Seen { id: &id, held: &held, state: None }];
        takes_up_to(&draft, &same, MAX_COMMIT_BYTES - so_far);
        let again = [Seen { id: &id, held: &held, state: Some(&next) }];
        takes_up_to(&draft, &again, MAX_COMMIT_BYTES - (so_far - 2_000 + 5_000));
        draft.add(&again, large_key(4, 400));
        takes_up_to(&draft, &same, MAX_COMMIT_BYTES - (so_far - 2_000 + 5_000 + 400));
    }

    #[test]
    fn a_key_that_an_earlier_decision_of_the_draft_wrote_is_written_once_with_its_last_word() {
        let (id, absent) = (home(), places(2).absent());
        let seen = [Seen { id: &id, held: &absent, state: None }];
        let mut draft = draft(places(2));
        draft.add(&seen, write(1, KeyStatus::Applied));
        draft.add(&seen, write(2, KeyStatus::Dead));
        draft.add(&seen, large_key(2, 200));
        assert_eq!(draft.len(), 2);
        let (commit, _) = places(2).place(draft);
        let [apart] = &commit.keys[..] else { panic!("{commit:?}") };
        assert_eq!((apart.id.event_id, apart.key.home_bytes()), (Uuid::from_u128(2), 200));
    }
}
