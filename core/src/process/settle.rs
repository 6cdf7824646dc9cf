//! Step 6: how each record ended. What nobody decided about is redelivered, and so is what stands behind such a record.

use std::borrow::Cow;

use super::batch::{Batch, Disposition};
use crate::family::TypedEvent;
use crate::outcome::{Outcome, Report};

impl<E: TypedEvent> Batch<'_, E> {
    /// The reports, with their outcomes.
    pub(super) fn settle(self) -> Vec<Report> {
        let mut like_first = Vec::new();
        let mut reports = Vec::with_capacity(self.entries.len());
        for (index, entry) in self.entries.into_iter().enumerate() {
            let mut report = entry.report;
            report.outcome = match entry.disposition {
                Disposition::Undecided | Disposition::Missing(_) => Outcome::undecided(),
                Disposition::Tombstone => Outcome::SkippedTombstone,
                Disposition::Unwanted => Outcome::Skipped,
                Disposition::Redeliver { reason } => Outcome::RetryLater { reason: reason.into() },
                Disposition::LikeFirst { first } => {
                    like_first.push((index, first));
                    Outcome::undecided()
                }
                Disposition::Emit(emission) => {
                    report.findings = emission.findings;
                    report.anomalies = emission.anomalies;
                    emission.outcome
                }
            };
            reports.push(report);
        }
        for (index, first) in like_first {
            reports[index].outcome = match &reports[first].outcome {
                Outcome::Applied => Outcome::Duplicate,
                other => other.clone(),
            };
        }
        hold_back(self.groups.iter(), &mut reports);
        reports
    }
}

/// Where a record is redelivered, those behind it of the same aggregates are redelivered with it, in order.
fn hold_back<'g>(groups: impl Iterator<Item = &'g [usize]>, reports: &mut [Report]) {
    for group in groups {
        let mut blocked: Option<Cow<'static, str>> = None;
        for &index in group {
            let report = &mut reports[index];
            match (&blocked, &report.outcome) {
                (Some(reason), outcome) if outcome.is_settled() => {
                    report.outcome = Outcome::RetryLater { reason: reason.clone() };
                }
                (None, Outcome::RetryLater { reason }) => {
                    blocked = Some(format!("waits behind {}: {reason}", report.position).into());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;

    #[test]
    fn a_report_that_nobody_completes_is_redelivered_and_says_why() {
        let report = Report::of(Position::new("t", 0, 1), "any");
        assert!(!report.outcome.is_settled() && report.outcome == Outcome::undecided());
    }

    #[test]
    fn what_stands_behind_a_record_that_is_redelivered_waits_and_its_reason_names_that_record() {
        let mut reports: Vec<_> = (0..4).map(|offset| Report::of(Position::new("t", 0, offset), "any")).collect();
        reports[0].outcome = Outcome::Applied;
        reports[1].outcome = Outcome::RetryLater { reason: "away".into() };
        reports[2].outcome = Outcome::Applied;
        reports[3].outcome = Outcome::RetryLater { reason: "it failed by itself".into() };
        hold_back([[0, 1, 2, 3].as_slice()].into_iter(), &mut reports);
        assert_eq!(reports[0].outcome, Outcome::Applied);
        assert_eq!(reports[2].outcome, Outcome::RetryLater { reason: "waits behind t/0/1: away".into() });
        assert_eq!(reports[3].outcome, Outcome::RetryLater { reason: "it failed by itself".into() });
    }
}
