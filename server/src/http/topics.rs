//! `GET /api/topics` and the records of a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lyceum_core::ports::event_log::{EventLog, OffsetRange};
use lyceum_core::record::{Header, Position, Record};
use lyceum_xapi::utc_time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{At, Limit, read_query};
use crate::access::Caller;
use crate::consumers::Consumers;
use crate::problem::{Kind, Problem};

/// How many bytes of each partition one answer holds.
const FETCH_BYTES: usize = 1 << 20;

pub(super) async fn list(
    State(log): State<Arc<dyn EventLog>>,
    State(consumers): State<Arc<dyn Consumers>>,
    _: Caller,
) -> Result<Json<Value>, Problem> {
    let consumers = consumers.status().await?;
    let mut topics = Vec::new();
    for topic in log.topics().await? {
        let mut readers: Vec<_> = consumers.iter().filter(|consumer| consumer.topic == topic.name).collect();
        // Of several that read a topic, its owner's has the topic's name.
        readers.sort_by_key(|consumer| (consumer.name != topic.name, &consumer.function));
        let mut committed = Vec::new();
        for consumer in &readers {
            committed.push(log.committed(&consumer.group, &topic.name).await?);
        }
        let ranges = log.offsets(&topic.name).await?;
        let partitions = (0..).zip(ranges).map(|(partition, range): (i32, OffsetRange)| {
            let next = |of: &BTreeMap<i32, i64>| of.get(&partition).copied().unwrap_or(range.start).max(range.start);
            // Whoever is furthest behind.
            let lag = committed.iter().map(|of| range.end - next(of)).max();
            json!({"partition": partition, "start": range.start, "end": range.end, "lag": lag})
        });
        let partitions: Vec<Value> = partitions.collect();
        let functions: Vec<&str> = readers.iter().map(|consumer| &*consumer.function).collect();
        topics.push(json!({
            "topic": topic.name,
            "function": functions.first(),
            "functions": functions,
            "partitions": partitions,
        }));
    }
    Ok(Json(json!({ "topics": topics })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    from: Option<String>,
    offsets: Option<String>,
    #[serde(default)]
    limit: Limit,
}

#[derive(Serialize)]
pub(super) struct Records {
    records: Vec<Value>,
    /// Hand it back as `offsets` to go on.
    next: String,
}

pub(super) async fn read(
    State(log): State<Arc<dyn EventLog>>,
    caller: Caller,
    At(topic): At<String>,
    uri: Uri,
) -> Result<Json<Records>, Problem> {
    if caller.tenant.is_some() {
        let detail = "a topic holds events of every tenant: this needs a token for every tenant";
        return Err(Problem::new(Kind::FORBIDDEN_TENANT, detail));
    }
    let query: Query = read_query(&uri)?;
    let log = &*log;
    let ranges = log.offsets(&topic).await?;
    let mut next = match &query.offsets {
        Some(offsets) => read_offsets(offsets)?,
        None => start(log, &topic, &ranges, query.from.as_deref().unwrap_or("beginning")).await?,
    };
    let Limit(limit) = query.limit;
    let mut records = Vec::new();
    for (partition, range) in (0..).zip(&ranges) {
        let offset = next.entry(partition).or_insert(range.start);
        *offset = (*offset).clamp(range.start, range.end);
        let left = limit - records.len();
        if left == 0 || *offset == range.end {
            continue;
        }
        for record in log.fetch(&topic, partition, *offset, left, FETCH_BYTES).await? {
            *offset = record.position.offset + 1;
            records.push(shown(&record));
        }
    }
    let next = next.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect::<Vec<_>>().join(",");
    Ok(Json(Records { records, next }))
}

async fn start(
    log: &dyn EventLog,
    topic: &str,
    ranges: &[OffsetRange],
    from: &str,
) -> Result<BTreeMap<i32, i64>, Problem> {
    let mut offsets = BTreeMap::new();
    for (partition, range) in (0..).zip(ranges) {
        let offset = match from {
            "beginning" => range.start,
            "end" => range.end,
            from => match (from.parse::<i64>(), from.parse::<UtcTime>()) {
                (Ok(offset @ 0..), _) => offset,
                (_, Ok(time)) => log.offset_at(topic, partition, time.as_millis()).await?.unwrap_or(range.end),
                _ => {
                    let detail =
                        format!("{from:?} is no place in a topic: write beginning, end, an RFC 3339 time or an offset");
                    return Err(Problem::bad_request(detail));
                }
            },
        };
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

fn read_offsets(text: &str) -> Result<BTreeMap<i32, i64>, Problem> {
    let pair = |pair: &str| {
        let (partition, offset) = pair.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let offsets: Option<BTreeMap<i32, i64>> = text.split(',').filter(|part| !part.is_empty()).map(pair).collect();
    offsets.ok_or_else(|| {
        Problem::bad_request("offsets are `partition:offset` with commas between: the `next` of an answer")
    })
}

/// A record for people: bytes as text where they are text.
fn shown(record: &Record) -> Value {
    let Position { topic, partition, offset } = &record.position;
    let headers = record.headers.iter().map(|Header { name, value }| json!([name, value.as_deref().map(text)]));
    json!({
        "position": format!("{topic}/{partition}/{offset}"),
        "timestamp": UtcTime::from_millis(record.timestamp_ms),
        "key": record.key.as_deref().map(text),
        "headers": headers.collect::<Vec<_>>(),
        "value": record.value.as_deref().map(|value| serde_json::from_slice(value).unwrap_or_else(|_| text(value))),
    })
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": BASE64.encode(bytes) }),
    }
}
