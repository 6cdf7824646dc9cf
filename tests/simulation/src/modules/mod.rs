//! World E: the modules' families as they are, with their reactions and the watch, each behind the other's events. The families are
//! compared with a plain fold; every answer with the event that it is an answer to; what the watch counted with what there was.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use lyceum_core::catalog::Catalog;
use lyceum_core::effects::Reaction;
use lyceum_core::envelope::follow_up_id;
use lyceum_core::family::TypedEvent;
use lyceum_core::ports::ledger::KeyStatus;
use lyceum_core::process::{ProcessConfig, ReactionProcessor, Services, Subscriber, WatchingProcessor};
use lyceum_core::record::Record;
use lyceum_core::subscription::Subscription;
use lyceum_course::Courses;
use lyceum_distribution::Distributions;
use lyceum_governance::Governance;
use lyceum_intake_distribution::{Course, INTAKE, Intake};
use lyceum_staging_course::{Distributed, STAGING, Staging};
use lyceum_watch_security::state::{WATCH, Watch};
use lyceum_watch_security::{Reported, SECURITY_WATCH, SecurityWatch};
use serde_json::Value;
use uuid::Uuid;

use crate::academy::check_fold;
use crate::check::{Check, Violation, fail};
use crate::defect::Defect;
use crate::fault::Plan;
use crate::random::Random;
use crate::run::{Order, at_rest};
use crate::schedule::play;
use crate::stage::Stage;
use crate::subject::{Fact, Of, Subject};
use crate::toys::{Build, Keyed};

mod log;
mod mutants;

pub(crate) use log::fill;
use mutants::{Circling, CompletedFromGenerating, ConsumedOnce, Lacking, Silent};

fn subject<E: TypedEvent>(
    subscription: &'static Subscription,
    catalog: &Arc<Catalog>,
    build: Build,
) -> Arc<dyn Subject> {
    Arc::new(Keyed::<E> { subscription, catalog: Arc::clone(catalog), build, event: PhantomData })
}

fn subjects(defect: Option<Defect>) -> Vec<Arc<dyn Subject>> {
    let catalog = Arc::new(lyceum_catalog::catalog());
    let courses: Arc<dyn Subject> = match defect {
        Some(Defect::CompletedFromAnything) => Arc::new(Lacking::<CompletedFromGenerating>::new(&catalog)),
        _ => Arc::new(Of::<Courses>::new(Arc::clone(&catalog))),
    };
    let governance: Arc<dyn Subject> = match defect {
        Some(Defect::ConsumedTwice) => Arc::new(Lacking::<ConsumedOnce>::new(&catalog)),
        _ => Arc::new(Of::<Governance>::new(Arc::clone(&catalog))),
    };
    let stages: Build = match defect {
        Some(Defect::AnswerLeftOut) => |_, _, services, catalog, config| reaction::<Silent>(services, catalog, config),
        _ => |_, _, services, catalog, config| reaction::<Staging>(services, catalog, config),
    };
    let takes: Build = match defect {
        Some(Defect::AnswersInACircle) => {
            |_, _, services, catalog, config| reaction::<Circling>(services, catalog, config)
        }
        _ => |_, _, services, catalog, config| reaction::<Intake>(services, catalog, config),
    };
    vec![
        courses,
        Arc::new(Of::<Distributions>::new(Arc::clone(&catalog))),
        governance,
        subject::<Distributed>(&STAGING, &catalog, stages),
        subject::<Course>(&INTAKE, &catalog, takes),
        subject::<Reported>(&SECURITY_WATCH, &catalog, |_, _, services, catalog, config| {
            Box::new(WatchingProcessor::<SecurityWatch>::new(services, catalog, config))
        }),
    ]
}

fn reaction<R: Reaction>(services: Services, catalog: Arc<Catalog>, config: ProcessConfig) -> Box<dyn Subscriber> {
    Box::new(ReactionProcessor::<R>::new(services, catalog, config))
}

/// One run.
pub(crate) fn run(order: &Order) -> (Arc<Stage>, Result<(), Violation>) {
    let mut sends = Random::new(order.seed, 1);
    let mut schedule = Random::new(order.seed, 2);
    let plan = Plan::draw(&mut schedule);
    // The watch alone now and then: among six subscriptions two workers are rarely at one tenant's watch.
    let watched = sends.one_in(4);
    let mut subjects = subjects(order.defect);
    subjects.retain(|of| !watched || of.subscription().name == SECURITY_WATCH.name);
    let mut stage = Stage::new(subjects, schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = sends.one_in(4);
    let stage = Arc::new(stage);
    fill(&stage, &mut sends, watched);
    stage.create_dead_letter_topics();
    let workers = sends.between(2, 4);
    let result = play(&stage, workers).and_then(|()| check_fold(&stage)).and_then(|()| at_rest(&stage));
    let result = result
        .and_then(|()| check_answers(&stage))
        .and_then(|()| check_watch(&stage))
        .and_then(|()| check_consumed(&stage));
    (stage, result)
}

/// What a subscription is to have decided: each event once, by its id and tenant.
fn wanted(stage: &Stage, name: &str) -> BTreeMap<Uuid, (String, &'static str, Record)> {
    let Some(subject) = stage.subject_named(name) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for (partition, range, _) in stage.partitions(subject) {
        for record in stage.records(&partition, range.start, usize::MAX) {
            if let Fact::Event(fact) = stage.fact_for(subject, &record) {
                let key = stage.key_apart(&fact.key).filter(|key| key.status == KeyStatus::Applied);
                // Of two with one id and different content one holds.
                if key.is_some_and(|key| key.content_hash == fact.content_hash) {
                    let event_type = event_type_of(&record);
                    let of = (fact.key.tenant.to_string(), event_type, record);
                    found.entry(fact.event_id).or_insert(of);
                }
            }
        }
    }
    found
}

fn event_type_of(record: &Record) -> &'static str {
    let value: Value = record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default();
    let catalog = lyceum_catalog::catalog();
    catalog.event_type(value["type"].as_str().unwrap_or_default()).map_or("", |known| known.name)
}

/// The ids of the follow-ups that are out.
fn out(stage: &Stage) -> BTreeSet<Uuid> {
    stage.state().follow_ups.keys().copied().collect()
}

/// Every answer is that to an event, every event has its answer, and the answers end.
fn check_answers(stage: &Stage) -> Result<(), Violation> {
    let answers = [
        ("staging-course", "distribution.created", "course.deployed.staging"),
        ("intake-distribution", "course.generation.completed", "distribution.created"),
        ("intake-distribution", "course.deployed.staging", "distribution.updated"),
    ];
    let mut expected = BTreeSet::new();
    for (subscription, event_type, answer) in answers {
        let events = wanted(stage, subscription).into_iter().filter(|(_, (_, of, _))| *of == event_type);
        expected.extend(events.map(|(id, _)| follow_up_id(id, None, answer, 0)));
    }
    let found = out(stage);
    let given_up = !stage.state().given_up.is_empty();
    if let Some(missing) = expected.iter().find(|id| !found.contains(*id)).filter(|_| !given_up) {
        return fail(Check::Value, format!("the answer {missing} is missing"));
    }
    let is_alert = |id: &Uuid| {
        let state = stage.state();
        let value = state.follow_ups.get(id).and_then(|record| record.value.as_deref());
        value.is_some_and(|value| value.windows(15).any(|part| part == b"\"security.alert"))
    };
    match found.iter().find(|id| !expected.contains(*id) && !is_alert(id)) {
        Some(invented) => fail(Check::Value, format!("{invented} answers nothing")),
        None => Ok(()),
    }
}

/// The watch counted each event once, whatever came of it.
fn check_watch(stage: &Stage) -> Result<(), Violation> {
    let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (tenant, event_type, _) in wanted(stage, SECURITY_WATCH.name).into_values() {
        let (all, invalid) = expected.entry(tenant).or_default();
        *all += 1;
        *invalid += u64::from(event_type == "ir.approval_invalid");
    }
    let watches = stage.ledger.aggregates().into_iter().filter(|(id, _)| id.kind == WATCH);
    let mut found = BTreeMap::new();
    for (id, of) in watches {
        let watch: Watch = serde_json::from_slice(&of.content.state.unwrap_or_default()).unwrap_or_default();
        let all = watch.alerts.len() as u64 + watch.repeats + watch.held_back;
        found.insert(id.id.to_string(), (all, watch.invalid));
    }
    if found != expected {
        return fail(Check::AppliedTwice, format!("the watch counted {found:?}, and there were {expected:?}"));
    }
    Ok(())
}

/// An approval is consumed at most once, whoever tries at the same time.
fn check_consumed(stage: &Stage) -> Result<(), Violation> {
    let mut consumed: BTreeSet<(String, String)> = BTreeSet::new();
    for stored in stage.statements.documents() {
        let of = stored.document;
        if of.fields.event_type != "ir.approval_consumed" {
            continue;
        }
        let value: Value = serde_json::from_slice(&of.raw).unwrap_or_default();
        let approval = value["payload"]["approval_id"].as_str().unwrap_or_default().to_owned();
        if !consumed.insert((of.tenant.to_string(), approval.clone())) {
            return fail(Check::AppliedTwice, format!("approval {approval} of {} was consumed twice", of.tenant));
        }
    }
    Ok(())
}
