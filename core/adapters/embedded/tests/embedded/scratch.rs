//! What is only tried out holds the contract of the ledger, tells documents apart as the model does, and leaves no file behind.

use lyceum_core::ports::statements::{StatementDocument, StatementFields, StoreDocuments};
use lyceum_core::record::Position;
use lyceum_embedded::scratch::{Scratch, ScratchLedger};
use lyceum_testing::analytics::same_json;
use lyceum_testing::memory::statements::MemoryStatements;
use proptest::prelude::*;
use uuid::Uuid;

/// A ledger behind a pointer, as the contract takes it.
fn ledger() -> Box<ScratchLedger> {
    Box::new(Scratch::open().unwrap().ledger())
}

mod contract {
    lyceum_testing::ledger_contract!(super::ledger());
}

fn document((tenant, id, raw, offset): (u8, u8, u8, i64)) -> StatementDocument {
    StatementDocument {
        tenant: format!("t{tenant}").into(),
        id: Uuid::from_u128(id.into()),
        raw: format!("{{\"a\": {raw}}}").into(),
        stored_ms: 1,
        source: Position::new("t", 0, offset),
        correlation_id: "c".into(),
        fields: StatementFields::default(),
    }
}

proptest! {
    #[test]
    fn documents_end_as_in_the_model(calls in prop::collection::vec(
        prop::collection::vec((0..2u8, 0..3u8, 0..2u8, 0..4i64), 0..4), 1..20,
    )) {
        let scratch = Scratch::open().unwrap();
        let (store, other) = (scratch.documents("one", same_json), scratch.documents("other", same_json));
        let model = MemoryStatements::new(same_json);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            for call in calls {
                let documents: Vec<_> = call.into_iter().map(document).collect();
                let expected = model.store(documents.clone()).await.unwrap();
                prop_assert_eq!(store.store(documents).await.unwrap(), expected);
            }
            // Of another kind there is none yet.
            let first = other.store(vec![document((0, 0, 0, 9))]).await.unwrap();
            prop_assert_eq!(first, vec![lyceum_core::ports::statements::StoreOutcome::Created]);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn many_writes_are_all_found_again_and_no_file_is_left_in_the_folder() {
    use lyceum_core::ports::ledger::{AggregateId, AggregateWrite, Commit, Content, Ledger};

    let scratch = Scratch::open().unwrap();
    let ledger = scratch.ledger();
    let id = |number: usize| AggregateId { tenant: "t".into(), kind: "k".into(), id: number.to_string().into() };
    for number in 0..10_000 {
        let content = Some(Content::of(number.to_string()));
        let write = AggregateWrite { id: id(number), expected: None, content };
        ledger.commit(Commit { aggregates: vec![write], keys: Vec::new() }).await.unwrap();
    }
    let ids: Vec<_> = (0..10_000).map(id).collect();
    for (number, held) in ledger.load(&ids, &[]).await.unwrap().aggregates.into_iter().enumerate() {
        assert_eq!(held.unwrap().content, Content::of(number.to_string()));
    }
    assert_eq!(scratch.failed(), None);
    #[cfg(target_os = "linux")]
    {
        // The file has no name: whatever ends the process leaves nothing.
        let open =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|of| std::fs::read_link(of.ok()?.path()).ok());
        let temporary = std::env::temp_dir();
        let named = open.filter(|path| path.starts_with(&temporary) && path.to_string_lossy().ends_with("(deleted)"));
        assert!(named.count() >= 1);
    }
}
