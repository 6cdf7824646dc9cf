//! What a person is shown of an aggregate: the state, with everything that is derived when it is read; and how events ended.

use serde_json::{Value, json};

use super::Delivery;
use super::batch::Item;
use super::keyed::{Decide, Keyed, WorkingSet, read_state};
use crate::family::{AggregateRef, AggregateState, TypedEvent};
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{AggregateId, KeyStatus, LedgerError, StoredAggregate};
use crate::record::Record;

/// The view of an aggregate with its kind, id, tenant and version; `None` where there is none.
pub(super) async fn show<S: AggregateState>(
    ledger: &PlacedLedger,
    tenant: &str,
    kind: &str,
    id: &str,
) -> Result<Option<Value>, LedgerError> {
    let name = |kind: &str, id: &str| AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() };
    let Some(Some((state, version))) = states::<S>(ledger, &[name(kind, id)]).await?.pop() else { return Ok(None) };
    let related: Vec<AggregateId> = state.related().iter().map(|AggregateRef { kind, id }| name(kind, id)).collect();
    let related: Vec<Option<S>> = match related.as_slice() {
        [] => Vec::new(),
        related => states(ledger, related).await?.into_iter().map(|held| held.map(|(state, _)| state)).collect(),
    };
    let shown = json!({"kind": kind, "id": id, "tenant": tenant, "version": version});
    Ok(Some(with_view(shown, state.view(&related))))
}

/// What is said of every aggregate, and what its family says of this one.
pub(super) fn with_view(mut shown: Value, view: Value) -> Value {
    if let (Value::Object(shown), Value::Object(view)) = (&mut shown, view) {
        shown.extend(view);
    }
    shown
}

async fn states<S: AggregateState>(
    ledger: &PlacedLedger,
    ids: &[AggregateId],
) -> Result<Vec<Option<(S, u64)>>, LedgerError> {
    let stored = ledger.read(ids).await?;
    let read = |(id, stored): (&AggregateId, Option<StoredAggregate>)| {
        let Some(StoredAggregate { version, content }) = stored else { return Ok(None) };
        Ok(read_state(id, content.state.as_ref())?.map(|state| (state, version)))
    };
    ids.iter().zip(stored).map(read).collect()
}

impl<E: TypedEvent, D: Decide<E>> Keyed<'_, E, D> {
    /// How the events of these records ended, as their keys tell; `None` where there is no key: it was not decided yet,
    /// or never will be, or this release cannot read what it concerns.
    pub(super) async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        let deliveries: Vec<Delivery> = records.iter().cloned().map(Delivery::Record).collect();
        let (now_ms, schemas) = (self.shell.clock.now_ms(), self.shell.schemas.known());
        let items: Vec<Option<Item<'_, E>>> =
            (0..).zip(&deliveries).map(|(at, delivery)| self.shell.read(at, delivery, &schemas, now_ms).item).collect();
        let events: Vec<&Item<'_, E>> = items.iter().flatten().collect();
        match WorkingSet::<D::State>::load(self.ledger, &events, false).await {
            Ok(working) => return Ok(items.iter().map(|item| working.ended(&item.as_ref()?.key)).collect()),
            Err(LedgerError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        // One that cannot be read says nothing of the others.
        let mut ended = vec![None; items.len()];
        for (ended, item) in ended.iter_mut().zip(&items) {
            let Some(item) = item else { continue };
            match WorkingSet::<D::State>::load(self.ledger, &[item], false).await {
                Ok(working) => *ended = working.ended(&item.key),
                Err(LedgerError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }
}
