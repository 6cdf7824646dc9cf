//! Mistakes that validators of statements are known to make, in both directions.

use crate::editing::{edited, findings};

fn rejected(edits: &[(&'static str, &'static str)], rule: &str) {
    let found = findings(&edited(edits));
    assert!(found.len() == 1 && found[0].0 == rule, "{edits:?}: {found:?}");
}

fn accepted(edits: &[(&'static str, &'static str)]) {
    assert_eq!(findings(&edited(edits)), [], "{edits:?}");
}

#[test]
fn a_numeric_string_is_no_score() {
    for key in ["raw", "min", "max", "scaled"] {
        let pointer: &'static str = format!("/result/score/{key}").leak();
        rejected(&[(pointer, "\"1\"")], "value.type");
    }
}

#[test]
fn a_raw_score_below_a_min_of_zero_is_rejected() {
    rejected(&[("/result/score", r#"{"min": 0, "raw": -1}"#)], "score.raw");
    rejected(&[("/result/score", r#"{"max": 0, "raw": 1}"#)], "score.raw");
}

#[test]
fn iso_8601_holds_in_1_0_3_and_rfc_3339_alone_in_2_0() {
    for text in [
        "\"2024-05-01T12:00:00\"",
        "\"2024-05-01T12:00Z\"",
        "\"2024-05-01T12:00:00,5Z\"",
        "\"2024-05-01T24:00:00Z\"",
        "\"20240501T120000Z\"",
        "\"2024-05-01T12:00:00+0200\"",
    ] {
        accepted(&[("/timestamp", text), ("/version", "\"1.0.3\"")]);
        rejected(&[("/timestamp", text), ("/version", "\"2.0.0\"")], "statement.timestamp");
    }
    for version in ["\"1.0.3\"", "\"2.0.0\""] {
        accepted(&[("/timestamp", "\"2024-05-01t12:00:00z\""), ("/version", version)]);
        accepted(&[("/timestamp", "\"9999-12-31T23:59:59-05:00\""), ("/version", version)]);
        accepted(&[("/timestamp", "\"2016-12-31T23:59:60Z\""), ("/version", version)]);
        rejected(&[("/timestamp", "\"2024-05-01\""), ("/version", version)], "statement.timestamp");
        rejected(&[("/timestamp", "\"2024-05-01 12:00:00Z\""), ("/version", version)], "statement.timestamp");
        rejected(&[("/timestamp", "\"2024-02-30T12:00:00Z\""), ("/version", version)], "statement.timestamp");
    }
}

#[test]
fn a_timestamp_in_the_unknown_zone_is_rejected() {
    for text in ["\"2024-05-01T12:00:00-00:00\"", "\"2024-05-01T12:00:00-0000\"", "\"2024-05-01T12:00:00-00\""] {
        rejected(&[("/timestamp", text)], "statement.timestamp");
        rejected(&[("/timestamp", text), ("/version", "\"2.0.0\"")], "statement.timestamp");
    }
}

#[test]
fn an_activity_cannot_be_voided() {
    rejected(&[("/verb/id", "\"http://adlnet.gov/expapi/verbs/voided\"")], "voiding.object");
}

#[test]
fn weeks_do_not_mix_with_days() {
    rejected(&[("/result/duration", "\"P4W1D\"")], "result.duration");
    accepted(&[("/result/duration", "\"P4W\"")]);
}

#[test]
fn an_agent_as_object_without_object_type_is_rejected() {
    rejected(&[("/object", r#"{"mbox": "mailto:bob@example.org"}"#)], "object.object-type.actor");
}

#[test]
fn a_null_deep_in_an_array_is_rejected() {
    rejected(
        &[("/object/definition", r#"{"interactionType": "choice", "correctResponsesPattern": ["a", null]}"#)],
        "value.null",
    );
    rejected(&[("/context/contextActivities/grouping", r#"[{"id": "a:b"}, null]"#)], "value.null");
}

#[test]
fn two_components_of_the_same_id_are_rejected() {
    rejected(
        &[("/object/definition", r#"{"interactionType": "likert", "scale": [{"id": "1"}, {"id": "2"}, {"id": "1"}]}"#)],
        "component.id",
    );
}

#[test]
fn a_group_may_instruct() {
    accepted(&[("/context/instructor", r#"{"objectType": "Group", "mbox": "mailto:staff@example.org"}"#)]);
}

#[test]
fn empty_objects_hold() {
    accepted(&[
        ("/object/definition", r#"{"extensions": {}, "name": {}}"#),
        ("/result", r#"{"extensions": {}, "score": {}}"#),
        ("/context", r#"{"extensions": {}, "contextActivities": {}}"#),
    ]);
    accepted(&[("/result", "{}"), ("/context", "{}"), ("/attachments", "[]")]);
}

#[test]
fn version_1_0_holds() {
    accepted(&[("/version", "\"1.0\"")]);
    for version in ["\"0.9.9\"", "\"1.1.0\"", "\"1\""] {
        rejected(&[("/version", version)], "statement.version");
    }
}

#[test]
fn context_activities_may_be_one_object() {
    accepted(&[(
        "/context/contextActivities",
        r#"{"parent": {"id": "a:b"}, "other": [{"id": "a:c"}], "grouping": []}"#,
    )]);
}

#[test]
fn an_offset_without_a_colon_holds_wherever_the_version_stands() {
    for (version, holds) in [("1.0.3", true), ("2.0.0", false)] {
        let rest = r#""actor":{"openid":"a:b"},"verb":{"id":"a:b"},"object":{"id":"a:b"}"#;
        let (timestamp, version) = (r#""timestamp":"2024-05-01T12:00:00+0200""#, format!("\"version\":\"{version}\""));
        for text in [format!("{{{version},{timestamp},{rest}}}"), format!("{{{timestamp},{rest},{version}}}")] {
            assert_eq!(findings(&text).is_empty(), holds, "{text}");
        }
    }
}

#[test]
fn the_type_of_an_object_may_come_last() {
    let reference = r#"{"id":"16fd2706-8baf-433b-82eb-8c7fada847da","objectType":"StatementRef"}"#;
    let group = r#"{"member":[{"openid":"a:b"}],"objectType":"Group"}"#;
    for object in [reference, group] {
        let text = format!(r#"{{"object":{object},"actor":{{"openid":"a:b"}},"verb":{{"id":"a:b"}}}}"#);
        assert_eq!(findings(&text), []);
    }
}

#[test]
fn a_wrong_letter_case_is_told_with_the_right_one() {
    let text = edited(&[("/object/definition", r#"{"moreinfo": "a:b"}"#)]);
    let verdict = crate::editing::judge(&text);
    assert_eq!(verdict.violations.len(), 1);
    assert!(verdict.violations[0].message.contains("\"moreInfo\""), "{}", verdict.violations[0].message);
}
