//! What the events of a checkout still lack, as the phases in which a module is migrated: docs/migrating-a-module.md. Looked at are files
//! alone; what is on the topics is told by whoever has asked a process, as [`Seen`].

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::payload::Form;
use lyceum_core::record::{Position, Record};
use lyceum_documents::{Event, events, schema};
use lyceum_functions::{Look, Looked};
use serde::Serialize;
use serde_json::Value;

/// A phase of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The events have names, topics and purposes.
    Name,
    /// They have schemas, samples, documents and tests.
    Schema,
    /// The old producer publishes them, too.
    DualPublish,
    /// The new consumer runs beside the old one, and both are compared.
    Compare,
    /// The new consumer is the one that counts.
    Switch,
    /// What is old is gone.
    Remove,
}

impl Phase {
    /// Every one, in their order.
    pub const ALL: [Self; 6] = [Self::Name, Self::Schema, Self::DualPublish, Self::Compare, Self::Switch, Self::Remove];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Name => "name the events",
            Self::Schema => "schema, samples, documents, tests",
            Self::DualPublish => "publish from the old producer, too",
            Self::Compare => "consume beside the old consumer, and compare",
            Self::Switch => "switch to the new consumer",
            Self::Remove => "remove what is old",
        }
    }
}

/// Something that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// Whose.
    pub family: String,
    /// In which phase it is needed.
    pub phase: Phase,
    /// What is missing.
    pub what: String,
    /// What to do.
    pub todo: String,
}

/// What is on the topics of a family, as a process tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Records that were ever written.
    pub records: u64,
    /// Records that its subscriptions have not settled.
    pub lag: u64,
    /// Dead letters that wait.
    pub letters: u64,
}

/// What a family lacks of phases 3 and 4, by what is on its topics.
pub fn lacks_of_topics(family: &str, seen: &Seen) -> Vec<Lack> {
    let lack = |phase, what: String, todo: &str| Lack { family: family.to_owned(), phase, what, todo: todo.to_owned() };
    let mut lacks = Vec::new();
    if seen.records == 0 {
        let what = "nothing was ever published on its topics".to_owned();
        lacks.push(lack(Phase::DualPublish, what, "let the old producer publish each event, too"));
    }
    if seen.lag > 0 {
        let what = format!("{} records on its topics are not settled", seen.lag);
        lacks.push(lack(Phase::Compare, what, "wait, or see `lyceum status`"));
    }
    if seen.letters > 0 {
        let what = format!("{} dead letters of its topics wait", seen.letters);
        lacks.push(lack(
            Phase::Compare,
            what,
            "see `lyceum dead-letters summary`: mend the cause, then replay or discard",
        ));
    }
    lacks
}

/// The families that can be asked about.
pub fn families() -> Vec<&'static str> {
    lyceum_catalog::FAMILIES.iter().map(|family| family.name).collect()
}

/// What families lack of phases 1 and 2 in a checkout.
pub fn lacks_of_files(root: &Path, wanted: &[&str]) -> Vec<Lack> {
    let mut lacks = Vec::new();
    let documented = fs::read_to_string(root.join("docs/events.md")).unwrap_or_default();
    for family in lyceum_catalog::FAMILIES.iter().filter(|family| wanted.contains(&family.name)) {
        let mut lack = |phase, what: String, todo: String| {
            lacks.push(Lack { family: family.name.to_owned(), phase, what, todo });
        };
        let folder = root.join("events").join(family.name);
        let refused = refused_event_types(&folder.join("invalid"));
        for event in events().filter(|event| event.family.name == family.name) {
            let name = event.name;
            if event.payload.purpose.trim().is_empty() {
                let todo = format!("say it in PAYLOADS of functions/{}/catalog.rs", family.name);
                lack(Phase::Name, format!("{name} does not say what it is for"), todo);
            }
            for form in forms(&event) {
                let file = folder.join("valid").join(format!("{name}{form}.json"));
                if !file.is_file() {
                    lack(
                        Phase::Schema,
                        format!("{name} has no valid sample{}", spoken(form)),
                        format!("write {}", shown(root, &file)),
                    );
                }
            }
            if !refused.contains(name) {
                let file = folder.join("invalid").join(format!("{name}.….json"));
                let todo = format!("write {} with its .expected.json", shown(root, &file));
                lack(Phase::Schema, format!("{name} has no invalid sample"), todo);
            }
            let file = root.join("events/schemas").join(format!("{name}.json"));
            let found = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            if found.as_ref() != Some(&schema::document(&event)) {
                let is = if found.is_some() { "is another one than the catalog's" } else { "is missing" };
                let todo = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests schemas".to_owned();
                lack(Phase::Schema, format!("the schema {} {is}", shown(root, &file)), todo);
            }
            if !documented.contains(&format!("\n#### {name}\n")) {
                let todo = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests documents".to_owned();
                lack(Phase::Schema, format!("docs/events.md has no section of {name}"), todo);
            }
        }
        if !has_batch(&root.join("events/aws"), family.name) {
            let what = "no batch tests its function".to_owned();
            lack(Phase::Schema, what, format!("write events/aws/{}-….json with its .expected.json", family.name));
        }
        let readme = root.join("functions").join(family.name).join("README.md");
        if !readme.is_file() {
            lack(
                Phase::Schema,
                format!("{} is missing", shown(root, &readme)),
                "tell what the family is, its states, what goes wrong".to_owned(),
            );
        }
    }
    lacks
}

/// The ends of the names of an event type's samples.
fn forms(event: &Event) -> &'static [&'static str] {
    let is_said_by_statements = event.event_type.is_none_or(|of| of.statement.is_some());
    if event.form == Form::Statement && is_said_by_statements { &[".bare", ".wrapped"] } else { &[""] }
}

fn spoken(form: &str) -> &str {
    match form {
        ".bare" => ", bare",
        ".wrapped" => ", wrapped",
        _ => "",
    }
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// The event types that the invalid samples of a folder would be.
fn refused_event_types(folder: &Path) -> BTreeSet<&'static str> {
    let look = Look::new(EnvelopeConfig::default());
    let Ok(files) = fs::read_dir(folder) else { return BTreeSet::new() };
    let files = files.filter_map(|file| file.ok().map(|file| file.path()));
    let samples = files.filter(|file| {
        let name = file.to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".expected.json") && file.with_extension("expected.json").is_file()
    });
    samples.filter_map(|file| event_type_of(&look, &file)).collect()
}

fn event_type_of(look: &Look, file: &Path) -> Option<&'static str> {
    let bytes = fs::read(file).ok()?;
    let is_record = file.to_string_lossy().ends_with(".record.json");
    let value = if is_record {
        serde_json::from_slice::<Value>(&bytes).ok()?.get("value")?.to_string().into_bytes()
    } else {
        bytes
    };
    let record = Record {
        position: Position::new("", 0, 0),
        timestamp_ms: 0,
        key: None,
        value: Some(Bytes::from(value)),
        headers: Vec::new(),
    };
    match look.at(&record) {
        Looked::Event(seen) => Some(seen.known.name),
        Looked::Invalid(of) => Some(of.event_type),
        Looked::Tombstone | Looked::Missing(_) => None,
    }
}

/// Whether a batch of the function is there, with what becomes of it.
fn has_batch(folder: &Path, function: &str) -> bool {
    let Ok(files) = fs::read_dir(folder) else { return false };
    let begin = format!("{function}-");
    files.filter_map(Result::ok).any(|file| {
        file.file_name().to_string_lossy().starts_with(&begin) && file.path().with_extension("expected.json").is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(lacks: &[Lack]) -> Vec<(Phase, &str)> {
        lacks.iter().map(|lack| (lack.phase, &*lack.what)).collect()
    }

    #[test]
    fn nothing_of_this_checkout_lacks() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(whats(&lacks_of_files(&root, &families())), []);
    }

    #[test]
    fn an_empty_folder_lacks_everything_and_says_where_it_belongs() {
        let folder = tempfile::tempdir().expect("a folder");
        let lacks = lacks_of_files(folder.path(), &["mission"]);
        let of_one: Vec<&Lack> = lacks.iter().filter(|lack| lack.what.contains("task.created")).collect();
        assert_eq!(of_one.len(), 4, "{of_one:?}");
        assert!(of_one.iter().any(|lack| lack.todo.contains("events/mission/valid/task.created.json")), "{of_one:?}");
        assert_eq!(lacks.len(), 5 * 4 + 2);
        assert!(lacks.iter().all(|lack| lack.family == "mission" && lack.phase == Phase::Schema));
    }

    #[test]
    fn what_is_on_the_topics_tells_of_the_phases_behind_the_files() {
        let of = |records, lag, letters| {
            let lacks = lacks_of_topics("mission", &Seen { records, lag, letters });
            lacks.iter().map(|lack| lack.phase).collect::<Vec<_>>()
        };
        assert_eq!(of(0, 0, 0), [Phase::DualPublish]);
        assert_eq!(of(5, 0, 0), []);
        assert_eq!(of(5, 2, 1), [Phase::Compare, Phase::Compare]);
    }
}
