//! Step 5: everything that was decided for good goes out. A record has its outcome once all of it is confirmed.

use std::collections::BTreeMap;

use super::batch::{Batch, Disposition, Emission};
use super::documents::ToStore;
use super::{Failed, Invocation, Shell};
use crate::dead_letter::{Publication, without_value};
use crate::envelope::finding;
use crate::family::TypedEvent;
use crate::outcome::{DeadLetterKind, Outcome};
use crate::ports::event_log::EventLogError;
use crate::ports::statements::StoreOutcome;
use crate::subscription::Effect;

/// What is published of one record of the batch.
struct ToPublish {
    index: usize,
    publication: Publication,
}

/// A record whose decision goes out.
struct Emitting {
    emission: Box<Emission>,
    /// How much of it is not confirmed.
    unconfirmed: usize,
    /// Why something of it is not out.
    failed: Option<String>,
}

impl Emitting {
    fn ended(self) -> Disposition {
        match self {
            Self { emission, unconfirmed: 0, failed: None } => Disposition::Emit(emission),
            Self { failed: Some(reason), .. } => Disposition::Redeliver { reason },
            Self { unconfirmed, .. } => {
                Disposition::redeliver(format!("{unconfirmed} of what it emits was not confirmed to be out"))
            }
        }
    }
}

impl<E: TypedEvent> Shell<E> {
    /// Emits what was decided. What is not confirmed to be out, all of it, is redelivered.
    pub(super) async fn emit(&self, batch: &mut Batch<'_, E>, invocation: &Invocation) {
        // By the places of the batch.
        let mut emitting: Vec<Option<Emitting>> = Vec::with_capacity(batch.entries.len());
        let mut documents: Vec<ToStore<'_, '_, E>> = Vec::new();
        let mut publications: Vec<ToPublish> = Vec::new();
        for (index, entry) in batch.entries.iter_mut().enumerate() {
            let emission = match std::mem::take(&mut entry.disposition) {
                Disposition::Emit(emission) => emission,
                other => {
                    entry.disposition = other;
                    emitting.push(None);
                    continue;
                }
            };
            let stored_ms = emission.recording.statement_stored_ms;
            let to_publish = emission.recording.publications.iter().cloned();
            publications.extend(to_publish.map(|publication| ToPublish { index, publication }));
            let unconfirmed = usize::from(stored_ms.is_some()) + emission.recording.publications.len();
            if let (Some(stored_ms), Some(item)) = (stored_ms, &entry.item) {
                documents.push(ToStore { item, source: emission.source.clone(), stored_ms });
            }
            emitting.push(Some(Emitting { emission, unconfirmed, failed: None }));
        }
        for (index, stored) in self.store(documents, invocation).await {
            let Some(Some(of)) = emitting.get_mut(index) else { continue };
            match settled_by(stored, self.subscription.effect) {
                Stored::Confirmed => of.unconfirmed -= 1,
                Stored::Duplicate => {
                    of.emission.outcome = Outcome::Duplicate;
                    of.unconfirmed -= 1;
                }
                Stored::Unavailable(reason) => of.failed = Some(reason),
                // The letter takes the document's place.
                Stored::Never(failed) => {
                    if let Some(item) = &batch.entries[index].item {
                        let publication = self.letter_for(item, &failed, 1, invocation.now_ms());
                        publications.push(ToPublish { index, publication });
                        of.emission.outcome = Outcome::DeadLettered { kind: failed.kind };
                        of.emission.findings = failed.findings;
                    }
                }
            }
        }
        for (index, published) in self.publish(publications, invocation).await {
            let Some(Some(of)) = emitting.get_mut(index) else { continue };
            match published {
                Ok(()) => of.unconfirmed -= 1,
                Err(reason) => of.failed = Some(reason),
            }
        }
        for (entry, of) in batch.entries.iter_mut().zip(emitting) {
            if let Some(of) = of {
                entry.disposition = of.ended();
            }
        }
    }

    /// Publishes, topic by topic; of each publication its record's place, and whether it is out.
    async fn publish(&self, publications: Vec<ToPublish>, invocation: &Invocation) -> Vec<(usize, Result<(), String>)> {
        let mut topics: BTreeMap<String, Vec<ToPublish>> = BTreeMap::new();
        for to_publish in publications {
            topics.entry(to_publish.publication.topic.clone()).or_default().push(to_publish);
        }
        let mut ended = Vec::new();
        for (topic, to_publish) in topics {
            let all: Vec<&Publication> = to_publish.iter().map(|of| &of.publication).collect();
            match self.produce(&topic, &all, invocation).await {
                Err(EventLogError::TooLarge { .. }) => {
                    for ToPublish { index, publication } in to_publish {
                        let published = self.publish_alone(&topic, publication, invocation).await;
                        ended.push((index, published.map_err(|error| error.to_string())));
                    }
                }
                all => {
                    let all = all.map_err(|error| error.to_string());
                    ended.extend(to_publish.into_iter().map(|of| (of.index, all.clone())));
                }
            }
        }
        ended
    }

    /// One that may be larger than the log takes: then it goes without its value, which stays where it came from.
    async fn publish_alone(
        &self,
        topic: &str,
        publication: Publication,
        invocation: &Invocation,
    ) -> Result<(), EventLogError> {
        match self.produce(topic, &[&publication], invocation).await {
            Err(EventLogError::TooLarge { .. }) => {
                self.produce(topic, &[&without_value(publication)], invocation).await
            }
            answer => answer,
        }
    }

    async fn produce(
        &self,
        topic: &str,
        publications: &[&Publication],
        invocation: &Invocation,
    ) -> Result<(), EventLogError> {
        let records: Vec<_> = publications.iter().map(|publication| publication.record.clone()).collect();
        let event_log = &self.event_log;
        invocation
            .until_it_succeeds(EventLogError::Unavailable, || async {
                let confirmed = event_log.produce(topic, records.clone()).await?.len();
                if confirmed < records.len() {
                    let reason = format!("it was given {} records and confirmed {confirmed}", records.len());
                    return Err(EventLogError::Unavailable(reason));
                }
                Ok(())
            })
            .await
    }
}

/// What a document's end means for its record.
enum Stored {
    Confirmed,
    Duplicate,
    Unavailable(String),
    Never(Failed),
}

fn settled_by(stored: StoreOutcome, effect: Effect) -> Stored {
    let only_document = matches!(effect, Effect::Documents | Effect::Counted);
    let never = |kind, finding| Stored::Never(Failed { kind, findings: vec![finding] });
    match stored {
        StoreOutcome::Duplicate { .. } if only_document => Stored::Duplicate,
        StoreOutcome::Created | StoreOutcome::Duplicate { .. } => Stored::Confirmed,
        StoreOutcome::Conflict { first } => {
            let message = format!("another statement with this id came with {first}");
            let kind = if only_document { DeadLetterKind::Conflict } else { DeadLetterKind::Undelivered };
            never(kind, finding("event-id.conflict", "/id", message))
        }
        StoreOutcome::Refused { reason } => {
            let message = format!("the statement store will never take this statement: {reason}");
            never(DeadLetterKind::Undelivered, finding("store.refused", "", message))
        }
        StoreOutcome::Unavailable { reason } => Stored::Unavailable(reason),
    }
}
