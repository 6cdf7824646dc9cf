//! Every command, as a person types it.

use std::time::Duration;

use lyceum_core::record::{Position, Record};
use lyceum_lambda_event::event::{EventSource, SourceKind, write_event};
use lyceum_tests::academy::{Academy, Size, booking, created, published, scheduled, video_statements};
use lyceum_tests::workplace::{Finished, Running, Server, Workplace};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

const SMALL: Size = Size { programs: 1, bookings: 4, responses: 2 };

fn random() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn letters(workplace: &Workplace, arguments: &[&str]) -> Vec<Value> {
    let list = [&["dead-letters", "list", "--format", "json"], arguments].concat();
    let answer = workplace.run(&list).expect_code(0).json();
    answer["dead_letters"].as_array().expect("a list").clone()
}

fn total(workplace: &Workplace) -> u64 {
    let answer = workplace.run(&["query", "platform", "--format", "json"]).expect_code(0).json();
    answer["total"].as_u64().expect("a number")
}

/// Waits until a mapping has settled everything that is on its topic.
async fn settle(server: &Server, token: Option<&str>) {
    loop {
        let (_, topics) = server.get("/api/topics", token).await;
        let partitions =
            topics["topics"].as_array().unwrap().iter().flat_map(|topic| topic["partitions"].as_array().unwrap());
        if partitions.filter_map(|partition| partition["lag"].as_i64()).sum::<i64>() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn an_ingestion_ends_with_its_numbers_and_a_second_one_has_duplicates_only() {
    let workplace = Workplace::new();
    let academy = Academy::new(3, SMALL);
    let number = academy.events.len();
    let mut events = academy.events.clone();
    events.push(json!({"id": "test-12345", "actor": {"mbox": "mailto:a@b.example"}}));
    workplace.write_lines("academy.jsonl", &events);
    workplace.write("array.json", serde_json::to_vec(&video_statements(2, 3)).unwrap());
    let first = workplace.run(&["ingest", "academy.jsonl", "array.json"]).expect_code(3);
    for (label, wanted) in [("read", number + 4), ("applied", number + 3), ("duplicate", 0), ("dead-lettered", 1)] {
        let line = first.stdout.lines().find(|line| line.starts_with(label)).unwrap();
        assert_eq!(line.split_whitespace().last(), Some(wanted.to_string().as_str()), "{}", first.stdout);
    }
    first
        .expect_print(&["per second", "capacity: ", "  training ", "  survey ", "write units an event"])
        .expect_print(&["lyceum dead-letters list"]);
    let second = workplace.run(&["ingest", "academy.jsonl", "array.json", "--format", "json"]).expect_code(3);
    assert_eq!(second.stdout.lines().count(), 1);
    let second = second.json();
    assert_eq!(second["read"], json!(number + 4));
    assert_eq!((&second["applied"], &second["duplicate"]), (&json!(0), &json!(number + 3)));
    assert_eq!(second["dead_lettered"].as_object().unwrap().len(), 1);
    let capacity = &second["capacity"];
    assert!(capacity["read_units"].as_f64() > Some(0.0), "{capacity}");
    assert_eq!(capacity["write_units"], json!(0.0), "a second ingestion only reads");
    assert_eq!(capacity["families"]["statement"]["read_units_per_event"], json!(0.0), "a family without state");
    assert_eq!(total(&workplace), number as u64 + 3);
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let workplace = Workplace::new();
    let lines: String = video_statements(4, 5).iter().map(|statement| format!("{statement}\n")).collect();
    let mut command = workplace.command(&["ingest", "-", "--tenant", "acme", "--format", "json"]);
    let summary = Running::start_with_input(&mut command, lines.as_bytes()).wait().expect_code(0).json();
    assert_eq!(summary["applied"], json!(5));
    let of_tenant = |tenant: &str| {
        workplace.run(&["query", "platform", "--tenant", tenant, "--format", "json"]).expect_code(0).json()["total"]
            .clone()
    };
    assert_eq!((of_tenant("acme"), of_tenant("default")), (json!(5), json!(0)));
    let mut command = workplace.command(&["validate", "-"]);
    Running::start_with_input(&mut command, lines.as_bytes())
        .wait()
        .expect_code(0)
        .expect_print(&["5 valid, 0 invalid"]);
}

#[test]
fn a_statement_without_an_id_is_the_same_one_when_its_file_comes_again() {
    let workplace = Workplace::new();
    let mut statements = video_statements(5, 2);
    statements.iter_mut().for_each(|statement| drop(statement.as_object_mut().unwrap().remove("id")));
    workplace.write_lines("without.jsonl", &statements);
    for (applied, duplicate) in [(2, 0), (0, 2)] {
        let summary = workplace.run(&["ingest", "without.jsonl", "--format", "json"]).expect_code(0).json();
        assert_eq!((&summary["applied"], &summary["duplicate"]), (&json!(applied), &json!(duplicate)));
    }
}

#[test]
fn validation_tells_by_its_code_and_a_line_for_each_statement() {
    let workplace = Workplace::new();
    let statements = video_statements(6, 2);
    let mut invalid = statements[1].clone();
    invalid["actor"]["mbox"] = json!("learner@academy.example");
    invalid["colour"] = json!("green");
    workplace.write_lines("valid.jsonl", &statements);
    workplace.write_lines("mixed.jsonl", &[statements[0].clone(), invalid, statements[1].clone()]);
    workplace.run(&["validate", "valid.jsonl"]).expect_code(0).expect_print(&["2 valid, 0 invalid"]);
    workplace
        .run(&["validate", "mixed.jsonl"])
        .expect_code(1)
        .expect_print(&["mixed.jsonl:2: /actor/mbox: ", "2 valid, 1 invalid"]);
    workplace.run(&["validate", "mixed.jsonl", "missing.jsonl"]).expect_code(2).expect_report(&["missing.jsonl"]);
    let verdicts = workplace.run(&["validate", "mixed.jsonl", "--format", "json"]).expect_code(1).json_lines();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (line, verdict) in (1..).zip(&verdicts) {
        assert_eq!(keys(verdict), ["line", "valid", "violations"]);
        assert_eq!((&verdict["line"], &verdict["valid"]), (&json!(line), &json!(line != 2)));
    }
    let violations = verdicts[1]["violations"].as_array().unwrap();
    let mut pointers: Vec<_> = violations.iter().map(|violation| violation["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/actor/mbox", "/colour"]);
    for violation in violations {
        assert_eq!(keys(violation), ["message", "pointer", "requirement", "rule"]);
        assert!(violation.as_object().unwrap().values().all(|text| text.as_str().is_some_and(|text| !text.is_empty())));
    }
    assert!(!workplace.path().join(".lyceum").exists(), "validating stores nothing");
}

#[test]
fn the_version_decides_which_rules_hold() {
    let workplace = Workplace::new();
    let mut statement = video_statements(7, 1).remove(0);
    // xAPI 2.0 (IEEE 9274.1.1) has contextAgents, 1.0.3 knows no such property.
    let agent = json!({"objectType": "Agent", "mbox": "mailto:coach@academy.example"});
    statement["context"] = json!({"contextAgents": [{"objectType": "contextAgent", "agent": agent}]});
    workplace.write_lines("agents.jsonl", &[statement]);
    workplace.run(&["validate", "agents.jsonl", "--xapi-version", "2.0"]).expect_code(0);
    workplace
        .run(&["validate", "agents.jsonl", "--xapi-version", "1.0.3"])
        .expect_code(1)
        .expect_print(&["contextAgents"]);
}

#[test]
fn state_is_shown_and_what_is_not_there_is_said() {
    let workplace = Workplace::new();
    let mut random = random();
    let events = [
        created(&mut random, "p"),
        published(&mut random, "p"),
        scheduled(&mut random, "s", "p", 1),
        booking(&mut random, "requested", "b-1", "s"),
        booking(&mut random, "confirmed", "b-1", "s"),
        booking(&mut random, "requested", "b-2", "s"),
        booking(&mut random, "confirmed", "b-2", "s"),
        booking(&mut random, "requested", "b-3", "s"),
        booking(&mut random, "waitlisted", "b-3", "s"),
    ];
    workplace.write_lines("events.jsonl", &events);
    workplace.run(&["ingest", "events.jsonl"]).expect_code(0);
    let show = |kind: &str, id: &str| workplace.run(&["show", kind, id]).expect_code(0).json();
    assert_eq!(show("program", "p")["status"], "published");
    let session = show("session", "s");
    assert_eq!(session["bookings"], json!({"requested": 0, "confirmed": 2, "waitlisted": 1}));
    assert_eq!(session["anomalies"][0]["name"], "overbooked");
    assert_eq!(show("booking", "b-3")["waiting_list_rank"], 1);
    workplace.run(&["show", "program", "nope"]).expect_code(1).expect_report(&["program", "\"nope\""]);
    workplace
        .run(&["show", "programme", "p"])
        .expect_code(1)
        .expect_report(&["programme", "program, session, booking"]);
    workplace.run(&["show", "program", "p", "--tenant", "acme"]).expect_code(1).expect_report(&["\"acme\""]);
}

#[test]
fn questions_are_answered_as_a_table_and_as_json() {
    let workplace = Workplace::new();
    let academy = Academy::new(8, Size { programs: 1, bookings: 3, responses: 8 });
    workplace.write_lines("academy.jsonl", &academy.events);
    workplace.run(&["ingest", "academy.jsonl"]).expect_code(0);
    let platform = workplace.run(&["query", "platform"]).expect_code(0);
    let line = |words: &str| {
        platform.stdout.lines().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}"))
    };
    assert!(line("total") < line("verb") && line("verb") < line("day"), "{}", platform.stdout);
    let answered = platform.stdout.lines().find(|line| line.contains("verbs/answered")).unwrap();
    assert_eq!(answered.split_whitespace().last(), Some("32"), "the count ends the line: {answered}");
    let counts = platform.stdout.lines().skip(line("verb")).take_while(|line| !line.is_empty());
    let widths: Vec<_> = counts.map(|line| line.chars().count()).collect();
    assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "the counts end in one column:\n{}", platform.stdout);

    let survey = workplace.run(&["query", "survey", "course-feedback", "--format", "json"]).expect_code(0).json();
    assert_eq!((&survey["started"], &survey["completed"]), (&json!(8), &json!(6)));
    let recommend = survey["questions"].as_array().unwrap().iter().find(|of| of["question"] == "recommend").unwrap();
    assert_eq!((&recommend["answers"], &recommend["mean"], &recommend["nps"]), (&json!(8), &json!(9.0), &json!(100.0)));
    let survey = workplace.run(&["query", "survey", "course-feedback"]).expect_code(0);
    survey.expect_print(&["recommend", "75.0 %", "9 × 8"]);
    let learner =
        workplace.run(&["query", "learner", "participant@academy.example", "--format", "json"]).expect_code(0);
    assert_eq!(learner.json()["completions"], json!(6));
    workplace
        .run(&["query", "learner", "participant@academy.example"])
        .expect_code(0)
        .expect_print(&["completions", "days"]);
    workplace.run(&["query", "survey", "nope"]).expect_code(1).expect_report(&["survey nope"]);
    workplace.run(&["query", "learner", "1"]).expect_code(1).expect_report(&[
        "learner 1",
        "looked for account:http://nlj.platform/users|1",
        "mbox:<address>",
    ]);
    workplace.run(&["query", "platform", "--from", "someday"]).expect_code(1).expect_report(&["someday"]);
    let before = workplace.run(&["query", "platform", "--to", "2020-01-01", "--format", "json"]).expect_code(0).json();
    assert_eq!(before["total"], json!(0));
}

#[tokio::test]
async fn a_rejected_event_is_replayed_once_its_cause_is_mended() {
    let workplace = Workplace::new();
    let mut random = random();
    let (requested, confirmed) =
        (booking(&mut random, "requested", "b", "s"), booking(&mut random, "confirmed", "b", "s"));
    workplace.write_lines("confirmed.jsonl", &[confirmed]);
    workplace.write_lines("requested.jsonl", &[requested]);
    let summary = workplace.run(&["ingest", "confirmed.jsonl", "--format", "json"]).expect_code(3).json();
    assert_eq!(summary["dead_lettered"], json!({"rejected": 1}));
    let list = workplace.run(&["dead-letters", "list", "--kind", "rejected"]).expect_code(0);
    list.expect_print(&[
        "rejected",
        "nlj.training.bookings/",
        "booking b was not requested",
        "booking.confirm.from-requested-or-waitlisted",
    ]);
    assert_eq!(letters(&workplace, &["--kind", "validation"]).len(), 0);
    let position = letters(&workplace, &[])[0]["position"].as_str().unwrap().to_owned();
    let shown = workplace.run(&["dead-letters", "show", &position]).expect_code(0).json();
    assert_eq!((&shown["kind"], &shown["is_replayed"]), (&json!("rejected"), &json!(false)));

    workplace.run(&["ingest", "requested.jsonl"]).expect_code(0);
    let server = workplace.up(&[]);
    let dry = workplace.run(&["dead-letters", "replay", "--dry-run"]).expect_code(0);
    dry.expect_print(&["would go to nlj.training.bookings", "1 would be sent again"]);
    assert_eq!(letters(&workplace, &[])[0]["is_replayed"], false, "a dry run sends nothing");
    let replay = workplace.run(&["dead-letters", "replay", "--kind", "rejected"]).expect_code(0);
    replay.expect_print(&[&position, "1 sent again, 0 parked"]);
    settle(&server, None).await;
    assert_eq!(workplace.run(&["show", "booking", "b"]).expect_code(0).json()["status"], "confirmed");
    workplace.run(&["dead-letters", "replay"]).expect_code(0).expect_print(&["0 sent again"]);
    workplace.run(&["dead-letters", "list"]).expect_code(0).expect_print(&["(sent again, applied)"]);
    assert_eq!(letters(&workplace, &[]).len(), 1);
    server.stop().expect_code(0);
}

#[tokio::test]
async fn what_fails_after_three_replays_is_parked_and_only_a_person_sends_it_again() {
    let workplace = Workplace::new();
    workplace.write_lines("confirmed.jsonl", &[booking(&mut random(), "confirmed", "b", "s")]);
    workplace.run(&["ingest", "confirmed.jsonl"]).expect_code(3);
    let server = workplace.up(&[]);
    for replay in 1..=3 {
        workplace.run(&["dead-letters", "replay"]).expect_code(0).expect_print(&["1 sent again, 0 parked"]);
        settle(&server, None).await;
        let newest = &letters(&workplace, &[])[0];
        assert_eq!((&newest["replay_count"], &newest["is_parked"]), (&json!(replay), &json!(replay == 3)), "{newest}");
    }
    workplace.run(&["dead-letters", "replay"]).expect_code(0).expect_print(&["0 sent again, 1 parked"]);
    let position = letters(&workplace, &[])[0]["position"].as_str().unwrap().to_owned();
    workplace.run(&["dead-letters", "replay", &position]).expect_code(0).expect_print(&["1 sent again"]);
    settle(&server, None).await;
    assert_eq!(letters(&workplace, &[]).len(), 5);
    server.stop().expect_code(0);
}

#[test]
fn records_are_printed_from_any_place() {
    let workplace = Workplace::new();
    let mut random = random();
    let events: Vec<_> = (0..4).map(|number| booking(&mut random, "requested", &format!("b-{number}"), "s")).collect();
    workplace.write_lines("events.jsonl", &events);
    workplace.run(&["ingest", "events.jsonl"]).expect_code(0);
    let tail = |arguments: &[&str]| {
        workplace.run(&[&["tail", "nlj.training.bookings"], arguments].concat()).expect_code(0).json_lines()
    };
    let all = tail(&["--from", "beginning"]);
    let values: Vec<_> = all.iter().map(|record| record["value"].clone()).collect();
    assert_eq!(values, events, "one session is one key, and keeps its order");
    assert_eq!(all[0]["key"], "s");
    assert_eq!(tail(&["--from", "beginning", "--count", "2"]), all[..2]);
    assert_eq!(tail(&["--from", "3"]), all[3..]);
    assert_eq!(tail(&["--from", "end"]), all[4..]);
    assert_eq!(tail(&[]), all[4..]);
    assert_eq!(tail(&["--from", all[0]["timestamp"].as_str().unwrap()]), all);
    assert_eq!(tail(&["--from", "2099-01-01T00:00:00Z"]), all[4..]);
    let odd = workplace.run(&["tail", "nlj.training.bookings", "--from", "yesterday"]).expect_code(1);
    odd.expect_report(&["yesterday", "beginning"]);
}

#[test]
fn the_tail_of_a_running_process_shows_what_comes() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let mut tail = workplace.start(&["tail", "nlj.xapi.statements", "--count", "1"]);
    // Which one it sees first depends on when it began to look.
    for (number, statement) in video_statements(9, 200).iter().enumerate() {
        let name = format!("{number}.jsonl");
        workplace.write_lines(&name, std::slice::from_ref(statement));
        workplace.run(&["ingest", &name]).expect_code(0);
        if tail.has_ended() {
            break;
        }
    }
    let records = tail.wait().expect_code(0).json_lines();
    assert_eq!(records.len(), 1);
    assert!(records[0]["value"]["id"].is_string(), "{}", records[0]);
    let follow = workplace.start(&["tail", "nlj.xapi.statements", "--from", "beginning"]);
    follow.wait_for_line("\"position\"");
    follow.interrupt();
    follow.wait().expect_code(0);
    server.stop().expect_code(0);
}

#[test]
fn a_function_is_called_with_a_batch_as_aws_calls_it() {
    let workplace = Workplace::new();
    let statements = video_statements(10, 2);
    let values = [statements[0].to_string(), "garbage".to_owned(), statements[1].to_string()];
    let records: Vec<_> = (0..)
        .zip(values)
        .map(|(offset, value)| Record {
            position: Position::new("nlj.xapi.statements", 0, offset),
            timestamp_ms: 1_772_000_000_000,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        })
        .collect();
    let source = EventSource { kind: SourceKind::SelfManaged, arn: None, bootstrap_servers: "broker:9092".to_owned() };
    let mut batch = Vec::new();
    write_event(&source, records.iter(), &mut batch);
    workplace.write("batch.json", batch);
    let tried =
        workplace.run(&["invoke", "statement", "batch.json"]).expect_code(0).expect_report(&["empty stores", "--live"]);
    assert_eq!(tried.json()["batchItemFailures"], json!([]));
    assert!(!workplace.path().join(".lyceum").exists(), "what is tried is kept nowhere");
    workplace.run(&["invoke", "statement", "batch.json", "--live"]).expect_code(1).expect_report(&["no data in"]);
    workplace.write_lines("one.jsonl", &video_statements(11, 1));
    workplace.run(&["ingest", "one.jsonl"]).expect_code(0);
    let answer = workplace.run(&["invoke", "statement", "batch.json", "--live"]).expect_code(0).json();
    assert_eq!(answer["batchItemFailures"], json!([]), "each has ended, the garbage as a dead letter");
    assert_eq!(total(&workplace), 3);
    assert_eq!(letters(&workplace, &["--kind", "decode", "--tenant", "*"]).len(), 1);
    workplace.run(&["invoke", "statement", "batch.json", "--live"]).expect_code(0);
    assert_eq!(total(&workplace), 3, "a batch that is delivered again changes nothing");
}

#[test]
fn who_looks_after_a_container_is_told_without_a_token_how_the_process_is_and_opens_nothing() {
    let workplace = Workplace::new();
    let health = ["status", "--health"];
    workplace.run(&health).expect_code(1).expect_report(&["no process says that it serves", "lyceum up"]);
    assert!(!workplace.path().join(".lyceum").exists(), "a question makes no folder");
    let server = workplace.up(&[("API_TOKENS", "acme:read:a-secret-of-this-test")]);
    workplace.run(&health).expect_code(0).expect_print(&["the running process is healthy"]);
    let told = workplace.run(&["status", "--health", "--format", "json"]).expect_code(0).json();
    assert_eq!(told["status"], "healthy", "{told}");
    // What a killed process left says nothing of how it is.
    server.running.kill();
    workplace.run(&health).expect_code(1).expect_report(&["/health does not answer"]);
}

#[test]
fn topics_and_status_tell_how_far_everything_is() {
    let workplace = Workplace::new();
    workplace.write_lines("statements.jsonl", &video_statements(11, 7));
    workplace.run(&["ingest", "statements.jsonl"]).expect_code(0);
    workplace.run(&["topics"]).expect_code(0).expect_print(&[
        "nlj.xapi.statements",
        "nlj.training.bookings",
        "nlj.errors.validation",
    ]);
    let topics = workplace.run(&["topics", "--format", "json"]).expect_code(0).json();
    let statements =
        topics["topics"].as_array().unwrap().iter().find(|topic| topic["topic"] == "nlj.xapi.statements").unwrap();
    let sum = |name: &str| {
        statements["partitions"].as_array().unwrap().iter().map(|of| of[name].as_i64().unwrap()).sum::<i64>()
    };
    assert_eq!((sum("end"), sum("lag"), &statements["function"]), (7, 0, &json!("statement")));
    workplace.run(&["status"]).expect_code(0).expect_print(&["no process is running", "healthy"]);
    let server = workplace.up(&[]);
    workplace.run(&["status"]).expect_code(0).expect_print(&["the running process is healthy", "lag 0"]);
    workplace.write_lines("academy.jsonl", &Academy::new(3, SMALL).events);
    workplace.run(&["ingest", "academy.jsonl"]).expect_code(0).expect_print(&["capacity: ", "write units an event"]);
    workplace.run(&["status"]).expect_code(0).expect_print(&[
        "capacity since its start: ",
        "  training ",
        "write units an event",
    ]);
    assert_eq!(workplace.run(&["status", "--format", "json"]).expect_code(0).json()["health"]["status"], "healthy");
    server.stop().expect_code(0);
}

#[test]
fn commands_on_a_folder_that_is_held_ask_its_process_and_say_where_there_is_none() {
    let workplace = Workplace::new();
    let academy = Academy::new(12, SMALL);
    workplace.write_lines("academy.jsonl", &academy.events);
    let server = workplace.up(&[]);
    let note = format!("asking it at {}", server.base);
    let summary = workplace
        .run(&["ingest", "academy.jsonl", "--format", "json", "-v"])
        .expect_code(0)
        .expect_report(&[&note])
        .json();
    let undisturbed = workplace.run(&["ingest", "academy.jsonl", "--format", "json", "--data", "other"]).expect_code(0);
    let undisturbed = undisturbed.expect_report(&["other was made new, and no process serves it"]).json();
    // How long it took, and how the records came together in batches, is chance.
    let without_chance = |mut summary: Value| {
        let of_chance = |name: &str| matches!(name, "seconds" | "per_second" | "stages" | "capacity");
        summary.as_object_mut().unwrap().retain(|name, _| !of_chance(name));
        summary
    };
    assert_eq!(without_chance(summary), without_chance(undisturbed));
    workplace.run(&["show", "program", "program-0", "--verbose"]).expect_code(0).expect_report(&[&note]);
    let quiet = workplace.run(&["query", "platform"]).expect_code(0);
    assert!(quiet.stderr.is_empty(), "all is well: {}", quiet.stderr);
    workplace.run(&["up", "--port", "0"]).expect_code(1).expect_report(&[
        "is served by process",
        &server.base,
        "--data",
    ]);
    server.stop().expect_code(0);
    workplace.run(&["query", "platform"]).expect_code(0).expect_report(&["no process serves", ".lyceum"]);
}

#[test]
fn a_question_makes_no_folder_and_says_where_it_looked() {
    let workplace = Workplace::new();
    let questions: [&[&str]; 9] = [
        &["query", "platform"],
        &["query", "learner", "ada@academy.example"],
        &["show", "program", "p"],
        &["dead-letters", "list"],
        &["dead-letters", "show", "nlj.errors.validation/0/0"],
        &["dead-letters", "replay"],
        &["tail", "nlj.xapi.statements"],
        &["topics"],
        &["status"],
    ];
    for question in questions {
        workplace.run(question).expect_code(1).expect_report(&[
            "no data in ",
            ".lyceum; `lyceum up` makes it",
            "LYCEUM_DATA",
        ]);
        let elsewhere = [question, &["--data", "mistyped"]].concat();
        workplace.run(&elsewhere).expect_code(1).expect_report(&["mistyped; "]);
    }
    assert_eq!(std::fs::read_dir(workplace.path()).unwrap().count(), 0, "nothing was made");
    workplace.write_lines("one.jsonl", &video_statements(1, 1));
    let at = [("LYCEUM_DATA", "of-the-variable")];
    workplace.run_with(&at, &["ingest", "one.jsonl"]).expect_code(0).expect_report(&["of-the-variable was made new"]);
    let answer = workplace.run_with(&at, &["query", "platform", "--format", "json"]).expect_code(0).json();
    assert_eq!(answer["total"], json!(1));
    assert!(!workplace.path().join(".lyceum").exists());
    let server = workplace.up(&at);
    assert!(server.running.printed().contains("data in of-the-variable"), "{}", server.running.printed());
    server.stop().expect_code(0);
}

#[test]
fn a_command_means_the_default_tenant_unless_one_is_named_and_says_whose_data_there_is() {
    let workplace = Workplace::new();
    let rejected = booking(&mut random(), "confirmed", "b", "s");
    workplace.write_lines("events.jsonl", &[video_statements(1, 1), vec![rejected]].concat());
    workplace.run(&["ingest", "events.jsonl", "--tenant", "acme"]).expect_code(3);
    let numbers = |variables: &[(&str, &str)], arguments: &[&str]| {
        let query = [&["query", "platform", "--format", "json"], arguments].concat();
        workplace.run_with(variables, &query).expect_code(0).json()["total"].clone()
    };
    assert_eq!((numbers(&[], &[]), numbers(&[], &["--tenant", "*"])), (json!(0), json!(1)));
    assert_eq!(numbers(&[("DEFAULT_TENANT", "acme")], &[]), json!(1));
    let none = workplace.run(&["query", "platform"]).expect_code(0);
    none.expect_report(&["tenant \"default\" has no data; there is of acme"]);
    assert_eq!(letters(&workplace, &[]).len(), 0);
    assert_eq!(
        (letters(&workplace, &["--tenant", "acme"]).len(), letters(&workplace, &["--tenant", "*"]).len()),
        (1, 1)
    );
    let dry = workplace.run(&["dead-letters", "replay", "--dry-run"]).expect_code(0);
    dry.expect_print(&["0 would be sent again"]);
    // Whoever runs the process says who is meant, also to commands of another terminal.
    let server = workplace.up(&[("DEFAULT_TENANT", "acme")]);
    assert_eq!(numbers(&[], &[]), json!(1));
    server.stop().expect_code(0);
}

#[tokio::test]
async fn the_demo_has_a_folder_of_its_own() {
    let workplace = Workplace::new();
    let server = workplace.up_with(&[], &["--demo"]);
    let told = server.running.printed();
    assert!(told.contains("data in .lyceum/demo"), "{told}");
    workplace.run(&["query", "platform"]).expect_code(1).expect_report(&["the demo's is in .lyceum/demo"]);
    workplace.run(&["query", "platform", "--data", ".lyceum/demo", "--tenant", "demo"]).expect_code(0);
    server.stop().expect_code(0);
}

#[tokio::test]
async fn a_process_listens_where_it_is_told_and_says_so() {
    let workplace = Workplace::new();
    let everywhere = ["up", "--port", "0", "--bind", "0.0.0.0"];
    workplace.run(&everywhere).expect_code(1).expect_report(&["without API_TOKENS", "0.0.0.0"]);
    let tokens = format!("*:read:{EVERY}");
    let server = workplace.up(&[("API_TOKENS", &tokens)]);
    server.running.wait_for_line("listens on every address");
    server.stop().expect_code(0);
    let server = workplace.up_with(&[("API_TOKENS", &tokens)], &["--bind", "127.0.0.1"]);
    assert!(!server.running.printed().contains("listens on every address"), "{}", server.running.printed());
    server.stop().expect_code(0);
}

#[test]
fn a_file_that_holds_no_events_is_refused_by_what_it_looks_like_and_nothing_of_it_is_sent() {
    let workplace = Workplace::new();
    workplace.write("answers.csv", "id,learner,score\n1,ada,9\n2,blaise,7\n");
    workplace.write("README.md", "# Title\n\nWords.\n");
    workplace.write("expected.json", r#"{"after": ["program.created"], "shows": []}"#);
    workplace.write_lines("one.jsonl", &video_statements(1, 1));
    let files = ["ingest", "answers.csv", "README.md", "expected.json", "one.jsonl", "--format", "json"];
    let refused = workplace.run(&files).expect_code(2).expect_report(&[
        "answers.csv looks like CSV; nothing of it was sent, --force sends it anyway",
        "README.md looks like text, not JSON",
        "expected.json looks like JSON without events",
    ]);
    let summary = refused.json();
    assert_eq!((&summary["read"], &summary["applied"]), (&json!(1), &json!(1)), "the others are taken");
    assert_eq!(letters(&workplace, &["--tenant", "*"]).len(), 0);
    let copies: Vec<String> = (1..=5).map(|number| format!("{number}.csv")).collect();
    copies.iter().for_each(|copy| drop(workplace.write(copy, "id,score\n1,9\n")));
    let arguments: Vec<&str> = ["ingest"].into_iter().chain(copies.iter().map(String::as_str)).collect();
    workplace
        .run(&arguments)
        .expect_code(2)
        .expect_report(&["5 files look like CSV", "1.csv, 2.csv, 3.csv and 2 more"]);
    let forced = workplace.run(&["ingest", "answers.csv", "--force", "--format", "json"]).expect_code(3).json();
    assert_eq!(forced["dead_lettered"], json!({"decode": 3}));
}

#[tokio::test]
async fn an_ingestion_through_a_process_that_is_interrupted_says_what_was_taken() {
    let workplace = Workplace::new();
    workplace.write_lines("many.jsonl", &video_statements(13, 60_000));
    let server = workplace.up(&[]);
    let ingestion = workplace.start(&["ingest", "many.jsonl"]);
    while server.get("/api/analytics/platform/overview", None).await.1["total"] == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ingestion.interrupt();
    let ended = ingestion.wait().expect_code(1);
    let ended =
        ended.expect_report(&["ended before everything was sent", "events were taken and settled", "duplicate"]);
    assert!(ended.stdout.starts_with("read "), "the summary stands before it: {}", ended.stdout);
    server.stop().expect_code(0);
}

#[test]
fn an_interrupted_ingestion_says_what_stays_and_the_next_start_goes_on() {
    let workplace = Workplace::new();
    let number = 20_000;
    workplace.write_lines("many.jsonl", &video_statements(13, number));
    let ingestion = workplace.start(&["ingest", "many.jsonl"]);
    // Once so much is in the log, it is at work.
    let log = workplace.path().join(".lyceum/events.redb");
    while std::fs::metadata(&log).map_or(0, |log| log.len()) < 4 << 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    workplace.run(&["query", "platform"]).expect_code(1).expect_report(&["in use by another process", "try again"]);
    ingestion.interrupt();
    let ended = ingestion.wait().expect_code(1);
    ended.expect_report(&["ended before everything was settled", "duplicate"]);
    let stored = total(&workplace);
    assert!(stored < number as u64, "the interruption came too late to show anything");
    let summary = workplace.run(&["ingest", "many.jsonl", "--format", "json"]).expect_code(0).json();
    let settled = summary["applied"].as_u64().unwrap() + summary["duplicate"].as_u64().unwrap();
    assert_eq!((settled, total(&workplace)), (number as u64, number as u64), "{summary}");
}

#[tokio::test]
async fn a_second_start_goes_on_where_the_first_one_stopped() {
    let workplace = Workplace::new();
    let statements = video_statements(14, 900);
    let server = workplace.up(&[]);
    for chunk in statements.chunks(300) {
        let (status, answer) = server.post("/events/nlj.xapi.statements", &json!(chunk), None).await;
        assert_eq!(status, 202, "{answer}");
    }
    let ended = server.stop().expect_code(0);
    ended.expect_report(&["what is in hand is finished, the rest comes at the next start"]);
    let server = workplace.up(&[]);
    settle(&server, None).await;
    assert_eq!(total(&workplace), 900);
    server.stop().expect_code(0);
}

#[test]
fn what_goes_into_a_pipe_has_no_control_characters() {
    let workplace = Workplace::new();
    let mut statements = video_statements(15, 50);
    statements.push(json!({"verb": {"id": "\u{1b}[31mred\u{7}"}}));
    workplace.write_lines("statements.jsonl", &statements);
    let verbose = [("LOG_LEVEL", "debug")];
    let check = |finished: Finished| {
        for text in [&finished.stdout, &finished.stderr] {
            let odd = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
            assert_eq!(odd, None, "{text:?}");
        }
    };
    let commands: [&[&str]; 10] = [
        &["ingest", "statements.jsonl"],
        &["validate", "statements.jsonl"],
        &["query", "platform"],
        &["topics"],
        &["status"],
        &["dead-letters", "list"],
        &["dead-letters", "replay", "--dry-run"],
        &["tail", "nlj.xapi.statements", "--from", "beginning"],
        &["nope"],
        &["--help"],
    ];
    for arguments in commands {
        check(workplace.run_with(&verbose, arguments));
    }
    let server = workplace.up(&verbose);
    check(server.stop());
}

const ACME: &str = "acme-token-0123456789";
const UMBRA: &str = "umbra-token-0123456789";
const EVERY: &str = "every-token-0123456789";

#[tokio::test]
async fn a_token_sees_its_own_tenant_and_nothing_else() {
    let workplace = Workplace::new();
    let roles = "read+publish+operate";
    let tokens = format!("acme:{roles}:{ACME} umbra:{roles}:{UMBRA} *:{roles}:{EVERY}");
    let server = workplace.up(&[("API_TOKENS", &tokens)]);
    let mut random = random();
    let mut secret = video_statements(16, 1).remove(0);
    secret["object"]["id"] = json!("https://umbra.example/secret-plan");
    let events = [
        created(&mut random, "umbra-program"),
        booking(&mut random, "confirmed", "umbra-booking", "s"),
        secret.clone(),
    ];
    workplace.write_lines("umbra.jsonl", &events);
    workplace.write_lines("acme.jsonl", &video_statements(17, 3));

    workplace.run(&["ingest", "umbra.jsonl"]).expect_code(1).expect_report(&["LYCEUM_TOKEN"]);
    workplace
        .run_with(&[("LYCEUM_TOKEN", "not-a-token-at-all")], &["query", "platform"])
        .expect_code(1)
        .expect_report(&["LYCEUM_TOKEN"]);
    let as_umbra = [("LYCEUM_TOKEN", UMBRA)];
    let as_acme = [("LYCEUM_TOKEN", ACME)];
    let summary = workplace.run_with(&as_umbra, &["ingest", "umbra.jsonl", "--format", "json"]).expect_code(3).json();
    assert_eq!((&summary["applied"], &summary["dead_lettered"]), (&json!(2), &json!({"rejected": 1})));
    workplace.run_with(&as_acme, &["ingest", "acme.jsonl"]).expect_code(0);
    workplace
        .run_with(&as_acme, &["ingest", "acme.jsonl", "--tenant", "umbra"])
        .expect_code(1)
        .expect_report(&["tenant"]);

    let id = secret["id"].as_str().unwrap();
    let (_, own) = server.get("/api/dead-letters", Some(UMBRA)).await;
    let position = own["dead_letters"][0]["position"].as_str().unwrap().to_owned();
    let source = own["dead_letters"][0]["source"].as_str().unwrap().to_owned();
    for path in [
        "/",
        "/live",
        "/events/status",
        "/api/dead-letters",
        "/api/topics",
        "/metrics",
        "/api/analytics/platform/overview",
    ] {
        assert_eq!(server.get(path, None).await.0, 401, "{path}");
    }
    let hidden = [
        format!("/api/statements/{id}"),
        "/api/state/program/umbra-program".to_owned(),
        format!("/api/dead-letters/{position}"),
        format!("/events/{source}"),
        format!("/events/{position}"),
    ];
    for path in &hidden {
        assert_eq!(server.get(path, Some(UMBRA)).await.0, 200, "{path}");
        let (status, answer) = server.get(path, Some(ACME)).await;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
        assert!(
            !answer.to_string().contains("secret-plan") && !answer.to_string().contains("not requested"),
            "{path}: {answer}"
        );
    }
    for path in [
        "/api/dead-letters",
        "/api/analytics/platform/overview",
        "/events/status",
        "/",
        "/api/state/program/umbra-program",
    ] {
        assert_eq!(server.get(&format!("{path}?tenant=umbra"), Some(ACME)).await.0, 403, "{path}");
        let (_, answer) = server.get(path, Some(ACME)).await;
        assert!(!answer.to_string().contains("umbra-booking") && !answer.to_string().contains(id), "{path}: {answer}");
    }
    assert_eq!(server.get("/api/dead-letters", Some(ACME)).await.1["dead_letters"], json!([]));
    let replay = server.post("/api/dead-letters/replay", &json!({"positions": [position]}), Some(ACME)).await;
    assert_eq!(replay.0, 404, "{}", replay.1);
    let replay = server.post("/api/dead-letters/replay", &json!({"all": true}), Some(ACME)).await;
    assert_eq!((replay.0, &replay.1["replayed"]), (200, &json!([])));
    assert_eq!(server.get("/api/topics/nlj.xapi.statements/records", Some(ACME)).await.0, 403);
    let numbers = |variables: &[(&str, &str)]| {
        workplace.run_with(variables, &["query", "platform", "--format", "json"]).expect_code(0).json()["total"].clone()
    };
    assert_eq!(
        (numbers(&as_acme), numbers(&as_umbra), numbers(&[("LYCEUM_TOKEN", EVERY)])),
        (json!(3), json!(2), json!(5))
    );
    let learner = workplace.run_with(&as_acme, &["query", "learner", "trainer@academy.example"]);
    learner.expect_code(1).expect_report(&["learner trainer@academy.example"]);
    server.stop().expect_code(0);
}

#[tokio::test]
async fn a_role_that_a_token_lacks_is_named() {
    let workplace = Workplace::new();
    let server = workplace.up(&[("API_TOKENS", &format!("acme:read:{ACME}"))]);
    let (status, problem) = server.post("/events/nlj.xapi.statements", &json!({}), Some(ACME)).await;
    assert_eq!((status, problem["detail"].as_str().is_some_and(|detail| detail.contains("publish"))), (403, true));
    let replay = workplace.run_with(&[("LYCEUM_TOKEN", ACME)], &["dead-letters", "replay"]).expect_code(1);
    replay.expect_report(&["operate"]);
    server.stop().expect_code(0);
}

/// A replay of three letters at one a second is under way for two seconds.
#[cfg(target_os = "linux")]
#[test]
fn a_command_that_has_the_data_itself_listens_on_nothing() {
    let workplace = Workplace::new();
    workplace.write_lines("broken.jsonl", &[json!({"id": 1}), json!({"id": 2}), json!({"id": 3})]);
    workplace.run(&["ingest", "broken.jsonl", "--force"]).expect_code(3);
    let replay = workplace.start(&["dead-letters", "replay", "--per-second", "1"]);
    replay.wait_for_line("→");
    assert_eq!(replay.listening_sockets(), Vec::<String>::new());
    replay.wait().expect_code(0).expect_print(&["3 sent again"]);
    let server = workplace.up(&[]);
    assert_eq!(server.running.listening_sockets().len(), 1, "the test sees a socket that listens");
    server.stop().expect_code(0);
}
