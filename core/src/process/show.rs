//! What a person is shown of an aggregate: the state, with everything that is derived when it is read.

use serde_json::{Value, json};

use super::batch::Item;
use super::stateful::read_state;
use super::{Delivery, Processor};
use crate::family::{AggregateRef, Family};
use crate::ports::ledger::{AggregateId, KeyStatus, LedgerError, StoredAggregate};
use crate::record::Record;

impl<F: Family> Processor<F> {
    /// The view of an aggregate with its kind, id, tenant and version; `None` where there is none.
    pub async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        let name =
            |kind: &str, id: &str| AggregateId { tenant: tenant.to_owned(), kind: kind.to_owned(), id: id.to_owned() };
        let Some(Some((state, version))) = self.states(&[name(kind, id)]).await?.pop() else { return Ok(None) };
        let related: Vec<AggregateId> =
            F::related(&state).iter().map(|AggregateRef { kind, id }| name(kind, id)).collect();
        let related: Vec<Option<F::State>> = match related.as_slice() {
            [] => Vec::new(),
            related => self.states(related).await?.into_iter().map(|held| held.map(|(state, _)| state)).collect(),
        };
        let mut shown = json!({"kind": kind, "id": id, "tenant": tenant, "version": version});
        if let (Value::Object(shown), Value::Object(view)) = (&mut shown, F::view(&state, &related)) {
            shown.extend(view);
        }
        Ok(Some(shown))
    }

    async fn states(&self, ids: &[AggregateId]) -> Result<Vec<Option<(F::State, u64)>>, LedgerError> {
        let loaded = self.services.ledger.load(ids, &[]).await?;
        let read = |(id, stored): (&AggregateId, Option<StoredAggregate>)| {
            let Some(StoredAggregate { version, content }) = stored else { return Ok(None) };
            Ok(read_state(id, content.state.as_ref())?.map(|state| (state, version)))
        };
        if loaded.aggregates.len() != ids.len() {
            let answered = loaded.aggregates.len();
            let reason = format!("it was asked for {} aggregates and answered {answered}", ids.len());
            return Err(LedgerError::Unavailable(reason));
        }
        ids.iter().zip(loaded.aggregates).map(read).collect()
    }

    /// How the events of these records ended, as their keys tell; `None` where there is no key: it was not decided yet,
    /// or never will be, or this release cannot read what it concerns.
    pub async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        if !F::SPEC.effect.keeps_state() {
            return Ok(vec![None; records.len()]);
        }
        let deliveries: Vec<Delivery> = records.iter().cloned().map(Delivery::Record).collect();
        let now_ms = self.now_ms();
        let items: Vec<Option<Item<'_, F>>> =
            (0..).zip(&deliveries).map(|(index, delivery)| self.read(index, delivery, now_ms).item).collect();
        let events: Vec<&Item<'_, F>> = items.iter().flatten().collect();
        match self.load(&events, false).await {
            Ok(working) => return Ok(items.iter().map(|item| working.ended(&item.as_ref()?.key)).collect()),
            Err(LedgerError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        // One that cannot be read says nothing of the others.
        let mut ended = vec![None; items.len()];
        for (ended, item) in ended.iter_mut().zip(&items) {
            let Some(item) = item else { continue };
            match self.load(&[item], false).await {
                Ok(working) => *ended = working.ended(&item.key),
                Err(LedgerError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// Milliseconds since 1970 UTC.
    pub fn now_ms(&self) -> i64 {
        self.services.clock.now_ms()
    }
}
