//! What a test needs that calls the functions' own binaries.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use lyceum_faults::connect::Addresses;
use lyceum_faults::emulator::Bootstrap;
use lyceum_services::{Endpoints, Service};

/// A broker of the test's own: what its topics hold is counted.
pub(crate) const OWN: &[Service] = &[Service::Kafka];
pub(crate) const STORES: &[Service] = &[Service::DynamoDb, Service::OpenSearch];

pub(crate) fn run(test: impl Future<Output = Result<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.expect("a runtime starts").block_on(test);
    result.unwrap_or_else(|error| panic!("{error:?}"));
}

/// A broker for the binaries alone, since they know the catalog's topics by their own names; a table and an index.
pub(crate) fn own_addresses(endpoints: &Endpoints, kafka: &str) -> Addresses {
    let name = format!("whole{}", uuid::Uuid::new_v4().simple());
    Addresses {
        kafka: kafka.to_owned(),
        dynamodb: endpoints.url(Service::DynamoDb).to_owned(),
        search: endpoints.url(Service::OpenSearch).to_owned(),
        prefix: String::new(),
        table: name.clone(),
        index: name,
        dynamodb_timeout_ms: 5_000,
        secrets: None,
    }
}

pub(crate) fn bootstrap<'a>(
    emulator: &'a Path,
    binary: &'a Path,
    environment: &'a BTreeMap<&'static str, String>,
    logs: &'a Path,
) -> Bootstrap<'a> {
    Bootstrap { keeper: Path::new(env!("CARGO_BIN_EXE_fault_worker")), emulator, binary, environment, logs }
}

/// What a function's environment says: the services, and what the emulator wants.
pub(crate) fn function_environment(addresses: &Addresses) -> BTreeMap<&'static str, String> {
    let mut environment = addresses.environment();
    environment.insert("AWS_LAMBDA_FUNCTION_TIMEOUT", "60".to_owned());
    environment
}

/// The ends of the functions' logs.
pub(crate) fn last_words(logs: &Path) -> Result<String> {
    let mut words = String::new();
    for log in logs.read_dir()? {
        let path = log?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).context("reading a log")?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        words += &format!("{}:\n{}\n", path.display(), lines[lines.len().saturating_sub(15)..].join("\n"));
    }
    Ok(words)
}
