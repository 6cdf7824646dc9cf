//! The dead letters of every topic: an index that follows the topics, the sending again, and what AWS Lambda gave up.
//!
//! What was sent again is remembered in the ledger, under the letter's id: so nothing is sent twice by two people or two
//! processes, and a replay that was cut off goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lyceum_core::clock::Clock;
use lyceum_core::dead_letter::{self, DeadLetter as Letter, Publication};
use lyceum_core::envelope::{EnvelopeConfig, REPLAY_COUNT_HEADER, SOURCE_HEADER};
use lyceum_core::family::Catalog;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::{Commit, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, LedgerError, StoredKey};
use lyceum_core::process::Subscriber;
use lyceum_core::record::{NewRecord, Position, Record};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::questions::AskError;
use index::{Index, Known, Place};
use letters::{
    DeadLetterCount, DeadLetterFilter, DeadLetters, Imported, Letters, Refused, ReplayRequest, ReplaySummary, Replayed,
    ShownLetter, Which,
};

mod import;
mod index;
pub mod letters;

/// Who remembers what was sent again, in the ledger.
const SUBSCRIBER: &str = "replay";
/// The tenant of letters whose own could not be read.
const NO_TENANT: &str = "-";
/// Records a fetch.
const FETCH_RECORDS: usize = 1_000;
const FETCH_BYTES: usize = 4 << 20;
/// Letters that are not further apart are fetched together, with what is between them.
const NEAR: i64 = 16;
/// So much of a value is shown in a list.
const PREVIEW_CHARS: usize = 200;
/// So many letters are indexed: about 40 MB.
const INDEXED_LETTERS: usize = 250_000;
/// So long one call sends; what is left is for the next one. A request has 30 s in all.
const SENDING_TIME: Duration = Duration::from_secs(15);
/// So many tenants are known by name.
const NAMED_TENANTS: usize = 1_000;
/// What is longer names no tenant to a person.
const TENANT_BYTES: usize = 240;
/// Of letters that cannot be sent again so many are named with their reason.
const REASONS: usize = 20;

/// The dead letters of a process.
pub struct DeadLetterIndex {
    event_log: Arc<dyn EventLog>,
    ledger: Arc<dyn Ledger>,
    functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
    catalog: Arc<Catalog>,
    envelope: EnvelopeConfig,
    clock: Arc<dyn Clock>,
    index: Mutex<Index>,
    /// Whose letters were seen; at most [`NAMED_TENANTS`].
    tenants: std::sync::Mutex<BTreeSet<String>>,
    /// One replay at a time; looking does not wait for it.
    replaying: Mutex<()>,
}

impl DeadLetterIndex {
    /// Follows the catalog's dead-letter topics, from their beginning, whenever it is asked something. The functions of all families tell
    /// which events were applied.
    pub fn new(
        event_log: Arc<dyn EventLog>,
        ledger: Arc<dyn Ledger>,
        functions: BTreeMap<&'static str, Arc<dyn Subscriber>>,
        catalog: Arc<Catalog>,
        envelope: EnvelopeConfig,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let topics = catalog.dead_letter_topics().into_iter().map(str::to_owned).collect();
        let index = Mutex::new(Index::new(topics, INDEXED_LETTERS));
        Self {
            event_log,
            ledger,
            functions,
            catalog,
            envelope,
            clock,
            index,
            tenants: Default::default(),
            replaying: Mutex::default(),
        }
    }

    /// The same with room for so many letters.
    #[must_use]
    pub fn with_room(mut self, letters: usize) -> Self {
        let topics = self.index.get_mut().topics().to_vec();
        self.index = Mutex::new(Index::new(topics, letters));
        self
    }

    /// Takes in what came since the last time; returns how many records were not looked at for want of room. A call that
    /// is given up in the middle loses nothing: the next one goes on.
    async fn follow(&self, index: &mut Index) -> Result<u64, AskError> {
        let mut not_indexed = 0;
        for (topic, name) in index.topics().to_vec().iter().enumerate() {
            let ranges = match self.event_log.offsets(name).await {
                Ok(ranges) => ranges,
                // A cluster on which nothing was ever dead-lettered.
                Err(EventLogError::UnknownTopic(_)) => continue,
                Err(error) => return Err(log_failed(error)),
            };
            for (partition, range) in (0..).zip(ranges) {
                let place = (topic, partition);
                if index.next(place, range.start) > range.end {
                    index.reset(place);
                }
                let mut next = index.next(place, range.start);
                while next < range.end {
                    let room = index.room();
                    if room == 0 {
                        not_indexed += (range.end - next) as u64;
                        break;
                    }
                    let most = room.min(FETCH_RECORDS);
                    let fetched = self.event_log.fetch(name, partition, next, most, FETCH_BYTES).await;
                    let records = match fetched {
                        Ok(records) => records,
                        // Retention was faster; the next call begins where the partition does then.
                        Err(EventLogError::OffsetOutOfRange { .. }) => break,
                        Err(error) => return Err(log_failed(error)),
                    };
                    let Some(last) = records.last() else { break };
                    next = last.position.offset + 1;
                    self.take_in(place, &records, next, index).await?;
                }
            }
        }
        Ok(not_indexed)
    }

    async fn take_in(&self, place: Place, records: &[Record], next: i64, index: &mut Index) -> Result<(), AskError> {
        let letters = records.iter().filter_map(|record| Some((dead_letter::read(record)?, record.timestamp_ms)));
        let letters: Vec<(Letter, i64)> = letters.filter(|(letter, _)| !index.is_known(letter.id)).collect();
        self.name_tenants(letters.iter().filter_map(|(letter, _)| letter.tenant.as_deref()));
        let keys: Vec<KeyId> = letters.iter().map(|(letter, _)| key_of(letter)).collect();
        let sent = match keys.is_empty() {
            true => Vec::new(),
            false => self.ledger.load(&[], &keys).await.map_err(ledger_failed)?.keys,
        };
        let known = letters.iter().zip(sent).map(|((letter, at_ms), sent)| Known::of(letter, *at_ms, sent.is_some()));
        index.take_in(place, known, next);
        Ok(())
    }

    fn name_tenants<'a>(&self, tenants: impl Iterator<Item = &'a str>) {
        let mut named = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in tenants {
            if named.len() < NAMED_TENANTS && tenant.len() <= TENANT_BYTES && !named.contains(tenant) {
                named.insert(tenant.to_owned());
            }
        }
    }

    async fn read(&self, position: &Position) -> Result<Option<Letter>, AskError> {
        Ok(self.record_at(position).await?.as_ref().and_then(dead_letter::read))
    }

    /// The letters at these positions, those that are still there. They are read in the order of the log, in which a reader
    /// never has to move back, and neighbours together.
    async fn read_all(&self, mut wanted: BTreeSet<&Position>) -> Result<BTreeMap<Position, Letter>, AskError> {
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
            letters.extend(found.filter_map(dead_letter::read).map(|letter| (letter.position.clone(), letter)));
            wanted = later;
        }
        Ok(letters)
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

    /// Where a letter was sent to, if it was.
    async fn sent_to(&self, letter: &Letter) -> Result<Option<String>, AskError> {
        let loaded = self.ledger.load(&[], &[key_of(letter)]).await.map_err(ledger_failed)?;
        let text = |key: StoredKey| String::from_utf8_lossy(&key.recording).into_owned();
        Ok(loaded.keys.into_iter().next().flatten().map(text))
    }

    /// What sending a letter again publishes, or why it cannot be done.
    async fn publication(&self, letter: &Letter) -> Result<Result<Publication, String>, AskError> {
        if letter.holds_original() {
            return Ok(Ok(letter.replay()));
        }
        if letter.value_omitted {
            return Ok(Err(format!(
                "the letter does not hold its event's value, which was too large; it is at {}",
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

    /// Sends one letter again and remembers it.
    async fn send(&self, letter: &Letter, publication: Publication) -> Result<Position, AskError> {
        let positions =
            self.event_log.produce(&publication.topic, vec![publication.record]).await.map_err(log_failed)?;
        let sent_to =
            positions.into_iter().next().ok_or_else(|| AskError::Failed("the log gave no position".into()))?;
        // Sent, then remembered: cut off in between it is sent once more, and the event's own key makes that harmless.
        let key = StoredKey {
            status: KeyStatus::Applied,
            epoch: letter.replay_count,
            content_hash: [0; 32],
            source: letter.position.clone(),
            recording: sent_to.to_string().into(),
        };
        let write = KeyWrite { id: key_of(letter), expected: KeyExpectation::Absent, key };
        match self.ledger.commit(Commit { aggregates: Vec::new(), keys: vec![write] }).await {
            Ok(()) | Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => Ok(sent_to),
            Err(error) => Err(ledger_failed(error)),
        }
    }

    /// Looks before anything is sent: every position must hold a letter that can be sent and, unless `again`, was not.
    async fn check_positions(&self, positions: &[Position], again: bool) -> Result<(), AskError> {
        for position in positions {
            let letter = self.read(position).await?;
            let letter = letter.ok_or_else(|| AskError::Invalid(format!("{position} holds no dead letter")))?;
            if let Err(why) = self.publication(&letter).await? {
                return Err(AskError::Invalid(format!("{position} cannot be sent again: {why}")));
            }
            if again {
                continue;
            }
            if let Some(sent_to) = self.sent_to(&letter).await? {
                let failed_again = self.index.lock().await.find(letter.next_id());
                let advice = match failed_again {
                    Some(newer) => format!("it failed again, and that letter is at {newer}: send that one"),
                    None => "say so with --again (\"again\": true) if it shall be sent once more".to_owned(),
                };
                return Err(AskError::Invalid(format!("{position} was sent again already, to {sent_to}; {advice}")));
            }
        }
        Ok(())
    }
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

fn shown(letter: Letter, sent_to: Option<String>, is_replayed: bool) -> ShownLetter {
    let value = letter.original.value.as_deref().unwrap_or_default();
    let preview = String::from_utf8_lossy(&value[..value.len().min(PREVIEW_CHARS * 4)]);
    ShownLetter {
        topic: letter.source.topic.to_string(),
        event_id: event_id(value),
        preview: preview.chars().take(PREVIEW_CHARS).collect(),
        is_parked: letter.is_parked(),
        is_replayed,
        sent_to,
        letter,
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
    async fn list(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Letters, AskError> {
        let mut index = self.index.lock().await;
        let not_indexed = self.follow(&mut index).await?;
        let newest = index.newest(&index.matching(filter), limit);
        drop(index);
        let mut letters = self.read_all(newest.iter().map(|(position, _)| position).collect()).await?;
        let letters = newest.iter().filter_map(|(position, is_replayed)| {
            letters.remove(position).map(|letter| shown(letter, None, *is_replayed))
        });
        Ok(Letters { letters: letters.collect(), not_indexed })
    }

    async fn count(&self, filter: &DeadLetterFilter) -> Result<BTreeMap<DeadLetterKind, DeadLetterCount>, AskError> {
        let mut index = self.index.lock().await;
        self.follow(&mut index).await?;
        Ok(index.count(&index.matching(filter)))
    }

    async fn tenants(&self) -> Result<BTreeSet<String>, AskError> {
        let mut index = self.index.lock().await;
        self.follow(&mut index).await?;
        Ok(self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn show(&self, position: &Position) -> Result<Option<ShownLetter>, AskError> {
        if !self.index.lock().await.topics().iter().any(|topic| **topic == *position.topic) {
            return Ok(None);
        }
        let Some(letter) = self.read(position).await? else { return Ok(None) };
        let sent_to = self.sent_to(&letter).await?;
        let is_replayed = sent_to.is_some();
        Ok(Some(shown(letter, sent_to, is_replayed)))
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError> {
        let started = Instant::now();
        let _alone = self.replaying.lock().await;
        let mut summary = ReplaySummary { is_dry_run: request.is_dry_run, ..ReplaySummary::default() };
        let mut index = self.index.lock().await;
        summary.not_indexed = self.follow(&mut index).await?;
        summary.up_to = request.up_to.clone().unwrap_or_else(|| index.up_to());
        let (waiting, unsendable, is_named) = match &request.which {
            Which::Positions(positions) => (positions.clone(), Vec::new(), true),
            Which::Matching(filter) => {
                let chosen = index.choose(&index.matching(filter), request.up_to.as_ref(), request.limit);
                (summary.parked, summary.remaining) = (chosen.parked, chosen.further);
                summary.unsendable = chosen.unsendable.len() as u64;
                (chosen.waiting.into_iter().map(|(at, _)| at).collect(), chosen.unsendable, false)
            }
        };
        drop(index);
        if is_named {
            self.check_positions(&waiting, request.again).await?;
        } else if request.up_to.is_none() {
            // Known once, at the beginning of a replay.
            for position in unsendable.into_iter().take(REASONS) {
                if let Some(letter) = self.read(&position).await?
                    && let Err(reason) = self.publication(&letter).await?
                {
                    summary.refused.push(Refused { position, reason });
                }
            }
        }
        let mut waiting = waiting.into_iter();
        while summary.replayed.len() < request.limit && started.elapsed() < SENDING_TIME {
            let Some(position) = waiting.next() else { break };
            let Some(letter) = self.read(&position).await? else { continue };
            let publication = match self.publication(&letter).await? {
                Ok(publication) => publication,
                Err(reason) => {
                    if let Some(known) = self.index.lock().await.at(&position) {
                        known.is_unsendable = true;
                    }
                    summary.unsendable += 1;
                    summary.refused.push(Refused { position, reason });
                    continue;
                }
            };
            let sent_to = if request.is_dry_run {
                None
            } else {
                // Another process may have sent it since it was indexed.
                let is_sent = !is_named && self.sent_to(&letter).await?.is_some();
                let sent_to = if is_sent { None } else { Some(self.send(&letter, publication).await?) };
                if let Some(known) = self.index.lock().await.at(&position) {
                    known.is_replayed = true;
                }
                if is_sent {
                    continue;
                }
                sent_to
            };
            summary.replayed.push(Replayed {
                position,
                kind: letter.kind,
                topic: letter.source.topic.to_string(),
                why: why(&letter),
                sent_to,
            });
        }
        summary.remaining += waiting.len() as u64;
        Ok(summary)
    }

    async fn import(&self, document: &[u8]) -> Result<Imported, AskError> {
        self.import_record(document).await
    }
}

fn key_of(letter: &Letter) -> KeyId {
    KeyId::of(letter.tenant.as_deref().unwrap_or(NO_TENANT), SUBSCRIBER, letter.id)
}

/// The statement's id, where the value is JSON that has one.
fn event_id(value: &[u8]) -> Option<Uuid> {
    #[derive(serde::Deserialize)]
    struct Identified {
        id: Option<Uuid>,
    }
    #[derive(serde::Deserialize)]
    struct Wrapped {
        xapi_data: Identified,
    }
    let wrapped = || serde_json::from_slice::<Wrapped>(value).ok().and_then(|wrapped| wrapped.xapi_data.id);
    serde_json::from_slice::<Identified>(value).ok().and_then(|bare| bare.id).or_else(wrapped)
}

fn log_failed(error: EventLogError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}

fn ledger_failed(error: LedgerError) -> AskError {
    if error.is_transient() { AskError::Unavailable(error.to_string()) } else { AskError::Failed(error.to_string()) }
}
