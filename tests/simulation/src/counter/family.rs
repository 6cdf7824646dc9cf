//! A family that is made to be attacked: counters that remember every event that was applied to them.

use std::cell::RefCell;
use std::sync::Arc;

use lyceum_core::catalog::{EventType, FamilySpec, ObjectIs, PLATFORM_DEAD_LETTERS, StatementForm, TopicOf};
use lyceum_core::envelope::Envelope;
use lyceum_core::family::{
    AggregateRef, AggregateState, Decision, Family, FollowUp, Occurrence, StatefulFamily, TypedEvent,
};
use lyceum_core::formats::Stored;
use lyceum_core::formats::statement::field::Fields;
use lyceum_core::formats::statement::{StatementFormat, document};
use lyceum_core::outcome::{Finding, Refusal};
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::states::{Aggregate, Changes, States};
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fault::Fault;
use crate::stage::{BEGINNING_MS, Stage, TICK};

/// Where the events come on.
pub const COUNTERS: &str = "simulation.counters";
/// Where follow-ups go.
pub const FOLLOWED: &str = "simulation.followed";
/// The kind of aggregate.
pub const COUNTER: &str = "counter";

thread_local! {
    /// A decision is pure and has no place for a fault plan; a run stays on one thread.
    static OWN_WORK: RefCell<Option<Arc<Stage>>> = const { RefCell::new(None) };
}

/// Decisions of this thread ask that stage whether a record's own work fails.
pub fn own_work_fails_by(stage: Option<&Arc<Stage>>) {
    OWN_WORK.set(stage.cloned());
}

/// The family of counters; its keys are at home, or each an item of its own.
pub struct Counters<const HOME: bool>;

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// Adds one.
    Add,
    /// Adds one; rejected from a total on.
    Cap,
    /// Adds one; rejected below a total.
    Need,
    /// Takes one away.
    Take,
    /// Adds one; rejected once the clock moved.
    Early,
    /// Adds one; its own work may fail.
    Flaky,
    /// Adds one; something follows from it.
    Followed,
    /// Adds one; the statement store refuses its document until it is mended.
    Undeliverable,
}

impl Kind {
    /// Every kind and its name.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Add, "add"),
        (Self::Cap, "cap"),
        (Self::Need, "need"),
        (Self::Take, "take"),
        (Self::Early, "early"),
        (Self::Flaky, "flaky"),
        (Self::Followed, "followed"),
        (Self::Undeliverable, crate::ports::UNDELIVERABLE),
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// What it adds to each counter.
    pub fn adds(self) -> i64 {
        if self == Self::Take { -1 } else { 1 }
    }
}

/// An event.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// What it does.
    pub kind: Kind,
    /// To which counters: one or two.
    pub counters: Vec<String>,
    /// The total of [`Kind::Cap`] and [`Kind::Need`].
    pub limit: i64,
}

/// A counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Its value.
    pub value: i64,
    /// The events that made it, in the order in which they were applied.
    pub applied: Vec<Uuid>,
}

impl Aggregate for Counter {
    type State = Self;
    const KIND: &'static str = COUNTER;

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

/// An event as counters remember it: with another first counter the same id is another event.
pub fn name_of(event_id: Uuid, first_counter: &str) -> Uuid {
    Uuid::new_v5(&event_id, first_counter.as_bytes())
}

/// The events that the decision saw, for each of its counters: the whole message of a rejection.
#[derive(Serialize, Deserialize)]
pub struct Basis(pub Vec<Vec<Uuid>>);

/// The family as data.
pub const SPEC: FamilySpec = FamilySpec {
    name: "counters",
    topics: &[TopicOf { name: COUNTERS, partitions: 2, key: "first counter" }],
    event_types: &[EventType {
        name: "counter.counted",
        topic: COUNTERS,
        statement: Some(StatementForm {
            verbs: &["http://nlj.platform/verbs/counted"],
            object: ObjectIs::Kind(COUNTER),
        }),
        effect: "counts",
    }],
    dead_letters: PLATFORM_DEAD_LETTERS,
    kinds: &[COUNTER],
};

impl TypedEvent for Event {
    type Format = StatementFormat;

    fn read(envelope: &Envelope<'_>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let mut counters = vec![fields.object_id("counter")];
        let kind = fields.id("kind");
        let kind = Kind::ALL.into_iter().find(|(_, name)| *name == kind).map(|(kind, _)| kind);
        let limit =
            if matches!(kind, Some(Kind::Cap | Kind::Need)) { fields.whole_number("limit", 0) as i64 } else { 0 };
        if envelope.extension("also").is_some() {
            counters.push(fields.id("also"));
        }
        fields.required(kind.map(|_| ()), "/context/extensions", || "kind must be one of the counter's".to_owned());
        fields.finish(Event {
            kind: kind.unwrap_or(Kind::Add),
            counters: counters.into_iter().map(Into::into).collect(),
            limit,
        })
    }

    fn key(&self, _: &Envelope<'_>) -> String {
        self.counters[0].clone()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        self.counters.iter().map(|id| AggregateRef { kind: COUNTER, id: id.as_str().into() }).collect()
    }
}

impl AggregateState for Counter {
    fn view(&self, _: &[Option<Counter>]) -> Value {
        json!(self)
    }
}

impl<const HOME: bool> Family for Counters<HOME> {
    const SPEC: &'static FamilySpec = &SPEC;
    const SUBSCRIPTION: &'static Subscription = if HOME {
        &Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Home }).publishing(&[FOLLOWED])
    } else {
        &Subscription::own(&SPEC, Effect::Stateful { keys: KeyPlace::Apart }).publishing(&[FOLLOWED])
    };
    type Event = Event;

    fn document(envelope: &Envelope<'_>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl<const HOME: bool> StatefulFamily for Counters<HOME> {
    type State = Counter;

    fn decide(states: &States<'_, Counter>, event: &Event, at: &Occurrence) -> Result<Decision<Counter>, Refusal> {
        let counters = event.counters.iter().map(|id| Ok(states.get::<Counter>(id)?.cloned().unwrap_or_default()));
        let mut counters: Vec<Counter> = counters.collect::<Result<_, Refusal>>()?;
        let total: i64 = counters.iter().map(|counter| counter.value).sum();
        let late = at.now_ms >= BEGINNING_MS + TICK.as_millis() as i64;
        let rule = match event.kind {
            Kind::Flaky
                if OWN_WORK.with_borrow(|stage| stage.as_ref().is_some_and(|of| of.strikes(Fault::OwnWork))) =>
            {
                return Err(Refusal::Transient { reason: "its own work failed".into() });
            }
            Kind::Cap if total >= event.limit => Some("counter.cap"),
            Kind::Need if total < event.limit => Some("counter.need"),
            Kind::Early if late => Some("counter.early"),
            _ => None,
        };
        if let Some(rule) = rule {
            let basis = Basis(counters.into_iter().map(|counter| counter.applied).collect());
            return Refusal::rejected(rule, json!(basis).to_string());
        }
        for counter in &mut counters {
            counter.value += event.kind.adds();
            counter.applied.push(name_of(at.event_id, &event.counters[0]));
        }
        let values: Vec<i64> = counters.iter().map(|counter| counter.value).collect();
        let follow_up = FollowUp {
            topic: FOLLOWED,
            event_type: "counter.followed",
            key: event.counters[0].clone(),
            value: json!({"values": values}).to_string().into_bytes(),
        };
        let follow_ups = if event.kind == Kind::Followed { vec![follow_up] } else { Vec::new() };
        let put = |changes: Changes<Counter>, (id, counter): (&String, Counter)| changes.put(id, counter);
        let changes = event.counters.iter().zip(counters).fold(Changes::new(), put);
        Ok(Decision { changes, follow_ups, anomalies: Vec::new() })
    }
}
