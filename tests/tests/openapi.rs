//! The HTTP API as its own document describes it: what a running process answers fits the schemas, to the last member.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use boon::{Compiler, Draft, Schemas};
use lyceum_given::binary::workspace;
use lyceum_tests::workplace::{Server, Workplace};
use serde_json::{Value, json};

/// The document of a process, and which of its operations were held to it.
struct Document {
    document: Value,
    strict: Value,
    answered: BTreeSet<String>,
}

impl Document {
    async fn of(server: &Server) -> Self {
        let (status, document) = server.get("/openapi.json", None).await;
        assert_eq!(status, 200);
        let mut strict = document["components"].clone();
        strict["schemas"].as_object_mut().expect("there are schemas").values_mut().for_each(forbid_other_members);
        Self { document, strict, answered: BTreeSet::new() }
    }

    /// What does not fit a schema of the document, read as strictly as it can be.
    fn what_is_wrong(&self, schema: &Value, body: &Value) -> Option<String> {
        const PLACE: &str = "https://lyceum.example/schema.json";
        let mut schema = schema.clone();
        schema["components"] = self.strict.clone();
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.add_resource(PLACE, schema).expect("the schema has a place");
        let mut schemas = Schemas::new();
        let schema = compiler.compile(PLACE, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        schemas.validate(body, schema).err().map(|error| format!("{error:#}"))
    }

    /// Holds an answer to the schema of its operation and status.
    fn check(&mut self, method: &str, path: &str, (status, body): (u16, Value)) -> Value {
        let operation = &self.document["paths"][path][method];
        let mut response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} answers {status}, which is not described: {body}");
        if let Some(reference) = response["$ref"].as_str() {
            response = self.document.pointer(reference.trim_start_matches('#')).expect("the reference leads somewhere");
        }
        let media_type = if (200..300).contains(&status) || path.starts_with("/health") {
            "application/json"
        } else {
            "application/problem+json"
        };
        let schema = &response["content"][media_type]["schema"];
        assert!(schema.is_object(), "{method} {path} has no schema for {status}");
        let wrong = self.what_is_wrong(schema, &body);
        assert_eq!(wrong, None, "{method} {path} answers {status}:\n{body:#}");
        if status < 300 {
            self.answered.insert(operation["operationId"].as_str().expect("an operation has an id").to_owned());
        }
        body
    }
}

/// A member that no schema describes would be found by nobody.
fn forbid_other_members(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(forbid_other_members);
            if members.contains_key("properties") && members.get("type").is_some_and(|of| of == "object") {
                members.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_other_members),
        _ => {}
    }
}

fn sample(name: &str) -> String {
    std::fs::read_to_string(workspace().join("events").join(name)).expect("the sample is there")
}

fn sample_json(name: &str) -> Value {
    serde_json::from_str(&sample(name)).expect("the sample is JSON")
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn every_answer_of_a_running_process_fits_the_schema_that_its_document_has_for_it() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let mut document = Document::of(&server).await;
    let events = [
        "training/valid/program.created.bare.json",
        "training/valid/session.scheduled.bare.json",
        "training/valid/booking.requested.bare.json",
        "survey/valid/survey.started.bare.json",
        "survey/valid/survey.answered.bare.json",
        "governance/valid/ir.approval_invalid.json",
        "statement/invalid/score-below-min.json",
        "training/invalid/session.scheduled.no-capacity.json",
    ];
    for (name, event) in events.iter().enumerate() {
        let file = format!("{name}.json");
        workplace.write(&file, sample(event));
        workplace.run(&["ingest", &file]).expect_code(if event.contains("/invalid/") { 3 } else { 0 });
    }
    let publication =
        json!([sample_json("statement/valid/minimal.json"), {"key": "k", "value": "no JSON", "headers": {"a": null}}]);
    let published = server.post("/events/nlj.xapi.statements", &publication, None).await;
    document.check("post", "/events/{topic}", published);
    let event = BASE64.encode(sample(events[0]));
    let ingestion = json!({"events": [{"topic": "nlj.training.programs", "value": event, "headers": [["a", "b"]]}]});
    let ingested = server.post("/api/ingest", &ingestion, None).await;
    document.check("post", "/api/ingest", ingested);
    let invoked = sample_json("aws/training-single-msk.json");
    let path = "/2015-03-31/functions/{function}/invocations";
    let answer = server.post(&path.replace("{function}", "training"), &invoked, None).await;
    document.check("post", path, answer);
    let imported = sample_json("on-failure/sqs-message-without-payload.json");
    let answer = server.post("/api/dead-letters/import", &imported, None).await;
    document.check("post", "/api/dead-letters/import", answer);
    let compared = server.post("/api/reconcile", &json!({"topics": ["nlj.xapi.statements"]}), None).await;
    let compared = document.check("post", "/api/reconcile", compared);
    assert_eq!(compared["listed"], json!([]), "{compared}");

    let letters = document.check("get", "/api/dead-letters", server.get("/api/dead-letters?limit=1000", None).await);
    let letter = letters["dead_letters"][0]["position"].as_str().expect("there is a letter").to_owned();
    let replay = "/api/dead-letters/replay";
    document.check("post", replay, server.post(replay, &json!({"all": true, "dry_run": true}), None).await);
    document.check("post", replay, server.post(replay, &json!({"positions": [letter], "wait": true}), None).await);
    let begin = "/events/replay";
    let request =
        json!({"topics": ["nlj.training.programs"], "range": {"times": {"from": "2020-01-01"}}, "target": "topic"});
    document.check("post", begin, server.post("/events/replay?dry_run=true", &request, None).await);
    document.check("post", begin, server.post(begin, &json!({"topics": [], "target": "topic"}), None).await);
    let slow = json!({"topics": ["nlj.training.programs", "nlj.training.sessions"], "target": "topic", "rate": 1});
    let run = document.check("post", begin, server.post(begin, &slow, None).await);
    let again = server.post(begin, &slow, None).await;
    assert_eq!(document.check("post", begin, again)["status"], 409);
    let run = run["id"].as_str().expect("a replay has an id").to_owned();
    for verb in ["cancel", "resume", "cancel"] {
        let path = format!("/api/replays/{{replay}}/{verb}");
        let answer = server.post(&path.replace("{replay}", &run), &json!({}), None).await;
        document.check("post", &path, answer);
    }
    let discard = "/api/dead-letters/discard";
    document.check("post", discard, server.post(discard, &json!({"all": true, "limit": 1}), None).await);
    let rebuild = "/api/rebuild";
    let plan = json!({"subscription": "learning", "action": "plan"});
    document.check("post", rebuild, server.post(rebuild, &plan, None).await);
    let start = json!({"subscription": "training", "action": "start"});
    document.check("post", rebuild, server.post(rebuild, &start, None).await);
    // The audit log comes behind what it is about.
    let sealed = loop {
        let answer = server.post("/api/audit/seal", &json!({}), None).await;
        if answer.0 != 200 || answer.1["sealed"].as_array().is_some_and(|sealed| !sealed.is_empty()) {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    document.check("post", "/api/audit/seal", sealed);
    while server.get("/api/security", None).await.1["total"] == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let id = sample_json(events[3])["id"].as_str().map(str::to_owned);
    let actor = encode("account:http://nlj.platform/users|u-2041");
    for (template, path) in [
        ("/health", "/health".to_owned()),
        ("/health/live", "/health/live".to_owned()),
        ("/health/ready", "/health/ready".to_owned()),
        ("/openapi.json", "/openapi.json".to_owned()),
        ("/asyncapi.json", "/asyncapi.json".to_owned()),
        ("/events/status", "/events/status".to_owned()),
        ("/api/analytics/platform/overview", "/api/analytics/platform/overview?from=2020-01-01".to_owned()),
        ("/api/analytics/learning", "/api/analytics/learning?from=2020-01-01".to_owned()),
        ("/api/history", "/api/history?reach=year".to_owned()),
        ("/api/analytics/surveys/{survey_id}", "/api/analytics/surveys/pulse-2026".to_owned()),
        ("/api/analytics/learners/{learner_id}", format!("/api/analytics/learners/{actor}")),
        ("/api/state/{kind}/{id}", "/api/state/program/spring-leadership".to_owned()),
        ("/api/state/{kind}/{id}", "/api/state/session/leadership-2026-03".to_owned()),
        ("/api/statements/{id}", format!("/api/statements/{}", id.expect("the sample has an id"))),
        ("/api/dead-letters/{topic}/{partition}/{offset}", format!("/api/dead-letters/{letter}")),
        ("/api/dead-letters", "/api/dead-letters?state=discarded".to_owned()),
        ("/api/dead-letters/summary", "/api/dead-letters/summary".to_owned()),
        ("/api/validation", "/api/validation?limit=10".to_owned()),
        ("/api/tenants", "/api/tenants".to_owned()),
        ("/api/replays", "/api/replays".to_owned()),
        ("/api/replays/{replay}", format!("/api/replays/{run}")),
        ("/api/audit", "/api/audit?kind=event".to_owned()),
        ("/api/security", "/api/security".to_owned()),
        ("/api/audit/logs", "/api/audit/logs".to_owned()),
        ("/api/audit/verify", "/api/audit/verify".to_owned()),
        ("/api/audit/proof", "/api/audit/proof?event=nlj.training.programs/0/0".to_owned()),
        ("/api/rebuild", "/api/rebuild".to_owned()),
        ("/api/rebuild/compare", "/api/rebuild/compare?subscription=training".to_owned()),
        ("/api/topics", "/api/topics".to_owned()),
        ("/api/topics/{topic}/records", "/api/topics/nlj.xapi.statements/records?limit=10".to_owned()),
    ] {
        let (status, body) = server.get(&path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        document.check("get", template, (status, body));
    }
    for (method, template, path) in [
        ("get", "/api/dead-letters", "/api/dead-letters?limit=0"),
        ("get", "/api/state/{kind}/{id}", "/api/state/session/none"),
        ("get", "/api/analytics/surveys/{survey_id}", "/api/analytics/surveys/none"),
        ("get", "/api/rebuild/compare", "/api/rebuild/compare?subscription=none"),
        ("get", "/api/topics/{topic}/records", "/api/topics/none/records"),
        ("post", "/events/{topic}", "/events/none"),
        ("post", "/events/{topic}", "/events/nlj.errors.validation"),
    ] {
        let answer = match method {
            "get" => server.get(path, None).await,
            _ => server.post(path, &json!({}), None).await,
        };
        assert!((400..500).contains(&answer.0), "{path} answers {}", answer.0);
        document.check(method, template, answer);
    }
    let many = server.post("/events/nlj.xapi.statements", &json!(vec![0; 10_001]), None).await;
    assert_eq!(document.check("post", "/events/{topic}", many)["status"], 413);

    let json_answers = document.document["paths"].as_object().expect("there are paths").values().flat_map(|path| {
        path.as_object().expect("a path has operations").values().filter(|operation| {
            operation["responses"].as_object().is_some_and(|responses| {
                responses.values().any(|response| response["content"]["application/json"].is_object())
            })
        })
    });
    let all: BTreeSet<String> =
        json_answers.map(|operation| operation["operationId"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(document.answered, all, "operations whose answers were looked at, and all of them");
    server.stop().expect_code(0);
}

#[tokio::test]
async fn what_a_document_shows_as_an_example_is_accepted_and_fits_its_schema() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let document = Document::of(&server).await;
    let mut sent = 0;
    for (path, operations) in document.document["paths"].as_object().expect("there are paths") {
        let body = &operations["post"]["requestBody"]["content"]["application/json"];
        let Some(example) = body.get("example") else { continue };
        assert_eq!(document.what_is_wrong(&body["schema"], example), None, "{path}");
        let (status, answer) = server.post(&path.replace("{topic}", "nlj.xapi.statements"), example, None).await;
        assert!((200..300).contains(&status), "{path} answers {status}: {answer}");
        sent += 1;
    }
    assert!(sent >= 3, "{sent} examples");
}

#[tokio::test]
async fn a_document_asks_for_tokens_only_where_the_process_does() {
    let workplace = Workplace::new();
    let open = Document::of(&workplace.up(&[])).await.document;
    let tokens = [("API_TOKENS", "*:read+publish+operate:a-long-secret-of-everybody")];
    let server = workplace.up(&tokens);
    let mut closed = Document::of(&server).await;
    let security = |document: &Value, path: &str| document["paths"][path]["get"]["security"].clone();
    assert_eq!(security(&open, "/api/topics"), json!([]));
    assert_eq!(security(&closed.document, "/api/topics"), json!([{"bearer": []}, {"basic": []}]));
    assert_eq!(security(&closed.document, "/health"), json!([]));
    let refused = server.get("/api/topics", None).await;
    assert_eq!(closed.check("get", "/api/topics", refused)["status"], 401);
}
