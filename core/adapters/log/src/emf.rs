//! Metrics for CloudWatch, as lines of the log: the embedded metric format, of a function or of a process that does not end.
//!
//! Source: Amazon CloudWatch user guide, "Specification: Embedded metric format": a document has one value for each
//! dimension, at most 100 metrics and at most 100 values of each. So there is one document for each set of label values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lyceum_core::metrics::{Combine, Sample, Unit};
use serde_json::{Map, Value, json};

/// Of one metric in one document.
pub const MOST_VALUES: usize = 100;

/// Sets of labels that a metric is counted by once more, so that an alarm can watch a family or one outcome as a whole, and a
/// deployment the new version beside the one before: CloudWatch adds nothing up over dimensions.
const ALSO_BY: &[(&str, &[&[&str]])] = &[
    ("lyceum_dead_letters_total", &[&["family"], &["family", VERSION]]),
    (
        "lyceum_events_total",
        &[&["family"], &["family", "outcome"], &["family", VERSION], &["family", "outcome", VERSION]],
    ),
    ("lyceum_consumer_lag_seconds", &[&["subscription"]]),
];
/// Of the function, as Lambda numbers them; a label of what a deployment is judged by, and of nothing else, since each set of label
/// values is a metric that is paid for.
const VERSION: &str = "version";
/// The one outcome that a deployment is judged by.
const JUDGED: &str = "retry_later";

type Labels = Vec<(&'static str, Cow<'static, str>)>;

struct Series {
    unit: Unit,
    values: Vec<f64>,
}

/// The documents for what this version of the function observed, a line each; `at_ms` is the time in milliseconds since 1970 UTC.
pub fn documents(namespace: &str, version: &str, at_ms: i64, samples: Vec<Sample>) -> Vec<String> {
    let mut by_labels: BTreeMap<Labels, BTreeMap<&'static str, Series>> = BTreeMap::new();
    for Sample { name, unit, combine, labels, value } in samples {
        let series = by_labels.entry(labels).or_default().entry(name).or_insert(Series { unit, values: Vec::new() });
        match (combine, series.values.last_mut()) {
            (Combine::Sum, Some(sum)) => *sum += value,
            (Combine::Last, Some(last)) => *last = value,
            (Combine::Each, _) | (_, None) => series.values.push(value),
        }
    }
    let mut documents = Vec::new();
    for (labels, mut of_labels) in by_labels {
        while !of_labels.is_empty() {
            documents.push(document(namespace, version, at_ms, &labels, &mut of_labels).to_string());
            of_labels.retain(|_, series| !series.values.is_empty());
        }
    }
    documents
}

/// The document for an environment's first invocation, by the names that Powertools for AWS Lambda gave it and dashboards of others
/// read.
pub fn cold_start(namespace: &str, function: &str, at_ms: i64) -> String {
    let directive = json!({
        "Namespace": namespace,
        "Dimensions": [["function_name", "service"]],
        "Metrics": [{"Name": "ColdStart", "Unit": "Count"}],
    });
    let document = json!({
        "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]},
        "function_name": function,
        "service": "lyceum",
        "ColdStart": 1.0,
    });
    document.to_string()
}

/// One document, with as many values of each series as it takes; they are taken from the series.
fn document(
    namespace: &str,
    version: &str,
    at_ms: i64,
    labels: &Labels,
    of_labels: &mut BTreeMap<&'static str, Series>,
) -> Value {
    let is_judged = labels.iter().all(|(name, value)| *name != "outcome" || value == JUDGED);
    let is_wanted = |set: &&[&str]| is_judged || !(set.contains(&"outcome") && set.contains(&VERSION));
    let all: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
    let mut document = Map::new();
    for (name, value) in labels {
        document.insert((*name).to_owned(), json!(value));
    }
    let mut directives = Vec::new();
    for (name, series) in of_labels {
        let rest = series.values.split_off(series.values.len().min(MOST_VALUES));
        let values = std::mem::replace(&mut series.values, rest);
        let mut dimensions = vec![json!(all)];
        let also = ALSO_BY.iter().filter(|(of, _)| of == name).flat_map(|(_, sets)| sets.iter().copied());
        // A process as a whole has labels of its own, by which nothing is counted once more.
        let has_labels = |set: &&[&str]| set.iter().all(|name| *name == VERSION || all.contains(name));
        for set in also.filter(is_wanted).filter(has_labels) {
            if set.contains(&VERSION) {
                document.insert(VERSION.to_owned(), json!(version));
            }
            dimensions.push(json!(set));
        }
        let unit = match series.unit {
            Unit::Count => "Count",
            Unit::Seconds => "Seconds",
            Unit::State | Unit::Part => "None",
            Unit::Bytes => "Bytes",
        };
        directives.push(json!({
            "Namespace": namespace,
            "Dimensions": dimensions,
            "Metrics": [{"Name": name, "Unit": unit}],
        }));
        document.insert((*name).to_owned(), if values.len() == 1 { json!(values[0]) } else { json!(values) });
    }
    document.insert("_aws".to_owned(), json!({"Timestamp": at_ms, "CloudWatchMetrics": directives}));
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lyceum_core::metrics::{CircuitState, Metrics};

    use super::*;

    fn written(metrics: &Metrics) -> Vec<Value> {
        let lines = documents("Lyceum/test", "8", 1_772_439_300_000, metrics.take_samples());
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_document_names_its_metrics_units_and_dimensions_as_cloudwatch_reads_them() {
        let metrics = Metrics::with_samples();
        metrics.observe_store_duration("ledger", "commit", Duration::from_millis(20));
        metrics.observe_store_duration("ledger", "commit", Duration::from_millis(30));
        let wanted = json!({
            "_aws": {"Timestamp": 1_772_439_300_000_i64, "CloudWatchMetrics": [{
                "Namespace": "Lyceum/test",
                "Dimensions": [["store", "operation"]],
                "Metrics": [{"Name": "lyceum_store_duration_seconds", "Unit": "Seconds"}],
            }]},
            "store": "ledger",
            "operation": "commit",
            "lyceum_store_duration_seconds": [0.02, 0.03],
        });
        assert_eq!((written(&metrics), written(&metrics)), (vec![wanted], vec![]));
    }

    #[test]
    fn a_cold_start_is_counted_by_the_name_of_the_function() {
        let document: Value = serde_json::from_str(&cold_start("Lyceum", "lyceum-prod-survey", 7)).unwrap();
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(document[dimension.as_str().unwrap()].is_string(), "{document}");
        }
        assert_eq!((&directive["Metrics"][0]["Name"], &document["ColdStart"]), (&json!("ColdStart"), &json!(1.0)));
        assert_eq!(
            (&document["function_name"], &document["_aws"]["Timestamp"]),
            (&json!("lyceum-prod-survey"), &json!(7))
        );
    }

    #[test]
    fn counts_are_added_up_and_of_states_the_last_one_counts() {
        let metrics = Metrics::with_samples();
        metrics.count_store_error("statements", "unavailable");
        metrics.count_store_error("statements", "unavailable");
        metrics.set_circuit_state("statements", CircuitState::Open);
        metrics.set_circuit_state("statements", CircuitState::HalfOpen);
        let found = written(&metrics);
        let value = |name: &str| found.iter().find_map(|document| document.get(name)).cloned();
        assert_eq!(value("lyceum_store_errors_total"), Some(json!(2.0)));
        assert_eq!(value("lyceum_circuit_state"), Some(json!(1.0)));
    }

    #[test]
    fn dead_letters_are_also_counted_for_the_family_as_a_whole() {
        let sample = |kind: &'static str| Sample {
            name: "lyceum_dead_letters_total",
            unit: Unit::Count,
            combine: Combine::Sum,
            labels: vec![("family", "survey".into()), ("kind", kind.into())],
            value: 1.0,
        };
        let lines = documents("Lyceum", "8", 0, vec![sample("decode"), sample("rejected"), sample("decode")]);
        let found: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found.iter().map(|of| of["lyceum_dead_letters_total"].clone()).collect::<Vec<_>>(), [2.0, 1.0]);
        let dimensions = &found[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
        assert_eq!(dimensions, &json!([["family", "kind"], ["family"], ["family", "version"]]));
        assert_eq!(found[0]["version"], "8");
    }

    #[test]
    fn the_lag_of_a_subscription_has_a_series_that_an_alarm_can_watch() {
        let metrics = Metrics::with_samples();
        metrics.set_consumer_lag_seconds("nlj.training.programs", "training", Duration::from_secs(1));
        metrics.set_consumer_lag_seconds("nlj.training.programs", "training", Duration::from_secs(60));
        let found = written(&metrics);
        let dimensions = json!([["topic", "subscription"], ["subscription"]]);
        assert_eq!(found[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"], dimensions);
        assert_eq!(found[0]["lyceum_consumer_lag_seconds"], json!([1.0, 60.0]), "the largest is an alarm's affair");
    }

    #[test]
    fn a_version_is_counted_where_a_deployment_is_judged_by_it() {
        let sample = |outcome: &'static str| Sample {
            name: "lyceum_events_total",
            unit: Unit::Count,
            combine: Combine::Sum,
            labels: vec![
                ("family", "survey".into()),
                ("event_type", "survey.started".into()),
                ("outcome", outcome.into()),
            ],
            value: 1.0,
        };
        let sets = |outcome: &'static str| -> Value {
            let lines = documents("Lyceum", "8", 0, vec![sample(outcome)]);
            let document: Value = serde_json::from_str(&lines[0]).unwrap();
            document["_aws"]["CloudWatchMetrics"][0]["Dimensions"].clone()
        };
        let all = json!(["family", "event_type", "outcome"]);
        let always = [json!(["family"]), json!(["family", "outcome"]), json!(["family", "version"])];
        let judged = json!(["family", "outcome", "version"]);
        assert_eq!(sets("applied"), json!([[&all].as_slice(), &always.iter().collect::<Vec<_>>()].concat()));
        assert_eq!(
            sets("retry_later"),
            json!([[&all].as_slice(), &always.iter().collect::<Vec<_>>(), &[&judged]].concat())
        );
    }

    #[test]
    fn more_values_than_a_document_takes_go_into_several() {
        let metrics = Metrics::with_samples();
        (0..250).for_each(|records| metrics.observe_batch_size(records));
        let sizes = written(&metrics).into_iter().map(|of| of["lyceum_batch_size"].as_array().unwrap().len());
        assert_eq!(sizes.collect::<Vec<_>>(), [100, 100, 50]);
    }
}
