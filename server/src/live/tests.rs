use lyceum_core::outcome::{Anomaly, DeadLetterKind};
use lyceum_testing::clock::ManualClock;

use super::*;

fn live(tenants: &[&str]) -> (Arc<ManualClock>, Live) {
    let clock = Arc::new(ManualClock::at(1_000_000_000_000));
    let live = Live::new(clock.clone(), tenants.iter().map(|tenant| tenant.to_string()));
    (clock, live)
}

fn report(tenant: Option<&str>, offset: i64, outcome: Outcome) -> Report {
    Report {
        position: Position::new("nlj.training.bookings", 0, offset),
        family: "training",
        is_owner: true,
        event_type: "booking.confirmed",
        event_id: None,
        tenant: tenant.map(Into::into),
        correlation_id: None,
        trace_id: None,
        outcome,
        findings: Vec::new(),
        anomalies: Vec::new(),
    }
}

fn dead(kind: DeadLetterKind) -> Outcome {
    Outcome::DeadLettered { kind }
}

#[test]
fn an_event_that_others_read_along_is_counted_once_and_what_is_wrong_with_them_is_shown() {
    let (_, live) = live(&[]);
    let outcomes = [Outcome::Applied, Outcome::Skipped, dead(DeadLetterKind::Rejected), Outcome::undecided()];
    for outcome in outcomes {
        live.observe(&[report(None, 1, Outcome::Applied), report(None, 1, outcome).owned(false)]);
    }
    let totals = live.snapshot(None).totals;
    assert_eq!((totals.outcome("applied"), totals.outcome("skipped")), (4, 0));
    assert_eq!((totals.outcome("dead_lettered"), totals.outcome("retry_later")), (1, 1));
}

#[test]
fn every_outcome_has_a_column() {
    let outcomes = [
        Outcome::Applied,
        Outcome::Duplicate,
        Outcome::SkippedTombstone,
        Outcome::Skipped,
        Outcome::RetryLater { reason: "".into() },
        dead(DeadLetterKind::Decode),
    ];
    let mut names = outcomes.map(|outcome| outcome.name());
    let mut columns = OUTCOMES;
    names.sort_unstable();
    columns.sort_unstable();
    assert_eq!(names, columns);
}

#[test]
fn an_event_is_counted_in_its_second_and_leaves_the_plot_after_ten_minutes() {
    let (clock, live) = live(&[]);
    live.observe(&[report(None, 0, Outcome::Applied), report(None, 1, Outcome::Duplicate)]);
    assert_eq!(live.snapshot(None).seconds[SECONDS - 1], [1, 1, 0, 0, 0, 0]);
    clock.advance(599_000);
    live.observe(&[report(None, 2, dead(DeadLetterKind::Decode))]);
    let snapshot = live.snapshot(None);
    assert_eq!(snapshot.seconds.len(), SECONDS);
    assert_eq!(snapshot.seconds[0], [1, 1, 0, 0, 0, 0]);
    assert_eq!(snapshot.seconds[SECONDS - 1], [0, 0, 0, 0, 0, 1]);
    clock.advance(1000);
    assert_eq!(live.snapshot(None).seconds[0], Counts::default());
    assert_eq!(live.snapshot(None).totals.records(), 3);
}

#[test]
fn a_clock_that_is_set_back_loses_no_count() {
    let (clock, live) = live(&[]);
    live.observe(&[report(None, 0, Outcome::Applied)]);
    clock.advance(-5000);
    live.observe(&[report(None, 1, Outcome::Applied)]);
    clock.advance(5000);
    assert_eq!(live.snapshot(None).seconds[SECONDS - 1][0], 2);
}

#[test]
fn the_rate_is_that_of_the_last_ten_complete_seconds() {
    let (clock, live) = live(&[]);
    for second in 0..10 {
        let reports: Vec<_> = (0..=second).map(|offset| report(None, offset, Outcome::Applied)).collect();
        live.observe(&reports);
        clock.advance(1000);
    }
    live.observe(&[report(None, 99, Outcome::Applied)]);
    assert_eq!(live.snapshot(None).events_per_second(), 5.5);
}

#[test]
fn rates_count_what_is_settled_only() {
    let (_, live) = live(&[]);
    assert_eq!(live.snapshot(None).totals.success_rate(), None);
    live.observe(&[
        report(None, 0, Outcome::Applied),
        report(None, 1, Outcome::RetryLater { reason: "away".into() }),
        report(None, 2, dead(DeadLetterKind::Validation)),
        report(None, 3, dead(DeadLetterKind::Rejected)),
        report(None, 4, Outcome::SkippedTombstone),
    ]);
    let totals = live.snapshot(None).totals;
    assert_eq!((totals.records(), totals.settled()), (5, 4));
    assert_eq!(totals.success_rate(), Some(0.5));
    assert_eq!(totals.event_types["training"]["booking.confirmed"], 5);
    assert_eq!(totals.dead_letters, BTreeMap::from([("rejected", 1), ("validation", 1)]));
}

#[test]
fn a_tenant_sees_its_own_numbers_and_events_only() {
    let (_, live) = live(&["acme"]);
    live.observe(&[
        report(Some("acme"), 0, Outcome::Applied),
        report(Some("globex"), 1, dead(DeadLetterKind::Rejected)),
        report(None, 2, dead(DeadLetterKind::Decode)),
    ]);
    let acme = live.snapshot(Some("acme"));
    assert_eq!(acme.totals.outcomes, BTreeMap::from([("applied", 1)]));
    assert_eq!(acme.events.iter().map(|event| event.position.offset).collect::<Vec<_>>(), [0]);
    assert_eq!(live.snapshot(Some("nobody")).totals, Totals::default());
    assert_eq!(live.snapshot(None).totals.records(), 3);
    let position = Position::new("nlj.training.bookings", 0, 1);
    assert!(live.find_event(Some("acme"), &position).is_none());
    assert!(live.find_event(Some("globex"), &position).is_some());
    assert!(live.find_event(None, &position).is_some());
}

#[test]
fn a_flood_of_tenants_displaces_none_that_a_credential_names() {
    let (_, live) = live(&["acme"]);
    for i in 0..100 {
        live.observe(&[report(Some(&format!("made-up-{i}")), i, Outcome::Applied)]);
    }
    live.observe(&[report(Some("acme"), 100, Outcome::Applied)]);
    assert_eq!(live.snapshot(Some("acme")).totals.records(), 1);
    assert!(live.snapshot(Some("made-up-0")).is_counted);
    assert!(!live.snapshot(Some("made-up-99")).is_counted);
    assert_eq!(live.snapshot(None).totals.records(), 101);
}

#[test]
fn lists_and_texts_stay_bounded_and_the_newest_comes_first() {
    let (_, live) = live(&[]);
    let finding = |pointer: String| Finding {
        rule: "verb.id.iri".into(),
        pointer,
        message: "é".repeat(5000),
        requirement: "XAPI-00045".into(),
    };
    for offset in 0..500 {
        let mut report = report(None, offset, dead(DeadLetterKind::Validation));
        report.findings = (0..20).map(|i| finding(format!("/{i}"))).collect();
        report.anomalies = vec![Anomaly { name: "overbooked".into(), message: format!("seat {offset}") }];
        live.observe(&[report]);
    }
    let snapshot = live.snapshot(None);
    assert_eq!((snapshot.events.len(), snapshot.anomalies.len()), (EVENTS, ANOMALIES));
    assert_eq!(snapshot.events[0].position.offset, 499);
    assert_eq!(snapshot.anomalies[0].message, "seat 499");
    assert_eq!((snapshot.events[0].findings.len(), snapshot.events[0].findings_total), (FINDINGS, 20));
    assert_eq!(snapshot.events[0].findings[0].message.chars().count(), TEXT_CHARS + 1);
    assert_eq!(snapshot.totals.violations, BTreeMap::from([("verb.id.iri", 10_000)]));
}

#[test]
fn what_was_counted_by_minute_and_hour_is_there_after_a_restart_and_each_tenant_has_its_own() {
    let kept = Arc::new(MemoryHistory::default());
    let (clock, live) = live(&[]);
    let live = live.keeping(kept.clone());
    live.restore().unwrap();
    live.observe(&[report(Some("acme"), 0, Outcome::Applied), report(Some("globex"), 1, dead(DeadLetterKind::Decode))]);
    live.save().unwrap();
    clock.advance(90_000);
    live.observe(&[report(Some("acme"), 2, Outcome::Duplicate)]);
    live.save().unwrap();
    // What is not saved is lost with the process.
    live.observe(&[report(Some("acme"), 3, Outcome::Applied)]);
    drop(live);
    clock.advance(2 * 3_600_000);
    let live = Live::new(clock.clone(), []).keeping(kept);
    live.restore().unwrap();
    live.observe(&[report(Some("acme"), 4, Outcome::Applied)]);
    for reach in [Reach::Day, Reach::Month, Reach::Year] {
        assert_eq!(live.history(Some("acme"), reach).sum(), [2, 1, 0, 0, 0, 0], "{reach:?}");
        assert_eq!(live.history(Some("globex"), reach).sum(), [0, 0, 0, 0, 0, 1], "{reach:?}");
        assert_eq!(live.history(None, reach).sum(), [2, 1, 0, 0, 0, 1], "{reach:?}");
    }
    let day = live.history(Some("acme"), Reach::Day);
    let gaps = day.bars.iter().rev().take(9).filter(|bar| bar.counts.is_none()).count();
    assert!(gaps >= 6, "the two hours without a process are a gap: {day:?}");
    assert_eq!(live.snapshot(Some("acme")).totals.records(), 1, "totals are those since the start");
}
