//! Builds a generation from the log, beside the live one, and swaps it in.
//!
//! What is on the topics goes, partition by partition and in order, through the subscription's own processing, with the ledger of
//! that generation, and with a log that takes what is published and keeps none of it ([`Muted`]). How far it has come is
//! one item of the ledger, the *build*, so that anybody goes on where a process died. A lease has one at a time work at it;
//! where two do all the same, the keys and offsets of the generation make that harmless, and the version of the build stops the one
//! who is late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::marker::{self, EFFECTIVE_AFTER, Generations, HOLD, Marker, NOBODYS, Read};
use super::switching::Make;
use super::{OfGeneration, is_built_anew};
use crate::outcome::{Observer, Outcome, Report};
use crate::ports::event_log::{EventLogError, Follow, OffsetRange, Publish};
use crate::ports::ledger::{AggregateId, AggregateWrite, Claim, Commit, Content, KeyId, Ledger, LedgerError};
use crate::process::{Delivery, Services, Subscriber};
use crate::record::{NewRecord, Position, Record};
use crate::subscription::{Effect, Subscription};

const KIND: &str = "lyceum-build";
/// Who holds leases on builds.
const SUBSCRIBER: &str = "rebuild";
/// So many records of a partition go through processing together, and so many bytes.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 4 << 20;
/// So many partitions at once.
const PARTITIONS_AT_ONCE: usize = 4;
/// The time of one batch, milliseconds.
const BATCH_MS: i64 = 60_000;
/// How often it is written how far it has come, milliseconds: so much work a kill costs.
pub(super) const CHECKPOINT_MS: i64 = 2_000;
/// How long a lease lasts that is not prolonged, milliseconds.
pub(super) const LEASE_MS: i64 = 90_000;
/// So many rounds in a row may come to nothing before the work is given up, for somebody to look.
const IDLE_ROUNDS: u32 = 5;
/// A generation that lacks no more than this much is swapped in: the rest is done while batches wait.
const NEAR: i64 = 2_000;

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It reads the log.
    Building,
    /// It had all that was on the topics, and waits for somebody who swaps it in; meanwhile it falls behind.
    Ready,
    /// It is live.
    Swapped,
    /// Nobody goes on with it.
    Cancelled,
    /// It can never have all: what it lacks is gone, or a store will never take it.
    Failed,
}

impl Stage {
    /// Whether anything is left to be done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Building | Self::Ready)
    }
}

/// How far it is in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it began.
    pub from: i64,
    /// The next offset to be processed; all before it is in.
    pub next: i64,
    /// The partition's end, as it was seen last.
    pub end: i64,
}

/// Places by topic and partition.
pub type Places = BTreeMap<String, BTreeMap<i32, Place>>;

/// A generation that is being built, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Whose.
    pub subscription: String,
    /// Which.
    pub generation: u32,
    /// How far it is.
    pub stage: Stage,
    /// Whether it is swapped in once it has all.
    pub swaps: bool,
    /// Milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// When this was written.
    pub updated_ms: i64,
    /// By topic and partition. Documents count as one partition of a topic of that name.
    pub places: Places,
    /// How the records ended in it, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Why it failed, or does not go on at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Once it was swapped in: which one was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Of documents: all of an earlier time are in, milliseconds since 1970 UTC; `None` before any of them may be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_from_ms: Option<i64>,
    /// Of documents: whether all are gone through once more, since something was lacking.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_second_pass: bool,
    /// Of documents: which release began it, with which settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
}

/// The generation that was live before, and from where on it lacks events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Which.
    pub generation: u32,
    /// By topic and partition: all before is in.
    pub committed: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Build {
    /// How many records it has processed.
    pub fn done(&self) -> i64 {
        self.all_places().map(|place| place.next - place.from).sum()
    }

    /// How many are left, as far as was seen.
    pub fn left(&self) -> i64 {
        self.all_places().map(|place| (place.end - place.next).max(0)).sum()
    }

    fn come_to(&mut self, topic: &str, partition: i32, next: i64) {
        if let Some(place) = self.places.get_mut(topic).and_then(|of| of.get_mut(&partition)) {
            place.next = place.next.max(next);
        }
    }

    fn all_places(&self) -> impl Iterator<Item = &Place> {
        self.places.values().flat_map(BTreeMap::values)
    }
}

/// Why a build did not go on.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What was asked for cannot be done, and why.
    #[error("{0}")]
    Refused(String),
    /// Somebody else works at it.
    #[error("another process works at it; it has it for {left_s} s more, unless it goes on")]
    Elsewhere {
        /// So many seconds its lease lasts.
        left_s: i64,
    },
    /// A store, the log, or a record that cannot be processed for now. What was done stays done.
    #[error("{0}")]
    Unavailable(String),
}

impl From<LedgerError> for BuildError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(_) => Self::Refused(error.to_string()),
            // What a person mends, it goes on with then.
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<EventLogError> for BuildError {
    fn from(error: EventLogError) -> Self {
        match error {
            EventLogError::Unavailable(_) | EventLogError::Unauthorized(_) => Self::Unavailable(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// What somebody wants of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// It is swapped in once it has all.
    pub swaps: bool,
    /// Records that the log has dropped already are done without.
    pub lacking: bool,
}

/// Takes what is published, and keeps none of it; and is told nothing of how records ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Muted;

#[async_trait]
impl Publish for Muted {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        Ok(records.iter().map(|_| Position::new(topic, 0, 0)).collect())
    }
}

impl Observer for Muted {
    fn observe(&self, _: &[Report]) {}
}

/// The same services, with another ledger, of which nothing goes out: what is published was published by the live generation.
pub fn muted(services: &Services, ledger: Arc<dyn Ledger>) -> Services {
    Services { event_log: Arc::new(Muted), ledger, observer: Arc::new(Muted), ..services.clone() }
}

/// Builds generations of one subscription.
pub struct Builder {
    /// Whose.
    pub subscription: &'static Subscription,
    /// What is read.
    pub log: Arc<dyn Follow>,
    /// Which generation is live.
    pub generations: Arc<Generations>,
    /// Makes the subscription's function, muted.
    pub make: Make,
    /// The consumer group of one of its topics.
    pub group: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// Who works: another one in each process.
    pub holder: Uuid,
}

/// A build as it was read or written last.
pub(super) struct Open {
    pub(super) build: Build,
    pub(super) version: Option<u64>,
    pub(super) written_ms: i64,
}

fn id_of(subscription: &str) -> AggregateId {
    AggregateId { tenant: NOBODYS.into(), kind: KIND.into(), id: subscription.into() }
}

/// The last build of a subscription; `None` where there never was one.
///
/// # Errors
/// The ledger's, or that a newer release wrote it.
pub async fn read(ledger: &dyn Ledger, subscription: &str) -> Result<Option<Build>, BuildError> {
    Ok(read_version(ledger, subscription).await?.map(|(build, _)| build))
}

pub(super) async fn read_version(ledger: &dyn Ledger, subscription: &str) -> Result<Option<(Build, u64)>, BuildError> {
    let loaded = ledger.load(&[id_of(subscription)], &[]).await?;
    let Some(stored) = loaded.aggregates.into_iter().next().flatten() else { return Ok(None) };
    let build = serde_json::from_slice(stored.content.state.as_deref().unwrap_or_default());
    let build = build.map_err(|error| {
        BuildError::Refused(format!(
            "what is known of the rebuild of {subscription} cannot be read, a newer release wrote it: {error}"
        ))
    })?;
    Ok(Some((build, stored.version)))
}

/// The write of a build, or only the condition that it is as it was read.
pub(super) fn to_write(build: &Build, expected: Option<u64>, is_written: bool) -> Result<AggregateWrite, LedgerError> {
    let state = serde_json::to_vec(build).map_err(|error| LedgerError::Refused(error.to_string()))?;
    let content = is_written.then(|| Content::of(state));
    Ok(AggregateWrite { id: id_of(&build.subscription), expected, content })
}

pub(super) async fn write(ledger: &dyn Ledger, build: &Build, expected: Option<u64>) -> Result<(), LedgerError> {
    let write = to_write(build, expected, true)?;
    ledger.commit(Commit { aggregates: vec![write], keys: Vec::new() }).await
}

/// Has nobody go on with a build; the build as it is then, or why it is not cancelled.
///
/// # Errors
/// `Refused` where none is under way.
pub async fn cancel(ledger: &dyn Ledger, subscription: &str, now_ms: i64) -> Result<Build, BuildError> {
    // Whoever works at it writes it all the time.
    for _ in 0..20 {
        let read = read_version(ledger, subscription).await?.filter(|(build, _)| build.stage.is_open());
        let Some((mut build, version)) = read else {
            return Err(BuildError::Refused(format!("no rebuild of {subscription} is under way")));
        };
        (build.stage, build.updated_ms) = (Stage::Cancelled, now_ms);
        match write(ledger, &build, Some(version)).await {
            Ok(()) => return Ok(build),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(BuildError::Unavailable(format!("the rebuild of {subscription} is written too often; try again")))
}

impl Builder {
    fn ledger(&self) -> &dyn Ledger {
        &**self.generations.ledger()
    }

    fn now_ms(&self) -> i64 {
        self.generations.clock().now_ms()
    }

    /// What a build would read now: every partition from its first record on. Nothing is written.
    ///
    /// # Errors
    /// `Refused` where the subscription has nothing to be built anew, or its log lacks records that are not done without.
    pub async fn plan(&self, wanted: Wanted) -> Result<Places, BuildError> {
        let subscription = self.subscription;
        if !is_built_anew(subscription) {
            return Err(BuildError::Refused(format!(
                "{} keeps no states and no numbers of its own, so that nothing of it can be built anew",
                subscription.name
            )));
        }
        let mut places = Places::new();
        for topic in subscription.topics() {
            let ranges = self.log.offsets(topic).await?;
            let place = |OffsetRange { start, end }: OffsetRange| Place { from: start, next: start, end };
            places.insert(topic.to_owned(), (0..).zip(ranges.into_iter().map(place)).collect());
        }
        let lacks: Vec<String> = places
            .iter()
            .flat_map(|(topic, of)| of.iter().map(move |(partition, place)| (topic, partition, place.from)))
            .filter(|(_, _, from)| *from > 0)
            .map(|(topic, partition, from)| format!("{topic}/{partition} before {from}"))
            .collect();
        if !lacks.is_empty() && !wanted.lacking {
            return Err(BuildError::Refused(format!(
                "the log has dropped records already, and what is built anew would lack what they did: {}. Ask for it with \
                 what is lacking (--lacking) if it shall be so",
                lacks.join(", ")
            )));
        }
        Ok(places)
    }

    /// Begins a build, or finds the one that is under way.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), and the stores'.
    pub async fn begin(&self, wanted: Wanted) -> Result<Build, BuildError> {
        let places = self.plan(wanted).await?;
        let name = self.subscription.name;
        self.claim().await?;
        let read = read_version(self.ledger(), name).await?;
        if let Some((mut build, version)) = read.clone().filter(|(build, _)| build.stage.is_open()) {
            // Asked for once more: as it is wanted now.
            (build.swaps, build.failed) = (wanted.swaps, None);
            write(self.ledger(), &build, Some(version)).await?;
            return Ok(build);
        }
        // A number that was given is never given again, whatever becomes of its build.
        let Read { marker, version } = marker::read(self.ledger(), name).await?;
        let generation = marker.newest.max(marker.live) + 1;
        marker::write(self.ledger(), name, version, Marker { newest: generation, ..marker }).await?;
        let build = self.keeper().new_build(generation, places, wanted.swaps);
        write(self.ledger(), &build, read.map(|(_, version)| version)).await?;
        Ok(build)
    }

    /// Begins to bring the generation that was live before up to now, to swap it in again.
    ///
    /// # Errors
    /// `Refused` where nothing was swapped, or something is under way.
    pub async fn begin_back(&self) -> Result<Build, BuildError> {
        let name = self.subscription.name;
        self.claim().await?;
        let Some((last, version)) = read_version(self.ledger(), name).await? else {
            return Err(BuildError::Refused(format!(
                "{name} was never rebuilt, so that there is nothing to go back to"
            )));
        };
        if last.stage.is_open() {
            let why = format!("a rebuild of {name} is under way: cancel it first, or wait for its end");
            return Err(BuildError::Refused(why));
        }
        if last.stage != Stage::Swapped {
            let why = format!("the last rebuild of {name} was not swapped in: nothing to go back to");
            return Err(BuildError::Refused(why));
        }
        let Some(before) = last.before else {
            return Err(BuildError::Refused(format!(
                "the generation of {name} that was live before generation {} is dropped, since somebody asked for that: \
                 nothing to go back to; `lyceum rebuild {name}` makes another one of the log",
                last.generation
            )));
        };
        let mut places = self.plan(Wanted { lacking: true, swaps: true }).await?;
        for (topic, of) in &mut places {
            for (partition, place) in of {
                let committed = before.committed.get(topic).and_then(|of| of.get(partition)).copied();
                let Some(committed) = committed else { continue };
                if committed < place.from {
                    return Err(BuildError::Refused(format!(
                        "generation {} lacks what stood at {topic}/{partition} from {committed} to {}, and the log has dropped it",
                        before.generation, place.from
                    )));
                }
                (place.from, place.next) = (committed, committed);
            }
        }
        let build = self.keeper().new_build(before.generation, places, true);
        write(self.ledger(), &build, Some(version)).await?;
        Ok(build)
    }

    /// Goes on with the build that is under way, until it is done, or until `deadline_ms` (milliseconds since 1970 UTC): then another
    /// call, of whatever process, goes on. The build as it is then.
    ///
    /// # Errors
    /// `Refused` where none is under way, or it was cancelled meanwhile; `Elsewhere` where another process works at it. What it fails
    /// by is noted in the build.
    pub async fn work(&self, deadline_ms: i64) -> Result<Build, BuildError> {
        let mut open = self.keeper().take_up().await?;
        if !open.build.stage.is_open() {
            return Ok(open.build);
        }
        open.build.failed = None;
        let worked = self.work_at(&mut open, deadline_ms).await;
        self.keeper().end(open, worked).await
    }

    async fn work_at(&self, open: &mut Open, deadline_ms: i64) -> Result<(), BuildError> {
        // It may have died behind the swap and before this was written.
        if marker::read(self.ledger(), self.subscription.name).await?.marker.live == open.build.generation {
            open.build.stage = Stage::Swapped;
            return self.checkpoint(open).await;
        }
        let function = (self.make)(OfGeneration::of(self.generations.ledger(), open.build.generation));
        open.build.stage = Stage::Building;
        while self.now_ms() < deadline_ms {
            self.look(&mut open.build.places).await?;
            if open.build.swaps && open.build.left() <= NEAR {
                if deadline_ms - self.now_ms() < ms(HOLD) {
                    break;
                }
                if self.swap(open, &*function).await? {
                    return Ok(());
                }
                // Somebody was at the same marker, or too much came meanwhile.
                open.build.before = None;
                self.generations.clock().sleep(Duration::from_secs(1)).await;
            }
            if !self.fill(open, &*function, deadline_ms).await? {
                break;
            }
            if !open.build.swaps {
                self.look(&mut open.build.places).await?;
                if open.build.left() == 0 {
                    open.build.stage = Stage::Ready;
                    break;
                }
            }
        }
        self.checkpoint(open).await
    }

    /// Where partitions end now; one that is new is begun at its first record.
    async fn look(&self, places: &mut Places) -> Result<(), BuildError> {
        for topic in self.subscription.topics() {
            let ranges = self.log.offsets(topic).await?;
            let places = places.entry(topic.to_owned()).or_default();
            for (partition, range) in (0..).zip(ranges) {
                let new = Place { from: range.start, next: range.start, end: range.end };
                let place = places.entry(partition).or_insert(new);
                place.end = place.end.max(range.end);
            }
        }
        Ok(())
    }

    /// Processes up to the ends that were seen last; `false` where the time is over before.
    async fn fill(&self, open: &mut Open, function: &dyn Subscriber, deadline_ms: i64) -> Result<bool, BuildError> {
        // Numbers are kept for each partition apart; states may be of what is on several.
        let is_apart = matches!(self.subscription.effect, Effect::Counted);
        let (mut idle, mut waiting) = (0, Waiting::new());
        while open.build.left() > 0 {
            if self.now_ms() >= deadline_ms {
                return Ok(false);
            }
            let before = open.build.done();
            let stuck = match is_apart {
                true => self.pages(&mut open.build, function, deadline_ms).await,
                false => self.merged(&mut open.build, function, &mut waiting, deadline_ms).await,
            };
            if self.now_ms() - open.written_ms >= CHECKPOINT_MS {
                self.checkpoint(open).await?;
            }
            match stuck {
                Some(error @ BuildError::Refused(_)) => return Err(error),
                Some(error) if open.build.done() == before => {
                    idle += 1;
                    if idle == IDLE_ROUNDS {
                        return Err(error);
                    }
                    self.generations.clock().sleep(Duration::from_secs(1)).await;
                }
                _ => idle = 0,
            }
        }
        Ok(true)
    }

    /// Processes the next records of each partition, several partitions at once; why not all of them could be, where that is so.
    async fn pages(&self, build: &mut Build, function: &dyn Subscriber, deadline_ms: i64) -> Option<BuildError> {
        let pages = build.places.iter().flat_map(|(topic, of)| {
            let behind = of.iter().filter(|(_, place)| place.next < place.end);
            behind.map(move |(partition, place)| self.page(function, topic, *partition, *place, deadline_ms))
        });
        let pages: Vec<_> = pages.collect();
        let done: Vec<Page> = futures::stream::iter(pages).buffer_unordered(PARTITIONS_AT_ONCE).collect().await;
        let mut stuck = None;
        for Page { topic, partition, next, outcomes, failed } in done {
            build.come_to(&topic, partition, next);
            for (outcome, count) in outcomes {
                *build.outcomes.entry(outcome.to_owned()).or_default() += count;
            }
            stuck = stuck.or(failed);
        }
        stuck
    }

    /// Processes the next records of all partitions together, in the order of their times as far as each partition's own order lets
    /// them: nearly as they came. Where events of several partitions change one aggregate, so it sees them as it did.
    async fn merged(
        &self,
        build: &mut Build,
        function: &dyn Subscriber,
        waiting: &mut Waiting,
        deadline_ms: i64,
    ) -> Option<BuildError> {
        let lacking = build.places.iter().flat_map(|(topic, of)| of.iter().map(move |of| (topic, of)));
        let lacking = lacking.filter(|(topic, (partition, place))| {
            place.next < place.end && waiting.get(&((*topic).clone(), **partition)).is_none_or(VecDeque::is_empty)
        });
        let fetches: Vec<_> = lacking
            .map(|(topic, (partition, place))| async move {
                let fetched = self.log.fetch(topic, *partition, place.next, PAGE, PAGE_BYTES / 4).await;
                (topic.clone(), *partition, place.end, fetched)
            })
            .collect();
        let fetched: Vec<_> = futures::stream::iter(fetches).buffer_unordered(PARTITIONS_AT_ONCE).collect().await;
        for (topic, partition, end, fetched) in fetched {
            match fetched {
                // The log has gaps: nothing stands between here and the end.
                Ok(records) if records.is_empty() => build.come_to(&topic, partition, end),
                Ok(records) => drop(waiting.insert((topic, partition), records.into())),
                Err(error) => return Some(error.into()),
            }
        }
        let mut batch = Vec::with_capacity(PAGE);
        while batch.len() < PAGE {
            let first = waiting.iter().filter_map(|(of, records)| Some((records.front()?.timestamp_ms, of))).min();
            let Some((_, of)) = first else { break };
            let of = of.clone();
            let Some(records) = waiting.get_mut(&of) else { break };
            let Some(record) = records.pop_front() else { break };
            let next = record.position.offset + 1;
            batch.push(Delivery::Record(record));
            // Of what comes next there the time is not known before it is fetched.
            let end = build.places.get(&of.0).and_then(|places| places.get(&of.1)).map_or(0, |place| place.end);
            if records.is_empty() && next < end {
                break;
            }
        }
        if batch.is_empty() {
            return None;
        }
        let invocation = function.invocation(deadline_ms.min(self.now_ms() + BATCH_MS));
        let reports = function.process(&batch, &invocation).await;
        let (mut stuck, mut behind) = (None, BTreeSet::new());
        for report in reports {
            let Position { topic, partition, offset } = &report.position;
            if let Outcome::RetryLater { reason } = &report.outcome {
                behind.insert((Arc::clone(topic), *partition));
                stuck = stuck.or(Some(BuildError::Unavailable(format!("{}: {reason}", report.position))));
            } else if !behind.contains(&(Arc::clone(topic), *partition)) {
                *build.outcomes.entry(report.outcome.name().to_owned()).or_default() += 1;
                build.come_to(topic, *partition, offset + 1);
            }
        }
        if stuck.is_some() {
            // From the first that is not settled on, a partition is read again.
            waiting.clear();
        }
        stuck
    }

    /// Processes the next records of a partition, as far as they can be.
    async fn page(
        &self,
        function: &dyn Subscriber,
        topic: &str,
        partition: i32,
        place: Place,
        deadline_ms: i64,
    ) -> Page {
        let mut page =
            Page { topic: topic.to_owned(), partition, next: place.next, outcomes: BTreeMap::new(), failed: None };
        let records = match self.log.fetch(topic, partition, place.next, PAGE, PAGE_BYTES).await {
            Ok(records) => records,
            Err(error) => {
                page.failed = Some(error.into());
                return page;
            }
        };
        if records.is_empty() {
            // The log has gaps: nothing stands between here and the end.
            page.next = place.end;
            return page;
        }
        let positions: Vec<Position> = records.iter().map(|record| record.position.clone()).collect();
        let batch: Vec<Delivery> = records.into_iter().map(Delivery::Record).collect();
        let reports = function.process(&batch, &function.invocation(deadline_ms.min(self.now_ms() + BATCH_MS))).await;
        for (position, report) in positions.iter().zip(reports) {
            if let Outcome::RetryLater { reason } = report.outcome {
                // Order is kept: what stands behind it waits, and is a duplicate then.
                page.failed = Some(BuildError::Unavailable(format!("{position}: {reason}")));
                return page;
            }
            *page.outcomes.entry(report.outcome.name()).or_default() += 1;
            page.next = position.offset + 1;
        }
        page
    }

    /// Holds the subscription, brings the generation up to the topics' ends, and makes it live. `false` where it is to be tried again:
    /// the rest took too long, or somebody let the hold go.
    async fn swap(&self, open: &mut Open, function: &dyn Subscriber) -> Result<bool, BuildError> {
        let name = self.subscription.name;
        self.checkpoint(open).await?;
        let Read { marker, version } = marker::read(self.ledger(), name).await?;
        let began_ms = self.now_ms();
        // Also where another hold is there: what is waited for begins now.
        let hold = Marker { held_until_ms: Some(began_ms + ms(HOLD)), ..marker.clone() };
        let held = match marker::write(self.ledger(), name, version, hold).await {
            Ok(held) => held,
            Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let filled = self.fill_while_held(open, function, began_ms).await;
        let swapped = match filled {
            Ok(Some(committed)) => self.make_live(open, &marker, &held, committed).await,
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        if !matches!(swapped, Ok(true)) {
            // Whatever it failed by, batches need not wait for it; where this fails, too, they let it go themselves.
            let _ = self.generations.let_go(name, &held).await;
        }
        swapped
    }

    /// Comes back with what the group had committed, once the hold is effective and the generation has all that stood on the topics by then;
    /// with nothing where that takes too long.
    async fn fill_while_held(
        &self,
        open: &mut Open,
        function: &dyn Subscriber,
        began_ms: i64,
    ) -> Result<Option<BTreeMap<String, BTreeMap<i32, i64>>>, BuildError> {
        let mut committed = BTreeMap::new();
        for topic in self.subscription.topics() {
            committed.insert(topic.to_owned(), self.log.committed(&(self.group)(topic), topic).await?);
        }
        self.generations.clock().sleep(EFFECTIVE_AFTER).await;
        // From here on nobody begins a batch: each that was begun has records below these ends.
        self.look(&mut open.build.places).await?;
        let in_time = self.fill(open, function, began_ms + ms(HOLD) / 2).await?;
        Ok(in_time.then_some(committed))
    }

    async fn make_live(
        &self,
        open: &mut Open,
        before: &Marker,
        held: &Read,
        committed: BTreeMap<String, BTreeMap<i32, i64>>,
    ) -> Result<bool, BuildError> {
        let name = self.subscription.name;
        open.build.before = Some(Before { generation: before.live, committed });
        // Also that nobody cancelled it, or took it over.
        self.checkpoint(open).await?;
        let live = Marker { live: open.build.generation, held_until_ms: None, ..before.clone() };
        match marker::write(self.ledger(), name, held.version, live).await {
            Ok(_) => {}
            Err(LedgerError::Uncertain(_)) => {
                if marker::read(self.ledger(), name).await?.marker.live != open.build.generation {
                    return Ok(false);
                }
            }
            Err(LedgerError::Conflict) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        open.build.stage = Stage::Swapped;
        self.checkpoint(open).await?;
        Ok(true)
    }

    async fn checkpoint(&self, open: &mut Open) -> Result<(), BuildError> {
        self.keeper().checkpoint(open).await
    }

    async fn claim(&self) -> Result<(), BuildError> {
        self.keeper().claim().await
    }

    /// Gives the lease back, so that another process need not wait for its end.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn give_back(&self) -> Result<(), BuildError> {
        self.keeper().give_back().await
    }

    fn keeper(&self) -> Keeper<'_> {
        Keeper { generations: &self.generations, name: self.subscription.name, holder: self.holder }
    }
}

/// Keeps a build in the ledger, and the lease of whoever works at it.
pub(super) struct Keeper<'b> {
    pub(super) generations: &'b Generations,
    pub(super) name: &'b str,
    pub(super) holder: Uuid,
}

impl Keeper<'_> {
    fn ledger(&self) -> &dyn Ledger {
        &**self.generations.ledger()
    }

    fn now_ms(&self) -> i64 {
        self.generations.clock().now_ms()
    }

    /// Takes up the build that is there, whatever its stage.
    pub(super) async fn take_up(&self) -> Result<Open, BuildError> {
        self.claim().await?;
        let Some((build, version)) = read_version(self.ledger(), self.name).await? else {
            return Err(BuildError::Refused(format!("no rebuild of {} is under way", self.name)));
        };
        Ok(Open { build, version: Some(version), written_ms: self.now_ms() })
    }

    /// Notes what work at a build failed by; the build as it is then.
    pub(super) async fn end(&self, mut open: Open, worked: Result<(), BuildError>) -> Result<Build, BuildError> {
        let Err(error) = worked else { return Ok(open.build) };
        if !matches!(error, BuildError::Elsewhere { .. }) && open.build.stage.is_open() {
            open.build.failed = Some(error.to_string());
            if matches!(error, BuildError::Refused(_)) {
                open.build.stage = Stage::Failed;
            }
            // Whoever cancelled it, or took it over, has written it since.
            let _ = self.checkpoint(&mut open).await;
        }
        Err(error)
    }

    /// Writes how far it has come, and keeps the lease.
    pub(super) async fn checkpoint(&self, open: &mut Open) -> Result<(), BuildError> {
        let now_ms = self.now_ms();
        open.build.updated_ms = now_ms;
        match write(self.ledger(), &open.build, open.version).await {
            Ok(()) => {
                open.version = Some(open.version.unwrap_or(0) + 1);
                open.written_ms = now_ms;
                self.claim().await
            }
            Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => {
                let read = read_version(self.ledger(), &open.build.subscription).await?;
                match read {
                    // The answer was lost.
                    Some((build, version)) if build == open.build => {
                        (open.version, open.written_ms) = (Some(version), now_ms);
                        Ok(())
                    }
                    Some((build, _)) if build.stage == Stage::Cancelled => {
                        open.build.stage = Stage::Cancelled;
                        Err(BuildError::Refused(format!("the rebuild of {} was cancelled", build.subscription)))
                    }
                    _ => Err(BuildError::Elsewhere { left_s: LEASE_MS / 1_000 }),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lease, or prolongs it.
    pub(super) async fn claim(&self) -> Result<(), BuildError> {
        claim(self.ledger(), SUBSCRIBER, self.name, self.holder, self.now_ms(), LEASE_MS).await
    }

    /// See [`Builder::give_back`].
    pub(super) async fn give_back(&self) -> Result<(), BuildError> {
        match claim(self.ledger(), SUBSCRIBER, self.name, self.holder, self.now_ms(), 0).await {
            // Then there is none to be given back.
            Err(BuildError::Elsewhere { .. }) => Ok(()),
            given => given,
        }
    }

    /// A build that begins now.
    pub(super) fn new_build(&self, generation: u32, places: Places, swaps: bool) -> Build {
        let now_ms = self.now_ms();
        Build {
            subscription: self.name.to_owned(),
            generation,
            stage: Stage::Building,
            swaps,
            started_ms: now_ms,
            updated_ms: now_ms,
            places,
            outcomes: BTreeMap::new(),
            failed: None,
            before: None,
            documents_from_ms: None,
            is_second_pass: false,
            maker: None,
        }
    }
}

/// Takes or prolongs the lease on some work at a subscription's generations, for so long, milliseconds; for 0 it is given back.
pub(super) async fn claim(
    ledger: &dyn Ledger,
    work: &'static str,
    name: &str,
    holder: Uuid,
    now_ms: i64,
    for_ms: i64,
) -> Result<(), BuildError> {
    let key = KeyId::of(NOBODYS, work, Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()));
    match ledger.claim(&key, holder, now_ms, now_ms + for_ms).await? {
        Claim::Held => Ok(()),
        Claim::Elsewhere { until_ms } => {
            Err(BuildError::Elsewhere { left_s: (until_ms - now_ms).max(0).div_euclid(1_000) + 1 })
        }
    }
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What was fetched of each partition and not processed yet.
type Waiting = BTreeMap<(String, i32), VecDeque<Record>>;

/// What became of the next records of a partition.
struct Page {
    topic: String,
    partition: i32,
    next: i64,
    outcomes: BTreeMap<&'static str, u64>,
    failed: Option<BuildError>,
}
