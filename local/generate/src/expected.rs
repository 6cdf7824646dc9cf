//! What must come out: how many events end in which way, of those that are sent and of those that Lyceum publishes because of them.

use std::collections::BTreeMap;

use lyceum_core::outcome::{DeadLetterKind, Outcome};
use serde::Serialize;

use crate::Made;

/// What only Lyceum publishes, because of other events: none of these is made here.
pub const FOLLOW_UPS: [&str; 5] = [
    "content.generation.progressed",
    "content.generation.completed",
    "content.generation.failed",
    "security.alert.raised",
    "security.alerts.held_back",
];

/// Of these nobody can say before how many there will be: alerts are counted by windows of time, over partitions that are read in no
/// order of each other.
pub const UNFORESEEN: [&str; 2] = ["security.alert.raised", "security.alerts.held_back"];

/// So many times the generator of this process says how far it is.
const STEPS: u64 = 3;

/// How many events came out, by family, type and outcome.
pub type Events = BTreeMap<[String; 3], u64>;
/// How many letters, by family and kind.
pub type Letters = BTreeMap<[String; 2], u64>;

/// Events of one kind that end in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ending {
    /// The family that owns the topic.
    pub family: &'static str,
    /// As Lyceum reports it: the catalog's name, `statement`, or `unknown`.
    pub event_type: &'static str,
    /// `applied`, `duplicate`, `dead_lettered` or `skipped_tombstone`.
    pub outcome: &'static str,
    /// Why it was dead-lettered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
}

impl Ending {
    fn of(family: &'static str, event_type: &'static str, outcome: &Outcome) -> Self {
        let kind = match outcome {
            Outcome::DeadLettered { kind } => Some(kind.name()),
            _ => None,
        };
        Self { family, event_type, outcome: outcome.name(), kind }
    }
}

/// How many of them.
#[derive(Clone, Copy, Debug, Serialize)]
struct Count {
    #[serde(flatten)]
    ending: Ending,
    count: u64,
}

/// Events whose end depends on what comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Either {
    /// The family.
    pub family: &'static str,
    /// The type.
    pub event_type: &'static str,
    /// As either of these.
    pub endings: [Ending; 2],
    /// So many together.
    pub count: u64,
}

/// What must come out of a load.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    sent: BTreeMap<Ending, u64>,
    follow_ups: BTreeMap<Ending, u64>,
    either: BTreeMap<(&'static str, &'static str), u64>,
    alerts: u64,
}

/// What an ingestion of the load must sum up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Events.
    pub sent: u64,
    /// Whose effect is in.
    pub applied: u64,
    /// That came before.
    pub duplicate: u64,
    /// By kind.
    pub dead_lettered: BTreeMap<&'static str, u64>,
    /// Records without a value.
    pub skipped: u64,
}

const APPLIED: Outcome = Outcome::Applied;
const REJECTED: Outcome = Outcome::DeadLettered { kind: DeadLetterKind::Rejected };

impl Expected {
    /// Counts an event that is sent, and what follows from it.
    pub fn add(&mut self, made: &Made) {
        *self.sent.entry(Ending::of(made.family, made.event_type, &made.outcome)).or_default() += 1;
        if made.outcome != Outcome::Applied {
            return;
        }
        let mut follows = |family, event_type, outcome: &Outcome, count| {
            *self.follow_ups.entry(Ending::of(family, event_type, outcome)).or_default() += count;
        };
        match made.event_type {
            "content.generation.requested" => {
                follows("generation", "content.generation.progressed", &APPLIED, STEPS);
                follows("generation", "content.generation.completed", &APPLIED, 1);
            }
            "course.generation.completed" => {
                follows("distribution", "distribution.created", &APPLIED, 1);
                follows("course", "course.deployed.staging", &APPLIED, 1);
                follows("distribution", "distribution.updated", &APPLIED, 1);
            }
            "course.deployed.staging" => follows("distribution", "distribution.updated", &APPLIED, 1),
            "distribution.created" => {
                if made.is_of_known_course {
                    self.add_either("course", "course.deployed.staging", 1);
                } else {
                    follows("course", "course.deployed.staging", &REJECTED, 1);
                }
                *self.follow_ups.entry(Ending::of("distribution", "distribution.updated", &APPLIED)).or_default() += 1;
            }
            // Its staging may be told before or after.
            "distribution.deleted" => {
                let updated = Ending::of("distribution", "distribution.updated", &APPLIED);
                if let Some(count) = self.follow_ups.get_mut(&updated).filter(|count| **count > 0) {
                    *count -= 1;
                    self.add_either("distribution", "distribution.updated", 1);
                }
            }
            "ir.approval_invalid" | "ir.dag_diff_failed" => self.alerts += 1,
            _ => {}
        }
    }

    fn add_either(&mut self, family: &'static str, event_type: &'static str, count: u64) {
        *self.either.entry((family, event_type)).or_default() += count;
    }

    /// Of the events that are sent, how many end in which way.
    pub fn sent(&self) -> &BTreeMap<Ending, u64> {
        &self.sent
    }

    /// The same of what follows from them.
    pub fn follow_ups(&self) -> &BTreeMap<Ending, u64> {
        &self.follow_ups
    }

    /// What follows and is applied or rejected, by what comes first.
    pub fn either(&self) -> Vec<Either> {
        let of = |(&(family, event_type), &count): (&(&'static str, &'static str), &u64)| Either {
            family,
            event_type,
            endings: [&APPLIED, &REJECTED].map(|outcome| Ending::of(family, event_type, outcome)),
            count,
        };
        self.either.iter().map(of).collect()
    }

    /// Sent and following, by how they end; without those of [`Self::either`] and without alerts.
    pub fn all(&self) -> BTreeMap<Ending, u64> {
        let mut all = self.sent.clone();
        for (ending, count) in self.follow_ups.iter().filter(|(_, count)| **count > 0) {
            *all.entry(*ending).or_default() += count;
        }
        all
    }

    /// What an ingestion of it must sum up to.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (Ending { outcome, kind, .. }, count) in &self.sent {
            sums.sent += count;
            match (*outcome, *kind) {
                (_, Some(kind)) => *sums.dead_lettered.entry(kind).or_default() += count,
                ("applied", _) => sums.applied += count,
                ("duplicate", _) => sums.duplicate += count,
                _ => sums.skipped += count,
            }
        }
        sums
    }

    /// What differs from what came out: a line each. `events` are counted by family, type and outcome, `letters` by family and kind, as
    /// metrics have them. Alerts are not compared, but that there are some where there must be.
    pub fn differences(&self, events: &Events, letters: &Letters) -> Vec<String> {
        let (mut left, mut left_letters) = (events.clone(), letters.clone());
        let mut wrong = Vec::new();
        let (mut must, mut must_letters) = (Events::new(), Letters::new());
        for (Ending { family, event_type, outcome, kind }, count) in self.all() {
            *must.entry([family, event_type, outcome].map(str::to_owned)).or_default() += count;
            if let Some(kind) = kind {
                *must_letters.entry([family, kind].map(str::to_owned)).or_default() += count;
            }
        }
        for (of, count) in must {
            let came = left.remove(&of).unwrap_or_default();
            match came.checked_sub(count) {
                Some(0) => {}
                Some(more) => drop(left.insert(of, more)),
                None => wrong.push(format!("{}: {count} must come out, and {came} did", of.join(" "))),
            }
        }
        for Either { family, event_type, endings, count } in self.either() {
            let [applied, rejected] =
                endings.map(|of| left.remove(&[family, event_type, of.outcome].map(str::to_owned)).unwrap_or_default());
            let came = applied + rejected;
            if came != count {
                wrong.push(format!("{family} {event_type} applied or rejected: {count} must come out, and {came} did"));
            }
            *must_letters.entry([family, "rejected"].map(str::to_owned)).or_default() += rejected;
        }
        for (of, count) in must_letters.into_iter().filter(|(_, count)| *count > 0) {
            let came = left_letters.remove(&of).unwrap_or_default();
            if came != count {
                wrong.push(format!("letters of {}: {count} must come out, and {came} did", of.join(" ")));
            }
        }
        let is_alert = |of: &[String; 3]| UNFORESEEN.contains(&&*of[1]) && of[2] == "applied";
        let alerts: u64 = left.iter().filter(|(of, _)| is_alert(of)).map(|(_, count)| count).sum();
        if (alerts > 0) != (self.alerts > 0) {
            wrong.push(format!("{} events lead to alerts, and {alerts} were raised", self.alerts));
        }
        left.retain(|of, _| !is_alert(of));
        wrong.extend(left.iter().map(|(of, more)| format!("{}: {more} came out that must not", of.join(" "))));
        wrong.extend(
            left_letters.iter().map(|(of, more)| format!("letters of {}: {more} that must not be", of.join(" "))),
        );
        wrong
    }

    /// As a document: sums, every ending, and what is open.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Document {
            #[serde(flatten)]
            sums: Sums,
            outcomes: Vec<Count>,
            follow_ups: Vec<Count>,
            either: Vec<Either>,
            unforeseen: [&'static str; 2],
        }
        let counts = |of: &BTreeMap<Ending, u64>| {
            of.iter()
                .filter(|(_, count)| **count > 0)
                .map(|(ending, count)| Count { ending: *ending, count: *count })
                .collect()
        };
        let document = Document {
            sums: self.sums(),
            outcomes: counts(&self.sent),
            follow_ups: counts(&self.follow_ups),
            either: self.either(),
            unforeseen: UNFORESEEN,
        };
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }
}
