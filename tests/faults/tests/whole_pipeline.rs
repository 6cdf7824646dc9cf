//! The whole way: Kafka, the local event source mapping, the functions' own binaries under AWS's runtime interface
//! emulator, DynamoDB and OpenSearch; everything is counted afterwards. `LYCEUM_FAULTS=all` sends four times as much.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use lyceum_around::system_clock::SystemClock;
use lyceum_core::ports::event_log::{Retention, TopicSpec};
use lyceum_event_source_mapping::EventSourceMapping;
use lyceum_faults::connect::Connected;
use lyceum_faults::count::{Stores, compare, dead_letter_topics};
use lyceum_faults::emulator::{self, Emulated};
use lyceum_faults::extent;
use lyceum_faults::oracle;
use lyceum_faults::traffic::{Amount, FAMILIES, Traffic};
use lyceum_faults::worker::{GIVEN_UP, MappingOrder, mapping_config};
use lyceum_functions::{Entry, REGISTRY};
use lyceum_given::academy::{Academy, Size, video_statements};
use lyceum_given::binary;
use lyceum_services::{Endpoints, Service, Suite, private};
use lyceum_tests::workplace::Workplace;
use serde_json::json;
use tokio::task::JoinSet;

use crate::functions::{OWN, STORES, bootstrap, function_environment, last_words, own_addresses, run};

const BY_COMMAND: &str =
    "the lyceum command drives the functions' binaries and every event of each family is counted right";
const NAME: &str = "statements and events go through the functions' binaries and are counted right";

/// What a producer sends, and gets wrong.
const ALL: Amount = Amount {
    statements: 22_000,
    histories: 10_000,
    poison_each: Some(1_000),
    duplicate_each: Some(100),
    illegal_each: Some(20),
};
const A_PART: Amount = Amount { statements: 5_500, histories: 2_500, ..ALL };

/// How long it may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(900);

pub(crate) fn add(suite: &mut Suite) {
    let (by_command_name, name) = (format!("whole_pipeline::{BY_COMMAND}"), format!("whole_pipeline::{NAME}"));
    match emulator::find() {
        Ok(emulator) => {
            let of_command = emulator.clone();
            suite.test_private(by_command_name, OWN, STORES, move |endpoints| run(by_command(endpoints, &of_command)));
            suite.test_private(name, OWN, STORES, move |endpoints| run(whole_way(endpoints, &emulator)));
        }
        Err(why) => {
            suite.missing(by_command_name, why.clone());
            suite.missing(name, why);
        }
    }
}

/// The families whose events the academy has.
fn fed() -> impl Iterator<Item = &'static Entry> {
    REGISTRY.iter().filter(|entry| FAMILIES.contains(&entry.spec.name))
}

/// `lyceum up --kafka … --functions …`, as a person starts it, before one emulator for each family.
async fn by_command(endpoints: &Endpoints, emulator: &Path) -> Result<()> {
    let academy = Academy::new(15, Size { programs: 2, bookings: 10, responses: 12 });
    let mut events = academy.events;
    events.extend(video_statements(16, 200));
    let broker = tokio::task::spawn_blocking(|| private(Service::Kafka)).await??;
    let addresses = own_addresses(endpoints, broker.endpoint());
    let Connected { log, ledger, statements } = addresses.prepare(Arc::new(SystemClock)).await?;

    let (logs, environment) = (tempfile::tempdir()?, function_environment(&addresses));
    let mut arguments = vec!["--kafka".to_owned(), addresses.kafka.clone()];
    let mut functions = Vec::new();
    for entry in fed() {
        let family = entry.spec.name;
        let binary = binary::function(family);
        let function = Emulated::start(&bootstrap(emulator, &binary, &environment, logs.path()), 1).await?;
        arguments.extend(["--functions".to_owned(), format!("{family}={}", function.addresses()[0])]);
        functions.push(function);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let variables = addresses.environment();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let workplace = Workplace::new();
    workplace.write_lines("events.jsonl", &events);
    workplace.write_lines("again.jsonl", &events[..50]);
    workplace.write_lines("wrong.jsonl", &[json!({"verb": 1}), json!({"verb": 2}), json!({"verb": 3})]);
    tokio::task::block_in_place(|| {
        let process = workplace.up_with(&variables, &arguments);
        for (file, number) in [("events.jsonl", events.len()), ("again.jsonl", 50), ("wrong.jsonl", 3)] {
            let ingest = workplace.run_with(&variables, &["ingest", file, "--format", "json"]);
            let words = last_words(logs.path())?;
            ensure!(ingest.code == Some(0), "{file}: {}\n{}\n{words}", ingest.stderr, process.running.reported());
            let summary = ingest.json();
            ensure!(summary["elsewhere"].as_u64() == Some(number as u64), "{file}: {summary}\n{words}");
        }
        let ask = |arguments: &[&str]| workplace.run_with(&variables, arguments).expect_code(0).json();
        let platform = ask(&["query", "platform", "--format", "json"]);
        ensure!(platform["total"].as_u64() == Some(events.len() as u64), "{} were sent: {platform}", events.len());
        let letters = ask(&["dead-letters", "list", "--tenant", "*", "--format", "json"]);
        ensure!(letters["dead_letters"].as_array().is_some_and(|letters| letters.len() == 3), "{letters}");
        process.stop().expect_code(0);
        anyhow::Ok(())
    })?;

    for entry in fed() {
        let mut records = 0;
        for topic in entry.spec.topics {
            records += log.offsets(topic.name).await?.iter().map(|range| range.end).sum::<i64>();
        }
        ensure!(records > 50, "{records} records of {} only", entry.spec.name);
    }
    let expected = oracle::fold(&log).await?;
    ensure!(expected.documents.len() == events.len(), "{} statements are expected", expected.documents.len());
    let difference = compare(&Stores { log, ledger, statements }, &expected).await?;
    ensure!(difference.is_none() && difference.letters == 3, "{difference:#?}\n{}", last_words(logs.path())?);
    Ok(())
}

async fn whole_way(endpoints: &Endpoints, emulator: &Path) -> Result<()> {
    let broker = tokio::task::spawn_blocking(|| private(Service::Kafka)).await??;
    let addresses = own_addresses(endpoints, broker.endpoint());
    let Connected { log, ledger, statements } = addresses.prepare(Arc::new(SystemClock)).await?;
    let topics = REGISTRY.iter().flat_map(|entry| entry.spec.topics).map(|topic| (topic.name, topic.partitions));
    for (name, partitions) in topics.chain(dead_letter_topics().map(|topic| (topic, 1))).chain([(GIVEN_UP, 1)]) {
        log.create_topic(TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() }).await?;
    }
    let amount = if extent::is_everything() { ALL } else { A_PART };
    let traffic = Traffic::once(amount);
    traffic.send(&log).await?;

    let logs = tempfile::tempdir()?;
    let environment = function_environment(&addresses);
    let began = Instant::now();
    let mut mappings = Vec::new();
    let mut running = JoinSet::new();
    for entry in fed() {
        let family = entry.spec.name;
        let binary = binary::function(family);
        let function = Arc::new(Emulated::start(&bootstrap(emulator, &binary, &environment, logs.path()), 2).await?);
        for topic in entry.spec.topics {
            let order = MappingOrder { group: "lyceum", batch_size: 500, function_timeout_ms: 60_000 };
            let config = mapping_config(&order, family, topic.name);
            let mapping = Arc::new(EventSourceMapping::new(config, log.clone(), function.clone())?);
            running.spawn(mapping.clone().run(std::future::pending()));
            mappings.push(mapping);
        }
    }
    let settled = async {
        for mapping in &mappings {
            mapping.settled().await?;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(STUCK, settled).await {
        Ok(settled) => settled?,
        Err(_) => {
            let status: Vec<_> = mappings.iter().map(|mapping| mapping.status()).collect();
            bail!("stuck: {status:#?}\n{}", last_words(logs.path())?);
        }
    }
    let took = began.elapsed();
    let lag: i64 = mappings.iter().map(|mapping| mapping.status().lag()).sum();
    ensure!(lag == 0, "{lag} records are not settled");

    let expected = oracle::fold(&log).await?;
    let least = amount.statements + amount.histories - amount.histories / 10;
    ensure!(expected.documents.len() > least, "the fold made {} statements only", expected.documents.len());
    let difference = compare(&Stores { log, ledger, statements }, &expected).await?;
    println!(
        "{} records, {} statements, {} aggregates, {} letters ({} again): lost {}, doubled {}, out of order {}, in {:.0} s",
        traffic.len(),
        expected.documents.len(),
        expected.states.len(),
        difference.letters,
        difference.letters_again,
        difference.lost,
        difference.doubled,
        difference.disordered,
        took.as_secs_f64(),
    );
    ensure!(difference.is_none(), "{difference:#?}\n{}", last_words(logs.path())?);
    Ok(())
}
