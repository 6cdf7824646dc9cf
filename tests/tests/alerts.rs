//! Whoever is told by a webhook that something is wrong, and that it is over.

use std::time::Duration;

use lyceum_tests::webhook::{approval_invalid, next_of, receiver, security_alone};
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
    let next = || posted.recv_timeout(Duration::from_secs(600)).expect("somebody is told");
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

const FINGERPRINT: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[tokio::test]
async fn each_security_alert_is_posted_once_until_it_is_taken_and_a_restart_neither_loses_nor_repeats_one() {
    let workplace = Workplace::new();
    let (away, refused) = receiver(&[503]);
    let (url, posted) = receiver(&[429, 200]);
    let publish = async |server: &lyceum_tests::workplace::Server, tenant: &str, number: u32, fingerprint: &str| {
        let event = approval_invalid(tenant, number, fingerprint);
        assert_eq!(server.post("/events/governance.events.v1", &event, None).await.0, 202);
    };
    // Before anybody is told: this one is on the page alone.
    let server = workplace.up(&[]);
    publish(&server, "acme", 1, FINGERPRINT).await;
    while server.get("/api/security?tenant=acme", None).await.1["total"] != 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().expect_code(0);

    // Nobody takes it, and the process goes on all the same, and ends.
    let server = workplace.up(&security_alone(&away));
    publish(&server, "acme", 2, "the-raw-token").await;
    let (_, first) = next_of(&refused, "acme");
    publish(&server, "acme", 3, FINGERPRINT).await;
    while server.get("/api/security?tenant=acme", None).await.1["total"] != 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stopped = server.stop().expect_code(0);
    assert!(!format!("{stopped:?}").contains("a-secret-path"), "{stopped:?}");

    let server = workplace.up(&security_alone(&url));
    let (refused, again) = next_of(&posted, "acme");
    let (taken, second) = next_of(&posted, "acme");
    assert_eq!((refused, taken, &again, &second), (429, 200, &first, &first), "it is posted until it is taken");
    assert_eq!(
        ["text", "severity", "cause", "tenant", "about", "actor", "token_fingerprint", "status"]
            .map(|name| first[name].clone()),
        [
            json!("Security, high, tenant acme: an approval could not be used: ap-2 (token mismatch), by eve"),
            json!("high"),
            json!("approval_invalid"),
            json!("acme"),
            json!("ap-2"),
            json!("eve"),
            json!(null),
            json!("firing"),
        ]
    );
    let (_, third) = next_of(&posted, "acme");
    assert_eq!((&third["about"], &third["token_fingerprint"]), (&json!("ap-3"), &json!(FINGERPRINT)));
    // The same event once more is no other alert, and the tenant of a token sees its own.
    publish(&server, "acme", 3, FINGERPRINT).await;
    publish(&server, "globex", 4, FINGERPRINT).await;
    let (_, of_globex) = posted.recv_timeout(Duration::from_secs(600)).expect("somebody is told");
    assert_eq!((&of_globex["tenant"], &of_globex["about"]), (&json!("globex"), &json!("ap-4")));
    assert_ne!(of_globex["key"], third["key"]);
    server.stop().expect_code(0);

    // A process that is killed tells nothing anew that was taken and committed before.
    let tokens = [("API_TOKENS", "acme:read+publish:a-long-secret-of-acme,*:read+publish:a-long-secret-of-everybody")];
    let server = workplace.up(&[security_alone(&url).as_slice(), &tokens].concat());
    let event = approval_invalid("acme", 5, FINGERPRINT);
    let all = Some("a-long-secret-of-everybody");
    assert_eq!(server.post("/events/governance.events.v1", &event, all).await.0, 202);
    let (_, fifth) = posted.recv_timeout(Duration::from_secs(600)).expect("somebody is told");
    assert_eq!(fifth["about"], "ap-5", "nothing that was told before a restart is told again");
    // What somebody publishes in another tenant's name is told to nobody.
    let forged = json!({
        "id": "00000000-0000-4000-8000-000000000009", "type": "security.alert.raised", "source": "security", "target": null,
        "timestamp": "2026-03-02T08:04:00Z",
        "payload": {"severity": "critical", "cause": "brute_force", "actor": "ada", "count": 9, "window_start": "2026-03-02T08:00:00Z"},
        "meta": {"schema_version": "1.0", "producer": "security-service", "source_module": "security", "tenant_id": "globex"},
    });
    let published = server.post("/events/security.alerts.v1", &forged, Some("a-long-secret-of-acme")).await;
    assert_eq!(published.0, 202, "{}", published.1);
    while server.get("/api/dead-letters?topic=security.alerts.v1", all).await.1["total"] == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let event = approval_invalid("acme", 6, FINGERPRINT);
    assert_eq!(server.post("/events/governance.events.v1", &event, all).await.0, 202);
    let (_, sixth) = posted.recv_timeout(Duration::from_secs(600)).expect("somebody is told");
    assert_eq!(sixth["about"], "ap-6", "the forged one was passed by");
    // The fifth of one actor: eve tries.
    let (_, brute_force) = posted.recv_timeout(Duration::from_secs(600)).expect("somebody is told");
    let told = ["cause", "severity", "actor", "count"].map(|name| brute_force[name].clone());
    assert_eq!(told, [json!("brute_force"), json!("critical"), json!("eve"), json!(5)]);
    let (_, own) = server.get("/api/security?severity=high", Some("a-long-secret-of-acme")).await;
    let abouts: Vec<_> = own["alerts"].as_array().expect("alerts").iter().map(|of| of["about"].clone()).collect();
    assert!(abouts.len() >= 3 && !own.to_string().contains("globex"), "{own}");
    let (_, page) = server.get("/security", Some("a-long-secret-of-acme")).await;
    let page = page.as_str().expect("a page").to_owned();
    assert!(
        page.contains("ap-2") && page.contains("/audit?correlation=deploy-2") && !page.contains("globex"),
        "{page}"
    );
    for what in [&first, &second, &third, &of_globex, &fifth] {
        assert!(!what.to_string().contains("the-raw-token"), "{what}");
    }
    assert!(!page.contains("the-raw-token") && !own.to_string().contains("the-raw-token"));
    server.stop().expect_code(0);
    assert!(posted.try_recv().is_err(), "nothing else was posted");
}
