//! The rows of a chunk, day by day, in a form. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use lyceum_core::audit::entry::ReadLabels;
use lyceum_core::record::Record;
use lyceum_core::replay::FileFormat;
use lyceum_xapi::utc_time::UtcTime;

use crate::manifest::NO_DAY;
use crate::row::{Row, time_of};
use crate::{jsonl, parquet};

/// The rows of one day, written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// `2026-11-30`, in UTC; of records without a timestamp Hive's name of a value that is not there.
    pub day: String,
    /// How many.
    pub rows: u64,
    /// Of the first one.
    pub first_offset: i64,
    /// Of the last one.
    pub last_offset: i64,
    /// A whole file.
    pub bytes: Bytes,
}

struct Writing {
    rows: u64,
    first_offset: i64,
    last_offset: i64,
    form: Form,
}

enum Form {
    Jsonl(Vec<u8>),
    Parquet(Box<parquet::Writer>),
}

/// The files of these records, a day each, in the order of days; rows in the order of records.
///
/// # Errors
/// Of Parquet: what compresses has no memory.
pub fn encode(records: &[Record], labels: &dyn ReadLabels, format: FileFormat) -> std::io::Result<Vec<Rows>> {
    let mut days: BTreeMap<Option<i64>, Writing> = BTreeMap::new();
    for record in records {
        let day_starts_ms = time_of(record).map(|ms| UtcTime::from_millis(ms).day().start().as_millis());
        let offset = record.position.offset;
        let writing = days.entry(day_starts_ms).or_insert_with(|| Writing {
            rows: 0,
            first_offset: offset,
            last_offset: offset,
            form: match format {
                FileFormat::Jsonl => Form::Jsonl(Vec::new()),
                FileFormat::Parquet => Form::Parquet(Box::new(parquet::Writer::new())),
            },
        });
        let labels = labels.labels(record);
        let row = Row::of(record, &labels);
        match &mut writing.form {
            Form::Jsonl(lines) => jsonl::write(&row, lines),
            Form::Parquet(file) => file.add(&row),
        }
        writing.rows += 1;
        writing.last_offset = offset;
    }
    let finish = |(day_starts_ms, of): (Option<i64>, Writing)| {
        let bytes = match of.form {
            Form::Jsonl(lines) => lines,
            Form::Parquet(file) => file.finish()?,
        };
        let day = day_starts_ms.map_or_else(|| NO_DAY.to_owned(), |ms| UtcTime::from_millis(ms).day().to_string());
        let Writing { rows, first_offset, last_offset, .. } = of;
        Ok(Rows { day, rows, first_offset, last_offset, bytes: bytes.into() })
    };
    days.into_iter().map(finish).collect()
}
