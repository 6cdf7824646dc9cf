//! The port of a replay to files, on a place.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use lyceum_core::audit::entry::ReadLabels;
use lyceum_core::audit::hash::Hash;
use lyceum_core::record::Record;
use lyceum_core::replay::sink::File;
use lyceum_core::replay::{Chunk, Sink, SinkError, Sinks};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::manifest::{DATA, MANIFEST, MARKER, Manifest, Marker, OfChunk, Written};
use crate::manifest::{chunk_name, chunk_number, data_name, is_ours};
use crate::place::{self, Place, S3};
use crate::rows::{Rows, encode};

/// So many small files are read at once.
const READS_AT_ONCE: usize = 16;

/// Files in folders and buckets.
#[derive(Clone)]
pub struct FileSinks {
    labels: Arc<dyn ReadLabels>,
    s3: S3,
}

/// The files of one request.
struct FileSink {
    place: Box<dyn Place>,
    of: Marker,
    labels: Arc<dyn ReadLabels>,
    written: Checkpoint,
}

/// Where a sink stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    /// So many chunks count.
    chunks: u64,
    /// So many rows they have, in so many files.
    rows: u64,
    files: u64,
    bytes: u64,
}

impl FileSinks {
    /// Rows say of a record what this one reads of it.
    pub fn new(labels: Arc<dyn ReadLabels>) -> Self {
        Self { labels, s3: S3::default() }
    }

    /// The same, with this client of S3 instead of one that the environment makes.
    #[must_use]
    pub fn with_s3(self, client: aws_sdk_s3::Client) -> Self {
        Self { s3: client.into(), ..self }
    }

    fn sink(&self, place: Box<dyn Place>, of: Marker, written: Checkpoint) -> Box<dyn Sink> {
        Box::new(FileSink { place, of, labels: Arc::clone(&self.labels), written })
    }
}

/// Whose files are at a place, and their names; refused where they are another request's or no replay's.
async fn look(place: &dyn Place, of: &Marker) -> Result<(Option<Marker>, Vec<String>), SinkError> {
    let names = place.list().await?;
    let strangers: Vec<&String> = names.iter().filter(|name| !is_ours(name)).collect();
    if let Some(first) = strangers.iter().min() {
        let (first, others) = (place.show(first), strangers.len() - 1);
        return Err(SinkError::Refused(format!(
            "{first} and {others} others are there, and no files of a replay: name a place where nothing is"
        )));
    }
    let Some(marker) = place.read(MARKER).await? else {
        // Whoever begins anew removes the marker last.
        return match names.iter().min() {
            None => Ok((None, names)),
            Some(first) => Err(SinkError::Refused(format!(
                "{} is there without {MARKER}, so that nobody can tell whose it is: name a place where nothing is",
                place.show(first)
            ))),
        };
    };
    let marker: Marker = serde_json::from_slice(&marker).map_err(|error| {
        SinkError::Refused(format!("{} cannot be read: {error}; name a place where nothing is", place.show(MARKER)))
    })?;
    if !marker.is_of(of) {
        let (there, schema) = (marker.request, marker.schema_version);
        return Err(SinkError::Refused(format!(
            "the files at {} are of another request ({there}, schema {schema}): name another place, or remove them",
            place.show("")
        )));
    }
    Ok((Some(marker), names))
}

/// What says that files count goes before them, so that nothing counts that is gone.
async fn remove(place: &dyn Place, names: Vec<String>) -> Result<(), SinkError> {
    let (counting, data): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| !name.starts_with(DATA));
    place.remove(&counting).await?;
    place.remove(&data).await
}

#[async_trait]
impl Sinks for FileSinks {
    async fn check(&self, file: &File) -> Result<(), SinkError> {
        let place = place::open(&file.place, &self.s3)?;
        place.look().await?;
        look(&*place, &Marker::of(file)).await.map(drop)
    }

    async fn begin(&self, file: &File) -> Result<Box<dyn Sink>, SinkError> {
        let (place, of) = (place::open(&file.place, &self.s3)?, Marker::of(file));
        place.sweep().await?;
        let (marker, mut names) = look(&*place, &of).await?;
        if marker.is_none() {
            place.write(MARKER, line(&of)).await?;
        }
        names.retain(|name| name != MARKER);
        remove(&*place, names).await?;
        Ok(self.sink(place, of, Checkpoint::default()))
    }

    async fn resume(&self, file: &File, checkpoint: &Value) -> Result<Box<dyn Sink>, SinkError> {
        let (place, of) = (place::open(&file.place, &self.s3)?, Marker::of(file));
        let written: Checkpoint = serde_json::from_value(checkpoint.clone()).map_err(|error| {
            SinkError::Refused(format!("{checkpoint} is no checkpoint of files: {error}; begin the replay anew"))
        })?;
        place.sweep().await?;
        let (marker, names) = look(&*place, &of).await?;
        let counted = names.iter().filter_map(|name| chunk_number(name)).filter(|number| *number < written.chunks);
        if marker.is_none() || counted.count() as u64 != written.chunks {
            return Err(SinkError::Refused(format!(
                "what was written before is not at {} any more: begin the replay anew, or bring it back",
                place.show("")
            )));
        }
        let behind: Vec<String> = names
            .into_iter()
            .filter(|name| name == MANIFEST || chunk_number(name).is_some_and(|number| number >= written.chunks))
            .collect();
        // Their files go when all is finished, unless they are written again.
        place.remove(&behind).await?;
        Ok(self.sink(place, of, written))
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn append(&mut self, chunk: &Chunk, records: &[Record]) -> Result<Value, SinkError> {
        let (labels, format, records) = (Arc::clone(&self.labels), self.of.format, records.to_vec());
        // A tenth of a second of work, during which others are answered.
        let encoded = tokio::task::spawn_blocking(move || encode(&records, &*labels, format)).await;
        let days = encoded.map_err(|error| SinkError::Unavailable(format!("the chunk was not written: {error}")))?;
        let days = days.map_err(|error| SinkError::Unavailable(format!("the chunk cannot be compressed: {error}")))?;
        let mut of_chunk = OfChunk {
            topic: chunk.topic.clone(),
            partition: chunk.partition,
            from: chunk.from,
            until: chunk.until,
            files: Vec::with_capacity(days.len()),
        };
        for Rows { day, rows, first_offset, last_offset, bytes } in days {
            let path = data_name(chunk, &day, format);
            of_chunk.files.push(Written {
                path: path.clone(),
                day,
                topic: chunk.topic.clone(),
                partition: chunk.partition,
                first_offset,
                last_offset,
                rows,
                bytes: bytes.len() as u64,
                sha256: Hash::of(&[&bytes]),
            });
            self.place.write(&path, bytes).await?;
        }
        self.place.write(&chunk_name(self.written.chunks), line(&of_chunk)).await?;
        let Checkpoint { chunks, rows, files, bytes } = self.written;
        self.written = Checkpoint {
            chunks: chunks + 1,
            rows: rows + of_chunk.files.iter().map(|file| file.rows).sum::<u64>(),
            files: files + of_chunk.files.len() as u64,
            bytes: bytes + of_chunk.files.iter().map(|file| file.bytes).sum::<u64>(),
        };
        Ok(json!(self.written))
    }

    async fn finish(&mut self) -> Result<Value, SinkError> {
        let place = &*self.place;
        let chunks = (0..self.written.chunks).map(|number| read_chunk(place, number));
        let chunks = futures::stream::iter(chunks).buffered(READS_AT_ONCE).try_collect::<Vec<OfChunk>>().await?;
        let manifest = Manifest::of(self.of.clone(), chunks);
        let there: HashSet<String> = place.list().await?.into_iter().filter(|name| name.starts_with(DATA)).collect();
        if let Some(gone) = manifest.files.iter().find(|file| !there.contains(&file.path)) {
            return Err(SinkError::Refused(format!(
                "{} was written and is not there any more: begin the replay anew, or bring it back",
                place.show(&gone.path)
            )));
        }
        let known: HashSet<&str> = manifest.files.iter().map(|file| &*file.path).collect();
        let left: Vec<String> = there.iter().filter(|name| !known.contains(&***name)).cloned().collect();
        place.remove(&left).await?;
        let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        text.push(b'\n');
        let sha256 = Hash::of(&[&text]);
        place.write(MANIFEST, text.into()).await?;
        Ok(json!({
            "manifest": place.show(MANIFEST),
            "manifest_sha256": sha256,
            "format": self.of.format,
            "files": manifest.files.len(),
            "rows": manifest.rows,
            "bytes": manifest.bytes,
            "days": {
                "first": manifest.days.keys().next(),
                "last": manifest.days.keys().next_back(),
                "count": manifest.days.len(),
            },
        }))
    }
}

async fn read_chunk(place: &dyn Place, number: u64) -> Result<OfChunk, SinkError> {
    let name = chunk_name(number);
    let lost = |why: String| {
        let shown = place.show(&name);
        SinkError::Refused(format!("{shown} {why}: begin the replay anew, or bring it back"))
    };
    let Some(bytes) = place.read(&name).await? else { return Err(lost("is not there any more".to_owned())) };
    serde_json::from_slice(&bytes).map_err(|error| lost(format!("cannot be read ({error})")))
}

/// As it stands in a file: what is written so has texts and numbers alone, so that writing cannot fail.
fn line(of: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(of).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
