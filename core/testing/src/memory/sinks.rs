//! Files in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lyceum_core::record::{Position, Record};
use lyceum_core::replay::sink::File;
use lyceum_core::replay::{Chunk, Sink, SinkError, Sinks};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

/// Places that only this process knows.
#[derive(Clone, Default)]
pub struct MemorySinks {
    places: Arc<Mutex<BTreeMap<String, Place>>>,
}

#[derive(Clone)]
struct Place {
    request: Uuid,
    /// Those of each chunk that was appended.
    chunks: Vec<Vec<Record>>,
}

impl MemorySinks {
    /// The records at a place, in the order in which they were appended.
    pub fn records(&self, place: &str) -> Vec<Record> {
        self.places.lock().get(place).map(|of| of.chunks.concat()).unwrap_or_default()
    }

    /// Their positions.
    pub fn positions(&self, place: &str) -> Vec<Position> {
        self.records(place).into_iter().map(|record| record.position).collect()
    }

    fn look(&self, file: &File) -> Result<Option<Place>, SinkError> {
        match self.places.lock().get(&file.place) {
            Some(of) if of.request != file.request => Err(SinkError::Refused(format!(
                "the files at {} are of another request: name another place",
                file.place
            ))),
            there => Ok(there.cloned()),
        }
    }

    fn sink(&self, file: &File, chunks: Vec<Vec<Record>>) -> Box<dyn Sink> {
        self.places.lock().insert(file.place.clone(), Place { request: file.request, chunks });
        Box::new(MemorySink { places: Arc::clone(&self.places), place: file.place.clone() })
    }
}

struct MemorySink {
    places: Arc<Mutex<BTreeMap<String, Place>>>,
    place: String,
}

#[async_trait]
impl Sinks for MemorySinks {
    async fn check(&self, file: &File) -> Result<(), SinkError> {
        self.look(file).map(drop)
    }

    async fn begin(&self, file: &File) -> Result<Box<dyn Sink>, SinkError> {
        self.look(file)?;
        Ok(self.sink(file, Vec::new()))
    }

    async fn resume(&self, file: &File, checkpoint: &Value) -> Result<Box<dyn Sink>, SinkError> {
        let gone = || SinkError::Refused("what was written before is not there any more: begin anew".to_owned());
        let (Some(of), Some(chunks)) = (self.look(file)?, checkpoint["chunks"].as_u64()) else { return Err(gone()) };
        let counted = of.chunks.get(..usize::try_from(chunks).unwrap_or(usize::MAX)).ok_or_else(gone)?;
        Ok(self.sink(file, counted.to_vec()))
    }
}

impl MemorySink {
    fn with<T>(&self, then: impl FnOnce(&mut Place) -> T) -> Result<T, SinkError> {
        let gone = || SinkError::Refused(format!("{} is not there any more", self.place));
        self.places.lock().get_mut(&self.place).map(then).ok_or_else(gone)
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn append(&mut self, _: &Chunk, records: &[Record]) -> Result<Value, SinkError> {
        self.with(|of| {
            of.chunks.push(records.to_vec());
            json!({"chunks": of.chunks.len()})
        })
    }

    async fn finish(&mut self) -> Result<Value, SinkError> {
        self.with(|of| json!({"rows": of.chunks.iter().map(Vec::len).sum::<usize>()}))
    }
}
