//! Every file in `events/xapi` is a test: what is in `valid` holds, what is in `invalid` has the violations that stand
//! beside it in `<name>.expected.json`. A name that begins with `2.0-` asks for version 2.0. A new file needs no code.

use std::fs;
use std::path::{Path, PathBuf};

use lyceum_xapi::{Limits, Version, validate};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    rule: String,
    pointer: String,
}

fn samples(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/xapi").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| !path.to_string_lossy().ends_with(".expected.json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no samples in {}", folder.display());
    files
}

fn judge(path: &Path) -> Vec<Expected> {
    let is_2_0 = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("2.0-"));
    let bytes = fs::read(path).unwrap();
    let verdict = validate(&bytes, is_2_0.then_some(Version::V2_0), &Limits::default());
    let violations = verdict.violations.into_iter();
    let mut found: Vec<_> = violations.map(|one| Expected { rule: one.rule.into(), pointer: one.pointer }).collect();
    found.sort();
    found
}

#[test]
fn every_valid_sample_holds() {
    for path in samples("valid") {
        assert_eq!(judge(&path), [], "{}", path.display());
    }
}

#[test]
fn every_invalid_sample_has_the_violations_beside_it() {
    let mut wrong = Vec::new();
    for path in samples("invalid") {
        let beside = path.with_extension("expected.json");
        let text = fs::read(&beside).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
        let mut expected: Vec<Expected> = serde_json::from_slice(&text).unwrap();
        assert!(!expected.is_empty(), "{} expects nothing", beside.display());
        expected.sort();
        let found = judge(&path);
        if found != expected {
            wrong.push(format!("{}: found {found:?}, expected {expected:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
