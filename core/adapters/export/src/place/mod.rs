//! Where files are: a folder, or a bucket with a prefix. Names are paths from the place on, with `/` between their parts.

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::replay::SinkError;

pub(crate) mod bucket;
pub(crate) mod folder;

pub(crate) use bucket::S3;

/// What a sink asks of it.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// The names of all that is there, in no order; none where the place itself is not there yet.
    async fn list(&self) -> Result<Vec<String>, SinkError>;

    /// What is there under a name.
    async fn read(&self, name: &str) -> Result<Option<Bytes>, SinkError>;

    /// Writes all of it, or nothing that a reader would see; durable when it returns. What was there is replaced.
    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), SinkError>;

    /// Removes what is there of these.
    async fn remove(&self, names: &[String]) -> Result<(), SinkError>;

    /// Removes what a process had not finished when it died.
    async fn sweep(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether it could be written, as far as a look tells.
    async fn look(&self) -> Result<(), SinkError>;

    /// For a person, with the name of a file in it.
    fn show(&self, name: &str) -> String;
}

/// The place of that text.
pub(crate) fn open(text: &str, s3: &S3) -> Result<Box<dyn Place>, SinkError> {
    match text.strip_prefix("s3://") {
        Some(rest) => Ok(Box::new(bucket::Bucket::parse(rest, s3)?)),
        None if text.contains("://") => {
            Err(SinkError::Refused(format!("{text:?} is no place for files: name a folder, or s3://bucket/prefix")))
        }
        None => Ok(Box::new(folder::Folder::at(text))),
    }
}
