//! A second index beside the live one: the contract that its twin passes, and what only engines have: shards, aliases that a person made,
//! and processes that know of each other by nothing else.

use std::sync::Arc;
use std::time::Duration;

use lyceum_around::beside::Beside;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::ports::statements::{Indices, QueryDocuments, Reindex, StatementsError, StoreDocuments, StoreOutcome};
use lyceum_services::Suite;
use lyceum_testing::reindex_contract as contract;
use serde_json::json;

use crate::on_engines;
use crate::place::{ENGINES, Place, all_created, count, numbered, on_engine, voiding};

pub(crate) fn add(suite: &mut Suite) {
    macro_rules! add_check {
        ($check:ident) => {
            let name = stringify!($check);
            for (engine, service) in ENGINES {
                suite.test(format!("reindex::{engine}::{name}"), &[service], move |endpoints| {
                    on_engine(endpoints.url(service), async |place| contract::$check(&place.prepared().await).await);
                });
            }
        };
    }
    lyceum_testing::reindex_contract!(each add_check);
    on_engines(suite, "reindex::the_next_index_has_the_shards_that_are_set_now", other_shards);
    on_engines(suite, "reindex::several_make_the_next_index_at_once_and_make_one", made_at_once);
    on_engines(suite, "reindex::an_index_that_a_person_made_is_taken_the_place_of_and_kept", of_a_person);
    on_engines(suite, "reindex::processes_store_in_both_and_a_swap_loses_nothing", stored_in_both);
}

async fn other_shards(place: &Place) {
    let store = place.prepared().await;
    assert!(all_created(&store.store(vec![numbered(1)]).await.unwrap()));
    let wide = place.client(|settings| settings.shards = 3);
    let number = wide.create_next(0).await.unwrap();
    wide.next().await.unwrap().unwrap().documents.store(vec![numbered(1)]).await.unwrap();
    wide.swap(number).await.unwrap();
    let index = &place.settings.index;
    let (_, found) = place.engine("GET", &format!("/{index}/_settings"), None).await;
    assert_eq!(found[format!("{index}-v1-{number}")]["settings"]["index"]["number_of_shards"], "3", "{found}");
    // Whoever knew nothing of it goes on, and prepares nothing anew.
    store.prepare().await.unwrap();
    assert!(all_created(&store.store(vec![numbered(2)]).await.unwrap()));
    assert_eq!(count(&wide).await, 2);
}

async fn made_at_once(place: &Place) {
    place.prepared().await;
    let making = (0..6).map(|_| async { place.client(|_| {}).create_next(0).await });
    let made: Vec<_> = futures::future::join_all(making).await;
    // One that came in between may have to look again.
    let made: Vec<u32> = made.into_iter().filter_map(Result::ok).collect();
    assert!(!made.is_empty() && made.iter().all(|number| *number == 1), "{made:?}");
}

async fn of_a_person(place: &Place) {
    let index = &place.settings.index;
    let store = place.prepared().await;
    assert!(all_created(&store.store(vec![numbered(1)]).await.unwrap()));
    // As docs/operations.md has it for an engine that reindexes by itself.
    place.tell("PUT", &format!("/{index}-v1-wide"), json!({})).await;
    let actions = json!({"actions": [
        {"remove": {"index": format!("{index}-v1"), "alias": index}},
        {"add": {"index": format!("{index}-v1-wide"), "alias": index, "is_write_index": true}},
    ]});
    place.tell("POST", "/_aliases", actions).await;
    let number = store.create_next(0).await.unwrap();
    assert_eq!(number, 1);
    store.swap(number).await.unwrap();
    let Indices { live, next, old, .. } = store.indices().await.unwrap();
    assert_eq!((live, next, old.contains(&0)), (1, None, true));
    store.drop_old().await.unwrap();
    assert_eq!(place.engine("GET", &format!("/{index}-v1-wide"), None).await.0, 200, "what a person named stays");
    assert_eq!(place.engine("GET", &format!("/{index}-v1"), None).await.0, 404);
}

async fn stored_in_both(place: &Place) {
    let process = async || Beside::of(Arc::new(place.prepared().await), Arc::new(SystemClock));
    let (one, other) = (process().await, process().await);
    assert!(all_created(&one.store((0..20).map(numbered).collect()).await.unwrap()));
    assert!(all_created(&other.store((20..40).map(numbered).collect()).await.unwrap()));
    let builder = place.prepared().await;
    let number = builder.create_next(0).await.unwrap();
    let settled_after = builder.indices().await.unwrap().settled_after;
    assert!(settled_after > Duration::from_secs(10));
    tokio::time::sleep(settled_after).await;
    // Each knows by now, by itself.
    assert!(all_created(&one.store(vec![numbered(50), voiding(51, 3)]).await.unwrap()));
    assert!(all_created(&other.store(vec![numbered(60)]).await.unwrap()));
    let again = lyceum_core::ports::statements::StatementDocument {
        source: lyceum_core::record::Position::new("nlj.xapi.statements", 9, 9),
        ..numbered(7)
    };
    let first = numbered(7).source;
    assert_eq!(other.store(vec![again]).await.unwrap(), [StoreOutcome::Duplicate { first }]);
    let next = builder.next().await.unwrap().unwrap();
    assert_eq!(count(&*next.documents).await, 4, "what came since, and what somebody asked after");
    assert_eq!(next.documents.get("academy", numbered(7).id).await.unwrap().unwrap().document, numbered(7));
    assert!(all_created(&next.documents.store((0..40).map(numbered).collect()).await.unwrap()));
    builder.swap(number).await.unwrap();
    // They still go by what they knew, for seconds: undecided, and then as ever.
    for (who, document) in [(&one, numbered(70)), (&other, numbered(71))] {
        let mut outcomes = who.store(vec![document.clone()]).await.unwrap();
        if let [StoreOutcome::Unavailable { reason }] = &outcomes[..] {
            assert!(reason.contains("by now") || reason.contains("that was looked at"), "{reason}");
            outcomes = who.store(vec![document]).await.unwrap();
        }
        assert!(all_created(&outcomes), "{outcomes:?}");
    }
    assert_eq!(builder.drop_old().await.unwrap(), [0].into());
    assert_eq!(count(&one).await, 45);
    assert!(one.get("academy", numbered(3).id).await.unwrap().unwrap().voided);
    // An index that goes away while it is filled: nothing is answered for, and nothing lost.
    let number = builder.create_next(0).await.unwrap();
    tokio::time::sleep(settled_after).await;
    let path = format!("/{}-v1-{number}", place.settings.index);
    place.engine("DELETE", &path, None).await;
    let outcomes = one.store(vec![numbered(80)]).await;
    let is_undecided = |outcomes: &[StoreOutcome]| matches!(outcomes, [StoreOutcome::Unavailable { .. }]);
    match &outcomes {
        Ok(outcomes) => assert!(is_undecided(outcomes) || all_created(outcomes), "{outcomes:?}"),
        Err(error) => assert!(matches!(error, StatementsError::Unavailable(_)), "{error}"),
    }
    assert!(all_created(&one.store(vec![numbered(80)]).await.unwrap()));
    assert_eq!(count(&one).await, 46);
}
