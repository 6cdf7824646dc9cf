//! An event in JSON, as an event source mapping decodes it or a person writes it, read by the reader's schema into the same types as
//! the binary encoding. A union is `{"string": "x"}`, as Avro writes it, or plain. Everything that is wrong is found: where a value
//! is missing or no one of its type, another stands for it, and reading goes on.
//!
//! Source: Apache Avro 1.12 specification, "JSON Encoding".

use std::borrow::Cow;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Schema, Type, TypeId};
use super::seen::{Path, Seen, Stop, Variant};
use super::value::Json;

/// The value that is read next, by its type in the schema; none: one of that type that says nothing, since the event has none.
pub(super) struct JsonAt<'v, 'a, 's> {
    pub(super) value: Option<&'v Json<'a>>,
    pub(super) schema: &'s Schema,
    pub(super) of: TypeId,
    pub(super) path: &'v Path<'v>,
    pub(super) seen: &'v mut Seen,
}

impl<'v, 'a, 's> JsonAt<'v, 'a, 's> {
    /// Notes that it is no value of its type.
    fn wrong(&mut self) {
        if let Some(value) = self.value {
            let message = format!("expected {}, found {}", self.schema.told(self.of), value.told());
            self.seen.note("field.type", self.path, message);
        }
    }

    fn whole(&mut self, least: i64, most: i64) -> i64 {
        match self.value {
            Some(Json::Whole(number)) if (least..=most).contains(number) => return *number,
            _ => self.wrong(),
        }
        0
    }

    fn number(&mut self) -> f64 {
        match self.value {
            Some(Json::Number(number)) => return *number,
            Some(Json::Whole(number)) => return *number as f64,
            _ => self.wrong(),
        }
        0.0
    }

    /// The text, borrowed where it may be.
    fn text(&mut self) -> Option<&'v Cow<'a, str>> {
        match self.value {
            Some(Json::Text(text)) => return Some(text),
            _ => self.wrong(),
        }
        None
    }

    /// Avro's bytes in JSON: a text of the characters 0 to 255.
    fn bytes(&mut self) -> Vec<u8> {
        let Some(text) = self.text() else { return Vec::new() };
        let bytes: Result<Vec<u8>, _> = text.chars().map(|character| u8::try_from(u32::from(character))).collect();
        // A person's text, or that of a writer whose schema has a string there.
        bytes.unwrap_or_else(|_| text.as_bytes().to_vec())
    }

    fn symbol(&mut self, symbols: &[String], default: Option<u32>) -> u32 {
        let (value, text) = match self.value {
            None => return 0,
            Some(value @ Json::Text(text)) => (value, text),
            Some(_) => {
                self.wrong();
                return 0;
            }
        };
        // An event type has dots where a symbol may have none.
        let is_it = |symbol: &String| {
            symbol.len() == text.len()
                && symbol.bytes().zip(text.bytes()).all(|(a, b)| a == b || (a, b) == (b'_', b'.'))
        };
        if let Some(at) = symbols.iter().position(is_it) {
            return at as u32;
        }
        if let Some(default) = default {
            self.seen.unknown_symbol = Some((self.path.pointer(), text.to_string()));
            return default;
        }
        let message = format!("expected one of {}, found {}", symbols.join(", "), value.told());
        self.seen.note("field.type", self.path, message);
        0
    }

    /// The branch of a union, and the value in it.
    fn into_branch(mut self, branches: &[TypeId]) -> (u32, Self) {
        let chosen = self.value.map(|value| {
            self.named_branch(branches, value)
                .or_else(|| Some((self.payload_branch(branches, value)?, value)))
                .or_else(|| Some((self.plain_branch(branches, value)?, value)))
        });
        let (at, value) = match chosen {
            None => (0, None),
            Some(Some((at, value))) => (at, Some(value)),
            Some(None) => {
                self.wrong();
                (0, None)
            }
        };
        (at as u32, Self { value, of: branches[at], ..self })
    }

    /// `{"string": "x"}`
    fn named_branch(&self, branches: &[TypeId], value: &'v Json<'a>) -> Option<(usize, &'v Json<'a>)> {
        let Json::Object(members) = value else { return None };
        let [(name, inner)] = members.as_slice() else { return None };
        let at = branches.iter().position(|branch| self.schema.is_called(*branch, name))?;
        Some((at, inner))
    }

    /// The branch of the payload by the type of the event.
    fn payload_branch(&self, branches: &[TypeId], value: &Json<'_>) -> Option<usize> {
        let is_payload = matches!(self.path, Path::Member(Path::Whole, "payload")) && matches!(value, Json::Object(_));
        self.seen.payload_branch.filter(|at| is_payload && *at < branches.len())
    }

    /// The branch that the value looks like: of records the one of whose fields it has most, of several that of which it lacks none.
    fn plain_branch(&self, branches: &[TypeId], value: &Json<'_>) -> Option<usize> {
        let fit = |of: &TypeId| match (self.schema.get(*of), value) {
            (Type::Null, Json::Null)
            | (Type::Boolean, Json::Boolean(_))
            | (Type::Int(_) | Type::Long(_), Json::Whole(_))
            | (Type::Float | Type::Double, Json::Whole(_) | Json::Number(_))
            | (Type::String(_) | Type::Bytes(_) | Type::Enum { .. } | Type::Fixed { .. }, Json::Text(_))
            | (Type::Array(_), Json::List(_))
            | (Type::Map(_), Json::Object(_)) => Some((1, true)),
            (Type::Record { fields, .. }, Json::Object(_)) => {
                let has = |field: &&Field| member_of(value, field).is_some();
                let is_whole = fields.iter().filter(|field| field.default.is_none()).all(|field| has(&field));
                Some((fields.iter().filter(has).count(), is_whole))
            }
            _ => None,
        };
        let fits = branches.iter().enumerate().filter_map(|(at, of)| Some((fit(of)?, std::cmp::Reverse(at))));
        fits.max().map(|(_, std::cmp::Reverse(at))| at)
    }
}

/// What an object has of a field, under its name or another one that it had.
fn member_of<'v, 'a>(value: &'v Json<'a>, field: &Field) -> Option<&'v Json<'a>> {
    value.member(&field.name).or_else(|| field.aliases.iter().find_map(|alias| value.member(alias)))
}

impl<'a> de::Deserializer<'a> for JsonAt<'_, 'a, '_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'a>>(mut self, visitor: V) -> Result<V::Value, Stop> {
        match self.schema.get(self.of) {
            Type::Null => {
                if !matches!(self.value, None | Some(Json::Null)) {
                    self.wrong();
                }
                visitor.visit_unit()
            }
            Type::Boolean => match self.value {
                Some(Json::Boolean(is)) => visitor.visit_bool(*is),
                _ => {
                    self.wrong();
                    visitor.visit_bool(false)
                }
            },
            Type::Int(_) => visitor.visit_i64(self.whole(i32::MIN.into(), i32::MAX.into())),
            Type::Long(_) => visitor.visit_i64(self.whole(i64::MIN, i64::MAX)),
            Type::Float | Type::Double => visitor.visit_f64(self.number()),
            Type::String(_) => match self.text() {
                Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
                Some(Cow::Owned(text)) => visitor.visit_str(text),
                None => visitor.visit_borrowed_str(""),
            },
            Type::Bytes(_) => visitor.visit_byte_buf(self.bytes()),
            Type::Fixed { size, .. } => {
                let bytes = self.bytes();
                if bytes.len() != *size {
                    self.wrong();
                }
                visitor.visit_byte_buf(bytes)
            }
            Type::Enum { symbols, default, .. } => visitor.visit_u32(self.symbol(symbols, *default)),
            Type::Array(of) => {
                let list = match self.value {
                    Some(Json::List(items)) => items.as_slice(),
                    _ => {
                        self.wrong();
                        &[]
                    }
                };
                visitor.visit_seq(Items { at: self, of: *of, left: list.iter().enumerate() })
            }
            Type::Map(of) => {
                let members = match self.value {
                    Some(Json::Object(members)) => members.as_slice(),
                    _ => {
                        self.wrong();
                        &[]
                    }
                };
                visitor.visit_map(Members { at: self, of: *of, left: members.iter(), current: None })
            }
            Type::Record { fields, .. } => {
                if !matches!(self.value, None | Some(Json::Object(_))) {
                    self.wrong();
                    self.value = None;
                }
                visitor.visit_map(Fields { at: self, left: fields.iter().enumerate(), current: None })
            }
            Type::Union(branches) => self.into_branch(branches).1.deserialize_any(visitor),
            Type::Unfinished => Err(de::Error::custom("the schema cannot be read")),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Stop> {
        let inner = match self.schema.get(self.of) {
            Type::Union(branches) => self.into_branch(branches).1,
            _ => self,
        };
        match inner.schema.get(inner.of) {
            Type::Null => visitor.visit_none(),
            _ => visitor.visit_some(inner),
        }
    }

    fn deserialize_enum<V: Visitor<'a>>(
        mut self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.schema.get(self.of) {
            Type::Union(branches) => {
                let (at, inner) = self.into_branch(branches);
                visitor.visit_enum(Variant { at, inner: Some(inner) })
            }
            Type::Enum { symbols, default, .. } => {
                let at = self.symbol(symbols, *default);
                visitor.visit_enum(Variant::<Self> { at, inner: None })
            }
            _ => Err(de::Error::custom("a union or an enum is read of something else")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Fields<'v, 'a, 's> {
    at: JsonAt<'v, 'a, 's>,
    left: std::iter::Enumerate<std::slice::Iter<'s, Field>>,
    current: Option<&'s Field>,
}

impl<'a> MapAccess<'a> for Fields<'_, 'a, '_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some((place, field)) = self.left.next() else { return Ok(None) };
        self.current = Some(field);
        let place: U32Deserializer<Stop> = (place as u32).into_deserializer();
        seed.deserialize(place).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Some(field) = self.current.take() else { return Err(de::Error::custom("a value without a field")) };
        let JsonAt { value: object, schema, path, seen, .. } = &mut self.at;
        let (schema, path) = (*schema, Path::Member(path, &field.name));
        let given = object.and_then(|object| member_of(object, field));
        match (given, &field.default) {
            (Some(_), _) => seed.deserialize(JsonAt { value: given, schema, of: field.of, path: &path, seen }),
            (None, Some(default)) => {
                seed.deserialize(JsonAt { value: Some(default), schema, of: field.of, path: &path, seen })
            }
            (None, None) => {
                // Of an object that is missing itself nothing more is said.
                if object.is_some() {
                    let message = format!("expected {}, and it is missing", schema.told(field.of));
                    seen.note("field.required", &path, message);
                }
                seed.deserialize(JsonAt { value: None, schema, of: field.of, path: &path, seen })
            }
        }
    }
}

struct Items<'v, 'a, 's> {
    at: JsonAt<'v, 'a, 's>,
    of: TypeId,
    left: std::iter::Enumerate<std::slice::Iter<'v, Json<'a>>>,
}

impl<'a> SeqAccess<'a> for Items<'_, 'a, '_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        let Some((at, value)) = self.left.next() else { return Ok(None) };
        let JsonAt { schema, path, seen, .. } = &mut self.at;
        let path = Path::Item(path, at);
        seed.deserialize(JsonAt { value: Some(value), schema, of: self.of, path: &path, seen }).map(Some)
    }
}

struct Members<'v, 'a, 's> {
    at: JsonAt<'v, 'a, 's>,
    of: TypeId,
    left: std::slice::Iter<'v, (Cow<'a, str>, Json<'a>)>,
    current: Option<&'v (Cow<'a, str>, Json<'a>)>,
}

impl<'a> MapAccess<'a> for Members<'_, 'a, '_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.current = self.left.next();
        let Some((name, _)) = self.current else { return Ok(None) };
        let name: de::value::StrDeserializer<'_, Stop> = (&**name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Some((name, value)) = self.current.take() else {
            return Err(de::Error::custom("a value without a name"));
        };
        let JsonAt { schema, path, seen, .. } = &mut self.at;
        let path = Path::Member(path, name);
        seed.deserialize(JsonAt { value: Some(value), schema, of: self.of, path: &path, seen })
    }
}
