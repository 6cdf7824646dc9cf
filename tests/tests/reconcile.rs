//! The log against the embedded stores, by the command: what is lost is found and comes back, what differs or is nobody's is found, stays, and the
//! report says what to do.

use std::path::Path;

use lyceum_tests::academy::{Academy, Size};
use lyceum_tests::workplace::{Finished, Workplace};
use serde_json::{Value, json};

const DOCUMENTS: &str = ".lyceum/statements";

fn reconcile(workplace: &Workplace, arguments: &[&str]) -> (Value, Finished) {
    let finished = workplace.run(&[&["reconcile", "--format", "json"], arguments].concat());
    (finished.json(), finished)
}

fn total(workplace: &Workplace) -> Value {
    workplace.run(&["query", "platform", "--format", "json"]).expect_code(0).json()["total"].clone()
}

/// Puts the documents of another place there; nobody runs on either.
fn take_documents(of: &Workplace, to: &Workplace) {
    let place = to.path().join(DOCUMENTS);
    std::fs::remove_dir_all(&place).expect("there are documents");
    copy(&of.path().join(DOCUMENTS), &place);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in from.read_dir().expect("it is there") {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("it can be read");
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("it is copied");
        }
    }
}

#[test]
fn what_the_embedded_stores_lost_is_found_and_comes_back_and_what_else_differs_says_what_to_do() {
    let academy = Academy::new(21, Size { programs: 2, bookings: 6, responses: 8 });
    let (here, other) = (Workplace::new(), Workplace::new());
    here.write_lines("events.jsonl", &academy.events);
    here.run(&["ingest", "events.jsonl"]).expect_code(0);
    let count = academy.events.len() as u64;
    let (report, finished) = reconcile(&here, &[]);
    finished.expect_code(0);
    assert_eq!(
        (&report["kept"], &report["documents"], &report["differences"]),
        (&json!(count), &json!(count), &json!({}))
    );

    // All documents are gone: found as missing, and there again, as many as were.
    std::fs::remove_dir_all(here.path().join(DOCUMENTS)).expect("there are documents");
    let (report, finished) = reconcile(&here, &[]);
    finished.expect_code(1);
    assert_eq!(report["differences"], json!({"missing-document": count}), "{report:#}");
    assert!(report["to_do"]["missing-document"].as_str().is_some_and(|to_do| to_do.contains("--repair")), "{report:#}");
    assert_eq!(total(&here), json!(0));
    let (report, finished) = reconcile(&here, &["--repair"]);
    finished.expect_code(0);
    assert_eq!((&report["repaired"], &report["differences"]), (&json!(count), &json!({})), "{report:#}");
    assert_eq!(total(&here), json!(count));

    // Documents of a place where the same events said something else, the last one was never sent, and one more was.
    let mut events = academy.events.clone();
    events.pop();
    events[0]["timestamp"] = json!("2026-01-05T08:00:00Z");
    // Somebody else who began the survey.
    let is_response = |event: &&Value| event["context"]["registration"].is_string();
    let mut more = events.iter().find(is_response).expect("there are responses").clone();
    more["id"] = json!("6f1c2a9e-0000-4000-8000-000000000001");
    more["context"]["registration"] = json!("6f1c2a9e-0000-4000-8000-000000000002");
    events.push(more);
    other.write_lines("events.jsonl", &events);
    other.run(&["ingest", "events.jsonl"]).expect_code(0);
    take_documents(&other, &here);
    let (found, finished) = reconcile(&here, &[]);
    finished.expect_code(1);
    let differing = &found["differences"];
    assert_eq!((&differing["missing-document"], &differing["differing-document"]), (&json!(1), &json!(1)), "{found:#}");
    assert!(differing["extra-document"].as_u64() >= Some(1), "{found:#}");
    let (left, finished) = reconcile(&here, &["--repair"]);
    finished.expect_code(1);
    assert_eq!((&left["repaired"], &left["differences"]["missing-document"]), (&json!(1), &Value::Null), "{left:#}");
    for (what, to_do) in [("differing-document", "no processing overwrites"), ("extra-document", "no record makes it")]
    {
        assert_eq!(left["differences"][what], differing[what], "what is there stays: {left:#}");
        assert!(left["to_do"][what].as_str().is_some_and(|text| text.contains(to_do)), "{left:#}");
    }
    let said = here.run(&["reconcile"]).expect_code(1);
    said.expect_print(&["extra document: look at each", "differing document: look at each", "by its id"]);
}
