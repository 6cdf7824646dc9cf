//! The statement store's contract for the model and the embedded twin, and what only the twin has: a folder that lives on.

use lyceum_core::adapters::embedded::statements::{EmbeddedStatements, StatementsOptions};
use lyceum_core::adapters::memory::statements::MemoryStatements;
use lyceum_core::ports::statements::Statements;

/// Statement equality for tests: equal JSON, or equal bytes where they are no JSON.
fn same_json(one: &[u8], other: &[u8]) -> bool {
    let value = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}

fn options() -> StatementsOptions {
    StatementsOptions { memory_bytes: 15_000_000, ..StatementsOptions::new(same_json) }
}

mod model {
    use super::*;

    async fn with_model(check: impl AsyncFnOnce(&dyn Statements)) {
        check(&MemoryStatements::new(same_json)).await;
    }

    lyceum_core::statements_contract!(with_model);
}

mod embedded {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn Statements)) {
        let folder = tempfile::tempdir().unwrap();
        check(&EmbeddedStatements::open(folder.path(), options()).unwrap()).await;
    }

    lyceum_core::statements_contract!(with_folder);
}
