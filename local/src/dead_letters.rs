//! The dead letters of every topic: an index that follows the topics, and the sending again.
//!
//! What was sent again is remembered in the ledger, under the letter's id: so nothing is sent twice by two people, and a
//! replay that was cut off goes on where it stopped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use lyceum_core::dead_letter::{self, DeadLetter as Letter};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::{Commit, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, LedgerError, StoredKey};
use lyceum_core::record::{Position, Record};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::http::ports::{
    AskError, DeadLetter, DeadLetterCount, DeadLetterFilter, DeadLetters, ReplayRequest, ReplaySummary, Replayed, Which,
};

/// Who remembers what was sent again, in the ledger.
const SUBSCRIBER: &str = "replay";
/// The tenant of letters whose own could not be read.
const NO_TENANT: &str = "-";
/// Records a fetch.
const FETCH_RECORDS: usize = 1_000;
const FETCH_BYTES: usize = 4 << 20;
/// So much of a value is shown in a list.
const PREVIEW_CHARS: usize = 200;

/// The dead letters of a process.
pub struct DeadLetterIndex {
    event_log: Arc<dyn EventLog>,
    ledger: Arc<dyn Ledger>,
    topics: Vec<String>,
    followed: Mutex<Followed>,
}

/// What is known of the topics so far.
#[derive(Default)]
struct Followed {
    next: HashMap<(String, i32), i64>,
    seen: HashSet<Uuid>,
    letters: Vec<Known>,
}

/// A letter in the index: small, since there may be many.
struct Known {
    position: Position,
    source_topic: Arc<str>,
    kind: DeadLetterKind,
    tenant: Option<Arc<str>>,
    is_parked: bool,
    is_replayed: bool,
}

impl Known {
    fn matches(&self, filter: &DeadLetterFilter) -> bool {
        let of_tenant = |tenant: &String| self.tenant.as_deref() == Some(tenant.as_str());
        let of_topic = |topic: &String| **topic == *self.source_topic || **topic == *self.position.topic;
        filter.tenant.as_ref().is_none_or(of_tenant)
            && filter.topic.as_ref().is_none_or(of_topic)
            && filter.kind.is_none_or(|kind| kind == self.kind)
    }

    fn is_waiting(&self) -> bool {
        !self.is_parked && !self.is_replayed
    }
}

impl DeadLetterIndex {
    /// Follows these topics, from their beginning, whenever it is asked something.
    pub fn new(event_log: Arc<dyn EventLog>, ledger: Arc<dyn Ledger>, topics: Vec<String>) -> Self {
        Self { event_log, ledger, topics, followed: Mutex::default() }
    }

    /// Takes in what came since the last time.
    async fn follow(&self, followed: &mut Followed) -> Result<(), AskError> {
        for topic in &self.topics {
            let ranges = self.event_log.offsets(topic).await.map_err(log_failed)?;
            for (partition, range) in (0..).zip(ranges) {
                let mut next = followed.next.get(&(topic.clone(), partition)).copied().unwrap_or(0).max(range.start);
                followed.letters.retain(|known| {
                    *known.position.topic != **topic
                        || known.position.partition != partition
                        || known.position.offset >= range.start
                });
                while next < range.end {
                    let records = self
                        .event_log
                        .fetch(topic, partition, next, FETCH_RECORDS, FETCH_BYTES)
                        .await
                        .map_err(log_failed)?;
                    let Some(last) = records.last() else { break };
                    next = last.position.offset + 1;
                    self.take_in(&records, followed).await?;
                    followed.next.insert((topic.clone(), partition), next);
                }
            }
        }
        Ok(())
    }

    async fn take_in(&self, records: &[Record], followed: &mut Followed) -> Result<(), AskError> {
        let letters: Vec<Letter> = records.iter().filter_map(dead_letter::read).collect();
        // The same letter may be there more than once: it is published at least once, under one id.
        let letters: Vec<Letter> = letters.into_iter().filter(|letter| followed.seen.insert(letter.id)).collect();
        let keys: Vec<KeyId> = letters.iter().map(key_of).collect();
        let sent = if keys.is_empty() {
            Vec::new()
        } else {
            match self.ledger.load(&[], &keys).await {
                Ok(loaded) => loaded.keys,
                Err(error) => {
                    letters.iter().for_each(|letter| {
                        followed.seen.remove(&letter.id);
                    });
                    return Err(ledger_failed(error));
                }
            }
        };
        followed.letters.extend(letters.into_iter().zip(sent).map(|(letter, sent)| Known {
            is_parked: letter.is_parked(),
            is_replayed: sent.is_some(),
            source_topic: letter.source.topic,
            kind: letter.kind,
            tenant: letter.tenant.map(Arc::from),
            position: letter.position,
        }));
        Ok(())
    }

    async fn read(&self, position: &Position) -> Result<Option<Letter>, AskError> {
        let records = self.event_log.fetch(&position.topic, position.partition, position.offset, 1, 1).await;
        match records {
            Ok(records) => Ok(records.first().and_then(dead_letter::read)),
            Err(error) if !error.is_transient() => Ok(None),
            Err(error) => Err(log_failed(error)),
        }
    }

    /// Sends one letter again, unless somebody did so before; then tells where it went.
    async fn send(&self, letter: &Letter) -> Result<Position, AskError> {
        let replay = letter.replay();
        let positions = self.event_log.produce(&replay.topic, vec![replay.record]).await.map_err(log_failed)?;
        let sent_to =
            positions.into_iter().next().ok_or_else(|| AskError::Failed("the log gave no position".into()))?;
        // Sent, then remembered: cut off in between it is sent once more, and the event's own key makes that harmless.
        let key = StoredKey {
            status: KeyStatus::Applied,
            epoch: letter.replay_count,
            content_hash: [0; 32],
            source: letter.position.clone(),
            nonce: Uuid::nil(),
            recording: sent_to.to_string().into(),
        };
        let write = KeyWrite { id: key_of(letter), expected: KeyExpectation::Absent, key };
        match self.ledger.commit(Commit { aggregates: Vec::new(), keys: vec![write] }).await {
            Ok(()) | Err(LedgerError::Conflict | LedgerError::Uncertain(_)) => Ok(sent_to),
            Err(error) => Err(ledger_failed(error)),
        }
    }

    async fn shown(&self, letter: Letter, is_replayed: bool) -> DeadLetter {
        let value = letter.original.value.as_deref().unwrap_or_default();
        let preview = String::from_utf8_lossy(&value[..value.len().min(PREVIEW_CHARS * 4)]);
        DeadLetter {
            topic: letter.source.topic.to_string(),
            event_id: event_id(value),
            preview: preview.chars().take(PREVIEW_CHARS).collect(),
            is_parked: letter.is_parked(),
            is_replayed,
            causes: Vec::new(),
            position: letter.position,
            kind: letter.kind,
            findings: letter.findings,
            source: Some(letter.source),
            family: letter.family,
            tenant: letter.tenant,
            correlation_id: letter.correlation_id,
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            replay_count: letter.replay_count,
        }
    }
}

#[async_trait]
impl DeadLetters for DeadLetterIndex {
    async fn list(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, AskError> {
        let mut followed = self.followed.lock().await;
        self.follow(&mut followed).await?;
        let mut newest: Vec<(Position, bool)> = followed
            .letters
            .iter()
            .rev()
            .filter(|known| known.matches(filter))
            .take(limit)
            .map(|known| (known.position.clone(), known.is_replayed))
            .collect();
        drop(followed);
        let mut letters = Vec::with_capacity(newest.len());
        for (position, is_replayed) in newest.drain(..) {
            if let Some(letter) = self.read(&position).await? {
                letters.push(self.shown(letter, is_replayed).await);
            }
        }
        Ok(letters)
    }

    async fn count(&self, filter: &DeadLetterFilter) -> Result<BTreeMap<DeadLetterKind, DeadLetterCount>, AskError> {
        let mut followed = self.followed.lock().await;
        self.follow(&mut followed).await?;
        let mut counts: BTreeMap<DeadLetterKind, DeadLetterCount> = BTreeMap::new();
        for known in followed.letters.iter().filter(|known| known.matches(filter)) {
            let count = counts.entry(known.kind).or_default();
            count.waiting += u64::from(known.is_waiting());
            count.parked += u64::from(known.is_parked && !known.is_replayed);
        }
        Ok(counts)
    }

    async fn show(&self, position: &Position) -> Result<Option<DeadLetter>, AskError> {
        if !self.topics.iter().any(|topic| **topic == *position.topic) {
            return Ok(None);
        }
        let Some(letter) = self.read(position).await? else { return Ok(None) };
        let sent = self.ledger.load(&[], &[key_of(&letter)]).await.map_err(ledger_failed)?;
        let is_replayed = sent.keys.first().is_some_and(Option::is_some);
        Ok(Some(self.shown(letter, is_replayed).await))
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError> {
        let mut followed = self.followed.lock().await;
        self.follow(&mut followed).await?;
        let mut summary = ReplaySummary { is_dry_run: request.is_dry_run, ..ReplaySummary::default() };
        let chosen: Vec<usize> = match &request.which {
            Which::Positions(positions) => {
                let place = |position: &Position| {
                    let found = followed.letters.iter().position(|known| known.position == *position);
                    found.ok_or_else(|| AskError::Invalid(format!("{position} holds no dead letter")))
                };
                positions.iter().map(place).collect::<Result<_, _>>()?
            }
            Which::Matching(filter) => {
                let matching = |(_, known): &(usize, &Known)| known.matches(filter) && !known.is_replayed;
                let (parked, waiting): (Vec<_>, Vec<_>) =
                    followed.letters.iter().enumerate().filter(matching).partition(|(_, known)| known.is_parked);
                summary.parked = parked.len() as u64;
                waiting.into_iter().map(|(at, _)| at).collect()
            }
        };
        summary.remaining = chosen.len().saturating_sub(request.limit) as u64;
        for at in chosen.into_iter().take(request.limit) {
            let position = followed.letters[at].position.clone();
            let Some(letter) = self.read(&position).await? else { continue };
            if letter.value_omitted {
                let why = format!(
                    "{position} does not hold its event's value, which was too large; it is at {}",
                    letter.source
                );
                return Err(AskError::Invalid(why));
            }
            let sent_to = if request.is_dry_run { None } else { Some(self.send(&letter).await?) };
            if sent_to.is_some() {
                followed.letters[at].is_replayed = true;
            }
            summary.replayed.push(Replayed {
                position,
                kind: letter.kind,
                topic: letter.source.topic.to_string(),
                sent_to,
            });
        }
        Ok(summary)
    }
}

fn key_of(letter: &Letter) -> KeyId {
    KeyId {
        tenant: letter.tenant.clone().unwrap_or_else(|| NO_TENANT.to_owned()),
        subscriber: SUBSCRIBER.to_owned(),
        event_id: letter.id,
    }
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
