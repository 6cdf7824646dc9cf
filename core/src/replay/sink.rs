//! Where records go that become files: a port, since files and objects are the affair of an adapter.

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::reading::Chunk;
use super::request::FileFormat;
use crate::record::Record;

/// Which file, or set of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// A folder, or `s3://bucket/prefix`.
    pub place: String,
    /// How records stand in it.
    pub format: FileFormat,
    /// The request that it is of: the same request makes the same bytes.
    pub request: Uuid,
    /// What that request asks for ([`Request::records`](super::Request::records)), for whoever finds the files.
    pub records: Value,
}

/// Why a sink did not take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The same call may succeed later: the store is unavailable, the disk is full.
    #[error("{0}")]
    Unavailable(String),
    /// A person has to act: the place cannot be written, or holds something else.
    #[error("{0}")]
    Refused(String),
}

impl SinkError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Files that are being written, by one run. Chunks come in the order of the plan, each offset once; a chunk may have no record.
#[async_trait]
pub trait Sink: Send {
    /// Appends the records of a chunk, durable when it returns, and says where the sink stands now: at most 64 KiB of JSON, by which
    /// [`Sinks::resume`] goes on. A chunk is appended again where a process died before it had kept that: whatever was
    /// appended behind the checkpoint that it kept is dropped then.
    ///
    /// # Errors
    /// Nothing of the chunk counts; the same call may be made again where the error is transient.
    async fn append(&mut self, chunk: &Chunk, records: &[Record]) -> Result<Value, SinkError>;

    /// All is appended. Says of the whole what a person wants to know: files, counts, hashes. It may be asked again after a resume from
    /// the last checkpoint, and says the same.
    ///
    /// # Errors
    /// As above.
    async fn finish(&mut self) -> Result<Value, SinkError>;
}

/// Begins files, and goes on with them.
#[async_trait]
pub trait Sinks: Send + Sync {
    /// Whether it could be written, without writing anything: by it a dry run and the door of a request say what is wrong.
    ///
    /// # Errors
    /// What is wrong with the place or the format.
    async fn check(&self, file: &File) -> Result<(), SinkError>;

    /// Begins anew. What an earlier run of the same request left there is replaced.
    ///
    /// # Errors
    /// The place cannot be written, or holds what is of another request.
    async fn begin(&self, file: &File) -> Result<Box<dyn Sink>, SinkError>;

    /// Goes on at a checkpoint that [`Sink::append`] gave: what was appended behind it is dropped.
    ///
    /// # Errors
    /// As above, and what the checkpoint names is there no more.
    async fn resume(&self, file: &File, checkpoint: &Value) -> Result<Box<dyn Sink>, SinkError>;
}
