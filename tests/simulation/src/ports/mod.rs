//! The models in memory, made unreliable: each call pauses before and after its effect, and may fail either way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::outcome::{Observer, Report};
use lyceum_core::ports::call::CallPort;
use lyceum_core::ports::statements::StoreDocuments;
use lyceum_core::process::Services;
use uuid::Uuid;

use crate::clock::SimulatedClock;
use crate::executor::pause;
use crate::stage::Stage;

mod entries;
mod event_log;
mod generator;
mod ledger;
mod schemas;
mod statements;

pub(crate) use statements::UNDELIVERABLE;

const LONGER_THAN_AN_INVOCATION: Duration = Duration::from_secs(60);

/// One worker's way to the world.
#[derive(Clone)]
struct Line {
    stage: Arc<Stage>,
    /// The worker's name.
    who: String,
}

impl Line {
    /// A call that never answers. Nobody waits for longer than an invocation lasts.
    async fn hang(&self, what: &str) -> Infallible {
        self.tell(format_args!("{what}: hangs"));
        self.stage.advance(LONGER_THAN_AN_INVOCATION);
        loop {
            pause().await;
        }
    }

    fn tell(&self, what: impl std::fmt::Display) {
        self.stage.tell(format!("{}: {what}", self.who));
    }
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &[Report]) {}
}

/// One worker's way to a port that is asked about the event of that id, and gives another answer to every call.
pub(crate) fn generator<R: Send + Sync + 'static, A: Send + Sync + 'static>(
    stage: &Arc<Stage>,
    who: &str,
    event_id: fn(&R) -> Uuid,
    answer: fn(&R, usize) -> A,
) -> Arc<dyn CallPort<R, A>> {
    let line = Line { stage: Arc::clone(stage), who: who.to_owned() };
    Arc::new(generator::FaultyGenerator { line, event_id, answer })
}

/// One worker's way to the entries of the audit log.
pub(crate) fn entries(stage: &Arc<Stage>, who: &str) -> Arc<dyn StoreDocuments> {
    Arc::new(entries::FaultyEntries(Line { stage: Arc::clone(stage), who: who.to_owned() }))
}

/// The services of one worker.
pub(crate) fn services(stage: &Arc<Stage>, who: &str) -> Services {
    let line = Line { stage: Arc::clone(stage), who: who.to_owned() };
    Services {
        event_log: Arc::new(event_log::FaultyEventLog(line.clone())),
        ledger: Arc::new(ledger::FaultyLedger(line.clone())),
        statements: Arc::new(statements::FaultyStatements(line.clone())),
        schemas: Some(Arc::new(schemas::FaultyRegistry(line.clone()))),
        clock: Arc::new(SimulatedClock(Arc::clone(stage))),
        observer: Arc::new(Nobody),
    }
}
