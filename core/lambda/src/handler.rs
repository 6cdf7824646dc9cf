//! The handler that every function runs: the JSON of a batch in, the failed records out.

use std::sync::Arc;

use super::event::{self, Entry, InvalidEvent};
use super::response::{BatchResponse, ItemIdentifier};
use lyceum_core::outcome::{Outcome, Report};
use lyceum_core::process::{Delivery, Subscriber};
use lyceum_core::record::{NO_TIMESTAMP, Position};

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

/// Processes an invocation's payload until `deadline_ms` (milliseconds since 1970 UTC).
///
/// # Errors
/// The batch is redelivered as a whole.
pub async fn handle(
    subscriber: &dyn Subscriber,
    payload: &[u8],
    deadline_ms: i64,
) -> Result<BatchResponse, HandlerError> {
    let batch = event::parse(payload)?;
    let invocation = subscriber.invocation(deadline_ms);
    let mut names = Vec::with_capacity(batch.entries.len());
    let mut deliveries = Vec::with_capacity(batch.entries.len());
    for entry in batch.entries {
        names.push((entry.batch_identifier().clone(), entry.offset()));
        deliveries.push(delivery(entry, invocation.now_ms()));
    }
    answer(names, subscriber.process(&deliveries, &invocation).await)
}

/// The entries of the batch that are redelivered, by their names there.
fn answer(names: Vec<(Arc<str>, Option<i64>)>, reports: Vec<Report>) -> Result<BatchResponse, HandlerError> {
    if names.len() != reports.len() {
        return Err(HandlerError::Unreported { entries: names.len(), reports: reports.len() });
    }
    let mut failed = Vec::new();
    for ((partition, offset), report) in names.into_iter().zip(reports) {
        let Outcome::RetryLater { reason } = report.outcome else { continue };
        let partition = partition.to_string();
        match offset {
            Some(offset) => failed.push(ItemIdentifier { partition, offset }),
            None => return Err(HandlerError::Unnameable { partition, reason: reason.into_owned() }),
        }
    }
    Ok(BatchResponse::failing(failed))
}

/// The entry as it is processed; a record without a timestamp gets this moment's.
fn delivery(entry: Entry, now_ms: i64) -> Delivery {
    match entry {
        Entry::Record(delivered) => {
            let mut record = delivered.record;
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

    fn names(count: i64) -> Vec<(Arc<str>, Option<i64>)> {
        (0..count).map(|offset| ("t-0".into(), Some(offset))).collect()
    }

    #[test]
    fn an_entry_without_a_report_fails_the_batch() {
        for (entries, reported) in [(2, 1), (1, 2), (1, 0)] {
            let answer = answer(names(entries), reports(reported));
            assert!(matches!(answer, Err(HandlerError::Unreported { .. })), "{entries} {reported}: {answer:?}");
        }
    }

    #[test]
    fn what_nothing_was_decided_about_comes_again() {
        let answer = answer(names(2), reports(2)).unwrap();
        let offsets: Vec<i64> =
            answer.batch_item_failures.iter().map(|failure| failure.item_identifier.offset).collect();
        assert_eq!(offsets, [0, 1]);
    }
}
