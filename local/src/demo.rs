//! Demo traffic of a made-up academy, so that there is something to see: tenant `demo`.
//!
//! First what happened in the sixty days before (`past`), then events of every family, as [`lyceum_generate`] makes them, at a few a
//! second; and now and then what goes wrong in life: an event twice, one that is not allowed, one that is broken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lyceum_core::clock::ms_since_1970;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::ports::statements::Statements;
use lyceum_core::record::{Header, NewRecord};
use lyceum_generate::{Generator, Made, Pace, Plan, Shares};
use lyceum_xapi::utc_time::UtcTime;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routing::Router;

mod past;

/// Whose the demo's events are.
pub const TENANT: &str = "demo";

const LEARNERS: &[&str] = &["ada", "blaise", "carl", "dorothy", "emmy", "florence", "grace", "hypatia", "ida", "joan"];
/// Where people learn; the larger departments come first.
const DEPARTMENTS: &[&str] = &["nursing", "emergency", "laboratory", "administration", "logistics"];
const COURSES: &[&str] =
    &["fire-safety", "first-aid", "leading-a-team", "writing-well", "working-at-heights", "data-protection"];
const COMPLETED: &str = "http://adlnet.gov/expapi/verbs/completed";
const VIDEO_VERBS: &[&str] = &[
    "https://w3id.org/xapi/video/verbs/played",
    "https://w3id.org/xapi/video/verbs/paused",
    "https://w3id.org/xapi/video/verbs/seeked",
];
const QUESTIONS: &[&str] = &["recommend", "pace", "usefulness"];

const HOUR_MS: i64 = 3_600_000;

/// So many records are published at once.
const BATCH: usize = 500;
/// So many events happen a second.
const RATE: f64 = 4.0;
/// Where the academy's other tools are.
const SITE: &str = "academy.example";

/// The academy's stores.
pub struct Demo {
    /// Where its events go.
    pub event_log: Arc<dyn EventLog>,
    /// Where they are once they are processed.
    pub statements: Arc<dyn Statements>,
    /// Tells where an event belongs.
    pub router: Router,
}

impl Demo {
    /// Publishes until it is dropped.
    pub async fn publish_for_ever(self) {
        self.publish_the_past(now()).await;
        loop {
            self.publish_the_present(now()).await;
        }
    }

    /// Events of now, until this process is more than a minute behind them: a machine that slept begins anew.
    async fn publish_the_present(&self, from: UtcTime) {
        let plan = present(rand::rng().random(), from);
        let academy = Generator::new(plan).expect("nothing of it is chosen by anybody");
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
        for (number, made) in academy.enumerate() {
            ticks.tick().await;
            let behind_ms = now().as_millis() - from.as_millis() - (number as f64 * 1_000.0 / RATE) as i64;
            if behind_ms > 60_000 {
                return;
            }
            let Made { topic, key, headers, value, .. } = made;
            let record = NewRecord {
                key: Some(key.into()),
                value: value.map(Into::into),
                headers: headers.into_iter().map(|(name, value)| Header::new(name, value)).collect(),
                ..NewRecord::default()
            };
            self.produce(topic, vec![record]).await;
        }
    }

    /// The days before today that are not there yet, and of today what is over, where nothing is there.
    async fn publish_the_past(&self, now: UtcTime) {
        let today = now.day();
        let incident = past::incident_day(today);
        let mut missing = Vec::new();
        let mut is_new = true;
        for day in past::days(today) {
            match self.statements.get(TENANT, past::last_id(day)).await {
                Ok(None) => missing.push(day),
                Ok(Some(_)) => is_new = false,
                Err(error) => {
                    return tracing::warn!(%error, "the demo's past is not published: nobody knows what is there of it");
                }
            }
        }
        for days in missing.chunks(7) {
            let events = days.iter().flat_map(|day| past::events_of(*day, *day == incident));
            self.publish(events.collect()).await;
        }
        if is_new {
            let mut events = past::events_of(today, false);
            events.retain(|event| {
                event["timestamp"].as_str().and_then(|at| at.parse().ok()).is_some_and(|at: UtcTime| at < now)
            });
            self.publish(events).await;
        }
    }

    /// Each topic's events keep their order.
    async fn publish(&self, events: Vec<Value>) {
        let mut topics: BTreeMap<&str, Vec<NewRecord>> = BTreeMap::new();
        for event in events {
            let value = bytes::Bytes::from(event.to_string());
            let route = self.router.route(None, &value);
            let topic = match route.topic {
                Ok(topic) => topic,
                Err(error) => {
                    tracing::warn!(%error, "an event of the demo was not published; it goes on");
                    continue;
                }
            };
            topics.entry(topic).or_default().push(NewRecord {
                key: route.key.map(Into::into),
                value: Some(value),
                headers: vec![Header::new("tenant-id", TENANT)],
                ..NewRecord::default()
            });
        }
        for (topic, records) in topics {
            for records in records.chunks(BATCH) {
                self.produce(topic, records.to_vec()).await;
            }
        }
    }

    async fn produce(&self, topic: &str, records: Vec<NewRecord>) {
        if let Err(error) = self.event_log.produce(topic, records).await {
            tracing::warn!(%error, "demo traffic could not be published; it goes on");
        }
    }
}

/// What happens from then on.
fn present(seed: u64, from: UtcTime) -> Plan {
    Plan {
        seed,
        events: None,
        tenants: vec![TENANT.to_owned()],
        shares: Shares { duplicates: 0.03, broken: 0.006, ..Shares::default() },
        from_ms: from.as_millis(),
        pace: Some(Pace::Steady(RATE)),
        is_live: true,
        site: Some(SITE.to_owned()),
        ..Plan::default()
    }
}

fn now() -> UtcTime {
    UtcTime::from_millis(ms_since_1970(SystemTime::now()))
}

fn activity(kind: &str, id: &str, title: Option<&str>) -> Value {
    let mut activity = json!({"id": format!("http://nlj.platform/activities/{kind}/{id}")});
    if let Some(title) = title {
        activity["definition"] = json!({"name": {"en": title}});
    }
    activity
}

/// Who is of a department has an address there.
fn address(who: &str) -> String {
    if who.contains('@') { format!("{who}.academy.example") } else { format!("{who}@academy.example") }
}

/// The department that something belongs to.
fn department(of: &str) -> Value {
    let id = format!("https://academy.example/departments/{of}");
    json!({"parent": [{"id": id, "definition": {"type": "https://w3id.org/xapi/cmi5/activities/block"}}]})
}

fn statement(who: &str, verb: &str, object: &Value, extensions: Value, now: UtcTime) -> Value {
    json!({
        "id": Uuid::new_v4(),
        "actor": {"name": who.split('@').next().unwrap_or(who), "mbox": format!("mailto:{}", address(who))},
        "verb": {"id": verb},
        "object": object,
        "context": {"extensions": extensions},
        "timestamp": now.to_string(),
    })
}

fn video(random: &mut impl Rng, learner: &str, of: &str, now: UtcTime) -> Value {
    let verb = VIDEO_VERBS.choose(random).copied().unwrap_or(VIDEO_VERBS[0]);
    let object = json!({
        "id": format!("https://academy.example/videos/{}", random.random_range(1..40)),
        "definition": {"type": "https://w3id.org/xapi/video/activity-type/video"},
    });
    let time = json!({"https://w3id.org/xapi/video/extensions/time": random.random_range(0..600)});
    let mut event = statement(learner, verb, &object, time, now);
    event["context"]["contextActivities"] = department(of);
    event
}

/// One response to the academy's survey: started, three answers, and completed or not.
fn answers(
    random: &mut impl Rng,
    learner: &str,
    of: &str,
    registration: Uuid,
    is_completed: bool,
    now: UtcTime,
) -> Vec<Value> {
    let survey = activity("survey", "course-feedback", None);
    let of_attempt = |mut event: Value| {
        event["context"]["registration"] = json!(registration);
        event
    };
    let demographics = json!({"http://nlj.platform/extensions/demographics": {"department": of}});
    let mut events =
        vec![of_attempt(statement(learner, "http://adlnet.gov/expapi/verbs/initialized", &survey, demographics, now))];
    for question in QUESTIONS {
        let survey_id = json!({"http://nlj.platform/extensions/survey_id": "course-feedback"});
        let object = activity("question", question, None);
        let answered = "http://adlnet.gov/expapi/verbs/answered";
        let mut answer = of_attempt(statement(learner, answered, &object, survey_id, now));
        let (least, most) = if *question == "recommend" { (0, 10) } else { (1, 5) };
        // Most people are content, and some are not at all.
        let lowest = if random.random_bool(0.75) { most - most / 3 } else { least };
        let score = random.random_range(lowest..=most);
        answer["result"] = json!({"response": score.to_string(), "score": {"raw": score, "min": least, "max": most}});
        events.push(answer);
    }
    if is_completed {
        events.push(of_attempt(statement(
            learner,
            "http://adlnet.gov/expapi/verbs/completed",
            &survey,
            json!({}),
            now,
        )));
    }
    events
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lyceum_core::outcome::Outcome;

    use super::*;

    #[test]
    fn within_a_few_minutes_something_happens_in_every_family_and_something_goes_wrong() {
        let from = UtcTime::from_millis(lyceum_generate::FROM_MS);
        for seed in 0..5 {
            let made: Vec<Made> = Generator::new(present(seed, from)).unwrap().take(2_000).collect();
            let families: BTreeSet<&str> = made.iter().map(|made| made.family).collect();
            assert_eq!(families, lyceum_generate::families().collect(), "seed {seed}");
            let ends = |of: fn(&Outcome) -> bool| made.iter().filter(|made| of(&made.outcome)).count();
            let (twice, wrong) =
                (ends(|of| *of == Outcome::Duplicate), ends(|of| matches!(of, Outcome::DeadLettered { .. })));
            assert!((20..150).contains(&twice) && (1..40).contains(&wrong), "seed {seed}: {twice} {wrong}");
            assert!(made.iter().all(|made| made.headers.contains(&("tenant-id".to_owned(), TENANT.to_owned()))));
        }
    }
}
