//! The documents of what is tried out: stored once each, and asked for by nobody.

use async_trait::async_trait;

use lyceum_core::ports::statements::semantics::{StatementEquality, meet_again};
use lyceum_core::ports::statements::{StatementDocument, StatementsError, StoreDocuments, StoreOutcome};

use super::form::{Reader, Writer, name};
use super::{Scratch, Table, get, put};

/// Tells a document that is new from one that came before, as any store does. Those of two kinds are kept apart.
#[derive(Clone)]
pub struct ScratchDocuments {
    scratch: Scratch,
    kind: &'static str,
    same: StatementEquality,
}

const DOCUMENTS: Table = Table::new("documents");

impl Scratch {
    /// The documents of a kind in it; `same` is the statement equality that tells a duplicate from a conflict.
    pub fn documents(&self, kind: &'static str, same: StatementEquality) -> ScratchDocuments {
        ScratchDocuments { scratch: self.clone(), kind, same }
    }
}

#[async_trait]
impl StoreDocuments for ScratchDocuments {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        let writes = u32::try_from(documents.len()).unwrap_or(u32::MAX);
        let stored = self.scratch.work(writes, |transaction| {
            let mut outcomes = Vec::with_capacity(documents.len());
            for document in &documents {
                let id = document.id.as_u128().to_be_bytes();
                let name = name([self.kind.as_bytes(), document.tenant.as_bytes(), id.as_slice()]);
                let held = get(transaction, DOCUMENTS, &name)?;
                let mut held = held.as_deref().map(Reader);
                if let Some((first, raw)) = held.as_mut().and_then(|held| Some((held.position()?, held.bytes()?))) {
                    outcomes.push(meet_again(&first, raw, document, self.same));
                    continue;
                }
                let mut written = Writer::default();
                written.position(&document.source);
                written.bytes(&document.raw);
                put(transaction, DOCUMENTS, &name, &written.0)?;
                outcomes.push(StoreOutcome::Created);
            }
            Ok(outcomes)
        });
        stored.map_err(StatementsError::Unavailable)
    }
}
