//! Services in memory, as small as the page and the API need them, and a made-up academy to look at.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of it")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use lyceum_core::analytics::nps::Scale;
use lyceum_core::dead_letter::DeadLetter;
use lyceum_core::family::AggregateRef;
use lyceum_core::generations::building::{Muted, Wanted};
use lyceum_core::generations::marker::Generations;
use lyceum_core::metrics::Metrics;
use lyceum_core::outcome::{Anomaly, DeadLetterKind, Finding, Observer, Outcome, Report};
use lyceum_core::ports::event_log::groups::Groups;
use lyceum_core::ports::event_log::{
    Administer, EventLogError, Follow, Membership, OffsetRange, Publish, Retention, TopicSpec,
};
use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::ports::statements::{
    Filter, Page, QueryDocuments, StatementDocument, StatementFields, StatementsError, StoreDocuments, StoreOutcome,
    StoredStatement,
};
use lyceum_core::process::Delivery;
use lyceum_core::record::{Header, NewRecord, Position, Record};
use lyceum_server::access::Access;
use lyceum_server::alerts::window::Window;
use lyceum_server::consumers::{ConsumerState, ConsumerStatus, ConsumerWork, Consumers, PartitionProgress};
use lyceum_server::dead_letters::letters::*;
use lyceum_server::dead_letters::violations::{Broken, Series, ViolationFilter, Violations, is_violation, judge};
use lyceum_server::http::Services;
use lyceum_server::live::Live;
use lyceum_server::questions::{About, Analytics, AskError, Keys, Span, State};
use lyceum_server::rebuild::{self, Rebuilds};
use lyceum_server::work::{Prepared, Summary, Watch, Work};
use lyceum_testing::clock::ManualClock;
use lyceum_testing::memory::ledger::MemoryLedger;
use lyceum_testing::memory::statements::MemoryStatements;
use serde_json::{Value, json};
use uuid::Uuid;

pub const BOOKINGS: &str = "nlj.training.bookings";
pub const STATEMENTS: &str = "nlj.xapi.statements";
pub const LETTERS: &str = "nlj.errors.validation";
pub const STATEMENT_ID: Uuid = Uuid::from_u128(0x6f7d_0a1e_55aa_4bce_9d51_0d5b_a4c1_f001);
/// 2026-03-05T09:30:00Z.
pub const NOW_MS: i64 = 1_772_703_000_000;

/// Topics of one partition.
#[derive(Default)]
pub struct FakeLog {
    topics: Mutex<BTreeMap<String, Vec<Record>>>,
    pub is_away: AtomicBool,
    /// It answers, and takes nothing.
    pub is_full: AtomicBool,
    pub panics: AtomicBool,
}

impl FakeLog {
    pub fn with_topics(names: &[&str]) -> Self {
        let topics = names.iter().map(|name| (name.to_string(), Vec::new())).collect();
        Self { topics: Mutex::new(topics), ..Self::default() }
    }

    pub fn records(&self, topic: &str) -> Vec<Record> {
        self.topics.lock().unwrap()[topic].clone()
    }

    fn check(&self) -> Result<(), EventLogError> {
        assert!(!self.panics.load(Ordering::SeqCst), "the log was made to panic");
        if self.is_away.load(Ordering::SeqCst) {
            return Err(EventLogError::Unavailable("the disk is full".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Publish for FakeLog {
    async fn produce(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        self.check()?;
        if self.is_full.load(Ordering::SeqCst) {
            return Err(EventLogError::Unavailable("the disk is full".to_owned()));
        }
        let mut topics = self.topics.lock().unwrap();
        let kept = topics.get_mut(topic).ok_or_else(|| EventLogError::UnknownTopic(topic.to_owned()))?;
        let append = |record: NewRecord| {
            let position = Position::new(topic, 0, kept.len() as i64);
            let NewRecord { key, value, headers, .. } = record;
            kept.push(Record { position: position.clone(), timestamp_ms: NOW_MS, key, value, headers });
            position
        };
        Ok(records.into_iter().map(append).collect())
    }
}

#[async_trait]
impl Follow for FakeLog {
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        _: usize,
    ) -> Result<Vec<Record>, EventLogError> {
        self.check()?;
        let topics = self.topics.lock().unwrap();
        let kept = topics.get(topic).ok_or_else(|| EventLogError::UnknownTopic(topic.to_owned()))?;
        let end = kept.len() as i64;
        if !(0..=end).contains(&offset) {
            let range = OffsetRange { start: 0, end };
            return Err(EventLogError::OffsetOutOfRange { topic: topic.to_owned(), partition, offset, range });
        }
        Ok(kept.iter().skip(offset as usize).take(max_records).cloned().collect())
    }

    async fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, EventLogError> {
        let topics = self.topics.lock().unwrap();
        let kept = topics.get(topic).ok_or_else(|| EventLogError::UnknownTopic(topic.to_owned()))?;
        Ok(vec![OffsetRange { start: 0, end: kept.len() as i64 }])
    }

    async fn offset_at(&self, topic: &str, _: i32, timestamp_ms: i64) -> Result<Option<i64>, EventLogError> {
        let topics = self.topics.lock().unwrap();
        let records = topics.get(topic).map(Vec::as_slice).unwrap_or_default();
        Ok(records.iter().find(|record| record.timestamp_ms >= timestamp_ms).map(|record| record.position.offset))
    }

    async fn committed(&self, _: &str, _: &str) -> Result<BTreeMap<i32, i64>, EventLogError> {
        Ok(BTreeMap::new())
    }

    async fn commit(&self, _: &str, _: &str, _: &[(i32, i64)]) -> Result<(), EventLogError> {
        Ok(())
    }

    async fn join(&self, group: &str, topic: &str, _: Duration) -> Result<Box<dyn Membership>, EventLogError> {
        let write = |_| -> BoxFuture<'static, _> { Box::pin(async { Ok(()) }) };
        Ok(Box::new(Groups::default().join(group, topic, 1, Box::new(write))))
    }

    async fn wait_for_records(&self, _: &str, _: Duration) {}
}

#[async_trait]
impl Administer for FakeLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<(), EventLogError> {
        self.topics.lock().unwrap().entry(spec.name).or_default();
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, EventLogError> {
        self.check()?;
        let topics = self.topics.lock().unwrap();
        let spec = |name: &String| TopicSpec { name: name.clone(), partitions: 1, retention: Retention::default() };
        Ok(topics.keys().map(spec).collect())
    }

    async fn apply_retention(&self, _: i64) -> Result<u64, EventLogError> {
        Ok(0)
    }
}

/// Only its health is asked for.
#[derive(Default)]
pub struct FakeLedger {
    pub hangs: AtomicBool,
    kept: MemoryLedger,
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn load(&self, aggregates: &[AggregateId], keys: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.kept.load(aggregates, keys).await
    }

    async fn load_settled_keys(&self, _: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        Ok(Vec::new())
    }

    async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        self.kept.commit(commit).await
    }

    async fn count_attempt(&self, _: &KeyId, _: u32) -> Result<u32, LedgerError> {
        Ok(1)
    }

    async fn claim(&self, key: &KeyId, holder: Uuid, now_ms: i64, until_ms: i64) -> Result<Claim, LedgerError> {
        self.kept.claim(key, holder, now_ms, until_ms).await
    }

    async fn list(
        &self,
        tenant: &str,
        kind: &str,
        limit: usize,
    ) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.kept.list(tenant, kind, limit).await
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct FakeStatements {
    documents: Mutex<Vec<StatementDocument>>,
    pub is_away: AtomicBool,
}

#[async_trait]
impl StoreDocuments for FakeStatements {
    async fn store(&self, documents: Vec<StatementDocument>) -> Result<Vec<StoreOutcome>, StatementsError> {
        let outcomes = documents.iter().map(|_| StoreOutcome::Created).collect();
        self.documents.lock().unwrap().extend(documents);
        Ok(outcomes)
    }
}

#[async_trait]
impl QueryDocuments for FakeStatements {
    async fn get(&self, tenant: &str, id: Uuid) -> Result<Option<StoredStatement>, StatementsError> {
        let documents = self.documents.lock().unwrap();
        let found = documents.iter().find(|document| document.tenant == tenant && document.id == id);
        Ok(found.map(|document| StoredStatement { document: document.clone(), voided: false }))
    }

    /// By tenant, event type and time; pages go by number.
    async fn search(&self, filter: &Filter, limit: usize, after: Option<&str>) -> Result<Page, StatementsError> {
        let from: usize = match after.map(str::parse).transpose() {
            Ok(from) => from.unwrap_or(0),
            Err(_) => return Err(StatementsError::Refused("the cursor is none of this store".to_owned())),
        };
        let fits = |document: &&StatementDocument| {
            filter.tenant.as_ref().is_none_or(|tenant| document.tenant == **tenant)
                && filter.event_types.iter().any(|of| *of == document.fields.event_type)
                && filter.from_ms.is_none_or(|from_ms| document.fields.timestamp_ms >= from_ms)
                && filter.to_ms.is_none_or(|to_ms| document.fields.timestamp_ms < to_ms)
        };
        let mut found: Vec<_> = self.documents.lock().unwrap().iter().filter(fits).cloned().collect();
        found.sort_by_key(|document| std::cmp::Reverse(document.fields.timestamp_ms));
        let (total, end) = (found.len(), from + limit);
        let of_page = found.into_iter().skip(from).take(limit);
        let statements = of_page.map(|document| StoredStatement { document, voided: false }).collect();
        Ok(Page { statements, total: total as u64, next: (end < total).then(|| end.to_string()) })
    }

    async fn aggregate(&self, _: &Filter, _: &Value) -> Result<Value, StatementsError> {
        Ok(json!({"hits": 0, "aggregations": {}}))
    }

    async fn ping(&self) -> Result<(), StatementsError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StatementsError::Unavailable("connection refused".to_owned()));
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct FakeConsumers(pub Mutex<Vec<ConsumerStatus>>);

#[async_trait]
impl Consumers for FakeConsumers {
    async fn status(&self) -> Result<Vec<ConsumerStatus>, AskError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// And whether there are letters that were not read yet.
#[derive(Default)]
pub struct FakeDeadLetters(pub Mutex<Vec<ShownLetter>>, pub AtomicBool);

impl FakeDeadLetters {
    fn is_behind(&self) -> bool {
        self.1.load(Ordering::SeqCst)
    }

    fn open<'a>(letters: impl Iterator<Item = &'a ShownLetter>) -> CountOfKinds {
        let mut counts = CountOfKinds::new();
        for letter in letters.filter(|letter| letter.state.is_open()) {
            counts.entry(letter.kind).or_default().add(letter.is_parked, 1);
        }
        counts
    }

    fn matching(&self, filter: &DeadLetterFilter) -> Vec<ShownLetter> {
        let fits = |letter: &&ShownLetter| {
            filter.kind.is_none_or(|kind| letter.kind == kind)
                && filter.topic.as_ref().is_none_or(|topic| letter.topic == *topic)
                && filter.rule.as_ref().is_none_or(|rule| letter.rule == *rule)
                && filter.state.is_none_or(|state| letter.state == state)
                && (filter.tenant.is_none() || letter.tenant == filter.tenant)
        };
        self.0.lock().unwrap().iter().filter(fits).cloned().collect()
    }

    fn change(&self, chosen: &[Position], state: LetterState) {
        for letter in self.0.lock().unwrap().iter_mut().filter(|letter| chosen.contains(&letter.position)) {
            letter.state = state;
            letter.is_replayed = state == LetterState::Sent;
        }
    }
}

#[async_trait]
impl DeadLetters for FakeDeadLetters {
    async fn list(
        &self,
        filter: &DeadLetterFilter,
        order: Order,
        limit: usize,
        after: Option<&Cursor>,
    ) -> Result<Letters, AskError> {
        let matching = self.matching(filter);
        let total = matching.len() as u64;
        let mut open = DeadLetterCount::default();
        for count in Self::open(matching.iter()).values() {
            open.add(false, count.waiting);
            open.add(true, count.parked);
        }
        let is_oldest_first = order == Order::OldestFirst;
        let is_behind = |letter: &ShownLetter| {
            after.is_none_or(|after| {
                (letter.position > after.position) == is_oldest_first && letter.position != after.position
            })
        };
        let mut letters: Vec<_> = matching.into_iter().filter(is_behind).collect();
        if !is_oldest_first {
            letters.reverse();
        }
        let last = letters.get(limit - 1).filter(|_| letters.len() > limit);
        let next = last.map(|last| Cursor { at_ms: NOW_MS, position: last.position.clone() }.to_string());
        Ok(Letters {
            letters: letters.into_iter().take(limit).collect(),
            total,
            next,
            not_indexed: 0,
            is_behind: self.is_behind(),
            open,
        })
    }

    async fn tenants(&self) -> Result<SoFar<BTreeSet<String>>, AskError> {
        let answer = self.0.lock().unwrap().iter().filter_map(|letter| letter.tenant.clone()).collect();
        Ok(SoFar { answer, is_behind: self.is_behind() })
    }

    async fn summarize(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Causes, AskError> {
        let mut causes = BTreeMap::new();
        for letter in self.matching(filter) {
            let of = (letter.rule.clone(), letter.kind, letter.topic.clone(), letter.tenant.clone());
            let cause = causes.entry(of).or_insert_with(|| Cause {
                rule: letter.rule.clone(),
                kind: letter.kind,
                topic: letter.topic.clone(),
                tenant: letter.tenant.clone(),
                count: 0,
                waiting: 0,
                parked: 0,
                first: letter.at.clone(),
                last: letter.at.clone(),
                example: Some(letter.position.clone()),
                why: letter.findings[0].message.clone(),
            });
            cause.count += 1;
            cause.waiting += u64::from(letter.state == LetterState::Waiting);
            cause.parked += u64::from(letter.state == LetterState::Parked);
        }
        let total = causes.len() as u64;
        let kinds = Self::open(self.matching(&DeadLetterFilter { state: None, ..filter.clone() }).iter());
        let causes = causes.into_values().take(limit).collect();
        Ok(Causes { causes, total, not_indexed: 0, is_behind: self.is_behind(), kinds })
    }

    async fn violations(&self, filter: &ViolationFilter, limit: usize) -> Result<Violations, AskError> {
        let letters = self.matching(&DeadLetterFilter { tenant: filter.tenant.clone(), ..DeadLetterFilter::default() });
        let series = letters.into_iter().filter(|letter| is_violation(letter.kind)).map(|letter| Series {
            of: Broken {
                rule: letter.rule.clone(),
                kind: letter.kind,
                sender: letter.tenant.as_ref().map(|tenant| format!("lms of {tenant}")),
                tenant: letter.tenant.clone(),
                topic: letter.topic.clone(),
                family: letter.family.clone(),
            },
            times_ms: vec![NOW_MS - 5_000],
            example: Some(letter.position.clone()),
        });
        Ok(Violations { is_behind: self.is_behind(), ..judge(series.collect(), filter, limit) })
    }

    async fn find(&self, positions: &[Position]) -> Result<BTreeMap<Position, ShownLetter>, AskError> {
        let letters = self.0.lock().unwrap();
        let found = letters.iter().filter(|letter| positions.contains(&letter.position));
        Ok(found.map(|letter| (letter.position.clone(), letter.clone())).collect())
    }

    async fn about(
        &self,
        tenant: Option<&str>,
        events: &HashSet<Uuid>,
    ) -> Result<SoFar<HashMap<Uuid, Position>>, AskError> {
        let tenant = tenant.map(str::to_owned);
        let letters = self.matching(&DeadLetterFilter { tenant, ..DeadLetterFilter::default() });
        let of =
            |letter: ShownLetter| Some((letter.event_id.filter(|id| events.contains(id))?, letter.position.clone()));
        Ok(SoFar { answer: letters.into_iter().filter_map(of).collect(), is_behind: self.is_behind() })
    }

    async fn of_ids(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Position>, AskError> {
        let letters = self.0.lock().unwrap();
        let found = letters.iter().filter(|letter| ids.contains(&letter.id));
        Ok(found.map(|letter| (letter.id, letter.position.clone())).collect())
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError> {
        let mut summary = ReplaySummary { is_dry_run: request.is_dry_run, ..ReplaySummary::default() };
        let chosen: Vec<Position> = match &request.which {
            Which::Positions(positions) => positions.clone(),
            Which::Matching(filter) => {
                let matching = self.matching(filter);
                let of = |state| matching.iter().filter(move |letter| letter.state == state);
                let waiting: Vec<_> = of(LetterState::Waiting).collect();
                summary.parked = of(LetterState::Parked).count() as u64;
                summary.remaining = waiting.len().saturating_sub(request.limit) as u64;
                waiting.iter().take(request.limit).map(|letter| letter.position.clone()).collect()
            }
        };
        if !request.is_dry_run {
            self.change(&chosen, LetterState::Sent);
        }
        for letter in self.0.lock().unwrap().iter().filter(|letter| chosen.contains(&letter.position)) {
            let sent_to = (!request.is_dry_run).then(|| Position::new(letter.topic.as_str(), 0, 99));
            let (position, kind, topic) = (letter.position.clone(), letter.kind, letter.topic.clone());
            let (why, next_id) = (String::new(), letter.next_id());
            summary.replayed.push(Replayed { position, kind, topic, why, sent_to, ended: None, next_id });
        }
        Ok(summary)
    }

    async fn discard(&self, request: &DiscardRequest) -> Result<DiscardSummary, AskError> {
        let mut summary = DiscardSummary { is_dry_run: request.is_dry_run, ..DiscardSummary::default() };
        let chosen: Vec<ShownLetter> = match &request.which {
            Which::Positions(positions) => self.find(positions).await?.into_values().collect(),
            Which::Matching(filter) => self.matching(filter),
        };
        let (open, done): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|letter| letter.state.is_open());
        summary.already = done.len() as u64;
        if !request.is_dry_run {
            let positions: Vec<Position> = open.iter().map(|letter| letter.position.clone()).collect();
            self.change(&positions, LetterState::Discarded);
        }
        summary.discarded.extend(open.into_iter().map(|letter| Discarded {
            position: letter.position.clone(),
            kind: letter.kind,
            topic: letter.topic.clone(),
            why: request.by.clone(),
        }));
        Ok(summary)
    }

    async fn import(&self, document: &[u8]) -> Result<Imported, AskError> {
        let letters = document.len() as u64;
        note_work();
        Ok(Imported { letters, ..Imported::default() })
    }
}

/// Answers with what it was asked.
pub struct FakeAnalytics {
    pub platform: Value,
    pub tenants: Vec<String>,
}

fn echo(id: &str, span: &Span) -> Option<Value> {
    (id != "unknown").then(|| json!({"id": id, "tenant": span.tenant, "from_ms": span.from_ms, "to_ms": span.to_ms}))
}

#[async_trait]
impl Analytics for FakeAnalytics {
    async fn platform(&self, span: &Span) -> Result<Value, AskError> {
        let mut answer = self.platform.clone();
        answer["tenant"] = json!(span.tenant);
        Ok(answer)
    }

    async fn learning(&self, span: &Span) -> Result<Value, AskError> {
        Ok(json!({
            "people": 64, "statements": 1_280, "completions": 96, "surveys_started": 20, "surveys_completed": 15,
            "response_rate": 0.75, "nps": 40.0, "promotion": {"promoters": 5, "passives": 4, "detractors": 1},
            "by_day": [{"day": "2026-03-04", "people": 40, "statements": 600, "completions": 50}],
            "belongs_to": [{"activity": "https://academy.example/departments/nursing", "people": 40, "statements": 900, "completions": 60}],
            "surveys": [{"survey": "pulse", "started": 20, "completed": 15, "nps": 40.0}],
            "tenant": span.tenant,
        }))
    }

    async fn survey(&self, survey: &str, span: &Span, scale: Option<Scale>) -> Result<Option<Value>, AskError> {
        let told = scale.map(|scale| scale.to_string());
        Ok(echo(survey, span).map(|mut answer| {
            answer["scale"] = json!(told);
            answer
        }))
    }

    async fn learner(&self, learner: &str, span: &Span) -> Result<Option<Value>, AskError> {
        Ok(echo(learner, span))
    }

    async fn tenants(&self) -> Result<Vec<String>, AskError> {
        Ok(self.tenants.clone())
    }
}

pub struct FakeState;

#[async_trait]
impl State for FakeState {
    async fn show(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, AskError> {
        if kind != "session" {
            return Err(AskError::Invalid(format!("{kind:?} is no kind of state; there is: session")));
        }
        Ok((tenant == "acme" && id == "s-1").then(|| json!({"tenant": tenant, "capacity": 2})))
    }
}

/// The member `key`, where the value has one.
pub struct FakeKeys;

impl Keys for FakeKeys {
    fn about(&self, record: &Record) -> About {
        let value = record.value.as_deref().unwrap_or_default();
        let of = |kind, id: &str| AggregateRef { kind, id: id.into() };
        let is_booking = value.windows(9).any(|part| part == b"/booking/");
        let aggregates = if is_booking { vec![of("booking", "b-1"), of("session", "s-1")] } else { Vec::new() };
        let id = serde_json::from_slice::<Value>(value).ok().and_then(|value| value["id"].as_str()?.parse().ok());
        About { tenant: Some("acme".to_owned()), event_id: id, aggregates, ..About::default() }
    }

    fn key_of(&self, _: &str, value: &Bytes) -> Option<Bytes> {
        let value: Value = serde_json::from_slice(value).ok()?;
        Some(value.get("key")?.as_str()?.to_owned().into())
    }
}

thread_local! {
    static WORKED: Cell<u64> = const { Cell::new(0) };
}

fn note_work() {
    WORKED.set(WORKED.get() + 1);
}

/// How often functions and imports were worked on by the thread that asks.
pub fn worked_here() -> u64 {
    WORKED.get()
}

/// Counts every event as applied; knows the function `training`, which answers with what it got.
pub struct FakeWork;

#[async_trait]
impl Work for FakeWork {
    async fn ingest(&self, events: Vec<Prepared>) -> Result<Summary, AskError> {
        let count = events.len() as u64;
        Ok(Summary { read: count, applied: count, ..Summary::default() })
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(FakeWatch)
    }

    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Option<Bytes>, AskError> {
        note_work();
        Ok((function == "training").then_some(payload))
    }
}

/// Everything that is sent is applied.
struct FakeWatch;

#[async_trait]
impl Watch for FakeWatch {
    async fn endings(&mut self, sent: &[Position], _: Duration) -> Result<BTreeMap<Position, Ending>, AskError> {
        Ok(sent.iter().map(|position| (position.clone(), Ending::Applied)).collect())
    }
}

/// The services, and what tests turn on them.
pub struct Fakes {
    pub clock: Arc<ManualClock>,
    pub log: Arc<FakeLog>,
    pub ledger: Arc<FakeLedger>,
    pub statements: Arc<FakeStatements>,
    pub consumers: Arc<FakeConsumers>,
    pub dead_letters: Arc<FakeDeadLetters>,
    pub live: Arc<Live>,
    pub services: Services,
}

/// A replay that was begun, and that nobody is at work on.
pub fn replay() -> lyceum_core::replay::Request {
    lyceum_core::replay::Request {
        topics: vec![BOOKINGS.to_owned()],
        range: <_>::default(),
        partitions: vec![],
        filter: <_>::default(),
        target: lyceum_core::replay::Target::Topic,
        rate: None,
        limit: None,
    }
}

/// Services in which nothing has happened yet.
pub fn empty(access: Access) -> Fakes {
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let log = Arc::new(FakeLog::with_topics(&[BOOKINGS, STATEMENTS, LETTERS]));
    let ledger = Arc::new(FakeLedger::default());
    let statements = Arc::new(FakeStatements::default());
    let consumers = Arc::new(FakeConsumers::default());
    let dead_letters = Arc::new(FakeDeadLetters::default());
    let live = Arc::new(Live::new(clock.clone(), access.tenants()));
    let entries = Arc::new(MemoryStatements::new(lyceum_xapi::equality::same));
    let replays = lyceum_server::replay::Runner::new(lyceum_server::replay::Sources {
        event_log: log.clone(),
        ledger: ledger.clone(),
        labels: Arc::new(lyceum_functions::Look::new(<_>::default())),
        audit: lyceum_core::process::audit::AuditLog { entries, ledger: ledger.clone(), clock: clock.clone() },
        subscribers: lyceum_server::replay::Subscribers {
            services: lyceum_core::process::Services {
                event_log: log.clone(),
                ledger: ledger.clone(),
                statements: statements.clone(),
                schemas: None,
                clock: clock.clone(),
                observer: live.clone(),
            },
            make: Arc::new(|_, _| None),
            names: vec!["training"],
        },
        sinks: None,
        keys_age: lyceum_server::replay::KEYS_AGE,
        clock: clock.clone(),
        metrics: Arc::new(Metrics::new()),
    });
    let services = Services {
        replays: Arc::new(replays),
        event_log: log.clone(),
        ledger: ledger.clone(),
        statements: statements.clone(),
        audit: Arc::new(MemoryStatements::new(lyceum_xapi::equality::same)),
        schemas: None,
        live: live.clone(),
        metrics: Arc::new(Metrics::new()),
        consumers: consumers.clone(),
        dead_letters: dead_letters.clone(),
        reconciler: Arc::new(lyceum_server::reconcile::Reconciler {
            event_log: log.clone(),
            statements: statements.clone(),
            functions: <_>::default(),
            letters: dead_letters.clone(),
            catalog: Arc::new(lyceum_catalog::catalog()),
            group: "lyceum".to_owned(),
            clock: clock.clone(),
        }),
        analytics: Arc::new(FakeAnalytics { platform: json!({"total": 0, "active_learners": 0}), tenants: Vec::new() }),
        state: Arc::new(FakeState),
        keys: Arc::new(FakeKeys),
        work: Arc::new(FakeWork),
        rebuilds: rebuilds(&ledger, &clock),
        clock: clock.clone(),
        guards: Vec::new(),
        window: Arc::new(Window::new(clock.clone())),
        process: Arc::default(),
        catalog: Arc::new(lyceum_catalog::catalog()),
        asyncapi: Arc::new(lyceum_documents::asyncapi::document(&lyceum_documents::asyncapi::Deployment {
            topics: lyceum_server::topics::topics(&lyceum_catalog::catalog()),
            group: "lyceum".to_owned(),
            kafka: None,
            http: "127.0.0.1:8080".to_owned(),
            asks_for_token: !access.is_open(),
        })),
        access,
        default_tenant: "acme".to_owned(),
        data: ".lyceum".to_owned(),
    };
    Fakes { clock, log, ledger, statements, consumers, dead_letters, live, services }
}

/// The generations of every function on this ledger, and a log in which nothing happened.
fn rebuilds(ledger: &Arc<FakeLedger>, clock: &Arc<ManualClock>) -> Arc<Rebuilds> {
    let topics: BTreeSet<&str> = lyceum_functions::functions().flat_map(|of| of.subscription.topics()).collect();
    let log = Arc::new(FakeLog::with_topics(&topics.into_iter().collect::<Vec<_>>()));
    let statements = Arc::new(MemoryStatements::new(lyceum_xapi::equality::same));
    let services = lyceum_core::process::Services {
        event_log: log.clone(),
        ledger: ledger.clone(),
        statements: statements.clone(),
        schemas: None,
        clock: clock.clone(),
        observer: Arc::new(Muted),
    };
    let generator = Arc::new(lyceum_content_generator::Offline);
    let ports = lyceum_functions::Ports { services, generator, audit: statements };
    let catalog = Arc::new(lyceum_catalog::catalog());
    let muted = lyceum_functions::functions()
        .map(|of| (of.subscription, of.muted(ports.clone(), catalog.clone(), <_>::default())))
        .collect();
    let generations = Arc::new(Generations::new(ledger.clone(), clock.clone()));
    Arc::new(Rebuilds::new(rebuild::Sources {
        log,
        generations,
        subscriptions: muted,
        statements: Arc::new(MemoryStatements::new(lyceum_xapi::equality::same)),
        group: Arc::new(|of, _| of.name.to_owned()),
        analytics: Arc::new(FakeAnalytics { platform: json!({}), tenants: Vec::new() }),
        default_tenant: "acme".to_owned(),
        learner_home_page: "https://example.org/users".to_owned(),
        alone_since_ms: None,
    }))
}

/// The audit log reads what there is.
async fn audit(fakes: &Fakes, topics: &[&str]) {
    let services = lyceum_core::process::Services {
        event_log: fakes.log.clone(),
        ledger: fakes.ledger.clone(),
        statements: fakes.statements.clone(),
        schemas: None,
        clock: fakes.clock.clone(),
        observer: fakes.live.clone(),
    };
    let ports = lyceum_functions::Ports {
        services,
        generator: Arc::new(lyceum_content_generator::Offline),
        audit: fakes.services.audit.clone(),
    };
    let function = lyceum_functions::functions().find(|of| of.subscription.name == "audit").unwrap();
    let function = function.build(ports, fakes.services.catalog.clone(), <_>::default());
    let mut batch = Vec::new();
    for topic in topics {
        let records = fakes.log.fetch(topic, 0, 0, 100, usize::MAX).await.unwrap();
        batch.extend(records.into_iter().map(Delivery::Record));
    }
    let invocation = function.invocation(i64::MAX);
    let reports = function.process(&batch, &invocation).await;
    assert!(reports.iter().all(|report| report.outcome.is_settled()), "{reports:?}");
}

/// A few things have happened at two tenants, `acme` and `globex`.
pub async fn busy(access: Access) -> Fakes {
    let mut fakes = empty(access);
    fakes.services.analytics = Arc::new(FakeAnalytics {
        platform: json!({
            "total": 48_213,
            "active_learners": 1_204,
            "verbs": {
                "http://adlnet.gov/expapi/verbs/answered": 30_112,
                "http://adlnet.gov/expapi/verbs/completed": 9_840,
                "http://adlnet.gov/expapi/verbs/initialized": 8_261,
            },
            "by_day": [{"day": "2026-03-04", "count": 20_113}, {"day": "2026-03-05", "count": 28_100}],
        }),
        tenants: vec!["acme".to_owned(), "initech".to_owned()],
    });
    let raw = br#"{"actor":{"mbox":"mailto:ada@example.org","name":"<script>alert('name')</script>"},"verb":{"id":"confirmed"},"object":{"id":"http://nlj.platform/activities/booking/b-1"}}"#;
    let records = vec![record("acme", raw), record("globex", br#"{"secret": "of globex"}"#)];
    fakes.log.produce(BOOKINGS, records).await.unwrap();
    fakes.log.produce(LETTERS, vec![record("acme", raw), record("globex", b"\xff\x00")]).await.unwrap();
    audit(&fakes, &[BOOKINGS, LETTERS]).await;
    let rebuilt = fakes.services.rebuilds.builder("training").unwrap();
    rebuilt.begin(Wanted::default()).await.unwrap();
    let document = StatementDocument {
        tenant: "acme".into(),
        id: STATEMENT_ID,
        raw: Bytes::from_static(b"{ \"as\" : \"it was sent\" }"),
        stored_ms: NOW_MS,
        source: Position::new(STATEMENTS, 0, 0),
        correlation_id: "c-1".into(),
        fields: StatementFields::default(),
    };
    fakes.statements.store(vec![document]).await.unwrap();
    let alerts = [
        ("acme", 1, r#""severity":"critical","cause":"brute_force","actor":"<script>eve</script>","count":5"#),
        ("globex", 2, r#""severity":"low","cause":"dag_diff_failed","subject":"ir of globex","count":1"#),
        (
            "acme",
            3,
            r#""severity":"high","cause":"approval_invalid","subject":"ap-17","reason":"token_mismatch","count":1"#,
        ),
    ];
    fakes
        .statements
        .store(alerts.map(|(tenant, minute, payload)| alert(tenant, minute, payload)).into())
        .await
        .unwrap();
    *fakes.consumers.0.lock().unwrap() = vec![
        mapping("training-bookings", BOOKINGS, ConsumerState::Running, &[(40, 40), (38, 40), (12, 12)]),
        mapping("statement", STATEMENTS, ConsumerState::BackingOff, &[(900, 1_500), (870, 870)]),
    ];
    *fakes.dead_letters.0.lock().unwrap() = vec![
        letter(0, DeadLetterKind::Validation, Some("acme"), false),
        letter(1, DeadLetterKind::Decode, Some("globex"), false),
        letter(2, DeadLetterKind::Validation, Some("acme"), true),
        letter(3, DeadLetterKind::Decode, None, false),
    ];
    fakes.clock.set(NOW_MS - 240_000);
    fakes.observe(&(0..30).map(|offset| report("acme", 100 + offset, Outcome::Applied)).collect::<Vec<_>>());
    fakes.clock.set(NOW_MS - 5_000);
    let mut overbooked = report("acme", 41, Outcome::Applied);
    overbooked.anomalies =
        vec![Anomaly { name: "overbooked".into(), message: "session s-1 has 3 confirmed bookings and 2 seats".into() }];
    let mut invalid = report("acme", 0, Outcome::DeadLettered { kind: DeadLetterKind::Validation });
    invalid.findings = findings();
    fakes.observe(&[
        overbooked,
        invalid,
        report("globex", 1, Outcome::Duplicate),
        report("globex", 2, Outcome::RetryLater { reason: "the ledger is unavailable: throttled".into() }),
    ]);
    fakes.clock.set(NOW_MS);
    let asked = lyceum_server::replay::Asked { tenant: None, by: "an operator".to_owned() };
    fakes.services.replays.begin(replay(), &asked).await.unwrap();
    fakes
}

impl Fakes {
    pub fn observe(&self, reports: &[Report]) {
        self.live.observe(reports);
        self.services.metrics.observe(reports);
    }
}

pub fn report(tenant: &str, offset: i64, outcome: Outcome) -> Report {
    Report {
        position: Position::new(BOOKINGS, 0, offset),
        family: "training",
        is_owner: true,
        event_type: "booking.confirmed",
        event_id: Some(Uuid::from_u128(offset as u128)),
        tenant: Some(tenant.into()),
        correlation_id: Some(format!("correlation of {tenant}").into()),
        trace_id: None,
        outcome,
        findings: Vec::new(),
        anomalies: Vec::new(),
    }
}

pub fn findings() -> Vec<Finding> {
    vec![
        Finding {
            rule: "verb.id.iri".into(),
            pointer: "/verb/id".to_owned(),
            message: "the verb's id \"confirmed\" is no absolute IRI: begin it with a scheme".to_owned(),
            requirement: "XAPI-00045".into(),
        },
        Finding {
            rule: "agent.name.string".into(),
            pointer: "/actor/name".to_owned(),
            message: "<script>alert('message')</script>".to_owned(),
            requirement: "XAPI-00030".into(),
        },
    ]
}

pub fn record(tenant: &str, value: &'static [u8]) -> NewRecord {
    let headers = vec![Header::new("tenant-id", tenant.to_owned()), Header::new("note", "<b>bold</b>")];
    NewRecord { key: Some("s-1".into()), value: Some(value.into()), headers, ..NewRecord::default() }
}

pub fn mapping(name: &str, topic: &str, state: ConsumerState, partitions: &[(i64, i64)]) -> ConsumerStatus {
    let partition = |(index, (committed, end)): (usize, &(i64, i64))| PartitionProgress {
        partition: index as i32,
        committed: Some(*committed),
        end: *end,
        lag: end - committed,
        lag_ms: if end == committed { 0 } else { 1_500 * (index as u64 + 1) },
    };
    ConsumerStatus {
        name: name.to_owned(),
        topic: topic.to_owned(),
        group: format!("lyceum-{name}"),
        function: name.split('-').next().unwrap_or(name).to_owned(),
        state,
        silent_ms: 0,
        partitions: partitions.iter().enumerate().map(partition).collect(),
        work: Some(ConsumerWork {
            batches: 12,
            records: 1_090,
            failed_batches: 1,
            last_error: (state == ConsumerState::BackingOff).then(|| "the search index of globex is full".to_owned()),
        }),
    }
}

/// An alert of that many minutes before now, as the family stores it.
pub fn alert(tenant: &str, minutes: i64, payload: &str) -> StatementDocument {
    let (id, at_ms) = (Uuid::from_u128(2_000 + minutes as u128), NOW_MS - minutes * 60_000);
    let at = lyceum_server::live::format_time(at_ms);
    let raw = format!(
        r#"{{"id":"{id}","type":"security.alert.raised","timestamp":"{at}","payload":{{{payload},"window_start":"{at}"}},"meta":{{"tenant_id":"{tenant}","correlation_id":"c-{minutes}"}}}}"#
    );
    StatementDocument {
        tenant: tenant.into(),
        id,
        raw: raw.into(),
        stored_ms: at_ms,
        source: Position::new("security.alerts.v1", 0, minutes),
        correlation_id: "c".into(),
        fields: StatementFields {
            event_type: "security.alert.raised".into(),
            family: "security".into(),
            timestamp_ms: at_ms,
            ..StatementFields::default()
        },
    }
}

pub fn letter(offset: i64, kind: DeadLetterKind, tenant: Option<&str>, is_parked: bool) -> ShownLetter {
    let is_validation = kind == DeadLetterKind::Validation;
    let undecodable = Finding {
        rule: "wire.json".into(),
        pointer: String::new(),
        message: "the value is no JSON: expected value at byte 1".to_owned(),
        requirement: "catalog".into(),
    };
    let letter = DeadLetter {
        position: Position::new(LETTERS, 0, offset),
        id: Uuid::from_u128(1_000 + offset as u128),
        kind,
        findings: if is_validation { findings() } else { vec![undecodable] },
        source: Position::new(BOOKINGS, 0, offset),
        source_timestamp_ms: Some(NOW_MS - 5_000),
        family: "training".to_owned(),
        tenant: tenant.map(str::to_owned),
        correlation_id: Some("c-7".to_owned()),
        attempts: 1,
        first_failed_at: Some("2026-03-05T09:29:55Z".to_owned()),
        last_failed_at: Some("2026-03-05T09:29:55Z".to_owned()),
        replay_count: if is_parked { 3 } else { 0 },
        value_omitted: false,
        value_is_entry: false,
        original: NewRecord::default(),
    };
    ShownLetter {
        at: "2026-03-05T09:29:55Z".to_owned(),
        learner: Some("ada@academy.example".to_owned()),
        rule: letter.findings[0].rule.to_string(),
        state: if is_parked { LetterState::Parked } else { LetterState::Waiting },
        is_applied: false,
        discarded: None,
        letter,
        topic: BOOKINGS.to_owned(),
        event_id: is_validation.then(|| Uuid::from_u128(7)),
        is_replayed: false,
        sent_to: None,
        is_parked,
        preview: format!("<script>preview of {}</script>", tenant.unwrap_or("nobody")),
    }
}
