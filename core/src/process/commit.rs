//! Steps 2 to 4: load, decide in order, commit; the heart of exactly-once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::place::{Breach, Placing, PlannedKey};
use super::recording::Recording;
use super::{Fate, Item, Processor, planted};
use crate::dead_letter::{Publication, without_value};
use crate::envelope::{finding, follow_up_id};
use crate::family::{Decision, EffectPolicy, Family, KeyPlace, Refusal};
use crate::outcome::{Anomaly, DeadLetterKind, Finding, Outcome};
use crate::ports::ledger::{
    AggregateId, AggregateWrite, Commit, Content, HomeKey, HomeKeys, KeyExpectation, KeyId, KeyStatus, KeyWrite,
    LedgerError, Loaded, MAX_ACTIONS, MAX_COMMIT_BYTES, MAX_HOME_KEYS, MAX_ITEM_BYTES, StoredAggregate, StoredKey,
};
use crate::record::{Header, NewRecord};
use crate::trace;

/// Aggregates and keys as they were read, and what was decided since.
pub(super) struct Working<S> {
    aggregates: HashMap<AggregateId, Held<S>>,
    keys: HashMap<KeyId, HeldKey>,
}

#[derive(Clone)]
struct Held<S> {
    version: Option<u64>,
    state: Option<S>,
    /// The state as it is written.
    encoded: Option<Bytes>,
    keys: HomeKeys,
}

#[derive(Clone)]
enum HeldKey {
    /// As it was read.
    Stored(StoredKey),
    /// Decided in this batch, by the record at that place of it.
    Fresh { first: usize, status: KeyStatus, epoch: u32, content_hash: [u8; 32] },
}

impl HeldKey {
    fn status(&self) -> KeyStatus {
        match self {
            Self::Stored(key) => key.status,
            Self::Fresh { status, .. } => *status,
        }
    }

    fn epoch(&self) -> u32 {
        match self {
            Self::Stored(key) => key.epoch,
            Self::Fresh { epoch, .. } => *epoch,
        }
    }

    fn content_hash(&self) -> &[u8; 32] {
        match self {
            Self::Stored(key) => &key.content_hash,
            Self::Fresh { content_hash, .. } => content_hash,
        }
    }

    /// Whether it settles a delivery of that epoch: applied is final, dead until a later epoch decides anew.
    fn settles(&self, epoch: u32) -> bool {
        self.status() == KeyStatus::Applied || epoch <= self.epoch()
    }
}

/// One transaction and what it decides.
struct Plan {
    /// The content of one that is written is put together when all is planned.
    writes: BTreeMap<AggregateId, AggregateWrite>,
    keys: Vec<PlannedKey>,
    fates: Vec<(usize, Fate)>,
    /// How many of the items it covers; the rest goes into the next transaction.
    covered: usize,
    bytes: usize,
    /// The own work of the next item failed.
    failed: Option<String>,
}

impl<F: Family> Processor<F> {
    /// One load for the whole batch.
    pub(super) async fn load_all(
        &self,
        items: &[Item<'_, F>],
        deadline_ms: i64,
    ) -> Result<Working<F::State>, LedgerError> {
        let members: Vec<&Item<'_, F>> = items.iter().collect();
        let mut attempt = 0;
        loop {
            match self.load_in_time(&members, false, deadline_ms).await {
                Err(error) if error.is_transient() => {
                    attempt += 1;
                    if !self.wait_before(attempt, deadline_ms).await {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Aggregates, and those keys that may be apart; after a conflict all of them, so that none which nobody told of
    /// makes the same conflict again.
    pub(super) async fn load(&self, items: &[&Item<'_, F>], all_keys: bool) -> Result<Working<F::State>, LedgerError> {
        let mut seen = HashSet::new();
        let ids: Vec<AggregateId> =
            items.iter().flat_map(|item| &item.aggregates).filter(|id| seen.insert(*id)).cloned().collect();
        let ledger = &self.services.ledger;
        let (stored, keys) = match F::SPEC.effect {
            // The order is what makes it safe: the homes tell which keys are apart.
            EffectPolicy::StateAndKey { keys: KeyPlace::Home } => {
                let early = match planted!(self, KeysReadBeforeHomes) {
                    true => Some(self.load_keys(distinct(items.iter().map(|item| &item.key))).await?),
                    false => None,
                };
                let stored = if ids.is_empty() { Vec::new() } else { ledger.load(&ids, &[]).await?.aggregates };
                let homes: HashMap<&AggregateId, &Option<StoredAggregate>> = ids.iter().zip(&stored).collect();
                let may_be_apart = |item: &Item<'_, F>| match item.aggregates.first().map(|home| homes.get(home)) {
                    Some(Some(Some(home))) => home.content.keys.apart,
                    Some(_) => false,
                    None => true,
                };
                let wanted = items.iter().filter(|item| all_keys || may_be_apart(item));
                let keys = match early {
                    Some(keys) => keys,
                    None => self.load_keys(distinct(wanted.map(|item| &item.key))).await?,
                };
                (stored, keys)
            }
            _ => {
                let keys = distinct(items.iter().map(|item| &item.key));
                let Loaded { aggregates, keys: stored } = ledger.load(&ids, &keys).await?;
                (aggregates, keys.into_iter().zip(stored).collect())
            }
        };
        let mut keys: HashMap<KeyId, HeldKey> =
            keys.into_iter().filter_map(|(id, key)| Some((id, HeldKey::Stored(key?)))).collect();
        let mut aggregates = HashMap::with_capacity(ids.len());
        for (id, stored) in ids.into_iter().zip(stored) {
            let held = match stored {
                Some(StoredAggregate { version, content }) => Held {
                    version: Some(version),
                    state: read_state(&id, content.state.as_ref())?,
                    encoded: content.state,
                    keys: content.keys,
                },
                None => Held { version: None, state: None, encoded: None, keys: first_keys::<F>() },
            };
            keys.extend(held.keys.here.iter().map(|HomeKey { event_id, key }| {
                (KeyId::at(&id, F::SPEC.name, *event_id), HeldKey::Stored(key.clone()))
            }));
            aggregates.insert(id, held);
        }
        Ok(Working { aggregates, keys })
    }

    async fn load_in_time(
        &self,
        items: &[&Item<'_, F>],
        all_keys: bool,
        deadline_ms: i64,
    ) -> Result<Working<F::State>, LedgerError> {
        self.in_time(deadline_ms, LedgerError::Unavailable, self.load(items, all_keys)).await
    }

    /// Keys that are items of their own although they have homes.
    async fn load_keys(&self, keys: Vec<KeyId>) -> Result<Vec<(KeyId, Option<StoredKey>)>, LedgerError> {
        let ledger = &self.services.ledger;
        let stored = match keys.as_slice() {
            [] => Vec::new(),
            keys if planted!(self, KeysReadPlainly) => ledger.load(&[], keys).await?.keys,
            keys => ledger.load_settled_keys(keys).await?,
        };
        Ok(keys.into_iter().zip(stored).collect())
    }

    /// Decides and commits the events of one group, in order; a fate for each.
    pub(super) async fn decide_and_commit(
        &self,
        mut items: Vec<&Item<'_, F>>,
        loaded: Result<&Working<F::State>, LedgerError>,
        now_ms: i64,
        deadline_ms: i64,
    ) -> Vec<(usize, Fate)> {
        let mut fates = Vec::with_capacity(items.len());
        let mut working = match loaded {
            Ok(all) => all.part(&items),
            // What cannot be read may concern another group of the batch: this one asks for its own.
            Err(LedgerError::Refused(_)) => match self.load_in_time(&items, false, deadline_ms).await {
                Ok(own) => own,
                Err(error) => return self.rest_later(fates, &items, &error.to_string()),
            },
            Err(error) => return items.iter().map(|item| (item.index, Fate::later(error.to_string()))).collect(),
        };
        let (mut conflicts, mut attempt) = (0, 0);
        let mut spent: HashMap<usize, u32> = HashMap::new();
        while !items.is_empty() {
            let plan = self.plan(&items, &mut working, &spent, now_ms);
            let Plan { mut writes, keys, fates: planned, covered, failed, .. } = plan;
            let committed = if keys.is_empty() {
                Ok(())
            } else {
                let keys = self.place(&mut writes, keys, &mut working);
                let commit = Commit { aggregates: writes.into_values().collect(), keys };
                let committed = self.commit(commit, &mut working);
                self.in_time(deadline_ms, LedgerError::Uncertain, committed).await
            };
            match committed {
                Ok(()) => {
                    fates.extend(planned);
                    items.drain(..covered);
                }
                Err(error) => {
                    let goes_on = match error {
                        LedgerError::Conflict | LedgerError::Uncertain(_) => {
                            conflicts += 1;
                            self.wait_after_conflict(conflicts, deadline_ms).await
                        }
                        LedgerError::Unavailable(_) => {
                            attempt += 1;
                            self.wait_before(attempt, deadline_ms).await
                        }
                        LedgerError::Refused(_) => false,
                    };
                    if !goes_on {
                        return self.rest_later(fates, &items, &error.to_string());
                    }
                    // What was decided on is no longer what is stored: read it again, the keys tell what happened.
                    match self.load_in_time(&items, true, deadline_ms).await {
                        Ok(fresh) => working = fresh,
                        Err(error) if error.is_transient() => {
                            attempt += 1;
                            if !self.wait_before(attempt, deadline_ms).await {
                                return self.rest_later(fates, &items, &error.to_string());
                            }
                            match self.load_in_time(&items, true, deadline_ms).await {
                                Ok(fresh) => working = fresh,
                                Err(error) => return self.rest_later(fates, &items, &error.to_string()),
                            }
                        }
                        Err(error) => return self.rest_later(fates, &items, &error.to_string()),
                    }
                    continue;
                }
            }
            if let Some(reason) = failed {
                let first = items[0];
                let counted = self.services.ledger.count_attempt(&first.key, first.envelope.replay_count);
                match self.in_time(deadline_ms, LedgerError::Uncertain, counted).await {
                    Ok(count) if count >= self.config.retry.deliveries => {
                        spent.insert(first.index, count);
                    }
                    _ if planted!(self, RecordsBehindDoNotWait) => {
                        fates.push((first.index, Fate::later(reason)));
                        items.remove(0);
                    }
                    _ => return self.rest_later(fates, &items, &reason),
                }
            }
        }
        fates
    }

    /// From the first one that is to come again on, every record of the key comes again with it.
    fn rest_later(&self, mut fates: Vec<(usize, Fate)>, items: &[&Item<'_, F>], reason: &str) -> Vec<(usize, Fate)> {
        let Some(first) = items.first() else { return fates };
        fates.push((first.index, Fate::later(reason)));
        let behind = format!("waits behind {}: {reason}", first.record.position);
        fates.extend(items.iter().skip(1).map(|item| (item.index, Fate::later(behind.clone()))));
        fates
    }

    async fn wait_after_conflict(&self, conflicts: u32, deadline_ms: i64) -> bool {
        let clock = &self.services.clock;
        let delay = Duration::from_millis(10 << conflicts.min(6)).mul_f64(clock.jitter());
        if conflicts > self.config.retry.conflicts || delay >= self.remaining(deadline_ms) {
            return false;
        }
        clock.sleep(delay).await;
        true
    }

    async fn commit(&self, commit: Commit, working: &mut Working<F::State>) -> Result<(), LedgerError> {
        let changed: Vec<AggregateId> =
            commit.aggregates.iter().filter(|write| write.content.is_some()).map(|write| write.id.clone()).collect();
        self.services.ledger.commit(commit).await?;
        for id in changed {
            if let Some(held) = working.aggregates.get_mut(&id) {
                held.version = Some(held.version.unwrap_or(0) + 1);
            }
        }
        Ok(())
    }

    fn home_keys(&self) -> usize {
        self.config.home_keys.min(MAX_HOME_KEYS)
    }

    /// Gives every aggregate that is written its content; returns the keys that are items of their own.
    fn place(
        &self,
        writes: &mut BTreeMap<AggregateId, AggregateWrite>,
        keys: Vec<PlannedKey>,
        working: &mut Working<F::State>,
    ) -> Vec<KeyWrite> {
        let breach = Breach {
            home_unwritten: planted!(self, RejectionLeavesHome),
            apart_untold: planted!(self, HomeForgetsKeysApart),
            moved_lost: planted!(self, MovedKeysVanish),
        };
        let held = |id: &AggregateId| match working.aggregates.get(id) {
            Some(held) => Content { state: held.encoded.clone(), keys: held.keys.clone() },
            None => Content { state: None, keys: first_keys::<F>() },
        };
        let placing = Placing { subscriber: F::SPEC.name, most: self.home_keys(), breach };
        let apart = placing.place(writes, keys, held);
        for (id, write) in writes {
            if let (Some(held), Some(content)) = (working.aggregates.get_mut(id), &write.content) {
                held.keys = content.keys.clone();
            }
        }
        apart
    }

    /// Decides as many of the items as fit into one transaction.
    fn plan(
        &self,
        items: &[&Item<'_, F>],
        working: &mut Working<F::State>,
        spent: &HashMap<usize, u32>,
        now_ms: i64,
    ) -> Plan {
        let mut plan =
            Plan { writes: BTreeMap::new(), keys: Vec::new(), fates: Vec::new(), covered: 0, bytes: 0, failed: None };
        let home_keys = self.home_keys();
        for item in items {
            let replay_count = item.envelope.replay_count;
            let anew = planted!(self, ReplayDecidesAnew) && replay_count > 0;
            // Whatever its epoch: a replayed conflict must not take the id from the event that it is in conflict with.
            let conflicts = |key: &HeldKey| !item.is_content(key.content_hash());
            let found = working.keys.get(&item.key);
            let known = found.filter(|key| (key.settles(replay_count) || conflicts(key)) && !anew).cloned();
            let states: Vec<Option<F::State>> = item
                .aggregates
                .iter()
                .map(|id| working.aggregates.get(id).and_then(|held| held.state.clone()))
                .collect();
            if let Some(known) = known {
                plan.fates.push((item.index, self.settled_before(item, &known, &states, now_ms)));
                plan.covered += 1;
                continue;
            }
            let attempts = spent.get(&item.index).copied();
            let decided = if attempts.is_some() {
                Err(dead(
                    DeadLetterKind::Processing,
                    "attempts.spent",
                    "every attempt of this record's own work failed".into(),
                ))
            } else {
                match self.decide(item, &states, now_ms) {
                    Ok(decision) => self.encode(item, decision),
                    Err(Refusal::Rejected { rule, message }) => Err(dead(DeadLetterKind::Rejected, rule, message)),
                    Err(Refusal::Transient { reason }) => {
                        plan.failed = Some(reason);
                        return plan;
                    }
                }
            };
            let refuse = |(kind, findings)| self.refused(item, kind, findings, attempts.unwrap_or(1), now_ms);
            let accepted = decided.unwrap_or_else(refuse);
            let full = planted!(self, OneKeyACommit) && !plan.keys.is_empty();
            if full || !plan.takes(item, &accepted, working, home_keys) {
                if plan.covered > 0 {
                    return plan;
                }
                // Not even alone: no repetition mends that.
                let message = format!("its states and recording exceed one transaction of {MAX_COMMIT_BYTES} bytes");
                let refused = refuse(dead(DeadLetterKind::Database, "limit.transaction", message));
                plan.add(item, refused, working);
            } else {
                plan.add(item, accepted, working);
            }
        }
        plan
    }

    fn decide(
        &self,
        item: &Item<'_, F>,
        states: &[Option<F::State>],
        now_ms: i64,
    ) -> Result<Decision<F::State>, Refusal> {
        let at = self.occurrence(item, now_ms);
        // A family that panics must not take its partition with it: the record's own failure, and its attempts are counted.
        catch_unwind(AssertUnwindSafe(|| F::decide(states, &item.event, &at))).unwrap_or_else(|_| {
            Err(Refusal::Transient { reason: "the program failed while deciding this event".into() })
        })
    }

    /// The fate of an event whose key is there: nothing is decided, its recording is emitted again.
    fn settled_before(&self, item: &Item<'_, F>, known: &HeldKey, states: &[Option<F::State>], now_ms: i64) -> Fate {
        if !item.is_content(known.content_hash()) {
            let message = format!("the event id {} was used before with another content", item.envelope.id);
            let findings = vec![finding("event-id.conflict", "", message)];
            let letter = self.letter_for(item, DeadLetterKind::Conflict, &findings, 1, now_ms);
            return Fate::letter(letter, DeadLetterKind::Conflict, item.record.position.clone(), findings);
        }
        let key = match known {
            HeldKey::Fresh { first, .. } => return Fate::LikeFirst { first: *first },
            HeldKey::Stored(key) => key,
        };
        let mut recording = match Recording::decode(&key.recording) {
            Ok(recording) => recording,
            Err(error) => return Fate::later(error.to_string()),
        };
        let outcome = match (key.status, recording.dead) {
            (KeyStatus::Dead, kind) => Outcome::DeadLettered { kind: kind.unwrap_or(DeadLetterKind::Rejected) },
            (KeyStatus::Applied, _) if key.source == item.record.position => Outcome::Applied,
            (KeyStatus::Applied, _) => Outcome::Duplicate,
        };
        let silent = match key.status {
            KeyStatus::Applied => planted!(self, DuplicateEmitsNothing),
            KeyStatus::Dead => planted!(self, DeadDuplicateEmitsNothing),
        };
        if silent {
            recording = Recording::default();
        }
        if planted!(self, DuplicateDecidesAnew)
            && key.status == KeyStatus::Applied
            && let Err(Refusal::Rejected { rule, message }) = self.decide(item, states, now_ms)
        {
            let (kind, findings) = dead(DeadLetterKind::Rejected, rule, message);
            recording.publications.push(self.letter_for(item, kind, &findings, 1, now_ms));
        }
        Fate::Emit { outcome, recording, source: key.source.clone(), findings: Vec::new(), anomalies: Vec::new() }
    }

    /// An accepted event as it is written.
    fn encode(
        &self,
        item: &Item<'_, F>,
        decision: Decision<F::State>,
    ) -> Result<Decided<F::State>, (DeadLetterKind, Vec<Finding>)> {
        let mut states = Vec::with_capacity(decision.states.len());
        for (id, state) in item.aggregates.iter().zip(decision.states) {
            let Some(state) = state else {
                states.push(None);
                continue;
            };
            let encoded = serde_json::to_vec(&state)
                .map_err(|error| dead(DeadLetterKind::Processing, "state.encode", error.to_string()))?;
            if encoded.len() > MAX_ITEM_BYTES {
                let message = format!(
                    "with this event the {id} would have {} bytes, and an item takes {MAX_ITEM_BYTES}",
                    encoded.len()
                );
                return Err(dead(DeadLetterKind::Database, "limit.item", message));
            }
            states.push(Some((state, Bytes::from(encoded))));
        }
        let publications = decision.follow_ups.into_iter().enumerate().map(|(ordinal, follow_up)| {
            let id = follow_up_id(item.envelope.id, follow_up.event_type, ordinal);
            let mut headers = vec![
                Header::new("event-id", id.to_string()),
                Header::new("event-type", follow_up.event_type),
                Header::new("correlation-id", item.envelope.correlation_id.to_string()),
                Header::new("tenant-id", item.envelope.tenant.to_string()),
            ];
            headers.extend(trace::context_of(&item.record.headers).cloned());
            let record = NewRecord {
                key: Some(follow_up.key.into()),
                value: Some(follow_up.value.into()),
                headers,
                ..NewRecord::default()
            };
            Publication { topic: follow_up.topic.to_owned(), record }
        });
        let recording = Recording {
            statement_stored_ms: Some(item.record.timestamp_ms),
            publications: publications.collect(),
            dead: None,
        };
        let encoded = recording.encode();
        if encoded.len() > MAX_ITEM_BYTES {
            let message =
                format!("what follows from this event has {} bytes, and an item takes {MAX_ITEM_BYTES}", encoded.len());
            return Err(dead(DeadLetterKind::Database, "limit.item", message));
        }
        let anomalies = decision.anomalies;
        Ok(Decided {
            states,
            recording,
            encoded,
            status: KeyStatus::Applied,
            outcome: Outcome::Applied,
            findings: Vec::new(),
            anomalies,
        })
    }

    /// A rejection is a decision like any other: its key has the letter as recording.
    fn refused(
        &self,
        item: &Item<'_, F>,
        kind: DeadLetterKind,
        findings: Vec<Finding>,
        attempts: u32,
        now_ms: i64,
    ) -> Decided<F::State> {
        let letter = self.letter_for(item, kind, &findings, attempts, now_ms);
        let mut recording = Recording { statement_stored_ms: None, publications: vec![letter], dead: Some(kind) };
        let mut encoded = recording.encode();
        // Control characters in header names grow sixfold in a recording; the original then stays where it came from.
        if encoded.len() > MAX_ITEM_BYTES {
            recording.publications = recording.publications.into_iter().map(without_value).collect();
            encoded = recording.encode();
        }
        let outcome = Outcome::DeadLettered { kind };
        let states = item.aggregates.iter().map(|_| None).collect();
        Decided { states, recording, encoded, status: KeyStatus::Dead, outcome, findings, anomalies: Vec::new() }
    }
}

/// A stored state.
pub(super) fn read_state<S: DeserializeOwned>(
    id: &AggregateId,
    state: Option<&Bytes>,
) -> Result<Option<S>, LedgerError> {
    let read = state.map(|state| serde_json::from_slice(state)).transpose();
    read.map_err(|error| LedgerError::Refused(format!("the stored {id} cannot be read by this release: {error}")))
}

/// What an aggregate that was never written says of its keys.
fn first_keys<F: Family>() -> HomeKeys {
    match F::SPEC.effect {
        EffectPolicy::StateAndKey { keys: KeyPlace::Home } => HomeKeys { here: Vec::new(), apart: false },
        _ => HomeKeys::default(),
    }
}

fn distinct<'a>(keys: impl Iterator<Item = &'a KeyId>) -> Vec<KeyId> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(*key)).cloned().collect()
}

/// A decision in the form in which it is written.
struct Decided<S> {
    states: Vec<Option<(S, Bytes)>>,
    recording: Recording,
    encoded: Bytes,
    status: KeyStatus,
    outcome: Outcome,
    findings: Vec<Finding>,
    anomalies: Vec<Anomaly>,
}

fn dead(kind: DeadLetterKind, rule: &'static str, message: String) -> (DeadLetterKind, Vec<Finding>) {
    (kind, vec![finding(rule, "", message)])
}

impl Plan {
    /// Whether the transaction takes one more decision, whatever of it becomes an item of its own.
    fn takes<F: Family>(
        &self,
        item: &Item<'_, F>,
        decided: &Decided<F::State>,
        working: &Working<F::State>,
        home_keys: usize,
    ) -> bool {
        let new = || item.aggregates.iter().filter(|id| !self.writes.contains_key(*id));
        let moving = self.moving(item.aggregates.first(), working, home_keys);
        let actions = self.writes.len() + new().count() + self.keys.len() + 1 + moving;
        let held: usize = new().map(|id| working.bytes(id)).sum();
        let changed = item.aggregates.iter().zip(&decided.states).filter_map(|(id, state)| Some((id, state.as_ref()?)));
        let (replaced, states) = changed.fold((0, 0), |(replaced, states), (id, (_, bytes))| {
            (replaced + working.state_bytes(id), states + bytes.len())
        });
        let key = decided.encoded.len() + item.record.position.topic.len();
        actions <= MAX_ACTIONS && self.bytes + held - replaced + states + key <= MAX_COMMIT_BYTES
    }

    /// How many keys have to move away from their homes once there is one more of that home.
    fn moving<S>(&self, home: Option<&AggregateId>, working: &Working<S>, home_keys: usize) -> usize {
        let mut planned: HashMap<&AggregateId, usize> = HashMap::new();
        for home in self.keys.iter().filter_map(|key| key.home.as_ref()).chain(home) {
            *planned.entry(home).or_default() += 1;
        }
        let here = planned.into_iter().filter_map(|(id, planned)| Some((working.aggregates.get(id)?, planned)));
        let too_many = here.filter(|(held, planned)| held.keys.here.len() + planned > home_keys);
        too_many.map(|(held, _)| held.keys.here.len()).sum()
    }

    fn add<F: Family>(&mut self, item: &Item<'_, F>, decided: Decided<F::State>, working: &mut Working<F::State>) {
        let Decided { states, recording, encoded, status, outcome, findings, anomalies } = decided;
        // Every aggregate that the decision saw is a condition of the transaction, also where it stays as it is.
        for (id, state) in item.aggregates.iter().zip(states) {
            if !self.writes.contains_key(id) {
                // Also of one that stays as it is: where it is the home of a key, it is written.
                self.bytes += working.bytes(id);
            }
            let Some(held) = working.aggregates.get_mut(id) else { continue };
            let write = self.writes.entry(id.clone()).or_insert_with(|| AggregateWrite {
                id: id.clone(),
                expected: held.version,
                content: None,
            });
            if let Some((state, bytes)) = state {
                self.bytes = self.bytes + bytes.len() - held.encoded.as_ref().map_or(0, Bytes::len);
                write.content = Some(Content::of(bytes.clone()));
                held.state = Some(state);
                held.encoded = Some(bytes);
            }
        }
        let expected = match working.keys.get(&item.key) {
            Some(key) => KeyExpectation::DeadAt(key.epoch()),
            None => KeyExpectation::Absent,
        };
        self.bytes += encoded.len() + item.record.position.topic.len();
        let epoch = item.envelope.replay_count;
        let key = StoredKey {
            status,
            epoch,
            content_hash: item.content_hash,
            source: item.record.position.clone(),
            recording: encoded,
        };
        // An earlier record of this very transaction may have left the key dead in an epoch before: one write per item.
        match self.keys.iter_mut().find(|planned| planned.write.id == item.key) {
            Some(planned) => planned.write.key = key,
            None => {
                let home = match F::SPEC.effect {
                    EffectPolicy::StateAndKey { keys: KeyPlace::Home } => item.aggregates.first().cloned(),
                    _ => None,
                };
                self.keys.push(PlannedKey { home, write: KeyWrite { id: item.key.clone(), expected, key } });
            }
        }
        let fresh = HeldKey::Fresh { first: item.index, status, epoch, content_hash: item.content_hash };
        working.keys.insert(item.key.clone(), fresh);
        let source = item.record.position.clone();
        self.fates.push((item.index, Fate::Emit { outcome, recording, source, findings, anomalies }));
        self.covered += 1;
    }
}

impl<S> Working<S> {
    /// The bytes of an aggregate's state.
    fn state_bytes(&self, id: &AggregateId) -> usize {
        self.aggregates.get(id).and_then(|held| held.encoded.as_ref()).map_or(0, Bytes::len)
    }

    /// The bytes of an aggregate's state and of its keys.
    fn bytes(&self, id: &AggregateId) -> usize {
        let keys = self.aggregates.get(id).map_or(&[][..], |held| &held.keys.here);
        self.state_bytes(id) + keys.iter().map(|home| home.key.home_bytes()).sum::<usize>()
    }

    /// How an event ended, as its key tells.
    pub(super) fn ended(&self, key: &KeyId) -> Option<KeyStatus> {
        self.keys.get(key).map(HeldKey::status)
    }
}

impl<S: Clone> Working<S> {
    /// What concerns these items.
    fn part<F: Family<State = S>>(&self, items: &[&Item<'_, F>]) -> Self {
        let ids = items.iter().flat_map(|item| &item.aggregates);
        let held = |id: &AggregateId| Some((id.clone(), self.aggregates.get(id)?.clone()));
        let key = |item: &&Item<'_, F>| Some((item.key.clone(), self.keys.get(&item.key)?.clone()));
        Self { aggregates: ids.filter_map(held).collect(), keys: items.iter().filter_map(key).collect() }
    }
}
