//! From what is said to the bytes that are sent: statements bare and wrapped, modules' envelopes, Avro in binary and in JSON. Texts
//! are written as they are: the made-up academy has none that JSON would escape. No map is used, whose order other crates may switch.

use std::fmt::Write;

use lyceum_catalog::{content, engagement, learning};
use lyceum_core::catalog::FamilySpec;
use lyceum_core::formats::avro::Schema;
use lyceum_core::formats::statement::vocabulary::{ACTIVITIES, EXTENSIONS};
use lyceum_xapi::utc_time::UtcTime;
use uuid::Uuid;

/// An event as somebody says it; id, time and tenant come with the record.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// An xAPI statement.
    Statement(Statement),
    /// A module's envelope.
    Module {
        /// Who says it.
        source: &'static str,
        /// An object in JSON.
        payload: String,
    },
    /// An event of analytics.
    Avro {
        /// Whose.
        user_id: String,
        /// Of the union.
        branch: u8,
        /// In the order of the schema.
        fields: Vec<(&'static str, Field)>,
    },
}

/// A statement's members in JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statement {
    pub(crate) actor: String,
    pub(crate) verb: String,
    pub(crate) object: String,
    pub(crate) result: Option<String>,
    /// The whole context.
    pub(crate) context: Option<String>,
}

/// A field of a payload.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    Text(String),
    MaybeText(Option<String>),
    Texts(Vec<&'static str>),
    Whole(i64),
    MaybeWhole(Option<i64>),
    Number(f64),
    MaybeNumber(Option<f64>),
    Flag(bool),
    /// By its place among the symbols, and its name.
    Symbol(i64, &'static str),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A bare statement, a module's envelope, Avro in JSON.
    Plain,
    /// A statement in a wrapped message; Avro as a single object.
    Framed,
    /// Avro bare, whose schema a header names.
    Headed,
}

/// What is known of an event beside its body.
pub(crate) struct Stamp<'a> {
    pub(crate) id: Uuid,
    pub(crate) at_ms: i64,
    pub(crate) tenant: &'a str,
    pub(crate) event_type: &'static str,
    pub(crate) correlation_id: &'a str,
}

/// Writes values.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Of each family of Avro, the newest schema's fingerprint.
    prints: [(&'static FamilySpec, u64); 3],
}

impl Writer {
    pub(crate) fn new() -> Self {
        let print = |spec: &'static FamilySpec, schemas: &[&str]| {
            let newest = schemas.last().copied().unwrap_or_default();
            (spec, Schema::parse(newest).expect("the schemas that are built in are tested").fingerprint())
        };
        Self {
            prints: [
                print(&learning::SPEC, &learning::SCHEMAS),
                print(&content::SPEC, &content::SCHEMAS),
                print(&engagement::SPEC, &engagement::SCHEMAS),
            ],
        }
    }

    /// The fingerprint of the schema of an event type, and the type's place among the symbols.
    fn schema(&self, event_type: &str) -> (u64, i64) {
        let of = |(spec, print): &(&'static FamilySpec, u64)| {
            let place = spec.event_types.iter().position(|of| of.name == event_type)?;
            Some((*print, place as i64))
        };
        self.prints.iter().find_map(of).unwrap_or_default()
    }

    /// The header that names the schema of a bare value, by hexadecimal digits.
    pub(crate) fn fingerprint(&self, event_type: &str) -> String {
        format!("{:016x}", self.schema(event_type).0)
    }

    /// The value.
    pub(crate) fn value(&self, body: &Body, form: Form, stamp: &Stamp<'_>) -> Vec<u8> {
        match (body, form) {
            (Body::Statement(statement), Form::Plain) => write_statement(statement, stamp).into_bytes(),
            (Body::Statement(statement), _) => {
                let Stamp { event_type, tenant, correlation_id, .. } = stamp;
                let statement = write_statement(statement, stamp);
                format!(
                    r#"{{"event_type":"{event_type}","xapi_data":{statement},"routing_info":{{"source":"lms"}},"metadata":{{"tenant_id":"{tenant}","correlation_id":"{correlation_id}"}}}}"#
                )
                .into_bytes()
            }
            (Body::Module { source, payload }, _) => {
                let Stamp { id, at_ms, tenant, event_type, correlation_id } = stamp;
                let at = UtcTime::from_millis(*at_ms);
                format!(
                    r#"{{"id":"{id}","type":"{event_type}","source":"{source}","target":null,"timestamp":"{at}","payload":{payload},"meta":{{"schema_version":"1.0","producer":"{source}-service","source_module":"{source}","tenant_id":"{tenant}","correlation_id":"{correlation_id}"}}}}"#
                )
                .into_bytes()
            }
            (Body::Avro { user_id, fields, .. }, Form::Plain) => write_avro_json(user_id, fields, stamp).into_bytes(),
            (Body::Avro { user_id, branch, fields }, form) => {
                let (print, place) = self.schema(stamp.event_type);
                let mut bytes = Vec::with_capacity(192);
                if form == Form::Framed {
                    bytes.extend([0xC3, 0x01]);
                    bytes.extend(print.to_le_bytes());
                }
                put_text(&mut bytes, &stamp.id.to_string());
                put_long(&mut bytes, place);
                put_long(&mut bytes, stamp.at_ms);
                put_text(&mut bytes, user_id);
                put_text(&mut bytes, stamp.tenant);
                put_long(&mut bytes, 1);
                put_text(&mut bytes, stamp.correlation_id);
                put_long(&mut bytes, i64::from(*branch));
                fields.iter().for_each(|(_, field)| put_field(&mut bytes, field));
                bytes
            }
        }
    }
}

fn write_statement(statement: &Statement, stamp: &Stamp<'_>) -> String {
    let Statement { actor, verb, object, result, context } = statement;
    let (id, at) = (stamp.id, UtcTime::from_millis(stamp.at_ms));
    let mut text = format!(r#"{{"id":"{id}","actor":{actor},"verb":{{"id":"{verb}"}},"object":{object}"#);
    for (name, member) in [("result", result), ("context", context)] {
        if let Some(member) = member {
            let _ = write!(text, r#","{name}":{member}"#);
        }
    }
    let _ = write!(text, r#","timestamp":"{at}"}}"#);
    text
}

fn write_avro_json(user_id: &str, fields: &[(&'static str, Field)], stamp: &Stamp<'_>) -> String {
    let Stamp { id, at_ms, tenant, event_type, correlation_id } = stamp;
    let mut text = format!(
        r#"{{"event_id":"{id}","event_type":"{event_type}","occurred_at":{at_ms},"user_id":"{user_id}","tenant_id":"{tenant}","correlation_id":"{correlation_id}","payload":{{"#
    );
    for (place, (name, field)) in fields.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let value = match field {
            Field::Text(text) | Field::MaybeText(Some(text)) => format!(r#""{text}""#),
            Field::Texts(texts) => format!("{texts:?}"),
            Field::Whole(number) | Field::MaybeWhole(Some(number)) => number.to_string(),
            Field::Number(number) | Field::MaybeNumber(Some(number)) => number.to_string(),
            Field::Flag(flag) => flag.to_string(),
            Field::Symbol(_, name) => format!(r#""{name}""#),
            Field::MaybeText(None) | Field::MaybeWhole(None) | Field::MaybeNumber(None) => "null".to_owned(),
        };
        let _ = write!(text, r#"{comma}"{name}":{value}"#);
    }
    text.push_str("}}");
    text
}

/// Avro 1.12, "Binary Encoding": a zigzag number of variable length.
fn put_long(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_long(bytes, text.len() as i64);
    bytes.extend(text.as_bytes());
}

fn put_field(bytes: &mut Vec<u8>, field: &Field) {
    match field {
        Field::Text(text) => put_text(bytes, text),
        Field::MaybeText(Some(text)) => {
            put_long(bytes, 1);
            put_text(bytes, text);
        }
        Field::Texts(texts) => {
            if !texts.is_empty() {
                put_long(bytes, texts.len() as i64);
                texts.iter().for_each(|text| put_text(bytes, text));
            }
            put_long(bytes, 0);
        }
        Field::Whole(number) | Field::Symbol(number, _) => put_long(bytes, *number),
        Field::MaybeWhole(Some(number)) => {
            put_long(bytes, 1);
            put_long(bytes, *number);
        }
        Field::Number(number) => bytes.extend(number.to_le_bytes()),
        Field::MaybeNumber(Some(number)) => {
            put_long(bytes, 1);
            bytes.extend(number.to_le_bytes());
        }
        Field::Flag(flag) => bytes.push(u8::from(*flag)),
        Field::MaybeText(None) | Field::MaybeWhole(None) | Field::MaybeNumber(None) => put_long(bytes, 0),
    }
}

/// The learner as an account of the platform.
pub(crate) fn account(learner: &str) -> String {
    format!(r#"{{"account":{{"homePage":"http://nlj.platform/users","name":"{learner}"}}}}"#)
}

/// An activity of the platform.
pub(crate) fn activity(kind: &str, id: &str, title: Option<&str>) -> String {
    match title {
        Some(title) => format!(r#"{{"id":"{ACTIVITIES}{kind}/{id}","definition":{{"name":{{"en":"{title}"}}}}}}"#),
        None => format!(r#"{{"id":"{ACTIVITIES}{kind}/{id}"}}"#),
    }
}

/// A verb of the platform.
pub(crate) fn platform(verb: &str) -> String {
    format!("http://nlj.platform/verbs/{verb}")
}

/// A verb of ADL's vocabulary.
pub(crate) fn adl(verb: &str) -> String {
    format!("http://adlnet.gov/expapi/verbs/{verb}")
}

/// Extensions of the platform, each with its value in JSON, as members of an object.
pub(crate) fn extensions(of: &[(&str, String)]) -> String {
    let members: Vec<String> = of.iter().map(|(name, value)| format!(r#""{EXTENSIONS}{name}":{value}"#)).collect();
    format!(r#""extensions":{{{}}}"#, members.join(","))
}

/// A text in JSON.
pub(crate) fn quoted(text: &str) -> String {
    format!(r#""{text}""#)
}

/// An instant in JSON.
pub(crate) fn instant(ms: i64) -> String {
    format!(r#""{}""#, UtcTime::from_millis(ms))
}
