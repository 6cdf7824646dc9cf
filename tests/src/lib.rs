//! What the capability tests share: the binary, a place to run it in, and events whose final state is known.

pub use lyceum_given::{academy, binary};

use serde_json::{Value, json};

pub mod aws;
pub mod load;
pub mod memory;
pub mod otlp;
pub mod requests;
pub mod runtime_api;
pub mod webhook;
pub mod workplace;

/// Runs it on a runtime of its own.
///
/// # Panics
/// Where no runtime can be had.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// An answer of so many characters to the one question of the survey `big`, by the learner of that number.
pub fn long_answer(number: usize, characters: usize) -> Value {
    let response: String = format!("{number} ").repeat(characters / 2).chars().take(characters).collect();
    json!({
        "actor": {"account": {"homePage": "http://nlj.platform/users", "name": format!("u-{number}")}},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
        "object": {"id": "https://forms.example/question/q1", "definition": {"type": "http://adlnet.gov/expapi/activities/cmi.interaction"}},
        "result": {"response": response},
        "context": {"contextActivities": {"parent": [{
            "id": "https://forms.example/survey/big",
            "definition": {"type": "http://id.tincanapi.com/activitytype/survey"},
        }]}},
        "timestamp": "2026-03-02T08:15:00Z",
    })
}
