//! What the embedded ledger does in a second: `cargo bench -p lyceum-embedded --bench ledger`.

use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use futures::future::join_all;
use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Commit, Content, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, StoredKey,
};
use lyceum_core::record::Position;
use tokio::runtime::Runtime;
use uuid::Uuid;

#[path = "../tests/embedded/opened_ledger/mod.rs"]
mod opened_ledger;

use opened_ledger::Opened;

fn main() {
    divan::main();
}

struct Bench {
    runtime: Runtime,
    ledger: Opened,
    next: AtomicU64,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let ledger = runtime.block_on(Opened::new());
        Self { runtime, ledger, next: AtomicU64::new(0) }
    }

    /// Half of the actions are aggregates of 500 bytes, half keys with a recording of 500.
    fn commit(&self, actions: usize) -> Commit {
        let mut commit = Commit::default();
        for _ in 0..actions / 2 {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let id = AggregateId { tenant: "acme".into(), kind: "program".into(), id: n.to_string().into() };
            let content = Some(Content::of(vec![b'x'; 500]));
            commit.aggregates.push(AggregateWrite { id, expected: None, content });
            let id = KeyId::of("acme", "training", Uuid::new_v4());
            let key = StoredKey {
                status: KeyStatus::Applied,
                epoch: 0,
                content_hash: [7; 32],
                source: Position::new("charter.training", 0, n as i64),
                recording: vec![b'y'; 500].into(),
            };
            commit.keys.push(KeyWrite { id, expected: KeyExpectation::Absent, key });
        }
        commit
    }
}

/// Commits of so many actions, 16 commits in flight.
#[divan::bench(args = [2, 10, 100], sample_count = 20, sample_size = 1)]
fn commit_actions(bencher: Bencher<'_, '_>, actions: usize) {
    const COMMITS: usize = 320;
    let bench = Bench::new();
    bencher.counter(ItemsCount::new(COMMITS)).bench(|| {
        bench.runtime.block_on(join_all((0..16).map(|_| async {
            for _ in 0..COMMITS / 16 {
                bench.ledger.commit(bench.commit(actions)).await.unwrap();
            }
        })));
    });
}

/// Commits of so many actions, one after the other.
#[divan::bench(args = [2, 100], sample_count = 200)]
fn commit_actions_one_by_one(bencher: Bencher<'_, '_>, actions: usize) {
    let bench = Bench::new();
    bencher
        .with_inputs(|| bench.commit(actions))
        .bench_values(|commit| bench.runtime.block_on(bench.ledger.commit(commit)).unwrap());
}

/// 50 aggregates and 50 keys in one question.
#[divan::bench(sample_count = 200)]
fn load_a_hundred_items(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let commit = bench.commit(100);
    bench.runtime.block_on(bench.ledger.commit(commit.clone())).unwrap();
    let aggregates: Vec<_> = commit.aggregates.into_iter().map(|write| write.id).collect();
    let keys: Vec<_> = commit.keys.into_iter().map(|write| write.id).collect();
    bencher.bench(|| bench.runtime.block_on(bench.ledger.load(&aggregates, &keys)).unwrap());
}

/// An empty file, its table and all.
#[divan::bench(sample_count = 20)]
fn open_an_empty_ledger(bencher: Bencher<'_, '_>) {
    bencher.bench(Bench::new);
}
