//! One invocation and those that follow from its failures: a batch, processed and settled as the platform does it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use lyceum_core::outcome::Report;
use lyceum_core::process::{Delivery, ProcessConfig};
use lyceum_core::record::Record;

use crate::defect::Defect;
use crate::executor::pause;
use crate::fault::Fault;
use crate::ports::services;
use crate::stage::{Partition, Stage};
use crate::subject::{Fact, Subject};

/// A worker gives up by itself after so many rounds; the records are redelivered from the committed offset.
const ROUNDS: usize = 8;

/// What a worker starts with.
pub(crate) struct Assignment {
    pub(crate) who: String,
    pub(crate) subject: Arc<dyn Subject>,
    pub(crate) batch: Vec<Record>,
    /// After a failure the failed records are redelivered, or everything from the lowest failed one on.
    pub(crate) only_failed: bool,
    pub(crate) process: ProcessConfig,
    /// An invocation's time, in milliseconds.
    pub(crate) time_ms: i64,
}

/// The offsets behind a batch.
pub(crate) fn ends(batch: &[Record]) -> BTreeMap<Partition, i64> {
    let mut ends = BTreeMap::new();
    for record in batch {
        let end = ends.entry(partition(record)).or_insert(0);
        *end = record.position.offset.max(*end - 1) + 1;
    }
    ends
}

fn partition(record: &Record) -> Partition {
    (Arc::clone(&record.position.topic), record.position.partition)
}

/// Processes and settles until no record of the batch is left to be redelivered.
pub(crate) async fn work(stage: Arc<Stage>, assignment: Assignment) {
    let Assignment { who, subject, batch: first, only_failed, process, time_ms } = assignment;
    let processor = subject.processor(&stage, &who, services(&stage, &who), process);
    let ends = ends(&first);
    let mut batch = first.clone();
    for _ in 0..ROUNDS {
        if stage.defect == Some(Defect::OffsetBeforeEmit) {
            ends.iter().for_each(|(partition, end)| stage.commit_offset(&*subject, partition, *end));
        }
        let delivered =
            if stage.defect == Some(Defect::BatchDedupedById) { dedupe(&stage, &batch) } else { batch.clone() };
        let deliveries: Vec<_> = delivered.iter().cloned().map(Delivery::Record).collect();
        let invocation = processor.invocation(stage.now_ms() + time_ms);
        let reports = processor.process(&deliveries, &invocation).await;
        pause().await;
        let failed: Vec<&Report> = reports.iter().filter(|report| !report.outcome.is_settled()).collect();
        tell(&stage, &who, &reports);
        if !failed.is_empty() && stage.strikes(Fault::GivenUp) {
            let kept: Vec<_> =
                first.iter().filter(|of| failed.iter().any(|report| report.position == of.position)).cloned().collect();
            stage.tell(format!("{who}: the platform gives {} records up", kept.len()));
            stage.give_up(&*subject, &kept);
            ends.iter().for_each(|(partition, end)| stage.commit_offset(&*subject, partition, *end));
            return;
        }
        let passes_failed = stage.defect == Some(Defect::OffsetPassesFailed);
        let mut lowest: BTreeMap<Partition, i64> = BTreeMap::new();
        for report in failed.iter().filter(|_| !passes_failed) {
            let low = lowest.entry((Arc::clone(&report.position.topic), report.position.partition)).or_insert(i64::MAX);
            *low = report.position.offset.min(*low);
        }
        for (partition, end) in &ends {
            let to = lowest.get(partition).copied().unwrap_or(*end);
            stage.tell(format!("{who}: commits offset {to} of {}/{}", partition.0, partition.1));
            stage.commit_offset(&*subject, partition, to);
            pause().await;
        }
        if lowest.is_empty() {
            return;
        }
        let comes_again = |record: &Record| match only_failed {
            true => failed.iter().any(|report| report.position == record.position),
            false => lowest.get(&partition(record)).is_some_and(|low| record.position.offset >= *low),
        };
        batch = first.iter().filter(|record| comes_again(record)).cloned().collect();
    }
}

fn tell(stage: &Stage, who: &str, reports: &[Report]) {
    let outcomes: Vec<_> =
        reports.iter().map(|report| format!("{} {}", report.position, report.outcome.name())).collect();
    stage.tell(format!("{who}: answers {outcomes:?}"));
}

/// Drops what has the id of an earlier record of the batch, whatever its epoch: a planted defect.
fn dedupe(stage: &Stage, batch: &[Record]) -> Vec<Record> {
    let mut seen = HashSet::new();
    let mut is_new = |record: &Record| match stage.fact(record) {
        Fact::Event(fact) => seen.insert((fact.key.clone(), fact.content_hash)),
        _ => true,
    };
    batch.iter().filter(|record| is_new(record)).cloned().collect()
}
