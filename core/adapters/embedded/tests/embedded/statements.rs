//! The statement store's contract for the model and the embedded twin; the two compared on random statements and on the
//! analytics questions; and what only the twin has: a folder that outlives the process.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use lyceum_around::beside::Beside;
use lyceum_around::system_clock::SystemClock;
use lyceum_core::ports::statements::{
    Filter, IndexedStatements, QueryDocuments, Reindex, SCAN_BYTES, StatementDocument, StatementFields, Statements,
    StatementsError, StoreDocuments, StoreOutcome,
};
use lyceum_core::record::Position;
use lyceum_embedded::statements::{EmbeddedIndices, EmbeddedStatements, Holds, StatementsOptions};
use lyceum_testing::analytics::{answer_as_ever, numbered, same_json};
use lyceum_testing::memory::statements::MemoryStatements;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::tempdir;
use uuid::Uuid;

fn options() -> StatementsOptions {
    StatementsOptions { memory_bytes: 15_000_000, ..StatementsOptions::new(same_json) }
}

fn open(folder: &Path) -> EmbeddedStatements {
    EmbeddedStatements::open(folder, options()).unwrap()
}

fn refusal(folder: &Path) -> String {
    match EmbeddedStatements::open(folder, options()) {
        Err(StatementsError::Refused(reason)) => reason,
        Err(other) => panic!("not refused but {other}"),
        Ok(_) => panic!("opened"),
    }
}

mod model {
    use super::*;

    async fn with_model(check: impl AsyncFnOnce(&dyn Statements)) {
        check(&MemoryStatements::new(same_json)).await;
    }

    lyceum_testing::statements_contract!(with_model);
}

mod embedded {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn Statements)) {
        let folder = tempdir().unwrap();
        check(&open(folder.path())).await;
    }

    lyceum_testing::statements_contract!(with_folder);
}

mod indices_of_the_model {
    use super::*;

    async fn with_model(check: impl AsyncFnOnce(&dyn IndexedStatements)) {
        check(&MemoryStatements::new(same_json)).await;
    }

    lyceum_testing::reindex_contract!(with_model);
}

mod indices {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn IndexedStatements)) {
        let folder = tempdir().unwrap();
        check(&indices_in(folder.path())).await;
    }

    lyceum_testing::reindex_contract!(with_folder);
}

/// What stands around every store in production changes nothing of it.
mod indices_with_both_stored_in {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn Statements)) {
        let folder = tempdir().unwrap();
        let store = Beside::of(Arc::new(indices_in(folder.path())), Arc::new(SystemClock));
        store.create_next(0).await.unwrap();
        check(&store).await;
        let next = store.next().await.unwrap().unwrap();
        let all = Filter { include_voided: true, ..Filter::default() };
        let [live, next] = [store.search(&all, 1, None).await, next.documents.search(&all, 1, None).await];
        assert_eq!(live.unwrap().total, next.unwrap().total);
    }

    lyceum_testing::statements_contract!(with_folder);
}

fn indices_in(folder: &Path) -> EmbeddedIndices {
    EmbeddedIndices::open(&folder.join("statements"), options()).unwrap()
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_index_that_is_filled_is_there_again_when_the_folder_is_opened_again() {
    let folder = tempdir().unwrap();
    let store = indices_in(folder.path());
    store.store(vec![numbered("one", 1)]).await.unwrap();
    let number = store.create_next(0).await.unwrap();
    store.next().await.unwrap().unwrap().documents.store(vec![numbered("one", 2)]).await.unwrap();
    drop(store);
    let store = indices_in(folder.path());
    let next = store.next().await.unwrap().unwrap();
    assert_eq!(next.number, number);
    assert!(next.documents.get("one", numbered("one", 2).id).await.unwrap().is_some());
    drop(next);
    store.swap(number).await.unwrap();
    drop(store);
    let store = indices_in(folder.path());
    assert_eq!(store.indices().await.unwrap().live, number);
    assert!(store.get("one", numbered("one", 2).id).await.unwrap().is_some());
    assert_eq!(names_in(folder.path()), ["statements", "statements.0", "statements.indices"].map(str::to_owned).into());
    store.drop_old().await.unwrap();
    assert_eq!(names_in(folder.path()), ["statements", "statements.indices"].map(str::to_owned).into());
}

#[tokio::test]
async fn what_only_has_a_name_like_an_index_is_left_alone() {
    let folder = tempdir().unwrap();
    let store = indices_in(folder.path());
    for copy in ["statements.1", "statements.20241001", "statements.007"] {
        fs::create_dir(folder.path().join(copy)).unwrap();
        fs::write(folder.path().join(copy).join("kept"), "by a person").unwrap();
    }
    fs::write(folder.path().join("statements.5"), "a file").unwrap();
    let number = store.create_next(0).await.unwrap();
    assert_eq!(number, 2, "the first is taken");
    store.swap(number).await.unwrap();
    assert_eq!(store.drop_old().await.unwrap(), BTreeSet::from([0]));
    for copy in ["statements.1", "statements.20241001", "statements.007"] {
        assert!(folder.path().join(copy).join("kept").exists(), "{copy}");
    }
}

#[tokio::test]
async fn a_swap_for_which_something_stands_in_the_way_is_refused_and_nothing_changes() {
    let folder = tempdir().unwrap();
    let store = indices_in(folder.path());
    store.store(vec![numbered("one", 1)]).await.unwrap();
    let number = store.create_next(0).await.unwrap();
    fs::create_dir(folder.path().join("statements.0")).unwrap();
    let refused = store.swap(number).await.unwrap_err();
    assert!(refused.to_string().contains("statements.0") && refused.to_string().contains("move it away"), "{refused}");
    assert_eq!(store.indices().await.unwrap().live, 0);
    assert!(store.get("one", numbered("one", 1).id).await.unwrap().is_some());
    fs::remove_dir(folder.path().join("statements.0")).unwrap();
    store.swap(number).await.unwrap();
}

#[tokio::test]
async fn a_swap_that_is_cut_off_is_ended_when_the_folder_is_opened_again() {
    // What a kill leaves behind each of the steps: the file says so, the one before is away, both are renamed.
    for step in 0..3 {
        let folder = tempdir().unwrap();
        let store = indices_in(folder.path());
        store.store(vec![numbered("one", 1)]).await.unwrap();
        let number = store.create_next(0).await.unwrap();
        store.next().await.unwrap().unwrap().documents.store(vec![numbered("one", 2)]).await.unwrap();
        drop(store);
        let of = |name: &str| folder.path().join(name);
        fs::write(of("statements.indices"), format!("{{\"live\":{number}}}")).unwrap();
        if step > 0 {
            fs::rename(of("statements"), of("statements.0")).unwrap();
        }
        if step > 1 {
            fs::rename(of("statements.1"), of("statements")).unwrap();
        }
        let store = indices_in(folder.path());
        assert_eq!(store.indices().await.unwrap().live, number, "{step}");
        assert!(store.get("one", numbered("one", 2).id).await.unwrap().is_some(), "{step}");
        assert!(store.get("one", numbered("one", 1).id).await.unwrap().is_none(), "{step}");
        assert_eq!(store.indices().await.unwrap().old, BTreeSet::from([0]), "{step}");
    }
}

#[tokio::test]
async fn folders_that_are_not_those_that_the_file_tells_of_are_refused() {
    let folder = tempdir().unwrap();
    let store = indices_in(folder.path());
    store.create_next(0).await.unwrap();
    drop(store);
    let open = || EmbeddedIndices::open(&folder.path().join("statements"), options()).map(drop);
    for (said, told) in [
        (r#"{"live":4}"#, "index 4 should be live"),
        (r#"{"live":0,"newer":1}"#, "cannot be read"),
        ("nothing", "cannot be read"),
    ] {
        fs::write(folder.path().join("statements.indices"), said).unwrap();
        let refused = open().unwrap_err();
        assert!(matches!(&refused, StatementsError::Refused(why) if why.contains(told)), "{said}: {refused}");
    }
    // One that was filled and is gone is made anew whenever somebody wants it.
    fs::write(folder.path().join("statements.indices"), r#"{"live":0,"next":9}"#).unwrap();
    open().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("statements.indices")).unwrap(), r#"{"live":0}"#);
    fs::write(folder.path().join("statements.indices"), r#"{"live":0,"next":1}"#).unwrap();
    open().unwrap();
    // Nor does one that cannot be read keep anybody from the live one.
    fs::write(folder.path().join("statements.1/number"), "one").unwrap();
    open().unwrap();
    fs::write(folder.path().join("statements.1/number"), "1").unwrap();
    fs::write(folder.path().join("statements.indices"), r#"{"live":0,"next":1}"#).unwrap();
    fs::write(folder.path().join("statements.1/schema-version"), "99\n").unwrap();
    open().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("statements.indices")).unwrap(), r#"{"live":0}"#);
}

/// A folder that an earlier release made keeps the form in which it was made.
async fn in_version(version: &str, check: impl AsyncFnOnce(&dyn Statements)) {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("schema-version"), version).unwrap();
    check(&open(folder.path())).await;
    assert_eq!(fs::read_to_string(folder.path().join("schema-version")).unwrap(), version);
}

mod embedded_in_the_first_version {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn Statements)) {
        in_version("1\n", check).await;
    }

    lyceum_testing::statements_contract!(with_folder);
}

mod embedded_in_the_second_version {
    use super::*;

    async fn with_folder(check: impl AsyncFnOnce(&dyn Statements)) {
        in_version("2\n", check).await;
    }

    lyceum_testing::statements_contract!(with_folder);
}

#[test]
fn every_check_of_the_contract_is_run() {
    let source = include_str!("../../../../testing/src/statements_contract.rs");
    let checks = source.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
    for check in checks {
        assert_eq!(source.matches(&format!("            {check}\n")).count(), 1, "{check} is not in the macro's list");
    }
}

#[tokio::test]
async fn small_statements_before_large_ones_do_not_make_a_part_of_a_scan_large() {
    let folder = tempdir().unwrap();
    let statements = open(folder.path());
    let small: Vec<_> = (0..3_000).map(|number| numbered("one", number)).collect();
    let text = "x".repeat(200_000);
    let large: Vec<_> = (3_000..3_200)
        .map(|number| {
            let fields = StatementFields { response: Some(text.as_str().into()), ..numbered("one", number).fields };
            StatementDocument {
                raw: Bytes::from(json!({"response": text}).to_string()),
                fields,
                ..numbered("one", number)
            }
        })
        .collect();
    statements.store(small).await.unwrap();
    for part in large.chunks(20) {
        statements.store(part.to_vec()).await.unwrap();
    }
    let (mut found, mut place) = (0, None);
    loop {
        let part = statements.scan(&tenant_filter("one"), place).await.unwrap();
        let bytes: usize = part.statements.iter().map(|found| found.document.size()).sum();
        assert!(bytes < 4 * SCAN_BYTES, "{bytes} bytes came at once");
        found += part.statements.len();
        place = part.next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!(found, 3_200);
}

fn tenant_filter(tenant: &str) -> Filter {
    Filter { tenant: Some(tenant.to_owned()), include_voided: true, ..Filter::default() }
}

async fn all_ids(statements: &dyn Statements, tenant: &str) -> Vec<Uuid> {
    let (mut ids, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = statements.search(&tenant_filter(tenant), 1_000, after.as_deref()).await.unwrap();
        ids.extend(page.statements.iter().map(|found| found.document.id));
        after = page.next;
        if after.is_none() {
            assert_eq!(ids.len() as u64, page.total);
            return ids;
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_opened_again_holds_everything_and_still_hides_what_was_voided() {
    let folder = tempdir().unwrap();
    let (target, mut voiding) = (numbered("t", 1), numbered("t", 2));
    voiding.fields.voids = Some(target.id);
    {
        let statements = open(folder.path());
        statements.store(vec![target.clone(), numbered("t", 3)]).await.unwrap();
        statements.store(vec![voiding.clone()]).await.unwrap();
    }
    let statements = open(folder.path());
    assert_eq!(all_ids(&statements, "t").await.len(), 3);
    assert!(statements.get("t", target.id).await.unwrap().unwrap().voided);
    let visible = Filter { include_voided: false, ..tenant_filter("t") };
    assert_eq!(statements.search(&visible, 10, None).await.unwrap().total, 2);
    assert_eq!(statements.store(vec![target]).await.unwrap(), [StoreOutcome::Created]);
    assert_eq!(all_ids(&statements, "t").await.len(), 3);
}

#[tokio::test]
async fn many_small_calls_are_merged_and_stay_complete() {
    let folder = tempdir().unwrap();
    let statements = open(folder.path());
    for number in 0..60 {
        assert_eq!(statements.store(vec![numbered("t", number)]).await.unwrap(), [StoreOutcome::Created]);
    }
    let again: Vec<_> = (0..60).map(|number| numbered("t", number)).collect();
    assert!(statements.store(again).await.unwrap().iter().all(|outcome| *outcome == StoreOutcome::Created));
    assert_eq!(all_ids(&statements, "t").await.len(), 60);
}

#[test]
fn a_folder_that_another_one_has_open_is_refused() {
    let folder = tempdir().unwrap();
    let first = open(folder.path());
    assert!(refusal(folder.path()).contains("another process"), "{}", refusal(folder.path()));
    drop(first);
    drop(open(folder.path()));
}

#[tokio::test]
async fn a_folder_for_logs_finds_entries_by_every_field_and_counts_them_by_tenant_and_verb() {
    let folder = tempdir().unwrap();
    let of_logs = || EmbeddedStatements::open(folder.path(), StatementsOptions { holds: Holds::Logs, ..options() });
    let store = of_logs().unwrap();
    let entries = (0..3).map(|number| {
        let mut entry = numbered("t", number);
        entry.fields.actor = format!("topic/0/{number}");
        entry.fields.verb = "log".into();
        entry.fields.registration = Some(format!("c-{number}"));
        entry
    });
    store.store(entries.collect()).await.unwrap();
    drop(store);
    // Whoever opens it finds what it was made for.
    let store = open(folder.path());
    assert_eq!(fs::read_to_string(folder.path().join("schema-version")).unwrap(), "4\n");
    let by_place = Filter { actors: vec!["topic/0/1".to_owned()], ..Filter::default() };
    let by_correlation = Filter { registration: Some("c-1".to_owned()), ..Filter::default() };
    for filter in [by_place, by_correlation] {
        let found = store.search(&filter, 10, None).await.unwrap();
        assert_eq!((found.total, found.statements[0].document.id), (1, numbered("t", 1).id));
    }
    let terms = |field: &str| serde_json::json!({"of": {"terms": {"field": field, "size": 10}}});
    for (field, key) in [("tenant", "t"), ("verb", "log")] {
        let counted = store.aggregate(&Filter::default(), &terms(field)).await.unwrap();
        let bucket = &counted["aggregations"]["of"]["buckets"][0];
        assert_eq!((&bucket["key"], &bucket["doc_count"]), (&key.into(), &3.into()));
    }
    drop(store);
    let statements = tempdir().unwrap();
    drop(open(statements.path()));
    assert_eq!(fs::read_to_string(statements.path().join("schema-version")).unwrap(), "3\n");
}

#[test]
fn a_folder_of_a_newer_version_is_refused() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("schema-version"), "5\n").unwrap();
    assert!(refusal(folder.path()).contains("newer version (schema 5, this one reads up to 4)"));
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("letters.txt"), "dear").unwrap();
    assert!(refusal(folder.path()).contains("name an empty folder"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(refusal(&folder.path().join("letters.txt")).contains("no folder"));
}

#[tokio::test]
async fn a_damaged_folder_is_refused_and_not_half_read() {
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;
    let damages: [Damage; 4] = [
        |_| Some(b"garbage".to_vec()),
        |_| Some(Vec::new()),
        |whole| Some(whole[..whole.len() / 2].to_vec()),
        |_| None,
    ];
    for damage in damages {
        let folder = tempdir().unwrap();
        open(folder.path()).store((0..50).map(|number| numbered("t", number)).collect()).await.unwrap();
        let index = folder.path().join("index");
        let names: Vec<_> = fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).collect();
        let is_checked = |path: &&std::path::PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
        for path in names.iter().filter(is_checked).chain([&folder.path().join("schema-version")]) {
            let whole = fs::read(path).unwrap();
            match damage(whole.clone()) {
                Some(damaged) => fs::write(path, damaged).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            // A file that holds nothing, such as that of positions, is not missed.
            match EmbeddedStatements::open(folder.path(), options()) {
                Ok(statements) => assert_eq!(all_ids(&statements, "t").await.len(), 50, "{}", path.display()),
                Err(error) => assert!(!error.is_transient(), "{}: {error}", path.display()),
            }
            fs::write(path, whole).unwrap();
        }
        fs::remove_file(index.join("meta.json")).unwrap();
        assert!(refusal(folder.path()).contains("meta.json"));
    }
}

#[tokio::test]
async fn a_store_whose_disk_failed_answers_unavailable_and_works_again_afterwards() {
    let folder = tempdir().unwrap();
    let statements = open(folder.path());
    statements.store(vec![numbered("t", 1)]).await.unwrap();
    let (index, away) = (folder.path().join("index"), folder.path().join("away"));
    fs::rename(&index, &away).unwrap();
    for _ in 0..2 {
        let answer = statements.store(vec![numbered("t", 2)]).await;
        assert!(answer.as_ref().is_err_and(StatementsError::is_transient), "{answer:?}");
        assert!(statements.ping().await.is_err_and(|error| error.is_transient()));
        assert!(statements.get("t", numbered("t", 1).id).await.unwrap().is_some(), "reading goes on");
    }
    fs::rename(&away, &index).unwrap();
    assert_eq!(statements.ping().await, Ok(()));
    assert_eq!(statements.store(vec![numbered("t", 2)]).await.unwrap(), [StoreOutcome::Created]);
    assert_eq!(all_ids(&statements, "t").await.len(), 2);
}

/// This test runs itself again as a child process, which finds its folder in this variable.
const FOLDER: &str = "LYCEUM_TEST_STATEMENTS_FOLDER";
const ROUND: &str = "LYCEUM_TEST_STATEMENTS_ROUND";

/// The shell's limit on the size of a file stands for a full disk.
#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_is_unavailable_and_smaller_statements_are_stored_afterwards() {
    let noise: String = (0..8_000u64)
        .map(|part| {
            Uuid::from_u64_pair(part.wrapping_mul(0x9E37_79B9_7F4A_7C15), part.wrapping_mul(0xD6E8_FEB8_6659_FD93))
                .to_string()
        })
        .collect();
    let large = StatementDocument { raw: noise.into(), ..numbered("t", 1) };
    if let Some(folder) = std::env::var_os(FOLDER) {
        let statements = open(Path::new(&folder));
        for number in 2..5 {
            let answer = statements.store(vec![large.clone()]).await;
            assert!(answer.as_ref().is_err_and(StatementsError::is_transient), "{answer:?}");
            assert_eq!(statements.store(vec![numbered("t", number)]).await.unwrap(), [StoreOutcome::Created]);
        }
        return;
    }
    let folder = tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 150; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "statements::a_full_disk_is_unavailable_and_smaller_statements_are_stored_afterwards"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let statements = open(folder.path());
    assert_eq!(all_ids(&statements, "t").await.len(), 3);
    assert_eq!(statements.store(vec![large]).await.unwrap(), [StoreOutcome::Created]);
}

#[tokio::test]
async fn after_kill_9_every_acknowledged_statement_is_there_once() {
    if let (Some(folder), Ok(round)) = (std::env::var_os(FOLDER), std::env::var(ROUND)) {
        return store_until_killed(Path::new(&folder), round.parse().unwrap()).await;
    }
    let folder = tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "statements::after_kill_9_every_acknowledged_statement_is_there_once", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n').map(|line| line.unwrap());
        let mut acknowledge = |line: Vec<u8>| {
            let line = String::from_utf8(line).unwrap();
            let numbers =
                line.split_once("stored ").and_then(|(_, numbers)| numbers.strip_suffix('.')).map(str::to_owned);
            numbers
                .into_iter()
                .flat_map(|numbers| numbers.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>())
                .for_each(|n| {
                    acknowledged.insert(n);
                });
        };
        lines.by_ref().take(12 + round * 3).for_each(&mut acknowledge);
        child.kill().unwrap();
        lines.for_each(acknowledge);
        child.wait().unwrap();

        let statements = open(folder.path());
        let ids = all_ids(&statements, "t").await;
        let distinct: HashSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "nothing is there twice");
        assert!(acknowledged.len() >= 10, "the child stored something");
        for number in &acknowledged {
            assert!(
                distinct.contains(&numbered("t", *number).id),
                "{number} was acknowledged in round {round} or before"
            );
        }
    }
}

/// Four callers store new statements, and old ones again, and tell each acknowledgement.
async fn store_until_killed(folder: &Path, round: u64) {
    let statements = Arc::new(open(folder));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..4 {
        let statements = statements.clone();
        callers.spawn(async move {
            for call in 0.. {
                let first = round * 1_000_000 + caller * 100_000 + call * 10;
                let numbers: Vec<_> =
                    (first..first + 10).chain(first.saturating_sub(1_000_000)..first.saturating_sub(999_990)).collect();
                let documents = numbers.iter().map(|number| numbered("t", *number)).collect();
                let outcomes = statements.store(documents).await.unwrap();
                assert!(outcomes.iter().all(|outcome| *outcome == StoreOutcome::Created), "{outcomes:?}");
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                println!("stored {}.", numbers.join(" "));
            }
        });
    }
    callers.join_all().await;
}

const TEXTS: [&str; 7] = ["", "a", "b", "A b", "a:\"b\" \\ OR *", "\u{0}\n", "ü"];

prop_compose! {
    fn any_document()(
        (tenant, number, body, offset) in (select(&["t", "u"][..]), 0..14u64, 0..3u8, 0..40i64),
        (verb, event_type, actor, object) in (select(&TEXTS[..]), select(&TEXTS[..]), select(&TEXTS[..]), select(&TEXTS[..])),
        (sha1, survey, response) in (option_of_text(), option_of_text(), option_of_text()),
        parents in prop::collection::vec(select(&TEXTS[..]), 0..3),
        timestamp_ms in prop_oneof![-3..6i64, Just(i64::MIN), Just(i64::MAX)],
        score in prop::option::of((-8..40i32).prop_map(|quarters| f64::from(quarters) / 4.0)),
        (success, voids) in (prop::option::of(any::<bool>()), prop::option::weighted(0.2, 0..14u64)),
    ) -> StatementDocument {
        let document = numbered(tenant, number);
        StatementDocument {
            raw: Bytes::from(format!("{{\"body\":{}{body}}}", " ".repeat(usize::from(body)))),
            source: Position::new("topic", 0, offset),
            fields: StatementFields {
                event_type: event_type.into(), timestamp_ms, actor: actor.into(), actor_sha1: sha1, verb: verb.into(),
                object: object.into(), survey: survey.map(Into::into), response: response.map(Into::into), score_raw: score, success,
                parents: parents.into_iter().map(Into::into).collect(),
                registration: Some(TEXTS[number as usize % 7].into()),
                voids: voids.map(|target| numbered(tenant, target).id),
                ..StatementFields::default()
            },
            ..document
        }
    }
}

fn option_of_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(select(&TEXTS[..]).prop_map(str::to_owned))
}

prop_compose! {
    fn any_filter()(
        tenant in prop::option::of(select(&["t", "u", "none"][..])),
        (from_ms, to_ms) in (prop::option::weighted(0.3, -3..6i64), prop::option::weighted(0.3, -3..6i64)),
        verbs in prop::collection::vec(select(&TEXTS[..]), 0..3),
        event_types in prop::collection::vec(select(&TEXTS[..]), 0..3),
        actors in prop::collection::vec(select(&TEXTS[..]), 0..2),
        object_types in prop::collection::vec(select(&["", "Activity", "Agent"][..]), 0..3),
        (actor_sha1, object, survey, registration) in (rarely_text(), rarely_text(), rarely_text(), rarely_text()),
        include_voided in any::<bool>(),
    ) -> Filter {
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Filter {
            tenant: tenant.map(str::to_owned), from_ms, to_ms, verbs: owned(verbs), event_types: owned(event_types),
            actors: owned(actors), actor_sha1, object_types: owned(object_types), object, survey, registration, include_voided,
        }
    }
}

fn rarely_text() -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.15, select(&TEXTS[..]).prop_map(str::to_owned))
}

fn any_aggregations(text: &str, size: u32, value: &str) -> Value {
    json!({
        "values": {"terms": {"field": text, "size": size}, "aggs": {
            "score": {"stats": {"field": "score_raw"}},
            "verbs": {"cardinality": {"field": "verb"}},
            "scores": {"terms": {"field": "score_raw", "size": size}},
        }},
        "truths": {"terms": {"field": "success"}, "aggs": {"mean": {"avg": {"field": "score_raw"}}}},
        "times": {"terms": {"field": "timestamp_ms", "size": size}},
        "within": {"filter": {"term": {text: value}}, "aggs": {"values": {"terms": {"field": "parents"}}}},
        "without": {"missing": {"field": text}, "aggs": {"scores": {"terms": {"field": "score_raw", "size": size}}}},
        "true": {"filter": {"term": {"success": true}}, "aggs": {"max": {"max": {"field": "score_raw"}}}},
        "score": {"filter": {"term": {"score_raw": -0.25}}},
        "distinct": {"cardinality": {"field": "score_raw"}},
        "first": {"min": {"field": "score_raw"}},
    })
}

/// Model and twin live through all cases, so that later ones meet what earlier ones stored.
#[test]
fn model_and_embedded_answer_the_same_whatever_is_stored_and_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempdir().unwrap();
    let (model, embedded) = (MemoryStatements::new(same_json), open(folder.path()));
    let calls = prop::collection::vec(prop::collection::vec(any_document(), 0..5), 1..3);
    let asked = (
        any_filter(),
        select(&["verb", "parents", "response", "actor", "registration"][..]),
        1..5u32,
        select(&TEXTS[..]),
    );
    let cases = (0..u64::MAX, calls, prop::collection::vec((asked, 1..6usize), 3));
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let run = |(ids, calls, questions): (u64, Vec<Vec<StatementDocument>>, Vec<_>)| {
        runtime.block_on(async {
            for mut documents in calls {
                // Some cases meet ids of their own only.
                documents
                    .iter_mut()
                    .filter(|_| ids % 2 == 0)
                    .for_each(|document| document.id = Uuid::from_u64_pair(ids, document.id.as_u64_pair().1));
                prop_assert_eq!(embedded.store(documents.clone()).await, model.store(documents).await);
            }
            for ((filter, text, size, value), limit) in questions {
                let aggregations = any_aggregations(text, size, value);
                prop_assert_eq!(
                    embedded.aggregate(&filter, &aggregations).await,
                    model.aggregate(&filter, &aggregations).await
                );
                let mut after: Option<String> = None;
                for _ in 0..4 {
                    let page = model.search(&filter, limit, after.as_deref()).await;
                    prop_assert_eq!(&embedded.search(&filter, limit, after.as_deref()).await, &page);
                    after = page.ok().and_then(|page| page.next);
                }
            }
            for found in model.documents() {
                let document = &found.document;
                prop_assert_eq!(embedded.get(&document.tenant, document.id).await, Ok(Some(found.clone())));
            }
            Ok(())
        })
    };
    TestRunner::new(config).run(&cases, run).unwrap();
}

#[tokio::test]
async fn the_questions_have_their_golden_answers_on_model_and_embedded() {
    let folder = tempdir().unwrap();
    answer_as_ever(&MemoryStatements::new(same_json)).await;
    answer_as_ever(&open(folder.path())).await;
}
