//! What requests that cost much do to a process: its memory at the peak, and how long its other answers take meanwhile.
//! `cargo bench -p lyceum-tests --bench bounds`; `LYCEUM_BIN` names another build to compare with. Linux only.

use std::fmt::Write;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lyceum_tests::long_answer;
use lyceum_tests::memory::Memory;
use lyceum_tests::workplace::Workplace;

/// How many bodies of many small items come at once, and how many such items each has: 8.3 MB.
const BODIES: usize = 4;
const ITEMS: usize = 4_150_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are threads");
    runtime.block_on(async {
        many_items().await;
        survey("50,000 answers of 300 characters, asked once", 50_000, 300, 1).await;
        survey("50,000 answers of 300 characters, asked by ten", 50_000, 300, 10).await;
        survey("1,000 answers of 200 kB, asked by six", 1_000, 200_000, 6).await;
    });
}

/// The bodies at once, and health beside them.
async fn many_items() {
    let workplace = Workplace::new();
    let server = workplace.up(&[]);
    let memory = Memory::of(&server.running);
    let body = format!("[{}0]", "0,".repeat(ITEMS));
    let client = lyceum_https::client();
    let post = async |_| {
        let url = format!("{}/events/nlj.xapi.statements", server.base);
        let answer = client.post(url).header("content-type", "application/json").body(body.clone()).send().await;
        answer.map_or(0, |answer| answer.status().as_u16())
    };
    let started = Instant::now();
    let posts = join_all((0..BODIES).map(&post));
    let mut slowest = Duration::ZERO;
    let statuses = {
        let health = async {
            loop {
                let asked = Instant::now();
                server.get("/health", None).await;
                slowest = slowest.max(asked.elapsed());
            }
        };
        tokio::select! {
            statuses = posts => statuses,
            () = health => unreachable!("it goes on"),
        }
    };
    println!(
        "{BODIES} bodies of {ITEMS} items: answered {statuses:?} after {:.2?}; /health at most {slowest:.1?}; {memory}",
        started.elapsed()
    );
}

/// A survey of so many answers of so many characters, asked for by some at once.
async fn survey(what: &str, answers: usize, characters: usize, askers: usize) {
    let workplace = Workplace::new();
    let mut lines = String::new();
    for at in 0..answers {
        let answer = long_answer(at, characters);
        writeln!(lines, "{answer}").expect("a text takes all");
    }
    workplace.write("answers.jsonl", lines);
    workplace.run(&["ingest", "answers.jsonl"]).expect_code(0);
    let server = workplace.up(&[]);
    let path = format!("{}/api/analytics/surveys/big", server.base);
    // The first one pays for the files that are not in memory yet.
    let warm = lyceum_https::client()
        .get(&path)
        .send()
        .await
        .expect("the server answers")
        .bytes()
        .await
        .expect("the answer is whole");
    let memory = Memory::of(&server.running);
    let ask = async |_| {
        let asked = Instant::now();
        let answer = lyceum_https::client().get(&path).send().await.expect("the server answers");
        let bytes = answer.bytes().await.map_or(0, |bytes| bytes.len());
        (asked.elapsed(), bytes)
    };
    let mut best = Duration::MAX;
    let mut worst = Duration::ZERO;
    for _ in 0..3 {
        let asked = join_all((0..askers).map(&ask)).await;
        let slowest = asked.iter().map(|(time, _)| *time).max().unwrap_or_default();
        (best, worst) = (best.min(slowest), worst.max(slowest));
    }
    println!("{what}: {best:.0?} to {worst:.0?} in 3 rounds, {} bytes; {memory}", warm.len());
}
