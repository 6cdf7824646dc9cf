//! Step 3: decides in order, in memory, as many events as one transaction takes.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde::Serialize;

use super::load::{KnownKey, WorkingSet};
use super::{Decide, Keyed};
use crate::dead_letter::{Publication, without_value};
use crate::envelope::{EVENT_ID_HEADER, EVENT_TYPE_HEADER, HOPS_HEADER, follow_up_id, hops_of};
use crate::family::{Decision, FollowUp, TypedEvent};
use crate::outcome::{Anomaly, DeadLetterKind, Finding, Outcome, Refusal};
use crate::ports::ledger::placed::{Draft, Seen, home_of};
use crate::ports::ledger::{
    KeyExpectation, KeyStatus, KeyWrite, MAX_ACTIONS, MAX_COMMIT_BYTES, MAX_ITEM_BYTES, StoredKey,
};
use crate::process::batch::{Disposition, Emission};
use crate::process::recording::Recording;
use crate::process::{Failed, Invocation, Item};
use crate::record::{Header, NewRecord};
use crate::states::States;
use crate::trace;

/// One transaction, and what becomes of the records that it covers.
pub(super) struct Transaction {
    pub(super) draft: Draft,
    pub(super) dispositions: Vec<(usize, Disposition)>,
    /// How many of the events it covers; the rest goes into the next one.
    pub(super) covered: usize,
    /// The next event failed transiently on its own; the rest of the transaction stands.
    pub(super) failed: Option<String>,
}

/// A decision in the form in which it is written.
struct Written<S> {
    /// Of each aggregate that the event names, in that order.
    states: Vec<Option<(S, Bytes)>>,
    recording: Recording,
    encoded: Bytes,
    status: KeyStatus,
    outcome: Outcome,
    findings: Vec<Finding>,
    anomalies: Vec<Anomaly>,
}

/// Why there is no decision.
enum Undecided {
    /// It becomes a letter.
    Failed(Failed),
    /// Its own work failed this time.
    Transient { reason: String },
}

impl<E: TypedEvent, D: Decide<E>> Keyed<'_, E, D> {
    /// Decides as many of the events as fit into one transaction. `spent` has those whose attempts are spent, and how many
    /// these were.
    pub(super) fn decide_in_order(
        &self,
        items: &[&Item<'_, E>],
        working: &mut WorkingSet<D::State>,
        spent: &HashMap<usize, u32>,
        invocation: &Invocation,
    ) -> Transaction {
        let _decide = tracing::info_span!(target: trace::SPANS, "decide", records = items.len() as i64).entered();
        let draft = self.ledger.draft();
        let mut transaction = Transaction { draft, dispositions: Vec::new(), covered: 0, failed: None };
        for item in items {
            if let Some(known) = working.settling_key(item) {
                transaction.dispositions.push((item.index, self.settled_before(item, known, invocation)));
                transaction.covered += 1;
                continue;
            }
            let attempts = spent.get(&item.index).copied();
            let refuse = |failed| self.refused(item, failed, attempts.unwrap_or(1), invocation);
            let written = match self.decide(item, working, attempts.is_some(), invocation) {
                Ok(written) => written,
                Err(Undecided::Failed(failed)) => refuse(failed),
                Err(Undecided::Transient { reason }) => {
                    transaction.failed = Some(reason);
                    return transaction;
                }
            };
            let is_full = transaction.draft.len() >= self.shell.config.decisions_a_commit.max(1);
            if is_full || !transaction.take(item, &written, working) {
                if transaction.covered > 0 {
                    return transaction;
                }
                // Not even alone: no repetition mends that.
                let message = format!(
                    "its states and recording exceed one transaction of {MAX_ACTIONS} items and {MAX_COMMIT_BYTES} bytes"
                );
                let failed = Failed::by_rule(DeadLetterKind::Database, "limit.transaction", message);
                let refused = refuse(failed);
                // What it names may be what is too much: of it the key's home alone, if it has one, is a condition.
                let (home, mut seen) = (home_of(&item.key), seen(item, &refused, working));
                seen.retain(|of| home.as_ref() == Some(of.id));
                transaction.draft.add(&seen, key_write(item, &refused, working));
                transaction.cover(item, refused, working);
            } else {
                transaction.cover(item, written, working);
            }
        }
        transaction
    }

    fn decide(
        &self,
        item: &Item<'_, E>,
        working: &WorkingSet<D::State>,
        is_spent: bool,
        invocation: &Invocation,
    ) -> Result<Written<D::State>, Undecided> {
        let failed = |kind, rule, message| Undecided::Failed(Failed::by_rule(kind, rule, message));
        if is_spent {
            let message = "every attempt of this record's own work failed".to_owned();
            return Err(failed(DeadLetterKind::Processing, "attempts.spent", message));
        }
        let at = item.occurrence(invocation.now_ms());
        let states = States::new(item.aggregates.iter().map(|id| {
            let state = working.aggregates.get(id).and_then(|of| of.state.as_ref());
            (&*id.kind, &*id.id, state)
        }));
        // A family that panics must not take its partition with it: the record's own failure, and its attempts are counted.
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let Decision { changes, follow_ups, anomalies } = self.effect.decide(item, &states, &at)?;
            let named = item.aggregates.iter().map(|id| (&*id.kind, &*id.id));
            Ok((changes.of_each(named)?, follow_ups, anomalies))
        }));
        let decided = decided.unwrap_or_else(|_| {
            Err(Refusal::Transient { reason: "the program failed while deciding this event".into() })
        });
        let has_document = self.shell.documents.is_some();
        match decided {
            Ok((states, follow_ups, anomalies)) => {
                let publishes = self.shell.subscription.publishes;
                if let Some(of) = follow_ups.iter().find(|of| !publishes.contains(&of.topic)) {
                    let message = format!(
                        "{} lets an event follow on {}, which it does not say that it publishes on; report it with the record's bytes",
                        self.shell.subscription.name, of.topic
                    );
                    return Err(failed(DeadLetterKind::Processing, "decision.topic", message));
                }
                accepted(item, has_document, states, follow_ups, anomalies).map_err(Undecided::Failed)
            }
            Err(Refusal::Rejected { rule, message }) => Err(failed(DeadLetterKind::Rejected, rule, message)),
            Err(Refusal::Faulty { message }) => Err(failed(DeadLetterKind::Processing, "decision.aggregates", message)),
            Err(Refusal::Transient { reason }) => Err(Undecided::Transient { reason }),
        }
    }

    /// What becomes of an event whose key is there: nothing is decided, its recording is emitted again.
    fn settled_before(&self, item: &Item<'_, E>, known: &KnownKey, invocation: &Invocation) -> Disposition {
        if !item.is_content(known.content_hash()) {
            let message = format!("the event id {} was used before with another content", item.envelope.id);
            let failed = Failed::by_rule(DeadLetterKind::Conflict, "event-id.conflict", message);
            let letter = self.shell.letter_for(item, &failed, 1, invocation.now_ms());
            return Disposition::letter(letter, failed.kind, item.record.position.clone(), failed.findings);
        }
        let key = match known {
            KnownKey::Fresh { first, .. } => return Disposition::LikeFirst { first: *first },
            KnownKey::Stored(key) => key,
        };
        let recording = match Recording::decode(&key.recording) {
            Ok(recording) => recording,
            Err(error) => return Disposition::redeliver(error.to_string()),
        };
        let outcome = match (key.status, recording.dead) {
            (KeyStatus::Dead, kind) => Outcome::DeadLettered { kind: kind.unwrap_or(DeadLetterKind::Rejected) },
            (KeyStatus::Applied, _) if key.source == item.record.position => Outcome::Applied,
            (KeyStatus::Applied, _) => Outcome::Duplicate,
        };
        Disposition::emit(outcome, recording, key.source.clone())
    }

    /// A rejection is a decision like any other: its key has the letter as recording.
    fn refused(&self, item: &Item<'_, E>, failed: Failed, attempts: u32, invocation: &Invocation) -> Written<D::State> {
        let letter = self.shell.letter_for(item, &failed, attempts, invocation.now_ms());
        let Failed { kind, findings } = failed;
        let mut recording = Recording { statement_stored_ms: None, publications: vec![letter], dead: Some(kind) };
        let mut encoded = recording.encode();
        // Control characters in header names grow sixfold in a recording; the original then stays where it came from.
        if is_too_large(&encoded) {
            recording.publications = recording.publications.into_iter().map(without_value).collect();
            encoded = recording.encode();
        }
        Written {
            states: item.aggregates.iter().map(|_| None).collect(),
            recording,
            encoded,
            status: KeyStatus::Dead,
            outcome: Outcome::DeadLettered { kind },
            findings,
            anomalies: Vec::new(),
        }
    }
}

/// Whether no item takes it.
fn is_too_large(encoded: &[u8]) -> bool {
    encoded.len() > MAX_ITEM_BYTES
}

/// An accepted event as it is written.
fn accepted<E: TypedEvent, S: Serialize>(
    item: &Item<'_, E>,
    has_document: bool,
    states: Vec<Option<S>>,
    follow_ups: Vec<FollowUp>,
    anomalies: Vec<Anomaly>,
) -> Result<Written<S>, Failed> {
    let encode = |(id, state): (&_, Option<S>)| {
        let Some(state) = state else { return Ok(None) };
        let encoded = serde_json::to_vec(&state)
            .map_err(|error| Failed::by_rule(DeadLetterKind::Processing, "state.encode", error.to_string()))?;
        if is_too_large(&encoded) {
            let bytes = encoded.len();
            let message =
                format!("with this event the {id} would have {bytes} bytes, and an item takes {MAX_ITEM_BYTES}");
            return Err(Failed::by_rule(DeadLetterKind::Database, "limit.item", message));
        }
        Ok(Some((state, Bytes::from(encoded))))
    };
    let states = item.aggregates.iter().zip(states).map(encode).collect::<Result<Vec<_>, _>>()?;
    let follow_ups = follow_ups.into_iter().enumerate();
    let recording = Recording {
        statement_stored_ms: has_document.then_some(item.record.timestamp_ms),
        publications: follow_ups.map(|(ordinal, follow_up)| publication(item, ordinal, follow_up)).collect(),
        dead: None,
    };
    let encoded = recording.encode();
    if is_too_large(&encoded) {
        let message =
            format!("what follows from this event has {} bytes, and an item takes {MAX_ITEM_BYTES}", encoded.len());
        return Err(Failed::by_rule(DeadLetterKind::Database, "limit.item", message));
    }
    let (status, outcome, findings) = (KeyStatus::Applied, Outcome::Applied, Vec::new());
    Ok(Written { states, recording, encoded, status, outcome, findings, anomalies })
}

/// A follow-up as it is published.
pub(in crate::process) fn publication<E: TypedEvent>(
    item: &Item<'_, E>,
    ordinal: usize,
    follow_up: FollowUp,
) -> Publication {
    let id = follow_up_id(item.envelope.id, item.key.home.as_ref(), follow_up.event_type, ordinal);
    let mut headers = vec![
        Header::new(EVENT_ID_HEADER, id.to_string()),
        Header::new(EVENT_TYPE_HEADER, follow_up.event_type),
        Header::new("correlation-id", item.envelope.correlation_id.to_string()),
        Header::new("tenant-id", item.envelope.tenant.to_string()),
        Header::new(HOPS_HEADER, (hops_of(item.record).unwrap_or(0) + 1).to_string()),
    ];
    headers.extend(trace::context_of(&item.record.headers).cloned());
    let record = NewRecord {
        key: Some(follow_up.key.into()),
        value: Some(follow_up.value.into()),
        headers,
        ..NewRecord::default()
    };
    Publication { topic: follow_up.topic.to_owned(), record }
}

/// The key of a decision, under the condition that it is as it was read.
fn key_write<E: TypedEvent, S>(item: &Item<'_, E>, written: &Written<S>, working: &WorkingSet<S>) -> KeyWrite {
    let expected = match working.keys.get(&item.key) {
        Some(key) => KeyExpectation::DeadAt(key.epoch()),
        None => KeyExpectation::Absent,
    };
    let key = StoredKey {
        status: written.status,
        epoch: item.envelope.replay_count,
        content_hash: item.content_hash,
        source: item.record.position.clone(),
        recording: written.encoded.clone(),
    };
    KeyWrite { id: item.key.clone(), expected, key }
}

/// Every aggregate that a decision saw is a condition of the transaction, also where it stays as it is.
fn seen<'a, E: TypedEvent, S>(
    item: &'a Item<'_, E>,
    written: &'a Written<S>,
    working: &'a WorkingSet<S>,
) -> Vec<Seen<'a>> {
    let of = |(id, state): (&'a _, &'a Option<(S, Bytes)>)| {
        let held = &working.aggregates.get(id)?.held;
        Some(Seen { id, held, state: state.as_ref().map(|(_, bytes)| bytes) })
    };
    item.aggregates.iter().zip(&written.states).filter_map(of).collect()
}

impl Transaction {
    /// Adds a decision to the draft, where that takes it.
    fn take<E: TypedEvent, S>(&mut self, item: &Item<'_, E>, written: &Written<S>, working: &WorkingSet<S>) -> bool {
        let (seen, key) = (seen(item, written, working), key_write(item, written, working));
        let takes = self.draft.takes(&seen, &key);
        if takes {
            self.draft.add(&seen, key);
        }
        takes
    }

    /// Notes what becomes of an event whose decision is in the draft.
    fn cover<E: TypedEvent, S>(&mut self, item: &Item<'_, E>, written: Written<S>, working: &mut WorkingSet<S>) {
        let Written { states, recording, status, outcome, findings, anomalies, .. } = written;
        for (id, state) in item.aggregates.iter().zip(states) {
            if let (Some((state, _)), Some(of)) = (state, working.aggregates.get_mut(id)) {
                of.state = Some(state);
            }
        }
        let (first, epoch, content_hash) = (item.index, item.envelope.replay_count, item.content_hash);
        working.keys.insert(item.key.clone(), KnownKey::Fresh { first, status, epoch, content_hash });
        let source = item.record.position.clone();
        let emission = Emission { outcome, recording, source, findings, anomalies };
        self.dispositions.push((item.index, Disposition::Emit(Box::new(emission))));
        self.covered += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_takes_as_much_as_it_may_have_and_no_byte_more() {
        assert!(!is_too_large(&vec![0; MAX_ITEM_BYTES]) && is_too_large(&vec![0; MAX_ITEM_BYTES + 1]));
    }
}
