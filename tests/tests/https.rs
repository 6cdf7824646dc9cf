//! Others that are called by TLS: whoever writes content, whoever is told of alerts, another release.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use lyceum_proxies::http::{Act, HttpProxy};
use lyceum_proxies::tls::{Tls, authority};
use lyceum_tests::webhook::{approval_invalid, security_alone};
use lyceum_tests::workplace::{Running, Workplace, until};
use serde_json::{Value, json};

/// A language model's answer, as its events come.
fn content() -> impl IntoResponse {
    let events = [
        json!({"type": "message_start", "message": {"model": "writer-1", "content": [], "usage": {"input_tokens": 40, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Forty seconds, with soap."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ];
    let events: String = events.iter().map(|event| format!("event: any\ndata: {event}\n\n")).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_and_a_webhook_by_https_are_called_where_the_machine_trusts_their_authority_and_not_where_it_does_not()
{
    let (pem, acceptor) = authority();
    let (listener, url) = Tls::on_a_free_port(acceptor).await.expect("a free port");
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let router = {
        let told = told.clone();
        let tell = async move |alert: Bytes| {
            told.lock().expect("no test failed").push(serde_json::from_slice(&alert).expect("it is JSON"));
            StatusCode::OK
        };
        Router::new().route("/v1/messages", post(async || content())).route("/a-secret-path", post(tell))
    };
    tokio::spawn(async move { axum::serve(listener, router).await });
    let webhook = format!("{url}/a-secret-path");
    let asks = [("CLAUDE_API_KEY", "key"), ("CONTENT_GENERATOR_MODEL", "writer-1"), ("CONTENT_GENERATOR_URL", &*url)];
    let told_of = security_alone(&webhook);
    let variables = [&asks[..], &told_of].concat();
    let request: Value =
        serde_json::from_str(include_str!("../../events/generation/valid/content.generation.requested.bare.json"))
            .expect("it is JSON");

    // A machine that knows other authorities.
    let workplace = Workplace::new();
    let server = workplace.up(&variables);
    assert_eq!(server.post("/events/nlj.content.generation", &json!([request]), None).await.0, 202);
    const REPORTS: &str = "/events/governance.events.v1";
    assert_eq!(server.post(REPORTS, &approval_invalid("acme", 1, "aa"), None).await.0, 202);
    until("both are refused", || {
        let reported = server.running.printed() + &server.running.reported();
        let refused = |by: &str| reported.lines().any(|line| line.contains(by) && line.contains("UnknownIssuer"));
        refused("the content generator gave no content") && refused("the function failed with Webhook")
    });
    assert!(told.lock().expect("no test failed").is_empty());
    server.stop().expect_code(0);

    // The same, once it knows this one.
    let file = workplace.write("authority.pem", &pem);
    let trusting = [&variables[..], &[("SSL_CERT_FILE", file.to_str().expect("it is text"))]].concat();
    let server = workplace.up(&trusting);
    assert_eq!(server.post(REPORTS, &approval_invalid("acme", 2, "bb"), None).await.0, 202);
    until("the content is kept", || {
        let shown = workplace.run(&["show", "generation", "lesson-7"]);
        shown.code == Some(0) && shown.stdout.contains(r#""model": "writer-1""#) && shown.stdout.contains("completed")
    });
    until("the alert is told", || told.lock().expect("no test failed").iter().any(|alert| alert["about"] == "ap-2"));
    server.stop().expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_release_is_asked_by_https_where_the_machine_trusts_its_authority() {
    let workplace = Workplace::new();
    workplace.run(&["generate", "--events", "60", "--seed", "11", "--to", "load.jsonl"]).expect_code(0);
    let judge = workplace.start(&["judge", "--listen", "127.0.0.1:0"]);
    let line = judge.wait_for_line("judges records at http://");
    let address = line.split_whitespace().find(|word| word.starts_with("http://")).expect("it is named");
    let (pem, acceptor) = authority();
    let (listener, url) = Tls::on_a_free_port(acceptor).await.expect("a free port");
    let origin = address.trim_end_matches(',').trim_end_matches("/judge");
    let _proxy = HttpProxy::listening(listener, url.clone(), origin, |_, _| Act::Pass).expect("there is a client");
    let file = workplace.write("authority.pem", &pem);
    let compare = |variables: &[(&str, &str)]| {
        let arguments = ["replay", "--shadow", &url, "--records", "load.jsonl"];
        Running::start(workplace.command(&arguments).envs(variables.iter().copied())).wait()
    };
    compare(&[]).expect_code(2).expect_report(&["certificate", "UnknownIssuer"]);
    compare(&[("SSL_CERT_FILE", file.to_str().expect("it is text"))]).expect_code(0).expect_print(&["no difference"]);
}
