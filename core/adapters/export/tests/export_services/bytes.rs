//! The same request makes the same bytes, whatever happens on the way.

use std::collections::BTreeMap;
use std::path::Path;

use lyceum_core::replay::sink::File;
use lyceum_core::replay::{FileFormat, Sink, Sinks};
use lyceum_services::Suite;
use lyceum_testing::sink_contract::{chunk, records};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::given::{files, is_data, sinks};
use crate::run;

/// Chunks of three partitions, in the order of a plan.
const CHUNKS: &[(i32, i64, i64)] =
    &[(0, 0, 4), (1, 10, 13), (2, 0, 0), (0, 4, 9), (1, 13, 14), (0, 9, 10), (1, 14, 20), (2, 0, 3)];

fn file(folder: &Path, format: FileFormat) -> File {
    let records = json!({"topics": ["nlj.contract"], "filter": {"tenant": "acme"}});
    File { place: folder.display().to_string(), format, request: Uuid::from_u128(77), records }
}

async fn append(sink: &mut dyn Sink, number: usize) -> Value {
    let (partition, from, until) = CHUNKS[number];
    let appended = sink.append(&chunk(partition, from, until), &records(partition, from, until)).await;
    appended.expect("it is appended")
}

/// What an undisturbed run leaves.
fn undisturbed(format: FileFormat) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let mut sink = sinks().begin(&file(folder.path(), format)).await.expect("it begins");
        for number in 0..CHUNKS.len() {
            append(&mut *sink, number).await;
        }
        sink.finish().await.expect("it ends");
    });
    files(folder.path())
}

/// What a process was doing when it died.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// It had appended so many chunks more than its kept checkpoint says.
    Behind(usize),
    /// It was writing a file, and had so many bytes of it.
    Writing(usize),
    /// It had written the files of a chunk, and not that they count.
    Uncounted,
}

fn death() -> impl Strategy<Value = Death> {
    prop_oneof![(0..4_usize).prop_map(Death::Behind), (0..500_usize).prop_map(Death::Writing), Just(Death::Uncounted)]
}

/// Runs until the next death or the end; what is kept then.
async fn live(
    folder: &Path,
    format: FileFormat,
    kept: Option<(usize, Value)>,
    until: Option<(usize, Death)>,
) -> Option<(usize, Value)> {
    let file = file(folder, format);
    let (mut sink, mut next, mut last) = match kept {
        None => (sinks().begin(&file).await.expect("it begins"), 0, None),
        Some((next, checkpoint)) => {
            (sinks().resume(&file, &checkpoint).await.expect("it goes on"), next, Some((next, checkpoint)))
        }
    };
    let Some((chunks, death)) = until else {
        for number in next..CHUNKS.len() {
            append(&mut *sink, number).await;
        }
        sink.finish().await.expect("it ends");
        return None;
    };
    for _ in 0..chunks {
        if next < CHUNKS.len() {
            let checkpoint = append(&mut *sink, next).await;
            next += 1;
            last = Some((next, checkpoint));
        }
    }
    match death {
        Death::Behind(more) => {
            for number in (next..CHUNKS.len()).take(more) {
                append(&mut *sink, number).await;
            }
        }
        Death::Writing(bytes) => {
            let at = folder.join("data/day=2026-11-30/nlj.contract");
            std::fs::create_dir_all(&at).expect("a folder");
            std::fs::write(at.join(".0-000000000000-000000000004.jsonl.part"), vec![b'x'; bytes]).expect("a file");
        }
        Death::Uncounted => {
            if next < CHUNKS.len() {
                let number = format!("{next:010}.json");
                append(&mut *sink, next).await;
                let counted = folder.join("_chunks").join(number);
                std::fs::remove_file(counted).expect("it counted");
            }
        }
    }
    last
}

pub(crate) fn add(suite: &mut Suite) {
    for (format, name) in [(FileFormat::Jsonl, "jsonl"), (FileFormat::Parquet, "parquet")] {
        suite.test(format!("bytes::killed_at_any_point_and_resumed_it_is_the_same_{name}"), &[], move |_| {
            let expected = undisturbed(format);
            let days = expected.keys().filter(|name| is_data(name)).count();
            assert!(days > CHUNKS.len(), "some chunks are of two days: {:?}", expected.keys());
            let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
            let deaths = prop::collection::vec((0..4_usize, death()), 0..5);
            let ran = runner.run(&deaths, |deaths| {
                let folder = tempfile::tempdir().expect("a folder");
                let left = run(async {
                    let mut kept = None;
                    for death in deaths {
                        kept = live(folder.path(), format, kept, Some(death)).await;
                    }
                    live(folder.path(), format, kept, None).await;
                    files(folder.path())
                });
                prop_assert_eq!(left.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
                prop_assert!(left == expected, "some file has other bytes");
                Ok(())
            });
            ran.unwrap_or_else(|error| panic!("{error}"));
        });
    }
    suite.test("bytes::a_manifest_says_of_every_file_what_it_is", &[], |_| {
        for format in [FileFormat::Jsonl, FileFormat::Parquet] {
            let mut left = undisturbed(format);
            let manifest: Value =
                serde_json::from_slice(&left.remove("manifest.json").expect("a manifest")).expect("JSON");
            let begun: Value = serde_json::from_slice(&left["_request.json"]).expect("JSON");
            for found in [&manifest, &begun] {
                let asked = json!({"topics": ["nlj.contract"], "filter": {"tenant": "acme"}});
                assert_eq!(found["records"], asked, "whoever finds the files reads what was asked for");
            }
            left.retain(|name, _| is_data(name));
            let listed = manifest["files"].as_array().expect("files");
            assert_eq!(listed.len(), left.len());
            for of in listed {
                let bytes = &left[of["path"].as_str().expect("a path")];
                assert_eq!(of["bytes"], bytes.len());
                let hash = lyceum_core::audit::hash::Hash::of(&[bytes]);
                assert_eq!(of["sha256"], hash.to_string());
            }
            assert_eq!(manifest["rows"], 23);
            let of = |partition: usize| manifest["partitions"][partition]["offsets"].to_string();
            assert_eq!([of(0), of(1), of(2)], ["[[0,10]]", "[[10,20]]", "[[0,3]]"]);
            assert_eq!(manifest["columns"].as_array().expect("columns").len(), 15);
            assert_eq!(manifest["days"].as_object().expect("days").len(), 2);
        }
    });
}
