//! What is said of the files: of a chunk's, by which a run goes on, and of all of them, for whoever reads them. Pure.

use std::collections::BTreeMap;

use lyceum_core::audit::hash::Hash;
use lyceum_core::replay::sink::File;
use lyceum_core::replay::{Chunk, FileFormat};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::row::{COLUMNS, Is, SCHEMA_VERSION};

/// The name of what says of the whole.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The name of what says whose files these are: it is written first.
pub(crate) const MARKER: &str = "_request.json";
/// Where the files with rows are: a folder of its own, so that a reader of all of it meets nothing else.
pub(crate) const DATA: &str = "data/day=";
/// Where it is said of each chunk which files it has. Readers of tables overlook what begins with an underscore.
const CHUNKS: &str = "_chunks/";
/// The day of records without a timestamp, as readers of partitioned tables call a value that is not there.
pub(crate) const NO_DAY: &str = "__HIVE_DEFAULT_PARTITION__";

/// Whose files these are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) schema_version: u32,
    pub(crate) format: FileFormat,
    pub(crate) request: Uuid,
    /// What the request asks for; a release before it was written left it out.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) records: Value,
}

impl Marker {
    pub(crate) fn of(file: &File) -> Self {
        let File { format, request, .. } = *file;
        Self { schema_version: SCHEMA_VERSION, format, request, records: file.records.clone() }
    }

    /// Whether both are of the same files: the id says which records these are.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        (self.schema_version, self.format, self.request) == (other.schema_version, other.format, other.request)
    }
}

/// A file with rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// From the place on.
    pub(crate) path: String,
    pub(crate) day: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
}

/// What became of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OfChunk {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) files: Vec<Written>,
}

/// The name of what is said of the chunk of that number, from 0.
pub(crate) fn chunk_name(number: u64) -> String {
    format!("{CHUNKS}{number:010}.json")
}

/// The number of the chunk that such a name is of.
pub(crate) fn chunk_number(name: &str) -> Option<u64> {
    name.strip_prefix(CHUNKS)?.strip_suffix(".json")?.parse().ok()
}

/// The name of a chunk's file with the rows of one day: by it a chunk that is written again replaces itself.
pub(crate) fn data_name(chunk: &Chunk, day: &str, format: FileFormat) -> String {
    let Chunk { topic, partition, from, until } = chunk;
    let ending = ending(format);
    format!("{DATA}{day}/{topic}/{partition}-{from:012}-{until:012}.{ending}")
}

fn ending(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Jsonl => "jsonl",
        FileFormat::Parquet => "parquet",
    }
}

/// Whether a replay makes files of such a name.
pub(crate) fn is_ours(name: &str) -> bool {
    let is_data = || {
        let of_day = name.strip_prefix(DATA).is_some_and(|rest| rest.matches('/').count() == 2);
        of_day && [FileFormat::Jsonl, FileFormat::Parquet].iter().any(|of| name.ends_with(&format!(".{}", ending(*of))))
    };
    matches!(name, MANIFEST | MARKER) || chunk_number(name).is_some() || is_data()
}

/// A column, as the manifest has it.
#[derive(Serialize)]
struct ShownColumn {
    name: &'static str,
    #[serde(rename = "type")]
    is: &'static str,
    nullable: bool,
    about: &'static str,
}

/// What was read of a partition.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct OfPartition {
    topic: String,
    partition: i32,
    /// From the first of each up to before the second.
    offsets: Vec<(i64, i64)>,
    rows: u64,
}

/// What is said of the whole. The same for the same request: it has no time and no place of its own.
#[derive(Serialize)]
pub(crate) struct Manifest {
    #[serde(flatten)]
    of: Marker,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) days: BTreeMap<String, u64>,
    partitions: Vec<OfPartition>,
    columns: Vec<ShownColumn>,
    pub(crate) files: Vec<Written>,
}

impl Manifest {
    pub(crate) fn of(of: Marker, chunks: Vec<OfChunk>) -> Self {
        let (mut rows, mut bytes, mut days) = (0, 0, BTreeMap::<String, u64>::new());
        let mut partitions: BTreeMap<(String, i32), OfPartition> = BTreeMap::new();
        let mut files = Vec::new();
        for chunk in chunks {
            let name = (chunk.topic.clone(), chunk.partition);
            let partition = partitions.entry(name).or_insert_with(|| OfPartition {
                topic: chunk.topic,
                partition: chunk.partition,
                ..OfPartition::default()
            });
            match partition.offsets.last_mut() {
                Some((_, until)) if *until == chunk.from => *until = chunk.until,
                _ => partition.offsets.push((chunk.from, chunk.until)),
            }
            for file in chunk.files {
                rows += file.rows;
                bytes += file.bytes;
                partition.rows += file.rows;
                *days.entry(file.day.clone()).or_default() += file.rows;
                files.push(file);
            }
        }
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        let columns = COLUMNS.iter().map(|of| ShownColumn {
            name: of.name,
            is: match of.is {
                Is::Int => "int32",
                Is::Long => "int64",
                Is::Time => "timestamp-milliseconds-utc",
                Is::Text => "text",
            },
            nullable: !of.is_required,
            about: of.about,
        });
        let (partitions, columns) = (partitions.into_values().collect(), columns.collect());
        Self { of, rows, bytes, days, partitions, columns, files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(topic: &str, from: i64, until: i64) -> Chunk {
        Chunk { topic: topic.to_owned(), partition: 3, from, until }
    }

    #[test]
    fn every_name_that_is_made_is_known_again_and_no_other_is() {
        let data = data_name(&chunk("nlj.xapi.statements", 0, 5_000), "2026-11-30", FileFormat::Parquet);
        assert_eq!(data, "data/day=2026-11-30/nlj.xapi.statements/3-000000000000-000000005000.parquet");
        assert_eq!(chunk_number(&chunk_name(7)), Some(7));
        let odd = data_name(&chunk("t", 0, 1), NO_DAY, FileFormat::Jsonl);
        for ours in [MANIFEST, MARKER, &chunk_name(u64::MAX), &data, &odd] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "thesis.doc",
            "data/a.parquet",
            "data/day=1/a.parquet",
            "data/day=1/t/a.csv",
            "_chunks/a.json",
            "x/manifest.json",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_manifest_sums_its_chunks_and_joins_neighbouring_offsets() {
        let written = |path: &str, day: &str, rows: u64| Written {
            path: path.to_owned(),
            day: day.to_owned(),
            topic: "t".to_owned(),
            partition: 0,
            first_offset: 0,
            last_offset: 0,
            rows,
            bytes: 10 * rows,
            sha256: Hash([0; 32]),
        };
        let of_chunk = |from: i64, until: i64, files: Vec<Written>| OfChunk {
            topic: "t".to_owned(),
            partition: 0,
            from,
            until,
            files,
        };
        let marker =
            Marker { schema_version: 1, format: FileFormat::Jsonl, request: Uuid::nil(), records: Value::Null };
        let chunks = vec![
            of_chunk(0, 5, vec![written("b", "2026-11-30", 2), written("a", "2026-11-29", 1)]),
            of_chunk(5, 9, vec![]),
            of_chunk(20, 21, vec![written("c", "2026-11-30", 1)]),
        ];
        let manifest = Manifest::of(marker, chunks);
        assert_eq!((manifest.rows, manifest.bytes), (4, 40));
        assert_eq!(
            manifest.days.into_iter().collect::<Vec<_>>(),
            [("2026-11-29".to_owned(), 1), ("2026-11-30".to_owned(), 3)]
        );
        let partition = OfPartition { topic: "t".to_owned(), partition: 0, offsets: vec![(0, 9), (20, 21)], rows: 4 };
        assert_eq!(manifest.partitions, [partition]);
        assert_eq!(manifest.files.iter().map(|file| &*file.path).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
