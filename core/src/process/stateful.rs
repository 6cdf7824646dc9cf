//! The effect *stateful*: an event changes the aggregates that it names, in one commit with its key.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::held::FoundKey;
use super::keyed::{Decide, Keyed};
use super::{Apply, Batch, Invocation, Item, ProcessConfig, Services, Shell};
use crate::catalog::Catalog;
use crate::family::{Decision, Occurrence, StatefulFamily};
use crate::outcome::Refusal;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{KeyStatus, LedgerError};
use crate::record::Record;
use crate::states::States;

/// Processes the records of a family that keeps state.
pub struct StatefulProcessor<F: StatefulFamily> {
    shell: Shell<F::Event>,
    ledger: PlacedLedger,
}

impl<F: StatefulFamily> StatefulProcessor<F> {
    /// A processor of the family's records.
    pub fn new(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        let ledger = PlacedLedger::of(F::SUBSCRIPTION, &services.ledger, config.home_keys);
        Self { shell: Shell::new(F::SUBSCRIPTION, services.into(), catalog, config, Some(F::document)), ledger }
    }

    fn keyed(&self) -> Keyed<'_, F::Event, ByFamily<F>> {
        Keyed { shell: &self.shell, ledger: &self.ledger, effect: ByFamily(PhantomData) }
    }
}

/// A family's own decision.
struct ByFamily<F>(PhantomData<fn() -> F>);

impl<F: StatefulFamily> Decide<F::Event> for ByFamily<F> {
    type State = F::State;

    fn decide(
        &self,
        item: &Item<'_, F::Event>,
        states: &States<'_, F::State>,
        at: &Occurrence,
    ) -> Result<Decision<F::State>, Refusal> {
        F::decide(states, &item.event, at)
    }
}

#[async_trait]
impl<F: StatefulFamily> Apply for StatefulProcessor<F> {
    type Event = F::Event;

    fn shell(&self) -> &Shell<F::Event> {
        &self.shell
    }

    async fn apply(&self, batch: &mut Batch<'_, F::Event>, invocation: &Invocation) {
        self.keyed().decide_groups(batch, invocation).await;
        self.shell.emit(batch, invocation).await;
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        super::show::show::<F::State>(&self.ledger, tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.keyed().ended(records).await
    }

    async fn found_keys(&self, items: &[&Item<'_, F::Event>]) -> Result<Vec<FoundKey>, LedgerError> {
        self.keyed().found_keys(items).await
    }
}
