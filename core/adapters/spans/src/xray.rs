//! Spans as X-Ray's segment documents, sent to its daemon by UDP.
//!
//! Source: AWS X-Ray developer guide, "AWS X-Ray segment documents" and "Sending segment documents to the X-Ray daemon".

use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

use lyceum_core::trace::xray_form;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry::{Array, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData};
use serde_json::{Map, Value as Json, json};

/// What the span of a batch has where Lambda called the function.
const FAAS_INVOCATION: &str = "faas.invocation_id";
/// What stands before each document.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";
/// The daemon takes no larger one.
const MOST_BYTES: usize = 64_000;
/// A name has no more characters.
const NAME_CHARS: usize = 200;
/// What traces can be searched by.
const ANNOTATED: [&str; 5] =
    ["lyceum.subscription", "lyceum.outcome", "lyceum.event_type", "messaging.destination.name", "error.type"];

/// The daemon's address, as seen from here.
#[derive(Debug)]
pub(crate) struct Daemon {
    socket: UdpSocket,
    service: String,
}

impl Daemon {
    /// Nothing is sent yet.
    pub(crate) fn new(address: &str, service: &str) -> anyhow::Result<Self> {
        let failed = |error| anyhow::anyhow!("no span can be sent to AWS_XRAY_DAEMON_ADDRESS, {address}: {error}");
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(failed)?;
        socket.connect(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { socket, service: service.to_owned() })
    }

    /// Sends each by itself, and waits for nothing; how many were not taken, and why the last one was not.
    pub(crate) fn send(&self, spans: &[SpanData]) -> Result<(), (usize, String)> {
        let (mut lost, mut why) = (0, String::new());
        for span in spans {
            let text = format!("{HEADER}{}", document(span, &self.service));
            let sent = match text.len() {
                bytes if bytes > MOST_BYTES => Err(format!("a span of {bytes} bytes is too large for the daemon")),
                _ => self.socket.send(text.as_bytes()).map(drop).map_err(|error| format!("the X-Ray daemon: {error}")),
            };
            if let Err(error) = sent {
                lost += 1;
                why = error;
            }
        }
        if lost == 0 { Ok(()) } else { Err((lost, why)) }
    }
}

/// Trace ids as X-Ray wants them: they begin with the time, in seconds.
#[derive(Debug, Default)]
pub(crate) struct TimedIds(RandomIdGenerator);

impl IdGenerator for TimedIds {
    fn new_trace_id(&self) -> TraceId {
        let mut bytes = self.0.new_trace_id().to_bytes();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        bytes[..4].copy_from_slice(&(now as u32).to_be_bytes());
        TraceId::from_bytes(bytes)
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// A span as a segment, where this service is a node of the map by it, else as a subsegment. In Lambda the segment is Lambda's own.
fn document(span: &SpanData, service: &str) -> Json {
    let is_lambdas = span.attributes.iter().any(|of| of.key.as_str() == FAAS_INVOCATION);
    let is_root = span.parent_span_id == SpanId::INVALID;
    let is_segment = !is_lambdas && (is_root || span.parent_span_is_remote);
    let mut document = json!({
        "name": name(if is_segment { service } else { &span.name }),
        "id": span.span_context.span_id().to_string(),
        "trace_id": xray_form(u128::from_be_bytes(span.span_context.trace_id().to_bytes())),
        "start_time": seconds(span.start_time),
        "end_time": seconds(span.end_time),
    });
    if !is_root {
        document["parent_id"] = json!(span.parent_span_id.to_string());
    }
    if !is_segment {
        document["type"] = json!("subsegment");
    }
    let (mut annotations, mut metadata) = (Map::new(), Map::new());
    metadata.insert("span".to_owned(), json!(span.name));
    for of in &span.attributes {
        let value = value(&of.value);
        if ANNOTATED.contains(&of.key.as_str()) {
            // A key of theirs has letters, digits and low lines.
            annotations.insert(of.key.as_str().replace('.', "_"), value.clone());
        }
        metadata.insert(of.key.to_string(), value);
    }
    let links = span.links.iter().map(|link| xray_form(u128::from_be_bytes(link.span_context.trace_id().to_bytes())));
    let links: Vec<String> = links.collect();
    if !links.is_empty() {
        metadata.insert("links".to_owned(), json!(links));
    }
    if !annotations.is_empty() {
        document["annotations"] = Json::Object(annotations);
    }
    if matches!(span.span_kind, SpanKind::Client | SpanKind::Producer) {
        let is_aws = metadata.get("db.system.name").is_some_and(|of| of == "aws.dynamodb");
        document["namespace"] = json!(if is_aws { "aws" } else { "remote" });
    }
    if let Status::Error { description } = &span.status {
        document["fault"] = json!(true);
        let kind = metadata.get("error.type").cloned().unwrap_or_else(|| json!("error"));
        let id = span.span_context.span_id().to_string();
        document["cause"] = json!({"exceptions": [{"id": id, "type": kind, "message": description}]});
    }
    document["metadata"] = json!({"lyceum": metadata});
    document
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// "Names can contain Unicode letters, numbers, and whitespace, and the following symbols: _, ., :, /, %, &, #, =, +, \, -, @".
fn name(text: &str) -> String {
    let taken = |c: char| if c.is_alphanumeric() || " _.:/%&#=+\\-@".contains(c) { c } else { '_' };
    text.chars().take(NAME_CHARS).map(taken).collect()
}

fn value(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::F64(value) => json!(value),
        Value::String(value) => json!(value.as_str()),
        Value::Array(Array::String(values)) => json!(values.iter().map(|of| of.as_str()).collect::<Vec<_>>()),
        other => json!(other.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::*;
    use crate::testing::span;

    #[test]
    fn a_span_whose_parent_is_here_is_a_subsegment_and_any_other_a_segment_of_the_service() {
        let mut root = span(7);
        root.name = "invocation".into();
        let segment = document(&root, "lyceum (local)");
        assert_eq!((&segment["name"], &segment["id"]), (&json!("lyceum _local_"), &json!("0000000000000007")));
        assert_eq!(segment["trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
        assert!(segment["type"].is_null() && segment["parent_id"].is_null(), "{segment}");
        assert_eq!((&segment["start_time"], &segment["end_time"]), (&json!(1.5), &json!(2.25)));

        let mut of_record = span(8);
        (of_record.parent_span_id, of_record.parent_span_is_remote) = (SpanId::from(1), true);
        let segment = document(&of_record, "lyceum");
        assert!(segment["type"].is_null() && segment["parent_id"] == "0000000000000001", "{segment}");

        let mut call = span(9);
        (call.parent_span_id, call.span_kind) = (SpanId::from(7), SpanKind::Client);
        call.name = "ledger commit".into();
        call.attributes =
            vec![KeyValue::new("db.system.name", "aws.dynamodb"), KeyValue::new("error.type", "conflict")];
        call.status = Status::error("somebody was faster");
        let segment = document(&call, "lyceum");
        assert_eq!((&segment["type"], &segment["name"]), (&json!("subsegment"), &json!("ledger commit")));
        assert_eq!((&segment["namespace"], &segment["fault"]), (&json!("aws"), &json!(true)));
        assert_eq!(segment["annotations"]["error_type"], "conflict");
        assert_eq!(segment["cause"]["exceptions"][0]["message"], "somebody was faster");
    }

    #[test]
    fn in_lambda_the_invocation_stands_below_lambdas_own_segment() {
        let mut invocation = span(7);
        (invocation.parent_span_id, invocation.parent_span_is_remote) = (SpanId::from(1), true);
        invocation.attributes = vec![KeyValue::new(FAAS_INVOCATION, "8476a536")];
        assert_eq!(document(&invocation, "lyceum")["type"], "subsegment");
    }

    #[test]
    fn a_trace_that_begins_here_begins_with_the_time() {
        let id = TimedIds::default().new_trace_id();
        let seconds = u32::from_be_bytes(id.to_bytes()[..4].try_into().unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now - u64::from(seconds) < 3_600, "{id}");
    }
}
