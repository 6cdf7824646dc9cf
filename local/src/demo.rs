//! Demo traffic of a made-up academy, so that there is something to see: tenant `demo`.
//!
//! Programs, sessions, bookings, a survey and video statements, at a few events a second; and now and then what goes
//! wrong in life: an event twice, a booking confirmed that nobody requested, a broken statement.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lyceum_core::clock::ms_since_1970;
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::record::{Header, NewRecord};
use lyceum_xapi::utc_time::UtcTime;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routing::Router;

/// Whose the demo's events are.
pub const TENANT: &str = "demo";

const TITLES: &[&str] =
    &["Fire safety", "First aid", "Leading a team", "Writing well", "Working at heights", "Data protection"];
const LEARNERS: &[&str] = &["ada", "blaise", "carl", "dorothy", "emmy", "florence", "grace", "hypatia", "ida", "joan"];
const VIDEO_VERBS: &[&str] = &[
    "https://w3id.org/xapi/video/verbs/played",
    "https://w3id.org/xapi/video/verbs/paused",
    "https://w3id.org/xapi/video/verbs/seeked",
    "http://adlnet.gov/expapi/verbs/completed",
];
const QUESTIONS: &[&str] = &["recommend", "pace", "usefulness"];

const HOUR_MS: i64 = 3_600_000;

/// Publishes until it is dropped.
pub async fn publish_for_ever(event_log: Arc<dyn EventLog>, router: Router) {
    let mut academy = Academy::default();
    loop {
        let events = academy.next_events(&mut rand::rng(), UtcTime::from_millis(ms_since_1970(SystemTime::now())));
        for event in events {
            let value = bytes::Bytes::from(event.to_string());
            let route = router.route(&value);
            let record = NewRecord {
                key: route.key.map(Into::into),
                value: Some(value),
                headers: vec![Header::new("tenant-id", TENANT)],
                ..NewRecord::default()
            };
            if let Err(error) = event_log.produce(route.topic, vec![record]).await {
                tracing::warn!(%error, "demo traffic could not be published; it goes on");
            }
        }
        let pause = rand::rng().random_range(80..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
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
        let learner = *LEARNERS.choose(random).unwrap_or(&"ada");
        let event = match random.random_range(0..100) {
            _ if self.programs.is_empty() => return self.new_program(random, now),
            0..3 => return self.new_program(random, now),
            3..10 => return self.new_session(random, now),
            10..25 if !self.sessions.is_empty() => self.request(random, learner, now),
            25..38 if !self.requested.is_empty() => self.settle_booking(random, now),
            38..48 => return survey(random, learner, now),
            48..50 => confirm_nothing(random, now),
            50..52 => json!({"id": "test-12345", "actor": {"mbox": format!("mailto:{learner}@academy.example")}}),
            52..55 => self.last.clone().unwrap_or_else(|| video(random, learner, now)),
            _ => video(random, learner, now),
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

fn statement(who: &str, verb: &str, object: &Value, extensions: Value, now: UtcTime) -> Value {
    json!({
        "id": Uuid::new_v4(),
        "actor": {"name": who, "mbox": format!("mailto:{who}@academy.example")},
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

fn video(random: &mut impl Rng, learner: &str, now: UtcTime) -> Value {
    let verb = VIDEO_VERBS.choose(random).copied().unwrap_or(VIDEO_VERBS[0]);
    let object = json!({
        "id": format!("https://academy.example/videos/{}", random.random_range(1..40)),
        "definition": {"type": "https://w3id.org/xapi/video/activity-type/video"},
    });
    let time = json!({"https://w3id.org/xapi/video/extensions/time": random.random_range(0..600)});
    statement(learner, verb, &object, time, now)
}

fn survey(random: &mut impl Rng, learner: &str, now: UtcTime) -> Vec<Value> {
    let registration = Uuid::new_v4();
    let survey = activity("survey", "course-feedback", None);
    let of = |mut event: Value| {
        event["context"]["registration"] = json!(registration);
        event
    };
    let mut events =
        vec![of(statement(learner, "http://adlnet.gov/expapi/verbs/initialized", &survey, json!({}), now))];
    for question in QUESTIONS {
        let survey_id = json!({"http://nlj.platform/extensions/survey_id": "course-feedback"});
        let object = activity("question", question, None);
        let mut answer = of(statement(learner, "http://adlnet.gov/expapi/verbs/answered", &object, survey_id, now));
        let (least, most) = if *question == "recommend" { (0, 10) } else { (1, 5) };
        let score = random.random_range(least.max(most - 7)..=most);
        answer["result"] = json!({"response": score.to_string(), "score": {"raw": score, "min": least, "max": most}});
        events.push(answer);
    }
    if random.random_bool(0.8) {
        events.push(of(statement(learner, "http://adlnet.gov/expapi/verbs/completed", &survey, json!({}), now)));
    }
    events
}
