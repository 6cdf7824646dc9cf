//! World C: wire forms and effects that no family of this release has, each in a few lines: Avro in two framings, counted; a
//! module's envelope, whose events a reaction and a calling subscription read without owning them. That they are processed
//! as every event is, under the same faults, shows that a format, a family and a subscription are all that is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use lyceum_core::catalog::{Catalog, EventType};
use lyceum_core::effects::{Calling, Counted, Reaction};
use lyceum_core::envelope::{EnvelopeConfig, Hint, follow_up_id};
use lyceum_core::family::{Family, TypedEvent};
use lyceum_core::formats::{Format, Opened};
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::schemas::Schemas;
use lyceum_core::process::{
    CallingProcessor, CountedProcessor, ProcessConfig, ReactionProcessor, Services, StatefulProcessor, Subscriber,
    counted_row,
};
use lyceum_core::record::{NewRecord, Record};
use lyceum_core::subscription::Subscription;
use lyceum_functions::{Entry, entry, stateful};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::check::{Check, Violation, fail};
use crate::fault::{Fault, Plan};
use crate::random::Random;
use crate::run::{Order, at_rest};
use crate::schedule::play;
use crate::stage::{BEGINNING_MS, Stage};
use crate::subject::{EventFact, Fact, Subject, read};

pub mod avro;
pub mod module;

use avro::{Answers, Scores};
use module::{Courses, Distribution, Distributions, Distributor, Generator};

/// An event type that is named by the value alone: no statement means it.
const fn named(name: &'static str, topic: &'static str) -> EventType {
    EventType { name, topic, statement: None, effect: "for tests" }
}

fn hash(parts: [&[u8]; 2]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// The catalog of the toys.
pub fn catalog() -> Catalog {
    Catalog::new(vec![&avro::SPEC, &module::COURSE_SPEC, &module::DISTRIBUTION_SPEC])
}

/// The same families with their functions, as a registry has them.
pub const ENTRIES: [Entry; 3] = [
    entry::<Answers>(|services, catalog, config| Arc::new(CountedProcessor::<Answers>::new(services, catalog, config))),
    stateful::<Courses>(),
    stateful::<Distributions>(),
];

/// Makes a worker's processor.
pub(crate) type Build = fn(&Arc<Stage>, &str, Services, Arc<Catalog>, ProcessConfig) -> Box<dyn Subscriber>;

/// A subscription whose facts are those of its events' keys.
pub(crate) struct Keyed<E> {
    pub(crate) subscription: &'static Subscription,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) build: Build,
    pub(crate) event: PhantomData<fn() -> E>,
}

impl<E: TypedEvent> Subject for Keyed<E> {
    fn subscription(&self) -> &'static Subscription {
        self.subscription
    }

    fn processor(
        &self,
        stage: &Arc<Stage>,
        who: &str,
        services: Services,
        config: ProcessConfig,
    ) -> Box<dyn Subscriber> {
        (self.build)(stage, who, services, Arc::clone(&self.catalog), config)
    }

    fn read(&self, record: &Record) -> Fact {
        read::<E>(self.subscription, &self.catalog, &Schemas::default(), record)
    }
}

/// The subscription that counts: its facts name the rows.
struct Counting {
    catalog: Arc<Catalog>,
    schemas: Schemas<Vec<String>>,
}

impl Counting {
    fn rows(&self, record: &Record) -> Vec<lyceum_core::ports::ledger::AggregateId> {
        let config = EnvelopeConfig::default();
        let hint = Hint { family: Some(&avro::SPEC), catalog: &self.catalog, config: &config };
        let Opened::Event(envelope) = avro::Avro::open(record, hint, &self.schemas) else { return Vec::new() };
        let Ok(event) = avro::Scored::read(&envelope) else { return Vec::new() };
        let counters = Answers::counters(&event).into_iter();
        counters.map(|counter| counted_row(&envelope.tenant, &counter, &record.position)).collect()
    }
}

impl Subject for Counting {
    fn subscription(&self) -> &'static Subscription {
        Answers::SUBSCRIPTION
    }

    fn processor(&self, _: &Arc<Stage>, _: &str, services: Services, config: ProcessConfig) -> Box<dyn Subscriber> {
        Box::new(CountedProcessor::<Answers>::new(services, Arc::clone(&self.catalog), config))
    }

    fn read(&self, record: &Record) -> Fact {
        match read::<avro::Scored>(Answers::SUBSCRIPTION, &self.catalog, &self.schemas, record) {
            Fact::Event(fact) => {
                Fact::Event(Arc::new(EventFact { aggregates: self.rows(record), ..EventFact::clone(&fact) }))
            }
            other => other,
        }
    }
}

fn subjects() -> Vec<Arc<dyn Subject>> {
    let catalog = Arc::new(catalog());
    let keyed = |subscription, build| {
        let catalog = Arc::clone(&catalog);
        Arc::new(Keyed::<module::Event> { subscription, catalog, build, event: PhantomData }) as Arc<dyn Subject>
    };
    vec![
        Arc::new(Counting { catalog: Arc::clone(&catalog), schemas: avro::schemas() }),
        keyed(Courses::SUBSCRIPTION, |_, _, services, catalog, config| {
            Box::new(StatefulProcessor::<Courses>::new(services, catalog, config))
        }),
        keyed(Distributions::SUBSCRIPTION, |_, _, services, catalog, config| {
            Box::new(StatefulProcessor::<Distributions>::new(services, catalog, config))
        }),
        keyed(Distributor::SUBSCRIPTION, |_, _, services, catalog, config| {
            Box::new(ReactionProcessor::<Distributor>::new(services, catalog, config))
        }),
        keyed(Generator::SUBSCRIPTION, |stage, who, services, catalog, config| {
            // No two processes have the same name, also where one is the successor of another.
            let process = stage.draw(Random::uuid);
            let answer = |request: &module::Request, call| format!("draft {call} of {}", request.course);
            let port = crate::ports::generator(stage, who, |request: &module::Request| request.event_id, answer);
            Box::new(CallingProcessor::<Generator>::new(services, port, process, catalog, config))
        }),
    ]
}

/// One run; with one learner alone of [`World::Crowded`](crate::run::World::Crowded).
pub(crate) fn run(order: &Order, crowded: bool) -> (Arc<Stage>, Result<(), Violation>) {
    let mut sends = Random::new(order.seed, 1);
    let mut schedule = Random::new(order.seed, 2);
    let mut plan = Plan::draw(&mut schedule);
    if crowded {
        plan.allow(Fault::Zombie, 20);
    }
    let mut stage = Stage::new(subjects(), schedule, plan, order.keep_trace, order.defect);
    stage.one_key_a_commit = sends.one_in(4);
    // Leases end.
    stage.time_passes = true;
    let stage = Arc::new(stage);
    fill(&stage, &mut sends, crowded);
    stage.create_dead_letter_topics();
    let workers = sends.between(2, 4);
    let result = play(&stage, workers).and_then(|()| check(&stage)).and_then(|()| at_rest(&stage));
    (stage, result)
}

/// Creates the topics, and sends answers and requests among what is neither.
fn fill(stage: &Stage, random: &mut Random, crowded: bool) {
    stage.create_topic(avro::TOPIC, random.between(1, 2) as i32);
    stage.create_topic(module::COURSES, random.between(1, 2) as i32);
    stage.create_topic(module::DISTRIBUTIONS, 1);
    let mut sent: Vec<(&str, NewRecord)> = Vec::new();
    let most = if crowded { 16 } else { 8 };
    for _ in 0..random.between(most / 8, most) {
        let id = random.uuid();
        let next = match random.below(12) {
            _ if crowded => (avro::TOPIC, record("ada", Some(avro::value(id, "ada", 1, true, 0)))),
            0 | 1 if !sent.is_empty() => random.pick(&sent).clone(),
            2 => (avro::TOPIC, record("ada", Some(b"\x00\x00\x00\x00\x09".to_vec()))),
            3 => (module::COURSES, record("rust", Some(module::value(id, "toy.nothing", "rust", "")))),
            4 => (module::COURSES, record("rust", random.one_in(2).then(|| b"{}".to_vec()))),
            5..=8 => {
                let learner = *random.pick(&["ada", "grace"]);
                let score = random.between(1, 9) as i64;
                (avro::TOPIC, record(learner, Some(avro::value(id, learner, score, random.one_in(2), random.below(2)))))
            }
            _ => {
                let course = *random.pick(&["rust", "rust", "sql", module::REFUSED, module::UNWANTED]);
                (module::COURSES, record(course, Some(module::value(id, module::REQUESTED, course, ""))))
            }
        };
        stage.append(next.0, next.1.clone());
        sent.push(next);
    }
}

fn record(key: &str, value: Option<Vec<u8>>) -> NewRecord {
    let key = Some(Bytes::copy_from_slice(key.as_bytes()));
    NewRecord { key, value: value.map(Bytes::from), timestamp_ms: Some(BEGINNING_MS), ..NewRecord::default() }
}

/// What must hold of the toys once everything is at rest.
fn check(stage: &Stage) -> Result<(), Violation> {
    check_letters(stage)?;
    check_numbers(stage)?;
    check_courses(stage)
}

/// What cannot be read is its owner's matter.
fn check_letters(stage: &Stage) -> Result<(), Violation> {
    let state = stage.state();
    let others = [Distributor::SUBSCRIPTION.name, Generator::SUBSCRIPTION.name];
    let unread = [DeadLetterKind::Decode, DeadLetterKind::Validation, DeadLetterKind::UnknownType];
    let wrong =
        state.letters.values().find(|of| others.contains(&&*of.letter.family) && unread.contains(&of.letter.kind));
    match wrong {
        Some(of) => fail(Check::LetterId, format!("{} wrote a letter of {}", of.letter.family, of.letter.source)),
        None => Ok(()),
    }
}

/// Every document is counted once for its learner, but for those that the platform gave up, which may be missing.
fn check_numbers(stage: &Stage) -> Result<(), Violation> {
    let mut counted: BTreeMap<String, Scores> = BTreeMap::new();
    for (id, row) in stage.ledger.aggregates().into_iter().filter(|(id, _)| id.kind == avro::SCORES) {
        let row: Value = serde_json::from_slice(&row.content.state.unwrap_or_default()).unwrap_or_default();
        let scores: Scores = serde_json::from_value(row["numbers"].clone()).unwrap_or_default();
        let learner = id.id.rsplit('/').next().unwrap_or_default().to_owned();
        Answers::merge(counted.entry(learner).or_default(), &scores);
    }
    let mut expected: BTreeMap<String, Scores> = BTreeMap::new();
    for stored in stage.statements.documents() {
        let of = stored.document;
        if of.fields.family != avro::SPEC.name {
            continue;
        }
        let scores = counted.get(&of.fields.actor);
        let is_counted = scores.is_some_and(|scores| scores.answers.contains(&of.id));
        if is_counted || !stage.is_given_up(&of.source) {
            let scores = expected.entry(of.fields.actor).or_default();
            scores.answers.push(of.id);
            scores.sum += of.fields.score_raw.unwrap_or_default() as i64;
        }
    }
    for scores in counted.values_mut().chain(expected.values_mut()) {
        scores.answers.sort_unstable();
    }
    if counted != expected {
        return fail(Check::Value, format!("counted is {counted:?}, and the documents make {expected:?}"));
    }
    Ok(())
}

/// Each request was answered by one course, and each course led to one distribution.
fn check_courses(stage: &Stage) -> Result<(), Violation> {
    let states = |kind: &str| -> BTreeMap<String, Bytes> {
        let of_kind = stage.ledger.aggregates().into_iter().filter(|(id, _)| id.kind == kind);
        of_kind.filter_map(|(id, of)| Some((id.id.to_string(), of.content.state?))).collect()
    };
    let distributions: BTreeMap<String, Distribution> = states("distribution")
        .into_iter()
        .map(|(id, state)| (id, serde_json::from_slice(&state).unwrap_or_default()))
        .collect();
    let ordered = stage.state().given_up.is_empty();
    for (id, state) in states("course") {
        let course: module::Course = serde_json::from_slice(&state).unwrap_or_default();
        let requested: BTreeSet<Uuid> = course.requested.iter().copied().collect();
        let generated: BTreeSet<Uuid> = course.generated.iter().map(|(event, _)| *event).collect();
        let created = distributions.get(&id).map(|of| of.created.clone()).unwrap_or_default();
        let distinct: BTreeSet<Uuid> = created.iter().copied().collect();
        let counts = (course.requested.len(), course.generated.len(), created.len());
        if counts != (requested.len(), generated.len(), distinct.len()) {
            return fail(Check::AppliedTwice, format!("{id}: {course:?}, {created:?}"));
        }
        let follow =
            |of: &BTreeSet<Uuid>, event_type| of.iter().map(|id| follow_up_id(*id, None, event_type, 0)).collect();
        let to_generate = if id == module::REFUSED { BTreeSet::new() } else { follow(&requested, module::GENERATED) };
        let to_create = if id == module::UNWANTED { BTreeSet::new() } else { follow(&generated, module::CREATED) };
        let (invented, missing) = (
            generated.difference(&to_generate).chain(distinct.difference(&to_create)).next(),
            to_generate.difference(&generated).chain(to_create.difference(&distinct)).next(),
        );
        let of_another = course.generated.iter().find(|(_, text)| !text.ends_with(&format!(" of {id}")));
        if let Some((event, text)) = of_another {
            return fail(Check::Value, format!("{event} of {id} has the answer to another request: {text}"));
        }
        // What the platform gave up for one subscription, another one may have had.
        if let Some(event) = invented.or(missing).filter(|_| ordered) {
            let detail = format!("{id}: {event} is of {course:?} and {created:?} either invented or missing");
            return fail(Check::Value, detail);
        }
    }
    Ok(())
}
