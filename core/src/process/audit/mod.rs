//! The effect *audit*: every record, readable or not, is an entry of its [log](crate::audit) once.
//!
//! A log's head (its tree, and the offset up to which it holds) is an aggregate. Entries are numbered from it, stored under ids that
//! place and content make, and only then does the head move, on the condition that nobody moved it since it was read. So a redelivery
//! finds its records behind the head, and a worker that should be gone writes the same documents and moves nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::{Delivery, Held, Invocation, ProcessConfig, Services, Subscriber};
use crate::audit::entry::{Entry, Kind, Labels, LogId, ReadLabels};
use crate::clock::Clock;
use crate::outcome::{Observer, Outcome, Report, UNKNOWN};
use crate::ports::ledger::{AggregateWrite, Commit, KeyStatus, Ledger, LedgerError, MAX_ACTIONS};
use crate::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};
use crate::record::Record;
use crate::retry::RetryPolicy;
use crate::subscription::Subscription;
use crate::trace;

mod keeping;
mod reading;

pub use keeping::{Head, Sealed};
pub use reading::{AuditError, AuditLog, Found, Logs, Proofs, Seals};

/// Keeps the audit log.
pub struct AuditProcessor {
    subscription: &'static Subscription,
    ledger: Arc<dyn Ledger>,
    entries: Arc<dyn StoreDocuments>,
    labels: Arc<dyn ReadLabels>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    retry: RetryPolicy,
}

/// A record on its way into a log.
struct Reading<'a> {
    record: &'a Record,
    labels: Labels,
    log: LogId,
    /// Whether a store took it for its size only without its bytes.
    is_bare: bool,
    is_done: bool,
}

/// Why the entries of a batch are not all in their logs.
enum Failed {
    Ledger(LedgerError),
    Store {
        reason: String,
        is_transient: bool,
    },
    /// The store will not take the entry of the record at that place.
    Refused {
        index: usize,
        reason: String,
    },
}

impl From<LedgerError> for Failed {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<StatementsError> for Failed {
    fn from(error: StatementsError) -> Self {
        Self::Store { reason: error.to_string(), is_transient: error.is_transient() }
    }
}

/// Entries of one log, and the head behind them.
struct Growth {
    log: LogId,
    version: Option<u64>,
    head: Head,
    /// The places of its records in the batch.
    indexes: Vec<usize>,
}

impl AuditProcessor {
    /// A processor of all records of the subscription's topics, which says of them what `labels` reads. Entries are kept apart from what the services
    /// store.
    pub fn new(
        subscription: &'static Subscription,
        services: Services,
        entries: Arc<dyn StoreDocuments>,
        labels: Arc<dyn ReadLabels>,
        config: &ProcessConfig,
    ) -> Self {
        let Services { ledger, clock, observer, .. } = services;
        Self { subscription, ledger, entries, labels, clock, observer, retry: config.retry }
    }

    fn read<'a>(&self, record: &'a Record) -> Reading<'a> {
        // Whatever a record does to its reader, it is kept.
        let labels = catch_unwind(AssertUnwindSafe(|| self.labels.labels(record))).unwrap_or(Labels {
            kind: Kind::Invalid,
            event_type: UNKNOWN,
            family: "".into(),
            event_id: None,
            tenant: None,
            correlation_id: None,
            letter: None,
            // Nobody can tell.
            holds_secret: true,
        });
        Reading { log: LogId::of(record, &labels), record, labels, is_bare: false, is_done: false }
    }

    /// Puts all into their logs; what is done when it fails is done.
    async fn append(&self, readings: &mut [Option<Reading<'_>>], invocation: &Invocation) -> Result<(), String> {
        let mut attempts = invocation.commit_attempts();
        loop {
            let error = match self.append_once(readings, invocation).await {
                Ok(()) => return Ok(()),
                Err(Failed::Refused { index, reason }) => match &mut readings[index] {
                    Some(reading) if !reading.is_bare => {
                        tracing::warn!(position = %reading.record.position, reason, "an entry is kept without its bytes");
                        reading.is_bare = true;
                        continue;
                    }
                    _ => return Err(format!("the audit store will not take an entry: {reason}")),
                },
                Err(Failed::Store { reason, is_transient: true }) => LedgerError::Unavailable(reason),
                Err(Failed::Store { reason, .. }) => return Err(reason),
                Err(Failed::Ledger(error)) => error,
            };
            if !attempts.again_after(&error).await {
                return Err(error.to_string());
            }
        }
    }

    async fn append_once(&self, readings: &mut [Option<Reading<'_>>], invocation: &Invocation) -> Result<(), Failed> {
        let mut logs: BTreeMap<&LogId, Vec<usize>> = BTreeMap::new();
        for (index, reading) in readings.iter().enumerate() {
            if let Some(reading) = reading.as_ref().filter(|reading| !reading.is_done) {
                logs.entry(&reading.log).or_default().push(index);
            }
        }
        let ids: Vec<LogId> = logs.keys().copied().cloned().collect();
        let heads = invocation.in_time(LedgerError::Unavailable, keeping::heads(&*self.ledger, &ids)).await?;
        let (mut grown, mut documents, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for ((log, mut indexes), stored) in logs.into_iter().zip(heads) {
            let offset = |index: &usize| readings[*index].as_ref().map(|of| of.record.position.offset);
            indexes.sort_by_key(offset);
            let (version, mut head) = stored.map_or((None, Head::default()), |(version, head)| (Some(version), head));
            let before = head.through;
            for &index in &indexes {
                let Some(reading) = &readings[index] else { continue };
                if reading.record.position.offset > head.through {
                    let (document, leaf) = reading.entry(head.tree.size())?;
                    documents.push((index, document));
                    head.tree.push(leaf);
                    head.through = reading.record.position.offset;
                }
            }
            match head.through == before {
                true => known.extend(indexes),
                false => grown.push(Growth { log: log.clone(), version, head, indexes }),
            }
        }
        set_done(readings, &known);
        self.store(documents, invocation).await?;
        let opened = invocation.in_time(LedgerError::Uncertain, self.register(&grown)).await?;
        // As many in one transaction as it takes.
        for some in grown.chunks(MAX_ACTIONS) {
            let commit =
                Commit { aggregates: some.iter().map(Growth::write).collect::<Result<_, _>>()?, keys: Vec::new() };
            invocation.in_time(LedgerError::Uncertain, self.ledger.commit(commit)).await?;
            set_done(readings, some.iter().flat_map(|growth| &growth.indexes));
        }
        for tenant in opened {
            self.seal(&tenant, invocation).await;
        }
        Ok(())
    }

    async fn store(&self, documents: Vec<(usize, StatementDocument)>, invocation: &Invocation) -> Result<(), Failed> {
        if documents.is_empty() {
            return Ok(());
        }
        let (indexes, documents): (Vec<usize>, Vec<StatementDocument>) = documents.into_iter().unzip();
        let stored = self.entries.store(documents);
        let outcomes = invocation.in_time(StatementsError::Unavailable, stored).await?;
        if outcomes.len() != indexes.len() {
            let reason =
                format!("the audit store was given {} entries and answered for {}", indexes.len(), outcomes.len());
            return Err(Failed::Store { reason, is_transient: true });
        }
        for (index, outcome) in indexes.into_iter().zip(outcomes) {
            match outcome {
                StoreOutcome::Created | StoreOutcome::Duplicate { .. } => {}
                StoreOutcome::Unavailable { reason } => return Err(Failed::Store { reason, is_transient: true }),
                StoreOutcome::Refused { reason } => return Err(Failed::Refused { index, reason }),
                StoreOutcome::Conflict { first } => {
                    let reason = format!("another entry, of {first}, has its id");
                    return Err(Failed::Refused { index, reason });
                }
            }
        }
        Ok(())
    }

    /// Notes the logs that begin, so that nobody has to guess which there are; the tenants of whose logs one is of a newer day than
    /// any before.
    async fn register(&self, grown: &[Growth]) -> Result<BTreeSet<String>, LedgerError> {
        let mut begun: BTreeMap<(&str, &str), Vec<&LogId>> = BTreeMap::new();
        for growth in grown.iter().filter(|growth| growth.version.is_none()) {
            begun.entry((&growth.log.tenant, &growth.log.day)).or_default().push(&growth.log);
        }
        let mut opened = BTreeSet::new();
        for ((tenant, day), logs) in begun {
            if keeping::register(&*self.ledger, tenant, day, &logs).await? {
                opened.insert(tenant.to_owned());
            }
        }
        Ok(opened)
    }

    /// A day is over once a newer one begins. A seal that fails now is made with the next day's.
    async fn seal(&self, tenant: &str, invocation: &Invocation) {
        match invocation.in_time(LedgerError::Uncertain, keeping::seal(&*self.ledger, tenant, false)).await {
            Ok(Some(sealed)) => {
                tracing::info!(tenant, seal = sealed.number, day = %sealed.day, hash = %sealed.hash, "audit log sealed");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(tenant, %error, "the audit log is sealed a day later"),
        }
    }
}

fn set_done<'i>(readings: &mut [Option<Reading<'_>>], indexes: impl IntoIterator<Item = &'i usize>) {
    for &index in indexes {
        readings[index].iter_mut().for_each(|of| of.is_done = true);
    }
}

impl Reading<'_> {
    fn entry(&self, number: u64) -> Result<(StatementDocument, crate::audit::hash::Hash), Failed> {
        let entry = Entry::of(self.record, &self.labels, self.log.clone(), number);
        let entry = if self.is_bare { entry.without_bytes() } else { entry };
        let failed =
            |error| Failed::Store { reason: format!("an entry cannot be written: {error}"), is_transient: false };
        entry.document().map_err(failed)
    }
}

impl Growth {
    fn write(&self) -> Result<AggregateWrite, LedgerError> {
        keeping::write(keeping::head_id(&self.log), self.version, &self.head)
    }
}

#[async_trait]
impl Subscriber for AuditProcessor {
    fn subscription(&self) -> &'static Subscription {
        self.subscription
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        let (clock, observer) = (Arc::clone(&self.clock), Arc::clone(&self.observer));
        Invocation::new(clock, observer, self.subscription.name, self.retry, deadline_ms)
    }

    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        let mut readings: Vec<Option<Reading<'_>>> = Vec::with_capacity(batch.len());
        let mut reports = Vec::with_capacity(batch.len());
        for delivery in batch {
            let report =
                |position: &crate::record::Position| Report::of(position.clone(), self.subscription.name).owned(false);
            match delivery {
                Delivery::Record(record) => {
                    let reading = self.read(record);
                    let labels = &reading.labels;
                    let report = report(&record.position).traced(trace::trace_id(&record.headers));
                    let report = report.about(labels.event_type, labels.event_id);
                    reports.push(report.belonging(labels.tenant.clone(), labels.correlation_id.clone()));
                    readings.push(Some(reading));
                }
                // No record: its bytes are in the letter that the topic's owner writes, which is one.
                Delivery::Malformed { position, .. } => {
                    reports.push(report(position));
                    readings.push(None);
                }
            }
        }
        let failed = self.append(&mut readings, invocation).await.err();
        // From the first that is not in its log on, all of a partition come again, so that none is passed.
        let mut held: HashSet<(&str, i32)> = HashSet::new();
        let mut in_order: Vec<usize> = (0..batch.len()).collect();
        in_order.sort_by_key(|&index| reports[index].position.clone());
        for index in in_order {
            let Some(reading) = &readings[index] else {
                reports[index].outcome = Outcome::Skipped;
                continue;
            };
            let partition = (&*reading.record.position.topic, reading.record.position.partition);
            if !reading.is_done {
                held.insert(partition);
            }
            reports[index].outcome = match held.contains(&partition) {
                true => {
                    let reason = failed.clone().unwrap_or_else(|| "it is not in its log".to_owned());
                    Outcome::RetryLater { reason: reason.into() }
                }
                false => Outcome::Applied,
            };
        }
        self.observer.observe(&reports);
        reports
    }

    async fn show(&self, _: &str, _: &str, _: &str) -> Result<Option<Value>, LedgerError> {
        Ok(None)
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        Ok(vec![None; records.len()])
    }

    /// Its log is proved whole by itself: [`crate::audit::verify`].
    async fn held(&self, records: &[Record], _: &Invocation) -> Result<Vec<Held>, LedgerError> {
        Ok(vec![Held::Nothing; records.len()])
    }

    async fn made(&self, records: &[Record], _: &Invocation) -> Vec<Held> {
        vec![Held::Nothing; records.len()]
    }
}
