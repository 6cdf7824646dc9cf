//! Step 5: everything that was decided for good goes out, every acknowledgement awaited; then the outcomes are known.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::document::document;
use super::{Delivery, Fate, Item, Processor};
use crate::dead_letter::{Publication, without_value};
use crate::envelope::finding;
use crate::family::{EffectPolicy, Family};
use crate::outcome::{DeadLetterKind, Finding, Outcome, Report};
use crate::ports::event_log::EventLogError;
use crate::ports::statements::{StatementDocument, StatementsError, StoreOutcome};
use crate::record::Position;

/// A document that is stored of one record of the batch: made when it is sent, and again for a further attempt.
struct ToStore<'b, 'a, F: Family> {
    item: &'b Item<'a, F>,
    value: &'b Bytes,
    source: Position,
    stored_ms: i64,
}

impl<F: Family> ToStore<'_, '_, F> {
    fn document(&self) -> StatementDocument {
        let survey = F::survey_fields(&self.item.event);
        document(&self.item.envelope, F::SPEC.name, survey, self.value, &self.source, self.stored_ms)
    }
}

/// What is published of one record of the batch.
struct ToPublish {
    index: usize,
    publication: Publication,
}

impl<F: Family> Processor<F> {
    /// Emits what the fates say and completes the reports.
    #[allow(clippy::too_many_arguments, reason = "the parts of one batch, handed over once")]
    pub(super) async fn emit_all(
        &self,
        batch: &[Delivery],
        items: &[Item<'_, F>],
        fates: Vec<Option<Fate>>,
        groups: &[Vec<usize>],
        reports: &mut [Report],
        now_ms: i64,
        deadline_ms: i64,
    ) {
        let item_of: HashMap<usize, &Item<'_, F>> = items.iter().map(|item| (item.index, item)).collect();
        let mut documents: Vec<ToStore<'_, '_, F>> = Vec::new();
        let mut publications: Vec<ToPublish> = Vec::new();
        let mut like_first: Vec<(usize, usize)> = Vec::new();
        for (index, fate) in fates.into_iter().enumerate() {
            let report = &mut reports[index];
            match fate {
                None => {}
                Some(Fate::Later { reason }) => report.outcome = Outcome::RetryLater { reason },
                Some(Fate::LikeFirst { first }) => like_first.push((index, first)),
                Some(Fate::Emit { outcome, recording, source, findings, anomalies }) => {
                    report.outcome = outcome;
                    report.findings = findings;
                    report.anomalies = anomalies;
                    let item = item_of.get(&index);
                    if let (Some(stored_ms), Some(item), Delivery::Record(record)) =
                        (recording.statement_stored_ms, item, &batch[index])
                        && let Some(value) = &record.value
                    {
                        documents.push(ToStore { item, value, source, stored_ms });
                    }
                    let to_publish = |publication| ToPublish { index, publication };
                    publications.extend(recording.publications.into_iter().map(to_publish));
                }
            }
        }
        for (index, stored) in self.store(documents, deadline_ms).await {
            let Some((kind, findings)) = self.settle_document(stored, &mut reports[index]) else { continue };
            if let Some(item) = item_of.get(&index) {
                publications.push(ToPublish { index, publication: self.letter_for(item, kind, &findings, 1, now_ms) });
            }
            reports[index].outcome = Outcome::DeadLettered { kind };
            reports[index].findings = findings;
        }
        for (index, reason) in self.publish(publications, deadline_ms).await {
            reports[index].outcome = Outcome::RetryLater { reason };
        }
        for (index, first) in like_first {
            reports[index].outcome = match &reports[first].outcome {
                Outcome::Applied => Outcome::Duplicate,
                other => other.clone(),
            };
        }
        hold_back_what_is_behind(groups, reports);
    }

    /// Translates a document's end into the record's: `Some` is a letter to be written.
    fn settle_document(&self, stored: StoreOutcome, report: &mut Report) -> Option<(DeadLetterKind, Vec<Finding>)> {
        let only_document = F::SPEC.effect == EffectPolicy::DocumentById;
        match stored {
            StoreOutcome::Created => None,
            StoreOutcome::Duplicate { .. } => {
                if only_document {
                    report.outcome = Outcome::Duplicate;
                }
                None
            }
            StoreOutcome::Conflict { first } => {
                let message = format!("another statement with this id came with {first}");
                let kind = if only_document { DeadLetterKind::Conflict } else { DeadLetterKind::Undelivered };
                Some((kind, vec![finding("event-id.conflict", "/id", message)]))
            }
            StoreOutcome::Refused { reason } => {
                let message = format!("the statement store will never take this statement: {reason}");
                Some((DeadLetterKind::Undelivered, vec![finding("store.refused", "", message)]))
            }
            StoreOutcome::Unavailable { reason } => {
                report.outcome = Outcome::RetryLater { reason };
                None
            }
        }
    }

    /// Stores the documents; those that the store could not take now are tried again while time remains.
    async fn store(&self, mut left: Vec<ToStore<'_, '_, F>>, deadline_ms: i64) -> Vec<(usize, StoreOutcome)> {
        let mut ended = Vec::with_capacity(left.len());
        let mut attempt = 0;
        while !left.is_empty() {
            let documents: Vec<StatementDocument> = left.iter().map(ToStore::document).collect();
            let stored = self.services.statements.store(documents);
            let (outcomes, is_transient) = match self.in_time(deadline_ms, StatementsError::Unavailable, stored).await {
                Ok(outcomes) => (outcomes, true),
                Err(error) => {
                    let unavailable = StoreOutcome::Unavailable { reason: error.to_string() };
                    (vec![unavailable; left.len()], error.is_transient())
                }
            };
            let (unavailable, settled): (Vec<_>, Vec<_>) = left
                .into_iter()
                .zip(outcomes)
                .partition(|(_, outcome)| matches!(outcome, StoreOutcome::Unavailable { .. }));
            ended.extend(settled.into_iter().map(|(of, outcome)| (of.item.index, outcome)));
            attempt += 1;
            let goes_on = unavailable.is_empty() || (is_transient && self.wait_before(attempt, deadline_ms).await);
            if !goes_on {
                ended.extend(unavailable.into_iter().map(|(of, outcome)| (of.item.index, outcome)));
                break;
            }
            left = unavailable.into_iter().map(|(of, _)| of).collect();
        }
        ended
    }

    /// Publishes, topic by topic; returns those records of the batch of which something is not out, and why.
    async fn publish(&self, publications: Vec<ToPublish>, deadline_ms: i64) -> Vec<(usize, String)> {
        let mut topics: BTreeMap<String, Vec<ToPublish>> = BTreeMap::new();
        for to_publish in publications {
            topics.entry(to_publish.publication.topic.clone()).or_default().push(to_publish);
        }
        let mut failed = Vec::new();
        for (topic, to_publish) in topics {
            match self.produce(&topic, to_publish.iter().map(|of| &of.publication), deadline_ms).await {
                Ok(()) => {}
                Err(EventLogError::TooLarge { .. }) => {
                    failed.extend(self.publish_singly(&topic, to_publish, deadline_ms).await);
                }
                Err(error) => failed.extend(to_publish.into_iter().map(|of| (of.index, error.to_string()))),
            }
        }
        failed
    }

    /// One of them is larger than the log takes: it goes without its value, which stays where it came from.
    async fn publish_singly(&self, topic: &str, all: Vec<ToPublish>, deadline_ms: i64) -> Vec<(usize, String)> {
        let mut failed = Vec::new();
        for ToPublish { index, publication } in all {
            let answer = match self.produce(topic, std::iter::once(&publication), deadline_ms).await {
                Err(EventLogError::TooLarge { .. }) => {
                    self.produce(topic, std::iter::once(&without_value(publication)), deadline_ms).await
                }
                answer => answer,
            };
            failed.extend(answer.err().map(|error| (index, error.to_string())));
        }
        failed
    }

    async fn produce(
        &self,
        topic: &str,
        publications: impl Iterator<Item = &Publication>,
        deadline_ms: i64,
    ) -> Result<(), EventLogError> {
        let records: Vec<_> = publications.map(|publication| publication.record.clone()).collect();
        let mut attempt = 0;
        loop {
            let produced = self.services.event_log.produce(topic, records.clone());
            match self.in_time(deadline_ms, EventLogError::Unavailable, produced).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_transient() => {
                    attempt += 1;
                    if !self.wait_before(attempt, deadline_ms).await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where a record is to come again, those behind it of the same aggregates come again with it, in order.
fn hold_back_what_is_behind(groups: &[Vec<usize>], reports: &mut [Report]) {
    for group in groups {
        let mut blocked: Option<String> = None;
        for &index in group {
            let report = &mut reports[index];
            match (&blocked, &report.outcome) {
                (Some(reason), outcome) if outcome.is_settled() => {
                    report.outcome = Outcome::RetryLater { reason: reason.clone() };
                }
                (None, Outcome::RetryLater { reason }) => {
                    blocked = Some(format!("waits behind {}: {reason}", report.position));
                }
                _ => {}
            }
        }
    }
}
