//! The page and the API as a program meets them: every route, every error, who may, and what stays hidden.

mod fake;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use fake::{BOOKINGS, Fakes, LETTERS, STATEMENT_ID, STATEMENTS, busy, empty, mapping, worked_here};
use lyceum_around::guarded::{Dependency, Guard, GuardLimits};
use lyceum_around::last_write::KnowingItsWrites;
use lyceum_core::capacity;
use lyceum_core::envelope::letter_id;
use lyceum_core::outcome::{DeadLetterKind, Outcome};
use lyceum_core::ports::event_log::Publish;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use lyceum_core::record::{Header, NewRecord, Position, header_text};
use lyceum_server::access::{Access, Role, Token, bind_address};
use lyceum_server::consumers::ConsumerState;
use lyceum_server::dead_letters::letters::LetterState;
use lyceum_server::http::{ROUTES, TimeLimits, router, serve, serve_within};
use lyceum_testing::memory::schemas::MemorySchemas;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

const HOST: &str = "127.0.0.1:8080";

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Self { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Asserts that it is a problem of that kind which says `hint`.
    #[track_caller]
    fn is_problem(&self, status: u16, slug: &str, hint: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:problem-type:lyceum:{slug}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string());
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(hint), "{detail:?} does not say {hint:?}");
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, HOST).body(Body::empty()).unwrap()
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header(header::HOST, HOST).header(header::CONTENT_TYPE, "application/json");
    request.body(body.into()).unwrap()
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn send(fakes: &Fakes, request: Request<Body>) -> Answer {
    Answer::read(router(fakes.services.clone()).oneshot(request).await.unwrap()).await
}

/// A path that the busy academy answers well, of a route's pattern.
fn example_of(path: &str) -> String {
    let path = match path {
        "/events/{topic}/{partition}/{offset}" => format!("/events/{BOOKINGS}/0/0"),
        "/api/dead-letters/{topic}/{partition}/{offset}" => format!("/api/dead-letters/{LETTERS}/0/0"),
        "/api/state/{kind}/{id}" => "/api/state/session/s-1".to_owned(),
        "/state/{kind}/{id}" => "/state/session/s-1".to_owned(),
        "/api/audit/proof" => format!("/api/audit/proof?event={BOOKINGS}/0/0"),
        "/api/rebuild/compare" => "/api/rebuild/compare?subscription=training".to_owned(),
        "/audit/{topic}/{partition}/{offset}" => format!("/audit/{BOOKINGS}/0/0"),
        "/api/statements/{id}" => format!("/api/statements/{STATEMENT_ID}"),
        "/statements/{id}" => format!("/statements/{STATEMENT_ID}"),
        other => other.to_owned(),
    };
    path.replace("{topic}", BOOKINGS)
        .replace("{survey_id}", "s")
        .replace("{learner_id}", "l")
        .replace("{function}", "training")
        .replace("{event}", "booking.confirmed")
        .replace("{replay}", &fake::replay().id().to_string())
}

/// What a browser sends of the form of an event's page.
fn form(path: &str, event: &str) -> Request<Body> {
    let body = serde_urlencoded::to_string([("event", event)]).unwrap();
    with(post(path, body), "content-type", "application/x-www-form-urlencoded")
}

fn example_request(method: &str, path: &str) -> Request<Body> {
    let path = example_of(path);
    match (method, path.as_str()) {
        ("POST", "/api/dead-letters/replay" | "/api/dead-letters/discard") => {
            post(&path, r#"{"all": true, "dry_run": true}"#)
        }
        ("POST", "/events/replay") => {
            post(&path, json!({"topics": [BOOKINGS], "target": "topic", "limit": 7}).to_string())
        }
        ("POST", path) if path.starts_with("/api/replays/") => post(path, ""),
        ("POST", "/api/audit/seal" | "/api/reconcile") => post(&path, "{}"),
        ("POST", "/api/rebuild") => post(&path, r#"{"subscription": "training", "action": "plan"}"#),
        ("POST", "/api/ingest") => post(&path, r#"{"events": [{"topic": "t", "value": "e30="}]}"#),
        ("POST", path) if path.starts_with("/docs/") => form(path, r#"{"an": "event"}"#),
        ("POST", _) => post(&path, r#"{"an": "event"}"#),
        _ => get(&path),
    }
}

#[tokio::test]
async fn every_route_answers_as_the_table_says_and_is_in_the_openapi_document() {
    let fakes = busy(Access::open()).await;
    let page = send(&fakes, get("/")).await.text;
    let style = page.split('"').find(|text| text.starts_with("/assets/style-")).unwrap().to_owned();
    let document = send(&fakes, get("/openapi.json")).await.json();
    let mut described = 0;
    for route in ROUTES {
        let mut request = example_request(route.method, route.path);
        if route.path == "/assets/{file}" {
            request = get(&style);
        }
        let response = router(fakes.services.clone()).oneshot(request).await.unwrap();
        assert!(response.status().is_success(), "{} {} answers {}", route.method, route.path, response.status());
        let media_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        assert!(media_type.starts_with(route.answer.trim_end_matches("*/*")), "{}: {media_type}", route.path);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
        assert_eq!(operation["summary"], route.summary);
        assert_eq!(operation["x-role"].as_str(), route.needs.map(Role::name));
        described += 1;
    }
    let operations = document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len());
    assert_eq!(operations.sum::<usize>(), described, "the document has operations that the router has not");
}

/// Each value under this name, however deep.
fn collect<'a>(name: &str, within: &'a Value, found: &mut Vec<&'a Value>) {
    match within {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|value| collect(name, value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(name, item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_route_has_a_name_of_its_own_and_says_what_it_takes_and_answers() {
    let document = send(&empty(Access::open()), get("/openapi.json")).await.json();
    let (mut references, mut names) = (Vec::new(), Vec::new());
    collect("$ref", &document, &mut references);
    for reference in references {
        let place = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
    }
    collect("operationId", &document["paths"], &mut names);
    let different: std::collections::BTreeSet<&str> = names.iter().filter_map(|name| name.as_str()).collect();
    assert_eq!((different.len(), names.len()), (ROUTES.len(), ROUTES.len()));
    for route in ROUTES {
        let what = "operations.json and schemas.json in server/src/http/openapi describe each route";
        let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
        assert_ne!(operation["tags"], json!(["Other"]), "{} {}: {what}", route.method, route.path);
        let mut schemas: Vec<&Value> = operation["responses"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(status, _)| status.starts_with('2'))
            .map(|(_, response)| &response["content"][route.answer]["schema"])
            .collect();
        schemas.extend(operation["parameters"].as_array().unwrap().iter().map(|parameter| &parameter["schema"]));
        if route.method == "POST" && !route.path.starts_with("/api/replays/") {
            let content = operation["requestBody"]["content"].as_object().unwrap();
            schemas.extend(content.values().map(|of| &of["schema"]));
        }
        for schema in schemas {
            assert!(schema.as_object().is_some_and(|of| !of.is_empty()), "{} {}: {what}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let fakes = empty(Access::open());
    send(&fakes, get("/nowhere")).await.is_problem(404, "not-found", "/openapi.json");
    for odd in ["/events/t/first/0", "/events/t/0/18446744073709551616", "/api/dead-letters/t/2147483648/0"] {
        let answer = send(&fakes, get(odd)).await;
        answer.is_problem(400, "bad-request", "is no whole number that a log has");
        assert!(!answer.text.contains("i64") && !answer.text.contains("index"), "{}", answer.text);
    }
    send(&fakes, post("/health", "")).await.is_problem(405, "wrong-method", "/openapi.json");
    send(&fakes, get("/assets/style.css")).await.is_problem(404, "not-found", "load the page again");
}

#[tokio::test]
async fn health_tells_which_part_is_away() {
    let fakes = empty(Access::open());
    let answer = send(&fakes, get("/health")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("healthy")));

    fakes.statements.is_away.store(true, Ordering::SeqCst);
    let answer = send(&fakes, get("/health")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("degraded")));
    let search = answer.json()["components"]["search"].clone();
    assert_eq!(search["status"], "unhealthy");
    assert!(search["error"].as_str().unwrap().contains("connection refused") && search["latency_ms"].is_u64());

    fakes.log.is_away.store(true, Ordering::SeqCst);
    let answer = send(&fakes, get("/health")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy")));
    assert_eq!(answer.json()["timestamp"], "2026-03-05T09:30:00Z");
}

#[tokio::test]
async fn who_runs_the_process_is_told_that_it_lives_whatever_its_stores_do() {
    let fakes = empty(Access::open());
    fakes.log.is_away.store(true, Ordering::SeqCst);
    fakes.ledger.hangs.store(true, Ordering::SeqCst);
    let answer = send(&fakes, get("/health/live")).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"status": "live"})));
}

#[tokio::test]
async fn health_tells_of_a_full_disk_once_something_could_not_be_written() {
    let mut fakes = empty(Access::open());
    fakes.services.event_log = std::sync::Arc::new(KnowingItsWrites::of(fakes.log.clone()));
    let publish = || post(&format!("/events/{BOOKINGS}"), "{}".to_owned());
    fakes.log.is_full.store(true, Ordering::SeqCst);
    assert_eq!(send(&fakes, get("/health")).await.status, StatusCode::OK, "nobody has written yet");
    send(&fakes, publish()).await.is_problem(503, "unavailable", "the disk is full");
    let answer = send(&fakes, get("/health")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let error = answer.json()["components"]["event_log"]["error"].clone();
    assert!(error.as_str().unwrap().contains("it cannot be written to: "), "{error}");
    assert_eq!(send(&fakes, get("/api/topics")).await.status, StatusCode::OK, "what is there is still read");
    fakes.log.is_full.store(false, Ordering::SeqCst);
    assert_eq!(send(&fakes, publish()).await.status, StatusCode::ACCEPTED);
    assert_eq!(send(&fakes, get("/health")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn why_a_part_is_away_is_told_to_a_credential_only() {
    let fakes = empty(tokens());
    fakes.statements.is_away.store(true, Ordering::SeqCst);
    let search = async |request| send(&fakes, request).await.json()["components"]["search"].clone();
    let anonymous = search(get("/health")).await;
    assert_eq!((&anonymous["status"], anonymous.get("error")), (&json!("unhealthy"), None));
    assert!(search(by(get("/health"), "acme reads")).await["error"].is_string());
}

#[tokio::test]
async fn a_part_that_hangs_counts_as_away() {
    let fakes = empty(Access::open());
    fakes.ledger.hangs.store(true, Ordering::SeqCst);
    let answer = send(&fakes, get("/health")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["components"]["ledger"]["error"], "no answer within 2 s");
}

#[tokio::test]
async fn metrics_carry_the_lag_of_this_moment() {
    let fakes = busy(Access::open()).await;
    let text = send(&fakes, get("/metrics")).await.text;
    for line in [
        format!(r#"lyceum_consumer_lag{{topic="{BOOKINGS}",partition="1"}} 2"#),
        format!(r#"lyceum_consumer_lag{{topic="{STATEMENTS}",partition="0"}} 600"#),
        format!(r#"lyceum_consumer_lag_seconds{{topic="{BOOKINGS}",subscription="training"}} 3.0"#),
        format!(r#"lyceum_consumer_lag_seconds{{topic="{STATEMENTS}",subscription="statement"}} 1.5"#),
        format!(r#"lyceum_consumer_silent_seconds{{topic="{BOOKINGS}",subscription="training"}} 0.0"#),
        r#"lyceum_events_total{family="training",event_type="booking.confirmed",outcome="applied"} 31"#.to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\nis not in\n{text}");
    }
}

#[tokio::test]
async fn the_status_tells_lag_rate_and_outcomes() {
    let fakes = busy(Access::open()).await;
    let status = send(&fakes, get("/events/status")).await.json();
    assert_eq!(status["lag"], 602);
    assert_eq!(status["mappings"][1]["state"], "backing_off");
    assert_eq!(status["totals"]["outcomes"]["applied"], 31);
    assert_eq!(status["events_per_second"], 0.4);
    let status = send(&fakes, get("/events/status?tenant=globex")).await.json();
    assert_eq!(status["totals"]["outcomes"], json!({"duplicate": 1, "retry_later": 1}));
}

#[tokio::test]
async fn the_status_tells_capacity_units_and_what_an_event_cost_to_who_sees_every_tenant() {
    let fakes = busy(Access::open()).await;
    fakes.services.metrics.add_capacity_units("GetItem", capacity::Access::Read, None, 0.5);
    fakes.services.metrics.add_capacity_units("TransactWriteItems", capacity::Access::Write, Some("training"), 68.0);
    let capacity = send(&fakes, get("/events/status")).await.json()["capacity"].take();
    assert_eq!((&capacity["read_units"], &capacity["write_units"]), (&json!(0.5), &json!(68.0)));
    assert_eq!(capacity["families"]["training"]["events"], 34);
    assert_eq!(capacity["families"]["training"]["write_units_per_event"], 2.0);
    let document = send(&fakes, get("/openapi.json")).await.json();
    let answer = &document["components"]["schemas"]["Status"];
    assert_eq!(answer["properties"]["capacity"]["$ref"], "#/components/schemas/Capacity");
    let described = &document["components"]["schemas"]["Capacity"]["properties"];
    for name in capacity.as_object().unwrap().keys() {
        assert!(described[name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn a_raw_event_is_published_byte_for_byte_under_the_key_that_it_tells() {
    let fakes = empty(Access::open());
    let body = "{ \"key\": \"learner\",  \"score\": 1.50, \"score\": 2 }";
    let answer = send(&fakes, post(&format!("/events/{STATEMENTS}"), body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json(), json!({"positions": [format!("{STATEMENTS}/0/0")]}));
    let record = &fakes.log.records(STATEMENTS)[0];
    assert_eq!(record.value.as_deref(), Some(body.as_bytes()));
    assert_eq!(record.key.as_deref(), Some(&b"learner"[..]));
}

#[tokio::test]
async fn an_array_is_published_in_its_order_with_keys_headers_texts_and_tombstones() {
    let fakes = empty(Access::open());
    let body = r#"[{"key": "k", "value": {"a":  1}, "headers": {"event-type": "x", "none": null}}, {"value": "as text"}, {"key": "k", "value": null}, 42]"#;
    let answer = send(&fakes, post(&format!("/events/{STATEMENTS}?tenant=acme"), body)).await;
    assert_eq!(answer.json()["positions"].as_array().map(Vec::len), Some(4), "{}", answer.text);
    let records = fakes.log.records(STATEMENTS);
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(&br#"{"a":  1}"#[..]), Some(b"as text"), None, Some(b"42")]);
    assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(header_text(&records[0].headers, "event-type"), Some("x"));
    assert!(records[0].headers.iter().any(|header| header.name == "none" && header.value.is_none()));
    assert!(records.iter().all(|record| header_text(&record.headers, "tenant-id") == Some("acme")));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_published_as_records_are_shown() {
    let fakes = empty(Access::open());
    let body = r#"[{"key": "k", "value": {"base64": "AAAAAAcB/w=="}}, {"value": {"base64": "AA==", "more": 1}}]"#;
    let answer = send(&fakes, post(&format!("/events/{STATEMENTS}"), body)).await;
    assert_eq!(answer.json()["positions"].as_array().map(Vec::len), Some(2), "{}", answer.text);
    let records = fakes.log.records(STATEMENTS);
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(&[0, 0, 0, 0, 7, 1, 255][..]), Some(br#"{"base64": "AA==", "more": 1}"#)]);
    let wrong = send(&fakes, post(&format!("/events/{STATEMENTS}"), r#"{"value": {"base64": "?"}}"#)).await;
    wrong.is_problem(400, "bad-request", "event 0: its value is no base64");
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_with_a_reason_and_nothing_is_written() {
    let fakes = empty(Access::open());
    let topic = format!("/events/{BOOKINGS}");
    let publish = async |body: &str| send(&fakes, post(&topic, body.to_owned())).await;
    send(&fakes, post("/events/nowhere", "{}")).await.is_problem(404, "unknown-topic", BOOKINGS);
    publish("{").await.is_problem(400, "bad-request", "Send one event");
    publish("[{}, ").await.is_problem(400, "bad-request", "Send one event");
    publish("[]").await.is_problem(400, "bad-request", "at least one");
    publish(r#"[{}, {"value": 1, "hedaers": {}}]"#).await.is_problem(400, "bad-request", "event 1: unknown field");
    let own = r#"{"value": 1, "headers": {"Lyceum-Source": "a/0/0"}}"#;
    publish(own).await.is_problem(400, "bad-request", "leave \"Lyceum-Source\" out");
    let headers: Vec<String> = (0..101).map(|at| format!("\"{at}\": null")).collect();
    let dressed = format!("{{\"value\": 1, \"headers\": {{{}}}}}", headers.join(","));
    publish(&dressed).await.is_problem(400, "bad-request", "at most 100 headers");
    let many = format!("[{}0]", "0,".repeat(10_000));
    publish(&many).await.is_problem(413, "too-large", "more than 10000 events, and none was stored");
    publish(&format!("[{}", "0,".repeat(4_000_000))).await.is_problem(400, "bad-request", "no JSON");
    let letters = send(&fakes, post(&format!("/events/{LETTERS}"), "{}")).await;
    letters.is_problem(400, "bad-request", "which Lyceum alone writes");
    let huge = format!("\"{}\"", "x".repeat(8 << 20));
    publish(&huge).await.is_problem(413, "too-large", "send less at once");
    assert_eq!(fakes.log.records(BOOKINGS), []);
    assert_eq!(fakes.log.records(LETTERS), []);
    fakes.log.is_away.store(true, Ordering::SeqCst);
    let answer = publish("{}").await;
    answer.is_problem(503, "unavailable", "the disk is full");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn analytics_take_instants_and_days_and_refuse_anything_else() {
    let fakes = busy(Access::open()).await;
    let ask = async |query: &str| send(&fakes, get(&format!("/api/analytics/surveys/pulse{query}"))).await;
    let answer = ask("?tenant=acme&from=2026-03-01&to=2026-03-05").await.json();
    assert_eq!(answer["from_ms"], 1_772_323_200_000_i64);
    assert_eq!(answer["to_ms"], 1_772_755_200_000_i64, "the last day counts as a whole");
    assert_eq!(answer["tenant"], "acme");
    let answer = ask("?from=2026-03-05T10:30:00%2B01:00&to=").await.json();
    assert_eq!((&answer["from_ms"], &answer["to_ms"]), (&json!(fake::NOW_MS), &Value::Null));
    assert_eq!(ask("?scale=0..10").await.json()["scale"], "0 to 10");
    ask("?scale=ten").await.is_problem(400, "bad-request", "as 0..10");
    ask("?from=yesterday").await.is_problem(400, "bad-request", "from is \"yesterday\"");
    ask("?from=2026-03-05&to=2026-03-01").await.is_problem(400, "bad-request", "swap them");
    ask("?since=2026-03-05").await.is_problem(
        400,
        "bad-request",
        "unknown parameter `since`, expected one of `tenant`, `from`, `to`",
    );
    send(&fakes, get("/api/analytics/learners/unknown")).await.is_problem(404, "not-found", "learner unknown");
    send(&fakes, get("/api/analytics/surveys/unknown")).await.is_problem(404, "not-found", "survey unknown");
    let iri = "mailto:ada@example.org";
    let answer = send(&fakes, get("/api/analytics/learners/mailto%3Aada%40example.org")).await.json();
    assert_eq!(answer["id"], iri);
}

#[tokio::test]
async fn state_and_statements_are_found_by_tenant() {
    let fakes = busy(Access::open()).await;
    assert_eq!(send(&fakes, get("/api/state/session/s-1")).await.json()["capacity"], 2);
    send(&fakes, get("/api/state/session/s-1?tenant=globex")).await.is_problem(404, "not-found", "globex");
    send(&fakes, get("/api/state/seson/s-1")).await.is_problem(400, "bad-request", "there is: session");
    let path = format!("/api/statements/{STATEMENT_ID}");
    let answer = send(&fakes, get(&path)).await;
    assert_eq!(answer.text, "{ \"as\" : \"it was sent\" }");
    assert_eq!(answer.headers["lyceum-source"], format!("{STATEMENTS}/0/0"));
    send(&fakes, get(&format!("{path}?tenant=globex"))).await.is_problem(404, "not-found", "globex");
    send(&fakes, get("/api/statements/17")).await.is_problem(400, "bad-request", "no UUID");
}

#[tokio::test]
async fn an_id_of_dots_is_asked_for_where_a_path_would_lose_it() {
    let fakes = busy(Access::open()).await;
    for (segment, id) in [("~.", "."), ("~..", ".."), ("~~..", "~.."), ("~a", "~a")] {
        for of in ["surveys", "learners"] {
            let answer = send(&fakes, get(&format!("/api/analytics/{of}/{segment}"))).await.json();
            assert_eq!(answer["id"], id, "{of}/{segment}");
        }
        let missing = send(&fakes, get(&format!("/api/state/session/{segment}"))).await;
        missing.is_problem(404, "not-found", &format!("no session {id:?}"));
        let page = send(&fakes, get(&format!("/state/session/{segment}"))).await;
        page.is_problem(404, "not-found", &format!("no session {id:?}"));
    }
}

#[tokio::test]
async fn dead_letters_are_listed_and_shown() {
    let fakes = busy(Access::open()).await;
    let offsets = async |query: &str| {
        let letters = send(&fakes, get(&format!("/api/dead-letters{query}"))).await.json();
        let position = |letter: &Value| letter["position"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        letters["dead_letters"].as_array().unwrap().iter().map(position).collect::<Vec<_>>()
    };
    assert_eq!(offsets("").await, ["3", "2", "1", "0"]);
    assert_eq!(offsets("?kind=decode&limit=1").await, ["3"]);
    assert_eq!(offsets("?tenant=acme&topic=").await, ["2", "0"]);
    assert_eq!(offsets("?topic=nowhere").await, [""; 0]);
    send(&fakes, get("/api/dead-letters?kind=bad")).await.is_problem(400, "bad-request", "unknown-type");
    let letter = send(&fakes, get(&format!("/api/dead-letters/{LETTERS}/0/0"))).await.json();
    assert_eq!(letter["findings"][0]["rule"], "verb.id.iri");
    send(&fakes, get(&format!("/api/dead-letters/{LETTERS}/0/9"))).await.is_problem(404, "not-found", "/0/9");
}

#[tokio::test]
async fn dead_letters_are_sent_again_once_it_is_said_which() {
    let fakes = busy(Access::open()).await;
    let replay = async |body: Value| send(&fakes, post("/api/dead-letters/replay", body.to_string())).await;
    let dry = replay(json!({"kind": "validation", "dry_run": true})).await.json();
    assert_eq!((&dry["is_dry_run"], dry["replayed"].as_array().map(Vec::len)), (&json!(true), Some(1)));
    assert_eq!(dry["parked"], 1);
    assert!(fakes.dead_letters.0.lock().unwrap().iter().all(|letter| !letter.is_replayed));

    let parked = replay(json!({"positions": [format!("{LETTERS}/0/2")]})).await.json();
    assert_eq!(parked["replayed"][0]["sent_to"], format!("{BOOKINGS}/0/99"));
    let rest = replay(json!({"all": true, "limit": 2})).await.json();
    assert_eq!((rest["replayed"].as_array().map(Vec::len), &rest["remaining"]), (Some(2), &json!(1)));

    replay(json!({})).await.is_problem(400, "bad-request", "say which");
    replay(json!({"kind": "bad"})).await.is_problem(400, "bad-request", "no kind");
    replay(json!({"positions": ["x"]})).await.is_problem(400, "bad-request", "topic/partition/offset");
    replay(json!({"positions": [format!("{LETTERS}/0/77")]})).await.is_problem(404, "not-found", "/0/77");
    replay(json!({"positions": [format!("{LETTERS}/0/0")], "kind": "decode"})).await.is_problem(
        400,
        "bad-request",
        "both",
    );
}

#[tokio::test]
async fn json_under_the_content_type_of_a_form_is_told_so() {
    let fakes = busy(Access::open()).await;
    let request =
        with(post("/api/dead-letters/replay", r#"{"all":true}"#), "content-type", "application/x-www-form-urlencoded");
    send(&fakes, request).await.is_problem(400, "bad-request", "Content-Type: application/json");
    assert!(fakes.dead_letters.0.lock().unwrap().iter().all(|letter| letter.state != LetterState::Sent));
}

#[tokio::test]
async fn a_limit_goes_to_1000_whatever_is_listed() {
    let fakes = busy(Access::open()).await;
    for list in ["/api/dead-letters", &format!("/api/topics/{BOOKINGS}/records")] {
        for odd in ["0", "1001", "1000000", "-1", "many", "18446744073709551616"] {
            let answer = send(&fakes, get(&format!("{list}?limit={odd}"))).await;
            answer.is_problem(400, "bad-request", "goes from 1 to 1000");
            assert!(answer.text.contains(odd) && !answer.text.contains("digit"), "{}", answer.text);
        }
        assert_eq!(send(&fakes, get(&format!("{list}?limit=1000"))).await.status, StatusCode::OK);
        send(&fakes, get(&format!("{list}?limit=1&limit=2"))).await.is_problem(
            400,
            "bad-request",
            "duplicate parameter",
        );
    }
}

#[tokio::test]
async fn more_events_than_the_bound_are_ingested_by_no_route() {
    let fakes = empty(Access::open());
    let event = r#"{"topic": "t", "value": "e30="}"#;
    let body = format!("{{\"events\": [{event}{}]}}", format!(",{event}").repeat(10_000));
    send(&fakes, post("/api/ingest", body)).await.is_problem(413, "too-large", "at most 10000 at once");
    let body = format!("{{\"events\": [{event}{}]}}", format!(",{event}").repeat(9_999));
    assert_eq!(send(&fakes, post("/api/ingest", body)).await.json()["applied"], 10_000);
}

#[tokio::test]
async fn batches_and_imports_are_worked_on_aside_so_that_other_answers_do_not_wait() {
    let fakes = empty(Access::open());
    for path in ["/2015-03-31/functions/training/invocations", "/api/dead-letters/import"] {
        let before = worked_here();
        assert_eq!(send(&fakes, post(path, " ".repeat(70_000))).await.status, StatusCode::OK, "{path}");
        assert_eq!(worked_here(), before, "{path}: a large body takes the runtime's own thread");
        assert_eq!(send(&fakes, post(path, "{}".to_owned())).await.status, StatusCode::OK, "{path}");
        assert_eq!(worked_here(), before + 1, "{path}: a small one needs no thread of its own");
    }
    let unknown = post("/2015-03-31/functions/none/invocations", " ".repeat(70_000));
    send(&fakes, unknown).await.is_problem(404, "not-found", "there is no function");
}

#[tokio::test]
async fn while_letters_are_still_to_be_read_whoever_shows_a_number_of_them_says_so() {
    let fakes = busy(Access::open()).await;
    let event = "00000000-0000-0000-0000-00000000beef";
    let pages = [
        "/",
        "/dead-letters",
        "/dead-letters?rule=none",
        "/validation",
        "/validation?rule=none",
        "/dead-letters/list",
        "/dead-letters/list?rule=none",
        &format!("/search?q={event}"),
    ];
    let answers = ["/api/dead-letters", "/api/dead-letters/summary", "/api/validation", "/api/tenants"];
    for is_behind in [false, true] {
        fakes.dead_letters.1.store(is_behind, Ordering::SeqCst);
        for path in pages {
            let text = send(&fakes, get(path)).await.text;
            assert_eq!(text.contains("More letters came than could be read yet"), is_behind, "{path}: {text}");
            let knows = text.contains("There is none") || text.contains("Nothing was broken");
            assert!(!is_behind || !knows, "{path} knows too much");
        }
        for path in answers {
            assert_eq!(send(&fakes, get(path)).await.json()["is_behind"], is_behind, "{path}");
        }
    }
}

#[tokio::test]
async fn a_tenant_whose_events_wait_brings_no_more_and_another_one_does() {
    const OTHER: &str = "globex:publish:another-long-secret-of-globex";
    const OWN: &str = "acme:publish:a-long-secret-of-acme";
    let access = Access::new([OWN, OTHER].map(|token| token.parse().unwrap()).to_vec());
    let fakes = empty(access);
    let app = router(fakes.services.clone());
    let publish = async |token: &str, events: usize| {
        let body = format!("[{}{{}}]", "{},".repeat(events - 1));
        let secret = token.rsplit(':').next().unwrap();
        let request = with(post(&format!("/events/{BOOKINGS}"), body), "authorization", &format!("Bearer {secret}"));
        Answer::read(app.clone().oneshot(request).await.unwrap()).await
    };
    let committed = |offset: i64, state: ConsumerState| {
        *fakes.consumers.0.lock().unwrap() = vec![mapping("training", BOOKINGS, state, &[(offset, 10_000)])];
    };
    committed(0, ConsumerState::Running);
    assert_eq!(publish(OWN, 10_000).await.status, StatusCode::ACCEPTED);
    let refused = publish(OWN, 1).await;
    refused.is_problem(429, "too-many", "none of these was taken");
    assert_eq!((refused.headers["retry-after"].as_bytes(), fakes.log.records(BOOKINGS).len()), (&b"1"[..], 10_000));
    assert_eq!(publish(OTHER, 1).await.status, StatusCode::ACCEPTED);
    committed(9_999, ConsumerState::BackingOff);
    assert_eq!(publish(OWN, 1).await.status, StatusCode::ACCEPTED, "nobody waits for what is not worked on");
    committed(10_000, ConsumerState::Running);
    assert_eq!(publish(OWN, 9_999).await.status, StatusCode::ACCEPTED);
    assert_eq!(publish(OWN, 1).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_by_every_filter() {
    let fakes = busy(Access::open()).await;
    let first = send(&fakes, get("/api/dead-letters?limit=3")).await.json();
    assert_eq!((first["dead_letters"].as_array().map(Vec::len), &first["total"]), (Some(3), &json!(4)));
    let next = first["next"].as_str().unwrap().replace('@', "%40").replace('/', "%2F");
    let second = send(&fakes, get(&format!("/api/dead-letters?limit=3&cursor={next}"))).await.json();
    assert_eq!(second["dead_letters"][0]["position"], format!("{LETTERS}/0/0"));
    assert!(second["next"].is_null());
    let number =
        async |query: &str| send(&fakes, get(&format!("/api/dead-letters?{query}"))).await.json()["total"].clone();
    assert_eq!(number("state=parked").await, 1);
    assert_eq!(number("rule=wire.json").await, 2);
    assert_eq!(number("since=2026-01-01&until=2026-12-31T10:00:00Z").await, 4);
    for (query, why) in [("state=lost", "waiting, sent"), ("since=monday", "no time"), ("cursor=7", "hand back")] {
        let answer = send(&fakes, get(&format!("/api/dead-letters?{query}"))).await;
        answer.is_problem(400, "bad-request", why);
    }
    let causes = send(&fakes, get("/api/dead-letters/summary?kind=decode")).await.json();
    let tenants: Vec<&Value> = causes["causes"].as_array().unwrap().iter().map(|cause| &cause["tenant"]).collect();
    assert_eq!(tenants, [&Value::Null, &json!("globex")]);
    send(&fakes, get("/api/dead-letters/summary?cursor=7")).await.is_problem(400, "bad-request", "no cursor");
}

#[tokio::test]
async fn what_broke_since_when_is_told_by_every_filter_and_what_is_asked_for_wrongly_is_refused_by_name() {
    let fakes = busy(Access::open()).await;
    let ask = async |query: &str| send(&fakes, get(&format!("/api/validation?{query}"))).await;
    let all = ask("").await.json();
    assert_eq!((&all["count"], &all["before"], &all["totals"]["courses"]), (&json!(4), &json!(0), &json!(4)));
    assert_eq!(all["courses"][0]["trend"], "new");
    assert_eq!(
        (all["until"].as_str(), all["since"].as_str()),
        (Some("2026-03-05T09:30:00Z"), Some("2026-03-04T09:30:00Z"))
    );
    let limited = ask("limit=1").await.json();
    assert_eq!((limited["courses"].as_array().map(Vec::len), &limited["totals"]), (Some(1), &all["totals"]));
    for (query, count) in [
        ("tenant=acme", 2),
        ("sender=lms+of+globex", 1),
        ("rule=wire.json&family=training&topic=nlj.training.bookings", 2),
        ("family=survey", 0),
        ("since=2026-03-05&until=2026-03-05", 4),
        ("since=2026-01-01&until=2026-03-04", 0),
        ("until=2026-03-05T09:29:55Z", 0),
    ] {
        assert_eq!(ask(query).await.json()["count"], count, "{query}");
    }
    for (query, why) in [
        ("since=monday", "since is \"monday\", which is no time"),
        ("until=monday", "until is \"monday\""),
        ("since=2026-03-06", "since is not before until"),
        ("since=2025-01-01", "more than 92 days"),
        ("family=traning", "\"traning\" is no family; there are: content"),
        ("topic=bookings", "\"bookings\" is no topic; there are: "),
        ("limit=0", "limit"),
        ("senders=lms", "unknown parameter `senders`"),
    ] {
        ask(query).await.is_problem(400, "bad-request", why);
    }
    let page = send(&fakes, get("/validation?tenant=acme&sender=lms+of+acme")).await.text;
    assert!(page.contains("lms of acme") && page.contains("good before") && !page.contains("globex"), "{page}");
    let letters = "/dead-letters/list?kind=validation&amp;topic=nlj.training.bookings&amp;rule=";
    assert!(page.contains(letters), "{page}");
    assert!(send(&fakes, get("/dead-letters")).await.text.contains("href=\"/validation\""));
}

#[tokio::test]
async fn security_alerts_are_listed_the_newest_first_by_every_filter_and_to_their_tenant_alone() {
    let fakes = busy(tokens()).await;
    let ask = async |query: &str, by_whom| send(&fakes, by(get(&format!("/api/security?{query}")), by_whom)).await;
    let abouts = async |query: &str, by_whom| -> Vec<String> {
        let answer = ask(query, by_whom).await.json();
        let told = |alert: &Value| format!("{} {}", alert["severity"], alert["tenant"]).replace('"', "");
        answer["alerts"].as_array().unwrap().iter().map(told).collect()
    };
    assert_eq!(abouts("", "operator of all").await, ["critical acme", "low globex", "high acme"]);
    assert_eq!(abouts("", "acme reads").await, ["critical acme", "high acme"]);
    for (query, expected) in [
        ("severity=high", vec!["high acme"]),
        ("cause=brute_force&tenant=acme", vec!["critical acme"]),
        ("tenant=globex&cause=brute_force", vec![]),
        ("actor=%3Cscript%3Eeve%3C%2Fscript%3E", vec!["critical acme"]),
        ("from=2026-03-05T09:28:30Z", vec!["critical acme"]),
        ("to=2026-03-05T09:27:30Z", vec!["high acme"]),
        ("to=2026-03-04", vec![]),
        // None on the first pages of one fits, and the third one does.
        ("severity=high&limit=1", vec!["high acme"]),
    ] {
        assert_eq!(abouts(query, "operator of all").await, expected, "{query}");
    }
    let first = ask("limit=2", "operator of all").await.json();
    assert_eq!(
        (first["alerts"].as_array().map(Vec::len), &first["total"], &first["next"]),
        (Some(2), &json!(3), &json!("2"))
    );
    assert_eq!(abouts("limit=2&cursor=2", "operator of all").await, ["high acme"]);
    for (query, why) in [
        ("severity=dire", "\"dire\" is no severity; there are: low, medium, high, critical"),
        ("cause=theft", "\"theft\" is no cause; there are: approval_invalid"),
        ("from=monday", "from is \"monday\""),
        ("from=2026-03-06&to=2026-03-05", "from is not before to"),
        ("cursor=elsewhere", "cursor is \"elsewhere\": hand back"),
        ("token=x", "unknown parameter `token`"),
    ] {
        ask(query, "operator of all").await.is_problem(400, "bad-request", why);
    }
    let page = send(&fakes, by(get("/security"), "acme reads")).await.text;
    for part in [
        "&lt;script&gt;eve",
        "token mismatch",
        "href=\"/audit?correlation=c-3&amp;tenant=acme\"",
        "href=\"/events/security.alerts.v1/0/3?tenant=acme\"",
        "aria-current=\"page\">Security",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("globex") && !page.contains("<script>eve"), "{page}");
    let all = send(&fakes, by(get("/security?severity=low"), "operator of all")).await.text;
    assert!(all.contains("/events/security.alerts.v1/0/2?tenant=globex") && !all.contains("0/1?tenant"), "{all}");
}

#[tokio::test]
async fn the_originals_of_dead_letters_are_exported_as_lines_that_can_be_ingested() {
    let fakes = busy(Access::open()).await;
    let originals: [&'static [u8]; 4] = [b"{\n \"a\": 1\n}", b"no JSON", b"{\"parked\": true}", b"[2]"];
    for (letter, value) in fakes.dead_letters.0.lock().unwrap().iter_mut().zip(originals) {
        letter.letter.original.value = Some(value.into());
    }
    send(&fakes, get("/api/dead-letters/export?limit=0")).await.is_problem(400, "bad-request", "1 or more");
    let answer = send(&fakes, get("/api/dead-letters/export")).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/jsonl");
    assert_eq!(answer.text, "{  \"a\": 1 }\n[2]\n", "those that wait and are JSON, as they failed");
    let parked = send(&fakes, get("/api/dead-letters/export?state=parked")).await.text;
    assert_eq!(parked, "{\"parked\": true}\n");
    assert_eq!(send(&fakes, get("/api/dead-letters/export?limit=1")).await.text, "{  \"a\": 1 }\n");
    assert_eq!(send(&fakes, get("/api/dead-letters/export?limit=5000")).await.text, answer.text);
}

#[tokio::test]
async fn dead_letters_are_discarded_once_it_is_said_which_and_by_whom() {
    let fakes = busy(tokens()).await;
    let discard = async |body: Value, by_whom| {
        send(&fakes, by(post("/api/dead-letters/discard", body.to_string()), by_whom)).await
    };
    let one = json!({"positions": [format!("{LETTERS}/0/0")]});
    let discarded = discard(one.clone(), "acme operates").await.json();
    assert_eq!(discarded["discarded"][0]["why"], "a token of tenant acme");
    let again = discard(one, "operator of all").await.json();
    assert_eq!((again["discarded"].as_array().map(Vec::len), &again["already"]), (Some(0), &json!(1)));
    discard(json!({"positions": [format!("{LETTERS}/0/1")]}), "acme operates").await.is_problem(
        404,
        "not-found",
        "/0/1",
    );
    discard(json!({"all": true}), "acme reads").await.is_problem(403, "forbidden-role", "operate");
    discard(json!({}), "acme operates").await.is_problem(400, "bad-request", "say which");
    discard(json!({"all": true, "wait": true}), "acme operates").await.is_problem(400, "bad-request", "for a replay");
    discard(json!({"all": true}), "acme operates").await;
    let letters = fakes.dead_letters.0.lock().unwrap().clone();
    let discarded = letters.iter().filter(|letter| letter.state == LetterState::Discarded);
    assert_eq!(
        discarded.map(|letter| letter.position.offset).collect::<Vec<_>>(),
        [0, 2],
        "parked ones too, none of others"
    );
}

#[tokio::test]
async fn a_replay_that_waits_tells_how_each_ended() {
    let fakes = busy(Access::open()).await;
    let request = json!({"kind": "decode", "wait": true});
    let summary = send(&fakes, post("/api/dead-letters/replay", request.to_string())).await.json();
    assert_eq!(summary["replayed"][0]["ended"], json!({"outcome": "applied"}));
    let request = json!({"kind": "validation", "wait": false});
    let summary = send(&fakes, post("/api/dead-letters/replay", request.to_string())).await.json();
    assert!(summary["replayed"][0]["ended"].is_null());
}

#[tokio::test]
async fn the_forms_of_the_page_send_letters_again_or_discard_them_and_show_what_they_did() {
    let fakes = busy(Access::open()).await;
    let page = send(&fakes, get("/dead-letters?kind=decode&tenant=globex")).await.text;
    let list = "/dead-letters/list?kind=decode&amp;topic=nlj.training.bookings&amp;rule=wire.json&amp;state=waiting&amp;tenant=globex";
    assert!(page.contains(&format!("<a href=\"{list}\">wire.json</a>")), "{page}");
    let page = send(&fakes, get(&list.replace("&amp;", "&"))).await.text;
    assert!(page.contains(r#"<form class="replay" method="post" action="/api/dead-letters/replay">"#), "{page}");
    let form = |path: &str, fields: &'static str| {
        let form = with(post(path, fields), "content-type", "application/x-www-form-urlencoded");
        with(form, "origin", "http://127.0.0.1:8080")
    };
    let answer = send(&fakes, form("/api/dead-letters/replay", "kind=decode&tenant=globex")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let next = answer.headers[header::LOCATION].to_str().unwrap();
    let counts = "letters=1&parked=0&remaining=0&applied=1&duplicate=0&again=0&pending=0";
    assert_eq!(next, format!("/dead-letters/list?tenant=globex&kind=decode&done=sent&{counts}"));
    assert!(send(&fakes, get(next)).await.text.contains("<b>1</b> letter was sent again, 1 applied."));

    let row = "position=nlj.errors.validation%2F0%2F0&rule=verb.id.iri&state=waiting&tenant=";
    let answer = send(&fakes, form("/api/dead-letters/discard", row)).await;
    let next = answer.headers[header::LOCATION].to_str().unwrap();
    assert!(next.starts_with("/dead-letters/list?rule=verb.id.iri&state=waiting&done=discarded&letters=1&"), "{next}");
    assert!(send(&fakes, get(next)).await.text.contains("<b>1</b> letter was discarded."));
    let letters = fakes.dead_letters.0.lock().unwrap().clone();
    assert_eq!(letters[0].state, LetterState::Discarded);
}

#[tokio::test]
async fn a_record_that_is_a_dead_letter_says_so_long_after_it_was_processed() {
    let fakes = busy(tokens()).await;
    fakes.dead_letters.0.lock().unwrap()[0].letter.id = letter_id(&Position::new(BOOKINGS, 0, 700), 0);
    let path = format!("/events/{BOOKINGS}/0/700");
    let page = send(&fakes, by(get(&path), "acme reads")).await.text;
    assert!(page.contains(&format!("<a href=\"/events/{LETTERS}/0/0?tenant=acme\">")), "{page}");
    assert!(page.contains("It waits.") && !page.contains("not among the latest"), "{page}");
    send(&fakes, by(get(&path), "globex does all")).await.is_problem(404, "not-found", "of yours");
    // The letter's own page tells its state once, and not that it became a letter.
    let source = Header::new("lyceum-source", format!("{BOOKINGS}/0/700"));
    let record = NewRecord { value: Some("{}".into()), headers: vec![source], ..NewRecord::default() };
    let at = fakes.log.produce(LETTERS, vec![record]).await.unwrap().remove(0);
    fakes.dead_letters.0.lock().unwrap()[0].letter.position = at.clone();
    let page = send(&fakes, by(get(&format!("/events/{at}")), "acme reads")).await.text;
    assert_eq!((page.matches("It is parked").count(), page.contains("It is a dead letter, at")), (1, false), "{page}");
}

fn tokens() -> Access {
    let token = |secret: &str, tenant: Option<&str>, roles: &[Role]| {
        Token::new(secret, tenant.map(str::to_owned), roles.iter().copied())
    };
    Access::new(vec![
        token("acme reads", Some("acme"), &[Role::Read]),
        token("acme publishes", Some("acme"), &[Role::Publish]),
        token("acme operates", Some("acme"), &[Role::Read, Role::Operate]),
        token("acme does all", Some("acme"), &Role::ALL),
        token("globex does all", Some("globex"), &Role::ALL),
        token("operator of all", None, &Role::ALL),
    ])
}

fn by(request: Request<Body>, secret: &str) -> Request<Body> {
    with(request, "authorization", &format!("Bearer {secret}"))
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let fakes = busy(tokens()).await;
    let roles: [(&str, &[Role]); 4] = [
        ("acme reads", &[Role::Read]),
        ("acme publishes", &[Role::Publish]),
        ("acme operates", &[Role::Read, Role::Operate]),
        ("operator of all", &Role::ALL),
    ];
    for route in ROUTES.iter().filter(|route| route.path != "/assets/{file}") {
        let status =
            async |request: Request<Body>| router(fakes.services.clone()).oneshot(request).await.unwrap().status();
        let anonymous = status(example_request(route.method, route.path)).await;
        let unknown = status(by(example_request(route.method, route.path), "guessed")).await;
        let Some(role) = route.needs else {
            assert!(anonymous.is_success() && unknown.is_success(), "{}", route.path);
            continue;
        };
        assert_eq!([anonymous, unknown], [StatusCode::UNAUTHORIZED; 2], "{}", route.path);
        for (secret, has) in roles {
            // What counts every tenant's events is for whoever may see every tenant.
            let of_all = [
                "/metrics",
                "/api/topics/{topic}/records",
                "/api/dead-letters/import",
                "/api/rebuild",
                "/api/rebuild/compare",
                "/api/reconcile",
                "/2015-03-31/functions/{function}/invocations",
            ];
            let has = if of_all.contains(&route.path) && secret != "operator of all" { &[] } else { has };
            let status = status(by(example_request(route.method, route.path), secret)).await;
            assert_eq!(status == StatusCode::FORBIDDEN, !has.contains(&role), "{secret} at {}: {status}", route.path);
            // The replay that there is is every tenant's, and a tenant finds its own alone.
            let is_found = !route.path.contains("{replay}") || secret == "operator of all";
            let is_well = if is_found { status.is_success() } else { status == StatusCode::NOT_FOUND };
            assert_eq!(is_well, has.contains(&role), "{secret} at {}: {status}", route.path);
        }
    }
}

#[tokio::test]
async fn no_route_shows_or_moves_what_is_another_tenants() {
    let fakes = busy(tokens()).await;
    let as_acme = async |request| send(&fakes, by(request, "acme operates")).await;
    for route in ROUTES.iter().filter(|route| route.needs == Some(Role::Read) && route.path != "/live") {
        let text = as_acme(get(&example_of(route.path))).await.text;
        assert!(!text.contains("globex"), "{} tells acme of globex:\n{text}", route.path);
        if route.query.iter().any(|(name, _)| *name == "tenant") {
            let path = example_of(route.path);
            let sign = if path.contains('?') { '&' } else { '?' };
            let answer = as_acme(get(&format!("{path}{sign}tenant=globex"))).await;
            answer.is_problem(403, "forbidden-tenant", "so ask for no other");
        }
    }
    for path in [
        format!("/events/{BOOKINGS}/0/1"),
        format!("/events/{LETTERS}/0/1"),
        format!("/api/dead-letters/{LETTERS}/0/1"),
        format!("/api/dead-letters/{LETTERS}/0/3"),
        // A record that exists, whose tenant is not known.
        format!("/events/{BOOKINGS}/0/5000"),
    ] {
        as_acme(get(&path)).await.is_problem(404, "not-found", "of yours");
    }
    for position in [format!("{BOOKINGS}/0/1"), format!("{LETTERS}/0/1")] {
        as_acme(get(&format!("/audit/{position}"))).await.is_problem(404, "not-found", "no entry");
        as_acme(get(&format!("/api/audit/proof?event={position}"))).await.is_problem(404, "not-found", "has no event");
    }
    let foreign = json!({"positions": [format!("{LETTERS}/0/0"), format!("{LETTERS}/0/1")]}).to_string();
    as_acme(post("/api/dead-letters/replay", foreign)).await.is_problem(404, "not-found", "/0/1");
    as_acme(post("/api/dead-letters/replay?tenant=globex", r#"{"all": true}"#)).await.is_problem(
        403,
        "forbidden-tenant",
        "acme",
    );
    as_acme(post("/api/dead-letters/replay", r#"{"all": true}"#)).await;
    let letters = fakes.dead_letters.0.lock().unwrap().clone();
    let moved: Vec<_> =
        letters.iter().filter(|letter| letter.is_replayed).map(|letter| letter.position.offset).collect();
    assert_eq!(moved, [0]);
}

/// A request that names what is globex's where a route takes more than a tenant.
fn foreign_request(method: &str, path: &str) -> Option<Request<Body>> {
    let positions = || json!({"positions": [format!("{LETTERS}/0/1")]}).to_string();
    match (method, path) {
        ("GET", "/events/{topic}/{partition}/{offset}") => Some(get(&format!("/events/{BOOKINGS}/0/1"))),
        ("GET", "/audit/{topic}/{partition}/{offset}") => Some(get(&format!("/audit/{BOOKINGS}/0/1"))),
        ("GET", "/api/audit/proof") => Some(get(&format!("{path}?event={BOOKINGS}/0/1"))),
        ("GET", "/api/dead-letters/{topic}/{partition}/{offset}") => {
            Some(get(&format!("/api/dead-letters/{LETTERS}/0/1")))
        }
        ("POST", "/events/{topic}") => {
            Some(post(&format!("/events/{BOOKINGS}"), r#"{"value": {}, "headers": {"tenant-id": "globex"}}"#))
        }
        ("POST", "/api/dead-letters/replay" | "/api/dead-letters/discard") => Some(post(path, positions())),
        ("POST", "/api/ingest") => {
            let event =
                json!({"topic": BOOKINGS, "value": "e30=", "headers": [{"name": "tenant-id", "value": "Z2xvYmV4"}]});
            Some(post(path, json!({"events": [event]}).to_string()))
        }
        _ => None,
    }
}

#[tokio::test]
async fn on_every_route_a_credential_that_names_another_tenant_in_any_way_gets_and_changes_nothing_of_it() {
    let mut matrix = String::from(
        "| route | nobody | `?tenant=` | the header `tenant-id` | what it names |\n|---|---|---|---|---|\n",
    );
    for route in ROUTES.iter().filter(|route| route.needs.is_some()) {
        let example = || example_request(route.method, route.path);
        let mut asked = example();
        let glue = if asked.uri().query().is_some() { '&' } else { '?' };
        *asked.uri_mut() = format!("{}{glue}tenant=globex", asked.uri()).parse().unwrap();
        let ways = [
            Some(example()),
            Some(asked),
            Some(with(example(), "tenant-id", "globex")),
            foreign_request(route.method, route.path),
        ];
        let mut row = format!("| `{} {}` |", route.method, route.path);
        for way in ways {
            let Some(request) = way else {
                row.push_str("  |");
                continue;
            };
            let fakes = busy(tokens()).await;
            let before = fakes.log.records(BOOKINGS).len();
            let response = router(fakes.services.clone()).oneshot(by(request, "acme does all")).await.unwrap();
            let status = response.status();
            // The feed goes on for ever; a test of its own reads it.
            if status.is_success() && route.path != "/live" {
                let text = Answer::read(response).await.text;
                assert!(!text.contains("globex"), "{row} {status}: {text}");
            }
            let published = &fakes.log.records(BOOKINGS)[before..];
            assert!(
                published.iter().all(|record| header_text(&record.headers, "tenant-id") == Some("acme")),
                "{row} {status}"
            );
            let letters = fakes.dead_letters.0.lock().unwrap().clone();
            let mut foreign = letters.iter().filter(|letter| letter.letter.tenant.as_deref() == Some("globex"));
            assert!(
                foreign.all(|letter| !letter.is_replayed && letter.state != LetterState::Discarded),
                "{row} {status}"
            );
            row.push_str(&format!(" {} |", status.as_u16()));
        }
        matrix.push_str(&row);
        matrix.push('\n');
    }
    insta::assert_snapshot!("tenants", matrix);
}

#[tokio::test]
async fn the_form_of_an_events_page_publishes_it_and_says_where_or_why_not() {
    let fakes = empty(tokens());
    let send_form = async |event: &str| send(&fakes, by(form("/docs/booking.confirmed", event), "acme does all")).await;
    let page = send(&fakes, by(get("/docs/booking.confirmed"), "acme reads")).await.text;
    assert!(page.contains("lacks the role publish") && page.contains("session_id"), "{page}");
    let page = send_form(r#"{"id": "<b>"}"#).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains(&format!("href=\"/events/{BOOKINGS}/0/0?tenant=acme\"")), "{}", page.text);
    assert!(page.text.contains("&lt;b&gt;") && !page.text.contains("<b>"), "what was sent stays in the form, escaped");
    let records = fakes.log.records(BOOKINGS);
    assert_eq!(records[0].value.as_deref(), Some(br#"{"id": "<b>"}"#.as_slice()));
    assert_eq!(header_text(&records[0].headers, "tenant-id"), Some("acme"));
    for (event, why) in [
        ("{", "is no JSON"),
        ("[]", "array is empty"),
        (r#"{"value": {}, "headers": {"tenant-id": "globex"}}"#, "leave it out"),
    ] {
        let page = send_form(event).await;
        assert!(page.status == StatusCode::OK && page.text.contains(why), "{}", page.text);
    }
    assert_eq!(fakes.log.records(BOOKINGS).len(), 1);
    let as_json = by(post("/docs/booking.confirmed", "{}"), "acme does all");
    send(&fakes, as_json).await.is_problem(400, "bad-request", "POST /events/nlj.training.bookings");
    let unknown = by(form("/docs/nothing.happened", "{}"), "acme does all");
    send(&fakes, unknown).await.is_problem(404, "not-found", "GET /docs lists them");
    let list = send(&fakes, by(get("/docs?q=booking%20seat"), "acme reads")).await.text;
    assert!(list.contains("booking.confirmed") && !list.contains("course.deployed"), "{list}");
}

#[tokio::test]
async fn an_event_is_published_for_the_tenant_of_the_token_only() {
    let fakes = empty(tokens());
    let publish = async |path: &str, body: &str| send(&fakes, by(post(path, body.to_owned()), "acme publishes")).await;
    let path = format!("/events/{BOOKINGS}");
    assert_eq!(publish(&path, "{}").await.status, StatusCode::ACCEPTED);
    let own = r#"{"value": {}, "headers": {"tenant-id": "acme"}}"#;
    assert_eq!(publish(&path, own).await.status, StatusCode::ACCEPTED);
    // In another spelling nothing would read it, and the value's own tenant would hold.
    let spelled = r#"{"value": {}, "headers": {"Tenant-ID": "acme"}}"#;
    assert_eq!(publish(&path, spelled).await.status, StatusCode::ACCEPTED);
    let headers: Vec<_> = fakes.log.records(BOOKINGS).into_iter().map(|record| record.headers).collect();
    assert!(headers.iter().all(|headers| headers.len() == 2 && header_text(headers, "tenant-id") == Some("acme")));
    let foreign = r#"[{}, {"value": {}, "headers": {"tenant-id": "globex"}}]"#;
    publish(&path, foreign).await.is_problem(403, "forbidden-tenant", "tenant-id");
    publish(&format!("{path}?tenant=globex"), "{}").await.is_problem(403, "forbidden-tenant", "acme");
    assert_eq!(fakes.log.records(BOOKINGS).len(), 3);
}

#[tokio::test]
async fn a_browser_signs_in_with_the_token_as_password() {
    let fakes = empty(tokens());
    let answer = send(&fakes, get("/")).await;
    answer.is_problem(401, "unauthenticated", "Authorization: Bearer");
    let challenges: Vec<_> = answer.headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
    assert!(challenges.iter().any(|challenge| challenge.to_str().unwrap().starts_with("Basic ")));
    let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let page = send(&fakes, with(get("/"), "authorization", &basic("ada:acme reads"))).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("<b>acme</b>"));
    for wrong in [basic("acme reads:ada"), basic("acme reads"), "Basic ###".to_owned(), "acme reads".to_owned()] {
        let answer = send(&fakes, with(get("/"), "authorization", &wrong)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[test]
fn a_token_is_read_from_its_text_and_never_written_back() {
    let token: Token = "acme:read+publish:a:long:secret:text".parse().unwrap();
    let debug = format!("{token:?} {:?}", Access::new(vec![token.clone()]));
    assert!(debug.contains("acme") && !debug.contains("secret") && !debug.contains("digest"), "{debug}");
    for (text, hint) in [
        ("acme:read", "tenant:roles:secret"),
        (":read:0123456789abcdef", "tenant:roles:secret"),
        ("acme:rule:0123456789abcdef", "\"rule\" is no role"),
        ("acme:read:too-short", "shorter than 16"),
    ] {
        let error = text.parse::<Token>().unwrap_err().to_string();
        assert!(error.contains(hint) && !error.contains("0123456789abcdef") && !error.contains("too-short"), "{error}");
    }
}

#[tokio::test]
async fn without_tokens_only_this_machines_own_names_are_served() {
    let fakes = empty(Access::open());
    for host in ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "[::1]"] {
        assert_eq!(send(&fakes, with(get("/health"), "host", host)).await.status, StatusCode::OK, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:8080", "10.0.0.7", "127.0.0.1.evil.example", ""] {
        send(&fakes, with(get("/health"), "host", host)).await.is_problem(403, "forbidden-host", "127.0.0.1");
    }
    let mut two = get("/health");
    two.headers_mut().append("host", "evil.example".parse().unwrap());
    send(&fakes, two).await.is_problem(400, "bad-request", "several Host headers");
    let fakes = empty(tokens());
    assert_eq!(send(&fakes, with(get("/health"), "host", "lyceum.example")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let fakes = busy(Access::open()).await;
    let publish = || post(&format!("/events/{STATEMENTS}"), "{}");
    let refused = [
        with(publish(), "origin", "http://evil.example"),
        with(publish(), "origin", "http://127.0.0.1:9999"),
        with(publish(), "origin", "null"),
        with(publish(), "sec-fetch-site", "cross-site"),
        with(with(publish(), "sec-fetch-site", "same-site"), "origin", "http://127.0.0.1:8080"),
    ];
    for request in refused {
        send(&fakes, request).await.is_problem(403, "forbidden-origin", "own page");
    }
    assert_eq!(fakes.log.records(STATEMENTS), []);
    for request in [
        publish(),
        with(publish(), "origin", "http://127.0.0.1:8080"),
        with(publish(), "sec-fetch-site", "same-origin"),
        with(publish(), "sec-fetch-site", "none"),
    ] {
        assert_eq!(send(&fakes, request).await.status, StatusCode::ACCEPTED);
    }
    assert_eq!(send(&fakes, with(get("/"), "sec-fetch-site", "cross-site")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_origin_makes_this_server_work_for_no_answer() {
    let fakes = busy(Access::open()).await;
    let costly = ROUTES.iter().filter(|route| route.method == "GET");
    let is_costly = |path: &str| path == "/live" || path.starts_with("/api/") || path.ends_with(".csv");
    let costly: Vec<_> = costly.filter(|route| is_costly(route.path)).collect();
    assert!(costly.len() > 8, "the routes have other paths");
    for route in costly {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
        ] {
            let request = with(example_request(route.method, route.path), name, value);
            send(&fakes, request).await.is_problem(403, "forbidden-origin", "own page");
        }
        let own = with(example_request(route.method, route.path), "sec-fetch-site", "same-origin");
        let response = router(fakes.services.clone()).oneshot(own).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{}", route.path);
    }
}

#[tokio::test]
async fn a_panic_answers_with_a_problem_and_the_next_request_is_served() {
    let fakes = empty(Access::open());
    fakes.log.panics.store(true, Ordering::SeqCst);
    send(&fakes, post(&format!("/events/{BOOKINGS}"), "{}")).await.is_problem(500, "internal", "defect");
    fakes.log.panics.store(false, Ordering::SeqCst);
    assert_eq!(send(&fakes, post(&format!("/events/{BOOKINGS}"), "{}")).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn without_tokens_it_listens_on_this_machine_only() {
    assert_eq!(bind_address(&Access::open(), 8080).to_string(), "127.0.0.1:8080");
    assert_eq!(bind_address(&tokens(), 0).to_string(), "0.0.0.0:0");
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = serve(listener, empty(Access::open()).services, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("API_TOKENS"), "{error}");
}

/// Reads the feed up to the next change.
async fn next_change(response: &mut reqwest::Response, buffer: &mut String) -> Option<Value> {
    loop {
        if let Some((event, rest)) = buffer.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
            *buffer = rest.to_owned();
            if let Some(data) = data {
                return Some(serde_json::from_str(&data).unwrap());
            }
            continue;
        }
        buffer.push_str(std::str::from_utf8(&response.chunk().await.unwrap()?).unwrap());
    }
}

#[tokio::test]
async fn the_live_feed_sends_what_changed_to_each_tenant_its_own_and_ends_with_the_server() {
    let fakes = busy(tokens()).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/live", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server =
        tokio::spawn(serve(listener, fakes.services.clone(), async move { stopped.await.unwrap_or_default() }));

    let client = lyceum_https::client();
    let mut feed = client.get(url).bearer_auth("acme reads").send().await.unwrap();
    assert_eq!(feed.headers()["content-type"], "text/event-stream");
    let mut buffer = String::new();
    let first = next_change(&mut feed, &mut buffer).await.unwrap();
    assert_eq!(first["totals"], json!({"applied": 31, "dead_lettered": 1}));
    assert_eq!(first["lag"]["statement"], 600);
    assert!(!first.to_string().contains("globex"), "{first}");
    assert_eq!(first["parts"].as_object().map(serde_json::Map::len), Some(11));

    let report = fake::report("acme", 4711, Outcome::DeadLettered { kind: DeadLetterKind::Rejected });
    fakes.observe(&[report, fake::report("globex", 4712, Outcome::Applied)]);
    let second = next_change(&mut feed, &mut buffer).await.unwrap();
    assert_eq!(second["totals"]["dead_lettered"], 2);
    let parts: Vec<_> = second["parts"].as_object().unwrap().keys().cloned().collect();
    assert!(parts.contains(&"events".to_owned()) && !parts.contains(&"mappings".to_owned()), "{parts:?}");
    let events = second["parts"]["events"].as_str().unwrap();
    assert!(events.contains("4711") && !events.contains("4712"), "{events}");

    stop.send(()).unwrap();
    while next_change(&mut feed, &mut buffer).await.is_some() {}
    tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_page_of_a_fixed_state_is_as_it_was_seen() {
    let page = send(&busy(Access::open()).await, get("/")).await.text;
    // The versions of the assets change with their content, which is not what is held fast here.
    let is_version = |text: &&str| text.starts_with("/assets/");
    let versions: Vec<&str> = page.split('"').filter(is_version).collect();
    let fixed = versions.iter().fold(page.clone(), |page, version| page.replace(version, "/assets/…"));
    insta::assert_snapshot!("overview", fixed.replace('>', ">\n"));
}

#[tokio::test]
async fn an_empty_page_says_what_to_do_next() {
    let page = send(&empty(Access::open()), get("/")).await.text;
    for command in
        ["lyceum up --demo", "lyceum ingest statements.jsonl", "http://127.0.0.1:8080/events/nlj.xapi.statements"]
    {
        assert!(page.contains(command), "{page}");
    }
}

#[tokio::test]
async fn what_a_sender_wrote_is_escaped_on_every_page() {
    let fakes = busy(Access::open()).await;
    for path in [
        "/".to_owned(),
        "/dead-letters".to_owned(),
        "/dead-letters?topic=%3Cscript%3Ealert(1)".to_owned(),
        "/dead-letters/list".to_owned(),
        "/dead-letters/list?rule=%3Cscript%3Ealert(1)".to_owned(),
        "/?tenant=%3Cscript%3Ealert(1)".to_owned(),
        "/?reach=month".to_owned(),
        "/learning?days=30&tenant=%3Cscript%3Ealert(1)".to_owned(),
        "/search?q=%3Cscript%3Ealert(1)".to_owned(),
        format!("/statements/{STATEMENT_ID}"),
        format!("/events/{BOOKINGS}/0/0"),
        format!("/events/{LETTERS}/0/0"),
    ] {
        let page = send(&fakes, get(&path)).await.text;
        let scripts: Vec<_> =
            page.match_indices("<script").map(|(at, _)| &page[at..page[at..].find('>').unwrap() + at]).collect();
        assert_eq!(scripts.len(), 1, "{path}: {scripts:?}");
        assert!(scripts[0].starts_with("<script src=\"/assets/live-"), "{path}: {scripts:?}");
        assert!(!page.contains("<b>bold"), "{path}");
        assert!(!page.contains(" style="), "{path}: the policy forbids inline style");
    }
    let page = send(&fakes, get(&format!("/events/{BOOKINGS}/0/0"))).await.text;
    assert!(page.contains("&lt;script&gt;alert('name')&lt;/script&gt;"), "{page}");
    assert!(page.contains("<mark>    &quot;id&quot;: &quot;confirmed&quot;</mark>"), "{page}");
}

#[tokio::test]
async fn who_opens_a_connection_and_sends_half_a_request_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fakes = empty(Access::open());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let services = fakes.services.clone();
    let limits = TimeLimits { head: Duration::from_millis(100), ..TimeLimits::default() };
    let server = tokio::spawn(serve_within(limits, listener, services, std::future::pending()));
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ").await.unwrap();
    let mut answer = Vec::new();
    // The end of the connection is what is waited for, with or without a word before it.
    let _ = slow.read_to_end(&mut answer).await;
    let after = lyceum_https::client().get(format!("http://{address}/health")).send().await.unwrap();
    assert_eq!(after.status(), StatusCode::OK);
    server.abort();
}

#[tokio::test]
async fn who_asks_and_never_reads_the_answer_is_not_waited_for() {
    use tokio::io::AsyncWriteExt;
    let mut fakes = empty(Access::open());
    // More than the buffers between two sockets take.
    let platform = json!({"text": "x".repeat(64 << 20)});
    fakes.services.analytics = std::sync::Arc::new(fake::FakeAnalytics { platform, tenants: Vec::new() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = TimeLimits { write: Duration::from_millis(100), ..TimeLimits::default() };
    let server = tokio::spawn(serve_within(limits, listener, fakes.services.clone(), std::future::pending()));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /api/analytics/platform/overview HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    // What is sent to a connection that is closed comes back as a failure.
    while client.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.abort();
}

#[tokio::test]
async fn a_store_that_is_a_service_shows_its_name_and_its_circuit() {
    let fakes = empty(Access::open());
    let embedded = send(&fakes, get("/health")).await.json()["components"].clone();
    assert!(embedded["event_log"].is_object() && embedded["search"].is_object(), "{embedded}");
    assert!(embedded["event_log"]["circuit"].is_null() && embedded["dynamodb"].is_null(), "{embedded}");
    // Asked at the same moment, it is one answer.
    assert!(embedded["ledger"].is_object() && embedded["ledger"] == embedded["database"], "{embedded}");
    let mut fakes = empty(Access::open());
    let metrics = fakes.services.metrics.clone();
    for dependency in [Dependency::Kafka, Dependency::DynamoDb, Dependency::Elasticsearch] {
        let guard = Guard::new(dependency, GuardLimits::default(), metrics.clone());
        fakes.services.guards.push(std::sync::Arc::new(guard));
    }
    let services = send(&fakes, get("/health")).await.json()["components"].clone();
    for part in ["kafka", "dynamodb", "elasticsearch"] {
        assert_eq!(services[part]["circuit"], "closed", "{services}");
    }
}

/// A registry that gives no access.
struct ClosedRegistry;

#[async_trait::async_trait]
impl FindSchema for ClosedRegistry {
    async fn find(&self, _: &SchemaRef) -> Result<Option<String>, SchemasError> {
        self.ping().await.map(|()| None)
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        Err(SchemasError::Unauthorized("it answered with 401".to_owned()))
    }
}

#[tokio::test]
async fn a_registry_that_gives_no_access_degrades_what_is_read_and_no_registry_is_no_part() {
    let mut fakes = empty(Access::open());
    let without = send(&fakes, get("/health")).await.json();
    assert!(without["status"] == "healthy" && without["components"]["schema_registry"].is_null(), "{without}");
    fakes.services.schemas = Some(std::sync::Arc::new(MemorySchemas::default()));
    let well = send(&fakes, get("/health")).await.json();
    assert_eq!(
        (&well["status"], &well["components"]["schema_registry"]["status"]),
        (&json!("healthy"), &json!("healthy"))
    );
    fakes.services.schemas = Some(std::sync::Arc::new(ClosedRegistry));
    let answer = send(&fakes, get("/health")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("degraded")));
    let error = answer.json()["components"]["schema_registry"]["error"].clone();
    assert_eq!(error, "the schema registry gives no access: it answered with 401");
}

/// What a page leads to on this server, its feed and its forms among them; what concerns the whole process apart.
fn paths_of(page: &str) -> Vec<String> {
    let attributes = [" href=\"", " data-live=\""].into_iter();
    let values = attributes.flat_map(|attribute| page.split(attribute).skip(1));
    let values = values.filter_map(|rest| rest.split('"').next()).map(|path| path.replace("&amp;", "&"));
    let of_process = ["/assets/", "/health", "/metrics", "/openapi.json"];
    values.filter(|path| path.starts_with('/') && !of_process.iter().any(|of| path.starts_with(of))).collect()
}

#[tokio::test]
async fn a_page_keeps_its_tenant_in_each_link_feed_and_form_though_nothing_was_seen_since_the_start() {
    let mut fakes = empty(Access::open());
    *fakes.dead_letters.0.lock().unwrap() = vec![
        fake::letter(0, DeadLetterKind::Rejected, Some("one"), false),
        fake::letter(1, DeadLetterKind::Rejected, Some("two"), false),
    ];
    let (platform, tenants) = (json!({"total": 2}), vec!["one".to_owned(), "two".to_owned()]);
    fakes.services.analytics = std::sync::Arc::new(fake::FakeAnalytics { platform, tenants });
    for path in ["/?tenant=one", "/dead-letters?tenant=one", &format!("/events/{LETTERS}/0/0?tenant=one")] {
        let page = send(&fakes, get(path)).await.text;
        let paths = paths_of(&page);
        assert!(!paths.is_empty(), "{path}: {page}");
        for to in paths {
            assert!(to.contains("tenant=one"), "{path} leads to {to}");
        }
        // The field that searches keeps it, too.
        let forms = page.matches("method=\"post\"").count() + 1;
        assert_eq!(page.matches(r#"<input type="hidden" name="tenant" value="one">"#).count(), forms, "{path}: {page}");
    }
    let page = send(&fakes, get("/?tenant=one")).await.text;
    assert!(page.contains(r#"data-live="/live?tenant=one""#), "{page}");
    assert!(page.contains("What came before is counted") && !page.contains("Nothing has arrived yet"), "{page}");
}

#[tokio::test]
async fn the_chooser_lists_the_tenants_that_have_data_and_says_where_one_has_none() {
    let fakes = busy(Access::open()).await;
    assert_eq!(send(&fakes, get("/api/tenants")).await.json()["tenants"], json!(["acme", "globex", "initech"]));
    let page = send(&fakes, get("/?tenant=nosuch")).await.text;
    for option in ["<option value=\"acme\">acme", "<option value=\"nosuch\" selected>nosuch (no data)"] {
        assert!(page.contains(option), "{option} is not in {page}");
    }
    let mut fakes = empty(Access::open());
    let tenants = vec!["acme".to_owned()];
    fakes.services.analytics = std::sync::Arc::new(fake::FakeAnalytics { platform: json!({"total": 0}), tenants });
    let page = send(&fakes, get("/?tenant=nosuch")).await.text;
    assert!(
        page.contains("Tenant <b>nosuch</b> has no data. There is data of <a href=\"/?tenant=acme\">acme</a>."),
        "{page}"
    );
    let fakes = busy(tokens()).await;
    assert_eq!(send(&fakes, by(get("/api/tenants"), "acme reads")).await.json()["tenants"], json!(["acme"]));
}

#[tokio::test]
async fn a_browser_is_shown_a_page_of_what_went_wrong_and_a_program_gets_a_problem() {
    let browser = |request| with(request, "accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let fakes = busy(tokens()).await;
    for (request, status, words) in [
        (get("/"), 401, "A token is needed"),
        (by(get("/"), "acme publishes"), 403, "The token may not do this"),
        (by(get("/?tenant=globex"), "acme reads"), 403, "your token is for tenant"),
        (by(get("/nowhere"), "acme reads"), 404, "no such path"),
        (by(get(&format!("/events/{BOOKINGS}/0/5000")), "operator of all"), 404, "there is no record"),
    ] {
        let answer = send(&fakes, browser(request)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(answer.text.starts_with("<!DOCTYPE html>") && answer.text.contains(words), "{}", answer.text);
        assert!(!answer.text.contains(".lyceum"), "who may see nothing is not told where the data is: {}", answer.text);
        assert_eq!(answer.headers.contains_key(header::WWW_AUTHENTICATE), status == 401);
    }
    send(&fakes, with(get("/"), "accept", "*/*")).await.is_problem(401, "unauthenticated", "Authorization: Bearer");
}

#[tokio::test]
async fn an_anomaly_and_its_event_lead_to_what_they_are_about_and_that_has_a_page() {
    let fakes = busy(Access::open()).await;
    let mut odd = fake::report("acme", 0, Outcome::Applied);
    let (name, message) = ("overbooked".into(), "3 bookings are confirmed for 2 seats".into());
    odd.anomalies = vec![lyceum_core::outcome::Anomaly { name, message }];
    fakes.observe(&[odd]);
    let link = "<a href=\"/state/session/s-1?tenant=acme\">session s-1</a>";
    // Also where every tenant is looked at, it is the event's own that has the state.
    for path in
        ["/", "/?tenant=acme", &format!("/events/{BOOKINGS}/0/0"), &format!("/events/{BOOKINGS}/0/0?tenant=acme")]
    {
        let page = send(&fakes, get(path)).await.text;
        assert!(page.contains(link) && page.contains("3 bookings are confirmed"), "{path}: {page}");
    }
    let page = send(&fakes, get("/state/session/s-1?tenant=acme")).await.text;
    assert!(page.contains("Session s-1 · Lyceum") && page.contains("<dt>capacity</dt><dd>2</dd>"), "{page}");
    send(&fakes, get("/state/session/nope?tenant=acme")).await.is_problem(404, "not-found", "nope");
    send(&fakes, get("/surveys/unknown")).await.is_problem(404, "not-found", "unknown");
    send(&fakes, get("/surveys/pulse?scale=x")).await.is_problem(400, "bad-request", "0..10");
    assert_eq!(send(&fakes, get("/surveys/pulse")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_text_is_found_as_whatever_it_names_and_what_is_one_thing_alone_is_led_to() {
    let fakes = busy(tokens()).await;
    let find = async |secret: &str, query: &str| send(&fakes, by(get(&format!("/search?q={query}")), secret)).await;
    let to = |answer: &Answer| answer.headers.get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
    let letter = format!("{LETTERS}/0/0");
    for (query, wanted) in [
        (letter.clone(), format!("/events/{letter}?tenant=acme")),
        ("mailto:ada@academy.example".to_owned(), "/learners/mailto%3Aada%40academy.example?tenant=acme".to_owned()),
        ("http://nlj.platform/activities/session/s-1".to_owned(), "/state/session/s-1?tenant=acme".to_owned()),
    ] {
        let answer = find("acme reads", &query).await;
        assert_eq!((answer.status, to(&answer)), (StatusCode::SEE_OTHER, Some(wanted)), "{query}");
        assert!(!send(&fakes, by(get(&to(&answer).unwrap()), "acme reads")).await.status.is_client_error(), "{query}");
    }
    // The fake knows a survey of every name.
    let event = find("acme reads", &STATEMENT_ID.to_string()).await.text;
    assert!(event.contains(&format!("/statements/{STATEMENT_ID}?tenant=acme")), "{event}");
    // A bare name may be a session's, a survey's and an account's.
    let several = find("acme reads", "s-1").await;
    for part in ["/state/session/s-1?tenant=acme", "/surveys/s-1?tenant=acme", "/learners/s-1?tenant=acme"] {
        assert!(several.status == StatusCode::OK && several.text.contains(part), "{part}: {}", several.text);
    }
    // What is another tenant's is not there.
    let event = find("globex does all", &STATEMENT_ID.to_string()).await.text;
    assert!(!event.contains("/statements/"), "{event}");
    for query in [letter, "http://nlj.platform/activities/session/s-1".to_owned()] {
        let none = find("globex does all", &query).await;
        assert!(
            none.status == StatusCode::OK && none.text.contains("has this name. It was looked for as"),
            "{query}: {}",
            none.text
        );
    }
    let event = find("operator of all", &STATEMENT_ID.to_string()).await.text;
    assert!(event.contains(&format!("/statements/{STATEMENT_ID}?tenant=acme")), "{event}");
    send(&fakes, by(get("/search?q=x&tenant=globex"), "acme reads")).await.is_problem(403, "forbidden-tenant", "acme");
}

#[tokio::test]
async fn the_overview_says_what_is_wrong_and_its_title_how_much_waits() {
    let fakes = busy(Access::open()).await;
    let page = send(&fakes, get("/")).await.text;
    assert!(page.contains("<title>4 waiting · Overview · Lyceum</title>"), "{page}");
    assert!(
        page.contains("600 events are waiting on nlj.xapi.statements:") && !page.contains("letters failed since"),
        "{page}"
    );
    let many = (0..12).map(|offset| fake::letter(offset, DeadLetterKind::Validation, Some("acme"), false));
    *fakes.dead_letters.0.lock().unwrap() = many.collect();
    let page = send(&fakes, get("/")).await.text;
    assert!(page.contains("12 events of acme failed since <time datetime=\"2026-03-05T09:29:55Z\""), "{page}");
    let page = send(&empty(Access::open()), get("/")).await.text;
    assert!(page.contains("<title>Overview · Lyceum</title>") && !page.contains("class=\"alarm\""), "{page}");
}

#[tokio::test]
async fn figures_of_charts_are_files_and_answers_and_each_tenant_has_its_own() {
    let fakes = busy(tokens()).await;
    let file = send(&fakes, by(get("/history.csv?reach=day"), "acme reads")).await;
    assert_eq!(file.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"events-day.csv\"");
    assert!(file.text.lines().count() == 97 && file.text.contains(",31,0,0,0,0,1\n"), "{}", file.text);
    let history = send(&fakes, by(get("/api/history?reach=month"), "globex does all")).await.json();
    let last = history["bars"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (last["outcomes"].clone(), history["is_durable"].clone()),
        (json!({"duplicate": 1, "retry_later": 1}), json!(false))
    );
    assert_eq!(history["bars"][0]["outcomes"], Value::Null, "there was no process then");
    let days = send(&fakes, by(get("/learning.csv?days=30"), "acme reads")).await.text;
    assert!(days.lines().count() == 31 && days.contains("2026-03-04,40,50,600\n"), "{days}");
    let page = send(&fakes, by(get("/?reach=year"), "acme reads")).await.text;
    assert!(
        page.contains("data-live=\"/live?reach=year&amp;tenant=acme\"")
            || page.contains("data-live=\"/live?reach=year\""),
        "{page}"
    );
    send(&fakes, by(get("/history.csv?reach=century"), "acme reads")).await.is_problem(400, "bad-request", "month");
    send(&fakes, by(get("/learning?days=8"), "acme reads")).await.is_problem(400, "bad-request", "30");
}

#[tokio::test]
async fn a_record_whose_statement_is_stored_is_known_long_after_it_was_processed_and_to_its_tenant_alone() {
    use lyceum_core::ports::event_log::Publish;
    use lyceum_core::ports::statements::{StatementDocument, StatementFields, StoreDocuments};
    let fakes = busy(tokens()).await;
    let id = uuid::Uuid::from_u128(77);
    let value = r#"{"id": "00000000-0000-0000-0000-00000000004d", "actor": {"mbox": "mailto:ada@academy.example"}}"#;
    let position = fakes.log.produce(STATEMENTS, vec![fake::record("acme", value.as_bytes())]).await.unwrap().remove(0);
    let document = StatementDocument {
        tenant: "acme".into(),
        id,
        raw: value.into(),
        stored_ms: fake::NOW_MS,
        source: position.clone(),
        correlation_id: "c".into(),
        fields: StatementFields {
            event_type: "booking.requested".into(),
            actor: "mbox:ada@academy.example".to_owned(),
            ..StatementFields::default()
        },
    };
    fakes.statements.store(vec![document]).await.unwrap();
    let path = format!("/events/{position}");
    let page = send(&fakes, by(get(&path), "acme reads")).await.text;
    for part in [
        "booking.requested · Lyceum",
        "It was applied: its statement is stored since",
        &format!("/statements/{id}?tenant=acme"),
        "/learners/mbox%3Aada%40academy.example?tenant=acme",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    send(&fakes, by(get(&path), "globex does all")).await.is_problem(404, "not-found", "of yours");
    let found = send(&fakes, by(get(&format!("/search?q={position}")), "globex does all")).await;
    assert!(found.text.contains("It was looked for as"), "{}", found.text);
    // Of what nothing is known that is said, and where a letter of it may be.
    let nothing = fakes.log.produce(STATEMENTS, vec![fake::record("acme", b"{}")]).await.unwrap().remove(0);
    let page = send(&fakes, by(get(&format!("/events/{nothing}")), "operator of all")).await.text;
    assert!(
        page.contains("How it ended is not known here any more") && page.contains("fell out of a full index"),
        "{page}"
    );
}

#[tokio::test]
async fn a_replay_is_begun_watched_and_stopped_by_its_pages_and_what_is_wrong_stands_beside_the_form() {
    let fakes = busy(Access::open()).await;
    let form = |path: &str, fields: &[(&str, &str)]| {
        let body = serde_urlencoded::to_string(fields).unwrap();
        with(post(path, body), "content-type", "application/x-www-form-urlencoded")
    };
    let begin = |fields: &[(&str, &str)]| {
        let all = [&[("topics", BOOKINGS), ("to", "topic"), ("limit", "3")], fields].concat();
        form("/events/replay", &all)
    };
    let wrong = send(&fakes, begin(&[("from", "soon"), ("act", "begin")])).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("role=\"alert\"") && wrong.text.contains("value=\"soon\""), "{}", wrong.text);
    let dry = send(&fakes, begin(&[("act", "look")])).await;
    assert_eq!(dry.status, StatusCode::OK);
    assert!(dry.text.contains("Nothing was done"), "{}", dry.text);
    let begun = send(&fakes, begin(&[("act", "begin")])).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
    let page = begun.headers[header::LOCATION].to_str().unwrap().to_owned();
    let shown = send(&fakes, get(&page)).await.text;
    assert!(shown.contains("data-watch") && shown.contains(">Cancel</button>"), "{shown}");
    let cancel = format!("/api{page}/cancel");
    for _ in 0..2 {
        // Once more leads to the same page, which shows how it stands.
        let answer = send(&fakes, form(&cancel, &[])).await;
        assert_eq!(
            (answer.status, answer.headers[header::LOCATION].to_str().unwrap()),
            (StatusCode::SEE_OTHER, &*page)
        );
    }
    let shown = send(&fakes, get(&page)).await.text;
    assert!(!shown.contains("data-watch") && shown.contains(">Resume</button>"), "{shown}");
    send(&fakes, post(&cancel, "")).await.is_problem(409, "conflict", "nothing to stop");
    let list = send(&fakes, get("/api/replays")).await.json();
    assert_eq!(list["replays"].as_array().unwrap().len(), 2);
    let running = send(&fakes, get("/events/status")).await.json();
    assert_eq!(running["replays"].as_array().unwrap().len(), 1, "{running}");
}

#[tokio::test]
async fn a_tenants_token_replays_its_own_events_and_finds_no_replay_of_others() {
    let secret = "a-secret-of-acme-alone";
    let roles = [Role::Read, Role::Operate];
    let fakes = busy(Access::new(vec![Token::new(secret, Some("acme".to_owned()), roles)])).await;
    let bearer = format!("Bearer {secret}");
    let ask = |request| with(request, "authorization", &bearer);
    let of_everybody = format!("/api/replays/{}", fake::replay().id());
    send(&fakes, ask(get(&of_everybody))).await.is_problem(404, "not-found", "there is no replay");
    send(&fakes, ask(post(&format!("{of_everybody}/cancel"), ""))).await.is_problem(404, "not-found", "no replay");
    assert_eq!(send(&fakes, ask(get("/api/replays"))).await.json()["replays"], json!([]));
    for (body, hint) in [
        (json!({"topics": [BOOKINGS], "target": "topic", "filter": {"tenant": "globex"}}), "filter.tenant"),
        (json!({"topics": [BOOKINGS], "target": {"file": {"place": "x"}}}), "token of every tenant"),
        (json!({"topics": [BOOKINGS], "target": {"other_topic": STATEMENTS}}), "token of every tenant"),
    ] {
        let answer = send(&fakes, ask(post("/events/replay", body.to_string()))).await;
        answer.is_problem(403, "forbidden-tenant", hint);
    }
    let own = json!({"topics": [BOOKINGS], "target": "topic"}).to_string();
    let begun = send(&fakes, ask(post("/events/replay", own))).await.json();
    assert_eq!(begun["request"]["filter"]["tenant"], "acme");
    assert_eq!(send(&fakes, ask(get("/api/replays"))).await.json()["replays"].as_array().unwrap().len(), 1);
}
