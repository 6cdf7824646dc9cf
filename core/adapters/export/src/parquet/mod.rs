//! Rows as one Apache Parquet file: a row group, plain values in pages of about 1 MiB, compressed by zstd. Pure.
//!
//! The columns are flat and few, so that the whole of the format that they need is here: the crate `parquet` would add 1.7 MB to every
//! program that writes them, and other bytes with each of its releases. Its reader reads these files back in the tests.
//! Source: Apache Parquet, `parquet.thrift` and `Encodings.md` of format 2.

use std::ops::Range;

use crate::row::{COLUMNS, Cell, Column, Is, Row, WIDTH};
use thrift::Struct;

mod thrift;

/// At the beginning and the end of a file.
const MAGIC: &[u8; 4] = b"PAR1";
/// A page ends behind the value with which it has so many bytes.
const PAGE_BYTES: usize = 1 << 20;
/// zstd's own default: of events it leaves a tenth, at a speed at which they are still read slower.
const ZSTD_LEVEL: i32 = 3;
/// Readers tell by the form of this text whether to trust statistics: `NAME version VERSION`.
const CREATED_BY: &str = "lyceum version 1";

// Numbers of `parquet.thrift`.
const INT32: i32 = 1;
const INT64: i32 = 2;
const BYTE_ARRAY: i32 = 6;
const CONVERTED_UTF8: i32 = 0;
const CONVERTED_TIMESTAMP_MILLIS: i32 = 9;
const CODEC_ZSTD: i32 = 6;
const PLAIN: i32 = 0;
const RLE: i32 = 3;
const DATA_PAGE: i32 = 0;

/// A file that is being made.
pub(crate) struct Writer {
    columns: [Chunk; WIDTH],
    rows: usize,
}

/// The values of one column.
#[derive(Default)]
struct Chunk {
    pages: Vec<Page>,
    nulls: usize,
    /// Of numbers.
    least_and_most: Option<(i64, i64)>,
}

/// Some neighbouring values of a column.
#[derive(Default)]
struct Page {
    rows: usize,
    /// Which of them are there, as lengths of runs that begin with one of values and alternate.
    runs: Vec<u32>,
    /// Of those, one behind the other.
    values: Vec<u8>,
}

/// A column's bytes in the file.
struct Laid {
    at: Range<usize>,
    uncompressed: usize,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { columns: std::array::from_fn(|_| Chunk::default()), rows: 0 }
    }

    pub(crate) fn add(&mut self, row: &Row<'_>) {
        for (chunk, cell) in self.columns.iter_mut().zip(&row.0) {
            chunk.add(cell);
        }
        self.rows += 1;
    }

    /// The file.
    ///
    /// # Errors
    /// zstd's own, where it has no memory.
    pub(crate) fn finish(self) -> std::io::Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        let mut laid = Vec::with_capacity(COLUMNS.len());
        for (column, chunk) in COLUMNS.iter().zip(&self.columns) {
            let (from, mut uncompressed) = (out.len(), 0);
            for page in &chunk.pages {
                uncompressed += page.write(column, &mut zstd, &mut out)?;
            }
            laid.push(Laid { at: from..out.len(), uncompressed });
        }
        let from = out.len();
        thrift::write(&mut out, |file| self.describe(file, &laid));
        let length = (out.len() - from) as u32;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(MAGIC);
        Ok(out)
    }

    /// `FileMetaData`
    fn describe(&self, file: &mut Struct<'_>, laid: &[Laid]) {
        file.i32(1, 1);
        // The root, and what stands under it.
        let elements = std::iter::once(None).chain(COLUMNS.iter().map(Some)).collect::<Vec<_>>();
        file.list(2, thrift::Type::Struct, elements.into_iter(), |out, element| {
            thrift::write(out, |of| match element {
                None => {
                    of.binary(4, b"record");
                    of.i32(5, COLUMNS.len() as i32);
                }
                Some(column) => column.describe(of),
            });
        });
        file.i64(3, self.rows as i64);
        let groups = usize::from(self.rows > 0);
        file.list(4, thrift::Type::Struct, 0..groups, |out, _| {
            thrift::write(out, |group| self.describe_group(group, laid));
        });
        file.binary(6, CREATED_BY.as_bytes());
        // Least and most are to be compared as the types' own order has it.
        file.list(7, thrift::Type::Struct, COLUMNS.iter(), |out, _| {
            thrift::write(out, |order| order.structure(1, |_| {}));
        });
    }

    /// `RowGroup`
    fn describe_group(&self, group: &mut Struct<'_>, laid: &[Laid]) {
        let columns = COLUMNS.iter().zip(&self.columns).zip(laid).collect::<Vec<_>>();
        group.list(1, thrift::Type::Struct, columns.into_iter(), |out, ((column, chunk), laid)| {
            thrift::write(out, |of| {
                of.i64(2, 0);
                of.structure(3, |of| self.describe_chunk(of, column, chunk, laid));
            });
        });
        group.i64(2, laid.iter().map(|laid| laid.uncompressed as i64).sum());
        group.i64(3, self.rows as i64);
        group.i64(5, MAGIC.len() as i64);
        group.i64(6, laid.iter().map(|laid| laid.at.len() as i64).sum());
    }

    /// `ColumnMetaData`
    fn describe_chunk(&self, of: &mut Struct<'_>, column: &Column, chunk: &Chunk, laid: &Laid) {
        of.i32(1, column.is.physical());
        let encodings = [PLAIN, RLE];
        of.list(2, thrift::Type::I32, encodings.iter(), |out, encoding| thrift::integer(out, (*encoding).into()));
        let path = [column.name];
        of.list(3, thrift::Type::Binary, path.iter(), |out, name| thrift::binary(out, name.as_bytes()));
        of.i32(4, CODEC_ZSTD);
        of.i64(5, self.rows as i64);
        of.i64(6, laid.uncompressed as i64);
        of.i64(7, laid.at.len() as i64);
        of.i64(9, laid.at.start as i64);
        of.structure(12, |statistics| {
            statistics.i64(3, chunk.nulls as i64);
            if let Some((least, most)) = chunk.least_and_most {
                statistics.binary(5, &column.is.number(most));
                statistics.binary(6, &column.is.number(least));
            }
        });
    }
}

impl Column {
    /// `SchemaElement`
    fn describe(&self, of: &mut Struct<'_>) {
        of.i32(1, self.is.physical());
        of.i32(3, i32::from(!self.is_required));
        of.binary(4, self.name.as_bytes());
        match self.is {
            Is::Int | Is::Long => {}
            Is::Text => {
                of.i32(6, CONVERTED_UTF8);
                of.structure(10, |logical| logical.structure(1, |_| {}));
            }
            Is::Time => {
                of.i32(6, CONVERTED_TIMESTAMP_MILLIS);
                of.structure(10, |logical| {
                    logical.structure(8, |time| {
                        // UTC, in milliseconds.
                        time.bool(1, true);
                        time.structure(2, |unit| unit.structure(1, |_| {}));
                    });
                });
            }
        }
    }
}

impl Is {
    fn physical(self) -> i32 {
        match self {
            Self::Int => INT32,
            Self::Long | Self::Time => INT64,
            Self::Text => BYTE_ARRAY,
        }
    }

    /// A number as it stands in a column.
    fn number(self, number: i64) -> Vec<u8> {
        match self {
            Self::Int => (number as i32).to_le_bytes().to_vec(),
            Self::Long | Self::Time | Self::Text => number.to_le_bytes().to_vec(),
        }
    }
}

impl Chunk {
    fn add(&mut self, cell: &Cell<'_>) {
        if self.pages.last().is_none_or(|page| page.values.len() >= PAGE_BYTES) {
            self.pages.push(Page::default());
        }
        let Some(page) = self.pages.last_mut() else { return };
        let mut number = None;
        match cell {
            Cell::Null => self.nulls += 1,
            Cell::Int(value) => {
                page.values.extend_from_slice(&value.to_le_bytes());
                number = Some(i64::from(*value));
            }
            Cell::Long(value) | Cell::Time(value) => {
                page.values.extend_from_slice(&value.to_le_bytes());
                number = Some(*value);
            }
            Cell::Text(text) => {
                page.values.extend_from_slice(&(text.len() as u32).to_le_bytes());
                page.values.extend_from_slice(text.as_bytes());
            }
        }
        page.count(!matches!(cell, Cell::Null));
        if let Some(number) = number {
            let (least, most) = self.least_and_most.unwrap_or((number, number));
            self.least_and_most = Some((least.min(number), most.max(number)));
        }
    }
}

impl Page {
    fn count(&mut self, is_there: bool) {
        self.rows += 1;
        // Runs of values have even places.
        if self.runs.is_empty() {
            self.runs.push(0);
        }
        if self.runs.len().is_multiple_of(2) == is_there {
            self.runs.push(0);
        }
        if let Some(run) = self.runs.last_mut() {
            *run += 1;
        }
    }

    /// Behind what is there; how many bytes it would have without compression, its header included.
    fn write(
        &self,
        column: &Column,
        zstd: &mut zstd::bulk::Compressor<'_>,
        out: &mut Vec<u8>,
    ) -> std::io::Result<usize> {
        let levels = if column.is_required { Vec::new() } else { self.levels() };
        let body: std::borrow::Cow<'_, [u8]> =
            if levels.is_empty() { (&*self.values).into() } else { [&*levels, &*self.values].concat().into() };
        let compressed = zstd.compress(&body)?;
        let header_at = out.len();
        thrift::write(out, |header| {
            header.i32(1, DATA_PAGE);
            header.i32(2, body.len() as i32);
            header.i32(3, compressed.len() as i32);
            header.i32(4, crc32fast::hash(&compressed) as i32);
            header.structure(5, |page| {
                page.i32(1, self.rows as i32);
                page.i32(2, PLAIN);
                page.i32(3, RLE);
                page.i32(4, RLE);
            });
        });
        let uncompressed = out.len() - header_at + body.len();
        out.extend_from_slice(&compressed);
        Ok(uncompressed)
    }

    /// Definition levels: their bytes' number, and runs of one bit each.
    fn levels(&self) -> Vec<u8> {
        let mut levels = vec![0; 4];
        for (place, run) in self.runs.iter().enumerate().filter(|(_, run)| **run > 0) {
            thrift::varint(&mut levels, u64::from(*run) << 1);
            levels.push(u8::from(place % 2 == 0));
        }
        let length = (levels.len() - 4) as u32;
        levels[..4].copy_from_slice(&length.to_le_bytes());
        levels
    }
}
