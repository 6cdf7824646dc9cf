//! Whoever is told by a webhook that something is wrong, and that it is over.

use std::time::Duration;

use lyceum_tests::webhook::receiver;
use lyceum_tests::workplace::Workplace;
use serde_json::json;

#[tokio::test]
async fn dead_letters_beyond_the_limit_are_told_to_the_webhook_until_it_takes_it_and_its_address_is_never_shown() {
    let (url, posted) = receiver(&[503, 200]);
    let workplace = Workplace::new();
    let server = workplace.up(&[
        ("ALERT_WEBHOOK_URL", &url),
        ("ALERT_DEAD_LETTERS", "2"),
        ("ALERT_ERROR_PERCENT", "0"),
        ("ALERT_CPU_PERCENT", "0"),
        ("ALERT_MEMORY_PERCENT", "0"),
        ("ALERT_AFTER_SECONDS", "0"),
        ("LOG_LEVEL", "warn"),
    ]);
    let events = json!([{"no": "statement"}, {"no": "statement"}, {"no": "statement"}]);
    assert_eq!(server.post("/events/nlj.xapi.statements", &events, None).await.0, 202);
    let next = || posted.recv_timeout(Duration::from_secs(60)).expect("somebody is told");
    let (refused, first) = next();
    let (taken, again) = next();
    assert_eq!((refused, taken, &first), (503, 200, &again));
    assert_eq!(
        first["text"].as_str().map(|text| text.split(" (").next().expect("a sentence")),
        Some("3 events of statement were dead-lettered in five minutes")
    );
    let told = |name: &str| first[name].clone();
    assert_eq!(
        [told("status"), told("alert"), told("subject"), told("value"), told("limit")],
        [json!("firing"), json!("dead-letters"), json!("statement"), json!(3.0), json!(2.0)]
    );
    let (_, metrics) = server.get("/metrics", None).await;
    let metrics = metrics.as_str().expect("it is text");
    for line in [
        "lyceum_error_rate{subscription=\"statement\"} 1.0",
        "lyceum_process_memory_bytes ",
        "lyceum_process_cpu_seconds_total ",
        "lyceum_consumer_lag_seconds{topic=\"nlj.xapi.statements\",subscription=\"statement\"} ",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line} is not among\n{metrics}");
    }
    let stopped = server.stop().expect_code(0);
    let printed = format!("{stopped:?}");
    assert!(printed.contains("an alert could not be told") && !printed.contains("a-secret-path"), "{printed}");
}

#[test]
fn an_address_that_is_none_ends_the_start_and_is_not_repeated() {
    let workplace = Workplace::new();
    let variables = [("ALERT_WEBHOOK_URL", "ftp://hooks.example/a-secret-path"), ("ALERT_LAG_SECONDS", "soon")];
    let finished = workplace.run_with(&variables, &["up", "--port", "0"]);
    let printed = format!("{finished:?}");
    assert!(
        printed.contains("ALERT_WEBHOOK_URL is no http:// or https:// address")
            && printed.contains("ALERT_LAG_SECONDS"),
        "{printed}"
    );
    assert!(!printed.contains("a-secret-path"), "{printed}");
    finished.expect_code(1);
}
