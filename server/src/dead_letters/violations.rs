//! What broke since when: the violations of a time by rule, sender, topic and hour, held against the time before. Pure.
//!
//! A violation is a dead letter that whoever sent the event has to mend; one that was sent again and failed again counts once. By the letters,
//! which stay on their topics, the answer is the same in every process and after a restart.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use serde::{Deserialize, Serialize};

use crate::live::format_time;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The time that is looked at where nobody says.
pub const SPAN_MS: i64 = DAY_MS;
/// The longest one.
pub const MOST_DAYS: i64 = 92;
/// A longer time is told by days.
const BY_HOUR_MS: i64 = 3 * DAY_MS;
/// So many times as many is more, and such a part is less.
const MUCH: u64 = 2;

/// Which violations are meant, and of which time. Every part that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViolationFilter {
    /// Of this tenant only; one whose tenant could not be read is nobody's.
    pub tenant: Option<String>,
    /// The topic that the event was on.
    pub topic: Option<String>,
    /// The family that could not take it.
    pub family: Option<String>,
    /// The first rule that was broken.
    pub rule: Option<String>,
    /// Who sent it.
    pub sender: Option<String>,
    /// From here on, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// Before this; later than `since_ms`.
    pub until_ms: i64,
}

impl ViolationFilter {
    /// When the time before began, which is as long.
    fn before_ms(&self) -> i64 {
        self.since_ms.saturating_sub(self.until_ms.saturating_sub(self.since_ms))
    }

    fn fits(&self, of: &Broken) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        is(&self.topic, &of.topic)
            && is(&self.family, &of.family)
            && is(&self.rule, &of.rule)
            && (self.sender.is_none() || self.sender == of.sender)
            && (self.tenant.is_none() || self.tenant == of.tenant)
    }
}

/// Whether whoever sent the event has to mend it.
pub fn is_violation(kind: DeadLetterKind) -> bool {
    !matches!(kind, DeadLetterKind::Processing | DeadLetterKind::Database | DeadLetterKind::Undelivered)
}

/// What is broken, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Broken {
    /// The first rule that was broken; of a letter without findings its kind.
    pub rule: String,
    /// Why there are letters.
    pub kind: DeadLetterKind,
    /// As the event itself says: the module of an envelope, the platform of a statement; `None` where it says none.
    pub sender: Option<String>,
    /// Whose the event is, where that could be read.
    pub tenant: Option<String>,
    /// The topic that it was on.
    pub topic: String,
    /// The family that could not take it.
    pub family: String,
}

/// When it was broken: all that is known, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// What.
    pub of: Broken,
    /// Milliseconds since 1970 UTC, each before the end of the time that is looked at.
    pub times_ms: Vec<i64>,
    /// The newest letter.
    pub example: Option<Position>,
}

/// How the time that is looked at compares to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trend {
    /// It never happened before.
    New,
    /// It did not happen in the time before, and earlier it did.
    Again,
    /// At least twice as often as in the time before.
    More,
    /// About as often.
    Same,
    /// At most half as often.
    Less,
    /// It happened in the time before, and does not any more.
    Over,
}

impl Trend {
    /// Every one, in the order in which they are listed.
    pub const ALL: [Self; 6] = [Self::New, Self::Again, Self::More, Self::Same, Self::Less, Self::Over];

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Again => "again",
            Self::More => "more",
            Self::Same => "same",
            Self::Less => "less",
            Self::Over => "over",
        }
    }

    fn of(count: u64, before: u64, earlier: u64) -> Option<Self> {
        match (count, before) {
            (0, 0) => None,
            (0, _) => Some(Self::Over),
            (_, 0) if earlier == 0 => Some(Self::New),
            (_, 0) => Some(Self::Again),
            _ if count >= before.saturating_mul(MUCH) => Some(Self::More),
            _ if count.saturating_mul(MUCH) <= before => Some(Self::Less),
            _ => Some(Self::Same),
        }
    }

    fn begins(self) -> bool {
        matches!(self, Self::New | Self::Again)
    }
}

/// A rule that a sender breaks or broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// What is broken, and by whom.
    #[serde(flatten)]
    pub of: Broken,
    /// Against the time before.
    pub trend: Trend,
    /// Whether the sender broke no rule at all in the time before; where it says not who it is, whether nobody did on the topic.
    pub was_good: bool,
    /// How often in the time that is looked at.
    pub count: u64,
    /// How often in the time before.
    pub before: u64,
    /// The first time that is known: RFC 3339.
    pub first: String,
    /// Since when without a pause as long as the time that is looked at.
    pub began: String,
    /// The last time.
    pub last: String,
    /// The newest letter.
    pub example: Option<Position>,
    /// What is wrong with it, in a line.
    pub why: String,
}

/// How many there were of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally<T> {
    /// Of what.
    #[serde(flatten)]
    pub of: T,
    /// In the time that is looked at.
    pub count: u64,
    /// In the time before.
    pub before: u64,
}

/// See [`Violations::rules`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OfRule {
    /// The rule.
    pub rule: String,
}

/// See [`Violations::senders`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OfSender {
    /// Who.
    pub sender: Option<String>,
    /// Whose events.
    pub tenant: Option<String>,
}

/// See [`Violations::topics`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OfTopic {
    /// The topic.
    pub topic: String,
    /// The family that could not take them.
    pub family: String,
}

/// A part of the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTime {
    /// When it begins: RFC 3339.
    pub from: String,
    /// How many there were.
    pub count: u64,
}

/// How many there are in all of what is listed in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of [`Violations::courses`].
    pub courses: u64,
    /// Of [`Violations::rules`].
    pub rules: u64,
    /// Of [`Violations::senders`].
    pub senders: u64,
    /// Of [`Violations::topics`].
    pub topics: u64,
}

/// What broke since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations {
    /// The time that is looked at begins: RFC 3339.
    pub since: String,
    /// And ends.
    pub until: String,
    /// The time before begins, which is as long.
    pub before_since: String,
    /// How many there were.
    pub count: u64,
    /// How many in the time before.
    pub before: u64,
    /// Each rule with each sender, what a sender newly breaks first, and of that what one breaks that was good before.
    pub courses: Vec<Course>,
    /// By rule, the most first.
    pub rules: Vec<Tally<OfRule>>,
    /// By sender.
    pub senders: Vec<Tally<OfSender>>,
    /// By topic and family.
    pub topics: Vec<Tally<OfTopic>>,
    /// By hour, of more than three days by day, in UTC, those without included.
    pub times: Vec<OfTime>,
    /// How long one of them is.
    pub bar_ms: i64,
    /// How many there are of each.
    pub totals: Totals,
    /// Older letters that the index has no room for, and that are missing here.
    pub not_indexed: u64,
    /// Whether so many letters came at once that not all of them were read yet.
    pub is_behind: bool,
}

/// Whose being good is meant: a sender of a tenant, or what comes on a topic from nobody knows whom.
fn whose(of: &Broken) -> (Option<&str>, Option<&str>, Option<&str>) {
    let topic = if of.sender.is_none() { Some(of.topic.as_str()) } else { None };
    (of.tenant.as_deref(), of.sender.as_deref(), topic)
}

/// What broke since when; at most `limit` of each list. `series` are all that the tenant has, so that it is known who was good before,
/// whatever rule is asked for.
pub fn judge(mut series: Vec<Series>, filter: &ViolationFilter, limit: usize) -> Violations {
    let (since_ms, until_ms, before_ms) = (filter.since_ms, filter.until_ms, filter.before_ms());
    for of in &mut series {
        of.times_ms.retain(|at_ms| *at_ms < until_ms);
        of.times_ms.sort_unstable();
    }
    let within = |times: &[i64], from_ms: i64, to_ms: i64| {
        let place = |ms: i64| times.partition_point(|at_ms| *at_ms < ms);
        (place(to_ms) - place(from_ms)) as u64
    };
    let bad: BTreeSet<_> =
        series.iter().filter(|of| within(&of.times_ms, before_ms, since_ms) > 0).map(|of| whose(&of.of)).collect();
    let bar_ms = if until_ms - since_ms <= BY_HOUR_MS { HOUR_MS } else { DAY_MS };
    let mut times: BTreeMap<i64, u64> = BTreeMap::new();
    let mut bar = since_ms.div_euclid(bar_ms) * bar_ms;
    while bar < until_ms {
        times.insert(bar, 0);
        bar += bar_ms;
    }
    let (mut rules, mut senders, mut topics) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut violations = Violations {
        since: format_time(since_ms),
        until: format_time(until_ms),
        before_since: format_time(before_ms),
        bar_ms,
        ..Violations::default()
    };
    let mut courses = Vec::new();
    for Series { of, times_ms, example } in series.iter().filter(|series| filter.fits(&series.of)) {
        let (count, before) = (within(times_ms, since_ms, until_ms), within(times_ms, before_ms, since_ms));
        let earlier = within(times_ms, i64::MIN, before_ms);
        let (Some(trend), [first, .., last] | [first @ last]) =
            (Trend::of(count, before, earlier), times_ms.as_slice())
        else {
            continue;
        };
        violations.count += count;
        violations.before += before;
        add(&mut rules, OfRule { rule: of.rule.clone() }, count, before);
        add(&mut senders, OfSender { sender: of.sender.clone(), tenant: of.tenant.clone() }, count, before);
        add(&mut topics, OfTopic { topic: of.topic.clone(), family: of.family.clone() }, count, before);
        for at_ms in times_ms.iter().filter(|at_ms| **at_ms >= since_ms) {
            *times.entry(at_ms.div_euclid(bar_ms) * bar_ms).or_default() += 1;
        }
        let course = Course {
            of: of.clone(),
            trend,
            was_good: !bad.contains(&whose(of)),
            count,
            before,
            first: format_time(*first),
            began: format_time(began(times_ms, until_ms - since_ms).unwrap_or(*first)),
            last: format_time(*last),
            example: example.clone(),
            why: String::new(),
        };
        courses.push((*last, course));
    }
    courses.sort_by(|(one_ms, one), (other_ms, other)| {
        let place = |last_ms: i64, course: &Course| {
            (!(course.trend.begins() && course.was_good), course.trend, Reverse((course.count, course.before, last_ms)))
        };
        place(*one_ms, one).cmp(&place(*other_ms, other)).then_with(|| one.of.cmp(&other.of))
    });
    violations.totals.courses = courses.len() as u64;
    violations.courses = courses.into_iter().map(|(_, course)| course).take(limit).collect();
    (violations.rules, violations.totals.rules) = most(rules, limit);
    (violations.senders, violations.totals.senders) = most(senders, limit);
    (violations.topics, violations.totals.topics) = most(topics, limit);
    violations.times = times.into_iter().map(|(from, count)| OfTime { from: format_time(from), count }).collect();
    violations
}

/// Since when there was no pause of that length.
fn began(times_ms: &[i64], pause_ms: i64) -> Option<i64> {
    let pause = times_ms.windows(2).rposition(|pair| pair[1] - pair[0] >= pause_ms);
    times_ms.get(pause.map_or(0, |place| place + 1)).copied()
}

fn add<T: Ord>(tallies: &mut BTreeMap<T, (u64, u64)>, of: T, count: u64, before: u64) {
    let tally = tallies.entry(of).or_default();
    tally.0 += count;
    tally.1 += before;
}

fn most<T>(tallies: BTreeMap<T, (u64, u64)>, limit: usize) -> (Vec<Tally<T>>, u64) {
    let mut tallies: Vec<Tally<T>> =
        tallies.into_iter().map(|(of, (count, before))| Tally { of, count, before }).collect();
    let total = tallies.len() as u64;
    // Stable, so that those of equal number stay in the order of their names.
    tallies.sort_by_key(|tally| Reverse((tally.count, tally.before)));
    tallies.truncate(limit);
    (tallies, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole day begins here.
    const NOW_MS: i64 = 1_800_000_000_000 - 1_800_000_000_000 % DAY_MS;

    fn series(rule: &str, sender: Option<&str>, hours_ago: &[i64]) -> Series {
        let of = Broken {
            rule: rule.to_owned(),
            kind: DeadLetterKind::Validation,
            sender: sender.map(str::to_owned),
            tenant: Some("acme".to_owned()),
            topic: "bookings".to_owned(),
            family: "training".to_owned(),
        };
        Series { of, times_ms: hours_ago.iter().map(|hours| NOW_MS - hours * HOUR_MS).collect(), example: None }
    }

    fn lately() -> ViolationFilter {
        ViolationFilter {
            tenant: None,
            topic: None,
            family: None,
            rule: None,
            sender: None,
            since_ms: NOW_MS - DAY_MS,
            until_ms: NOW_MS,
        }
    }

    fn told(violations: &Violations) -> Vec<String> {
        let told = |course: &Course| {
            let good = if course.was_good { " good" } else { "" };
            let sender = course.of.sender.as_deref().unwrap_or("-");
            format!("{} {sender} {} {}/{}{good}", course.trend.name(), course.of.rule, course.count, course.before)
        };
        violations.courses.iter().map(told).collect()
    }

    #[test]
    fn what_a_sender_breaks_that_was_good_before_stands_at_the_top() {
        let all = vec![
            series("old", Some("lms"), &[1, 2, 3, 30, 31]),
            series("new", Some("lms"), &[1; 9]),
            series("new", Some("crm"), &[2]),
            series("again", Some("cms"), &[5, 100]),
            series("flood", Some("hr"), &[1, 1, 1, 1, 1, 1, 25, 26]),
            series("mended", Some("app"), &[30]),
            series("fewer", Some("hr"), &[1, 40, 41]),
            series("long ago", Some("app"), &[500]),
        ];
        let violations = judge(all, &lately(), 100);
        assert_eq!(
            told(&violations),
            [
                "new crm new 1/0 good",
                "again cms again 1/0 good",
                "new lms new 9/0",
                "more hr flood 6/2",
                "same lms old 3/2",
                "less hr fewer 1/2",
                "over app mended 0/1",
            ]
        );
        assert_eq!((violations.count, violations.before, violations.totals.courses), (21, 7, 7));
    }

    #[test]
    fn who_was_good_before_does_not_depend_on_what_is_asked_for() {
        let all =
            || vec![series("old", Some("lms"), &[30]), series("new", Some("lms"), &[1]), series("new", None, &[1])];
        let one_rule = ViolationFilter { rule: Some("new".to_owned()), ..lately() };
        assert_eq!(told(&judge(all(), &one_rule, 100)), ["new - new 1/0 good", "new lms new 1/0"]);
        let one_sender = ViolationFilter { sender: Some("lms".to_owned()), ..lately() };
        assert_eq!(judge(all(), &one_sender, 100).totals.courses, 2);
        let other = ViolationFilter { tenant: Some("globex".to_owned()), ..lately() };
        assert_eq!(told(&judge(all(), &other, 100)), [""; 0]);
        for nothing in [
            ViolationFilter { topic: Some("none".to_owned()), ..lately() },
            ViolationFilter { family: Some("none".to_owned()), ..lately() },
        ] {
            assert_eq!(judge(all(), &nothing, 100).totals, Totals::default());
        }
    }

    #[test]
    fn it_began_behind_the_last_pause_that_is_as_long_as_the_time_looked_at() {
        let violations = judge(vec![series("r", None, &[200, 80, 60, 40, 20, 1])], &lately(), 100);
        let of = &violations.courses[0];
        let ago = |hours: i64| format_time(NOW_MS - hours * HOUR_MS);
        assert_eq!([&of.first, &of.began, &of.last], [&ago(200), &ago(80), &ago(1)]);
    }

    #[test]
    fn the_numbers_of_hours_and_of_days_are_those_of_the_whole() {
        let hours = [0, 1, 1, 23, 24, 25];
        let by_hour = judge(vec![series("r", None, &hours)], &lately(), 100);
        assert_eq!((by_hour.bar_ms, by_hour.times.len(), by_hour.times[23].count), (HOUR_MS, 24, 2));
        assert_eq!(by_hour.times.iter().map(|of| of.count).sum::<u64>(), by_hour.count);
        // What is written at its very end is none of it, and what is at its beginning is.
        assert_eq!((by_hour.count, by_hour.before), (4, 1));
        let week = ViolationFilter { since_ms: NOW_MS - 7 * DAY_MS + 1, ..lately() };
        let by_day = judge(vec![series("r", None, &hours)], &week, 100);
        assert_eq!((by_day.bar_ms, by_day.times.len(), by_day.count), (DAY_MS, 7, 5));
        assert_eq!(by_day.times.iter().map(|of| of.count).sum::<u64>(), 5);
    }

    #[test]
    fn of_each_list_only_so_many_are_told_and_how_many_there_are() {
        let all = (0..5).map(|number| series(&format!("rule {number}"), Some("lms"), &[1])).collect();
        let violations = judge(all, &lately(), 2);
        assert_eq!((violations.courses.len(), violations.rules.len(), violations.senders.len()), (2, 2, 1));
        assert_eq!(violations.totals, Totals { courses: 5, rules: 5, senders: 1, topics: 1 });
        assert_eq!(violations.senders[0].count, 5, "what is not told is counted");
    }
}
