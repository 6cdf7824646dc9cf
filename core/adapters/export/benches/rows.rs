//! How fast records become files in a folder: 5,000 statements a chunk, against writing their values as plain lines.

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use lyceum_core::audit::entry::{Kind, Labels, ReadLabels};
use lyceum_core::record::{Header, Position, Record};
use lyceum_core::replay::sink::File;
use lyceum_core::replay::{Chunk, FileFormat, Sinks};
use lyceum_export::FileSinks;
use serde_json::json;
use uuid::Uuid;

const RECORDS: i64 = 5_000;

fn main() {
    Divan::from_args().main();
}

/// Reading what a record says is the families' affair, and measured there.
struct Known;

impl ReadLabels for Known {
    fn labels(&self, record: &Record) -> Labels {
        Labels {
            kind: Kind::Event,
            event_type: "statement",
            family: "statement".into(),
            event_id: Some(Uuid::from_u128(record.position.offset as u128)),
            tenant: Some("acme".into()),
            correlation_id: Some("a-correlation".into()),
            letter: None,
            holds_secret: false,
        }
    }
}

fn records() -> Vec<Record> {
    let record = |offset: i64| {
        let id = Uuid::from_u128(offset as u128 * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let value = format!(
            r#"{{"id":"{id}","actor":{{"objectType":"Agent","name":"Person {offset}","mbox":"mailto:p{offset}@academy.example"}},"verb":{{"id":"http://adlnet.gov/expapi/verbs/answered","display":{{"en-US":"answered"}}}},"object":{{"objectType":"Activity","id":"http://nlj.platform/activities/survey/feedback/question/{}","definition":{{"type":"http://adlnet.gov/expapi/activities/cmi.interaction","name":{{"en-US":"How satisfied are you with the course, all in all?"}}}}}},"result":{{"response":"{}","score":{{"raw":{},"min":0,"max":10}}}},"context":{{"registration":"{id}","contextActivities":{{"parent":[{{"id":"http://nlj.platform/activities/survey/feedback"}}]}}}},"timestamp":"2026-11-30T09:30:{:02}.000Z"}}"#,
            offset % 12,
            "An answer in words. ".repeat(offset as usize % 9),
            offset % 11,
            offset % 60
        );
        Record {
            position: Position::new("nlj.survey.responses", 0, offset),
            timestamp_ms: 1_796_030_000_000 + offset,
            key: Some(Bytes::from(id.to_string())),
            value: Some(value.into()),
            headers: vec![Header::new("event-id", id.to_string()), Header::new("tenant-id", "acme")],
        }
    };
    (0..RECORDS).map(record).collect()
}

fn write(bencher: Bencher<'_, '_>, format: FileFormat) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (records, sinks) = (records(), FileSinks::new(Arc::new(Known)));
    let (place, asked) = (folder.path().display().to_string(), json!({"topics": ["nlj.survey.responses"]}));
    let file = File { place, format, request: Uuid::nil(), records: asked };
    let chunk = Chunk { topic: "nlj.survey.responses".to_owned(), partition: 0, from: 0, until: RECORDS };
    let mut sink = runtime.block_on(sinks.begin(&file)).expect("it begins");
    bencher
        .counter(ItemsCount::new(records.len()))
        .bench_local(|| runtime.block_on(sink.append(&chunk, black_box(&records))).expect("it is appended"));
}

#[divan::bench]
fn jsonl(bencher: Bencher<'_, '_>) {
    write(bencher, FileFormat::Jsonl);
}

#[divan::bench]
fn parquet(bencher: Bencher<'_, '_>) {
    write(bencher, FileFormat::Parquet);
}

/// The values alone, a line each, made durable as the others are.
#[divan::bench]
fn plain_lines(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (records, path) = (records(), folder.path().join("lines"));
    bencher.counter(ItemsCount::new(records.len())).bench_local(|| {
        let mut lines = Vec::new();
        for record in black_box(&records) {
            lines.extend_from_slice(record.value.as_deref().unwrap_or_default());
            lines.push(b'\n');
        }
        let mut file = fs::File::create(&path).expect("a file");
        file.write_all(&lines).and_then(|()| file.sync_all()).expect("it is written");
    });
}
