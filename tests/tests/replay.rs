//! Replays by the command, against the running program: begun, killed, gone on with, stopped, and refused.

use std::collections::BTreeSet;
use std::time::Duration;

use lyceum_tests::academy::booking;
use lyceum_tests::workplace::{Server, Workplace, until};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

const BOOKINGS: &str = "nlj.training.bookings";

/// Bookings that were requested, of so many.
fn ingest(workplace: &Workplace, count: usize) {
    let mut random = StdRng::seed_from_u64(3);
    let lines: Vec<Value> = (0..count)
        .map(|number| booking(&mut random, "requested", &format!("b{number}"), &format!("s{}", number % 9)))
        .collect();
    workplace.write_lines("bookings.jsonl", &lines);
    workplace.run(&["ingest", "bookings.jsonl", "--tenant", "acme"]).expect_code(0);
}

fn records(workplace: &Workplace) -> usize {
    let topics = workplace.run(&["topics", "--format", "json"]).expect_code(0).json();
    let topics = topics["topics"].as_array().cloned().unwrap_or_default();
    let bookings = topics.iter().find(|topic| topic["topic"] == BOOKINGS).expect("the topic is there").clone();
    let partitions = bookings["partitions"].as_array().expect("it has partitions").clone();
    partitions.iter().map(|of| of["end"].as_u64().unwrap() as usize).sum()
}

fn state(workplace: &Workplace, id: &str) -> Value {
    workplace.run(&["replay", "status", id, "--format", "json"]).json()
}

/// Begins a replay that takes its time, and says its id once some of it is done.
fn begin_slowly(workplace: &Workplace) -> String {
    let begun = workplace
        .run(&["replay", "--topic", BOOKINGS, "--to-topic", "--rate", "40", "--format", "json"])
        .expect_code(0)
        .json();
    let id = begun["id"].as_str().expect("it has an id").to_owned();
    until("some of it is done", || state(workplace, &id)["counts"]["sent"].as_u64() > Some(0));
    id
}

#[test]
fn a_replay_that_is_killed_in_its_middle_goes_on_at_the_next_start_and_nothing_is_lost() {
    let workplace = Workplace::new();
    ingest(&workplace, 300);
    let before = records(&workplace);
    let server: Server = workplace.up(&[]);
    let id = begin_slowly(&workplace);
    assert!(server.running.kill(), "it was at work");
    let kept = state(&workplace, &id);
    let sent = kept["counts"]["sent"].as_u64().unwrap();
    assert!(kept["state"] == "running" && sent < 300, "{kept:#}");
    let server = workplace.up(&[]);
    workplace.run(&["replay", "status", &id, "--wait"]).expect_code(0).expect_print(&["done"]);
    let done = state(&workplace, &id);
    assert_eq!((done["counts"]["matched"].as_u64(), done["counts"]["sent"].as_u64()), (Some(300), Some(300)));
    let copies = records(&workplace) - before;
    assert!((300..=340).contains(&copies), "at most one part, of forty here, went twice: {copies}");
    // Every copy is a duplicate of what is applied.
    let mut counts = BTreeSet::new();
    for number in 0..9 {
        let shown =
            workplace.run(&["show", "session", &format!("s{number}"), "--tenant", "acme"]).expect_code(0).json();
        counts.insert(shown["requested"].as_u64().or_else(|| shown["counts"]["requested"].as_u64()));
    }
    assert!(counts.iter().flatten().all(|count| (33..=34).contains(count)), "{counts:?}");
    server.stop().expect_code(0);
}

#[test]
fn a_replay_is_stopped_and_resumed_and_the_same_one_is_not_begun_beside_it() {
    let workplace = Workplace::new();
    ingest(&workplace, 300);
    let server = workplace.up(&[]);
    let id = begin_slowly(&workplace);
    workplace.run(&["replay", "--topic", BOOKINGS, "--to-topic"]).expect_code(1).expect_report(&[
        "runs already",
        &id,
        "replay cancel",
    ]);
    workplace.run(&["replay", "cancel", &id]).expect_code(0).expect_print(&["cancelled"]);
    workplace.run(&["replay", "cancel", &id]).expect_code(1).expect_report(&["nothing to stop"]);
    until("it stands still", || {
        let first = state(&workplace, &id)["counts"].clone();
        std::thread::sleep(Duration::from_millis(300));
        state(&workplace, &id)["counts"] == first
    });
    let stood = state(&workplace, &id)["counts"]["sent"].as_u64();
    assert!(stood < Some(300), "{stood:?}");
    workplace.run(&["replay", "--topic", BOOKINGS, "--to-topic"]).expect_code(1).expect_report(&["replay resume"]);
    workplace.run(&["replay", "list"]).expect_code(0).expect_print(&[&id, "cancelled"]);
    workplace.run(&["replay", "resume", &id, "--wait"]).expect_code(0).expect_print(&["done"]);
    assert_eq!(state(&workplace, &id)["counts"]["sent"].as_u64(), Some(300));
    server.stop().expect_code(0);
}

#[test]
fn without_a_process_the_command_runs_it_itself_and_a_dry_run_does_nothing() {
    let workplace = Workplace::new();
    ingest(&workplace, 60);
    let before = records(&workplace);
    let dry = workplace.run(&["replay", "--topic", BOOKINGS, "--to-topic", "--dry-run", "--format", "json"]);
    let dry = dry.expect_code(0).json();
    assert_eq!((dry["matched"].as_u64(), dry["is_exact"].as_bool()), (Some(60), Some(true)));
    assert_eq!(records(&workplace), before);
    let none = ["replay", "--topic", BOOKINGS, "--to-topic", "--until", "2020-01-01", "--dry-run"];
    workplace.run(&none).expect_code(0).expect_print(&["0 records of 0 offsets"]);
    let one = ["replay", "--topic", BOOKINGS, "--to-subscriber", "training", "--tenant", "acme", "--format", "json"];
    let done = workplace.run(&one).expect_code(0).json();
    assert_eq!((&done["state"], done["counts"]["sent"].as_u64()), (&json!("done"), Some(60)));
    assert_eq!(records(&workplace), before, "nothing goes to the topic");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let workplace = Workplace::new();
    ingest(&workplace, 1);
    let replay = |arguments: &[&str]| workplace.run(&[&["replay"], arguments].concat());
    replay(&["--topic", BOOKINGS]).expect_code(1).expect_report(&["--to-topic", "--to-file PLACE"]);
    replay(&["--to-topic"]).expect_code(1).expect_report(&["topics: name at least one topic"]);
    replay(&["--topic", "no.such", "--to-topic"]).expect_code(1).expect_report(&["no.such does not exist"]);
    replay(&["--topic", BOOKINGS, "--to-subscriber", "nobody"]).expect_code(1).expect_report(&["there are training"]);
    replay(&["--topic", BOOKINGS, "--to-other-topic", BOOKINGS]).expect_code(1).expect_report(&["by this very replay"]);
    replay(&["--topic", BOOKINGS, "--to-topic", "--rate", "0"]).expect_code(1).expect_report(&["nothing would ever"]);
    replay(&["--topic", BOOKINGS, "--to-topic", "--from", "soon"])
        .expect_code(2)
        .expect_report(&["2026-01-31T09:30:00Z"]);
    replay(&["--topic", BOOKINGS, "--to-topic", "--offsets", "7"]).expect_code(2).expect_report(&["100..200"]);
    replay(&["--topic", BOOKINGS, "--to-topic", "--partition", "99"]).expect_code(1).expect_report(&["partition 99"]);
    let unknown = "00000000-0000-4000-8000-000000000000";
    replay(&["--event", unknown, "--to-topic"]).expect_code(1).expect_report(&["no record of", unknown]);
    for verb in ["status", "cancel", "resume"] {
        replay(&[verb, unknown]).expect_code(1).expect_report(&["there is no replay"]);
    }
    workplace.write("request.json", "{\"topics\": [\"a\"], \"to\": \"topic\"}");
    replay(&["--request", "request.json"]).expect_code(1).expect_report(&["unknown field `to`"]);
}

#[test]
fn a_replay_to_a_subscriber_has_its_effect_in_the_generation_that_is_live() {
    let workplace = Workplace::new();
    ingest(&workplace, 30);
    let mut random = StdRng::seed_from_u64(4);
    let mut send = |verb: &str, code: i32| {
        workplace.write_lines("late.jsonl", &[booking(&mut random, verb, "late", "s0")]);
        workplace.run(&["ingest", "late.jsonl", "--tenant", "acme"]).expect_code(code);
    };
    // It is confirmed before it is requested, and so refused.
    send("confirmed", 3);
    workplace.run(&["rebuild", "training"]).expect_code(0).expect_print(&["generation 1 of training is live"]);
    send("requested", 0);
    let show = || workplace.run(&["show", "booking", "late", "--tenant", "acme"]);
    show().expect_code(0).expect_print(&["\"requested\""]);

    let records = workplace.run(&["tail", BOOKINGS, "--from", "beginning"]).expect_code(0).json_lines();
    let is_confirmed =
        |record: &&Value| record["value"]["verb"]["id"].as_str().is_some_and(|verb| verb.ends_with("confirmed"));
    let confirmed = records.iter().find(is_confirmed).expect("it is on the topic");
    let place = confirmed["position"].as_str().expect("a position").rsplit('/').collect::<Vec<_>>();
    let (offset, partition): (i64, _) = (place[0].parse().expect("an offset"), place[1]);
    let only = format!("{partition}:{offset}..{}", offset + 1);
    let one = ["replay", "--topic", BOOKINGS, "--offsets", &only, "--to-subscriber", "training", "--format", "json"];
    let done = workplace.run(&one).expect_code(0).json();
    assert_eq!((&done["state"], done["counts"]["sent"].as_u64()), (&json!("done"), Some(1)), "{done:#}");
    show().expect_code(0).expect_print(&["\"confirmed\""]);
    let session =
        || workplace.run(&["show", "session", "s0", "--tenant", "acme"]).expect_code(0).json()["bookings"].clone();
    let once = session();
    let all = ["replay", "--topic", BOOKINGS, "--to-subscriber", "training", "--tenant", "acme", "--format", "json"];
    assert_eq!(workplace.run(&all).expect_code(0).json()["counts"]["matched"].as_u64(), Some(32));
    assert_eq!(session(), once, "what has its effect has none a second time");
    // The generation before knows nothing of what came since.
    workplace.run(&["rebuild", "training", "--back"]).expect_code(0).expect_print(&["generation 0"]);
    assert!(!show().stdout.contains("confirmed"), "it was the live one that was written");
}
