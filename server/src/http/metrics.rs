//! `GET /metrics`: for Prometheus. What is read at this moment (lag, error rate, the process) is set first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lyceum_core::metrics::{CONTENT_TYPE as OPENMETRICS, Metrics};

use crate::access::Caller;
use crate::alerts::window::Window;
use crate::consumers::Consumers;
use crate::problem::{Kind, Problem};
use crate::usage::ThisProcess;

pub(super) async fn show(
    State(metrics): State<Arc<Metrics>>,
    State(consumers): State<Arc<dyn Consumers>>,
    State(window): State<Arc<Window>>,
    State(process): State<Arc<ThisProcess>>,
    caller: Caller,
) -> Result<Response, Problem> {
    if caller.tenant.is_some() {
        let detail = "the metrics count every tenant's events: take a token for every tenant (*:operate:…)";
        return Err(Problem::new(Kind::FORBIDDEN_ROLE, detail));
    }
    for share in window.shares() {
        metrics.set_error_rate(share.subscription, share.failed);
    }
    if let Some(usage) = process.usage() {
        metrics.set_process(usage.cpu, usage.memory_bytes);
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
                metrics.set_consumer_lag_seconds(&consumer.topic, &consumer.function, consumer.waited());
                metrics.set_consumer_silent_seconds(&consumer.topic, &consumer.function, consumer.silent());
            }
            for ((topic, partition), lag) in lags {
                metrics.set_consumer_lag(topic, partition, lag);
            }
        }
        Err(error) => tracing::warn!(%error, "lyceum_consumer_lag is stale, because the consumers do not answer"),
    }
    Ok(([(CONTENT_TYPE, OPENMETRICS)], metrics.encode()).into_response())
}
