//! The dead letters of every topic: an index that follows the topics, the sending again, and what AWS Lambda gave up.
//!
//! What was sent again or discarded is remembered in the ledger, under the letter's id: so nothing is sent twice by two people
//! or two processes, and a replay that was cut off goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use async_trait::async_trait;
use lyceum_core::catalog::Catalog;
use lyceum_core::clock::Clock;
use lyceum_core::dead_letter::{self, DeadLetter as Letter, Publication};
use lyceum_core::envelope::{REPLAY_COUNT_HEADER, SOURCE_HEADER};
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::{Ledger, LedgerError, StoredKey};
use lyceum_core::ports::statements::Statements;
use lyceum_core::process::Subscriber;
use lyceum_core::record::{NewRecord, Position, Record};
use tokio::sync::{Mutex, MutexGuard, Notify, watch};
use uuid::Uuid;

use crate::live::format_time;
use crate::questions::{AskError, Keys};
use following::Followed;
use index::{Found, Grouping, Index, Mark};
use letters::{
    Cause, Causes, Cursor, DeadLetterFilter, DeadLetters, DiscardRequest, DiscardSummary, Imported, LetterState,
    Letters, Order, ReplayRequest, ReplaySummary, ShownLetter, SoFar, UpTo,
};
use marks::{key_of, mark_of};
use violations::{ViolationFilter, Violations};

mod discard;
mod following;
mod import;
mod index;
pub mod letters;
mod marks;
mod replay;
mod stopping;
mod value;
pub mod violations;

pub(crate) use value::learner as learner_of;

/// Records a fetch.
const FETCH_RECORDS: usize = 1_000;
const FETCH_BYTES: usize = 4 << 20;
/// Letters that are not further apart are fetched together, with what is between them.
const NEAR: i64 = 16;
/// So much of a value is shown in a list.
const PREVIEW_CHARS: usize = 200;
/// So many letters are indexed: about 60 MB.
const INDEXED_LETTERS: usize = 250_000;
/// So many tenants are known by name.
const NAMED_TENANTS: usize = 1_000;
/// What is longer names no tenant to a person.
const TENANT_BYTES: usize = 240;

/// The dead letters of a process.
pub struct DeadLetterIndex {
    event_log: Arc<dyn EventLog>,
    ledger: Arc<dyn Ledger>,
    statements: Arc<dyn Statements>,
    functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    keys: Arc<dyn Keys>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    index: Mutex<Index>,
    /// Whose letters were seen; at most [`NAMED_TENANTS`].
    tenants: parking_lot::Mutex<BTreeSet<String>>,
    /// One replay at a time; looking does not wait for it.
    replaying: Mutex<replay::Behind>,
    checked: Mutex<Option<Instant>>,
    /// One reader of the topics at a time.
    reading: Mutex<()>,
    /// Whether somebody follows in the background, how often it was asked for, and what came of it.
    is_followed: AtomicBool,
    asked: AtomicU64,
    wake: Notify,
    followed: watch::Sender<Followed>,
}

/// What dead letters are found with.
pub struct Sources {
    /// Where they stand, and are sent to.
    pub event_log: Arc<dyn EventLog>,
    /// Remembers what was done with them.
    pub ledger: Arc<dyn Ledger>,
    /// Tells which events were applied since.
    pub statements: Arc<dyn Statements>,
    /// All functions, by subscription, which tell what was applied of a batch that was given up.
    pub functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    /// Tells what a record is about.
    pub keys: Arc<dyn Keys>,
}

impl DeadLetterIndex {
    /// Follows the catalog's dead-letter topics, from their beginning, whenever it is asked something.
    pub fn new(sources: Sources, catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Self {
        let topics = catalog.dead_letter_topics().into_iter().map(str::to_owned).collect();
        let index = Mutex::new(Index::new(topics, INDEXED_LETTERS));
        let Sources { event_log, ledger, statements, functions, keys } = sources;
        let (replaying, checked, tenants, reading, is_followed, asked, wake, followed) = <_>::default();
        Self {
            event_log,
            ledger,
            statements,
            functions,
            keys,
            catalog,
            clock,
            index,
            tenants,
            replaying,
            checked,
            reading,
            is_followed,
            asked,
            wake,
            followed,
        }
    }

    /// The same with room for so many letters.
    #[must_use]
    pub fn with_room(mut self, letters: usize) -> Self {
        let topics = self.index.get_mut().topics().to_vec();
        self.index = Mutex::new(Index::new(topics, letters));
        self
    }

    /// What the ledger remembers of these letters.
    async fn marks(&self, letters: impl Iterator<Item = &Letter>) -> Result<Vec<Option<StoredKey>>, AskError> {
        let keys: Vec<_> = letters.map(key_of).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.ledger.load(&[], &keys).await.map_err(ledger_failed)?.keys)
    }

    /// The letters at these positions, those that are still there, each with the time at which it was written. They are read in
    /// the order of the log, in which a reader never has to move back, and neighbours together.
    async fn read_all(
        &self,
        wanted: impl IntoIterator<Item = &Position>,
    ) -> Result<BTreeMap<Position, (Letter, i64)>, AskError> {
        let mut wanted: BTreeSet<&Position> = wanted.into_iter().collect();
        let mut letters = BTreeMap::new();
        while let Some(&first) = wanted.first() {
            let most = usize::try_from(last_neighbour(&wanted, first) - first.offset + 1).unwrap_or(FETCH_RECORDS);
            let most = most.min(FETCH_RECORDS);
            let fetched = self.event_log.fetch(&first.topic, first.partition, first.offset, most, FETCH_BYTES).await;
            let records = match fetched {
                Ok(records) => records,
                // Retention was faster with this one.
                Err(error) if !error.is_transient() => Vec::new(),
                Err(error) => return Err(log_failed(error)),
            };
            let read_to = records.last().map_or(first, |last| &last.position).max(first);
            let later = wanted.iter().copied().filter(|position| *position > read_to).collect();
            let found = records.iter().filter(|record| wanted.contains(&record.position));
            letters.extend(found.filter_map(read).map(|(letter, at_ms)| (letter.position.clone(), (letter, at_ms))));
            wanted = later;
        }
        Ok(letters)
    }

    /// The letters at these positions that are still there, in this order, with what the ledger remembers of each.
    async fn letters_at(&self, positions: &[Position]) -> Result<Vec<(Letter, Option<StoredKey>)>, AskError> {
        let mut letters = self.read_all(positions).await?;
        let letters: Vec<Letter> =
            positions.iter().filter_map(|at| letters.remove(at)).map(|(letter, _)| letter).collect();
        let keys = self.marks(letters.iter()).await?;
        Ok(letters.into_iter().zip(keys).collect())
    }

    /// The same of positions that were named, each of which must hold a letter.
    async fn letters_named(&self, positions: &[Position]) -> Result<Vec<(Letter, Option<StoredKey>)>, AskError> {
        let letters = self.letters_at(positions).await?;
        let found: HashSet<&Position> = letters.iter().map(|(letter, _)| &letter.position).collect();
        match positions.iter().find(|position| !found.contains(position)) {
            Some(nothing) => Err(AskError::Invalid(format!("{nothing} holds no dead letter"))),
            None => Ok(letters),
        }
    }

    /// The index that knows every letter, and up to where one act in several calls goes: it ends where it began to.
    async fn begin_act(&self, up_to: Option<&UpTo>) -> Result<(MutexGuard<'_, Index>, UpTo), AskError> {
        let index = self.look_at_all().await?;
        let up_to = up_to.cloned().unwrap_or_else(|| index.up_to());
        Ok((index, up_to))
    }

    /// The record at a position, where it is still there.
    async fn record_at(&self, position: &Position) -> Result<Option<Record>, AskError> {
        let records = self.event_log.fetch(&position.topic, position.partition, position.offset, 1, 1).await;
        match records {
            Ok(records) => Ok(records.into_iter().next().filter(|record| record.position == *position)),
            Err(error) if !error.is_transient() => Ok(None),
            Err(error) => Err(log_failed(error)),
        }
    }

    /// What sending a letter again publishes, or why it cannot be done.
    async fn publication(&self, letter: &Letter) -> Result<Result<Publication, String>, AskError> {
        if letter.holds_original() {
            return Ok(Ok(letter.replay()));
        }
        if letter.value_omitted {
            return Ok(Err(format!(
                "the letter does not hold its event's value, which was too large or has a secret in it; it is at {}",
                letter.source
            )));
        }
        let not_there = format!(
            "the letter holds an entry of a Lambda event that could not be read, and the record itself is not at {} \
             any more: send the event anew from where it came from",
            letter.source
        );
        if letter.source.offset < 0 {
            return Ok(Err(not_there));
        }
        let Some(record) = self.record_at(&letter.source).await? else { return Ok(Err(not_there)) };
        let mut replayed = letter.clone();
        let Record { key, value, headers, .. } = record;
        let headers =
            headers.into_iter().filter(|header| header.name != SOURCE_HEADER && header.name != REPLAY_COUNT_HEADER);
        replayed.original = NewRecord { key, value, headers: headers.collect(), ..NewRecord::default() };
        Ok(Ok(replayed.replay()))
    }

    /// Letters as they are shown, with what was done about each.
    async fn show_all(&self, letters: Vec<(Letter, i64)>) -> Result<Vec<ShownLetter>, AskError> {
        let keys = self.marks(letters.iter().map(|(letter, _)| letter)).await?;
        let ids: Vec<Option<Uuid>> = letters.iter().map(|(letter, _)| value::event_id(&letter.original)).collect();
        let of = letters.iter().zip(&ids).enumerate();
        let to_check = of.filter_map(|(number, ((letter, at_ms), event_id))| {
            Some((number, Found::of(letter, *at_ms, *event_id, Mark::None).to_check()?))
        });
        let applied: HashSet<usize> = self.applied_since(to_check.collect()).await.into_iter().collect();
        let mut index = self.index.lock().await;
        let shown = letters.into_iter().zip(ids).zip(keys).enumerate().map(|(number, ((of, event_id), key))| {
            let (is_applied, mark) = (applied.contains(&number), mark_of(key.as_ref()));
            index.note(&of.0.position, mark, is_applied);
            shown(of, event_id, key.as_ref(), is_applied)
        });
        Ok(shown.collect())
    }
}

/// Positions in the order in which they were named, each once.
fn each_once(positions: &[Position]) -> Vec<Position> {
    let mut seen = HashSet::new();
    positions.iter().filter(|position| seen.insert(*position)).cloned().collect()
}

/// The original of a letter as a line of JSON with its end; `None` where it is none, or the letter does not hold it.
pub fn original_line(letter: &Letter) -> Option<String> {
    let value = letter.original.value.as_deref().filter(|_| letter.holds_original())?;
    Some(value::json_line(value)? + "\n")
}

/// A letter, and when it was written.
fn read(record: &Record) -> Option<(Letter, i64)> {
    Some((dead_letter::read(record)?, record.timestamp_ms))
}

/// The offset of the last one that is to be fetched together with the first.
fn last_neighbour(wanted: &BTreeSet<&Position>, first: &Position) -> i64 {
    let mut last = first.offset;
    for position in wanted {
        if (&position.topic, position.partition) != (&first.topic, first.partition) || position.offset - last > NEAR {
            break;
        }
        last = position.offset;
    }
    last
}

fn shown(
    (letter, at_ms): (Letter, i64),
    event_id: Option<Uuid>,
    key: Option<&StoredKey>,
    is_applied: bool,
) -> ShownLetter {
    let text = letter.original.value.as_deref().unwrap_or_default();
    let preview = String::from_utf8_lossy(&text[..text.len().min(PREVIEW_CHARS * 4)]);
    let state = LetterState::of(mark_of(key), is_applied, letter.is_parked());
    ShownLetter {
        at: format_time(at_ms),
        topic: letter.source.topic.to_string(),
        event_id,
        learner: value::learner(text),
        rule: index::first_rule(&letter).to_owned(),
        preview: preview.chars().take(PREVIEW_CHARS).collect(),
        is_parked: letter.is_parked(),
        is_replayed: state == LetterState::Sent,
        is_applied,
        sent_to: key.and_then(marks::sent_to),
        discarded: key.and_then(marks::discard),
        state,
        letter,
    }
}

impl LetterState {
    fn of(mark: Mark, is_applied: bool, is_parked: bool) -> Self {
        match mark {
            Mark::Discarded => Self::Discarded,
            Mark::Sent => Self::Sent,
            Mark::None if is_applied => Self::Resolved,
            Mark::None if is_parked => Self::Parked,
            Mark::None => Self::Waiting,
        }
    }
}

/// Why a letter is one, in a line.
fn why(letter: &Letter) -> String {
    let findings = letter.findings.iter().map(|finding| match finding.pointer.as_str() {
        "" => finding.message.clone(),
        pointer => format!("{pointer}: {}", finding.message),
    });
    findings.take(3).collect::<Vec<_>>().join("; ")
}

#[async_trait]
impl DeadLetters for DeadLetterIndex {
    async fn list(
        &self,
        filter: &DeadLetterFilter,
        order: Order,
        limit: usize,
        after: Option<&Cursor>,
    ) -> Result<Letters, AskError> {
        let (index, is_behind) = self.look().await?;
        let matching = index.matching(filter);
        let (page, not_indexed) = (index.page(&matching, order, limit, after), index.not_indexed(&matching));
        drop(index);
        let mut letters = self.read_all(page.listed.iter()).await?;
        let letters = page.listed.iter().filter_map(|position| letters.remove(position)).collect();
        let letters = self.show_all(letters).await?;
        let next = page.next.map(|cursor| cursor.to_string());
        Ok(Letters { letters, total: page.total, next, not_indexed, is_behind, open: page.open })
    }

    async fn tenants(&self) -> Result<SoFar<BTreeSet<String>>, AskError> {
        let (_, is_behind) = self.look().await?;
        Ok(SoFar { answer: self.tenants.lock().clone(), is_behind })
    }

    async fn summarize(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Causes, AskError> {
        let (index, is_behind) = self.look().await?;
        let matching = index.matching(filter);
        let (Grouping { groups, total, kinds }, not_indexed) =
            (index.groups(&matching, limit), index.not_indexed(&matching));
        drop(index);
        let examples = self.read_all(groups.iter().filter_map(|group| group.example.as_ref())).await?;
        let causes = groups.into_iter().map(|group| Cause {
            why: group
                .example
                .as_ref()
                .and_then(|at| examples.get(at))
                .map(|(letter, _)| why(letter))
                .unwrap_or_default(),
            rule: group.rule,
            kind: group.kind,
            topic: group.topic,
            tenant: group.tenant,
            count: group.count,
            waiting: group.waiting,
            parked: group.parked,
            first: format_time(group.first_ms),
            last: format_time(group.last_ms),
            example: group.example,
        });
        Ok(Causes { causes: causes.collect(), total: total as u64, not_indexed, is_behind, kinds })
    }

    async fn violations(&self, filter: &ViolationFilter, limit: usize) -> Result<Violations, AskError> {
        let (index, is_behind) = self.look().await?;
        let series = index.violations(filter.tenant.as_deref(), filter.until_ms);
        let of_all = DeadLetterFilter {
            tenant: filter.tenant.clone(),
            topic: filter.topic.clone(),
            rule: filter.rule.clone(),
            ..DeadLetterFilter::default()
        };
        let not_indexed = index.not_indexed(&index.matching(&of_all));
        drop(index);
        let mut violations = violations::judge(series, filter, limit);
        let letters = self.read_all(violations.courses.iter().filter_map(|of| of.example.as_ref())).await?;
        for course in &mut violations.courses {
            let letter = course.example.as_ref().and_then(|at| letters.get(at));
            course.why = letter.map(|(letter, _)| why(letter)).unwrap_or_default();
        }
        Ok(Violations { not_indexed, is_behind, ..violations })
    }

    async fn find(&self, positions: &[Position]) -> Result<BTreeMap<Position, ShownLetter>, AskError> {
        let topics = self.index.lock().await.topics().to_vec();
        let of_letters = positions.iter().filter(|position| topics.iter().any(|topic| **topic == *position.topic));
        let letters = self.read_all(of_letters).await?;
        let shown = self.show_all(letters.into_values().collect()).await?;
        Ok(shown.into_iter().map(|letter| (letter.position.clone(), letter)).collect())
    }

    async fn about(
        &self,
        tenant: Option<&str>,
        events: &HashSet<Uuid>,
    ) -> Result<SoFar<HashMap<Uuid, Position>>, AskError> {
        let (index, is_behind) = self.look().await?;
        Ok(SoFar { answer: index.about(tenant, events), is_behind })
    }

    async fn of_ids(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Position>, AskError> {
        let index = self.look_at_all().await?;
        Ok(ids.iter().filter_map(|id| Some((*id, index.find(*id)?))).collect())
    }

    async fn keep_up(&self) {
        self.follow().await;
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError> {
        self.send_again(request).await
    }

    async fn discard(&self, request: &DiscardRequest) -> Result<DiscardSummary, AskError> {
        self.mark_discarded(request).await
    }

    async fn import(&self, document: &[u8]) -> Result<Imported, AskError> {
        self.import_record(document).await
    }
}

fn log_failed(error: EventLogError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}

fn ledger_failed(error: LedgerError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}
