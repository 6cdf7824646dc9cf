//! What the ledger's table costs, in DynamoDB's capacity units: summed up, and for each event of a family.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a call consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Read units.
    Read,
    /// Write units.
    Write,
}

impl Access {
    /// As a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Capacity units. They come in halves, which add exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Units {
    /// Of reads.
    pub read_units: f64,
    /// Of writes.
    pub write_units: f64,
}

impl Units {
    fn add(&mut self, access: Access, units: f64) {
        match access {
            Access::Read => self.read_units += units,
            Access::Write => self.write_units += units,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { read_units: self.read_units + other.read_units, write_units: self.write_units + other.write_units }
    }

    fn minus(self, other: Self) -> Self {
        Self { read_units: self.read_units - other.read_units, write_units: self.write_units - other.write_units }
    }
}

/// What was consumed in a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// By all calls, those for looking included.
    #[serde(flatten)]
    pub units: Units,
    /// By the calls for a family's events, nothing for a family without state; under `replay`, without events, by the sending
    /// again of letters.
    pub families: BTreeMap<String, FamilyCapacity>,
}

/// What was consumed for the events of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Shown")]
pub struct FamilyCapacity {
    /// Deliveries that ended, in whatever way.
    pub events: u64,
    /// For all of them.
    #[serde(flatten)]
    pub units: Units,
}

/// A family's as it is shown: what an event cost, too.
#[derive(Serialize)]
struct Shown {
    events: u64,
    #[serde(flatten)]
    units: Units,
    read_units_per_event: Option<f64>,
    write_units_per_event: Option<f64>,
}

impl From<FamilyCapacity> for Shown {
    fn from(of: FamilyCapacity) -> Self {
        let rounded = |units: f64| (units * 100.0).round() / 100.0;
        let per_event = of.per_event();
        Self {
            events: of.events,
            units: of.units,
            read_units_per_event: per_event.map(|per| rounded(per.read_units)),
            write_units_per_event: per_event.map(|per| rounded(per.write_units)),
        }
    }
}

impl FamilyCapacity {
    /// What an event cost; `None` before the first.
    pub fn per_event(&self) -> Option<Units> {
        let Units { read_units, write_units } = self.units;
        let events = self.events as f64;
        (self.events > 0).then(|| Units { read_units: read_units / events, write_units: write_units / events })
    }
}

impl Capacity {
    /// Adds what a call consumed, for a family's events where it concerns one.
    pub fn add_call(&mut self, access: Access, family: Option<&str>, units: f64) {
        self.units.add(access, units);
        if let Some(family) = family {
            self.family(family).units.add(access, units);
        }
    }

    /// Counts an event of a family.
    pub fn add_event(&mut self, family: &str) {
        self.family(family).events += 1;
    }

    /// Adds what was consumed in another time.
    pub fn add(&mut self, other: &Self) {
        self.units = self.units.plus(other.units);
        for (family, of) in &other.families {
            let mine = self.family(family);
            *mine = FamilyCapacity { events: mine.events + of.events, units: mine.units.plus(of.units) };
        }
    }

    /// What was consumed since an earlier look, without the families that had nothing to do.
    pub fn since(&self, earlier: &Self) -> Self {
        let since = |(family, now): (&String, &FamilyCapacity)| {
            let then = earlier.families.get(family).copied().unwrap_or_default();
            let (events, units) = (now.events.saturating_sub(then.events), now.units.minus(then.units));
            let since = FamilyCapacity { events, units };
            (since != FamilyCapacity::default()).then(|| (family.clone(), since))
        };
        Self { units: self.units.minus(earlier.units), families: self.families.iter().filter_map(since).collect() }
    }

    /// The share of so many events by family, as if each event of a family had cost the same: others may have been processed
    /// in the same time.
    pub fn share_of(&self, events: &BTreeMap<&'static str, u64>) -> Self {
        let mut share = Self::default();
        for (family, &events) in events {
            let Some(all) = self.families.get(*family) else { continue };
            let part = if events < all.events { events as f64 / all.events as f64 } else { 1.0 };
            let units = Units { read_units: all.units.read_units * part, write_units: all.units.write_units * part };
            share.units = share.units.plus(units);
            *share.family(family) = FamilyCapacity { events, units };
        }
        share
    }

    fn family(&mut self, family: &str) -> &mut FamilyCapacity {
        self.families.entry(family.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_families_that_have_one_and_all_of_what_nobody_else_used() {
        let mut capacity = Capacity::default();
        (0..4).for_each(|_| capacity.add_event("training"));
        capacity.add_call(Access::Write, Some("training"), 10.0);
        (0..3).for_each(|_| capacity.add_event("survey"));
        capacity.add_call(Access::Write, Some("survey"), 6.0);
        capacity.add_call(Access::Read, None, 5.0);
        let write = |units| Units { read_units: 0.0, write_units: units };
        let share = capacity.share_of(&BTreeMap::from([("training", 1), ("statement", 7)]));
        assert_eq!(share.units, write(2.5));
        assert_eq!(
            share.families,
            BTreeMap::from([("training".to_owned(), FamilyCapacity { events: 1, units: write(2.5) })])
        );
        assert_eq!(capacity.share_of(&BTreeMap::from([("survey", 3)])).units, write(6.0));
        assert_eq!(capacity.share_of(&BTreeMap::new()), Capacity::default());
    }

    #[test]
    fn an_event_costs_what_its_family_consumed_and_looking_is_no_events() {
        let mut capacity = Capacity::default();
        capacity.add_call(Access::Read, None, 8.0);
        capacity.add_event("statement");
        let before = capacity.clone();
        capacity.add_event("training");
        capacity.add_event("training");
        capacity.add_call(Access::Read, Some("training"), 2.5);
        capacity.add_call(Access::Write, Some("training"), 6.0);
        let since = capacity.since(&before);
        assert_eq!(since.units, Units { read_units: 2.5, write_units: 6.0 });
        assert_eq!(since.families.keys().collect::<Vec<_>>(), ["training"]);
        let shown = serde_json::json!({
            "read_units": 2.5, "write_units": 6.0,
            "families": {"training": {
                "events": 2, "read_units": 2.5, "write_units": 6.0,
                "read_units_per_event": 1.25, "write_units_per_event": 3.0,
            }},
        });
        assert_eq!(serde_json::to_value(&since).unwrap(), shown);
        let mut parts: Capacity = serde_json::from_value(shown).unwrap();
        parts.add(&since);
        assert_eq!(parts.families["training"].events, 4);
        assert_eq!(parts.families["training"].per_event(), since.families["training"].per_event());
    }
}
