//! So many events a second for a minute through `lyceum up` on embedded stores: whether each comes out as it must, how soon the lag
//! is gone behind them, and how long an event, a commit and a document took.
//!
//! `LYCEUM_RATE` (10000), `LYCEUM_RATE_SECONDS` (60), `LYCEUM_RATE_FAMILIES` (the modules'), `LYCEUM_RATE_KEY` (one key, and with it one
//! partition, for all; only of families for which order means nothing) and `AUDIT` choose what is measured, `LYCEUM_BIN` another build. It ends
//! with 1 where an event came out otherwise, or where the lag was not gone after ten seconds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lyceum_generate::{Expected, Generator, Plan};
use lyceum_tests::load::{Line, Requests, came_out, lag, metrics, settle};
use lyceum_tests::memory::Memory;
use lyceum_tests::workplace::{Server, Workplace};

/// What is due is sent so often.
const TICK: Duration = Duration::from_millis(50);
/// So soon the lag is gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a number")),
        Err(_) => default,
    }
}

fn main() -> ExitCode {
    lyceum_tests::block_on(measure())
}

async fn measure() -> ExitCode {
    let (rate, seconds) = (variable("LYCEUM_RATE", 10_000.0), variable("LYCEUM_RATE_SECONDS", 60.0));
    let families = std::env::var("LYCEUM_RATE_FAMILIES").unwrap_or("course,distribution,governance,mission".to_owned());
    let key = std::env::var("LYCEUM_RATE_KEY").ok();
    let audit = std::env::var("AUDIT").unwrap_or("on".to_owned());
    let plan = Plan {
        events: Some((rate * seconds) as u64),
        families: families.split(',').map(str::to_owned).collect(),
        ..Plan::default()
    };
    let workplace = Workplace::new();
    let server = workplace.up(&[("AUDIT", &audit)]);
    let (mut expected, mut requests, mut sent, mut most_behind) = (Expected::default(), Requests::default(), 0_u64, 0);
    let started = Instant::now();
    let mut told = Duration::ZERO;
    for mut made in Generator::new(plan).expect("the plan is good") {
        if let Some(key) = &key {
            made.key.clone_from(key);
        }
        expected.add(&made);
        requests.add(&made, &server).await;
        sent += 1;
        while sent as f64 / rate > started.elapsed().as_secs_f64() {
            requests.flush(&server).await;
            tokio::time::sleep(TICK).await;
        }
        if started.elapsed() > told + Duration::from_secs(10) {
            told = started.elapsed();
            let behind = lag(&server).await;
            most_behind = most_behind.max(behind);
            println!("{:.0} s: {sent} sent, {behind} records are not settled", told.as_secs_f64());
        }
    }
    requests.flush(&server).await;
    let took = started.elapsed();
    let behind = lag(&server).await;
    settle(&server, Duration::from_secs(120)).await;
    let gone = started.elapsed() - took;
    println!(
        "{families}, audit {audit}: {sent} events in {:.1} s, {:.0} a second; then {behind} records were not settled, and none {:.1} s later",
        took.as_secs_f64(),
        sent as f64 / took.as_secs_f64(),
        gone.as_secs_f64()
    );
    println!("until all was settled {:.0} a second", sent as f64 / started.elapsed().as_secs_f64());
    let lines = metrics(&server).await;
    tell_durations(&lines);
    let processor = lines_of(&lines, "lyceum_store_duration_seconds_sum");
    for (labels, seconds) in processor {
        println!("{labels}: {seconds:.1} s together");
    }
    println!(
        "peak memory {} MB, processor {:.1} s, disk {} MB",
        Memory::peak_mb_of(&server.running),
        processor_time(&server),
        workplace.megabytes()
    );
    let (events, letters) = came_out(&server).await;
    let wrong = expected.differences(&events, &letters);
    wrong.iter().for_each(|wrong| println!("wrong: {wrong}"));
    server.stop().expect_code(0);
    match wrong.is_empty() && gone <= GONE_WITHIN {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The labels of a series but for the bucket's bound, as text.
fn series(labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter().filter(|(name, _)| *name != "le").map(|(_, text)| text.as_str());
    labels.collect::<Vec<_>>().join(" ")
}

fn lines_of(lines: &[Line], wanted: &str) -> BTreeMap<String, f64> {
    lines.iter().filter(|(name, ..)| name == wanted).map(|(_, labels, number)| (series(labels), *number)).collect()
}

/// Of each histogram of times, below which bucket's bound the quantiles lie.
fn tell_durations(lines: &[Line]) {
    for name in ["lyceum_event_duration_seconds", "lyceum_store_duration_seconds"] {
        let mut all: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (_, labels, count) in lines.iter().filter(|(of, ..)| *of == format!("{name}_bucket")) {
            let bound = labels.get("le").and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
            all.entry(series(labels)).or_default().push((bound, *count));
        }
        for (series, mut buckets) in all {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let total = buckets.last().map_or(0.0, |(_, count)| *count);
            let below = |rank: f64| {
                buckets.iter().find(|(_, count)| *count >= rank * total).map_or(0.0, |(bound, _)| bound * 1e3)
            };
            println!("{name} {series}: {total} times, p50 ≤ {} ms, p99 ≤ {} ms", below(0.5), below(0.99));
        }
    }
}

/// Seconds of processor that the process took, in all of its threads.
fn processor_time(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.running.process())).unwrap_or_default();
    // Behind the name, which may have spaces: the 12th and 13th are user and system time, in hundredths.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.get(11..13).into_iter().flatten().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
