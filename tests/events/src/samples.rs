//! The files of `events/`, found when the tests run: a new file needs no code. `events/README.md` says how they are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::{Header, Position, Record};
use lyceum_functions::{Look, REGISTRY};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::world::BEGINNING_MS;

/// A sample event and what is expected of it.
#[derive(Debug)]
pub struct Sample {
    /// Relative to `events/`.
    pub path: String,
    /// The family, its folder's name.
    pub family: &'static str,
    /// The name without `.json`, by which another sample's `after` means it.
    pub name: String,
    /// As it is delivered.
    pub record: Record,
    /// From the file beside it; empty where there is none.
    pub expected: Expected,
}

/// `<name>.expected.json` beside a sample.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// Valid samples of the family that are delivered before, in this order.
    pub after: Vec<String>,
    /// What the dead letter is called; absent for a sample that is applied.
    pub kind: Option<DeadLetterKind>,
    /// Every finding, in any order.
    pub findings: Vec<ExpectedFinding>,
    /// Whether the letter is over the log's limit, and so goes without the value.
    pub value_omitted: bool,
    /// Texts that the findings' messages contain.
    pub says: Vec<String>,
    /// The anomalies' names.
    pub anomalies: Vec<String>,
    /// The event's id.
    pub event_id: Option<uuid::Uuid>,
    /// The event's correlation id.
    pub correlation_id: Option<String>,
    /// What a person is then shown.
    pub shows: Vec<Shown>,
    /// Fields of the stored document by their names in the index; null is a field without a value.
    pub stored: Map<String, Value>,
}

/// A finding without its text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct ExpectedFinding {
    /// The rule's id.
    pub rule: String,
    /// JSON pointer into the record's value.
    pub pointer: String,
}

/// An aggregate as it is shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Whose; by default that of a record that names none.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// `program` …
    pub kind: String,
    /// The sender's id.
    pub id: String,
    /// Fields of the view; it may have more.
    pub holds: Map<String, Value>,
}

fn default_tenant() -> String {
    EnvelopeConfig::default().default_tenant.to_string()
}

/// The content of a `*.record.json`: one of `value`, `base64` and neither, which is a tombstone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordFile<'a> {
    topic: String,
    #[serde(default)]
    partition: i32,
    #[serde(default)]
    offset: i64,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<HeaderValue>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    base64: Option<String>,
    #[serde(default)]
    padded_to_bytes: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderValue {
    Text(String),
    Repeated { text: String, times: usize },
}

/// The folder `events/`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

/// The samples of a family's `valid` or `invalid` folder, by name.
pub fn samples(family: &'static str, folder: &str) -> Vec<Sample> {
    let look = Look::new(EnvelopeConfig::default());
    let files = json_files(&root().join(family).join(folder));
    files.into_iter().map(|file| read_sample(&look, family, &file)).collect()
}

/// The files of a folder that are no expectations, by name; empty where there is no folder.
pub fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        entries => entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display())),
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.retain(|file| {
        let name = file.to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".expected.json")
    });
    files.sort();
    files
}

/// What stands beside a file; `None` where nothing does.
pub fn read_expected<T: for<'de> Deserialize<'de>>(file: &Path) -> Option<T> {
    let beside = file.with_extension("expected.json");
    let bytes = fs::read(&beside).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", beside.display())))
}

fn read_sample(look: &Look, family: &'static str, file: &Path) -> Sample {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let record = if name.ends_with(".record") {
        read_record(&bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    } else {
        plain_record(look, family, bytes.into())
    };
    let path = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    Sample { path, family, name, record, expected: read_expected(file).unwrap_or_default() }
}

/// A plain file goes to the topic of what it is recognised as, else to its family's first one.
fn plain_record(look: &Look, family: &str, value: Bytes) -> Record {
    let spec = REGISTRY.iter().map(|entry| entry.spec).find(|spec| spec.name == family).expect("a family's folder");
    let mut record = Record {
        position: Position::new(spec.topics[0].name, 0, 0),
        timestamp_ms: BEGINNING_MS,
        key: None,
        value: Some(value),
        headers: Vec::new(),
    };
    if let Some(seen) = look.at(&record).event() {
        record.position = Position::new(seen.known.topic, 0, 0);
    }
    record
}

fn read_record(file: &[u8]) -> serde_json::Result<Record> {
    let RecordFile { topic, partition, offset, key, headers, value, base64, padded_to_bytes } =
        serde_json::from_slice(file)?;
    let mut value = value.map(|raw| raw.get().as_bytes().to_vec());
    if let Some(text) = base64 {
        value = Some(BASE64.decode(text).map_err(serde::de::Error::custom)?);
    }
    if let Some(value) = value.as_mut().filter(|value| value.len() < padded_to_bytes) {
        value.resize(padded_to_bytes, b' ');
    }
    let header = |(name, value): (String, Option<HeaderValue>)| Header {
        name,
        value: value.map(|value| match value {
            HeaderValue::Text(text) => text.into(),
            HeaderValue::Repeated { text, times } => text.repeat(times).into(),
        }),
    };
    Ok(Record {
        position: Position::new(topic, partition, offset),
        timestamp_ms: BEGINNING_MS,
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: headers.into_iter().map(header).collect(),
    })
}
