//! Statements made from others by setting and removing values.

use lyceum_xapi::{Limits, Verdict, validate};
use serde_json::{Value, json};

/// A pointer into a statement and the JSON to put there; the empty text removes the value.
pub(crate) type Edit = (&'static str, &'static str);

/// The smallest statement that has everything.
pub(crate) fn base() -> Value {
    json!({
        "actor": {"mbox": "mailto:ada@example.org"},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/attempted"},
        "object": {"id": "https://lms.example.org/quiz/1"}
    })
}

/// Applies the edits in their order; objects on the way are made.
pub(crate) fn edit(statement: &mut Value, edits: &[Edit]) {
    for (pointer, text) in edits {
        let (parents, key) = pointer.rsplit_once('/').expect("a pointer into the statement");
        let mut parent = &mut *statement;
        for step in parents.split('/').skip(1) {
            if !parent.is_object() {
                *parent = json!({});
            }
            parent = parent.as_object_mut().unwrap().entry(step).or_insert_with(|| json!({}));
        }
        if !parent.is_object() {
            *parent = json!({});
        }
        let parent = parent.as_object_mut().unwrap();
        if text.is_empty() {
            parent.remove(key);
        } else {
            parent.insert((*key).into(), serde_json::from_str(text).expect(text));
        }
    }
}

/// The text of the smallest statement with the edits applied.
pub(crate) fn edited(edits: &[Edit]) -> String {
    let mut statement = base();
    edit(&mut statement, edits);
    statement.to_string()
}

/// By the version that the statement states.
pub(crate) fn judge(text: &str) -> Verdict<'_> {
    validate(text.as_bytes(), None, &Limits::default())
}

/// Rule and pointer of every violation.
pub(crate) fn findings(text: &str) -> Vec<(&'static str, String)> {
    judge(text).violations.into_iter().map(|violation| (violation.rule, violation.pointer)).collect()
}
