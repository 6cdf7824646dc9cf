//! `GET /health`: whether each part answers, and how fast. `/health/live` and `/health/ready` are for what runs the process: neither asks a store, so that
//! no outage of one has every replica started anew.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use lyceum_around::guarded::{Circuit, Dependency, Guard};
use lyceum_core::clock::Clock;
use lyceum_core::metrics::CircuitState;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::schemas::{FindSchema, SchemasError};
use lyceum_core::ports::statements::Statements;
use serde::Serialize;

use crate::access::{Access, Claims};
use crate::consumers::{ConsumerState, ConsumerStatus, Consumers};
use crate::live::format_time;

/// A part that takes longer than this counts as unavailable.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Healthy,
    /// Records are taken and state is kept, but statements are not found, or schemas that are not built in.
    Degraded,
    Unhealthy,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Component {
    status: Status,
    latency_ms: u64,
    /// `closed`, `half-open` or `open`, of a store that is a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: Status,
    timestamp: String,
    /// By `event_log` or, where it is one, `kafka`; `ledger` or `dynamodb`; `search` or `elasticsearch`; `schema_registry`, where one is
    /// named. What an older reader
    /// knows as `database` is the second of them once more.
    components: BTreeMap<&'static str, Component>,
}

/// What people call the parts, in the order in which they are shown.
const LABELS: [(&str, &str); 7] = [
    ("event_log", "event log"),
    ("kafka", "Kafka"),
    ("ledger", "state"),
    ("dynamodb", "state"),
    ("search", "search"),
    ("elasticsearch", "search"),
    (SCHEMA_REGISTRY, "schemas"),
];

const SCHEMA_REGISTRY: &str = "schema_registry";

impl Health {
    /// Each part with its name for people and, where it does not answer, why.
    pub(super) fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        let part = |(name, label): &(&str, &'static str)| Some((*label, self.components.get(name)?.error.clone()));
        LABELS.iter().filter_map(part).collect()
    }
}

/// The parts that are asked.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) event_log: Arc<dyn EventLog>,
    /// A topic of the catalog: asking for its offsets is a cheap question.
    pub(super) topic: &'static str,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) statements: Arc<dyn Statements>,
    pub(super) schemas: Option<Arc<dyn FindSchema>>,
    pub(super) guards: Vec<Arc<Guard>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Which part is unavailable is shown to everybody; why, which may name hosts and files, only to callers with a credential.
pub(super) async fn show(
    State(parts): State<Parts>,
    State(access): State<Access>,
    verified: Option<Extension<Claims>>,
    headers: HeaderMap,
) -> (StatusCode, Json<Health>) {
    let mut health = probe_all(&parts).await;
    if access.authenticate(&headers, verified.as_deref()).is_err() {
        health.components.values_mut().for_each(|component| component.error = None);
    }
    let code = if health.status == Status::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health))
}

#[derive(Debug, Serialize)]
pub(super) struct Probe {
    status: &'static str,
}

/// Who answers lives: whatever ends a consumer for good ends the process.
pub(super) async fn show_live() -> Json<Probe> {
    Json(Probe { status: "live" })
}

pub(super) async fn show_ready(State(consumers): State<Arc<dyn Consumers>>) -> (StatusCode, Json<Probe>) {
    let reads = |of: &ConsumerStatus| of.state != ConsumerState::Stopped && of.silent().is_zero();
    match consumers.status().await {
        Ok(all) if all.iter().all(reads) => (StatusCode::OK, Json(Probe { status: "ready" })),
        _ => (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not-ready" })),
    }
}

/// Asks every part at once.
pub(super) async fn probe_all(parts: &Parts) -> Health {
    let circuit = |dependency| {
        let guard = parts.guards.iter().find(|guard| guard.circuit().dependency == dependency);
        guard.map(|guard| guard.circuit())
    };
    let [kafka, dynamodb, elasticsearch, registry] =
        [Dependency::Kafka, Dependency::DynamoDb, Dependency::Elasticsearch, Dependency::SchemaRegistry].map(circuit);
    let names = [
        if kafka.is_some() { "kafka" } else { "event_log" },
        if dynamodb.is_some() { "dynamodb" } else { "ledger" },
        if elasticsearch.is_some() { "elasticsearch" } else { "search" },
    ];
    let (event_log, state, search, schemas) = tokio::join!(
        probe(ask_the_log(&*parts.event_log, parts.topic, kafka.is_some()), kafka),
        probe(parts.ledger.ping(), dynamodb),
        probe(parts.statements.ping(), elasticsearch),
        probe(ask_the_registry(parts.schemas.as_deref()), registry),
    );
    let schemas = parts.schemas.is_some().then_some(schemas);
    let read = schemas.as_ref().map_or(Status::Healthy, |schemas| schemas.status);
    let status = match (event_log.status.max(state.status), search.status.max(read)) {
        (Status::Unhealthy, _) => Status::Unhealthy,
        (Status::Healthy, Status::Healthy) => Status::Healthy,
        _ => Status::Degraded,
    };
    let timestamp = format_time(parts.clock.now_ms());
    let mut components: BTreeMap<_, _> = names.into_iter().zip([event_log, state.clone(), search]).collect();
    components.insert("database", state);
    components.extend(schemas.map(|schemas| (SCHEMA_REGISTRY, schemas)));
    Health { status, timestamp, components }
}

/// Listing a cluster's topics with their settings takes it seconds; the offsets of one topic are a cheap question, and
/// that there is no such topic is an answer, too.
async fn ask_the_log(log: &dyn EventLog, topic: &str, is_kafka: bool) -> Result<(), EventLogError> {
    if !is_kafka {
        return log.ping().await;
    }
    match log.offsets(topic).await {
        Ok(_) | Err(EventLogError::UnknownTopic(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn ask_the_registry(registry: Option<&dyn FindSchema>) -> Result<(), SchemasError> {
    match registry {
        Some(registry) => registry.ping().await,
        None => Ok(()),
    }
}

/// One part. Its circuit is the one before the question: an open one answers that no call is made, and one that is
/// half-open makes it degraded, though the question was answered.
async fn probe<E: Display>(call: impl Future<Output = Result<(), E>>, circuit: Option<Circuit>) -> Component {
    let start = Instant::now();
    let error = match tokio::time::timeout(PROBE_LIMIT, call).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PROBE_LIMIT.as_secs())),
    };
    let is_trying = circuit.as_ref().is_some_and(|circuit| circuit.state != CircuitState::Closed);
    let status = match (&error, is_trying) {
        (Some(_), _) => Status::Unhealthy,
        (None, true) => Status::Degraded,
        (None, false) => Status::Healthy,
    };
    let circuit = circuit.map(|circuit| match circuit.state {
        CircuitState::Closed => "closed",
        CircuitState::HalfOpen => "half-open",
        CircuitState::Open => "open",
    });
    Component { status, latency_ms: start.elapsed().as_millis() as u64, circuit, error }
}
