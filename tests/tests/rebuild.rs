//! Projections are rebuilt beside the live ones and swapped in, while events come and the process dies: both answer the same, and nothing
//! goes out twice.

use std::collections::BTreeMap;
use std::time::Duration;

use lyceum_given::binary::workspace;
use lyceum_tests::load::settle;
use lyceum_tests::workplace::{Server, Workplace};
use serde_json::{Value, json};

/// One of each effect that can be rebuilt: numbers, numbers, windows of others' events, states whose keys are at home.
const REBUILT: [&str; 4] = ["learning", "engagement", "watch-security", "survey"];
const PATIENCE: Duration = Duration::from_secs(600);

async fn known(server: &Server, name: &str) -> Value {
    let (status, answer) = server.get("/api/rebuild", None).await;
    assert_eq!(status, 200, "{answer}");
    let all = answer["subscriptions"].as_array().expect("a list");
    all.iter().find(|known| known["subscription"] == name).unwrap_or_else(|| panic!("{name}: {answer}")).clone()
}

/// What every topic of letters and follow-ups holds: those ids that are there more than once.
async fn published_twice(server: &Server) -> Vec<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let (_, topics) = server.get("/api/topics", None).await;
    for topic in topics["topics"].as_array().expect("a list") {
        let topic = topic["topic"].as_str().expect("a name");
        let mut offsets = String::new();
        loop {
            let path = format!("/api/topics/{topic}/records?limit=1000&offsets={offsets}");
            let (status, answer) = server.get(&path, None).await;
            assert_eq!(status, 200, "{answer}");
            let records = answer["records"].as_array().expect("a list");
            for record in records {
                let header = |name: &str| {
                    let headers = record["headers"].as_array()?;
                    headers.iter().find(|header| header[0] == name)?[1].as_str().map(str::to_owned)
                };
                // Of ours alone: whoever sends an event twice does so on purpose.
                let follows = header("lyceum-hops").and_then(|_| record["value"]["id"].as_str().map(str::to_owned));
                if let Some(id) = header("lyceum-letter-id").or(follows) {
                    *times.entry(format!("{topic} {id}")).or_default() += 1;
                }
            }
            offsets = answer["next"].as_str().expect("a place").to_owned();
            if records.is_empty() {
                break;
            }
        }
    }
    assert!(times.len() > 20, "{} letters and follow-ups are too few to tell", times.len());
    times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect()
}

async fn analytics(server: &Server) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in ["/api/analytics/platform/overview", "/api/analytics/learning", "/api/tenants"] {
        let (status, answer) = server.get(path, None).await;
        assert_eq!(status, 200, "{answer}");
        answers.push(answer);
    }
    answers
}

/// A tenant has one window, which sees the events of all partitions: its events come one after the other here, as they do in life.
async fn watch(workplace: &Workplace, server: &Server, from: u64) {
    let sample = std::fs::read_to_string(workspace().join("events/governance/valid/ir.approval_invalid.json"));
    let sample: Value = serde_json::from_str(&sample.expect("the sample is there")).expect("it is JSON");
    for number in from..from + 12 {
        let mut event = sample.clone();
        event["id"] = json!(format!("6f1c2a9e-0000-4000-8000-{number:012}"));
        event["payload"]["approval_id"] = json!(format!("approval-{}", number % 7));
        event["payload"]["actor"] = json!(format!("actor-{}", number % 3));
        workplace.write("watched.json", event.to_string());
        workplace.run(&["ingest", "watched.json"]).expect_code(0);
    }
    settle(server, PATIENCE).await;
}

fn generate(seed: &'static str, events: &'static str) -> [&'static str; 13] {
    let families = "learning,engagement,survey,training,statement,distribution";
    [
        "generate",
        "--families",
        families,
        "--events",
        events,
        "--seed",
        seed,
        "--duplicates",
        "0.03",
        "--broken",
        "0.03",
        "--to",
        "all",
    ]
}

#[tokio::test]
async fn projections_are_rebuilt_while_events_come_and_answer_the_same() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let loading = &generate("11", "5000");
    workplace.run(loading).expect_code(0);
    watch(&workplace, &server, 0).await;
    let before = analytics(&server).await;

    workplace.run(&["rebuild", "learning", "--dry-run"]).expect_code(0).expect_print(&["records would be read"]);
    assert_eq!(known(&server, "learning").await["build"], json!(null));
    for name in REBUILT {
        workplace.run(&["rebuild", name, "--no-swap"]).expect_code(0).expect_print(&["has all"]);
        assert_eq!(known(&server, name).await["live"], 0);
        workplace.run(&["rebuild", name, "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    }
    // Others go on, and a swap is none of their affair.
    let further = &generate("12", "2500");
    let coming = workplace.start(further);
    for name in REBUILT {
        workplace.run(&["rebuild", name]).expect_code(0).expect_print(&["generation 1", "is live"]);
        let known = known(&server, name).await;
        assert_eq!((&known["live"], &known["build"]["stage"]), (&json!(1), &json!("swapped")), "{known}");
    }
    coming.wait().expect_code(0);
    watch(&workplace, &server, 100).await;
    for name in REBUILT {
        // What came since the swap is in the live one alone: the one before lacks it, until it has what it lacks.
        workplace.run(&["rebuild", name, "--back"]).expect_code(0).expect_print(&["generation 0", "is live"]);
        workplace.run(&["rebuild", name]).expect_code(0).expect_print(&["generation 2", "is live"]);
        workplace.run(&["rebuild", name, "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    }
    assert_eq!(published_twice(&server).await, Vec::<String>::new());
    let after = analytics(&server).await;
    assert_ne!(before, after, "events came meanwhile");
    let (status, learner) = server.get("/api/rebuild/compare?subscription=learning", None).await;
    assert_eq!((status, &learner["differing"]), (200, &json!(0)));
    assert!(learner["same"].as_u64().is_some_and(|same| same > 50), "{learner}");
    server.stop().expect_code(0);
}

#[tokio::test]
async fn a_rebuild_goes_on_where_the_process_was_killed_and_can_be_cancelled() {
    let workplace = Workplace::new();
    let mut server = workplace.up(&[]);
    workplace.run(&generate("13", "8000")).expect_code(0);
    settle(&server, PATIENCE).await;
    let mut killed_amid = 0;
    for _ in 0..2 {
        let start = json!({"subscription": "learning", "action": "start", "swap": true});
        let (status, answer) = server.post("/api/rebuild", &start, None).await;
        assert_eq!(status, 200, "{answer}");
        let stage = async || known(&server, "learning").await["build"]["stage"].clone();
        while stage().await.is_null() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        killed_amid += usize::from(stage().await == "building");
        server.running.kill();
        server = workplace.up(&[]);
    }
    assert!(killed_amid > 0, "it was never killed while it worked");
    workplace.run(&["rebuild", "learning"]).expect_code(0).expect_print(&["is live"]);
    workplace.run(&["rebuild", "learning", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    assert_eq!(published_twice(&server).await, Vec::<String>::new());

    workplace.run(&["rebuild", "survey", "--no-swap"]).expect_code(0);
    workplace
        .run(&["rebuild", "survey", "--cancel"])
        .expect_code(0)
        .expect_print(&["cancelled", "generation 0 is live"]);
    workplace
        .run(&["rebuild", "survey", "--cancel"])
        .expect_code(1)
        .expect_report(&["no rebuild of survey is under way"]);
    workplace.run(&["rebuild"]).expect_code(0).expect_print(&["survey", "cancelled", "learning", "swapped"]);
    workplace.run(&["rebuild", "survey", "--back"]).expect_code(1).expect_report(&["nothing to go back to"]);
    for name in ["statement", "generator", "audit", "no such"] {
        workplace.run(&["rebuild", name]).expect_code(1).expect_report(&["can be built anew", "learning"]);
    }
    server.stop().expect_code(0);
    // Where no process serves the data, the command does it by itself.
    workplace.run(&["rebuild", "engagement"]).expect_code(0).expect_print(&["generation 1 of engagement is live"]);
    workplace.run(&["rebuild", "engagement", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
}
