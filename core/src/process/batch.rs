//! A batch on its way: what each of its deliveries is, what was decided about it, and which belong together.

use std::collections::HashMap;

use super::recording::Recording;
use crate::dead_letter::Publication;
use crate::family::{EnvelopeOf, Occurrence, TypedEvent};
use crate::outcome::{Anomaly, DeadLetterKind, Finding, Outcome, Report};
use crate::ports::ledger::{AggregateId, KeyId};
use crate::ports::schemas::SchemaRef;
use crate::record::{Position, Record};

/// The deliveries of a batch, in order.
pub(super) struct Batch<'a, E: TypedEvent> {
    pub(super) entries: Vec<Entry<'a, E>>,
    pub(super) groups: Groups,
}

/// The places of those that share aggregates, in order, group behind group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    places: Vec<usize>,
    /// Where in `places` each group ends.
    ends: Vec<usize>,
}

impl Groups {
    pub(super) fn iter(&self) -> impl Iterator<Item = &[usize]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.places[start..end])
    }
}

/// One delivery.
pub(super) struct Entry<'a, E: TypedEvent> {
    /// What it is, where it is a valid event.
    pub(super) item: Option<Item<'a, E>>,
    pub(super) disposition: Disposition,
    /// Complete but for the outcome.
    pub(super) report: Report,
}

/// An event with everything that its decision needs.
pub(super) struct Item<'a, E: TypedEvent> {
    /// Its place in the batch.
    pub(super) index: usize,
    pub(super) record: &'a Record,
    pub(super) envelope: Box<EnvelopeOf<'a, E>>,
    pub(super) event: E,
    /// None twice.
    pub(super) aggregates: Vec<AggregateId>,
    pub(super) key: KeyId,
    pub(super) content_hash: [u8; 32],
}

impl<'a, E: TypedEvent> Entry<'a, E> {
    /// The event, where nothing is decided about it yet.
    pub(super) fn undecided(&self) -> Option<&Item<'a, E>> {
        self.item.as_ref().filter(|_| matches!(self.disposition, Disposition::Undecided))
    }
}

impl<E: TypedEvent> Item<'_, E> {
    pub(super) fn occurrence(&self, now_ms: i64) -> Occurrence {
        Occurrence {
            event_id: self.envelope.id,
            event_type: self.envelope.event_type,
            tenant: self.envelope.tenant.clone(),
            correlation_id: self.envelope.correlation_id.clone(),
            home: self.key.home.clone(),
            source: self.envelope.source.clone(),
            occurred_at_ms: self.envelope.occurred_at_ms,
            now_ms,
        }
    }
}

/// What becomes of a delivery; nothing of it is out yet.
#[derive(Debug, Default)]
pub(super) enum Disposition {
    /// Nobody decided anything: it is redelivered.
    #[default]
    Undecided,
    /// It is read by a schema that is not there yet.
    Missing(SchemaRef),
    /// There is nothing to do.
    Tombstone,
    /// It is for others.
    Unwanted,
    /// Decided for good.
    Emit(Box<Emission>),
    /// The same event as another record of this batch, whose outcome is its outcome.
    LikeFirst { first: usize },
    /// It is redelivered.
    Redeliver { reason: String },
}

/// What is to be emitted of a decision, and the outcome that the record has once all of it is out.
#[derive(Debug)]
pub(super) struct Emission {
    pub(super) outcome: Outcome,
    pub(super) recording: Recording,
    /// The record that was decided on.
    pub(super) source: Position,
    pub(super) findings: Vec<Finding>,
    pub(super) anomalies: Vec<Anomaly>,
}

impl Disposition {
    pub(super) fn missing(&self) -> Option<SchemaRef> {
        if let Self::Missing(schema) = self { Some(*schema) } else { None }
    }

    pub(super) fn redeliver(reason: impl Into<String>) -> Self {
        Self::Redeliver { reason: reason.into() }
    }

    pub(super) fn emit(outcome: Outcome, recording: Recording, source: Position) -> Self {
        let (findings, anomalies) = (Vec::new(), Vec::new());
        Self::Emit(Box::new(Emission { outcome, recording, source, findings, anomalies }))
    }

    /// A letter that no key records: every worker decides the same.
    pub(super) fn letter(letter: Publication, kind: DeadLetterKind, source: Position, findings: Vec<Finding>) -> Self {
        let recording = Recording { publications: vec![letter], ..Recording::default() };
        let outcome = Outcome::DeadLettered { kind };
        Self::Emit(Box::new(Emission { outcome, recording, source, findings, anomalies: Vec::new() }))
    }
}

impl<'a, E: TypedEvent> Batch<'a, E> {
    pub(super) fn new(entries: Vec<Entry<'a, E>>) -> Self {
        let groups = group_by_aggregate(entries.iter().filter_map(|entry| entry.item.as_ref()));
        Self { entries, groups }
    }

    /// Decides about every event by itself.
    pub(super) fn decide_each(&mut self, decide: impl Fn(&Item<'a, E>) -> Disposition) {
        for entry in &mut self.entries {
            if let Some(item) = &entry.item {
                entry.disposition = decide(item);
            }
        }
    }
}

/// Events that share an aggregate are decided together, in order, and commit together; the others do not wait for them.
fn group_by_aggregate<'b, 'a: 'b, E: TypedEvent>(items: impl Iterator<Item = &'b Item<'a, E>>) -> Groups {
    let mut group_of: HashMap<&AggregateId, usize> = HashMap::new();
    let mut grouped: Vec<(usize, usize)> = Vec::with_capacity(items.size_hint().1.unwrap_or(0));
    for item in items {
        let mut mine = None;
        for id in &item.aggregates {
            let Some(&of) = group_of.get(id) else { continue };
            let first: usize = *mine.get_or_insert(of);
            if first != of {
                // Both become the one that began first.
                let (kept, gone) = (first.min(of), first.max(of));
                group_of.values_mut().chain(grouped.iter_mut().map(|(of, _)| of)).for_each(|of| {
                    if *of == gone {
                        *of = kept;
                    }
                });
                mine = Some(kept);
            }
        }
        // A number that no group before has: it is its own first place's.
        let group = mine.unwrap_or(item.index);
        grouped.push((group, item.index));
        for id in &item.aggregates {
            group_of.insert(id, group);
        }
    }
    grouped.sort_unstable();
    let (mut places, mut ends) = (Vec::with_capacity(grouped.len()), Vec::with_capacity(grouped.len()));
    for of_one in grouped.chunk_by(|(one, _), (other, _)| one == other) {
        places.extend(of_one.iter().map(|(_, place)| place));
        ends.push(places.len());
    }
    Groups { places, ends }
}
