//! Wire forms and effects that no family of this release has, through the same processing, and what each of them promises. That
//! they hold under every fault is shown by the simulation, where they are at home.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use lyceum_core::catalog::Catalog;
use lyceum_core::envelope::{SOURCE_HEADER, follow_up_id};
use lyceum_core::family::{AggregateRef, StatefulFamily};
use lyceum_core::ports::call::CallError;
use lyceum_core::ports::event_log::{Administer, Retention, TopicSpec};
use lyceum_core::ports::ledger::{AggregateWrite, Claim, Commit, Content, KeyId, Ledger, MAX_COMMIT_BYTES};
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use lyceum_core::ports::statements::QueryDocuments;
use lyceum_core::process::{
    CallingProcessor, CountedProcessor, ProcessConfig, ReactionProcessor, Services, StatefulProcessor, Subscriber,
    counted_row,
};
use lyceum_core::record::{Header, Position, Record, header_text};
use lyceum_events_tests::faults::Fault;
use lyceum_events_tests::world::{BEGINNING_MS, World, outcomes};
use lyceum_simulation::toys::avro::{self, Answers};
use lyceum_simulation::toys::module::{
    self, COURSES, CREATED, Courses, DISTRIBUTIONS, Distributor, GENERATED, Generator, REQUESTED, Scripted,
};
use serde_json::json;
use uuid::Uuid;

/// A world that has the families beside those of the release.
fn world() -> World {
    let mut world = World::new();
    for name in [avro::TOPIC, COURSES, DISTRIBUTIONS] {
        let spec = TopicSpec { name: name.into(), partitions: 2, retention: Retention::default() };
        block_on(world.event_log.model.create_topic(spec)).expect("a topic can be created");
    }
    let mut families = world.catalog.families().to_vec();
    families.extend(lyceum_simulation::toys::catalog().families());
    world.catalog = Arc::new(Catalog::new(families));
    world
}

fn stateful<F: StatefulFamily>(world: &World) -> Arc<dyn Subscriber> {
    Arc::new(StatefulProcessor::<F>::new(world.services(), world.catalog.clone(), ProcessConfig::default()))
}

/// The registry of the toys' schemas, and how often it was asked.
#[derive(Default)]
struct Registry(AtomicU64);

#[async_trait]
impl FindSchema for Registry {
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(avro::registered(schema))
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        Ok(())
    }
}

fn with_registry(world: &World) -> Services {
    Services { schemas: Some(Arc::new(Registry::default())), ..world.services() }
}

fn answers(world: &World) -> Arc<dyn Subscriber> {
    Arc::new(CountedProcessor::<Answers>::new(with_registry(world), world.catalog.clone(), ProcessConfig::default()))
}

fn distributor(world: &World) -> Arc<dyn Subscriber> {
    let config = ProcessConfig::default();
    Arc::new(ReactionProcessor::<Distributor>::new(world.services(), world.catalog.clone(), config))
}

/// Its process is of that number, and its port answers so.
fn generator(
    world: &World,
    process: u128,
    answer: impl Fn(&module::Request) -> Result<String, CallError> + Send + Sync + 'static,
) -> Arc<dyn Subscriber> {
    let (port, process) = (Arc::new(Scripted(answer)), Uuid::from_u128(process));
    let config = ProcessConfig::default();
    Arc::new(CallingProcessor::<Generator>::new(world.services(), port, process, world.catalog.clone(), config))
}

fn record(topic: &str, offset: i64, value: impl Into<Bytes>) -> Record {
    let (position, value) = (Position::new(topic, 0, offset), Some(value.into()));
    Record { position, timestamp_ms: BEGINNING_MS, key: None, value, headers: Vec::new() }
}

#[test]
fn a_schema_is_fetched_once_and_one_that_is_not_registered_is_looked_for_again() {
    let world = world();
    let registry = Arc::new(Registry::default());
    let services = Services { schemas: Some(registry.clone()), ..world.services() };
    let function = CountedProcessor::<Answers>::new(services, world.catalog.clone(), ProcessConfig::default());
    let function: Arc<dyn Subscriber> = Arc::new(function);
    let value = |number| avro::value(Uuid::from_u128(number), "ada", 1, true, 0);
    let asked_for = |offset, value| {
        let before = registry.0.load(Ordering::SeqCst);
        world.deliver_to(&function, &[record(avro::TOPIC, offset, value)]);
        registry.0.load(Ordering::SeqCst) - before
    };
    let mut unknown = value(9);
    unknown[4] = 9;
    assert_eq!([asked_for(0, value(1)), asked_for(1, value(2)), asked_for(2, value(3))], [1, 0, 0]);
    assert_eq!([asked_for(3, unknown.clone()), asked_for(4, unknown)], [1, 1]);
}

#[test]
fn an_avro_record_is_stored_once_in_either_framing_and_an_unknown_schema_is_a_letter() {
    let world = world();
    let function = answers(&world);
    let ids = [1, 2, 3].map(Uuid::from_u128);
    let mut unknown = avro::value(ids[2], "grace", 1, true, 0);
    unknown[4] = 9;
    let records = [
        record(avro::TOPIC, 0, avro::value(ids[0], "ada", 300, true, 0)),
        record(avro::TOPIC, 1, avro::value(ids[1], "grace", -7, false, 1)),
        record(avro::TOPIC, 2, unknown.clone()),
        record(avro::TOPIC, 3, b"{}".to_vec()),
        record(avro::TOPIC, 4, avro::value(ids[0], "ada", 300, false, 0)),
        record(avro::TOPIC, 5, avro::value(ids[0], "ada", 301, true, 0)),
    ];
    let ended = outcomes(&world.deliver_to(&function, &records));
    let [decode, conflict] = ["dead_lettered decode", "dead_lettered conflict"];
    assert_eq!(ended, ["applied", "applied", decode, decode, "duplicate", conflict]);
    let stored = |id| block_on(world.statements.model.get("acme", id)).unwrap().expect("it is stored").document;
    assert_eq!(
        ids.map(|id| (id != ids[2]).then(|| stored(id).fields.score_raw)),
        [Some(Some(300.0)), Some(Some(-7.0)), None]
    );
    // What was sent, framing included, is in the letter.
    assert!(world.letters().iter().any(|letter| letter.original.value.as_deref() == Some(&unknown[..])));
}

#[test]
fn an_avro_record_whose_store_failed_is_stored_on_the_next_delivery() {
    let world = world();
    let function = answers(&world);
    let id = Uuid::from_u128(9);
    let records = [record(avro::TOPIC, 0, avro::value(id, "ada", 1, true, 0))];
    world.statements.switch.set_down(true);
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["retry_later"]);
    world.statements.switch.set_down(false);
    world.statements.switch.script([Some(Fault::After)]);
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["applied"]);
    assert!(block_on(world.statements.model.get("acme", id)).unwrap().is_some());
}

#[test]
fn a_record_whose_schema_cannot_be_fetched_now_is_redelivered_and_where_there_is_no_registry_it_is_a_letter() {
    /// Answers from the fifth time on.
    struct Slow(AtomicU64);
    #[async_trait]
    impl FindSchema for Slow {
        async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0..4 => Err(SchemasError::Unavailable("no connection".into())),
                _ => Ok(avro::registered(schema)),
            }
        }

        async fn ping(&self) -> Result<(), SchemasError> {
            Ok(())
        }
    }
    let world = world();
    let records = [record(avro::TOPIC, 0, avro::value(Uuid::from_u128(1), "ada", 1, true, 0))];
    let deliver = |schemas| {
        let services = Services { schemas, ..world.services() };
        let config = ProcessConfig::default();
        let function = CountedProcessor::<Answers>::new(services, world.catalog.clone(), config);
        world.deliver_to(&(Arc::new(function) as _), &records)
    };
    let slow: Arc<dyn FindSchema> = Arc::new(Slow(AtomicU64::new(0)));
    let unavailable = format!("{:?}", deliver(Some(slow.clone()))[0].outcome);
    assert!(unavailable.contains("no connection"), "{unavailable}");
    assert!(world.letters().is_empty());
    assert_eq!(outcomes(&deliver(Some(slow))), ["applied"]);
    assert_eq!(outcomes(&deliver(None)), ["dead_lettered decode"], "it blocks nothing behind it");
}

fn count_of(world: &World, learner: &str) -> serde_json::Value {
    block_on(answers(world).show("acme", avro::SCORES, learner)).unwrap().unwrap_or_default()
}

#[test]
fn numbers_hold_what_is_stored_once_over_all_partitions_however_often_it_is_delivered() {
    let world = world();
    let function = answers(&world);
    let answer = |number, score| avro::value(Uuid::from_u128(number), "ada", score, true, 0);
    let mut records = vec![
        record(avro::TOPIC, 0, answer(1, 10)),
        record(avro::TOPIC, 1, b"damaged".to_vec()),
        record(avro::TOPIC, 2, answer(2, 5)),
        // Sent twice by its producer.
        record(avro::TOPIC, 3, answer(1, 10)),
    ];
    let mut elsewhere = record(avro::TOPIC, 0, answer(3, 100));
    elsewhere.position = Position::new(avro::TOPIC, 1, 0);
    records.push(elsewhere);
    let once = ["applied", "dead_lettered decode", "applied", "duplicate", "applied"];
    for _ in 0..3 {
        assert_eq!(outcomes(&world.deliver_to(&function, &records)), once);
        let shown = count_of(&world, "ada");
        assert_eq!((&shown["answers"], &shown["sum"]), (&json!(3), &json!(115)));
    }
    assert_eq!(count_of(&world, "grace"), json!(null));
}

#[test]
fn from_the_first_record_that_is_not_counted_on_its_partition_is_redelivered_and_nothing_is_counted_twice() {
    let world = world();
    let function = answers(&world);
    let answer = |number, learner| avro::value(Uuid::from_u128(number), learner, 1, true, 0);
    let records = [record(avro::TOPIC, 0, answer(1, "ada")), record(avro::TOPIC, 1, answer(2, "ada"))];
    world.ledger.switch.set_down(true);
    let reports = world.deliver_to(&function, &records);
    assert_eq!(outcomes(&reports), ["retry_later", "retry_later"]);
    world.ledger.switch.set_down(false);
    assert_eq!(count_of(&world, "ada"), json!(null));
    // The second document fails: the first is counted, and waits for nothing.
    let more = [records[0].clone(), record(avro::TOPIC, 1, answer(3, "ada")), record(avro::TOPIC, 2, answer(4, "ada"))];
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["applied", "applied"]);
    assert_eq!(count_of(&world, "ada")["answers"], 2);
    // What stands at an offset that is counted is counted: only a new one adds to it.
    assert_eq!(outcomes(&world.deliver_to(&function, &more)), ["applied"; 3]);
    assert_eq!(count_of(&world, "ada")["answers"], 3);
}

#[test]
fn numbers_are_counted_again_at_once_where_a_call_failed_or_its_answer_was_lost() {
    for fault in [Fault::Before, Fault::After] {
        for nth in [0, 1] {
            let world = world();
            let mut script = vec![None; nth];
            script.push(Some(fault));
            world.ledger.switch.script(script);
            let records = [record(avro::TOPIC, 0, avro::value(Uuid::from_u128(1), "ada", 1, true, 0))];
            assert_eq!(outcomes(&world.deliver_to(&answers(&world), &records)), ["applied"], "{fault:?} of call {nth}");
            assert_eq!(count_of(&world, "ada")["answers"], 1, "{fault:?} of call {nth}");
        }
    }
}

#[test]
fn rows_that_are_too_large_for_one_transaction_are_written_in_as_few_as_take_them() {
    let world = world();
    let learner = |number: u32| format!("learner-{number}");
    let counter = |number| AggregateRef { kind: avro::SCORES, id: learner(number).into() };
    let at = Position::new(avro::TOPIC, 0, 0);
    // Each of 58 kB: a hundred of them, which is as many as a transaction has room for by their number, are too many.
    let before: Vec<Uuid> = (0..1_500).map(Uuid::from_u128).collect();
    let row = Bytes::from(json!({"through": -1, "numbers": {"answers": before, "sum": 0}}).to_string());
    assert!(100 * row.len() > MAX_COMMIT_BYTES && 100 * row.len() < 2 * MAX_COMMIT_BYTES, "{}", row.len());
    for number in 0..100 {
        let id = counted_row("acme", &counter(number), &at);
        let write = AggregateWrite { id, expected: None, content: Some(Content::of(row.clone())) };
        let commit = Commit { aggregates: vec![write], keys: Vec::new() };
        block_on(world.ledger.model.commit(commit)).expect("it is written");
    }
    let answer = |number| avro::value(Uuid::from_u128(10_000 + u128::from(number)), &learner(number), 1, true, 0);
    let records: Vec<_> = (0..100).map(|number| record(avro::TOPIC, i64::from(number), answer(number))).collect();
    assert_eq!(outcomes(&world.deliver_to(&answers(&world), &records)), ["applied"; 100]);
    assert_eq!(world.ledger.switch.calls("commit"), 2);
    assert!((0..100).all(|number| count_of(&world, &learner(number))["answers"] == 1_501));
}

#[test]
fn a_reaction_follows_once_from_an_event_of_another_familys_topic_whatever_answer_is_lost() {
    for fault in [None, Some(Fault::Before), Some(Fault::After)] {
        for port in ["ledger", "event log"] {
            let world = world();
            let function = distributor(&world);
            let id = Uuid::from_u128(1);
            let value = module::value(id, GENERATED, "rust", "text");
            let records = [record(COURSES, 0, value.clone()), record(COURSES, 1, value)];
            match port {
                "ledger" => world.ledger.switch.script([fault]),
                _ => world.event_log.switch.script([fault]),
            }
            assert_eq!(
                outcomes(&world.deliver_to(&function, &records)),
                ["applied", "duplicate"],
                "{fault:?} at the {port}"
            );
            // At least once, and always under the same id: who reads them removes the others.
            let published = world.records(DISTRIBUTIONS);
            let expected = follow_up_id(id, None, CREATED, 0).to_string();
            assert!(!published.is_empty());
            for record in published {
                assert_eq!(header_text(&record.headers, "event-id"), Some(&*expected));
                assert_eq!(header_text(&record.headers, "correlation-id"), Some("c-1"));
            }
            // It owns neither the event nor its document.
            assert!(world.statements.model.documents().is_empty());
        }
    }
}

#[test]
fn what_a_subscription_does_not_own_and_does_not_want_is_skipped_and_its_owner_alone_writes_letters() {
    let world = world();
    let value = |number, event_type| module::value(Uuid::from_u128(number), event_type, "rust", "");
    let records = [
        record(COURSES, 0, value(1, REQUESTED)),
        record(COURSES, 1, value(2, "toy.nothing")),
        record(COURSES, 2, value(3, "toy.answered")),
        record(COURSES, 3, b"{}".to_vec()),
        Record { value: None, ..record(COURSES, 4, "") },
        record(COURSES, 5, module::value(Uuid::from_u128(6), GENERATED, "", "")),
    ];
    let reports = world.deliver_to(&distributor(&world), &records);
    assert_eq!(outcomes(&reports), ["skipped", "skipped", "skipped", "skipped", "skipped_tombstone", "skipped"]);
    assert_eq!(reports[0].event_type, REQUESTED);
    assert!(world.letters().is_empty() && world.ledger.model.keys().is_empty());
    let [unknown, decode] = ["dead_lettered unknown-type", "dead_lettered decode"];
    let owners = outcomes(&world.deliver_to(&stateful::<Courses>(&world), &records));
    let invalid = "dead_lettered validation";
    assert_eq!(owners, ["applied", unknown, unknown, decode, "skipped_tombstone", invalid]);
    assert_eq!(world.letters().len(), 4);
}

#[test]
fn a_reactions_own_letter_stands_beside_its_owners_and_is_decided_anew_by_a_replay() {
    let world = world();
    let function = distributor(&world);
    let records = [record(COURSES, 0, module::value(Uuid::from_u128(1), GENERATED, module::UNWANTED, ""))];
    for _ in 0..2 {
        assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["dead_lettered rejected"]);
    }
    let letters = world.letters();
    let letter = &letters[0];
    assert!(letters.iter().all(|other| other.id == letter.id && other.family == "toy-distributor"));
    assert_ne!(letter.id, lyceum_core::envelope::letter_id(&records[0].position, 0), "that is the owner's name");
    let replayed = letter.replay().record;
    let replayed = Record { headers: replayed.headers, ..record(COURSES, 1, replayed.value.unwrap_or_default()) };
    assert_eq!(outcomes(&world.deliver_to(&function, &[replayed])), ["dead_lettered rejected"]);
    assert!(world.letters().iter().any(|next| next.id == letter.next_id() && next.replay_count == 1));
}

#[test]
fn a_port_is_asked_once_for_an_event_and_the_first_answer_that_is_recorded_holds() {
    for fault in [None, Some(Fault::Before), Some(Fault::After)] {
        for port in ["ledger", "event log"] {
            let world = world();
            let calls = Arc::new(AtomicU64::new(0));
            let counted = calls.clone();
            let answer = move |_: &module::Request| Ok(format!("draft {}", counted.fetch_add(1, Ordering::SeqCst)));
            let function = generator(&world, 1, answer);
            let id = Uuid::from_u128(1);
            let value = module::value(id, REQUESTED, "rust", "");
            let records = [record(COURSES, 0, value.clone()), record(COURSES, 1, value)];
            match port {
                "ledger" => world.ledger.switch.script([fault]),
                _ => world.event_log.switch.script([fault]),
            }
            for ended in [["applied", "duplicate"]; 2] {
                assert_eq!(outcomes(&world.deliver_to(&function, &records)), ended, "{fault:?} at the {port}");
            }
            assert_eq!(calls.load(Ordering::SeqCst), 1, "{fault:?} at the {port}");
            let expected = module::value(follow_up_id(id, None, GENERATED, 0), GENERATED, "rust", "draft 0");
            assert!(world.records(COURSES).iter().all(|record| record.value.as_deref() == Some(&*expected)));
        }
    }
}

#[test]
fn an_event_that_another_worker_asks_about_is_redelivered_without_a_call_until_its_lease_ends() {
    let world = world();
    let id = Uuid::from_u128(1);
    let records = [record(COURSES, 0, module::value(id, REQUESTED, "rust", ""))];
    let key = KeyId::of("acme", "toy-generator", id);
    let until_ms = BEGINNING_MS + 60_000;
    let claimed = block_on(world.ledger.model.claim(&key, Uuid::from_u128(9), BEGINNING_MS, until_ms));
    assert_eq!(claimed, Ok(Claim::Held));
    let reports = world.deliver_to(&generator(&world, 1, |_| panic!("it is asked")), &records);
    assert_eq!(outcomes(&reports), ["retry_later"]);
    let why = format!("{:?}", reports[0].outcome);
    assert!(why.contains("another worker is asking about this event, for 60 s at most"), "{why}");
    assert_eq!(world.ledger.switch.calls("count_attempt"), 0, "a wait is no attempt");
    world.clock.advance(Duration::from_secs(60));
    let function = generator(&world, 1, |_| Ok("draft".to_owned()));
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["applied"]);
}

#[test]
fn how_an_event_ended_is_told_by_its_key_for_each_effect_that_has_keys() {
    let world = world();
    let answered = generator(&world, 1, |_| Ok("draft".to_owned()));
    for (function, event_type) in [(answered, REQUESTED), (distributor(&world), GENERATED)] {
        let value = |number| module::value(Uuid::from_u128(number), event_type, "rust", "");
        let records = [record(COURSES, 0, value(1)), record(COURSES, 1, value(2))];
        let ended =
            || -> Vec<bool> { block_on(function.ended(&records)).unwrap().iter().map(Option::is_some).collect() };
        assert_eq!(ended(), [false, false], "{event_type}");
        assert_eq!(outcomes(&world.deliver_to(&function, &records[..1])), ["applied"]);
        assert_eq!(ended(), [true, false], "{event_type}");
    }
}

#[test]
fn a_call_that_fails_spends_no_attempt_and_gives_the_lease_back() {
    let world = world();
    let records = [record(COURSES, 0, module::value(Uuid::from_u128(1), REQUESTED, "rust", ""))];
    for _ in 0..5 {
        let failing = generator(&world, 1, |_| Err(CallError("529: overloaded".into())));
        let reports = world.deliver_to(&failing, &records);
        assert_eq!(outcomes(&reports), ["retry_later"]);
        assert!(format!("{:?}", reports[0].outcome).contains("529"));
    }
    assert_eq!(world.ledger.switch.calls("count_attempt"), 0);
    // Another process need not wait.
    let function = generator(&world, 2, |_| Ok("draft".to_owned()));
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["applied"]);
}

#[test]
fn a_request_that_is_refused_is_a_letter_and_nobody_is_asked() {
    let world = world();
    let function = generator(&world, 1, |_| panic!("it is asked"));
    let records = [record(COURSES, 0, module::value(Uuid::from_u128(1), REQUESTED, module::REFUSED, ""))];
    assert_eq!(outcomes(&world.deliver_to(&function, &records)), ["dead_lettered rejected"]);
}

#[test]
fn what_the_envelope_asks_of_every_format_is_asked_of_a_modules_event() {
    let world = world();
    let function = stateful::<Courses>(&world);
    let value = |number, event_type| module::value(Uuid::from_u128(number), event_type, "rust", "");
    let mut of_another_tenant = record(COURSES, 0, value(1, GENERATED));
    of_another_tenant.headers.push(Header::new("tenant-id", "beta"));
    let mut damaged = record(COURSES, 1, value(2, GENERATED));
    damaged.headers.push(Header::new(SOURCE_HEADER, "nowhere"));
    let records = [
        of_another_tenant,
        damaged,
        record(COURSES, 2, value(3, "toy.nothing")),
        record(COURSES, 3, value(4, "toy.answered")),
        Record { value: None, ..record(COURSES, 4, "") },
    ];
    let reports = world.deliver_to(&function, &records);
    let [validation, unknown] = ["dead_lettered validation", "dead_lettered unknown-type"];
    assert_eq!(outcomes(&reports), [validation, validation, unknown, unknown, "skipped_tombstone"]);
    let rules: Vec<_> = reports.iter().flat_map(|report| &report.findings).map(|finding| &*finding.rule).collect();
    assert_eq!(rules, ["tenant.differs", "replay.headers", "event-type.unknown", "event-type.topic"]);
}
