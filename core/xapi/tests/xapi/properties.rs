//! What holds for every statement, and for every text.

use lyceum_xapi::utc_time::UtcTime;
use lyceum_xapi::{Limits, Version, equality, validate};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::editing::edit;
use crate::rules::ROWS;

/// An object of those members that are there.
fn object(members: Vec<(&'static str, Option<Value>)>) -> Value {
    Value::Object(members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>())
}

fn iri() -> BoxedStrategy<Value> {
    "(https?://[a-zé]{1,8}\\.example|urn|course-v1|uuid)(:|/)[a-z/?=&#+~.é]{0,12}(%[0-9A-F]{2})?"
        .prop_map(|text| Value::from(if text.contains(':') { text } else { format!("a:{text}") }))
        .boxed()
}

fn text() -> BoxedStrategy<Value> {
    "[a-zA-Z \"\\\\/\\n\u{0}é读😀]{0,12}".prop_map(Value::from).boxed()
}

fn language_map() -> BoxedStrategy<Value> {
    let tag = select(vec!["en", "en-US", "de", "zh-Hant", "es-419", "x-old", "cmn", "de-1996"]);
    btree_map(tag.prop_map(str::to_owned), text(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
        .boxed()
}

fn uuid() -> BoxedStrategy<Value> {
    "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9A-F]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(Value::from).boxed()
}

fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(Value::from),
        text()
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-zA-Z.$é]{0,6}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

fn extensions() -> BoxedStrategy<Value> {
    btree_map("https://x\\.example/[a-z]{1,5}", any_json(), 0..3)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
        .boxed()
}

fn timestamp(lenient: bool) -> BoxedStrategy<Value> {
    let [date, day, of_day] = ["(0[1-9]|1[0-2])", "(0[1-9]|1[0-9]|2[0-8])", "([01][0-9]|2[0-3])"];
    let exact = format!(
        "(19|20)[0-9]{{2}}-{date}-{day}[Tt]{of_day}:[0-5][0-9]:[0-5][0-9](\\.[0-9]{{1,9}})?([Zz]|[+-](0[1-9]|1[0-9]):[0-5][0-9])"
    );
    let offset = "([Zz]|[+-](0[1-9]|1[0-9])(:?[0-5][0-9])?)?";
    let seconds = "[0-5][0-9]([.,][0-9]{1,9})?";
    let pattern = if lenient {
        format!(
            "((19|20)[0-9]{{2}}-{date}-{day}[Tt]({of_day}:[0-5][0-9](:{seconds})?|24:00(:00)?)|(19|20)[0-9]{{2}}{date}{day}[Tt]{of_day}[0-5][0-9]({seconds})?){offset}"
        )
    } else {
        exact
    };
    proptest::string::string_regex(&pattern).expect("a pattern").prop_map(Value::from).boxed()
}

fn identifier() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        "mailto:[a-zA-Z.+]{1,8}@[a-zA-Z]{1,8}(\\.example)?".prop_map(|mbox| ("mbox", mbox.into())),
        "[0-9a-fA-F]{40}".prop_map(|sha1| ("mbox_sha1sum", sha1.into())),
        "https://[a-z]{1,8}\\.example/".prop_map(|openid| ("openid", openid.into())),
        (iri(), text()).prop_map(|(page, name)| ("account", json!({"homePage": page, "name": name}))),
    ]
}

fn agent(stated: bool) -> BoxedStrategy<Value> {
    (identifier(), option::of(text()), any::<bool>())
        .prop_map(move |((key, identifier), name, states)| {
            let object_type = (stated || states).then(|| "Agent".into());
            object(vec![(key, Some(identifier)), ("name", name), ("objectType", object_type)])
        })
        .boxed()
}

fn group() -> BoxedStrategy<Value> {
    (option::of(identifier()), vec(agent(false), 1..4), option::of(text()))
        .prop_map(|(identifier, members, name)| {
            let mut group =
                object(vec![("objectType", Some("Group".into())), ("member", Some(members.into())), ("name", name)]);
            if let Some((key, identifier)) = identifier {
                group[key] = identifier;
            }
            group
        })
        .boxed()
}

fn actor(stated: bool) -> BoxedStrategy<Value> {
    prop_oneof![3 => agent(stated), 1 => group()].boxed()
}

fn components() -> BoxedStrategy<Value> {
    btree_map("[a-zA-Z0-9]{1,3}", option::of(language_map()), 0..4)
        .prop_map(|components| {
            let components = components.into_iter();
            components
                .map(|(id, description)| object(vec![("id", Some(id.into())), ("description", description)]))
                .collect()
        })
        .boxed()
}

fn activity() -> BoxedStrategy<Value> {
    let interaction = (
        select(vec!["true-false", "choice", "long-fill-in", "matching", "likert", "numeric", "other"]),
        vec("[a-z\\[\\],.]{0,8}", 0..3),
        select(vec!["choices", "scale", "source", "target", "steps"]),
        components(),
    );
    let definition = (
        option::of(language_map()),
        option::of(language_map()),
        option::of(iri()),
        option::of(iri()),
        option::of(extensions()),
        option::of(interaction),
    )
        .prop_map(|(name, description, kind, more_info, extensions, interaction)| {
            let mut definition = object(vec![
                ("name", name),
                ("description", description),
                ("type", kind),
                ("moreInfo", more_info),
                ("extensions", extensions),
            ]);
            if let Some((kind, pattern, list, components)) = interaction {
                definition["interactionType"] = kind.into();
                definition["correctResponsesPattern"] = pattern.into();
                definition[list] = components;
            }
            definition
        });
    (iri(), option::of(definition), any::<bool>())
        .prop_map(|(id, definition, states)| {
            let object_type = states.then(|| "Activity".into());
            object(vec![("id", Some(id)), ("definition", definition), ("objectType", object_type)])
        })
        .boxed()
}

fn reference() -> BoxedStrategy<Value> {
    uuid().prop_map(|id| json!({"id": id, "objectType": "StatementRef"})).boxed()
}

fn result() -> BoxedStrategy<Value> {
    let score =
        (-50i32..50, 0i32..50, 0i32..50, option::of(-1.0..=1.0f64)).prop_map(|(min, above, further, scaled)| {
            let (raw, max) = (f64::from(min + above) / 4.0, f64::from(min + above + further) / 4.0);
            json!({"min": f64::from(min) / 4.0, "raw": raw, "max": max, "scaled": scaled.unwrap_or(1.0)})
        });
    let duration = "P([1-9]W|[0-9]{1,3}Y([0-9]M)?(T[0-9]H)?|T([0-9]{1,5}M)?[0-9]{1,3}(\\.[0-9]{1,5})?S)";
    (
        option::of(score),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        option::of(text()),
        option::of(duration.prop_map(Value::from)),
        option::of(extensions()),
    )
        .prop_map(|(score, success, completion, response, duration, extensions)| {
            object(vec![
                ("score", score),
                ("success", success.map(Value::from)),
                ("completion", completion.map(Value::from)),
                ("response", response),
                ("duration", duration),
                ("extensions", extensions),
            ])
        })
        .boxed()
}

fn context(of_activity: bool, version: Version) -> BoxedStrategy<Value> {
    let one_or_many = prop_oneof![activity(), vec(activity(), 0..3).prop_map(Value::from)];
    let key = select(vec!["parent", "grouping", "category", "other"]);
    let activities = btree_map(key.prop_map(str::to_owned), one_or_many, 0..3);
    let relevant = vec(iri(), 1..3);
    (
        option::of(uuid()),
        option::of(actor(false)),
        option::of(group()),
        option::of(activities.prop_map(|map| Value::Object(map.into_iter().collect()))),
        option::of(text()),
        option::of(select(vec!["en", "fr-CA", "x-old"]).prop_map(Value::from)),
        option::of(reference()),
        option::of(extensions()),
        option::of((agent(false), group(), relevant)),
    )
        .prop_map(
            move |(registration, instructor, team, activities, platform, language, statement, extensions, both)| {
                let both = both.filter(|_| version == Version::V2_0);
                let (agents, groups) = both.map_or((None, None), |(agent, group, types)| {
                    let agents = json!([{"objectType": "contextAgent", "agent": agent, "relevantTypes": types}]);
                    (Some(agents), Some(json!([{"objectType": "contextGroup", "group": group}])))
                });
                object(vec![
                    ("registration", registration),
                    ("instructor", instructor),
                    ("team", team),
                    ("contextActivities", activities),
                    ("platform", platform.clone().filter(|_| of_activity)),
                    ("revision", platform.filter(|_| of_activity)),
                    ("language", language),
                    ("statement", statement),
                    ("extensions", extensions),
                    ("contextAgents", agents),
                    ("contextGroups", groups),
                ])
            },
        )
        .boxed()
}

fn attachments() -> BoxedStrategy<Value> {
    let attachment =
        (iri(), language_map(), option::of(language_map()), any::<u32>(), "[0-9a-fA-F]{64}", option::of(iri()));
    let attachment = attachment.prop_map(|(usage, display, description, length, sha2, url)| {
        object(vec![
            ("usageType", Some(usage)),
            ("display", Some(display)),
            ("description", description),
            ("contentType", Some("text/plain; charset=utf-8".into())),
            ("length", Some(length.into())),
            ("sha2", Some(sha2.into())),
            ("fileUrl", url),
        ])
    });
    vec(attachment, 0..3).prop_map(Value::from).boxed()
}

/// Actor, verb, object and what may come with them; the object of a SubStatement is none.
fn body(nested: bool, version: Version) -> BoxedStrategy<Value> {
    let simple = prop_oneof![
        4 => activity().prop_map(|activity| (activity, true)),
        1 => actor(true).prop_map(|actor| (actor, false)),
        1 => reference().prop_map(|reference| (reference, false)),
    ];
    let object_of = if nested {
        simple.boxed()
    } else {
        let sub = body(true, version).prop_map(|mut sub| {
            sub["objectType"] = "SubStatement".into();
            (sub, false)
        });
        prop_oneof![5 => simple, 1 => sub].boxed()
    };
    let verb = (iri(), option::of(language_map()));
    (object_of, actor(false), verb, option::of(result()), option::of(attachments()))
        .prop_flat_map(move |((target, of_activity), actor, (verb, display), result, attachments)| {
            let rest = (option::of(context(of_activity, version)), option::of(timestamp(version == Version::V1_0_3)));
            rest.prop_map(move |(context, timestamp)| {
                object(vec![
                    ("actor", Some(actor.clone())),
                    ("verb", Some(object(vec![("id", Some(verb.clone())), ("display", display.clone())]))),
                    ("object", Some(target.clone())),
                    ("result", result.clone()),
                    ("context", context),
                    ("timestamp", timestamp),
                    ("attachments", attachments.clone()),
                ])
            })
        })
        .boxed()
}

fn statement() -> BoxedStrategy<Value> {
    select(vec![Version::V1_0_3, Version::V2_0])
        .prop_flat_map(|version| {
            let authority = prop_oneof![
                agent(false),
                (agent(false), iri()).prop_map(|(agent, page)| {
                    let consumer = json!({"account": {"homePage": page, "name": "app"}});
                    json!({"objectType": "Group", "member": [consumer, agent]})
                }),
            ];
            (body(false, version), option::of(uuid()), option::of(authority), option::of(timestamp(false))).prop_map(
                move |(mut statement, id, authority, stored)| {
                    for (key, value) in [("id", id), ("authority", authority), ("stored", stored)] {
                        if let Some(value) = value {
                            statement[key] = value;
                        }
                    }
                    if version == Version::V2_0 {
                        statement["version"] = "2.0.0".into();
                    }
                    statement
                },
            )
        })
        .boxed()
}

/// The same JSON, written otherwise: keys in another order, white space, escapes, zeros; `noise` decides which.
fn rewrite(value: &Value, noise: &mut u64, out: &mut String) {
    fn roll(noise: &mut u64) -> u64 {
        *noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *noise >> 33
    }
    fn write_text(text: &str, noise: &mut u64, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' | '\0'..='\x1F' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
                '/' if roll(noise).is_multiple_of(3) => out.push_str("\\/"),
                _ if roll(noise).is_multiple_of(6) => {
                    let mut units = [0; 2];
                    character.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
                }
                _ => out.push(character),
            }
        }
        out.push('"');
    }
    out.push_str(["", " ", "\n\t", ""][(roll(noise) % 4) as usize]);
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|member| (roll(noise), member)).collect();
            members.sort_by_key(|(place, _)| *place);
            out.push('{');
            for (n, (_, (key, value))) in members.into_iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                write_text(key, noise, out);
                out.push(':');
                rewrite(value, noise, out);
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (n, element) in elements.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                rewrite(element, noise, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, noise, out),
        Value::Number(number) if number.is_i64() && roll(noise).is_multiple_of(2) => {
            out.push_str(&format!("{number}.0"))
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(["", "\r\n", " ", ""][(roll(noise) % 4) as usize]);
}

fn rewritten(value: &Value, mut noise: u64) -> String {
    let mut text = String::new();
    rewrite(value, &mut noise, &mut text);
    text
}

fn judge(text: &str) -> Vec<(&'static str, String)> {
    let verdict = validate(text.as_bytes(), None, &Limits::default());
    assert_eq!(verdict.statement.is_some(), verdict.violations.is_empty());
    verdict.violations.into_iter().map(|violation| (violation.rule, violation.pointer)).collect()
}

/// Whether serde_json takes it for JSON, numbers beyond a double included; `None` where its own limits decide.
fn is_json(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(error) if error.to_string().contains("recursion limit") => None,
        Err(_) => Some(false),
    }
}

fn agrees_with_serde_json(bytes: &[u8]) {
    let verdict = validate(bytes, None, &Limits::default());
    if verdict.violations.iter().any(|violation| violation.rule.starts_with("limit.")) {
        return;
    }
    if let Some(is_json) = is_json(bytes) {
        let found = verdict.violations.iter().any(|violation| matches!(violation.rule, "json.syntax" | "json.utf8"));
        assert_eq!(found, !is_json, "{:?}", String::from_utf8_lossy(bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_statement_is_valid_however_it_is_written(statement in statement(), noise: u64) {
        let (plain, text) = (statement.to_string(), rewritten(&statement, noise));
        prop_assert_eq!(judge(&plain), []);
        prop_assert_eq!(judge(&text), [], "{}", text);
        prop_assert!(equality::same(plain.as_bytes(), text.as_bytes()), "{}\n{}", plain, text);
        prop_assert_eq!(equality::content_hash(plain.as_bytes(), b""), equality::content_hash(text.as_bytes(), b""));
    }

    #[test]
    fn a_defect_breaks_its_rule_and_no_other(statement in statement(), row in select(ROWS), noise: u64) {
        let (rule, good, bad, pointer) = row;
        let (mut held, mut broken) = (statement.clone(), statement);
        edit(&mut held, good);
        edit(&mut broken, bad);
        prop_assert_eq!(judge(&rewritten(&held, noise)), []);
        prop_assert_eq!(judge(&rewritten(&broken, noise)), [(rule, pointer.to_owned())]);
    }

    #[test]
    fn two_statements_are_the_same_if_their_hashes_are(a in statement(), b in statement()) {
        let (a, b) = (a.to_string(), b.to_string());
        let [of_a, of_b] = [&a, &b].map(|text| equality::content_hash(text.as_bytes(), b""));
        prop_assert_eq!(equality::same(a.as_bytes(), b.as_bytes()), equality::same_content(&of_a, &of_b));
    }

    #[test]
    fn another_verb_is_another_statement(statement in statement()) {
        let mut other = statement.clone();
        other["verb"]["id"] = "https://verbs.example/other".into();
        prop_assert!(!equality::same(statement.to_string().as_bytes(), other.to_string().as_bytes()));
    }

    #[test]
    fn what_an_lrs_assigns_does_not_count(statement in statement()) {
        let mut assigned = statement.clone();
        edit(&mut assigned, &[
            ("/id", "\"16fd2706-8baf-433b-82eb-8c7fada847da\""),
            ("/stored", "\"2024-01-01T00:00:00Z\""),
            ("/authority", r#"{"openid":"a:b"}"#),
            ("/version", "\"1.0.0\""),
            ("/verb/display", r#"{"en":"seen"}"#),
        ]);
        prop_assert!(equality::same(statement.to_string().as_bytes(), assigned.to_string().as_bytes()));
    }

    #[test]
    fn a_timestamp_that_was_added_does_not_count_and_another_one_does(statement in statement(), noise: u64) {
        let with = |timestamp| {
            let mut changed = statement.clone();
            edit(&mut changed, &[("/timestamp", timestamp)]);
            rewritten(&changed, noise).into_bytes()
        };
        let [none, one, other] = ["", "\"2024-01-01T00:00:00Z\"", "\"2024-01-01T00:00:00.001Z\""].map(with);
        let hash = |text: &[u8]| equality::content_hash(text, b"besides");
        for (a, b, expected) in [(&none, &one, true), (&one, &none, true), (&none, &other, true), (&one, &other, false)] {
            prop_assert_eq!(equality::same(a, b), expected);
            prop_assert_eq!(equality::same_content(&hash(a), &hash(b)), expected);
            prop_assert!(equality::same_content(&hash(a), &hash(a)));
        }
    }

    #[test]
    fn every_way_of_writing_an_instant_is_the_same_statement(
        second in 0_i64..253_402_300_799, lower: bool, basic: bool, colon: bool, offset in -1439_i64..1440
    ) {
        let of = |timestamp: &str| format!(r#"{{"actor":{{"openid":"a:b"}},"verb":{{"id":"a:b"}},"object":{{"id":"a:b"}},"timestamp":"{timestamp}"}}"#);
        let plain = of(&UtcTime::from_millis(second * 1000).to_string());
        let local = second + offset * 60;
        prop_assume!((0..253_402_300_800).contains(&local) && offset != 0);
        let mut written = UtcTime::from_millis(local * 1000).to_string();
        if basic {
            written = written.replace(['-', ':'], "");
        }
        if lower {
            written.make_ascii_lowercase();
        }
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
        let zone = if colon { format!("{sign}{hours:02}:{minutes:02}") } else { format!("{sign}{hours:02}{minutes:02}") };
        written.replace_range(written.len() - 1.., &zone);
        let other = of(&written);
        prop_assert_eq!(judge(&other), [], "{}", other);
        prop_assert!(equality::same(plain.as_bytes(), other.as_bytes()), "{} {}", plain, other);
        let verdict = validate(other.as_bytes(), None, &Limits::default());
        prop_assert_eq!(verdict.statement.and_then(|statement| statement.timestamp_ms), Some(second * 1000));
    }

    #[test]
    fn a_statement_with_a_byte_changed_is_json_to_us_as_to_serde_json(
        statement in statement(), noise: u64, place: prop::sample::Index, byte: u8, cut: bool
    ) {
        let mut bytes = rewritten(&statement, noise).into_bytes();
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] = byte;
        }
        agrees_with_serde_json(&bytes);
        equality::content_hash(&bytes, b"");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_judged(bytes: Vec<u8>) {
        agrees_with_serde_json(&bytes);
    }

    #[test]
    fn any_text_of_the_alphabet_of_json_is_judged(text in "([\\[\\]{}:,\"0-9eE+.\\-tfn \\\\ué]|true|false|null|\"a\"|\\\\ud83d|\\\\ude00){0,24}") {
        agrees_with_serde_json(text.as_bytes());
    }

    #[test]
    fn any_number_is_judged(text in "-?[0-9]{1,3}(\\.?[0-9]{0,2})([eE][+-]?[0-9]{0,4})?") {
        agrees_with_serde_json(text.as_bytes());
    }

    #[test]
    fn any_json_is_judged(value in any_json()) {
        agrees_with_serde_json(value.to_string().as_bytes());
    }
}
