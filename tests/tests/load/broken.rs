//! A bad day: a release that refuses what is valid works off a part of a load, and is found out. On the mended one its dead letters are
//! sent again, and its family's states are made anew from the log. In the end everything is as if there had been no such release.

use super::*;

/// So many events that day has; half of them come while the broken release runs.
const EVENTS_OF_THE_DAY: u64 = 10_000;
/// So many refused events prove something.
const ENOUGH: u64 = 50;

/// How many records there are on each topic.
async fn records(server: &Server) -> BTreeMap<String, i64> {
    let (status, answer) = server.get("/api/topics", None).await;
    assert_eq!(status, 200, "{answer}");
    let topics = answer["topics"].as_array().expect("a list");
    let count = |topic: &serde_json::Value| {
        let partitions = topic["partitions"].as_array().into_iter().flatten();
        let ends: i64 = partitions.filter_map(|partition| partition["end"].as_i64()).sum();
        (topic["topic"].as_str().unwrap_or_default().to_owned(), ends)
    };
    topics.iter().map(count).collect()
}

/// How many letters a summary has.
fn count(summary: &serde_json::Value) -> u64 {
    let causes = summary["causes"].as_array().expect("a list");
    causes.iter().filter_map(|cause| cause["count"].as_u64()).sum()
}

#[tokio::test]
async fn what_a_broken_release_refused_is_put_right_by_a_redrive_and_a_rebuild_and_nobody_else_notices() {
    let setting = Setting { events: EVENTS_OF_THE_DAY, ..Setting::from_environment() };
    let workplace = Workplace::new();
    let broken = binary::program("broken-release");
    let patience = PATIENCE + Duration::from_millis(setting.events);
    let mut killed = Killed {
        workplace: &workplace,
        server: Some(workplace.up_of(&broken, &[], &[])),
        peak_mb: 0,
        program: &broken,
    };
    let mut requests = Requests::default();
    let (mut expected, mut profiles, mut states) = (Expected::default(), Profiles::default(), States::new());
    let mut unsettled = Vec::new();
    for (number, made) in (0..).zip(Generator::new(setting.plan()).expect("the plan is good")) {
        expected.add(&made);
        profiles.add(&made);
        states.add(&made).await;
        requests.add(&made, killed.server()).await;
        if number == setting.events / 4 {
            requests.flush(killed.server()).await;
            unsettled.push(killed.kill().await);
        }
        if number == setting.events / 2 {
            // It is found out, and the mended one takes its place. What is refused is so by this one alone, however fast it is: else an
            // event that is sent again would be behind others that overtook it, on some machines.
            requests.flush(killed.server()).await;
            settle(killed.server(), patience).await;
            killed.program = binary::lyceum();
            unsettled.push(killed.kill().await);
        }
    }
    requests.flush(killed.server()).await;
    settle(killed.server(), patience).await;
    println!("killed with {unsettled:?} records unsettled");
    assert!(unsettled.iter().any(|of| *of > 0), "every kill came too late to disturb anything");

    let which = ["--tenant", TENANT, "--kind", "rejected", "--rule", "release.broken"];
    let summary = [&["dead-letters", "summary", "--format", "json"], &which[..]].concat();
    let told = workplace.run(&summary).expect_code(0).json();
    let refused = count(&told);
    assert!(refused > ENOUGH, "the broken release refused too little to prove anything: {told}");
    let before = records(killed.server()).await;
    let redrive = [&["dead-letters", "replay", "--limit", "10000", "--wait"], &which[..]].concat();
    let told = workplace.run(&redrive).expect_print(&[&format!("{refused} sent again")]);
    // What its maker broke is refused now for its own fault.
    let failed_again: Vec<&str> =
        told.stdout.lines().filter_map(|line| line.split_once("failed again: ")).map(|of| of.1).collect();
    assert_eq!(told.code, Some(if failed_again.is_empty() { 0 } else { 3 }), "{}", told.stdout);
    assert!(failed_again.len() < 10, "{}", told.stdout);
    settle(killed.server(), patience).await;
    let after = records(killed.server()).await;
    for (topic, count) in &after {
        let of_the_redrive = topic.starts_with("nlj.training.") || topic.starts_with("nlj.errors.");
        assert!(of_the_redrive || before[topic] == *count, "{topic} has {count} records, {} before", before[topic]);
    }

    // What was sent again came behind events that had overtaken it, as a session that was scheduled twice. Made anew from the log, the
    // training's states have them in their order.
    workplace.run(&["rebuild", "training"]).expect_code(0);

    let server = killed.server.take().expect("it runs");
    compare_documents(&server, &expected).await;
    profiles.compare(&server).await;
    states.compare(&server).await;
    server.stop().expect_code(0);
}
