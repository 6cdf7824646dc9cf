//! Many failures of a few causes: found, mended, sent again, and done with.

use lyceum_tests::academy::booking;
use lyceum_tests::workplace::Workplace;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// Sessions whose start has no zone.
fn without_zone(number: usize) -> Vec<Value> {
    let session = |number: usize| {
        json!({
            "id": format!("00000000-0000-4000-8000-{number:012}"),
            "actor": {"mbox": "mailto:ada@academy.example"},
            "verb": {"id": "http://nlj.platform/verbs/scheduled"},
            "object": {"id": format!("http://nlj.platform/activities/session/day-{number}")},
            "context": {"extensions": {
                "http://nlj.platform/extensions/program_id": "spring",
                "http://nlj.platform/extensions/starts_at": "2026-03-09T09:00:00",
                "http://nlj.platform/extensions/ends_at": "2026-03-09T17:00:00Z",
                "http://nlj.platform/extensions/capacity": 12,
            }},
        })
    };
    (0..number).map(session).collect()
}

fn causes(workplace: &Workplace, arguments: &[&str]) -> Vec<(String, u64, u64)> {
    let all: &[&str] = if arguments.contains(&"--tenant") { &[] } else { &["--tenant", "*"] };
    let summary = [&["dead-letters", "summary", "--format", "json"], arguments, all].concat();
    let answer = workplace.run(&summary).expect_code(0).json();
    let of = |cause: &Value| {
        (
            cause["rule"].as_str().unwrap().to_owned(),
            cause["waiting"].as_u64().unwrap(),
            cause["count"].as_u64().unwrap(),
        )
    };
    answer["causes"].as_array().expect("causes").iter().map(of).collect()
}

#[test]
fn many_failures_of_two_causes_are_found_mended_and_done_with() {
    const MISSING: &str = "booking.confirm.from-requested-or-waitlisted";
    let workplace = Workplace::new();
    let mut random = StdRng::seed_from_u64(1);
    let mut bookings = |verb: &str| -> Vec<Value> {
        (0..8).map(|number| booking(&mut random, verb, &format!("b{number}"), "s")).collect()
    };
    workplace.write_lines("sessions.jsonl", &without_zone(60));
    workplace.write_lines("confirmed.jsonl", &bookings("confirmed"));
    workplace.write_lines("requested.jsonl", &bookings("requested"));
    workplace.run(&["ingest", "sessions.jsonl", "--tenant", "acme"]);
    workplace.run(&["ingest", "confirmed.jsonl", "--tenant", "beta"]);
    assert_eq!(causes(&workplace, &[]), [("field.type".to_owned(), 60, 60), (MISSING.to_owned(), 8, 8)]);
    assert_eq!(causes(&workplace, &["--tenant", "beta", "--since", "2020-01-01"]), [(MISSING.to_owned(), 8, 8)]);
    assert_eq!(causes(&workplace, &["--until", "2020-01-01"]), []);

    let list = workplace.run(&["dead-letters", "list", "--tenant", "*", "--rule", "field.type"]).expect_code(0);
    list.expect_print(&[
        "50 of 60, newest first",
        "tenant acme, event 00000000-",
        "learner ada@academy.example",
        "--cursor",
    ]);
    let all = workplace.run(&["dead-letters", "list", "--tenant", "*", "--limit", "5000"]).expect_code(0);
    all.expect_print(&["68 of 68, newest first"]);

    // What the sender got wrong is exported, corrected, and sent in under the ids that it had.
    let exported =
        workplace.run(&["dead-letters", "export", "--tenant", "acme", "--rule", "field.type"]).expect_code(0);
    assert_eq!(exported.stdout.lines().count(), 60);
    workplace.write("mended.jsonl", exported.stdout.replace("09:00:00\"", "09:00:00Z\""));
    let mended =
        workplace.run(&["ingest", "mended.jsonl", "--tenant", "acme", "--format", "json"]).expect_code(0).json();
    assert_eq!(mended["applied"], 60);
    workplace
        .run(&["dead-letters", "list", "--tenant", "*", "--state", "resolved"])
        .expect_code(0)
        .expect_print(&["50 of 60"]);
    assert_eq!(causes(&workplace, &["--state", "waiting"]), [(MISSING.to_owned(), 8, 8)]);

    // What was missing came; a sender who tries once more is told what decides it.
    workplace.run(&["ingest", "requested.jsonl", "--tenant", "beta"]).expect_code(0);
    let retried = workplace.run(&["ingest", "confirmed.jsonl", "--tenant", "beta"]);
    retried.expect_print(&["8 were refused before", "lyceum dead-letters replay nlj.errors.validation/0/"]);
    let replay =
        workplace.run(&["dead-letters", "replay", "--tenant", "*", "--kind", "rejected", "--wait"]).expect_code(0);
    replay.expect_print(&["→ nlj.training.bookings/", "8 sent again, 0 parked, 0 left", "applied"]);
    assert_eq!(causes(&workplace, &["--state", "waiting"]), []);
}

#[test]
fn what_is_discarded_is_done_with_after_a_restart_too() {
    let workplace = Workplace::new();
    workplace.write_lines("sessions.jsonl", &without_zone(3));
    workplace.run(&["ingest", "sessions.jsonl", "--tenant", "acme"]);
    let discard = |arguments: &[&str]| workplace.run(&[&["dead-letters", "discard"], arguments].concat());
    discard(&[]).expect_code(1).expect_report(&["say which"]);
    discard(&["--tenant", "acme", "--rule", "field.type", "--dry-run"])
        .expect_code(0)
        .expect_print(&["3 would be discarded", "with a zone"]);
    discard(&["nlj.errors.validation/0/0"]).expect_code(0).expect_print(&["1 discarded, 0 left"]);
    discard(&["nlj.errors.validation/0/0"])
        .expect_code(0)
        .expect_print(&["0 discarded", "1 were discarded or sent again"]);
    discard(&["nlj.errors.validation/0/9"]).expect_code(1).expect_report(&["/0/9"]);
    discard(&["--tenant", "acme"]).expect_code(0).expect_print(&["2 discarded, 0 left"]);
    let server = workplace.up(&[]);
    let state = |name: &str| workplace.run(&["dead-letters", "list", "--tenant", "*", "--state", name]).expect_code(0);
    state("discarded").expect_print(&["3 of 3, newest first", "(discarded)"]);
    state("waiting").expect_print(&["no dead letters"]);
    workplace.run(&["dead-letters", "replay", "--tenant", "*"]).expect_code(0).expect_print(&["0 sent again"]);
    let refused = workplace.run(&["dead-letters", "replay", "nlj.errors.validation/0/1"]).expect_code(1);
    refused.expect_report(&["was discarded at", "by this machine", "--again"]);
    // It is wrong still.
    let again = workplace.run(&["dead-letters", "replay", "nlj.errors.validation/0/1", "--again", "--wait"]);
    again.expect_code(3).expect_print(&["failed again: nlj.errors.validation/0/3"]);
    server.stop().expect_code(0);
}

#[tokio::test]
async fn what_a_sender_broke_since_when_is_told_by_every_process_that_looks_and_to_its_tenant_alone() {
    let workplace = Workplace::new();
    let of = |platform: &str, number: usize| -> Vec<Value> {
        let with_platform = |(place, mut event): (usize, Value)| {
            event["id"] = json!(format!("00000000-0000-4000-8000-{:012}", place + 1_000 * number));
            event["context"]["platform"] = json!(platform);
            event
        };
        without_zone(number).into_iter().enumerate().map(with_platform).collect()
    };
    workplace.write_lines("lms.jsonl", &of("LMS 8", 3));
    workplace.write_lines("crm.jsonl", &of("CRM", 2));
    workplace.run(&["ingest", "lms.jsonl", "--tenant", "acme"]).expect_code(3);
    workplace.run(&["ingest", "crm.jsonl", "--tenant", "beta"]).expect_code(3);
    let expected = |answer: &Value| {
        let course = |of: &Value| {
            assert_eq!((&of["trend"], &of["was_good"], &of["before"]), (&json!("new"), &json!(true), &json!(0)));
            assert!(of["why"].as_str().is_some_and(|why| why.contains("starts_at")), "{of}");
            [&of["rule"], &of["sender"], &of["tenant"], &of["count"]].map(Value::to_string).join(" ")
        };
        let courses: Vec<String> = answer["courses"].as_array().expect("courses").iter().map(course).collect();
        assert_eq!(courses, [r#""field.type" "LMS 8" "acme" 3"#, r#""field.type" "CRM" "beta" 2"#]);
    };
    // Each command is a process of its own, which knows what stands on the topics alone.
    let all = ["validation", "--tenant", "*", "--format", "json"];
    expected(&workplace.run(&all).expect_code(0).json());
    // What fails again after a replay was broken once.
    workplace.run(&["dead-letters", "replay", "--tenant", "*", "--wait"]).expect_code(3);
    expected(&workplace.run(&all).expect_code(0).json());
    workplace.run(&["validation", "--tenant", "acme"]).expect_code(0).expect_print(&[
        "3 events broke a rule, 0 in as long a time before",
        "new, good before",
        "LMS 8 of acme",
    ]);
    for (arguments, why) in [
        (["--family", "traning"], "\"traning\" is no family; there are:"),
        (["--since", "monday"], "since is \"monday\""),
        (["--limit", "0"], "limit is \"0\""),
    ] {
        workplace.run(&[&["validation"], arguments.as_slice()].concat()).expect_code(1).expect_report(&[why]);
    }
    const TOKENS: &str = "acme:read:a-long-secret-of-acme,*:read:a-long-secret-of-everybody";
    let server = workplace.up(&[("API_TOKENS", TOKENS)]);
    let (status, own) = server.get("/api/validation", Some("a-long-secret-of-acme")).await;
    assert_eq!((status, &own["count"], &own["totals"]["senders"]), (200, &json!(3), &json!(1)));
    assert!(!own.to_string().contains("beta") && !own.to_string().contains("CRM"), "{own}");
    let (_, everybody) = server.get("/api/validation", Some("a-long-secret-of-everybody")).await;
    expected(&everybody);
    server.stop().expect_code(0);
}
