//! The handler that every function runs: the JSON of a batch in, the failed records out.

use std::sync::Arc;

use super::event::{self, Entry, InvalidEvent, SchemaMetadata};
use super::response::{BatchResponse, ItemIdentifier};
use lyceum_core::formats::avro::MAPPING_HEADER;
use lyceum_core::outcome::{Outcome, Report};
use lyceum_core::process::{Delivery, Subscriber};
use lyceum_core::record::{Header, NO_TIMESTAMP, Position};

/// Why an invocation failed as a whole: the batch is redelivered.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The payload is no Kafka batch.
    #[error(transparent)]
    InvalidEvent(#[from] InvalidEvent),
    /// A malformed entry without an offset could not be dead-lettered, and the answer cannot name it.
    #[error("an entry of {partition} without an offset could not be dead-lettered: {reason}")]
    Unnameable {
        /// The batch's name of the partition.
        partition: String,
        /// What failed.
        reason: String,
    },
    /// Not every entry has a report: which one is missing is not known, so all of them are redelivered.
    #[error("{reports} reports for a batch of {entries} entries; report it, with the log of this batch")]
    Unreported {
        /// How many entries there are.
        entries: usize,
        /// How many reports there are.
        reports: usize,
    },
}

impl HandlerError {
    /// Whether the same payload may succeed later.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::InvalidEvent(_))
    }
}

/// What an invocation came to.
#[derive(Debug)]
pub struct Handled {
    /// What Lambda is told.
    pub answer: Result<BatchResponse, HandlerError>,
    /// Every entry of the batch, in its order; none of a payload that is no batch.
    pub entries: Vec<Ended>,
}

/// An entry of the batch, and whether it is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The batch's name of its partition.
    pub partition: Arc<str>,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its offset, where it is known.
    pub offset: Option<i64>,
    /// Its record's time in milliseconds since 1970 UTC, where it has one.
    pub timestamp_ms: Option<i64>,
    /// Whether it does not come again.
    pub is_settled: bool,
}

impl Ended {
    /// An entry that nothing is done about yet.
    fn of(entry: &Entry) -> Self {
        let (topic, timestamp_ms) = match entry {
            Entry::Record(delivered) => (&delivered.record.position.topic, delivered.record.timestamp_ms),
            Entry::Malformed(malformed) => (&malformed.topic, NO_TIMESTAMP),
        };
        Self {
            partition: entry.batch_identifier().clone(),
            topic: topic.clone(),
            offset: entry.offset(),
            timestamp_ms: (timestamp_ms != NO_TIMESTAMP).then_some(timestamp_ms),
            is_settled: false,
        }
    }
}

/// Processes an invocation's payload until `deadline_ms` (milliseconds since 1970 UTC), and answers it.
///
/// # Errors
/// The batch is redelivered as a whole.
pub async fn handle(
    subscriber: &dyn Subscriber,
    payload: &[u8],
    deadline_ms: i64,
) -> Result<BatchResponse, HandlerError> {
    process(subscriber, payload, deadline_ms).await.answer
}

/// The same, with what became of each entry of the batch.
pub async fn process(subscriber: &dyn Subscriber, payload: &[u8], deadline_ms: i64) -> Handled {
    let batch = match event::parse(payload) {
        Ok(batch) => batch,
        Err(error) => return Handled { answer: Err(error.into()), entries: Vec::new() },
    };
    let invocation = subscriber.invocation(deadline_ms);
    let mut entries = Vec::with_capacity(batch.entries.len());
    let mut deliveries = Vec::with_capacity(batch.entries.len());
    for entry in batch.entries {
        entries.push(Ended::of(&entry));
        deliveries.push(delivery(entry, invocation.now_ms()));
    }
    let reports = subscriber.process(&deliveries, &invocation).await;
    let answer = answer(&mut entries, reports);
    Handled { answer, entries }
}

/// The entries of the batch that are redelivered, by their names there; the others are marked as settled.
fn answer(entries: &mut [Ended], reports: Vec<Report>) -> Result<BatchResponse, HandlerError> {
    if entries.len() != reports.len() {
        return Err(HandlerError::Unreported { entries: entries.len(), reports: reports.len() });
    }
    let (mut failed, mut unnameable) = (Vec::new(), None);
    for (entry, report) in entries.iter_mut().zip(reports) {
        let Outcome::RetryLater { reason } = report.outcome else {
            entry.is_settled = true;
            continue;
        };
        let partition = entry.partition.to_string();
        match entry.offset {
            Some(offset) => failed.push(ItemIdentifier { partition, offset }),
            None => {
                unnameable.get_or_insert(HandlerError::Unnameable { partition, reason: reason.into_owned() });
            }
        }
    }
    unnameable.map_or_else(|| Ok(BatchResponse::failing(failed)), Err)
}

/// The entry as it is processed; a record without a timestamp gets this moment's.
fn delivery(entry: Entry, now_ms: i64) -> Delivery {
    match entry {
        Entry::Record(delivered) => {
            let mut record = delivered.record;
            let is_avro = |of: &SchemaMetadata| {
                of.data_format.as_deref().is_some_and(|format| format.eq_ignore_ascii_case("AVRO"))
            };
            if let Some(schema) = delivered.value_schema.filter(is_avro).and_then(|of| of.schema_id) {
                // A mapping took the registry's own bytes away: of two words on the schema its own is the newer one.
                record.headers.retain(|header| header.name != MAPPING_HEADER);
                record.headers.push(Header::new(MAPPING_HEADER, schema));
            }
            if record.timestamp_ms == NO_TIMESTAMP {
                record.timestamp_ms = now_ms;
            }
            Delivery::Record(record)
        }
        Entry::Malformed(malformed) => Delivery::Malformed {
            position: Position::new(malformed.topic, malformed.partition.unwrap_or(0), malformed.offset.unwrap_or(-1)),
            raw: malformed.raw,
            reason: malformed.reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(count: i64) -> Vec<Report> {
        (0..count).map(|offset| Report::of(Position::new("t", 0, offset), "any")).collect()
    }

    fn entries(count: i64) -> Vec<Ended> {
        let of = |offset| Ended {
            partition: "t-0".into(),
            topic: "t".into(),
            offset: Some(offset),
            timestamp_ms: None,
            is_settled: false,
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn the_mappings_word_on_an_avro_schema_travels_with_the_record_and_replaces_an_older_one() {
        let headers = |metadata: serde_json::Value| {
            let header = serde_json::json!([{MAPPING_HEADER: b"1".as_slice()}, {"other": b"x".as_slice()}]);
            let record = serde_json::json!({"offset": 0, "headers": header, "valueSchemaMetadata": metadata});
            let event = serde_json::json!({"records": {"t-0": [record]}}).to_string();
            match delivery(event::parse(event.as_bytes()).unwrap().entries.remove(0), 0) {
                Delivery::Record(record) => record.headers,
                Delivery::Malformed { reason, .. } => panic!("{reason}"),
            }
        };
        let (older, other) = (Header::new(MAPPING_HEADER, "1"), Header::new("other", "x"));
        let newer = Header::new(MAPPING_HEADER, "7");
        assert_eq!(headers(serde_json::json!({"dataFormat": "AVRO", "schemaId": "7"})), [other.clone(), newer]);
        for without in [
            serde_json::json!(null),
            serde_json::json!({"dataFormat": "JSON", "schemaId": "7"}),
            serde_json::json!({"dataFormat": "AVRO"}),
        ] {
            assert_eq!(headers(without), [older.clone(), other.clone()], "a replayed letter keeps its own");
        }
    }

    #[test]
    fn an_entry_without_a_report_fails_the_batch_and_nothing_of_it_is_settled() {
        for (number, reported) in [(2, 1), (1, 2), (1, 0)] {
            let mut entries = entries(number);
            let answer = answer(&mut entries, reports(reported));
            assert!(matches!(answer, Err(HandlerError::Unreported { .. })), "{number} {reported}: {answer:?}");
            assert!(entries.iter().all(|entry| !entry.is_settled));
        }
    }

    #[test]
    fn what_nothing_was_decided_about_comes_again_and_the_rest_is_settled() {
        let (mut entries, mut reports) = (entries(3), reports(3));
        reports[1].outcome = Outcome::Applied;
        let answer = answer(&mut entries, reports).unwrap();
        let offsets: Vec<i64> =
            answer.batch_item_failures.iter().map(|failure| failure.item_identifier.offset).collect();
        assert_eq!(offsets, [0, 2]);
        assert_eq!(entries.iter().map(|entry| entry.is_settled).collect::<Vec<_>>(), [false, true, false]);
    }
}
