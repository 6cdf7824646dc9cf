//! What-if: a release beside itself differs in nothing, whatever the load; each planted change of behaviour is found and told by its cause;
//! and a side that fails is never taken for one that agrees.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use lyceum_tests::binary;
use lyceum_tests::workplace::{Finished, Running, Workplace, until};
use serde_json::Value;

/// All that goes wrong in a load.
const SHARES: [&str; 8] = ["--duplicates", "0.02", "--late", "0.01", "--out-of-order", "0.01", "--broken", "0.06"];

const PLANTED: &str = env!("CARGO_BIN_EXE_planted");

/// A load of every family in `load.jsonl`.
fn with_load(events: &str) -> Workplace {
    let workplace = Workplace::new();
    let arguments = ["generate", "--events", events, "--seed", "11", "--to", "load.jsonl"];
    workplace.run(&[&arguments[..], &SHARES[..]].concat()).expect_code(0);
    workplace
}

fn itself() -> &'static str {
    binary::lyceum().to_str().expect("the path is text")
}

/// Runs the comparison over `load.jsonl`, with a change in the candidate.
fn compare(workplace: &Workplace, candidate: &str, planted: &str, more: &[&str]) -> Finished {
    let arguments = ["replay", "--shadow", candidate, "--records", "load.jsonl", "--format", "json"];
    workplace.run_with(&[("PLANTED", planted)], &[&arguments[..], more].concat())
}

/// The causes that are no consequence: by, part and what.
fn causes(told: &Value) -> BTreeSet<[String; 3]> {
    let text = |of: &Value, name: &str| of[name].as_str().expect("it is a text").to_owned();
    let causes = told["causes"].as_array().expect("it is a list").iter();
    let roots = causes.filter(|of| of["count"] != of["consequences"]);
    roots.map(|of| [text(of, "by"), text(of, "part"), text(of, "what")]).collect()
}

#[test]
fn a_release_beside_itself_differs_in_nothing_over_a_load_of_every_family() {
    let workplace = with_load("3000");
    let told = compare(&workplace, itself(), "", &[]).expect_code(0).json();
    assert_eq!((&told["records"], &told["differing"]), (&3_000.into(), &0.into()), "{told}");
    assert_eq!(told["causes"], Value::Array(Vec::new()));
    // Every topic that a family owns was judged.
    let topics: Vec<&str> = told["topics"].as_array().expect("it is a list").iter().filter_map(Value::as_str).collect();
    for family in lyceum_catalog::FAMILIES.iter().filter(|family| family.name != "security") {
        assert!(family.topics.iter().any(|topic| topics.contains(&topic.name)), "{}: {topics:?}", family.name);
    }
    // The program whose changes are planted behaves the same without one: what it finds is the change.
    let told = compare(&workplace, PLANTED, "", &[]).expect_code(0).json();
    assert_eq!((&told["records"], &told["differing"]), (&3_000.into(), &0.into()), "{told}");
}

#[test]
fn what_a_log_holds_is_judged_with_its_follow_ups_and_letters_and_the_log_stays_as_it_is() {
    let workplace = with_load("600");
    workplace.run(&["ingest", "load.jsonl"]).expect_code(3);
    let before = workplace.run(&["topics", "--format", "json"]).expect_code(0).json();
    let replay = ["replay", "--shadow", itself(), "--format", "json"];
    let told = workplace.run(&replay).expect_code(0).json();
    assert_eq!((told["differing"].as_u64(), told["passed"].as_bool()), (Some(0), Some(true)));
    let judged = told["records"].as_u64().expect("it is a number");
    assert!(judged > 600, "letters and follow-ups are records, too: {judged}");
    assert_eq!(workplace.run(&["topics", "--format", "json"]).expect_code(0).json(), before);

    // A change is found there, too, and a person is told of it.
    let told =
        workplace.run_with(&[("PLANTED", "refuses a valid type")], &["replay", "--shadow", PLANTED]).expect_code(1);
    told.expect_print(&[
        "training program.published: outcome applied -> dead_lettered (rejected: program.publish.never)",
    ]);

    // One topic of one hour, with what was before as warm-up.
    let told = workplace.run(&[&replay[..], &["--topic", "nlj.training.bookings"]].concat()).expect_code(0).json();
    assert_eq!(told["topics"], Value::from(vec!["nlj.training.bookings"]));
    let nothing = workplace.run(&[&replay[..], &["--from", "2099-01-01"]].concat()).expect_code(2);
    nothing.expect_report(&["there is no record in the range"]);

    // Who holds the folder alone reads its log.
    let server = workplace.up(&[]);
    workplace.run(&replay).expect_code(2).expect_report(&["in use by another process"]);
    server.stop().expect_code(0);
}

/// Each change, and what is told of it: who, which part, and what of it.
const CHANGES: &[(&str, &[[&str; 3]])] = &[
    ("refuses a valid type", &[["training", "outcome", "applied -> dead_lettered (rejected: program.publish.never)"]]),
    ("accepts an invalid record", &[["", "outcome", "dead_lettered (validation: *) -> *"]]),
    ("finds it elsewhere", &[["training", "finding", "/findings/*/pointer"]]),
    ("counts otherwise", &[["training", "state", "/states/session/*/*/state/session/next_sequence"]]),
    ("shows less", &[["training", "state", "/states/booking/*/*/view/status is missing"]]),
    ("knows events by something else", &[["", "key", "/keys/*/content_sha256"]]),
    ("stores another field", &[["survey", "document", "/documents/*/fields/verb"]]),
    ("stores for another tenant", &[["survey", "document", "/documents/*/fields/tenant"]]),
    (
        "stores other bytes",
        &[["survey", "document", "/documents/*/raw_bytes"], ["survey", "document", "/documents/*/raw_sha256"]],
    ),
    ("lets a follow-up out", &[["intake-distribution", "follow_up", "/follow_ups/distribution.created is missing"]]),
    ("doubles a follow-up", &[["intake-distribution", "follow_up", "/follow_ups/distribution.created is new"]]),
    ("gives a follow-up another key", &[["intake-distribution", "follow_up", "/follow_ups/distribution.created/key"]]),
    (
        "gives a follow-up to another tenant",
        &[["intake-distribution", "follow_up", "/follow_ups/distribution.created/headers/tenant-id"]],
    ),
    (
        "says something else in a follow-up",
        &[["intake-distribution", "follow_up", "/follow_ups/distribution.created/value/payload/slug"]],
    ),
    ("calls a letter otherwise", &[["", "letter", "/letters/*/headers/lyceum-error-kind"]]),
];

#[test]
fn each_planted_change_of_behaviour_is_found_and_told_by_its_cause() {
    let workplace = with_load("1000");
    for (planted, expected) in CHANGES {
        let told = compare(&workplace, PLANTED, planted, &[]).expect_code(1).json();
        let found = causes(&told);
        let is = |[by, part, what]: &[String; 3], of: &[&str; 3]| {
            let (expected, what) = (of[2].split('*'), what.as_str());
            let mut rest = Some(what);
            for piece in expected {
                rest = rest.and_then(|rest| rest.find(piece).map(|at| &rest[at + piece.len()..]));
            }
            (of[0].is_empty() || of[0] == by) && of[1] == part && rest.is_some()
        };
        for of in *expected {
            assert!(found.iter().any(|found| is(found, of)), "{planted}: {of:?} is not in {found:#?}");
        }
        for found in &found {
            assert!(expected.iter().any(|of| is(found, of)), "{planted}: {found:?} is more than was changed");
        }
        let differing = told["differing"].as_u64().expect("it is a number");
        assert!((1..1_000).contains(&differing), "{planted}: {differing}");
        let example = &told["causes"][0]["example"];
        assert!(example["at"].is_string() && example["present"] != example["candidate"], "{planted}: {example}");
        // An aggregate differs for its own reason once; how many records differ in all is what the gate bounds.
        if *planted == "counts otherwise" {
            let most = differing.to_string();
            let passed = compare(&workplace, PLANTED, planted, &["--at-most", &most]).expect_code(0).json();
            assert_eq!((&passed["passed"], &passed["differing"]), (&true.into(), &told["differing"]));
            let fewer = (differing - 1).to_string();
            compare(&workplace, PLANTED, planted, &["--at-most", &fewer]).expect_code(1);
            assert!(told["consequences"].as_u64() < Some(differing), "{told}");
        }
    }
}

#[test]
fn a_side_that_fails_is_told_and_is_no_agreement() {
    let workplace = with_load("60");
    for (planted, words) in [
        ("dies", "ended with code 7 before it greeted"),
        ("hangs", "has not answered within 20 s"),
        ("says something else", "its first line is no greeting"),
        ("speaks another version", "it speaks version 99 of the protocol"),
        ("dies in the middle", "ended with code 9 in the middle; it said: it is broken"),
        ("hangs in the middle", "has not answered within 20 s"),
        ("says something else in the middle", "answered something else than a judgement"),
    ] {
        // Long enough for the other side, however busy the machine is.
        let patience = if planted.starts_with("hangs") { "20" } else { "60" };
        let ended = compare(&workplace, PLANTED, planted, &["--patience", patience]).expect_code(2);
        ended.expect_report(&["the candidate", words]);
    }
    compare(&workplace, "./no-such-program", "", &[]).expect_code(2).expect_report(&["cannot be started"]);
    // A program of another kind.
    compare(&workplace, "/bin/true", "", &[]).expect_code(2).expect_report(&["before it greeted"]);
    workplace.write("broken.jsonl", "{\"topic\": \"t\"}\n");
    let arguments = ["replay", "--shadow", itself(), "--records", "broken.jsonl"];
    workplace.run(&arguments).expect_code(2).expect_report(&["line 1", "value"]);
    let warm_up = compare(&workplace, itself(), "", &["--warm-up", "2026-01-01"]).expect_code(2);
    warm_up.expect_report(&["--warm-up needs --from"]);
}

#[test]
fn what_was_before_a_range_is_judged_and_not_compared() {
    let workplace = with_load("600");
    let all = workplace.path().join("load.jsonl");
    let times = times_of(&all);
    let middle = &times[times.len() / 2];
    let first = &times[0];
    let range = ["--warm-up", first, "--from", middle];
    let told = compare(&workplace, itself(), "", &range).expect_code(0).json();
    let (records, before) = (told["records"].as_u64().unwrap_or(0), told["warmed_up"].as_u64().unwrap_or(0));
    assert_eq!((records + before, records > 100, before > 100), (600, true, true), "{told}");
    let until = compare(&workplace, itself(), "", &["--until", middle]).expect_code(0).json();
    assert_eq!(until["records"].as_u64(), Some(before), "{until}");
}

/// The times of a file's records, in order.
fn times_of(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("it was written");
    let time = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("it is JSON");
        line["timestamp"].as_str().expect("it has a time").to_owned()
    };
    let mut times: Vec<String> = text.lines().map(time).collect();
    times.sort_unstable();
    times
}

#[test]
fn a_candidate_elsewhere_is_asked_over_http_and_only_by_who_may() {
    let workplace = with_load("400");
    let listen = ["judge", "--listen", "127.0.0.1:0"];
    let address = |running: &Running| {
        let line = running.wait_for_line("judges records at http://");
        line.split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("it is named")
            .trim_end_matches(',')
            .to_owned()
    };
    let open = workplace.start(&listen);
    let told = compare(&workplace, &address(&open), "", &[]).expect_code(0).json();
    assert_eq!((&told["records"], &told["differing"]), (&400.into(), &0.into()));
    // Comparisons that ended make room for others.
    for _ in 0..5 {
        compare(&workplace, &address(&open), "", &["--until", "2026-01-03"]);
    }
    compare(&workplace, &address(&open), "", &[]).expect_code(0);
    open.interrupt();
    open.wait().expect_code(0);

    let tokens =
        "*:operate:a-long-secret-of-operators acme:operate:a-long-secret-of-one-tenant *:read:a-long-secret-of-readers";
    let mut guarded = workplace.command(&listen);
    let guarded = Running::start(guarded.env("API_TOKENS", tokens));
    let by = |token: &str| {
        let url = address(&guarded);
        let arguments = ["replay", "--shadow", url.as_str(), "--records", "load.jsonl"];
        workplace.run_with(&[("LYCEUM_TOKEN", token)], &arguments)
    };
    by("a-long-secret-of-operators").expect_code(0).expect_print(&["no difference"]);
    by("a-long-secret-of-one-tenant").expect_code(2).expect_report(&["403", "every tenant"]);
    by("a-long-secret-of-readers").expect_code(2).expect_report(&["403", "operate"]);
    by("a-secret-that-nobody-has").expect_code(2).expect_report(&["401"]);
    drop(guarded);

    let mut everywhere = Command::new(binary::lyceum());
    workplace.prepare(&mut everywhere).args(["judge", "--listen", "0.0.0.0:0"]);
    Running::start(&mut everywhere).wait().expect_code(1).expect_report(&["API_TOKENS"]);
    compare(&workplace, "http://127.0.0.1:1", "", &[]).expect_code(2).expect_report(&["cannot be reached"]);
}

#[test]
fn a_comparison_that_is_ended_ends_its_sides() {
    let workplace = with_load("60");
    let mut command = workplace.command(&["replay", "--shadow", PLANTED, "--records", "load.jsonl"]);
    let mark = workplace.path().to_str().expect("the path is text").to_owned();
    let running = Running::start(command.env("PLANTED", "hangs in the middle").env("SHADOW_OF", &mark));
    until("both sides run", || judges(&mark) == 2);
    running.interrupt();
    running.wait().expect_code(2).expect_report(&["ended before all was compared"]);
    until("no side is left", || judges(&mark) == 0);
}

/// How many programs judge that were started with the mark.
fn judges(mark: &str) -> usize {
    let has_mark = |process: &Path| {
        let read = |name: &str| std::fs::read(process.join(name)).unwrap_or_default();
        let holds = |text: Vec<u8>, part: &str| text.split(|byte| *byte == 0).any(|item| item == part.as_bytes());
        holds(read("cmdline"), "judge") && holds(read("environ"), &format!("SHADOW_OF={mark}"))
    };
    let processes = std::fs::read_dir("/proc").expect("Linux tells of processes");
    processes.flatten().filter(|entry| has_mark(&entry.path())).count()
}
