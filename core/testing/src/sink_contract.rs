//! What every sink of files keeps to, wherever they are.

use bytes::Bytes;
use lyceum_core::record::{Header, Position, Record};
use lyceum_core::replay::sink::File;
use lyceum_core::replay::{Chunk, FileFormat, Sink, Sinks};
use serde_json::{Value, json};
use uuid::Uuid;

/// Reads what is at a place: the positions of all rows that count, in any order.
pub type ReadPlace<'r> = &'r (dyn Fn(&str) -> Vec<Position> + Sync);

const TOPIC: &str = "nlj.contract";
/// 2026-11-30T23:59:58Z
const BEFORE_MIDNIGHT_MS: i64 = 1_796_083_198_000;

/// Those of a partition, a second apart, across the end of a day.
pub fn records(partition: i32, from: i64, until: i64) -> Vec<Record> {
    let record = |offset: i64| Record {
        position: Position::new(TOPIC, partition, offset),
        timestamp_ms: BEFORE_MIDNIGHT_MS + offset * 1_000,
        key: (offset % 3 > 0).then(|| Bytes::from(format!("k{offset}"))),
        value: match offset % 4 {
            0 => None,
            1 => Some(Bytes::from_static(b"\x00\xff no text")),
            _ => Some(Bytes::from(format!(r#"{{"offset": {offset}}}"#))),
        },
        headers: vec![Header::new("a", "b"), Header { name: "empty".to_owned(), value: None }],
    };
    (from..until).map(record).collect()
}

/// The chunk of these offsets.
pub fn chunk(partition: i32, from: i64, until: i64) -> Chunk {
    Chunk { topic: TOPIC.to_owned(), partition, from, until }
}

fn file(place: &str, request: u128, format: FileFormat) -> File {
    let records = json!({"topics": [format!("t{request}")]});
    File { place: place.to_owned(), format, request: Uuid::from_u128(request), records }
}

async fn append(sink: &mut dyn Sink, partition: i32, from: i64, until: i64) -> Value {
    let appended = sink.append(&chunk(partition, from, until), &records(partition, from, until)).await;
    let checkpoint = appended.unwrap_or_else(|error| panic!("{partition}: {from}..{until}: {error}"));
    assert!(checkpoint.to_string().len() < 64 << 10, "a checkpoint is kept with the progress");
    checkpoint
}

fn positions(of: &[(i32, i64, i64)]) -> Vec<Position> {
    let mut positions: Vec<Position> = of
        .iter()
        .flat_map(|(partition, from, until)| (*from..*until).map(|at| Position::new(TOPIC, *partition, at)))
        .collect();
    positions.sort_unstable();
    positions
}

fn there(read: ReadPlace<'_>, place: &str) -> Vec<Position> {
    let mut found = read(place);
    found.sort_unstable();
    found
}

/// What is appended is there once all is finished, each row once; a chunk may have none; who asks twice is told the same.
///
/// # Panics
/// Where it is not so.
pub async fn what_is_appended_is_there_once(sinks: &dyn Sinks, place: &str, format: FileFormat, read: ReadPlace<'_>) {
    let file = file(place, 1, format);
    sinks.check(&file).await.expect("it can be written");
    assert_eq!(there(read, place), [], "a look writes nothing");
    let mut sink = sinks.begin(&file).await.expect("it begins");
    append(&mut *sink, 0, 0, 5).await;
    append(&mut *sink, 1, 3, 3).await;
    let last = append(&mut *sink, 1, 3, 9).await;
    let said = sink.finish().await.expect("it ends");
    assert_eq!(said["rows"], 11);
    assert_eq!(there(read, place), positions(&[(0, 0, 5), (1, 3, 9)]));
    let mut again = sinks.resume(&file, &last).await.expect("it goes on");
    assert_eq!(again.finish().await.expect("it ends"), said);
    assert_eq!(there(read, place), positions(&[(0, 0, 5), (1, 3, 9)]));
}

/// A process dies before it kept a checkpoint: whoever goes on appends that chunk again, and it counts once; also where it is cut
/// otherwise by then.
///
/// # Panics
/// Where it is not so.
pub async fn what_is_appended_again_after_a_death_counts_once(
    sinks: &dyn Sinks,
    place: &str,
    format: FileFormat,
    read: ReadPlace<'_>,
) {
    let file = file(place, 2, format);
    let mut sink = sinks.begin(&file).await.expect("it begins");
    let kept = append(&mut *sink, 0, 0, 4).await;
    append(&mut *sink, 0, 4, 8).await;
    append(&mut *sink, 1, 0, 2).await;
    drop(sink);
    let mut sink = sinks.resume(&file, &kept).await.expect("it goes on");
    append(&mut *sink, 0, 4, 7).await;
    append(&mut *sink, 0, 7, 8).await;
    assert_eq!(sink.finish().await.expect("it ends")["rows"], 8);
    assert_eq!(there(read, place), positions(&[(0, 0, 8)]), "what was not appended again is gone");
}

/// Who begins anew replaces what was there of the same request; another request is refused, and changes nothing.
///
/// # Panics
/// Where it is not so.
pub async fn a_place_is_one_requests(sinks: &dyn Sinks, place: &str, format: FileFormat, read: ReadPlace<'_>) {
    let mine = file(place, 3, format);
    let mut sink = sinks.begin(&mine).await.expect("it begins");
    let kept = append(&mut *sink, 0, 0, 6).await;
    sink.finish().await.expect("it ends");
    drop(sink);
    let other = file(place, 4, format);
    for refused in
        [sinks.check(&other).await.err(), sinks.begin(&other).await.err(), sinks.resume(&other, &kept).await.err()]
    {
        let error = refused.expect("it is refused");
        assert!(!error.is_transient() && error.to_string().contains("another request"), "{error}");
    }
    assert_eq!(there(read, place), positions(&[(0, 0, 6)]));
    sinks.check(&mine).await.expect("it is its own");
    let mut sink = sinks.begin(&mine).await.expect("it begins anew");
    append(&mut *sink, 0, 0, 2).await;
    sink.finish().await.expect("it ends");
    assert_eq!(there(read, place), positions(&[(0, 0, 2)]));
}

/// A checkpoint of what is not there is refused, and so is what is none.
///
/// # Panics
/// Where it is not so.
pub async fn a_checkpoint_of_what_is_gone_is_refused(sinks: &dyn Sinks, place: &str, format: FileFormat) {
    let other = format!("{place}-other");
    let mut sink = sinks.begin(&file(&other, 5, format)).await.expect("it begins");
    let kept = append(&mut *sink, 0, 0, 2).await;
    for checkpoint in [&kept, &Value::Null] {
        let refused = sinks.resume(&file(place, 5, format), checkpoint).await.err().expect("it is refused");
        assert!(!refused.is_transient(), "{refused}");
    }
}

/// All of the above, each at a place of its own, whose names begin so.
///
/// # Panics
/// Where one is not so.
pub async fn all(sinks: &dyn Sinks, place: &str, read: ReadPlace<'_>) {
    for (format, name) in [(FileFormat::Jsonl, "jsonl"), (FileFormat::Parquet, "parquet")] {
        let at = |what: &str| format!("{place}/{name}-{what}");
        what_is_appended_is_there_once(sinks, &at("once"), format, read).await;
        what_is_appended_again_after_a_death_counts_once(sinks, &at("again"), format, read).await;
        a_place_is_one_requests(sinks, &at("owned"), format, read).await;
        a_checkpoint_of_what_is_gone_is_refused(sinks, &at("gone"), format).await;
    }
}
