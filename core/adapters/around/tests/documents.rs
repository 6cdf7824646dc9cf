//! Whoever fills the second index: documents of every time, other releases, builds that nobody goes on with, and what one index lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use lyceum_around::beside::Beside;
use lyceum_core::clock::Clock;
use lyceum_core::generations::building::{self, BuildError, Stage, Wanted};
use lyceum_core::generations::documents::{CHANGED, DocumentsBuilder, KEPT, NAME, SAME};
use lyceum_core::generations::marker::Generations;
use lyceum_core::ports::statements::{QueryDocuments, Reindex, StatementDocument, StoreDocuments};
use lyceum_testing::analytics::{numbered, same_json};
use lyceum_testing::clock::ManualClock;
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use uuid::Uuid;

const NOW_MS: i64 = 1_700_000_000_000;
const SWAPS: Wanted = Wanted { swaps: true, lacking: false };
const STAYS: Wanted = Wanted { swaps: false, lacking: false };

/// A store, and whoever builds on it.
struct Place {
    clock: Arc<ManualClock>,
    store: MemoryStatements,
    generations: Arc<Generations>,
}

impl Place {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let ledger = Arc::new(MemoryLedger::default());
        let generations = Arc::new(Generations::new(ledger, clock.clone()));
        Self { clock, store: MemoryStatements::new(same_json), generations }
    }

    fn builder(&self, maker: &str) -> DocumentsBuilder {
        let store = Arc::new(self.store.again());
        DocumentsBuilder {
            statements: Arc::new(Beside::of(store, self.clock.clone())),
            log: Arc::new(MemoryEventLog::new(|| NOW_MS)),
            generations: self.generations.clone(),
            functions: Arc::default(),
            maker: maker.to_owned(),
            holder: Uuid::from_u128(1),
        }
    }

    async fn put(&self, documents: impl IntoIterator<Item = StatementDocument>) {
        self.store.store(documents.into_iter().collect()).await.unwrap();
    }

    async fn stage(&self) -> Option<Stage> {
        building::read(&**self.generations.ledger(), NAME).await.unwrap().map(|build| build.stage)
    }
}

fn at(number: u64, timestamp_ms: i64) -> StatementDocument {
    let mut document = numbered("academy", number);
    document.fields.timestamp_ms = timestamp_ms;
    document
}

#[tokio::test]
async fn documents_of_any_time_are_all_put_into_the_index() {
    let place = Place::new();
    // Senders write nanoseconds, too, and the end of time.
    let times = [i64::MIN + 1, -1, 0, 1, NOW_MS, NOW_MS * 1_000_000 + 129, i64::MAX - 1, i64::MAX];
    place.put((0..).zip(times).map(|(number, time)| at(number, time))).await;
    // More of one moment than are read together.
    place.put((100..900).map(|number| at(number, NOW_MS + 5))).await;
    let builder = place.builder("one");
    builder.begin(SWAPS).await.unwrap();
    let build = builder.work(i64::MAX).await.unwrap();
    assert_eq!((build.stage, build.done()), (Stage::Swapped, 808));
    assert_eq!(build.outcomes, BTreeMap::from([(KEPT.to_owned(), 808)]), "no family made them: {CHANGED}, {SAME}");
    assert_eq!(place.store.documents().len(), 808);
    assert_eq!(place.store.indices().await.unwrap().live, 1);
    for number in 0..8 {
        assert!(place.store.get("academy", at(number, 0).id).await.unwrap().is_some(), "{number}");
    }
}

#[tokio::test]
async fn a_build_is_gone_on_with_by_the_release_that_began_it_and_begun_anew_by_another() {
    let place = Place::new();
    place.put([at(1, NOW_MS)]).await;
    let (one, other) = (place.builder("one"), place.builder("other"));
    one.begin(STAYS).await.unwrap();
    assert_eq!(one.work(i64::MAX).await.unwrap().stage, Stage::Ready);
    let again = one.begin(STAYS).await.unwrap();
    assert_eq!((again.generation, one.is_mine(&again), other.is_mine(&again)), (1, true, false));
    let build = other.begin(SWAPS).await.unwrap();
    assert_eq!(build.generation, 2, "what another release made is not swapped in");
    assert_eq!(other.work(i64::MAX).await.unwrap().stage, Stage::Swapped);
    assert_eq!(place.store.indices().await.unwrap().live, 2);
}

#[tokio::test]
async fn an_index_that_no_build_knows_is_cancelled_all_the_same() {
    let place = Place::new();
    place.put([at(1, NOW_MS)]).await;
    let builder = place.builder("one");
    let refused = builder.cancel().await;
    assert!(matches!(&refused, Err(BuildError::Refused(why)) if why.contains("no rebuild")), "{refused:?}");
    // Whoever made it died before that was written, or wrote it in another ledger.
    place.store.create_next(0).await.unwrap();
    builder.cancel().await.unwrap();
    assert_eq!(place.store.indices().await.unwrap().next, None);
    // And where a build is cancelled and the one who did so died before the index was taken away.
    let number = builder.begin(SWAPS).await.unwrap().generation;
    assert!(number > 1, "a number is never given again");
    building::cancel(&**place.generations.ledger(), NAME, place.clock.now_ms()).await.unwrap();
    assert_eq!(place.store.indices().await.unwrap().next, Some(number));
    builder.tidy().await.unwrap();
    place.store.create_next(9).await.unwrap();
    builder.tidy().await.unwrap();
    builder.tidy().await.unwrap();
    assert_eq!(place.store.indices().await.unwrap().next, None);
    assert_eq!(place.stage().await, Some(Stage::Cancelled));
}

#[tokio::test]
async fn a_builder_that_dies_anywhere_is_gone_on_for() {
    let place = Place::new();
    place.put((0..50).map(|number| at(number, NOW_MS + number as i64 * 86_400_000))).await;
    // Out of time in the middle, as whoever has a deadline.
    let first = place.builder("one");
    first.begin(SWAPS).await.unwrap();
    let build = first.work(place.clock.now_ms()).await.unwrap();
    assert_eq!(build.stage, Stage::Building);
    // Behind the swap and before that is written.
    let second = place.builder("one");
    let number = second.begin(SWAPS).await.unwrap().generation;
    let next = place.store.next().await.unwrap().unwrap();
    next.documents.store((0..50).map(|number| at(number, 0)).collect()).await.unwrap();
    place.store.swap(number).await.unwrap();
    assert_eq!(second.work(i64::MAX).await.unwrap().stage, Stage::Swapped);
    assert_eq!(second.begin(SWAPS).await.unwrap().generation, number + 1, "that one has ended");
}

#[tokio::test]
async fn an_index_that_lacks_what_came_behind_the_builder_is_filled_once_more_and_then_not_swapped_in() {
    let place = Place::new();
    place.put([at(1, NOW_MS)]).await;
    let builder = place.builder("one");
    builder.begin(STAYS).await.unwrap();
    builder.work(i64::MAX).await.unwrap();
    // A consumer died between the two indices: its document is of a time that is done.
    place.put([at(2, NOW_MS - 1)]).await;
    builder.begin(SWAPS).await.unwrap();
    let build = builder.work(i64::MAX).await.unwrap();
    assert_eq!((build.stage, build.done()), (Stage::Swapped, 2));
    assert_eq!(place.store.documents().len(), 2);
}

#[tokio::test]
async fn an_index_that_somebody_took_away_fails_the_build_and_says_why() {
    let place = Place::new();
    place.put([at(1, NOW_MS)]).await;
    let builder = place.builder("one");
    let number = builder.begin(SWAPS).await.unwrap().generation;
    place.store.abandon(number).await.unwrap();
    let failed = builder.work(i64::MAX).await;
    assert!(matches!(&failed, Err(BuildError::Refused(why)) if why.contains("not filled any more")), "{failed:?}");
    assert_eq!(place.stage().await, Some(Stage::Failed));
    assert_eq!(place.store.indices().await.unwrap().live, 0);
}

#[tokio::test]
async fn two_indices_are_compared_document_by_document() {
    let place = Place::new();
    place.put((0..20).map(|number| at(number, NOW_MS))).await;
    let builder = place.builder("one");
    let refused = builder.compare().await;
    assert!(matches!(&refused, Err(BuildError::Refused(why)) if why.contains("--no-swap")), "{refused:?}");
    builder.begin(STAYS).await.unwrap();
    builder.work(i64::MAX).await.unwrap();
    let (generations, compared) = builder.compare().await.unwrap();
    assert_eq!((generations, compared.same, compared.differing), ([0, 1], 20, 0));
    let next = place.store.next().await.unwrap().unwrap();
    next.documents.store(vec![at(30, NOW_MS)]).await.unwrap();
    place.put([at(31, NOW_MS), at(32, NOW_MS)]).await;
    let mut other = at(32, NOW_MS);
    other.fields.verb = "http://example.org/other".into();
    next.documents.store(vec![other]).await.unwrap();
    let (_, compared) = builder.compare().await.unwrap();
    assert_eq!((compared.same, compared.differing), (20, 2));
    let named: Vec<(&str, &str)> =
        compared.differences.iter().map(|of| (of.pointer.as_str(), of.id.as_str())).collect();
    let (missing, differing) = (at(31, 0).id.to_string(), at(32, 0).id.to_string());
    assert!(named.contains(&("", &missing)) && named.contains(&("/fields/verb", &differing)), "{named:?}");
}
