//! The statement store's contract for the model and the embedded twin; the two compared on random statements and on the
//! analytics questions; and what only the twin has: a folder that outlives the process.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use lyceum_core::analytics::learner::learner;
use lyceum_core::analytics::platform::overview;
use lyceum_core::analytics::survey::survey;
use lyceum_core::ports::statements::{
    Filter, QueryDocuments, StatementDocument, StatementFields, Statements, StatementsError, StoreDocuments,
    StoreOutcome,
};
use lyceum_core::record::Position;
use lyceum_embedded::statements::{EmbeddedStatements, StatementsOptions};
use lyceum_testing::memory::statements::MemoryStatements;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::tempdir;
use uuid::Uuid;

/// Statement equality for tests: equal JSON, or equal bytes where they are no JSON.
fn same_json(one: &[u8], other: &[u8]) -> bool {
    let value = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}

fn options() -> StatementsOptions {
    StatementsOptions { memory_bytes: 15_000_000, ..StatementsOptions::new(same_json) }
}

fn open(folder: &Path) -> EmbeddedStatements {
    EmbeddedStatements::open(folder, options()).unwrap()
}

fn refusal(folder: &Path) -> String {
    match EmbeddedStatements::open(folder, options()) {
        Err(StatementsError::Refused(reason)) => reason,
        Err(other) => panic!("not refused but {other}"),
        Ok(_) => panic!("opened"),
    }
}

mod model {
    use super::*;

    async fn with_model(check: impl AsyncFnOnce(&dyn Statements)) {
        check(&MemoryStatements::new(same_json)).await;
    }

    lyceum_testing::statements_contract!(with_model);
}

mod embedded {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn Statements)) {
        let folder = tempdir().unwrap();
        check(&open(folder.path())).await;
    }

    lyceum_testing::statements_contract!(with_folder);
}

#[test]
fn every_check_of_the_contract_is_run() {
    let source = include_str!("../../../../testing/src/statements_contract.rs");
    let checks = source.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
    for check in checks {
        assert_eq!(source.matches(&format!("            {check}\n")).count(), 1, "{check} is not in the macro's list");
    }
}

/// A statement whose id and offset are `number`.
fn numbered(tenant: &str, number: u64) -> StatementDocument {
    let timestamp_ms = 1_638_144_000_000 + (number as i64) * 1_000;
    StatementDocument {
        tenant: tenant.to_owned(),
        id: Uuid::from_u64_pair(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number),
        raw: Bytes::from(json!({"number": number}).to_string()),
        stored_ms: timestamp_ms,
        source: Position::new("nlj.xapi.statements", (number % 3) as i32, number as i64),
        correlation_id: number.to_string(),
        fields: StatementFields { timestamp_ms, verb: "http://example.org/did".into(), ..StatementFields::default() },
    }
}

fn tenant_filter(tenant: &str) -> Filter {
    Filter { tenant: Some(tenant.to_owned()), include_voided: true, ..Filter::default() }
}

async fn all_ids(statements: &dyn Statements, tenant: &str) -> Vec<Uuid> {
    let (mut ids, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = statements.search(&tenant_filter(tenant), 1_000, after.as_deref()).await.unwrap();
        ids.extend(page.statements.iter().map(|found| found.document.id));
        after = page.next;
        if after.is_none() {
            assert_eq!(ids.len() as u64, page.total);
            return ids;
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_opened_again_holds_everything_and_still_hides_what_was_voided() {
    let folder = tempdir().unwrap();
    let (target, mut voiding) = (numbered("t", 1), numbered("t", 2));
    voiding.fields.voids = Some(target.id);
    {
        let statements = open(folder.path());
        statements.store(vec![target.clone(), numbered("t", 3)]).await.unwrap();
        statements.store(vec![voiding.clone()]).await.unwrap();
    }
    let statements = open(folder.path());
    assert_eq!(all_ids(&statements, "t").await.len(), 3);
    assert!(statements.get("t", target.id).await.unwrap().unwrap().voided);
    let visible = Filter { include_voided: false, ..tenant_filter("t") };
    assert_eq!(statements.search(&visible, 10, None).await.unwrap().total, 2);
    assert_eq!(statements.store(vec![target]).await.unwrap(), [StoreOutcome::Created]);
    assert_eq!(all_ids(&statements, "t").await.len(), 3);
}

#[tokio::test]
async fn many_small_calls_are_merged_and_stay_complete() {
    let folder = tempdir().unwrap();
    let statements = open(folder.path());
    for number in 0..60 {
        assert_eq!(statements.store(vec![numbered("t", number)]).await.unwrap(), [StoreOutcome::Created]);
    }
    let again: Vec<_> = (0..60).map(|number| numbered("t", number)).collect();
    assert!(statements.store(again).await.unwrap().iter().all(|outcome| *outcome == StoreOutcome::Created));
    assert_eq!(all_ids(&statements, "t").await.len(), 60);
}

#[test]
fn a_folder_that_another_one_has_open_is_refused() {
    let folder = tempdir().unwrap();
    let first = open(folder.path());
    assert!(refusal(folder.path()).contains("another process"), "{}", refusal(folder.path()));
    drop(first);
    drop(open(folder.path()));
}

#[test]
fn a_folder_of_a_newer_version_is_refused() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("schema-version"), "2\n").unwrap();
    assert!(refusal(folder.path()).contains("newer version (schema 2, this one reads 1)"));
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("letters.txt"), "dear").unwrap();
    assert!(refusal(folder.path()).contains("name an empty folder"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(refusal(&folder.path().join("letters.txt")).contains("no folder"));
}

#[tokio::test]
async fn a_damaged_folder_is_refused_and_not_half_read() {
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;
    let damages: [Damage; 4] = [
        |_| Some(b"garbage".to_vec()),
        |_| Some(Vec::new()),
        |whole| Some(whole[..whole.len() / 2].to_vec()),
        |_| None,
    ];
    for damage in damages {
        let folder = tempdir().unwrap();
        open(folder.path()).store((0..50).map(|number| numbered("t", number)).collect()).await.unwrap();
        let index = folder.path().join("index");
        let names: Vec<_> = fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).collect();
        let is_checked = |path: &&std::path::PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
        for path in names.iter().filter(is_checked).chain([&folder.path().join("schema-version")]) {
            let whole = fs::read(path).unwrap();
            match damage(whole.clone()) {
                Some(damaged) => fs::write(path, damaged).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            // A file that holds nothing, such as that of positions, is not missed.
            match EmbeddedStatements::open(folder.path(), options()) {
                Ok(statements) => assert_eq!(all_ids(&statements, "t").await.len(), 50, "{}", path.display()),
                Err(error) => assert!(!error.is_transient(), "{}: {error}", path.display()),
            }
            fs::write(path, whole).unwrap();
        }
        fs::remove_file(index.join("meta.json")).unwrap();
        assert!(refusal(folder.path()).contains("meta.json"));
    }
}

#[tokio::test]
async fn a_store_whose_disk_failed_answers_unavailable_and_works_again_afterwards() {
    let folder = tempdir().unwrap();
    let statements = open(folder.path());
    statements.store(vec![numbered("t", 1)]).await.unwrap();
    let (index, away) = (folder.path().join("index"), folder.path().join("away"));
    fs::rename(&index, &away).unwrap();
    for _ in 0..2 {
        let answer = statements.store(vec![numbered("t", 2)]).await;
        assert!(answer.as_ref().is_err_and(StatementsError::is_transient), "{answer:?}");
        assert!(statements.ping().await.is_err_and(|error| error.is_transient()));
        assert!(statements.get("t", numbered("t", 1).id).await.unwrap().is_some(), "reading goes on");
    }
    fs::rename(&away, &index).unwrap();
    assert_eq!(statements.ping().await, Ok(()));
    assert_eq!(statements.store(vec![numbered("t", 2)]).await.unwrap(), [StoreOutcome::Created]);
    assert_eq!(all_ids(&statements, "t").await.len(), 2);
}

/// This test runs itself again as a child process, which finds its folder in this variable.
const FOLDER: &str = "LYCEUM_TEST_STATEMENTS_FOLDER";
const ROUND: &str = "LYCEUM_TEST_STATEMENTS_ROUND";

/// The shell's limit on the size of a file stands for a full disk.
#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_is_unavailable_and_smaller_statements_are_stored_afterwards() {
    let noise: String = (0..8_000u64)
        .map(|part| {
            Uuid::from_u64_pair(part.wrapping_mul(0x9E37_79B9_7F4A_7C15), part.wrapping_mul(0xD6E8_FEB8_6659_FD93))
                .to_string()
        })
        .collect();
    let large = StatementDocument { raw: noise.into(), ..numbered("t", 1) };
    if let Some(folder) = std::env::var_os(FOLDER) {
        let statements = open(Path::new(&folder));
        for number in 2..5 {
            let answer = statements.store(vec![large.clone()]).await;
            assert!(answer.as_ref().is_err_and(StatementsError::is_transient), "{answer:?}");
            assert_eq!(statements.store(vec![numbered("t", number)]).await.unwrap(), [StoreOutcome::Created]);
        }
        return;
    }
    let folder = tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 150; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "statements::a_full_disk_is_unavailable_and_smaller_statements_are_stored_afterwards"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let statements = open(folder.path());
    assert_eq!(all_ids(&statements, "t").await.len(), 3);
    assert_eq!(statements.store(vec![large]).await.unwrap(), [StoreOutcome::Created]);
}

#[tokio::test]
async fn after_kill_9_every_acknowledged_statement_is_there_once() {
    if let (Some(folder), Ok(round)) = (std::env::var_os(FOLDER), std::env::var(ROUND)) {
        return store_until_killed(Path::new(&folder), round.parse().unwrap()).await;
    }
    let folder = tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "statements::after_kill_9_every_acknowledged_statement_is_there_once", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n').map(|line| line.unwrap());
        let mut acknowledge = |line: Vec<u8>| {
            let line = String::from_utf8(line).unwrap();
            let numbers =
                line.split_once("stored ").and_then(|(_, numbers)| numbers.strip_suffix('.')).map(str::to_owned);
            numbers
                .into_iter()
                .flat_map(|numbers| numbers.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>())
                .for_each(|n| {
                    acknowledged.insert(n);
                });
        };
        lines.by_ref().take(12 + round * 3).for_each(&mut acknowledge);
        child.kill().unwrap();
        lines.for_each(acknowledge);
        child.wait().unwrap();

        let statements = open(folder.path());
        let ids = all_ids(&statements, "t").await;
        let distinct: HashSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "nothing is there twice");
        assert!(acknowledged.len() >= 10, "the child stored something");
        for number in &acknowledged {
            assert!(
                distinct.contains(&numbered("t", *number).id),
                "{number} was acknowledged in round {round} or before"
            );
        }
    }
}

/// Four callers store new statements, and old ones again, and tell each acknowledgement.
async fn store_until_killed(folder: &Path, round: u64) {
    let statements = Arc::new(open(folder));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let statements = statements.clone();
        callers.spawn(async move {
            for call in 0.. {
                let first = round * 1_000_000 + caller * 100_000 + call * 10;
                let numbers: Vec<_> =
                    (first..first + 10).chain(first.saturating_sub(1_000_000)..first.saturating_sub(999_990)).collect();
                let documents = numbers.iter().map(|number| numbered("t", *number)).collect();
                let outcomes = statements.store(documents).await.unwrap();
                assert!(outcomes.iter().all(|outcome| *outcome == StoreOutcome::Created), "{outcomes:?}");
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                println!("stored {}.", numbers.join(" "));
            }
        });
    }
    callers.join_all().await;
}

const TEXTS: [&str; 7] = ["", "a", "b", "A b", "a:\"b\" \\ OR *", "\u{0}\n", "ü"];

prop_compose! {
    fn any_document()(
        (tenant, number, body, offset) in (select(&["t", "u"][..]), 0..14u64, 0..3u8, 0..40i64),
        (verb, event_type, actor, object) in (select(&TEXTS[..]), select(&TEXTS[..]), select(&TEXTS[..]), select(&TEXTS[..])),
        (sha1, survey, response) in (option_of_text(), option_of_text(), option_of_text()),
        parents in prop::collection::vec(select(&TEXTS[..]), 0..3),
        timestamp_ms in prop_oneof![-3..6i64, Just(i64::MIN), Just(i64::MAX)],
        score in prop::option::of((-8..40i32).prop_map(|quarters| f64::from(quarters) / 4.0)),
        (success, voids) in (prop::option::of(any::<bool>()), prop::option::weighted(0.2, 0..14u64)),
    ) -> StatementDocument {
        let document = numbered(tenant, number);
        StatementDocument {
            raw: Bytes::from(format!("{{\"body\":{}{body}}}", " ".repeat(usize::from(body)))),
            source: Position::new("topic", 0, offset),
            fields: StatementFields {
                event_type: event_type.into(), timestamp_ms, actor: actor.into(), actor_sha1: sha1, verb: verb.into(),
                object: object.into(), survey, response, score_raw: score, success,
                parents: parents.into_iter().map(str::to_owned).collect(),
                registration: Some(TEXTS[number as usize % 7].into()),
                voids: voids.map(|target| numbered(tenant, target).id),
                ..StatementFields::default()
            },
            ..document
        }
    }
}

fn option_of_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(select(&TEXTS[..]).prop_map(str::to_owned))
}

prop_compose! {
    fn any_filter()(
        tenant in prop::option::of(select(&["t", "u", "none"][..])),
        (from_ms, to_ms) in (prop::option::weighted(0.3, -3..6i64), prop::option::weighted(0.3, -3..6i64)),
        verbs in prop::collection::vec(select(&TEXTS[..]), 0..3),
        event_types in prop::collection::vec(select(&TEXTS[..]), 0..3),
        actors in prop::collection::vec(select(&TEXTS[..]), 0..2),
        (actor_sha1, object, survey, registration) in (rarely_text(), rarely_text(), rarely_text(), rarely_text()),
        include_voided in any::<bool>(),
    ) -> Filter {
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Filter {
            tenant: tenant.map(str::to_owned), from_ms, to_ms, verbs: owned(verbs), event_types: owned(event_types),
            actors: owned(actors), actor_sha1, object, survey, registration, include_voided,
        }
    }
}

fn rarely_text() -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.15, select(&TEXTS[..]).prop_map(str::to_owned))
}

fn any_aggregations(text: &str, size: u32, value: &str) -> Value {
    json!({
        "values": {"terms": {"field": text, "size": size}, "aggs": {
            "score": {"stats": {"field": "score_raw"}},
            "verbs": {"cardinality": {"field": "verb"}},
            "scores": {"terms": {"field": "score_raw", "size": size}},
        }},
        "truths": {"terms": {"field": "success"}, "aggs": {"mean": {"avg": {"field": "score_raw"}}}},
        "times": {"terms": {"field": "timestamp_ms", "size": size}},
        "within": {"filter": {"term": {text: value}}, "aggs": {"values": {"terms": {"field": "parents"}}}},
        "without": {"missing": {"field": text}, "aggs": {"scores": {"terms": {"field": "score_raw", "size": size}}}},
        "true": {"filter": {"term": {"success": true}}, "aggs": {"max": {"max": {"field": "score_raw"}}}},
        "score": {"filter": {"term": {"score_raw": -0.25}}},
        "distinct": {"cardinality": {"field": "score_raw"}},
        "first": {"min": {"field": "score_raw"}},
    })
}

/// Model and twin live through all cases, so that later ones meet what earlier ones stored.
#[test]
fn model_and_embedded_answer_the_same_whatever_is_stored_and_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempdir().unwrap();
    let (model, embedded) = (MemoryStatements::new(same_json), open(folder.path()));
    let calls = prop::collection::vec(prop::collection::vec(any_document(), 0..5), 1..3);
    let asked = (
        any_filter(),
        select(&["verb", "parents", "response", "actor", "registration"][..]),
        1..5u32,
        select(&TEXTS[..]),
    );
    let cases = (0..u64::MAX, calls, prop::collection::vec((asked, 1..6usize), 3));
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let run = |(ids, calls, questions): (u64, Vec<Vec<StatementDocument>>, Vec<_>)| {
        runtime.block_on(async {
            for mut documents in calls {
                // Some cases meet ids of their own only.
                documents
                    .iter_mut()
                    .filter(|_| ids % 2 == 0)
                    .for_each(|document| document.id = Uuid::from_u64_pair(ids, document.id.as_u64_pair().1));
                prop_assert_eq!(embedded.store(documents.clone()).await, model.store(documents).await);
            }
            for ((filter, text, size, value), limit) in questions {
                let aggregations = any_aggregations(text, size, value);
                prop_assert_eq!(
                    embedded.aggregate(&filter, &aggregations).await,
                    model.aggregate(&filter, &aggregations).await
                );
                let mut after: Option<String> = None;
                for _ in 0..4 {
                    let page = model.search(&filter, limit, after.as_deref()).await;
                    prop_assert_eq!(&embedded.search(&filter, limit, after.as_deref()).await, &page);
                    after = page.ok().and_then(|page| page.next);
                }
            }
            for found in model.documents() {
                let document = &found.document;
                prop_assert_eq!(embedded.get(&document.tenant, document.id).await, Ok(Some(found.clone())));
            }
            Ok(())
        })
    };
    TestRunner::new(config).run(&cases, run).unwrap();
}

/// Two hundred statements of a made-up academy: forty learners over a week of which one day is quiet, a survey with
/// changed answers, a voided statement, an anonymous group and another tenant.
fn academy() -> Vec<StatementDocument> {
    let verbs = ["initialized", "experienced", "experienced", "completed"];
    let at = |number: u64| {
        let mut document = numbered("academy", number);
        let day = [0, 1, 2, 4, 5, 6][(number % 6) as usize];
        document.fields.timestamp_ms = 1_638_144_000_000 + day * 86_400_000 + number as i64 * 60_000;
        document.fields.day =
            format!("2021-{}", ["11-29", "11-30", "12-01", "12-03", "12-04", "12-05"][(number % 6) as usize]);
        document.fields.actor = format!("mbox:learner-{}@example.org", number % 40);
        document.fields.actor_sha1 =
            lyceum_core::analytics::learner_id::LearnerId::parse(&document.fields.actor).unwrap().sha1();
        document.fields.event_type = "statement".into();
        document
    };
    let plain = (0..110).map(|number| {
        let mut document = at(number);
        document.fields.verb = format!("http://adlnet.gov/expapi/verbs/{}", verbs[(number / 6 % 4) as usize]);
        document
    });
    let survey = (110..195).map(|number| {
        let mut document = at(number);
        let registration = number % 17;
        let (event_type, verb) = match number % 5 {
            0 => ("survey.started", "initialized"),
            4 => ("survey.completed", "completed"),
            _ => ("survey.answered", "answered"),
        };
        document.fields.event_type = event_type.into();
        document.fields.verb = format!("http://adlnet.gov/expapi/verbs/{verb}");
        document.fields.survey = Some("pulse".into());
        document.fields.registration = Some(Uuid::from_u64_pair(1, registration).to_string());
        document.source = Position::new("nlj.survey.responses", (registration % 3) as i32, number as i64);
        match (event_type, number % 3) {
            ("survey.answered", 0) => {
                document.fields.question = Some("recommend".into());
                document.fields.response = Some((number * 7 % 11).to_string());
                document.raw = br#"{"result": {"score": {"min": 0, "max": 10}}}"#.as_slice().into();
            }
            ("survey.answered", 1) => {
                document.fields.question = Some("pace".into());
                document.fields.score_raw = Some((number % 9) as f64 / 2.0);
            }
            ("survey.answered", _) => {
                document.fields.question = Some("comment".into());
                document.fields.response = Some(["good", "too fast", ""][(number % 4 % 3) as usize].into());
            }
            _ => {}
        }
        document
    });
    let mut documents: Vec<_> = plain.chain(survey).collect();
    let ada = "mailto:learner-7@example.org";
    let mut by_sha1 = at(195);
    let sha1 = lyceum_core::analytics::learner_id::LearnerId::parse(ada).unwrap().sha1().unwrap();
    by_sha1.fields.actor = format!("sha1:{sha1}");
    by_sha1.fields.actor_sha1 = Some(sha1.clone());
    by_sha1.fields.verb = "http://adlnet.gov/expapi/verbs/completed".into();
    let mut anonymous = at(196);
    anonymous.fields.actor = String::new();
    anonymous.fields.actor_sha1 = None;
    anonymous.fields.verb = "http://adlnet.gov/expapi/verbs/attended".into();
    let mut voiding = at(197);
    voiding.fields.verb = "http://adlnet.gov/expapi/verbs/voided".into();
    voiding.fields.voids = Some(documents[7].id);
    documents.extend([by_sha1, anonymous, voiding]);
    documents.extend((198..203).map(|number| StatementDocument { tenant: "other".into(), ..at(number) }));
    documents
}

#[tokio::test]
async fn the_questions_have_their_golden_answers_on_model_and_embedded() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/analytics.json");
    let folder = tempdir().unwrap();
    let (model, embedded) = (MemoryStatements::new(same_json), open(folder.path()));
    let mut answers = Vec::new();
    for statements in [&model as &dyn Statements, &embedded] {
        for part in academy().chunks(61) {
            let outcomes = statements.store(part.to_vec()).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == StoreOutcome::Created));
        }
        let academy = Filter { tenant: Some("academy".into()), ..Filter::default() };
        let nobody = Filter { tenant: Some("nobody".into()), ..Filter::default() };
        answers.push(json!({
            "platform": overview(statements, &academy).await.unwrap(),
            "platform without statements": overview(statements, &nobody).await.unwrap(),
            "survey": survey(statements, Some("academy"), "http://nlj.platform/activities/survey/pulse", None, None).await.unwrap(),
            "survey on the first day": survey(statements, Some("academy"), "pulse", None, Some(1_638_230_400_000)).await.unwrap(),
            "survey of another tenant": survey(statements, Some("other"), "pulse", None, None).await.unwrap(),
            "learner": learner(statements, Some("academy"), "learner-7@example.org", None, None).await.unwrap(),
            "learner from the third day": learner(statements, Some("academy"), "mbox:learner-8@example.org", Some(1_638_316_800_000), None).await.unwrap(),
            "learner unknown": learner(statements, Some("academy"), "account:http://nlj.platform/users|nobody", None, None).await.unwrap(),
        }));
    }
    assert_eq!(answers[0], answers[1], "model and embedded differ");
    if std::env::var_os("LYCEUM_UPDATE_GOLDEN").is_some() {
        fs::write(&golden, format!("{:#}\n", answers[0])).unwrap();
    }
    let expected: Value = serde_json::from_str(&fs::read_to_string(&golden).unwrap()).unwrap();
    assert_eq!(answers[0], expected, "run with LYCEUM_UPDATE_GOLDEN=1 and read the difference");
    let refused = learner(&model, Some("academy"), "nobody in particular", None, None).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("e-mail address")));
}
