//! Projections are rebuilt beside the live ones and swapped in, while events come and the process dies: both answer the same, and nothing
//! goes out twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lyceum_around::system_clock::SystemClock;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::generations::comparing::difference;
use lyceum_core::outcome::Outcome;
use lyceum_core::ports::ledger::Ledger;
use lyceum_core::record::{Header, Position, Record};
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_functions::Look;
use lyceum_generate::{Generator, Made, Plan, Shares};
use lyceum_given::binary::workspace;
use lyceum_tests::load::{Requests, settle};
use lyceum_tests::workplace::{Server, Workplace};
use serde_json::{Value, json};

use crate::load::learning::Profiles;

/// One of each effect that can be rebuilt: numbers, numbers, windows of others' events, states whose keys are at home.
const REBUILT: [&str; 4] = ["learning", "engagement", "watch-security", "survey"];
const PATIENCE: Duration = Duration::from_secs(600);

async fn known(server: &Server, name: &str) -> Value {
    let (status, answer) = server.get("/api/rebuild", None).await;
    assert_eq!(status, 200, "{answer}");
    let all = answer["subscriptions"].as_array().expect("a list");
    all.iter().find(|known| known["subscription"] == name).unwrap_or_else(|| panic!("{name}: {answer}")).clone()
}

/// What every topic of letters and follow-ups holds: those ids that are there more than once.
async fn published_twice(server: &Server) -> Vec<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let (_, topics) = server.get("/api/topics", None).await;
    for topic in topics["topics"].as_array().expect("a list") {
        let topic = topic["topic"].as_str().expect("a name");
        let mut offsets = String::new();
        loop {
            let path = format!("/api/topics/{topic}/records?limit=1000&offsets={offsets}");
            let (status, answer) = server.get(&path, None).await;
            assert_eq!(status, 200, "{answer}");
            let records = answer["records"].as_array().expect("a list");
            for record in records {
                let header = |name: &str| {
                    let headers = record["headers"].as_array()?;
                    headers.iter().find(|header| header[0] == name)?[1].as_str().map(str::to_owned)
                };
                // Of ours alone: whoever sends an event twice does so on purpose.
                let follows = header("lyceum-hops").and_then(|_| record["value"]["id"].as_str().map(str::to_owned));
                if let Some(id) = header("lyceum-letter-id").or(follows) {
                    *times.entry(format!("{topic} {id}")).or_default() += 1;
                }
            }
            offsets = answer["next"].as_str().expect("a place").to_owned();
            if records.is_empty() {
                break;
            }
        }
    }
    assert!(times.len() > 20, "{} letters and follow-ups are too few to tell", times.len());
    times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect()
}

async fn analytics(server: &Server) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in ["/api/analytics/platform/overview", "/api/analytics/learning", "/api/tenants"] {
        let (status, answer) = server.get(path, None).await;
        assert_eq!(status, 200, "{answer}");
        answers.push(answer);
    }
    answers
}

/// A tenant has one window, which sees the events of all partitions: its events come one after the other here, as they do in life.
async fn watch(workplace: &Workplace, server: &Server, from: u64) {
    let sample = std::fs::read_to_string(workspace().join("events/governance/valid/ir.approval_invalid.json"));
    let sample: Value = serde_json::from_str(&sample.expect("the sample is there")).expect("it is JSON");
    for number in from..from + 12 {
        let mut event = sample.clone();
        event["id"] = json!(format!("6f1c2a9e-0000-4000-8000-{number:012}"));
        event["payload"]["approval_id"] = json!(format!("approval-{}", number % 7));
        event["payload"]["actor"] = json!(format!("actor-{}", number % 3));
        workplace.write("watched.json", event.to_string());
        workplace.run(&["ingest", "watched.json"]).expect_code(0);
    }
    settle(server, PATIENCE).await;
}

fn generate(seed: &'static str, events: &'static str) -> [&'static str; 13] {
    let families = "learning,engagement,survey,training,statement,distribution";
    [
        "generate",
        "--families",
        families,
        "--events",
        events,
        "--seed",
        seed,
        "--duplicates",
        "0.03",
        "--broken",
        "0.03",
        "--to",
        "all",
    ]
}

#[tokio::test]
async fn projections_are_rebuilt_while_events_come_and_answer_the_same() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let loading = &generate("11", "5000");
    workplace.run(loading).expect_code(0);
    watch(&workplace, &server, 0).await;
    let before = analytics(&server).await;

    workplace.run(&["rebuild", "learning", "--dry-run"]).expect_code(0).expect_print(&["records would be read"]);
    assert_eq!(known(&server, "learning").await["build"], json!(null));
    for name in REBUILT {
        workplace.run(&["rebuild", name, "--no-swap"]).expect_code(0).expect_print(&["has all"]);
        assert_eq!(known(&server, name).await["live"], 0);
        workplace.run(&["rebuild", name, "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    }
    // Others go on, and a swap is none of their affair.
    let further = &generate("12", "2500");
    let coming = workplace.start(further);
    for name in REBUILT {
        workplace.run(&["rebuild", name]).expect_code(0).expect_print(&["generation 1", "is live"]);
        let known = known(&server, name).await;
        assert_eq!((&known["live"], &known["build"]["stage"]), (&json!(1), &json!("swapped")), "{known}");
    }
    coming.wait().expect_code(0);
    watch(&workplace, &server, 100).await;
    for name in REBUILT {
        // What came since the swap is in the live one alone: the one before lacks it, until it has what it lacks.
        workplace.run(&["rebuild", name, "--back"]).expect_code(0).expect_print(&["generation 0", "is live"]);
        workplace.run(&["rebuild", name]).expect_code(0).expect_print(&["generation 2", "is live"]);
        workplace.run(&["rebuild", name, "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    }
    assert_eq!(published_twice(&server).await, Vec::<String>::new());
    let after = analytics(&server).await;
    assert_ne!(before, after, "events came meanwhile");
    let (status, learner) = server.get("/api/rebuild/compare?subscription=learning", None).await;
    assert_eq!((status, &learner["differing"]), (200, &json!(0)));
    assert!(learner["same"].as_u64().is_some_and(|same| same > 50), "{learner}");
    server.stop().expect_code(0);
}

#[tokio::test]
async fn a_rebuild_goes_on_where_the_process_was_killed_and_can_be_cancelled() {
    let workplace = Workplace::new();
    let mut server = workplace.up(&[]);
    workplace.run(&generate("13", "8000")).expect_code(0);
    settle(&server, PATIENCE).await;
    let mut killed_amid = 0;
    for _ in 0..2 {
        let start = json!({"subscription": "learning", "action": "start", "swap": true});
        let (status, answer) = server.post("/api/rebuild", &start, None).await;
        assert_eq!(status, 200, "{answer}");
        let stage = async || known(&server, "learning").await["build"]["stage"].clone();
        while stage().await.is_null() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        killed_amid += usize::from(stage().await == "building");
        server.running.kill();
        server = workplace.up(&[]);
    }
    assert!(killed_amid > 0, "it was never killed while it worked");
    workplace.run(&["rebuild", "learning"]).expect_code(0).expect_print(&["is live"]);
    workplace.run(&["rebuild", "learning", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    assert_eq!(published_twice(&server).await, Vec::<String>::new());

    workplace.run(&["rebuild", "survey", "--no-swap"]).expect_code(0);
    workplace
        .run(&["rebuild", "survey", "--cancel"])
        .expect_code(0)
        .expect_print(&["cancelled", "generation 0 is live"]);
    workplace
        .run(&["rebuild", "survey", "--cancel"])
        .expect_code(1)
        .expect_report(&["no rebuild of survey is under way"]);
    workplace.run(&["rebuild"]).expect_code(0).expect_print(&["survey", "cancelled", "learning", "swapped"]);
    workplace.run(&["rebuild", "survey", "--back"]).expect_code(1).expect_report(&["nothing to go back to"]);
    for name in ["statement", "generator", "audit", "no such"] {
        workplace.run(&["rebuild", name]).expect_code(1).expect_report(&["can be built anew", "learning"]);
    }
    server.stop().expect_code(0);
    // Where no process serves the data, the command does it by itself.
    workplace.run(&["rebuild", "engagement"]).expect_code(0).expect_print(&["generation 1 of engagement is live"]);
    workplace.run(&["rebuild", "engagement", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
}

/// How many documents there are, by type.
async fn documents(server: &Server) -> Value {
    let (status, answer) = server.get("/api/analytics/platform/overview", None).await;
    assert_eq!(status, 200, "{answer}");
    json!([answer["total"], answer["event_types"], answer["other_documents"]])
}

/// Of the last build of documents: how many of which kind.
async fn outcome(server: &Server, what: &str) -> u64 {
    known(server, "documents").await["build"]["outcomes"][what].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn documents_are_made_anew_while_events_come_and_the_process_is_killed() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    workplace.run(&generate("17", "4000")).expect_code(0);
    settle(&server, PATIENCE).await;
    let before = documents(&server).await;
    workplace.run(&["rebuild", "documents", "--dry-run"]).expect_code(0).expect_print(&["documents would be read"]);
    // Of the same release and the same settings nothing is otherwise.
    workplace
        .run(&["rebuild", "documents", "--no-swap"])
        .expect_code(0)
        .expect_print(&["index 1", "fields changed: 0"]);
    workplace.run(&["rebuild", "documents", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    workplace.run(&["rebuild", "documents", "--cancel"]).expect_code(0).expect_print(&["index 0 is live"]);
    server.stop().expect_code(0);

    // Whose accounts the users of numbers' events are is a setting, and documents have it in their fields.
    let moved = [("LEARNER_HOME_PAGE", "https://people.example.org/users")];
    let mut server = workplace.up(&moved);
    workplace
        .run(&["rebuild", "documents", "--no-swap"])
        .expect_code(0)
        .expect_print(&["index 2", "kept as they were: 0"]);
    let changed = outcome(&server, "changed").await;
    assert!(changed > 500 && outcome(&server, "same").await > 500, "{changed}");
    let differing = workplace.run(&["rebuild", "documents", "--compare"]);
    differing.expect_code(3).expect_print(&["at /fields/actor", &format!("{changed} differ"), "people.example.org"]);
    assert_eq!(documents(&server).await, before, "the live ones answer");

    // Events come, and the process dies: what it had begun is gone on with.
    let coming = workplace.start(&generate("18", "1500"));
    let swap = json!({"subscription": "documents", "action": "start", "swap": true});
    workplace.run(&["rebuild", "documents", "--cancel"]).expect_code(0);
    let (status, answer) = server.post("/api/rebuild", &swap, None).await;
    assert_eq!(status, 200, "{answer}");
    coming.wait().expect_code(0);
    server.running.kill();
    server = workplace.up(&moved);
    workplace.run(&["rebuild", "documents"]).expect_code(0).expect_print(&["is live", "documents"]);
    settle(&server, PATIENCE).await;
    let after = documents(&server).await;
    assert_ne!(before, after, "events came meanwhile");
    workplace.run(&["reconcile"]).expect_code(0);

    // Once more, of what is live now: nothing is otherwise, and nothing is missing.
    workplace.run(&["rebuild", "documents", "--no-swap"]).expect_code(0).expect_print(&["fields changed: 0"]);
    workplace.run(&["rebuild", "documents", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    workplace.run(&["rebuild", "documents"]).expect_code(0).expect_print(&["is live"]);
    assert_eq!(documents(&server).await, after);
    workplace.run(&["rebuild", "documents", "--drop-old"]).expect_code(0).expect_print(&["deleted are indices"]);
    workplace.run(&["rebuild", "documents", "--drop-old"]).expect_code(0).expect_print(&["nothing is to be dropped"]);
    workplace.run(&["rebuild", "documents", "--back"]).expect_code(1).expect_report(&["lacks what came since"]);
    workplace.run(&["rebuild", "documents", "--cancel"]).expect_code(1).expect_report(&["no rebuild of documents"]);
    workplace.run(&["rebuild", "documents", "--compare"]).expect_code(1).expect_report(&["--no-swap"]);
    workplace.run(&["rebuild", "documents", "--lacking"]).expect_code(1).expect_report(&["lack nothing"]);
    server.stop().expect_code(0);
    // Where no process serves the data, the command does it by itself.
    workplace.run(&["rebuild", "documents"]).expect_code(0).expect_print(&["of documents is live"]);
}

/// What answers the questions of analytics: numbers, survey responses, windows.
const ANALYTICS: [&str; 5] = ["learning", "content", "engagement", "survey", "watch-security"];
/// Whose the made-up events are.
const TENANT: &str = "academy";
/// So many of a kind are asked for.
const ASKED: usize = 40;

/// A made-up load on its way, and what can be asked about what was sent of it.
struct Load {
    events: Generator,
    look: Look,
    profiles: Profiles,
    /// Ids by kind of state.
    states: BTreeMap<&'static str, BTreeSet<String>>,
    statements: BTreeSet<String>,
    /// Who has done anything; not everybody has statements.
    learners: BTreeSet<String>,
    watched: u64,
}

impl Load {
    /// Of every family but governance: its events must come one after the other (see [`watch`]).
    fn new(events: u64) -> Self {
        let families = lyceum_generate::families().filter(|name| *name != "governance").map(str::to_owned);
        let shares = Shares { duplicates: 0.02, broken: 0.02, late: 0.01, out_of_order: 0.01 };
        let plan = Plan { seed: 21, events: Some(events), families: families.collect(), shares, ..Plan::default() };
        Self {
            events: Generator::new(plan).expect("the plan is good"),
            look: Look::new(EnvelopeConfig::default()),
            profiles: Profiles::default(),
            states: BTreeMap::new(),
            statements: BTreeSet::new(),
            learners: BTreeSet::new(),
            watched: 0,
        }
    }

    /// Publishes the next ones; some may not be settled when it returns.
    async fn send(&mut self, server: &Server, events: usize) {
        let mut requests = Requests::default();
        for _ in 0..events {
            let made = self.events.next().expect("there are more");
            self.profiles.add(&made);
            self.note(&made);
            requests.add(&made, server).await;
        }
        requests.flush(server).await;
    }

    async fn watch(&mut self, workplace: &Workplace, server: &Server) {
        watch(workplace, server, self.watched).await;
        self.watched += 100;
    }

    /// Notes what it is about, as its family reads it.
    fn note(&mut self, made: &Made) {
        let Some(value) = made.value.clone().filter(|_| made.outcome == Outcome::Applied) else { return };
        let record = Record {
            position: Position::new(made.topic, 0, 0),
            timestamp_ms: made.timestamp_ms,
            key: Some(made.key.clone().into()),
            value: Some(value.into()),
            headers: made.headers.iter().map(|(name, value)| Header::new(name, value.clone())).collect(),
        };
        let seen = self.look.at(&record).event().expect("it must be applied");
        let read = seen.read.expect("its family reads it");
        if made.family == "statement" && self.statements.len() < ASKED {
            self.statements.insert(seen.id.to_string());
        }
        if made.family == "survey" {
            read.aggregates().into_iter().for_each(|of| self.state(of.kind, &of.id));
        }
        if ["learning", "content", "engagement"].contains(&made.family) {
            self.names(made.family, &read.fields());
        }
    }

    fn state(&mut self, kind: &'static str, id: &str) {
        let ids = self.states.entry(kind).or_default();
        if ids.len() < ASKED {
            ids.insert(id.to_owned());
        }
    }

    /// The counters of an event, by the names of its fields.
    fn names(&mut self, family: &str, fields: &Value) {
        let Value::Object(fields) = fields else { return };
        for (name, value) in fields {
            let kind = match (family, name.as_str()) {
                ("learning", "user_id") => "learner",
                ("learning", "concept_ids") => "concept",
                ("content", "content_id") => "content",
                ("engagement", "channel") => "channel",
                ("engagement", "achievement_id") => "achievement",
                ("engagement", "challenge_id") => "challenge",
                _ => {
                    self.names(family, value);
                    continue;
                }
            };
            if let ("learner", Some(id)) = (kind, value.as_str()) {
                self.learners.insert(id.to_owned());
            }
            let several = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            several.iter().filter_map(Value::as_str).for_each(|id| self.state(kind, id));
        }
    }

    /// Every question of analytics, of all time and of a part of it, and what is kept of whatever was sent: path and answer.
    async fn ask(&self, server: &Server) -> BTreeMap<String, Value> {
        let mut paths = vec!["/api/tenants".to_owned(), "/api/security?limit=200".to_owned()];
        let mut answers = BTreeMap::new();
        for span in ["", "&from=2024-01-15&to=2024-02-20"] {
            paths.push(format!("/api/analytics/platform/overview?tenant={TENANT}{span}"));
            let learning = format!("/api/analytics/learning?tenant={TENANT}{span}");
            let (status, answer) = server.get(&learning, None).await;
            assert_eq!(status, 200, "{answer}");
            let surveys = answer["surveys"].as_array().expect("a list").clone();
            assert!(!surveys.is_empty(), "{answer}");
            for survey in surveys {
                let id = segment(survey["survey"].as_str().expect("a name"));
                paths.push(format!("/api/analytics/surveys/{id}?tenant={TENANT}{span}"));
            }
            answers.insert(learning, answer);
        }
        let mut learners = 0;
        for id in &self.learners {
            let path = format!("/api/analytics/learners/{}?tenant={TENANT}", segment(id));
            let (status, answer) = server.get(&path, None).await;
            assert!(status == 200 || status == 404, "{path}: {answer}");
            if status == 200 {
                learners += 1;
                answers.insert(path, answer);
            }
            if learners == ASKED {
                break;
            }
        }
        assert!(learners > 0, "nobody of {} has a statement", self.learners.len());
        paths.extend(self.statements.iter().map(|id| format!("/api/statements/{id}?tenant={TENANT}")));
        for (kind, ids) in &self.states {
            paths.extend(ids.iter().map(|id| format!("/api/state/{kind}/{}?tenant={TENANT}", segment(id))));
        }
        for path in paths {
            let (status, answer) = server.get(&path, None).await;
            assert_eq!(status, 200, "{path}: {answer}");
            answers.insert(path, answer);
        }
        answers
    }
}

/// As a part of a path.
fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Has all of them do it.
async fn act_on_all(server: &Server, action: &str, swaps: bool) {
    for name in ANALYTICS {
        let asked = json!({"subscription": name, "action": action, "swap": swaps});
        let (status, answer) = server.post("/api/rebuild", &asked, None).await;
        assert_eq!(status, 200, "{name}: {answer}");
    }
}

/// Waits until what is known of a subscription is so; what it is then.
async fn until(server: &Server, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let known = known(server, name).await;
        if is_so(&known) {
            return known;
        }
        assert!(started.elapsed() < PATIENCE, "{name} is never {what}: {known}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_all_are(server: &Server, stage: &str) {
    for name in ANALYTICS {
        until(server, name, stage, |known| known["build"]["stage"] == stage && known["works_here"] == false).await;
    }
}

fn assert_same(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (path, answer) in one {
        assert_eq!(difference(Some(answer.clone()), Some(other[path].clone())), None, "{path}");
    }
}

#[tokio::test]
async fn analytics_rebuilt_beside_the_live_ones_answer_every_question_the_same_whatever_is_killed_on_the_way() {
    let workplace = Workplace::new();
    let mut server = workplace.up(&[]);
    let mut load = Load::new(9_000);
    load.send(&server, 7_000).await;
    load.watch(&workplace, &server).await;
    let before = load.ask(&server).await;

    // Killed in the middle of building, while events come.
    act_on_all(&server, "start", false).await;
    load.send(&server, 300).await;
    until(&server, "learning", "begun", |known| !known["build"].is_null()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(server.running.kill(), "it had ended before");
    server = workplace.up(&[]);
    load.send(&server, 300).await;
    until_all_are(&server, "ready").await;
    load.watch(&workplace, &server).await;
    // What came meanwhile is lacking; then both have all, and the one that is live answers.
    act_on_all(&server, "start", false).await;
    until_all_are(&server, "ready").await;
    for name in ANALYTICS {
        let (status, compared) = server.get(&format!("/api/rebuild/compare?subscription={name}"), None).await;
        assert_eq!((status, &compared["differing"]), (200, &json!(0)), "{compared}");
        assert!(compared["same"].as_u64().is_some_and(|same| same > 0), "{compared}");
        assert_eq!(compared["generations"], json!([0, 1]));
    }

    // Killed in the middle of the hold, while events come, which wait.
    act_on_all(&server, "start", true).await;
    until(&server, "learning", "held", |known| known["is_held"] == true).await;
    load.send(&server, 300).await;
    let held = known(&server, "learning").await;
    assert_eq!((&held["is_held"], &held["live"]), (&json!(true), &json!(0)), "it was swapped before it was killed");
    assert!(server.running.kill(), "it had ended before");
    server = workplace.up(&[]);
    assert_eq!(known(&server, "learning").await["live"], 0);
    load.send(&server, 300).await;
    until_all_are(&server, "swapped").await;
    load.send(&server, 300).await;
    load.watch(&workplace, &server).await;
    for name in ANALYTICS {
        assert_eq!(known(&server, name).await["live"], 1, "{name}");
    }
    let rebuilt = load.ask(&server).await;
    assert!(rebuilt.len() > 200, "{} questions are too few", rebuilt.len());
    assert!(before.iter().any(|(path, answer)| rebuilt.get(path) != Some(answer)), "events came meanwhile");

    // The generation that was live from the first event on is brought up to now, and answers in its place.
    act_on_all(&server, "back", true).await;
    until_all_are(&server, "swapped").await;
    for name in ANALYTICS {
        assert_eq!(known(&server, name).await["live"], 0, "{name}");
    }
    assert_same(&rebuilt, &load.ask(&server).await);
    // And both say what a reader of the events alone makes of them.
    load.profiles.compare(&server).await;
    server.stop().expect_code(0);
}

#[tokio::test]
async fn generations_that_nobody_needs_are_dropped_whatever_is_killed_and_there_is_no_way_back_then() {
    let workplace = Workplace::new();
    let mut server = workplace.up(&[]);
    let mut load = Load::new(6_000);
    load.send(&server, 6_000).await;
    settle(&server, PATIENCE).await;
    let learner = load.states["learner"].first().expect("there are some").clone();
    let path = format!("/api/state/learner/{}?tenant={TENANT}", segment(&learner));
    let refused = workplace.run(&["rebuild", "learning", "--drop-old"]).expect_code(1);
    refused.expect_report(&["learning was never rebuilt", "nothing to be dropped"]);
    workplace.run(&["rebuild", "learning"]).expect_code(0).expect_print(&["generation 1", "is live"]);
    // What a next rebuild makes unreachable is dropped without being asked for.
    workplace.run(&["rebuild", "engagement"]).expect_code(0);
    assert_eq!(known(&server, "engagement").await["dropping"]["generations"], json!([]));
    workplace.run(&["rebuild", "engagement", "--no-swap"]).expect_code(0);
    assert_eq!(known(&server, "engagement").await["dropping"]["generations"], json!([0]));

    let asked = workplace.run(&["rebuild", "learning", "--drop-old"]).expect_code(0);
    asked.expect_print(&["generations of learning that are dropped from", "on: 0", "no way back"]);
    let first = server.get(&path, None).await;
    assert_eq!(first.0, 200, "{first:?}");
    let waiting = known(&server, "learning").await;
    assert_eq!((&waiting["dropping"]["generations"], &waiting["dropping"]["states"]), (&json!([0]), &json!(0)));
    workplace.run(&["rebuild", "status"]).expect_code(0).expect_print(&["generations of learning", "engagement"]);
    workplace.run(&["rebuild", "learning", "--back"]).expect_code(1).expect_report(&["is dropped", "lyceum rebuild"]);
    workplace.run(&["rebuild", "learning", "--compare"]).expect_code(1).expect_report(&["one generation"]);

    // No batch of before goes on in a process that has begun since, so that it drops at once; it is killed in the middle of that.
    assert!(server.running.kill(), "it had ended before");
    let mut left = 0;
    for wait_ms in [0, 40, 120, 300] {
        server = workplace.up(&[]);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        left += usize::from(known(&server, "learning").await["dropping"]["generations"] == json!([0]));
        assert!(server.running.kill(), "it had ended before");
    }
    assert!(left > 0, "it was never killed before all was gone");
    server = workplace.up(&[]);
    until(&server, "learning", "dropped", |known| known["dropping"]["dropped"] == json!([0])).await;
    until(&server, "engagement", "dropped", |known| known["dropping"]["dropped"] == json!([0])).await;
    let dropped = workplace.run(&["rebuild", "learning", "--drop-old"]).expect_code(0);
    dropped.expect_print(&["dropped are generations 0 of learning", "generation 1 is live"]);
    // The one that is live has all.
    assert_eq!(first, server.get(&path, None).await);
    workplace.run(&["rebuild", "learning"]).expect_code(0).expect_print(&["generation 2", "is live"]);
    workplace.run(&["rebuild", "learning", "--compare"]).expect_code(0).expect_print(&["0 differ"]);
    server.stop().expect_code(0);
    // Where nobody serves the data, the command drops at once.
    workplace
        .run(&["rebuild", "learning", "--drop-old"])
        .expect_code(0)
        .expect_print(&["generations 0, 1 of learning"]);
    let file = workplace.path().join(".lyceum/ledger.sqlite");
    let embedded = EmbeddedDynamoDb::open(&file).expect("nobody else has it open");
    let ledger = embedded.ledger(Arc::new(SystemClock)).await.expect("it is a ledger");
    for kind in ["learner", "concept", "learner@1", "concept@1", "learner@2", "concept@2"] {
        let states = ledger.list(TENANT, kind, 10).await.expect("it answers").len();
        assert_eq!(states == 0, !kind.ends_with("@2"), "{states} of {kind}");
    }
}
