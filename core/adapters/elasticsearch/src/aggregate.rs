//! Counting: the port's aggregations as the engine's, and its answer in the shape that every store gives.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::requests::{Requests, WHOLE};
use super::search::query;
use lyceum_core::ports::statements::aggregation::{
    self, Aggregation, AggregationKind, Aggregations, MAX_BUCKETS, Metric,
};
use lyceum_core::ports::statements::bucket::{shape_bucket, shape_keyed};
use lyceum_core::ports::statements::{Filter, StatementsError};

/// Buckets that each shard names at least, so that a sum over shards misses none that counts.
const SHARD_BUCKETS: u32 = 5_000;

/// Different values that are in effect counted exactly; the engines take no more. It costs up to 320 KB a bucket, so
/// that below `terms` it is [`NESTED_PRECISION`].
const PRECISION: u32 = 40_000;

/// See [`PRECISION`].
const NESTED_PRECISION: u32 = 3_000;

/// See [`lyceum_core::ports::statements::Statements::aggregate`].
pub(super) async fn aggregate(
    requests: &Requests,
    filter: &Filter,
    aggregations: &Value,
) -> Result<Value, StatementsError> {
    let aggregations = aggregation::parse(aggregations)?;
    let body = json!({
        "size": 0,
        "track_total_hits": true,
        "query": query(filter),
        "aggs": translate(&aggregations, Depth::Once),
    });
    let mut answer: Value = requests.ask(Method::POST, &requests.path("_search"), WHOLE, Some(&body)).await?;
    let hits = answer["hits"]["total"]["value"].take();
    Ok(json!({"hits": hits, "aggregations": shape(&aggregations, &mut answer["aggregations"])}))
}

/// Whether an aggregation runs once, or once for each bucket of another.
#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Once,
    Nested,
}

fn translate(aggregations: &Aggregations, depth: Depth) -> Value {
    let one = |aggregation: &Aggregation| {
        let (mut request, within) = match &aggregation.kind {
            AggregationKind::Terms { field, size } => {
                let mut terms = json!({"field": field.name, "size": size});
                if depth == Depth::Once {
                    terms["shard_size"] = json!((*size).clamp(SHARD_BUCKETS, MAX_BUCKETS));
                }
                (json!({"terms": terms}), Depth::Nested)
            }
            AggregationKind::Filter { field, value } => {
                (json!({"filter": {"term": {field.name: value.to_json()}}}), depth)
            }
            AggregationKind::Missing { field } => (json!({"missing": {"field": field.name}}), depth),
            AggregationKind::Cardinality { field } => {
                let precision = if depth == Depth::Once { PRECISION } else { NESTED_PRECISION };
                (json!({"cardinality": {"field": field.name, "precision_threshold": precision}}), depth)
            }
            AggregationKind::Metric { metric, field } => (json!({metric.name(): {"field": field.name}}), depth),
        };
        if !aggregation.aggregations.is_empty() {
            request["aggs"] = translate(&aggregation.aggregations, within);
        }
        request
    };
    aggregations.iter().map(|(name, aggregation)| (name.clone(), one(aggregation))).collect::<Map<_, _>>().into()
}

/// Only what the port promises, so that no asker comes to need what one engine alone says.
fn shape(aggregations: &Aggregations, answer: &mut Value) -> Map<String, Value> {
    let one = |(name, aggregation): (&String, &Aggregation)| {
        let mut answer = answer[name].take();
        let mut take = |name: &str| answer.get_mut(name).map(Value::take).unwrap_or_default();
        let shaped = match &aggregation.kind {
            AggregationKind::Terms { field, .. } => {
                let mut buckets = take("buckets");
                let buckets = buckets.as_array_mut().map(std::mem::take).unwrap_or_default();
                let bucket = |bucket| shape_keyed(field.kind, &aggregation.aggregations, bucket, shape);
                json!({
                    "doc_count_error_upper_bound": take("doc_count_error_upper_bound"),
                    "sum_other_doc_count": take("sum_other_doc_count"),
                    "buckets": buckets.into_iter().map(bucket).collect::<Vec<_>>(),
                })
            }
            AggregationKind::Filter { .. } | AggregationKind::Missing { .. } => {
                Value::Object(shape_bucket(&aggregation.aggregations, answer, shape))
            }
            AggregationKind::Cardinality { .. } => json!({"value": take("value")}),
            AggregationKind::Metric { metric: Metric::Stats, .. } => {
                let names = ["count", "min", "max", "avg", "sum"];
                names.into_iter().map(|name| (name.to_owned(), take(name))).collect::<Map<_, _>>().into()
            }
            AggregationKind::Metric { .. } => json!({"value": take("value")}),
        };
        (name.clone(), shaped)
    };
    aggregations.iter().map(one).collect()
}
