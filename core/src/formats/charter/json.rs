//! A value of JSON as it is read of an envelope: a name that an object has twice is noticed, and so is a name by which a secret is sent.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What was read, and what was noticed meanwhile, by JSON pointers.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) value: Value,
    pub(super) duplicates: Vec<String>,
    pub(super) secrets: Vec<String>,
}

/// Reads a text that is one value of JSON.
pub(super) fn read(text: &[u8]) -> serde_json::Result<Read> {
    let mut noticed = Noticed::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Node(&mut noticed).deserialize(&mut deserializer)?;
    deserializer.end()?;
    let Noticed { duplicates, secrets, .. } = noticed;
    Ok(Read { value, duplicates, secrets })
}

/// Whether a member of that name holds a secret by its name alone: a token as it is, and not what is said of one (`token_fingerprint`,
/// `token_count`).
fn names_a_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(|of| of.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ["token", "secret", "password", "authorization"].iter().any(|ending| plain.ends_with(ending))
}

#[derive(Default)]
struct Noticed {
    pointer: String,
    duplicates: Vec<String>,
    secrets: Vec<String>,
}

struct Node<'n>(&'n mut Noticed);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Noticed {
    /// Reads what stands in the value under that name or place.
    fn within<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let of = read(self);
        self.pointer.truncate(before);
        of
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) =
            self.0.within(&elements.len().to_string(), |noticed| array.next_element_seed(Node(noticed)))?
        {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = self.0.within(&name, |noticed| -> Result<Value, A::Error> {
                let value = object.next_value_seed(Node(&mut *noticed))?;
                if members.contains_key(&name) {
                    noticed.duplicates.push(noticed.pointer.clone());
                }
                if names_a_secret(&name) && !matches!(value, Value::Null | Value::Bool(_)) {
                    noticed.secrets.push(noticed.pointer.clone());
                }
                Ok(value)
            })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

/// Writes a value so that two that say the same are the same bytes: members by name, a whole number without a fraction.
pub(super) fn write_canonical(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            to.push(b'{');
            for (place, (name, value)) in members.into_iter().enumerate() {
                if place > 0 {
                    to.push(b',');
                }
                write_text(name, to);
                to.push(b':');
                write_canonical(value, to);
            }
            to.push(b'}');
        }
        Value::Array(elements) => {
            to.push(b'[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    to.push(b',');
                }
                write_canonical(element, to);
            }
            to.push(b']');
        }
        Value::Number(number) => to.extend_from_slice(plain(number).as_bytes()),
        Value::String(text) => write_text(text, to),
        Value::Bool(_) | Value::Null => to.extend_from_slice(value.to_string().as_bytes()),
    }
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(Value::from(text).to_string().as_bytes());
}

/// Up to here every whole number is one that a double holds.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(of) if !number.is_i64() && !number.is_u64() && of.fract() == 0.0 && of.abs() <= LARGEST_WHOLE => {
            (of as i64).to_string()
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut bytes = Vec::new();
        write_canonical(&read(text.as_bytes()).unwrap().value, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_value_is_read_as_it_stands() {
        let text = r#" {"a": [1, -2, 0.5, "x\n", true, null], "b": {}} "#;
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.value, serde_json::from_str::<Value>(text).unwrap());
        assert!(read.duplicates.is_empty() && read.secrets.is_empty());
    }

    #[test]
    fn what_is_no_json_is_refused_and_so_is_what_stands_behind_it() {
        for text in ["", "{", "{} {}", "{\"a\": 01}", "\u{feff}{}", &"[".repeat(200)] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_name_that_comes_twice_is_noticed_where_it_stands_however_it_is_escaped() {
        let read = read(br#"{"a": 1, "b": [{"c/d": 1, "c\/d": 2}], "\u0061": 2}"#).unwrap();
        assert_eq!(read.duplicates, ["/b/0/c~1d", "/a"]);
    }

    #[test]
    fn a_secret_is_noticed_by_its_name_also_where_the_name_comes_again() {
        let read = read(
            br#"{"token": "x", "token": null, "in": [{"approvalToken": ["x"], "CLIENT-SECRET": 7}],
                "token_fingerprint": "x", "token_count": 3, "tokens": 3, "has_token": true}"#,
        )
        .unwrap();
        assert_eq!(read.secrets, ["/token", "/in/0/approvalToken", "/in/0/CLIENT-SECRET"]);
    }

    #[test]
    fn two_texts_that_say_the_same_have_one_canonical_form() {
        assert_eq!(canonical(r#"{"b": 1.0, "a": "\u00e9", "c": [1e2, -0.5]}"#), r#"{"a":"é","b":1,"c":[100,-0.5]}"#);
        assert_eq!(canonical("18446744073709551615"), "18446744073709551615");
        assert_ne!(canonical("[1, 2]"), canonical("[2, 1]"));
    }
}
