//! A load of every family with all that goes wrong in life comes out as it must: to the last event, whoever processes it, and however
//! often that process is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use lyceum_generate::{Expected, Generator, Plan, Shares, UNFORESEEN};
use lyceum_tests::load::came_out;
use lyceum_tests::workplace::Workplace;
use serde_json::{Value, json};

/// All that goes wrong.
const SHARES: [&str; 8] = ["--duplicates", "0.02", "--late", "0.01", "--out-of-order", "0.01", "--broken", "0.04"];

/// The plan of the options above.
fn plan(seed: u64, events: u64) -> Plan {
    let shares = Shares { duplicates: 0.02, late: 0.01, out_of_order: 0.01, broken: 0.04 };
    Plan { seed, events: Some(events), shares, ..Plan::default() }
}

fn expected(plan: Plan) -> Expected {
    let mut expected = Expected::default();
    Generator::new(plan).expect("the plan is good").for_each(|made| expected.add(&made));
    expected
}

#[tokio::test]
async fn every_event_of_every_family_ends_as_it_must_and_so_does_what_follows() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let events = 6_000;
    let arguments = ["generate", "--events", "6000", "--seed", "5", "--to", "all", "--expect", "expected.json"];
    let told = workplace.run(&[&arguments[..], &SHARES[..]].concat()).expect_code(0);
    told.expect_print(&["6000 events came out as they must", "not foreseen"]);
    let expected = expected(plan(5, events));
    let written = std::fs::read_to_string(workplace.path().join("expected.json")).expect("it was written");
    assert_eq!(written, expected.to_json());

    let started = Instant::now();
    loop {
        let (events, letters) = came_out(&server).await;
        let wrong = expected.differences(&events, &letters);
        if wrong.is_empty() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(600), "{}", wrong.join("\n"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Every family has processed something.
    let (events, _) = came_out(&server).await;
    for of in lyceum_functions::REGISTRY {
        let name = of.subscription.name;
        assert!(events.keys().any(|[family, _, outcome]| family == name && outcome == "applied"), "{name}");
    }
    server.stop().expect_code(0);
}

#[test]
fn a_load_in_a_file_is_ingested_as_it_must_be_and_kills_in_between_change_nothing() {
    let workplace = Workplace::new();
    let arguments =
        ["generate", "--events", "2000", "--seed", "6", "--to", "load.jsonl.gz", "--expect", "expected.json"];
    workplace.run(&[&arguments[..], &SHARES[..]].concat()).expect_code(0);
    let read = std::fs::read_to_string(workplace.path().join("expected.json")).expect("it was written");
    let expected: Value = serde_json::from_str(&read).expect("it is JSON");

    let ingest = |data: &'static str| ["ingest", "load.jsonl.gz", "--data", data, "--format", "json"];
    let started = Instant::now();
    let undisturbed = workplace.run(&ingest("undisturbed")).expect_code(3).json();
    let took = started.elapsed();
    for name in ["applied", "duplicate", "dead_lettered", "skipped"] {
        assert_eq!(undisturbed[name], expected[name], "{name}: {undisturbed}");
    }

    let mut killed = 0;
    for share in [0.35, 0.6, 0.8] {
        let running = workplace.start(&ingest("killed"));
        std::thread::sleep(took.mul_f64(share));
        killed += usize::from(running.kill());
    }
    assert!(killed > 0, "every kill came too late");
    let last = workplace.run(&ingest("killed")).expect_code(3).json();
    let sum = |of: &Value| of["applied"].as_u64().unwrap_or(0) + of["duplicate"].as_u64().unwrap_or(0);
    assert_eq!((&last["dead_lettered"], &last["skipped"]), (&expected["dead_lettered"], &expected["skipped"]));
    assert_eq!(sum(&last), sum(&expected), "{last}");
    let again = workplace.run(&ingest("killed")).expect_code(3).json();
    assert_eq!((&again["applied"], again["duplicate"].as_u64()), (&json!(0), Some(sum(&expected))), "{again}");

    // Once each: what is stored and counted is the same with kills and without.
    let numbers = |data: &str| {
        let arguments = ["query", "platform", "--tenant", "academy", "--format", "json", "--data", data];
        workplace.run(&arguments).expect_code(0).json()
    };
    let (with, without) = (numbers("killed"), numbers("undisturbed"));
    for name in ["total", "verbs", "event_types"] {
        assert_eq!(with[name], without[name], "{name}");
    }
    let stored = |of: &Value, name: &str| -> BTreeMap<String, u64> {
        let rows = of[name].as_array().expect("it is a list").iter();
        let row = |row: &Value| Some((row["event_type"].as_str()?.to_owned(), row["count"].as_u64()?));
        rows.filter_map(row).filter(|(name, _)| !is_open(name)).collect()
    };
    let mut must = BTreeMap::<String, u64>::new();
    let endings = expected["outcomes"].as_array().into_iter().chain(expected["follow_ups"].as_array()).flatten();
    for of in endings.filter(|of| of["outcome"] == "applied") {
        let name = of["event_type"].as_str().expect("it is a name");
        if !is_open(name) {
            *must.entry(name.to_owned()).or_default() += of["count"].as_u64().expect("it is a number");
        }
    }
    for numbers in [with, without] {
        let mut all = stored(&numbers, "event_types");
        all.extend(stored(&numbers, "other_documents"));
        assert_eq!(all, must);
    }
}

/// Of these nobody can say how many are applied: alerts, and what may come before or after the end of what it is about.
fn is_open(event_type: &str) -> bool {
    UNFORESEEN.contains(&event_type) || event_type == "distribution.updated"
}

#[test]
fn the_same_arguments_make_the_same_bytes_wherever_they_go() {
    let workplace = Workplace::new();
    let of = |to: &str, seed: &str| {
        let arguments = ["generate", "--events", "700", "--seed", seed, "--tenants", "north,south", "--to", to];
        workplace.run(&[&arguments[..], &SHARES[..]].concat()).expect_code(0)
    };
    let printed = of("-", "1").stdout;
    assert_eq!(printed.lines().count(), 700);
    assert!(printed.contains(r#"["tenant-id","south"]"#) && !printed.contains("academy"));
    assert_ne!(of("-", "2").stdout, printed);
    of("load.jsonl", "1");
    assert_eq!(std::fs::read_to_string(workplace.path().join("load.jsonl")).expect("it was written"), printed);
    of("load.jsonl.gz", "1");
    let file = std::fs::File::open(workplace.path().join("load.jsonl.gz")).expect("it was written");
    assert_eq!(std::io::read_to_string(MultiGzDecoder::new(file)).expect("it is gzip"), printed);
}

#[tokio::test]
async fn a_rate_sends_events_of_now_through_the_process_that_owns_the_data() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let arguments = ["generate", "--rate", "100", "--events", "120", "--to", "nlj.xapi.statements", "--format", "json"];
    let told = workplace.run(&arguments).expect_code(0);
    assert!(told.stdout.contains("120 events came out as they must"), "{}", told.stdout);
    let running = workplace.start(&["generate", "--rate", "50", "--seed", "3", "--to", "all"]);
    while server.get("/api/analytics/platform/overview?tenant=academy", None).await.1["total"].as_u64() <= Some(120) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.interrupt();
    running.wait().expect_code(0).expect_print(&["events came out as they must"]);
    server.stop().expect_code(0);
}

#[test]
fn the_truth_behind_the_answers_can_be_had() {
    let workplace = Workplace::new();
    workplace.run(&["generate", "--events", "1", "--truth", "truth.json"]).expect_code(0);
    let truth = std::fs::read_to_string(workplace.path().join("truth.json")).expect("it was written");
    let truth: Value = serde_json::from_str(&truth).expect("it is JSON");
    assert_eq!(truth[0]["tenant"], "academy");
    assert!(truth[0]["learners"][0]["ability"].is_number() && truth[0]["questions"][0]["difficulty"].is_number());
}

#[test]
fn what_is_wrong_with_an_option_is_said_with_what_would_be_right() {
    let workplace = Workplace::new();
    for (arguments, words) in [
        (["--families", "traning"], ["traning", "training"]),
        (["--families", "security"], ["security", "Lyceum alone"]),
        (["--to", "nowhere"], ["nlj.xapi.statements", ".jsonl"]),
        (["--to", "./no/such/folder.jsonl"], ["cannot write", "folder.jsonl"]),
        (["--tenants", "A B"], ["A B", "lower-case"]),
        (["--broken", "2"], ["broken", "from 0 to 1"]),
        (["--duplicates", "many"], ["--duplicates", "many"]),
        (["--rate", "0"], ["rate", "above 0"]),
        (["--from", "yesterday"], ["yesterday", "2026-03-01"]),
        (["--expect", "./no/such/folder.json"], ["cannot write", "folder.json"]),
    ] {
        let told = workplace.run(&[&["generate"], &arguments[..]].concat()).expect_code(2);
        told.expect_report(&words);
    }
    let told = workplace.run(&["generate", "--late", "0.6", "--broken", "0.6"]).expect_code(2);
    told.expect_report(&["more than 1"]);
}

#[test]
fn a_line_that_is_no_good_record_is_not_published_and_says_why() {
    let workplace = Workplace::new();
    let lines = [
        json!({"topic": "no.such.topic", "value": {}}).to_string(),
        r#"{"topic": "nlj.xapi.statements"}"#.to_owned(),
        r#"{"topic": "mission.events.v1", "value": null, "key": "m"}"#.to_owned(),
    ];
    workplace.write("records.jsonl", lines.join("\n"));
    let told = workplace.run(&["ingest", "records.jsonl"]).expect_code(1);
    told.expect_print(&[
        "not published           2",
        "no.such.topic",
        "missing field `value`",
        "skipped                 1",
    ]);
}
