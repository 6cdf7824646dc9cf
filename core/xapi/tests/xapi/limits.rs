//! The validator takes any bytes and stays in its bounds.

use lyceum_xapi::{Limits, Version, validate};

use crate::editing::{base, findings, judge};

fn only_rule(bytes: &[u8], limits: &Limits) -> &'static str {
    let verdict = validate(bytes, None, limits);
    assert_eq!((verdict.violations.len(), verdict.further, verdict.statement), (1, 0, None));
    verdict.violations[0].rule
}

#[test]
fn a_hundred_megabytes_are_refused_unread() {
    assert_eq!(only_rule(&vec![0xFF; 100 << 20], &Limits::default()), "limit.bytes");
}

#[test]
fn ten_thousand_levels_end_at_the_limit_of_depth() {
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    for opening in ["[", "{\"a\":", "{\"object\":", "{\"context\":{\"extensions\":{\"a:b\":"] {
        let text = opening.repeat(10_000);
        assert_eq!(only_rule(text.as_bytes(), &Limits::default()), "limit.depth", "{opening}");
        assert_eq!(only_rule(text.as_bytes(), &limits), "limit.depth", "{opening}");
    }
}

#[test]
fn the_last_level_within_the_limit_is_read() {
    let nested = |levels: usize| {
        let mut statement = base();
        let value = serde_json::from_str::<serde_json::Value>(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        statement["context"]["extensions"]["a:b"] = value.unwrap();
        statement.to_string()
    };
    assert!(judge(&nested(61)).is_valid());
    assert_eq!(findings(&nested(62)), [("limit.depth", String::new())]);
}

#[test]
fn a_string_beyond_the_limit_ends_the_reading() {
    let limits = Limits { string_bytes: 40, ..Limits::default() };
    let text = base().to_string();
    assert!(validate(text.as_bytes(), None, &limits).is_valid());
    let limits = Limits { string_bytes: 39, ..limits };
    assert_eq!(only_rule(text.as_bytes(), &limits), "limit.string");
}

#[test]
fn violations_beyond_the_limit_are_counted() {
    let mut statement = base();
    for n in 0..250 {
        statement[format!("key-{n}")] = n.into();
    }
    let text = statement.to_string();
    let verdict = judge(&text);
    assert_eq!((verdict.violations.len(), verdict.further, verdict.statement), (100, 150, None));
    let limits = Limits { violations: 0, ..Limits::default() };
    let verdict = validate(text.as_bytes(), None, &limits);
    assert_eq!((verdict.violations.len(), verdict.further, verdict.is_valid()), (0, 250, false));
}

#[test]
fn a_hundred_thousand_keys_are_told_apart() {
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"a:{n}\":0")).collect();
    let with = |more: &str| {
        let extensions = format!("{{\"extensions\":{{{}{more}}}}}", keys.join(","));
        format!("{},\"result\":{extensions}}}", base().to_string().strip_suffix('}').unwrap())
    };
    let limits = Limits { bytes: 8 << 20, ..Limits::default() };
    let text = with("");
    let verdict = validate(text.as_bytes(), None, &limits);
    assert_eq!(verdict.statement.map(|statement| statement.result.extensions.len()), Some(100_000));
    assert_eq!(only_rule(with(",\"a:99999\":1").as_bytes(), &limits), "key.duplicate");
    assert_eq!(only_rule(with(",\"\\u0061:5\":1").as_bytes(), &limits), "key.duplicate");
}

#[test]
fn a_syntax_error_is_the_only_violation_and_names_its_byte() {
    let text = r#"{"actor":null,"verb":null,"#;
    let verdict = judge(text);
    assert_eq!(verdict.violations.len(), 1);
    assert_eq!(verdict.violations[0].rule, "json.syntax");
    assert!(verdict.violations[0].message.contains("byte 26"), "{}", verdict.violations[0].message);
}

#[test]
fn the_version_is_that_asked_for_else_that_stated_else_1_0_3() {
    let text = |version: &str| {
        let mut statement = base();
        statement["version"] = version.into();
        statement.to_string()
    };
    let judged = |text: &str, mode| validate(text.as_bytes(), mode, &Limits::default()).version;
    assert_eq!(judged(&base().to_string(), None), Version::V1_0_3);
    assert_eq!(judged(&text("1.0.9"), None), Version::V1_0_3);
    assert_eq!(judged(&text("2.0.0"), None), Version::V2_0);
    assert_eq!(judged(&text("1.0.0"), Some(Version::V2_0)), Version::V2_0);
    assert_eq!(judged(&text("2.0.0"), Some(Version::V1_0_3)), Version::V1_0_3);
    assert!(!validate(text("2.0.0").as_bytes(), Some(Version::V1_0_3), &Limits::default()).is_valid());
}
