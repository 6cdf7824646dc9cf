//! Every rule on a statement that holds and on one with a single defect, which is reported as that rule alone.

use std::collections::BTreeSet;

use lyceum_xapi::{Limits, RULES, validate};

use crate::editing::{Edit, base, edited, findings};

/// A rule, edits that hold, edits that break it, and where it is broken. The edits replace all that they depend on, so
/// that they do the same to any valid statement.
pub(crate) type Row = (&'static str, &'static [Edit], &'static [Edit], &'static str);

const ACTIVITY: &str = r#"{"id":"a:b"}"#;
const REFERENCE: &str = r#"{"objectType":"StatementRef","id":"16fd2706-8baf-433b-82eb-8c7fada847da"}"#;
const SUB: &str = r#"{"objectType":"SubStatement","actor":{"openid":"a:b"},"verb":{"id":"a:b"},"object":{"id":"a:b"}}"#;
const SIGNATURE: &str = r#"[{"usageType":"http://adlnet.gov/expapi/attachments/signature","display":{"en":"S"},"contentType":"application/octet-stream","length":9,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#;

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    ("value.null", &[("/result", r#"{"extensions":{"a:b":[null]}}"#)], &[("/result", r#"{"success":null}"#)], "/result/success"),
    ("value.null", &[("/attachments", "[]")], &[("/attachments", "[null]")], "/attachments/0"),
    ("value.type", &[("/result", r#"{"success":true}"#)], &[("/result", r#"{"success":"true"}"#)], "/result/success"),
    ("value.type", &[("/result", r#"{"score":{"raw":1e2}}"#)], &[("/result", r#"{"score":{"raw":"100"}}"#)], "/result/score/raw"),
    ("value.type", &[("/result", r#"{"response":""}"#)], &[("/result", r#"{"response":5}"#)], "/result/response"),
    ("value.type", &[("/actor", r#"{"openid":"a:b","name":""}"#)], &[("/actor", r#"{"openid":"a:b","name":{}}"#)], "/actor/name"),
    ("value.type", &[("/verb", r#"{"id":"a:b","display":{}}"#)], &[("/verb", r#"{"id":"a:b","display":"did"}"#)], "/verb/display"),
    ("key.case", &[("/result", r#"{"success":true}"#)], &[("/result", r#"{"Success":true}"#)], "/result/Success"),
    ("key.case", &[("/actor", r#"{"mbox":"mailto:a@b"}"#)], &[("/actor", r#"{"Mbox":"mailto:a@b"}"#)], "/actor/Mbox"),
    ("key.case", &[("/verb", r#"{"id":"a:b"}"#)], &[("/verb", r#"{"ID":"a:b"}"#)], "/verb/ID"),
    ("key.unknown", &[("/result", "{}")], &[("/result", r#"{"sucess":true}"#)], "/result/sucess"),
    ("key.unknown", &[("/result", "{}")], &[("/objectType", "\"Statement\"")], "/objectType"),
    ("key.unknown", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/context", r#"{"contextAgents":[]}"#), ("/timestamp", "")],
        &[("/object", ACTIVITY), ("/version", ""), ("/context", r#"{"contextAgents":[]}"#)], "/context/contextAgents"),

    ("statement.actor.required", &[("/actor", r#"{"openid":"a:b"}"#)], &[("/actor", "")], ""),
    ("statement.verb.required", &[("/verb", r#"{"id":"a:b"}"#)], &[("/verb", "")], ""),
    ("statement.object.required", &[("/object", ACTIVITY)], &[("/object", "")], ""),
    ("statement.id", &[("/id", "\"9DC99B37-E920-4A68-A066-917FACA28949\"")], &[("/id", "\"test-12345\"")], "/id"),
    ("statement.timestamp", &[("/timestamp", "\"2024-02-29T23:59:59.5+01:00\"")], &[("/timestamp", "\"2023-02-29T00:00:00Z\"")], "/timestamp"),
    ("statement.timestamp", &[("/object", ACTIVITY), ("/version", "\"1.0.0\""), ("/context", "{}"), ("/timestamp", "\"2024-01-01T00:00:00+0100\"")],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", "\"2024-01-01T00:00:00+0100\"")], "/timestamp"),
    ("statement.stored", &[("/stored", "\"2099-01-01T00:00:00Z\"")], &[("/stored", "\"2024-01-01\"")], "/stored"),
    ("statement.version", &[("/object", ACTIVITY), ("/version", "\"1.0\""), ("/context", "{}")], &[("/object", ACTIVITY), ("/version", "\"0.9.9\""), ("/context", "{}")], "/version"),

    ("actor.object-type", &[("/actor", r#"{"objectType":"Agent","openid":"a:b"}"#)], &[("/actor", r#"{"objectType":"agent","openid":"a:b"}"#)], "/actor/objectType"),
    ("actor.ifi.exactly-one", &[("/actor", r#"{"openid":"a:b"}"#)], &[("/actor", r#"{"name":"Ada"}"#)], "/actor"),
    ("actor.ifi.exactly-one", &[("/actor", r#"{"mbox":"mailto:a@b"}"#)], &[("/actor", r#"{"mbox":"mailto:a@b","openid":"a:b"}"#)], "/actor"),
    ("actor.member", &[("/actor", r#"{"objectType":"Group","member":[{"openid":"a:b"}]}"#)], &[("/actor", r#"{"member":[{"openid":"a:b"}]}"#)], "/actor/member"),
    ("group.ifi.at-most-one", &[("/actor", r#"{"openid":"a:b","objectType":"Group"}"#)], &[("/actor", r#"{"mbox":"mailto:a@b","openid":"a:b","objectType":"Group"}"#)], "/actor"),
    ("group.member.required", &[("/actor", r#"{"member":[{"openid":"a:b"}],"objectType":"Group"}"#)], &[("/actor", r#"{"member":[],"objectType":"Group"}"#)], "/actor"),
    ("group.member.agent", &[("/actor", r#"{"objectType":"Group","member":[{"objectType":"Agent","openid":"a:b"}]}"#)], &[("/actor", r#"{"objectType":"Group","member":[{"objectType":"Group","openid":"a:b"}]}"#)], "/actor/member/0"),
    ("ifi.mbox", &[("/actor", r#"{"mbox":"MAILTO:a@localhost"}"#)], &[("/actor", r#"{"mbox":"a@example.org"}"#)], "/actor/mbox"),
    ("ifi.mbox-sha1sum", &[("/actor", r#"{"mbox_sha1sum":"CD9B00A5611f94eaa7b1661edab976068e364975"}"#)], &[("/actor", r#"{"mbox_sha1sum":"cd9b"}"#)], "/actor/mbox_sha1sum"),
    ("ifi.openid", &[("/actor", r#"{"openid":"https://ada.example/%C3%A9"}"#)], &[("/actor", r#"{"openid":"ada.example"}"#)], "/actor/openid"),
    ("ifi.openid", &[("/actor", r#"{"openid":"https://ada.example"}"#)], &[("/actor", r#"{"openid":"https://ada.example/é"}"#)], "/actor/openid"),
    ("account.home-page", &[("/actor", r#"{"account":{"homePage":"a:b","name":""}}"#)], &[("/actor", r#"{"account":{"name":"ada"}}"#)], "/actor/account"),
    ("account.home-page", &[("/actor", r#"{"account":{"homePage":"a:b","name":""}}"#)], &[("/actor", r#"{"account":{"name":"ada","homePage":"lms"}}"#)], "/actor/account/homePage"),
    ("account.name", &[("/actor", r#"{"account":{"homePage":"a:b","name":"ada"}}"#)], &[("/actor", r#"{"account":{"homePage":"a:b"}}"#)], "/actor/account"),

    ("verb.id", &[("/verb", r#"{"id":"http://例え.jp/読"}"#)], &[("/verb", r#"{"display":{}}"#)], "/verb"),
    ("verb.id", &[("/verb", r#"{"id":"a:b%20c"}"#)], &[("/verb", r#"{"id":"a:b c"}"#)], "/verb/id"),
    ("language-map.tag", &[("/verb", r#"{"id":"a:b","display":{"sr-Latn-RS":""}}"#)], &[("/verb", r#"{"id":"a:b","display":{"en_US":"did"}}"#)], "/verb/display/en_US"),

    ("object.object-type", &[("/object", r#"{"id":"a:b","objectType":"Activity"}"#)], &[("/object", r#"{"id":"a:b","objectType":"activity"}"#)], "/object/objectType"),
    ("object.object-type.actor", &[("/object", r#"{"openid":"a:b","objectType":"Agent"}"#), ("/context", "{}")], &[("/object", r#"{"openid":"a:b"}"#), ("/context", "{}")], "/object"),
    ("object.object-type.statement", &[("/object", SUB), ("/context", "{}")],
        &[("/object", r#"{"actor":{"openid":"a:b"},"verb":{"id":"a:b"},"object":{"id":"a:b"}}"#), ("/context", "{}")], "/object"),
    ("activity.object-type", &[("/context", r#"{"contextActivities":{"other":{"id":"a:b","objectType":"Activity"}}}"#)],
        &[("/context", r#"{"contextActivities":{"other":[{"id":"a:b","objectType":"Agent"}]}}"#)], "/context/contextActivities/other/0/objectType"),
    ("activity.id", &[("/object", r#"{"id":"course-v1:FUN-MOOC+00002+session01"}"#)], &[("/object", r#"{"definition":{}}"#)], "/object"),
    ("activity.id", &[("/object", r#"{"id":"uuid://7d4f3c70"}"#)], &[("/object", r#"{"id":"quiz 1"}"#)], "/object/id"),
    ("activity.type", &[("/object", r#"{"id":"a:b","definition":{"type":"a:b"}}"#)], &[("/object", r#"{"id":"a:b","definition":{"type":""}}"#)], "/object/definition/type"),
    ("activity.more-info", &[("/object", r#"{"id":"a:b","definition":{"moreInfo":"a:b"}}"#)], &[("/object", r#"{"id":"a:b","definition":{"moreInfo":"see there"}}"#)], "/object/definition/moreInfo"),
    ("activity.interaction-type", &[("/object", r#"{"id":"a:b","definition":{"interactionType":"long-fill-in"}}"#)],
        &[("/object", r#"{"id":"a:b","definition":{"interactionType":"Choice","choices":[]}}"#)], "/object/definition/interactionType"),
    ("activity.interaction-type.required", &[("/object", r#"{"id":"a:b","definition":{"correctResponsesPattern":[],"interactionType":"other"}}"#)],
        &[("/object", r#"{"id":"a:b","definition":{"correctResponsesPattern":[]}}"#)], "/object/definition"),
    ("component.id", &[("/object", r#"{"id":"a:b","definition":{"interactionType":"choice","choices":[{"id":"x"},{"id":"X"}]}}"#)],
        &[("/object", r#"{"id":"a:b","definition":{"interactionType":"choice","choices":[{"id":"x"},{"id":"x"}]}}"#)], "/object/definition/choices/1/id"),
    ("component.id", &[("/object", r#"{"id":"a:b","definition":{"interactionType":"numeric","steps":[{"id":"x","description":{}}]}}"#)],
        &[("/object", r#"{"id":"a:b","definition":{"interactionType":"likert","scale":[{}]}}"#)], "/object/definition/scale/0"),
    ("component.id", &[("/object", ACTIVITY)], &[("/object", r#"{"id":"a:b","definition":{"interactionType":"matching","source":[{"id":""}]}}"#)], "/object/definition/source/0/id"),
    ("statement-ref.id", &[("/object", REFERENCE), ("/context", "{}")], &[("/object", r#"{"id":"a:b","objectType":"StatementRef"}"#), ("/context", "{}")], "/object/id"),
    ("statement-ref.id", &[("/object", REFERENCE), ("/context", "{}")], &[("/object", r#"{"objectType":"StatementRef"}"#), ("/context", "{}")], "/object"),
    ("sub-statement.authority", &[("/object", SUB), ("/context", "{}")], &[("/object", SUB), ("/object/authority", "{}"), ("/context", "{}")], "/object/authority"),
    ("sub-statement.version", &[("/object", SUB), ("/context", "{}")], &[("/object", SUB), ("/object/version", "\"1.0.0\""), ("/context", "{}")], "/object/version"),
    ("sub-statement.stored", &[("/object", SUB), ("/context", "{}")], &[("/object", SUB), ("/object/stored", "\"\""), ("/context", "{}")], "/object/stored"),
    ("sub-statement.id", &[("/object", SUB), ("/context", "{}")], &[("/object", SUB), ("/object/id", "\"16fd2706-8baf-433b-82eb-8c7fada847da\""), ("/context", "{}")], "/object/id"),
    ("sub-statement.nested", &[("/object", SUB), ("/object/object", REFERENCE), ("/context", "{}")], &[("/object", SUB), ("/object/object", SUB), ("/context", "{}")], "/object/object"),
    ("statement.actor.required", &[("/object", SUB), ("/context", "{}")], &[("/object", SUB), ("/object/actor", ""), ("/context", "{}")], "/object"),
    ("context.platform", &[("/object", SUB), ("/object/context/platform", "\"x\""), ("/context", "{}")],
        &[("/object", SUB), ("/object/object", REFERENCE), ("/object/context/platform", "\"x\""), ("/context", "{}")], "/object/context/platform"),
    ("voiding.object", &[("/verb", r#"{"id":"http://adlnet.gov/expapi/verbs/voided"}"#), ("/object", REFERENCE), ("/context", "{}")],
        &[("/verb", r#"{"id":"http://adlnet.gov/expapi/verbs/voided"}"#), ("/object", ACTIVITY)], "/object"),

    ("score.scaled", &[("/result", r#"{"score":{"scaled":-1}}"#)], &[("/result", r#"{"score":{"scaled":1.01}}"#)], "/result/score/scaled"),
    ("score.bounds", &[("/result", r#"{"score":{"min":0,"raw":0,"max":0}}"#)], &[("/result", r#"{"score":{"max":-0.5,"raw":3,"min":0}}"#)], "/result/score"),
    ("score.raw", &[("/result", r#"{"score":{"min":-1,"raw":-1}}"#)], &[("/result", r#"{"score":{"min":0,"raw":-1}}"#)], "/result/score/raw"),
    ("score.raw", &[("/result", r#"{"score":{"raw":0,"max":0}}"#)], &[("/result", r#"{"score":{"raw":1,"max":0}}"#)], "/result/score/raw"),
    ("result.duration", &[("/result", r#"{"duration":"PT16559.14S"}"#)], &[("/result", r#"{"duration":"P4W1D"}"#)], "/result/duration"),

    ("context.registration", &[("/context", r#"{"registration":"16fd2706-8baf-433b-82eb-8c7fada847da"}"#)], &[("/context", r#"{"registration":"16fd27068baf433b82eb8c7fada847da"}"#)], "/context/registration"),
    ("context.team", &[("/context", r#"{"team":{"openid":"a:b","objectType":"Group"}}"#)], &[("/context", r#"{"team":{"openid":"a:b"}}"#)], "/context/team"),
    ("context.revision", &[("/object", ACTIVITY), ("/context", r#"{"revision":"2"}"#)], &[("/object", REFERENCE), ("/context", r#"{"revision":"2"}"#)], "/context/revision"),
    ("context.platform", &[("/object", ACTIVITY), ("/context", r#"{"platform":""}"#)], &[("/object", SUB), ("/context", r#"{"platform":""}"#)], "/context/platform"),
    ("context.language", &[("/context", r#"{"language":"zh-Hant"}"#)], &[("/context", r#"{"language":"en_US"}"#)], "/context/language"),
    ("context.statement", &[("/context", r#"{"statement":{"objectType":"StatementRef","id":"16fd2706-8baf-433b-82eb-8c7fada847da"}}"#)],
        &[("/context", r#"{"statement":{"id":"16fd2706-8baf-433b-82eb-8c7fada847da"}}"#)], "/context/statement"),
    ("context-agent.object-type", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[{"objectType":"contextAgent","agent":{"openid":"a:b"}}]}"#)],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[{"objectType":"ContextAgent","agent":{"openid":"a:b"}}]}"#)], "/context/contextAgents/0/objectType"),
    ("context-agent.agent", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[]}"#)],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[{"objectType":"contextAgent"}]}"#)], "/context/contextAgents/0"),
    ("context-agent.agent", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextGroups":[]}"#)],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[{"objectType":"contextAgent","agent":{"objectType":"Group","openid":"a:b"}}]}"#)], "/context/contextAgents/0/agent"),
    ("context-group.object-type", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextGroups":[{"objectType":"contextGroup","group":{"objectType":"Group","openid":"a:b"}}]}"#)],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextGroups":[{"group":{"objectType":"Group","openid":"a:b"}}]}"#)], "/context/contextGroups/0"),
    ("context-group.group", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextGroups":[]}"#)],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextGroups":[{"objectType":"contextGroup","group":{"openid":"a:b"}}]}"#)], "/context/contextGroups/0/group"),
    ("relevant-types", &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[{"relevantTypes":["a:b"],"objectType":"contextAgent","agent":{"openid":"a:b"}}]}"#)],
        &[("/object", ACTIVITY), ("/version", "\"2.0.0\""), ("/timestamp", ""), ("/context", r#"{"contextAgents":[{"relevantTypes":[],"objectType":"contextAgent","agent":{"openid":"a:b"}}]}"#)], "/context/contextAgents/0/relevantTypes"),

    ("authority.group", &[("/authority", r#"{"objectType":"Group","member":[{"account":{"homePage":"a:b","name":"x"}},{"openid":"a:b"}]}"#)],
        &[("/authority", r#"{"objectType":"Group","member":[{"account":{"homePage":"a:b","name":"x"}}]}"#)], "/authority"),
    ("authority.group", &[("/authority", r#"{"openid":"a:b"}"#)], &[("/authority", r#"{"objectType":"Group","openid":"a:b"}"#)], "/authority"),
    ("authority.consumer", &[("/authority", r#"{"objectType":"Group","member":[{"openid":"a:b"},{"account":{"homePage":"a:b","name":"x"}}]}"#)],
        &[("/authority", r#"{"objectType":"Group","member":[{"openid":"a:b"},{"openid":"a:c"}]}"#)], "/authority"),

    ("attachment.usage-type", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"display":{},"contentType":"a/b","length":0,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#)], "/attachments/0"),
    ("attachment.display", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"usageType":"a:b","contentType":"a/b","length":0,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#)], "/attachments/0"),
    ("attachment.content-type", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"usageType":"a:b","display":{},"contentType":"text","length":0,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#)], "/attachments/0/contentType"),
    ("attachment.length", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"usageType":"a:b","display":{},"contentType":"a/b","length":-1,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#)], "/attachments/0/length"),
    ("attachment.sha2", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"usageType":"a:b","display":{},"contentType":"a/b","length":0,"sha2":"672f"}]"#)], "/attachments/0/sha2"),
    ("attachment.file-url", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"fileUrl":"x","usageType":"a:b","display":{},"contentType":"a/b","length":0,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#)], "/attachments/0/fileUrl"),
    ("attachment.signature", &[("/attachments", SIGNATURE)], &[("/attachments", r#"[{"usageType":"http://adlnet.gov/expapi/attachments/signature","display":{},"contentType":"application/json","length":0,"sha2":"672fa5fa658017f1b72d65036f13379c6ab05d4ab3b6664908d8acf0b6a0c634"}]"#)], "/attachments/0/contentType"),

    ("extension.key", &[("/result", r#"{"extensions":{"a:b":{"":null}}}"#)], &[("/result", r#"{"extensions":{"":1}}"#)], "/result/extensions/"),
];

/// Rules on the text itself: a text that holds and one that does not.
fn texts() -> Vec<(&'static str, Vec<u8>, Vec<u8>, &'static str)> {
    let with = |value: &str| {
        format!(r#"{{"result":{{"extensions":{{"a:b":{value}}}}},{}"#, &base().to_string()[1..]).into_bytes()
    };
    let long = format!("\"{}\"", "x".repeat(300 << 10));
    let big = format!("[{}0]", "\"0123456789012345678901234567890123456789\",".repeat(30_000));
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let at = "/result/extensions/a:b";
    vec![
        ("limit.bytes", with("1"), with(&big), ""),
        ("limit.string", with("\"x\""), with(&long), ""),
        ("limit.depth", with(&deep(61)), with(&deep(62)), ""),
        ("json.utf8", with("\"é\""), with("\"é\"").into_iter().filter(|&byte| byte != 0xC3).collect(), ""),
        ("json.syntax", with("1"), with("01"), ""),
        ("json.syntax", with("[1]"), with("[1,]"), ""),
        ("statement.object", with("1"), b"[]".to_vec(), ""),
        ("key.duplicate", with(r#"{"id":1,"ID":2}"#), with(r#"{"id":1,"\u0069d":2}"#), "/result/extensions/a:b/id"),
        ("key.duplicate", with("1"), with(r#"1,"a:b":2"#), at),
        (
            "score.range",
            with("1e999"),
            String::from_utf8(with("1"))
                .unwrap()
                .replace("\"extensions\"", "\"score\":{\"raw\":-1e999},\"extensions\"")
                .into_bytes(),
            "/result/score/raw",
        ),
    ]
}

#[test]
fn a_statement_that_holds_has_no_violation() {
    for (rule, good, ..) in ROWS {
        assert_eq!(findings(&edited(good)), [], "{rule} {good:?}");
    }
}

#[test]
fn one_defect_is_one_violation_at_its_place() {
    for (rule, _, bad, pointer) in ROWS {
        assert_eq!(findings(&edited(bad)), [(*rule, (*pointer).to_owned())], "{bad:?}");
    }
}

#[test]
fn a_text_is_judged_before_what_it_says() {
    for (rule, good, bad, pointer) in texts() {
        let told = |text: &[u8]| {
            let violations = validate(text, None, &Limits::default()).violations;
            violations.into_iter().map(|violation| (violation.rule, violation.pointer)).collect::<Vec<_>>()
        };
        assert_eq!(told(&good), [], "{rule}");
        assert_eq!(told(&bad), [(rule, pointer.to_owned())]);
    }
}

#[test]
fn every_rule_has_a_statement_that_holds_and_one_that_does_not() {
    let mut tried: BTreeSet<&str> = ROWS.iter().map(|row| row.0).collect();
    tried.extend(texts().iter().map(|text| text.0));
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(rules.len(), RULES.len(), "two rules share an id");
    assert_eq!(tried, rules);
}

#[test]
fn all_defects_of_a_statement_are_told() {
    let text = edited(&[
        ("/actor", r#"{"mbox":"ada","member":[]}"#),
        ("/verb", r#"{"id":"did","display":{"en_US":1}}"#),
        ("/object", r#"{"objectType":"Activity","id":"x","mbox":"mailto:a@b"}"#),
        ("/result", r#"{"score":{"scaled":2,"min":1,"max":0},"duration":"P","success":null}"#),
        ("/timestamp", "\"now\""),
    ]);
    let rules: BTreeSet<&str> = findings(&text).into_iter().map(|finding| finding.0).collect();
    let expected = [
        "ifi.mbox",
        "actor.member",
        "verb.id",
        "language-map.tag",
        "value.type",
        "activity.id",
        "key.unknown",
        "score.scaled",
        "score.bounds",
        "result.duration",
        "value.null",
        "statement.timestamp",
    ];
    assert_eq!(rules, BTreeSet::from(expected));
}
