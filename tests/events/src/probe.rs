//! A family for tests whose events say how they behave: when their own work succeeds, how large the state gets, what
//! follows from them.

use std::collections::BTreeMap;

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
use lyceum_core::states::{Aggregate, Change, Changes, States};
use lyceum_core::subscription::{Effect, KeyPlace, Subscription};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The family.
#[derive(Debug)]
pub struct Probe;

impl Probe {
    /// The family as data.
    pub const FAMILY: &'static FamilySpec = &FamilySpec {
        name: "probe",
        topics: &[TopicOf { name: Self::TOPIC, partitions: 2, key: "probe id" }],
        event_types: &[EventType {
            name: "probe.sent",
            topic: Self::TOPIC,
            statement: Some(StatementForm {
                verbs: &["http://nlj.platform/verbs/sent"],
                object: ObjectIs::Kind("probe"),
            }),
            effect: "counted",
        }],
        dead_letters: PLATFORM_DEAD_LETTERS,
        kinds: &["probe"],
    };
    /// Where its events come.
    pub const TOPIC: &'static str = "probe.events";
    /// Where what follows from them goes: to itself.
    pub const FOLLOW_UP: &'static str = "probe.followed";
}

/// What an event asks for, in the extension `probe`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// Before this time (milliseconds since 1970 UTC) its own work fails.
    pub works_from_ms: i64,
    /// It fails by a panic.
    pub panics: bool,
    /// So many bytes are added to the state.
    pub grows_by: usize,
    /// It names so many probes beside its own.
    pub others: usize,
    /// So many events follow.
    pub follow_ups: usize,
    /// The family decides wrongly.
    pub mistake: Option<Mistake>,
}

/// A mistake of the family about the aggregates of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Mistake {
    Forgets,
    ChangesAnother,
    ChangesAnotherKind,
    AsksForAnother,
    /// Its event has a map whose keys are no strings.
    CannotBeWritten,
    /// What follows goes to a topic that its subscription does not name.
    PublishesElsewhere,
}

/// The events that a probe saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(Vec<String>);

impl Aggregate for Seen {
    type State = Self;
    const KIND: &'static str = "probe";

    fn of(state: &Self) -> Option<&Self> {
        Some(state)
    }

    fn into_state(self) -> Self {
        self
    }
}

/// An event.
#[derive(Debug, Serialize)]
pub struct Event {
    id: String,
    wish: Wish,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    places: BTreeMap<(u8, u8), u8>,
}

impl TypedEvent for Event {
    type Format = StatementFormat;

    fn read(envelope: &Envelope<'_>) -> Result<Self, Vec<Finding>> {
        let mut fields = Fields::of(envelope);
        let id = fields.object_id("probe_id");
        let wish = envelope.extension("probe").map(|(_, raw)| serde_json::from_slice(raw).expect("a wish"));
        let wish: Wish = wish.unwrap_or_default();
        let cannot_be_written = wish.mistake == Some(Mistake::CannotBeWritten);
        let places = cannot_be_written.then_some(((1, 2), 3)).into_iter().collect();
        fields.finish(Event { id: id.to_string(), wish, places })
    }

    fn key(&self, _: &Envelope<'_>) -> String {
        self.id.clone()
    }

    fn aggregates(&self) -> Vec<AggregateRef> {
        let of = |id: &str| AggregateRef { kind: "probe", id: id.into() };
        std::iter::once(of(&self.id)).chain(self.others().map(|id| of(&id))).collect()
    }
}

impl Event {
    fn others(&self) -> impl Iterator<Item = String> {
        (0..self.wish.others).map(|number| format!("{}-{number}", self.id))
    }
}

impl AggregateState for Seen {
    fn view(&self, _: &[Option<Seen>]) -> Value {
        json!({"seen": self.0})
    }
}

impl Family for Probe {
    const SPEC: &'static FamilySpec = Self::FAMILY;
    const SUBSCRIPTION: &'static Subscription =
        &Subscription::own(Self::FAMILY, Effect::Stateful { keys: KeyPlace::Apart }).publishing(&[Self::TOPIC]);
    type Event = Event;

    fn document(envelope: &Envelope<'_>, _: &Event, stored: &Stored<'_>) -> StatementDocument {
        document(envelope, None, stored)
    }
}

impl StatefulFamily for Probe {
    type State = Seen;

    fn decide(states: &States<'_, Seen>, event: &Event, at: &Occurrence) -> Result<Decision<Seen>, Refusal> {
        let Wish { works_from_ms, panics, grows_by, others: _, follow_ups, ref mistake } = event.wish;
        assert!(!panics || at.now_ms >= works_from_ms, "a probe that panics on demand");
        if at.now_ms < works_from_ms {
            return Err(Refusal::Transient { reason: "a probe that fails on demand".into() });
        }
        let mut seen = states.get::<Seen>(&event.id)?.cloned().unwrap_or_default();
        seen.0.push(format!("{}{}", at.event_id, "x".repeat(grows_by)));
        let changes = match mistake {
            None | Some(Mistake::CannotBeWritten | Mistake::PublishesElsewhere) => event
                .others()
                .fold(Changes::new().put(&*event.id, seen), |changes, id| changes.put(id, Seen::default())),
            Some(Mistake::Forgets) => Changes::new(),
            Some(Mistake::ChangesAnother) => Changes::new().put(&*event.id, seen).put("another", Seen::default()),
            Some(Mistake::ChangesAnotherKind) => {
                Changes::from_iter([Change { kind: "another", id: event.id.as_str().into(), state: Some(seen) }])
            }
            Some(Mistake::AsksForAnother) => {
                let another = states.get::<Seen>("another")?.cloned().unwrap_or_default();
                Changes::new().put(&*event.id, another)
            }
        };
        let follow_up = |ordinal: usize| FollowUp {
            topic: if *mistake == Some(Mistake::PublishesElsewhere) { "elsewhere" } else { Self::TOPIC },
            event_type: Self::FOLLOW_UP,
            key: event.id.clone(),
            value: json!({"follows": at.event_id, "ordinal": ordinal}).to_string().into_bytes(),
        };
        let follow_ups = (0..follow_ups).map(follow_up).collect();
        Ok(Decision { changes, follow_ups, anomalies: Vec::new() })
    }
}
