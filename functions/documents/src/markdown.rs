//! What people read of the catalog: parts of `docs/events.md`.

use std::fmt::Write;

use lyceum_core::payload::Criticality;
use lyceum_functions::functions;

use crate::asyncapi::what_it_does;
use crate::{Event, events, schema, snippets, topics};

/// Who reads which topic and writes to which, as a graph of mermaid.
pub fn graph() -> String {
    let mut graph = String::from("```mermaid\nflowchart LR\n");
    let mut line = |text: String| {
        let _ = writeln!(graph, "    {text}");
    };
    for (_, topic) in topics() {
        line(format!("{}([{}])", node("t", topic.name), topic.name));
    }
    for subscription in functions().map(|function| function.subscription) {
        let name = node("s", subscription.name);
        line(format!("{name}[{}]", subscription.name));
        for topic in subscription.topics().filter(|of| topics().any(|(_, topic)| topic.name == *of)) {
            line(format!("{} --> {name}", node("t", topic)));
        }
        for topic in subscription.publishes {
            line(format!("{name} -.-> {}", node("t", topic)));
        }
    }
    graph.push_str("```\n");
    graph
}

fn node(kind: &str, name: &str) -> String {
    format!("{kind}_{}", name.replace(|of: char| !of.is_ascii_alphanumeric(), "_"))
}

/// What each word for a criticality means.
pub fn criticalities() -> String {
    let rows = Criticality::ALL.iter().rev().map(|of| format!("| {} | {} |\n", of.name(), of.meaning()));
    format!("| criticality | means: where one is late or lost |\n|---|---|\n{}", rows.collect::<String>())
}

/// Every event type: purpose, who reads it, fields, an example, and how it is published.
pub fn sections() -> String {
    let mut text = String::new();
    let mut family = "";
    for event in events() {
        if event.family.name != family {
            family = event.family.name;
            let _ = writeln!(text, "### Family {family}\n");
        }
        section(&mut text, &event);
    }
    text
}

fn section(text: &mut String, event: &Event) {
    let Event { name, topic, payload, .. } = event;
    let consumers: Vec<String> = event.consumers().map(|of| format!("`{}` ({})", of.name, what_it_does(of))).collect();
    let publishers: Vec<String> = event.publishers().map(|of| format!("`{}`", of.name)).collect();
    let mut put = |part: String| text.push_str(&part);
    put(format!("#### {name}\n\n{}\n\n", payload.purpose));
    put(format!(
        "- On `{}`, keyed by the {}; criticality **{}**; [schema](../events/schemas/{name}.json).\n",
        topic.name,
        topic.key,
        payload.criticality.name()
    ));
    put(format!("- Effect: {}.\n", event.event_type.map_or("stored for search and analytics", |of| of.effect)));
    put(format!("- Read by {}", consumers.join(", ")));
    put(match publishers.as_slice() {
        [] => ".\n".to_owned(),
        some => format!("; on this topic also publishes {}.\n", some.join(", ")),
    });
    put("\n".to_owned());
    if payload.fields.is_empty() {
        put("It needs no field beside what its form asks for.\n\n".to_owned());
    } else {
        put("| field | where | holds | required | means |\n|---|---|---|---|---|\n".to_owned());
        for field in payload.fields {
            let (place, required) = (schema::place(event.form, field), field.presence.words());
            put(format!(
                "| `{}` | `{place}` | {} | {required} | {} |\n",
                field.name,
                schema::words(field.kind),
                field.about
            ));
        }
        put("\n".to_owned());
    }
    put("<details><summary>An example, and how to publish it</summary>\n\n".to_owned());
    let example = event.example_text().unwrap_or_default();
    put(format!("`event.json`:\n\n```json\n{}\n```\n\n", lay_out(example)));
    put(format!("```bash\n{}```\n\n", snippets::curl(topic)));
    put(format!("```python\n{}```\n\n", snippets::python(topic)));
    put(format!("```rust\n{}```\n\n", snippets::rust(topic)));
    put("</details>\n\n".to_owned());
}

/// JSON a member a line, in the order in which it was written; what is there in several lines stays as it is.
pub fn lay_out(json: &str) -> String {
    let json = json.trim();
    if json.contains('\n') {
        return json.to_owned();
    }
    let (mut text, mut depth, mut is_text, mut is_escaped) = (String::new(), 0_usize, false, false);
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        if is_text {
            text.push(letter);
            is_text = is_escaped || letter != '"';
            is_escaped = !is_escaped && letter == '\\';
            continue;
        }
        let broken = |depth: usize| format!("\n{}", "  ".repeat(depth));
        match letter {
            '"' => {
                text.push(letter);
                is_text = true;
            }
            '{' | '[' => {
                text.push(letter);
                while letters.next_if(|next| next.is_whitespace()).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    text.push_str(&broken(depth));
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                text.push_str(&broken(depth));
                text.push(letter);
            }
            ',' => {
                text.push(letter);
                text.push_str(&broken(depth));
            }
            ':' => text.push_str(": "),
            _ if letter.is_whitespace() => {}
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn json_is_laid_out_in_its_own_order_and_says_the_same() {
        let json = r#"{"b": [1, {"c": "x, \"y\": {"}], "a": {}, "d": [ ], "e": "\\"}"#;
        let laid_out = lay_out(json);
        assert_eq!(
            laid_out,
            "{\n  \"b\": [\n    1,\n    {\n      \"c\": \"x, \\\"y\\\": {\"\n    }\n  ],\n  \"a\": {},\n  \"d\": [],\n  \"e\": \"\\\\\"\n}"
        );
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("it is JSON");
        assert_eq!(read(&laid_out), read(json));
        assert_eq!(lay_out("{\n\"a\":1}\n"), "{\n\"a\":1}");
    }

    #[test]
    fn every_event_type_has_an_example_and_somebody_who_reads_it() {
        for event in events() {
            assert!(event.example_text().is_some(), "{} has no example", event.name);
            assert!(event.consumers().next().is_some(), "nobody reads {}", event.name);
        }
    }
}
