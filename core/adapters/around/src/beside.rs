//! A statement store of which a second index is filled beside the live one: whatever is stored meanwhile is stored in both.
//!
//! # Storing
//!
//! The live index decides. What it says is new goes to the next one, too; of what it has already, its own document does, since whoever
//! stored that may have died in between, with the fields that this release makes of the same event. A batch is answered for once both have it. Where the next index has another document under
//! that id already, as it may right behind a swap, what it says counts: so an id is created once, whatever index two writers take for the
//! live one.
//!
//! # Knowing of the next index
//!
//! A process asks at most every [`TTL`] whether one is filled. A batch that was begun by what was read longer than [`VALID`] ago is
//! answered for only where it is so still. So, once [`SETTLED_AFTER`](lyceum_core::ports::statements::reindex::SETTLED_AFTER) has passed since an index was made, nobody answers for anything that
//! is in the live one alone, and whoever reads the live one then finds what was answered for before. Within the process itself nothing is
//! stored while an index is made or swapped.
//!
//! # What fails
//!
//! Where the next index does not take a batch, the batch is undecided and delivered again. A document that it will never take, although
//! the live one took it, ends the filling: what is built must not keep anybody from storing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::RwLock;
use uuid::Uuid;

use lyceum_core::clock::Clock;
use lyceum_core::ports::statements::{
    Current, Filter, Indices, Next, Page, QueryDocuments, Reindex, ScanPart, ScanPlace, StatementDocument,
    StatementFields, Statements, StatementsError, StoreDocuments, StoreOutcome, StoredStatement, complete,
};

/// So long a process goes by what it read of the indices.
pub const TTL: Duration = Duration::from_secs(3);

/// A batch is answered for without another look where what it goes by was read within so long.
pub const VALID: Duration = Duration::from_secs(6);

/// So many documents of the live index are asked for at once.
const ASKED_AT_ONCE: usize = 16;
const SWAPPED: &str = "another index of its documents is live, or filled, by now; it is stored again";

/// A statement store that stores in both indices while one is filled.
pub struct Beside<S> {
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    looks: bool,
    seen: Mutex<Option<Seen>>,
    /// Taken whole by whoever makes or swaps an index in this process.
    storing: RwLock<()>,
}

/// What was read of the indices.
#[derive(Clone)]
struct Seen {
    /// When it was asked for, milliseconds since 1970 UTC.
    asked_ms: i64,
    current: Current,
}

impl Seen {
    fn is_within(&self, age: Duration, now_ms: i64) -> bool {
        // Where the clock was set back, nothing that was read before counts.
        u64::try_from(now_ms - self.asked_ms).is_ok_and(|passed_ms| u128::from(passed_ms) < age.as_millis())
    }
}

impl<S: Statements + Reindex> Beside<S> {
    /// Around a store whose documents may be built anew.
    pub fn of(store: Arc<S>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, looks: true, seen: Mutex::default(), storing: RwLock::default() }
    }

    /// Around a store whose documents never are: nobody asks whether an index is filled.
    pub fn never(store: Arc<S>, clock: Arc<dyn Clock>) -> Self {
        Self { looks: false, ..Self::of(store, clock) }
    }

    async fn seen(&self) -> Result<Seen, StatementsError> {
        let seen = self.seen.lock().clone();
        match seen.filter(|seen| seen.is_within(TTL, self.clock.now_ms())) {
            Some(seen) => Ok(seen),
            None => self.look().await,
        }
    }

    async fn look(&self) -> Result<Seen, StatementsError> {
        // As old as the question, not as the answer.
        let asked_ms = self.clock.now_ms();
        let current = match self.looks {
            true => self.store.current().await?,
            false => Current { live: 0, next: None },
        };
        let seen = Seen { asked_ms, current };
        *self.seen.lock() = Some(seen.clone());
        Ok(seen)
    }

    /// Has the next batch look again where one was not taken: perhaps since another index is live by now.
    fn doubt(&self, outcomes: &[StoreOutcome]) {
        if outcomes.iter().any(|outcome| matches!(outcome, StoreOutcome::Unavailable { .. })) {
            *self.seen.lock() = None;
        }
    }

    /// Why a batch is not answered for that was stored by what was `seen`: `None` where it is.
    async fn has_changed(&self, seen: &Seen) -> Option<String> {
        if !self.looks || seen.is_within(VALID, self.clock.now_ms()) {
            return None;
        }
        match self.look().await {
            Ok(now) if now.current.is_as(&seen.current) => None,
            Ok(_) => {
                Some("its documents are being built anew since this batch was begun; it is stored again".to_owned())
            }
            Err(error) => Some(format!("whether its documents are being built anew is not known: {error}")),
        }
    }

    /// Stores in the next index what the live one has of a batch; what counts of each document then.
    async fn store_in(
        &self,
        next: &Next,
        documents: Vec<StatementDocument>,
        mut outcomes: Vec<StoreOutcome>,
    ) -> Result<Vec<StoreOutcome>, NotTaken> {
        let of_live: Vec<_> =
            documents.into_iter().zip(&outcomes).map(|(document, outcome)| self.of_live(document, outcome)).collect();
        let of_live: Vec<Option<StatementDocument>> =
            futures::stream::iter(of_live).buffered(ASKED_AT_ONCE).try_collect().await?;
        let (places, documents): (Vec<usize>, Vec<StatementDocument>) =
            of_live.into_iter().enumerate().filter_map(|(place, document)| Some((place, document?))).unzip();
        if documents.is_empty() {
            return Ok(outcomes);
        }
        let answered = complete(places.len(), next.documents.store(documents).await?)?;
        for (place, in_next) in places.into_iter().zip(answered) {
            match in_next {
                StoreOutcome::Unavailable { reason } => {
                    outcomes[place] = StoreOutcome::Unavailable { reason: not_taken(next.number, &reason) };
                }
                StoreOutcome::Refused { reason } => return Err(NotTaken::Ever(reason)),
                StoreOutcome::Created => {}
                // Of what is there already, whatever its record, the live one has said what it is.
                _ if !matches!(outcomes[place], StoreOutcome::Created) => {}
                _ => outcomes[place] = in_next,
            }
        }
        Ok(outcomes)
    }

    /// What the live index has of a document that it answered for so.
    async fn of_live(
        &self,
        document: StatementDocument,
        outcome: &StoreOutcome,
    ) -> Result<Option<StatementDocument>, StatementsError> {
        let is_same = match outcome {
            StoreOutcome::Created => return Ok(Some(document)),
            StoreOutcome::Refused { .. } | StoreOutcome::Unavailable { .. } => return Ok(None),
            StoreOutcome::Duplicate { .. } => true,
            StoreOutcome::Conflict { .. } => false,
        };
        let found = self.store.get(&document.tenant, document.id).await?;
        let Some(StoredStatement { document: first, .. }) = found else {
            return Err(StatementsError::Unavailable(format!("the document {} is gone", document.id)));
        };
        if !is_same || first.fields.family != document.fields.family {
            return Ok(Some(first));
        }
        // The fields are those that this release makes of the same event, but for its time, which may be that of the first record.
        let timestamp_ms = first.fields.timestamp_ms;
        let fields = StatementFields { timestamp_ms, day: first.fields.day.clone(), ..document.fields };
        Ok(Some(StatementDocument { fields, ..first }))
    }

    /// Has nobody fill an index any more that will never take a document; the reason why the batch is undecided all the same, where it is.
    async fn give_up(&self, seen: &Seen, number: u32, why: &str) -> Option<String> {
        tracing::error!(
            index = number,
            why,
            "documents are built anew no longer: the index that was filled will never take one that the live one took"
        );
        if let Err(error) = self.store.abandon(number).await {
            // By a right that it lacks, say: who may do more has to.
            return Some(not_taken(number, &format!("{why}; and this process cannot have it given up: {error}")));
        }
        match self.look().await {
            // Somebody may have swapped it in meanwhile, without that document.
            Ok(Seen { current, .. })
                if current.live != seen.current.live
                    || current.next.as_ref().is_some_and(|next| next.number == number) =>
            {
                Some(SWAPPED.to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(format!("whether its documents are being built anew is not known: {error}")),
        }
    }
}

/// Why the next index does not have a batch.
enum NotTaken {
    /// It will never take one of its documents, and why.
    Ever(String),
    /// A call failed, which may succeed later.
    Now(StatementsError),
}

impl From<StatementsError> for NotTaken {
    fn from(error: StatementsError) -> Self {
        Self::Now(error)
    }
}

fn not_taken(number: u32, why: &str) -> String {
    format!(
        "index {number} of its documents, which is being filled, did not take them: {why}; `lyceum rebuild documents --cancel` has nobody \
         fill it any more"
    )
}

#[async_trait]
impl<S: Statements + Reindex> StoreDocuments for Beside<S> {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        let _storing = self.storing.read().await;
        let seen = self.seen().await?;
        let Some(next) = &seen.current.next else {
            let given = documents.len();
            let outcomes = self.store.store(documents).await?;
            self.doubt(&outcomes);
            return Ok(match self.has_changed(&seen).await {
                None => outcomes,
                Some(reason) => vec![StoreOutcome::Unavailable { reason }; given],
            });
        };
        let given = documents.len();
        let outcomes = self.store.store(documents.clone()).await?;
        self.doubt(&outcomes);
        if outcomes.len() != given {
            // Which one is missing is not known.
            return Ok(outcomes);
        }
        let reason = match self.store_in(next, documents, outcomes.clone()).await {
            Ok(outcomes) => match self.has_changed(&seen).await {
                None => return Ok(outcomes),
                Some(reason) => reason,
            },
            Err(error) => match (self.look().await, error) {
                (Err(error), _) => format!("whether its documents are being built anew is not known: {error}"),
                (Ok(now), _) if !now.current.is_as(&seen.current) => SWAPPED.to_owned(),
                (Ok(_), NotTaken::Now(error)) => not_taken(next.number, &error.to_string()),
                (Ok(_), NotTaken::Ever(why)) => match self.give_up(&seen, next.number, &why).await {
                    None => return Ok(outcomes),
                    Some(reason) => reason,
                },
            },
        };
        Ok(vec![StoreOutcome::Unavailable { reason }; given])
    }
}

#[async_trait]
impl<S: Statements + Reindex> QueryDocuments for Beside<S> {
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        self.store.get(tenant, id).await
    }

    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        self.store.search(filter, limit, after).await
    }

    async fn scan(&self, filter: &Filter, place: Option<ScanPlace>) -> Result<ScanPart, StatementsError> {
        self.store.scan(filter, place).await
    }

    async fn aggregate(&self, filter: &Filter, aggregations: &Value) -> Result<Value, StatementsError> {
        self.store.aggregate(filter, aggregations).await
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        self.store.ping().await
    }
}

#[async_trait]
impl<S: Statements + Reindex> Reindex for Beside<S> {
    async fn indices(&self) -> Result<Indices, StatementsError> {
        self.store.indices().await
    }

    async fn current(&self) -> Result<Current, StatementsError> {
        self.store.current().await
    }

    async fn create_next(&self, above: u32) -> Result<u32, StatementsError> {
        let _alone = self.storing.write().await;
        *self.seen.lock() = None;
        self.store.create_next(above).await
    }

    async fn swap(&self, number: u32) -> Result<(), StatementsError> {
        let _alone = self.storing.write().await;
        *self.seen.lock() = None;
        self.store.swap(number).await
    }

    async fn abandon(&self, number: u32) -> Result<(), StatementsError> {
        let _alone = self.storing.write().await;
        *self.seen.lock() = None;
        self.store.abandon(number).await
    }

    async fn drop_old(&self) -> Result<BTreeSet<u32>, StatementsError> {
        self.store.drop_old().await
    }
}
