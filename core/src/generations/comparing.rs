//! How two generations of a subscription differ: every aggregate and every row of numbers of both, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OfGeneration;
use crate::clock::Clock;
use crate::ports::ledger::{AggregateId, Ledger, LedgerError, StoredAggregate};
use crate::subscription::Subscription;

/// So many of one tenant and kind are compared.
pub const MOST: usize = 50_000;
/// So many of those that differ are named.
pub const NAMED: usize = 100;
/// How often what differs is looked at again: one of the two may be a moment behind.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(750);

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Aggregates and rows of numbers that are the same in both.
    pub same: u64,
    /// Those that are not.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Tenants and kinds of which there are more than were compared.
    pub not_all: Vec<String>,
}

/// One aggregate that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// As in [`AggregateId`].
    pub tenant: String,
    /// As in [`AggregateId`].
    pub kind: String,
    /// As in [`AggregateId`]; of a row of numbers with its topic and partition before it.
    pub id: String,
    /// Where in its JSON, as a pointer (RFC 6901); empty where one has none of it.
    pub pointer: String,
    /// What the first has there; `None` where it has nothing.
    pub one: Option<Value>,
    /// What the other has.
    pub other: Option<Value>,
}

/// Compares two generations, of these tenants.
///
/// # Errors
/// The ledger's.
pub async fn compare(
    ledger: &Arc<dyn Ledger>,
    clock: &dyn Clock,
    subscription: &Subscription,
    generations: [u32; 2],
    tenants: &[String],
) -> Result<Comparison, LedgerError> {
    let ledgers = generations.map(|generation| OfGeneration::of(ledger, generation));
    let mut comparison = Comparison::default();
    for tenant in tenants {
        for kind in subscription.kinds() {
            let mut found = Vec::with_capacity(2);
            for ledger in &ledgers {
                let listed = ledger.list(tenant, kind, MOST).await?;
                if listed.len() == MOST {
                    comparison.not_all.push(format!("{kind} of tenant {tenant}"));
                }
                found.push(states(listed));
            }
            let [one, other] = [found.remove(0), found.remove(0)];
            // Of what was cut off nobody knows which part is there.
            let is_cut = one.len().max(other.len()) == MOST;
            let ids = one.keys().chain(other.keys().filter(|id| !one.contains_key(*id)));
            for id in ids.filter(|id| !is_cut || (one.contains_key(*id) && other.contains_key(*id))) {
                match one.get(id) == other.get(id) {
                    true => comparison.same += 1,
                    false => comparison.look_again(&ledgers, clock, id).await?,
                }
            }
        }
    }
    Ok(comparison)
}

impl Comparison {
    async fn look_again(
        &mut self,
        ledgers: &[Arc<dyn Ledger>; 2],
        clock: &dyn Clock,
        id: &AggregateId,
    ) -> Result<(), LedgerError> {
        let (mut one, mut other) = (None, None);
        for look in 0..LOOKS {
            // Once many differ, it is no moment's lag.
            if look > 0 && self.differing < NAMED as u64 {
                clock.sleep(BETWEEN_LOOKS).await;
            }
            let ids = std::slice::from_ref(id);
            one = state_of(ledgers[0].load(ids, &[]).await?.aggregates.pop().flatten());
            other = state_of(ledgers[1].load(ids, &[]).await?.aggregates.pop().flatten());
            if one == other {
                self.same += 1;
                return Ok(());
            }
            if self.differing >= NAMED as u64 {
                break;
            }
        }
        self.differing += 1;
        if self.differences.len() < NAMED {
            let (pointer, one, other) = first_difference(one, other);
            let AggregateId { tenant, kind, id } = id;
            let (tenant, kind, id) = (tenant.to_string(), kind.to_string(), id.to_string());
            self.differences.push(Difference { tenant, kind, id, pointer, one, other });
        }
        Ok(())
    }
}

fn states(listed: Vec<(AggregateId, StoredAggregate)>) -> BTreeMap<AggregateId, Option<Value>> {
    listed.into_iter().map(|(id, stored)| (id, state_of(Some(stored)))).collect()
}

fn state_of(stored: Option<StoredAggregate>) -> Option<Value> {
    serde_json::from_slice(&stored?.content.state?).ok()
}

/// The first place at which two differ, and what stands there.
fn first_difference(one: Option<Value>, other: Option<Value>) -> (String, Option<Value>, Option<Value>) {
    let (mut pointer, mut at) = (String::new(), (one, other));
    loop {
        let (Some(one), Some(other)) = &at else { break };
        let next = match (one, other) {
            (Value::Object(one), Value::Object(other)) => {
                let mut names = one.keys().chain(other.keys());
                names.find(|name| one.get(*name) != other.get(*name)).map(|name| {
                    let step = name.replace('~', "~0").replace('/', "~1");
                    (step, one.get(name).cloned(), other.get(name).cloned())
                })
            }
            (Value::Array(one), Value::Array(other)) => (0..one.len().max(other.len()))
                .find(|place| one.get(*place) != other.get(*place))
                .map(|place| (place.to_string(), one.get(place).cloned(), other.get(place).cloned())),
            _ => None,
        };
        let Some((step, one, other)) = next else { break };
        pointer = format!("{pointer}/{step}");
        at = (one, other);
    }
    (pointer, at.0, at.1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_the_deepest_place_that_both_have() {
        let one = json!({"through": 7, "numbers": {"a/b": [1, 2]}});
        for (other, pointer, left, right) in [
            (json!({"through": 7, "numbers": {"a/b": [1, 3]}}), "/numbers/a~1b/1", json!(2), Some(json!(3))),
            (json!({"through": 7, "numbers": {"a/b": [1]}}), "/numbers/a~1b/1", json!(2), None),
            (json!({"through": 8, "numbers": {"a/b": [1, 2]}}), "/through", json!(7), Some(json!(8))),
        ] {
            let found = first_difference(Some(one.clone()), Some(other));
            assert_eq!(found, (pointer.to_owned(), Some(left), right));
        }
        assert_eq!(first_difference(Some(json!(1)), None), (String::new(), Some(json!(1)), None));
    }
}
