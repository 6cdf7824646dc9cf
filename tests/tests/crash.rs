//! Killed at any moment and started again, an ingestion ends as if nothing had happened.
//!
//! The corpus is small enough for every run of the tests. `LYCEUM_CRASH_CORPUS` (JSON lines, gzipped or not),
//! `LYCEUM_CRASH_ROUNDS` (so often, each time with fresh ids), `LYCEUM_CRASH_EVENTS` (training and survey events, about) and
//! `LYCEUM_CRASH_KILLS` make the same test as large as one likes; `LYCEUM_CRASH_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lyceum_tests::academy::{Academy, QUESTIONS, Size, count_verb, new_id, video_statements};
use lyceum_tests::binary;
use lyceum_tests::workplace::{Running, Server, Workplace};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// What is asked for.
struct Setting {
    corpus: Option<String>,
    rounds: u64,
    events: usize,
    kills: usize,
    seed: u64,
}

impl Setting {
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")),
            Err(_) => default,
        };
        Self {
            corpus: std::env::var("LYCEUM_CRASH_CORPUS").ok(),
            rounds: number("LYCEUM_CRASH_ROUNDS", 1),
            events: number("LYCEUM_CRASH_EVENTS", 1_500) as usize,
            kills: number("LYCEUM_CRASH_KILLS", 6) as usize,
            seed: number("LYCEUM_CRASH_SEED", 20_260_314),
        }
    }

    /// A program brings 2 or 3 events of its own, and its two sessions 35; a response brings six.
    fn size(&self) -> Size {
        Size { programs: self.events / 75, bookings: 10, responses: self.events / 12 }
    }
}

/// The statements that belong to no state: their ids, and how many there are of each verb.
#[derive(Default)]
struct Statements {
    ids: BTreeSet<String>,
    verbs: BTreeMap<String, u64>,
}

/// Writes the files that are ingested, the same ones after each kill.
fn write_statements(setting: &Setting, workplace: &Workplace) -> (Vec<String>, Statements) {
    let mut statements = Statements::default();
    let mut files = Vec::new();
    let mut random = StdRng::seed_from_u64(setting.seed + 1);
    for round in 0..setting.rounds {
        let name = format!("statements-{round}.jsonl.gz");
        let mut file = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut write = |mut statement: Value| {
            let id = new_id(&mut random).to_string();
            statement["id"] = json!(id);
            count_verb(&mut statements.verbs, &statement);
            statements.ids.insert(id);
            writeln!(file, "{statement}").expect("memory can be written");
        };
        match &setting.corpus {
            None => video_statements(setting.seed, 3_000).into_iter().for_each(&mut write),
            Some(corpus) => {
                let lines = BufReader::new(open(corpus)).lines();
                let lines = lines.map(|line| line.unwrap_or_else(|error| panic!("{corpus} cannot be read: {error}")));
                let read = |line: String| {
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{corpus} has a line that {error}"))
                };
                lines.filter(|line| !line.trim().is_empty()).map(read).for_each(&mut write);
            }
        }
        workplace.write(&name, file.finish().expect("memory can be written"));
        files.push(name);
    }
    (files, statements)
}

fn open(corpus: &str) -> Box<dyn Read> {
    let file = std::fs::File::open(corpus).unwrap_or_else(|error| panic!("{corpus} cannot be opened: {error}"));
    if corpus.ends_with(".gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }
}

/// Who asks holds a lease for the quarter of an hour that asking may take, and here it ends with the process.
#[test]
fn a_process_that_was_killed_while_it_asked_for_content_keeps_the_next_one_from_nothing() {
    let workplace = Workplace::new();
    let request = include_str!("../../events/generation/valid/content.generation.requested.bare.json");
    workplace.write("request.json", request);
    // It takes a request, and never answers it.
    let generator = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", generator.local_addr().expect("an address"));
    let asks = [("CLAUDE_API_KEY", "key"), ("CONTENT_GENERATOR_MODEL", "slow"), ("CONTENT_GENERATOR_URL", &*url)];
    let mut command = workplace.command(&["ingest", "request.json"]);
    let asking = Running::start(command.envs(asks));
    let (mut asked, _) = generator.accept().expect("the generator is asked");
    let mut first = [0; 4];
    asked.read_exact(&mut first).expect("the request comes");
    assert_eq!(&first, b"POST");
    assert!(asking.kill(), "it waited for the answer");

    // The next one has the twin in the process, which answers at once.
    let summary = workplace.run(&["ingest", "request.json", "--format", "json"]).expect_code(0).json();
    assert_eq!((&summary["unsettled"], &summary["dead_lettered"]), (&json!(0), &json!({})), "{summary}");
    let shown = workplace.run(&["show", "generation", "lesson-7"]).expect_code(0).json();
    assert!(shown.to_string().contains("\"completed\""), "{shown}");
}

#[tokio::test]
async fn after_any_number_of_kills_every_event_has_had_its_effect_exactly_once() {
    let setting = Setting::from_environment();
    let workplace = Workplace::new();
    let academy = Academy::new(setting.seed, setting.size());
    workplace.write_lines("academy.jsonl", &academy.events);
    let (files, mut statements) = write_statements(&setting, &workplace);
    let total = academy.events.len() + statements.ids.len();
    let ingest: Vec<&str> = ["ingest", "academy.jsonl"]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .chain(["--format", "json"])
        .collect();
    println!(
        "seed {}: {} training and survey events, {} statements",
        setting.seed,
        academy.events.len(),
        statements.ids.len()
    );

    // How long it takes without a kill, on this machine and now, says how long a run may live: so that they get through
    // the whole together, and kills fall everywhere.
    binary::lyceum();
    let started = Instant::now();
    let undisturbed = workplace.run(&[&ingest[..], &["--data", "undisturbed"]].concat()).expect_code(0).json();
    assert_eq!((&undisturbed["applied"], &undisturbed["duplicate"]), (&json!(total), &json!(0)), "{undisturbed}");
    let mut longest = started.elapsed().mul_f64(2.5 / setting.kills as f64) + Duration::from_millis(200);
    println!("undisturbed: {:.1} s, {} per second", started.elapsed().as_secs_f64(), undisturbed["per_second"]);

    let mut random = StdRng::seed_from_u64(setting.seed + 2);
    let mut killed = 0;
    let mut killed_in_the_middle = 0;
    while killed < setting.kills {
        let delay = Duration::from_secs_f64(random.random_range(0.02..1.0) * longest.as_secs_f64());
        let running = workplace.start(&ingest);
        std::thread::sleep(delay);
        if !running.kill() {
            longest /= 2;
            continue;
        }
        killed += 1;
        let asked = workplace.run(&["query", "platform", "--format", "json"]);
        // One that was killed at once has not made the folder yet.
        let stored =
            if asked.stderr.contains("no data in") { json!(0) } else { asked.expect_code(0).json()["total"].clone() };
        killed_in_the_middle += usize::from(stored.as_u64().is_some_and(|stored| stored < total as u64));
        println!("kill {killed} of {} after {delay:.1?}: {stored} of {total} are stored", setting.kills);
    }
    assert!(killed_in_the_middle > 0, "every kill came too late to disturb anything: choose another LYCEUM_CRASH_SEED");

    let last = workplace.run(&ingest).expect_code(0).json();
    assert_eq!(last["read"], json!(total));
    assert_eq!(last["dead_lettered"], json!({}));
    assert_eq!(last["applied"].as_u64().unwrap() + last["duplicate"].as_u64().unwrap(), total as u64, "{last}");
    let again = workplace.run(&ingest).expect_code(0).json();
    assert_eq!((&again["applied"], &again["duplicate"]), (&json!(0), &json!(total)), "{again}");
    println!(
        "last: {} applied, {} duplicate; once more: {} duplicate",
        last["applied"], last["duplicate"], again["duplicate"]
    );

    for (verb, count) in &academy.verbs {
        *statements.verbs.entry(verb.clone()).or_default() += count;
    }
    let server = workplace.up(&[]);
    check_numbers(&workplace, total, &statements.verbs);
    check_statements(&server, &statements.ids, &mut random).await;
    check_training(&workplace, &server, &academy).await;
    check_responses(&server, &academy).await;
    server.stop().expect_code(0);
}

fn check_numbers(workplace: &Workplace, total: usize, verbs: &BTreeMap<String, u64>) {
    let platform = workplace.run(&["query", "platform", "--format", "json"]).expect_code(0).json();
    assert_eq!(platform["total"], json!(total));
    let counted = platform["verbs"].as_array().unwrap().iter();
    let counted: BTreeMap<String, u64> =
        counted.map(|row| (row["verb"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())).collect();
    assert_eq!(&counted, verbs);
    let letters = workplace.run(&["dead-letters", "list", "--tenant", "*", "--format", "json"]).expect_code(0).json();
    assert_eq!(letters["dead_letters"], json!([]));
}

/// With the exact total of each verb, finding each id says that each is there once.
async fn check_statements(server: &Server, ids: &BTreeSet<String>, random: &mut StdRng) {
    for id in ids.iter().sample(random, 3_000) {
        let (status, statement) = server.get(&format!("/api/statements/{id}"), None).await;
        assert_eq!((status, &statement["id"]), (200, &json!(id)), "{statement}");
    }
}

/// Programs and sessions of the small corpus through the command, which is a process each; every one through the API.
async fn check_training(workplace: &Workplace, server: &Server, academy: &Academy) {
    for (id, (is_published, sessions)) in academy.programs.iter().take(20) {
        let shown = workplace.run(&["show", "program", id]).expect_code(0).json();
        check_program(&shown, *is_published, sessions);
    }
    for (id, (is_published, sessions)) in &academy.programs {
        check_program(&fetch(server, "program", id).await, *is_published, sessions);
    }
    for (number, (id, expected)) in academy.sessions.iter().enumerate() {
        let session = fetch(server, "session", id).await;
        let bookings = json!({
            "requested": expected.requested, "confirmed": expected.confirmed, "waitlisted": expected.waiting.len(),
        });
        assert_eq!(session["bookings"], bookings, "{id}: {session}");
        assert_eq!(session["program_id"], json!(expected.program));
        assert_eq!(session["capacity"], json!(expected.capacity));
        assert_eq!(session["waiting_list"], json!(expected.waiting), "{id}");
        let is_overbooked = expected.confirmed > expected.capacity;
        assert_eq!(session["anomalies"].as_array().unwrap().len(), usize::from(is_overbooked), "{id}: {session}");
        assert_eq!(session["history"].as_array().unwrap().len(), 1, "{id} was scheduled once");
        if number < 40 {
            assert_eq!(workplace.run(&["show", "session", id]).expect_code(0).json(), session);
        }
    }
    for (id, status) in &academy.bookings {
        let booking = fetch(server, "booking", id).await;
        assert_eq!(booking["status"], json!(status), "{id}: {booking}");
        let events = booking["history"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap());
        let events: Vec<_> = events.collect();
        assert_eq!(events.len(), events.iter().collect::<BTreeSet<_>>().len(), "{id} took an event twice: {booking}");
    }
}

fn check_program(program: &Value, is_published: bool, sessions: &BTreeSet<String>) {
    assert_eq!(program["status"], json!(if is_published { "published" } else { "draft" }), "{program}");
    assert_eq!(program["sessions"], json!(sessions));
    assert_eq!(program["history"].as_array().unwrap().len(), 1 + usize::from(is_published), "{program}");
}

async fn check_responses(server: &Server, academy: &Academy) {
    for (registration, is_completed) in &academy.responses {
        let response = fetch(server, "response", registration).await;
        assert_eq!(response["status"], json!(if *is_completed { "completed" } else { "open" }), "{response}");
        assert_eq!(response["anomalies"], json!([]));
        let answers = response["answers"].as_array().unwrap().iter();
        let answers: BTreeMap<_, _> = answers
            .map(|answer| {
                (answer["question_id"].as_str().unwrap(), (answer["times_answered"].clone(), answer["score"].clone()))
            })
            .collect();
        let expected: BTreeMap<_, _> = QUESTIONS
            .into_iter()
            .zip([(json!(2), json!(9.0)), (json!(1), json!(3.0)), (json!(1), json!(4.0))])
            .collect();
        assert_eq!(answers, expected, "{registration}");
    }
}

async fn fetch(server: &Server, kind: &str, id: &str) -> Value {
    let (status, shown) = server.get(&format!("/api/state/{kind}/{id}"), None).await;
    assert_eq!(status, 200, "{kind} {id}: {shown}");
    shown
}
