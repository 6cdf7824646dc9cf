//! What is a plain statement is decided once: the judgement before publishing (`lyceum validate`, `lyceum ingest`) is that of
//! processing, for every sample and for statements of other tools in every combination. And what they say of surveys counts.

use bytes::Bytes;
use futures::executor::block_on;
use lyceum_core::analytics::survey::{SurveyAnswers, survey};
use lyceum_core::catalog::STATEMENT;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::outcome::{DeadLetterKind, Outcome};
use lyceum_core::record::{Position, Record};
use lyceum_events_tests::samples::{json_files, root, samples};
use lyceum_events_tests::world::{BEGINNING_MS, World};
use lyceum_functions::{Look, Looked, REGISTRY};
use serde_json::{Value, json};

const STATEMENTS: &str = "nlj.xapi.statements";

fn record(value: impl Into<Bytes>, offset: i64) -> Record {
    Record {
        position: Position::new(STATEMENTS, 0, offset),
        timestamp_ms: BEGINNING_MS,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Whether it is a plain statement, by the judgement before publishing; what differs in processing is reported.
fn compare(world: &World, value: Bytes, offset: i64) -> Result<bool, String> {
    let record = record(value, offset);
    let judged = Look::new(EnvelopeConfig::default()).at(&record);
    let report = world.deliver_one(&record);
    let is_plain = matches!(&judged, Looked::Event(seen) if seen.known.name == STATEMENT);
    let agrees = match (&judged, &report.outcome) {
        (Looked::Event(_), Outcome::Applied) => is_plain,
        (Looked::Event(_), Outcome::DeadLettered { kind }) => !is_plain && *kind == DeadLetterKind::UnknownType,
        (Looked::Invalid(invalid), Outcome::DeadLettered { kind }) => {
            *kind == invalid.kind && report.findings == invalid.findings
        }
        _ => false,
    };
    if agrees { Ok(is_plain) } else { Err(format!("judged {judged:?}\n  processed {report:?}")) }
}

#[test]
fn every_sample_is_judged_before_publishing_as_it_is_processed() {
    let mut values: Vec<(String, Bytes)> = Vec::new();
    for family in REGISTRY.iter().map(|entry| entry.spec.name) {
        for folder in ["valid", "invalid"] {
            let found = samples(family, folder).into_iter();
            values.extend(found.filter_map(|sample| Some((sample.path, sample.record.value?))));
        }
    }
    for folder in ["valid", "invalid"] {
        for file in json_files(&root().join("xapi").join(folder)) {
            let value = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            values.push((file.display().to_string(), value.into()));
        }
    }
    let (mut plain, mut wrong) = (0, Vec::new());
    for (path, value) in values {
        match compare(&World::new(), value, 0) {
            Ok(is_plain) => plain += usize::from(is_plain),
            Err(problem) => wrong.push(format!("{path}: {problem}")),
        }
    }
    assert!(wrong.is_empty(), "{} samples:\n{}", wrong.len(), wrong.join("\n"));
    assert!(plain > 40, "only {plain} samples are plain statements");
}

#[test]
fn whatever_another_tool_says_of_its_own_activities_is_a_plain_statement() {
    let activity_types = [
        None,
        Some("http://id.tincanapi.com/activitytype/survey"),
        Some("http://adlnet.gov/expapi/activities/question"),
        Some("http://adlnet.gov/expapi/activities/cmi.interaction"),
    ];
    let objects = [
        "https://lms.example/mod/survey/view.php?id=1",
        "https://elsewhere.example/activities/survey/pulse",
        "http://nlj.platform/courses/1",
        "http://nlj.platform/activities/course/1",
        "urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001",
    ];
    let verbs = ["initialized", "answered", "completed", "created", "requested", "progressed", "failed", "experienced"];
    let survey_type = json!({"type": "http://id.tincanapi.com/activitytype/survey"});
    let contexts = [
        Value::Null,
        json!({"contextActivities": {"parent": [{"id": "https://lms.example/mod/survey/view.php?id=1", "definition": survey_type}]}}),
        json!({"contextActivities": {"grouping": {"id": "urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000009", "definition": survey_type}}}),
        json!({"registration": "99999999-0000-4000-8000-000000000003", "contextActivities": {"grouping": {"id": "http://nlj.platform/activities/survey/pulse"}}}),
    ];
    let (world, mut offset, mut wrong) = (World::new(), 0, Vec::new());
    for activity_type in activity_types {
        for object in objects {
            for (verb, namespace) in verbs.iter().flat_map(|verb| {
                ["http://adlnet.gov/expapi/verbs/", "http://nlj.platform/verbs/"].map(|namespace| (verb, namespace))
            }) {
                for context in &contexts {
                    let mut statement = json!({
                        "actor": {"mbox": "mailto:p1@school.example"},
                        "verb": {"id": format!("{namespace}{verb}")},
                        "object": {"id": object},
                    });
                    if let Some(activity_type) = activity_type {
                        statement["object"]["definition"] = json!({"type": activity_type});
                    }
                    if !context.is_null() {
                        statement["context"] = context.clone();
                    }
                    if compare(&world, statement.to_string().into(), offset) != Ok(true) {
                        wrong.push(statement.to_string());
                    }
                    offset += 1;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {offset}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(world.statements.model.documents().len() as i64, offset, "each is stored");
}

/// Statements of another tool about its survey, delivered in this order; then what the survey of that name found out.
fn answers_of(statements: &[Value], name: &str) -> SurveyAnswers {
    let world = World::new();
    for (offset, statement) in (0..).zip(statements) {
        let report = world.deliver_one(&record(statement.to_string(), offset));
        assert_eq!(report.outcome, Outcome::Applied, "{statement}: {:?}", report.findings);
    }
    block_on(survey(&*world.statements.model, None, name, None, None, None)).expect("an answer")
}

fn said(who: Value, verb: &str, object: &str, survey: Option<&str>, response: Option<&str>) -> Value {
    let survey_type = "http://id.tincanapi.com/activitytype/survey";
    let mut statement = json!({
        "actor": who,
        "verb": {"id": format!("http://adlnet.gov/expapi/verbs/{verb}")},
        "object": {"id": object, "definition": {"type": survey_type}},
    });
    if let Some(survey) = survey {
        statement["object"]["definition"] =
            json!({"type": "http://adlnet.gov/expapi/activities/cmi.interaction", "interactionType": "fill-in"});
        statement["context"] =
            json!({"contextActivities": {"parent": {"id": survey, "definition": {"type": survey_type}}}});
    }
    if let Some(response) = response {
        statement["result"] = json!({"response": response});
    }
    statement
}

#[test]
fn two_questions_that_differ_in_their_query_alone_keep_their_answers() {
    let survey = "https://lms.example/questionnaire/view.php?id=1";
    let (first, second) =
        ("https://lms.example/questionnaire/item.php?id=1", "https://lms.example/questionnaire/item.php?id=2");
    let ben = || json!({"mbox": "mailto:ben@academy.example"});
    let answered = |question: &str, response: &str| said(ben(), "answered", question, Some(survey), Some(response));
    let statements = [
        said(ben(), "initialized", survey, None, None),
        answered(first, "blue"),
        answered(second, "41"),
        answered(second, "42"),
        said(ben(), "completed", survey, None, None),
    ];
    for name in [survey, "view.php", "view.php?id=1"] {
        let answers = answers_of(&statements, name);
        assert_eq!((answers.survey.as_str(), answers.started, answers.completed), (survey, 1, 1), "{name}");
        let given: Vec<_> = answers
            .questions
            .iter()
            .map(|of| (of.question.as_str(), of.answers, of.distribution[0].response.as_str()))
            .collect();
        assert_eq!(given, [(first, 1, "blue"), (second, 1, "42")], "{name}");
    }
}

#[test]
fn one_person_without_a_registration_takes_part_once_under_an_address_and_its_sha1() {
    let survey = "urn:uuid:5b0e5a51-0a4c-4f1e-9b43-0b0f0a000001";
    // printf mailto:ada@example.org | sha1sum
    let by_sha1 = || json!({"mbox_sha1sum": "d714b8a95bd857a37405a7b56db9108b60ae42bd"});
    let by_address = || json!({"mbox": "mailto:ada@example.org"});
    let ben = || json!({"account": {"homePage": "https://lms.example", "name": "ben"}});
    let statements = [
        said(by_address(), "initialized", survey, None, None),
        said(by_sha1(), "initialized", survey, None, None),
        said(ben(), "initialized", survey, None, None),
        said(by_sha1(), "completed", survey, None, None),
    ];
    let answers = answers_of(&statements, survey);
    assert_eq!((answers.started, answers.completed, answers.completion_rate), (2, 1, Some(0.5)));
}
