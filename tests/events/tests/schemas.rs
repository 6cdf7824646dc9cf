//! The JSON Schemas that are made of the families' `PAYLOADS`, held to what the families' own readers take: by every sample of
//! `events/`, and by what becomes of a sample when one of its fields is something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::outcome::{DeadLetterKind, Finding};
use lyceum_core::payload::{Form, Kind};
use lyceum_core::record::{Position, Record};
use lyceum_documents::{Event, events, schema};
use lyceum_events_tests::samples::{self, Sample};
use lyceum_functions::{Look, Looked, REGISTRY, Reading};
use serde_json::{Value, json};

/// Rules that a schema can say.
const OF_STRUCTURE: [&str; 3] = ["field.required", "field.type", "field.range"];

/// What no schema says, or what one says beside a rule of its own name, and why; what xAPI asks for is apart.
const BEYOND_A_SCHEMA: &[(&str, &str)] = &[
    ("correlation-id.differs", "it is compared with a header"),
    ("event-id.differs", "it is compared with a header, or with metadata"),
    ("event-id.uuid", "the schema says it, too, where the id is in the value"),
    ("event-type.differs", "it is compared with a header, or with what the statement means"),
    ("field.order", "one field is compared with another"),
    ("hops.header", "it is a header"),
    ("hops.limit", "it is a header"),
    ("message.metadata", "the schema says it, too"),
    ("message.xapi-data", "the schema says it, too"),
    ("payload.secret", "what a text looks like, wherever it stands"),
    ("schema-version.differs", "it is compared with a header"),
    ("schema-version.unknown", "the schema says it, too"),
    ("tenant.differs", "it is compared with a header"),
    ("tenant.format", "the schema says it, too, where the tenant is in the value"),
];

/// The schemas of every event type, ready to judge.
struct Judges {
    schemas: Schemas,
    by_name: BTreeMap<&'static str, SchemaIndex>,
}

impl Judges {
    fn new() -> Self {
        let mut schemas = Schemas::new();
        let by_name = events().map(|event| (event.name, Self::compile(&mut schemas, &event))).collect();
        Self { schemas, by_name }
    }

    fn compile(schemas: &mut Schemas, event: &Event) -> SchemaIndex {
        let place = format!("https://lyceum.example/{}.json", event.name);
        let mut document = schema::document(event);
        document.as_object_mut().expect("a schema is an object").remove("$id");
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.add_resource(&place, document).expect("the schema has a place");
        compiler.compile(&place, schemas).unwrap_or_else(|error| panic!("{}: {error:#}", event.name))
    }

    /// What is wrong with a value, by the schema of that event type.
    fn judge(&self, event_type: &str, value: &Value) -> Result<(), String> {
        self.schemas.validate(value, self.by_name[event_type]).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn the_schemas_beside_the_samples_are_those_of_the_catalog() {
    let folder = samples::root().join("schemas");
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests schemas writes them anew";
    let update = std::env::var_os("LYCEUM_UPDATE_DOCS").is_some();
    let mut wanted = BTreeSet::new();
    for event in events() {
        let name = format!("{}.json", event.name);
        let text = serde_json::to_string_pretty(&schema::document(&event)).expect("a schema is JSON") + "\n";
        let file = folder.join(&name);
        if update {
            fs::create_dir_all(&folder).expect("events/schemas can be made");
            fs::write(&file, &text).expect("a schema can be written");
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == text, "events/schemas/{name} is not what the catalog says; {advice}");
        wanted.insert(name);
    }
    for file in samples::json_files(&folder) {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        assert!(wanted.contains(&name), "events/schemas/{name} is of no event type: remove it");
    }
}

/// The event type that a sample means, where it means one, and its value, where it is JSON.
fn seen(sample: &Sample) -> (Option<&'static str>, Option<Value>) {
    let value = sample.record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
    let event_type = match Look::new(EnvelopeConfig::default()).at(&sample.record) {
        Looked::Event(seen) => Some(seen.known.name),
        Looked::Invalid(of) => Some(of.event_type),
        Looked::Tombstone | Looked::Missing(_) => None,
    };
    let known = lyceum_catalog::catalog();
    (event_type.filter(|name| known.event_type(name).is_some()), value)
}

#[test]
fn every_valid_sample_fits_the_schema_of_its_event_type() {
    let judges = Judges::new();
    let mut wrong = Vec::new();
    let mut judged = BTreeSet::new();
    for family in REGISTRY.iter().map(|entry| entry.spec) {
        for sample in samples::samples(family.name, "valid") {
            // What is in Avro's own bytes is held to Avro's schema.
            let (Some(event_type), Some(value)) = seen(&sample) else { continue };
            judged.insert(event_type);
            if let Err(error) = judges.judge(event_type, &value) {
                wrong.push(format!("{} is valid, and does not fit {event_type}: {error}", sample.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for event in events() {
        assert!(judged.contains(event.name), "{} has no valid sample in JSON", event.name);
    }
}

#[test]
fn no_sample_that_is_invalid_by_its_structure_fits_a_schema() {
    let judges = Judges::new();
    let mut wrong = Vec::new();
    let (mut judged, mut rules) = (0, BTreeSet::new());
    for entry in REGISTRY {
        for sample in samples::samples(entry.spec.name, "invalid") {
            if sample.expected.kind != Some(DeadLetterKind::Validation) {
                continue;
            }
            let (event_type, Some(value)) = seen(&sample) else { continue };
            let structural = sample.expected.findings.iter().any(|of| OF_STRUCTURE.contains(&&*of.rule));
            if !structural {
                rules.extend(sample.expected.findings.iter().map(|of| of.rule.clone()));
                continue;
            }
            // What says of itself what it is, else none of its family's.
            let names = events().filter(|event| event.family.name == entry.spec.name).map(|event| event.name);
            let names: Vec<&str> = names.filter(|name| event_type.is_none_or(|of| of == *name)).collect();
            judged += 1;
            for name in names.into_iter().filter(|name| judges.judge(name, &value).is_ok()) {
                wrong.push(format!("{} is invalid, and fits the schema of {name}", sample.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 60, "only {judged} samples are invalid by their structure");
    let named: BTreeSet<String> = BEYOND_A_SCHEMA.iter().map(|(rule, _)| (*rule).to_owned()).collect();
    let of_xapi = |rule: &String| lyceum_xapi::RULES.iter().any(|of| of.id == rule);
    let beyond: BTreeSet<String> = rules.into_iter().filter(|rule| !of_xapi(rule)).collect();
    assert_eq!(beyond, named, "BEYOND_A_SCHEMA says why a schema does not say these rules");
}

/// Values that a sender may put anywhere.
fn palette() -> Vec<Value> {
    let hash = format!("sha256:{}", "a1".repeat(32));
    let texts = [
        "",
        " ",
        "x",
        "A b",
        "a-1",
        "1.4.0",
        "1.2.3.4.5",
        "2026-03-09T09:00:00Z",
        "2026-03-09",
        "/a",
        "//",
        "https://a.example/b",
        "http://",
        "ftp://a.example",
        "/with space",
        "16fd2706-8baf-433b-82eb-8c7fada847da",
        &hash,
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    values.extend([35, 36, 128, 129, 256, 257, 512, 513, 2_048, 2_049].map(|length| json!("x".repeat(length))));
    values.extend([0, 1, 2, 3, 4, 5, 6, 100, 101].map(|number| json!(number)));
    values.extend([json!(-1), json!(0.5), json!(1.5), json!(3_000_000_000_u64), json!(2_000_000_000_000_u64)]);
    values.extend([json!(true), json!(null), json!({}), json!([]), json!(["x"]), json!([""]), json!([[]])]);
    values.extend([32, 33, 100, 101].map(|length| (0..length).map(|at| json!(format!("x{at}"))).collect()));
    values.extend(["email", "public", "over", "high", "expired", "outlined", "brute_force"].map(|word| json!(word)));
    values
}

/// A JSON pointer to a field of an event that is a statement, or has a payload.
fn pointer_of(event: &Event, name: &str, kind: Kind) -> String {
    match (event.form, kind.path()) {
        (Form::Charter | Form::Avro, _) => format!("/payload/{name}"),
        (Form::Statement, Some(path)) => format!("/{}", path.join("/")),
        (Form::Statement, None) => format!("/context/extensions/http:~1~1nlj.platform~1extensions~1{name}"),
    }
}

/// The value with something else at a place, or nothing.
fn with(value: &Value, pointer: &str, other: Option<&Value>) -> Option<Value> {
    let mut changed = value.clone();
    let (parent, member) = pointer.rsplit_once('/')?;
    let parent = changed.pointer_mut(parent)?.as_object_mut()?;
    let member = member.replace("~1", "/");
    match other {
        Some(other) => drop(parent.insert(member, other.clone())),
        None => drop(parent.remove(&member)?),
    }
    Some(changed)
}

#[test]
fn whatever_a_field_is_its_schema_and_its_familys_reader_say_the_same() {
    let judges = Judges::new();
    let palette = palette();
    let (mut wrong, mut tried) = (Vec::new(), 0_usize);
    for event in events() {
        let (name, sample) =
            event.examples().into_iter().next().unwrap_or_else(|| panic!("{} has no sample", event.name));
        for field in event.payload.fields {
            let pointer = pointer_of(&event, field.name, field.kind);
            // Members of a statement are xAPI's own to judge, beyond whether they are there.
            let others =
                palette.iter().filter(|_| event.form != Form::Statement || field.kind.path().is_none()).map(Some);
            for other in others.chain([None]) {
                let Some(changed) = with(&sample, &pointer, other) else { continue };
                tried += 1;
                let is_taken = matches!(read(&changed), Some((of, Ok(_))) if of == event.name);
                let fits = judges.judge(event.name, &changed);
                // That two fields fit together is the family's to judge.
                let is_order = matches!(read(&changed), Some((_, Err(findings))) if findings.iter().all(|of| matches!(&*of.rule, "field.order" | "tenant.differs")));
                if is_taken != fits.is_ok() && !is_order {
                    let short: String =
                        other.map_or_else(|| "nothing".to_owned(), Value::to_string).chars().take(60).collect();
                    let (reader, schema) =
                        (if is_taken { "takes" } else { "refuses" }, if fits.is_ok() { "takes" } else { "refuses" });
                    wrong.push(format!("{name}: {short} at {pointer}: the reader {reader} it, the schema {schema} it"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 5_000, "only {tried} were tried");
}

const EXTENSIONS: &str = "http://nlj.platform/extensions/";
/// Where an event of another form has what is its family's.
const PAYLOAD: &str = "/payload/";
/// Members of a statement that may be a family's field, where a sample has them; extensions are found by themselves.
const MEMBERS: [&str; 6] =
    ["/actor", "/object/id", "/object/definition/name", "/context/registration", "/result/response", "/result/score"];

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

/// Every member of an object, and of those in it.
fn find_members(value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        find_members(inner, &pointer, found);
        found.push(pointer);
    }
}

/// The fields that a reader looks at in a statement or a payload, by their names there: without each, or with another one, it reads another
/// event or none.
fn fields_read(value: &Value, form: Form) -> Vec<String> {
    let Some((event_type, Ok(whole))) = read(value) else { return Vec::new() };
    let mut pointers = Vec::new();
    if form == Form::Statement {
        pointers.extend(MEMBERS.map(str::to_owned));
        if let Some(extensions) = value.pointer("/context/extensions").and_then(Value::as_object) {
            pointers.extend(extensions.keys().map(|key| format!("/context/extensions/{}", key.replace('/', "~1"))));
        }
    } else {
        // What its form asks for is not the family's, and is told apart by its findings.
        find_members(value, "", &mut pointers);
    }
    pointers.retain(|pointer| value.pointer(pointer).is_some());
    pointers.retain(|pointer| match read(&without(value, pointer)) {
        Some((of, Ok(read))) => of != event_type || read != whole,
        Some((_, Err(_))) => true,
        None => false,
    });
    let last = |pointer: &String| pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/");
    let names = pointers.iter().map(last);
    names.map(|name| name.strip_prefix(EXTENSIONS).unwrap_or(&name).to_owned()).collect()
}

#[test]
fn every_field_that_a_reader_looks_at_is_among_those_that_its_event_type_carries() {
    let mut wrong = Vec::new();
    for event in events().filter(|event| !event.is_plain_statement()) {
        let known: BTreeSet<&str> = event
            .payload
            .fields
            .iter()
            .map(|of| {
                if event.form == Form::Statement {
                    of.kind.path().and_then(|path| path.last().copied()).unwrap_or(of.name)
                } else {
                    of.name
                }
            })
            .collect();
        for sample in samples::samples(event.family.name, "valid") {
            let (Some(of), Some(value)) = seen(&sample) else { continue };
            // A record may have what its form allows beside the plain way to write it.
            if of != event.name || sample.name.ends_with(".record") {
                continue;
            }
            for field in fields_read(&value, event.form).into_iter().filter(|field| !known.contains(&**field)) {
                wrong.push(format!("{}: {} reads `{field}`, which PAYLOADS lacks", sample.path, event.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The Avro schema and PAYLOADS are two lists of the same fields.
#[test]
fn the_fields_of_an_avro_event_are_those_of_its_schema() {
    let mut checked = 0;
    for event in events().filter(|event| event.form == Form::Avro) {
        let schema: Value = serde_json::from_str(event.avro_schema().expect("a schema")).expect("a schema is JSON");
        let fields = schema["fields"].as_array().expect("a record has fields");
        let payload = fields.iter().find(|of| of["name"] == "payload").expect("an event has a payload");
        let branches = payload["type"].as_array().expect("a payload is a union");
        let is_its =
            |branch: &&Value| branch["doc"].as_str().is_some_and(|doc| doc.split(", ").any(|of| of == event.name));
        let branch = branches.iter().find(is_its).unwrap_or_else(|| panic!("no record of {}", event.name));
        let of_schema: Vec<(&str, bool)> = branch["fields"]
            .as_array()
            .expect("a record has fields")
            .iter()
            .map(|of| (of["name"].as_str().expect("a name"), of.get("default").is_none()))
            .collect();
        let of_catalog: Vec<(&str, bool)> = event
            .payload
            .fields
            .iter()
            .map(|of| (of.name, of.presence == lyceum_core::payload::Presence::Required))
            .collect();
        assert_eq!(of_catalog, of_schema, "{}", event.name);
        checked += 1;
    }
    assert!(checked >= 12, "{checked}");
}
