//! What is asked of dead letters, and the plain shapes of the answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use lyceum_core::dead_letter::DeadLetter;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::violations::{ViolationFilter, Violations};
use crate::questions::AskError;

/// How a letter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    /// Nothing was done about it.
    #[default]
    Waiting,
    /// It was sent again.
    Sent,
    /// It failed after each of its replays: only a person who names its position sends it again.
    Parked,
    /// Its event was applied after it was refused: whoever sent it did so once more.
    Resolved,
    /// A person said that nothing is to be done about it.
    Discarded,
}

impl LetterState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Sent, Self::Parked, Self::Resolved, Self::Discarded];

    /// Its name in parameters and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Parked => "parked",
            Self::Resolved => "resolved",
            Self::Discarded => "discarded",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether something is still to be done about it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Parked)
    }
}

/// When a letter was discarded, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// RFC 3339.
    pub at: String,
    /// Whose credential it was.
    pub by: String,
}

/// A dead letter, and what is shown beside what it says itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownLetter {
    /// As it stands on its topic.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// When it was written: RFC 3339.
    pub at: String,
    /// The topic that the record was on, and to which a replay sends it.
    pub topic: String,
    /// Where it could be read.
    pub event_id: Option<Uuid>,
    /// Whom the event is about, where that could be read.
    pub learner: Option<String>,
    /// The first rule that was broken.
    pub rule: String,
    /// How it stands.
    pub state: LetterState,
    /// Whether it was sent again since.
    pub is_replayed: bool,
    /// Whether its event was applied after it was refused, by whatever way.
    pub is_applied: bool,
    /// Where it was sent to, `topic/partition/offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_to: Option<String>,
    /// Where it was discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Discard>,
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

/// What is said where letters are on the topics that were not read yet.
pub const BEHIND: &str = "more letters came than could be read yet: look again in a moment";

/// An answer from the letters that were read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoFar<T> {
    /// What they say.
    pub answer: T,
    /// See [`Letters::is_behind`].
    pub is_behind: bool,
}

/// A list of letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Letters {
    /// In the order that was asked for.
    #[serde(rename = "dead_letters")]
    pub letters: Vec<ShownLetter>,
    /// How many match in all, of those that can be listed.
    pub total: u64,
    /// Hand it back as `cursor` for those behind these; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Older letters that match and are not done with, and that the index has no room for: they are listed once others are
    /// sent again, discarded, or expire.
    pub not_indexed: u64,
    /// Whether so many letters came at once that not all of them were read yet, of whatever tenant they are.
    pub is_behind: bool,
    /// How many that match wait and are parked, those that are not indexed included.
    #[serde(skip)]
    pub open: DeadLetterCount,
}

/// In which order letters are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As people look at them.
    #[default]
    NewestFirst,
    /// As they are sent.
    OldestFirst,
}

/// Where a list goes on: behind this letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When that letter was written, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Where it stands.
    pub position: Position,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.at_ms, self.position)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (at_ms, position) = text.split_once('@')?;
            Some(Self { at_ms: at_ms.parse().ok()?, position: position.parse().ok()? })
        };
        parse().ok_or_else(|| format!("cursor is {text:?}: hand back the `next` of the answer before"))
    }
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
    /// The first rule that they broke.
    pub rule: Option<String>,
    /// How they stand.
    pub state: Option<LetterState>,
    /// Written from here on, milliseconds since 1970 UTC.
    pub since_ms: Option<i64>,
    /// Written before this.
    pub until_ms: Option<i64>,
}

impl DeadLetterFilter {
    /// Whether anything but the tenant is given.
    pub fn narrows(&self) -> bool {
        *self != Self { tenant: self.tenant.clone(), ..Self::default() }
    }
}

/// How many there are of each kind; a kind without is absent.
pub type CountOfKinds = BTreeMap<DeadLetterKind, DeadLetterCount>;

/// Letters that have rule, kind, topic and tenant in common: likely one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The first rule that they broke.
    pub rule: String,
    /// Why they are there.
    pub kind: DeadLetterKind,
    /// The topic that the records were on.
    pub topic: String,
    /// Whose they are, where that could be read.
    pub tenant: Option<String>,
    /// How many there are, those that are done with included.
    pub count: u64,
    /// How many wait.
    pub waiting: u64,
    /// How many are parked.
    pub parked: u64,
    /// When the first was written: RFC 3339.
    pub first: String,
    /// When the last was written.
    pub last: String,
    /// One of them: the newest that is not done with, else the newest. None where none can be listed.
    pub example: Option<Position>,
    /// What is wrong with the example, in a line.
    pub why: String,
}

/// Letters by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Causes {
    /// Those of which the most wait first.
    pub causes: Vec<Cause>,
    /// How many there are in all.
    pub total: u64,
    /// See [`Letters::not_indexed`].
    pub not_indexed: u64,
    /// See [`Letters::is_behind`].
    pub is_behind: bool,
    /// How many of each kind wait and are parked, in whatever state the causes are asked for.
    #[serde(skip)]
    pub kinds: CountOfKinds,
}

/// How many letters there are that are not done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterCount {
    /// Not sent again yet, and not parked.
    pub waiting: u64,
    /// See [`ShownLetter::is_parked`].
    pub parked: u64,
}

impl DeadLetterCount {
    /// Counts so many more.
    pub fn add(&mut self, is_parked: bool, number: u64) {
        *(if is_parked { &mut self.parked } else { &mut self.waiting }) += number;
    }
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
    /// When it stops itself, where what it sent fails again: it then sends in growing parts, and waits a little for the ends of each.
    /// Named letters are sent all the same.
    pub stop_at: Option<StopAt>,
    /// How what the calls before sent has ended: their [`ReplaySummary::ends`].
    pub ends: Ends,
}

/// What to mark as done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscardRequest {
    /// Which letters: these, or those that match and are not done with, parked ones included.
    pub which: Which,
    /// Show what would be marked, and mark nothing.
    pub is_dry_run: bool,
    /// At most so many.
    pub limit: usize,
    /// Whose credential it is.
    pub by: String,
    /// As [`ReplayRequest::up_to`].
    pub up_to: Option<UpTo>,
}

/// One letter that was, or would be, marked as done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discarded {
    /// The letter.
    pub position: Position,
    /// Why it was there.
    pub kind: DeadLetterKind,
    /// The topic that its record was on.
    pub topic: String,
    /// What was wrong with it, in a line.
    pub why: String,
}

/// What became of a [`DiscardRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiscardSummary {
    /// Whether nothing was marked.
    pub is_dry_run: bool,
    /// Those that were marked by this.
    pub discarded: Vec<Discarded>,
    /// Named letters that were done with before: discarded, or sent again.
    pub already: u64,
    /// Letters that match and are left for the next call.
    pub remaining: u64,
    /// As [`ReplaySummary::up_to`].
    pub up_to: UpTo,
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
    /// How it ended there, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// The id of the letter that it becomes where it fails again.
    #[serde(skip)]
    pub next_id: Uuid,
}

/// How a record that was sent again ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// How.
    pub outcome: Ending,
    /// The letter that it became, where it was dead-lettered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<Position>,
}

/// See [`Ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Its effect is in.
    Applied,
    /// It had been applied before.
    Duplicate,
    /// It failed again.
    DeadLettered,
    /// It is settled, by another process or by being skipped or given up.
    Elsewhere,
    /// It is still to be processed.
    Pending,
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
    /// Of a replay that stops itself: how what was sent has ended, by this call and those before.
    pub ends: Ends,
    /// Why it stopped itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
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
    /// The newest first, at most `limit`, those behind the cursor.
    async fn list(
        &self,
        filter: &DeadLetterFilter,
        order: Order,
        limit: usize,
        after: Option<&Cursor>,
    ) -> Result<Letters, AskError>;

    /// Them by what they have in common, at most `limit`.
    async fn summarize(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Causes, AskError>;

    /// What broke since when, at most `limit` of each list.
    async fn violations(&self, filter: &ViolationFilter, limit: usize) -> Result<Violations, AskError>;

    /// The letters at these positions, those that there are.
    async fn find(&self, positions: &[Position]) -> Result<BTreeMap<Position, ShownLetter>, AskError>;

    /// The tenants that have letters, also such as were sent again, by name.
    async fn tenants(&self) -> Result<SoFar<BTreeSet<String>>, AskError>;

    /// The letter at a position; `None` where there is none.
    async fn show(&self, position: &Position) -> Result<Option<ShownLetter>, AskError> {
        Ok(self.find(std::slice::from_ref(position)).await?.remove(position))
    }

    /// The newest letter of each of these events that is not done with, of a tenant or of all.
    async fn about(
        &self,
        tenant: Option<&str>,
        events: &HashSet<Uuid>,
    ) -> Result<SoFar<HashMap<Uuid, Position>>, AskError>;

    /// Where the letters of these ids stand, those that there are.
    async fn of_ids(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Position>, AskError>;

    /// Reads what comes for as long as it is polled, so that whoever asks finds nothing left to be read.
    async fn keep_up(&self) {
        std::future::pending().await
    }

    /// Sends letters again: the original record, with its source and its replay count.
    async fn replay(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError>;

    /// Marks letters as done with. They stay on their topics; once more is harmless.
    async fn discard(&self, request: &DiscardRequest) -> Result<DiscardSummary, AskError>;

    /// Makes letters of the records in an on-failure record of AWS Lambda. The same record once more makes none.
    async fn import(&self, document: &[u8]) -> Result<Imported, AskError>;
}

/// So many ends must be known before anything is said of a share.
pub const AT_LEAST: u64 = 20;
/// When a replay stops itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopAt {
    /// Where of the ends that are known more than so many percent are failures, 0 to 100.
    pub percent: u8,
}

impl Default for StopAt {
    fn default() -> Self {
        Self { percent: 50 }
    }
}

/// How what was sent has ended, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// So many ends are known.
    pub known: u64,
    /// So many of them failed again.
    pub failed: u64,
}

impl Ends {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { known: self.known + other.known, failed: self.failed + other.failed }
    }

    /// Why a replay stops, where it does.
    pub fn stops(self, at: StopAt) -> Option<String> {
        let Self { known, failed } = self;
        let is_bad = known >= AT_LEAST && failed.saturating_mul(100) > known.saturating_mul(u64::from(at.percent));
        is_bad.then(|| {
            format!(
                "{failed} of {known} that were sent again failed again: it stopped itself. Mend the cause first; `lyceum dead-letters \
                 summary` says what it is"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_stops_where_more_than_the_share_failed_of_enough_that_are_known() {
        let at = StopAt::default();
        let stops = |known, failed| Ends { known, failed }.stops(at).is_some();
        assert!(!stops(19, 19), "too few are known");
        assert!(!stops(20, 10), "half is not more than half");
        assert!(stops(20, 11));
        assert!(Ends { known: 40, failed: 40 }.stops(StopAt { percent: 100 }).is_none(), "never");
        assert!(Ends { known: 20, failed: 1 }.stops(StopAt { percent: 0 }).unwrap().contains("1 of 20"));
    }
}
