//! Live statistics: what the page shows of the last minutes. Fed as an [`Observer`], read by [`Live::snapshot`].
//!
//! Memory is bounded whatever is sent: numbers have labels from closed sets, lists have a length, and what a sender wrote
//! is cut. Numbers are kept for all tenants together and for each of the first [`MAX_TENANTS`]; those that a credential
//! names are among them from the start, so that no flood of made-up tenants displaces one. What is counted by the minute and by the
//! hour outlives the process, where it has a place to keep it: [`history`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lyceum_core::clock::Clock;
use lyceum_core::metrics::rule_label;
use lyceum_core::outcome::{Finding, Observer, Outcome, Report};
use lyceum_core::record::Position;
use lyceum_xapi::utc_time::UtcTime;
use serde::Serialize;

use history::{BucketKey, Buckets, History, KeepHistory, MemoryHistory, Reach, Ring, Rings, Width};

pub mod history;

/// How far back the counts per second go.
pub const SECONDS: usize = 600;
/// How many of the latest events are kept.
pub const EVENTS: usize = 200;
/// How many of the latest anomalies are kept.
pub const ANOMALIES: usize = 50;
/// How many tenants have numbers of their own.
pub const MAX_TENANTS: usize = 32;
/// How many findings are kept of one event; [`LiveEvent::findings_total`] says how many there were.
pub const FINDINGS: usize = 8;
/// How many characters are kept of a text that a sender wrote.
pub const TEXT_CHARS: usize = 240;

/// The names of [`Outcome`], in the order in which the plot stacks them, the first at the bottom.
pub const OUTCOMES: [&str; 6] =
    ["applied", "duplicate", "skipped_tombstone", "skipped", "retry_later", "dead_lettered"];

/// Counts by outcome, in the order of [`OUTCOMES`].
pub type Counts = [u64; OUTCOMES.len()];

/// One processed record, as far as the page shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveEvent {
    /// When it was settled, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// How it ended: at most [`FINDINGS`] findings, texts cut to [`TEXT_CHARS`], and no anomalies, which are listed apart.
    #[serde(flatten)]
    pub report: Report,
    /// How many findings there were.
    pub findings_total: usize,
}

impl std::ops::Deref for LiveEvent {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.report
    }
}

/// Something odd that is no error, and the event after which it was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveAnomaly {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The record after which the state was odd.
    pub position: Position,
    /// Its event type.
    pub event_type: &'static str,
    /// A stable name: `overbooked` …
    pub name: String,
    /// A sentence for a person.
    pub message: String,
}

/// Totals since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// By the names of [`OUTCOMES`]; absent means none.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// By family and event type.
    pub event_types: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// By rule.
    pub violations: BTreeMap<&'static str, u64>,
    /// By kind of dead letter.
    pub dead_letters: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Every record that ended in any way.
    pub fn records(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Those that are done with.
    pub fn settled(&self) -> u64 {
        self.records() - self.outcome("retry_later")
    }

    /// Those that ended so.
    pub fn outcome(&self, name: &str) -> u64 {
        self.outcomes.get(name).copied().unwrap_or(0)
    }

    /// The share of settled records that were not dead-lettered; `None` before the first.
    pub fn success_rate(&self) -> Option<f64> {
        let (settled, failed) = (self.settled(), self.outcome("dead_lettered"));
        (settled > 0).then(|| (settled - failed.min(settled)) as f64 / settled as f64)
    }

    fn add(&mut self, report: &Report) {
        *self.outcomes.entry(report.outcome.name()).or_default() += 1;
        *self.event_types.entry(report.family).or_default().entry(report.event_type).or_default() += 1;
        for finding in &report.findings {
            *self.violations.entry(rule_label(finding)).or_default() += 1;
        }
        if let Outcome::DeadLettered { kind } = report.outcome {
            *self.dead_letters.entry(kind.name()).or_default() += 1;
        }
    }
}

/// The statistics at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// That moment, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Since when there are numbers.
    pub since_ms: i64,
    /// False where the tenant came too late to have numbers of its own; everything below is empty then.
    pub is_counted: bool,
    /// The last [`SECONDS`] seconds, the oldest first; the last one is the second that is under way.
    pub seconds: Vec<Counts>,
    /// Since the start.
    pub totals: Totals,
    /// Newest first, at most [`EVENTS`].
    pub events: Vec<Arc<LiveEvent>>,
    /// Newest first, at most [`ANOMALIES`].
    pub anomalies: Vec<Arc<LiveAnomaly>>,
}

impl Snapshot {
    /// Records per second over the last ten seconds that are complete.
    pub fn events_per_second(&self) -> f64 {
        let complete = &self.seconds[..self.seconds.len().saturating_sub(1)];
        let recent = &complete[complete.len().saturating_sub(10)..];
        recent.iter().flatten().sum::<u64>() as f64 / recent.len().max(1) as f64
    }
}

/// The live statistics of a process. Hand it to processing as the [`Observer`] of its services; event source mappings take none.
pub struct Live {
    clock: Arc<dyn Clock>,
    since_ms: i64,
    kept: Mutex<Kept>,
    history: Arc<dyn KeepHistory>,
    /// What was counted before this moment is kept.
    saved_ms: AtomicI64,
}

struct Kept {
    all: Statistics,
    tenants: BTreeMap<String, Statistics>,
}

impl Kept {
    /// The numbers of a tenant, made where there is room for them.
    fn of_tenant(&mut self, tenant: &str) -> Option<&mut Statistics> {
        if !self.tenants.contains_key(tenant) && self.tenants.len() < MAX_TENANTS && tenant.len() <= TEXT_CHARS {
            self.tenants.insert(tenant.to_owned(), Statistics::default());
        }
        self.tenants.get_mut(tenant)
    }
}

impl Live {
    /// Empty statistics. `tenants` are those that credentials name.
    pub fn new(clock: Arc<dyn Clock>, tenants: impl IntoIterator<Item = String>) -> Self {
        let tenants = tenants.into_iter().map(|tenant| (tenant, Statistics::default())).collect();
        let since_ms = clock.now_ms();
        let kept = Mutex::new(Kept { all: Statistics::default(), tenants });
        Self { clock, since_ms, kept, history: Arc::new(MemoryHistory::default()), saved_ms: AtomicI64::new(i64::MIN) }
    }

    /// The same, which keeps its history there.
    #[must_use]
    pub fn keeping(self, history: Arc<dyn KeepHistory>) -> Self {
        Self { history, ..self }
    }

    /// Brings back what was kept.
    ///
    /// # Errors
    /// Where the place of the history cannot be read; everything else goes on without.
    pub fn restore(&self) -> io::Result<()> {
        let now_ms = self.clock.now_ms();
        let mut of: BTreeMap<(Option<String>, Width), BTreeMap<i64, Counts>> = BTreeMap::new();
        for (BucketKey { tenant, width, start_ms }, counts) in self.history.load(now_ms)? {
            of.entry((tenant, width)).or_default().insert(start_ms, counts);
        }
        let mut kept = self.lock();
        for ((tenant, width), buckets) in of {
            let statistics = match tenant {
                None => Some(&mut kept.all),
                Some(tenant) => kept.of_tenant(&tenant),
            };
            if let Some(statistics) = statistics {
                statistics.rings.restore(width, &buckets);
            }
        }
        kept.all.rings.mark(now_ms);
        self.saved_ms.store(self.since_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps what has changed since the last time, and that there is a process now.
    ///
    /// # Errors
    /// Where nothing can be written; the next call writes it too.
    pub fn save(&self) -> io::Result<()> {
        let now_ms = self.clock.now_ms();
        let since_ms = self.saved_ms.load(Ordering::Relaxed);
        let mut kept = self.lock();
        kept.all.rings.mark(now_ms);
        let mut changed: Buckets = kept.all.rings.changed_since(None, since_ms).collect();
        for (tenant, statistics) in &kept.tenants {
            changed.extend(statistics.rings.changed_since(Some(tenant), since_ms));
        }
        drop(kept);
        self.history.save(&changed, now_ms)?;
        self.saved_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    /// How events of a tenant, or of all, ended over a longer time.
    pub fn history(&self, tenant: Option<&str>, reach: Reach) -> History {
        let now_ms = self.clock.now_ms();
        let kept = self.lock();
        let of = match tenant {
            None => Some(&kept.all.rings),
            Some(tenant) => kept.tenants.get(tenant).map(|statistics| &statistics.rings),
        };
        let bars = history::chart(reach, now_ms, &kept.all.rings, of);
        History { reach, bars, is_durable: self.history.is_durable() }
    }

    /// The statistics of a tenant, or of all of them together.
    pub fn snapshot(&self, tenant: Option<&str>) -> Snapshot {
        let at_ms = self.clock.now_ms();
        let kept = self.lock();
        let (is_counted, statistics) = match tenant {
            None => (true, Some(&kept.all)),
            Some(tenant) => {
                let statistics = kept.tenants.get(tenant);
                (statistics.is_some() || kept.tenants.len() < MAX_TENANTS, statistics)
            }
        };
        let empty = Statistics::default();
        let statistics = statistics.unwrap_or(&empty);
        Snapshot {
            at_ms,
            since_ms: self.since_ms,
            is_counted,
            seconds: statistics.seconds.last(at_ms),
            totals: statistics.totals.clone(),
            events: statistics.events.iter().rev().cloned().collect(),
            anomalies: statistics.anomalies.iter().rev().cloned().collect(),
        }
    }

    /// How events of a tenant, or of all, ended in the last 24 hours, and in the 24 before them; by whole hours.
    pub fn last_days(&self, tenant: Option<&str>) -> [Counts; 2] {
        let now_ms = self.clock.now_ms();
        let kept = self.lock();
        let of = match tenant {
            None => Some(&kept.all.rings),
            Some(tenant) => kept.tenants.get(tenant).map(|statistics| &statistics.rings),
        };
        of.map_or_else(Default::default, |rings| history::last_days(rings, now_ms))
    }

    /// The event at a position, if it is among the latest of the tenant, or of all.
    pub fn find_event(&self, tenant: Option<&str>, position: &Position) -> Option<Arc<LiveEvent>> {
        let kept = self.lock();
        let statistics = tenant.map_or(Some(&kept.all), |tenant| kept.tenants.get(tenant))?;
        statistics.events.iter().rev().find(|event| event.position == *position).cloned()
    }

    /// The tenants of which something was seen since the start, by name.
    pub fn tenants(&self) -> Vec<String> {
        let kept = self.lock();
        let seen = kept.tenants.iter().filter(|(_, statistics)| !statistics.events.is_empty());
        seen.map(|(tenant, _)| tenant.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Statistics are whole after every statement, so a panic elsewhere leaves nothing to mistrust.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Live {
    fn observe(&self, reports: &[Report]) {
        let at_ms = self.clock.now_ms();
        let mut kept = self.lock();
        // Who reads along counts where something is wrong: all else of an event its owner tells.
        let is_shown = |report: &&Report| {
            report.is_owner || matches!(report.outcome, Outcome::DeadLettered { .. } | Outcome::RetryLater { .. })
        };
        for report in reports.iter().filter(is_shown) {
            let entry = Entry::new(at_ms, report);
            kept.all.add(report, &entry);
            if let Some(statistics) = report.tenant.as_deref().and_then(|tenant| kept.of_tenant(tenant)) {
                statistics.add(report, &entry);
            }
        }
    }
}

/// What one report adds to the lists, shared by the statistics of all and of its tenant.
struct Entry {
    event: Arc<LiveEvent>,
    anomalies: Vec<Arc<LiveAnomaly>>,
}

impl Entry {
    fn new(at_ms: i64, report: &Report) -> Self {
        let findings = report.findings.iter().take(FINDINGS).map(|finding| Finding {
            rule: finding.rule.clone(),
            pointer: cut(&finding.pointer),
            message: cut(&finding.message),
            requirement: finding.requirement.clone(),
        });
        let shown = Report {
            position: report.position.clone(),
            tenant: report.tenant.as_deref().map(|text| cut(text).into()),
            correlation_id: report.correlation_id.as_deref().map(|text| cut(text).into()),
            outcome: match &report.outcome {
                Outcome::RetryLater { reason } => Outcome::RetryLater { reason: cut(reason).into() },
                outcome => outcome.clone(),
            },
            findings: findings.collect(),
            anomalies: Vec::new(),
            ..report.clone()
        };
        let event = LiveEvent { at_ms, report: shown, findings_total: report.findings.len() };
        let anomalies = report.anomalies.iter().take(FINDINGS).map(|anomaly| {
            Arc::new(LiveAnomaly {
                at_ms,
                position: report.position.clone(),
                event_type: report.event_type,
                name: cut(&anomaly.name),
                message: cut(&anomaly.message),
            })
        });
        Self { event: Arc::new(event), anomalies: anomalies.collect() }
    }
}

struct Statistics {
    seconds: Ring,
    rings: Rings,
    totals: Totals,
    events: VecDeque<Arc<LiveEvent>>,
    anomalies: VecDeque<Arc<LiveAnomaly>>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            seconds: Ring::new(1000, SECONDS),
            rings: Rings::default(),
            totals: Totals::default(),
            events: VecDeque::new(),
            anomalies: VecDeque::new(),
        }
    }
}

impl Statistics {
    fn add(&mut self, report: &Report, entry: &Entry) {
        if let Some(column) = OUTCOMES.iter().position(|name| *name == report.outcome.name()) {
            self.seconds.add(entry.event.at_ms, column);
            self.rings.add(entry.event.at_ms, column);
        }
        self.totals.add(report);
        push_bounded(&mut self.events, entry.event.clone(), EVENTS);
        for anomaly in &entry.anomalies {
            push_bounded(&mut self.anomalies, anomaly.clone(), ANOMALIES);
        }
    }
}

fn push_bounded<T>(list: &mut VecDeque<T>, item: T, limit: usize) {
    if list.len() == limit {
        list.pop_front();
    }
    list.push_back(item);
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A time as `2026-01-31T09:30:00Z`.
pub fn format_time(at_ms: i64) -> String {
    format!("{:.0}", UtcTime::from_millis(at_ms))
}

#[cfg(test)]
mod tests;
