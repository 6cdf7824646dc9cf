//! A made-up load on its way to a process, and how its events came out there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lyceum_generate::{Broken, Events, Letters, Made, Mark};
use serde_json::{Value, json};

use crate::workplace::Server;

/// So many events, or bytes of one topic's, are published in one request.
const REQUEST_EVENTS: usize = 500;
const REQUEST_BYTES: usize = 2 << 20;

/// Publishes events part by part, those of a topic in their order; nobody waits until they are settled.
#[derive(Debug, Default)]
pub struct Requests {
    topics: BTreeMap<&'static str, String>,
    waiting: usize,
}

impl Requests {
    /// Adds an event, and sends what waits where that is enough.
    pub async fn add(&mut self, made: &Made, server: &Server) {
        let body = self.topics.entry(made.topic).or_default();
        write_event(made, body);
        self.waiting += 1;
        if self.waiting >= REQUEST_EVENTS || body.len() >= REQUEST_BYTES {
            self.flush(server).await;
        }
    }

    /// Sends what waits; when it returns, each event is in the log once.
    pub async fn flush(&mut self, server: &Server) {
        self.waiting = 0;
        for (topic, body) in std::mem::take(&mut self.topics) {
            let (status, answer) = server.post_text(&format!("/events/{topic}"), format!("[{body}]")).await;
            assert_eq!(status, 202, "{topic}: {answer}");
        }
    }
}

/// Writes it as `POST /events/{topic}` reads it.
fn write_event(made: &Made, body: &mut String) {
    let comma = if body.is_empty() { "" } else { "," };
    let headers = json!(made.headers);
    let _ = write!(body, r#"{comma}{{"key":{},"headers":{headers},"value":"#, json!(made.key));
    let text = made.value.as_deref().map(std::str::from_utf8);
    match (&made.value, text) {
        (None, _) => body.push_str("null"),
        // What is an object is taken for its bytes as they are; anything else might be read as something.
        (Some(_), Some(Ok(text))) if text.starts_with('{') && made.mark != Mark::Broken(Broken::Undecodable) => {
            body.push_str(text);
        }
        (Some(value), _) => {
            let _ = write!(body, r#"{{"base64":"{}"}}"#, BASE64.encode(value));
        }
    }
    body.push('}');
}

/// How many records are not settled.
pub async fn lag(server: &Server) -> i64 {
    let (status, answer) = server.get("/events/status", None).await;
    assert_eq!(status, 200, "{answer}");
    answer["lag"].as_i64().expect("it is a number")
}

/// The ends of all topics.
async fn ends(server: &Server) -> Value {
    let (status, answer) = server.get("/api/topics", None).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until every record is settled, and what follows from it, too.
pub async fn settle(server: &Server, patience: Duration) {
    let mut last = (i64::MAX, Instant::now());
    loop {
        let before = ends(server).await;
        let lag = lag(server).await;
        if lag == 0 && before == ends(server).await {
            return;
        }
        if lag != last.0 {
            last = (lag, Instant::now());
        }
        assert!(last.1.elapsed() < patience, "{lag} records are not settled, and none was for {patience:?}: {before}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A line of `/metrics`: its name, its labels, its number.
pub type Line = (String, BTreeMap<String, String>, f64);

/// What `/metrics` says.
pub async fn metrics(server: &Server) -> Vec<Line> {
    let text = server.get_text("/metrics").await;
    text.lines().filter(|line| !line.starts_with('#')).filter_map(read_line).collect()
}

fn read_line(line: &str) -> Option<Line> {
    let (name, rest) = line.split_once('{')?;
    let (labels, number) = rest.split_once("} ")?;
    let label = |of: &str| {
        let (name, text) = of.split_once("=\"")?;
        Some((name.to_owned(), text.strip_suffix('"')?.to_owned()))
    };
    // Of a bucket there may be an exemplar behind its number.
    let number = number.split_whitespace().next()?;
    Some((name.to_owned(), labels.split(',').filter_map(label).collect(), number.parse().ok()?))
}

/// What metrics say of the families' own subscriptions.
pub async fn came_out(server: &Server) -> (Events, Letters) {
    let families: Vec<&str> = lyceum_functions::REGISTRY.iter().map(|of| of.subscription.name).collect();
    let (mut events, mut letters) = (Events::new(), Letters::new());
    for (name, labels, count) in metrics(server).await {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        if !families.contains(&&*label("family")) {
            continue;
        }
        match &*name {
            "lyceum_events_total" => {
                events.insert([label("family"), label("event_type"), label("outcome")], count as u64);
            }
            "lyceum_dead_letters_total" => {
                letters.insert([label("family"), label("kind")], count as u64);
            }
            _ => {}
        }
    }
    (events, letters)
}
