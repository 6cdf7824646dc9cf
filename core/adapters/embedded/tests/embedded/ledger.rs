//! The ledger's contract, run against its model and its twin, and what only the twin can do: to be opened again, and to
//! survive `kill -9`.

mod model {
    use lyceum_testing::memory::ledger::MemoryLedger;

    lyceum_testing::ledger_contract!(Box::new(MemoryLedger::new()));
}

#[test]
fn every_check_of_the_contract_is_run() {
    let source = include_str!("../../../../testing/src/ledger_contract.rs");
    let listed = &source[source.find("macro_rules!").unwrap()..source.find("fn new_tenant").unwrap()];
    let checks: Vec<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('(').map(|(name, _)| name))
        .collect();
    assert!(checks.len() > 20);
    for check in checks {
        assert!(listed.contains(&format!(" {check},\n")), "{check} is not in the list of ledger_contract!");
    }
}
mod guarded {
    use std::sync::Arc;

    use lyceum_around::guarded::{Dependency, Guard, GuardLimits, Guarded};
    use lyceum_core::metrics::Metrics;
    use lyceum_testing::memory::ledger::MemoryLedger;

    fn guarded() -> Guarded<Arc<MemoryLedger>> {
        let guard = Guard::new(Dependency::DynamoDb, GuardLimits::default(), Arc::new(Metrics::new()));
        Guarded::new(Arc::new(MemoryLedger::new()), Arc::new(guard))
    }

    lyceum_testing::ledger_contract!(Box::new(guarded()));
}
mod embedded {
    use std::env;
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use bytes::Bytes;
    use lyceum_core::ports::ledger::{
        AggregateId, AggregateWrite, Claim, Commit, Content, HomeKey, HomeKeys, KeyExpectation, KeyId, KeyStatus,
        KeyWrite, Ledger, LedgerError, StoredKey,
    };
    use lyceum_core::record::Position;
    use lyceum_dynamodb::{DynamoDbLedger, Operation};
    use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
    use lyceum_testing::clock::ManualClock;
    use lyceum_testing::memory::ledger::MemoryLedger;
    use proptest::prelude::*;
    use uuid::Uuid;

    use crate::opened_ledger::{Opened, open};

    lyceum_testing::ledger_contract!(Opened::new().await);

    fn aggregate(id: impl ToString) -> AggregateId {
        AggregateId { tenant: "acme".into(), kind: "program".into(), id: id.to_string().into() }
    }

    fn key(event_id: u128) -> KeyId {
        KeyId::of("acme", "training", Uuid::from_u128(event_id))
    }

    fn stored_key(status: KeyStatus, epoch: u32) -> StoredKey {
        StoredKey {
            status,
            epoch,
            content_hash: [1; 32],
            source: Position::new("charter.training", 0, 7),
            recording: Bytes::from_static(b"{\"documents\":[]}"),
        }
    }

    /// One aggregate from one version to the next, and one key.
    fn step(id: &AggregateId, read: u64, key: KeyId) -> Commit {
        let content = Some(Content::of(format!("{{\"n\":{}}}", read + 1)));
        let write = AggregateWrite { id: id.clone(), expected: (read > 0).then_some(read), content };
        let value = stored_key(KeyStatus::Applied, 0);
        Commit {
            aggregates: vec![write],
            keys: vec![KeyWrite { id: key, expected: KeyExpectation::Absent, key: value }],
        }
    }

    #[tokio::test]
    async fn everything_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, database) = open(folder.path()).await;
        ledger.commit(step(&aggregate("p"), 0, key(1))).await.unwrap();
        assert_eq!(ledger.count_attempt(&key(2), 0).await, Ok(1));
        let before = ledger.load(&[aggregate("p")], &[key(1)]).await.unwrap();
        assert!(before.aggregates[0].is_some() && before.keys[0].is_some());
        drop(database);
        let error = ledger.load(&[aggregate("p")], &[]).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error:?}");
        let error = ledger.commit(step(&aggregate("p"), 1, key(3))).await.unwrap_err();
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error:?}");

        let (ledger, _database) = open(folder.path()).await;
        assert_eq!(ledger.load(&[aggregate("p")], &[key(1)]).await, Ok(before));
        assert_eq!(ledger.count_attempt(&key(2), 0).await, Ok(2));
    }

    #[test]
    fn a_file_that_is_none_of_its_own_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "not a database, ".repeat(1_000)).unwrap();
        for path in [path, folder.path().to_owned(), folder.path().join("absent/ledger.db")] {
            let error = EmbeddedDynamoDb::open(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()) && error.contains("choose another folder"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        drop(open(folder.path()).await);
        let mut bytes = std::fs::read(&path).unwrap();
        let name = b"schema_version";
        let after: Vec<_> = (name.len()..bytes.len() - 2).filter(|end| bytes[..*end].ends_with(name)).collect();
        for end in after {
            if bytes[end..end + 2].iter().all(u8::is_ascii_digit) {
                bytes[end..end + 2].copy_from_slice(b"99");
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let error = EmbeddedDynamoDb::open(&path).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("ledger.db"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    /// AWS's rules, as dynoxide keeps them: 2 write units per kilobyte in a transaction, 1 outside; 1 read unit per 4 KB.
    #[tokio::test]
    async fn an_aggregate_and_its_key_cost_four_write_units() {
        let ledger = Opened::new().await;
        ledger.commit(step(&aggregate("p"), 0, key(1))).await.unwrap();
        assert_eq!(ledger.capacity().of(Operation::TransactWriteItems).units, 4.0);
        ledger.commit(Commit { aggregates: Vec::new(), ..step(&aggregate("p"), 0, key(2)) }).await.unwrap();
        assert_eq!(ledger.capacity().of(Operation::PutItem).units, 1.0);
        ledger.count_attempt(&key(1), 0).await.unwrap();
        assert_eq!(ledger.capacity().write_units(), 6.0);
        ledger.load(&[aggregate("p")], &[key(1)]).await.unwrap();
        assert_eq!(ledger.capacity().read_units(), 2.0);
        assert_eq!(ledger.capacity().of(Operation::BatchGetItem).calls, 1);
    }

    /// Who holds the file alone knows that whoever held a lease before has ended; who shares it knows nothing of the kind.
    #[tokio::test]
    async fn a_lease_ends_with_the_process_that_held_the_file_alone_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let open = async |is_sole: bool| {
            let database = EmbeddedDynamoDb::open(&folder.path().join("ledger.db")).unwrap();
            let clock = Arc::new(ManualClock::at(1_790_000_000_000));
            let ledger = if is_sole { database.sole_ledger(clock).await } else { database.ledger(clock).await };
            (ledger.unwrap(), database)
        };
        let claim = async |ledger: &DynamoDbLedger, holder: u128| {
            ledger.claim(&key(1), Uuid::from_u128(holder), 1_000, 9_000).await.unwrap()
        };
        let elsewhere = Claim::Elsewhere { until_ms: 9_000 };
        {
            let (ledger, database) = open(true).await;
            assert_eq!(claim(&ledger, 1).await, Claim::Held);
            assert_eq!(claim(&ledger, 2).await, elsewhere, "another worker of the same process may ask");
            let second = database.sole_ledger(Arc::new(ManualClock::at(1_790_000_000_000))).await.unwrap();
            assert_eq!(claim(&second, 2).await, elsewhere, "that of a second handle, too");
        }
        {
            let (shared, _database) = open(false).await;
            assert_eq!(claim(&shared, 2).await, elsewhere, "whoever shares the file waits");
        }
        {
            let (ledger, _database) = open(true).await;
            assert_eq!(claim(&ledger, 2).await, Claim::Held, "who held it has ended");
            assert_eq!(claim(&ledger, 1).await, elsewhere);
        }
        // A lease that somebody was given who shares the file says nothing of a process.
        let (shared, _database) = open(false).await;
        assert_eq!(shared.claim(&key(2), Uuid::from_u128(1), 1_000, 9_000).await, Ok(Claim::Held));
        drop((shared, _database));
        let (ledger, _database) = open(true).await;
        assert_eq!(ledger.claim(&key(2), Uuid::from_u128(2), 1_000, 9_000).await, Ok(Claim::Held));
    }

    /// The child's side of [`what_was_acknowledged_survives_kill_9`].
    const CHILD_FOLDER: &str = "LYCEUM_LEDGER_TEST_FOLDER";

    /// Commits of 40 keys each, so that a kill has something to tear.
    fn torn(round: u64, read: u64) -> Commit {
        let mut commit = step(&aggregate(round), read, key(0));
        let first = commit.keys.remove(0);
        commit.keys.extend(keys_of(round, read + 1).map(|id| KeyWrite { id, ..first.clone() }));
        commit
    }

    fn keys_of(round: u64, version: u64) -> impl Iterator<Item = KeyId> {
        (0..40).map(move |n| key(u128::from(round) << 96 | u128::from(version) << 64 | n))
    }

    #[tokio::test]
    async fn what_was_acknowledged_survives_kill_9() {
        const NAME: &str = "ledger::embedded::what_was_acknowledged_survives_kill_9";
        if let Some(folder) = env::var_os(CHILD_FOLDER) {
            let folder = Path::new(&folder);
            let round = env::var("LYCEUM_LEDGER_TEST_ROUND").unwrap().parse().unwrap();
            let (ledger, _database) = open(folder).await;
            for read in 0.. {
                ledger.commit(torn(round, read)).await.unwrap();
                eprintln!("acknowledged {}", read + 1);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = Vec::new();
        for round in 0..5 {
            let mut child = Command::new(env::current_exe().unwrap())
                .args(["--exact", NAME, "--nocapture"])
                .env(CHILD_FOLDER, folder.path())
                .env("LYCEUM_LEDGER_TEST_ROUND", round.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
            let enough = format!("acknowledged {}", 5 + 7 * round);
            assert!(lines.any(|line| line == enough), "the child ended by itself");
            child.kill().unwrap();
            child.wait().unwrap();
            let last = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).last();
            acknowledged.push(last.unwrap_or(5 + 7 * round));

            let (ledger, _database) = open(folder.path()).await;
            for (round, least) in acknowledged.iter().enumerate() {
                let round = round as u64;
                let stored = ledger.load(&[aggregate(round)], &[]).await.unwrap().aggregates.remove(0).unwrap();
                assert!(stored.version >= *least, "version {} of {least} acknowledged", stored.version);
                for version in 1..=stored.version + 1 {
                    let keys: Vec<_> = keys_of(round, version).collect();
                    let loaded = ledger.load(&[], &keys).await.unwrap().keys;
                    let whole = version <= stored.version;
                    assert!(loaded.iter().all(|key| key.is_some() == whole), "version {version} is half there");
                }
            }
        }
    }

    /// A commit over few ids, so that conditions fail about as often as they hold.
    fn any_commit() -> impl Strategy<Value = Commit> {
        let version = prop_oneof![Just(None), (1..4u64).prop_map(Some)];
        let state = prop_oneof![3 => "[a-c]{0,3}".prop_map(|s| Some(Bytes::from(s))), 1 => Just(None)];
        let here = prop::collection::vec(
            (0..4u128, 0..4u32).prop_map(|(id, epoch)| HomeKey {
                event_id: Uuid::from_u128(id),
                key: stored_key(KeyStatus::Applied, epoch),
            }),
            0..3,
        );
        let keys = (here, any::<bool>()).prop_map(|(here, apart)| HomeKeys { here, apart });
        let content = (state, keys).prop_map(|(state, keys)| Content { state, keys });
        let content = prop_oneof![3 => content.prop_map(Some), 1 => Just(None)];
        let write = (0..3, version, content).prop_map(|(id, expected, content)| AggregateWrite {
            id: aggregate(id),
            expected,
            content,
        });
        let expected = prop_oneof![2 => Just(KeyExpectation::Absent), 1 => (0..3u32).prop_map(KeyExpectation::DeadAt)];
        let status = prop_oneof![Just(KeyStatus::Applied), Just(KeyStatus::Dead)];
        let key = (0..4u128, expected, status, 0..4u32).prop_map(|(id, expected, status, epoch)| KeyWrite {
            id: key(id),
            expected,
            key: stored_key(status, epoch),
        });
        (prop::collection::vec(write, 0..3), prop::collection::vec(key, 0..3))
            .prop_map(|(aggregates, keys)| Commit { aggregates, keys })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_twin_and_the_model_answer_alike(commits in prop::collection::vec(any_commit(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let twin = Opened::new().await;
                let model = MemoryLedger::new();
                for commit in commits {
                    prop_assert_eq!(twin.commit(commit.clone()).await, model.commit(commit).await);
                }
                let ids: Vec<_> = (0..4).map(aggregate).collect();
                let keys: Vec<_> = (0..5).map(key).collect();
                prop_assert_eq!(twin.load(&ids, &keys).await, model.load(&ids, &keys).await);
                let mut listed = twin.list("acme", "program", 10).await.unwrap();
                listed.sort_by(|left, right| left.0.cmp(&right.0));
                let with_state = model.aggregates().into_iter().filter(|(_, stored)| stored.content.state.is_some());
                prop_assert_eq!(listed, with_state.collect::<Vec<_>>());
                Ok(())
            })?;
        }
    }
}
