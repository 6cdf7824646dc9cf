//! What is wrong now: what, whose, since when, and where to look. Nothing is said where all is well.

use lyceum_xapi::utc_time::UtcTime;
use maud::{Markup, html};

use super::{Frame, count, moment, words};
use crate::consumers::{ConsumerState, ConsumerStatus};
use crate::dead_letters::letters::{Cause, DeadLetterFilter, LetterState};

/// Fewer letters of one cause are life, and stand among the dead letters.
const LETTERS: u64 = 10;
/// A cause that brought no letter for so long does not fail events any more.
const FRESH_MS: i64 = 24 * 3_600_000;
/// So many causes are told one by one.
const CAUSES: usize = 3;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alarm {
    /// What, and whose.
    what: String,
    /// RFC 3339.
    since: Option<String>,
    why: String,
    /// A path, and what it shows.
    to: Option<(String, &'static str)>,
}

/// What is looked at.
pub(super) struct Signs<'a> {
    pub(super) frame: &'a Frame,
    pub(super) now_ms: i64,
    pub(super) causes: &'a [Cause],
    pub(super) health: &'a [(&'static str, Option<String>)],
    pub(super) mappings: &'a [ConsumerStatus],
}

impl Signs<'_> {
    /// The worst first: a part that does not answer stops every event.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let parts = self.health.iter().filter_map(|(name, error)| {
            let what = format!("The {name} does not answer");
            Some(Alarm { what, since: None, why: error.clone()?, to: Some(("/health".to_owned(), "Health")) })
        });
        let failing = self.mappings.iter().filter(|mapping| mapping.state == ConsumerState::BackingOff);
        let inputs = failing.map(|mapping| {
            let waiting = mapping.lag();
            let what = format!(
                "{} {} waiting on {}",
                count(waiting),
                if waiting == 1 { "event is" } else { "events are" },
                mapping.topic
            );
            let error = mapping.work.as_ref().and_then(|work| work.last_error.clone());
            Alarm {
                what,
                since: None,
                why: error.unwrap_or_else(|| "its function fails, and is tried again".to_owned()),
                to: None,
            }
        });
        let mut failing: Vec<&Cause> = self.causes.iter().filter(|cause| self.is_fresh(cause)).collect();
        failing.sort_by_key(|cause| std::cmp::Reverse(cause.waiting));
        let more = failing.len().saturating_sub(CAUSES);
        let events = failing.into_iter().take(CAUSES).map(|cause| self.of_cause(cause));
        let more = (more > 0).then(|| Alarm {
            what: format!("{more} further {} events", if more == 1 { "cause fails" } else { "causes fail" }),
            since: None,
            why: "by rule, topic and tenant they stand among the dead letters".to_owned(),
            to: Some((self.frame.path("/dead-letters", &[("state", "waiting")]), "Show")),
        });
        parts.chain(inputs).chain(events).chain(more).collect()
    }

    fn is_fresh(&self, cause: &Cause) -> bool {
        let last = cause.last.parse::<UtcTime>().map_or(i64::MIN, UtcTime::as_millis);
        cause.waiting >= LETTERS && last > self.now_ms - FRESH_MS
    }

    fn of_cause(&self, cause: &Cause) -> Alarm {
        let whose = cause.tenant.as_ref().map(|tenant| format!(" of {tenant}")).unwrap_or_default();
        let filter = DeadLetterFilter {
            rule: Some(cause.rule.clone()),
            kind: Some(cause.kind),
            topic: Some(cause.topic.clone()),
            state: Some(LetterState::Waiting),
            ..DeadLetterFilter::default()
        };
        let tenant = cause.tenant.as_deref().filter(|_| self.frame.tenant.is_none());
        let tenant: Vec<_> = tenant.map(|tenant| ("tenant", tenant)).into_iter().collect();
        Alarm {
            what: format!("{} events{whose} failed", count(i128::from(cause.waiting))),
            since: Some(cause.first.clone()),
            why: if cause.why.is_empty() { words(&cause.rule) } else { cause.why.trim_end_matches('.').to_owned() },
            to: Some((super::dead_letters::path(self.frame, super::dead_letters::LIST, &filter, &tenant), "Show them")),
        }
    }
}

/// A banner; nothing where nothing is wrong.
pub(super) fn render(alarms: &[Alarm]) -> Markup {
    html! {
        @if !alarms.is_empty() {
            section.alarm aria-label="What is wrong" {
                ul {
                    @for alarm in alarms {
                        li {
                            b { (alarm.what) @if let Some(since) = &alarm.since { " since " (moment(since)) } ":" }
                            " " (alarm.why) ". "
                            @if let Some((to, shows)) = &alarm.to { a href=(to) { (shows) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::outcome::DeadLetterKind;

    use super::*;
    use crate::live::format_time;

    const NOW_MS: i64 = 1_772_703_000_000;

    fn cause(tenant: &str, waiting: u64, last_ms: i64) -> Cause {
        Cause {
            rule: "timestamp.zone".to_owned(),
            kind: DeadLetterKind::Validation,
            topic: "nlj.xapi.statements".to_owned(),
            tenant: Some(tenant.to_owned()),
            count: waiting,
            waiting,
            parked: 0,
            first: format_time(NOW_MS - 11 * 3_600_000),
            last: format_time(last_ms),
            example: None,
            why: "the timestamp has no zone".to_owned(),
        }
    }

    fn alarms(causes: &[Cause], health: &[(&'static str, Option<String>)]) -> Vec<Alarm> {
        let frame = Frame::default();
        Signs { frame: &frame, now_ms: NOW_MS, causes, health, mappings: &[] }.alarms()
    }

    #[test]
    fn a_banner_says_what_fails_whose_since_when_why_and_where() {
        let page = render(&alarms(&[cause("acme", 130, NOW_MS)], &[])).into_string();
        assert!(page.contains("130 events of acme failed since <time datetime=\"2026-03-04T22:30:00Z\""), "{page}");
        assert!(page.contains("the timestamp has no zone. <a href=\"/dead-letters/list?kind=validation&amp;topic=nlj.xapi.statements&amp;rule=timestamp.zone&amp;state=waiting&amp;tenant=acme\">"), "{page}");
    }

    #[test]
    fn where_all_is_well_nothing_is_said_and_single_letters_and_old_ones_are_life() {
        let few = [cause("acme", 9, NOW_MS), cause("globex", 500, NOW_MS - FRESH_MS)];
        assert_eq!(alarms(&few, &[("search", None)]), []);
        assert_eq!(render(&[]).into_string(), "");
    }

    #[test]
    fn a_part_that_is_away_comes_first_and_of_many_causes_the_largest_are_told() {
        let causes: Vec<Cause> = (0..5).map(|at| cause(&format!("t{at}"), 20 + at, NOW_MS)).collect();
        let told = alarms(&causes, &[("search", Some("refused".to_owned()))]);
        let what: Vec<&str> = told.iter().map(|alarm| alarm.what.as_str()).collect();
        let wanted = [
            "The search does not answer",
            "24 events of t4 failed",
            "23 events of t3 failed",
            "22 events of t2 failed",
            "2 further causes fail events",
        ];
        assert_eq!(what, wanted);
    }
}
