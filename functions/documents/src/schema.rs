//! The JSON Schema of an event type: what a record's value must look like in JSON. Only words are used that draft 7 and draft 2020-12
//! share, and nothing refers to elsewhere, so that each schema stands alone in any document.
//!
//! A schema says less than the whole truth where no schema can: lengths are in bytes, and it counts characters; that one field fits
//! another (an end after its beginning) is judged by the family; a statement also keeps all rules of xAPI.

use lyceum_core::catalog::{ObjectIs, StatementForm};
use lyceum_core::formats::charter::field::{MAX_ELEMENTS, MAX_SLUG_BYTES, MAX_TEXT_BYTES};
use lyceum_core::formats::statement::field::{MAX_ID_BYTES, MAX_IRI_BYTES};
use lyceum_core::formats::statement::vocabulary::{ACTIVITIES, CMI_INTERACTION, EXTENSIONS, SURVEY_TYPE};
use lyceum_core::payload::{Field, Form, Kind, Presence};
use serde_json::{Map, Value, json};

use crate::Event;

/// The schema of an event type, with its examples.
pub fn of(event: &Event) -> Value {
    let mut schema = match event.form {
        Form::Statement => statement(event),
        Form::Charter => charter(event),
        Form::Avro => avro_as_json(event),
    };
    schema["title"] = json!(event.name);
    schema["description"] = json!(event.payload.purpose);
    schema["x-criticality"] = json!(event.payload.criticality.name());
    schema["examples"] = event.examples().into_iter().map(|(_, example)| example).collect();
    schema
}

/// The schema as a document of its own.
pub fn document(event: &Event) -> Value {
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:lyceum:event:{}", event.name),
    });
    merge(&mut document, of(event));
    document
}

/// Where a field stands, for people: `payload.course_id`, `object.id`; of an extension `context.extensions`.
pub fn place(form: Form, field: &Field) -> String {
    match form {
        Form::Statement => match field.kind.path() {
            Some(path) => path.join("."),
            None => "context.extensions".to_owned(),
        },
        Form::Charter | Form::Avro => format!("payload.{}", field.name),
    }
}

/// What a field holds, for people.
pub fn words(kind: Kind) -> String {
    match kind {
        Kind::ActivityId => "an activity IRI whose last segment is the id, of at most 512 bytes".to_owned(),
        Kind::ActivityIri => "an activity IRI, of at most 2,048 bytes".to_owned(),
        Kind::ActivityName => "a language map with a name that is not empty".to_owned(),
        Kind::Learner => "an identified agent or group".to_owned(),
        Kind::Actor => "an agent or group".to_owned(),
        Kind::Registration | Kind::Uuid => "a UUID".to_owned(),
        Kind::Response => "a text".to_owned(),
        Kind::Score => "a score with `raw`, else `scaled`".to_owned(),
        Kind::SurveyOfQuestion => {
            format!("{}; not needed where a parent or grouping of the question is a survey", words(Kind::IdOrNumber))
        }
        Kind::IdOrNumber => format!("a text of 1 to {MAX_ID_BYTES} bytes, or a whole number"),
        Kind::Id => format!("a text that is not blank, of at most {MAX_ID_BYTES} bytes"),
        Kind::Name => format!("a text of 1 to {MAX_ID_BYTES} bytes"),
        Kind::AnyText => "a text".to_owned(),
        Kind::Text(most) => format!("a text that is not blank, of at most {most} bytes"),
        Kind::LongText => "a text that is not blank".to_owned(),
        Kind::Texts => format!("at most {MAX_ELEMENTS} texts, each of 1 to {MAX_TEXT_BYTES} bytes"),
        Kind::Names(most) => format!("at most {most} texts, each of 1 to {MAX_ID_BYTES} bytes"),
        Kind::Timestamp => "an RFC 3339 timestamp with a zone".to_owned(),
        Kind::Whole(least, most) if most >= i32::MAX as u64 => format!("a whole number of at least {least}"),
        Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
        Kind::AtLeast(least) => format!("a whole number of at least {least}"),
        Kind::Number(least, most) => format!("a number from {least} to {most}"),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Words(of) => format!("one of {}", of.join(", ")),
        Kind::OpenWords(of) => format!("one of {}; another one counts as the last", of.join(", ")),
        Kind::Location => {
            format!("an http or https URL, or a path with a slash before it, of at most {MAX_IRI_BYTES} bytes")
        }
        Kind::Slug => format!("1 to {MAX_SLUG_BYTES} lower-case letters, digits and hyphens"),
        Kind::Hash => "`sha256:` and 64 hexadecimal digits in lower case".to_owned(),
        Kind::Version => "a version of one to four numbers, \"2\" or \"1.4.0\", or a whole number".to_owned(),
        Kind::Any => "any JSON".to_owned(),
    }
}

/// What a value of that kind is.
fn value(kind: Kind) -> Value {
    let not_blank = r"\S";
    match kind {
        // Behind a slash or a colon, before slashes, a query or a fragment.
        Kind::ActivityId => json!({
            "type": "string", "pattern": format!(r"^[^?#]*[/:][^/:?#]{{1,{MAX_ID_BYTES}}}/*([?#].*)?$"),
        }),
        Kind::ActivityIri => json!({"type": "string", "minLength": 1, "maxLength": MAX_IRI_BYTES}),
        Kind::ActivityName => json!({
            "type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "minLength": 1},
        }),
        Kind::Learner => json!({
            "type": "object",
            "anyOf": [
                {"required": ["mbox"]}, {"required": ["mbox_sha1sum"]}, {"required": ["openid"]}, {"required": ["account"]},
            ],
        }),
        Kind::Actor => json!({"type": "object"}),
        Kind::Registration | Kind::Uuid => json!({"type": "string", "format": "uuid"}),
        Kind::Response => json!({"type": "string"}),
        Kind::Score => json!({
            "type": "object", "properties": {"raw": {"type": "number"}, "scaled": {"type": "number", "minimum": -1, "maximum": 1}},
        }),
        Kind::IdOrNumber | Kind::SurveyOfQuestion => json!({
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}, {"type": "integer", "minimum": 0}],
        }),
        Kind::Id => json!({"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES, "pattern": not_blank}),
        Kind::Name => json!({"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}),
        Kind::AnyText => json!({"type": "string"}),
        Kind::Text(most) => json!({"type": "string", "minLength": 1, "maxLength": most, "pattern": not_blank}),
        Kind::LongText => json!({"type": "string", "minLength": 1, "pattern": not_blank}),
        Kind::Texts => json!({
            "type": "array", "maxItems": MAX_ELEMENTS, "items": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_BYTES},
        }),
        Kind::Names(most) => json!({"type": "array", "maxItems": most, "items": value(Kind::Name)}),
        Kind::Timestamp => json!({"type": "string", "format": "date-time"}),
        Kind::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::AtLeast(least) => json!({"type": "integer", "minimum": least}),
        Kind::Number(least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Words(of) => json!({"type": "string", "enum": of}),
        Kind::OpenWords(of) => json!({"type": "string", "examples": of}),
        Kind::Location => json!({
            "type": "string", "maxLength": MAX_IRI_BYTES, "pattern": r"^(https?://|/)[^\s\x00-\x1f\x7f]+$",
        }),
        Kind::Slug => json!({"type": "string", "pattern": format!("^[a-z0-9-]{{1,{MAX_SLUG_BYTES}}}$")}),
        Kind::Hash => json!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
        Kind::Version => json!({
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,19}(\.[0-9]{1,19}){0,3}$"}, {"type": "integer", "minimum": 0},
            ],
        }),
        Kind::Any => json!({}),
    }
}

/// Where an extension is looked for, in this order.
const EXTENDED: [&[&str]; 3] =
    [&["context", "extensions"], &["object", "definition", "extensions"], &["result", "extensions"]];

/// A schema that holds for what stands at a place.
fn at(path: &[&str], schema: Value) -> Value {
    path.iter().rev().fold(schema, |inner, name| json!({"properties": {*name: inner}}))
}

/// A schema by which something has to stand at a place.
fn is_there(path: &[&str]) -> Value {
    let Some((first, rest)) = path.split_first() else { return json!({}) };
    if rest.is_empty() {
        return json!({"required": [first]});
    }
    json!({"required": [first], "properties": {*first: is_there(rest)}})
}

fn extension_is_there(name: &str) -> Value {
    let iri = format!("{EXTENSIONS}{name}");
    let any: Vec<Value> = EXTENDED.iter().map(|path| is_there(&[path, [iri.as_str()].as_slice()].concat())).collect();
    json!({ "anyOf": any })
}

fn described(mut schema: Value, field: &Field) -> Value {
    schema["description"] = json!(field.about);
    schema
}

/// A statement, bare or in a wrapped message.
fn statement(event: &Event) -> Value {
    let fields = statement_with(event.payload.fields);
    let recognised = event.event_type.and_then(|of| of.statement.as_ref()).map(recognised);
    let bare = match &recognised {
        Some(recognised) => json!({"description": "A bare statement", "allOf": [fields, recognised]}),
        None => json!({"description": "A bare statement", "allOf": [fields]}),
    };
    let says_it = match &recognised {
        Some(recognised) => json!([{"required": ["event_type"]}, {"properties": {"xapi_data": recognised}}]),
        None => json!([true]),
    };
    let wrapped = json!({
        "description": "The same in a wrapped message",
        "required": ["xapi_data"],
        "properties": {
            "event_type": {"const": event.name},
            "xapi_data": fields,
            "metadata": or_null(json!({
                "type": "object",
                "properties": {
                    "event_id": or_null(json!({"type": "string", "format": "uuid"})),
                    "tenant_id": or_null(json!({"type": "string", "minLength": 1})),
                    "correlation_id": or_null(json!({"type": "string"})),
                },
            })),
        },
        "anyOf": says_it,
    });
    let bare = merged(bare, json!({"not": {"required": ["xapi_data"]}}));
    json!({"type": "object", "anyOf": [bare, wrapped]})
}

/// A statement with these fields.
fn statement_with(fields: &[Field]) -> Value {
    let identifier = json!({"type": "string", "minLength": 1});
    let mut all = vec![json!({
        "type": "object",
        "required": ["actor", "verb", "object"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "actor": {"type": "object"},
            "verb": {"type": "object", "required": ["id"], "properties": {"id": identifier}},
            "object": {"type": "object"},
            "result": {"type": "object"},
            "context": {
                "type": "object",
                "properties": {"extensions": {"properties": {format!("{EXTENSIONS}tenant_id"): {"type": "string", "minLength": 1}}}},
            },
            "timestamp": {"type": "string"},
        },
    })];
    let mut one_of_these = Vec::new();
    for field in fields {
        let schema = described(value(field.kind), field);
        let is_there = match field.kind.path() {
            Some(path) => {
                all.push(at(path, schema));
                if field.kind == Kind::Score {
                    json!({"anyOf": [is_there(&["result", "score", "raw"]), is_there(&["result", "score", "scaled"])]})
                } else {
                    is_there(path)
                }
            }
            None => {
                let iri = format!("{EXTENSIONS}{}", field.name);
                // It has to be right wherever it stands, though only the first place is looked at.
                all.extend(EXTENDED.iter().map(|path| at(&[path, [iri.as_str()].as_slice()].concat(), schema.clone())));
                extension_is_there(field.name)
            }
        };
        if matches!(field.kind, Kind::ActivityId | Kind::ActivityIri) {
            all.push(json!({"properties": {"object": {"properties": {"objectType": {"const": "Activity"}}}}}));
        }
        match (field.presence, field.kind) {
            (Presence::Required, Kind::SurveyOfQuestion) => all.push(json!({"anyOf": [is_there, survey_around()]})),
            (Presence::Required, _) => all.push(is_there),
            (Presence::OneOfThese, _) => one_of_these.push(is_there),
            (Presence::Optional, _) => {}
        }
    }
    if !one_of_these.is_empty() {
        all.push(json!({ "anyOf": one_of_these }));
    }
    json!({ "allOf": all })
}

/// By what a bare statement is recognised.
fn recognised(form: &StatementForm) -> Value {
    let verb = json!({"properties": {"verb": {"properties": {"id": {"enum": form.verbs}}}}});
    let object = match form.object {
        ObjectIs::Kind(kind) => at(&["object", "id"], json!({"pattern": kind_pattern(kind)})),
        ObjectIs::SurveyQuestion => {
            let interaction = json!({
                "allOf": [
                    is_there(&["object", "definition", "type"]),
                    at(&["object", "definition", "type"], json!({"const": CMI_INTERACTION})),
                    around("parent", &json!({"properties": {"id": {"pattern": kind_pattern("survey")}}})),
                ],
            });
            json!({"anyOf": [at(&["object", "id"], json!({"pattern": kind_pattern("question")})), interaction]})
        }
    };
    json!({ "allOf": [verb, object] })
}

/// An activity of the platform.
fn kind_pattern(kind: &str) -> String {
    format!("^{}{kind}/.", ACTIVITIES.replace('.', r"\."))
}

/// A parent or grouping is a survey, of the platform or of another tool.
fn survey_around() -> Value {
    let survey = json!({
        "anyOf": [
            {"required": ["id"], "properties": {"id": {"type": "string", "pattern": kind_pattern("survey")}}},
            {"required": ["definition"], "properties": {"definition": {"required": ["type"], "properties": {"type": {"const": SURVEY_TYPE}}}}},
        ],
    });
    json!({"anyOf": [around("parent", &survey), around("grouping", &survey)]})
}

/// An activity around the object is such: alone, or one of several.
fn around(relation: &str, such: &Value) -> Value {
    let path = ["context", "contextActivities", relation];
    let activities =
        json!({"anyOf": [{"type": "array", "contains": such}, merged(json!({"type": "object"}), such.clone())]});
    merged(is_there(&path), json!({ "allOf": [at(&path, activities)] }))
}

/// A module's envelope.
fn charter(event: &Event) -> Value {
    let mut properties = Map::new();
    let (mut required, mut one_of_these) = (Vec::new(), Vec::new());
    for field in event.payload.fields {
        let schema = described(value(field.kind), field);
        match field.presence {
            Presence::Required => {
                required.push(field.name);
                properties.insert(field.name.to_owned(), schema);
            }
            // A member that is null is as one that is missing.
            Presence::Optional => drop(properties.insert(field.name.to_owned(), or_null(schema))),
            Presence::OneOfThese => {
                one_of_these.push(json!({
                    "required": [field.name], "properties": {field.name: {"not": {"type": "null"}}},
                }));
                properties.insert(field.name.to_owned(), or_null(schema));
            }
        }
    }
    let mut payload = json!({"type": "object", "required": required, "properties": properties});
    if !one_of_these.is_empty() {
        payload["anyOf"] = json!(one_of_these);
    }
    let name = |about: &str| json!({"type": "string", "minLength": 1, "maxLength": 128, "description": about});
    json!({
        "type": "object",
        "required": ["id", "type", "source", "timestamp", "payload", "meta"],
        "properties": {
            "id": {"type": "string", "format": "uuid", "description": "Names the event once and for all"},
            "type": {"const": event.name},
            "source": name("The module that says it"),
            "target": or_null(name("The module that it is for, where it is for one")),
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened"},
            "payload": payload,
            "meta": {
                "type": "object",
                "required": ["schema_version", "producer", "source_module", "tenant_id"],
                "properties": {
                    "schema_version": {"type": "string", "pattern": r"^1(\.[0-9]+){0,2}$"},
                    "producer": name("The program that wrote it"),
                    "source_module": name("The module that says it"),
                    "tenant_id": {"type": "string", "minLength": 1, "description": "Whose it is"},
                    "correlation_id": or_null(json!({"type": "string", "description": "Travels with everything that follows from it"})),
                },
            },
        },
    })
}

/// An Avro event in JSON, as Avro writes it or as people do.
fn avro_as_json(event: &Event) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in event.payload.fields {
        let plain = value(field.kind);
        let schema = match field.presence {
            Presence::Required => {
                required.push(field.name);
                plain
            }
            // A union: plain, or under the name of its branch.
            Presence::Optional | Presence::OneOfThese => json!({
                "anyOf": [
                    plain, {"type": "null"},
                    {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": plain},
                ],
            }),
        };
        properties.insert(field.name.to_owned(), described(schema, field));
    }
    let payload = json!({"type": "object", "required": required, "properties": properties});
    let branch = json!({"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": payload});
    let correlation = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["event_id", "event_type", "occurred_at", "user_id", "tenant_id", "payload"],
        "properties": {
            "event_id": {"type": "string", "format": "uuid", "description": "Names the event once and for all"},
            "event_type": {"enum": [event.name, event.name.replace('.', "_")]},
            "occurred_at": {"type": "integer", "description": "Milliseconds since 1970 UTC"},
            "user_id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES, "description": "The learner"},
            "tenant_id": {"type": "string", "minLength": 1, "description": "Whose it is"},
            "correlation_id": {
                "anyOf": [correlation, {"type": "null"}, {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": correlation}],
            },
            "payload": {"anyOf": [payload, branch]},
        },
    })
}

/// The same, or null.
fn or_null(schema: Value) -> Value {
    let description = schema.get("description").cloned();
    let mut either = json!({"anyOf": [schema, {"type": "null"}]});
    if let Some(description) = description {
        either["description"] = description;
    }
    either
}

fn merged(mut one: Value, other: Value) -> Value {
    merge(&mut one, other);
    one
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
