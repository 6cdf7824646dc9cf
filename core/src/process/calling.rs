//! The effect *calling*: a port is asked about an event, its answer is recorded by the event's key, and what follows from it is
//! published.
//!
//! A lease keeps two workers from asking at once. It is no lock: where a worker is slower than its lease, two may have asked, and
//! the key decides whose answer holds. So the lease saves calls, and the key makes the effect once.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use uuid::Uuid;

use super::batch::{Batch, Disposition};
use super::held::FoundKey;
use super::keyed::{Decide, Keyed, WorkingSet, publication};
use super::{Apply, Invocation, Item, ProcessConfig, Services, Shell};
use crate::catalog::Catalog;
use crate::effects::Calling;
use crate::family::{Decision, Occurrence};
use crate::outcome::Refusal;
use crate::ports::call::{CallError, CallPort, Progress};
use crate::ports::event_log::EventLogError;
use crate::ports::ledger::placed::PlacedLedger;
use crate::ports::ledger::{Claim, KeyId, KeyStatus, LedgerError};
use crate::record::Record;
use crate::states::States;

/// At most this many calls of a batch at once.
const CALLS_AT_ONCE: usize = 8;

/// A lease outlives the invocation by this, for an answer that is recorded at its very end.
const GRACE: Duration = Duration::from_secs(5);

/// Asks a port about events.
pub struct CallingProcessor<C: Calling> {
    shell: Shell<C::Event>,
    ledger: PlacedLedger,
    port: Arc<dyn CallPort<C::Request, C::Answer>>,
    process: Uuid,
    invocations: AtomicU64,
}

impl<C: Calling> CallingProcessor<C> {
    /// A processor of the subscription's records, which asks that port. `process` names this one among those that may hold
    /// a lease: no two have the same.
    pub fn new(
        services: Services,
        port: Arc<dyn CallPort<C::Request, C::Answer>>,
        process: Uuid,
        catalog: Arc<Catalog>,
        config: ProcessConfig,
    ) -> Self {
        let ledger = PlacedLedger::of(C::SUBSCRIPTION, &services.ledger, config.home_keys);
        let shell = Shell::new(C::SUBSCRIPTION, services.into(), catalog, config, None);
        Self { shell, ledger, port, process, invocations: AtomicU64::new(0) }
    }

    fn keyed(&self, answers: Answers<C>) -> Keyed<'_, C::Event, ByAnswer<C>> {
        Keyed { shell: &self.shell, ledger: &self.ledger, effect: ByAnswer { answers } }
    }

    /// Asks about every event of the batch that is not decided; of those without an answer, why they are redelivered.
    async fn ask_all(
        &self,
        batch: &Batch<'_, C::Event>,
        invocation: &Invocation,
    ) -> (Answers<C>, Vec<(usize, String)>) {
        let items: Vec<&Item<'_, C::Event>> = batch.entries.iter().filter_map(|entry| entry.undecided()).collect();
        let load = || WorkingSet::<()>::load(&self.ledger, &items, false);
        let known = match invocation.until_it_succeeds(LedgerError::Unavailable, load).await {
            Ok(known) => known,
            Err(error) => return (HashMap::new(), items.iter().map(|of| (of.index, error.to_string())).collect()),
        };
        // Two invocations of one process are two holders: they may run at once.
        let invocation_number = self.invocations.fetch_add(1, Ordering::Relaxed);
        let holder = Uuid::new_v5(&self.process, &invocation_number.to_be_bytes());
        // Two deliveries of one event are asked about once.
        let (mut open, mut seen, mut calls) = (Vec::new(), HashSet::new(), Vec::new());
        for item in items {
            if known.is_settled(item) {
                continue;
            }
            open.push((item.index, &item.key));
            if seen.insert(&item.key) {
                calls.push(self.ask_by_key(item, holder, invocation));
            }
        }
        let asked: HashMap<&KeyId, _> = futures::stream::iter(calls).buffer_unordered(CALLS_AT_ONCE).collect().await;
        let mut unanswered = Vec::new();
        for (index, key) in open {
            if let Some(Err(reason)) = asked.get(key) {
                unanswered.push((index, reason.clone()));
            }
        }
        let mut answers = HashMap::new();
        for (key, answer) in asked {
            if let Ok(Some(answer)) = answer {
                answers.insert(key.clone(), answer);
            }
        }
        (answers, unanswered)
    }

    async fn ask_by_key<'i>(
        &self,
        item: &'i Item<'_, C::Event>,
        holder: Uuid,
        invocation: &Invocation,
    ) -> (&'i KeyId, Result<Option<Asked<C>>, String>) {
        (&item.key, self.ask(item, holder, invocation).await)
    }

    /// Asks about one event. `None` where another worker's answer was recorded meanwhile; `Err` says why there is no answer now.
    async fn ask(
        &self,
        item: &Item<'_, C::Event>,
        holder: Uuid,
        invocation: &Invocation,
    ) -> Result<Option<Asked<C>>, String> {
        let request = match C::request(&item.event, &item.occurrence(invocation.now_ms())) {
            Ok(request) => request,
            Err(refusal) => return Ok(Some(Asked::Refused(refusal))),
        };
        let claim = || self.ledger.claim(&item.key, holder, invocation.time_ms(), invocation.lease_ms(GRACE));
        match invocation.until_it_succeeds(LedgerError::Uncertain, claim).await {
            Ok(Claim::Held) => {}
            Ok(Claim::Elsewhere { until_ms }) => {
                let seconds = until_ms.saturating_sub(invocation.time_ms()).max(0) / 1_000;
                return Err(format!("another worker is asking about this event, for {seconds} s at most"));
            }
            Err(error) => return Err(error.to_string()),
        }
        // Who held the lease before may have recorded an answer since the key was looked for.
        let one = [item];
        let load = || WorkingSet::<()>::load(&self.ledger, &one, false);
        let known = invocation.until_it_succeeds(LedgerError::Unavailable, load).await;
        if known.map_err(|error| error.to_string())?.is_settled(item) {
            return Ok(None);
        }
        let told = Telling { shell: &self.shell, item, invocation, last: AtomicU8::new(0), calling: PhantomData::<C> };
        match invocation.in_time(CallError, self.port.call(&request, &told)).await {
            Ok(answer) => Ok(Some(Asked::Answered(answer))),
            Err(error) => {
                // Another worker need not wait for the lease to end. Where this fails, it does.
                let now_ms = invocation.time_ms();
                let given_back = self.ledger.claim(&item.key, holder, now_ms, now_ms);
                let _ = invocation.in_time(LedgerError::Uncertain, given_back).await;
                Err(format!("the call failed: {error}"))
            }
        }
    }
}

/// How far a call is told to be: so far, and no step twice.
const STEPS: [u8; 5] = [10, 25, 50, 75, 90];

/// Publishes how far a call is. Nothing is decided by it: where it cannot be published, the call goes on.
struct Telling<'s, 'a, C: Calling> {
    shell: &'s Shell<C::Event>,
    item: &'s Item<'a, C::Event>,
    invocation: &'s Invocation,
    last: AtomicU8,
    calling: PhantomData<C>,
}

#[async_trait]
impl<C: Calling> Progress for Telling<'_, '_, C> {
    async fn at(&self, percent: u8) {
        let Some(step) = STEPS.into_iter().rfind(|step| *step <= percent) else { return };
        if self.last.fetch_max(step, Ordering::Relaxed) >= step {
            return;
        }
        let at = self.item.occurrence(self.invocation.now_ms());
        let Some(follow_up) = C::progressed(&self.item.event, step, &at) else { return };
        let out = publication(self.item, usize::from(step), follow_up);
        let produced = self.shell.event_log.produce(&out.topic, vec![out.record]);
        if let Err(error) = self.invocation.in_time(EventLogError::Unavailable, produced).await {
            tracing::debug!(%error, step, "how far a call is could not be published");
        }
    }
}

/// What is known of an event once it was asked about.
enum Asked<C: Calling> {
    Answered(C::Answer),
    /// There is nothing to ask.
    Refused(Refusal),
}

type Answers<C> = HashMap<KeyId, Asked<C>>;

/// The decision that follows from the port's answer.
struct ByAnswer<C: Calling> {
    answers: Answers<C>,
}

impl<C: Calling> Decide<C::Event> for ByAnswer<C> {
    type State = ();

    fn decide(&self, item: &Item<'_, C::Event>, _: &States<'_, ()>, at: &Occurrence) -> Result<Decision<()>, Refusal> {
        match self.answers.get(&item.key) {
            Some(Asked::Answered(answer)) => C::answered(&item.event, answer, at).map(Decision::of_follow_ups),
            Some(Asked::Refused(refusal)) => Err(refusal.clone()),
            // Its key was settled when this batch looked, and is gone since.
            None => Err(Refusal::Transient { reason: "nobody has asked about this event yet".into() }),
        }
    }
}

#[async_trait]
impl<C: Calling> Apply for CallingProcessor<C> {
    type Event = C::Event;

    fn shell(&self) -> &Shell<C::Event> {
        &self.shell
    }

    async fn apply(&self, batch: &mut Batch<'_, C::Event>, invocation: &Invocation) {
        let (answers, unanswered) = self.ask_all(batch, invocation).await;
        for (index, reason) in unanswered {
            batch.entries[index].disposition = Disposition::redeliver(reason);
        }
        self.keyed(answers).decide_groups(batch, invocation).await;
        self.shell.emit(batch, invocation).await;
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.keyed(Answers::<C>::new()).ended(records).await
    }

    async fn found_keys(&self, items: &[&Item<'_, C::Event>]) -> Result<Vec<FoundKey>, LedgerError> {
        self.keyed(Answers::<C>::new()).found_keys(items).await
    }
}
