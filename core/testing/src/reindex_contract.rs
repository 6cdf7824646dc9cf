//! What every store of statements must do of which a second index is filled beside the live one, and its twin and its model with it.
//!
//! Each check is given a store of its own, in which nothing is. [`reindex_contract!`](crate::reindex_contract!) makes a test of each
//! check, or hands its name to a macro of the caller's own.
#![expect(missing_docs, reason = "a check's name is its sentence")]

use std::collections::BTreeSet;
use std::slice::from_ref;

use uuid::Uuid;

use crate::analytics::numbered;
use lyceum_core::ports::statements::{
    Filter, IndexedStatements, Next, QueryDocuments, StatementDocument, Statements, StatementsError, StoreDocuments,
    StoreOutcome,
};

/// Makes a tokio test of each check: `reindex_contract!(with_store)`, where
/// `async fn with_store(check: impl AsyncFnOnce(&dyn IndexedStatements))` opens an empty store, runs the check and cleans up.
/// `reindex_contract!(each add)` calls the macro `add!(name_of_a_check);` for each one.
#[macro_export]
macro_rules! reindex_contract {
    (@each $each:ident: $($check:ident)+) => {
        $($each!($check);)+
    };
    (@tests $with_store:path: $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                $with_store($crate::reindex_contract::$check).await;
            }
        )+
    };
    (each $each:ident) => {
        $crate::reindex_contract! { @list @each $each }
    };
    (@list $($then:tt)+) => {
        $crate::reindex_contract! { $($then)+:
            a_new_store_has_the_first_index_and_no_other
            the_next_index_is_made_once_and_is_empty
            what_is_put_into_the_next_index_is_found_there_alone
            an_index_that_is_swapped_in_answers_at_once_and_the_one_before_is_old
            a_swap_is_done_once_and_only_of_the_index_that_is_filled
            what_is_voided_in_the_next_index_is_voided_once_it_is_live
            an_index_that_is_abandoned_takes_nothing_and_changes_nothing
            old_indices_are_dropped_and_nothing_else
            a_scan_that_was_begun_before_a_swap_goes_on_behind_it
            indices_are_made_and_swapped_again_and_again
        }
    };
    ($with_store:path) => {
        $crate::reindex_contract! { @list @tests $with_store }
    };
}

fn document(number: u64) -> StatementDocument {
    numbered("academy", number)
}

async fn put(store: &(impl StoreDocuments + ?Sized), documents: &[StatementDocument]) {
    let outcomes = store.store(documents.to_vec()).await.unwrap();
    assert_eq!(outcomes, vec![StoreOutcome::Created; documents.len()]);
}

async fn ids(store: &(impl QueryDocuments + ?Sized)) -> BTreeSet<Uuid> {
    let found = store.search(&Filter { include_voided: true, ..Filter::default() }, 1_000, None).await.unwrap();
    found.statements.into_iter().map(|found| found.document.id).collect()
}

fn ids_of(documents: &[StatementDocument]) -> BTreeSet<Uuid> {
    documents.iter().map(|document| document.id).collect()
}

async fn next(store: &dyn IndexedStatements) -> Next {
    let number = store.create_next(0).await.unwrap();
    let next = store.next().await.unwrap().expect("it was made");
    assert_eq!(next.number, number);
    next
}

fn is_refused<T: std::fmt::Debug>(answer: &Result<T, StatementsError>) -> bool {
    matches!(answer, Err(StatementsError::Refused(_)))
}

pub async fn a_new_store_has_the_first_index_and_no_other(store: &dyn IndexedStatements) {
    let found = store.indices().await.unwrap();
    assert_eq!((found.live, found.next, found.old), (0, None, BTreeSet::new()));
    assert!(store.next().await.unwrap().is_none());
    assert_eq!(store.drop_old().await.unwrap(), BTreeSet::new());
}

pub async fn the_next_index_is_made_once_and_is_empty(store: &dyn IndexedStatements) {
    put(store, &[document(1)]).await;
    let number = store.create_next(0).await.unwrap();
    assert_eq!(store.create_next(0).await.unwrap(), number);
    assert_ne!(number, 0);
    let found = store.indices().await.unwrap();
    assert_eq!((found.live, found.next, found.old), (0, Some(number), BTreeSet::new()));
    let next = store.next().await.unwrap().expect("it was made");
    assert_eq!(next.number, number);
    assert_eq!(ids(&*next.documents).await, BTreeSet::new());
    assert_eq!(ids(store).await, ids_of(&[document(1)]));
}

pub async fn what_is_put_into_the_next_index_is_found_there_alone(store: &dyn IndexedStatements) {
    put(store, &[document(1)]).await;
    let next = next(store).await;
    put(&*next.documents, &[document(1), document(2)]).await;
    put(store, &[document(3)]).await;
    assert_eq!(ids(store).await, ids_of(&[document(1), document(3)]));
    assert_eq!(ids(&*next.documents).await, ids_of(&[document(1), document(2)]));
    assert_eq!(store.get("academy", document(2).id).await.unwrap(), None);
    let found = next.documents.get("academy", document(2).id).await.unwrap().expect("it is there");
    assert_eq!(found.document, document(2));
    next.documents.ping().await.unwrap();
}

pub async fn an_index_that_is_swapped_in_answers_at_once_and_the_one_before_is_old(store: &dyn IndexedStatements) {
    put(store, &[document(1)]).await;
    let next = next(store).await;
    let changed = StatementDocument { fields: document(9).fields, ..document(1) };
    put(&*next.documents, from_ref(&changed)).await;
    store.swap(next.number).await.unwrap();
    let found = store.indices().await.unwrap();
    assert_eq!((found.live, found.next, found.old), (next.number, None, BTreeSet::from([0])));
    let found = store.get("academy", document(1).id).await.unwrap().expect("it is there");
    assert_eq!(found.document, changed, "as it was put into the next one");
    assert!(store.next().await.unwrap().is_none());
    put(store, &[document(2)]).await;
    assert_eq!(ids(store).await, ids_of(&[document(1), document(2)]));
    let gone = next.documents.store(vec![document(3)]).await;
    assert!(gone.is_err(), "whoever knew it as the next one has to look again: {gone:?}");
    assert_eq!(store.get("academy", document(3).id).await.unwrap(), None);
}

pub async fn a_swap_is_done_once_and_only_of_the_index_that_is_filled(store: &dyn IndexedStatements) {
    put(store, &[document(1)]).await;
    for number in [1, 7] {
        let refused = store.swap(number).await;
        assert!(is_refused(&refused), "{refused:?}");
    }
    store.swap(0).await.unwrap();
    let next = next(store).await;
    put(&*next.documents, &[document(2)]).await;
    let refused = store.swap(next.number + 1).await;
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(ids(store).await, ids_of(&[document(1)]));
    store.swap(next.number).await.unwrap();
    store.swap(next.number).await.unwrap();
    assert_eq!(ids(store).await, ids_of(&[document(2)]));
    let refused = store.swap(0).await;
    assert!(is_refused(&refused), "{refused:?}");
}

pub async fn what_is_voided_in_the_next_index_is_voided_once_it_is_live(store: &dyn IndexedStatements) {
    let voids = |number, target| {
        let mut voiding = document(number);
        voiding.fields.voids = Some(document(target).id);
        voiding
    };
    let (before, after) = (voids(10, 1), voids(11, 2));
    put(store, &[document(1), document(2), before.clone(), after.clone()]).await;
    let next = next(store).await;
    put(&*next.documents, &[before, document(1), document(2)]).await;
    put(&*next.documents, &[after]).await;
    store.swap(next.number).await.unwrap();
    for number in [1, 2] {
        let found = store.get("academy", document(number).id).await.unwrap().expect("it is there");
        assert!(found.voided, "{number}");
    }
}

pub async fn an_index_that_is_abandoned_takes_nothing_and_changes_nothing(store: &dyn IndexedStatements) {
    put(store, &[document(1)]).await;
    let next = next(store).await;
    put(&*next.documents, &[document(2)]).await;
    store.abandon(next.number + 1).await.unwrap();
    assert_eq!(store.indices().await.unwrap().next, Some(next.number), "it was another one");
    store.abandon(next.number).await.unwrap();
    store.abandon(next.number).await.unwrap();
    let found = store.indices().await.unwrap();
    assert_eq!((found.live, found.next, found.old), (0, None, BTreeSet::from([next.number])));
    assert!(store.next().await.unwrap().is_none());
    assert!(next.documents.store(vec![document(3)]).await.is_err());
    let refused = store.swap(next.number).await;
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(ids(store).await, ids_of(&[document(1)]));
    let another = store.create_next(7).await.unwrap();
    assert!(another > 7 && another != next.number, "what is there of the first one is not its own: {another}");
}

pub async fn old_indices_are_dropped_and_nothing_else(store: &dyn IndexedStatements) {
    put(store, &[document(1)]).await;
    let first = next(store).await;
    put(&*first.documents, &[document(1)]).await;
    store.swap(first.number).await.unwrap();
    let second = next(store).await;
    assert_eq!(store.drop_old().await.unwrap(), BTreeSet::from([0]));
    let found = store.indices().await.unwrap();
    assert_eq!((found.live, found.next, found.old), (first.number, Some(second.number), BTreeSet::new()));
    assert_eq!(store.drop_old().await.unwrap(), BTreeSet::new());
    put(store, &[document(2)]).await;
    assert_eq!(ids(store).await, ids_of(&[document(1), document(2)]));
    put(&*second.documents, &[document(2)]).await;
}

pub async fn a_scan_that_was_begun_before_a_swap_goes_on_behind_it(store: &dyn IndexedStatements) {
    let all: Vec<StatementDocument> = (0..300).map(document).collect();
    put(store, &all).await;
    let next = next(store).await;
    put(&*next.documents, &all).await;
    let filter = Filter { include_voided: true, ..Filter::default() };
    let mut found = BTreeSet::new();
    let mut part = store.scan(&filter, None).await.unwrap();
    store.swap(next.number).await.unwrap();
    loop {
        found.extend(part.statements.iter().map(|found| found.document.id));
        match part.next {
            None => break,
            place => part = store.scan(&filter, place).await.unwrap(),
        }
    }
    assert_eq!(found, ids_of(&all));
}

pub async fn indices_are_made_and_swapped_again_and_again(store: &dyn IndexedStatements) {
    put(store, &[document(0)]).await;
    for round in 1..4 {
        let next = next(store).await;
        let all: Vec<StatementDocument> = (0..=round).map(document).collect();
        put(&*next.documents, &all).await;
        store.swap(next.number).await.unwrap();
        assert_eq!(ids(store as &dyn Statements).await, ids_of(&all));
        assert_eq!(store.indices().await.unwrap().live, next.number);
        if round == 2 {
            assert_eq!(store.drop_old().await.unwrap().len(), 2);
        }
    }
}
