//! Every file in `events/on-failure` is a test: a record as AWS Lambda writes it to an on-failure destination, and beside
//! it what is read of it, in `<name>.expected.json`. A new file needs no code.

use std::fs;
use std::path::Path;

use lyceum_lambda_event::event::Entry;
use lyceum_lambda_event::on_failure::{Lost, LostRange, parse};
use serde::Deserialize;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expected {
    condition: String,
    invocations: Option<u32>,
    /// `topic/partition/offset`
    records: Vec<String>,
    /// The same, of entries that are no record.
    unreadable: Vec<String>,
    /// `topic/partition first-last`
    ranges: Vec<String>,
    /// Words of the refusal.
    error: Option<String>,
}

fn read(document: &[u8], expected: &Expected) -> Expected {
    let given_up = match parse(document) {
        Ok(given_up) => given_up,
        Err(error) => {
            let words = expected.error.clone().filter(|words| error.to_string().contains(words));
            return Expected { error: words.or(Some(error.to_string())), ..Expected::default() };
        }
    };
    let (mut records, mut unreadable, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
    match &given_up.lost {
        Lost::Entries(entries) => {
            for entry in entries {
                match entry {
                    Entry::Record(delivered) => records.push(delivered.record.position.to_string()),
                    Entry::Malformed(malformed) => unreadable.push(format!(
                        "{}/{}/{}",
                        malformed.topic,
                        malformed.partition.unwrap_or(-1),
                        malformed.offset.unwrap_or(-1)
                    )),
                }
            }
        }
        Lost::Ranges(lost) => {
            let told =
                |LostRange { topic, partition, first, last }: &LostRange| format!("{topic}/{partition} {first}-{last}");
            ranges = lost.iter().map(told).collect();
        }
    }
    let (condition, invocations) = (given_up.condition, given_up.invocations);
    Expected { condition, invocations, records, unreadable, ranges, error: None }
}

#[test]
fn every_on_failure_sample_is_read_as_the_file_beside_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/on-failure");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".expected.json") {
            continue;
        }
        let beside = path.with_extension("expected.json");
        let text = fs::read(&beside).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
        let expected: Expected = serde_json::from_slice(&text).unwrap();
        assert_eq!(read(&fs::read(&path).unwrap(), &expected), expected, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no samples in {}", folder.display());
}
