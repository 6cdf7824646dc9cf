//! One seed: a world, its faults and its schedule, and what came out.

use std::sync::Arc;

use lyceum_core::ports::ledger::KeyStatus;
use lyceum_core::record::Position;

use crate::check::{Check, Violation, fail};
use crate::defect::Defect;
use crate::fault::Fault;
use crate::stage::Stage;
use crate::watch::has_key;
use crate::{academy, audit, content, counter, modules, toys};

/// The worlds that are attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// The families training and survey.
    Academy,
    /// The counters of this package.
    Counters,
    /// One of them, of which an event was rejected before another one's attempts are spent while somebody applies it: too rare
    /// among the others.
    Spent,
    /// The generation of content: the family, and the subscription that asks for it.
    Content,
    /// Effects and wire forms that no family of the release has.
    Toys,
    /// Of these the numbers of one learner alone, whom several workers count at once: too rare among the others.
    Crowded,
    /// The modules' families with their reactions and the watch.
    Modules,
    /// The audit log.
    Audit,
}

impl World {
    /// Seeds take turns.
    pub fn of_seed(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::Academy } else { Self::Counters }
    }
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Decides everything.
    pub seed: u64,
    /// Where it plays; `None`: seeds take turns.
    pub world: Option<World>,
    /// What is planted.
    pub defect: Option<Defect>,
    /// Whether the trace's lines are kept.
    pub keep_trace: bool,
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// The check that failed.
    pub violation: Option<Violation>,
    /// Of the trace: two runs with the same steps have the same.
    pub hash: u64,
    /// The trace, where it was asked for.
    pub trace: Vec<String>,
    /// How often each fault struck, in the order of [`Fault::ALL`].
    pub struck: [usize; Fault::ALL.len()],
}

impl Order {
    /// The seed without a defect and without a trace.
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, world: None, defect: None, keep_trace: false }
    }

    /// Runs the seed.
    pub fn run(&self) -> Outcome {
        let world = match self.defect {
            _ if self.world.is_some() => self.world.unwrap_or(World::Toys),
            Some(Defect::NumbersUnconditional) => World::Crowded,
            Some(Defect::HeadUnconditional) => World::Audit,
            Some(defect) if defect.is_of_the_toys() => World::Toys,
            Some(defect) if defect.is_of_content() => World::Content,
            Some(defect) if defect.is_of_the_modules() => World::Modules,
            Some(defect) if defect.is_of_the_family() => World::Academy,
            // The fold sees it best.
            Some(Defect::DeadAfterCommit { one_key: true, .. }) => World::Academy,
            // The academy has no attempts to spend.
            Some(Defect::DeadBeforeCommit { lost_race_stands: true, .. }) => World::Counters,
            Some(Defect::RejectionLeavesHome) => World::Spent,
            _ => World::of_seed(self.seed),
        };
        let (stage, result) = match world {
            World::Academy => academy::run(self),
            World::Counters => counter::run(self, false),
            World::Spent => counter::run(self, true),
            World::Content => content::run(self),
            World::Toys => toys::run(self, false),
            World::Crowded => toys::run(self, true),
            World::Modules => modules::run(self),
            World::Audit => audit::run(self),
        };
        let state = stage.state();
        Outcome {
            violation: result.err(),
            hash: state.trace.hash(),
            trace: state.trace.lines().to_vec(),
            struck: state.plan.struck(),
        }
    }
}

/// What must hold of every world at rest.
pub(crate) fn at_rest(stage: &Arc<Stage>) -> Result<(), Violation> {
    for subject in &stage.subjects {
        for (partition, range, committed) in stage.partitions(&**subject) {
            if committed != range.end {
                let detail = format!("{}/{} ends at {committed} of {}", partition.0, partition.1, range.end);
                return fail(Check::Settled, detail);
            }
            for offset in range.start..range.end {
                let at = Position::new(Arc::clone(&partition.0), partition.1, offset);
                let Some(record) = stage.record_at(&at) else { continue };
                if let Some(why) = stage.unsettled(&**subject, &record) {
                    return fail(Check::Settled, format!("{at}: {why}"));
                }
            }
        }
    }
    check_applied_and_dead(stage)
}

fn check_applied_and_dead(stage: &Stage) -> Result<(), Violation> {
    let letters: Vec<_> = stage.state().letters.values().map(|of| of.letter.clone()).collect();
    for letter in letters.into_iter().filter(|letter| has_key(letter.kind)) {
        let Some(subject) = stage.subject_named(&letter.family) else { continue };
        let Some(crate::subject::Fact::Event(fact)) = stage.fact_at_for(subject, &letter.source) else { continue };
        let Some(key) = stage.current_key(&fact) else { continue };
        if key.status == KeyStatus::Applied && key.content_hash == fact.content_hash && letter.replay_count >= key.epoch
        {
            let detail = format!(
                "{} is applied in epoch {} and has a letter of {}",
                letter.source, key.epoch, letter.replay_count
            );
            return fail(Check::AppliedAndDead, detail);
        }
    }
    Ok(())
}
