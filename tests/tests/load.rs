//! A load of every family through a process that is killed twice on the way: what is kept in the end is what the load's maker says,
//! and what a reader of the events alone makes of them.
//!
//! `LYCEUM_LOAD_EVENTS` makes it as large as one likes (a million: docs/testing.md), `LYCEUM_LOAD_SEED` another one. Each event is
//! published once, so that nothing but the process's own deliveries can be lost or doubled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use lyceum_core::outcome::Outcome;
use lyceum_generate::{Expected, Generator, Plan, Shares, UNFORESEEN};
use lyceum_tests::binary;
use lyceum_tests::load::{Requests, lag, settle};
use lyceum_tests::memory::Memory;
use lyceum_tests::workplace::{Server, Workplace};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

mod audited;
mod broken;
pub(crate) mod learning;
mod states;

use audited::{Audited, Published};
use learning::Profiles;
use states::States;

const TENANT: &str = "academy";
/// So many events a run of the tests has.
const EVENTS: u64 = 4_000;
/// After the last one is published all are settled within this, and a millisecond more for each.
const PATIENCE: Duration = Duration::from_secs(600);

struct Setting {
    events: u64,
    seed: u64,
}

impl Setting {
    fn from_environment() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")))
        };
        Self { events: number("LYCEUM_LOAD_EVENTS").unwrap_or(EVENTS), seed: number("LYCEUM_LOAD_SEED").unwrap_or(12) }
    }

    fn plan(&self) -> Plan {
        let shares = Shares { duplicates: 0.01, broken: 0.02, late: 0.01, out_of_order: 0.01 };
        Plan {
            seed: self.seed,
            events: Some(self.events),
            families: lyceum_generate::families().map(str::to_owned).collect(),
            tenants: vec![TENANT.to_owned()],
            shares,
            ..Plan::default()
        }
    }
}

/// A process that is killed now and then.
struct Killed<'a> {
    workplace: &'a Workplace,
    /// None only while it is killed.
    server: Option<Server>,
    peak_mb: u64,
    /// The release that runs.
    program: &'a Path,
}

impl Killed<'_> {
    fn see(&mut self) {
        self.peak_mb = self.peak_mb.max(Memory::peak_mb_of(&self.server().running));
    }

    /// `kill -9`, and another process on the same folder; how many records were unsettled.
    async fn kill(&mut self) -> i64 {
        let unsettled = lag(self.server()).await;
        self.see();
        let killed = self.server.take().expect("it runs");
        assert!(killed.running.kill(), "it had ended before");
        self.server = Some(self.workplace.up_of(self.program, &[], &[]));
        unsettled
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }
}

/// How many documents there are of each event type.
async fn documents(server: &Server) -> BTreeMap<String, u64> {
    let path = format!("/api/analytics/platform/overview?tenant={TENANT}");
    let (status, answer) = server.get(&path, None).await;
    assert_eq!(status, 200, "{answer}");
    let rows =
        ["event_types", "other_documents"].into_iter().flat_map(|of| answer[of].as_array().into_iter().flatten());
    rows.filter_map(|row| Some((row["event_type"].as_str()?.to_owned(), row["count"].as_u64()?))).collect()
}

/// That there is a document of each event that was applied, and none beside; how many of each type.
async fn compare_documents(server: &Server, expected: &Expected) -> BTreeMap<String, u64> {
    let mut must = BTreeMap::<String, u64>::new();
    for (of, count) in expected.all().iter().filter(|(of, _)| of.outcome == "applied") {
        *must.entry(of.event_type.to_owned()).or_default() += count;
    }
    let found = documents(server).await;
    let open: BTreeMap<&str, u64> = expected.either().iter().map(|of| (of.event_type, of.count)).collect();
    for name in must.keys().chain(found.keys()).filter(|name| !UNFORESEEN.contains(&&***name)) {
        let (must, is) = (must.get(name).copied().unwrap_or(0), found.get(name).copied().unwrap_or(0));
        let most = must + open.get(&**name).copied().unwrap_or(0);
        assert!((must..=most).contains(&is), "{name}: {must} to {most} documents must be there, and {is} are");
    }
    println!("documents of {} types are as many as were applied", found.len());
    found
}

#[tokio::test]
async fn a_load_through_two_kills_is_kept_as_its_maker_says_and_the_audit_log_has_each_record_once() {
    let setting = Setting::from_environment();
    let plan = setting.plan();
    let workplace = Workplace::new();
    let mut random = StdRng::seed_from_u64(setting.seed);
    let mut kills: BTreeSet<u64> = BTreeSet::new();
    while kills.len() < 2 {
        kills.insert(random.random_range(setting.events / 10..setting.events * 9 / 10));
    }

    let started = Instant::now();
    let program = binary::lyceum();
    let mut killed = Killed { workplace: &workplace, server: Some(workplace.up(&[])), peak_mb: 0, program };
    let mut requests = Requests::default();
    let (mut expected, mut published, mut profiles) = (Expected::default(), Published::default(), Profiles::default());
    let mut states = States::new();
    let mut in_the_middle = 0;
    for (number, made) in (0..).zip(Generator::new(plan).expect("the plan is good")) {
        expected.add(&made);
        published.add(&made);
        profiles.add(&made);
        states.add(&made).await;
        requests.add(&made, killed.server()).await;
        if kills.contains(&number) {
            requests.flush(killed.server()).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            let unsettled = killed.kill().await;
            in_the_middle += usize::from(unsettled > 0);
            println!("killed behind event {number}, {unsettled} records unsettled");
        }
    }
    requests.flush(killed.server()).await;
    println!("all are published after {:.1} s", started.elapsed().as_secs_f64());
    assert!(in_the_middle > 0, "every kill came too late to disturb anything: choose another LYCEUM_LOAD_SEED");
    settle(killed.server(), PATIENCE + Duration::from_millis(setting.events)).await;
    let seconds = started.elapsed().as_secs_f64();
    killed.see();
    println!(
        "{} events of seed {}: settled after {seconds:.1} s, {:.0} a second; peak memory {} MB, disk {} MB",
        setting.events,
        setting.seed,
        setting.events as f64 / seconds,
        killed.peak_mb,
        workplace.megabytes()
    );
    let server = killed.server.take().expect("it runs");

    let found = compare_documents(&server, &expected).await;

    let audited = Audited::read(&server).await;
    audited.compare(&published, &expected, &found);
    println!("the audit log has each of {} records once, as it was published", published.records());
    let verified = workplace.run(&["audit", "verify", "--format", "json"]).expect_code(0).json();
    assert_eq!((&verified["entries"], &verified["findings"]), (&json!(audited.entries), &json!([])));

    profiles.compare(&server).await;
    states.compare(&server).await;
    println!("compared after {:.1} s", started.elapsed().as_secs_f64());
    server.stop().expect_code(0);
}

/// How an event that was sent must end, as a word or two.
fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::DeadLettered { kind } => format!("dead_lettered {}", kind.name()),
        Outcome::SkippedTombstone => "skipped_tombstone".to_owned(),
        // Which of the two it was no record says; how many documents there are does.
        _ => "applied or duplicate".to_owned(),
    }
}

/// How many of each family and type ended in which way.
type Ended = HashMap<(String, String, String), u64>;
