//! The audit log over the models in memory: every record is in it once, whatever happens, and whatever is done to it is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use lyceum_core::audit::entry::{Entry, Kind, NOBODY, Wanted};
use lyceum_core::audit::verify::{Finding, Wrong};
use lyceum_core::dead_letter::Publication;
use lyceum_core::ports::statements::{StatementDocument, StoreDocuments};
use lyceum_core::process::Subscriber;
use lyceum_core::process::audit::AuditLog;
use lyceum_core::record::{Header, NewRecord, Record};
use lyceum_events_tests::faults::Fault;
use lyceum_events_tests::samples::samples;
use lyceum_events_tests::world::{BEGINNING_MS, World};
use lyceum_functions::REGISTRY;
use lyceum_xapi::equality;
use serde_json::Value;
use uuid::Uuid;

const DAY_MS: i64 = 86_400_000;

/// A world with samples of every family on their topics, what became of them, and a few that are none.
fn filled() -> World {
    let world = World::new();
    let mut topics: Vec<String> = Vec::new();
    for kind in ["valid", "invalid"] {
        let of_all = REGISTRY.iter().flat_map(|entry| samples(entry.spec.name, kind).into_iter().take(5));
        // A sample may be larger than the log takes.
        for sample in of_all.filter(|of| of.record.value.as_ref().is_none_or(|value| value.len() < 1_000_000)) {
            let Record { position, key, value, headers, .. } = sample.record;
            let topic = position.topic.to_string();
            let timestamp_ms = Some(BEGINNING_MS + i64::from(kind == "invalid") * DAY_MS);
            let record = NewRecord { partition: None, key, value, headers, timestamp_ms };
            world.publish(Publication { topic: topic.clone(), record });
            topics.push(topic);
        }
    }
    topics.sort();
    topics.dedup();
    for topic in &topics {
        for record in world.records(topic) {
            world.deliver(&[record]);
        }
    }
    let tombstone = NewRecord { key: Some("k".into()), timestamp_ms: Some(BEGINNING_MS), ..NewRecord::default() };
    world.publish(Publication { topic: "nlj.xapi.statements".to_owned(), record: tombstone });
    let garbage = NewRecord {
        value: Some(vec![0, 159, 146, 150].into()),
        headers: vec![Header::new("tenant-id", vec![0xff])],
        timestamp_ms: Some(BEGINNING_MS),
        ..NewRecord::default()
    };
    world.publish(Publication { topic: "modules.dlq.v1".to_owned(), record: garbage });
    world
}

fn everything(world: &World, audit: &Arc<dyn Subscriber>) -> Vec<Record> {
    audit.subscription().topics().flat_map(|topic| world.records(topic)).collect()
}

fn log_of(world: &World) -> AuditLog {
    AuditLog { entries: world.audit.port(), ledger: world.ledger.port(), clock: world.clock.clone() }
}

/// Delivers all records in batches of that many, those that come again too.
fn deliver(world: &World, audit: &Arc<dyn Subscriber>, records: &[Record], at_once: usize) {
    for batch in records.chunks(at_once) {
        let mut left = batch.to_vec();
        for _ in 0..50 {
            let reports = world.deliver_to(audit, &left);
            let again = reports.iter().find(|report| !report.outcome.is_settled());
            let Some(first) = again.and_then(|first| left.iter().position(|of| of.position == first.position)) else {
                left.clear();
                break;
            };
            // As Lambda does: from the first one of the partition on.
            let position = left[first].position.clone();
            left.retain(|of| {
                let is_other = (&of.position.topic, of.position.partition) != (&position.topic, position.partition);
                is_other || of.position.offset >= position.offset
            });
        }
        assert!(left.is_empty(), "{left:?} never came to an end");
    }
}

/// What is wrong, and how many entries there are.
fn verify(world: &World) -> (u64, Vec<Finding>) {
    let log = log_of(world);
    let (mut entries, mut findings) = (0, Vec::new());
    for tenant in block_on(log.tenants()).unwrap() {
        let logs = block_on(log.logs(&tenant)).unwrap();
        findings.extend(logs.findings(&tenant, None));
        for (of, _) in &logs.known {
            let verified = block_on(log.verify(of, &logs.seals)).unwrap();
            entries += verified.entries;
            findings.extend(verified.findings);
        }
    }
    (entries, findings)
}

fn documents(world: &World) -> Vec<StatementDocument> {
    world.audit.model.documents().into_iter().map(|stored| stored.document).collect()
}

#[test]
fn every_record_of_every_topic_is_an_entry_once_in_whatever_batches_it_comes() {
    let mut whole: Option<BTreeMap<Uuid, StatementDocument>> = None;
    for at_once in [1, 7, 1_000] {
        let world = filled();
        let audit = world.function("audit");
        let records = everything(&world, &audit);
        assert!(records.len() > 100 && records.iter().any(|of| of.value.is_none()));
        deliver(&world, &audit, &records, at_once);
        assert_eq!(verify(&world), (records.len() as u64, Vec::new()));
        // Once more, and in other batches.
        deliver(&world, &audit, &records, at_once + 3);
        assert_eq!(verify(&world), (records.len() as u64, Vec::new()));
        let documents: BTreeMap<Uuid, StatementDocument> =
            documents(&world).into_iter().map(|of| (of.id, of)).collect();
        for record in &records {
            let of_record: Vec<_> = documents.values().filter(|of| of.source == record.position).collect();
            let [document] = of_record[..] else { panic!("{} has {} entries", record.position, of_record.len()) };
            let entry = Entry::read(&document.raw).unwrap();
            let bytes = |of: &Option<lyceum_core::audit::entry::Data<'_>>| {
                of.as_ref().and_then(|of| of.bytes().map(<[u8]>::to_vec))
            };
            // A secret is the one thing of which the hash alone is kept.
            let has_secret = record.value.as_deref().is_some_and(|value| {
                value.windows(7).any(|part| part == b"\"token\"")
                    || value.windows(19).any(|part| part == b"\"token_fingerprint\"")
            });
            match bytes(&entry.value) {
                None if has_secret => {
                    let hash = record.value.as_deref().map(|value| lyceum_core::audit::hash::Hash::of(&[value]));
                    assert_eq!(entry.value.as_ref().map(lyceum_core::audit::entry::Data::sha256), hash);
                }
                value => assert_eq!(value.as_deref(), record.value.as_deref()),
            }
            assert_eq!(bytes(&entry.key).as_deref(), record.key.as_deref());
            assert_eq!(entry.headers.len(), record.headers.len());
        }
        // Of letters the times differ.
        let of_topics = |documents: BTreeMap<Uuid, StatementDocument>| -> BTreeMap<Uuid, StatementDocument> {
            documents.into_iter().filter(|(_, of)| of.fields.object_type != Kind::DeadLetter.name()).collect()
        };
        let entries = of_topics(documents);
        assert!(whole.get_or_insert_with(|| entries.clone()) == &entries, "batches of {at_once} make other entries");
    }
}

#[test]
fn every_kind_of_record_says_what_it_is() {
    let world = filled();
    let audit = world.function("audit");
    let records = everything(&world, &audit);
    deliver(&world, &audit, &records, 100);
    let log = log_of(&world);
    for kind in Kind::ALL {
        let found = block_on(log.search(Wanted { kinds: vec![kind], ..Wanted::default() }, 1_000, None)).unwrap();
        assert!(found.total > 0 && found.entries.len() as u64 == found.total, "{}", kind.name());
        for (_, entry) in &found.entries {
            assert_eq!(entry.kind, kind);
            assert_eq!(entry.letter.is_some(), kind == Kind::DeadLetter, "{}", entry.position);
        }
    }
    // The letter of a record, and what it is about, are found by one position.
    let letters = block_on(log.search(Wanted { kinds: vec![Kind::DeadLetter], ..Wanted::default() }, 1_000, None));
    let (_, letter) = &letters.unwrap().entries[0];
    let positions = vec![letter.about().clone()];
    let both = block_on(log.search(Wanted { positions, ..Wanted::default() }, 10, None)).unwrap();
    let mut kinds: Vec<&str> = both.entries.iter().map(|(_, entry)| entry.kind.name()).collect();
    kinds.sort_unstable();
    assert!(kinds.contains(&"dead-letter") && kinds.len() > 1, "{kinds:?}");
    assert!(block_on(log.tenants()).unwrap().contains(&NOBODY.to_owned()), "what nobody can read is nobody's");
}

#[test]
fn no_fault_of_a_port_loses_or_doubles_an_entry() {
    let faults = [None, Some(Fault::Before), Some(Fault::After)];
    for (seed, at_once) in [(1_usize, 5), (2, 40), (3, 400)] {
        let world = filled();
        let (audit, other) = (world.function("audit"), world.function("audit"));
        let records = everything(&world, &audit);
        let script = |prime: usize| (0..4_000).map(move |at| faults[at * prime % 7 % 3]);
        world.audit.switch.script(script(seed + 2));
        world.ledger.switch.script(script(seed + 4));
        for batch in records.chunks(at_once) {
            // A worker that should be gone takes the same batch, and a part of it.
            for (who, part) in [(&audit, &batch[..batch.len() / 2]), (&other, batch), (&audit, batch)] {
                if !part.is_empty() {
                    deliver(&world, who, part, at_once);
                }
            }
        }
        assert_eq!(verify(&world), (records.len() as u64, Vec::new()), "seed {seed}");
    }
}

#[test]
fn while_a_store_is_away_everything_comes_again_and_nothing_is_passed() {
    for is_ledger in [true, false] {
        let world = filled();
        let audit = world.function("audit");
        let records = everything(&world, &audit);
        let switch = if is_ledger { &world.ledger.switch } else { &world.audit.switch };
        switch.set_down(true);
        let reports = world.deliver_to(&audit, &records);
        assert!(reports.iter().all(|report| !report.outcome.is_settled()));
        switch.set_down(false);
        deliver(&world, &audit, &records, 50);
        assert_eq!(verify(&world), (records.len() as u64, Vec::new()));
    }
}

#[test]
fn a_newer_day_seals_the_one_before_and_a_seal_that_is_kept_elsewhere_is_known_again() {
    let world = filled();
    let audit = world.function("audit");
    deliver(&world, &audit, &everything(&world, &audit), 50);
    let log = log_of(&world);
    let mut seen = 0;
    for tenant in block_on(log.tenants()).unwrap() {
        let logs = block_on(log.logs(&tenant)).unwrap();
        // Where the newer day came first, nothing tells that the older one is over.
        seen += usize::from(logs.seals.last.count > 0);
        assert_eq!(logs.findings(&tenant, logs.seals.last.hash), []);
        block_on(log.seal(&tenant)).unwrap();
        let after = block_on(log.logs(&tenant)).unwrap();
        assert_eq!(after.findings(&tenant, after.seals.last.hash), []);
        assert_eq!(block_on(log.seal(&tenant)).unwrap(), None, "nothing has grown");
        let another = "00".repeat(32).parse().ok();
        assert_eq!(after.findings(&tenant, another)[0].wrong, Wrong::Seal);
    }
    assert!(seen > 0);
}

#[test]
fn an_entry_that_is_changed_left_out_or_added_in_the_store_is_found() {
    let change = |change: &dyn Fn(&mut Vec<StatementDocument>)| {
        let world = filled();
        let audit = world.function("audit");
        deliver(&world, &audit, &everything(&world, &audit), 50);
        let mut documents = documents(&world);
        let log = documents.iter().map(|of| of.fields.verb.clone()).fold(BTreeMap::new(), |mut count, verb| {
            *count.entry(verb).or_insert(0) += 1;
            count
        });
        let (longest, _) = log.into_iter().max_by_key(|(_, count)| *count).unwrap();
        documents.sort_by_key(|of| (of.fields.verb != longest, of.source.clone()));
        change(&mut documents);
        let store = lyceum_testing::memory::statements::MemoryStatements::new(equality::same);
        block_on(store.store(documents)).unwrap();
        let mut world = world;
        world.audit = lyceum_events_tests::faults::Faulty::new(store);
        verify(&world).1.into_iter().map(|finding| finding.wrong).collect::<Vec<_>>()
    };
    assert_eq!(change(&|_| {}), []);
    assert!(change(&|of| drop(of.remove(1))).contains(&Wrong::Missing));
    let edited = |of: &StatementDocument, member: &str, value: Value| {
        let mut entry: Value = serde_json::from_slice(&of.raw).unwrap();
        entry[member] = value;
        let (mut document, _) = Entry::read(entry.to_string().as_bytes()).unwrap().document().unwrap();
        document.tenant = of.tenant.clone();
        document
    };
    assert!(change(&|of| of[1] = edited(&of[1], "value", "{}".into())).contains(&Wrong::Changed));
    assert!(change(&|of| of[1].raw = edited(&of[1], "value", "{}".into()).raw).contains(&Wrong::Changed));
    assert!(change(&|of| of.push(edited(&of[1], "number", 100_000.into()))).contains(&Wrong::Added));
    assert!(change(&|of| of.push(edited(&of[1], "key", "another".into()))).contains(&Wrong::Added));
}

#[test]
fn an_entry_is_proved_by_what_leads_to_the_root_and_to_a_seal() {
    let world = filled();
    let audit = world.function("audit");
    deliver(&world, &audit, &everything(&world, &audit), 50);
    let log = log_of(&world);
    for tenant in block_on(log.tenants()).unwrap() {
        block_on(log.seal(&tenant)).unwrap();
    }
    let found = block_on(log.search(Wanted::default(), 1_000, None)).unwrap();
    for (document, entry) in found.entries.iter().step_by(17) {
        let mut proofs = block_on(log.proofs(&entry.log.tenant)).unwrap();
        let proof = block_on(proofs.prove(document, entry)).unwrap().expect("it is in its log");
        let root = lyceum_core::audit::tree::root_by(&proof.now.path, proof.leaf, proof.number, proof.now.size);
        assert_eq!(root, Some(proof.now.root));
        let sealed = proof.sealed.expect("it is sealed").way;
        assert_eq!(
            lyceum_core::audit::tree::root_by(&sealed.path, proof.leaf, proof.number, sealed.size),
            Some(sealed.root)
        );
    }
}

#[test]
fn a_secret_is_in_no_entry_and_its_record_is() {
    let world = World::new();
    let audit = world.function("audit");
    let samples = samples("governance", "invalid").into_iter().filter(|of| of.name.contains("token"));
    let mut sent = 0;
    for sample in samples {
        let Record { position, key, value, headers, .. } = sample.record;
        let record = NewRecord { partition: None, key, value, headers, timestamp_ms: Some(BEGINNING_MS) };
        let record = world.publish(Publication { topic: position.topic.to_string(), record });
        let findings = world.deliver(std::slice::from_ref(&record)).remove(0).findings;
        sent += usize::from(findings.iter().any(|of| of.rule == lyceum_core::envelope::SECRET_RULE));
    }
    assert!(sent > 0, "a sample has a token");
    deliver(&world, &audit, &everything(&world, &audit), 10);
    assert_eq!(verify(&world).1, []);
    let left_out = documents(&world)
        .into_iter()
        .filter_map(|of| Entry::read(&of.raw).unwrap().value)
        .filter(|of| of.bytes().is_none());
    assert!(left_out.count() >= sent);
}
