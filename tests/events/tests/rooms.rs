//! No circles between the rooms of a crate: its modules, and those one below, name each other in one direction only. A type in the
//! wrong module is what makes a circle, mostly, and moving it what ends one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by the names that lead to it from its crate.
type Module = Vec<String>;

/// Which module names which other ones.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_rooms_of_a_crate_name_each_other_in_one_direction() {
    let mut circles = Vec::new();
    let mut arrows = 0;
    for source in sources() {
        let (files, reexported) = (modules(&source), names_of_the_crate(&source));
        let mut rooms = Arrows::new();
        let mut below: BTreeMap<String, Arrows> = BTreeMap::new();
        for (module, file) in &files {
            for path in paths(&outside_of_tests(file)) {
                let Some(named) = resolve(&path, module, &files, &reexported) else { continue };
                match (&module[..], &named[..]) {
                    ([one, ..], [other, ..]) if one != other => {
                        rooms.entry(one.clone()).or_default().insert(other.clone());
                    }
                    ([room, one, ..], [_, other, ..]) if one != other => {
                        below.entry(room.clone()).or_default().entry(one.clone()).or_default().insert(other.clone());
                    }
                    _ => {}
                }
            }
        }
        for (room, within) in [(String::new(), rooms)].into_iter().chain(below) {
            arrows += within.values().map(BTreeSet::len).sum::<usize>();
            let found = circles_of(&within).into_iter();
            circles.extend(found.map(|circle| format!("{}/{room}: {}", source.display(), circle.join(" ↔ "))));
        }
    }
    assert!(arrows > 300, "{arrows} arrows are too few: the reader of this test reads no code any more");
    assert!(circles.is_empty(), "move what lives in the wrong module:\n{}", circles.join("\n"));
}

/// The source folders of what ships.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is a folder");
    let manifest: toml::Table =
        fs::read_to_string(root.join("Cargo.toml")).expect("it is there").parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("the workspace lists its members");
    let folders = members.iter().filter_map(toml::Value::as_str).filter(|folder| !folder.starts_with("tests"));
    folders.map(|folder| root.join(folder).join("src")).filter(|source| source.is_dir()).collect()
}

/// Every module of a crate that is more than a test, with its text.
fn modules(source: &Path) -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(source.to_owned(), Module::new())];
    let mut for_tests = BTreeSet::new();
    while let Some((folder, module)) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be listed") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut own = module.clone();
            if !matches!(&*name, "mod" | "lib" | "main") {
                own.push(name);
            }
            if path.is_dir() {
                folders.push((path, own));
            } else if path.extension().is_some_and(|of| of == "rs") {
                let text = fs::read_to_string(&path).expect("it is text");
                for declared in text.split("#[cfg(test)]\n").skip(1) {
                    let line = declared.lines().next().unwrap_or_default();
                    if let Some((_, name)) =
                        line.trim_end_matches(';').rsplit_once("mod ").filter(|_| line.ends_with(';'))
                    {
                        for_tests.insert([&own[..], &[name.to_owned()]].concat());
                    }
                }
                found.insert(own, text);
            }
        }
    }
    found.retain(|module: &Module, _| !for_tests.iter().any(|test: &Module| module.starts_with(test)));
    found
}

/// The code of a file, without its comments and its tests, which stand at its end.
fn outside_of_tests(text: &str) -> String {
    let is_module = |rest: &str| rest.lines().next().is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
    let mark = "#[cfg(test)]\n";
    let end =
        text.match_indices(mark).find(|(at, _)| is_module(&text[at + mark.len()..])).map_or(text.len(), |(at, _)| at);
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules whose names are also the crate's own.
fn names_of_the_crate(source: &Path) -> BTreeMap<String, Module> {
    let text = fs::read_to_string(source.join("lib.rs")).unwrap_or_default();
    let uses = text
        .split("pub use ")
        .skip(1)
        .flat_map(|rest| paths(&format!("self::{}", rest.split(';').next().unwrap_or_default())));
    uses.filter_map(|path| Some((path.last()?.clone(), path[1..].to_vec()))).collect()
}

/// The paths in a text that begin at the crate, above, or here; of a group, each.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for begin in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(begin) {
            let is_first =
                !text[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':'));
            if is_first {
                read_path(&mut &text[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

fn read_path(text: &mut &str, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    *text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        *text = group;
        while !text.is_empty() && !text.starts_with('}') {
            read_path(text, path, found);
            // A new name for it, and the comma.
            *text = &text[text.find([',', '}']).unwrap_or(text.len())..];
            *text = text.strip_prefix(',').unwrap_or(text).trim_start();
        }
        *text = text.strip_prefix('}').unwrap_or(text);
        return;
    }
    let end = text.find(|of: char| !of.is_alphanumeric() && of != '_').unwrap_or(text.len());
    path.push(text[..end].to_owned());
    *text = &text[end..];
    match text.strip_prefix("::") {
        Some(rest) if rest.starts_with(|of: char| of.is_alphabetic() || matches!(of, '_' | '{')) => {
            *text = rest;
            read_path(text, path, found);
        }
        _ => found.push(path.clone()),
    }
    path.pop();
}

/// The module that a path names, or of which it names something.
fn resolve(
    path: &[String],
    from: &Module,
    modules: &BTreeMap<Module, String>,
    reexported: &BTreeMap<String, Module>,
) -> Option<Module> {
    let mut base = from.clone();
    let mut rest = path;
    while let [first, more @ ..] = rest {
        match &**first {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = more;
    }
    let mut named = [&base[..], rest].concat();
    let is_of_the_crate = named.first().filter(|first| !modules.contains_key(&vec![(*first).clone()]));
    if let Some(own) = is_of_the_crate.and_then(|first| reexported.get(first)) {
        named = own.clone();
    }
    while !named.is_empty() && !modules.contains_key(&named) {
        named.pop();
    }
    (!named.is_empty() && !from.is_empty()).then_some(named)
}

/// The modules from which arrows lead back to themselves, those of one circle together.
fn circles_of(arrows: &Arrows) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            next.extend(arrows.get(at).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|from| (from, reached(from))).collect();
    let circle = |of: &String| {
        let both_ways = |other: &&String| reach[of].contains(*other) && reach[*other].contains(of);
        arrows.keys().filter(both_ways).cloned().collect::<Vec<_>>()
    };
    let found: BTreeSet<Vec<String>> = arrows.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    found.into_iter().collect()
}

#[test]
fn a_circle_is_found_and_what_leads_into_one_is_none() {
    let to = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let arrows = [("a", to(&["b"])), ("b", to(&["c"])), ("c", to(&["a", "d"])), ("d", to(&[])), ("e", to(&["a"]))];
    let arrows: Arrows = arrows.into_iter().map(|(from, to)| (from.to_owned(), to)).collect();
    assert_eq!(circles_of(&arrows), [["a", "b", "c"].map(str::to_owned).to_vec()]);
}

#[test]
fn paths_are_read_in_groups_and_in_code() {
    let read = paths("use crate::a::{self, b as c, d::{E, F}};\nlet x = super::g(self::h::I::new());");
    let read: Vec<String> = read.into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        read,
        ["crate::a::self", "crate::a::b", "crate::a::d::E", "crate::a::d::F", "super::g", "self::h::I::new"]
    );
}
