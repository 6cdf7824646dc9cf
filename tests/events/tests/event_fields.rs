//! The fields that an event needs, as the documentation lists them: found out by asking each family's own reader what becomes of
//! its samples where a member is missing or is something else, so that the table says what the code does.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::outcome::Finding;
use lyceum_core::record::{Position, Record};
use lyceum_events_tests::samples;
use lyceum_functions::{Look, Looked, Reading};
use serde_json::{Map, Value, json};

const EXTENSIONS: &str = "http://nlj.platform/extensions/";
/// Where an event of another form has what is its family's.
const PAYLOAD: &str = "/payload/";
/// Members of a statement that may be a family's field, where a sample has them; extensions are found by themselves.
const MEMBERS: [&str; 6] =
    ["/actor", "/object/id", "/object/definition/name", "/context/registration", "/result", "/result/response"];

/// What is read of a statement, or what is missing; `None` where it is no event of a family any more.
fn read(statement: &Value) -> Option<(&'static str, Result<Reading, Vec<Finding>>)> {
    match look(statement) {
        Looked::Event(seen) => Some((seen.known.name, seen.read)),
        // A form whose schema has the family's fields, too, says itself what is wrong with them.
        Looked::Invalid(of)
            if !of.findings.is_empty() && of.findings.iter().all(|of| of.pointer.starts_with(PAYLOAD)) =>
        {
            Some((of.event_type, Err(of.findings)))
        }
        Looked::Invalid(_) | Looked::Tombstone | Looked::Missing(_) => None,
    }
}

fn look(statement: &Value) -> Looked {
    let value = Bytes::from(statement.to_string());
    let record = Record {
        position: Position::new("", 0, 0),
        timestamp_ms: 0,
        key: None,
        value: Some(value),
        headers: Vec::new(),
    };
    Look::new(EnvelopeConfig::default()).at(&record)
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    event_type: &'static str,
    /// Of the samples, in which the place is looked for.
    order: usize,
    field: String,
    place: String,
    kind: String,
    required: bool,
    example: String,
}

/// The statement without what stands at a place; an actor becomes a group that nobody can tell, an id another one.
fn without(statement: &Value, pointer: &str) -> Value {
    let mut changed = statement.clone();
    match pointer {
        "/actor" => {
            changed["actor"] = json!({"objectType": "Group", "member": [{"mbox": "mailto:somebody@academy.example"}]});
        }
        "/object/id" => {
            let id = changed["object"]["id"].as_str().unwrap_or_default().to_owned();
            changed["object"]["id"] = json!(format!("{id}-another"));
        }
        _ => {
            let (parent, member) = pointer.rsplit_once('/').expect("a pointer has a slash");
            let member = member.replace("~1", "/");
            if let Some(parent) = changed.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.remove(&member);
            }
        }
    }
    changed
}

/// How a finding describes what it wants.
fn wanted(finding: &Finding) -> String {
    if let Some((_, expected)) = finding.message.split_once("expected ") {
        return expected.split(", found").next().unwrap_or(expected).to_owned();
    }
    let text = finding.message.split_once(" must be ").map_or(&*finding.message, |(_, wanted)| wanted);
    text.to_owned()
}

/// The type of a field: the reader of an extension, and of an event that is no statement, says it where it is given something else;
/// other members are xAPI's own.
fn kind_of(statement: &Value, pointer: &str, is_statement: bool) -> String {
    if is_statement && !pointer.contains("/extensions/") {
        return match pointer {
            "/actor" => "an identified agent or group".to_owned(),
            "/object/id" => "an activity IRI, whose last segment is the id".to_owned(),
            "/context/registration" => "a UUID".to_owned(),
            "/object/definition/name" => "a language map".to_owned(),
            "/result" => "`response` or `score`".to_owned(),
            "/result/score" => "`raw`, else `scaled`".to_owned(),
            _ => "text".to_owned(),
        };
    }
    let mut changed = statement.clone();
    if let Some(value) = changed.pointer_mut(pointer) {
        *value = json!([[]]);
    }
    match read(&changed) {
        Some((_, Err(findings))) => {
            let of_item = findings.first().is_some_and(|of| of.pointer.len() > pointer.len() && !is_statement);
            let kind = findings.first().map_or_else(String::new, wanted);
            if of_item { format!("list of {kind}") } else { kind }
        }
        _ => "any JSON".to_owned(),
    }
}

/// Every member of an object, and of those in it.
fn find_members(value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        find_members(inner, &pointer, found);
        found.push(pointer);
    }
}

fn rows_of(statement: &Value) -> Vec<Row> {
    let Some((event_type, Ok(whole))) = read(statement) else { return Vec::new() };
    let catalog = lyceum_catalog::catalog();
    let is_statement = catalog.event_types().any(|(_, of)| of.name == event_type && of.statement.is_some());
    let mut pointers = Vec::new();
    if is_statement {
        pointers.extend(MEMBERS.map(str::to_owned));
        pointers.push("/result/score".to_owned());
        if let Some(extensions) = statement.pointer("/context/extensions").and_then(Value::as_object) {
            pointers.extend(extensions.keys().map(|key| format!("/context/extensions/{}", key.replace('/', "~1"))));
        }
    } else {
        // What its form asks for is not the family's, and is told apart by its findings.
        find_members(statement, "", &mut pointers);
    }
    let mut rows = Vec::new();
    for (order, pointer) in pointers.iter().enumerate() {
        let Some(value) = statement.pointer(pointer) else { continue };
        // A result may hold nothing but extensions.
        let is_answer = |value: &Value| !value["response"].is_null() || !value["score"].is_null();
        if pointer == "/result" && !is_answer(value) {
            continue;
        }
        let is_required = match read(&without(statement, pointer)) {
            Some((of, _)) if of != event_type => true,
            Some((_, Err(_))) => true,
            Some((_, Ok(read))) if read != whole => pointer == "/object/id",
            _ => continue,
        };
        let (place, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let field = field.replace("~1", "/");
        rows.push(Row {
            event_type,
            order,
            field: field.strip_prefix(EXTENSIONS).unwrap_or(&field).to_owned(),
            place: if place.is_empty() {
                "the statement".to_owned()
            } else {
                format!("`{}`", place.trim_start_matches('/').replace('/', "."))
            },
            kind: kind_of(statement, pointer, is_statement),
            required: is_required,
            example: example(value),
        });
    }
    rows
}

/// A value as an example: of an object what distinguishes it.
fn example(value: &Value) -> String {
    let told = ["mbox", "account", "raw", "response", "en"];
    let short = match value {
        Value::Object(members) => {
            let members: Map<String, Value> = members
                .iter()
                .filter(|(name, _)| told.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if members.is_empty() { value.clone() } else { Value::Object(members) }
        }
        other => other.clone(),
    };
    format!("`{}`", short.to_string().replace('|', "\\|"))
}

fn field_table() -> String {
    let mut rows: BTreeMap<(usize, String, String), Row> = BTreeMap::new();
    for (at, (family, event_type)) in lyceum_catalog::catalog().event_types().enumerate() {
        // The sample that says most is the first: `.bare`.
        let mut of_type = samples::samples(family.name, "valid");
        of_type.sort_by_key(|sample| !sample.name.ends_with(".bare"));
        for sample in of_type.iter().filter(|sample| !sample.name.ends_with(".record")) {
            let Some(statement) =
                sample.record.value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok())
            else {
                continue;
            };
            for row in rows_of(&statement).into_iter().filter(|row| row.event_type == event_type.name) {
                let key = (at, row.place.clone(), row.field.clone());
                // What one sample does without is not required.
                rows.entry(key).or_insert(row);
            }
        }
    }
    let mut rows: Vec<((usize, usize), Row)> = rows.into_iter().map(|((at, ..), row)| ((at, row.order), row)).collect();
    rows.sort();
    let mut table =
        "\n| event type | field | where | type | required | example |\n|---|---|---|---|---|---|\n".to_owned();
    for (_, Row { event_type, field, place, kind, required, example, .. }) in rows {
        let required = if required { "yes" } else { "no" };
        table.push_str(&format!("| `{event_type}` | `{field}` | {place} | {kind} | {required} | {example} |\n"));
    }
    table.push('\n');
    table
}

#[test]
fn the_table_of_fields_is_what_the_families_read() {
    let (begin, end) = ("<!-- begin field table -->\n", "<!-- end field table -->");
    let file = samples::root().join("../docs/events.md");
    let text = fs::read_to_string(&file).expect("docs/events.md can be read");
    let (before, rest) = text.split_once(begin).expect("docs/events.md has the mark of the table's beginning");
    let (found, after) = rest.split_once(end).expect("docs/events.md has the mark of the table's end");
    let table = field_table();
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        fs::write(&file, format!("{before}{begin}{table}{end}{after}")).expect("docs/events.md can be written");
        return;
    }
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests event_fields";
    assert!(found == table, "docs/events.md is not what the families read; write it anew with {advice}\n{table}");
    for event_type in lyceum_catalog::catalog().event_types().map(|(_, of)| of.name) {
        assert!(table.contains(&format!("| `{event_type}` | `")), "{event_type} has no sample that tells its fields");
    }
}
