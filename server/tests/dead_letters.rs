//! Dead letters and their replay over the models in memory: what is sent, what is refused, what is remembered.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use lyceum_around::around::{Around, Call, StoreError, Wrapped};
use lyceum_around::measured::Measured;
use lyceum_around::system_clock::SystemClock;
use lyceum_catalog::catalog;
use lyceum_content_generator::Offline;
use lyceum_core::catalog::PLATFORM_DEAD_LETTERS;
use lyceum_core::dead_letter::{
    DeadLetterFormat, Failure, Publication, REPLAY_LIMIT, without_value, write, write_entry,
};
use lyceum_core::envelope::{EnvelopeConfig, REPLAY_COUNT_HEADER, TENANT_HEADER};
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{DeadLetterKind, Observer, Report};
use lyceum_core::ports::event_log::{Administer, EventLog, Follow, Publish, Retention, TopicSpec};
use lyceum_core::process::{Delivery, ProcessConfig, Services, Subscriber};
use lyceum_core::record::{Header, NewRecord, Position, Record, header_text};
use lyceum_functions::{Look, Looked, Ports, functions};
use lyceum_lambda_event::event::{EventSource, write_event};
use lyceum_lambda_event::handler::handle;
use lyceum_lambda_event::on_failure::{self, GivenUp, condition};
use lyceum_server::dead_letters::letters::StopAt;
use lyceum_server::dead_letters::letters::{
    CountOfKinds, DeadLetterFilter, DeadLetters, DiscardRequest, LetterState, Order, ReplayRequest, ReplaySummary,
    Which,
};
use lyceum_server::dead_letters::{DeadLetterIndex, Sources};
use lyceum_server::questions::{About, AskError, Keys};
use lyceum_server::topics::topics;
use lyceum_testing::clock::ManualClock;
use lyceum_testing::memory::event_log::MemoryEventLog;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use lyceum_xapi::equality;
use tokio::sync::Semaphore;

const BOOKINGS: &str = "nlj.training.bookings";
const VALIDATION: &str = "nlj.errors.validation";
/// 2023-11-14T22:13:20Z
const NOW_MS: i64 = 1_700_000_000_000;

/// The stores, and as many indexes over them as processes.
struct World {
    log: Arc<MemoryEventLog>,
    ledger: Arc<MemoryLedger>,
    statements: Arc<MemoryStatements>,
}

impl World {
    async fn new(letter_partitions: i32) -> Self {
        let log = Arc::new(MemoryEventLog::with_clock(Arc::new(ManualClock::stepping(NOW_MS, 1))));
        for topic in topics(&catalog()) {
            let is_letters = catalog().dead_letter_topics().contains(&topic.name.as_str());
            let partitions = if is_letters { letter_partitions } else { topic.partitions };
            log.create_topic(TopicSpec { partitions, retention: Retention::default(), ..topic }).await.unwrap();
        }
        let statements = Arc::new(MemoryStatements::new(equality::same));
        Self { log, ledger: Arc::new(MemoryLedger::new()), statements }
    }

    /// A process that begins now.
    fn process(&self) -> DeadLetterIndex {
        self.process_on(self.log.clone())
    }

    /// The same, which reaches the log in its own way.
    fn process_on(&self, log: Arc<dyn EventLog>) -> DeadLetterIndex {
        let sources = Sources {
            event_log: log,
            ledger: self.ledger.clone(),
            statements: self.statements.clone(),
            functions: self.functions(),
            keys: Arc::new(Names(Look::new(EnvelopeConfig::default()))),
        };
        DeadLetterIndex::new(sources, Arc::new(catalog()), Arc::new(SystemClock))
    }

    /// Every function, on these stores.
    fn functions(&self) -> BTreeMap<&'static str, Arc<dyn Subscriber>> {
        let services = Services {
            event_log: self.log.clone(),
            ledger: self.ledger.clone(),
            statements: self.statements.clone(),
            schemas: None,
            clock: Arc::new(SystemClock),
            observer: Arc::new(Nobody),
        };
        let catalog = Arc::new(catalog());
        let build = |of: lyceum_functions::Function| {
            let ports =
                Ports { services: services.clone(), generator: Arc::new(Offline), audit: self.statements.clone() };
            (of.subscription.name, of.build(ports, catalog.clone(), ProcessConfig::default()))
        };
        functions().map(build).collect()
    }

    /// Dead-letters records of the bookings topic, offsets from `first` on; each has its letter's partition by its key.
    async fn fail(&self, first: i64, count: i64) {
        let mut letters: Vec<NewRecord> = Vec::new();
        for offset in first..first + count {
            letters.push(letter(&record(offset)).record);
            if letters.len() == 5_000 || offset + 1 == first + count {
                self.log.produce(VALIDATION, std::mem::take(&mut letters)).await.unwrap();
            }
        }
    }

    async fn publish(&self, publication: Publication) -> Position {
        self.log.produce(&publication.topic, vec![publication.record]).await.unwrap().remove(0)
    }

    /// What stands on the bookings topic: the replays.
    async fn replays(&self) -> Vec<Record> {
        let mut found = Vec::new();
        for (partition, range) in (0..).zip(self.log.offsets(BOOKINGS).await.unwrap()) {
            let mut next = range.start;
            while next < range.end {
                let records = self.log.fetch(BOOKINGS, partition, next, 1_000, usize::MAX).await.unwrap();
                next = records.last().unwrap().position.offset + 1;
                found.extend(records);
            }
        }
        found
    }
}

/// Tells of a record whose event it is.
struct Names(Look);

impl Keys for Names {
    fn about(&self, record: &Record) -> About {
        match self.0.at(record) {
            Looked::Event(seen) => {
                About { tenant: Some(seen.tenant.into()), event_id: Some(seen.id), ..About::default() }
            }
            Looked::Invalid(invalid) => About { tenant: invalid.tenant.map(String::from), ..About::default() },
            Looked::Tombstone | Looked::Missing(_) => About::default(),
        }
    }

    fn key_of(&self, _: &str, _: &Bytes) -> Option<Bytes> {
        None
    }
}

/// Lets so many reads of records through, and no more.
struct Gate(Semaphore);

impl Around for Gate {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        _: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        if call.operation == "fetch" {
            self.0.acquire().await.expect("it is never closed").forget();
        }
        work.await
    }
}

#[tokio::test]
async fn whoever_asks_while_there_is_much_to_read_is_answered_from_what_was_read_and_told_so() {
    let world = World::new(1).await;
    world.fail(0, 300).await;
    let gate = Arc::new(Gate(Semaphore::new(1)));
    let process = Arc::new(world.process_on(Arc::new(Wrapped::around(world.log.clone(), gate.clone()))));
    let following = tokio::spawn({
        let process = process.clone();
        async move { process.keep_up().await }
    });
    while gate.0.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let all = DeadLetterFilter::default();
    let asked = (0..20).map(|_| process.list(&all, Order::NewestFirst, 0, None));
    for answer in join_all(asked).await {
        let answer = answer.unwrap();
        assert_eq!((answer.total, answer.is_behind), (200, true));
    }
    let (tenants, about) = (process.tenants().await.unwrap(), process.about(None, &HashSet::new()).await.unwrap());
    let causes = process.summarize(&all, 0).await.unwrap();
    assert_eq!((tenants.is_behind, about.is_behind, causes.is_behind), (true, true, true));
    gate.0.add_permits(1_000);
    let answer = loop {
        let answer = process.list(&DeadLetterFilter::default(), Order::NewestFirst, 0, None).await.unwrap();
        if !answer.is_behind {
            break answer;
        }
    };
    assert_eq!(answer.total, 300);
    // What is there before a question is in its answer, where there is not much.
    world.fail(300, 1).await;
    assert_eq!(process.list(&DeadLetterFilter::default(), Order::NewestFirst, 0, None).await.unwrap().total, 301);
    following.abort();
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &[Report]) {}
}

/// A request for a booking, which is applied.
fn booking(offset: i64) -> Record {
    let statement = serde_json::json!({
        "id": uuid::Uuid::from_u128(offset as u128 + 1),
        "actor": {"mbox": "mailto:learner@academy.example"},
        "verb": {"id": "http://nlj.platform/verbs/requested"},
        "object": {"id": format!("http://nlj.platform/activities/booking/b{offset}")},
        "context": {"extensions": {"http://nlj.platform/extensions/session_id": "s1"}},
    });
    Record { key: Some("s1".into()), value: Some(statement.to_string().into()), ..record(offset) }
}

fn record(offset: i64) -> Record {
    Record {
        position: Position::new(BOOKINGS, 0, offset),
        timestamp_ms: NOW_MS,
        key: Some(format!("b-{}", offset % 50).into()),
        value: Some(format!("{{\"number\": {offset}}}").into()),
        headers: Vec::new(),
    }
}

fn failure() -> Failure<'static> {
    Failure {
        kind: DeadLetterKind::Validation,
        findings: &[],
        family: "training",
        is_owner: true,
        correlation_id: None,
        tenant: Some("acme"),
        attempts: 1,
        failed_at_ms: NOW_MS,
    }
}

fn letter(record: &Record) -> Publication {
    write(record, &failure(), &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers)
}

fn all(limit: usize) -> ReplayRequest {
    let which = Which::Matching(DeadLetterFilter::default());
    ReplayRequest { which, is_dry_run: false, limit, again: false, up_to: None, stop_at: None, ends: <_>::default() }
}

async fn kinds(letters: &DeadLetterIndex) -> CountOfKinds {
    letters.summarize(&DeadLetterFilter::default(), 1).await.unwrap().kinds
}

fn replay_of(position: &Position, again: bool) -> ReplayRequest {
    ReplayRequest { which: Which::Positions(vec![position.clone()]), again, ..all(10) }
}

fn refusal(answer: Result<ReplaySummary, AskError>) -> String {
    match answer {
        Err(AskError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hundred_thousand_letters_on_several_partitions_are_counted_listed_and_sent_each_once_in_order() {
    let world = World::new(7).await;
    world.fail(0, 100_000).await;
    let process = world.process();
    let counts = kinds(&process).await;
    assert_eq!(counts[&DeadLetterKind::Validation].waiting, 100_000);
    let newest = process.list(&DeadLetterFilter::default(), Order::NewestFirst, 1_000, None).await.unwrap();
    assert_eq!((newest.letters.len(), newest.not_indexed), (1_000, 0));
    let mut sent = 0;
    loop {
        let summary = process.replay(&all(1_000)).await.unwrap();
        sent += summary.replayed.len();
        if summary.remaining == 0 {
            break;
        }
    }
    assert_eq!(sent, 100_000);
    let replays = world.replays().await;
    assert_eq!(replays.len(), 100_000);
    // By key, in the order in which they failed.
    let mut last = std::collections::HashMap::<Bytes, i64>::new();
    for replay in &replays {
        let value: serde_json::Value = serde_json::from_slice(replay.value.as_ref().unwrap()).unwrap();
        let number = value["number"].as_i64().unwrap();
        let before = last.insert(replay.key.clone().unwrap(), number);
        assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
    }
}

#[tokio::test]
async fn letters_that_stand_together_are_fetched_together_and_those_between_are_not_shown() {
    let world = World::new(1).await;
    let tenant_of = |number: i64| if number % 40 == 0 { "globex" } else { "acme" };
    for number in 0..400 {
        let failure = Failure { tenant: Some(tenant_of(number)), ..failure() };
        world.publish(write(&record(number), &failure, &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers)).await;
    }
    let metrics = Arc::new(Metrics::new());
    let process = world.process_on(Arc::new(Measured::new(world.log.clone(), metrics.clone())));
    let fetches = || {
        let counted = r#"lyceum_store_duration_seconds_count{store="event_log",operation="fetch"} "#;
        let text = metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(counted)?.parse::<u64>().ok()).unwrap()
    };
    kinds(&process).await;
    let of_tenant = |tenant: &str| DeadLetterFilter { tenant: Some(tenant.to_owned()), ..DeadLetterFilter::default() };
    for (tenant, limit, wanted_fetches) in [("acme", 120, 1), ("globex", 5, 5)] {
        let before = fetches();
        let letters = process.list(&of_tenant(tenant), Order::NewestFirst, limit, None).await.unwrap().letters;
        assert_eq!((letters.len(), fetches() - before), (limit, wanted_fetches), "{tenant}");
        assert!(letters.iter().all(|shown| shown.tenant.as_deref() == Some(tenant)));
        let offsets: Vec<i64> = letters.iter().map(|shown| shown.position.offset).collect();
        let newest: Vec<i64> = (0..400).rev().filter(|number| tenant_of(*number) == tenant).take(limit).collect();
        assert_eq!(offsets, newest, "the newest first");
    }
}

#[tokio::test]
async fn an_index_that_is_full_lists_the_newest_and_a_replay_sends_all_in_order() {
    let world = World::new(1).await;
    world.fail(0, 1_000).await;
    let process = world.process().with_room(300);
    let newest = process.list(&DeadLetterFilter::default(), Order::NewestFirst, 10, None).await.unwrap();
    assert_eq!((newest.total, newest.not_indexed), (300, 700));
    assert_eq!(newest.letters[0].position.offset, 999);
    let counts = kinds(&process).await;
    assert_eq!(counts[&DeadLetterKind::Validation].waiting, 1_000);
    let mut calls = 0;
    let mut up_to = None;
    loop {
        let summary = process.replay(&ReplayRequest { up_to, ..all(150) }).await.unwrap();
        calls += 1;
        assert!(calls < 20, "{summary:?}");
        if summary.remaining == 0 {
            break;
        }
        up_to = Some(summary.up_to);
    }
    let numbers: Vec<Bytes> = world.replays().await.into_iter().filter_map(|replay| replay.value).collect();
    assert_eq!(numbers.len(), 1_000);
    let counts = kinds(&process).await;
    assert!(counts.values().all(|count| count.waiting == 0), "{counts:?}");
    let listed = process.list(&DeadLetterFilter::default(), Order::NewestFirst, 10, None).await.unwrap();
    assert_eq!(listed.not_indexed, 0);
    // What comes next is no less sent: where the last replay ended in the middle of what it had read.
    world.fail(1_000, 500).await;
    let up_to = process.replay(&ReplayRequest { is_dry_run: true, ..all(1) }).await.unwrap().up_to;
    world.fail(1_500, 400).await;
    for request in [ReplayRequest { up_to: Some(up_to), ..all(1_000) }, all(1_000), all(1_000)] {
        process.replay(&request).await.unwrap();
    }
    assert_eq!(world.replays().await.len(), 1_900);
}

fn discard_all(limit: usize) -> DiscardRequest {
    let which = Which::Matching(DeadLetterFilter::default());
    DiscardRequest { which, is_dry_run: false, limit, by: "a test".to_owned(), up_to: None }
}

#[tokio::test]
async fn what_is_discarded_stays_so_in_every_process_and_once_more_is_harmless() {
    let world = World::new(1).await;
    world.fail(0, 5).await;
    let process = world.process();
    let at = |offset| Position::new(VALIDATION, 0, offset);
    let named = |offsets: &[i64]| {
        let which = Which::Positions(offsets.iter().map(|offset| at(*offset)).collect());
        DiscardRequest { which, ..discard_all(10) }
    };
    let dry = process.discard(&DiscardRequest { is_dry_run: true, ..named(&[0, 1]) }).await.unwrap();
    assert_eq!((dry.discarded.len(), process.discard(&named(&[0, 1])).await.unwrap().discarded.len()), (2, 2));
    let again = process.discard(&named(&[0, 1])).await.unwrap();
    assert_eq!((again.discarded.len(), again.already), (0, 2));
    let other = world.process();
    let shown = other.show(&at(0)).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.discarded.unwrap().by.as_str()), (LetterState::Discarded, "a test"));
    assert_eq!(other.replay(&all(10)).await.unwrap().replayed.len(), 3, "nothing that was discarded is sent");
    let sent = other.discard(&named(&[4])).await.unwrap();
    assert_eq!((sent.discarded.len(), sent.already), (0, 1), "what was sent is not discarded");
    let why = refusal(other.replay(&replay_of(&at(0), false)).await);
    assert!(why.contains("discarded at") && why.contains("by a test") && why.contains("--again"), "{why}");
    assert_eq!(other.replay(&replay_of(&at(0), true)).await.unwrap().replayed.len(), 1);
    let insisted = world.process().show(&at(0)).await.unwrap().unwrap();
    assert_eq!(insisted.state, LetterState::Sent, "a person insisted");
    let nothing = process.discard(&named(&[77])).await;
    assert!(matches!(nothing, Err(AskError::Invalid(why)) if why.contains("/0/77")));
}

#[tokio::test]
async fn a_discard_of_all_goes_on_with_what_there_was_no_room_for() {
    let world = World::new(2).await;
    world.fail(0, 500).await;
    let process = world.process().with_room(100);
    let mut discarded = 0;
    let mut up_to = None;
    for _ in 0..40 {
        let summary = process.discard(&DiscardRequest { up_to, ..discard_all(60) }).await.unwrap();
        discarded += summary.discarded.len();
        if summary.remaining == 0 {
            break;
        }
        up_to = Some(summary.up_to);
    }
    assert_eq!(discarded, 500);
    assert!(kinds(&world.process()).await.values().all(|count| count.waiting == 0));
}

#[tokio::test]
async fn a_letter_whose_event_was_applied_later_is_resolved_and_not_sent() {
    let world = World::new(1).await;
    let failure = Failure { kind: DeadLetterKind::Validation, tenant: Some("default"), ..failure() };
    let refused = |record: &Record| write(record, &failure, &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers);
    for offset in [1, 2] {
        world.publish(refused(&booking(offset))).await;
    }
    let process = world.process();
    let state = async |offset| process.show(&Position::new(VALIDATION, 0, offset)).await.unwrap().unwrap().state;
    assert_eq!(state(0).await, LetterState::Waiting);
    // The sender sends the first one anew.
    let mut payload = Vec::new();
    write_event(&EventSource::default(), [&booking(1)].into_iter(), &mut payload);
    handle(&*world.functions()["training"], &payload, i64::MAX).await.unwrap();
    assert_eq!((state(0).await, state(1).await), (LetterState::Resolved, LetterState::Waiting));
    let resolved = DeadLetterFilter { state: Some(LetterState::Resolved), ..DeadLetterFilter::default() };
    assert_eq!(process.list(&resolved, Order::NewestFirst, 10, None).await.unwrap().total, 1);
    let sent = process.replay(&all(10)).await.unwrap().replayed;
    assert_eq!(sent.iter().map(|letter| letter.position.offset).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_replay_that_was_cut_off_goes_on_in_another_process_and_sends_nothing_twice() {
    let world = World::new(3).await;
    world.fail(0, 400).await;
    let (first, second) = (world.process(), world.process());
    // The second one knows all letters as waiting before the first one sends some of them.
    assert_eq!(kinds(&second).await[&DeadLetterKind::Validation].waiting, 400);
    first.replay(&all(130)).await.unwrap();
    drop(first);
    let mut summary = second.replay(&all(1_000)).await.unwrap();
    assert_eq!((summary.replayed.len(), summary.remaining), (270, 0));
    summary = world.process().replay(&all(1_000)).await.unwrap();
    assert_eq!(summary.replayed.len(), 0);
    let mut numbers: Vec<Bytes> = world.replays().await.into_iter().filter_map(|replay| replay.value).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 400);
}

#[tokio::test]
async fn what_fails_again_is_no_part_of_the_replay_under_way_and_is_parked_at_the_limit() {
    let world = World::new(1).await;
    let mut failing = record(7);
    let mut first_failed_at = None;
    for count in 0..=REPLAY_LIMIT {
        world.publish(letter(&failing)).await;
        let process = world.process();
        let shown =
            process.list(&DeadLetterFilter::default(), Order::NewestFirst, 1, None).await.unwrap().letters.remove(0);
        assert_eq!((shown.replay_count, shown.is_parked), (count, count == REPLAY_LIMIT));
        first_failed_at.get_or_insert_with(|| shown.first_failed_at.clone());
        assert_eq!(Some(&shown.first_failed_at), first_failed_at.as_ref());
        let summary = process.replay(&all(10)).await.unwrap();
        if count == REPLAY_LIMIT {
            assert_eq!((summary.replayed.len(), summary.parked), (0, 1));
            let position = shown.position.clone();
            assert_eq!(process.replay(&replay_of(&position, false)).await.unwrap().replayed.len(), 1);
            break;
        }
        assert_eq!(summary.replayed.len(), 1);
        failing = world.replays().await.pop().unwrap();
        assert_eq!(header_text(&failing.headers, REPLAY_COUNT_HEADER), Some((count + 1).to_string().as_str()));
        // It fails at once: the same replay, going on, does not send it again.
        world.publish(letter(&failing)).await;
        let going_on = ReplayRequest { up_to: Some(summary.up_to), ..all(10) };
        assert_eq!(process.replay(&going_on).await.unwrap().replayed.len(), 0);
    }
}

#[tokio::test]
async fn a_letter_that_was_sent_already_is_sent_once_more_only_where_that_is_said() {
    let world = World::new(1).await;
    let position = world.publish(letter(&record(7))).await;
    let process = world.process();
    process.replay(&replay_of(&position, false)).await.unwrap();
    let why = refusal(process.replay(&replay_of(&position, false)).await);
    assert!(why.contains("again already, to nlj.training.bookings/") && why.contains("--again"), "{why}");
    // It failed again: the newer letter is the one to send.
    let newer = world.publish(letter(&world.replays().await.pop().unwrap())).await;
    kinds(&process).await;
    let why = refusal(process.replay(&replay_of(&position, false)).await);
    assert!(why.contains(&newer.to_string()), "{why}");
    assert_eq!(process.replay(&replay_of(&position, true)).await.unwrap().replayed.len(), 1);
    assert_eq!(world.replays().await.len(), 2);
}

#[tokio::test]
async fn a_letter_without_its_original_is_refused_with_the_place() {
    let world = World::new(1).await;
    let position = world.publish(without_value(letter(&record(7)))).await;
    world.publish(letter(&record(8))).await;
    let process = world.process();
    let why = refusal(process.replay(&replay_of(&position, false)).await);
    assert!(why.contains("too large") && why.contains("nlj.training.bookings/0/7"), "{why}");
    let summary = process.replay(&all(10)).await.unwrap();
    assert_eq!((summary.replayed.len(), summary.unsendable, summary.refused.len()), (1, 1, 1));
}

#[tokio::test]
async fn a_malformed_entrys_letter_sends_the_record_itself_or_is_refused_with_a_reason() {
    let world = World::new(1).await;
    let NewRecord { key, value, .. } = letter(&record(0)).record;
    let original = NewRecord { partition: Some(0), key, value, ..NewRecord::default() };
    let there = world.log.produce(BOOKINGS, vec![original]).await.unwrap().remove(0);
    let entry = |position: Position| {
        let value = Some(Bytes::from_static(br#"{"topic": "nlj.training.bookings", "value": 7}"#));
        let entry = Record { position, timestamp_ms: NOW_MS, key: None, value, headers: Vec::new() };
        let failure = Failure { kind: DeadLetterKind::Decode, ..failure() };
        write_entry(&entry, &failure, &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers)
    };
    let readable = world.publish(entry(there.clone())).await;
    let gone = world.publish(entry(Position::new(BOOKINGS, 0, 99))).await;
    let unnamed = world.publish(entry(Position { offset: -1, ..Position::new(BOOKINGS, 0, 0) })).await;
    let process = world.process();
    process.replay(&replay_of(&readable, false)).await.unwrap();
    let replay = world.replays().await.pop().unwrap();
    assert_eq!(replay.value, record(0).value, "the record's value, not the entry's JSON");
    for position in [gone, unnamed] {
        let why = refusal(process.replay(&replay_of(&position, false)).await);
        assert!(why.contains("not at") && why.contains("anew"), "{why}");
    }
    assert_eq!(process.replay(&all(10)).await.unwrap().refused.len(), 2);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_go_where_and_why_it_failed_and_sends_nothing() {
    let world = World::new(1).await;
    let findings = [lyceum_core::outcome::Finding {
        rule: "verb.id.iri".into(),
        pointer: "/verb/id".to_owned(),
        message: "it is no IRI".to_owned(),
        requirement: "XAPI-00045".into(),
    }];
    let failure = Failure { findings: &findings, ..failure() };
    world.publish(write(&record(7), &failure, &PLATFORM_DEAD_LETTERS, DeadLetterFormat::Headers)).await;
    let summary = world.process().replay(&ReplayRequest { is_dry_run: true, ..all(10) }).await.unwrap();
    assert_eq!(
        (summary.replayed[0].topic.as_str(), summary.replayed[0].why.as_str()),
        (BOOKINGS, "/verb/id: it is no IRI")
    );
    assert!(world.replays().await.is_empty());
}

#[tokio::test]
async fn what_lambda_gave_up_although_it_was_applied_becomes_no_letter() {
    let world = World::new(1).await;
    let mut payload = Vec::new();
    write_event(&EventSource::default(), [&booking(1)].into_iter(), &mut payload);
    let answer = handle(&*world.functions()["training"], &payload, i64::MAX).await.unwrap();
    assert!(answer.batch_item_failures.is_empty(), "{answer:?}");
    let process = world.process();
    for (record, expected) in [(booking(1), (1, 0)), (booking(2), (0, 1)), (record(3), (0, 1))] {
        let imported = process.import(&given_up(&record, true)).await.unwrap();
        assert_eq!((imported.applied, imported.letters), expected, "{}", record.position);
    }
}

fn given_up(record: &Record, with_payload: bool) -> Bytes {
    let source = EventSource::default();
    let given_up = GivenUp {
        condition: condition::RETRY_ATTEMPTS_EXHAUSTED,
        function: "training",
        request_id: "r".to_owned(),
        invocations: 4,
        error: Some("Unhandled"),
        at_ms: NOW_MS,
        source: &source,
    };
    on_failure::write(record, &given_up, with_payload)
}

#[tokio::test]
async fn what_lambda_gave_up_becomes_letters_once_with_its_payload_or_from_the_topic() {
    let world = World::new(1).await;
    let process = world.process();
    let imported = process.import(&given_up(&record(7), true)).await.unwrap();
    assert_eq!((imported.letters, imported.known), (1, 0));
    let shown =
        process.list(&DeadLetterFilter::default(), Order::NewestFirst, 1, None).await.unwrap().letters.remove(0);
    assert_eq!((shown.kind, shown.attempts), (DeadLetterKind::Processing, 4));
    assert!(shown.findings[0].message.contains("RetryAttemptsExhausted"), "{:?}", shown.findings);
    assert_eq!(process.import(&given_up(&record(7), true)).await.unwrap().known, 1, "once more makes no second letter");
    process.replay(&replay_of(&shown.position, false)).await.unwrap();
    let replay = world.replays().await.pop().unwrap();
    assert_eq!((&replay.key, &replay.value), (&record(7).key, &record(7).value));

    // Of SQS only the place is known: the record is still on its topic, or its loss is reported.
    let place = replay.position.clone();
    let there = Record { position: place, ..record(7) };
    assert_eq!(process.import(&given_up(&there, false)).await.unwrap().letters, 1);
    let gone = process.import(&given_up(&record(4_711), false)).await.unwrap();
    assert!(gone.letters == 0 && gone.gone[0].contains("nlj.training.bookings/0/4711"), "{gone:?}");
    assert!(matches!(process.import(b"{}").await, Err(AskError::Invalid(_))));
    let mut foreign = record(0);
    foreign.position = Position::new("another.topic", 0, 0);
    let refused = process.import(&given_up(&foreign, true)).await.unwrap().refused;
    assert!(refused[0].contains("no function reads"), "{refused:?}");
}

/// Processes what comes onto the bookings topic, as its mapping does, for as long as it is polled.
async fn process_bookings(log: Arc<MemoryEventLog>, training: Arc<dyn Subscriber>) {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    loop {
        for (partition, range) in (0..).zip(log.offsets(BOOKINGS).await.unwrap()) {
            let from = next.get(&partition).copied().unwrap_or(range.start);
            let records = log.fetch(BOOKINGS, partition, from, 100, usize::MAX).await.unwrap();
            let Some(last) = records.last() else { continue };
            next.insert(partition, last.position.offset + 1);
            let batch: Vec<Delivery> = records.iter().cloned().map(Delivery::Record).collect();
            training.process(&batch, &training.invocation(i64::MAX)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_replay_whose_records_fail_again_stops_itself_after_few_and_a_good_one_sends_all() {
    const COUNT: i64 = 60;
    for is_good in [false, true] {
        let world = World::new(1).await;
        for offset in 0..COUNT {
            let headers = vec![Header::new(TENANT_HEADER, "acme")];
            let record = if is_good { booking(offset) } else { record(offset) };
            world.publish(letter(&Record { headers, ..record })).await;
        }
        let training = world.functions()["training"].clone();
        let processing = tokio::spawn(process_bookings(world.log.clone(), training));
        let process = world.process();
        let request = ReplayRequest { stop_at: Some(StopAt::default()), ..all(1_000) };
        let mut summary = process.replay(&request).await.unwrap();
        let mut sent = summary.replayed.len() as i64;
        while is_good && summary.remaining > 0 {
            let (up_to, ends) = (Some(summary.up_to), summary.ends);
            summary = process.replay(&ReplayRequest { up_to, ends, ..request.clone() }).await.unwrap();
            sent += summary.replayed.len() as i64;
        }
        if is_good {
            assert_eq!((sent, &summary.stopped), (COUNT, &None));
            assert_eq!((summary.ends.known, summary.ends.failed), (COUNT as u64, 0));
        } else {
            assert_eq!((sent, summary.remaining), (20, 40), "{summary:?}");
            assert_eq!((summary.ends.known, summary.ends.failed), (20, 20));
            assert!(summary.stopped.clone().unwrap().contains("20 of 20"), "{:?}", summary.stopped);
            // A next call that knows of it sends nothing, and one that is not to stop sends all.
            let next = process.replay(&ReplayRequest { ends: summary.ends, ..request.clone() }).await.unwrap();
            assert!(next.replayed.is_empty() && next.stopped.is_some(), "{next:?}");
            let rest = process.replay(&all(1_000)).await.unwrap();
            assert!(rest.replayed.len() >= 40 && rest.stopped.is_none());
        }
        processing.abort();
    }
}
