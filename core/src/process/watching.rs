//! The effect *watching*: an event on a topic of others changes the subscription's own aggregates, and what follows is published, in
//! one commit with its key. Its owner stores the document.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::held::FoundKey;
use super::keyed::{Decide, Keyed};
use super::{Apply, Batch, Invocation, Item, ProcessConfig, Services, Shell};
use crate::catalog::Catalog;
use crate::effects::Watching;
use crate::family::{Decision, Occurrence};
use crate::outcome::Refusal;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{KeyStatus, LedgerError};
use crate::record::Record;
use crate::states::States;

/// Keeps state of others' events.
pub struct WatchingProcessor<W: Watching> {
    shell: Shell<W::Event>,
    ledger: PlacedLedger,
}

impl<W: Watching> WatchingProcessor<W> {
    /// A processor of the subscription's records.
    pub fn new(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        let ledger = PlacedLedger::of(W::SUBSCRIPTION, &services.ledger, config.home_keys);
        Self { shell: Shell::new(W::SUBSCRIPTION, services.into(), catalog, config, None), ledger }
    }

    fn keyed(&self) -> Keyed<'_, W::Event, ByWatching<W>> {
        Keyed { shell: &self.shell, ledger: &self.ledger, effect: ByWatching(PhantomData) }
    }
}

struct ByWatching<W>(PhantomData<fn() -> W>);

impl<W: Watching> Decide<W::Event> for ByWatching<W> {
    type State = W::State;

    fn decide(
        &self,
        item: &Item<'_, W::Event>,
        states: &States<'_, W::State>,
        at: &Occurrence,
    ) -> Result<Decision<W::State>, Refusal> {
        W::decide(states, &item.event, at)
    }
}

#[async_trait]
impl<W: Watching> Apply for WatchingProcessor<W> {
    type Event = W::Event;

    fn shell(&self) -> &Shell<W::Event> {
        &self.shell
    }

    async fn apply(&self, batch: &mut Batch<'_, W::Event>, invocation: &Invocation) {
        self.keyed().decide_groups(batch, invocation).await;
        self.shell.emit(batch, invocation).await;
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        super::show::show::<W::State>(&self.ledger, tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.keyed().ended(records).await
    }

    async fn found_keys(&self, items: &[&Item<'_, W::Event>]) -> Result<Vec<FoundKey>, LedgerError> {
        self.keyed().found_keys(items).await
    }
}
