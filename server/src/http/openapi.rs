//! `GET /openapi.json`: the table of routes as an OpenAPI 3.1 document.

use axum::Json;
use serde_json::{Map, Value, json};

use super::{ROUTES, Route};
use crate::problem::Kind;

pub(super) async fn show() -> Json<Value> {
    Json(describe())
}

fn describe() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = describe_route(route);
    }
    let types: Vec<_> = Kind::ALL.iter().map(|kind| format!("urn:problem-type:lyceum:{}", kind.slug)).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lyceum",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Processes the events of learning platforms. Without tokens, this machine only is served.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "For browsers: any user name, the token as password"},
            },
            "schemas": {
                "Capacity": describe_capacity(),
                "Problem": {
                    "type": "object",
                    "description": "RFC 9457",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string", "enum": types},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string", "description": "What happened and what to do"},
                    },
                },
            },
            "responses": {
                "Problem": {
                    "description": "What went wrong, and what to do",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        },
    })
}

/// Capacity units, in the answers that tell them.
fn describe_capacity() -> Value {
    let units = |what: &str| json!({"type": "number", "description": what});
    json!({
        "type": "object",
        "description": "Capacity units of DynamoDB, over all tenants; not shown to a caller that sees one",
        "required": ["read_units", "write_units", "families"],
        "properties": {
            "read_units": units("Of all calls"),
            "write_units": units("Of all calls"),
            "families": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["events", "read_units", "write_units"],
                    "properties": {
                        "events": {"type": "integer", "description": "Deliveries that ended, in whatever way"},
                        "read_units": units("For all of them"),
                        "write_units": units("For all of them"),
                        "read_units_per_event": {"type": ["number", "null"], "description": "Null before the first event"},
                        "write_units_per_event": {"type": ["number", "null"], "description": "Null before the first event"},
                    },
                },
            },
        },
    })
}

fn describe_answer(path: &str) -> Value {
    match path {
        "/events/status" | "/api/ingest" => json!({"schema": {
            "type": "object",
            "properties": {"capacity": {"$ref": "#/components/schemas/Capacity"}},
        }}),
        _ => json!({}),
    }
}

fn describe_route(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = route.query.iter().map(
        |(name, meaning)| json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}),
    );
    let status = if route.path == "/events/{topic}" { "202" } else { "200" };
    let mut operation = json!({
        "summary": route.summary,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            status: {"description": "As asked", "content": {route.answer: describe_answer(route.path)}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
        "security": [],
    });
    if let Some(role) = route.needs {
        operation["x-role"] = json!(role.name());
        operation["security"] = json!([{"bearer": []}, {"basic": []}]);
    }
    if route.method == "POST" {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {}}});
    }
    operation
}
