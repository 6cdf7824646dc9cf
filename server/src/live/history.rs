//! How events ended, by the minute and by the hour: what charts show beyond the last minutes, and what outlives the process.
//!
//! Memory and disk are bounded: a day of minutes and [`HOURS`] of hours, of all tenants together and of each that has numbers of
//! its own. A minute that has no bucket at all is one in which no process ran: a gap, which is another thing than nothing to do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Counts, MAX_TENANTS, OUTCOMES, push_bounded};

/// How many minutes are kept: a day.
pub const MINUTES: usize = 24 * 60;
/// How many hours are kept: 400 days, so that a month can be held against the same one of the year before.
pub const HOURS: usize = 400 * 24;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How much time a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// Of the last day.
    Minute,
    /// Of the last 400 days.
    Hour,
}

impl Width {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// Its milliseconds.
    pub const fn ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
        }
    }

    /// How many buckets are kept.
    pub const fn limit(self) -> usize {
        match self {
            Self::Minute => MINUTES,
            Self::Hour => HOURS,
        }
    }

    /// Its name where it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// The width of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|width| width.name() == name)
    }
}

/// Whose bucket, and of which time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketKey {
    /// `None` is all tenants together.
    pub tenant: Option<String>,
    /// How much time it counts.
    pub width: Width,
    /// Where it begins, milliseconds since 1970 UTC.
    pub start_ms: i64,
}

/// Buckets as they are kept.
pub type Buckets = BTreeMap<BucketKey, Counts>;

/// Keeps buckets beyond the process.
pub trait KeepHistory: Send + Sync {
    /// Everything that is kept and not past its time. What cannot be read is told to the log and left out: no history is a
    /// reason not to start.
    ///
    /// # Errors
    /// Where the place cannot be read at all.
    fn load(&self, now_ms: i64) -> io::Result<Buckets>;

    /// Keeps these; a bucket that is there already is replaced. Once more is harmless.
    ///
    /// # Errors
    /// Where nothing can be written; the same buckets come again with the next call.
    fn save(&self, buckets: &Buckets, now_ms: i64) -> io::Result<()>;

    /// Whether what is kept is there after a restart.
    fn is_durable(&self) -> bool;
}

/// The twin that keeps its buckets as long as the process lives, for one that has no folder of its own.
#[derive(Debug, Default)]
pub struct MemoryHistory(Mutex<Buckets>);

impl KeepHistory for MemoryHistory {
    fn load(&self, now_ms: i64) -> io::Result<Buckets> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop_what_is_old(&mut buckets, now_ms);
        Ok(buckets.clone())
    }

    fn save(&self, buckets: &Buckets, now_ms: i64) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(buckets.iter().map(|(key, counts)| (key.clone(), *counts)));
        drop_what_is_old(&mut kept, now_ms);
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// Drops buckets past their time, those of a future that a wrong clock wrote, and those of tenants beyond the number that is kept: the
/// ones that were idle longest.
pub fn drop_what_is_old(buckets: &mut Buckets, now_ms: i64) {
    let is_kept = |key: &BucketKey| {
        let oldest_ms = now_ms - key.width.ms() * key.width.limit() as i64;
        oldest_ms < key.start_ms && key.start_ms <= now_ms
    };
    buckets.retain(|key, _| is_kept(key));
    let mut last_seen: BTreeMap<&str, i64> = BTreeMap::new();
    for (key, _) in buckets.iter() {
        if let Some(tenant) = &key.tenant {
            let seen = last_seen.entry(tenant).or_insert(key.start_ms);
            *seen = key.start_ms.max(*seen);
        }
    }
    if last_seen.len() > MAX_TENANTS {
        let mut tenants: Vec<(i64, String)> =
            last_seen.into_iter().map(|(tenant, seen)| (seen, tenant.to_owned())).collect();
        tenants.sort_unstable_by(|a, b| b.cmp(a));
        let idle: BTreeSet<String> = tenants.drain(MAX_TENANTS..).map(|(_, tenant)| tenant).collect();
        buckets.retain(|key, _| key.tenant.as_ref().is_none_or(|tenant| !idle.contains(tenant)));
    }
}

/// Counts of the last seconds, minutes or hours: an entry only where something ended or was marked, oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    width_ms: i64,
    limit: usize,
    buckets: VecDeque<(i64, Counts)>,
}

impl Ring {
    pub(super) fn new(width_ms: i64, limit: usize) -> Self {
        Self { width_ms, limit, buckets: VecDeque::new() }
    }

    fn of(width: Width) -> Self {
        Self::new(width.ms(), width.limit())
    }

    /// The counts of a moment, made where there are none. A clock that was set back adds to the newest bucket instead of making
    /// them unordered.
    fn at(&mut self, at_ms: i64) -> &mut Counts {
        let newest = self.buckets.back().map_or(i64::MIN, |(bucket, _)| *bucket);
        let bucket = at_ms.div_euclid(self.width_ms).max(newest);
        if bucket > newest {
            push_bounded(&mut self.buckets, (bucket, Counts::default()), self.limit);
        }
        let last = self.buckets.len() - 1;
        &mut self.buckets[last].1
    }

    pub(super) fn add(&mut self, at_ms: i64, column: usize) {
        self.at(at_ms)[column] += 1;
    }

    /// The last so many, those without anything included, the oldest first; the last one is under way.
    pub(super) fn last(&self, now_ms: i64) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); self.limit];
        let first = now_ms.div_euclid(self.width_ms) - (self.limit as i64 - 1);
        for (bucket, counted) in &self.buckets {
            if let Some(slot) = usize::try_from(bucket - first).ok().and_then(|index| counts.get_mut(index)) {
                *slot = *counted;
            }
        }
        counts
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, Counts)> + '_ {
        self.buckets.iter().map(|(bucket, counts)| (bucket * self.width_ms, *counts))
    }

    /// Puts what was kept before everything that was counted since.
    fn restore(&mut self, kept: &BTreeMap<i64, Counts>) {
        let mut all: BTreeMap<i64, Counts> =
            kept.iter().map(|(start_ms, counts)| (start_ms.div_euclid(self.width_ms), *counts)).collect();
        for (bucket, counts) in &self.buckets {
            let sum = all.entry(*bucket).or_default();
            *sum = add(*sum, *counts);
        }
        let surplus = all.len().saturating_sub(self.limit);
        self.buckets = all.into_iter().skip(surplus).collect();
    }
}

/// The rings that are kept of a tenant, or of all.
#[derive(Debug)]
pub(super) struct Rings {
    minutes: Ring,
    hours: Ring,
}

impl Default for Rings {
    fn default() -> Self {
        Self { minutes: Ring::of(Width::Minute), hours: Ring::of(Width::Hour) }
    }
}

impl Rings {
    pub(super) fn add(&mut self, at_ms: i64, column: usize) {
        self.minutes.add(at_ms, column);
        self.hours.add(at_ms, column);
    }

    /// There was a process at this time.
    pub(super) fn mark(&mut self, at_ms: i64) {
        self.minutes.at(at_ms);
        self.hours.at(at_ms);
    }

    pub(super) fn ring(&self, width: Width) -> &Ring {
        match width {
            Width::Minute => &self.minutes,
            Width::Hour => &self.hours,
        }
    }

    pub(super) fn restore(&mut self, width: Width, kept: &BTreeMap<i64, Counts>) {
        match width {
            Width::Minute => self.minutes.restore(kept),
            Width::Hour => self.hours.restore(kept),
        }
    }

    /// Buckets that may have changed since a moment.
    pub(super) fn changed_since<'a>(
        &'a self,
        tenant: Option<&'a str>,
        since_ms: i64,
    ) -> impl Iterator<Item = (BucketKey, Counts)> + 'a {
        Width::ALL.into_iter().flat_map(move |width| {
            let newest_first = self.ring(width).iter().rev();
            let changed = newest_first.take_while(move |(start_ms, _)| start_ms + width.ms() > since_ms);
            changed.map(move |(start_ms, counts)| {
                (BucketKey { tenant: tenant.map(str::to_owned), width, start_ms }, counts)
            })
        })
    }
}

pub(super) fn add(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|index| a[index] + b[index])
}

/// How far back a chart goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Ten minutes, by the second.
    #[default]
    Minutes,
    /// A day, in quarters of an hour.
    Day,
    /// 30 days, in quarters of a day.
    Month,
    /// A little more than a year, by the week.
    Year,
}

impl Reach {
    /// Every one, the shortest first.
    pub const ALL: [Self; 4] = [Self::Minutes, Self::Day, Self::Month, Self::Year];

    /// Its name in a query.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// For people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Minutes => "10 minutes",
            Self::Day => "24 hours",
            Self::Month => "30 days",
            Self::Year => "a year",
        }
    }

    /// The reach of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reach| reach.name() == name)
    }

    /// The milliseconds of a bar, and how many bars there are.
    pub const fn bars(self) -> (i64, usize) {
        match self {
            Self::Minutes => (MINUTE_MS, 10),
            Self::Day => (15 * MINUTE_MS, 96),
            Self::Month => (6 * HOUR_MS, 120),
            Self::Year => (7 * DAY_MS, 57),
        }
    }

    const fn width(self) -> Width {
        match self {
            Self::Minutes | Self::Day => Width::Minute,
            Self::Month | Self::Year => Width::Hour,
        }
    }

    /// Weeks begin on Mondays; 1970-01-05 was the first.
    const fn origin_ms(self) -> i64 {
        match self {
            Self::Year => 4 * DAY_MS,
            _ => 0,
        }
    }
}

/// How events ended in a part of a chart's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Where it begins, milliseconds since 1970 UTC.
    pub start_ms: i64,
    /// By outcome; `None` where no process ran at any of this time.
    pub counts: Option<Counts>,
}

/// What a chart shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How far it goes back.
    pub reach: Reach,
    /// The oldest first; the last one is under way.
    pub bars: Vec<Bar>,
    /// Whether it is there after a restart.
    pub is_durable: bool,
}

impl History {
    /// A bar's milliseconds.
    pub fn bar_ms(&self) -> i64 {
        self.reach.bars().0
    }

    /// Everything in it, by outcome.
    pub fn sum(&self) -> Counts {
        self.bars.iter().filter_map(|bar| bar.counts).fold(Counts::default(), add)
    }

    /// As lines of comma-separated values with a head; times are UTC, and where no process ran the numbers are empty.
    pub fn to_csv(&self) -> String {
        let mut text = format!("from,{}\n", OUTCOMES.join(","));
        for bar in &self.bars {
            text.push_str(&super::format_time(bar.start_ms));
            for index in 0..OUTCOMES.len() {
                text.push(',');
                if let Some(counts) = bar.counts {
                    text.push_str(&counts[index].to_string());
                }
            }
            text.push('\n');
        }
        text
    }
}

/// The bars of a tenant; `all` tells when a process ran.
pub(super) fn chart(reach: Reach, now_ms: i64, all: &Rings, of: Option<&Rings>) -> Vec<Bar> {
    let (bar_ms, number) = reach.bars();
    let origin_ms = reach.origin_ms();
    let last = (now_ms - origin_ms).div_euclid(bar_ms);
    let first = last - (number as i64 - 1);
    let start = |index: usize| (first + index as i64) * bar_ms + origin_ms;
    let mut bars: Vec<Bar> = (0..number).map(|index| Bar { start_ms: start(index), counts: None }).collect();
    let width = reach.width();
    let index_of = |start_ms: i64| usize::try_from((start_ms - origin_ms).div_euclid(bar_ms) - first).ok();
    for (start_ms, _) in all.ring(width).iter() {
        if let Some(bar) = index_of(start_ms).and_then(|index| bars.get_mut(index)) {
            bar.counts.get_or_insert_default();
        }
    }
    for (start_ms, counts) in of.into_iter().flat_map(|rings| rings.ring(width).iter()) {
        if let Some(bar) = index_of(start_ms).and_then(|index| bars.get_mut(index)) {
            bar.counts = Some(add(bar.counts.unwrap_or_default(), counts));
        }
    }
    bars
}

/// The last 24 hours, of which this one is the last, and the 24 before them.
pub(super) fn last_days(rings: &Rings, now_ms: i64) -> [Counts; 2] {
    let next_hour_ms = (now_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS;
    let mut days = [Counts::default(); 2];
    for (start_ms, counts) in rings.hours.iter() {
        let ago = (next_hour_ms - HOUR_MS - start_ms).div_euclid(DAY_MS);
        if let Some(day) = usize::try_from(ago).ok().and_then(|ago| days.get_mut(ago)) {
            *day = add(*day, counts);
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_772_703_000_000;

    fn key(tenant: Option<&str>, width: Width, start_ms: i64) -> BucketKey {
        BucketKey { tenant: tenant.map(str::to_owned), width, start_ms }
    }

    #[test]
    fn a_bar_without_a_process_is_a_gap_and_one_without_an_event_is_nothing() {
        let (mut all, mut acme) = (Rings::default(), Rings::default());
        all.add(NOW_MS - 3 * 15 * MINUTE_MS, 0);
        acme.add(NOW_MS - 3 * 15 * MINUTE_MS, 5);
        all.mark(NOW_MS);
        let bars = chart(Reach::Day, NOW_MS, &all, Some(&acme));
        let counts: Vec<_> =
            bars.iter().rev().take(4).map(|bar| bar.counts.map(|counts| counts.iter().sum())).collect();
        assert_eq!(bars.len(), 96);
        assert_eq!(counts, [Some(0), None, None, Some(1)]);
    }

    #[test]
    fn a_week_begins_on_a_monday() {
        let bars = chart(Reach::Year, NOW_MS, &Rings::default(), None);
        // 2026-03-05 is a Thursday.
        assert_eq!(super::super::format_time(bars.last().unwrap().start_ms), "2026-03-02T00:00:00Z");
        assert!(bars.len() * 7 < HOURS / 24, "every week is kept whole");
    }

    #[test]
    fn a_day_is_24_hours_with_the_one_under_way() {
        let mut rings = Rings::default();
        for ago in [48, 47, 24, 23, 1, 0] {
            rings.add(NOW_MS - ago * HOUR_MS, 0);
        }
        assert_eq!(last_days(&rings, NOW_MS).map(|counts| counts[0]), [3, 2]);
    }

    #[test]
    fn what_was_kept_and_what_was_counted_since_is_added() {
        let mut rings = Rings::default();
        rings.add(NOW_MS, 1);
        let start_ms = NOW_MS - NOW_MS.rem_euclid(HOUR_MS);
        rings.restore(
            Width::Hour,
            &BTreeMap::from([(start_ms - HOUR_MS, [1, 0, 0, 0, 0, 0]), (start_ms, [2, 0, 0, 0, 0, 0])]),
        );
        let kept: Vec<_> = rings.hours.iter().collect();
        assert_eq!(kept, [(start_ms - HOUR_MS, [1, 0, 0, 0, 0, 0]), (start_ms, [2, 1, 0, 0, 0, 0])]);
        let changed: Vec<_> = rings.changed_since(Some("acme"), NOW_MS).map(|(key, _)| key.start_ms).collect();
        assert_eq!(changed, [NOW_MS - NOW_MS.rem_euclid(MINUTE_MS), start_ms]);
    }

    #[test]
    fn what_is_past_its_time_goes_and_of_too_many_tenants_those_that_were_idle_longest() {
        let mut buckets = Buckets::new();
        for tenant in 0..MAX_TENANTS + 2 {
            buckets.insert(
                key(Some(&format!("t{tenant:02}")), Width::Hour, NOW_MS - HOUR_MS * (100 + tenant as i64)),
                [1; 6],
            );
        }
        buckets.insert(key(None, Width::Minute, NOW_MS - DAY_MS - MINUTE_MS), [1; 6]);
        buckets.insert(key(None, Width::Minute, NOW_MS + MINUTE_MS), [1; 6]);
        buckets.insert(key(None, Width::Hour, NOW_MS - DAY_MS - MINUTE_MS), [1; 6]);
        drop_what_is_old(&mut buckets, NOW_MS);
        let tenants: BTreeSet<_> = buckets.keys().filter_map(|key| key.tenant.clone()).collect();
        assert!(tenants.len() == MAX_TENANTS && tenants.contains("t00") && !tenants.contains("t33"), "{tenants:?}");
        assert_eq!(
            buckets.keys().filter(|key| key.tenant.is_none()).map(|key| key.width).collect::<Vec<_>>(),
            [Width::Hour]
        );
    }

    #[test]
    fn a_table_of_it_has_a_line_for_each_bar_and_empty_numbers_in_a_gap() {
        let bars = vec![
            Bar { start_ms: NOW_MS, counts: None },
            Bar { start_ms: NOW_MS + MINUTE_MS, counts: Some([3, 0, 0, 0, 0, 1]) },
        ];
        let history = History { reach: Reach::Minutes, bars, is_durable: true };
        assert_eq!(
            history.to_csv(),
            "from,applied,duplicate,skipped_tombstone,skipped,retry_later,dead_lettered\n\
             2026-03-05T09:30:00Z,,,,,,\n2026-03-05T09:31:00Z,3,0,0,0,0,1\n"
        );
    }
}
