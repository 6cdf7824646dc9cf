//! Work that a process does for others: it ingests prepared events, and calls functions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use lyceum_core::capacity::Capacity;
use lyceum_core::record::{NewRecord, Position};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dead_letters::letters::{DeadLetters, Ending};
use crate::questions::AskError;

/// What the process does for others.
#[async_trait::async_trait]
pub trait Work: Send + Sync {
    /// Publishes events, waits until each is settled, and counts how they ended.
    async fn ingest(&self, events: Vec<Prepared>) -> Result<Summary, AskError>;

    /// Begins to watch how records end; to be called before they are published.
    fn watch(&self) -> Box<dyn Watch>;

    /// Calls a function with a payload; `None` where there is no function of that name.
    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Option<Bytes>, AskError>;
}

/// Sees how records end.
#[async_trait::async_trait]
pub trait Watch: Send {
    /// Waits, at most so long, until these records are settled, and tells how each ended.
    async fn endings(&mut self, sent: &[Position], limit: Duration) -> Result<BTreeMap<Position, Ending>, AskError>;
}

/// One event on its way into a log, as commands hand it to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Where it goes.
    pub topic: String,
    /// What.
    pub record: NewRecord,
}

/// How an ingestion ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Events found in the files.
    pub read: u64,
    /// Events whose effect is in.
    pub applied: u64,
    /// Events that had been applied before.
    pub duplicate: u64,
    /// Events that were dead-lettered, by kind.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Records without a value, which are skipped.
    #[serde(default, skip_serializing_if = "is_none")]
    pub skipped: u64,
    /// Letters of events that were refused before under the same id, of the first hundred that were dead-lettered: what is sent
    /// once more is not decided anew, and a replay of the letter is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_before: Vec<Position>,
    /// Whether letters were not read yet when those were looked up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_behind: bool,
    /// The first hundred events that were dead-lettered, by which such letters are looked up.
    #[serde(skip)]
    pub refused: Vec<(Position, Uuid)>,
    /// Events that the mapping gave up; they went to its on-failure destination.
    pub given_up: u64,
    /// Events that another process, or a function elsewhere, settled; how they ended is not known here.
    #[serde(default)]
    pub elsewhere: u64,
    /// Events that were published and not settled before the ingestion ended; the next start settles them.
    #[serde(default)]
    pub unsettled: u64,
    /// Events that were not published, and why: file, line and size of those too large, the first hundred.
    pub not_published: Vec<String>,
    /// How many there were of them.
    pub not_published_total: u64,
    /// Files that hold no event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_files: Vec<String>,
    /// From the first byte read to the last event settled.
    pub seconds: f64,
    /// Events settled per second.
    pub per_second: f64,
    /// Seconds spent in each stage by this process: `function.<family>`, and `<store>.<operation>` within it or beside it.
    /// Calls at once count each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<String, f64>,
    /// Capacity units, as DynamoDB counts, that its own events consumed in this process: their share where others were processed
    /// meanwhile. Not shown to a caller that sees one tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// So many events that were dead-lettered are kept of an ingestion.
pub const REFUSED: usize = 100;

impl Summary {
    /// Looks up which of the refused events were refused before, among the letters of a tenant, or of all.
    ///
    /// # Errors
    /// As the letters' index has them.
    pub async fn look_up_refused(
        &mut self,
        dead_letters: &dyn DeadLetters,
        tenant: Option<&str>,
    ) -> Result<(), AskError> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let refused: HashMap<Uuid, Position> =
            std::mem::take(&mut self.refused).into_iter().map(|(position, event_id)| (event_id, position)).collect();
        let letters = dead_letters.about(tenant, &refused.keys().copied().collect()).await?;
        self.is_behind |= letters.is_behind;
        let positions: Vec<Position> = letters.answer.into_values().collect();
        for (position, letter) in dead_letters.find(&positions).await? {
            let now = letter.event_id.and_then(|event_id| refused.get(&event_id));
            let is_ours = tenant.is_none_or(|tenant| letter.tenant.as_deref() == Some(tenant));
            if is_ours && now.is_some_and(|now| *now != letter.source) {
                self.refused_before.push(position);
            }
        }
        Ok(())
    }

    /// Adds another part of the same ingestion.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.applied += other.applied;
        self.duplicate += other.duplicate;
        self.skipped += other.skipped;
        for (kind, count) in other.dead_lettered {
            *self.dead_lettered.entry(kind).or_default() += count;
        }
        for (stage, seconds) in other.stages {
            *self.stages.entry(stage).or_default() += seconds;
        }
        if let Some(capacity) = other.capacity {
            self.capacity.get_or_insert_default().add(&capacity);
        }
        self.is_behind |= other.is_behind;
        self.refused_before.extend(other.refused_before);
        self.refused_before.truncate(REFUSED);
        self.given_up += other.given_up;
        self.elsewhere += other.elsewhere;
        self.unsettled += other.unsettled;
        self.not_published_total += other.not_published_total;
        self.not_published.extend(other.not_published);
        self.not_published.truncate(100);
        self.empty_files.extend(other.empty_files);
    }

    /// Sets the time that it took.
    pub fn took(&mut self, time: Duration) {
        self.seconds = time.as_secs_f64();
        let settled = self.read - self.not_published_total - self.unsettled;
        self.per_second = if self.seconds > 0.0 { settled as f64 / self.seconds } else { 0.0 };
    }
}
