//! The ledger, made unreliable, and the defects that are planted around it.

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::dead_letter::LETTER_ID_HEADER;
use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Claim, Commit, Home, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, LedgerError,
    Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::process::look_into;
use lyceum_core::record::header_text;
use lyceum_core::subscription::Effect;
use lyceum_watch_security::state::WATCH;
use uuid::Uuid;

use super::Line;
use crate::defect::Defect;
use crate::executor::{answer, pause};
use crate::fault::Fault;
use crate::stage::Committed;

pub(super) struct FaultyLedger(pub(super) Line);

#[async_trait]
impl Ledger for FaultyLedger {
    /// Keys and aggregates are read one after the other, either first: together they are no snapshot.
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell("reads: fails");
            return Err(LedgerError::Unavailable("throttled".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("reads").await {}
        }
        let keys_first = stage.draw(|random| random.one_in(2));
        let mut loaded = Loaded::default();
        for half in [keys_first, !keys_first] {
            if half {
                let names: Vec<KeyId> = keys.iter().map(|id| stage.state().name_of(id)).collect();
                loaded.keys = answer(stage.ledger.load(&[], &names))?.keys;
                for (name, key) in names.iter().zip(&mut loaded.keys) {
                    *key = stage.state().seen(name, key.take());
                }
                loaded.keys.iter_mut().flatten().for_each(|key| self.silence(key));
                let found = loaded.keys.iter().flatten().count();
                self.0.tell(format_args!("reads {} keys, finds {found}", keys.len()));
            } else {
                loaded.aggregates = answer(stage.ledger.load(aggregates, &[]))?.aggregates;
                let versions: Vec<_> =
                    loaded.aggregates.iter().map(|of| of.as_ref().map_or(0, |of| of.version)).collect();
                let at_home = loaded.aggregates.iter_mut().flatten().flat_map(|of| &mut of.content.keys.here);
                at_home.for_each(|home| self.silence(&mut home.key));
                self.0.tell(format_args!("reads aggregates, versions {versions:?}"));
            }
            pause().await;
        }
        Ok(loaded)
    }

    async fn load_settled_keys(&self, keys: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        if self.0.stage.defect == Some(Defect::KeysReadPlainly) {
            return Ok(self.load(&[], keys).await?.keys);
        }
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell("reads settled keys: fails");
            return Err(LedgerError::Unavailable("a transaction is at them".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("reads settled keys").await {}
        }
        let names: Vec<KeyId> = keys.iter().map(|id| stage.state().name_of(id)).collect();
        let mut found = answer(stage.ledger.load_settled_keys(&names))?;
        found.iter_mut().flatten().for_each(|key| self.silence(key));
        self.0.tell(format_args!("reads {} settled keys, finds {}", keys.len(), found.iter().flatten().count()));
        pause().await;
        Ok(found)
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell("commits: fails");
            return Err(LedgerError::Unavailable("throttled".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("commits").await {}
        }
        self.commit_with_defects(commit).await?;
        pause().await;
        if stage.strikes(Fault::AnswerLost) {
            self.0.tell("commit: answer lost");
            return Err(LedgerError::Uncertain("timed out".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("committed").await {}
        }
        Ok(())
    }

    async fn count_attempt(&self, key: &KeyId, epoch: u32) -> Result<u32, LedgerError> {
        pause().await;
        if self.0.stage.strikes(Fault::CallFails) {
            return Err(LedgerError::Unavailable("throttled".into()));
        }
        if self.0.stage.strikes(Fault::Hangs) {
            match self.0.hang("counts an attempt").await {}
        }
        let count = answer(self.0.stage.ledger.count_attempt(key, epoch))?;
        self.0.tell(format_args!("counts attempt {count} of {}", key.event_id));
        pause().await;
        if self.0.stage.strikes(Fault::Hangs) {
            match self.0.hang("counted an attempt").await {}
        }
        Ok(count)
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        pause().await;
        if self.0.stage.strikes(Fault::CallFails) {
            return Err(LedgerError::Unavailable("throttled".into()));
        }
        if self.0.stage.strikes(Fault::Hangs) {
            match self.0.hang("claims").await {}
        }
        let defect = self.0.stage.defect;
        // Who gives one back still does.
        let is_endless = defect == Some(Defect::LeaseNeverEnds) && until_ms > now_ms;
        let last_ms = if is_endless { i64::MAX } else { until_ms };
        let mut claim = answer(self.0.stage.ledger.claim(key, holder, now_ms, last_ms))?;
        if matches!(defect, Some(Defect::LeaseForEveryone { .. })) {
            claim = Claim::Held;
        }
        if claim == Claim::Held {
            self.0.stage.state().leases.insert(key.event_id, until_ms);
        }
        self.0.tell(format_args!("claims {}: {claim:?}", key.event_id));
        pause().await;
        if self.0.stage.strikes(Fault::AnswerLost) {
            return Err(LedgerError::Uncertain("timed out".into()));
        }
        if self.0.stage.strikes(Fault::Hangs) {
            match self.0.hang("claimed").await {}
        }
        Ok(claim)
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.0.stage.ledger.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}

impl FaultyLedger {
    /// One transaction.
    fn transact(&self, commit: Commit) -> Result<(), LedgerError> {
        let stage = &self.0.stage;
        let written = self.decided(&commit);
        let mut renamed = commit.clone();
        for write in &mut renamed.keys {
            write.id = stage.state().name_of(&write.id);
        }
        let names: Vec<KeyId> = renamed.keys.iter().map(|write| write.id.clone()).collect();
        let before = answer(stage.ledger.load(&[], &names))?.keys;
        let answer = answer(stage.ledger.commit(renamed));
        let keys: Vec<_> = written.iter().map(|(_, key)| format!("{} {:?}", key.source, key.status)).collect();
        self.0.tell(format_args!("commits {keys:?}: {answer:?}"));
        if answer.is_ok() {
            let mut state = stage.state();
            // Others may see the aggregates of a transaction before its keys.
            state.unseen.extend(names.into_iter().zip(before));
            for (id, key) in written {
                // What was at home before, or moves away from there, was told when it was decided.
                let known = state.committed.iter().any(|of| of.id == id && of.key == key);
                if !known {
                    state.committed.push(Committed { id, key });
                }
            }
        }
        answer
    }

    /// The keys of a transaction, wherever they are put, in order; those that were at home before are among them.
    fn decided(&self, commit: &Commit) -> Vec<(KeyId, StoredKey)> {
        let apart = commit.keys.iter().map(|write| (write.id.clone(), write.key.clone()));
        let at_home = commit.aggregates.iter().flat_map(|write| {
            let subject = self.0.stage.subjects.iter().find(|of| {
                of.subscription().effect.keys_at_home() && of.subscription().kinds().contains(&write.id.kind.as_str())
            });
            let subscriber = subject.map_or("", |of| of.subscription().name);
            let here = write.content.iter().flat_map(|content| content.keys.here.iter());
            here.map(move |home| (KeyId::at(&write.id, subscriber, home.event_id), home.key.clone()))
        });
        let mut decided: Vec<_> = apart.chain(at_home).collect();
        // What was decided in one transaction was decided in the order of each partition.
        decided.sort_by(|(_, left), (_, right)| {
            let place = |key: &StoredKey| (key.source.topic.clone(), key.source.partition, key.source.offset);
            place(left).cmp(&place(right))
        });
        decided
    }

    async fn commit_with_defects(&self, mut commit: Commit) -> Result<(), LedgerError> {
        let is_dead = |write: &KeyWrite| write.key.status == KeyStatus::Dead;
        match self.0.stage.defect {
            Some(Defect::EmitBeforeCommit) => {
                let emits = commit.keys.iter().filter_map(|write| look_into(&write.key.recording));
                for publication in emits.flat_map(|emits| emits.publications).collect::<Vec<_>>() {
                    let _ = self.0.stage.publish(&publication.topic, vec![publication.record]);
                    pause().await;
                }
            }
            Some(Defect::NoVersionCheck | Defect::NumbersUnconditional | Defect::HeadUnconditional) => {
                for write in &mut commit.aggregates {
                    write.expected = self.version(&write.id)?;
                }
            }
            Some(Defect::WatchUnconditional) => {
                for write in commit.aggregates.iter_mut().filter(|write| write.id.kind == WATCH) {
                    write.expected = self.version(&write.id)?;
                }
            }
            Some(Defect::ReactionWithoutKey) => {
                let is_reactions = |write: &KeyWrite| {
                    let subject = self.0.stage.subject_named(&write.id.subscriber);
                    subject.is_some_and(|of| of.subscription().effect == Effect::Reaction)
                };
                commit.keys.retain(|write| !is_reactions(write));
                if commit.keys.is_empty() && commit.aggregates.is_empty() {
                    return Ok(());
                }
            }
            Some(Defect::NoKey) => commit.keys.clear(),
            Some(Defect::DeadWithoutKey) => {
                commit.keys.retain(|write| !is_dead(write));
                if commit.keys.is_empty() {
                    return Ok(());
                }
            }
            Some(Defect::KeyPutUnconditional) => {
                let mut forgotten = Vec::new();
                for write in &mut commit.keys {
                    self.0.stage.state().forget(&write.id);
                    forgotten.push(write.id.clone());
                    write.expected = KeyExpectation::Absent;
                }
                return self.transact(commit).inspect_err(|_| self.0.stage.state().remember(&forgotten));
            }
            Some(Defect::DeadAfterCommit { fenced, .. }) => {
                let (dead, applied): (Vec<_>, Vec<_>) = commit.keys.into_iter().partition(is_dead);
                let conditions: Vec<AggregateWrite> = commit.aggregates.clone();
                if !applied.is_empty() {
                    self.transact(Commit { aggregates: commit.aggregates, keys: applied.clone() })?;
                    pause().await;
                }
                for key in dead {
                    let left = |write: &AggregateWrite| match (&write.content, applied.is_empty()) {
                        (Some(_), false) => Some(write.expected.unwrap_or(0) + 1),
                        _ => write.expected,
                    };
                    let fence = |write: &AggregateWrite| AggregateWrite {
                        expected: left(write),
                        content: None,
                        id: write.id.clone(),
                    };
                    let aggregates = if fenced { conditions.iter().map(fence).collect() } else { Vec::new() };
                    self.transact(Commit { aggregates, keys: vec![key] })?;
                    pause().await;
                }
                return Ok(());
            }
            Some(Defect::DeadBeforeCommit { fenced, lost_race_stands }) => {
                // The race that may be lost is that of spent attempts: there alone two workers decide differently on one state.
                let early = |write: &KeyWrite| is_dead(write) && (!lost_race_stands || is_spent(write));
                let (dead, applied): (Vec<_>, Vec<_>) = commit.keys.into_iter().partition(early);
                for key in dead {
                    let fence = |write: &AggregateWrite| AggregateWrite { content: None, ..write.clone() };
                    let aggregates = if fenced { commit.aggregates.iter().map(fence).collect() } else { Vec::new() };
                    let lost =
                        self.0.stage.key_apart(&key.id).is_some_and(|stored| stored.status == KeyStatus::Applied);
                    if lost && lost_race_stands {
                        self.keep_back(&key);
                        continue;
                    }
                    self.transact(Commit { aggregates, keys: vec![key] })?;
                    pause().await;
                }
                if applied.is_empty() {
                    return Ok(());
                }
                commit.keys = applied;
            }
            Some(Defect::OneCommitAnAggregate)
                if commit.aggregates.iter().filter(|of| of.content.is_some()).count() > 1 =>
            {
                let mut keys = std::mem::take(&mut commit.keys);
                for write in commit.aggregates {
                    self.transact(Commit { aggregates: vec![write], keys: std::mem::take(&mut keys) })?;
                    pause().await;
                }
                return Ok(());
            }
            Some(Defect::RejectionLeavesHome) => {
                for write in &mut commit.aggregates {
                    if write.content.is_some() && write.content == self.stored(&write.id)?.map(|stored| stored.content)
                    {
                        write.content = None;
                    }
                }
            }
            Some(Defect::HomeForgetsKeysApart) => {
                let contents = commit.aggregates.iter_mut().filter_map(|write| write.content.as_mut());
                contents.for_each(|content| content.keys.apart = false);
            }
            Some(Defect::MovedKeysVanish) => {
                for write in &commit.aggregates {
                    let Some(stored) = self.stored(&write.id)? else { continue };
                    let moves = |key: &KeyId| {
                        let is_home = |home: &Home| home.kind == write.id.kind && home.id == write.id.id;
                        key.tenant == write.id.tenant
                            && key.home.as_ref().is_some_and(is_home)
                            && stored.content.keys.here.iter().any(|home| home.event_id == key.event_id)
                    };
                    commit.keys.retain(|key| !moves(&key.id));
                }
            }
            _ => {}
        }
        self.transact(commit)
    }

    fn stored(&self, id: &AggregateId) -> Result<Option<StoredAggregate>, LedgerError> {
        Ok(answer(self.0.stage.ledger.load(std::slice::from_ref(id), &[]))?.aggregates.pop().flatten())
    }

    fn version(&self, id: &AggregateId) -> Result<Option<u64>, LedgerError> {
        Ok(self.stored(id)?.map(|stored| stored.version))
    }

    /// Takes out what a key that is found would emit, where that is the defect.
    fn silence(&self, key: &mut StoredKey) {
        let silent = match key.status {
            KeyStatus::Applied => Defect::DuplicateEmitsNothing,
            KeyStatus::Dead => Defect::DeadDuplicateEmitsNothing,
        };
        if self.0.stage.defect == Some(silent) {
            key.recording = Bytes::from_static(b"{}");
        }
    }

    /// The letter of that key is never published.
    fn keep_back(&self, write: &KeyWrite) {
        let publications = look_into(&write.key.recording).into_iter().flat_map(|emits| emits.publications);
        let ids = publications.filter_map(|of| header_text(&of.record.headers, LETTER_ID_HEADER)?.parse::<Uuid>().ok());
        self.0.stage.state().kept_back.extend(ids);
    }
}

/// Whether the letter in that key says that the attempts are spent.
fn is_spent(write: &KeyWrite) -> bool {
    let publications = look_into(&write.key.recording).into_iter().flat_map(|emits| emits.publications);
    publications.into_iter().any(|of| header_text(&of.record.headers, "lyceum-error-kind") == Some("processing"))
}
