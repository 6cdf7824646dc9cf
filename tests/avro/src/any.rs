//! A value of any schema, as reading gives it, and whether apache-avro's is the same.

use std::fmt;

use apache_avro::types::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What was read. A union is what stands in it, an enum the place of its symbol.
#[derive(Clone, Debug)]
pub(crate) enum Any {
    Null,
    Boolean(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    /// The items of a map by their texts, the fields of a record by their places.
    Members(Vec<(Self, Self)>),
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Any;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Any, E> {
                Ok(Any::Null)
            }

            fn visit_bool<E>(self, is: bool) -> Result<Any, E> {
                Ok(Any::Boolean(is))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Any, E> {
                Ok(Any::Whole(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Any, E> {
                Ok(Any::Whole(number as i64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Any, E> {
                Ok(Any::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Any, E> {
                Ok(Any::Text(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Any, E> {
                Ok(Any::Bytes(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Any, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Any::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Any, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = members.next_entry()? {
                    items.push(item);
                }
                Ok(Any::Members(items))
            }
        }

        deserializer.deserialize_any(Reading)
    }
}

impl Any {
    /// Whether apache-avro says the same.
    pub(crate) fn is(&self, other: &Value) -> bool {
        match (self, other) {
            (own, Value::Union(_, inner)) => own.is(inner),
            (Self::Null, Value::Null) => true,
            (Self::Boolean(own), Value::Boolean(other)) => own == other,
            (Self::Whole(own), Value::Int(other)) => *own == i64::from(*other),
            (Self::Whole(own), Value::Long(other) | Value::TimestampMillis(other)) => own == other,
            (Self::Whole(own), Value::Enum(other, _)) => *own == i64::from(*other),
            // A float is given as the double of the same value, and a long as the nearest double, not float.
            (Self::Number(own), Value::Float(other)) => {
                let own = *own as f32;
                own.to_bits() == other.to_bits()
                    || own.is_nan() && other.is_nan()
                    || (own - other).abs() <= own.abs() * f32::EPSILON
            }
            (Self::Number(own), Value::Double(other)) => {
                own.to_bits() == other.to_bits() || own.is_nan() && other.is_nan()
            }
            (Self::Text(own), Value::String(other)) => own == other,
            (Self::Text(own), Value::Uuid(other)) => own.parse().is_ok_and(|own: uuid::Uuid| own == *other),
            (Self::Bytes(own), Value::Bytes(other) | Value::Fixed(_, other)) => own == other,
            (Self::List(own), Value::Array(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.is(other))
            }
            (Self::Members(own), Value::Map(other)) => {
                // Of items of one name both keep the last.
                let last = |name: &str| {
                    let is_it = |(of, _): &&(Self, Self)| matches!(of, Self::Text(of) if of == name);
                    own.iter().rfind(is_it).map(|(_, value)| value)
                };
                own.iter().all(|(name, _)| matches!(name, Self::Text(name) if other.contains_key(name)))
                    && other.iter().all(|(name, value)| last(name).is_some_and(|own| own.is(value)))
            }
            (Self::Members(own), Value::Record(other)) => {
                let field = |at: &Self| match at {
                    Self::Whole(at) => other.get(usize::try_from(*at).ok()?),
                    _ => None,
                };
                own.len() == other.len()
                    && own.iter().all(|(at, own)| field(at).is_some_and(|(_, value)| own.is(value)))
            }
            _ => false,
        }
    }
}
