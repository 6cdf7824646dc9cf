//! The HTTP API and the page: one table of routes, one file a resource.
//!
//! A route is one line in [`ROUTES`]: the router, the roles, the OpenAPI document and the tests all read that table.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, FromRequestParts, Path, Request, State as Shared};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use futures::FutureExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use lyceum_around::guarded::Guard;
use lyceum_core::catalog::{Catalog, STATEMENT};
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::ports::schemas::FindSchema;
use lyceum_core::ports::statements::Statements;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Claims, Role, check_where_from};
use crate::alerts::window::Window;
use crate::audit::Audit;
use crate::consumers::Consumers;
use crate::dead_letters::letters::DeadLetters;
use crate::live::Live;
use crate::problem::{Kind, Problem};
use crate::questions::{Analytics, Keys, State};
use crate::rebuild::Rebuilds;
use crate::reconcile::Reconciler;
use crate::replay::Runner;
use crate::shares::{Ahead, Shares};
use crate::single_flight::SingleFlight;
use crate::usage::ThisProcess;
use crate::work::Work;

mod analytics;
mod asyncapi;
mod audit;
mod body;
mod dead_letters;
mod docs;
mod events;
mod health;
mod history;
mod lately;
mod learning;
mod metrics;
mod openapi;
mod page;
mod parameters;
mod rebuild;
mod reconcile;
mod replay;
mod running;
mod search;
mod security;
mod state;
mod statements;
mod tenants;
pub mod topics;
mod validation;
pub mod work;

use body::read_body;
use running::Running;
pub use running::{Part, STAYING};

/// How long one request may take, its body included.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How long a part of an ingestion may take: its events are published, and an answer that is cut off leaves whoever sent
/// them in the dark. It ends by itself where nothing is settled for half a minute.
const INGEST_TIME_LIMIT: Duration = Duration::from_secs(600);
/// How long a function may take, and its answer: as long as a mapping of Kafka lets one run.
const INVOKE_TIME_LIMIT: Duration = Duration::from_secs(870);
/// How long the listener rests where the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How long requests under way may take once the process is to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// The largest body of a publication; Kafka's producers send 1 MiB a batch by default, Lambda takes 6 MB.
const PUBLISH_LIMIT_BYTES: usize = 8 << 20;
/// The largest other body.
const BODY_LIMIT_BYTES: usize = 1 << 20;
/// How many live feeds are served at once, and to one tenant; each costs one rendering a second.
const FEEDS: [usize; 2] = [64, 16];

/// Everything that the page and the API need. A resource is given its own part of it alone.
#[derive(Clone)]
pub struct Services {
    /// Where events are published, and records are looked at.
    pub event_log: Arc<dyn EventLog>,
    /// Asked for its health.
    pub ledger: Arc<dyn Ledger>,
    /// Where statements are found by id.
    pub statements: Arc<dyn Statements>,
    /// Entries of the audit log.
    pub audit: Arc<dyn Statements>,
    /// The registry of schemas, where one is named: asked for its health.
    pub schemas: Option<Arc<dyn FindSchema>>,
    /// The last minutes.
    pub live: Arc<Live>,
    /// For Prometheus.
    pub metrics: Arc<Metrics>,
    /// How many events failed lately, for Prometheus.
    pub window: Arc<Window>,
    /// What the process takes of its machine, for Prometheus.
    pub process: Arc<ThisProcess>,
    /// How far each function has come.
    pub consumers: Arc<dyn Consumers>,
    /// What failed for good.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Compares the log with the stores.
    pub reconciler: Arc<Reconciler>,
    /// Numbers over statements.
    pub analytics: Arc<dyn Analytics>,
    /// The state kept by the families.
    pub state: Arc<dyn State>,
    /// Finds the key of an event that was sent without one.
    pub keys: Arc<dyn Keys>,
    /// Ingests events and calls functions.
    pub work: Arc<dyn Work>,
    /// Projections that are built anew, and which generation of each is live.
    pub rebuilds: Arc<Rebuilds>,
    /// Runs replays.
    pub replays: Arc<Runner>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Before each store that is a service.
    pub guards: Vec<Arc<Guard>>,
    /// Which topics there are.
    pub catalog: Arc<Catalog>,
    /// The AsyncAPI document of the topics and events, but for where this process is asked.
    pub asyncapi: Arc<Value>,
    /// Who may.
    pub access: Access,
    /// Whose state and statements are meant where nobody says.
    pub default_tenant: String,
    /// Where the data is, for people.
    pub data: String,
}

/// What handlers are given parts of.
#[derive(Clone)]
struct App(Arc<Served>);

struct Served {
    services: Services,
    running: Running,
    /// Feeds, which never end by themselves, end when the process is to end.
    feeds: page::Feeds,
    /// How far tenants are ahead of what processes their events.
    ahead: Arc<Ahead>,
    /// What was answered lately of learning.
    compared: lately::Lately,
}

macro_rules! parts {
    ($($field:ident: $part:ty,)*) => {
        $(impl FromRef<App> for $part {
            fn from_ref(App(served): &App) -> Self {
                served.services.$field.clone()
            }
        })*
    };
}

parts! {
    access: Access,
    analytics: Arc<dyn Analytics>,
    asyncapi: Arc<Value>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    consumers: Arc<dyn Consumers>,
    dead_letters: Arc<dyn DeadLetters>,
    event_log: Arc<dyn EventLog>,
    keys: Arc<dyn Keys>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    process: Arc<ThisProcess>,
    rebuilds: Arc<Rebuilds>,
    reconciler: Arc<Reconciler>,
    replays: Arc<Runner>,
    state: Arc<dyn State>,
    statements: Arc<dyn Statements>,
    window: Arc<Window>,
    work: Arc<dyn Work>,
}

impl FromRef<App> for events::Room {
    fn from_ref(App(served): &App) -> Self {
        Self { ahead: served.ahead.clone(), consumers: served.services.consumers.clone() }
    }
}

impl FromRef<App> for events::Publishing {
    fn from_ref(app: &App) -> Self {
        let Services { event_log, keys, catalog, .. } = &app.0.services;
        Self { log: event_log.clone(), keys: keys.clone(), catalog: catalog.clone(), room: FromRef::from_ref(app) }
    }
}

impl FromRef<App> for docs::Docs {
    fn from_ref(app: &App) -> Self {
        let Services { asyncapi, data, .. } = &app.0.services;
        Self { document: asyncapi.clone(), publishing: FromRef::from_ref(app), data: data.clone() }
    }
}

impl FromRef<App> for Running {
    fn from_ref(App(served): &App) -> Self {
        served.running
    }
}

/// Whose state and statements are meant where nobody says.
struct DefaultTenant(String);

impl FromRef<App> for DefaultTenant {
    fn from_ref(App(served): &App) -> Self {
        Self(served.services.default_tenant.clone())
    }
}

impl FromRef<App> for page::Feeds {
    fn from_ref(App(served): &App) -> Self {
        served.feeds.clone()
    }
}

impl FromRef<App> for Audit {
    fn from_ref(App(served): &App) -> Self {
        audit::of(&served.services)
    }
}

impl FromRef<App> for health::Parts {
    fn from_ref(App(served): &App) -> Self {
        let Services { event_log, ledger, statements, schemas, guards, clock, catalog, .. } = &served.services;
        Self {
            event_log: event_log.clone(),
            topic: catalog.dead_letter_topics().first().copied().unwrap_or_default(),
            ledger: ledger.clone(),
            statements: statements.clone(),
            schemas: schemas.clone(),
            guards: guards.clone(),
            clock: clock.clone(),
        }
    }
}

impl FromRef<App> for page::Sources {
    fn from_ref(app: &App) -> Self {
        let Services {
            live,
            consumers,
            dead_letters,
            analytics,
            data,
            event_log,
            statements,
            keys,
            catalog,
            clock,
            ..
        } = &app.0.services;
        Self {
            is_live: app.0.running == Running::Staying,
            clock: clock.clone(),
            compared: app.0.compared.clone(),
            live: live.clone(),
            consumers: consumers.clone(),
            dead_letters: dead_letters.clone(),
            analytics: analytics.clone(),
            event_log: event_log.clone(),
            statements: statements.clone(),
            keys: keys.clone(),
            kinds: catalog.kinds().collect(),
            event_types: catalog.event_types().map(|(_, of)| of.name).chain([STATEMENT]).collect(),
            health: FromRef::from_ref(app),
            data: data.clone(),
        }
    }
}

/// One route: a line for the router, the roles and the OpenAPI document.
pub struct Route {
    /// In capitals.
    pub method: &'static str,
    /// With `{parameters}`.
    pub path: &'static str,
    /// The role that a caller must have; `None` is open to everybody.
    pub needs: Option<Role>,
    /// One sentence.
    pub summary: &'static str,
    /// Query parameters: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// The type of a good answer.
    pub answer: &'static str,
    handler: fn() -> MethodRouter<App>,
}

const JSON: &str = "application/json";
const HTML: &str = "text/html";
const CSV: &str = "text/csv";
const TENANT: (&str, &str) = ("tenant", "The tenant; a token's own where it names one, else all of them");
const EVENT_TYPE: (&str, &str) = ("type", "Of this event type alone");
const ENTRY_KIND: (&str, &str) = ("kind", "event, invalid, tombstone or dead-letter");
const EVENT: (&str, &str) = ("event", "Of the event with this id");
const CORRELATION: (&str, &str) = ("correlation", "Of this correlation id");
const POSITION: (&str, &str) = ("position", "Of this record and its dead letters: topic/partition/offset");
const RECORDS_FROM: (&str, &str) = ("from", "Records of this time on: RFC 3339, or a UTC date");
const RECORDS_TO: (&str, &str) = ("to", "Records before this time: RFC 3339; of a UTC date, that day included");
const SEVERITY: (&str, &str) = ("severity", "How bad they are: low, medium, high or critical");
const CAUSE: (&str, &str) =
    ("cause", "What they are about: approval_invalid, dag_diff_failed, brute_force or held_back");
const ACTOR: (&str, &str) = ("actor", "By whom");
const ALERTS_FROM: (&str, &str) = ("from", "About what happened from this time on: RFC 3339, or a UTC date");
const ALERTS_TO: (&str, &str) =
    ("to", "About what happened before this time: RFC 3339; of a UTC date, that day included");
const OF_TENANT: (&str, &str) = ("tenant", "The tenant; a token's own where it names one, else DEFAULT_TENANT");
const FROM: (&str, &str) = ("from", "Statements from this time on: RFC 3339, or a UTC date");
const TO: (&str, &str) = ("to", "Statements before this time: RFC 3339; of a UTC date, that day included");
const SCALE: (&str, &str) =
    ("scale", "The scale of answers that tell none, as 0..10: on it a net promoter score is counted");
const KIND: (&str, &str) = ("kind", "Why they were dead-lettered: decode, validation, rejected …");
const TOPIC: (&str, &str) = ("topic", "The topic that they were on, or the dead-letter topic");
const RULE: (&str, &str) = ("rule", "The first rule that they broke");
const STATE: (&str, &str) = ("state", "How they stand: waiting, sent, parked, resolved or discarded");
const SINCE: (&str, &str) = ("since", "Written from this time on: RFC 3339, or a UTC date");
const UNTIL: (&str, &str) = ("until", "Written before this time: RFC 3339; of a UTC date, that day included");
const FAMILY: (&str, &str) = ("family", "The family that could not take them");
const OF_TOPIC: (&str, &str) = ("topic", "The topic that they were on");
const SENDER: (&str, &str) = ("sender", "Who sent them: the module of an envelope, the platform of a statement");
const LATELY: (&str, &str) =
    ("since", "Written from this time on: RFC 3339, or a UTC date; a day before until where it is left out");
const CURSOR: (&str, &str) = ("cursor", "Where to go on: the `next` of the answer before");
const WHERE: (&str, &str) =
    ("from", "Where to begin: beginning, end, an RFC 3339 time, or an offset in each partition");
const OFFSETS: (&str, &str) = ("offsets", "Where to go on: the `next` of the answer before");
const LIMIT: (&str, &str) = ("limit", "At most so many, 1 to 1000; 100 where it is left out");

const DRY_RUN: (&str, &str) = ("dry_run", "true: says what would go where, and does nothing");
const REACH: (&str, &str) = ("reach", "How far back: minutes, day, month or year");
const DAYS: (&str, &str) = ("days", "Of how many days, up to today: 7, 30 or 90");
const SOUGHT: (&str, &str) = ("q", "An event id, a position, a learner, a survey, a program, a session, a booking …");

const FOUND: (&str, &str) = ("q", "Words of an event type's name, topic, family or purpose");

/// Every route of the process.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/", needs: Some(Role::Read), summary: "The page", query: &[TENANT, REACH], answer: HTML, handler: || get(page::show_overview) },
    Route { method: "GET", path: "/live", needs: Some(Role::Read), summary: "What changes on the page, each second, as server-sent events", query: &[TENANT, REACH], answer: "text/event-stream", handler: || get(page::stream_live) },
    Route { method: "GET", path: "/assets/{file}", needs: None, summary: "The page's style, script and icon", query: &[], answer: "*/*", handler: || get(page::show_asset) },
    Route { method: "GET", path: "/dead-letters", needs: Some(Role::Read), summary: "The page of dead letters by what they have in common", query: &[TENANT, TOPIC, KIND, RULE, STATE, SINCE, UNTIL], answer: HTML, handler: || get(page::show_causes) },
    Route { method: "GET", path: "/dead-letters/list", needs: Some(Role::Read), summary: "The page of single dead letters, from which they are sent again or discarded", query: &[TENANT, TOPIC, KIND, RULE, STATE, SINCE, UNTIL, CURSOR], answer: HTML, handler: || get(page::show_dead_letters) },
    Route { method: "GET", path: "/validation", needs: Some(Role::Read), summary: "The page of data quality: what broke since when", query: &[TENANT, OF_TOPIC, FAMILY, RULE, SENDER, LATELY, UNTIL], answer: HTML, handler: || get(validation::show_page) },
    Route { method: "GET", path: "/events/{topic}/{partition}/{offset}", needs: Some(Role::Read), summary: "The page of one record: how it ended, why, and what it holds", query: &[], answer: HTML, handler: || get(page::show_event) },
    Route { method: "GET", path: "/state/{kind}/{id}", needs: Some(Role::Read), summary: "The page of a program, session, booking …: what is kept of it", query: &[OF_TENANT], answer: HTML, handler: || get(page::show_state) },
    Route { method: "GET", path: "/surveys/{survey_id}", needs: Some(Role::Read), summary: "The page of one survey: its answers in numbers", query: &[TENANT, SCALE], answer: HTML, handler: || get(page::show_survey) },
    Route { method: "GET", path: "/learning", needs: Some(Role::Read), summary: "The page of learning: people, completions and opinions, against the time before", query: &[TENANT, DAYS], answer: HTML, handler: || get(learning::show_page) },
    Route { method: "GET", path: "/learning.csv", needs: Some(Role::Read), summary: "The days of that page", query: &[TENANT, DAYS], answer: CSV, handler: || get(learning::download) },
    Route { method: "GET", path: "/history.csv", needs: Some(Role::Read), summary: "How events ended, by bars of a chart", query: &[TENANT, REACH], answer: CSV, handler: || get(history::download) },
    Route { method: "GET", path: "/learners/{learner_id}", needs: Some(Role::Read), summary: "The page of one learner", query: &[TENANT], answer: HTML, handler: || get(learning::show_learner) },
    Route { method: "GET", path: "/statements/{id}", needs: Some(Role::Read), summary: "The page of one stored statement", query: &[OF_TENANT], answer: HTML, handler: || get(search::show_statement) },
    Route { method: "GET", path: "/search", needs: Some(Role::Read), summary: "The page of what a text names; where that is one thing alone, the way to it", query: &[TENANT, SOUGHT], answer: HTML, handler: || get(search::show) },
    Route { method: "GET", path: "/audit", needs: Some(Role::Read), summary: "The page of the audit log", query: &[TENANT, EVENT_TYPE, ENTRY_KIND, EVENT, CORRELATION, POSITION, RECORDS_FROM, RECORDS_TO, CURSOR], answer: HTML, handler: || get(audit::show_page) },
    Route { method: "GET", path: "/audit/{topic}/{partition}/{offset}", needs: Some(Role::Read), summary: "The page of one entry of the audit log", query: &[TENANT], answer: HTML, handler: || get(audit::show_entry) },
    Route { method: "GET", path: "/security", needs: Some(Role::Read), summary: "The page of security alerts", query: &[TENANT, SEVERITY, CAUSE, ACTOR, ALERTS_FROM, ALERTS_TO, CURSOR], answer: HTML, handler: || get(security::show_page) },
    Route { method: "GET", path: "/replays", needs: Some(Role::Read), summary: "The page of replays, with a form to begin one", query: &[TENANT], answer: HTML, handler: || get(replay::show_page) },
    Route { method: "GET", path: "/replays/{replay}", needs: Some(Role::Read), summary: "The page of one replay, to watch, cancel and resume it", query: &[TENANT], answer: HTML, handler: || get(replay::show_one) },
    Route { method: "GET", path: "/docs", needs: Some(Role::Read), summary: "The page of events: every event type, found by name", query: &[TENANT, FOUND], answer: HTML, handler: || get(docs::show) },
    Route { method: "GET", path: "/docs/{event}", needs: Some(Role::Read), summary: "The page of one event type: fields, schema, example, and a form to try it", query: &[TENANT], answer: HTML, handler: || get(docs::show_event_type) },
    Route { method: "POST", path: "/docs/{event}", needs: Some(Role::Publish), summary: "Publishes what stands in the form of that page, and shows the answer", query: &[TENANT], answer: HTML, handler: || post(docs::publish) },
    Route { method: "GET", path: "/health", needs: None, summary: "Whether each part answers; 503 where records cannot be processed", query: &[], answer: JSON, handler: || get(health::show) },
    Route { method: "GET", path: "/health/live", needs: None, summary: "Whether the process does its work, whatever its stores do: what an engine starts it anew for", query: &[], answer: JSON, handler: || get(health::show_live) },
    Route { method: "GET", path: "/health/ready", needs: None, summary: "Whether it reads its topics; 503 before it has begun, while it ends, and while they cannot be read", query: &[], answer: JSON, handler: || get(health::show_ready) },
    Route { method: "GET", path: "/metrics", needs: Some(Role::Operate), summary: "Metrics of the whole process, for Prometheus", query: &[], answer: "application/openmetrics-text", handler: || get(metrics::show) },
    Route { method: "GET", path: "/openapi.json", needs: None, summary: "This document", query: &[], answer: JSON, handler: || get(openapi::show) },
    Route { method: "GET", path: "/asyncapi.json", needs: Some(Role::Read), summary: "Topics, who reads and writes them, and every event with its schema and examples, as an AsyncAPI 3.1 document", query: &[], answer: JSON, handler: || get(asyncapi::show) },
    Route { method: "GET", path: "/events/status", needs: Some(Role::Read), summary: "How far each mapping has come, how events ended, and what they cost in capacity units", query: &[TENANT], answer: JSON, handler: || get(events::show_status) },
    Route { method: "POST", path: "/events/replay", needs: Some(Role::Operate), summary: "Begins a replay: what stands on topics goes to them again, to one subscriber, to another topic or into files", query: &[TENANT, DRY_RUN], answer: JSON, handler: || post(replay::begin) },
    Route { method: "POST", path: "/events/{topic}", needs: Some(Role::Publish), summary: "Publishes one event or an array of them: raw, or as {\"key\"?, \"value\", \"headers\"?} with {\"base64\"} for a value that is no text; all or none", query: &[TENANT], answer: JSON, handler: || post(events::publish) },
    Route { method: "GET", path: "/api/analytics/platform/overview", needs: Some(Role::Read), summary: "Numbers over all statements, and what other documents are stored beside them", query: &[TENANT, FROM, TO], answer: JSON, handler: || get(analytics::show_platform) },
    Route { method: "GET", path: "/api/analytics/learning", needs: Some(Role::Read), summary: "People, completions and opinions of a time, by day, by parent activity and by survey", query: &[TENANT, FROM, TO], answer: JSON, handler: || get(analytics::show_learning) },
    Route { method: "GET", path: "/api/analytics/surveys/{survey_id}", needs: Some(Role::Read), summary: "Numbers of one survey, with the net promoter score of each question or why there is none", query: &[TENANT, FROM, TO, SCALE], answer: JSON, handler: || get(analytics::show_survey) },
    Route { method: "GET", path: "/api/analytics/learners/{learner_id}", needs: Some(Role::Read), summary: "Numbers of one learner, by any of its identifiers", query: &[TENANT, FROM, TO], answer: JSON, handler: || get(analytics::show_learner) },
    Route { method: "GET", path: "/api/history", needs: Some(Role::Read), summary: "How events ended over a longer time, a restart before now included", query: &[TENANT, REACH], answer: JSON, handler: || get(history::show) },
    Route { method: "GET", path: "/api/state/{kind}/{id}", needs: Some(Role::Read), summary: "The state kept of a program, session, booking …", query: &[OF_TENANT], answer: JSON, handler: || get(state::show) },
    Route { method: "GET", path: "/api/tenants", needs: Some(Role::Read), summary: "The tenants that have statements, other documents or dead letters, as far as the caller sees them", query: &[], answer: JSON, handler: || get(tenants::list) },
    Route { method: "GET", path: "/api/statements/{id}", needs: Some(Role::Read), summary: "One statement, byte for byte as it was sent", query: &[OF_TENANT], answer: JSON, handler: || get(statements::show) },
    Route { method: "GET", path: "/api/dead-letters", needs: Some(Role::Read), summary: "Dead letters, the newest first", query: &[TENANT, TOPIC, KIND, RULE, STATE, SINCE, UNTIL, LIMIT, CURSOR], answer: JSON, handler: || get(dead_letters::list) },
    Route { method: "GET", path: "/api/dead-letters/summary", needs: Some(Role::Read), summary: "Dead letters by rule, kind, topic and tenant, those of which the most wait first", query: &[TENANT, TOPIC, KIND, RULE, STATE, SINCE, UNTIL, LIMIT], answer: JSON, handler: || get(dead_letters::summarize) },
    Route { method: "GET", path: "/api/validation", needs: Some(Role::Read), summary: "What broke since when: violations by rule, sender, topic and time, against as long a time before", query: &[TENANT, OF_TOPIC, FAMILY, RULE, SENDER, LATELY, UNTIL, LIMIT], answer: JSON, handler: || get(validation::show) },
    Route { method: "GET", path: "/api/dead-letters/export", needs: Some(Role::Read), summary: "The originals of dead letters as JSON Lines, those that wait unless a state is given; all of them without a limit", query: &[TENANT, TOPIC, KIND, RULE, STATE, SINCE, UNTIL, LIMIT, CURSOR], answer: "application/jsonl", handler: || get(dead_letters::export) },
    Route { method: "GET", path: "/api/dead-letters/{topic}/{partition}/{offset}", needs: Some(Role::Read), summary: "One dead letter", query: &[], answer: JSON, handler: || get(dead_letters::show) },
    Route { method: "POST", path: "/api/dead-letters/replay", needs: Some(Role::Operate), summary: "Sends dead letters again: {\"positions\": […]} or {\"topic\"?, \"kind\"?, \"rule\"?, \"since\"?, \"until\"?, \"all\"?}, with \"dry_run\"?, \"limit\"?, \"again\"?, \"up_to\"?, and \"wait\"? to tell how each ended", query: &[TENANT], answer: JSON, handler: || post(dead_letters::replay) },
    Route { method: "POST", path: "/api/dead-letters/discard", needs: Some(Role::Operate), summary: "Marks dead letters as done with, parked ones too: as a replay is asked for, without \"again\" and \"wait\"", query: &[TENANT], answer: JSON, handler: || post(dead_letters::discard) },
    Route { method: "POST", path: "/api/dead-letters/import", needs: Some(Role::Operate), summary: "Makes dead letters of an on-failure record of AWS Lambda: for `lyceum dead-letters import`", query: &[], answer: JSON, handler: || post(dead_letters::import) },
    Route { method: "POST", path: "/api/reconcile", needs: Some(Role::Operate), summary: "Compares a range of the log with what the stores keep of it, and processes again what is missing where that is asked for: for `lyceum reconcile`", query: &[], answer: JSON, handler: || post(reconcile::reconcile) },
    Route { method: "POST", path: "/api/ingest", needs: Some(Role::Publish), summary: "Publishes prepared events, waits until they are settled, and answers how they ended: for `lyceum ingest`", query: &[TENANT], answer: JSON, handler: || post(work::ingest) },
    Route { method: "POST", path: "/2015-03-31/functions/{function}/invocations", needs: Some(Role::Operate), summary: "Calls a function with a batch, as AWS Lambda's API does", query: &[], answer: JSON, handler: || post(work::invoke) },
    Route { method: "GET", path: "/api/audit", needs: Some(Role::Read), summary: "Entries of the audit log, the newest first", query: &[TENANT, EVENT_TYPE, ENTRY_KIND, EVENT, CORRELATION, POSITION, RECORDS_FROM, RECORDS_TO, LIMIT, CURSOR], answer: JSON, handler: || get(audit::search) },
    Route { method: "GET", path: "/api/audit/logs", needs: Some(Role::Read), summary: "The logs of each tenant, with how many entries each has and the root over them", query: &[TENANT], answer: JSON, handler: || get(audit::logs) },
    Route { method: "GET", path: "/api/audit/verify", needs: Some(Role::Read), summary: "What is wrong with one log; without one, with the seals of a tenant", query: &[TENANT, ("log", "day/topic/partition"), ("seal", "The hash of a seal that was kept elsewhere, and must be there")], answer: JSON, handler: || get(audit::verify) },
    Route { method: "POST", path: "/api/audit/seal", needs: Some(Role::Operate), summary: "Seals what has grown since the last seal", query: &[TENANT], answer: JSON, handler: || post(audit::seal) },
    Route { method: "GET", path: "/api/audit/proof", needs: Some(Role::Read), summary: "A receipt for one event: what became of it, and what shows that", query: &[TENANT, ("event", "The event's id, or its record's position")], answer: JSON, handler: || get(audit::prove) },
    Route { method: "GET", path: "/api/replays", needs: Some(Role::Read), summary: "Replays, the one that came further last first", query: &[TENANT, LIMIT], answer: JSON, handler: || get(replay::list) },
    Route { method: "GET", path: "/api/replays/{replay}", needs: Some(Role::Read), summary: "One replay: how far it is, what became of its records, and when it will have ended", query: &[], answer: JSON, handler: || get(replay::show) },
    Route { method: "POST", path: "/api/replays/{replay}/cancel", needs: Some(Role::Operate), summary: "Stops a replay behind the part that is on its way", query: &[], answer: JSON, handler: || replay::act(replay::Act::Cancel) },
    Route { method: "POST", path: "/api/replays/{replay}/resume", needs: Some(Role::Operate), summary: "Has a replay go on from where it was stopped or failed", query: &[], answer: JSON, handler: || replay::act(replay::Act::Resume) },
    Route { method: "GET", path: "/api/security", needs: Some(Role::Read), summary: "Security alerts about what governance reports, the newest first", query: &[TENANT, SEVERITY, CAUSE, ACTOR, ALERTS_FROM, ALERTS_TO, LIMIT, CURSOR], answer: JSON, handler: || get(security::show) },
    Route { method: "GET", path: "/api/rebuild", needs: Some(Role::Read), summary: "Which generation of each projection is live, and how far one is that is built anew", query: &[], answer: JSON, handler: || get(rebuild::list) },
    Route { method: "POST", path: "/api/rebuild", needs: Some(Role::Operate), summary: "Builds a projection anew from the log beside the live one, and swaps it in: {\"subscription\", \"action\": plan, start, back, cancel or drop, \"swap\"?, \"lacking\"?}", query: &[], answer: JSON, handler: || post(rebuild::act) },
    Route { method: "GET", path: "/api/rebuild/compare", needs: Some(Role::Operate), summary: "How the live projection and the one that was built differ", query: &[("subscription", "The subscription's name")], answer: JSON, handler: || get(rebuild::compare) },
    Route { method: "GET", path: "/api/topics", needs: Some(Role::Read), summary: "Topics with their partitions, offsets and lag", query: &[], answer: JSON, handler: || get(topics::list) },
    Route { method: "GET", path: "/api/topics/{topic}/records", needs: Some(Role::Read), summary: "Records of a topic; for callers that see every tenant", query: &[WHERE, OFFSETS, LIMIT], answer: JSON, handler: || get(topics::read) },
];

/// The router, for tests and for a server of one's own; [`serve`] is what a process calls.
pub fn router(services: Services) -> Router {
    build_router(services, CancellationToken::new(), Running::Staying)
}

/// The part of the router for a process that lives by its invocations, each of which ends with its answer: AWS Lambda's. What takes a
/// process that stays ([`STAYING`]), and what another part serves, is answered by a problem that says where it is.
pub fn router_by_invocation(services: Services, part: Part) -> Router {
    build_router(services, CancellationToken::new(), Running::Invoked(part))
}

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// Until a request's head is there, and between two requests: whoever opens many and sends nothing holds them no longer.
    pub head: Duration,
    /// While an answer is there and nobody reads on: what is kept of it is let go.
    pub write: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { head: Duration::from_secs(20), write: Duration::from_secs(30) }
    }
}

/// Serves until `shutdown` is ready, then lets requests under way end. Without tokens it refuses to listen on anything
/// but this machine's own address.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    serve_within(TimeLimits::default(), listener, services, shutdown).await
}

/// The same with other limits for connections that do nothing.
///
/// # Errors
/// Where it would listen to other machines without asking for a token.
pub async fn serve_within(
    limits: TimeLimits,
    listener: TcpListener,
    services: Services,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    ensure!(
        address.ip().is_loopback() || !services.access.is_open(),
        "without tokens Lyceum listens on 127.0.0.1 only, not on {address}: set API_TOKENS, or listen there"
    );
    let stop = CancellationToken::new();
    let dead_letters = services.dead_letters.clone();
    let following = stop.clone().run_until_cancelled_owned(async move { dead_letters.keep_up().await });
    tokio::spawn(following);
    let router = build_router(services, stop.clone(), Running::Staying);
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted; the listener goes on in a moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and written at once; whether this could be set makes no difference to them.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write));
        let stream = Box::pin(stream);
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    stop.cancel();
    if tokio::time::timeout(SHUTDOWN_LIMIT, connections.shutdown()).await.is_err() {
        tracing::warn!(limit_s = SHUTDOWN_LIMIT.as_secs(), "requests were cut off, because they took too long to end");
    }
    Ok(())
}

fn build_router(mut services: Services, stop: CancellationToken, running: Running) -> Router {
    services.analytics = Arc::new(SingleFlight::new(services.analytics));
    let access = services.access.clone();
    let feeds = page::Feeds { stop, places: Arc::new(Shares::new(FEEDS[0], FEEDS[1])) };
    let ahead = Arc::new(Ahead::new(body::EVENTS));
    let routes = ROUTES.iter().fold(Router::new(), |router, route| {
        let handler = match running.refuses(route) {
            None => (route.handler)().route_layer(from_fn_with_state((access.clone(), route.needs), authorize)),
            Some(why) => running::refusing(route, why),
        };
        router.route(route.path, handler)
    });
    routes
        .fallback(|| async { Problem::not_found("no such path; GET /openapi.json lists every one") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Kind::WRONG_METHOD, "no such method on this path; GET /openapi.json lists every one")
        })
        .with_state(App(Arc::new(Served { services, running, feeds, ahead, compared: <_>::default() })))
        .layer(from_fn_with_state((access, running), guard))
}

/// Before a handler runs: who asks, and may they?
async fn authorize(
    Shared((access, needs)): Shared<(Access, Option<Role>)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(role) = needs {
        let caller = access.authenticate(request.headers(), request.extensions().get::<Claims>())?;
        caller.require(role)?;
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

/// Around everything: where a request may come from, how long it may take, and what an answer tells a browser.
async fn guard(Shared((access, running)): Shared<(Access, Running)>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let accepted = request.headers().get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let is_for_a_person = accepted.is_some_and(|accepted| accepted.contains(HTML));
    let answer = async {
        if let Err(problem) = check_where_from(&access, &request) {
            return problem.into_response();
        }
        next.run(request).await
    };
    let mut response = answer_within(running.time_limit(time_limit(&path)), &path, answer).await;
    if is_for_a_person && let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let page = crate::page::problem::render(&problem).into_string();
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        *response.body_mut() = Body::from(page);
    }
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn time_limit(path: &str) -> Duration {
    match path {
        // An export begins once every letter is known.
        "/api/ingest"
        | "/api/reconcile"
        | "/api/audit/verify"
        | "/api/audit/proof"
        | "/api/rebuild/compare"
        | "/api/dead-letters/export" => INGEST_TIME_LIMIT,
        _ if path.starts_with("/2015-03-31/functions/") => INVOKE_TIME_LIMIT,
        _ => TIME_LIMIT,
    }
}

/// The answer, or the problem that there is none: it panicked, or took too long.
async fn answer_within(limit: Duration, path: &str, answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(path, "a handler panicked");
            Problem::new(Kind::INTERNAL, "this is a defect; the log has its place. Other requests go on")
                .into_response()
        }
        Err(_) => {
            let detail = format!("no answer within {limit:?}; GET /health tells which part is slow");
            Problem::new(Kind::TIMED_OUT, detail).into_response()
        }
    }
}

/// Nothing from elsewhere, nothing inline, no frame. `same-origin` as referrer policy, because under `no-referrer` a
/// browser sends a form's origin as `null`.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The parameters of a path, refused with a problem where they cannot be read.
struct At<T>(T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(at) =
            Path::from_request_parts(parts, app).await.map_err(|error| Problem::bad_request(tell(&error)))?;
        Ok(Self(at))
    }
}

/// What is wrong with a path, in the words of whoever wrote it.
fn tell(error: &PathRejection) -> String {
    let PathRejection::FailedToDeserializePathParams(error) = error else {
        return "the path cannot be read; GET /openapi.json lists every one".to_owned();
    };
    match error.kind() {
        ErrorKind::ParseErrorAtKey { value, .. }
        | ErrorKind::ParseErrorAtIndex { value, .. }
        | ErrorKind::ParseError { value, .. } => {
            format!(
                "{value:?} is no whole number that a log has: partitions go to {}, offsets to {}",
                i32::MAX,
                i64::MAX
            )
        }
        ErrorKind::InvalidUtf8InPathParam { key } => format!("the {key} in the path is no UTF-8: encode it once more"),
        _ => "the path cannot be read; GET /openapi.json lists every one".to_owned(),
    }
}

/// How many things an answer lists, by the parameter `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub(super) usize);

/// The most that an answer lists, and how many it lists where nobody says.
const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.map(Self).ok_or_else(|| {
            D::Error::custom(format_args!("limit is {text:?}, and goes from 1 to {LIMIT_MAX}; ask again for the rest"))
        })
    }
}

/// Reads a query string; an unknown parameter is an error, since a misspelt one would silently not filter.
fn read_query<T: DeserializeOwned>(request: &axum::http::Uri) -> Result<T, Problem> {
    serde_urlencoded::from_str(request.query().unwrap_or_default()).map_err(|error| {
        // The library speaks of its own fields and digits.
        let told = error.to_string().replacen("field `", "parameter `", 1);
        let is_no_number = told.starts_with("invalid digit") || told.starts_with("number too");
        let told = if is_no_number { "a parameter that is a number is none".to_owned() } else { told };
        Problem::bad_request(format!("{told}; GET /openapi.json lists the parameters"))
    })
}

/// A table as an answer that a browser puts into a file.
fn csv_file(name: &str, table: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}.csv\"");
    ([(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, disposition)], table).into_response()
}

/// JSON bytes as an answer.
fn json_bytes(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, JSON)], body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_answered_with_a_problem() {
        let response = answer_within(Duration::from_millis(1), "/", std::future::pending()).await;
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
