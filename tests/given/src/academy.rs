//! Events of an academy whose final state is known by construction, the same for the same seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

const EXTENSIONS: &str = "http://nlj.platform/extensions/";
const VIDEO_VERBS: &[&str] = &["played", "paused", "seeked", "terminated"];

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Training programs, with two sessions each.
    pub programs: usize,
    /// Bookings a session: a third is confirmed, a third is waitlisted (and of those the first is confirmed later).
    pub bookings: usize,
    /// Survey responses with three questions, one of them answered twice.
    pub responses: usize,
}

/// What a session has in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedSession {
    /// Its program.
    pub program: String,
    /// Its seats.
    pub capacity: u64,
    /// Bookings that wait for an answer.
    pub requested: u64,
    /// Bookings that are confirmed.
    pub confirmed: u64,
    /// Waitlisted bookings, the first to come first.
    pub waiting: Vec<String>,
}

/// Events in the order in which they happen, and what is true after all of them.
#[derive(Clone, Debug, Default)]
pub struct Academy {
    /// The events; those of one program, session or response are in their own order, all of them are mixed.
    pub events: Vec<Value>,
    /// Whether each program is published, and its sessions.
    pub programs: BTreeMap<String, (bool, BTreeSet<String>)>,
    /// The sessions.
    pub sessions: BTreeMap<String, ExpectedSession>,
    /// The status of each booking.
    pub bookings: BTreeMap<String, &'static str>,
    /// Whether each response is completed; all are started and have their questions answered.
    pub responses: BTreeMap<String, bool>,
    /// How many statements there are of each verb.
    pub verbs: BTreeMap<String, u64>,
}

/// The questions of the survey; the first one is answered twice, and the second answer counts.
pub const QUESTIONS: [&str; 3] = ["recommend", "pace", "usefulness"];
/// The survey's id.
pub const SURVEY: &str = "course-feedback";

impl Academy {
    /// Makes it up.
    pub fn new(seed: u64, size: Size) -> Self {
        let mut academy = Self::default();
        let mut random = StdRng::seed_from_u64(seed);
        let mut threads: Vec<VecDeque<Value>> = Vec::new();
        for number in 0..size.programs {
            threads.extend(academy.open_program(&mut random, number, size.bookings));
        }
        for number in 0..size.responses {
            threads.push(academy.respond(&mut random, number));
        }
        while !threads.is_empty() {
            let at = random.random_range(0..threads.len());
            match threads[at].pop_front() {
                Some(event) => academy.events.push(event),
                None => drop(threads.swap_remove(at)),
            }
        }
        for event in &academy.events {
            count_verb(&mut academy.verbs, event);
        }
        academy
    }

    fn open_program(&mut self, random: &mut StdRng, number: usize, bookings: usize) -> Vec<VecDeque<Value>> {
        let id = format!("program-{number}");
        let is_published = !number.is_multiple_of(3);
        let mut own = VecDeque::from([created(random, &id)]);
        if is_published {
            own.push_back(published(random, &id));
        }
        let mut threads = vec![own];
        let mut sessions = BTreeSet::new();
        for which in ["a", "b"] {
            let session_id = format!("session-{number}-{which}");
            let capacity = random.random_range(1..=bookings as u64);
            threads.push(VecDeque::from([scheduled(random, &session_id, &id, capacity)]));
            threads.push(self.book(random, &session_id, bookings));
            let session = self.sessions.entry(session_id.clone()).or_default();
            (session.program, session.capacity) = (id.clone(), capacity);
            sessions.insert(session_id);
        }
        self.programs.insert(id, (is_published, sessions));
        threads
    }

    fn book(&mut self, random: &mut StdRng, session_id: &str, bookings: usize) -> VecDeque<Value> {
        let mut expected = ExpectedSession::default();
        let mut events = VecDeque::new();
        for number in 0..bookings {
            let id = format!("booking-{}-{number}", session_id.trim_start_matches("session-"));
            events.push_back(booking(random, "requested", &id, session_id));
            let status = match number % 3 {
                0 => {
                    events.push_back(booking(random, "confirmed", &id, session_id));
                    "confirmed"
                }
                1 => {
                    events.push_back(booking(random, "waitlisted", &id, session_id));
                    expected.waiting.push(id.clone());
                    "waitlisted"
                }
                _ => "requested",
            };
            self.bookings.insert(id, status);
        }
        if !expected.waiting.is_empty() {
            let first = expected.waiting.remove(0);
            events.push_back(booking(random, "confirmed", &first, session_id));
            self.bookings.insert(first, "confirmed");
        }
        expected.requested = (bookings / 3) as u64;
        expected.confirmed = (bookings - bookings / 3 - expected.waiting.len()) as u64;
        self.sessions.insert(session_id.to_owned(), expected);
        events
    }

    fn respond(&mut self, random: &mut StdRng, number: usize) -> VecDeque<Value> {
        let registration = new_id(random);
        let is_completed = !number.is_multiple_of(4);
        let mut events = VecDeque::from([survey(random, "initialized", registration)]);
        for (question, score) in [(0, 1), (1, 3), (2, 4), (0, 9)] {
            events.push_back(answered(random, QUESTIONS[question], registration, score));
        }
        if is_completed {
            events.push_back(survey(random, "completed", registration));
        }
        self.responses.insert(registration.to_string(), is_completed);
        events
    }
}

/// Video statements, the same for the same seed: they belong to no state.
pub fn video_statements(seed: u64, number: usize) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let one = |number: usize| {
        let verb = format!("https://w3id.org/xapi/video/verbs/{}", VIDEO_VERBS[number % VIDEO_VERBS.len()]);
        let object = json!({
            "id": format!("https://academy.example/videos/{}", number % 40),
            "definition": {"type": "https://w3id.org/xapi/video/activity-type/video"},
        });
        statement(&mut random, &format!("learner-{}", number % 60), &verb, &object, json!({}))
    };
    (0..number).map(one).collect()
}

/// Counts the verb of a statement.
pub fn count_verb(verbs: &mut BTreeMap<String, u64>, statement: &Value) {
    let verb = statement["verb"]["id"].as_str().expect("a statement has a verb");
    *verbs.entry(verb.to_owned()).or_default() += 1;
}

/// A version 4 UUID of that source.
pub fn new_id(random: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(random.random()).into_uuid()
}

/// `program.created`
pub fn created(random: &mut StdRng, program: &str) -> Value {
    let mut object = activity("program", program);
    object["definition"]["name"] = json!({"en": format!("The {program}")});
    statement(random, "trainer", &platform("created"), &object, json!({}))
}

/// `program.published`
pub fn published(random: &mut StdRng, program: &str) -> Value {
    statement(random, "trainer", &platform("published"), &activity("program", program), json!({}))
}

/// `session.scheduled`
pub fn scheduled(random: &mut StdRng, session: &str, program: &str, capacity: u64) -> Value {
    let extensions = json!({
        format!("{EXTENSIONS}program_id"): program,
        format!("{EXTENSIONS}starts_at"): "2026-05-04T09:00:00Z",
        format!("{EXTENSIONS}ends_at"): "2026-05-04T12:00:00Z",
        format!("{EXTENSIONS}capacity"): capacity,
    });
    statement(random, "trainer", &platform("scheduled"), &activity("session", session), extensions)
}

/// `booking.requested`, `booking.confirmed` or `booking.waitlisted`
pub fn booking(random: &mut StdRng, verb: &str, booking: &str, session: &str) -> Value {
    let learner = format!("learner-of-{booking}");
    let extensions = json!({format!("{EXTENSIONS}session_id"): session});
    statement(random, &learner, &platform(verb), &activity("booking", booking), extensions)
}

/// `survey.started` (`initialized`) or `survey.completed`
pub fn survey(random: &mut StdRng, verb: &str, registration: Uuid) -> Value {
    let verb = format!("http://adlnet.gov/expapi/verbs/{verb}");
    let mut event = statement(random, "participant", &verb, &activity("survey", SURVEY), json!({}));
    event["context"]["registration"] = json!(registration);
    event
}

/// `survey.answered`
pub fn answered(random: &mut StdRng, question: &str, registration: Uuid, score: u32) -> Value {
    let extensions = json!({format!("{EXTENSIONS}survey_id"): SURVEY});
    let verb = "http://adlnet.gov/expapi/verbs/answered";
    let mut event = statement(random, "participant", verb, &activity("question", question), extensions);
    event["context"]["registration"] = json!(registration);
    let most = if question == "recommend" { 10 } else { 5 };
    event["result"] = json!({"response": score.to_string(), "score": {"raw": score, "min": 0, "max": most}});
    event
}

fn statement(random: &mut StdRng, actor: &str, verb: &str, object: &Value, extensions: Value) -> Value {
    let day = random.random_range(1..=28);
    let mut statement = json!({
        "id": new_id(random),
        "actor": {"mbox": format!("mailto:{actor}@academy.example")},
        "verb": {"id": verb},
        "object": object,
        "timestamp": format!("2026-03-{day:02}T10:20:30Z"),
    });
    if extensions.as_object().is_some_and(|extensions| !extensions.is_empty()) {
        statement["context"] = json!({"extensions": extensions});
    }
    statement
}

fn activity(kind: &str, id: &str) -> Value {
    json!({
        "id": format!("http://nlj.platform/activities/{kind}/{id}"),
        "definition": {"type": format!("http://nlj.platform/activity-types/{kind}")},
    })
}

fn platform(verb: &str) -> String {
    format!("http://nlj.platform/verbs/{verb}")
}
