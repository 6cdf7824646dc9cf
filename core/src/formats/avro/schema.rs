//! A schema as it is written (`.avsc`): parsed, its names resolved; its parsing canonical form, and the fingerprint of that.
//!
//! Source: Apache Avro 1.12 specification, "Schema Declaration", "Names", "Aliases", "Parsing Canonical Form for Schemas".

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::value::Json;

/// So deep may types lie in each other.
pub(super) const MAX_DEPTH: usize = 64;
/// So many types may a schema have: one that a registry holds is another one's word.
const MAX_TYPES: usize = 10_000;

/// Where a type stands among those of its schema.
pub(super) type TypeId = usize;

/// A parsed schema.
#[derive(Clone, Debug)]
pub struct Schema {
    types: Vec<Type>,
    root: TypeId,
    fingerprint: u64,
    wrapped_fingerprint: u64,
}

/// A type.
#[derive(Clone, Debug)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(Logical),
    Long(Logical),
    Float,
    Double,
    Bytes(Logical),
    String(Logical),
    Fixed {
        name: Name,
        size: usize,
    },
    Enum {
        name: Name,
        symbols: Vec<String>,
        default: Option<u32>,
    },
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record {
        name: Name,
        fields: Vec<Field>,
    },
    /// A named type that is read right now, and names itself.
    Unfinished,
}

/// What a primitive's values mean: `timestamp-millis` …
pub(super) type Logical = Option<String>;

/// The name of a type.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// With its namespace.
    pub(super) full: String,
    /// Other names that a writer may have for it.
    pub(super) aliases: Vec<String>,
}

/// A field of a record.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) of: TypeId,
    /// What stands for it where a writer has none.
    pub(super) default: Option<Json<'static>>,
}

impl Name {
    /// Without its namespace: names of writer and reader are compared so.
    pub(super) fn short(&self) -> &str {
        last_part(&self.full)
    }

    /// Whether a writer's type is meant.
    pub(super) fn is_meant_by(&self, writer: &Self) -> bool {
        self.short() == writer.short() || self.aliases.iter().any(|alias| last_part(alias) == writer.short())
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let mut parser = Parser { types: Vec::new(), named: HashMap::new() };
        let root = parser.read(&json, "", 0)?;
        let mut schema = Self { types: parser.types, root, fingerprint: 0, wrapped_fingerprint: 0 };
        schema.fingerprint = fingerprint(schema.canonical(false).as_bytes());
        schema.wrapped_fingerprint = fingerprint(schema.canonical(true).as_bytes());
        Ok(schema)
    }

    /// CRC-64-AVRO of its parsing canonical form.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The same as apache-avro (Rust) reckons it, which writes `{"type": "long"}` where a type has a logical one: senders that use it
    /// name the schema so.
    pub fn wrapped_fingerprint(&self) -> u64 {
        self.wrapped_fingerprint
    }

    /// What two schemas have in common that read the same bytes alike.
    pub fn canonical_form(&self) -> String {
        self.canonical(false)
    }

    fn canonical(&self, wraps: bool) -> String {
        let mut text = String::new();
        self.write_canonical(self.root, wraps, &mut HashSet::new(), &mut text);
        text
    }

    pub(super) fn root(&self) -> TypeId {
        self.root
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The symbols of an enum that is a field of the outermost record.
    pub(super) fn symbols_of(&self, field: &str) -> Option<&[String]> {
        let Type::Record { fields, .. } = self.get(self.root) else { return None };
        match self.get(fields.iter().find(|of| of.name == field)?.of) {
            Type::Enum { symbols, .. } => Some(symbols),
            _ => None,
        }
    }

    /// Whether a branch of a union is called so in Avro's JSON: by its type, or its name.
    pub(super) fn is_called(&self, id: TypeId, name: &str) -> bool {
        match self.get(id) {
            Type::Null => name == "null",
            Type::Boolean => name == "boolean",
            Type::Int(_) => name == "int",
            Type::Long(_) => name == "long",
            Type::Float => name == "float",
            Type::Double => name == "double",
            Type::Bytes(_) => name == "bytes",
            Type::String(_) => name == "string",
            Type::Array(_) => name == "array",
            Type::Map(_) => name == "map",
            Type::Fixed { name: of, .. } | Type::Enum { name: of, .. } | Type::Record { name: of, .. } => {
                of.full == name || of.short() == last_part(name)
            }
            Type::Union(_) | Type::Unfinished => false,
        }
    }

    /// A type as a person is told of it.
    pub(super) fn told(&self, id: TypeId) -> String {
        let of_logical = |name: &str, logical: &Logical| match logical {
            Some(logical) => format!("{name} ({logical})"),
            None => name.to_owned(),
        };
        match self.get(id) {
            Type::Null => "null".to_owned(),
            Type::Boolean => "boolean".to_owned(),
            Type::Int(logical) => of_logical("int", logical),
            Type::Long(logical) => of_logical("long", logical),
            Type::Float => "float".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Bytes(logical) => of_logical("bytes", logical),
            Type::String(logical) => of_logical("string", logical),
            Type::Fixed { name, size } => format!("fixed {} of {size} bytes", name.short()),
            Type::Enum { name, .. } => format!("enum {}", name.short()),
            Type::Array(items) => format!("array of {}", self.told(*items)),
            Type::Map(values) => format!("map of {}", self.told(*values)),
            Type::Union(branches) => {
                let told: Vec<String> = branches.iter().map(|branch| self.told(*branch)).collect();
                told.join(" or ")
            }
            Type::Record { name, .. } => format!("record {}", name.short()),
            Type::Unfinished => "a type".to_owned(),
        }
    }

    fn write_canonical(&self, id: TypeId, wraps: bool, written: &mut HashSet<TypeId>, out: &mut String) {
        let named = match self.get(id) {
            Type::Fixed { name, .. } | Type::Enum { name, .. } | Type::Record { name, .. } => Some(name),
            _ => None,
        };
        if let Some(name) = named
            && !written.insert(id)
        {
            return quote(&name.full, out);
        }
        let primitive = |name: &str, logical: &Logical, out: &mut String| {
            let is_wrapped = wraps && logical.is_some();
            out.push_str(if is_wrapped { "{\"type\":" } else { "" });
            quote(name, out);
            out.push_str(if is_wrapped { "}" } else { "" });
        };
        match self.get(id) {
            Type::Null => quote("null", out),
            Type::Boolean => quote("boolean", out),
            Type::Int(logical) => primitive("int", logical, out),
            Type::Long(logical) => primitive("long", logical, out),
            Type::Float => quote("float", out),
            Type::Double => quote("double", out),
            Type::Bytes(logical) => primitive("bytes", logical, out),
            Type::String(logical) => primitive("string", logical, out),
            Type::Fixed { name, size } => {
                begin(name, "fixed", out);
                // Writing to a String does not fail.
                let _ = write!(out, ",\"size\":{size}}}");
            }
            Type::Enum { name, symbols, .. } => {
                begin(name, "enum", out);
                out.push_str(",\"symbols\":[");
                for (at, symbol) in symbols.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    quote(symbol, out);
                }
                out.push_str("]}");
            }
            Type::Array(items) => {
                out.push_str("{\"type\":\"array\",\"items\":");
                self.write_canonical(*items, wraps, written, out);
                out.push('}');
            }
            Type::Map(values) => {
                out.push_str("{\"type\":\"map\",\"values\":");
                self.write_canonical(*values, wraps, written, out);
                out.push('}');
            }
            Type::Union(branches) => {
                out.push('[');
                for (at, branch) in branches.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    self.write_canonical(*branch, wraps, written, out);
                }
                out.push(']');
            }
            Type::Record { name, fields } => {
                begin(name, "record", out);
                out.push_str(",\"fields\":[");
                for (at, field) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { ",{\"name\":" } else { "{\"name\":" });
                    quote(&field.name, out);
                    out.push_str(",\"type\":");
                    self.write_canonical(field.of, wraps, written, out);
                    out.push('}');
                }
                out.push_str("]}");
            }
            Type::Unfinished => {}
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

fn begin(name: &Name, kind: &str, out: &mut String) {
    out.push_str("{\"name\":");
    quote(&name.full, out);
    out.push_str(",\"type\":");
    quote(kind, out);
}

const EMPTY: u64 = 0xC15D_213A_A4D7_A795;

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut value, mut bit) = (at as u64, 0);
        while bit < 8 {
            value = (value >> 1) ^ (EMPTY & (value & 1).wrapping_neg());
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

/// CRC-64-AVRO ("Schema Fingerprints").
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |print, byte| (print >> 8) ^ TABLE[usize::from(print as u8 ^ byte)])
}

struct Parser {
    types: Vec<Type>,
    named: HashMap<String, TypeId>,
}

impl Parser {
    fn add(&mut self, of: Type) -> Result<TypeId, String> {
        if self.types.len() >= MAX_TYPES {
            return Err(format!("it has more than {MAX_TYPES} types"));
        }
        self.types.push(of);
        Ok(self.types.len() - 1)
    }

    fn read(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<TypeId, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its types lie more than {MAX_DEPTH} deep in each other"));
        }
        match json {
            Value::String(name) => self.by_name(name, namespace, None),
            Value::Array(branches) => {
                let branches: Vec<TypeId> =
                    branches.iter().map(|branch| self.read(branch, namespace, depth + 1)).collect::<Result<_, _>>()?;
                if branches.is_empty() {
                    return Err("a union has no branch".to_owned());
                }
                if branches.iter().any(|branch| matches!(self.types[*branch], Type::Union(_))) {
                    return Err("a union stands in a union".to_owned());
                }
                self.add(Type::Union(branches))
            }
            Value::Object(members) => self.read_object(members, namespace, depth),
            other => Err(format!("{other} is no type")),
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str, logical: Logical) -> Result<TypeId, String> {
        let primitive = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int(logical),
            "long" => Type::Long(logical),
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes(logical),
            "string" => Type::String(logical),
            name => {
                let full = full_name(name, namespace);
                return self.named.get(&full).copied().ok_or_else(|| format!("no type is called {full:?}"));
            }
        };
        self.add(primitive)
    }

    fn read_object(&mut self, members: &Map<String, Value>, namespace: &str, depth: usize) -> Result<TypeId, String> {
        let inner = |name: &str| members.get(name).ok_or_else(|| format!("a type lacks `{name}`"));
        let kind = match inner("type")? {
            Value::String(kind) => kind.as_str(),
            other => return self.read(other, namespace, depth + 1),
        };
        match kind {
            "array" | "map" => {
                let of = self.read(inner(if kind == "array" { "items" } else { "values" })?, namespace, depth + 1)?;
                self.add(if kind == "array" { Type::Array(of) } else { Type::Map(of) })
            }
            "record" | "error" | "enum" | "fixed" => self.read_named(kind, members, namespace, depth),
            name => {
                let logical = members.get("logicalType").and_then(Value::as_str).map(str::to_owned);
                self.by_name(name, namespace, logical)
            }
        }
    }

    fn read_named(
        &mut self,
        kind: &str,
        members: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<TypeId, String> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let given = text("name").ok_or_else(|| format!("a type of kind {kind} has no name"))?;
        let full = full_name(given, text("namespace").unwrap_or(namespace));
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let aliases = texts(members.get("aliases")).into_iter().map(|alias| full_name(&alias, &namespace)).collect();
        let name = Name { full: full.clone(), aliases };
        let id = self.add(Type::Unfinished)?;
        if self.named.insert(full.clone(), id).is_some() {
            return Err(format!("two types are called {full:?}"));
        }
        self.types[id] = match kind {
            "enum" => {
                let symbols = texts(members.get("symbols"));
                if symbols.is_empty() {
                    return Err(format!("the enum {full} has no symbols"));
                }
                let place = |default: &str| symbols.iter().position(|symbol| symbol == default).map(|at| at as u32);
                let default = match text("default") {
                    Some(default) => {
                        Some(place(default).ok_or_else(|| format!("the default of {full} is none of its symbols"))?)
                    }
                    None => None,
                };
                Type::Enum { name, symbols, default }
            }
            "fixed" => {
                let size = members.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                Type::Fixed { name, size: size.ok_or_else(|| format!("{full} has no size"))? }
            }
            _ => {
                let listed = members.get("fields").and_then(Value::as_array);
                let listed = listed.ok_or_else(|| format!("the record {full} has no list of fields"))?;
                let fields = listed
                    .iter()
                    .map(|field| self.read_field(field, &full, &namespace, depth))
                    .collect::<Result<_, _>>();
                Type::Record { name, fields: fields? }
            }
        };
        Ok(id)
    }

    fn read_field(&mut self, json: &Value, record: &str, namespace: &str, depth: usize) -> Result<Field, String> {
        let name =
            json.get("name").and_then(Value::as_str).ok_or_else(|| format!("a field of {record} has no name"))?;
        let of = json.get("type").ok_or_else(|| format!("the field {name} of {record} has no type"))?;
        let of = self.read(of, namespace, depth + 1).map_err(|why| format!("{record}.{name}: {why}"))?;
        Ok(Field {
            name: name.to_owned(),
            aliases: texts(json.get("aliases")),
            of,
            default: json.get("default").map(Json::of),
        })
    }
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Schema {
        Schema::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Figures of Avro's own tests (`schema-tests.txt`).
    #[test]
    fn fingerprints_are_avros() {
        for (schema, print) in [
            (r#""null""#, 7_195_948_357_588_979_594),
            (r#""boolean""#, -6_970_731_678_124_411_036),
            (r#"{"name":"foo","type":"fixed","size":15}"#, 1_756_455_273_707_447_556),
        ] {
            assert_eq!(parsed(schema).fingerprint() as i64, print, "{schema}");
        }
    }

    #[test]
    fn the_canonical_form_has_full_names_and_nothing_that_bytes_do_not_depend_on() {
        let text = r#"{"type": "record", "doc": "words", "namespace": "a.b", "name": "R", "aliases": ["Q"], "fields": [
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0, "doc": "when"},
            {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["x", "y"], "default": "x"}},
            {"name": "again", "type": ["null", "E", {"type": "fixed", "size": 2, "name": "c.F"}]},
            {"name": "self", "type": {"type": "map", "values": {"type": "array", "items": "R"}}}
        ]}"#;
        let form = concat!(
            r#"{"name":"a.b.R","type":"record","fields":[{"name":"at","type":"long"},"#,
            r#"{"name":"e","type":{"name":"a.b.E","type":"enum","symbols":["x","y"]}},"#,
            r#"{"name":"again","type":["null","a.b.E",{"name":"c.F","type":"fixed","size":2}]},"#,
            r#"{"name":"self","type":{"type":"map","values":{"type":"array","items":"a.b.R"}}}]}"#
        );
        assert_eq!(parsed(text).canonical_form(), form);
        assert_eq!(parsed(form).fingerprint(), parsed(text).fingerprint());
    }

    #[test]
    fn what_is_no_schema_says_what_is_wrong_with_it() {
        let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(80), "}".repeat(80));
        for (text, says) in [
            ("{", "no JSON"),
            ("1", "1 is no type"),
            (r#""Nobody""#, "no type is called \"Nobody\""),
            ("[]", "no branch"),
            (r#"["null", ["int"]]"#, "in a union"),
            (r#"{"name": "x"}"#, "lacks `type`"),
            (r#"{"type": "array"}"#, "lacks `items`"),
            (r#"{"type": "record", "fields": []}"#, "no name"),
            (r#"{"type": "record", "name": "R"}"#, "no list of fields"),
            (r#"{"type": "record", "name": "R", "fields": [{"type": "int"}]}"#, "a field of R has no name"),
            (r#"{"type": "record", "name": "R", "fields": [{"name": "a"}]}"#, "the field a of R has no type"),
            (r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "x"}]}"#, "R.a: no type"),
            (r#"{"type": "enum", "name": "E", "symbols": []}"#, "no symbols"),
            (r#"{"type": "enum", "name": "E", "symbols": ["a"], "default": "b"}"#, "none of its symbols"),
            (r#"{"type": "fixed", "name": "F"}"#, "no size"),
            (r#"[{"type": "fixed", "name": "F", "size": 1}, {"type": "fixed", "name": "F", "size": 2}]"#, "two types"),
            (&*deep, "deep"),
        ] {
            let error = Schema::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
