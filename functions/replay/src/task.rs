//! What the function is asked for, and what is left of it: pure.
//!
//! A task is done in parts, each shorter than an invocation. What a part answers has the task of the next one, so that whoever asks goes on
//! with it until there is none: nothing is kept in the function, and a task that was cut off goes on from the last answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Make dead letters of what AWS Lambda gave up.
    Import(Import),
    /// Send dead letters again: the body of `POST /api/dead-letters/replay`, without `wait`.
    Redrive(Map<String, Value>),
}

/// Objects of the bucket of what was given up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Each as Step Functions lists it.
    pub objects: Vec<Object>,
}

/// One object; what a listing has beside its key is no matter here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Object {
    /// Its key.
    #[serde(rename = "Key")]
    pub key: String,
}

/// What came of a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Done {
    /// Whether there is nothing left.
    pub is_done: bool,
    /// Numbers over this part.
    pub counts: Counts,
    /// What could not be done, and why: the first hundred.
    pub refused: Vec<String>,
    /// What is left, to be asked for next; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Task>,
}

/// Numbers over a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Dead letters that were written.
    pub letters: u64,
    /// Records that had one, and those whose event was applied by another delivery.
    pub known: u64,
    /// Letters that were sent again.
    pub sent: u64,
    /// Letters that match and stay, because they are parked.
    pub parked: u64,
    /// What could not be done.
    pub refused: u64,
}

/// So many reasons are told.
const REASONS: usize = 100;

impl Done {
    /// Nothing is done yet.
    pub fn nothing() -> Self {
        Self { is_done: true, counts: Counts::default(), refused: Vec::new(), next: None }
    }

    /// Notes something that could not be done.
    pub fn refuse(&mut self, why: String) {
        self.counts.refused += 1;
        if self.refused.len() < REASONS {
            self.refused.push(why);
        }
    }

    /// The same, with this left.
    #[must_use]
    pub fn with_next(self, next: Option<Task>) -> Self {
        Self { is_done: next.is_none(), next, ..self }
    }
}

/// The body of the next request of a redrive, after one that answered so; none where it is through. One that sent nothing has sent what it
/// can: what remains is not to be had.
pub fn next_of_redrive(asked: &Map<String, Value>, answered: &Value) -> Option<Map<String, Value>> {
    let is_left = answered["remaining"].as_u64().is_some_and(|remaining| remaining > 0);
    let has_sent = answered["replayed"].as_array().is_some_and(|sent| !sent.is_empty());
    let is_dry_run = answered["is_dry_run"] == json!(true);
    let is_of_positions = asked.get("positions").and_then(Value::as_array).is_some_and(|of| !of.is_empty());
    if !is_left || !has_sent || is_dry_run || is_of_positions {
        return None;
    }
    let mut next = asked.clone();
    next.insert("up_to".to_owned(), answered["up_to"].clone());
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(text: &str) -> Result<Task, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_task_is_read_as_step_functions_and_people_write_it() {
        let listed = r#"{"import": {"objects": [{"Key": "aws/lambda/one", "Size": 1, "Etag": "x", "LastModified": 1.5, "StorageClass": "STANDARD"}]}}"#;
        let import = Task::Import(Import { objects: vec![Object { key: "aws/lambda/one".to_owned() }] });
        assert_eq!(task(listed), Ok(import));
        assert_eq!(task(r#"{"redrive": {"all": true}}"#), Ok(Task::Redrive(body(json!({"all": true})))));
        for (wrong, hint) in [
            ("{}", "expected"),
            (r#"{"replay": {}}"#, "unknown variant `replay`"),
            (r#"{"import": {"objects": [{"key": "small"}]}}"#, "missing field `Key`"),
            (r#"{"import": {"objects": [], "bucket": "other"}}"#, "unknown field `bucket`"),
        ] {
            let told = task(wrong).unwrap_err();
            assert!(told.contains(hint), "{wrong}: {told}");
        }
    }

    #[test]
    fn a_redrive_goes_on_to_where_it_began_to_until_nothing_is_left_or_nothing_goes() {
        let asked = body(json!({"topic": "t"}));
        let answered = |remaining: u64, sent: u64| {
            json!({
                "is_dry_run": false, "remaining": remaining, "replayed": vec![json!({}); usize::try_from(sent).unwrap()], "up_to": {"t": [5]},
            })
        };
        let next = next_of_redrive(&asked, &answered(3, 2)).unwrap();
        assert_eq!(next, body(json!({"topic": "t", "up_to": {"t": [5]}})));
        assert_eq!(next_of_redrive(&asked, &answered(0, 2)), None);
        assert_eq!(next_of_redrive(&asked, &answered(3, 0)), None, "what does not go is asked for no more");
        let mut dry = answered(3, 2);
        dry["is_dry_run"] = json!(true);
        assert_eq!(next_of_redrive(&asked, &dry), None);
        let named = body(json!({"positions": ["t/0/1"]}));
        assert_eq!(next_of_redrive(&named, &answered(3, 2)), None, "what is named is sent at once or not at all");
    }

    #[test]
    fn of_many_reasons_the_first_are_told_and_all_are_counted() {
        let mut done = Done::nothing();
        (0..250).for_each(|n| done.refuse(n.to_string()));
        assert_eq!((done.refused.len(), done.counts.refused, done.refused[99].as_str()), (100, 250, "99"));
        assert!(done.clone().with_next(None).is_done && !done.with_next(Some(Task::Redrive(Map::new()))).is_done);
    }
}
