//! Parts are read in the order of the plan; the first ones of the next steps are read beside, so that one partition is not waited for
//! behind another.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::Arc;

use lyceum_core::audit::entry::ReadLabels;
use lyceum_core::ports::event_log::{EventLogError, Follow};
use lyceum_core::replay::plan::{Step, Steps};
use lyceum_core::replay::reading::Part;
use lyceum_core::replay::{Plan, Reading, Request};
use tokio_util::task::AbortOnDropHandle;

use super::targets::Failed;

/// So many bytes one fetch has.
const FETCH_BYTES: usize = 4 << 20;
/// So many records one fetch has.
const FETCH_RECORDS: usize = 5_000;
/// So many steps are read ahead: each has up to four megabytes.
const AHEAD: usize = 8;

/// Reads what a request is for.
pub(super) struct Reader {
    pub(super) log: Arc<dyn Follow>,
    pub(super) labels: Arc<dyn ReadLabels>,
    pub(super) request: Request,
}

impl Reader {
    /// Reads a part whole.
    async fn read(&self, mut reading: Reading) -> Result<Part, Failed> {
        while let Some((offset, most)) = reading.wants() {
            let (topic, partition) = reading.place();
            let fetched = self.log.fetch(topic, partition, offset, most.min(FETCH_RECORDS), FETCH_BYTES).await;
            match fetched {
                Ok(records) if records.is_empty() => reading.end_of_log(),
                Ok(records) => {
                    for record in records {
                        reading
                            .add(record, |record| self.request.filter.matches(record, || self.labels.labels(record)));
                    }
                }
                // Retention was faster.
                Err(EventLogError::OffsetOutOfRange { range, .. }) if range.start > offset => {
                    reading.skip_to(range.start);
                }
                Err(error @ EventLogError::OffsetOutOfRange { .. }) => {
                    return Err(Failed::Never(format!(
                        "{error}: was the topic made anew? Ask for the replay once more"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(reading.end())
    }
}

/// Reads the parts of a plan.
pub(super) struct Ahead<'p> {
    reader: Arc<Reader>,
    plan: &'p Plan,
    upcoming: Peekable<Steps<'p>>,
    /// The first parts of steps to come, in their order.
    begun: VecDeque<(Step, AbortOnDropHandle<Result<Part, Failed>>)>,
    at_once: usize,
}

impl<'p> Ahead<'p> {
    /// Reads by a plan. Where it has a limit or a rate, only what is asked for is read.
    pub(super) fn new(reader: Reader, plan: &'p Plan) -> Self {
        let is_free = reader.request.limit.is_none() && reader.request.rate.is_none();
        Self {
            reader: Arc::new(reader),
            plan,
            upcoming: plan.steps().peekable(),
            begun: VecDeque::new(),
            at_once: if is_free { AHEAD } else { 0 },
        }
    }

    /// The part of a step from an offset on, with at most so many records that match. Steps are asked for in their order.
    pub(super) async fn read(&mut self, step: &Step, from: i64, most: u64) -> Result<Part, Failed> {
        let is_begun = |(begun, _): &mut (Step, _)| begun.number == step.number && begun.from == from;
        let begun = self.begun.pop_front_if(is_begun);
        self.begin(step, most);
        let read = match begun {
            Some((_, task)) => match task.await {
                Ok(read) => read,
                Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
                Err(_) => Err(Failed::Later("the process is to end".to_owned())),
            },
            None => self.reader.read(Reading::begin(step, from, most)).await,
        };
        if let Ok(part) = &read
            && self.is_last(step)
            && part.chunk.until >= step.until
        {
            self.reader.log.stop_reading(&step.topic, step.partition, step.until);
        }
        read
    }

    /// Begins to read what comes behind a step, of each partition one at a time: a second reader of it would fetch the same once more.
    fn begin(&mut self, step: &Step, most: u64) {
        while self.upcoming.next_if(|next| next.number <= step.number).is_some() {}
        while self.begun.len() < self.at_once {
            let (begun, place) = (&self.begun, step.place);
            let is_free = |next: &Step| next.place != place && begun.iter().all(|(begun, _)| begun.place != next.place);
            let Some(next) = self.upcoming.next_if(is_free) else { break };
            let (reader, reading) = (Arc::clone(&self.reader), Reading::begin(&next, next.from, most));
            let task = tokio::spawn(async move { reader.read(reading).await });
            self.begun.push_back((next, AbortOnDropHandle::new(task)));
        }
    }

    /// Whether no step of the partition comes behind this one.
    fn is_last(&self, step: &Step) -> bool {
        self.plan.partitions[step.place].ranges.last().is_some_and(|range| step.until >= range.1)
    }
}

#[cfg(test)]
mod tests;
