//! Training data: what a replay to a file writes. Rows as lines of JSON or as Apache Parquet, partitioned by the UTC day of their records,
//! in a folder or under a prefix of S3, with a manifest. The same request makes the same bytes.
//!
//! ```text
//! _request.json                                     whose files these are; written first
//! data/day=2026-11-30/TOPIC/PARTITION-FROM-UNTIL.jsonl   the rows of a chunk and a day
//! _chunks/0000000000.json                           which files a chunk has; written behind them, it makes them count
//! manifest.json                                     all files with rows, bytes and SHA-256; offsets; columns; written last
//! ```
//!
//! A file's name is a function of the chunk and the day, and its bytes of their records: a chunk that is written again, after whatever
//! death, replaces itself. A chunk is in memory as a whole, and nothing else is.

mod jsonl;
mod manifest;
mod parquet;
mod place;
mod row;
mod rows;
mod sink;

pub use rows::{Rows, encode};
pub use sink::FileSinks;
