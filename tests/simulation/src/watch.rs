//! What is checked while a run goes on: at every publication, every document and every offset.

use lyceum_core::dead_letter::{self, DeadLetter, LETTER_ID_HEADER};
use lyceum_core::envelope::{letter_id, others_letter_id, source_of};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::ports::ledger::{AggregateId, KeyStatus, Ledger, StoredKey};
use lyceum_core::ports::statements::{QueryDocuments, StatementDocument};
use lyceum_core::process::look_into;
use lyceum_core::record::{Header, NewRecord, Position, Record, header_text};
use lyceum_core::subscription::Effect;
use serde_json::Value;
use uuid::Uuid;

use crate::check::{Check, Violation, fail};
use crate::executor::answer;
use crate::stage::{Letter, Stage};
use crate::subject::{EventFact, Fact, Subject};

impl Stage {
    /// Appends what a worker publishes; the first sentence is checked with it.
    pub fn publish(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        let positions = answer(self.log.produce(topic, records.clone()))?;
        for (record, position) in records.into_iter().zip(&positions) {
            let checked = match header_text(&record.headers, LETTER_ID_HEADER) {
                Some(_) => self.check_letter(record, position),
                None => self.check_follow_up(topic, record),
            };
            if let Err(violation) = checked {
                self.notice(violation);
            }
        }
        Ok(positions)
    }

    fn check_letter(&self, record: NewRecord, position: &Position) -> Result<(), Violation> {
        let NewRecord { key, value, headers, .. } = record.clone();
        let stored = Record { position: position.clone(), timestamp_ms: self.now_ms(), key, value, headers };
        let Some(letter) = dead_letter::read(&stored) else {
            return fail(Check::Escaped, format!("what is published at {position} is no letter that can be read"));
        };
        self.tell(format!("  letter {} of {} ({})", letter.kind.name(), letter.source, letter.replay_count));
        // Of what could not be delivered no key records a decision: the letter tells what the store said, and that may be another
        // thing the next time.
        let is_told_by_the_store = |kind| matches!(kind, DeadLetterKind::Undelivered | DeadLetterKind::Conflict);
        let same = |other: &DeadLetter| {
            let was_undelivered = [other.kind, letter.kind].contains(&DeadLetterKind::Undelivered)
                && is_told_by_the_store(other.kind)
                && is_told_by_the_store(letter.kind);
            (was_undelivered || other.kind == letter.kind && other.findings == letter.findings)
                && other.source == letter.source
                && other.replay_count == letter.replay_count
                && other.original == letter.original
                && other.family == letter.family
                && other.tenant == letter.tenant
                && other.correlation_id == letter.correlation_id
                && other.attempts == letter.attempts
        };
        let mut state = self.state();
        if let Some(other) = state.letters.get(&letter.id) {
            if !same(&other.letter) {
                let kinds = (other.letter.kind.name(), letter.kind.name());
                let counts = (other.letter.replay_count, letter.replay_count);
                let detail = format!("two letters of {} under one id: {kinds:?}, replays {counts:?}", letter.source);
                return fail(Check::LetterId, detail);
            }
            return Ok(());
        }
        state.letters.insert(letter.id, Letter { letter: letter.clone() });
        drop(state);
        if !has_key(letter.kind) {
            return Ok(());
        }
        let Some(subject) = self.subject_named(&letter.family) else { return Ok(()) };
        let Some(Fact::Event(fact)) = self.fact_at_for(subject, &letter.source) else { return Ok(()) };
        let recorded = self.current_key(&fact).is_some_and(|key| {
            key.epoch > letter.replay_count
                || key.status == KeyStatus::Dead && publications(&key).any(|headers| id_in(&headers) == Some(letter.id))
        });
        if !recorded && !self.state().expired {
            let detail = format!("letter {} of {} published, and no key records it", letter.kind.name(), letter.source);
            return fail(Check::Escaped, detail);
        }
        Ok(())
    }

    fn check_follow_up(&self, topic: &str, record: NewRecord) -> Result<(), Violation> {
        let Some(id) = header_text(&record.headers, "event-id").and_then(|text| text.parse::<Uuid>().ok()) else {
            return fail(Check::Escaped, format!("a record without event-id published to {topic}"));
        };
        let mut state = self.state();
        state.trace.tell(format!("  follow-up {id}"));
        let recorded = state.committed.iter().any(|committed| {
            let emits = look_into(&committed.key.recording);
            committed.key.status == KeyStatus::Applied
                && emits.is_some_and(|emits| emits.publications.iter().any(|of| of.record == record))
        });
        if let Some(other) = state.follow_ups.insert(id, record.clone())
            && other != record
        {
            return fail(Check::Escaped, format!("two different follow-ups under id {id}"));
        }
        let is_hint = header_text(&record.headers, "event-type").is_some_and(|of| self.hints.contains(&of));
        if !recorded && !is_hint {
            return fail(Check::Escaped, format!("follow-up {id} published, and no committed key records it"));
        }
        Ok(())
    }

    /// A document reaches the store.
    pub fn check_document(&self, document: &StatementDocument) {
        if self.subject_named(&document.fields.family).is_some_and(|of| !of.subscription().effect.has_keys()) {
            return;
        }
        let recorded = self.state().committed.iter().any(|committed| {
            committed.key.source == document.source
                && look_into(&committed.key.recording).is_some_and(|emits| emits.document)
        });
        if !recorded {
            let detail =
                format!("document {} of {} stored, and no committed key records it", document.id, document.source);
            self.notice(Violation { check: Check::Escaped, detail });
        }
    }

    /// Why the record is not settled for a subscription; `None` where it is.
    pub fn unsettled(&self, subject: &dyn Subject, record: &Record) -> Option<String> {
        let fact = self.fact_for(subject, record);
        let state = self.state();
        let (source, count) = source_of(record);
        let subscription = subject.subscription();
        let letter = match subscription.family() {
            Some(_) => letter_id(&source, count),
            None => others_letter_id(&source, count, subscription.name),
        };
        let letter = state.letters.get(&letter);
        let lettered = letter.is_some_and(|of| !has_key(of.letter.kind) && of.letter.kind != DeadLetterKind::Rejected);
        if lettered || state.expired || state.given_up.contains(&(subscription.name, record.position.clone())) {
            return None;
        }
        drop(state);
        if subscription.effect == Effect::Audit {
            let is_entry = self.entries.documents().iter().any(|of| of.document.source == record.position);
            return (!is_entry).then(|| "it is no entry of the audit log".to_owned());
        }
        let fact = match fact {
            Fact::Tombstone | Fact::Unwanted => return None,
            Fact::Invalid(kind) => return Some(format!("it is invalid ({}) and no letter says so", kind.name())),
            Fact::Event(fact) => fact,
        };
        if !subscription.effect.has_keys() {
            return self.undocumented(record, &fact);
        }
        let Some(key) = self.current_key(&fact) else { return Some("it has no key".into()) };
        if key.content_hash != fact.content_hash {
            return Some("its id is taken by another content, and no letter says so".into());
        }
        if key.status == KeyStatus::Dead && key.epoch < fact.epoch {
            return Some(format!("its key is of epoch {}", key.epoch));
        }
        // The letter of another record of this very event speaks for it: a duplicate within one batch has none of its own.
        if key.epoch > fact.epoch || self.is_undelivered(&fact) {
            return None;
        }
        self.unpublished(&fact.key.tenant, fact.event_id, &key)
    }

    /// Why the event of a subscription without keys is not settled: its document, and the numbers of what it stored.
    fn undocumented(&self, record: &Record, event: &EventFact) -> Option<String> {
        let stored = answer(self.statements.get(&event.key.tenant, event.event_id)).ok().flatten();
        let Some(stored) = stored else { return Some("its document is not stored".into()) };
        let is_counted = |row: &AggregateId| {
            let held = answer(self.ledger.load(std::slice::from_ref(row), &[])).ok()?.aggregates.pop()??;
            let row: Value = serde_json::from_slice(held.content.state.as_deref()?).ok()?;
            Some(row["through"].as_i64()? >= record.position.offset)
        };
        let counts = stored.document.source == record.position;
        let missing = event.aggregates.iter().find(|row| counts && is_counted(row) != Some(true));
        missing.map(|row| format!("it is stored and not counted in {row}"))
    }

    fn is_undelivered(&self, event: &EventFact) -> bool {
        let letters: Vec<Position> = {
            let state = self.state();
            let undelivered = state.letters.values().filter(|of| of.letter.kind == DeadLetterKind::Undelivered);
            undelivered.map(|of| of.letter.source.clone()).collect()
        };
        letters.iter().any(|source| match self.fact_at(source) {
            Some(Fact::Event(fact)) => fact.key == event.key && fact.content_hash == event.content_hash,
            _ => false,
        })
    }

    /// What of a recording is not out.
    fn unpublished(&self, tenant: &str, event_id: Uuid, key: &StoredKey) -> Option<String> {
        let Some(emits) = look_into(&key.recording) else { return Some("its recording cannot be read".into()) };
        if emits.document && answer(self.statements.get(tenant, event_id)).ok().flatten().is_none() {
            return Some("its document is not stored".into());
        }
        let state = self.state();
        let is_out = |headers: &[Header]| match id_in(headers) {
            Some(id) => state.letters.contains_key(&id),
            None => header_text(headers, "event-id")
                .and_then(|text| text.parse().ok())
                .is_some_and(|id: Uuid| state.follow_ups.contains_key(&id)),
        };
        let missing = emits.publications.iter().find(|publication| !is_out(&publication.record.headers));
        missing.map(|publication| format!("its publication to {} is not out", publication.topic))
    }
}

/// Whether a letter of that kind is the recording of a key.
pub(crate) fn has_key(kind: DeadLetterKind) -> bool {
    matches!(kind, DeadLetterKind::Rejected | DeadLetterKind::Processing | DeadLetterKind::Database)
}

fn id_in(headers: &[Header]) -> Option<Uuid> {
    header_text(headers, LETTER_ID_HEADER)?.parse().ok()
}

fn publications(key: &StoredKey) -> impl Iterator<Item = Vec<Header>> + use<> {
    look_into(&key.recording)
        .into_iter()
        .flat_map(|emits| emits.publications)
        .map(|publication| publication.record.headers)
}
