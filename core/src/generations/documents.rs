//! The documents of a statement store made anew: an index is filled beside the live one and swapped in.
//!
//! Documents are kept for ever and the log is not, so that they are read from the live index and not from the log: each has the bytes of
//! its event, of which alone its fields are made. Whoever stores meanwhile stores in both indices (`lyceum_around::beside`), so that
//! nobody is held, neither while the index is filled nor when it is swapped in. Where the bytes alone do not do, since headers named the
//! schema that they were written by, the record is asked for, as long as the log has it. What this release cannot read of a document, or
//! would take for another event, keeps the fields that it has.
//!
//! Time by time, the oldest first: how far it has come is the time before which all are in, so that anybody goes on where a process died.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::building::{
    self, Before, Build, BuildError, CHECKPOINT_MS, Keeper, LEASE_MS, Open, Place, Places, Stage, Wanted, read_version,
};
use super::comparing::{Comparison, Difference, NAMED, difference};
use super::marker::Generations;
use crate::envelope::{EVENT_ID_HEADER, EVENT_TYPE_HEADER, TENANT_HEADER};
use crate::ports::event_log::{EventLogError, Follow};
use crate::ports::ledger::Ledger;
use crate::ports::statements::form::About;
use crate::ports::statements::{
    Filter, IndexedStatements, Indices, Next, StatementDocument, StatementFields, Statements, StatementsError,
    StoreOutcome, StoredStatement, complete,
};
use crate::process::{Held, Subscriber};
use crate::record::{Header, Position, Record};

/// What documents are called where subscriptions are named; no subscription has that name.
pub const NAME: &str = "documents";

/// Among the outcomes of a build: documents whose fields this release makes otherwise.
pub const CHANGED: &str = "changed";
/// Those whose fields it makes as they are.
pub const SAME: &str = "same";
/// Those of which it makes no document, or another event's, so that their fields stay.
pub const KEPT: &str = "kept";

/// So many documents of a time are read together, where there are more moments than one in it.
const MOST: u64 = 50_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// So many are asked for at once.
const ASKED_AT_ONCE: usize = 16;
/// How long the reading of a part may take, milliseconds.
const READ_MS: i64 = 60_000;
/// How long it is waited before what differs is looked at again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(750);
/// So long it is waited until the index has as many documents as the live one had, beside the time in which those are shown.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);

/// So many records are fetched together, and so many bytes.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Which partitions were read, and up to where.
type Read = BTreeMap<(String, i32), i64>;

/// Makes the documents of a store anew.
pub struct DocumentsBuilder {
    /// The store.
    pub statements: Arc<dyn IndexedStatements>,
    /// Where records are looked for of which a document does not hold all that it was read by.
    pub log: Arc<dyn Follow>,
    /// Whose ledger the build is kept in.
    pub generations: Arc<Generations>,
    /// The functions of the families, by name: each makes the documents that bear its own.
    pub functions: Arc<BTreeMap<&'static str, Arc<dyn Subscriber>>>,
    /// Which release makes the fields, with which settings: nobody else goes on with what it has begun.
    pub maker: String,
    /// Who works: another one in each process.
    pub holder: Uuid,
}

impl From<StatementsError> for BuildError {
    fn from(error: StatementsError) -> Self {
        match error {
            StatementsError::Refused(_) => Self::Refused(error.to_string()),
            // What a person mends, it goes on with then.
            StatementsError::Unavailable(_) | StatementsError::Unauthorized(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl DocumentsBuilder {
    fn ledger(&self) -> &dyn Ledger {
        &**self.generations.ledger()
    }

    fn now_ms(&self) -> i64 {
        self.generations.clock().now_ms()
    }

    fn keeper(&self) -> Keeper<'_> {
        Keeper { generations: &self.generations, name: NAME, holder: self.holder }
    }

    /// How many documents would be read now. Nothing is written.
    ///
    /// # Errors
    /// The store's.
    pub async fn plan(&self) -> Result<Places, BuildError> {
        let count = self.statements.aggregate(&from(None), &json!({})).await?;
        let end = count["hits"].as_i64().unwrap_or(0);
        Ok(BTreeMap::from([(NAME.to_owned(), BTreeMap::from([(0, Place { from: 0, next: 0, end })]))]))
    }

    /// Begins to fill an index, or finds the one that is filled and was begun by this release.
    ///
    /// # Errors
    /// The stores'; `Elsewhere` where another process works at it.
    pub async fn begin(&self, wanted: Wanted) -> Result<Build, BuildError> {
        self.keeper().claim().await?;
        let places = self.plan().await?;
        let read = read_version(self.ledger(), NAME).await?;
        let Indices { live, next, .. } = self.statements.indices().await?;
        if let Some((mut build, version)) = read.clone().filter(|(build, _)| build.stage.is_open()) {
            if build.generation == live {
                // It died behind the swap and before that was written.
                (build.stage, build.failed) = (Stage::Swapped, None);
            }
            if build.generation == live || (Some(build.generation) == next && self.is_mine(&build)) {
                // Asked for once more: as it is wanted now.
                (build.swaps, build.failed) = (wanted.swaps, None);
                building::write(self.ledger(), &build, Some(version)).await?;
                return Ok(build);
            }
        }
        if let Some(left) = next {
            // By another release, or of other settings, so that its fields are not those of this one.
            self.statements.abandon(left).await?;
        }
        // A number that was given is never given again.
        let last = read.as_ref().map_or(0, |(build, _)| build.generation);
        let number = self.statements.create_next(last).await?;
        // From here on whoever stores begins to store in both: not before the index is there.
        let mut build = self.keeper().new_build(number, places, wanted.swaps);
        build.maker = Some(self.maker.clone());
        building::write(self.ledger(), &build, read.map(|(_, version)| version)).await?;
        Ok(build)
    }

    /// Whether a build was begun by this very release with these settings: another one makes other fields.
    pub fn is_mine(&self, build: &Build) -> bool {
        build.maker.as_deref() == Some(&*self.maker)
    }

    /// Has nobody go on, and nobody fill an index, whoever began that.
    ///
    /// # Errors
    /// `Refused` where none is filled; the stores'.
    pub async fn cancel(&self) -> Result<(), BuildError> {
        let cancelled = building::cancel(self.ledger(), NAME, self.now_ms()).await;
        match (self.statements.indices().await?.next, cancelled) {
            (Some(number), _) => Ok(self.statements.abandon(number).await?),
            (None, cancelled) => cancelled.map(drop),
        }
    }

    /// Has nobody fill an index at which nobody works any more: of a build that ended, or of none, since whoever ended or began it died.
    ///
    /// # Errors
    /// The stores'; `Elsewhere` where another process works at it.
    pub async fn tidy(&self) -> Result<(), BuildError> {
        if self.statements.next().await?.is_none() {
            return Ok(());
        }
        // Nobody begins another one meanwhile.
        self.keeper().claim().await?;
        let open = read(self.ledger()).await?.filter(|build| build.stage.is_open());
        let next = self.statements.next().await?;
        if let Some(left) = next.filter(|next| open.is_none_or(|build| build.generation != next.number)) {
            self.statements.abandon(left.number).await?;
        }
        self.keeper().give_back().await
    }

    /// Goes on with the build that is under way, as [`Builder::work`](building::Builder::work).
    ///
    /// # Errors
    /// Its.
    pub async fn work(&self, deadline_ms: i64) -> Result<Build, BuildError> {
        let mut open = self.keeper().take_up().await?;
        if !open.build.stage.is_open() {
            return Ok(open.build);
        }
        open.build.failed = None;
        let generation = open.build.generation;
        let worked = self.work_at(&mut open, deadline_ms).await;
        if matches!(worked, Err(BuildError::Refused(_)))
            && let Err(error) = self.statements.abandon(generation).await
        {
            // It can never be whole, and nobody need store in it: who looks next takes it away.
            tracing::warn!(%error, generation, "whoever stores does so still in the index that came to nothing");
        }
        self.keeper().end(open, worked).await
    }

    /// See [`Builder::give_back`](building::Builder::give_back).
    ///
    /// # Errors
    /// The ledger's.
    pub async fn give_back(&self) -> Result<(), BuildError> {
        self.keeper().give_back().await
    }

    async fn work_at(&self, open: &mut Open, deadline_ms: i64) -> Result<(), BuildError> {
        let keeper = self.keeper();
        let indices = self.statements.indices().await?;
        if indices.live == open.build.generation {
            // It died behind the swap and before this was written.
            open.build.stage = Stage::Swapped;
            return keeper.checkpoint(open).await;
        }
        let Some(next) = self.statements.next().await?.filter(|next| next.number == open.build.generation) else {
            return Err(BuildError::Refused(format!(
                "index {} is not filled any more: somebody took it away, or it would never take a document that the live one took, and \
                 the log of whoever stored that says why",
                open.build.generation
            )));
        };
        open.build.stage = Stage::Building;
        if open.build.documents_from_ms.is_none() {
            let settled_ms = open.build.started_ms.saturating_add(building::ms(indices.settled_after));
            while self.now_ms() < settled_ms {
                if self.now_ms() >= deadline_ms {
                    return keeper.checkpoint(open).await;
                }
                self.wait(open).await?;
            }
            open.build.documents_from_ms = Some(i64::MIN);
            keeper.checkpoint(open).await?;
        }
        loop {
            if !self.fill_all(open, &next, deadline_ms).await? {
                return keeper.checkpoint(open).await;
            }
            open.build.before = Some(Before { generation: indices.live, committed: BTreeMap::new() });
            if !open.build.swaps {
                open.build.stage = Stage::Ready;
                return keeper.checkpoint(open).await;
            }
            // Also that nobody cancelled it, or took it over.
            keeper.checkpoint(open).await?;
            let Some(lacks) = self.lacks(open, &next, indices.settled_after).await? else { break };
            if open.build.is_second_pass {
                return Err(BuildError::Refused(lacks));
            }
            // Of a consumer that died between the two indices and is not back yet: once more, from the first.
            tracing::warn!(lacks, "all documents are gone through once more");
            (open.build.is_second_pass, open.build.documents_from_ms) = (true, Some(i64::MIN));
            open.build.outcomes.clear();
            if let Some(place) = open.build.places.get_mut(NAME).and_then(|of| of.get_mut(&0)) {
                place.next = 0;
            }
        }
        self.statements.swap(open.build.generation).await?;
        open.build.stage = Stage::Swapped;
        keeper.checkpoint(open).await
    }

    /// Waits a moment, and keeps the lease.
    async fn wait(&self, open: &mut Open) -> Result<(), BuildError> {
        self.generations.clock().sleep(BETWEEN_LOOKS).await;
        match self.now_ms() - open.written_ms >= LEASE_MS / 4 {
            true => self.keeper().checkpoint(open).await,
            false => Ok(()),
        }
    }

    /// Puts all documents into the index; `false` where the time is over before.
    async fn fill_all(&self, open: &mut Open, next: &Next, deadline_ms: i64) -> Result<bool, BuildError> {
        while let Some((from_ms, until_ms)) = self.next_time(open.build.documents_from_ms).await? {
            if self.now_ms() >= deadline_ms {
                return Ok(false);
            }
            self.fill(open, next, from_ms, until_ms).await?;
            open.build.documents_from_ms = Some(until_ms.unwrap_or(i64::MAX));
            if self.now_ms() - open.written_ms >= CHECKPOINT_MS {
                self.keeper().checkpoint(open).await?;
            }
            if until_ms.is_none() {
                break;
            }
        }
        Ok(true)
    }

    /// Says what the index lacks of what the live one has: whatever went wrong, nothing is swapped in that lacks documents.
    async fn lacks(&self, open: &mut Open, next: &Next, shown_after: Duration) -> Result<Option<String>, BuildError> {
        let live = count(&*self.statements).await?;
        let until_ms = self.now_ms().saturating_add(building::ms(shown_after + COUNTED_WITHIN));
        loop {
            let filled = count(&*next.documents).await?;
            if filled >= live {
                return Ok(None);
            }
            if self.now_ms() >= until_ms {
                return Ok(Some(format!(
                    "index {} has {filled} documents where the live one has {live}, so that it is not swapped in: does a process of a \
                     release store that knows of one index alone? Update it, and begin anew",
                    next.number
                )));
            }
            // Whoever stores comes to the live index first.
            self.wait(open).await?;
        }
    }

    /// The time of the oldest documents that are not in yet, which holds few enough of them; one without an end is the last one. `None`
    /// where all are in.
    async fn next_time(&self, from_ms: Option<i64>) -> Result<Option<(i64, Option<i64>)>, BuildError> {
        let from_ms = from_ms.filter(|from_ms| *from_ms != i64::MIN);
        let oldest = json!({"oldest": {"min": {"field": "timestamp_ms"}}});
        let left = self.statements.aggregate(&from(from_ms), &oldest).await?;
        let Some(oldest) = left["aggregations"]["oldest"]["value"].as_f64() else {
            return match left["hits"].as_u64() {
                Some(0) => Ok(None),
                _ => Err(BuildError::Unavailable(format!("the time of the oldest document is not told: {left}"))),
            };
        };
        // A large number is rounded where it is told.
        let from_ms = from_ms.unwrap_or(i64::MIN).max(oldest.next_down() as i64);
        let mut length_ms = DAY_MS;
        loop {
            let Some(until_ms) = from_ms.checked_add(length_ms) else { return Ok(Some((from_ms, None))) };
            let filter = Filter { to_ms: Some(until_ms), ..from(Some(from_ms)) };
            let count = self.statements.aggregate(&filter, &json!({})).await?;
            if length_ms == 1 || count["hits"].as_u64().unwrap_or(0) <= MOST {
                return Ok(Some((from_ms, Some(until_ms))));
            }
            length_ms = (length_ms / 4).max(1);
        }
    }

    /// Puts all documents of a time into the index.
    async fn fill(&self, open: &mut Open, next: &Next, from_ms: i64, until_ms: Option<i64>) -> Result<(), BuildError> {
        let filter = Filter { to_ms: until_ms, ..from(Some(from_ms)) };
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut read = Read::new();
        let mut part = self.statements.scan(&filter, None).await?;
        loop {
            let documents = part.statements.into_iter().map(|found| found.document).collect();
            let put = self.put(next, documents, &mut read);
            let (put, following) = match part.next {
                None => (put.await, None),
                Some(place) => {
                    let (put, following) = futures::join!(put, self.statements.scan(&filter, Some(place)));
                    (put, Some(following))
                }
            };
            for (what, count) in put? {
                *counts.entry(what).or_default() += count;
            }
            if self.now_ms() - open.written_ms >= CHECKPOINT_MS {
                self.keeper().checkpoint(open).await?;
            }
            match following {
                None => break,
                Some(following) => part = following?,
            }
        }
        for ((topic, partition), until) in &read {
            self.log.stop_reading(topic, *partition, *until);
        }
        let done: u64 = counts.values().sum();
        for (what, count) in counts {
            *open.build.outcomes.entry(what.to_owned()).or_default() += count;
        }
        if let Some(place) = open.build.places.get_mut(NAME).and_then(|of| of.get_mut(&0)) {
            place.next += i64::try_from(done).unwrap_or(i64::MAX);
            place.end = place.end.max(place.next);
        }
        Ok(())
    }

    /// Stores documents with fields that are made anew; how many of which kind.
    async fn put(
        &self,
        next: &Next,
        documents: Vec<StatementDocument>,
        read: &mut Read,
    ) -> Result<BTreeMap<&'static str, u64>, BuildError> {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let made = self.remake(&documents, read).await?;
        let mut remade = Vec::with_capacity(documents.len());
        for (mut document, made) in documents.into_iter().zip(made) {
            let what = match made {
                None => KEPT,
                Some(fields) if fields == document.fields => SAME,
                Some(fields) => {
                    document.fields = fields;
                    CHANGED
                }
            };
            *counts.entry(what).or_default() += 1;
            remade.push(document);
        }
        let given = remade.len();
        if given == 0 {
            return Ok(counts);
        }
        let ids: Vec<Uuid> = remade.iter().map(|document| document.id).collect();
        let outcomes = complete(given, next.documents.store(remade).await?)?;
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            match outcome {
                // Another one under that id is what whoever stores put there, by the live index's own word.
                StoreOutcome::Created | StoreOutcome::Duplicate { .. } | StoreOutcome::Conflict { .. } => {}
                StoreOutcome::Refused { reason } => {
                    let why = format!("the index will never take the document {id}: {reason}");
                    return Err(BuildError::Refused(why));
                }
                StoreOutcome::Unavailable { reason } => return Err(BuildError::Unavailable(reason)),
            }
        }
        Ok(counts)
    }

    /// The fields of documents as this release makes them; `None` where it does not make that document.
    async fn remake(
        &self,
        documents: &[StatementDocument],
        read: &mut Read,
    ) -> Result<Vec<Option<StatementFields>>, BuildError> {
        let mut made: Vec<Option<StatementFields>> = vec![None; documents.len()];
        let mut by_family: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, document) in documents.iter().enumerate() {
            by_family.entry(&document.fields.family).or_default().push(at);
        }
        for (family, places) in by_family {
            let Some(function) = self.functions.get(family) else { continue };
            // A statement's type may have been told by its envelope alone.
            for names_type in [false, true] {
                let is_left = |at: &&usize| {
                    made[**at].as_ref().is_none_or(|of| of.event_type != documents[**at].fields.event_type)
                };
                let left: Vec<usize> = places.iter().filter(is_left).copied().collect();
                let records = left.iter().map(|at| (*at, record_of(&documents[*at], names_type))).collect();
                self.read(&**function, documents, records, &mut made).await?;
            }
            // By which schema the bytes of an event were written, its record's headers may have told alone.
            let left: Vec<usize> = places.into_iter().filter(|at| made[*at].is_none()).collect();
            let records = self.records_of(documents, left, read).await?;
            self.read(&**function, documents, records, &mut made).await?;
        }
        Ok(made)
    }

    /// Has the function make documents of records, each for the one at that place, and takes those that are the same event's.
    async fn read(
        &self,
        function: &dyn Subscriber,
        documents: &[StatementDocument],
        records: Vec<(usize, Record)>,
        made: &mut [Option<StatementFields>],
    ) -> Result<(), BuildError> {
        if records.is_empty() {
            return Ok(());
        }
        let (places, records): (Vec<usize>, Vec<Record>) = records.into_iter().unzip();
        let held = function.made(&records, &function.invocation(self.now_ms() + READ_MS)).await;
        for (at, held) in places.into_iter().zip(held) {
            let StatementDocument { tenant, id, raw, .. } = &documents[at];
            match held {
                Held::Event(event) => {
                    let is_it = |of: &StatementDocument| of.id == *id && of.tenant == *tenant && of.raw == *raw;
                    if let Some(document) = event.document.filter(is_it) {
                        made[at] = Some(document.fields);
                    }
                }
                Held::Unread(why) => {
                    return Err(BuildError::Unavailable(format!("the document {id} cannot be read: {why}")));
                }
                Held::Nothing | Held::Letter(_) => {}
            }
        }
        Ok(())
    }

    /// The records that documents came from, as far as the log has them still.
    async fn records_of(
        &self,
        documents: &[StatementDocument],
        places: Vec<usize>,
        read: &mut Read,
    ) -> Result<Vec<(usize, Record)>, BuildError> {
        let mut wanted: BTreeMap<(&str, i32), BTreeMap<i64, Vec<usize>>> = BTreeMap::new();
        for at in places {
            let Position { topic, partition, offset } = &documents[at].source;
            wanted.entry((&**topic, *partition)).or_default().entry(*offset).or_default().push(at);
        }
        let mut found = Vec::new();
        for ((topic, partition), mut offsets) in wanted {
            let range = match self.log.offsets(topic).await {
                Ok(ranges) => usize::try_from(partition).ok().and_then(|at| ranges.get(at).copied()),
                Err(EventLogError::UnknownTopic(_)) => None,
                Err(error) => return Err(error.into()),
            };
            let Some(range) = range else { continue };
            // What the log has dropped is not asked for, one by one.
            offsets = offsets.split_off(&range.start);
            drop(offsets.split_off(&range.end));
            while let Some((offset, _)) = offsets.first_key_value() {
                let offset = *offset;
                let records = match self.log.fetch(topic, partition, offset, PAGE, PAGE_BYTES).await {
                    Ok(records) => records,
                    Err(EventLogError::OffsetOutOfRange { .. }) => Vec::new(),
                    Err(error) => return Err(error.into()),
                };
                let mut next = offset + 1;
                for record in records {
                    next = record.position.offset + 1;
                    for at in offsets.remove(&record.position.offset).unwrap_or_default() {
                        found.push((at, record.clone()));
                    }
                }
                // What is not there, is not there.
                offsets = offsets.split_off(&next);
                let until = read.entry((topic.to_owned(), partition)).or_default();
                *until = next.max(*until);
            }
        }
        Ok(found)
    }

    /// How the live index and the one that is filled differ: every document of the live one, and how many each has.
    ///
    /// # Errors
    /// `Refused` where none is filled; the store's.
    pub async fn compare(&self) -> Result<([u32; 2], Comparison), BuildError> {
        let indices = self.statements.indices().await?;
        let Some(next) = self.statements.next().await? else {
            let why = "no index is filled beside the live one: `lyceum rebuild documents --no-swap` fills one";
            return Err(BuildError::Refused(why.to_owned()));
        };
        let mut comparison = Comparison::default();
        let mut place = None;
        loop {
            let part = self.statements.scan(&from(None), place).await?;
            let asked: Vec<_> = part
                .statements
                .into_iter()
                .map(|found| {
                    let documents = &next.documents;
                    async move {
                        let other = documents.get(&found.document.tenant, found.document.id).await?;
                        Ok::<_, StatementsError>((found, other))
                    }
                })
                .collect();
            let pairs: Vec<_> = futures::stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await?;
            let (same, differing): (Vec<_>, Vec<_>) =
                pairs.into_iter().partition(|(one, other)| other.as_ref() == Some(one));
            comparison.same += same.len() as u64;
            if !differing.is_empty() {
                // Whoever stores it may have come to the live index only, or voids it in this moment.
                self.generations.clock().sleep(BETWEEN_LOOKS).await;
            }
            for (one, _) in differing {
                let (tenant, id) = (one.document.tenant.clone(), one.document.id);
                let one = self.statements.get(&tenant, id).await?.unwrap_or(one);
                let other = next.documents.get(&tenant, id).await?;
                if other.as_ref() == Some(&one) {
                    comparison.same += 1;
                    continue;
                }
                comparison.differing += 1;
                if comparison.differences.len() < NAMED {
                    let (tenant, id) = (tenant.to_string(), id.to_string());
                    let shown = |of| json_of(&of);
                    let (pointer, one, other) = difference(Some(shown(one)), other.map(shown)).unwrap_or_default();
                    let kind = NAME.to_owned();
                    comparison.differences.push(Difference { tenant, kind, id, pointer, one, other });
                }
            }
            match part.next {
                None => break,
                following => place = following,
            }
        }
        let own = count(&*self.statements).await?;
        let others = count(&*next.documents).await?;
        let compared = comparison.same + comparison.differing;
        if others > own.max(compared) {
            comparison.differing += others - own.max(compared);
            comparison.not_all.push(format!("the live index has {own} documents, the one that is filled {others}"));
        }
        Ok(([indices.live, next.number], comparison))
    }
}

async fn count<S: Statements + ?Sized>(statements: &S) -> Result<u64, StatementsError> {
    Ok(statements.aggregate(&from(None), &json!({})).await?["hits"].as_u64().unwrap_or(0))
}

/// All documents of all tenants from a time on.
fn from(from_ms: Option<i64>) -> Filter {
    Filter { from_ms, include_voided: true, ..Filter::default() }
}

/// What is kept of a document, but for its bytes.
fn json_of(found: &StoredStatement) -> Value {
    let mut shown = serde_json::to_value(About::of(&found.document)).unwrap_or_default();
    shown["voided"] = json!(found.voided);
    shown["raw_bytes"] = json!(found.document.raw.len());
    shown
}

/// The record that a document could have come from: what is not in the event's bytes stands in the headers.
fn record_of(document: &StatementDocument, names_type: bool) -> Record {
    let mut headers = vec![
        Header::new(TENANT_HEADER, document.tenant.to_string()),
        Header::new(EVENT_ID_HEADER, document.id.to_string()),
    ];
    if names_type {
        headers.push(Header::new(EVENT_TYPE_HEADER, document.fields.event_type.to_string()));
    }
    Record {
        position: document.source.clone(),
        timestamp_ms: document.stored_ms,
        key: None,
        value: Some(document.raw.clone()),
        headers,
    }
}

/// What is known of the build of documents; `None` where there never was one.
///
/// # Errors
/// As [`building::read`].
pub async fn read(ledger: &dyn Ledger) -> Result<Option<Build>, BuildError> {
    building::read(ledger, NAME).await
}
