//! How far a run has come. It is kept after each part, and all that a run needs to go on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Plan, Step};
use super::reading::Chunk;
use super::request::Request;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on, or will as soon as a process takes it up.
    Running,
    /// A person stopped it; it can be resumed.
    Cancelled,
    /// All of it is done.
    Done,
    /// It cannot go on by itself; it can be resumed once the reason is mended.
    Failed,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// How many records of a partition became what. Each that matches was sent, skipped or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that were there.
    pub read: u64,
    /// Those of them that match.
    pub matched: u64,
    /// Those of them that are where they should go; for a subscriber those whose effect is in, by this replay or before.
    pub sent: u64,
    /// For a subscriber: those that another record of the same event came before, and those that it does not want.
    pub skipped: u64,
    /// Those that the target will never take: too large for the topic, or a dead letter of the subscriber.
    pub refused: u64,
    /// Offsets that the log had dropped before they were read.
    #[serde(default)]
    pub gone: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            matched: self.matched + other.matched,
            sent: self.sent + other.sent,
            skipped: self.skipped + other.skipped,
            refused: self.refused + other.refused,
            gone: self.gone + other.gone,
        }
    }
}

/// How far one partition is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The next offset, of the step in hand or of the one that comes.
    pub next: i64,
    /// How many of its offsets are behind it.
    pub offsets: u64,
    /// What became of them.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// Why, where it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The step in hand: all before it are done.
    pub step: u64,
    /// The next offset of that step, unless it is at its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    /// In the order of the plan's partitions.
    pub partitions: Vec<Reached>,
    /// When it began, milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// When it last came further, or was stopped or resumed.
    pub updated_ms: i64,
    /// How long it ran in all, milliseconds: pauses are none of it.
    pub running_ms: i64,
    /// Of a file: where its sink stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// Of a file: what its sink says of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Value>,
}

impl Progress {
    /// At the beginning of a plan.
    pub fn begin(plan: &Plan, now_ms: i64) -> Self {
        let reached =
            |range: Option<&(i64, i64)>| Reached { next: range.map_or(0, |range| range.0), ..Reached::default() };
        Self {
            state: State::Running,
            reason: None,
            step: 0,
            next: None,
            partitions: plan.partitions.iter().map(|of| reached(of.ranges.first())).collect(),
            started_ms: now_ms,
            updated_ms: now_ms,
            running_ms: 0,
            checkpoint: None,
            written: None,
        }
    }

    /// Where the step in hand goes on; `None`: another step is in hand.
    pub fn offset_in(&self, step: &Step) -> Option<i64> {
        (step.number == self.step).then(|| self.next.unwrap_or(step.from).clamp(step.from, step.until))
    }

    /// A part of the step in hand is where it should go.
    pub fn advance(&mut self, step: &Step, chunk: &Chunk, counts: Counts, checkpoint: Option<Value>, now_ms: i64) {
        if let Some(reached) = self.partitions.get_mut(step.place) {
            reached.next = chunk.until;
            reached.offsets += chunk.until.abs_diff(chunk.from);
            reached.counts = reached.counts.plus(counts);
        }
        if chunk.until >= step.until {
            (self.step, self.next) = (step.number + 1, None);
        } else {
            (self.step, self.next) = (step.number, Some(chunk.until));
        }
        if checkpoint.is_some() {
            self.checkpoint = checkpoint;
        }
        self.pass(now_ms);
    }

    /// All of it is done; of a file with what its sink says.
    pub fn finish(&mut self, written: Option<Value>, now_ms: i64) {
        self.pass(now_ms);
        (self.state, self.reason, self.written) = (State::Done, None, written);
    }

    /// A person stops it. What has ended stays so.
    pub fn cancel(&mut self, reason: &str, now_ms: i64) {
        if self.state == State::Running {
            self.pass(now_ms);
            (self.state, self.reason) = (State::Cancelled, Some(reason.to_owned()));
        }
    }

    /// It cannot go on.
    pub fn fail(&mut self, reason: &str, now_ms: i64) {
        if self.state == State::Running {
            self.pass(now_ms);
            (self.state, self.reason) = (State::Failed, Some(reason.to_owned()));
        }
    }

    /// What was stopped or failed goes on from where it stood; `false` where nothing is to go on.
    pub fn resume(&mut self, now_ms: i64) -> bool {
        let may = matches!(self.state, State::Cancelled | State::Failed);
        if may {
            (self.state, self.reason, self.updated_ms) = (State::Running, None, now_ms);
        }
        may
    }

    /// The same run taken up by a process after one that is gone: the time between is no time that it ran.
    pub fn take_up(&mut self, now_ms: i64) {
        self.updated_ms = now_ms.max(self.updated_ms);
    }

    fn pass(&mut self, now_ms: i64) {
        self.running_ms += now_ms.saturating_sub(self.updated_ms).max(0);
        self.updated_ms = now_ms.max(self.updated_ms);
    }

    /// What became of all of it.
    pub fn counts(&self) -> Counts {
        self.partitions.iter().fold(Counts::default(), |sum, reached| sum.plus(reached.counts))
    }

    /// How many offsets are done.
    pub fn offsets(&self) -> u64 {
        self.partitions.iter().map(|reached| reached.offsets).sum()
    }

    /// So long the records so far take at this rate, and no less than the run took for them: behind a part it waits until the next one is due,
    /// and a run that was stopped, resumed or taken up meanwhile has waited less. Milliseconds.
    fn paced_ms(&self, rate: Option<u32>) -> f64 {
        let due_ms = rate.map_or(0.0, |rate| self.counts().matched as f64 * 1000.0 / f64::from(rate));
        due_ms.max(self.running_ms as f64)
    }

    /// When all of it will be done at the pace so far, which the request's rate and limit bound; `None` where there is no pace yet, or it does
    /// not go on.
    pub fn ends_at_ms(&self, plan: &Plan, request: &Request) -> Option<i64> {
        let (done, all) = (self.offsets(), plan.offsets());
        let paced_ms = self.paced_ms(request.rate);
        if self.state != State::Running || done == 0 || paced_ms == 0.0 {
            return None;
        }
        let left = |done: u64, all: u64| paced_ms / done as f64 * all.saturating_sub(done) as f64;
        let of_limit = request.limit.map(|limit| (self.counts().matched, limit)).filter(|(matched, _)| *matched > 0);
        let of_limit = of_limit.map_or(f64::INFINITY, |(matched, limit)| left(matched, limit));
        Some(self.updated_ms.saturating_add(left(done, all).min(of_limit) as i64))
    }

    /// Records that matched in a second of its running, the request's rate at most.
    pub fn per_second(&self, rate: Option<u32>) -> Option<f64> {
        let paced_ms = self.paced_ms(rate);
        (paced_ms > 0.0).then(|| self.counts().matched as f64 * 1000.0 / paced_ms)
    }
}
