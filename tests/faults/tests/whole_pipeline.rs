//! The whole way: Kafka, the local event source mapping, the functions' own binaries under AWS's runtime interface
//! emulator, DynamoDB and OpenSearch; everything is counted afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lyceum_core::adapters::system_clock::SystemClock;
use lyceum_core::ports::event_log::{Retention, TopicSpec};
use lyceum_event_source_mapping::EventSourceMapping;
use lyceum_faults::connect::{Addresses, Connected};
use lyceum_faults::count::{Stores, compare, dead_letter_topics};
use lyceum_faults::emulator::{self, Bootstrap, Emulated};
use lyceum_faults::oracle;
use lyceum_faults::traffic::{Amount, Traffic};
use lyceum_faults::worker::{MappingOrder, mapping_config};
use lyceum_functions::REGISTRY;
use lyceum_given::binary;
use lyceum_services::{Endpoints, Service, Suite, private};
use tokio::task::JoinSet;

const NAME: &str = "22,000 statements and 10,000 events go through the functions' binaries and are counted right";

/// What a producer sends, and gets wrong.
const AMOUNT: Amount = Amount {
    statements: 22_000,
    histories: 10_000,
    poison_each: Some(1_000),
    duplicate_each: Some(100),
    illegal_each: Some(20),
};

/// How long it may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(900);

fn main() {
    let mut suite = Suite::default();
    match emulator::find() {
        Ok(emulator) => {
            suite.test_private(NAME, &[Service::Kafka], &[Service::DynamoDb, Service::OpenSearch], move |endpoints| {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let result = runtime.expect("a runtime starts").block_on(whole_way(endpoints, &emulator));
                result.unwrap_or_else(|error| panic!("{error:?}"));
            })
        }
        Err(why) => suite.missing(NAME, why),
    };
    suite.run()
}

async fn whole_way(endpoints: &Endpoints, emulator: &Path) -> Result<()> {
    // The binaries know the catalog's topics by their own names: a broker for them alone.
    let broker = tokio::task::spawn_blocking(|| private(Service::Kafka)).await??;
    let name = format!("whole{}", uuid::Uuid::new_v4().simple());
    let addresses = Addresses {
        kafka: broker.endpoint().to_owned(),
        dynamodb: endpoints.url(Service::DynamoDb).to_owned(),
        search: endpoints.url(Service::OpenSearch).to_owned(),
        prefix: String::new(),
        table: name.clone(),
        index: name,
        dynamodb_timeout_ms: 5_000,
    };
    let Connected { log, ledger, statements } = addresses.prepare(Arc::new(SystemClock)).await?;
    let topics = REGISTRY.iter().flat_map(|entry| entry.spec.topics).map(|topic| (topic.name, topic.partitions));
    for (name, partitions) in topics.chain(dead_letter_topics().map(|topic| (topic, 1))) {
        log.create_topic(TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() }).await?;
    }
    let traffic = Traffic::once(AMOUNT);
    traffic.send(&log).await?;

    let logs = tempfile::tempdir()?;
    let environment = function_environment(&addresses);
    let began = Instant::now();
    let mut mappings = Vec::new();
    let mut running = JoinSet::new();
    for entry in REGISTRY {
        let family = entry.spec.name;
        let binary = binary::function(family);
        let bootstrap = Bootstrap {
            keeper: Path::new(env!("CARGO_BIN_EXE_fault_worker")),
            emulator,
            binary: &binary,
            environment: &environment,
            logs: logs.path(),
        };
        let function = Arc::new(Emulated::start(&bootstrap, 2).await?);
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
    ensure!(expected.documents.len() > 30_000, "the fold made {} statements only", expected.documents.len());
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

/// What a function's environment says: the services, and what the emulator wants.
fn function_environment(addresses: &Addresses) -> BTreeMap<&'static str, String> {
    let mut environment = addresses.environment();
    environment.insert("AWS_LAMBDA_FUNCTION_TIMEOUT", "60".to_owned());
    environment
}

/// The ends of the functions' logs.
fn last_words(logs: &Path) -> Result<String> {
    let mut words = String::new();
    for log in logs.read_dir()? {
        let path = log?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).context("reading a log")?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        words += &format!("{}:\n{}\n", path.display(), lines[lines.len().saturating_sub(15)..].join("\n"));
    }
    Ok(words)
}
