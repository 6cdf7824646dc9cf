//! The latest events with their repetitions folded: a hundred failures of one cause are one line, and so is a run of one kind of event.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::live::LiveEvent;

/// Events that are told in one line.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    /// The newest first; there is at least one.
    pub(super) events: Vec<&'a Arc<LiveEvent>>,
    key: Key<'a>,
}

/// What events of one line have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key<'a> {
    event_type: &'a str,
    outcome: &'static str,
    tenant: Option<&'a str>,
    /// Of one that failed: the first rule that it broke.
    rule: Option<&'a str>,
    has_failed: bool,
}

impl<'a> Key<'a> {
    fn of(event: &'a LiveEvent) -> Self {
        let outcome = event.outcome.name();
        Self {
            event_type: event.event_type,
            outcome,
            tenant: event.tenant.as_deref(),
            rule: event.findings.first().map(|finding| &*finding.rule),
            has_failed: matches!(outcome, "dead_lettered" | "retry_later"),
        }
    }
}

impl Fold<'_> {
    pub(super) fn newest(&self) -> &LiveEvent {
        self.events[0]
    }

    /// A name that stays the line's while events come and go, so that opened details and focus stay.
    pub(super) fn id(&self) -> String {
        if self.key.has_failed {
            let mut hasher = DefaultHasher::new();
            self.key.hash(&mut hasher);
            return format!("f-{:x}", hasher.finish());
        }
        // One record may end more than once: it is delivered again.
        let oldest = self.events[self.events.len() - 1];
        format!("e-{}-{}", oldest.position.to_string().replace('/', "-"), oldest.at_ms)
    }
}

/// Failures of one cause are together wherever they stand, others where they follow each other. The order is that of the newest.
pub(super) fn fold(events: &[Arc<LiveEvent>]) -> Vec<Fold<'_>> {
    let mut folds: Vec<Fold<'_>> = Vec::new();
    for event in events {
        let key = Key::of(event);
        let same = if key.has_failed {
            folds.iter_mut().find(|fold| fold.key == key)
        } else {
            folds.last_mut().filter(|fold| fold.key == key)
        };
        match same {
            Some(fold) => fold.events.push(event),
            None => folds.push(Fold { events: vec![event], key }),
        }
    }
    folds
}

#[cfg(test)]
mod tests {
    use lyceum_core::outcome::{DeadLetterKind, Finding, Outcome, Report};
    use lyceum_core::record::Position;

    use super::*;

    fn event(offset: i64, event_type: &'static str, rule: Option<&'static str>) -> Arc<LiveEvent> {
        let mut report = Report::of(Position::new("t", 0, offset), "training");
        report.event_type = event_type;
        report.outcome = Outcome::Applied;
        if let Some(rule) = rule {
            report.outcome = Outcome::DeadLettered { kind: DeadLetterKind::Validation };
            let (rule, message) = (rule.into(), format!("in {offset}"));
            report.findings = vec![Finding { rule, pointer: String::new(), message, requirement: "r".into() }];
        }
        Arc::new(LiveEvent { at_ms: offset, findings_total: report.findings.len(), report })
    }

    #[test]
    fn failures_of_one_cause_are_one_line_wherever_they_stand_and_others_where_they_follow_each_other() {
        let events = [
            event(9, "a", Some("zone")),
            event(8, "b", None),
            event(7, "b", None),
            event(6, "a", Some("zone")),
            event(5, "b", None),
            event(4, "a", Some("other")),
        ];
        let folded: Vec<Vec<i64>> =
            fold(&events).iter().map(|fold| fold.events.iter().map(|event| event.at_ms).collect()).collect();
        assert_eq!(folded, [vec![9, 6], vec![8, 7, 5], vec![4]], "what is folded elsewhere stands between no others");
    }

    #[test]
    fn a_line_keeps_its_name_while_events_join_it() {
        let before = [event(6, "b", None), event(5, "a", Some("zone"))];
        let after = [event(8, "a", Some("zone")), event(7, "b", None), before[0].clone(), before[1].clone()];
        let ids =
            |events: &[Arc<LiveEvent>]| fold(events).iter().map(Fold::id).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids(&before), ids(&after));
    }
}
