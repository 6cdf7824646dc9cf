//! Files of a replay: one contract for memory, folders and S3; the same bytes whatever happens on the way; read back by another
//! implementation of Parquet; what each failure says.

mod bytes;
mod contract;
mod failures;
mod given;
mod parquet;

use lyceum_services::Suite;

fn main() {
    let mut suite = Suite::default();
    contract::add(&mut suite);
    bytes::add(&mut suite);
    parquet::add(&mut suite);
    failures::add(&mut suite);
    suite.run()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}
