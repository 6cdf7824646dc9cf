//! Step 1: what each delivery is. Pure: every worker reads the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde::Serialize;
use smol_str::SmolStr;

use super::batch::{Disposition, Entry, Item};
use super::schemas::SchemasOf;
use super::{Delivery, Failed, Shell};
use crate::dead_letter::{self, ENTRY_RULE, Failure};
use crate::envelope::{self, Envelope, Hint, Invalid};
use crate::family::{AggregateRef, EnvelopeOf, TypedEvent};
use crate::formats::{Format, Opened};
use crate::outcome::{DeadLetterKind, Report};
use crate::ports::ledger::{AggregateId, KeyId, placed};
use crate::ports::schemas::SchemaRef;
use crate::record::{Position, Record};
use crate::subscription::Subscription;
use crate::trace;

/// What a record is.
enum Read<'a, E: TypedEvent> {
    Tombstone,
    /// Nothing that this subscription wants of a topic that it does not own.
    Unwanted(&'static str),
    Event(Box<EnvelopeOf<'a, E>>, E),
    Invalid(Box<Invalid>),
    Missing(SchemaRef),
    /// A valid envelope whose event is not.
    InvalidEvent(Box<EnvelopeOf<'a, E>>, Failed),
}

impl<E: TypedEvent> Shell<E> {
    /// Reads one delivery; its report is complete but for the outcome.
    pub(super) fn read<'a>(
        &self,
        index: usize,
        delivery: &'a Delivery,
        schemas: &SchemasOf<E>,
        now_ms: i64,
    ) -> Entry<'a, E> {
        let record = match delivery {
            Delivery::Record(record) => record,
            Delivery::Malformed { position, raw, reason } => return self.malformed(position, raw, reason, now_ms),
        };
        let report = self.report_of(&record.position).traced(trace::trace_id(&record.headers));
        // A family that panics must not take its partition with it.
        let read = catch_unwind(AssertUnwindSafe(|| self.read_record(record, schemas))).unwrap_or_else(|_| {
            let message = "the program failed on this record; report it with the record's bytes";
            Read::Invalid(Box::new(Invalid {
                kind: DeadLetterKind::Processing,
                findings: vec![envelope::finding("record.malformed", "", message)],
                event_type: envelope::UNKNOWN,
                tenant: None,
                correlation_id: None,
            }))
        });
        let invalid = match read {
            Read::Tombstone => return Entry { item: None, disposition: Disposition::Tombstone, report },
            Read::Missing(schema) => return Entry { item: None, disposition: Disposition::Missing(schema), report },
            Read::Unwanted(event_type) => {
                let report = report.about(event_type, None);
                return Entry { item: None, disposition: Disposition::Unwanted, report };
            }
            Read::Event(envelope, event) => {
                let report = of_event(report, &envelope);
                match self.item(index, record, envelope, event) {
                    Ok(item) => {
                        return Entry { item: Some(item), disposition: Disposition::Undecided, report };
                    }
                    Err(failed) => (report, failed),
                }
            }
            Read::InvalidEvent(envelope, failed) => (of_event(report, &envelope), failed),
            Read::Invalid(invalid) => {
                let Invalid { kind, findings, event_type, tenant, correlation_id } = *invalid;
                (report.about(event_type, None).belonging(tenant, correlation_id), Failed { kind, findings })
            }
        };
        let (report, Failed { kind, findings }) = invalid;
        let failure = Failure {
            kind,
            findings: &findings,
            family: self.subscription.name,
            is_owner: self.is_owner(),
            correlation_id: report.correlation_id.as_deref(),
            tenant: report.tenant.as_deref(),
            attempts: 1,
            failed_at_ms: now_ms,
        };
        let format = self.config.dead_letter_format;
        let letter = dead_letter::write(record, &failure, &self.subscription.dead_letters, format);
        let disposition = Disposition::letter(letter, kind, record.position.clone(), findings);
        Entry { item: None, disposition, report }
    }

    /// Whether the topics that it reads are its own.
    pub(super) fn is_owner(&self) -> bool {
        self.subscription.family().is_some()
    }

    fn read_record<'a>(&self, record: &'a Record, schemas: &SchemasOf<E>) -> Read<'a, E> {
        let topic = &*record.position.topic;
        let family = self.subscription.family().or_else(|| self.catalog.family_of_topic(topic));
        let hint = Hint { family, catalog: &self.catalog, config: &self.config.envelope };
        match E::Format::open(record, hint, schemas) {
            Opened::Missing(schema) => Read::Missing(schema),
            Opened::Tombstone => Read::Tombstone,
            Opened::Invalid(invalid) if self.is_owner() => Read::Invalid(invalid),
            Opened::Invalid(invalid) => Read::Unwanted(invalid.event_type),
            Opened::Event(envelope) if !self.subscription.wants(topic, envelope.event_type) => {
                Read::Unwanted(envelope.event_type)
            }
            Opened::Event(envelope) => match E::read(&envelope) {
                Ok(event) => Read::Event(envelope, event),
                Err(findings) if self.is_owner() => {
                    Read::InvalidEvent(envelope, Failed { kind: DeadLetterKind::Validation, findings })
                }
                Err(_) => Read::Unwanted(envelope.event_type),
            },
        }
    }

    fn report_of(&self, position: &Position) -> Report {
        Report::of(position.clone(), self.subscription.name).owned(self.is_owner())
    }

    fn malformed<'a>(&self, position: &Position, raw: &Bytes, reason: &str, now_ms: i64) -> Entry<'a, E> {
        let report = self.report_of(position);
        if !self.is_owner() {
            return Entry { item: None, disposition: Disposition::Unwanted, report };
        }
        let kind = DeadLetterKind::Decode;
        let findings =
            vec![envelope::finding(ENTRY_RULE, "", format!("the invocation's entry is no Kafka record: {reason}"))];
        let record = Record {
            position: position.clone(),
            timestamp_ms: now_ms,
            key: None,
            value: Some(raw.clone()),
            headers: Vec::new(),
        };
        let failure = Failure {
            kind,
            findings: &findings,
            family: self.subscription.name,
            is_owner: true,
            correlation_id: None,
            tenant: None,
            attempts: 1,
            failed_at_ms: now_ms,
        };
        let format = self.config.dead_letter_format;
        let letter = dead_letter::write_entry(&record, &failure, &self.subscription.dead_letters, format);
        Entry { item: None, disposition: Disposition::letter(letter, kind, position.clone(), findings), report }
    }

    fn item<'a>(
        &self,
        index: usize,
        record: &'a Record,
        envelope: Box<EnvelopeOf<'a, E>>,
        event: E,
    ) -> Result<Item<'a, E>, Failed> {
        let effect = self.subscription.effect;
        let mut aggregates: Vec<AggregateId> = Vec::new();
        let named = if effect.keeps_state() { event.aggregates() } else { Vec::new() };
        for AggregateRef { kind, id } in named {
            let id = AggregateId { tenant: envelope.tenant.clone(), kind: SmolStr::new_static(kind), id };
            if !aggregates.contains(&id) {
                aggregates.push(id);
            }
        }
        let content_hash = match effect.has_keys() {
            false => [0; 32],
            true => match content_hash(&envelope, &event) {
                Ok(hash) => hash,
                Err(error) => {
                    let message =
                        format!("the event cannot be written as JSON, so that it could not be known again: {error}");
                    return Err(Failed::by_rule(DeadLetterKind::Processing, "event.encode", message));
                }
            },
        };
        let key = match effect.has_keys() {
            // Nobody asks for the name of a key that is never written.
            false => KeyId::of("", "", envelope.id),
            true => key_id::<E>(self.subscription, &envelope, &aggregates),
        };
        Ok(Item { index, record, envelope, event, aggregates, key, content_hash })
    }
}

fn of_event<B>(report: Report, envelope: &Envelope<'_, B>) -> Report {
    let (tenant, correlation_id) = (envelope.tenant.clone(), envelope.correlation_id.clone());
    report.about(envelope.event_type, Some(envelope.id)).belonging(Some(tenant), Some(correlation_id))
}

impl<E: TypedEvent> Item<'_, E> {
    /// Whether its content is that of the key's event.
    pub(super) fn is_content(&self, held: &[u8; 32]) -> bool {
        held == &self.content_hash
            || fields(&self.event)
                .is_ok_and(|fields| E::Format::is_same(&self.envelope, &fields, &self.content_hash, held))
    }
}

/// What makes two events with one id the same: the body by its format's equality, and the fields that the family reads. To be
/// compared by [`Format::is_same`]. An event that cannot be written as JSON (a map whose keys are no strings) has none.
pub fn content_hash<E: TypedEvent>(envelope: &EnvelopeOf<'_, E>, event: &E) -> Result<[u8; 32], serde_json::Error> {
    Ok(E::Format::sameness(envelope, &fields(event)?))
}

fn fields(event: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(event)
}

/// The name of an event's key in a subscription.
pub fn key_id<E: TypedEvent>(
    subscription: &Subscription,
    envelope: &EnvelopeOf<'_, E>,
    aggregates: &[AggregateId],
) -> KeyId {
    let at_home = subscription.effect.keys_at_home();
    placed::key_of(at_home, subscription.name, &envelope.tenant, aggregates, envelope.id)
}
