//! A batch of records in, one report a record out: the steps of "How an effect happens once" (ARCHITECTURE.md).
//!
//! | step | where |
//! |---|---|
//! | 1. decode and validate | `read.rs`, by [`crate::envelope`]; pure |
//! | 2. group, load | `batch.rs`, `stateful/load.rs` |
//! | 3. decide in order, in memory | `stateful/decide.rs`, by [`Family::decide`]; pure |
//! | 4. commit state, keys and recordings in one transaction | `stateful/commit.rs` |
//! | 5. emit, every acknowledgement awaited | `documents.rs`, `emit.rs` |
//! | 6. settle: what is redelivered | `settle.rs` |
//!
//! What all of them share of an invocation (its time, and how often something is tried again) is in `invocation.rs`, what a
//! key keeps of a decision in `recording.rs`, what a person is shown in `show.rs`.
//!
//! Nothing here knows a runtime: whoever polls the future decides when a step happens, the simulation included.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Clock;
use crate::dead_letter::{self, DeadLetterFormat, Failure, Publication};
use crate::envelope::EnvelopeConfig;
use crate::family::{Catalog, EffectPolicy, Family, FamilySpec};
use crate::outcome::{DeadLetterKind, Finding, Observer, Report};
use crate::ports::event_log::Publish;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{Ledger, MAX_ACTIONS, MAX_HOME_KEYS};
use crate::ports::statements::StoreDocuments;
use crate::record::{Position, Record};
use crate::retry::RetryPolicy;

mod batch;
mod documents;
mod emit;
mod invocation;
mod read;
mod recording;
mod settle;
mod show;
mod stateful;

use batch::{Batch, Item};
pub use invocation::{Invocation, Transient};
pub use read::{content_hash, key_id};
pub use recording::{Emits, look_into};

/// The ports that processing uses.
#[derive(Clone)]
pub struct Services {
    /// For follow-ups and dead letters.
    pub event_log: Arc<dyn Publish>,
    /// State and idempotency keys.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn StoreDocuments>,
    /// Time and waiting.
    pub clock: Arc<dyn Clock>,
    /// Is told how every record ended.
    pub observer: Arc<dyn Observer>,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Limits and the default tenant.
    pub envelope: EnvelopeConfig,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How letters are written.
    pub dead_letter_format: DeadLetterFormat,
    /// So many keys stay with an aggregate; at most [`MAX_HOME_KEYS`].
    pub home_keys: usize,
    /// So many decisions go into one transaction, where its other limits allow them.
    pub decisions_a_commit: usize,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            envelope: EnvelopeConfig::default(),
            retry: RetryPolicy::default(),
            dead_letter_format: DeadLetterFormat::default(),
            home_keys: MAX_HOME_KEYS,
            decisions_a_commit: MAX_ACTIONS,
        }
    }
}

/// One entry of a batch.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A record.
    Record(Record),
    /// An entry of the invocation that is no record; what could be read of it.
    Malformed {
        /// Where it stands, as far as the entry tells.
        position: Position,
        /// The entry's own bytes.
        raw: Bytes,
        /// What is wrong with it.
        reason: String,
    },
}

/// Who reads topics, and what it does with their records.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// Whose topics it reads, as data.
    fn subscription(&self) -> &'static FamilySpec;

    /// An invocation that begins now and must have answered by `deadline_ms` (milliseconds since 1970 UTC).
    fn invocation(&self, deadline_ms: i64) -> Invocation;

    /// Processes a batch within the invocation's time, whatever a port does; one report a delivery, in order. What is
    /// [`Outcome::RetryLater`](crate::outcome::Outcome::RetryLater) is to be delivered again; everything else is settled.
    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report>;
}

/// Processes the records of one family.
pub struct Processor<F: Family> {
    services: Services,
    ledger: PlacedLedger,
    catalog: Arc<Catalog>,
    config: ProcessConfig,
    family: PhantomData<F>,
}

impl<F: Family> Processor<F> {
    /// A processor of the family's records.
    pub fn new(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        let at_home = F::SPEC.effect.keys_at_home();
        let ledger = PlacedLedger::new(Arc::clone(&services.ledger), F::SPEC.name, at_home, config.home_keys);
        Self { services, ledger, catalog, config, family: PhantomData }
    }

    /// The letter for an event that was read but is not applied, after so many deliveries.
    fn letter_for(&self, item: &Item<'_, F>, failed: &Failed, attempts: u32, failed_at_ms: i64) -> Publication {
        let failure = Failure {
            kind: failed.kind,
            findings: &failed.findings,
            family: F::SPEC.name,
            correlation_id: Some(&item.envelope.correlation_id),
            tenant: Some(&item.envelope.tenant),
            attempts,
            failed_at_ms,
        };
        dead_letter::write(item.record, &failure, &F::SPEC.dead_letters, self.config.dead_letter_format)
    }
}

#[async_trait]
impl<F: Family> Subscriber for Processor<F> {
    fn subscription(&self) -> &'static FamilySpec {
        F::SPEC
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        Invocation::new(&self.services, F::SPEC.name, self.config.retry, deadline_ms)
    }

    async fn process(&self, deliveries: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        let mut batch = Batch::new(
            deliveries.iter().enumerate().map(|(index, delivery)| self.read(index, delivery, invocation.now_ms())),
        );
        match F::SPEC.effect {
            EffectPolicy::DocumentById => batch.decide_each(documents::applied),
            EffectPolicy::StateAndKey { .. } => self.decide_groups(&mut batch, invocation).await,
        }
        self.emit(&mut batch, invocation).await;
        let reports = batch.settle();
        self.services.observer.observe(&reports);
        reports
    }
}

/// Why an event is not applied.
#[derive(Debug)]
struct Failed {
    kind: DeadLetterKind,
    findings: Vec<Finding>,
}

impl Failed {
    fn by_rule(kind: DeadLetterKind, rule: &'static str, message: impl Into<String>) -> Self {
        Self { kind, findings: vec![crate::envelope::finding(rule, "", message)] }
    }
}
