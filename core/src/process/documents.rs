//! Step 5, the documents: what is stored of an accepted statement, a pure function of the event, so that a second run makes
//! the same; and the effect of a family that keeps no state, which is the document alone.

use super::Processor;
use super::batch::{Disposition, Item};
use super::invocation::Invocation;
use super::recording::Recording;
use crate::family::{Family, Stored};
use crate::outcome::Outcome;
use crate::ports::statements::{StatementDocument, StatementsError, StoreOutcome};
use crate::record::Position;

/// What becomes of an event whose only effect is its document: the store's create-only write makes it once.
pub(super) fn applied<F: Family>(item: &Item<'_, F>) -> Disposition {
    let recording = Recording { statement_stored_ms: Some(item.record.timestamp_ms), ..Recording::default() };
    Disposition::emit(Outcome::Applied, recording, item.record.position.clone())
}

/// A document that is stored of one record of the batch: made when it is sent, and again for a further attempt.
pub(super) struct ToStore<'b, 'a, F: Family> {
    pub(super) item: &'b Item<'a, F>,
    pub(super) source: Position,
    pub(super) stored_ms: i64,
}

impl<F: Family> ToStore<'_, '_, F> {
    /// `None` where the record has no value that the event could stand in.
    fn document(&self) -> Option<StatementDocument> {
        let Item { record, envelope, event, .. } = self.item;
        let value = record.value.as_ref()?;
        let stored = Stored { family: F::SPEC.name, value, source: &self.source, stored_ms: self.stored_ms };
        Some(F::document(envelope, event, &stored))
    }
}

impl<F: Family> Processor<F> {
    /// Stores the documents; those that the store could not take now are tried again while time remains. Of each that the
    /// store answered for, the record's place and the answer.
    pub(super) async fn store(
        &self,
        mut left: Vec<ToStore<'_, '_, F>>,
        invocation: &Invocation,
    ) -> Vec<(usize, StoreOutcome)> {
        let mut ended = Vec::with_capacity(left.len());
        let mut attempts = invocation.attempts();
        while !left.is_empty() {
            let mut sent = Vec::with_capacity(left.len());
            let mut documents = Vec::with_capacity(left.len());
            for of in left {
                if let Some(document) = of.document() {
                    sent.push(of);
                    documents.push(document);
                }
            }
            let stored = self.services.statements.store(documents);
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

/// A store that answers for fewer documents than it was given has answered for none: which one is missing is not known.
fn complete(given: usize, outcomes: Vec<StoreOutcome>) -> Result<Vec<StoreOutcome>, StatementsError> {
    match outcomes.len() {
        answered if answered == given => Ok(outcomes),
        answered => {
            Err(StatementsError::Unavailable(format!("it was given {given} documents and answered for {answered}")))
        }
    }
}
