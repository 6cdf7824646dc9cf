//! A collector of spans, as far as a test needs one: OTLP over HTTP.
//!
//! Source: OpenTelemetry specification, "OTLP/HTTP".

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use serde_json::{Value, json};

use crate::requests::read_request;

/// Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes it.
    Takes,
    /// It answers 503.
    Refuses,
    /// It never answers.
    IsSilent,
}

/// One span, with its ids in hexadecimal digits.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of its parent; empty where it has none.
    pub parent: String,
    /// OpenTelemetry's number of its kind: 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Trace and span of each that it is linked to.
    pub links: Vec<(String, String)>,
    /// Whether it failed, and how.
    pub error: Option<String>,
    /// What is said of the process.
    pub resource: BTreeMap<String, Value>,
}

/// The collector. Its threads last as long as the test's process.
#[derive(Debug)]
pub struct Collector {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    heads: Vec<String>,
    spans: Vec<Span>,
    /// What must be in the head of a request; whatever lacks it is answered with 401.
    asks_for: Option<String>,
}

impl Collector {
    /// Listens.
    ///
    /// # Panics
    /// Where no port is free.
    pub fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let taken = Arc::<Mutex<Taken>>::default();
        let of_threads = taken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                lock(&of_threads).connections += 1;
                let taken = of_threads.clone();
                thread::spawn(move || serve(stream, mood, &taken));
            }
        });
        Self { url, taken }
    }

    /// From now on it takes only what shows it this header, `name: value`.
    pub fn ask_for(&self, header: &str) {
        lock(&self.taken).asks_for = Some(header.to_lowercase());
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.taken).spans.clone()
    }

    /// The heads of the requests that came so far.
    pub fn heads(&self) -> Vec<String> {
        lock(&self.taken).heads.clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        lock(&self.taken).connections
    }

    /// The first span that is so, once it is there.
    ///
    /// # Panics
    /// Where none comes.
    pub fn wait_for(&self, is_it: impl Fn(&Span) -> bool) -> Span {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            if let Some(found) = spans.iter().find(|span| is_it(span)) {
                return found.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "no such span among {spans:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, mood: Mood, taken: &Mutex<Taken>) -> Option<()> {
    let (head, body) = read_request(&mut BufReader::new(stream.try_clone().ok()?))?;
    let asks_for = lock(taken).asks_for.clone();
    let is_shown = asks_for.is_none_or(|header| head.to_lowercase().lines().any(|line| line == header));
    lock(taken).heads.push(head);
    let status = match mood {
        Mood::Takes if !is_shown => "401 Unauthorized",
        Mood::Takes => {
            let request = ExportTraceServiceRequest::decode(&*body).expect("it is OTLP");
            lock(taken).spans.extend(spans(request));
            "200 OK"
        }
        Mood::Refuses => "503 Service Unavailable",
        Mood::IsSilent => loop {
            thread::sleep(PATIENCE);
        },
    };
    let rest = "Content-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    write!(stream, "HTTP/1.1 {status}\r\n{rest}").ok()
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.map(|of| of.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|of| of.spans) {
            spans.push(Span {
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind,
                attributes: attributes(span.attributes),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                // 2 is the code of an error.
                error: span.status.filter(|status| status.code == 2).map(|status| status.message),
                resource: resource.clone(),
            });
        }
    }
    spans
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let value = |value: Option<AnyValue>| match value.and_then(|of| of.value) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::BoolValue(is)) => json!(is),
        Some(Any::DoubleValue(number)) => json!(number),
        other => panic!("a value that no span of ours has: {other:?}"),
    };
    pairs.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
