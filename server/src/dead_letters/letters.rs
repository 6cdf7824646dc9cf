//! What is asked of dead letters, and the plain shapes of the answers.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use lyceum_core::dead_letter::DeadLetter;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::questions::AskError;

/// A dead letter, and what is shown beside what it says itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownLetter {
    /// As it stands on its topic.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The topic that the record was on, and to which a replay sends it.
    pub topic: String,
    /// Where it could be read.
    pub event_id: Option<Uuid>,
    /// Whether it was sent again since.
    pub is_replayed: bool,
    /// Where it was sent to, `topic/partition/offset`, where that was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_to: Option<String>,
    /// Past the limit of replays: only a person who names its position sends it again.
    pub is_parked: bool,
    /// The first characters of the value.
    pub preview: String,
}

impl std::ops::Deref for ShownLetter {
    type Target = DeadLetter;

    fn deref(&self) -> &DeadLetter {
        &self.letter
    }
}

/// A list of letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Letters {
    /// The newest first.
    #[serde(rename = "dead_letters")]
    pub letters: Vec<ShownLetter>,
    /// Records of dead-letter topics that were not looked at, because the index is full: send some again first.
    pub not_indexed: u64,
}

/// Which dead letters are meant. Every part that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Letters of this tenant only. Where it is given, a letter whose tenant could not be read never matches.
    pub tenant: Option<String>,
    /// The topic that the record was on, or the dead-letter topic.
    pub topic: Option<String>,
    /// Why they are there.
    pub kind: Option<DeadLetterKind>,
}

/// How many letters of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterCount {
    /// Not sent again yet, and not parked.
    pub waiting: u64,
    /// See [`ShownLetter::is_parked`].
    pub parked: u64,
}

/// Which letters to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// These, parked or not. Nothing is sent unless each can be. Each belongs to the request's tenant; whoever asks has checked.
    Positions(Vec<Position>),
    /// Those that wait and match, oldest first; parked ones stay.
    Matching(DeadLetterFilter),
}

/// What to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRequest {
    /// Which letters.
    pub which: Which,
    /// Show what would be sent, and send nothing.
    pub is_dry_run: bool,
    /// At most so many.
    pub limit: usize,
    /// Also those named letters that were sent again already.
    pub again: bool,
    /// Letters that stood there at the beginning alone: the [`ReplaySummary::up_to`] of the first of several calls.
    pub up_to: Option<UpTo>,
}

/// Offsets by `topic/partition`.
pub type UpTo = BTreeMap<String, i64>;

/// One letter that was, or would be, sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The letter.
    pub position: Position,
    /// Why it was there.
    pub kind: DeadLetterKind,
    /// Where it goes.
    pub topic: String,
    /// What was wrong with it, in a line.
    pub why: String,
    /// Where it stands now; `None` in a dry run.
    pub sent_to: Option<Position>,
}

/// What became of a [`ReplayRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplaySummary {
    /// Whether nothing was sent.
    pub is_dry_run: bool,
    /// In the order in which they were sent.
    pub replayed: Vec<Replayed>,
    /// Letters that match and stay, because they are parked.
    pub parked: u64,
    /// Letters that match and are left for the next call, because of the limit or the time that a call may take.
    pub remaining: u64,
    /// Letters that match and cannot be sent again.
    pub unsendable: u64,
    /// Some of those, with their reasons; of letters that were known before, in the first of several calls only.
    pub refused: Vec<Refused>,
    /// How far the topics were read when the replay began; the next call of the same replay hands it back.
    pub up_to: UpTo,
    /// See [`Letters::not_indexed`].
    pub not_indexed: u64,
}

/// A letter that cannot be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The letter.
    pub position: Position,
    /// Why not, and what to do.
    pub reason: String,
}

/// What became of one on-failure record of AWS Lambda.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Dead letters that were written.
    pub letters: u64,
    /// Records that have a dead letter already.
    pub known: u64,
    /// Records whose event was applied, by another delivery.
    pub applied: u64,
    /// Records that are on their topic no more, by position.
    pub gone: Vec<String>,
    /// Records that cannot be a letter here, and why.
    pub refused: Vec<String>,
}

/// The dead letters of every topic.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// The newest first, at most `limit`.
    async fn list(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Letters, AskError>;

    /// How many there are of each kind; a kind without is absent.
    async fn count(&self, filter: &DeadLetterFilter) -> Result<BTreeMap<DeadLetterKind, DeadLetterCount>, AskError>;

    /// The tenants that have letters, also such as were sent again, by name.
    async fn tenants(&self) -> Result<BTreeSet<String>, AskError>;

    /// The letter at a position; `None` where there is none.
    async fn show(&self, position: &Position) -> Result<Option<ShownLetter>, AskError>;

    /// Sends letters again: the original record, with its source and its replay count.
    async fn replay(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError>;

    /// Makes letters of the records in an on-failure record of AWS Lambda. The same record once more makes none.
    async fn import(&self, document: &[u8]) -> Result<Imported, AskError>;
}
