//! The profile that our own producers of statements keep beside xAPI's rules, which leave much to the sender: a statement has an id,
//! version 1.0.3, a timestamp, an actor that says that it is an Agent, and a verb at an http or https address. Pure.

use lyceum_core::envelope::finding;
use lyceum_core::outcome::Finding;
use serde::Deserialize;
use serde_json::Value;

/// What the profile looks at; the rest is the validator's.
#[derive(Deserialize)]
struct Statement {
    id: Option<Value>,
    version: Option<Value>,
    timestamp: Option<Value>,
    actor: Option<Actor>,
    verb: Option<Verb>,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "objectType")]
    object_type: Option<Value>,
}

#[derive(Deserialize)]
struct Verb {
    id: Option<String>,
}

/// What a valid statement lacks. `pointer` is where it stands in the record's value.
pub fn judge(statement: &[u8], pointer: &str) -> Vec<Finding> {
    let Ok(of) = serde_json::from_slice::<Statement>(statement) else {
        return vec![finding("strict.statement", pointer, "the statement cannot be read as an object")];
    };
    let mut findings = Vec::new();
    let mut expect = |holds: bool, rule: &'static str, member: &str, message: &str| {
        if !holds {
            findings.push(finding(rule, &format!("{pointer}{member}"), message));
        }
    };
    expect(
        of.id.is_some(),
        "strict.id",
        "/id",
        "a statement of our own has an id: a UUID, made once and kept at resending",
    );
    let version = of.version.as_ref().and_then(Value::as_str);
    expect(version == Some("1.0.3"), "strict.version", "/version", "a statement of our own has \"version\": \"1.0.3\"");
    expect(of.timestamp.is_some(), "strict.timestamp", "/timestamp", "a statement of our own says when it happened");
    let object_type = of.actor.as_ref().and_then(|of| of.object_type.as_ref()).and_then(Value::as_str);
    let message = "the actor of a statement of our own has \"objectType\": \"Agent\"";
    expect(object_type == Some("Agent"), "strict.actor", "/actor/objectType", message);
    let verb = of.verb.as_ref().and_then(|of| of.id.as_deref()).unwrap_or_default().to_ascii_lowercase();
    let is_address = ["http://", "https://"].iter().any(|scheme| verb.len() > scheme.len() && verb.starts_with(scheme));
    expect(is_address, "strict.verb", "/verb/id", "the verb of a statement of our own is an http or https address");
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Value {
        json!({
            "id": "00000000-0000-4000-8000-000000000001", "version": "1.0.3", "timestamp": "2026-03-01T09:00:00Z",
            "actor": {"objectType": "Agent", "mbox": "mailto:ada@example.com"},
            "verb": {"id": "https://example.com/did"}, "object": {"id": "http://example.com/it"},
        })
    }

    fn rules(statement: &Value) -> Vec<String> {
        judge(statement.to_string().as_bytes(), "").into_iter().map(|of| of.rule.into_owned()).collect()
    }

    #[test]
    fn a_statement_with_all_of_it_is_fine() {
        assert_eq!(rules(&whole()), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_missing_or_another_is_a_finding_of_its_own() {
        for (pointer, wrong, rule) in [
            ("/id", None, "strict.id"),
            ("/version", None, "strict.version"),
            ("/version", Some(json!("1.0.2")), "strict.version"),
            ("/timestamp", None, "strict.timestamp"),
            ("/actor/objectType", None, "strict.actor"),
            ("/actor/objectType", Some(json!("Group")), "strict.actor"),
            ("/verb/id", Some(json!("urn:did")), "strict.verb"),
            ("/verb/id", Some(json!("https://")), "strict.verb"),
        ] {
            let mut statement = whole();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = statement.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.remove(name);
            parent.extend(wrong.clone().map(|wrong| (name.to_owned(), wrong)));
            assert_eq!(rules(&statement), [rule], "{pointer} {wrong:?}");
            assert_eq!(
                judge(statement.to_string().as_bytes(), "/xapi_data")[0].pointer,
                format!("/xapi_data{pointer}")
            );
        }
    }

    #[test]
    fn what_is_no_statement_at_all_lacks_everything_or_cannot_be_read() {
        assert_eq!(rules(&json!({})).len(), 5);
        assert_eq!(rules(&json!([1])).len(), 1);
    }
}
