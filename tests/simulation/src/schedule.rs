//! Who moves next: the seed decides.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::ports::ledger::{MAX_ACTIONS, MAX_HOME_KEYS};
use lyceum_core::process::ProcessConfig;
use lyceum_core::record::{NewRecord, Record};
use lyceum_core::retry::RetryPolicy;
use uuid::Uuid;

use crate::check::{Check, Violation, fail};
use crate::defect::Defect;
use crate::executor::{Work, advance};
use crate::fault::Fault;
use crate::random::Random;
use crate::stage::{Partition, Stage, TICK};
use crate::subject::Subject;
use crate::worker::{Assignment, ends, work};

/// From this step on nothing goes wrong any more.
const CALM_AFTER: usize = 4_000;
/// By this step everything is at rest.
const REST_BY: usize = 40_000;

/// Partitions, and the offset that each goes on from.
type Lag = Vec<(Partition, i64)>;

struct Running {
    work: Work,
    subject: Arc<dyn Subject>,
    batch: Vec<Record>,
}

/// How a run's workers behave.
struct Manner {
    only_failed: bool,
    zombies: bool,
    batch: usize,
    /// The same worker goes on, but once in so many steps.
    burst: usize,
    retry: RetryPolicy,
    time_ms: i64,
}

impl Manner {
    fn draw(random: &mut Random) -> Self {
        Self {
            only_failed: random.one_in(2),
            zombies: !random.one_in(4),
            batch: *random.pick(&[1, 2, 4, 8, 200]),
            burst: *random.pick(&[1, 2, 4, 12, 40]),
            retry: RetryPolicy {
                attempts: *random.pick(&[0, 1, 2]),
                deliveries: *random.pick(&[1, 2, 3]),
                conflicts: *random.pick(&[0, 1, 4]),
                ..RetryPolicy::default()
            },
            time_ms: *random.pick(&[2_000, 30_000]),
        }
    }
}

/// Runs workers until everything is settled and nothing goes wrong any more.
pub(crate) fn play(stage: &Arc<Stage>, workers: usize) -> Result<(), Violation> {
    let manner = stage.draw(Manner::draw);
    let mut crew: Vec<Option<Running>> = (0..workers).map(|_| None).collect();
    let mut starts = 0;
    let mut last = 0;
    for step in 0..REST_BY {
        if let Some(violation) = stage.state().violation.clone() {
            return Err(violation);
        }
        if step == CALM_AFTER {
            stage.state().plan.calm();
        }
        let running: Vec<usize> = (0..crew.len()).filter(|at| crew[*at].is_some()).collect();
        if stage.strikes(Fault::ClockMoves) {
            stage.tell("the clock moves");
            stage.advance(TICK);
            stage.state().mended = true;
        }
        if stage.strikes(Fault::SentTwice) {
            send_twice(stage);
        }
        if stage.draw(|random| random.one_in(if running.is_empty() { 2 } else { 16 })) && may_replay(stage) {
            replay(stage);
        }
        if !running.is_empty() && stage.strikes(Fault::Crash) {
            let at = stage.draw(|random| *random.pick(&running));
            crash(stage, &mut crew[at], at);
            continue;
        }
        let idle = (0..crew.len()).find(|at| crew[*at].is_none());
        if let Some(at) = idle
            && (running.is_empty() || stage.draw(|random| random.one_in(4)))
            && let Some(fresh) = start(stage, &crew, &manner, at, &mut starts)
        {
            crew[at] = Some(fresh);
            continue;
        }
        if running.is_empty() {
            if goes_on(stage) {
                continue;
            }
            return Ok(());
        }
        let goes_on = running.contains(&last) && !stage.draw(|random| random.one_in(manner.burst));
        let at = if goes_on { last } else { stage.draw(|random| *random.pick(&running)) };
        last = at;
        if crew[at].as_mut().is_some_and(|running| advance(&mut running.work)) {
            crew[at] = None;
        }
    }
    fail(Check::Rest, format!("still at work after {REST_BY} steps"))
}

/// Everything is settled: what may still happen to a system at rest.
fn goes_on(stage: &Arc<Stage>) -> bool {
    if stage.defect == Some(Defect::KeysExpire) && !stage.state().expired && !stage.replayable().is_empty() {
        stage.tell("all keys expire");
        let ids: Vec<_> = stage.state().committed.iter().map(|committed| committed.id.clone()).collect();
        let mut state = stage.state();
        ids.iter().collect::<std::collections::HashSet<_>>().into_iter().for_each(|id| state.forget(id));
        state.expired = true;
        return true;
    }
    let mended = std::mem::replace(&mut stage.state().mended, true);
    !mended || may_replay(stage)
}

fn may_replay(stage: &Stage) -> bool {
    let allowed = stage.state().plan.has(Fault::Replay) || stage.state().expired;
    allowed && !stage.replayable().is_empty()
}

fn send_twice(stage: &Stage) {
    let partitions: Vec<_> = stage.subjects.iter().flat_map(|of| stage.partitions(&**of)).collect();
    let filled: Vec<_> = partitions.iter().filter(|(_, range, _)| range.end > 0).collect();
    if filled.is_empty() {
        return;
    }
    let (partition, range, _) = stage.draw(|random| (*random.pick(&filled)).clone());
    let offset = stage.draw(|random| random.below(range.end as usize)) as i64;
    let Some(record) = stage.records(&partition, offset, 1).pop() else { return };
    let topic = record.position.topic.to_string();
    let Record { position, timestamp_ms, key, value, headers } = record;
    let copy = NewRecord { partition: Some(partition.1), key, value, headers, timestamp_ms: Some(timestamp_ms) };
    let at = stage.append(&topic, copy);
    stage.tell(format!("a producer sends {position} once more: {at}"));
}

fn replay(stage: &Stage) {
    let choices = stage.replayable();
    let (name, publication): (Uuid, _) = stage.draw(|random| random.pick(&choices).clone());
    let at = stage.append(&publication.topic, publication.record);
    stage.state().sent.insert(name);
    stage.state().plan.spend(Fault::Replay);
    stage.tell(format!("a dead letter is sent again as {at}"));
}

fn crash(stage: &Stage, slot: &mut Option<Running>, at: usize) {
    let Some(running) = slot.take() else { return };
    stage.tell(format!("W{} crashes", at + 1));
    if stage.strikes(Fault::GivenUp) {
        stage.tell(format!("the platform gives W{}'s {} records up", at + 1, running.batch.len()));
        stage.give_up(&*running.subject, &running.batch);
        ends(&running.batch)
            .iter()
            .for_each(|(partition, end)| stage.commit_offset(&*running.subject, partition, *end));
    }
}

/// A worker on what is not yet processed; `None` where there is nothing for it.
fn start(
    stage: &Arc<Stage>,
    crew: &[Option<Running>],
    manner: &Manner,
    at: usize,
    starts: &mut usize,
) -> Option<Running> {
    let mut choices: Vec<(Arc<dyn Subject>, Lag)> = Vec::new();
    // Of each subscription by itself: others read the same partitions meanwhile.
    let held: Vec<(&str, Partition)> = crew
        .iter()
        .flatten()
        .flat_map(|Running { subject, batch, .. }| {
            ends(batch).into_keys().map(|partition| (subject.subscription().name, partition))
        })
        .collect();
    let zombie = manner.zombies && !held.is_empty() && stage.strikes(Fault::Zombie);
    for subject in &stage.subjects {
        let lagging = stage.partitions(&**subject).into_iter().filter(|(partition, range, from)| {
            let is_held = held.iter().any(|(name, of)| *name == subject.subscription().name && of == partition);
            *from < range.end && (zombie || !is_held)
        });
        let lagging: Vec<_> = lagging.map(|(partition, _, from)| (partition, from)).collect();
        if !lagging.is_empty() {
            choices.push((Arc::clone(subject), lagging));
        }
    }
    if choices.is_empty() {
        return None;
    }
    let (subject, mut lagging) = stage.draw(|random| random.pick(&choices).clone());
    stage.draw(|random| {
        random.shuffle(&mut lagging);
        lagging.truncate(random.between(1, lagging.len()));
    });
    let taken: Vec<Vec<Record>> = lagging
        .iter()
        .map(|(partition, from)| stage.records(partition, *from, stage.draw(|random| random.between(1, manner.batch))))
        .collect();
    let batch = stage.draw(|random| interleave(taken, random));
    *starts += 1;
    if stage.time_passes {
        stage.advance(Duration::from_secs(1));
    }
    let who = format!("W{}", at + 1);
    let places: Vec<_> = batch.iter().map(|record| record.position.to_string()).collect();
    stage.tell(format!("{who} starts{}: {places:?}", if zombie { " as a zombie" } else { "" }));
    let small = stage.one_key_a_commit || stage.defect.is_some_and(Defect::wants_small_commits);
    let process = ProcessConfig {
        retry: manner.retry,
        // Few, so that keys move away from their homes although a run has few events; and not the same for all workers.
        home_keys: stage.draw(|random| *random.pick(&[0, 1, 2, 3, MAX_HOME_KEYS])),
        decisions_a_commit: if small { 1 } else { MAX_ACTIONS },
        ..ProcessConfig::default()
    };
    let Manner { only_failed, time_ms, .. } = *manner;
    let assignment =
        Assignment { who, subject: Arc::clone(&subject), batch: batch.clone(), only_failed, process, time_ms };
    Some(Running { work: Box::pin(work(Arc::clone(stage), assignment)), subject, batch })
}

/// One batch of several partitions: each keeps its order.
fn interleave(mut partitions: Vec<Vec<Record>>, random: &mut Random) -> Vec<Record> {
    partitions.iter_mut().for_each(|records| records.reverse());
    let mut batch = Vec::new();
    while partitions.iter().any(|records| !records.is_empty()) {
        partitions.retain(|records| !records.is_empty());
        let from = random.below(partitions.len());
        batch.extend(partitions[from].pop());
    }
    batch
}
