//! What is sent to training and survey: legal and illegal events, duplicates, conflicts, poison, of two tenants.

use bytes::Bytes;
use lyceum_core::record::{Header, NewRecord, partition_for_key};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::random::Random;
use crate::stage::{BEGINNING_MS, Stage};

const PROGRAMS: &str = "nlj.training.programs";
const SESSIONS: &str = "nlj.training.sessions";
const BOOKINGS: &str = "nlj.training.bookings";
const RESPONSES: &str = "nlj.survey.responses";
const TENANTS: [&str; 2] = ["north", "south"];

/// An event before it has a form.
struct Draft {
    topic: &'static str,
    key: String,
    verb: &'static str,
    object: String,
    name: Option<String>,
    registration: Option<Uuid>,
    result: Option<Value>,
    extensions: Value,
}

impl Draft {
    /// A response is named by its registration, which is the key; everything else by its object.
    fn home(&self) -> &str {
        if self.topic == RESPONSES { &self.key } else { &self.object }
    }
}

/// What was sent, for a duplicate or a conflict.
#[derive(Clone)]
struct Sent {
    topic: &'static str,
    record: NewRecord,
    id: Option<Uuid>,
    /// Names the event's home within its topic.
    home: String,
    tenant: &'static str,
}

/// What a run is about.
struct Theme {
    /// A booking may name another session.
    moves: bool,
    sessions: usize,
    registrations: [Uuid; 2],
    /// 0 created, 1 published, 2 scheduled, 3 a booking's, 4 a survey's; more often, more likely.
    events: &'static [u8],
}

/// Creates the topics and fills them.
pub(super) fn fill(stage: &Stage, random: &mut Random) {
    let mut partitions_of = Vec::new();
    for topic in [PROGRAMS, SESSIONS, BOOKINGS, RESPONSES] {
        let partitions = random.between(1, 3) as i32;
        stage.create_topic(topic, partitions);
        partitions_of.push((topic, partitions));
    }
    // A booking may name another session only where one partition keeps the order of both.
    let moves = partitions_of.contains(&(BOOKINGS, 1));
    // More bookings than seats, confirmed one after the other.
    let crowded = random.one_in(5);
    let theme = Theme {
        moves,
        sessions: if crowded { 1 } else { random.between(1, 3) },
        registrations: [random.uuid(), random.uuid()],
        events: random.pick::<&[u8]>(&[&[0, 0, 1, 2, 3, 3, 3, 4, 4], &[2, 3, 3, 3, 3], &[0, 1, 2], &[4]]),
    };
    let mut sent: Vec<Sent> = Vec::new();
    for at in 0..random.between(4, 20) {
        let next = match random.below(16) {
            0 | 1 if !sent.is_empty() => random.pick(&sent).clone(),
            2 if !sent.is_empty() => {
                let other = random.pick(&sent).clone();
                conflict(random, &other, &theme, at)
            }
            3 => poison(random),
            _ => {
                let draft = if crowded { crowd(random, &theme, at) } else { draft(random, &theme) };
                let tenant = if crowded { TENANTS[0] } else { random.pick(&TENANTS) };
                let id = (!random.one_in(8)).then(|| random.uuid());
                send(random, draft, tenant, id, at)
            }
        };
        stage.append(next.topic, next.record.clone());
        sent.push(next);
    }
}

/// Another event under an id that is taken, on the same topic and of the same home.
fn conflict(random: &mut Random, other: &Sent, theme: &Theme, at: usize) -> Sent {
    for _ in 0..20 {
        let draft = draft(random, theme);
        if draft.topic == other.topic && *draft.home() == other.home && other.id.is_some() {
            return send(random, draft, other.tenant, other.id, at);
        }
    }
    other.clone()
}

/// The next event of a crowd: each booking is requested, then confirmed; now and then the session is scheduled.
fn crowd(random: &mut Random, theme: &Theme, at: usize) -> Draft {
    if random.one_in(4) {
        return event(random, theme, 2);
    }
    let verb = if at.is_multiple_of(2) { "requested" } else { "confirmed" };
    booking(at / 2, 0, verb)
}

fn booking(booking: usize, session: usize, verb: &'static str) -> Draft {
    let extensions = json!({extension("session_id"): format!("s{session}")});
    let object = activity("booking", &format!("b{booking}"));
    Draft { extensions, ..plain(BOOKINGS, format!("s{session}"), verb, object) }
}

fn activity(kind: &str, id: &str) -> String {
    format!("http://nlj.platform/activities/{kind}/{id}")
}

fn plain(topic: &'static str, key: String, verb: &'static str, object: String) -> Draft {
    Draft { topic, key, verb, object, name: None, registration: None, result: None, extensions: json!({}) }
}

fn draft(random: &mut Random, theme: &Theme) -> Draft {
    let kind = *random.pick(theme.events);
    event(random, theme, kind)
}

fn event(random: &mut Random, theme: &Theme, kind: u8) -> Draft {
    let session = random.below(theme.sessions);
    match kind {
        0 => {
            let program = format!("p{}", random.below(2));
            let title = random.pick(&["Fire safety", "First aid"]).to_string();
            let draft = plain(PROGRAMS, program.clone(), "created", activity("program", &program));
            Draft { name: Some(title), ..draft }
        }
        1 => {
            let program = format!("p{}", random.below(2));
            plain(PROGRAMS, program.clone(), "published", activity("program", &program))
        }
        2 => {
            let program = format!("p{}", session % 2);
            let extensions = json!({
                extension("program_id"): program,
                extension("starts_at"): "2027-03-01T09:00:00Z",
                extension("ends_at"): "2027-03-01T12:00:00Z",
                extension("capacity"): random.between(1, 2),
            });
            let object = activity("session", &format!("s{session}"));
            Draft { extensions, ..plain(SESSIONS, program, "scheduled", object) }
        }
        3 => {
            let number = random.below(4);
            let session = if theme.moves && random.one_in(6) { session } else { number % theme.sessions };
            let verb = *random.pick(&["requested", "requested", "confirmed", "confirmed", "waitlisted"]);
            booking(number, session, verb)
        }
        _ => {
            let registration = *random.pick(&theme.registrations);
            let survey = if random.one_in(8) { "exit" } else { "pulse" };
            let key = registration.to_string();
            let mut draft = match random.below(4) {
                0 => plain(RESPONSES, key, "initialized", activity("survey", survey)),
                1 => plain(RESPONSES, key, "completed", activity("survey", survey)),
                _ => {
                    let object = activity("question", &format!("q{}", random.below(2)));
                    let extensions = json!({extension("survey_id"): survey});
                    let result = Some(json!({"score": {"raw": random.below(10)}}));
                    Draft { extensions, result, ..plain(RESPONSES, key, "answered", object) }
                }
            };
            draft.registration = Some(registration);
            draft
        }
    }
}

fn extension(name: &str) -> String {
    format!("http://nlj.platform/extensions/{name}")
}

fn send(random: &mut Random, draft: Draft, tenant: &'static str, id: Option<Uuid>, at: usize) -> Sent {
    let home = draft.home().to_owned();
    let mut statement = json!({
        "actor": {"mbox": format!("mailto:learner{}@lyceum.example", random.below(3))},
        "verb": {"id": format!("http://nlj.platform/verbs/{}", draft.verb)},
        "object": {"id": draft.object},
        "context": {"extensions": draft.extensions},
    });
    // The note makes two events of one kind differ in content.
    statement["context"]["extensions"][extension("note")] = json!(at);
    if let Some(name) = draft.name {
        statement["object"]["definition"] = json!({"name": {"en": name}});
    }
    if let Some(registration) = draft.registration {
        statement["context"]["registration"] = json!(registration);
    }
    if let Some(result) = draft.result {
        statement["result"] = result;
    }
    if random.one_in(2) {
        statement["timestamp"] = json!(format!("2027-01-15T08:00:{:02}Z", at % 60));
    }
    if let Some(id) = id {
        statement["id"] = json!(id);
    }
    let mut headers = Vec::new();
    let value = if random.one_in(2) {
        headers.push(Header::new("tenant-id", tenant));
        statement
    } else {
        json!({"xapi_data": statement, "metadata": {"tenant_id": tenant}})
    };
    let key = draft.key;
    let record = NewRecord {
        partition: None,
        key: Some(key.into()),
        value: Some(value.to_string().into()),
        headers,
        timestamp_ms: Some(BEGINNING_MS + at as i64),
    };
    Sent { topic: draft.topic, record, id, home, tenant }
}

fn poison(random: &mut Random) -> Sent {
    let topic = *random.pick(&[PROGRAMS, SESSIONS, BOOKINGS, RESPONSES]);
    let key = format!("s{}", random.below(2));
    let value = *random.pick(&[Some(&b"\xff\x00"[..]), Some(b"{\"verb\": 1}"), Some(b"[]"), None]);
    // Wherever its key sends it: also a partition that is named.
    let partition = random.one_in(2).then(|| partition_for_key(key.as_bytes(), 1));
    let record = NewRecord {
        partition,
        key: Some(key.into()),
        value: value.map(Bytes::from_static),
        headers: Vec::new(),
        timestamp_ms: Some(BEGINNING_MS),
    };
    Sent { topic, record, id: None, home: String::new(), tenant: TENANTS[0] }
}
