//! What the documents say is so: links lead somewhere, commands are understood, tables equal the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lyceum_core::environment::Row;
use lyceum_xapi::RULES;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// Every file below a folder with that extension, hidden and built ones apart: path and text.
fn files(folder: PathBuf, extension: &str) -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![folder], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let is_foreign = name == "target" || name.as_encoded_bytes().starts_with(b".");
            if entry.file_type().unwrap().is_dir() && !is_foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

/// Every document of the tree.
fn documents() -> Vec<(PathBuf, String)> {
    files(root(), "md")
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The rows of the table whose first column has that head; `\|` is `|`.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let begins = format!("| {head} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&begins)).skip(2);
    let cells = |row: &str| {
        let row = row.trim().replace("\\|", "\u{1}");
        let inner = row.strip_prefix('|').and_then(|row| row.strip_suffix('|')).expect("a row has both its bars");
        inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// The text outside of fenced blocks and backticks.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.flat_map(|line| line.split('`').step_by(2).chain(["\n"])).collect()
}

/// What stands in `](…)` and is no address of elsewhere.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.filter(|target| !target.contains("://"))
}

/// How GitHub names a heading in a link.
fn anchor(heading: &str) -> String {
    let lower = heading.trim().to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_heading(text: &str, name: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line.trim_start_matches('#')) == name)
}

#[test]
fn every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let (mut broken, mut count) = (Vec::new(), 0);
    for (path, text) in &documents() {
        for target in links(&prose(text)) {
            count += 1;
            let (file, name) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let leads = match name {
                "" => file.exists(),
                name => fs::read_to_string(&file).is_ok_and(|text| has_heading(&text, name)),
            };
            if !leads {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(count > 20, "only {count} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The calls of the program in fenced blocks of shell, as its arguments.
fn command_lines() -> BTreeSet<Vec<String>> {
    let mut commands = BTreeSet::new();
    for (_, text) in documents() {
        let mut is_shell = false;
        for line in text.lines().map(str::trim_start) {
            if let Some(language) = line.strip_prefix("```") {
                is_shell = !is_shell && language.trim() == "sh";
                continue;
            }
            // Variables may stand before the command; a comment or another command behind it.
            let words = line.split_whitespace().skip_while(|word| is_assignment(word));
            let words: Vec<&str> = words.take_while(|word| !word.starts_with(['#', '|', '>', '<', '&', ';'])).collect();
            let arguments = match words.as_slice() {
                ["cargo", "run", "--release", "--", arguments @ ..]
                | ["cargo", "run", "--", arguments @ ..]
                | ["lyceum", arguments @ ..] => arguments,
                _ => continue,
            };
            if is_shell {
                commands.insert(arguments.iter().map(|&word| word.to_owned()).collect());
            }
        }
    }
    commands
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// The program beside this test; where this package alone was built, it is built now.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let program = folder.join(format!("lyceum{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        let built = build.args(["build", "--package", "lyceum", "--bin", "lyceum"]).current_dir(root()).status();
        assert!(built.unwrap().success(), "the program cannot be built");
    }
    program
}

#[test]
fn every_command_line_of_the_documents_is_understood() {
    let (program, commands) = (program(), command_lines());
    assert!(commands.len() > 10, "only {} command lines were found", commands.len());
    for arguments in commands {
        // `--help` ends the reading of arguments that are right, but not of those that are wrong.
        let answer = Command::new(&program).args(&arguments).arg("--help").output().unwrap();
        assert!(answer.status.success(), "lyceum {}: {}", arguments.join(" "), String::from_utf8_lossy(&answer.stderr));
    }
}

#[test]
fn the_table_of_variables_is_the_programs_own() {
    // What other programs read that publish stands beside what is read here.
    let of_programs = lyceum_publisher::PUBLISHER_VARIABLES.iter().map(|variable| variable.row());
    let of_container = lyceum_dedicated::config::variables();
    let of_http = lyceum_http::config::HTTP_VARIABLES.iter().map(|variable| variable.row());
    let of_replay = lyceum_replay::REPLAY_VARIABLES.iter().map(|variable| variable.row());
    let known = lyceum::config::variables().chain(of_container).chain(of_http).chain(of_replay).chain(of_programs).map(
        |Row { name, default, meaning }| {
            let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
            vec![format!("`{name}`"), default, meaning]
        },
    );
    let mut known: Vec<_> = known.collect();
    known.sort();
    let text = document("docs/operations.md");
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        let is_row = |line: &&str| line.starts_with("| `");
        let lines: Vec<&str> = text.lines().collect();
        let first = 2 + lines.iter().position(|line| line.starts_with("| variable |")).expect("the table's head");
        let end = first + lines[first..].iter().take_while(|line| is_row(line)).count();
        let rows: Vec<String> = known.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
        let rows = rows.iter().map(String::as_str);
        let lines: Vec<&str> = lines[..first].iter().copied().chain(rows).chain(lines[end..].iter().copied()).collect();
        fs::write(root().join("docs/operations.md"), lines.join("\n") + "\n").expect("it can be written");
        return;
    }
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-tests --test documentation";
    assert!(
        table(&text, "variable") == known,
        "docs/operations.md is not what the code says; write it anew with {advice}"
    );
}

#[test]
fn the_table_of_rules_is_the_validators_own() {
    let told = table(&document("docs/xapi.md"), "rule");
    let known = RULES.iter();
    let known =
        known.map(|rule| vec![format!("`{}`", rule.id), rule.requirement.to_owned(), rule.description.to_owned()]);
    assert_eq!(told, known.collect::<Vec<_>>());
}

/// A text without what a string in the code may be broken by.
fn unbroken(text: &str) -> String {
    text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_message_that_troubleshooting_quotes_is_in_the_code() {
    let sources =
        ["core", "functions", "local", "server"].into_iter().flat_map(|folder| files(root().join(folder), "rs"));
    let code: Vec<String> = sources.map(|(_, text)| unbroken(&text)).collect();
    let text = document("docs/troubleshooting.md");
    let tables: Vec<&str> = text.split("\n## ").skip(1).take(3).collect();
    let (mut missing, mut count) = (Vec::new(), 0);
    for row in tables.iter().flat_map(|part| table(part, "message")) {
        for part in row[0].split('`').skip(1).step_by(2).flat_map(|message| message.split('…')).map(str::trim) {
            count += 1;
            if !code.iter().any(|code| code.contains(part)) {
                missing.push(part.to_owned());
            }
        }
    }
    assert!(count > 50, "only {count} parts of messages were found");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_threat_names_tests_that_exist() {
    let sources: String = ["core", "functions", "local", "server", "tests"]
        .into_iter()
        .flat_map(|folder| files(root().join(folder), "rs"))
        .map(|(_, text)| text)
        .collect();
    let threats = table(&document("docs/security.md"), "threat");
    let named: Vec<&str> = threats.iter().flat_map(|row| row[2].split(", ")).filter(|name| *name != "—").collect();
    assert!(named.len() > 15, "only {} tests are named", named.len());
    for name in named {
        let name = name.trim_matches('`');
        // A function's name, a sentence, or the name of a test that runs on real services, behind its group's.
        let sentence = name.replace('_', " ");
        let is_there = [format!("fn {name}("), format!("\"{sentence}\""), format!("\"{name}\""), format!("::{name}\"")];
        assert!(is_there.iter().any(|text| sources.contains(text)), "no test is called {name}");
    }
}
