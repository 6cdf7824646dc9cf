//! The modules' families with their reactions, over the models in memory: what one publishes the others read, until nobody has anything
//! to do any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lyceum_catalog::{course, distribution, governance, security};
use lyceum_core::catalog::MODULE_DEAD_LETTERS;
use lyceum_core::dead_letter::Publication;
use lyceum_core::effects::Reaction;
use lyceum_core::envelope::{HOPS_HEADER, follow_up_id};
use lyceum_core::family::{FollowUp, Occurrence};
use lyceum_core::follow_up::{Answer, answer};
use lyceum_core::outcome::Refusal;
use lyceum_core::process::{ProcessConfig, ReactionProcessor, Subscriber};
use lyceum_core::record::{Header, NewRecord, Position, Record, header_text};
use lyceum_core::subscription::{Effect, Reads, Subscription, Wanted};
use lyceum_events_tests::world::{BEGINNING_MS, World};
use lyceum_functions::{Function, functions};
use lyceum_staging_course::Distributed;
use serde_json::{Value, json};
use uuid::Uuid;

/// Everybody who reads modules' topics, and what each has read.
struct Stand {
    world: World,
    functions: Vec<Arc<dyn Subscriber>>,
    read: BTreeSet<(&'static str, Position)>,
    sent: u128,
}

impl Stand {
    fn new() -> Self {
        let world = World::new();
        let is_of_modules = |of: &Function| of.subscription.dead_letters == MODULE_DEAD_LETTERS;
        let functions = functions().filter(is_of_modules).map(|of| world.function(of.subscription.name)).collect();
        Self { world, functions, read: BTreeSet::new(), sent: 0 }
    }

    /// Somebody sends an event.
    fn send(&mut self, topic: &str, key: &str, event_type: &str, payload: Value) -> Uuid {
        self.sent += 1;
        let id = Uuid::from_u128(self.sent);
        let value = json!({
            "id": id, "type": event_type, "source": "tests", "target": null, "timestamp": "2026-03-02T08:15:00Z",
            "payload": payload,
            "meta": {
                "schema_version": "1.0", "producer": "tests", "source_module": "tests", "tenant_id": "academy",
                "correlation_id": "c-1",
            },
        });
        let record = NewRecord {
            key: Some(key.to_owned().into()),
            value: Some(value.to_string().into()),
            timestamp_ms: Some(BEGINNING_MS),
            ..NewRecord::default()
        };
        self.world.publish(Publication { topic: topic.to_owned(), record });
        id
    }

    /// Has everybody read what there is, until nothing new comes. So many rounds are more than any chain of this test has events.
    fn settle(&mut self) {
        for _ in 0..100 {
            let mut is_done = true;
            for function in self.functions.clone() {
                let subscription = function.subscription();
                for topic in subscription.topics() {
                    let records = self.world.records(topic).into_iter();
                    let unread: Vec<Record> =
                        records.filter(|of| self.read.insert((subscription.name, of.position.clone()))).collect();
                    if !unread.is_empty() {
                        is_done = false;
                        let reports = self.world.deliver_to(&function, &unread);
                        assert!(reports.iter().all(|report| report.outcome.is_settled()), "{reports:?}");
                    }
                }
            }
            if is_done {
                return;
            }
        }
        panic!("it does not end: {:?}", self.events());
    }

    /// Everything comes again.
    fn settle_again(&mut self) {
        self.read.clear();
        self.settle();
    }

    /// The events that there are, by type: each id once.
    fn events(&self) -> BTreeMap<String, usize> {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let topics = [course::COURSES, distribution::DISTRIBUTIONS, governance::GOVERNANCE, security::ALERTS];
        for record in topics.iter().flat_map(|topic| self.world.records(topic)) {
            let value = value_of(&record);
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            ids.entry(text("type")).or_default().insert(text("id"));
        }
        ids.into_iter().map(|(name, ids)| (name, ids.len())).collect()
    }

    fn complete_a_course(&mut self, id: &str) -> Uuid {
        let payload = json!({"course_id": id, "title": "Rust, the basics"});
        self.send(course::COURSES, id, "course.generation.requested", payload.clone());
        self.send(course::COURSES, id, "course.outline.created", payload.clone());
        let lesson = json!({"course_id": id, "lesson_id": "one"});
        self.send(course::COURSES, id, "course.lesson.generated", lesson);
        self.send(course::COURSES, id, "course.generation.completed", payload)
    }
}

fn value_of(record: &Record) -> Value {
    serde_json::from_slice(record.value.as_deref().unwrap_or_default()).expect("a follow-up is JSON")
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn a_completed_course_is_distributed_deployed_and_told_its_address_and_then_nothing_more_happens() {
    let mut stand = Stand::new();
    let completed = stand.complete_a_course("rust");
    stand.settle();
    let all = counts(&[
        ("course.generation.requested", 1),
        ("course.outline.created", 1),
        ("course.lesson.generated", 1),
        ("course.generation.completed", 1),
        ("distribution.created", 1),
        ("course.deployed.staging", 1),
        ("distribution.updated", 1),
    ]);
    assert_eq!(stand.events(), all);
    assert_eq!(stand.world.letters(), []);
    let show = |family: &str, kind: &str, id: &str| stand.world.show(family, "academy", kind, id).expect("it is kept");
    let course = show("course", "course", "rust");
    assert_eq!((&course["status"], &course["deployments"]), (&"deployed_staging".into(), &1.into()));
    let distribution = show("distribution", "distribution", "course-rust");
    assert_eq!((&distribution["slug"], &distribution["status"]), (&"rust-the-basics".into(), &"draft".into()));
    assert_eq!(distribution["staging_url"], "/staging/rust-the-basics");
    // Every event is stored by its own family, once, and belongs to what began it.
    let documents = stand.world.statements.model.documents();
    assert_eq!(documents.len(), 7);
    assert!(documents.iter().all(|of| of.document.correlation_id == "c-1"));
    // Each event names how many led to it, in its header, and itself, in header and value.
    let chain = ["distribution.created", "course.deployed.staging", "distribution.updated"];
    let mut before = completed;
    for (hops, event_type) in (1..).zip(chain) {
        let topics = [course::COURSES, distribution::DISTRIBUTIONS];
        let mut records = topics.iter().flat_map(|topic| stand.world.records(topic));
        let record = records.find(|record| value_of(record)["type"] == event_type).expect("it is there");
        let header = |name: &str| header_text(&record.headers, name).unwrap_or_default().to_owned();
        assert_eq!(header(HOPS_HEADER), hops.to_string());
        let id = follow_up_id(before, None, event_type, 0);
        assert_eq!((header("event-id"), &value_of(&record)["id"]), (id.to_string(), &id.to_string().into()));
        before = id;
    }
    stand.settle_again();
    assert_eq!(stand.events(), all);
    assert_eq!(stand.world.statements.model.documents().len(), 7);
}

#[test]
fn a_distribution_that_somebody_makes_is_deployed_for_itself_beside_the_one_of_its_course() {
    let mut stand = Stand::new();
    stand.complete_a_course("rust");
    stand.settle();
    let own = json!({"distribution_id": "nurses", "course_id": "rust", "slug": "rust-for-nurses"});
    stand.send(distribution::DISTRIBUTIONS, "nurses", "distribution.created", own);
    stand.settle();
    assert_eq!(stand.world.letters(), []);
    let show = |kind: &str, id: &str| stand.world.show(kind, "academy", kind, id).expect("it is kept");
    assert_eq!(show("course", "rust")["deployments"], 2);
    assert_eq!(show("distribution", "nurses")["staging_url"], "/staging/rust-for-nurses");
    assert_eq!(show("distribution", "course-rust")["staging_url"], "/staging/rust-the-basics");
}

/// Answers an update with an update: a circle.
struct Echo;

impl Reaction for Echo {
    const SUBSCRIPTION: &'static Subscription = &Subscription {
        name: "echo",
        reads: Reads::Others(&[Wanted { topic: distribution::DISTRIBUTIONS, event_types: &["distribution.created"] }]),
        dead_letters: MODULE_DEAD_LETTERS,
        publishes: &[distribution::DISTRIBUTIONS],
        effect: Effect::Reaction,
    };
    type Event = Distributed;

    fn react(event: &Distributed, at: &Occurrence) -> Result<Vec<FollowUp>, Refusal> {
        let id = format!("{}x", event.distribution_id);
        let payload = json!({"distribution_id": id, "course_id": event.course_id, "slug": event.slug});
        let (topic, event_type) = (distribution::DISTRIBUTIONS, "distribution.created");
        Ok(answer(at, [Answer { topic, event_type, key: id, source: "echo", target: None, payload }]))
    }
}

#[test]
fn a_circle_of_reactions_that_does_not_end_by_itself_ends_with_one_letter_that_says_so() {
    let mut stand = Stand::new();
    let (services, catalog) = (stand.world.services(), stand.world.catalog.clone());
    let echo: Arc<dyn Subscriber> =
        Arc::new(ReactionProcessor::<Echo>::new(services, catalog, ProcessConfig::default()));
    stand.functions = vec![stand.world.function("distribution"), echo];
    let payload = json!({"distribution_id": "d", "course_id": "rust", "slug": "rust"});
    stand.send(distribution::DISTRIBUTIONS, "d", "distribution.created", payload);
    stand.settle();
    // The one that was sent, sixteen that follow from it, and the seventeenth, which is refused.
    assert_eq!(stand.events(), counts(&[("distribution.created", 18)]));
    let letters = stand.world.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((&*letter.family, &*letter.findings[0].rule), ("distribution", "hops.limit"));
    assert_eq!(header_text(&letter.original.headers, HOPS_HEADER), Some("17"));
    assert_eq!(stand.world.statements.model.documents().len(), 17);
}

#[test]
fn what_follows_from_a_record_of_many_hops_has_one_more_whatever_its_sender_says_of_them() {
    let stand = Stand::new();
    let mut record = Record {
        position: Position::new(distribution::DISTRIBUTIONS, 0, 0),
        timestamp_ms: BEGINNING_MS,
        key: None,
        value: None,
        headers: vec![Header::new(HOPS_HEADER, "7")],
    };
    let value = lyceum_core::formats::charter::Message {
        id: Uuid::from_u128(1),
        event_type: "distribution.created",
        source: "tests",
        target: None,
        occurred_at_ms: 0,
        tenant: "academy",
        correlation_id: "c",
        payload: json!({"distribution_id": "d", "course_id": "rust", "slug": "rust"}),
    };
    record.value = Some(value.write().into());
    let staging = stand.functions.iter().find(|of| of.subscription().name == "staging-course").expect("it is there");
    stand.world.deliver_to(staging, &[record]);
    let deployed = stand.world.records(course::COURSES);
    assert_eq!(header_text(&deployed[0].headers, HOPS_HEADER), Some("8"));
}

fn invalid_approval(stand: &mut Stand, approval: &str, actor: &str) {
    let payload = json!({"approval_id": approval, "reason": "token_mismatch", "actor": actor});
    stand.send(governance::GOVERNANCE, approval, "ir.approval_invalid", payload);
}

#[test]
fn invalid_approvals_and_failed_diffs_raise_alerts_and_many_of_them_a_higher_one_and_a_sum() {
    let mut stand = Stand::new();
    let hash = |of: &str| format!("sha256:{}", of.repeat(64));
    let diff = json!({"ir_id": "ir-4", "before_hash": hash("a"), "after_hash": hash("b")});
    stand.send(governance::GOVERNANCE, "ir-4", "ir.dag_diff_failed", diff.clone());
    stand.send(governance::GOVERNANCE, "ir-4", "ir.dag_diff_ok", diff);
    // Of several partitions nobody knows which comes first.
    stand.settle();
    (0..20).for_each(|number| invalid_approval(&mut stand, &format!("ap-{number}"), "eve"));
    stand.settle();
    let alerts = stand.world.records(security::ALERTS);
    let severities =
        |severity: &str| alerts.iter().filter(|record| value_of(record)["payload"]["severity"] == severity).count();
    // Of 21 about single events ten are raised; then there are brute force by an actor and within a tenant.
    assert_eq!((severities("high"), severities("critical")), (9, 3));
    let causes: BTreeSet<String> =
        alerts.iter().map(|record| value_of(record)["payload"]["cause"].as_str().unwrap_or("sum").to_owned()).collect();
    assert_eq!(causes, ["approval_invalid", "brute_force", "dag_diff_failed", "sum"].map(str::to_owned).into());
    assert_eq!(stand.events()["security.alerts.held_back"], 2);
    let shown = |stand: &Stand| {
        let watch = stand.functions.iter().find(|of| of.subscription().name == "watch-security").expect("it is there");
        let shown = watch.show("academy", security::WATCH, "academy");
        futures::executor::block_on(shown).unwrap().expect("it is kept")
    };
    assert_eq!((&shown(&stand)["held_back"], &shown(&stand)["invalid_approvals"]), (&11.into(), &20.into()));
    assert_eq!(stand.world.letters(), []);
    // The alerts are stored, and nothing of it comes twice.
    let (events, documents) = (stand.events(), stand.world.statements.model.documents().len());
    assert_eq!(documents, 22 + alerts.len());
    stand.settle_again();
    assert_eq!((stand.events(), stand.world.statements.model.documents().len()), (events, documents));
    assert_eq!(shown(&stand)["held_back"], 11);
}

#[test]
fn an_alert_has_the_fingerprint_of_a_token_and_of_what_is_none_nothing() {
    let mut stand = Stand::new();
    let fingerprint = format!("sha256:{}", "a".repeat(64));
    for (approval, token) in [("ap-1", Some(fingerprint.as_str())), ("ap-2", Some("tok-4711-raw")), ("ap-3", None)] {
        let payload = json!({"approval_id": approval, "reason": "token_mismatch", "token_fingerprint": token});
        stand.send(governance::GOVERNANCE, approval, "ir.approval_invalid", payload);
    }
    stand.settle();
    let alerts: BTreeMap<String, Value> = stand
        .world
        .records(security::ALERTS)
        .iter()
        .map(|record| value_of(record)["payload"].clone())
        .map(|payload| (payload["subject"].to_string(), payload["token_fingerprint"].clone()))
        .collect();
    let expected = [("ap-1", json!(fingerprint)), ("ap-2", json!(null)), ("ap-3", json!(null))];
    assert_eq!(alerts, expected.map(|(approval, of)| (json!(approval).to_string(), of)).into());
}

#[test]
fn no_store_no_letter_and_no_report_has_a_token_that_somebody_sent() {
    let raw = "tok-4711-raw";
    let mut stand = Stand::new();
    let fingerprint = format!("sha256:{}", "a".repeat(64));
    let whole = json!({"approval_id": "ap-1", "risk_tier": 1, "token_fingerprint": fingerprint});
    let with = |name: &str, value: Value| {
        let mut payload = whole.clone();
        payload[name] = value;
        payload
    };
    for payload in [
        with("token", json!(raw)),
        with("token_fingerprint", json!(raw)),
        with("context", json!([{"approvalToken": raw}])),
    ] {
        stand.send(governance::GOVERNANCE, "ap-1", "ir.approval_created", payload);
    }
    let mut reports = Vec::new();
    for record in stand.world.records(governance::GOVERNANCE) {
        reports.push(stand.world.deliver_one(&record));
    }
    assert_eq!(stand.world.letters().len(), 3);
    let letters: Vec<Record> = stand.world.records(MODULE_DEAD_LETTERS.validation);
    let kept = format!(
        "{letters:?} {reports:?} {:?} {:?}",
        stand.world.ledger.model.aggregates(),
        stand.world.statements.model.documents()
    );
    assert!(!kept.contains(raw), "{kept}");
    for letter in stand.world.letters() {
        assert!(letter.value_omitted && letter.findings.iter().any(|finding| finding.rule == "payload.secret"));
    }
}
