//! `GET /asyncapi.json`: topics, who reads and writes them, and every event, as whoever runs the process made the document.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use serde_json::{Value, json};

pub(super) async fn show(State(document): State<Arc<Value>>, headers: HeaderMap) -> Json<Value> {
    Json(asked_at(&document, &headers))
}

/// The document with this process at the address by which it was asked.
pub(super) fn asked_at(document: &Value, headers: &HeaderMap) -> Value {
    let mut document = document.clone();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if let (Some(server), Some(host)) = (document.pointer_mut("/servers/http/host"), host) {
        *server = json!(host);
    }
    document
}
