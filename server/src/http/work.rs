//! `POST /api/ingest` and the invoke endpoint of AWS Lambda: work that a command hands to the running process.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_core::envelope::{OWN_HEADERS, own_header};
use lyceum_core::record::{Header, NewRecord};
use serde::{Deserialize, Deserializer, Serialize};

use super::body::{Events, read_aside, read_headers, work_aside};
use super::events::{Room, claim_for_tenant};
use super::state::Query;
use super::{At, PUBLISH_LIMIT_BYTES, json_bytes, read_body, read_query};
use crate::access::Caller;
use crate::consumers::Consumers;
use crate::dead_letters::letters::DeadLetters;
use crate::problem::{Kind, Problem};
use crate::work::{Prepared, Summary, Work};

/// A part of an ingestion is at most so large: a thousand events, each byte of them base64.
const INGEST_LIMIT_BYTES: usize = 4 * PUBLISH_LIMIT_BYTES;

/// An event on its way from a command to the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct PreparedEvent {
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Base64: an event may be any bytes. Null is a tombstone.
    #[serde(deserialize_with = "read_value")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "read_headers")]
    headers: Vec<(String, String)>,
}

impl From<Prepared> for PreparedEvent {
    fn from(Prepared { topic, record }: Prepared) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            topic,
            key: record.key.as_deref().map(text),
            value: record.value.map(|value| BASE64.encode(value)),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.clone(), text(header.value.as_deref().unwrap_or_default())))
                .collect(),
        }
    }
}

impl PreparedEvent {
    fn prepared(self) -> Result<Prepared, Problem> {
        let value = self.value.map(|value| BASE64.decode(value)).transpose();
        let value = value.map_err(|error| Problem::bad_request(format!("an event's value is no base64: {error}")))?;
        if let Some(name) = own_header(self.headers.iter().map(|(name, _)| &**name)) {
            let detail = format!("headers that begin with {OWN_HEADERS} are Lyceum's own; leave {name:?} out");
            return Err(Problem::bad_request(detail));
        }
        let record = NewRecord {
            key: self.key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: self.headers.into_iter().map(|(name, value)| Header::new(name, value)).collect(),
            ..NewRecord::default()
        };
        Ok(Prepared { topic: self.topic, record })
    }
}

/// A value that must be there, though it may be null.
fn read_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    events: Events<PreparedEvent>,
}

pub(super) async fn ingest(
    State(work): State<Arc<dyn Work>>,
    State(dead_letters): State<Arc<dyn DeadLetters>>,
    State(room): State<Room>,
    caller: Caller,
    uri: Uri,
    body: Body,
) -> Result<Json<Summary>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    // Before anything of it is read: whoever floods costs little.
    room.reserve(&caller, 1).await?;
    let body = read_body(&caller, body, INGEST_LIMIT_BYTES).await?;
    let own = tenant.clone();
    let events = read_aside(&caller, body, move |body| {
        let request: Request = serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}; use `lyceum ingest`")))?;
        let events = request.events.these()?.into_iter().map(PreparedEvent::prepared);
        let mut events = events.collect::<Result<Vec<_>, _>>()?;
        if let Some(tenant) = own {
            events.iter_mut().try_for_each(|event| claim_for_tenant(&mut event.record, &tenant))?;
        }
        Ok(events)
    });
    let events = events.await?;
    let reserved = room.reserve(&caller, events.len()).await?;
    let mut summary = work.ingest(events).await?;
    // They are settled, or will not be.
    drop(reserved);
    // A hint, whose absence takes nothing from what was done.
    if let Err(error) = summary.look_up_refused(&*dead_letters, tenant.as_deref()).await {
        tracing::warn!(%error, "it cannot be looked up which events were refused before");
    }
    // A share of what all tenants consumed tells how much that was.
    summary.capacity = summary.capacity.filter(|_| caller.tenant.is_none());
    Ok(Json(summary))
}

pub(super) async fn invoke(
    State(work): State<Arc<dyn Work>>,
    State(consumers): State<Arc<dyn Consumers>>,
    caller: Caller,
    At(function): At<String>,
    body: Body,
) -> Result<Response, Problem> {
    if caller.tenant.is_some() {
        let detail = "a batch may hold events of any tenant: this needs a token for every tenant";
        return Err(Problem::new(Kind::FORBIDDEN_TENANT, detail));
    }
    let payload = read_body(&caller, body, PUBLISH_LIMIT_BYTES).await?;
    let called = function.clone();
    let answer = work_aside(&caller, payload.len(), async move { work.invoke(&called, payload).await });
    match answer.await?? {
        Some(answer) => Ok(json_bytes(answer)),
        None => {
            let consumers = consumers.status().await?;
            let names: BTreeSet<&str> = consumers.iter().map(|consumer| consumer.function.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            Err(Problem::not_found(format!("there is no function {function:?}; there are {names}")))
        }
    }
}
