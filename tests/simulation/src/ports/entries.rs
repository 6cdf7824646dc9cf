//! The store of the audit log, made unreliable.

use async_trait::async_trait;
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};

use super::Line;
use crate::executor::{answer, pause};
use crate::fault::Fault;

pub(super) struct FaultyEntries(pub(super) Line);

#[async_trait]
impl StoreDocuments for FaultyEntries {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell("stores entries: fails");
            return Err(StatementsError::Unavailable("no connection".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("stores entries").await {}
        }
        let mut outcomes = Vec::with_capacity(documents.len());
        for document in documents {
            if stage.strikes(Fault::DocumentsFail) {
                outcomes.push(StoreOutcome::Unavailable { reason: "one shard is unavailable".into() });
                continue;
            }
            outcomes.extend(answer(stage.entries.store(vec![document]))?);
        }
        self.0.tell(format_args!("stores entries: {outcomes:?}"));
        pause().await;
        if stage.strikes(Fault::AnswerLost) {
            self.0.tell("entries: answer lost");
            return Err(StatementsError::Unavailable("the answer was lost".into()));
        }
        Ok(outcomes)
    }
}
