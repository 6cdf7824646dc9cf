//! Registries: one contract for Confluent's API and AWS Glue's, as scripted servers, and for Apicurio Registry, which is real; what
//! each failure means.

mod confluent;
mod glue;
mod scripted;

use lyceum_core::ports::schemas::SchemaRef;
use lyceum_services::Suite;
use lyceum_testing::memory::schemas::MemorySchemas;
use lyceum_testing::schemas_contract::{REGISTERED, what_was_registered_is_found_by_its_name_and_what_was_not_is_none};

fn main() {
    let mut suite = Suite::default();
    suite.test("contract::in_memory", &[], |_| {
        run(async {
            let memory = MemorySchemas::default();
            memory.register(SchemaRef::Id(1), REGISTERED[0]);
            let there = [(SchemaRef::Id(1), REGISTERED[0])];
            what_was_registered_is_found_by_its_name_and_what_was_not_is_none(&memory, &there, &[SchemaRef::Id(2)])
                .await;
        });
    });
    confluent::add(&mut suite);
    glue::add(&mut suite);
    suite.run()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}
