//! The statement store, made unreliable.

use async_trait::async_trait;
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};

use super::Line;
use crate::executor::{answer, pause};
use crate::fault::Fault;

/// A statement with this in it is refused until the store is mended.
pub(crate) const UNDELIVERABLE: &str = "undeliverable";

pub(super) struct FaultyStatements(pub(super) Line);

impl FaultyStatements {
    fn store_one(&self, document: StatementDocument) -> StoreOutcome {
        let stage = &self.0.stage;
        let refused = document.raw.windows(UNDELIVERABLE.len()).any(|window| window == UNDELIVERABLE.as_bytes());
        if refused && !stage.state().mended {
            return StoreOutcome::Refused { reason: "a field of another type is mapped under that name".into() };
        }
        if stage.strikes(Fault::DocumentsFail) {
            return StoreOutcome::Unavailable { reason: "one shard is unavailable".into() };
        }
        stage.check_document(&document);
        match answer(stage.statements.store(vec![document])) {
            Ok(mut outcomes) => outcomes.remove(0),
            Err(error) => StoreOutcome::Unavailable { reason: error.to_string() },
        }
    }
}

#[async_trait]
impl StoreDocuments for FaultyStatements {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell("stores documents: fails");
            return Err(StatementsError::Unavailable("no connection".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("stores").await {}
        }
        let outcomes: Vec<_> = documents.into_iter().map(|document| self.store_one(document)).collect();
        self.0.tell(format_args!("stores documents: {outcomes:?}"));
        pause().await;
        if stage.strikes(Fault::AnswerLost) {
            self.0.tell("documents: answer lost");
            return Err(StatementsError::Unavailable("the answer was lost".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("stored").await {}
        }
        Ok(outcomes)
    }
}
