//! What tests have in hand: labels, and what is in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lyceum_core::audit::entry::{Kind, Labels, ReadLabels};
use lyceum_core::record::{Position, Record};
use lyceum_export::FileSinks;
use serde_json::Value;
use uuid::Uuid;

/// Says of each record what can be said without a family: a value with `SECRET` in it has one.
pub(crate) struct ByPosition;

impl ReadLabels for ByPosition {
    fn labels(&self, record: &Record) -> Labels {
        let value = record.value.as_deref();
        let kind = if value.is_some() { Kind::Event } else { Kind::Tombstone };
        Labels {
            kind,
            event_type: "statement",
            family: "statement".into(),
            event_id: value.map(|_| Uuid::from_u128(record.position.offset as u128)),
            tenant: (record.position.partition != 1).then(|| "acme".into()),
            correlation_id: None,
            letter: None,
            holds_secret: value.is_some_and(|value| value.windows(6).any(|part| part == b"SECRET")),
        }
    }
}

pub(crate) fn sinks() -> FileSinks {
    FileSinks::new(Arc::new(ByPosition))
}

/// Every file of a folder, hidden ones too.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("it is below").display().to_string();
                found.insert(name, fs::read(&path).expect("it is read"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// The positions of the rows of a file, by its name.
pub(crate) fn positions(name: &str, bytes: &[u8]) -> Vec<Position> {
    if name.ends_with(".parquet") {
        return crate::parquet::read(bytes).iter().map(crate::parquet::position).collect();
    }
    let lines = std::str::from_utf8(bytes).expect("it is text").lines();
    let position = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a row is JSON");
        let topic = row["topic"].as_str().expect("a topic");
        let partition = row["partition"].as_i64().expect("a partition") as i32;
        Position::new(topic, partition, row["offset"].as_i64().expect("an offset"))
    };
    lines.map(position).collect()
}

pub(crate) fn is_data(name: &str) -> bool {
    name.contains("data/day=")
}
