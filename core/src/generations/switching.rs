//! A function that processes each of its batches in the generation that is live when it begins: the whole batch in one, whatever
//! becomes live meanwhile. While its subscription is held, its batch waits, as long as its invocation lasts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use super::marker::{Generations, Read};
use super::{OfGeneration, is_built_anew};
use crate::outcome::{Observer, Outcome, Report};
use crate::ports::ledger::{KeyStatus, Ledger, LedgerError};
use crate::process::{Delivery, Held, Invocation, Subscriber};
use crate::record::{Position, Record};
use crate::subscription::Subscription;

/// How often a batch that waits looks whether it may begin.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Makes the function on another ledger than the live one.
pub type Make = Arc<dyn Fn(Arc<dyn Ledger>) -> Arc<dyn Subscriber> + Send + Sync>;

/// See the module.
pub struct Switching {
    generations: Arc<Generations>,
    make: Make,
    observer: Arc<dyn Observer>,
    subscription: &'static Subscription,
    /// That of generation 0, which is there from the start.
    first: Arc<dyn Subscriber>,
    /// That of the generation that was live last, where it is another one.
    other: Mutex<Option<(u32, Arc<dyn Subscriber>)>>,
}

impl Switching {
    /// The function; as it is made where its subscription is never built anew.
    pub fn of(generations: &Arc<Generations>, observer: Arc<dyn Observer>, make: Make) -> Arc<dyn Subscriber> {
        let first = make(Arc::clone(generations.ledger()));
        let subscription = first.subscription();
        if !is_built_anew(subscription) {
            return first;
        }
        let generations = Arc::clone(generations);
        Arc::new(Self { generations, make, observer, subscription, first, other: Mutex::default() })
    }

    fn in_generation(&self, generation: u32) -> Arc<dyn Subscriber> {
        if generation == 0 {
            return Arc::clone(&self.first);
        }
        let mut other = self.other.lock();
        match &*other {
            Some((of, function)) if *of == generation => Arc::clone(function),
            _ => {
                let function = (self.make)(OfGeneration::of(self.generations.ledger(), generation));
                *other = Some((generation, Arc::clone(&function)));
                function
            }
        }
    }

    async fn live(&self) -> Result<Arc<dyn Subscriber>, LedgerError> {
        Ok(self.in_generation(self.generations.now(self.subscription.name).await?.marker.live))
    }

    /// The function of the generation that is live, once nobody holds it; else why none is, and the invocation is over.
    async fn begin(&self, invocation: &Invocation) -> Result<Arc<dyn Subscriber>, String> {
        let name = self.subscription.name;
        let now = || self.generations.now(name);
        loop {
            let read = invocation.until_it_succeeds(LedgerError::Unavailable, now).await;
            let read = read.map_err(|error| format!("which generation of {name} is live is not known: {error}"))?;
            let Read { marker, .. } = &read;
            let Some(until_ms) = marker.held_until_ms else { return Ok(self.in_generation(marker.live)) };
            if invocation.time_ms() > until_ms {
                tracing::warn!(subscription = name, "a swap of generations was not ended; its hold is let go");
                let let_go = invocation.in_time(LedgerError::Unavailable, self.generations.let_go(name, &read)).await;
                let_go.map_err(|error| format!("a hold of {name} cannot be let go: {error}"))?;
                continue;
            }
            if invocation.remaining() <= LOOK_EVERY {
                return Err(format!("{name} is being swapped with one that was built anew; it goes on in seconds"));
            }
            self.generations.clock().sleep(LOOK_EVERY).await;
        }
    }

    fn refuse(&self, batch: &[Delivery], reason: &str) -> Vec<Report> {
        let is_owner = self.subscription.family().is_some();
        let report = |position: &Position| {
            let mut report = Report::of(position.clone(), self.subscription.name).owned(is_owner);
            report.outcome = Outcome::RetryLater { reason: reason.to_owned().into() };
            report
        };
        let reports: Vec<Report> = batch
            .iter()
            .map(|delivery| match delivery {
                Delivery::Record(Record { position, .. }) | Delivery::Malformed { position, .. } => report(position),
            })
            .collect();
        self.observer.observe(&reports);
        reports
    }
}

#[async_trait]
impl Subscriber for Switching {
    fn subscription(&self) -> &'static Subscription {
        self.subscription
    }

    fn invocation(&self, deadline_ms: i64) -> Invocation {
        self.first.invocation(deadline_ms)
    }

    async fn process(&self, batch: &[Delivery], invocation: &Invocation) -> Vec<Report> {
        match self.begin(invocation).await {
            Ok(function) => function.process(batch, invocation).await,
            Err(reason) => self.refuse(batch, &reason),
        }
    }

    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, LedgerError> {
        self.live().await?.show(tenant, kind, id).await
    }

    async fn ended(&self, records: &[Record]) -> Result<Vec<Option<KeyStatus>>, LedgerError> {
        self.live().await?.ended(records).await
    }

    async fn held(&self, records: &[Record], invocation: &Invocation) -> Result<Vec<Held>, LedgerError> {
        self.live().await?.held(records, invocation).await
    }

    async fn made(&self, records: &[Record], invocation: &Invocation) -> Vec<Held> {
        // Of no generation.
        self.first.made(records, invocation).await
    }
}
