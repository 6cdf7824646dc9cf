//! Made-up pairs of schemas, as one release of a sender and of a reader differ, and what is read of values that one of them wrote.

use std::collections::HashMap;
use std::sync::Once;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use lyceum_core::formats::avro::{Schema, read_value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::any::Any;
use crate::choices::Choices;
use crate::written::bare;

/// So much may reading a value take beside what a value of as many bytes does: items of no bytes are bounded in number alone.
const MEMORY: u64 = 16 << 20;
/// And so much for each of its bytes.
const MEMORY_A_BYTE: u64 = 400;
/// So deep do types lie in each other.
const DEPTH: usize = 3;

/// A schema and a reader's that is like it, a value, and what is read of it, whole and changed.
pub(crate) fn check(choices: &mut Choices<'_>) {
    let (writer, reader) = Making { choices, names: 0 }.record(DEPTH);
    let value = value_of(&writer, choices, false);
    let both = Both::of(&writer.to_string(), &reader.to_string());
    let bytes = bare(&both.writer.1, value.clone());
    let own: Any = match read_value(&both.writer.0, &both.writer.0, &bytes) {
        Ok(own) => own,
        Err(wrong) => panic!("{writer}: {value:?} is not read: {wrong:?}"),
    };
    assert!(own.is(&value), "{writer}: {value:?} is read as {own:?}");
    both.check(&bytes, true);
    let back = Both { writer: both.reader.clone(), reader: both.writer.clone() };
    back.check(&bytes, false);
    let mut changed = bytes;
    choices.change(&mut changed);
    both.check(&changed, false);
}

/// A writer's schema and a reader's, each as both implementations have it.
pub(crate) struct Both {
    pub(crate) writer: (Schema, apache_avro::Schema),
    pub(crate) reader: (Schema, apache_avro::Schema),
}

impl Both {
    pub(crate) fn of(writer: &str, reader: &str) -> Self {
        let parsed = |text: &str| {
            let own = Schema::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            (own, apache_avro::Schema::parse_str(text).unwrap_or_else(|why| panic!("{text}: {why}")))
        };
        Self { writer: parsed(writer), reader: parsed(reader) }
    }

    /// What both implementations read is the same, and what is not read says why; `is_whole`: what apache-avro reads is read.
    /// Of bytes that break off it reads some as null, so that nothing is said of others.
    pub(crate) fn check(&self, bytes: &[u8], is_whole: bool) {
        // Another one's bounds are none of ours, and a machine's memory has some.
        static BOUNDED: Once = Once::new();
        BOUNDED.call_once(|| {
            apache_avro::util::max_allocation_bytes(1 << 20);
        });
        let mut own = Err(Vec::new());
        let taken = allocation_counter::measure(|| {
            own = read_value::<Any>(&self.writer.0, &self.reader.0, bytes);
        });
        let most = MEMORY + MEMORY_A_BYTE * bytes.len() as u64;
        assert!(taken.bytes_max <= most, "{} bytes of memory for {bytes:?}", taken.bytes_max);
        let reading = GenericDatumReader::builder(&self.writer.1);
        // What needs no resolving is not resolved: of records in a union apache-avro takes the first that has no more fields without a
        // default, whatever it is called.
        let resolving = match self.writer.1 == self.reader.1 {
            true => reading.build(),
            false => reading.reader_schema(&self.reader.1).build(),
        };
        let other = resolving.and_then(|reader| reader.read_value(&mut &*bytes));
        let told = || format!("{}\n{}", self.writer.0.canonical_form(), self.reader.0.canonical_form());
        match (own, other) {
            (Ok(own), Ok(other)) => {
                assert!(own.is(&other), "{bytes:?} is {own:?}, and for another one {other:?}, by\n{}", told());
            }
            (Err(wrong), Ok(other)) if is_whole => {
                panic!("{bytes:?} is not read, and another one reads {other:?}: {wrong:?}, by\n{}", told());
            }
            (Err(wrong), _) => {
                assert!(!wrong.is_empty(), "{bytes:?} is not read, and nothing says why, by\n{}", told())
            }
            (Ok(_), Err(_)) => {}
        }
    }
}

/// Makes a schema and one that is like it.
struct Making<'m, 'b> {
    choices: &'m mut Choices<'b>,
    names: u32,
}

impl Making<'_, '_> {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    /// One of these, whatever the writer's is.
    fn reader_of(&mut self, readers: &[&str]) -> Json {
        json!(readers[self.choices.below(readers.len())])
    }

    fn any(&mut self, depth: usize) -> (Json, Json) {
        let (writer, reader) = match self.choices.below(if depth == 0 { 10 } else { 14 }) {
            0 => (json!("null"), json!("null")),
            1 => (json!("boolean"), json!("boolean")),
            2 => (json!("int"), self.reader_of(&["int", "long", "float", "double"])),
            3 => (json!("long"), self.reader_of(&["long", "float", "double"])),
            4 => (json!("float"), self.reader_of(&["float", "double"])),
            5 => (json!("double"), json!("double")),
            6 => (json!("bytes"), self.reader_of(&["bytes", "string"])),
            7 => (json!("string"), self.reader_of(&["string", "bytes"])),
            8 => {
                let fixed = json!({"type": "fixed", "name": self.name("F"), "size": self.choices.below(5)});
                (fixed.clone(), fixed)
            }
            9 => self.symbols(),
            10 => {
                let (writer, reader) = self.any(depth - 1);
                (json!({"type": "array", "items": writer}), json!({"type": "array", "items": reader}))
            }
            11 => {
                let (writer, reader) = self.any(depth - 1);
                (json!({"type": "map", "values": writer}), json!({"type": "map", "values": reader}))
            }
            12 => return self.nullable(depth),
            _ => self.record(depth - 1),
        };
        match self.choices.below(8) {
            0 if writer != "null" => (writer, json!(["null", reader])),
            1 if writer != "null" => (writer, json!([reader, "null"])),
            _ => (writer, reader),
        }
    }

    /// Of the reader's symbols some may be others, and its own stands for what it does not know.
    fn symbols(&mut self) -> (Json, Json) {
        let (name, count) = (self.name("E"), 1 + self.choices.below(4));
        let symbols: Vec<&str> = ["a", "b", "c", "d"][..count].to_vec();
        let mut known = symbols.clone();
        known.rotate_left(self.choices.below(count));
        known.truncate(1 + self.choices.below(count));
        known.push("other");
        let writer = json!({"type": "enum", "name": name, "symbols": symbols});
        let mut reader = json!({"type": "enum", "name": name, "symbols": known});
        if self.choices.is_so() {
            reader["default"] = json!("other");
        }
        (writer, reader)
    }

    /// A union with null, whose reader may have it the other way round, or expect a value.
    fn nullable(&mut self, depth: usize) -> (Json, Json) {
        let (writer, reader) = self.any(depth - 1);
        let is_union = |of: &Json| of.is_array() || of == "null";
        if is_union(&writer) || is_union(&reader) {
            return (writer, reader);
        }
        let writer = if self.choices.is_so() { json!(["null", writer]) } else { json!([writer, "null"]) };
        let reader = match self.choices.below(4) {
            0 => reader,
            1 => json!([reader, "null"]),
            _ => json!(["null", reader]),
        };
        (writer, reader)
    }

    /// Fields that both have, in another order, that only one has, that the reader calls by another name; one may hold the record.
    fn record(&mut self, depth: usize) -> (Json, Json) {
        let name = self.name("R");
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for at in 0..self.choices.below(5) {
            let field = format!("f{at}");
            let (writer, reader) = match self.choices.below(8) {
                0 => (json!(["null", name]), json!(["null", name])),
                _ => self.any(depth),
            };
            match self.choices.below(8) {
                0 => writers.push(json!({"name": field, "type": writer})),
                1 => readers.push(self.with_default(&field)),
                2 => {
                    writers.push(json!({"name": field, "type": writer}));
                    readers.push(json!({"name": format!("new_{field}"), "aliases": [field], "type": reader}));
                }
                _ => {
                    writers.push(json!({"name": field, "type": writer}));
                    readers.push(json!({"name": field, "type": reader}));
                }
            }
        }
        if !readers.is_empty() {
            let first = self.choices.below(readers.len());
            readers.rotate_left(first);
        }
        (
            json!({"type": "record", "name": name, "fields": writers}),
            json!({"type": "record", "name": name, "fields": readers}),
        )
    }

    /// A field that no writer has yet.
    fn with_default(&mut self, name: &str) -> Json {
        let (of, default) = match self.choices.below(10) {
            0 => (json!("boolean"), json!(true)),
            1 => (json!("int"), json!(-7)),
            2 => (json!("long"), json!(1_i64 << 40)),
            3 => (json!("double"), json!(0.5)),
            4 => (json!("string"), json!("none")),
            5 => (json!("bytes"), json!("ab")),
            6 => (json!({"type": "array", "items": "int"}), json!([1, 2])),
            7 => (json!({"type": "map", "values": "string"}), json!({"a": "b"})),
            8 => (json!(["string", "null"]), json!("none")),
            _ => (json!(["null", "long"]), Json::Null),
        };
        json!({"name": name, "type": of, "default": default})
    }
}

/// A value of a schema. `is_plain`: as an event may have it, no text empty and no number out of the way.
pub(crate) fn value_of(schema: &Json, choices: &mut Choices<'_>, is_plain: bool) -> Value {
    let mut named = HashMap::new();
    named_types(schema, &mut named);
    Filling { choices, named, is_plain }.value(schema, 0)
}

/// Every type of a schema that has a name, by it.
fn named_types<'s>(schema: &'s Json, named: &mut HashMap<&'s str, &'s Json>) {
    match schema {
        Json::Array(branches) => branches.iter().for_each(|branch| named_types(branch, named)),
        Json::Object(members) => {
            if let Some(name) = schema["name"].as_str() {
                named.insert(name, schema);
            }
            for inner in ["type", "items", "values"].iter().filter_map(|inner| members.get(*inner)) {
                named_types(inner, named);
            }
            for field in schema["fields"].as_array().into_iter().flatten() {
                named_types(&field["type"], named);
            }
        }
        _ => {}
    }
}

struct Filling<'f, 'b, 's> {
    choices: &'f mut Choices<'b>,
    named: HashMap<&'s str, &'s Json>,
    is_plain: bool,
}

impl<'s> Filling<'_, '_, 's> {
    fn text(&mut self) -> String {
        let text = self.choices.text();
        if !self.is_plain {
            return text;
        }
        let text: String = text.chars().filter(|character| !character.is_control()).collect();
        if text.is_empty() { "x".to_owned() } else { text }
    }

    fn value(&mut self, schema: &'s Json, depth: usize) -> Value {
        match schema {
            Json::String(name) => self.named(name, schema, depth),
            Json::Array(branches) => {
                let wanted = self.choices.below(branches.len());
                // One that holds itself comes to an end.
                let null = branches.iter().position(|branch| branch == "null");
                let at = null.filter(|_| depth > 8).unwrap_or(wanted);
                Value::Union(at as u32, Box::new(self.value(&branches[at], depth + 1)))
            }
            _ => match &schema["type"] {
                Json::String(kind) => self.named(kind, schema, depth),
                inner => self.value(inner, depth),
            },
        }
    }

    fn named(&mut self, kind: &str, schema: &'s Json, depth: usize) -> Value {
        match (kind, schema["logicalType"].as_str()) {
            ("string", Some("uuid")) => Value::Uuid(Uuid::from_bytes(self.choices.array())),
            ("long", Some("timestamp-millis")) => Value::TimestampMillis(self.choices.long().rem_euclid(1 << 40)),
            ("null", _) => Value::Null,
            ("boolean", _) => Value::Boolean(self.choices.is_so()),
            ("int", _) if self.is_plain => Value::Int(1 + self.choices.below(5) as i32),
            ("long", _) if self.is_plain => Value::Long(self.choices.long().rem_euclid(1 << 31)),
            ("double", _) if self.is_plain => Value::Double(self.choices.below(17) as f64 / 16.0),
            ("int", _) => Value::Int(self.choices.long() as i32),
            ("long", _) => Value::Long(self.choices.long()),
            ("float", _) => Value::Float(f32::from_le_bytes(self.choices.array())),
            ("double", _) => Value::Double(f64::from_le_bytes(self.choices.array())),
            ("string", _) => Value::String(self.text()),
            ("bytes", _) if self.is_plain || self.choices.is_so() => Value::Bytes(self.text().into_bytes()),
            ("bytes", _) => Value::Bytes(self.choices.array::<6>().to_vec()),
            ("fixed", _) => {
                let size = schema["size"].as_u64().unwrap_or_default() as usize;
                Value::Fixed(size, (0..size).map(|_| self.choices.byte()).collect())
            }
            ("enum", _) => {
                let symbols = schema["symbols"].as_array().expect("symbols");
                let at = self.choices.below(symbols.len());
                Value::Enum(at as u32, symbols[at].as_str().expect("a symbol").to_owned())
            }
            ("array", _) => {
                let count = self.choices.below(4);
                Value::Array((0..count).map(|_| self.value(&schema["items"], depth + 1)).collect())
            }
            ("map", _) => {
                let count = self.choices.below(4);
                let item = |_| (self.text(), self.value(&schema["values"], depth + 1));
                Value::Map((0..count).map(item).collect())
            }
            ("record", _) => {
                let fields = schema["fields"].as_array().expect("fields");
                let field = |field: &'s Json| {
                    let name = field["name"].as_str().expect("a name").to_owned();
                    (name, self.value(&field["type"], depth + 1))
                };
                Value::Record(fields.iter().map(field).collect())
            }
            (name, _) => {
                let named = *self.named.get(name).unwrap_or_else(|| panic!("no type is called {name}"));
                self.value(named, depth)
            }
        }
    }
}
