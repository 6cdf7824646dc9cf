//! `GET /health`: whether each part answers, and how fast.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{Services, SharedApp};
use crate::live::format_time;

/// A part that takes longer than this counts as away.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Healthy,
    /// Records are taken and state is kept, but statements are not found.
    Degraded,
    Unhealthy,
}

#[derive(Debug, Serialize)]
pub(super) struct Component {
    status: Status,
    latency_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Components {
    event_log: Component,
    dynamodb: Component,
    search: Component,
}

#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: Status,
    timestamp: String,
    components: Components,
}

impl Health {
    /// Each part with its name for people and, where it does not answer, why.
    pub(super) fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        let Components { event_log, dynamodb, search } = &self.components;
        [("event log", event_log), ("state", dynamodb), ("search", search)]
            .map(|(name, component)| (name, component.error.clone()))
            .into()
    }
}

/// Whoever asks is told which part is away; why, which may name hosts and files, only one with a credential.
pub(super) async fn show(State(app): SharedApp, headers: HeaderMap) -> (StatusCode, Json<Health>) {
    let mut health = probe_all(&app.services).await;
    if app.services.access.authenticate(&headers).is_err() {
        let Components { event_log, dynamodb, search } = &mut health.components;
        for component in [event_log, dynamodb, search] {
            component.error = None;
        }
    }
    let code = if health.status == Status::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health))
}

/// Asks every part at once.
pub(super) async fn probe_all(services: &Services) -> Health {
    let (event_log, dynamodb, search) = tokio::join!(
        probe(async { services.event_log.topics().await.map(drop) }),
        probe(services.ledger.ping()),
        probe(services.statements.ping()),
    );
    let is_up = |component: &Component| component.status == Status::Healthy;
    let status = match (is_up(&event_log) && is_up(&dynamodb), is_up(&search)) {
        (false, _) => Status::Unhealthy,
        (true, false) => Status::Degraded,
        (true, true) => Status::Healthy,
    };
    let timestamp = format_time(services.clock.now_ms());
    Health { status, timestamp, components: Components { event_log, dynamodb, search } }
}

async fn probe<E: Display>(call: impl Future<Output = Result<(), E>>) -> Component {
    let start = Instant::now();
    let error = match tokio::time::timeout(PROBE_LIMIT, call).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PROBE_LIMIT.as_secs())),
    };
    let status = if error.is_none() { Status::Healthy } else { Status::Unhealthy };
    Component { status, latency_ms: start.elapsed().as_millis() as u64, error }
}
