//! What every adapter of this port must do, and its twin and its model with it.
//!
//! Each check is a function of its own that panics where the ledger does otherwise. It makes up a tenant, so that checks may share a
//! ledger, run at once, and be repeated against a real table. [`ledger_contract!`](crate::ledger_contract!) makes a test
//! of each.

use bytes::Bytes;
use futures::future::{BoxFuture, join, join_all};
use uuid::Uuid;

use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Claim, Commit, Content, Home, HomeKey, HomeKeys, KeyExpectation, KeyId, KeyStatus,
    KeyWrite, Ledger, LedgerError, Loaded, MAX_ACTIONS, MAX_COMMIT_BYTES, MAX_HOME_KEY_BYTES, MAX_HOME_KEYS,
    MAX_ITEM_BYTES, MAX_NAME_BYTES, StoredAggregate, StoredKey,
};
use lyceum_core::record::Position;

/// One check of the contract.
pub type Check = for<'a> fn(&'a dyn Ledger) -> BoxFuture<'a, ()>;

/// Makes one test of each check of the ledger's contract. The argument makes something that dereferences to the ledger,
/// and may await: `ledger_contract!(open().await)`. Used in a module of its own, in a crate that has tokio's macros.
///
/// `ledger_contract!(as list)` is the same list as an array of (name, [`Check`]), for a suite that runs them itself.
#[macro_export]
macro_rules! ledger_contract {
    (as list) => {
        $crate::ledger_contract! { @list }
    };
    ($ledger:expr) => {
        $crate::ledger_contract! { @tests $ledger }
    };
    (@$form:ident $($ledger:expr)?) => {
        $crate::ledger_contract! { @@$form $($ledger)?;
            what_was_never_written_loads_as_absent,
            what_was_written_loads_as_it_was,
            answers_stand_in_the_order_of_the_question_with_duplicates,
            more_than_a_hundred_items_load_at_once,
            items_of_many_megabytes_load_at_once,
            an_empty_question_and_an_empty_commit_are_answered,
            versions_grow_by_one,
            an_aggregate_is_only_written_at_the_version_that_was_read,
            a_check_without_state_leaves_the_version,
            a_check_without_state_fails_at_another_version,
            settled_keys_are_those_that_were_written,
            a_key_is_only_written_where_none_is,
            an_applied_key_is_never_overwritten,
            a_dead_key_is_replaced_in_a_later_epoch_only,
            one_failed_condition_leaves_everything_as_it_was,
            storing_the_same_commit_twice_is_a_conflict_and_harmless,
            of_two_commits_at_once_exactly_one_wins,
            a_commit_of_a_hundred_actions_is_written,
            too_many_actions_are_refused,
            an_item_of_the_largest_size_is_written_and_one_byte_more_refused,
            a_commit_of_the_largest_size_is_written_and_one_byte_more_refused,
            the_same_item_twice_is_refused,
            tenants_and_subscribers_are_independent,
            odd_names_never_meet,
            the_longest_names_are_written_and_longer_ones_refused,
            keys_at_home_come_back_with_their_aggregate,
            keys_at_home_are_written_under_the_aggregates_version_alone,
            an_aggregate_may_have_keys_and_no_state,
            as_many_keys_as_a_home_takes_are_written_and_one_more_refused,
            what_no_home_may_keep_is_refused,
            keys_at_home_and_keys_apart_never_meet,
            attempts_are_counted_by_epoch,
            attempts_and_the_key_are_independent,
            a_lease_has_one_holder_until_it_ends_or_is_given_back,
            a_lease_may_be_prolonged_by_its_holder_alone,
            of_two_claims_at_once_exactly_one_is_held,
            leases_keys_and_attempts_are_independent,
            a_list_holds_one_kind_of_one_tenant,
            a_list_holds_at_most_what_was_asked_for,
            a_state_that_is_dropped_is_not_listed_and_the_one_behind_it_is,
            a_ping_is_answered,
        }
    };
    (@@list; $($check:ident),* $(,)?) => {
        [$((
            stringify!($check),
            (|ledger| Box::pin($crate::ledger_contract::$check(ledger)))
                as $crate::ledger_contract::Check,
        )),*]
    };
    (@@tests $ledger:expr; $($check:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let ledger = $ledger;
            println!("{}: {}", module_path!(), stringify!($check));
            $crate::ledger_contract::$check(&*ledger).await;
        }
    )*};
}

/// A tenant that no other check uses.
fn new_tenant() -> String {
    format!("contract-{}", Uuid::new_v4())
}

fn program(tenant: &str, id: &str) -> AggregateId {
    AggregateId { tenant: tenant.into(), kind: "program".into(), id: id.into() }
}

fn new_key(tenant: &str) -> KeyId {
    KeyId::of(tenant, "training", Uuid::new_v4())
}

fn state(text: &str) -> Bytes {
    Bytes::from(format!(r#"{{"state":"{text}"}}"#))
}

fn stored(version: u64, text: &str) -> Option<StoredAggregate> {
    Some(StoredAggregate { version, content: Content::of(state(text)) })
}

fn stored_key(status: KeyStatus, epoch: u32) -> StoredKey {
    StoredKey {
        status,
        epoch,
        content_hash: [0xa5; 32],
        source: Position::new("charter.training", 3, 42),
        recording: Bytes::from_static(b"\x00recorded \xff"),
    }
}

fn write(id: &AggregateId, expected: Option<u64>, text: &str) -> AggregateWrite {
    AggregateWrite { id: id.clone(), expected, content: Some(Content::of(state(text))) }
}

fn check_only(id: &AggregateId, expected: Option<u64>) -> AggregateWrite {
    AggregateWrite { id: id.clone(), expected, content: None }
}

fn write_key(id: &KeyId, expected: KeyExpectation, key: &StoredKey) -> KeyWrite {
    KeyWrite { id: id.clone(), expected, key: key.clone() }
}

fn applied(id: &KeyId) -> KeyWrite {
    write_key(id, KeyExpectation::Absent, &stored_key(KeyStatus::Applied, 0))
}

async fn commit(
    ledger: &dyn Ledger,
    aggregates: impl Into<Vec<AggregateWrite>>,
    keys: impl Into<Vec<KeyWrite>>,
) -> Result<(), LedgerError> {
    ledger.commit(Commit { aggregates: aggregates.into(), keys: keys.into() }).await
}

async fn load(ledger: &dyn Ledger, aggregates: &[AggregateId], keys: &[KeyId]) -> Loaded {
    ledger.load(aggregates, keys).await.expect("the ledger loads")
}

async fn load_aggregate(ledger: &dyn Ledger, id: &AggregateId) -> Option<StoredAggregate> {
    load(ledger, std::slice::from_ref(id), &[]).await.aggregates.remove(0)
}

async fn load_key(ledger: &dyn Ledger, id: &KeyId) -> Option<StoredKey> {
    load(ledger, &[], std::slice::from_ref(id)).await.keys.remove(0)
}

#[track_caller]
fn assert_refused(result: &Result<(), LedgerError>, words: &[usize]) {
    let Err(LedgerError::Refused(reason)) = result else { panic!("expected a refusal, got {result:?}") };
    for word in words {
        assert!(reason.contains(&word.to_string()), "the reason does not tell {word}: {reason}");
    }
}

/// Absent is `None`, of aggregates and of keys, asked for one by one or together.
pub async fn what_was_never_written_loads_as_absent(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    assert_eq!(load_aggregate(ledger, &program(&tenant, "p")).await, None);
    assert_eq!(load_key(ledger, &new_key(&tenant)).await, None);
    let loaded = load(ledger, &[program(&tenant, "p")], &[new_key(&tenant)]).await;
    assert_eq!(loaded, Loaded { aggregates: vec![None], keys: vec![None] });
}

/// Every field comes back, whatever its bytes.
pub async fn what_was_written_loads_as_it_was(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    for (n, bytes) in [&b"{\"a\":\"\\u0000 \xc3\xa4 \xf0\x9f\x8e\x93\"}"[..], b"", b"\xff\xfe\x00", b"\"\\\n\x00"]
        .into_iter()
        .enumerate()
    {
        let (id, key) = (program(&tenant, &n.to_string()), new_key(&tenant));
        let state = Bytes::from_static(bytes);
        let value = StoredKey {
            recording: state.clone(),
            epoch: u32::MAX,
            source: Position::new("a/b", i32::MAX, i64::MAX),
            ..stored_key(KeyStatus::Dead, 0)
        };
        let aggregate = AggregateWrite { id: id.clone(), expected: None, content: Some(Content::of(state.clone())) };
        commit(ledger, [aggregate], [write_key(&key, KeyExpectation::Absent, &value)]).await.unwrap();
        assert_eq!(
            load_aggregate(ledger, &id).await,
            Some(StoredAggregate { version: 1, content: Content::of(state) })
        );
        assert_eq!(load_key(ledger, &key).await, Some(value));
    }
}

/// One answer for each thing asked for, in its place, however often it is asked for.
pub async fn answers_stand_in_the_order_of_the_question_with_duplicates(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let [a, b, absent] = ["a", "b", "absent"].map(|id| program(&tenant, id));
    let [key, no_key] = [(); 2].map(|()| new_key(&tenant));
    let write_of_key = applied(&key);
    let value = Some(write_of_key.key.clone());
    commit(ledger, [write(&a, None, "a"), write(&b, None, "b")], [write_of_key]).await.unwrap();
    let loaded = load(ledger, &[b.clone(), absent, a.clone(), b], &[no_key, key.clone(), key]).await;
    assert_eq!(loaded.aggregates, [stored(1, "b"), None, stored(1, "a"), stored(1, "b")]);
    assert_eq!(loaded.keys, [None, value.clone(), value]);
    let loaded = load(ledger, &[a.clone(), a], &[]).await;
    assert_eq!(loaded.aggregates, [stored(1, "a"), stored(1, "a")]);
}

/// DynamoDB takes 100 items in one question; the port has no such limit.
pub async fn more_than_a_hundred_items_load_at_once(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let ids: Vec<_> = (0..130).map(|n| program(&tenant, &n.to_string())).collect();
    let keys: Vec<_> = (0..130).map(|_| new_key(&tenant)).collect();
    for n in [0, 99, 100, 129] {
        commit(ledger, [write(&ids[n], None, &n.to_string())], [applied(&keys[n])]).await.unwrap();
    }
    let loaded = load(ledger, &ids, &keys).await;
    for n in 0..130 {
        let there = [0, 99, 100, 129].contains(&n);
        assert_eq!(loaded.aggregates[n], if there { stored(1, &n.to_string()) } else { None }, "aggregate {n}");
        assert_eq!(loaded.keys[n].is_some(), there, "key {n}");
    }
}

/// DynamoDB answers with at most 16 MB and leaves the rest to be asked for again.
pub async fn items_of_many_megabytes_load_at_once(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let state = Bytes::from(vec![b'x'; MAX_ITEM_BYTES]);
    let ids: Vec<_> = (0..45).map(|n| program(&tenant, &n.to_string())).collect();
    for batch in ids.chunks(9) {
        let writes = batch.iter().map(|id| AggregateWrite {
            id: id.clone(),
            expected: None,
            content: Some(Content::of(state.clone())),
        });
        commit(ledger, writes.collect::<Vec<_>>(), []).await.unwrap();
    }
    let loaded = load(ledger, &ids, &[]).await;
    let expected = Some(StoredAggregate { version: 1, content: Content::of(state) });
    assert!(loaded.aggregates.iter().all(|aggregate| *aggregate == expected));
}

/// Nothing asked for, nothing to do: no error.
pub async fn an_empty_question_and_an_empty_commit_are_answered(ledger: &dyn Ledger) {
    assert_eq!(load(ledger, &[], &[]).await, Loaded::default());
    assert_eq!(commit(ledger, [], []).await, Ok(()));
}

/// The first version is 1.
pub async fn versions_grow_by_one(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let id = program(&tenant, "p");
    for version in 0..4 {
        let expected = (version > 0).then_some(version);
        commit(ledger, [write(&id, expected, "next")], [applied(&new_key(&tenant))]).await.unwrap();
        assert_eq!(load_aggregate(ledger, &id).await, stored(version + 1, "next"));
    }
}

/// Absent is a version, too; a commit of one aggregate alone is under the same condition.
pub async fn an_aggregate_is_only_written_at_the_version_that_was_read(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let id = program(&tenant, "p");
    for with_key in [false, true] {
        let keys = || if with_key { vec![applied(&new_key(&tenant))] } else { Vec::new() };
        let id = AggregateId { kind: with_key.to_string().into(), ..id.clone() };
        assert_eq!(commit(ledger, [write(&id, Some(1), "of nothing")], keys()).await, Err(LedgerError::Conflict));
        assert_eq!(commit(ledger, [write(&id, None, "first")], keys()).await, Ok(()));
        assert_eq!(commit(ledger, [write(&id, None, "first again")], keys()).await, Err(LedgerError::Conflict));
        assert_eq!(commit(ledger, [write(&id, Some(1), "second")], keys()).await, Ok(()));
        for stale in [None, Some(0), Some(1), Some(3)] {
            assert_eq!(commit(ledger, [write(&id, stale, "stale")], keys()).await, Err(LedgerError::Conflict));
        }
        assert_eq!(load_aggregate(ledger, &id).await, stored(2, "second"));
    }
}

/// A rejection alone is conditional on the aggregate, and does not change it.
pub async fn a_check_without_state_leaves_the_version(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let [id, absent] = ["p", "absent"].map(|id| program(&tenant, id));
    commit(ledger, [write(&id, None, "as it was")], []).await.unwrap();
    let key = new_key(&tenant);
    commit(ledger, [check_only(&id, Some(1)), check_only(&absent, None)], [applied(&key)]).await.unwrap();
    commit(ledger, [check_only(&id, Some(1))], []).await.unwrap();
    assert_eq!(load(ledger, &[id, absent], &[]).await.aggregates, [stored(1, "as it was"), None]);
    assert!(load_key(ledger, &key).await.is_some());
}

/// And it is a condition like any other.
pub async fn a_check_without_state_fails_at_another_version(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let [id, absent] = ["p", "absent"].map(|id| program(&tenant, id));
    commit(ledger, [write(&id, None, "first")], []).await.unwrap();
    let key = new_key(&tenant);
    for check in [check_only(&id, None), check_only(&id, Some(2)), check_only(&absent, Some(1))] {
        assert_eq!(commit(ledger, [check.clone()], [applied(&key)]).await, Err(LedgerError::Conflict), "{check:?}");
        assert_eq!(commit(ledger, [check.clone()], []).await, Err(LedgerError::Conflict), "{check:?} alone");
    }
    assert_eq!(load_key(ledger, &key).await, None);
}

/// In the order of the question, with duplicates, and more than DynamoDB takes at once.
pub async fn settled_keys_are_those_that_were_written(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    assert_eq!(ledger.load_settled_keys(&[]).await, Ok(Vec::new()));
    let mut keys: Vec<_> = (0..130).map(|_| new_key(&tenant)).collect();
    let mut expected = vec![None; 130];
    for n in [0, 99, 100, 129] {
        let write = applied(&keys[n]);
        expected[n] = Some(write.key.clone());
        commit(ledger, [], [write]).await.unwrap();
    }
    keys.push(keys[99].clone());
    expected.push(expected[99].clone());
    assert_eq!(ledger.load_settled_keys(&keys).await, Ok(expected));
}

/// Alone and with others.
pub async fn a_key_is_only_written_where_none_is(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let key = new_key(&tenant);
    let first = applied(&key);
    commit(ledger, [], [first.clone()]).await.unwrap();
    assert_eq!(commit(ledger, [], [applied(&key)]).await, Err(LedgerError::Conflict));
    assert_eq!(commit(ledger, [], [applied(&key), applied(&new_key(&tenant))]).await, Err(LedgerError::Conflict));
    assert_eq!(load_key(ledger, &key).await, Some(first.key));
}

/// Whatever is expected of it.
pub async fn an_applied_key_is_never_overwritten(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let key = new_key(&tenant);
    let first = write_key(&key, KeyExpectation::Absent, &stored_key(KeyStatus::Applied, 2));
    commit(ledger, [], [first.clone()]).await.unwrap();
    for expected in [KeyExpectation::Absent, KeyExpectation::DeadAt(0), KeyExpectation::DeadAt(2)] {
        for status in [KeyStatus::Applied, KeyStatus::Dead] {
            let again = write_key(&key, expected, &stored_key(status, 9));
            assert_eq!(commit(ledger, [], [again.clone()]).await, Err(LedgerError::Conflict), "{again:?}");
            let with_other = [again, applied(&new_key(&tenant))];
            assert_eq!(commit(ledger, [], with_other).await, Err(LedgerError::Conflict));
        }
    }
    assert_eq!(load_key(ledger, &key).await, Some(first.key));
}

/// The epoch must be exactly the one that was read, and the new one larger, or the condition would hold twice.
pub async fn a_dead_key_is_replaced_in_a_later_epoch_only(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let key = new_key(&tenant);
    let dead = |epoch| stored_key(KeyStatus::Dead, epoch);
    let early = write_key(&key, KeyExpectation::DeadAt(0), &dead(1));
    assert_eq!(commit(ledger, [], [early]).await, Err(LedgerError::Conflict));
    commit(ledger, [], [write_key(&key, KeyExpectation::Absent, &dead(1))]).await.unwrap();
    for expected in [KeyExpectation::Absent, KeyExpectation::DeadAt(0), KeyExpectation::DeadAt(2)] {
        let replay = write_key(&key, expected, &dead(5));
        assert_eq!(commit(ledger, [], [replay]).await, Err(LedgerError::Conflict), "{expected:?}");
    }
    for epoch in [0, 1] {
        assert_refused(&commit(ledger, [], [write_key(&key, KeyExpectation::DeadAt(1), &dead(epoch))]).await, &[]);
    }
    commit(ledger, [], [write_key(&key, KeyExpectation::DeadAt(1), &dead(2))]).await.unwrap();
    let last = write_key(&key, KeyExpectation::DeadAt(2), &stored_key(KeyStatus::Applied, 3));
    commit(ledger, [write(&program(&tenant, "p"), None, "replayed")], [last.clone()]).await.unwrap();
    assert_eq!(load_key(ledger, &key).await, Some(last.key));
}

/// Across aggregates and keys, whichever condition it is.
pub async fn one_failed_condition_leaves_everything_as_it_was(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let [old, new, stale] = ["old", "new", "stale"].map(|id| program(&tenant, id));
    let [taken, free] = [(); 2].map(|()| new_key(&tenant));
    commit(ledger, [write(&old, None, "old"), write(&stale, None, "stale")], [applied(&taken)]).await.unwrap();
    let before = load(ledger, &[old.clone(), new.clone(), stale.clone()], &[taken.clone(), free.clone()]).await;
    let good = [write(&old, Some(1), "changed"), write(&new, None, "changed")];
    for (aggregate, key) in [
        (Some(write(&stale, Some(7), "changed")), None),
        (Some(check_only(&stale, None)), None),
        (None, Some(applied(&taken))),
        (None, Some(write_key(&taken, KeyExpectation::DeadAt(0), &stored_key(KeyStatus::Applied, 1)))),
    ] {
        let aggregates: Vec<_> = good.iter().cloned().chain(aggregate).collect();
        let keys: Vec<_> = [applied(&free)].into_iter().chain(key).collect();
        assert_eq!(commit(ledger, aggregates, keys).await, Err(LedgerError::Conflict));
        let after = load(ledger, &[old.clone(), new.clone(), stale.clone()], &[taken.clone(), free.clone()]).await;
        assert_eq!(after, before);
    }
}

/// A worker whose answer was lost may try again without harm.
pub async fn storing_the_same_commit_twice_is_a_conflict_and_harmless(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let (id, key) = (program(&tenant, "p"), new_key(&tenant));
    for commit in [
        Commit { aggregates: vec![write(&id, None, "once")], keys: vec![applied(&key)] },
        Commit { aggregates: vec![write(&program(&tenant, "alone"), None, "once")], keys: Vec::new() },
        Commit { aggregates: Vec::new(), keys: vec![applied(&new_key(&tenant))] },
    ] {
        assert_eq!(ledger.commit(commit.clone()).await, Ok(()));
        assert_eq!(ledger.commit(commit).await, Err(LedgerError::Conflict));
    }
    assert_eq!(load_aggregate(ledger, &id).await, stored(1, "once"));
}

/// And the others learn that they lost.
pub async fn of_two_commits_at_once_exactly_one_wins(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let id = program(&tenant, "p");
    for version in 0..10 {
        let expected = (version > 0).then_some(version);
        let (left_key, right_key) = (new_key(&tenant), new_key(&tenant));
        let left = commit(ledger, [write(&id, expected, "left")], [applied(&left_key)]);
        let right = commit(ledger, [write(&id, expected, "right")], [applied(&right_key)]);
        let (left, right) = join(left, right).await;
        let winner = match (left, right) {
            (Ok(()), Err(LedgerError::Conflict)) => "left",
            (Err(LedgerError::Conflict), Ok(())) => "right",
            // DynamoDB may refuse both where they touch; then neither may have written.
            (Err(LedgerError::Conflict), Err(LedgerError::Conflict)) => {
                commit(ledger, [write(&id, expected, "neither")], [applied(&left_key), applied(&right_key)])
                    .await
                    .expect("two conflicts have written nothing");
                continue;
            }
            both => panic!("two commits at version {version} ended with {both:?}"),
        };
        assert_eq!(load_aggregate(ledger, &id).await, stored(version + 1, winner));
        assert_eq!(load_key(ledger, &left_key).await.is_some(), winner == "left");
        assert_eq!(load_key(ledger, &right_key).await.is_some(), winner == "right");
    }
    let raced = join_all((0..8).map(|_| commit(ledger, [], [applied(&key_of(&tenant))]))).await;
    assert!(raced.iter().filter(|result| result.is_ok()).count() <= 1, "one key was written twice: {raced:?}");
}

fn key_of(tenant: &str) -> KeyId {
    KeyId { event_id: Uuid::nil(), ..new_key(tenant) }
}

/// The most that DynamoDB takes in one transaction, as aggregates and keys.
pub async fn a_commit_of_a_hundred_actions_is_written(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let ids: Vec<_> = (0..MAX_ACTIONS / 2).map(|n| program(&tenant, &n.to_string())).collect();
    let keys: Vec<_> = (0..MAX_ACTIONS / 2).map(|_| new_key(&tenant)).collect();
    let aggregates: Vec<_> = ids.iter().map(|id| write(id, None, "together")).collect();
    commit(ledger, aggregates, keys.iter().map(applied).collect::<Vec<_>>()).await.unwrap();
    let loaded = load(ledger, &ids, &keys).await;
    assert!(loaded.aggregates.iter().all(|aggregate| *aggregate == stored(1, "together")));
    assert!(loaded.keys.iter().all(Option::is_some));
}

/// Before anything is written.
pub async fn too_many_actions_are_refused(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let id = program(&tenant, "p");
    let keys: Vec<_> = (0..MAX_ACTIONS).map(|_| applied(&new_key(&tenant))).collect();
    let result = commit(ledger, [write(&id, None, "too many")], keys).await;
    assert_refused(&result, &[MAX_ACTIONS + 1, MAX_ACTIONS]);
    assert_eq!(load_aggregate(ledger, &id).await, None);
}

/// Of a state and of a recording.
pub async fn an_item_of_the_largest_size_is_written_and_one_byte_more_refused(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let largest = Bytes::from(vec![b'x'; MAX_ITEM_BYTES]);
    let larger = Bytes::from(vec![b'x'; MAX_ITEM_BYTES + 1]);
    let aggregate = |name: &str, state: &Bytes| AggregateWrite {
        id: program(&tenant, name),
        expected: None,
        content: Some(Content::of(state.clone())),
    };
    let key = |recording: &Bytes| {
        let key = StoredKey { recording: recording.clone(), ..stored_key(KeyStatus::Applied, 0) };
        write_key(&new_key(&tenant), KeyExpectation::Absent, &key)
    };
    let fits = key(&largest);
    commit(ledger, [aggregate("fits", &largest)], [fits.clone()]).await.unwrap();
    assert_eq!(load_key(ledger, &fits.id).await, Some(fits.key));
    for (aggregates, keys) in [
        (vec![aggregate("too large", &larger), aggregate("other", &largest)], vec![]),
        (vec![aggregate("other", &largest)], vec![key(&larger)]),
    ] {
        assert_refused(&commit(ledger, aggregates, keys).await, &[MAX_ITEM_BYTES + 1, MAX_ITEM_BYTES]);
    }
    assert_eq!(load_aggregate(ledger, &program(&tenant, "other")).await, None);
}

/// Of all states and recordings together.
pub async fn a_commit_of_the_largest_size_is_written_and_one_byte_more_refused(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    for excess in [1, 0] {
        let (mut left, mut aggregates) = (MAX_COMMIT_BYTES + excess, Vec::new());
        while left > 0 {
            let size = left.min(MAX_ITEM_BYTES);
            left -= size;
            let id = program(&tenant, &aggregates.len().to_string());
            aggregates.push(AggregateWrite { id, expected: None, content: Some(Content::of(vec![b'x'; size])) });
        }
        let ids: Vec<_> = aggregates.iter().map(|write| write.id.clone()).collect();
        let result = commit(ledger, aggregates, []).await;
        if excess > 0 {
            assert_refused(&result, &[MAX_COMMIT_BYTES + 1, MAX_COMMIT_BYTES]);
        } else {
            assert_eq!(result, Ok(()));
        }
        let written = load(ledger, &ids, &[]).await.aggregates;
        assert!(written.iter().all(|aggregate| aggregate.is_some() == (excess == 0)));
    }
}

/// DynamoDB takes no item twice in a transaction, and two states for one aggregate make no sense.
pub async fn the_same_item_twice_is_refused(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let (id, key) = (program(&tenant, "p"), new_key(&tenant));
    assert_refused(&commit(ledger, [write(&id, None, "a"), write(&id, None, "b")], []).await, &[]);
    assert_refused(&commit(ledger, [write(&id, None, "a"), check_only(&id, None)], []).await, &[]);
    assert_refused(&commit(ledger, [write(&id, None, "a")], [applied(&key), applied(&key)]).await, &[]);
    assert_eq!(load_aggregate(ledger, &id).await, None);
    assert_eq!(load_key(ledger, &key).await, None);
}

/// The same event for two tenants, or two subscribers of one tenant, has two keys and two counts.
pub async fn tenants_and_subscribers_are_independent(ledger: &dyn Ledger) {
    let first = new_key(&new_tenant());
    let subscriber = KeyId { subscriber: "search".into(), ..first.clone() };
    let tenant = KeyId { tenant: new_tenant().into(), ..first.clone() };
    for key in [&first, &subscriber, &tenant] {
        assert_eq!(load_key(ledger, key).await, None);
        commit(ledger, [write(&program(&key.tenant, &key.subscriber), None, &key.tenant)], [applied(key)])
            .await
            .unwrap();
        assert_eq!(ledger.count_attempt(key, 0).await, Ok(1));
    }
    let programs = [&first, &tenant].map(|key| program(&key.tenant, &key.subscriber));
    let loaded = load(ledger, &programs, &[]).await;
    assert_eq!(loaded.aggregates, [stored(1, &first.tenant), stored(1, &tenant.tenant)]);
}

/// Separators, escapes, emptiness and lengths around DynamoDB's limits, in every part of a name.
pub async fn odd_names_never_meet(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let mut names: Vec<String> =
        ["", "#", "/", "a/b", "a#b", "%", "%2F", "%252F", "~", "%7E", "=", "é", "e\u{301}", "\u{0}", " ", "😀"]
            .map(String::from)
            .into();
    names.extend([510, 511, 512, 513, 1_000, 1_022, 1_023, 1_024, 2_000].map(|length| "x".repeat(length)));
    names.push("/".repeat(MAX_NAME_BYTES));
    names.push(format!("{}y", "x".repeat(1_999)));
    let aggregates: Vec<_> = names
        .iter()
        .flat_map(|odd| {
            [
                AggregateId { tenant: format!("{tenant}{odd}").into(), kind: "k".into(), id: "i".into() },
                AggregateId { tenant: tenant.clone().into(), kind: odd.clone().into(), id: "i".into() },
                AggregateId { tenant: tenant.clone().into(), kind: "k".into(), id: odd.clone().into() },
            ]
        })
        .filter(|id| id.tenant.len() <= MAX_NAME_BYTES)
        .collect();
    let event_id = Uuid::new_v4();
    let apart = names.iter().map(|odd| KeyId::of(&tenant, odd, event_id));
    let at_home = aggregates.iter().map(|home| KeyId::at(home, "training", event_id));
    let keys: Vec<_> = apart.chain(at_home).collect();
    for (n, id) in aggregates.iter().enumerate() {
        let written = commit(ledger, [write(id, None, &n.to_string())], []).await;
        assert_eq!(written, Ok(()), "{id:?} met another");
    }
    for (n, id) in keys.iter().enumerate() {
        assert_eq!(commit(ledger, [], [applied(id)]).await, Ok(()), "{id:?} met another");
        assert_eq!(ledger.count_attempt(id, n as u32).await, Ok(1), "{id:?} met another");
    }
    let loaded = load(ledger, &aggregates, &keys).await;
    for (n, aggregate) in loaded.aggregates.iter().enumerate() {
        assert_eq!(*aggregate, stored(1, &n.to_string()), "{:?}", aggregates[n]);
    }
    assert!(loaded.keys.iter().all(Option::is_some));
    let listed = ledger.list(&tenant, "k", 1_000).await.unwrap();
    let mut listed: Vec<_> = listed.into_iter().map(|(id, _)| id).collect();
    let mut expected: Vec<_> = aggregates.into_iter().filter(|id| id.tenant == tenant && id.kind == "k").collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

/// Before anything is written, telling the size and the limit.
pub async fn the_longest_names_are_written_and_longer_ones_refused(ledger: &dyn Ledger) {
    let longest = |first: char| format!("{first}{}{}", Uuid::new_v4(), "n".repeat(MAX_NAME_BYTES - 37));
    let id = AggregateId { tenant: longest('t').into(), kind: longest('k').into(), id: longest('i').into() };
    let key = KeyId::at(&AggregateId { tenant: longest('t').into(), ..id.clone() }, longest('s'), Uuid::new_v4());
    let home = |kind: &str, id: &str| Some(Home { kind: kind.into(), id: id.into() });
    commit(ledger, [write(&id, None, "longest")], [applied(&key)]).await.unwrap();
    assert_eq!(load_aggregate(ledger, &id).await, stored(1, "longest"));
    assert!(load_key(ledger, &key).await.is_some());
    assert_eq!(ledger.list(&id.tenant, &id.kind, 2).await.unwrap()[0].0, id);
    let longer = |name: &str| format!("{name}n");
    for id in [
        AggregateId { tenant: longer(&id.tenant).into(), ..id.clone() },
        AggregateId { kind: longer(&id.kind).into(), ..id.clone() },
        AggregateId { id: longer(&id.id).into(), ..id.clone() },
    ] {
        assert_refused(&commit(ledger, [write(&id, None, "longer")], []).await, &[MAX_NAME_BYTES + 1, MAX_NAME_BYTES]);
        assert_eq!(load_aggregate(ledger, &id).await, None);
    }
    for key in [
        KeyId { tenant: longer(&key.tenant).into(), ..key.clone() },
        KeyId { subscriber: longer(&key.subscriber).into(), ..key.clone() },
        KeyId { home: home(&longer(&id.kind), &id.id), ..key.clone() },
        KeyId { home: home(&id.kind, &longer(&id.id)), ..key.clone() },
    ] {
        let sizes = [MAX_NAME_BYTES + 1, MAX_NAME_BYTES];
        assert_refused(&commit(ledger, [], [applied(&key)]).await, &sizes);
        assert_refused(&ledger.count_attempt(&key, 0).await.map(drop), &sizes);
        assert_eq!(load_key(ledger, &key).await, None);
    }
}

fn home_key(epoch: u32, recording: &'static [u8]) -> HomeKey {
    let key = StoredKey { recording: Bytes::from_static(recording), ..stored_key(KeyStatus::Applied, epoch) };
    HomeKey { event_id: Uuid::new_v4(), key }
}

fn write_home(
    id: &AggregateId,
    expected: Option<u64>,
    state: Option<Bytes>,
    here: Vec<HomeKey>,
    apart: bool,
) -> AggregateWrite {
    let content = Content { state, keys: HomeKeys { here, apart } };
    AggregateWrite { id: id.clone(), expected, content: Some(content) }
}

/// In their order, with every field, whatever the bytes of a recording.
pub async fn keys_at_home_come_back_with_their_aggregate(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    for (n, apart) in [false, true].into_iter().enumerate() {
        let id = program(&tenant, &n.to_string());
        let here = vec![home_key(0, b"{\"s\":1}"), home_key(u32::MAX, b""), home_key(3, b"\xff\x00")];
        let write = write_home(&id, None, Some(state("with keys")), here, apart);
        let content = write.content.clone().unwrap();
        commit(ledger, [write], []).await.unwrap();
        assert_eq!(load_aggregate(ledger, &id).await, Some(StoredAggregate { version: 1, content }));
    }
    let id = program(&tenant, "none yet");
    let write = write_home(&id, None, Some(state("no key")), Vec::new(), false);
    let content = write.content.clone().unwrap();
    commit(ledger, [write], []).await.unwrap();
    assert_eq!(load_aggregate(ledger, &id).await, Some(StoredAggregate { version: 1, content }));
}

/// Alone and beside other items: a writer that read another version changes neither state nor keys.
pub async fn keys_at_home_are_written_under_the_aggregates_version_alone(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let id = program(&tenant, "p");
    let first = write_home(&id, None, Some(state("first")), vec![home_key(0, b"r")], false);
    commit(ledger, [first.clone()], []).await.unwrap();
    for keys in [vec![], vec![applied(&new_key(&tenant))]] {
        for stale in [None, Some(0), Some(2)] {
            let late = write_home(&id, stale, Some(state("late")), vec![home_key(0, b"l")], true);
            assert_eq!(commit(ledger, [late], keys.clone()).await, Err(LedgerError::Conflict));
        }
    }
    let stored = Some(StoredAggregate { version: 1, content: first.content.clone().unwrap() });
    assert_eq!(load_aggregate(ledger, &id).await, stored);
    let mut keys = first.content.unwrap().keys.here;
    keys.push(home_key(1, b"s"));
    let second = write_home(&id, Some(1), Some(state("second")), keys, false);
    let content = second.content.clone().unwrap();
    commit(ledger, [second], []).await.unwrap();
    assert_eq!(load_aggregate(ledger, &id).await, Some(StoredAggregate { version: 2, content }));
}

/// As where every event so far was rejected. No list has it.
pub async fn an_aggregate_may_have_keys_and_no_state(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let [id, other] = ["no state", "with state"].map(|id| program(&tenant, id));
    let write_of = write_home(&id, None, None, Vec::new(), true);
    let content = write_of.content.clone().unwrap();
    let key = new_key(&tenant);
    commit(ledger, [write_of, write(&other, None, "state")], [applied(&key)]).await.unwrap();
    assert_eq!(load_aggregate(ledger, &id).await, Some(StoredAggregate { version: 1, content }));
    let listed = ledger.list(&tenant, "program", 10).await.unwrap();
    assert_eq!(listed.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [other]);
    commit(ledger, [write(&id, Some(1), "now it has one")], []).await.unwrap();
    assert_eq!(load_aggregate(ledger, &id).await, stored(2, "now it has one"));
}

/// Each of the largest size.
pub async fn as_many_keys_as_a_home_takes_are_written_and_one_more_refused(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let topic = "t".repeat(MAX_HOME_KEY_BYTES / 2);
    let largest = |excess: usize| {
        let recording = Bytes::from(vec![b'r'; MAX_HOME_KEY_BYTES - topic.len() + excess]);
        let source = Position::new(topic.as_str(), i32::MAX, i64::MAX);
        HomeKey { event_id: Uuid::new_v4(), key: StoredKey { recording, source, ..stored_key(KeyStatus::Applied, 0) } }
    };
    let id = program(&tenant, "p");
    let keys: Vec<_> = (0..=MAX_HOME_KEYS).map(|_| largest(0)).collect();
    let state = Some(Bytes::from(vec![b'x'; MAX_ITEM_BYTES]));
    let too_many = write_home(&id, None, state.clone(), keys.clone(), false);
    assert_refused(&commit(ledger, [too_many], []).await, &[MAX_HOME_KEYS + 1, MAX_HOME_KEYS]);
    let too_large = write_home(&id, None, state.clone(), vec![largest(1)], false);
    assert_refused(&commit(ledger, [too_large], []).await, &[MAX_HOME_KEY_BYTES + 1, MAX_HOME_KEY_BYTES]);
    assert_eq!(load_aggregate(ledger, &id).await, None);
    let all = write_home(&id, None, state, keys[1..].to_vec(), true);
    let content = all.content.clone().unwrap();
    commit(ledger, [all], []).await.unwrap();
    assert_eq!(load_aggregate(ledger, &id).await, Some(StoredAggregate { version: 1, content }));
}

/// A key that may change, a key twice, a source that is no position.
pub async fn what_no_home_may_keep_is_refused(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let id = program(&tenant, "p");
    let key = home_key(0, b"r");
    let dead = HomeKey { key: stored_key(KeyStatus::Dead, 0), ..key.clone() };
    let nowhere = HomeKey { key: StoredKey { source: Position::new("t", 0, -1), ..key.key.clone() }, ..key.clone() };
    for here in [vec![dead], vec![key.clone(), key], vec![nowhere]] {
        let write = write_home(&id, None, Some(state("refused")), here, false);
        assert_refused(&commit(ledger, [write], []).await, &[]);
    }
    assert_eq!(load_aggregate(ledger, &id).await, None);
}

/// The same event may have one of each, and one for each home: who asks for keys is answered with those that are items of
/// their own.
pub async fn keys_at_home_and_keys_apart_never_meet(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let (id, key) = (program(&tenant, "p"), new_key(&tenant));
    let home = HomeKey { event_id: key.event_id, ..home_key(0, b"home") };
    commit(ledger, [write_home(&id, None, None, vec![home], false)], []).await.unwrap();
    assert_eq!(load_key(ledger, &key).await, None);
    let [of_home, of_other] =
        [&id, &program(&tenant, "other")].map(|home| KeyId::at(home, &*key.subscriber, key.event_id));
    for id in [&key, &of_home, &of_other] {
        assert_eq!(load_key(ledger, id).await, None);
        let apart = applied(id);
        commit(ledger, [], [apart.clone()]).await.unwrap();
        assert_eq!(load_key(ledger, id).await, Some(apart.key));
    }
}

/// Whoever comes meanwhile learns until when.
pub async fn a_lease_has_one_holder_until_it_ends_or_is_given_back(ledger: &dyn Ledger) {
    let key = new_key(&new_tenant());
    let [first, second] = [1, 2].map(Uuid::from_u128);
    assert_eq!(ledger.claim(&key, first, 1_000, 2_000).await, Ok(Claim::Held));
    for now_ms in [1_000, 1_999] {
        let claimed = ledger.claim(&key, second, now_ms, 3_000).await;
        assert_eq!(claimed, Ok(Claim::Elsewhere { until_ms: 2_000 }));
    }
    assert_eq!(ledger.claim(&key, second, 2_000, 3_000).await, Ok(Claim::Held), "it has ended");
    assert_eq!(ledger.claim(&key, first, 2_500, 4_000).await, Ok(Claim::Elsewhere { until_ms: 3_000 }));
    assert_eq!(ledger.claim(&key, second, 2_500, 2_500).await, Ok(Claim::Held), "it is given back");
    assert_eq!(ledger.claim(&key, first, 2_500, 4_000).await, Ok(Claim::Held));
}

/// As often as it likes, and one second claim after a lost answer is such a one.
pub async fn a_lease_may_be_prolonged_by_its_holder_alone(ledger: &dyn Ledger) {
    let key = new_key(&new_tenant());
    let [first, second] = [1, 2].map(Uuid::from_u128);
    for until_ms in [2_000, 2_000, 9_000] {
        assert_eq!(ledger.claim(&key, first, 1_000, until_ms).await, Ok(Claim::Held));
    }
    assert_eq!(ledger.claim(&key, second, 2_000, 3_000).await, Ok(Claim::Elsewhere { until_ms: 9_000 }));
}

/// Whoever loses knows the other's end.
pub async fn of_two_claims_at_once_exactly_one_is_held(ledger: &dyn Ledger) {
    let key = new_key(&new_tenant());
    let claims = join_all((1..=8).map(|n| ledger.claim(&key, Uuid::from_u128(n), 1_000, 2_000))).await;
    let held = claims.iter().filter(|claim| **claim == Ok(Claim::Held)).count();
    let lost = claims.iter().filter(|claim| **claim == Ok(Claim::Elsewhere { until_ms: 2_000 })).count();
    assert_eq!((held, lost), (1, 7), "{claims:?}");
}

/// A lease is no key: another key, subscriber or tenant has another one, and none of them is a condition of a commit.
pub async fn leases_keys_and_attempts_are_independent(ledger: &dyn Ledger) {
    let key = new_key(&new_tenant());
    assert_eq!(ledger.claim(&key, Uuid::from_u128(1), 1_000, 2_000).await, Ok(Claim::Held));
    let other_subscriber = KeyId { subscriber: "survey".into(), ..key.clone() };
    let other_tenant = KeyId { tenant: new_tenant().into(), ..key.clone() };
    let at_home = KeyId::at(&program(&key.tenant, "p"), key.subscriber.clone(), key.event_id);
    for other in [&other_subscriber, &other_tenant, &at_home] {
        assert_eq!(ledger.claim(other, Uuid::from_u128(2), 1_000, 2_000).await, Ok(Claim::Held), "{other:?}");
    }
    assert_eq!(load_key(ledger, &key).await, None);
    assert_eq!(ledger.count_attempt(&key, 0).await, Ok(1));
    assert_eq!(commit(ledger, [], [applied(&key)]).await, Ok(()));
    let claimed = ledger.claim(&key, Uuid::from_u128(2), 1_000, 3_000).await;
    assert_eq!(claimed, Ok(Claim::Elsewhere { until_ms: 2_000 }));
}

/// From 1, one at a time, also when counted at once.
pub async fn attempts_are_counted_by_epoch(ledger: &dyn Ledger) {
    let key = new_key(&new_tenant());
    for expected in 1..=3 {
        assert_eq!(ledger.count_attempt(&key, 0).await, Ok(expected));
    }
    assert_eq!(ledger.count_attempt(&key, 1).await, Ok(1));
    assert_eq!(ledger.count_attempt(&key, u32::MAX).await, Ok(1));
    assert_eq!(ledger.count_attempt(&key, 0).await, Ok(4));
    let mut counts = join_all((0..8).map(|_| ledger.count_attempt(&key, 2))).await;
    counts.sort_by_key(|count| count.clone().ok());
    assert_eq!(counts, (1..=8).map(Ok).collect::<Vec<_>>());
}

/// Counting makes no key, and a key neither stops nor resets the count.
pub async fn attempts_and_the_key_are_independent(ledger: &dyn Ledger) {
    let key = new_key(&new_tenant());
    assert_eq!(ledger.count_attempt(&key, 0).await, Ok(1));
    assert_eq!(load_key(ledger, &key).await, None);
    let write = applied(&key);
    commit(ledger, [], [write.clone()]).await.unwrap();
    assert_eq!(ledger.count_attempt(&key, 0).await, Ok(2));
    assert_eq!(load_key(ledger, &key).await, Some(write.key));
}

/// All of them, with their states, and nothing else.
pub async fn a_list_holds_one_kind_of_one_tenant(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let session = AggregateId { kind: "session".into(), ..program(&tenant, "0") };
    let elsewhere = program(&new_tenant(), "0");
    commit(ledger, [write(&session, None, "session"), write(&elsewhere, None, "elsewhere")], []).await.unwrap();
    let expected: Vec<_> = (0..40)
        .map(|n| {
            (
                program(&tenant, &format!("{n:02}")),
                StoredAggregate { version: 1, content: Content::of(state(&n.to_string())) },
            )
        })
        .collect();
    let writes: Vec<_> = expected
        .iter()
        .map(|(id, stored)| AggregateWrite { id: id.clone(), expected: None, content: Some(stored.content.clone()) })
        .collect();
    commit(ledger, writes, [applied(&new_key(&tenant))]).await.unwrap();
    let mut listed = ledger.list(&tenant, "program", 1_000).await.unwrap();
    listed.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(listed, expected);
    assert_eq!(ledger.list(&tenant, "booking", 1_000).await, Ok(Vec::new()));
}

/// Exactly that many where there are more.
pub async fn a_list_holds_at_most_what_was_asked_for(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    for batch in 0..5 {
        let writes = (0..60).map(|n| write(&program(&tenant, &format!("{batch}-{n}")), None, "x"));
        commit(ledger, writes.collect::<Vec<_>>(), []).await.unwrap();
    }
    for limit in [0, 1, 16, 100, 299, 300, 301, usize::MAX] {
        let listed = ledger.list(&tenant, "program", limit).await.unwrap();
        assert_eq!(listed.len(), limit.min(300));
    }
}

/// However many were dropped before it: a program that drops page by page comes to the end.
pub async fn a_state_that_is_dropped_is_not_listed_and_the_one_behind_it_is(ledger: &dyn Ledger) {
    let tenant = new_tenant();
    let ids: Vec<AggregateId> = (0..90).map(|n| program(&tenant, &format!("{n:02}"))).collect();
    commit(ledger, ids.iter().map(|id| write(id, None, "x")).collect::<Vec<_>>(), []).await.unwrap();
    let (last, others) = ids.split_last().expect("there are many");
    for id in others {
        let nothing = AggregateWrite { id: id.clone(), expected: Some(1), content: Some(Content::default()) };
        commit(ledger, [nothing], []).await.unwrap();
    }
    for limit in [1, 16, usize::MAX] {
        let listed = ledger.list(&tenant, "program", limit).await.unwrap();
        assert_eq!(listed, [(last.clone(), stored(1, "x").unwrap())]);
    }
    let dropped = StoredAggregate { version: 2, content: Content::default() };
    assert_eq!(load_aggregate(ledger, &others[0]).await, Some(dropped));
}

/// And writes nothing.
pub async fn a_ping_is_answered(ledger: &dyn Ledger) {
    assert_eq!(ledger.ping().await, Ok(()));
}
