//! A run goes on: read a part, have it go where it should, keep how far that is, and again.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::ports::ledger::Claim;
use lyceum_core::replay::{Progress, Request, State, Target};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::{Kept, Written};
use super::targets::{Failed, To};
use super::{Runner, file};
use crate::questions::AskError;

/// So long a lease lasts. Whoever holds it prolongs it with each part.
const LEASE_MS: i64 = 120_000;
/// So often a process looks for runs that nobody is at work on.
const LOOKING: Duration = Duration::from_secs(15);
/// So many runs a process is at work on at once.
const AT_ONCE: usize = 4;
/// What was unavailable is tried again after so long.
const PAUSE: Duration = Duration::from_secs(2);
/// A pause is cut into pieces of so long, so that a run that is stopped stops.
const PIECE: Duration = Duration::from_secs(1);
/// A part is begun only where so much time is left.
const PART_MS: i64 = 5_000;

/// How a call of [`Runner::run_until`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The run has ended so.
    As(State),
    /// The call's time is over, or its process is to end: the next call goes on.
    Unfinished,
    /// Another process is at work on it.
    Elsewhere,
}

impl Runner {
    /// Goes on with every run that nobody else is at work on, until `stop`. For a long-running process.
    pub async fn keep_up(self: &Arc<Self>, stop: CancellationToken) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        loop {
            match self.runs.list().await {
                Ok(runs) => {
                    let running = runs.into_iter().filter(|kept| kept.run.is_running());
                    // The oldest first.
                    for kept in running.collect::<Vec<_>>().into_iter().rev() {
                        let is_new = !self.at_work.lock().contains(&kept.id);
                        if is_new && tasks.len() < AT_ONCE {
                            let (runner, stop) = (Arc::clone(self), stop.clone());
                            tasks.spawn(async move { runner.go_on(kept.id, &stop).await });
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "replays cannot be looked for; it is tried again"),
            }
            self.sources.metrics.set_replays_running(i64::try_from(tasks.len()).unwrap_or(i64::MAX));
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOKING) => {}
                Some(_) = tasks.join_next() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn go_on(&self, id: Uuid, stop: &CancellationToken) {
        match self.run_until(id, i64::MAX, stop).await {
            Ok(ended) => tracing::info!(%id, ?ended, "a replay ended here"),
            Err(error) => tracing::warn!(%id, %error, "a replay stands still; it is taken up again"),
        }
    }

    /// Goes on with a run until it ends, the time is over (milliseconds since 1970 UTC) or `stop`. For a function: the next invocation goes
    /// on from there. A run that ended, or that another process is at work on, is left as it is.
    ///
    /// # Errors
    /// There is no such run, or the ledger does not answer: what was done is kept up to the last part, and the same call goes on.
    pub async fn run_until(&self, id: Uuid, until_ms: i64, stop: &CancellationToken) -> Result<Ended, AskError> {
        // Leases know processes apart; within one this does.
        if !self.at_work.lock().insert(id) {
            return Ok(Ended::Elsewhere);
        }
        let ended = self.run_alone(id, until_ms, stop).await;
        self.at_work.lock().remove(&id);
        if let Ok(Ended::As(state)) = ended {
            self.sources.metrics.count_replay_ended(state.name());
        }
        ended
    }

    async fn run_alone(&self, id: Uuid, until_ms: i64, stop: &CancellationToken) -> Result<Ended, AskError> {
        if !self.hold(id).await? {
            return Ok(Ended::Elsewhere);
        }
        let kept = self.runs.load(id).await?.ok_or_else(|| super::no_run(id))?;
        let ended = match kept.run.progress.state {
            State::Running => self.run_held(kept, until_ms, stop).await,
            state => Ok(Ended::As(state)),
        };
        // Given back, so that whoever goes on need not wait for its end.
        if !matches!(ended, Ok(Ended::Elsewhere)) {
            let now_ms = self.sources.clock.now_ms();
            if let Err(error) = self.runs.claim(id, self.holder, now_ms, now_ms - 1).await {
                tracing::debug!(%error, "a lease was not given back; it ends by itself");
            }
        }
        ended
    }

    /// Takes or prolongs the lease; whether it is this process's.
    async fn hold(&self, id: Uuid) -> Result<bool, AskError> {
        let now_ms = self.sources.clock.now_ms();
        Ok(self.runs.claim(id, self.holder, now_ms, now_ms + LEASE_MS).await? == Claim::Held)
    }

    async fn run_held(&self, mut kept: Kept, until_ms: i64, stop: &CancellationToken) -> Result<Ended, AskError> {
        let now_ms = self.sources.clock.now_ms();
        kept.run.progress.take_up(now_ms);
        kept.run.progress.reason = None;
        let mut going = Going { runner: self, kept, until_ms, stop, held_ms: now_ms };
        match going.go_on().await {
            Ok(()) => Ok(Ended::As(State::Done)),
            Err(Halt::Ended(ended)) => Ok(ended),
            Err(Halt::Ask(error)) => Err(error),
            Err(Halt::Never(reason)) => {
                let now_ms = self.sources.clock.now_ms();
                match going.keep(|progress| progress.fail(&reason, now_ms)).await {
                    Ok(()) => Ok(Ended::As(State::Failed)),
                    Err(Halt::Ended(ended)) => Ok(ended),
                    Err(Halt::Ask(error)) => Err(error),
                    Err(Halt::Never(reason)) => Err(AskError::Failed(reason)),
                }
            }
        }
    }
}

/// Why a run does not go on here.
enum Halt {
    /// It ended, or others go on.
    Ended(Ended),
    /// It cannot, until a person acts.
    Never(String),
    /// The ledger does not answer.
    Ask(AskError),
}

impl From<AskError> for Halt {
    fn from(error: AskError) -> Self {
        Self::Ask(error)
    }
}

/// A run that this process is at work on.
struct Going<'r> {
    runner: &'r Runner,
    kept: Kept,
    until_ms: i64,
    stop: &'r CancellationToken,
    /// When the lease was prolonged last.
    held_ms: i64,
}

impl Going<'_> {
    async fn go_on(&mut self) -> Result<(), Halt> {
        let clock = Arc::clone(&self.runner.sources.clock);
        let (plan, request) = (self.kept.run.plan.clone(), self.kept.run.request.clone());
        let mut to = self.open(&request).await?;
        let mut parts = self.runner.parts(&request, &plan);
        let (mut matched, begun_ms) = (0_u64, clock.now_ms());
        let begin = usize::try_from(self.kept.run.progress.step).unwrap_or(usize::MAX);
        for step in plan.steps().skip(begin) {
            while let Some(from) = self.kept.run.progress.offset_in(&step) {
                let taken = self.kept.run.progress.counts().matched;
                let left = request.limit.map_or(u64::MAX, |limit| limit.saturating_sub(taken));
                if left == 0 {
                    return self.finish(to).await;
                }
                self.may_go_on().await?;
                let most = left.min(to.part(request.rate));
                let part = loop {
                    match parts.read(&step, from, most).await {
                        Ok(part) => break part,
                        Err(failed) => self.wait(failed).await?,
                    }
                };
                let (counts, checkpoint) = loop {
                    match to.deliver(&part, self.until_ms).await {
                        Ok(delivered) => break delivered,
                        Err(failed) => self.wait(failed).await?,
                    }
                };
                let now_ms = clock.now_ms();
                self.keep(|progress| {
                    progress.reason = None;
                    progress.advance(&step, &part.chunk, counts, checkpoint, now_ms);
                })
                .await?;
                self.runner.sources.metrics.count_replayed(&counts);
                matched += counts.matched;
                if let Some(rate) = request.rate {
                    let due_ms = i64::try_from(matched.saturating_mul(1000) / u64::from(rate)).unwrap_or(i64::MAX);
                    self.sleep_until(begun_ms.saturating_add(due_ms)).await?;
                }
            }
        }
        self.finish(to).await
    }

    /// Opens the target, a file where its sink stood.
    async fn open(&mut self, request: &Request) -> Result<To, Halt> {
        let runner = self.runner;
        let (log, times) = (Arc::clone(&runner.sources.event_log), self.kept.run.run);
        match &request.target {
            Target::Topic => Ok(To::Topic { log, times }),
            Target::OtherTopic(topic) => Ok(To::OtherTopic { log, topic: topic.clone() }),
            Target::Subscriber { name, publish } => {
                let subscriber = runner.sources.subscribers.find(name, *publish).map_err(Halt::Never)?;
                Ok(To::Subscriber { subscriber, times, clock: Arc::clone(&runner.sources.clock) })
            }
            Target::File { .. } => {
                let sinks = runner.sinks().map_err(|error| Halt::Never(error.to_string()))?;
                let file = file(request, self.kept.id);
                loop {
                    let opened = match &self.kept.run.progress.checkpoint {
                        Some(checkpoint) => sinks.resume(&file, checkpoint).await,
                        None => sinks.begin(&file).await,
                    };
                    match opened {
                        Ok(sink) => return Ok(To::File(sink)),
                        Err(error) => self.wait(error.into()).await?,
                    }
                }
            }
        }
    }

    /// All is where it should go.
    async fn finish(&mut self, mut to: To) -> Result<(), Halt> {
        let written = match &mut to {
            To::File(sink) => loop {
                match sink.finish().await {
                    Ok(written) => break Some(written),
                    Err(error) => self.wait(error.into()).await?,
                }
            },
            _ => None,
        };
        let now_ms = self.runner.sources.clock.now_ms();
        self.keep(|progress| progress.finish(written, now_ms)).await
    }

    /// Whether another part may be begun here; prolongs the lease.
    async fn may_go_on(&mut self) -> Result<(), Halt> {
        let now_ms = self.runner.sources.clock.now_ms();
        if self.stop.is_cancelled() || now_ms.saturating_add(PART_MS) > self.until_ms {
            return Err(Halt::Ended(Ended::Unfinished));
        }
        if now_ms.saturating_sub(self.held_ms) > LEASE_MS / 4 {
            if !self.runner.hold(self.kept.id).await? {
                return Err(Halt::Ended(Ended::Elsewhere));
            }
            self.held_ms = now_ms;
        }
        Ok(())
    }

    /// What failed may succeed later: says what is waited for, and waits a little.
    async fn wait(&mut self, failed: Failed) -> Result<(), Halt> {
        let reason = match failed {
            Failed::Never(reason) => return Err(Halt::Never(reason)),
            Failed::Later(reason) => reason,
        };
        let reason = format!("it waits: {reason}");
        let is_new = self.kept.run.progress.reason.as_ref() != Some(&reason);
        tracing::warn!(id = %self.kept.id, %reason, "a replay");
        if is_new {
            self.keep(|progress| progress.reason = Some(reason)).await?;
        }
        let now_ms = self.runner.sources.clock.now_ms();
        let pause = i64::try_from(PAUSE.as_millis()).unwrap_or(i64::MAX);
        self.sleep_until(now_ms.saturating_add(pause)).await
    }

    /// Waits until then, unless the run is stopped, its time is over, or the process is to end.
    async fn sleep_until(&mut self, due_ms: i64) -> Result<(), Halt> {
        let clock = Arc::clone(&self.runner.sources.clock);
        loop {
            let left_ms = due_ms.saturating_sub(clock.now_ms());
            let Some(left) = u64::try_from(left_ms).ok().filter(|left| *left > 0) else { return Ok(()) };
            self.may_go_on().await?;
            let piece = Duration::from_millis(left).min(PIECE);
            tokio::select! {
                () = clock.sleep(piece) => {}
                () = self.stop.cancelled() => {}
            }
            if Duration::from_millis(left) > PIECE {
                // A long wait is not to be waited out by a run that was stopped meanwhile.
                let kept = self.runner.runs.load(self.kept.id).await?;
                if kept.is_some_and(|kept| kept.version != self.kept.version) {
                    self.keep(|_| {}).await?;
                }
            }
        }
    }

    /// Keeps how far the run is. Where a person stopped it meanwhile, that is kept with it, and it ends here.
    async fn keep(&mut self, change: impl FnOnce(&mut Progress)) -> Result<(), Halt> {
        let before = self.kept.run.progress.clone();
        let mut run = self.kept.run.clone();
        change(&mut run.progress);
        loop {
            match self.runner.runs.write(self.kept.id, &run, Some(self.kept.version)).await {
                Ok(Written::Kept(version)) => {
                    (self.kept.run, self.kept.version) = (run, version);
                    break;
                }
                Ok(Written::Changed) => {
                    let now = self.runner.runs.load(self.kept.id).await?;
                    let now = now.ok_or_else(|| super::no_run(self.kept.id))?;
                    let theirs = &now.run.progress;
                    let is_as_far = (now.run.run, theirs.step, theirs.next, &theirs.partitions)
                        == (run.run, before.step, before.next, &before.partitions);
                    if !is_as_far {
                        // Another process went on: this one was slower than its lease.
                        return Err(Halt::Ended(Ended::Elsewhere));
                    }
                    if run.progress.state == State::Running && theirs.state != State::Running {
                        run.progress.cancel(theirs.reason.as_deref().unwrap_or("stopped"), theirs.updated_ms);
                    }
                    self.kept.version = now.version;
                }
                // Of a call whose answer was lost, and of a ledger that is away for a moment.
                Err(AskError::Unavailable(reason)) => {
                    tracing::warn!(id = %self.kept.id, %reason, "a replay waits for the ledger");
                    self.may_go_on().await?;
                    self.runner.sources.clock.sleep(PIECE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        match self.kept.run.progress.state {
            State::Cancelled => Err(Halt::Ended(Ended::As(State::Cancelled))),
            State::Running | State::Done | State::Failed => Ok(()),
        }
    }
}
