//! What the stores should hold of records that are settled, and what their keys say: for whoever compares the log with the stores
//! ([`crate::reconcile`]). Nothing is decided, and nothing is written.

use smol_str::SmolStr;
use uuid::Uuid;

use super::batch::{Batch, Disposition, Item};
use super::documents::ToStore;
use super::keyed::{Decide, Keyed, WorkingSet};
use super::recording::Recording;
use super::{Apply, Delivery, Invocation, Shell};
use crate::dead_letter::LETTER_ID_HEADER;
use crate::envelope::{letter_id, others_letter_id};
use crate::family::TypedEvent;
use crate::ports::ledger::{KeyStatus, LedgerError};
use crate::ports::statements::StatementDocument;
use crate::record::{Position, Record, header_text};

/// What the stores should hold of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// Nothing: it is a tombstone, or not for this subscription.
    Nothing,
    /// A dead letter of that id, which no key records: it can be no event.
    Letter(Uuid),
    /// It cannot be told, and why: what it is read by is not there.
    Unread(String),
    /// An event's effect.
    Event(Box<HeldEvent>),
}

/// What the stores should hold of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldEvent {
    /// Whose it is.
    pub tenant: SmolStr,
    /// The event.
    pub event_id: Uuid,
    /// What it is.
    pub event_type: &'static str,
    /// What its key says.
    pub key: HeldKey,
    /// Its document, as this record makes it, where the key says that there is one, or where there are no keys.
    pub document: Option<StatementDocument>,
    /// The id of the letter that this record has where it is in conflict with another one, or its document was never taken.
    pub letter: Uuid,
}

/// What the key of an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldKey {
    /// The subscription has none.
    NotKept,
    /// There is none of this delivery: nobody decided about it.
    Missing,
    /// This release cannot read what it concerns, and why.
    Unread(String),
    /// It is the key of an event with another content.
    OtherContent {
        /// The record that it was decided on.
        first: Position,
    },
    /// The event was applied.
    Applied,
    /// The event is dead, with a letter of that id.
    Dead {
        /// `None` where the recording cannot be read.
        letter: Option<Uuid>,
    },
}

/// A key as it was found, and what its recording says of the document: its source, and when it was stored.
pub(super) struct FoundKey {
    key: HeldKey,
    document: Option<(Position, i64)>,
}

impl From<HeldKey> for FoundKey {
    fn from(key: HeldKey) -> Self {
        Self { key, document: None }
    }
}

/// See [`Subscriber::held`](super::Subscriber::held).
pub(super) async fn held<P: Apply>(
    of: &P,
    records: &[Record],
    invocation: &Invocation,
) -> Result<Vec<Held>, LedgerError> {
    let deliveries: Vec<Delivery> = records.iter().cloned().map(Delivery::Record).collect();
    let shell = of.shell();
    let batch = shell.read_batch(&deliveries, invocation).await;
    let items: Vec<&Item<'_, P::Event>> = batch.entries.iter().filter_map(|entry| entry.item.as_ref()).collect();
    let keys = of.found_keys(&items).await?;
    Ok(shell.held_of(&batch, keys.into_iter()))
}

/// See [`Subscriber::made`](super::Subscriber::made).
pub(super) async fn made<P: Apply>(of: &P, records: &[Record], invocation: &Invocation) -> Vec<Held> {
    let deliveries: Vec<Delivery> = records.iter().cloned().map(Delivery::Record).collect();
    let shell = of.shell();
    let batch = shell.read_batch(&deliveries, invocation).await;
    shell.held_of(&batch, std::iter::repeat_with(|| HeldKey::NotKept.into()))
}

/// The id of the letter that a recording emits.
fn letter_of(recording: &Recording) -> Option<Uuid> {
    let headers = &recording.publications.first()?.record.headers;
    header_text(headers, LETTER_ID_HEADER)?.parse().ok()
}

impl<E: TypedEvent> Shell<E> {
    /// What should be held of each record of a batch; of each event with its key.
    fn held_of(&self, batch: &Batch<'_, E>, mut keys: impl Iterator<Item = FoundKey>) -> Vec<Held> {
        let each = batch.entries.iter().map(|entry| match (&entry.item, &entry.disposition) {
            (Some(item), _) => {
                let key = keys.next().unwrap_or_else(|| HeldKey::Missing.into());
                Held::Event(Box::new(self.held_event(item, key)))
            }
            (None, Disposition::Emit(emission)) => letter_of(&emission.recording).map_or(Held::Nothing, Held::Letter),
            (None, Disposition::Missing(schema)) => Held::Unread(format!("its schema {schema} is not there")),
            (None, Disposition::Redeliver { reason }) => Held::Unread(reason.clone()),
            (None, Disposition::Tombstone | Disposition::Unwanted) => Held::Nothing,
            (None, Disposition::Undecided | Disposition::LikeFirst { .. }) => Held::Nothing,
        });
        each.collect()
    }

    fn held_event(&self, item: &Item<'_, E>, FoundKey { key, document }: FoundKey) -> HeldEvent {
        let of_record = || (item.record.position.clone(), item.record.timestamp_ms);
        let document = if key == HeldKey::NotKept { Some(of_record()) } else { document };
        let document = document.zip(self.documents.as_ref()).and_then(|((source, stored_ms), documents)| {
            documents.make(self.subscription.name, &ToStore { item, source, stored_ms })
        });
        let (source, replays) = (&item.envelope.source, item.envelope.replay_count);
        let letter = match self.is_owner() {
            true => letter_id(source, replays),
            false => others_letter_id(source, replays, self.subscription.name),
        };
        HeldEvent {
            tenant: item.envelope.tenant.clone(),
            event_id: item.envelope.id,
            event_type: item.envelope.event_type,
            key,
            document,
            letter,
        }
    }
}

impl<E: TypedEvent, D: Decide<E>> Keyed<'_, E, D> {
    /// The keys of these events. One that cannot be read says nothing of the others.
    pub(super) async fn found_keys(&self, items: &[&Item<'_, E>]) -> Result<Vec<FoundKey>, LedgerError> {
        match WorkingSet::<D::State>::load(self.ledger, items, false).await {
            Ok(working) => return Ok(items.iter().map(|item| found(&working, item)).collect()),
            Err(LedgerError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            keys.push(match WorkingSet::<D::State>::load(self.ledger, &[item], false).await {
                Ok(working) => found(&working, item),
                Err(LedgerError::Refused(why)) => HeldKey::Unread(why).into(),
                Err(error) => return Err(error),
            });
        }
        Ok(keys)
    }
}

fn found<S, E: TypedEvent>(working: &WorkingSet<S>, item: &Item<'_, E>) -> FoundKey {
    let Some(key) = working.stored(item) else { return HeldKey::Missing.into() };
    if !item.is_content(&key.content_hash) {
        return HeldKey::OtherContent { first: key.source.clone() }.into();
    }
    let recording = Recording::decode(&key.recording);
    match key.status {
        KeyStatus::Dead => HeldKey::Dead { letter: recording.ok().as_ref().and_then(letter_of) }.into(),
        KeyStatus::Applied => match recording {
            Err(unreadable) => HeldKey::Unread(unreadable.to_string()).into(),
            Ok(recording) => {
                let document = recording.statement_stored_ms.map(|stored_ms| (key.source.clone(), stored_ms));
                FoundKey { key: HeldKey::Applied, document }
            }
        },
    }
}
