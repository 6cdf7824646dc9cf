//! The tutorial, as a person follows it: its commands are run as they stand there, and print what it says.

use std::process::Command;

use lyceum_given::binary::{lyceum, workspace};
use lyceum_tests::workplace::{Running, Workplace};

/// Where it begins to be about AWS: from there on `.ci/deploy` and `infra/smoke` do what it says.
const ON_AWS: &str = "\n## 6. On AWS\n";

/// A fenced block: what stands behind the fence, and what is in it.
struct Block<'a> {
    info: &'a str,
    text: &'a str,
}

fn blocks(document: &str) -> Vec<Block<'_>> {
    let parts = document.split("\n```");
    // Every second one is in a block; the first line of it is what stands behind the fence.
    parts
        .skip(1)
        .step_by(2)
        .map(|part| part.split_once('\n').expect("a block has lines"))
        .map(|(info, text)| Block { info, text })
        .collect()
}

/// With one space for any, so that nothing hangs on the width of columns.
fn narrow(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line that was printed is the one that stands in the document, where `…` is anything.
fn is_like(printed: &str, told: &str) -> bool {
    let (mut rest, mut is_first) = (printed, true);
    let parts: Vec<&str> = told.split('…').collect();
    for (number, part) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        let found = match (is_first, is_last) {
            (true, true) => return rest == *part,
            (true, false) => rest.starts_with(part).then_some(0),
            (false, true) => return rest.ends_with(part),
            (false, false) => rest.find(part),
        };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
        is_first = false;
    }
    true
}

#[test]
fn every_command_of_the_tutorial_does_what_it_says() {
    let document = std::fs::read_to_string(workspace().join("docs/tutorial.md")).expect("the tutorial is there");
    let (here, _) = document.split_once(ON_AWS).expect("it has a part about AWS");
    let workplace = Workplace::new();
    let mut path = lyceum().parent().expect("it lies in a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("there is a path"));
    let command = |text: &str| {
        let mut command = Command::new("bash");
        workplace.prepare(&mut command).args(["-euo", "pipefail", "-c", text]).env("PATH", &path);
        command
    };
    let (mut up, mut printed, mut ran) = (None::<Running>, String::new(), 0);
    // The first one builds it.
    for Block { info, text } in blocks(here).into_iter().skip(1) {
        match info {
            "sh in a terminal of its own" => {
                assert_eq!(text.trim(), "lyceum up", "what runs beside is one process");
                let running = Running::start(&mut command("exec lyceum up --port 0"));
                running.wait_for_line("Lyceum is at http://");
                up = Some(running);
            }
            "sh" => {
                let finished = Running::start(&mut command(text)).wait();
                assert_eq!(finished.code, Some(0), "{text}\n{}\n{}", finished.stdout, finished.stderr);
                printed = format!("{}\n{}", finished.stdout, finished.stderr);
                ran += 1;
            }
            "text" => {
                for told in text.lines().map(narrow) {
                    let is_there = printed.lines().map(narrow).any(|line| is_like(&line, &told));
                    assert!(is_there, "{told:?} is not among what was printed:\n{printed}");
                }
            }
            other => panic!("a block of {other:?} is neither run nor compared"),
        }
    }
    assert!(ran > 8, "only {ran} blocks of commands were found");
    let up = up.expect("it is started");
    up.interrupt();
    up.wait().expect_code(0);
}

#[test]
fn what_is_printed_is_like_what_is_told() {
    assert!(is_like("started 5", "started 5"));
    assert!(!is_like("started 55", "started 5"));
    assert!(is_like("first 2026-11-30 09:32 and more", "first … and more"));
    assert!(is_like("a b c d", "… b … d"));
    assert!(!is_like("a b c", "… d …"));
}
