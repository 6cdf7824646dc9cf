//! World D: the generation of content as it is, with a generator that is slow, fails, hangs, and answers each call otherwise. What the
//! generator publishes comes back to the family, so that one event leads to others under every fault.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use lyceum_core::effects::Calling;
use lyceum_core::ports::generator::{Content, Generated, GenerationRequest, REFUSED};
use lyceum_core::process::CallingProcessor;
use lyceum_core::record::NewRecord;
use lyceum_generation::events::Event;
use lyceum_generation::state::{GENERATION, Generation, Status};
use lyceum_generation::{COMPLETED, Generations, PROGRESSED, SPEC, TOPIC};
use lyceum_generator::Generator;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::academy::check_fold;
use crate::check::{Check, Violation, fail};
use crate::fault::Plan;
use crate::random::Random;
use crate::run::{Order, at_rest};
use crate::schedule::play;
use crate::stage::{BEGINNING_MS, Stage};
use crate::subject::{Of, Subject};
use crate::toys::Keyed;

/// The kind of content that the generator declines to write.
const DECLINED: &str = "poem";

fn subjects() -> Vec<Arc<dyn Subject>> {
    let catalog = Arc::new(lyceum_catalog::catalog());
    let asking = Keyed::<Event> {
        subscription: Generator::SUBSCRIPTION,
        catalog: catalog.clone(),
        build: |stage, who, services, catalog, config| {
            // No two processes have the same name, also where one is the successor of another.
            let process = stage.draw(Random::uuid);
            let port = crate::ports::generator(stage, who, |request: &GenerationRequest| request.event_id, answer);
            Box::new(CallingProcessor::<Generator>::new(services, port, process, catalog, config))
        },
        event: PhantomData,
    };
    vec![Arc::new(Of::<Generations>::new(catalog)), Arc::new(asking)]
}

/// Another one for each call, which says what it is about.
fn answer(request: &GenerationRequest, call: usize) -> Generated {
    if request.kind == DECLINED {
        return Generated::Failed { reason: REFUSED, detail: format!("call {call} declines") };
    }
    let text = format!("draft {call} of {}", request.generation_id);
    Generated::Content(Content { text, model: "simulated".into(), input_tokens: 1, output_tokens: call as u64 })
}

/// One run.
pub(crate) fn run(order: &Order) -> (Arc<Stage>, Result<(), Violation>) {
    let mut sends = Random::new(order.seed, 1);
    let mut schedule = Random::new(order.seed, 2);
    let plan = Plan::draw(&mut schedule);
    let mut stage = Stage::new(subjects(), schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = sends.one_in(4);
    // Leases end.
    stage.time_passes = true;
    stage.hints = &[PROGRESSED];
    let stage = Arc::new(stage);
    fill(&stage, &mut sends);
    stage.create_dead_letter_topics();
    let workers = sends.between(2, 4);
    let checked = play(&stage, workers).and_then(|()| check_fold(&stage)).and_then(|()| check_answers(&stage));
    (stage.clone(), checked.and_then(|()| at_rest(&stage)))
}

/// Requests, among what others send and what is none.
fn fill(stage: &Stage, random: &mut Random) {
    stage.create_topic(TOPIC, random.between(1, 2) as i32);
    let mut sent: Vec<NewRecord> = Vec::new();
    for _ in 0..random.between(1, 7) {
        let id = random.uuid();
        let generation = *random.pick(&["g1", "g1", "g2"]);
        let next = match random.below(10) {
            0 | 1 if !sent.is_empty() => random.pick(&sent).clone(),
            2 => record(generation, random.one_in(2).then(|| json!({"verb": 1}))),
            3 => {
                record(generation, Some(statement(id, "completed", generation, json!({"content_reference": "theirs"}))))
            }
            4 => record(generation, Some(statement(id, "progressed", generation, json!({"percent": 40})))),
            at => {
                let kind = if at == 5 { DECLINED } else { "lesson" };
                record(generation, Some(statement(id, "requested", generation, json!({"kind": kind, "prompt": "x"}))))
            }
        };
        stage.append(TOPIC, next.clone());
        sent.push(next);
    }
}

fn statement(id: Uuid, verb: &str, generation: &str, extensions: Value) -> Value {
    let verbs = if verb == "requested" { "http://nlj.platform/verbs/" } else { "http://adlnet.gov/expapi/verbs/" };
    let extensions: serde_json::Map<String, Value> = extensions
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (format!("http://nlj.platform/extensions/{name}"), value.clone()))
        .collect();
    json!({
        "id": id,
        "actor": {"mbox": "mailto:ada@example.com"},
        "verb": {"id": format!("{verbs}{verb}")},
        "object": {"id": format!("http://nlj.platform/activities/generation/{generation}")},
        "context": {"extensions": extensions},
    })
}

fn record(generation: &str, value: Option<Value>) -> NewRecord {
    NewRecord {
        key: Some(Bytes::copy_from_slice(generation.as_bytes())),
        value: value.map(|value| value.to_string().into()),
        timestamp_ms: Some(BEGINNING_MS),
        ..NewRecord::default()
    }
}

/// Every request that was taken has its own answer, once.
fn check_answers(stage: &Stage) -> Result<(), Violation> {
    // What the platform gave up for one subscription, another one may have had.
    let ordered = stage.state().given_up.is_empty();
    for (id, stored) in stage.ledger.aggregates().into_iter().filter(|(id, _)| id.kind == GENERATION) {
        // Of a generation that nothing was applied to, the key of what was rejected is there alone.
        let Some(state) = stored.content.state else { continue };
        let Ok(generation) = serde_json::from_slice::<Generation>(&state) else {
            return fail(Check::Value, format!("the state of {id} cannot be read"));
        };
        if generation.status == Status::Requested && ordered {
            return fail(Check::Value, format!("{id} was requested, and nobody answers: {generation:?}"));
        }
        let changes: BTreeSet<Uuid> = generation.history.iter().map(|change| change.id).collect();
        if changes.len() != generation.history.len() {
            return fail(Check::AppliedTwice, format!("{id}: {:?}", generation.history));
        }
    }
    for stored in stage.statements.documents() {
        let of = stored.document;
        if of.fields.family != SPEC.name || of.fields.event_type != COMPLETED {
            continue;
        }
        let statement: Value = serde_json::from_slice(&of.raw).unwrap_or_default();
        let about = statement["object"]["id"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let text = statement["result"]["response"].as_str();
        if text.is_some_and(|text| !text.ends_with(&format!(" of {about}"))) {
            return fail(Check::Value, format!("{about} has the answer to another request: {text:?}"));
        }
    }
    Ok(())
}
