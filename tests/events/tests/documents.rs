//! What `docs/events.md` says of each event is what the catalog says, and how to publish it is well formed in all three languages.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use lyceum_documents::{events, markdown, snippets, topics};
use lyceum_events_tests::samples;

#[test]
fn the_parts_of_the_documentation_of_events_are_the_catalogs() {
    let file = samples::root().join("../docs/events.md");
    let _alone = crate::EVENTS_DOCUMENT.lock();
    let mut text = fs::read_to_string(&file).expect("docs/events.md can be read");
    let parts =
        [("graph", markdown::graph()), ("criticalities", markdown::criticalities()), ("events", markdown::sections())];
    let update = std::env::var_os("LYCEUM_UPDATE_DOCS").is_some();
    for (name, part) in parts {
        let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/events.md lacks {begin}"));
        let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("docs/events.md lacks {end}"));
        let wanted = format!("\n{}\n", part.trim_end_matches('\n').to_owned() + "\n");
        if update {
            text = format!("{before}{begin}{wanted}{end}{after}");
            continue;
        }
        let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests documents";
        assert!(
            found == wanted,
            "docs/events.md is not what the catalog says between the marks {name}; write it anew with {advice}"
        );
    }
    if update {
        fs::write(&file, text).expect("docs/events.md can be written");
    }
}

/// What a program says of a text on its standard input.
fn judge(program: &str, arguments: &[&str], text: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed here (apt-get install {program}): {error}"));
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn judge_shell_and_python() {
    judge("bash", &["-n"], &events().map(|event| snippets::curl(event.topic)).collect::<String>());
    // Each in a function of its own, so that all are compiled at once.
    let indented = |text: String| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let python: String =
        topics().map(|(_, topic)| format!("def of():\n{}", indented(snippets::python(topic)))).collect();
    judge("python3", &["-c", "import ast, sys; ast.parse(sys.stdin.read())"], &python);
}

#[test]
fn how_to_publish_an_event_is_well_formed_in_every_language() {
    let is_left_out = std::env::var("LYCEUM_TEST_DOCUMENTS").is_ok_and(|value| value == "skip");
    if is_left_out {
        eprintln!("NOT RUN: LYCEUM_TEST_DOCUMENTS=skip; neither bash nor Python has read how to publish an event");
    } else {
        judge_shell_and_python();
    }
    // They differ by the topic alone; one of them is a program of tests/, which is compiled and run.
    let compiled = fs::read_to_string(samples::root().join("../tests/documents/publish.rs")).expect("it is there");
    let mut texts = topics().map(|(_, topic)| (topic.name, snippets::rust(topic)));
    let (first, text) = texts.next().expect("there is a topic");
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        let head = compiled.split("use ").next().unwrap_or_default();
        fs::write(samples::root().join("../tests/documents/publish.rs"), format!("{head}{text}"))
            .expect("it can be written");
    } else {
        assert!(
            compiled.ends_with(&text),
            "tests/documents/publish.rs is another one; LYCEUM_UPDATE_DOCS=1 writes it anew"
        );
    }
    for (name, other) in texts {
        assert_eq!(other.replace(&format!("/events/{name}"), &format!("/events/{first}")), text);
    }
}
