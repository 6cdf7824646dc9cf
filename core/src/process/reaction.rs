//! The effect *reaction*: what follows from an event is published, and a key records it. Nothing is kept beside.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;

use super::held::FoundKey;
use super::keyed::{Decide, Keyed};
use super::{Apply, Batch, Invocation, Item, ProcessConfig, Services, Shell};
use crate::catalog::Catalog;
use crate::effects::Reaction;
use crate::family::{Decision, Occurrence};
use crate::outcome::Refusal;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{KeyStatus, LedgerError};
use crate::record::Record;
use crate::states::States;

/// Answers events with others.
pub struct ReactionProcessor<R: Reaction> {
    shell: Shell<R::Event>,
    ledger: PlacedLedger,
}

impl<R: Reaction> ReactionProcessor<R> {
    /// A processor of the subscription's records.
    pub fn new(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Self {
        let ledger = PlacedLedger::of(R::SUBSCRIPTION, &services.ledger, config.home_keys);
        Self { shell: Shell::new(R::SUBSCRIPTION, services.into(), catalog, config, None), ledger }
    }

    fn keyed(&self) -> Keyed<'_, R::Event, ByReaction<R>> {
        Keyed { shell: &self.shell, ledger: &self.ledger, effect: ByReaction(PhantomData) }
    }
}

struct ByReaction<R>(PhantomData<fn() -> R>);

impl<R: Reaction> Decide<R::Event> for ByReaction<R> {
    type State = ();

    fn decide(&self, item: &Item<'_, R::Event>, _: &States<'_, ()>, at: &Occurrence) -> Result<Decision<()>, Refusal> {
        R::react(&item.event, at).map(Decision::of_follow_ups)
    }
}

#[async_trait]
impl<R: Reaction> Apply for ReactionProcessor<R> {
    type Event = R::Event;

    fn shell(&self) -> &Shell<R::Event> {
        &self.shell
    }

    async fn apply(&self, batch: &mut Batch<'_, R::Event>, invocation: &Invocation) {
        self.keyed().decide_groups(batch, invocation).await;
        self.shell.emit(batch, invocation).await;
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.keyed().ended(records).await
    }

    async fn found_keys(&self, items: &[&Item<'_, R::Event>]) -> Result<Vec<FoundKey>, LedgerError> {
        self.keyed().found_keys(items).await
    }
}
