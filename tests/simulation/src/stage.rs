//! What all workers of one run share: the models in memory, the time, the faults, the trace, and what was noticed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyceum_core::dead_letter::{self, Failure, Publication};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::event_log::{Administer, Follow, OffsetRange, Publish, Retention, TopicSpec};
use lyceum_core::ports::ledger::{KeyId, Ledger, StoredKey};
use lyceum_core::record::{NewRecord, Position, Record};
use lyceum_core::subscription::Effect;
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use uuid::Uuid;

use crate::check::{Check, Violation};
use crate::defect::Defect;
use crate::executor::answer;
use crate::fault::{Fault, Plan};
use crate::random::Random;
use crate::subject::{EventFact, Fact, Subject};
use crate::trace::Trace;

/// When a run begins, milliseconds since 1970 UTC.
pub const BEGINNING_MS: i64 = 1_800_000_000_000;
/// How far [`Fault::ClockMoves`] moves the clock; all waiting of a run is far less.
pub const TICK: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A partition of a topic.
pub type Partition = (Arc<str>, i32);

/// A decision that was committed, or a change of state.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The key.
    pub id: KeyId,
    /// What it holds.
    pub key: StoredKey,
}

/// A letter that is out.
#[derive(Clone, Debug)]
pub struct Letter {
    /// As it is read from its topic.
    pub letter: dead_letter::DeadLetter,
}

/// A call of the toys' generator.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The event that it is about.
    pub(crate) event_id: Uuid,
    /// Until when whoever asks holds the lease.
    pub(crate) until_ms: i64,
    /// Whether nobody waits for it any more.
    pub(crate) ended: bool,
}

/// The shared part of a run.
pub struct Stage {
    /// Topics, letters, follow-ups, offsets.
    pub log: MemoryEventLog,
    /// Aggregates and keys.
    pub ledger: MemoryLedger,
    /// Documents.
    pub statements: MemoryStatements,
    /// Entries of the audit log.
    pub entries: MemoryStatements,
    /// The families under attack.
    pub subjects: Vec<Arc<dyn Subject>>,
    /// What is planted.
    pub defect: Option<Defect>,
    /// Whether small transactions are asked for although nothing is planted.
    pub one_key_a_commit: bool,
    /// Whether a second passes before each start of a worker.
    pub time_passes: bool,
    /// Event types that are published as hints: no key records them.
    pub hints: &'static [&'static str],
    now_ms: Arc<AtomicI64>,
    state: Mutex<State>,
}

/// What changes.
pub(crate) struct State {
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    /// Letters by id.
    pub(crate) letters: BTreeMap<Uuid, Letter>,
    /// Follow-ups by the id that they go under.
    pub(crate) follow_ups: HashMap<Uuid, NewRecord>,
    /// Records that the platform gave up, each for a subscription.
    pub(crate) given_up: BTreeSet<(&'static str, Position)>,
    /// What was sent again already.
    pub(crate) sent: BTreeSet<Uuid>,
    /// Every commit's keys, in order.
    pub(crate) committed: Vec<Committed>,
    /// How often a key was forgotten or overwritten: its name in the model's ledger.
    pub(crate) generations: HashMap<KeyId, u32>,
    /// Keys that were written, by their names in the model's ledger, and what a plain read may still show instead.
    pub(crate) unseen: HashMap<KeyId, Option<StoredKey>>,
    /// Letters that a defect keeps back.
    pub(crate) kept_back: BTreeSet<Uuid>,
    /// Until when a lease on an event was given last.
    pub(crate) leases: HashMap<Uuid, i64>,
    /// Every call of the toys' generator.
    pub(crate) calls: Vec<Call>,
    /// Documents that the store refused become acceptable.
    pub(crate) mended: bool,
    /// All keys expired once.
    pub(crate) expired: bool,
    facts: HashMap<(&'static str, Position), Fact>,
    offsets_checked: HashMap<(&'static str, Partition), i64>,
}

impl Stage {
    /// An empty stage.
    pub fn new(
        subjects: Vec<Arc<dyn Subject>>,
        random: Random,
        plan: Plan,
        keep: bool,
        defect: Option<Defect>,
    ) -> Self {
        let now_ms = Arc::new(AtomicI64::new(BEGINNING_MS));
        let clock = Arc::clone(&now_ms);
        let state = State {
            random,
            plan,
            trace: Trace::new(keep),
            violation: None,
            letters: BTreeMap::new(),
            follow_ups: HashMap::new(),
            given_up: BTreeSet::new(),
            sent: BTreeSet::new(),
            committed: Vec::new(),
            generations: HashMap::new(),
            unseen: HashMap::new(),
            kept_back: BTreeSet::new(),
            leases: HashMap::new(),
            calls: Vec::new(),
            mended: false,
            expired: false,
            facts: HashMap::new(),
            offsets_checked: HashMap::new(),
        };
        Self {
            log: MemoryEventLog::new(move || clock.load(Ordering::Relaxed)),
            ledger: MemoryLedger::new(),
            statements: MemoryStatements::new(equality::same),
            entries: MemoryStatements::new(equality::same),
            subjects,
            defect,
            one_key_a_commit: false,
            time_passes: false,
            hints: &[],
            now_ms,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since 1970 UTC.
    pub fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// The time passes.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Draws from the schedule's numbers.
    pub fn draw<T>(&self, with: impl FnOnce(&mut Random) -> T) -> T {
        with(&mut self.state().random)
    }

    /// Whether the fault strikes now.
    pub fn strikes(&self, fault: Fault) -> bool {
        let State { random, plan, .. } = &mut *self.state();
        plan.strikes(fault, random)
    }

    /// One line of the trace.
    pub fn tell(&self, line: impl Into<String>) {
        self.state().trace.tell(line.into());
    }

    /// A check failed; the first one counts.
    pub fn notice(&self, violation: Violation) {
        let mut state = self.state();
        if state.violation.is_none() {
            state.trace.tell(format!("VIOLATION {violation}"));
            state.violation = Some(violation);
        }
    }

    /// A topic of that many partitions.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let spec = TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() };
        answer(self.log.create_topic(spec)).expect("the topics of a run are legal");
    }

    /// The topics of every family's dead letters.
    pub fn create_dead_letter_topics(&self) {
        for subject in &self.subjects {
            let topics = &subject.subscription().dead_letters;
            for topic in [topics.validation, topics.processing, topics.database] {
                self.create_topic(topic, 2);
            }
        }
    }

    /// Appends a record; where it stands.
    pub fn append(&self, topic: &str, record: NewRecord) -> Position {
        answer(self.log.produce(topic, vec![record])).expect("the run's topics take its records").remove(0)
    }

    /// The partitions of the subscription's topics with their offsets and what is committed.
    pub fn partitions(&self, subject: &dyn Subject) -> Vec<(Partition, OffsetRange, i64)> {
        let mut found = Vec::new();
        for topic in subject.subscription().topics() {
            let name: Arc<str> = topic.into();
            let committed = answer(self.log.committed(subject.subscription().name, topic)).unwrap_or_default();
            for (partition, range) in (0..).zip(answer(self.log.offsets(topic)).unwrap_or_default()) {
                let from = committed.get(&partition).copied().unwrap_or(range.start);
                found.push(((Arc::clone(&name), partition), range, from));
            }
        }
        found
    }

    /// Records of a partition.
    pub fn records(&self, (topic, partition): &Partition, from: i64, count: usize) -> Vec<Record> {
        answer(self.log.fetch(topic, *partition, from, count, usize::MAX)).unwrap_or_default()
    }

    /// The record at a position.
    pub fn record_at(&self, at: &Position) -> Option<Record> {
        self.records(&(Arc::clone(&at.topic), at.partition), at.offset, 1).pop()
    }

    /// The owner of a topic.
    pub fn subject_of(&self, topic: &str) -> Option<&dyn Subject> {
        let owns = |of: &&Arc<dyn Subject>| {
            of.subscription().family().is_some() && of.subscription().topics().any(|name| name == topic)
        };
        self.subjects.iter().find(owns).map(|of| &**of)
    }

    /// The subscription of that name.
    pub fn subject_named(&self, name: &str) -> Option<&dyn Subject> {
        self.subjects.iter().find(|of| of.subscription().name == name).map(|of| &**of)
    }

    /// What a record is to its topic's owner.
    pub fn fact(&self, record: &Record) -> Fact {
        let owner = self.subject_of(&record.position.topic);
        owner.map_or(Fact::Tombstone, |subject| self.fact_for(subject, record))
    }

    /// What a record is to a subscription.
    pub fn fact_for(&self, subject: &dyn Subject, record: &Record) -> Fact {
        let name = (subject.subscription().name, record.position.clone());
        if let Some(fact) = self.state().facts.get(&name) {
            return fact.clone();
        }
        let fact = subject.read(record);
        self.state().facts.insert(name, fact.clone());
        fact
    }

    /// What the record at a position is to its topic's owner.
    pub fn fact_at(&self, at: &Position) -> Option<Fact> {
        self.fact_at_for(self.subject_of(&at.topic)?, at)
    }

    /// What the record at a position is to a subscription.
    pub fn fact_at_for(&self, subject: &dyn Subject, at: &Position) -> Option<Fact> {
        if let Some(fact) = self.state().facts.get(&(subject.subscription().name, at.clone())) {
            return Some(fact.clone());
        }
        Some(self.fact_for(subject, &self.record_at(at)?))
    }

    /// Commits a subscription's offset; the sentence about it is checked first.
    pub fn commit_offset(&self, subject: &dyn Subject, partition: &Partition, to: i64) {
        let group = subject.subscription().name;
        let name = (group, partition.clone());
        let checked = self.state().offsets_checked.get(&name).copied().unwrap_or(0);
        if let Some(offset) = (checked..to).find(|offset| !self.is_settled(subject, partition, *offset)) {
            let (topic, number) = partition;
            let detail = format!("offset {to} of {topic}/{number} committed, and record {offset} is not settled");
            self.notice(Violation { check: Check::Offset, detail });
        }
        self.state().offsets_checked.insert(name, checked.max(to));
        answer(self.log.commit(group, &partition.0, &[(partition.1, to)])).expect("the partition exists");
    }

    fn is_settled(&self, subject: &dyn Subject, (topic, partition): &Partition, offset: i64) -> bool {
        let at = Position::new(Arc::clone(topic), *partition, offset);
        self.record_at(&at).is_none_or(|record| self.unsettled(subject, &record).is_none())
    }

    /// The platform passes these records of a subscription and keeps them.
    pub fn give_up(&self, subject: &dyn Subject, records: &[Record]) {
        let mut state = self.state();
        for record in records {
            state.given_up.insert((subject.subscription().name, record.position.clone()));
        }
    }

    /// Whether the platform passed the record for its topic's owner.
    pub fn is_given_up(&self, at: &Position) -> bool {
        let owner = self.subject_of(&at.topic).map_or("", |of| of.subscription().name);
        self.state().given_up.contains(&(owner, at.clone()))
    }

    /// What may be sent again: letters, and records that the platform gave up, each with the name that it is remembered by.
    pub fn replayable(&self) -> Vec<(Uuid, Publication)> {
        let state = self.state();
        let letters = state.letters.values().filter(|of| !of.letter.is_parked());
        let mut found: Vec<_> = letters.map(|of| (of.letter.id, of.letter.replay())).collect();
        let given_up = state.given_up.clone();
        drop(state);
        for (group, position) in given_up {
            let Some(record) = self.record_at(&position) else { continue };
            let Some(subject) = self.subject_named(group) else { continue };
            // Another record is no entry for this one: what the audit log lacks, it lacks.
            if subject.subscription().effect == Effect::Audit {
                continue;
            }
            // The platform's own record of a failure, in the form in which our replay reads it.
            let failure = Failure {
                kind: DeadLetterKind::Processing,
                findings: &[],
                family: group,
                is_owner: subject.subscription().family().is_some(),
                correlation_id: None,
                tenant: None,
                attempts: 1,
                failed_at_ms: 0,
            };
            let letter =
                dead_letter::write(&record, &failure, &subject.subscription().dead_letters, Default::default());
            let NewRecord { key, value, headers, .. } = letter.record;
            let kept = Record { position: position.clone(), timestamp_ms: 0, key, value, headers };
            let Some(letter) = dead_letter::read(&kept).filter(|letter| !letter.is_parked()) else { continue };
            let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{group} {position}").as_bytes());
            found.push((name, letter.replay()));
        }
        let state = self.state();
        found.retain(|(name, _)| !state.sent.contains(name));
        found
    }

    /// The event's key as it holds now: with its home, else an item of its own.
    pub fn current_key(&self, event: &EventFact) -> Option<StoredKey> {
        let home = event.aggregates.first().and_then(|home| {
            let mut loaded = answer(self.ledger.load(std::slice::from_ref(home), &[])).ok()?.aggregates;
            let here = loaded.pop()??.content.keys.here;
            Some(here.into_iter().find(|of| of.event_id == event.key.event_id)?.key)
        });
        home.or_else(|| self.key_apart(&event.key))
    }

    /// The key as it holds now, where it is an item of its own.
    pub fn key_apart(&self, id: &KeyId) -> Option<StoredKey> {
        let name = self.state().name_of(id);
        answer(self.ledger.load(&[], &[name])).ok()?.keys.pop().flatten()
    }
}

impl State {
    /// A key's name in the model's ledger.
    pub(crate) fn name_of(&self, id: &KeyId) -> KeyId {
        match self.generations.get(id) {
            None | Some(0) => id.clone(),
            Some(generation) => {
                KeyId { subscriber: format!("{}, generation {generation}", id.subscriber).into(), ..id.clone() }
            }
        }
    }

    /// What a plain read shows of a key: perhaps what was there before the last commit, but not for ever.
    pub(crate) fn seen(&mut self, name: &KeyId, stored: Option<StoredKey>) -> Option<StoredKey> {
        match self.unseen.contains_key(name) && self.random.one_in(2) {
            true => self.unseen[name].clone(),
            false => {
                self.unseen.remove(name);
                stored
            }
        }
    }

    /// Takes back that keys were forgotten.
    pub(crate) fn remember(&mut self, forgotten: &[KeyId]) {
        for id in forgotten {
            *self.generations.entry(id.clone()).or_insert(1) -= 1;
        }
    }

    /// Forgets a key: what is stored under its name from now on is another item.
    pub(crate) fn forget(&mut self, id: &KeyId) {
        *self.generations.entry(id.clone()).or_default() += 1;
    }
}
