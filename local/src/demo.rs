//! Demo traffic of a made-up academy, so that there is something to see: tenant `demo`.
//!
//! First what happened in the sixty days before (`past`), then programs, sessions, bookings, a survey and video statements of now, at
//! a few events a second; and now and then what goes wrong in life: an event twice, a booking confirmed that nobody requested, a broken
//! statement.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lyceum_core::clock::ms_since_1970;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::ports::statements::Statements;
use lyceum_core::record::{Header, NewRecord};
use lyceum_xapi::utc_time::UtcTime;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routing::Router;

mod past;

/// Whose the demo's events are.
pub const TENANT: &str = "demo";

const TITLES: &[&str] =
    &["Fire safety", "First aid", "Leading a team", "Writing well", "Working at heights", "Data protection"];
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
        let mut academy = Academy::default();
        loop {
            let events = academy.next_events(&mut rand::rng(), now());
            self.publish(events).await;
            let pause = rand::rng().random_range(80..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
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
                if let Err(error) = self.event_log.produce(topic, records.to_vec()).await {
                    tracing::warn!(%error, "demo traffic could not be published; it goes on");
                }
            }
        }
    }
}

fn now() -> UtcTime {
    UtcTime::from_millis(ms_since_1970(SystemTime::now()))
}

/// What exists in the made-up academy.
#[derive(Default)]
struct Academy {
    programs: Vec<String>,
    sessions: Vec<(String, String)>,
    requested: VecDeque<(String, String)>,
    last: Option<Value>,
}

impl Academy {
    fn next_events(&mut self, random: &mut impl Rng, now: UtcTime) -> Vec<Value> {
        let of = *DEPARTMENTS.choose(random).unwrap_or(&"nursing");
        let learner = &*format!("{}@{of}", LEARNERS.choose(random).unwrap_or(&"ada"));
        let event = match random.random_range(0..1000) {
            _ if self.programs.is_empty() => return self.new_program(random, now),
            0..30 => return self.new_program(random, now),
            30..100 => return self.new_session(random, now),
            100..250 if !self.sessions.is_empty() => self.request(random, learner, now),
            250..380 if !self.requested.is_empty() => self.settle_booking(random, now),
            380..480 => {
                let is_completed = random.random_bool(0.8);
                return answers(random, learner, of, Uuid::new_v4(), is_completed, now);
            }
            480..484 => confirm_nothing(random, now),
            484..486 => json!({"id": "test-12345", "actor": {"mbox": format!("mailto:{}", address(learner))}}),
            486..520 => self.last.clone().unwrap_or_else(|| video(random, learner, of, now)),
            _ => video(random, learner, of, now),
        };
        self.last = Some(event.clone());
        vec![event]
    }

    fn new_program(&mut self, random: &mut impl Rng, now: UtcTime) -> Vec<Value> {
        let title = TITLES.choose(random).copied().unwrap_or("Fire safety");
        let id = short_id("prog");
        self.programs.push(id.clone());
        let created = statement(
            "trainer",
            "http://nlj.platform/verbs/created",
            &activity("program", &id, Some(title)),
            json!({}),
            now,
        );
        let published = statement(
            "trainer",
            "http://nlj.platform/verbs/published",
            &activity("program", &id, None),
            json!({}),
            now,
        );
        vec![created, published]
    }

    fn new_session(&mut self, random: &mut impl Rng, now: UtcTime) -> Vec<Value> {
        let Some(program) = self.programs.choose(random).cloned() else { return Vec::new() };
        let id = short_id("ses");
        let starts = UtcTime::from_millis(now.as_millis() + HOUR_MS * 24 * random.random_range(1..60));
        let extensions = json!({
            "http://nlj.platform/extensions/program_id": program,
            "http://nlj.platform/extensions/starts_at": starts.to_string(),
            "http://nlj.platform/extensions/ends_at": (UtcTime::from_millis(starts.as_millis() + 3 * HOUR_MS)).to_string(),
            "http://nlj.platform/extensions/capacity": random.random_range(1..6),
        });
        self.sessions.push((id.clone(), program));
        vec![statement(
            "trainer",
            "http://nlj.platform/verbs/scheduled",
            &activity("session", &id, None),
            extensions,
            now,
        )]
    }

    fn request(&mut self, random: &mut impl Rng, learner: &str, now: UtcTime) -> Value {
        let session = self.sessions.choose(random).map(|(id, _)| id.clone()).unwrap_or_default();
        let id = short_id("book");
        let extensions = json!({"http://nlj.platform/extensions/session_id": session});
        self.requested.push_back((id.clone(), session));
        statement(learner, "http://nlj.platform/verbs/requested", &activity("booking", &id, None), extensions, now)
    }

    fn settle_booking(&mut self, random: &mut impl Rng, now: UtcTime) -> Value {
        let (id, session) = self.requested.pop_front().unwrap_or_default();
        let extensions = json!({"http://nlj.platform/extensions/session_id": session});
        let verb = if random.random_bool(0.75) { "confirmed" } else { "waitlisted" };
        statement(
            "trainer",
            &format!("http://nlj.platform/verbs/{verb}"),
            &activity("booking", &id, None),
            extensions,
            now,
        )
    }
}

fn short_id(kind: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{kind}-{}", &id[..8])
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

fn confirm_nothing(random: &mut impl Rng, now: UtcTime) -> Value {
    let extensions = json!({"http://nlj.platform/extensions/session_id": "ses-of-old"});
    let id = format!("book-{}", random.random_range(0..1000));
    statement("trainer", "http://nlj.platform/verbs/confirmed", &activity("booking", &id, None), extensions, now)
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
