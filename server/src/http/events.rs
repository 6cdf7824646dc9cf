//! `POST /events/{topic}` and `GET /events/status`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_core::capacity::Capacity;
use lyceum_core::catalog::Catalog;
use lyceum_core::envelope::{OWN_HEADERS, TENANT_GIVEN_HEADER, TENANT_HEADER, own_header};
use lyceum_core::formats::has_member;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::event_log::{EventLog, EventLogError};
use lyceum_core::record::{Header, NewRecord, Position};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{EVENTS, Events, read_aside, read_headers};
use super::state::Query;
use super::{At, PUBLISH_LIMIT_BYTES, read_body, read_query};
use crate::access::Caller;
use crate::consumers::{ConsumerStatus, Consumers};
use crate::live::{Live, Totals, format_time};
use crate::problem::{Kind, Problem};
use crate::questions::Keys;
use crate::replay::{Runner, Shown};
use crate::shares::{Ahead, Reserved};

#[derive(Serialize)]
pub(super) struct StatusReport {
    timestamp: String,
    mappings: Vec<ConsumerStatus>,
    lag: i64,
    events_per_second: f64,
    success_rate: Option<f64>,
    totals: Totals,
    /// Those that run.
    replays: Vec<Shown>,
    /// Capacity units of DynamoDB since the start of the process, and what an event of each family cost; over all tenants,
    /// so that a caller that sees one is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<Capacity>,
}

pub(super) async fn show_status(
    State(consumers): State<Arc<dyn Consumers>>,
    State(live): State<Arc<Live>>,
    State(metrics): State<Arc<Metrics>>,
    State(runner): State<Arc<Runner>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<StatusReport>, Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    let mappings = consumers_for(&*consumers, &caller).await?;
    let snapshot = live.snapshot(tenant.as_deref());
    Ok(Json(StatusReport {
        timestamp: format_time(snapshot.at_ms),
        lag: mappings.iter().map(ConsumerStatus::lag).sum(),
        mappings,
        events_per_second: snapshot.events_per_second(),
        success_rate: snapshot.totals.success_rate(),
        totals: snapshot.totals,
        replays: runner.running(tenant.as_deref()).await?,
        capacity: caller.tenant.is_none().then(|| metrics.capacity()),
    }))
}

/// The consumers as the caller may see them: how far they are concerns everybody, what they worked on does not.
pub(super) async fn consumers_for(consumers: &dyn Consumers, caller: &Caller) -> Result<Vec<ConsumerStatus>, Problem> {
    let mut consumers = consumers.status().await?;
    if caller.tenant.is_some() {
        consumers.iter_mut().for_each(|consumer| consumer.work = None);
    }
    Ok(consumers)
}

#[derive(Serialize)]
pub(super) struct Published {
    positions: Vec<Position>,
}

pub(super) async fn publish(
    State(publishing): State<Publishing>,
    caller: Caller,
    At(topic): At<String>,
    uri: Uri,
    body: Body,
) -> Result<(StatusCode, Json<Published>), Problem> {
    let query: Query = read_query(&uri)?;
    let tenant = caller.scope(query.tenant.as_deref())?;
    if publishing.catalog.dead_letter_topics().contains(&topic.as_str()) {
        let detail = format!(
            "{topic} holds dead letters, which Lyceum alone writes: publish to the topic of the event's family \
             (GET /api/topics lists them), or send letters again by POST /api/dead-letters/replay"
        );
        return Err(Problem::bad_request(detail));
    }
    // Before anything of it is read: whoever floods costs little.
    publishing.room.reserve(&caller, 1).await?;
    let body = read_body(&caller, body, PUBLISH_LIMIT_BYTES).await?;
    let positions = publish_these(&publishing, &caller, &topic, tenant, body).await?;
    Ok((StatusCode::ACCEPTED, Json(Published { positions })))
}

/// Publishes what a body holds, one event or an array of them: all or none.
pub(super) async fn publish_these(
    Publishing { log, keys, room, .. }: &Publishing,
    caller: &Caller,
    topic: &str,
    tenant: Option<String>,
    body: Bytes,
) -> Result<Vec<Position>, Problem> {
    let (of_topic, keys) = (topic.to_owned(), keys.clone());
    let records = read_aside(caller, body, move |body| {
        let mut records = read_records(body, &of_topic, &*keys)?;
        if let Some(tenant) = tenant {
            records.iter_mut().try_for_each(|record| claim_for_tenant(record, &tenant))?;
        }
        Ok(records)
    });
    let records = records.await?;
    let reserved = room.reserve(caller, records.len()).await?;
    match log.produce(topic, records).await {
        Ok(positions) => {
            if let Some(reserved) = reserved {
                reserved.published(&positions);
            }
            Ok(positions)
        }
        Err(EventLogError::UnknownTopic(_)) => {
            let names: Vec<_> = log.topics().await?.into_iter().map(|topic| topic.name).collect();
            let detail = format!("there is no topic {topic:?}; there are: {}", names.join(", "));
            Err(Problem::new(Kind::UNKNOWN_TOPIC, detail))
        }
        Err(error) => Err(error.into()),
    }
}

/// What publishing takes.
#[derive(Clone)]
pub(super) struct Publishing {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) keys: Arc<dyn Keys>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) room: Room,
}

/// How far a caller may be ahead of what processes its events.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) ahead: Arc<Ahead>,
    pub(super) consumers: Arc<dyn Consumers>,
}

impl Room {
    /// Room for so many events of a caller's own tenant; a caller of every tenant is an operator, and needs none.
    pub(super) async fn reserve<'a>(
        &'a self,
        caller: &'a Caller,
        events: usize,
    ) -> Result<Option<Reserved<'a>>, Problem> {
        let Some(tenant) = caller.tenant.as_deref() else { return Ok(None) };
        if self.ahead.is_near(tenant, events) {
            self.ahead.settle(tenant, &self.consumers.status().await?);
        }
        let too_many = || {
            let detail = format!(
                "your tenant has as many events under way as it may have ({EVENTS}); none of these was taken: send them again in a second"
            );
            Problem::new(Kind::TOO_MANY, detail)
        };
        self.ahead.reserve(tenant, events).map(Some).ok_or_else(too_many)
    }
}

/// A record with its key or headers beside it, instead of the raw event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dressed<'a> {
    key: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default, deserialize_with = "read_headers")]
    headers: Vec<(String, Option<String>)>,
}

/// One event, or an array of them. The bytes of each are kept as they were sent, as a part of the body.
fn read_records(body: &Bytes, topic: &str, keys: &dyn Keys) -> Result<Vec<NewRecord>, Problem> {
    let not_json = |error: serde_json::Error| {
        Problem::bad_request(format!("the body is no JSON: {error}. Send one event, or an array of events"))
    };
    let items: Vec<&RawValue> = if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice::<Events<_>>(body).map_err(not_json)?.these()?
    } else {
        vec![serde_json::from_slice(body).map_err(not_json)?]
    };
    if items.is_empty() {
        return Err(Problem::bad_request("the array is empty: send at least one event"));
    }
    items.into_iter().enumerate().map(|(index, item)| read_record(index, item, body, topic, keys)).collect()
}

fn read_record(
    index: usize,
    item: &RawValue,
    body: &Bytes,
    topic: &str,
    keys: &dyn Keys,
) -> Result<NewRecord, Problem> {
    // No event format has a member `value` at its top, so that one says which form this is.
    let (key, value, headers) = if has_member(item.get().as_bytes(), |name| name == "value") {
        let dressed: Dressed<'_> = serde_json::from_str(item.get()).map_err(|error| {
            let form = r#"{"key": text or null, "value": any JSON, "headers": {name: text or null}}"#;
            Problem::bad_request(format!("event {index}: {error}. With a value beside it, the form is {form}"))
        })?;
        let value =
            read_value(dressed.value, body).map_err(|why| Problem::bad_request(format!("event {index}: {why}")))?;
        (dressed.key, value, dressed.headers)
    } else {
        (None, Some(body.slice_ref(item.get().as_bytes())), Vec::new())
    };
    if let Some(name) = own_header(headers.iter().map(|(name, _)| &**name)) {
        let detail =
            format!("event {index}: headers that begin with {OWN_HEADERS} are Lyceum's own; leave {name:?} out");
        return Err(Problem::bad_request(detail));
    }
    let key = key.map(Bytes::from).or_else(|| value.as_ref().and_then(|value| keys.key_of(topic, value)));
    let headers = headers.into_iter().map(|(name, value)| Header { name, value: value.map(Bytes::from) }).collect();
    Ok(NewRecord { key, value, headers, ..NewRecord::default() })
}

/// Bytes that are no text, as records are shown with: an event may be in a form that is no JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

/// A JSON text stands for its content, `{"base64": text}` for those bytes, `null` for a tombstone, anything else for itself.
fn read_value(value: &RawValue, body: &Bytes) -> Result<Option<Bytes>, String> {
    let json = value.get();
    if json == "null" {
        return Ok(None);
    }
    if let Ok(text) = serde_json::from_str::<String>(json) {
        return Ok(Some(text.into()));
    }
    Ok(Some(match serde_json::from_str::<Encoded>(json) {
        Ok(Encoded { base64 }) => {
            BASE64.decode(base64).map_err(|error| format!("its value is no base64: {error}"))?.into()
        }
        Err(_) => body.slice_ref(json.as_bytes()),
    }))
}

/// Marks the record as the tenant's; one that says it is another's is refused. However a caller spells the header, one remains, by
/// the name that is read.
pub(super) fn claim_for_tenant(record: &mut NewRecord, tenant: &str) -> Result<(), Problem> {
    let is_claim = |header: &Header| header.name.eq_ignore_ascii_case(TENANT_HEADER);
    let mut claims = record.headers.iter().filter(|header| is_claim(header));
    if !claims.all(|header| header.value.as_deref() == Some(tenant.as_bytes())) {
        let detail =
            format!("you publish for tenant {tenant:?}, and a header {TENANT_HEADER} names another: leave it out");
        return Err(Problem::new(Kind::FORBIDDEN_TENANT, detail));
    }
    record.headers.retain(|header| !is_claim(header));
    record.headers.push(Header::new(TENANT_HEADER, tenant.to_owned()));
    record.headers.push(Header::new(TENANT_GIVEN_HEADER, "true"));
    Ok(())
}
