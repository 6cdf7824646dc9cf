//! `lyceum check`: what the events of a checkout still lack.

use lyceum_given::binary::workspace;
use lyceum_tests::workplace::Workplace;
use serde_json::{Value, json};

#[test]
fn nothing_of_this_checkout_lacks_and_what_no_file_shows_is_left_to_judge() {
    let workplace = Workplace::new();
    let root = workspace().display().to_string();
    workplace.run(&["check", "--root", &root]).expect_code(0).expect_print(&[
        "training",
        "[x] 2. schema",
        "[?] 3.",
        "--live",
        "[?] 6.",
        "Nothing lacks.",
    ]);
    let answer = workplace.run(&["check", "mission", "--root", &root, "--format", "json"]).expect_code(0).json();
    assert_eq!(answer, json!({"families": ["mission"], "live": false, "lacks": []}));
}

#[test]
fn a_folder_or_a_family_that_is_none_is_named_with_what_to_do() {
    let workplace = Workplace::new();
    let root = workspace().display().to_string();
    workplace.run(&["check"]).expect_code(2).expect_report(&["is no checkout of Lyceum", "--root"]);
    workplace.run(&["check", "payroll", "--root", &root]).expect_code(2).expect_report(&[
        "no family is called \"payroll\"",
        "training",
        "docs/migrating-a-module.md",
    ]);
    workplace.run(&["check", "--live=yes"]).expect_code(2).expect_report(&["--live"]);
    workplace.run(&["check", "--root", &root, "--format", "xml"]).expect_code(2).expect_report(&["table", "json"]);
}

#[test]
fn a_checkout_without_a_sample_and_its_schema_says_which_file_to_write() {
    let workplace = Workplace::new();
    for folder in ["events", "functions"] {
        std::fs::create_dir(workplace.path().join(folder)).expect("a folder can be made");
    }
    workplace.run(&["check", "mission"]).expect_code(1).expect_print(&[
        "[ ] 2.",
        "task.created has no valid sample",
        "write events/mission/valid/task.created.json",
        "22 things lack.",
    ]);
}

#[test]
fn asked_live_it_tells_what_is_on_the_topics() {
    let workplace = Workplace::new();
    let root = workspace().display().to_string();
    workplace.run(&["check", "mission", "--root", &root, "--live"]).expect_code(1).expect_report(&["no data in"]);
    let sample = |name: &str| workspace().join("events/mission").join(name).display().to_string();
    let live = ["check", "mission", "--root", &root, "--live", "--format", "json"];
    let phases = |of: Value| -> Vec<String> {
        let lacks = of["lacks"].as_array().expect("a list").clone();
        lacks.iter().map(|lack| lack["phase"].as_str().expect("a phase").to_owned()).collect()
    };
    workplace.run(&["ingest", &sample("../training/valid/program.created.bare.json")]).expect_code(0);
    assert_eq!(phases(workplace.run(&live).expect_code(1).json()), ["dual_publish"]);
    workplace.run(&["ingest", &sample("valid/mission.created.json")]).expect_code(0);
    assert_eq!(phases(workplace.run(&live).expect_code(0).json()), [""; 0]);
    workplace.run(&["check", "mission", "--root", &root, "--live"]).expect_code(0).expect_print(&["(1 record)"]);
    workplace.run(&["ingest", &sample("invalid/mission.failed.without-a-reason.json")]).expect_code(3);
    assert_eq!(phases(workplace.run(&live).expect_code(1).json()), ["compare"]);
}
