//! A batch of records in, one outcome a record out: the steps of "How an effect happens once" (ARCHITECTURE.md).
//!
//! 1. decode and validate (pure) — [`crate::envelope`]
//! 2. group by aggregate, load keys and aggregates
//! 3. decide in order, in memory — [`crate::family::Family::decide`]
//! 4. commit state, keys and recordings in one transaction — [`commit`](self)
//! 5. emit the recordings, every acknowledgement awaited — [`emit`](self)
//! 6. settle: the caller answers with what is to come again
//!
//! Nothing here knows a runtime: whoever polls the future decides when a step happens, the simulation included.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use serde::Serialize;

use crate::clock::Clock;
use crate::dead_letter::{DeadLetterFormat, ENTRY_RULE, Failure, Publication, write, write_entry};
use crate::envelope::{self, Decoded, Envelope, EnvelopeConfig};
use crate::family::{AggregateRef, Catalog, EffectPolicy, Family, KeyPlace, Occurrence};
use crate::outcome::{Anomaly, DeadLetterKind, Finding, Observer, Outcome, Report};
use crate::ports::event_log::EventLog;
use crate::ports::ledger::{AggregateId, KeyId, Ledger, MAX_HOME_KEYS};
use crate::ports::statements::Statements;
use crate::record::{Position, Record};
use crate::retry::RetryPolicy;
use crate::trace;
use lyceum_xapi::equality;

mod commit;
#[cfg(feature = "planted-defects")]
pub mod defect;
mod document;
mod emit;
mod place;
mod recording;
mod show;

use recording::Recording;

/// Whether a defect is planted, for the tests that show the simulation's teeth; in every other build: no.
macro_rules! planted {
    ($processor:expr, $defect:ident) => {{
        #[cfg(feature = "planted-defects")]
        let planted = $processor.config.defect == Some(crate::process::defect::Defect::$defect);
        #[cfg(not(feature = "planted-defects"))]
        let planted = {
            let _ = &$processor.config;
            false
        };
        planted
    }};
}
pub(crate) use planted;

/// At most this many groups of a batch are at the ledger at once.
const GROUPS_AT_ONCE: usize = 8;
/// This much of an invocation's time is kept for answering.
const RESERVE: Duration = Duration::from_millis(500);

/// The ports that processing uses.
#[derive(Clone)]
pub struct Services {
    /// For follow-ups and dead letters.
    pub event_log: Arc<dyn EventLog>,
    /// State and idempotency keys.
    pub ledger: Arc<dyn Ledger>,
    /// Accepted statements.
    pub statements: Arc<dyn Statements>,
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
    /// A defect to be found.
    #[cfg(feature = "planted-defects")]
    pub defect: Option<defect::Defect>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            envelope: EnvelopeConfig::default(),
            retry: RetryPolicy::default(),
            dead_letter_format: DeadLetterFormat::default(),
            home_keys: MAX_HOME_KEYS,
            #[cfg(feature = "planted-defects")]
            defect: None,
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

/// Processes the records of one family.
pub struct Processor<F: Family> {
    services: Services,
    catalog: Arc<Catalog>,
    config: ProcessConfig,
    family: PhantomData<F>,
}

/// An event on its way, with everything that its decision needs.
struct Item<'a, F: Family> {
    /// Its place in the batch.
    index: usize,
    record: &'a Record,
    envelope: Box<Envelope<'a>>,
    event: F::Event,
    aggregates: Vec<AggregateId>,
    key: KeyId,
    content_hash: [u8; 32],
}

/// What was decided about a record; nothing of it is out yet.
#[derive(Debug)]
enum Fate {
    /// Decided for good: this is to be emitted, then it has this outcome.
    Emit { outcome: Outcome, recording: Recording, source: Position, findings: Vec<Finding>, anomalies: Vec<Anomaly> },
    /// The same event as another record of this batch, whose outcome is its outcome.
    LikeFirst { first: usize },
    /// It is to be delivered again.
    Later { reason: String },
}

impl Fate {
    fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into() }
    }

    /// A letter that no key records: every worker decides the same.
    fn letter(letter: Publication, kind: DeadLetterKind, source: Position, findings: Vec<Finding>) -> Self {
        let recording = Recording { publications: vec![letter], ..Recording::default() };
        Self::Emit { outcome: Outcome::DeadLettered { kind }, recording, source, findings, anomalies: Vec::new() }
    }
}

impl<F: Family> Item<'_, F> {
    /// Whether its content is that of the key's event.
    fn is_content(&self, held: &[u8; 32]) -> bool {
        // The hash decides it, but for the keys of earlier releases.
        equality::same_content(held, &self.content_hash)
            || equality::is_former_hash(held, self.envelope.raw, &fields(&self.event))
    }
}

impl<F: Family> Processor<F> {
    /// A processor of the family's records.
    pub fn new(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        Self { services, catalog, config, family: PhantomData }
    }

    /// Processes a batch until `deadline_ms` (milliseconds since 1970 UTC), whatever a port does; one report a delivery, in
    /// order. What is [`Outcome::RetryLater`] is to be delivered again; everything else is settled.
    pub async fn process(&self, batch: &[Delivery], deadline_ms: i64) -> Vec<Report> {
        let now_ms = self.services.clock.now_ms();
        let mut fates: Vec<Option<Fate>> = batch.iter().map(|_| None).collect();
        let mut items = Vec::with_capacity(batch.len());
        let mut reports = Vec::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            let (report, read) = self.read(index, delivery, now_ms);
            reports.push(report);
            match read {
                Read::Event(item) => items.push(item),
                Read::Decided(fate) => fates[index] = Some(fate),
                Read::Tombstone => {}
            }
        }

        let groups = match F::SPEC.effect {
            EffectPolicy::DocumentById => {
                for item in &items {
                    fates[item.index] = Some(self.applied(item));
                }
                Vec::new()
            }
            EffectPolicy::StateAndKey { .. } => {
                let groups = self.group_by_aggregate(&items);
                let loaded = self.load_all(&items, deadline_ms).await;
                let mut decisions = Vec::with_capacity(groups.len());
                for group in &groups {
                    let members: Vec<&Item<'_, F>> = group.iter().map(|&at| &items[at]).collect();
                    let loaded = loaded.as_ref().map_err(Clone::clone);
                    decisions.push(self.decide_and_commit(members, loaded, now_ms, deadline_ms));
                }
                let decided: Vec<_> = futures::stream::iter(decisions).buffer_unordered(GROUPS_AT_ONCE).collect().await;
                for (index, fate) in decided.into_iter().flatten() {
                    fates[index] = Some(fate);
                }
                groups.into_iter().map(|group| group.into_iter().map(|at| items[at].index).collect()).collect()
            }
        };
        self.emit_all(batch, &items, fates, &groups, &mut reports, now_ms, deadline_ms).await;
        self.services.observer.observe(&reports);
        reports
    }

    /// Decodes one delivery; its report is complete but for the outcome.
    fn read<'a>(&self, index: usize, delivery: &'a Delivery, now_ms: i64) -> (Report, Read<'a, F>) {
        let record = match delivery {
            Delivery::Record(record) => record,
            Delivery::Malformed { position, raw, reason } => return self.malformed(position, raw, reason, now_ms),
        };
        let mut report = Report {
            position: record.position.clone(),
            family: F::SPEC.name,
            event_type: envelope::UNKNOWN,
            event_id: None,
            tenant: None,
            correlation_id: None,
            trace_id: trace::trace_id(&record.headers),
            outcome: Outcome::SkippedTombstone,
            findings: Vec::new(),
            anomalies: Vec::new(),
        };
        let read = catch_unwind(AssertUnwindSafe(|| {
            match envelope::decode(record, F::SPEC, &self.catalog, &self.config.envelope) {
                Decoded::Event(envelope) => {
                    Some(F::read(&envelope).map(|event| (envelope.clone(), event)).map_err(|findings| {
                        (
                            envelope::Invalid {
                                kind: DeadLetterKind::Validation,
                                findings,
                                event_type: envelope.event_type,
                                tenant: Some(envelope.tenant.to_string()),
                                correlation_id: Some(envelope.correlation_id.to_string()),
                            },
                            Some(envelope.id),
                        )
                    }))
                }
                Decoded::Invalid(invalid) => Some(Err((*invalid, None))),
                Decoded::Tombstone => None,
            }
        }));
        let read = read.unwrap_or_else(|_| {
            let message = "the program failed on this record; report it with the record's bytes";
            let findings = vec![envelope::finding("record.malformed", "", message)];
            let (event_type, tenant, correlation_id) = (envelope::UNKNOWN, None, None);
            let kind = DeadLetterKind::Processing;
            Some(Err((envelope::Invalid { kind, findings, event_type, tenant, correlation_id }, None)))
        });
        match read {
            None => (report, Read::Tombstone),
            Some(Ok((envelope, event))) => {
                report.event_type = envelope.event_type;
                report.event_id = Some(envelope.id);
                report.tenant = Some(envelope.tenant.to_string());
                report.correlation_id = Some(envelope.correlation_id.to_string());
                (report, Read::Event(self.item(index, record, envelope, event)))
            }
            Some(Err((invalid, event_id))) => {
                let failure = Failure {
                    kind: invalid.kind,
                    findings: &invalid.findings,
                    family: F::SPEC.name,
                    correlation_id: invalid.correlation_id.as_deref(),
                    tenant: invalid.tenant.as_deref(),
                    attempts: 1,
                    failed_at_ms: now_ms,
                };
                let letter = write(record, &failure, &F::SPEC.dead_letters, self.config.dead_letter_format);
                let fate = Fate::letter(letter, invalid.kind, record.position.clone(), invalid.findings);
                report.event_type = invalid.event_type;
                report.event_id = event_id;
                report.tenant = invalid.tenant;
                report.correlation_id = invalid.correlation_id;
                (report, Read::Decided(fate))
            }
        }
    }

    fn malformed<'a>(&self, position: &Position, raw: &Bytes, reason: &str, now_ms: i64) -> (Report, Read<'a, F>) {
        let kind = DeadLetterKind::Decode;
        let findings =
            vec![envelope::finding(ENTRY_RULE, "", format!("the invocation's entry is no Kafka record: {reason}"))];
        let record = Record {
            position: position.clone(),
            timestamp_ms: now_ms,
            key: None,
            value: Some(raw.clone()),
            headers: Vec::new(),
        };
        let failure = Failure {
            kind,
            findings: &findings,
            family: F::SPEC.name,
            correlation_id: None,
            tenant: None,
            attempts: 1,
            failed_at_ms: now_ms,
        };
        let letter = write_entry(&record, &failure, &F::SPEC.dead_letters, self.config.dead_letter_format);
        let report = Report {
            position: position.clone(),
            family: F::SPEC.name,
            event_type: envelope::UNKNOWN,
            event_id: None,
            tenant: None,
            correlation_id: None,
            trace_id: None,
            outcome: Outcome::DeadLettered { kind },
            findings: Vec::new(),
            anomalies: Vec::new(),
        };
        (report, Read::Decided(Fate::letter(letter, kind, position.clone(), findings)))
    }

    fn item<'a>(&self, index: usize, record: &'a Record, envelope: Box<Envelope<'a>>, event: F::Event) -> Item<'a, F> {
        let tenant = envelope.tenant.to_string();
        let aggregates: Vec<AggregateId> = F::aggregates(&event)
            .into_iter()
            .map(|AggregateRef { kind, id }| AggregateId { tenant: tenant.clone(), kind: kind.to_owned(), id })
            .collect();
        let stateful = F::SPEC.effect.keeps_state();
        let content_hash = if stateful { content_hash(&envelope, &event) } else { [0; 32] };
        let mut key = key_id::<F>(&envelope, &aggregates);
        if planted!(self, KeyPerReplay) {
            key.event_id = envelope::follow_up_id(key.event_id, "replay", envelope.replay_count as usize);
        }
        Item { index, record, envelope, event, aggregates, key, content_hash }
    }

    /// The fate of an event whose only effect is its document.
    fn applied(&self, item: &Item<'_, F>) -> Fate {
        let recording = Recording { statement_stored_ms: Some(item.record.timestamp_ms), ..Recording::default() };
        let source = item.record.position.clone();
        Fate::Emit { outcome: Outcome::Applied, recording, source, findings: Vec::new(), anomalies: Vec::new() }
    }

    /// Events that share an aggregate are decided together, in order, and commit together; the others do not wait for them.
    fn group_by_aggregate(&self, items: &[Item<'_, F>]) -> Vec<Vec<usize>> {
        let mut group_of: HashMap<&AggregateId, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let mut mine: Vec<usize> = item.aggregates.iter().filter_map(|id| group_of.get(id).copied()).collect();
            mine.sort_unstable();
            mine.dedup();
            let group = mine.first().copied().unwrap_or_else(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            for other in mine.into_iter().skip(1) {
                let moved = std::mem::take(&mut groups[other]);
                groups[group].extend(moved);
                group_of.values_mut().filter(|of| **of == other).for_each(|of| *of = group);
            }
            groups[group].push(at);
            for id in &item.aggregates {
                group_of.insert(id, group);
            }
        }
        groups.retain(|group| !group.is_empty());
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups
    }

    fn occurrence(&self, item: &Item<'_, F>, now_ms: i64) -> Occurrence {
        Occurrence {
            event_id: item.envelope.id,
            event_type: item.envelope.event_type,
            source: item.envelope.source.clone(),
            occurred_at_ms: item.envelope.occurred_at_ms(),
            now_ms,
        }
    }

    /// The letter for an event that was read but is not applied, after so many deliveries.
    fn letter_for(
        &self,
        item: &Item<'_, F>,
        kind: DeadLetterKind,
        findings: &[Finding],
        attempts: u32,
        now_ms: i64,
    ) -> Publication {
        let failure = Failure {
            kind,
            findings,
            family: F::SPEC.name,
            correlation_id: Some(&item.envelope.correlation_id),
            tenant: Some(&item.envelope.tenant),
            attempts,
            failed_at_ms: now_ms,
        };
        let (topics, format) = (&F::SPEC.dead_letters, self.config.dead_letter_format);
        if planted!(self, LetterIdFromPosition) {
            let id = envelope::letter_id(&item.envelope.source, 0);
            return crate::dead_letter::write_as(item.record, &failure, topics, format, id);
        }
        write(item.record, &failure, topics, format)
    }

    /// What is left of an invocation's time, but for the answering.
    fn remaining(&self, deadline_ms: i64) -> Duration {
        let left = deadline_ms.saturating_sub(self.services.clock.now_ms());
        Duration::from_millis(u64::try_from(left).unwrap_or(0)).saturating_sub(RESERVE)
    }

    /// Makes a port's call, and waits for it no longer than the invocation lasts: what does not answer must not take the
    /// answer of the others with it.
    async fn in_time<A, E>(
        &self,
        deadline_ms: i64,
        given_up: fn(String) -> E,
        call: impl Future<Output = Result<A, E>>,
    ) -> Result<A, E> {
        let remaining = self.remaining(deadline_ms);
        if remaining.is_zero() {
            return Err(given_up("the invocation's time is over".to_owned()));
        }
        match select(pin!(call), self.services.clock.timeout(remaining)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let left = remaining.as_secs_f64();
                Err(given_up(format!("no answer within the {left:.1} s that were left of the invocation")))
            }
        }
    }

    /// Waits before the next attempt; `false` when there is none within the time that remains.
    async fn wait_before(&self, attempt: u32, deadline_ms: i64) -> bool {
        let clock = &self.services.clock;
        match self.config.retry.delay(attempt, clock.jitter(), self.remaining(deadline_ms)) {
            Some(delay) => {
                self.services.observer.retried(F::SPEC.name);
                clock.sleep(delay).await;
                true
            }
            None => false,
        }
    }
}

/// What a delivery turned out to be.
enum Read<'a, F: Family> {
    Event(Item<'a, F>),
    Decided(Fate),
    Tombstone,
}

/// What makes two events with one id the same: the statement by xAPI's equality, and the fields that the family reads.
/// To be compared by [`equality::same_content`].
pub fn content_hash(envelope: &Envelope<'_>, event: &impl Serialize) -> [u8; 32] {
    equality::content_hash(envelope.raw, &fields(event))
}

fn fields(event: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and extension values, which came as JSON: serialising cannot fail.
    serde_json::to_vec(event).unwrap_or_default()
}

/// The name of an event's key. Where keys are at home, what another home has under the same event id is another event.
pub fn key_id<F: Family>(envelope: &Envelope<'_>, aggregates: &[AggregateId]) -> KeyId {
    match (F::SPEC.effect, aggregates.first()) {
        (EffectPolicy::StateAndKey { keys: KeyPlace::Home }, Some(home)) => KeyId::at(home, F::SPEC.name, envelope.id),
        _ => KeyId::of(&*envelope.tenant, F::SPEC.name, envelope.id),
    }
}
