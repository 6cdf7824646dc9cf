//! Which offsets a request is, and in which steps they are read.

use std::collections::BTreeMap;

use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};

use super::request::{OffsetsOf, Range, Request, Wrong};
use crate::record::Position;

/// So many offsets a step has at most.
pub const STEP_OFFSETS: i64 = 5_000;
/// So many records the audit log may name for one request.
pub const MAX_POSITIONS: usize = 10_000;

/// What the log says that a plan is made of.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Every partition of every topic of the request.
    pub partitions: Vec<Offsets>,
    /// Of event ids or a correlation id: where the audit log has them.
    pub positions: Vec<Position>,
    /// From this time on keys are remembered, milliseconds since 1970 UTC.
    pub keys_since_ms: i64,
}

/// A partition as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its oldest record.
    pub start: i64,
    /// The offset of the next record.
    pub end: i64,
    /// Of a range of times: the first record that is not older than its beginning; `None`: none is.
    pub at_from: Option<i64>,
    /// Of a range of times: the first record that is not older than its end; `None`: none is.
    pub at_until: Option<i64>,
    /// The first record that is not older than the keys; `None`: none is.
    pub at_keys: Option<i64>,
}

/// What is read, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Each partition of which something is read, by topic and partition.
    pub partitions: Vec<OfPartition>,
    /// So many offsets a step has at most.
    pub step_offsets: i64,
    /// What a person should know: what is asked for and not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is read of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// From the first of each up to before the second: ascending, none empty, no offset twice.
    pub ranges: Vec<(i64, i64)>,
}

/// One step: some neighbouring offsets of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which one of the plan, from 0.
    pub number: u64,
    /// Of which partition of the plan, from 0.
    pub place: usize,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset behind the last one.
    pub until: i64,
}

/// A partition, and the offsets of it that are wanted, the second of each pair left out.
type Wanted<'a> = (&'a Offsets, Vec<(i64, i64)>);

/// Which steps a request is, of the log as it is now.
///
/// # Errors
/// All that is wrong in the request for this log: a partition that is not there, or that it goes further back than keys do.
pub fn plan(request: &Request, log: &Log) -> Result<Plan, Vec<Wrong>> {
    request.check()?;
    let mut wrong = Vec::new();
    for partition in &request.partitions {
        if !log.partitions.iter().any(|of| of.partition == *partition) {
            let most = log.partitions.iter().map(|of| of.partition).max().unwrap_or(0);
            let message = format!("no topic of the request has a partition {partition}: the last one is {most}");
            wrong.push(Wrong::new("partitions", message));
        }
    }
    if log.positions.len() > MAX_POSITIONS {
        let message = format!(
            "the audit log has {} records of it, and one request takes {MAX_POSITIONS}: name topics and times instead",
            log.positions.len()
        );
        wrong.push(Wrong::new("range", message));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut notes = Vec::new();
    let mut partitions: BTreeMap<(&str, i32), Wanted<'_>> = BTreeMap::new();
    for of in &log.partitions {
        let is_wanted = request.partitions.is_empty() || request.partitions.contains(&of.partition);
        let is_topic = request.topics.is_empty() || request.topics.contains(&of.topic);
        if is_wanted && is_topic {
            let ranges = ranges(request, log, of, &mut notes);
            partitions.insert((&of.topic, of.partition), (of, ranges));
        }
    }
    partitions.retain(|_, (_, ranges)| !ranges.is_empty());
    if !request.outlives_keys() {
        let too_old = partitions.values().filter(|(of, ranges)| ranges[0].0 < of.at_keys.unwrap_or(of.end));
        let too_old: Vec<String> = too_old.map(|(of, _)| format!("{}/{}", of.topic, of.partition)).collect();
        if let Some(first) = too_old.first() {
            let message = format!(
                "it goes further back than idempotency keys do ({}), in {first} and {} further partitions: what is older would \
                 have its effect twice. Begin later, replay to a file or to another topic, or build the subscriber anew (`lyceum rebuild`)",
                UtcTime::from_millis(log.keys_since_ms),
                too_old.len() - 1
            );
            return Err(vec![Wrong::new("range", message)]);
        }
    }
    let partitions = partitions.into_values().map(|(of, ranges)| OfPartition {
        topic: of.topic.clone(),
        partition: of.partition,
        ranges,
    });
    Ok(Plan { partitions: partitions.collect(), step_offsets: STEP_OFFSETS, notes })
}

/// The offsets of a partition that a request names and that are there.
fn ranges(request: &Request, log: &Log, of: &Offsets, notes: &mut Vec<String>) -> Vec<(i64, i64)> {
    let named: Vec<(i64, i64)> = match &request.range {
        Range::Times { from, until } => {
            let from = if from.is_some() { of.at_from.unwrap_or(of.end) } else { of.start };
            let until = if until.is_some() { of.at_until.unwrap_or(of.end) } else { of.end };
            vec![(from, until)]
        }
        Range::Offsets(ranges) => {
            let is_of = |range: &&OffsetsOf| {
                range.topic.as_ref().is_none_or(|topic| *topic == of.topic)
                    && range.partition.is_none_or(|partition| partition == of.partition)
            };
            let ranges = ranges.iter().filter(is_of);
            ranges.map(|range| (range.from.unwrap_or(of.start), range.until.unwrap_or(of.end))).collect()
        }
        Range::CorrelationId(_) | Range::EventIds(_) => {
            let here = log.positions.iter().filter(|at| *at.topic == *of.topic && at.partition == of.partition);
            here.map(|at| (at.offset, at.offset + 1)).collect()
        }
    };
    let name = format!("{}/{}", of.topic, of.partition);
    if named.iter().any(|(from, _)| *from < of.start) {
        notes.push(format!("{name} begins at offset {}: what is before is gone", of.start));
    }
    if named.iter().any(|(_, until)| *until > of.end) {
        notes.push(format!("{name} ends at offset {}: nothing is there yet from it on", of.end));
    }
    let mut there: Vec<(i64, i64)> = named
        .into_iter()
        .map(|(from, until)| (from.max(of.start), until.min(of.end)))
        .filter(|(from, until)| from < until)
        .collect();
    there.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(there.len());
    for (from, until) in there {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = until.max(*end),
            _ => merged.push((from, until)),
        }
    }
    merged
}

impl Plan {
    /// Every step: one of each partition in turn, so that none waits for the end of another; those of a partition in its order.
    pub fn steps(&self) -> Steps<'_> {
        let cursors = self.partitions.iter().map(|of| (0, of.ranges.first().map_or(0, |range| range.0)));
        Steps { plan: self, cursors: cursors.collect(), turn: 0, number: 0 }
    }

    /// How many offsets it has in all. Records may be fewer: offsets have gaps.
    pub fn offsets(&self) -> u64 {
        self.partitions.iter().map(OfPartition::offsets).sum()
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

impl OfPartition {
    /// How many offsets are read of it.
    pub fn offsets(&self) -> u64 {
        self.ranges.iter().map(|(from, until)| until.abs_diff(*from)).sum()
    }
}

/// The steps of a plan, made as they are asked for.
#[derive(Debug)]
pub struct Steps<'p> {
    plan: &'p Plan,
    /// Of each partition: in which range it is, and at which offset.
    cursors: Vec<(usize, i64)>,
    turn: usize,
    number: u64,
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let count = self.cursors.len();
        for _ in 0..count {
            let place = self.turn;
            self.turn = (self.turn + 1) % count;
            let (range, from) = self.cursors[place];
            let of = &self.plan.partitions[place];
            let Some(&(_, end)) = of.ranges.get(range) else { continue };
            let until = from.saturating_add(self.plan.step_offsets.max(1)).min(end);
            self.cursors[place] = match of.ranges.get(range + 1) {
                _ if until < end => (range, until),
                Some(next) => (range + 1, next.0),
                None => (range + 1, end),
            };
            let number = self.number;
            self.number += 1;
            return Some(Step { number, place, topic: of.topic.clone(), partition: of.partition, from, until });
        }
        None
    }
}
