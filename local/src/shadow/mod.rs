//! What-if: a candidate release over a range of the log beside the present one, without any effect.
//!
//! Both releases are programs that [judge] records: they say what they decide, and what would come of it, over a
//! [protocol] that any release of ours speaks. Both get the same records in the same order ([`source`]), and what they say is
//! [compared](compare) field by field. Nothing has to be left out of the comparison: a judge's clock stands at the record's time, and the
//! ids of what follows are made of the ids of events and of places.
//!
//! Follow-ups are compared and not judged in turn: those that were published stand in the log themselves. So one difference does
//! not become one of all that follows.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use lyceum_core::record::Position;

use crate::config::CommandToken;

pub mod compare;
pub mod judge;
pub mod protocol;
mod recording;
pub mod serve;
pub mod side;
pub mod source;

use compare::Comparison;
use protocol::{Hello, Settings, Welcome, write_record};
use side::{Place, Side};
use source::{Records, Taken};

/// Both releases, before the first record.
pub struct Shadow {
    present: Side,
    candidate: Side,
    /// What they greeted with.
    pub welcomes: [Welcome; 2],
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What differs.
    pub comparison: Comparison,
    /// So many records were judged before the range began, and not compared.
    pub warmed_up: u64,
    /// The topics of what was compared.
    pub topics: Vec<String>,
}

impl Shadow {
    /// Greets both, at once.
    ///
    /// # Errors
    /// Where one of them cannot judge.
    pub async fn open(
        present: Place,
        candidate: Place,
        settings: Settings,
        patience: Duration,
        token: Option<&CommandToken>,
    ) -> Result<Self> {
        let hello = Hello::new(settings);
        let open = |who, place| Side::open(who, place, &hello, patience, token.cloned());
        let (present, candidate) = tokio::join!(open("the present release", present), open("the candidate", candidate));
        let ((present, greets), (candidate, greeted)) = (present?, candidate?);
        Ok(Self { present, candidate, welcomes: [greets, greeted] })
    }

    /// The topics that either of them reads.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.welcomes.iter().flat_map(|of| of.topics.iter().cloned()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Has both judge the records, and compares what they say. `progress` is told how many were judged.
    ///
    /// # Errors
    /// Where a record cannot be read, a side does not answer, or there is nothing to compare.
    pub async fn run(mut self, mut records: Records, progress: impl Fn(u64, &Comparison)) -> Result<Outcome> {
        let mut outcome = Outcome { comparison: Comparison::default(), warmed_up: 0, topics: Vec::new() };
        let mut judged = 0;
        let mut part = records.next_part().await?;
        while !part.is_empty() {
            let about: Vec<Position> = part.iter().map(|taken| taken.record.position.clone()).collect();
            let lines = lines_of(&part);
            let (present, candidate, next) = tokio::join!(
                self.present.judge(&lines, &about),
                self.candidate.judge(&lines, &about),
                records.next_part()
            );
            let (present, candidate) = (present?, candidate?);
            for ((taken, present), candidate) in part.iter().zip(&present).zip(&candidate) {
                outcome.take(taken, present, candidate)?;
            }
            judged += part.len() as u64;
            progress(judged, &outcome.comparison);
            part = next?;
        }
        self.present.end().await?;
        self.candidate.end().await?;
        if outcome.comparison.records() == 0 {
            bail!("there is no record in the range, so that nothing was compared; `lyceum topics` lists what there is");
        }
        Ok(outcome)
    }
}

impl Outcome {
    fn take(&mut self, taken: &Taken, present: &Bytes, candidate: &Bytes) -> Result<()> {
        if !taken.is_compared {
            self.warmed_up += 1;
            return Ok(());
        }
        let at = &taken.record.position;
        if !self.topics.iter().any(|topic| **topic == *at.topic) {
            self.topics.push(at.topic.to_string());
        }
        Ok(self.comparison.add(at, present, candidate)?)
    }
}

fn lines_of(part: &[Taken]) -> Bytes {
    let mut lines = Vec::new();
    for taken in part {
        lines.extend(write_record(&taken.record));
        lines.push(b'\n');
    }
    lines.into()
}
