//! `GET /openapi.json`: the table of routes as an OpenAPI 3.1 document.
//!
//! Paths, roles and parameters are those of the table; what a route takes and answers is named in `operations.json` and
//! written out in `schemas.json`. Tests hold both to the routes and to what a running process answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lyceum_core::catalog::Catalog;
use lyceum_core::outcome::DeadLetterKind;
use serde_json::{Map, Value, json};

use super::{JSON, LIMIT_DEFAULT, LIMIT_MAX, ROUTES, Route, Running};
use crate::access::Access;
use crate::dead_letters::letters::LetterState;
use crate::live::history::Reach;
use crate::problem::Kind;

/// What each route takes and answers, by method and path.
const OPERATIONS: &str = include_str!("operations.json");
/// The forms of bodies and answers. `@kinds`, `@topics` and `@problems` stand for names that the code has.
const SCHEMAS: &str = include_str!("schemas.json");

const TAGS: [(&str, &str); 8] = [
    ("Events", "Sending events, and looking at the records of topics"),
    ("Analytics", "Numbers over stored statements"),
    ("State", "What is kept of one program, session, booking …, and single statements"),
    ("Dead letters", "What can never succeed, why, and sending it again"),
    ("Replay", "What stands on topics is read once more: for its topic, one subscriber, another topic, or files"),
    ("Operation", "How the process is, and what other parts of Lyceum ask of it"),
    ("Pages", "For people with a browser"),
    ("Other", "What has no description of its own"),
];

pub(super) async fn show(
    State(access): State<Access>,
    State(catalog): State<Arc<Catalog>>,
    State(running): State<Running>,
) -> Result<Json<Value>, crate::problem::Problem> {
    let broken = |error: serde_json::Error| crate::problem::Problem::new(Kind::INTERNAL, error.to_string());
    describe(&access, &catalog, running).map(Json).map_err(broken)
}

fn describe(access: &Access, catalog: &Catalog, running: Running) -> serde_json::Result<Value> {
    let operations: Map<String, Value> = serde_json::from_str(OPERATIONS)?;
    let mut paths = Map::new();
    for route in ROUTES.iter().filter(|route| running.offers(route)) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        let known = operations.get(&format!("{} {}", route.method, route.path));
        path[route.method.to_ascii_lowercase()] = describe_route(route, known, access, catalog);
    }
    let who = match access.is_open() {
        true => {
            "This process has no tokens: it serves this machine only, asks for no credential and shows every tenant."
        }
        false => "A token gives a tenant and roles; `x-role` names the one that an operation needs.",
    };
    let tags: Vec<Value> =
        TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lyceum",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("Processes the events of learning platforms. {who}"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "For browsers: any user name, the token as password"},
            },
            "schemas": schemas(catalog)?,
            "responses": problems(),
        },
    }))
}

/// The schemas, with the names that the code has in their places.
fn schemas(catalog: &Catalog) -> serde_json::Result<Value> {
    let kinds = DeadLetterKind::ALL.map(DeadLetterKind::name);
    let problems: Vec<_> = Kind::ALL.iter().map(|kind| format!("urn:problem-type:lyceum:{}", kind.slug)).collect();
    let topics: Vec<_> = catalog.families().iter().flat_map(|family| family.topics).map(|topic| topic.name).collect();
    let states = LetterState::ALL.map(LetterState::name);
    let text = SCHEMAS.replace(r#"["@kinds"]"#, &serde_json::to_string(&kinds)?);
    let text = text.replace(r#"["@states"]"#, &serde_json::to_string(&states)?);
    let text = text.replace(r#"["@topics"]"#, &serde_json::to_string(&topics)?);
    serde_json::from_str(&text.replace(r#"["@problems"]"#, &serde_json::to_string(&problems)?))
}

/// A response for each status that a problem has.
fn problems() -> Map<String, Value> {
    let mut responses = Map::new();
    for kind in Kind::ALL {
        let kinds: Vec<&Kind> = Kind::ALL.iter().filter(|other| other.status == kind.status).collect();
        let example = |kind: &&Kind| {
            let status = kind.status.as_u16();
            let value = json!({
                "type": format!("urn:problem-type:lyceum:{}", kind.slug), "title": kind.title, "status": status,
                "detail": "What happened, and what to do",
            });
            (kind.slug.to_owned(), json!({ "value": value }))
        };
        let mut response = json!({
            "description": kinds.iter().map(|kind| kind.title).collect::<Vec<_>>().join("; or: "),
            "content": {"application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": kinds.iter().map(example).collect::<Map<_, _>>(),
            }},
        });
        let header = |description: &str| json!({"description": description, "schema": {"type": "string"}});
        match kind.status {
            StatusCode::UNAUTHORIZED => {
                response["headers"] = json!({"WWW-Authenticate": header("How to authenticate")});
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                response["headers"] = json!({"Retry-After": header("After so many seconds the same may work")});
            }
            _ => {}
        }
        responses.insert(name_of(kind.status), response);
    }
    responses
}

/// The name of a status among the components: `NotFound`.
fn name_of(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

fn describe_route(route: &Route, known: Option<&Value>, access: &Access, catalog: &Catalog) -> Value {
    let known = |member: &str| known.and_then(|known| known.get(member));
    let text = |member: &str| known(member).and_then(Value::as_str);
    let schema = |name: Option<&str>| match name {
        Some(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        None => json!({}),
    };
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path: Vec<&str> = in_path.collect();
    let of_path = in_path.iter().map(|name| {
        json!({"name": name, "in": "path", "required": true, "schema": schema_in_path(name, route.path, catalog)})
    });
    let of_query = route.query.iter().map(
        |(name, meaning)| json!({"name": name, "in": "query", "description": meaning, "schema": schema_in_query(name, route.path, catalog)}),
    );
    let status = if route.path == "/events/{topic}" { StatusCode::ACCEPTED } else { StatusCode::OK };
    let answer = match route.answer {
        JSON => schema(text("answer")),
        _ => json!({"type": "string"}),
    };
    let mut responses = Map::new();
    let mut refer = |status: StatusCode| {
        let response = json!({"$ref": format!("#/components/responses/{}", name_of(status))});
        responses.insert(status.as_str().to_owned(), response);
    };
    errors(route, !in_path.is_empty(), access).for_each(&mut refer);
    let good = json!({"description": "As asked", "content": {route.answer: {"schema": answer}}});
    if route.path == "/health" {
        let mut bad = good.clone();
        bad["description"] = json!("Records cannot be processed: an event log or a ledger does not answer");
        responses.insert("503".to_owned(), bad);
    }
    if route.path == "/health/ready" {
        let mut bad = good.clone();
        bad["description"] = json!("It does not read its topics");
        responses.insert("503".to_owned(), bad);
    }
    if route.path == "/search" {
        let header = json!({"Location": {"schema": {"type": "string"}}});
        responses.insert("303".to_owned(), json!({"description": "To what alone has that name", "headers": header}));
    }
    let is_of_replays = route.path == "/events/replay" || route.path.starts_with("/api/replays/");
    if matches!(route.path, "/api/dead-letters/replay" | "/api/dead-letters/discard")
        || is_of_replays && route.method == "POST"
    {
        let header = json!({"Location": {"schema": {"type": "string"}}});
        let back = json!({"description": "To the page whose form was sent", "headers": header});
        responses.insert("303".to_owned(), back);
    }
    responses.insert(status.as_str().to_owned(), good);
    let fallback = || format!("{}{}", route.method, route.path.replace(|c: char| !c.is_alphanumeric(), "_"));
    let mut operation = json!({
        "operationId": text("operationId").map_or_else(fallback, str::to_owned),
        "tags": [text("tag").unwrap_or("Other")],
        "summary": route.summary,
        "parameters": of_path.chain(of_query).collect::<Vec<_>>(),
        "responses": responses,
        "security": [],
    });
    if let Some(role) = route.needs {
        operation["x-role"] = json!(role.name());
        if !access.is_open() {
            operation["security"] = json!([{"bearer": []}, {"basic": []}]);
        }
    }
    if route.method == "POST" {
        let mut body = json!({"schema": schema(text("body"))});
        if let Some(example) = known("example") {
            body["example"] = example.clone();
        }
        let content = match text("form") {
            Some(form) => json!({"application/x-www-form-urlencoded": {"schema": schema(Some(form))}}),
            None => json!({JSON: body}),
        };
        // What a path says already needs no body.
        if text("body").is_some() || text("form").is_some() || !route.path.starts_with("/api/replays/") {
            operation["requestBody"] = json!({"required": true, "content": content});
        }
    }
    operation
}

/// The statuses of the problems that a route may answer with.
fn errors(route: &Route, has_place: bool, access: &Access) -> impl Iterator<Item = StatusCode> {
    let takes_body = route.method == "POST";
    let asks_stores = !matches!(
        route.path,
        "/health" | "/health/live" | "/health/ready" | "/openapi.json" | "/asyncapi.json" | "/assets/{file}"
    );
    let asks_for_token = route.needs.is_some() && !access.is_open();
    let all = [
        (StatusCode::BAD_REQUEST, true),
        (StatusCode::UNAUTHORIZED, asks_for_token),
        (StatusCode::FORBIDDEN, true),
        (StatusCode::NOT_FOUND, has_place || takes_body),
        (
            StatusCode::CONFLICT,
            takes_body && (route.path == "/events/replay" || route.path.starts_with("/api/replays/")),
        ),
        (StatusCode::PAYLOAD_TOO_LARGE, takes_body),
        (StatusCode::TOO_MANY_REQUESTS, asks_for_token),
        (StatusCode::INTERNAL_SERVER_ERROR, true),
        (StatusCode::SERVICE_UNAVAILABLE, asks_stores),
        (StatusCode::GATEWAY_TIMEOUT, true),
    ];
    all.into_iter().filter_map(|(status, may_be)| may_be.then_some(status))
}

/// See [`crate::segment::segment`].
const DOTS: &str = "Of the id . or .. write ~. or ~.. (and of ~. write ~~.), since programs leave dots out of paths";

fn schema_in_path(name: &str, path: &str, catalog: &Catalog) -> Value {
    match (name, path) {
        ("partition", _) => json!({"type": "integer", "format": "int32", "minimum": 0, "maximum": i32::MAX}),
        ("offset", _) => json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX}),
        ("event", _) => {
            let names: Vec<_> = catalog.event_types().map(|(_, of)| of.name).collect();
            json!({"type": "string", "minLength": 1, "examples": names})
        }
        ("kind", _) => json!({"type": "string", "enum": catalog.kinds().collect::<Vec<_>>()}),
        ("replay", _) => json!({"type": "string", "format": "uuid"}),
        ("id", "/api/statements/{id}" | "/statements/{id}") => json!({"type": "string", "format": "uuid"}),
        ("topic", "/events/{topic}") => {
            let topics = catalog.families().iter().flat_map(|family| family.topics).map(|topic| topic.name);
            json!({"type": "string", "minLength": 1, "examples": topics.collect::<Vec<_>>()})
        }
        ("survey_id", _) => {
            let examples = ["pulse", "http://nlj.platform/activities/survey/pulse"];
            json!({"type": "string", "minLength": 1, "examples": examples, "description": DOTS})
        }
        ("learner_id", _) => {
            let examples = ["ada@academy.example", "account:http://nlj.platform/users|u-2041"];
            json!({"type": "string", "minLength": 1, "examples": examples, "description": DOTS})
        }
        ("id", _) => json!({"type": "string", "minLength": 1, "description": DOTS}),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

/// An empty value, as a form sends it, is none.
fn or_left_out(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "maxLength": 0, "description": "As if it were left out"}]})
}

fn schema_in_query(name: &str, path: &str, catalog: &Catalog) -> Value {
    match name {
        "limit" if path == "/api/dead-letters/export" => json!({"type": "integer", "minimum": 1}),
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
        "kind" if path.contains("/audit") => or_left_out(
            &json!({"type": "string", "enum": lyceum_core::audit::entry::Kind::ALL.map(|kind| kind.name())}),
        ),
        "kind" => or_left_out(&json!({"$ref": "#/components/schemas/DeadLetterKind"})),
        "from" if path.starts_with("/api/topics/") => json!({"anyOf": [
            {"type": "string", "enum": ["beginning", "end"], "default": "beginning"},
            {"type": "string", "format": "date-time"},
            {"type": "integer", "format": "int64", "minimum": 0, "description": "An offset in each partition"},
        ]}),
        "from" | "to" | "since" | "until" => json!({"anyOf": [
            {"type": "string", "format": "date", "examples": ["2026-03-02"]},
            {"type": "string", "format": "date-time", "examples": ["2026-03-02T08:15:00Z"]},
            {"type": "string", "maxLength": 0, "description": "As if it were left out"},
        ]}),
        "family" => {
            let names: Vec<_> = catalog.families().iter().map(|family| family.name).collect();
            or_left_out(&json!({"type": "string", "enum": names}))
        }
        "topic" if path.contains("/validation") => {
            let topics = catalog.families().iter().flat_map(|family| family.topics).map(|topic| topic.name);
            or_left_out(&json!({"type": "string", "enum": topics.collect::<Vec<_>>()}))
        }
        "state" => or_left_out(&json!({"$ref": "#/components/schemas/LetterState"})),
        "severity" => or_left_out(&json!({"$ref": "#/components/schemas/Severity"})),
        "cause" => or_left_out(&json!({"$ref": "#/components/schemas/AlertCause"})),
        "cursor" if path.contains("/audit") || path.contains("/security") => json!({"type": "string"}),
        "cursor" => json!({"type": "string", "pattern": "^([0-9-]+@.+)?$"}),
        "reach" => or_left_out(&json!({"type": "string", "enum": Reach::ALL.map(Reach::name)})),
        "days" => json!({"type": "integer", "enum": crate::page::learning::DAYS}),
        "dry_run" => json!({"type": "boolean", "default": false}),
        "scale" => json!({"type": "string", "examples": ["0..10"]}),
        "offsets" => {
            json!({"type": "string", "pattern": "^([0-9]+:[0-9]+(,[0-9]+:[0-9]+)*)?$", "examples": ["0:17,1:4"]})
        }
        _ => json!({"type": "string"}),
    }
}
