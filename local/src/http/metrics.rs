//! `GET /metrics`: for Prometheus. What is read at this moment, the lag, is set first.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lyceum_core::metrics::CONTENT_TYPE as OPENMETRICS;

use super::SharedApp;
use super::access::Caller;
use super::problem::{Kind, Problem};

pub(super) async fn show(State(app): SharedApp, caller: Caller) -> Result<Response, Problem> {
    if caller.tenant.is_some() {
        let detail = "the metrics count every tenant's events: take a token for every tenant (*:operate:…)";
        return Err(Problem::new(Kind::FORBIDDEN_ROLE, detail));
    }
    let services = &app.services;
    match services.mappings.status().await {
        Ok(mappings) => {
            // Consumers that share a topic have one label between them: the one that is furthest behind counts.
            let mut lags = BTreeMap::new();
            for mapping in &mappings {
                for partition in &mapping.partitions {
                    let lag = lags.entry((mapping.topic.as_str(), partition.partition)).or_insert(partition.lag);
                    *lag = partition.lag.max(*lag);
                }
            }
            for ((topic, partition), lag) in lags {
                services.metrics.set_consumer_lag(topic, partition, lag);
            }
        }
        Err(error) => tracing::warn!(%error, "lyceum_consumer_lag is stale, because the mappings do not answer"),
    }
    Ok(([(CONTENT_TYPE, OPENMETRICS)], services.metrics.encode()).into_response())
}
