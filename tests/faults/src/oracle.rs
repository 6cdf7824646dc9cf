//! What must come out: a plain fold over the log, which knows no batch, no transaction and no failure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use lyceum_core::ports::event_log::EventLog;
use lyceum_core::record::Record;
use lyceum_simulation::subject::{Folded, Of, Stateless, Subject};
use lyceum_statement::Statement;
use lyceum_survey::Survey;
use lyceum_training::Training;

/// Folds everything that the topics of every family hold: topic by topic, each partition in its order. The final state
/// does not depend on how topics and partitions interleave. What holds the same to the byte is folded once.
///
/// # Errors
/// The log's.
pub async fn fold(log: &Arc<dyn EventLog>) -> Result<Arc<Folded>> {
    static MADE: Mutex<BTreeMap<u64, Arc<Folded>>> = Mutex::new(BTreeMap::new());
    let catalog = Arc::new(lyceum_catalog::catalog());
    let subjects: [Box<dyn Subject>; 3] = [
        Box::new(Of::<Training>::new(catalog.clone())),
        Box::new(Of::<Survey>::new(catalog.clone())),
        Box::new(Of::<Stateless<Statement>>::new(catalog)),
    ];
    let mut logs = Vec::new();
    let mut digest = DefaultHasher::new();
    for subject in &subjects {
        let mut records = Vec::new();
        for topic in subject.subscription().topics() {
            records.extend(read(log, topic).await?);
        }
        for record in &records {
            (&record.position, record.timestamp_ms, &record.key, &record.value).hash(&mut digest);
        }
        logs.push(records);
    }
    let digest = digest.finish();
    let made = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folded) = made().get(&digest) {
        return Ok(folded.clone());
    }
    let mut all = Folded::default();
    for (subject, records) in subjects.iter().zip(logs) {
        let folded = subject.fold(&records, 0);
        all.states.extend(folded.states);
        all.documents.extend(folded.documents);
        all.letters.extend(folded.letters);
    }
    let all = Arc::new(all);
    made().insert(digest, all.clone());
    Ok(all)
}

/// Everything that a topic holds, partition by partition.
///
/// # Errors
/// The log's.
pub async fn read(log: &Arc<dyn EventLog>, topic: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for (partition, range) in (0..).zip(log.offsets(topic).await.with_context(|| format!("reading {topic}"))?) {
        let mut offset = range.start;
        while offset < range.end {
            let read = log.fetch(topic, partition, offset, 5_000, 4 * 1024 * 1024).await?;
            let last = read.last().with_context(|| format!("{topic}/{partition} ends before {}", range.end))?;
            offset = last.position.offset + 1;
            records.extend(read);
        }
    }
    Ok(records)
}
