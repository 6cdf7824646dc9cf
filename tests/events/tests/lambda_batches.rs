//! Every file in `events/aws`: a whole invocation's payload through the real function that its name begins with.

use std::collections::BTreeSet;
use std::fs;

use lyceum_core::outcome::Report;
use lyceum_events_tests::samples::{json_files, read_expected, root};
use lyceum_events_tests::world::World;
use lyceum_functions::functions;
use lyceum_lambda_event::response::BatchResponse;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Dependencies that are unavailable: `ledger`, `statements`, `event_log`.
    #[serde(default)]
    down: Vec<String>,
    outcomes: Vec<Value>,
    #[serde(rename = "batchItemFailures")]
    batch_item_failures: Vec<Value>,
}

#[test]
fn every_batch_ends_as_the_file_beside_it_says() {
    let files = json_files(&root().join("aws"));
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let function = function_of(&name);
        let expected: Expected =
            read_expected(file).unwrap_or_else(|| panic!("{name} has no .expected.json beside it"));
        let world = World::new();
        for dependency in &expected.down {
            let switch = match dependency.as_str() {
                "ledger" => &world.ledger.switch,
                "statements" => &world.statements.switch,
                "event_log" => &world.event_log.switch,
                other => panic!("{name}: {other:?} is no dependency"),
            };
            switch.set_down(true);
        }
        let (answer, reports) = world.invoke(function, &fs::read(file).expect("a sample can be read"));
        let outcomes: Vec<Value> = reports.iter().map(shown).collect();
        if outcomes != expected.outcomes {
            wrong.push(format!("{name}: found {}", Value::Array(outcomes)));
        }
        if json!(answer)["batchItemFailures"] != json!(expected.batch_item_failures) {
            wrong.push(format!("{name}: answered {}", json!(answer)));
        }
        let dead = reports.iter().filter(|report| report.outcome.name() == "dead_lettered").count();
        if world.letters().len() != dead {
            wrong.push(format!("{name}: {} letters for {dead} dead records", world.letters().len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_batch_that_came_again_changes_nothing() {
    for file in json_files(&root().join("aws")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let function = function_of(&name);
        let payload = fs::read(&file).expect("a sample can be read");
        let world = World::new();
        let state = |world: &World| (world.ledger.model.aggregates(), world.statements.model.documents());
        let (answer, first) = world.invoke(function, &payload);
        assert_eq!(answer, BatchResponse::default(), "{name}: nothing is down");
        let (before, letters) = (state(&world), world.letters());
        let (answer, second) = world.invoke(function, &payload);
        assert_eq!((answer, state(&world)), (BatchResponse::default(), before), "{name}");
        let outcomes = |reports: &[Report]| reports.iter().map(shown).collect::<Vec<_>>();
        assert_eq!(outcomes(&second), outcomes(&first), "{name}");
        let ids = |letters: &[lyceum_core::dead_letter::DeadLetter]| {
            letters.iter().map(|letter| letter.id).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(ids(&world.letters()), ids(&letters), "{name}: a letter that is published again has its id");
    }
}

#[test]
fn every_function_has_a_batch() {
    let files = json_files(&root().join("aws"));
    let has_one: BTreeSet<&str> =
        files.iter().filter_map(|file| Some(function_of(&file.file_name()?.to_string_lossy()))).collect();
    for name in functions().map(|of| of.subscription.name) {
        assert!(has_one.contains(name), "events/aws has no {name}-….json");
    }
}

/// The function that a file's name begins with: of two, the longer name.
fn function_of(file: &str) -> &'static str {
    let names = functions().map(|of| of.subscription.name);
    let begins = |name: &&str| file.strip_prefix(*name).is_some_and(|rest| rest.starts_with('-'));
    names
        .filter(begins)
        .max_by_key(|name| name.len())
        .unwrap_or_else(|| panic!("{file} begins with no function's name"))
}

fn shown(report: &Report) -> Value {
    let mut shown = json!({"position": report.position, "outcome": report.outcome.name()});
    if let lyceum_core::outcome::Outcome::DeadLettered { kind } = report.outcome {
        shown["kind"] = json!(kind.name());
    }
    shown
}
