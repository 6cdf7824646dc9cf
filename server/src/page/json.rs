//! A record's value for reading: JSON with one member a line, in the sender's order and with the sender's numbers, and
//! with the values marked that broke a rule.

use std::collections::BTreeSet;
use std::fmt;

use maud::{Markup, html};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep the layout goes; what is deeper stands on one line.
const DEPTH: usize = 48;
/// What is longer is cut.
const LIMIT_BYTES: usize = 128 * 1024;
/// How much is shown of a value that is no text.
const HEX_BYTES: usize = 512;

/// The value as a preformatted block. `pointers` are JSON pointers (RFC 6901).
pub(super) fn render(value: &[u8], pointers: &BTreeSet<&str>) -> Markup {
    let Ok(text) = std::str::from_utf8(value) else {
        return html! {
            p { (value.len()) " bytes that are no text; the first " (value.len().min(HEX_BYTES)) " in hexadecimal:" }
            pre tabindex="0" { (hex(&value[..value.len().min(HEX_BYTES)])) }
        };
    };
    if text.len() > LIMIT_BYTES {
        let end = text.floor_char_boundary(LIMIT_BYTES);
        return html! {
            p { (value.len()) " bytes; the first " (end) " as they were sent:" }
            pre tabindex="0" { (text[..end]) }
        };
    }
    let Ok(json) = serde_json::from_str::<&RawValue>(text) else {
        return html! { p { "This is no JSON. As it was sent:" } pre tabindex="0" { (text) } };
    };
    let mut lines = Vec::new();
    lay_out(json.get(), &mut Line { indent: 0, pointer: String::new(), label: String::new() }, "", &mut lines);
    html! {
        pre.json tabindex="0" {
            @for (pointer, line) in lines {
                @if pointer.as_deref().is_some_and(|pointer| pointers.contains(pointer)) { mark { (line) } } @else { (line) }
                "\n"
            }
        }
    }
}

struct Line {
    indent: usize,
    pointer: String,
    label: String,
}

/// Writes one value as lines; the first carries its pointer, a closing bracket none.
fn lay_out(raw: &str, at: &mut Line, tail: &str, lines: &mut Vec<(Option<String>, String)>) {
    let Line { indent, pointer, label } = at;
    let pad = "  ".repeat(*indent);
    let (open, children, close) = match read_children(raw).filter(|_| *indent < DEPTH) {
        Some(Children::Members(members)) => {
            let child = |(name, raw): (String, &'_ RawValue)| {
                let step = name.replace('~', "~0").replace('/', "~1");
                (step, format!("{}: ", serde_json::Value::from(name)), raw.get().to_owned())
            };
            ("{", members.0.into_iter().map(child).collect::<Vec<_>>(), "}")
        }
        Some(Children::Items(items)) => {
            let child = |(index, raw): (usize, &&RawValue)| (index.to_string(), String::new(), raw.get().to_owned());
            ("[", items.iter().enumerate().map(child).collect(), "]")
        }
        None => return lines.push((Some(pointer.clone()), format!("{pad}{label}{raw}{tail}"))),
    };
    lines.push((Some(pointer.clone()), format!("{pad}{label}{open}")));
    let last = children.len() - 1;
    for (index, (step, label, raw)) in children.into_iter().enumerate() {
        let mut child = Line { indent: *indent + 1, pointer: format!("{pointer}/{step}"), label };
        lay_out(&raw, &mut child, if index < last { "," } else { "" }, lines);
    }
    lines.push((None, format!("{pad}{close}{tail}")));
}

enum Children<'a> {
    Members(Members<'a>),
    Items(Vec<&'a RawValue>),
}

/// The parts of an object or array that has any.
fn read_children(raw: &str) -> Option<Children<'_>> {
    let children = match raw.as_bytes().first()? {
        b'{' => serde_json::from_str(raw).ok().map(Children::Members),
        b'[' => serde_json::from_str(raw).ok().map(Children::Items),
        _ => None,
    }?;
    let is_empty = match &children {
        Children::Members(members) => members.0.is_empty(),
        Children::Items(items) => items.is_empty(),
    };
    (!is_empty).then_some(children)
}

/// An object's members in their order, repeated names included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_numbers_and_repeated_names_stay_and_what_is_wrong_is_marked() {
        let value = br#"{"b": 1.00, "a/b": [true, {}], "b": "<i>"}"#;
        let html = render(value, &BTreeSet::from(["/a~1b/0"])).into_string();
        let wanted = "<pre class=\"json\" tabindex=\"0\">{\n  &quot;b&quot;: 1.00,\n  &quot;a/b&quot;: [\n<mark>    true,</mark>\n    {}\n  ],\n  &quot;b&quot;: &quot;&lt;i&gt;&quot;\n}\n</pre>";
        assert_eq!(html, wanted);
    }

    #[test]
    fn nesting_without_end_is_no_danger() {
        let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
        let html = render(deep.as_bytes(), &BTreeSet::new()).into_string();
        assert_eq!(html.lines().count(), 2 * DEPTH + 2);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        assert!(
            render(b"<script>", &BTreeSet::new()).into_string().contains("<pre tabindex=\"0\">&lt;script&gt;</pre>")
        );
        assert!(render(&[0xff, 0x00], &BTreeSet::new()).into_string().contains("ff 00"));
        let long = "x".repeat(LIMIT_BYTES + 1);
        assert!(render(long.as_bytes(), &BTreeSet::new()).into_string().contains("131073 bytes"));
    }
}
