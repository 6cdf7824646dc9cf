//! The statement store on real Elasticsearch and OpenSearch: the contract that its twin passes, the same questions with
//! the same answers, a mapping that no statement can break, and the failures of production.

mod failures;
mod index;
mod place;
mod reindex;

use lyceum_services::Suite;
use lyceum_testing::analytics::answer_as_ever;
use lyceum_testing::statements_contract as contract;
use place::{ENGINES, on_engine};

fn main() {
    let mut suite = Suite::default();
    add_contract(&mut suite);
    add_golden(&mut suite);
    index::add(&mut suite);
    reindex::add(&mut suite);
    failures::add(&mut suite);
    suite.run()
}

/// Every check on Elasticsearch and on OpenSearch.
fn add_contract(suite: &mut Suite) {
    macro_rules! add_check {
        ($check:ident) => {
            let name = stringify!($check);
            for (engine, service) in ENGINES {
                suite.test(format!("contract::{engine}::{name}"), &[service], move |endpoints| {
                    on_engine(endpoints.url(service), async |place| contract::$check(&place.prepared().await).await);
                });
            }
        };
    }
    lyceum_testing::statements_contract!(each add_check);
}

/// The same answers over three shards as on the twin.
fn add_golden(suite: &mut Suite) {
    for (engine, service) in ENGINES {
        suite.test(format!("golden::{engine}"), &[service], move |endpoints| {
            on_engine(endpoints.url(service), async |place| {
                let statements = place.client(|settings| settings.shards = 3);
                statements.prepare().await.unwrap();
                answer_as_ever(&statements).await;
            });
        });
    }
}

/// Adds a test that runs on each engine in an index of its own.
fn on_engines(suite: &mut Suite, name: &str, test: impl AsyncFnOnce(&place::Place) + Send + Copy + 'static) {
    for (engine, service) in ENGINES {
        suite.test(format!("{engine}::{name}"), &[service], move |endpoints| on_engine(endpoints.url(service), test));
    }
}
