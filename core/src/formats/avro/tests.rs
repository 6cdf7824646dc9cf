//! Bytes that one schema wrote, read by another; and events as a family's function opens them.

use std::fmt;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde::Deserializer;
use serde::de::{self, DeserializeOwned, Visitor};
use serde_json::{Value, json};

use super::*;
use crate::catalog::{ANALYTICS_DEAD_LETTERS, Catalog, EventType, FamilySpec, TopicOf};
use crate::envelope::EnvelopeConfig;
use crate::record::{Header, Position};

/// Avro's long: zigzag, seven bits a byte.
fn long(number: i64) -> Vec<u8> {
    let mut raw = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while raw > 0x7f {
        bytes.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    bytes.push(raw as u8);
    bytes
}

fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    [long(text.as_ref().len() as i64), text.as_ref().to_vec()].concat()
}

/// A schema of one field `x` of that type.
fn of_x(x: &str) -> String {
    format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "x", "type": {x}}}]}}"#)
}

fn record(fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#)
}

/// A record of one field, whatever it is.
#[derive(Debug, Deserialize, PartialEq)]
struct One<T> {
    x: T,
}

/// What is read, or all that is wrong: `rule pointer: message`.
fn read<T: DeserializeOwned>(writer: &str, reader: &str, bytes: &[u8]) -> Result<T, Vec<String>> {
    let (writer, reader) = (Schema::parse(writer).unwrap(), Schema::parse(reader).unwrap());
    read_value(&writer, &reader, bytes).map_err(|wrong| {
        assert!(!wrong.is_empty(), "what is not read says why");
        wrong.iter().map(|of| format!("{} {}: {}", of.rule, of.pointer, of.message)).collect()
    })
}

fn read_x<T: DeserializeOwned>(writer: &str, reader: &str, bytes: &[u8]) -> Result<T, Vec<String>> {
    read::<One<T>>(&of_x(writer), &of_x(reader), bytes).map(|of| of.x)
}

fn says<T: std::fmt::Debug>(read: Result<T, Vec<String>>, wanted: &[&str]) {
    let wrong = read.expect_err("it cannot be read");
    let is_said = wrong.len() == wanted.len() && wrong.iter().zip(wanted).all(|(wrong, wanted)| wrong.contains(wanted));
    assert!(is_said, "{wrong:#?}\nwanted {wanted:#?}");
}

#[test]
fn numbers_are_read_as_wider_ones_and_not_as_narrower_ones() {
    let (int, double) = (long(-7), 1.5_f64.to_le_bytes());
    assert_eq!(read_x::<i64>(r#""int""#, r#""int""#, &int), Ok(-7));
    assert_eq!(read_x::<i64>(r#""int""#, r#""long""#, &int), Ok(-7));
    assert_eq!(read_x::<i64>(r#""long""#, r#""long""#, &long(i64::MIN)), Ok(i64::MIN));
    assert_eq!(read_x::<i64>(r#""long""#, r#""long""#, &long(i64::MAX)), Ok(i64::MAX));
    for wider in [r#""float""#, r#""double""#] {
        assert_eq!(read_x::<f64>(r#""int""#, wider, &int), Ok(-7.0));
        assert_eq!(read_x::<f64>(r#""long""#, wider, &int), Ok(-7.0));
        assert_eq!(read_x::<f64>(r#""float""#, wider, &1.5_f32.to_le_bytes()), Ok(1.5));
    }
    assert_eq!(read_x::<f64>(r#""double""#, r#""double""#, &double), Ok(1.5));
    says(read_x::<i64>(r#""long""#, r#""int""#, &int), &["/x: expected int, and its writer's schema has long"]);
    says(read_x::<f64>(r#""double""#, r#""float""#, &double), &["/x: expected float"]);
    says(read_x::<i64>(r#""string""#, r#""long""#, &text("7")), &["/x: expected long"]);
    says(read_x::<i64>(r#""int""#, r#""int""#, &long(1 << 31)), &["field.type /x: expected an int, found 2147483648"]);
    says(read_x::<i64>(r#""int""#, r#""long""#, &long(1 << 31)), &["expected an int"]);
}

#[test]
fn a_number_of_more_than_64_bits_is_none() {
    assert_eq!(read_x::<i64>(r#""long""#, r#""long""#, &[[0xff; 9].as_slice(), &[1]].concat()), Ok(i64::MIN));
    for odd in [[[0xff; 9].as_slice(), &[2]].concat(), [0x80; 11].to_vec()] {
        says(read_x::<i64>(r#""long""#, r#""long""#, &odd), &["more than 64 bits"]);
    }
}

#[test]
fn texts_are_read_as_bytes_and_bytes_as_texts() {
    #[derive(Debug, PartialEq)]
    struct Raw(Vec<u8>);
    impl<'de> Deserialize<'de> for Raw {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Any;
            impl Visitor<'_> for Any {
                type Value = Raw;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                    Ok(Raw(bytes.to_vec()))
                }
            }
            deserializer.deserialize_bytes(Any)
        }
    }
    let word = text("wört");
    for (writer, reader) in [("string", "string"), ("bytes", "string")] {
        let read = read_x::<String>(&format!("{writer:?}"), &format!("{reader:?}"), &word);
        assert_eq!(read.as_deref(), Ok("wört"));
    }
    for (writer, reader) in [("string", "bytes"), ("bytes", "bytes")] {
        let read = read_x::<Raw>(&format!("{writer:?}"), &format!("{reader:?}"), &word);
        assert_eq!(read, Ok(Raw("wört".as_bytes().to_vec())));
    }
    let fixed = r#"{"type": "fixed", "name": "F", "size": 3}"#;
    assert_eq!(read_x::<Raw>(fixed, fixed, b"abc"), Ok(Raw(b"abc".to_vec())));
    says(read_x::<Raw>(fixed, &fixed.replace('3', "4"), b"abc"), &["/x: expected fixed F of 4 bytes"]);
    says(read_x::<String>(r#""bytes""#, r#""string""#, &text([b'a', 0xff])), &["field.type /x: expected a string"]);
}

#[test]
fn a_symbol_that_the_reader_does_not_know_is_its_default_and_without_one_it_is_told() {
    let colours = |symbols: &str, default: &str| {
        format!(r#"{{"type": "enum", "name": "Colour", "symbols": [{symbols}]{default}}}"#)
    };
    let newer = colours(r#""red", "green", "blue""#, "");
    let read_as = |reader: &str, symbol: i64| read_x::<u32>(&newer, reader, &long(symbol));
    let with_default = colours(r#""blue", "other""#, r#", "default": "other""#);
    assert_eq!([0, 2].map(|symbol| read_as(&with_default, symbol)), [Ok(1), Ok(0)]);
    let without = colours(r#""blue""#, "");
    assert_eq!(read_as(&without, 2), Ok(0));
    says(read_as(&without, 0), &["field.type /x: the symbol \"red\" is not known"]);
    says(read_as(&newer, 3), &["field.type /x: expected an enum of 3 symbols, found 3"]);
    says(read_as(&newer, -1), &["found -1"]);
    says(read_as(&newer.replace("Colour", "Shade"), 0), &["/x: expected enum Shade"]);
}

#[test]
fn a_union_may_become_wider_and_of_a_narrower_one_each_value_is_judged_by_itself() {
    let (plain, nullable, wide) = (r#""int""#, r#"["null", "int"]"#, r#"["null", "string", "long"]"#);
    let some = |branch: i64, of: Vec<u8>| [long(branch), of].concat();
    assert_eq!(read_x::<Option<i64>>(plain, nullable, &long(5)), Ok(Some(5)));
    assert_eq!(read_x::<Option<i64>>(plain, wide, &long(5)), Ok(Some(5)), "the first branch that takes it");
    assert_eq!(read_x::<Option<i64>>(nullable, wide, &some(1, long(5))), Ok(Some(5)));
    assert_eq!(read_x::<Option<i64>>(nullable, nullable, &long(0)), Ok(None));
    // Narrower: what fits is read, what does not is told.
    assert_eq!(read_x::<i64>(nullable, plain, &some(1, long(5))), Ok(5));
    says(
        read_x::<i64>(nullable, plain, &long(0)),
        &["schema.mismatch /x: /x expected int, and its writer's schema has null"],
    );
    assert_eq!(read_x::<Option<i64>>(wide, r#"["null", "long"]"#, &some(2, long(5))), Ok(Some(5)));
    says(read_x::<Option<i64>>(wide, r#"["null", "long"]"#, &some(1, text("a"))), &["schema.mismatch /x"]);
    says(read_x::<Option<i64>>(wide, r#""boolean""#, &long(0)), &["expected boolean"; 3]);
    says(
        read_x::<Option<i64>>(nullable, nullable, &long(2)),
        &["record.malformed /x: expected the branch of a union, 0 to 1, found 2"],
    );
    says(read_x::<Option<i64>>(nullable, nullable, &long(-1)), &["found -1"]);
}

#[test]
fn a_field_that_the_writer_lacks_has_its_default_and_all_that_have_none_are_told() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Wide {
        a: i64,
        b: String,
        c: Option<i64>,
        d: Vec<i64>,
    }
    let older = record(r#"{"name": "a", "type": "int"}"#);
    let newer = |default: bool| {
        let or = |text: &'static str| if default { text } else { "" };
        record(&format!(
            r#"{{"name": "a", "type": "long"}}, {{"name": "b", "type": "string"{}}},
            {{"name": "c", "type": ["null", "long"]{}}}, {{"name": "d", "type": {{"type": "array", "items": "int"}}{}}}"#,
            or(r#", "default": "none""#),
            or(r#", "default": null"#),
            or(r#", "default": [1, 2]"#)
        ))
    };
    let wanted = Wide { a: 7, b: "none".to_owned(), c: None, d: vec![1, 2] };
    assert_eq!(read::<Wide>(&older, &newer(true), &long(7)), Ok(wanted));
    says(
        read::<Wide>(&older, &newer(false), &long(7)),
        &[
            "/b: expected string, and its writer's schema has no such field",
            "/c: expected null or long",
            "/d: expected array of int",
        ],
    );
}

#[test]
fn fields_that_the_reader_lacks_are_passed_over_whatever_they_are_and_their_order_is_the_writers() {
    let kinds = [
        (r#""null""#, vec![]),
        (r#""boolean""#, vec![1]),
        (r#""int""#, long(5)),
        (r#""long""#, long(1 << 40)),
        (r#""float""#, vec![0; 4]),
        (r#""double""#, vec![0; 8]),
        (r#""bytes""#, text([0xff])),
        (r#""string""#, text("x")),
        (r#"{"type": "fixed", "name": "F", "size": 2}"#, vec![9, 9]),
        (r#"{"type": "enum", "name": "E", "symbols": ["a"]}"#, long(0)),
        (
            r#"{"type": "array", "items": "string"}"#,
            [long(2), text("a"), text("b"), long(-1), long(2), text("c"), long(0)].concat(),
        ),
        (r#"{"type": "map", "values": "int"}"#, [long(1), text("k"), long(1), long(0)].concat()),
        (r#"["null", "string"]"#, [long(1), text("x")].concat()),
        (r#"{"type": "record", "name": "In", "fields": [{"name": "y", "type": "string"}]}"#, text("x")),
        (
            r#"{"type": "record", "name": "Nest", "fields": [{"name": "in", "type": ["null", "Nest"]}]}"#,
            [long(1), long(1), long(0)].concat(),
        ),
    ];
    for (kind, bytes) in kinds {
        let writer = record(&format!(r#"{{"name": "gone", "type": {kind}}}, {{"name": "x", "type": "string"}}"#));
        let whole = [bytes, text("kept")].concat();
        assert_eq!(
            read::<One<String>>(&writer, &of_x(r#""string""#), &whole),
            Ok(One { x: "kept".to_owned() }),
            "{kind}"
        );
        for cut in 0..whole.len() {
            assert!(read::<One<String>>(&writer, &of_x(r#""string""#), &whole[..cut]).is_err(), "{kind} {cut}");
        }
    }
}

#[test]
fn another_name_of_a_field_or_a_record_is_known_by_its_alias() {
    let writer = r#"{"type": "record", "name": "old.Was", "fields": [{"name": "was", "type": "int"}]}"#;
    let reader = |aliases: &str, of_field: &str| {
        format!(
            r#"{{"type": "record", "name": "new.Is"{aliases}, "fields": [{{"name": "x", "type": "int"{of_field}}}]}}"#
        )
    };
    let both = reader(r#", "aliases": ["old.Was"]"#, r#", "aliases": ["was"]"#);
    assert_eq!(read::<One<i64>>(writer, &both, &long(3)), Ok(One { x: 3 }));
    says(read::<One<i64>>(writer, &reader("", r#", "aliases": ["was"]"#), &long(3)), &[": expected record Is"]);
    says(read::<One<i64>>(writer, &reader(r#", "aliases": ["Was"]"#, ""), &long(3)), &["/x: expected int"]);
}

#[test]
fn microseconds_do_not_pass_for_milliseconds() {
    let of = |logical: &str| format!(r#"{{"type": "long", "logicalType": "timestamp-{logical}"}}"#);
    assert_eq!(read_x::<i64>(&of("millis"), &of("millis"), &long(5)), Ok(5));
    assert_eq!(read_x::<i64>(r#""long""#, &of("millis"), &long(5)), Ok(5));
    says(
        read_x::<i64>(&of("micros"), &of("millis"), &long(5)),
        &["/x: expected long (timestamp-millis), and its writer's schema has long (timestamp-micros)"],
    );
}

#[test]
fn a_record_may_hold_itself_but_not_without_end() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Nest {
        x: Option<Box<Self>>,
    }
    let schema = of_x(r#"["null", "R"]"#);
    assert_eq!(read::<Nest>(&schema, &schema, &[2, 2, 0]).map(|nest| nest.x.unwrap().x.unwrap().x), Ok(None));
    says(read::<Nest>(&schema, &schema, &[2; 5_000]), &["at most 64 records"]);
}

/// Records of two fields each, and those of two again: of `depth` the fields are two to its power.
fn doubling(depth: usize, of: &str) -> String {
    (0..depth).fold(of.to_owned(), |inner, at| {
        let again = if at == 0 { inner.clone() } else { format!("\"D{}\"", at - 1) };
        format!(
            r#"{{"type": "record", "name": "D{at}", "fields": [{{"name": "a", "type": {inner}}}, {{"name": "b", "type": {again}}}]}}"#
        )
    })
}

#[test]
fn a_schema_that_doubles_itself_takes_no_time_whether_it_is_read_or_passed_over_or_does_not_match() {
    let (nulls, ints) = (doubling(36, r#""null""#), doubling(36, r#""int""#));
    let gone = record(&format!(r#"{{"name": "gone", "type": {nulls}}}, {{"name": "x", "type": "int"}}"#));
    says(read_x::<de::IgnoredAny>(&nulls, &nulls, &[]), &["at most 100000 fields that take no byte"]);
    says(read::<One<i64>>(&gone, &of_x(r#""int""#), &[2]), &["at most 100000 fields that take no byte"]);
    let wrong = read_x::<de::IgnoredAny>(&ints, &nulls, &[]).expect_err("an int is no null");
    assert_eq!(wrong.len(), 50);
    // Sixteen thousand of them are no more than another record has.
    assert_eq!(read_x::<de::IgnoredAny>(&doubling(14, r#""null""#), &doubling(14, r#""null""#), &[]).map(drop), Ok(()));
}

#[test]
fn an_object_of_very_many_members_is_read_as_fast_as_any_and_a_name_that_is_there_twice_is_found_among_them() {
    let of = |count: usize| (0..count).map(|at| format!("\"m{at}\": 0")).collect::<Vec<_>>().join(", ");
    // Each held against all others, they would take a minute.
    let members = of(100_000);
    let with = |more: &str| wrong(format!("{{{members}{more}}}"));
    assert!(with("").contains(&"field.required /user_id".to_owned()));
    assert_eq!(with(", \"m99999\": 1"), ["decode", "message.json"]);
    assert_eq!(wrong(format!("{{{}, \"m3\": 1}}", of(40))), ["decode", "message.json"]);
}

#[test]
fn everything_that_is_wrong_is_told_where_it_leaves_the_next_value_findable() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is never read")]
    struct Four {
        a: bool,
        b: String,
        c: u32,
        d: Vec<i64>,
    }
    let schema = record(
        r#"{"name": "a", "type": "boolean"}, {"name": "b", "type": "string"},
        {"name": "c", "type": {"type": "enum", "name": "E", "symbols": ["s"]}}, {"name": "d", "type": {"type": "array", "items": "int"}}"#,
    );
    let bytes = [vec![2], text([0xff]), long(1), long(2), long(1), long(1 << 40), long(0)].concat();
    says(
        read::<Four>(&schema, &schema, &bytes),
        &[
            "field.type /a: expected a boolean, found the byte 2",
            "field.type /b: expected a string, found bytes that are no UTF-8 from byte 0",
            "field.type /c: expected an enum of 1 symbols, found 1",
            "field.type /d/1: expected an int",
        ],
    );
}

#[test]
fn each_text_is_judged_by_itself_whatever_stands_beside_it() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Three {
        a: String,
        b: String,
        n: i64,
        c: String,
    }
    let schema = record(
        r#"{"name": "a", "type": "string"}, {"name": "b", "type": "string"}, {"name": "n", "type": "long"},
        {"name": "c", "type": "string"}"#,
    );
    let schema = Schema::parse(&schema).unwrap();
    // Some would be a character together, or with what stands between them; some end where a word of the machine does.
    let texts: [&[u8]; 12] = [
        b"",
        b"a",
        b"seven..",
        b"fourteen bytes",
        b"fifteen bytes..",
        b"sixteen bytes...",
        "wört".as_bytes(),
        "fifteen bytes..\u{10ffff}".as_bytes(),
        b"a\xc3",
        b"\xa9",
        b"sixteen bytes...\xe2\x82",
        b"\xac",
    ];
    for (at, n) in (0..texts.len().pow(3)).flat_map(|at| [(at, 0), (at, -0x2_a4e1)]) {
        let [a, b, c] = [at, at / texts.len(), at / texts.len().pow(2)].map(|at| texts[at % texts.len()]);
        let bytes = [text(a), text(b), long(n), text(c)].concat();
        let wrong = [("a", a), ("b", b), ("c", c)].into_iter().filter_map(|(name, text)| {
            let from = std::str::from_utf8(text).err()?.valid_up_to();
            Some((format!("/{name}"), format!("expected a string, found bytes that are no UTF-8 from byte {from}")))
        });
        let wrong: Vec<(String, String)> = wrong.collect();
        let read = read_value::<Three>(&schema, &schema, &bytes)
            .map_err(|found| found.into_iter().map(|of| (of.pointer, of.message)).collect::<Vec<_>>());
        let texts = [a, b, c].map(|text| String::from_utf8_lossy(text).into_owned());
        let wanted = match wrong.is_empty() {
            true => {
                let [a, b, c] = texts;
                Ok(Three { a, b, n, c })
            }
            false => Err(wrong),
        };
        assert_eq!(read, wanted, "{bytes:02x?}");
    }
}

#[test]
fn no_number_of_the_senders_takes_memory_or_time() {
    let (strings, nulls) = (r#"{"type": "array", "items": "string"}"#, r#"{"type": "array", "items": "null"}"#);
    for length in [i64::MAX, 1 << 40, 3] {
        says(
            read_x::<String>(r#""string""#, r#""string""#, &[long(length), b"ab".to_vec()].concat()),
            &["the value has 2 more"],
        );
    }
    for length in [-1, i64::MIN] {
        says(read_x::<String>(r#""string""#, r#""string""#, &long(length)), &["found the length -"]);
    }
    for count in [i64::MAX, i64::MIN, 100_001, -100_001] {
        let bytes = [long(count), long(0), long(0)].concat();
        says(read_x::<Vec<()>>(nulls, nulls, &bytes), &["at most 100000 items"]);
        says(read_x::<Vec<String>>(strings, strings, &bytes), &["at most 100000 items"]);
    }
    // Many blocks count together.
    let blocks = [long(60_000), long(60_000), long(0)].concat();
    says(read_x::<Vec<()>>(nulls, nulls, &blocks), &["at most 100000 items"]);
    let map = r#"{"type": "map", "values": "int"}"#;
    let one = [long(1), text("k"), long(9), long(0)].concat();
    let wanted = std::collections::BTreeMap::from([("k".to_owned(), 9)]);
    assert_eq!(read_x::<std::collections::BTreeMap<String, i64>>(map, map, &one), Ok(wanted));
}

/// A family of events for these tests.
struct Toys;

#[derive(Debug, Deserialize, PartialEq)]
enum Toy<'a> {
    #[serde(borrow)]
    Ball(Ball<'a>),
    Top(Top),
}

#[derive(Debug, Deserialize, PartialEq)]
struct Ball<'a> {
    #[serde(borrow)]
    colour: Text<'a>,
    weight: Option<i64>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Top {
    turns: i64,
    is_new: bool,
}

const OLDER: &str = r#"{"type": "record", "name": "Toy", "namespace": "t", "fields": [
    {"name": "event_id", "type": "string"},
    {"name": "event_type", "type": {"type": "enum", "name": "ToyType", "symbols": ["toy_thrown"]}},
    {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "user_id", "type": "string"},
    {"name": "tenant_id", "type": "string"},
    {"name": "correlation_id", "type": ["null", "string"], "default": null},
    {"name": "payload", "type": [
        {"type": "record", "name": "Ball", "fields": [{"name": "colour", "type": "bytes"}]}
    ]}
]}"#;
const NEWER: &str = r#"{"type": "record", "name": "Toy", "namespace": "t", "fields": [
    {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "event_type", "type": {"type": "enum", "name": "ToyType", "symbols": ["toy_thrown", "toy_turned", "toy_caught", "unknown"], "default": "unknown"}},
    {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "user_id", "type": "string"},
    {"name": "tenant_id", "type": "string"},
    {"name": "correlation_id", "type": ["null", "string"], "default": null},
    {"name": "payload", "type": [
        {"type": "record", "name": "Ball", "fields": [
            {"name": "colour", "type": "string"}, {"name": "weight", "type": ["null", "long"], "default": null}
        ]},
        {"type": "record", "name": "Top", "fields": [
            {"name": "turns", "type": "long"}, {"name": "is_new", "type": "boolean", "default": true}
        ]}
    ]}
]}"#;

impl AvroEvents for Toys {
    type Payload<'a> = Toy<'a>;

    const TYPES: &'static [&'static [&'static str]] = &[&["toy.thrown", "toy.caught"], &["toy.turned"]];

    fn schemas() -> &'static BuiltIn {
        static SCHEMAS: LazyLock<BuiltIn> = LazyLock::new(|| BuiltIn::of(&[OLDER, NEWER]).unwrap());
        &SCHEMAS
    }

    fn branch(payload: &Toy<'_>) -> usize {
        match payload {
            Toy::Ball(_) => 0,
            Toy::Top(_) => 1,
        }
    }
}

const TOPIC: &str = "toys.v1";

const fn named(name: &'static str, topic: &'static str) -> EventType {
    EventType { name, topic, statement: None, effect: "" }
}

static SPEC: FamilySpec = FamilySpec {
    name: "toys",
    topics: &[TopicOf { name: TOPIC, partitions: 1, key: "user" }],
    event_types: &[named("toy.thrown", TOPIC), named("toy.turned", TOPIC), named("toy.caught", TOPIC)],
    dead_letters: ANALYTICS_DEAD_LETTERS,
    kinds: &[],
};
static OTHER: FamilySpec = FamilySpec {
    name: "others",
    topics: &[TopicOf { name: "others.v1", partitions: 1, key: "user" }],
    event_types: &[named("other.thing", "others.v1")],
    dead_letters: ANALYTICS_DEAD_LETTERS,
    kinds: &[],
};

const ID: &str = "6f1c2c1e-7d0b-4a54-9f6d-0d8a5c7a1b11";

/// A ball that was thrown, as the older schema writes it.
fn thrown() -> Vec<u8> {
    [text(ID), long(0), long(1_772_355_600_000), text("ada"), text("acme"), long(1), text("c-1"), long(0), text("red")]
        .concat()
}

fn print_of(schema: &str) -> [u8; 8] {
    Schema::parse(schema).unwrap().fingerprint().to_le_bytes()
}

/// Behind the framing of a single object.
fn single(schema: &str, event: Vec<u8>) -> Vec<u8> {
    [vec![0xC3, 1], print_of(schema).to_vec(), event].concat()
}

fn record_of(value: impl Into<Vec<u8>>, headers: Vec<Header>) -> Record {
    let value: Vec<u8> = value.into();
    Record { position: Position::new(TOPIC, 0, 3), timestamp_ms: 5, key: None, value: Some(value.into()), headers }
}

fn open<T>(record: &Record, schemas: &Schemas<Writer>, judge: impl FnOnce(Opened<'_, Event<'_, Toy<'_>>>) -> T) -> T {
    let catalog = Catalog::new(vec![&SPEC, &OTHER]);
    let config = EnvelopeConfig::default();
    judge(Avro::<Toys>::open(record, Hint { family: Some(&SPEC), catalog: &catalog, config: &config }, schemas))
}

/// `kind`, then each `rule pointer`.
fn wrong(value: impl Into<Vec<u8>>) -> Vec<String> {
    open(&record_of(value, Vec::new()), &Schemas::default(), |opened| match opened {
        Opened::Invalid(invalid) => {
            let mut told = vec![invalid.kind.name().to_owned()];
            told.extend(invalid.findings.iter().map(|of| format!("{} {}", of.rule, of.pointer).trim_end().to_owned()));
            told
        }
        other => panic!("{other:?}"),
    })
}

fn judge_thrown(record: &Record, schemas: &Schemas<Writer>) {
    open(record, schemas, |opened| {
        let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
        assert_eq!((envelope.event_type, &*envelope.tenant, &*envelope.correlation_id), ("toy.thrown", "acme", "c-1"));
        assert_eq!((envelope.id.to_string(), envelope.occurred_at_ms), (ID.to_owned(), 1_772_355_600_000));
        assert_eq!(envelope.body.payload, Toy::Ball(Ball { colour: Text("red".into()), weight: None }));
        assert_eq!(envelope.body.learner(), "account:http://nlj.platform/users|ada");
        assert_eq!(envelope.raw, record.value.as_deref().unwrap(), "it can be read again by what is stored");
    });
}

#[test]
fn an_event_is_read_behind_each_framing_and_in_json() {
    let registered: Schemas<Writer> =
        [SchemaRef::Id(7), SchemaRef::Guid(uuid::Uuid::from_u128(8)), SchemaRef::Version(uuid::Uuid::from_u128(9))]
            .into_iter()
            .map(|schema| (schema, Some(Arc::new(Avro::<Toys>::parse(OLDER).unwrap()))))
            .collect();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zlib, &thrown()).unwrap();
    let of_version = |compression: u8, event: Vec<u8>| {
        [vec![3, compression], uuid::Uuid::from_u128(9).as_bytes().to_vec(), event].concat()
    };
    let header = |name: &str, value: Vec<u8>| vec![Header::new(name, value)];
    let guid = [vec![1], uuid::Uuid::from_u128(8).as_bytes().to_vec()].concat();
    let json = json!({
        "event_id": ID, "event_type": "toy_thrown", "occurred_at": 1_772_355_600_000_i64, "user_id": "ada",
        "tenant_id": "acme", "correlation_id": "c-1", "payload": {"colour": "red"},
    });
    for record in [
        record_of(single(OLDER, thrown()), vec![]),
        record_of([vec![0, 0, 0, 0, 7], thrown()].concat(), vec![]),
        record_of(of_version(0, thrown()), vec![]),
        record_of(of_version(5, zlib.finish().unwrap()), vec![]),
        record_of(thrown(), header("__value_schema_id", vec![0, 0, 0, 0, 7])),
        record_of(thrown(), header("__value_schema_id", guid)),
        record_of(thrown(), header("avro-fingerprint", print_of(OLDER).to_vec())),
        record_of(thrown(), header(MAPPING_HEADER, b"7".to_vec())),
        record_of(json.to_string(), header(MAPPING_HEADER, b"7".to_vec())),
        record_of(json.to_string(), vec![]),
    ] {
        judge_thrown(&record, &registered);
    }
}

#[test]
fn a_schema_that_was_not_looked_for_is_missing_and_one_that_nobody_has_is_an_error_whatever_else_the_bytes_may_be() {
    for (value, headers, schema) in [
        (vec![0, 0, 0, 0, 7], vec![], SchemaRef::Id(7)),
        // Single-object bytes of a schema that is built in, which the header says to be bare.
        (
            single(NEWER, thrown()),
            vec![Header::new("avro-fingerprint", "00000000000000ff")],
            SchemaRef::Fingerprint(255),
        ),
        ([&[0xC3, 1][..], &[1; 8]].concat(), vec![], SchemaRef::Fingerprint(0x0101_0101_0101_0101)),
    ] {
        let record = record_of(value, headers);
        open(&record, &Schemas::default(), |opened| assert!(matches!(opened, Opened::Missing(of) if of == schema)));
        let looked_for: Schemas<Writer> = [(schema, None)].into_iter().collect();
        open(&record, &looked_for, |opened| {
            let Opened::Invalid(invalid) = opened else { panic!("{opened:?}") };
            assert_eq!((invalid.kind, &*invalid.findings[0].rule), (DeadLetterKind::Decode, "schema.unknown"));
            assert!(invalid.findings[0].message.contains("none of this release"), "{invalid:?}");
        });
    }
    open(&Record { value: None, ..record_of("", vec![]) }, &Schemas::default(), |opened| {
        assert!(matches!(opened, Opened::Tombstone));
    });
}

#[test]
fn a_registered_schema_that_does_not_match_is_told_with_all_that_does_not() {
    let odd = NEWER.replace(r#""name": "user_id", "type": "string""#, r#""name": "user_id", "type": "long""#);
    let odd = odd.replace(r#"{"name": "tenant_id", "type": "string"},"#, "");
    let schemas: Schemas<Writer> = [(SchemaRef::Id(7), &*odd), (SchemaRef::Id(8), "{")]
        .into_iter()
        .map(|(id, text)| (id, Some(Arc::new(Avro::<Toys>::parse(text).unwrap()))))
        .collect();
    for (id, wanted) in [(7, vec!["/user_id", "/tenant_id"]), (8, vec![""])] {
        open(&record_of(vec![0, 0, 0, 0, id], vec![]), &schemas, |opened| {
            let Opened::Invalid(invalid) = opened else { panic!("{opened:?}") };
            let found: Vec<&str> = invalid.findings.iter().map(|of| of.pointer.as_str()).collect();
            assert_eq!((invalid.kind, found), (DeadLetterKind::Decode, wanted), "{invalid:?}");
            assert!(invalid.findings.iter().all(|of| of.rule == "schema.mismatch"));
        });
    }
}

#[test]
fn a_value_that_breaks_off_anywhere_or_goes_on_is_no_event_and_its_tenant_is_known_once_it_was_read() {
    let whole = single(OLDER, thrown());
    judge_thrown(&record_of(whole.clone(), vec![]), &Schemas::default());
    let tenant_ends = 10 + thrown().windows(4).position(|window| window == b"acme").unwrap() + 4;
    for cut in 0..whole.len() {
        open(&record_of(&whole[..cut], vec![]), &Schemas::default(), |opened| {
            let Opened::Invalid(invalid) = opened else { panic!("{cut}: {opened:?}") };
            let tenant = if cut >= tenant_ends { "acme" } else { "default" };
            assert_eq!((invalid.kind, invalid.tenant.as_deref()), (DeadLetterKind::Decode, Some(tenant)), "{cut}");
        });
    }
    assert_eq!(wrong([whole, vec![0]].concat()), ["decode", "record.malformed"]);
}

#[test]
fn what_an_event_has_in_common_is_judged_and_all_that_is_wrong_is_told() {
    let event = |id: &str, kind: i64, at: i64, user: &str, payload: Vec<u8>| {
        single(NEWER, [text(id), long(kind), long(at), text(user), text("acme"), long(0), payload].concat())
    };
    let top = || [long(1), long(3), vec![1]].concat();
    assert_eq!(
        wrong(event("no-uuid", 1, -1, "", top())),
        ["validation", "event-id.uuid /event_id", "field.range /user_id", "field.range /occurred_at"]
    );
    assert_eq!(wrong(event(ID, 0, 5, "ada", top())), ["validation", "event-type.differs /payload"]);
    assert_eq!(wrong(event(ID, 3, 5, "ada", top())), ["unknown-type", "event-type.unknown /event_type"]);
    assert_eq!(
        wrong(event(ID, 1, LAST_MS + 1, &"x".repeat(600), top())),
        ["validation", "field.range /user_id", "field.range /occurred_at"]
    );
    assert_eq!(wrong(b"\x48"), ["decode", "schema.framing"]);
}

#[test]
fn a_type_that_is_newer_than_the_release_is_called_by_its_writers_name() {
    let newest = NEWER.replace(r#""unknown"], "#, r#""unknown", "toy_lost"], "#);
    let event = [text(ID), long(4), long(5), text("ada"), text("acme"), long(0), long(1), long(3), vec![1]].concat();
    let schema = SchemaRef::Fingerprint(u64::from_le_bytes(print_of(&newest)));
    let schemas: Schemas<Writer> =
        [(schema, Some(Arc::new(Avro::<Toys>::parse(&newest).unwrap())))].into_iter().collect();
    open(&record_of(single(&newest, event), vec![]), &schemas, |opened| {
        let Opened::Invalid(invalid) = opened else { panic!("{opened:?}") };
        assert_eq!(invalid.kind, DeadLetterKind::UnknownType);
        assert!(invalid.findings[0].message.contains("toy.lost"), "{invalid:?}");
    });
}

fn in_json(change: impl FnOnce(&mut Value)) -> String {
    let mut event = json!({
        "event_id": ID, "event_type": "toy.turned", "occurred_at": 5, "user_id": "ada", "tenant_id": "acme",
        "payload": {"turns": 3},
    });
    change(&mut event);
    event.to_string()
}

#[test]
fn json_may_spell_a_union_plainly_or_as_avro_does_and_a_type_as_the_catalog_or_the_schema_does() {
    let plain = json!({"colour": "r\u{1}d", "weight": 4});
    for payload in [
        plain.clone(),
        json!({"colour": "r\u{1}d", "weight": {"long": 4}}),
        json!({"Ball": plain}),
        json!({"t.Ball": {"colour": "r\u{1}d", "weight": {"long": 4}}}),
    ] {
        for name in ["toy_thrown", "toy.thrown"] {
            for correlation_id in [json!("c-1"), json!({"string": "c-1"})] {
                let value = in_json(|event| {
                    (event["payload"], event["event_type"]) = (payload.clone(), name.into());
                    event["correlation_id"] = correlation_id;
                });
                open(&record_of(value, vec![]), &Schemas::default(), |opened| {
                    let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
                    let ball = Ball { colour: Text("r\u{1}d".into()), weight: Some(4) };
                    assert_eq!(envelope.body.payload, Toy::Ball(ball));
                    assert_eq!((&*envelope.correlation_id, envelope.event_type), ("c-1", "toy.thrown"));
                });
            }
        }
    }
    open(&record_of(in_json(|_| ()), vec![]), &Schemas::default(), |opened| {
        let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
        assert_eq!(
            envelope.body.payload,
            Toy::Top(Top { turns: 3, is_new: true }),
            "a default stands for what is missing"
        );
        assert_eq!(&*envelope.correlation_id, ID);
    });
}

#[test]
fn everything_that_is_wrong_with_json_is_told_where_it_stands() {
    let many = in_json(|event| {
        *event = json!({"event_id": 1, "event_type": "toy.turned", "occurred_at": "now", "tenant_id": "acme", "payload": {"turns": 1.5, "is_new": 1}});
    });
    assert_eq!(
        wrong(many),
        [
            "validation",
            "field.type /event_id",
            "field.type /occurred_at",
            "field.required /user_id",
            "field.type /payload/turns",
            "field.type /payload/is_new",
        ]
    );
    assert_eq!(wrong(in_json(|event| event["payload"] = json!({}))), ["validation", "field.required /payload/turns"]);
    assert_eq!(wrong(in_json(|event| event["payload"] = json!(7))), ["validation", "field.type /payload"]);
    // What is asked of a payload is told by the type of the event, but where it names its own.
    assert_eq!(
        wrong(in_json(|event| event["payload"] = json!({"colour": "red"}))),
        ["validation", "field.required /payload/turns"]
    );
    assert_eq!(
        wrong(in_json(|event| event["payload"] = json!({"Ball": {"colour": "red"}}))),
        ["validation", "event-type.differs /payload"]
    );
    assert_eq!(wrong(in_json(|event| event["event_type"] = json!(1)))[1], "field.type /event_type");
    assert_eq!(
        wrong(in_json(|event| drop(event.as_object_mut().unwrap().remove("event_type")))),
        ["unknown-type", "field.required /event_type"]
    );
    assert_eq!(
        wrong(in_json(|event| event["event_type"] = json!("toy.lost"))),
        ["unknown-type", "event-type.unknown /event_type"]
    );
    assert_eq!(
        wrong(in_json(|event| event["event_type"] = json!("other.thing"))),
        ["unknown-type", "event-type.topic /event_type"]
    );
    assert_eq!(wrong("{\"event_id\": 1, \"event_id\": 2}"), ["decode", "message.json"]);
    assert_eq!(wrong("{\"event_id\""), ["decode", "message.json"]);
    assert_eq!(wrong(in_json(|event| event["tenant_id"] = json!(""))), ["validation", "tenant.format /tenant_id"]);
}

#[test]
fn a_value_looks_like_an_event_by_the_fingerprint_of_a_known_schema_or_by_what_no_other_form_has() {
    let known = single(OLDER, vec![]);
    for value in [known.as_slice(), br#"{"user_id": 1, "occurred_at": 2"#] {
        assert!(Avro::<Toys>::looks_like(value), "{value:?}");
    }
    // A film begins as Confluent's framing does.
    for value in [
        &b""[..],
        b"\0\0\0\x18ftypmp42",
        b"\x03\0x",
        &known[..9],
        &[0xC3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        b"text",
        br#"{"user_id": 1}"#,
        br#"{"event_type": "a", "occurred_at": 1}"#,
    ] {
        assert!(!Avro::<Toys>::looks_like(value), "{value:?}");
    }
}

#[test]
fn two_events_are_the_same_by_what_was_read_of_them_however_they_were_written() {
    let hash = |value: Vec<u8>, fields: &[u8]| {
        open(&record_of(value, vec![]), &Schemas::default(), |opened| {
            let Opened::Event(envelope) = opened else { panic!("{opened:?}") };
            Avro::<Toys>::sameness(&envelope, fields)
        })
    };
    let json = in_json(|event| {
        event["event_type"] = json!("toy.thrown");
        event["occurred_at"] = json!(1_772_355_600_000_i64);
        event["payload"] = json!({"colour": "red"});
    });
    let own = hash(single(OLDER, thrown()), b"a");
    assert_eq!(own, hash(json.clone().into_bytes(), b"a"));
    assert_ne!(own, hash(single(OLDER, thrown()), b"b"));
    assert_ne!(own, hash(json.replace("ada", "bob").into_bytes(), b"a"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), framing in 0..5_usize) {
        let value = match framing {
            0 => bytes,
            1 => single(OLDER, bytes),
            2 => single(NEWER, bytes),
            3 => [thrown().as_slice(), &bytes].concat(),
            _ => [b"{\"event_id\":", bytes.as_slice()].concat(),
        };
        open(&record_of(value, vec![]), &Schemas::default(), |_| ());
    }

    #[test]
    fn a_changed_byte_makes_an_event_another_one_or_none_but_no_panic(at in 0..100_usize, to in any::<u8>()) {
        let mut value = single(OLDER, thrown());
        let at = at % value.len();
        value[at] = to;
        open(&record_of(value, vec![]), &Schemas::default(), |_| ());
    }

    #[test]
    fn every_long_is_read_as_it_was_written_whatever_stands_behind_it(
        number in any::<i64>(), shorter in 0..64_u32, behind in proptest::collection::vec(any::<i64>(), 0..4)
    ) {
        let number = number >> shorter;
        prop_assert_eq!(read_x::<i64>(r#""long""#, r#""long""#, &long(number)), Ok(number));
        let longs = [&[number], &behind[..]].concat();
        let items: Vec<Vec<u8>> = longs.iter().map(|number| long(*number)).collect();
        let bytes = [long(longs.len() as i64), items.concat(), long(0)].concat();
        let array = r#"{"type": "array", "items": "long"}"#;
        prop_assert_eq!(read_x::<Vec<i64>>(array, array, &bytes), Ok(longs));
    }
}
