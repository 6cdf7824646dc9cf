//! A family under attack, whatever the family: how its records are processed, and what a plain fold makes of them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use lyceum_core::catalog::{Catalog, FamilySpec};
use lyceum_core::envelope::{EnvelopeConfig, Hint, letter_id, source_of};
use lyceum_core::family::{AggregateState, Decision, EnvelopeOf, Family, Occurrence, StatefulFamily, TypedEvent};
use lyceum_core::formats::{Format, Opened, Stored};
use lyceum_core::outcome::{DeadLetterKind, Refusal};
use lyceum_core::ports::ledger::{AggregateId, KeyId, KeyStatus};
use lyceum_core::ports::schemas::Schemas;
use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::process::{ProcessConfig, Services, StatefulProcessor, Subscriber, content_hash, key_id};
use lyceum_core::record::{Position, Record};
use lyceum_core::states::States;
use lyceum_core::subscription::Subscription;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::stage::Stage;

/// What a record is.
#[derive(Clone, Debug)]
pub enum Fact {
    /// It has no value.
    Tombstone,
    /// It can never be valid.
    Invalid(DeadLetterKind),
    /// It is for others.
    Unwanted,
    /// An event.
    Event(Arc<EventFact>),
}

/// An event as far as the protocol is concerned.
#[derive(Clone, Debug)]
pub struct EventFact {
    /// Its id.
    pub event_id: Uuid,
    /// Its idempotency key.
    pub key: KeyId,
    /// By it the same id with other content is noticed.
    pub content_hash: [u8; 32],
    /// How often it was sent again.
    pub epoch: u32,
    /// What it reads or changes.
    pub aggregates: Vec<AggregateId>,
    /// The statement's bytes.
    pub raw: Bytes,
}

/// A document as far as the fold foresees it: bytes, source and time of storing.
pub type Document = (Bytes, Position, i64);

/// What a plain fold over records ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The state of each aggregate, as JSON.
    pub states: BTreeMap<AggregateId, Bytes>,
    /// What is stored.
    pub documents: BTreeMap<(String, Uuid), Document>,
    /// Letters by their ids.
    pub letters: BTreeMap<Uuid, DeadLetterKind>,
}

/// A family under attack.
pub trait Subject: Send + Sync {
    /// What it reads, as data.
    fn subscription(&self) -> &'static Subscription;
    /// A worker's own processor.
    fn processor(
        &self,
        stage: &Arc<Stage>,
        who: &str,
        services: Services,
        config: ProcessConfig,
    ) -> Box<dyn Subscriber>;
    /// What a record is.
    fn read(&self, record: &Record) -> Fact;
    /// Records one after another, without any protocol: what must come out. Only of families that keep state.
    fn fold(&self, _records: &[Record], _now_ms: i64) -> Folded {
        Folded::default()
    }
}

/// What a record is to a subscription, read as processing reads it.
pub fn read<E: TypedEvent>(
    subscription: &Subscription,
    catalog: &Catalog,
    schemas: &SchemasOf<E>,
    record: &Record,
) -> Fact {
    let (topic, owns) = (&*record.position.topic, subscription.family().is_some());
    let family = subscription.family().or_else(|| catalog.family_of_topic(topic));
    let invalid = |kind| if owns { Fact::Invalid(kind) } else { Fact::Unwanted };
    let envelope = match E::Format::open(record, Hint { family, catalog, config: &EnvelopeConfig::default() }, schemas)
    {
        Opened::Tombstone | Opened::Missing(_) => return Fact::Tombstone,
        Opened::Invalid(of) => return invalid(of.kind),
        Opened::Event(envelope) => envelope,
    };
    if !subscription.wants(topic, envelope.event_type) {
        return Fact::Unwanted;
    }
    let Ok(event) = E::read(&envelope) else { return invalid(DeadLetterKind::Validation) };
    let tenant = envelope.tenant.to_string();
    let named = if subscription.effect.keeps_state() { event.aggregates() } else { Vec::new() };
    let named = named.into_iter();
    let aggregates: Vec<_> =
        named.map(|of| AggregateId { tenant: tenant.clone().into(), kind: of.kind.into(), id: of.id }).collect();
    let (event_id, key) = (envelope.id, key_id::<E>(subscription, &envelope, &aggregates));
    let Ok(content_hash) = content_hash(&envelope, &event) else { return Fact::Invalid(DeadLetterKind::Processing) };
    let (raw, epoch) = (Bytes::copy_from_slice(envelope.raw), envelope.replay_count);
    Fact::Event(Arc::new(EventFact { event_id, key, content_hash, epoch, aggregates, raw }))
}

/// A family that keeps no state, as one whose events change nothing.
pub struct Stateless<F>(PhantomData<fn() -> F>);

/// What [`Stateless`] keeps.
#[derive(Clone, Serialize, Deserialize)]
pub struct NoState;

impl AggregateState for NoState {
    fn view(&self, _: &[Option<Self>]) -> Value {
        Value::Null
    }
}

impl<F: Family> Family for Stateless<F> {
    const SPEC: &'static FamilySpec = F::SPEC;
    const SUBSCRIPTION: &'static Subscription = F::SUBSCRIPTION;
    type Event = F::Event;

    fn document(envelope: &EnvelopeOf<'_, F::Event>, event: &F::Event, stored: &Stored<'_>) -> StatementDocument {
        F::document(envelope, event, stored)
    }
}

impl<F: Family> StatefulFamily for Stateless<F> {
    type State = NoState;

    fn decide(_: &States<'_, NoState>, _: &F::Event, _: &Occurrence) -> Result<Decision<NoState>, Refusal> {
        Ok(Decision::of_follow_ups(Vec::new()))
    }
}

/// The event of a record, where it is a valid one.
pub fn event<F: Family>(catalog: &Catalog, record: &Record) -> Option<F::Event> {
    match <F::Event as TypedEvent>::Format::open(
        record,
        Hint { family: Some(F::SPEC), catalog, config: &EnvelopeConfig::default() },
        &Schemas::default(),
    ) {
        Opened::Event(envelope) => F::Event::read(&envelope).ok(),
        _ => None,
    }
}

/// The schemas of an event's format.
pub type SchemasOf<E> = Schemas<<<E as TypedEvent>::Format as Format>::Schema>;

type OpenedOf<'a, E> = Opened<'a, <<E as TypedEvent>::Format as Format>::Body<'a>>;

/// [`Subject`] of a family.
pub struct Of<F> {
    catalog: Arc<Catalog>,
    envelope: EnvelopeConfig,
    family: PhantomData<fn() -> F>,
}

impl<F: StatefulFamily> Of<F> {
    /// The family, its records read by that catalog.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, envelope: EnvelopeConfig::default(), family: PhantomData }
    }

    fn open<'a>(&self, record: &'a Record) -> OpenedOf<'a, F::Event> {
        let hint = Hint { family: Some(F::SPEC), catalog: &self.catalog, config: &self.envelope };
        <F::Event as TypedEvent>::Format::open(record, hint, &Schemas::default())
    }
}

impl<F: StatefulFamily> Subject for Of<F> {
    fn subscription(&self) -> &'static Subscription {
        F::SUBSCRIPTION
    }

    fn processor(&self, _: &Arc<Stage>, _: &str, services: Services, config: ProcessConfig) -> Box<dyn Subscriber> {
        Box::new(StatefulProcessor::<F>::new(services, Arc::clone(&self.catalog), config))
    }

    fn read(&self, record: &Record) -> Fact {
        read::<F::Event>(F::SUBSCRIPTION, &self.catalog, &Schemas::default(), record)
    }

    fn fold(&self, records: &[Record], now_ms: i64) -> Folded {
        let mut folded = Folded::default();
        let mut states: BTreeMap<AggregateId, F::State> = BTreeMap::new();
        let mut keys: BTreeMap<KeyId, (KeyStatus, u32, [u8; 32])> = BTreeMap::new();
        for record in records {
            let (source, count) = source_of(record);
            let letter = letter_id(&source, count);
            let fact = match self.read(record) {
                Fact::Tombstone | Fact::Unwanted => continue,
                Fact::Invalid(kind) => {
                    folded.letters.insert(letter, kind);
                    continue;
                }
                Fact::Event(fact) => fact,
            };
            if let Some((status, epoch, hash)) = keys.get(&fact.key) {
                if *hash != fact.content_hash {
                    folded.letters.insert(letter, DeadLetterKind::Conflict);
                    continue;
                }
                if *status == KeyStatus::Applied || fact.epoch <= *epoch {
                    continue;
                }
            }
            let Opened::Event(envelope) = self.open(record) else {
                continue;
            };
            let Ok(event) = F::Event::read(&envelope) else { continue };
            let at = Occurrence {
                event_id: envelope.id,
                event_type: envelope.event_type,
                tenant: envelope.tenant.clone(),
                correlation_id: envelope.correlation_id.clone(),
                home: fact.key.home.clone(),
                source,
                occurred_at_ms: envelope.occurred_at_ms,
                now_ms,
            };
            let named = |id: &AggregateId| (id.kind.clone(), id.id.clone());
            let named: Vec<_> = fact.aggregates.iter().map(named).collect();
            let held = named.iter().zip(&fact.aggregates).map(|((kind, id), of)| (&**kind, &**id, states.get(of)));
            let decided = F::decide(&States::new(held), &event, &at)
                .and_then(|decision| decision.changes.of_each(named.iter().map(|(kind, id)| (&**kind, &**id))));
            let status = match decided {
                Ok(changed) => {
                    let changed = fact.aggregates.iter().zip(changed);
                    states.extend(changed.filter_map(|(id, state)| Some((id.clone(), state?))));
                    let document = (fact.raw.clone(), record.position.clone(), record.timestamp_ms);
                    folded.documents.insert((fact.key.tenant.to_string(), fact.event_id), document);
                    KeyStatus::Applied
                }
                Err(Refusal::Rejected { .. }) => {
                    folded.letters.insert(letter, DeadLetterKind::Rejected);
                    KeyStatus::Dead
                }
                Err(Refusal::Transient { .. } | Refusal::Faulty { .. }) => {
                    folded.letters.insert(letter, DeadLetterKind::Processing);
                    KeyStatus::Dead
                }
            };
            keys.insert(fact.key.clone(), (status, fact.epoch, fact.content_hash));
        }
        let encode = |(id, state): (AggregateId, F::State)| (id, serde_json::to_vec(&state).unwrap_or_default().into());
        folded.states = states.into_iter().map(encode).collect();
        folded
    }
}
