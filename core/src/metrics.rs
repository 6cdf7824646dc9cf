//! The metrics, defined once: the same names on Prometheus and, through EMF, on CloudWatch.
//!
//! Every label value comes from a closed set of this program or its configuration; nothing that a sender writes becomes a
//! label, so that no sender can make series without end. Durations are in seconds, sizes in the unit that the name says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::capacity::{Access, Capacity};
use crate::outcome::{DeadLetterKind, Finding, Observer, Outcome, Report};
use crate::replay::Counts;

/// What [`Metrics::encode`] writes. Source: OpenMetrics 1.0.0, section "Content Type"; Prometheus reads it as it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of a rule whose name was read back from storage instead of taken from this program.
pub const OTHER_RULE: &str = "other";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    family: &'static str,
    event_type: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FamilyLabels {
    family: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeadLetterLabels {
    family: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: i32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LagLabels {
    topic: String,
    subscription: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StoreLabels {
    store: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StoreErrorLabels {
    store: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FamilyAccessLabels {
    family: String,
    access: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DependencyLabels {
    dependency: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SubscriptionLabels {
    subscription: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WindowLabels {
    size: &'static str,
}

/// What a circuit breaker lets through; the gauge `lyceum_circuit_state` holds the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Every call.
    Closed = 0,
    /// A few calls, to try.
    HalfOpen = 1,
    /// None.
    Open = 2,
}

/// All metrics of a process. Cheap to update from any thread; share it in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: Family<EventLabels, Counter>,
    event_duration: Family<FamilyLabels, Histogram>,
    batch_size: Histogram,
    violations: Family<RuleLabels, Counter>,
    dead_letters: Family<DeadLetterLabels, Counter>,
    retries: Family<FamilyLabels, Counter>,
    consumer_lag: Family<PartitionLabels, Gauge>,
    consumer_lag_seconds: Family<LagLabels, Gauge<f64, AtomicU64>>,
    consumer_silent_seconds: Family<LagLabels, Gauge<f64, AtomicU64>>,
    store_duration: Family<StoreLabels, Histogram>,
    store_errors: Family<StoreErrorLabels, Counter>,
    capacity_units: Family<OperationLabels, Counter<f64, AtomicU64>>,
    family_capacity_units: Family<FamilyAccessLabels, Counter<f64, AtomicU64>>,
    circuit_state: Family<DependencyLabels, Gauge>,
    open_windows: Family<WindowLabels, Gauge>,
    active_consumers: Gauge,
    error_rate: Family<SubscriptionLabels, Gauge<f64, AtomicU64>>,
    process_cpu: Counter<f64, AtomicU64>,
    process_memory: Gauge,
    spans_lost: Family<ReasonLabels, Counter>,
    replay_records: Family<ResultLabels, Counter>,
    replay_ended: Family<StateLabels, Counter>,
    replay_running: Gauge,
    stages: Mutex<BTreeMap<String, Duration>>,
    capacity: Mutex<Capacity>,
    samples: Option<Mutex<Vec<Sample>>>,
}

/// One observation as it was made, for whoever is not asked for sums but sends what happened: CloudWatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's full name, the same as on Prometheus.
    pub name: &'static str,
    /// What the value counts in.
    pub unit: Unit,
    /// What several values of one series are together.
    pub combine: Combine,
    /// Label names and values, in the order of the metric's table.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The value.
    pub value: f64,
}

/// What a sample's value counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// A state's number.
    State,
    /// A part of a whole, from 0 to 1.
    Part,
    /// Bytes.
    Bytes,
}

/// What several values of one series are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Their sum.
    Sum,
    /// The last one.
    Last,
    /// Each of them counts, as a distribution.
    Each,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Every metric, set to zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lyceum"),
            events: Family::default(),
            event_duration: Family::new_with_constructor(new_duration_histogram),
            batch_size: Histogram::new([1., 5., 10., 25., 50., 100., 250., 500., 1000., 2500., 5000., 10000.]),
            violations: Family::default(),
            dead_letters: Family::default(),
            retries: Family::default(),
            consumer_lag: Family::default(),
            consumer_lag_seconds: Family::default(),
            consumer_silent_seconds: Family::default(),
            store_duration: Family::new_with_constructor(new_duration_histogram),
            store_errors: Family::default(),
            capacity_units: Family::default(),
            family_capacity_units: Family::default(),
            circuit_state: Family::default(),
            open_windows: Family::default(),
            active_consumers: Gauge::default(),
            error_rate: Family::default(),
            process_cpu: Counter::default(),
            process_memory: Gauge::default(),
            spans_lost: Family::default(),
            replay_records: Family::default(),
            replay_ended: Family::default(),
            replay_running: Gauge::default(),
            stages: Mutex::default(),
            capacity: Mutex::default(),
            samples: None,
        };
        // The registry puts the prefix before a name, `_total` behind a counter's, and a full stop behind each text.
        let r = &mut metrics.registry;
        r.register("events", "Records that ended, by outcome", metrics.events.clone());
        r.register("event_duration_seconds", "Time from delivery to outcome", metrics.event_duration.clone());
        r.register("batch_size", "Records in one batch", metrics.batch_size.clone());
        r.register("validation_violations", "Rules that records broke", metrics.violations.clone());
        r.register("dead_letters", "Records that were dead-lettered, by reason", metrics.dead_letters.clone());
        r.register("retries", "Attempts after the first", metrics.retries.clone());
        r.register("consumer_lag", "Records not yet settled", metrics.consumer_lag.clone());
        let lag = metrics.consumer_lag_seconds.clone();
        r.register("consumer_lag_seconds", "How long the oldest record has waited that is not settled", lag);
        let silent = metrics.consumer_silent_seconds.clone();
        r.register("consumer_silent_seconds", "For how long the topic could not be read; 0 where it can", silent);
        r.register("store_duration_seconds", "Time that a store took to answer", metrics.store_duration.clone());
        r.register("store_errors", "Calls that a store failed", metrics.store_errors.clone());
        r.register("dynamodb_capacity_units", "Capacity units consumed", metrics.capacity_units.clone());
        let units = metrics.family_capacity_units.clone();
        r.register("dynamodb_family_capacity_units", "Capacity units consumed for a family's events", units);
        r.register("circuit_state", "0 closed, 1 half-open, 2 open", metrics.circuit_state.clone());
        r.register("open_windows", "Aggregation windows not yet closed", metrics.open_windows.clone());
        r.register("active_consumers", "Consumers that are running", metrics.active_consumers.clone());
        let rate = metrics.error_rate.clone();
        r.register("error_rate", "Part of the events of five minutes that failed, from 0 to 1", rate);
        r.register("process_cpu_seconds", "Processor time of this process", metrics.process_cpu.clone());
        r.register(
            "process_memory_bytes",
            "Memory of this process, pages of its files included",
            metrics.process_memory.clone(),
        );
        r.register("spans_lost", "Spans that could not be sent", metrics.spans_lost.clone());
        r.register("replay_records", "Records of replays, by what became of them", metrics.replay_records.clone());
        r.register("replay_ended", "Replays that ended or stopped here", metrics.replay_ended.clone());
        r.register("replay_running", "Replays that this process is at work on", metrics.replay_running.clone());
        metrics
    }

    /// Every metric, set to zero; beside the sums each observation is kept until [`Metrics::take_samples`].
    pub fn with_samples() -> Self {
        Self { samples: Some(Mutex::default()), ..Self::new() }
    }

    /// What was observed since the last call; nothing where samples are not kept.
    pub fn take_samples(&self) -> Vec<Sample> {
        let taken = |samples: &Mutex<Vec<Sample>>| std::mem::take(&mut *samples.lock());
        self.samples.as_ref().map(taken).unwrap_or_default()
    }

    /// Keeps an observation, where samples are kept. Labels are made only then.
    fn sample<const N: usize>(
        &self,
        (name, unit, combine): (&'static str, Unit, Combine),
        labels: impl FnOnce() -> [(&'static str, Cow<'static, str>); N],
        value: f64,
    ) {
        let Some(samples) = &self.samples else { return };
        let sample = Sample { name, unit, combine, labels: labels().into(), value };
        samples.lock().push(sample);
    }

    /// Counts how records ended, the rules that they broke, their dead letters and those that are redelivered.
    pub fn observe(&self, reports: &[Report]) {
        for report in reports {
            let Report { family, event_type, outcome, .. } = report;
            self.events.get_or_create(&EventLabels { family, event_type, outcome: outcome.name() }).inc();
            self.capacity.lock().add_event(family);
            let labels = || {
                [("family", (*family).into()), ("event_type", (*event_type).into()), ("outcome", outcome.name().into())]
            };
            self.sample(("lyceum_events_total", Unit::Count, Combine::Sum), labels, 1.0);
            match outcome {
                Outcome::DeadLettered { kind } => self.count_dead_letter(family, *kind),
                Outcome::RetryLater { .. } => self.count_retry(family),
                Outcome::Applied | Outcome::Duplicate | Outcome::SkippedTombstone | Outcome::Skipped => {}
            }
            for finding in &report.findings {
                let rule = rule_label(finding);
                self.violations.get_or_create(&RuleLabels { rule }).inc();
                let metric = ("lyceum_validation_violations_total", Unit::Count, Combine::Sum);
                self.sample(metric, || [("rule", rule.into())], 1.0);
            }
        }
    }

    /// Notes how long one record took from delivery to outcome.
    pub fn observe_event_duration(&self, family: &'static str, duration: Duration) {
        self.event_duration.get_or_create(&FamilyLabels { family }).observe(duration.as_secs_f64());
        let metric = ("lyceum_event_duration_seconds", Unit::Seconds, Combine::Each);
        self.sample(metric, || [("family", family.into())], duration.as_secs_f64());
        self.add_stage(format!("function.{family}"), duration);
    }

    /// Time spent in each stage so far: `function.<family>` (all of a batch's processing) and `<store>.<operation>`. Calls
    /// that run at once count each, so that the sum may exceed the time that passed.
    pub fn stages(&self) -> BTreeMap<String, Duration> {
        self.stages.lock().clone()
    }

    fn add_stage(&self, stage: String, duration: Duration) {
        *self.stages.lock().entry(stage).or_default() += duration;
    }

    /// Notes how many records a batch held.
    pub fn observe_batch_size(&self, records: usize) {
        self.batch_size.observe(records as f64);
        self.sample(("lyceum_batch_size", Unit::Count, Combine::Each), || [], records as f64);
    }

    /// Counts one attempt after the first; [`Metrics::observe`] counts those that are in a report.
    pub fn count_retry(&self, family: &'static str) {
        self.retries.get_or_create(&FamilyLabels { family }).inc();
        self.sample(("lyceum_retries_total", Unit::Count, Combine::Sum), || [("family", family.into())], 1.0);
    }

    /// Sets how many records of a partition are not yet settled. `topic` is one of the configured topics.
    pub fn set_consumer_lag(&self, topic: &str, partition: i32, records: i64) {
        self.consumer_lag.get_or_create(&PartitionLabels { topic: topic.to_owned(), partition }).set(records);
        let labels = || [("topic", topic.to_owned().into()), ("partition", partition.to_string().into())];
        self.sample(("lyceum_consumer_lag", Unit::Count, Combine::Last), labels, records as f64);
    }

    /// Sets how far a subscription is behind in a topic: for how long the oldest record has waited that is not settled, or how old
    /// the newest is where all are. `topic` and `subscription` are of the catalog or the configuration.
    pub fn set_consumer_lag_seconds(&self, topic: &str, subscription: &str, lag: Duration) {
        let labels = LagLabels { topic: topic.to_owned(), subscription: subscription.to_owned() };
        self.consumer_lag_seconds.get_or_create(&labels).set(lag.as_secs_f64());
        let labels = || [("topic", topic.to_owned().into()), ("subscription", subscription.to_owned().into())];
        self.sample(("lyceum_consumer_lag_seconds", Unit::Seconds, Combine::Each), labels, lag.as_secs_f64());
    }

    /// Sets for how long a subscription has not been able to read a topic; 0 where it can. Both are of the catalog or the configuration.
    pub fn set_consumer_silent_seconds(&self, topic: &str, subscription: &str, silent: Duration) {
        let labels = LagLabels { topic: topic.to_owned(), subscription: subscription.to_owned() };
        self.consumer_silent_seconds.get_or_create(&labels).set(silent.as_secs_f64());
    }

    /// Notes how long a store took for one call, failed or not.
    pub fn observe_store_duration(&self, store: &'static str, operation: &'static str, duration: Duration) {
        self.store_duration.get_or_create(&StoreLabels { store, operation }).observe(duration.as_secs_f64());
        let labels = || [("store", store.into()), ("operation", operation.into())];
        let metric = ("lyceum_store_duration_seconds", Unit::Seconds, Combine::Each);
        self.sample(metric, labels, duration.as_secs_f64());
        self.add_stage(format!("{store}.{operation}"), duration);
    }

    /// Counts one call that a store failed; `kind` names the variant of its error.
    pub fn count_store_error(&self, store: &'static str, kind: &'static str) {
        self.store_errors.get_or_create(&StoreErrorLabels { store, kind }).inc();
        let labels = || [("store", store.into()), ("kind", kind.into())];
        self.sample(("lyceum_store_errors_total", Unit::Count, Combine::Sum), labels, 1.0);
    }

    /// Counts spans that are lost; `reason` is why.
    pub fn count_spans_lost(&self, reason: &'static str, spans: usize) {
        self.spans_lost.get_or_create(&ReasonLabels { reason }).inc_by(spans as u64);
        let metric = ("lyceum_spans_lost_total", Unit::Count, Combine::Sum);
        self.sample(metric, || [("reason", reason.into())], spans as f64);
    }

    /// Adds what DynamoDB said that a call consumed, for a family's events where it concerns one: divided by the family's
    /// `lyceum_events_total` that is what an event costs. `family` is one of the registry's, or `replay`.
    pub fn add_capacity_units(&self, operation: &'static str, access: Access, family: Option<&str>, units: f64) {
        self.capacity_units.get_or_create(&OperationLabels { operation }).inc_by(units);
        let metric = ("lyceum_dynamodb_capacity_units_total", Unit::Count, Combine::Sum);
        self.sample(metric, || [("operation", operation.into())], units);
        if let Some(family) = family {
            let (family, access) = (family.to_owned(), access.name());
            let metric = ("lyceum_dynamodb_family_capacity_units_total", Unit::Count, Combine::Sum);
            self.sample(metric, || [("family", family.clone().into()), ("access", access.into())], units);
            self.family_capacity_units.get_or_create(&FamilyAccessLabels { family, access }).inc_by(units);
        }
        self.capacity.lock().add_call(access, family, units);
    }

    /// The capacity units consumed so far.
    pub fn capacity(&self) -> Capacity {
        self.capacity.lock().clone()
    }

    /// Sets what the circuit breaker of a dependency lets through.
    pub fn set_circuit_state(&self, dependency: &'static str, state: CircuitState) {
        self.circuit_state.get_or_create(&DependencyLabels { dependency }).set(state as i64);
        let metric = ("lyceum_circuit_state", Unit::State, Combine::Last);
        self.sample(metric, || [("dependency", dependency.into())], f64::from(state as u8));
    }

    /// Sets how many windows of a size are open.
    pub fn set_open_windows(&self, size: &'static str, windows: i64) {
        self.open_windows.get_or_create(&WindowLabels { size }).set(windows);
        self.sample(("lyceum_open_windows", Unit::Count, Combine::Last), || [("size", size.into())], windows as f64);
    }

    /// Sets how many consumers are running.
    pub fn set_active_consumers(&self, consumers: i64) {
        self.active_consumers.set(consumers);
        self.sample(("lyceum_active_consumers", Unit::Count, Combine::Last), || [], consumers as f64);
    }

    /// Counts what became of records of a replay.
    pub fn count_replayed(&self, counts: &Counts) {
        let Counts { read, matched: _, sent, skipped, refused, gone } = *counts;
        let by_result = [("read", read), ("sent", sent), ("skipped", skipped), ("refused", refused), ("gone", gone)];
        for (result, count) in by_result.into_iter().filter(|(_, count)| *count > 0) {
            self.replay_records.get_or_create(&ResultLabels { result }).inc_by(count);
            let metric = ("lyceum_replay_records_total", Unit::Count, Combine::Sum);
            self.sample(metric, || [("result", result.into())], count as f64);
        }
    }

    /// Counts a replay that ended or stopped in that state.
    pub fn count_replay_ended(&self, state: &'static str) {
        self.replay_ended.get_or_create(&StateLabels { state }).inc();
        self.sample(("lyceum_replay_ended_total", Unit::Count, Combine::Sum), || [("state", state.into())], 1.0);
    }

    /// Sets how many replays the process is at work on.
    pub fn set_replays_running(&self, replays: i64) {
        self.replay_running.set(replays);
        self.sample(("lyceum_replay_running", Unit::Count, Combine::Last), || [], replays as f64);
    }

    /// Sets which part of a subscription's events of the last five minutes failed, from 0 to 1.
    pub fn set_error_rate(&self, subscription: &'static str, part: f64) {
        self.error_rate.get_or_create(&SubscriptionLabels { subscription }).set(part);
        let metric = ("lyceum_error_rate", Unit::Part, Combine::Last);
        self.sample(metric, || [("subscription", subscription.into())], part);
    }

    /// Sets what the process took of its processors since its start, and takes of its memory now.
    pub fn set_process(&self, cpu: Duration, memory_bytes: u64) {
        let (seconds, bytes) = (cpu.as_secs_f64(), i64::try_from(memory_bytes).unwrap_or(i64::MAX));
        self.process_cpu.inner().store(seconds.to_bits(), Relaxed);
        self.process_memory.set(bytes);
        self.sample(("lyceum_process_cpu_seconds_total", Unit::Seconds, Combine::Last), || [], seconds);
        self.sample(("lyceum_process_memory_bytes", Unit::Bytes, Combine::Last), || [], bytes as f64);
    }

    /// Every metric as text; the type is [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    fn count_dead_letter(&self, family: &'static str, kind: DeadLetterKind) {
        self.dead_letters.get_or_create(&DeadLetterLabels { family, kind: kind.name() }).inc();
        let labels = || [("family", family.into()), ("kind", kind.name().into())];
        self.sample(("lyceum_dead_letters_total", Unit::Count, Combine::Sum), labels, 1.0);
    }
}

impl Observer for Metrics {
    fn observe(&self, reports: &[Report]) {
        Metrics::observe(self, reports);
        self.observe_batch_size(reports.len());
    }

    fn retried(&self, family: &'static str) {
        self.count_retry(family);
    }
}

/// A rule's name as a label. A name that is part of this program is one of a closed set; one that was read back from a
/// recording might be anything.
pub fn rule_label(finding: &Finding) -> &'static str {
    match finding.rule {
        Cow::Borrowed(rule) => rule,
        Cow::Owned(_) => OTHER_RULE,
    }
}

/// Buckets from 1 ms to 16 s.
fn new_duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;

    fn report(outcome: Outcome, rules: Vec<Cow<'static, str>>) -> Report {
        let findings = rules.into_iter().map(|rule| Finding {
            rule,
            pointer: String::new(),
            message: String::new(),
            requirement: "XAPI-00001".into(),
        });
        Report {
            position: Position::new("nlj.survey.responses", 0, 7),
            family: "survey",
            is_owner: true,
            event_type: "survey.answered",
            event_id: None,
            tenant: Some("acme".into()),
            correlation_id: None,
            trace_id: None,
            outcome,
            findings: findings.collect(),
            anomalies: Vec::new(),
        }
    }

    /// One of each, but how records ended.
    fn measure_everything_else(metrics: &Metrics) {
        metrics.observe_event_duration("survey", Duration::from_millis(3));
        metrics.observe_batch_size(42);
        metrics.set_consumer_lag("nlj.survey.responses", 2, 17);
        metrics.set_consumer_lag_seconds("nlj.survey.responses", "survey", Duration::from_millis(2_500));
        metrics.set_consumer_silent_seconds("nlj.survey.responses", "survey", Duration::from_secs(95));
        metrics.observe_store_duration("ledger", "commit", Duration::from_millis(20));
        metrics.count_store_error("statements", "unavailable");
        metrics.add_capacity_units("TransactWriteItems", Access::Write, Some("survey"), 2.5);
        metrics.set_circuit_state("dynamodb", CircuitState::Open);
        metrics.set_open_windows("5m", 3);
        metrics.set_active_consumers(4);
        metrics.set_error_rate("survey", 0.25);
        metrics.set_process(Duration::from_millis(1_500), 33 << 20);
        metrics.count_spans_lost("full", 7);
    }

    #[test]
    fn every_metric_has_the_name_that_the_dashboards_read() {
        let metrics = Metrics::new();
        metrics.observe(&[
            report(Outcome::Applied, vec![]),
            report(Outcome::DeadLettered { kind: DeadLetterKind::UnknownType }, vec!["actor.ifi.exactly-one".into()]),
            report(Outcome::RetryLater { reason: "away".into() }, vec![]),
        ]);
        measure_everything_else(&metrics);
        let text = metrics.encode();
        for line in [
            r#"lyceum_events_total{family="survey",event_type="survey.answered",outcome="applied"} 1"#,
            r#"lyceum_events_total{family="survey",event_type="survey.answered",outcome="dead_lettered"} 1"#,
            r#"lyceum_event_duration_seconds_count{family="survey"} 1"#,
            "lyceum_batch_size_sum 42.0",
            r#"lyceum_validation_violations_total{rule="actor.ifi.exactly-one"} 1"#,
            r#"lyceum_dead_letters_total{family="survey",kind="unknown-type"} 1"#,
            r#"lyceum_retries_total{family="survey"} 1"#,
            r#"lyceum_consumer_lag{topic="nlj.survey.responses",partition="2"} 17"#,
            r#"lyceum_consumer_lag_seconds{topic="nlj.survey.responses",subscription="survey"} 2.5"#,
            r#"lyceum_consumer_silent_seconds{topic="nlj.survey.responses",subscription="survey"} 95.0"#,
            r#"lyceum_store_duration_seconds_sum{store="ledger",operation="commit"} 0.02"#,
            r#"lyceum_store_errors_total{store="statements",kind="unavailable"} 1"#,
            r#"lyceum_dynamodb_capacity_units_total{operation="TransactWriteItems"} 2.5"#,
            r#"lyceum_dynamodb_family_capacity_units_total{family="survey",access="write"} 2.5"#,
            r#"lyceum_circuit_state{dependency="dynamodb"} 2"#,
            r#"lyceum_open_windows{size="5m"} 3"#,
            "lyceum_active_consumers 4",
            r#"lyceum_error_rate{subscription="survey"} 0.25"#,
            "lyceum_process_cpu_seconds_total 1.5",
            "lyceum_process_memory_bytes 34603008",
            r#"lyceum_spans_lost_total{reason="full"} 7"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not among\n{text}");
        }
    }

    #[test]
    fn what_is_kept_as_a_sample_has_the_names_and_labels_of_the_sums() {
        let metrics = Metrics::with_samples();
        metrics.observe(&[
            report(Outcome::DeadLettered { kind: DeadLetterKind::Validation }, vec!["actor.ifi.exactly-one".into()]),
            report(Outcome::RetryLater { reason: "away".into() }, vec![]),
        ]);
        measure_everything_else(&metrics);
        let text = metrics.encode();
        let samples = metrics.take_samples();
        for Sample { name, labels, .. } in &samples {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let series = |line: &str| {
                let told = line.split_once(' ').map_or("", |(series, _)| series);
                let (found, of) = told.split_once('{').unwrap_or((told, "}"));
                let found = found.strip_suffix("_count").unwrap_or(found);
                found == *name && of == format!("{}}}", labels.join(","))
            };
            assert!(text.lines().any(series), "{name} {labels:?}\nis not among\n{text}");
        }
        assert_eq!((samples.len(), metrics.take_samples(), Metrics::new().take_samples()), (20, vec![], vec![]));
    }

    #[test]
    fn a_rule_name_that_was_read_from_storage_makes_no_series_of_its_own() {
        let metrics = Metrics::new();
        for i in 0..1000 {
            let rule = Cow::Owned(format!("made-up-{i}"));
            metrics.observe(&[report(Outcome::DeadLettered { kind: DeadLetterKind::Validation }, vec![rule])]);
        }
        let text = metrics.encode();
        assert!(text.contains(r#"lyceum_validation_violations_total{rule="other"} 1000"#), "{text}");
        assert!(!text.contains("made-up"));
    }
}
