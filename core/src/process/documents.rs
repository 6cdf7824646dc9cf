//! The effect *documents*: what is stored of an accepted event, a pure function of it, so that a second run makes the same, and
//! the store's create-only write makes it once. Other effects store theirs with the same step.

use std::sync::Arc;

use async_trait::async_trait;

use super::batch::{Disposition, Item};
use super::invocation::Invocation;
use super::recording::Recording;
use super::{Apply, Batch, DocumentServices, Documents, ProcessConfig, Shell};
use crate::catalog::Catalog;
use crate::family::{Family, TypedEvent};
use crate::formats::Stored;
use crate::outcome::Outcome;
use crate::ports::statements::{StatementDocument, StatementsError, StoreOutcome, complete};
use crate::record::Position;

/// Stores a document of each event of a family that keeps no state.
pub struct DocumentProcessor<F: Family> {
    shell: Shell<F::Event>,
}

impl<F: Family> DocumentProcessor<F> {
    /// A processor of the family's records.
    pub fn new(services: impl Into<DocumentServices>, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        Self { shell: Shell::new(F::SUBSCRIPTION, services.into(), catalog, config, Some(F::document)) }
    }
}

#[async_trait]
impl<F: Family> Apply for DocumentProcessor<F> {
    type Event = F::Event;

    fn shell(&self) -> &Shell<F::Event> {
        &self.shell
    }

    async fn apply(&self, batch: &mut Batch<'_, F::Event>, invocation: &Invocation) {
        batch.decide_each(applied);
        self.shell.emit(batch, invocation).await;
    }
}

/// What becomes of an event that is applied by storing its document.
pub(super) fn applied<E: TypedEvent>(item: &Item<'_, E>) -> Disposition {
    let recording = Recording { statement_stored_ms: Some(item.record.timestamp_ms), ..Recording::default() };
    Disposition::emit(Outcome::Applied, recording, item.record.position.clone())
}

/// A document that is stored of one record of the batch: made when it is sent, and again for a further attempt.
pub(super) struct ToStore<'b, 'a, E: TypedEvent> {
    pub(super) item: &'b Item<'a, E>,
    pub(super) source: Position,
    pub(super) stored_ms: i64,
}

impl<E: TypedEvent> Documents<E> {
    /// `None` where the record has no value that the event could stand in.
    pub(super) fn make(&self, family: &'static str, of: &ToStore<'_, '_, E>) -> Option<StatementDocument> {
        let Item { record, envelope, event, .. } = of.item;
        let value = record.value.as_ref()?;
        let stored = Stored { family, value, source: &of.source, stored_ms: of.stored_ms };
        Some((self.make)(envelope, event, &stored))
    }
}

impl<E: TypedEvent> Shell<E> {
    /// Stores the documents; those that the store could not take now are tried again while time remains. Of each that the
    /// store answered for, the record's place and the answer.
    pub(super) async fn store(
        &self,
        mut left: Vec<ToStore<'_, '_, E>>,
        invocation: &Invocation,
    ) -> Vec<(usize, StoreOutcome)> {
        let mut ended = Vec::with_capacity(left.len());
        let Some(of_effect) = &self.documents else { return ended };
        let mut attempts = invocation.attempts();
        while !left.is_empty() {
            let mut sent = Vec::with_capacity(left.len());
            let mut documents = Vec::with_capacity(left.len());
            for of in left {
                if let Some(document) = of_effect.make(self.subscription.name, &of) {
                    sent.push(of);
                    documents.push(document);
                }
            }
            let stored = of_effect.store.store(documents);
            let stored = invocation.in_time(StatementsError::Unavailable, stored).await;
            let (outcomes, is_transient) = match stored.and_then(|outcomes| complete(sent.len(), outcomes)) {
                Ok(outcomes) => (outcomes, true),
                Err(error) => {
                    let unavailable = StoreOutcome::Unavailable { reason: error.to_string() };
                    (vec![unavailable; sent.len()], error.is_transient())
                }
            };
            let (unavailable, settled): (Vec<_>, Vec<_>) = sent
                .into_iter()
                .zip(outcomes)
                .partition(|(_, outcome)| matches!(outcome, StoreOutcome::Unavailable { .. }));
            ended.extend(settled.into_iter().map(|(of, outcome)| (of.item.index, outcome)));
            if unavailable.is_empty() || !is_transient || !attempts.again().await {
                ended.extend(unavailable.into_iter().map(|(of, outcome)| (of.item.index, outcome)));
                break;
            }
            left = unavailable.into_iter().map(|(of, _)| of).collect();
        }
        ended
    }
}
