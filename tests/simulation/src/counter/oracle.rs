//! What must hold of the counters once everything is at rest.

use std::collections::{BTreeMap, HashSet};

use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::ledger::{AggregateId, KeyStatus};
use lyceum_core::process::look_into;
use lyceum_core::record::{Position, Record};
use uuid::Uuid;

use super::family::{Basis, COUNTER, Counter, Counters, name_of};
use crate::check::{Check, Violation, fail};
use crate::stage::{Committed, Stage};
use crate::subject::{EventFact, Fact};

/// Compares the counters with the events that were applied to them.
pub(super) fn check(stage: &Stage) -> Result<(), Violation> {
    let counters: BTreeMap<AggregateId, Counter> = stage
        .ledger
        .aggregates()
        .into_iter()
        .filter(|(id, _)| id.kind == COUNTER)
        .filter_map(|(id, stored)| Some((id, serde_json::from_slice(&stored.content.state?).unwrap_or_default())))
        .collect();
    let committed = stage.state().committed.clone();
    let applied_at: BTreeMap<Uuid, Position> = committed
        .iter()
        .filter(|of| of.key.status == KeyStatus::Applied)
        .map(|of| (event_of(stage, of), of.key.source.clone()))
        .collect();
    // Of what the platform gave up, no order is promised.
    let ordered = stage.state().given_up.is_empty();
    for (id, counter) in &counters {
        let mut seen = HashSet::new();
        if let Some(twice) = counter.applied.iter().find(|event| !seen.insert(**event)) {
            return fail(Check::AppliedTwice, format!("event {twice} to {id}"));
        }
        let positions: Vec<&Position> = counter.applied.iter().filter_map(|event| applied_at.get(event)).collect();
        let swapped = positions.iter().enumerate().find_map(|(at, later)| {
            positions[..at].iter().find(|earlier| earlier.partition == later.partition && earlier.offset > later.offset)
        });
        if let (Some(record), true) = (swapped, ordered) {
            return fail(Check::Order, format!("{record} was applied to {id} before one that stands before it"));
        }
        let value: i64 = positions.iter().map(|position| adds(stage, position)).sum();
        if value != counter.value {
            let events = counter.applied.len();
            return fail(Check::Value, format!("{id} is {} and its {events} events make {value}", counter.value));
        }
    }
    for of in &committed {
        let Some(Fact::Event(fact)) = stage.fact_at(&of.key.source) else { continue };
        let histories: Vec<&[Uuid]> = fact
            .aggregates
            .iter()
            .map(|id| counters.get(id).map_or(&[][..], |counter| counter.applied.as_slice()))
            .collect();
        if of.key.status == KeyStatus::Applied && histories.iter().any(|events| !events.contains(&name(&fact))) {
            return fail(Check::AppliedInPart, format!("{} is applied to a part of its counters only", of.key.source));
        }
        if let (Some(basis), true) = (basis(of), ordered) {
            check_basis(&of.key.source, &basis, &histories, &applied_at)?;
        }
    }
    Ok(())
}

/// A rejection saw exactly what was applied before it, as far as its own partition tells the order.
fn check_basis(
    at: &Position,
    basis: &Basis,
    histories: &[&[Uuid]],
    applied_at: &BTreeMap<Uuid, Position>,
) -> Result<(), Violation> {
    for (saw, history) in basis.0.iter().zip(histories) {
        let before = |events: &[Uuid]| -> Vec<i64> {
            let offsets = events.iter().filter_map(|event| applied_at.get(event));
            offsets.filter(|of| of.partition == at.partition).map(|of| of.offset).collect()
        };
        let expected: Vec<i64> = before(history).into_iter().filter(|offset| *offset < at.offset).collect();
        let saw = if saw.iter().all(|event| applied_at.contains_key(event)) { before(saw) } else { vec![-1] };
        if saw != expected {
            let detail = format!("{at} was rejected having seen offsets {saw:?}; applied before it were {expected:?}");
            return fail(Check::Basis, detail);
        }
    }
    Ok(())
}

fn basis(of: &Committed) -> Option<Basis> {
    let publications = look_into(&of.key.recording)?.publications;
    let letter = publications.into_iter().next()?.record;
    let stored = Record {
        position: of.key.source.clone(),
        timestamp_ms: 0,
        key: letter.key,
        value: letter.value,
        headers: letter.headers,
    };
    let letter = lyceum_core::dead_letter::read(&stored)?;
    (letter.kind == DeadLetterKind::Rejected).then_some(())?;
    serde_json::from_str(&letter.findings.first()?.message).ok()
}

fn name(event: &EventFact) -> Uuid {
    name_of(event.event_id, event.aggregates.first().map_or("", |home| &home.id))
}

fn event_of(stage: &Stage, of: &Committed) -> Uuid {
    match stage.fact_at(&of.key.source) {
        Some(Fact::Event(fact)) => name(&fact),
        _ => of.id.event_id,
    }
}

fn adds(stage: &Stage, at: &Position) -> i64 {
    let Some(record) = stage.record_at(at) else { return 0 };
    crate::subject::event::<Counters<false>>(&super::catalog::<false>(), &record).map_or(0, |event| event.kind.adds())
}
