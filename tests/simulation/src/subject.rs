//! A family under attack, whatever the family: how its records are processed, and what a plain fold makes of them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use lyceum_core::envelope::{EnvelopeConfig, Hint, letter_id, source_of};
use lyceum_core::family::{Catalog, Family, FamilySpec, Occurrence, Refusal};
use lyceum_core::formats::{Format, Opened};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::ledger::{AggregateId, KeyId, KeyStatus};
use lyceum_core::process::{ProcessConfig, Processor, Services, Subscriber, content_hash, key_id};
use lyceum_core::record::{Position, Record};
use lyceum_core::states::States;
use uuid::Uuid;

/// What a record is.
#[derive(Clone, Debug)]
pub enum Fact {
    /// It has no value.
    Tombstone,
    /// It can never be valid.
    Invalid(DeadLetterKind),
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
    /// The family as data.
    fn spec(&self) -> &'static FamilySpec;
    /// A worker's own processor.
    fn processor(&self, services: Services, config: ProcessConfig) -> Box<dyn Subscriber>;
    /// What a record is.
    fn read(&self, record: &Record) -> Fact;
    /// Records one after another, without any protocol: what must come out.
    fn fold(&self, records: &[Record], now_ms: i64) -> Folded;
}

/// The event of a record, where it is a valid one.
pub fn event<F: Family>(catalog: &Catalog, record: &Record) -> Option<F::Event> {
    match F::Format::open(record, Hint { family: Some(F::SPEC), catalog, config: &EnvelopeConfig::default() }) {
        Opened::Event(envelope) => F::read(&envelope).ok(),
        _ => None,
    }
}

/// [`Subject`] of a family.
pub struct Of<F> {
    catalog: Arc<Catalog>,
    envelope: EnvelopeConfig,
    family: PhantomData<fn() -> F>,
}

impl<F: Family> Of<F> {
    /// The family, its records read by that catalog.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, envelope: EnvelopeConfig::default(), family: PhantomData }
    }
}

impl<F: Family> Subject for Of<F> {
    fn spec(&self) -> &'static FamilySpec {
        F::SPEC
    }

    fn processor(&self, services: Services, config: ProcessConfig) -> Box<dyn Subscriber> {
        Box::new(Processor::<F>::new(services, Arc::clone(&self.catalog), config))
    }

    fn read(&self, record: &Record) -> Fact {
        match F::Format::open(record, Hint { family: Some(F::SPEC), catalog: &self.catalog, config: &self.envelope }) {
            Opened::Tombstone => Fact::Tombstone,
            Opened::Invalid(invalid) => Fact::Invalid(invalid.kind),
            Opened::Event(envelope) => {
                let Ok(event) = F::read(&envelope) else { return Fact::Invalid(DeadLetterKind::Validation) };
                let tenant = envelope.tenant.to_string();
                let named = F::aggregates(&event).into_iter();
                let aggregates: Vec<_> = named
                    .map(|of| AggregateId { tenant: tenant.clone(), kind: of.kind.to_owned(), id: of.id })
                    .collect();
                let (event_id, key) = (envelope.id, key_id::<F>(&envelope, &aggregates));
                let Ok(content_hash) = content_hash::<F>(&envelope, &event) else {
                    return Fact::Invalid(DeadLetterKind::Processing);
                };
                let raw = Bytes::copy_from_slice(envelope.raw);
                let epoch = envelope.replay_count;
                Fact::Event(Arc::new(EventFact { event_id, key, content_hash, epoch, aggregates, raw }))
            }
        }
    }

    fn fold(&self, records: &[Record], now_ms: i64) -> Folded {
        let mut folded = Folded::default();
        let mut states: BTreeMap<AggregateId, F::State> = BTreeMap::new();
        let mut keys: BTreeMap<KeyId, (KeyStatus, u32, [u8; 32])> = BTreeMap::new();
        for record in records {
            let (source, count) = source_of(record);
            let letter = letter_id(&source, count);
            let fact = match self.read(record) {
                Fact::Tombstone => continue,
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
            let Opened::Event(envelope) =
                F::Format::open(record, Hint { family: Some(F::SPEC), catalog: &self.catalog, config: &self.envelope })
            else {
                continue;
            };
            let Ok(event) = F::read(&envelope) else { continue };
            let at = Occurrence {
                event_id: envelope.id,
                event_type: envelope.event_type,
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
                    folded.documents.insert((fact.key.tenant.clone(), fact.event_id), document);
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
