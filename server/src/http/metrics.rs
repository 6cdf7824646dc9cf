//! `GET /metrics`: for Prometheus. What is read at this moment, the lag, is set first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lyceum_core::metrics::{CONTENT_TYPE as OPENMETRICS, Metrics};

use crate::access::Caller;
use crate::consumers::Consumers;
use crate::problem::{Kind, Problem};

pub(super) async fn show(
    State(metrics): State<Arc<Metrics>>,
    State(consumers): State<Arc<dyn Consumers>>,
    caller: Caller,
) -> Result<Response, Problem> {
    if caller.tenant.is_some() {
        let detail = "the metrics count every tenant's events: take a token for every tenant (*:operate:…)";
        return Err(Problem::new(Kind::FORBIDDEN_ROLE, detail));
    }
    match consumers.status().await {
        Ok(consumers) => {
            // Consumers that share a topic have one label between them: the one that is furthest behind counts.
            let mut lags = BTreeMap::new();
            for consumer in &consumers {
                for partition in &consumer.partitions {
                    let lag = lags.entry((consumer.topic.as_str(), partition.partition)).or_insert(partition.lag);
                    *lag = partition.lag.max(*lag);
                }
            }
            for ((topic, partition), lag) in lags {
                metrics.set_consumer_lag(topic, partition, lag);
            }
        }
        Err(error) => tracing::warn!(%error, "lyceum_consumer_lag is stale, because the consumers do not answer"),
    }
    Ok(([(CONTENT_TYPE, OPENMETRICS)], metrics.encode()).into_response())
}
