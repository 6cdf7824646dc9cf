//! Profiles of learners and statistics of concepts, as whoever reads the events one by one has them: by apache-avro and by sums.

use std::collections::{BTreeMap, HashMap};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use lyceum_core::outcome::Outcome;
use lyceum_generate::Made;
use lyceum_tests::workplace::Server;
use lyceum_xapi::utc_time::UtcTime;
use serde_json::{Value, json};

use super::TENANT;

/// A quantile may be another value of the list, of which so much more or less of all values are below.
const QUANTILE_ERROR: f64 = 0.01;

#[derive(Default)]
struct Learner {
    answers: u64,
    correct: u64,
    started: u64,
    ended: u64,
    session_ms: i64,
    /// When, and how well.
    mastery: BTreeMap<String, (i64, f64)>,
    seen: Option<(i64, i64)>,
}

#[derive(Default)]
struct Concept {
    attempts: u64,
    correct: u64,
    first_attempts: u64,
    first_correct: u64,
    response_ms: Vec<i64>,
}

/// All of them.
pub(crate) struct Profiles {
    schema: Schema,
    learners: HashMap<String, Learner>,
    concepts: BTreeMap<String, Concept>,
}

impl Default for Profiles {
    fn default() -> Self {
        let schema = lyceum_catalog::learning::SCHEMAS.last().expect("there is one");
        let schema = Schema::parse_str(schema).expect("the schema is good");
        Self { schema, learners: HashMap::new(), concepts: BTreeMap::new() }
    }
}

impl Profiles {
    fn read(&self, value: &[u8]) -> Value {
        if value.starts_with(b"{") {
            return serde_json::from_slice(value).expect("it is JSON");
        }
        // A single object's marker and fingerprint.
        let mut datum = if value.starts_with(&[0xC3, 0x01]) { &value[10..] } else { value };
        let reader = GenericDatumReader::builder(&self.schema).build().expect("a reader of the schema");
        let read = reader.read_value(&mut datum).expect("it is an event");
        read.try_into().expect("it can be written as JSON")
    }

    /// Counts what must be applied.
    pub(crate) fn add(&mut self, made: &Made) {
        let Some(value) = made.value.as_ref().filter(|_| made.family == "learning" && made.outcome == Outcome::Applied)
        else {
            return;
        };
        let event = self.read(value);
        let payload = &event["payload"];
        let at_ms = event["occurred_at"].as_i64().expect("it has a time");
        let learner = self.learners.entry(event["user_id"].as_str().expect("it has a learner").to_owned()).or_default();
        let (first_ms, last_ms) = learner.seen.unwrap_or((at_ms, at_ms));
        learner.seen = Some((first_ms.min(at_ms), last_ms.max(at_ms)));
        match made.event_type {
            "question.answered" => {
                let correct = u64::from(payload["correct"].as_bool().expect("it says so"));
                learner.answers += 1;
                learner.correct += correct;
                for id in payload["concept_ids"].as_array().expect("it is a list") {
                    let concept = self.concepts.entry(id.as_str().expect("it is a name").to_owned()).or_default();
                    concept.attempts += 1;
                    concept.correct += correct;
                    if payload["attempt"] == 1 {
                        concept.first_attempts += 1;
                        concept.first_correct += correct;
                    }
                    concept.response_ms.push(payload["response_ms"].as_i64().expect("it says so"));
                }
            }
            "session.started" => learner.started += 1,
            "session.ended" => {
                learner.ended += 1;
                learner.session_ms += payload["duration_ms"].as_i64().unwrap_or(0);
            }
            "mastery.updated" => {
                let concept = payload["concept_id"].as_str().expect("it has one").to_owned();
                let now = (at_ms, payload["after"].as_f64().expect("it says so"));
                let known = learner.mastery.entry(concept).or_insert(now);
                if *known < now {
                    *known = now;
                }
            }
            other => panic!("what is {other}?"),
        }
    }

    /// That the process shows the same.
    pub(crate) async fn compare(mut self, server: &Server) {
        for (id, learner) in &self.learners {
            let shown = show(server, "learner", id).await;
            let (first_ms, last_ms) = learner.seen.expect("it was seen");
            let mastery: BTreeMap<&str, f64> = learner.mastery.iter().map(|(id, of)| (&**id, of.1)).collect();
            let must = json!({
                "answers": learner.answers,
                "correct": learner.correct,
                "correct_rate": rate(learner.correct, learner.answers),
                "sessions": {"started": learner.started, "ended": learner.ended, "ms": learner.session_ms},
                "mastery": mastery,
                "first_seen": UtcTime::from_millis(first_ms),
                "last_seen": UtcTime::from_millis(last_ms),
            });
            for (name, must) in must.as_object().expect("it is an object") {
                assert!(is_same(&shown[name], must), "{name} of learner {id} is {}, and must be {must}", shown[name]);
            }
        }
        for (id, concept) in &mut self.concepts {
            let shown = show(server, "concept", id).await;
            concept.response_ms.sort_unstable();
            let times = &concept.response_ms;
            let must = [
                ("attempts", json!(concept.attempts)),
                ("correct", json!(concept.correct)),
                ("correct_rate", json!(rate(concept.correct, concept.attempts))),
                ("first_attempt_correct_rate", json!(rate(concept.first_correct, concept.first_attempts))),
            ];
            for (name, must) in must {
                assert!(is_same(&shown[name], &must), "{name} of concept {id} is {}, and must be {must}", shown[name]);
            }
            let response = &shown["response_ms"];
            assert_eq!((&response["least"], &response["most"]), (&json!(times[0]), &json!(times[times.len() - 1])));
            for (name, wanted) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
                let is = response[name].as_i64().unwrap_or_else(|| panic!("{name} of {id}: {shown}"));
                // It is rounded to a whole millisecond.
                let below = |most: i64| times.partition_point(|time| *time <= most) as f64 / times.len() as f64;
                let few = 1.5 / times.len() as f64;
                let (least, most) = (below(is - 2) - QUANTILE_ERROR - few, below(is + 1) + QUANTILE_ERROR + few);
                assert!((least..=most).contains(&wanted), "{name} of concept {id} is {is}, which is {least} to {most}");
            }
        }
        let (learners, concepts) = (self.learners.len(), self.concepts.len());
        assert!(learners > 0 && concepts > 0, "nobody learned anything");
        println!(
            "profiles of {learners} learners and statistics of {concepts} concepts are what a sum over the events is"
        );
    }
}

/// Equal but for the last digit of a fraction, which is lost where one is read from its text.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let has = |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| is_same(value, other));
            one.len() == other.len() && one.iter().all(has)
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| (one - other).abs() < 1e-12)
        }
        (one, other) => one == other,
    }
}

fn rate(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

pub(crate) async fn show(server: &Server, kind: &str, id: &str) -> Value {
    let (status, shown) = server.get(&format!("/api/state/{kind}/{id}?tenant={TENANT}"), None).await;
    assert_eq!(status, 200, "{kind} {id}: {shown}");
    shown
}
