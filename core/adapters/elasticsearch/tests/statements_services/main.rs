//! The statement store on real Elasticsearch and OpenSearch: the contract that its twin passes, the same questions with
//! the same answers, a mapping that no statement can break, and the failures of production.

mod failures;
mod golden;
mod index;
mod place;

use lyceum_core::ports::statements::Statements;
use lyceum_embedded::statements::{EmbeddedStatements, StatementsOptions};
use lyceum_services::Suite;
use lyceum_testing::statements_contract as contract;
use place::{ENGINES, on_engine, runtime, same_json};

fn main() {
    let mut suite = Suite::default();
    add_contract(&mut suite);
    golden::add(&mut suite);
    index::add(&mut suite);
    failures::add(&mut suite);
    suite.run()
}

/// Every check on the twin, on Elasticsearch and on OpenSearch.
fn add_contract(suite: &mut Suite) {
    macro_rules! add_check {
        ($check:ident) => {
            let name = stringify!($check);
            suite.test(format!("contract::twin::{name}"), &[], |_| on_twin(async |twin| contract::$check(twin).await));
            for (engine, service) in ENGINES {
                suite.test(format!("contract::{engine}::{name}"), &[service], move |endpoints| {
                    on_engine(endpoints.url(service), async |place| contract::$check(&place.prepared().await).await);
                });
            }
        };
    }
    lyceum_testing::statements_contract!(each add_check);
}

/// Adds a test that runs on each engine in an index of its own.
fn on_engines(suite: &mut Suite, name: &str, test: impl AsyncFnOnce(&place::Place) + Send + Copy + 'static) {
    for (engine, service) in ENGINES {
        suite.test(format!("{engine}::{name}"), &[service], move |endpoints| on_engine(endpoints.url(service), test));
    }
}

fn on_twin(check: impl AsyncFnOnce(&dyn Statements)) {
    let folder = tempfile::tempdir().unwrap();
    let options = StatementsOptions { memory_bytes: 15_000_000, ..StatementsOptions::new(same_json) };
    let twin = EmbeddedStatements::open(folder.path(), options).unwrap();
    runtime().block_on(check(&twin));
}
