//! Ten tenants of one process for ten minutes: five work as one does, five do what they can to take it from them. Ends with 1
//! where an honest tenant waits longer than is stated here, or where anything of theirs is hidden or lost.
//! `cargo bench -p lyceum-tests --bench soak`; `LYCEUM_SOAK_SECONDS` sets how long, `LYCEUM_SOAK_HOSTILE` which of the hostile ones there
//! are (`flood,items,slow,answers,feeds`), `LYCEUM_BIN` names another build. Linux only.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join, join_all, join3};
use lyceum_tests::long_answer;
use lyceum_tests::memory::Memory;
use lyceum_tests::workplace::{Server, Workplace};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

const PUBLISH: &str = "/events/nlj.xapi.statements";
const HONEST: [&str; 5] = ["ash", "birch", "cedar", "elm", "fir"];
const FLOOD: &str = "flood";
const ITEMS: &str = "items";
const SLOW: &str = "slow";
const ANSWERS: &str = "answers";
const FEEDS: &str = "feeds";

/// What an honest tenant asks, one each second.
const QUESTIONS: [&str; 5] =
    ["/api/analytics/platform/overview", "/api/dead-letters", "/", "/events/status", "/health"];

/// What holds for an honest tenant, whatever the others do: 99 of 100 times it waits no longer than this.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(500);
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const FED_WITHIN: Duration = Duration::from_secs(5);
/// What the process may take at its peak, but for pages of files, which the system takes back.
const MEMORY_MB: u64 = 512;
/// So long after the end everything that was published may take until it can be read.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let seconds = std::env::var("LYCEUM_SOAK_SECONDS").map_or(600, |text| text.parse().expect("seconds are a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are threads");
    runtime.block_on(soak(Duration::from_secs(seconds)))
}

fn token(tenant: &str) -> String {
    format!("a-long-secret-of-{tenant}")
}

async fn soak(time: Duration) -> ExitCode {
    let workplace = Workplace::new();
    let all = HONEST.iter().chain(&[FLOOD, ITEMS, SLOW, ANSWERS, FEEDS]);
    let tokens: Vec<_> = all.map(|tenant| format!("{tenant}:read+publish:{}", token(tenant))).collect();
    let server = Arc::new(workplace.up(&[("API_TOKENS", &tokens.join(","))]));
    let memory = Memory::of(&server.running);
    let only = std::env::var("LYCEUM_SOAK_HOSTILE").ok();
    let is_on = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|on| on == name));
    let mut hostile = Vec::new();
    let mut start = |name, does, act: fn(Arc<Server>, Counts) -> BoxFuture<'static, ()>| {
        if is_on(name) {
            let counts = Counts::default();
            let task = tokio::spawn(act(Arc::clone(&server), counts.clone()));
            hostile.push(Hostile { does, counts, task });
        }
    };
    start(FLOOD, "floods with 10,000 broken events at a time", |server, counts| Box::pin(flood(server, counts)));
    start(ITEMS, "sends 8 MB of small items, four bodies at once", |server, counts| {
        Box::pin(many_items(server, counts))
    });
    start(SLOW, "sends 150 bodies of a byte each second, 50 of them behind 4 MB", |server, counts| {
        Box::pin(slow_bodies(server, counts))
    });
    start(ANSWERS, "asks ten different questions at once of a survey with answers of 200 kB", |server, counts| {
        Box::pin(big_answers(server, counts))
    });
    start(FEEDS, "opens 150 feeds and reads none", |server, counts| Box::pin(many_feeds(server, counts)));
    let until = Instant::now() + time;
    let working = join_all(HONEST.map(|tenant| work(Arc::clone(&server), tenant, until)));
    let (worked, own_mb) = join(working, most_of_its_own(&memory, until)).await;
    for hostile in &hostile {
        hostile.task.abort();
    }
    let mut faults = Vec::new();
    for work in &worked {
        work.look_for_what_is_missing(&server, &mut faults).await;
    }
    print(&worked, &hostile, time, &mut faults);
    println!(
        "\nmemory of its own: {own_mb} MB at the peak, {MEMORY_MB} MB stated; with files that are in memory: {memory}"
    );
    if own_mb > MEMORY_MB {
        faults.push(format!("the process took {own_mb} MB of its own, more than {MEMORY_MB}"));
    }
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The most that it had of its own at any time.
async fn most_of_its_own(memory: &Memory, until: Instant) -> u64 {
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(memory.own_mb());
        sleep(Duration::from_millis(20)).await;
    }
    most
}

/// What one honest tenant did, and how long it waited for it.
#[derive(Default)]
struct Work {
    tenant: &'static str,
    valid: Vec<Uuid>,
    broken: usize,
    published: Vec<Duration>,
    /// By what was asked.
    answered: Vec<(&'static str, Duration)>,
    seen: Vec<Duration>,
    /// Between two parts of its live feed.
    ticks: Vec<Duration>,
    refused: Vec<String>,
}

impl Work {
    /// The event of that number, and its id where it is a valid one.
    fn event(&self, number: u64) -> (Option<Uuid>, Value) {
        let id = Uuid::new_v4();
        let mut statement = json!({
            "id": id,
            "actor": {"mbox": format!("mailto:learner-{}@{}.example", number % 50, self.tenant)},
            "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
            "object": {"id": format!("https://{}.example/course/{}", self.tenant, number % 9)},
            "timestamp": "2026-03-02T08:15:00Z",
        });
        if number % 25 == 24 {
            statement["timestamp"] = json!("2026-03-02T08:15:00 without a zone");
            (None, statement)
        } else {
            (Some(id), statement)
        }
    }

    /// Everything that was published is found, under its own tenant.
    async fn look_for_what_is_missing(&self, server: &Server, faults: &mut Vec<String>) {
        let token = token(self.tenant);
        let path = "/api/analytics/platform/overview";
        let until = Instant::now() + PATIENCE;
        loop {
            let (_, overview) = server.get(path, Some(&token)).await;
            let (_, letters) = server.get("/api/dead-letters/summary", Some(&token)).await;
            let waiting: u64 =
                letters["causes"].as_array().into_iter().flatten().filter_map(|cause| cause["count"].as_u64()).sum();
            if overview["total"] == json!(self.valid.len()) && waiting == self.broken as u64 {
                break;
            }
            if Instant::now() > until {
                faults.push(format!(
                    "{}: {} statements and {waiting} letters, of {} valid and {} broken events",
                    self.tenant,
                    overview["total"],
                    self.valid.len(),
                    self.broken
                ));
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        for id in &self.valid {
            let (status, statement) = server.get(&format!("/api/statements/{id}"), Some(&token)).await;
            if status != 200 || statement["id"] != json!(id) {
                faults.push(format!("{}: statement {id} answers {status}", self.tenant));
            }
        }
        faults.extend(self.refused.iter().map(|refusal| format!("{}: {refusal}", self.tenant)));
    }
}

/// Publishes five events a second, of which each 25th is broken, and asks what a page of its own asks.
async fn work(server: Arc<Server>, tenant: &'static str, until: Instant) -> Work {
    let token = token(tenant);
    let asking = async {
        let mut every = interval(Duration::from_secs(1));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = Vec::new();
        let mut refused = Vec::new();
        for path in QUESTIONS.into_iter().cycle() {
            every.tick().await;
            if Instant::now() > until {
                break;
            }
            let started = Instant::now();
            let (status, _) = server.get(path, Some(&token)).await;
            answered.push((path, started.elapsed()));
            if status != 200 {
                refused.push(format!("{path} answers {status}"));
            }
        }
        (answered, refused)
    };
    let publishing = async {
        let mut work = Work { tenant, ..Work::default() };
        let mut every = interval(Duration::from_millis(200));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looking: Vec<JoinHandle<Duration>> = Vec::new();
        for number in 0.. {
            every.tick().await;
            if Instant::now() > until {
                break;
            }
            let (id, statement) = work.event(number);
            let started = Instant::now();
            let (status, problem) = server.post(PUBLISH, &statement, Some(&token)).await;
            work.published.push(started.elapsed());
            if status != 202 {
                work.refused.push(format!("an event is answered with {status}: {problem}"));
                continue;
            }
            match id {
                Some(id) => work.valid.push(id),
                None => work.broken += 1,
            }
            if let (Some(id), 0) = (id, number % 10) {
                looking.push(tokio::spawn(see(Arc::clone(&server), token.clone(), id, started)));
            }
        }
        for looking in looking {
            work.seen.push(looking.await.expect("whoever looks ends"));
        }
        work
    };
    let feed = feed(&server, &token, until);
    let (mut work, (answered, refused), ticks) = join3(publishing, asking, feed).await;
    work.ticks = ticks;
    work.answered = answered;
    work.refused.extend(refused);
    work
}

/// How long it took from when it was published until it can be read.
async fn see(server: Arc<Server>, token: String, id: Uuid, published: Instant) -> Duration {
    let path = format!("/api/statements/{id}");
    while published.elapsed() < PATIENCE && server.get(&path, Some(&token)).await.0 != 200 {
        sleep(Duration::from_millis(100)).await;
    }
    published.elapsed()
}

/// How long it took each time until something came of the tenant's own live feed, which says something each second.
async fn feed(server: &Server, token: &str, until: Instant) -> Vec<Duration> {
    let mut ticks = Vec::new();
    let client = lyceum_https::client();
    while Instant::now() < until {
        let answer = client.get(format!("{}/live", server.base)).bearer_auth(token).send().await;
        let mut last = Instant::now();
        let Ok(mut answer) = answer.and_then(reqwest::Response::error_for_status) else {
            ticks.push(PATIENCE);
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        while Instant::now() < until
            && let Ok(Some(_)) = answer.chunk().await
        {
            ticks.push(last.elapsed());
            last = Instant::now();
        }
    }
    ticks
}

/// A tenant that takes what it can, until it is ended.
struct Hostile {
    does: &'static str,
    counts: Counts,
    task: JoinHandle<()>,
}

/// Counts what a hostile tenant sent, and how much of it was refused.
#[derive(Clone, Default)]
struct Counts {
    requests: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Counts {
    fn count(&self, accepted: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !accepted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A client for those who do not wait until they are answered.
async fn post(client: &reqwest::Client, server: &Server, tenant: &str, body: String, counts: &Counts) {
    let request = client.post(format!("{}{PUBLISH}", server.base)).bearer_auth(token(tenant));
    let answer = request.header("content-type", "application/json").body(body).send().await;
    counts.count(answer.is_ok_and(|answer| answer.status().is_success()));
}

async fn flood(server: Arc<Server>, counts: Counts) {
    let client = lyceum_https::client();
    let body = format!("[{}0]", "0,".repeat(9_999));
    let on_and_on = async || loop {
        post(&client, &server, FLOOD, body.clone(), &counts).await;
    };
    join(on_and_on(), on_and_on()).await;
}

async fn many_items(server: Arc<Server>, counts: Counts) {
    let client = lyceum_https::client();
    let body = format!("[{}0]", "0,".repeat(4_150_000));
    loop {
        join_all((0..4).map(|_| post(&client, &server, ITEMS, body.clone(), &counts))).await;
    }
}

async fn slow_bodies(server: Arc<Server>, counts: Counts) {
    let port = server.port();
    let large = vec![b' '; 4_000_000];
    let one = async |is_large: bool| loop {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
            counts.count(false);
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        let head = format!(
            "POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 5000000\r\n\r\n[",
            token(SLOW)
        );
        let mut written = stream.write_all(head.as_bytes()).await;
        if is_large && written.is_ok() {
            written = stream.write_all(&large).await;
        }
        while written.is_ok() {
            sleep(Duration::from_secs(1)).await;
            written = stream.write_all(b" ").await;
        }
        counts.count(false);
    };
    join_all((0..150).map(|number| one(number % 3 == 0))).await;
}

async fn big_answers(server: Arc<Server>, counts: Counts) {
    let client = lyceum_https::client();
    for number in 0..500 {
        post(&client, &server, ANSWERS, long_answer(number, 200_000).to_string(), &counts).await;
    }
    let ask = async |day: u32| {
        let url = format!("{}/api/analytics/surveys/big?from=2026-02-{day:02}", server.base);
        let answer = client.get(url).bearer_auth(token(ANSWERS)).send().await;
        counts.count(answer.is_ok_and(|answer| answer.status().is_success()));
    };
    loop {
        join_all((1..=10).map(&ask)).await;
    }
}

async fn many_feeds(server: Arc<Server>, counts: Counts) {
    let port = server.port();
    let one = async || loop {
        let head = format!("GET /live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", token(FEEDS));
        let opened = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut first = [0; 16];
            stream.read_exact(&mut first).await?;
            std::io::Result::Ok((stream, first.starts_with(b"HTTP/1.1 200")))
        };
        match opened.await {
            Ok((stream, accepted)) => {
                counts.count(accepted);
                sleep(Duration::from_secs(20)).await;
                drop(stream);
            }
            Err(_) => counts.count(false),
        }
        sleep(Duration::from_millis(100)).await;
    };
    join_all((0..150).map(|_| one())).await;
}

/// The middle one, the one that 99 of 100 do not pass, and the largest.
fn quantiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied();
    [at(50), at(99), at(100)].map(Option::unwrap_or_default)
}

fn print(worked: &[Work], hostile: &[Hostile], time: Duration, faults: &mut Vec<String>) {
    println!("\n{} s, {} honest tenants:\n", time.as_secs(), worked.len());
    println!(
        "| what an honest tenant waits for | times | p50 | p99 | at most | stated p99 |\n|---|---|---|---|---|---|"
    );
    let all = |times: fn(&Work) -> &Vec<Duration>| worked.iter().flat_map(times).copied().collect::<Vec<_>>();
    let asked = |question: &str| {
        let of = worked.iter().flat_map(|work| &work.answered).filter(|(asked, _)| *asked == question);
        of.map(|(_, time)| *time).collect::<Vec<_>>()
    };
    let answers = QUESTIONS.map(|question| (format!("`{question}` is answered"), asked(question), ANSWERED_WITHIN));
    let others = [
        ("an event is taken", all(|work| &work.published), PUBLISHED_WITHIN),
        ("an event can be read", all(|work| &work.seen), SEEN_WITHIN),
        ("its live feed goes on", all(|work| &work.ticks), FED_WITHIN),
    ];
    let others = others.map(|(what, times, bound)| (what.to_owned(), times, bound));
    for (what, times, bound) in others.into_iter().chain(answers) {
        let number = times.len();
        let [middle, most, worst] = quantiles(times);
        println!("| {what} | {number} | {middle:.0?} | {most:.0?} | {worst:.0?} | {bound:?} |");
        if most > bound {
            faults.push(format!("{what}: p99 is {most:.0?}, more than {bound:?}"));
        }
    }
    println!("\n| tenant | valid events | broken ones |\n|---|---|---|");
    for work in worked {
        println!("| {} | {} | {} |", work.tenant, work.valid.len(), work.broken);
    }
    println!("\n| what a hostile tenant does | requests | refused |\n|---|---|---|");
    for Hostile { does, counts: Counts { requests, refused }, .. } in hostile {
        println!("| {does} | {} | {} |", requests.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    }
}
