//! Files of Parquet, read back by another implementation.

use bytes::Bytes;
use lyceum_core::record::{Header, NO_TIMESTAMP, Position, Record};
use lyceum_core::replay::FileFormat;
use lyceum_export::encode;
use lyceum_services::Suite;
use lyceum_testing::sink_contract::records;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::{Field, Row};
use serde_json::Value;

use crate::given::ByPosition;

pub(crate) fn read(bytes: &[u8]) -> Vec<Row> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).expect("it is a file of Parquet");
    let rows = reader.get_row_iter(None).expect("its rows are read");
    rows.map(|row| row.expect("a row")).collect()
}

pub(crate) fn position(row: &Row) -> Position {
    let Field::Str(topic) = field(row, "topic") else { panic!("a topic is text") };
    let (Field::Int(partition), Field::Long(offset)) = (field(row, "partition"), field(row, "offset")) else {
        panic!("a position has numbers")
    };
    Position::new(topic.as_str(), partition, offset)
}

fn field(row: &Row, name: &str) -> Field {
    let found = row.get_column_iter().find(|(column, _)| *column == name);
    found.unwrap_or_else(|| panic!("there is no column {name}")).1.clone()
}

fn text(text: &str) -> Field {
    Field::Str(text.to_owned())
}

pub(crate) fn add(suite: &mut Suite) {
    suite.test("parquet::every_column_is_read_back_as_it_was_written", &[], |_| columns());
    suite.test("parquet::a_file_has_the_rows_of_the_lines_in_the_same_order", &[], |_| as_jsonl());
    suite.test("parquet::values_of_many_pages_and_long_runs_of_nulls_are_read_back", &[], |_| pages());
    suite.test("parquet::readers_may_skip_by_least_and_most", &[], |_| statistics());
}

fn record(offset: i64, value: Option<&[u8]>) -> Record {
    Record {
        position: Position::new("nlj.xapi.statements", 7, offset),
        timestamp_ms: 1_796_083_198_123,
        key: None,
        value: value.map(Bytes::copy_from_slice),
        headers: Vec::new(),
    }
}

fn one(record: Record) -> Row {
    let files = encode(&[record], &ByPosition, FileFormat::Parquet).expect("it is written");
    assert_eq!((files.len(), files[0].rows), (1, 1));
    read(&files[0].bytes).remove(0)
}

fn columns() {
    let headers = vec![
        Header::new("a", "\"b\""),
        Header { name: "a".to_owned(), value: None },
        Header::new("c", Bytes::from_static(b"\xff")),
    ];
    let value = br#"{ "x": "\u00e4" }"#;
    let row = one(Record { key: Some(Bytes::from_static(b"k")), headers, ..record(42, Some(value)) });
    assert_eq!(position(&row), Position::new("nlj.xapi.statements", 7, 42));
    for (name, expected) in [
        ("timestamp", Field::TimestampMillis(1_796_083_198_123)),
        ("key", text("k")),
        ("key_encoding", text("text")),
        ("kind", text("event")),
        ("family", text("statement")),
        ("event_type", text("statement")),
        ("event_id", text("00000000-0000-0000-0000-00000000002a")),
        ("tenant", text("acme")),
        ("correlation_id", Field::Null),
        ("value", text(std::str::from_utf8(value).expect("it is text"))),
        ("value_encoding", text("json")),
        ("headers", text(r#"[["a","\"b\""],["a",null],["c",{"base64":"/w=="}]]"#)),
    ] {
        assert_eq!(field(&row, name), expected, "{name}");
    }
    let row = one(Record { key: Some(Bytes::from_static(b"\xff")), timestamp_ms: NO_TIMESTAMP, ..record(1, None) });
    for (name, expected) in [
        ("timestamp", Field::Null),
        ("key", text("/w==")),
        ("key_encoding", text("base64")),
        ("kind", text("tombstone")),
        ("event_id", Field::Null),
        ("value", Field::Null),
        ("value_encoding", Field::Null),
        ("headers", text("[]")),
    ] {
        assert_eq!(field(&row, name), expected, "{name}");
    }
    for (value, encoded, encoding) in [
        (&b"\x00\xff"[..], text("AP8="), "base64"),
        (b"no JSON", text("bm8gSlNPTg=="), "base64"),
        (b"", text(""), "base64"),
        (br#"{"token": "SECRET"}"#, Field::Null, "omitted"),
    ] {
        let row = one(record(1, Some(value)));
        assert_eq!((field(&row, "value"), field(&row, "value_encoding")), (encoded, text(encoding)), "{value:?}");
    }
}

/// Both forms say the same of every record.
fn as_jsonl() {
    let records: Vec<Record> = [records(0, 0, 50), records(1, 7, 30)].concat();
    let (lines, tables) = (
        encode(&records, &ByPosition, FileFormat::Jsonl).expect("it is written"),
        encode(&records, &ByPosition, FileFormat::Parquet).expect("it is written"),
    );
    assert_eq!(lines.len(), 2, "they are of two days");
    for (lines, table) in lines.iter().zip(&tables) {
        assert_eq!((&lines.day, lines.rows, lines.first_offset), (&table.day, table.rows, table.first_offset));
        let rows = read(&table.bytes);
        let text = std::str::from_utf8(&lines.bytes).expect("lines are text");
        assert_eq!(text.lines().count(), rows.len());
        for (line, row) in text.lines().zip(rows) {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let names: Vec<&String> = line.as_object().expect("an object").keys().collect();
            assert_eq!(names.len(), row.len());
            for (name, field) in row.get_column_iter() {
                let same = match field {
                    Field::Null => line[name].is_null(),
                    Field::Int(number) => line[name] == *number,
                    Field::Long(number) => line[name] == *number,
                    Field::Str(text) => line[name] == *text,
                    Field::TimestampMillis(ms) => {
                        let time = lyceum_xapi::utc_time::UtcTime::from_millis(*ms);
                        line[name] == format!("{time:.3}")
                    }
                    other => panic!("{name} is {other:?}"),
                };
                assert!(same, "{name}: {} and {field:?}", line[name]);
            }
        }
    }
}

fn pages() {
    let large = |offset: i64| format!(r#"{{"text": "{}"}}"#, "ä".repeat(200_000 + offset as usize));
    let with = |offset: i64| (offset % 9 == 0).then(|| large(offset));
    let records: Vec<Record> =
        (0..300).map(|offset| record(offset, with(offset).as_ref().map(|value| value.as_bytes()))).collect();
    let files = encode(&records, &ByPosition, FileFormat::Parquet).expect("it is written");
    let rows = read(&files[0].bytes);
    assert_eq!(rows.len(), 300);
    for (offset, row) in (0..).zip(&rows) {
        let expected = with(offset).map_or(Field::Null, Field::Str);
        assert!(field(row, "value") == expected, "offset {offset}");
    }
}

fn statistics() {
    let files = encode(&records(3, 0, 2), &ByPosition, FileFormat::Parquet).expect("it is written");
    let reader = SerializedFileReader::new(files[0].bytes.clone()).expect("it is a file of Parquet");
    let group = reader.metadata().row_group(0);
    let of = |name: &str| {
        let column = group.columns().iter().find(|column| column.column_path().string() == name);
        column.and_then(|column| column.statistics().cloned()).unwrap_or_else(|| panic!("{name} has none"))
    };
    let Statistics::Int64(offsets) = of("offset") else { panic!("offsets are long") };
    assert_eq!((offsets.min_opt(), offsets.max_opt()), (Some(&0), Some(&1)));
    let Statistics::Int32(partitions) = of("partition") else { panic!("partitions are ints") };
    assert_eq!((partitions.min_opt(), partitions.max_opt()), (Some(&3), Some(&3)));
    assert_eq!(of("key").null_count_opt(), Some(1), "every third record has no key");
}
