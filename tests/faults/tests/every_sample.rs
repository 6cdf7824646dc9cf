//! Every sample of every family by the functions' own binaries, on Kafka, DynamoDB's API and OpenSearch: states, documents, follow-ups, letters and
//! the audit log are then what they are on the models, field by field. There each sample is judged by what stands beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::clock::Clock;
use lyceum_core::dead_letter;
use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::ports::event_log::{Retention, TopicSpec};
use lyceum_core::ports::ledger::{AggregateId, Ledger, StoredAggregate};
use lyceum_core::ports::statements::{Filter, Statements, StoredStatement};
use lyceum_core::record::{NewRecord, Position, Record};
use lyceum_core::subscription::{Effect, Reads, Subscription};
use lyceum_event_source_mapping::Invoke;
use lyceum_events_tests::samples::{Sample, samples};
use lyceum_events_tests::world::{BEGINNING_MS, World, failures};
use lyceum_faults::connect::{Addresses, Connected};
use lyceum_faults::emulator::{self, Emulated};
use lyceum_faults::{extent, oracle};
use lyceum_functions::{REGISTRY, functions};
use lyceum_given::binary;
use lyceum_lambda_event::event::{EventSource, write_event};
use lyceum_lambda_event::response::BatchResponse;
use lyceum_services::{Endpoints, Service, Suite, private};
use serde_json::Value;
use uuid::Uuid;

use crate::functions::{OWN, STORES, bootstrap, function_environment, last_words, own_addresses, run};

const NAME: &str =
    "every_sample::what the functions' binaries make of every sample on real services is what the models have";

pub(crate) fn add(suite: &mut Suite) {
    match emulator::find() {
        Ok(emulator) => {
            suite.test_private(NAME.to_owned(), OWN, STORES, move |endpoints| run(all(endpoints, &emulator)));
        }
        Err(why) => {
            suite.missing(NAME.to_owned(), why);
        }
    }
}

/// In `.ci/run` the first world, which has most of the samples; else all of them.
async fn all(endpoints: &Endpoints, emulator: &Path) -> Result<()> {
    let worlds = worlds();
    let wanted = if extent::is_everything() { worlds.len() } else { 1 };
    println!("{} samples in {} worlds", worlds.iter().map(Vec::len).sum::<usize>(), worlds.len());
    let broker = tokio::task::spawn_blocking(|| private(Service::Kafka)).await??;
    let mut wrong = Vec::new();
    for (number, world) in (1..).zip(&worlds[..wanted]) {
        let topics_end = number > 1;
        let addresses = own_addresses(endpoints, broker.endpoint());
        let found =
            one_world(world, &addresses, emulator, topics_end).await.with_context(|| format!("world {number}"))?;
        wrong.extend(found.into_iter().map(|problem| format!("world {number}: {problem}")));
    }
    let families: BTreeSet<&str> = worlds[0].iter().map(|sample| sample.family).collect();
    ensure!(families.len() == REGISTRY.len(), "the first world has samples of {families:?} alone");
    ensure!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// A sample with what has to come before it.
struct Told {
    path: String,
    family: &'static str,
    records: Vec<Record>,
}

/// The samples by worlds: in one of them no two are about the same event, aggregate or document, so that each ends as it does alone.
fn worlds() -> Vec<Vec<Told>> {
    let mut worlds: Vec<(BTreeSet<String>, Vec<Told>)> = Vec::new();
    for entry in REGISTRY {
        let family = entry.spec.name;
        let valid = samples(family, "valid");
        for sample in samples(family, "valid").into_iter().chain(samples(family, "invalid")) {
            let told = told(&sample, &valid);
            let touched = touched(&told);
            let place = worlds.iter().position(|(of_world, _)| of_world.is_disjoint(&touched));
            let place = place.unwrap_or_else(|| {
                worlds.push((BTreeSet::new(), Vec::new()));
                worlds.len() - 1
            });
            worlds[place].0.extend(touched);
            worlds[place].1.push(told);
        }
    }
    worlds.into_iter().map(|(_, told)| told).collect()
}

fn told(sample: &Sample, valid: &[Sample]) -> Told {
    let before = sample.expected.after.iter().map(|name| {
        let before = valid.iter().find(|before| before.name == *name);
        before.unwrap_or_else(|| panic!("{}: no valid sample {name}", sample.path)).record.clone()
    });
    let records = before.chain([sample.record.clone()]).collect();
    Told { path: sample.path.clone(), family: sample.family, records }
}

/// What a sample is about, where it is alone. Numbers that are counted are everybody's.
fn touched(told: &Told) -> BTreeSet<String> {
    let world = World::new();
    let mut touched = BTreeSet::new();
    for (offset, record) in (0..).zip(&told.records) {
        let record = Record { position: Position { offset, ..record.position.clone() }, ..record.clone() };
        for subscription in readers(&record) {
            let reports = world.deliver_to(&world.function(subscription.name), std::slice::from_ref(&record));
            touched.extend(reports.iter().filter_map(|report| report.event_id).map(|id| id.to_string()));
            if !matches!(subscription.effect, Effect::Counted | Effect::Audit) {
                let aggregates = world.ledger.model.aggregates().into_iter();
                touched.extend(aggregates.filter(|(id, _)| !is_counted(id)).map(|(id, _)| id.to_string()));
            }
        }
    }
    touched.extend(world.statements.model.documents().iter().map(|stored| stored.document.id.to_string()));
    touched
}

/// Whether it is kept by who counts or audits.
fn is_counted(id: &AggregateId) -> bool {
    let kinds = REGISTRY.iter().filter(|entry| !matches!(entry.subscription.effect, Effect::Counted));
    let mut kinds = kinds.flat_map(|entry| entry.spec.kinds.iter());
    let watched = functions().any(|of| match of.subscription.effect {
        Effect::Watching { kinds } => kinds.iter().any(|kind| id.kind == **kind),
        _ => false,
    });
    !watched && !kinds.any(|kind| id.kind == **kind)
}

/// Whose function gets a record.
fn readers(record: &Record) -> Vec<&'static Subscription> {
    let topic: &str = &record.position.topic;
    let reads = |of: &Subscription| match of.reads {
        Reads::Own(spec) => spec.topics.iter().any(|of| of.name == topic),
        Reads::Others(wanted) => wanted.iter().any(|of| of.topic == topic),
    };
    functions().map(|of| of.subscription).filter(|of| reads(of)).collect()
}

/// The differences between the models and the services after all samples of a world.
async fn one_world(told: &[Told], addresses: &Addresses, emulator: &Path, has_topics: bool) -> Result<Vec<String>> {
    let Connected { log, ledger, statements } = addresses.prepare(Arc::new(SystemClock)).await?;
    let audit = addresses.connect_audit()?;
    let topics = topics();
    let mut began = BTreeMap::new();
    for (name, partitions) in &topics {
        if !has_topics {
            let spec = TopicSpec { name: (*name).to_owned(), partitions: *partitions, retention: Retention::default() };
            log.create_topic(spec).await?;
        }
        began.insert(*name, oracle::read(&log, name).await?.len());
    }
    let (logs, environment) = (tempfile::tempdir()?, function_environment(addresses));
    let world = World::new();
    world.clock.advance(Duration::from_millis(u64::try_from(SystemClock.now_ms() - BEGINNING_MS)?));
    let mut processes: BTreeMap<&str, Emulated> = BTreeMap::new();
    let mut offsets: BTreeMap<String, i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Told { path, records, .. } in told {
        for record in records {
            let offset = offsets.entry(record.position.topic.to_string()).or_default();
            let position = Position::new(record.position.topic.clone(), 0, *offset);
            *offset += 1;
            let record = Record { position, ..record.clone() };
            let mut payload = Vec::new();
            write_event(&EventSource::default(), [&record].into_iter(), &mut payload);
            let payload = Bytes::from(payload);
            for name in readers(&record).into_iter().map(|of| of.name) {
                let reports = world.deliver_to(&world.function(name), std::slice::from_ref(&record));
                let expected = serde_json::to_value(BatchResponse::failing(failures(&reports)))?;
                if !processes.contains_key(name) {
                    let binary = binary::function(name);
                    let bootstrap = bootstrap(emulator, &binary, &environment, logs.path());
                    processes.insert(name, Emulated::start(&bootstrap, 1).await?);
                }
                let answer = match processes[name].invoke(payload.clone()).await {
                    Ok(answer) => serde_json::from_slice(&answer).unwrap_or(Value::Null),
                    Err(error) => bail!("{path} by {name}: {error}\n{}", last_words(logs.path())?),
                };
                if answer != expected {
                    wrong.push(format!("{path}: {name} answers {answer}, and was to answer {expected}"));
                }
            }
        }
    }
    drop(processes);
    wrong.extend(compare_states(&world, &ledger).await?);
    wrong.extend(differ("document", by_id(world.statements.model.documents()), by_id(read_all(&statements).await?)));
    wrong.extend(differ("audit entry", by_id(world.audit.model.documents()), by_id(read_all(&audit).await?)));
    for topic in topics.keys() {
        let found = oracle::read(&log, topic).await?.split_off(began[topic]);
        wrong.extend(differ(topic, published(&world.records(topic)), published(&found)));
    }
    let states = world.ledger.model.aggregates().len();
    println!(
        "world of {} samples, {states} aggregates, {} documents",
        told.len(),
        world.statements.model.documents().len()
    );
    ensure!(wrong.is_empty() || wrong.len() < 1_000, "{}\n{}", wrong[..20].join("\n"), last_words(logs.path())?);
    Ok(wrong)
}

/// The catalog's topics, with those of letters and of what follows.
fn topics() -> BTreeMap<&'static str, i32> {
    let mut topics = BTreeMap::new();
    for entry in REGISTRY {
        topics.extend(entry.spec.topics.iter().map(|topic| (topic.name, topic.partitions)));
        let letters = &entry.spec.dead_letters;
        topics.extend([letters.validation, letters.processing, letters.database].map(|name| (name, 1)));
    }
    topics
}

async fn compare_states(world: &World, ledger: &Arc<dyn Ledger>) -> Result<Vec<String>> {
    let wanted = world.ledger.model.aggregates();
    let ids: Vec<AggregateId> = wanted.iter().map(|(id, _)| id.clone()).collect();
    let loaded = ledger.load(&ids, &[]).await?.aggregates;
    let found = ids.iter().zip(loaded).filter_map(|(id, stored)| Some((id.to_string(), kept(&stored?))));
    let mut wrong =
        differ("aggregate", wanted.iter().map(|(id, of)| (id.to_string(), kept(of))).collect(), found.collect());
    // What only the table has.
    let places: BTreeSet<(&str, &str)> = ids.iter().map(|id| (id.tenant.as_str(), id.kind.as_str())).collect();
    for (tenant, kind) in places {
        let listed = ledger.list(tenant, kind, 100_000).await?;
        wrong.extend(
            listed.iter().filter(|(id, _)| !ids.contains(id)).map(|(id, _)| format!("aggregate {id} was not to be")),
        );
    }
    Ok(wrong)
}

/// What is kept of an aggregate, without when it happened to be processed.
fn kept(stored: &StoredAggregate) -> String {
    let state = stored.content.state.as_ref().map(|state| serde_json::from_slice::<Value>(state));
    let keys = &stored.content.keys;
    let here = keys.here.iter().map(|home| (home.event_id, home.key.status, home.key.epoch, home.key.content_hash));
    format!("version {}, {state:?}, keys {:?}, apart {}", stored.version, here.collect::<Vec<_>>(), keys.apart)
}

async fn read_all(statements: &Arc<dyn Statements>) -> Result<Vec<StoredStatement>> {
    let filter = Filter { include_voided: true, ..Filter::default() };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = statements.search(&filter, 1_000, after.as_deref()).await?;
        found.extend(page.statements);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Documents by tenant and id, without when they came.
fn by_id(documents: Vec<StoredStatement>) -> BTreeMap<String, String> {
    let shown = |mut stored: StoredStatement| {
        let of = &mut stored.document;
        let id: (_, Uuid) = (of.tenant.clone(), of.id);
        if of.fields.timestamp_ms == of.stored_ms {
            (of.fields.timestamp_ms, of.fields.day) = (0, "".into());
        }
        of.stored_ms = 0;
        (format!("{} of tenant {}", id.1, id.0), format!("{stored:?}"))
    };
    documents.into_iter().map(shown).collect()
}

/// Letters and follow-ups by what makes them one, without when they were sent.
fn published(records: &[Record]) -> BTreeMap<String, String> {
    let shown = |record: &Record| match dead_letter::read(record) {
        Some(mut letter) => {
            letter.position = Position::new("", 0, 0);
            (letter.first_failed_at, letter.last_failed_at) = (None, None);
            if letter.kind == DeadLetterKind::Oversized {
                // A broker's limit holds for what was compressed, so that it takes originals that the model does not.
                (letter.value_omitted, letter.original) = (false, NewRecord::default());
            }
            (format!("letter {} of {}", letter.id, letter.source), format!("{letter:?} {:?}", letter.original))
        }
        None => {
            let value = record.value.as_deref().map(serde_json::from_slice::<Value>);
            let id = value.as_ref().and_then(|value| value.as_ref().ok()?.get("event_id").cloned());
            (format!("follow-up {id:?}"), format!("{:?} {:?} {value:?}", record.key, record.headers))
        }
    };
    records.iter().map(shown).collect()
}

/// What is missing, too much, or another.
fn differ<T: PartialEq + Debug>(
    what: &str,
    wanted: BTreeMap<String, T>,
    mut found: BTreeMap<String, T>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, wanted) in wanted {
        match found.remove(&id) {
            None => wrong.push(format!("{what} {id} is missing: {wanted:?}")),
            Some(found) if found != wanted => {
                wrong.push(format!("{what} {id} is\n  {found:?}\nand was to be\n  {wanted:?}"));
            }
            Some(_) => {}
        }
    }
    wrong.extend(found.into_iter().map(|(id, found)| format!("{what} {id} was not to be: {found:?}")));
    wrong
}
