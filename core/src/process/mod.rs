//! A batch of records in, one report a record out: the steps of "How an effect happens once" (ARCHITECTURE.md).
//!
//! | step | where |
//! |---|---|
//! | 1. decode and validate | `read.rs`, by [`crate::envelope`]; pure; `schemas.rs` |
//! | 2. group, load | `batch.rs`, `keyed/load.rs` |
//! | 3. decide in order, in memory | `keyed/decide.rs`, by the effect's own decision; pure |
//! | 4. commit state, keys and recordings in one transaction | `keyed/commit.rs` |
//! | 5. emit, every acknowledgement awaited | `documents.rs`, `emit.rs` |
//! | 6. settle: what is redelivered | `settle.rs` |
//!
//! Steps 1, 5 and 6 are those of every effect. Which steps stand between them is told by the effect, a file each:
//! `stateful.rs`, `documents.rs`, `reaction.rs`, `watching.rs`, `calling.rs`, `counted.rs`; `audit/` reads records by itself, since it takes those that are no events. Those that have idempotency keys share `keyed/`.
//! What all of them share of an invocation (its time, and how often something is tried again) is in `invocation.rs`, what a
//! key keeps of a decision in `recording.rs`, what a person is shown in `show.rs`, what the stores should hold in `held.rs`.
//!
//! Nothing here knows a runtime: whoever polls the future decides when a step happens, the simulation included.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tracing::Instrument;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::dead_letter::{self, DeadLetterFormat, Failure, Publication};
use crate::envelope::EnvelopeConfig;
use crate::family::{EnvelopeOf, TypedEvent};
use crate::formats::{Format, Stored};
use crate::outcome::{DeadLetterKind, Finding, Observer, Report};
use crate::ports::event_log::Publish;
use crate::ports::ledger::{KeyStatus, Ledger, LedgerError, MAX_ACTIONS, MAX_HOME_KEYS};
use crate::ports::schemas::FindSchema;
use crate::ports::statements::{StatementDocument, StoreDocuments};
use crate::record::{Position, Record};
use crate::retry::RetryPolicy;
use crate::subscription::Subscription;
use crate::trace::SPANS;

pub mod audit;
mod batch;
mod calling;
mod counted;
mod documents;
mod emit;
mod held;
mod invocation;
mod keyed;
mod reaction;
mod read;
mod recording;
mod schemas;
mod settle;
mod show;
mod stateful;
mod watching;

pub use audit::AuditProcessor;
use batch::{Batch, Item};
pub use calling::CallingProcessor;
pub use counted::{CountedProcessor, row_id as counted_row};
pub use documents::DocumentProcessor;
pub use held::{Held, HeldEvent, HeldKey};
pub use invocation::{Invocation, Transient};
pub use reaction::ReactionProcessor;
pub use read::{content_hash, key_id};
pub use recording::{Emits, look_into};
use schemas::SchemaSource;
pub use stateful::StatefulProcessor;
pub use watching::WatchingProcessor;

/// The ports that processing uses, whatever the effect.
#[derive(Clone)]
pub struct Services {
    /// For follow-ups and dead letters.
    pub event_log: Arc<dyn Publish>,
    /// State, idempotency keys, leases, numbers.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn StoreDocuments>,
    /// For formats whose records name a schema; `None` where a deployment has no registry.
    pub schemas: Option<Arc<dyn FindSchema>>,
    /// Time and waiting.
    pub clock: Arc<dyn Clock>,
    /// Is told how every record ended.
    pub observer: Arc<dyn Observer>,
}

/// The ports of an effect that uses no ledger.
#[derive(Clone)]
pub struct DocumentServices {
    /// For dead letters.
    pub event_log: Arc<dyn Publish>,
    /// Accepted statements.
    pub statements: Arc<dyn StoreDocuments>,
    /// For formats whose records name a schema; `None` where a deployment has no registry.
    pub schemas: Option<Arc<dyn FindSchema>>,
    /// Time and waiting.
    pub clock: Arc<dyn Clock>,
    /// Is told how every record ended.
    pub observer: Arc<dyn Observer>,
}

impl From<Services> for DocumentServices {
    fn from(Services { event_log, statements, schemas, clock, observer, .. }: Services) -> Self {
        Self { event_log, statements, schemas, clock, observer }
    }
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
    /// What it reads, as data.
    fn subscription(&self) -> &'static Subscription;

    /// An invocation that begins now and must have answered by `deadline_ms` (milliseconds since 1970 UTC).
    fn invocation(&self, deadline_ms: i64) -> Invocation;

    /// Processes a batch within the invocation's time, whatever a port does; one report a delivery, in order. What is
    /// [`Outcome::RetryLater`](crate::outcome::Outcome::RetryLater) is to be delivered again; everything else is settled.
    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report>;

    /// What a person is shown of an aggregate: its view with its kind, id and tenant; `None` where there is none.
    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError>;

    /// How the events of these records ended, as their keys tell; `None` where there is no key: it was not decided yet, or
    /// never will be, or this release cannot read what it concerns.
    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError>;

    /// What the stores should hold of each of these records, which are settled. Nothing is decided or written.
    async fn held(&self, records: &[Record], invocation: &Invocation) -> Result<Vec<Held>, LedgerError>;

    /// What this release makes of each of these records, whatever is known of it: as [`held`](Self::held) where no keys are kept.
    async fn made(&self, records: &[Record], invocation: &Invocation) -> Vec<Held>;
}

/// What an effect does between the reading of a batch and its reports.
#[async_trait]
trait Apply: Send + Sync {
    type Event: TypedEvent;

    fn shell(&self) -> &Shell<Self::Event>;

    /// Decides about each event, and lets out what follows. What is left undecided is redelivered.
    async fn apply(&self, batch: &mut Batch<'_, Self::Event>, invocation: &Invocation);

    /// See [`Subscriber::show`].
    async fn show(&self, _tenant: &str, _kind: &str, _id: &str) -> Result<Option<Value>, LedgerError> {
        Ok(None)
    }

    /// See [`Subscriber::ended`].
    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        Ok(vec![None; records.len()])
    }

    /// The keys of events, one each.
    async fn found_keys(&self, items: &[&Item<'_, Self::Event>]) -> Result<Vec<held::FoundKey>, LedgerError> {
        Ok(items.iter().map(|_| HeldKey::NotKept.into()).collect())
    }
}

#[async_trait]
impl<P: Apply> Subscriber for P {
    fn subscription(&self) -> &'static Subscription {
        self.shell().subscription
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        self.shell().invocation(deadline_ms)
    }

    async fn process(&self, deliveries: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        let decode = tracing::info_span!(target: SPANS, "decode", records = deliveries.len() as i64);
        let mut batch = self.shell().read_batch(deliveries, invocation).instrument(decode).await;
        self.apply(&mut batch, invocation).await;
        self.shell().report(batch)
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        Apply::show(self, tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        Apply::ended(self, records).await
    }

    async fn held(&self, records: &[Record], invocation: &Invocation) -> Result<Vec<Held>, LedgerError> {
        held::held(self, records, invocation).await
    }

    async fn made(&self, records: &[Record], invocation: &Invocation) -> Vec<Held> {
        held::made(self, records, invocation).await
    }
}

/// What the effects share: a batch is read, what was decided about it goes out, and its records are reported.
struct Shell<E: TypedEvent> {
    subscription: &'static Subscription,
    event_log: Arc<dyn Publish>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    catalog: Arc<Catalog>,
    config: ProcessConfig,
    /// Where the effect has documents.
    documents: Option<Documents<E>>,
    /// By which records are read.
    schemas: SchemaSource<<E::Format as Format>::Schema>,
}

/// What is stored of an event, and where.
struct Documents<E: TypedEvent> {
    store: Arc<dyn StoreDocuments>,
    make: MakeDocument<E>,
}

type MakeDocument<E> = fn(&EnvelopeOf<'_, E>, &E, &Stored<'_>) -> StatementDocument;

impl<E: TypedEvent> Shell<E> {
    fn new(
        subscription: &'static Subscription,
        services: DocumentServices,
        catalog: Arc<Catalog>,
        config: ProcessConfig,
        make: Option<MakeDocument<E>>,
    ) -> Self {
        let DocumentServices { event_log, statements, schemas, clock, observer } = services;
        let documents = make.map(|make| Documents { store: statements, make });
        let schemas = SchemaSource::of(schemas);
        Self { subscription, event_log, clock, observer, catalog, config, documents, schemas }
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        let (clock, observer) = (Arc::clone(&self.clock), Arc::clone(&self.observer));
        Invocation::new(clock, observer, self.subscription.name, self.config.retry, deadline_ms)
    }

    /// The reports of a batch about which all is decided, and of which all that could go out is out.
    fn report(&self, batch: Batch<'_, E>) -> Vec<Report> {
        let reports = batch.settle();
        self.observer.observe(&reports);
        reports
    }

    /// The letter for an event that was read but is not applied, after so many deliveries.
    fn letter_for(&self, item: &Item<'_, E>, failed: &Failed, attempts: u32, failed_at_ms: i64) -> Publication {
        let failure = Failure {
            kind: failed.kind,
            findings: &failed.findings,
            family: self.subscription.name,
            is_owner: self.is_owner(),
            correlation_id: Some(&item.envelope.correlation_id),
            tenant: Some(&item.envelope.tenant),
            attempts,
            failed_at_ms,
        };
        dead_letter::write(item.record, &failure, &self.subscription.dead_letters, self.config.dead_letter_format)
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
