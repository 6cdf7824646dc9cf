use std::collections::{BTreeMap, BTreeSet, HashMap};

use lyceum_core::catalog::FamilySpec;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::academy::{LEARNERS, QUESTIONS};

fn all_shares() -> Shares {
    Shares { duplicates: 0.02, late: 0.02, out_of_order: 0.02, broken: 0.05 }
}

fn made(plan: Plan) -> impl Iterator<Item = Made> {
    Generator::new(plan).expect("the plan is good")
}

fn digest(plan: Plan) -> String {
    let mut digest = Sha256::new();
    for made in made(plan) {
        digest.update(format!("{} {} {:?} {}\n", made.topic, made.key, made.headers, made.timestamp_ms));
        digest.update(made.value.as_deref().unwrap_or(b"none"));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn plan(events: u64) -> Plan {
    Plan { events: Some(events), shares: all_shares(), ..Plan::default() }
}

#[test]
fn the_same_plan_makes_the_same_bytes_and_another_seed_others() {
    let two = || Plan { tenants: vec!["north".to_owned(), "south".to_owned()], ..plan(3_000) };
    assert_eq!(digest(two()), digest(two()));
    assert_ne!(digest(two()), digest(Plan { seed: 2, ..two() }));
}

#[test]
fn every_event_type_of_every_family_is_made_but_those_that_lyceum_alone_publishes() {
    let made: BTreeSet<&str> =
        made(plan(40_000)).filter(|made| made.outcome == Outcome::Applied).map(|made| made.event_type).collect();
    let of_catalog = FAMILIES.iter().flat_map(|spec: &&FamilySpec| spec.event_types.iter().map(|of| of.name));
    let missing: Vec<&str> = of_catalog.clone().filter(|name| !made.contains(name)).collect();
    let own: Vec<&str> = of_catalog.filter(|name| FOLLOW_UPS.contains(name)).collect();
    assert_eq!(missing, own, "make them, or say that only Lyceum publishes them");
    assert_eq!(own.len(), FOLLOW_UPS.len(), "the catalog has no such type");
    assert!(made.contains("statement"));
}

#[test]
fn there_are_as_many_as_asked_for_and_the_shares_are_kept() {
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for made in made(plan(20_000)) {
        if let Mark::Broken(of) = made.mark {
            broken.insert(of);
        }
        let name = format!("{:?}", made.mark);
        *marks.entry(name.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert_eq!(marks.values().sum::<u64>(), 20_000);
    for (name, share) in [("Duplicate", 0.02), ("Late", 0.02), ("OutOfOrder", 0.02), ("Broken", 0.05)] {
        let part = marks[name] as f64 / 20_000.0;
        assert!((part - share).abs() < 0.005, "{name}: {part}");
    }
    assert_eq!(broken, Broken::ALL.into_iter().collect(), "every kind");
}

#[test]
fn ids_are_those_of_one_event_but_for_duplicates_and_conflicts() {
    let mut ids = HashMap::new();
    for made in made(plan(10_000)) {
        let Some(value) = made.value.as_ref().and_then(|value| serde_json::from_slice::<Value>(value).ok()) else {
            continue;
        };
        let inner = if value["xapi_data"].is_object() { &value["xapi_data"] } else { &value };
        let Some(id) = inner["id"].as_str().or(inner["event_id"].as_str()).map(str::to_owned) else { continue };
        let is_known = ids.insert(id.clone(), ()).is_some();
        let may_be = matches!(made.mark, Mark::Duplicate | Mark::Broken(Broken::Conflict));
        assert!(may_be || !is_known, "{id} is there twice: {made:?}");
    }
}

#[test]
fn whatever_is_no_undecodable_value_is_json_or_framed() {
    for made in made(plan(10_000)) {
        let Some(value) = &made.value else { continue };
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok();
        let is_framed =
            value.starts_with(&[0xC3, 1]) || made.headers.iter().any(|(name, _)| name == "avro-fingerprint");
        let is_undecodable = made.mark == Mark::Broken(Broken::Undecodable);
        assert!(is_undecodable || is_json || is_framed, "{made:?}: {}", String::from_utf8_lossy(value));
    }
}

#[test]
fn the_families_and_the_topic_that_are_asked_for_are_all_that_is_made() {
    let of = |families: &[&str], topic: Option<&str>| {
        let families = families.iter().map(|name| (*name).to_owned()).collect();
        let plan = Plan { families, topic: topic.map(str::to_owned), ..Plan::default() };
        made(Plan { events: Some(500), ..plan }).map(|made| made.topic).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&["mission", "learning"], None), BTreeSet::from(["learning.events.v1", "mission.events.v1"]));
    assert_eq!(of(&[], Some("nlj.training.bookings")), BTreeSet::from(["nlj.training.bookings"]));
}

#[test]
fn what_is_wrong_with_a_plan_is_said_with_what_would_be_right() {
    let told = |plan: Plan| Generator::new(plan).expect_err("it is wrong").to_string();
    let plan = Plan::default;
    assert!(told(Plan { families: vec!["traning".into()], ..plan() }).contains("training"));
    assert!(told(Plan { families: vec!["security".into()], ..plan() }).contains("Lyceum alone"));
    assert!(told(Plan { topic: Some("nlj".into()), ..plan() }).contains("nlj.xapi.statements"));
    assert!(told(Plan { tenants: vec!["Acme Inc".into()], ..plan() }).contains("lower-case"));
    assert!(told(Plan { tenants: vec![], ..plan() }).contains("at least one"));
    let shares = |shares: Shares| told(Plan { shares, ..plan() });
    assert!(shares(Shares { late: -0.1, ..Shares::default() }).contains("late"));
    assert!(shares(Shares { late: 0.6, broken: 0.6, ..Shares::default() }).contains("more than 1"));
    assert!(told(Plan { pace: Some(Pace::Steady(0.0)), ..plan() }).contains("above 0"));
}

#[test]
fn answers_follow_the_truth_about_learners_and_questions() {
    let families = vec!["learning".to_owned()];
    let academy = Academy::new(1);
    let abilities: Vec<f64> = (0..LEARNERS).map(|number| academy.learner("academy", number).ability).collect();
    let mean_over_learners = |number: u32| {
        let question = academy.question("academy", number);
        let sum: f64 = abilities.iter().map(|ability| question.probability(*ability)).sum();
        (question.id, sum / f64::from(LEARNERS))
    };
    let expected: HashMap<String, f64> = (0..QUESTIONS).map(mean_over_learners).collect();
    let mut answers: HashMap<String, (f64, f64)> = HashMap::new();
    for made in made(Plan { events: Some(250_000), families, ..Plan::default() }) {
        let value = made.value.unwrap_or_default();
        let Ok(value) = serde_json::from_slice::<Value>(&value) else { continue };
        let payload = &value["payload"];
        // Whoever tries again is no random learner.
        let Some(id) = payload["question_id"].as_str().filter(|_| payload["attempt"] == 1) else { continue };
        let (right, all) = answers.entry(id.to_owned()).or_default();
        *right += f64::from(u8::from(payload["correct"] == true));
        *all += 1.0;
    }
    assert_eq!(answers.len(), QUESTIONS as usize);
    for (id, (right, all)) in answers {
        let (share, truth) = (right / all, expected[&id]);
        let error = (truth * (1.0 - truth) / all).sqrt();
        assert!((share - truth).abs() < 4.5 * error + 0.01, "{id}: {share} of {all} are right, and {truth} should be");
    }
}

#[test]
fn what_is_kept_does_not_grow_with_the_number_of_events() {
    let kept = |generator: &Generator| {
        let stories: usize = generator.open.iter().map(BinaryHeap::len).sum();
        (stories, generator.recent.len() + generator.older.len() + generator.completed.len(), generator.held.len())
    };
    let mut generator = Generator::new(plan(4_000_000)).expect("the plan is good");
    generator.by_ref().take(100_000).for_each(drop);
    let (stories, remembered, held) = kept(&generator);
    generator.by_ref().take(100_000).for_each(drop);
    let (later, _, _) = kept(&generator);
    assert!(stories < 16_000 && later < stories * 2, "{stories} {later}");
    assert!(remembered <= 3 * REMEMBERED && held < 100, "{remembered} {held}");
}

#[test]
fn what_must_come_out_is_what_is_made_and_differences_are_told() {
    let mut expected = Expected::default();
    made(plan(5_000)).for_each(|made| expected.add(&made));
    let sums = expected.sums();
    let dead: u64 = sums.dead_lettered.values().sum();
    assert_eq!(sums.sent, 5_000);
    assert_eq!(sums.applied + sums.duplicate + dead + sums.skipped, 5_000);
    let (mut events, mut letters) = (Events::new(), Letters::new());
    let either = expected.either().into_iter().map(|Either { endings, count, .. }| (endings[1], count));
    for (Ending { family, event_type, outcome, kind }, count) in expected.all().into_iter().chain(either) {
        *events.entry([family, event_type, outcome].map(str::to_owned)).or_default() += count;
        if let Some(kind) = kind {
            *letters.entry([family, kind].map(str::to_owned)).or_default() += count;
        }
    }
    events.insert(["security", "security.alert.raised", "applied"].map(str::to_owned), 3);
    assert_eq!(expected.differences(&events, &letters), Vec::<String>::new());
    *events.get_mut(&["statement", "statement", "applied"].map(str::to_owned)).expect("there are some") -= 1;
    *letters.get_mut(&["training", "decode"].map(str::to_owned)).expect("there are some") += 1;
    let wrong = expected.differences(&events, &letters);
    assert!(wrong.len() == 2 && wrong[0].starts_with("statement statement applied: "), "{wrong:?}");
    assert!(wrong[1].starts_with("letters of training decode: "), "{wrong:?}");
    let document: Value = serde_json::from_str(&expected.to_json()).expect("it is JSON");
    assert_eq!(document["sent"], 5_000);
}
