//! The analytics questions over the same few thousand statements have the same answers on every adapter, whatever the number
//! of its shards. All numbers are equal to the last digit but sums of broken numbers, which engines add in another order:
//! those within a billionth. Different values are counted exactly in effect up to 40,000, and here are some hundreds.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use lyceum_core::analytics::learner::learner;
use lyceum_core::analytics::learner_id::LearnerId;
use lyceum_core::analytics::learning::learning;
use lyceum_core::analytics::platform::overview;
use lyceum_core::analytics::survey::survey;
use lyceum_core::ports::statements::{Filter, StatementDocument, StatementFields, Statements, StoreOutcome};
use lyceum_core::record::Position;
use serde_json::{Value, json};
use uuid::Uuid;

const STATEMENTS: u64 = 3_000;
const DAY_MS: i64 = 86_400_000;

/// Statement equality for tests: equal JSON, or equal bytes where they are no JSON.
pub fn same_json(one: &[u8], other: &[u8]) -> bool {
    let value = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}

/// A statement whose id, offset and second are `number`.
pub fn numbered(tenant: &str, number: u64) -> StatementDocument {
    let timestamp_ms = 1_638_144_000_000 + (number as i64) * 1_000;
    StatementDocument {
        tenant: tenant.into(),
        id: Uuid::from_u64_pair(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number),
        raw: Bytes::from(json!({"number": number}).to_string()),
        stored_ms: timestamp_ms,
        source: Position::new("nlj.xapi.statements", (number % 3) as i32, number as i64),
        correlation_id: number.to_string().into(),
        fields: StatementFields {
            timestamp_ms,
            day: "2021-11-29".into(),
            verb: "http://example.org/did".into(),
            score_raw: Some(-0.1 - 0.2 * number as f64),
            ..StatementFields::default()
        },
    }
}

/// Stores the statements of the made-up academy, and asks everything of them; the store is empty before.
///
/// # Panics
/// Where an answer is not the one of `golden/analytics.json`.
pub async fn answer_as_ever(statements: &dyn Statements) {
    for part in academy().chunks(700) {
        let outcomes = statements.store(part.to_vec()).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == StoreOutcome::Created), "{outcomes:?}");
    }
    let answers = ask_everything(statements).await;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/analytics.json");
    if std::env::var_os("LYCEUM_UPDATE_GOLDEN").is_some() {
        fs::write(&golden, format!("{answers:#}\n")).unwrap();
    }
    let expected: Value = serde_json::from_str(&fs::read_to_string(&golden).unwrap()).unwrap();
    let mut different = Vec::new();
    compare("", &answers, &expected, &mut different);
    assert!(different.is_empty(), "LYCEUM_UPDATE_GOLDEN=1 writes what is found; {}", different.join("\n"));
    let refused = learner(statements, Some("academy"), "nobody in particular", None, None).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("e-mail address")));
}

/// Numbers that are not whole may differ by a billionth.
fn compare(path: &str, found: &Value, expected: &Value, different: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) if found.keys().eq(expected.keys()) => {
            for (key, found) in found {
                compare(&format!("{path}/{key}"), found, &expected[key], different);
            }
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(&format!("{path}/{at}"), found, expected, different);
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            if (one - other).abs() > other.abs() * 1e-9 {
                different.push(format!("{path}: {one} is not {other}"));
            }
        }
        _ if found == expected => {}
        _ => different.push(format!("{path}: {found:.200} is not {expected:.200}")),
    }
}

async fn ask_everything(statements: &dyn Statements) -> Value {
    let of = |tenant: &str| Filter { tenant: Some(tenant.to_owned()), ..Filter::default() };
    let day = |number: i64| Some(1_638_144_000_000 + number * DAY_MS);
    let aggregations = json!({
        "scores": {"terms": {"field": "score_raw", "size": 50}, "aggs": {"verbs": {"terms": {"field": "verb"}}}},
        "scaled": {"stats": {"field": "score_scaled"}},
        "success": {"terms": {"field": "success"}, "aggs": {"mean": {"avg": {"field": "score_raw"}}}},
        "parents": {"terms": {"field": "parents", "size": 7}},
        "responses": {"terms": {"field": "response", "size": 1_000}},
        "learners": {"cardinality": {"field": "actor"}},
        "by no address": {"missing": {"field": "actor_sha1"}, "aggs": {"n": {"cardinality": {"field": "actor"}}}},
        "completion": {"filter": {"term": {"completion": true}}, "aggs": {"days": {"terms": {"field": "day"}}}},
        "types": {"terms": {"field": "event_type"}, "aggs": {"n": {"cardinality": {"field": "registration"}}}},
        "first": {"min": {"field": "timestamp_ms"}},
        "last": {"max": {"field": "timestamp_ms"}},
    });
    let with_voided = Filter { include_voided: true, ..of("academy") };
    json!({
        "platform": overview(statements, &of("academy")).await.unwrap(),
        "platform of all tenants": overview(statements, &Filter::default()).await.unwrap(),
        "platform of two days": overview(statements, &Filter { from_ms: day(1), to_ms: day(3), ..of("academy") }).await.unwrap(),
        "platform of nobody": overview(statements, &of("nobody")).await.unwrap(),
        "platform of an odd tenant": overview(statements, &of(ODD_TENANT)).await.unwrap(),
        "learning": learning(statements, &of("academy")).await.unwrap(),
        "learning of all tenants": learning(statements, &Filter::default()).await.unwrap(),
        "learning of two days": learning(statements, &Filter { from_ms: day(1), to_ms: day(3), ..of("academy") }).await.unwrap(),
        "learning of nobody": learning(statements, &of("nobody")).await.unwrap(),
        "survey": survey(statements, Some("academy"), "http://nlj.platform/activities/survey/pulse", None, None, None).await.unwrap(),
        "survey of all tenants": survey(statements, None, "pulse", None, None, None).await.unwrap(),
        "survey on the first day": survey(statements, Some("academy"), "pulse", None, day(1), None).await.unwrap(),
        "survey of another tool": survey(statements, Some("academy"), ELSEWHERE, None, None, None).await.unwrap(),
        "survey of another tool by its segment": survey(statements, None, "view.php?id=1", None, None, None).await.unwrap(),
        "surveys of one segment": survey(statements, None, "view.php", None, None, None).await.unwrap_err().to_string(),
        "survey unknown": survey(statements, Some("academy"), "none", None, None, None).await.unwrap(),
        "learner": learner(statements, Some("academy"), "learner-7@example.org", None, None).await.unwrap(),
        "learner of all tenants": learner(statements, None, "learner-7@example.org", None, None).await.unwrap(),
        "learner from the third day": learner(statements, Some("academy"), "learner-8@example.org", day(2), None).await.unwrap(),
        "learner unknown": learner(statements, Some("academy"), "account:http://nlj.platform/users|nobody", None, None).await.unwrap(),
        "aggregations": statements.aggregate(&of("academy"), &aggregations).await.unwrap(),
        "aggregations with voided": statements.aggregate(&with_voided, &aggregations).await.unwrap(),
    })
}

const ELSEWHERE: &str = "https://lms.example/survey/view.php?id=1";
const OF_ANOTHER_SITE: &str = "https://lms.example/survey/view.php?id=2";
const ODD_TENANT: &str = "Ünï / \"odd\" \\ tenant\n";

/// A sequence without pattern, the same in each run.
fn draw(number: u64, salt: u64, below: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ (mixed >> 32)) % below
}

/// Statements of three tenants over ten days, of which some are quiet: fields that are missing or empty, texts in many
/// scripts, values at the edges of what a score may be, surveys with changed answers, and voided ones, some of which
/// come after what voids them.
fn academy() -> Vec<StatementDocument> {
    let mut documents: Vec<_> = (0..STATEMENTS).map(generate).collect();
    for number in (0..STATEMENTS).step_by(31) {
        let mut voiding = generate(number);
        let target = if number % 2 == 0 { number.saturating_sub(5) } else { number + 40 };
        voiding.id = Uuid::from_u64_pair(number, 0xF00D);
        voiding.source = Position::new("nlj.xapi.statements", 0, (STATEMENTS + number) as i64);
        voiding.fields.verb = "http://adlnet.gov/expapi/verbs/voided".into();
        voiding.fields.object_type = "StatementRef".into();
        voiding.fields.voids = Some(numbered("academy", target).id);
        documents.insert(number as usize, voiding);
    }
    documents
}

fn generate(number: u64) -> StatementDocument {
    let draw = |salt, below| draw(number, salt, below);
    let tenant = ["academy", "academy", "academy", "other", ODD_TENANT][draw(1, 5) as usize];
    let mut document = numbered(tenant, number);
    let day = [0, 1, 2, 4, 5, 8, 9][draw(2, 7) as usize];
    let fields = &mut document.fields;
    fields.timestamp_ms = 1_638_144_000_000 + day * DAY_MS + draw(3, DAY_MS as u64) as i64;
    fields.day =
        ["2021-11-29", "2021-11-30", "2021-12-01", "", "2021-12-03", "2021-12-04", "", "", "2021-12-07", "2021-12-08"]
            [day as usize]
            .into();
    fields.event_type = "statement".into();
    fields.family = "statement".into();
    let who = draw(4, 300);
    let address = format!("mbox:learner-{who}@example.org");
    let sha1 = LearnerId::parse(&address).unwrap().sha1().unwrap();
    (fields.actor, fields.actor_sha1) = match (who, draw(28, 5)) {
        (0, _) => (String::new(), None),
        (100.., 0) => (format!("account:http://nlj.platform/users|{who}"), None),
        (10.., 1) => (format!("sha1:{sha1}"), Some(sha1)),
        _ => (address, Some(sha1)),
    };
    let verbs = ["initialized", "experienced", "attended", "completed", "erfüllt", "完了", "🎓"];
    fields.verb = format!("http://adlnet.gov/expapi/verbs/{}", verbs[draw(5, 7) as usize]).into();
    fields.object_type = "Activity".into();
    fields.object = format!("http://example.org/unit/{}", draw(6, 90)).into();
    fields.activity_type = (draw(7, 3) > 0).then(|| "http://adlnet.gov/expapi/activities/lesson".into());
    fields.parents =
        (0..draw(8, 4)).map(|at| format!("http://example.org/course/{}", draw(9 + at, 12)).into()).collect();
    let scores =
        [None, Some(0.0), Some(-0.0), Some(-12.5), Some(1e-300), Some(1.0 / 3.0), Some(1e15), Some(7.0), Some(100.0)];
    fields.score_raw = scores[draw(14, 9) as usize];
    fields.score_scaled = (draw(15, 2) == 0).then(|| draw(16, 2_001) as f64 / 1_000.0 - 1.0);
    fields.success = [None, Some(true), Some(false)][draw(17, 3) as usize];
    fields.completion = [None, Some(true), Some(false)][draw(18, 3) as usize];
    let responses = [None, Some(""), Some("ja"), Some("はい"), Some("\u{0}\n"), Some("null"), Some("7")];
    fields.response = responses[draw(19, 7) as usize].map(Into::into);
    if draw(20, 3) == 0 {
        let kinds = [
            ("survey.started", "initialized"),
            ("survey.answered", "answered"),
            ("survey.answered", "answered"),
            ("survey.completed", "completed"),
        ];
        let (event_type, verb) = kinds[draw(21, 4) as usize];
        fields.event_type = event_type.into();
        fields.verb = format!("http://adlnet.gov/expapi/verbs/{verb}").into();
        fields.survey = Some(["pulse", "pulse", "Umfrage ü", ELSEWHERE, OF_ANOTHER_SITE][draw(22, 5) as usize].into());
        if fields.survey.as_deref().is_some_and(|survey| survey.contains(':')) {
            fields.event_type = "statement".into();
        }
        fields.registration = (draw(23, 9) > 0).then(|| Uuid::from_u64_pair(1, draw(24, 60)).to_string());
        if event_type == "survey.answered" {
            fields.question = (draw(25, 9) > 0).then(|| ["recommend", "pace", "comment"][draw(26, 3) as usize].into());
            if fields.question.as_deref() == Some("recommend") {
                fields.response = Some(draw(27, 11).to_string().into());
                document.raw = br#"{"result": {"score": {"min": 0, "max": 10}}}"#.as_slice().into();
                fields.score_raw = None;
            }
        }
    }
    document
}
