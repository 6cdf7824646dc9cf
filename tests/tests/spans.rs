//! Spans, as a collector or the X-Ray daemon gets them: of `lyceum`, and of a function as Lambda calls it.

use std::net::UdpSocket;
use std::time::Duration;

use lyceum_tests::academy::{answered, video_statements};
use lyceum_tests::otlp::{Collector, Mood, Span};
use lyceum_tests::runtime_api::{Invocation, RuntimeApi, batch};
use lyceum_tests::workplace::{Server, Workplace};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

const SURVEYS: &str = "nlj.survey.responses";
const STATEMENTS: &str = "nlj.xapi.statements";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";
/// The trace of [`XRAY_TRACE`](lyceum_tests::runtime_api::XRAY_TRACE), in both forms, and the segment in it.
const LAMBDAS: (&str, &str) = ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8");
const LAMBDAS_OF_XRAY: &str = "1-5759e988-bd862e3fe1be46a994272793";
const CONSUMER: i32 = 5;
const CLIENT: i32 = 3;

/// An event as it is published, with its trace; all into one partition, so that they are one batch.
fn traced(value: &Value, traceparent: Option<&str>) -> Value {
    let headers = traceparent.map_or_else(|| json!({}), |of| json!({"traceparent": of}));
    json!({"key": "one", "value": value, "headers": headers})
}

/// An answer to a survey, by the participant of that number.
fn answer(number: u128) -> Value {
    answered(&mut StdRng::seed_from_u64(number as u64), "q1", Uuid::from_u128(number), 4)
}

fn traceparent(trace: &str, is_sampled: bool) -> String {
    format!("00-{trace}-{SENDER}-{}", if is_sampled { "01" } else { "00" })
}

async fn publish(server: &Server, topic: &str, events: Value) {
    assert_eq!(server.post(&format!("/events/{topic}"), &events, None).await.0, 202);
}

/// Waits until so many events were applied.
async fn wait_until_applied(server: &Server, number: u64) {
    for _ in 0..6_000 {
        let (_, status) = server.get("/events/status", None).await;
        if status["totals"]["outcomes"]["applied"] == number {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}: {}", server.get("/events/status", None).await, server.running.reported());
}

fn children<'a>(spans: &'a [Span], of: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.parent == of.id && span.trace == of.trace).collect()
}

fn names(spans: &[&Span]) -> Vec<String> {
    let mut names: Vec<String> = spans.iter().map(|span| span.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn a_batch_is_a_span_with_its_steps_and_calls_below_and_each_record_one_below_the_trace_that_it_came_with() {
    let collector = Collector::start(Mood::Takes);
    let workplace = Workplace::new();
    let server = workplace.up(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("WINDOW_SIZE_MS", "1000"),
        // Whose batches are spans, too.
        ("AUDIT", "off"),
    ]);
    // One record: the batch's span stands in its sender's trace.
    publish(&server, SURVEYS, json!([traced(&answer(1), Some(&traceparent(TRACE, true)))])).await;
    wait_until_applied(&server, 1).await;
    // Several: one whose trace is kept, one whose sender dropped its, one without.
    let (kept, dropped) = ("a".repeat(32), "b".repeat(32));
    let several = json!([
        traced(&answer(2), Some(&traceparent(&kept, true))),
        traced(&answer(3), Some(&traceparent(&dropped, false))),
        traced(&answer(4), None),
    ]);
    publish(&server, SURVEYS, several).await;
    wait_until_applied(&server, 4).await;
    server.stop().expect_code(0);

    let spans = collector.spans();
    let one = spans.iter().find(|span| span.name == "invocation" && span.trace == TRACE).expect("its batch");
    assert_eq!((one.parent.as_str(), one.kind, &one.error), (SENDER, CONSUMER, &None));
    for (name, value) in [
        ("messaging.system", json!("kafka")),
        ("messaging.destination.name", json!(SURVEYS)),
        ("messaging.batch.message_count", json!(1)),
        ("messaging.operation.type", json!("process")),
        ("lyceum.subscription", json!("survey")),
        ("lyceum.outcome", json!("applied")),
    ] {
        assert_eq!(one.attributes.get(name), Some(&value), "{name}: {one:#?}");
    }
    assert_eq!(one.resource["service.name"], "lyceum");
    assert_eq!(one.resource["deployment.environment.name"], "test");
    let below = children(&spans, one);
    assert_eq!(names(&below), ["decide", "decode", "ledger commit", "ledger load", "statements store"]);
    let commit = below.iter().find(|span| span.name == "ledger commit").expect("it is among them");
    assert_eq!((commit.kind, &commit.attributes["db.operation.name"]), (CLIENT, &json!("commit")));
    assert_eq!(commit.attributes["db.system.name"], "aws.dynamodb");

    let linked = |span: &Span, trace: &str| span.links.contains(&(trace.to_owned(), SENDER.to_owned()));
    let several: Vec<&Span> = spans.iter().filter(|span| span.name == "invocation" && linked(span, &kept)).collect();
    let [several] = several[..] else { panic!("{spans:#?}") };
    assert!(several.parent.is_empty() && several.trace != kept, "{several:#?}");
    let records: Vec<&Span> = spans.iter().filter(|span| span.name == "process record").collect();
    let [record] = records[..] else { panic!("only one trace of a record is kept: {records:#?}") };
    assert_eq!((record.trace.as_str(), record.parent.as_str(), record.kind), (kept.as_str(), SENDER, CONSUMER));
    assert_eq!(record.links, [(several.trace.clone(), several.id.clone())]);
    assert_eq!(record.attributes["lyceum.event_type"], "survey.answered");

    // Nothing of what mappings and pages ask beside batches.
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    assert_eq!(names(&roots), ["invocation"]);
    let heads = collector.heads();
    assert!(heads.iter().all(|head| head.starts_with("POST /v1/traces ")), "{heads:?}");
    assert!(heads.iter().all(|head| head.to_lowercase().contains("api-key: a secret")), "{heads:?}");
}

#[tokio::test]
async fn what_ends_badly_is_an_error_and_a_sampler_keeps_no_more_than_it_is_told_to() {
    let collector = Collector::start(Mood::Takes);
    let workplace = Workplace::new();
    let server = workplace.up(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/own/path", collector.url)),
        ("OTEL_SERVICE_NAME", "of-a-test"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ]);
    publish(&server, STATEMENTS, json!([video_statements(1, 1)[0]])).await;
    wait_until_applied(&server, 1).await;
    let wrong = json!({"no": "statement"});
    publish(&server, STATEMENTS, json!([traced(&wrong, Some(&traceparent(TRACE, true)))])).await;
    let letter = collector.wait_for(|span| span.name == "invocation");
    assert_eq!((letter.trace.as_str(), letter.error.as_deref()), (TRACE, Some("dead-lettered")));
    assert_eq!(
        (&letter.attributes["error.type"], &letter.resource["service.name"]),
        (&json!("validation"), &json!("of-a-test"))
    );
    server.stop().expect_code(0);
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "none begins here: {spans:#?}");
    assert_eq!(names(&children(&spans, &letter)), ["decode", "event_log produce"]);
    assert!(collector.heads().iter().all(|head| head.starts_with("POST /own/path ")));
}

#[tokio::test]
async fn nothing_is_sent_where_spans_are_off() {
    let collector = Collector::start(Mood::Takes);
    let workplace = Workplace::new();
    let server = workplace.up(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url), ("OTEL_SDK_DISABLED", "true")]);
    publish(&server, STATEMENTS, json!(video_statements(1, 3))).await;
    wait_until_applied(&server, 3).await;
    server.stop().expect_code(0);
    assert_eq!(collector.connections(), 0);
}

#[tokio::test]
async fn a_collector_that_is_away_refuses_or_never_answers_costs_spans_and_no_event() {
    let (refuses, silent) = (Collector::start(Mood::Refuses), Collector::start(Mood::IsSilent));
    let patient = "60000";
    let ways =
        [("http://127.0.0.1:1", "refused", patient), (&refuses.url, "refused", patient), (&silent.url, "late", "200")];
    for (url, reason, timeout_ms) in ways {
        let workplace = Workplace::new();
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", timeout_ms),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
            ("LOG_LEVEL", "warn"),
        ];
        let server = workplace.up(&variables);
        publish(&server, STATEMENTS, json!(video_statements(1, 20))).await;
        wait_until_applied(&server, 20).await;
        let lost = |reason: &str| format!("lyceum_spans_lost_total{{reason=\"{reason}\"}}");
        for _ in 0..3_000 {
            let (_, metrics) = server.get("/metrics", None).await;
            if metrics.as_str().is_some_and(|text| text.contains(&lost(reason))) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        publish(&server, STATEMENTS, json!(video_statements(2, 20))).await;
        wait_until_applied(&server, 40).await;
        let (_, metrics) = server.get("/metrics", None).await;
        assert!(metrics.as_str().is_some_and(|text| text.contains(&lost(reason))), "{metrics}");
        let told = server.stop().expect_code(0).stderr;
        let lines = told.lines().filter(|line| line.contains("spans are lost")).count();
        assert_eq!(lines, 1, "once a minute: {told}");
    }
}

/// A batch whose records have these headers, of several bytes each as Lambda has them.
fn with_headers(payload: &str, headers: &[Value]) -> String {
    let mut event: Value = serde_json::from_str(payload).expect("a batch");
    let records = event["records"].as_object_mut().expect("of partitions").values_mut().next().expect("one");
    for (record, header) in records.as_array_mut().expect("a list").iter_mut().zip(headers) {
        record["headers"] = header.clone();
    }
    event.to_string()
}

fn header(name: &str, value: &str) -> Value {
    json!([{name: value.bytes().collect::<Vec<_>>()}])
}

fn invocation(id: &str, seconds: u64, payload: String) -> Invocation {
    Invocation { id: id.to_owned(), time: Duration::from_secs(seconds), payload }
}

#[test]
fn a_function_sends_its_spans_before_it_answers_and_a_store_that_refuses_is_an_error_in_them() {
    let collector = Collector::start(Mood::Takes);
    let one = with_headers(
        &batch(STATEMENTS, 0, 5, &video_statements(1, 1)),
        &[header("traceparent", &traceparent(TRACE, true))],
    );
    let api = RuntimeApi::start(vec![invocation("one", 5, one)]);
    let running = api.function(
        "statement",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url), ("OTEL_RESOURCE_ATTRIBUTES", "team=learning")],
    );
    let answer = api.wait_for("one", &running);
    assert_eq!(answer.body["batchItemFailures"].as_array().map(Vec::len), Some(1), "{answer:?}");

    let spans = collector.spans();
    let found = spans.iter().find(|span| span.name == "invocation").expect("it was sent before the answer");
    assert_eq!((found.trace.as_str(), found.parent.as_str()), (TRACE, SENDER));
    assert_eq!(found.links, [(LAMBDAS.0.to_owned(), LAMBDAS.1.to_owned())]);
    assert!(found.error.as_deref().is_some_and(|why| why.contains("come again")), "{found:#?}");
    for (name, value) in [
        ("faas.invocation_id", json!("one")),
        ("faas.coldstart", json!(true)),
        ("faas.trigger", json!("pubsub")),
        ("messaging.kafka.offset", json!(5)),
    ] {
        assert_eq!(found.attributes.get(name), Some(&value), "{name}: {found:#?}");
    }
    for (name, value) in
        [("service.name", "lyceum-test"), ("faas.version", "7"), ("team", "learning"), ("cloud.provider", "aws")]
    {
        assert_eq!(found.resource[name], value, "{name}: {found:#?}");
    }
    let store = spans.iter().find(|span| span.name == "statements store").expect("the call");
    assert_eq!((store.parent.as_str(), &store.attributes["error.type"]), (found.id.as_str(), &json!("unavailable")));
    assert!(store.error.as_deref().is_some_and(|why| why.contains("ELASTICSEARCH_URL")), "{store:#?}");
}

#[test]
fn a_functions_answer_is_the_same_whether_or_not_somebody_takes_its_spans() {
    let (refuses, silent) = (Collector::start(Mood::Refuses), Collector::start(Mood::IsSilent));
    let answer = |url: Option<&str>| {
        let payloads = [("one", 3), ("two", 9)].map(|(id, offset)| {
            // Behind a tombstone, so that something is settled, and the answer not held.
            invocation(id, 30, batch(STATEMENTS, 0, offset, &[json!(null), video_statements(1, 1)[0].clone()]))
        });
        let api = RuntimeApi::start(payloads.to_vec());
        let variables: Vec<(&str, &str)> = url.map(|url| ("OTEL_EXPORTER_OTLP_ENDPOINT", url)).into_iter().collect();
        let running = api.function("statement", &variables);
        let answers = ["one", "two"].map(|id| api.wait_for(id, &running));
        assert!(answers.iter().all(|answer| !answer.is_error && answer.before_its_end_ms > 0), "{answers:?}");
        (answers.map(|answer| answer.body), running.printed())
    };
    let (expected, _) = answer(None);
    for url in ["http://127.0.0.1:1", &refuses.url, &silent.url] {
        let (found, told) = answer(Some(url));
        assert_eq!(found, expected, "{url}");
        assert!(told.contains("lyceum_spans_lost_total"), "{url}: {told}");
    }
}

#[test]
fn in_x_ray_an_invocation_stands_below_lambdas_own_segment_and_a_record_below_its_senders() {
    let daemon = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    daemon.set_read_timeout(Some(Duration::from_secs(60))).expect("it can wait");
    let address = daemon.local_addr().expect("it has an address").to_string();
    let senders = format!("Root=1-{}-{};Parent={SENDER};Sampled=1", &TRACE[..8], &TRACE[8..]);
    let several = with_headers(
        &batch(STATEMENTS, 0, 5, &video_statements(1, 2)),
        &[header("X-Amzn-Trace-Id", &senders), json!([])],
    );
    let api = RuntimeApi::start(vec![invocation("one", 5, several)]);
    let variables = [("OTEL_TRACES_EXPORTER", "xray"), ("AWS_XRAY_DAEMON_ADDRESS", address.as_str())];
    let running = api.function("statement", &variables);
    api.wait_for("one", &running);

    let mut documents: Vec<Value> = Vec::new();
    let mut bytes = vec![0; 1 << 16];
    let is_complete = |documents: &[Value]| {
        ["invocation", "statements store"].iter().all(|name| documents.iter().any(|of| of["name"] == *name))
            && documents.iter().any(|of| of["parent_id"] == SENDER)
    };
    while !is_complete(&documents) {
        let length = daemon.recv(&mut bytes).unwrap_or_else(|error| panic!("{error} after {documents:#?}"));
        let text = std::str::from_utf8(&bytes[..length]).expect("it is text");
        let (header, document) = text.split_once('\n').expect("a header, and a document");
        assert_eq!(serde_json::from_str::<Value>(header).expect("JSON"), json!({"format": "json", "version": 1}));
        documents.push(serde_json::from_str(document).expect("JSON"));
    }
    let named = |name: &str| documents.iter().find(|of| of["name"] == name).expect("it is there");
    let invocation = named("invocation");
    assert_eq!(
        (&invocation["trace_id"], &invocation["parent_id"], &invocation["type"]),
        (&json!(LAMBDAS_OF_XRAY), &json!(LAMBDAS.1), &json!("subsegment"))
    );
    let store = named("statements store");
    assert_eq!((&store["trace_id"], &store["parent_id"]), (&json!(LAMBDAS_OF_XRAY), &invocation["id"]));
    assert_eq!((&store["fault"], &store["namespace"]), (&json!(true), &json!("remote")));
    assert_eq!(store["annotations"]["error_type"], "unavailable");
    let record = documents.iter().find(|of| of["parent_id"] == SENDER).expect("it is there");
    assert_eq!((&record["name"], &record["type"]), (&json!("lyceum-test"), &json!(null)));
    assert_eq!(record["trace_id"], format!("1-{}-{}", &TRACE[..8], &TRACE[8..]));
    assert_eq!(record["metadata"]["lyceum"]["links"], json!([LAMBDAS_OF_XRAY]));
}
