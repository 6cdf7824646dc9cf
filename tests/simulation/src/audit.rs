//! World F: the audit log behind families and their dead letters, and the workers that write it. Every record is an entry of its log once,
//! and the log is whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::audit::verify::{Finding, Wrong};
use lyceum_core::clock::Clock;
use lyceum_core::envelope::EnvelopeConfig;
use lyceum_core::ports::ledger::{AggregateWrite, Commit, Ledger};
use lyceum_core::ports::statements::StoreDocuments;
use lyceum_core::process::audit::AuditLog;
use lyceum_core::process::{AuditProcessor, ProcessConfig, Services, Subscriber};
use lyceum_core::record::{Position, Record};
use lyceum_core::subscription::Subscription;
use lyceum_functions::Look;
use lyceum_governance::Governance;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;

use crate::check::{Check, Violation, fail};
use crate::executor::answer;
use crate::fault::Plan;
use crate::modules;
use crate::ports::entries;
use crate::random::Random;
use crate::run::{Order, at_rest};
use crate::schedule::play;
use crate::stage::Stage;
use crate::subject::{Fact, Of, Subject};

/// The subscription: no record is an event to it, and every one an entry.
struct Auditing {
    look: Arc<Look>,
}

impl Subject for Auditing {
    fn subscription(&self) -> &'static Subscription {
        &lyceum_catalog::audit::SUBSCRIPTION
    }

    fn processor(
        &self,
        stage: &Arc<Stage>,
        who: &str,
        services: Services,
        config: ProcessConfig,
    ) -> Box<dyn Subscriber> {
        let labels = Arc::clone(&self.look) as _;
        Box::new(AuditProcessor::new(self.subscription(), services, entries(stage, who), labels, &config))
    }

    fn read(&self, _: &Record) -> Fact {
        Fact::Unwanted
    }
}

/// One run.
pub(crate) fn run(order: &Order) -> (Arc<Stage>, Result<(), Violation>) {
    let mut sends = Random::new(order.seed, 1);
    let mut schedule = Random::new(order.seed, 2);
    let plan = Plan::draw(&mut schedule);
    let subjects: Vec<Arc<dyn Subject>> = vec![
        Arc::new(Of::<Governance>::new(Arc::new(lyceum_catalog::catalog()))),
        Arc::new(Auditing { look: Arc::new(Look::new(EnvelopeConfig::default())) }),
    ];
    let mut stage = Stage::new(subjects, schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = sends.one_in(4);
    let stage = Arc::new(stage);
    modules::fill(&stage, &mut sends, false);
    stage.create_dead_letter_topics();
    let workers = sends.between(2, 4);
    let result = play(&stage, workers).and_then(|()| at_rest(&stage)).and_then(|()| check(&stage));
    (stage, result)
}

/// The time once all is at rest: nobody waits for anything.
struct AtRest(i64);

#[async_trait]
impl Clock for AtRest {
    fn now_ms(&self) -> i64 {
        self.0
    }

    async fn sleep(&self, _: Duration) {}

    fn jitter(&self) -> f64 {
        0.0
    }
}

fn is_at_or_behind(at: &Position, other: &Position) -> bool {
    (&at.topic, at.partition) == (&other.topic, other.partition) && at.offset >= other.offset
}

/// The logs are whole, and have the records that were not given up, each once.
fn check(stage: &Arc<Stage>) -> Result<(), Violation> {
    let documents: Vec<_> = stage.entries.documents().into_iter().map(|stored| stored.document).collect();
    let mut of_record: BTreeMap<Position, usize> = BTreeMap::new();
    documents.iter().for_each(|document| *of_record.entry(document.source.clone()).or_default() += 1);
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    for (id, stored) in stage.ledger.aggregates().into_iter().filter(|(id, _)| id.kind.starts_with("audit")) {
        let aggregates = vec![AggregateWrite { id, expected: None, content: Some(stored.content) }];
        answer(ledger.commit(Commit { aggregates, keys: Vec::new() })).expect("a model takes it");
    }
    let clock = Arc::new(AtRest(stage.now_ms()));
    let entries = Arc::new(MemoryStatements::new(lyceum_xapi::equality::same));
    answer(entries.store(documents)).expect("a model takes it");
    let log = AuditLog { entries, ledger, clock };
    let failed = |error: &dyn std::fmt::Display| Violation { check: Check::Value, detail: error.to_string() };
    let given_up: Vec<Position> =
        stage.state().given_up.iter().filter(|(group, _)| *group == "audit").map(|(_, at)| at.clone()).collect();
    for tenant in answer(log.tenants()).map_err(|error| failed(&error))? {
        let logs = answer(log.logs(&tenant)).map_err(|error| failed(&error))?;
        let mut findings = logs.findings(&tenant, None);
        for (of, _) in &logs.known {
            findings.extend(answer(log.verify(of, &logs.seals)).map_err(|error| failed(&error))?.findings);
        }
        // Where the platform gives a record up, what was on its way with it, and behind it, may have left entries of other numbers:
        // they stand in no log, and that is told.
        let is_behind_given_up = |of: &Finding| {
            let log = of.log.as_deref().unwrap_or_default();
            let is_behind = |up: &&Position| match &of.position {
                Some(at) => is_at_or_behind(at, up),
                None => log.ends_with(&format!("/{}/{}", up.topic, up.partition)),
            };
            of.wrong == Wrong::Added && given_up.iter().any(|up| is_behind(&up))
        };
        if let Some(finding) = findings.iter().find(|of| !is_behind_given_up(of)) {
            return fail(Check::Value, format!("of the audit log of {tenant:?}: {finding}"));
        }
    }
    let Some(subject) = stage.subject_named("audit") else { return Ok(()) };
    for (partition, range, _) in stage.partitions(subject) {
        for record in stage.records(&partition, range.start, usize::MAX) {
            let is_given_up = given_up.contains(&record.position);
            let is_behind = given_up.iter().any(|up| is_at_or_behind(&record.position, up));
            match of_record.get(&record.position) {
                Some(1) => {}
                Some(_) if is_behind => {}
                Some(many) => return fail(Check::AppliedTwice, format!("{} has {many} entries", record.position)),
                None if is_given_up => {}
                None => return fail(Check::Settled, format!("{} is in no log", record.position)),
            }
        }
    }
    Ok(())
}
