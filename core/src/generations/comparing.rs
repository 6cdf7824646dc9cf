//! How two generations of a subscription differ: every aggregate, and all numbers of a counter, as whoever asks is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OfGeneration;
use super::switching::Make;
use crate::clock::Clock;
use crate::ports::ledger::{AggregateId, Ledger, LedgerError, StoredAggregate};
use crate::process::Subscriber;
use crate::subscription::{Effect, Subscription};

/// So many of one tenant and kind are compared; of numbers so many rows, of which a counter has one for each partition.
pub const MOST: usize = 50_000;
/// So many of those that differ are named.
pub const NAMED: usize = 100;
/// How often what differs is asked for again: one of the two may be a moment behind.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(750);
/// Quantiles are estimates, which depend on how events came together in batches: what differs by no more than this share is the same.
const ESTIMATED_WITHIN: f64 = 0.05;

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Aggregates, and counters with all of their numbers, that are the same in both.
    pub same: u64,
    /// Those that are not.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Tenants and kinds of which there are more than were compared.
    pub not_all: Vec<String>,
}

/// One that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// As in [`AggregateId`].
    pub tenant: String,
    /// As in [`AggregateId`].
    pub kind: String,
    /// As in [`AggregateId`]; of numbers the counter's.
    pub id: String,
    /// Where in the answer, as a pointer (RFC 6901); empty where one has none.
    pub pointer: String,
    /// What the first has there; `None` where it has nothing.
    pub one: Option<Value>,
    /// What the other has.
    pub other: Option<Value>,
}

/// Compares two generations, of these tenants; `make` makes the subscription's function on the ledger of one.
///
/// # Errors
/// The ledger's.
pub async fn compare(
    ledger: &Arc<dyn Ledger>,
    make: &Make,
    clock: &dyn Clock,
    subscription: &Subscription,
    generations: [u32; 2],
    tenants: &[String],
) -> Result<Comparison, LedgerError> {
    let ledgers = generations.map(|generation| OfGeneration::of(ledger, generation));
    let functions = ledgers.each_ref().map(|ledger| make(Arc::clone(ledger)));
    let mut comparison = Comparison::default();
    for tenant in tenants {
        for kind in subscription.kinds() {
            let mut found = Vec::with_capacity(2);
            for ledger in &ledgers {
                found.push(states(ledger.list(tenant, kind, MOST).await?));
            }
            let [one, other] = [found.remove(0), found.remove(0)];
            // Of what was cut off nobody knows which part is there.
            let is_cut = one.len().max(other.len()) == MOST;
            if is_cut {
                comparison.not_all.push(format!("{kind} of tenant {tenant}"));
            }
            let ids = one.keys().chain(other.keys().filter(|id| !one.contains_key(*id)));
            let (mut same, mut differing) = (BTreeSet::new(), BTreeSet::new());
            for id in ids.filter(|id| !is_cut || (one.contains_key(*id) && other.contains_key(*id))) {
                let asked = asked_for(subscription.effect, id);
                match one.get(id) == other.get(id) {
                    true => same.insert(asked),
                    false => differing.insert(asked),
                };
            }
            comparison.same += same.difference(&differing).count() as u64;
            comparison.ask(&functions, clock, tenant, kind, differing).await?;
        }
    }
    Ok(comparison)
}

impl Comparison {
    /// Asks both for what is kept in other bytes, and for what differs then once more.
    async fn ask(
        &mut self,
        functions: &[Arc<dyn Subscriber>; 2],
        clock: &dyn Clock,
        tenant: &str,
        kind: &str,
        mut ids: BTreeSet<String>,
    ) -> Result<(), LedgerError> {
        let mut differing = BTreeMap::new();
        for look in 0..LOOKS {
            if ids.is_empty() {
                break;
            }
            if look > 0 {
                clock.sleep(BETWEEN_LOOKS).await;
            }
            differing.clear();
            for id in std::mem::take(&mut ids) {
                let one = functions[0].show(tenant, kind, &id).await?;
                let other = functions[1].show(tenant, kind, &id).await?;
                match difference(one, other) {
                    None => self.same += 1,
                    Some(difference) => drop(differing.insert(id, difference)),
                }
            }
            ids.extend(differing.keys().cloned());
        }
        self.differing += differing.len() as u64;
        let room = NAMED.saturating_sub(self.differences.len());
        self.differences.extend(differing.into_iter().take(room).map(|(id, (pointer, one, other))| {
            let (tenant, kind) = (tenant.to_owned(), kind.to_owned());
            Difference { tenant, kind, id, pointer, one, other }
        }));
        Ok(())
    }
}

fn states(listed: Vec<(AggregateId, StoredAggregate)>) -> BTreeMap<AggregateId, Option<bytes::Bytes>> {
    listed.into_iter().map(|(id, stored)| (id, stored.content.state)).collect()
}

/// By which id somebody asks for it: a row of numbers has its topic and partition before that of its counter.
fn asked_for(effect: Effect, id: &AggregateId) -> String {
    match effect {
        Effect::Counted => id.id.splitn(3, '/').last().unwrap_or_default().to_owned(),
        _ => id.id.to_string(),
    }
}

/// The first place at which two answers differ, as a pointer (RFC 6901), and what stands there in each; `None` where they are the same
/// but for how often they were written, and for what is estimated.
pub fn difference(one: Option<Value>, other: Option<Value>) -> Option<(String, Option<Value>, Option<Value>)> {
    first_difference(answer_of(one), answer_of(other))
}

/// What is shown, but for how often it was written.
fn answer_of(shown: Option<Value>) -> Option<Value> {
    shown.map(|mut shown| {
        if let Value::Object(members) = &mut shown {
            members.remove("version");
        }
        shown
    })
}

/// The first place at which two differ, and what stands there; `None` where they are the same.
fn first_difference(one: Option<Value>, other: Option<Value>) -> Option<(String, Option<Value>, Option<Value>)> {
    match (&one, &other) {
        (Some(Value::Object(first)), Some(Value::Object(second))) => {
            let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
            names.into_iter().find_map(|name| {
                let (one, other) = (first.get(name), second.get(name));
                if is_quantile(name) && are_close(one, other) {
                    return None;
                }
                let step = name.replace('~', "~0").replace('/', "~1");
                below(&step, first_difference(one.cloned(), other.cloned()))
            })
        }
        (Some(Value::Array(first)), Some(Value::Array(second))) => {
            (0..first.len().max(second.len())).find_map(|place| {
                let found = first_difference(first.get(place).cloned(), second.get(place).cloned());
                below(&place.to_string(), found)
            })
        }
        _ if one == other => None,
        _ => Some((String::new(), one, other)),
    }
}

fn below(
    step: &str,
    found: Option<(String, Option<Value>, Option<Value>)>,
) -> Option<(String, Option<Value>, Option<Value>)> {
    found.map(|(pointer, one, other)| (format!("/{step}{pointer}"), one, other))
}

/// `p50`, `p99` …
fn is_quantile(name: &str) -> bool {
    name.strip_prefix('p').is_some_and(|rank| !rank.is_empty() && rank.bytes().all(|byte| byte.is_ascii_digit()))
}

fn are_close(one: Option<&Value>, other: Option<&Value>) -> bool {
    let (Some(one), Some(other)) = (one.and_then(Value::as_f64), other.and_then(Value::as_f64)) else { return false };
    (one - other).abs() <= ESTIMATED_WITHIN * one.abs().max(other.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_the_deepest_place_that_both_have() {
        let one = json!({"attempts": 7, "numbers": {"a/b": [1, 2]}});
        for (other, pointer, left, right) in [
            (json!({"attempts": 7, "numbers": {"a/b": [1, 3]}}), "/numbers/a~1b/1", json!(2), Some(json!(3))),
            (json!({"attempts": 7, "numbers": {"a/b": [1]}}), "/numbers/a~1b/1", json!(2), None),
            (json!({"attempts": 8, "numbers": {"a/b": [1, 2]}}), "/attempts", json!(7), Some(json!(8))),
        ] {
            let found = first_difference(Some(one.clone()), Some(other));
            assert_eq!(found, Some((pointer.to_owned(), Some(left), right)));
        }
        assert_eq!(first_difference(Some(json!(1)), None), Some((String::new(), Some(json!(1)), None)));
        assert_eq!(first_difference(Some(one.clone()), Some(one)), None);
    }

    #[test]
    fn a_quantile_may_be_estimated_otherwise_and_no_other_number_may() {
        let of = |name: &str, number: i64| Some(json!({ name: number }));
        assert_eq!(first_difference(of("p90", 1_000), of("p90", 1_049)), None);
        for (name, number) in [("p90", 1_060), ("attempts", 1_001), ("p", 1_001), ("passed", 1_001)] {
            assert!(first_difference(of(name, 1_000), of(name, number)).is_some(), "{name} {number}");
        }
    }

    #[test]
    fn a_row_of_numbers_is_asked_for_by_its_counter() {
        let id = AggregateId { tenant: "t".into(), kind: "learner".into(), id: "learning.events.v1/3/a/b".into() };
        assert_eq!(asked_for(Effect::Counted, &id), "a/b");
        assert_eq!(asked_for(Effect::Documents, &id), "learning.events.v1/3/a/b");
    }
}
