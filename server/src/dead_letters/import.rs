//! What AWS Lambda gave up, made into dead letters: its on-failure records (S3, SQS, SNS, Kafka) hold the records
//! themselves or where they stood.
//!
//! Lambda gives up whole batches, so among the records may be some that were applied, or that have a letter already.

use std::collections::HashSet;

use bytes::Bytes;
use lyceum_core::catalog::FamilySpec;
use lyceum_core::dead_letter::{DeadLetterFormat, Failure, LETTER_ID_HEADER, Publication, write, write_entry};
use lyceum_core::outcome::{DeadLetterKind, Finding};
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::ports::ledger::KeyStatus;
use lyceum_core::record::{Position, Record, header_text};
use lyceum_lambda_event::event::Entry;
use lyceum_lambda_event::on_failure::{self, Lost, LostRange, OnFailureRecord};
use lyceum_xapi::utc_time::UtcTime;
use uuid::Uuid;

use super::letters::{DeadLetterFilter, Imported};
use super::{DeadLetterIndex, FETCH_BYTES, FETCH_RECORDS, ledger_failed, log_failed};
use crate::questions::AskError;

/// The rule of such letters' finding.
const RULE: &str = "lambda.given-up";
/// No invocation has more records than this.
const RANGE_LIMIT: i64 = 10_000;

/// What is to be published of an on-failure record.
struct Becoming {
    publication: Publication,
    /// Its family and the record, where it is an event that may have been applied.
    event: Option<(&'static str, Record)>,
}

fn finding(message: String) -> Finding {
    let requirement = "AWS Lambda, on-failure destinations".into();
    Finding { rule: RULE.into(), pointer: String::new(), message, requirement }
}

impl DeadLetterIndex {
    pub(super) async fn import_record(&self, document: &[u8]) -> Result<Imported, AskError> {
        let given_up = on_failure::parse(document).map_err(|error| AskError::Invalid(error.to_string()))?;
        let mut imported = Imported::default();
        let mut letters = Vec::new();
        match &given_up.lost {
            Lost::Entries(entries) => {
                for entry in entries {
                    match entry {
                        Entry::Record(delivered) => {
                            self.note(&delivered.record, &given_up, &mut imported, &mut letters)
                        }
                        Entry::Malformed(malformed) => {
                            let position = Position::new(
                                malformed.topic.clone(),
                                malformed.partition.unwrap_or(0),
                                malformed.offset.unwrap_or(-1),
                            );
                            let record = self.entry(position, &malformed.raw);
                            self.note_entry(&record, &malformed.reason, &given_up, &mut imported, &mut letters);
                        }
                    }
                }
            }
            Lost::Ranges(ranges) => {
                for range in ranges {
                    for record in self.fetch_range(range, &mut imported).await? {
                        self.note(&record, &given_up, &mut imported, &mut letters);
                    }
                }
            }
        }
        self.publish(letters, &mut imported).await?;
        Ok(imported)
    }

    fn entry(&self, position: Position, raw: &Bytes) -> Record {
        let value = Some(raw.clone());
        Record { position, timestamp_ms: self.clock.now_ms(), key: None, value, headers: Vec::new() }
    }

    /// The family that reads the record's topic.
    fn family_of(&self, record: &Record) -> Option<&'static FamilySpec> {
        let reads = |family: &&&FamilySpec| family.topics.iter().any(|topic| *topic.name == *record.position.topic);
        self.catalog.families().iter().find(reads).copied()
    }

    fn failed_at_ms(&self, given_up: &OnFailureRecord) -> i64 {
        let at = given_up.at.as_deref().and_then(|at| at.parse::<UtcTime>().ok());
        at.map_or_else(|| self.clock.now_ms(), UtcTime::as_millis)
    }

    /// Makes a letter of a record, unless no function here reads its topic.
    fn note(&self, record: &Record, given_up: &OnFailureRecord, imported: &mut Imported, letters: &mut Vec<Becoming>) {
        let Some(family) = self.family_of(record) else {
            imported.refused.push(format!("{}: no function reads its topic", record.position));
            return;
        };
        // A tombstone has no effect that could be missing.
        if record.value.is_none() {
            return;
        }
        let about = self.keys.about(record);
        let failure = Failure {
            kind: DeadLetterKind::Processing,
            findings: &[finding(given_up.reason())],
            family: family.name,
            is_owner: true,
            correlation_id: about.correlation_id.as_deref(),
            tenant: about.tenant.as_deref(),
            attempts: given_up.invocations.unwrap_or(0),
            failed_at_ms: self.failed_at_ms(given_up),
        };
        let publication = write(record, &failure, &family.dead_letters, DeadLetterFormat::Headers);
        let event = about.event_id.map(|_| (family.name, record.clone()));
        letters.push(Becoming { publication, event });
    }

    /// Makes a letter of an entry that is no record.
    fn note_entry(
        &self,
        entry: &Record,
        reason: &str,
        given_up: &OnFailureRecord,
        imported: &mut Imported,
        letters: &mut Vec<Becoming>,
    ) {
        let Some(family) = self.family_of(entry) else {
            imported.refused.push(format!("{}: no function reads its topic", entry.position));
            return;
        };
        let unreadable = format!("{}; its entry cannot be read: {reason}", given_up.reason());
        let failure = Failure {
            kind: DeadLetterKind::Decode,
            findings: &[finding(unreadable)],
            family: family.name,
            is_owner: true,
            correlation_id: None,
            tenant: None,
            attempts: given_up.invocations.unwrap_or(0),
            failed_at_ms: self.failed_at_ms(given_up),
        };
        let publication = write_entry(entry, &failure, &family.dead_letters, DeadLetterFormat::Headers);
        letters.push(Becoming { publication, event: None });
    }

    /// The records that stood there, as far as they are still on the topic; what is not is reported.
    async fn fetch_range(&self, range: &LostRange, imported: &mut Imported) -> Result<Vec<Record>, AskError> {
        let LostRange { topic, partition, first, last } = range;
        let place = format!("{topic}/{partition}/{first} to {last}");
        if last - first >= RANGE_LIMIT {
            imported.refused.push(format!("{place}: no batch has more than {RANGE_LIMIT} records"));
            return Ok(Vec::new());
        }
        let mut records: Vec<Record> = Vec::new();
        let mut next = *first;
        while next <= *last {
            match self.event_log.fetch(topic, *partition, next, FETCH_RECORDS, FETCH_BYTES).await {
                Ok(fetched) => {
                    let Some(end) = fetched.last() else {
                        imported.gone.push(format!("{topic}/{partition}/{next} to {last}: the topic ends before that"));
                        break;
                    };
                    let begin = fetched.first().map_or(next, |record| record.position.offset);
                    if begin > next && records.is_empty() {
                        imported.gone.push(format!("{topic}/{partition}/{next} to {}", (begin - 1).min(*last)));
                    }
                    next = end.position.offset + 1;
                    records.extend(fetched.into_iter().filter(|record| record.position.offset <= *last));
                }
                Err(EventLogError::OffsetOutOfRange { range, .. }) if next < range.start && range.start <= *last => {
                    imported.gone.push(format!("{topic}/{partition}/{next} to {}", range.start - 1));
                    next = range.start;
                }
                Err(error) if error.is_transient() => return Err(log_failed(error)),
                Err(error) => {
                    imported.gone.push(format!("{place}: {error}"));
                    break;
                }
            }
        }
        Ok(records)
    }

    /// Publishes what has no letter yet and was not applied, in order.
    async fn publish(&self, letters: Vec<Becoming>, imported: &mut Imported) -> Result<(), AskError> {
        // What is on the topics must be known, or a second import would write every letter again.
        let index = self.look_at_all().await?;
        if index.not_indexed(&index.matching(&DeadLetterFilter::default())) > 0 {
            tracing::warn!("not every dead letter is indexed; one that has a letter already may get a second one");
        }
        let mut applied = HashSet::new();
        for (name, function) in &self.functions {
            let of_family = |letter: &Becoming| letter.event.clone().filter(|(family, _)| family == name);
            let records: Vec<Record> = letters.iter().filter_map(of_family).map(|(_, record)| record).collect();
            if records.is_empty() {
                continue;
            }
            let ended = function.ended(&records).await.map_err(ledger_failed)?;
            let of_applied = records.into_iter().zip(ended).filter(|(_, status)| *status == Some(KeyStatus::Applied));
            applied.extend(of_applied.map(|(record, _)| record.position));
        }
        for Becoming { publication, event } in letters {
            let id = header_text(&publication.record.headers, LETTER_ID_HEADER);
            let id: Option<Uuid> = id.and_then(|id| id.parse().ok());
            if event.is_some_and(|(_, record)| applied.contains(&record.position)) {
                imported.applied += 1;
            } else if id.is_some_and(|id| index.is_known(id)) {
                imported.known += 1;
            } else {
                let Publication { topic, record } = publication;
                self.event_log.produce(&topic, vec![record]).await.map_err(log_failed)?;
                imported.letters += 1;
            }
        }
        Ok(())
    }
}
