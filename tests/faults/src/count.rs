//! What is there afterwards, held against the oracle: lost, doubled, out of order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use lyceum_core::catalog::PLATFORM_DEAD_LETTERS;
use lyceum_core::dead_letter;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::{AggregateId, Ledger};
use lyceum_core::ports::statements::{Filter, Statements};
use lyceum_functions::REGISTRY;
use lyceum_simulation::subject::Folded;
use serde_json::Value;
use uuid::Uuid;

use crate::oracle::read;
use crate::steps::without_the_next_releases_fields;
use crate::worker::GIVEN_UP;

/// The tenant of everything that is sent.
const TENANT: &str = "default";

/// The difference between what is there and what was expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Statements, letters, states and events in states that are missing.
    pub lost: usize,
    /// Statements, letters, states and events in states that were not to be, or were to be once.
    pub doubled: usize,
    /// Aggregates that have the right events in another order.
    pub disordered: usize,
    /// Records that a mapping gave up to its destination.
    pub given_up: usize,
    /// Letters by id.
    pub letters: usize,
    /// Letters that were published once more under their id, which readers remove.
    pub letters_again: usize,
    /// A few of the differences, for a person.
    pub examples: Vec<String>,
}

impl Difference {
    /// Whether everything is as expected.
    pub fn is_none(&self) -> bool {
        (self.lost, self.doubled, self.disordered, self.given_up) == (0, 0, 0, 0)
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < 5 {
            self.examples.push(example());
        }
    }
}

/// Where to look.
pub struct Stores {
    /// Not through a proxy.
    pub log: Arc<dyn EventLog>,
    /// Not through a proxy.
    pub ledger: Arc<dyn Ledger>,
    /// Not through a proxy.
    pub statements: Arc<dyn Statements>,
}

/// Reads everything and compares.
///
/// # Errors
/// Where a store does not answer.
pub async fn compare(stores: &Stores, expected: &Folded) -> Result<Difference> {
    let mut difference = Difference::default();
    compare_statements(stores, expected, &mut difference).await?;
    compare_letters(stores, expected, &mut difference).await?;
    compare_states(stores, expected, &mut difference).await?;
    difference.given_up = match stores.log.offsets(GIVEN_UP).await {
        Ok(ranges) => ranges.iter().map(|range| usize::try_from(range.end - range.start).unwrap_or(0)).sum(),
        Err(EventLogError::UnknownTopic(_)) => 0,
        Err(error) => return Err(error).context("looking for what was given up"),
    };
    Ok(difference)
}

async fn compare_statements(stores: &Stores, expected: &Folded, difference: &mut Difference) -> Result<()> {
    let filter = Filter { include_voided: true, ..Filter::default() };
    let mut found = HashMap::new();
    let mut after: Option<String> = None;
    loop {
        let page =
            stores.statements.search(&filter, 1_000, after.as_deref()).await.context("reading the statements")?;
        for stored in page.statements {
            let of = stored.document;
            found.entry((of.tenant.to_string(), of.id)).or_insert_with(|| ((of.raw, of.source, of.stored_ms), 0)).1 +=
                1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    for (id, document) in &expected.documents {
        match found.remove(id) {
            None => {
                difference.lost += 1;
                difference.note(|| format!("statement {} is missing", id.1));
            }
            Some((stored, times)) => {
                difference.doubled += times - 1;
                if stored != *document {
                    difference.lost += 1;
                    difference.note(|| format!("statement {} is {stored:?} and was to be {document:?}", id.1));
                }
            }
        }
    }
    for ((_, id), _) in found {
        difference.doubled += 1;
        difference.note(|| format!("statement {id} was not to be"));
    }
    Ok(())
}

async fn compare_letters(stores: &Stores, expected: &Folded, difference: &mut Difference) -> Result<()> {
    let mut found: BTreeMap<Uuid, (dead_letter::DeadLetter, usize)> = BTreeMap::new();
    for topic in dead_letter_topics() {
        for record in read(&stores.log, topic).await? {
            let letter = dead_letter::read(&record).with_context(|| format!("{} is no letter", record.position))?;
            found.entry(letter.id).or_insert_with(|| (letter, 0)).1 += 1;
        }
    }
    difference.letters = found.len();
    difference.letters_again = found.values().map(|(_, times)| times - 1).sum();
    for (id, kind) in &expected.letters {
        match found.remove(id) {
            Some((letter, _)) if letter.kind == *kind => {}
            Some((letter, _)) => {
                difference.lost += 1;
                difference
                    .note(|| format!("the letter of {} is {:?}, and was to be {kind:?}", letter.source, letter.kind));
            }
            None => {
                difference.lost += 1;
                difference.note(|| format!("letter {id} ({kind:?}) is missing"));
            }
        }
    }
    for (letter, _) in found.into_values() {
        difference.doubled += 1;
        difference.note(|| format!("{:?} of {} was not to be: {:?}", letter.kind, letter.source, letter.findings));
    }
    Ok(())
}

/// The topics for letters of every family.
pub fn dead_letter_topics() -> [&'static str; 3] {
    let topics = &PLATFORM_DEAD_LETTERS;
    [topics.validation, topics.processing, topics.database]
}

async fn compare_states(stores: &Stores, expected: &Folded, difference: &mut Difference) -> Result<()> {
    let mut found: BTreeMap<AggregateId, Bytes> = BTreeMap::new();
    for kind in REGISTRY.iter().flat_map(|entry| entry.spec.kinds) {
        let listed =
            stores.ledger.list(TENANT, kind, 1_000_000).await.with_context(|| format!("listing each {kind}"))?;
        found.extend(listed.into_iter().filter_map(|(id, stored)| Some((id, stored.content.state?))));
    }
    for (id, state) in &expected.states {
        match found.remove(id) {
            None => {
                difference.lost += 1;
                difference.note(|| format!("there is no {id}"));
            }
            Some(stored) => compare_state(id, &stored, state, difference)?,
        }
    }
    for id in found.into_keys() {
        difference.doubled += 1;
        difference.note(|| format!("{id} was not to be"));
    }
    Ok(())
}

fn compare_state(id: &AggregateId, stored: &Bytes, expected: &Bytes, difference: &mut Difference) -> Result<()> {
    let mut stored: Value = serde_json::from_slice(stored).with_context(|| format!("{id} is no JSON"))?;
    without_the_next_releases_fields(&mut stored);
    let expected: Value = serde_json::from_slice(expected)?;
    if stored == expected {
        return Ok(());
    }
    difference.note(|| format!("{id} is {stored} and was to be {expected}"));
    let (mut there, mut wanted) = (Events::default(), Events::default());
    there.collect(&stored);
    wanted.collect(&expected);
    let (lost, doubled) = (wanted.beyond(&there), there.beyond(&wanted));
    match (lost, doubled) {
        // The same events: the numbers show whether one counted once too often.
        (0, 0) if there.sum > wanted.sum => difference.doubled += 1,
        (0, 0) if there.sum < wanted.sum => difference.lost += 1,
        (0, 0) => difference.disordered += 1,
        (lost, doubled) => {
            difference.lost += lost;
            difference.doubled += doubled;
        }
    }
    Ok(())
}

/// The events that a state names, and the sum of its counts.
#[derive(Default)]
struct Events {
    times: BTreeMap<String, usize>,
    sum: i64,
}

impl Events {
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(id) if name == "id" => *self.times.entry(id.clone()).or_default() += 1,
                        Value::Number(number) if !name.ends_with("_ms") => self.sum += number.as_i64().unwrap_or(0),
                        value => self.collect(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            _ => {}
        }
    }

    fn beyond(&self, other: &Self) -> usize {
        let surplus = |(id, times): (&String, &usize)| times.saturating_sub(other.times.get(id).copied().unwrap_or(0));
        self.times.iter().map(surplus).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(stored: Value, expected: Value) -> (usize, usize, usize) {
        let id = AggregateId { tenant: TENANT.into(), kind: "program".into(), id: "p".into() };
        let mut difference = Difference::default();
        compare_state(&id, &stored.to_string().into(), &expected.to_string().into(), &mut difference).unwrap();
        (difference.lost, difference.doubled, difference.disordered)
    }

    fn history(ids: &[&str]) -> Value {
        json!({"history": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(), "confirmed": ids.len()})
    }

    #[test]
    fn what_a_state_lacks_has_twice_or_has_in_another_order_is_told_apart() {
        assert_eq!(judged(history(&["a", "b"]), history(&["a", "b"])), (0, 0, 0));
        assert_eq!(judged(history(&["a"]), history(&["a", "b"])), (1, 0, 0));
        assert_eq!(judged(history(&["a", "b", "b"]), history(&["a", "b"])), (0, 1, 0));
        assert_eq!(judged(history(&["b", "a"]), history(&["a", "b"])), (0, 0, 1));
        assert_eq!(judged(json!({"confirmed": 3}), json!({"confirmed": 2})), (0, 1, 0));
        assert_eq!(judged(json!({"confirmed": 1}), json!({"confirmed": 2})), (1, 0, 0));
    }

    #[test]
    fn a_field_of_the_next_release_is_no_difference() {
        let mut next = history(&["a"]);
        next["of_the_next_release"] = json!(1);
        assert_eq!(judged(next, history(&["a"])), (0, 0, 0));
    }
}
