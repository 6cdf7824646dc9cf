//! The effect *stateful*: an event changes the aggregates that it names, in one commit with its key.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::keyed::{Decide, Keyed};
use super::{Delivery, Invocation, Item, ProcessConfig, Services, Shell, Subscriber};
use crate::family::{Catalog, Decision, Occurrence, Refusal, StatefulFamily};
use crate::outcome::Report;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{KeyStatus, LedgerError};
use crate::record::Record;
use crate::states::States;
use crate::subscription::Subscription;

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
impl<F: StatefulFamily> Subscriber for StatefulProcessor<F> {
    fn subscription(&self) -> &'static Subscription {
        self.shell.subscription
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        self.shell.invocation(deadline_ms)
    }

    async fn process(&self, deliveries: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        let mut batch = self.shell.read_batch(deliveries, invocation).await;
        self.keyed().decide_groups(&mut batch, invocation).await;
        self.shell.emit(&mut batch, invocation).await;
        self.shell.report(batch)
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        super::show::show::<F::State>(&self.ledger, tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.keyed().ended(records).await
    }
}
